//! May this be paid? The rules in their order; each refusal says what was needed and what there is.
//!
//! Two kinds of no: one that is the answer to this request for ever, and one about this moment, which leaves no trace.

use sha2::{Digest, Sha256};

use super::super::record::{Ending, Intent, Payee};
use super::super::types::{
    AccountId, ConnectionId, ErrorCode, METADATA_CHARS_MAX, Outcome, PayOrder, PayTarget, Preimage, Refusal,
};
use super::{Bill, InvoiceRow, Rows, RowsError, Standing, State};
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;
use crate::wallet::backend::SendTarget;
use crate::wallet::backend::bolt11::Decoded;

/// What is to be done with an order.
pub(super) enum Judgement {
    /// Pay an account of this hearth.
    Inside { intent: Box<Intent>, preimage: Preimage, payee: Payee },
    /// Hold it for the maker of a hold invoice of this hearth.
    Held { intent: Box<Intent>, payee: Payee, expires_at_s: u64 },
    /// Hand it to the back end.
    Outside(Box<Intent>),
    /// Wait for the payment of that hash which is under way.
    Attach(PaymentHash),
    /// Answered at once and for ever.
    Answer(Outcome),
    /// Refused for now, without a trace.
    NotNow(Refusal),
}

impl Judgement {
    pub(super) fn no(code: ErrorCode, message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self::Answer(Outcome::Refused(Refusal::new(code, message)))
    }
}

/// Judges an order of a connection that may pay. `Err` only where the journal could not be read.
pub(super) fn judge(
    state: &State,
    rows: &dyn Rows,
    order: PayOrder,
    bill: Result<Bill, Refusal>,
    ready: Result<(), String>,
    now_ms: u64,
) -> Result<Judgement, RowsError> {
    match bill {
        Ok(Bill::Invoice(invoice)) => judge_invoice(state, rows, order, *invoice, ready, now_ms),
        Ok(Bill::Keysend(preimage)) => super::keysend::judge(state, rows, order, preimage, ready, now_ms),
        Err(refusal) => Ok(Judgement::Answer(Outcome::Refused(refusal))),
    }
}

fn judge_invoice(
    state: &State,
    rows: &dyn Rows,
    order: PayOrder,
    invoice: Decoded,
    ready: Result<(), String>,
    now_ms: u64,
) -> Result<Judgement, RowsError> {
    let id = order.request.connection;
    if let Some(seen) = same_hash(state, rows, &invoice.hash, id, &|intent| intent.bolt11().is_some())? {
        return Ok(seen);
    }
    let amount = match check_invoice(state, &order, &invoice, now_ms) {
        Ok(amount) => amount,
        Err(no) => return Ok(no),
    };
    let made_here = match made_here(state, rows, &invoice)? {
        Ok(made_here) => made_here,
        Err(no) => return Ok(no),
    };
    let fee_max = if made_here.is_some() { Msat::ZERO } else { state.limits.fee_reserve(amount) };
    if let Some(no) = cannot_afford(state, id, amount, fee_max, now_ms) {
        return Ok(no);
    }
    // What is settled at once needs no slot and no back end; what waits inside needs a slot.
    let ready = match &made_here {
        Some(MadeHere { preimage: Some(_), .. }) => None,
        Some(_) => Some(Ok(())),
        None => Some(ready),
    };
    if let Some(no) = ready.and_then(|ready| not_now(state, id, ready)) {
        return Ok(no);
    }
    let expires_at_s = invoice.expires_at_s;
    let intent = Box::new(intent(state, order, invoice, amount, fee_max));
    Ok(match made_here {
        Some(MadeHere { preimage: Some(preimage), payee }) => Judgement::Inside { intent, preimage, payee },
        Some(MadeHere { preimage: None, payee }) => Judgement::Held { intent, payee, expires_at_s },
        None => Judgement::Outside(intent),
    })
}

