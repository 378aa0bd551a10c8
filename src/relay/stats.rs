//! What has happened since the start, in plain counters; `telemetry` gives them names.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::protocol::reason::{Prefix, Verdict};

/// All prefixes, in the order of the counters.
const PREFIXES: [Prefix; 10] = [
    Prefix::Duplicate,
    Prefix::Pow,
    Prefix::Blocked,
    Prefix::RateLimited,
    Prefix::Invalid,
    Prefix::Restricted,
    Prefix::Mute,
    Prefix::Error,
    Prefix::AuthRequired,
    Prefix::Unsupported,
];

/// What a client can say, as counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// EVENT
    Event,
    /// REQ
    Req,
    /// COUNT
    Count,
    /// CLOSE
    Close,
    /// AUTH
    Auth,
    /// Anything that could not be read.
    Malformed,
}

impl Verb {
    /// All verbs, in the order of the counters.
    pub const ALL: [Self; 6] = [Self::Event, Self::Req, Self::Count, Self::Close, Self::Auth, Self::Malformed];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "EVENT",
            Self::Req => "REQ",
            Self::Count => "COUNT",
            Self::Close => "CLOSE",
            Self::Auth => "AUTH",
            Self::Malformed => "malformed",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    verbs: [AtomicU64; Verb::ALL.len()],
    accepted: AtomicU64,
    duplicates: AtomicU64,
    refused: [AtomicU64; PREFIXES.len()],
    signature_checks: AtomicU64,
    sessions: AtomicU64,
}

/// A reading of the counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Messages by verb.
    pub messages: Vec<(Verb, u64)>,
    /// Events taken (`OK true` and new).
    pub accepted: u64,
    /// Events answered with `OK true` that were here already.
    pub duplicates: u64,
    /// Refusals by prefix (`OK false` and `CLOSED`).
    pub refused: Vec<(Prefix, u64)>,
    /// Signatures checked.
    pub signature_checks: u64,
    /// Sessions open now.
    pub sessions: u64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn message(&self, verb: Verb) {
        add(&self.verbs[verb as usize]);
    }

    pub(super) fn verdict(&self, verdict: &Verdict) {
        match verdict {
            Verdict::Refused(reason) => self.refusal(reason.prefix),
            Verdict::AcceptedWith(reason) if reason.prefix == Prefix::Duplicate => add(&self.duplicates),
            Verdict::Accepted | Verdict::AcceptedWith(_) => add(&self.accepted),
        }
    }

    pub(super) fn refusal(&self, prefix: Prefix) {
        if let Some(at) = PREFIXES.iter().position(|known| *known == prefix) {
            add(&self.refused[at]);
        }
    }

    pub(super) fn signature_check(&self) {
        add(&self.signature_checks);
    }

    pub(super) fn session_opened(&self) {
        add(&self.sessions);
    }

    pub(super) fn session_closed(&self) {
        self.sessions.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Stats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            messages: Verb::ALL.into_iter().zip(self.verbs.iter().map(load)).collect(),
            accepted: load(&self.accepted),
            duplicates: load(&self.duplicates),
            refused: PREFIXES.into_iter().zip(self.refused.iter().map(load)).collect(),
            signature_checks: load(&self.signature_checks),
            sessions: load(&self.sessions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_stand_at_their_places() {
        assert!(Verb::ALL.into_iter().enumerate().all(|(at, verb)| verb as usize == at));
    }
}
