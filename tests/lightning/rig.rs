//! What tests start from: the common row of nodes, and hearth's back end on a server in front of the first of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use hearth::base::amount::Msat;
use hearth::base::clock::Clock;
use hearth::base::hex32::{Hex32, PaymentHash};
use hearth::wallet::backend::lnd::{Config, Lnd};
use hearth::wallet::backend::{Ack, Answer, Backend, Incoming, LookupOrder, LookupResult, SendOrder, SendResult, SendTarget};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::OnceCell;

use crate::lnd::LndServer;
use crate::node::{Node, Row};
use crate::support::{PATIENCE, eventually};

/// Millions more than all tests together move.
const CHANNEL_SAT: u64 = 10_000_000;

/// The runtime on which the common nodes live.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap())
}

/// Runs a test on it.
pub fn run(test: impl Future<Output = ()>) {
    runtime().block_on(test);
}

/// `a`, behind LND; `b`, next to it; `c`, behind `b`, who takes a fee.
pub async fn row() -> &'static Row {
    static ROW: OnceCell<Row> = OnceCell::const_new();
    ROW.get_or_init(|| Row::start(&["a", "b", "c"], CHANNEL_SAT)).await
}

/// Hearth's back end on a server of its own in front of node `a`.
pub struct Rig {
    pub row: &'static Row,
    pub server: LndServer,
    lnd: Option<Lnd>,
    pub mark: PathBuf,
    pub config: Config,
    heard: Arc<Mutex<Heard>>,
}

/// What the back end has reported.
#[derive(Default)]
struct Heard {
    all: Vec<Incoming>,
    /// Whether reports are acknowledged, as the wallet does when they are on disk.
    keep: bool,
    unacknowledged: Vec<Ack>,
}

impl Rig {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let row = row().await;
        let server = LndServer::start(&row.nodes[0]).await;
        let mut config = Config { payment_timeout: Duration::from_secs(30), ..server.config() };
        change(&mut config);
        let mark = server.file("mark");
        let (lnd, heard) = open(&config, &mark).await;
        Self { row, server, lnd: Some(lnd), mark, config, heard }
    }

    /// Node `b`.
    pub fn near(&self) -> &'static Node {
        &self.row.nodes[1]
    }

    /// Node `c`.
    pub fn far(&self) -> &'static Node {
        &self.row.nodes[2]
    }

    /// The back end.
    pub fn lnd(&self) -> &Lnd {
        self.lnd.as_ref().expect("it is open")
    }

    /// Hearth is away.
    pub fn close(&mut self) {
        self.lnd = None;
    }

    /// Hearth is there again, and remembers no more than the mark.
    pub async fn open(&mut self) {
        assert!(self.lnd.is_none(), "two would share a mark");
        let (lnd, heard) = open(&self.config, &self.mark).await;
        (self.lnd, self.heard) = (Some(lnd), heard);
    }

    /// The same, and its reports are not acknowledged.
    pub async fn open_without_acknowledging(&mut self) {
        assert!(self.lnd.is_none(), "two would share a mark");
        let (lnd, heard) = open_with(&self.config, &self.mark, true).await;
        (self.lnd, self.heard) = (Some(lnd), heard);
    }

    /// From now on reports are taken and not acknowledged.
    pub fn stop_acknowledging(&self) {
        self.heard.lock().unwrap().keep = true;
    }

    /// Everything that was reported of an invoice, in order.
    pub fn heard(&self, hash: &PaymentHash) -> Vec<Incoming> {
        self.heard.lock().unwrap().all.iter().filter(|one| one.hash == *hash).cloned().collect()
    }

    /// Waits for a report that fits.
    pub async fn report(&self, hash: &PaymentHash, fits: impl Fn(&Incoming) -> bool) -> Incoming {
        let mut found = None;
        eventually("a report of the back end", async || {
            found = self.heard(hash).into_iter().find(&fits);
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Pays.
    pub async fn send(&self, order: SendOrder) -> SendResult {
        answer(|done| self.lnd().send(order, done)).await
    }

    /// Asks about a payment, of whatever attempt.
    pub async fn lookup(&self, hash: PaymentHash) -> LookupResult {
        self.lookup_since(hash, 0).await
    }

    /// Asks about a payment that was allowed then.
    pub async fn lookup_since(&self, hash: PaymentHash, since_ms: u64) -> LookupResult {
        answer(|done| self.lnd().lookup(LookupOrder { hash, attempt: 1, since_ms }, done)).await
    }

    /// Asks until it is over.
    pub async fn outcome(&self, hash: PaymentHash) -> LookupResult {
        let mut last = LookupResult::Pending;
        eventually("the end of a payment", async || {
            last = self.lookup(hash).await;
            last != LookupResult::Pending
        })
        .await;
        last
    }

    /// Waits until the back end can be used.
    pub async fn ready(&self) {
        eventually("a connection", async || self.lnd().ready().is_ok()).await;
    }

    /// Waits until the back end says that it cannot be used, with these words among others.
    pub async fn refuses(&self, words: &str) -> String {
        let mut said = String::new();
        eventually(words, async || {
            said = self.lnd().ready().err().map_or_else(String::new, |error| error.to_string());
            said.contains(words)
        })
        .await;
        said
    }
}

async fn open(config: &Config, mark: &Path) -> (Lnd, Arc<Mutex<Heard>>) {
    open_with(config, mark, false).await
}

async fn open_with(config: &Config, mark: &Path, keep: bool) -> (Lnd, Arc<Mutex<Heard>>) {
    let lnd = Lnd::open(config.clone(), mark.to_owned(), &Clock::system()).await.unwrap();
    let heard = Arc::new(Mutex::new(Heard { keep, ..Heard::default() }));
    let into = Arc::clone(&heard);
    lnd.on_incoming(Box::new(move |incoming, ack| {
        let mut heard = into.lock().unwrap();
        heard.all.push(incoming);
        if heard.keep { heard.unacknowledged.push(ack) } else { ack() }
    }));
    (lnd, heard)
}

/// Calls something that answers by a callback.
pub async fn answer<T: Send + 'static>(call: impl FnOnce(Answer<T>)) -> T {
    let (to, from) = tokio::sync::oneshot::channel();
    call(Box::new(move |answer| drop(to.send(answer))));
    tokio::time::timeout(PATIENCE, from).await.expect("an answer in time").expect("exactly one answer")
}

pub fn msat(msat: u64) -> Msat {
    Msat::new(msat).unwrap()
}

pub fn hash_of(invoice: &str) -> PaymentHash {
    hearth::wallet::backend::bolt11::decode(invoice).unwrap().hash
}

/// An order to pay an invoice; the amount is given where the invoice has none.
pub fn order(invoice: &str, amount_msat: u64, fee_max_msat: u64) -> SendOrder {
    let read = hearth::wallet::backend::bolt11::decode(invoice).unwrap();
    let target = SendTarget::Invoice { bolt11: read.bolt11, has_amount: read.amount.is_some() };
    let (amount, fee_max, until_s) = (msat(amount_msat), msat(fee_max_msat), read.expires_at_s);
    SendOrder { attempt: 1, hash: read.hash, target, amount, fee_max, until_s }
}

/// A number that nobody used before.
pub fn fresh() -> [u8; 32] {
    rand::random()
}

/// The hash of a preimage.
pub fn hash(preimage: [u8; 32]) -> PaymentHash {
    Hex32(<sha2::Sha256 as sha2::Digest>::digest(preimage).into())
}
