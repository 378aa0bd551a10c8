//! Events on disk.
//!
//! One thread writes ([`Store::append`] hands it an event and never blocks); anyone reads ([`Store::scan`], [`Store::count`]).
//! An event is decided by the pure function in [`apply`], becomes the rows drawn in [`keys`], and is acknowledged after the
//! disk has it. A query is turned into ranges of an index ([`plan`]) and read newest first in slices ([`Scan`]).
//!
//! The store does not verify signatures, does not know who may write or read, and never holds an ephemeral event.

pub mod apply;
mod budget;
mod cache;
mod config;
mod count;
mod error;
pub mod keys;
mod memory;
mod merge;
mod pending;
pub mod plan;
mod points;
mod reader;
mod retention;
mod room;
mod rows;
mod scan;
mod schema;
mod shared;
mod stats;
mod streams;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};
use parking_lot::Mutex;

pub use self::config::{Config, Durability, ScanLimits};
pub use self::count::{Count, Counting};
pub use self::error::{OpenError, ReadError};
pub use self::scan::{Scan, Step};
pub use self::shared::OnFatal;
pub use self::stats::Stats;
pub use self::writer::Done;

use self::cache::HotEvents;
use self::room::Room;
use self::shared::{Core, Fatal, Published};
use self::writer::{Job, Writer};
use crate::base::clock::Clock;
use crate::base::hex32::EventId;
use crate::protocol::event::Event;
use crate::protocol::filter::Filter;

/// Called on the writer thread after each commit with what was accepted, in order of the numbers, and with what tells the verdicts:
/// it calls that once, first. [`Store::seq`] says so already.
pub type OnCommit = Box<dyn Fn(&[(u64, Event)], &mut dyn FnMut()) + Send>;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is on the disk.
    Stored {
        /// Its number.
        seq: u64,
    },
    /// It was there already.
    Duplicate,
    /// A newer version of it was seen (or, of the same second, one with a lower id).
    Superseded,
    /// Its author had it deleted.
    Deleted,
    /// It has expired.
    Expired,
    /// Its kind is never stored. Whoever called should have known.
    Ephemeral,
    /// Too much is waiting, or the store is closing.
    Busy,
    /// The disk is almost full.
    NoRoom,
    /// The disk failed.
    Failed,
}

/// An open event store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Handle>);

