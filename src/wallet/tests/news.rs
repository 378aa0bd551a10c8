//! Notifications: who is told what, in which scheme, once, in order, and the same after a restart.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{App, House, NOW_S};
use crate::base::amount::Msat;
use crate::protocol::event::{Draft, Event};
use crate::wallet::owner::NewConnection;
use crate::wallet::terms::Scheme;

impl House {
    /// Tells all news, as the wallet's task does.
    fn tell(&self) {
        while self.wallet.tell_news(1) {}
    }
}

/// Everything that an app was told, in the order in which it was published.
fn told(house: &House, app: &App) -> Vec<Event> {
    let published = house.ear.published.lock();
    published.iter().filter(|event| event.pubkey() == app.wallet && event.kind() > 23_195).cloned().collect()
}

fn open(app: &App, event: &Event) -> Value {
    let content = Draft::parse(event.json()).unwrap().content.to_string();
    let (scheme, plaintext) = app.envelope.open(&content).unwrap();
    assert_eq!(event.kind(), if scheme == Scheme::Nip04 { 23_196 } else { 23_197 });
    serde_json::from_str(&plaintext).unwrap()
}

fn kinds(events: &[Event]) -> Vec<u16> {
    events.iter().map(Event::kind).collect()
}

#[test]
fn payer_and_payee_are_told_in_the_scheme_that_each_speaks() {
    let house = House::new();
    let (alice, bob) = (house.funded("alice", 100_000), house.app("bob"));
    let invoice = house.ask_in(&bob, Scheme::Nip04, "make_invoice", json!({ "amount": 7_000, "description": "tea" }));
    house.forward_s(5);
    let paid = house.result(&alice, "pay_invoice", json!({ "invoice": invoice["result"]["invoice"] }));
    house.tell();
    let (got, sent) = (told(&house, &bob), told(&house, &alice));
    assert_eq!((kinds(&got), kinds(&sent)), (vec![23_196], vec![23_197]));
    let received = open(&bob, &got[0]);
    assert_eq!(received["notification_type"], "payment_received");
    let body = &received["notification"];
    assert_eq!((&body["type"], &body["state"], &body["amount"]), (&json!("incoming"), &json!("settled"), &json!(7_000)));
    assert_eq!((&body["preimage"], &body["description"]), (&paid["preimage"], &json!("tea")));
    assert_eq!((&body["created_at"], &body["settled_at"]), (&json!(NOW_S), &json!(NOW_S + 5)));
    assert_eq!(got[0].created_at(), NOW_S + 5, "it is as old as its record");
    let body = &open(&alice, &sent[0])["notification"];
    assert_eq!((&body["type"], &body["fees_paid"]), (&json!("outgoing"), &json!(0)));
    house.tell();
    assert_eq!(told(&house, &bob).len(), 1, "nobody is told twice");
}

#[test]
fn a_restart_tells_the_same_events_again_in_order_and_keeps_them_for_late_subscriptions() {
    let mut house = House::new();
    let (alice, bob) = (house.funded("alice", 100_000), house.app("bob"));
    for n in 1..=5_u64 {
        let invoice = house.invoice(&bob, n * 1_000);
        house.result(&alice, "pay_invoice", json!({ "invoice": invoice }));
        house.forward_s(1);
    }
    house.wait(house.wallet.announce_all(false));
    house.tell();
    let before = told(&house, &bob);
    let amounts: Vec<_> = before.iter().map(|event| open(&bob, event)["notification"]["amount"].as_u64().unwrap()).collect();
    assert_eq!(amounts, [1_000, 2_000, 3_000, 4_000, 5_000]);
    house = house.restarted();
    house.tell();
    let after = told(&house, &bob);
    assert_eq!(before, after, "the same bytes, in the same order");
    let client = crate::wallet::wire::sign::public_key(&bob.keypair);
    for filter in [json!({ "authors": [bob.wallet], "kinds": [23_197] }), json!({ "#p": [client], "kinds": [23_196, 23_197] })] {
        let found = house.wallet.recall(&serde_json::from_value(filter).unwrap());
        assert_eq!(found.len(), 5);
    }
    house.forward_s(2 * 86_400);
    let house = house.restarted();
    house.tell();
    assert!(told(&house, &bob).is_empty(), "what is older than a day is not told again");
}

#[test]
fn what_reached_its_client_is_not_told_again_by_a_restart_and_kept_no_longer_than_without_one() {
    let house = House::new();
    let (alice, bob) = (house.funded("alice", 100_000), house.app("bob"));
    let pay = |house: &House, amount: u64| {
        house.result(&alice, "pay_invoice", json!({ "invoice": house.invoice(&bob, amount) }));
        house.tell();
    };
    let client = crate::wallet::wire::sign::public_key(&bob.keypair);
    let recalled = |house: &House| {
        let filter = json!({ "authors": [bob.wallet], "#p": [client], "kinds": [23_196, 23_197] });
        house.wallet.recall(&serde_json::from_value(filter).unwrap())
    };
    let kept = |house: &House| recalled(house).len();
    house.ear.listeners.store(1, Ordering::Relaxed);
    pay(&house, 1_000);
    pay(&house, 2_000);
    house.ear.listeners.store(0, Ordering::Relaxed);
    house.forward_s(300);
    pay(&house, 3_000);
    house.wait(house.wallet.announce_all(false));
    let before = told(&house, &bob);
    assert_eq!(before.len(), 3);
    let house = house.restarted();
    house.tell();
    assert_eq!(told(&house, &bob), before[2..], "only the one that reached nobody");
    house.ear.listeners.store(1, Ordering::Relaxed);
    let found = recalled(&house);
    assert_eq!(found.len(), 3, "a client that subscribes anew finds all three");
    let answers = house.wallet.answers();
    found.iter().for_each(|event| answers.outbox().delivered(&event.id(), answers.clock().now_ms()));
    pay(&house, 4_000);
    assert_eq!(told(&house, &bob).len(), 2, "what is new is told");
    house.forward_s(301);
    assert_eq!(kept(&house), 2, "ten minutes after it was delivered, not after the restart");
    let house = house.restarted();
    house.tell();
    assert_eq!((told(&house, &bob).len(), kept(&house)), (0, 2));
    house.forward_s(601);
    let house = house.restarted();
    house.tell();
    assert_eq!((told(&house, &bob).len(), kept(&house)), (0, 0));
}

