//! Invoices in the core: asked of the back end, written down, paid once.
//!
//! The same request gets the same invoice: before a crash from the journal, after one because the preimage belongs to the request.

use super::ledger::transfer;
use super::payment::{Effect, InvoiceRow, Making, Reply, RequestRow, Rows, State, Token, bounded_metadata, may_act};
use super::record::{Book, Invoice, Payee, Record};
use super::transaction::incoming as transaction;
use super::types::{
    AccountId, DESCRIPTION_BYTES_MAX, ErrorCode, InvoiceOrder, Preimage, Refusal, RequestKey, Transaction, Viewer,
};
use crate::base::amount::Msat;
use crate::wallet::backend::{Incoming, IncomingState, MadeInvoice, NewInvoice};

/// How long a back end may take to make an invoice before the client is told that it did not.
const MAKE_PATIENCE_MS: u64 = 30_000;

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
    let new = checked(state, &order, preimage, now_ms)?;
    let account = room_for_one(state, &order)?;
    if let Some(connection) = state.connections.get_mut(&connection) {
        connection.open_invoices += 1;
    }
    state.making.insert(key, Making { order, account, preimage, waiting: vec![token], since_ms: now_ms });
    out.push(Effect::MakeInvoice { key, order: new });
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

fn checked(state: &State, order: &InvoiceOrder, preimage: Preimage, now_ms: u64) -> Result<NewInvoice, Refusal> {
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
    if order.hold.is_some() {
        return Err(Refusal::new(ErrorCode::NotImplemented, "this wallet does not make hold invoices yet"));
    }
    let amount = order.amount.filter(|amount| *amount > Msat::ZERO);
    let description_hash = order.description_hash;
    Ok(NewInvoice { amount, description, description_hash, expiry_s, now_s: now_ms / 1_000, preimage })
}

fn room_for_one(state: &State, order: &InvoiceOrder) -> Result<AccountId, Refusal> {
    let connection = state.connections.get(&order.request.connection);
    let (account, open) = connection.map_or((AccountId::MAIN, 0), |one| (one.row.rules.account, one.open_invoices));
    if open >= state.limits.open_invoices_max_per_connection {
        let words = format!("{open} invoices of this connection can be paid, the most there may be; some must expire first");
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
    }
    let reply = match made {
        Ok(made) if made.hash != making.preimage.hash() => {
            out.push(Effect::Alarm("the back end made an invoice for another preimage".to_owned()));
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
    let row = InvoiceRow { seq: state.seq + 1, at_ms: now_ms, invoice: invoice.clone(), paid: None };
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
        .filter(|(_, making)| now_ms.saturating_sub(making.since_ms) >= MAKE_PATIENCE_MS)
        .map(|(key, _)| *key)
        .collect();
    for key in late {
        invoice_made(state, key, Err("the back end did not answer".to_owned()), now_ms, out);
    }
}

/// Money came in from outside: booked once for an invoice made here, whatever its age. Other invoices of the node are not ours.
pub(super) fn incoming(state: &mut State, rows: &dyn Rows, incoming: &Incoming, now_ms: u64, out: &mut Vec<Effect>) {
    if !matches!(incoming.state, IncomingState::Settled { .. }) {
        return;
    }
    match rows.invoice(&incoming.hash) {
        Err(error) => out.push(Effect::Alarm(error.to_string())),
        Ok(Some(row)) if row.paid.is_none() => {
            let payee = Payee { account: row.invoice.account, connection: row.invoice.request.connection };
            let postings = transfer(Book::Outside, Book::Account(payee.account), incoming.amount);
            let record = Record::Received { hash: incoming.hash, payee, amount: incoming.amount, postings };
            state.record(record, None, now_ms, out);
        }
        Ok(_) => {}
    }
}