struct Handle {
    core: Arc<Core>,
    jobs: Sender<Job>,
    queue_bytes: usize,
    closing: AtomicBool,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens (or makes) the store in a directory and starts its writer.
    pub fn open(dir: &Path, config: &Config, clock: Clock, on_commit: OnCommit) -> Result<Self, OpenError> {
        let (cache_bytes, hot_bytes) = config.cache_sizes();
        let schema::Opened { db, salt, state } = schema::open(dir, config, cache_bytes)?;
        let published = Mutex::new(Published { position: db.position(), seq: state.seq });
        let core = Arc::new(Core {
            db,
            published,
            salt,
            clock,
            hot: HotEvents::new(hot_bytes),
            seq: AtomicU64::new(state.seq),
            events: AtomicU64::new(state.events),
            queued_events: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            batches: AtomicU64::new(0),
            batched_events: AtomicU64::new(0),
            read_failures: AtomicU64::new(0),
            fatal: Fatal::default(),
            room: Room::new(dir, config.free_bytes_min),
        });
        core.room.look();
        let (jobs, waiting) = crossbeam_channel::bounded(config.queue_events.max(1));
        let writer = Writer {
            core: Arc::clone(&core),
            jobs: waiting,
            on_commit,
            state,
            sync: config.durability.sync(),
            batch_events: config.batch_events.max(1),
            batch_bytes: config.batch_bytes,
        };
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || writer.run());
        let writer = Mutex::new(Some(thread.map_err(OpenError::Thread)?));
        let queue_bytes = config.queue_bytes;
        Ok(Self(Arc::new(Handle { core, jobs, queue_bytes, closing: AtomicBool::new(false), writer })))
    }

    /// Says who is told when a write fails; nothing is taken after that and the process should end.
    pub fn on_fatal(&self, hook: OnFatal) {
        self.0.core.fatal.set_hook(hook);
    }

    /// Hands an event to the writer; never blocks. `done` is called exactly once, on the writer thread, or at once and here
    /// when the event cannot be taken.
    pub fn append(&self, event: Event, done: Done) {
        let core = &self.0.core;
        if core.fatal.is_struck() {
            return done(Appended::Failed);
        }
        if core.room.is_gone() {
            return done(Appended::NoRoom);
        }
        let bytes = event.bytes().len();
        let waiting = core.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        core.queued_events.fetch_add(1, Ordering::Relaxed);
        let refused = if self.0.closing.load(Ordering::Acquire) || waiting + bytes > self.0.queue_bytes {
            Some(done)
        } else {
            match self.0.jobs.try_send(Job::Append { event, done }) {
                Err(TrySendError::Full(Job::Append { done, .. }) | TrySendError::Disconnected(Job::Append { done, .. })) => {
                    Some(done)
                }
                _ => None,
            }
        };
        if let Some(done) = refused {
            core.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            core.queued_events.fetch_sub(1, Ordering::Relaxed);
            done(Appended::Busy);
        }
    }

    /// Whether an event is stored. Cheap: the cache of hot events, then a bloom filter. If it cannot be read it counts as not
    /// stored, and the writer will find out.
    pub fn has(&self, id: &EventId) -> bool {
        let core = &self.0.core;
        core.hot.contains(id) || core.db.get_with(schema::IDS, keys::id_key(id), |_| ()).is_ok_and(|found| found.is_some())
    }

    /// An event by its id; expired ones are not there.
    pub fn get(&self, id: &EventId) -> Result<Option<Event>, ReadError> {
        let core = &self.0.core;
        let event = match core.hot.get_by_id(id) {
            Some((_, event)) => Some(event),
            None => self.read(id)?,
        };
        Ok(event.filter(|event| !apply::is_expired(event.view(), core.clock.now_s())))
    }

    fn read(&self, id: &EventId) -> Result<Option<Event>, ReadError> {
        let db = &self.0.core.db;
        let Some(seq) = db.get_with(schema::IDS, keys::id_key(id), keys::read_seq6)? else { return Ok(None) };
        let seq = seq.ok_or(ReadError::Damaged("an id"))?;
        let read = |value: &[u8]| Event::from_bytes(value).ok_or(ReadError::Damaged("an event"));
        let event = db.get_with(schema::EVENTS, &keys::event_key(seq), read)?.transpose()?;
        Ok(event.filter(|event| event.id() == *id))
    }

    /// The number of the newest event that is committed.
    pub fn seq(&self) -> u64 {
        self.0.core.seq.load(Ordering::Acquire)
    }

    /// Starts a query over what is stored at this moment. [`Scan::at_seq`] says up to which number that is: the exact place for
    /// a live subscription to go on from.
    pub fn scan(&self, filters: Arc<[Filter]>, limits: &ScanLimits) -> Result<Scan, ReadError> {
        Scan::new(Arc::clone(&self.0.core), filters, limits)
    }

    /// Counts what matches, up to `cap`; takes as long as it takes. [`Store::counting`] does it in slices.
    pub fn count(&self, filters: &[Filter], cap: u64) -> Result<Count, ReadError> {
        let mut counting = self.counting(filters, cap)?;
        while counting.run(Instant::now() + Duration::from_secs(1))? == Step::More {}
        Ok(counting.so_far())
    }

    /// Starts to count what matches, up to `cap`.
    pub fn counting(&self, filters: &[Filter], cap: u64) -> Result<Counting, ReadError> {
        Counting::new(Arc::clone(&self.0.core), filters, cap)
    }

    /// Sizes and counts.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.0.core)
    }

    /// Waits for all compactions that are due; for measurements.
    pub fn settle(&self) {
        if let Err(error) = self.0.core.db.settle() {
            tracing::error!(%error, "compaction failed");
        }
    }

    /// A copy that opens as a store of its own, for backups. The directory must not exist.
    pub fn checkpoint(&self, dir: &Path) -> Result<(), crate::kv::CheckpointError> {
        self.0.core.db.checkpoint(dir)
    }

    /// Finishes what was handed over, writes everything to files and stops the writer. Later appends are refused; calling it
    /// again does nothing.
    pub fn close(&self) {
        if self.0.stop()
            && let Err(error) = self.0.core.db.flush()
        {
            tracing::error!(%error, "the event store could not be flushed");
        }
    }
}

impl Handle {
    /// Stops the writer; whether it was this call that did.
    fn stop(&self) -> bool {
        self.closing.store(true, Ordering::Release);
        let Some(writer) = self.writer.lock().take() else { return false };
        // The last handle may be dropped by something that the writer itself called.
        if writer.thread().id() == std::thread::current().id() {
            return false;
        }
        let sent = self.jobs.send(Job::Close).is_ok();
        if writer.join().is_err() {
            tracing::error!("the writer of the event store ended by a panic");
        }
        sent
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}
