//! Who waits for the money thread, and how each kind is told.

use super::super::payment::{OwnerDone, Reply};
use super::super::types::{AccountId, ErrorCode, On, OwnerError, PayReply, Reconciled, Refusal, Transaction};
use crate::wallet::backend::Ack;

/// Somebody who waits.
pub(super) enum Caller {
    Pay(On<PayReply>),
    Invoice(On<Result<Transaction, Refusal>>),
    Account(On<Result<AccountId, OwnerError>>),
    Owner(On<Result<(), OwnerError>>),
    Hold(On<Result<(), Refusal>>),
    Reconcile(On<Result<Reconciled, OwnerError>>),
    /// A back end that moves its cursor when its report is on disk. Dropped otherwise.
    Report(Ack),
}

impl Caller {
    /// The journal could not be written.
    pub(super) fn fail(self) {
        match self {
            Self::Pay(on) => on(PayReply::Failed),
            Self::Invoice(on) => on(Err(not_known())),
            Self::Account(on) => on(Err(OwnerError::Failed)),
            Self::Owner(on) => on(Err(OwnerError::Failed)),
            Self::Reconcile(on) => on(Err(OwnerError::Failed)),
            Self::Hold(on) => on(Err(not_known())),
            Self::Report(ack) => drop(ack),
        }
    }

    /// The core has decided.
    pub(super) fn tell(self, reply: Reply) {
        match (self, reply) {
            (Self::Pay(on), Reply::Pay(reply)) => on(reply),
            (Self::Invoice(on), Reply::Invoice(made)) => on(made.map(|made| *made)),
            (Self::Account(on), Reply::Owner(done)) => on(done.and_then(|done| match done {
                OwnerDone::Account(id) => Ok(id),
                OwnerDone::Done | OwnerDone::Reconciled(_) => Err(OwnerError::Failed),
            })),
            (Self::Reconcile(on), Reply::Owner(done)) => on(done.and_then(|done| match done {
                OwnerDone::Reconciled(reconciled) => Ok(reconciled),
                OwnerDone::Done | OwnerDone::Account(_) => Err(OwnerError::Failed),
            })),
            (Self::Hold(on), Reply::Hold(done)) => on(done),
            (Self::Report(ack), Reply::Noted(true)) => ack(),
            (Self::Report(ack), _) => drop(ack),
            (Self::Owner(on), Reply::Owner(done)) => on(done.map(|_| ())),
            // A reply of another kind cannot be: the core answers a token with what was asked. Failing is the safe reading.
            (caller, _) => caller.fail(),
        }
    }
}

fn not_known() -> Refusal {
    let words =
        "the wallet's journal could not be written: whether this was done is known when the wallet is back; look the invoice up";
    Refusal::new(ErrorCode::Internal, words)
}
