//! The writing side of a connection: its half of the socket and what that did not take yet, behind one lock.
//!
//! The connection's task writes here, and so may another thread that has something for a client whose task sleeps
//! ([`Direct`]). Frames are taken from the outbox under this lock only, so they leave in the order in which they were queued.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::Instant;

use super::{BATCH_BYTES, Over, SCRATCH_KEPT_BYTES};
use crate::live::{Direct, Load, Outbox, Outgoing};
use crate::server::Shared;
use crate::server::frames;
use crate::telemetry::metrics::RelayMessages;

thread_local! {
    static WRITE: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    frames: Vec<Outgoing>,
}

/// Where a connection is written to.
pub(super) struct Wire {
    writing: Mutex<Writing>,
    /// Whether there are bytes that the socket did not take. Changed under the lock.
    behind: AtomicBool,
    shared: Arc<Shared>,
}

struct Writing {
    /// `None` once the connection is over: whoever still holds the outbox must not keep the socket open.
    half: Option<OwnedWriteHalf>,
    /// Bytes that the socket did not take yet.
    unsent: Vec<u8>,
    /// When the socket last took something of it, or it began to wait.
    took_at: Instant,
    /// The socket failed under another thread; the task is to find out.
    lost: bool,
}

/// How a batch of frames was sent.
pub(super) struct Sent {
    /// Whether the socket took all of it.
    pub(super) whole: bool,
    /// Whether the close frame was the last of it.
    pub(super) closed: bool,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("behind", &self.is_behind()).finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) fn new(half: OwnedWriteHalf, shared: Arc<Shared>) -> Arc<Self> {
        let writing = Writing { half: Some(half), unsent: Vec::new(), took_at: Instant::now(), lost: false };
        Arc::new(Self { writing: Mutex::new(writing), behind: AtomicBool::new(false), shared })
    }

    /// Whether there are bytes that the socket did not take.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Acquire)
    }

    /// When the socket last took something of what waits.
    pub(super) fn took_at(&self) -> Instant {
        self.writing.lock().took_at
    }

    /// Puts bytes behind what is unsent.
    pub(super) fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut writing = self.writing.lock();
        if writing.unsent.is_empty() {
            writing.took_at = Instant::now();
        }
        write(&mut writing.unsent);
        self.settle(&writing.unsent);
    }

    /// Ready when the socket takes bytes again.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.writing.lock().half {
            Some(half) => half.as_ref().poll_write_ready(cx).map(|_| ()),
            None => Poll::Ready(()),
        }
    }

    /// Sends what the socket did not take before; `true`: all of it is out.
    pub(super) fn send_unsent(&self) -> Result<bool, Over> {
        self.send_rest(&mut self.writing.lock())
    }

    /// Sends one batch of frames with one write, a pong first.
    pub(super) fn send_batch(&self, outbox: &Outbox, pong: &mut Option<Box<[u8]>>) -> Result<Sent, Over> {
        let mut writing = self.writing.lock();
        // Another thread may have left something since the task looked.
        if !self.send_rest(&mut writing)? {
            return Ok(Sent { whole: false, closed: false });
        }
        self.send_frames(&mut writing, pong.take().as_deref(), |frames| outbox.pop_batch(BATCH_BYTES, frames))
    }

    /// Everything is out: the client sees the close frame, and then the end. For a TCP socket this is one system call that does not
    /// wait.
    pub(super) fn shut_down(&self) -> Result<(), Over> {
        let mut nobody = Context::from_waker(Waker::noop());
        match self.writing.lock().half.as_mut().map(|half| Pin::new(half).poll_shutdown(&mut nobody)) {
            Some(Poll::Ready(Err(_))) => Err(Over::Done),
            _ => Ok(()),
        }
    }

    /// The connection is over.
    pub(super) fn close(&self) {
        let mut writing = self.writing.lock();
        writing.unsent = Vec::new();
        if let Some(half) = writing.half.take() {
            // The other half closes the socket; an orderly end was said before, or there is none.
            half.forget();
        }
    }

    fn send_rest(&self, writing: &mut Writing) -> Result<bool, Over> {
        let Some(half) = writing.half.as_ref().filter(|_| !writing.lost) else { return Err(Over::Lost) };
        if writing.unsent.is_empty() {
            return Ok(true);
        }
        let sent = try_write_all(half, &writing.unsent)?;
        if sent == writing.unsent.len() {
            writing.unsent = Vec::new();
        } else if sent > 0 {
            writing.unsent.drain(..sent);
            writing.took_at = Instant::now();
        }
        self.settle(&writing.unsent);
        Ok(writing.unsent.is_empty())
    }

    fn send_frames(
        &self,
        writing: &mut Writing,
        pong: Option<&[u8]>,
        take: impl FnOnce(&mut Vec<Outgoing>),
    ) -> Result<Sent, Over> {
        let Writing { half: Some(half), unsent, took_at, .. } = writing else { return Err(Over::Lost) };
        WRITE.with_borrow_mut(|Scratch { bytes, frames }| {
            bytes.clear();
            frames.clear();
            if let Some(content) = pong {
                frames::write_pong(bytes, content);
            }
            take(frames);
            let mut closed = false;
            let mut counted = RelayMessages::default();
            for frame in frames.drain(..) {
                match frame {
                    Outgoing::Text(message) => {
                        let parts = message.parts();
                        counted.add(parts[0]);
                        frames::write_text(bytes, parts);
                    }
                    Outgoing::Close(code, words) => {
                        frames::write_close(bytes, Some(code), &words);
                        closed = true;
                    }
                }
            }
            self.shared.metrics.count_relay_messages(&counted);
            let sent = try_write_all(half, bytes)?;
            if sent < bytes.len() {
                unsent.extend_from_slice(bytes.get(sent..).unwrap_or_default());
                *took_at = Instant::now();
            }
            self.settle(unsent);
            if bytes.capacity() > SCRATCH_KEPT_BYTES {
                *bytes = Vec::new();
            }
            Ok(Sent { whole: unsent.is_empty(), closed })
        })
    }

    fn settle(&self, unsent: &[u8]) {
        self.behind.store(!unsent.is_empty(), Ordering::Release);
    }
}

impl Direct for Wire {
    fn send(&self, outbox: &Outbox) -> bool {
        let Some(mut writing) = self.writing.try_lock() else { return false };
        if !writing.unsent.is_empty() {
            return false;
        }
        match self.send_frames(&mut writing, None, |frames| outbox.pop_open(BATCH_BYTES, frames)) {
            Ok(sent) => sent.whole,
            Err(_) => {
                // The task finds out when it sends.
                writing.lost = true;
                self.behind.store(true, Ordering::Release);
                false
            }
        }
    }

    fn carry(&self, load: Load) {
        drop(self.shared.runtime.spawn(async move { load.send() }));
    }
}

/// Writes until the socket takes no more; returns how much it took.
fn try_write_all(half: &OwnedWriteHalf, bytes: &[u8]) -> Result<usize, Over> {
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        match half.try_write(rest) {
            Ok(0) => return Err(Over::Lost),
            Ok(taken) => sent += taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Over::Lost),
        }
    }
    Ok(sent)
}
