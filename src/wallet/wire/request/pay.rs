//! Parameters of the methods that pay.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fields::{amount, metadata, preimage, strip};
use super::other;
use crate::base::amount::Msat;
use crate::wallet::terms::{Preimage, Refusal};

/// Most payments in one `multi_*` request: each is a payment of its own, with an answer of its own.
pub const MULTI_ITEMS_MAX: usize = 100;
/// Longest name of an item.
const ITEM_ID_MAX_CHARS: usize = 256;
/// A node's key, compressed, in hex.
const NODE_KEY_CHARS: usize = 66;
/// Most records of one keysend, and the most bytes of all their values: an onion holds 1,300 bytes in all.
const TLV_RECORDS_MAX: usize = 32;
const TLV_BYTES_MAX: usize = 768;
/// Record types below this one belong to the protocol.
const TLV_TYPE_MIN: u64 = 65_536;
/// Longest payment instruction that is looked at.
const INSTRUCTION_MAX_BYTES: usize = 16_384;

/// What to pay.
#[derive(Debug, PartialEq, Eq)]
pub struct PayInvoice {
    /// BOLT 11, without `lightning:`.
    pub invoice: String,
    /// For an invoice without an amount; for one with, it must be the same.
    pub amount_msat: Option<Msat>,
    /// A JSON object as text.
    pub metadata: Option<String>,
}

/// A payment without an invoice.
#[derive(Debug, PartialEq, Eq)]
pub struct Keysend {
    /// The node's public key: 66 lower-case hex digits.
    pub payee: String,
    /// Above zero.
    pub amount_msat: Msat,
    /// Chosen by the client; else it follows from the request.
    pub preimage: Option<Preimage>,
    /// What the payee gets beside the money.
    pub records: Vec<Tlv>,
    /// A JSON object as text.
    pub metadata: Option<String>,
}

/// A record for the payee.
#[derive(Debug, PartialEq, Eq)]
pub struct Tlv {
    /// Its type, 65,536 or more.
    pub kind: u64,
    /// Its value.
    pub value: Vec<u8>,
}

/// One payment of several.
#[derive(Debug, PartialEq, Eq)]
pub struct Item<T> {
    /// Its name, where the client gave one.
    pub id: Option<String>,
    /// What the answer is called where it has no name: the payee, for a keysend.
    pub payee: Option<String>,
    /// The payment, or why it could not be read: the others are made nevertheless.
    pub pay: Result<T, Refusal>,
}

