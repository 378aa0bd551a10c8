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
//!
//! Kinds are only ever added: what an older hearth wrote is read as it was written. An older hearth takes a kind that it does not know
//! for damage and pays nothing.

mod parts;

use sha2::{Digest, Sha256};

use super::codec::{Reader, Writer};
use super::record::{Answered, Done, Ending, Entry, Intent, Invoice, Record, Used};
use super::types::{AccountId, ConnectionId, Preimage};
use crate::base::hex32::Hex32;
use crate::wallet::backend::SendTarget;
use parts::{
    read_accepted, read_connection, read_invoice_target, read_keysend_target, read_outcome, read_payee, read_postings,
    read_request, read_word, write_accepted, write_connection, write_outcome, write_payee, write_postings, write_request,
    write_target, write_word,
};

/// Version of the layout above.
const LAYOUT: u8 = 1;
/// The highest kind that there is.
const KIND_MAX: u8 = 22;
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

/// Why [`decode`] gave nothing, in words for the owner. What a newer hearth wrote is not damaged, and must not be replaced by an older
/// copy before somebody has looked.
pub(super) fn unreadable(seq: u64, value: &[u8]) -> String {
    match value {
        [layout, ..] if *layout > LAYOUT => format!(
            "record {seq} of the journal has layout {layout}, and this hearth reads {LAYOUT} at most: a newer hearth wrote it \
             (start that one again), or it is damaged"
        ),
        [LAYOUT, kind, ..] if *kind > KIND_MAX => format!(
            "record {seq} of the journal is of kind {kind}, which this hearth does not know: a newer hearth wrote it (start that \
             one again), or it is damaged"
        ),
        _ => format!("record {seq} of the journal is damaged"),
    }
}

fn kind(record: &Record) -> u8 {
    match record {
        Record::Genesis { .. } => 0,
        Record::Account { .. } => 1,
        Record::Connection { .. } => 2,
        Record::Fund { .. } => 3,
        Record::Move { .. } => 4,
        Record::Invoice(invoice) if invoice.preimage.is_some() => 5,
        Record::Invoice(_) => 14,
        Record::Intent(intent) => match intent.target {
            SendTarget::Invoice { .. } => 6,
            SendTarget::Keysend { .. } => 13,
        },
        Record::Attach { .. } => 7,
        Record::Done(_) => 8,
        Record::Answer { .. } => 9,
        Record::Received { preimage: None, .. } => 10,
        Record::Received { .. } => 17,
        Record::Suspend { .. } => 11,
        Record::Resume { .. } => 12,
        Record::Accepted(_) => 15,
        Record::Decided { .. } => 16,
        Record::Canceled { .. } => 18,
        Record::Reconciled { strays, .. } if strays.is_empty() => 19,
        Record::Reconciled { .. } => 22,
        Record::Clock { .. } => 20,
        Record::Driven { .. } => 21,
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
        Record::Received { hash, payee, amount, preimage, postings } => {
            out.hex32(hash);
            write_payee(out, *payee);
            out.msat(*amount);
            write_postings(out, postings);
            if let Some(preimage) = preimage {
                out.hex32(&Hex32(preimage.0));
            }
        }
        Record::Suspend { connection, reason } => {
            out.u32(connection.0);
            out.text(reason);
        }
        Record::Resume { connection } => out.u32(connection.0),
        Record::Accepted(accepted) => write_accepted(out, accepted),
        Record::Decided { hash, payee, word, reason } => {
            out.hex32(hash);
            write_payee(out, *payee);
            write_word(out, *word);
            out.text(reason);
        }
        Record::Canceled { hash, payee, reason } => {
            out.hex32(hash);
            write_payee(out, *payee);
            out.text(reason);
        }
        Record::Reconciled { why, lost, refused_before_s, strays } => {
            out.text(why);
            out.maybe(*lost, Writer::u64);
            out.u64(*refused_before_s);
            if !strays.is_empty() {
                write_hashes(out, strays);
            }
        }
        Record::Clock { frozen_at_ms } => out.maybe(*frozen_at_ms, Writer::u64),
        Record::Driven { hash } => out.hex32(hash),
    }
}

