//! The journal's records as bytes. The drawing is the format; a change of it is a new layout version.
//!
//! ```text
//! key     8      sequence number, big endian, from 1 without a gap
//! value   0   1  layout version, 1
//!         1   1  kind (the number of the variant below)
//!         2   8  when, unix ms (integers little endian)
//!        10  32  hash of the record before (zeros before the first)
//!        42   n  fields of the kind, see `encode`
//! hash of a record = SHA-256(key, value)
//! ```

use sha2::{Digest, Sha256};

use super::codec::{Reader, Writer};
use super::record::{Answered, Book, Done, Ending, Entry, Intent, Invoice, Payee, Posting, Record, Used};
use super::types::{
    AccountId, Budget, ConnectionId, ConnectionRow, ConnectionRules, ErrorCode, Method, Outcome, Preimage, Refusal, Renewal,
    RequestKey, RequestRef, Scheme,
};
use crate::base::hex32::Hex32;

/// Version of the layout above.
const LAYOUT: u8 = 1;
/// Bytes before the fields of the kind.
const HEAD: usize = 42;

/// Hash of a record: the link of the chain.
pub(super) type Link = [u8; 32];

/// The link of a stored record.
pub(super) fn link(seq: u64, value: &[u8]) -> Link {
    let mut hash = Sha256::new();
    hash.update(seq.to_be_bytes());
    hash.update(value);
    hash.finalize().into()
}

/// The value of a record as it is stored after the record with that link.
pub(super) fn encode(entry: &Entry, before: &Link) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(1_024));
    out.u8(LAYOUT);
    out.u8(kind(&entry.record));
    out.u64(entry.at_ms);
    out.0.extend_from_slice(before);
    write_fields(&mut out, &entry.record);
    out.0
}

/// A stored record and the link that it names; `None` if the bytes are no record.
pub(super) fn decode(seq: u64, value: &[u8]) -> Option<(Entry, Link)> {
    let mut head = Reader(value.get(..HEAD)?);
    if head.u8()? != LAYOUT {
        return None;
    }
    let kind = head.u8()?;
    let at_ms = head.u64()?;
    let before = head.hex32()?.0;
    let mut fields = Reader(&value[HEAD..]);
    let record = read_fields(&mut fields, kind)?;
    fields.end()?;
    Some((Entry { seq, at_ms, record }, before))
}

fn kind(record: &Record) -> u8 {
    match record {
        Record::Genesis { .. } => 0,
        Record::Account { .. } => 1,
        Record::Connection { .. } => 2,
        Record::Fund { .. } => 3,
        Record::Move { .. } => 4,
        Record::Invoice(_) => 5,
        Record::Intent(_) => 6,
        Record::Attach { .. } => 7,
        Record::Done(_) => 8,
        Record::Answer { .. } => 9,
        Record::Received { .. } => 10,
        Record::Suspend { .. } => 11,
        Record::Resume { .. } => 12,
    }
}

fn write_fields(out: &mut Writer, record: &Record) {
    match record {
        Record::Genesis { node } => out.text(node),
        Record::Account { id, name } => {
            out.u32(id.0);
            out.text(name);
        }
        Record::Connection { row, used } => {
            write_connection(out, row);
            out.u64(used.since_ms);
            out.msat(used.settled);
        }
        Record::Fund { postings } | Record::Move { postings } => write_postings(out, postings),
        Record::Invoice(invoice) => write_invoice(out, invoice),
        Record::Intent(intent) => write_intent(out, intent),
        Record::Attach { request, hash } => {
            write_request(out, request);
            out.hex32(hash);
        }
        Record::Done(done) => write_done(out, done),
        Record::Answer { answered, outcome } => {
            write_answered(out, answered);
            write_outcome(out, outcome);
        }
        Record::Received { hash, payee, amount, postings } => {
            out.hex32(hash);
            write_payee(out, *payee);
            out.msat(*amount);
            write_postings(out, postings);
        }
        Record::Suspend { connection, reason } => {
            out.u32(connection.0);
            out.text(reason);
        }
        Record::Resume { connection } => out.u32(connection.0),
    }
}

fn read_fields(from: &mut Reader<'_>, kind: u8) -> Option<Record> {
    Some(match kind {
        0 => Record::Genesis { node: from.text()? },
        1 => Record::Account { id: AccountId(from.u32()?), name: from.text()? },
        2 => Record::Connection { row: read_connection(from)?, used: Used { since_ms: from.u64()?, settled: from.msat()? } },
        3 => Record::Fund { postings: read_postings(from)? },
        4 => Record::Move { postings: read_postings(from)? },
        5 => Record::Invoice(Box::new(read_invoice(from)?)),
        6 => Record::Intent(Box::new(read_intent(from)?)),
        7 => Record::Attach { request: read_request(from)?, hash: from.hex32()? },
        8 => Record::Done(Box::new(read_done(from)?)),
        9 => Record::Answer { answered: read_answered(from)?, outcome: read_outcome(from)? },
        10 => Record::Received {
            hash: from.hex32()?,
            payee: read_payee(from)?,
            amount: from.msat()?,
            postings: read_postings(from)?,
        },
        11 => Record::Suspend { connection: ConnectionId(from.u32()?), reason: from.text()? },
        12 => Record::Resume { connection: ConnectionId(from.u32()?) },
        _ => return None,
    })
}

