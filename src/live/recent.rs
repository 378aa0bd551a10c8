//! The short memory of wallet messages (kinds 23194 to 23197): they are ephemeral, but a service or a client that subscribes a
//! moment late must still get them (wallet.md section 5.8). Bounded in time and in bytes, of each author and in all; the oldest go first.

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::keys::{Dimension, Keys};
use crate::base::clock::Clock;
use crate::base::hex32::EventId;
use crate::protocol::event::{Event, EventRef, TagValue};
use crate::protocol::filter::Filter;
use crate::protocol::kind;

/// What a kept event costs beside its own bytes.
const ENTRY_OVERHEAD_BYTES: usize = 400;
/// Most `p` and `e` values that one event can be found by.
const TAGS_MAX: usize = 16;
/// Most events that one filter gets back.
const FOUND_MAX: usize = 500;
/// Most events that are compared with one filter: the last to come of those that its shortest list leads to.
const LOOKED_AT_MAX: usize = 2_048;
/// Most places of events under keys that are walked to find them: an event may stand under several keys of a list.
const STEPS_MAX: usize = 4 * LOOKED_AT_MAX;

/// How long and how much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct RecentLimits {
    /// Milliseconds after it came.
    pub keep_ms: u64,
    /// Bytes in all.
    pub bytes: usize,
    /// Bytes of one author, so that nobody pushes out what all others wrote.
    pub author_bytes: usize,
}

impl Default for RecentLimits {
    fn default() -> Self {
        Self { keep_ms: 5 * 60 * 1_000, bytes: 32 * 1_024 * 1_024, author_bytes: 2 * 1_024 * 1_024 }
    }
}

/// The memory.
#[derive(Debug)]
pub struct Recent {
    limits: RecentLimits,
    keys: Keys,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By number, in order of arrival, with the time until which each is kept.
    events: BTreeMap<u64, (u64, Event)>,
    /// The number of the next.
    next: u64,
    bytes: usize,
    /// From key to the numbers of the events, oldest first.
    found_by: HashMap<u64, VecDeque<u64>, foldhash::fast::RandomState>,
    /// From the key of an author to the bytes of what it wrote.
    written: HashMap<u64, usize, foldhash::fast::RandomState>,
}

impl Recent {
    /// An empty memory.
    pub fn new(limits: RecentLimits, keys: Keys, clock: Clock) -> Self {
        Self { limits, keys, clock, state: Mutex::default() }
    }

    /// Whether events of this kind are remembered.
    pub const fn remembers(kind: u16) -> bool {
        kind::is_wallet(kind) && matches!(kind::class(kind), kind::Class::Ephemeral)
    }

    /// Remembers an event; `false` if it is remembered already.
    pub fn keep(&self, event: &Event) -> bool {
        let now_ms = self.clock.now_ms();
        let keys = self.keys_of(event.view());
        let mut state = self.state.lock();
        self.forget(&mut state, now_ms);
        if state.position(self.keys.id(&event.id()), &event.id()).is_some() {
            return false;
        }
        let number = state.next;
        state.next += 1;
        for key in keys {
            state.found_by.entry(key).or_default().push_back(number);
        }
        state.bytes += cost(event);
        let author = self.keys.author(&event.pubkey());
        *state.written.entry(author).or_default() += cost(event);
        state.events.insert(number, (now_ms.saturating_add(self.limits.keep_ms), event.clone()));
        while state.written.get(&author).is_some_and(|bytes| *bytes > self.limits.author_bytes)
            && let Some(oldest) = state.found_by.get(&author).and_then(|numbers| numbers.front().copied())
        {
            self.remove(&mut state, oldest);
        }
        self.forget(&mut state, now_ms);
        true
    }

    /// Whether this event is remembered.
    pub fn has(&self, id: &EventId) -> bool {
        self.state.lock().position(self.keys.id(id), id).is_some()
    }

    /// What a filter that names an author, `#p`, `#e` or an id may still see, newest first.
    pub fn find(&self, filter: &Filter) -> Vec<Event> {
        let lists: SmallVec<[Vec<u64>; 4]> = naming(filter).iter().map(|dimension| self.keys_of_list(dimension)).collect();
        if lists.is_empty() {
            return Vec::new();
        }
        let now_ms = self.clock.now_ms();
        let mut state = self.state.lock();
        self.forget(&mut state, now_ms);
        let shortest = lists.iter().min_by_key(|keys| state.places(keys));
        let mut found = shortest.map(|keys| state.latest(keys)).unwrap_or_default();
        // Nobody waits while they are compared.
        drop(state);
        found.retain(|event| is_shown(filter, event, now_ms / 1_000));
        found.sort_by(|a, b| b.created_at().cmp(&a.created_at()).then_with(|| a.id().cmp(&b.id())));
        found.truncate(filter.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(FOUND_MAX).min(FOUND_MAX));
        found
    }

