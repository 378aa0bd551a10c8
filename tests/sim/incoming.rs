//! What comes into the node of the simulated world from outside: invoices of ours that strangers pay, hold invoices whose money waits, and
//! reports that are repeated until they are acknowledged.

use std::collections::BTreeMap;

use super::super::super::record::Word;
use super::choice::Taken;
use super::{Verdict, msat};
use crate::base::hex32::PaymentHash;
use crate::wallet::backend::{Incoming, IncomingState};

/// Where an invoice of ours stands at the node, in truth.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Own {
    Open,
    Held,
    Settled,
    Canceled,
}

/// An invoice of ours.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct OwnInvoice {
    pub(super) is_hold: bool,
    pub(super) amount: u64,
    pub(super) expires_at_s: u64,
    pub(super) standing: Own,
}

/// Invoices of ours, and what is still to be acknowledged.
#[derive(Clone, Default)]
pub(super) struct Cashier {
    pub(super) invoices: BTreeMap<PaymentHash, OwnInvoice>,
    /// Reports that were not acknowledged yet.
    pub(super) reports: Vec<Incoming>,
    /// Reports that are new: not on their way yet.
    pub(super) fresh: Vec<Incoming>,
    /// Every report that was ever made.
    all: Vec<Incoming>,
}

impl Cashier {
    /// An invoice of ours can be paid from now on.
    pub(super) fn make(&mut self, hash: PaymentHash, is_hold: bool, amount: Option<u64>, expires_at_s: u64) {
        let amount = amount.unwrap_or(2_500);
        self.invoices.entry(hash).or_insert(OwnInvoice { is_hold, amount, expires_at_s, standing: Own::Open });
    }

    /// Whether a stranger who was shown this invoice can pay it.
    pub(super) fn is_payable(&self, hash: &PaymentHash, now_ms: u64) -> bool {
        self.invoices.get(hash).is_some_and(|one| one.standing == Own::Open && one.expires_at_s * 1_000 > now_ms)
    }

    /// A stranger pays.
    pub(super) fn pay(&mut self, hash: PaymentHash) {
        let Some(one) = self.invoices.get_mut(&hash) else { return };
        one.standing = if one.is_hold { Own::Held } else { Own::Settled };
        self.report(hash);
    }

    /// What was decided about a hold invoice arrives; what is said about it.
    pub(super) fn hear(&mut self, hash: PaymentHash, word: Word, taken: Taken) -> Verdict<Option<Result<(), String>>> {
        if matches!(taken, Taken::Lost | Taken::LostTimeOut) {
            return Ok((taken == Taken::LostTimeOut).then(|| Err("timed out".to_owned())));
        }
        let Some(one) = self.invoices.get_mut(&hash) else { return Ok(Some(Ok(()))) };
        let before = one.standing;
        let said = match (word, before) {
            (Word::Settle(preimage), Own::Held) => {
                ensure!(preimage.hash() == hash, "a hold invoice is settled with the proof of something else");
                one.standing = Own::Settled;
                Ok(())
            }
            (Word::Settle(_), Own::Settled) | (Word::Cancel, Own::Canceled) => Ok(()),
            (Word::Cancel, Own::Open | Own::Held) => {
                one.standing = Own::Canceled;
                Ok(())
            }
            (Word::Settle(_), Own::Open | Own::Canceled) => Err("nothing waits for it".to_owned()),
            (Word::Cancel, Own::Settled) => Err("it is settled".to_owned()),
        };
        if one.standing != before {
            self.report(hash);
        }
        Ok(Some(if taken == Taken::Cut { Err("stream cut".to_owned()) } else { said }))
    }

    fn report(&mut self, hash: PaymentHash) {
        let Some(one) = self.invoices.get(&hash) else { return };
        let (amount, state) = match one.standing {
            Own::Open => return,
            Own::Held => (one.amount, IncomingState::Held { settle_deadline: Some(900_000) }),
            Own::Settled => (one.amount, IncomingState::Settled { preimage: None }),
            Own::Canceled => (0, IncomingState::Canceled),
        };
        let incoming = Incoming { hash, amount: msat(amount), state };
        self.all.push(incoming.clone());
        self.reports.push(incoming.clone());
        self.fresh.push(incoming);
    }

    /// It has lost its place: at the next start everything is told from the beginning.
    pub(super) fn forget_place(&mut self) {
        self.reports.clone_from(&self.all);
    }

    /// A start: everything that was not acknowledged is told again.
    pub(super) fn restart(&mut self) {
        self.fresh = self.reports.clone();
    }

    /// A report was acknowledged: it is never told again.
    pub(super) fn acknowledged(&mut self, incoming: &Incoming) {
        if let Some(at) = self.reports.iter().position(|one| one == incoming) {
            self.reports.remove(at);
        }
    }

    /// What strangers really paid, msat.
    pub(super) fn received(&self) -> i128 {
        let settled = self.invoices.values().filter(|one| one.standing == Own::Settled);
        settled.map(|one| i128::from(one.amount)).sum()
    }

    /// The deadline of everything that waits has come.
    pub(super) fn time_out(&mut self) {
        for hash in self.holds() {
            if let Some(one) = self.invoices.get_mut(&hash) {
                one.standing = Own::Canceled;
            }
            self.report(hash);
        }
    }

    /// Whether money of strangers waits.
    pub(super) fn holds(&self) -> Vec<PaymentHash> {
        self.invoices.iter().filter(|(_, one)| one.standing == Own::Held).map(|(hash, _)| *hash).collect()
    }
}
