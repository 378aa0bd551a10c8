//! The database as it was at one moment, as an owned value.

use std::sync::Arc;

use rocksdb::{ReadOptions, SnapshotWithThreadMode};

use super::config::Family;
use super::db::Inner;
use super::error::ReadError;

/// The database as it was at one moment. Cheap to clone; may be kept and sent to another thread. While it is held,
/// compaction keeps the versions that it sees.
#[derive(Clone)]
pub struct Snapshot(Arc<Held>);

// The order of the fields is the order in which they are dropped: what borrows goes before what it borrows from.
struct Held {
    options: ReadOptions,
    raw: SnapshotWithThreadMode<'static, rocksdb::DB>,
    inner: Arc<Inner>,
}

impl Snapshot {
    pub(super) fn new(inner: &Arc<Inner>) -> Self {
        let raw = inner.rocks.snapshot();
        // SAFETY: only the lifetime is extended. The snapshot borrows the database inside `inner`, which is behind an `Arc`,
        // never moves and is kept alive by the field `inner`, dropped after `raw`.
        #[expect(unsafe_code, reason = "an owned snapshot: the crate has only borrowed ones")]
        let raw = unsafe {
            std::mem::transmute::<SnapshotWithThreadMode<'_, rocksdb::DB>, SnapshotWithThreadMode<'static, rocksdb::DB>>(raw)
        };
        let mut options = ReadOptions::default();
        options.set_snapshot(&raw);
        Self(Arc::new(Held { options, raw, inner: Arc::clone(inner) }))
    }

    /// The value of a key at that moment.
    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.get_with(family, key, <[u8]>::to_vec)
    }

    /// The value of a key at that moment, read in place.
    pub fn get_with<T>(&self, family: Family, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, ReadError> {
        self.0.inner.get_with(family, key, &self.0.options, read)
    }

    /// Where the newest commit that it sees stands, as [`super::Db::position`] said then.
    pub fn position(&self) -> u64 {
        self.0.raw.sequence_number()
    }

    /// Sets the moment on the options of a read.
    pub(super) fn bind(&self, options: &mut ReadOptions) {
        options.set_snapshot(&self.0.raw);
    }
}
