//! The connection to the wallet and its life: made, greeted, watched, lost, made again.
//!
//! One task owns it. Everybody else asks [`Link::client`], which gives a client while the wallet is there and plain words while it
//! is not; so nothing ever waits for a wallet that is away.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OnceCell};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::super::{NodeBalance, OutgoingReport, Report};
use super::address::read_token;
use super::memory::{CURSOR_BYTES_MAX, Memory, Peer};
use super::reports::Reports;
use super::waiting::Waiting;
use super::{Config, convert};
use crate::base::amount::Msat;
use crate::pb::wallet_backend as pb;
use crate::pb::wallet_backend::wallet_backend_client::WalletBackendClient;

/// First pause before the connection is tried again; doubled each time.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A connection that lived so long was a good one: after it the pauses are short again.
const GOOD_LIFE: Duration = Duration::from_secs(5);
/// How often the wallet is asked whether it is there, and for its balance.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(5);
/// A balance that is older says nothing.
const BALANCE_AGE_MAX: Duration = Duration::from_secs(60);

/// A client of the wallet.
pub(super) type Client = WalletBackendClient<InterceptedService<Channel, Bearer>>;

/// Puts the token on every call.
#[derive(Clone)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

enum State {
    Up(Client),
    /// Why, in words that follow "the wallet at ...".
    Down(String),
}

/// The connection.
pub(super) struct Link {
    pub(super) config: Config,
    pub(super) waiting: Waiting,
    state: Mutex<State>,
    peer: Mutex<Peer>,
    balance: Mutex<Option<NodeBalance>>,
    ask_balance: Notify,
    memory: Memory,
    cursor: Mutex<String>,
    /// Held while the cursor is written, so that an older one never follows a newer one.
    writing: Mutex<()>,
    /// The stream of events is to be opened again.
    again: Notify,
    reports: Arc<Reports>,
    report: OnceCell<Report>,
    outgoing: OnceCell<OutgoingReport>,
    stop: CancellationToken,
}

impl Link {
    pub(super) fn new(config: Config, memory: Memory, peer: Peer, first: Result<Client, String>) -> Arc<Self> {
        let cursor = Mutex::new(memory.cursor());
        Arc::new(Self {
            config,
            waiting: Waiting::default(),
            state: Mutex::new(first.map_or_else(State::Down, State::Up)),
            peer: Mutex::new(peer),
            balance: Mutex::default(),
            ask_balance: Notify::new(),
            memory,
            cursor,
            writing: Mutex::default(),
            again: Notify::new(),
            reports: Arc::default(),
            report: OnceCell::new(),
            outgoing: OnceCell::new(),
            stop: CancellationToken::new(),
        })
    }

    /// The wallet, or why it is not there.
    pub(super) fn client(&self) -> Result<Client, String> {
        match &*self.state.lock() {
            State::Up(client) => Ok(client.clone()),
            State::Down(why) => Err(format!("the wallet at {} {why}", self.config.address)),
        }
    }

    pub(super) fn peer(&self) -> Peer {
        self.peer.lock().clone()
    }

    pub(super) fn balance(&self) -> Option<NodeBalance> {
        (*self.balance.lock()).filter(|balance| balance.asked.elapsed() < BALANCE_AGE_MAX)
    }

    /// Something moved money: the balance is asked for soon.
    pub(super) fn money_moved(&self) {
        self.ask_balance.notify_one();
    }

    /// Where events go; the stream is opened when this is known.
    pub(super) fn set_report(&self, report: Report) {
        // It is set once, before anything else.
        let _ = self.report.set(report);
    }

    /// Where orders go that were carried out.
    pub(super) fn set_outgoing(&self, report: OutgoingReport) {
        // It is set once, before the other one.
        let _ = self.outgoing.set(report);
    }

