//! The whole wallet on a temporary directory: apps that ask in every way, an ear where the relay would be, an owner.

mod clients;
mod intake;
mod methods;
mod news;
mod owner;
mod pending;
mod recall;
mod refused;
mod several;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use secp256k1::{Keypair, SECP256K1};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::access::audit::Audit;
use super::access::keys::WalletSeed;
use super::access::rate;
use super::backend::Backend;
use super::backend::embedded::{self, Embedded};
use super::money::payment::Limits;
use super::money::{self, Money, WAITING_MAX};
use super::owner::{Connected, NewConnection};
use super::terms::Scheme;
use super::wire::envelope::Envelope;
use super::wire::sign::{Nonce, Unsigned, sign};
use super::{Answers, Claim, Config, Parts, Publisher, Wallet, outbox};
use crate::base::amount::Msat;
use crate::base::clock::Clock;
use crate::base::hex32::{EventId, PublicKey};
use crate::base::secret::Secret;
use crate::protocol::event::{Draft, Event, TagValue};
use crate::protocol::reason::Verdict;

/// When the tests take place, unix seconds.
pub(crate) const NOW_S: u64 = 1_800_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// An ear where the relay would be.
#[derive(Default)]
pub(crate) struct Ear {
    published: Mutex<Vec<Event>>,
    stored: Mutex<Vec<Event>>,
    listeners: AtomicUsize,
}

impl Publisher for Ear {
    fn publish(&self, event: &Event) -> usize {
        self.published.lock().push(event.clone());
        self.listeners.load(Ordering::Relaxed)
    }

    fn store(&self, event: Event) {
        self.stored.lock().push(event);
    }
}

impl Ear {
    /// All answers to a request so far.
    fn answers(&self, request: &EventId) -> Vec<Event> {
        let names = |event: &Event| event.view().tag(b'e') == Some(TagValue::Hex(*request));
        self.published.lock().iter().filter(|event| names(event)).cloned().collect()
    }

