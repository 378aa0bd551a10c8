//! Hold invoices: their money arrives, waits, and goes one way or the other by the word of their maker and of nobody else.
//!
//! Money from an account of this hearth waits as the payer's open payment: its hold, budget and slot wait with it, no back end is
//! asked, and the end is one batch with both legs. Money from outside waits at the back end: the decision is on disk before the back
//! end is told, and it is told until it says that it was done. Nothing here settles by itself; what waits inside for too long goes
//! back.

use super::super::ledger::transfer;
use super::super::record::{Accepted, Answered, Book, Done, Ending, Payee, Record, Word};
use super::super::types::{ConnectionId, ErrorCode, Outcome, Preimage, Refusal, RequestRef};
use super::result::is_due;
use super::state::Hold;
use super::{Effect, InvoiceRow, Reply, Rows, Standing, State, Token};
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;

/// First pause before a back end is told again.
pub(super) const TELL_PAUSE_FIRST_MS: u64 = 1_000;
/// Longest pause.
pub(super) const TELL_PAUSE_MAX_MS: u64 = 60_000;
/// Most hold invoices that end in one tick for a reason of time or of their connection; the others end in the next.
const ENDS_PER_TICK: usize = 32;
/// How long a client waits for the back end's word before it hears that it takes longer.
const WAIT_MS: u64 = 15_000;

/// Why a hold invoice ends about which nobody can decide.
const REVOKED: &str = "the connection that made it was revoked";

/// A decision that somebody asks for.
pub(super) struct Wish {
    pub(super) request: RequestRef,
    pub(super) hash: PaymentHash,
    pub(super) word: Word,
    pub(super) token: Token,
}

pub(super) fn decide(state: &mut State, rows: &dyn Rows, wish: &Wish, now_ms: u64, out: &mut Vec<Effect>) {
    match try_decide(state, rows, wish, now_ms, out) {
        Ok(Some(())) => out.push(Effect::Reply(wish.token, Reply::Hold(Ok(())))),
        Ok(None) => {}
        Err(refusal) => out.push(Effect::Reply(wish.token, Reply::Hold(Err(refusal)))),
    }
}

/// `None`: the reply comes when the back end has done it.
fn try_decide(
    state: &mut State,
    rows: &dyn Rows,
    wish: &Wish,
    now_ms: u64,
    out: &mut Vec<Effect>,
) -> Result<Option<()>, Refusal> {
    let connection = wish.request.connection;
    may_decide(state, connection)?;
    let Some(hold) = state.holds.get_mut(&wish.hash) else { return of_no_hold(state, rows, wish, now_ms, out) };
    if hold.payee.connection != connection {
        return Err(unknown());
    }
    match (hold.word, wish.word) {
        (None, Word::Settle(_)) if !hold.is_paid => Err(not_paid()),
        (None, _) if hold.payer.is_some() => finish_inside(state, &wish.hash, wish.word, now_ms, out).map(Some),
        (None, _) => {
            let payee = hold.payee;
            write_decision(state, &wish.hash, payee, wish.word, "by the word of its maker", now_ms, out)?;
            wait(state, wish);
            Ok(None)
        }
        (Some(Word::Settle(_)), Word::Settle(_)) | (Some(Word::Cancel), Word::Cancel) => {
            if hold.waiting.len() >= state.limits.waiting_max {
                return Err(Refusal::new(ErrorCode::RateLimited, "too many requests wait for this hold invoice already"));
            }
            hold.waiting.push(wish.token);
            Ok(None)
        }
        (Some(Word::Settle(_)), Word::Cancel) => {
            Err(Refusal::new(ErrorCode::Other, "this hold invoice is being settled; it can no longer be cancelled"))
        }
        (Some(Word::Cancel), Word::Settle(_)) => {
            Err(Refusal::new(ErrorCode::Other, "this hold invoice is being cancelled; it can no longer be settled"))
        }
    }
}

/// A suspended connection may decide too: a payer waits for it.
fn may_decide(state: &State, id: ConnectionId) -> Result<(), Refusal> {
    if let Some(why) = &state.halted {
        return Err(Refusal::new(ErrorCode::Internal, format!("the wallet is in safe mode, nothing is moved: {why}")));
    }
    match state.connections.get(&id) {
        Some(connection) if connection.row.rules.active => Ok(()),
        _ => Err(Refusal::new(ErrorCode::Unauthorized, "this connection does not exist any longer")),
    }
}

