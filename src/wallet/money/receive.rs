//! Invoices in the core: asked of the back end, written down, paid once.
//!
//! The same request gets the same invoice: before a crash from the journal, after one because the preimage belongs to the request.

use super::ledger::transfer;
use super::payment::{
    Effect, Heard, InvoiceRow, Making, Reply, RequestRow, Rows, Standing, State, Token, arrived, bounded_metadata, give_back,
    gone, may_act, taken,
};
use super::record::{Book, Invoice, Payee, Record};
use super::transaction::incoming as transaction;
use super::types::{
    AccountId, DESCRIPTION_BYTES_MAX, ErrorCode, HoldTerms, InvoiceOrder, Preimage, Refusal, RequestKey, Transaction, Viewer,
};
use crate::base::amount::Msat;
use crate::wallet::backend::{Incoming, IncomingState, MadeInvoice, NewHoldInvoice, NewInvoice};

/// How long a back end may take to make an invoice before the client is told that it did not.
const MAKE_PATIENCE_MS: u64 = 30_000;

/// Longest delay that a hold invoice may ask for; payers' wallets refuse more (two weeks).
const CLTV_BLOCKS_MAX: u32 = 2_016;

/// A client wants an invoice.
pub(super) fn make_invoice(
    state: &mut State,
    rows: &dyn Rows,
    order: InvoiceOrder,
    preimage: Preimage,
    token: Token,
    now_ms: u64,
    out: &mut Vec<Effect>,
) {
    match try_make(state, rows, order, preimage, token, now_ms, out) {
        Ok(None) => {}
        Ok(Some(transaction)) => out.push(Effect::Reply(token, Reply::Invoice(Ok(Box::new(transaction))))),
        Err(refusal) => out.push(Effect::Reply(token, Reply::Invoice(Err(refusal)))),
    }
}

/// `None`: the reply comes when the back end has made it.
fn try_make(
    state: &mut State,
    rows: &dyn Rows,
    order: InvoiceOrder,
    preimage: Preimage,
    token: Token,
    now_ms: u64,
    out: &mut Vec<Effect>,
) -> Result<Option<Transaction>, Refusal> {
    let key = order.request.key;
    if let Some(known) = repeated(state, rows, &order, token, now_ms)? {
        return Ok(known);
    }
    let connection = order.request.connection;
    may_act(state, connection)?;
    let new = checked(state, rows, &order, preimage, now_ms)?;
    let account = room_for_one(state, &order)?;
    if let Some(connection) = state.connections.get_mut(&connection) {
        connection.open_invoices += 1;
        connection.open_holds += usize::from(order.hold.is_some());
    }
    let preimage = order.hold.is_none().then_some(preimage);
    let hash = match &new {
        New::Invoice(new) => new.preimage.hash(),
        New::Hold(new) => new.hash,
    };
    state.making.insert(key, Making { order, account, preimage, hash, waiting: vec![token], since_ms: now_ms });
    out.push(match new {
        New::Invoice(order) => Effect::MakeInvoice { key, order },
        New::Hold(order) => Effect::MakeHoldInvoice { key, order },
    });
    Ok(None)
}

/// `Some(Some(..))`: made before; `Some(None)`: being made.
fn repeated(
    state: &mut State,
    rows: &dyn Rows,
    order: &InvoiceOrder,
    token: Token,
    now_ms: u64,
) -> Result<Option<Option<Transaction>>, Refusal> {
    if let Some(making) = state.making.get_mut(&order.request.key) {
        if making.waiting.len() >= state.limits.waiting_max {
            return Err(Refusal::new(ErrorCode::RateLimited, "too many requests wait for this invoice already"));
        }
        making.waiting.push(token);
        return Ok(Some(None));
    }
    match rows.request(&order.request.key) {
        Ok(None) => Ok(None),
        Ok(Some(RequestRow::Invoice(row))) => {
            Ok(Some(Some(transaction(&row, Viewer::Connection(order.request.connection), now_ms / 1_000))))
        }
        Ok(Some(_)) => Err(Refusal::new(ErrorCode::Other, "this request paid; it cannot make an invoice as well")),
        Err(_) => Err(Refusal::new(ErrorCode::Internal, "the wallet's journal could not be read")),
    }
}

/// What the back end is asked for.
enum New {
    Invoice(NewInvoice),
    Hold(NewHoldInvoice),
}