    /// The first answer to a request, when it is there.
    fn answer(&self, request: &EventId) -> Event {
        let started = Instant::now();
        loop {
            if let Some(answer) = self.answers(request).first() {
                return answer.clone();
            }
            assert!(started.elapsed() < PATIENCE, "no answer came");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What kind 13194 says of a wallet key, the latest.
    fn announced(&self, wallet: &PublicKey) -> Option<Event> {
        self.stored.lock().iter().rfind(|event| event.pubkey() == *wallet).cloned()
    }
}

/// A wallet on a temporary directory.
pub(crate) struct House {
    pub(crate) dir: Arc<TempDir>,
    pub(crate) clock: Clock,
    pub(crate) ear: Arc<Ear>,
    pub(crate) wallet: Wallet,
    runtime: tokio::runtime::Runtime,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(relayed())
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::on(Arc::new(TempDir::new().unwrap()), Clock::manual(NOW_S * 1_000), config, ledger())
    }

    /// With this back end instead of the ledger.
    pub(crate) fn over(backend: Arc<dyn Backend>) -> Self {
        Self::on(Arc::new(TempDir::new().unwrap()), Clock::manual(NOW_S * 1_000), relayed(), backend)
    }

    fn on(dir: Arc<TempDir>, clock: Clock, config: Config, backend: Arc<dyn Backend>) -> Self {
        let ear = Arc::new(Ear::default());
        let publisher: Arc<dyn Publisher> = ear.clone();
        let seed = WalletSeed::new(Secret::new([1; 32]));
        let audit = dir.path().join("audit");
        std::fs::create_dir_all(&audit).unwrap();
        let answers = Answers::with_audit(seed, outbox::Config::default(), publisher, clock.clone(), Audit::at(audit));
        let money = Money::open(money::Parts {
            dir: dir.path().join("wallet"),
            database: crate::kv::Config::default(),
            limits: Limits::default(),
            waiting_max: WAITING_MAX,
            seed: Secret::new([2; 32]),
            clock: clock.clone(),
            signer: answers.clone(),
            backend,
            on_fatal: Box::new(|words| panic!("{words}")),
        });
        let wallet = Wallet::open(Parts { answers, money: money.unwrap(), config }).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { dir, clock, ear, wallet, runtime }
    }

    /// The same directory after a stop and a start.
    pub(crate) fn restarted(self) -> Self {
        let (dir, clock, config) = (Arc::clone(&self.dir), self.clock.clone(), self.wallet.config().clone());
        self.wallet.close();
        drop(self);
        Self::on(dir, clock, config, ledger())
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn forward_s(&self, seconds: u64) {
        self.clock.set_ms(self.clock.now_ms() + seconds * 1_000);
    }

    /// Connects an app to an account of its own name.
    pub(crate) fn app(&self, name: &str) -> App {
        self.app_with(NewConnection { name: name.to_owned(), account: Some(name.to_owned()), ..NewConnection::default() })
    }

    pub(crate) fn app_with(&self, wish: NewConnection) -> App {
        App::new(&self.wait(self.wallet.connect(wish)).unwrap())
    }

    pub(crate) fn funded(&self, name: &str, msat: u64) -> App {
        let app = self.app(name);
        self.wait(self.wallet.fund(name, Msat::new(msat).unwrap())).unwrap();
        app
    }

    /// Hands in an event as the relay would and waits for its `OK`.
    pub(crate) fn hand_in(&self, event: &Event) -> Verdict {
        let draft = Draft::parse(event.json()).unwrap();
        match self.wallet.claim(&draft) {
            Claim::NotMine => panic!("nobody wants {event:?}"),
            Claim::Refuse(reason) => Verdict::Refused(reason),
            Claim::Take => {
                let (done, verdict) = mpsc::channel();
                self.wallet.take(&draft, Box::new(move |verdict| done.send(verdict).unwrap()));
                verdict.recv_timeout(PATIENCE).expect("no OK came")
            }
        }
    }

    /// Asks and gives the decrypted answer; the `OK` must be true.
    pub(crate) fn ask(&self, app: &App, method: &str, params: Value) -> Value {
        self.ask_in(app, Scheme::Nip44, method, params)
    }

    pub(crate) fn ask_in(&self, app: &App, scheme: Scheme, method: &str, params: Value) -> Value {
        let request = app.request(scheme, &json!({ "method": method, "params": params }).to_string(), self.clock.now_s(), &[]);
        assert_eq!(self.hand_in(&request), Verdict::Accepted, "{method}");
        let (got, answer) = app.read(&self.ear.answer(&request.id()));
        assert_eq!(got, scheme, "the answer comes in the scheme of the request");
        assert_eq!(answer["result_type"], method);
        assert!(answer.as_object().unwrap().contains_key("error") && answer.as_object().unwrap().contains_key("result"));
        answer
    }

    /// The result of a request that must succeed.
    pub(crate) fn result(&self, app: &App, method: &str, params: Value) -> Value {
        let answer = self.ask(app, method, params);
        assert!(answer["error"].is_null(), "{answer}");
        answer["result"].clone()
    }

    /// The error code and message of a request that must fail.
    pub(crate) fn refusal(&self, app: &App, method: &str, params: Value) -> (String, String) {
        refusal(&self.ask(app, method, params))
    }

    pub(crate) fn invoice(&self, app: &App, msat: u64) -> String {
        let made = self.result(app, "make_invoice", json!({ "amount": msat, "description": "tea" }));
        made["invoice"].as_str().unwrap().to_owned()
    }

    pub(crate) fn balance(&self, app: &App) -> u64 {
        self.result(app, "get_balance", json!({}))["balance"].as_u64().unwrap()
    }
}

fn relayed() -> Config {
    Config { relays: vec!["ws://127.0.0.1:7777".to_owned()], ..Config::default() }
}

fn ledger() -> Arc<dyn Backend> {
    Arc::new(Embedded::new(&Secret::new([3; 32]), &embedded::Config::default()).unwrap())
}

pub(crate) fn refusal(answer: &Value) -> (String, String) {
    assert!(answer["result"].is_null(), "{answer}");
    let text = |key: &str| answer["error"][key].as_str().unwrap().to_owned();
    (text("code"), text("message"))
}

/// An app with its pairing code.
pub(crate) struct App {
    pub(crate) keypair: Keypair,
    pub(crate) wallet: PublicKey,
    envelope: Envelope,
}

impl App {
    pub(crate) fn new(connected: &Connected) -> Self {
        Self::of_uri(&connected.uri)
    }

    pub(crate) fn of_uri(uri: &str) -> Self {
        let (wallet, rest) = uri.strip_prefix("nostr+walletconnect://").unwrap().split_once('?').unwrap();
        let (wallet, secret) = (PublicKey::parse(wallet).unwrap(), rest.rsplit_once("secret=").unwrap().1);
        let keypair = Keypair::from_seckey_slice(SECP256K1, &PublicKey::parse(secret).unwrap().0).unwrap();
        Self { keypair, wallet, envelope: Envelope::new(&keypair, &wallet).unwrap() }
    }

    /// A signed request.
    pub(crate) fn request(&self, scheme: Scheme, plaintext: &str, created_at: u64, more: &[&[&str]]) -> Event {
        self.event(&self.envelope.seal(scheme, plaintext).unwrap(), created_at, more)
    }

    /// A signed request with any content.
    pub(crate) fn event(&self, content: &str, created_at: u64, more: &[&[&str]]) -> Event {
        let wallet = self.wallet.to_string();
        let p: &[&str] = &["p", &wallet];
        let tags: Vec<&[&str]> = std::iter::once(p).chain(more.iter().copied()).collect();
        let unsigned = Unsigned { kind: 23_194, created_at, tags: &tags, content };
        sign(&self.keypair, &unsigned, Nonce::Random).unwrap()
    }

    /// Decrypts an answer.
    pub(crate) fn read(&self, answer: &Event) -> (Scheme, Value) {
        assert_eq!((answer.kind(), answer.pubkey()), (23_195, self.wallet));
        nostr::event::Event::from_json(answer.json()).unwrap().verify().unwrap();
        let content = Draft::parse(answer.json()).unwrap().content.to_string();
        let (scheme, plaintext) = self.envelope.open(&content).unwrap();
        (scheme, serde_json::from_str(&plaintext).unwrap())
    }
}

/// A speed at which tests do not run.
pub(crate) fn slow(burst: u32) -> rate::Config {
    let number = |value| std::num::NonZeroU32::new(value).unwrap();
    rate::Config { enabled: true, requests_per_s: number(1), requests_burst: number(burst) }
}
