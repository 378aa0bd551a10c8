//! The inverted index: from the fields of an event to the subscriptions that may want it.
//!
//! Each filter is filed under the values of its most selective condition only. An event looks up its id, author, kind, tag values
//! and the list of filters without conditions; each filter found there is then checked whole. So the cost of an event depends on
//! how many filters nearly match, not on how many there are.
//!
//! The map is cut into shards with a lock each. A posting knows which slot of its subscription it fills and the slot knows
//! where the posting stands, so both ends of a removal are found without searching: a REQ that replaces another costs the
//! same among ten subscriptions or a hundred thousand of the same kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use foldhash::fast::RandomState;
use hashbrown::hash_table::Entry;
use hashbrown::{HashSet, HashTable};
use parking_lot::RwLock;
use smallvec::SmallVec;

use super::keys::{Dimension, Keys};
use super::subscription::Subscription;
use crate::protocol::event::EventRef;
use crate::protocol::filter::{Filter, SortedTags};
use crate::protocol::kind;

/// Shards of the map, a power of two. Far more than threads: a feed of 500 authors takes a lock for each of them, coming and going, and with
/// 64 shards two such threads met so often that they slept for most of their time.
const SHARDS: usize = 1_024;
/// An event with more single-letter tags than this has them put in order before filters are compared with it.
const UNSORTED_TAGS_MAX: usize = 16;
/// A list of so many postings keeps its room until it is empty. Feeds of popular authors come and go all the time, and giving room back
/// that another thread had taken waits for that thread's part of the heap.
const SMALL_LIST: usize = 32;
/// The place of a posting that does not stand in the index.
pub(super) const NOWHERE: u32 = u32::MAX;

/// From keys to postings.
#[derive(Debug)]
pub struct Index {
    keys: Keys,
    shards: Box<[Shard]>,
}

/// A line of memory of its own: whoever takes one lock does not wait for the line of another.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(RwLock<HashTable<Postings>>);

#[derive(Debug)]
struct Postings {
    key: u64,
    list: SmallVec<[Posting; 1]>,
}

/// One filter of one subscription under one key.
#[derive(Debug)]
struct Posting {
    subscription: Arc<Subscription>,
    /// Which of its filters.
    filter: u32,
    /// Which of its places holds the position of this posting.
    slot: u32,
}

impl Index {
    /// An empty index.
    pub fn new(keys: Keys) -> Self {
        Self { keys, shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }

    /// How many places a subscription to these filters needs.
    pub fn places(filters: &[Filter]) -> usize {
        filters.iter().map(|filter| Dimension::of(filter).keys()).sum()
    }

    /// Files a subscription under its filters.
    pub fn insert(&self, subscription: &Arc<Subscription>) {
        self.each_slot(subscription, |key, filter, slot| {
            let posting = Posting { subscription: Arc::clone(subscription), filter, slot };
            let mut shard = self.shard(key).write();
            let postings = match shard.entry(key, |postings| postings.key == key, |postings| postings.key) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(Postings { key, list: SmallVec::new() }).into_mut(),
            };
            set_place(&posting, postings.list.len());
            postings.list.push(posting);
        });
    }

    /// Takes a subscription out. Places that are not filled are passed over, so it may be called twice, or while
    /// [`Index::insert`] runs elsewhere (which must then look again afterwards).
    pub fn remove(&self, subscription: &Arc<Subscription>) {
        self.each_slot(subscription, |key, _, slot| {
            let Some(place) = subscription.places.get(slot as usize) else { return };
            let mut shard = self.shard(key).write();
            let at = place.swap(NOWHERE, Ordering::Relaxed) as usize;
            let Ok(mut entry) = shard.find_entry(key, |postings| postings.key == key) else { return };
            let list = &mut entry.get_mut().list;
            if at >= list.len() {
                return;
            }
            list.swap_remove(at);
            if let Some(moved) = list.get(at) {
                set_place(moved, at);
            }
            if list.is_empty() {
                entry.remove();
            } else if list.capacity() > SMALL_LIST.max(list.len() * 4) {
                list.shrink_to_fit();
            }
        });
    }

