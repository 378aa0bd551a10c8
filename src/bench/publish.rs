//! Publishing: signed events, a window of them in flight on each connection, every OK awaited.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::client::{Client, ClientError, parse_ok};
use super::data::{World, now_s};
use super::report::{Latency, Meter, Report};
use super::{Target, process};

/// Stream number of the events that `fill` stores and `query` asks for.
pub(super) const FILL_STREAM: u64 = 0xf111;
/// How many seconds the stored events are spread over.
const FILL_SPAN_S: usize = 30 * 86_400;
/// Where the spread ends: the same on every day, so that a later query run asks for what an earlier run stored.
const FILL_DAY_S: u64 = 86_400;

pub(super) async fn run(target: &Target, events: usize, connections: usize, window: usize) -> Result<Report, ClientError> {
    let world = World::new(target.seed);
    let mut samples = Vec::new();
    let mut written = 0.0;
    for repeat in 0..target.repeats.max(1) {
        let stream = now_s() << 8 | (repeat as u64 & 0xff);
        let created_at = now_s();
        let messages: Vec<_> = (0..events).map(|index| message(&world.event(stream, index, created_at).json)).collect();
        let before = target.server_pid.and_then(process::usage).map(|usage| usage.written_bytes);
        let sample = publish_all(target, messages, connections, window).await?;
        if let (Some(before), Some(after)) = (before, target.server_pid.and_then(process::usage)) {
            #[expect(clippy::cast_precision_loss, reason = "a byte count for people")]
            {
                written = after.written_bytes.saturating_sub(before) as f64 / events.max(1) as f64;
            }
        }
        samples.push(sample);
    }
    let mut report = Report::default();
    let note = (written > 0.0).then(|| format!("{written:.0} bytes written to disk per event in the last repeat"));
    report.add(format!("publish, {connections} connections, window {window}"), samples, note);
    Ok(report)
}

pub(super) async fn fill(target: &Target, events: usize) -> Result<Report, ClientError> {
    const CHUNK: usize = 20_000;
    let world = World::new(target.seed);
    let mut report = Report::default();
    let mut from = 0;
    let mut samples = Vec::new();
    while from < events {
        let to = events.min(from + CHUNK);
        let messages = (from..to).map(|index| message(&world.event(FILL_STREAM, index, fill_time(index, events)).json)).collect();
        samples.push(publish_all(target, messages, 8, 64).await?);
        from = to;
    }
    report.add(format!("fill, {events} events"), samples, None);
    Ok(report)
}

/// When event `index` of `fill` was made: spread evenly over the span that ended at the last midnight but one.
pub(super) fn fill_time(index: usize, events: usize) -> u64 {
    let end = (now_s() / FILL_DAY_S - 1) * FILL_DAY_S;
    let age = FILL_SPAN_S as u64 * (events - index) as u64 / events.max(1) as u64;
    end - age
}

pub(super) fn message(event: &str) -> String {
    format!(r#"["EVENT",{event}]"#)
}

async fn publish_all(
    target: &Target,
    messages: Vec<String>,
    connections: usize,
    window: usize,
) -> Result<super::report::Sample, ClientError> {
    let operations = messages.len() as u64;
    let mut shares: Vec<Vec<String>> = (0..connections).map(|_| Vec::new()).collect();
    for (index, message) in messages.into_iter().enumerate() {
        shares[index % connections].push(message);
    }
    let barrier = Arc::new(tokio::sync::Barrier::new(connections + 1));
    let mut tasks = Vec::new();
    for share in shares {
        let (barrier, mut client) = (barrier.clone(), Client::open(&target.url).await?);
        tasks.push(tokio::spawn(async move {
            barrier.wait().await;
            publish_share(&mut client, share, window).await
        }));
    }
    let meter = Meter::start(target.server_pid);
    barrier.wait().await;
    let mut latency = Latency::new();
    for task in tasks {
        latency.merge(&task.await??);
    }
    Ok(meter.stop(operations, latency))
}

async fn publish_share(client: &mut Client, share: Vec<String>, window: usize) -> Result<Latency, ClientError> {
    let mut latency = Latency::new();
    let mut flying: HashMap<String, Instant> = HashMap::with_capacity(window);
    let mut waiting = share.into_iter();
    let mut left = waiting.len();
    while left > 0 {
        let mut fed = false;
        while flying.len() < window {
            let Some(message) = waiting.next() else { break };
            // `["EVENT",{"id":"` is 16 bytes long.
            flying.insert(message[16..80].to_owned(), Instant::now());
            client.feed(message.into()).await?;
            fed = true;
        }
        if fed {
            client.flush().await?;
        }
        let text = client.next().await?;
        match parse_ok(&text) {
            Some((id, true)) => {
                if let Some(sent) = flying.remove(id) {
                    latency.record(sent.elapsed());
                    left -= 1;
                }
            }
            Some((_, false)) => return Err(ClientError::Refused(text.to_string())),
            None => {}
        }
    }
    Ok(latency)
}
