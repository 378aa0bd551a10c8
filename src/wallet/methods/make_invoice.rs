//! `make_invoice`: an invoice that pays into the connection's account.

use crate::base::amount::Msat;
use crate::wallet::money::types::{InvoiceOrder, RequestRef};
use crate::wallet::wire::request::MakeInvoice;

/// The order. An amount of 0 leaves the amount to the payer.
pub fn order(request: RequestRef, make: MakeInvoice) -> InvoiceOrder {
    InvoiceOrder {
        request,
        amount: Some(make.amount_msat).filter(|amount| *amount > Msat::ZERO),
        description: make.description,
        description_hash: make.description_hash,
        expiry_s: make.expiry_s,
        hold: None,
        metadata: make.metadata,
    }
}
