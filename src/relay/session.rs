//! One client's state machine: text in, frames into its outbox. No sockets, no tasks; nothing here blocks.
//!
//! The shell around it (a connection of `server`) calls [`Session::on_text`] for each message and [`Session::pump`] while
//! [`Session::has_work`] and the outbox has room, and writes what the outbox gives.

use std::sync::Arc;

use smallvec::SmallVec;

use super::reply::Reply;
use super::stats::Verb;
use super::verbs;
use super::work::Work;
use super::{Peer, Relay};
use crate::base::hex32::{EventId, PublicKey};
use crate::live::{Outbox, Subscription};
use crate::policy::login::Login;
use crate::policy::rate::ConnectionRates;
use crate::protocol::client_message::{self, ClientMessage, Malformed};
use crate::protocol::event::{Event, TagValue};
use crate::protocol::reason::{Prefix, Reason, Verdict};
use crate::protocol::relay_message;

/// Close code "internal error" (RFC 6455).
const CLOSE_INTERNAL: u16 = 1_011;
/// Close code "policy violation" (RFC 6455).
const CLOSE_POLICY: u16 = 1_008;
/// From this many waiting COUNTs on a client is not read from.
const BUSY_COUNTS: usize = 64;
/// Most keys of a connection that are remembered for what they wrote to the intake.
const AUTHORS_MAX: usize = 16;
/// Subscription ids longer than this are not repeated back to whoever sent them.
const ECHOED_ID_BYTES: usize = 256;

/// One connection.
pub struct Session {
    pub(super) relay: Arc<Relay>,
    pub(super) outbox: Arc<Outbox>,
    /// `None` only if the machine had no randomness for a challenge; the connection is closed then.
    pub(super) login: Option<Login>,
    /// Whether the challenge was sent.
    offered: bool,
    pub(super) rates: ConnectionRates,
    /// Keys that the intake took signed events of on this connection; at most [`AUTHORS_MAX`].
    authors: SmallVec<[PublicKey; 1]>,
    /// At most `Limits::subscriptions`, so that a plain list is searched fastest and costs least while idle.
    pub(super) subscriptions: Vec<Arc<Subscription>>,
    pub(super) work: Work,
}

impl Session {
    pub(super) fn new(relay: Arc<Relay>, peer: Peer, outbox: Arc<Outbox>) -> Self {
        relay.counters.session_opened();
        Self {
            rates: relay.policy.rates().connection(peer.ip),
            login: Login::new().ok(),
            offered: false,
            authors: SmallVec::new(),
            relay,
            outbox,
            subscriptions: Vec::new(),
            work: Work::default(),
        }
    }

    /// The connection is open. A login is offered at once only where nothing goes without one: clients that have no key to log in
    /// with take an offer for a refusal and give up what they subscribed to (the `nwc` crate 0.44 does).
    pub fn on_open(&mut self) {
        if self.login.is_none() {
            return self.outbox.close(CLOSE_INTERNAL, "error: no randomness for a challenge");
        }
        let rules = self.relay.policy.rules();
        if rules.login_to_read || rules.login_to_write {
            self.offer_login();
        }
    }

    /// Sends the challenge (NIP-42), once, ahead of the first refusal that a login would lift.
    pub(super) fn offer_login(&mut self) {
        if let (Some(login), false) = (&self.login, self.offered) {
            self.outbox.push_text(relay_message::auth(login.challenge()));
            self.offered = true;
        }
    }

    /// A text message.
    pub fn on_text(&mut self, text: &str) {
        let most = self.relay.policy.limits().message_bytes;
        if text.len() > most {
            self.relay.counters.message(Verb::Malformed);
            self.notice(&Reason::invalid(format!("message is {} bytes, at most {most} are taken", text.len())));
            return self.charge_unreadable(text.len());
        }
        match client_message::parse(text) {
            Ok(message) => self.on_message(message),
            Err(malformed) => {
                self.on_malformed(malformed);
                self.charge_unreadable(text.len());
            }
        }
    }

    /// A binary message: the protocol has none.
    pub fn on_binary(&mut self) {
        self.relay.counters.message(Verb::Malformed);
        self.notice(&Reason::invalid("binary messages are not understood, send text"));
        self.charge_unreadable(0);
    }

