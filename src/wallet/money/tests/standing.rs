//! What an account has where `main` is the node's own money, budgets under a clock that cannot be believed, counters that do not
//! agree with the journal, and the way out of safe mode.

use super::super::budget::check_counters;
use super::super::payment::{Effect, Found, Input, OwnerDone, OwnerWish};
use super::super::record::Record;
use super::super::types::*;
use super::support::*;
use crate::base::amount::Msat;
use crate::wallet::backend::bolt11::Decoded;
use crate::wallet::backend::{Capabilities, SendResult};

const RICH: u64 = 1_000_000_000;

/// A node with that much, a connection (0) on `main`, and an isolated account with a connection (1).
fn node(balance: u64) -> Core {
    let mut core = Core::new();
    core.state.can = Capabilities { outside: true, refuses_second: true, node_balance: true, ..Capabilities::default() };
    node_says(&mut core, balance);
    core.owner(OwnerWish::CreateAccount("shop".to_owned())).unwrap();
    core.connect(0, rules(0, None));
    core.connect(1, rules(1, None));
    core
}

/// The node is asked now, and says this.
fn node_says(core: &mut Core, balance: u64) {
    core.state.steady_ms += 1;
    core.state.set_node_balance(Some((msat(balance), core.state.steady_ms)));
    core.state.steady_ms += 1;
}

fn main_has(core: &Core) -> u64 {
    core.state.spendable(AccountId::MAIN).unwrap().get()
}

#[test]
fn main_is_the_nodes_balance_less_what_the_others_own() {
    let mut core = node(100_000);
    assert_eq!(main_has(&core), 100_000);
    assert_eq!(core.owner(OwnerWish::Fund(AccountId::MAIN, msat(1))), Err(OwnerError::NodeBalance));
    assert_eq!(core.owner(OwnerWish::Fund(AccountId(1), msat(1))), Err(OwnerError::NodeBalance));
    core.owner(OwnerWish::Move(AccountId::MAIN, AccountId(1), msat(30_000))).unwrap();
    assert_eq!((main_has(&core), core.spendable(1)), (70_000, 30_000));
    let too_much = OwnerWish::Move(AccountId::MAIN, AccountId(1), msat(70_001));
    assert_eq!(core.owner(too_much), Err(OwnerError::NotEnough { spendable: msat(70_000), needed: msat(70_001) }));
    // Inside, from one to the other and back.
    let invoice = core.invoice(request(1, 100), Some(20_000));
    core.pay(request(0, 1), invoice, None);
    assert_eq!((main_has(&core), core.spendable(1)), (50_000, 50_000));
    core.owner(OwnerWish::Move(AccountId(1), AccountId::MAIN, msat(10_000))).unwrap();
    assert_eq!((main_has(&core), core.spendable(1)), (60_000, 40_000));
    // The node earns and spends; the ledger's own figure for `main` does not matter.
    node_says(&mut core, 45_000);
    assert_eq!((main_has(&core), core.spendable(1)), (5_000, 40_000));
    node_says(&mut core, 30_000);
    assert_eq!(main_has(&core), 0);
    assert_eq!(core.state.ledger.sum_msat(), 0);
}

