//! The order in which hearth stops: stop accepting, finish what is open, close, sync.
//!
//! One [`Shutdown`] is made at start and cloned into every task. `stopping` says "take nothing new"; a task that still has
//! something to finish holds a [`Guard`]; whoever stops the process waits for all guards with a deadline.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Signals a stop and counts who is still busy.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    busy: TaskTracker,
}

/// Held by whoever must finish before the process may end.
#[derive(Debug)]
pub struct Guard(#[expect(dead_code, reason = "its drop is what counts")] TaskTrackerToken);

impl Shutdown {
    /// A running process.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells everyone to take nothing new.
    pub fn stop(&self) {
        self.stop.cancel();
        self.busy.close();
    }

    /// Whether the stop has been asked for.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Resolves when the stop is asked for.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Marks the holder as busy until the guard is dropped.
    pub fn guard(&self) -> Guard {
        Guard(self.busy.token())
    }

    /// Waits until no guard is held; `false` if that took longer than `deadline`.
    pub async fn drained(&self, deadline: Duration) -> bool {
        tokio::time::timeout(deadline, self.busy.wait()).await.is_ok()
    }
}
