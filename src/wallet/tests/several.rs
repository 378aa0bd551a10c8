//! `multi_pay_*`, `pay` and `receive`: one request with many answers, and answers that are not yet an end.

use serde_json::{Value, json};

use super::{App, House, NOW_S};
use crate::base::amount::Msat;
use crate::base::hex32::EventId;
use crate::protocol::event::{Event, TagValue};
use crate::protocol::reason::Verdict;
use crate::wallet::owner::NewConnection;
use crate::wallet::terms::Scheme;

fn tag(event: &Event) -> String {
    match event.view().tag(b'd') {
        Some(TagValue::Hex(hex)) => hex.to_string(),
        Some(TagValue::Text(text)) => text.to_owned(),
        None => panic!("no d tag"),
    }
}

/// All answers to a request by their `d` tags, each once.
fn answers(house: &House, app: &App, request: &EventId, count: usize) -> Vec<(String, Value, Event)> {
    let started = std::time::Instant::now();
    loop {
        let mut found: Vec<_> =
            house.ear.answers(request).into_iter().map(|event| (tag(&event), app.read(&event).1, event)).collect();
        found.sort_by(|a, b| (&a.0, a.2.id()).cmp(&(&b.0, b.2.id())));
        found.dedup_by_key(|answer| answer.2.id());
        if found.len() >= count {
            assert_eq!(found.len(), count, "{found:?}");
            return found;
        }
        assert!(started.elapsed() < super::PATIENCE, "only {found:?}");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn multi(house: &House, app: &App, scheme: Scheme, items: &Value) -> Event {
    let text = json!({ "method": "multi_pay_invoice", "params": { "invoices": items } }).to_string();
    app.request(scheme, &text, house.clock.now_s(), &[])
}

#[test]
fn each_of_several_payments_has_its_own_answer_and_a_repeat_gives_the_same() {
    let mut house = House::new();
    let (alice, bob) = (house.funded("alice", 10_000), house.app("bob"));
    for (round, scheme) in [Scheme::Nip44, Scheme::Nip04].into_iter().enumerate() {
        let before = house.balance(&alice);
        let (a, b, dear) = (house.invoice(&bob, 1_000), house.invoice(&bob, 2_000), house.invoice(&bob, 1_000_000));
        let items = json!([{ "id": "a", "invoice": a }, { "invoice": b }, { "id": "c", "invoice": dear }, { "id": "d" }]);
        let request = multi(&house, &alice, scheme, &items);
        assert_eq!(house.hand_in(&request), Verdict::Accepted);
        let first = answers(&house, &alice, &request.id(), 4);
        let outcome = |name: &str| {
            let (_, answer, _) = first.iter().find(|answer| answer.0 == name).unwrap();
            assert_eq!(answer["result_type"], "multi_pay_invoice");
            answer["error"]["code"].as_str().unwrap_or("paid").to_owned()
        };
        assert_eq!((outcome("a"), outcome("c"), outcome("d")), ("paid".into(), "INSUFFICIENT_BALANCE".into(), "OTHER".into()));
        let by_hash = first.iter().find(|answer| answer.0.len() == 64).unwrap();
        assert_eq!(by_hash.1["result"]["fees_paid"], 0);
        assert_eq!(house.balance(&alice), before - 3_000);

        house.forward_s(2);
        assert_eq!(house.hand_in(&request), Verdict::Accepted);
        let again = answers(&house, &alice, &request.id(), 4);
        assert!(first.iter().zip(&again).all(|(a, b)| a.2.bytes() == b.2.bytes()));

        // After a restart what was written comes back byte for byte; the item that could not be read is judged anew.
        house = house.restarted();
        let kept = house.wallet.recall(&serde_json::from_value(json!({ "authors": [alice.wallet], "kinds": [23_195] })).unwrap());
        assert_eq!(kept.iter().filter(|event| event.view().tag(b'e') == Some(TagValue::Hex(request.id()))).count(), 3);
        assert_eq!(house.hand_in(&request), Verdict::Accepted);
        let restored = answers(&house, &alice, &request.id(), 4);
        for (name, _, event) in first.iter().filter(|answer| answer.0 != "d") {
            assert!(restored.iter().any(|(other, _, same)| other == name && same.bytes() == event.bytes()), "{round} {name}");
        }
        assert_eq!(house.balance(&alice), before - 3_000, "nothing is paid twice");
    }
}

#[test]
fn what_was_answered_stands_after_the_connection_has_ended() {
    let house = House::new();
    let (alice, bob) = (house.funded("alice", 10_000), house.app("bob"));
    let request = multi(&house, &alice, Scheme::Nip44, &json!([{ "id": "a", "invoice": house.invoice(&bob, 1_000) }]));
    house.hand_in(&request);
    let first = answers(&house, &alice, &request.id(), 1);
    house.wait(house.wallet.revoke("alice")).unwrap();
    house.forward_s(2 * 86_400);
    house.wallet.answers().outbox().sweep(house.clock.now_ms());
    assert_eq!(house.hand_in(&request), Verdict::Accepted);
    let again = answers(&house, &alice, &request.id(), 1);
    assert_eq!(first[0].2.bytes(), again[0].2.bytes());
    assert_eq!(house.refusal(&alice, "get_balance", json!({})).0, "UNAUTHORIZED");
}

#[test]
fn a_request_with_nothing_or_too_much_in_it_is_refused_as_a_whole() {
    let house = House::new();
    let alice = house.app("alice");
    for items in [json!([]), json!(vec![json!({ "invoice": "x" }); 101])] {
        let (code, words) = house.refusal(&alice, "multi_pay_invoice", json!({ "invoices": items }));
        assert_eq!(code, "OTHER", "{words}");
    }
    let (code, _) = house.refusal(&alice, "multi_pay_keysend", json!({ "keysends": [] }));
    assert_eq!(code, "NOT_IMPLEMENTED", "this back end has no keysend");
}

#[test]
fn pay_takes_every_form_of_an_invoice_and_names_its_transaction() {
    let house = House::new();
    let (alice, bob) = (house.funded("alice", 1_000_000), house.app("bob"));
    type Form = fn(&str) -> String;
    let forms: [Form; 4] = [
        |invoice| invoice.to_owned(),
        |invoice| format!("lightning:{invoice}"),
        |invoice| format!("bitcoin:?lightning={invoice}"),
        |invoice| format!("BITCOIN:bcrt1qxyz?amount=0.00000021&LIGHTNING={}", invoice.to_uppercase()),
    ];
    for (n, form) in forms.into_iter().enumerate() {
        let made = house.result(&bob, "make_invoice", json!({ "amount": 21_000 }));
        let paid = house.result(&alice, "pay", json!({ "payment": form(made["invoice"].as_str().unwrap()) }));
        assert_eq!((&paid["state"], &paid["instruction_type"]), (&json!("settled"), &json!("bolt11")));
        assert_eq!((&paid["amount"], &paid["fees_paid"]), (&json!(21_000), &json!(0)));
        assert_eq!((&paid["transaction_id"], &paid["payment_hash"]), (&made["payment_hash"], &made["payment_hash"]));
        assert!(paid["preimage"].is_string() && paid["settled_at"] == NOW_S && paid["created_at"] == NOW_S);
        assert_eq!(house.balance(&bob), 21_000 * (n as u64 + 1));
    }
    let within = house.invoice(&bob, 1_000);
    let paid = house.result(&alice, "pay", json!({ "payment": within, "max_fee": 0 }));
    assert_eq!(paid["fees_paid"], 0, "inside there is no fee");
    let open = house.result(&bob, "receive", json!({ "description": "tea" }));
    let uri = open["bip321"].as_str().unwrap();
    assert!(uri.starts_with("bitcoin:?lightning=lnbcrt1"), "{uri}");
    assert_eq!(house.refusal(&alice, "pay", json!({ "payment": uri })).0, "BAD_REQUEST", "somebody must name an amount");
    let paid = house.result(&alice, "pay", json!({ "payment": uri, "amount": 5_000 }));
    assert_eq!(paid["transaction_id"], open["transaction_id"]);
    assert_eq!(house.result(&bob, "lookup_invoice", json!({ "payment_hash": open["transaction_id"] }))["description"], "tea");
}

#[test]
fn pay_refuses_in_the_words_of_its_extension_and_pays_nothing() {
    let house = House::new();
    let (alice, bob) = (house.funded("alice", 1_000_000), house.app("bob"));
    let invoice = house.invoice(&bob, 21_000);
    let mainnet = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqf\
                   qqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53\
                   ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";
    let table = [
        (json!({ "payment": "bitcoin:bcrt1qxyz" }), "UNSUPPORTED_PAYMENT_INSTRUCTION"),
        (json!({ "payment": "lno1abc" }), "UNSUPPORTED_PAYMENT_INSTRUCTION"),
        (json!({ "payment": mainnet }), "UNSUPPORTED_NETWORK"),
        (json!({ "payment": "lnbcrt1garbage" }), "BAD_REQUEST"),
        (json!({ "payment": 5 }), "BAD_REQUEST"),
        (json!({ "payment": invoice, "amount": 20_999 }), "BAD_REQUEST"),
        (json!({ "payment": format!("bitcoin:?amount=0.00000022&lightning={invoice}") }), "BAD_REQUEST"),
        (json!({ "payment": format!("bitcoin:?req-pop=a&lightning={invoice}") }), "BAD_REQUEST"),
        (json!({ "payment": invoice, "payer_note": "hi" }), "BAD_REQUEST"),
        (json!({ "payment": house.invoice(&bob, 2_000_000) }), "INSUFFICIENT_BALANCE"),
    ];
    for (params, code) in table {
        let (got, words) = house.refusal(&alice, "pay", params.clone());
        assert_eq!(got, code, "{params}: {words}");
    }
    assert_eq!(house.balance(&alice), 1_000_000);
}

#[test]
fn a_message_is_signed_with_the_key_of_the_node() {
    let house = House::new();
    let app = house.app("phone");
    let signed = house.result(&app, "sign_message", json!({ "message": "hello" }));
    assert_eq!((signed["message"].as_str(), signed["signature"].as_str().map(str::len)), (Some("hello"), Some(104)));
    assert_eq!(house.refusal(&app, "sign_message", json!({})).0, "OTHER");
}

/// Asks on the runtime that does the work, as a server's connection does.
fn create(house: &House, app: &App, params: Value) -> Value {
    let text = json!({ "method": "create_connection", "params": params }).to_string();
    let request = app.request(Scheme::Nip44, &text, house.clock.now_s(), &[]);
    let verdict = house.wait(async {
        let draft = crate::protocol::event::Draft::parse(request.json()).unwrap();
        let (done, verdict) = tokio::sync::oneshot::channel();
        house.wallet.take(&draft, Box::new(move |verdict| done.send(verdict).unwrap()));
        verdict.await.unwrap()
    });
    assert_eq!(verdict, Verdict::Accepted);
    app.read(&house.ear.answer(&request.id())).1
}

#[test]
fn an_app_makes_a_connection_out_of_what_it_has() {
    let house = House::new();
    let budget = crate::wallet::money::types::Budget {
        amount: Msat::new(10_000).unwrap(),
        renewal: crate::wallet::money::types::Renewal::Monthly,
        time_zone: "UTC".to_owned(),
    };
    let hub = house.app_with(NewConnection {
        name: "hub".to_owned(),
        account: Some("hub".to_owned()),
        methods: ["create_connection", "get_balance", "pay_invoice", "get_budget"].map(str::to_owned).to_vec(),
        budget: Some(budget),
        ..NewConnection::default()
    });
    house.wait(house.wallet.fund("hub", Msat::new(1_000_000).unwrap())).unwrap();
    let child = secp256k1::Keypair::from_seckey_slice(secp256k1::SECP256K1, &[8; 32]).unwrap();
    let key = crate::wallet::wire::sign::public_key(&child);
    let wish = json!({
        "pubkey": key, "name": "child", "request_methods": ["get_balance", "pay_invoice"], "max_amount": 4_000, "budget_renewal": "monthly"
    });
    let made = create(&house, &hub, wish.clone());
    let wallet = made["result"]["wallet_pubkey"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    assert_eq!(create(&house, &hub, wish.clone())["result"]["wallet_pubkey"], wallet, "asked again, it is the same");
    assert_eq!(house.result(&hub, "get_budget", json!({}))["total_budget"], 6_000, "what was given is gone");
    let shown = house.wallet.connection("child").unwrap();
    assert_eq!((shown.account.as_str(), shown.hosted.profile.methods.words().as_str()), ("hub", "pay_invoice get_balance"));
    assert!(shown.hosted.profile.notifications.is_empty(), "none was asked for");
    assert_eq!(shown.budget.unwrap().total.get(), 4_000);

    let code = |change: Value| {
        let mut wish = wish.clone();
        (wish["name"], wish["pubkey"]) = (json!("other"), json!("77".repeat(32)));
        wish.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        create(&house, &hub, wish)["error"]["code"].as_str().unwrap_or("made").to_owned()
    };
    assert_eq!(code(json!({ "request_methods": ["create_connection"] })), "RESTRICTED");
    assert_eq!(code(json!({ "request_methods": ["make_invoice"] })), "RESTRICTED");
    assert_eq!(code(json!({ "max_amount": 6_001 })), "QUOTA_EXCEEDED");
    assert_eq!(code(json!({ "pubkey": key })), "OTHER", "a key has one connection");
    assert_eq!(code(json!({ "isolated": true, "name": "hub" })), "OTHER", "an account that exists is not given away");
    assert_eq!(house.result(&hub, "get_budget", json!({}))["total_budget"], 6_000, "what was not made costs nothing");
    let plain = house.app("plain");
    let refused = create(&house, &plain, wish);
    assert_eq!(refused["error"]["code"], "RESTRICTED", "nobody has it who was not given it by name");
}

/// A connection that may make others, with an account of its own.
fn hub(house: &House, name: &str) -> App {
    house.app_with(NewConnection {
        name: name.to_owned(),
        account: Some(name.to_owned()),
        methods: ["create_connection", "get_balance"].map(str::to_owned).to_vec(),
        ..NewConnection::default()
    })
}

fn child_key(number: u8) -> crate::base::hex32::PublicKey {
    let pair = secp256k1::Keypair::from_seckey_slice(secp256k1::SECP256K1, &[number; 32]).unwrap();
    crate::wallet::wire::sign::public_key(&pair)
}

fn child(number: u8, name: &str) -> Value {
    json!({ "pubkey": child_key(number), "name": name, "request_methods": ["get_balance"] })
}

fn isolated(number: u8, name: &str) -> Value {
    let mut wish = child(number, name);
    wish["isolated"] = json!(true);
    wish
}

fn accounts(house: &House) -> Vec<String> {
    house.wallet.money().accounts().into_iter().map(|account| account.name).collect()
}

#[test]
fn an_account_that_an_app_made_is_not_shared_by_chance() {
    let house = House::new();
    let hub = hub(&house, "hub");
    assert!(create(&house, &hub, isolated(8, "savings"))["error"].is_null());
    let of_the_app = house.wallet.connection("savings").unwrap();
    assert_eq!((of_the_app.account.as_str(), of_the_app.made_by.as_deref()), ("savings#2", Some("hub")));
    let mine = NewConnection { account: Some("savings".to_owned()), name: "mine".to_owned(), ..NewConnection::default() };
    let made = house.wait(house.wallet.connect(mine)).unwrap();
    assert_eq!((made.account.as_str(), made.shares_with), ("savings", Vec::new()));
    assert_eq!(accounts(&house), ["main", "hub", "savings#2", "savings"]);
    // Who names it is told with whom it is shared.
    let wish = NewConnection { account: Some("savings#2".to_owned()), name: "both".to_owned(), ..NewConnection::default() };
    assert_eq!(house.wait(house.wallet.connect(wish)).unwrap().shares_with, ["savings"]);
    // A name that cannot be given leaves no account behind.
    assert_eq!(create(&house, &hub, isolated(9, "mine"))["error"]["code"], "OTHER");
    assert_eq!(accounts(&house).len(), 4);
    let house = house.restarted();
    assert_eq!(house.wallet.connection("savings").unwrap().made_by.as_deref(), Some("hub"));
}

#[test]
fn only_the_same_asker_is_told_of_what_it_made_and_for_the_same_terms() {
    let house = House::new();
    let (one, other) = (hub(&house, "one"), hub(&house, "other"));
    let made = create(&house, &one, child(8, "child"))["result"]["wallet_pubkey"].clone();
    assert!(made.is_string());
    assert_eq!(create(&house, &one, child(8, "child"))["result"]["wallet_pubkey"], made);
    assert_eq!(create(&house, &other, child(8, "child"))["error"]["code"], "OTHER");
    assert_eq!(create(&house, &one, isolated(8, "child"))["error"]["code"], "OTHER");
    // One that the owner made is nobody's to hear of.
    let of_owner = NewConnection { name: "page".to_owned(), client: Some(child_key(9)), ..NewConnection::default() };
    house.wait(house.wallet.connect(of_owner)).unwrap();
    assert_eq!(create(&house, &one, child(9, "page"))["error"]["code"], "OTHER");
}

#[test]
fn what_a_connection_made_is_bounded_and_ends_with_it() {
    let house = House::new();
    let hub = hub(&house, "hub");
    for number in 1..=100 {
        house.forward_s(1);
        let made = create(&house, &hub, child(number, &format!("child {number}")));
        assert!(made["error"].is_null(), "{number}: {made}");
    }
    let more = create(&house, &hub, child(101, "more"));
    assert_eq!(more["error"]["code"], "RESTRICTED");
    assert!(more["error"]["message"].as_str().unwrap().contains("the most there may be"), "{more}");
    house.wait(house.wallet.revoke("child 1")).unwrap();
    assert!(create(&house, &hub, child(101, "more"))["error"].is_null());
    let own = house.app("own");
    let ended = house.wait(house.wallet.revoke("hub")).unwrap();
    assert_eq!((ended.revoked_with.len(), ended.revoked_with[0].as_str()), (100, "child 2"));
    let is_over = |name: &str| house.wallet.connection(name).unwrap().hosted.profile.revoked_at_s.is_some();
    assert!(is_over("more") && is_over("child 50"));
    assert_eq!(house.balance(&own), 0, "nobody else's ends");
}
