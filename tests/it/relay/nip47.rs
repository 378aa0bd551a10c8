//! NIP-47 as any relay serves it: a wallet service from outside over ephemeral traffic, and who may read what.

use serde_json::{Value, json};

use crate::support::client::{Heard, request};
use crate::support::{Client, Event, Hearth, Key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outside_wallet_works_over_hearth() {
    let hearth = Hearth::start();
    let (service, app) = (Key::random(), Key::random());
    let (mut wallet_side, mut app_side) = (hearth.client().await, hearth.client().await);
    let info = service.event(13_194, "pay_invoice get_balance", &[&["encryption", "nip44_v2"]]);
    wallet_side.accept(&info).await;
    wallet_side.stored_json("requests", &[json!({"kinds": [23_194], "#p": [service.hex]})]).await;

    assert_eq!(app_side.stored(&[json!({"kinds": [13_194], "authors": [service.hex]})]).await, [info.id]);
    let request = app.event(23_194, "opaque?iv=to the relay", &[&["p", &service.hex]]);
    app_side.stored_json("answers", &[json!({"kinds": [23_195], "authors": [service.hex], "#e": [request.id]})]).await;
    app_side.accept(&request).await;
    assert_eq!(wallet_side.live("requests").await, request);
    let answer = service.event(23_195, "opaque too", &[&["p", &app.hex], &["e", &request.id]]);
    wallet_side.accept(&answer).await;
    assert_eq!(app_side.live("answers").await, answer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_side_that_subscribes_a_moment_late_still_gets_it() {
    let hearth = Hearth::start();
    let (service, app) = (Key::random(), Key::random());
    let mut client = hearth.client().await;
    let request = app.event(23_194, "early", &[&["p", &service.hex]]);
    client.accept(&request).await;
    let mut wallet_side = hearth.client().await;
    let found = wallet_side.stored_json("requests", &[json!({"kinds": [23_194], "#p": [service.hex]})]).await;
    assert_eq!(found, [request.json()]);
    let answer = service.event(23_195, "early too", &[&["p", &app.hex], &["e", &request.id]]);
    wallet_side.accept(&answer).await;
    for filter in [
        json!({"kinds": [23_195], "#e": [request.id]}),
        json!({"kinds": [23_195], "authors": [service.hex], "#p": [app.hex]}),
        json!({"kinds": [23_195], "authors": [service.hex], "since": request.created_at - 60}),
    ] {
        assert_eq!(client.stored(std::slice::from_ref(&filter)).await, std::slice::from_ref(&answer.id), "{filter}");
    }
}

/// One event of each wallet kind, and the filters that may see it.
struct Traffic {
    service: Key,
    app: Key,
    events: Vec<Event>,
}

impl Traffic {
    fn new() -> Self {
        let (service, app) = (Key::random(), Key::random());
        let to_app = |kind: u64| service.event(kind, "x", &[&["p", &app.hex], &["e", &"ab".repeat(32)]]);
        let mut events: Vec<Event> = [23_195, 23_196, 23_197].map(to_app).to_vec();
        events.push(app.event(23_194, "x", &[&["p", &service.hex], &["e", &"ab".repeat(32)]]));
        events.push(service.event(13_194, "get_info", &[&["p", &app.hex], &["e", &"ab".repeat(32)]]));
        Self { service, app, events }
    }

    fn hidden_from(&self) -> Vec<Value> {
        let now = self.events[0].created_at;
        vec![
            json!({}),
            json!({"kinds": [13_194]}),
            json!({"kinds": [23_194, 23_195, 23_196, 23_197, 13_194]}),
            json!({"since": now - 100}),
            json!({"until": now + 100, "limit": 100}),
            json!({"#t": ["x"]}),
            json!({"#P": [self.app.hex]}),
        ]
    }

    fn shown_to(&self) -> Vec<(Value, usize)> {
        let ids: Vec<&String> = self.events.iter().map(|event| &event.id).collect();
        vec![
            (json!({"ids": ids}), 5),
            (json!({"authors": [self.service.hex]}), 4),
            (json!({"authors": [self.service.hex, self.app.hex]}), 5),
            (json!({"#p": [self.app.hex]}), 4),
            (json!({"#p": [self.service.hex]}), 1),
            (json!({"#e": ["ab".repeat(32)]}), 5),
        ]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wallet_traffic_is_seen_by_filters_that_name_someone_and_by_no_others() {
    let hearth = Hearth::start();
    let (mut publisher, mut reader) = (hearth.client().await, hearth.client().await);
    let traffic = Traffic::new();
    let hidden = traffic.hidden_from();
    let shown = traffic.shown_to();
    for (index, filter) in hidden.iter().enumerate() {
        reader.stored_json(&format!("hidden{index}"), std::slice::from_ref(filter)).await;
    }
    for (index, (filter, _)) in shown.iter().enumerate() {
        reader.stored_json(&format!("shown{index}"), std::slice::from_ref(filter)).await;
    }
    for event in &traffic.events {
        publisher.accept(event).await;
    }
    for (index, (filter, expected)) in shown.iter().enumerate() {
        for _ in 0..*expected {
            reader.live(&format!("shown{index}")).await;
        }
        let again = publisher.stored(std::slice::from_ref(filter)).await.len();
        assert_eq!(again, *expected, "late: {filter}");
    }
    reader.is_quiet().await;
    for filter in hidden {
        assert_eq!(publisher.stored(std::slice::from_ref(&filter)).await, Vec::<String>::new(), "{filter}");
        // A COUNT is answered without these kinds, or refused where it asks for nothing else.
        publisher.say(&request("COUNT", "count", std::slice::from_ref(&filter))).await;
        match publisher.of_subscription("count").await {
            Heard::Count(_, answer) => assert_eq!(answer["count"], 0, "COUNT {filter}"),
            Heard::Closed(_, reason) => {
                assert!(reason.starts_with("restricted: ") && filter.get("kinds").is_some(), "COUNT {filter}: {reason}")
            }
            other => panic!("COUNT {filter}: {other:?}"),
        }
    }
    // Of these kinds only 13194 is stored, and so counted.
    assert_eq!(publisher.count(&[json!({"authors": [traffic.service.hex]})]).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gate_hides_nothing_else() {
    let hearth = Hearth::start();
    let mut client: Client = hearth.client().await;
    let key = Key::random();
    let note = key.note("seen");
    client.accept(&note).await;
    client.accept(&key.event(13_194, "get_info", &[])).await;
    assert_eq!(client.stored(&[json!({})]).await, std::slice::from_ref(&note.id));
    assert_eq!(client.stored(&[json!({"kinds": [1, 13_194]})]).await, std::slice::from_ref(&note.id));
    // Each filter stands for itself: one that names someone does not open the gate for its neighbour.
    let other = Key::random();
    client.accept(&other.event(13_194, "get_info", &[])).await;
    let found = client.stored(&[json!({"kinds": [13_194]}), json!({"authors": [key.hex]})]).await;
    assert_eq!(found.len(), 2, "{found:?}");
}
