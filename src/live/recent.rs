//! The short memory of wallet messages (kinds 23194 to 23197): they are ephemeral, but a service or a client that subscribes a
//! moment late must still get them (wallet.md section 5.8). Bounded in time and in bytes; the oldest go first.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};

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
/// Most events that one filter gets back; of more than these, the last to come are looked at.
const FOUND_MAX: usize = 500;

/// How long and how much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct RecentLimits {
    /// Milliseconds after it came.
    pub keep_ms: u64,
    /// Bytes in all.
    pub bytes: usize,
}

impl Default for RecentLimits {
    fn default() -> Self {
        Self { keep_ms: 5 * 60 * 1_000, bytes: 32 * 1_024 * 1_024 }
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
    /// In order of arrival; the first has the number `first`.
    events: VecDeque<(u64, Event)>,
    first: u64,
    bytes: usize,
    /// From key to the numbers of the events, oldest first.
    found_by: HashMap<u64, VecDeque<u64>, foldhash::fast::RandomState>,
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
        let number = state.first + state.events.len() as u64;
        for key in keys {
            state.found_by.entry(key).or_default().push_back(number);
        }
        state.bytes += cost(event);
        state.events.push_back((now_ms.saturating_add(self.limits.keep_ms), event.clone()));
        self.forget(&mut state, now_ms);
        true
    }

    /// Whether this event is remembered.
    pub fn has(&self, id: &EventId) -> bool {
        self.state.lock().position(self.keys.id(id), id).is_some()
    }

    /// What a filter that names an author, `#p`, `#e` or an id may still see, newest first.
    pub fn find(&self, filter: &Filter) -> Vec<Event> {
        let Some(dimension) = naming(filter) else { return Vec::new() };
        let now_ms = self.clock.now_ms();
        let mut numbers: Vec<u64> = Vec::new();
        let mut state = self.state.lock();
        self.forget(&mut state, now_ms);
        let matches = |number: &u64| state.event(*number).is_some_and(|event| is_shown(filter, event, now_ms / 1_000));
        self.keys.each(&dimension, |key| {
            let latest = state.found_by.get(&key).into_iter().flatten().rev().copied();
            numbers.extend(latest.filter(matches).take(FOUND_MAX));
        });
        numbers.sort_unstable();
        numbers.dedup();
        let mut found: Vec<Event> = numbers.iter().filter_map(|number| state.event(*number).cloned()).collect();
        drop(state);
        found.sort_by(|a, b| b.created_at().cmp(&a.created_at()).then_with(|| a.id().cmp(&b.id())));
        found.truncate(filter.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(FOUND_MAX).min(FOUND_MAX));
        found
    }

    /// Bytes remembered.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    fn forget(&self, state: &mut State, now_ms: u64) {
        while let Some((until_ms, event)) = state.events.front()
            && (*until_ms <= now_ms || state.bytes > self.limits.bytes)
        {
            let (keys, bytes) = (self.keys_of(event.view()), cost(event));
            for key in keys {
                state.forget_oldest(key);
            }
            state.events.pop_front();
            state.bytes -= bytes;
            state.first += 1;
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
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.events.get(at).map(|(_, event)| event)
    }

    fn position(&self, key: u64, id: &EventId) -> Option<u64> {
        let numbers = self.found_by.get(&key)?;
        numbers.iter().copied().find(|number| self.event(*number).is_some_and(|event| event.id() == *id))
    }

    /// Events are forgotten in the order they came, so the oldest under each of its keys is the one that goes.
    fn forget_oldest(&mut self, key: u64) {
        if let Entry::Occupied(mut entry) = self.found_by.entry(key) {
            entry.get_mut().pop_front();
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

/// The shortest list by which the filter names someone, if it can admit what is remembered here at all.
fn naming(filter: &Filter) -> Option<Dimension<'_>> {
    let admits = filter.kinds.as_deref().is_none_or(|kinds| kinds.iter().any(|kind| Recent::remembers(*kind)));
    if !admits || filter.limit == Some(0) || filter.is_impossible() {
        return None;
    }
    let ids = filter.ids.as_deref().map(Dimension::Ids);
    let authors = filter.authors.as_deref().map(Dimension::Authors);
    let tags = [b'e', b'p'].into_iter().filter_map(|letter| filter.tag(letter)).map(Dimension::Tag);
    ids.into_iter().chain(tags).chain(authors).min_by_key(Dimension::keys)
}
