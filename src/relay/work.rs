//! Stored queries and counts of one connection: each runs in short slices, in turn, and only while the outbox has room.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::Relay;
use super::storage::{Count, Query, Step, Tally, Unreadable};
use crate::base::hex32::EventId;
use crate::live::{Outbox, Subscription};
use crate::protocol::reason::Reason;
use crate::protocol::relay_message;

/// Something that takes more than one slice.
pub(super) enum Job {
    /// A REQ that has not sent its EOSE.
    Scan(Scanning),
    /// A COUNT that has not been answered.
    Count(Counting),
}

/// The stored part of a REQ.
pub(super) struct Scanning {
    pub(super) subscription: Arc<Subscription>,
    pub(super) query: Box<dyn Query>,
    /// Recalled events that were sent before.
    pub(super) sent: Vec<EventId>,
}

/// A count on its way.
pub(super) struct Counting {
    pub(super) id: Box<str>,
    pub(super) tally: Box<dyn Tally>,
}

/// The jobs of one connection: one for each of its subscriptions at most, and a bounded number of counts.
#[derive(Default)]
pub(super) struct Work(VecDeque<Job>);

impl Work {
    pub(super) fn add(&mut self, job: Job) {
        self.0.push_back(job);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts under way.
    pub(super) fn counts(&self) -> usize {
        self.0.iter().filter(|job| matches!(job, Job::Count(_))).count()
    }

    /// Forgets those whose subscription has ended.
    pub(super) fn drop_ended(&mut self) {
        self.0.retain(|job| !matches!(job, Job::Scan(scanning) if !scanning.subscription.is_alive()));
        self.give_back();
    }

    /// Runs one slice of the job whose turn it is. True: there is more to do now.
    pub(super) fn run_slice(&mut self, relay: &Relay, outbox: &Arc<Outbox>) -> bool {
        if !outbox.has_room() {
            return false;
        }
        let Some(job) = self.0.pop_front() else { return false };
        let unfinished = match job {
            Job::Scan(scanning) => scan(relay, outbox, scanning).map(Job::Scan),
            Job::Count(counting) => count(relay, outbox, counting).map(Job::Count),
        };
        self.0.extend(unfinished);
        self.give_back();
        !self.0.is_empty() && outbox.has_room()
    }

    /// An idle connection holds no memory for jobs.
    fn give_back(&mut self) {
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
    }
}

/// One slice; what is not finished comes back.
fn scan(relay: &Relay, outbox: &Arc<Outbox>, mut scanning: Scanning) -> Option<Scanning> {
    let Scanning { subscription, query, .. } = &mut scanning;
    if !subscription.is_alive() {
        return None;
    }
    let step = query.run(Instant::now() + relay.policy.limits().slice, &mut |event| {
        if outbox.push_stored(subscription, event) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    match step {
        Ok(Step::More) => return Some(scanning),
        Ok(Step::Done) => finish(relay, outbox, &scanning.subscription, scanning.query.at_seq(), scanning.sent),
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
pub(super) fn fail(relay: &Relay, outbox: &Outbox, subscription: &Arc<Subscription>) {
    relay.live.unsubscribe(subscription);
    relay.say_closed(outbox, subscription.id(), &unreadable());
}

/// What a client is told when the store could not be read.
pub(super) fn unreadable() -> Reason {
    Reason::error("the store could not be read")
}

/// One slice; what is not finished comes back.
pub(super) fn count(relay: &Relay, outbox: &Outbox, mut counting: Counting) -> Option<Counting> {
    match counting.tally.run(Instant::now() + relay.policy.limits().slice) {
        Ok(Step::More) => return Some(counting),
        Ok(Step::Done) => {
            let Count { count, approximate } = counting.tally.so_far();
            outbox.push_text(relay_message::count(&counting.id, count, approximate));
        }
        Err(Unreadable) => relay.say_closed(outbox, &counting.id, &unreadable()),
    }
    None
}
