//! The `nostr-sdk` crate, unmodified, as an ordinary client.

use std::time::Duration;

use nostr_sdk::prelude::{
    Client, EventBuilder, Filter, Keys, Kind, Metadata, RelayPoolNotification, SyncOptions, Tag, Timestamp,
};

use crate::support::{Hearth, PATIENCE};

async fn client(hearth: &Hearth) -> (Client, Keys) {
    let keys = Keys::generate();
    let client = Client::new(keys.clone());
    client.add_relay(hearth.url()).await.unwrap();
    client.connect().await;
    client.wait_for_connection(PATIENCE).await;
    (client, keys)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notes_profiles_and_deletions_go_there_and_back() {
    let hearth = Hearth::start();
    let (alice, keys) = client(&hearth).await;
    let (bob, _) = client(&hearth).await;
    let note = alice.send_event_builder(EventBuilder::text_note("hello hearth").tag(Tag::hashtag("hearth"))).await.unwrap();
    assert!(note.failed.is_empty(), "{note:?}");
    alice.set_metadata(&Metadata::new().name("alice")).await.unwrap();
    let by_alice = Filter::new().author(keys.public_key());
    let found = bob.fetch_events(by_alice.clone(), PATIENCE).await.unwrap();
    assert_eq!(found.len(), 2);
    found.iter().for_each(|event| event.verify().unwrap());
    let tagged = bob.fetch_events(Filter::new().hashtag("hearth"), PATIENCE).await.unwrap();
    assert_eq!(tagged.first().unwrap().id, *note.id());
    let request = nostr_sdk::prelude::EventDeletionRequest::new().id(*note.id());
    alice.send_event_builder(EventBuilder::delete(request)).await.unwrap();
    let left = bob.fetch_events(by_alice.kind(Kind::TextNote), PATIENCE).await.unwrap();
    assert!(left.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_hears_what_is_published_later() {
    let hearth = Hearth::start();
    let (alice, keys) = client(&hearth).await;
    let (bob, _) = client(&hearth).await;
    let mut notifications = bob.notifications();
    bob.subscribe(Filter::new().author(keys.public_key()).since(Timestamp::now() - Duration::from_secs(60)), None).await.unwrap();
    let note = alice.send_event_builder(EventBuilder::text_note("live")).await.unwrap();
    let heard = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Ok(RelayPoolNotification::Event { event, .. }) = notifications.recv().await {
                return event.id;
            }
        }
    });
    assert_eq!(heard.await.expect("the event in time"), *note.id());
}

/// Negentropy (NIP-77) is not served: a client that tries to synchronise hears so at once and not by waiting in vain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronisation_is_refused_with_words() {
    let hearth = Hearth::start();
    let (alice, keys) = client(&hearth).await;
    let output = alice.sync(Filter::new().author(keys.public_key()), &SyncOptions::default()).await.unwrap();
    assert!(output.success.is_empty(), "{output:?}");
    let words: Vec<&String> = output.failed.values().collect();
    assert!(matches!(words[..], [words] if words.contains("negentropy (NIP-77) is not served")), "{words:?}");
}
