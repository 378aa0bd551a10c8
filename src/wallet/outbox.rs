//! Answers and notifications that are kept for a while, so that a client that subscribes late, elsewhere or again gets
//! them.
//!
//! Clients publish before they subscribe, subscribe on another socket, or reconnect (wallet.md 5.8). An answer is kept until some
//! minutes after it first reached somebody, or for a day. The answers to payments are also in the journal for ever and come
//! back from there when their request is repeated; this is the memory for everything in between, bounded in bytes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::access::audit::Audit;
use crate::base::hex32::{EventId, PublicKey};
use crate::protocol::event::{Event, TagValue};
use crate::protocol::filter::Filter;
use crate::protocol::kind;
use crate::wallet::terms::RequestKey;

/// How long and how much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// After the first delivery.
    pub delivered_ms: u64,
    /// Without a delivery.
    pub undelivered_ms: u64,
    /// Bytes of all answers together.
    pub bytes_max: usize,
    /// Bytes of the answers of one wallet key: one app cannot push out another's.
    pub wallet_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { delivered_ms: 600_000, undelivered_ms: 86_400_000, bytes_max: 64 << 20, wallet_bytes_max: 4 << 20 }
    }
}

/// What an answer costs besides its event: table entries and queue places.
const OVERHEAD_BYTES: usize = 512;
/// A stored answer is published again for a repeated request at most this often.
const REPEAT_INTERVAL_MS: u64 = 1_000;
/// A queue of ends may be so much longer than twice the answers that are kept.
const QUEUE_SLACK: usize = 1_024;
/// Most that one look-up gives.
const RECALL_MAX: usize = 500;
/// Requests that are being worked on at the same time, beyond which a new one has to wait.
const PENDING_MAX: usize = 65_536;
/// Most notifications that a start remembers to have reached their clients; what is beyond is offered once more.
const REACHED_MAX: usize = 65_536;

/// The answers.
#[derive(Debug)]
pub struct Outbox {
    config: Config,
    inner: Mutex<Inner>,
    audit: Option<Arc<Audit>>,
}

#[derive(Default, Debug)]
struct Inner {
    kept: HashMap<EventId, Kept, RandomState>,
    by_request: HashMap<EventId, SmallVec<[EventId; 1]>, RandomState>,
    by_wallet: HashMap<PublicKey, Shelf, RandomState>,
    /// The same by their bytes.
    by_bytes: BTreeSet<(usize, PublicKey)>,
    by_client: HashMap<PublicKey, SmallVec<[PublicKey; 1]>, RandomState>,
    /// Requests that are being worked on.
    pending: HashSet<EventId, RandomState>,
    /// When and what to look at: ends of delivered answers and of undelivered ones, each in order.
    delivered: VecDeque<(u64, EventId)>,
    undelivered: VecDeque<(u64, EventId)>,
    bytes: usize,
    /// Notifications of before the start that reached their clients, and when.
    reached: HashMap<EventId, u64, RandomState>,
}

/// The answers of one wallet key in the order in which they were made.
#[derive(Default, Debug)]
struct Shelf {
    answers: VecDeque<EventId>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    event: Event,
    /// What it answers; nothing, for a notification.
    request: Option<RequestKey>,
    client: Option<PublicKey>,
    delivered: bool,
    until_ms: u64,
    published_ms: u64,
}

/// What has reached a client.
#[derive(Clone, Copy, Debug)]
enum Reached {
    /// The answer to this request.
    Answer(EventId),
    /// This notification.
    News(EventId),
}

impl Kept {
    fn bytes(&self) -> usize {
        self.event.bytes().len() + OVERHEAD_BYTES
    }
}

/// What is known of a request.
#[derive(Debug)]
pub enum Seen {
    /// Nothing: it is now marked as being worked on, until [`Outbox::finish`].
    New,
    /// It is being worked on; the answer will come.
    Pending,
    /// It was answered. Empty if the answers reached somebody less than a second ago. Never for a request of several items: answers
    /// to some of them say nothing of the others (see [`Outbox::item`]).
    Answered(Vec<Event>),
    /// Too many requests are being worked on.
    Full,
}

impl Outbox {
    /// An empty one.
    pub fn new(config: Config) -> Self {
        Self { config, inner: Mutex::default(), audit: None }
    }

    /// The same, which notes in the log what was delivered.
    #[must_use]
    pub fn telling(self, audit: Arc<Audit>) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// Takes a request in hand, unless it is in hand or answered already.
    pub fn begin(&self, request: EventId, now_ms: u64) -> Seen {
        let mut inner = self.inner.lock();
        if let Some(answers) = inner.repeat(&request, now_ms) {
            return Seen::Answered(answers);
        }
        if inner.pending.len() >= PENDING_MAX {
            return Seen::Full;
        }
        if inner.pending.insert(request) { Seen::New } else { Seen::Pending }
    }

