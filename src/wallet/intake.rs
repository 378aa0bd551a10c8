//! The way in: which events are requests for a wallet key that is hosted here, and what becomes of them.
//!
//! A request for a hosted key never leaves the process: it is neither stored nor sent on. The questions of [`Wallet::claim`] cost
//! a look into a table and come before the signature is checked; everything else comes after.

use std::sync::Arc;

use super::access::permission::{check_encryption, check_method, check_standing};
use super::access::rate::Pace;
use super::access::table::{Hosted, Keys};
use super::answers::{Addressee, Answers};
use super::methods::{
    Desk, get_balance, get_budget, get_info, list_transactions, lookup_invoice, make_invoice, pay_invoice, transaction_json,
};
use super::money::types::{KnownAnswer, PayReply};
use super::outbox::{Outbox, Seen};
use super::service::Wallet;
use super::terms::{self, ErrorCode, Refusal, RequestKey, RequestRef, Scheme};
use super::wire::envelope::scheme_of;
use super::wire::error::other;
use super::wire::method::Method;
use super::wire::request::{Call, MakeInvoice, PayInvoice, Request};
use super::wire::response::{UNKNOWN_METHOD, success};
use crate::base::hex32::{EventId, Hex32, PublicKey};
use crate::protocol::event::{Draft, Event};
use crate::protocol::filter::Filter;
use crate::protocol::kind;
use crate::protocol::reason::{Prefix, Reason, Verdict};

/// Most requests of one filter that the money room is asked about.
const RECALL_NAMED_MAX: usize = 100;

/// What the wallet says of an event before its signature is checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Claim {
    /// It is none of the wallet's business.
    NotMine,
    /// It is for [`Wallet::take`], once its signature was checked.
    Take,
    /// It is for a hosted key and nobody will take it.
    Refuse(Reason),
}

/// Called exactly once with what the client's `OK` says.
pub type Reply = Box<dyn FnOnce(Verdict) + Send>;

/// A request in hand: its reply, and the mark that somebody works on it, which goes when this is dropped.
struct Ticket {
    answers: Arc<Answers>,
    request: EventId,
    reply: Option<Reply>,
}

impl Ticket {
    fn reply(mut self, verdict: Verdict) {
        if let Some(reply) = self.reply.take() {
            reply(verdict);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.answers.outbox().finish(&self.request);
    }
}

/// What it takes to answer later, on another thread.
struct Owed {
    ticket: Ticket,
    keys: Arc<Keys>,
    request: RequestRef,
}

impl Owed {
    fn addressee(&self) -> Addressee<'_> {
        Addressee {
            keys: &self.keys,
            scheme: self.request.scheme,
            request: self.request.key.event,
            created_at_s: self.request.created_at_s,
            item_tag: None,
        }
    }

    fn succeed<T: serde::Serialize>(self, result: &T) {
        let method = self.request.method.as_str();
        self.ticket.answers.answer(&self.addressee(), method, &success(method, result), Ok(()));
        self.ticket.reply(Verdict::Accepted);
    }

    fn refuse(self, refusal: &Refusal) {
        self.ticket.answers.refuse(&self.addressee(), self.request.method.as_str(), refusal);
        self.ticket.reply(Verdict::Accepted);
    }
}

impl Wallet {
    /// Whether an event is a request to a hosted key, and whether it may be one. Touches no disk; asks for no signature.
    pub fn claim(&self, draft: &Draft<'_>) -> Claim {
        if draft.kind != kind::WALLET_REQUEST {
            return Claim::NotMine;
        }
        let mut named = draft.tags.iter().filter(|tag| tag.name() == "p");
        let (first, second) = (named.next(), named.next());
        let table = self.answers().table();
        let wallet = |tag: &crate::protocol::event::Tag<'_>| tag.value().and_then(|value| PublicKey::parse(value).ok());
        let Some(hosted) = first.and_then(wallet).and_then(|wallet| table.get(&wallet)) else {
            // A key of ours hidden behind another one must not leave the process either.
            let hidden = second.is_some()
                && draft.tags.iter().filter(|tag| tag.name() == "p").filter_map(wallet).any(|wallet| table.has(&wallet));
            return if hidden { refuse_several() } else { Claim::NotMine };
        };
        if second.is_some() {
            return refuse_several();
        }
        if draft.pubkey != hosted.keys.client {
            return Claim::Refuse(Reason::restricted("this key has no connection to that wallet"));
        }
        let now_s = self.answers().clock().now_s();
        if draft.created_at > now_s.saturating_add(self.config().freshness_s) {
            return Claim::Refuse(Reason::invalid("expired (created_at lies too far in the future)"));
        }
        Claim::Take
    }

