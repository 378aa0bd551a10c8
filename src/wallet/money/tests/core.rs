//! The core, one rule a test.

use super::super::payment::{Bill, Effect, Input, OwnerWish, Reply};
use super::super::record::Record;
use super::super::types::*;
use super::support::*;
use crate::base::amount::Msat;
use crate::wallet::backend::{LookupResult, SendOrder, SendResult};

const RICH: u64 = 1_000_000_000;

fn settled(number: u64, fee: u64) -> SendResult {
    SendResult::Settled { preimage: proof(number), fee: msat(fee) }
}

fn sent(core: &mut Core, number: u64, result: SendResult) -> Vec<Effect> {
    let hash = proof(number).hash();
    let attempt = core.state.open.get(&hash).map_or(0, |open| open.attempt);
    core.step(Input::Sent { hash, attempt, result })
}

fn looked(core: &mut Core, number: u64, result: LookupResult) -> Vec<Effect> {
    let hash = proof(number).hash();
    let attempt = core.attempt(&hash);
    core.step(Input::Looked { hash, attempt, asked_ms: core.now_ms, result })
}

#[test]
fn the_intent_is_written_before_the_send_and_the_outcome_with_its_answer() {
    let mut core = Core::with(&[(RICH, Some(RICH))]);
    let (effects, reply) = core.pay(request(0, 1), foreign(1, Some(2_000_000)), None);
    assert_eq!(reply, PayReply::Durable);
    assert!(
        matches!(&effects[..], [Effect::Append { .. }, Effect::Send(order)] if order.amount == msat(2_000_000) && order.fee_max == msat(20_000))
    );
    assert_eq!((core.spendable(1), core.budget(0).held), (RICH - 2_020_000, msat(2_020_000)));
    let effects = sent(&mut core, 1, settled(1, 1_234));
    assert!(matches!(&effects[..], [Effect::Append { .. }]));
    assert_eq!(core.spendable(1), RICH - 2_001_234);
    assert_eq!((core.budget(0).settled, core.budget(0).held), (msat(2_001_234), Msat::ZERO));
    assert!(core.answer(&request(0, 1)).unwrap().contains("paid 2000000 msat fee 1234 msat"));
}

#[test]
fn a_payment_inside_is_intent_and_outcome_at_once_without_a_fee() {
    let mut core = Core::with(&[(5_000, Some(5_000)), (0, None)]);
    let invoice = core.invoice(request(1, 100), Some(5_000));
    let (effects, reply) = core.pay(request(0, 1), invoice.clone(), None);
    assert_eq!((effects.len(), sends(&effects), reply), (2, 0, PayReply::Durable));
    assert_eq!((core.spendable(1), core.spendable(2), core.budget(0).left()), (0, 5_000, Msat::ZERO));
    assert!(core.state.invoices.is_empty() && core.state.open.is_empty());
    assert_eq!(core.state.connections[&ConnectionId(1)].open_invoices, 0);
    // Nobody pays it a second time, whoever asks.
    let (effects, _) = core.pay(request(1, 2), invoice.clone(), None);
    assert_eq!(refused(&effects).unwrap().code, ErrorCode::Other);
    let (effects, _) = core.pay(request(0, 3), invoice, None);
    assert!(matches!(&effects[..], [Effect::Append { outcome: Some(Outcome::Paid { .. }), .. }]));
    assert_eq!((core.spendable(1), core.spendable(2)), (0, 5_000));
}

#[test]
fn paying_oneself_moves_nothing_and_counts_as_spent() {
    let mut core = Core::with(&[(5_000, Some(5_000))]);
    let invoice = core.invoice(request(0, 100), Some(3_000));
    let (effects, _) = core.pay(request(0, 1), invoice, None);
    assert!(matches!(effects[1], Effect::Append { outcome: Some(Outcome::Paid { .. }), .. }));
    assert_eq!((core.spendable(1), core.budget(0).left()), (5_000, msat(2_000)));
}