    /// The request is no longer worked on.
    pub fn finish(&self, request: &EventId) {
        self.inner.lock().pending.remove(request);
    }

    /// Whether a request was answered and the answer is still here.
    pub fn knows(&self, request: &EventId) -> bool {
        self.inner.lock().by_request.contains_key(request)
    }

    /// Keeps an answer. The same answer again changes nothing.
    pub fn keep(&self, request: RequestKey, event: Event, now_ms: u64) {
        let mut inner = self.inner.lock();
        inner.sweep(now_ms);
        inner.insert(Some(request), event, now_ms.saturating_add(self.config.undelivered_ms), now_ms);
        inner.make_room(&self.config);
    }

    /// Which notifications reached their clients before the start, and when (unix milliseconds).
    pub fn reached(&self, told: impl IntoIterator<Item = (EventId, u64)>, now_ms: u64) {
        let mut inner = self.inner.lock();
        for (notification, at_ms) in told {
            if at_ms.saturating_add(self.config.undelivered_ms) > now_ms && inner.reached.len() < REACHED_MAX {
                inner.reached.insert(notification, at_ms);
            }
        }
    }

    /// Whether a notification reached its client before the start.
    pub fn has_reached(&self, notification: &EventId) -> bool {
        self.inner.lock().reached.contains_key(notification)
    }

    /// Everything that [`Outbox::reached`] was about has been offered to [`Outbox::keep_news`].
    pub fn forget_reached(&self) {
        let mut inner = self.inner.lock();
        if !inner.reached.is_empty() {
            inner.reached = HashMap::default();
        }
    }

    /// Keeps a notification until a day after its own time. `false`: it is kept already, or too old, or reached its client before the
    /// start; then it is kept as long as it would have been without one.
    pub fn keep_news(&self, event: Event, now_ms: u64) -> bool {
        let until_ms = event.created_at().saturating_mul(1_000).saturating_add(self.config.undelivered_ms);
        let mut inner = self.inner.lock();
        inner.sweep(now_ms);
        if let Some(at_ms) = inner.reached.remove(&event.id()) {
            let (id, until_ms) = (event.id(), until_ms.min(at_ms.saturating_add(self.config.delivered_ms)));
            if until_ms > now_ms && !inner.kept.contains_key(&id) {
                inner.insert(None, event, until_ms, now_ms);
                inner.mark_delivered(&id, until_ms);
                inner.make_room(&self.config);
            }
            return false;
        }
        if until_ms <= now_ms || inner.kept.contains_key(&event.id()) {
            return false;
        }
        inner.insert(None, event, until_ms, now_ms);
        inner.make_room(&self.config);
        true
    }

    /// The kept answer to one item of a request.
    pub fn item(&self, request: &RequestKey, now_ms: u64) -> Option<Event> {
        let inner = self.inner.lock();
        let mut answers = inner.by_request.get(&request.event)?.iter().filter_map(|answer| inner.kept.get(answer));
        answers.find(|kept| kept.request == Some(*request) && kept.until_ms > now_ms).map(|kept| kept.event.clone())
    }

    /// An answer has reached somebody.
    pub fn delivered(&self, answer: &EventId, now_ms: u64) {
        let marked = self.inner.lock().mark_delivered(answer, now_ms.saturating_add(self.config.delivered_ms));
        self.note(marked, now_ms);
    }

    fn note(&self, marked: Option<(PublicKey, Reached)>, now_ms: u64) {
        match (&self.audit, marked) {
            (Some(audit), Some((wallet, Reached::Answer(request)))) => audit.delivered(&wallet, request, now_ms),
            (Some(audit), Some((wallet, Reached::News(notification)))) => audit.told(&wallet, notification, now_ms),
            _ => {}
        }
    }

    /// Whether a filter can see answers at all: most REQs are about something else.
    pub fn concerns(filter: &Filter) -> bool {
        filter.names_someone() && filter.limit != Some(0) && may_see_answers(filter)
    }

    /// The answers that a filter sees, newest first, ties by lowest id, at most `limit` of it. Nothing for a filter that names
    /// neither an author, an id, a `#p` nor an `#e`. Anybody may ask, so this delivers nothing: [`Outbox::delivered`] does.
    pub fn recall(&self, filter: &Filter, now_ms: u64) -> Vec<Event> {
        if !Self::concerns(filter) {
            return Vec::new();
        }
        let mut inner = self.inner.lock();
        inner.sweep(now_ms);
        let candidates = inner.candidates(filter).filter(|kept| kept.until_ms > now_ms).map(|kept| &kept.event);
        let mut found: Vec<Event> = candidates.filter(|event| filter.matches(event.view())).cloned().collect();
        found.sort_unstable_by(|a, b| b.created_at().cmp(&a.created_at()).then_with(|| a.id().cmp(&b.id())));
        found.dedup_by_key(|event| event.id());
        let limit = filter.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(RECALL_MAX);
        found.truncate(limit.min(RECALL_MAX));
        found
    }

