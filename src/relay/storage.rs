//! What the relay needs of a store, and no more: `app` joins it to the real one, tests to one in memory.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use crate::base::hex32::EventId;
use crate::protocol::event::Event;
use crate::protocol::filter::Filter;

/// What became of an event that was given to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// On disk, with this sequence number.
    Stored {
        /// Its number; higher is later.
        seq: u64,
    },
    /// It was there already.
    Duplicate,
    /// A newer version of a replaceable event is there.
    Superseded,
    /// Its author deleted it.
    Deleted,
    /// It has expired.
    Expired,
    /// The queue is full.
    Busy,
    /// The disk is almost full.
    NoRoom,
    /// It could not be written.
    Failed,
}

/// Called once with what became of an appended event.
pub type OnAppended = Box<dyn FnOnce(Appended) + Send>;

/// How many stored events a filter without `limit` gets, and the most that any gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// For a filter without `limit`.
    pub default_limit: u64,
    /// Whatever a filter asks for.
    pub max_limit: u64,
}

/// The answer to a COUNT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Events counted.
    pub count: u64,
    /// Whether counting stopped early.
    pub approximate: bool,
}

/// How far a query got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is nothing more.
    Done,
    /// Call again.
    More,
}

/// The store could not be read; the cause is in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store could not be read")]
pub struct Unreadable;

/// Events on disk.
pub trait Storage: Send + Sync {
    /// Whether the event is stored. Cheap.
    fn has(&self, id: &EventId) -> bool;

    /// The highest sequence number that is on disk. It covers an event before that event is published live.
    fn seq(&self) -> u64;

    /// Takes an event whose signature is good; never blocks.
    fn append(&self, event: Event, done: OnAppended);

    /// Starts a query: the union of the filters, each with its own limit, newest first, without duplicates, over what is on
    /// disk at this moment.
    fn scan(&self, filters: Arc<[Filter]>, limits: ScanLimits) -> Result<Box<dyn Query>, Unreadable>;

    /// Starts to count the stored events that match any of the filters, `limit` left aside; stops at `cap`.
    fn count(&self, filters: &[Filter], cap: u64) -> Result<Box<dyn Tally>, Unreadable>;
}

/// A running query.
pub trait Query: Send {
    /// The number up to which it sees events: the moment that it answers for. What is accepted later has a higher one.
    fn at_seq(&self) -> u64;

    /// Emits events until there are no more, `deadline` has passed, or `emit` breaks. The event that it breaks on counts as
    /// emitted.
    fn run(&mut self, deadline: Instant, emit: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Step, Unreadable>;
}

/// A running count.
pub trait Tally: Send {
    /// Counts until all is counted or `deadline` has passed.
    fn run(&mut self, deadline: Instant) -> Result<Step, Unreadable>;

    /// What was counted so far.
    fn so_far(&self) -> Count;
}
