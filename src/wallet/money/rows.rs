//! Looking things up: from a row of the index to records of the journal. The same code reads what is committed and what is about
//! to be: a [`Source`] says where bytes come from.

use super::index::{
    HASHES, HashOf, HashValue, JOURNAL, LISTS, ListState, ListValue, REQUESTS, RequestValue, Scope, damaged, hash_key,
    hash_value, list_key, list_value, read_hash_value, read_request_value, request_key, request_value,
};
use super::layout;
use super::payment::{InvoiceRow, PaymentRow, RequestRow, RowsError, Standing};
use super::record::{Done, Ending, Entry, Intent, Invoice, Record};
use super::types::{Direction, RequestKey, RequestRef};
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;
use crate::kv::Family;

/// Where bytes come from.
pub(super) trait Source {
    /// The value of a key.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError>;
}

/// A record by its number. One that must be there and is not, or cannot be read, is an error.
pub(super) fn entry(source: &dyn Source, seq: u64) -> Result<Entry, RowsError> {
    let value = source.get(JOURNAL, &seq.to_be_bytes())?.ok_or_else(|| RowsError(format!("record {seq} is missing")))?;
    let (entry, _) = layout::decode(seq, &value).ok_or_else(|| RowsError(format!("record {seq} is damaged")))?;
    Ok(entry)
}

/// What is known of a request.
pub(super) fn request(source: &dyn Source, key: &RequestKey) -> Result<Option<RequestRow>, RowsError> {
    let Some(value) = source.get(REQUESTS, &request_key(key))? else { return Ok(None) };
    Ok(Some(match read_request_value(&value)? {
        RequestValue::Paying(_) => RequestRow::Paying,
        RequestValue::Answered(seq) => {
            let (request, event) = answer_in(entry(source, seq)?, key).ok_or_else(damaged)?;
            RequestRow::Answered(request, event)
        }
        RequestValue::Invoice(seq) => RequestRow::Invoice(Box::new(invoice_at(source, seq, None)?)),
    }))
}

fn answer_in(entry: Entry, key: &RequestKey) -> Option<(RequestRef, Vec<u8>)> {
    let answered = match entry.record {
        Record::Done(done) => done.answers.into_iter().find(|answered| answered.request.key == *key)?,
        Record::Answer { answered, .. } if answered.request.key == *key => answered,
        _ => return None,
    };
    Some((answered.request, answered.event))
}

/// The latest payment of a hash.
pub(super) fn payment(source: &dyn Source, hash: &PaymentHash) -> Result<Option<PaymentRow>, RowsError> {
    let Some(value) = source.get(HASHES, &hash_key(HashOf::Payment, hash))? else { return Ok(None) };
    let HashValue { open, end } = read_hash_value(&value)?;
    payment_at(source, open, end).map(Some)
}

/// The payment whose intent is record `open`, ended by record `end` (0: not yet).
pub(super) fn payment_at(source: &dyn Source, open: u64, end: u64) -> Result<PaymentRow, RowsError> {
    let (at_ms, intent) = intent(entry(source, open)?)?;
    let done = if end == 0 { None } else { Some(done(entry(source, end)?)?) };
    Ok(PaymentRow { seq: open, at_ms, intent, done })
}

/// The invoice of a hash.
pub(super) fn invoice(source: &dyn Source, hash: &PaymentHash) -> Result<Option<InvoiceRow>, RowsError> {
    let Some(value) = source.get(HASHES, &hash_key(HashOf::Invoice, hash))? else { return Ok(None) };
    let HashValue { open, end } = read_hash_value(&value)?;
    invoice_at(source, open, Some(end)).map(Some)
}

/// The invoice that is record `open`; where its end is not known it is looked up by its hash.
pub(super) fn invoice_at(source: &dyn Source, open: u64, end: Option<u64>) -> Result<InvoiceRow, RowsError> {
    let Entry { at_ms, record: Record::Invoice(invoice), .. } = entry(source, open)? else { return Err(damaged()) };
    let end = match end {
        Some(end) => end,
        None => match source.get(HASHES, &hash_key(HashOf::Invoice, &invoice.hash))? {
            Some(value) => read_hash_value(&value)?.end,
            None => 0,
        },
    };
    let standing = if end == 0 { Standing::Open } else { standing(source, entry(source, end)?)? };
    Ok(InvoiceRow { seq: open, at_ms, invoice: *invoice, standing })
}

/// What the latest record about an invoice makes of it.
fn standing(source: &dyn Source, end: Entry) -> Result<Standing, RowsError> {
    let at_ms = end.at_ms;
    match end.record {
        Record::Received { amount, preimage, .. } => Ok(Standing::Paid { at_ms, amount, preimage, inside: false }),
        Record::Done(done) => {
            let (_, intent) = intent(entry(source, done.intent)?)?;
            let preimage = match done.ending {
                Ending::Settled { preimage, .. } => Some(preimage),
                Ending::Failed { .. } => return Err(damaged()),
            };
            Ok(Standing::Paid { at_ms, amount: intent.amount, preimage, inside: true })
        }
        Record::Accepted(accepted) => Ok(Standing::Held { at_ms, amount: accepted.amount }),
        Record::Canceled { reason, .. } => Ok(Standing::Canceled { reason }),
        _ => Err(damaged()),
    }
}

