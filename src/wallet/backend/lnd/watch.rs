//! Keeps the connection: who the node is, what it holds, what comes in. One session lasts until something of it fails; then
//! payments are refused with words, and the next session is tried after a pause that grows.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::{Code, Status, Streaming};

use super::client::{Client, explain};
use super::credentials::read_both;
use super::cursor::Window;
use super::messages::{
    CHANNEL_BALANCE, ChannelBalance, Empty, GET_INFO, Invoice, InvoiceState, InvoiceSubscription, LIST_INVOICES,
    ListInvoicesRequest, ListInvoicesResponse, NodeInfo, SUBSCRIBE_INVOICES, SUBSCRIBE_SINGLE_INVOICE,
    SubscribeSingleInvoiceRequest,
};
use super::{Shared, invoices, read_info, send};
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;
use crate::wallet::backend::{BackendError, IncomingState, NodeBalance};

/// First pause after a session.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Longest pause between two sessions.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often the node is asked who it is and what it holds.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// It is asked at once when money moved, but not more often than this.
const LOOK_APART: Duration = Duration::from_millis(200);
/// Most settlements whose report is not durable yet; then the next ones wait at LND.
const UNACKNOWLEDGED_MAX: usize = 1_024;
/// Invoices in one page.
const PAGE: u64 = 100;

/// Runs until the back end is dropped.
pub(super) async fn run(shared: Arc<Shared>, mut new_holds: mpsc::Receiver<PaymentHash>) {
    let mut pause = PAUSE_FIRST;
    loop {
        let words = tokio::select! {
            words = session(&shared, &mut new_holds, &mut pause) => words,
            () = shared.stop.cancelled() => return,
        };
        shared.is_away(&words);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.stop.cancelled() => return,
        }
        pause = (pause * 2).min(PAUSE_MAX);
        shared.read_files_again();
    }
}

/// One session; says why it ended.
async fn session(shared: &Arc<Shared>, new_holds: &mut mpsc::Receiver<PaymentHash>, pause: &mut Duration) -> String {
    let client = shared.client();
    if let Err(words) = shared.look_at_node(&client).await {
        return words;
    }
    *pause = PAUSE_FIRST;
    shared.is_here();
    loop {
        tokio::select! {
            words = keep_looking(shared, &client) => return words,
            status = report_settled(shared, &client) => return explain(&status),
            status = follow_holds(shared, &client, new_holds) => return explain(&status),
            () = shared.again.notified() => tracing::info!("everything that came in over LND is reported again"),
        }
    }
}

impl Shared {
    fn is_here(&self) {
        let was_away = self.standing.send_replace(Ok(())).is_err();
        if was_away {
            let known = self.known.read();
            tracing::info!(address = self.config.address, alias = known.info.alias, "connected to LND");
        }
    }

    /// What it had stays what is shown: it is asked before anything is paid again.
    fn is_away(&self, words: &str) {
        let address = &self.config.address;
        let refusal =
            format!("the Lightning node (LND at {address}) cannot be used now: {words}. Nothing was sent; try again later");
        let before = self.standing.send_replace(Err(BackendError(refusal.clone())));
        if before.err().is_none_or(|before| before.0 != refusal) {
            tracing::warn!(address, words, "LND cannot be used; it is tried again and again");
        }
    }

    /// Who the node is and what it holds. `Err` with words where it cannot be used.
    async fn look_at_node(&self, client: &Client) -> Result<(), String> {
        let within = self.config.call_timeout;
        let node: NodeInfo = client.call(GET_INFO, Empty {}, within).await.map_err(|status| explain(&status))?;
        let info = read_info(&node, self.config.network)?;
        let owner = self.mark.now().0.pubkey;
        if info.pubkey != owner {
            return Err(format!("it is node {}, and this wallet belongs to node {owner}", info.pubkey));
        }
        let asked = Instant::now();
        let held: ChannelBalance = client.call(CHANNEL_BALANCE, Empty {}, within).await.map_err(|status| explain(&status))?;
        let balance = Msat::new(held.local_balance.unwrap_or_default().msat).ok().map(|amount| NodeBalance { amount, asked });
        let mut known = self.known.write();
        (known.info, known.balance) = (info, balance);
        Ok(())
    }

    /// A certificate or macaroon that was replaced meanwhile is used from now on.
    fn read_files_again(&self) {
        let Ok(credentials) = read_both(&self.config.cert_file, &self.config.macaroon_file) else { return };
        let mut current = self.client.write();
        if current.1 == credentials {
            return;
        }
        if let Ok(client) = Client::new(&self.config.address, &credentials) {
            tracing::info!("certificate or macaroon of LND have changed; the new ones are used");
            *current = (Arc::new(client), credentials);
        }
    }
}

