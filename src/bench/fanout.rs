//! Live fan-out: one publisher, many listening connections.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Target;
use super::client::{Client, ClientError, parse_ok};
use super::data::{World, now_s};
use super::publish::message;
use super::report::{Latency, Meter, Report};

/// How long after an event's OK its deliveries may still come.
const DELIVERY_WAIT: Duration = Duration::from_secs(30);

pub(super) async fn run(target: &Target, subscribers: usize, events: usize, distinct: bool) -> Result<Report, ClientError> {
    let world = World::new(target.seed);
    let (delivered, mut deliveries) = mpsc::channel::<Instant>(65_536);
    let mut listeners = Vec::new();
    for index in 0..subscribers {
        let mut client = Client::open(&target.url).await?;
        client.subscribe("live", &filter(&world, index, distinct)).await?;
        let delivered = delivered.clone();
        listeners.push(tokio::spawn(async move {
            while let Ok(text) = client.next_within(Duration::from_secs(3_600)).await {
                if text.is_some_and(|text| text.starts_with(r#"["EVENT""#)) && delivered.send(Instant::now()).await.is_err() {
                    break;
                }
            }
        }));
    }
    let expected = if distinct { 1 } else { subscribers };
    let mut publisher = Client::open(&target.url).await?;
    let mut samples = Vec::new();
    for repeat in 0..target.repeats.max(1) {
        let meter = Meter::start(target.server_pid);
        let mut latency = Latency::new();
        for index in 0..events {
            let note = world.note(0, now_s(), &format!("{repeat} {index} {}", now_s()));
            let sent = Instant::now();
            publisher.send(message(&note.json)).await?;
            wait_for_ok(&mut publisher, &note.id).await?;
            let mut last = sent;
            for _ in 0..expected {
                let came = tokio::time::timeout(DELIVERY_WAIT, deliveries.recv()).await.map_err(|_| ClientError::Silent)?;
                last = came.ok_or(ClientError::Closed)?.max(last);
            }
            latency.record(last - sent);
        }
        samples.push(meter.stop((events * expected) as u64, latency));
    }
    for listener in listeners {
        listener.abort();
    }
    let mut report = Report::default();
    let shape = if distinct { "distinct subscriptions, one matches" } else { "subscribers, last delivery" };
    report.add(
        format!("fan-out, {subscribers} {shape}"),
        samples,
        Some("per second: deliveries; one event at a time".to_owned()),
    );
    Ok(report)
}

fn filter(world: &World, index: usize, distinct: bool) -> String {
    if distinct && index > 0 {
        return format!(r#"{{"authors":["{:064x}"],"kinds":[1],"limit":0}}"#, index);
    }
    format!(r#"{{"authors":["{}"],"kinds":[1],"limit":0}}"#, world.pubkey(0))
}

async fn wait_for_ok(client: &mut Client, id: &str) -> Result<(), ClientError> {
    loop {
        let text = client.next().await?;
        match parse_ok(&text) {
            Some((found, true)) if found == id => return Ok(()),
            Some((_, false)) => return Err(ClientError::Refused(text.to_string())),
            _ => {}
        }
    }
}
