//! NIP-42: what logs in and what does not.

use serde_json::Value;

use super::support::{House, NOW, Setup, note, signed};
use crate::policy::Home;

fn auth_event(author: u8, kind: u16, created_at: u64, relay: &str, challenge: &str) -> String {
    signed(author, kind, created_at, &[&["relay", relay], &["challenge", challenge]], "")
}

#[test]
fn only_a_fresh_event_for_this_connection_and_this_relay_logs_in() {
    const HOME: &str = "wss://relay.example.com/";
    const WRONG_RELAY: &str =
        "invalid: the relay tag does not name this relay, whose operator says in relay.url under which name it is reached";
    const WRONG_TIME: &str = "invalid: created_at is more than 10 minutes from now";
    let house = House::new();
    let other = house.client().challenge;
    let try_one = |kind: u16, created_at: u64, relay: &str, challenge: Option<&str>| {
        let mut client = house.client();
        let challenge = challenge.unwrap_or(&client.challenge).to_owned();
        client.auth(&auth_event(1, kind, created_at, relay, &challenge))
    };
    for (created_at, relay) in [(NOW, HOME), (NOW - 600, "wss://relay.example.com"), (NOW + 600, "ws://RELAY.example.com:1/x")] {
        assert_eq!(try_one(22_242, created_at, relay, None), (true, String::new()), "{relay}");
    }
    for (kind, created_at, relay, challenge, reason) in [
        (1, NOW, HOME, None, "invalid: AUTH needs an event of kind 22242"),
        (22_242, NOW - 601, HOME, None, WRONG_TIME),
        (22_242, NOW + 601, HOME, None, WRONG_TIME),
        (22_242, NOW, HOME, Some(other.as_str()), "invalid: the challenge is not the one of this connection"),
        (22_242, NOW, HOME, Some(""), "invalid: the challenge is not the one of this connection"),
        (22_242, NOW, "wss://relay.example.com.evil.com", None, WRONG_RELAY),
        (22_242, NOW, "wss://relay.example.com@evil.com", None, WRONG_RELAY),
        (22_242, NOW, "wss://evil.com/wss://relay.example.com", None, WRONG_RELAY),
        (22_242, NOW, "https://relay.example.com", None, WRONG_RELAY),
        (22_242, NOW, "wss://relay.example.com.", None, WRONG_RELAY),
        (22_242, NOW, "", None, WRONG_RELAY),
    ] {
        assert_eq!(try_one(kind, created_at, relay, challenge), (false, reason.to_owned()), "{kind} {created_at} {relay}");
    }
    let mut client = house.client();
    let bare = signed(1, 22_242, NOW, &[&["challenge", &client.challenge]], "");
    assert_eq!(client.auth(&bare).1, WRONG_RELAY);
}

#[test]
fn a_forged_login_is_refused() {
    let house = House::new();
    let mut client = house.client();
    let event = auth_event(1, 22_242, NOW, "wss://relay.example.com", &client.challenge);
    let mut forged: Value = serde_json::from_str(&event).unwrap();
    forged["sig"] = serde_json::from_str::<Value>(&note(1, "x")).unwrap()["sig"].clone();
    assert_eq!(client.auth(&forged.to_string()), (false, "invalid: signature does not match".to_owned()));
    forged["content"] = "changed".into();
    assert_eq!(client.auth(&forged.to_string()), (false, "invalid: event id does not match its content".to_owned()));
    assert_eq!(house.store.len(), 0);
}

#[test]
fn several_keys_log_in_up_to_the_bound() {
    let house = House::new();
    let mut client = house.client();
    for author in 1..=16 {
        // Ten a minute.
        house.clock.set_ms((NOW + u64::from(author) * 7) * 1_000);
        client.log_in(author);
    }
    let refused = client.auth(&auth_event(17, 22_242, NOW + 112, "wss://relay.example.com", &client.challenge.clone()));
    assert_eq!(refused.1, "restricted: at most 16 keys may log in on one connection");
    house.clock.set_ms((NOW + 300) * 1_000);
    client.log_in(16);
    for author in [1, 16] {
        assert!(client.publish(&signed(author, 1, NOW, &[&["-"]], "")).0);
    }
}

#[test]
fn logins_are_limited_by_the_minute_whatever_they_are() {
    let house = House::new();
    let mut client = house.client();
    for _ in 0..10 {
        assert!(client.auth(&note(1, "no login")).1.starts_with("invalid: AUTH needs"));
    }
    assert_eq!(client.auth(&note(1, "no login")).1, "rate-limited: too many logins, wait 60 s");
    house.clock.set_ms((NOW + 60) * 1_000);
    client.log_in(1);
}

#[test]
fn a_relay_without_a_name_takes_no_login_for_another() {
    let house = House::with(Setup { homes: vec![Home::at_any_port("localhost").unwrap()], ..Setup::default() });
    let mut client = house.client();
    let challenge = client.challenge.clone();
    assert!(!client.auth(&auth_event(1, 22_242, NOW, "ws://elsewhere", &challenge)).0);
    assert!(client.auth(&auth_event(1, 22_242, NOW, "ws://localhost:7777", &challenge)).0);
    let mut nameless = House::with(Setup { homes: Vec::new(), ..Setup::default() }).client();
    assert!(!nameless.auth(&auth_event(1, 22_242, NOW, "ws://localhost:7777", &nameless.challenge.clone())).0);
}
