//! What the core wants done: records into the batch with their answers signed, one commit, and then the rest: replies, sends,
//! answers. The order is what keeps money safe: nothing after the commit happens when it fails.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::super::payment::{Effect, Reply, Token};
use super::super::record::{Answered, Entry, Invoice, Record, Word};
use super::super::types::{Held, KnownAnswer, Outcome, RequestKey, RequestRef, Settled};
use super::Message;
use super::history::{held, settled};
use super::worker::Worker;
use crate::protocol::event::Event;
use crate::wallet::backend::bolt11::Decoded;
use crate::wallet::backend::{BackendError, Network};

/// What a turn has gathered for the time after its commit.
#[derive(Default)]
pub(super) struct Gathered {
    replies: Vec<(Token, Reply)>,
    effects: Vec<Effect>,
    news: Vec<News>,
}

impl Gathered {
    /// Tells a caller after the commit.
    pub(super) fn reply(&mut self, token: Token, reply: Reply) {
        self.replies.push((token, reply));
    }
}

/// What became true with the commit.
enum News {
    Pending(RequestKey),
    Answered(RequestRef, Event),
    Settled(Settled),
    Held(Held),
    Invoice(Box<Decoded>),
}

impl Worker {
    /// Puts a record into the batch, with its answers signed; everything else waits for the commit.
    pub(super) fn stage(&mut self, effect: Effect, now_ms: u64, gathered: &mut Gathered) -> Result<(), String> {
        match effect {
            Effect::Append { mut entry, outcome } => {
                self.sign(&mut entry, outcome.as_ref(), now_ms / 1_000, gathered);
                self.journal.append(&entry).map_err(|error| error.to_string())?;
                self.note(&entry, gathered);
            }
            Effect::Reply(token, reply) => gathered.replies.push((token, reply)),
            other => gathered.effects.push(other),
        }
        Ok(())
    }

    fn sign(&self, entry: &mut Entry, outcome: Option<&Outcome>, now_s: u64, gathered: &mut Gathered) {
        let answers: &mut [Answered] = match &mut entry.record {
            Record::Done(done) => &mut done.answers,
            Record::Answer { answered, .. } => std::slice::from_mut(answered),
            _ => return,
        };
        let Some(outcome) = outcome else { return };
        for answered in answers {
            if let Some(event) = self.signer.answer(&answered.request, outcome, now_s) {
                answered.event = event.bytes().to_vec();
                gathered.news.push(News::Answered(answered.request.clone(), event));
            }
        }
    }

    fn note(&self, entry: &Entry, gathered: &mut Gathered) {
        let news = &mut gathered.news;
        match &entry.record {
            Record::Done(_) | Record::Received { .. } => news.extend(settled(entry).into_iter().flatten().map(News::Settled)),
            Record::Accepted(_) => news.extend(held(entry).map(News::Held)),
            Record::Intent(intent) => news.push(News::Pending(intent.request.key)),
            Record::Attach { request, .. } => news.push(News::Pending(request.key)),
            Record::Invoice(invoice) => news.push(News::Invoice(Box::new(as_read(invoice, self.state.network)))),
            _ => {}
        }
    }

    /// `true`: everything of the batch is on the disk, and anchored.
    pub(super) fn commit(&mut self) -> bool {
        if self.journal.pending() == 0 {
            return true;
        }
        match self.journal.commit() {
            Ok(()) => true,
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Nothing was sent and nothing will be; the sync is not tried again.
    pub(super) fn fail(&mut self, words: &str) -> bool {
        self.shared.is_shut.store(true, Ordering::Release);
        tracing::error!(error = words, "the wallet's journal could not be written");
        for (_, caller) in self.callers.drain() {
            caller.fail();
        }
        (self.on_fatal)(words);
        false
    }

    /// After the commit: replies first, then the back end, then answers.
    pub(super) fn perform(&mut self, gathered: Gathered) {
        for (token, reply) in gathered.replies {
            if let Some(caller) = self.callers.remove(&token) {
                caller.tell(reply);
            }
        }
        for effect in gathered.effects {
            self.perform_effect(effect);
        }
        for news in gathered.news {
            self.tell(news);
        }
    }

    fn tell(&self, news: News) {
        let view = &self.shared.view;
        match news {
            News::Answered(request, event) => {
                if request.key.item == 0 {
                    view.remember(request.key.event, KnownAnswer::Answered(event.clone()));
                }
                self.signer.publish(&request, &event);
            }
            News::Pending(key) if key.item == 0 => view.remember(key.event, KnownAnswer::Pending),
            News::Pending(_) => {}
            News::Settled(settled) => self.signer.settled(&settled),
            News::Held(held) => self.signer.held(&held),
            News::Invoice(invoice) => view.remember_invoice(*invoice),
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
                let (hash, attempt) = (order.hash, order.attempt);
                self.backend.lookup(order, Box::new(move |result| drop(queue.send(Message::Looked(hash, attempt, result)))));
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
                if let Some(event) = Event::from_bytes(Bytes::from(bytes)) {
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
