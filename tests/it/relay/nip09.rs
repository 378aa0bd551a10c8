//! NIP-09: deletion requests by event and by address, only one's own, kept for ever.

use serde_json::json;

use crate::support::{Client, Event, Hearth, Key, now_s};

/// Whether it is still there.
async fn is_stored(client: &mut Client, event: &Event) -> bool {
    !client.stored(&[json!({"ids": [event.id]})]).await.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_deletes_ones_own_events_and_no_others() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let (me, other) = (Key::random(), Key::random());
    let now = now_s();
    let mine: Vec<Event> = (0..3).map(|n| me.event_at(now - 10, 1, &format!("{n}"), &[])).collect();
    let theirs = other.event_at(now - 10, 1, "theirs", &[&["p", &me.hex]]);
    for event in mine.iter().chain([&theirs]) {
        client.accept(event).await;
    }
    let deletion =
        me.event_at(now, 5, "", &[&["e", &mine[0].id], &["e", &mine[1].id, "wss://x"], &["e", &theirs.id], &["k", "1"]]);
    client.accept(&deletion).await;
    for (event, stays) in [(&mine[0], false), (&mine[1], false), (&mine[2], true), (&theirs, true), (&deletion, true)] {
        assert_eq!(is_stored(&mut client, event).await, stays, "{}", event.content);
    }
    assert_eq!(client.count(&[json!({"authors": [me.hex], "kinds": [1]})]).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_never_comes_back() {
    let mut hearth = Hearth::start();
    let (me, other) = (Key::random(), Key::random());
    let now = now_s();
    let before = me.event_at(now - 10, 1, "deleted after it came", &[]);
    let unseen = me.event_at(now - 10, 1, "deleted before it came", &[]);
    let theirs = other.event_at(now - 10, 1, "named by a stranger's deletion before it came", &[]);
    let deletion = me.event_at(now, 5, "", &[&["e", &before.id], &["e", &unseen.id], &["e", &theirs.id]]);
    {
        let mut client = hearth.client().await;
        client.accept(&before).await;
        client.accept(&deletion).await;
    }
    for round in 0..2 {
        let mut client = hearth.client().await;
        for event in [&before, &unseen] {
            let verdict = client.publish(event).await;
            assert!(!verdict.accepted && verdict.text.starts_with("blocked: "), "round {round}: {verdict:?}");
            assert!(!is_stored(&mut client, event).await, "round {round}: {}", event.content);
        }
        client.accept(&theirs).await;
        assert!(is_stored(&mut client, &theirs).await);
        // The tombstones are on disk.
        hearth.kill();
        hearth.launch();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_deletes_every_version_up_to_the_deletion() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let now = now_s();
    // Kind, `d` tag, address; plain replaceable events have an address too.
    for (kind, d, suffix) in
        [(30_023, "post", "post"), (30_023, "", ""), (30_023, "a:b", "a:b"), (10_002, "", ""), (0, "", ""), (3, "", "")]
    {
        let me = Key::random();
        let version = |at: u64| me.event_at(at, kind, &format!("{at}"), &[&["d", d]]);
        let (old, same, new) = (version(now - 10), version(now - 5), version(now - 4));
        let address = format!("{kind}:{}:{suffix}", me.hex);
        client.accept(&old).await;
        client.accept(&me.event_at(now - 5, 5, "", &[&["a", &address]])).await;
        assert!(!is_stored(&mut client, &old).await, "{address}");
        for event in [&old, &same] {
            let verdict = client.publish(event).await;
            assert!(!verdict.accepted && verdict.text.starts_with("blocked: "), "{address}: {verdict:?}");
        }
        client.accept(&new).await;
        assert!(is_stored(&mut client, &new).await, "{address}: a later version is a new beginning");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deletion_does_not_reach() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let (me, other) = (Key::random(), Key::random());
    let now = now_s();
    let theirs = other.event_at(now - 10, 30_023, "", &[&["d", "x"]]);
    let newer = me.event_at(now - 1, 30_023, "", &[&["d", "x"]]);
    let elsewhere = me.event_at(now - 10, 30_023, "", &[&["d", "y"]]);
    let other_kind = me.event_at(now - 10, 30_024, "", &[&["d", "x"]]);
    let note = me.event_at(now - 10, 1, "note", &[]);
    for event in [&theirs, &newer, &elsewhere, &other_kind, &note] {
        client.accept(event).await;
    }
    let address = |key: &Key, kind: &str, d: &str| format!("{kind}:{}:{d}", key.hex);
    let reaching = [
        address(&other, "30023", "x"),
        address(&me, "30023", "x"),
        address(&me, "1", ""),
        address(&me, "30023", "Y"),
        format!("30024:{}", me.hex),
        address(&me, "030024", "x"),
        address(&me, "+30024", "x"),
        "30024::x".to_owned(),
        "nonsense".to_owned(),
        String::new(),
    ];
    let tags: Vec<Vec<&str>> = reaching.iter().map(|address| vec!["a", address.as_str()]).collect();
    let mut tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
    let upper = ["E", note.id.as_str()];
    tags.extend([&["e"][..], &["e", "abc"], &["a"], &upper, &["k", "1"]]);
    client.accept(&me.event_at(now - 5, 5, "", &tags)).await;
    for event in [&theirs, &newer, &elsewhere, &other_kind, &note] {
        assert!(is_stored(&mut client, event).await, "kind {} by {}", event.kind, event.pubkey);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_of_a_deletion_has_no_effect() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let me = Key::random();
    let now = now_s();
    let note = me.event_at(now - 10, 1, "", &[]);
    let deletion = me.event_at(now - 5, 5, "", &[&["e", &note.id]]);
    client.accept(&note).await;
    client.accept(&deletion).await;
    client.accept(&me.event_at(now, 5, "", &[&["e", &deletion.id]])).await;
    assert!(is_stored(&mut client, &deletion).await);
    assert!(!client.publish(&note).await.accepted);
    assert_eq!(client.stored(&[json!({"kinds": [1]})]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_are_events_and_reach_live_subscribers() {
    let hearth = Hearth::start();
    let (mut client, mut reader) = (hearth.client().await, hearth.client().await);
    let me = Key::random();
    reader.stored_json("live", &[json!({"kinds": [5]})]).await;
    let note = me.note("");
    client.accept(&note).await;
    let deletion = me.event(5, "a reason", &[&["e", &note.id]]);
    client.accept(&deletion).await;
    assert_eq!(reader.live("live").await, deletion);
    let again = client.publish(&deletion).await;
    assert!(again.accepted && again.text.starts_with("duplicate: "), "{again:?}");
}
