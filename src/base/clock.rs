//! Wall-clock time as a value that is handed around, so that tests decide what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Unix time. Cheap to clone; clones of a manual clock move together.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System(Instant),
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct Manual {
    now_ms: AtomicU64,
    /// How far it was moved by [`Clock::jump_ms`].
    jumped_ms: AtomicI64,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// A clock that stands still until [`Clock::set_ms`] moves it.
    pub fn manual(now_ms: u64) -> Self {
        Self(Source::Manual(Arc::new(Manual { now_ms: AtomicU64::new(now_ms), jumped_ms: AtomicI64::new(0) })))
    }

    /// Unix time in milliseconds (0 before 1970).
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that is to be asked")]
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Source::System(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            Source::Manual(clock) => clock.now_ms.load(Ordering::Relaxed),
        }
    }

    /// Unix time in seconds.
    pub fn now_s(&self) -> u64 {
        self.now_ms() / 1_000
    }

    /// Moves a manual clock; the machine's clock is not ours to move, so there it does nothing.
    pub fn set_ms(&self, now_ms: u64) {
        if let Source::Manual(clock) = &self.0 {
            clock.now_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Milliseconds of a clock that nobody sets: only good for comparing with itself. A manual clock's goes with it, except for
    /// jumps.
    pub fn steady_ms(&self) -> u64 {
        match &self.0 {
            Source::System(start) => u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            Source::Manual(clock) => {
                let jumped_ms = clock.jumped_ms.load(Ordering::Relaxed);
                clock.now_ms.load(Ordering::Relaxed).saturating_add_signed(jumped_ms.saturating_neg())
            }
        }
    }

    /// Sets a manual clock wrong by so much more: the steady clock stays where it is.
    pub fn jump_ms(&self, by_ms: i64) {
        if let Source::Manual(clock) = &self.0 {
            clock.jumped_ms.fetch_add(by_ms, Ordering::Relaxed);
            let now_ms = clock.now_ms.load(Ordering::Relaxed).saturating_add_signed(by_ms);
            clock.now_ms.store(now_ms, Ordering::Relaxed);
        }
    }
}
