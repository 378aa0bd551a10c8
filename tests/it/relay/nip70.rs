//! NIP-70: protected events are taken from their authenticated author only.

use serde_json::json;

use crate::support::{Hearth, Key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_protected_event_is_taken_from_its_author_alone() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let (author, other) = (Key::random(), Key::random());
    let event = author.event(1, "mine", &[&["t", "x"], &["-"]]);
    let verdict = client.publish(&event).await;
    assert!(!verdict.accepted && verdict.text.starts_with("auth-required: "), "{verdict:?}");
    assert!(client.login(&other).await.accepted);
    let verdict = client.publish(&event).await;
    assert!(!verdict.accepted && verdict.text.starts_with("restricted: "), "{verdict:?}");
    assert!(client.login(&author).await.accepted);
    client.accept(&event).await;
    assert_eq!(client.stored(&[json!({})]).await, std::slice::from_ref(&event.id));
    // Whoever sends a copy of what is known already adds nothing.
    let mut stranger = hearth.client().await;
    let verdict = stranger.publish(&event).await;
    assert!(verdict.text.starts_with("duplicate: ") || verdict.text.starts_with("auth-required: "), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_tag_itself_protects() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let key = Key::random();
    for tags in [&[&["t", "-"][..]][..], &[&["--"]], &[&["alt", "-"], &["-x", "-"]]] {
        client.accept(&key.event(1, &format!("{tags:?}"), tags)).await;
    }
    for kind in [0, 1, 20_001, 30_000] {
        let verdict = client.publish(&key.event(kind, "", &[&["-"]])).await;
        assert!(verdict.text.starts_with("auth-required: "), "kind {kind}: {verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repost_of_a_protected_event_is_refused() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let (author, other) = (Key::random(), Key::random());
    let (protected, open) = (author.event(1, "mine", &[&["-"]]), author.event(1, "ours", &[]));
    for kind in [6, 16] {
        let repost = |of: &crate::support::Event| other.event(kind, &of.json(), &[&["e", &of.id], &["p", &author.hex]]);
        let verdict = client.publish(&repost(&protected)).await;
        assert!(!verdict.accepted, "kind {kind}: {verdict:?}");
        client.accept(&repost(&open)).await;
    }
}
