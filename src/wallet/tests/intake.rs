//! The way in: what is claimed, refused, answered once and for all.

use std::sync::atomic::Ordering;

use secp256k1::{Keypair, SECP256K1};
use serde_json::json;

use super::{App, House, NOW_S, refusal, slow};
use crate::protocol::event::{Draft, Event};
use crate::protocol::reason::Verdict;
use crate::wallet::answers::Addressee;
use crate::wallet::owner::NewConnection;
use crate::wallet::terms::{ErrorCode, Refusal, RequestKey, Scheme};
use crate::wallet::wire::sign::{Nonce, Unsigned, sign};
use crate::wallet::{Claim, Config};

const GET_BALANCE: &str = r#"{"method":"get_balance"}"#;

fn claim(house: &House, event: &Event) -> String {
    match house.wallet.claim(&Draft::parse(event.json()).unwrap()) {
        Claim::NotMine => "not mine".to_owned(),
        Claim::Take => "take".to_owned(),
        Claim::Refuse(reason) => reason.to_string(),
    }
}

fn error(house: &House, app: &App, event: &Event) -> (String, String) {
    assert_eq!(house.hand_in(event), Verdict::Accepted);
    refusal(&app.read(&house.ear.answer(&event.id())).1)
}

#[test]
fn only_requests_for_hosted_keys_are_claimed() {
    let house = House::new();
    let app = house.app("phone");
    let stranger = Keypair::from_seckey_slice(SECP256K1, &[9; 32]).unwrap();
    let (wallet, other) = (app.wallet.to_string(), "77".repeat(32));
    let event = |keypair, kind, tags: &[&[&str]]| {
        sign(keypair, &Unsigned { kind, created_at: NOW_S, tags, content: "x" }, Nonce::Random).unwrap()
    };
    let mine = |kind, tags: &[&[&str]]| claim(&house, &event(&app.keypair, kind, tags));
    let several = "invalid: a wallet request names exactly one wallet: it needs one p tag";
    assert_eq!(mine(23_194, &[&["p", &wallet]]), "take");
    assert_eq!(mine(23_194, &[&["e", &other], &["p", &wallet, "ws://x"]]), "take");
    assert_eq!(mine(23_194, &[&["p", &other]]), "not mine");
    assert_eq!(mine(23_194, &[&["p", &wallet.to_uppercase()]]), "not mine");
    assert_eq!(mine(23_194, &[&["p"]]), "not mine");
    assert_eq!(mine(23_194, &[]), "not mine");
    assert_eq!(mine(23_195, &[&["p", &wallet]]), "not mine");
    assert_eq!(mine(1, &[&["p", &wallet]]), "not mine");
    assert_eq!(mine(23_194, &[&["p", &wallet], &["p", &other]]), several);
    assert_eq!(mine(23_194, &[&["p", &other], &["p", &wallet]]), several);
    assert_eq!(mine(23_194, &[&["p", &other], &["p", &other]]), "not mine");
    let strange = claim(&house, &event(&stranger, 23_194, &[&["p", &wallet]]));
    assert_eq!(strange, "restricted: this key has no connection to that wallet");
}

#[test]
fn an_app_cannot_ask_another_apps_wallet_key() {
    let house = House::new();
    let (alice, bob) = (house.app("alice"), house.app("bob"));
    let crossed = App { keypair: alice.keypair, wallet: bob.wallet, ..alice };
    assert!(claim(&house, &crossed.event("x", NOW_S, &[])).starts_with("restricted: "));
}

