//! What waits to be sent to one connection: a queue bounded in bytes, filled by many and emptied by the one task that writes.
//!
//! Event frames are a shared buffer and a subscription until they are written, so a thousand waiting receivers hold one copy of
//! an event; and frames of a subscription that ended in the meantime are dropped as they are taken, so nothing of a replaced
//! subscription follows its replacement.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::direct::{Direct, notify};
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
const KEPT_FRAMES: usize = 8;
/// WebSocket close code "try again later" (RFC 6455, IANA registry).
pub const CLOSE_TRY_LATER: u16 = 1_013;

/// The bytes that all outboxes hold together beyond what each may hold in any case (16 KiB), and how many they may. So those
/// who read, nearly all, never touch a number that everybody shares.
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
#[derive(Debug)]
pub enum Outgoing {
    /// A text message.
    Text(Message),
    /// The last frame: close with this code and reason.
    Close(u16, String),
}

/// A text message, in the parts that it is put together from where it is written.
#[derive(Debug)]
pub struct Message(Frame);

impl Message {
    /// Its parts, in order; none may be left out.
    pub fn parts(&self) -> [&[u8]; 3] {
        match &self.0 {
            Frame::Text(text) | Frame::For(_, text) => [text.as_bytes(), b"", b""],
            Frame::Event(subscription, event) => {
                [subscription.head().as_bytes(), event.view().json_bytes(), EVENT_TAIL.as_bytes()]
            }
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Frame::Text(text) | Frame::For(_, text) => f.write_str(text),
            Frame::Event(subscription, event) => write!(f, "{}{}{EVENT_TAIL}", subscription.head(), event.json()),
        }
    }
}

/// Frames that wait for one connection.
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
    max_bytes: usize,
    total: Arc<TotalBytes>,
    /// Bytes that wait at the closed gates of all its subscriptions.
    held: AtomicUsize,
    /// Sends for a task that sleeps.
    direct: OnceLock<Arc<dyn Direct>>,
    me: Weak<Outbox>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Frame>,
    bytes: usize,
    /// What of `bytes` stands in the total.
    counted: usize,
    phase: Phase,
    /// Of the task that found nothing to take.
    reader: Option<Waker>,
}

/// Tells the reader when it is dropped, which must be outside the lock.
struct Wake<'a>(&'a Outbox, Option<Waker>);

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        match self.1.take() {
            Some(waker) if self.0.direct.get().is_some() => notify(&self.0.me, waker),
            Some(waker) => waker.wake(),
            None => {}
        }
    }
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

    /// Whether it is still wanted.
    fn is_alive(&self) -> bool {
        match self {
            Self::Text(_) => true,
            Self::For(subscription, _) | Self::Event(subscription, _) => subscription.is_alive(),
        }
    }
}

