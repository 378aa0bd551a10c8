//! The wallet's hot path without sockets: sealing and opening, signing, and get_balance from the event to its published answer.
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

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hearth::base::clock::Clock;
use hearth::base::hex32::PublicKey;
use hearth::base::secret::Secret;
use hearth::kv;
use hearth::protocol::event::{Draft, Event};
use hearth::wallet::access::keys::WalletSeed;
use hearth::wallet::access::rate;
use hearth::wallet::backend::embedded::{self, Embedded};
use hearth::wallet::money::{self, Limits, Money, WAITING_MAX};
use hearth::wallet::owner::NewConnection;
use hearth::wallet::terms::Scheme;
use hearth::wallet::wire::envelope::Envelope;
use hearth::wallet::wire::sign::{Nonce, Unsigned, public_key, sign};
use hearth::wallet::{Answers, Claim, Config, Parts, Publisher, Wallet, outbox};
use secp256k1::{Keypair, SECP256K1};

const NOW_S: u64 = 1_800_000_000;
/// A get_balance request, and an answer to make_invoice in length.
const REQUEST: &str = r#"{"method":"get_balance","params":{}}"#;
const ANSWER_CHARS: usize = 700;

fn keypair(number: u8) -> Keypair {
    Keypair::from_seckey_slice(SECP256K1, &[number; 32]).expect("a valid key")
}

fn crypto(c: &mut Criterion) {
    let (ours, theirs) = (keypair(1), keypair(2));
    let mut group = c.benchmark_group("nwc/crypto");
    group.throughput(Throughput::Elements(1));
    group.bench_function("conversation key", |b| {
        let peer = public_key(&theirs);
        b.iter(|| Envelope::new(black_box(&ours), &peer).expect("a peer"));
    });
    let envelope = Envelope::new(&ours, &public_key(&theirs)).expect("a peer");
    for (scheme, name) in [(Scheme::Nip44, "nip44"), (Scheme::Nip04, "nip04")] {
        for text in [REQUEST.to_owned(), "x".repeat(ANSWER_CHARS)] {
            let sealed = envelope.seal(scheme, &text).expect("sealed");
            group.bench_function(format!("{name} seal, {} bytes", text.len()), |b| {
                b.iter(|| envelope.seal(scheme, black_box(&text)))
            });
            group.bench_function(format!("{name} open, {} bytes", text.len()), |b| b.iter(|| envelope.open(black_box(&sealed))));
        }
    }
    let unsigned = Unsigned { kind: 23_195, created_at: NOW_S, tags: &[&["p", "x"]], content: REQUEST };
    group.bench_function("sign an event", |b| b.iter(|| sign(&ours, black_box(&unsigned), Nonce::Random)));
}

/// Nobody listens.
struct Silence;

impl Publisher for Silence {
    fn publish(&self, _: &Event) -> usize {
        1
    }

    fn store(&self, _: Event) {}
}

struct Bench {
    wallet: Wallet,
    client: Keypair,
    service: PublicKey,
    envelope: Envelope,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Clock::manual(NOW_S * 1_000);
        let answers =
            Answers::new(WalletSeed::new(Secret::new([1; 32])), outbox::Config::default(), Arc::new(Silence), clock.clone());
        let money = Money::open(money::Parts {
            dir: dir.path().to_owned(),
            database: kv::Config::default(),
            limits: Limits::default(),
            waiting_max: WAITING_MAX,
            seed: Secret::new([2; 32]),
            clock,
            signer: answers.clone(),
            backend: Arc::new(Embedded::new(&Secret::new([3; 32]), &embedded::Config::default()).expect("a key")),
            on_fatal: Box::new(|words| panic!("{words}")),
        })
        .expect("a money room");
        let rate = rate::Config { enabled: false, ..rate::Config::default() };
        let config = Config { rate, relays: vec!["ws://127.0.0.1:7777".to_owned()], ..Config::default() };
        let wallet = Wallet::open(Parts { answers, money, config }).expect("a wallet");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = keypair(9);
        let wish = NewConnection { name: "bench".to_owned(), client: Some(public_key(&client)), ..NewConnection::default() };
        let service = runtime.block_on(wallet.connect(wish)).expect("a connection").wallet;
        let envelope = Envelope::new(&client, &service).expect("a peer");
        Self { wallet, client, service, envelope, _dir: dir }
    }

    fn request(&self) -> Event {
        let content = self.envelope.seal(Scheme::Nip44, REQUEST).expect("sealed");
        let service = self.service.to_string();
        let unsigned = Unsigned { kind: 23_194, created_at: NOW_S, tags: &[&["p", &service]], content: &content };
        sign(&self.client, &unsigned, Nonce::Random).expect("signed")
    }
}

fn hot_path(c: &mut Criterion) {
    let bench = Bench::new();
    c.bench_function("nwc/get_balance, claimed, opened, answered, signed (the request's own signature aside)", |b| {
        b.iter_batched(
            || bench.request(),
            |event| {
                let draft = Draft::parse(event.json()).expect("well-formed");
                assert!(matches!(bench.wallet.claim(&draft), Claim::Take));
                bench.wallet.take(&draft, Box::new(|verdict| assert!(verdict.is_accepted())));
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, crypto, hot_path);
criterion_main!(benches);
