//! Writing to and querying the event store.
//!
//! `cargo bench --bench store` measures on 1,000,000 events; `HEARTH_BENCH_EVENTS` sets another number. What the store costs on
//! disk is printed once, before the queries. Queries are measured in CPU time of the reading thread, which says the same on a
//! busy machine; writes in wall time, because they wait for the disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a benchmark"
)]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a benchmark")]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hearth::base::clock::Clock;
use hearth::base::hex32::Hex32;
use hearth::protocol::event::{Draft, Event, EventLimits};
use hearth::protocol::filter::Filter;
use hearth::store::{Config, ScanLimits, Step, Store};
use rand::distr::{Alphanumeric, SampleString};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

const AUTHORS: u64 = 5_000;
const START_S: u64 = 1_700_000_000;

fn key(number: u64) -> Hex32 {
    Hex32(Sha256::digest(number.to_be_bytes()).into())
}

/// Events of about 565 bytes, about one a second: notes, reposts and reactions, each second one with an `e` and a `p` tag.
struct Events {
    rng: ChaCha8Rng,
    made: u64,
}

impl Events {
    fn new(seed: u64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed), made: 0 }
    }

    fn next(&mut self) -> Event {
        let rng = &mut self.rng;
        let author = key(rng.random_range(0..AUTHORS));
        let kind = [1, 1, 7, 7, 6][rng.random_range(0..5)];
        let created_at = START_S + self.made + rng.random_range(0..30);
        self.made += 1;
        let (e, p) = (key(rng.random_range(1 << 32..1 << 33)).to_string(), key(rng.random_range(0..AUTHORS)).to_string());
        let tags = if rng.random() { serde_json::json!([["e", e], ["p", p]]) } else { serde_json::json!([["t", "nostr"]]) };
        let length = 565_usize.saturating_sub(380 + tags.to_string().len());
        let content = Alphanumeric.sample_string(rng, length);
        let id: [u8; 32] = Sha256::digest(serde_json::json!([0, author, created_at, kind, tags, content]).to_string()).into();
        let mut sig = [0_u8; 64];
        rng.fill(&mut sig);
        let sig = format!("{}{}", Hex32(sig[..32].try_into().unwrap()), Hex32(sig[32..].try_into().unwrap()));
        let json = serde_json::json!({
            "id": Hex32(id), "pubkey": author, "created_at": created_at, "kind": kind, "tags": tags, "content": content,
            "sig": sig,
        });
        Draft::parse(&json.to_string()).unwrap().pack(&EventLimits::default()).unwrap()
    }

    fn take(&mut self, count: usize) -> Vec<Event> {
        (0..count).map(|_| self.next()).collect()
    }
}

fn open(dir: &Path, config: &Config) -> Store {
    Store::open(dir, config, Clock::system(), Box::new(|_, _| {})).unwrap()
}

/// Appends in windows: the next window starts when all of the last one is on the disk.
fn append(store: &Store, events: &[Event], window: usize) -> Duration {
    let start = Instant::now();
    for chunk in events.chunks(window) {
        let (send, done) = mpsc::sync_channel(chunk.len());
        for event in chunk {
            let send = send.clone();
            store.append(event.clone(), Box::new(move |appended| send.send(appended).unwrap()));
        }
        drop(send);
        assert_eq!(done.iter().count(), chunk.len());
    }
    start.elapsed()
}

fn run(store: &Store, filters: &Arc<[Filter]>) -> usize {
    let mut scan = store.scan(Arc::clone(filters), &ScanLimits::default()).unwrap();
    let mut bytes = 0;
    let mut emit = |event: Event| {
        bytes += event.json().len();
        ControlFlow::Continue(())
    };
    while scan.run(Instant::now() + Duration::from_millis(10), &mut emit).unwrap() == Step::More {}
    bytes
}

fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("store/write");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for window in [1, 16, 64, 256, 1_024] {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let store = open(dir.path(), &Config::default());
        let mut events = Events::new(window as u64);
        group.throughput(Throughput::Elements(window as u64));
        group.bench_function(BenchmarkId::from_parameter(window), |b| {
            b.iter_custom(|rounds| {
                let events = events.take(usize::try_from(rounds).unwrap() * window);
                append(&store, &events, window)
            });
        });
    }
}