    /// Takes a request whose signature was checked: answers it by an event and calls `reply` once, now or from another thread.
    pub fn take(&self, draft: &Draft<'_>, reply: Reply) {
        let Some(hosted) = self.addressee_of(draft) else {
            return reply(Verdict::Refused(Reason::restricted("this key has no connection to that wallet")));
        };
        let answers = self.answers();
        let now_ms = answers.clock().now_ms();
        hosted.seen(now_ms / 1_000);
        match answers.outbox().begin(draft.id, now_ms) {
            Seen::Answered(events) => {
                answers.stats().repeated();
                for event in &events {
                    answers.publish_kept(event, now_ms);
                }
                return reply(Verdict::Accepted);
            }
            Seen::Pending => return reply(Verdict::Accepted),
            Seen::Full => return reply(Verdict::Refused(Reason::error("the wallet is busy, try again in a second"))),
            Seen::New => {}
        }
        let ticket = Ticket { answers: Arc::clone(answers), request: draft.id, reply: Some(reply) };
        match self.money().request_answer(&draft.id) {
            Some(KnownAnswer::Answered(event)) => {
                answers.stats().repeated();
                answers.deliver(draft.id, &event);
                ticket.reply(Verdict::Accepted);
            }
            Some(KnownAnswer::Pending) => ticket.reply(Verdict::Accepted),
            None => self.serve(draft, &hosted, ticket),
        }
    }

    /// The kept answers that a filter sees (see [`Outbox::recall`]). Answers to payments that are no longer kept come back when
    /// their request is named.
    pub fn recall(&self, filter: &Filter) -> Vec<Event> {
        if !Outbox::concerns(filter) {
            return Vec::new();
        }
        let (outbox, now_ms) = (self.answers().outbox(), self.answers().clock().now_ms());
        let named = filter.tag(b'e').map_or(&[][..], |requests| &requests.hex);
        for request in named.iter().take(RECALL_NAMED_MAX).filter(|request| !outbox.knows(request)) {
            if let Some(KnownAnswer::Answered(event)) = self.money().request_answer(request) {
                outbox.keep(*request, event, now_ms);
            }
        }
        outbox.recall(filter, now_ms)
    }

    fn addressee_of(&self, draft: &Draft<'_>) -> Option<Arc<Hosted>> {
        let wallet: Hex32 = draft.tag_value("p").and_then(|value| PublicKey::parse(value).ok())?;
        self.answers().table().get(&wallet).filter(|hosted| hosted.keys.client == draft.pubkey)
    }

    /// A request that was not seen before.
    fn serve(&self, draft: &Draft<'_>, hosted: &Hosted, ticket: Ticket) {
        let answers = self.answers();
        let mut to = Addressee {
            keys: &hosted.keys,
            scheme: scheme_of(&draft.content),
            request: draft.id,
            created_at_s: draft.created_at,
            item_tag: None,
        };
        let pace = hosted.gate().pace();
        if pace == Pace::MuchTooFast {
            answers.stats().refused();
            return ticket.reply(Verdict::Refused(Reason::new(Prefix::RateLimited, "this connection asks too fast")));
        }
        // Even a connection that is over is read, so that the refusal can name the method: old clients need that to read it.
        let opened = hosted.keys.envelope.open(&draft.content);
        let request = match &opened {
            Ok((scheme, plaintext)) => {
                to.scheme = *scheme;
                Request::parse(plaintext)
            }
            Err(undecryptable) => Err(other(undecryptable.to_string())),
        };
        let name = request.as_ref().map_or_else(|_| UNKNOWN_METHOD.to_owned(), Request::result_type);
        let admitted = if pace == Pace::Fine { self.admit(draft, hosted, to.scheme, request) } else { Err(too_fast()) };
        match admitted {
            Err(refusal) => {
                answers.refuse(&to, &name, &refusal);
                ticket.reply(Verdict::Accepted);
            }
            Ok(call) => self.dispatch(draft, hosted, &to, call, ticket),
        }
    }

    /// What may be done for this request, by the connection's rights.
    fn admit(
        &self,
        draft: &Draft<'_>,
        hosted: &Hosted,
        scheme: Scheme,
        request: Result<Request<'_>, Refusal>,
    ) -> Result<Call, Refusal> {
        check_standing(&hosted.profile, self.answers().clock().now_s())?;
        check_encryption(&hosted.profile, scheme, draft.tag_value("encryption"))?;
        let request = request?;
        let method = request.method()?;
        check_method(&hosted.profile, method)?;
        request.call(method)
    }

