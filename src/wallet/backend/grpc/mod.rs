//! A wallet of any language on the same machine, as a process of its own: hearth calls it over `proto/wallet_backend.proto`.
//!
//! * [`address`]: where it listens. `link`: the connection, and what happens when it is lost. `convert`: messages as values.
//!   `waiting`: payments without an outcome. `reports`: what has arrived, and how far it is safe. `memory`: what is kept of it.
//!
//! While the wallet is away, [`Backend::ready`] says so in plain words, every call is answered at once, and payments under way
//! are "unknown": they are looked up when it is back. Every transport error, time-out and cancelled call means "unknown" too.

pub mod address;
mod convert;
mod link;
mod memory;
mod reports;
mod waiting;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::{Response, Status};

use super::{
    Answer, Backend, BackendError, Capabilities, Info, LookupOrder, LookupResult, MadeInvoice, NewHoldInvoice, NewInvoice,
    NodeBalance, OutgoingReport, Report, SendOrder, SendResult, SignedMessage,
};
use crate::base::clock::Clock;
use crate::base::hex32::PaymentHash;
use crate::pb::wallet_backend as pb;
use crate::wallet::terms::Preimage;
use address::Address;
use link::{Client, Link, words};
use memory::Memory;

/// Most calls at once that are no payments; the others wait for their turn within their time.
const CALLS_MAX: usize = 64;

/// How the wallet is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it listens.
    pub address: Address,
    /// The token that goes with every call; needed for a port.
    pub token_file: Option<PathBuf>,
    /// How long any call but a payment may take. A wallet that does not answer for so long is taken as gone.
    pub call_timeout: Duration,
    /// How long the outcome of a payment is waited for before it is looked up; and before that, for a place among `payments_max`.
    pub payment_timeout: Duration,
    /// Most payments that the wallet is given at once. Those beyond wait for one of them to be answered.
    pub payments_max: usize,
}

impl Config {
    /// The defaults of the configuration, for a wallet at this address.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            token_file: None,
            call_timeout: Duration::from_secs(10),
            payment_timeout: Duration::from_secs(60),
            payments_max: 128,
        }
    }
}

/// Why the wallet cannot be used from the start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It was never met, so hearth does not know who it is and what it can do.
    #[error(
        "the wallet at {address} {why}\nit must be running when hearth meets it for the first time; later it may come and go\n\
         check it with:  hearth wallet test-backend"
    )]
    NeverMet {
        /// Where it should be.
        address: Address,
        /// What happened.
        why: String,
    },
    /// Somebody else's wallet.
    #[error(
        "the wallet at {address} is another one than before: it was {before}, now it is {now}\nhearth's payments belong to the \
         wallet that it knew; if it is truly replaced and nothing is under way, remove {file} and start again"
    )]
    Another {
        /// Where it is.
        address: Address,
        /// Its key and network as they were.
        before: String,
        /// Its key and network as they are.
        now: String,
        /// The file that says who it was.
        file: String,
    },
    /// What was kept of it.
    #[error("what hearth keeps of its wallet cannot be read or written: {0}")]
    Memory(#[from] io::Error),
}

/// The wallet behind the socket.
pub struct Grpc {
    link: Arc<Link>,
    can: Capabilities,
    runtime: Handle,
    payments: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    clock: Clock,
}