#[test]
fn freshness() {
    let house = House::new();
    let app = house.app("phone");
    let past = (NOW_S - 1).to_string();
    let future = (NOW_S + 1).to_string();
    let now = NOW_S.to_string();
    let table: &[(u64, Option<&str>, &str)] = &[
        (NOW_S, None, "true"),
        (NOW_S - 900, None, "true"),
        (NOW_S - 901, None, "invalid: expired"),
        (NOW_S + 900, None, "true"),
        (NOW_S + 901, None, "invalid: expired (created_at lies too far in the future)"),
        (0, None, "invalid: expired"),
        (u64::MAX, None, "invalid: expired (created_at lies too far in the future)"),
        (NOW_S, Some(&future), "true"),
        (NOW_S, Some(&now), "invalid: expired"),
        (NOW_S, Some(&past), "invalid: expired"),
        (NOW_S - 901, Some(&future), "invalid: expired"),
        (NOW_S, Some("soon"), "true"),
    ];
    for (created_at, expiration, expected) in table {
        let tag = expiration.map(|at| ["expiration", at]);
        let tags: Vec<&[&str]> = tag.iter().map(<[&str; 2]>::as_slice).collect();
        let event = app.request(Scheme::Nip44, GET_BALANCE, *created_at, &tags);
        let got = match house.hand_in(&event) {
            Verdict::Accepted => "true".to_owned(),
            Verdict::AcceptedWith(reason) | Verdict::Refused(reason) => reason.to_string(),
        };
        assert_eq!(got, *expected, "created_at {created_at}, expiration {expiration:?}");
        assert_eq!(house.ear.answers(&event.id()).len(), usize::from(*expected == "true"));
    }
}

#[test]
fn a_payment_that_comes_too_late_is_not_made_but_an_old_answer_is_given_again() {
    let house = House::new();
    let (alice, bob) = (house.funded("alice", 100_000), house.app("bob"));
    let pay = |msat: u64| json!({ "method": "pay_invoice", "params": { "invoice": house.invoice(&bob, msat) } }).to_string();
    let soon = (NOW_S + 30).to_string();
    let request = alice.request(Scheme::Nip44, &pay(1_000), NOW_S, &[&["expiration", &soon]]);
    assert_eq!(house.hand_in(&request), Verdict::Accepted);
    let answer = house.ear.answer(&request.id());
    let late = alice.request(Scheme::Nip44, &pay(2_000), NOW_S, &[]);
    house.forward_s(3 * 86_400);
    house.wallet.answers().outbox().sweep(house.clock.now_ms());
    assert!(!house.wallet.answers().outbox().knows(&request.id()));
    let Verdict::Refused(reason) = house.hand_in(&late) else { panic!("paid three days late") };
    assert_eq!(reason.to_string(), "invalid: expired");
    assert_eq!(house.hand_in(&request), Verdict::Accepted);
    let again = house.ear.answers(&request.id());
    assert!(again.len() >= 2 && again.iter().all(|event| event.bytes() == answer.bytes()));
    assert_eq!(house.balance(&bob), 1_000);
}

#[test]
fn an_answer_is_never_older_than_its_request() {
    let house = House::new();
    let app = house.app("phone");
    for (created_at, expected) in [(NOW_S + 600, NOW_S + 600), (NOW_S - 600, NOW_S)] {
        let event = app.request(Scheme::Nip44, GET_BALANCE, created_at, &[]);
        house.hand_in(&event);
        assert_eq!(house.ear.answer(&event.id()).created_at(), expected);
    }
}

#[test]
fn the_same_request_gets_the_same_bytes() {
    let house = House::new();
    let (alice, bob) = (house.funded("alice", 100_000), house.app("bob"));
    let invoice = house.invoice(&bob, 1_000);
    // Somebody hears the answers; what reached nobody would be sent again at once.
    house.ear.listeners.store(1, Ordering::Relaxed);
    let requests = [
        GET_BALANCE.to_owned(),
        json!({ "method": "make_invoice", "params": { "amount": 5 } }).to_string(),
        json!({ "method": "pay_invoice", "params": { "invoice": invoice } }).to_string(),
        json!({ "method": "pay_invoice", "params": { "invoice": "nonsense" } }).to_string(),
    ];
    for text in requests {
        let event = alice.request(Scheme::Nip44, &text, NOW_S, &[]);
        house.hand_in(&event);
        let first = house.ear.answer(&event.id());
        // At most once a second, whoever asks how often.
        for _ in 0..5 {
            assert_eq!(house.hand_in(&event), Verdict::Accepted);
        }
        assert_eq!(house.ear.answers(&event.id()).len(), 1, "{text}");
        house.forward_s(2);
        house.hand_in(&event);
        let answers = house.ear.answers(&event.id());
        assert_eq!(answers.len(), 2, "{text}");
        assert!(answers.iter().all(|answer| answer.bytes() == first.bytes()), "{text}");
    }
    assert_eq!(house.balance(&bob), 1_000);
}

