//! Makes answers and brings them to the client: encrypt, sign, keep, publish.
//!
//! It is built before the money room, which calls it on its own thread, at start too, when no connection has been read yet. So
//! it can do with what a request says: the wallet key comes from the seed and the connection's number.

use std::sync::Arc;

use super::Publisher;
use super::access::audit::{Answered, Audit, RefusedPayment};
use super::access::keys::WalletSeed;
use super::access::table::{Keys, Table};
use super::asked::Asked;
use super::methods::pay::Progress;
use super::methods::pay_invoice::Paid;
use super::money::types::{AnswerSigner, Held, Outcome, Settled};
use super::notify::News;
use super::outbox::{self, Outbox};
use super::refused::Refused;
use super::stats::Stats;
use super::terms::{self, Refusal, RequestKey, RequestRef, Scheme};
use super::wire::method::Method;
use super::wire::notification::kind_in;
use super::wire::response::{failure, success};
use super::wire::sign::{Nonce, Unsigned, sign};
use crate::base::amount::Msat;
use crate::base::clock::Clock;
use crate::protocol::event::Event;
use crate::protocol::kind;

/// What an answer is made for.
#[derive(Clone, Debug)]
pub struct Addressee<'a> {
    /// The keys of the connection.
    pub keys: &'a Keys,
    /// The scheme that the client used.
    pub scheme: Scheme,
    /// The request, and which item of it.
    pub request: RequestKey,
    /// `created_at` of the request, unix seconds.
    pub created_at_s: u64,
    /// The `d` tag of one answer of several.
    pub item_tag: Option<&'a str>,
}

impl<'a> Addressee<'a> {
    /// Who asked for this.
    pub fn of(keys: &'a Keys, request: &'a RequestRef) -> Self {
        Self {
            keys,
            scheme: request.scheme,
            request: request.key,
            created_at_s: request.created_at_s,
            item_tag: request.item_tag.as_deref(),
        }
    }

    /// Which item of several; `None`: the answer is to all of the request.
    fn item(&self) -> Option<u16> {
        self.item_tag.map(|_| self.request.item)
    }
}

/// Makes, keeps and publishes answers.
pub struct Answers {
    seed: WalletSeed,
    table: Table,
    outbox: Outbox,
    publisher: Arc<dyn Publisher>,
    clock: Clock,
    stats: Stats,
    audit: Arc<Audit>,
    news: News,
    asked: Asked,
    refused: Refused,
}

impl Answers {
    /// Ready for the money room; knows no connection yet.
    pub fn new(seed: WalletSeed, config: outbox::Config, publisher: Arc<dyn Publisher>, clock: Clock) -> Arc<Self> {
        Self::with_audit(seed, config, publisher, clock, Audit::in_memory())
    }

    /// The same with a log of what was asked that outlives the process.
    pub fn with_audit(
        seed: WalletSeed,
        config: outbox::Config,
        publisher: Arc<dyn Publisher>,
        clock: Clock,
        audit: Audit,
    ) -> Arc<Self> {
        let audit = Arc::new(audit);
        let outbox = Outbox::new(config).telling(Arc::clone(&audit));
        let (table, stats, news, asked) = (Table::default(), Stats::default(), News::default(), Asked::default());
        let refused = Refused::default();
        Arc::new(Self { seed, table, outbox, publisher, clock, stats, audit, news, asked, refused })
    }

    /// The log of what was asked.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// The seed of the wallet keys.
    pub fn seed(&self) -> &WalletSeed {
        &self.seed
    }

    /// The connections.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The answers that are kept.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What clients are still to be told.
    pub fn news(&self) -> &News {
        &self.news
    }

    /// What the requests under way are about.
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Payments that were refused and left no record.
    pub(super) fn refused(&self) -> &Refused {
        &self.refused
    }