    /// Drops what has been kept long enough.
    pub fn sweep(&self, now_ms: u64) {
        self.inner.lock().sweep(now_ms);
    }

    /// How many answers are kept, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.kept.len(), inner.bytes)
    }

    /// How many answers of a wallet key have reached nobody yet.
    pub fn waiting(&self, wallet: &PublicKey) -> usize {
        let inner = self.inner.lock();
        let Some(shelf) = inner.by_wallet.get(wallet) else { return 0 };
        shelf.answers.iter().filter(|answer| inner.kept.get(*answer).is_some_and(|kept| !kept.delivered)).count()
    }
}

fn may_see_answers(filter: &Filter) -> bool {
    let answers = kind::WALLET_RESPONSE..=kind::WALLET_NOTIFICATION;
    filter.kinds.as_deref().is_none_or(|kinds| kinds.iter().any(|kind| answers.contains(kind)))
}

impl Inner {
    fn repeat(&mut self, request: &EventId, now_ms: u64) -> Option<Vec<Event>> {
        let answers = self.by_request.get(request)?;
        if answers.iter().filter_map(|answer| self.kept.get(answer)).any(|kept| kept.event.view().tag(b'd').is_some()) {
            return None;
        }
        let mut events = Vec::new();
        for answer in answers {
            if let Some(kept) = self.kept.get_mut(answer)
                && (!kept.delivered || now_ms >= kept.published_ms.saturating_add(REPEAT_INTERVAL_MS))
            {
                kept.published_ms = now_ms;
                events.push(kept.event.clone());
            }
        }
        Some(events)
    }

    fn insert(&mut self, request: Option<RequestKey>, event: Event, until_ms: u64, now_ms: u64) {
        let (answer, wallet) = (event.id(), event.pubkey());
        if let Some(kept) = self.kept.get_mut(&answer) {
            kept.published_ms = now_ms;
            return;
        }
        let client = match event.view().tag(b'p') {
            Some(TagValue::Hex(client)) => Some(client),
            _ => None,
        };
        let kept = Kept { event, request, client, delivered: false, until_ms, published_ms: now_ms };
        self.bytes += kept.bytes();
        let shelf = self.by_wallet.entry(wallet).or_default();
        self.by_bytes.remove(&(shelf.bytes, wallet));
        shelf.bytes += kept.bytes();
        self.by_bytes.insert((shelf.bytes, wallet));
        shelf.answers.push_back(answer);
        if let Some(client) = client {
            let wallets = self.by_client.entry(client).or_default();
            if !wallets.contains(&wallet) {
                wallets.push(wallet);
            }
        }
        if let Some(request) = request {
            self.by_request.entry(request.event).or_default().push(answer);
        }
        self.undelivered.push_back((until_ms, answer));
        self.kept.insert(answer, kept);
    }

    /// Whose it is and what it says, if it was not delivered before.
    fn mark_delivered(&mut self, answer: &EventId, until_ms: u64) -> Option<(PublicKey, Reached)> {
        let kept = self.kept.get_mut(answer).filter(|kept| !kept.delivered)?;
        kept.delivered = true;
        kept.until_ms = kept.until_ms.min(until_ms);
        let reached = kept.request.map_or(Reached::News(*answer), |request| Reached::Answer(request.event));
        let wallet = kept.event.pubkey();
        self.delivered.push_back((kept.until_ms, *answer));
        Some((wallet, reached))
    }

    fn sweep(&mut self, now_ms: u64) {
        while let Some((until_ms, answer)) = self.delivered.front().copied()
            && until_ms <= now_ms
        {
            self.delivered.pop_front();
            self.remove(&answer);
        }
        while let Some((until_ms, answer)) = self.undelivered.front().copied()
            && (until_ms <= now_ms || self.kept.get(&answer).is_none_or(|kept| kept.delivered))
        {
            self.undelivered.pop_front();
            if until_ms <= now_ms {
                self.remove(&answer);
            }
        }
    }