fn unknown() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "this connection has made no hold invoice with this payment hash")
}

fn not_paid() -> Refusal {
    Refusal::new(ErrorCode::Other, "nobody has paid this hold invoice yet, so there is nothing to settle")
}

/// Nothing waits: it is open, or over.
fn of_no_hold(
    state: &mut State,
    rows: &dyn Rows,
    wish: &Wish,
    now_ms: u64,
    out: &mut Vec<Effect>,
) -> Result<Option<()>, Refusal> {
    let unreadable = |_| Refusal::new(ErrorCode::Internal, "the wallet's journal could not be read; nothing was moved");
    let row = rows.invoice(&wish.hash).map_err(unreadable)?;
    let is_mine = |row: &InvoiceRow| row.invoice.request.connection == wish.request.connection && row.invoice.preimage.is_none();
    let row = row.filter(is_mine).ok_or_else(unknown)?;
    match (&row.standing, wish.word) {
        (Standing::Paid { .. }, Word::Settle(_)) | (Standing::Canceled { .. }, Word::Cancel) => Ok(Some(())),
        (Standing::Paid { .. }, Word::Cancel) => {
            Err(Refusal::new(ErrorCode::Other, "this hold invoice was settled; it can no longer be cancelled"))
        }
        (Standing::Canceled { .. }, Word::Settle(_)) => {
            Err(Refusal::new(ErrorCode::Other, "this hold invoice was cancelled; its money went back"))
        }
        (Standing::Open | Standing::Held { .. }, Word::Settle(_)) => Err(not_paid()),
        (Standing::Open | Standing::Held { .. }, Word::Cancel) => {
            let payee = Payee { account: row.invoice.account, connection: row.invoice.request.connection };
            write_decision(state, &wish.hash, payee, wish.word, "by the word of its maker", now_ms, out)?;
            wait(state, wish);
            Ok(None)
        }
    }
}

/// The decision first, then the back end.
fn write_decision(
    state: &mut State,
    hash: &PaymentHash,
    payee: Payee,
    word: Word,
    reason: &str,
    now_ms: u64,
    out: &mut Vec<Effect>,
) -> Result<(), Refusal> {
    let record = Record::Decided { hash: *hash, payee, word, reason: reason.to_owned() };
    if !state.record(record, None, now_ms, out) {
        return Err(Refusal::new(ErrorCode::Internal, "the wallet went into safe mode; nothing was moved"));
    }
    if let Some(hold) = state.holds.get_mut(hash) {
        hold.tell_at_ms = now_ms.saturating_add(TELL_PAUSE_MAX_MS);
    }
    out.push(Effect::TellHold { hash: *hash, word });
    Ok(())
}

fn wait(state: &mut State, wish: &Wish) {
    if let Some(hold) = state.holds.get_mut(&wish.hash) {
        hold.waiting.push(wish.token);
    }
}

/// Payer and payee are here: both legs, both ends, all answers in one batch.
fn finish_inside(state: &mut State, hash: &PaymentHash, word: Word, now_ms: u64, out: &mut Vec<Effect>) -> Result<(), Refusal> {
    let gone = || Refusal::new(ErrorCode::Internal, "the payment that waits for this invoice was not found; nothing was moved");
    let payee = state.holds.get(hash).ok_or_else(gone)?.payee;
    let written = match word {
        Word::Settle(preimage) => settle_inside(state, hash, payee, preimage, now_ms, out),
        Word::Cancel => cancel_inside(state, hash, payee, "its maker cancelled it", now_ms, out),
    };
    match written {
        Some(true) => Ok(()),
        Some(false) => Err(Refusal::new(ErrorCode::Internal, "the wallet went into safe mode; nothing was moved")),
        None => Err(gone()),
    }
}

fn done(state: &State, hash: &PaymentHash, ending: Ending, payee: Option<Payee>) -> Option<Done> {
    let open = state.open.get(hash).filter(|open| open.is_inside)?;
    let postings = match payee {
        Some(payee) => transfer(Book::Account(open.intent.account), Book::Account(payee.account), open.intent.amount),
        None => Vec::new(),
    };
    Some(Done {
        intent: open.seq,
        hash: *hash,
        account: open.intent.account,
        connection: open.intent.request.connection,
        ending,
        payee,
        correction: false,
        postings,
        answers: open.waiting.iter().map(|request| Answered { request: request.clone(), event: Vec::new() }).collect(),
    })
}

