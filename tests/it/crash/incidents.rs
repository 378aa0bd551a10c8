//! Incidents of other wallets and relays that only a whole process can show, by their names.

use serde_json::json;

use super::ask_again;
use crate::support::{App, Event, Hearth, eventually, now_s};

const AMOUNT_MSAT: u64 = 1_000;
const FUNDED_MSAT: u64 = 1_000_000;

async fn payer_and_payee(hearth: &Hearth) -> (App, App) {
    let payer = App::connect(hearth, "payer", &["--account", "payer"]);
    hearth.fund("payer", FUNDED_MSAT);
    (payer, App::connect(hearth, "payee", &["--account", "payee"]))
}

/// ZEUS, Fedi: a relay replayed old requests after a restart of the wallet, and they were executed again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g6_requests_replayed_after_a_restart_pay_nothing_and_get_the_same_answers() {
    let mut hearth = Hearth::start();
    let (payer, payee) = payer_and_payee(&hearth).await;
    let mut client = hearth.client().await;
    let mut before: Vec<(Event, Event)> = Vec::new();
    for _ in 0..20 {
        let invoice = payee.invoice(&mut client, AMOUNT_MSAT).await;
        let request = payer.request("pay_invoice", &json!({"invoice": invoice}));
        let (_, answer, value) = payer.exchange(&mut client, &request).await;
        assert!(value["error"].is_null(), "{value}");
        before.push((request, answer));
    }
    for restart in 0..3 {
        if restart == 1 {
            assert_eq!(hearth.terminate().code(), Some(0))
        } else {
            hearth.kill()
        }
        hearth.launch();
        let mut client = hearth.client().await;
        for (request, answer) in &before {
            let (again, _) = ask_again(&payer, &mut client, request).await;
            assert_eq!(again, *answer, "restart {restart}: another answer");
        }
        assert_eq!(payee.balance(&mut client).await, 20 * AMOUNT_MSAT, "restart {restart}: paid again");
        assert_eq!(payer.balance(&mut client).await, FUNDED_MSAT - 20 * AMOUNT_MSAT);
    }
}

/// The same, for requests that nobody had seen before the restart: hours old, they are not fired at the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g6_a_request_that_is_hours_old_is_never_paid() {
    let mut hearth = Hearth::start();
    let (payer, payee) = payer_and_payee(&hearth).await;
    let mut client = hearth.client().await;
    let invoice = payee.invoice(&mut client, AMOUNT_MSAT).await;
    let words = json!({"method": "pay_invoice", "params": {"invoice": invoice}}).to_string();
    let content = payer.seal(crate::support::Scheme::Nip44, &words);
    let old = payer.envelope_at(now_s() - 7_200, &content, &[&["encryption", "nip44_v2"]]);
    for _ in 0..2 {
        let mut client = hearth.client().await;
        let verdict = client.publish(&old).await;
        assert!(!verdict.accepted && verdict.text.starts_with("invalid: "), "{verdict:?}");
        assert_eq!(payee.balance(&mut client).await, 0);
        hearth.kill();
        hearth.launch();
    }
}

/// ZEUS: one app filled the queue and the others starved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_one_app_floods_and_another_is_served_without_a_refusal() {
    let hearth = Hearth::as_shipped();
    let flooder = App::connect(&hearth, "flooder", &["--account", "flooder"]);
    let quiet = App::connect(&hearth, "quiet", &["--account", "quiet"]);
    let mut flood = hearth.client().await;
    let mut client = hearth.client().await;
    flood.stored_json("answers", &[json!({"kinds": [23_195], "authors": [flooder.wallet], "limit": 0})]).await;
    let requests: Vec<Event> = (0..1_000).map(|n| flooder.request("get_balance", &json!({"n": n}))).collect();
    for batch in requests.chunks(100) {
        for request in batch {
            flood.feed(format!("[\"EVENT\",{}]", request.json())).await;
        }
        flood.flush().await;
        // Between its waves the other one is served each time.
        assert_eq!(quiet.balance(&mut client).await, 0);
    }
    let is_limited = |json: &str| {
        let answer: Event = serde_json::from_str(json).unwrap();
        let request = requests.iter().find(|request| answer.tag("e") == Some(&request.id)).unwrap();
        flooder.open(request, &answer).1["error"]["code"] == "RATE_LIMITED"
    };
    eventually("the flood is slowed down", async || {
        flood.drain().await.iter().any(|one| matches!(one, crate::support::client::Heard::Event(_, json) if is_limited(json)))
    })
    .await;
}

/// "Not in The Prophecies" (2025): signatures that were not checked because the id was known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g13_a_known_id_never_stands_for_a_signature() {
    let hearth = Hearth::start();
    let (payer, payee) = payer_and_payee(&hearth).await;
    let mut client = hearth.client().await;
    let invoice = payee.invoice(&mut client, AMOUNT_MSAT).await;
    let request = payer.request("pay_invoice", &json!({"invoice": invoice}));
    let forged = Event { sig: "11".repeat(64), ..request.clone() };
    let verdict = client.publish(&forged).await;
    assert!(!verdict.accepted && verdict.text.starts_with("invalid: "), "{verdict:?}");
    assert_eq!(payee.balance(&mut client).await, 0);
    let (_, answer, value) = payer.exchange(&mut client, &request).await;
    assert!(value["error"].is_null(), "{value}");
    // The content of another request under the id and signature of this one.
    let other = Event { content: payer.request("pay_invoice", &json!({"invoice": "x"})).content, ..request.clone() };
    let verdict = client.publish(&other).await;
    assert!(!verdict.accepted && verdict.text.starts_with("invalid: "), "{verdict:?}");
    let (again, _) = ask_again(&payer, &mut client, &request).await;
    assert_eq!(again, answer);
    assert_eq!(payee.balance(&mut client).await, AMOUNT_MSAT);
}

/// Two processes on one directory: the second ends at once, says why, and leaves the first alone, in the middle of its work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_directory_ends_at_once() {
    let mut hearth = Hearth::start();
    let (payer, payee) = payer_and_payee(&hearth).await;
    let mut client = hearth.client().await;
    for round in 0..3_u64 {
        let invoice = payee.invoice(&mut client, AMOUNT_MSAT).await;
        let second = crate::support::hearth::finish(hearth.serve_command());
        assert!(matches!(second.status.code(), Some(1 | 78)), "{}", String::from_utf8_lossy(&second.stderr));
        let words = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(words.contains("is in use by another process"), "{words}");
        payer.call(&mut client, "pay_invoice", json!({"invoice": invoice})).await;
        assert_eq!(payee.balance(&mut client).await, (round + 1) * AMOUNT_MSAT);
    }
    assert!(hearth.is_running());
}