fn write_request(out: &mut Writer, request: &RequestRef) {
    out.hex32(&request.key.event);
    out.u16(request.key.item);
    out.u32(request.connection.0);
    out.hex32(&request.client);
    out.u8(match request.scheme {
        Scheme::Nip44 => 0,
        Scheme::Nip04 => 1,
    });
    out.u8(number_of(&METHODS, &request.method));
    out.u64(request.created_at_s);
    out.maybe(request.item_tag.as_deref(), Writer::text);
}

fn read_request(from: &mut Reader<'_>) -> Option<RequestRef> {
    Some(RequestRef {
        key: RequestKey { event: from.hex32()?, item: from.u16()? },
        connection: ConnectionId(from.u32()?),
        client: from.hex32()?,
        scheme: match from.u8()? {
            0 => Scheme::Nip44,
            1 => Scheme::Nip04,
            _ => return None,
        },
        method: *METHODS.get(usize::from(from.u8()?))?,
        created_at_s: from.u64()?,
        item_tag: from.maybe(Reader::text)?,
    })
}

/// Methods by their number on disk: only ever appended to.
const METHODS: [Method; 10] = [
    Method::PayInvoice,
    Method::MultiPayInvoice,
    Method::PayKeysend,
    Method::MultiPayKeysend,
    Method::Pay,
    Method::MakeInvoice,
    Method::MakeHoldInvoice,
    Method::Receive,
    Method::SettleHoldInvoice,
    Method::CancelHoldInvoice,
];

/// Error codes by their number on disk: only ever appended to.
const CODES: [ErrorCode; 12] = [
    ErrorCode::RateLimited,
    ErrorCode::NotImplemented,
    ErrorCode::InsufficientBalance,
    ErrorCode::QuotaExceeded,
    ErrorCode::Restricted,
    ErrorCode::Unauthorized,
    ErrorCode::Internal,
    ErrorCode::Other,
    ErrorCode::UnsupportedEncryption,
    ErrorCode::PaymentFailed,
    ErrorCode::NotFound,
    ErrorCode::BadRequest,
];

/// Renewals by their number on disk: only ever appended to.
const RENEWALS: [Renewal; 5] = [Renewal::Never, Renewal::Daily, Renewal::Weekly, Renewal::Monthly, Renewal::Yearly];

