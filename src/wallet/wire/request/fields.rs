//! Parameters that several methods have, each read in one way.

use serde_json::value::RawValue;

use super::other;
use crate::base::amount::Msat;
use crate::base::hex32::Hex32;
use crate::wallet::terms::{Preimage, Refusal};

/// Longest metadata that is kept (NIP-47 extension 06); longer ones are dropped, not the request.
pub const METADATA_MAX_CHARS: usize = 4_096;
/// Longest description of an invoice (BOLT 11: 639 bytes).
const DESCRIPTION_MAX_BYTES: usize = 639;
/// Longest invoice text that is looked at.
const INVOICE_MAX_BYTES: usize = 8_192;

pub(super) fn amount(msat: u64) -> Result<Msat, Refusal> {
    Msat::new(msat).map_err(|error| other(format!("params: {error}")))
}

pub(super) fn hex(name: &str, text: &str) -> Result<Hex32, Refusal> {
    Hex32::parse(&text.to_ascii_lowercase()).map_err(|_| other(format!("params: {name} must be 64 hex digits")))
}

/// A hash that may be missing; some clients write an empty text for none.
pub(super) fn optional_hex(name: &str, text: Option<&str>) -> Result<Option<Hex32>, Refusal> {
    text.filter(|text| !text.is_empty()).map(|text| hex(name, text)).transpose()
}

/// The words never repeat what was sent: it may be a secret that is nearly right.
pub(super) fn preimage(text: &str) -> Result<Preimage, Refusal> {
    hex("preimage", text).map(|bytes| Preimage(bytes.0))
}

/// A description as it fits into an invoice; an empty one is none.
pub(super) fn description(text: Option<String>) -> Result<Option<String>, Refusal> {
    if text.as_ref().is_some_and(|text| text.len() > DESCRIPTION_MAX_BYTES) {
        return Err(other("params: description is longer than 639 bytes, the most that an invoice can carry"));
    }
    Ok(text.filter(|text| !text.is_empty()))
}

/// An invoice as wallets paste it: with spaces around it and `lightning:` before it.
pub(super) fn strip(invoice: &str) -> Result<String, Refusal> {
    let invoice = invoice.trim();
    let bare = match invoice.get(..10) {
        Some(scheme) if scheme.eq_ignore_ascii_case("lightning:") => &invoice[10..],
        _ => invoice,
    };
    match bare.len() {
        0 => Err(other("params: the invoice is empty")),
        1..=INVOICE_MAX_BYTES => Ok(bare.to_owned()),
        _ => Err(other(format!("params: the invoice is longer than {INVOICE_MAX_BYTES} bytes"))),
    }
}

/// A JSON object as text; `None` where it is missing or too long to be kept.
pub(super) fn metadata(raw: Option<Box<RawValue>>) -> Result<Option<String>, Refusal> {
    let Some(raw) = raw else { return Ok(None) };
    let text = raw.get();
    if !text.starts_with('{') {
        return Err(other("params: metadata must be an object"));
    }
    Ok((text.chars().count() <= METADATA_MAX_CHARS).then(|| text.to_owned()))
}
