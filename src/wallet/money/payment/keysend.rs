//! Payments without an invoice: the payer chooses preimage and records, so the hash is known before anything is sent and a repeat
//! has the same one. They are checked, held, sent and answered like every other payment.

use super::super::record::Intent;
use super::super::types::{ErrorCode, PayOrder, PayTarget, Preimage, Refusal, TLV_BYTES_MAX, TLV_RECORDS_MAX, TlvRecord};
use super::check::{Judgement, above_maximum, bounded_metadata, cannot_afford, not_now, same_hash};
use super::{Rows, RowsError, State};
use crate::base::amount::Msat;
use crate::wallet::backend::SendTarget;

/// The record that carries the preimage; the back end writes it.
const PREIMAGE_KIND: u64 = 5_482_373_484;
/// Records of the network itself lie below.
const CUSTOM_KIND_MIN: u64 = 65_536;
/// Digits of a node's public key.
const KEY_DIGITS: usize = 66;

/// Judges a keysend order of a connection that may pay.
pub(super) fn judge(
    state: &State,
    rows: &dyn Rows,
    order: PayOrder,
    preimage: Preimage,
    ready: Result<(), String>,
    now_ms: u64,
) -> Result<Judgement, RowsError> {
    if !state.can.keysend {
        let words = "the wallet behind this hearth cannot pay without an invoice";
        return Ok(Judgement::NotNow(Refusal::new(ErrorCode::NotImplemented, words)));
    }
    let PayTarget::Keysend { payee, amount, records, .. } = &order.target else {
        return Ok(Judgement::no(ErrorCode::Other, "an invoice is no keysend"));
    };
    let (amount, target) = match target(state, payee, *amount, records, preimage) {
        Ok(target) => (*amount, target),
        Err(words) => return Ok(Judgement::no(ErrorCode::Other, words)),
    };
    let (id, hash) = (order.request.connection, preimage.hash());
    let is_same = |intent: &Intent| intent.amount == amount && intent.target == target;
    if let Some(seen) = same_hash(state, rows, &hash, id, &is_same)? {
        return Ok(seen);
    }
    if state.invoices.contains_key(&hash) || rows.invoice(&hash)?.is_some() {
        return Ok(Judgement::no(ErrorCode::Other, "this preimage belongs to an invoice of this wallet; choose a random one"));
    }
    if let Some(no) = above_maximum(state, id, amount) {
        return Ok(no);
    }
    let fee_max = state.limits.fee_reserve(amount);
    if let Some(no) = cannot_afford(state, id, amount, fee_max, now_ms) {
        return Ok(no);
    }
    if let Some(no) = not_now(state, id, ready) {
        return Ok(no);
    }
    let account = state.connections.get(&id).map_or(super::AccountId::MAIN, |connection| connection.row.rules.account);
    Ok(Judgement::Outside(Box::new(Intent {
        account,
        hash,
        target,
        amount,
        fee_max,
        // There is no invoice whose end would be the end of it.
        invoice_expires_at_s: (now_ms / 1_000).saturating_add(state.limits.invoice_expiry_s),
        request_expires_at_s: order.expires_at_s,
        description: None,
        description_hash: None,
        metadata: bounded_metadata(order.metadata),
        request: order.request,
    })))
}

/// Checks key, amount and records; words where something is wrong.
fn target(state: &State, payee: &str, amount: Msat, records: &[TlvRecord], preimage: Preimage) -> Result<SendTarget, String> {
    let payee = payee.to_ascii_lowercase();
    let is_key = payee.len() == KEY_DIGITS
        && (payee.starts_with("02") || payee.starts_with("03"))
        && payee.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_key {
        return Err("the payee is no node's public key: it must have 66 hex digits and begin with 02 or 03".to_owned());
    }
    if payee == state.node {
        return Err(
            "the payee is this wallet's own node; nothing was paid. Money inside moves by an invoice of the receiver".to_owned()
        );
    }
    if amount == Msat::ZERO {
        return Err("a payment needs an amount above zero".to_owned());
    }
    let mut records = records.to_vec();
    records.sort_by_key(|record| record.kind);
    check_records(&records)?;
    Ok(SendTarget::Keysend { payee, preimage, records })
}

/// Records by rising type.
fn check_records(records: &[TlvRecord]) -> Result<(), String> {
    if records.len() > TLV_RECORDS_MAX {
        return Err(format!("{} records are too many, at most {TLV_RECORDS_MAX} fit", records.len()));
    }
    let bytes: usize = records.iter().map(|record| record.value.len()).sum();
    if bytes > TLV_BYTES_MAX {
        return Err(format!("the records have {bytes} bytes, at most {TLV_BYTES_MAX} fit"));
    }
    if records.iter().any(|record| record.kind == PREIMAGE_KIND) {
        return Err(format!("record {PREIMAGE_KIND} carries the preimage: give it as \"preimage\" and not among the records"));
    }
    if let Some(low) = records.iter().find(|record| record.kind < CUSTOM_KIND_MIN) {
        return Err(format!("record {} is one of the network itself; own ones begin at {CUSTOM_KIND_MIN}", low.kind));
    }
    match records.windows(2).find(|pair| pair[0].kind == pair[1].kind) {
        Some(pair) => Err(format!("record {} is there twice", pair[0].kind)),
        None => Ok(()),
    }
}