#[test]
fn paid_once_and_answered_the_same_after_a_restart() {
    let house = House::new();
    let (alice, bob) = (house.funded("alice", 100_000), house.app("bob"));
    let text = json!({ "method": "pay_invoice", "params": { "invoice": house.invoice(&bob, 1_000) } }).to_string();
    let event = alice.request(Scheme::Nip04, &text, NOW_S, &[]);
    house.hand_in(&event);
    let first = house.ear.answer(&event.id());
    let house = house.restarted();
    let kept = house.wallet.recall(&serde_json::from_value(json!({ "#e": [event.id()] })).unwrap());
    assert_eq!(kept, std::slice::from_ref(&first), "late subscriptions find it after a restart");
    house.forward_s(2);
    house.hand_in(&event);
    assert!(house.ear.answers(&event.id()).iter().all(|answer| answer.bytes() == first.bytes()));
    assert_eq!((house.balance(&alice), house.balance(&bob)), (99_000, 1_000));
}

#[test]
fn what_cannot_be_decrypted_is_answered_with_one_text() {
    let house = House::new();
    let app = house.app("phone");
    let good = app.request(Scheme::Nip44, GET_BALANCE, NOW_S, &[]);
    let good = Draft::parse(good.json()).unwrap().content.to_string();
    let garbage =
        [String::new(), "garbage".to_owned(), good[..good.len() - 8].to_owned(), format!("{good}?iv=AAAAAAAAAAAAAAAAAAAAAA==")];
    for content in garbage {
        let (code, words) = error(&house, &app, &app.event(&content, NOW_S, &[]));
        assert_eq!((code.as_str(), words.as_str()), ("OTHER", "the request could not be decrypted"), "{content}");
    }
}

#[test]
fn encryption_tags_may_lie_but_not_ask_for_what_is_not_there() {
    let house = House::new();
    let app = house.app("phone");
    for (scheme, tag) in [(Scheme::Nip44, "nip04"), (Scheme::Nip04, "nip44_v2"), (Scheme::Nip44, "nip44_v2")] {
        let event = app.request(scheme, GET_BALANCE, NOW_S, &[&["encryption", tag], &["v", "1.0"]]);
        house.hand_in(&event);
        let (got, answer) = app.read(&house.ear.answer(&event.id()));
        assert_eq!((got, answer["result"]["balance"].as_u64()), (scheme, Some(0)));
    }
    let event = app.request(Scheme::Nip04, GET_BALANCE, NOW_S, &[&["encryption", "nip99"]]);
    assert_eq!(error(&house, &app, &event).0, "UNSUPPORTED_ENCRYPTION");
}

#[test]
fn without_nip04_only_nip44_is_served() {
    let house = House::new();
    let app = house.app_with(NewConnection { name: "strict".to_owned(), no_nip04: true, ..NewConnection::default() });
    let event = app.request(Scheme::Nip04, GET_BALANCE, NOW_S, &[]);
    assert_eq!(error(&house, &app, &event).0, "UNSUPPORTED_ENCRYPTION");
    assert_eq!(house.balance(&app), 0);
}

#[test]
fn unknown_methods_and_missing_rights_are_answered() {
    let house = House::new();
    let app = house.app_with(NewConnection {
        name: "reader".to_owned(),
        methods: vec!["get_info".to_owned(), "get_balance".to_owned()],
        ..NewConnection::default()
    });
    assert_eq!(house.refusal(&app, "pay_keysend", json!({})).0, "NOT_IMPLEMENTED");
    let (code, words) = house.refusal(&app, "pay_invoice", json!({ "invoice": "x" }));
    assert_eq!(code, "RESTRICTED");
    assert_eq!(words, "this connection may not use pay_invoice; it may use: get_balance get_info");
    assert_eq!(house.balance(&app), 0);
    let event = app.request(Scheme::Nip44, "no json", NOW_S, &[]);
    assert_eq!(error(&house, &app, &event).0, "OTHER");
}

