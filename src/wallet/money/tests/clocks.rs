//! Clocks that jump while something waits: found in the simulator, and kept here.

use super::super::payment::{Effect, Input};
use super::support::*;
use crate::wallet::backend::{LookupResult, SendResult};

fn under_way() -> Core {
    let mut core = Core::with(&[(1_000_000, None)]);
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    let (hash, attempt) = (proof(1).hash(), core.attempt(&proof(1).hash()));
    core.step(Input::Sent { hash, attempt, result: SendResult::Unknown("cut".to_owned()) });
    core
}

fn not_found(core: &mut Core) {
    let (hash, attempt) = (proof(1).hash(), core.attempt(&proof(1).hash()));
    core.step(Input::Looked { hash, attempt, asked_ms: core.now_ms, result: LookupResult::NotFound });
}

/// Seed 168: nobody asked about a payment under way until the clock was where it had been.
#[test]
fn a_clock_that_went_back_delays_no_question() {
    let mut core = under_way();
    core.now_ms += 3 * DAY_MS;
    assert!(matches!(&core.step(Input::Tick)[..], [Effect::Lookup(_)]));
    core.now_ms -= 3 * DAY_MS;
    assert!(matches!(&core.step(Input::Tick)[..], [Effect::Lookup(_)]));
    assert_eq!(core.step(Input::Tick), [], "once a minute is enough");
}

/// Seeds 30823 and 49707: the hold was released and the client told, while the node had the order and paid it.
#[test]
fn a_clock_that_jumped_ahead_gives_no_money_back() {
    let mut core = under_way();
    let believed_ms = core.now_ms;
    core.now_ms += 3 * DAY_MS;
    core.step(Input::Clock { frozen_at_ms: Some(believed_ms) });
    for _ in 0..10 {
        core.now_ms += 60_000;
        not_found(&mut core);
    }
    assert_eq!((core.spendable(1), core.answer(&request(0, 1))), (1_000_000 - 15_000, None));
    core.step(Input::Clock { frozen_at_ms: None });
    core.now_ms += 60_000;
    not_found(&mut core);
    assert!(core.answer(&request(0, 1)).unwrap().contains("PAYMENT_FAILED"));
}

#[test]
fn an_invoice_that_is_being_made_when_the_clock_goes_back_is_given_up_all_the_same() {
    let mut core = Core::with(&[(0, None)]);
    let token = core.token();
    let order = Box::new(invoice_order(request(0, 1), Some(1_000)));
    core.step(Input::MakeInvoice { order, preimage: proof(5), token });
    core.now_ms -= DAY_MS;
    assert!(matches!(&core.step(Input::Tick)[..], [Effect::Reply(of, _)] if *of == token));
}
