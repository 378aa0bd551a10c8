//! Live fan-out and the session without sockets: what an event costs between the store and the outboxes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a benchmark"
)]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hearth::base::clock::Clock;
use hearth::base::hex32::EventId;
use hearth::live::{Live, LiveConfig, Outbox, Subscription, TotalBytes};
use hearth::policy::rate::{Rate, Ticker};
use hearth::policy::{Home, Limits, Policy, RateConfig, Rates, Rules};
use hearth::protocol::event::{Draft, Event, EventLimits};
use hearth::protocol::filter::Filter;
use hearth::relay::storage::{Appended, Count, OnAppended, Query, ScanLimits, Step, Storage, Tally, Unreadable};
use hearth::relay::{NoIntake, Parts, Peer, Relay, Session};
use secp256k1::{Keypair, Message, SECP256K1};
use serde_json::json;
use sha2::{Digest, Sha256};

const NOW: u64 = 1_700_000_000;

fn key(number: u32) -> String {
    let hash: [u8; 32] = Sha256::digest(number.to_le_bytes()).into();
    const_hex::encode(hash)
}

/// An event of about 570 bytes.
fn signed(number: u64, kind: u16) -> String {
    let pair = Keypair::from_seckey_slice(SECP256K1, &[7; 32]).expect("a valid key");
    let pubkey = const_hex::encode(pair.x_only_public_key().0.serialize());
    let tags = json!([["p", key(1)], ["e", key(2)], ["t", "bench"]]);
    let content = format!("{number} {}", "lorem ipsum ".repeat(8));
    let id: [u8; 32] = Sha256::digest(json!([0, pubkey, NOW, kind, tags, content]).to_string()).into();
    let sig = const_hex::encode(SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(id), &pair).as_ref());
    json!({"id": const_hex::encode(id), "pubkey": pubkey, "created_at": NOW, "kind": kind, "tags": tags, "content": content, "sig": sig})
        .to_string()
}

fn packed(json: &str) -> Event {
    Draft::parse(json).expect("well-formed").pack(&EventLimits::default()).expect("a right id")
}

fn filter(json: serde_json::Value) -> Filter {
    serde_json::from_value(json).expect("a filter")
}

struct Crowd {
    live: Live,
    outboxes: Vec<Arc<Outbox>>,
    subscriptions: Vec<Arc<Subscription>>,
}

impl Crowd {
    /// `count` connections with a subscription each.
    fn new(count: u32, mut filter_of: impl FnMut(u32) -> Filter) -> Self {
        let live = Live::new(&LiveConfig::default(), Clock::manual(NOW * 1_000));
        let total = TotalBytes::new(usize::MAX);
        let mut crowd = Self { live, outboxes: Vec::new(), subscriptions: Vec::new() };
        for number in 0..count {
            let outbox = Outbox::new(1 << 20, Arc::clone(&total));
            let subscription = crowd.live.subscribe("bench", Arc::from([filter_of(number)]), Arc::clone(&outbox));
            crowd.live.open_gate(&subscription, 0, Vec::new());
            crowd.outboxes.push(outbox);
            crowd.subscriptions.push(subscription);
        }
        crowd
    }

    fn drain(&self) {
        let mut out = Vec::new();
        for outbox in &self.outboxes {
            if !outbox.is_idle() {
                out.clear();
                outbox.pop_batch(usize::MAX, &mut out);
            }
        }
    }
}

fn publish(c: &mut Criterion) {
    let event = packed(&signed(1, 1));
    let author = event.pubkey().to_string();
    for count in [100_u32, 10_000, 100_000] {
        let crowd = Crowd::new(count, |number| match number {
            77 => filter(json!({"authors": [author], "kinds": [1]})),
            _ if number % 2 == 0 => filter(json!({"authors": [key(number + 10)], "kinds": [1]})),
            _ => filter(json!({"kinds": [23_195], "#p": [key(number + 10)]})),
        });
        let mut out = Vec::new();
        c.bench_function(&format!("publish, {count} different subscriptions, one matches"), |b| {
            b.iter(|| {
                assert_eq!(crowd.live.publish(1, black_box(&event)), 1);
                out.clear();
                crowd.outboxes[77].pop_batch(usize::MAX, &mut out);
            });
        });
    }
    let crowd = Crowd::new(1_000, |_| filter(json!({"kinds": [1]})));
    c.bench_function("publish to 1,000 subscribers", |b| {
        b.iter_batched(|| crowd.drain(), |()| crowd.live.publish(1, black_box(&event)), BatchSize::PerIteration);
    });
    c.bench_function("render for 1,000 subscribers", |b| {
        b.iter_batched(|| crowd.live.publish(1, &event), |_| crowd.drain(), BatchSize::PerIteration);
    });
}