    /// Where events go.
    pub fn publisher(&self) -> &dyn Publisher {
        &*self.publisher
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Encrypts and signs. `None` only where something is wrong on this side; the log says what.
    pub fn make(&self, to: &Addressee<'_>, plaintext: &str, now_s: u64) -> Option<Event> {
        let sealed = to.keys.envelope.seal(to.scheme, plaintext).map_err(|error| tracing::error!(%error, "no answer")).ok()?;
        let (client, request) = (to.keys.client.to_hex(), to.request.event.to_hex());
        let (p, e) = (["p", client.as_str()], ["e", request.as_str()]);
        let d = to.item_tag.map(|tag| ["d", tag]);
        let mut tags: Vec<&[&str]> = vec![&p, &e];
        tags.extend(d.as_ref().map(<[&str; 2]>::as_slice));
        // A client whose clock is ahead asks with a `since` of its own time: an answer is never older than its request.
        let created_at = now_s.max(to.created_at_s);
        let unsigned = Unsigned { kind: kind::WALLET_RESPONSE, created_at, tags: &tags, content: &sealed };
        sign(&to.keys.keypair, &unsigned, Nonce::Random).map_err(|error| tracing::error!(%error, "no answer")).ok()
    }

    /// Keeps an answer, then publishes it: in this order, so that a subscription that comes in between finds it.
    pub fn deliver(&self, request: RequestKey, answer: &Event) {
        let now_ms = self.clock.now_ms();
        self.outbox.keep(request, answer.clone(), now_ms);
        self.publish_kept(answer, now_ms);
    }

    /// Encrypts and signs a notification, without randomness: the same news at the same time is the same event, byte for byte, after
    /// a restart too. `None` only where something is wrong on this side; the log says what.
    pub fn notification(&self, keys: &Keys, scheme: Scheme, plaintext: &str, at_s: u64) -> Option<Event> {
        let sealed =
            keys.envelope.seal_same(scheme, plaintext).map_err(|error| tracing::error!(%error, "no notification")).ok()?;
        let client = keys.client.to_hex();
        let tags: &[&[&str]] = &[&["p", client.as_str()]];
        let unsigned = Unsigned { kind: kind_in(scheme), created_at: at_s, tags, content: &sealed };
        sign(&keys.keypair, &unsigned, Nonce::Same).map_err(|error| tracing::error!(%error, "no notification")).ok()
    }

    /// Keeps a notification, then publishes it. One that is kept already reached its client or will.
    pub fn notify(&self, notification: &Event) {
        let now_ms = self.clock.now_ms();
        if self.outbox.keep_news(notification.clone(), now_ms) {
            self.publish_kept(notification, now_ms);
        }
    }

    /// Publishes an answer that is kept.
    pub fn publish_kept(&self, answer: &Event, now_ms: u64) {
        if self.publisher.publish(answer) > 0 {
            self.outbox.delivered(&answer.id(), now_ms);
        }
    }

    /// Makes, counts and delivers the answer to a request.
    pub fn answer(&self, to: &Addressee<'_>, method: &str, plaintext: &str, result: Result<(), &Refusal>) {
        self.stats.answered(method, result.map_err(|refusal| refusal.code));
        self.note(to, method, result.map_or_else(|refusal| refusal.code.as_str(), |()| "ok"), amount_in(plaintext));
        if let Some(event) = self.make(to, plaintext, self.clock.now_s()) {
            self.deliver(to.request, &event);
        }
    }

    /// Answers with a refusal that the journal does not hold; a payment's stands all the same. `name` is the method as the client
    /// wrote it.
    pub fn refuse(&self, to: &Addressee<'_>, method: &str, name: &str, refusal: &Refusal) {
        if Method::parse(method).is_some_and(Method::is_payment) {
            let (request, asked_at_s, item) = (to.request.event, to.created_at_s, to.item());
            self.refused.remember(&to.keys.wallet, RefusedPayment { request, asked_at_s, item, code: refusal.code });
        }
        self.answer(to, method, &failure(name, refusal), Err(refusal));
    }

    fn note(&self, to: &Addressee<'_>, method: &str, result: &'static str, amount: Option<Msat>) {
        let method = Method::parse(method).map_or("unknown", Method::as_str);
        let amount = self.asked.end(&to.request, amount);
        let (request, asked_at_s, answered_at_ms) = (to.request.event, to.created_at_s, self.clock.now_ms());
        let item = to.item();
        self.audit.answered(&to.keys.wallet, Answered { request, item, asked_at_s, answered_at_ms, method, result, amount });
    }

    fn keys(&self, request: &RequestRef) -> Option<Arc<Keys>> {
        if let Some(hosted) = self.table.by_id(request.connection) {
            return Some(Arc::clone(&hosted.keys));
        }
        let keypair = self.seed.keypair(request.connection).ok()?;
        Keys::new(keypair, request.client).ok().map(Arc::new)
    }
}

/// The amount of the transaction that an answer tells of, for the log. Texts in JSON cannot hold the bare key, since their quotes are
/// escaped, and a transaction names its amount before it shows what the client attached.
fn amount_in(plaintext: &str) -> Option<Msat> {
    if !plaintext.contains("\"result\":{\"type\":") {
        return None;
    }
    let (_, rest) = plaintext.split_once("\"amount\":")?;
    let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok().and_then(|msat| Msat::new(msat).ok())
}

impl AnswerSigner for Answers {
    fn answer(&self, request: &RequestRef, outcome: &Outcome, now_s: u64) -> Option<Event> {
        let keys = self.keys(request)?;
        let method = request.method.as_str();
        let (plaintext, result, amount) = match outcome {
            Outcome::Paid { preimage, amount, fee } => {
                self.stats.answered(method, Ok(()));
                let plaintext = match request.method {
                    terms::Method::Pay => {
                        let paid = Progress::settled(*preimage, *amount, *fee, request.created_at_s, now_s);
                        success(method, &paid)
                    }
                    _ => success(method, &Paid::new(*preimage, *fee)),
                };
                (plaintext, "ok", Some(*amount))
            }
            Outcome::Refused(refusal) => {
                self.stats.answered(method, Err(refusal.code));
                (failure(method, refusal), refusal.code.as_str(), None)
            }
        };
        let to = Addressee::of(&keys, request);
        self.note(&to, method, result, amount);
        self.make(&to, &plaintext, now_s)
    }

    fn publish(&self, request: &RequestRef, answer: &Event) {
        self.deliver(request.key, answer);
    }

    fn together(&self, tell: &mut dyn FnMut()) {
        self.publisher.together(tell);
    }

    fn settled(&self, settled: &Settled) {
        self.news.settled(settled);
    }

    fn held(&self, held: &Held) {
        self.news.held(held);
    }
}
