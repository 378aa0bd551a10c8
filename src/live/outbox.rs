//! What waits to be sent to one connection: a queue bounded in bytes, filled by many and emptied by the one task that writes.
//!
//! Event frames stay unrendered (a shared buffer and a subscription) until they are taken, so a thousand waiting receivers hold
//! one copy of an event; and frames of a subscription that ended in the meantime are dropped as they are taken, so nothing of
//! a replaced subscription follows its replacement.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::subscription::Subscription;
use crate::protocol::event::Event;
use crate::protocol::relay_message::EVENT_TAIL;

/// What a waiting frame costs beside its own bytes.
const FRAME_OVERHEAD_BYTES: usize = 64;
/// How far replies may go past the bound before the connection is given up: it keeps asking and does not read.
const REPLY_SLACK_BYTES: usize = 256 * 1_024;
/// A connection that holds less than this may always add to it, however full all the others are: it is not the slow one.
const FLOOR_BYTES: usize = 16 * 1_024;
/// An empty queue keeps room for this many frames; the rest is given back.
const KEPT_FRAMES: usize = 16;
/// WebSocket close code "try again later" (RFC 6455, IANA registry).
pub const CLOSE_TRY_LATER: u16 = 1_013;

/// The bytes that all outboxes hold together, and how many they may.
#[derive(Debug)]
pub struct TotalBytes {
    used: AtomicUsize,
    max: usize,
}

impl TotalBytes {
    /// A shared bound of `max` bytes.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    /// Bytes waiting now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.used().saturating_add(bytes) <= self.max
    }

    pub(super) fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn take(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The frame did not fit, or the connection is closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A frame to write to the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// A text message.
    Text(String),
    /// The last frame: close with this code and reason.
    Close(u16, String),
}

/// Frames that wait for one connection.
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
    wake: Notify,
    max_bytes: usize,
    total: Arc<TotalBytes>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Frame>,
    bytes: usize,
    phase: Phase,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// What is queued still goes out, then the close frame; nothing more is taken.
    Closing(u16, Cow<'static, str>),
    /// Nothing goes in or out.
    Ended,
}

#[derive(Debug)]
enum Frame {
    Text(String),
    For(Arc<Subscription>, String),
    Event(Arc<Subscription>, Event),
}

impl Frame {
    fn bytes(&self) -> usize {
        let content = match self {
            Self::Text(text) | Self::For(_, text) => text.len(),
            Self::Event(subscription, event) => subscription.head().len() + event.bytes().len(),
        };
        content + FRAME_OVERHEAD_BYTES
    }

    /// The text to send; `None` if its subscription has ended.
    fn render(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::For(subscription, text) => subscription.is_alive().then_some(text),
            Self::Event(subscription, event) => subscription.is_alive().then(|| event_frame(subscription.head(), event.json())),
        }
    }
}

/// `["EVENT","subscription",{...}]` in one allocation of the exact size.
pub fn event_frame(head: &str, json: &str) -> String {
    let mut frame = String::with_capacity(head.len() + json.len() + EVENT_TAIL.len());
    frame.push_str(head);
    frame.push_str(json);
    frame.push_str(EVENT_TAIL);
    frame
}

