//! Every method over a real WebSocket, in both schemes: what it answers when all is well, or by which code it is refused.

use serde_json::{Value, json};

use super::{Two, hash_of};
use crate::support::{App, Client, Event, Hearth, Key, Scheme};

const SCHEMES: [Scheme; 2] = [Scheme::Nip44, Scheme::Nip04];

/// Asks in a scheme; the answer comes in it.
async fn ask(app: &App, client: &mut Client, scheme: Scheme, method: &str, params: &Value) -> Value {
    let request = app.request_in(scheme, method, params);
    let (_, answer, value) = app.exchange(client, &request).await;
    assert_eq!(app.open(&request, &answer).0, scheme);
    assert_eq!(value["result_type"], method);
    value
}

/// All answers to a request of several items, by their `d` tags.
async fn items(app: &App, client: &mut Client, request: &Event, count: usize) -> Vec<(String, Value)> {
    client.subscribe("items", &[app.answers_to(request)]).await;
    client.accept(request).await;
    let mut found = Vec::new();
    while found.len() < count {
        let event = match client.of_subscription("items").await {
            crate::support::client::Heard::Event(_, json) => serde_json::from_str::<Event>(&json).unwrap(),
            _ => continue,
        };
        found.push((event.tag("d").unwrap().to_owned(), app.open(request, &event).1));
    }
    client.say(&json!(["CLOSE", "items"])).await;
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_invoices_are_paid_by_one_request_each_with_its_own_answer() {
    let mut two = Two::new(1_000_000).await;
    for scheme in SCHEMES {
        let (a, b) = (two.payee.invoice(&mut two.client, 1_000).await, two.payee.invoice(&mut two.client, 2_000).await);
        let params =
            json!({"invoices": [{"id": "a", "invoice": a}, {"id": "b", "invoice": b, "amount": 1}, {"id": "c", "invoice": "x"}]});
        let request = two.payer.request_in(scheme, "multi_pay_invoice", &params);
        let found = items(&two.payer, &mut two.client, &request, 3).await;
        assert_eq!(found.iter().map(|item| item.0.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(found[0].1["result"]["preimage"].is_string(), "{found:?}");
        assert_eq!((&found[1].1["error"]["code"], &found[2].1["error"]["code"]), (&json!("OTHER"), &json!("OTHER")));
        let mut elsewhere = two.hearth.client().await;
        let again = items(&two.payer, &mut elsewhere, &request, 3).await;
        assert_eq!(again, found, "a repeat gives the same answers");
    }
    assert_eq!(two.balances().await, (998_000, 2_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pay_and_receive_speak_bip_321() {
    let mut two = Two::new(1_000_000).await;
    for scheme in SCHEMES {
        let asked = json!({"amount": 10_000, "description": "tea"});
        let uri = ask(&two.payee, &mut two.client, scheme, "receive", &asked).await["result"]["bip321"].clone();
        let paid = ask(&two.payer, &mut two.client, scheme, "pay", &json!({"payment": uri})).await;
        let result = &paid["result"];
        assert_eq!((&result["state"], &result["amount"], &result["fees_paid"]), (&json!("settled"), &json!(10_000), &json!(0)));
        assert_eq!(hash_of(result["preimage"].as_str().unwrap()), result["payment_hash"].as_str().unwrap());
        for (params, code) in [
            (json!({}), "BAD_REQUEST"),
            (json!({"payment": "bitcoin:bcrt1q"}), "UNSUPPORTED_PAYMENT_INSTRUCTION"),
            (json!({"payment": uri, "amount": 9_999}), "BAD_REQUEST"),
        ] {
            let refused = ask(&two.payer, &mut two.client, scheme, "pay", &params).await;
            assert_eq!(refused["error"]["code"], code, "{params}");
        }
    }
    assert_eq!(two.balances().await, (980_000, 20_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_this_back_end_cannot_do_is_neither_announced_nor_left_unanswered() {
    let mut two = Two::new(1_000).await;
    let info = two.client.stored_json("info", &[json!({"kinds": [13_194], "authors": [two.payer.wallet]})]).await;
    let info: Event = serde_json::from_str(&info[0]).unwrap();
    assert!(!info.content.contains("keysend"), "{}", info.content);
    for scheme in SCHEMES {
        let key = format!("02{}", Key::random().hex);
        let keysend = json!({"pubkey": key, "amount": 1_000});
        for (method, params) in [("pay_keysend", keysend.clone()), ("multi_pay_keysend", json!({"keysends": [keysend]}))] {
            let refused = ask(&two.payer, &mut two.client, scheme, method, &params).await;
            assert_eq!(refused["error"]["code"], "NOT_IMPLEMENTED", "{method}");
        }
    }
    assert_eq!(two.payer.balance(&mut two.client).await, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_signed() {
    let mut two = Two::new(0).await;
    for scheme in SCHEMES {
        let signed = ask(&two.payer, &mut two.client, scheme, "sign_message", &json!({"message": "hello"})).await;
        assert_eq!(signed["result"]["message"], "hello");
        assert_eq!(signed["result"]["signature"].as_str().map(str::len), Some(104));
        let refused = ask(&two.payer, &mut two.client, scheme, "sign_message", &Value::Null).await;
        assert_eq!(refused["error"]["code"], "OTHER");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_made_by_an_app_for_another() {
    let hearth = Hearth::start();
    let methods = "create_connection,get_balance,pay_invoice,get_budget";
    let options = ["--account", "hub", "--methods", methods, "--budget-msat", "100000", "--renewal", "monthly"];
    let hub = App::connect(&hearth, "hub", &options);
    hearth.fund("hub", 1_000_000);
    let mut client = hearth.client().await;
    for (n, scheme) in SCHEMES.into_iter().enumerate() {
        let key = Key::random();
        let wish = json!({
            "pubkey": key.hex, "name": format!("child {n}"), "request_methods": ["get_balance"], "max_amount": 40_000,
        });
        let made = ask(&hub, &mut client, scheme, "create_connection", &wish).await;
        let wallet = made["result"]["wallet_pubkey"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        let child = App { key, wallet, uri: String::new() };
        assert_eq!(child.balance(&mut client).await, 1_000_000);
        assert_eq!(child.refusal(&mut client, "pay_invoice", json!({"invoice": "x"})).await, "RESTRICTED");
        assert_eq!(child.refusal(&mut client, "create_connection", wish.clone()).await, "RESTRICTED");
        for change in [json!({"max_amount": 90_000}), json!({"request_methods": ["make_invoice"]}), json!({"max_amount": null})] {
            let mut more =
                json!({"pubkey": Key::random().hex, "name": "more", "request_methods": ["get_balance"], "max_amount": 1});
            more.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let refused = ask(&hub, &mut client, scheme, "create_connection", &more).await;
            assert!(["QUOTA_EXCEEDED", "RESTRICTED"].contains(&refused["error"]["code"].as_str().unwrap()), "{refused}");
        }
    }
    assert_eq!(hub.call(&mut client, "get_budget", json!({})).await["total_budget"], 20_000);
    let plain = App::connect(&hearth, "plain", &[]);
    let wish = json!({"pubkey": Key::random().hex, "name": "x", "request_methods": ["get_info"]});
    assert_eq!(plain.refusal(&mut client, "create_connection", wish).await, "RESTRICTED", "it must be granted by name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_the_same_in_both_schemes() {
    let mut two = Two::new(1_000_000).await;
    let made = two.payee.call(&mut two.client, "make_invoice", json!({"amount": 1_000})).await;
    two.payer.call(&mut two.client, "pay_invoice", json!({"invoice": made["invoice"]})).await;
    let table = [
        ("get_balance", json!({})),
        ("get_budget", Value::Null),
        ("lookup_invoice", json!({"payment_hash": made["payment_hash"]})),
        ("list_transactions", json!({"limit": 20, "unpaid": true, "type": ""})),
    ];
    for (method, params) in table {
        let new = ask(&two.payee, &mut two.client, Scheme::Nip44, method, &params).await;
        let old = ask(&two.payee, &mut two.client, Scheme::Nip04, method, &params).await;
        assert_eq!(new, old, "{method}");
        assert!(new["error"].is_null(), "{method}: {new}");
    }
    let refused = ask(&two.payee, &mut two.client, Scheme::Nip04, "list_transactions", &json!({"type": "sideways"})).await;
    assert_eq!(refused["error"]["code"], "OTHER");
}
