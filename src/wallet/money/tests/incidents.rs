//! What happened to users of other wallets, one test each, named after the report. G: deposits that were really lost or stolen; W: what
//! hurts users of other wallet services.

use super::super::payment::{Effect, Input, OwnerWish};
use super::super::record::Record;
use super::super::types::*;
use super::support::*;
use crate::base::amount::Msat;
use crate::wallet::backend::{LookupResult, SendOrder, SendResult};

const RICH: u64 = 1_000_000_000;

fn paid(number: u64, fee: u64) -> SendResult {
    SendResult::Settled { preimage: proof(number), fee: msat(fee) }
}

fn sent(core: &mut Core, number: u64, result: SendResult) -> Vec<Effect> {
    let hash = proof(number).hash();
    let attempt = core.state.open.get(&hash).map_or(0, |open| open.attempt);
    core.step(Input::Sent { hash, attempt, result })
}

fn looked(core: &mut Core, number: u64, result: LookupResult) -> Vec<Effect> {
    let hash = proof(number).hash();
    core.step(Input::Looked { hash, attempt: core.attempt(&hash), asked_ms: core.now_ms, result })
}

fn unknown(words: &str) -> SendResult {
    SendResult::Unknown(words.to_owned())
}

fn orders(effects: &[Effect]) -> Vec<SendOrder> {
    let orders = effects.iter().filter_map(|effect| match effect {
        Effect::Send(order) => Some(order.clone()),
        _ => None,
    });
    orders.collect()
}

fn lookups(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Lookup(_))).count()
}

/// A payment of 5,000 msat to number 1, sent by request 1 of connection 0.
fn one_under_way(budget: u64) -> (Core, SendOrder) {
    let mut core = Core::with(&[(RICH, Some(budget)), (RICH, None)]);
    let (effects, reply) = core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    assert_eq!(reply, PayReply::Durable);
    let order = orders(&effects).remove(0);
    (core, order)
}

#[test]
fn g01_lnbank_parallel_withdrawals_pass_no_check_together() {
    // Reserve 10,000 each: 45,000 are three payments of 5,000.
    let mut core = Core::with(&[(RICH, Some(45_000))]);
    let sent: usize = (0..200).map(|number| sends(&core.pay(request(0, number), foreign(number, Some(5_000)), None).0)).sum();
    assert_eq!((sent, core.budget(0).left()), (3, Msat::ZERO));
}

#[test]
fn g02_zeus_4305_what_is_held_counts_against_the_budget() {
    let mut core = Core::with(&[(RICH, Some(15_000))]);
    let sent: usize = (0..10).map(|number| sends(&core.pay(request(0, number), foreign(number, Some(5_000)), None).0)).sum();
    assert_eq!((sent, core.budget(0).held), (1, msat(15_000)));
}

#[test]
fn g03_zeus_4435_timeout_is_not_failed() {
    let (mut core, _) = one_under_way(15_000);
    assert_eq!(sent(&mut core, 1, unknown("timed out")), []);
    assert_eq!(lookups(&core.restart()), 1);
    // Replayed, and asked for anew: nothing is sent, nothing is free.
    for number in [1, 2] {
        assert_eq!(sends(&core.pay(request(0, number), foreign(1, Some(5_000)), None).0), 0);
    }
    assert_eq!((core.budget(0).left(), core.spendable(1), core.answer(&request(0, 1))), (Msat::ZERO, RICH - 15_000, None));
    looked(&mut core, 1, LookupResult::Settled { preimage: proof(1), fee: msat(7) });
    assert_eq!((core.budget(0).settled, core.spendable(1)), (msat(5_007), RICH - 5_007));
    assert!(core.answer(&request(0, 1)).unwrap().contains("paid") && core.answer(&request(0, 2)).unwrap().contains("paid"));
}

