//! Many connections: how fast they open, and what holding them costs the relay.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::StreamExt;

use super::args::Idle;
use super::book::{Book, Done};
use super::data::World;
use super::endpoint::allow_open_files;
use super::error::ClientError;
use super::fanout::subscribe_all;
use super::meter::{Meter, Round};
use super::process;
use super::progress::Progress;
use super::report::{Report, bytes};
use super::runner::Runner;
use super::socket::Socket;

/// Kinds that the subscriptions are spread over, so that no two are equal.
const KINDS: usize = 30_000;

pub(super) async fn run(args: &Idle) -> Result<Report, ClientError> {
    let (target, runner, world) = (&args.target, Runner::new(&args.target).await?, World::new(args.target.seed));
    allow_open_files(args.connections)?;
    let (mut rounds, mut notes) = (Vec::new(), Vec::new());
    for _ in 0..target.repeats.max(1) {
        let before = process::usage_of(&target.server_pid);
        let (held, round) = open_all(args, &runner, &world).await?;
        let opened = process::usage_of(&target.server_pid);
        tokio::time::sleep(Duration::from_secs(args.hold)).await;
        let after = process::usage_of(&target.server_pid);
        if let (Some(before), Some(opened), Some(after)) = (before, opened, after) {
            let grown = after.rss_bytes.saturating_sub(before.rss_bytes) / (held.len() as u64).max(1);
            let idle_cpu = after.cpu.saturating_sub(opened.cpu).as_secs_f64() * 100.0 / (args.hold.max(1) as f64);
            notes.push((grown, idle_cpu));
        }
        rounds.push(round);
        drop(held);
        // The relay is to see all of them go before the next ones come.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut report = Report::new(target);
    let name = format!(
        "connect and subscribe, {} connections of {}, {} at once",
        args.connections,
        args.subscriptions,
        args.at_once.max(1)
    );
    report.add(name, &rounds, 0, Some(note(&notes)));
    Ok(report)
}

/// The first repeat meets a relay whose memory has not grown yet; later ones reuse what it kept, so the first is what counts.
fn note(notes: &[(u64, f64)]) -> String {
    match notes.first() {
        Some((grown, idle_cpu)) => {
            let grown = bytes(*grown);
            format!("{grown} of relay memory per connection (if it was just started), {idle_cpu:.1} % of one core while held")
        }
        None => "give --server-pid to see memory".to_owned(),
    }
}

async fn open_all(args: &Idle, runner: &Runner, world: &World) -> Result<(Vec<Socket>, Round), ClientError> {
    let book = Arc::new(Book::new(1));
    let progress = Progress::new("connect");
    let watch = progress.watch(&book, args.connections as u64);
    let meter = Meter::start(&args.target.server_pid);
    let opening = futures_util::stream::iter(0..args.connections).map(|index| {
        let book = book.clone();
        async move {
            let started = Instant::now();
            match open_one(args, runner, world, index).await {
                Ok(socket) => {
                    book.done(&Done { class: 0, latency: started.elapsed(), first: None, events: 0 });
                    Some(socket)
                }
                Err(error) => {
                    book.failed(0, 1, &error.to_string());
                    None
                }
            }
        }
    });
    let held: Vec<Socket> = opening.buffer_unordered(args.at_once.max(1)).filter_map(|socket| async { socket }).collect().await;
    let results = book.close();
    let mut round = meter.stop(results.tallies);
    (round.words, round.timeline) = (results.words, watch.end().await);
    if held.is_empty() && args.connections > 0 {
        return Err(ClientError::Refused(round.words.unwrap_or_default()));
    }
    Ok((held, round))
}

async fn open_one(args: &Idle, runner: &Runner, world: &World, index: usize) -> Result<Socket, ClientError> {
    let mut socket = Socket::open(&runner.endpoint, index).await?;
    let filters: Vec<String> = (0..args.subscriptions)
        .map(|number| {
            let which = index * args.subscriptions + number;
            let author = world.pubkey(which % world.authors());
            format!(r#"{{"authors":["{author}"],"kinds":[{}],"limit":1}}"#, 30_000 + which / world.authors() % KINDS)
        })
        .collect();
    subscribe_all(&mut socket, &filters).await?;
    Ok(socket)
}
