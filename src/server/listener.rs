//! Accepts connections: counts them, refuses what is too much before a byte is read, and gives each one a task of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::http::Ended;
use super::slots::{NoSlot, Slot};
use super::{Config, Shared, connection, http};

/// After an error of accept (no file handles left, mostly): how long until the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A request that has not arrived whole this long after everybody was sent away is not waited for.
const FAREWELL_GRACE: Duration = Duration::from_secs(1);

/// Two listeners that are open but not served yet.
pub struct Bound {
    pub(super) public: TcpListener,
    pub(super) admin: TcpListener,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub cause: io::Error,
}

impl Bound {
    /// Opens both.
    pub async fn open(config: &Config) -> Result<Self, BindError> {
        Ok(Self { public: bind(config.listen).await?, admin: bind(config.admin_listen).await? })
    }

    /// Where clients connect; with port 0 in the configuration, the real one.
    pub fn public_address(&self) -> io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Where operators look.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|cause| BindError { address, cause })
}

/// Accepts until the process stops; then it tells the connections that nothing new is read.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, connections: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.shutdown.stopping() => return shared.stop_reading(),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(slot) = admit(&shared, peer) {
                    // Small messages must not wait for the acknowledgement of the ones before.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(serve(stream, peer, slot, Arc::clone(&shared)));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A slot for a new connection. Connections of a trusted proxy are counted under their client's address, once that is known.
fn admit(shared: &Shared, peer: SocketAddr) -> Option<Slot> {
    let ip = peer.ip().to_canonical();
    let is_proxy = shared.http.trusted_proxies.iter().any(|network| network.contains(ip));
    let slot = shared.slots.take().and_then(|mut slot| if is_proxy { Ok(slot) } else { slot.belongs_to(ip).map(|()| slot) });
    match slot {
        Ok(slot) => Some(slot),
        Err(NoSlot::Address) => {
            shared.metrics.refused_per_ip.increment(1);
            None
        }
        Err(NoSlot::Full) => {
            shared.metrics.refused_full.increment(1);
            None
        }
    }
}

/// One connection, from its first byte to its last.
async fn serve(stream: TcpStream, peer: SocketAddr, slot: Slot, shared: Arc<Shared>) {
    // In a box, so that what HTTP needs is gone when the long life of a WebSocket begins.
    let http_phase = Box::pin(http::serve(stream, peer.ip(), slot, Arc::clone(&shared.site), Arc::clone(&shared.http)));
    let told_to_go = async {
        shared.farewell.cancelled().await;
        tokio::time::sleep(FAREWELL_GRACE).await;
    };
    let ended = tokio::select! {
        ended = http_phase => ended,
        () = told_to_go => return,
    };
    match ended {
        Ended::WebSocket(upgraded) => connection::serve(upgraded, shared).await,
        Ended::Done => {}
        Ended::Refused => shared.metrics.refused_handshake.increment(1),
        Ended::TooMany => shared.metrics.refused_per_ip.increment(1),
    }
}