    /// The subscriptions that an event goes to, each once.
    pub fn matching(&self, event: EventRef<'_>) -> SmallVec<[Arc<Subscription>; 8]> {
        if event.tags().nth(UNSORTED_TAGS_MAX).is_none() {
            return self.matching_by(event, |filter| filter.matches(event));
        }
        let tags = SortedTags::of(event);
        self.matching_by(event, |filter| filter.matches_sorted(event, &tags))
    }

    /// Asks `matches` once about each filter that is filed under a key of the event, under however many of them it is.
    pub(super) fn matching_by(
        &self,
        event: EventRef<'_>,
        mut matches: impl FnMut(&Filter) -> bool,
    ) -> SmallVec<[Arc<Subscription>; 8]> {
        let is_wallet = kind::is_wallet(event.kind());
        let mut found: SmallVec<[Arc<Subscription>; 8]> = SmallVec::new();
        let mut repeats = false;
        // A filter is filed under one kind of condition, and only of tags an event has several values.
        let several = event.tags().nth(1).is_some();
        let mut asked: HashSet<(usize, u32), RandomState> = HashSet::default();
        for key in self.keys.of_event(event) {
            let shard = self.shard(key).read();
            let Some(postings) = shard.find(key, |postings| postings.key == key) else { continue };
            for Posting { subscription, filter: number, .. } in &postings.list {
                let Some(filter) = subscription.filters.get(*number as usize) else { continue };
                let shares = subscription.places.len() > 1;
                if several && shares && !asked.insert((Arc::as_ptr(subscription).addr(), *number)) {
                    continue;
                }
                if (!is_wallet || filter.names_someone()) && matches(filter) {
                    repeats |= shares;
                    found.push(Arc::clone(subscription));
                }
            }
        }
        if repeats {
            found.sort_unstable_by_key(|subscription| Arc::as_ptr(subscription).addr());
            found.dedup_by(|a, b| Arc::ptr_eq(a, b));
        }
        found
    }

    /// Keys that have postings, and postings: for tests and measurements.
    pub fn size(&self) -> (usize, usize) {
        self.shards.iter().fold((0, 0), |(keys, postings), shard| {
            let shard = shard.0.read();
            (keys + shard.len(), postings + shard.iter().map(|entry| entry.list.len()).sum::<usize>())
        })
    }

    fn shard(&self, key: u64) -> &RwLock<HashTable<Postings>> {
        // The table itself uses the highest and the lowest bits.
        &self.shards[(key >> 32) as usize % SHARDS].0
    }

    /// Every key of a subscription, with its filter and its slot. Lists are in order and feeds share popular authors, so two threads that
    /// began both at the first would walk side by side and wait for each other's memory at each step: each begins somewhere else.
    fn each_slot(&self, subscription: &Arc<Subscription>, mut call: impl FnMut(u64, u32, u32)) {
        let mut slots: SmallVec<[(u64, u32, u32); 16]> = SmallVec::with_capacity(subscription.places.len());
        for (filter, number) in subscription.filters.iter().zip(0..) {
            self.keys
                .each(&Dimension::of(filter), |key| slots.push((key, number, u32::try_from(slots.len()).unwrap_or(NOWHERE))));
        }
        let (later, first) = slots.split_at(begin(subscription, slots.len()));
        first.iter().chain(later).for_each(|(key, filter, slot)| call(*key, *filter, *slot));
    }
}

/// Where a subscription begins with its keys: always at the same one, and hardly where another does.
fn begin(subscription: &Arc<Subscription>, keys: usize) -> usize {
    let spread = (Arc::as_ptr(subscription).addr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (spread as usize).checked_rem(keys).unwrap_or(0)
}

/// Under the lock of the shard only.
fn set_place(posting: &Posting, at: usize) {
    if let Some(place) = posting.subscription.places.get(posting.slot as usize) {
        place.store(u32::try_from(at).unwrap_or(NOWHERE), Ordering::Relaxed);
    }
}

/// Places for a new subscription.
pub(super) fn empty_places(count: usize) -> Box<[AtomicU32]> {
    (0..count).map(|_| AtomicU32::new(NOWHERE)).collect()
}