#[test]
fn a_client_that_has_only_subscribed_is_told_in_the_kind_that_it_subscribed_to() {
    let house = House::new();
    let alice = house.funded("alice", 100_000);
    let bob = house.app("bob");
    for (kinds_asked, limit, expected) in
        [(vec![23_196], Some(0), vec![23_196]), (vec![23_197], None, vec![23_197]), (vec![23_195], None, vec![23_196, 23_197])]
    {
        let name = format!("asks {kinds_asked:?}");
        let app = house.app_with(NewConnection { name, account: Some("alice".into()), ..NewConnection::default() });
        let client = crate::wallet::wire::sign::public_key(&app.keypair);
        let mut filter = json!({ "kinds": kinds_asked, "#p": [client] });
        if let Some(limit) = limit {
            filter["limit"] = json!(limit);
        }
        house.wallet.recall(&serde_json::from_value(filter).unwrap());
        // That of another wallet says nothing.
        let elsewhere = json!({ "kinds": [23_196, 23_197], "#p": [client], "authors": [bob.wallet] });
        house.wallet.recall(&serde_json::from_value(elsewhere).unwrap());
        house.result(&alice, "pay_invoice", json!({ "invoice": house.invoice(&bob, 1_000) }));
        house.tell();
        let mut found = kinds(&told(&house, &app));
        found.sort_unstable();
        assert_eq!(found, expected, "{kinds_asked:?}");
    }
}

#[test]
fn others_of_the_account_are_told_only_what_they_could_list_and_without_proofs() {
    let house = House::new();
    let (alice, bob) = (house.funded("alice", 100_000), house.app("bob"));
    let of_alice = |name: &str, methods: &[&str]| NewConnection {
        name: name.to_owned(),
        account: Some("alice".to_owned()),
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        ..NewConnection::default()
    };
    let reader = house.app_with(of_alice("reader", &["list_transactions"]));
    let payer = house.app_with(of_alice("payer", &["pay_invoice"]));
    let silent = house.app_with(NewConnection { notifications: Some(Vec::new()), ..of_alice("silent", &[]) });
    house.ask(&reader, "list_transactions", json!({}));
    house.result(&alice, "pay_invoice", json!({ "invoice": house.invoice(&bob, 1_000) }));
    house.tell();
    let seen = told(&house, &reader);
    assert_eq!(seen.len(), 1);
    let body = &open(&reader, &seen[0])["notification"];
    assert!(body.get("preimage").is_none(), "the proof belongs to the connection that paid");
    assert!(told(&house, &payer).is_empty() && told(&house, &silent).is_empty());
    house.wait(house.wallet.revoke("reader")).unwrap();
    house.result(&alice, "pay_invoice", json!({ "invoice": house.invoice(&bob, 1_000) }));
    house.tell();
    assert_eq!((told(&house, &reader).len(), told(&house, &alice).len()), (1, 2));
}

#[test]
fn while_nothing_is_known_of_a_client_both_kinds_are_sent_unless_nip04_is_refused() {
    let house = House::new();
    let alice = house.funded("alice", 100_000);
    let modern =
        NewConnection { name: "modern".into(), account: Some("alice".into()), no_nip04: true, ..NewConnection::default() };
    let modern = house.app_with(modern);
    let quiet = house.app_with(NewConnection { name: "quiet".into(), account: Some("alice".into()), ..NewConnection::default() });
    let bob = house.app("bob");
    house.result(&alice, "pay_invoice", json!({ "invoice": house.invoice(&bob, 1_000) }));
    house.tell();
    let mut both = kinds(&told(&house, &quiet));
    both.sort_unstable();
    assert_eq!((both, kinds(&told(&house, &modern))), (vec![23_196, 23_197], vec![23_197]));
}

#[test]
fn news_that_do_not_fit_are_read_from_the_journal() {
    let house = House::new();
    let (alice, bob) = (house.funded("alice", 1_000_000), house.app("bob"));
    for n in 1..=3_u64 {
        house.result(&alice, "pay_invoice", json!({ "invoice": house.invoice(&bob, n * 1_000) }));
        if n == 1 {
            house.tell();
            house.wallet.answers().news().overflow();
        }
    }
    house.tell();
    let amounts: Vec<_> =
        told(&house, &bob).iter().map(|event| open(&bob, event)["notification"]["amount"].as_u64().unwrap()).collect();
    assert_eq!(amounts, [1_000, 2_000, 3_000], "each once, in order");
    assert_eq!(Msat::new(house.balance(&bob)).unwrap().get(), 6_000);
}