#[test]
fn an_amountless_invoice_of_this_hearth_is_paid_with_what_the_payer_names() {
    let mut core = Core::with(&[(5_000, None), (0, None)]);
    let invoice = core.invoice(request(1, 100), None);
    core.pay(request(0, 1), invoice, Some(1_234));
    assert_eq!((core.spendable(1), core.spendable(2)), (3_766, 1_234));
}

#[test]
fn a_foreign_invoice_with_a_borrowed_hash_is_refused() {
    let mut core = Core::with(&[(RICH, None), (0, None)]);
    let mut invoice = core.invoice(request(1, 100), Some(5_000));
    invoice.bolt11.push('x');
    let (effects, _) = core.pay(request(0, 1), invoice, None);
    assert_eq!((refused(&effects).unwrap().code, sends(&effects)), (ErrorCode::PaymentFailed, 0));
}

#[test]
fn an_expired_invoice_of_this_hearth_is_refused_with_words() {
    let mut core = Core::with(&[(RICH, None), (0, None)]);
    let mut invoice = core.invoice(request(1, 100), Some(5_000));
    core.now_ms += 3_600_000;
    core.step(Input::Tick);
    assert!(core.state.invoices.is_empty());
    let (effects, _) = core.pay(request(0, 1), invoice.clone(), None);
    assert!(refused(&effects).unwrap().message.contains("expired 0 s ago"));
    // A text that lies about its end does not help.
    invoice.expires_at_s += 1_000;
    let (effects, _) = core.pay(request(0, 2), invoice, None);
    assert!(refused(&effects).unwrap().message.contains("can no longer be paid"));
}

#[test]
fn the_same_request_gets_the_same_answer_a_thousand_times() {
    let mut core = Core::with(&[(RICH, None)]);
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    for _ in 0..500 {
        let (effects, reply) = core.pay(request(0, 1), foreign(1, Some(5_000)), None);
        assert_eq!((effects.len(), reply), (0, PayReply::Durable));
    }
    sent(&mut core, 1, settled(1, 7));
    let answer = core.answer(&request(0, 1)).unwrap();
    let (records, balance) = (core.rows.entries().len(), core.spendable(1));
    for round in 0..500 {
        if round % 100 == 0 {
            core.restart();
            core.now_ms += 30 * DAY_MS;
        }
        let (effects, reply) = core.pay(request(0, 1), foreign(1, Some(5_000)), None);
        assert!(matches!(&effects[..], [Effect::Republish(_, event)] if *event == answer.as_bytes()));
        assert_eq!(reply, PayReply::Durable);
    }
    assert_eq!((core.rows.entries().len(), core.spendable(1)), (records, balance));
}

#[test]
fn a_refusal_too_is_the_answer_for_ever() {
    let mut core = Core::with(&[(1_000, None)]);
    core.pay(request(0, 1), foreign(1, Some(50_000)), None);
    let answer = core.answer(&request(0, 1)).unwrap();
    assert!(answer.contains("INSUFFICIENT_BALANCE"));
    core.owner(OwnerWish::Fund(AccountId(1), msat(RICH))).unwrap();
    let (effects, _) = core.pay(request(0, 1), foreign(1, Some(50_000)), None);
    assert!(matches!(&effects[..], [Effect::Republish(_, event)] if *event == answer.as_bytes()));
    assert_eq!(sends(&core.pay(request(0, 2), foreign(1, Some(50_000)), None).0), 1);
}

