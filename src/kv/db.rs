//! One open database: reading, committing, poison.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::statistics::Ticker;
use rocksdb::{Cache, ColumnFamily, DB, Options, ReadOptions, WriteBatch, WriteOptions, properties};

use super::batch::{Batch, Op};
use super::config::{Config, Family, FamilySpec, Sync};
use super::cursor::{Cursor, Reach};
use super::error::{Cause, CheckpointError, CommitError, OpenError, ReadError};
use super::fault::Faults;
use super::inspect::{self, inspect};
use super::options;
use super::snapshot::Snapshot;
use super::stats::{FamilyStats, Stats};
use super::tail::{self, LogEnd};

/// The file whose lock says that a process has the directory open. RocksDB has its own; this one can be asked without
/// reading the words of an error.
const LOCK_FILE: &str = "IN_USE";

/// An open database. Cheap to clone; the last clone (and cursor, and snapshot) closes it.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

// The order of the fields is the order in which they are dropped: what borrows goes before what it borrows from.
pub(super) struct Inner {
    families: Vec<&'static ColumnFamily>,
    names: Vec<&'static str>,
    pub(super) rocks: DB,
    read: ReadOptions,
    /// Holds the counters that [`Db::stats`] reads.
    options: Options,
    cache: Cache,
    poisoned: AtomicBool,
    commits: AtomicU64,
    faults: Faults,
    _lock: Lock,
}

/// The family of somebody else that kept a database from opening. RocksDB tells it in words only.
fn foreign_family(error: &rocksdb::Error) -> Option<String> {
    let (_, families) = error.as_ref().split_once("olumn families not opened: ")?;
    families.split(',').next().map(|family| family.trim().to_owned())
}

impl Db {
    /// Opens (or makes) the database in a directory. Its families are named by their place in the list: [`Family::nth`].
    pub fn open(dir: &Path, families: &[FamilySpec], config: &Config) -> Result<Self, OpenError> {
        let lock = lock(dir)?;
        let damaged = |damage| OpenError::Damaged { dir: dir.to_owned(), damage };
        if let Some(synced) = config.synced {
            tail::cut(dir, synced).map_err(damaged)?;
        }
        inspect(dir).map_err(damaged)?;
        let refused = |error: rocksdb::Error| OpenError::Refused { dir: dir.to_owned(), source: error.into() };
        let options = options::database(config);
        let cache = options::cache(config);
        let descriptors = families.iter().map(|spec| options::family(spec, &cache));
        // RocksDB's own list of the families is not asked: it reads on for ever in a damaged MANIFEST.
        let rocks = DB::open_cf_descriptors(&options, dir, descriptors).map_err(|error| match foreign_family(&error) {
            Some(family) => OpenError::Foreign { dir: dir.to_owned(), family },
            // RocksDB does not say where.
            None => inspect::check_logs(dir).map_or_else(damaged, |()| refused(error)),
        })?;
        let names: Vec<_> = families.iter().map(|spec| spec.name).collect();
        let handles = handles(&rocks, &names)
            .ok_or_else(|| OpenError::Refused { dir: dir.to_owned(), source: Cause::new("a family is missing") })?;
        Ok(Self(Arc::new(Inner {
            families: handles,
            names,
            rocks,
            read: ReadOptions::default(),
            options,
            cache,
            poisoned: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            faults: config.faults.clone(),
            _lock: lock,
        })))
    }

