//! What the writer, the readers and the handle share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::cache::HotEvents;
use super::error::ReadError;
use super::keys::Salt;
use super::room::Room;
use super::schema;
use crate::base::clock::Clock;
use crate::kv::{Db, Snapshot};

/// Called once when a write has failed, with words for the log.
pub type OnFatal = Box<dyn FnOnce(String) + Send>;

pub(super) struct Core {
    pub db: Db,
    pub salt: Salt,
    pub clock: Clock,
    pub hot: HotEvents,
    /// The newest number that is committed.
    pub seq: AtomicU64,
    /// The same, and the position of the database at which it is so.
    pub published: Mutex<Published>,
    /// Events stored.
    pub events: AtomicU64,
    /// Events and bytes waiting for the writer.
    pub queued_events: AtomicUsize,
    pub queued_bytes: AtomicUsize,
    /// Commits with events, and the events in them.
    pub batches: AtomicU64,
    pub batched_events: AtomicU64,
    /// Events that could not be decided because a row could not be read.
    pub read_failures: AtomicU64,
    pub fatal: Fatal,
    pub room: Room,
}

/// What the newest number was at a position of the database.
#[derive(Clone, Copy)]
pub(super) struct Published {
    pub position: u64,
    pub seq: u64,
}

impl Core {
    /// The newest number that a snapshot sees. Right after a commit that is not published yet it is read from the snapshot
    /// itself.
    pub(super) fn seq_at(&self, snapshot: &Snapshot) -> Result<u64, ReadError> {
        let published = *self.published.lock();
        if published.position == snapshot.position() {
            return Ok(published.seq);
        }
        Ok(schema::state_at(snapshot)?.seq)
    }
}

/// A failed write: the store takes nothing any more.
#[derive(Default)]
pub(super) struct Fatal {
    struck: AtomicBool,
    state: Mutex<FatalState>,
}

#[derive(Default)]
struct FatalState {
    hook: Option<OnFatal>,
    words: Option<String>,
}

impl Fatal {
    pub(super) fn is_struck(&self) -> bool {
        self.struck.load(Ordering::Acquire)
    }

    /// Sets who is told; if it has happened already, that is now.
    pub(super) fn set_hook(&self, hook: OnFatal) {
        let mut state = self.state.lock();
        let told = state.words.clone();
        match told {
            None => state.hook = Some(hook),
            Some(words) => {
                drop(state);
                hook(words);
            }
        }
    }

    pub(super) fn strike(&self, words: String) {
        self.struck.store(true, Ordering::Release);
        let mut state = self.state.lock();
        state.words.get_or_insert_with(|| words.clone());
        let hook = state.hook.take();
        drop(state);
        if let Some(hook) = hook {
            hook(words);
        }
    }
}