    fn dispatch(&self, draft: &Draft<'_>, hosted: &Hosted, to: &Addressee<'_>, call: Call, ticket: Ticket) {
        let deadline_s = self.deadline_s(draft);
        let is_late = self.answers().clock().now_s() >= deadline_s;
        // A payment that was answered long ago is only known to the money room, which also knows what is too late.
        if is_late && !matches!(call, Call::PayInvoice(_)) {
            self.answers().stats().refused();
            return ticket.reply(Verdict::Refused(Reason::invalid("expired")));
        }
        let traced = |method| RequestRef {
            key: RequestKey { event: draft.id, item: 0 },
            connection: hosted.id,
            client: hosted.keys.client,
            scheme: to.scheme,
            method,
            created_at_s: draft.created_at,
            item_tag: None,
        };
        match call {
            Call::PayInvoice(pay) => self.pay(hosted, traced(terms::Method::PayInvoice), pay, deadline_s, ticket),
            Call::MakeInvoice(make) => self.make_invoice(hosted, traced(terms::Method::MakeInvoice), make, ticket),
            read => {
                self.read(&Desk { money: self.money(), asker: hosted, scheme: to.scheme }, to, read);
                ticket.reply(Verdict::Accepted);
            }
        }
    }

    fn read(&self, desk: &Desk<'_>, to: &Addressee<'_>, call: Call) {
        let (method, plaintext) = match call {
            Call::GetBalance => (Method::GetBalance, written(Method::GetBalance, get_balance::run(desk))),
            Call::GetInfo => (Method::GetInfo, written(Method::GetInfo, Ok(get_info::run(desk)))),
            Call::GetBudget => (Method::GetBudget, written(Method::GetBudget, Ok(get_budget::run(desk)))),
            Call::LookupInvoice(lookup) => {
                (Method::LookupInvoice, written(Method::LookupInvoice, lookup_invoice::run(desk, lookup)))
            }
            Call::ListTransactions(list) => {
                (Method::ListTransactions, written(Method::ListTransactions, list_transactions::run(desk, list)))
            }
            Call::PayInvoice(_) | Call::MakeInvoice(_) => return,
        };
        match plaintext {
            Ok(plaintext) => self.answers().answer(to, method.as_str(), &plaintext, Ok(())),
            Err(refusal) => self.answers().refuse(to, method.as_str(), &refusal),
        }
    }

    fn pay(&self, hosted: &Hosted, request: RequestRef, pay: PayInvoice, deadline_s: u64, ticket: Ticket) {
        let owed = Owed { ticket, keys: Arc::clone(&hosted.keys), request };
        let request = owed.request.clone();
        let on = move |reply| match reply {
            PayReply::Durable => owed.ticket.reply(Verdict::Accepted),
            PayReply::Expired => owed.ticket.reply(Verdict::Refused(Reason::invalid("expired"))),
            PayReply::Refused(refusal) => owed.refuse(&refusal),
            PayReply::Failed => {
                owed.ticket.reply(Verdict::Refused(Reason::error("the wallet could not write; nothing was paid")))
            }
        };
        pay_invoice::run(self.money(), request, pay, deadline_s, Box::new(on));
    }

    fn make_invoice(&self, hosted: &Hosted, request: RequestRef, make: MakeInvoice, ticket: Ticket) {
        let owed = Owed { ticket, keys: Arc::clone(&hosted.keys), request };
        let request = owed.request.clone();
        let on = move |made| match made {
            Ok(transaction) => owed.succeed(&transaction_json(transaction)),
            Err(refusal) => owed.refuse(&refusal),
        };
        make_invoice::run(self.money(), request, make, Box::new(on));
    }

    /// From when on nothing may be done for a request: its `expiration`, and in any case some minutes after it was made.
    fn deadline_s(&self, draft: &Draft<'_>) -> u64 {
        let stale_s = draft.created_at.saturating_add(self.config().freshness_s).saturating_add(1);
        draft.expiration().map_or(stale_s, |at_s| at_s.min(stale_s))
    }
}

fn refuse_several() -> Claim {
    Claim::Refuse(Reason::invalid("a wallet request names exactly one wallet: it needs one p tag"))
}

fn too_fast() -> Refusal {
    Refusal::new(ErrorCode::RateLimited, "this connection asks too fast; try again in a few seconds")
}

fn written<T: serde::Serialize>(method: Method, result: Result<T, Refusal>) -> Result<String, Refusal> {
    result.map(|result| success(method.as_str(), &result))
}
