//! Payments in: invoices made, held payments taken or given back.

use std::time::Duration;

use tonic::Status;

use super::client::{Client, explain};
use super::messages::{
    ADD_HOLD_INVOICE, ADD_INVOICE, AddHoldInvoiceRequest, AddHoldInvoiceResponse, AddInvoiceResponse, CANCEL_INVOICE,
    CancelInvoiceRequest, Empty, Invoice, InvoiceState, LOOKUP_INVOICE, PaymentHashRequest, SETTLE_INVOICE, SettleInvoiceRequest,
};
use super::send;
use crate::base::amount::Msat;
use crate::base::hex32::{Hex32, PaymentHash};
use crate::wallet::backend::bolt11::decode;
use crate::wallet::backend::{BackendError, Incoming, IncomingState, MadeInvoice, Network, NewHoldInvoice, NewInvoice};
use crate::wallet::terms::Preimage;

/// State of a part of a payment that is held.
const HELD: i32 = 0;

/// How calls are made.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) within: Duration,
    pub(super) network: Network,
    /// With hints to private channels.
    pub(super) hints: bool,
}

pub(super) async fn make(client: &Client, terms: Terms, order: NewInvoice) -> Result<MadeInvoice, BackendError> {
    let hash = order.preimage.hash();
    let request = Invoice {
        memo: memo(&order.description, order.description_hash),
        r_preimage: order.preimage.0.to_vec(),
        description_hash: bytes(order.description_hash),
        value_msat: value(order.amount)?,
        expiry: seconds(order.expiry_s),
        private: terms.hints,
        ..Invoice::default()
    };
    let text = match client.call::<_, AddInvoiceResponse>(ADD_INVOICE, request, terms.within).await {
        Ok(made) => made.payment_request,
        Err(status) => of_before(client, terms, hash, status).await?,
    };
    check(&text, hash, order.amount, terms.network)
}

pub(super) async fn make_hold(client: &Client, terms: Terms, order: NewHoldInvoice) -> Result<MadeInvoice, BackendError> {
    let request = AddHoldInvoiceRequest {
        memo: memo(&order.description, order.description_hash),
        hash: order.hash.0.to_vec(),
        description_hash: bytes(order.description_hash),
        value_msat: value(order.amount)?,
        expiry: seconds(order.expiry_s),
        cltv_expiry: order.min_cltv_expiry_delta.unwrap_or(0).into(),
        private: terms.hints,
    };
    let text = match client.call::<_, AddHoldInvoiceResponse>(ADD_HOLD_INVOICE, request, terms.within).await {
        Ok(made) => made.payment_request,
        Err(status) => of_before(client, terms, order.hash, status).await?,
    };
    check(&text, order.hash, order.amount, terms.network)
}

/// The text of an invoice that LND has made for this hash already; the error, where it has not.
async fn of_before(client: &Client, terms: Terms, hash: PaymentHash, status: Status) -> Result<String, BackendError> {
    if !status.message().contains("already exists") {
        return Err(failed("made no invoice", &status));
    }
    let question = PaymentHashRequest { r_hash: hash.0.to_vec() };
    let found = client.call::<_, Invoice>(LOOKUP_INVOICE, question, terms.within).await;
    found.map(|invoice| invoice.payment_request).map_err(|status| failed("made no invoice", &status))
}

/// An invoice is given to a payer only if it is the one that was asked for.
fn check(text: &str, hash: PaymentHash, amount: Option<Msat>, network: Network) -> Result<MadeInvoice, BackendError> {
    let read = decode(text).map_err(|error| BackendError(format!("the Lightning node made an invoice that is none: {error}")))?;
    if (read.hash, read.amount, read.network) != (hash, amount, network) {
        return Err(BackendError("the Lightning node made another invoice than the one asked for; it is not used".to_owned()));
    }
    Ok(MadeInvoice { bolt11: read.bolt11, hash, expires_at_s: read.expires_at_s })
}

pub(super) async fn settle(client: &Client, within: Duration, preimage: Preimage) -> Result<(), BackendError> {
    let request = SettleInvoiceRequest { preimage: preimage.0.to_vec() };
    match client.call::<_, Empty>(SETTLE_INVOICE, request, within).await {
        Ok(Empty {}) => Ok(()),
        Err(status) if status.message().contains("already settled") => Ok(()),
        Err(status) => Err(failed("did not settle the invoice", &status)),
    }
}

pub(super) async fn cancel(client: &Client, within: Duration, hash: PaymentHash) -> Result<(), BackendError> {
    let request = CancelInvoiceRequest { payment_hash: hash.0.to_vec() };
    match client.call::<_, Empty>(CANCEL_INVOICE, request, within).await {
        Ok(Empty {}) => Ok(()),
        Err(status) if is_over(status.message()) => Ok(()),
        Err(status) => Err(failed("did not cancel the invoice", &status)),
    }
}

/// Cancelled before, or never heard of.
fn is_over(said: &str) -> bool {
    said.contains("already canceled") || said.contains("unable to locate invoice") || said.contains("no existing invoices")
}

fn failed(what: &str, status: &Status) -> BackendError {
    BackendError(format!("the Lightning node {what}: {}", explain(status)))
}

/// What LND says of an invoice, where it is something to report.
pub(super) fn report(invoice: &Invoice) -> Option<Incoming> {
    let hash = send::hash(&invoice.r_hash)?;
    match invoice.state() {
        InvoiceState::Settled => {
            let preimage = <[u8; 32]>::try_from(invoice.r_preimage.as_slice()).ok().map(Preimage);
            let amount = send::amount(invoice.amt_paid_msat)?;
            Some(Incoming { hash, amount, state: IncomingState::Settled { preimage } })
        }
        InvoiceState::Accepted => {
            let held = || invoice.htlcs.iter().filter(|htlc| htlc.state == HELD);
            let msat = held().try_fold(0_u64, |sum, htlc| sum.checked_add(htlc.amt_msat)).and_then(|sum| Msat::new(sum).ok());
            let settle_deadline = held().filter_map(|htlc| u32::try_from(htlc.expiry_height).ok()).min();
            Some(Incoming { hash, amount: msat?, state: IncomingState::Held { settle_deadline } })
        }
        InvoiceState::Canceled => Some(Incoming { hash, amount: Msat::ZERO, state: IncomingState::Canceled }),
        InvoiceState::Open => None,
    }
}

/// LND refuses an invoice with both.
fn memo(description: &str, hash: Option<Hex32>) -> String {
    if hash.is_some() { String::new() } else { description.to_owned() }
}

fn bytes(hash: Option<Hex32>) -> Vec<u8> {
    hash.map_or_else(Vec::new, |hash| hash.0.to_vec())
}

fn value(amount: Option<Msat>) -> Result<i64, BackendError> {
    i64::try_from(amount.map_or(0, Msat::get)).map_err(|_| BackendError("the amount is too large for LND".to_owned()))
}

fn seconds(expiry_s: u64) -> i64 {
    i64::try_from(expiry_s).unwrap_or(i64::MAX)
}
