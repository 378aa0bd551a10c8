//! The back end LND: a Lightning node of its own, reached by gRPC.
//!
//! * [`credentials`]: the pinned certificate and the macaroon. `tls`, `client`: the connection. [`messages`]: LND's interface.
//! * `send`: payments out and what LND's words are worth. `invoices`: payments in. `watch`: keeps the connection, knows who the
//!   node is and what it holds, and reports what comes in. `cursor`: how far that is durable. `holds`: which hold invoices are followed.
//!
//! LND refuses a second payment of one hash while the first is under way or done, so driving the same payment again is safe.
//! A payment is never bound to the connection: LND goes on with it when hearth is gone.

mod client;
pub mod credentials;
mod cursor;
mod holds;
mod invoices;
pub mod messages;
mod send;
#[cfg(test)]
mod tests;
mod tls;
mod watch;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{Notify, SetOnce, watch as changes};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    Answer, Backend, BackendError, Capabilities, Incoming, IncomingState, Info, LookupOrder, LookupResult, MadeInvoice, Network,
    NewHoldInvoice, NewInvoice, NodeBalance, Report, SendOrder, SendResult, SignedMessage,
};
use crate::base::amount::Msat;
use crate::base::clock::Clock;
use crate::base::hex32::{Hex32, PaymentHash};
use crate::wallet::terms::Preimage;
pub use client::ClientError;
use client::{Client, explain};
use credentials::{Credentials, CredentialsError, read_both, read_certificate, read_macaroon};
use cursor::{Keeper, Mark};
use holds::{HOLDS_MAX, Holds};
use messages::{GET_INFO, NodeInfo, SIGN_MESSAGE, SignMessageRequest, SignMessageResponse};

/// How long a start waits for a node that has been seen before.
const GREETING: Duration = Duration::from_secs(5);
/// Invoices matter from this long before the first contact on: LND's clock may be another.
const CLOCKS_APART_S: u64 = 86_400;

/// Stands beside the mark where the wallet has been opened before.
const DATABASE_FILE: &str = "CURRENT";

/// Settings of the back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `host:port` of LND's gRPC.
    pub address: String,
    /// A copy of LND's `tls.cert`.
    pub cert_file: PathBuf,
    /// A macaroon; [`credentials::BAKE`] says how to make one.
    pub macaroon_file: PathBuf,
    /// The network that LND must be on.
    pub network: Network,
    /// After this time LND starts no further attempt of a payment.
    pub payment_timeout: Duration,
    /// How long other calls may take.
    pub call_timeout: Duration,
    /// Whether invoices name private channels, without which a node that has no public ones cannot be paid.
    pub route_hints: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:10009".to_owned(),
            cert_file: PathBuf::new(),
            macaroon_file: PathBuf::new(),
            network: Network::Mainnet,
            payment_timeout: Duration::from_secs(60),
            call_timeout: Duration::from_secs(30),
            route_hints: true,
        }
    }
}

impl Config {
    /// What is wrong with the files, all of it, without asking the node.
    pub fn problems(&self) -> Vec<(PathBuf, CredentialsError)> {
        let certificate = read_certificate(&self.cert_file).err().map(|error| (self.cert_file.clone(), error));
        let macaroon = read_macaroon(&self.macaroon_file).err().map(|error| (self.macaroon_file.clone(), error));
        certificate.into_iter().chain(macaroon).collect()
    }
}

