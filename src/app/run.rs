//! The life of the process after its start: it serves until a signal or a disk error ends it, and it stops in order.
//!
//! Stopping: `/readyz` says no; nothing new is accepted or read; what is open is finished, the wallet first; the store writes
//! and syncs what was handed over, so that every OK that was earned is queued; then clients get it and are sent away with 1012.

use std::pin::pin;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::{App, Running};

/// How long open work may take to finish. What is left then is safe on disk and goes on at the next start.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// How long commands of the owner may take to finish.
const TASKS_MAX: Duration = Duration::from_secs(5);
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
        let Self { running, fatal } = self;
        let mut failure = pin!(failed(fatal));
        let asked = tokio::select! {
            () = signals.next() => true,
            () = &mut failure => false,
        };
        if !asked {
            leave(running);
            return Ended::DiskFailed;
        }
        tracing::info!("stopping");
        let mut stopping = Box::pin(running.stop());
        let ended = tokio::select! {
            () = &mut stopping => Ended::InOrder,
            () = signals.next() => Ended::AtOnce,
            () = failure => Ended::DiskFailed,
        };
        match ended {
            Ended::InOrder => tracing::info!("stopped"),
            Ended::AtOnce | Ended::DiskFailed => leave(stopping),
        }
        ended
    }
}

/// Leaves everything as it is, for a process that ends at once: taking it down would wait for threads and disks that may never
/// answer, and what is on disk is the truth anyway.
#[expect(clippy::disallowed_methods, reason = "an orderly end is what cannot be had any more")]
fn leave<T>(everything: T) {
    std::mem::forget(everything);
}

/// Resolves when a write to disk has failed, and never otherwise.
async fn failed(fatal: oneshot::Receiver<String>) {
    match fatal.await {
        Ok(cause) => tracing::error!(cause, "a write to disk failed: ending now, nothing more is acknowledged"),
        // Whoever could tell is gone without a failure.
        Err(_) => std::future::pending().await,
    }
}

impl Running {
    pub(super) async fn stop(self) {
        self.readiness.set(false);
        self.shutdown.stop();
        if !self.shutdown.drained(DRAIN_MAX).await {
            tracing::warn!("open work did not finish in time; it goes on at the next start");
        }
        self.tasks.close();
        if tokio::time::timeout(TASKS_MAX, self.tasks.wait()).await.is_err() {
            tracing::warn!("the owner's commands did not finish in time");
        }
        // The wallet before the store: its last events are stored too. Both wait for their threads.
        let (wallet, store) = (self.wallet.clone(), self.store.clone());
        let closing = tokio::task::spawn_blocking(move || {
            wallet.close();
            store.close();
        });
        if let Err(error) = closing.await {
            tracing::error!(%error, "wallet and store were not closed in order");
        }
        if !self.server.say_farewell(FAREWELL_MAX).await {
            tracing::warn!("some connections did not close in time");
        }
        self.server.end().await;
    }
}
