//! What clients are told without asking: money arrived, a payment was made, a hold invoice was paid (extensions 02 and 03).
//!
//! The money thread says what became true ([`News`]); a task of its own makes the events, in the order of the journal. What does not fit
//! into the queue, and what was told before a crash, is read from the journal again. An event follows from its record alone, so telling
//! twice gives the same id, and the outbox keeps one of them.
//!
//! Two schemes are two kinds of events (23196 is NIP-04, 23197 NIP-44), and clients that listen to both would show everything twice.
//! So a connection is told in the scheme in which its client spoke last, else in those to which it was seen to subscribe, and in both
//! while nothing is known of it.
//!
//! What reached its client is in the log of requests, so a restart does not offer it anew beyond the minutes for which it is kept.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::futures::Notified;

use super::access::table::Hosted;
use super::dispatch::Debt;
use super::methods::pay::Progress;
use super::methods::transaction_json;
use super::money::ReadError;
use super::money::types::{Direction, Held, Selector, Settled, TransactionState, Viewer};
use super::service::Wallet;
use super::terms::{AccountId, ConnectionId, Scheme};
use super::wire::method::Method;
use super::wire::notification::{Notification, plaintext};
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;

/// Most news that wait; what is more is read from the journal when its turn comes.
const NEWS_WAITING_MAX: usize = 4_096;
/// How far back a start looks: as long as an answer that nobody fetched is kept.
pub(super) const LOOK_BACK_S: u64 = 86_400;
/// Most connections that one piece of news is told to: the one that it is about, then those that asked last.
const TOLD_MAX: usize = 64;
/// A `pay` that takes longer is told that it is pending, and once more how it ended.
pub(super) const PENDING_AFTER_MS: u64 = 20_000;
/// Most `pay` requests that are watched for that.
const PROMISES_MAX: usize = 4_096;

/// What the money thread said and nobody was told yet.
#[derive(Default)]
pub struct News {
    queue: Mutex<Queue>,
    bell: tokio::sync::Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Item>,
    /// Something did not fit; everything after `told` is in the journal.
    is_behind: bool,
    /// The last that was told.
    told: Place,
    /// When that was settled, unix seconds.
    told_at_s: u64,
    promises: VecDeque<(u64, Promise)>,
}

/// The order of news: by record, and of one record what was received first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
struct Place(u64, u8);

/// One piece of news.
#[derive(Clone, Copy, Debug)]
struct Item {
    place: Place,
    at_s: u64,
    what: Notification,
    account: AccountId,
    connection: ConnectionId,
    hash: PaymentHash,
    settle_deadline: Option<u32>,
}

/// A payment that may take long, and whom to tell then.
pub(super) struct Promise {
    pub(super) debt: Debt,
    pub(super) hash: PaymentHash,
    pub(super) amount: Msat,
}

impl From<&Settled> for Item {
    fn from(settled: &Settled) -> Self {
        let (what, rank) = match settled.direction {
            Direction::Incoming => (Notification::PaymentReceived, 0),
            Direction::Outgoing => (Notification::PaymentSent, 1),
        };
        let &Settled { seq, at_s, account, connection, hash, .. } = settled;
        Self { place: Place(seq, rank), at_s, what, account, connection, hash, settle_deadline: None }
    }
}

impl From<&Held> for Item {
    fn from(held: &Held) -> Self {
        let &Held { seq, at_s, account, connection, hash, settle_deadline, .. } = held;
        Self { place: Place(seq, 2), at_s, what: Notification::HoldInvoiceAccepted, account, connection, hash, settle_deadline }
    }
}

impl News {
    pub(super) fn settled(&self, settled: &Settled) {
        self.add(settled.into());
    }

    pub(super) fn held(&self, held: &Held) {
        self.add(held.into());
    }

    fn add(&self, item: Item) {
        let mut queue = self.queue.lock();
        if queue.is_behind || queue.waiting.len() >= NEWS_WAITING_MAX {
            queue.is_behind = true;
        } else {
            queue.waiting.push_back(item);
        }
        drop(queue);
        self.bell.notify_one();
    }

    /// Watches a `pay` that may take long.
    pub(super) fn promise(&self, promise: Promise, now_ms: u64) {
        let mut queue = self.queue.lock();
        if queue.promises.len() < PROMISES_MAX {
            queue.promises.push_back((now_ms.saturating_add(PENDING_AFTER_MS), promise));
        }
    }

    /// Resolves when there is something to tell.
    pub(super) fn rung(&self) -> Notified<'_> {
        self.bell.notified()
    }

    /// As if the queue were full.
    #[cfg(test)]
    pub(super) fn overflow(&self) {
        self.queue.lock().is_behind = true;
    }

    fn next(&self) -> Option<Item> {
        let mut queue = self.queue.lock();
        loop {
            let item = queue.waiting.pop_front()?;
            if item.place > queue.told {
                (queue.told, queue.told_at_s) = (item.place, item.at_s);
                return Some(item);
            }
        }
    }

    /// The next promise whose time has come.
    fn due(&self, now_ms: u64) -> Option<Promise> {
        let mut queue = self.queue.lock();
        let (at_ms, _) = queue.promises.front()?;
        if *at_ms > now_ms { None } else { queue.promises.pop_front().map(|(_, promise)| promise) }
    }
}