fn settle_inside(
    state: &mut State,
    hash: &PaymentHash,
    payee: Payee,
    preimage: Preimage,
    now_ms: u64,
    out: &mut Vec<Effect>,
) -> Option<bool> {
    let amount = state.open.get(hash)?.intent.amount;
    let done = done(state, hash, Ending::Settled { preimage, fee: Msat::ZERO }, Some(payee))?;
    let outcome = Outcome::Paid { preimage, amount, fee: Msat::ZERO };
    Some(state.record(Record::Done(Box::new(done)), Some(outcome), now_ms, out))
}

fn cancel_inside(
    state: &mut State,
    hash: &PaymentHash,
    payee: Payee,
    reason: &str,
    now_ms: u64,
    out: &mut Vec<Effect>,
) -> Option<bool> {
    let words = format!("the payee did not take the money of this hold invoice: {reason}; no money moved");
    let done = done(state, hash, Ending::Failed { reason: words.clone() }, None)?;
    let outcome = Outcome::Refused(Refusal::new(ErrorCode::PaymentFailed, words));
    let written = state.record(Record::Done(Box::new(done)), Some(outcome), now_ms, out);
    Some(written && cancelled(state, hash, payee, reason, now_ms, out))
}

fn cancelled(state: &mut State, hash: &PaymentHash, payee: Payee, reason: &str, now_ms: u64, out: &mut Vec<Effect>) -> bool {
    state.record(Record::Canceled { hash: *hash, payee, reason: reason.to_owned() }, None, now_ms, out)
}

/// The back end has heard of a decision.
pub(super) fn told(
    state: &mut State,
    hash: &PaymentHash,
    word: Word,
    result: Result<(), String>,
    now_ms: u64,
    out: &mut Vec<Effect>,
) {
    if word == Word::Cancel {
        super::unwanted::told(state, hash, &result, now_ms, out);
    }
    // An invoice that was only closed towards the outside has no hold with that word.
    let Some(hold) = state.holds.get_mut(hash).filter(|hold| hold.word == Some(word)) else { return };
    match (result, word) {
        (Ok(()), Word::Settle(preimage)) => {
            let amount = hold.amount;
            taken(state, hash, amount, Some(preimage), now_ms, out);
        }
        (Ok(()), Word::Cancel) => {
            let (payee, waiting) = (hold.payee, std::mem::take(&mut hold.waiting));
            cancelled(state, hash, payee, why_cancelled(state, payee), now_ms, out);
            answer(waiting, &Ok(()), out);
        }
        (Err(why), _) => {
            let pause_ms = TELL_PAUSE_FIRST_MS << hold.told.min(6);
            hold.tell_at_ms = now_ms.saturating_add(pause_ms.min(TELL_PAUSE_MAX_MS));
            hold.told = hold.told.saturating_add(1);
            answer(std::mem::take(&mut hold.waiting), &Err(later(&why)), out);
        }
    }
}

fn later(why: &str) -> Refusal {
    let words = format!("this is decided and written, but the node has not done it yet ({why}); it is told again until it has");
    Refusal::new(ErrorCode::Internal, words)
}

fn answer(waiting: Vec<Token>, with: &Result<(), Refusal>, out: &mut Vec<Effect>) {
    out.extend(waiting.into_iter().map(|token| Effect::Reply(token, Reply::Hold(with.clone()))));
}

/// The money of an invoice is the node's: booked, and those who wait for it are told.
pub(in crate::wallet::money) fn taken(
    state: &mut State,
    hash: &PaymentHash,
    amount: Msat,
    preimage: Option<Preimage>,
    now_ms: u64,
    out: &mut Vec<Effect>,
) {
    let Some(hold) = state.holds.get_mut(hash) else { return };
    let (payee, waiting) = (hold.payee, std::mem::take(&mut hold.waiting));
    let is_settling = matches!(hold.word, Some(Word::Settle(_)));
    let postings = transfer(Book::Outside, Book::Account(payee.account), amount);
    state.record(Record::Received { hash: *hash, payee, amount, preimage, postings }, None, now_ms, out);
    let told = if is_settling {
        Ok(())
    } else {
        out.push(Effect::Alarm(format!("the hold invoice {hash} was settled without the word of its maker; booked as it is")));
        Err(Refusal::new(ErrorCode::Other, "this hold invoice was settled; it can no longer be cancelled"))
    };
    answer(waiting, &told, out);
}