    fn keys_of_list(&self, dimension: &Dimension<'_>) -> Vec<u64> {
        let mut keys = Vec::with_capacity(dimension.keys());
        self.keys.each(dimension, |key| keys.push(key));
        keys
    }

    /// Bytes remembered.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    fn forget(&self, state: &mut State, now_ms: u64) {
        while let Some((number, (until_ms, _))) = state.events.first_key_value()
            && (*until_ms <= now_ms || state.bytes > self.limits.bytes)
        {
            let number = *number;
            self.remove(state, number);
        }
    }

    fn remove(&self, state: &mut State, number: u64) {
        let Some((_, event)) = state.events.remove(&number) else { return };
        for key in self.keys_of(event.view()) {
            state.take_place(key, number);
        }
        let bytes = cost(&event);
        state.bytes -= bytes;
        if let Entry::Occupied(mut written) = state.written.entry(self.keys.author(&event.pubkey())) {
            *written.get_mut() -= bytes;
            if *written.get() == 0 {
                written.remove();
            }
        }
    }

    /// What an event can be found by: id, author, `p` and `e`.
    fn keys_of(&self, event: EventRef<'_>) -> SmallVec<[u64; 8]> {
        let named = event.tags().filter(|(letter, value)| matches!(letter, b'p' | b'e') && matches!(value, TagValue::Hex(_)));
        let mut keys: SmallVec<[u64; 8]> = named.take(TAGS_MAX).map(|(letter, value)| self.keys.tag(letter, value)).collect();
        keys.extend([self.keys.id(&event.id()), self.keys.author(&event.pubkey())]);
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

impl State {
    fn event(&self, number: u64) -> Option<&Event> {
        self.events.get(&number).map(|(_, event)| event)
    }

    /// In how many places events stand under these keys.
    fn places(&self, keys: &[u64]) -> usize {
        keys.iter().filter_map(|key| self.found_by.get(key)).map(VecDeque::len).sum()
    }

    /// The last events to come of those under any of these keys, each once, and no more of them than are to be looked at.
    fn latest(&self, keys: &[u64]) -> Vec<Event> {
        let mut lists: Vec<_> =
            keys.iter().filter_map(|key| self.found_by.get(key)).map(|numbers| numbers.iter().rev().copied()).collect();
        let mut heads: BinaryHeap<(u64, usize)> =
            lists.iter_mut().enumerate().filter_map(|(list, numbers)| numbers.next().map(|number| (number, list))).collect();
        let (mut found, mut last) = (Vec::new(), None);
        for _ in 0..STEPS_MAX {
            let Some((number, list)) = heads.pop().filter(|_| found.len() < LOOKED_AT_MAX) else { break };
            heads.extend(lists[list].next().map(|next| (next, list)));
            if last != Some(number) {
                last = Some(number);
                found.extend(self.event(number).cloned());
            }
        }
        found
    }

    fn position(&self, key: u64, id: &EventId) -> Option<u64> {
        let numbers = self.found_by.get(&key)?;
        numbers.iter().copied().find(|number| self.event(*number).is_some_and(|event| event.id() == *id))
    }

    /// Mostly the oldest under each of its keys goes, so this looks at few.
    fn take_place(&mut self, key: u64, number: u64) {
        if let Entry::Occupied(mut entry) = self.found_by.entry(key) {
            if let Ok(at) = entry.get().binary_search(&number) {
                entry.get_mut().remove(at);
            }
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }
}

fn cost(event: &Event) -> usize {
    event.bytes().len() + ENTRY_OVERHEAD_BYTES
}

fn is_shown(filter: &Filter, event: &Event, now_s: u64) -> bool {
    filter.matches(event.view()) && event.view().expiration().is_none_or(|at| at > now_s)
}

/// The lists by which the filter names someone, if it can admit what is remembered here at all.
fn naming(filter: &Filter) -> SmallVec<[Dimension<'_>; 4]> {
    let admits = filter.kinds.as_deref().is_none_or(|kinds| kinds.iter().any(|kind| Recent::remembers(*kind)));
    if !admits || filter.limit == Some(0) || filter.is_impossible() {
        return SmallVec::new();
    }
    let ids = filter.ids.as_deref().map(Dimension::Ids);
    let authors = filter.authors.as_deref().map(Dimension::Authors);
    let tags = [b'e', b'p'].into_iter().filter_map(|letter| filter.tag(letter)).map(Dimension::Tag);
    ids.into_iter().chain(tags).chain(authors).collect()
}
