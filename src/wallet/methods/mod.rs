//! One file a method: what it reads or orders, and what its result looks like. Permission and encryption are settled before.

pub mod cancel_hold_invoice;
pub mod create_connection;
pub mod get_balance;
pub mod get_budget;
pub mod get_info;
pub mod list_transactions;
pub mod lookup_invoice;
pub mod make_hold_invoice;
pub mod make_invoice;
pub mod multi_pay;
pub mod pay;
pub mod pay_invoice;
pub mod pay_keysend;
pub mod receive;
pub mod settle_hold_invoice;
pub mod sign_message;

use serde_json::value::RawValue;

use super::access::table::Hosted;
use super::backend::Capabilities;
use super::money::types::{PayTarget, Transaction, Viewer};
use super::money::{Money, ReadError};
use super::terms::{ErrorCode, Refusal, Scheme};
use super::wire::error::internal;
use super::wire::info_event::Offer;
use super::wire::method::{Method, MethodSet};
use super::wire::transaction::TransactionJson;

/// Who asks, and where the answer is.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// The money.
    pub money: &'a Money,
    /// The connection.
    pub asker: &'a Hosted,
    /// The scheme in which it asks.
    pub scheme: Scheme,
    /// What the connection can do now.
    pub offer: Offer,
}

/// What a request wants paid.
#[derive(Debug)]
pub struct Errand {
    /// What is to be paid.
    pub target: PayTarget,
    /// A JSON object as text.
    pub metadata: Option<String>,
}

/// The methods that a back end can do. All others are neither announced nor answered but by NOT_IMPLEMENTED.
pub fn able(capabilities: &Capabilities) -> MethodSet {
    let can = |method: &Method| match method {
        Method::MakeHoldInvoice | Method::SettleHoldInvoice | Method::CancelHoldInvoice => capabilities.hold_invoices,
        Method::PayKeysend | Method::MultiPayKeysend => capabilities.keysend,
        Method::SignMessage => capabilities.sign_message,
        _ => true,
    };
    Method::ALL.into_iter().filter(can).collect()
}

/// Whether the back end can do what is asked for.
pub fn check_able(able: MethodSet, method: Method) -> Result<(), Refusal> {
    if able.has(method) {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::NotImplemented, format!("the wallet behind this hearth cannot do {method}")))
}

impl Desk<'_> {
    /// Whose eyes the answer is for.
    pub fn viewer(&self) -> Viewer {
        Viewer::Connection(self.asker.id)
    }
}

/// A transaction as NIP-47 writes it.
pub fn transaction_json(transaction: Transaction) -> TransactionJson {
    TransactionJson {
        direction: transaction.direction.as_str(),
        state: transaction.state.as_str(),
        invoice: transaction.invoice,
        description: transaction.description,
        description_hash: transaction.description_hash,
        preimage: transaction.preimage.map(|preimage| preimage.to_hex()),
        payment_hash: transaction.payment_hash,
        amount: transaction.amount,
        fees_paid: transaction.fees_paid,
        created_at: transaction.created_at_s,
        expires_at: transaction.expires_at_s,
        settled_at: transaction.settled_at_s,
        metadata: transaction.metadata.and_then(|text| RawValue::from_string(text).ok()),
    }
}

/// A read that failed is our fault; the cause is for the log.
fn unreadable(error: &ReadError) -> Refusal {
    tracing::error!(%error, "the wallet's database could not be read");
    internal()
}
