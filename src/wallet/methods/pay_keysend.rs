//! `pay_keysend` (extension 04): pays a node without an invoice. Without a preimage of the client's, it follows from the request,
//! so that the same request is the same payment.

use super::Errand;
use crate::wallet::money::types::{PayTarget, TlvRecord};
use crate::wallet::wire::request::Keysend;

/// What is to be paid.
pub fn errand(pay: Keysend) -> Errand {
    let records = pay.records.into_iter().map(|record| TlvRecord { kind: record.kind, value: record.value }).collect();
    let target = PayTarget::Keysend { payee: pay.payee, amount: pay.amount_msat, preimage: pay.preimage, records };
    Errand { target, metadata: pay.metadata }
}
