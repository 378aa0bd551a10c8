//! The index against the plain comparison of every filter with every event, and the outbox at its bounds.

use std::sync::Arc;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::fanout::{Live, LiveConfig};
use super::outbox::{Outbox, Outgoing, TotalBytes};
use super::recent::RecentLimits;
use super::subscription::Subscription;
use super::testing::{key_hex, packed, signed};
use crate::base::clock::Clock;
use crate::protocol::event::Event;
use crate::protocol::filter::Filter;
use crate::protocol::kind;

const NOW: u64 = 1_700_000_000;
const KINDS: [u16; 8] = [0, 1, 3, 7, 1_059, 13_194, 20_001, 23_195];
const TOPICS: [&str; 4] = ["nostr", "a", "", "A"];

fn random_event(rng: &mut ChaCha8Rng, ids: &[String]) -> Event {
    let mut tags: Vec<[String; 2]> = Vec::new();
    for _ in 0..rng.random_range(0..4) {
        tags.push(match rng.random_range(0..4) {
            0 => ["p".into(), key_hex(rng.random_range(0..6))],
            1 => ["e".into(), ids.choose(rng).cloned().unwrap_or_else(|| "0".repeat(64))],
            2 => ["t".into(), (*TOPICS.choose(rng).unwrap()).into()],
            _ => ["T".into(), key_hex(rng.random_range(0..6))],
        });
    }
    let (author, kind) = (rng.random_range(0..6), *KINDS.choose(rng).unwrap());
    let created_at = NOW + rng.random_range(0..20);
    packed(&signed(author, kind, created_at, &tags, &rng.random::<u64>().to_string()))
}

fn random_filter(rng: &mut ChaCha8Rng, ids: &[String]) -> Filter {
    let mut filter = serde_json::Map::new();
    let several = |rng: &mut ChaCha8Rng, of: &mut dyn FnMut(&mut ChaCha8Rng) -> serde_json::Value| {
        let count = rng.random_range(0..4);
        serde_json::Value::Array((0..count).map(|_| of(rng)).collect())
    };
    for _ in 0..rng.random_range(0..3) {
        let (key, value) = match rng.random_range(0..9) {
            0 => ("kinds", several(rng, &mut |rng| (*KINDS.choose(rng).unwrap()).into())),
            1 => ("authors", several(rng, &mut |rng| key_hex(rng.random_range(0..6)).into())),
            2 => ("ids", several(rng, &mut |rng| ids.choose(rng).cloned().unwrap_or_else(|| "1".repeat(64)).into())),
            3 => ("#p", several(rng, &mut |rng| key_hex(rng.random_range(0..6)).into())),
            4 => ("#e", several(rng, &mut |rng| ids.choose(rng).cloned().unwrap_or_else(|| "2".repeat(64)).into())),
            5 => ("#t", several(rng, &mut |rng| (*TOPICS.choose(rng).unwrap()).into())),
            6 => ("#T", several(rng, &mut |rng| key_hex(rng.random_range(0..6)).into())),
            7 => ("since", (NOW + rng.random_range(0..20)).into()),
            _ => ("until", (NOW + rng.random_range(0..20)).into()),
        };
        filter.insert(key.to_owned(), value);
    }
    serde_json::from_value(serde_json::Value::Object(filter)).unwrap()
}

struct Listener {
    filters: Arc<[Filter]>,
    outbox: Arc<Outbox>,
    subscription: Arc<Subscription>,
}

impl Listener {
    fn should_get(&self, event: &Event) -> bool {
        let is_wallet = kind::is_wallet(event.kind());
        self.filters.iter().any(|filter| filter.matches(event.view()) && (!is_wallet || filter.names_someone()))
    }

    fn got(&self) -> usize {
        let mut out = Vec::new();
        self.outbox.pop_batch(usize::MAX, &mut out);
        out.len()
    }
}

#[test]
fn the_index_finds_exactly_what_comparing_everything_finds() {
    for seed in 0..4 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let live = Live::new(&LiveConfig::default(), Clock::manual(NOW * 1_000));
        let total = TotalBytes::new(usize::MAX);
        let mut listeners: Vec<Listener> = Vec::new();
        let mut ids: Vec<String> = Vec::new();
        let mut matched = 0;
        for round in 0..1_500 {
            for _ in 0..rng.random_range(0..3) {
                let filters: Arc<[Filter]> = (0..rng.random_range(1..4)).map(|_| random_filter(&mut rng, &ids)).collect();
                let outbox = Outbox::new(1 << 20, Arc::clone(&total));
                let subscription = live.subscribe("s", Arc::clone(&filters), Arc::clone(&outbox));
                live.open_gate(&subscription, 0, Vec::new());
                listeners.push(Listener { filters, outbox, subscription });
            }
            while listeners.len() > 200 || (!listeners.is_empty() && rng.random_bool(0.4)) {
                let gone = listeners.swap_remove(rng.random_range(0..listeners.len()));
                live.unsubscribe(&gone.subscription);
                live.unsubscribe(&gone.subscription);
            }
            let event = random_event(&mut rng, &ids);
            ids.push(event.id().to_string());
            let receivers = live.publish(round + 1, &event);
            let expected = listeners.iter().filter(|listener| listener.should_get(&event)).count();
            assert_eq!(receivers, expected, "seed {seed}, round {round}");
            for listener in &listeners {
                let got = listener.got();
                assert_eq!(got, usize::from(listener.should_get(&event)), "{:?} and {event:?}", listener.filters);
                matched += got;
            }
            assert_eq!(live.subscriptions(), listeners.len());
        }
        assert!(matched > 5_000, "seed {seed}: {matched} matches");
        listeners.drain(..).for_each(|listener| live.unsubscribe(&listener.subscription));
        assert_eq!(live.index_size(), (0, 0));
        assert_eq!(total.used(), 0);
    }
}

