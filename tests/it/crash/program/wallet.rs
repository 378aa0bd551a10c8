//! The wallet behind the program: a gRPC server in the test's own process, so that its ledger outlives every hearth; and the moment at
//! which hearth is struck, by the wallet that it has just ordered something from.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use hearth::pb::wallet_backend as pb;
use hearth::pb::wallet_backend::wallet_backend_server::{WalletBackend, WalletBackendServer};
use hearth::pb::{Code, Status};
use parking_lot::Mutex;
use secp256k1::{SECP256K1, SecretKey};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response};

use super::super::disk::{Disk, Fault, When};
use super::super::till::{AMOUNT_MSAT, FEE_MSAT, Point, preimage};

type Hash = [u8; 32];

/// Files of the program: its wallet, the journal's log, the anchor.
pub(super) const WALLET: &str = "/data/wallet/";
pub(super) const LOG: &str = "/data/wallet/0";
pub(super) const ANCHOR: &str = "/data/wallet/ANCHOR";
/// Invoices that the neighbours know the preimages of.
const NEIGHBOURS: u64 = 1_000;
/// An order that was on its way when hearth was struck arrives so late.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
/// So long a payment of a struck hearth is under way.
const UNDER_WAY: Duration = Duration::from_millis(1_500);
/// Longer than a mark of the journal waits for its sync: what is synced next is the next one's.
const MARKED: Duration = Duration::from_millis(300);

/// Where hearth is to be struck, and how.
pub(super) struct Strike {
    point: Point,
    fault: Fault,
    disk: Arc<Disk>,
    pid: AtomicI32,
    is_over: AtomicBool,
}

impl Strike {
    pub(super) fn new(point: Point, fault: Fault, disk: &Arc<Disk>) -> Arc<Self> {
        let (pid, is_over) = (AtomicI32::new(0), AtomicBool::new(false));
        Arc::new(Self { point, fault, disk: Arc::clone(disk), pid, is_over })
    }

    /// Whom it is meant for.
    pub(super) fn aim(&self, pid: u32) {
        self.pid.store(i32::try_from(pid).unwrap(), Ordering::Release);
    }

    /// Whether this point is the one; true once.
    pub(super) fn is_at(&self, point: Point) -> bool {
        self.point == point && !self.is_over.swap(true, Ordering::AcqRel)
    }

    /// Before anything is asked: what only hearth's own disk can see.
    pub(super) fn before_requests(&self) {
        let control = self.disk.control();
        if self.is_at(Point::W0) {
            control.arm(self.fault, When::Before, 1, LOG);
        }
        if self.is_at(Point::W0Anchor) {
            self.at_anchor();
        }
        if self.is_at(Point::W1) {
            self.behind_log();
        }
    }

    /// At the anchor: in front of the write of its mark, or at its sync.
    fn at_anchor(&self) {
        match self.fault {
            Fault::Fail => self.disk.control().arm(Fault::Fail, When::Before, 1, ANCHOR),
            fault => self.disk.control().arm_write(fault, When::Before, 1, ANCHOR),
        }
    }

    /// Behind the next sync of the log; EIO at the sync that comes after it.
    fn behind_log(&self) {
        match self.fault {
            Fault::Fail => self.disk.control().arm(Fault::Fail, When::Before, 2, WALLET),
            fault => self.disk.control().arm(fault, When::After, 1, LOG),
        }
    }

    /// At once.
    async fn now(&self) {
        match self.fault {
            Fault::Kill => self.kill(),
            Fault::Fail => self.disk.control().arm(Fault::Fail, When::Before, 1, WALLET),
            Fault::Delay { ms } => sleep(Duration::from_millis(u64::try_from(ms).unwrap())).await,
        }
    }

    /// `kill -9`, from outside.
    pub(super) fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    /// The same as [`Self::now`], by whoever stands still with hearth.
    pub(super) async fn now_and_whole(&self) {
        match self.fault {
            Fault::Delay { ms } => {
                self.signal(libc::SIGSTOP);
                sleep(Duration::from_millis(u64::try_from(ms).unwrap())).await;
                self.signal(libc::SIGCONT);
            }
            _ => self.now().await,
        }
    }

    #[expect(unsafe_code, reason = "std has no way to send a signal")]
    fn signal(&self, signal: libc::c_int) {
        let pid = self.pid.load(Ordering::Acquire);
        assert!(pid > 1, "nobody was aimed at");
        // SAFETY: a plain system call on the id of a child that has not been waited for.
        unsafe {
            libc::kill(pid, signal);
        }
    }
}

/// A payment in the ledger.
#[derive(Clone, Debug)]
pub(super) struct Paid {
    pub(super) amount_msat: u64,
    /// How often the payee got it.
    pub(super) times: u32,
    preimage: [u8; 32],
    /// The highest that came with an order.
    attempt: u64,
    settles_at: Instant,
}