fn filters(json: serde_json::Value) -> Arc<[Filter]> {
    Arc::from([serde_json::from_value(json).unwrap()])
}

/// A filter of each shape, about the newest fifth of the events and with values that are often there.
fn shapes(sample: &[Event], limit: usize) -> Vec<(&'static str, Arc<[Filter]>)> {
    let one = &sample[sample.len() / 2];
    let p = sample.iter().find_map(|event| event.view().tag(b'p')).unwrap().to_text().into_owned();
    let ids: Vec<_> = sample.iter().rev().take(limit).map(Event::id).collect();
    let feed: Vec<_> = (0..500).map(key).collect();
    let absent: Vec<_> = (0..500).map(|number| key(number + 1_000_000)).collect();
    vec![
        ("ids", filters(serde_json::json!({ "ids": ids }))),
        ("author", filters(serde_json::json!({ "authors": [one.pubkey()], "limit": limit }))),
        ("kind", filters(serde_json::json!({ "kinds": [1], "limit": limit }))),
        ("tag", filters(serde_json::json!({ "#t": ["nostr"], "limit": limit }))),
        ("author+kind", filters(serde_json::json!({ "authors": [one.pubkey()], "kinds": [one.kind()], "limit": limit }))),
        ("tag+kind", filters(serde_json::json!({ "#p": [p], "kinds": [1, 7], "limit": limit }))),
        ("feed", filters(serde_json::json!({ "authors": feed, "kinds": [1, 6], "limit": limit }))),
        ("feed of strangers", filters(serde_json::json!({ "authors": absent, "kinds": [1, 6], "limit": limit }))),
    ]
}

/// CPU time of the thread.
struct ThreadTime;

fn thread_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value that lives through the call.
    #[expect(unsafe_code, reason = "the standard library has no clock of a thread")]
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    assert_eq!(status, 0);
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
}

impl Measurement for ThreadTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        thread_time()
    }

    fn end(&self, start: Duration) -> Duration {
        thread_time() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn query(c: &mut Criterion<ThreadTime>) {
    let count: usize = std::env::var("HEARTH_BENCH_EVENTS").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = open(dir.path(), &Config::default());
    let mut events = Events::new(7);
    let mut sample = Vec::new();
    let mut json_bytes = 0;
    let mut busy = Duration::ZERO;
    for _ in 0..count.div_ceil(1_000) {
        let made = events.take(1_000);
        json_bytes += made.iter().map(|event| event.json().len()).sum::<usize>();
        busy += append(&store, &made, 1_000);
        sample = made;
    }
    store.close();
    let stats = store.stats();
    let per_event = |bytes: u64| bytes as f64 / stats.events as f64;
    let database = &stats.database;
    eprintln!("{} events of {} bytes in {busy:.1?}", stats.events, json_bytes / count);
    eprintln!("  on disk {:.0} bytes an event: {:?}", per_event(stats.file_bytes()), families(&stats));
    let written = database.wal_bytes + database.flushed_bytes + database.compacted_bytes;
    eprintln!("  written {:.0} bytes an event, {:.0} of them to the log", per_event(written), per_event(database.wal_bytes));
    drop(store);
    for (memory, hot_bytes) in [("hot", 1 << 30), ("cold", 0)] {
        let store = open(dir.path(), &Config { hot_bytes, ..Config::default() });
        let mut group = c.benchmark_group(format!("store/query/{memory}"));
        group.sample_size(20).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
        for limit in [1, 100, 500] {
            for (shape, filters) in shapes(&sample, limit) {
                group.bench_function(BenchmarkId::new(shape, limit), |b| b.iter(|| black_box(run(&store, &filters))));
            }
        }
    }
}

fn families(stats: &hearth::store::Stats) -> Vec<(&'static str, u64)> {
    stats.database.families.iter().map(|family| (family.name, family.file_bytes / stats.events.max(1))).collect()
}

criterion_group!(writes, write);
criterion_group!(name = queries; config = Criterion::default().with_measurement(ThreadTime); targets = query);
criterion_main!(writes, queries);
