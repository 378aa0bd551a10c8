//! What is refused, with its exact words, and that the connection lives on.

use super::support::{House, NOW, Setup, id_of, note, signed};
use crate::policy::Limits;
use crate::protocol::event::EventLimits;

#[test]
fn refusals_are_addressed_and_say_why() {
    let house = House::new();
    let mut client = house.client();
    let long_id = "x".repeat(65);
    let huge_id = "x".repeat(10_000);
    let values: Vec<String> = (0..2_001).map(|kind| kind.to_string()).collect();
    let many_filters = vec!["{}"; 21].join(",");
    for (message, answer) in [
        ("", "[\"NOTICE\",\"invalid: EOF while parsing a value\"]".to_owned()),
        ("[]", "[\"NOTICE\",\"invalid: a message must not be empty\"]".to_owned()),
        ("{}", "[\"NOTICE\",\"invalid: invalid type: map, expected a message: a list that starts with EVENT, REQ, COUNT, CLOSE or AUTH\"]".to_owned()),
        (r#"["REQ","",{}]"#, r#"["CLOSED","","invalid: the subscription id is empty"]"#.to_owned()),
        (&format!(r#"["REQ","{long_id}",{{}}]"#), format!(r#"["CLOSED","{long_id}","invalid: the subscription id has more than 64 characters"]"#)),
        (&format!(r#"["REQ","{huge_id}",{{}}]"#), r#"["NOTICE","invalid: the subscription id has more than 64 characters"]"#.to_owned()),
        (r#"["REQ","a\nb",{}]"#, r#"["CLOSED","a\nb","invalid: the subscription id has control characters"]"#.to_owned()),
        (r#"["REQ","a"]"#, r#"["CLOSED","a","invalid: REQ needs at least one filter"]"#.to_owned()),
        (r#"["REQ","a",{"search":"x"}]"#, r#"["CLOSED","a","unsupported: search is not served here"]"#.to_owned()),
        (&format!(r#"["REQ","a",{many_filters}]"#), r#"["CLOSED","a","invalid: 21 filters, at most 20 are taken"]"#.to_owned()),
        (
            &format!(r#"["COUNT","a",{{"kinds":[{}]}}]"#, values.join(",")),
            r#"["CLOSED","a","invalid: a filter has a list of 2001 values, at most 2000 are taken"]"#.to_owned(),
        ),
    ] {
        let frames = client.say(message);
        assert_eq!(frames.len(), 1, "{message}: {frames:?}");
        assert_eq!(frames[0].to_string(), answer, "{message}");
    }
    client.session.on_binary();
    assert_eq!(client.frames()[0].to_string(), r#"["NOTICE","invalid: binary messages are not understood, send text"]"#);
    let large = format!("[\"EVENT\",\"{}\"]", "x".repeat(131_072));
    assert_eq!(client.say(&large)[0][1], "invalid: message is 131084 bytes, at most 131072 are taken");
    assert_eq!(client.say(r#"["CLOSE","never opened"]"#).len(), 0);
    assert_eq!(client.publish(&note(1, "still here")), (true, String::new()));
    assert_eq!(client.closed, None);
}

#[test]
fn events_that_break_a_rule_cost_no_signature_check() {
    let house = House::with(Setup {
        limits: Limits { event: EventLimits { event_bytes: 2_000, tags: 3, indexed_value_bytes: 100 }, ..Limits::default() },
        ..Setup::default()
    });
    let mut client = house.client();
    let long = "x".repeat(101);
    let three_years = 3 * 365 * 86_400;
    for (event, reason) in [
        (signed(1, 1, NOW + 901, &[], ""), "invalid: created_at is more than 15 minutes in the future"),
        (signed(1, 1, NOW - three_years - 1, &[], ""), "invalid: created_at is more than 3 years in the past"),
        (signed(1, 20_001, NOW - 901, &[], ""), "invalid: created_at is more than 15 minutes in the past"),
        (signed(1, 23_194, NOW + 901, &[], ""), "invalid: created_at is more than 15 minutes in the future"),
        (signed(1, 1, NOW, &[&["expiration", "1699999999"]], ""), "invalid: expired"),
        (signed(1, 22_242, NOW, &[], ""), "invalid: kind 22242 belongs into an AUTH message, it is never published"),
        (signed(1, 1, NOW, &[&["t", &long]], ""), "invalid: value of tag \"t\" is 101 bytes, at most 100 are taken"),
        (signed(1, 1, NOW, &[&["t"], &["t"], &["t"], &["t"]], ""), "invalid: event has 4 tags, at most 3 are taken"),
        (note(1, "changed").replace("changed", "forged!"), "invalid: event id does not match its content"),
    ] {
        assert_eq!(client.publish(&event), (false, reason.to_owned()), "{event}");
    }
    assert!(client.publish(&signed(1, 1, NOW, &[], &"y".repeat(2_000))).1.starts_with("invalid: event is 2"));
    assert_eq!(house.stats().signature_checks, 0);
    for event in [
        signed(1, 1, NOW + 900, &[], "at the edge"),
        signed(1, 1, NOW - three_years, &[], "old"),
        signed(1, 1, NOW, &[&["expiration", "1700000001"]], ""),
        signed(1, 1, NOW, &[&["expiration", "soon"]], ""),
    ] {
        assert_eq!(client.publish(&event), (true, String::new()));
    }
    assert_eq!(house.stats().signature_checks, 4);
}

#[test]
fn a_wrong_signature_is_refused_and_a_duplicate_is_not_checked_again() {
    let house = House::new();
    let mut client = house.client();
    let (one, two) = (note(1, "one"), note(1, "two"));
    let sig_of = |event: &str| serde_json::from_str::<serde_json::Value>(event).unwrap()["sig"].as_str().unwrap().to_owned();
    let forged = one.replace(&sig_of(&one), &sig_of(&two));
    assert_eq!(client.publish(&forged), (false, "invalid: signature does not match".to_owned()));
    assert_eq!(client.publish(&one), (true, String::new()));
    let checks = house.stats().signature_checks;
    assert_eq!(client.publish(&one), (true, "duplicate: already have this event".to_owned()));
    // Known by its id alone: even the forged copy is only a duplicate, and nothing is written.
    assert_eq!(client.publish(&forged), (true, "duplicate: already have this event".to_owned()));
    assert_eq!((house.stats().signature_checks, house.store.len()), (checks, 1));
    assert_eq!(id_of(&one), id_of(&forged));
}
