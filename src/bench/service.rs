//! A whole wallet service outside the relay: a process of its own that answers NIP-47 as an ordinary client of any relay, for the
//! same `nwc` workload that measures a wallet inside.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::answer::Answer;
use super::args::WalletService;
use super::book::{Book, Done};
use super::data::Author;
use super::error::ClientError;
use super::fanout::subscribe_all;
use super::ledger::Ledger;
use super::meter::Meter;
use super::report::Report;
use super::runner::Runner;
use super::socket::Socket;
use super::wallet::{Party, REQUEST};
use crate::protocol::event::Draft;

/// What its report tells apart.
const METHODS: [&str; 4] = ["get_balance", "make_invoice", "pay_invoice", "everything else"];

/// What all of its sockets share.
struct Desk {
    /// Its end of each connection and the number of the account, by the client's public key.
    clients: HashMap<String, (Party, usize)>,
    ledger: Ledger,
    book: Book,
    journal: Option<Mutex<File>>,
}

/// Serves until SIGINT or SIGTERM, or until a socket breaks.
pub(super) async fn run(args: &WalletService) -> Result<Report, ClientError> {
    let (target, runner) = (&args.target, Runner::new(&args.target).await?);
    let stop = |kind| signal(kind).map_err(ClientError::Start);
    let (mut interrupt, mut terminate) = (stop(SignalKind::interrupt())?, stop(SignalKind::terminate())?);
    let journal = args.journal.as_ref().map(File::create).transpose().map_err(ClientError::Output)?;
    let (desk, uris) = desk(&runner, args.connections.max(1), journal)?;
    let meter = Meter::start(&target.server_pid);
    let mut served = serve(&runner, &desk).await?;
    announce(&args.uri_file, &uris)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        Some(ended) = served.join_next() => return Err(ended?),
    }
    served.abort_all();
    let results = desk.book.close();
    let mut round = meter.stop(results.tallies);
    round.words = results.words;
    let mut report = Report::new(target);
    for (class, method) in METHODS.iter().enumerate() {
        if round.tallies.get(class).is_some_and(|tally| tally.done + tally.failed > 0) {
            let note = "over the whole life of the service; latencies are of its own work, without the relay".to_owned();
            report.add(format!("wallet service, {method}"), std::slice::from_ref(&round), class, Some(note));
            report.share_round();
        }
    }
    Ok(report)
}

/// The accounts with their keys, and the URIs of their connections.
fn desk(runner: &Runner, connections: usize, journal: Option<File>) -> Result<(Arc<Desk>, Vec<String>), ClientError> {
    let (seed, relay) = (runner.target.seed, runner.endpoint.url.as_str());
    let pubkey = Author::of(seed, "service", 0).pubkey;
    let (mut clients, mut uris) = (HashMap::new(), Vec::with_capacity(connections));
    for account in 0..connections {
        let client = Author::of(seed, "client", account);
        let secret = const_hex::encode(client.keys.secret_bytes());
        uris.push(format!("nostr+walletconnect://{pubkey}?relay={relay}&secret={secret}"));
        clients.insert(client.pubkey.clone(), (Party::new(Author::of(seed, "service", 0), &client.pubkey, relay)?, account));
    }
    let desk =
        Desk { clients, ledger: Ledger::new(connections)?, book: Book::new(METHODS.len()), journal: journal.map(Mutex::new) };
    Ok((Arc::new(desk), uris))
}

/// One socket a thread, each for its share of the clients.
async fn serve(runner: &Runner, desk: &Arc<Desk>) -> Result<JoinSet<ClientError>, ClientError> {
    let (pubkey, count) = (Author::of(runner.target.seed, "service", 0).pubkey, runner.target.threads.max(1));
    let mut served = JoinSet::new();
    for (index, mut socket) in runner.open(0, count).await?.into_iter().enumerate() {
        let own = desk.clients.iter().filter(|(_, (_, account))| account % count == index);
        let list: Vec<String> = own.map(|(client, _)| format!("\"{client}\"")).collect();
        if list.is_empty() {
            continue;
        }
        let authors = list.join(",");
        subscribe_all(&mut socket, &[format!(r##"{{"kinds":[{REQUEST}],"#p":["{pubkey}"],"authors":[{authors}],"limit":1}}"##)])
            .await?;
        let desk = desk.clone();
        served.spawn(async move { answer_all(&mut socket, &desk).await });
    }
    Ok(served)
}

/// The file appears whole, and only when the service answers.
fn announce(path: &Path, uris: &[String]) -> Result<(), ClientError> {
    let making = path.with_extension("making");
    super::write(&making, &format!("{}\n", uris.join("\n")))?;
    std::fs::rename(&making, path).map_err(ClientError::Output)
}

async fn answer_all(socket: &mut Socket, desk: &Desk) -> ClientError {
    loop {
        let answered = answer_waiting(socket, desk);
        let turned = match answered {
            Ok(()) => socket.flush().await,
            Err(error) => Err(error),
        };
        if let Err(error) = turned {
            return error;
        }
        if let Err(error) = socket.fill().await {
            return error;
        }
    }
}

fn answer_waiting(socket: &mut Socket, desk: &Desk) -> Result<(), ClientError> {
    let mut lines = String::new();
    while let Some(place) = socket.take()? {
        let frame = match Answer::read(socket.text(&place)) {
            Answer::Event { event, .. } => desk.answer(event, &mut lines)?,
            Answer::Ok { accepted: false, words, .. } | Answer::Closed { words, .. } => {
                return Err(ClientError::Refused(String::from_utf8_lossy(words).into_owned()));
            }
            _ => continue,
        };
        socket.feed(&frame);
    }
    // Nothing was sent yet: `feed` only collects.
    desk.keep(&lines)
}

impl Desk {
    /// Puts what is to be answered onto the disk, where there is a journal.
    fn keep(&self, lines: &str) -> Result<(), ClientError> {
        let Some(journal) = self.journal.as_ref().filter(|_| !lines.is_empty()) else { return Ok(()) };
        let mut journal = journal.lock();
        journal.write_all(lines.as_bytes()).and_then(|()| journal.sync_data()).map_err(ClientError::Output)
    }

    /// What any wallet service does: check the signature, decrypt, do it, encrypt, sign.
    fn answer(&self, event: &[u8], lines: &mut String) -> Result<Box<[u8]>, ClientError> {
        let started = Instant::now();
        let text = std::str::from_utf8(event).map_err(|error| ClientError::Wallet(error.to_string()))?;
        let draft = Draft::parse(text).map_err(|reason| ClientError::Wallet(reason.to_string()))?;
        let unknown = || ClientError::Wallet("a request of an unknown client".to_owned());
        let (party, account) = self.clients.get(&draft.pubkey.to_string()).ok_or_else(unknown)?;
        let request = party.open(event, true)?;
        let answer = self.ledger.answer(*account, &request);
        if self.journal.is_some() && request["method"] != "get_balance" {
            lines.push_str(&format!("{}\n", json!({"account": account, "request": request, "answer": answer})));
        }
        let frame = party.answer(&draft.id.to_string(), &answer)?.frame();
        let class = METHODS.iter().position(|method| request["method"] == *method).unwrap_or(METHODS.len() - 1);
        match answer["error"].as_object() {
            Some(error) => self.book.failed(class, 1, error["message"].as_str().unwrap_or_default()),
            None => self.book.done(&Done { class, latency: started.elapsed(), first: None, events: 0 }),
        }
        Ok(frame)
    }
}
