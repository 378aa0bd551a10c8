//! Payments of an earlier life that are sent once more, and what is said about them late, twice or of the wrong attempt. Found in the
//! simulator (seeds 64511 and 136272 of the worlds before there were restless ones), and kept here.

use super::super::payment::{Bill, Effect, Input};
use super::super::record::Record;
use super::super::types::*;
use super::support::*;
use crate::base::hex32::PaymentHash;
use crate::wallet::backend::{Capabilities, LookupOrder, LookupResult, SendOrder, SendResult};

const RICH: u64 = 1_000_000_000;

fn hash() -> PaymentHash {
    proof(1).hash()
}

/// A payment that was sent in an earlier life; its first question is put.
fn recovered() -> (Core, u64) {
    let mut core = Core::with(&[(RICH, None)]);
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    let first = core.attempt(&hash());
    core.restart();
    (core, first)
}

/// The answer to a question that was put at a moment of the steady clock, in seconds.
fn answer(core: &mut Core, attempt: u64, asked_s: u64, result: LookupResult) -> Vec<Effect> {
    core.step(Input::Looked { hash: hash(), attempt, asked_ms: asked_s * 1_000, result })
}

fn order(effects: &[Effect]) -> Option<SendOrder> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send(order) => Some(order.clone()),
        _ => None,
    })
}

fn failed() -> LookupResult {
    LookupResult::Failed("no route".to_owned())
}

fn is_open(core: &Core) -> bool {
    core.state.open.contains_key(&hash()) && core.answer(&request(0, 1)).is_none()
}

fn question(core: &mut Core) -> LookupOrder {
    core.now_ms += 60_000;
    let effects = core.step(Input::Tick);
    let [Effect::Lookup(order)] = &effects[..] else { panic!("{effects:?}") };
    *order
}

/// Seed 64511: the failure of the attempt before the crash, asked for before the payment was driven again and heard after.
#[test]
fn what_is_said_about_the_attempt_before_is_not_taken_for_the_new_one() {
    let (mut core, first) = recovered();
    answer(&mut core, first, 0, LookupResult::NotFound);
    core.now_ms += 31_000;
    let again = order(&answer(&mut core, first, 31, LookupResult::NotFound)).unwrap();
    assert!(again.attempt > first && core.attempt(&hash()) == again.attempt);
    for late in [failed(), failed(), LookupResult::NotFound, LookupResult::Unknown("502".to_owned()), LookupResult::Pending] {
        assert_eq!(answer(&mut core, first, 31, late), []);
    }
    core.step(Input::Sent { hash: hash(), attempt: first, result: SendResult::Failed("late".to_owned()) });
    assert!(is_open(&core));
    let asked = question(&mut core);
    assert_eq!((asked.attempt, asked.since_ms), (again.attempt, START_MS + 31_000), "a failure from before is that of another");
    answer(&mut core, again.attempt, 91, failed());
    assert!(core.answer(&request(0, 1)).unwrap().contains("PAYMENT_FAILED"), "a word about the new attempt counts");
}

/// The failure of the first attempt is heard in a third life, while the second attempt is still on its way.
#[test]
fn a_further_crash_does_not_mix_up_attempts() {
    let (mut core, first) = recovered();
    answer(&mut core, first, 0, LookupResult::NotFound);
    core.now_ms += 31_000;
    let again = order(&answer(&mut core, first, 31, LookupResult::NotFound)).unwrap();
    let asked = core.restart();
    let expected = LookupOrder { hash: hash(), attempt: again.attempt, since_ms: START_MS + 31_000 };
    assert_eq!(asked, [Effect::Lookup(expected)]);
    assert_eq!(answer(&mut core, first, 1, failed()), []);
    assert!(is_open(&core));
    // A third attempt is possible, and is another one again.
    answer(&mut core, again.attempt, 2, LookupResult::NotFound);
    let third = order(&answer(&mut core, again.attempt, 32, LookupResult::NotFound)).unwrap();
    assert!(third.attempt > again.attempt);
    core.step(Input::Sent { hash: hash(), attempt: first, result: SendResult::Settled { preimage: proof(1), fee: msat(2) } });
    assert!(core.answer(&request(0, 1)).unwrap().contains("paid"), "a proof counts, whatever attempt it is of");
    assert_eq!(core.spendable(1), RICH - 5_002);
}

/// Seed 64511 again: one "never heard of it" that came twice, the second time late, was taken for two.
#[test]
fn an_answer_that_comes_twice_or_late_is_one_answer() {
    let (mut core, first) = recovered();
    answer(&mut core, first, 0, LookupResult::NotFound);
    core.now_ms += 100_000;
    assert_eq!(answer(&mut core, first, 0, LookupResult::NotFound), [], "the same question");
    assert_eq!(answer(&mut core, first, 29, LookupResult::NotFound), [], "too soon after it, however late it is heard");
    assert_eq!(core.state.open[&hash()].watch.not_found, 2);
    // In between somebody else answered: the row begins anew, and what was asked before does not belong to it.
    answer(&mut core, first, 40, LookupResult::Unknown("502".to_owned()));
    assert_eq!(answer(&mut core, first, 35, LookupResult::NotFound), []);
    assert_eq!(core.state.open[&hash()].watch.not_found, 0);
    answer(&mut core, first, 41, LookupResult::NotFound);
    assert!(order(&answer(&mut core, first, 71, LookupResult::NotFound)).is_some());
}

