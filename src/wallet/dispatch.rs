//! From a request that may be done to an order for the money room or an answer: one arm a method.
//!
//! Whoever orders something gets what is owed to the client along ([`Owed`]), and answers later, from any thread. Whatever happens to
//! it, the client's `OK` is sent once.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;

use super::access::table::{Hosted, Keys};
use super::answers::{Addressee, Answers};
use super::asked::Sum;
use super::intake::Ticket;
use super::methods::multi_pay::{self, Part};
use super::methods::settle_hold_invoice::Done;
use super::methods::sign_message::Signed;
use super::methods::{
    Desk, Errand, cancel_hold_invoice, get_balance, get_budget, get_info, list_transactions, lookup_invoice, make_hold_invoice,
    make_invoice, pay, pay_invoice, pay_keysend, receive, settle_hold_invoice, sign_message, transaction_json,
};
use super::money::ReadError;
use super::money::types::{InvoiceOrder, On, PayOrder, PayReply, Selector, Transaction, Viewer};
use super::notify::Promise;
use super::service::Wallet;
use super::terms::{self, Refusal, RequestKey, RequestRef, Scheme};
use super::wire::info_event::Offer;
use super::wire::method::Method;
use super::wire::request::{Call, Pay};
use super::wire::response::success;
use crate::base::hex32::{EventId, PublicKey};
use crate::protocol::reason::{Reason, Verdict};

/// A request that may be done.
pub(super) struct Job {
    pub(super) ticket: Ticket,
    pub(super) hosted: Arc<Hosted>,
    pub(super) offer: Offer,
    pub(super) method: Method,
    /// The method as the client wrote it.
    pub(super) name: String,
    pub(super) scheme: Scheme,
    pub(super) request: EventId,
    pub(super) created_at_s: u64,
    /// From when on nothing may be done any more, unix seconds.
    pub(super) deadline_s: u64,
}

impl Job {
    /// The request for the journal; `item` is the place among several.
    fn traced(&self, method: terms::Method, item: u16, item_tag: Option<String>) -> RequestRef {
        RequestRef {
            key: RequestKey { event: self.request, item },
            connection: self.hosted.id,
            client: self.hosted.keys.client,
            scheme: self.scheme,
            method,
            created_at_s: self.created_at_s,
            item_tag,
        }
    }

    fn owed(self) -> Owed {
        Owed {
            debt: Debt {
                keys: Arc::clone(&self.hosted.keys),
                method: self.method,
                name: self.name,
                scheme: self.scheme,
                request: self.request,
                created_at_s: self.created_at_s,
            },
            ticket: self.ticket,
        }
    }
}

/// What it takes to answer a request later.
pub(super) struct Debt {
    pub(super) keys: Arc<Keys>,
    pub(super) method: Method,
    pub(super) name: String,
    pub(super) scheme: Scheme,
    pub(super) request: EventId,
    pub(super) created_at_s: u64,
}

impl Debt {
    fn addressee(&self) -> Addressee<'_> {
        Addressee {
            keys: &self.keys,
            scheme: self.scheme,
            request: RequestKey { event: self.request, item: 0 },
            created_at_s: self.created_at_s,
            item_tag: None,
        }
    }

    pub(super) fn succeed<T: Serialize>(&self, answers: &Answers, result: &T) {
        answers.answer(&self.addressee(), self.method.as_str(), &success(&self.name, result), Ok(()));
    }

    fn refuse(&self, answers: &Answers, refusal: &Refusal) {
        answers.refuse(&self.addressee(), self.method.as_str(), &self.name, refusal);
    }
}

/// A [`Debt`] with the client's `OK`.
pub(super) struct Owed {
    debt: Debt,
    ticket: Ticket,
}

impl Owed {
    pub(super) fn succeed<T: Serialize>(self, result: &T) {
        self.debt.succeed(self.ticket.answers(), result);
        self.ticket.reply(Verdict::Accepted);
    }

    pub(super) fn refuse(self, refusal: &Refusal) {
        self.debt.refuse(self.ticket.answers(), refusal);
        self.ticket.reply(Verdict::Accepted);
    }

    fn end<T: Serialize>(self, result: Result<T, Refusal>) {
        match result {
            Ok(result) => self.succeed(&result),
            Err(refusal) => self.refuse(&refusal),
        }
    }
}

/// The `OK` of a request with several items: sent when the last item has been taken in hand.
struct Several(Mutex<(Option<Ticket>, Verdict)>);

impl Several {
    fn new(ticket: Ticket) -> Arc<Self> {
        Arc::new(Self(Mutex::new((Some(ticket), Verdict::Accepted))))
    }

    /// An item was not taken at all.
    fn refuse(&self, verdict: Verdict) {
        self.0.lock().1 = verdict;
    }
}

