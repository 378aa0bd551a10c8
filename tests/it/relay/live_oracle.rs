//! Live matching against the oracle: random subscriptions, random events, everybody gets exactly what matches, once.

use std::collections::HashMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::support::client::Heard;
use crate::support::oracle::{Memory, World, difference, matches};
use crate::support::{Hearth, now_s};

const EVENTS: usize = 1_000;
const CLIENTS: usize = 4;
const SUBSCRIPTIONS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_subscription_gets_exactly_what_matches() {
    let seed = std::env::var("SEED").ok().map_or(20_260_902, |seed| seed.parse().unwrap());
    println!("SEED={seed}, {EVENTS} events, {CLIENTS} x {SUBSCRIPTIONS} subscriptions");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let hearth = Hearth::with_config("[rates]\nenabled = false\n[limits]\noutbox_bytes = 67108864\n");
    let mut world = World::new(20, 400, now_s()).with_kinds(&[20_001, 20_001, 21_000, 29_999]);
    // Events first, so that filters by id and `#e` find something.
    let events: Vec<_> = (0..EVENTS).map(|_| world.event(&mut rng)).collect();

    let mut clients = Vec::new();
    let mut wanted: HashMap<(usize, String), Vec<Value>> = HashMap::new();
    for number in 0..CLIENTS {
        let mut client = hearth.client().await;
        for index in 0..SUBSCRIPTIONS {
            let subscription = format!("s{index}");
            let mut filters = world.filters(&mut rng);
            filters.iter_mut().for_each(|filter| filter["limit"] = json!(0));
            assert_eq!(client.stored_json(&subscription, &filters).await, Vec::<String>::new());
            wanted.insert((number, subscription), filters);
        }
        clients.push(client);
    }

    let mut publisher = hearth.client().await;
    let mut memory = Memory::default();
    let mut published = Vec::new();
    for some in events.chunks(100) {
        for event in some {
            let verdict = publisher.publish(event).await;
            assert!(verdict.accepted || verdict.text.starts_with("duplicate:"), "{}", verdict.text);
            if memory.take(event) {
                published.push(event);
            }
        }
        // Whoever does not answer pings for 90 s is cut off.
        for client in &mut clients {
            client.settle().await;
        }
    }
    let last = world.keys[0].event(1, "the last one", &[]);
    // By then everything about the last one is on its way: events are told one after the other.
    let bell = world.keys[0].event(1, "the bell", &[&["t", "the end"]]);
    for (number, client) in clients.iter_mut().enumerate() {
        client.stored_json("end", &[json!({"#t": ["the end"], "limit": 0})]).await;
        wanted.insert((number, "end".to_owned()), vec![json!({"ids": []})]);
    }
    publisher.accept(&last).await;
    publisher.accept(&bell).await;
    let bell = bell.json();

    for (number, client) in clients.iter_mut().enumerate() {
        client.live("end").await;
        let mut heard: HashMap<String, Vec<String>> = HashMap::new();
        for message in client.drain().await {
            match message {
                Heard::Event(_, json) if json == bell => {}
                Heard::Event(subscription, json) => heard.entry(subscription).or_default().push(json),
                other => panic!("unexpected: {other:?}"),
            }
        }
        for index in 0..SUBSCRIPTIONS {
            let subscription = format!("s{index}");
            let filters = &wanted[&(number, subscription.clone())];
            let expected =
                published.iter().copied().chain([&last]).filter(|event| filters.iter().any(|filter| matches(filter, event)));
            let mut expected: Vec<String> = expected.map(|event| event.json()).collect();
            let mut found = heard.remove(&subscription).unwrap_or_default();
            expected.sort();
            found.sort();
            assert!(found == expected, "seed {seed}: {}\nfilters {filters:?}", difference(&found, &expected));
        }
    }
}
