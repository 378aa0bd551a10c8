//! What the owner can see of a connection's past: the log of its requests.

use std::io;

use super::NamedError;
use crate::wallet::access::audit::History;
use crate::wallet::service::Wallet;

/// Why a log was not shown.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Nothing has that name.
    #[error(transparent)]
    Named(#[from] NamedError),
    /// The disk.
    #[error("the log cannot be read: {0}")]
    Read(#[from] io::Error),
}

impl Wallet {
    /// The newest requests of a connection and what became of them. Blocks on the disk.
    pub fn history(&self, name: &str, limit: usize) -> Result<History, LogError> {
        let found = self.answers().table().by_name(name);
        let hosted = found.ok_or_else(|| NamedError::NoConnection(name.to_owned()))?;
        Ok(self.answers().audit().history(&hosted.keys.wallet, limit)?)
    }

    /// Writes down what the log holds in memory. Blocks on the disk.
    pub(in crate::wallet) fn keep_log(&self) {
        if let Err(error) = self.answers().audit().flush() {
            tracing::warn!(%error, "the log of requests could not be written; requests are served all the same");
        }
    }

    /// Notes the connections that are there, and when they were last seen.
    pub(in crate::wallet) fn read_log(&self) {
        for hosted in self.answers().table().all() {
            self.answers().audit().add(hosted.id, hosted.keys.wallet);
            if let Some(at_ms) = self.answers().audit().last_seen_at_ms(&hosted.keys.wallet) {
                hosted.seen(at_ms / 1_000);
            }
        }
    }
}
