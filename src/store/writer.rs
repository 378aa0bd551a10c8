//! The one writer: takes all that has queued, decides each event in order, commits once, then tells everybody.
//!
//! After the commit, in this order:
//! 1. caches, then `seq`: whoever is told next finds the events.
//! 2. the verdicts (`done`): each pushes a few bytes into one outbox, so a whole batch of them takes less than one fan-out.
//!    They go first because a client that publishes in a window waits for them, and nobody sees fan-out later for it.
//! 3. live fan-out, in order of the numbers, before the next batch is taken.
//!
//! The last two happen in the hook of the owner (`OnCommit`), who knows how to tell few and many.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::apply::{Refusal, apply};
use super::pending::{Decided, Pending, Sources};
use super::retention;
use super::schema::State;
use super::shared::{Core, Published};
use super::{Appended, OnCommit};
use crate::kv;
use crate::protocol::event::Event;

/// How often expired events are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Told what became of an event.
pub type Done = Box<dyn FnOnce(Appended) + Send>;

/// What the writer is asked for.
pub(super) enum Job {
    Append {
        event: Event,
        done: Done,
    },
    /// Finish what was asked for before this, then end.
    Close,
}

pub(super) struct Writer {
    pub core: Arc<Core>,
    pub jobs: Receiver<Job>,
    pub on_commit: OnCommit,
    pub state: State,
    pub sync: kv::Sync,
    pub batch_events: usize,
    pub batch_bytes: usize,
}

impl Writer {
    /// Runs until the store is closed.
    pub(super) fn run(mut self) {
        let mut next_sweep = Instant::now();
        loop {
            match self.jobs.recv_timeout(SWEEP_EVERY) {
                Ok(Job::Append { event, done }) => {
                    if self.batch(event, done).is_break() {
                        break;
                    }
                }
                Ok(Job::Close) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= next_sweep {
                self.core.room.look();
                if !self.sweep() {
                    next_sweep = Instant::now() + SWEEP_EVERY;
                }
            }
        }
        // What slipped in behind the order to close was not promised anything.
        for job in self.jobs.try_iter() {
            if let Job::Append { event, done } = job {
                self.dequeued(&event);
                done(Appended::Busy);
            }
        }
    }

    /// One batch: this event and all that waits, up to the bounds. Breaks when the order to close was among it.
    fn batch(&mut self, event: Event, done: Done) -> std::ops::ControlFlow<()> {
        let core = Arc::clone(&self.core);
        let now_s = core.clock.now_s();
        let mut pending = Pending::new(sources(&core), self.state);
        let mut told = Vec::new();
        let mut next = Some(Job::Append { event, done });
        let mut close = false;
        while let Some(job) = next.take() {
            let Job::Append { event, done } = job else {
                close = true;
                break;
            };
            self.dequeued(&event);
            told.push((done, decide(&mut pending, &event, now_s, &core)));
            if told.len() < self.batch_events && pending.size_bytes() < self.batch_bytes {
                next = self.jobs.try_recv().ok();
            }
        }
        self.commit(pending.finish(), told);
        if close { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    }

    fn commit(&mut self, decided: Decided, told: Vec<(Done, Appended)>) {
        if !decided.batch.is_empty()
            && let Err(error) = self.core.db.commit(&decided.batch, self.sync)
        {
            told.into_iter().for_each(|(done, _)| done(Appended::Failed));
            self.core.fatal.strike(error.to_string());
            return;
        }
        self.publish(&decided);
        if !decided.accepted.is_empty() {
            self.core.batches.fetch_add(1, Ordering::Relaxed);
            self.core.batched_events.fetch_add(decided.accepted.len() as u64, Ordering::Relaxed);
        }
        let mut told = told.into_iter();
        let mut tell = || told.by_ref().for_each(|(done, appended)| done(appended));
        (self.on_commit)(&decided.accepted, &mut tell);
        // Nobody is left without a verdict, whatever the hook does.
        tell();
    }

    /// Makes a committed batch visible.
    fn publish(&mut self, decided: &Decided) {
        let core = &self.core;
        for (seq, event) in &decided.accepted {
            if !decided.removed.contains(seq) {
                core.hot.insert(*seq, event.clone());
            }
        }
        decided.removed.iter().for_each(|seq| core.hot.remove(*seq));
        self.state = decided.state;
        core.events.store(decided.state.events, Ordering::Relaxed);
        *core.published.lock() = Published { position: core.db.position(), seq: decided.state.seq };
        core.seq.store(decided.state.seq, Ordering::Release);
    }

    /// Removes some expired events. Whether there were as many as are taken at a time, so that more may be waiting.
    fn sweep(&mut self) -> bool {
        let core = Arc::clone(&self.core);
        if core.fatal.is_struck() {
            return false;
        }
        let due = match retention::expired(&core.db, core.clock.now_s()) {
            Ok(due) => due,
            Err(error) => {
                core.read_failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "looking for expired events failed");
                return false;
            }
        };
        if due.is_empty() {
            return false;
        }
        let mut pending = Pending::new(sources(&core), self.state);
        let mut failures = 0_u64;
        due.iter().for_each(|(key, seq)| failures += u64::from(pending.expire(key, *seq).is_err()));
        core.read_failures.fetch_add(failures, Ordering::Relaxed);
        let decided = pending.finish();
        // Nobody waits for this and it can be found out again, so it does not wait for the disk.
        if let Err(error) = core.db.commit(&decided.batch, kv::Sync::No) {
            core.fatal.strike(error.to_string());
            return false;
        }
        self.publish(&decided);
        due.len() == retention::SWEEP_EVENTS
    }

    fn dequeued(&self, event: &Event) {
        self.core.queued_events.fetch_sub(1, Ordering::Relaxed);
        self.core.queued_bytes.fetch_sub(event.bytes().len(), Ordering::Relaxed);
    }
}

fn sources(core: &Core) -> Sources<'_> {
    Sources { db: &core.db, salt: &core.salt, hot: &core.hot }
}

/// What becomes of one event, if the commit succeeds.
fn decide(pending: &mut Pending<'_>, event: &Event, now_s: u64, core: &Core) -> Appended {
    let decided = apply(event.view(), now_s, pending).and_then(|change| {
        let refusal = change.refusal;
        Ok((pending.absorb(event, change)?, refusal))
    });
    match decided {
        Ok((Some(seq), _)) => Appended::Stored { seq },
        Ok((None, refusal)) => match refusal {
            Some(Refusal::Superseded) => Appended::Superseded,
            Some(Refusal::Deleted) => Appended::Deleted,
            Some(Refusal::Expired) => Appended::Expired,
            Some(Refusal::Ephemeral) => Appended::Ephemeral,
            Some(Refusal::Duplicate) | None => Appended::Duplicate,
        },
        Err(error) => {
            core.read_failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, id = %event.id(), "an event could not be decided");
            Appended::Failed
        }
    }
}
