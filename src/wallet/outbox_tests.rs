//! The outbox by the filter shapes of deployed clients (wallet.md 5.8), by time and by space.

use secp256k1::{Keypair, SECP256K1};

use super::*;
use crate::protocol::event::EventRef;
use crate::wallet::wire::sign::{Nonce, Unsigned, public_key, sign};

const MINUTE_MS: u64 = 60_000;
const NOW_S: u64 = 1_800_000_000;

fn keypair(byte: u8) -> Keypair {
    Keypair::from_seckey_slice(SECP256K1, &[byte; 32]).unwrap()
}

fn hex(byte: u8) -> String {
    PublicKey::from([byte; 32]).to_string()
}

/// An answer of wallet `wallet` to client `client` for request `request`.
fn answer(wallet: u8, client: u8, request: u8, created_at: u64) -> Event {
    let (client, request) = (hex(client), hex(request));
    let tags: &[&[&str]] = &[&["p", &client], &["e", &request]];
    let unsigned = Unsigned { kind: 23_195, created_at, tags, content: "sealed" };
    sign(&keypair(wallet), &unsigned, Nonce::Same).unwrap()
}

fn id(byte: u8) -> EventId {
    EventId::from([byte; 32])
}

fn key(byte: u8) -> RequestKey {
    RequestKey { event: id(byte), item: 0 }
}

fn filter(json: &str) -> Filter {
    serde_json::from_str(json).unwrap()
}

fn author(wallet: u8) -> String {
    public_key(&keypair(wallet)).to_string()
}

fn recall(outbox: &Outbox, json: &str) -> Vec<EventId> {
    outbox.recall(&filter(json), 0).iter().map(Event::id).collect()
}