#[test]
fn a_new_request_for_the_same_hash_waits_for_the_same_payment() {
    let mut core = Core::with(&[(RICH, None), (RICH, None)]);
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    let (effects, reply) = core.pay(request(0, 2), foreign(1, Some(5_000)), None);
    assert_eq!((sends(&effects), reply), (0, PayReply::Durable));
    let (effects, _) = core.pay(request(1, 3), foreign(1, Some(5_000)), None);
    assert!(refused(&effects).unwrap().message.contains("by another connection"));
    core.restart();
    sent(&mut core, 1, settled(1, 0));
    for number in [1, 2] {
        assert!(core.answer(&request(0, number)).unwrap().contains("paid 5000 msat"), "{number}");
    }
    let (effects, _) = core.pay(request(0, 4), foreign(1, Some(5_000)), None);
    assert_eq!(sends(&effects), 0);
    assert!(core.answer(&request(0, 4)).unwrap().contains(&proof(1).to_hex()));
    // Another connection never gets a preimage that it did not pay for.
    core.pay(request(1, 5), foreign(1, Some(5_000)), None);
    let answer = core.answer(&request(1, 5)).unwrap();
    assert!(answer.contains("OTHER") && !answer.contains(&proof(1).to_hex()));
    assert_eq!((core.spendable(1), core.spendable(2)), (RICH - 5_000, RICH));
}

#[test]
fn what_failed_for_certain_gives_the_money_back_and_may_be_tried_again() {
    let mut core = Core::with(&[(RICH, Some(RICH))]);
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    let first = core.attempt(&proof(1).hash());
    sent(&mut core, 1, SendResult::Failed("no route".to_owned()));
    assert_eq!((core.spendable(1), core.budget(0).used()), (RICH, Msat::ZERO));
    assert!(core.answer(&request(0, 1)).unwrap().contains("PAYMENT_FAILED: no route"));
    assert_eq!(sends(&core.pay(request(0, 2), foreign(1, Some(5_000)), None).0), 1);
    // A late word about the first attempt says nothing about the second.
    let hash = proof(1).hash();
    assert!(core.step(Input::Sent { hash, attempt: first, result: SendResult::Failed("late".to_owned()) }).is_empty());
    assert!(core.state.open.contains_key(&hash));
    sent(&mut core, 1, settled(1, 0));
    assert!(core.answer(&request(0, 2)).unwrap().contains("paid"));
}

#[test]
fn unknown_is_not_failed() {
    let mut core = Core::with(&[(RICH, Some(RICH))]);
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    for words in ["payment is in transition", "timed out", "502", "already paid"] {
        assert!(sent(&mut core, 1, SendResult::Unknown(words.to_owned())).is_empty());
    }
    assert_eq!(core.spendable(1), RICH - 15_000);
    let mut asked_at_ms = Vec::new();
    for _ in 0..600 {
        core.now_ms += 1_000;
        for effect in core.step(Input::Tick) {
            assert!(matches!(effect, Effect::Lookup(_)), "{effect:?}");
            asked_at_ms.push(core.now_ms - START_MS);
            assert!(looked(&mut core, 1, LookupResult::Pending).is_empty());
        }
    }
    let pauses: Vec<u64> = asked_at_ms.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000).collect();
    assert!(pauses.is_sorted() && pauses.iter().all(|pause| *pause <= 60), "{pauses:?}");
    assert_eq!((core.spendable(1), core.answer(&request(0, 1))), (RICH - 15_000, None));
    // Three days later it is settled after all: debited once.
    core.now_ms += 3 * DAY_MS;
    sent(&mut core, 1, settled(1, 5));
    sent(&mut core, 1, settled(1, 5));
    assert_eq!(core.spendable(1), RICH - 5_005);
}

#[test]
fn never_heard_of_it_gives_the_money_back_only_when_nothing_can_be_paid_any_more() {
    let mut core = Core::with(&[(RICH, None)]);
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    sent(&mut core, 1, SendResult::Unknown("cut".to_owned()));
    core.now_ms += 3_600_000 + 400_000;
    for _ in 0..49 {
        core.now_ms += 4_000;
        looked(&mut core, 1, LookupResult::NotFound);
    }
    assert!(core.answer(&request(0, 1)).is_none());
    looked(&mut core, 1, LookupResult::Pending);
    for _ in 0..3 {
        core.now_ms += 59_999;
        looked(&mut core, 1, LookupResult::NotFound);
    }
    assert!(core.answer(&request(0, 1)).is_none());
    core.now_ms += 2;
    looked(&mut core, 1, LookupResult::NotFound);
    assert!(core.answer(&request(0, 1)).unwrap().contains("PAYMENT_FAILED"));
    assert_eq!(core.spendable(1), RICH);
}

