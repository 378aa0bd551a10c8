//! What is done after the commit of a turn, and what when it fails: then nothing of what was to be written is done.

use std::sync::atomic::Ordering;

use super::super::payment::Effect;
use super::super::record::{Entry, Invoice, Record, Word};
use super::super::turn::{Act, After, answers};
use super::super::types::{KnownAnswer, RequestRef};
use super::history::{held, settled};
use super::worker::Worker;
use super::{Message, Shared};
use crate::protocol::event::Event;
use crate::wallet::backend::bolt11::Decoded;
use crate::wallet::backend::{BackendError, Network};

impl Worker {
    /// Nothing of it was done, and the sync is not tried again. What was to be written may stand on the disk all the same, and then the
    /// next start goes on with it: so nobody is told that it will not be done.
    pub(super) fn fail(&mut self, words: &str) -> bool {
        self.shared.is_shut.store(true, Ordering::Release);
        tracing::error!(error = words, "the wallet's journal could not be written");
        for (_, caller) in self.callers.drain() {
            caller.fail();
        }
        (self.on_fatal)(words);
        false
    }

    /// After the commit, and only then.
    pub(super) fn perform(&mut self, after: After) {
        for act in after.acts() {
            match act {
                Act::Reply(token, reply) => {
                    if let Some(caller) = self.callers.remove(&token) {
                        caller.tell(reply);
                    }
                }
                Act::Effect(effect) => self.perform_effect(effect),
                Act::Written(entry) => self.tell(&entry),
            }
        }
    }

    /// What became true with the commit.
    fn tell(&self, entry: &Entry) {
        remember_pending(&self.shared, entry);
        for answered in answers(&entry.record) {
            if let Some(event) = Event::from_bytes(&answered.event) {
                remember_answer(&self.shared, &answered.request, &event);
                self.signer.publish(&answered.request, &event);
            }
        }
        for settled in settled(entry).into_iter().flatten() {
            self.signer.settled(&settled);
        }
        if let Some(held) = held(entry) {
            self.signer.held(&held);
        }
        if let Record::Invoice(invoice) = &entry.record {
            self.shared.view.remember_invoice(as_read(invoice, self.state.network));
        }
    }

    fn perform_effect(&mut self, effect: Effect) {
        let queue = self.queue.clone();
        // A word of the back end that comes after the room was closed is asked for again at the next start.
        match effect {
            Effect::Send(order) => {
                let (hash, attempt) = (order.hash, order.attempt);
                self.backend.send(order, Box::new(move |result| drop(queue.send(Message::Sent(hash, attempt, result)))));
            }
            Effect::Lookup(order) => {
                self.questions += 1;
                let (hash, attempt, asked_ms) = (order.hash, order.attempt, self.clock.steady_ms());
                let done = move |result| drop(queue.send(Message::Looked(hash, attempt, asked_ms, result)));
                self.backend.lookup(order, Box::new(done));
            }
            Effect::MakeInvoice { key, order } => {
                let done = move |made: Result<_, BackendError>| {
                    drop(queue.send(Message::InvoiceMade(key, made.map_err(|error| error.0))));
                };
                self.backend.make_invoice(order, Box::new(done));
            }
            Effect::MakeHoldInvoice { key, order } => {
                let done = move |made: Result<_, BackendError>| {
                    drop(queue.send(Message::InvoiceMade(key, made.map_err(|error| error.0))));
                };
                self.backend.make_hold_invoice(order, Box::new(done));
            }
            Effect::TellHold { hash, word } => {
                let done = move |done: Result<(), BackendError>| {
                    drop(queue.send(Message::HoldTold(hash, word, done.map_err(|error| error.0))));
                };
                match word {
                    Word::Settle(preimage) => self.backend.settle_hold(preimage, Box::new(done)),
                    Word::Cancel => self.backend.cancel_hold(hash, Box::new(done)),
                }
            }
            Effect::Republish(request, bytes) => {
                if let Some(event) = Event::from_bytes(&bytes) {
                    self.signer.publish(&request, &event);
                }
            }
            Effect::Alarm(words) => {
                tracing::error!(alarm = %words, "wallet alarm");
                self.shared.view.alarm(&words);
            }
            Effect::Append { .. } | Effect::Reply(..) => {}
        }
    }
}

/// An invoice made here as a payer would read it.
fn as_read(invoice: &Invoice, network: Network) -> Decoded {
    Decoded {
        bolt11: invoice.bolt11.clone(),
        network,
        hash: invoice.hash,
        amount: invoice.amount,
        expires_at_s: invoice.expires_at_s,
        description: invoice.description.clone().filter(|_| invoice.description_hash.is_none()),
        description_hash: invoice.description_hash,
    }
}

/// A request whose payment is under way.
pub(super) fn remember_pending(shared: &Shared, entry: &Entry) {
    let request = match &entry.record {
        Record::Intent(intent) => &intent.request,
        Record::Attach { request, .. } => request,
        _ => return,
    };
    shared.view.remember(request.key, KnownAnswer::Pending);
}

/// A request that was answered.
pub(super) fn remember_answer(shared: &Shared, request: &RequestRef, event: &Event) {
    shared.view.remember(request.key, KnownAnswer::Answered(event.clone()));
}
