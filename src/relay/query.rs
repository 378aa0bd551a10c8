//! Stored queries of one connection: each runs in short slices, oldest first in turn, and only while the outbox has room.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::Relay;
use super::storage::{Query, Step, Unreadable};
use crate::base::hex32::EventId;
use crate::live::outbox::event_frame;
use crate::live::{Outbox, Subscription};
use crate::policy::reading::Guard;
use crate::protocol::reason::Reason;
use crate::protocol::relay_message;

/// A query that has not sent its EOSE yet.
pub(super) struct Running {
    pub(super) subscription: Arc<Subscription>,
    pub(super) query: Box<dyn Query>,
    /// The store's sequence number when it began.
    pub(super) at_seq: u64,
    /// Recalled events that were sent before.
    pub(super) sent: Vec<EventId>,
    pub(super) guard: Guard,
}

/// The running queries of one connection.
#[derive(Default)]
pub(super) struct Queries(VecDeque<Running>);

impl Queries {
    pub(super) fn add(&mut self, running: Running) {
        self.0.push_back(running);
    }

    /// Whether any has not sent its EOSE.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets those whose subscription has ended.
    pub(super) fn drop_ended(&mut self) {
        self.0.retain(|running| running.subscription.is_alive());
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
    }

    /// Runs one slice of the query whose turn it is. True: there is more to do now.
    pub(super) fn run_slice(&mut self, relay: &Relay, outbox: &Arc<Outbox>) -> bool {
        if !outbox.has_room() {
            return false;
        }
        let Some(mut running) = self.0.pop_front() else { return false };
        if running.subscription.is_alive() {
            match running.slice(relay, outbox) {
                Ok(Step::More) => self.0.push_back(running),
                Ok(Step::Done) => finish(relay, outbox, &running.subscription, running.at_seq, running.sent),
                Err(Unreadable) => fail(relay, outbox, &running.subscription),
            }
        }
        !self.0.is_empty() && outbox.has_room()
    }
}

impl Running {
    fn slice(&mut self, relay: &Relay, outbox: &Arc<Outbox>) -> Result<Step, Unreadable> {
        let Self { subscription, query, guard, .. } = self;
        let deadline = Instant::now() + relay.policy.limits().slice;
        query.run(deadline, &mut |event| {
            if guard.shows(event) {
                outbox.push_for(subscription, event_frame(subscription.head(), event.json()));
            }
            if outbox.has_room() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
    }
}

/// All stored events are queued: says so and lets the live ones through.
pub(super) fn finish(relay: &Relay, outbox: &Arc<Outbox>, subscription: &Arc<Subscription>, at_seq: u64, sent: Vec<EventId>) {
    outbox.push_for(subscription, relay_message::eose(subscription.id()));
    relay.live.open_gate(subscription, at_seq, sent);
}

/// The store could not be read.
pub(super) fn fail(relay: &Relay, outbox: &Outbox, subscription: &Arc<Subscription>) {
    let reason = Reason::error("the store could not be read");
    relay.counters.refusal(reason.prefix);
    relay.live.unsubscribe(subscription);
    outbox.push_text(relay_message::closed(subscription.id(), &reason));
}