fn replace(c: &mut Criterion) {
    let crowd = Crowd::new(100_000, |number| filter(json!({"kinds": [1], "authors": [key(number % 1_000)]})));
    let filters: Arc<[Filter]> = Arc::from([filter(json!({"kinds": [1], "authors": [key(1)], "limit": 0}))]);
    let mut current = Arc::clone(&crowd.subscriptions[500]);
    c.bench_function("replace one of 100,000 subscriptions", |b| {
        b.iter(|| {
            crowd.live.unsubscribe(&current);
            current = crowd.live.subscribe("bench", Arc::clone(&filters), Arc::clone(&crowd.outboxes[500]));
        });
    });
}

/// A store that keeps nothing and answers every query with the same events.
struct Canned(Vec<Event>);

struct CannedQuery(std::vec::IntoIter<Event>);

struct NoTally;

impl Storage for Canned {
    fn has(&self, _: &EventId) -> bool {
        false
    }

    fn seq(&self) -> u64 {
        0
    }

    fn append(&self, _: Event, done: OnAppended) {
        done(Appended::Stored { seq: 1 });
    }

    fn scan(&self, _: Arc<[Filter]>, _: ScanLimits) -> Result<Box<dyn Query>, Unreadable> {
        Ok(Box::new(CannedQuery(self.0.clone().into_iter())))
    }

    fn count(&self, _: &[Filter], _: u64) -> Result<Box<dyn Tally>, Unreadable> {
        Ok(Box::new(NoTally))
    }
}

impl Query for CannedQuery {
    fn at_seq(&self) -> u64 {
        0
    }

    fn run(&mut self, _: Instant, emit: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Step, Unreadable> {
        for event in self.0.by_ref() {
            if emit(event).is_break() {
                return Ok(Step::More);
            }
        }
        Ok(Step::Done)
    }
}

impl Tally for NoTally {
    fn run(&mut self, _: Instant) -> Result<Step, Unreadable> {
        Ok(Step::Done)
    }

    fn so_far(&self) -> Count {
        Count::default()
    }
}

fn open_session(rates: &RateConfig, events: usize) -> (Session, Arc<Outbox>) {
    let clock = Clock::manual(NOW * 1_000);
    let live = Live::new(&LiveConfig::default(), clock.clone());
    let homes = vec![Home::parse("wss://relay.example.com").expect("a URL")];
    let policy = Arc::new(Policy::new(Limits::default(), rates, homes, Rules::default()));
    let stored = (0..events as u64).map(|number| packed(&signed(number, 1))).collect();
    let relay = Relay::new(Parts { store: Arc::new(Canned(stored)), live, intake: Arc::new(NoIntake), policy, clock });
    let outbox = Outbox::new(1 << 20, TotalBytes::new(usize::MAX));
    let mut session = relay.session(Peer { ip: [127, 0, 0, 1].into() }, Arc::clone(&outbox));
    session.on_open();
    (session, outbox)
}

fn session(c: &mut Criterion) {
    let message = format!("[\"EVENT\",{}]", signed(1, 1));
    let mut out = Vec::new();
    let unlimited = Rate::new(100_000_000, 100_000_000);
    let counted = RateConfig {
        events_per_ip: unlimited,
        events_per_connection: unlimited,
        events_per_key: unlimited,
        ..RateConfig::default()
    };
    for (name, rates) in [("rates off", RateConfig { enabled: false, ..counted }), ("rates counted", counted)] {
        let (mut session, outbox) = open_session(&rates, 0);
        c.bench_function(&format!("EVENT in, OK out, {name}"), |b| {
            b.iter(|| {
                session.on_text(black_box(&message));
                out.clear();
                outbox.pop_batch(usize::MAX, &mut out);
            });
        });
    }
    let rates = Rates::new(&counted, Ticker::monotonic());
    let (connection, author) = (rates.connection([127, 0, 0, 1].into()), EventId::default());
    c.bench_function("count an event against its three allowances", |b| {
        b.iter(|| (rates.take_event(&connection, 1), rates.take_author(&author, 1)))
    });
    let off = RateConfig { enabled: false, ..RateConfig::default() };
    let (mut session, outbox) = open_session(&off, 100);
    for (name, request) in [
        ("REQ limit 0 in, EOSE out, CLOSE", r#"["REQ","bench",{"kinds":[1],"limit":0}]"#.to_owned()),
        ("REQ in, 100 events and EOSE out, CLOSE", format!(r#"["REQ","bench",{{"kinds":[1],"authors":["{}"]}}]"#, key(3))),
    ] {
        c.bench_function(name, |b| {
            b.iter(|| {
                session.on_text(black_box(&request));
                while session.pump() {}
                out.clear();
                outbox.pop_batch(usize::MAX, &mut out);
                session.on_text(r#"["CLOSE","bench"]"#);
            });
        });
    }
}

criterion_group!(benches, publish, replace, session);
criterion_main!(benches);