impl Grpc {
    /// Meets the wallet, or starts without it where it was met before. `folder` keeps who it is and how far its events were taken;
    /// `None` keeps nothing. Must be called inside the runtime on which it is to live.
    pub async fn open(config: Config, folder: Option<PathBuf>) -> Result<Self, OpenError> {
        let memory = Memory::new(folder)?;
        let known = memory.peer()?;
        let (peer, first) = match (link::meet(&config).await, known) {
            (Ok((client, now)), Some(before)) if !now.is_same(&before) => {
                drop(client);
                let name = |peer: &memory::Peer| format!("{} on {}", peer.info.pubkey, peer.info.network.as_str());
                let file = memory.peer_path().map(|path| path.display().to_string()).unwrap_or_default();
                return Err(OpenError::Another { address: config.address, before: name(&before), now: name(&now), file });
            }
            (Ok((client, now)), _) => {
                memory.keep_peer(&now)?;
                (now, Ok(client))
            }
            (Err(why), Some(before)) => {
                tracing::warn!(address = %config.address, why, "the wallet is away; hearth starts without it and tries again");
                (before, Err(why))
            }
            (Err(why), None) => return Err(OpenError::NeverMet { address: config.address, why }),
        };
        let can = peer.can;
        let payments = Arc::new(Semaphore::new(config.payments_max));
        let link = Link::new(config, memory, peer, first);
        let runtime = Handle::current();
        runtime.spawn(Arc::clone(&link).run());
        Ok(Self { link, can, runtime, payments, calls: Arc::new(Semaphore::new(CALLS_MAX)), clock: Clock::system() })
    }

    /// One call that moves no money by itself: bounded in number and in time, its answer handed on.
    fn call<R, F>(&self, call: impl FnOnce(Client) -> F + Send + 'static, done: impl FnOnce(Result<R, String>) + Send + 'static)
    where
        R: Send,
        F: Future<Output = Result<Response<R>, Status>> + Send,
    {
        let client = match self.link.client() {
            Ok(client) => client,
            Err(why) => return done(Err(why)),
        };
        let (calls, limit) = (Arc::clone(&self.calls), self.link.config.call_timeout);
        let address = self.link.config.address.clone();
        self.runtime.spawn(async move {
            let answered = timeout(limit, async {
                // Never closed, so there is always a turn.
                let _turn = calls.acquire().await;
                call(client).await
            });
            done(match answered.await {
                Ok(Ok(reply)) => Ok(reply.into_inner()),
                Ok(Err(status)) => Err(format!("the wallet at {address} says: {}", words(&status))),
                Err(_) => Err(format!("the wallet at {address} has not answered for {} s", limit.as_secs())),
            });
        });
    }
}

impl Drop for Grpc {
    fn drop(&mut self) {
        self.link.stop();
    }
}

