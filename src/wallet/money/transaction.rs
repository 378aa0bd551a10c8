//! From rows of the journal to transactions, as a viewer may see them.

use super::payment::{InvoiceRow, PaymentRow, Standing};
use super::record::Ending;
use super::types::{Direction, Transaction, TransactionState, Viewer};
use crate::base::amount::Msat;

/// An invoice made here.
pub(super) fn incoming(row: &InvoiceRow, _viewer: Viewer, now_s: u64) -> Transaction {
    let invoice = &row.invoice;
    let (state, amount, settled_at_ms, preimage, failure) = match &row.standing {
        Standing::Open if invoice.expires_at_s <= now_s => (TransactionState::Expired, None, None, None, None),
        Standing::Open => (TransactionState::Pending, None, None, None, None),
        Standing::Held { amount, .. } => (TransactionState::Accepted, Some(*amount), None, None, None),
        // Shown once it has been sold: before, it would let anybody claim to have paid.
        Standing::Paid { at_ms, amount, preimage, .. } => {
            (TransactionState::Settled, Some(*amount), Some(*at_ms), invoice.preimage.or(*preimage), None)
        }
        Standing::Canceled { reason } => (TransactionState::Failed, None, None, None, Some(reason.clone())),
    };
    Transaction {
        seq: row.seq,
        direction: Direction::Incoming,
        state,
        account: invoice.account,
        connection: invoice.request.connection,
        invoice: Some(invoice.bolt11.clone()),
        description: invoice.description.clone(),
        description_hash: invoice.description_hash,
        preimage,
        payment_hash: invoice.hash,
        amount: amount.or(invoice.amount).unwrap_or(Msat::ZERO),
        fees_paid: Msat::ZERO,
        created_at_s: row.at_ms / 1_000,
        expires_at_s: Some(invoice.expires_at_s),
        settled_at_s: settled_at_ms.map(|at_ms| at_ms / 1_000),
        metadata: invoice.metadata.clone(),
        failure,
    }
}

/// A payment. Its preimage is for the connection that paid, and for the owner.
pub(super) fn outgoing(row: &PaymentRow, viewer: Viewer) -> Transaction {
    let intent = &row.intent;
    let paid_by_viewer = match viewer {
        Viewer::Connection(id) => id == intent.request.connection,
        Viewer::Account(_) | Viewer::Owner => true,
    };
    let done_at_s = row.done.as_ref().map(|(at_ms, _)| at_ms / 1_000);
    let (state, preimage, fees_paid, failure) = match row.ending() {
        None => (TransactionState::Pending, None, Msat::ZERO, None),
        Some(Ending::Settled { preimage, fee }) => (TransactionState::Settled, paid_by_viewer.then_some(*preimage), *fee, None),
        Some(Ending::Failed { reason }) => (TransactionState::Failed, None, Msat::ZERO, Some(reason.clone())),
    };
    Transaction {
        seq: row.seq,
        direction: Direction::Outgoing,
        state,
        account: intent.account,
        connection: intent.request.connection,
        invoice: intent.bolt11().map(str::to_owned),
        description: intent.description.clone(),
        description_hash: intent.description_hash,
        preimage,
        payment_hash: intent.hash,
        amount: intent.amount,
        fees_paid,
        created_at_s: row.at_ms / 1_000,
        expires_at_s: intent.bolt11().map(|_| intent.invoice_expires_at_s),
        settled_at_s: done_at_s.filter(|_| state == TransactionState::Settled),
        metadata: intent.metadata.clone(),
        failure,
    }
}
