//! Publish, then subscribe: the answer reaches a REQ that comes 2 s later on another socket, with each filter of deployed clients.

use std::time::Duration;

use serde_json::{Value, json};

use super::Two;
use crate::support::{App, Event, eventually, now_s};

/// Filters by which deployed clients wait for an answer.
fn shapes(app: &App, request: &Event) -> Vec<(&'static str, Value)> {
    let (wallet, me, id) = (&app.wallet, &app.key.hex, &request.id);
    vec![
        ("js-sdk", json!({"kinds": [23_195], "authors": [wallet], "#e": [id]})),
        ("Amethyst", json!({"kinds": [23_195], "#e": [id], "#p": [me]})),
        ("Damus", json!({"kinds": [23_195], "#e": [id], "#p": [me], "authors": [wallet]})),
        ("NDK", json!({"kinds": [23_195], "#e": [id], "limit": 1})),
        ("nwc crate", json!({"authors": [wallet], "kinds": [23_195], "#e": [id]})),
        ("nwcjs", json!({"kinds": [23_195], "limit": 1, "#e": [id], "#p": [me]})),
        ("Mostro", json!({"kinds": [23_195], "authors": [wallet], "since": now_s() - 60})),
        ("by author and p", json!({"authors": [wallet], "#p": [me]})),
        ("notifications too", json!({"kinds": [23_195, 23_196, 23_197], "#p": [me]})),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_req_two_seconds_later_on_another_socket_gets_the_answer() {
    let mut two = Two::new(1_000_000).await;
    let invoice = two.payee.invoice(&mut two.client, 1_000).await;
    let pay = two.payer.request("pay_invoice", &json!({"invoice": invoice}));
    let read = two.payer.request("get_info", &json!({}));
    for request in [&pay, &read] {
        let mut publisher = two.hearth.client().await;
        publisher.accept(request).await;
        publisher.close().await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    // A machine that has too much to do may need longer.
    let answered = || two.hearth.json(&["wallet", "log", "payer"])["entries"].as_array().unwrap().len();
    eventually("both are answered", async || answered() == 2).await;
    for request in [&pay, &read] {
        for (who, filter) in shapes(&two.payer, request) {
            let mut client = two.hearth.client().await;
            let found = client.stored_json("late", std::slice::from_ref(&filter)).await;
            let answers: Vec<Event> = found.iter().map(|json| serde_json::from_str(json).unwrap()).collect();
            let ours: Vec<&Event> = answers.iter().filter(|answer| answer.tag("e") == Some(&request.id)).collect();
            assert_eq!(ours.len(), 1, "{who}: {filter}: {found:?}");
            assert!(two.payer.open(request, ours[0]).1["error"].is_null(), "{who}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_is_already_open_gets_it_live_and_once() {
    let mut two = Two::new(0).await;
    let request = two.payer.request("get_balance", &json!({}));
    let mut waiting = two.hearth.client().await;
    let shapes = shapes(&two.payer, &request);
    for (index, (_, filter)) in shapes.iter().enumerate() {
        assert!(waiting.stored_json(&format!("s{index}"), std::slice::from_ref(filter)).await.is_empty());
    }
    // Damus, the old way: a limit of 0 asks for live events alone.
    waiting
        .stored_json("damus", &[json!({"kinds": [23_195], "authors": [two.payer.wallet], "#p": [two.payer.key.hex], "limit": 0})])
        .await;
    two.client.accept(&request).await;
    let mut first = None;
    for (index, shape) in shapes.iter().enumerate() {
        let answer = waiting.live(&format!("s{index}")).await;
        assert_eq!(*first.get_or_insert_with(|| answer.clone()), answer, "{}", shape.0);
    }
    assert_eq!(Some(waiting.live("damus").await), first);
    waiting.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_nobody_fetched_outlives_a_crash() {
    let mut two = Two::new(1_000_000).await;
    let invoice = two.payee.invoice(&mut two.client, 1_000).await;
    let request = two.payer.request("pay_invoice", &json!({"invoice": invoice}));
    two.client.accept(&request).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        two.hearth.kill();
        two.hearth.launch();
        let mut client = two.hearth.client().await;
        let found = client.stored_json("after", &[two.payer.answers_to(&request)]).await;
        assert_eq!(found.len(), 1, "the answer is there at once: {found:?}");
        seen.push(found);
    }
    assert_eq!(seen[0], seen[1], "the same bytes after each crash");
    let answer: Event = serde_json::from_str(&seen[0][0]).unwrap();
    assert!(two.payer.open(&request, &answer).1["error"].is_null());
    // Named by nothing but author or receiver, too.
    let (wallet, me) = (&two.payer.wallet, &two.payer.key.hex);
    let shapes = [
        json!({"kinds": [23_195], "authors": [wallet]}),
        json!({"kinds": [23_195], "#p": [me]}),
        json!({"authors": [wallet], "#p": [me], "since": now_s() - 60}),
    ];
    for filter in shapes {
        two.hearth.kill();
        two.hearth.launch();
        let mut client = two.hearth.client().await;
        let found = client.stored_json("after", std::slice::from_ref(&filter)).await;
        let answers: Vec<&String> = found.iter().filter(|json| json.contains("\"kind\":23195")).collect();
        assert_eq!(answers, [&seen[0][0]], "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_cannot_fish_for_answers() {
    let mut two = Two::new(0).await;
    let request = two.payer.request("get_balance", &json!({}));
    two.payer.exchange(&mut two.client, &request).await;
    let mut stranger = two.hearth.client().await;
    for filter in
        [json!({}), json!({"kinds": [23_195]}), json!({"kinds": [23_195], "since": now_s() - 60}), json!({"kinds": [13_194]})]
    {
        assert_eq!(stranger.stored(std::slice::from_ref(&filter)).await, Vec::<String>::new(), "{filter}");
    }
}
