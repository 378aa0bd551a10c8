//! Walking over the keys of a family in order, as an owned value.

use std::sync::Arc;

use rocksdb::{DBRawIterator, ReadOptions};

use super::config::Family;
use super::db::Inner;
use super::error::ReadError;
use super::snapshot::Snapshot;

/// Stands on a key of a family, or on none. It sees the database as it was when the cursor was made (or at its snapshot).
/// May be kept and sent to another thread; while it is held, the files it reads are not deleted.
pub struct Cursor {
    // The order of the fields is the order in which they are dropped: what borrows goes before what it borrows from.
    raw: DBRawIterator<'static>,
    _snapshot: Option<Snapshot>,
    _inner: Arc<Inner>,
}

/// A key and its value.
pub type Entry<'a> = (&'a [u8], &'a [u8]);

/// Where a cursor may go.
pub(super) enum Reach<'a> {
    /// Everywhere between two keys, in order. An empty bound is none.
    Between { lower: &'a [u8], upper: &'a [u8] },
    /// Within the run of the key that was sought; beyond its end anything may come, in any order.
    Run,
}

impl Cursor {
    pub(super) fn new(
        inner: &Arc<Inner>,
        family: Family,
        reach: &Reach<'_>,
        snapshot: Option<&Snapshot>,
    ) -> Result<Self, ReadError> {
        let mut options = ReadOptions::default();
        match reach {
            Reach::Between { lower, upper } => {
                options.set_total_order_seek(true);
                if !lower.is_empty() {
                    options.set_iterate_lower_bound(*lower);
                }
                if !upper.is_empty() {
                    options.set_iterate_upper_bound(*upper);
                }
            }
            Reach::Run => options.set_total_order_seek(false),
        }
        if let Some(snapshot) = snapshot {
            snapshot.bind(&mut options);
        }
        let raw = inner.rocks.raw_iterator_cf_opt(inner.handle(family)?, options);
        // SAFETY: only the lifetime is extended. The iterator borrows the database inside `inner`, which is behind an `Arc`,
        // never moves and is kept alive by the field `_inner`, dropped after `raw`. The bounds are owned by the iterator's
        // options; the snapshot is kept alive by `_snapshot`.
        #[expect(unsafe_code, reason = "an owned cursor: the crate has only borrowed ones")]
        let raw = unsafe { std::mem::transmute::<DBRawIterator<'_>, DBRawIterator<'static>>(raw) };
        Ok(Self { raw, _snapshot: snapshot.cloned(), _inner: Arc::clone(inner) })
    }

    /// Goes to the first key that is not below `key`.
    pub fn seek(&mut self, key: &[u8]) {
        self.raw.seek(key);
    }

    /// Goes to the last key that is not above `key`.
    pub fn seek_back(&mut self, key: &[u8]) {
        self.raw.seek_for_prev(key);
    }

    /// Goes to the first key.
    pub fn seek_first(&mut self) {
        self.raw.seek_to_first();
    }

    /// Goes to the last key.
    pub fn seek_last(&mut self) {
        self.raw.seek_to_last();
    }

    /// Goes to the next key; stays on none when it stands on none.
    pub fn next(&mut self) {
        if self.raw.valid() {
            self.raw.next();
        }
    }

    /// Goes to the key before; stays on none when it stands on none.
    pub fn prev(&mut self) {
        if self.raw.valid() {
            self.raw.prev();
        }
    }

    /// The key and value it stands on; `None` past either end. An end that was only reached because reading failed is an
    /// error, never a `None`.
    pub fn entry(&self) -> Result<Option<Entry<'_>>, ReadError> {
        match self.raw.item() {
            Some(entry) => Ok(Some(entry)),
            None => self.raw.status().map(|()| None).map_err(|error| ReadError(error.into())),
        }
    }
}
