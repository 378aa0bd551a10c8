//! What the tests stand on: a hearth that can be killed, a client that sees every frame, events, a wallet client, an oracle.

pub mod client;
pub mod event;
pub mod hearth;
pub mod http;
pub mod invoice;
pub mod nwc;
pub mod oracle;
#[allow(dead_code, reason = "for the binaries that start other people's servers")]
pub mod port;

use std::time::Duration;

pub use client::Client;
pub use event::{Event, Key, now_s};
pub use hearth::Hearth;
pub use nwc::{App, Scheme};

/// The longest that any single wait may take: far more than a busy machine needs, so that only a hang ever reaches it.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Budgets are renewed at midnight UTC, of some days also weekly, monthly and yearly ones: a test that spends and looks at what was
/// spent begins when the day has time left for all of it.
pub async fn clear_of_midnight() {
    const TEST_S: u64 = 30;
    eventually("the next day", async || now_s() % 86_400 < 86_400 - TEST_S).await;
}

/// Waits until `done` says so.
pub async fn eventually<F: AsyncFnMut() -> bool>(what: &str, mut done: F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !done().await {
        assert!(tokio::time::Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