/// A payment of this hash that is under way or settled. One that failed for certain may be tried again. `is_same` says whether
/// it is the payment that is asked for now: one preimage does for one payment only.
pub(super) fn same_hash(
    state: &State,
    rows: &dyn Rows,
    hash: &PaymentHash,
    connection: ConnectionId,
    is_same: &dyn Fn(&Intent) -> bool,
) -> Result<Option<Judgement>, RowsError> {
    let other = || Judgement::no(ErrorCode::Other, "another payment with this payment hash was ordered before; nothing was paid");
    if let Some(open) = state.open.get(hash) {
        if open.intent.request.connection == connection && !is_same(&open.intent) {
            return Ok(Some(other()));
        }
        return Ok(Some(if open.intent.request.connection != connection {
            Judgement::no(ErrorCode::Other, "this invoice is being paid by another connection of this wallet")
        } else if open.waiting.len() >= state.limits.waiting_max {
            Judgement::NotNow(Refusal::new(ErrorCode::RateLimited, "too many requests wait for this payment already"))
        } else {
            Judgement::Attach(*hash)
        }));
    }
    let Some(row) = rows.payment(hash)? else { return Ok(None) };
    let Some(Ending::Settled { preimage, fee }) = row.ending() else { return Ok(None) };
    Ok(Some(if row.intent.request.connection == connection && !is_same(&row.intent) {
        other()
    } else if row.intent.request.connection == connection {
        Judgement::Answer(Outcome::Paid { preimage: *preimage, amount: row.intent.amount, fee: *fee })
    } else {
        Judgement::no(ErrorCode::Other, "this invoice was paid already, by another connection of this wallet")
    }))
}

/// Network, amount, per-payment maximum, expiry. The amount that comes out is the one that is held, counted and sent.
fn check_invoice(state: &State, order: &PayOrder, invoice: &Decoded, now_ms: u64) -> Result<Msat, Judgement> {
    let given = match &order.target {
        PayTarget::Invoice { amount, .. } => *amount,
        PayTarget::Keysend { .. } => None,
    };
    if invoice.network != state.network {
        let words = format!("the invoice is for {}, this wallet is on {}", invoice.network.as_str(), state.network.as_str());
        return Err(Judgement::no(ErrorCode::Other, words));
    }
    let amount = match (invoice.amount, given) {
        #[cfg(test)]
        (Some(_), Some(given)) if state.has(super::super::planted::Bug::AmountOfRequest) => given,
        (Some(amount), Some(given)) if amount != given => {
            let words = format!("the invoice is for {amount}, the request says {given}; nothing was paid");
            return Err(Judgement::no(ErrorCode::Other, words));
        }
        (Some(amount), _) => amount,
        (None, Some(given)) if given > Msat::ZERO => given,
        (None, _) => {
            return Err(Judgement::no(ErrorCode::Other, "the invoice has no amount: the request must name one above zero"));
        }
    };
    if invoice.expires_at_s.saturating_mul(1_000) <= now_ms {
        let words = format!("the invoice expired {} s ago; ask for a new one", now_ms / 1_000 - invoice.expires_at_s);
        return Err(Judgement::no(ErrorCode::PaymentFailed, words));
    }
    match above_maximum(state, order.request.connection, amount) {
        Some(no) => Err(no),
        None => Ok(amount),
    }
}

/// Whether the amount is more than the connection may pay at once.
pub(super) fn above_maximum(state: &State, id: ConnectionId, amount: Msat) -> Option<Judgement> {
    let max = state.connections.get(&id)?.row.rules.payment_max.filter(|max| amount > *max)?;
    let words = format!("{amount} is above {max}, the most that this connection may pay at once");
    Some(Judgement::no(ErrorCode::QuotaExceeded, words))
}

/// An invoice of this hearth that can be paid now.
struct MadeHere {
    /// `None`: a hold invoice.
    preimage: Option<Preimage>,
    payee: Payee,
}

