//! The way in: which events are requests for a wallet key that is hosted here, and what becomes of them.
//!
//! A request for a hosted key never leaves the process: it is neither stored nor sent on. The questions of [`Wallet::claim`] cost
//! a look into a table and come before the signature is checked; everything else comes after.

use std::sync::Arc;

use super::access::permission::{check_encryption, check_method, check_standing};
use super::access::rate::Pace;
use super::access::table::Hosted;
use super::answers::{Addressee, Answers};
use super::dispatch::{Job, unread};
use super::methods::check_able;
use super::money::types::KnownAnswer;
use super::outbox::{Outbox, Seen};
use super::service::Wallet;
use super::terms::{ErrorCode, Refusal, RequestKey, Scheme};
use super::wire::envelope::scheme_of;
use super::wire::error::other;
use super::wire::method::Method;
use super::wire::notification::kind_in;
use super::wire::request::{Call, MULTI_ITEMS_MAX, Request};
use super::wire::response::UNKNOWN_METHOD;
use crate::base::hex32::{EventId, Hex32, PublicKey};
use crate::protocol::event::{Draft, Event};
use crate::protocol::filter::Filter;
use crate::protocol::kind;
use crate::protocol::reason::{Prefix, Reason, Verdict};

/// Most requests of one filter that the money room is asked about.
const RECALL_NAMED_MAX: usize = 100;
/// Most clients of one filter, and most connections of each, that are noted to listen.
const LISTENERS_MAX: usize = 16;

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
pub(super) struct Ticket {
    answers: Arc<Answers>,
    request: EventId,
    reply: Option<Reply>,
}

impl Ticket {
    pub(super) fn answers(&self) -> &Arc<Answers> {
        &self.answers
    }

    pub(super) fn reply(mut self, verdict: Verdict) {
        let reply = self.reply.take();
        // The mark goes first: who has the `OK` may ask again at once, and must not be told that the answer will come.
        drop(self);
        if let Some(reply) = reply {
            reply(verdict);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.answers.outbox().finish(&self.request);
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
            // One item of several says nothing of the others.
            Some(KnownAnswer::Answered(event)) if !is_item(&event) => {
                answers.stats().repeated();
                answers.deliver(RequestKey { event: draft.id, item: 0 }, &event);
                ticket.reply(Verdict::Accepted);
            }
            _ => self.serve(draft, &hosted, ticket),
        }
    }

    /// The kept answers that a filter sees (see [`Outbox::recall`]). Answers to payments that are no longer kept come back when
    /// their request is named.
    pub fn recall(&self, filter: &Filter) -> Vec<Event> {
        self.note_listeners(filter);
        if !Outbox::concerns(filter) {
            return Vec::new();
        }
        let (outbox, now_ms) = (self.answers().outbox(), self.answers().clock().now_ms());
        let named = filter.tag(b'e').map_or(&[][..], |requests| &requests.hex);
        for request in named.iter().take(RECALL_NAMED_MAX).filter(|request| !outbox.knows(request)) {
            if let Some(KnownAnswer::Answered(event)) = self.money().request_answer(request) {
                outbox.keep(RequestKey { event: *request, item: 0 }, event, now_ms);
            }
        }
        outbox.recall(filter, now_ms)
    }

    /// Who subscribes to one kind of notification for a client's key can read that kind.
    fn note_listeners(&self, filter: &Filter) {
        let (Some(kinds), Some(clients)) = (filter.kinds.as_deref(), filter.tag(b'p')) else { return };
        for (kind, scheme) in [(kind_in(Scheme::Nip04), Scheme::Nip04), (kind_in(Scheme::Nip44), Scheme::Nip44)] {
            if !kinds.contains(&kind) {
                continue;
            }
            for client in clients.hex.iter().take(LISTENERS_MAX) {
                let of_client = self.answers().table().of_client(client, LISTENERS_MAX);
                let is_named =
                    |hosted: &&Arc<Hosted>| filter.authors.as_ref().is_none_or(|all| all.contains(&hosted.keys.wallet));
                of_client.iter().filter(is_named).for_each(|hosted| hosted.listens(scheme));
            }
        }
    }

    /// Brings back what a start must not lose: the answers of the last day, and what is to be told of it.
    pub(super) fn recall_the_last_day(&self) {
        let (answers, now_ms) = (self.answers(), self.answers().clock().now_ms());
        let since_s = (now_ms / 1_000).saturating_sub(super::notify::LOOK_BACK_S);
        // The newest come first and must be the last to be pushed out.
        for (request, event) in self.money().recent_answers(since_s).into_iter().rev() {
            answers.outbox().keep(request, event, now_ms);
        }
        self.look_back();
    }

    fn addressee_of(&self, draft: &Draft<'_>) -> Option<Arc<Hosted>> {
        let wallet: Hex32 = draft.tag_value("p").and_then(|value| PublicKey::parse(value).ok())?;
        self.answers().table().get(&wallet).filter(|hosted| hosted.keys.client == draft.pubkey)
    }

