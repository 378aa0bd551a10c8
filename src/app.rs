//! Builds everything and joins siblings with small adapters. The only place that knows all concrete types.
//!
//! * [`data_dir`]: what lies where, the keys. [`storage`]: the relay's store, stored events made live.
//! * [`health`]: what the process says about itself. [`run`]: the life after the start, and its end.

pub mod data_dir;
pub mod health;
pub mod run;
pub mod storage;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::base::clock::Clock;
use crate::base::shutdown::Shutdown;
use crate::config::{Problems, Settings};
use crate::live::{Live, LiveConfig, TotalBytes};
use crate::policy::{self, Policy};
use crate::relay::{self, NoIntake, Relay};
use crate::server::http::Site;
use crate::server::listener::{BindError, Bound};
use crate::server::nip11::{About, Limitation, Served};
use crate::server::{self, Server, nip11, pages};
use crate::store::{self, Store};
use crate::telemetry::metrics::{EventMetrics, Registry, ServerMetrics, UPKEEP_EVERY};
use data_dir::{DataDir, Keys};
use health::{Readiness, Vitals, Watch};
use storage::{StoreForRelay, publish_to};

/// Bytes of an event that are not its content, where it has no tags: what NIP-11 leaves of the longest event.
const EVENT_FRAME_BYTES: usize = 346;

/// A hearth that serves.
pub struct App {
    stop: Running,
    /// Words, once a write has failed.
    fatal: Option<oneshot::Receiver<String>>,
}

/// What must be stopped in order.
struct Running {
    server: Server,
    store: Store,
    shutdown: Shutdown,
    readiness: Arc<Readiness>,
    upkeep: JoinHandle<()>,
}

/// Where it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The address that clients use.
    pub url: String,
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
    /// An address is taken or not ours.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system refuses something else.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl App {
    /// Starts everything; clients are served when this returns.
    pub async fn start(settings: Settings) -> Result<(Self, Addresses), StartError> {
        let data = DataDir::new(settings.data.clone());
        let made = data.make()?;
        if !made.keys.is_empty() {
            tracing::info!(directory = %data.path().display(), "made a new data directory");
        }
        let keys = data.read_keys()?;
        let clock = Clock::system();
        let registry = Registry::new();
        let live = Live::new(&LiveConfig::default(), clock.clone());
        let on_commit = publish_to(live.clone(), EventMetrics::new(&registry));
        let store = Store::open(&data.events(), &settings.store, clock.clone(), on_commit)?;
        let fatal = watch_for_failure(&store);
        let relay = Relay::new(relay::Parts {
            store: Arc::new(StoreForRelay(store.clone())),
            live: live.clone(),
            intake: Arc::new(NoIntake),
            policy: Arc::new(Policy::new(settings.limits, &settings.rates, settings.homes.clone(), settings.rules.clone())),
            clock: clock.clone(),
        });
        let bound = Bound::open(&settings.server).await?;
        let addresses = addresses(&settings, &bound)?;
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
            data: data.path().to_owned(),
            started_at_s: clock.now_s(),
            clock,
            readiness: Arc::clone(&readiness),
        }));
        let site = site(&settings, &keys, &addresses.url);
        let parts = server::Parts { relay, site, total, metrics, shutdown: shutdown.clone(), health: vitals };
        let server = Server::start(bound, settings.server, parts);
        let upkeep = tokio::spawn(keep_metrics(registry));
        readiness.set(true);
        Ok((Self { stop: Running { server, store, shutdown, readiness, upkeep }, fatal: Some(fatal) }, addresses))
    }
}

/// Resolves with words when a write of the store has failed.
fn watch_for_failure(store: &Store) -> oneshot::Receiver<String> {
    let (sender, receiver) = oneshot::channel();
    let sender = Mutex::new(Some(sender));
    store.on_fatal(Box::new(move |words| {
        if let Some(sender) = sender.lock().take() {
            // Nobody listens any more only when the process ends anyway.
            let _ = sender.send(words);
        }
    }));
    receiver
}

fn addresses(settings: &Settings, bound: &Bound) -> Result<Addresses, StartError> {
    let public = bound.public_address()?;
    let url = settings.url.clone().unwrap_or_else(|| format!("ws://{public}"));
    Ok(Addresses { url: url + "/", admin: bound.admin_address()? })
}

/// What is answered to plain requests, from the values that the parts were built with.
fn site(settings: &Settings, keys: &Keys, url: &str) -> Site {
    let about =
        About { own_pubkey: keys.relay_pubkey().map(|key| key.to_string()).unwrap_or_default(), ..settings.about.clone() };
    let served = Served { count: true, wallet: false };
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

async fn keep_metrics(registry: Registry) {
    loop {
        tokio::time::sleep(UPKEEP_EVERY).await;
        registry.upkeep();
    }
}
