//! From a request to records: the intent first, and nothing is sent that is not written.

use super::super::ledger::transfer;
#[cfg(test)]
use super::super::planted::Forgetful;
use super::super::record::{Accepted, Answered, Book, Done, Ending, Intent, Payee, Record, Word};
use super::super::types::{ConnectionId, ErrorCode, Outcome, PayOrder, PayReply, Preimage, Refusal};
use super::check::{Judgement, judge};
use super::{Bill, Effect, Reply, RequestRow, Rows, RowsError, State, Token};
use crate::base::hex32::PaymentHash;
use crate::wallet::backend::SendOrder;

/// Patience with a back end that has not answered a send, before it is asked.
pub(super) const SEND_PATIENCE_MS: u64 = 60_000;

/// A wish to pay with all that was found out on the way here.
pub(super) struct Wish {
    pub(super) order: Box<PayOrder>,
    pub(super) bill: Result<Bill, Refusal>,
    pub(super) ready: Result<(), String>,
    pub(super) token: Token,
}

pub(super) fn pay(state: &mut State, rows: &dyn Rows, wish: Wish, now_ms: u64, out: &mut Vec<Effect>) {
    let token = wish.token;
    let reply = match try_pay(state, rows, wish, now_ms, out) {
        Ok(reply) => reply,
        Err(error) => {
            out.push(Effect::Alarm(error.to_string()));
            PayReply::Refused(Refusal::new(
                ErrorCode::Internal,
                "the wallet's journal could not be read; nothing was paid for this request",
            ))
        }
    };
    out.push(Effect::Reply(token, Reply::Pay(reply)));
}

fn try_pay(state: &mut State, rows: &dyn Rows, wish: Wish, now_ms: u64, out: &mut Vec<Effect>) -> Result<PayReply, RowsError> {
    #[cfg(test)]
    let hash = wish.bill.as_ref().ok().map(Bill::hash);
    #[cfg(test)]
    let rows: &dyn Rows = &Forgetful::new(state, rows, &wish.order.request.key, hash);
    match repeated(rows, &wish.order, out) {
        Ok(Some(reply)) => return Ok(reply),
        Ok(None) => {}
        Err(error) => {
            // It may have been paid: from here on nobody may be told that it was not.
            out.push(Effect::Alarm(error.to_string()));
            return Ok(PayReply::Unknown);
        }
    }
    if let Err(refusal) = may_act(state, wish.order.request.connection) {
        return Ok(PayReply::Refused(refusal));
    }
    if wish.order.expires_at_s.is_some_and(|expires_at_s| expires_at_s.saturating_mul(1_000) <= now_ms) {
        return Ok(PayReply::Expired);
    }
    let request = wish.order.request.clone();
    if request.created_at_s < state.refused_before_s {
        let words = "the wallet was restored after this request was made, and it may have been done already: look at the \
                     transactions before you ask again";
        return Ok(PayReply::Refused(Refusal::new(ErrorCode::Other, words)));
    }
    let written = match judge(state, rows, *wish.order, wish.bill, wish.ready, now_ms)? {
        Judgement::NotNow(refusal) => return Ok(PayReply::Refused(refusal)),
        Judgement::Answer(outcome) => {
            let answered = Answered { request, event: Vec::new() };
            let record = Record::Answer { answered, outcome: outcome.clone() };
            state.record(record, Some(outcome), now_ms, out)
        }
        Judgement::Attach(hash) => state.record(Record::Attach { request, hash }, None, now_ms, out),
        Judgement::Inside { intent, preimage, payee } => pay_inside(state, intent, preimage, payee, now_ms, out),
        Judgement::Held { intent, payee, expires_at_s } => pay_held(state, intent, payee, expires_at_s, now_ms, out),
        Judgement::Outside(intent) => pay_outside(state, intent, now_ms, out),
    };
    Ok(if written { PayReply::Durable } else { PayReply::Refused(safe_mode()) })
}

/// The same request again: the same answer, whatever happened to the connection since (I6).
fn repeated(rows: &dyn Rows, order: &PayOrder, out: &mut Vec<Effect>) -> Result<Option<PayReply>, RowsError> {
    Ok(match rows.request(&order.request.key)? {
        None => None,
        Some(RequestRow::Paying) => Some(PayReply::Durable),
        Some(RequestRow::Answered(request, event)) => {
            out.push(Effect::Republish(request, event));
            Some(PayReply::Durable)
        }
        Some(RequestRow::Invoice(_)) => {
            Some(PayReply::Refused(Refusal::new(ErrorCode::Other, "this request made an invoice; it cannot pay as well")))
        }
    })
}

