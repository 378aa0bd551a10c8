//! Who waits for the money thread, and how each kind is told.

use super::super::payment::{OwnerDone, Reply};
use super::super::types::{AccountId, ErrorCode, On, OwnerError, PayReply, Refusal, Transaction};

/// Somebody who waits.
pub(super) enum Caller {
    Pay(On<PayReply>),
    Invoice(On<Result<Transaction, Refusal>>),
    Account(On<Result<AccountId, OwnerError>>),
    Owner(On<Result<(), OwnerError>>),
}

impl Caller {
    /// The journal could not be written.
    pub(super) fn fail(self) {
        match self {
            Self::Pay(on) => on(PayReply::Failed),
            Self::Invoice(on) => on(Err(Refusal::new(ErrorCode::Internal, "the wallet's journal could not be written"))),
            Self::Account(on) => on(Err(OwnerError::Failed)),
            Self::Owner(on) => on(Err(OwnerError::Failed)),
        }
    }

    /// The core has decided.
    pub(super) fn tell(self, reply: Reply) {
        match (self, reply) {
            (Self::Pay(on), Reply::Pay(reply)) => on(reply),
            (Self::Invoice(on), Reply::Invoice(made)) => on(made.map(|made| *made)),
            (Self::Account(on), Reply::Owner(done)) => on(done.and_then(|done| match done {
                OwnerDone::Account(id) => Ok(id),
                OwnerDone::Done => Err(OwnerError::Failed),
            })),
            (Self::Owner(on), Reply::Owner(done)) => on(done.map(|_| ())),
            // A reply of another kind cannot be: the core answers a token with what was asked. Failing is the safe reading.
            (caller, _) => caller.fail(),
        }
    }
}