    /// All events are taken once more, from the first. Blocks for as long as it takes to write that down.
    pub(super) fn read_from_beginning(&self) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock();
        self.memory.keep_cursor("")?;
        // First the place and then the era: a stream that begins in between is of the old era, and counts for nothing.
        self.cursor.lock().clear();
        self.reports.begin_anew();
        self.again.notify_one();
        Ok(())
    }

    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Keeps the connection, for ever.
    pub(super) async fn run(self: Arc<Self>) {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = Arc::clone(&self).keep() => {}
        }
        self.go_down("was let go: hearth stops");
    }

    async fn keep(self: Arc<Self>) {
        let mut pause = PAUSE_FIRST;
        loop {
            let since = Instant::now();
            let client = self.client();
            let why = match client {
                Ok(client) => self.serve(client).await,
                Err(_) => match self.meet().await {
                    Ok(client) => {
                        tracing::info!(address = %self.config.address, "the wallet is there");
                        *self.state.lock() = State::Up(client.clone());
                        self.serve(client).await
                    }
                    Err(why) => why,
                },
            };
            self.go_down(&why);
            pause = if since.elapsed() >= GOOD_LIFE { PAUSE_FIRST } else { (pause * 2).min(PAUSE_MAX) };
            sleep(pause).await;
        }
    }

    fn go_down(&self, why: &str) {
        let words = format!("{why}; hearth tries again by itself, and what is under way stays reserved");
        let was = std::mem::replace(&mut *self.state.lock(), State::Down(words));
        match was {
            State::Up(_) => tracing::warn!(address = %self.config.address, why, "the wallet is gone; it is tried again"),
            State::Down(_) => tracing::debug!(address = %self.config.address, why, "the wallet is still away"),
        }
        self.waiting.give_up("the connection to the wallet was lost");
    }

    /// A connection to the wallet that was met before, and to no other.
    async fn meet(&self) -> Result<Client, String> {
        let (client, now) = meet(&self.config).await?;
        self.check_peer(now)?;
        Ok(client)
    }

    fn check_peer(&self, now: Peer) -> Result<(), String> {
        let mut known = self.peer.lock();
        if !now.is_same(&known) {
            let file = self.memory.peer_path().map(|path| format!(" ({} names it)", path.display())).unwrap_or_default();
            return Err(format!(
                "is another one: {} on {}, and hearth's payments belong to {} on {}{file}",
                now.info.pubkey,
                now.info.network.as_str(),
                known.info.pubkey,
                known.info.network.as_str()
            ));
        }
        if now.can != known.can {
            tracing::warn!(before = ?known.can, now = ?now.can, "the wallet can do something else than before; hearth follows at its next start");
        }
        known.info = now.info;
        Ok(())
    }

    /// Uses a connection until it is lost: why it was.
    async fn serve(self: &Arc<Self>, client: Client) -> String {
        tokio::select! {
            why = self.watch_life(client.clone()) => why,
            why = self.take_events(client) => why,
            () = self.keep_cursor() => String::new(),
        }
    }

    async fn watch_life(&self, mut client: Client) -> String {
        loop {
            if self.peer.lock().can.node_balance {
                let asked = Instant::now().into_std();
                match timeout(self.config.call_timeout, client.balance(pb::BalanceRequest {})).await {
                    Ok(Ok(reply)) => {
                        let amount = Msat::new(reply.into_inner().spendable_msat).ok();
                        *self.balance.lock() = amount.map(|amount| NodeBalance { amount, asked });
                    }
                    Ok(Err(status)) => tracing::warn!(error = words(&status), "the wallet does not tell its balance"),
                    Err(_) => return self.silent(),
                }
            }
            tokio::select! {
                () = sleep(SIGN_OF_LIFE_EVERY) => {}
                // Not in every case right after what moved it, but never in a tight loop.
                () = self.ask_balance.notified() => sleep(PAUSE_FIRST).await,
            }
            match timeout(self.config.call_timeout, client.hello(hello())).await {
                Ok(Ok(reply)) => match convert::peer(reply.into_inner()).and_then(|now| self.check_peer(now)) {
                    Ok(()) => {}
                    Err(why) => return why,
                },
                Ok(Err(status)) => return format!("does not answer: {}", words(&status)),
                Err(_) => return self.silent(),
            }
        }
    }

    fn silent(&self) -> String {
        format!("has not answered for {} s", self.config.call_timeout.as_secs())
    }

    async fn take_events(&self, mut client: Client) -> String {
        let report = loop {
            // Set once, soon after the start; until then there is nobody to tell.
            match self.report.get() {
                Some(report) => break report,
                None => sleep(PAUSE_FIRST).await,
            }
        };
        loop {
            tokio::select! {
                why = self.take_stream(&mut client, report) => return why,
                () = self.again.notified() => tracing::info!("the wallet's events are read from the beginning"),
            }
        }
    }

    async fn take_stream(&self, client: &mut Client, report: &Report) -> String {
        let era = self.reports.start_again();
        let cursor = self.cursor.lock().clone();
        let mut events = match client.events(pb::EventsRequest { cursor: cursor.clone() }).await {
            Ok(events) => events.into_inner(),
            Err(status) => return self.refused_events(&cursor, &status),
        };
        loop {
            while !self.reports.has_room() {
                // What is safe is written by its own task; here it is only a sign that there is room.
                sleep(PAUSE_FIRST).await;
            }
            match events.message().await {
                Ok(Some(event)) => self.take_event(era, event, report),
                Ok(None) => return "ended its stream of events".to_owned(),
                Err(status) => return self.refused_events(&cursor, &status),
            }
        }
    }

    fn refused_events(&self, cursor: &str, status: &Status) -> String {
        if status.code() == Code::OutOfRange && !cursor.is_empty() {
            tracing::warn!(cursor, "the wallet does not know this cursor; its events are read from the beginning");
            self.cursor.lock().clear();
        }
        format!("does not tell what happens: {}", words(status))
    }

    fn take_event(&self, era: u64, event: pb::Event, report: &Report) {
        if event.cursor.is_empty() || event.cursor.len() > CURSOR_BYTES_MAX {
            return tracing::error!(bytes = event.cursor.len(), "the wallet told something without a usable cursor; passed over");
        }
        let ack = self.reports.hand_on(era, event.cursor);
        match event.what {
            Some(pb::event::What::Incoming(event)) => match convert::incoming(&event) {
                Some(incoming) => {
                    self.money_moved();
                    report(incoming, ack);
                }
                None => {
                    let event = convert::for_the_log(&event);
                    tracing::error!(event, "the wallet told something of an invoice that makes no sense; passed over");
                    ack();
                }
            },
            Some(pb::event::What::Outgoing(event)) => {
                self.money_moved();
                self.waiting.outcome(&event);
                match (self.outgoing.get(), convert::outgoing(&event)) {
                    (Some(report), Some(outgoing)) => report(outgoing, ack),
                    _ => ack(),
                }
            }
            None => ack(),
        }
    }

    /// Writes the cursor down as it moves; never on the thread that acknowledges.
    async fn keep_cursor(self: &Arc<Self>) {
        loop {
            self.reports.moved().await;
            let link = Arc::clone(self);
            let kept = tokio::task::spawn_blocking(move || link.write_cursor()).await;
            if let Ok(Err(error)) = kept {
                // It lags behind: events come once more than they need to.
                tracing::error!(%error, "the place in the wallet's events could not be written down");
            }
        }
    }

    fn write_cursor(&self) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock();
        let Some(cursor) = self.reports.take_safe() else { return Ok(()) };
        cursor.clone_into(&mut self.cursor.lock());
        self.memory.keep_cursor(&cursor)
    }
}

