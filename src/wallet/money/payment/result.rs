//! What the back end says, and what it is worth: settled with a fitting preimage is settled, failed for certain is failed, and
//! everything else is unknown: the hold stays, and the back end is asked again at 1, 2, 4 ... 60 seconds.

use super::super::ledger::payment;
#[cfg(test)]
use super::super::planted::Bug;
use super::super::record::{Answered, Done, Ending, Record};
use super::super::types::{ErrorCode, Outcome, Preimage, Refusal};
use super::pay::send_order;
use super::state::{Open, Watch};
use super::{Effect, PaymentRow, Rows, State};
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;
use crate::wallet::backend::{LookupResult, SendResult};

/// Longest pause between two questions.
const ASK_PAUSE_MAX_MS: u64 = 60_000;
/// First pause.
const ASK_PAUSE_FIRST_MS: u64 = 1_000;
/// "Never heard of it" is believed, for driving the payment again, when it is the answer to two questions that were put so far
/// apart: so long a send of the earlier life may have been on its way.
const NOT_FOUND_APART_MS: u64 = 30_000;
/// "Never heard of it" is believed, for giving the money back, when the invoice is over for so long ...
const NOT_FOUND_GRACE_MS: u64 = 600_000;
/// ... and so many questions in a row had this answer ...
const NOT_FOUND_TIMES: u32 = 3;
/// ... the first and the last of them so far apart, by a clock that does not jump.
const NOT_FOUND_SPAN_MS: u64 = 120_000;
/// An invoice must live this much longer for its payment to be driven again.
const DRIVE_AGAIN_MARGIN_MS: u64 = 5_000;

pub(super) fn sent(
    state: &mut State,
    rows: &dyn Rows,
    hash: &PaymentHash,
    attempt: u64,
    result: SendResult,
    now_ms: u64,
    out: &mut Vec<Effect>,
) {
    match result {
        SendResult::Settled { preimage, fee } => settled(state, rows, hash, preimage, fee, now_ms, out),
        SendResult::Failed(reason) => failed(state, hash, attempt, reason, now_ms, out),
        SendResult::NotGiven(reason) => not_given(state, hash, attempt, reason, now_ms, out),
        #[cfg(test)]
        SendResult::Unknown(reason) if state.has(Bug::TimeOutIsFailed) => failed(state, hash, attempt, reason, now_ms, out),
        SendResult::Unknown(_) => ask_again(state, hash, attempt, now_ms),
    }
}

/// An attempt that reached nobody. The first one failed for certain; one that drives a payment again leaves open what became of those
/// before, so it is asked about, and may be driven again, as after a start.
fn not_given(state: &mut State, hash: &PaymentHash, attempt: u64, reason: String, now_ms: u64, out: &mut Vec<Effect>) {
    if state.open.get(hash).is_some_and(|open| open.seq == attempt) {
        return failed(state, hash, attempt, reason, now_ms, out);
    }
    if let Some(watch) = watch(state, hash, attempt) {
        watch.recovered = true;
    }
    ask_again(state, hash, attempt, now_ms);
}

/// A question that was answered.
pub(super) struct Question {
    pub(super) hash: PaymentHash,
    /// The attempt that it was about.
    pub(super) attempt: u64,
    /// When it was put, by the clock that only goes forward.
    pub(super) asked_ms: u64,
}

pub(super) fn looked(
    state: &mut State,
    rows: &dyn Rows,
    question: &Question,
    result: LookupResult,
    now_ms: u64,
    out: &mut Vec<Effect>,
) {
    let Question { hash, attempt, asked_ms } = question;
    let is_under_way = result == LookupResult::Pending;
    match result {
        LookupResult::Settled { preimage, fee } => settled(state, rows, hash, preimage, fee, now_ms, out),
        LookupResult::Failed(reason) => failed(state, hash, *attempt, reason, now_ms, out),
        LookupResult::NotFound => not_found(state, question, now_ms, out),
        LookupResult::Pending | LookupResult::Unknown(_) => {
            if let Some(watch) = watch(state, hash, *attempt) {
                // Where it is under way it was sent, whatever life that comes from: from now on it is never driven again.
                watch.recovered &= !is_under_way;
                watch.not_found = 0;
                watch.heard_ms = watch.heard_ms.max(Some(*asked_ms));
            }
            ask_again(state, hash, *attempt, now_ms);
        }
    }
}

