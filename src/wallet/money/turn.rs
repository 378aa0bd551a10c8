//! One turn of the money room: steps of the core, their records in one synced batch, and only then everything else.
//!
//! The money thread and the simulator (`tests/sim`) run these very lines, so that the order "written, synced, then done" is tried
//! where it stands. No clock, no keys, no threads: pages, pen and time are given.

use super::journal::{BATCH_RECORDS_MAX, WriteError};
use super::payment::{Effect, Input, Reply, Rows, State, Token, step};
#[cfg(test)]
use super::planted::Bug;
use super::record::{Answered, Entry, Record};
use super::types::{Outcome, RequestRef};

/// Where records go.
pub(super) trait Pages: Rows {
    /// Adds a record to the batch: seen by look-ups at once, on no disk before [`Pages::commit`].
    fn append(&mut self, entry: &Entry) -> Result<(), WriteError>;

    /// Records in the batch.
    fn pending(&self) -> u64;

    /// Makes the batch durable. After an error nobody knows whether it is.
    fn commit(&mut self) -> Result<(), WriteError>;
}

/// Signs the answer to a request; its bytes are the answer for ever. `None`: the keys are gone.
pub(super) type Pen<'a> = &'a dyn Fn(&RequestRef, &Outcome, u64) -> Option<Vec<u8>>;

/// Something to be done once the turn is on the disk.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// A caller hears.
    Reply(Token, Reply),
    /// The back end, a repeated answer or an alarm; never [`Effect::Append`] or [`Effect::Reply`].
    Effect(Effect),
    /// A record that is true from now on: its answers are published.
    Written(Entry),
}

/// What a turn leaves to be done.
#[derive(Debug, Default)]
pub(super) struct After {
    replies: Vec<(Token, Reply)>,
    effects: Vec<Effect>,
    entries: Vec<Entry>,
}

impl After {
    fn append(&mut self, mut other: Self) {
        self.replies.append(&mut other.replies);
        self.effects.append(&mut other.effects);
        self.entries.append(&mut other.entries);
    }

    /// In the order in which it is to be done: who waits for "it is written", the back end, the answers.
    pub(super) fn acts(self) -> impl Iterator<Item = Act> {
        let replies = self.replies.into_iter().map(|(token, reply)| Act::Reply(token, reply));
        replies.chain(self.effects.into_iter().map(Act::Effect)).chain(self.entries.into_iter().map(Act::Written))
    }
}

/// A turn that could not be written to its end. Nothing may be written any more; what became of the part that failed is known only
/// when the journal is read again.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(super) struct Unwritten {
    /// What was on the disk before that: whoever waits for it may hear of it. Without orders to the back end, which a start gives.
    pub(super) after: After,
    /// Why.
    #[source]
    pub(super) error: WriteError,
}

/// Steps the core for each input and commits. Nothing of what could not be written may be done.
pub(super) fn turn(
    state: &mut State,
    pages: &mut impl Pages,
    pen: Pen<'_>,
    inputs: impl IntoIterator<Item = Input>,
    now_ms: u64,
) -> Result<After, Box<Unwritten>> {
    let mut written = After::default();
    match steps(state, pages, pen, inputs, now_ms, &mut written) {
        Ok(last) => {
            written.append(last);
            Ok(written)
        }
        Err(error) => Err(Box::new(Unwritten { after: After { effects: Vec::new(), ..written }, error })),
    }
}

/// What a commit on the way has made durable goes into `written`; the rest is returned, durable too.
fn steps(
    state: &mut State,
    pages: &mut impl Pages,
    pen: Pen<'_>,
    inputs: impl IntoIterator<Item = Input>,
    now_ms: u64,
    written: &mut After,
) -> Result<After, WriteError> {
    let mut effects = Vec::new();
    let mut after = After::default();
    for input in inputs {
        step(state, pages, input, now_ms, &mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Append { mut entry, outcome } => {
                    sign(&mut entry, outcome.as_ref(), pen);
                    #[cfg(test)]
                    if state.has(Bug::AnswerNotStored) {
                        pages.append(&super::planted::without_answers(&entry))?;
                        after.entries.push(entry);
                        continue;
                    }
                    pages.append(&entry)?;
                    after.entries.push(entry);
                }
                Effect::Reply(token, reply) => after.replies.push((token, reply)),
                other => after.effects.push(other),
            }
        }
        if pages.pending() >= BATCH_RECORDS_MAX {
            pages.commit()?;
            written.append(std::mem::take(&mut after));
        }
    }
    #[cfg(test)]
    if state.has(Bug::SendBeforeSync) && after.effects.iter().any(|effect| matches!(effect, Effect::Send(_))) {
        return Ok(after);
    }
    if pages.pending() > 0 {
        pages.commit()?;
    }
    Ok(after)
}

fn sign(entry: &mut Entry, outcome: Option<&Outcome>, pen: Pen<'_>) {
    let Some(outcome) = outcome else { return };
    let now_s = entry.at_ms / 1_000;
    for answered in answers_mut(&mut entry.record) {
        answered.event = pen(&answered.request, outcome, now_s).unwrap_or_default();
    }
}

pub(super) fn answers_mut(record: &mut Record) -> &mut [Answered] {
    match record {
        Record::Done(done) => &mut done.answers,
        Record::Answer { answered, .. } => std::slice::from_mut(answered),
        _ => &mut [],
    }
}

/// The answers in a record.
pub(super) fn answers(record: &Record) -> &[Answered] {
    match record {
        Record::Done(done) => &done.answers,
        Record::Answer { answered, .. } => std::slice::from_ref(answered),
        _ => &[],
    }
}
