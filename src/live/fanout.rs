//! Joins index, gates and outboxes: one buffer per event, handed to whoever wants it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::index::Index;
use super::keys::Keys;
use super::outbox::Outbox;
use super::recent::{Recent, RecentLimits};
use super::subscription::{EPHEMERAL, GateLimits, Lost, Subscription};
use crate::base::clock::Clock;
use crate::base::hex32::EventId;
use crate::protocol::event::Event;
use crate::protocol::filter::Filter;

/// Bounds of the live part.
#[derive(Clone, Copy, Debug)]
pub struct LiveConfig {
    /// What may wait at the gate of one subscription while its stored events are being sent.
    pub gate: GateLimits,
    /// The memory of wallet messages.
    pub recent: RecentLimits,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self { gate: GateLimits { events: 4_096, bytes: 512 * 1_024 }, recent: RecentLimits::default() }
    }
}

/// Everyone who is listening. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    index: Index,
    recent: Recent,
    gate: GateLimits,
    subscriptions: AtomicUsize,
}

impl Live {
    /// Nobody listens yet.
    pub fn new(config: &LiveConfig, clock: Clock) -> Self {
        let keys = Keys::default();
        Self(Arc::new(Inner {
            index: Index::new(keys.clone()),
            recent: Recent::new(config.recent, keys, clock),
            gate: config.gate,
            subscriptions: AtomicUsize::new(0),
        }))
    }

    /// Installs a subscription with its gate closed: live events wait until [`Live::open_gate`].
    pub fn subscribe(&self, id: &str, filters: Arc<[Filter]>, outbox: Arc<Outbox>) -> Arc<Subscription> {
        let places = Index::places(&filters);
        let subscription = Subscription::new(id, filters, places, outbox, self.0.gate);
        self.0.subscriptions.fetch_add(1, Ordering::Relaxed);
        self.0.index.insert(&subscription);
        if !subscription.is_alive() {
            // Its gate overflowed before it stood everywhere.
            self.0.index.remove(&subscription);
        }
        subscription
    }

    /// Ends a subscription at once; its frames that still wait are dropped.
    pub fn unsubscribe(&self, subscription: &Arc<Subscription>) {
        if subscription.kill() {
            self.take_out(subscription);
        }
    }

    /// Opens the gate after the stored events up to `at_seq`, and the events in `sent`, have been queued for the client.
    pub fn open_gate(&self, subscription: &Arc<Subscription>, at_seq: u64, sent: Vec<EventId>) {
        if let Err(lost) = subscription.open_gate(at_seq, sent) {
            self.give_up(subscription, lost);
        }
    }

    /// Hands a stored event to everyone who wants it; returns how many got it.
    pub fn publish(&self, seq: u64, event: &Event) -> usize {
        let mut receivers = 0;
        for subscription in self.0.index.matching(event.view()) {
            match subscription.offer(seq, event) {
                Ok(taken) => receivers += usize::from(taken),
                Err(lost) => self.give_up(&subscription, lost),
            }
        }
        receivers
    }

    /// Hands an event that is never stored to everyone who wants it; returns how many got it.
    pub fn publish_ephemeral(&self, event: &Event) -> usize {
        self.publish(EPHEMERAL, event)
    }

    /// The short memory of wallet messages.
    pub fn recent(&self) -> &Recent {
        &self.0.recent
    }

    /// Open subscriptions.
    pub fn subscriptions(&self) -> usize {
        self.0.subscriptions.load(Ordering::Relaxed)
    }

    /// Keys and postings of the index.
    pub fn index_size(&self) -> (usize, usize) {
        self.0.index.size()
    }

    /// How many filters are compared whole with an event.
    #[cfg(test)]
    pub(super) fn comparisons(&self, event: &Event) -> usize {
        let mut asked = 0;
        self.0.index.matching_by(event.view(), |_| {
            asked += 1;
            false
        });
        asked
    }

    fn give_up(&self, subscription: &Arc<Subscription>, lost: Lost) {
        // Several threads may find out at once; the client is told once.
        if subscription.give_up(lost) {
            self.take_out(subscription);
        }
    }

    fn take_out(&self, subscription: &Arc<Subscription>) {
        self.0.subscriptions.fetch_sub(1, Ordering::Relaxed);
        self.0.index.remove(subscription);
    }
}
