//! Rows beside the journal that find its records. All of them follow from the journal and are written in its batches.
//!
//! ```text
//! family    key                                                value (integers little endian)
//! journal   seq u64 BE                                         the record, see `layout`
//! requests  event id 32, item u16 BE                           kind u8 (0 paying, 1 answered, 2 invoice), seq u64 of the record
//!                                                              that answers (or of the invoice; of the first one while paying)
//! hashes    0x00 payment | 0x01 invoice, payment hash 32       seq u64 of the intent or invoice (the latest), seq u64 of its
//!                                                              end or 0
//!           0x02 stray, payment hash 32                        seq u64 of the record that accepted it, 0
//! lists     0x00 account | 0x01 connection | 0x02 all (id 0),
//!           id u32 BE,                                          direction u8 (0 incoming, 1 outgoing), state u8 (0 open,
//!           !created_ms u64 BE, !seq u64 BE                    1 settled, 2 failed), seq u64 of its end or 0, cost u64 msat
//! ```
//!
//! Times and numbers in list keys are inverted, so that newest first is a walk forward.

use super::payment::RowsError;
use super::types::{AccountId, ConnectionId, Direction, RequestKey};
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;
use crate::kv::{Family, FamilySpec, Shape};

/// The journal itself.
pub(super) const JOURNAL: Family = Family::nth(0);
/// Request -> what became of it.
pub(super) const REQUESTS: Family = Family::nth(1);
/// Payment hash -> payment, invoice.
pub(super) const HASHES: Family = Family::nth(2);
/// Account or connection -> transactions, newest first.
pub(super) const LISTS: Family = Family::nth(3);

/// The families in their order.
pub(super) const FAMILIES: [FamilySpec; 4] = [
    FamilySpec::new("journal", Shape::Log),
    FamilySpec::new("requests", Shape::Lookup),
    FamilySpec::new("hashes", Shape::Lookup),
    FamilySpec::new("lists", Shape::Sorted),
];

/// What a request row says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RequestValue {
    /// Its payment is under way.
    Paying(u64),
    /// The record with its answer.
    Answered(u64),
    /// The invoice that it made.
    Invoice(u64),
}

/// What a hash row says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HashValue {
    /// The intent or invoice.
    pub(super) open: u64,
    /// Its end, or 0.
    pub(super) end: u64,
}

/// Where a listed transaction stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ListState {
    /// Under way, or not paid.
    Open,
    /// Done.
    Settled,
    /// Failed for certain.
    Failed,
}

/// What a list row says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ListValue {
    pub(super) direction: Direction,
    pub(super) state: ListState,
    /// The record that ended it, or 0.
    pub(super) end: u64,
    /// Amount and fee of a settled payment.
    pub(super) cost: Msat,
}

/// Whose list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    Account(AccountId),
    Connection(ConnectionId),
    All,
}

/// Which hash row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HashOf {
    Payment,
    Invoice,
    /// Carried out by the back end and not in the journal; its owner knows.
    Stray,
}

pub(super) fn request_key(key: &RequestKey) -> [u8; 34] {
    let mut bytes = [0; 34];
    bytes[..32].copy_from_slice(&key.event.0);
    bytes[32..].copy_from_slice(&key.item.to_be_bytes());
    bytes
}

pub(super) fn request_value(value: RequestValue) -> [u8; 9] {
    let (kind, seq) = match value {
        RequestValue::Paying(seq) => (0, seq),
        RequestValue::Answered(seq) => (1, seq),
        RequestValue::Invoice(seq) => (2, seq),
    };
    let mut bytes = [kind; 9];
    bytes[1..].copy_from_slice(&seq.to_le_bytes());
    bytes
}

