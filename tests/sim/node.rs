//! The Lightning node of the simulated world. It outlives every crash of ours, it has a clock of its own that never jumps, and it counts
//! what it really does: I1 is checked here, at the only place where money leaves.

use std::collections::BTreeMap;

use super::choice::{Fate, Taken};
use super::{Verdict, msat};
use crate::base::hex32::PaymentHash;
use crate::wallet::backend::bolt11::Decoded;
use crate::wallet::backend::{LookupResult, SendOrder, SendResult, SendTarget};
use crate::wallet::terms::Preimage;

/// How long a hidden payment is not found.
const HIDDEN_MS: u64 = 100_000;
/// How long a late order is on its way: less than the time that a start gives the sends of the life before.
const LATE_MS: u64 = 25_000;

/// What became of a payment, in truth.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Standing {
    UnderWay,
    /// It said that it failed. It did not.
    SaidFailed,
    Paid {
        fee: u64,
    },
    Failed,
}

/// An order that arrived.
#[derive(Clone, Debug)]
pub(super) struct Payment {
    pub(super) order: SendOrder,
    pub(super) standing: Standing,
    /// It has once said something else than the truth about it.
    pub(super) lied: bool,
    hidden_until_ms: u64,
}

/// The node.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) refuses_second: bool,
    /// Invoices of others by their text, with their proofs.
    pub(super) invoices: BTreeMap<String, (Decoded, Preimage)>,
    /// In the order of their arrival.
    pub(super) payments: Vec<Payment>,
    /// Orders on their way, and when they arrive.
    late: Vec<(u64, SendOrder)>,
}

impl Payment {
    fn is_live(&self) -> bool {
        matches!(self.standing, Standing::UnderWay | Standing::SaidFailed)
    }
}

impl Node {
    pub(super) fn new(refuses_second: bool) -> Self {
        Self { refuses_second, invoices: BTreeMap::new(), payments: Vec::new(), late: Vec::new() }
    }

    /// Places of the payments that are under way.
    pub(super) fn live(&self) -> Vec<usize> {
        (0..self.payments.len()).filter(|at| self.payments[*at].is_live()).collect()
    }

    /// Orders that still arrive: their attempts, for the name of a state.
    pub(super) fn late(&self) -> impl Iterator<Item = (u64, u64)> {
        self.late.iter().map(|(at_ms, order)| (*at_ms, order.attempt))
    }

    /// Time has passed: what was on its way is there.
    pub(super) fn arrive(&mut self, now_ms: u64) -> Verdict {
        let (there, late) = std::mem::take(&mut self.late).into_iter().partition(|(at_ms, _)| *at_ms <= now_ms);
        self.late = late;
        let there: Vec<(u64, SendOrder)> = there;
        there.into_iter().try_for_each(|(_, order)| self.take(order, Taken::Well, now_ms).map(drop))
    }

    /// An order, and what is said about it at once.
    pub(super) fn take(&mut self, order: SendOrder, taken: Taken, now_ms: u64) -> Verdict<Option<SendResult>> {
        let expires_at_ms = match &order.target {
            SendTarget::Invoice { bolt11, .. } => {
                let (invoice, _) = self.invoices.get(bolt11).ok_or_else(|| format!("nobody made the invoice {bolt11}"))?;
                ensure!(invoice.hash == order.hash, "the order names another hash than its invoice");
                let asked = invoice.amount.unwrap_or(order.amount);
                ensure!(asked == order.amount, "{} was ordered, checked and held; the invoice takes {asked}", order.amount);
                invoice.expires_at_s * 1_000
            }
            SendTarget::Keysend { preimage, .. } => {
                ensure!(preimage.hash() == order.hash, "the order names another hash than its preimage");
                u64::MAX
            }
        };
        if taken == Taken::Late {
            self.late.push((now_ms + LATE_MS, order));
            return Ok(None);
        }
        if matches!(taken, Taken::Lost | Taken::LostTimeOut) {
            let said = (taken == Taken::LostTimeOut).then(|| SendResult::Unknown("timed out".to_owned()));
            return Ok(said);
        }
        let other_hash = self.payments.iter().any(|one| one.order.attempt == order.attempt && one.order.hash != order.hash);
        ensure!(!other_hash, "I1: one intent was sent with two hashes");
        let settles = |one: &&Payment| one.order.hash == order.hash && one.standing != Standing::Failed;
        if let Some(first) = self.payments.iter().find(settles) {
            let same = (&first.order.target, first.order.amount) == (&order.target, order.amount);
            ensure!(same || first.lied, "a payment was driven again with other parameters");
            ensure!(self.refuses_second || first.lied, "I1: a second payment of one hash");
            return Ok(Some(SendResult::Unknown("payment is in transition or paid already".to_owned())));
        }
        if now_ms >= expires_at_ms {
            self.payments.push(Payment { order, standing: Standing::Failed, lied: false, hidden_until_ms: 0 });
            return Ok(Some(SendResult::Failed("invoice expired".to_owned())));
        }
        let hidden_until_ms = if taken == Taken::Hidden { now_ms + HIDDEN_MS } else { 0 };
        self.payments.push(Payment { order, standing: Standing::UnderWay, lied: false, hidden_until_ms });
        Ok((taken == Taken::Cut).then(|| SendResult::Unknown("stream cut".to_owned())))
    }