impl Outbox {
    /// An empty outbox that holds at most `max_bytes`.
    pub fn new(max_bytes: usize, total: Arc<TotalBytes>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), wake: Notify::new(), max_bytes, total })
    }

    /// Queues a reply (OK, NOTICE, CLOSED, AUTH, COUNT). Replies may exceed the bound a little; a client that asks on and on
    /// and never reads is closed with 1013.
    pub fn push_text(&self, text: String) {
        self.push_reply(Frame::Text(text));
    }

    /// Queues a reply that belongs to a subscription (EOSE): dropped if the subscription ends first.
    pub fn push_for(&self, subscription: &Arc<Subscription>, text: String) {
        self.push_reply(Frame::For(Arc::clone(subscription), text));
    }

    /// Queues a stored event; dropped if the subscription ends first. False: the outbox has no room for another.
    pub fn push_stored(&self, subscription: &Arc<Subscription>, event: Event) -> bool {
        self.push_reply(Frame::Event(Arc::clone(subscription), event))
    }

    /// Queues a live event, unless that would exceed the bound of this outbox or of all together.
    pub fn push_event(&self, subscription: &Arc<Subscription>, event: Event) -> Result<(), Full> {
        let frame = Frame::Event(Arc::clone(subscription), event);
        let bytes = frame.bytes();
        let mut state = self.state.lock();
        let crowded = state.bytes > FLOOR_BYTES && !self.total.has_room(bytes);
        if state.phase != Phase::Open || state.bytes + bytes > self.max_bytes || crowded {
            return Err(Full);
        }
        let wake = self.put(&mut state, frame, bytes);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Closes the connection after what is queued has been sent. The first reason stands.
    pub fn close(&self, code: u16, reason: impl Into<Cow<'static, str>>) {
        let mut state = self.state.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing(code, reason.into());
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Drops what is queued and takes nothing more: the connection is gone.
    pub fn end(&self) {
        let mut state = self.state.lock();
        state.phase = Phase::Ended;
        let queue = std::mem::take(&mut state.queue);
        self.total.take(std::mem::take(&mut state.bytes));
        drop(state);
        drop(queue);
        self.wake.notify_one();
    }

    /// Whether a stored query may go on: less than half of the bound is waiting, and all outboxes together have room.
    pub fn has_room(&self) -> bool {
        self.has_room_in(&self.state.lock())
    }

    fn has_room_in(&self, state: &State) -> bool {
        let is_crowded = state.bytes > FLOOR_BYTES && !self.total.has_room(0);
        state.phase == Phase::Open && state.bytes < self.max_bytes / 2 && !is_crowded
    }

    fn is_ended(&self) -> bool {
        self.state.lock().phase == Phase::Ended
    }

    /// Whether the connection is to be closed or gone.
    pub fn is_closing(&self) -> bool {
        self.state.lock().phase != Phase::Open
    }

    pub(super) fn total(&self) -> &TotalBytes {
        &self.total
    }

    /// Bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Takes frames, oldest first, until `max_bytes` are reached or nothing waits; returns the bytes rendered (0 also
    /// when all that was taken belonged to ended subscriptions: see [`Outbox::is_idle`]).
    /// [`Outgoing::Close`] comes once, as the last of all.
    pub fn pop_batch(&self, max_bytes: usize, out: &mut Vec<Outgoing>) -> usize {
        let mut frames = SmallVec::new();
        let close = self.take(max_bytes, &mut frames);
        let mut rendered = 0;
        // Rendered outside the lock: copying events must not hold up those who publish.
        for frame in frames {
            if let Some(text) = frame.render() {
                rendered += text.len();
                out.push(Outgoing::Text(text));
            }
        }
        out.extend(close);
        rendered
    }

    /// Whether there is nothing to take.
    pub fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.queue.is_empty() && !matches!(state.phase, Phase::Closing(..))
    }

    /// Resolves when [`Outbox::pop_batch`] has something to give, or the connection is closing. One task may wait.
    pub async fn ready(&self) {
        loop {
            if !self.is_idle() || self.is_ended() {
                return;
            }
            self.wake.notified().await;
        }
    }

    /// Takes at least one frame if there is one, and the close frame if nothing else is left.
    fn take(&self, max_bytes: usize, frames: &mut SmallVec<[Frame; 8]>) -> Option<Outgoing> {
        let mut state = self.state.lock();
        let mut taken = 0;
        while taken < max_bytes.max(1)
            && let Some(frame) = state.queue.pop_front()
        {
            taken += frame.bytes();
            frames.push(frame);
        }
        state.bytes -= taken;
        self.total.take(taken);
        if !state.queue.is_empty() {
            return None;
        }
        if state.queue.capacity() > KEPT_FRAMES {
            state.queue.shrink_to(KEPT_FRAMES);
        }
        if !matches!(state.phase, Phase::Closing(..)) {
            return None;
        }
        match std::mem::replace(&mut state.phase, Phase::Ended) {
            Phase::Closing(code, reason) => Some(Outgoing::Close(code, reason.into_owned())),
            Phase::Open | Phase::Ended => None,
        }
    }

    /// False: there is no room for another.
    fn push_reply(&self, frame: Frame) -> bool {
        let bytes = frame.bytes();
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return false;
        }
        if state.bytes + bytes > self.max_bytes + REPLY_SLACK_BYTES {
            state.phase = Phase::Closing(CLOSE_TRY_LATER, Cow::Borrowed("too slow: answers are not being read"));
            return false;
        }
        let wake = self.put(&mut state, frame, bytes);
        let has_room = self.has_room_in(&state);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        has_room
    }

    /// Whether the reader must be woken: only the first frame of an empty queue wakes it.
    fn put(&self, state: &mut State, frame: Frame, bytes: usize) -> bool {
        let was_empty = state.queue.is_empty();
        state.bytes += bytes;
        self.total.add(bytes);
        state.queue.push_back(frame);
        was_empty
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.total.take(self.state.get_mut().bytes);
    }
}
