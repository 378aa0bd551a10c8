//! From stored to live: no gap, no duplicate, bounded waiting; and what happens to those who do not read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::{Client, House, NOW, Setup, contents, id_of, key_hex, note, packed, signed};
use crate::live::LiveConfig;
use crate::live::subscription::GateLimits;

#[test]
fn events_that_come_during_the_query_follow_eose_once() {
    let house = House::new();
    house.store.slice_events.store(1, Ordering::Relaxed);
    for number in 0..3 {
        house.store.commit(packed(&signed(1, 1, NOW - number, &[], &format!("s{number}"))));
    }
    let mut client = house.client();
    client.session.on_text(r#"["REQ","q",{}]"#);
    client.session.pump();
    house.store.commit(packed(&note(2, "during")));
    house.live.publish_ephemeral(&packed(&signed(3, 20_000, NOW, &[], "passing")));
    let frames = client.frames();
    assert_eq!(contents(&frames), ["s0", "s1", "s2", "during", "passing"]);
    assert_eq!(frames[3][0], "EOSE");
    // Committed before the query began, published after its gate opened: the query had it.
    assert_eq!(house.live.publish(2, &packed(&signed(1, 1, NOW - 1, &[], "s1"))), 0);
    assert!(client.frames().is_empty());
}

/// A profile that is replaced between the subscription and the snapshot of its query is neither missing nor there twice.
#[test]
fn what_is_replaced_just_before_the_snapshot_is_found_in_its_new_version() {
    let house = House::new();
    let version = |at: u64| packed(&signed(1, 0, at, &[], &format!("v{at}")));
    house.store.commit(version(NOW - 9));
    *house.store.before_snapshot.lock() = Some(version(NOW - 5));
    let mut client = house.client();
    let frames = client.say(&format!(r#"["REQ","q",{{"authors":["{}"],"kinds":[0]}}]"#, key_hex(1)));
    assert_eq!(contents(&frames[..1]), [format!("v{}", NOW - 5)], "{frames:?}");
    assert_eq!(frames[1..], [serde_json::json!(["EOSE", "q"])], "once, and before EOSE");
}

#[test]
fn nothing_is_lost_or_doubled_while_others_publish() {
    const EVENTS: usize = 3_000;
    // However slow this machine is, no gate may overflow.
    let live = LiveConfig { gate: GateLimits { events: EVENTS, bytes: 1 << 24 }, ..LiveConfig::default() };
    let house = House::with(Setup { outbox_bytes: 1 << 24, live, ..Setup::default() });
    let events: Vec<_> = (0..EVENTS).map(|number| packed(&signed(1, 1, NOW - 3, &[], &number.to_string()))).collect();
    let done = AtomicBool::new(false);
    let mut clients: Vec<Client> = Vec::new();
    std::thread::scope(|scope| {
        for half in events.chunks(EVENTS / 2) {
            let (store, done) = (&house.store, &done);
            scope.spawn(move || {
                for event in half {
                    store.commit(event.clone());
                    std::thread::yield_now();
                }
                done.store(true, Ordering::Release);
            });
        }
        while !done.load(Ordering::Acquire) && clients.len() < 400 {
            let mut client = house.client();
            client.session.on_text(&format!(r#"["REQ","q",{{"authors":["{}"],"limit":5000}}]"#, key_hex(1)));
            clients.push(client);
            for client in &mut clients {
                client.session.pump();
            }
        }
    });
    assert!(clients.len() > 20, "only {} sessions overlapped", clients.len());
    for mut client in clients {
        let mut seen: HashMap<String, usize> = HashMap::new();
        for content in contents(&client.frames()) {
            *seen.entry(content).or_default() += 1;
        }
        assert_eq!(client.closed, None);
        assert_eq!(seen.len(), EVENTS, "events are missing");
        assert!(seen.values().all(|count| *count == 1), "events came twice");
    }
}

#[test]
fn a_gate_that_stays_shut_too_long_ends_its_subscription_with_a_reason() {
    let live = LiveConfig { gate: GateLimits { events: 5, bytes: 1 << 20 }, ..LiveConfig::default() };
    let house = House::with(Setup { live, ..Setup::default() });
    house.store.slice_events.store(1, Ordering::Relaxed);
    for number in 0..3 {
        house.store.commit(packed(&signed(1, 1, NOW - number, &[], "stored")));
    }
    let mut client = house.client();
    client.session.on_text(r#"["REQ","q",{}]"#);
    for number in 0..6 {
        house.store.commit(packed(&note(2, &number.to_string())));
    }
    let frames = client.frames();
    let reason = "error: too many new events arrived while stored ones were being sent, subscribe again";
    assert_eq!(frames, [serde_json::json!(["CLOSED", "q", reason])]);
    assert_eq!((house.live.index_size(), client.session.has_work(), house.total.used()), ((0, 0), false, 0));
    assert_eq!(client.closed, None);
    assert_eq!(client.query(r#"{"kinds":[1],"limit":1}"#).unwrap().len(), 1, "and may subscribe again");
}

#[test]
fn who_does_not_read_is_told_and_closed() {
    let house = House::with(Setup { outbox_bytes: 16_384, ..Setup::default() });
    let (mut slow, mut other) = (house.client(), house.client());
    slow.session.on_text(r#"["REQ","s",{"limit":0}]"#);
    assert!(other.query(r#"{"limit":0}"#).unwrap().is_empty());
    let mut heard = 0;
    for number in 0..40 {
        assert!(house.client().publish(&signed(1, 1, NOW, &[], &format!("{number}{}", "x".repeat(500)))).0);
        heard += contents(&other.frames()).len();
    }
    assert_eq!(heard, 40, "who reads is not disturbed");
    let frames = slow.read();
    let last = frames.last().unwrap().to_string();
    assert_eq!(last, r#"["CLOSED","s","error: too slow: live events are not being read"]"#);
    assert_eq!(slow.closed, Some((1_013, "too slow: live events are not being read".to_owned())));
    assert_eq!(frames.iter().filter(|frame| frame[0] == "EVENT").count(), 0, "those of the ended subscription are dropped");
    assert_eq!(house.live.subscriptions(), 1);
    drop((slow, other));
    assert_eq!((house.live.index_size(), house.total.used(), house.stats().sessions), ((0, 0), 0, 0));
}

#[test]
fn answers_that_nobody_reads_close_the_connection() {
    let house = House::with(Setup { outbox_bytes: 1_024, ..Setup::default() });
    let mut client = house.client();
    let event = note(1, "again");
    let message = format!("[\"EVENT\",{event}]");
    for _ in 0..3_000 {
        client.session.on_text(&message);
    }
    assert!(client.outbox.is_closing() && client.outbox.queued_bytes() < 300_000);
    client.read();
    assert_eq!(client.closed, Some((1_013, "too slow: answers are not being read".to_owned())));
    assert!(house.client().publish(&event).0);
    assert_eq!(id_of(&event).len(), 64);
}
