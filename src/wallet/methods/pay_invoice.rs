//! `pay_invoice`: pays from the connection's account, at most once for a request and a payment hash.

use serde::Serialize;

use super::Errand;
use crate::base::amount::Msat;
use crate::wallet::money::types::PayTarget;
use crate::wallet::terms::Preimage;
use crate::wallet::wire::request::PayInvoice;

/// The result of a payment, by invoice or without.
#[derive(Serialize, Debug)]
pub struct Paid {
    preimage: String,
    fees_paid: Msat,
}

impl Paid {
    /// The result, for the one connection that paid.
    pub fn new(preimage: Preimage, fees_paid: Msat) -> Self {
        Self { preimage: preimage.to_hex(), fees_paid }
    }
}

/// What is to be paid.
pub fn errand(pay: PayInvoice) -> Errand {
    Errand { target: PayTarget::Invoice { bolt11: pay.invoice, amount: pay.amount_msat }, metadata: pay.metadata }
}
