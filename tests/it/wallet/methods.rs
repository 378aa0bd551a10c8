//! What each method answers when all is well, field by field, and how it refuses bad parameters.

use std::str::FromStr;

use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescriptionRef};
use serde_json::{Value, json};

use super::{Two, hash_of};
use crate::support::{App, Hearth, clear_of_midnight, now_s};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn get_info_says_what_this_connection_may() {
    let mut two = Two::new(0).await;
    let info = two.payer.call(&mut two.client, "get_info", json!({})).await;
    for method in ["pay_invoice", "make_invoice", "lookup_invoice", "get_balance", "get_info", "list_transactions"] {
        assert!(info["methods"].as_array().unwrap().contains(&json!(method)), "no {method} in {info}");
    }
    assert!(["mainnet", "testnet", "signet", "regtest"].contains(&info["network"].as_str().unwrap()), "{info}");
    assert_eq!(info["pubkey"].as_str().unwrap().len(), 66, "a node's public key, compressed");
    assert!(info["alias"].is_string() && info["color"].is_string() && info["block_height"].is_u64(), "{info}");
    let narrow = App::connect(&two.hearth, "narrow", &["--methods", "get_info,get_balance"]);
    let info = narrow.call(&mut two.client, "get_info", json!({})).await;
    let mut methods: Vec<&str> = info["methods"].as_array().unwrap().iter().map(|method| method.as_str().unwrap()).collect();
    methods.sort_unstable();
    assert_eq!(methods, ["get_balance", "get_info"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invoice_is_a_real_one_and_says_what_was_asked() {
    let mut two = Two::new(0).await;
    let now = now_s();
    let asked = json!({"amount": 123_456, "description": "two coffees ☕", "expiry": 777, "metadata": {"comment": "hi"}});
    let made = two.payee.call(&mut two.client, "make_invoice", asked).await;
    let invoice = Bolt11Invoice::from_str(made["invoice"].as_str().unwrap()).unwrap();
    invoice.check_signature().unwrap();
    assert_eq!(invoice.amount_milli_satoshis(), Some(123_456));
    assert_eq!(invoice.expiry_time().as_secs(), 777);
    assert_eq!(invoice.payment_hash().to_string(), made["payment_hash"].as_str().unwrap());
    match invoice.description() {
        Bolt11InvoiceDescriptionRef::Direct(text) => assert_eq!(text.to_string(), "two coffees ☕"),
        Bolt11InvoiceDescriptionRef::Hash(_) => panic!("a description was asked for"),
    }
    assert_eq!(
        (&made["type"], &made["amount"], &made["description"]),
        (&json!("incoming"), &json!(123_456), &json!("two coffees ☕"))
    );
    let created_at = made["created_at"].as_u64().unwrap();
    assert!((now..now + 120).contains(&created_at), "{made}");
    assert_eq!(made["expires_at"].as_u64().unwrap(), created_at + 777);
    assert!(made.get("preimage").is_none_or(Value::is_null), "an unpaid invoice shows no preimage");
    assert!(made.get("settled_at").is_none_or(Value::is_null));

    let hash = "ab".repeat(32);
    let made = two.payee.call(&mut two.client, "make_invoice", json!({"amount": 1_000, "description_hash": hash})).await;
    let invoice = Bolt11Invoice::from_str(made["invoice"].as_str().unwrap()).unwrap();
    match invoice.description() {
        Bolt11InvoiceDescriptionRef::Hash(found) => assert_eq!(found.0.to_string(), hash),
        Bolt11InvoiceDescriptionRef::Direct(_) => panic!("a hash was asked for"),
    }
    let key = two.payee.call(&mut two.client, "get_info", json!({})).await["pubkey"].clone();
    assert_eq!(json!(invoice.recover_payee_pub_key().to_string()), key, "signed by the node that get_info names");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_inside_moves_the_amount_and_shows_the_preimage() {
    let mut two = Two::new(1_000_000).await;
    assert_eq!(two.balances().await, (1_000_000, 0));
    let made = two.payee.call(&mut two.client, "make_invoice", json!({"amount": 250_000, "description": "x"})).await;
    let hash = made["payment_hash"].as_str().unwrap().to_owned();
    let pending = two.payee.call(&mut two.client, "lookup_invoice", json!({"payment_hash": hash})).await;
    assert_eq!(pending["state"], "pending");

    let paid = two.payer.call(&mut two.client, "pay_invoice", json!({"invoice": made["invoice"]})).await;
    let preimage = paid["preimage"].as_str().unwrap();
    assert_eq!(hash_of(preimage), hash);
    assert_eq!(paid["fees_paid"].as_u64().unwrap_or(0), 0, "inside there are no fees");
    assert_eq!(two.balances().await, (750_000, 250_000));

    for (app, kind) in [(&two.payee, "incoming"), (&two.payer, "outgoing")] {
        for selector in [json!({"payment_hash": hash}), json!({"invoice": made["invoice"]})] {
            let found = app.call(&mut two.client, "lookup_invoice", selector).await;
            assert_eq!((&found["type"], &found["state"]), (&json!(kind), &json!("settled")), "{found}");
            assert_eq!((&found["amount"], &found["payment_hash"]), (&json!(250_000), &json!(hash)));
            assert_eq!(found["preimage"], preimage);
            assert!(found["settled_at"].as_u64().unwrap() >= found["created_at"].as_u64().unwrap());
            assert_eq!(found["invoice"], made["invoice"]);
            assert!(found["fees_paid"].is_u64(), "deployed clients need the field: {found}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_find_ones_own_and_nothing_else() {
    let mut two = Two::new(1_000_000).await;
    let stranger = App::connect(&two.hearth, "stranger", &["--account", "elsewhere"]);
    let made = two.payee.call(&mut two.client, "make_invoice", json!({"amount": 1_000})).await;
    for selector in [
        json!({"payment_hash": made["payment_hash"]}),
        json!({"invoice": made["invoice"]}),
        json!({"payment_hash": "00".repeat(32)}),
    ] {
        assert_eq!(stranger.refusal(&mut two.client, "lookup_invoice", selector.clone()).await, "NOT_FOUND", "{selector}");
    }
    for selector in
        [json!({}), json!({"payment_hash": "zz"}), json!({"payment_hash": 1}), json!({"invoice": "lnbc1nonsense"}), Value::Null]
    {
        let code = stranger.refusal(&mut two.client, "lookup_invoice", selector.clone()).await;
        assert!(["OTHER", "NOT_FOUND"].contains(&code.as_str()), "{selector}: {code}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_come_newest_first_in_pages() {
    let mut two = Two::new(1_000_000).await;
    let mut invoices = Vec::new();
    for n in 1..=7_u64 {
        let made =
            two.payee.call(&mut two.client, "make_invoice", json!({"amount": n * 1_000, "description": format!("{n}")})).await;
        invoices.push(made["invoice"].as_str().unwrap().to_owned());
    }
    // 2, 4 and 6 stay unpaid.
    for index in [0, 2, 4, 6] {
        two.payer.call(&mut two.client, "pay_invoice", json!({"invoice": invoices[index]})).await;
    }
    let now = now_s();
    for (who, params, expected) in [
        ("payee", json!({}), &[7, 5, 3, 1][..]),
        ("payee", Value::Null, &[7, 5, 3, 1]),
        ("payee", json!({"unpaid": true}), &[7, 6, 5, 4, 3, 2, 1]),
        ("payee", json!({"limit": 2}), &[7, 5]),
        ("payee", json!({"limit": 2, "offset": 1}), &[5, 3]),
        ("payee", json!({"limit": 10, "offset": 3}), &[1]),
        ("payee", json!({"offset": 9}), &[]),
        ("payee", json!({"type": "incoming"}), &[7, 5, 3, 1]),
        ("payee", json!({"type": "outgoing"}), &[]),
        ("payee", json!({"from": now + 100}), &[]),
        ("payee", json!({"until": now - 1_000}), &[]),
        ("payee", json!({"from": now - 1_000, "until": now + 1_000}), &[7, 5, 3, 1]),
        ("payer", json!({}), &[7, 5, 3, 1]),
        ("payer", json!({"type": "outgoing"}), &[7, 5, 3, 1]),
        ("payer", json!({"type": "incoming"}), &[]),
    ] {
        let app = if who == "payee" { &two.payee } else { &two.payer };
        let listed = app.call(&mut two.client, "list_transactions", params.clone()).await;
        let mut amounts: Vec<u64> =
            listed["transactions"].as_array().unwrap().iter().map(|one| one["amount"].as_u64().unwrap() / 1_000).collect();
        if who == "payer" && amounts.len() == 4 {
            // Payments made within one second may stand in any order of theirs.
            amounts.sort_unstable_by(|a, b| b.cmp(a));
        }
        assert_eq!(amounts, expected, "{who} {params}");
    }
    for params in [json!({"limit": -1}), json!({"type": "sideways"}), json!({"from": "then"})] {
        assert_eq!(two.payee.refusal(&mut two.client, "list_transactions", params.clone()).await, "OTHER", "{params}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_told_and_counts_what_was_spent() {
    clear_of_midnight().await;
    let hearth = Hearth::start();
    let free = App::connect(&hearth, "free", &["--account", "payer"]);
    hearth.fund("payer", 1_000_000);
    let daily = App::connect(&hearth, "daily", &["--account", "payer", "--budget-msat", "300000", "--renewal", "daily"]);
    let once = App::connect(&hearth, "once", &["--account", "payer", "--budget-msat", "300000"]);
    let payee = App::connect(&hearth, "payee", &["--account", "payee"]);
    let mut client = hearth.client().await;
    assert_eq!(free.call(&mut client, "get_budget", json!({})).await, json!({}));
    let now = now_s();
    for (app, renewal) in [(&daily, "daily"), (&once, "never")] {
        let invoice = payee.invoice(&mut client, 100_000).await;
        app.call(&mut client, "pay_invoice", json!({"invoice": invoice})).await;
        let budget = app.call(&mut client, "get_budget", json!({})).await;
        assert_eq!((&budget["used_budget"], &budget["total_budget"]), (&json!(100_000), &json!(300_000)), "{budget}");
        assert_eq!(budget["renewal_period"], renewal);
        match renewal {
            "daily" => {
                let renews_at = budget["renews_at"].as_u64().unwrap();
                assert!(renews_at > now && renews_at <= now + 86_400 && renews_at % 86_400 == 0, "midnight UTC: {budget}");
            }
            _ => assert!(budget.get("renews_at").is_none_or(Value::is_null), "{budget}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_parameters_are_refused_with_a_code_that_every_client_knows() {
    let mut two = Two::new(1_000_000).await;
    let big = "9".repeat(30);
    let table = [
        ("make_invoice", json!({})),
        ("make_invoice", Value::Null),
        ("make_invoice", json!([])),
        ("make_invoice", json!({"amount": "1000"})),
        ("make_invoice", json!({"amount": -1})),
        ("make_invoice", json!({"amount": 1.5})),
        ("make_invoice", json!({"amount": 1e3})),
        ("make_invoice", json!({"amount": null})),
        ("make_invoice", json!({"amount": u64::MAX})),
        ("make_invoice", json!({"amount": 2_100_000_000_000_000_001_u64})),
        ("make_invoice", serde_json::from_str(&format!("{{\"amount\":{big}}}")).unwrap()),
        ("make_invoice", json!({"amount": 1_000, "description": 5})),
        ("make_invoice", json!({"amount": 1_000, "description": "x".repeat(1_000)})),
        ("make_invoice", json!({"amount": 1_000, "description_hash": "ab"})),
        ("make_invoice", json!({"amount": 1_000, "expiry": -5})),
        ("make_invoice", json!({"amount": 1_000, "expiry": u64::MAX})),
        ("pay_invoice", json!({})),
        ("pay_invoice", json!({"invoice": 5})),
        ("pay_invoice", json!({"invoice": ""})),
        ("pay_invoice", json!({"invoice": "lnbc1"})),
        ("pay_invoice", json!({"invoice": "x".repeat(8_000)})),
        (
            "pay_invoice",
            json!({"invoice": "lno1pqps7sjqpgtyzm3qv4uxzmtsd3jjqer9wd3hy6tsw35k7msjzfpy7nz5yqcnygrfdej82um5wf5k2uckyypwa3eyt44h6txtxquqh7lz5djge4afgfjn7k4rgrkuag0jsd5xvxg"}),
        ),
    ];
    for (method, params) in table {
        let code = two.payee.refusal(&mut two.client, method, params.clone()).await;
        assert_eq!(code, "OTHER", "{method} {params}");
    }
    assert_eq!(two.balances().await, (1_000_000, 0));
}
