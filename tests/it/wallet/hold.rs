//! Hold invoices (extension 03): the money waits for the word of the connection that made the invoice, and for nobody else's.

use serde_json::{Value, json};

use super::{Two, hash_of};
use crate::support::{App, Client, Event, Scheme, eventually};

/// A payment that was sent and not answered yet.
struct Waiting {
    request: Event,
    socket: Client,
}

impl Waiting {
    async fn pay(two: &Two, invoice: &Value) -> Self {
        let request = two.payer.request("pay_invoice", &json!({"invoice": invoice}));
        let mut socket = two.hearth.client().await;
        assert!(socket.stored_json("paid", &[two.payer.answers_to(&request)]).await.is_empty());
        socket.accept(&request).await;
        Self { request, socket }
    }

    async fn answer(mut self, payer: &App) -> Value {
        let event = self.socket.live("paid").await;
        payer.open(&self.request, &event).1
    }
}

async fn ask(app: &App, client: &mut Client, scheme: Scheme, method: &str, params: Value) -> Value {
    let request = app.request_in(scheme, method, &params);
    let value = app.exchange(client, &request).await.2;
    assert_eq!(value["result_type"], method, "the method is called as the client called it");
    value
}

async fn state(app: &App, client: &mut Client, hash: &str) -> Value {
    app.call(client, "lookup_invoice", json!({"payment_hash": hash})).await["state"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_money_of_a_hold_invoice_waits_until_its_maker_settles_or_cancels() {
    let mut two = Two::new(1_000_000).await;
    let stranger = App::connect(&two.hearth, "stranger", &["--account", "payee"]);
    let (mut payer_has, mut payee_has) = (1_000_000, 0);
    let spellings = [(Scheme::Nip44, "hold"), (Scheme::Nip04, "hodl")];
    for ((scheme, hold), settles) in spellings.into_iter().flat_map(|spelling| [(spelling, true), (spelling, false)]) {
        let preimage = const_hex::encode(rand::random::<[u8; 32]>());
        let hash = hash_of(&preimage);
        let order = json!({"amount": 5_000, "description": "later", "payment_hash": hash});
        let made = ask(&two.payee, &mut two.client, scheme, &format!("make_{hold}_invoice"), order).await["result"].clone();
        assert_eq!((&made["payment_hash"], &made["amount"]), (&json!(hash), &json!(5_000)));
        let early = json!({"preimage": preimage});
        let early = ask(&two.payee, &mut two.client, scheme, &format!("settle_{hold}_invoice"), early).await;
        assert!(!early["error"].is_null(), "nothing waits yet: {early}");

        let waiting = Waiting::pay(&two, &made["invoice"]).await;
        eventually("the money waits", async || state(&two.payee, &mut two.client, &hash).await == "accepted").await;
        assert_eq!(two.balances().await, (payer_has - 5_000, payee_has), "held, and nobody's yet");
        for (method, params) in [("settle", json!({"preimage": preimage})), ("cancel", json!({"payment_hash": hash}))] {
            let refused = ask(&stranger, &mut two.client, scheme, &format!("{method}_{hold}_invoice"), params).await;
            assert!(!refused["error"].is_null(), "another connection of the same account: {refused}");
        }
        let (method, params) =
            if settles { ("settle", json!({"preimage": preimage})) } else { ("cancel", json!({"payment_hash": hash})) };
        let done = ask(&two.payee, &mut two.client, scheme, &format!("{method}_{hold}_invoice"), params).await;
        assert_eq!(done["result"], json!({}), "{done}");
        let answer = waiting.answer(&two.payer).await;
        if settles {
            assert_eq!(answer["result"]["preimage"], json!(preimage));
            (payer_has, payee_has) = (payer_has - 5_000, payee_has + 5_000);
            assert_eq!(state(&two.payee, &mut two.client, &hash).await, "settled");
        } else {
            assert_eq!(answer["error"]["code"], "PAYMENT_FAILED", "{answer}");
            assert_eq!(state(&two.payee, &mut two.client, &hash).await, "failed");
        }
        assert_eq!(two.balances().await, (payer_has, payee_has));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_stays_open_is_noticed_by_nobody_and_outlives_a_crash() {
    let mut two = Two::new(1_000_000).await;
    let preimage = const_hex::encode(rand::random::<[u8; 32]>());
    let hash = hash_of(&preimage);
    let order = json!({"amount": 5_000, "payment_hash": hash});
    let made = two.payee.call(&mut two.client, "make_hold_invoice", order).await;
    let filter = json!({"kinds": [23_196, 23_197], "#p": [two.payee.key.hex], "authors": [two.payee.wallet]});
    let mut ears = two.hearth.client().await;
    assert!(ears.stored_json("held", &[filter]).await.is_empty());
    let waiting = Waiting::pay(&two, &made["invoice"]).await;
    let held = ears.live("held").await;
    assert_eq!(held.kind, 23_197, "it speaks NIP-44");
    for _ in 0..30 {
        let invoice = two.payee.invoice(&mut two.client, 1_000).await;
        two.payer.call(&mut two.client, "pay_invoice", json!({"invoice": invoice})).await;
    }
    two.hearth.kill();
    two.hearth.launch();
    two.client = two.hearth.client().await;
    assert_eq!(state(&two.payee, &mut two.client, &hash).await, "accepted");
    assert_eq!(two.balances().await, (965_000, 30_000));
    two.payee.call(&mut two.client, "settle_hold_invoice", json!({"preimage": preimage})).await;
    let mut answers = Vec::new();
    eventually("the payment is answered", async || {
        let mut client = two.hearth.client().await;
        answers = client.stored_json("late", &[two.payer.answers_to(&waiting.request)]).await;
        !answers.is_empty()
    })
    .await;
    let answer: Event = serde_json::from_str(&answers[0]).unwrap();
    assert_eq!(two.payer.open(&waiting.request, &answer).1["result"]["preimage"], json!(preimage));
    assert_eq!(two.balances().await, (965_000, 35_000));
}

/// Nobody could decide about it any more: the payer has the money back and hears so, and nobody pays what is still open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_connection_gives_back_what_waits_for_it() {
    let mut two = Two::new(1_000_000).await;
    let mut invoices = Vec::new();
    for _ in 0..2 {
        let hash = hash_of(&const_hex::encode(rand::random::<[u8; 32]>()));
        let order = json!({"amount": 5_000, "payment_hash": hash});
        let made = two.payee.call(&mut two.client, "make_hold_invoice", order).await;
        invoices.push((hash, made["invoice"].clone()));
    }
    let waiting = Waiting::pay(&two, &invoices[0].1).await;
    eventually("the money waits", async || state(&two.payee, &mut two.client, &invoices[0].0).await == "accepted").await;
    two.hearth.json(&["wallet", "revoke", "payee"]);
    let answer = waiting.answer(&two.payer).await;
    assert_eq!(answer["error"]["code"], "PAYMENT_FAILED", "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("revoked"), "{answer}");
    assert_eq!(two.payer.balance(&mut two.client).await, 1_000_000);
    eventually("the open one can be paid by nobody", async || {
        let request = two.payer.request("pay_invoice", &json!({"invoice": invoices[1].1}));
        let refused = two.payer.exchange(&mut two.client, &request).await.2;
        refused["error"]["message"].as_str().is_some_and(|words| words.contains("can no longer be paid"))
    })
    .await;
    assert_eq!(two.hearth.figure("nwc_held_millisatoshis").await, 0.0);
    assert_eq!(two.payer.balance(&mut two.client).await, 1_000_000);
}

/// Figures of payments under way, for whoever watches over the house.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_of_money_that_waits_and_of_its_end() {
    let mut two = Two::new(1_000_000).await;
    let figures = async |two: &Two| {
        let mut figures = Vec::new();
        for name in ["nwc_payments_unresolved", "nwc_held_millisatoshis", "wallet_safe_mode", "nwc_invariant_violations_total"] {
            figures.push(two.hearth.figure(name).await);
        }
        figures
    };
    assert_eq!(figures(&two).await, [0.0; 4]);
    assert_eq!(two.hearth.figure("nwc_payment_oldest_unresolved_seconds").await, 0.0);
    let preimage = const_hex::encode(rand::random::<[u8; 32]>());
    let hash = hash_of(&preimage);
    let made = two.payee.call(&mut two.client, "make_hold_invoice", json!({"amount": 5_000, "payment_hash": hash})).await;
    let waiting = Waiting::pay(&two, &made["invoice"]).await;
    eventually("the money waits", async || state(&two.payee, &mut two.client, &hash).await == "accepted").await;
    assert_eq!(figures(&two).await, [1.0, 5_000.0, 0.0, 0.0]);
    eventually("it grows older", async || two.hearth.figure("nwc_payment_oldest_unresolved_seconds").await >= 1.0).await;
    two.payee.call(&mut two.client, "settle_hold_invoice", json!({"preimage": preimage})).await;
    assert!(waiting.answer(&two.payer).await["error"].is_null());
    assert_eq!(figures(&two).await, [0.0; 4]);
    assert_eq!(two.hearth.figure("nwc_payment_oldest_unresolved_seconds").await, 0.0);
}
