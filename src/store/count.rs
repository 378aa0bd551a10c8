//! Counting what a query matches, from index rows alone wherever they decide.

use std::sync::Arc;
use std::time::Instant;

use super::budget::{Budget, FETCH};
use super::cache::Moment;
use super::config::ScanLimits;
use super::error::ReadError;
use super::merge::View;
use super::reader::Reader;
use super::scan::Step;
use super::shared::Core;
use super::streams::{Next, Streams, fetch};
use crate::kv::Snapshot;
use crate::protocol::filter::Filter;

/// How many events match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// So many.
    pub count: u64,
    /// There are more: counting stopped at its cap.
    pub approximate: bool,
}

/// A count on its way. `limit` of a filter does not count; an event that several filters match counts once.
pub struct Counting {
    core: Arc<Core>,
    moment: Moment,
    snapshot: Snapshot,
    streams: Streams,
    cap: u64,
    so_far: Count,
}

impl Counting {
    pub(super) fn new(core: Arc<Core>, filters: &[Filter], cap: u64) -> Result<Self, ReadError> {
        let moment = core.hot.moment();
        let snapshot = core.db.snapshot();
        let at_seq = core.seq_at(&snapshot)?;
        let filters = filters.iter().map(|filter| Filter { limit: None, ..filter.clone() }).collect();
        let unlimited = ScanLimits { default_limit: u64::MAX, max_limit: u64::MAX };
        let streams = Streams::new(filters, &unlimited, at_seq, &core.salt);
        Ok(Self { core, moment, snapshot, streams, cap, so_far: Count::default() })
    }

    /// Counts until all is counted, the cap is reached or `deadline` has passed.
    pub fn run(&mut self, deadline: Instant) -> Result<Step, ReadError> {
        let step = self.slice(deadline);
        self.streams.rest();
        step
    }

    /// The count so far.
    pub fn so_far(&self) -> Count {
        self.so_far
    }

    fn slice(&mut self, deadline: Instant) -> Result<Step, ReadError> {
        let reader =
            Reader { view: View { db: &self.core.db, snapshot: &self.snapshot }, hot: &self.core.hot, moment: self.moment };
        let now_s = self.core.clock.now_s();
        let mut budget = Budget::until(deadline);
        while !budget.is_over() {
            let found = match self.streams.next(&reader, &mut budget)? {
                Next::End => return Ok(Step::Done),
                Next::Later => return Ok(Step::More),
                Next::Candidate(found) => found,
            };
            let place = found.row.place;
            let counts = self.streams.is_decided(&found.row) || {
                budget.spend(FETCH);
                fetch(&self.streams, found, &reader, now_s)?.is_some()
            };
            // One more than the cap must really be there: as many as the cap are an exact number.
            if counts && self.so_far.count >= self.cap {
                self.so_far.approximate = true;
                return Ok(Step::Done);
            }
            self.so_far.count += u64::from(counts);
            self.streams.settle(place, |_, _| false);
        }
        Ok(Step::More)
    }
}
