//! Publishing: events signed before the clock starts, every OK awaited.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use super::args::{Fill, Publish};
use super::data::{World, now_s, run_number};
use super::engine::{Deaf, Expect, Op, Pace};
use super::error::ClientError;
use super::meter::Round;
use super::progress::Progress;
use super::report::{Report, bytes};
use super::runner::{Runner, Share, deal, moment, pace};
use super::socket::Socket;

/// Events of a fill that are signed and sent at a time.
const FILL_CHUNK: usize = 20_000;
/// Connections and window of a fill.
const FILL_CONNECTIONS: usize = 8;
const FILL_WINDOW: usize = 64;
/// Stream number of the events that warm up.
const WARM_STREAM: u64 = 0x3a33;

pub(super) async fn run(args: &Publish) -> Result<Report, ClientError> {
    let (target, runner) = (&args.target, Runner::new(&args.target).await?);
    let (world, run, connections) = (World::new(target.seed), args.run.unwrap_or_else(run_number), args.connections.max(1));
    let progress = Progress::new("publish");
    progress.say("connecting");
    let mut sockets = runner.open(0, connections).await?;
    let warmup = target.warmup(args.events);
    if warmup > 0 {
        let ops = events(&world, WARM_STREAM ^ (run << 16), warmup, None);
        (sockets, _) = send(&runner, sockets, ops, Pace::Closed { window: args.window.max(1) }, &progress).await?;
    }
    let mut rounds = Vec::new();
    for repeat in 0..target.repeats.max(1) {
        progress.say("signing");
        let ops = events(&world, (run << 8) | (repeat as u64 & 0xff), args.events, args.rate);
        let (back, round) = send(&runner, sockets, ops, pace(args.rate, args.window), &progress).await?;
        sockets = back;
        rounds.push(round);
    }
    let mut report = Report::new(target);
    let name = match args.rate {
        None => format!("publish, {connections} connections, window {}", args.window),
        Some(rate) => format!("publish, {connections} connections, {rate:.0}/s open loop"),
    };
    let written =
        rounds.iter().filter_map(Round::written_bytes).sum::<u64>() / rounds.iter().map(Round::operations).sum::<u64>().max(1);
    let note = (written > 0).then(|| format!("{written} bytes written to disk per event"));
    report.add(name, &rounds, 0, note);
    Ok(report)
}

fn events(world: &World, stream: u64, count: usize, rate: Option<f64>) -> Vec<Op> {
    let created_at = now_s();
    world.make_many(count, |world, index| {
        let event = world.event(stream, index, created_at).event;
        let at = rate.map_or(Duration::ZERO, |rate| moment(index, rate));
        Op { frame: event.frame(), expect: Expect::Verdict(event.key()), class: 0, at }
    })
}

async fn send(
    runner: &Runner,
    sockets: Vec<Socket>,
    ops: Vec<Op>,
    pace: Pace,
    progress: &Progress,
) -> Result<(Vec<Socket>, Round), ClientError> {
    let shares = deal(ops, sockets.len());
    let shares = sockets.into_iter().zip(shares).map(|(socket, ops)| Share { socket, ops, ear: Box::new(Deaf) }).collect();
    runner.round(shares, 1, pace, progress).await
}

pub(super) async fn fill(args: &Fill) -> Result<Report, ClientError> {
    if let Some(path) = &args.lines {
        write_lines(args, path)?;
        return Ok(Report::new(&args.target));
    }
    let runner = Runner::new(&args.target).await?;
    let before = super::process::usage_of(&args.target.server_pid);
    let rounds = fill_with(&runner, &World::new(args.target.seed), args.events, args.until).await?;
    let after = super::process::usage_of(&args.target.server_pid);
    let note = before.zip(after).map(|(before, after)| {
        let written = after.written_bytes.saturating_sub(before.written_bytes) / (args.events as u64).max(1);
        format!("{written} bytes written to disk per event; server memory {}{}", bytes(after.rss_bytes), growth(&rounds))
    });
    let mut report = Report::new(&args.target);
    report.add(format!("fill, {} events, chunks of {FILL_CHUNK}", args.events), &rounds, 0, note);
    Ok(report)
}

/// How the cost of an event grew from the first chunks to the last, where there are enough of them.
fn growth(rounds: &[Round]) -> String {
    let part = rounds.len() / 10;
    let cost = |rounds: &[Round]| {
        let cpu = rounds.iter().filter_map(Round::server_cpu).sum::<Duration>();
        cpu.as_secs_f64() * 1e6 / f64::from(u32::try_from(rounds.iter().map(Round::operations).sum::<u64>()).unwrap_or(u32::MAX))
    };
    if part == 0 {
        return String::new();
    }
    let (first, last) = (cost(&rounds[..part]), cost(&rounds[rounds.len() - part..]));
    format!("; server CPU per event {first:.1} us in the first tenth, {last:.1} us in the last")
}

/// The same events for a relay's own import.
fn write_lines(args: &Fill, path: &Path) -> Result<(), ClientError> {
    let world = World::new(args.target.seed);
    let mut out = BufWriter::new(File::create(path).map_err(ClientError::Output)?);
    for from in (0..args.events).step_by(FILL_CHUNK) {
        let count = FILL_CHUNK.min(args.events - from);
        for event in world.make_many(count, |world, index| world.stored(from + index, args.events, args.until).event.json) {
            writeln!(out, "{event}").map_err(ClientError::Output)?;
        }
    }
    out.flush().map_err(ClientError::Output)
}

/// Stores the events that queries ask for; those that are there already cost an OK each.
pub(super) async fn fill_with(runner: &Runner, world: &World, events: usize, until: u64) -> Result<Vec<Round>, ClientError> {
    let mut sockets = runner.open(0, FILL_CONNECTIONS).await?;
    let (mut rounds, mut from) = (Vec::new(), 0);
    while from < events {
        let count = FILL_CHUNK.min(events - from);
        let ops = world.make_many(count, |world, index| {
            let event = world.stored(from + index, events, until).event;
            Op { frame: event.frame(), expect: Expect::Verdict(event.key()), class: 0, at: Duration::ZERO }
        });
        let progress = Progress::new(format!("fill {from} of {events}"));
        let (back, round) = send(runner, sockets, ops, Pace::Closed { window: FILL_WINDOW }, &progress).await?;
        if round.failures() > 0 {
            return Err(ClientError::Refused(round.words.unwrap_or_default()));
        }
        (sockets, from) = (back, from + count);
        rounds.push(round);
    }
    Ok(rounds)
}
