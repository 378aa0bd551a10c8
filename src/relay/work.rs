//! Stored queries and counts of one connection: each runs in short slices, in turn, and only while the outbox has room.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::Relay;
use super::storage::{Count, Query, ScanLimits, Step, Tally, Unreadable};
use crate::base::hex32::EventId;
use crate::live::{Outbox, Subscription};
use crate::protocol::event::Event;
use crate::protocol::filter::Filter;
use crate::protocol::reason::Reason;
use crate::protocol::relay_message;

/// Most jobs of a connection that hold a query of the store; the others are not begun before one of these is done.
const READING_MAX: usize = 4;

/// Something that takes more than one slice.
pub(super) enum Job {
    /// A REQ that has not sent its EOSE.
    Scan(Scanning),
    /// A COUNT that has not been answered.
    Count(Counting),
}

/// What a REQ has to send before its EOSE.
pub(super) struct Scanning {
    pub(super) subscription: Arc<Subscription>,
    /// Kept wallet messages, which go first; the next one last.
    pub(super) recalled: Vec<Event>,
    /// Those of them that were sent.
    pub(super) sent: Vec<EventId>,
    pub(super) stored: Stored,
}

/// The stored part of a REQ.
pub(super) enum Stored {
    /// Nothing is stored that it asks for.
    Nothing,
    /// Not begun: its snapshot will be taken then.
    Of(Arc<[Filter]>),
    /// Under way.
    Query(Box<dyn Query>),
}

/// A count on its way.
pub(super) struct Counting {
    pub(super) id: Box<str>,
    /// What its filters cost to keep.
    pub(super) cost: usize,
    pub(super) stage: Stage,
}

/// How far a count is.
pub(super) enum Stage {
    /// Not begun.
    Of(Arc<[Filter]>),
    /// Under way.
    Tally(Box<dyn Tally>),
}

impl Job {
    fn reads_store(&self) -> bool {
        match self {
            Self::Scan(scanning) => !matches!(scanning.stored, Stored::Nothing),
            Self::Count(_) => true,
        }
    }
}

/// The jobs of one connection: one for each of its subscriptions at most, and a bounded number of counts.
#[derive(Default)]
pub(super) struct Work {
    /// In turn.
    running: VecDeque<Job>,
    /// In line.
    waiting: VecDeque<Job>,
}