/// Whether the invoice is one of this hearth, and can be paid. A foreign invoice that borrows the hash of one of ours is refused.
fn made_here(state: &State, rows: &dyn Rows, invoice: &Decoded) -> Result<Result<Option<MadeHere>, Judgement>, RowsError> {
    let foreign = || Judgement::no(ErrorCode::PaymentFailed, "the invoice carries the payment hash of another one");
    if let Some(open) = state.invoices.get(&invoice.hash) {
        let digest: [u8; 32] = Sha256::digest(invoice.bolt11.as_bytes()).into();
        return Ok(if digest == open.text_digest {
            Ok(Some(MadeHere { preimage: open.preimage, payee: open.payee }))
        } else {
            Err(foreign())
        });
    }
    let Some(InvoiceRow { invoice: ours, standing, .. }) = rows.invoice(&invoice.hash)? else { return Ok(Ok(None)) };
    Ok(Err(if ours.bolt11 != invoice.bolt11 {
        foreign()
    } else if matches!(standing, Standing::Paid { .. } | Standing::Held { .. }) {
        Judgement::no(ErrorCode::PaymentFailed, "the invoice was paid already")
    } else {
        Judgement::no(ErrorCode::PaymentFailed, "the invoice can no longer be paid; ask for a new one")
    }))
}

/// Budget first, then balance. Both include what is held for payments under way.
pub(super) fn cannot_afford(state: &State, id: ConnectionId, amount: Msat, fee_max: Msat, now_ms: u64) -> Option<Judgement> {
    let Some(needed) = amount.checked_add(fee_max) else {
        return Some(Judgement::no(ErrorCode::Other, "the amount and its fee reserve are more than there will ever be"));
    };
    // Looked at and not turned: only records turn a period, so that reading them again gives the same.
    let connection = state.connections.get(&id)?;
    if let Some(view) = connection.spending.view(state.budget_ms(now_ms)).filter(|view| needed > view.left()) {
        let words = format!(
            "needed: {amount} and {fee_max} fee reserve; left of the {} budget: {} of {} ({} held for payments under way)",
            view.renewal.as_str(),
            view.left(),
            view.total,
            view.held
        );
        return Some(Judgement::no(ErrorCode::QuotaExceeded, words));
    }
    let account = connection.row.rules.account;
    if account == AccountId::MAIN && state.can.node_balance && state.node_balance.msat().is_none() {
        let words = "nothing was paid: what the node has is not known at the moment; try again in a minute";
        return Some(Judgement::NotNow(Refusal::new(ErrorCode::Internal, words)));
    }
    let spendable = state.spendable(account)?;
    if needed > spendable {
        let words = format!("needed: {amount} and {fee_max} fee reserve; the account has {spendable} to spend");
        return Some(Judgement::no(ErrorCode::InsufficientBalance, words));
    }
    None
}

/// Caps and the state of the back end: about this moment, so never the answer for ever.
pub(super) fn not_now(state: &State, id: ConnectionId, ready: Result<(), String>) -> Option<Judgement> {
    let limits = &state.limits;
    let mine = state.connections.get(&id).map_or(0, |connection| connection.in_flight);
    if mine >= limits.in_flight_max_per_connection {
        let words =
            format!("{mine} payments of this connection are under way, the most there may be; try again when one is done");
        return Some(Judgement::NotNow(Refusal::new(ErrorCode::RateLimited, words)));
    }
    if state.open.len() >= limits.in_flight_max {
        let words = "too many payments are under way in this wallet; try again in a minute";
        return Some(Judgement::NotNow(Refusal::new(ErrorCode::RateLimited, words)));
    }
    let why = ready.err()?;
    Some(Judgement::NotNow(Refusal::new(ErrorCode::Internal, format!("nothing was paid: {why}"))))
}

fn intent(state: &State, order: PayOrder, invoice: Decoded, amount: Msat, fee_max: Msat) -> Intent {
    let account = state.connections.get(&order.request.connection).map(|connection| connection.row.rules.account);
    Intent {
        account: account.unwrap_or(AccountId::MAIN),
        hash: invoice.hash,
        target: SendTarget::Invoice { bolt11: invoice.bolt11, has_amount: invoice.amount.is_some() },
        amount,
        fee_max,
        invoice_expires_at_s: invoice.expires_at_s,
        request_expires_at_s: order.expires_at_s,
        description: invoice.description,
        description_hash: invoice.description_hash,
        metadata: bounded_metadata(order.metadata),
        request: order.request,
    }
}

/// Too much metadata is dropped, the request is not (extension 06).
pub(in crate::wallet::money) fn bounded_metadata(metadata: Option<String>) -> Option<String> {
    metadata.filter(|text| text.chars().count() <= METADATA_CHARS_MAX)
}