#[test]
fn an_intent_that_was_perhaps_never_sent_is_driven_again_only_where_that_is_safe() {
    for (refuses_second, valid, driven) in [(true, true, 1), (false, true, 0), (true, false, 0)] {
        let mut core = Core::with(&[(RICH, None)]);
        core.state.can.refuses_second = refuses_second;
        let first = core.pay(request(0, 1), foreign(1, Some(5_000)), None).0;
        let effects = core.restart();
        assert!(matches!(&effects[..], [Effect::Lookup(_)]));
        let mut sent_again = sends(&looked(&mut core, 1, LookupResult::NotFound));
        core.now_ms += 29_000;
        sent_again += sends(&looked(&mut core, 1, LookupResult::NotFound));
        assert_eq!(sent_again, 0);
        core.now_ms += if valid { 1_000 } else { 3_600_000 };
        let effects = looked(&mut core, 1, LookupResult::NotFound);
        assert_eq!(sends(&effects), driven);
        if driven == 1 {
            let [Effect::Append { entry, .. }, Effect::Send(again)] = &effects[..] else { panic!("{effects:?}") };
            assert_eq!(entry.record, Record::Driven { hash: proof(1).hash() });
            let Some(Effect::Send(first)) = first.last() else { panic!("{first:?}") };
            assert_eq!(*again, SendOrder { attempt: entry.seq, ..first.clone() }, "the same order, as a new attempt");
        }
        assert_eq!(sends(&looked(&mut core, 1, LookupResult::NotFound)), 0, "and not a third time");
    }
}

#[test]
fn a_wrong_proof_settles_nothing() {
    let mut core = Core::with(&[(RICH, None)]);
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    let effects = sent(&mut core, 1, SendResult::Settled { preimage: proof(2), fee: Msat::ZERO });
    assert_eq!(alarms(&effects), 1);
    assert_eq!((core.spendable(1), core.answer(&request(0, 1))), (RICH - 15_000, None));
    let (_, reply) = core.pay(request(0, 2), foreign(2, Some(5_000)), None);
    assert!(matches!(reply, PayReply::Refused(refusal) if refusal.code == ErrorCode::Restricted));
    core.owner(OwnerWish::Resume(ConnectionId(0))).unwrap();
    assert_eq!(core.pay(request(0, 2), foreign(2, Some(5_000)), None).1, PayReply::Durable);
}

#[test]
fn a_fee_above_the_limit_is_booked_as_it_is_and_the_connection_stops() {
    let mut core = Core::with(&[(15_000, Some(15_000))]);
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    let effects = sent(&mut core, 1, settled(1, 30_000));
    assert_eq!(alarms(&effects), 1);
    let view = core.state.ledger.account(AccountId(1)).unwrap();
    assert_eq!((view.balance_msat, view.spendable()), (-20_000, Msat::ZERO));
    assert_eq!((core.budget(0).settled, core.budget(0).left()), (msat(35_000), Msat::ZERO));
    assert!(core.answer(&request(0, 1)).unwrap().contains("fee 30000 msat"));
    core.restart();
    assert!(core.state.connections[&ConnectionId(0)].suspended.is_some());
}

#[test]
fn failed_and_then_paid_is_corrected_and_the_answer_stays() {
    let mut core = Core::with(&[(RICH, Some(RICH))]);
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    sent(&mut core, 1, SendResult::Failed("no".to_owned()));
    let answer = core.answer(&request(0, 1));
    let effects = sent(&mut core, 1, settled(1, 3));
    assert_eq!(alarms(&effects), 1);
    assert_eq!((core.spendable(1), core.budget(0).settled), (RICH - 5_003, msat(5_003)));
    assert_eq!(core.answer(&request(0, 1)), answer);
    assert!(core.state.connections[&ConnectionId(0)].suspended.is_some());
    sent(&mut core, 1, settled(1, 3));
    assert_eq!(core.spendable(1), RICH - 5_003);
    // A payment that nobody asked for: told, not booked, no crash.
    assert_eq!(alarms(&sent(&mut core, 77, settled(77, 3))), 1);
}

