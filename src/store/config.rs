//! Sizes of the store.

use super::memory;
use crate::kv::{self, Faults};

/// The least that the block cache gets by itself.
const CACHE_BYTES_LEAST: usize = 256 << 20;
/// The least that hot events get by themselves.
const HOT_BYTES_LEAST: usize = 128 << 20;

/// Settings of the store.
#[derive(Clone, Debug)]
pub struct Config {
    /// RocksDB's block cache: index rows, and events that are not in the cache below. 0: a share of the memory.
    pub cache_bytes: usize,
    /// Hot events, ready to be sent. 0: a share of the memory.
    pub hot_bytes: usize,
    /// When an event counts as stored.
    pub durability: Durability,
    /// Most events that may wait for the writer.
    pub queue_events: usize,
    /// Most bytes of events that may wait for the writer.
    pub queue_bytes: usize,
    /// Most events in one commit. Those that come meanwhile wait for all of it: twice as many make the slowest answers later and no
    /// event cheaper.
    pub batch_events: usize,
    /// Most bytes of events in one commit.
    pub batch_bytes: usize,
    /// Most bytes of write-ahead log that a start may have to replay.
    pub wal_bytes_max: u64,
    /// For tests: makes commits fail.
    pub faults: Faults,
    /// With less room on the disk than this nothing is taken, so that what is written already can be read and moved, and the wallet
    /// next door can finish what it began.
    pub free_bytes_min: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cache_bytes: 0,
            hot_bytes: 0,
            durability: Durability::Sync,
            queue_events: 16_384,
            queue_bytes: 64 << 20,
            batch_events: 512,
            batch_bytes: 4 << 20,
            wal_bytes_max: 128 << 20,
            faults: Faults::default(),
            free_bytes_min: 256 << 20,
        }
    }
}

impl Config {
    /// Bytes of the block cache and of hot events: as they were set, or a share of the memory that the process may use.
    pub(super) fn cache_sizes(&self) -> (usize, usize) {
        let or_share = |set: usize, least| if set > 0 { set } else { memory::share(memory::usable_bytes(), least) };
        (or_share(self.cache_bytes, CACHE_BYTES_LEAST), or_share(self.hot_bytes, HOT_BYTES_LEAST))
    }
}

/// When an event counts as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// When the disk has it: it survives a power failure.
    #[default]
    Sync,
    /// When the operating system has it: it survives the process, not the machine.
    Os,
}

impl Durability {
    pub(super) fn sync(self) -> kv::Sync {
        match self {
            Self::Sync => kv::Sync::Yes,
            Self::Os => kv::Sync::No,
        }
    }
}

/// How many events a filter may answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimits {
    /// For a filter without `limit`.
    pub default_limit: u64,
    /// For every filter.
    pub max_limit: u64,
}

impl ScanLimits {
    /// What a filter with this `limit` gets.
    pub fn of(&self, limit: Option<u64>) -> u64 {
        limit.unwrap_or(self.default_limit).min(self.max_limit)
    }
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self { default_limit: 500, max_limit: 5_000 }
    }
}
