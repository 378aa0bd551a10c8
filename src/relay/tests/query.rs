//! REQ, CLOSE and COUNT: stored events, replacement, limits, live delivery.

use serde_json::json;

use super::support::{House, NOW, Setup, contents, key_hex, note, signed};
use crate::policy::rate::Rate;
use crate::policy::{Limits, RateConfig};

fn filled(count: u64) -> House {
    let house = House::new();
    for number in 0..count {
        let event = signed(u8::try_from(number % 3).unwrap(), 1, NOW - number, &[], &number.to_string());
        house.store.commit(super::support::packed(&event));
    }
    house
}

#[test]
fn stored_events_come_newest_first_then_eose_then_live_ones() {
    let house = filled(5);
    let mut client = house.client();
    assert_eq!(client.query("{}").unwrap(), ["0", "1", "2", "3", "4"]);
    assert_eq!(client.query(r#"{"limit":2}"#).unwrap(), ["0", "1"]);
    let two = format!(r#"{{"authors":["{}"],"limit":1}},{{"authors":["{}"]}}"#, key_hex(0), key_hex(2));
    assert_eq!(client.query(&two).unwrap(), ["0", "2"]);
    house.client().publish(&note(1, "no"));
    house.client().publish(&note(2, "yes"));
    assert_eq!(contents(&client.frames()), ["yes"]);
    assert_eq!(client.query(r#"{"limit":0}"#).unwrap().len(), 0);
    house.client().publish(&note(1, "live"));
    assert_eq!(contents(&client.frames()), ["live"]);
    assert!(client.say(r#"["CLOSE","q"]"#).is_empty());
    house.client().publish(&note(1, "unheard"));
    assert!(client.frames().is_empty());
    assert_eq!((house.live.subscriptions(), house.live.index_size()), (0, (0, 0)));
}

#[test]
fn default_and_largest_limit_hold() {
    let house = House::with(Setup { limits: Limits { default_limit: 3, max_limit: 4, ..Limits::default() }, ..Setup::default() });
    for number in 0..6 {
        house.store.commit(super::support::packed(&signed(1, 1, NOW - number, &[], "")));
    }
    let mut client = house.client();
    assert_eq!(client.query("{}").unwrap().len(), 3);
    assert_eq!(client.query(r#"{"limit":1000000}"#).unwrap().len(), 4);
}

#[test]
fn nothing_of_a_replaced_subscription_follows_its_replacement() {
    let house = filled(30);
    house.store.slice_events.store(10, std::sync::atomic::Ordering::Relaxed);
    let mut client = house.client();
    client.session.on_text(r#"["REQ","q",{}]"#);
    assert!(client.session.pump(), "a slice of three ran");
    house.client().publish(&note(1, "waits at the gate"));
    // Ten stored events wait in the outbox when the same id is used again.
    client.session.on_text(&format!(r#"["REQ","q",{{"authors":["{}"],"kinds":[7]}}]"#, key_hex(7)));
    assert_eq!(client.frames(), [json!(["EOSE", "q"])]);
    house.client().publish(&note(1, "old filter"));
    house.client().publish(&signed(7, 7, NOW, &[], "new filter"));
    assert_eq!(contents(&client.frames()), ["new filter"]);
    assert_eq!((house.live.subscriptions(), client.session.subscriptions()), (1, 1));
}

#[test]
fn close_drops_what_waits_and_frees_the_place_at_once() {
    let house = filled(30);
    let mut client = house.client();
    client.session.on_text(r#"["REQ","q",{}]"#);
    client.session.pump();
    assert!(client.outbox.queued_bytes() > 0);
    client.session.on_text(r#"["CLOSE","q"]"#);
    assert!(!client.session.has_work());
    assert!(client.frames().is_empty());
    assert_eq!(client.outbox.queued_bytes(), 0);
}

#[test]
fn too_many_subscriptions_are_refused_but_a_used_id_is_replaced() {
    let house = House::with(Setup { limits: Limits { subscriptions: 3, ..Limits::default() }, ..Setup::default() });
    let mut client = house.client();
    for id in ["a", "b", "c", "a"] {
        assert_eq!(client.say(&format!(r#"["REQ","{id}",{{"limit":0}}]"#)), [json!(["EOSE", id])]);
    }
    let refused = "error: too many subscriptions, at most 3 may be open";
    assert_eq!(client.say(r#"["REQ","d",{}]"#), [json!(["CLOSED", "d", refused])]);
    client.say(r#"["CLOSE","b"]"#);
    assert_eq!(client.say(r#"["REQ","d",{"limit":0}]"#), [json!(["EOSE", "d"])]);
}

#[test]
fn a_refused_req_ends_the_subscription_whose_id_it_used_and_a_refused_count_does_not() {
    let house = House::new();
    let mut client = house.client();
    client.say(r#"["REQ","q",{"kinds":[1]}]"#);
    assert_eq!(client.say(r#"["COUNT","q",{"search":"x"}]"#)[0][0], "CLOSED");
    house.client().publish(&note(1, "heard"));
    assert_eq!(contents(&client.frames()), ["heard"]);
    assert_eq!(client.say(r#"["REQ","q",{"search":"x"}]"#)[0][0], "CLOSED");
    house.client().publish(&note(1, "unheard"));
    assert!(client.frames().is_empty());
}

#[test]
fn queries_of_a_connection_take_turns() {
    let house = filled(60);
    house.store.slice_events.store(10, std::sync::atomic::Ordering::Relaxed);
    let mut client = house.client();
    client.session.on_text(r#"["REQ","long",{"limit":50}]"#);
    client.session.on_text(r#"["REQ","short",{"limit":10}]"#);
    let frames = client.frames();
    let eose = |id: &str| frames.iter().position(|frame| *frame == json!(["EOSE", id])).unwrap();
    assert!(eose("short") < eose("long"));
    assert_eq!(frames.len(), 62);
}

#[test]
fn a_query_waits_while_the_outbox_is_full_and_loses_nothing() {
    let house = House::with(Setup { outbox_bytes: 8_192, ..Setup::default() });
    for number in 0..200 {
        house.store.commit(super::support::packed(&signed(1, 1, NOW - number, &[], &number.to_string())));
    }
    let mut client = house.client();
    client.session.on_text(r#"["REQ","q",{}]"#);
    while client.session.pump() {}
    assert!(client.session.has_work() && client.outbox.queued_bytes() < 8_192);
    let frames = client.frames();
    assert_eq!(contents(&frames), (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(client.closed, None);
}

#[test]
fn count_counts_and_is_approximate_beyond_its_bound() {
    let house = filled(9);
    let mut client = house.client();
    assert_eq!(client.say(r#"["COUNT","c",{"limit":1}]"#), [json!(["COUNT", "c", {"count": 9, "approximate": false}])]);
    let two = format!(r#"["COUNT","c",{{"authors":["{}"]}},{{"authors":["{}"]}}]"#, key_hex(0), key_hex(1));
    assert_eq!(client.say(&two)[0][2]["count"], 6);
    let small = House::with(Setup { limits: Limits { count_max: 2, ..Limits::default() }, ..Setup::default() });
    for number in 0..4 {
        small.store.commit(super::support::packed(&signed(1, 1, NOW - number, &[], "")));
    }
    assert_eq!(small.client().say(r#"["COUNT","c",{}]"#)[0][2], json!({"count": 2, "approximate": true}));
}

#[test]
fn counts_that_take_long_wait_in_line_up_to_a_bound() {
    let house = House::with(Setup { limits: Limits { counts: 2, ..Limits::default() }, ..Setup::default() });
    house.store.commit(super::support::packed(&note(1, "one")));
    let mut client = house.client();
    for id in ["a", "b", "c"] {
        client.session.on_text(&format!(r#"["COUNT","{id}",{{}}]"#));
    }
    let refused = json!(["CLOSED", "c", "error: too many counts, at most 2 may wait"]);
    let counted = |id: &str| json!(["COUNT", id, {"count": 1, "approximate": false}]);
    assert_eq!(client.frames(), [refused, counted("a"), counted("b")]);
    assert_eq!(client.say(r#"["COUNT","d",{}]"#), [counted("d")]);
}

#[test]
fn filters_of_open_subscriptions_and_counts_are_bounded_together() {
    let house = House::with(Setup { limits: Limits { open_values: 20, ..Limits::default() }, ..Setup::default() });
    let mut client = house.client();
    let topics =
        |count: usize| format!(r##"{{"#t":{},"limit":0}}"##, json!((0..count).map(|n| n.to_string()).collect::<Vec<_>>()));
    let refused = |id: &str| {
        json!(["CLOSED", id, "error: too many values in open filters, at most 20 per connection: close a subscription first"])
    };
    assert_eq!(client.say(&format!(r#"["REQ","a",{}]"#, topics(9))), [json!(["EOSE", "a"])]);
    assert_eq!(client.say(&format!(r#"["REQ","b",{}]"#, topics(10))), [refused("b")]);
    assert_eq!(client.say(&format!(r#"["COUNT","c",{}]"#, topics(10))), [refused("c")]);
    assert_eq!(client.say(&format!(r#"["REQ","b",{}]"#, topics(9))), [json!(["EOSE", "b"])]);
    assert_eq!(client.say(&format!(r#"["REQ","b",{}]"#, topics(8))), [json!(["EOSE", "b"])], "what it replaces is not counted");
    client.say(r#"["CLOSE","a"]"#);
    assert_eq!(client.say(&format!(r#"["REQ","a",{}]"#, topics(10))), [json!(["EOSE", "a"])]);
    client.say(r#"["CLOSE","a"]"#);
    let long = json!({"#t": ["x".repeat(64 * 10)], "limit": 0});
    assert_eq!(client.say(&format!(r#"["REQ","a",{long}]"#)), [refused("a")]);
}

#[test]
fn a_count_that_cannot_be_read_leaves_the_subscription_of_its_id() {
    let house = House::new();
    let mut client = house.client();
    client.say(r#"["REQ","s",{"limit":0}]"#);
    assert_eq!(client.say(r#"["COUNT","s",{"limit":"x"}]"#)[0][0], "CLOSED");
    assert_eq!(client.session.subscriptions(), 1);
    assert_eq!(client.say(r#"["REQ","s",{"limit":"x"}]"#)[0][0], "CLOSED");
    assert_eq!(client.session.subscriptions(), 0);
}

#[test]
fn only_a_few_queries_of_a_connection_are_begun_at_a_time() {
    let house = filled(3);
    house.store.slice_events.store(1, std::sync::atomic::Ordering::Relaxed);
    let mut client = house.client();
    for number in 0..10 {
        client.session.on_text(&format!(r#"["REQ","r{number}",{{}}]"#));
        client.session.on_text(&format!(r#"["COUNT","c{number}",{{}}]"#));
    }
    assert!(client.read().is_empty(), "all of it is done in turn");
    assert_eq!(house.store.begun(), 0);
    client.session.pump();
    assert_eq!(house.store.begun(), 1);
    for _ in 0..4 {
        client.session.pump();
    }
    assert!(house.store.begun() <= 5);
    let frames = client.frames();
    let of = |verb: &str| frames.iter().filter(|frame| frame[0] == verb).count();
    assert_eq!((of("EOSE"), of("COUNT"), of("CLOSED")), (10, 10, 0));
    assert_eq!(house.store.begun(), 20);
}

#[test]
fn whoever_sends_nonsense_on_and_on_is_closed() {
    let rates = RateConfig { enabled: true, queries_per_connection: Rate::new(1, 40), ..RateConfig::default() };
    let house = House::with(Setup { rates, ..Setup::default() });
    let mut client = house.client();
    for _ in 0..40 {
        client.say("[");
    }
    assert_eq!(client.closed, None);
    client.say("[");
    assert_eq!(client.closed, Some((1_008, "too many messages that cannot be read".to_owned())));
    let mut other = house.client();
    other.say(&"[".repeat(100_000));
    other.say(&"[".repeat(100_000));
    assert_eq!(other.closed.map(|(code, _)| code), Some(1_008), "bytes count too");
}