#[test]
fn subscribing_and_publishing_from_many_threads_leaves_a_clean_index() {
    let live = Live::new(&LiveConfig::default(), Clock::manual(NOW * 1_000));
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let events: Vec<Event> = (0..50).map(|_| random_event(&mut rng, &[])).collect();
    let total = TotalBytes::new(usize::MAX);
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let (live, total) = (&live, &total);
            scope.spawn(move || {
                let mut rng = ChaCha8Rng::seed_from_u64(100 + seed);
                // Small enough that gates overflow and slow readers are given up while others publish.
                let outbox = Outbox::new(4_096, Arc::clone(total));
                for round in 0..2_000 {
                    let filters: Arc<[Filter]> = (0..2).map(|_| random_filter(&mut rng, &[])).collect();
                    let subscription = live.subscribe("s", filters, Arc::clone(&outbox));
                    if round % 2 == 0 {
                        live.open_gate(&subscription, 0, Vec::new());
                    }
                    live.unsubscribe(&subscription);
                }
                outbox.end();
            });
        }
        for _ in 0..2 {
            scope.spawn(|| (0..4_000_u64).zip(events.iter().cycle()).map(|(seq, event)| live.publish(seq, event)).sum::<usize>());
        }
    });
    assert_eq!((live.subscriptions(), live.index_size(), total.used()), (0, (0, 0), 0));
}

#[test]
fn the_memory_of_wallet_messages_is_bounded_and_finds_what_comparing_everything_finds() {
    let clock = Clock::manual(NOW * 1_000);
    let recent = RecentLimits { keep_ms: 60_000, bytes: 60_000 };
    let live = Live::new(&LiveConfig { recent, ..LiveConfig::default() }, clock.clone());
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut all: Vec<Event> = Vec::new();
    let mut found_some = 0;
    for round in 0..600 {
        let event = loop {
            let event = random_event(&mut rng, &[]);
            if event.kind() == 23_195 {
                break event;
            }
        };
        assert!(live.recent().keep(&event));
        assert!(!live.recent().keep(&event) && live.recent().has(&event.id()));
        all.push(event);
        assert!(live.recent().bytes() <= 60_000);
        let known: Vec<&Event> = all.iter().rev().take_while(|event| live.recent().has(&event.id())).collect();
        assert!(all.iter().filter(|event| live.recent().has(&event.id())).count() == known.len(), "the oldest go first");
        let filter = random_filter(&mut rng, &[]);
        let mut expected: Vec<_> = known.iter().filter(|event| filter.matches(event.view())).collect();
        expected.sort_by_key(|event| (std::cmp::Reverse(event.created_at()), event.id()));
        let mut expected: Vec<_> = expected.iter().map(|event| event.id()).collect();
        if !filter.names_someone() {
            expected.clear();
        }
        let found: Vec<_> = live.recent().find(&filter).iter().map(Event::id).collect();
        assert_eq!(found, expected, "round {round}: {filter:?}");
        found_some += usize::from(!found.is_empty());
    }
    assert!(found_some > 20);
    clock.set_ms(NOW * 1_000 + 60_000);
    let anyone: Filter = serde_json::from_value(serde_json::json!({"authors": (0..6).map(key_hex).collect::<Vec<_>>()})).unwrap();
    assert!(live.recent().find(&anyone).is_empty());
    assert_eq!(live.recent().bytes(), 0);
}

#[tokio::test]
async fn the_outbox_wakes_its_reader_and_keeps_order() {
    let outbox = Outbox::new(1_000, TotalBytes::new(10_000));
    let reader = {
        let outbox = Arc::clone(&outbox);
        tokio::spawn(async move {
            let mut out = Vec::new();
            while !matches!(out.last(), Some(Outgoing::Close(..))) {
                outbox.ready().await;
                outbox.pop_batch(100, &mut out);
            }
            out
        })
    };
    for number in 0..5 {
        outbox.push_text(number.to_string());
        tokio::task::yield_now().await;
    }
    outbox.close(1_000, "bye");
    outbox.close(1_001, "too late");
    outbox.push_text("after the end".into());
    let shown = |outgoing: Outgoing| match outgoing {
        Outgoing::Text(text) => text.to_string(),
        Outgoing::Close(code, words) => format!("close {code} {words}"),
    };
    let frames: Vec<String> = reader.await.unwrap().into_iter().map(shown).collect();
    assert_eq!(frames, ["0", "1", "2", "3", "4", "close 1000 bye"]);
    assert!(outbox.is_closing() && outbox.is_idle());
}

#[test]
fn a_full_house_does_not_starve_a_connection_that_reads() {
    let total = TotalBytes::new(50_000);
    let hoarder = Outbox::new(1 << 20, Arc::clone(&total));
    while total.used() < 60_000 {
        hoarder.push_text("x".repeat(1_000));
    }
    assert!(!hoarder.has_room());
    let reader = Outbox::new(1 << 20, Arc::clone(&total));
    assert!(reader.has_room());
    let live = Live::new(&LiveConfig::default(), Clock::manual(NOW * 1_000));
    let subscription = live.subscribe("s", Arc::from([Filter::default()]), Arc::clone(&reader));
    live.open_gate(&subscription, 0, Vec::new());
    let event = random_event(&mut ChaCha8Rng::seed_from_u64(1), &[]);
    assert!(!kind::is_wallet(event.kind()));
    assert_eq!(live.publish(1, &event), 1);
    hoarder.end();
    assert!(hoarder.is_closing() && total.used() == 0, "what a reader holds within its floor is not counted");
    drop((hoarder, reader));
}
