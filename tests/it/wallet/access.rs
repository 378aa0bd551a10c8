//! Who may what: strangers, revoked and expired connections, lists of methods.

use serde_json::{Value, json};

use super::Two;
use crate::support::{App, Event, Hearth, Key, Scheme, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_refused_at_the_socket_before_the_signature_is_looked_at() {
    let mut two = Two::new(1_000).await;
    let stranger = App { key: Key::random(), ..two.payer.clone() };
    let request = stranger.request("get_balance", &json!({}));
    let forged = Event { sig: "0".repeat(128), ..request.clone() };
    for event in [&request, &forged, &request] {
        let verdict = two.client.publish(event).await;
        assert!(!verdict.accepted && verdict.text.starts_with("restricted: "), "{verdict:?}");
    }
    // An app of this hearth is a stranger to the wallet key of another.
    let crossed = App { wallet: two.payee.wallet.clone(), ..two.payer.clone() };
    let verdict = two.client.publish(&crossed.request("get_balance", &json!({}))).await;
    assert!(!verdict.accepted && verdict.text.starts_with("restricted: "), "{verdict:?}");
    assert!(two.client.stored(&[json!({"#p": [stranger.key.hex]})]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_connection_is_told_unauthorized_for_ever() {
    let mut two = Two::new(1_000_000).await;
    let invoice = two.payee.invoice(&mut two.client, 1_000).await;
    let paid = two.payer.request("pay_invoice", &json!({"invoice": invoice}));
    let (_, answer, _) = two.payer.exchange(&mut two.client, &paid).await;
    let shown = two.hearth.json(&["wallet", "revoke", "payer"]);
    assert_eq!(shown["state"], "revoked", "{shown}");
    for round in 0..2 {
        for (method, params) in
            [("get_balance", Value::Null), ("pay_invoice", json!({"invoice": invoice})), ("get_info", json!({}))]
        {
            assert_eq!(two.payer.refusal(&mut two.client, method, params).await, "UNAUTHORIZED", "round {round}: {method}");
        }
        let (_, _, value) =
            two.payer.exchange(&mut two.client, &two.payer.request_in(Scheme::Nip04, "get_balance", &json!({}))).await;
        assert_eq!(value["error"]["code"], "UNAUTHORIZED");
        // What was answered before stays answered.
        assert!(two.client.publish(&paid).await.accepted);
        let again = two.client.stored_json("again", &[two.payer.answers_to(&paid)]).await;
        assert_eq!(again, [answer.json()], "round {round}");
        two.hearth.kill();
        two.hearth.launch();
        two.client = two.hearth.client().await;
    }
    assert_eq!(two.payee.balance(&mut two.client).await, 1_000, "others go on");
    let again = two.hearth.run(&["wallet", "revoke", "payer"]);
    assert_eq!(again.status.code(), Some(1), "it is revoked already");
    assert_eq!(two.hearth.run(&["wallet", "revoke", "nobody"]).status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_ends_at_its_time() {
    let hearth = Hearth::start();
    let app = App::connect(&hearth, "short", &["--expires", "8s"]);
    let mut client = hearth.client().await;
    assert_eq!(app.balance(&mut client).await, 0);
    eventually("its time", async || hearth.json(&["wallet", "show", "short"])["state"] == "expired").await;
    assert_eq!(app.refusal(&mut client, "get_balance", json!({})).await, "UNAUTHORIZED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_was_not_granted_is_restricted() {
    let mut two = Two::new(1_000_000).await;
    let app = App::connect(&two.hearth, "reader", &["--account", "payer", "--methods", "get_balance,lookup_invoice"]);
    let invoice = two.payee.invoice(&mut two.client, 1_000).await;
    assert_eq!(app.balance(&mut two.client).await, 1_000_000);
    for (method, params) in [
        ("pay_invoice", json!({"invoice": invoice})),
        ("make_invoice", json!({"amount": 1})),
        ("get_info", json!({})),
        ("list_transactions", json!({})),
    ] {
        assert_eq!(app.refusal(&mut two.client, method, params).await, "RESTRICTED", "{method}");
    }
    assert_eq!(two.balances().await, (1_000_000, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_there_after_a_restart_and_their_secrets_are_not() {
    let mut two = Two::new(5_000).await;
    two.hearth.kill();
    two.hearth.launch();
    let mut client = two.hearth.client().await;
    assert_eq!(two.payer.balance(&mut client).await, 5_000);
    let info = client.stored(&[json!({"kinds": [13_194], "authors": [two.payer.wallet, two.payee.wallet]})]).await;
    assert_eq!(info.len(), 2);
    assert!(two.hearth.terminate().success());
    let secret = two.payer.key.secret();
    let raw = const_hex::decode(&secret).unwrap();
    let mut searched = 0;
    let mut folders = vec![two.hearth.data()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                searched += bytes.len();
                for needle in [secret.as_bytes(), &raw] {
                    assert!(
                        !bytes.windows(32).any(|window| needle.starts_with(window)),
                        "the client's secret is in {}",
                        path.display()
                    );
                }
            }
        }
    }
    assert!(searched > 1_000, "nothing was searched");
    assert!(!two.hearth.log().contains(&secret));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_one_app_does_not_stop_another() {
    let two = Two::new(0).await;
    let mut flood = two.hearth.client().await;
    let requests: Vec<Event> = (0..400).map(|_| two.payer.request("get_balance", &json!({}))).collect();
    for request in &requests {
        flood.feed(format!("[\"EVENT\",{}]", request.json())).await;
    }
    flood.flush().await;
    let mut client = two.hearth.client().await;
    eventually("the other app is served", async || two.payee.balance(&mut client).await == 0).await;
    for request in &requests {
        assert!(flood.verdict(&request.id).await.accepted);
    }
}