    /// The value of a key.
    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.get_with(family, key, <[u8]>::to_vec)
    }

    /// The value of a key, read in place (in the block cache or the write buffer) without a copy.
    pub fn get_with<T>(&self, family: Family, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, ReadError> {
        self.0.get_with(family, key, &self.0.read, read)
    }

    /// The database as it is now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.0)
    }

    /// Walks in order over the keys from `lower` (inclusive) to `upper` (exclusive); an empty bound is none. The cursor
    /// stands on no key until it is sent to one.
    pub fn cursor(&self, family: Family, lower: &[u8], upper: &[u8], snapshot: Option<&Snapshot>) -> Result<Cursor, ReadError> {
        Cursor::new(&self.0, family, &Reach::Between { lower, upper }, snapshot)
    }

    /// Walks over runs of a family of [`super::Shape::Ranges`], one run after each seek; files without the run are not
    /// touched. Beyond the end of a run anything may come, in any order: the caller compares the first bytes.
    pub fn run_cursor(&self, family: Family, snapshot: Option<&Snapshot>) -> Result<Cursor, ReadError> {
        Cursor::new(&self.0, family, &Reach::Run, snapshot)
    }

    /// How far the write-ahead log is synced, asked right after a synced commit by whoever is the only writer. Number 0: not known.
    pub fn log_end(&self) -> LogEnd {
        tail::log_end(self.0.rocks.path())
    }

    /// Commits all changes or none. After one failure every later commit fails at once.
    pub fn commit(&self, batch: &Batch, sync: Sync) -> Result<(), CommitError> {
        let inner = &self.0;
        if inner.poisoned.load(Ordering::Acquire) {
            return Err(CommitError::Poisoned);
        }
        let result = inner.write(batch, sync);
        match &result {
            Ok(()) => inner.commits.fetch_add(1, Ordering::Relaxed),
            Err(_) => u64::from(inner.poisoned.swap(true, Ordering::AcqRel)),
        };
        result.map_err(CommitError::Failed)
    }

    /// Where the newest commit stands; grows with every commit. The same as [`Snapshot::position`] while nothing is committed.
    pub fn position(&self) -> u64 {
        self.0.rocks.latest_sequence_number()
    }

    /// Whether a commit has failed.
    pub fn is_poisoned(&self) -> bool {
        self.0.poisoned.load(Ordering::Acquire)
    }

    /// Waits until everything committed so far is on the disk.
    pub fn sync_wal(&self) -> Result<(), CommitError> {
        self.guarded(|inner| inner.rocks.flush_wal(true))
    }

    /// Writes all buffers as files, so that the next start has nothing to replay.
    pub fn flush(&self) -> Result<(), CommitError> {
        self.guarded(|inner| inner.families.iter().try_for_each(|family| inner.rocks.flush_cf(family)))
    }

    /// Waits for all compactions that are due; for measurements.
    pub fn settle(&self) -> Result<(), CommitError> {
        self.guarded(|inner| {
            let everything = None::<&[u8]>;
            inner.families.iter().for_each(|family| inner.rocks.compact_range_cf(family, everything, everything));
            Ok(())
        })
    }

    /// Makes a copy that opens as a database of its own, by hard links where it can. The directory must not exist.
    pub fn checkpoint(&self, dir: &Path) -> Result<(), CheckpointError> {
        let failed = |error: rocksdb::Error| CheckpointError(error.into());
        Checkpoint::new(&self.0.rocks).map_err(failed)?.create_checkpoint(dir).map_err(failed)
    }

    /// A number that RocksDB keeps about a family, by its property name.
    pub fn property(&self, family: Family, name: &str) -> Option<u64> {
        let handle = self.0.handle(family).ok()?;
        self.0.rocks.property_int_value_cf(handle, name).ok().flatten()
    }

    /// Sizes and counts since the database was opened.
    pub fn stats(&self) -> Stats {
        let inner = &self.0;
        let family = |(place, name): (usize, &&'static str)| FamilyStats {
            name,
            file_bytes: self.property(Family(place), properties::LIVE_SST_FILES_SIZE.as_str()).unwrap_or(0),
            memory_bytes: self.property(Family(place), properties::SIZE_ALL_MEM_TABLES.as_str()).unwrap_or(0),
            keys: self.property(Family(place), properties::ESTIMATE_NUM_KEYS.as_str()).unwrap_or(0),
        };
        Stats {
            families: inner.names.iter().enumerate().map(family).collect(),
            commits: inner.commits.load(Ordering::Relaxed),
            wal_syncs: inner.options.get_ticker_count(Ticker::WalFileSynced),
            wal_bytes: inner.options.get_ticker_count(Ticker::WalFileBytes),
            flushed_bytes: inner.options.get_ticker_count(Ticker::FlushWriteBytes),
            compacted_bytes: inner.options.get_ticker_count(Ticker::CompactWriteBytes),
            cache_hits: inner.options.get_ticker_count(Ticker::BlockCacheHit),
            cache_misses: inner.options.get_ticker_count(Ticker::BlockCacheMiss),
            cache_used_bytes: inner.cache.get_usage() as u64,
        }
    }

    fn guarded(&self, write: impl FnOnce(&Inner) -> Result<(), rocksdb::Error>) -> Result<(), CommitError> {
        if self.is_poisoned() {
            return Err(CommitError::Poisoned);
        }
        write(&self.0).map_err(|error| {
            self.0.poisoned.store(true, Ordering::Release);
            CommitError::Failed(error.into())
        })
    }
}