/// What the wallet knows and does.
pub(super) struct Ledger {
    neighbours: HashMap<Hash, [u8; 32]>,
    book: Mutex<BTreeMap<Hash, Paid>>,
    /// Payments in the order in which they were made: a place in it is a cursor.
    told: watch::Sender<Vec<Hash>>,
    /// It keeps the promise that a hash is paid once. If not, it pays as often as it is told to.
    refuses_second: bool,
    strike: Mutex<Option<Arc<Strike>>>,
    /// Milliseconds that a payment takes at most.
    latency_ms: u64,
}

impl Ledger {
    /// Everything that it has paid.
    pub(super) fn book(&self) -> BTreeMap<Hash, Paid> {
        self.book.lock().clone()
    }

    /// What happens from now on; `None`: nothing any more.
    pub(super) fn strike(&self, strike: Option<Arc<Strike>>) {
        *self.strike.lock() = strike;
    }

    fn strikes_at(&self, point: Point) -> Option<Arc<Strike>> {
        self.strike.lock().clone().filter(|strike| strike.is_at(point))
    }

    fn reply(&self, hash: &Hash) -> pb::PaymentReply {
        let book = self.book.lock();
        let Some(paid) = book.get(hash) else {
            return pb::PaymentReply { state: pb::PaymentState::NotFound.into(), ..pb::PaymentReply::default() };
        };
        if Instant::now() < paid.settles_at {
            let state = pb::PaymentState::InFlight.into();
            return pb::PaymentReply { state, attempt: paid.attempt, ..pb::PaymentReply::default() };
        }
        pb::PaymentReply {
            state: pb::PaymentState::Settled.into(),
            preimage: paid.preimage.to_vec(),
            fee_msat: FEE_MSAT,
            attempt: paid.attempt,
            ..pb::PaymentReply::default()
        }
    }

    /// Tells the outcome as an event, behind whatever strikes; every payment once.
    fn tell(&self, hash: Hash) {
        self.told.send_if_modified(|told| {
            let is_new = !told.contains(&hash);
            if is_new {
                told.push(hash);
            }
            is_new
        });
    }

    /// The event at a place; `None`: nothing happened yet.
    fn event(&self, place: usize) -> Option<pb::Event> {
        let hash = *self.told.borrow().get(place)?;
        let outgoing = pb::Outgoing { payment_hash: hash.to_vec(), reply: Some(self.reply(&hash)) };
        Some(pb::Event { cursor: (place + 1).to_string(), what: Some(pb::event::What::Outgoing(outgoing)) })
    }

    /// Pays.
    fn take(&self, hash: Hash, order: &pb::SendRequest, takes: Duration) {
        let preimage = match order.target.as_ref().unwrap() {
            pb::send_request::Target::Invoice(_) => self.neighbours[&hash],
            pb::send_request::Target::Keysend(keysend) => keysend.preimage[..].try_into().unwrap(),
        };
        assert_eq!(<Hash>::from(Sha256::digest(preimage)), hash);
        let mut book = self.book.lock();
        let settles_at = Instant::now() + takes;
        let fresh = Paid { amount_msat: order.amount_msat, times: 0, preimage, attempt: 0, settles_at };
        let paid = book.entry(hash).or_insert(fresh);
        paid.attempt = paid.attempt.max(order.attempt);
        if paid.times == 0 || !self.refuses_second || paid.amount_msat != order.amount_msat {
            paid.times += 1;
        }
    }

    async fn order(self: Arc<Self>, order: pb::SendRequest) -> Result<pb::PaymentReply, Status> {
        let hash: Hash = order.payment_hash[..].try_into().unwrap();
        if self.refuses_second && self.book.lock().contains_key(&hash) {
            return Ok(self.reply(&hash));
        }
        if let Some(strike) = self.strikes_at(Point::W2) {
            strike.now().await;
            if strike.fault == Fault::Fail {
                tokio::spawn(async move {
                    sleep(ON_ITS_WAY).await;
                    self.take(hash, &order, UNDER_WAY);
                    sleep(UNDER_WAY).await;
                    self.tell(hash);
                });
                return Err(Status::new(Code::Unavailable, "the stream was cut"));
            }
            sleep(ON_ITS_WAY).await;
        }
        let strike = self.strikes_at(Point::W3);
        self.take(hash, &order, if strike.is_some() { UNDER_WAY } else { Duration::ZERO });
        if let Some(strike) = strike {
            strike.now().await;
        }
        if let Some(strike) = self.strikes_at(Point::W4) {
            strike.disk.control().arm(strike.fault, When::Before, 1, LOG);
        }
        if let Some(strike) = self.strikes_at(Point::W4Anchor) {
            sleep(MARKED).await;
            strike.at_anchor();
        }
        if let Some(strike) = self.strikes_at(Point::W5) {
            sleep(MARKED).await;
            strike.behind_log();
        }
        if self.latency_ms > 0 {
            sleep(Duration::from_millis(rand::random::<u64>() % self.latency_ms)).await;
        }
        let reply = self.reply(&hash);
        if reply.state() == pb::PaymentState::InFlight {
            tokio::spawn(async move {
                sleep(UNDER_WAY).await;
                self.tell(hash);
            });
        } else {
            self.tell(hash);
        }
        Ok(reply)
    }
}