impl Drop for Several {
    fn drop(&mut self) {
        let (ticket, verdict) = self.0.get_mut();
        if let Some(ticket) = ticket.take() {
            ticket.reply(std::mem::replace(verdict, Verdict::Accepted));
        }
    }
}

impl Wallet {
    /// Does what is asked for, or sees to it that it is done.
    pub(super) fn dispatch(&self, job: Job, call: Call) {
        if let Some(sum) = Sum::of(&call) {
            self.answers().asked().note(RequestKey { event: job.request, item: 0 }, sum);
        }
        match call {
            Call::PayInvoice(pay) => self.pay(job, terms::Method::PayInvoice, pay_invoice::errand(pay), None),
            Call::PayKeysend(pay) => self.pay(job, terms::Method::PayKeysend, pay_keysend::errand(pay), None),
            Call::Pay(wish) => match self.choose(wish) {
                Ok(pay::Chosen { errand, hash, amount, .. }) => {
                    self.pay(job, terms::Method::Pay, errand, Some((hash, amount)));
                }
                Err(refusal) => match self.answered_before(job.request, job.method) {
                    Some(verdict) => job.ticket.reply(verdict),
                    None => job.owed().refuse(&refusal),
                },
            },
            Call::MultiPayInvoice(items) => self.pay_several(job, terms::Method::MultiPayInvoice, multi_pay::invoices(items)),
            Call::MultiPayKeysend(items) => self.pay_several(job, terms::Method::MultiPayKeysend, multi_pay::keysends(items)),
            Call::MakeInvoice(make) => {
                let order = make_invoice::order(job.traced(terms::Method::MakeInvoice, 0, None), make);
                self.invoice(job, order, transaction_json);
            }
            Call::MakeHoldInvoice(make) => {
                let order = make_hold_invoice::order(job.traced(terms::Method::MakeHoldInvoice, 0, None), make);
                self.invoice(job, order, transaction_json);
            }
            Call::Receive(wish) => {
                let order = receive::order(job.traced(terms::Method::Receive, 0, None), wish);
                self.invoice(job, order, |made| receive::uri(&made));
            }
            Call::SettleHoldInvoice(settle) => {
                let request = job.traced(terms::Method::SettleHoldInvoice, 0, None);
                settle_hold_invoice::run(self.money(), request, &settle, decided(job.owed()));
            }
            Call::CancelHoldInvoice(cancel) => {
                let request = job.traced(terms::Method::CancelHoldInvoice, 0, None);
                cancel_hold_invoice::run(self.money(), request, &cancel, decided(job.owed()));
            }
            Call::SignMessage(sign) => {
                let owed = job.owed();
                sign_message::run(self.money(), sign, Box::new(move |signed| owed.end(signed.map(Signed::from))));
            }
            Call::CreateConnection(wish) => self.create_connection(job.hosted.clone(), wish, job.owed()),
            Call::GetBalance => job.answered(self, get_balance::run),
            Call::GetBudget => job.answered(self, |desk| Ok(get_budget::run(desk))),
            Call::GetInfo => job.answered(self, |desk| Ok(get_info::run(desk))),
            Call::LookupInvoice(lookup) => job.answered(self, |desk| lookup_invoice::run(desk, lookup)),
            Call::ListTransactions(list) => job.answered(self, |desk| list_transactions::run(desk, list)),
        }
    }

    /// What a `pay` is to pay, within the fee that it allows.
    fn choose(&self, wish: Pay) -> Result<pay::Chosen, Refusal> {
        let money = self.money();
        let chosen = pay::choose(money.info().network, wish)?;
        if chosen.fee_max.is_some() {
            // A read that fails counts as outside: the stricter reading.
            let is_inside = matches!(money.lookup(Viewer::Owner, &Selector::Receipt(chosen.hash)), Ok(Some(_)));
            pay::check_fee(&chosen, money.fee_reserve(chosen.amount), is_inside)?;
        }
        Ok(chosen)
    }

    /// One payment. Its answer comes from the money room; `known` is what a pending one can be told of.
    fn pay(&self, job: Job, method: terms::Method, errand: Errand, known: Option<pay::Known>) {
        let request = job.traced(method, 0, None);
        let deadline_s = job.deadline_s;
        let owed = job.owed();
        let on = move |reply| match reply {
            PayReply::Durable => {
                let Owed { debt, ticket } = owed;
                if let Some((hash, amount)) = known {
                    let answers = ticket.answers();
                    answers.news().promise(Promise { debt, hash, amount }, answers.clock().now_ms());
                }
                ticket.reply(Verdict::Accepted);
            }
            PayReply::Expired => owed.ticket.reply(Verdict::Refused(Reason::invalid("expired"))),
            PayReply::Refused(refusal) => owed.refuse(&refusal),
            PayReply::Unknown => owed.ticket.reply(unread()),
            PayReply::Failed => owed.ticket.reply(unwritten()),
        };
        self.order(request, errand, deadline_s, Box::new(on));
    }