    /// Runs one slice of the stored query or count whose turn it is, if the outbox has room. True: call again.
    pub fn pump(&mut self) -> bool {
        let (login, authors) = (&self.login, &self.authors);
        let is_for_client = |event: &Event| match event.view().tag(b'p') {
            Some(TagValue::Hex(key)) => authors.contains(&key) || login.as_ref().is_some_and(|login| login.has(&key)),
            _ => false,
        };
        self.work.run_slice(&self.relay, &self.outbox, &is_for_client)
    }

    /// Whether a stored query or a count is under way.
    pub fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// Whether so many counts wait that nothing more should be read before some of them are answered.
    pub fn is_busy(&self) -> bool {
        self.work.counts() >= BUSY_COUNTS
    }

    /// Open subscriptions.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.iter().filter(|subscription| subscription.is_alive()).count()
    }

    fn on_message(&mut self, message: ClientMessage<'_>) {
        match message {
            ClientMessage::Event(draft) => verbs::event::run(self, *draft),
            ClientMessage::Req { subscription, filters } => verbs::req::run(self, &subscription, filters),
            ClientMessage::Count { subscription, filters } => verbs::count::run(self, &subscription, filters),
            ClientMessage::Close(subscription) => verbs::close::run(self, &subscription),
            ClientMessage::Auth(draft) => verbs::auth::run(self, &draft),
        }
    }

    fn on_malformed(&mut self, malformed: Malformed) {
        self.relay.counters.message(Verb::Malformed);
        match malformed {
            Malformed::Event(id, reason) => self.reply(id).send(Verdict::Refused(reason)),
            Malformed::Subscription(id, reason) => self.refuse(&id, &reason),
            Malformed::Count(id, reason) => self.refuse_query(&id, &reason),
            Malformed::Negentropy(id, reason) => self.refuse_negentropy(&id, &reason),
            Malformed::Notice(reason) => self.notice(&reason),
        }
    }

    /// The client has shown that it holds this key.
    pub(super) fn wrote_as(&mut self, author: PublicKey) {
        if self.authors.len() < AUTHORS_MAX && !self.authors.contains(&author) {
            self.authors.push(author);
        }
    }

    /// What cannot be read costs as much as what can; whoever sends more of it than it may ask is closed.
    fn charge_unreadable(&self, bytes: usize) {
        if self.relay.policy.rates().take_unreadable(&self.rates, bytes).is_err() {
            self.outbox.close(CLOSE_POLICY, "too many messages that cannot be read");
        }
    }

    /// What the filters of everything cost that is open, but for the subscription of this id.
    pub(super) fn open_cost(&self, replaced: &str) -> usize {
        let open = self.subscriptions.iter().filter(|subscription| subscription.is_alive() && subscription.id() != replaced);
        open.map(|subscription| subscription.cost()).sum::<usize>() + self.work.cost()
    }

    pub(super) fn reply(&self, id: EventId) -> Reply {
        Reply::to_client(&self.outbox, id, &self.relay.counters)
    }

    /// Refuses a REQ. `CLOSED` says that no subscription of that id is open, so one that was is ended.
    pub(super) fn refuse(&mut self, id: &str, reason: &Reason) {
        self.end_subscription(id);
        self.refuse_query(id, reason);
    }

    /// Refuses what has no subscription (COUNT).
    pub(super) fn refuse_query(&mut self, id: &str, reason: &Reason) {
        if reason.prefix == Prefix::AuthRequired {
            self.offer_login();
        }
        if id.len() > ECHOED_ID_BYTES {
            self.relay.counters.refusal(reason.prefix);
            return self.notice(reason);
        }
        self.relay.say_closed(&self.outbox, id, reason);
    }

    /// Refuses a session of NIP-77: whoever hears nothing addressed to it waits for it in vain.
    fn refuse_negentropy(&self, id: &str, reason: &Reason) {
        self.relay.counters.refusal(reason.prefix);
        if id.len() > ECHOED_ID_BYTES {
            return self.notice(reason);
        }
        self.outbox.push_text(relay_message::neg_err(id, reason));
    }

    /// Ends the subscription of that id, if there is one; its place is free at once.
    pub(super) fn end_subscription(&mut self, id: &str) {
        if let Some(at) = self.subscriptions.iter().position(|subscription| subscription.id() == id) {
            let subscription = self.subscriptions.swap_remove(at);
            self.relay.live.unsubscribe(&subscription);
            self.work.drop_ended();
        }
    }

    fn notice(&self, reason: &Reason) {
        self.outbox.push_text(relay_message::notice(&reason.to_string()));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for subscription in &self.subscriptions {
            self.relay.live.unsubscribe(subscription);
        }
        self.outbox.end();
        self.relay.counters.session_closed();
    }
}
