//! A stored query: resumable, in slices, newest first.
//!
//! A scan owns a snapshot: whatever is written, replaced or deleted meanwhile, it answers from the moment it was made, however
//! long its client takes to read. Between slices it holds nothing else of the database: cursors are opened by the slice that
//! needs them and go on where the last one stopped, so a slow client keeps no files from being deleted.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::budget::{Budget, FETCH};
use super::cache::Moment;
use super::config::ScanLimits;
use super::error::ReadError;
use super::merge::View;
use super::reader::Reader;
use super::shared::Core;
use super::streams::{Next, Streams, fetch};
use crate::kv::Snapshot;
use crate::protocol::event::Event;
use crate::protocol::filter::Filter;

/// A query on its way.
pub struct Scan {
    core: Arc<Core>,
    moment: Moment,
    snapshot: Snapshot,
    at_seq: u64,
    streams: Streams,
    failed: Option<ReadError>,
}

/// How a slice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Everything was given away.
    Done,
    /// There may be more: time was up, or the receiver asked for a pause.
    More,
}

impl Scan {
    pub(super) fn new(core: Arc<Core>, filters: Arc<[Filter]>, limits: &ScanLimits) -> Result<Self, ReadError> {
        let moment = core.hot.moment();
        let snapshot = core.db.snapshot();
        let at_seq = core.seq_at(&snapshot)?;
        let streams = Streams::new(filters, limits, at_seq, &core.salt);
        Ok(Self { core, moment, snapshot, at_seq, streams, failed: None })
    }

    /// The number up to which this scan sees events; what is accepted later has a higher one. A live subscription goes on
    /// exactly after it.
    pub fn at_seq(&self) -> u64 {
        self.at_seq
    }

    /// Gives events away until there are no more, `deadline` has passed, or `emit` breaks. An event that was given to `emit`
    /// is not given again, also when `emit` breaks on it. After an error the scan stays failed.
    pub fn run(&mut self, deadline: Instant, emit: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Step, ReadError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let step = self.slice(deadline, emit);
        self.streams.rest();
        self.failed = step.as_ref().err().cloned();
        step
    }

    fn slice(&mut self, deadline: Instant, emit: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Step, ReadError> {
        let reader =
            Reader { view: View { db: &self.core.db, snapshot: &self.snapshot }, hot: &self.core.hot, moment: self.moment };
        let now_s = self.core.clock.now_s();
        let mut budget = Budget::until(deadline);
        loop {
            let found = match self.streams.next(&reader, &mut budget)? {
                Next::End => return Ok(Step::Done),
                Next::Later => return Ok(Step::More),
                Next::Candidate(found) => found,
            };
            let place = found.row.place;
            let event = fetch(&self.streams, found, &reader, now_s)?;
            let is_alone = self.streams.is_alone(place);
            let wants = |filter: &Filter, _| event.as_ref().is_some_and(|event| is_alone || filter.matches(event.view()));
            self.streams.settle(place, wants);
            if let Some(event) = event
                && emit(event).is_break()
            {
                return Ok(Step::More);
            }
            budget.spend(FETCH);
            if budget.is_over() {
                return Ok(Step::More);
            }
        }
    }
}
