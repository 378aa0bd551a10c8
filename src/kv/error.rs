//! What each operation can fail with. The words name the directory, because an operator reads them.

use std::path::{Path, PathBuf};

pub use super::inspect::Damage;

/// Why a database did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or another handle of this one) has it open.
    #[error("{} is in use by another process", .dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// It has a family that this version does not know.
    #[error("{} holds \"{family}\", which this version does not know: a newer version or another program wrote it", .dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// The name that is not known.
        family: String,
    },
    /// The directory could not be made or locked.
    #[error("{} cannot be used: {source}", .dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Its files are damaged. Nothing was changed.
    #[error(
        "{} is damaged: {damage}; nothing was changed. Keep a copy of the directory, look after the disk, and restore it from a \
         backup{}",
        .dir.display(),
        way_out(.dir, .damage)
    )]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What is wrong.
        damage: Damage,
    },
    /// RocksDB refused it, damaged files included.
    #[error(
        "{} does not open: {source}. Keep a copy of the directory, look after the disk, and restore it from a backup",
        .dir.display()
    )]
    Refused {
        /// The directory.
        dir: PathBuf,
        /// What RocksDB said.
        source: Cause,
    },
}

/// What the owner can do who has no backup and knows that the power went. Only where nothing whole stands behind the damaged record: a
/// commit is one record, and none begins before the one before it is synced.
fn way_out(dir: &Path, damage: &Damage) -> String {
    match damage {
        Damage::Record { file, at, is_followed: false } => format!(
            ". If the power went just before, this was being written then and nobody was told that it is safe: with the copy kept, \
             `truncate -s {at} {}` gives it up",
            dir.join(file).display()
        ),
        _ => String::new(),
    }
}

/// Why a read failed: a damaged block, a disk that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reading from the database failed: {0}")]
pub struct ReadError(#[source] pub Cause);

/// Why a commit failed. Either way nothing more can be committed through this handle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// This commit failed. Whether it is on the disk is not known until the database is opened again.
    #[error("writing to the database failed: {0}")]
    Failed(#[source] Cause),
    /// An earlier commit failed.
    #[error("an earlier write to the database failed, nothing more is written")]
    Poisoned,
}

/// Why a checkpoint was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint was not made: {0}")]
pub struct CheckpointError(#[source] pub Cause);

/// What RocksDB said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

impl Cause {
    pub(super) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl From<rocksdb::Error> for Cause {
    fn from(error: rocksdb::Error) -> Self {
        Self(error.into_string())
    }
}