impl Inner {
    pub(super) fn handle(&self, family: Family) -> Result<&ColumnFamily, ReadError> {
        let handle = self.families.get(family.0).copied();
        handle.ok_or_else(|| ReadError(Cause::new(format!("there is no family {}", family.0))))
    }

    pub(super) fn get_with<T>(
        &self,
        family: Family,
        key: &[u8],
        options: &ReadOptions,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, ReadError> {
        let found = self.rocks.get_pinned_cf_opt(self.handle(family)?, key, options);
        found.map(|value| value.map(|bytes| read(&bytes))).map_err(|error| ReadError(error.into()))
    }

    fn write(&self, batch: &Batch, sync: Sync) -> Result<(), Cause> {
        if self.faults.trips() {
            return Err(Cause::new("a fault was injected"));
        }
        let mut raw = WriteBatch::with_capacity_bytes(batch.size_bytes() + 16 * batch.len());
        let missing = |error: ReadError| error.0;
        for op in batch.sorted_ops() {
            match op {
                Op::Put { family, key, value } => raw.put_cf(self.handle(family).map_err(missing)?, key, value),
                Op::Delete { family, key } => raw.delete_cf(self.handle(family).map_err(missing)?, key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync == Sync::Yes);
        Ok(self.rocks.write_opt(raw, &options)?)
    }
}

/// The lock of the directory. It is given back by name and not only by closing the file: a child process that is just being made has
/// the file open as well, until it runs its own program.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it gives it back as well.
        let _ = self.0.unlock();
    }
}

/// Makes the directory and takes its lock.
fn lock(dir: &Path) -> Result<Lock, OpenError> {
    let failed = |source| OpenError::Directory { dir: dir.to_owned(), source };
    if !dir.exists() {
        std::fs::create_dir_all(dir).map_err(failed)?;
        // RocksDB syncs what lies in the directory, and nobody the directory's own name.
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
    }
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK_FILE)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The handles of the families, in order; `None` if one is missing.
fn handles(rocks: &DB, names: &[&str]) -> Option<Vec<&'static ColumnFamily>> {
    let handle = |name: &&str| {
        let handle = rocks.cf_handle(name)?;
        // SAFETY: only the lifetime is extended. Handles lie in heap nodes of the database's map of families, which stay where
        // they are when the database is moved and change only by `create_cf` and `drop_cf`; these need `&mut DB`, which nobody
        // gets from `Inner`. `Inner` drops its handles before its database and lends them only with its own lifetime.
        #[expect(unsafe_code, reason = "looking a family up by name costs more than a cached read")]
        Some(unsafe { std::mem::transmute::<&ColumnFamily, &'static ColumnFamily>(handle) })
    };
    names.iter().map(handle).collect()
}