impl Outbox {
    /// An empty outbox that holds at most `max_bytes`.
    pub fn new(max_bytes: usize, total: Arc<TotalBytes>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            state: Mutex::default(),
            max_bytes,
            total,
            direct: OnceLock::new(),
            held: AtomicUsize::new(0),
            me: me.clone(),
        })
    }

    /// From now on other threads may send what waits here through this, while the connection's task sleeps.
    pub fn send_through(&self, direct: Arc<dyn Direct>) {
        let _ = self.direct.set(direct);
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
        drop(wake);
        Ok(())
    }

    /// Closes the connection after what is queued has been sent. The first reason stands.
    pub fn close(&self, code: u16, reason: impl Into<Cow<'static, str>>) {
        let mut state = self.state.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing(code, reason.into());
            let wake = self.wake(&mut state);
            drop(state);
            drop(wake);
        }
    }

    /// Drops what is queued and takes nothing more: the connection is gone.
    pub fn end(&self) {
        let mut state = self.state.lock();
        state.phase = Phase::Ended;
        let queue = std::mem::take(&mut state.queue);
        state.bytes = 0;
        self.count(&mut state);
        let wake = self.wake(&mut state);
        drop(state);
        drop((queue, wake));
    }

    /// Whether a stored query may go on: less than half of the bound is waiting, and all outboxes together have room.
    pub fn has_room(&self) -> bool {
        self.has_room_in(&self.state.lock())
    }

    fn has_room_in(&self, state: &State) -> bool {
        let is_crowded = state.bytes > FLOOR_BYTES && !self.total.has_room(0);
        state.phase == Phase::Open && state.bytes < self.max_bytes / 2 && !is_crowded
    }

    /// Whether the connection is to be closed or gone.
    pub fn is_closing(&self) -> bool {
        self.state.lock().phase != Phase::Open
    }

    /// Makes room at a closed gate, within the bound of this connection and of all together. False: there is none.
    pub(super) fn hold(&self, bytes: usize) -> bool {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > self.max_bytes || (held > FLOOR_BYTES && !self.total.has_room(bytes)) {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.total.add(bytes);
        true
    }

    /// Gives room back that [`Outbox::hold`] made.
    pub(super) fn let_go(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.total.take(bytes);
    }

    /// Bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Takes frames, oldest first, until `max_bytes` are reached or nothing waits. There may be none to write although there
    /// were some to take: those of ended subscriptions. [`Outgoing::Close`] comes once, as the last of all.
    pub fn pop_batch(&self, max_bytes: usize, out: &mut Vec<Outgoing>) {
        let mut state = self.state.lock();
        self.take(&mut state, max_bytes, out);
        if state.queue.is_empty()
            && matches!(state.phase, Phase::Closing(..))
            && let Phase::Closing(code, reason) = std::mem::replace(&mut state.phase, Phase::Ended)
        {
            out.push(Outgoing::Close(code, reason.into_owned()));
        }
    }

    /// The same for whoever cannot close the connection: nothing if it is to be closed.
    pub fn pop_open(&self, max_bytes: usize, out: &mut Vec<Outgoing>) {
        let mut state = self.state.lock();
        if state.phase == Phase::Open {
            self.take(&mut state, max_bytes, out);
        }
    }

    fn take(&self, state: &mut State, max_bytes: usize, out: &mut Vec<Outgoing>) {
        let mut taken = 0;
        while taken < max_bytes.max(1)
            && let Some(frame) = state.queue.pop_front()
        {
            taken += frame.bytes();
            if frame.is_alive() {
                out.push(Outgoing::Text(Message(frame)));
            }
        }
        state.bytes -= taken;
        self.count(state);
        if state.queue.is_empty() && state.queue.capacity() > KEPT_FRAMES {
            state.queue.shrink_to(KEPT_FRAMES);
        }
    }

    pub(super) fn direct(&self) -> Option<&Arc<dyn Direct>> {
        self.direct.get()
    }

    /// Sends what waits on this thread, in the place of a task whose waker was taken, or wakes it.
    pub(super) fn send_direct(&self, waker: Waker) {
        if !self.direct().is_some_and(|direct| direct.send(self)) {
            return waker.wake();
        }
        let mut state = self.state.lock();
        if state.queue.is_empty() && state.phase == Phase::Open {
            // It may have looked itself meanwhile, and waits again.
            let unneeded = state.reader.replace(waker);
            drop(state);
            drop(unneeded);
        } else {
            drop(state);
            waker.wake();
        }
    }

    /// Whether there is nothing to take.
    pub fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.queue.is_empty() && !matches!(state.phase, Phase::Closing(..))
    }

    /// Ready when [`Outbox::pop_batch`] has something to give, or the connection is gone. One task may wait.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if !state.queue.is_empty() || state.phase != Phase::Open {
            return Poll::Ready(());
        }
        if !state.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            state.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Resolves when [`Outbox::poll_ready`] is.
    pub async fn ready(&self) {
        poll_fn(|cx| self.poll_ready(cx)).await;
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
        drop(wake);
        has_room
    }

    fn put(&self, state: &mut State, frame: Frame, bytes: usize) -> Wake<'_> {
        state.bytes += bytes;
        self.count(state);
        state.queue.push_back(frame);
        self.wake(state)
    }

    /// Whoever waits is to be told, after the lock was given back.
    fn wake(&self, state: &mut State) -> Wake<'_> {
        Wake(self, state.reader.take())
    }

    /// Keeps the total right after `bytes` has changed.
    fn count(&self, state: &mut State) {
        let counted = state.bytes.saturating_sub(FLOOR_BYTES);
        if counted > state.counted {
            self.total.add(counted - state.counted);
        } else if counted < state.counted {
            self.total.take(state.counted - counted);
        }
        state.counted = counted;
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.total.take(self.state.get_mut().counted);
    }
}
