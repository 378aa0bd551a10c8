//! Two memories in front of the database: hot events as ready bytes, and the ids of the newest events.

use std::sync::atomic::{AtomicU64, Ordering};

use lru::LruCache;
use parking_lot::Mutex;

use crate::base::hex32::EventId;
use crate::protocol::event::Event;

/// Locks of the cache of events; each holds its share of the bytes.
const HOT_SHARDS: usize = 16;
/// What an entry costs beside the bytes of its event.
const HOT_ENTRY_BYTES: usize = 128;
/// Ids remembered.
const RECENT_IDS: usize = 16_384;

/// Events by number, least recently used ones leave first. Bounded in bytes.
pub(super) struct HotEvents {
    shards: Vec<Mutex<Shard>>,
    shard_bytes_max: usize,
    hits: AtomicU64,
    misses: AtomicU64,
}

struct Shard {
    events: LruCache<u64, Event, foldhash::fast::RandomState>,
    bytes: usize,
}

fn cost(event: &Event) -> usize {
    event.bytes().len() + HOT_ENTRY_BYTES
}

impl HotEvents {
    pub(super) fn new(bytes_max: usize) -> Self {
        let shard = || Shard { events: LruCache::unbounded_with_hasher(foldhash::fast::RandomState::default()), bytes: 0 };
        Self {
            shards: (0..HOT_SHARDS).map(|_| Mutex::new(shard())).collect(),
            shard_bytes_max: bytes_max / HOT_SHARDS,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    pub(super) fn get(&self, seq: u64) -> Option<Event> {
        let event = self.shard(seq).lock().events.get(&seq).cloned();
        let count = if event.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        event
    }

    pub(super) fn insert(&self, seq: u64, event: Event) {
        let cost_bytes = cost(&event);
        if cost_bytes > self.shard_bytes_max {
            return;
        }
        let mut shard = self.shard(seq).lock();
        shard.bytes += cost_bytes;
        if let Some(old) = shard.events.put(seq, event) {
            shard.bytes -= cost(&old);
        }
        while shard.bytes > self.shard_bytes_max {
            let Some((_, old)) = shard.events.pop_lru() else { break };
            shard.bytes -= cost(&old);
        }
    }

    pub(super) fn remove(&self, seq: u64) {
        let mut shard = self.shard(seq).lock();
        if let Some(old) = shard.events.pop(&seq) {
            shard.bytes -= cost(&old);
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

    fn shard(&self, seq: u64) -> &Mutex<Shard> {
        // Neighbours are read together, so they lie under different locks.
        &self.shards[usize::try_from(seq).unwrap_or(0) % HOT_SHARDS]
    }
}

/// Ids of events that were stored lately: a duplicate that follows its original closely costs no look-up in the database.
/// Each id has one place; a newer one pushes an older one out.
pub(super) struct RecentIds(Box<[Mutex<Option<EventId>>]>);

impl RecentIds {
    pub(super) fn new() -> Self {
        Self((0..RECENT_IDS).map(|_| Mutex::new(None)).collect())
    }

    pub(super) fn contains(&self, id: &EventId) -> bool {
        *self.place(id).lock() == Some(*id)
    }

    pub(super) fn insert(&self, id: &EventId) {
        *self.place(id).lock() = Some(*id);
    }

    pub(super) fn remove(&self, id: &EventId) {
        let mut place = self.place(id).lock();
        if *place == Some(*id) {
            *place = None;
        }
    }

    fn place(&self, id: &EventId) -> &Mutex<Option<EventId>> {
        let [.., high, low] = id.0;
        &self.0[usize::from(u16::from_be_bytes([high, low])) % RECENT_IDS]
    }
}