/// Why the back end cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Certificate or macaroon.
    #[error("{}: {cause}", path.display())]
    Credentials {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: CredentialsError,
    },
    /// The settings.
    #[error("wallet.lnd: {0}")]
    Client(#[from] ClientError),
    /// The node has to be known before anything is written in its name.
    #[error("LND at {address}: {words}. At the first start it must be reachable, because the wallet belongs to one node")]
    FirstContact {
        /// Where it was looked for.
        address: String,
        /// What was wrong.
        words: String,
    },
    /// The file that says whose node this is and how far its settlements were reported.
    #[error(
        "{}: cannot be read: {cause}\nit says whose node this wallet belongs to; put it back from a copy, however old. If there is none, \
         move it away: every invoice of the node is looked at again then, which may take a while and books nothing twice",
        path.display()
    )]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The same file.
    #[error("{}: cannot be written: {cause}", path.display())]
    Mark {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

/// The back end. Dropping it ends its tasks; payments under way go on at the node.
pub struct Lnd {
    shared: Arc<Shared>,
}

/// What all tasks share.
struct Shared {
    config: Config,
    runtime: Handle,
    client: RwLock<(Arc<Client>, Credentials)>,
    known: RwLock<Known>,
    standing: changes::Sender<Result<(), BackendError>>,
    /// Payments whose call is open, by hash.
    sending: Mutex<HashMap<PaymentHash, u32>>,
    mark: Keeper,
    holds: Holds,
    /// The era whose hold invoices of earlier lives were looked for.
    scanned_era: AtomicU64,
    /// Everything is to be reported again.
    again: Notify,
    report: SetOnce<Report>,
    /// Something moved money, or a call failed: look again.
    look: Notify,
    stop: CancellationToken,
}

/// What is known of the node.
struct Known {
    info: Info,
    balance: Option<NodeBalance>,
}

impl Lnd {
    /// Reads the files and meets the node. One that was met before (`mark_path` says so) may be away.
    pub async fn open(config: Config, mark_path: PathBuf, clock: &Clock) -> Result<Self, OpenError> {
        let credentials = read_both(&config.cert_file, &config.macaroon_file)
            .map_err(|(path, cause)| OpenError::Credentials { path, cause })?;
        let dangerous = credentials.dangerous_rights();
        if !dangerous.is_empty() {
            let (file, rights) = (config.macaroon_file.display(), dangerous.join(" "));
            tracing::warn!(%file, rights, "the macaroon allows more than hearth needs; better make one with: {}", credentials::BAKE);
        }
        let client = Arc::new(Client::new(&config.address, &credentials)?);
        let found = Mark::read(&mark_path).map_err(|cause| OpenError::Unreadable { path: mark_path.clone(), cause })?;
        let mark = match found {
            Some(mark) => mark,
            None => first_contact(&client, &config, &mark_path, clock).await?,
        };
        let (holds, new_holds) = Holds::new();
        let not_yet =
            BackendError(format!("the Lightning node (LND at {}) has not answered yet; nothing was sent", config.address));
        let shared = Arc::new(Shared {
            known: RwLock::new(Known { info: known_only_by_key(&mark.pubkey, config.network), balance: None }),
            runtime: Handle::current(),
            client: RwLock::new((client, credentials)),
            standing: changes::Sender::new(Err(not_yet)),
            sending: Mutex::default(),
            mark: Keeper::new(mark, mark_path),
            holds,
            scanned_era: AtomicU64::new(0),
            again: Notify::new(),
            report: SetOnce::new(),
            look: Notify::new(),
            stop: CancellationToken::new(),
            config,
        });
        shared.runtime.spawn(watch::run(Arc::clone(&shared), new_holds));
        let mut standing = shared.standing.subscribe();
        // It may be away; then payments are refused with words until it is back.
        let _ = tokio::time::timeout(GREETING, standing.wait_for(Result::is_ok)).await;
        Ok(Self { shared })
    }
}

impl Drop for Lnd {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

/// Learns whose wallet this will be, and writes it down.
async fn first_contact(client: &Client, config: &Config, path: &Path, clock: &Clock) -> Result<Mark, OpenError> {
    let refused = |words: String| OpenError::FirstContact { address: config.address.clone(), words };
    let call = client.call::<_, NodeInfo>(GET_INFO, messages::Empty {}, config.call_timeout);
    let node = call.await.map_err(|status| refused(explain(&status)))?;
    let info = read_info(&node, config.network).map_err(refused)?;
    // A wallet whose mark alone was lost may have invoices of any age.
    let is_new = !path.with_file_name(DATABASE_FILE).exists();
    let since_s = if is_new { clock.now_s().saturating_sub(CLOCKS_APART_S) } else { 0 };
    let mark = Mark { pubkey: info.pubkey, since_s, settle_index: 0 };
    mark.write(path).map_err(|cause| OpenError::Mark { path: path.to_owned(), cause })?;
    Ok(mark)
}

fn known_only_by_key(pubkey: &str, network: Network) -> Info {
    Info {
        pubkey: pubkey.to_owned(),
        alias: String::new(),
        color: "#000000".to_owned(),
        network,
        block_height: 0,
        block_hash: Hex32::default(),
    }
}

/// What LND says of itself, if it is a node that can be used.
fn read_info(node: &NodeInfo, network: Network) -> Result<Info, String> {
    if !cursor::is_pubkey(&node.identity_pubkey) {
        return Err("it does not say who it is".to_owned());
    }
    let on = node.chains.first().map_or("", |chain| chain.network.as_str());
    if on != network.as_str() {
        return Err(format!("it is on {on:?}, and wallet.lnd.network says {:?}", network.as_str()));
    }
    Ok(Info {
        pubkey: node.identity_pubkey.clone(),
        alias: node.alias.clone(),
        color: node.color.clone(),
        network,
        block_height: node.block_height,
        block_hash: Hex32::parse(&node.block_hash).unwrap_or_default(),
    })
}

impl Shared {
    fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client.read().0)
    }

    fn terms(&self) -> invoices::Terms {
        let config = &self.config;
        invoices::Terms { within: config.call_timeout, network: config.network, hints: config.route_hints }
    }

    fn is_being_sent(&self, hash: &PaymentHash) -> bool {
        self.sending.lock().contains_key(hash)
    }

    /// Follows a hold invoice of an earlier life from now on.
    fn follow(&self, hash: PaymentHash) {
        if !self.holds.follow(hash) {
            tracing::warn!(%hash, "too many hold invoices at once: this one is looked at again at the next start");
        }
    }
}

/// A payment whose call is open.
struct Sending {
    shared: Arc<Shared>,
    hash: PaymentHash,
}

