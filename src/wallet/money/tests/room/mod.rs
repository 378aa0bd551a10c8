//! The room with its thread and its files. What all of these tests share is here: a back end, and one life of a room.

mod damage;
mod work;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind, Tag, Timestamp};
use parking_lot::Mutex;

use super::super::types::*;
use super::super::{Limits, Money, OpenError, Parts, WAITING_MAX};
use super::support::{START_MS, invoice_order, msat, request, rules, written};
use crate::base::clock::Clock;
use crate::base::hex32::PaymentHash;
use crate::base::secret::Secret;
use crate::kv;
use crate::protocol::event::{Draft, Event, EventLimits};
use crate::wallet::backend::embedded::{self, Embedded};
use crate::wallet::backend::{
    Answer, Backend, BackendError, Capabilities, Incoming, IncomingState, Info, LookupOrder, LookupResult, MadeInvoice,
    NewHoldInvoice, NewInvoice, Outgoing, OutgoingReport, Report, SendOrder, SendResult, SignedMessage,
};

/// Writes answers in the clear.
struct Pen {
    published: Mutex<Sender<Event>>,
    news: Mutex<Sender<News>>,
}

/// What the signer was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum News {
    Settled(Settled),
    Held(Held),
}

impl AnswerSigner for Pen {
    fn answer(&self, request: &RequestRef, outcome: &Outcome, now_s: u64) -> Option<Event> {
        let keys = Keys::parse(&"01".repeat(32)).unwrap();
        let tag = Tag::parse(["e", &request.key.event.to_string()]).unwrap();
        let event = EventBuilder::new(Kind::from(23_195), written(request, outcome))
            .tags([tag])
            .custom_created_at(Timestamp::from(now_s.max(request.created_at_s)))
            .finalize(&keys)
            .unwrap();
        let json = serde_json::to_string(&event).unwrap();
        Some(Draft::parse(&json).unwrap().pack(&EventLimits::default()).unwrap())
    }

    fn publish(&self, _request: &RequestRef, answer: &Event) {
        let _ = self.published.lock().send(answer.clone());
    }

    fn settled(&self, settled: &Settled) {
        let _ = self.news.lock().send(News::Settled(*settled));
    }

    fn held(&self, held: &Held) {
        let _ = self.news.lock().send(News::Held(*held));
    }
}

/// The embedded back end, but what is sent stays under way until the test says what became of it.
struct Slow {
    embedded: Embedded,
    sent: Mutex<Vec<(SendOrder, Option<Answer<SendResult>>)>>,
    known: Mutex<Vec<(PaymentHash, LookupResult)>>,
    report: Mutex<Option<Report>>,
    outgoing: Mutex<Option<OutgoingReport>>,
    /// What is reported when everything is.
    came_in: Mutex<Vec<Incoming>>,
}

impl Backend for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { outside: true, ..self.embedded.capabilities() }
    }

    fn info(&self) -> Info {
        self.embedded.info()
    }

    fn send(&self, order: SendOrder, done: Answer<SendResult>) {
        self.sent.lock().push((order, Some(done)));
    }

    fn lookup(&self, order: LookupOrder, done: Answer<LookupResult>) {
        let known = self.known.lock().iter().find(|(of, _)| *of == order.hash).map(|(_, result)| result.clone());
        done(known.unwrap_or(LookupResult::NotFound));
    }

    fn make_invoice(&self, order: NewInvoice, done: Answer<Result<MadeInvoice, BackendError>>) {
        self.embedded.make_invoice(order, done);
    }

    fn make_hold_invoice(&self, order: NewHoldInvoice, done: Answer<Result<MadeInvoice, BackendError>>) {
        self.embedded.make_hold_invoice(order, done);
    }

    fn cancel_hold(&self, hash: PaymentHash, done: Answer<Result<(), BackendError>>) {
        self.embedded.cancel_hold(hash, done);
    }

    fn sign_message(&self, message: String, done: Answer<Result<SignedMessage, BackendError>>) {
        self.embedded.sign_message(message, done);
    }

    fn on_incoming(&self, report: Report) {
        *self.report.lock() = Some(report);
    }

    fn on_outgoing(&self, report: OutgoingReport) {
        *self.outgoing.lock() = Some(report);
    }

    fn report_from_beginning(&self) -> Result<(), BackendError> {
        let report = self.report.lock();
        for incoming in self.came_in.lock().iter() {
            (report.as_ref().unwrap())(incoming.clone(), Box::new(|| ()));
        }
        Ok(())
    }
}

