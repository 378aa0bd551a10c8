//! Mistakes that wallets have made, planted where they would be made: for the simulator, which has to find each of them.
//!
//! Compiled for tests only. In the shipped program neither the switch nor the mistakes exist: each stands behind `#[cfg(test)]`.

use std::collections::BTreeSet;

use super::payment::{InvoiceRow, PaymentRow, RequestRow, Rows, RowsError, State};
use super::record::Entry;
use super::turn::answers_mut;
use super::types::{ConnectionId, Preimage, RequestKey};
use crate::base::amount::Msat;
use crate::base::hex32::{Hex32, PaymentHash};
use crate::wallet::backend::{SendOrder, SendTarget};

/// A mistake that can be switched on in a [`State`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::wallet) enum Bug {
    /// The order goes to the back end while its intent waits for the next sync.
    SendBeforeSync,
    /// A send that nobody knows about is booked as failed.
    TimeOutIsFailed,
    /// What is held does not count against the budget.
    BudgetCountsSettledOnly,
    /// Requests and payments of earlier lives are not known any more.
    DedupeInMemoryOnly,
    /// "Never heard of it" gives the money back at once.
    ReleaseOnNotFound,
    /// A payment that is driven again has a new preimage, and so a new hash.
    ResolveAgainOnRetry,
    /// The amount of the request is checked and held, that of the invoice is paid.
    AmountOfRequest,
    /// Fees do not count against the budget.
    FeeNotCounted,
    /// The answer is published and not kept.
    AnswerNotStored,
    /// A start lets go of what is held for payments under way.
    HoldReleasedAtRestart,
    /// Questions that were due before the clock went back wait until it is there again.
    QuestionsWaitForTheClock,
    /// A payment that is driven again keeps its number, so that words about the earlier attempt are taken for words about the new one.
    DrivenUnderOneNumber,
    /// "Never heard of it" counts whenever it arrives: one answer that comes twice, and late, counts twice.
    AnswersCountForQuestions,
    /// A report of money for an invoice that is over is refused each time, and the reports behind it wait for ever.
    WhatIsOverIsRefused,
}

impl Bug {
    /// All of them: ten of other wallets, three that the simulator found here, and one that a reader did.
    pub(in crate::wallet) const ALL: [Self; 14] = [
        Self::SendBeforeSync,
        Self::TimeOutIsFailed,
        Self::BudgetCountsSettledOnly,
        Self::DedupeInMemoryOnly,
        Self::ReleaseOnNotFound,
        Self::ResolveAgainOnRetry,
        Self::AmountOfRequest,
        Self::FeeNotCounted,
        Self::AnswerNotStored,
        Self::HoldReleasedAtRestart,
        Self::QuestionsWaitForTheClock,
        Self::DrivenUnderOneNumber,
        Self::AnswersCountForQuestions,
        Self::WhatIsOverIsRefused,
    ];
}

/// What is planted in a [`State`].
#[derive(Clone, Debug, Default)]
pub(in crate::wallet) struct Planted {
    /// Nothing, but for the simulator.
    pub(in crate::wallet) bug: Option<Bug>,
    /// Requests and hashes seen in this life, for [`Bug::DedupeInMemoryOnly`].
    seen: BTreeSet<Hex32>,
}

impl State {
    /// Whether this mistake is planted.
    pub(in crate::wallet) fn has(&self, bug: Bug) -> bool {
        self.planted.bug == Some(bug)
    }
}

/// What [`Bug::DedupeInMemoryOnly`] knows of requests and payments: nothing from before the start.
pub(super) struct Forgetful<'a> {
    rows: &'a dyn Rows,
    request: bool,
    payment: bool,
}

impl<'a> Forgetful<'a> {
    /// What is known when this request and this hash arrive.
    pub(super) fn new(state: &mut State, rows: &'a dyn Rows, request: &RequestKey, hash: Option<Hex32>) -> Self {
        if !state.has(Bug::DedupeInMemoryOnly) {
            return Self { rows, request: false, payment: false };
        }
        let seen = &mut state.planted.seen;
        Self { rows, request: seen.insert(request.event), payment: hash.is_some_and(|hash| seen.insert(hash)) }
    }
}

impl Rows for Forgetful<'_> {
    fn request(&self, key: &RequestKey) -> Result<Option<RequestRow>, RowsError> {
        if self.request { Ok(None) } else { self.rows.request(key) }
    }

    fn payment(&self, hash: &PaymentHash) -> Result<Option<PaymentRow>, RowsError> {
        if self.payment { Ok(None) } else { self.rows.payment(hash) }
    }

    fn invoice(&self, hash: &PaymentHash) -> Result<Option<InvoiceRow>, RowsError> {
        self.rows.invoice(hash)
    }

    fn spent_since(&self, connection: ConnectionId, since_ms: u64) -> Result<Msat, RowsError> {
        self.rows.spent_since(connection, since_ms)
    }
}

/// What [`Bug::ResolveAgainOnRetry`] sends instead.
pub(super) fn resolved_again(mut order: SendOrder) -> SendOrder {
    if let SendTarget::Keysend { preimage, .. } = &mut order.target {
        *preimage = Preimage(preimage.hash().0);
        order.hash = preimage.hash();
    }
    order
}

/// What [`Bug::HoldReleasedAtRestart`] does.
pub(super) fn let_go(state: &mut State) {
    for (_, open) in std::mem::take(&mut state.open) {
        let _ = state.ledger.release(open.intent.account, open.hold());
        if let Some(connection) = state.connections.get_mut(&open.intent.request.connection) {
            connection.in_flight -= 1;
            connection.spending.end(open.belongs_ms, open.hold(), Msat::ZERO);
        }
    }
}

/// What [`Bug::AnswerNotStored`] stores of a record.
pub(super) fn without_answers(entry: &Entry) -> Entry {
    let mut bare = entry.clone();
    answers_mut(&mut bare.record).iter_mut().for_each(|answered| answered.event.clear());
    bare
}