fn number_of<T: PartialEq>(table: &[T], value: &T) -> u8 {
    table.iter().position(|one| one == value).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

fn write_connection(out: &mut Writer, row: &ConnectionRow) {
    out.u32(row.id.0);
    out.u32(row.rules.account.0);
    out.maybe(row.rules.budget.as_ref(), |out, budget| {
        out.msat(budget.amount);
        out.u8(number_of(&RENEWALS, &budget.renewal));
        out.text(&budget.time_zone);
    });
    out.maybe(row.rules.payment_max, Writer::msat);
    out.flag(row.rules.active);
    out.bytes(&row.data);
}

fn read_connection(from: &mut Reader<'_>) -> Option<ConnectionRow> {
    Some(ConnectionRow {
        id: ConnectionId(from.u32()?),
        rules: ConnectionRules {
            account: AccountId(from.u32()?),
            budget: from.maybe(|from| {
                Some(Budget { amount: from.msat()?, renewal: *RENEWALS.get(usize::from(from.u8()?))?, time_zone: from.text()? })
            })?,
            payment_max: from.maybe(Reader::msat)?,
            active: from.flag()?,
        },
        data: from.bytes()?.to_vec(),
    })
}

fn write_payee(out: &mut Writer, payee: Payee) {
    out.u32(payee.account.0);
    out.u32(payee.connection.0);
}

fn read_payee(from: &mut Reader<'_>) -> Option<Payee> {
    Some(Payee { account: AccountId(from.u32()?), connection: ConnectionId(from.u32()?) })
}

fn write_postings(out: &mut Writer, postings: &[Posting]) {
    out.u8(u8::try_from(postings.len()).unwrap_or(u8::MAX));
    for posting in postings {
        match posting.book {
            Book::Account(id) => {
                out.u8(0);
                out.u32(id.0);
            }
            Book::Fees => out.u8(1),
            Book::Outside => out.u8(2),
            Book::Funding => out.u8(3),
        }
        out.i64(posting.msat);
    }
}

fn read_postings(from: &mut Reader<'_>) -> Option<Vec<Posting>> {
    let count = from.u8()?;
    (0..count)
        .map(|_| {
            let book = match from.u8()? {
                0 => Book::Account(AccountId(from.u32()?)),
                1 => Book::Fees,
                2 => Book::Outside,
                3 => Book::Funding,
                _ => return None,
            };
            Some(Posting { book, msat: from.i64()? })
        })
        .collect()
}

fn write_invoice(out: &mut Writer, invoice: &Invoice) {
    write_request(out, &invoice.request);
    out.u32(invoice.account.0);
    out.hex32(&invoice.hash);
    out.text(&invoice.bolt11);
    out.maybe(invoice.amount, Writer::msat);
    out.hex32(&Hex32(invoice.preimage.0));
    out.u64(invoice.expires_at_s);
    out.maybe(invoice.description.as_deref(), Writer::text);
    out.maybe(invoice.description_hash.as_ref(), Writer::hex32);
    out.maybe(invoice.metadata.as_deref(), Writer::text);
}

fn read_invoice(from: &mut Reader<'_>) -> Option<Invoice> {
    Some(Invoice {
        request: read_request(from)?,
        account: AccountId(from.u32()?),
        hash: from.hex32()?,
        bolt11: from.text()?,
        amount: from.maybe(Reader::msat)?,
        preimage: Preimage(from.hex32()?.0),
        expires_at_s: from.u64()?,
        description: from.maybe(Reader::text)?,
        description_hash: from.maybe(Reader::hex32)?,
        metadata: from.maybe(Reader::text)?,
    })
}

fn write_intent(out: &mut Writer, intent: &Intent) {
    write_request(out, &intent.request);
    out.u32(intent.account.0);
    out.hex32(&intent.hash);
    out.text(&intent.bolt11);
    out.flag(intent.invoice_has_amount);
    out.msat(intent.amount);
    out.msat(intent.fee_max);
    out.u64(intent.invoice_expires_at_s);
    out.maybe(intent.request_expires_at_s, Writer::u64);
    out.maybe(intent.description.as_deref(), Writer::text);
    out.maybe(intent.description_hash.as_ref(), Writer::hex32);
    out.maybe(intent.metadata.as_deref(), Writer::text);
}

fn read_intent(from: &mut Reader<'_>) -> Option<Intent> {
    Some(Intent {
        request: read_request(from)?,
        account: AccountId(from.u32()?),
        hash: from.hex32()?,
        bolt11: from.text()?,
        invoice_has_amount: from.flag()?,
        amount: from.msat()?,
        fee_max: from.msat()?,
        invoice_expires_at_s: from.u64()?,
        request_expires_at_s: from.maybe(Reader::u64)?,
        description: from.maybe(Reader::text)?,
        description_hash: from.maybe(Reader::hex32)?,
        metadata: from.maybe(Reader::text)?,
    })
}

fn write_answered(out: &mut Writer, answered: &Answered) {
    write_request(out, &answered.request);
    out.bytes(&answered.event);
}

fn read_answered(from: &mut Reader<'_>) -> Option<Answered> {
    Some(Answered { request: read_request(from)?, event: from.bytes()?.to_vec() })
}

fn write_done(out: &mut Writer, done: &Done) {
    out.u64(done.intent);
    out.hex32(&done.hash);
    out.u32(done.account.0);
    out.u32(done.connection.0);
    match &done.ending {
        Ending::Settled { preimage, fee } => {
            out.u8(0);
            out.hex32(&Hex32(preimage.0));
            out.msat(*fee);
        }
        Ending::Failed { reason } => {
            out.u8(1);
            out.text(reason);
        }
    }
    out.maybe(done.payee, write_payee);
    out.flag(done.correction);
    write_postings(out, &done.postings);
    out.u16(u16::try_from(done.answers.len()).unwrap_or(u16::MAX));
    for answered in &done.answers {
        write_answered(out, answered);
    }
}

fn read_done(from: &mut Reader<'_>) -> Option<Done> {
    Some(Done {
        intent: from.u64()?,
        hash: from.hex32()?,
        account: AccountId(from.u32()?),
        connection: ConnectionId(from.u32()?),
        ending: match from.u8()? {
            0 => Ending::Settled { preimage: Preimage(from.hex32()?.0), fee: from.msat()? },
            1 => Ending::Failed { reason: from.text()? },
            _ => return None,
        },
        payee: from.maybe(read_payee)?,
        correction: from.flag()?,
        postings: read_postings(from)?,
        answers: {
            let count = from.u16()?;
            (0..count).map(|_| read_answered(from)).collect::<Option<_>>()?
        },
    })
}

fn write_outcome(out: &mut Writer, outcome: &Outcome) {
    match outcome {
        Outcome::Paid { preimage, amount, fee } => {
            out.u8(0);
            out.hex32(&Hex32(preimage.0));
            out.msat(*amount);
            out.msat(*fee);
        }
        Outcome::Refused(refusal) => {
            out.u8(1);
            out.u8(number_of(&CODES, &refusal.code));
            out.text(&refusal.message);
        }
    }
}

fn read_outcome(from: &mut Reader<'_>) -> Option<Outcome> {
    Some(match from.u8()? {
        0 => Outcome::Paid { preimage: Preimage(from.hex32()?.0), amount: from.msat()?, fee: from.msat()? },
        1 => Outcome::Refused(Refusal::new(*CODES.get(usize::from(from.u8()?))?, from.text()?)),
        _ => return None,
    })
}