    /// The newest answer always stays: it is what somebody waits for.
    fn make_room(&mut self, config: &Config) {
        let newest = self.undelivered.back().map(|(_, answer)| *answer);
        if let Some(wallet) = newest.and_then(|answer| self.kept.get(&answer)).map(|kept| kept.event.pubkey()) {
            while let Some(shelf) = self.by_wallet.get(&wallet)
                && shelf.bytes > config.wallet_bytes_max
                && let Some(oldest) = shelf.answers.front().copied()
                && Some(oldest) != newest
            {
                self.remove(&oldest);
            }
        }
        while self.bytes > config.bytes_max {
            let Some(answer) = self.least_missed(newest) else { break };
            self.remove(&answer);
        }
        self.shorten_queues();
    }

    /// What goes where all together are too many: the oldest of the wallet that has the most, so that nobody's answers go for those of
    /// another that keeps more; among equals one that was delivered.
    fn least_missed(&mut self, newest: Option<EventId>) -> Option<EventId> {
        while let Some((_, answer)) = self.delivered.front().copied()
            && !self.kept.get(&answer).is_some_and(|kept| kept.delivered)
        {
            self.delivered.pop_front();
        }
        let largest = self.by_bytes.last()?.0;
        let delivered = self.delivered.front().map(|(_, answer)| *answer).filter(|answer| Some(*answer) != newest);
        let wallet = |answer: &EventId| self.kept.get(answer).map(|kept| kept.event.pubkey());
        let is_of_the_largest =
            |answer: &EventId| wallet(answer).is_some_and(|wallet| self.by_bytes.contains(&(largest, wallet)));
        if let Some(answer) = delivered.filter(is_of_the_largest) {
            return Some(answer);
        }
        let mut shelves = self.by_bytes.iter().rev().filter_map(|(_, wallet)| self.by_wallet.get(wallet));
        shelves.find_map(|shelf| shelf.answers.front().copied().filter(|answer| Some(*answer) != newest))
    }

    /// Answers that went early leave their place in a queue behind; this keeps such places fewer than the answers themselves.
    fn shorten_queues(&mut self) {
        let bound = 2 * self.kept.len() + QUEUE_SLACK;
        if self.delivered.len() > bound {
            self.delivered.retain(|(_, answer)| self.kept.get(answer).is_some_and(|kept| kept.delivered));
        }
        if self.undelivered.len() > bound {
            self.undelivered.retain(|(_, answer)| self.kept.get(answer).is_some_and(|kept| !kept.delivered));
        }
    }

    fn remove(&mut self, answer: &EventId) {
        let Some(kept) = self.kept.remove(answer) else { return };
        self.bytes -= kept.bytes();
        if let Some(request) = kept.request.map(|request| request.event)
            && let Some(answers) = self.by_request.get_mut(&request)
        {
            answers.retain(|other| other != answer);
            if answers.is_empty() {
                self.by_request.remove(&request);
            }
        }
        let wallet = kept.event.pubkey();
        let Some(shelf) = self.by_wallet.get_mut(&wallet) else { return };
        self.by_bytes.remove(&(shelf.bytes, wallet));
        shelf.bytes -= kept.bytes();
        if shelf.answers.len() > 1 {
            self.by_bytes.insert((shelf.bytes, wallet));
        }
        // Answers leave nearly in the order in which they came, so this looks at few.
        if let Some(at) = shelf.answers.iter().position(|other| other == answer) {
            shelf.answers.remove(at);
        }
        if shelf.answers.is_empty() {
            self.by_wallet.remove(&wallet);
            if let Some(client) = kept.client
                && let Some(wallets) = self.by_client.get_mut(&client)
            {
                wallets.retain(|other| *other != wallet);
                if wallets.is_empty() {
                    self.by_client.remove(&client);
                }
            }
        }
    }

    /// Everything that the most telling condition of the filter allows.
    fn candidates<'a>(&'a self, filter: &'a Filter) -> Box<dyn Iterator<Item = &'a Kept> + 'a> {
        let kept = |answer: &EventId| self.kept.get(answer);
        if let Some(ids) = &filter.ids {
            return Box::new(ids.iter().filter_map(kept));
        }
        if let Some(requests) = filter.tag(b'e') {
            let answers = requests.hex.iter().filter_map(|request| self.by_request.get(request)).flatten();
            return Box::new(answers.filter_map(kept));
        }
        let shelf = |wallet: &PublicKey| self.by_wallet.get(wallet);
        let shelves: Box<dyn Iterator<Item = &'a Shelf>> = match (&filter.authors, filter.tag(b'p')) {
            (Some(authors), _) => Box::new(authors.iter().filter_map(shelf)),
            (None, Some(clients)) => {
                let wallets = clients.hex.iter().filter_map(|client| self.by_client.get(client)).flatten();
                Box::new(wallets.filter_map(shelf))
            }
            (None, None) => Box::new(std::iter::empty()),
        };
        Box::new(shelves.flat_map(|shelf| &shelf.answers).filter_map(kept))
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