#[test]
fn a_payment_of_main_is_held_and_counted_once_it_is_done() {
    let mut core = node(100_000);
    core.owner(OwnerWish::Move(AccountId::MAIN, AccountId(1), msat(40_000))).unwrap();
    let (effects, _) = core.pay(request(0, 1), foreign(1, Some(50_001)), None);
    assert_eq!(refused(&effects).unwrap().code, ErrorCode::InsufficientBalance);
    let (effects, _) = core.pay(request(0, 2), foreign(2, Some(50_000)), None);
    assert_eq!((sends(&effects), main_has(&core)), (1, 0));
    let attempt = core.attempt(&proof(2).hash());
    let result = SendResult::Settled { preimage: proof(2), fee: msat(5) };
    core.step(Input::Sent { hash: proof(2).hash(), attempt, result });
    // What the node said is from before the payment: that is so whether or not it is said again.
    assert_eq!((main_has(&core), core.spendable(1)), (9_995, 40_000));
    core.state.set_node_balance(Some((msat(100_000), 1)));
    assert_eq!((main_has(&core), core.spendable(1)), (9_995, 40_000));
    let (effects, _) = core.pay(request(0, 9), foreign(9, Some(30_000)), None);
    assert_eq!(refused(&effects).unwrap().code, ErrorCode::InsufficientBalance, "the rest is the shop's");
    let too_much = OwnerWish::Move(AccountId::MAIN, AccountId(1), msat(9_996));
    assert_eq!(core.owner(too_much), Err(OwnerError::NotEnough { spendable: msat(9_995), needed: msat(9_996) }));
    node_says(&mut core, 100_000 - 50_005);
    assert_eq!((main_has(&core), core.spendable(1)), (9_995, 40_000));
    // An account that was overdrawn owes it to `main`, which still has no more than the node.
    core.pay(request(1, 3), foreign(3, Some(20_000)), None);
    let attempt = core.attempt(&proof(3).hash());
    let result = SendResult::Settled { preimage: proof(3), fee: msat(29_000) };
    core.step(Input::Sent { hash: proof(3).hash(), attempt, result });
    assert_eq!((main_has(&core), core.spendable(1)), (995, 0), "as it is known before the node says so");
    node_says(&mut core, 995);
    assert_eq!((main_has(&core), core.spendable(1)), (995, 0));
}

/// A payment of an isolated account takes from the same node: until that was asked anew, `main` is not richer by it.
#[test]
fn what_others_pay_makes_main_no_richer_while_the_node_was_not_asked_since() {
    let mut core = node(100_000);
    core.owner(OwnerWish::Move(AccountId::MAIN, AccountId(1), msat(60_000))).unwrap();
    core.pay(request(1, 1), foreign(1, Some(40_000)), None);
    assert_eq!(main_has(&core), 40_000);
    let attempt = core.attempt(&proof(1).hash());
    core.step(Input::Sent { hash: proof(1).hash(), attempt, result: SendResult::Settled { preimage: proof(1), fee: msat(10) } });
    assert_eq!((main_has(&core), core.spendable(1)), (40_000, 19_990));
    node_says(&mut core, 100_000 - 40_010);
    assert_eq!((main_has(&core), core.spendable(1)), (40_000, 19_990));
    // One that was said to have failed, was given back and was paid after all.
    core.pay(request(1, 2), foreign(2, Some(9_000)), None);
    let attempt = core.attempt(&proof(2).hash());
    core.step(Input::Sent { hash: proof(2).hash(), attempt, result: SendResult::Failed("no route".to_owned()) });
    core.step(Input::Sent { hash: proof(2).hash(), attempt, result: SendResult::Settled { preimage: proof(2), fee: msat(0) } });
    assert_eq!((main_has(&core), core.spendable(1)), (40_000, 10_990));
}

#[test]
fn while_the_node_says_nothing_main_pays_nothing_and_nothing_is_final() {
    let mut core = node(100_000);
    core.state.set_node_balance(None);
    let (effects, reply) = core.pay(request(0, 1), foreign(1, Some(1_000)), None);
    assert!(effects.is_empty());
    assert!(matches!(reply, PayReply::Refused(refusal) if refusal.code == ErrorCode::Internal));
    node_says(&mut core, 100_000);
    assert_eq!(sends(&core.pay(request(0, 1), foreign(1, Some(1_000)), None).0), 1);
}

fn later(number: u64) -> Decoded {
    Decoded { expires_at_s: u64::MAX / 1_000, ..foreign(number, Some(5_000)) }
}

fn is_sent(core: &mut Core, number: u64) -> bool {
    sends(&core.pay(request(0, number), later(number), None).0) == 1
}

