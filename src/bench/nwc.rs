//! Wallet round trips over connection URIs, as an app makes them.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::args::{Method, Nwc};
use super::endpoint::Endpoint;
use super::engine::{Op, Pace};
use super::error::ClientError;
use super::fanout::subscribe_all;
use super::neighbours;
use super::progress::Progress;
use super::report::Report;
use super::runner::{Runner, Share, moment, pace};
use super::socket::Socket;
use super::wallet::{Answers, Party, request_op};

/// Requests for invoices that are in flight while a round is prepared.
const INVOICE_WINDOW: usize = 32;
/// Unpaid invoices that one payee may have: a little below what hearth allows a connection.
const INVOICES_OPEN_MAX: usize = 900;

pub(super) async fn run(args: &Nwc) -> Result<Report, ClientError> {
    let (target, runner) = (&args.target, Runner::new(&args.target).await?);
    let parties = parties(args)?;
    let clients = args.clients.max(1);
    let clients: Vec<Party> = (0..clients).map(|index| parties[index % parties.len()].clone()).collect();
    let payees = payees(args, &parties)?;
    let progress = Progress::new(format!("nwc {}", args.method.name()));
    let mut sockets = connect(&runner, &clients, 0).await?;
    let mut rounds = Vec::new();
    for repeat in 0..=target.repeats.max(1) {
        let count = if repeat == 0 { target.warmup(args.requests) } else { args.requests };
        if count == 0 {
            continue;
        }
        progress.say("preparing");
        let invoices = match args.method {
            Method::PayInvoice => match &args.neighbours {
                Some(socket) => neighbours::invoices(socket, count, args.amount_msat).await?,
                None => invoices(&runner, &payees, count, args.amount_msat, clients.len()).await?,
            },
            Method::GetBalance | Method::MakeInvoice => Vec::new(),
        };
        let shares = shares(args, &clients, sockets, count, &invoices)?;
        let pace = if repeat == 0 { Pace::Closed { window: args.window.max(1) } } else { pace(args.rate, args.window) };
        let (back, round) = runner.round(shares, 1, pace, &progress).await?;
        sockets = back;
        if repeat > 0 {
            rounds.push(round);
        }
    }
    let mut report = Report::new(target);
    let loop_words = args.rate.map_or_else(|| format!("window {}", args.window.max(1)), |rate| format!("{rate:.0}/s open loop"));
    let name = format!("nwc {}, {} clients, {loop_words}", args.method.name(), clients.len());
    report.add(name, &rounds, 0, note(args, clients.len(), parties.len()));
    Ok(report)
}

/// What must be known to read the row: clients of one connection all listen for its answers, and so each gets the others' too.
fn note(args: &Nwc, clients: usize, connections: usize) -> Option<String> {
    let shared = (clients > connections).then(|| {
        format!("{clients} clients share {connections} connections: every answer goes to all clients of its connection")
    });
    let outside = args.neighbours.is_some().then(|| "the invoices are of another node".to_owned());
    let words: Vec<String> = outside.into_iter().chain(shared).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

fn parties(args: &Nwc) -> Result<Vec<Party>, ClientError> {
    let mut uris = args.uri.clone();
    if let Some(path) = &args.uri_file {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| ClientError::Input(path.display().to_string(), error.to_string()))?;
        uris.extend(text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned));
    }
    if uris.is_empty() {
        return Err(ClientError::Wallet("give a connection with --uri or --uri-file".into()));
    }
    uris.iter().map(|uri| Party::of_uri(uri)).collect()
}

/// Who makes the invoices of a round, and whether they may make as many as are needed.
fn payees(args: &Nwc, parties: &[Party]) -> Result<Vec<Party>, ClientError> {
    if args.method != Method::PayInvoice || args.neighbours.is_some() {
        return Ok(Vec::new());
    }
    let mut payees: Vec<Party> = args.payee.iter().map(|uri| Party::of_uri(uri)).collect::<Result<_, _>>()?;
    if payees.is_empty() && parties.len() > 1 {
        payees = parties.to_vec();
        payees.rotate_left(1);
    }
    let needed = args.requests.max(args.target.warmup(args.requests)).div_ceil(INVOICES_OPEN_MAX);
    if payees.is_empty() {
        return Err(ClientError::Wallet(
            "pay_invoice needs --payee URI to make invoices, or several connections that pay each other".into(),
        ));
    }
    if payees.len() < needed {
        return Err(ClientError::Wallet(format!(
            "{} requests need {needed} payees, because each may have {INVOICES_OPEN_MAX} open invoices, and there are {}: \
             give --payee more often or fewer --requests",
            args.requests,
            payees.len()
        )));
    }
    Ok(payees)
}

