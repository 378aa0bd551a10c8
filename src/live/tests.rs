//! The index against the plain comparison of every filter with every event, and the outbox at its bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::fanout::{Live, LiveConfig};
use super::outbox::{Outbox, Outgoing, TotalBytes};
use super::recent::RecentLimits;
use super::subscription::{GateLimits, Subscription};
use super::testing::{key_hex, packed, signed};
use crate::base::clock::Clock;
use crate::protocol::event::Event;
use crate::protocol::filter::{Filter, SortedTags};
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
    let recent = RecentLimits { keep_ms: 60_000, bytes: 60_000, author_bytes: 60_000 };
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

#[test]
fn an_author_pushes_out_its_own_wallet_messages_only() {
    let recent = RecentLimits { keep_ms: 60_000, bytes: 100_000, author_bytes: 10_000 };
    let live = Live::new(&LiveConfig { recent, ..LiveConfig::default() }, Clock::manual(NOW * 1_000));
    let wallet = |author: u8, number: u32| packed(&signed(author, 23_195, NOW, &[["p", &key_hex(9)]], &number.to_string()));
    let quiet = wallet(1, 0);
    assert!(live.recent().keep(&quiet));
    let loud: Vec<Event> = (0..300).map(|number| wallet(2, number)).collect();
    assert!(loud.iter().all(|event| live.recent().keep(event)));
    assert!(live.recent().has(&quiet.id()));
    assert!(live.recent().has(&loud[299].id()) && !live.recent().has(&loud[0].id()));
    assert!(live.recent().bytes() <= 12_000, "{}", live.recent().bytes());
    let from =
        |author: u8| serde_json::from_value(serde_json::json!({"authors": [key_hex(author)], "#p": [key_hex(9)]})).unwrap();
    assert_eq!(live.recent().find(&from(1)), [quiet]);
    assert!((5..=10).contains(&live.recent().find(&from(2)).len()));
}

#[test]
fn a_filter_that_many_events_stand_under_looks_at_the_last_to_come_only() {
    let recent = RecentLimits { author_bytes: 1 << 30, bytes: 1 << 30, ..RecentLimits::default() };
    let live = Live::new(&LiveConfig { recent, ..LiveConfig::default() }, Clock::manual(NOW * 1_000));
    let me = key_hex(9);
    let early = packed(&signed(1, 23_195, NOW, &[["p", &me], ["t", "x"]], "early"));
    live.recent().keep(&early);
    for number in 0..2_048 {
        live.recent().keep(&packed(&signed(2, 23_195, NOW, &[["p", &me]], &number.to_string())));
    }
    let find = |filter: serde_json::Value| live.recent().find(&serde_json::from_value(filter).unwrap());
    assert!(find(serde_json::json!({"#p": [me], "#t": ["x"]})).is_empty(), "2048 came later");
    assert_eq!(find(serde_json::json!({"#p": [me], "authors": [key_hex(1)]})), [early], "the list with fewer is walked");
}

#[test]
fn a_filter_is_compared_once_with_an_event_that_finds_it_under_many_values() {
    let values = |from: u32, to: u32| (from..to).map(|number| format!("v{number}")).collect::<Vec<_>>();
    let live = Live::new(&LiveConfig::default(), Clock::manual(NOW * 1_000));
    let outbox = Outbox::new(1 << 20, TotalBytes::new(usize::MAX));
    let filter = |a: &[String]| -> Filter { serde_json::from_value(serde_json::json!({"#a": a, "#b": values(0, 400)})).unwrap() };
    let filters: Arc<[Filter]> = [filter(&["none".to_owned()]), filter(&["v7".to_owned()])].into();
    let by_many: Arc<[Filter]> =
        [serde_json::from_value(serde_json::json!({"#b": values(0, 300), "#a": values(0, 301)})).unwrap()].into();
    live.subscribe("few", filters, Arc::clone(&outbox));
    live.subscribe("many", by_many, Arc::clone(&outbox));
    let tags: Vec<[String; 2]> =
        values(0, 600).into_iter().map(|value| ["b".to_owned(), value]).chain([["a".to_owned(), "v7".to_owned()]]).collect();
    let event = packed(&signed(1, 1, NOW, &tags, ""));
    assert_eq!(live.comparisons(&event), 2, "one of the two that are filed under a value of #a, and the other subscription's");
    assert_eq!(live.publish(1, &event), 2);
}

