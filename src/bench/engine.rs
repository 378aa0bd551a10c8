//! The part that all workloads share: connections that send ready-made frames, closed loop or open loop, and match every answer to
//! what it answers.
//!
//! Closed loop: a window of operations is in flight on each connection; a latency counts from the moment its frame was handed to the
//! socket. Open loop: each operation has its moment; it is sent then, however slow the answers before it are, and its latency
//! counts from that moment, so that a stall of the relay is in the latencies of all that should have been sent meanwhile (no
//! coordinated omission). How far behind its own schedule the load generator was is measured apart.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Answer, IdKey, answered_id};
use super::book::{Book, Done};
use super::error::{ANSWER_TIMEOUT, ClientError};
use super::socket::{Place, Socket};
use super::timer::Alarm;

/// Subscription that carries live events and answers of wallets; queries have names of their own.
pub(super) const LIVE: &str = "live";

/// One operation.
pub(super) struct Op {
    pub(super) frame: Box<[u8]>,
    pub(super) expect: Expect,
    /// Which row of the report it belongs to.
    pub(super) class: usize,
    /// When to send it, from the start of the round (open loop only).
    pub(super) at: Duration,
}

/// What finishes an operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    /// The OK of this event.
    Verdict(IdKey),
    /// The EOSE of subscription `q<number>`, after at least so many events.
    Stored { number: u32, at_least: u32 },
    /// An event that names this one in its `e` tag; an OK that refuses it fails the operation.
    Reply(IdKey),
}

/// How fast to send.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// So many operations in flight on each connection.
    Closed { window: usize },
    /// At the moments that stand in the operations.
    Open,
}

/// What a workload does with events that arrive.
pub(super) trait Ear: Send {
    /// Looks at an answer to one of the operations; words make it a failure.
    fn reply(&mut self, _event: &[u8]) -> Result<(), String> {
        Ok(())
    }

    /// Looks at a live event; if it is one of this round, says its class and when it was to be sent.
    fn live(&mut self, _event: &[u8]) -> Option<(usize, Duration)> {
        None
    }
}

/// An ear that hears nothing.
pub(super) struct Deaf;

impl Ear for Deaf {}

/// A connection and its share of a round.
pub(super) struct Task {
    pub(super) socket: Socket,
    pub(super) ops: Vec<Op>,
    pub(super) ear: Box<dyn Ear>,
    pub(super) pace: Pace,
    pub(super) alarm: Option<Alarm>,
    pub(super) book: Arc<Book>,
    /// Until when it goes on listening after its last operation (open loop), so that live events are read while others still send.
    pub(super) listen: Duration,
}

struct Flight {
    class: usize,
    from: Instant,
    first: Option<Duration>,
    events: u32,
    /// Events without which it is not finished.
    at_least: u32,
}

#[derive(Default)]
struct Flying {
    events: HashMap<IdKey, Flight, foldhash::fast::FixedState>,
    queries: HashMap<u32, Flight, foldhash::fast::FixedState>,
}

impl Flying {
    fn len(&self) -> usize {
        self.events.len() + self.queries.len()
    }
}

impl Task {
    /// Does the whole share and gives the connection back. What fails is in the book.
    pub(super) async fn run(mut self, start: Instant) -> Socket {
        let mut course = Course { flying: Flying::default(), next: 0, start };
        if let Err(error) = self.drive(&mut course).await {
            let words = error.to_string();
            let flights = course.flying.events.values().chain(course.flying.queries.values());
            flights.for_each(|flight| self.book.failed(flight.class, 1, &words));
            self.ops[course.next..].iter().for_each(|op| self.book.failed(op.class, 1, &words));
        }
        self.socket
    }

    async fn drive(&mut self, course: &mut Course) -> Result<(), ClientError> {
        loop {
            while let Some(place) = self.socket.take()? {
                let now = Instant::now();
                self.hear(&place, course, now);
            }
            let mut next = self.send_due(course);
            self.socket.flush().await?;
            if course.next == self.ops.len() && course.flying.len() == 0 {
                let end = course.start + self.listen;
                if Instant::now() >= end {
                    return Ok(());
                }
                next = Some(end);
            }
            self.wait(next).await?;
        }
    }