#[test]
fn g04_zeus_4435_a_duplicate_error_of_the_node_moves_nothing() {
    let (mut core, _) = one_under_way(RICH);
    for words in ["payment is in transition", "invoice is already paid"] {
        assert_eq!(sent(&mut core, 1, unknown(words)), []);
    }
    assert_eq!((core.state.open.len(), core.spendable(1)), (1, RICH - 15_000));
    sent(&mut core, 1, paid(1, 3));
    // A failure that is late says nothing about what is settled.
    let hash = proof(1).hash();
    for attempt in 0..20 {
        assert_eq!(core.step(Input::Sent { hash, attempt, result: SendResult::Failed("in transition".to_owned()) }), []);
    }
    assert_eq!(core.spendable(1), RICH - 5_003);
}

#[test]
fn g05_zeus_4303_two_requests_share_nothing_that_changes() {
    let mut core = Core::with(&[(RICH, None), (RICH, None)]);
    for number in 0..50 {
        let (amount, connection) = (1_000 * (number + 1), u32::try_from(number % 2).unwrap());
        let (effects, _) = core.pay(request(connection, number), foreign(number, Some(amount)), None);
        let order = &orders(&effects)[0];
        assert_eq!((order.hash, order.amount), (proof(number).hash(), msat(amount)));
    }
    // They end in another order, each with its own proof and to its own account.
    for number in (0..50).rev() {
        sent(&mut core, number, paid(number, 0));
        let answer = core.answer(&request(u32::try_from(number % 2).unwrap(), number)).unwrap();
        assert!(answer.contains(&proof(number).to_hex()) && answer.contains(&format!("paid {} msat", 1_000 * (number + 1))));
    }
    let of = |odd: u64| (0..50).filter(|number| number % 2 == odd).map(|number| 1_000 * (number + 1)).sum::<u64>();
    assert_eq!((core.spendable(1), core.spendable(2)), (RICH - of(0), RICH - of(1)));
}

#[test]
fn g06_zeus_4410_replayed_requests_pay_nothing_after_a_restart() {
    let mut core = Core::with(&[(RICH, None)]);
    let wishes: Vec<_> = (0..30).map(|number| (request(0, number), foreign(number, Some(2_000)))).collect();
    for (number, (request, invoice)) in (0..).zip(&wishes) {
        core.pay(request.clone(), invoice.clone(), None);
        match number % 3 {
            0 => drop(sent(&mut core, number, paid(number, 1))),
            1 => drop(sent(&mut core, number, SendResult::Failed("no route".to_owned()))),
            _ => {}
        }
    }
    let answers: Vec<_> = wishes.iter().map(|(request, _)| core.answer(request)).collect();
    let spendable = core.spendable(1);
    core.restart();
    core.now_ms += 6 * 3_600_000;
    for (request, invoice) in &wishes {
        let (effects, reply) = core.pay(request.clone(), invoice.clone(), None);
        assert_eq!((sends(&effects), reply), (0, PayReply::Durable));
        assert!(effects.iter().all(|effect| matches!(effect, Effect::Republish(..))), "nothing is written: {effects:?}");
    }
    assert_eq!(wishes.iter().map(|(request, _)| core.answer(request)).collect::<Vec<_>>(), answers);
    assert_eq!(core.spendable(1), spendable);
}

#[test]
fn g07_cashu_me_542_requests_of_one_second_are_all_answered() {
    let mut core = Core::with(&[(RICH, None)]);
    for number in 0..30 {
        let (_, reply) = core.pay(request(0, number), foreign(number, Some(1_000)), None);
        assert_eq!(reply, PayReply::Durable);
        sent(&mut core, number, paid(number, 0));
    }
    let answers: std::collections::BTreeSet<_> = (0..30).map(|number| core.answer(&request(0, number)).unwrap()).collect();
    assert_eq!(answers.len(), 30);
}

