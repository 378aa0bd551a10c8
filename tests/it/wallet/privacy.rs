//! What somebody sees who cannot name anybody: nothing of the wallet, whatever is asked, counted or waited for.

use serde_json::{Value, json};

use super::Two;
use crate::support::client::Heard;
use crate::support::{Event, Key, now_s};

const WALLET_KINDS: [u64; 5] = [13_194, 23_194, 23_195, 23_196, 23_197];

/// Filters of somebody who wants everything and can name nobody.
fn greedy() -> Vec<Value> {
    vec![
        json!({}),
        json!({"limit": 5_000}),
        json!({"since": 0}),
        json!({"until": now_s() + 10_000}),
        json!({"kinds": WALLET_KINDS}),
        json!({"kinds": [13_194]}),
        json!({"kinds": [23_195], "since": now_s() - 600, "limit": 500}),
        json!({"kinds": [1, 13_194, 23_196, 23_197]}),
        json!({"#d": ["a"]}),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_can_name_nobody_sees_nothing_of_the_wallet_stored_counted_or_live() {
    let mut two = Two::new(1_000_000).await;
    let mut spy = two.hearth.client().await;
    let key = Key::random();
    let note = key.note("public");
    spy.accept(&note).await;
    for (n, filter) in greedy().into_iter().enumerate() {
        spy.subscribe(&format!("live{n}"), &[filter]).await;
    }
    let mut seen = Vec::new();
    let mut work = Vec::new();
    let pay = json!({"invoices": [{"id": "a", "invoice": two.payee.invoice(&mut two.client, 1_000).await}]});
    work.push(two.payer.request("multi_pay_invoice", &pay));
    work.push(two.payer.request("get_info", &json!({})));
    for request in &work {
        two.client.accept(request).await;
    }
    two.payer.balance(&mut two.client).await;
    two.hearth.json(&["wallet", "connect", "another"]);
    // An outside service's messages are hidden in the same way.
    let (service, app) = (Key::random(), Key::random());
    two.client.accept(&service.event(13_194, "pay_invoice", &[])).await;
    two.client.accept(&app.event(23_194, "x", &[&["p", &service.hex]])).await;
    two.client.accept(&service.event(23_195, "x", &[&["p", &app.hex]])).await;
    for filter in greedy() {
        for json in spy.stored_json("now", std::slice::from_ref(&filter)).await {
            seen.push(serde_json::from_str::<Event>(&json).unwrap());
        }
        // A list of kinds that is only about the wallet is refused (NIP-45 has words for that); elsewhere its events do not count.
        if filter.get("kinds").is_none() {
            assert!(spy.count(std::slice::from_ref(&filter)).await <= 1, "{filter}");
        }
    }
    for heard in spy.drain().await {
        if let Heard::Event(_, json) = heard {
            seen.push(serde_json::from_str(&json).unwrap());
        }
    }
    assert!(seen.iter().any(|event| event.id == note.id), "it does see what is public");
    let of_wallet: Vec<&Event> = seen.iter().filter(|event| WALLET_KINDS.contains(&event.kind)).collect();
    assert!(of_wallet.is_empty(), "{of_wallet:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_names_one_app_sees_nothing_of_another() {
    let mut two = Two::new(1_000_000).await;
    let invoice = two.payee.invoice(&mut two.client, 1_000).await;
    two.payer.call(&mut two.client, "pay_invoice", json!({"invoice": invoice})).await;
    let mut client = two.hearth.client().await;
    let mine = [
        json!({"#p": [two.payer.key.hex]}),
        json!({"authors": [two.payer.wallet]}),
        json!({"#p": [two.payer.key.hex], "kinds": WALLET_KINDS}),
    ];
    for filter in mine {
        let found = client.stored_json("mine", std::slice::from_ref(&filter)).await;
        assert!(!found.is_empty(), "{filter}");
        for json in found {
            let event: Event = serde_json::from_str(&json).unwrap();
            assert_eq!(event.pubkey, two.payer.wallet, "{filter}");
        }
    }
}
