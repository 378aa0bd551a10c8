//! Pieces that several kinds of records have: requests, connections, postings, targets, outcomes. Tables of numbers on disk.

use super::super::codec::{Reader, Writer};
use super::super::record::{Accepted, Book, Payee, Posting, Word};
use super::super::types::{
    AccountId, Budget, ConnectionId, ConnectionRow, ConnectionRules, ErrorCode, Method, Outcome, Preimage, Refusal, Renewal,
    RequestKey, RequestRef, Scheme, TlvRecord,
};
use crate::base::hex32::Hex32;
use crate::wallet::backend::SendTarget;

pub(super) fn write_request(out: &mut Writer, request: &RequestRef) {
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

pub(super) fn read_request(from: &mut Reader<'_>) -> Option<RequestRef> {
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
const CODES: [ErrorCode; 15] = [
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
    ErrorCode::UnsupportedPaymentInstruction,
    ErrorCode::UnsupportedNetwork,
    ErrorCode::FeeLimitExceeded,
];

/// Renewals by their number on disk: only ever appended to.
const RENEWALS: [Renewal; 5] = [Renewal::Never, Renewal::Daily, Renewal::Weekly, Renewal::Monthly, Renewal::Yearly];

fn number_of<T: PartialEq>(table: &[T], value: &T) -> u8 {
    table.iter().position(|one| one == value).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

pub(super) fn write_connection(out: &mut Writer, row: &ConnectionRow) {
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

pub(super) fn read_connection(from: &mut Reader<'_>) -> Option<ConnectionRow> {
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

pub(super) fn write_payee(out: &mut Writer, payee: Payee) {
    out.u32(payee.account.0);
    out.u32(payee.connection.0);
}

pub(super) fn read_payee(from: &mut Reader<'_>) -> Option<Payee> {
    Some(Payee { account: AccountId(from.u32()?), connection: ConnectionId(from.u32()?) })
}

pub(super) fn write_postings(out: &mut Writer, postings: &[Posting]) {
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

pub(super) fn read_postings(from: &mut Reader<'_>) -> Option<Vec<Posting>> {
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

pub(super) fn write_outcome(out: &mut Writer, outcome: &Outcome) {
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

pub(super) fn read_outcome(from: &mut Reader<'_>) -> Option<Outcome> {
    Some(match from.u8()? {
        0 => Outcome::Paid { preimage: Preimage(from.hex32()?.0), amount: from.msat()?, fee: from.msat()? },
        1 => Outcome::Refused(Refusal::new(*CODES.get(usize::from(from.u8()?))?, from.text()?)),
        _ => return None,
    })
}

/// An invoice: text, whether it has an amount. A keysend: key of the payee, preimage 32, count u16, then type u64 and value of each
/// record.
pub(super) fn write_target(out: &mut Writer, target: &SendTarget) {
    match target {
        SendTarget::Invoice { bolt11, has_amount } => {
            out.text(bolt11);
            out.flag(*has_amount);
        }
        SendTarget::Keysend { payee, preimage, records } => {
            out.text(payee);
            out.hex32(&Hex32(preimage.0));
            out.u16(u16::try_from(records.len()).unwrap_or(u16::MAX));
            for record in records {
                out.u64(record.kind);
                out.bytes(&record.value);
            }
        }
    }
}

pub(super) fn read_invoice_target(from: &mut Reader<'_>) -> Option<SendTarget> {
    Some(SendTarget::Invoice { bolt11: from.text()?, has_amount: from.flag()? })
}

pub(super) fn read_keysend_target(from: &mut Reader<'_>) -> Option<SendTarget> {
    let (payee, preimage, count) = (from.text()?, Preimage(from.hex32()?.0), from.u16()?);
    let records =
        (0..count).map(|_| Some(TlvRecord { kind: from.u64()?, value: from.bytes()?.to_vec() })).collect::<Option<_>>()?;
    Some(SendTarget::Keysend { payee, preimage, records })
}

pub(super) fn write_accepted(out: &mut Writer, accepted: &Accepted) {
    out.hex32(&accepted.hash);
    write_payee(out, accepted.payee);
    out.msat(accepted.amount);
    out.maybe(accepted.payer, Writer::u64);
    out.u64(accepted.expires_at_s);
    out.maybe(accepted.settle_deadline, Writer::u32);
}

pub(super) fn read_accepted(from: &mut Reader<'_>) -> Option<Accepted> {
    Some(Accepted {
        hash: from.hex32()?,
        payee: read_payee(from)?,
        amount: from.msat()?,
        payer: from.maybe(Reader::u64)?,
        expires_at_s: from.u64()?,
        settle_deadline: from.maybe(Reader::u32)?,
    })
}

/// 0 cancel, 1 settle with the preimage.
pub(super) fn write_word(out: &mut Writer, word: Word) {
    match word {
        Word::Cancel => out.u8(0),
        Word::Settle(preimage) => {
            out.u8(1);
            out.hex32(&Hex32(preimage.0));
        }
    }
}

pub(super) fn read_word(from: &mut Reader<'_>) -> Option<Word> {
    match from.u8()? {
        0 => Some(Word::Cancel),
        1 => Some(Word::Settle(Preimage(from.hex32()?.0))),
        _ => None,
    }
}
