//! NIP-11: what the relay says of itself, and that every limit it names is where it says.

use serde_json::{Value, json};

use crate::support::client::Heard;
use crate::support::http::http;
use crate::support::{Client, Hearth, Key, now_s};

/// The document.
async fn document(hearth: &Hearth) -> Value {
    let answer = http(hearth.address(), "GET", "/", &[("Accept", "application/nostr+json")]).await;
    assert_eq!(answer.status, 200);
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_says_what_is_on() {
    let config = "[relay]\nname = \"a \\\"name\\\"\"\ndescription = \"two\\nlines\"\ncontact = \"mailto:x@example.com\"\n\
                  pubkey = \"abababababababababababababababababababababababababababababababab\"\nicon = \"https://example.com/i.png\"\n";
    let hearth = Hearth::with_config(config);
    let shown = document(&hearth).await;
    assert_eq!(shown["name"], "a \"name\"");
    assert_eq!(shown["description"], "two\nlines");
    assert_eq!(shown["contact"], "mailto:x@example.com");
    assert_eq!(shown["pubkey"], "ab".repeat(32));
    assert_eq!(shown["icon"], "https://example.com/i.png");
    assert!(shown["software"].as_str().unwrap().contains("hearth"), "{shown}");
    assert!(!shown["version"].as_str().unwrap().is_empty());
    let nips: Vec<u64> = shown["supported_nips"].as_array().unwrap().iter().map(|nip| nip.as_u64().unwrap()).collect();
    assert!(nips.is_sorted(), "{nips:?}");
    for nip in [1, 9, 11, 40, 42, 47, 70] {
        assert!(nips.contains(&nip), "NIP-{nip} is not in {nips:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wallet_is_only_announced_when_it_is_on() {
    let hearth = Hearth::with_config("[wallet]\nenabled = false\n");
    let nips = document(&hearth).await["supported_nips"].clone();
    assert!(!nips.as_array().unwrap().contains(&json!(47)), "{nips}");
    let mut client = hearth.client().await;
    client.accept(&Key::random().note("a relay all the same")).await;
    assert_eq!(hearth.run(&["wallet", "connect", "phone"]).status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_limits_are_the_documented_ones() {
    let hearth = Hearth::as_shipped();
    let limits = document(&hearth).await["limitation"].clone();
    let expected = [
        ("max_message_length", json!(131_072)),
        ("max_subscriptions", json!(200)),
        ("max_limit", json!(5_000)),
        ("default_limit", json!(500)),
        ("max_subid_length", json!(64)),
        ("max_event_tags", json!(2_000)),
        ("created_at_lower_limit", json!(94_608_000)),
        ("created_at_upper_limit", json!(900)),
        ("auth_required", json!(false)),
        ("payment_required", json!(false)),
    ];
    for (name, value) in expected {
        assert_eq!(limits[name], value, "{name} of {limits}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_endpoint_serves_the_document_a_page_and_the_socket() {
    let hearth = Hearth::start();
    let accept = [("Accept", "application/nostr+json")];
    for (method, path, headers, status, kind) in [
        ("GET", "/", &accept[..], 200, "application/nostr+json"),
        ("GET", "/", &[("Accept", "application/nostr+json, text/html;q=0.5")], 200, "application/nostr+json"),
        ("GET", "/", &[("Accept", "text/html")], 200, "text/html"),
        ("GET", "/", &[], 200, "text/html"),
        ("GET", "/nothing", &accept, 404, ""),
        ("GET", "/nothing", &[], 404, ""),
        ("GET", "/metrics", &[], 404, ""),
        ("POST", "/", &[("Content-Length", "0")], 405, ""),
    ] {
        let answer = http(hearth.address(), method, path, headers).await;
        assert_eq!(answer.status, status, "{method} {path} {headers:?}");
        assert!(answer.headers.get("content-type").map_or("", String::as_str).starts_with(kind), "{answer:?}");
    }
    for (method, headers) in
        [("GET", &accept[..]), ("OPTIONS", &[("Origin", "https://x"), ("Access-Control-Request-Method", "GET")])]
    {
        let answer = http(hearth.address(), method, "/", headers).await;
        assert!(answer.status < 300, "{method}: {answer:?}");
        for name in ["access-control-allow-origin", "access-control-allow-headers", "access-control-allow-methods"] {
            assert!(answer.headers.contains_key(name), "{method}: no {name} in {answer:?}");
        }
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
    }
    let refused = Client::try_connect(&format!("{}nothing", hearth.url())).await.err().unwrap();
    assert!(refused.contains("404"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_listener_tells_health_and_figures() {
    let hearth = Hearth::start();
    let address = hearth.admin().strip_prefix("http://").unwrap();
    for path in ["/livez", "/readyz"] {
        assert_eq!(http(address, "GET", path, &[]).await.status, 200, "{path}");
    }
    let mut client = hearth.client().await;
    client.accept(&Key::random().note("counted")).await;
    let metrics = http(address, "GET", "/metrics", &[]).await;
    assert_eq!(metrics.status, 200);
    for name in ["nostr_client_messages_total", "nostr_events_total", "relay_connections", "nwc_invariant_violations_total"] {
        assert!(metrics.body.contains(name), "no {name} in:\n{}", metrics.body);
    }
    assert_eq!(http(address, "GET", "/nothing", &[]).await.status, 404);
}

/// Small values of everything that NIP-11 names, so that probing is quick and the document is shown to be generated.
const SMALL: &str = "[rates]\nenabled = false\n[limits]\nmessage_bytes = 20000\nsubscriptions = 7\nlimit_max = 40\nlimit_default = 12\n\
                     subscription_id_chars = 9\nevent_tags = 5\nevent_bytes = 9000\ncreated_at_past_s = 5000\ncreated_at_future_s = 300\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_limit_holds_at_its_value_and_not_one_past_it() {
    let hearth = Hearth::with_config(SMALL);
    let limits = document(&hearth).await["limitation"].clone();
    let limit = |name: &str| limits[name].as_u64().unwrap_or_else(|| panic!("no {name} in {limits}"));
    let number = |name: &str| usize::try_from(limit(name)).unwrap();
    probe_message_length(&hearth, number("max_message_length")).await;
    let mut client = hearth.client().await;
    probe_subscriptions(&mut client, number("max_subscriptions")).await;
    let mut client = hearth.client().await;
    probe_query_limits(&mut client, number("default_limit"), number("max_limit")).await;
    probe_subscription_ids(&mut client, number("max_subid_length")).await;
    probe_events(&mut client, number("max_event_tags"), number("max_content_length")).await;
    probe_times(&mut client, limit("created_at_lower_limit"), limit("created_at_upper_limit")).await;
}

async fn probe_message_length(hearth: &Hearth, most: usize) {
    assert_eq!(most, 20_000);
    let message = |length: usize| format!("{:<length$}", "[\"REQ\",\"s\",{\"limit\":0}]");
    let mut client = hearth.client().await;
    client.send(message(most)).await;
    client.until_eose("s").await;
    client.send(message(most + 1)).await;
    assert_eq!(client.gone().await.0, 1_009, "message of {} bytes", most + 1);
}

async fn probe_subscriptions(client: &mut Client, most: usize) {
    assert_eq!(most, 7);
    for n in 0..most {
        client.stored_json(&format!("s{n}"), &[json!({"limit": 0})]).await;
    }
    // Replacing one is no new one.
    client.stored_json("s0", &[json!({"limit": 0, "kinds": [1]})]).await;
    client.subscribe("more", &[json!({"limit": 0})]).await;
    assert!(client.closed("more").await.starts_with("error: too many subscriptions"));
    client.say(&json!(["CLOSE", "s3"])).await;
    client.stored_json("more", &[json!({"limit": 0})]).await;
}

async fn probe_query_limits(client: &mut Client, default: usize, most: usize) {
    assert_eq!((default, most), (12, 40));
    let key = Key::random();
    for n in 0..=most {
        client.accept(&key.note(&format!("{n}"))).await;
    }
    for (filter, expected) in [
        (json!({}), default),
        (json!({"limit": most}), most),
        (json!({"limit": most + 1}), most),
        (json!({"limit": u64::MAX}), most),
        (json!({"limit": 1}), 1),
    ] {
        assert_eq!(client.stored(std::slice::from_ref(&filter)).await.len(), expected, "{filter}");
    }
}

async fn probe_subscription_ids(client: &mut Client, most: usize) {
    assert_eq!(most, 9);
    // Characters, not bytes.
    for name in ["s".repeat(most), "ü".repeat(most), "🔥".repeat(most)] {
        client.stored_json(&name, &[json!({"limit": 0})]).await;
        client.say(&json!(["CLOSE", name])).await;
    }
    let long = "s".repeat(most + 1);
    client.subscribe(&long, &[json!({"limit": 0})]).await;
    assert!(client.closed(&long).await.starts_with("invalid: "));
}

async fn probe_events(client: &mut Client, tags: usize, content: usize) {
    assert_eq!(tags, 5);
    let key = Key::random();
    let tagged = |count: usize| key.event(1, "", &vec![&["t", "x"][..]; count]);
    client.accept(&tagged(tags)).await;
    assert!(client.publish(&tagged(tags + 1)).await.text.starts_with("invalid: "));
    // The longest kind there is, so that nothing but the content decides.
    client.accept(&key.event(65_535, &"c".repeat(content), &[])).await;
    let verdict = client.publish(&key.event(65_535, &"c".repeat(content + 1), &[])).await;
    assert!(!verdict.accepted && verdict.text.starts_with("invalid: "), "content of {}: {verdict:?}", content + 1);
}

async fn probe_times(client: &mut Client, past: u64, future: u64) {
    assert_eq!((past, future), (5_000, 300));
    let key = Key::random();
    let now = now_s();
    // Half a minute either way is what a busy machine may need for the round trip.
    for (created_at, accepted) in
        [(now - past + 30, true), (now - past - 30, false), (now + future - 30, true), (now + future + 60, false)]
    {
        let verdict = client.publish(&key.event_at(created_at, 1, "", &[])).await;
        assert_eq!(verdict.accepted, accepted, "created_at {} of now: {verdict:?}", created_at.wrapping_sub(now).cast_signed());
        assert!(accepted || verdict.text.starts_with("invalid: "), "{verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_address_are_counted() {
    let hearth = Hearth::with_config("[limits]\nconnections_per_ip = 5\n");
    let mut open = Vec::new();
    for _ in 0..5 {
        let mut client = hearth.client().await;
        client.settle().await;
        open.push(client);
    }
    let refused = match Client::try_connect(&hearth.url()).await {
        Err(_) => true,
        Ok(mut client) => matches!(client.next().await, Heard::Gone(..)),
    };
    assert!(refused, "a sixth connection");
    open.pop().unwrap().close().await;
    crate::support::eventually("a place is free again", async || match Client::try_connect(&hearth.url()).await {
        Err(_) => false,
        Ok(mut client) => {
            client.try_send("[\"REQ\",\"s\",{\"limit\":0}]").await.is_ok() && matches!(client.next().await, Heard::Eose(_))
        }
    })
    .await;
}