#[test]
fn revoked_and_expired_keys_are_told_unauthorized() {
    let house = House::new();
    let (gone, ending) = (
        house.app("gone"),
        house.app_with(NewConnection { name: "ending".to_owned(), expires_in_s: Some(60), ..NewConnection::default() }),
    );
    assert_eq!(house.balance(&ending), 0);
    house.wait(house.wallet.revoke("gone")).unwrap();
    let (code, words) = house.refusal(&gone, "get_balance", json!({}));
    assert_eq!(code, "UNAUTHORIZED");
    assert!(words.starts_with("this connection was revoked at 2027-01-15T08:00:00Z"), "{words}");
    house.forward_s(60);
    assert_eq!(house.refusal(&ending, "pay_invoice", json!({ "invoice": "x" })).0, "UNAUTHORIZED");
    let house = house.restarted();
    assert_eq!(house.refusal(&gone, "get_info", json!({})).0, "UNAUTHORIZED");
    assert_eq!(house.refusal(&ending, "get_info", json!({})).0, "UNAUTHORIZED");
}

#[test]
fn who_asks_too_fast_is_told_so_and_slows_nobody_else() {
    let house = House::with(Config { rate: slow(3), ..Config::default() });
    let (fast, calm) = (house.app("fast"), house.app("calm"));
    let mut codes = Vec::new();
    for _ in 0..12 {
        let event = fast.request(Scheme::Nip44, GET_BALANCE, NOW_S, &[]);
        codes.push(match house.hand_in(&event) {
            Verdict::Accepted => match fast.read(&house.ear.answer(&event.id())).1 {
                answer if answer["error"].is_null() => "ok".to_owned(),
                answer => {
                    assert_eq!(answer["result_type"], "get_balance");
                    refusal(&answer).0
                }
            },
            verdict => verdict.reason().unwrap().to_string(),
        });
    }
    assert_eq!(codes[..3], ["ok", "ok", "ok"]);
    assert!(codes[3..8].iter().all(|code| code == "RATE_LIMITED"), "{codes:?}");
    assert!(codes[8..].iter().all(|code| code == "rate-limited: this connection asks too fast"), "{codes:?}");
    assert_eq!(house.balance(&calm), 0);
}

#[test]
fn answers_are_counted() {
    let house = House::new();
    let (alice, bob) = (house.funded("alice", 100_000), house.app("bob"));
    house.result(&alice, "pay_invoice", json!({ "invoice": house.invoice(&bob, 1_000) }));
    house.refusal(&alice, "levitate", json!({}));
    let counts: Vec<_> =
        house.wallet.answers().stats().requests().iter().map(|line| (line.method, line.result, line.count)).collect();
    assert_eq!(counts, [("pay_invoice", "ok", 1), ("make_invoice", "ok", 1), ("unknown", "NOT_IMPLEMENTED", 1)]);
}

/// A payment that was refused for its moment leaves no record. After a restart within its time the same request is told the same, and a
/// new one is paid.
#[test]
fn a_payment_that_was_refused_is_not_paid_after_a_restart() {
    let house = House::new();
    let (alice, bob) = (house.funded("alice", 100_000), house.app("bob"));
    let pay = |params: serde_json::Value| json!({ "method": "pay_invoice", "params": params }).to_string();
    let text = pay(json!({ "invoice": house.invoice(&bob, 1_000) }));
    let refused = alice.request(Scheme::Nip44, &text, NOW_S, &[]);
    let hosted = house.wallet.answers().table().get(&alice.wallet).unwrap();
    let request = RequestKey { event: refused.id(), item: 0 };
    let to = Addressee { keys: &hosted.keys, scheme: Scheme::Nip44, request, created_at_s: NOW_S, item_tag: None };
    let too_fast = Refusal::new(ErrorCode::RateLimited, "this connection asks too fast");
    house.wallet.answers().refuse(&to, "pay_invoice", "pay_invoice", &too_fast);
    let house = house.restarted();
    house.forward_s(60);
    let (code, words) = error(&house, &alice, &refused);
    assert_eq!(code, "RATE_LIMITED");
    assert!(words.contains("nothing was paid"), "{words}");
    assert_eq!(house.balance(&bob), 0);
    let again = alice.request(Scheme::Nip44, &text, NOW_S + 60, &[]);
    house.hand_in(&again);
    assert!(alice.read(&house.ear.answer(&again.id())).1["error"].is_null());
    assert_eq!(house.balance(&bob), 1_000);
    // What is in the journal stands before what the log says.
    let house = house.restarted();
    house.hand_in(&again);
    assert!(alice.read(&house.ear.answer(&again.id())).1["error"].is_null());
}