/// Time zone, renewal, last millisecond of one period (ISO, in UTC), and the start of the one after the next.
#[test]
fn budgets_renew_at_the_very_millisecond_of_their_own_midnight() {
    use jiff::Timestamp;
    let ms = |text: &str| u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap();
    let cases = [
        ("UTC", Renewal::Daily, "2026-03-01T23:59:59.999Z", "2026-03-03T00:00:00Z"),
        // 23 hours, then 24; 25 hours.
        ("Europe/Vienna", Renewal::Daily, "2026-03-28T22:59:59.999Z", "2026-03-29T22:00:00Z"),
        ("Europe/Vienna", Renewal::Daily, "2026-10-24T21:59:59.999Z", "2026-10-25T23:00:00Z"),
        ("America/New_York", Renewal::Daily, "2026-11-01T03:59:59.999Z", "2026-11-02T05:00:00Z"),
        // No midnight there on that day: it begins at one o'clock.
        ("Africa/Cairo", Renewal::Daily, "2026-04-23T21:59:59.999Z", "2026-04-24T21:00:00Z"),
        ("Australia/Lord_Howe", Renewal::Daily, "2026-04-04T12:59:59.999Z", "2026-04-05T13:30:00Z"),
        ("Asia/Kathmandu", Renewal::Weekly, "2026-01-04T18:14:59.999Z", "2026-01-11T18:15:00Z"),
        ("UTC", Renewal::Monthly, "2028-01-31T23:59:59.999Z", "2028-03-01T00:00:00Z"),
        ("Pacific/Auckland", Renewal::Yearly, "2026-12-31T10:59:59.999Z", "2027-12-31T11:00:00Z"),
    ];
    for (zone, renewal, last, next) in cases {
        let mut core = Core::with(&[(RICH, None)]);
        core.now_ms = ms(last);
        let budget = Some(Budget { amount: msat(15_000), renewal, time_zone: zone.to_owned() });
        core.connect(0, ConnectionRules { budget, ..rules(1, None) });
        let name = format!("{zone} {last}");
        assert!(is_sent(&mut core, 1) && !is_sent(&mut core, 2), "{name}");
        core.now_ms += 1;
        assert_eq!(core.budget(0).left(), msat(15_000), "{name}");
        assert!(is_sent(&mut core, 3) && !is_sent(&mut core, 4), "{name}");
        assert_eq!(core.budget(0).renews_at_s, Some(ms(next) / 1_000), "{name}");
        core.now_ms = ms(next) - 1;
        assert!(!is_sent(&mut core, 5), "{name}");
        core.now_ms += 1;
        assert!(is_sent(&mut core, 6), "{name}");
        core.restart();
        assert_eq!(core.budget(0).held, msat(15_000), "{name}");
    }
}

#[test]
fn a_clock_that_jumped_renews_no_budget_until_it_is_believed() {
    let mut core = Core::with(&[(RICH, Some(15_000))]);
    assert!(is_sent(&mut core, 1));
    // A year ahead at once: the period stays, also after a restart, and what is paid belongs to it.
    let before_ms = core.now_ms;
    core.now_ms += 365 * DAY_MS;
    assert_eq!(alarms(&core.step(Input::Clock { frozen_at_ms: Some(before_ms) })), 1);
    assert!(!is_sent(&mut core, 2));
    core.restart();
    assert!(!is_sent(&mut core, 3));
    let attempt = core.attempt(&proof(1).hash());
    core.step(Input::Sent { hash: proof(1).hash(), attempt, result: SendResult::Failed("no route".to_owned()) });
    assert!(is_sent(&mut core, 4) && !is_sent(&mut core, 5));
    assert_eq!(check_counters(&core.state, &core.rows).unwrap(), None);
    // It was right after all.
    assert!(core.step(Input::Clock { frozen_at_ms: None }).iter().all(|effect| matches!(effect, Effect::Append { .. })));
    assert!(is_sent(&mut core, 6) && !is_sent(&mut core, 7));
    // The end of an older payment gives nothing to the new period.
    let attempt = core.attempt(&proof(4).hash());
    core.step(Input::Sent { hash: proof(4).hash(), attempt, result: SendResult::Failed("no route".to_owned()) });
    assert!(!is_sent(&mut core, 8));
    core.restart();
    assert_eq!((core.budget(0).held, check_counters(&core.state, &core.rows).unwrap()), (msat(15_000), None));
}

#[test]
fn refusals_turn_no_period_so_that_the_journal_reads_the_same() {
    let mut core = Core::with(&[(RICH, Some(15_000))]);
    let midnight_ms = START_MS + 23 * 3_600_000;
    core.now_ms = midnight_ms - 1_000;
    assert!(is_sent(&mut core, 1));
    // Just after midnight something is refused; then the clock is set back by a few seconds.
    core.now_ms = midnight_ms + 10;
    core.pay(request(0, 2), foreign(2, Some(900_000)), None);
    core.now_ms = midnight_ms - 500;
    assert!(!is_sent(&mut core, 3));
    core.restart();
    assert_eq!(core.budget(0).held, msat(15_000));
}