/// What has come of a report, for the back end that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::wallet::money) enum Heard {
    /// It is known, or written down.
    Yes,
    /// It has to be made again.
    No,
    /// It is acknowledged later.
    Later,
}

impl Heard {
    fn if_written(is_written: bool) -> Self {
        if is_written { Self::Yes } else { Self::No }
    }
}

/// Money from outside waits for a hold invoice made here.
pub(in crate::wallet::money) fn arrived(
    state: &mut State,
    row: &InvoiceRow,
    (amount, settle_deadline): (Msat, Option<u32>),
    token: Token,
    now_ms: u64,
    out: &mut Vec<Effect>,
) -> Heard {
    let hash = row.invoice.hash;
    match state.holds.get(&hash) {
        // Over for good, says the journal: told again until it is done.
        Some(hold) if hold.word == Some(Word::Cancel) => {
            out.push(Effect::TellHold { hash, word: Word::Cancel });
            return Heard::Yes;
        }
        Some(hold) if hold.payer.is_some() => {
            super::unwanted::send_back(state, hash, token, now_ms, out);
            return Heard::Later;
        }
        Some(_) => return Heard::Yes,
        None => {}
    }
    let payee = Payee { account: row.invoice.account, connection: row.invoice.request.connection };
    match &row.standing {
        Standing::Open => {}
        Standing::Paid { inside: false, .. } => return Heard::Yes,
        Standing::Paid { .. } | Standing::Held { .. } | Standing::Canceled { .. } => {
            super::unwanted::send_back(state, hash, token, now_ms, out);
            return Heard::Later;
        }
    }
    if row.invoice.amount.is_some_and(|asked| amount < asked) || amount == Msat::ZERO {
        let words = format!("only {amount} came for the hold invoice {hash}, which asks for more; it is given back");
        out.push(Effect::Alarm(words));
        // In safe mode nothing is decided, and the report is made again.
        let written = write_decision(state, &hash, payee, Word::Cancel, "less came than it asks for", now_ms, out);
        return Heard::if_written(written.is_ok());
    }
    let expires_at_s = row.invoice.expires_at_s;
    let accepted = Accepted { hash, payee, amount, payer: None, expires_at_s, settle_deadline };
    Heard::if_written(state.record(Record::Accepted(accepted), None, now_ms, out))
}

/// Ends what waits inside for a hold invoice that was paid from outside; the payer gets its money back.
pub(in crate::wallet::money) fn give_back(state: &mut State, hash: &PaymentHash, now_ms: u64, out: &mut Vec<Effect>) {
    if let Some(payee) = state.holds.get(hash).filter(|hold| hold.payer.is_some()).map(|hold| hold.payee) {
        let _ = cancel_inside(state, hash, payee, "somebody outside paid it first", now_ms, out);
    }
}

/// The back end says that a hold invoice is over without money.
pub(in crate::wallet::money) fn gone(state: &mut State, row: &InvoiceRow, now_ms: u64, out: &mut Vec<Effect>) {
    let hash = row.invoice.hash;
    let Some(hold) = state.holds.get_mut(&hash) else {
        if row.standing == Standing::Open && row.invoice.preimage.is_none() && state.invoices.contains_key(&hash) {
            let payee = Payee { account: row.invoice.account, connection: row.invoice.request.connection };
            cancelled(state, &hash, payee, "the node cancelled it", now_ms, out);
        }
        return;
    };
    if hold.payer.is_some() {
        // It was closed towards the outside by ourselves.
        return;
    }
    let (payee, waiting, word) = (hold.payee, std::mem::take(&mut hold.waiting), hold.word);
    let (reason, told) = match word {
        Some(Word::Cancel) => (why_cancelled(state, payee), Ok(())),
        Some(Word::Settle(_)) => {
            out.push(Effect::Alarm(format!("the money of the hold invoice {hash} went back although it was to be settled")));
            let words = "the node gave the money back before it heard that it was to be settled";
            (words, Err(Refusal::new(ErrorCode::Other, words)))
        }
        None => ("the node gave the money back", Ok(())),
    };
    cancelled(state, &hash, payee, reason, now_ms, out);
    answer(waiting, &told, out);
}