#[test]
fn every_shape_of_filter_that_clients_send_finds_the_answer() {
    let outbox = Outbox::new(Config::default());
    let mine = answer(1, 11, 21, NOW_S);
    outbox.keep(key(21), mine.clone(), 0);
    outbox.keep(key(22), answer(2, 12, 22, NOW_S), 0);
    let (wallet, client, request) = (author(1), hex(11), hex(21));
    let since = NOW_S - 60;
    let shapes = [
        format!(r##"{{"kinds":[23195],"authors":["{wallet}"],"#e":["{request}"]}}"##),
        format!(r##"{{"kinds":[23195],"#e":["{request}"],"#p":["{client}"]}}"##),
        format!(r##"{{"kinds":[23195],"#e":["{request}"],"#p":["{client}"],"authors":["{wallet}"]}}"##),
        format!(r##"{{"kinds":[23195],"#e":["{request}"],"limit":1}}"##),
        format!(r##"{{"kinds":[23195],"limit":1,"#e":["{request}"],"#p":["{client}"]}}"##),
        format!(r##"{{"kinds":[23195],"authors":["{wallet}"],"since":{since}}}"##),
        format!(r##"{{"authors":["{wallet}"]}}"##),
        format!(r##"{{"#e":["{request}"]}}"##),
        format!(r##"{{"#p":["{client}"]}}"##),
        format!(r##"{{"authors":["{wallet}"],"#p":["{client}"],"limit":5}}"##),
        format!(r##"{{"kinds":[23195,23196,23197],"authors":["{wallet}"],"#p":["{client}"]}}"##),
        format!(r##"{{"ids":["{}"]}}"##, mine.id()),
    ];
    for shape in shapes {
        assert_eq!(recall(&outbox, &shape), [mine.id()], "{shape}");
    }
}

#[test]
fn nobody_sees_what_he_does_not_name() {
    let outbox = Outbox::new(Config::default());
    outbox.keep(key(21), answer(1, 11, 21, NOW_S), 0);
    let (wallet, client, request) = (author(1), hex(11), hex(21));
    let after = NOW_S + 1;
    let shapes = [
        "{}".to_owned(),
        r#"{"kinds":[23195]}"#.to_owned(),
        r#"{"kinds":[23195],"since":0,"limit":500}"#.to_owned(),
        format!(r##"{{"authors":["{wallet}"],"limit":0}}"##),
        format!(r##"{{"kinds":[1],"authors":["{wallet}"]}}"##),
        format!(r##"{{"authors":["{wallet}"],"since":{after}}}"##),
        format!(r##"{{"authors":["{}"],"#e":["{request}"]}}"##, author(2)),
        format!(r##"{{"#p":["{}"],"#e":["{request}"]}}"##, hex(12)),
        format!(r##"{{"#p":["{client}"],"#t":["x"]}}"##),
        r##"{"#e":[]}"##.to_owned(),
    ];
    for shape in shapes {
        assert!(recall(&outbox, &shape).is_empty(), "{shape}");
    }
}

#[test]
fn several_answers_come_newest_first_and_at_most_as_many_as_asked_for() {
    let outbox = Outbox::new(Config::default());
    let answers: Vec<Event> = (0..5).map(|n| answer(1, 11, 20 + n, NOW_S + u64::from(n))).collect();
    for (n, event) in answers.iter().enumerate() {
        outbox.keep(key(20 + u8::try_from(n).unwrap()), event.clone(), 0);
    }
    let wallet = author(1);
    let newest = recall(&outbox, &format!(r##"{{"authors":["{wallet}"],"limit":2}}"##));
    assert_eq!(newest, [answers[4].id(), answers[3].id()]);
    assert_eq!(recall(&outbox, &format!(r##"{{"authors":["{wallet}"]}}"##)).len(), 5);
}

#[test]
fn delivered_answers_stay_ten_minutes_and_others_a_day() {
    let outbox = Outbox::new(Config::default());
    let (got, missed) = (answer(1, 11, 21, NOW_S), answer(1, 11, 22, NOW_S));
    outbox.keep(key(21), got.clone(), 0);
    outbox.keep(key(22), missed, 0);
    outbox.delivered(&got.id(), MINUTE_MS);
    outbox.delivered(&got.id(), 5 * MINUTE_MS);
    assert_eq!(outbox.waiting(&got.pubkey()), 1);
    outbox.sweep(11 * MINUTE_MS - 1);
    assert!(outbox.knows(&id(21)));
    outbox.sweep(11 * MINUTE_MS);
    assert!(!outbox.knows(&id(21)) && outbox.knows(&id(22)));
    outbox.sweep(24 * 60 * MINUTE_MS);
    assert_eq!(outbox.size(), (0, 0));
    let inner = outbox.inner.lock();
    assert!(inner.by_wallet.is_empty() && inner.by_client.is_empty() && inner.by_request.is_empty());
    assert!(inner.by_bytes.is_empty());
    assert!(inner.delivered.is_empty() && inner.undelivered.is_empty());
}

#[test]
fn whoever_finds_an_answer_has_not_got_it_yet() {
    let outbox = Outbox::new(Config::default());
    let event = answer(1, 11, 21, NOW_S);
    outbox.keep(key(21), event.clone(), 0);
    recall(&outbox, &format!(r##"{{"authors":["{}"]}}"##, author(1)));
    assert_eq!(outbox.waiting(&event.pubkey()), 1);
    recall(&outbox, &format!(r##"{{"#e":["{}"]}}"##, hex(21)));
    assert_eq!(outbox.waiting(&event.pubkey()), 1);
    outbox.delivered(&event.id(), 0);
    assert_eq!(outbox.waiting(&event.pubkey()), 0);
}

#[test]
fn a_request_is_in_hand_once_then_answered_with_the_same_bytes_once_a_second() {
    let outbox = Outbox::new(Config::default());
    let event = answer(1, 11, 21, NOW_S);
    assert!(matches!(outbox.begin(id(21), 0), Seen::New));
    assert!(matches!(outbox.begin(id(21), 0), Seen::Pending));
    outbox.keep(key(21), event.clone(), 10);
    outbox.finish(&id(21));
    let again = |now_ms| match outbox.begin(id(21), now_ms) {
        Seen::Answered(events) => events,
        other => panic!("{other:?}"),
    };
    // It reached nobody, such as one that was found at a start: whoever asks gets it at once.
    assert_eq!(again(10), std::slice::from_ref(&event));
    outbox.delivered(&event.id(), 10);
    assert!(again(900).is_empty());
    assert_eq!(again(1_010), std::slice::from_ref(&event));
    assert!(again(1_900).is_empty());
    assert_eq!(again(2_010), [event]);
}

#[test]
fn one_wallet_pushes_out_its_own_answers_and_no_other() {
    let one = answer(1, 11, 21, NOW_S).bytes().len() + OVERHEAD_BYTES;
    let config = Config { wallet_bytes_max: 3 * one + 8, bytes_max: 10 * one, ..Config::default() };
    let outbox = Outbox::new(config);
    outbox.keep(key(200), answer(2, 12, 200, NOW_S), 0);
    for request in 20..40 {
        outbox.keep(key(request), answer(1, 11, request, NOW_S), 0);
        assert!(outbox.knows(&id(request)));
    }
    assert!(outbox.knows(&id(200)) && outbox.knows(&id(37)) && !outbox.knows(&id(36)));
    assert_eq!(outbox.size().0, 4);
}

#[test]
fn the_bytes_of_all_wallets_are_bounded_and_delivered_answers_go_first() {
    let one = answer(1, 11, 21, NOW_S).bytes().len() + OVERHEAD_BYTES;
    let outbox = Outbox::new(Config { bytes_max: 4 * one + 32, ..Config::default() });
    let events: Vec<Event> = (0..4_u8).map(|n| answer(1 + n, 11, 21 + n, NOW_S)).collect();
    for (n, event) in events.iter().enumerate() {
        outbox.keep(key(21 + u8::try_from(n).unwrap()), event.clone(), 0);
    }
    outbox.delivered(&events[2].id(), 1);
    outbox.keep(key(50), answer(9, 11, 50, NOW_S), 2);
    assert!(!outbox.knows(&id(23)), "the delivered one");
    assert!([21, 22, 24, 50].iter().all(|request| outbox.knows(&id(*request))));
    let bytes: usize = outbox.inner.lock().kept.values().map(Kept::bytes).sum();
    assert_eq!(outbox.size(), (4, bytes));
}

/// Many apps that together fill the memory, one of them with most of it: what the others have not heard yet stays.
#[test]
fn where_all_are_too_many_the_wallet_that_keeps_most_loses_first() {
    let one = answer(1, 11, 21, NOW_S).bytes().len() + OVERHEAD_BYTES;
    let outbox = Outbox::new(Config { bytes_max: 10 * one + 80, wallet_bytes_max: 8 * one, ..Config::default() });
    let waits = answer(2, 12, 100, NOW_S);
    outbox.keep(key(100), waits.clone(), 0);
    let read = answer(3, 13, 101, NOW_S);
    outbox.keep(key(101), read.clone(), 0);
    outbox.delivered(&read.id(), 0);
    for request in 20..60 {
        outbox.keep(key(request), answer(1, 11, request, NOW_S), 1);
    }
    for request in 60..99 {
        outbox.keep(key(request), answer(4, 14, request, NOW_S), 1);
        assert!(outbox.knows(&id(request)), "the newest stays");
    }
    assert!(outbox.knows(&id(100)) && outbox.knows(&id(101)));
    let inner = outbox.inner.lock();
    let bytes = |wallet: u8| inner.by_wallet[&public_key(&keypair(wallet))].bytes;
    assert!(bytes(1).abs_diff(bytes(4)) <= one, "{} {}", bytes(1), bytes(4));
    let sizes: BTreeSet<_> = inner.by_wallet.iter().map(|(wallet, shelf)| (shelf.bytes, *wallet)).collect();
    assert_eq!(inner.by_bytes, sizes);
}

#[test]
fn the_queues_are_bounded_whatever_leaves_when() {
    let one = answer(1, 11, 21, NOW_S).bytes().len() + OVERHEAD_BYTES;
    let outbox = Outbox::new(Config { wallet_bytes_max: 4 * one, ..Config::default() });
    outbox.keep(key(200), answer(2, 12, 200, NOW_S), 0);
    for n in 0..4 * u64::try_from(QUEUE_SLACK).unwrap() {
        let event = answer(1, 11, 21, NOW_S + n);
        outbox.keep(key(21), event.clone(), 0);
        if n % 2 == 0 {
            outbox.delivered(&event.id(), 0);
        }
    }
    let inner = outbox.inner.lock();
    let bound = 2 * inner.kept.len() + QUEUE_SLACK + 1;
    assert!(inner.delivered.len() <= bound && inner.undelivered.len() <= bound);
    assert!(inner.kept.len() <= 6);
}

#[test]
fn an_answer_is_a_valid_event_in_the_packed_form() {
    let event = answer(1, 11, 21, NOW_S);
    assert!(EventRef::new(event.bytes()).is_some());
}
