//! The same request again, a hundred times, from everywhere, after a restart: one effect, one answer, byte for byte.

use serde_json::json;

use super::Two;
use crate::support::client::Heard;
use crate::support::{Event, Key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_payment_request_gets_the_same_answer_for_ever() {
    let mut two = Two::new(1_000_000).await;
    let invoice = two.payee.invoice(&mut two.client, 10_000).await;
    let request = two.payer.request("pay_invoice", &json!({"invoice": invoice}));
    let (_, first, _) = two.payer.exchange(&mut two.client, &request).await;
    for round in 0..3 {
        for _ in 0..5 {
            let mut client = two.hearth.client().await;
            let verdict = client.publish(&request).await;
            assert!(verdict.accepted, "{verdict:?}");
            let again = client.stored_json("again", &[two.payer.answers_to(&request)]).await;
            assert_eq!(again, [first.json()], "round {round}");
        }
        if round == 0 {
            two.hearth.kill();
        } else {
            assert!(two.hearth.terminate().success());
        }
        two.hearth.launch();
    }
    two.client = two.hearth.client().await;
    assert_eq!(two.balances().await, (990_000, 10_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_on_ten_connections_at_once_is_one_payment() {
    let mut two = Two::new(1_000_000).await;
    let invoice = two.payee.invoice(&mut two.client, 10_000).await;
    let request = two.payer.request("pay_invoice", &json!({"invoice": invoice}));
    let mut tasks = Vec::new();
    for _ in 0..10 {
        let mut client = two.hearth.client().await;
        let (request, filter) = (request.clone(), two.payer.answers_to(&request));
        tasks.push(tokio::spawn(async move {
            // Another task may have been quicker: then the answer is there already.
            let early = client.stored_json("answer", &[filter]).await;
            for _ in 0..10 {
                client.send_event(&request).await;
            }
            for _ in 0..10 {
                assert!(client.verdict(&request.id).await.accepted);
            }
            match early.first() {
                Some(answer) => answer.clone(),
                None => client.live("answer").await.json(),
            }
        }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "one answer for all: {answers:?}");
    assert_eq!(two.balances().await, (990_000, 10_000));
    let listed = two.payer.call(&mut two.client, "list_transactions", json!({"unpaid": true})).await;
    assert_eq!(listed["transactions"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_read_is_answered_and_a_repeated_invoice_is_one_invoice() {
    let mut two = Two::new(0).await;
    let make = two.payee.request("make_invoice", &json!({"amount": 5_000}));
    let read = two.payee.request("get_balance", &json!({}));
    for request in [&make, &read] {
        let (_, _, first) = two.payee.exchange(&mut two.client, request).await;
        for _ in 0..3 {
            assert!(two.client.publish(request).await.accepted);
            let again = two.client.stored_json("again", &[two.payee.answers_to(request)]).await;
            assert_eq!(again.len(), 1, "{again:?}");
            let answer: Event = serde_json::from_str(&again[0]).unwrap();
            assert_eq!(two.payee.open(request, &answer).1, first);
        }
    }
    let listed = two.payee.call(&mut two.client, "list_transactions", json!({"unpaid": true})).await;
    assert_eq!(listed["transactions"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_id_with_a_forged_signature_gets_nothing_new() {
    let mut two = Two::new(1_000_000).await;
    let invoice = two.payee.invoice(&mut two.client, 10_000).await;
    let good = two.payer.request("pay_invoice", &json!({"invoice": invoice}));
    let sig = Key::random().sign_id(&const_hex::decode(&good.id).unwrap().try_into().unwrap());
    let forged = Event { sig, ..good.clone() };
    let verdict = two.client.publish(&forged).await;
    assert!(!verdict.accepted && verdict.text.starts_with("invalid: "), "{verdict:?}");
    assert_eq!(two.balances().await, (1_000_000, 0));
    two.payer.exchange(&mut two.client, &good).await;
    assert_eq!(two.balances().await, (990_000, 10_000));
}

/// Incidents: ZEUS PR 4410, fedimint/ecash-app PR 550. Requests were executed again after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_replayed_after_a_restart_moves_nothing() {
    let mut two = Two::new(1_000_000).await;
    let mut requests = Vec::new();
    for n in 0..20 {
        let invoice = two.payee.invoice(&mut two.client, 1_000 + n).await;
        let request = two.payer.request("pay_invoice", &json!({"invoice": invoice}));
        two.payer.exchange(&mut two.client, &request).await;
        requests.push(request);
    }
    let before = two.balances().await;
    two.hearth.kill();
    two.hearth.launch();
    two.client = two.hearth.client().await;
    for request in requests.iter().chain(&requests) {
        assert!(two.client.publish(request).await.accepted);
    }
    assert_eq!(two.balances().await, before);
    for heard in two.client.drain().await {
        assert!(!matches!(heard, Heard::Gone(..)), "{heard:?}");
    }
}
