//! Idle connections: what holding one costs the relay.

use std::time::Duration;

use super::client::{Client, ClientError};
use super::data::World;
use super::report::{Latency, Meter, Report};
use super::{Target, process};

/// Time for buffers to settle before memory is read.
const SETTLE: Duration = Duration::from_secs(3);

pub(super) async fn run(target: &Target, connections: usize) -> Result<Report, ClientError> {
    let world = World::new(target.seed);
    let before = target.server_pid.and_then(process::usage);
    let meter = Meter::start(target.server_pid);
    let mut latency = Latency::new();
    let mut held = Vec::with_capacity(connections);
    for index in 0..connections {
        let started = std::time::Instant::now();
        let mut client = Client::open(&target.url).await?;
        let filter = format!(r#"{{"authors":["{}"],"kinds":[{}],"limit":1}}"#, world.pubkey(index % 1_000), index % 40_000);
        client.subscribe("idle", &filter).await?;
        latency.record(started.elapsed());
        held.push(client);
    }
    let sample = meter.stop(connections as u64, latency);
    tokio::time::sleep(SETTLE).await;
    let after = target.server_pid.and_then(process::usage);
    let note = match (before, after) {
        (Some(before), Some(after)) => {
            let grown = after.rss_bytes.saturating_sub(before.rss_bytes);
            Some(format!("{} bytes of server memory per connection", grown / (connections as u64).max(1)))
        }
        _ => Some("give --server-pid to see memory".to_owned()),
    };
    drop(held);
    let mut report = Report::default();
    report.add(format!("connect and subscribe, {connections} held"), vec![sample], note);
    Ok(report)
}
