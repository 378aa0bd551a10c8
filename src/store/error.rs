//! What opening and reading the store can fail with.

use std::path::PathBuf;

use crate::kv;

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// In use, damaged, or not to be had.
    #[error(transparent)]
    Database(#[from] kv::OpenError),
    /// Another version of hearth wrote it.
    #[error("{} has event store format {found}, this version knows {known}: use the version that wrote it", .dir.display())]
    OtherFormat {
        /// The directory.
        dir: PathBuf,
        /// The format found.
        found: u32,
        /// The format known.
        known: u32,
    },
    /// It is not an event store.
    #[error("{} is not empty and is no event store of hearth", .dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
    },
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its first rows could not be written.
    #[error(transparent)]
    Write(#[from] kv::CommitError),
    /// The operating system has no randomness.
    #[error("no random bytes from the operating system: {0}")]
    Random(getrandom::Error),
    /// The writer thread could not be started.
    #[error("the writer thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// Why a read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The database said so.
    #[error(transparent)]
    Database(#[from] kv::ReadError),
    /// A row is not what it should be.
    #[error("the event store is damaged: {0} cannot be understood")]
    Damaged(&'static str),
}
