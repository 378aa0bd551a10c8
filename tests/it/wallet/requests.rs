//! Requests as deployed clients really make them: both encryptions, tags that lie, methods nobody knows, and who sees them.

use serde_json::{Value, json};

use super::Two;
use crate::support::{App, Hearth, Key, Scheme, now_s};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_comes_in_the_scheme_of_its_request_whatever_the_tag_says() {
    let mut two = Two::new(1_000).await;
    let plain = json!({"method": "get_balance", "params": {}}).to_string();
    let cases: [(Scheme, &[&[&str]]); 7] = [
        (Scheme::Nip44, &[&["encryption", "nip44_v2"]]),
        (Scheme::Nip44, &[]),
        (Scheme::Nip44, &[&["encryption", "nip04"]]),
        (Scheme::Nip44, &[&["v", "1.0"], &["encryption", "nip44_v2"]]),
        (Scheme::Nip04, &[]),
        (Scheme::Nip04, &[&["encryption", "nip04"]]),
        (Scheme::Nip04, &[&["encryption", "nip44_v2"], &["v", "0.0"]]),
    ];
    for (scheme, tags) in cases {
        let request = two.payer.envelope(&two.payer.seal(scheme, &plain), tags);
        let (_, answer, value) = two.payer.exchange(&mut two.client, &request).await;
        assert_eq!(two.payer.open(&request, &answer).0, scheme, "{scheme:?} with {tags:?}");
        assert_eq!(value["result"]["balance"], 1_000, "{scheme:?} with {tags:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encryption_that_nobody_has_is_refused_by_its_code() {
    let mut two = Two::new(0).await;
    let plain = json!({"method": "get_balance", "params": {}}).to_string();
    let request = two.payer.envelope(&two.payer.seal(Scheme::Nip44, &plain), &[&["encryption", "nip99_v7"]]);
    let (_, _, value) = two.payer.exchange(&mut two.client, &request).await;
    assert_eq!(value["error"]["code"], "UNSUPPORTED_ENCRYPTION", "{value}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nip04_can_be_switched_off_for_a_connection() {
    let hearth = Hearth::start();
    let app = App::connect(&hearth, "modern", &["--no-nip04"]);
    let mut client = hearth.client().await;
    assert_eq!(app.balance(&mut client).await, 0);
    let (_, _, value) = app.exchange(&mut client, &app.request_in(Scheme::Nip04, "get_balance", &json!({}))).await;
    assert_eq!(value["error"]["code"], "UNSUPPORTED_ENCRYPTION", "{value}");
    let info = client.stored_json("info", &[json!({"kinds": [13_194], "authors": [app.wallet]})]).await;
    assert!(info[0].contains("[\"encryption\",\"nip44_v2\"]"), "{info:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_understood_from_a_known_app_is_answered_all_the_same() {
    let mut two = Two::new(0).await;
    let sealed = |plain: &str| two.payer.seal(Scheme::Nip44, plain);
    let contents = [
        (sealed("no json"), "OTHER"),
        (sealed("[]"), "OTHER"),
        (sealed("{}"), "OTHER"),
        (sealed("{\"method\":5}"), "OTHER"),
        (sealed("{\"method\":\"get_balance\",\"params\":[1]}"), ""),
        (sealed("{\"method\":\"get_balance\"}"), ""),
        (sealed("{\"method\":\"get_balance\",\"params\":null}"), ""),
        (sealed("{\"params\":{},\"method\":\"get_balance\",\"id\":\"x\"}"), ""),
        (sealed("{\"method\":\"make_coffee\",\"params\":{}}"), "NOT_IMPLEMENTED"),
        (sealed("{\"method\":\"GET_BALANCE\",\"params\":{}}"), "NOT_IMPLEMENTED"),
        (sealed("{\"method\":\"make_hodl_invoice\",\"params\":{\"amount\":1}}"), "OTHER"),
        (String::new(), "OTHER"),
        ("not base64 at all".to_owned(), "OTHER"),
        ("AAAA?iv=AAAA".to_owned(), "OTHER"),
        ("#1".to_owned(), "OTHER"),
        (App { key: Key::random(), ..two.payer.clone() }.seal(Scheme::Nip44, "{}"), "OTHER"),
    ];
    for (content, code) in contents {
        let request = two.payer.envelope(&content, &[&["encryption", "nip44_v2"]]);
        let (_, _, value) = two.payer.exchange(&mut two.client, &request).await;
        let got = value["error"]["code"].as_str().unwrap_or("");
        assert!(got == code || (content.starts_with("{\"method\":\"get_balance\"") && got.is_empty()), "{content}: {value}");
        assert!(value["result_type"].is_string(), "{value}");
    }
    let unknown = two.payer.ask(&mut two.client, "make_coffee", Value::Null).await;
    assert_eq!(unknown["result_type"], "make_coffee", "the refused method is named");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_info_event_says_what_the_connection_may() {
    let hearth = Hearth::start();
    let all = App::connect(&hearth, "all", &[]);
    let narrow = App::connect(&hearth, "narrow", &["--methods", "get_balance,get_info"]);
    let mut client = hearth.client().await;
    assert_ne!(all.wallet, narrow.wallet, "one service key per connection");
    for (app, expected) in [(&all, None), (&narrow, Some("get_balance get_info"))] {
        let found = client.stored_json("info", &[json!({"kinds": [13_194], "authors": [app.wallet]})]).await;
        assert_eq!(found.len(), 1);
        let info: crate::support::Event = serde_json::from_str(&found[0]).unwrap();
        assert_eq!(info.tag("encryption"), Some("nip44_v2 nip04"));
        let mut methods: Vec<&str> = info.content.split(' ').filter(|word| *word != "notifications").collect();
        assert!(!methods.contains(&"lud16") && !info.tags.iter().any(|tag| tag[0] == "lud16"));
        methods.sort_unstable();
        match expected {
            Some(expected) => assert_eq!(methods.join(" "), expected),
            None => {
                for method in [
                    "pay_invoice",
                    "make_invoice",
                    "lookup_invoice",
                    "list_transactions",
                    "get_balance",
                    "get_info",
                    "get_budget",
                ] {
                    assert!(methods.contains(&method), "no {method} in {methods:?}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_a_hosted_wallet_is_seen_by_nobody() {
    let mut two = Two::new(0).await;
    let mut spy = two.hearth.client().await;
    let filters = [
        json!({"kinds": [23_194], "#p": [two.payer.wallet]}),
        json!({"kinds": [23_194], "authors": [two.payer.key.hex]}),
        json!({"authors": [two.payer.key.hex]}),
    ];
    spy.stored_json("spy", &filters).await;
    let request = two.payer.request("get_balance", &json!({}));
    two.payer.exchange(&mut two.client, &request).await;
    spy.is_quiet().await;
    assert_eq!(spy.stored(&filters).await, Vec::<String>::new());
    assert_eq!(spy.stored(&[json!({"ids": [request.id]})]).await, Vec::<String>::new());
    assert_eq!(spy.count(&filters).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_and_stale_requests_are_refused_at_the_socket() {
    let mut two = Two::new(1_000_000).await;
    let invoice = two.payee.invoice(&mut two.client, 1_000).await;
    let sealed = two.payer.seal(Scheme::Nip44, &json!({"method": "pay_invoice", "params": {"invoice": invoice}}).to_string());
    let now = now_s();
    let expired = two.payer.envelope_at(now, &sealed, &[&["expiration", &(now - 1).to_string()]]);
    let old = two.payer.envelope_at(now - 1_000, &sealed, &[]);
    let future = two.payer.envelope_at(now + 1_000, &sealed, &[]);
    for request in [&expired, &old, &future] {
        let verdict = two.client.publish(request).await;
        assert!(!verdict.accepted && verdict.text.starts_with("invalid: "), "{verdict:?}");
    }
    assert_eq!(two.client.publish(&expired).await.text, "invalid: expired");
    assert_eq!(two.balances().await, (1_000_000, 0));
    // A clock that is ten minutes wrong is an ordinary phone.
    for created_at in [now - 600, now + 600] {
        let request = two.payer.envelope_at(created_at, &two.payer.seal(Scheme::Nip44, "{\"method\":\"get_balance\"}"), &[]);
        let (_, answer, _) = two.payer.exchange(&mut two.client, &request).await;
        assert!(answer.created_at >= created_at.max(now), "an answer is never older than its request");
    }
}
