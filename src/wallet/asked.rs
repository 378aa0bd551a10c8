//! How much a request is about, for the log, which shows it for refused ones too: an answer that refuses names no amount.
//!
//! Kept from the order to the answer, in memory. A payment that a restart ends is logged without.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::backend::bolt11::decode;
use super::money::types::PayTarget;
use super::terms::RequestKey;
use super::wire::request::Call;
use crate::base::amount::Msat;

/// Most requests that are remembered; one more, and all are forgotten. Few are left behind: those that got no answer.
const ASKED_MAX: usize = 16_384;

/// What a request names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Sum {
    /// So much.
    Amount(Msat),
    /// An invoice, which is read only if it is asked for.
    Invoice(String),
}

impl Sum {
    /// What a request names, if it is about money; for one of several items see [`Sum::of_target`].
    pub(super) fn of(call: &Call) -> Option<Self> {
        match call {
            Call::PayInvoice(pay) => Some(Self::of_invoice(&pay.invoice, pay.amount_msat)),
            Call::PayKeysend(pay) => Some(Self::Amount(pay.amount_msat)),
            Call::Pay(pay) => Some(Self::of_invoice(&pay.payment, pay.amount_msat)),
            Call::MakeInvoice(make) => Some(Self::Amount(make.amount_msat)),
            Call::MakeHoldInvoice(make) => Some(Self::Amount(make.invoice.amount_msat)),
            Call::Receive(wish) => wish.amount_msat.map(Self::Amount),
            _ => None,
        }
    }

    /// What one payment names.
    pub(super) fn of_target(target: &PayTarget) -> Self {
        match target {
            PayTarget::Invoice { bolt11, amount } => Self::of_invoice(bolt11, *amount),
            PayTarget::Keysend { amount, .. } => Self::Amount(*amount),
        }
    }

    fn of_invoice(invoice: &str, amount: Option<Msat>) -> Self {
        amount.map_or_else(|| Self::Invoice(invoice.to_owned()), Self::Amount)
    }

    fn amount(self) -> Option<Msat> {
        match self {
            Self::Amount(amount) => Some(amount),
            Self::Invoice(invoice) => decode(&invoice).ok()?.amount,
        }
    }
}

/// The requests under way.
#[derive(Default)]
pub(super) struct Asked(Mutex<HashMap<RequestKey, Sum, RandomState>>);

impl Asked {
    pub(super) fn note(&self, request: RequestKey, sum: Sum) {
        let mut all = self.0.lock();
        if all.len() >= ASKED_MAX {
            all.clear();
        }
        all.insert(request, sum);
    }

    /// What the request was about, now that it is answered: `known`, where the answer says so.
    pub(super) fn end(&self, request: &RequestKey, known: Option<Msat>) -> Option<Msat> {
        let sum = self.0.lock().remove(request);
        known.or_else(|| sum.and_then(Sum::amount))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hex32::EventId;

    fn key(number: u64) -> RequestKey {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        RequestKey { event: EventId::from(id), item: 0 }
    }

    #[test]
    fn an_amount_is_known_until_its_answer_and_there_is_an_end_to_it() {
        let (asked, msat) = (Asked::default(), |msat| Msat::new(msat).unwrap());
        asked.note(key(1), Sum::Amount(msat(5)));
        asked.note(key(2), Sum::Invoice("nonsense".to_owned()));
        assert_eq!(asked.end(&key(1), Some(msat(4))), Some(msat(4)), "what the answer says counts");
        assert_eq!((asked.end(&key(1), None), asked.end(&key(2), None)), (None, None));
        for number in 0..3 * ASKED_MAX as u64 {
            asked.note(key(number), Sum::Amount(msat(number)));
        }
        assert!(asked.0.lock().len() <= ASKED_MAX);
        let last = 3 * ASKED_MAX as u64 - 1;
        assert_eq!(asked.end(&key(last), None), Some(msat(last)));
    }
}
