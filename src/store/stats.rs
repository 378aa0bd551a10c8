//! What the store says about itself, for `hearth stats` and the metrics.

use std::sync::atomic::Ordering;

use super::shared::Core;
use crate::kv;

/// Sizes and counts; counts are since the start.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Events stored.
    pub events: u64,
    /// The newest number.
    pub seq: u64,
    /// Events waiting for the writer.
    pub queued_events: u64,
    /// Bytes of events waiting for the writer.
    pub queued_bytes: u64,
    /// Commits with events.
    pub batches: u64,
    /// Events in them.
    pub batched_events: u64,
    /// Events found in the cache of hot events.
    pub hot_hits: u64,
    /// Events that were not.
    pub hot_misses: u64,
    /// Bytes in it.
    pub hot_used_bytes: u64,
    /// Rows that could not be read while writing.
    pub read_failures: u64,
    /// Whether a write has failed.
    pub is_poisoned: bool,
    /// The database: bytes by family, block cache, syncs, bytes written.
    pub database: kv::Stats,
}

impl Stats {
    pub(super) fn of(core: &Core) -> Self {
        let (hot_hits, hot_misses) = core.hot.counts();
        Self {
            events: core.events.load(Ordering::Relaxed),
            seq: core.seq.load(Ordering::Acquire),
            queued_events: core.queued_events.load(Ordering::Relaxed) as u64,
            queued_bytes: core.queued_bytes.load(Ordering::Relaxed) as u64,
            batches: core.batches.load(Ordering::Relaxed),
            batched_events: core.batched_events.load(Ordering::Relaxed),
            hot_hits,
            hot_misses,
            hot_used_bytes: core.hot.used_bytes() as u64,
            read_failures: core.read_failures.load(Ordering::Relaxed),
            is_poisoned: core.fatal.is_struck(),
            database: core.db.stats(),
        }
    }

    /// Events per commit, on average.
    pub fn events_per_batch(&self) -> f64 {
        if self.batches == 0 { 0.0 } else { self.batched_events as f64 / self.batches as f64 }
    }

    /// Bytes of all files.
    pub fn file_bytes(&self) -> u64 {
        self.database.families.iter().map(|family| family.file_bytes).sum()
    }
}
