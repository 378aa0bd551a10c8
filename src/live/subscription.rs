//! One open REQ: who gets the frames, what they begin with, and the gate between stored and live events.
//!
//! A subscription is installed with its gate closed; a query then reads everything up to the sequence number S of its snapshot.
//! Live events wait meanwhile. Opening the gate sends those after S that the query did not send. An event is committed (snapshots see it
//! and its number) before it is published, so one that is missing from the query has a number above S and is published
//! after the subscription stands: no gap. One that the query sent has a number up to S or is in the list of what was sent: no
//! duplicate.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::index::empty_places;
use super::outbox::{CLOSE_TRY_LATER, Full, Outbox};
use crate::base::hex32::EventId;
use crate::protocol::event::Event;
use crate::protocol::filter::Filter;
use crate::protocol::reason::Reason;
use crate::protocol::relay_message;

/// The sequence number of events that are never stored.
pub const EPHEMERAL: u64 = u64::MAX;
/// The value of `after` while the gate is closed. No stored event has it.
const CLOSED_GATE: u64 = u64::MAX;

/// How much may wait at a closed gate.
#[derive(Clone, Copy, Debug)]
pub struct GateLimits {
    /// Most events.
    pub events: usize,
    /// Most bytes.
    pub bytes: usize,
}

/// One open subscription of one connection.
pub struct Subscription {
    id: Box<str>,
    head: Box<str>,
    pub(super) filters: Arc<[Filter]>,
    /// Where its postings stand in the index (see `index`).
    pub(super) places: Box<[AtomicU32]>,
    outbox: Arc<Outbox>,
    alive: AtomicBool,
    /// Stored events up to this number have been sent by the query.
    after: AtomicU64,
    /// Events without a number that were sent before the gate opened, sorted.
    sent: OnceLock<Box<[EventId]>>,
    gate: Mutex<Gate>,
    limits: GateLimits,
    /// What its filters cost ([`Filter::cost`]).
    cost: usize,
}

/// What came while the query ran.
#[derive(Default)]
struct Gate {
    pending: Vec<(u64, Event)>,
    bytes: usize,
}

/// Why a subscription takes no more events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// Its gate was closed for too long.
    Gate,
    /// The client reads too slowly.
    Slow,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).field("alive", &self.is_alive()).finish_non_exhaustive()
    }
}

impl Subscription {
    pub(super) fn new(id: &str, filters: Arc<[Filter]>, places: usize, outbox: Arc<Outbox>, limits: GateLimits) -> Arc<Self> {
        Arc::new(Self {
            id: id.into(),
            cost: filters.iter().map(Filter::cost).sum(),
            head: relay_message::event_head(id).into_boxed_str(),
            filters,
            places: empty_places(places),
            outbox,
            alive: AtomicBool::new(true),
            after: AtomicU64::new(CLOSED_GATE),
            sent: OnceLock::new(),
            gate: Mutex::default(),
            limits,
        })
    }

    /// The id that the client chose.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `["EVENT","id",`: what every event frame of this subscription begins with.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// False once it was closed, replaced or given up.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// What its filters cost to keep.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Ends it: frames that still wait are dropped when they are taken. True for the one call that ended it.
    pub(super) fn kill(&self) -> bool {
        self.end(|| {})
    }

    /// Ends it because it is lost, and tells the client. True for the one call that ended it.
    pub(super) fn give_up(&self, lost: Lost) -> bool {
        self.end(|| lost.tell(self))
    }

    /// What is told stands in the outbox before the lock is given back: whoever ends it otherwise, to replace it, waits for that, so
    /// that the client never reads it as said of the replacement.
    fn end(&self, tell: impl FnOnce()) -> bool {
        let mut gate = self.gate.lock();
        if !self.is_alive() {
            return false;
        }
        tell();
        self.alive.store(false, Ordering::Release);
        let pending = std::mem::take(&mut *gate);
        drop(gate);
        self.outbox.let_go(pending.bytes);
        true
    }

    /// Gives it an event that matches. `false` if it does not want it (ended, or sent before).
    pub(super) fn offer(self: &Arc<Self>, seq: u64, event: &Event) -> Result<bool, Lost> {
        if !self.is_alive() {
            return Ok(false);
        }
        let mut after = self.after.load(Ordering::Acquire);
        if after == CLOSED_GATE {
            let mut gate = self.gate.lock();
            after = self.after.load(Ordering::Acquire);
            if after == CLOSED_GATE {
                return self.hold(&mut gate, seq, event);
            }
        }
        self.send(seq, after, event)
    }

    /// Sends what waited with a number above `at_seq` that is not in `sent`, and from now on everything at once.
    pub(super) fn open_gate(self: &Arc<Self>, at_seq: u64, mut sent: Vec<EventId>) -> Result<(), Lost> {
        sent.sort_unstable();
        let _ = self.sent.set(sent.into_boxed_slice());
        let after = at_seq.min(CLOSED_GATE - 1);
        let mut gate = self.gate.lock();
        let waiting = std::mem::take(&mut *gate);
        self.outbox.let_go(waiting.bytes);
        for (seq, event) in &waiting.pending {
            self.send(*seq, after, event)?;
        }
        // Still under the lock: whoever waits for it finds the gate open and comes after what waited before.
        self.after.store(after, Ordering::Release);
        Ok(())
    }

    fn hold(&self, gate: &mut Gate, seq: u64, event: &Event) -> Result<bool, Lost> {
        let bytes = event.bytes().len();
        if gate.pending.len() >= self.limits.events || gate.bytes + bytes > self.limits.bytes {
            return Err(Lost::Gate);
        }
        // Checked again under the lock: an ended subscription must not gather anything.
        if !self.is_alive() {
            return Ok(false);
        }
        if !self.outbox.hold(bytes) {
            return Err(Lost::Gate);
        }
        gate.bytes += bytes;
        gate.pending.push((seq, event.clone()));
        Ok(true)
    }

    fn send(self: &Arc<Self>, seq: u64, after: u64, event: &Event) -> Result<bool, Lost> {
        let was_sent = if seq == EPHEMERAL { self.was_sent(&event.id()) } else { seq <= after };
        if was_sent {
            return Ok(false);
        }
        match self.outbox.push_event(self, event.clone()) {
            Ok(()) => Ok(true),
            Err(Full) => Err(Lost::Slow),
        }
    }

    fn was_sent(&self, id: &EventId) -> bool {
        self.sent.get().is_some_and(|sent| sent.binary_search(id).is_ok())
    }
}

impl Lost {
    /// Tells the client, in words and, where it is too slow for anything, by closing the connection.
    pub(super) fn tell(self, subscription: &Subscription) {
        let words = match self {
            Self::Gate => "too many new events arrived while stored ones were being sent, subscribe again",
            Self::Slow => "too slow: live events are not being read",
        };
        subscription.outbox.push_text(relay_message::closed(&subscription.id, &Reason::error(words)));
        if self == Self::Slow {
            subscription.outbox.close(CLOSE_TRY_LATER, words);
        }
    }
}