    async fn wait(&mut self, next: Option<Instant>) -> Result<(), ClientError> {
        let filled = tokio::time::timeout(ANSWER_TIMEOUT, self.socket.fill());
        match (next, &mut self.alarm) {
            (Some(at), Some(alarm)) => tokio::select! {
                biased;
                filled = filled => filled.map_err(|_| ClientError::Silent)?,
                () = alarm.until(at) => Ok(()),
            },
            _ => filled.await.map_err(|_| ClientError::Silent)?,
        }
    }

    /// Feeds what may be sent now; returns when the next operation is due.
    fn send_due(&mut self, course: &mut Course) -> Option<Instant> {
        while let Some(op) = self.ops.get(course.next) {
            let now = Instant::now();
            let from = match self.pace {
                Pace::Closed { window } if course.flying.len() >= window => return None,
                Pace::Closed { .. } => now,
                Pace::Open => {
                    let due = course.start + op.at;
                    if due > now {
                        return Some(due);
                    }
                    self.book.lag(now - due);
                    due
                }
            };
            let mut flight = Flight { class: op.class, from, first: None, events: 0, at_least: 0 };
            match op.expect {
                Expect::Verdict(id) => {
                    course.flying.events.insert(id, flight);
                }
                Expect::Reply(id) => {
                    flight.at_least = 1;
                    course.flying.events.insert(id, flight);
                }
                Expect::Stored { number, at_least } => {
                    flight.at_least = at_least;
                    course.flying.queries.insert(number, flight);
                }
            }
            self.socket.feed(&op.frame);
            course.next += 1;
        }
        None
    }

    fn hear(&mut self, place: &Place, course: &mut Course, now: Instant) {
        let flying = &mut course.flying;
        match Answer::read(self.socket.text(place)) {
            Answer::Ok { id, accepted, words } => self.verdict(flying, id, accepted, words, now),
            Answer::Event { subscription, event } if subscription == LIVE.as_bytes() => {
                let answered = if flying.events.is_empty() { None } else { answered_id(event) };
                match answered.and_then(|id| flying.events.remove(&id)) {
                    Some(flight) => match self.ear.reply(event) {
                        Ok(()) => finish(&self.book, &flight, now),
                        Err(words) => self.book.failed(flight.class, 1, &words),
                    },
                    None => {
                        if let Some((class, at)) = self.ear.live(event) {
                            let latency = now.saturating_duration_since(course.start + at);
                            self.book.done(&Done { class, latency, first: None, events: 1 });
                        }
                    }
                }
            }
            Answer::Event { subscription, .. } => {
                if let Some(flight) = query_number(subscription).and_then(|number| flying.queries.get_mut(&number)) {
                    flight.events += 1;
                    flight.first.get_or_insert(now - flight.from);
                }
            }
            Answer::Eose { subscription } => {
                let Some(number) = query_number(subscription) else { return };
                let Some(flight) = flying.queries.remove(&number) else { return };
                if flight.events < flight.at_least {
                    let words = format!("a query got {} events, at least {} are stored", flight.events, flight.at_least);
                    self.book.failed(flight.class, 1, &words);
                } else {
                    finish(&self.book, &flight, now);
                }
                self.socket.feed_text(&format!(r#"["CLOSE","q{number}"]"#));
            }
            Answer::Closed { subscription, words } => {
                let flight = query_number(subscription).and_then(|number| flying.queries.remove(&number));
                if let Some(flight) = flight {
                    self.book.failed(flight.class, 1, &String::from_utf8_lossy(words));
                }
            }
            Answer::Notice { .. } | Answer::Other => {}
        }
    }

    fn verdict(&self, flying: &mut Flying, id: IdKey, accepted: bool, words: &[u8], now: Instant) {
        let std::collections::hash_map::Entry::Occupied(entry) = flying.events.entry(id) else { return };
        if !accepted {
            self.book.failed(entry.remove().class, 1, &String::from_utf8_lossy(words));
        } else if entry.get().at_least == 0 {
            finish(&self.book, &entry.remove(), now);
        }
    }
}

struct Course {
    flying: Flying,
    next: usize,
    start: Instant,
}

fn finish(book: &Book, flight: &Flight, now: Instant) {
    let latency = now.saturating_duration_since(flight.from);
    book.done(&Done { class: flight.class, latency, first: flight.first, events: u64::from(flight.events) });
}

fn query_number(subscription: &[u8]) -> Option<u32> {
    std::str::from_utf8(subscription.strip_prefix(b"q")?).ok()?.parse().ok()
}
