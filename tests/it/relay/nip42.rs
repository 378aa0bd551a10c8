//! NIP-42: authentication, with several keys on one connection.

use serde_json::json;

use crate::support::{Event, Hearth, Key, now_s};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_may_have_several_keys() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let keys = [Key::random(), Key::random(), Key::random()];
    for key in &keys[..2] {
        let verdict = client.login(key).await;
        assert!(verdict.accepted, "{verdict:?}");
    }
    // A protected event (NIP-70) is taken from whoever is authenticated.
    for (key, accepted) in keys.iter().zip([true, true, false]) {
        let verdict = client.publish(&key.event(1, "", &[&["-"]])).await;
        assert_eq!(verdict.accepted, accepted, "{verdict:?}");
    }
    assert!(client.login(&keys[1]).await.accepted, "again is no error");
}

/// The `nwc` crate takes an AUTH that it cannot answer for the end of its subscriptions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_offered_when_it_is_needed_and_once() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    client.accept(&Key::random().note("")).await;
    client.stored(&[json!({})]).await;
    assert_eq!(client.challenge, None, "nothing here needs a login");
    client.auth_event(&Key::random()).await;
    assert!(client.challenge.take().is_some());
    client.publish(&Key::random().event(1, "", &[&["-"]])).await;
    assert_eq!(client.challenge, None, "it was offered already");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn challenges_are_random_and_each_connection_has_its_own() {
    let hearth = Hearth::start();
    let key = Key::random();
    let (mut a, mut b) = (hearth.client().await, hearth.client().await);
    let for_a = a.auth_event(&key).await;
    b.auth_event(&key).await;
    assert_ne!(a.challenge, b.challenge);
    assert!(a.challenge.as_ref().unwrap().len() >= 32, "at least 128 bits in hex");
    b.say(&json!(["AUTH", for_a])).await;
    assert!(!b.verdict(&for_a.id).await.accepted, "a challenge of another connection");
    a.say(&json!(["AUTH", for_a])).await;
    assert!(a.verdict(&for_a.id).await.accepted);
}

/// Events that authenticate nobody on a connection with this challenge.
fn wrong_ones(key: &Key, address: &str, challenge: &str) -> Vec<(String, Event)> {
    let url = format!("ws://{address}/");
    let port = address.rsplit(':').next().unwrap();
    let now = now_s();
    let made = |at: u64, kind: u64, relay: &str, challenge: &str| {
        key.event_at(at, kind, "", &[&["relay", relay], &["challenge", challenge]])
    };
    let backwards: String = challenge.chars().rev().collect();
    let mut wrong: Vec<(String, Event)> = vec![
        ("other kind".into(), made(now, 22_243, &url, challenge)),
        ("kind 1".into(), made(now, 1, &url, challenge)),
        ("no tags".into(), key.event_at(now, 22_242, "", &[])),
        ("no challenge".into(), key.event_at(now, 22_242, "", &[&["relay", &url]])),
        ("no relay".into(), key.event_at(now, 22_242, "", &[&["challenge", challenge]])),
        ("empty challenge".into(), made(now, 22_242, &url, "")),
        ("other challenge".into(), made(now, 22_242, &url, &backwards)),
        ("longer challenge".into(), made(now, 22_242, &url, &format!("{challenge}0"))),
        ("old".into(), made(now - 700, 22_242, &url, challenge)),
        ("of the future".into(), made(now + 700, 22_242, &url, challenge)),
        ("of 1970".into(), made(0, 22_242, &url, challenge)),
    ];
    for relay in [
        "wss://relay.example.com/".to_owned(),
        format!("ws://127.0.0.1.evil.example.com:{port}/"),
        format!("ws://127.0.0.1:{port}@evil.example.com/"),
        format!("ws://evil.example.com/127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}/"),
        "127.0.0.1".to_owned(),
        String::new(),
    ] {
        wrong.push((format!("relay {relay:?}"), made(now, 22_242, &relay, challenge)));
    }
    let mut forged = made(now, 22_242, &url, challenge);
    forged.sig = Key::random().sign_id(&const_hex::decode(&forged.id).unwrap().try_into().unwrap());
    wrong.push(("signature of another key".into(), forged));
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_an_authentication_for_this_connection_is_refused() {
    let hearth = Hearth::start();
    let key = Key::random();
    let cases = wrong_ones(&key, hearth.address(), "x").len();
    for case in 0..cases {
        // A connection for each, because only so many attempts are allowed in a minute.
        let mut client = hearth.client().await;
        let good = client.auth_event(&key).await;
        let (what, event) = wrong_ones(&key, hearth.address(), good.tag("challenge").unwrap()).swap_remove(case);
        client.say(&json!(["AUTH", event])).await;
        let verdict = client.verdict(&event.id).await;
        assert!(!verdict.accepted && verdict.text.contains(": "), "{what}: {verdict:?}");
        let verdict = client.publish(&key.event(1, "", &[&["-"]])).await;
        assert!(verdict.text.starts_with("auth-required: "), "{what} counted: {verdict:?}");
        client.say(&json!(["AUTH", good])).await;
        assert!(client.verdict(&good.id).await.accepted, "after {what} the good one still does");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authentication_is_never_stored_nor_sent_on() {
    let hearth = Hearth::start();
    let (mut client, mut reader) = (hearth.client().await, hearth.client().await);
    let key = Key::random();
    reader.stored_json("live", &[json!({"kinds": [22_242]}), json!({"authors": [key.hex]})]).await;
    let event = client.auth_event(&key).await;
    client.say(&json!(["AUTH", event])).await;
    assert!(client.verdict(&event.id).await.accepted);
    let verdict = client.publish(&event).await;
    assert!(!verdict.accepted, "as an EVENT: {verdict:?}");
    reader.is_quiet().await;
    assert_eq!(client.stored(&[json!({"ids": [event.id]})]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configured_address_is_what_counts() {
    let hearth = Hearth::with_config("[relay]\nurl = \"wss://relay.example.com\"\nother_urls = [\"ws://other.example.org/\"]\n");
    let key = Key::random();
    for (relay, accepted) in [
        ("wss://relay.example.com", true),
        ("wss://relay.example.com/", true),
        ("wss://RELAY.example.com/", true),
        ("ws://other.example.org", true),
        ("wss://relay.example.com.evil.com/", false),
        ("wss://evil.com/?relay.example.com", false),
        ("wss://example.com/", false),
    ] {
        let mut client = hearth.client().await;
        let challenge = client.auth_event(&key).await.tag("challenge").unwrap().to_owned();
        let event = key.event(22_242, "", &[&["relay", relay], &["challenge", &challenge]]);
        client.say(&json!(["AUTH", event])).await;
        let verdict = client.verdict(&event.id).await;
        assert_eq!(verdict.accepted, accepted, "{relay}: {verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_one_connection_are_counted() {
    let hearth = Hearth::with_config("[limits]\nauth_keys = 3\n[rates]\nenabled = false\n");
    let mut client = hearth.client().await;
    for n in 0..3 {
        assert!(client.login(&Key::seeded(n)).await.accepted);
    }
    assert!(!client.login(&Key::seeded(3)).await.accepted);
    assert!(client.login(&Key::seeded(0)).await.accepted, "one that is in already");
}
