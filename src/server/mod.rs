//! The house door: sockets, HTTP, WebSockets, NIP-11, pages, and the second listener for health and metrics.
//!
//! It owns every byte that goes in or out and knows nothing of what the messages mean: that is the session of the relay.
//!
//! * [`listener`]: accepts, counts, refuses. [`slots`]: who has how many connections. [`client_ip`]: whose they are.
//! * [`http`]: the plain answers at `/`, until a request becomes a WebSocket. [`router`]: which answer. [`nip11`], [`pages`];
//!   [`pairing`]: where apps ask for a wallet connection.
//! * [`connection`]: the shell around one session. [`frames`]: the WebSocket frames of a client.
//! * [`health`]: `/livez`, `/readyz`, `/metrics` and `/status` on the second listener.

pub mod admin;
pub mod client_ip;
pub mod connection;
pub mod frames;
pub mod health;
pub mod http;
pub mod listener;
pub mod nip11;
pub mod pages;
pub mod pairing;
pub mod router;
pub mod slots;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::base::shutdown::Shutdown;
use crate::live::TotalBytes;
use crate::relay::Relay;
use crate::telemetry::metrics::ServerMetrics;
use connection::ConnectionConfig;
use health::Health;
use http::{HttpConfig, Site};
use listener::Bound;
use slots::Slots;

/// How far apart clients are sent away when the process stops, so that they do not all come back in one moment.
const FAREWELL_STEP: Duration = Duration::from_millis(1);
/// However many there are, the last one hears it after this time.
const FAREWELL_SPREAD_MAX: Duration = Duration::from_secs(10);

/// Where to listen, and bounds on everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// For clients.
    pub listen: SocketAddr,
    /// For operators.
    pub admin_listen: SocketAddr,
    /// Most connections in all.
    pub connections_max: usize,
    /// Most connections of an address.
    pub connections_per_ip_max: usize,
    /// The HTTP phase.
    pub http: HttpConfig,
    /// One WebSocket.
    pub connection: ConnectionConfig,
}

/// What the server joins to the sockets.
pub struct Parts {
    /// What the messages mean.
    pub relay: Arc<Relay>,
    /// What is answered to plain requests.
    pub site: Site,
    /// Bytes that wait for all clients together.
    pub total: Arc<TotalBytes>,
    /// Counters.
    pub metrics: ServerMetrics,
    /// Tells when to take nothing new.
    pub shutdown: Shutdown,
    /// What the second listener tells.
    pub health: Arc<dyn Health>,
}

/// What all connections share.
pub(super) struct Shared {
    config: Config,
    http: Arc<HttpConfig>,
    site: Arc<Site>,
    relay: Arc<Relay>,
    total: Arc<TotalBytes>,
    metrics: ServerMetrics,
    slots: Slots,
    shutdown: Shutdown,
    /// Whether nothing new is read any more. Looked at for every message, so it is no lock.
    stopping: AtomicBool,
    /// Cancelled when clients are to be sent away.
    farewell: CancellationToken,
    farewells: AtomicU64,
    /// Where work of other threads can be done.
    runtime: Handle,
}

impl Shared {
    /// From now on nothing new is read.
    fn stop_reading(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// How long the next client waits for its farewell.
    fn farewell_delay(&self) -> Duration {
        let nth = u32::try_from(self.farewells.fetch_add(1, Ordering::Relaxed)).unwrap_or(u32::MAX);
        FAREWELL_STEP.saturating_mul(nth).min(FAREWELL_SPREAD_MAX)
    }
}

/// A server that runs.
pub struct Server {
    shared: Arc<Shared>,
    connections: TaskTracker,
    listeners: TaskTracker,
    /// Ends the second listener, last of all.
    end: CancellationToken,
}

impl Server {
    /// Starts both listeners. From now on clients are served.
    pub fn start(bound: Bound, config: Config, parts: Parts) -> Self {
        let Parts { relay, site, total, metrics, shutdown, health } = parts;
        let Bound { public, admin } = bound;
        let shared = Arc::new(Shared {
            http: Arc::new(config.http.clone()),
            site: Arc::new(site),
            slots: Slots::new(config.connections_max, config.connections_per_ip_max),
            stopping: AtomicBool::new(false),
            farewell: CancellationToken::new(),
            farewells: AtomicU64::new(0),
            runtime: Handle::current(),
            config,
            relay,
            total,
            metrics,
            shutdown,
        });
        let server =
            Self { shared, connections: TaskTracker::new(), listeners: TaskTracker::new(), end: CancellationToken::new() };
        server.listeners.spawn(listener::accept(public, Arc::clone(&server.shared), server.connections.clone()));
        server.listeners.spawn(health::serve(admin, health, server.end.clone()));
        server
    }

    /// Sends everybody away (1012) after what waits for them went out. The listener must have been stopped before. Returns
    /// whether all connections were over in time.
    pub async fn say_farewell(&self, deadline: Duration) -> bool {
        // Connections look at this before they ask whether they are to leave.
        self.shared.stop_reading();
        self.shared.farewell.cancel();
        self.connections.close();
        tokio::time::timeout(deadline, self.connections.wait()).await.is_ok()
    }

    /// Ends the second listener too.
    pub async fn end(self) {
        self.end.cancel();
        self.listeners.close();
        self.listeners.wait().await;
    }
}
