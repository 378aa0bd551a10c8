//! Stored queries against the oracle: 10,000 random filters over random events, every answer compared id by id in order.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::support::client::{Heard, request};
use crate::support::oracle::{Memory, World, difference};
use crate::support::{Client, Hearth, now_s};

const EVENTS: usize = 2_500;
const FILTERS: usize = 10_000;
/// REQs on their way at a time on one connection.
const WINDOW: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_filters_answer_as_a_naive_scan_does() {
    let seed = std::env::var("SEED").ok().map_or(20_260_901, |seed| seed.parse().unwrap());
    println!("SEED={seed}, {EVENTS} events, {FILTERS} filters");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let hearth = Hearth::start();
    let mut world = World::new(30, 500, now_s() - 60);
    let mut memory = Memory::default();
    let mut client = hearth.client().await;
    fill(&mut client, &mut world, &mut memory, &mut rng).await;

    let mut asked = 0;
    let mut empty = 0;
    while asked < FILTERS {
        let questions: Vec<Vec<Value>> = (0..WINDOW).map(|_| world.filters(&mut rng)).collect();
        for (index, filters) in questions.iter().enumerate() {
            client.feed(request("REQ", &format!("q{index}"), filters).to_string()).await;
        }
        client.flush().await;
        for (index, filters) in questions.iter().enumerate() {
            let expected = memory.answer(filters);
            let found = ids(&client.until_eose(&format!("q{index}")).await);
            let filters = Value::Array(filters.clone());
            assert!(found == expected, "seed {seed}: {}\nfilters {filters}", difference(&found, &expected));
            empty += usize::from(expected.is_empty());
            asked += filters.as_array().unwrap().len();
        }
    }
    assert!(empty * 10 < FILTERS * 6, "{empty} of {asked} answers were empty: these filters show too little");
    for _ in 0..200 {
        let mut filters = world.filters(&mut rng);
        // NIP-45 says nothing of limits in COUNT.
        filters.iter_mut().for_each(|filter| drop(filter.as_object_mut().unwrap().remove("limit")));
        let expected = memory.count(&filters);
        assert_eq!(client.count(&filters).await, expected as u64, "seed {seed}, COUNT {}", Value::Array(filters));
    }
}

/// Publishes random events, some of them twice, in batches.
async fn fill(client: &mut Client, world: &mut World, memory: &mut Memory, rng: &mut ChaCha8Rng) {
    let mut events = Vec::new();
    for _ in 0..EVENTS {
        events.push(world.event(rng));
    }
    for batch in events.chunks(250) {
        for event in batch.iter().chain(&batch[..10]) {
            client.feed(format!("[\"EVENT\",{}]", event.json())).await;
            memory.take(event);
        }
        client.flush().await;
        for _ in 0..batch.len() + 10 {
            match client.next().await {
                Heard::Ok(_, verdict) => assert!(verdict.accepted || verdict.text.starts_with("duplicate:"), "{}", verdict.text),
                other => panic!("instead of OK: {other:?}"),
            }
        }
    }
}

fn ids(events: &[String]) -> Vec<String> {
    events.iter().map(|json| json["{\"id\":\"".len()..][..64].to_owned()).collect()
}