    /// A question, and its answer, if any.
    pub(super) fn look(&self, hash: &PaymentHash, attempt: u64, taken: Taken, now_ms: u64) -> Option<LookupResult> {
        match taken {
            Taken::Lost => return None,
            Taken::LostTimeOut | Taken::Cut => return Some(LookupResult::Unknown("502".to_owned())),
            Taken::Well | Taken::Hidden | Taken::Late => {}
        }
        let of_hash = self.payments.iter().filter(|one| one.order.hash == *hash && one.hidden_until_ms <= now_ms);
        let known = of_hash.max_by_key(|one| (one.standing != Standing::Failed, one.order.attempt));
        Some(match known {
            None => LookupResult::NotFound,
            Some(Payment { standing: Standing::UnderWay, .. }) => LookupResult::Pending,
            Some(one @ Payment { standing: Standing::Paid { fee }, .. }) => {
                LookupResult::Settled { preimage: self.proof(&one.order), fee: msat(*fee) }
            }
            Some(one) if one.order.attempt == attempt => LookupResult::Failed("no route".to_owned()),
            Some(_) => LookupResult::NotFound,
        })
    }

    /// A payment gets on. What is said about it: the attempt, its hash and the word.
    pub(super) fn act(&mut self, at: usize, fate: Fate) -> (PaymentHash, u64, SendResult) {
        let proof = self.proof(&self.payments[at].order);
        let payment = &mut self.payments[at];
        let failed = || SendResult::Failed("no route".to_owned());
        let (standing, said) = match fate {
            Fate::Pay { fee } => (Standing::Paid { fee }, SendResult::Settled { preimage: proof, fee: msat(fee) }),
            Fate::PayWrongProof { fee } => {
                payment.lied = true;
                (Standing::Paid { fee }, SendResult::Settled { preimage: Preimage([9; 32]), fee: msat(fee) })
            }
            Fate::Fail => (Standing::Failed, failed()),
            Fate::SayFailed => {
                payment.lied = true;
                (Standing::SaidFailed, failed())
            }
        };
        payment.standing = standing;
        (payment.order.hash, payment.order.attempt, said)
    }

    /// What the payee of an order shows for its money.
    fn proof(&self, order: &SendOrder) -> Preimage {
        match &order.target {
            SendTarget::Invoice { bolt11, .. } => self.invoices[bolt11].1,
            SendTarget::Keysend { preimage, .. } => *preimage,
        }
    }

    /// Payments that it lied about, and that it paid in truth: the word that it owes.
    pub(super) fn owed_words(&self) -> Vec<(PaymentHash, u64, SendResult)> {
        let owed = self.payments.iter().filter(|one| one.lied);
        owed.filter_map(|one| match one.standing {
            Standing::Paid { fee } => {
                let said = SendResult::Settled { preimage: self.proof(&one.order), fee: msat(fee) };
                Some((one.order.hash, one.order.attempt, said))
            }
            _ => None,
        })
        .collect()
    }
}
