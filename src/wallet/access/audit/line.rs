//! The lines of the log: words from closed lists, numbers and ids, separated by spaces.
//!
//! ```text
//! a ANSWERED_MS ASKED_S METHOD RESULT AMOUNT_MSAT|- [ITEM] REQUEST   a request was answered, or this item of several (from 0)
//! d DELIVERED_MS REQUEST                                             its answer reached somebody
//! n DELIVERED_MS NOTIFICATION                                        a notification reached somebody
//! x COUNT                                                            so many notes were left out here
//! ```
//!
//! An id comes last where there is one: its length is known, so a line that was torn is not taken for another.

use std::fmt::Write;

use super::{Entry, Note};
use crate::base::amount::Msat;
use crate::base::hex32::EventId;

/// An id is longer.
const ITEM_DIGITS_MAX: usize = 5;

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
                item: answered.item,
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
            let item = answered.item.map_or_else(String::new, |item| format!("{item} "));
            let super::Answered { answered_at_ms, asked_at_s, method, result, request, .. } = answered;
            writeln!(out, "a {answered_at_ms} {asked_at_s} {method} {result} {amount} {item}{request}")
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
            let (item, request) = match word()? {
                digits if digits.len() <= ITEM_DIGITS_MAX => (Some(digits.parse().ok()?), word()?),
                request => (None, request),
            };
            Read::Answered(Entry {
                request: EventId::parse(request).ok()?,
                item,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_an_item_still_read_and_a_torn_one_does_not() {
        let id = EventId::from([0xab; 32]);
        let old = format!("a 1000 2 multi_pay_invoice INTERNAL - {id}");
        let of = |line: &str| match read(line) {
            Some(Read::Answered(entry)) => Some((entry.request, entry.item, entry.amount.map(Msat::get))),
            _ => None,
        };
        assert_eq!(of(&old), Some((id, None, None)));
        let answered = super::super::Answered {
            request: id,
            item: Some(17),
            asked_at_s: 2,
            answered_at_ms: 1_000,
            method: "multi_pay_invoice",
            result: "INTERNAL",
            amount: Msat::new(5).ok(),
        };
        let mut line = String::new();
        write(&mut line, &Note::Answered(answered));
        let line = line.trim_end();
        assert_eq!(line, format!("a 1000 2 multi_pay_invoice INTERNAL 5 17 {id}"));
        assert_eq!(of(line), Some((id, Some(17), Some(5))));
        assert_eq!(read(line), Some(Read::of(&Note::Answered(answered))));
        assert!((0..line.len()).all(|length| read(&line[..length]).is_none()));
        assert_eq!(of(&format!("{old} 17")), None);
    }
}
