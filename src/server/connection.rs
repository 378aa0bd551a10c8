//! The shell around one session: one task that reads frames, lets the session act, and writes what its outbox holds.
//!
//! What it costs to be quiet decides how many can be connected, so a waiting connection owns no buffer: bytes are read into a
//! buffer of the thread and decoded there, and frames are written from another one. Only what the socket did not take is kept.
//! Everything that waits together goes out in one write. What is written, and by whom, is the business of `wire`.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFuture;

use self::wire::Wire;
use super::Shared;
use super::frames::{self, Broken, Decoder, Incoming};
use super::http::Upgraded;
use super::slots::Slot;
use crate::live::{Direct, Outbox};
use crate::relay::{Peer, Session};

/// What is read at once: a client's turn. Fifty events of half a kilobyte are two milliseconds of work; a client with a window of 32
/// fits, where half of it would leave a few events of each window for a second round behind all others.
const READ_BYTES: usize = 32 * 1024;
/// A client that sends this much at once is acted for, and then others have their turn.
const TURN_BYTES: usize = 4 * 1024;
/// Stored queries of a client run for this long, and then others have their turn.
const TURN_MAX: Duration = Duration::from_millis(2);
/// What is written at once.
const BATCH_BYTES: usize = 64 * 1024;
/// A scratch buffer that a large event has stretched is given back above this.
const SCRATCH_KEPT_BYTES: usize = 256 * 1024;
/// A client that was not heard for this long is pinged.
const QUIET_MAX: Duration = Duration::from_secs(60);
/// It must be heard again within this time.
const PONG_TIMEOUT: Duration = Duration::from_secs(30);
/// A socket that takes nothing for this long belongs to nobody who reads.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// After our close frame: how long the client may take to send its own.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The close frame itself must be out within this time, however much waits before it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// After the last write: how long what a client still sends is read away, so that it sees the close frame and not a reset.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// Close code "policy violation".
const CLOSE_POLICY: u16 = 1008;
/// Close code "service restart".
const CLOSE_RESTART: u16 = 1012;

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Bounds of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// Longest message of a client.
    pub message_bytes_max: usize,
    /// What may wait for a slow client.
    pub outbox_bytes_max: usize,
    /// Most pings in a second.
    pub pings_per_second_max: u32,
}

/// Serves a WebSocket until it is over.
pub(super) async fn serve(upgraded: Upgraded, shared: Arc<Shared>) {
    let Upgraded { stream, early_bytes, client, slot } = upgraded;
    let outbox = Outbox::new(shared.config.connection.outbox_bytes_max, Arc::clone(&shared.total));
    let (reading, half) = stream.into_split();
    let wire = Wire::new(half, Arc::clone(&shared));
    outbox.send_through(Arc::clone(&wire) as Arc<dyn Direct>);
    let session = shared.relay.session(Peer { ip: client.ip }, Arc::clone(&outbox));
    shared.metrics.connections_total.increment(1);
    shared.metrics.connections.increment(1.0);
    let now = Instant::now();
    let mut connection = Connection {
        decoder: Decoder::new(shared.config.connection.message_bytes_max),
        phase: Phase::Open,
        pong: None,
        pings: Pings { second_began: now, count: 0 },
        heard_at: now,
        pinged_at: None,
        leave_at: None,
        took_turn: false,
        querying_since: None,
        awaits_farewell: false,
        reading,
        wire,
        session,
        outbox,
        shared,
        _slot: slot,
    };
    connection.session.on_open();
    connection.on_bytes(&mut early_bytes.to_vec());
    drop(early_bytes);
    connection.run().await;
}

/// How far a connection is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Messages go both ways.
    Open,
    /// Our close frame goes out or is out; the client's own is awaited until then.
    Closing { until: Instant },
    /// Nothing that the client sends matters any more: what is unsent goes out, then the socket closes.
    Ending { until: Instant },
}

/// The connection is over, for a reason that only the counters care about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// Both sides are done.
    Done,
    /// The socket failed or was closed without a word.
    Lost,
    /// It took nothing or said nothing for too long.
    Dead,
}

struct Pings {
    second_began: Instant,
    count: u32,
}

struct Connection {
    reading: OwnedReadHalf,
    wire: Arc<Wire>,
    decoder: Decoder,
    session: Session,
    outbox: Arc<Outbox>,
    shared: Arc<Shared>,
    phase: Phase,
    /// At most one pong waits: the answer to the latest ping.
    pong: Option<Box<[u8]>>,
    pings: Pings,
    heard_at: Instant,
    pinged_at: Option<Instant>,
    /// When this client is told that the process stops; once its outbox is closing: when it is cut off.
    leave_at: Option<Instant>,
    /// It sent so much that others come first now.
    took_turn: bool,
    /// When the stored queries under way began.
    querying_since: Option<Instant>,
    /// Whether it will be woken when clients are sent away.
    awaits_farewell: bool,
    _slot: Slot,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.wire.close();
        self.shared.metrics.connections.decrement(1.0);
    }
}

