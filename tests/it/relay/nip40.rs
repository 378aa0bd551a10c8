//! NIP-40: expired events are neither taken nor sent.

use serde_json::json;

use crate::support::{Hearth, Key, eventually, now_s};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_event_is_refused() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let key = Key::random();
    for age in [1, 100, 100_000] {
        let expired = key.event(1, "", &[&["expiration", &(now_s() - age).to_string()]]);
        let verdict = client.publish(&expired).await;
        assert!(!verdict.accepted && verdict.text.starts_with("invalid: ") && verdict.text.contains("expired"), "{verdict:?}");
    }
    for value in ["soon", "", "-1", "1.5"] {
        // No number, no expiration.
        client.accept(&key.event(1, value, &[&["expiration", value]])).await;
    }
    client.accept(&key.event(1, "later", &[&["expiration", &(now_s() + 1_000).to_string()]])).await;
    assert_eq!(client.stored(&[json!({})]).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_vanishes_when_its_time_comes() {
    let mut hearth = Hearth::start();
    let key = Key::random();
    let mut client = hearth.client().await;
    let over_s = now_s() + 8;
    let short = key.event(1, "short", &[&["expiration", &over_s.to_string()]]);
    let long = key.event(1, "long", &[&["expiration", &(now_s() + 3_000).to_string()]]);
    client.accept(&short).await;
    client.accept(&long).await;
    eventually("its time", async || now_s() > over_s).await;
    eventually("only the other is found", async || {
        client.stored(&[json!({"authors": [key.hex]})]).await == [long.id.clone()]
            && client.stored(&[json!({"ids": [short.id]})]).await.is_empty()
            && client.count(&[json!({"authors": [key.hex]})]).await == 1
    })
    .await;
    hearth.kill();
    hearth.launch();
    let mut client = hearth.client().await;
    assert_eq!(client.stored(&[json!({})]).await, [long.id]);
    assert!(!client.publish(&short).await.accepted);
}
