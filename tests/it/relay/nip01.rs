//! NIP-01: events, subscriptions, kinds, filters.

use serde_json::{Value, json};

use crate::support::client::Heard;
use crate::support::{Client, Event, Hearth, Key, eventually, now_s};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_is_what_was_published_byte_for_byte() {
    let hearth = Hearth::start();
    let (mut publisher, mut reader) = (hearth.client().await, hearth.client().await);
    let key = Key::random();
    reader.stored_json("live", &[json!({"kinds": [1]})]).await;
    let mut contents: Vec<String> = (0..=0x20)
        .chain([0x7f, 0x80, 0x2028, 0x2029, 0xfffd, 0xfffe, 0xffff, 0x1_f525, 0x10_ffff])
        .map(|code| format!("before {} after", char::from_u32(code).unwrap()))
        .collect();
    contents.extend(["", "\"\\/", "e\u{301} not \u{e9}", "{\"a\":[1]}", "\\u0041", "\u{feff}bom", "🏳️‍🌈"].map(str::to_owned));
    contents.push("long ".repeat(10_000));
    for content in contents {
        let tag: String = content.chars().take(20).collect();
        let event = key.event(1, &content, &[&["t", &tag], &["alt", &tag], &["empty", ""], &["x"]]);
        publisher.accept(&event).await;
        let stored = publisher.stored_json("stored", &[json!({"ids": [event.id]})]).await;
        assert_eq!(stored, [event.json()], "stored: {content:?}");
        match reader.of_subscription("live").await {
            Heard::Event(_, json) => assert_eq!(json, event.json(), "live: {content:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_become_canonical_and_unknown_fields_are_dropped() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let event = Key::random().event(1, "hé\u{7f}llo\n", &[&["t", "x"]]);
    let (id, pubkey, sig) = (&event.id, &event.pubkey, &event.sig);
    let sent = format!(
        r#" [ "EVENT" , {{ "sig":"{sig}", "extra":{{"a":[1,2]}}, "content":"h\u00e9\u007fllo\n", "tags":[ ["t" , "\u0078"] ],
            "kind":1, "created_at":{}, "pubkey":"{pubkey}", "id":"{id}" }} ] "#,
        event.created_at
    );
    client.send(sent).await;
    assert!(client.verdict(id).await.accepted);
    assert_eq!(client.stored_json("s", &[json!({"ids": [id]})]).await, [event.json()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_is_kept_by_the_rule_of_its_range() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    // Kind, and which of four events stay: old and new without a `d` tag, old and new with `d` = "x".
    let regular = [true, true, true, true];
    let replaceable = [false, false, false, true];
    let addressable = [false, true, false, true];
    let ephemeral = [false, false, false, false];
    let table = [
        (0, replaceable),
        (1, regular),
        (2, regular),
        (3, replaceable),
        (4, regular),
        (6, regular),
        (7, regular),
        (40, regular),
        (41, regular),
        (44, regular),
        (45, regular),
        (999, regular),
        (1_000, regular),
        (9_735, regular),
        (9_999, regular),
        (10_000, replaceable),
        (10_002, replaceable),
        (19_999, replaceable),
        (20_000, ephemeral),
        (25_000, ephemeral),
        (29_999, ephemeral),
        (30_000, addressable),
        (30_023, addressable),
        (39_999, addressable),
        (40_000, regular),
        (65_535, regular),
    ];
    for (kind, stays) in table {
        let key = Key::random();
        let now = now_s();
        let plain = |age: u64| key.event_at(now - age, kind, "", &[]);
        let named = |age: u64| key.event_at(now - age, kind, "", &[&["d", "x"]]);
        let events = [plain(8), plain(7), named(6), named(5)];
        for event in &events {
            client.accept(event).await;
        }
        let found = client.stored(&[json!({"authors": [key.hex]})]).await;
        let expected: Vec<String> =
            events.iter().zip(stays).rev().filter(|(_, stays)| *stays).map(|(event, _)| event.id.clone()).collect();
        assert_eq!(found, expected, "kind {kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_replaceable_wins_and_among_equals_the_lowest_id_in_any_order() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    for kind in [0, 3, 10_002, 30_023] {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let key = Key::random();
            let now = now_s();
            let mut equals: Vec<Event> = (0..2).map(|n| key.event_at(now, kind, &format!("new {n}"), &[&["d", "a"]])).collect();
            equals.sort_by(|a, b| a.id.cmp(&b.id));
            let old = key.event_at(now - 1, kind, "old", &[&["d", "a"]]);
            let events = [old, equals.remove(1), equals.remove(0)];
            for index in order {
                let verdict = client.publish(&events[index]).await;
                assert!(verdict.accepted || verdict.text.starts_with("duplicate: "), "kind {kind}, {order:?}: {verdict:?}");
            }
            let filters = [json!({"authors": [key.hex]}), json!({"ids": [events[0].id, events[1].id]})];
            assert_eq!(client.stored(&filters).await, [events[2].id.clone()], "kind {kind}, order {order:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_is_kind_author_and_the_first_d_tag() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let (key, other) = (Key::random(), Key::random());
    let now = now_s();
    let at = |age: u64, key: &Key, kind: u64, tags: &[&[&str]]| key.event_at(now - age, kind, "", tags);
    let kept = [
        at(1, &key, 30_000, &[&["d", "b"], &["d", "a"]]),
        at(2, &key, 30_001, &[&["d", "a"]]),
        at(3, &other, 30_000, &[&["d", "a"]]),
        at(4, &key, 30_000, &[&["d", ""]]),
        at(5, &key, 30_000, &[&["d", "a"]]),
    ];
    let gone = [
        at(11, &key, 30_000, &[&["d", "a"], &["d", "b"]]),
        at(12, &key, 30_000, &[&["d"]]),
        at(13, &key, 30_000, &[]),
        at(14, &key, 30_000, &[&["d", "b"]]),
    ];
    for event in gone.iter().chain(&kept) {
        client.accept(event).await;
    }
    let found = client.stored(&[json!({"kinds": [30_000, 30_001]})]).await;
    assert_eq!(found, kept.map(|event| event.id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_choose_exactly() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let (a, b) = (Key::random(), Key::random());
    let t = now_s() - 100;
    let hex = "ab".repeat(32);
    let e = [
        a.event_at(t, 1, "0", &[&["t", "x"], &["p", &b.hex]]),
        a.event_at(t + 1, 1, "1", &[&["t", "y", "x"], &["e", &hex]]),
        b.event_at(t + 2, 7, "2", &[&["T", "x"], &["title", "x"]]),
        b.event_at(t + 3, 1, "3", &[&["t", "X"], &["t", "z"], &["e", &hex.to_uppercase()]]),
        b.event_at(t + 4, 42, "4", &[&["d", ""], &["r", "wss://relay.example.com/?a=1"]]),
    ];
    for event in &e {
        client.accept(event).await;
    }
    let table: Vec<(Value, &[usize])> = vec![
        (json!({}), &[4, 3, 2, 1, 0]),
        (json!({"ids": [e[1].id]}), &[1]),
        (json!({"ids": []}), &[]),
        (json!({"ids": [e[1].id, "0".repeat(64), e[1].id]}), &[1]),
        (json!({"authors": [a.hex]}), &[1, 0]),
        (json!({"authors": [a.hex, b.hex]}), &[4, 3, 2, 1, 0]),
        (json!({"authors": []}), &[]),
        (json!({"kinds": [1]}), &[3, 1, 0]),
        (json!({"kinds": [7, 42]}), &[4, 2]),
        (json!({"kinds": []}), &[]),
        (json!({"kinds": [65_536, 70_000]}), &[]),
        (json!({"authors": [b.hex], "kinds": [1]}), &[3]),
        (json!({"authors": [a.hex], "kinds": [7]}), &[]),
        (json!({"since": t + 1}), &[4, 3, 2, 1]),
        (json!({"until": t + 1}), &[1, 0]),
        (json!({"since": t + 1, "until": t + 3}), &[3, 2, 1]),
        (json!({"since": t + 2, "until": t + 2}), &[2]),
        (json!({"since": t + 3, "until": t + 2}), &[]),
        (json!({"since": u64::MAX}), &[]),
        (json!({"until": u64::MAX}), &[4, 3, 2, 1, 0]),
        (json!({"limit": 0}), &[]),
        (json!({"limit": 2}), &[4, 3]),
        (json!({"limit": 2, "kinds": [1]}), &[3, 1]),
        (json!({"limit": 1_000_000_000}), &[4, 3, 2, 1, 0]),
        (json!({"#t": ["x"]}), &[0]),
        (json!({"#t": ["y"]}), &[1]),
        (json!({"#t": ["z"]}), &[3]),
        (json!({"#t": ["x", "X"]}), &[3, 0]),
        (json!({"#T": ["x"]}), &[2]),
        (json!({"#t": []}), &[]),
        (json!({"#p": [b.hex]}), &[0]),
        (json!({"#e": [hex]}), &[1]),
        (json!({"#d": [""]}), &[4]),
        (json!({"#r": ["wss://relay.example.com/?a=1"]}), &[4]),
        (json!({"#t": ["x"], "#p": [b.hex]}), &[0]),
        (json!({"#t": ["y"], "#p": [b.hex]}), &[]),
    ];
    for (filter, expected) in table {
        let expected: Vec<String> = expected.iter().map(|&index| e[index].id.clone()).collect();
        assert_eq!(client.stored(std::slice::from_ref(&filter)).await, expected, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_filters_are_one_answer_without_duplicates() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let key = Key::random();
    let t = now_s() - 100;
    let events: Vec<Event> = (0..10).map(|n| key.event_at(t + n / 2, 1 + n % 2, &format!("{n}"), &[])).collect();
    for event in &events {
        client.accept(event).await;
    }
    let mut expected = events.clone();
    expected.sort_by(|x, y| y.created_at.cmp(&x.created_at).then_with(|| x.id.cmp(&y.id)));
    let all: Vec<String> = expected.iter().map(|event| event.id.clone()).collect();
    let both = [json!({"kinds": [1]}), json!({"authors": [key.hex]}), json!({"ids": [all[3]]})];
    assert_eq!(client.stored(&both).await, all);
    let newest = |kind: u64, count: usize| expected.iter().filter(move |event| event.kind == kind).take(count);
    let mut some: Vec<&Event> = newest(1, 2).chain(newest(2, 1)).collect();
    some.sort_by(|x, y| y.created_at.cmp(&x.created_at).then_with(|| x.id.cmp(&y.id)));
    let some: Vec<String> = some.into_iter().map(|event| event.id.clone()).collect();
    assert_eq!(client.stored(&[json!({"kinds": [1], "limit": 2}), json!({"kinds": [2], "limit": 1})]).await, some);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_taken_once() {
    let hearth = Hearth::start();
    let (mut client, mut reader) = (hearth.client().await, hearth.client().await);
    let event = Key::random().note("once");
    reader.stored_json("live", &[json!({"limit": 0})]).await;
    let first = client.publish(&event).await;
    assert_eq!((first.accepted, first.text.as_str()), (true, ""));
    for _ in 0..3 {
        let again = client.publish(&event).await;
        assert!(again.accepted && again.text.starts_with("duplicate: "), "{again:?}");
    }
    // The same id with another signature that is right is the same event; with a wrong one as well, because it is known already.
    assert_eq!(reader.live("live").await, event);
    reader.is_quiet().await;
    assert_eq!(client.stored(&[json!({})]).await, [event.id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ephemeral_events_reach_who_listens_and_nobody_later() {
    let mut hearth = Hearth::start();
    let key = Key::random();
    let event = key.event(20_001, "now or never", &[&["t", "x"]]);
    {
        let (mut client, mut listener) = (hearth.client().await, hearth.client().await);
        let unheard = key.event(20_001, "nobody", &[]);
        let verdict = client.publish(&unheard).await;
        assert!(verdict.text.is_empty() || verdict.text.starts_with("mute: "), "{verdict:?}");
        listener.stored_json("live", &[json!({"#t": ["x"]})]).await;
        client.accept(&event).await;
        assert_eq!(listener.live("live").await, event);
        assert_eq!(client.stored(&[json!({"kinds": [20_001]}), json!({"ids": [event.id]})]).await, Vec::<String>::new());
    }
    hearth.kill();
    hearth.launch();
    let mut client = hearth.client().await;
    assert_eq!(client.stored(&[json!({})]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_live_until_closed_and_belong_to_one_connection() {
    let hearth = Hearth::start();
    let (mut a, mut b, mut publisher) = (hearth.client().await, hearth.client().await, hearth.client().await);
    let key = Key::random();
    a.stored_json("same", &[json!({"kinds": [1]})]).await;
    b.stored_json("same", &[json!({"kinds": [2]})]).await;
    b.stored_json("other", &[json!({"kinds": [1, 2]})]).await;
    let (one, two) = (key.event(1, "1", &[]), key.event(2, "2", &[]));
    publisher.accept(&one).await;
    publisher.accept(&two).await;
    assert_eq!(a.live("same").await, one);
    assert_eq!(b.live("same").await, two);
    assert_eq!([b.live("other").await, b.live("other").await], [one, two]);
    a.say(&json!(["CLOSE", "same"])).await;
    a.say(&json!(["CLOSE", "never opened"])).await;
    a.settle().await;
    publisher.accept(&key.event(1, "3", &[])).await;
    assert_eq!(b.live("other").await.content, "3");
    a.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_bounds_what_is_stored_and_not_what_is_live() {
    let hearth = Hearth::start();
    let (mut client, mut reader) = (hearth.client().await, hearth.client().await);
    let key = Key::random();
    for n in 0..5 {
        client.accept(&key.note(&format!("stored {n}"))).await;
    }
    assert_eq!(reader.stored_json("two", &[json!({"limit": 2})]).await.len(), 2);
    assert_eq!(reader.stored_json("none", &[json!({"limit": 0})]).await.len(), 0);
    for n in 0..5 {
        let event = key.note(&format!("live {n}"));
        client.accept(&event).await;
        assert_eq!(reader.live("two").await, event);
        assert_eq!(reader.live("none").await, event);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_req_with_a_used_id_replaces_it_and_nothing_of_the_old_one_comes_after() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let key = Key::random();
    let events: Vec<Event> = (0..600).map(|n| key.note(&format!("{n} {}", "x".repeat(500)))).collect();
    for event in &events {
        client.send_event(event).await;
    }
    for event in &events {
        assert!(client.verdict(&event.id).await.accepted);
    }
    for (round, marker) in events.iter().enumerate().take(30) {
        client.feed(json!(["REQ", "x", {"kinds": [1]}]).to_string()).await;
        client.feed(json!(["REQ", "x", {"kinds": [1], "limit": 50}, {"kinds": [2]}]).to_string()).await;
        client.feed(json!(["REQ", "x", {"ids": [marker.id]}]).to_string()).await;
        client.flush().await;
        let mut heard = Vec::new();
        eventually("the marker and its EOSE", async || {
            heard.extend(client.drain().await);
            let eose = heard.iter().rposition(|heard| matches!(heard, Heard::Eose(_)));
            let ours = heard.iter().rposition(|heard| matches!(heard, Heard::Event(_, json) if *json == marker.json()));
            matches!((ours, eose), (Some(ours), Some(eose)) if ours + 1 == eose)
        })
        .await;
        assert!(matches!(heard.last(), Some(Heard::Eose(_))), "round {round}: {:?} after the last EOSE", heard.last());
        let ends = heard.iter().filter(|heard| matches!(heard, Heard::Eose(_))).count();
        assert!((1..=3).contains(&ends), "round {round}: {ends} EOSE for three REQ");
    }
    client.accept(&key.event(2, "of a replaced subscription", &[])).await;
    client.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_req_and_close_leaves_nothing_behind() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let key = Key::random();
    for _ in 0..20 {
        for n in 0..250 {
            client.feed(json!(["REQ", format!("s{}", n % 7), {"authors": [key.hex], "kinds": [n]}]).to_string()).await;
            if n % 3 == 0 {
                client.feed(json!(["CLOSE", format!("s{}", n % 7)]).to_string()).await;
            }
        }
        client.flush().await;
        client.drain().await;
    }
    for n in 0..7 {
        client.say(&json!(["CLOSE", format!("s{n}")])).await;
    }
    client.drain().await;
    client.accept(&key.event(249, "", &[])).await;
    client.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_one_client_are_answered_while_its_queries_run() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let key = Key::random();
    let notes: Vec<Event> = (0..300).map(|n| key.note(&format!("{n}"))).collect();
    for note in &notes {
        client.send_event(note).await;
    }
    for note in &notes {
        assert!(client.verdict(&note.id).await.accepted);
    }
    for n in 0..20 {
        client.feed(json!(["REQ", format!("s{n}"), {}]).to_string()).await;
        client.feed(format!("[\"EVENT\",{}]", key.event(20_000, &format!("{n}"), &[]).json())).await;
    }
    client.flush().await;
    for n in 0..20 {
        assert_eq!(stored_of(&mut client, &format!("s{n}")).await, 300);
    }
}

/// Events before EOSE; live ones of the test may come after it.
async fn stored_of(client: &mut Client, subscription: &str) -> usize {
    let stored = client.until_eose(subscription).await;
    stored.iter().filter(|json| json.contains("\"kind\":1,")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_events_survive_an_ordered_restart() {
    let mut hearth = Hearth::start();
    let key = Key::random();
    let events: Vec<Event> = (0..50).map(|n| key.note(&format!("{n}"))).collect();
    {
        let mut client = hearth.client().await;
        for event in &events {
            client.accept(event).await;
        }
    }
    assert!(hearth.terminate().success());
    hearth.launch();
    let mut client = hearth.client().await;
    let mut found = client.stored_json("all", &[json!({"authors": [key.hex]})]).await;
    let mut expected: Vec<String> = events.iter().map(Event::json).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}