pub(super) fn read_request_value(bytes: &[u8]) -> Result<RequestValue, RowsError> {
    let seq = u64_at(bytes, 1).filter(|_| bytes.len() == 9).ok_or_else(damaged)?;
    match bytes[0] {
        0 => Ok(RequestValue::Paying(seq)),
        1 => Ok(RequestValue::Answered(seq)),
        2 => Ok(RequestValue::Invoice(seq)),
        _ => Err(damaged()),
    }
}

pub(super) fn hash_key(of: HashOf, hash: &PaymentHash) -> [u8; 33] {
    let mut bytes = [0; 33];
    bytes[0] = match of {
        HashOf::Payment => 0,
        HashOf::Invoice => 1,
        HashOf::Stray => 2,
    };
    bytes[1..].copy_from_slice(&hash.0);
    bytes
}

pub(super) fn hash_value(value: HashValue) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&value.open.to_le_bytes());
    bytes[8..].copy_from_slice(&value.end.to_le_bytes());
    bytes
}

pub(super) fn read_hash_value(bytes: &[u8]) -> Result<HashValue, RowsError> {
    match (u64_at(bytes, 0), u64_at(bytes, 8), bytes.len()) {
        (Some(open), Some(end), 16) => Ok(HashValue { open, end }),
        _ => Err(damaged()),
    }
}

pub(super) fn list_prefix(scope: Scope) -> [u8; 5] {
    let (kind, id) = match scope {
        Scope::Account(id) => (0, id.0),
        Scope::Connection(id) => (1, id.0),
        Scope::All => (2, 0),
    };
    let mut bytes = [kind; 5];
    bytes[1..].copy_from_slice(&id.to_be_bytes());
    bytes
}

/// The first key after all of a list.
pub(super) fn list_end(scope: Scope) -> Vec<u8> {
    let mut bytes = list_prefix(scope).to_vec();
    bytes.extend_from_slice(&[0xff; 17]);
    bytes
}

pub(super) fn list_key(scope: Scope, created_ms: u64, seq: u64) -> [u8; 21] {
    let mut bytes = [0; 21];
    bytes[..5].copy_from_slice(&list_prefix(scope));
    bytes[5..13].copy_from_slice(&(!created_ms).to_be_bytes());
    bytes[13..].copy_from_slice(&(!seq).to_be_bytes());
    bytes
}

/// Creation time and sequence number of a list key.
pub(super) fn read_list_key(bytes: &[u8]) -> Result<(u64, u64), RowsError> {
    let field = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    match (field(5), field(13), bytes.len()) {
        (Some(created), Some(seq), 21) => Ok((!created, !seq)),
        _ => Err(damaged()),
    }
}

pub(super) fn list_value(value: ListValue) -> [u8; 18] {
    let mut bytes = [0; 18];
    bytes[0] = match value.direction {
        Direction::Incoming => 0,
        Direction::Outgoing => 1,
    };
    bytes[1] = match value.state {
        ListState::Open => 0,
        ListState::Settled => 1,
        ListState::Failed => 2,
    };
    bytes[2..10].copy_from_slice(&value.end.to_le_bytes());
    bytes[10..].copy_from_slice(&value.cost.get().to_le_bytes());
    bytes
}

pub(super) fn read_list_value(bytes: &[u8]) -> Result<ListValue, RowsError> {
    if bytes.len() != 18 {
        return Err(damaged());
    }
    let direction = match bytes[0] {
        0 => Direction::Incoming,
        1 => Direction::Outgoing,
        _ => return Err(damaged()),
    };
    let state = match bytes[1] {
        0 => ListState::Open,
        1 => ListState::Settled,
        2 => ListState::Failed,
        _ => return Err(damaged()),
    };
    let end = u64_at(bytes, 2).ok_or_else(damaged)?;
    let cost = u64_at(bytes, 10).and_then(|msat| Msat::new(msat).ok()).ok_or_else(damaged)?;
    Ok(ListValue { direction, state, end, cost })
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

/// A row that is not in the form above.
pub(super) fn damaged() -> RowsError {
    RowsError("a row has an impossible form".to_owned())
}