fn checked(state: &State, rows: &dyn Rows, order: &InvoiceOrder, preimage: Preimage, now_ms: u64) -> Result<New, Refusal> {
    let description = order.description.clone().unwrap_or_default();
    if order.description_hash.is_none() && description.len() > DESCRIPTION_BYTES_MAX {
        let words = format!("the description has {} bytes, an invoice has room for {DESCRIPTION_BYTES_MAX}", description.len());
        return Err(Refusal::new(ErrorCode::Other, words));
    }
    let expiry_s = order.expiry_s.filter(|expiry_s| *expiry_s > 0).unwrap_or(state.limits.invoice_expiry_s);
    if expiry_s > state.limits.invoice_expiry_max_s {
        let words = format!("an invoice lives at most {} s", state.limits.invoice_expiry_max_s);
        return Err(Refusal::new(ErrorCode::Other, words));
    }
    let amount = order.amount.filter(|amount| *amount > Msat::ZERO);
    let description_hash = order.description_hash;
    let now_s = now_ms / 1_000;
    let Some(HoldTerms { hash, min_cltv_expiry_delta }) = order.hold else {
        return Ok(New::Invoice(NewInvoice { amount, description, description_hash, expiry_s, now_s, preimage }));
    };
    if !state.can.hold_invoices {
        let words = "the wallet behind this hearth cannot make hold invoices";
        return Err(Refusal::new(ErrorCode::NotImplemented, words));
    }
    let is_known = match rows.invoice(&hash) {
        Ok(row) => row.is_some() || state.making.values().any(|making| making.hash == hash),
        Err(_) => return Err(Refusal::new(ErrorCode::Internal, "the wallet's journal could not be read")),
    };
    if is_known {
        return Err(Refusal::new(ErrorCode::Other, "there is an invoice with this payment hash already; choose a new preimage"));
    }
    let min_cltv_expiry_delta = min_cltv_expiry_delta.filter(|blocks| *blocks > 0);
    if min_cltv_expiry_delta.is_some_and(|blocks| blocks > CLTV_BLOCKS_MAX) {
        return Err(Refusal::new(ErrorCode::Other, format!("min_cltv_expiry_delta may be at most {CLTV_BLOCKS_MAX} blocks")));
    }
    Ok(New::Hold(NewHoldInvoice { amount, description, description_hash, expiry_s, now_s, hash, min_cltv_expiry_delta }))
}

fn room_for_one(state: &State, order: &InvoiceOrder) -> Result<AccountId, Refusal> {
    let connection = state.connections.get(&order.request.connection);
    let (account, open) = connection.map_or((AccountId::MAIN, 0), |one| (one.row.rules.account, one.open_invoices));
    if open >= state.limits.open_invoices_max_per_connection {
        let words = format!("{open} invoices of this connection can be paid, the most there may be; some must expire first");
        return Err(Refusal::new(ErrorCode::RateLimited, words));
    }
    let open_holds = connection.map_or(0, |one| one.open_holds);
    if order.hold.is_some() && open_holds >= state.limits.open_holds_max_per_connection {
        let words = format!(
            "{open_holds} hold invoices of this connection are open, the most there may be; some must be settled, cancelled or expire first"
        );
        return Err(Refusal::new(ErrorCode::RateLimited, words));
    }
    if state.invoices.len() + state.making.len() >= state.limits.open_invoices_max {
        return Err(Refusal::new(ErrorCode::RateLimited, "this wallet has as many open invoices as there may be"));
    }
    Ok(account)
}

/// The back end made an invoice, or could not.
pub(super) fn invoice_made(
    state: &mut State,
    key: RequestKey,
    made: Result<MadeInvoice, String>,
    now_ms: u64,
    out: &mut Vec<Effect>,
) {
    let Some(making) = state.making.remove(&key) else { return };
    if let Some(connection) = state.connections.get_mut(&making.order.request.connection) {
        connection.open_invoices = connection.open_invoices.saturating_sub(1);
        connection.open_holds = connection.open_holds.saturating_sub(usize::from(making.order.hold.is_some()));
    }
    let reply = match made {
        Ok(made) if made.hash != making.hash => {
            out.push(Effect::Alarm("the back end made an invoice for another payment hash".to_owned()));
            Err(Refusal::new(ErrorCode::Internal, "the back end made a wrong invoice"))
        }
        Ok(made) => write(state, &making, made, now_ms, out),
        Err(why) => Err(Refusal::new(ErrorCode::Internal, format!("no invoice was made: {why}"))),
    };
    for token in making.waiting {
        out.push(Effect::Reply(token, Reply::Invoice(reply.clone())));
    }
}

