//! What a database says about itself.

/// Sizes and counts since the database was opened.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Each family.
    pub families: Vec<FamilyStats>,
    /// Commits that succeeded.
    pub commits: u64,
    /// Syncs of the write-ahead log.
    pub wal_syncs: u64,
    /// Bytes written to the write-ahead log.
    pub wal_bytes: u64,
    /// Bytes written by flushes.
    pub flushed_bytes: u64,
    /// Bytes written by compactions.
    pub compacted_bytes: u64,
    /// Blocks found in the cache.
    pub cache_hits: u64,
    /// Blocks that had to be read.
    pub cache_misses: u64,
    /// Bytes in the cache.
    pub cache_used_bytes: u64,
}

/// One family.
#[derive(Clone, Debug, Default)]
pub struct FamilyStats {
    /// Its name.
    pub name: &'static str,
    /// Bytes of its files.
    pub file_bytes: u64,
    /// Bytes of its write buffers.
    pub memory_bytes: u64,
    /// RocksDB's estimate of its keys.
    pub keys: u64,
}