async fn keep_looking(shared: &Shared, client: &Client) -> String {
    loop {
        tokio::time::sleep(LOOK_APART).await;
        // Nothing is lost in between: a notification waits.
        let _ = tokio::time::timeout(LOOK_EVERY, shared.look.notified()).await;
        if let Err(words) = shared.look_at_node(client).await {
            return words;
        }
    }
}

/// Reports every settled invoice from the mark on, and moves the mark when reports are durable. Says why it ended.
async fn report_settled(shared: &Arc<Shared>, client: &Client) -> Status {
    match report_in_order(&mut Reporter::new(shared).await, client).await {
        Err(status) => status,
        Ok(never) => match never {},
    }
}

/// LND replays nothing after a 0, and everything in order after any other number: so without a mark the first settlement is looked for
/// in its list, and the rest is left to it.
async fn report_in_order(reporter: &mut Reporter<'_>, client: &Client) -> Result<Infallible, Status> {
    let mut stream = reporter.subscribe(client).await?;
    if reporter.last == 0
        && let Some(first) = reporter.first_settled(client).await?
    {
        reporter.report(&first);
        stream = reporter.subscribe(client).await?;
    }
    loop {
        reporter.step(&mut stream).await?;
    }
}

/// Reports settlements in order.
struct Reporter<'a> {
    shared: &'a Arc<Shared>,
    window: Window,
    /// Nothing that is reported here moves the mark of another era.
    era: u64,
    since_s: u64,
    /// The last one reported.
    last: u64,
    acks_to: mpsc::Sender<u64>,
    acks: mpsc::Receiver<u64>,
}

impl<'a> Reporter<'a> {
    async fn new(shared: &'a Arc<Shared>) -> Self {
        shared.report.wait().await;
        let (acks_to, acks) = mpsc::channel(UNACKNOWLEDGED_MAX);
        let (mark, era) = shared.mark.now();
        let (since_s, last) = (mark.since_s, mark.settle_index);
        Self { shared, window: Window::default(), era, since_s, last, acks_to, acks }
    }

    async fn subscribe(&self, client: &Client) -> Result<Streaming<Invoice>, Status> {
        client.stream(SUBSCRIBE_INVOICES, InvoiceSubscription { add_index: 0, settle_index: self.last }).await
    }

    /// The first settlement of all that concern this wallet. `None`: there was none yet when the subscription began, so that has all.
    async fn first_settled(&self, client: &Client) -> Result<Option<Invoice>, Status> {
        if self.lowest_settled(client).await?.is_none() {
            return Ok(None);
        }
        // Of two that settled while the list was read the later may be seen and the earlier not. Now both stand there.
        self.lowest_settled(client).await
    }

    async fn lowest_settled(&self, client: &Client) -> Result<Option<Invoice>, Status> {
        let mut lowest: Option<Invoice> = None;
        list(client, self.shared.config.call_timeout, self.since_s, |invoice| {
            let is_lower = lowest.as_ref().is_none_or(|lowest| invoice.settle_index < lowest.settle_index);
            if invoice.state() == InvoiceState::Settled && is_lower {
                lowest = Some(invoice);
            }
        })
        .await?;
        Ok(lowest)
    }

    /// One invoice or some acknowledgements.
    async fn step(&mut self, stream: &mut Streaming<Invoice>) -> Result<(), Status> {
        if self.window.len() >= UNACKNOWLEDGED_MAX {
            self.wait_for_acks().await;
            return Ok(());
        }
        tokio::select! {
            next = stream.message() => {
                let ended = || Status::unavailable("LND ended the subscription to invoices");
                self.report(&next?.ok_or_else(ended)?);
            }
            Some(settle_index) = self.acks.recv() => self.acknowledged(settle_index).await,
        }
        Ok(())
    }

    fn report(&mut self, invoice: &Invoice) {
        let settle_index = invoice.settle_index;
        if invoice.state() != InvoiceState::Settled || settle_index <= self.last {
            return;
        }
        self.last = settle_index;
        let (Some(incoming), Some(report)) = (invoices::report(invoice), self.shared.report.get()) else { return };
        self.window.report(settle_index);
        let acks_to = self.acks_to.clone();
        let acknowledge = move || {
            // There is room: no more are open than the channel holds.
            let _ = acks_to.try_send(settle_index);
        };
        report(incoming, Box::new(acknowledge));
        self.shared.look.notify_one();
    }

    async fn wait_for_acks(&mut self) {
        if let Some(settle_index) = self.acks.recv().await {
            self.acknowledged(settle_index).await;
        }
    }

