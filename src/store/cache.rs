//! Hot events as ready bytes, in front of the database: by number and by id.
//!
//! What is in the cache is stored: a removed event leaves it when its removal is committed, and a reader that still sees the
//! event in an older snapshot does not bring it back. So an id that is found here answers "is it stored" and a query by ids
//! without a look at the database.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use lru::LruCache;
use parking_lot::Mutex;

use super::keys::id_head;
use crate::base::hex32::EventId;
use crate::protocol::event::Event;

/// Locks; each holds its share of the bytes.
const SHARDS: usize = 16;
/// What an entry costs beside the bytes of its event.
const ENTRY_BYTES: usize = 192;
/// Removals that are remembered; a reader older than that caches nothing.
const REMOVALS: usize = 1_024;

/// Events, least recently used ones leave first. Bounded in bytes.
pub(super) struct HotEvents {
    shards: [Mutex<Shard>; SHARDS],
    /// First bytes of the id to the number, for what is in the shards.
    ids: [Mutex<HashMap<u64, u64, RandomState>>; SHARDS],
    shard_bytes_max: usize,
    removals: Mutex<VecDeque<u64>>,
    removed: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

struct Shard {
    events: LruCache<u64, Event, RandomState>,
    bytes: usize,
}

/// How many events had been removed when a reader took its snapshot.
#[derive(Clone, Copy)]
pub(super) struct Moment(u64);

fn cost(event: &Event) -> usize {
    event.bytes().len() + ENTRY_BYTES
}

fn shard_of(number: u64) -> usize {
    // Neighbours are read together, so they lie under different locks.
    usize::try_from(number % SHARDS as u64).unwrap_or(0)
}

impl HotEvents {
    pub(super) fn new(bytes_max: usize) -> Self {
        let shard = || Shard { events: LruCache::unbounded_with_hasher(RandomState::default()), bytes: 0 };
        Self {
            shards: std::array::from_fn(|_| Mutex::new(shard())),
            ids: std::array::from_fn(|_| Mutex::default()),
            shard_bytes_max: bytes_max / SHARDS,
            removals: Mutex::new(VecDeque::with_capacity(REMOVALS)),
            removed: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// To be taken before the snapshot.
    pub(super) fn moment(&self) -> Moment {
        Moment(self.removed.load(Ordering::Acquire))
    }

    pub(super) fn get(&self, seq: u64) -> Option<Event> {
        let event = self.shards[shard_of(seq)].lock().events.get(&seq).cloned();
        let count = if event.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        event
    }

    /// An event and its number by its id.
    pub(super) fn get_by_id(&self, id: &EventId) -> Option<(u64, Event)> {
        let head = id_head(id);
        let seq = self.ids[shard_of(head)].lock().get(&head).copied()?;
        let event = self.get(seq).filter(|event| event.id() == *id)?;
        Some((seq, event))
    }

    /// Whether an event with this id is here.
    pub(super) fn contains(&self, id: &EventId) -> bool {
        let head = id_head(id);
        let seq = self.ids[shard_of(head)].lock().get(&head).copied();
        seq.is_some_and(|seq| self.shards[shard_of(seq)].lock().events.peek(&seq).is_some_and(|event| event.id() == *id))
    }

    /// An event that was just committed.
    pub(super) fn insert(&self, seq: u64, event: Event) {
        let mut shard = self.shards[shard_of(seq)].lock();
        self.insert_into(&mut shard, seq, event);
    }

    /// An event that was read from a snapshot taken after `moment`. It is left out if it may have been removed since.
    pub(super) fn insert_read(&self, seq: u64, event: Event, moment: Moment) {
        let mut shard = self.shards[shard_of(seq)].lock();
        // Under the lock: a removal that is counted later also comes to this shard later.
        if !self.may_be_removed(seq, moment) {
            self.insert_into(&mut shard, seq, event);
        }
    }

    /// An event whose removal was just committed.
    pub(super) fn remove(&self, seq: u64) {
        {
            let mut removals = self.removals.lock();
            if removals.len() == REMOVALS {
                removals.pop_front();
            }
            removals.push_back(seq);
            self.removed.fetch_add(1, Ordering::Release);
        }
        let mut shard = self.shards[shard_of(seq)].lock();
        if let Some(old) = shard.events.pop(&seq) {
            self.forget(&mut shard, seq, &old);
        }
    }

    /// Found and not found, since the start.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// Bytes held.
    pub(super) fn used_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes).sum()
    }

    fn may_be_removed(&self, seq: u64, moment: Moment) -> bool {
        if self.removed.load(Ordering::Acquire) == moment.0 {
            return false;
        }
        let removals = self.removals.lock();
        let since = self.removed.load(Ordering::Acquire) - moment.0;
        let remembered = usize::try_from(since).ok().filter(|since| *since <= removals.len());
        remembered.is_none_or(|since| removals.iter().rev().take(since).any(|removed| *removed == seq))
    }

    fn insert_into(&self, shard: &mut Shard, seq: u64, event: Event) {
        let cost_bytes = cost(&event);
        if cost_bytes > self.shard_bytes_max {
            return;
        }
        let head = id_head(&event.id());
        shard.bytes += cost_bytes;
        if let Some(old) = shard.events.put(seq, event) {
            shard.bytes -= cost(&old);
        }
        self.ids[shard_of(head)].lock().insert(head, seq);
        while shard.bytes > self.shard_bytes_max {
            let Some((seq, old)) = shard.events.pop_lru() else { break };
            self.forget(shard, seq, &old);
        }
    }

    fn forget(&self, shard: &mut Shard, seq: u64, old: &Event) {
        shard.bytes -= cost(old);
        let head = id_head(&old.id());
        let mut ids = self.ids[shard_of(head)].lock();
        if ids.get(&head) == Some(&seq) {
            ids.remove(&head);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::support::event;

    #[test]
    fn it_stays_within_its_bytes_and_forgets_the_oldest() {
        let hot = HotEvents::new(64 << 10);
        let events: Vec<_> = (0..1_000).map(|number| event(number, 1, 50, &[], "")).collect();
        for (seq, event) in events.iter().enumerate() {
            hot.insert(seq as u64, event.clone());
        }
        assert!(hot.used_bytes() <= 64 << 10);
        assert!(hot.contains(&events[999].id()) && !hot.contains(&events[0].id()));
        assert_eq!(hot.get_by_id(&events[999].id()), Some((999, events[999].clone())));
        let known = hot.ids.iter().map(|ids| ids.lock().len()).sum::<usize>();
        assert_eq!(known, hot.shards.iter().map(|shard| shard.lock().events.len()).sum::<usize>());
    }

    #[test]
    fn a_reader_does_not_bring_back_what_was_removed() {
        let hot = HotEvents::new(1 << 20);
        let (one, two) = (event(1, 1, 50, &[], ""), event(2, 1, 50, &[], ""));
        hot.insert(1, one.clone());
        let moment = hot.moment();
        hot.remove(1);
        hot.insert_read(1, one.clone(), moment);
        assert!(!hot.contains(&one.id()));
        hot.insert_read(2, two.clone(), moment);
        assert!(hot.contains(&two.id()), "what was not removed is cached");
        hot.remove(2);
        for seq in 10..10 + REMOVALS as u64 {
            hot.remove(seq);
        }
        hot.insert_read(3, two.clone(), moment);
        assert!(!hot.contains(&two.id()), "too long ago to know");
        hot.insert_read(2, two.clone(), hot.moment());
        assert!(hot.contains(&two.id()));
    }
}