impl Sending {
    fn begin(shared: &Arc<Shared>, hash: PaymentHash) -> Self {
        *shared.sending.lock().entry(hash).or_default() += 1;
        Self { shared: Arc::clone(shared), hash }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut sending = self.shared.sending.lock();
        if let Some(count) = sending.get_mut(&self.hash) {
            *count -= 1;
            if *count == 0 {
                sending.remove(&self.hash);
            }
        }
    }
}

impl Backend for Lnd {
    fn name(&self) -> &'static str {
        "lnd"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            outside: true,
            refuses_second: true,
            hold_invoices: true,
            keysend: true,
            sign_message: true,
            node_balance: true,
        }
    }

    fn info(&self) -> Info {
        self.shared.known.read().info.clone()
    }

    fn ready(&self) -> Result<(), BackendError> {
        self.shared.standing.borrow().clone()
    }

    fn send(&self, order: SendOrder, done: Answer<SendResult>) {
        let shared = Arc::clone(&self.shared);
        let request = match send::request(&order, shared.config.payment_timeout) {
            Ok(request) => request,
            Err(words) => return done(SendResult::Failed(words)),
        };
        let sending = Sending::begin(&shared, order.hash);
        self.shared.runtime.spawn(async move {
            let client = shared.client();
            let result = tokio::select! {
                result = send::send(&client, request) => result,
                () = shared.stop.cancelled() => SendResult::Unknown("hearth is stopping".to_owned()),
            };
            drop(sending);
            if let SendResult::Unknown(words) = &result {
                tracing::info!(hash = %order.hash, words, "LND gave no certain answer to a payment; it is looked up");
            }
            shared.look.notify_one();
            done(result);
        });
    }

    fn lookup(&self, order: LookupOrder, done: Answer<LookupResult>) {
        let shared = Arc::clone(&self.shared);
        self.shared.runtime.spawn(async move {
            let client = shared.client();
            let is_being_sent = shared.is_being_sent(&order.hash);
            let found = send::lookup(&client, order, is_being_sent, shared.config.call_timeout).await;
            if let LookupResult::Settled { .. } = &found {
                shared.look.notify_one();
            }
            done(found);
        });
    }

    fn make_invoice(&self, order: NewInvoice, done: Answer<Result<MadeInvoice, BackendError>>) {
        let shared = Arc::clone(&self.shared);
        self.shared.runtime.spawn(async move {
            done(invoices::make(&shared.client(), shared.terms(), order).await);
        });
    }

    fn on_incoming(&self, report: Report) {
        // Called once, says the trait; a second reporter would hear nothing.
        let _ = self.shared.report.set(report);
    }

    fn report_from_beginning(&self) -> Result<(), BackendError> {
        let written = self.shared.mark.begin_anew();
        written.map_err(|error| BackendError(format!("how far settlements were reported could not be written: {error}")))?;
        self.shared.again.notify_one();
        Ok(())
    }

    fn make_hold_invoice(&self, order: NewHoldInvoice, done: Answer<Result<MadeInvoice, BackendError>>) {
        let (shared, hash) = (Arc::clone(&self.shared), order.hash);
        if !shared.holds.begin(hash) {
            // One that is not followed could be paid and nobody would hear of it.
            let words =
                format!("{HOLDS_MAX} hold invoices are open, the most that can be followed; some must be settled or cancelled");
            return done(Err(BackendError(words)));
        }
        self.shared.runtime.spawn(async move {
            let made = invoices::make_hold(&shared.client(), shared.terms(), order).await;
            shared.holds.end(hash, made.is_ok());
            done(made);
        });
    }

    fn settle_hold(&self, preimage: Preimage, done: Answer<Result<(), BackendError>>) {
        let shared = Arc::clone(&self.shared);
        self.shared.runtime.spawn(async move {
            let settled = invoices::settle(&shared.client(), shared.config.call_timeout, preimage).await;
            shared.look.notify_one();
            let is_over = settled.as_ref().is_err_and(|error| error.0.contains("already canceled"));
            if let (true, Some(report)) = (is_over, shared.report.get()) {
                let over = Incoming { hash: preimage.hash(), amount: Msat::ZERO, state: IncomingState::Canceled };
                report(over, Box::new(|| ()));
            }
            done(settled);
        });
    }

    fn cancel_hold(&self, hash: PaymentHash, done: Answer<Result<(), BackendError>>) {
        let shared = Arc::clone(&self.shared);
        self.shared.runtime.spawn(async move {
            done(invoices::cancel(&shared.client(), shared.config.call_timeout, hash).await);
        });
    }

    fn sign_message(&self, message: String, done: Answer<Result<SignedMessage, BackendError>>) {
        let shared = Arc::clone(&self.shared);
        self.shared.runtime.spawn(async move {
            let question = SignMessageRequest { msg: message.clone().into_bytes() };
            let signed: Result<SignMessageResponse, Status> =
                shared.client().call(SIGN_MESSAGE, question, shared.config.call_timeout).await;
            done(match signed {
                Ok(signed) => Ok(SignedMessage { message, signature: signed.signature }),
                Err(status) => Err(BackendError(format!("the Lightning node did not sign: {}", explain(&status)))),
            });
        });
    }

    fn node_balance(&self) -> Option<NodeBalance> {
        self.shared.known.read().balance
    }
}
