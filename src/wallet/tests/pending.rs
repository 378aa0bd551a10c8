//! Payments that take long: what a client is told of them meanwhile, on a clock that the test moves.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{App, House};
use crate::base::amount::Msat;
use crate::base::hex32::EventId;
use crate::protocol::reason::Verdict;
use crate::wallet::backend::scripted::{Act, End, Scripted};
use crate::wallet::notify::PENDING_AFTER_MS;
use crate::wallet::terms::{Preimage, Scheme};

/// A house over a back end that never answers by itself, and an app that has money.
fn house() -> (Arc<Scripted>, House, App) {
    let backend = Arc::new(Scripted::new([0x11; 32]).unwrap());
    backend.otherwise(Act::Hang);
    let house = House::over(Arc::clone(&backend) as _);
    let app = house.funded("alice", 100_000_000);
    (backend, house, app)
}

/// Hands in a payment that will hang, and waits until the back end has it.
fn start(backend: &Scripted, house: &House, app: &App, method: &str, key: &str, number: u8) -> (EventId, Preimage) {
    let preimage = Preimage([number; 32]);
    let amount = Msat::new(21_000).unwrap();
    let invoice = backend.outside_invoice(Some(amount), preimage, 3_600, house.clock.now_s()).unwrap();
    let plaintext = json!({ "method": method, "params": { key: invoice } }).to_string();
    let request = app.request(Scheme::Nip44, &plaintext, house.clock.now_s(), &[]);
    assert_eq!(house.hand_in(&request), Verdict::Accepted);
    let started = std::time::Instant::now();
    while backend.effects(&preimage.hash()) == 0 {
        assert!(started.elapsed() < super::PATIENCE, "the back end never got the order");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    (request.id(), preimage)
}

/// All that was answered so far, once there are so many.
fn answers(house: &House, app: &App, request: &EventId, count: usize) -> Vec<Value> {
    let started = std::time::Instant::now();
    loop {
        let found = house.ear.answers(request);
        if found.len() >= count {
            return found.iter().map(|answer| app.read(answer).1).collect();
        }
        assert!(started.elapsed() < super::PATIENCE, "{} of {count} answers came", found.len());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn forward_ms(house: &House, ms: u64) {
    house.clock.set_ms(house.clock.now_ms() + ms);
}

#[test]
fn a_pay_that_hangs_is_told_to_be_pending_after_20_s_once_and_then_how_it_ended() {
    for end in [End::Settle(Msat::ZERO), End::Fail("no route".to_owned())] {
        let (backend, house, app) = house();
        let (request, preimage) = start(&backend, &house, &app, "pay", "payment", 7);
        forward_ms(&house, PENDING_AFTER_MS - 1);
        house.wallet.tell_pending();
        assert!(house.ear.answers(&request).is_empty(), "before its time nothing is said");
        forward_ms(&house, 1);
        house.wallet.tell_pending();
        let pending = &answers(&house, &app, &request, 1)[0];
        assert!(pending["error"].is_null() && pending["result_type"] == "pay", "{pending}");
        let result = &pending["result"];
        assert_eq!(
            (&result["state"], &result["amount"], &result["payment_hash"]),
            (&json!("pending"), &json!(21_000), &json!(preimage.hash()))
        );
        assert!(result.get("preimage").is_none() && result.get("settled_at").is_none(), "{result}");
        forward_ms(&house, 10 * PENDING_AFTER_MS);
        house.wallet.tell_pending();
        assert_eq!(house.ear.answers(&request).len(), 1, "once");

        assert!(backend.release(&preimage.hash(), end.clone()));
        let last = &answers(&house, &app, &request, 2)[1];
        match end {
            End::Settle(_) => {
                assert_eq!(
                    (&last["result"]["state"], &last["result"]["preimage"]),
                    (&json!("settled"), &json!(preimage.to_hex()))
                );
            }
            End::Fail(_) => assert_eq!(last["error"]["code"], "PAYMENT_FAILED"),
        }
        assert_eq!(backend.effects(&preimage.hash()), 1);
    }
}

#[test]
fn what_ended_in_time_and_other_methods_are_never_told_to_be_pending() {
    let (backend, house, app) = house();
    let (quick, quick_preimage) = start(&backend, &house, &app, "pay", "payment", 1);
    assert!(backend.release(&quick_preimage.hash(), End::Settle(Msat::ZERO)));
    assert_eq!(answers(&house, &app, &quick, 1)[0]["result"]["state"], "settled");
    let (old, old_preimage) = start(&backend, &house, &app, "pay_invoice", "invoice", 2);
    forward_ms(&house, 2 * PENDING_AFTER_MS);
    house.wallet.tell_pending();
    assert_eq!((house.ear.answers(&quick).len(), house.ear.answers(&old).len()), (1, 0));
    assert!(backend.release(&old_preimage.hash(), End::Settle(Msat::ZERO)));
    assert_eq!(answers(&house, &app, &old, 1)[0]["result"]["preimage"], old_preimage.to_hex());
}
