//! What a payment may not do: more than there is, more than was granted, twice, or to the outside.

use std::collections::HashMap;
use std::time::Duration;

use lightning_invoice::Currency;
use serde_json::{Value, json};

use super::Two;
use crate::support::client::Heard;
use crate::support::invoice::foreign_invoice;
use crate::support::{App, Client, Event, Hearth, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invoice_of_somebody_else_fails_for_certain_and_says_why() {
    let mut two = Two::new(1_000_000).await;
    let network = two.payer.call(&mut two.client, "get_info", json!({})).await["network"].clone();
    let (own, other) =
        if network == "mainnet" { (Currency::Bitcoin, Currency::Regtest) } else { (Currency::Regtest, Currency::Bitcoin) };
    let invoice = foreign_invoice(own.clone(), Some(5_000), 0);
    let answer = two.payer.ask(&mut two.client, "pay_invoice", json!({"invoice": invoice})).await;
    assert_eq!(answer["error"]["code"], "PAYMENT_FAILED");
    let words = answer["error"]["message"].as_str().unwrap();
    assert!(
        words.contains("inside") || words.contains("this hearth"),
        "it must say that this wallet settles inside only: {words}"
    );
    for invoice in
        [foreign_invoice(other, Some(5_000), 0), foreign_invoice(own.clone(), None, 0), foreign_invoice(own, Some(5_000), 86_400)]
    {
        let code = two.payer.refusal(&mut two.client, "pay_invoice", json!({"invoice": invoice})).await;
        assert!(["PAYMENT_FAILED", "OTHER"].contains(&code.as_str()), "{code}");
    }
    assert_eq!(two.balances().await, (1_000_000, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_amount_beside_an_invoice_must_be_its_own() {
    let mut two = Two::new(1_000_000).await;
    for (amount, accepted) in [(1_001, false), (999, false), (0, false), (1_000, true)] {
        let invoice = two.payee.invoice(&mut two.client, 1_000).await;
        let params = json!({"invoice": invoice, "amount": amount});
        if accepted {
            two.payer.call(&mut two.client, "pay_invoice", params).await;
        } else {
            assert_eq!(two.payer.refusal(&mut two.client, "pay_invoice", params).await, "OTHER", "{amount}");
        }
    }
    assert_eq!(two.balances().await, (999_000, 1_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upper_case_and_a_scheme_are_the_same_invoice() {
    let mut two = Two::new(1_000_000).await;
    let invoice = two.payee.invoice(&mut two.client, 1_000).await;
    two.payer.call(&mut two.client, "pay_invoice", json!({"invoice": invoice.to_uppercase()})).await;
    two.payer.call(&mut two.client, "pay_invoice", json!({"invoice": invoice})).await;
    assert_eq!(two.balances().await, (999_000, 1_000), "paid once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_spends_more_than_there_is() {
    let mut two = Two::new(1_000_000).await;
    let too_much = two.payee.invoice(&mut two.client, 1_000_001).await;
    assert_eq!(two.payer.refusal(&mut two.client, "pay_invoice", json!({"invoice": too_much})).await, "INSUFFICIENT_BALANCE");
    // Inside there is no fee, so everything can be spent.
    let all = two.payee.invoice(&mut two.client, 1_000_000).await;
    two.payer.call(&mut two.client, "pay_invoice", json!({"invoice": all})).await;
    assert_eq!(two.balances().await, (0, 1_000_000));
    let one = two.payee.invoice(&mut two.client, 1_000).await;
    assert_eq!(two.payer.refusal(&mut two.client, "pay_invoice", json!({"invoice": one})).await, "INSUFFICIENT_BALANCE");
    assert_eq!(two.balances().await, (0, 1_000_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_spends_more_than_was_granted() {
    let hearth = Hearth::start();
    let budgeted = App::connect(&hearth, "budgeted", &["--account", "payer", "--budget-msat", "100000"]);
    hearth.fund("payer", 10_000_000);
    let bounded = App::connect(&hearth, "bounded", &["--account", "payer", "--max-payment-msat", "100000"]);
    let payee = App::connect(&hearth, "payee", &["--account", "payee"]);
    let mut client = hearth.client().await;
    for (app, amount_msat, code) in [
        (&budgeted, 100_001, Some("QUOTA_EXCEEDED")),
        (&budgeted, 60_000, None),
        (&budgeted, 40_001, Some("QUOTA_EXCEEDED")),
        (&budgeted, 40_000, None),
        (&budgeted, 1_000, Some("QUOTA_EXCEEDED")),
        (&bounded, 100_001, Some("QUOTA_EXCEEDED")),
        (&bounded, 100_000, None),
        (&bounded, 100_000, None),
    ] {
        let invoice = payee.invoice(&mut client, amount_msat).await;
        let answer = app.ask(&mut client, "pay_invoice", json!({"invoice": invoice})).await;
        assert_eq!(answer["error"]["code"].as_str(), code, "{amount_msat}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invoice_is_paid_once_whoever_pays() {
    let mut two = Two::new(1_000_000).await;
    let other = App::connect(&two.hearth, "other", &["--account", "other"]);
    two.hearth.fund("other", 1_000_000);
    let invoice = two.payee.invoice(&mut two.client, 1_000).await;
    let first = two.payer.call(&mut two.client, "pay_invoice", json!({"invoice": invoice})).await;
    let second = two.payer.call(&mut two.client, "pay_invoice", json!({"invoice": invoice})).await;
    assert_eq!(first["preimage"], second["preimage"], "the same connection is told again");
    let answer = other.ask(&mut two.client, "pay_invoice", json!({"invoice": invoice})).await;
    assert!(answer["result"].is_null(), "another connection never gets a preimage it did not pay for: {answer}");
    assert!(!answer.to_string().contains(first["preimage"].as_str().unwrap()));
    assert_eq!(other.balance(&mut two.client).await, 1_000_000);
    assert_eq!(two.balances().await, (999_000, 1_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invoice_that_has_expired_is_not_paid() {
    let mut two = Two::new(1_000_000).await;
    let made = two.payee.call(&mut two.client, "make_invoice", json!({"amount": 1_000, "expiry": 1})).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let code = two.payer.refusal(&mut two.client, "pay_invoice", json!({"invoice": made["invoice"]})).await;
    assert!(["PAYMENT_FAILED", "OTHER"].contains(&code.as_str()), "{code}");
    let found = two.payee.call(&mut two.client, "lookup_invoice", json!({"payment_hash": made["payment_hash"]})).await;
    assert_eq!(found["state"], "expired");
    assert_eq!(two.balances().await, (1_000_000, 0));
}

/// Sends requests all at once and returns what each was answered.
async fn all_at_once(app: &App, client: &mut Client, requests: &[Event]) -> HashMap<String, Value> {
    client.stored_json("many", &[json!({"kinds": [23_195], "authors": [app.wallet], "limit": 0})]).await;
    for request in requests {
        client.feed(format!("[\"EVENT\",{}]", request.json())).await;
    }
    client.flush().await;
    let mut answers = HashMap::new();
    eventually("an answer to each", async || {
        for heard in client.drain().await {
            match heard {
                Heard::Event(_, json) => {
                    let answer: Event = serde_json::from_str(&json).unwrap();
                    let request = requests.iter().find(|request| answer.tag("e") == Some(&request.id)).unwrap();
                    let known = answers.insert(request.id.clone(), app.open(request, &answer).1);
                    assert!(known.is_none(), "two answers to one request");
                }
                Heard::Ok(_, verdict) => assert!(verdict.accepted, "{verdict:?}"),
                other => panic!("unexpected: {other:?}"),
            }
        }
        answers.len() == requests.len()
    })
    .await;
    client.say(&json!(["CLOSE", "many"])).await;
    answers
}

/// Incident: LNbank, December 2023. Concurrent withdrawals passed the balance check together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_payments_at_once_exactly_those_are_paid_that_the_budget_covers() {
    let hearth = Hearth::start();
    let payer = App::connect(&hearth, "payer", &["--account", "payer", "--budget-msat", "3500"]);
    hearth.fund("payer", 10_000_000);
    let payee = App::connect(&hearth, "payee", &["--account", "payee"]);
    let mut client = hearth.client().await;
    let mut requests = Vec::new();
    for _ in 0..100 {
        let invoice = payee.invoice(&mut client, 1_000).await;
        requests.push(payer.request("pay_invoice", &json!({"invoice": invoice})));
    }
    let answers = all_at_once(&payer, &mut client, &requests).await;
    let mut codes: HashMap<&str, usize> = HashMap::new();
    for answer in answers.values() {
        *codes.entry(answer["error"]["code"].as_str().unwrap_or("paid")).or_default() += 1;
    }
    assert_eq!(codes.get("paid"), Some(&3), "{codes:?}");
    let refused = codes.get("QUOTA_EXCEEDED").copied().unwrap_or(0) + codes.get("RATE_LIMITED").copied().unwrap_or(0);
    assert_eq!(refused, 97, "{codes:?}");
    assert_eq!(payee.balance(&mut client).await, 3_000);
}

/// Incidents: ZEUS PR 4303 (amounts swapped between two payments), cashu.me PR 542 (requests of one second dropped).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_of_one_second_are_all_answered_each_with_its_own_preimage() {
    let mut two = Two::new(10_000_000).await;
    let now = crate::support::now_s();
    let mut requests = Vec::new();
    let mut hashes = HashMap::new();
    for n in 0..40_u64 {
        let made = two.payee.call(&mut two.client, "make_invoice", json!({"amount": 1_000 + n})).await;
        let plain = json!({"method": "pay_invoice", "params": {"invoice": made["invoice"]}}).to_string();
        let sealed = two.payer.seal(crate::support::Scheme::Nip44, &plain);
        let request = two.payer.envelope_at(now, &sealed, &[&["encryption", "nip44_v2"]]);
        hashes.insert(request.id.clone(), made["payment_hash"].as_str().unwrap().to_owned());
        requests.push(request);
    }
    let answers = all_at_once(&two.payer, &mut two.client, &requests).await;
    for (id, answer) in &answers {
        assert!(answer["error"].is_null(), "{answer}");
        assert_eq!(super::hash_of(answer["result"]["preimage"].as_str().unwrap()), hashes[id]);
    }
    let moved: u64 = (0..40).map(|n| 1_000 + n).sum();
    assert_eq!(two.balances().await, (10_000_000 - moved, moved));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_for_one_invoice_at_once_pay_it_once() {
    let mut two = Two::new(10_000_000).await;
    let made = two.payee.call(&mut two.client, "make_invoice", json!({"amount": 7_000})).await;
    let requests: Vec<Event> = (0..30).map(|_| two.payer.request("pay_invoice", &json!({"invoice": made["invoice"]}))).collect();
    let answers = all_at_once(&two.payer, &mut two.client, &requests).await;
    for answer in answers.values() {
        let preimage = answer["result"]["preimage"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(super::hash_of(preimage), made["payment_hash"].as_str().unwrap());
    }
    assert_eq!(two.balances().await, (9_993_000, 7_000));
}