#[test]
fn g09_ldk_node_116_the_record_comes_before_the_dispatch() {
    let mut core = Core::with(&[(RICH, None)]);
    let (effects, _) = core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    let [Effect::Append { entry, .. }, Effect::Send(order)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(order.attempt, entry.seq);
    assert!(matches!(&entry.record, Record::Intent(intent) if intent.hash == order.hash && intent.fee_max == order.fee_max));
    // Gone in the middle of the send: the money is in no history but that of the node, and it is found there.
    assert_eq!(lookups(&core.restart()), 1);
    looked(&mut core, 1, LookupResult::Settled { preimage: proof(1), fee: msat(2) });
    assert_eq!(core.spendable(1), RICH - 5_002);
}

#[test]
fn g10_nutshell_a_fee_above_the_limit_is_booked_shown_and_stops_the_connection() {
    let (mut core, order) = one_under_way(20_000);
    let effects = sent(&mut core, 1, paid(1, 90_000));
    assert_eq!((order.fee_max, alarms(&effects)), (msat(10_000), 1));
    assert_eq!((core.spendable(1), core.budget(0).settled), (RICH - 95_000, msat(95_000)));
    let (_, reply) = core.pay(request(0, 2), foreign(2, Some(1)), None);
    assert!(matches!(reply, PayReply::Refused(refusal) if refusal.code == ErrorCode::Restricted));
    assert_eq!(core.pay(request(1, 3), foreign(3, Some(1)), None).1, PayReply::Durable, "others go on");
}

#[test]
fn g11_mostro_a_retry_never_resolves_again() {
    let (mut core, first) = one_under_way(RICH);
    for restart in 1..=3 {
        core.restart();
        looked(&mut core, 1, LookupResult::NotFound);
        core.now_ms += 31_000;
        let again = orders(&looked(&mut core, 1, LookupResult::NotFound));
        let same = SendOrder { attempt: core.attempt(&proof(1).hash()), ..first.clone() };
        assert_eq!((&again[..], same.attempt > first.attempt), (std::slice::from_ref(&same), true), "restart {restart}");
    }
}

#[test]
fn g12_reckless_satoshi_fees_count_against_the_budget() {
    let mut core = Core::with(&[(RICH, Some(100_000))]);
    let mut paid_out = 0;
    for number in 0..100 {
        if sends(&core.pay(request(0, number), foreign(number, Some(1_000)), None).0) == 1 {
            sent(&mut core, number, paid(number, 10_000));
            paid_out += 11_000;
        }
    }
    assert_eq!((paid_out, core.budget(0).settled, core.spendable(1)), (99_000, msat(99_000), RICH - 99_000));
}

#[test]
fn w11_hub_1723_a_cancelled_context_is_no_failure() {
    let (mut core, _) = one_under_way(RICH);
    assert_eq!(sent(&mut core, 1, unknown("context canceled")), []);
    assert_eq!(core.answer(&request(0, 1)), None);
    sent(&mut core, 1, paid(1, 0));
    assert!(core.answer(&request(0, 1)).unwrap().contains("paid"));
}

#[test]
fn w12_hub_1587_one_payment_is_one_row_and_nothing_stays_held() {
    let (mut core, _) = one_under_way(RICH);
    for number in 2..10 {
        assert_eq!(sends(&core.pay(request(0, number), foreign(1, Some(5_000)), None).0), 0);
    }
    sent(&mut core, 1, paid(1, 0));
    let intents = core.rows.entries().iter().filter(|entry| matches!(entry.record, Record::Intent(_))).count();
    let done = core.rows.entries().iter().filter(|entry| matches!(entry.record, Record::Done(_))).count();
    assert_eq!((intents, done, core.budget(0).held, core.spendable(1)), (1, 1, Msat::ZERO, RICH - 5_000));
    assert!((1..10).all(|number| core.answer(&request(0, number)).unwrap().contains("paid")));
}

#[test]
fn w13_hub_1188_what_settled_while_we_were_away_is_settled_at_start() {
    let (mut core, order) = one_under_way(RICH);
    core.now_ms += 10 * DAY_MS;
    let asked = core.restart();
    assert!(matches!(&asked[..], [Effect::Lookup(lookup)] if (lookup.hash, lookup.attempt) == (order.hash, order.attempt)));
    looked(&mut core, 1, LookupResult::Settled { preimage: proof(1), fee: msat(1) });
    assert!(core.state.open.is_empty() && core.answer(&request(0, 1)).unwrap().contains("paid"));
}

#[test]
fn w14_hub_2442_a_payment_under_way_is_asked_for_until_it_ends() {
    let (mut core, order) = one_under_way(RICH);
    let mut asked = 0;
    for _ in 0..1_000 {
        core.now_ms += 61_000;
        for effect in core.step(Input::Tick) {
            assert!(matches!(&effect, Effect::Lookup(lookup) if lookup.hash == order.hash), "{effect:?}");
            asked += 1;
            // Half of the questions are never answered.
            if asked % 2 == 0 {
                looked(&mut core, 1, LookupResult::Unknown("502".to_owned()));
            }
        }
    }
    assert_eq!(asked, 1_000);
    looked(&mut core, 1, LookupResult::Failed("no route".to_owned()));
    assert_eq!(core.spendable(1), RICH);
}

#[test]
fn w15_hub_1520_a_payment_that_is_held_for_days_keeps_its_hold() {
    let (mut core, _) = one_under_way(15_000);
    for _ in 0..3 * 24 {
        core.now_ms += 3_600_000;
        core.step(Input::Tick);
        looked(&mut core, 1, LookupResult::Pending);
    }
    assert_eq!((core.spendable(1), core.answer(&request(0, 1))), (RICH - 15_000, None));
    let (_, reply) = core.pay(request(1, 2), foreign(2, Some(5_000)), None);
    assert_eq!(reply, PayReply::Durable, "nobody else waits for it");
    sent(&mut core, 1, paid(1, 0));
    assert_eq!(core.spendable(1), RICH - 5_000);
}

#[test]
fn w16_lightning_piggy_427_seventy_two_seconds_are_no_failure() {
    let (mut core, _) = one_under_way(RICH);
    for _ in 0..72 {
        core.now_ms += 1_000;
        core.step(Input::Tick);
        assert_eq!(core.answer(&request(0, 1)), None);
    }
    sent(&mut core, 1, paid(1, 0));
    assert!(core.answer(&request(0, 1)).unwrap().contains("paid"));
}

#[test]
fn w17_hub_937_no_amount_runs_over_and_every_payment_has_a_fee_limit() {
    let mut core = Core::with(&[(RICH, None)]);
    for (number, amount) in [(1, Msat::MAX.get()), (2, Msat::MAX.get() - 10_000), (3, RICH), (4, RICH - 9_999)] {
        let (effects, _) = core.pay(request(0, number), foreign(number, Some(amount)), None);
        assert!(sends(&effects) == 0 && refused(&effects).is_some(), "{amount}");
    }
    let (effects, _) = core.pay(request(0, 5), foreign(5, Some(1)), None);
    assert_eq!(orders(&effects)[0].fee_max, msat(10_000));
    assert_eq!(core.spendable(1), RICH - 10_001);
    assert!(core.owner(OwnerWish::Fund(AccountId(1), Msat::MAX)).is_err());
}

#[test]
fn w18_hub_1699_a_refused_part_says_what_was_needed_left_and_held() {
    let mut core = Core::with(&[(RICH, Some(45_000))]);
    let mut words = Vec::new();
    for number in 0..5 {
        words.extend(refused(&core.pay(request(0, number), foreign(number, Some(5_000)), None).0));
    }
    assert_eq!(words.len(), 2);
    for refusal in words {
        let said = &refusal.message;
        assert!(refusal.code == ErrorCode::QuotaExceeded && said.contains("5000 msat and 10000 msat fee reserve"), "{said}");
        assert!(said.contains("0 msat of 45000 msat") && said.contains("45000 msat held"), "{said}");
    }
}

#[test]
fn w19_hub_1874_a_settlement_told_twice_is_one_record() {
    let (mut core, _) = one_under_way(RICH);
    let told: usize = (0..5).map(|_| sent(&mut core, 1, paid(1, 0)).len()).sum();
    assert_eq!(told, 1, "one record, and so one notification");
    core.restart();
    assert_eq!(sent(&mut core, 1, paid(1, 0)), []);
}