fn watch<'a>(state: &'a mut State, hash: &PaymentHash, attempt: u64) -> Option<&'a mut Watch> {
    state.open.get_mut(hash).filter(|open| open.attempt == attempt).map(|open| &mut open.watch)
}

/// The payee has it, says the back end. Believed only with the preimage (I5), and whatever attempt it is about.
fn settled(
    state: &mut State,
    rows: &dyn Rows,
    hash: &PaymentHash,
    preimage: Preimage,
    fee: Msat,
    now_ms: u64,
    out: &mut Vec<Effect>,
) {
    let Some(open) = state.open.get(hash) else { return settled_late(state, rows, hash, preimage, fee, now_ms, out) };
    let connection = open.intent.request.connection;
    let attempt = open.attempt;
    if open.is_inside {
        // Never sent: it waits for the maker of a hold invoice of this hearth.
        return out.push(Effect::Alarm(format!("the back end says that it paid {hash}, which was never sent")));
    }
    if preimage.hash() != *hash {
        out.push(Effect::Alarm(format!("the back end says that {hash} was paid and shows a preimage of something else")));
        ask_again(state, hash, attempt, now_ms);
        return state.suspend(connection, "the back end gave a wrong proof of a payment", now_ms, out);
    }
    let too_much = fee > open.intent.fee_max;
    let outcome = Outcome::Paid { preimage, amount: open.intent.amount, fee };
    let postings = payment(open.intent.account, open.intent.amount, fee);
    let limit = open.intent.fee_max;
    let took = open.intent.amount.checked_add(fee).unwrap_or(Msat::MAX);
    let done = done(open, Ending::Settled { preimage, fee }, postings);
    state.record(Record::Done(Box::new(done)), Some(outcome), now_ms, out);
    state.left_the_node(took);
    if too_much {
        out.push(Effect::Alarm(format!("the payment of {hash} cost {fee}, its limit was {limit}; booked as it is")));
        state.suspend(connection, "a payment cost more than its fee limit", now_ms, out);
    }
}

/// Settled, and nothing of that hash is under way: a repeat, a correction (I4), or a payment that nobody asked for.
fn settled_late(
    state: &mut State,
    rows: &dyn Rows,
    hash: &PaymentHash,
    preimage: Preimage,
    fee: Msat,
    now_ms: u64,
    out: &mut Vec<Effect>,
) {
    match rows.payment(hash) {
        Err(error) => out.push(Effect::Alarm(error.to_string())),
        Ok(None) => out.push(Effect::Alarm(format!("the back end paid {hash}, which nobody here asked for"))),
        Ok(Some(row)) if matches!(row.ending(), Some(Ending::Failed { .. })) => {
            correct(state, &row, hash, preimage, fee, now_ms, out);
        }
        Ok(Some(_)) => {}
    }
}

fn correct(
    state: &mut State,
    row: &PaymentRow,
    hash: &PaymentHash,
    preimage: Preimage,
    fee: Msat,
    now_ms: u64,
    out: &mut Vec<Effect>,
) {
    if preimage.hash() != *hash {
        return out.push(Effect::Alarm(format!("the back end says that {hash}, which had failed, was paid, without a proof")));
    }
    let connection = row.intent.request.connection;
    let done = Done {
        intent: row.seq,
        hash: *hash,
        account: row.intent.account,
        connection,
        ending: Ending::Settled { preimage, fee },
        payee: None,
        correction: true,
        postings: payment(row.intent.account, row.intent.amount, fee),
        answers: Vec::new(),
    };
    state.record(Record::Done(Box::new(done)), None, now_ms, out);
    state.left_the_node(row.intent.amount.checked_add(fee).unwrap_or(Msat::MAX));
    out.push(Effect::Alarm(format!("{hash} was paid after the back end had said that it failed; booked now")));
    state.suspend(connection, "a payment that had failed was paid after all", now_ms, out);
}