impl Backend for Grpc {
    fn name(&self) -> &'static str {
        "grpc"
    }

    fn capabilities(&self) -> Capabilities {
        self.can
    }

    fn info(&self) -> Info {
        self.link.peer().info
    }

    fn ready(&self) -> Result<(), BackendError> {
        self.link.client().map(drop).map_err(BackendError)
    }

    fn send(&self, order: SendOrder, done: Answer<SendResult>) {
        let mut client = match self.link.client() {
            Ok(client) => client,
            Err(why) => return done(SendResult::NotGiven(why)),
        };
        let (hash, attempt, until_s) = (order.hash, order.attempt, order.until_s);
        let Some(ticket) = self.link.waiting.enter(hash, attempt, done) else { return };
        let (link, payments, clock) = (Arc::clone(&self.link), Arc::clone(&self.payments), self.clock.clone());
        self.runtime.spawn(async move {
            let limit = link.config.payment_timeout;
            // Its own time, which is not that of the payment: nothing has happened yet.
            let Ok(turn) = timeout(limit, payments.acquire()).await else {
                let words = format!("the wallet was busy for {} s with others; the payment was not given to it", limit.as_secs());
                return link.waiting.tell(&hash, ticket, SendResult::NotGiven(words));
            };
            if clock.now_s() >= until_s {
                let words =
                    "the request or its invoice ran out before the wallet had time for it; it was not given to it".to_owned();
                return link.waiting.tell(&hash, ticket, SendResult::NotGiven(words));
            }
            if !link.waiting.give(&hash, ticket) {
                return;
            }
            let told = timeout(limit, async {
                let result = match client.send(convert::send_request(order)).await {
                    Ok(reply) => convert::send_result(reply.into_inner(), attempt),
                    Err(status) => Some(SendResult::Unknown(format!("the wallet says: {}", words(&status)))),
                };
                // A wallet that says "in flight" has room for the next one; an event may bring the outcome.
                drop(turn);
                match result {
                    Some(result) => link.waiting.tell(&hash, ticket, result),
                    None => std::future::pending().await,
                }
            });
            if told.await.is_err() {
                let words = format!("no outcome after {} s", limit.as_secs());
                link.waiting.tell(&hash, ticket, SendResult::Unknown(words));
            }
            link.money_moved();
        });
    }

    fn lookup(&self, order: LookupOrder, done: Answer<LookupResult>) {
        let request = convert::lookup_request(&order);
        let call = async move |mut client: Client| client.lookup(request).await;
        let link = Arc::clone(&self.link);
        self.call(call, move |reply: Result<pb::PaymentReply, String>| {
            let found = match reply {
                Ok(reply) => convert::lookup_result(reply, order.attempt),
                Err(why) => LookupResult::Unknown(why),
            };
            if let LookupResult::Settled { .. } = &found {
                link.money_moved();
            }
            done(found);
        });
    }

    fn make_invoice(&self, order: NewInvoice, done: Answer<Result<MadeInvoice, BackendError>>) {
        let (hash, amount, network) = (order.preimage.hash(), order.amount, self.info().network);
        let request = convert::invoice_request(&order);
        let call = async move |mut client: Client| client.make_invoice(request).await;
        self.call(call, move |reply: Result<pb::InvoiceReply, String>| {
            done(reply.map_err(BackendError).and_then(|reply| convert::made_invoice(reply, hash, amount, network)));
        });
    }

    fn on_incoming(&self, report: Report) {
        self.link.set_report(report);
    }

    fn on_outgoing(&self, report: OutgoingReport) {
        self.link.set_outgoing(report);
    }

    fn report_from_beginning(&self) -> Result<(), BackendError> {
        let written = self.link.read_from_beginning();
        written.map_err(|error| BackendError(format!("its place in the wallet's events could not be written: {error}")))
    }

    fn make_hold_invoice(&self, order: NewHoldInvoice, done: Answer<Result<MadeInvoice, BackendError>>) {
        let (hash, amount, network) = (order.hash, order.amount, self.info().network);
        let request = convert::hold_invoice_request(&order);
        let call = async move |mut client: Client| client.make_hold_invoice(request).await;
        self.call(call, move |reply: Result<pb::InvoiceReply, String>| {
            done(reply.map_err(BackendError).and_then(|reply| convert::made_invoice(reply, hash, amount, network)));
        });
    }

    fn settle_hold(&self, preimage: Preimage, done: Answer<Result<(), BackendError>>) {
        let request = pb::SettleHoldRequest { preimage: preimage.0.to_vec() };
        let call = async move |mut client: Client| client.settle_hold(request).await;
        self.call(call, move |reply: Result<pb::SettleHoldReply, String>| done(reply.map(drop).map_err(BackendError)));
    }

    fn cancel_hold(&self, hash: PaymentHash, done: Answer<Result<(), BackendError>>) {
        let request = pb::CancelHoldRequest { payment_hash: hash.0.to_vec() };
        let call = async move |mut client: Client| client.cancel_hold(request).await;
        self.call(call, move |reply: Result<pb::CancelHoldReply, String>| done(reply.map(drop).map_err(BackendError)));
    }

    fn sign_message(&self, message: String, done: Answer<Result<SignedMessage, BackendError>>) {
        let request = pb::SignMessageRequest { message: message.clone() };
        let call = async move |mut client: Client| client.sign_message(request).await;
        self.call(call, move |reply: Result<pb::SignMessageReply, String>| {
            done(reply.map(|reply| SignedMessage { message, signature: reply.signature }).map_err(BackendError));
        });
    }

    fn node_balance(&self) -> Option<NodeBalance> {
        if self.can.node_balance { self.link.balance() } else { None }
    }
}
