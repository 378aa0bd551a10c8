//! Payments that were ordered and have no outcome yet. Whoever knows it first tells: the call itself, an event, the clock, or the
//! end of the connection. Each payment is told exactly once.

use parking_lot::Mutex;

use super::super::{Answer, SendResult};
use super::convert;
use crate::base::hex32::PaymentHash;
use crate::pb::wallet_backend as pb;

/// Most payments that wait for the wallet at once; more than the payment core ever has under way.
pub(super) const WAITING_MAX: usize = 65_536;

struct Order {
    attempt: u64,
    /// Tells this order from a later one of the same payment.
    ticket: u64,
    /// Whether the wallet may have it.
    is_given: bool,
    done: Answer<SendResult>,
}

impl Order {
    /// Nothing more will be heard of it.
    fn end(self, why: &str) {
        (self.done)(if self.is_given {
            SendResult::Unknown(why.to_owned())
        } else {
            SendResult::NotGiven(format!("the payment was not given to the wallet: {why}"))
        });
    }
}

#[derive(Default)]
struct Table {
    next_ticket: u64,
    orders: std::collections::HashMap<PaymentHash, Order>,
}

/// The payments.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Table>);

impl Waiting {
    /// Takes a payment in: a ticket for [`Waiting::tell`], or nothing where there is no room, and then it was told so.
    pub(super) fn enter(&self, hash: PaymentHash, attempt: u64, done: Answer<SendResult>) -> Option<u64> {
        let mut table = self.0.lock();
        if table.orders.len() >= WAITING_MAX {
            drop(table);
            done(SendResult::NotGiven("too many payments wait for the wallet; this one was not given to it".to_owned()));
            return None;
        }
        table.next_ticket += 1;
        let ticket = table.next_ticket;
        let earlier = table.orders.insert(hash, Order { attempt, ticket, is_given: false, done });
        drop(table);
        if let Some(earlier) = earlier {
            earlier.end("the payment was ordered again");
        }
        Some(ticket)
    }

    /// From now on the wallet may have it. `false`: its result was told already, so it must not be given to the wallet.
    pub(super) fn give(&self, hash: &PaymentHash, ticket: u64) -> bool {
        let mut table = self.0.lock();
        let order = table.orders.get_mut(hash).filter(|order| order.ticket == ticket);
        order.map(|order| order.is_given = true).is_some()
    }

    /// Tells one payment, unless that was done already.
    pub(super) fn tell(&self, hash: &PaymentHash, ticket: u64, result: SendResult) {
        let mut table = self.0.lock();
        if table.orders.get(hash).is_none_or(|order| order.ticket != ticket) {
            return;
        }
        let order = table.orders.remove(hash);
        drop(table);
        if let Some(order) = order {
            (order.done)(result);
        }
    }

    /// An event tells the outcome.
    pub(super) fn outcome(&self, event: &pb::Outgoing) {
        let (Some(hash), Some(reply)) = (convert::hash(&event.payment_hash), event.reply.clone()) else { return };
        let Some((attempt, ticket)) = self.0.lock().orders.get(&hash).map(|order| (order.attempt, order.ticket)) else { return };
        // What is not certain here is not told: the call may still bring it.
        if let Some(result @ (SendResult::Settled { .. } | SendResult::Failed(_))) = convert::send_result(reply, attempt) {
            self.tell(&hash, ticket, result);
        }
    }

    /// Nothing more will come: nobody knows what became of those that the wallet may have.
    pub(super) fn give_up(&self, why: &str) {
        let orders = std::mem::take(&mut self.0.lock().orders);
        for order in orders.into_values() {
            order.end(why);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::hex32::Hex32;

    #[test]
    fn each_payment_is_told_once_whoever_comes_first() {
        let waiting = Waiting::default();
        let told = Arc::new(Mutex::new(Vec::new()));
        let listen = |name: &'static str| -> Answer<SendResult> {
            let told = Arc::clone(&told);
            Box::new(move |result| told.lock().push((name, result)))
        };
        let (one, two) = (Hex32([1; 32]), Hex32([2; 32]));
        let first = waiting.enter(one, 5, listen("one")).unwrap();
        let reply = |state: pb::PaymentState, attempt| pb::PaymentReply {
            state: state.into(),
            failure: "no".to_owned(),
            attempt,
            ..pb::PaymentReply::default()
        };
        let event = |reply| pb::Outgoing { payment_hash: vec![1; 32], reply: Some(reply) };
        waiting.outcome(&event(reply(pb::PaymentState::InFlight, 5)));
        waiting.outcome(&event(reply(pb::PaymentState::Failed, 4)));
        assert!(told.lock().is_empty(), "neither is an outcome of this attempt");
        waiting.outcome(&event(reply(pb::PaymentState::Failed, 5)));
        waiting.tell(&one, first, SendResult::Unknown("late".to_owned()));

        let old = waiting.enter(two, 6, listen("two")).unwrap();
        assert!(waiting.give(&two, old));
        let new = waiting.enter(two, 6, listen("two again")).unwrap();
        assert!(!waiting.give(&two, old) && waiting.give(&two, new), "one that was told is not given any more");
        waiting.tell(&two, old, SendResult::Failed("of the earlier call".to_owned()));
        waiting.give_up("gone");
        let said: Vec<(&str, bool)> =
            told.lock().iter().map(|(name, result)| (*name, matches!(result, SendResult::Unknown(_)))).collect();
        assert_eq!(said, [("one", false), ("two", true), ("two again", true)]);
    }

    #[test]
    fn what_the_wallet_was_never_given_is_told_so_and_not_given_afterwards() {
        let waiting = Waiting::default();
        let told = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&told);
        let hash = Hex32([1; 32]);
        let ticket = waiting.enter(hash, 5, Box::new(move |result| *keep.lock() = Some(result))).unwrap();
        waiting.give_up("the connection was lost");
        let words = "the payment was not given to the wallet: the connection was lost".to_owned();
        assert_eq!(*told.lock(), Some(SendResult::NotGiven(words)));
        assert!(!waiting.give(&hash, ticket));
    }
}
