//! What the owner of a database says about it: its families and a few sizes.

use super::fault::Faults;
use super::tail::LogEnd;

/// Sizes of one database.
#[derive(Clone, Debug)]
pub struct Config {
    /// Block cache shared by all families, data, index and filter blocks alike.
    pub cache_bytes: usize,
    /// Most bytes of write-ahead log before the families that hold it back are flushed; what a start may have to replay.
    pub wal_bytes_max: u64,
    /// Threads for flushes and compactions.
    pub background_jobs: i32,
    /// How far the write-ahead log is known to be synced, by whoever remembers it elsewhere: a record that is damaged behind this
    /// place was never acknowledged and is cut off. `None`: nobody knows, so that damage anywhere refuses to open.
    pub synced: Option<LogEnd>,
    /// For tests: makes commits fail.
    pub faults: Faults,
}

impl Default for Config {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, wal_bytes_max: 128 << 20, background_jobs: 2, synced: None, faults: Faults::default() }
    }
}

/// How the rows of a family are written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Larger values under growing keys, read by key: LZ4 above, ZSTD on the last level.
    Log,
    /// Small rows under random keys, looked up one by one and often in vain: a bloom filter over whole keys.
    Lookup,
    /// Small rows read in runs that share their first bytes: a bloom filter over these.
    Ranges {
        /// How many bytes the keys of a run share. Keys must not be shorter.
        prefix_bytes: usize,
    },
    /// Small rows read in order, without runs to tell apart.
    Sorted,
    /// Few rows.
    Small,
}

/// One family of keys.
#[derive(Clone, Copy, Debug)]
pub struct FamilySpec {
    /// Its name on disk; never changed.
    pub name: &'static str,
    /// How it is used.
    pub shape: Shape,
    /// Bytes collected in memory before they are written as a file; two such buffers can exist.
    pub write_buffer_bytes: usize,
}

impl FamilySpec {
    /// A family with the write buffer that suits its shape.
    pub const fn new(name: &'static str, shape: Shape) -> Self {
        let write_buffer_bytes = match shape {
            Shape::Log => 32 << 20,
            Shape::Lookup | Shape::Ranges { .. } | Shape::Sorted => 8 << 20,
            Shape::Small => 1 << 20,
        };
        Self { name, shape, write_buffer_bytes }
    }

    /// The same with another write buffer.
    #[must_use]
    pub const fn write_buffer(self, bytes: usize) -> Self {
        Self { write_buffer_bytes: bytes, ..self }
    }
}

/// A family, by its place in the list given to [`super::Db::open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Family(pub(super) usize);

impl Family {
    /// The family at this place of the list, from 0. One that is not there reads as an error and cannot be written.
    pub const fn nth(place: usize) -> Self {
        Self(place)
    }
}

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Returns after the write-ahead log is on the disk: survives a power failure.
    Yes,
    /// Returns when the operating system has it: survives the process, not the machine.
    No,
}
