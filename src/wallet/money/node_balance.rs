//! What the node has, where `main` is the node's own money: what it said last, less what has left it since it was asked.
//!
//! A payment that is done holds nothing any more, and what the node said may be from before it. So every payment to the outside counts
//! until a question that was put after its end has been answered. A question that was put before may know of it or not: then a little
//! is missing for a moment, and never is there too much.

use std::collections::VecDeque;

use crate::base::amount::Msat;

/// Most payments that are told apart. Of more the two oldest become one, which counts for as long as the later of them.
const LEFT_MAX: usize = 64;

/// The node's money. Times are of the clock that only goes forward, ms.
#[derive(Clone, Debug, Default)]
pub struct NodeBalance {
    /// What it said, and when it was asked.
    said: Option<(Msat, u64)>,
    /// When payments ended, and what they took. Oldest first.
    left: VecDeque<(u64, Msat)>,
}

impl NodeBalance {
    /// Takes over what the node said, and when it was asked; `None`: it says nothing. Whether that changes anything.
    pub(super) fn hear(&mut self, said: Option<(Msat, u64)>) -> bool {
        let before = self.msat();
        self.said = said;
        if let Some((_, asked_ms)) = said {
            while self.left.front().is_some_and(|(at_ms, _)| *at_ms < asked_ms) {
                self.left.pop_front();
            }
        }
        before != self.msat()
    }

    /// A payment has ended, and took this much, fee included.
    pub(super) fn paid(&mut self, at_ms: u64, took: Msat) {
        self.left.push_back((at_ms, took));
        if self.left.len() > LEFT_MAX
            && let Some((_, oldest)) = self.left.pop_front()
            && let Some((_, next)) = self.left.front_mut()
        {
            *next = next.checked_add(oldest).unwrap_or(Msat::MAX);
        }
    }

    /// What it has at least; `None`: not known now.
    pub(super) fn msat(&self) -> Option<i128> {
        let (said, _) = self.said?;
        let left: i128 = self.left.iter().map(|(_, took)| i128::from(took.get())).sum();
        Some(i128::from(said.get()) - left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn msat(amount: u64) -> Msat {
        Msat::new(amount).unwrap()
    }

    #[test]
    fn a_payment_counts_until_a_question_put_after_its_end_is_answered() {
        let mut node = NodeBalance::default();
        assert_eq!(node.msat(), None);
        assert!(node.hear(Some((msat(1_000), 10))));
        node.paid(20, msat(100));
        node.paid(30, msat(50));
        assert_eq!(node.msat(), Some(850));
        assert!(!node.hear(Some((msat(1_000), 10))), "said again, asked before");
        // It knows of one of them, perhaps of both: nobody can tell.
        node.hear(Some((msat(900), 30)));
        assert_eq!(node.msat(), Some(850), "asked in the very millisecond");
        node.hear(None);
        assert_eq!(node.msat(), None);
        node.hear(Some((msat(850), 31)));
        assert_eq!(node.msat(), Some(850));
        node.paid(40, msat(2_000));
        assert_eq!(node.msat(), Some(-1_150));
    }

    #[test]
    fn many_payments_are_few_numbers_and_none_is_forgotten_too_early() {
        let mut node = NodeBalance::default();
        node.hear(Some((msat(1_000_000), 0)));
        let many = 10 * LEFT_MAX as u64;
        for at_ms in 1..=many {
            node.paid(at_ms, msat(1));
        }
        assert!(node.left.len() <= LEFT_MAX);
        assert_eq!(node.msat(), Some(1_000_000 - i128::from(many)));
        for asked_ms in 0..=many + 1 {
            node.hear(Some((msat(1_000_000), asked_ms)));
            let ended_since = i128::from(many.saturating_sub(asked_ms.saturating_sub(1)));
            assert!(node.msat().unwrap() <= 1_000_000 - ended_since, "{asked_ms}");
        }
        assert_eq!(node.msat(), Some(1_000_000));
    }
}