/// Failed for certain. A word about an earlier attempt says nothing about the present one.
fn failed(state: &mut State, hash: &PaymentHash, attempt: u64, reason: String, now_ms: u64, out: &mut Vec<Effect>) {
    let Some(open) = state.open.get(hash).filter(|open| open.attempt == attempt && !open.is_inside) else { return };
    let outcome = Outcome::Refused(Refusal::new(ErrorCode::PaymentFailed, reason.clone()));
    let done = done(open, Ending::Failed { reason }, Vec::new());
    state.record(Record::Done(Box::new(done)), Some(outcome), now_ms, out);
}

fn done(open: &Open, ending: Ending, postings: Vec<super::super::record::Posting>) -> Done {
    Done {
        intent: open.seq,
        hash: open.intent.hash,
        account: open.intent.account,
        connection: open.intent.request.connection,
        ending,
        payee: None,
        correction: false,
        postings,
        answers: open.waiting.iter().map(|request| Answered { request: request.clone(), event: Vec::new() }).collect(),
    }
}

/// Sets the time of the next question.
fn ask_again(state: &mut State, hash: &PaymentHash, attempt: u64, now_ms: u64) {
    if let Some(watch) = watch(state, hash, attempt) {
        let pause_ms = ASK_PAUSE_FIRST_MS << watch.asked.min(6);
        watch.ask_at_ms = now_ms.saturating_add(pause_ms.min(ASK_PAUSE_MAX_MS));
        watch.asked = watch.asked.saturating_add(1);
    }
}

/// The back end has never heard of it. After a restart that may be the truth; for something that was sent it is believed only
/// when the invoice is over and nothing can be paid any more. What counts is how far apart the questions were put, not when their
/// answers arrived: an answer that comes late or twice is one answer.
fn not_found(state: &mut State, question: &Question, now_ms: u64, out: &mut Vec<Effect>) {
    let Question { hash, attempt, asked_ms } = question;
    #[cfg(test)]
    if state.has(Bug::ReleaseOnNotFound) {
        return failed(state, hash, *attempt, "not found".to_owned(), now_ms, out);
    }
    #[cfg(test)]
    let counts_answers = state.has(Bug::AnswersCountForQuestions);
    #[cfg(not(test))]
    let counts_answers = false;
    let may_drive = state.can.refuses_second && state.halted.is_none();
    let is_believed = state.frozen_at_ms.is_none();
    let Some(open) = state.open.get_mut(hash).filter(|open| open.attempt == *attempt) else { return };
    let asked_ms = if counts_answers { now_ms } else { *asked_ms };
    if !counts_answers && open.watch.heard_ms.is_some_and(|heard_ms| asked_ms <= heard_ms) {
        return;
    }
    let for_ms = open.watch.not_found(asked_ms);
    let is_unknown = open.watch.not_found >= 2 && for_ms >= NOT_FOUND_APART_MS;
    if open.watch.recovered && may_drive && is_unknown && is_still_wanted(open, now_ms) {
        return drive_again(state, hash, now_ms, out);
    }
    let is_certain = open.watch.not_found >= NOT_FOUND_TIMES && (for_ms >= NOT_FOUND_SPAN_MS || counts_answers);
    if is_certain && is_over(open, is_believed, for_ms, now_ms) {
        let reason = "the invoice expired before the payment was made; no money moved".to_owned();
        return failed(state, hash, *attempt, reason, now_ms, out);
    }
    ask_again(state, hash, *attempt, now_ms);
}