/// A connection for each client, listening for its answers. Client addresses are numbered from `first`.
pub(super) async fn connect(runner: &Runner, clients: &[Party], first: usize) -> Result<Vec<Socket>, ClientError> {
    let mut sockets = Vec::with_capacity(clients.len());
    for (index, party) in clients.iter().enumerate() {
        let endpoint = Endpoint::resolve(&party.relay, runner.target.per_address, runner.target.ca.as_deref()).await?;
        let mut opened = runner.open_at(&endpoint, first + index, 1).await?;
        for socket in &mut opened {
            subscribe_all(socket, &[party.answers()]).await?;
        }
        sockets.append(&mut opened);
    }
    Ok(sockets)
}

fn shares(
    args: &Nwc,
    clients: &[Party],
    sockets: Vec<Socket>,
    count: usize,
    invoices: &[String],
) -> Result<Vec<Share>, ClientError> {
    let mut shares: Vec<Share> = sockets
        .into_iter()
        .zip(clients)
        .map(|(socket, party)| Share { socket, ops: Vec::new(), ear: Box::new(Answers::new(party.clone(), args.check)) })
        .collect();
    for index in 0..count {
        let client = index % clients.len();
        let params = match args.method {
            Method::GetBalance => json!({}),
            Method::MakeInvoice => json!({"amount": args.amount_msat, "description": "hearth bench"}),
            Method::PayInvoice => json!({"invoice": invoices.get(index)}),
        };
        let at = args.rate.map_or(Duration::ZERO, |rate| moment(index, rate));
        shares[client].ops.push(request_op(&clients[client], args.method, &params, 0, at)?);
    }
    Ok(shares)
}

/// Invoices of the payees in turn, made before the clock starts.
async fn invoices(
    runner: &Runner,
    payees: &[Party],
    count: usize,
    amount_msat: u64,
    first: usize,
) -> Result<Vec<String>, ClientError> {
    let payees = &payees[..payees.len().min(count)];
    let sockets = connect(runner, payees, first).await?;
    let params = json!({"amount": amount_msat, "description": "hearth bench"});
    let mut made = Vec::with_capacity(payees.len());
    let mut shares = Vec::with_capacity(payees.len());
    for (index, (socket, payee)) in sockets.into_iter().zip(payees).enumerate() {
        let own = count / payees.len() + usize::from(index < count % payees.len());
        let ops: Result<Vec<Op>, _> =
            (0..own).map(|_| request_op(payee, Method::MakeInvoice, &params, 0, Duration::ZERO)).collect();
        let results = Arc::new(Mutex::new(Vec::with_capacity(own)));
        shares.push(Share { socket, ops: ops?, ear: Box::new(Answers::kept(payee.clone(), results.clone())) });
        made.push(results);
    }
    let (_, round) = runner.round(shares, 1, Pace::Closed { window: INVOICE_WINDOW }, &Progress::new("invoices")).await?;
    if round.failures() > 0 {
        return Err(ClientError::Wallet(format!("make_invoice: {}", round.words.unwrap_or_default())));
    }
    let text = |result: &Value| result.get("invoice").and_then(Value::as_str).map(str::to_owned);
    let mut made: Vec<_> =
        made.iter().map(|results| results.lock().iter().filter_map(text).collect::<Vec<_>>().into_iter()).collect();
    // In turn, so that those who pay at the same time pay different payees.
    let places = (0..count).map(|index| index % payees.len());
    let invoices: Vec<String> = places.filter_map(|place| made[place].next()).collect();
    if invoices.len() < count {
        return Err(ClientError::Wallet("make_invoice gave no invoice".into()));
    }
    Ok(invoices)
}
