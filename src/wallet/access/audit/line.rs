//! The lines of the log: words from closed lists, numbers and ids, separated by spaces.
//!
//! ```text
//! a ANSWERED_MS ASKED_S METHOD RESULT AMOUNT_MSAT|- REQUEST    a request was answered
//! d DELIVERED_MS REQUEST                                       its answer reached somebody
//! n DELIVERED_MS NOTIFICATION                                  a notification reached somebody
//! x COUNT                                                      so many notes were left out here
//! ```

use std::fmt::Write;

use super::{Entry, Note};
use crate::base::amount::Msat;
use crate::base::hex32::EventId;

/// A line that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Answered(Entry),
    Delivered { request: EventId, at_ms: u64 },
    Told { notification: EventId, at_ms: u64 },
    LeftOut { count: u64 },
}

impl Read {
    /// A note as it will be read.
    pub(super) fn of(note: &Note) -> Self {
        match note {
            Note::Answered(answered) => Self::Answered(Entry {
                request: answered.request,
                asked_at_s: answered.asked_at_s,
                answered_at_ms: answered.answered_at_ms,
                delivered_at_ms: None,
                method: answered.method.to_owned(),
                result: answered.result.to_owned(),
                amount: answered.amount,
            }),
            Note::Delivered { request, at_ms } => Self::Delivered { request: *request, at_ms: *at_ms },
            Note::Told { notification, at_ms } => Self::Told { notification: *notification, at_ms: *at_ms },
            Note::LeftOut { count } => Self::LeftOut { count: *count },
        }
    }
}

/// Appends a line.
pub(super) fn write(out: &mut String, note: &Note) {
    // Writing to a String does not fail.
    let _ = match note {
        Note::Answered(answered) => {
            let amount = answered.amount.map_or_else(|| "-".to_owned(), |amount| amount.get().to_string());
            let super::Answered { answered_at_ms, asked_at_s, method, result, request, .. } = answered;
            writeln!(out, "a {answered_at_ms} {asked_at_s} {method} {result} {amount} {request}")
        }
        Note::Delivered { request, at_ms } => writeln!(out, "d {at_ms} {request}"),
        Note::Told { notification, at_ms } => writeln!(out, "n {at_ms} {notification}"),
        Note::LeftOut { count } => writeln!(out, "x {count}"),
    };
}

/// Reads a line; `None` for one that a crash or a newer hearth left.
pub(super) fn read(line: &str) -> Option<Read> {
    let mut words = line.split(' ');
    let mut word = || words.next();
    let read = match word()? {
        "a" => {
            let (answered, asked, method, result) = (word()?, word()?, word()?, word()?);
            let amount = match word()? {
                "-" => None,
                digits => Some(Msat::new(digits.parse().ok()?).ok()?),
            };
            Read::Answered(Entry {
                request: EventId::parse(word()?).ok()?,
                asked_at_s: asked.parse().ok()?,
                answered_at_ms: answered.parse().ok()?,
                delivered_at_ms: None,
                method: method.to_owned(),
                result: result.to_owned(),
                amount,
            })
        }
        "d" => Read::Delivered { at_ms: word()?.parse().ok()?, request: EventId::parse(word()?).ok()? },
        "n" => Read::Told { at_ms: word()?.parse().ok()?, notification: EventId::parse(word()?).ok()? },
        "x" => Read::LeftOut { count: word()?.parse().ok()? },
        _ => return None,
    };
    words.next().is_none().then_some(read)
}