/// One life of a room.
struct Life {
    money: Money,
    published: Receiver<Event>,
    news: Receiver<News>,
    fatal: Receiver<String>,
    faults: kv::Faults,
    clock: Clock,
    backend: Arc<Slow>,
}

fn node(byte: u8) -> Slow {
    let embedded = Embedded::new(&Secret::new([byte; 32]), &embedded::Config::default()).unwrap();
    Slow {
        embedded,
        sent: Mutex::default(),
        known: Mutex::default(),
        report: Mutex::default(),
        outgoing: Mutex::default(),
        came_in: Mutex::default(),
    }
}

fn try_open(dir: &Path, backend: Slow) -> Result<Life, OpenError> {
    let (publish, published) = channel();
    let (tell, news) = channel();
    let (die, fatal) = channel();
    let die = Mutex::new(die);
    let clock = Clock::manual(START_MS);
    let backend = Arc::new(backend);
    let faults = kv::Faults::default();
    let money = Money::open(Parts {
        dir: dir.to_owned(),
        database: kv::Config { cache_bytes: 1 << 20, faults: faults.clone(), ..kv::Config::default() },
        limits: Limits::default(),
        waiting_max: WAITING_MAX,
        seed: Secret::new([7; 32]),
        clock: clock.clone(),
        signer: Arc::new(Pen { published: Mutex::new(publish), news: Mutex::new(tell) }),
        backend: Arc::clone(&backend) as Arc<dyn Backend>,
        on_fatal: Box::new(move |words| drop(die.lock().send(words.to_owned()))),
    })?;
    Ok(Life { money, published, news, fatal, faults, clock, backend })
}

fn open(dir: &Path) -> Life {
    try_open(dir, node(5)).unwrap()
}

/// Two accounts with a connection each: 0 is rich, 1 is poor.
fn two(dir: &Path) -> Life {
    let life = open(dir);
    for number in 0..2 {
        let id = wait(|on| life.money.create_account(&format!("account-{number}"), on)).unwrap();
        assert_eq!((id, life.money.next_connection()), (AccountId(number + 1), ConnectionId(number)));
        life.connect(number, rules(number + 1, None)).unwrap();
    }
    wait(|on| life.money.fund(AccountId(1), msat(1_000_000), on)).unwrap();
    life
}

fn wait<T: Send + 'static>(ask: impl FnOnce(On<T>)) -> T {
    let (tell, told) = channel();
    ask(Box::new(move |answer| drop(tell.send(answer))));
    told.recv_timeout(Duration::from_secs(20)).unwrap()
}

impl Life {
    fn connect(&self, number: u32, rules: ConnectionRules) -> Result<(), OwnerError> {
        let row = ConnectionRow { id: ConnectionId(number), rules, data: b"opaque".to_vec() };
        wait(|on| self.money.put_connection(row, on))
    }

    fn make(&self, connection: u32, number: u64, amount: Option<u64>) -> Transaction {
        wait(|on| self.money.make_invoice(invoice_order(request(connection, number), amount), on)).unwrap()
    }

    fn pay(&self, connection: u32, number: u64, bolt11: &str) -> PayReply {
        wait(|on| self.money.pay(pay_order(connection, number, bolt11), on))
    }

    fn published(&self) -> Event {
        self.published.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    fn balances(&self) -> (u64, u64) {
        (self.money.balance(AccountId(1)).unwrap().get(), self.money.balance(AccountId(2)).unwrap().get())
    }
}

fn pay_order(connection: u32, number: u64, bolt11: &str) -> PayOrder {
    let target = PayTarget::Invoice { bolt11: bolt11.to_owned(), amount: None };
    PayOrder { request: request(connection, number), target, expires_at_s: None, metadata: None }
}

/// An invoice of another node.
fn foreign(number: u64) -> (String, Preimage) {
    let other = Embedded::new(&Secret::new([66; 32]), &embedded::Config::default()).unwrap();
    let preimage = super::support::proof(number);
    let order = NewInvoice {
        amount: msat(5_000).into(),
        description: String::new(),
        description_hash: None,
        expiry_s: 3_600,
        now_s: START_MS / 1_000,
        preimage,
    };
    let (tell, told) = channel();
    other.make_invoice(order, Box::new(move |made| tell.send(made.unwrap()).unwrap()));
    (told.recv().unwrap().bolt11, preimage)
}
