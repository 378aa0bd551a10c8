//! Builds everything and joins siblings with small adapters. The only place that knows all concrete types.
//!
//! * [`data_dir`]: what lies where. [`keys`]: the secrets. [`storage`]: the relay's store, stored events made live. [`wallet`]: the wallet as
//!   the relay's intake, the relay as the wallet's publisher.
//! * [`health`]: what the process says about itself. [`process`]: what it asks of the system. [`run`]: the life after the start,
//!   and its end.

pub mod data_dir;
pub mod health;
pub mod keys;
pub mod process;
pub mod run;
pub mod storage;
#[cfg(test)]
mod tests;
pub mod wallet;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::base::clock::Clock;
use crate::base::shutdown::Shutdown;
use crate::config::{Problems, Settings};
use crate::live::{Live, LiveConfig, TotalBytes};
use crate::policy::{self, Policy};
use crate::relay::{self, Intake, NoIntake, Relay};
use crate::server::admin::{AdminError, AdminService, AdminSocket};
use crate::server::http::Site;
use crate::server::listener::{BindError, Bound};
use crate::server::nip11::{About, Limitation, Served};
use crate::server::{self, Server, nip11, pages};
use crate::store::{self, Store};
use crate::telemetry::metrics::{EventMetrics, Registry, ServerMetrics, UPKEEP_EVERY};
use crate::wallet::Wallet;
use data_dir::DataDir;
use health::{Readiness, Vitals, Watch};
use keys::{Birth, Keys};
use storage::{StoreForRelay, publish_to};
use wallet::{RelayForWallet, WalletError, WalletForRelay, WalletParts};

/// Bytes of an event without tags that are not its content, with a kind of five digits: what NIP-11 leaves of the longest event.
const EVENT_FRAME_BYTES: usize = 346;

/// A hearth that serves.
pub struct App {
    running: Running,
    fatal: oneshot::Receiver<String>,
}

/// What must be stopped in order.
struct Running {
    server: Server,
    store: Store,
    wallet: Wallet,
    shutdown: Shutdown,
    readiness: Arc<Readiness>,
    /// Tasks that end when the process stops.
    tasks: TaskTracker,
}