    /// A request that was not seen before.
    fn serve(&self, draft: &Draft<'_>, hosted: &Arc<Hosted>, ticket: Ticket) {
        let answers = self.answers();
        let pace = hosted.gate().pace();
        if pace == Pace::MuchTooFast {
            answers.stats().refused();
            return ticket.reply(Verdict::Refused(Reason::new(Prefix::RateLimited, "this connection asks too fast")));
        }
        // Even a connection that is over is read, so that the refusal can name the method: old clients need that to read it.
        let opened = hosted.keys.envelope.open(&draft.content);
        let (scheme, request) = match &opened {
            Ok((scheme, plaintext)) => {
                hosted.spoke(*scheme);
                (*scheme, Request::parse(plaintext))
            }
            Err(undecryptable) => (scheme_of(&draft.content), Err(other(undecryptable.to_string()))),
        };
        let name = request.as_ref().map_or_else(|_| UNKNOWN_METHOD.to_owned(), Request::result_type);
        let method = request.as_ref().ok().and_then(|request| request.method().ok());
        let admitted = if pace == Pace::Fine { self.admit(draft, hosted, scheme, request) } else { Err(too_fast()) };
        let told = method.and_then(|method| self.refused_before(draft, hosted, method));
        let admitted = match (admitted, told) {
            // Of the same words those that name the reason, unless they ask for another try.
            (Err(now), Some(told)) if now.code != told.code || pace != Pace::Fine => Err(told),
            (Ok(_), Some(told)) => Err(told),
            (admitted, _) => admitted,
        };
        match admitted {
            Ok((method, call)) => self.begin(draft, hosted, ticket, Begun { method, name, scheme, call }),
            Err(refusal) => {
                if let Some(verdict) = method.and_then(|method| self.answered_before(draft.id, method)) {
                    return ticket.reply(verdict);
                }
                let to = Addressee {
                    keys: &hosted.keys,
                    scheme,
                    request: RequestKey { event: draft.id, item: 0 },
                    created_at_s: draft.created_at,
                    item_tag: None,
                };
                answers.refuse(&to, method.map_or(UNKNOWN_METHOD, Method::as_str), &name, &refusal);
                ticket.reply(Verdict::Accepted);
            }
        }
    }

    /// What may be done for this request, by the connection's rights and the back end's abilities.
    fn admit(
        &self,
        draft: &Draft<'_>,
        hosted: &Hosted,
        scheme: Scheme,
        request: Result<Request<'_>, Refusal>,
    ) -> Result<(Method, Call), Refusal> {
        check_standing(&hosted.profile, self.answers().clock().now_s())?;
        check_encryption(&hosted.profile, scheme, draft.tag_value("encryption"))?;
        let request = request?;
        let method = request.method()?;
        check_able(self.able(), method)?;
        check_method(&hosted.profile, method)?;
        request.call(method).map(|call| (method, call))
    }

    fn begin(&self, draft: &Draft<'_>, hosted: &Arc<Hosted>, ticket: Ticket, begun: Begun) {
        let Begun { method, name, scheme, call } = begun;
        let (deadline_s, now_s) = (self.deadline_s(draft), self.answers().clock().now_s());
        // A payment that was answered long ago is only known to the money room, which also knows what is too late.
        if now_s >= deadline_s && !method.is_payment() {
            self.answers().stats().refused();
            return ticket.reply(Verdict::Refused(Reason::invalid("expired")));
        }
        let offer = hosted.profile.offer(now_s, self.able());
        let (request, created_at_s) = (draft.id, draft.created_at);
        let hosted = Arc::clone(hosted);
        self.dispatch(Job { ticket, hosted, offer, method, name, scheme, request, created_at_s, deadline_s }, call);
    }

    /// What a payment request was told before as a whole that left no record. Items of several are looked at one by one.
    fn refused_before(&self, draft: &Draft<'_>, hosted: &Hosted, method: Method) -> Option<Refusal> {
        if !method.is_payment() {
            return None;
        }
        let (refused, wallet) = (self.answers().refused(), &hosted.keys.wallet);
        let told = refused.told(wallet, draft.created_at, &draft.id, None);
        if method.is_several() { told } else { told.or_else(|| refused.forgotten(wallet, draft.created_at)) }
    }

    /// The `OK` of a payment request, refused now, that was taken up before: then what was answered stands for ever, whatever became of
    /// the connection since. `None`: the journal does not know it.
    pub(super) fn answered_before(&self, event: EventId, method: Method) -> Option<Verdict> {
        if !method.is_payment() {
            return None;
        }
        let items = if method.is_several() { MULTI_ITEMS_MAX } else { 1 };
        let (mut is_known, mut is_unread) = (false, false);
        for item in (0..=u16::MAX).take(items) {
            let key = RequestKey { event, item };
            match self.money().stored_answer(&key) {
                Ok(Some(KnownAnswer::Answered(answer))) => {
                    self.answers().stats().repeated();
                    self.answers().deliver(key, &answer);
                    is_known = true;
                }
                Ok(Some(KnownAnswer::Pending)) => is_known = true,
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "an answer could not be read");
                    is_unread = true;
                }
            }
        }
        if is_unread { Some(unread()) } else { is_known.then_some(Verdict::Accepted) }
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

/// What [`Wallet::admit`] let in.
struct Begun {
    method: Method,
    name: String,
    scheme: Scheme,
    call: Call,
}

/// Whether an answer is that to one item of several.
fn is_item(answer: &Event) -> bool {
    answer.view().tag(b'd').is_some()
}
