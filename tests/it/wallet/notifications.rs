//! Notifications over real sockets: live, late, after a crash, in each scheme; and what kind 13194 says of them.

use nostr::nips::nip44;
use serde_json::{Value, json};

use super::Two;
use crate::support::{App, Event, Scheme, eventually};

fn filter(app: &App) -> Value {
    json!({"kinds": [23_196, 23_197], "authors": [app.wallet], "#p": [app.key.hex]})
}

fn open(app: &App, event: &Event) -> Value {
    let (secret, peer) =
        (nostr::key::SecretKey::from_hex(&app.key.secret()).unwrap(), nostr::key::PublicKey::from_hex(&app.wallet).unwrap());
    let plain = match event.kind {
        23_196 => nostr::nips::nip04::decrypt(&secret, &peer, &event.content).unwrap(),
        23_197 => nip44::decrypt(&secret, &peer, &event.content).unwrap(),
        other => panic!("kind {other}"),
    };
    assert_eq!((event.pubkey.as_str(), event.tag("p"), event.tag("e")), (app.wallet.as_str(), Some(app.key.hex.as_str()), None));
    serde_json::from_str(&plain).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_hear_of_a_payment_once_and_in_their_scheme() {
    let mut two = Two::new(1_000_000).await;
    let mut ears = two.hearth.client().await;
    for (name, app) in [("payer", &two.payer), ("payee", &two.payee)] {
        assert!(ears.stored_json(name, &[filter(app)]).await.is_empty());
    }
    for scheme in [Scheme::Nip44, Scheme::Nip04] {
        let make = two.payee.request_in(scheme, "make_invoice", &json!({"amount": 1_000, "metadata": {"comment": "hi"}}));
        let made = two.payee.exchange(&mut two.client, &make).await.2["result"].clone();
        let paid = two.payer.call(&mut two.client, "pay_invoice", json!({"invoice": made["invoice"]})).await;
        let received = ears.live("payee").await;
        assert_eq!(received.kind, if scheme == Scheme::Nip44 { 23_197 } else { 23_196 });
        let told = open(&two.payee, &received);
        assert_eq!(told["notification_type"], "payment_received");
        let body = &told["notification"];
        assert_eq!((&body["preimage"], &body["payment_hash"]), (&paid["preimage"], &made["payment_hash"]));
        assert_eq!((&body["state"], &body["metadata"]), (&json!("settled"), &json!({"comment": "hi"})));
        let sent = open(&two.payer, &ears.live("payer").await);
        assert_eq!((&sent["notification_type"], &sent["notification"]["type"]), (&json!("payment_sent"), &json!("outgoing")));
    }
    ears.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_wait_for_a_client_that_comes_late_and_outlive_a_crash_with_the_same_ids() {
    let mut two = Two::new(1_000_000).await;
    let mut seen: Vec<Vec<String>> = Vec::new();
    for _ in 0..3 {
        let invoice = two.payee.invoice(&mut two.client, 1_000).await;
        two.payer.call(&mut two.client, "pay_invoice", json!({"invoice": invoice})).await;
    }
    let shapes = [
        filter(&two.payee),
        json!({"#p": [two.payee.key.hex], "kinds": [23_197]}),
        json!({"authors": [two.payee.wallet], "kinds": [23_197]}),
    ];
    for round in 0..2 {
        for shape in &shapes {
            let mut found = Vec::new();
            eventually("three notifications", async || {
                let mut client = two.hearth.client().await;
                found = client.stored_json("late", std::slice::from_ref(shape)).await;
                found.retain(|json| json.contains("\"kind\":23197"));
                found.len() >= 3
            })
            .await;
            found.sort();
            seen.push(found);
        }
        if round == 0 {
            two.hearth.kill();
            two.hearth.launch();
        }
    }
    assert!(seen.iter().all(|found| *found == seen[0] && found.len() == 3), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_heard_before_a_restart_is_kept_but_not_told_anew() {
    let mut two = Two::new(1_000_000).await;
    let mut ears = two.hearth.client().await;
    assert!(ears.stored_json("payee", &[filter(&two.payee)]).await.is_empty());
    let mut heard = Vec::new();
    for _ in 0..3 {
        let invoice = two.payee.invoice(&mut two.client, 1_000).await;
        two.payer.call(&mut two.client, "pay_invoice", json!({"invoice": invoice})).await;
        heard.push(ears.live("payee").await.id);
    }
    assert!(two.hearth.terminate().success());
    two.hearth.launch();
    let (mut client, mut ears) = (two.hearth.client().await, two.hearth.client().await);
    heard.sort();
    let mut only_new = filter(&two.payee);
    only_new["limit"] = json!(0);
    assert!(ears.stored_json("new", &[only_new]).await.is_empty());
    let again = json!({"kinds": [23_196, 23_197], "#p": [two.payee.key.hex]});
    eventually("whoever subscribes anew within ten minutes finds the same ones", async || {
        let found = two.hearth.client().await.stored_json("again", std::slice::from_ref(&again)).await;
        let mut found: Vec<String> = found.iter().map(|json| serde_json::from_str::<Event>(json).unwrap().id).collect();
        found.sort();
        found == heard
    })
    .await;
    let invoice = two.payee.invoice(&mut client, 2_000).await;
    two.payer.call(&mut client, "pay_invoice", json!({"invoice": invoice})).await;
    let told = open(&two.payee, &ears.live("new").await);
    assert_eq!(told["notification"]["amount"], 2_000, "the first that is told is the new one");
    ears.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_info_event_and_get_info_name_notifications_and_extensions() {
    let mut two = Two::new(0).await;
    let found = two.client.stored_json("info", &[json!({"kinds": [13_194], "authors": [two.payer.wallet]})]).await;
    let info: Event = serde_json::from_str(&found[0]).unwrap();
    assert_eq!(info.tag("encryption"), Some("nip44_v2 nip04"));
    let (notifications, extensions) = (info.tag("notifications").unwrap(), info.tag("extensions").unwrap());
    assert!(notifications.starts_with("payment_received payment_sent"), "{notifications}");
    assert!(["02", "05", "06", "321"].iter().all(|one| extensions.split(' ').any(|other| other == *one)), "{extensions}");
    assert!(info.content.ends_with(" notifications") && !info.content.contains("create_connection"), "{}", info.content);
    let told = two.payer.call(&mut two.client, "get_info", json!({})).await;
    let words = |key: &str| -> Vec<String> { serde_json::from_value(told[key].clone()).unwrap() };
    assert_eq!((words("notifications").join(" ").as_str(), words("extensions").join(" ").as_str()), (notifications, extensions));
    two.hearth.json(&["wallet", "revoke", "payer"]);
    let announcement = [json!({"kinds": [13_194], "authors": [two.payer.wallet]})];
    eventually("a connection that is over announces nothing", async || {
        let found = two.client.stored_json("after", &announcement).await;
        let info: Event = serde_json::from_str(&found[0]).unwrap();
        info.content.is_empty() && info.tags.len() == 1
    })
    .await;
}