/// Where it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Where clients are listened for.
    pub public: SocketAddr,
    /// The second listener.
    pub admin: SocketAddr,
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory is wrong.
    #[error("{0}")]
    Data(#[from] Problems),
    /// The event store does not open.
    #[error("{0}")]
    Store(#[from] store::OpenError),
    /// The wallet does not open.
    #[error("{0}")]
    Wallet(#[from] WalletError),
    /// An address is taken or not ours.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The owner's socket cannot be made.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The system refuses something else.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// What all parts are built with.
struct Ground {
    clock: Clock,
    registry: Registry,
    live: Live,
    fatal: FatalSender,
}

/// Parts that hold data.
struct Rooms {
    store: Store,
    wallet: Wallet,
    relay: Arc<Relay>,
}

impl App {
    /// Starts everything; clients are served when this returns.
    pub async fn start(mut settings: Settings) -> Result<(Self, Addresses), StartError> {
        let data = DataDir::new(settings.data.clone()).with_credentials(settings.keys.credentials.clone());
        let passphrase = keys::passphrase(&settings.keys)?.map(|(passphrase, _)| passphrase);
        let made = data.make(&Birth { passphrase: passphrase.clone(), ..Birth::default() })?;
        if !made.keys.is_empty() {
            let directory = data.path().display();
            tracing::info!(%directory, "made a new data directory; `hearth init --show-words` shows the backup words of its seed");
        }
        let keys = data.read_keys(passphrase.as_ref())?;
        let clock = Clock::system();
        let (fatal, struck) = fatal_channel();
        let live = Live::new(&LiveConfig::default(), clock.clone());
        let ground = Ground { clock, registry: Registry::new(), live, fatal };
        // Bound first, since pairing codes name the port; nobody is accepted before the wallet has settled its open questions.
        let bound = Bound::open(&settings.server).await?;
        let addresses = Addresses { public: bound.public_address()?, admin: bound.admin_address()? };
        let url = settings.url.clone().unwrap_or_else(|| format!("ws://{}", addresses.public));
        if settings.wallet.service.relays.is_empty() {
            settings.wallet.service.relays = vec![url.clone()];
        }
        let rooms = open_rooms(&settings, &data, &keys, &ground).await?;
        let socket = AdminSocket::bind(&data.admin_socket())?;
        let running = serve(settings, &data, &keys, ground, rooms, Doors { bound, socket, url: &url });
        Ok((Self { running, fatal: struck }, addresses))
    }
}

/// What clients and the owner come in by.
struct Doors<'a> {
    bound: Bound,
    socket: AdminSocket,
    url: &'a str,
}

/// The store first: its lock keeps a second process away from everything else.
async fn open_rooms(settings: &Settings, data: &DataDir, keys: &Keys, ground: &Ground) -> Result<Rooms, StartError> {
    let on_commit = publish_to(ground.live.clone(), EventMetrics::new(&ground.registry));
    let store = Store::open(&data.events(), &settings.store, ground.clock.clone(), on_commit)?;
    let fatal = ground.fatal.clone();
    store.on_fatal(Box::new(move |words| fatal.strike(&words)));
    let publisher = RelayForWallet::new(ground.live.clone());
    let fatal = ground.fatal.clone();
    let wallet = wallet::open(WalletParts {
        dir: data.wallet(),
        audit: data.audit(),
        settings: &settings.wallet,
        keys,
        publisher: Arc::clone(&publisher),
        clock: ground.clock.clone(),
        on_fatal: Box::new(move |words| fatal.strike(words)),
    })
    .await?;
    let policy = Policy::new(settings.limits, &settings.rates, settings.homes.clone(), settings.rules.clone());
    // A wallet that is off is still the owner's: he can look at it and change it.
    let intake: Arc<dyn Intake> =
        if settings.wallet.enabled { Arc::new(WalletForRelay(wallet.clone())) } else { Arc::new(NoIntake) };
    let relay = Relay::new(relay::Parts {
        store: Arc::new(StoreForRelay(store.clone())),
        live: ground.live.clone(),
        intake,
        policy: Arc::new(policy),
        clock: ground.clock.clone(),
    });
    publisher.set_relay(&relay);
    Ok(Rooms { store, wallet, relay })
}

/// Opens the doors.
fn serve(settings: Settings, data: &DataDir, keys: &Keys, ground: Ground, rooms: Rooms, doors: Doors<'_>) -> Running {
    let Ground { clock, registry, live, .. } = ground;
    let Rooms { store, wallet, relay } = rooms;
    let total = TotalBytes::new(settings.outbox_total_bytes);
    let shutdown = Shutdown::new();
    let readiness = Arc::new(Readiness::default());
    let metrics = ServerMetrics::new(&registry);
    let vitals = Arc::new(Vitals::new(Watch {
        registry: registry.clone(),
        server: metrics.clone(),
        relay: Arc::clone(&relay),
        live,
        total: Arc::clone(&total),
        store: store.clone(),
        wallet: wallet.clone(),
        data: data.path().to_owned(),
        started_at_s: clock.now_s(),
        clock,
        readiness: Arc::clone(&readiness),
    }));
    let site = site(&settings, keys, doors.url);
    let health = Arc::clone(&vitals) as Arc<_>;
    let parts = server::Parts { relay, site, total, metrics, shutdown: shutdown.clone(), health };
    let server = Server::start(doors.bound, settings.server, parts);
    let tasks = TaskTracker::new();
    let service = AdminService::new(wallet.clone(), Arc::new(move |reply| vitals.fill(reply)));
    let service = service.with_wallet_on(settings.wallet.enabled);
    tasks.spawn(serve_owner(doors.socket, service, shutdown.clone()));
    if settings.wallet.enabled {
        tasks.spawn(wallet.clone().run(shutdown.clone()));
    }
    tasks.spawn(keep_metrics(registry, shutdown.clone()));
    readiness.set(true);
    Running { server, store, wallet, shutdown, readiness, tasks }
}

async fn serve_owner(socket: AdminSocket, service: AdminService, shutdown: Shutdown) {
    if let Err(error) = socket.serve(service, shutdown).await {
        tracing::error!(%error, "the owner's socket is gone");
    }
}

async fn keep_metrics(registry: Registry, shutdown: Shutdown) {
    while tokio::time::timeout(UPKEEP_EVERY, shutdown.stopping()).await.is_err() {
        registry.upkeep();
    }
}

/// Tells once that a write to disk has failed.
#[derive(Clone)]
struct FatalSender(Arc<Mutex<Option<oneshot::Sender<String>>>>);

fn fatal_channel() -> (FatalSender, oneshot::Receiver<String>) {
    let (sender, receiver) = oneshot::channel();
    (FatalSender(Arc::new(Mutex::new(Some(sender)))), receiver)
}

impl FatalSender {
    fn strike(&self, words: &str) {
        if let Some(sender) = self.0.lock().take() {
            // Nobody listens any more only when the process ends anyway.
            let _ = sender.send(words.to_owned());
        }
    }
}

/// What is answered to plain requests, from the values that the parts were built with.
fn site(settings: &Settings, keys: &Keys, url: &str) -> Site {
    let about =
        About { own_pubkey: keys.relay_pubkey().map(|key| key.to_string()).unwrap_or_default(), ..settings.about.clone() };
    let served = Served { count: true, wallet: settings.wallet.enabled };
    let limitation = limitation(&settings.limits, &settings.rules);
    Site { information: nip11::render(&about, served, &limitation), page: pages::render(&about, served, &limitation, url) }
}

fn limitation(limits: &policy::Limits, rules: &policy::Rules) -> Limitation {
    Limitation {
        max_message_length: limits.message_bytes,
        max_subscriptions: limits.subscriptions,
        max_limit: limits.max_limit,
        max_subid_length: limits.subscription_id_chars,
        max_event_tags: limits.event.tags,
        max_content_length: limits.event.event_bytes.saturating_sub(EVENT_FRAME_BYTES),
        min_pow_difficulty: 0,
        auth_required: rules.login_to_read && rules.login_to_write,
        payment_required: false,
        restricted_writes: rules.login_to_write || !rules.allowed_keys.is_empty() || !rules.allowed_kinds.is_empty(),
        created_at_lower_limit: limits.past_s,
        created_at_upper_limit: limits.future_s,
        default_limit: limits.default_limit,
    }
}