fn read_fields(from: &mut Reader<'_>, kind: u8) -> Option<Record> {
    Some(match kind {
        0 => Record::Genesis { node: from.text()? },
        1 => Record::Account { id: AccountId(from.u32()?), name: from.text()? },
        2 => Record::Connection { row: read_connection(from)?, used: Used { since_ms: from.u64()?, settled: from.msat()? } },
        3 => Record::Fund { postings: read_postings(from)? },
        4 => Record::Move { postings: read_postings(from)? },
        5 => Record::Invoice(Box::new(read_invoice(from, true)?)),
        6 => Record::Intent(Box::new(read_intent(from, read_invoice_target)?)),
        7 => Record::Attach { request: read_request(from)?, hash: from.hex32()? },
        8 => Record::Done(Box::new(read_done(from)?)),
        9 => Record::Answer { answered: read_answered(from)?, outcome: read_outcome(from)? },
        10 => read_received(from, false)?,
        11 => Record::Suspend { connection: ConnectionId(from.u32()?), reason: from.text()? },
        12 => Record::Resume { connection: ConnectionId(from.u32()?) },
        13 => Record::Intent(Box::new(read_intent(from, read_keysend_target)?)),
        14 => Record::Invoice(Box::new(read_invoice(from, false)?)),
        15 => Record::Accepted(read_accepted(from)?),
        16 => Record::Decided { hash: from.hex32()?, payee: read_payee(from)?, word: read_word(from)?, reason: from.text()? },
        17 => read_received(from, true)?,
        18 => Record::Canceled { hash: from.hex32()?, payee: read_payee(from)?, reason: from.text()? },
        19 => read_reconciled(from, false)?,
        20 => Record::Clock { frozen_at_ms: from.maybe(Reader::u64)? },
        21 => Record::Driven { hash: from.hex32()? },
        22 => read_reconciled(from, true)?,
        _ => return None,
    })
}

fn read_reconciled(from: &mut Reader<'_>, with_strays: bool) -> Option<Record> {
    Some(Record::Reconciled {
        why: from.text()?,
        lost: from.maybe(Reader::u64)?,
        refused_before_s: from.u64()?,
        strays: if with_strays { read_hashes(from)? } else { Vec::new() },
    })
}

/// As many as fit: the others make the wallet go into safe mode once more.
fn write_hashes(out: &mut Writer, hashes: &[Hex32]) {
    let hashes = &hashes[..hashes.len().min(usize::from(u16::MAX))];
    out.u16(u16::try_from(hashes.len()).unwrap_or(u16::MAX));
    hashes.iter().for_each(|hash| out.hex32(hash));
}

fn read_hashes(from: &mut Reader<'_>) -> Option<Vec<Hex32>> {
    let count = from.u16()?;
    (0..count).map(|_| from.hex32()).collect()
}

fn write_invoice(out: &mut Writer, invoice: &Invoice) {
    write_request(out, &invoice.request);
    out.u32(invoice.account.0);
    out.hex32(&invoice.hash);
    out.text(&invoice.bolt11);
    out.maybe(invoice.amount, Writer::msat);
    if let Some(preimage) = invoice.preimage {
        out.hex32(&Hex32(preimage.0));
    }
    out.u64(invoice.expires_at_s);
    out.maybe(invoice.description.as_deref(), Writer::text);
    out.maybe(invoice.description_hash.as_ref(), Writer::hex32);
    out.maybe(invoice.metadata.as_deref(), Writer::text);
}

fn read_received(from: &mut Reader<'_>, with_preimage: bool) -> Option<Record> {
    Some(Record::Received {
        hash: from.hex32()?,
        payee: read_payee(from)?,
        amount: from.msat()?,
        postings: read_postings(from)?,
        preimage: if with_preimage { Some(Preimage(from.hex32()?.0)) } else { None },
    })
}

fn read_invoice(from: &mut Reader<'_>, with_preimage: bool) -> Option<Invoice> {
    Some(Invoice {
        request: read_request(from)?,
        account: AccountId(from.u32()?),
        hash: from.hex32()?,
        bolt11: from.text()?,
        amount: from.maybe(Reader::msat)?,
        preimage: if with_preimage { Some(Preimage(from.hex32()?.0)) } else { None },
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
    write_target(out, &intent.target);
    out.msat(intent.amount);
    out.msat(intent.fee_max);
    out.u64(intent.invoice_expires_at_s);
    out.maybe(intent.request_expires_at_s, Writer::u64);
    out.maybe(intent.description.as_deref(), Writer::text);
    out.maybe(intent.description_hash.as_ref(), Writer::hex32);
    out.maybe(intent.metadata.as_deref(), Writer::text);
}

fn read_intent(from: &mut Reader<'_>, target: impl Fn(&mut Reader<'_>) -> Option<SendTarget>) -> Option<Intent> {
    Some(Intent {
        request: read_request(from)?,
        account: AccountId(from.u32()?),
        hash: from.hex32()?,
        target: target(from)?,
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