/// Whether the connection may move money or make invoices now.
pub(in crate::wallet::money) fn may_act(state: &State, id: ConnectionId) -> Result<(), Refusal> {
    if let Some(why) = &state.halted {
        return Err(Refusal::new(ErrorCode::Internal, format!("the wallet is in safe mode, nothing is paid: {why}")));
    }
    let Some(connection) = state.connections.get(&id).filter(|connection| connection.row.rules.active) else {
        return Err(Refusal::new(ErrorCode::Unauthorized, "this connection does not exist any longer"));
    };
    if state.is_disk_low {
        let words = "the disk of this wallet is almost full: nothing new is begun until its owner makes room; what is under way \
                     goes on";
        return Err(Refusal::new(ErrorCode::Internal, words));
    }
    match &connection.suspended {
        Some(why) => Err(Refusal::new(ErrorCode::Restricted, format!("this connection is suspended: {why}"))),
        None => Ok(()),
    }
}

fn safe_mode() -> Refusal {
    Refusal::new(ErrorCode::Internal, "the wallet went into safe mode, nothing is paid; its owner has been told")
}

/// Both legs and both ends in one batch: there is no moment at which the money is nowhere. Paying oneself is booked the same way;
/// the two legs then cancel out.
fn pay_inside(
    state: &mut State,
    intent: Box<Intent>,
    preimage: Preimage,
    payee: Payee,
    now_ms: u64,
    out: &mut Vec<Effect>,
) -> bool {
    let done = Done {
        intent: state.seq + 1,
        hash: intent.hash,
        account: intent.account,
        connection: intent.request.connection,
        ending: Ending::Settled { preimage, fee: intent.fee_max },
        payee: Some(payee),
        correction: false,
        postings: transfer(Book::Account(intent.account), Book::Account(payee.account), intent.amount),
        answers: vec![Answered { request: intent.request.clone(), event: Vec::new() }],
    };
    let outcome = Outcome::Paid { preimage, amount: intent.amount, fee: intent.fee_max };
    let hash = intent.hash;
    let at = out.len();
    let written = state.record(Record::Intent(intent), None, now_ms, out)
        && state.record(Record::Done(Box::new(done)), Some(outcome), now_ms, out);
    if !written {
        // Half a payment must not reach the disk; safe mode keeps the state from being used.
        retain_alarms(out, at);
        return false;
    }
    close_outside(state, &hash, out);
    true
}

/// The payer's money waits for the word of the invoice's maker; its budget and its slot wait with it. A back end that could be
/// paid for the same invoice from outside is told that it is over.
fn pay_held(state: &mut State, intent: Box<Intent>, payee: Payee, expires_at_s: u64, now_ms: u64, out: &mut Vec<Effect>) -> bool {
    let (hash, amount, payer) = (intent.hash, intent.amount, Some(state.seq + 1));
    let accepted = Accepted { hash, payee, amount, payer, expires_at_s, settle_deadline: None };
    let at = out.len();
    let written =
        state.record(Record::Intent(intent), None, now_ms, out) && state.record(Record::Accepted(accepted), None, now_ms, out);
    if !written {
        retain_alarms(out, at);
        return false;
    }
    close_outside(state, &hash, out);
    true
}

/// An invoice that was paid inside can no longer be paid from outside, if the back end can help it. What arrives all the same is
/// booked as it is.
fn close_outside(state: &State, hash: &PaymentHash, out: &mut Vec<Effect>) {
    if state.can.outside && state.can.hold_invoices {
        out.push(Effect::TellHold { hash: *hash, word: Word::Cancel });
    }
}

/// Keeps only the alarms of a step that was not written.
fn retain_alarms(out: &mut Vec<Effect>, at: usize) {
    let tail: Vec<Effect> = out.drain(at..).filter(|effect| matches!(effect, Effect::Alarm(_))).collect();
    out.extend(tail);
}

fn pay_outside(state: &mut State, intent: Box<Intent>, now_ms: u64, out: &mut Vec<Effect>) -> bool {
    let order = send_order(&intent, state.seq + 1);
    let hash = intent.hash;
    if !state.record(Record::Intent(intent), None, now_ms, out) {
        return false;
    }
    if let Some(open) = state.open.get_mut(&hash) {
        open.watch.ask_at_ms = now_ms.saturating_add(SEND_PATIENCE_MS);
    }
    out.push(Effect::Send(order));
    true
}

/// The order for the back end: always what the intent says, however often it is driven.
pub(super) fn send_order(intent: &Intent, attempt: u64) -> SendOrder {
    let until_s = intent.request_expires_at_s.unwrap_or(u64::MAX).min(intent.invoice_expires_at_s);
    let (hash, target) = (intent.hash, intent.target.clone());
    SendOrder { attempt, hash, target, amount: intent.amount, fee_max: intent.fee_max, until_s }
}