#[test]
fn requests_that_expired_on_the_way_or_have_no_connection_leave_no_trace() {
    let mut core = Core::with(&[(RICH, None)]);
    let records = core.rows.entries().len();
    let mut late = order(request(0, 1), &foreign(1, Some(5_000)), None);
    late.expires_at_s = Some(START_MS / 1_000);
    assert_eq!(core.pay_order(late, Ok(foreign(1, Some(5_000)))).1, PayReply::Expired);
    let (_, reply) = core.pay(request(9, 2), foreign(1, Some(5_000)), None);
    assert!(matches!(reply, PayReply::Refused(refusal) if refusal.code == ErrorCode::Unauthorized));
    let token = core.token();
    let not_ready = Input::Pay {
        order: Box::new(order(request(0, 3), &foreign(1, Some(5_000)), None)),
        bill: Ok(Bill::Invoice(Box::new(foreign(1, Some(5_000))))),
        ready: Err("the node cannot be reached".to_owned()),
        token,
    };
    let effects = core.step(not_ready);
    assert!(
        matches!(&effects[..], [Effect::Reply(_, Reply::Pay(PayReply::Refused(refusal)))] if refusal.code == ErrorCode::Internal)
    );
    assert_eq!(core.rows.entries().len(), records);
}

#[test]
fn a_revoked_connection_pays_no_more_and_what_is_under_way_ends() {
    let mut core = Core::with(&[(RICH, None)]);
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    core.connect(0, ConnectionRules { active: false, ..rules(1, None) });
    let (_, reply) = core.pay(request(0, 2), foreign(2, Some(5_000)), None);
    assert!(matches!(reply, PayReply::Refused(refusal) if refusal.code == ErrorCode::Unauthorized));
    assert_eq!(core.make(request(0, 3), Some(1)).unwrap_err().code, ErrorCode::Unauthorized);
    sent(&mut core, 1, settled(1, 0));
    assert!(core.answer(&request(0, 1)).unwrap().contains("paid"));
    assert_eq!(core.pay(request(0, 1), foreign(1, Some(5_000)), None).1, PayReply::Durable);
}

#[test]
fn payments_under_way_and_open_invoices_are_capped_per_connection() {
    let mut core = Core::with(&[(RICH, None), (RICH, None)]);
    core.state.limits.in_flight_max_per_connection = 3;
    core.state.limits.open_invoices_max_per_connection = 2;
    for number in 1..=3 {
        assert_eq!(core.pay(request(0, number), foreign(number, Some(5_000)), None).1, PayReply::Durable);
    }
    let (_, reply) = core.pay(request(0, 4), foreign(4, Some(5_000)), None);
    assert!(matches!(reply, PayReply::Refused(refusal) if refusal.code == ErrorCode::RateLimited));
    assert_eq!(core.pay(request(1, 5), foreign(5, Some(5_000)), None).1, PayReply::Durable);
    sent(&mut core, 1, settled(1, 0));
    assert_eq!(core.pay(request(0, 4), foreign(4, Some(5_000)), None).1, PayReply::Durable, "the same request, judged anew");
    for number in [10, 11] {
        core.make(request(0, number), Some(1)).unwrap();
    }
    assert_eq!(core.make(request(0, 12), Some(1)).unwrap_err().code, ErrorCode::RateLimited);
    core.make(request(1, 13), Some(1)).unwrap();
    core.now_ms += 3_600_000;
    core.step(Input::Tick);
    core.make(request(0, 12), Some(1)).unwrap();
}

