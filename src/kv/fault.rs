//! Crash points for tests: commits that fail on purpose.
//!
//! Only code that holds the same [`Faults`] can set them off; no setting, argument or variable of the environment leads here, so nobody
//! can in a running hearth. It costs one relaxed load a commit. What happens to a whole process is done to it from outside
//! (`tests/faults/disk.c`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Says which commit fails. Clones share one count; the default never fails.
#[derive(Clone, Debug)]
pub struct Faults(Arc<AtomicU64>);

/// Stands for "no commit fails".
const NEVER: u64 = u64::MAX;

impl Default for Faults {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(NEVER)))
    }
}

impl Faults {
    /// Lets `commits` more commits through and fails the one after them, as a disk does: nothing of it is written.
    pub fn fail_after(&self, commits: u64) {
        self.0.store(commits, Ordering::Relaxed);
    }

    /// Called once per commit: whether this is the one to fail.
    pub(super) fn trips(&self) -> bool {
        let count = self.0.load(Ordering::Relaxed);
        if count == NEVER {
            return false;
        }
        self.0.store(count.checked_sub(1).unwrap_or(NEVER), Ordering::Relaxed);
        count == 0
    }
}