/// Sends a payment of an earlier life once more, as a new attempt: a word about the earlier one, however late, is then known to
/// be about that one.
fn drive_again(state: &mut State, hash: &PaymentHash, now_ms: u64, out: &mut Vec<Effect>) {
    #[cfg(test)]
    let resolves_again = state.has(Bug::ResolveAgainOnRetry);
    #[cfg(test)]
    let keeps_number = state.has(Bug::DrivenUnderOneNumber);
    #[cfg(not(test))]
    let keeps_number = false;
    if !keeps_number && !state.record(Record::Driven { hash: *hash }, None, now_ms, out) {
        return;
    }
    let Some(open) = state.open.get_mut(hash) else { return };
    open.watch =
        Watch { ask_at_ms: now_ms.saturating_add(super::pay::SEND_PATIENCE_MS), asked: open.watch.asked, ..Watch::default() };
    let order = send_order(&open.intent, open.attempt);
    #[cfg(test)]
    let order = if resolves_again { super::super::planted::resolved_again(order) } else { order };
    out.push(Effect::Send(order));
}

/// Whether nothing can be paid any more: the invoice is over, and its grace. A clock that is in doubt ends no invoice. A payment
/// without one has the same time, and where it was allowed by a clock that was wrong, the questions themselves measure it.
fn is_over(open: &Open, is_believed: bool, unknown_for_ms: u64, now_ms: u64) -> bool {
    let expires_at_ms = open.intent.invoice_expires_at_s.saturating_mul(1_000);
    let life_ms = expires_at_ms.saturating_sub(open.at_ms);
    let is_over_without_clock = open.intent.bolt11().is_none() && unknown_for_ms >= life_ms.saturating_add(NOT_FOUND_GRACE_MS);
    is_over_without_clock || (is_believed && now_ms >= expires_at_ms.saturating_add(NOT_FOUND_GRACE_MS))
}

/// Whether a moment has come. One that is further ahead than any pause was set before the clock went back.
pub(super) fn is_due(at_ms: u64, now_ms: u64) -> bool {
    at_ms <= now_ms || at_ms - now_ms > ASK_PAUSE_MAX_MS
}

/// Whether request and invoice are still valid. A payment without an invoice that was allowed by a clock ahead of the present one
/// could be of any age.
fn is_still_wanted(open: &Open, now_ms: u64) -> bool {
    let until_ms = now_ms.saturating_add(DRIVE_AGAIN_MARGIN_MS);
    let is_of_unknown_age = open.intent.bolt11().is_none() && open.at_ms > until_ms;
    !is_of_unknown_age
        && open.intent.invoice_expires_at_s.saturating_mul(1_000) > until_ms
        && open.intent.request_expires_at_s.is_none_or(|expires_at_s| expires_at_s.saturating_mul(1_000) > until_ms)
}

/// Time passes: ask about what is due, let go of what is over.
pub(super) fn tick(state: &mut State, now_ms: u64, out: &mut Vec<Effect>) {
    state.expire_invoices(now_ms / 1_000);
    if state.halted.is_some() {
        return;
    }
    super::super::receive::give_up(state, now_ms, out);
    super::hold::tick(state, now_ms, out);
    #[cfg(test)]
    let waits = state.has(Bug::QuestionsWaitForTheClock);
    for open in state.open.values_mut().filter(|open| !open.is_inside && is_due(open.watch.ask_at_ms, now_ms)) {
        #[cfg(test)]
        if waits && open.watch.ask_at_ms > now_ms {
            continue;
        }
        // The next question stands before this one is answered: a back end that hangs is asked again.
        open.watch.ask_at_ms = now_ms.saturating_add(ASK_PAUSE_MAX_MS);
        out.push(Effect::Lookup(open.question()));
    }
}

/// The clock jumped, or is believed again: written down, because it decides which period pays.
pub(super) fn clock(state: &mut State, frozen_at_ms: Option<u64>, now_ms: u64, out: &mut Vec<Effect>) {
    if state.frozen_at_ms.is_some() == frozen_at_ms.is_some() {
        return;
    }
    if frozen_at_ms.is_some() {
        let words = "the clock of this machine jumped; budgets do not renew until it has been steady for ten minutes";
        out.push(Effect::Alarm(words.to_owned()));
    }
    // In safe mode nothing is written, and nothing is paid either.
    state.record(Record::Clock { frozen_at_ms }, None, now_ms, out);
}