/// `pay` (extension 321).
#[derive(Debug, PartialEq, Eq)]
pub struct Pay {
    /// A BIP 321 URI, or what wallets paste: `lightning:` and an invoice, or an invoice.
    pub payment: String,
    /// For an instruction without an amount; for one with, it must be the same.
    pub amount_msat: Option<Msat>,
    /// Most that it may cost on top.
    pub fee_max: Option<Msat>,
    /// A JSON object as text.
    pub metadata: Option<String>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawPay {
    id: Option<String>,
    invoice: Option<String>,
    amount: Option<u64>,
    metadata: Option<Box<RawValue>>,
}

impl RawPay {
    pub(super) fn check(self) -> Result<PayInvoice, Refusal> {
        let invoice = self.invoice.ok_or_else(|| other("params: pay_invoice needs an invoice"))?;
        Ok(PayInvoice {
            invoice: strip(&invoice)?,
            amount_msat: self.amount.map(amount).transpose()?,
            metadata: metadata(self.metadata)?,
        })
    }
}

#[derive(Deserialize, Default)]
pub(super) struct RawKeysend {
    id: Option<String>,
    amount: Option<u64>,
    pubkey: Option<String>,
    preimage: Option<String>,
    tlv_records: Option<Vec<RawTlv>>,
    metadata: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct RawTlv {
    #[serde(rename = "type")]
    kind: u64,
    value: String,
}

impl RawKeysend {
    pub(super) fn check(self) -> Result<Keysend, Refusal> {
        let payee = node_key(self.pubkey.ok_or_else(|| other("params: pay_keysend needs a pubkey"))?)?;
        let needs = "params: pay_keysend needs an amount in msat above zero";
        let amount_msat = amount(self.amount.filter(|msat| *msat > 0).ok_or_else(|| other(needs))?)?;
        let preimage = self.preimage.filter(|text| !text.is_empty()).map(|text| preimage(&text)).transpose()?;
        let records = records(self.tlv_records.unwrap_or_default())?;
        Ok(Keysend { payee, amount_msat, preimage, records, metadata: metadata(self.metadata)? })
    }
}

fn node_key(text: String) -> Result<String, Refusal> {
    let key = text.to_ascii_lowercase();
    let is_key = key.len() == NODE_KEY_CHARS
        && (key.starts_with("02") || key.starts_with("03"))
        && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_key { Ok(key) } else { Err(other("params: pubkey must be the key of a node: 66 hex digits, 02 or 03 first")) }
}

fn records(raw: Vec<RawTlv>) -> Result<Vec<Tlv>, Refusal> {
    let too_much = || other(format!("params: at most {TLV_RECORDS_MAX} tlv_records of {TLV_BYTES_MAX} bytes together fit"));
    if raw.len() > TLV_RECORDS_MAX {
        return Err(too_much());
    }
    let mut records = Vec::with_capacity(raw.len());
    let mut bytes = 0;
    for RawTlv { kind, value } in raw {
        if kind < TLV_TYPE_MIN {
            return Err(other(format!("params: the type of a tlv record must be {TLV_TYPE_MIN} or more")));
        }
        let value = bytes_of(&value).ok_or_else(|| other("params: the value of a tlv record must be hex digits, two a byte"))?;
        bytes += value.len();
        records.push(Tlv { kind, value });
    }
    records.sort_by_key(|record| record.kind);
    if records.windows(2).any(|pair| pair[0].kind == pair[1].kind) {
        return Err(other("params: two tlv_records have the same type"));
    }
    if bytes > TLV_BYTES_MAX { Err(too_much()) } else { Ok(records) }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) {
        return None;
    }
    let mut bytes = vec![0; hex.len() / 2];
    crate::base::hex32::decode_lower(hex.to_ascii_lowercase().as_bytes(), &mut bytes)?;
    Some(bytes)
}

#[derive(Deserialize, Default)]
pub(super) struct RawInvoices {
    #[serde(default)]
    invoices: Vec<Box<RawValue>>,
}

impl RawInvoices {
    pub(super) fn check(self) -> Result<Vec<Item<PayInvoice>>, Refusal> {
        items("multi_pay_invoice", "invoices", self.invoices, |raw: &mut RawPay| (raw.id.take(), None), RawPay::check)
    }
}

#[derive(Deserialize, Default)]
pub(super) struct RawKeysends {
    #[serde(default)]
    keysends: Vec<Box<RawValue>>,
}

impl RawKeysends {
    pub(super) fn check(self) -> Result<Vec<Item<Keysend>>, Refusal> {
        let names = |raw: &mut RawKeysend| (raw.id.take(), raw.pubkey.clone());
        items("multi_pay_keysend", "keysends", self.keysends, names, RawKeysend::check)
    }
}

type Names = (Option<String>, Option<String>);

/// Each item is read by itself: one that cannot be read is answered by itself.
fn items<R: serde::de::DeserializeOwned, T>(
    method: &str,
    list: &str,
    raw: Vec<Box<RawValue>>,
    names: impl Fn(&mut R) -> Names,
    check: impl Fn(R) -> Result<T, Refusal>,
) -> Result<Vec<Item<T>>, Refusal> {
    match raw.len() {
        0 => return Err(other(format!("params: {method} needs {list}, at least one of them"))),
        1..=MULTI_ITEMS_MAX => {}
        count => return Err(other(format!("params: {count} {list}, at most {MULTI_ITEMS_MAX} are paid by one request"))),
    }
    let short = |text: String| text.chars().take(ITEM_ID_MAX_CHARS).collect::<String>();
    let items = raw.iter().map(|raw| match serde_json::from_str::<R>(raw.get()) {
        Ok(mut raw) => {
            let (id, payee) = names(&mut raw);
            Item { id: id.filter(|id| !id.is_empty()).map(short), payee: payee.map(short), pay: check(raw) }
        }
        Err(error) => {
            let words = format!("params: {}", crate::protocol::json::error_words(&error));
            Item { id: None, payee: None, pay: Err(other(words)) }
        }
    });
    Ok(items.collect())
}

#[derive(Deserialize, Default)]
pub(super) struct RawPay321 {
    payment: Option<String>,
    amount: Option<u64>,
    max_fee: Option<u64>,
    payer_note: Option<String>,
    metadata: Option<Box<RawValue>>,
}

impl RawPay321 {
    pub(super) fn check(self) -> Result<Pay, Refusal> {
        let payment = self.payment.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let payment = payment.ok_or_else(|| other("params: pay needs a payment: a BIP 321 URI"))?;
        if payment.len() > INSTRUCTION_MAX_BYTES {
            return Err(other(format!("params: the payment is longer than {INSTRUCTION_MAX_BYTES} bytes")));
        }
        if self.payer_note.is_some_and(|note| !note.is_empty()) {
            return Err(other("params: a BOLT11 invoice cannot carry a payer_note; nothing was paid"));
        }
        Ok(Pay {
            payment,
            amount_msat: self.amount.map(amount).transpose()?,
            fee_max: self.max_fee.map(amount).transpose()?,
            metadata: metadata(self.metadata)?,
        })
    }
}
