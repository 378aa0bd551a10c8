//! Wall-clock time as a value that is handed around, so that tests decide what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time. Cheap to clone; clones of a manual clock move together.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`Clock::set_ms`] moves it.
    pub fn manual(now_ms: u64) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(now_ms))))
    }

    /// Unix time in milliseconds (0 before 1970).
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that is to be asked")]
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            Source::Manual(now_ms) => now_ms.load(Ordering::Relaxed),
        }
    }

    /// Unix time in seconds.
    pub fn now_s(&self) -> u64 {
        self.now_ms() / 1_000
    }

    /// Moves a manual clock; the machine's clock is not ours to move, so there it does nothing.
    pub fn set_ms(&self, now_ms: u64) {
        if let Source::Manual(clock) = &self.0 {
            clock.store(now_ms, Ordering::Relaxed);
        }
    }
}
