//! NIP-45: COUNT.

use serde_json::json;

use crate::support::client::request;
use crate::support::{Hearth, Key, now_s};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_are_exact_and_several_filters_are_one_total() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let (a, b) = (Key::random(), Key::random());
    let t = now_s() - 100;
    for n in 0..10 {
        client.accept(&a.event_at(t + n, 1, "", &[&["t", "x"]])).await;
        client.accept(&b.event_at(t + n, 7, "", &[&["p", &a.hex]])).await;
    }
    client.accept(&a.event_at(t, 10_002, "old", &[])).await;
    client.accept(&a.event_at(t + 1, 10_002, "new", &[])).await;
    for (filters, expected) in [
        (vec![json!({})], 21),
        (vec![json!({"kinds": [1]})], 10),
        (vec![json!({"kinds": [1]}), json!({"kinds": [7]})], 20),
        (vec![json!({"kinds": [1]}), json!({"authors": [a.hex]})], 11),
        (vec![json!({"kinds": [1]}), json!({"#t": ["x"]})], 10),
        (vec![json!({"#p": [a.hex]})], 10),
        (vec![json!({"kinds": [10_002]})], 1),
        (vec![json!({"since": t + 5, "kinds": [7]})], 5),
        (vec![json!({"kinds": [9]})], 0),
        (vec![json!({"kinds": []})], 0),
    ] {
        assert_eq!(client.count(&filters).await, expected, "{filters:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_stops_at_its_limit_and_says_so() {
    let hearth = Hearth::with_config("[limits]\ncount_max = 20\n[rates]\nenabled = false\n");
    let mut client = hearth.client().await;
    let key = Key::random();
    for n in 0..30 {
        client.accept(&key.event(1 + n / 20, &format!("{n}"), &[])).await;
    }
    for (filter, count, approximate) in [(json!({}), 20, true), (json!({"kinds": [2]}), 10, false)] {
        client.say(&request("COUNT", "c", &[filter])).await;
        match client.of_subscription("c").await {
            crate::support::client::Heard::Count(_, answer) => {
                assert_eq!(
                    (answer["count"].as_u64(), answer["approximate"].as_bool().unwrap_or(false)),
                    (Some(count), approximate)
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_is_no_subscription_and_its_refusal_is_closed() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    client.count(&[json!({})]).await;
    client.accept(&Key::random().note("")).await;
    client.is_quiet().await;
    client.say(&request("COUNT", "c", &[json!({"ids": ["ab"]})])).await;
    assert!(client.closed("c").await.starts_with("invalid: "));
    // A COUNT with the id of an open subscription leaves that alone.
    client.stored_json("count", &[json!({"limit": 0})]).await;
    assert_eq!(client.count(&[json!({})]).await, 1);
    let note = Key::random().note("");
    client.accept(&note).await;
    assert_eq!(client.live("count").await, note);
}
