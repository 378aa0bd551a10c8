//! Publish first, subscribe later: the answer is found by each client's filter (wallet.md 5.8), in both schemes.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{House, NOW_S};
use crate::wallet::terms::Scheme;
use crate::wallet::wire::sign::public_key;

#[test]
fn each_clients_filter_finds_the_answer_after_the_fact() {
    let house = House::new();
    let (app, other) = (house.app("phone"), house.app("other"));
    house.balance(&other);
    for scheme in [Scheme::Nip44, Scheme::Nip04] {
        let request = app.request(scheme, r#"{"method":"get_info"}"#, NOW_S, &[]);
        house.hand_in(&request);
        let answer = house.ear.answer(&request.id());
        let (wallet, client, id) = (app.wallet, public_key(&app.keypair), request.id());
        let filters = [
            json!({ "kinds": [23_195], "authors": [wallet], "#e": [id] }),
            json!({ "kinds": [23_195], "#e": [id], "#p": [client] }),
            json!({ "kinds": [23_195], "#e": [id], "#p": [client], "authors": [wallet] }),
            json!({ "kinds": [23_195], "#e": [id], "limit": 1 }),
            json!({ "kinds": [23_195], "limit": 1, "#e": [id], "#p": [client] }),
            json!({ "kinds": [23_195], "authors": [wallet], "since": NOW_S - 60, "limit": 1 }),
            json!({ "authors": [wallet], "#p": [client], "limit": 1 }),
            json!({ "ids": [answer.id()] }),
        ];
        for filter in filters {
            let found = house.wallet.recall(&serde_json::from_value(filter.clone()).unwrap());
            assert!(found.contains(&answer), "{filter}");
            assert!(found.iter().all(|event| event.pubkey() == wallet), "{filter}");
        }
        house.forward_s(1);
    }
}

#[test]
fn nobody_finds_answers_without_naming_somebody() {
    let house = House::new();
    house.balance(&house.app("phone"));
    for filter in [json!({}), json!({ "kinds": [23_195] }), json!({ "kinds": [23_195], "since": 0 }), json!({ "limit": 10 })] {
        assert!(house.wallet.recall(&serde_json::from_value::<_>(filter).unwrap()).is_empty());
    }
}

#[test]
fn what_was_delivered_goes_after_ten_minutes_what_was_not_after_a_day() {
    let house = House::new();
    let app = house.app("phone");
    let by_author = |house: &House| {
        let filter: Value = json!({ "authors": [app.wallet] });
        house.wallet.recall(&serde_json::from_value(filter).unwrap()).len()
    };
    house.balance(&app);
    house.forward_s(23 * 3_600);
    assert_eq!(by_author(&house), 1);
    house.ear.listeners.store(1, Ordering::Relaxed);
    house.balance(&app);
    house.forward_s(599);
    assert_eq!(by_author(&house), 2);
    house.forward_s(1);
    assert_eq!(by_author(&house), 1);
    house.forward_s(3_600);
    assert_eq!(by_author(&house), 0);
}