impl Wallet {
    /// Reads from the journal what is to be told again after a start: the notifications of the last day.
    pub(super) fn look_back(&self) {
        let mut queue = self.answers().news().queue.lock();
        queue.is_behind = true;
        queue.told_at_s = self.answers().clock().now_s().saturating_sub(LOOK_BACK_S);
    }

    /// Tells at most so many pieces of news; `false` when there is no more.
    pub(super) fn tell_news(&self, most: usize) -> bool {
        for _ in 0..most {
            let Some(item) = self.answers().news().next() else {
                let more = self.catch_up();
                if !more {
                    // All of the time before the start is told.
                    self.answers().outbox().forget_reached();
                }
                return more;
            };
            if let Err(error) = self.tell(&item) {
                tracing::error!(%error, "a notification could not be made");
            }
        }
        true
    }

    /// Tells clients whose `pay` takes long that it is pending.
    pub(super) fn tell_pending(&self) {
        let (answers, money) = (self.answers(), self.money());
        while let Some(Promise { debt, hash, amount }) = answers.news().due(answers.clock().now_ms()) {
            let viewer = Viewer::Connection(self.connection_of(&debt));
            let found = money.lookup(viewer, &Selector::Payment(hash));
            if let Ok(Some(payment)) = found
                && payment.state == TransactionState::Pending
                && !answers.outbox().knows(&debt.request)
            {
                debt.succeed(answers, &Progress::pending(hash, amount, payment.created_at_s));
            }
        }
    }

    fn connection_of(&self, debt: &Debt) -> ConnectionId {
        // A connection that has a debt is in the table for ever; number 0 of none sees nothing.
        self.answers().table().get(&debt.keys.wallet).map_or(ConnectionId(0), |hosted| hosted.id)
    }

    /// Fills the queue from the journal where something did not fit; `false`: nothing is left to be told.
    fn catch_up(&self) -> bool {
        let news = self.answers().news();
        let since_s = {
            let mut queue = news.queue.lock();
            if !std::mem::take(&mut queue.is_behind) {
                return false;
            }
            queue.told_at_s
        };
        match self.journaled(since_s) {
            Ok(items) => {
                let mut queue = news.queue.lock();
                // What came meanwhile stands behind what is read, or is read itself: places tell them apart.
                queue.waiting.extend(items);
                queue.waiting.make_contiguous().sort_unstable_by_key(|item| item.place);
                true
            }
            Err(error) => {
                tracing::error!(%error, "notifications of the past could not be read");
                false
            }
        }
    }

    fn journaled(&self, since_s: u64) -> Result<Vec<Item>, ReadError> {
        let settled = self.money().settled_since(since_s)?;
        let held = self.money().held_since(since_s)?;
        Ok(settled.iter().map(Item::from).chain(held.iter().map(Item::from)).collect())
    }

    fn tell(&self, item: &Item) -> Result<(), ReadError> {
        let (answers, now_s, able) = (self.answers(), self.answers().clock().now_s(), self.able());
        for hosted in self.told_of(item) {
            let offer = hosted.profile.offer(now_s, able);
            let is_own = hosted.id == item.connection;
            // What it did itself; and what it could read in the list anyway. Nobody else can decide about a hold.
            let may_know =
                is_own || (item.what != Notification::HoldInvoiceAccepted && offer.methods.has(Method::ListTransactions));
            if !offer.notifications.has(item.what) || !may_know {
                continue;
            }
            let Some(words) = self.words(&hosted, item)? else { continue };
            let schemes: &[Scheme] = if offer.nip04 { hosted.hears() } else { &[Scheme::Nip44] };
            let made = schemes.iter().filter_map(|scheme| answers.notification(&hosted.keys, *scheme, &words, item.at_s));
            let (heard, new): (Vec<_>, Vec<_>) = made.partition(|event| answers.outbox().has_reached(&event.id()));
            // Who heard it in one scheme before the start needs no other.
            for event in if heard.is_empty() { new } else { heard } {
                answers.notify(&event);
            }
        }
        Ok(())
    }

    /// The connections of the account: the one that it is about first, then those that asked last.
    fn told_of(&self, item: &Item) -> Vec<std::sync::Arc<Hosted>> {
        let mut all = self.answers().table().of_account(item.account);
        if all.len() > TOLD_MAX {
            all.sort_by_key(|hosted| (hosted.id != item.connection, std::cmp::Reverse(hosted.seen_at_s())));
            all.truncate(TOLD_MAX);
        }
        all
    }

    /// The plaintext, as this connection may see it. It follows from the journal, whenever it is made.
    fn words(&self, hosted: &Hosted, item: &Item) -> Result<Option<String>, ReadError> {
        let selector = match item.what {
            Notification::PaymentSent => Selector::Payment(item.hash),
            Notification::PaymentReceived | Notification::HoldInvoiceAccepted => Selector::Receipt(item.hash),
        };
        let Some(mut transaction) = self.money().lookup(Viewer::Connection(hosted.id), &selector)? else { return Ok(None) };
        if item.what == Notification::HoldInvoiceAccepted {
            // What became of it since is other news.
            (transaction.state, transaction.preimage, transaction.settled_at_s) = (TransactionState::Accepted, None, None);
        }
        Ok(Some(plaintext(item.what, &transaction_json(transaction), item.settle_deadline)))
    }
}
