//! The room that is left on the disk: below a floor nothing is taken any more. A disk that is full to the last byte ends the process;
//! this is the step before it, on which reading goes on.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Watches the disk of a directory.
pub(super) struct Room {
    dir: PathBuf,
    free_bytes_min: u64,
    gone: AtomicBool,
}

impl Room {
    pub(super) fn new(dir: &Path, free_bytes_min: u64) -> Self {
        Self { dir: dir.to_owned(), free_bytes_min, gone: AtomicBool::new(false) }
    }

    /// Whether nothing is taken, as of the last look.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Looks again, and says so when it changed. A disk that cannot be asked has room until a write fails.
    pub(super) fn look(&self) {
        let Ok(disk) = rustix::fs::statvfs(&self.dir) else { return };
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        let gone = free_bytes < self.free_bytes_min;
        if self.gone.swap(gone, Ordering::Relaxed) == gone {
            return;
        }
        let (dir, free_bytes_min) = (self.dir.display(), self.free_bytes_min);
        if gone {
            tracing::error!(
                %dir, free_bytes, free_bytes_min,
                "the disk is almost full: events are refused, reading goes on; delete what is not needed or enlarge the disk \
                 (store.free_bytes_min)"
            );
        } else {
            tracing::info!(%dir, free_bytes, "there is room on the disk again: events are taken");
        }
    }
}
