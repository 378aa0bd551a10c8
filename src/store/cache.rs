//! Hot events as ready bytes, in front of the database: by number and by id.
//!
//! What is in the cache is stored: a removed event leaves it when its removal is committed, and a reader that still sees the
//! event in an older snapshot does not bring it back. So an id that is found here answers "is it stored" and a query by ids
//! without a look at the database.
//!
//! Who leaves is decided by a second chance: events stand in the order in which they came, and one that was asked for since it last
//! stood in front goes to the back. A hit so touches the event and its entry only, not the neighbours in a list, each of
//! which would be a wait for memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use parking_lot::Mutex;

use super::keys::id_head;
use crate::base::hex32::EventId;
use crate::protocol::event::Event;

/// Locks; each holds its share of the bytes.
const SHARDS: usize = 16;
/// What an entry costs beside the bytes of its event.
const ENTRY_BYTES: usize = 192;
/// Numbers of removed events that a lock may hold in any case.
const STALE_MAX: usize = 64;
/// Removals that are remembered; a reader older than that caches nothing.
const REMOVALS: usize = 1_024;

/// Events, those that nobody asks for leave first. Bounded in bytes.
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

#[derive(Default)]
struct Shard {
    events: HashMap<u64, Kept, RandomState>,
    /// The numbers in the order in which they came or had their second chance; those of removed events among them.
    order: VecDeque<u64>,
    bytes: usize,
}

struct Kept {
    event: Event,
    /// Asked for since it last stood in front.
    wanted: bool,
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
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
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
        let event = self.shards[shard_of(seq)].lock().take_note(seq);
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
        seq.is_some_and(|seq| self.shards[shard_of(seq)].lock().events.get(&seq).is_some_and(|kept| kept.event.id() == *id))
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
        if let Some(old) = shard.events.remove(&seq) {
            self.forget(&mut shard, seq, &old.event);
            shard.tidy();
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
        // A number never stands for another event, so one that is here already stays.
        let Entry::Vacant(place) = shard.events.entry(seq) else { return };
        place.insert(Kept { event, wanted: false });
        shard.order.push_back(seq);
        shard.bytes += cost_bytes;
        self.ids[shard_of(head)].lock().insert(head, seq);
        while shard.bytes > self.shard_bytes_max {
            let Some((seq, old)) = shard.pop() else { break };
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

impl Shard {
    /// The event, which gets another chance for being asked for.
    fn take_note(&mut self, seq: u64) -> Option<Event> {
        let kept = self.events.get_mut(&seq)?;
        if !kept.wanted {
            kept.wanted = true;
        }
        Some(kept.event.clone())
    }

    /// Takes out the next one that nobody asked for since it was last looked at. Everyone has one second chance, so it ends.
    fn pop(&mut self) -> Option<(u64, Event)> {
        loop {
            let seq = self.order.pop_front()?;
            match self.events.get_mut(&seq) {
                Some(kept) if kept.wanted => {
                    kept.wanted = false;
                    self.order.push_back(seq);
                }
                Some(_) => return self.events.remove(&seq).map(|kept| (seq, kept.event)),
                None => {}
            }
        }
    }

    /// Forgets the numbers of removed events before they are more than those of events.
    fn tidy(&mut self) {
        if self.order.len() > 2 * self.events.len() + STALE_MAX {
            let events = &self.events;
            self.order.retain(|seq| events.contains_key(seq));
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
    fn what_is_asked_for_stays() {
        let hot = HotEvents::new(64 << 10);
        let events: Vec<_> = (0..1_000).map(|number| event(number, 1, 50, &[], "")).collect();
        for (seq, event) in events.iter().enumerate() {
            hot.insert(seq as u64, event.clone());
            assert_eq!(hot.get(3).is_some(), seq >= 3, "{seq}");
        }
        assert!(!hot.contains(&events[4].id()));
    }

    #[test]
    fn removed_events_leave_nothing_behind() {
        let hot = HotEvents::new(64 << 20);
        let one = event(1, 1, 50, &[], "");
        for seq in 0..10_000 {
            hot.insert(seq, one.clone());
            hot.remove(seq);
        }
        assert_eq!(hot.used_bytes(), 0);
        assert!(hot.shards.iter().all(|shard| shard.lock().order.len() <= STALE_MAX));
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