/// Time passes: the back end is told again, clients hear that it takes longer, and what waited inside for too long goes back.
pub(super) fn tick(state: &mut State, now_ms: u64, out: &mut Vec<Effect>) {
    super::unwanted::tick(state, now_ms, out);
    let hold_ms = state.limits.hold_s.saturating_mul(1_000);
    let mut over = Vec::new();
    for (hash, hold) in &mut state.holds {
        match hold.word {
            Some(word) if is_due(hold.tell_at_ms, now_ms) => {
                hold.tell_at_ms = now_ms.saturating_add(TELL_PAUSE_MAX_MS);
                out.push(Effect::TellHold { hash: *hash, word });
            }
            Some(_) if hold.tell_at_ms.saturating_sub(now_ms) <= TELL_PAUSE_MAX_MS - WAIT_MS => {
                answer(std::mem::take(&mut hold.waiting), &Err(later("it does not answer")), out);
            }
            Some(_) => {}
            None if over.len() >= ENDS_PER_TICK => {}
            None => over.extend((hold.payer.is_some() && is_over(hold, hold_ms, now_ms)).then_some((*hash, hold.payee))),
        }
    }
    abandon(state, now_ms, out);
    // While the clock is doubted nobody's waiting is over.
    if state.frozen_at_ms.is_some() {
        return;
    }
    for (hash, payee) in over {
        if state.holds.contains_key(&hash) {
            end_inside(state, &hash, payee, "nobody decided about it in time", now_ms, out);
        }
    }
}

fn end_inside(state: &mut State, hash: &PaymentHash, payee: Payee, reason: &str, now_ms: u64, out: &mut Vec<Effect>) {
    if cancel_inside(state, hash, payee, reason, now_ms, out).is_none() {
        state.halt(format!("the payment that waits for the hold invoice {hash} is missing"), out);
    }
}

/// Hold invoices whose connection was revoked: nobody can decide about them any more, so they are cancelled, and who has paid gets
/// the money back.
pub(in crate::wallet::money) fn abandon(state: &mut State, now_ms: u64, out: &mut Vec<Effect>) {
    if state.abandoned.is_empty() {
        return;
    }
    let held = state.holds.iter().filter(|(_, hold)| hold.word.is_none()).map(|(hash, hold)| (*hash, hold.payee));
    let open = state.invoices.iter().filter(|(_, one)| one.preimage.is_none()).map(|(hash, one)| (*hash, one.payee));
    let is_abandoned = |(_, payee): &(PaymentHash, Payee)| state.abandoned.contains(&payee.connection);
    let some: Vec<(PaymentHash, Payee)> = held.chain(open).filter(is_abandoned).take(ENDS_PER_TICK).collect();
    if some.len() < ENDS_PER_TICK {
        state.abandoned.clear();
    }
    for (hash, payee) in some {
        if state.holds.get(&hash).is_some_and(|hold| hold.payer.is_some()) {
            end_inside(state, &hash, payee, REVOKED, now_ms, out);
        } else {
            // In safe mode nothing is decided, and the next start sees it again.
            let _ = write_decision(state, &hash, payee, Word::Cancel, REVOKED, now_ms, out);
        }
    }
}

/// Why a hold invoice is over that was decided to be.
fn why_cancelled(state: &State, payee: Payee) -> &'static str {
    match state.connections.get(&payee.connection) {
        Some(connection) if !connection.row.rules.active => REVOKED,
        _ => "by the word of its maker",
    }
}

fn is_over(hold: &Hold, hold_ms: u64, now_ms: u64) -> bool {
    now_ms >= hold.since_ms.saturating_add(hold_ms)
}

/// After a start: decisions that the back end has not confirmed are told again.
pub(in crate::wallet::money) fn restart(state: &mut State, now_ms: u64, out: &mut Vec<Effect>) {
    for (hash, hold) in &mut state.holds {
        if let Some(word) = hold.word {
            hold.tell_at_ms = now_ms.saturating_add(TELL_PAUSE_MAX_MS);
            out.push(Effect::TellHold { hash: *hash, word });
        } else if hold.payer.is_some() && state.can.outside && state.can.hold_invoices {
            out.push(Effect::TellHold { hash: *hash, word: Word::Cancel });
        }
    }
}