#[test]
fn the_same_request_gets_the_same_invoice() {
    let mut core = Core::with(&[(0, None)]);
    let first = core.make(request(0, 1), Some(7_000)).unwrap();
    core.now_ms += 60_000;
    assert_eq!(core.make(request(0, 1), Some(7_000)).unwrap(), first);
    core.restart();
    assert_eq!(core.make(request(0, 1), Some(7_000)).unwrap(), first);
    assert_eq!((first.preimage, first.state, first.amount), (None, TransactionState::Pending, msat(7_000)));
    // Asked while the back end is still at it: both are told, one invoice is made.
    let (one, two) = (core.token(), core.token());
    let ask = |token| Input::MakeInvoice { order: Box::new(invoice_order(request(0, 2), None)), preimage: proof(9), token };
    assert_eq!((core.step(ask(one)).len(), core.step(ask(two)).len()), (1, 0));
    core.now_ms += 30_000;
    let effects = core.step(Input::Tick);
    assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::Reply(_, Reply::Invoice(Err(_))))).count(), 2);
}

#[test]
fn a_budget_for_three_pays_exactly_three_in_every_order() {
    use rand::{Rng, SeedableRng, seq::SliceRandom};
    for seed in 0..10_000 {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut core = Core::with(&[(RICH, Some(3 * 15_000))]);
        let mut numbers: Vec<u64> = (1..=100).collect();
        numbers.shuffle(&mut random);
        let mut under_way = Vec::new();
        let mut allowed = 0;
        for number in numbers.into_iter().take(12) {
            let (effects, _) = core.pay(request(0, number), foreign(number, Some(5_000)), None);
            if sends(&effects) == 1 {
                allowed += 1;
                under_way.push(number);
            }
            // Settling with the whole fee reserve frees nothing.
            if random.random_bool(0.3)
                && let Some(number) = under_way.pop()
            {
                sent(&mut core, number, settled(number, 10_000));
            }
        }
        assert_eq!(allowed, 3, "seed {seed}");
        assert!(core.budget(0).used() <= core.budget(0).total);
    }
}

#[test]
fn a_budget_renews_at_midnight_of_its_own_time_zone() {
    let mut core = Core::with(&[(RICH, Some(15_000))]);
    // 23:59:59.999 in Vienna on the day the clocks go forward, and one millisecond later.
    let midnight_ms = 1_774_821_600_000;
    core.now_ms = midnight_ms - 1;
    core.connect(0, rules(1, Some(15_000)));
    let later = |number| Decoded { expires_at_s: u64::MAX / 1_000, ..foreign(number, Some(5_000)) };
    assert_eq!(sends(&core.pay(request(0, 1), later(1), None).0), 1);
    assert_eq!(sends(&core.pay(request(0, 2), later(2), None).0), 0);
    core.now_ms = midnight_ms;
    assert_eq!(sends(&core.pay(request(0, 3), later(3), None).0), 1);
    // What was allowed yesterday and settles today is yesterday's.
    sent(&mut core, 1, settled(1, 0));
    assert_eq!((core.budget(0).settled, core.budget(0).held), (Msat::ZERO, msat(15_000)));
    assert_eq!(core.budget(0).renews_at_s, Some((midnight_ms + DAY_MS) / 1_000));
}

#[test]
fn changed_rules_count_what_was_spent_before() {
    let mut core = Core::with(&[(RICH, None)]);
    for number in 1..=3 {
        core.pay(request(0, number), foreign(number, Some(5_000)), None);
    }
    sent(&mut core, 1, settled(1, 1));
    sent(&mut core, 2, settled(2, 2));
    core.connect(0, rules(1, Some(40_000)));
    assert_eq!((core.budget(0).settled, core.budget(0).held), (msat(10_003), msat(15_000)));
    core.connect(0, rules(1, Some(30_000)));
    core.restart();
    assert_eq!((core.budget(0).settled, core.budget(0).held), (msat(10_003), msat(15_000)));
    sent(&mut core, 3, settled(3, 3));
    assert_eq!((core.budget(0).settled, core.budget(0).left()), (msat(15_006), msat(14_994)));
}

use crate::wallet::backend::bolt11::Decoded;