fn hello() -> pb::HelloRequest {
    pb::HelloRequest {
        version_min: convert::VERSION,
        version_max: convert::VERSION,
        client: concat!("hearth ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

/// Connects and says hello. Words that follow "the wallet at ...".
pub(super) async fn meet(config: &Config) -> Result<(Client, Peer), String> {
    let token = match &config.token_file {
        Some(path) => Some(read_token(path).map_err(|error| format!("cannot be called: {error}"))?),
        None => None,
    };
    let header = match token {
        Some(token) => {
            let mut header: MetadataValue<Ascii> = format!("Bearer {}", token.as_str())
                .parse()
                .map_err(|_| "cannot be called: the token is no header".to_owned())?;
            header.set_sensitive(true);
            Some(header)
        }
        None => None,
    };
    let endpoint =
        Endpoint::from_shared(config.address.uri()).map_err(|error| format!("has no usable address: {}", chain(&error)))?;
    let channel = match timeout(config.call_timeout, endpoint.connect()).await {
        Ok(Ok(channel)) => channel,
        Ok(Err(error)) => return Err(format!("cannot be reached: {}", chain(&error))),
        Err(_) => return Err("cannot be reached: the connection takes too long".to_owned()),
    };
    let mut client = WalletBackendClient::with_interceptor(channel, Bearer(header));
    match timeout(config.call_timeout, client.hello(hello())).await {
        Ok(Ok(reply)) => {
            let peer = convert::peer(reply.into_inner()).map_err(|why| format!("cannot be worked with: {why}"))?;
            Ok((client, peer))
        }
        Ok(Err(status)) if status.code() == Code::Unauthenticated => {
            Err(format!("refuses the token: {}; set wallet.grpc.token_file to the file that it reads too", words(&status)))
        }
        Ok(Err(status)) => Err(format!("does not say hello: {}", words(&status))),
        Err(_) => Err(format!("has not said hello for {} s", config.call_timeout.as_secs())),
    }
}

/// A status in words: without what only a library needs.
pub(super) fn words(status: &Status) -> String {
    match status.message() {
        "" => status.code().to_string(),
        message => convert::brief(message),
    }
}

/// An error with its causes, each once.
fn chain(error: &dyn Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let words = error.to_string();
        if !text.contains(&words) {
            text = if text.is_empty() { words } else { format!("{text}: {words}") };
        }
        next = error.source();
    }
    text
}
