//! Money from outside that waits for a hold invoice which is over, or which an account of this hearth has paid: it goes back.
//!
//! Nothing of ours moves, so no record says it. The report is acknowledged when the back end has said that it was done: a crash before
//! that brings the report again. A back end that cannot do it is not asked for ever, and must not keep all later reports waiting:
//! the money then goes back by its own time-out.

#[cfg(test)]
use super::super::planted::Bug;
use super::super::record::Word;
use super::hold::{TELL_PAUSE_FIRST_MS, TELL_PAUSE_MAX_MS};
use super::result::is_due;
use super::{Effect, Reply, State, Token};
use crate::base::hex32::PaymentHash;

/// Most invoices whose money is on its way back; a report about one more is acknowledged at once. Fewer than the reports that a back
/// end may have without an acknowledgement, so that those about other money always find a place.
const UNWANTED_MAX: usize = 128;
/// How often the back end is told, each time counted, before it is left to the money's own time-out.
const TELLS_MAX: u32 = 6;

/// Money on its way back.
#[derive(Clone, Debug, Default)]
pub(in crate::wallet::money) struct Unwanted {
    /// Reports to be acknowledged.
    waiting: Vec<Token>,
    /// When the back end is told again, unix ms.
    tell_at_ms: u64,
    /// How often it was told.
    told: u32,
}

impl Unwanted {
    /// It is told now; if it says nothing, again after a pause.
    fn count_telling(&mut self, now_ms: u64) {
        self.told = self.told.saturating_add(1);
        self.tell_at_ms = now_ms.saturating_add(TELL_PAUSE_MAX_MS);
    }
}

/// Tells the back end to give the money back; `token` is acknowledged when it has.
pub(super) fn send_back(state: &mut State, hash: PaymentHash, token: Token, now_ms: u64, out: &mut Vec<Effect>) {
    out.push(Effect::TellHold { hash, word: Word::Cancel });
    #[cfg(test)]
    if state.has(Bug::WhatIsOverIsRefused) {
        return out.push(Effect::Reply(token, Reply::Noted(false)));
    }
    let has_room = state.unwanted.len() < UNWANTED_MAX || state.unwanted.contains_key(&hash);
    if !has_room {
        return out.push(Effect::Reply(token, Reply::Noted(true)));
    }
    let waiting_max = state.limits.waiting_max;
    let unwanted = state.unwanted.entry(hash).or_default();
    unwanted.count_telling(now_ms);
    if unwanted.waiting.len() < waiting_max {
        unwanted.waiting.push(token);
    } else {
        out.push(Effect::Reply(token, Reply::Noted(true)));
    }
}

/// The back end has heard of it.
pub(super) fn told(state: &mut State, hash: &PaymentHash, result: &Result<(), String>, now_ms: u64, out: &mut Vec<Effect>) {
    let Some(unwanted) = state.unwanted.get_mut(hash) else { return };
    match result {
        Ok(()) => over(state, hash, out),
        Err(why) if unwanted.told >= TELLS_MAX => left(state, hash, why, out),
        Err(_) => {
            let pause_ms = TELL_PAUSE_FIRST_MS << unwanted.told.min(6);
            unwanted.tell_at_ms = now_ms.saturating_add(pause_ms.min(TELL_PAUSE_MAX_MS));
        }
    }
}

/// Time passes: the back end is told again.
pub(super) fn tick(state: &mut State, now_ms: u64, out: &mut Vec<Effect>) {
    let mut silent = Vec::new();
    for (hash, unwanted) in state.unwanted.iter_mut().filter(|(_, one)| is_due(one.tell_at_ms, now_ms)) {
        if unwanted.told >= TELLS_MAX {
            silent.push(*hash);
            continue;
        }
        unwanted.count_telling(now_ms);
        out.push(Effect::TellHold { hash: *hash, word: Word::Cancel });
    }
    for hash in silent {
        left(state, &hash, "it does not answer", out);
    }
}

fn left(state: &mut State, hash: &PaymentHash, why: &str, out: &mut Vec<Effect>) {
    let words = format!(
        "the money that waits at the back end for {hash}, an invoice that is over or was paid inside, could not be given back ({why}); \
         it goes back by itself when its time is over"
    );
    out.push(Effect::Alarm(words));
    over(state, hash, out);
}

fn over(state: &mut State, hash: &PaymentHash, out: &mut Vec<Effect>) {
    if let Some(unwanted) = state.unwanted.remove(hash) {
        out.extend(unwanted.waiting.into_iter().map(|token| Effect::Reply(token, Reply::Noted(true))));
    }
}
