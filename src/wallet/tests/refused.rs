//! What was refused without a record stays refused: within a life, across a restart, item by item.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{App, House, NOW_S, refusal};
use crate::base::amount::Msat;
use crate::protocol::event::{Event, TagValue};
use crate::protocol::reason::Verdict;
use crate::wallet::answers::Addressee;
use crate::wallet::backend::scripted::{Act, Scripted};
use crate::wallet::terms::{ErrorCode, Preimage, Refusal, RequestKey, Scheme};

/// Refuses a request, or one item of it by its place and name, as happens for a moment's sake.
fn refuse(house: &House, app: &App, request: &Event, method: &str, item: Option<(u16, &str)>) {
    let hosted = house.wallet.answers().table().get(&app.wallet).unwrap();
    let key = RequestKey { event: request.id(), item: item.map_or(0, |(place, _)| place) };
    let (created_at_s, item_tag) = (request.created_at(), item.map(|(_, name)| name));
    let to = Addressee { keys: &hosted.keys, scheme: Scheme::Nip44, request: key, created_at_s, item_tag };
    let why = Refusal::new(ErrorCode::Internal, "nothing was paid: the node is away");
    house.wallet.answers().refuse(&to, method, method, &why);
}

/// Everything that is kept for a while has been given up, as after minutes or in a flood.
fn forget_answers(house: &House) {
    let now_ms = house.clock.now_ms();
    house.wallet.answers().outbox().sweep(now_ms + 2 * 86_400_000);
}

fn pay(app: &App, house: &House, invoice: &str) -> Event {
    let text = json!({ "method": "pay_invoice", "params": { "invoice": invoice } }).to_string();
    app.request(Scheme::Nip44, &text, house.clock.now_s(), &[])
}

/// Asks again and gives the code of the newest answer.
fn code_again(house: &House, app: &App, request: &Event) -> String {
    let before = house.ear.answers(&request.id()).len();
    assert_eq!(house.hand_in(request), Verdict::Accepted);
    let answers = house.ear.answers(&request.id());
    assert!(answers.len() > before, "no answer came");
    let (code, words) = refusal(&app.read(answers.last().unwrap()).1);
    assert!(words.contains("nothing was paid"), "{words}");
    code
}