impl Work {
    pub(super) fn add(&mut self, job: Job) {
        self.waiting.push_back(job);
        self.admit();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Counts under way.
    pub(super) fn counts(&self) -> usize {
        self.counting().count()
    }

    /// What the filters of counts under way cost.
    pub(super) fn cost(&self) -> usize {
        self.counting().map(|counting| counting.cost).sum()
    }

    fn counting(&self) -> impl Iterator<Item = &Counting> {
        self.running.iter().chain(&self.waiting).filter_map(|job| match job {
            Job::Count(counting) => Some(counting),
            Job::Scan(_) => None,
        })
    }

    /// Forgets those whose subscription has ended.
    pub(super) fn drop_ended(&mut self) {
        let is_wanted = |job: &Job| !matches!(job, Job::Scan(scanning) if !scanning.subscription.is_alive());
        self.running.retain(is_wanted);
        self.waiting.retain(is_wanted);
        self.admit();
    }

    /// Runs one slice of the job whose turn it is. True: there is more to do now. `is_for_client` says of a kept wallet message whether
    /// this client is known to be the one that it is for.
    pub(super) fn run_slice(&mut self, relay: &Relay, outbox: &Arc<Outbox>, is_for_client: &dyn Fn(&Event) -> bool) -> bool {
        if !outbox.has_room() {
            return false;
        }
        let Some(job) = self.running.pop_front() else { return false };
        let unfinished = match job {
            Job::Scan(scanning) => scan(relay, outbox, scanning, is_for_client).map(Job::Scan),
            Job::Count(counting) => count(relay, outbox, counting).map(Job::Count),
        };
        self.running.extend(unfinished);
        self.admit();
        !self.running.is_empty() && outbox.has_room()
    }

    /// Lets those in line begin for whom there is room, first come, first served. What is idle holds no memory for jobs.
    fn admit(&mut self) {
        let mut reading = self.running.iter().filter(|job| job.reads_store()).count();
        while let Some(job) = self.waiting.pop_front_if(|job| reading < READING_MAX || !job.reads_store()) {
            reading += usize::from(job.reads_store());
            self.running.push_back(job);
        }
        if self.running.is_empty() {
            *self = Self::default();
        }
    }
}

/// One slice; what is not finished comes back.
fn scan(relay: &Relay, outbox: &Arc<Outbox>, mut scanning: Scanning, is_for_client: &dyn Fn(&Event) -> bool) -> Option<Scanning> {
    if !scanning.subscription.is_alive() {
        return None;
    }
    while let Some(event) = scanning.recalled.pop() {
        let has_room = outbox.push_stored(&scanning.subscription, event.clone());
        if !has_room && outbox.is_closing() {
            return None;
        }
        scanning.sent.push(event.id());
        if is_for_client(&event) {
            relay.intake.delivered(&event.id());
        }
        if !has_room {
            return Some(scanning);
        }
    }
    let Scanning { subscription, stored, .. } = &mut scanning;
    let query = match stored {
        Stored::Query(query) => query,
        Stored::Nothing => {
            finish(relay, outbox, &scanning.subscription, relay.store.seq(), scanning.sent);
            return None;
        }
        Stored::Of(filters) => {
            let limits = relay.policy.limits();
            let limits = ScanLimits { default_limit: limits.default_limit, max_limit: limits.max_limit };
            match relay.store.scan(Arc::clone(filters), limits) {
                Ok(query) => *stored = Stored::Query(query),
                Err(Unreadable) => {
                    fail(relay, outbox, &scanning.subscription);
                    return None;
                }
            }
            return scan(relay, outbox, scanning, is_for_client);
        }
    };
    let step = query.run(Instant::now() + relay.policy.limits().slice, &mut |event| {
        if outbox.push_stored(subscription, event) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    match step {
        Ok(Step::More) => return Some(scanning),
        Ok(Step::Done) => {
            let at_seq = query.at_seq();
            finish(relay, outbox, &scanning.subscription, at_seq, scanning.sent);
        }
        Err(Unreadable) => fail(relay, outbox, &scanning.subscription),
    }
    None
}

/// All stored events are queued: says so and lets the live ones through.
pub(super) fn finish(relay: &Relay, outbox: &Outbox, subscription: &Arc<Subscription>, at_seq: u64, sent: Vec<EventId>) {
    outbox.push_for(subscription, relay_message::eose(subscription.id()));
    relay.live.open_gate(subscription, at_seq, sent);
}

/// The store could not be read.
fn fail(relay: &Relay, outbox: &Outbox, subscription: &Arc<Subscription>) {
    relay.live.unsubscribe(subscription);
    relay.say_closed(outbox, subscription.id(), &unreadable());
}

/// What a client is told when the store could not be read.
fn unreadable() -> Reason {
    Reason::error("the store could not be read")
}

/// One slice; what is not finished comes back.
fn count(relay: &Relay, outbox: &Outbox, mut counting: Counting) -> Option<Counting> {
    let limits = relay.policy.limits();
    if let Stage::Of(filters) = &counting.stage {
        match relay.store.count(filters, limits.count_max) {
            Ok(tally) => counting.stage = Stage::Tally(tally),
            Err(Unreadable) => {
                relay.say_closed(outbox, &counting.id, &unreadable());
                return None;
            }
        }
    }
    let Stage::Tally(tally) = &mut counting.stage else { return Some(counting) };
    match tally.run(Instant::now() + limits.slice) {
        Ok(Step::More) => return Some(counting),
        Ok(Step::Done) => {
            let Count { count, approximate } = tally.so_far();
            outbox.push_text(relay_message::count(&counting.id, count, approximate));
        }
        Err(Unreadable) => relay.say_closed(outbox, &counting.id, &unreadable()),
    }
    None
}