fn write(
    state: &mut State,
    making: &Making,
    made: MadeInvoice,
    now_ms: u64,
    out: &mut Vec<Effect>,
) -> Result<Box<Transaction>, Refusal> {
    let order = &making.order;
    let invoice = Invoice {
        request: order.request.clone(),
        account: making.account,
        hash: made.hash,
        bolt11: made.bolt11,
        amount: order.amount.filter(|amount| *amount > Msat::ZERO),
        preimage: making.preimage,
        expires_at_s: made.expires_at_s,
        description: order.description.clone().filter(|text| !text.is_empty()),
        description_hash: order.description_hash,
        metadata: bounded_metadata(order.metadata.clone()),
    };
    let row = InvoiceRow { seq: state.seq + 1, at_ms: now_ms, invoice: invoice.clone(), standing: Standing::Open };
    if !state.record(Record::Invoice(Box::new(invoice)), None, now_ms, out) {
        return Err(Refusal::new(ErrorCode::Internal, "the wallet is in safe mode, no invoice was made"));
    }
    Ok(Box::new(transaction(&row, Viewer::Connection(order.request.connection), now_ms / 1_000)))
}

/// Tells those who wait for an invoice that does not come. The repeat of the request will make the same one.
pub(super) fn give_up(state: &mut State, now_ms: u64, out: &mut Vec<Effect>) {
    let late: Vec<RequestKey> = state
        .making
        .iter()
        .filter(|(_, making)| now_ms.abs_diff(making.since_ms) >= MAKE_PATIENCE_MS)
        .map(|(key, _)| *key)
        .collect();
    for key in late {
        invoice_made(state, key, Err("the back end did not answer".to_owned()), now_ms, out);
    }
}

/// Money came in from outside. What is not ours is acknowledged and ignored: a node may have other invoices. What is not written
/// is not acknowledged, so that it is reported again.
pub(super) fn incoming(
    state: &mut State,
    rows: &dyn Rows,
    incoming: &Incoming,
    token: Token,
    now_ms: u64,
    out: &mut Vec<Effect>,
) {
    if state.halted.is_some() {
        return out.push(Effect::Reply(token, Reply::Noted(false)));
    }
    match rows.invoice(&incoming.hash) {
        Err(error) => {
            out.push(Effect::Alarm(error.to_string()));
            return out.push(Effect::Reply(token, Reply::Noted(false)));
        }
        Ok(None) => {}
        Ok(Some(row)) => match incoming.state {
            IncomingState::Settled { preimage } => settled(state, &row, incoming.amount, preimage, now_ms, out),
            IncomingState::Held { settle_deadline } => {
                match arrived(state, &row, (incoming.amount, settle_deadline), token, now_ms, out) {
                    Heard::Yes => {}
                    Heard::No => return out.push(Effect::Reply(token, Reply::Noted(false))),
                    Heard::Later => return,
                }
            }
            IncomingState::Canceled => gone(state, &row, now_ms, out),
        },
    }
    out.push(Effect::Reply(token, Reply::Noted(state.halted.is_none())));
}

/// Booked once and as it is, whatever the invoice's age.
fn settled(state: &mut State, row: &InvoiceRow, amount: Msat, preimage: Option<Preimage>, now_ms: u64, out: &mut Vec<Effect>) {
    let hash = row.invoice.hash;
    if amount == Msat::ZERO {
        return out.push(Effect::Alarm(format!("the back end says that nothing was paid for {hash}, and that it is settled")));
    }
    if let Standing::Paid { inside: false, amount: booked, .. } = row.standing {
        if booked != amount {
            out.push(Effect::Alarm(format!("{booked} were booked for {hash}; now the back end says that it was {amount}")));
        }
        return;
    }
    // Only a proof that is one is written down.
    let preimage = preimage.filter(|preimage| row.invoice.preimage.is_none() && preimage.hash() == hash);
    if row.invoice.amount.is_some_and(|asked| amount < asked) {
        out.push(Effect::Alarm(format!("only {amount} came for the invoice {hash}, which asks for more; booked as it is")));
    }
    if state.holds.get(&hash).is_some_and(|hold| hold.payer.is_none()) {
        return taken(state, &hash, amount, preimage, now_ms, out);
    }
    match &row.standing {
        Standing::Open if row.invoice.preimage.is_some() => {}
        Standing::Open | Standing::Paid { .. } | Standing::Held { .. } | Standing::Canceled { .. } => {
            let words = format!("{amount} came from outside for {hash}, which was paid inside, cancelled or nobody's to settle");
            out.push(Effect::Alarm(format!("{words}; booked as it is")));
        }
    }
    if state.holds.contains_key(&hash) {
        // Paid from outside while an account of this hearth waits to pay it: that one gets its money back first.
        give_back(state, &hash, now_ms, out);
    }
    let payee = Payee { account: row.invoice.account, connection: row.invoice.request.connection };
    let postings = transfer(Book::Outside, Book::Account(payee.account), amount);
    state.record(Record::Received { hash, payee, amount, preimage, postings }, None, now_ms, out);
}