#[test]
fn a_payment_that_was_refused_for_its_moment_is_never_made_in_the_same_life() {
    let backend = Arc::new(Scripted::new([0x11; 32]).unwrap());
    backend.otherwise(Act::Hang);
    let house = House::over(Arc::clone(&backend) as _);
    let alice = house.funded("alice", 100_000_000);
    let preimage = Preimage([5; 32]);
    let invoice = backend.outside_invoice(Msat::new(21_000).ok(), preimage, 3_600, NOW_S).unwrap();
    // Its client's clock is ahead: it can be taken for nearly half an hour.
    let text = json!({ "method": "pay_invoice", "params": { "invoice": invoice } }).to_string();
    let request = alice.request(Scheme::Nip44, &text, NOW_S + 890, &[]);
    backend.set_away(Some("it is asleep"));
    assert_eq!(code_again(&house, &alice, &request), "INTERNAL");
    house.wallet.answers().outbox().delivered(&house.ear.answer(&request.id()).id(), house.clock.now_ms());
    backend.set_away(None);
    for _ in 0..2 {
        house.forward_s(11 * 60);
        house.wallet.answers().outbox().sweep(house.clock.now_ms());
        house.wallet.answers().refused().sweep(house.wallet.config().freshness_s, house.clock.now_s());
        assert!(!house.wallet.answers().outbox().knows(&request.id()));
        assert_eq!(code_again(&house, &alice, &request), "INTERNAL");
        house.wallet.answers().outbox().delivered(&house.ear.answers(&request.id()).last().unwrap().id(), house.clock.now_ms());
    }
    assert_eq!(backend.effects(&preimage.hash()), 0);
    // A new request is paid.
    assert_eq!(house.hand_in(&pay(&alice, &house, &invoice)), Verdict::Accepted);
    let started = std::time::Instant::now();
    while backend.effects(&preimage.hash()) == 0 {
        assert!(started.elapsed() < super::PATIENCE, "it was not sent");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[test]
fn the_first_refusal_stands_whatever_became_of_the_connection() {
    let house = House::new();
    let (alice, bob) = (house.funded("alice", 100_000), house.app("bob"));
    let request = pay(&alice, &house, &house.invoice(&bob, 1_000));
    refuse(&house, &alice, &request, "pay_invoice", None);
    house.wait(house.wallet.revoke("alice")).unwrap();
    forget_answers(&house);
    assert_eq!(code_again(&house, &alice, &request), "INTERNAL");
    // One that cannot be read is still told why.
    let nonsense = alice.request(Scheme::Nip44, r#"{"method":"pay_invoice","params":{}}"#, NOW_S, &[]);
    house.hand_in(&nonsense);
    assert_eq!(refusal(&alice.read(&house.ear.answer(&nonsense.id())).1).0, "UNAUTHORIZED");
}

#[test]
fn a_flood_of_refusals_gets_no_old_request_paid_and_costs_no_other_connection_anything() {
    let house = House::new();
    let (alice, bob) = (house.funded("alice", 100_000), house.app("bob"));
    let carol = house.funded("carol", 100_000);
    let request = pay(&alice, &house, &house.invoice(&bob, 1_000));
    let (of_carol, first) = (pay(&carol, &house, &house.invoice(&bob, 500)), pay(&carol, &house, &house.invoice(&bob, 700)));
    refuse(&house, &alice, &request, "pay_invoice", None);
    refuse(&house, &carol, &of_carol, "pay_invoice", None);
    let refused = house.wallet.answers().refused();
    for number in 0..5_000_u64 {
        let mut id = [9; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let (request, asked_at_s) = (id.into(), NOW_S + 1 + number / 100);
        let past = crate::wallet::access::audit::RefusedPayment { request, asked_at_s, item: None, code: ErrorCode::Other };
        refused.remember(&alice.wallet, past);
    }
    forget_answers(&house);
    assert_eq!(code_again(&house, &alice, &request), "RATE_LIMITED");
    assert_eq!(code_again(&house, &carol, &of_carol), "INTERNAL");
    assert_eq!(house.balance(&bob), 0);
    assert_eq!(house.hand_in(&first), Verdict::Accepted);
    house.ear.answer(&first.id());
    assert_eq!(house.balance(&bob), 700);
    house.forward_s(60);
    house.result(&alice, "pay_invoice", json!({ "invoice": house.invoice(&bob, 1_000) }));
    assert_eq!(house.balance(&bob), 1_700);
}

fn three(house: &House, app: &App, to: &App) -> Event {
    let items: Vec<Value> =
        ["a", "b", "c"].iter().map(|name| json!({ "id": name, "invoice": house.invoice(to, 1_000) })).collect();
    let text = json!({ "method": "multi_pay_invoice", "params": { "invoices": items } }).to_string();
    app.request(Scheme::Nip44, &text, house.clock.now_s(), &[])
}

/// What each item was told, by name, when all were.
fn told(house: &House, app: &App, request: &Event) -> Vec<(String, String)> {
    let started = std::time::Instant::now();
    loop {
        let name = |event: &Event| match event.view().tag(b'd') {
            Some(TagValue::Text(name)) => name.to_owned(),
            other => panic!("an answer to no item: {other:?}"),
        };
        let code = |event: &Event| app.read(event).1["error"]["code"].as_str().unwrap_or("paid").to_owned();
        let mut told: Vec<_> = house.ear.answers(&request.id()).iter().map(|event| (name(event), code(event))).collect();
        told.sort();
        told.dedup();
        if told.len() >= 3 {
            return told;
        }
        assert!(started.elapsed() < super::PATIENCE, "only {told:?}");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[test]
fn of_several_only_the_item_that_was_refused_stays_refused() {
    let expected = [("a", "paid"), ("b", "INTERNAL"), ("c", "paid")].map(|(name, code)| (name.to_owned(), code.to_owned()));
    for restarts in [false, true] {
        let mut house = House::new();
        let (alice, bob) = (house.funded("alice", 100_000), house.app("bob"));
        let request = three(&house, &alice, &bob);
        refuse(&house, &alice, &request, "multi_pay_invoice", Some((1, "b")));
        if restarts {
            // As after a crash before the others were written.
            house = house.restarted();
        } else {
            forget_answers(&house);
        }
        assert_eq!(house.hand_in(&request), Verdict::Accepted);
        assert_eq!(told(&house, &alice, &request), expected, "{restarts}");
        assert_eq!(house.balance(&bob), 2_000);
    }
}

#[test]
fn several_that_were_refused_as_a_whole_stay_refused_by_one_answer() {
    let mut house = House::new();
    let (alice, bob) = (house.funded("alice", 100_000), house.app("bob"));
    let request = three(&house, &alice, &bob);
    refuse(&house, &alice, &request, "multi_pay_invoice", None);
    forget_answers(&house);
    assert_eq!(code_again(&house, &alice, &request), "INTERNAL");
    house = house.restarted();
    assert_eq!(code_again(&house, &alice, &request), "INTERNAL");
    assert!(house.ear.answers(&request.id()).iter().all(|answer| answer.view().tag(b'd').is_none()));
    assert_eq!(house.balance(&bob), 0);
}
