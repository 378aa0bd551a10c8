//! Joins the relay to the store: [`Storage`] over [`Store`], and the hook that makes stored events live.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use crate::base::hex32::EventId;
use crate::live::{self, Live};
use crate::protocol::event::Event;
use crate::protocol::filter::Filter;
use crate::relay::storage::{Appended, Count, OnAppended, Query, ScanLimits, Step, Storage, Tally, Unreadable};
use crate::store::{self, Store};
use crate::telemetry::metrics::EventMetrics;

/// The store as the relay sees it.
pub struct StoreForRelay(pub Store);

impl Storage for StoreForRelay {
    fn has(&self, id: &EventId) -> bool {
        self.0.has(id)
    }

    fn seq(&self) -> u64 {
        self.0.seq()
    }

    fn append(&self, event: Event, done: OnAppended) {
        self.0.append(event, Box::new(|appended| done(outcome(appended))));
    }

    fn scan(&self, filters: Arc<[Filter]>, limits: ScanLimits) -> Result<Box<dyn Query>, Unreadable> {
        let ScanLimits { default_limit, max_limit } = limits;
        let limits = store::ScanLimits { default_limit, max_limit };
        let scan = self.0.scan(filters, &limits).map_err(unreadable)?;
        Ok(Box::new(Scanning(scan)))
    }

    fn count(&self, filters: &[Filter], cap: u64) -> Result<Box<dyn Tally>, Unreadable> {
        let counting = self.0.counting(filters, cap).map_err(unreadable)?;
        Ok(Box::new(Tallying(counting)))
    }
}

struct Scanning(store::Scan);

impl Query for Scanning {
    fn at_seq(&self) -> u64 {
        self.0.at_seq()
    }

    fn run(&mut self, deadline: Instant, emit: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Step, Unreadable> {
        self.0.run(deadline, emit).map(step).map_err(unreadable)
    }
}

struct Tallying(store::Counting);

impl Tally for Tallying {
    fn run(&mut self, deadline: Instant) -> Result<Step, Unreadable> {
        self.0.run(deadline).map(step).map_err(unreadable)
    }

    fn so_far(&self) -> Count {
        let store::Count { count, approximate } = self.0.so_far();
        Count { count, approximate }
    }
}

fn step(step: store::Step) -> Step {
    match step {
        store::Step::Done => Step::Done,
        store::Step::More => Step::More,
    }
}

fn outcome(appended: store::Appended) -> Appended {
    match appended {
        store::Appended::Stored { seq } => Appended::Stored { seq },
        store::Appended::Duplicate => Appended::Duplicate,
        store::Appended::Superseded => Appended::Superseded,
        store::Appended::Deleted => Appended::Deleted,
        store::Appended::Expired => Appended::Expired,
        store::Appended::Busy => Appended::Busy,
        store::Appended::NoRoom => Appended::NoRoom,
        // The relay never hands over an ephemeral event.
        store::Appended::Ephemeral | store::Appended::Failed => Appended::Failed,
    }
}

/// The client hears only that it went wrong; the cause belongs to the operator.
fn unreadable(error: store::ReadError) -> Unreadable {
    tracing::error!(%error, "the event store cannot be read");
    Unreadable
}

/// What the store calls after each commit: everybody gets their verdict, then every accepted event goes to whoever listens, in order.
/// The writer of one event that few hear sends all of it itself.
pub fn publish_to(live: Live, metrics: EventMetrics) -> store::OnCommit {
    Box::new(move |events, tell| {
        live::together(|| {
            tell();
            for (seq, event) in events {
                metrics.count(event.view().kind());
                live.publish(*seq, event);
            }
        });
    })
}