#[test]
fn the_owner_cannot_make_money_disappear() {
    let mut core = Core::with(&[(1_000, None), (0, None)]);
    let (one, two) = (AccountId(1), AccountId(2));
    assert_eq!(
        core.owner(OwnerWish::Move(one, two, msat(1_001))),
        Err(OwnerError::NotEnough { spendable: msat(1_000), needed: msat(1_001) })
    );
    assert_eq!(core.owner(OwnerWish::Move(one, AccountId(9), msat(1))), Err(OwnerError::NoAccount));
    assert_eq!(core.owner(OwnerWish::Fund(one, Msat::ZERO)), Err(OwnerError::BadAmount));
    assert_eq!(core.owner(OwnerWish::Fund(one, Msat::MAX)), Err(OwnerError::BadAmount));
    assert_eq!(core.owner(OwnerWish::CreateAccount("account-0".to_owned())), Err(OwnerError::NameTaken("account-0".to_owned())));
    assert_eq!(core.owner(OwnerWish::CreateAccount("a\nb".to_owned())), Err(OwnerError::BadName));
    core.owner(OwnerWish::Move(one, two, msat(400))).unwrap();
    assert_eq!((core.spendable(1), core.spendable(2)), (600, 400));
}

#[test]
fn in_safe_mode_nothing_is_written_and_nothing_is_paid() {
    let mut core = Core::with(&[(RICH, None)]);
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    core.state.halted = Some("the anchor is gone".to_owned());
    let records = core.rows.entries().len();
    let (_, reply) = core.pay(request(0, 2), foreign(2, Some(5_000)), None);
    assert!(matches!(reply, PayReply::Refused(refusal) if refusal.message.contains("the anchor is gone")));
    assert!(core.make(request(0, 3), Some(1)).is_err());
    assert!(matches!(core.owner(OwnerWish::Fund(AccountId(1), msat(1))), Err(OwnerError::SafeMode(_))));
    sent(&mut core, 1, settled(1, 0));
    core.now_ms += DAY_MS;
    assert!(core.step(Input::Tick).is_empty());
    assert_eq!(core.rows.entries().len(), records);
}

#[test]
fn with_the_disk_almost_full_nothing_new_begins_and_what_is_under_way_ends() {
    let mut core = Core::with(&[(RICH, None), (0, None)]);
    let inside = core.invoice(request(1, 100), Some(5_000));
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    core.state.is_disk_low = true;
    for invoice in [foreign(2, Some(5_000)), inside.clone(), foreign(1, Some(5_000))] {
        let (effects, reply) = core.pay(request(0, 2), invoice, None);
        assert!(
            matches!(reply, PayReply::Refused(refusal) if refusal.code == ErrorCode::Internal && refusal.message.contains("full"))
        );
        assert_eq!(effects, []);
    }
    assert_eq!(core.make(request(1, 3), Some(1)).unwrap_err().code, ErrorCode::Internal);
    // The same request again, the outcome, its answer, and what the owner does.
    assert_eq!(core.pay(request(0, 1), foreign(1, Some(5_000)), None).1, PayReply::Durable);
    sent(&mut core, 1, settled(1, 5));
    assert!(core.answer(&request(0, 1)).unwrap().contains("paid"));
    core.owner(OwnerWish::Move(AccountId(1), AccountId(2), msat(1))).unwrap();
    // There is room again: the very request that was refused is judged anew.
    core.state.is_disk_low = false;
    assert_eq!(core.pay(request(0, 2), inside, None).1, PayReply::Durable);
}

#[test]
fn a_record_that_breaks_a_rule_stops_the_wallet_and_is_not_written() {
    let mut core = Core::with(&[(RICH, None)]);
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    let mut effects = Vec::new();
    let intent = core.state.open[&proof(1).hash()].intent.clone();
    assert!(!core.state.record(Record::Intent(Box::new(intent)), None, START_MS, &mut effects));
    assert_eq!(alarms(&effects), effects.len());
    assert!(core.state.halted.as_ref().unwrap().contains("a second payment of hash"));
}
