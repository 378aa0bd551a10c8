//! `make_invoice`: an invoice that pays into the connection's account.

use crate::base::amount::Msat;
use crate::wallet::money::Money;
use crate::wallet::money::types::{InvoiceOrder, On, RequestRef, Transaction};
use crate::wallet::terms::Refusal;
use crate::wallet::wire::request::MakeInvoice;

/// Orders it; `on` is called when it is durable. An amount of 0 leaves the amount to the payer.
pub fn run(money: &Money, request: RequestRef, make: MakeInvoice, on: On<Result<Transaction, Refusal>>) {
    let order = InvoiceOrder {
        request,
        amount: Some(make.amount_msat).filter(|amount| *amount > Msat::ZERO),
        description: make.description,
        description_hash: make.description_hash,
        expiry_s: make.expiry_s,
        hold: None,
        metadata: make.metadata,
    };
    money.make_invoice(order, on);
}
