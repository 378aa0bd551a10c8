//! The RocksDB wrapper: the only part that names the rocksdb crate.
//!
//! It knows families, keys and values as bytes and nothing of what they mean. What it adds to RocksDB:
//!
//! * options are chosen by the owner of the data through a few plain words ([`Shape`]), not by RocksDB's hundreds;
//! * a [`Batch`] is plain data, so that pure code can build it and tests can read it;
//! * snapshots and cursors are owned values that may be kept and sent between threads;
//! * the write-ahead log is always recovered in the mode that drops a torn tail and refuses everything else (RocksDB's
//!   default drops synced records after a damaged one, silently);
//! * its files are looked at before RocksDB sees them, so that damage ends with words and not with a start that hangs;
//! * after one failed commit the handle is poisoned: every later commit fails at once, because what is on the disk after a
//!   failed sync is not known.
//!
//! One process per directory: a second [`Db::open`] of it says so ([`OpenError::Locked`]).

mod batch;
mod config;
mod cursor;
mod db;
mod error;
mod fault;
mod inspect;
mod options;
mod snapshot;
mod stats;
mod tail;
#[cfg(test)]
mod tests;

pub use batch::{Batch, Op};
pub use config::{Config, Family, FamilySpec, Shape, Sync};
pub use cursor::{Cursor, Entry};
pub use db::Db;
pub use error::{CheckpointError, CommitError, Damage, OpenError, ReadError};
pub use fault::Faults;
pub use snapshot::Snapshot;
pub use stats::{FamilyStats, Stats};
pub use tail::LogEnd;