    /// Moves the mark, over as many as there are now, and writes it.
    async fn acknowledged(&mut self, settle_index: u64) {
        let mut moved = self.window.acknowledge(settle_index);
        while let Ok(settle_index) = self.acks.try_recv() {
            moved = self.window.acknowledge(settle_index).or(moved);
        }
        let Some(settle_index) = moved else { return };
        let (shared, era) = (Arc::clone(self.shared), self.era);
        let written = tokio::task::spawn_blocking(move || shared.mark.advance(era, settle_index)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "how far settlements were reported could not be written; they are reported again after a restart");
        }
    }
}

/// Reports what becomes of hold invoices: a payment arrives and waits, or it is over.
async fn follow_holds(shared: &Arc<Shared>, client: &Arc<Client>, new_holds: &mut mpsc::Receiver<PaymentHash>) -> Status {
    shared.report.wait().await;
    let (mark, era) = shared.mark.now();
    if shared.scanned_era.load(Ordering::Acquire) != era {
        if let Err(status) = find_holds(shared, client, mark.since_s).await {
            return status;
        }
        shared.scanned_era.store(era, Ordering::Release);
    }
    // What waits there stands in the set as well.
    while new_holds.try_recv().is_ok() {}
    let mut tasks = JoinSet::new();
    let mut followed = shared.holds.followed();
    for hash in &followed {
        tasks.spawn(follow_hold(Arc::clone(shared), Arc::clone(client), *hash));
    }
    loop {
        tokio::select! {
            Some(hash) = new_holds.recv() => {
                if followed.insert(hash) {
                    tasks.spawn(follow_hold(Arc::clone(shared), Arc::clone(client), hash));
                }
            }
            Some(ended) = tasks.join_next() => match ended {
                Ok(Ok(hash)) => drop(followed.remove(&hash)),
                Ok(Err(status)) => return status,
                Err(_) => {}
            }
        }
    }
}

/// Once after a start, and when everything is to be reported again: hold invoices of earlier lives, and those that were cancelled meanwhile.
async fn find_holds(shared: &Shared, client: &Client, since_s: u64) -> Result<(), Status> {
    list(client, shared.config.call_timeout, since_s, |invoice| {
        let is_hold = invoice.r_preimage.is_empty() && !invoice.is_keysend;
        match (invoice.state(), send::hash(&invoice.r_hash)) {
            _ if !is_hold => {}
            (InvoiceState::Canceled, _) => tell(shared, &invoice),
            (InvoiceState::Open | InvoiceState::Accepted, Some(hash)) => shared.follow(hash),
            _ => {}
        }
    })
    .await
}

/// Follows one hold invoice to its end, and says which it was.
async fn follow_hold(shared: Arc<Shared>, client: Arc<Client>, hash: PaymentHash) -> Result<PaymentHash, Status> {
    let question = SubscribeSingleInvoiceRequest { r_hash: hash.0.to_vec() };
    let mut stream = match client.stream::<_, Invoice>(SUBSCRIBE_SINGLE_INVOICE, question).await {
        Ok(stream) => stream,
        Err(status) if status.code() == Code::NotFound => {
            shared.holds.over(&hash);
            return Ok(hash);
        }
        Err(status) => return Err(status),
    };
    while let Some(invoice) = stream.message().await? {
        tell(&shared, &invoice);
        if matches!(invoice.state(), InvoiceState::Settled | InvoiceState::Canceled) {
            shared.holds.over(&hash);
            return Ok(hash);
        }
    }
    Err(Status::unavailable("LND ended the subscription to a hold invoice"))
}

/// Settlements are told by the subscription that has a mark.
fn tell(shared: &Shared, invoice: &Invoice) {
    let Some(incoming) = invoices::report(invoice) else { return };
    if let (Some(report), false) = (shared.report.get(), matches!(incoming.state, IncomingState::Settled { .. })) {
        report(incoming, Box::new(|| ()));
    }
}

/// All invoices made since then, oldest first. Each page begins after the one before, so there are as many as the node has.
async fn list(client: &Client, within: Duration, since_s: u64, mut each: impl FnMut(Invoice)) -> Result<(), Status> {
    let mut index_offset = 0;
    loop {
        let question =
            ListInvoicesRequest { pending_only: false, index_offset, num_max_invoices: PAGE, creation_date_start: since_s };
        let page: ListInvoicesResponse = client.call(LIST_INVOICES, question, within).await?;
        if page.invoices.is_empty() || page.last_index_offset <= index_offset {
            return Ok(());
        }
        index_offset = page.last_index_offset;
        page.invoices.into_iter().for_each(&mut each);
    }
}