    /// What an item was told before that left no record. What is in the journal stands before it.
    fn item_refused_before(&self, wallet: &PublicKey, request: &RequestRef) -> Result<Option<Refusal>, ReadError> {
        let (refused, asked_at_s) = (self.answers().refused(), request.created_at_s);
        let RequestKey { event, item } = &request.key;
        let told = refused.told(wallet, asked_at_s, event, Some(*item)).or_else(|| refused.forgotten(wallet, asked_at_s));
        let Some(refusal) = told else { return Ok(None) };
        Ok(self.money().stored_answer(&request.key)?.is_none().then_some(refusal))
    }

    fn order(&self, request: RequestRef, errand: Errand, deadline_s: u64, on: On<PayReply>) {
        let Errand { target, metadata } = errand;
        self.money().pay(PayOrder { request, target, expires_at_s: Some(deadline_s), metadata }, on);
    }

    /// Several payments, each by itself. An item that was answered before is answered again and nothing else; the money room knows
    /// the others, whatever became of the process in between.
    fn pay_several(&self, job: Job, method: terms::Method, parts: Vec<Part>) {
        let answers = self.answers();
        let orders: Vec<_> =
            (0..=u16::MAX).zip(parts).map(|(item, part)| (job.traced(method, item, Some(part.tag)), part.errand)).collect();
        let (deadline_s, keys, now_ms) = (job.deadline_s, Arc::clone(&job.hosted.keys), answers.clock().now_ms());
        let several = Several::new(job.ticket);
        for (request, errand) in orders {
            if let Some(event) = answers.outbox().item(&request.key, now_ms) {
                answers.publish_kept(&event, now_ms);
                continue;
            }
            let before = if errand.is_ok() { self.item_refused_before(&keys.wallet, &request) } else { Ok(None) };
            let errand = match before.map(|before| before.map_or(errand, Err)) {
                Ok(Ok(errand)) => {
                    answers.asked().note(request.key, Sum::of_target(&errand.target));
                    errand
                }
                Ok(Err(refusal)) => {
                    refuse_item(answers, &keys, &request, &refusal);
                    continue;
                }
                Err(error) => {
                    tracing::error!(%error, "an answer could not be read");
                    several.refuse(unread());
                    continue;
                }
            };
            let (several, keys, answers, of) = (Arc::clone(&several), Arc::clone(&keys), Arc::clone(answers), request.clone());
            let on = move |reply| match reply {
                PayReply::Durable => drop(several),
                PayReply::Expired => several.refuse(Verdict::Refused(Reason::invalid("expired"))),
                PayReply::Refused(refusal) => refuse_item(&answers, &keys, &of, &refusal),
                PayReply::Unknown => several.refuse(unread()),
                PayReply::Failed => several.refuse(unwritten()),
            };
            self.order(request, errand, deadline_s, Box::new(on));
        }
    }

    fn invoice<T: Serialize>(&self, job: Job, order: InvoiceOrder, result: impl FnOnce(Transaction) -> T + Send + 'static) {
        let owed = job.owed();
        self.money().make_invoice(order, Box::new(move |made| owed.end(made.map(result))));
    }
}

impl Job {
    /// Answers at once, from memory or the disk.
    fn answered<T: Serialize>(self, wallet: &Wallet, read: impl FnOnce(&Desk<'_>) -> Result<T, Refusal>) {
        let result = read(&Desk { money: wallet.money(), asker: &self.hosted, scheme: self.scheme, offer: self.offer });
        self.owed().end(result);
    }
}

fn decided(owed: Owed) -> On<Result<(), Refusal>> {
    Box::new(move |done| owed.end(done.map(|()| Done {})))
}

fn refuse_item(answers: &Answers, keys: &Keys, request: &RequestRef, refusal: &Refusal) {
    let method = request.method.as_str();
    answers.refuse(&Addressee::of(keys, request), method, method, refusal);
}

pub(super) fn unread() -> Verdict {
    let words = "the wallet could not read what it has written down of this request, so whether it was paid is not known: look the \
                 invoice up, or ask the owner of the wallet, before you pay it in another way";
    Verdict::Refused(Reason::error(words))
}

fn unwritten() -> Verdict {
    let words = "the wallet could not write this down, so whether it will be paid is not known: look the invoice up when the wallet is \
                 back, before you pay it in another way";
    Verdict::Refused(Reason::error(words))
}