impl Connection {
    async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut farewell = pin!(shared.farewell.cancelled());
        let mut alarm = pin!(tokio::time::sleep_until(self.next_alarm()));
        let over = loop {
            // What a slice found is on its way before others have their turn. Whether there is more to do is asked after that:
            // the write may just have made room for it.
            self.pump();
            if let Err(over) = self.write() {
                break over;
            }
            if std::mem::take(&mut self.took_turn) || self.may_pump() {
                back_of_the_queue().await;
                if let Err(over) = self.on_turn() {
                    break over;
                }
                match poll_fn(|cx| Poll::Ready(self.poll_socket(cx))).await {
                    Poll::Ready(Err(over)) => break over,
                    Poll::Ready(Ok(())) | Poll::Pending => continue,
                }
            }
            let due = self.next_alarm();
            if due < alarm.deadline() {
                alarm.as_mut().reset(due);
            }
            let step = poll_fn(|cx| self.poll_step(cx, farewell.as_mut(), alarm.as_mut())).await;
            if let Err(over) = step {
                break over;
            }
        };
        if over == Over::Dead {
            shared.metrics.cut_dead.increment(1);
        }
    }

    /// Waits for what comes first: something to act on, something to write, the farewell, the alarm.
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        farewell: Pin<&mut WaitForCancellationFuture<'_>>,
        mut alarm: Pin<&mut Sleep>,
    ) -> Poll<Result<(), Over>> {
        if let Poll::Ready(step) = self.poll_socket(cx) {
            return Poll::Ready(step);
        }
        if !self.wire.is_behind() && self.phase == Phase::Open && self.outbox.poll_ready(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        // All connections wait at one token, behind one lock: it is asked once, and then when there is something to hear.
        let may_be_told = !self.awaits_farewell || self.shared.is_stopping();
        if self.leave_at.is_none() && may_be_told {
            self.awaits_farewell = true;
            if farewell.poll(cx).is_ready() {
                self.leave_at = Some(Instant::now() + self.shared.farewell_delay());
                return Poll::Ready(Ok(()));
            }
        }
        if alarm.as_mut().poll(cx).is_ready() {
            let step = self.on_alarm();
            alarm.as_mut().reset(self.next_alarm());
            return Poll::Ready(step);
        }
        Poll::Pending
    }

    /// Whoever always has something to do is not woken: it asks for the farewell and the alarm between two turns.
    fn on_turn(&mut self) -> Result<(), Over> {
        if self.leave_at.is_none() && self.shared.is_stopping() && self.shared.farewell.is_cancelled() {
            self.leave_at = Some(Instant::now() + self.shared.farewell_delay());
        }
        self.on_alarm()
    }

    /// Whether there are stored queries to run, and nothing waits to be written.
    fn may_pump(&self) -> bool {
        self.phase == Phase::Open && !self.wire.is_behind() && self.session.has_work() && self.outbox.has_room()
    }

    /// Lets the session run slices of its stored queries: until they are done, or have found a write full, or have had their time.
    fn pump(&mut self) {
        if !self.may_pump() {
            return;
        }
        let began = Instant::now();
        let since = *self.querying_since.get_or_insert(began);
        while self.session.pump() && self.outbox.queued_bytes() < BATCH_BYTES && began.elapsed() < TURN_MAX {}
        if !self.session.has_work() {
            self.querying_since = None;
            self.shared.metrics.query_duration.record(since.elapsed());
        }
    }

    /// Reads what is there and acts on it, or notices that the socket takes bytes again.
    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Over>> {
        if self.wire.is_behind() && self.wire.poll_ready(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if !self.wants_to_read() {
            return Poll::Pending;
        }
        READ.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            match Pin::new(&mut self.reading).poll_read(cx, &mut read) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(_)) => Poll::Ready(Err(Over::Lost)),
                Poll::Ready(Ok(())) if read.filled().is_empty() => Poll::Ready(Err(self.on_end_of_stream())),
                Poll::Ready(Ok(())) => {
                    self.took_turn = read.filled().len() >= TURN_BYTES;
                    self.on_bytes(read.filled_mut());
                    Poll::Ready(Ok(()))
                }
            }
        })
    }

    /// Nothing new is taken while the process stops, and nothing from a client whose answers pile up.
    fn wants_to_read(&self) -> bool {
        match self.phase {
            Phase::Open => self.outbox.has_room() && !self.session.is_busy() && !self.shared.is_stopping(),
            Phase::Closing { .. } | Phase::Ending { .. } => true,
        }
    }

    fn on_end_of_stream(&self) -> Over {
        if self.phase == Phase::Open { Over::Lost } else { Over::Done }
    }

    fn on_bytes(&mut self, bytes: &mut [u8]) {
        if matches!(self.phase, Phase::Ending { .. }) || bytes.is_empty() {
            return;
        }
        self.heard_at = Instant::now();
        self.pinged_at = None;
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(0));
        let result = decoder.feed(bytes, |incoming| self.on_incoming(incoming));
        self.decoder = decoder;
        if let Err(Broken { code, words }) = result {
            self.shared.metrics.cut_protocol.increment(1);
            self.end(Some(code), words);
        }
    }

    /// Acts on one frame or message; `false`: the rest does not matter.
    fn on_incoming(&mut self, incoming: Incoming<'_>) -> bool {
        match (incoming, self.phase) {
            (Incoming::Close(code), Phase::Open) => self.end(code, ""),
            (Incoming::Close(_), _) => self.phase = Phase::Ending { until: Instant::now() + LINGER_MAX },
            (_, Phase::Closing { .. } | Phase::Ending { .. }) | (Incoming::Pong, _) => {}
            (Incoming::Text(text), Phase::Open) => self.session.on_text(text),
            (Incoming::Binary(_), Phase::Open) => self.session.on_binary(),
            (Incoming::Ping(content), Phase::Open) => self.on_ping(content),
        }
        !matches!(self.phase, Phase::Ending { .. })
    }

    fn on_ping(&mut self, content: &[u8]) {
        if self.heard_at.duration_since(self.pings.second_began) >= Duration::from_secs(1) {
            self.pings = Pings { second_began: self.heard_at, count: 0 };
        }
        self.pings.count += 1;
        if self.pings.count > self.shared.config.connection.pings_per_second_max {
            self.shared.metrics.cut_protocol.increment(1);
            return self.end(Some(CLOSE_POLICY), "too many pings");
        }
        self.pong = Some(content.into());
    }

    /// Ends the conversation: a close frame behind what is unsent, and nothing else any more.
    fn end(&mut self, code: Option<u16>, words: &str) {
        self.outbox.end();
        self.pong = None;
        self.wire.append(|unsent| frames::write_close(unsent, code, words));
        self.phase = Phase::Ending { until: Instant::now() + LINGER_MAX };
    }

    /// When something must have happened.
    fn next_alarm(&self) -> Instant {
        let due = match self.phase {
            Phase::Ending { until } | Phase::Closing { until } => return until,
            Phase::Open if self.wire.is_behind() => self.wire.took_at() + WRITE_TIMEOUT,
            Phase::Open => quiet_until(self.heard_at, self.pinged_at),
        };
        self.leave_at.map_or(due, |leave_at| due.min(leave_at))
    }

    fn on_alarm(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        if now < self.next_alarm() {
            return Ok(());
        }
        if self.phase != Phase::Open {
            return Err(Over::Done);
        }
        if self.leave_at.is_some_and(|leave_at| now >= leave_at) {
            if self.outbox.is_closing() {
                return Err(Over::Dead);
            }
            self.outbox.close(CLOSE_RESTART, "the relay restarts");
            self.leave_at = Some(now + DRAIN_TIMEOUT);
            return Ok(());
        }
        if self.wire.is_behind() || self.pinged_at.is_some() {
            return Err(Over::Dead);
        }
        self.pinged_at = Some(now);
        self.wire.append(frames::write_ping);
        Ok(())
    }

    /// Writes until the socket takes no more or nothing waits.
    fn write(&mut self) -> Result<(), Over> {
        if self.wire.is_behind() && !self.wire.send_unsent()? {
            // Whoever is to be closed, because it is too slow, must not make that slow as well.
            if self.leave_at.is_none() && self.outbox.is_closing() {
                self.leave_at = Some(Instant::now() + DRAIN_TIMEOUT);
            }
            return Ok(());
        }
        while self.phase == Phase::Open && (self.pong.is_some() || !self.outbox.is_idle()) {
            if !self.write_batch()? {
                return Ok(());
            }
        }
        self.after_writing()
    }

    /// Everything is out: at the end the socket is closed for writing, and the client sees the close frame.
    fn after_writing(&self) -> Result<(), Over> {
        if let Phase::Ending { .. } = self.phase { self.wire.shut_down() } else { Ok(()) }
    }

    /// Sends one batch of frames; `false`: the socket took only a part.
    fn write_batch(&mut self) -> Result<bool, Over> {
        let sent = self.wire.send_batch(&self.outbox, &mut self.pong)?;
        if sent.closed {
            self.phase = Phase::Closing { until: Instant::now() + CLOSE_TIMEOUT };
        }
        Ok(sent.whole)
    }
}

/// Lets all tasks go first that are ready on this thread. Not `yield_now`: that parks the task until the thread looks for readiness and
/// then wakes the last one first, so that each round goes the other way round than the one before, and who was first in one
/// waits for two whole rounds.
async fn back_of_the_queue() {
    let mut is_behind = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut is_behind, true) {
            return Poll::Ready(());
        }
        // A task that is woken while it runs is queued last.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// When a client that was heard last at `heard_at` is pinged, or must have answered. A ping may go out late, behind a long answer; what
/// counts is how long the client had for its pong.
fn quiet_until(heard_at: Instant, pinged_at: Option<Instant>) -> Instant {
    pinged_at.map_or(heard_at + QUIET_MAX, |pinged_at| pinged_at + PONG_TIMEOUT)
}

#[cfg(test)]
mod tests;
mod wire;
