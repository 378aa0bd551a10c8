//! The only place where money moves: one thread, one synced batch for each transition, journal first.
//!
//! * [`types`]: orders, outcomes, views. [`Money`]: the handle that the rest of the wallet holds.
//! * [`payment`]: the pure core; `receive`, `owner`, `recover` are its other chapters. [`ledger`], [`budget`], [`period`]: what it
//!   counts with. `clock`: whether the time can be believed.
//! * [`record`], `layout`, `journal`, `anchor`: what is on disk. `index`, `rows`: how it is found again.
//! * `turn`: steps, one commit, then everything else. `shell`: the thread around it, and the reads that need neither thread nor disk.
//!
//! It does not know how requests are encrypted, who may use which method, or that there is a relay.

mod anchor;
pub mod budget;
mod clock;
mod codec;
mod handle;
mod index;
mod journal;
mod layout;
pub mod ledger;
pub mod memory;
mod node_balance;
mod owner;
pub mod payment;
pub mod period;
#[cfg(test)]
mod planted;
mod receive;
pub mod record;
mod recover;
mod rows;
mod shell;
#[cfg(test)]
mod tests;
mod transaction;
mod turn;
pub mod types;

pub use handle::Money;
pub use journal::{JournalError, WriteError};
pub use payment::{Limits, RowsError as ReadError};
pub use shell::{Parts, WAITING_MAX};

/// Why the money room does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its journal does not open.
    #[error("{0}")]
    Journal(#[from] JournalError),
    /// Its journal cannot be written: exit code 74.
    #[error("the wallet's journal could not be written: {0}")]
    Write(#[from] WriteError),
    /// Its journal cannot be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// Its thread does not start.
    #[error("the money thread does not start: {0}")]
    Thread(#[from] std::io::Error),
}
