//! Why a run of the load generator could not be finished.

use std::time::Duration;

/// How long any single answer may take before it counts as lost.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a run could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not one that this tool can load.
    #[error("{0} is not a ws:// or wss:// address")]
    Address(String),
    /// No TCP connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, std::io::Error),
    /// The server did not upgrade the connection.
    #[error("the relay did not open a WebSocket: {0}")]
    Handshake(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Socket(std::io::Error),
    /// The relay closed the connection.
    #[error("the relay closed the connection{0}")]
    Closed(String),
    /// The relay sent something that is no WebSocket frame, or one that is too large.
    #[error("the relay sent a broken frame: {0}")]
    Frame(&'static str),
    /// No answer in time.
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Silent,
    /// Nothing at all succeeded.
    #[error("nothing succeeded: {0}")]
    Refused(String),
    /// Too few file descriptors.
    #[error("{needed} connections need {needed} file descriptors and some more, but only {limit} may be open: raise `ulimit -n`")]
    OpenFiles {
        /// Connections that were asked for.
        needed: usize,
        /// The hard limit.
        limit: u64,
    },
    /// The connection URI or the wallet's answer cannot be used.
    #[error("wallet: {0}")]
    Wallet(String),
    /// The profile cannot be used.
    #[error("profile {0}: {1}")]
    Profile(String, String),
    /// A file could not be read.
    #[error("cannot read {0}: {1}")]
    Input(String, String),
    /// The report could not be written.
    #[error("cannot write the report: {0}")]
    Output(std::io::Error),
    /// The runtime or the timer could not be started.
    #[error("cannot start the load generator: {0}")]
    Start(std::io::Error),
    /// A task of the load generator ended unexpectedly.
    #[error("a client task ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}
