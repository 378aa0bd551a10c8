//! Parameters of the methods by which money comes in.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fields::{amount, description, hex, metadata, optional_hex, preimage};
use super::other;
use crate::base::amount::Msat;
use crate::base::hex32::{Hex32, PaymentHash};
use crate::wallet::terms::{Preimage, Refusal};

/// What to ask for.
#[derive(Debug, PartialEq, Eq)]
pub struct MakeInvoice {
    /// 0: the payer decides.
    pub amount_msat: Msat,
    /// What the payer reads.
    pub description: Option<String>,
    /// Hash of a longer description.
    pub description_hash: Option<Hex32>,
    /// Seconds until it can no longer be paid.
    pub expiry_s: Option<u64>,
    /// A JSON object as text.
    pub metadata: Option<String>,
}

/// An invoice whose payment waits for a decision.
#[derive(Debug, PartialEq, Eq)]
pub struct MakeHoldInvoice {
    /// All that every invoice has.
    pub invoice: MakeInvoice,
    /// SHA-256 of a preimage that only the client knows.
    pub payment_hash: PaymentHash,
    /// Blocks that the last hop must leave.
    pub min_cltv_expiry_delta: Option<u32>,
}

/// A payment to be taken.
#[derive(Debug, PartialEq, Eq)]
pub struct SettleHold {
    /// Proves that it may be.
    pub preimage: Preimage,
}

/// A payment to be sent back.
#[derive(Debug, PartialEq, Eq)]
pub struct CancelHold {
    /// Names it.
    pub payment_hash: PaymentHash,
}

/// What to ask for by a BIP 321 URI.
#[derive(Debug, PartialEq, Eq)]
pub struct Receive {
    /// `None`: the payer decides.
    pub amount_msat: Option<Msat>,
    /// What the payer reads.
    pub description: Option<String>,
    /// A JSON object as text.
    pub metadata: Option<String>,
}

#[derive(Deserialize, Default)]
pub(super) struct RawMake {
    amount: Option<u64>,
    description: Option<String>,
    description_hash: Option<String>,
    expiry: Option<u64>,
    metadata: Option<Box<RawValue>>,
}

impl RawMake {
    pub(super) fn check(self) -> Result<MakeInvoice, Refusal> {
        let amount_msat = amount(self.amount.ok_or_else(|| other("params: make_invoice needs an amount in msat"))?)?;
        Ok(MakeInvoice {
            amount_msat,
            description: description(self.description)?,
            description_hash: optional_hex("description_hash", self.description_hash.as_deref())?,
            expiry_s: self.expiry.filter(|seconds| *seconds > 0),
            metadata: metadata(self.metadata)?,
        })
    }
}

#[derive(Deserialize, Default)]
pub(super) struct RawMakeHold {
    amount: Option<u64>,
    description: Option<String>,
    description_hash: Option<String>,
    expiry: Option<u64>,
    metadata: Option<Box<RawValue>>,
    payment_hash: Option<String>,
    /// The `nwc` crate leaves out the first word.
    #[serde(alias = "cltv_expiry_delta")]
    min_cltv_expiry_delta: Option<u32>,
}

impl RawMakeHold {
    pub(super) fn check(self) -> Result<MakeHoldInvoice, Refusal> {
        let needs = "params: make_hold_invoice needs an amount in msat above zero";
        let amount_msat = self.amount.filter(|msat| *msat > 0).ok_or_else(|| other(needs))?;
        let payment_hash = self.payment_hash.ok_or_else(|| other("params: make_hold_invoice needs a payment_hash"))?;
        let Self { description, description_hash, expiry, metadata, .. } = self;
        let invoice = RawMake { amount: Some(amount_msat), description, description_hash, expiry, metadata }.check()?;
        let payment_hash = hex("payment_hash", &payment_hash)?;
        let min_cltv_expiry_delta = self.min_cltv_expiry_delta.filter(|blocks| *blocks > 0);
        Ok(MakeHoldInvoice { invoice, payment_hash, min_cltv_expiry_delta })
    }
}

#[derive(Deserialize, Default)]
pub(super) struct RawSettle {
    preimage: Option<String>,
}

impl RawSettle {
    pub(super) fn check(self) -> Result<SettleHold, Refusal> {
        let text = self.preimage.ok_or_else(|| other("params: settle_hold_invoice needs a preimage"))?;
        preimage(&text).map(|preimage| SettleHold { preimage })
    }
}

#[derive(Deserialize, Default)]
pub(super) struct RawCancel {
    payment_hash: Option<String>,
}

impl RawCancel {
    pub(super) fn check(self) -> Result<CancelHold, Refusal> {
        let text = self.payment_hash.ok_or_else(|| other("params: cancel_hold_invoice needs a payment_hash"))?;
        hex("payment_hash", &text).map(|payment_hash| CancelHold { payment_hash })
    }
}

#[derive(Deserialize, Default)]
pub(super) struct RawReceive {
    amount: Option<u64>,
    description: Option<String>,
    metadata: Option<Box<RawValue>>,
}

impl RawReceive {
    pub(super) fn check(self) -> Result<Receive, Refusal> {
        let amount_msat = match self.amount {
            Some(0) => return Err(other("params: amount must be above zero; leave it out to let the payer decide")),
            given => given.map(amount).transpose()?,
        };
        Ok(Receive { amount_msat, description: description(self.description)?, metadata: metadata(self.metadata)? })
    }
}
