//! Round trips to a wallet service outside the relay: a tiny one of the generator's own, which is an ordinary client.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;

use super::answer::{Answer, IdKey, event_id};
use super::args::Outside;
use super::data::Author;
use super::engine::{Expect, Op, Pace};
use super::error::ClientError;
use super::fanout::subscribe_all;
use super::meter::Round;
use super::nwc;
use super::progress::Progress;
use super::report::Report;
use super::runner::{Runner, Share, moment, pace};
use super::socket::Socket;
use super::wallet::{Answers, Party, REQUEST};
use crate::protocol::event::Draft;

/// Signed answers by the request that they answer.
type Ready = HashMap<IdKey, Box<[u8]>, foldhash::fast::FixedState>;

/// A wallet service and its clients.
pub(super) struct Wallet {
    /// The clients' ends.
    pub(super) clients: Vec<Party>,
    /// The service's ends, by the client's public key.
    services: Arc<HashMap<String, Party>>,
    pubkey: String,
}

impl Wallet {
    pub(super) fn new(runner: &Runner, clients: usize) -> Result<Self, ClientError> {
        let (seed, relay) = (runner.target.seed, runner.endpoint.url.as_str());
        let pubkey = Author::of(seed, "service", 0).pubkey;
        let (mut ends, mut services) = (Vec::new(), HashMap::new());
        for index in 0..clients {
            let client = Author::of(seed, "client", index);
            let key = client.pubkey.clone();
            ends.push(Party::new(client, &pubkey, relay)?);
            services.insert(key.clone(), Party::new(Author::of(seed, "service", 0), &key, relay)?);
        }
        Ok(Self { clients: ends, services: Arc::new(services), pubkey })
    }

    /// A request of a client, and the answer if it is to be ready before.
    pub(super) fn request(
        &self,
        client: usize,
        ready: Option<&mut Ready>,
        class: usize,
        at: Duration,
    ) -> Result<Op, ClientError> {
        let party = &self.clients[client];
        let request = party.request("get_balance", &json!({}))?;
        if let (Some(ready), Some(service)) = (ready, self.services.get(&party.own.pubkey)) {
            ready.insert(request.key(), service.answer(&request.id, &balance())?.frame());
        }
        Ok(Op { frame: request.frame(), expect: Expect::Reply(request.key()), class, at })
    }

    /// Starts the service; it answers until it is stopped.
    pub(super) async fn serve(&self, runner: &Runner, index: usize, ready: Ready) -> Result<Service, ClientError> {
        let mut opened = runner.open(index, 1).await?;
        let mut socket = opened.pop().ok_or(ClientError::Silent)?;
        subscribe_all(&mut socket, &[format!(r##"{{"kinds":[{REQUEST}],"#p":["{}"],"limit":1}}"##, self.pubkey)]).await?;
        let services = self.services.clone();
        Ok(Service(tokio::spawn(async move { answer_all(&mut socket, &services, &ready).await })))
    }
}

fn balance() -> serde_json::Value {
    json!({"result_type": "get_balance", "result": {"balance": 21_000}})
}

/// A service that runs.
pub(super) struct Service(JoinHandle<ClientError>);

impl Service {
    /// Ends it; an error if it had ended before.
    pub(super) async fn stop(self) -> Result<(), ClientError> {
        if self.0.is_finished() {
            return Err(self.0.await?);
        }
        self.0.abort();
        Ok(())
    }
}

async fn answer_all(socket: &mut Socket, services: &HashMap<String, Party>, ready: &Ready) -> ClientError {
    loop {
        if let Err(error) = answer_waiting(socket, services, ready) {
            return error;
        }
        if let Err(error) = socket.flush().await {
            return error;
        }
        if let Err(error) = socket.fill().await {
            return error;
        }
    }
}

fn answer_waiting(socket: &mut Socket, services: &HashMap<String, Party>, ready: &Ready) -> Result<(), ClientError> {
    while let Some(place) = socket.take()? {
        let frame = match Answer::read(socket.text(&place)) {
            Answer::Event { event, .. } => match event_id(event).and_then(|id| ready.get(&id)) {
                Some(frame) => frame.clone(),
                None => answer_one(event, services)?,
            },
            Answer::Ok { accepted: false, words, .. } | Answer::Closed { words, .. } => {
                return Err(ClientError::Refused(String::from_utf8_lossy(words).into_owned()));
            }
            _ => continue,
        };
        socket.feed(&frame);
    }
    Ok(())
}

/// What a real service does: check, decrypt, encrypt, sign.
fn answer_one(event: &[u8], services: &HashMap<String, Party>) -> Result<Box<[u8]>, ClientError> {
    let text = std::str::from_utf8(event).map_err(|error| ClientError::Wallet(error.to_string()))?;
    let draft = Draft::parse(text).map_err(|reason| ClientError::Wallet(reason.to_string()))?;
    let unknown = || ClientError::Wallet("a request of an unknown client".to_owned());
    let party = services.get(&draft.pubkey.to_string()).ok_or_else(unknown)?;
    party.open(event, true)?;
    Ok(party.answer(&draft.id.to_string(), &balance())?.frame())
}

pub(super) async fn run(args: &Outside) -> Result<Report, ClientError> {
    let (target, runner, clients) = (&args.target, Runner::new(&args.target).await?, args.clients.max(1));
    let wallet = Wallet::new(&runner, clients)?;
    let progress = Progress::new("outside wallet");
    let mut sockets = nwc::connect(&runner, &wallet.clients, 0).await?;
    let mut rounds = Vec::new();
    for repeat in 0..=target.repeats.max(1) {
        let count = if repeat == 0 { target.warmup(args.requests) } else { args.requests };
        if count == 0 {
            continue;
        }
        let pace = if repeat == 0 { Pace::Closed { window: args.window.max(1) } } else { pace(args.rate, args.window) };
        let (back, round) = one_round(args, &runner, &wallet, sockets, (count, pace), &progress).await?;
        sockets = back;
        if repeat > 0 {
            rounds.push(round);
        }
    }
    let mut report = Report::new(target);
    let loop_words = args.rate.map_or_else(|| format!("window {}", args.window.max(1)), |rate| format!("{rate:.0}/s open loop"));
    let work = if args.sealed { "sealed and signed while the clock runs" } else { "signed before" };
    report.add(format!("outside wallet, {clients} clients, {loop_words}, {work}"), &rounds, 0, None);
    Ok(report)
}

async fn one_round(
    args: &Outside,
    runner: &Runner,
    wallet: &Wallet,
    sockets: Vec<Socket>,
    (count, pace): (usize, Pace),
    progress: &Progress,
) -> Result<(Vec<Socket>, Round), ClientError> {
    let mut ready = Ready::default();
    let mut shares: Vec<Share> = Vec::with_capacity(sockets.len());
    for (socket, party) in sockets.into_iter().zip(&wallet.clients) {
        let ear = Answers::new(party.clone(), usize::from(args.sealed));
        let ear: Box<dyn super::engine::Ear> = if args.sealed { Box::new(ear) } else { Box::new(super::engine::Deaf) };
        shares.push(Share { socket, ops: Vec::new(), ear });
    }
    let clients = shares.len();
    for index in 0..count {
        let at = args.rate.map_or(Duration::ZERO, |rate| moment(index, rate));
        let ready = (!args.sealed).then_some(&mut ready);
        shares[index % clients].ops.push(wallet.request(index % clients, ready, 0, at)?);
    }
    let service = wallet.serve(runner, clients, ready).await?;
    let result = runner.round(shares, 1, pace, progress).await;
    // Why the service ended says more than the silence that its clients met.
    service.stop().await?;
    result
}
