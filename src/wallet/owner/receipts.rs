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

    /// Notes the connections that are there, when they were last seen, what they were told and which payments they were refused.
    pub(in crate::wallet) fn read_log(&self) {
        let (freshness_s, now_s) = (self.config().freshness_s, self.answers().clock().now_s());
        for hosted in self.answers().table().all() {
            self.answers().audit().add(hosted.id, hosted.keys.wallet);
            let past = self.answers().audit().past(&hosted.keys.wallet);
            if let Some(at_ms) = past.seen_at_ms {
                hosted.seen(at_ms / 1_000);
            }
            self.answers().refused().recall(&hosted.keys.wallet, past.refused, freshness_s, now_s);
            self.answers().outbox().reached(past.told, self.answers().clock().now_ms());
        }
    }
}
