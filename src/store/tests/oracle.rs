//! Ten thousand random queries against the model, event by event in order; and every query stopped everywhere.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::model;
use super::support::{append_all, deletion, event, event_of, filter, key, open, open_with, query};
use crate::base::hex32::Hex32;
use crate::protocol::event::Event;
use crate::protocol::filter::Filter;
use crate::store::{Config, Count, ScanLimits, Step, Store};

const KINDS: [u16; 10] = [0, 1, 3, 6, 7, 1_059, 10_002, 13_194, 30_000, 30_023];
const TIMES: [u64; 6] = [0, 1, 999, 1_000, u64::MAX - 1, u64::MAX];
const TOPICS: [&str; 5] = ["nostr", "", "a:b", "ü", "zap"];
const AUTHORS: u64 = 40;

fn time(rng: &mut ChaCha8Rng) -> u64 {
    if rng.random_ratio(1, 20) { *TIMES.choose(rng).unwrap() } else { rng.random_range(900..1_100) }
}

fn tag(rng: &mut ChaCha8Rng, earlier: &[Event]) -> Vec<String> {
    let (name, value) = match rng.random_range(0..6) {
        0 => ("p", key(rng.random_range(0..AUTHORS)).to_string()),
        1 if !earlier.is_empty() => ("e", earlier.choose(rng).unwrap().id().to_string()),
        2 => ("d", (*TOPICS.choose(rng).unwrap()).to_owned()),
        3 => ("d", key(1).to_string()),
        _ => ("t", (*TOPICS.choose(rng).unwrap()).to_owned()),
    };
    vec![name.to_owned(), value]
}

fn random_event(rng: &mut ChaCha8Rng, earlier: &[Event]) -> Event {
    // A few authors write most.
    let author = rng.random_range(0..AUTHORS).min(rng.random_range(0..AUTHORS));
    if rng.random_ratio(1, 40) && !earlier.is_empty() {
        return deletion(author, time(rng), &[("e", earlier.choose(rng).unwrap().id().to_string())]);
    }
    let tags: Vec<_> = (0..rng.random_range(0..5)).map(|_| tag(rng, earlier)).collect();
    event_of(key(author), *KINDS.choose(rng).unwrap(), time(rng), &tags, &rng.random::<u32>().to_string())
}

fn some<T>(rng: &mut ChaCha8Rng, mut one: impl FnMut(&mut ChaCha8Rng) -> T) -> Vec<T> {
    let most = if rng.random_ratio(1, 4) { 30 } else { 3 };
    (0..rng.random_range(1..=most)).map(|_| one(rng)).collect()
}

fn random_filter(rng: &mut ChaCha8Rng, events: &[Event]) -> Filter {
    let mut json = serde_json::Map::new();
    let mut set = |key: &str, value: serde_json::Value| drop(json.insert(key.to_owned(), value));
    if rng.random_ratio(1, 8) {
        let ids = some(rng, |rng| if rng.random_ratio(1, 9) { Hex32([7; 32]) } else { events.choose(rng).unwrap().id() });
        set("ids", serde_json::json!(ids));
    }
    if rng.random_ratio(2, 5) {
        set("authors", serde_json::json!(some(rng, |rng| key(rng.random_range(0..AUTHORS + 2)))));
    }
    if rng.random_ratio(1, 2) {
        set("kinds", serde_json::json!(some(rng, |rng| *KINDS.choose(rng).unwrap())));
    }
    for name in ["p", "e", "d", "t"] {
        if rng.random_ratio(1, 6) {
            let value = |rng: &mut ChaCha8Rng| match name {
                "p" => key(rng.random_range(0..AUTHORS)).to_string(),
                "e" => events.choose(rng).unwrap().id().to_string(),
                "d" if rng.random_ratio(1, 4) => key(1).to_string(),
                _ => (*TOPICS.choose(rng).unwrap()).to_owned(),
            };
            set(&format!("#{name}"), serde_json::json!(some(rng, value)));
        }
    }
    if rng.random_ratio(1, 4) {
        set("since", serde_json::json!(time(rng)));
    }
    if rng.random_ratio(1, 4) {
        set("until", serde_json::json!(time(rng)));
    }
    if rng.random_ratio(2, 3) {
        set("limit", serde_json::json!(rng.random_range(0..40_u64).pow(2)));
    }
    let filter: Filter = serde_json::from_value(json.into()).unwrap();
    Filter { hides_wallet: rng.random_ratio(1, 4), ..filter }
}

/// Events in a store and, in order, in a list.
fn fill(store: &Store, rng: &mut ChaCha8Rng, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        let event = random_event(rng, &events);
        events.push(event);
    }
    for chunk in events.chunks(300) {
        append_all(store, chunk);
    }
    model::stored(&events)
}

