//! Queries of stored events: the shapes that clients ask all day, against what `fill` stored with the same seed.

use std::sync::Arc;
use std::time::Instant;

use super::Target;
use super::client::{Client, ClientError};
use super::data::{Random, World};
use super::publish::{FILL_STREAM, fill_time};
use super::report::{Latency, Meter, Report, Sample};

/// How many stored events the filters are drawn from.
const POOL: usize = 2_000;
/// Authors of the feed query.
const FEED_AUTHORS: usize = 500;

pub(super) struct Plan {
    pub(super) stored: usize,
    pub(super) queries: usize,
    pub(super) connections: usize,
    pub(super) limits: Vec<usize>,
}

const SHAPES: [&str; 7] = ["ids", "author", "kind", "tag", "author+kind", "tag+kind", "feed"];

pub(super) async fn run(target: &Target, plan: &Plan) -> Result<Report, ClientError> {
    let world = World::new(target.seed);
    let mut random = Random::new(target.seed ^ 0x5151);
    let pool: Vec<_> = (0..POOL)
        .map(|_| random.below(plan.stored))
        .map(|index| world.event(FILL_STREAM, index, fill_time(index, plan.stored)))
        .collect();
    let mut report = Report::default();
    for shape in SHAPES {
        for &limit in &plan.limits {
            let mut samples = Vec::new();
            let mut events = 0;
            for _ in 0..target.repeats.max(1) {
                let filters: Vec<String> = (0..plan.queries).map(|_| filter(shape, limit, &pool, &world, &mut random)).collect();
                let (sample, found) = ask_all(target, plan.connections, filters).await?;
                events = found;
                samples.push(sample);
            }
            let note = format!("{} events came back for {} queries in the last repeat", events, plan.queries);
            report.add(format!("query {shape}, limit {limit}, {} connections", plan.connections), samples, Some(note));
        }
    }
    Ok(report)
}

fn filter(shape: &str, limit: usize, pool: &[super::data::Sample], world: &World, random: &mut Random) -> String {
    let one = &pool[random.below(pool.len())];
    let author = world.pubkey(one.author);
    match shape {
        "ids" => {
            let ids: Vec<String> = (0..limit).map(|_| format!("\"{}\"", pool[random.below(pool.len())].id)).collect();
            format!(r#"{{"ids":[{}],"limit":{limit}}}"#, ids.join(","))
        }
        "author" => format!(r#"{{"authors":["{author}"],"limit":{limit}}}"#),
        "kind" => format!(r#"{{"kinds":[{}],"limit":{limit}}}"#, one.kind),
        "tag" => format!(r##"{{"#t":["{}"],"limit":{limit}}}"##, one.topic),
        "author+kind" => format!(r#"{{"authors":["{author}"],"kinds":[{}],"limit":{limit}}}"#, one.kind),
        "tag+kind" => format!(r##"{{"#t":["{}"],"kinds":[{}],"limit":{limit}}}"##, one.topic, one.kind),
        _ => {
            let authors: Vec<String> = (0..FEED_AUTHORS).map(|_| format!("\"{}\"", world.pubkey(random.below(1_000)))).collect();
            format!(r#"{{"authors":[{}],"kinds":[1,6],"limit":{limit}}}"#, authors.join(","))
        }
    }
}

async fn ask_all(target: &Target, connections: usize, filters: Vec<String>) -> Result<(Sample, usize), ClientError> {
    let operations = filters.len() as u64;
    let mut shares: Vec<Vec<String>> = (0..connections).map(|_| Vec::new()).collect();
    for (index, filter) in filters.into_iter().enumerate() {
        shares[index % connections].push(filter);
    }
    let barrier = Arc::new(tokio::sync::Barrier::new(connections + 1));
    let mut tasks = Vec::new();
    for share in shares {
        let (barrier, mut client) = (barrier.clone(), Client::open(&target.url).await?);
        tasks.push(tokio::spawn(async move {
            barrier.wait().await;
            let (mut latency, mut events) = (Latency::new(), 0);
            for filter in share {
                let started = Instant::now();
                events += client.subscribe("q", &filter).await?;
                latency.record(started.elapsed());
            }
            Ok::<_, ClientError>((latency, events))
        }));
    }
    let meter = Meter::start(target.server_pid);
    barrier.wait().await;
    let (mut latency, mut events) = (Latency::new(), 0);
    for task in tasks {
        let (share, found) = task.await??;
        latency.merge(&share);
        events += found;
    }
    Ok((meter.stop(operations, latency), events))
}
