//! `make_hold_invoice` (extension 03): an invoice whose money waits until the client settles or cancels it. Only the connection that
//! made it can do either, and it is never settled by itself.

use super::make_invoice;
use crate::wallet::money::types::{HoldTerms, InvoiceOrder, RequestRef};
use crate::wallet::wire::request::MakeHoldInvoice;

/// The order.
pub fn order(request: RequestRef, make: MakeHoldInvoice) -> InvoiceOrder {
    let hold = HoldTerms { hash: make.payment_hash, min_cltv_expiry_delta: make.min_cltv_expiry_delta };
    InvoiceOrder { hold: Some(hold), ..make_invoice::order(request, make.invoice) }
}