#[test]
fn a_counter_that_says_less_than_was_spent_is_seen() {
    let mut core = Core::with(&[(RICH, Some(100_000))]);
    is_sent(&mut core, 1);
    let attempt = core.attempt(&proof(1).hash());
    let result = SendResult::Settled { preimage: proof(1), fee: msat(7) };
    core.step(Input::Sent { hash: proof(1).hash(), attempt, result });
    assert_eq!(check_counters(&core.state, &core.rows).unwrap(), None);
    let connection = core.state.connections.get_mut(&ConnectionId(0)).unwrap();
    connection.spending.end(u64::MAX, Msat::ZERO, msat(5));
    assert_eq!(check_counters(&core.state, &core.rows).unwrap(), None, "more is no danger");
    let row = core.state.connections[&ConnectionId(0)].row.clone();
    let used = super::super::record::Used { since_ms: core.budget_start(), settled: msat(5_006) };
    let entry =
        super::super::record::Entry { seq: core.state.seq + 1, at_ms: core.now_ms, record: Record::Connection { row, used } };
    core.state.apply(&entry).unwrap();
    let words = check_counters(&core.state, &core.rows).unwrap().unwrap();
    assert!(words.contains("5007 msat") && words.contains("5006 msat"), "{words}");
}

#[test]
fn after_a_restoration_requests_from_before_are_refused_and_known_ones_are_not() {
    let mut core = Core::with(&[(RICH, None)]);
    core.pay(request(0, 1), foreign(1, Some(5_000)), None);
    assert_eq!(
        core.owner(OwnerWish::Reconcile { found: Ok(Found::default()) }),
        Err(OwnerError::CannotReconcile("the wallet is not in safe mode; there is nothing to reconcile".to_owned()))
    );
    core.state.halted = Some("records are lost".to_owned());
    core.now_ms += 60_000;
    let token = core.token();
    let found = Ok(Found { lost: Some(3), strays: Vec::new() });
    let effects = core.step(Input::Owner { wish: OwnerWish::Reconcile { found }, token });
    assert!(matches!(&effects[0], Effect::Append { .. }));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Lookup(order) if order.hash == proof(1).hash())));
    let now_s = core.now_ms / 1_000;
    let reconciled = Reconciled { seq: core.state.seq - 1, lost: Some(3), in_flight: 1, refused_before_s: now_s + 1 };
    let Some(Effect::Reply(_, super::super::payment::Reply::Owner(done))) = effects.last() else { panic!("{effects:?}") };
    assert_eq!(done, &Ok(OwnerDone::Reconciled(reconciled)));
    core.restart();
    let (effects, reply) = core.pay(request(0, 2), foreign(2, Some(5_000)), None);
    assert!(effects.is_empty() && matches!(reply, PayReply::Refused(refusal) if refusal.message.contains("was restored")));
    assert_eq!(core.pay(request(0, 1), foreign(1, Some(5_000)), None).1, PayReply::Durable, "it is known");
    let fresh = RequestRef { created_at_s: now_s + 1, ..request(0, 3) };
    assert_eq!(sends(&core.pay(fresh, foreign(3, Some(5_000)), None).0), 1);
}

/// Where the same invoice can be paid twice, a request that was paid in what is lost may carry a time that is still to come.
#[test]
fn after_a_loss_clocks_that_are_ahead_are_waited_for_only_where_something_could_be_paid_twice() {
    let node = Capabilities { outside: true, refuses_second: true, ..Capabilities::default() };
    for (can, ahead_s) in [
        (node, 0),
        (Capabilities { refuses_second: false, ..node }, 900),
        (Capabilities { outside: false, refuses_second: false, ..node }, 0),
    ] {
        let mut core = Core::with(&[(RICH, None)]);
        core.state.can = can;
        core.state.halted = Some("records are lost".to_owned());
        let done = core.owner(OwnerWish::Reconcile { found: Ok(Found::default()) }).unwrap();
        let OwnerDone::Reconciled(reconciled) = done else { panic!("{done:?}") };
        assert_eq!(reconciled.refused_before_s, core.now_ms / 1_000 + 1 + ahead_s, "{can:?}");
    }
}
