//! The floor under the journal's disk: with less room nothing new is begun, so that outcomes and answers of what is under way still
//! find some. A disk that is full to the last byte ends the process; this is the step before it.

use std::path::{Path, PathBuf};

/// Watches the disk of the journal.
pub(super) struct Floor {
    dir: PathBuf,
    free_bytes_min: u64,
    is_low: bool,
}

impl Floor {
    pub(super) fn new(dir: &Path, free_bytes_min: u64) -> Self {
        Self { dir: dir.to_owned(), free_bytes_min, is_low: false }
    }

    /// Whether there is too little room; says so when that changed. A disk that cannot be asked has room until a write fails.
    pub(super) fn look(&mut self) -> bool {
        let Ok(disk) = rustix::fs::statvfs(&self.dir) else { return self.is_low };
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        let is_low = free_bytes < self.free_bytes_min;
        if is_low != self.is_low {
            self.is_low = is_low;
            let (dir, free_bytes_min) = (self.dir.display(), self.free_bytes_min);
            if is_low {
                tracing::error!(
                    %dir, free_bytes, free_bytes_min,
                    "the disk of the wallet is almost full: nothing new is paid and no invoice made, what is under way goes on; \
                     delete what is not needed or enlarge the disk (store.free_bytes_min)"
                );
            } else {
                tracing::info!(%dir, free_bytes, "there is room on the wallet's disk again: payments are taken");
            }
        }
        is_low
    }
}
