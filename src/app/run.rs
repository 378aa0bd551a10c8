//! The life of the process after its start: it serves until a signal or a disk error ends it, and it stops in order.
//!
//! Stopping: `/readyz` says no; nothing new is accepted or read; what is open is finished, the wallet first; the store writes
//! and syncs what was handed over, so that every OK that was earned is queued; then clients get it and are sent away with 1012.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::App;

/// How long open work may take to finish. What is left then is safe on disk and goes on at the next start.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// How long sending everybody away may take.
const FAREWELL_MAX: Duration = Duration::from_secs(20);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// In order.
    InOrder,
    /// A second signal came before the end.
    AtOnce,
    /// A write to disk failed.
    DiskFailed,
}

/// The signals that end the process.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches them from now on.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl App {
    /// Serves until the end.
    pub async fn run(self, mut signals: Signals) -> Ended {
        let Self { stop, mut fatal } = self;
        let disk_failed = tokio::select! {
            () = signals.next() => false,
            failed = failed(&mut fatal) => failed,
        };
        if disk_failed {
            return Ended::DiskFailed;
        }
        tracing::info!("stopping");
        tokio::select! {
            () = stop.in_order() => {
                tracing::info!("stopped");
                Ended::InOrder
            }
            () = signals.next() => Ended::AtOnce,
            true = failed(&mut fatal) => Ended::DiskFailed,
        }
    }
}

/// Resolves when a write has failed.
async fn failed(fatal: &mut Option<oneshot::Receiver<String>>) -> bool {
    let words = match fatal {
        Some(receiver) => receiver.await,
        None => std::future::pending().await,
    };
    *fatal = None;
    match words {
        Ok(words) => {
            tracing::error!(cause = words, "a write to disk failed: ending now, nothing more is acknowledged");
            true
        }
        // The store is gone without a failure.
        Err(_) => std::future::pending().await,
    }
}

impl super::Running {
    async fn in_order(self) {
        self.readiness.set(false);
        self.shutdown.stop();
        if !self.shutdown.drained(DRAIN_MAX).await {
            tracing::warn!("open work did not finish in time; it goes on at the next start");
        }
        let store = self.store.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || store.close()).await {
            tracing::error!(%error, "the event store was not closed in order");
        }
        if !self.server.say_farewell(FAREWELL_MAX).await {
            tracing::warn!("some connections did not close in time");
        }
        self.server.end().await;
        self.upkeep.abort();
    }
}
