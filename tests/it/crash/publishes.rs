//! kill -9 in the middle of 10,000 publishes: every event that got OK true is there, byte for byte.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::Notify;

use crate::support::client::Heard;
use crate::support::{Client, Event, Hearth, Key};

const CONNECTIONS: usize = 8;
const EVENTS_EACH: usize = 1_250;
/// Events of one connection that are on their way at a time.
const WINDOW: usize = 64;
/// After so many OKs the server is killed.
const KILL_AFTER: usize = 4_000;
/// After so many nobody sends any more, however long it takes until the server is killed.
const STOP_AFTER: usize = 8_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_event_survives_byte_for_byte() {
    let mut hearth = Hearth::start();
    let batches: Vec<Vec<Event>> = (0..CONNECTIONS).map(make).collect();
    let all: Vec<Event> = batches.concat();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let enough = Arc::new(Notify::new());
    let mut publishing = Vec::new();
    for events in batches {
        let client = hearth.client().await;
        publishing.push(tokio::spawn(publish(client, events, Arc::clone(&acknowledged), Arc::clone(&enough))));
    }
    tokio::time::timeout(crate::support::PATIENCE, enough.notified()).await.expect("4,000 acknowledged in time");
    hearth.kill();
    let mut promised = HashSet::new();
    for task in publishing {
        promised.extend(task.await.unwrap());
    }
    assert!((KILL_AFTER..all.len()).contains(&promised.len()), "{} acknowledged", promised.len());

    hearth.launch();
    let mut client = hearth.client().await;
    let found = stored(&mut client, &all).await;
    let lost = all.iter().filter(|event| promised.contains(&event.id) && !found.contains(&event.json())).count();
    println!("{} acknowledged before the kill, {} found after it", promised.len(), found.len());
    assert_eq!(lost, 0, "acknowledged events are gone or changed");
    let published: HashSet<String> = all.iter().map(Event::json).collect();
    for json in &found {
        assert!(published.contains(json), "not what was published: {json}");
    }

    // The rest, and what is there already, is taken as if nothing had happened.
    for batch in all.chunks(500) {
        for event in batch {
            client.feed(format!("[\"EVENT\",{}]", event.json())).await;
        }
        client.flush().await;
        for event in batch {
            let verdict = client.verdict(&event.id).await;
            assert!(verdict.accepted, "{verdict:?}");
            assert_eq!(verdict.text.starts_with("duplicate: "), found.contains(&event.json()), "{verdict:?}");
        }
    }
    assert_eq!(stored(&mut client, &all).await.len(), all.len());
}

fn make(connection: usize) -> Vec<Event> {
    let key = Key::seeded(connection as u64);
    let content = |n: usize| format!("{connection} {n} \"\\\n\u{1}🔥 {}", "x".repeat(n % 700));
    (0..EVENTS_EACH).map(|n| key.event(1, &content(n), &[&["t", "crash"], &["n", &n.to_string()]])).collect()
}

/// Publishes with a window until the end or the kill; returns what was acknowledged.
async fn publish(mut client: Client, events: Vec<Event>, acknowledged: Arc<AtomicUsize>, enough: Arc<Notify>) -> Vec<String> {
    let mut ok = Vec::new();
    let mut sent = 0;
    while ok.len() < events.len() {
        while sent < events.len() && sent < ok.len() + WINDOW && acknowledged.load(Ordering::Relaxed) < STOP_AFTER {
            if client.try_send(format!("[\"EVENT\",{}]", events[sent].json())).await.is_err() {
                return drain(client, ok).await;
            }
            sent += 1;
        }
        match client.next().await {
            Heard::Ok(id, verdict) => {
                assert!(verdict.accepted, "{verdict:?}");
                ok.push(id);
                if acknowledged.fetch_add(1, Ordering::Relaxed) + 1 == KILL_AFTER {
                    enough.notify_one();
                }
            }
            Heard::Gone(..) => return ok,
            other => panic!("unexpected: {other:?}"),
        }
    }
    ok
}

/// What had been acknowledged before the end and was not read yet.
async fn drain(mut client: Client, mut ok: Vec<String>) -> Vec<String> {
    loop {
        match client.next().await {
            Heard::Ok(id, verdict) if verdict.accepted => ok.push(id),
            Heard::Gone(..) => return ok,
            other => panic!("unexpected: {other:?}"),
        }
    }
}

/// Everything of these events that is stored, as it is stored.
async fn stored(client: &mut Client, events: &[Event]) -> HashSet<String> {
    let mut found = HashSet::new();
    for batch in events.chunks(500) {
        let ids: Vec<&String> = batch.iter().map(|event| &event.id).collect();
        let batch = client.stored_json("found", &[json!({"ids": ids, "limit": 500})]).await;
        client.say(&json!(["CLOSE", "found"])).await;
        for json in batch {
            assert!(found.insert(json.clone()), "the same event twice: {json}");
        }
    }
    found
}