fn seeded() -> (u64, ChaCha8Rng) {
    let seed = std::env::var("HEARTH_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| rand::rng().random());
    println!("HEARTH_TEST_SEED={seed}");
    (seed, ChaCha8Rng::seed_from_u64(seed))
}

#[test]
fn ten_thousand_queries_answer_as_the_model_does() {
    let (seed, mut rng) = seeded();
    let dir = tempfile::tempdir().unwrap();
    // So little memory that most events come from the files.
    let (store, _) = open_with(dir.path(), &Config { hot_bytes: 64 << 10, ..Config::default() });
    let stored = fill(&store, &mut rng, 2_500);
    let limits = ScanLimits::default();
    let mut filters_left = 10_000_i32;
    let mut flushed = false;
    while filters_left > 0 {
        if filters_left < 5_000 && !flushed {
            store.0.core.db.flush().unwrap();
            flushed = true;
        }
        let several = if rng.random_ratio(1, 3) { rng.random_range(2..6) } else { 1 };
        let filters: Vec<_> = (0..several).map(|_| random_filter(&mut rng, &stored)).collect();
        filters_left -= several;
        let expected = model::answer(&stored, &filters, &limits);
        let found = query(&store, &filters);
        assert_eq!(found, expected, "seed {seed}, filters {filters:?}");
        let expected = model::count(&stored, &filters);
        let counted = store.count(&filters, 1_000).unwrap();
        assert_eq!(
            counted,
            Count { count: expected.min(1_000), approximate: expected > 1_000 },
            "seed {seed}, filters {filters:?}"
        );
    }
}

/// Runs a query in slices that are over before they start, pausing after each `pause` events.
fn piecewise(store: &Store, filters: &[Filter], pause: usize, mut between: impl FnMut()) -> Vec<Event> {
    let mut scan = store.scan(Arc::from(filters), &ScanLimits::default()).unwrap();
    let mut found = Vec::new();
    let past = Instant::now();
    loop {
        let mut left = pause;
        let mut emit = |event| {
            found.push(event);
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match scan.run(past, &mut emit).unwrap() {
            Step::Done => return found,
            Step::More => between(),
        }
    }
}

#[test]
fn a_query_may_stop_anywhere() {
    let (seed, mut rng) = seeded();
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let stored = fill(&store, &mut rng, 800);
    for round in 0..400 {
        let filters: Vec<_> = (0..rng.random_range(1..4)).map(|_| random_filter(&mut rng, &stored)).collect();
        let whole = query(&store, &filters);
        for pause in [1, 2, rng.random_range(1..50)] {
            assert_eq!(piecewise(&store, &filters, pause, || {}), whole, "seed {seed}, round {round}, {filters:?}");
        }
    }
}

#[test]
fn a_query_answers_from_the_moment_it_was_made() {
    let (seed, mut rng) = seeded();
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let stored = fill(&store, &mut rng, 400);
    let everything = [filter(r#"{"limit":5000}"#)];
    let mut round = 0;
    let found = piecewise(&store, &everything, 20, || {
        round += 1;
        let gone = stored.choose(&mut rng).unwrap();
        let author = (0..AUTHORS).find(|number| key(*number) == gone.pubkey()).unwrap();
        append_all(
            &store,
            &[
                deletion(author, 2_000 + round, &[("e", gone.id().to_string())]),
                event(author, 0, 2_000 + round, &[], "a newer profile"),
            ],
        );
    });
    assert!(round > 10);
    assert_eq!(found, stored, "seed {seed}");
}

/// What a live subscription relies on: the number that a scan says and what it sees belong to one moment, whatever is written
/// and replaced at the same time.
#[test]
fn a_scan_sees_exactly_what_is_there_at_the_number_it_says() {
    const VERSIONS: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    append_all(&store, &[event(1, 0, 100, &[], "")]);
    let scan = |store: &Store| {
        let mut scan = store.scan(Arc::from([filter(r#"{"kinds":[0]}"#)]), &ScanLimits::default()).unwrap();
        let mut found = Vec::new();
        let mut emit = |event: Event| {
            found.push(event.created_at());
            ControlFlow::Continue(())
        };
        assert_eq!(scan.run(Instant::now() + Duration::from_secs(9), &mut emit).unwrap(), Step::Done);
        (scan.at_seq(), found)
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 1..VERSIONS {
                append_all(&store, &[event(1, 0, 100 + number, &[], "")]);
            }
        });
        while !writer.is_finished() {
            let (at_seq, found) = scan(&store);
            assert_eq!(found, [100 + at_seq - 1], "one version, that of the number");
        }
    });
    assert_eq!(scan(&store), (VERSIONS, vec![100 + VERSIONS - 1]));
}

/// Two thousand authors of whom few write: the probe ends without an answer and the ranges go on behind it.
#[test]
fn a_feed_of_many_authors_crosses_the_seam_between_probe_and_ranges() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut events = Vec::new();
    for number in 0..4_000_u64 {
        // Mostly strangers; every fortieth event is of the feed.
        let author = if number % 40 == 0 { number % 37 } else { 5_000 + number % 11 };
        events.push(event(author, if number % 3 == 0 { 6 } else { 1 }, 1_000 + number / 5, &[], &number.to_string()));
    }
    events.chunks(500).for_each(|chunk| drop(append_all(&store, chunk)));
    let stored = model::in_order(events);
    let authors: Vec<_> = (0..2_000).map(key).collect();
    for limit in [1, 20, 90, 5_000] {
        for kinds in [serde_json::json!([1, 6]), serde_json::json!([6]), serde_json::Value::Null] {
            let mut json = serde_json::json!({ "authors": authors, "limit": limit });
            if !kinds.is_null() {
                json["kinds"] = kinds.clone();
            }
            let filters = [serde_json::from_value(json).unwrap()];
            let expected = model::answer(&stored, &filters, &ScanLimits::default());
            assert_eq!(query(&store, &filters), expected, "limit {limit}, kinds {kinds}");
            assert_eq!(piecewise(&store, &filters, 7, || {}), expected, "limit {limit}, kinds {kinds}, in pieces");
        }
    }
}
