//! The transaction object of NIP-47, as it stands in `make_invoice`, `lookup_invoice`, `list_transactions` and notifications.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::base::amount::Msat;
use crate::base::hex32::{Hex32, PaymentHash};

/// A transaction. Keys without a value are left out; old clients need `amount`, `fees_paid` and `created_at` always.
#[derive(Serialize, Clone, Debug)]
pub struct TransactionJson {
    /// `incoming` or `outgoing`.
    #[serde(rename = "type")]
    pub direction: &'static str,
    /// `pending`, `settled`, `accepted`, `expired` or `failed`.
    pub state: &'static str,
    /// BOLT 11.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Hash of a longer description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description_hash: Option<Hex32>,
    /// Proof of payment, for whom it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preimage: Option<String>,
    /// Its name.
    pub payment_hash: PaymentHash,
    /// In msat.
    pub amount: Msat,
    /// In msat.
    pub fees_paid: Msat,
    /// Unix seconds.
    pub created_at: u64,
    /// Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<u64>,
    /// What the client attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
}
