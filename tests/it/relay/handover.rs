//! From stored to live under concurrent publishing: whatever the moment of the REQ, every event comes exactly once.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Barrier;

use crate::support::client::Heard;
use crate::support::{Client, Event, Hearth, Key};

const PUBLISHERS: usize = 3;
const EVENTS_EACH: usize = 1_000;
const READERS: usize = 4;
const SUBSCRIPTIONS_EACH: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_gap_and_no_duplicate_while_others_publish() {
    let hearth = Hearth::with_config("[rates]\nenabled = false\n[limits]\noutbox_bytes = 268435456\n");
    let start = Arc::new(Barrier::new(PUBLISHERS + READERS));
    let mut all = Vec::new();
    let mut publishing = Vec::new();
    for number in 0..PUBLISHERS {
        let key = Key::seeded(1_000 + number as u64);
        let events: Vec<Event> = (0..EVENTS_EACH).map(|index| key.note(&format!("{number} {index}"))).collect();
        all.extend(events.iter().map(Event::json));
        publishing.push(tokio::spawn(publish(hearth.client().await, Arc::clone(&start), events)));
    }
    let mut reading = Vec::new();
    for _ in 0..READERS {
        reading.push(tokio::spawn(read(hearth.client().await, Arc::clone(&start))));
    }
    for task in publishing {
        task.await.unwrap();
    }
    all.sort();
    let mut before_eose = Vec::new();
    for task in reading {
        for (subscription, (stored, mut events)) in task.await.unwrap() {
            let received = events.len();
            events.sort();
            events.dedup();
            assert_eq!(events.len(), received, "{subscription}: duplicates, {stored} were stored");
            assert!(events == all, "{subscription}: {received} of {} events, {stored} of them before EOSE", all.len());
            before_eose.push(stored);
        }
    }
    before_eose.sort_unstable();
    println!("events before EOSE: {before_eose:?} of {}", all.len());
}

/// Publishes with a window of 50, waits for every OK.
async fn publish(mut client: Client, start: Arc<Barrier>, events: Vec<Event>) {
    start.wait().await;
    for batch in events.chunks(50) {
        for event in batch {
            client.feed(format!("[\"EVENT\",{}]", event.json())).await;
        }
        client.flush().await;
        for event in batch {
            assert!(client.verdict(&event.id).await.accepted);
        }
    }
}

/// Opens subscriptions one after the other while events come, and reads until each has had them all.
async fn read(mut client: Client, start: Arc<Barrier>) -> HashMap<String, (usize, Vec<String>)> {
    start.wait().await;
    let mut got: HashMap<String, (usize, Vec<String>)> = HashMap::new();
    let mut complete = 0;
    let open = |number: usize| json!(["REQ", format!("s{number}"), {"kinds": [1], "limit": 5_000}]);
    client.say(&open(0)).await;
    let mut opened = 1;
    while complete < SUBSCRIPTIONS_EACH {
        match client.next().await {
            Heard::Event(subscription, json) => {
                let (_, events) = got.entry(subscription).or_default();
                events.push(json);
                complete += usize::from(events.len() == PUBLISHERS * EVENTS_EACH);
            }
            Heard::Eose(subscription) => {
                let entry = got.entry(subscription).or_default();
                entry.0 = entry.1.len();
                if opened < SUBSCRIPTIONS_EACH {
                    client.say(&open(opened)).await;
                    opened += 1;
                }
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    // Whatever comes now is one too many.
    for heard in client.drain().await {
        if let Heard::Event(subscription, json) = heard {
            got.entry(subscription).or_default().1.push(json);
        }
    }
    got
}