#[test]
fn sorted_tags_match_what_unsorted_ones_match() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut matched = 0;
    for _ in 0..2_000 {
        let letters = ["a", "b", "c"];
        let mut tags = vec![["p".to_owned(), key_hex(rng.random_range(0..4))]];
        for _ in 0..rng.random_range(0..30) {
            tags.push([(*letters.choose(&mut rng).unwrap()).to_owned(), rng.random_range(0..40).to_string()]);
        }
        let event = packed(&signed(1, 1, NOW, &tags, ""));
        let mut filter = serde_json::Map::new();
        for letter in letters.iter().filter(|_| rng.random_bool(0.5)).collect::<Vec<_>>() {
            let wanted: Vec<String> = (0..rng.random_range(1..50)).map(|_| rng.random_range(0..400).to_string()).collect();
            filter.insert(format!("#{letter}"), wanted.into());
        }
        if rng.random_bool(0.3) {
            filter.insert("#p".into(), vec![key_hex(rng.random_range(0..4)), key_hex(9)].into());
        }
        let filter: Filter = serde_json::from_value(filter.into()).unwrap();
        let sorted = filter.matches_sorted(event.view(), &SortedTags::of(event.view()));
        assert_eq!(sorted, filter.matches(event.view()), "{filter:?} {event:?}");
        matched += usize::from(sorted);
    }
    assert!((200..1_800).contains(&matched), "{matched}");
}

#[test]
fn closed_gates_of_a_connection_hold_no_more_than_its_bound_and_what_all_have_room_for() {
    let event = |number: u32| packed(&signed::<&[&str], _>(1, 1, NOW, &[], &format!("{number}{}", "x".repeat(10_000))));
    let waiting = |max_bytes: usize, total: &Arc<TotalBytes>| {
        let live = Live::new(&LiveConfig::default(), Clock::manual(NOW * 1_000));
        let outbox = Outbox::new(max_bytes, Arc::clone(total));
        let open: Vec<_> =
            (0..40).map(|at| live.subscribe(&at.to_string(), Arc::from([Filter::default()]), Arc::clone(&outbox))).collect();
        for number in 0..40 {
            live.publish(u64::from(number) + 1, &event(number));
        }
        let alive = open.iter().filter(|subscription| subscription.is_alive()).count();
        assert_eq!(alive, live.subscriptions());
        let mut told = Vec::new();
        outbox.pop_batch(usize::MAX, &mut told);
        assert_eq!(told.len(), 40 - alive, "each that is over is told so, and the connection goes on");
        assert!(!outbox.is_closing());
        (live, outbox, open, alive)
    };
    let roomy = TotalBytes::new(usize::MAX);
    let (live, _, open, alive) = waiting(1_000_000, &roomy);
    assert!(alive < 3 && roomy.used() <= 1_000_000, "{alive} of 40 hold {}", roomy.used());
    let small = TotalBytes::new(200_000);
    let (crowded, ..) = waiting(100_000_000, &small);
    assert!(small.used() <= 200_000, "{}", small.used());
    open.iter().for_each(|subscription| live.unsubscribe(subscription));
    assert_eq!((roomy.used(), live.index_size()), (0, (0, 0)));
    drop(crowded);
}

#[test]
fn a_lost_subscription_is_told_so_before_its_id_is_free_again() {
    let live = Live::new(&LiveConfig { gate: GateLimits { events: 0, bytes: 0 }, ..LiveConfig::default() }, Clock::manual(0));
    let outbox = Outbox::new(1 << 30, TotalBytes::new(usize::MAX));
    let event = packed(&signed::<&[&str], _>(1, 1, NOW, &[], ""));
    let (rounds, is_over) = (20_000, AtomicBool::new(false));
    std::thread::scope(|scope| {
        let publisher = live.clone();
        let is_over = &is_over;
        scope.spawn(move || {
            for seq in (1..).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                publisher.publish(seq, &event);
            }
        });
        for round in 0..rounds {
            let subscription = live.subscribe("s", Arc::from([Filter::default()]), Arc::clone(&outbox));
            std::hint::spin_loop();
            live.unsubscribe(&subscription);
            outbox.push_text(format!("after {round}"));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let mut out = Vec::new();
    outbox.pop_batch(usize::MAX, &mut out);
    let texts: Vec<String> =
        out.iter().map(|frame| if let Outgoing::Text(text) = frame { text.to_string() } else { String::new() }).collect();
    let mut closed = 0;
    for text in &texts {
        if text.starts_with("after") {
            closed = 0;
        } else {
            closed += 1;
            assert_eq!(closed, 1, "two CLOSED of one id without its replacement in between");
        }
    }
    assert!(texts.len() >= 20_000, "{} texts", texts.len());
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
