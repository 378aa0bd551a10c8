//! A server that speaks LND's gRPC, with TLS and a macaroon like LND's, in front of a real node that does the payments.
//!
//! It keeps what LND keeps: invoices with their counters, when a payment began. And it can behave as badly as the world does:
//! see [`faults`].

mod faults;
mod invoices;
mod payments;
mod wire;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hearth::wallet::backend::Network;
use hearth::wallet::backend::lnd::Config;
use hearth::wallet::backend::lnd::messages::{CancelInvoiceRequest, InvoiceState, PaymentHashRequest};
use ldk_node::Event;
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::node::Node;
use crate::support::port::Port;
pub use faults::{Faults, SendFault, TrackFault};
use invoices::Invoices;

/// The node behind the server and what LND would remember.
struct Inner {
    node: Arc<ldk_node::Node>,
    events: broadcast::Sender<Event>,
    macaroon: Mutex<String>,
    invoices: Mutex<Invoices>,
    /// When a payment began, unix ns, and how often it was begun.
    begun: Mutex<HashMap<[u8; 32], (i64, u32)>>,
    faults: Mutex<Faults>,
    /// Ends with every connection.
    connections: Mutex<CancellationToken>,
}

/// The server and the files that its user would have.
pub struct LndServer {
    inner: Arc<Inner>,
    dir: TempDir,
    port: Port,
    key_pem: String,
    serving: Mutex<Option<JoinHandle<()>>>,
    watching: JoinHandle<()>,
}

impl LndServer {
    /// Serves a node on a free port.
    pub async fn start(node: &Node) -> Self {
        let inner = Arc::new(Inner {
            node: Arc::clone(&node.inner),
            events: node.events.clone(),
            macaroon: Mutex::new(const_hex::encode(MACAROON)),
            invoices: Mutex::new(Invoices::new()),
            begun: Mutex::default(),
            faults: Mutex::default(),
            connections: Mutex::default(),
        });
        let (cert_pem, key_pem) = wire::certificate();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tls.cert"), cert_pem).unwrap();
        write_macaroon(&dir.path().join("hearth.macaroon"), MACAROON);
        let watching = tokio::spawn(invoices::watch(Arc::clone(&inner)));
        let server = Self { inner, dir, port: Port::reserve(), key_pem, serving: Mutex::new(None), watching };
        server.resume().await;
        server
    }

    /// What hearth is told to reach it.
    pub fn config(&self) -> Config {
        Config {
            address: format!("127.0.0.1:{}", self.port.number()),
            cert_file: self.dir.path().join("tls.cert"),
            macaroon_file: self.dir.path().join("hearth.macaroon"),
            network: Network::Regtest,
            ..Config::default()
        }
    }

    /// The same as a part of a configuration file.
    pub fn config_text(&self) -> String {
        let config = self.config();
        format!(
            "[wallet]\nbackend = \"lnd\"\n[wallet.lnd]\naddress = {:?}\ncert_file = {:?}\nmacaroon_file = {:?}\nnetwork = \"regtest\"\n",
            config.address,
            config.cert_file.to_string_lossy(),
            config.macaroon_file.to_string_lossy()
        )
    }

    /// A file beside those of the server.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Every connection breaks at once; new ones are taken.
    pub fn cut_connections(&self) {
        self.inner.cut_connections();
    }

    /// The server goes away, like a node that is stopped; the payments of the real node go on.
    pub async fn pause(&self) {
        let serving = self.serving.lock().unwrap().take();
        if let Some(serving) = serving {
            serving.abort();
            // The port is free when the task is gone.
            let _ = serving.await;
        }
        self.cut_connections();
    }

    /// It is there again, on the same port, with what it knew.
    pub async fn resume(&self) {
        let cert_pem = std::fs::read(self.file("tls.cert")).unwrap();
        let task = wire::serve(Arc::clone(&self.inner), self.port.number(), &cert_pem, self.key_pem.as_bytes()).await;
        *self.serving.lock().unwrap() = Some(task);
    }

    /// Takes another macaroon from now on, and no other.
    pub fn change_macaroon(&self, macaroon: &[u8]) {
        *self.inner.macaroon.lock().unwrap() = const_hex::encode(macaroon);
    }

    /// How often a payment was begun: never more than once unless it failed in between.
    pub fn times_begun(&self, hash: &[u8; 32]) -> u32 {
        self.inner.begun.lock().unwrap().get(hash).map_or(0, |(_, times)| *times)
    }

    /// Whether a payment of this invoice has arrived and is held.
    pub fn is_held(&self, hash: &[u8; 32]) -> bool {
        let invoice = self.inner.lookup_invoice(&PaymentHashRequest { r_hash: hash.to_vec() });
        invoice.is_ok_and(|invoice| invoice.state() == InvoiceState::Accepted)
    }

    /// Somebody cancels an invoice at the node itself.
    pub fn cancel(&self, hash: &[u8; 32]) {
        self.inner.cancel_invoice(&CancelInvoiceRequest { payment_hash: hash.to_vec() }).unwrap();
    }

    /// What comes next goes wrong.
    pub fn fault(&self, set: impl FnOnce(&mut Faults)) {
        set(&mut self.inner.faults.lock().unwrap());
    }
}

impl Drop for LndServer {
    fn drop(&mut self) {
        self.watching.abort();
        if let Some(serving) = self.serving.lock().unwrap().take() {
            serving.abort();
        }
        self.cut_connections();
    }
}

/// A macaroon whose rights nobody but LND can read.
const MACAROON: &[u8] = &[2, 2, 4, 7, 7, 7, 7, 0, 0, 6, 1, 9];

/// Writes a macaroon file that only its owner can read.
pub fn write_macaroon(path: &std::path::Path, macaroon: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, macaroon).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

impl Inner {
    fn cut_connections(&self) {
        let fresh = CancellationToken::new();
        std::mem::replace(&mut *self.connections.lock().unwrap(), fresh).cancel();
    }

    fn may(&self, macaroon: Option<&str>) -> Result<(), Status> {
        if let Some(words) = self.faults.lock().unwrap().refuse_all {
            return Err(Status::unknown(words));
        }
        match macaroon {
            Some(hex) if hex == *self.macaroon.lock().unwrap() => Ok(()),
            Some(_) => Err(Status::unknown("verification failed: signature mismatch after caveat verification")),
            None => Err(Status::unknown("expected 1 macaroon, got 0")),
        }
    }
}

fn hash32(bytes: &[u8]) -> Result<[u8; 32], Status> {
    bytes.try_into().map_err(|_| Status::invalid_argument("a hash has 32 bytes"))
}
