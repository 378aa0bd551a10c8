//! `pay_invoice`: pays from the connection's account, at most once for a request and a payment hash.

use serde::Serialize;

use crate::base::amount::Msat;
use crate::wallet::money::Money;
use crate::wallet::money::types::{On, PayOrder, PayReply, PayTarget, RequestRef};
use crate::wallet::terms::Preimage;
use crate::wallet::wire::request::PayInvoice;

/// The result of a payment.
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

/// Orders it; `on` is called when the request is durable or refused, the answer comes when the payment is done.
pub fn run(money: &Money, request: RequestRef, pay: PayInvoice, expires_at_s: u64, on: On<PayReply>) {
    let order = PayOrder {
        request,
        target: PayTarget::Invoice { bolt11: pay.invoice, amount: pay.amount_msat },
        expires_at_s: Some(expires_at_s),
        metadata: pay.metadata,
    };
    money.pay(order, on);
}