/// Nothing is sent whose new number is not in the journal.
#[test]
fn a_new_attempt_is_written_before_it_is_sent_and_not_begun_in_safe_mode() {
    let (mut core, first) = recovered();
    answer(&mut core, first, 0, LookupResult::NotFound);
    core.now_ms += 31_000;
    let effects = answer(&mut core, first, 31, LookupResult::NotFound);
    assert!(
        matches!(&effects[..], [Effect::Append { entry, .. }, Effect::Send(order)]
            if entry.record == Record::Driven { hash: hash() } && order.attempt == entry.seq),
        "{effects:?}"
    );
    let (mut core, first) = recovered();
    core.state.halted = Some("the anchor is gone".to_owned());
    answer(&mut core, first, 0, LookupResult::NotFound);
    assert_eq!(order(&answer(&mut core, first, 31, LookupResult::NotFound)), None);
}

/// The first attempt reached nobody: nothing is under way. One that drives a payment again reached nobody either, but what became of
/// those before is not known by that: it is asked about, and sent once more.
#[test]
fn an_attempt_that_reached_nobody_ends_a_payment_only_if_it_was_the_first() {
    let not_given = || SendResult::NotGiven("the wallet was busy".to_owned());
    let mut core = Core::with(&[(RICH, None)]);
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    let attempt = core.attempt(&hash());
    core.step(Input::Sent { hash: hash(), attempt, result: not_given() });
    assert!(core.answer(&request(0, 1)).unwrap().contains("PAYMENT_FAILED"));
    assert_eq!(core.spendable(1), RICH);

    let (mut core, first) = recovered();
    answer(&mut core, first, 0, LookupResult::NotFound);
    core.now_ms += 31_000;
    let second = order(&answer(&mut core, first, 31, LookupResult::NotFound)).unwrap();
    core.step(Input::Sent { hash: hash(), attempt: second.attempt, result: not_given() });
    assert!(is_open(&core));
    assert_eq!(order(&answer(&mut core, second.attempt, 40, LookupResult::NotFound)), None);
    let third = order(&answer(&mut core, second.attempt, 71, LookupResult::NotFound)).unwrap();
    assert!(third.attempt > second.attempt);
    let result = SendResult::Settled { preimage: proof(1), fee: msat(0) };
    core.step(Input::Sent { hash: hash(), attempt: third.attempt, result });
    assert_eq!(core.spendable(1), RICH - 5_000);
}

/// A payment without an invoice, allowed while the clock was wrong by so much.
fn keysend(ahead_ms: i64) -> (Core, u64) {
    let mut core = Core::with(&[(RICH, None)]);
    core.state.can = Capabilities { keysend: true, ..Capabilities::default() };
    core.now_ms = core.now_ms.checked_add_signed(ahead_ms).unwrap();
    let request = RequestRef { method: Method::PayKeysend, ..request(0, 1) };
    let target =
        PayTarget::Keysend { payee: format!("02{}", "ab".repeat(32)), amount: msat(5_000), preimage: None, records: Vec::new() };
    let order = Box::new(PayOrder { request, target, expires_at_s: None, metadata: None });
    let token = core.token();
    core.step(Input::Pay { order, bill: Ok(Bill::Keysend(proof(1))), ready: Ok(()), token });
    core.now_ms = START_MS;
    let attempt = core.attempt(&hash());
    (core, attempt)
}

/// Seed 136272: allowed by a clock a day behind; when it was right again, three answers within a minute gave the money back, and the
/// node made the payment.
#[test]
fn a_clock_set_right_gives_no_money_back_at_once() {
    let (mut core, attempt) = keysend(-86_400_000);
    for asked_s in [1, 2, 20, 42, 120] {
        answer(&mut core, attempt, asked_s, LookupResult::NotFound);
    }
    assert!(is_open(&core));
    answer(&mut core, attempt, 121, LookupResult::NotFound);
    assert!(core.answer(&request(0, 1)).unwrap().contains("PAYMENT_FAILED"), "two minutes by a clock that does not jump");
}

/// Allowed by a clock that was days ahead: its hour is over when an hour has passed, whatever the clock says.
#[test]
fn a_payment_without_an_invoice_is_over_by_the_steady_clock_too() {
    let (mut core, attempt) = keysend(7 * 86_400_000);
    for asked_s in (1..=4_200).step_by(60) {
        answer(&mut core, attempt, asked_s, LookupResult::NotFound);
        assert!(is_open(&core), "{asked_s}");
    }
    answer(&mut core, attempt, 4_201, LookupResult::NotFound);
    assert!(core.answer(&request(0, 1)).unwrap().contains("PAYMENT_FAILED"));
    assert_eq!(core.spendable(1), RICH);

    // And nobody knows how old it is: it is not sent once more, days later.
    let (mut core, attempt) = keysend(7 * 86_400_000);
    core.state.can.refuses_second = true;
    core.restart();
    for asked_s in [1, 40, 80] {
        assert_eq!(order(&answer(&mut core, attempt, asked_s, LookupResult::NotFound)), None);
    }
}