fn intent(entry: Entry) -> Result<(u64, Intent), RowsError> {
    match entry.record {
        Record::Intent(intent) => Ok((entry.at_ms, *intent)),
        _ => Err(damaged()),
    }
}

fn done(entry: Entry) -> Result<(u64, Done), RowsError> {
    match entry.record {
        Record::Done(done) => Ok((entry.at_ms, *done)),
        _ => Err(damaged()),
    }
}

/// Takes a row.
type Put<'a> = dyn FnMut(Family, &[u8], &[u8]) + 'a;

/// The rows that a record writes, given to `put` one by one.
pub(super) fn index(source: &dyn Source, entry: &Entry, put: &mut Put<'_>) -> Result<(), RowsError> {
    let seq = entry.seq;
    match &entry.record {
        Record::Invoice(invoice) => {
            put_request(put, &invoice.request, RequestValue::Invoice(seq));
            put_hash(put, HashOf::Invoice, &invoice.hash, HashValue { open: seq, end: 0 });
            put_invoice_lists(put, seq, entry.at_ms, invoice, (0, ListState::Open));
        }
        Record::Intent(intent) => {
            put_request(put, &intent.request, RequestValue::Paying(seq));
            put_hash(put, HashOf::Payment, &intent.hash, HashValue { open: seq, end: 0 });
            put_payment_lists(put, seq, entry.at_ms, intent, None);
        }
        Record::Attach { request, .. } => put_request(put, request, RequestValue::Paying(seq)),
        Record::Answer { answered, .. } => put_request(put, &answered.request, RequestValue::Answered(seq)),
        Record::Done(done) => index_done(source, seq, done, put)?,
        Record::Received { hash, .. } => end_invoice(source, hash, (seq, ListState::Settled), put)?,
        Record::Accepted(accepted) => end_invoice(source, &accepted.hash, (seq, ListState::Open), put)?,
        Record::Canceled { hash, .. } => end_invoice(source, hash, (seq, ListState::Failed), put)?,
        Record::Reconciled { strays, .. } => {
            strays.iter().for_each(|hash| put_hash(put, HashOf::Stray, hash, HashValue { open: seq, end: 0 }));
        }
        Record::Genesis { .. }
        | Record::Account { .. }
        | Record::Connection { .. }
        | Record::Fund { .. }
        | Record::Move { .. }
        | Record::Suspend { .. }
        | Record::Resume { .. }
        | Record::Decided { .. }
        | Record::Driven { .. }
        | Record::Clock { .. } => {}
    }
    Ok(())
}

fn index_done(source: &dyn Source, seq: u64, done: &Done, put: &mut Put<'_>) -> Result<(), RowsError> {
    for answered in &done.answers {
        put_request(put, &answered.request, RequestValue::Answered(seq));
    }
    let (at_ms, intent) = intent(entry(source, done.intent)?)?;
    put_hash(put, HashOf::Payment, &done.hash, HashValue { open: done.intent, end: seq });
    put_payment_lists(put, done.intent, at_ms, &intent, Some((seq, &done.ending)));
    if done.payee.is_some() { end_invoice(source, &done.hash, (seq, ListState::Settled), put) } else { Ok(()) }
}

/// The latest record about an invoice, and where it stands by it.
fn end_invoice(source: &dyn Source, hash: &PaymentHash, end: (u64, ListState), put: &mut Put<'_>) -> Result<(), RowsError> {
    let value = source.get(HASHES, &hash_key(HashOf::Invoice, hash))?.ok_or_else(damaged)?;
    let open = read_hash_value(&value)?.open;
    let Entry { at_ms, record: Record::Invoice(invoice), .. } = entry(source, open)? else { return Err(damaged()) };
    put_hash(put, HashOf::Invoice, hash, HashValue { open, end: end.0 });
    put_invoice_lists(put, open, at_ms, &invoice, end);
    Ok(())
}

fn put_request(put: &mut Put<'_>, request: &RequestRef, value: RequestValue) {
    put(REQUESTS, &request_key(&request.key), &request_value(value));
}

fn put_hash(put: &mut Put<'_>, of: HashOf, hash: &PaymentHash, value: HashValue) {
    put(HASHES, &hash_key(of, hash), &hash_value(value));
}

fn put_invoice_lists(put: &mut Put<'_>, seq: u64, at_ms: u64, invoice: &Invoice, (end, state): (u64, ListState)) {
    let value = list_value(ListValue { direction: Direction::Incoming, state, end, cost: Msat::ZERO });
    for scope in [Scope::Account(invoice.account), Scope::Connection(invoice.request.connection), Scope::All] {
        put(LISTS, &list_key(scope, at_ms, seq), &value);
    }
}

fn put_payment_lists(put: &mut Put<'_>, seq: u64, at_ms: u64, intent: &Intent, end: Option<(u64, &Ending)>) {
    let (end, state, cost) = match end {
        None => (0, ListState::Open, Msat::ZERO),
        Some((end, Ending::Failed { .. })) => (end, ListState::Failed, Msat::ZERO),
        Some((end, Ending::Settled { fee, .. })) => {
            (end, ListState::Settled, intent.amount.checked_add(*fee).unwrap_or(Msat::MAX))
        }
    };
    let value = list_value(ListValue { direction: Direction::Outgoing, state, end, cost });
    for scope in [Scope::Account(intent.account), Scope::Connection(intent.request.connection), Scope::All] {
        put(LISTS, &list_key(scope, at_ms, seq), &value);
    }
}