/// The ledger behind its socket, on a thread of its own.
pub(super) struct Wallet {
    pub(super) ledger: Arc<Ledger>,
    dir: TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Wallet {
    pub(super) fn start(refuses_second: bool, latency_ms: u64) -> Self {
        let dir = super::super::disk::scratch();
        let neighbours = (0..NEIGHBOURS).map(|number| (preimage(number).hash().0, preimage(number).0)).collect();
        let (book, strike, told) = (Mutex::default(), Mutex::default(), watch::Sender::new(Vec::new()));
        let ledger = Arc::new(Ledger { neighbours, book, told, refuses_second, strike, latency_ms });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(async { UnixListener::bind(dir.path().join("wallet.sock")).unwrap() });
        let service = WalletBackendServer::new(Service(Arc::clone(&ledger)));
        let server = tonic::transport::Server::builder().add_service(service);
        runtime.spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
        Self { ledger, dir, _runtime: runtime }
    }

    /// The configuration of a hearth with this wallet.
    pub(super) fn config(&self) -> String {
        let socket = self.dir.path().join("wallet.sock");
        let wallet = format!("[wallet]\nbackend = \"grpc\"\n[wallet.grpc]\naddress = \"unix:{}\"\n", socket.display());
        format!("[rates]\nenabled = false\n[limits]\nconnections_per_ip = 10000\n{wallet}")
    }
}

struct Service(Arc<Ledger>);

fn none<T>() -> Result<Response<T>, Status> {
    Err(Status::new(Code::Unimplemented, "this wallet only pays"))
}

#[tonic::async_trait]
impl WalletBackend for Service {
    async fn hello(&self, _: Request<pb::HelloRequest>) -> Result<Response<pb::HelloReply>, Status> {
        let key = SecretKey::from_slice(&Sha256::digest("the wallet of the tests")).unwrap();
        let node = pb::NodeInfo {
            pubkey: key.public_key(SECP256K1).to_string(),
            alias: "ledger".to_owned(),
            network: "regtest".to_owned(),
            ..pb::NodeInfo::default()
        };
        let can = pb::Capabilities {
            outside: true,
            refuses_second: self.0.refuses_second,
            keysend: true,
            ..pb::Capabilities::default()
        };
        let reply = pb::HelloReply { version: 1, server: "test".to_owned(), node: Some(node), can: Some(can) };
        Ok(Response::new(reply))
    }

    async fn send(&self, request: Request<pb::SendRequest>) -> Result<Response<pb::PaymentReply>, Status> {
        // An order that arrived is carried out, whether hearth is still there or not.
        let ordered = tokio::spawn(Arc::clone(&self.0).order(request.into_inner()));
        ordered.await.map_err(|error| Status::new(Code::Internal, error.to_string()))?.map(Response::new)
    }

    async fn lookup(&self, request: Request<pb::LookupRequest>) -> Result<Response<pb::PaymentReply>, Status> {
        let hash: Hash = request.into_inner().payment_hash[..].try_into().unwrap();
        Ok(Response::new(self.0.reply(&hash)))
    }

    async fn make_invoice(&self, _: Request<pb::MakeInvoiceRequest>) -> Result<Response<pb::InvoiceReply>, Status> {
        none()
    }

    async fn make_hold_invoice(&self, _: Request<pb::MakeHoldInvoiceRequest>) -> Result<Response<pb::InvoiceReply>, Status> {
        none()
    }

    async fn settle_hold(&self, _: Request<pb::SettleHoldRequest>) -> Result<Response<pb::SettleHoldReply>, Status> {
        none()
    }

    async fn cancel_hold(&self, _: Request<pb::CancelHoldRequest>) -> Result<Response<pb::CancelHoldReply>, Status> {
        none()
    }

    async fn sign_message(&self, _: Request<pb::SignMessageRequest>) -> Result<Response<pb::SignMessageReply>, Status> {
        none()
    }

    async fn balance(&self, _: Request<pb::BalanceRequest>) -> Result<Response<pb::BalanceReply>, Status> {
        none()
    }

    type EventsStream = ReceiverStream<Result<pb::Event, Status>>;

    async fn events(&self, request: Request<pb::EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        let (tell, events) = mpsc::channel(64);
        let (ledger, mut told) = (Arc::clone(&self.0), self.0.told.subscribe());
        let mut place = request.into_inner().cursor.parse().unwrap_or(0);
        tokio::spawn(async move {
            loop {
                while let Some(event) = ledger.event(place) {
                    place += 1;
                    if tell.send(Ok(event)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    changed = told.changed() => if changed.is_err() { return },
                    () = tell.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(events)))
    }
}

/// Everything as it should be: each hash paid once, with its amount.
pub(super) fn paid_once(book: &BTreeMap<Hash, Paid>) -> Result<(), String> {
    match book.iter().find(|(_, paid)| paid.times != 1 || paid.amount_msat != AMOUNT_MSAT) {
        Some((hash, paid)) => Err(format!("{}: {paid:?}", const_hex::encode(hash))),
        None => Ok(()),
    }
}
