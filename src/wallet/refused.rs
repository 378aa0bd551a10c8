//! Payments that were refused before the start without a record in the journal.
//!
//! Such a refusal is about its moment (too fast, the node is away), and a flood of them must not fill the journal. While the process lives
//! its answer is kept like every other. After a start the log of requests still knows of it: a request that was told that nothing was
//! paid is told so again, as long as it could still be taken for a new one, and is not paid.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::RwLock;

use super::access::audit::RefusedPayment;
use super::terms::{ErrorCode, Refusal};
use crate::base::hex32::EventId;

/// Most requests that are remembered.
const REFUSED_MAX: usize = 65_536;

/// The requests.
#[derive(Default)]
pub(super) struct Refused(RwLock<HashMap<EventId, Known, RandomState>>);

struct Known {
    code: ErrorCode,
    /// From then on the request is too old to be taken, unix seconds.
    until_s: u64,
}

impl Refused {
    /// Takes in what the log says, as far as it can still be asked again; a request is asked again for so long after its own time.
    pub(super) fn remember(&self, refused: Vec<RefusedPayment>, freshness_s: u64, now_s: u64) {
        let mut known = self.0.write();
        for RefusedPayment { request, asked_at_s, code } in refused {
            let until_s = asked_at_s.saturating_add(freshness_s).saturating_add(1);
            if until_s > now_s && known.len() < REFUSED_MAX {
                known.insert(request, Known { code, until_s });
            }
        }
    }

    /// What a request was told before the start.
    pub(super) fn of(&self, request: &EventId) -> Option<Refusal> {
        let code = self.0.read().get(request)?.code;
        let words = "this request was refused before hearth was started again, and nothing was paid for it; that stands: ask by a new one";
        Some(Refusal::new(code, words))
    }

    /// Forgets what can no longer be asked.
    pub(super) fn sweep(&self, now_s: u64) {
        if !self.0.read().is_empty() {
            self.0.write().retain(|_, known| known.until_s > now_s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_known_for_as_long_as_its_request_could_be_taken() {
        let refused = Refused::default();
        let request = |number: u8| EventId::from([number; 32]);
        let past = |number, asked_at_s| RefusedPayment { request: request(number), asked_at_s, code: ErrorCode::RateLimited };
        refused.remember(vec![past(1, 100), past(2, 1_500), past(3, 2_500)], 900, 1_600);
        let known = |number| refused.of(&request(number)).map(|refusal| refusal.code);
        assert_eq!((known(1), known(2), known(3)), (None, Some(ErrorCode::RateLimited), Some(ErrorCode::RateLimited)));
        refused.sweep(2_401);
        assert_eq!((known(2), known(3)), (None, Some(ErrorCode::RateLimited)));
    }
}
