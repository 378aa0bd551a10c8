//! The money room without sockets: what a payment inside costs from the order to the published answer, its two syncs included,
//! and how that is shared by those who wait together.
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
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hearth::base::amount::Msat;
use hearth::base::clock::Clock;
use hearth::base::hex32::Hex32;
use hearth::base::secret::Secret;
use hearth::kv;
use hearth::protocol::event::{Draft, Event, EventLimits};
use hearth::wallet::backend::bolt11;
use hearth::wallet::backend::embedded::{self, Embedded};
use hearth::wallet::money::types::{
    AccountId, AnswerSigner, ConnectionId, ConnectionRow, ConnectionRules, InvoiceOrder, Method, On, Outcome, PayOrder,
    PayTarget, RequestKey, RequestRef, Scheme, Transaction,
};
use hearth::wallet::money::{Limits, Money, Parts, WAITING_MAX};
use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind};
use parking_lot::Mutex;

const NOW_MS: u64 = 1_767_225_600_000;
/// What an answer of pay_invoice weighs.
const ANSWER_CHARS: usize = 450;

/// Answers everybody with the same event, so that only the money room is measured.
struct Stamp {
    event: Event,
    published: Mutex<Sender<()>>,
}

impl AnswerSigner for Stamp {
    fn answer(&self, _: &RequestRef, _: &Outcome, _: u64) -> Option<Event> {
        Some(self.event.clone())
    }

    fn publish(&self, _: &RequestRef, _: &Event) {
        let _ = self.published.lock().send(());
    }
}

struct Bench {
    money: Money,
    published: Receiver<()>,
    number: AtomicU64,
    _dir: tempfile::TempDir,
}

fn wait<T: Send + 'static>(ask: impl FnOnce(On<T>)) -> T {
    let (tell, told) = channel();
    ask(Box::new(move |answer| drop(tell.send(answer))));
    told.recv().expect("an answer")
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = Keys::generate();
        let event = EventBuilder::new(Kind::from(23_195), "x".repeat(ANSWER_CHARS)).finalize(&keys).expect("an event");
        let json = serde_json::to_string(&event).expect("json");
        let event = Draft::parse(&json).expect("well-formed").pack(&EventLimits::default()).expect("a right id");
        let (publish, published) = channel();
        let backend = Embedded::new(&Secret::new([5; 32]), &embedded::Config::default()).expect("a key");
        let limits = Limits { open_invoices_max_per_connection: 1_000_000, ..Limits::default() };
        let money = Money::open(Parts {
            dir: dir.path().to_owned(),
            database: kv::Config::default(),
            limits,
            waiting_max: WAITING_MAX,
            seed: Secret::new([7; 32]),
            clock: Clock::manual(NOW_MS),
            signer: Arc::new(Stamp { event, published: Mutex::new(publish) }),
            backend: Arc::new(backend),
            on_fatal: Box::new(|words| panic!("{words}")),
        })
        .expect("a room");
        for number in 0..2 {
            wait(|on| money.create_account(&format!("account-{number}"), on)).expect("an account");
            let rules = ConnectionRules { account: AccountId(number + 1), budget: None, payment_max: None, active: true };
            let row = ConnectionRow { id: ConnectionId(number), rules, data: Vec::new() };
            wait(|on| money.put_connection(row, on)).expect("a connection");
        }
        wait(|on| money.fund(AccountId(1), Msat::new(1 << 60).expect("an amount"), on)).expect("money");
        Self { money, published, number: AtomicU64::new(0), _dir: dir }
    }

    fn request(&self, connection: u32, method: Method) -> RequestRef {
        let mut event = [0; 32];
        event[..8].copy_from_slice(&self.number.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        RequestRef {
            key: RequestKey { event: Hex32(event), item: 0 },
            connection: ConnectionId(connection),
            client: Hex32([9; 32]),
            scheme: Scheme::Nip44,
            method,
            created_at_s: NOW_MS / 1_000,
            item_tag: None,
        }
    }

    /// Invoices of the second account, all asked for at once.
    fn invoices(&self, count: u64) -> Vec<Transaction> {
        let (tell, told) = channel();
        for _ in 0..count {
            let order = InvoiceOrder {
                request: self.request(1, Method::MakeInvoice),
                amount: Msat::new(1_000).ok(),
                description: Some("a cup of coffee".to_owned()),
                description_hash: None,
                expiry_s: None,
                hold: None,
                metadata: None,
            };
            let tell = tell.clone();
            self.money.make_invoice(order, Box::new(move |made| drop(tell.send(made))));
        }
        (0..count).map(|_| told.recv().expect("an answer").expect("an invoice")).collect()
    }

    /// Pays them, so many under way at a time, until every answer is published.
    fn pay(&self, invoices: &[Transaction], at_once: usize) -> Duration {
        let began = Instant::now();
        let mut under_way = 0;
        for invoice in invoices {
            let target = PayTarget::Invoice { bolt11: invoice.invoice.clone().unwrap_or_default(), amount: None };
            let request = self.request(0, Method::PayInvoice);
            self.money.pay(PayOrder { request, target, expires_at_s: None, metadata: None }, Box::new(|_| ()));
            under_way += 1;
            if under_way == at_once {
                self.published.recv().expect("an answer");
                under_way -= 1;
            }
        }
        (0..under_way).for_each(|_| self.published.recv().expect("an answer"));
        began.elapsed()
    }
}

fn payments(criterion: &mut Criterion) {
    let bench = Bench::new();
    let mut group = criterion.benchmark_group("pay_inside");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    for at_once in [1, 16, 64, 256] {
        group.bench_function(format!("{at_once} under way"), |bencher| {
            bencher.iter_custom(|count| {
                let mut took = Duration::ZERO;
                let mut left = count;
                while left > 0 {
                    let now = left.min(1_000);
                    took += bench.pay(&bench.invoices(now), at_once);
                    left -= now;
                }
                took
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("make_invoice");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    group.bench_function("256 at once", |bencher| {
        bencher.iter_custom(|count| {
            let began = Instant::now();
            for _ in 0..count.div_ceil(256) {
                bench.invoices(256);
            }
            began.elapsed() * u32::try_from(count).unwrap_or(u32::MAX)
                / u32::try_from(count.div_ceil(256) * 256).unwrap_or(u32::MAX)
        });
    });
    group.finish();
    criterion.bench_function("balance", |bencher| bencher.iter(|| bench.money.balance(black_box(AccountId(1)))));
    criterion.bench_function("budget", |bencher| bencher.iter(|| bench.money.budget(black_box(ConnectionId(0)))));
}

fn invoices(criterion: &mut Criterion) {
    let bench = Bench::new();
    let text = bench.invoices(1)[0].invoice.clone().unwrap_or_default();
    criterion.bench_function("read a bolt11 invoice", |bencher| bencher.iter(|| bolt11::decode(black_box(&text))));
}

criterion_group!(benches, payments, invoices);
criterion_main!(benches);
