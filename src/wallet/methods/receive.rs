//! `receive` (extension 321): a BIP 321 URI that pays into the connection's account. It holds one instruction, a BOLT 11 invoice.

use serde::Serialize;

use crate::base::hex32::PaymentHash;
use crate::wallet::money::types::{InvoiceOrder, RequestRef, Transaction};
use crate::wallet::wire::instruction::uri_for;
use crate::wallet::wire::request::Receive;

/// The result.
#[derive(Serialize, Debug)]
pub struct Uri {
    bip321: String,
    transaction_id: PaymentHash,
}

/// The order.
pub fn order(request: RequestRef, receive: Receive) -> InvoiceOrder {
    InvoiceOrder {
        request,
        amount: receive.amount_msat,
        description: receive.description,
        description_hash: None,
        expiry_s: None,
        hold: None,
        metadata: receive.metadata,
    }
}

/// The URI around the invoice that was made.
pub fn uri(made: &Transaction) -> Uri {
    Uri { bip321: uri_for(made.invoice.as_deref().unwrap_or_default()), transaction_id: made.payment_hash }
}
