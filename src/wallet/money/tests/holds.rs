//! Hold invoices: inside this hearth and towards the outside, decided by their maker and by nobody else.

use super::super::payment::{Effect, Input, OwnerWish, Reply};
use super::super::record::{Record, Word};
use super::super::types::*;
use super::support::*;
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;
use crate::wallet::backend::bolt11::Decoded;
use crate::wallet::backend::{Capabilities, Incoming, IncomingState, MadeInvoice, Network};

const RICH: u64 = 1_000_000_000;

/// A payer (0, rich, with a budget), a shop (1), somebody else (2); the back end can hold, and be paid from outside.
fn core() -> Core {
    let mut core = Core::with(&[(RICH, Some(RICH)), (0, None), (0, None)]);
    core.state.can = Capabilities { outside: true, refuses_second: true, hold_invoices: true, ..Capabilities::default() };
    core
}

fn secret(number: u64) -> Preimage {
    Preimage(bytes(0x77, number))
}

fn make(core: &mut Core, connection: u32, number: u64, amount: Option<u64>) -> Result<Decoded, Refusal> {
    let hash = secret(number).hash();
    let mut order = invoice_order(request(connection, 1_000 + number), amount);
    order.request.method = Method::MakeHoldInvoice;
    order.hold = Some(HoldTerms { hash, min_cltv_expiry_delta: None });
    let token = core.token();
    let mut effects = core.step(Input::MakeInvoice { order: Box::new(order), preimage: proof(99), token });
    if let Some(Effect::MakeHoldInvoice { key, order }) = effects.first().cloned() {
        let expires_at_s = order.now_s + order.expiry_s;
        let made = MadeInvoice { bolt11: format!("lnbcrt-hold-{}", order.hash), hash: order.hash, expires_at_s };
        effects = core.step(Input::InvoiceMade { key, made: Ok(made) });
    }
    let made = match effects.pop() {
        Some(Effect::Reply(_, Reply::Invoice(made))) => made?,
        other => panic!("no reply: {other:?}"),
    };
    assert_eq!((made.preimage, made.state), (None, TransactionState::Pending));
    Ok(Decoded {
        bolt11: made.invoice.unwrap(),
        network: Network::Regtest,
        hash,
        amount: amount.map(msat),
        expires_at_s: made.expires_at_s.unwrap(),
        description: None,
        description_hash: None,
    })
}

fn decide(core: &mut Core, connection: u32, hash: PaymentHash, word: Word) -> Vec<Effect> {
    let token = core.token();
    core.step(Input::Hold { request: request(connection, 5_000), hash, word, token })
}

fn settle(core: &mut Core, connection: u32, number: u64) -> Vec<Effect> {
    decide(core, connection, secret(number).hash(), Word::Settle(secret(number)))
}

fn cancel(core: &mut Core, connection: u32, number: u64) -> Vec<Effect> {
    decide(core, connection, secret(number).hash(), Word::Cancel)
}

fn told(core: &mut Core, number: u64, word: Word, result: Result<(), String>) -> Vec<Effect> {
    core.step(Input::HoldTold { hash: secret(number).hash(), word, result })
}

/// What the waiting callers hear.
fn replies(effects: &[Effect]) -> Vec<Result<(), ErrorCode>> {
    let code = |done: &Result<(), Refusal>| done.clone().map_err(|refusal| refusal.code);
    let of = |effect: &Effect| match effect {
        Effect::Reply(_, Reply::Hold(done)) => Some(code(done)),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

fn report(core: &mut Core, hash: PaymentHash, amount: u64, state: IncomingState) -> (Vec<Effect>, bool) {
    let token = core.token();
    let effects = core.step(Input::Incoming { incoming: Incoming { hash, amount: msat(amount), state }, token });
    let is_noted = effects.contains(&Effect::Reply(token, Reply::Noted(true)));
    (effects, is_noted)
}

const HELD: IncomingState = IncomingState::Held { settle_deadline: Some(800_000) };

fn records(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Append { .. })).count()
}

fn tells(effects: &[Effect]) -> Vec<Word> {
    let of = |effect: &Effect| match effect {
        Effect::TellHold { word, .. } => Some(*word),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

fn standing(core: &Core, number: u64) -> TransactionState {
    use super::super::payment::Rows;
    let row = core.rows.invoice(&secret(number).hash()).unwrap().unwrap();
    super::super::transaction::incoming(&row, Viewer::Owner, core.now_ms / 1_000).state
}

#[test]
fn inside_the_money_waits_with_its_payer_and_moves_in_one_batch() {
    let mut core = core();
    let invoice = make(&mut core, 1, 1, Some(5_000)).unwrap();
    let (effects, reply) = core.pay(request(0, 1), invoice.clone(), None);
    assert_eq!((reply, records(&effects), sends(&effects)), (PayReply::Durable, 2, 0));
    assert_eq!(tells(&effects), [Word::Cancel], "nobody outside may pay it as well");
    assert_eq!((core.spendable(1), core.spendable(2), core.budget(0).held), (RICH - 5_000, 0, msat(5_000)));
    assert_eq!((core.answer(&request(0, 1)), standing(&core, 1)), (None, TransactionState::Accepted));
    // The payer asks again, and no back end is ever asked about it, not after a restart either.
    let (effects, _) = core.pay(request(0, 2), invoice, None);
    assert_eq!((records(&effects), sends(&effects)), (1, 0));
    for _ in 0..3 {
        core.now_ms += 3_600_000;
        let effects = core.restart();
        assert!(effects.iter().all(|effect| matches!(effect, Effect::TellHold { word: Word::Cancel, .. })), "{effects:?}");
        assert!(core.step(Input::Tick).is_empty());
    }
    let effects = settle(&mut core, 1, 1);
    assert_eq!((replies(&effects), records(&effects)), (vec![Ok(())], 1));
    assert_eq!((core.spendable(1), core.spendable(2), core.budget(0).settled), (RICH - 5_000, 5_000, msat(5_000)));
    for number in [1, 2] {
        assert!(core.answer(&request(0, number)).unwrap().contains(&secret(1).to_hex()));
    }
    assert_eq!(standing(&core, 1), TransactionState::Settled);
    assert!(core.state.holds.is_empty() && core.state.open.is_empty());
    // Once more is the same; the other way is too late.
    let effects = settle(&mut core, 1, 1);
    assert_eq!((replies(&effects), records(&effects)), (vec![Ok(())], 0));
    assert_eq!(replies(&cancel(&mut core, 1, 1)), [Err(ErrorCode::Other)]);
    assert_eq!(core.state.connections[&ConnectionId(1)].open_invoices, 0);
}

#[test]
fn inside_a_cancelled_hold_gives_the_money_back() {
    let mut core = core();
    let invoice = make(&mut core, 1, 1, Some(5_000)).unwrap();
    core.pay(request(0, 1), invoice.clone(), None);
    core.restart();
    assert_eq!(replies(&cancel(&mut core, 1, 1)), [Ok(())]);
    assert_eq!((core.spendable(1), core.spendable(2), core.budget(0).used()), (RICH, 0, Msat::ZERO));
    assert!(core.answer(&request(0, 1)).unwrap().contains("PAYMENT_FAILED"));
    assert_eq!((replies(&cancel(&mut core, 1, 1)), standing(&core, 1)), (vec![Ok(())], TransactionState::Failed));
    assert_eq!(replies(&settle(&mut core, 1, 1)), [Err(ErrorCode::Other)]);
    let (effects, _) = core.pay(request(0, 2), invoice, None);
    assert!(refused(&effects).unwrap().message.contains("can no longer be paid"));
}

#[test]
fn only_its_maker_decides() {
    let mut core = core();
    let invoice = make(&mut core, 1, 1, Some(5_000)).unwrap();
    for connection in [0, 2] {
        assert_eq!(replies(&cancel(&mut core, connection, 1)), [Err(ErrorCode::NotFound)]);
    }
    core.pay(request(0, 1), invoice, None);
    for connection in [0, 2] {
        assert_eq!(replies(&settle(&mut core, connection, 1)), [Err(ErrorCode::NotFound)]);
        assert_eq!(replies(&cancel(&mut core, connection, 1)), [Err(ErrorCode::NotFound)]);
    }
    // Nor does the wrong proof, an ordinary invoice, or one that nobody knows.
    assert_eq!(replies(&settle(&mut core, 1, 2)), [Err(ErrorCode::NotFound)]);
    let ordinary = core.invoice(request(1, 50), Some(7));
    assert_eq!(replies(&decide(&mut core, 1, ordinary.hash, Word::Cancel)), [Err(ErrorCode::NotFound)]);
    assert_eq!((core.spendable(1), standing(&core, 1)), (RICH - 5_000, TransactionState::Accepted));
}

#[test]
fn nothing_is_settled_before_it_is_paid_and_an_unpaid_one_can_be_cancelled() {
    let mut core = core();
    make(&mut core, 1, 1, Some(5_000)).unwrap();
    assert_eq!(replies(&settle(&mut core, 1, 1)), [Err(ErrorCode::Other)]);
    let effects = cancel(&mut core, 1, 1);
    assert_eq!((records(&effects), tells(&effects)), (1, vec![Word::Cancel]));
    assert!(core.state.invoices.is_empty());
    assert_eq!(core.restart(), [Effect::TellHold { hash: secret(1).hash(), word: Word::Cancel }]);
    told(&mut core, 1, Word::Cancel, Ok(()));
    assert_eq!((standing(&core, 1), core.state.connections[&ConnectionId(1)].open_invoices), (TransactionState::Failed, 0));
    // Money that comes all the same goes back.
    let (effects, is_noted) = report(&mut core, secret(1).hash(), 5_000, HELD);
    // Not acknowledged: a crash before the node is told must not leave that money waiting.
    assert_eq!((tells(&effects), is_noted, records(&effects)), (vec![Word::Cancel], false, 0));
}

#[test]
fn what_nobody_decides_about_goes_back_after_its_time() {
    let mut core = core();
    let invoice = make(&mut core, 1, 1, Some(5_000)).unwrap();
    core.pay(request(0, 1), invoice, None);
    core.now_ms += DAY_MS - 1;
    assert!(core.step(Input::Tick).is_empty());
    // A clock that jumped takes nobody's time away.
    core.now_ms += 30 * DAY_MS;
    core.step(Input::Clock { frozen_at_ms: Some(START_MS) });
    assert!(core.step(Input::Tick).is_empty());
    core.step(Input::Clock { frozen_at_ms: None });
    assert_eq!(records(&core.step(Input::Tick)), 2);
    assert_eq!((core.spendable(1), standing(&core, 1)), (RICH, TransactionState::Failed));
    assert!(core.answer(&request(0, 1)).unwrap().contains("nobody decided"));
}

#[test]
fn from_outside_the_decision_is_written_and_told_until_it_is_done() {
    let mut core = core();
    make(&mut core, 1, 1, Some(5_000)).unwrap();
    let hash = secret(1).hash();
    let (effects, is_noted) = report(&mut core, hash, 5_000, HELD);
    assert_eq!((records(&effects), is_noted, standing(&core, 1)), (1, true, TransactionState::Accepted));
    let (effects, is_noted) = report(&mut core, hash, 5_000, HELD);
    assert_eq!((records(&effects), is_noted), (0, true), "a report that comes twice");
    // Never settled by itself, however long it waits.
    core.now_ms += 40 * DAY_MS;
    assert!(core.step(Input::Tick).is_empty() && core.restart().is_empty());
    let word = Word::Settle(secret(1));
    let effects = settle(&mut core, 1, 1);
    assert!(matches!(&effects[..], [Effect::Append { .. }, Effect::TellHold { .. }]), "the record before the word: {effects:?}");
    assert_eq!(core.spendable(2), 0);
    // The node cannot be reached: the client hears so, and the node is told again.
    let effects = told(&mut core, 1, word, Err("connection refused".to_owned()));
    assert_eq!(replies(&effects), [Err(ErrorCode::Internal)]);
    core.now_ms += 1_000;
    assert_eq!(tells(&core.step(Input::Tick)), [word]);
    assert_eq!(tells(&core.restart()), [word]);
    assert_eq!(replies(&cancel(&mut core, 1, 1)), [Err(ErrorCode::Other)]);
    assert!(settle(&mut core, 1, 1).is_empty(), "asking again waits for the same");
    assert_eq!(replies(&told(&mut core, 1, word, Ok(()))), [Ok(())]);
    assert_eq!((core.spendable(2), standing(&core, 1)), (5_000, TransactionState::Settled));
    // The node says it once more, twice.
    for _ in 0..2 {
        let (effects, is_noted) = report(&mut core, hash, 5_000, IncomingState::Settled { preimage: Some(secret(1)) });
        assert_eq!((records(&effects), is_noted, alarms(&effects)), (0, true, 0));
    }
    assert_eq!(core.spendable(2), 5_000);
}

#[test]
fn the_report_may_come_before_the_word_that_it_was_done() {
    let mut core = core();
    make(&mut core, 1, 1, Some(5_000)).unwrap();
    report(&mut core, secret(1).hash(), 5_000, HELD);
    settle(&mut core, 1, 1);
    let (effects, _) = report(&mut core, secret(1).hash(), 5_000, IncomingState::Settled { preimage: None });
    assert_eq!((replies(&effects), alarms(&effects), core.spendable(2)), (vec![Ok(())], 0, 5_000));
    assert!(told(&mut core, 1, Word::Settle(secret(1)), Ok(())).is_empty());
    assert_eq!(core.spendable(2), 5_000);
}

#[test]
fn what_the_node_does_by_itself_is_booked_as_it_is() {
    let mut core = core();
    for number in 1..=4 {
        make(&mut core, 1, number, Some(5_000)).unwrap();
    }
    // Settled by somebody at the node, without a decision here.
    report(&mut core, secret(1).hash(), 5_000, HELD);
    let (effects, _) = report(&mut core, secret(1).hash(), 5_000, IncomingState::Settled { preimage: Some(secret(1)) });
    assert_eq!((alarms(&effects), core.spendable(2)), (1, 5_000));
    // Given back because its block came.
    report(&mut core, secret(2).hash(), 5_000, HELD);
    let (effects, _) = report(&mut core, secret(2).hash(), 5_000, IncomingState::Canceled);
    assert_eq!((alarms(&effects), standing(&core, 2)), (0, TransactionState::Failed));
    // Given back although it was to be settled.
    report(&mut core, secret(3).hash(), 5_000, HELD);
    settle(&mut core, 1, 3);
    let (effects, _) = report(&mut core, secret(3).hash(), 0, IncomingState::Canceled);
    assert_eq!((alarms(&effects), replies(&effects)), (1, vec![Err(ErrorCode::Other)]));
    assert_eq!((standing(&core, 3), core.spendable(2)), (TransactionState::Failed, 5_000));
    // Less than it asks for is not what its maker waits for.
    let (effects, is_noted) = report(&mut core, secret(4).hash(), 4_999, HELD);
    assert_eq!((alarms(&effects), tells(&effects), is_noted), (1, vec![Word::Cancel], true));
    assert_ne!(standing(&core, 4), TransactionState::Accepted);
}

#[test]
fn money_from_outside_for_an_invoice_that_waits_inside_is_lost_to_nobody() {
    let mut core = core();
    let invoice = make(&mut core, 1, 1, Some(5_000)).unwrap();
    core.pay(request(0, 1), invoice, None);
    let (effects, is_noted) = report(&mut core, secret(1).hash(), 5_000, HELD);
    assert_eq!((tells(&effects), records(&effects), is_noted), (vec![Word::Cancel], 0, false));
    assert_eq!(noted(&told(&mut core, 1, Word::Cancel, Ok(()))), 1, "acknowledged when it goes back");
    let (effects, _) = report(&mut core, secret(1).hash(), 0, IncomingState::Canceled);
    assert_eq!((records(&effects), standing(&core, 1)), (0, TransactionState::Accepted));
    // The node settles it all the same: the payer inside gets its money back, the maker has the other.
    let (effects, _) = report(&mut core, secret(1).hash(), 5_000, IncomingState::Settled { preimage: Some(secret(1)) });
    assert_eq!(alarms(&effects), 1);
    assert_eq!((core.spendable(1), core.spendable(2), standing(&core, 1)), (RICH, 5_000, TransactionState::Settled));
    assert!(core.answer(&request(0, 1)).unwrap().contains("PAYMENT_FAILED"));
}

/// How many reports are acknowledged.
fn noted(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Reply(_, Reply::Noted(true)))).count()
}

/// A back end that lost its place tells everything again: what is over is acknowledged each time, whatever it says about giving it back.
#[test]
fn reports_from_the_beginning_about_what_is_over_are_all_acknowledged() {
    let mut core = core();
    let (cancelled, inside, taken) = (1, 2, 3);
    for number in [cancelled, inside, taken] {
        make(&mut core, 1, number, Some(5_000)).unwrap();
    }
    let hash = |number| secret(number).hash();
    assert!(report(&mut core, hash(cancelled), 5_000, HELD).1);
    cancel(&mut core, 1, cancelled);
    told(&mut core, cancelled, Word::Cancel, Ok(()));
    assert!(report(&mut core, hash(cancelled), 0, IncomingState::Canceled).1);
    let invoice = Decoded { bolt11: format!("lnbcrt-hold-{}", hash(inside)), hash: hash(inside), ..foreign(2, Some(5_000)) };
    core.pay(request(0, 1), invoice, None);
    settle(&mut core, 1, inside);
    assert!(report(&mut core, hash(taken), 5_000, HELD).1);
    settle(&mut core, 1, taken);
    told(&mut core, taken, Word::Settle(secret(taken)), Ok(()));
    let spendable = core.spendable(2);

    for life in 0..2 {
        core.restart();
        for number in [cancelled, inside] {
            let (effects, is_noted) = report(&mut core, hash(number), 5_000, HELD);
            assert_eq!((tells(&effects), is_noted), (vec![Word::Cancel], false), "a crash now brings it again ({life})");
            assert_eq!(noted(&told(&mut core, number, Word::Cancel, Ok(()))), 1);
            assert_eq!(noted(&told(&mut core, number, Word::Cancel, Ok(()))), 0, "once");
        }
        assert!(report(&mut core, hash(cancelled), 0, IncomingState::Canceled).1);
        let (effects, is_noted) = report(&mut core, hash(taken), 5_000, HELD);
        assert_eq!((tells(&effects), is_noted), (vec![], true));
    }
    assert_eq!(core.spendable(2), spendable);

    // One that never does it, and one that never says anything: some time is given to both, and no more.
    report(&mut core, hash(cancelled), 5_000, HELD);
    report(&mut core, hash(inside), 5_000, HELD);
    let (mut acknowledged, mut asked, mut alarmed) = (0, 0, 0);
    for _ in 0..1_000 {
        core.now_ms += 1_000;
        let effects = core.step(Input::Tick);
        let mut all = effects.clone();
        for effect in &effects {
            if matches!(effect, Effect::TellHold { hash: of, .. } if *of == hash(cancelled)) {
                all.extend(told(&mut core, cancelled, Word::Cancel, Err("no".to_owned())));
            }
        }
        acknowledged += noted(&all);
        asked += tells(&all).len();
        alarmed += alarms(&all);
    }
    assert_eq!((acknowledged, alarmed), (2, 2));
    assert_eq!(asked, 10, "each of them five times after the report");
}

/// Budget and slots of G2: held payments count.
#[test]
fn ten_holds_of_the_whole_budget_are_one() {
    let mut core = core();
    core.connect(0, rules(1, Some(5_000)));
    let mut accepted = 0;
    for number in 1..=10 {
        let invoice = make(&mut core, 1, number, Some(5_000)).unwrap();
        let (effects, _) = core.pay(request(0, number), invoice, None);
        accepted += usize::from(refused(&effects).is_none());
    }
    assert_eq!((accepted, core.budget(0).held), (1, msat(5_000)));
    assert_eq!(core.state.connections[&ConnectionId(0)].in_flight, 1);
}

#[test]
fn a_held_payment_takes_a_slot_of_its_payer_and_of_nobody_else() {
    let mut core = core();
    core.state.limits.in_flight_max_per_connection = 2;
    for number in 1..=3 {
        let invoice = make(&mut core, 1, number, Some(5_000)).unwrap();
        let (_, reply) = core.pay(request(0, number), invoice, None);
        assert_eq!(reply == PayReply::Durable, number <= 2);
    }
    core.owner(OwnerWish::Fund(AccountId(3), msat(RICH))).unwrap();
    assert_eq!(sends(&core.pay(request(2, 9), foreign(9, Some(5_000)), None).0), 1);
}

#[test]
fn a_hash_makes_one_invoice_and_the_back_end_must_be_able_to_hold() {
    let mut core = core();
    make(&mut core, 1, 1, Some(5_000)).unwrap();
    let token = core.token();
    let order = |number| InvoiceOrder {
        hold: Some(HoldTerms { hash: secret(1).hash(), min_cltv_expiry_delta: None }),
        ..invoice_order(request(2, number), Some(1))
    };
    let ask = |core: &mut Core, order| match core
        .step(Input::MakeInvoice { order: Box::new(order), preimage: proof(9), token })
        .pop()
    {
        Some(Effect::Reply(_, Reply::Invoice(made))) => made.unwrap_err().code,
        other => panic!("no reply: {other:?}"),
    };
    assert_eq!(ask(&mut core, order(1)), ErrorCode::Other);
    core.state.can.hold_invoices = false;
    assert_eq!(ask(&mut core, order(2)), ErrorCode::NotImplemented);
}

/// A back end follows only so many: one connection must not take the places of all.
#[test]
fn hold_invoices_of_a_connection_are_capped_whatever_became_of_them() {
    let mut core = core();
    core.state.limits.open_holds_max_per_connection = 3;
    let held = make(&mut core, 1, 1, Some(5_000)).unwrap();
    let inside = make(&mut core, 1, 2, Some(5_000)).unwrap();
    make(&mut core, 1, 3, Some(5_000)).unwrap();
    report(&mut core, held.hash, 5_000, HELD);
    core.pay(request(0, 1), inside, None);
    for _ in 0..2 {
        assert_eq!(make(&mut core, 1, 4, Some(5_000)).unwrap_err().code, ErrorCode::RateLimited, "they wait, and count");
        core.restart();
    }
    assert!(core.make(request(1, 50), Some(5_000)).is_ok(), "an ordinary one is no hold invoice");
    make(&mut core, 2, 5, Some(5_000)).unwrap();
    // One ends inside, one by the back end, one by its time.
    cancel(&mut core, 1, 2);
    settle(&mut core, 1, 1);
    told(&mut core, 1, Word::Settle(secret(1)), Ok(()));
    core.now_ms += 2 * 3_600_000;
    core.step(Input::Tick);
    for number in 6..=8 {
        make(&mut core, 1, number, Some(5_000)).unwrap();
    }
    assert!(make(&mut core, 1, 9, Some(5_000)).is_err());
}

#[test]
fn in_safe_mode_no_report_is_acknowledged_and_nothing_is_decided() {
    let mut core = core();
    make(&mut core, 1, 1, Some(5_000)).unwrap();
    core.state.halted = Some("the anchor is gone".to_owned());
    let (effects, is_noted) = report(&mut core, secret(1).hash(), 5_000, HELD);
    assert_eq!((records(&effects), effects.len(), is_noted), (0, 1, false));
    assert_eq!(replies(&cancel(&mut core, 1, 1)), [Err(ErrorCode::Internal)]);
}

#[test]
fn settlements_of_ordinary_invoices_are_booked_once_and_as_they_are() {
    let mut core = core();
    let paid = IncomingState::Settled { preimage: None };
    // Exact, more, less (told), days after its end, twice, twice with another amount (told), of nobody here.
    for (number, amount, told) in [(1, 5_000, 0), (2, 6_000, 0), (3, 4_000, 1)] {
        let invoice = core.invoice(request(1, number), Some(5_000));
        let before = core.spendable(2);
        core.now_ms += if number == 2 { 3 * DAY_MS } else { 0 };
        core.step(Input::Tick);
        let (effects, is_noted) = report(&mut core, invoice.hash, amount, paid);
        assert_eq!((records(&effects), is_noted, alarms(&effects)), (1, true, told), "{number}");
        assert_eq!(core.spendable(2), before + amount);
        core.restart();
        let (effects, is_noted) = report(&mut core, invoice.hash, amount, paid);
        assert_eq!((records(&effects), is_noted, alarms(&effects)), (0, true, 0), "{number} again");
        let (effects, _) = report(&mut core, invoice.hash, amount + 1, paid);
        assert_eq!((records(&effects), alarms(&effects), core.spendable(2)), (0, 1, before + amount));
    }
    assert_eq!(report(&mut core, proof(500).hash(), 7, paid).0.len(), 1, "acknowledged and nothing else");
    let (effects, is_noted) = {
        let invoice = core.invoice(request(1, 9), None);
        report(&mut core, invoice.hash, 0, paid)
    };
    assert_eq!((records(&effects), alarms(&effects), is_noted), (0, 1, true));
}

#[test]
fn an_invoice_that_is_paid_inside_and_then_from_outside_is_paid_twice_and_says_so() {
    let mut core = core();
    let invoice = core.invoice(request(1, 100), Some(5_000));
    let (effects, _) = core.pay(request(0, 1), invoice.clone(), None);
    assert_eq!(tells(&effects), [Word::Cancel], "the node is told that it is over");
    let (effects, _) = report(&mut core, invoice.hash, 5_000, IncomingState::Settled { preimage: None });
    assert_eq!((alarms(&effects), core.spendable(2)), (1, 10_000));
    let (effects, _) = report(&mut core, invoice.hash, 5_000, IncomingState::Settled { preimage: None });
    assert_eq!((records(&effects), core.spendable(2)), (0, 10_000));
}

#[test]
fn a_decision_that_does_not_fit_breaks_a_rule() {
    let mut core = core();
    make(&mut core, 1, 1, Some(5_000)).unwrap();
    let payee = super::super::record::Payee { account: AccountId(2), connection: ConnectionId(1) };
    let wrong = |word| Record::Decided { hash: secret(1).hash(), payee, word, reason: String::new() };
    for word in [Word::Settle(secret(1)), Word::Settle(secret(2))] {
        let mut state = core.state.clone();
        assert!(!state.record(wrong(word), None, START_MS, &mut Vec::new()));
        assert!(state.halted.is_some());
    }
}

#[test]
fn a_revoked_connection_leaves_no_hold_invoice_to_nobody() {
    let mut core = core();
    let open = make(&mut core, 1, 1, Some(5_000)).unwrap();
    let inside = make(&mut core, 1, 2, Some(6_000)).unwrap();
    let outside = make(&mut core, 1, 3, Some(7_000)).unwrap();
    let others = make(&mut core, 2, 4, Some(8_000)).unwrap();
    core.pay(request(0, 1), inside, None);
    core.pay(request(0, 2), others, None);
    report(&mut core, outside.hash, 7_000, HELD);
    let ordinary = core.invoice(request(1, 50), Some(7));
    let token = core.token();
    let rules = ConnectionRules { active: false, ..rules(2, None) };
    let row = Box::new(ConnectionRow { id: ConnectionId(1), rules, data: Vec::new() });
    let effects = core.step(Input::Owner { wish: OwnerWish::PutConnection(row), token });
    assert!(matches!(effects.first(), Some(Effect::Append { entry, .. }) if matches!(entry.record, Record::Connection { .. })));
    // The payer inside has its money and its answer at once; the node is told about the two that are its own.
    assert_eq!((core.spendable(1), standing(&core, 2)), (RICH - 8_000, TransactionState::Failed));
    assert!(core.answer(&request(0, 1)).unwrap().contains("the connection that made it was revoked"));
    assert_eq!(tells(&effects), [Word::Cancel, Word::Cancel]);
    let written_before_told = effects.iter().position(|effect| matches!(effect, Effect::TellHold { .. })).unwrap();
    assert!(records(&effects[..written_before_told]) >= 2, "{effects:?}");
    // A crash in between: the node is told again. What belongs to others waits on.
    let cancelled = |hash| Effect::TellHold { hash, word: Word::Cancel };
    let effects = core.restart();
    assert!([open.hash, outside.hash].iter().all(|hash| effects.contains(&cancelled(*hash))), "{effects:?}");
    told(&mut core, 1, Word::Cancel, Ok(()));
    told(&mut core, 3, Word::Cancel, Ok(()));
    assert_eq!([1, 3, 4].map(|number| standing(&core, number)), {
        [TransactionState::Failed, TransactionState::Failed, TransactionState::Accepted]
    });
    assert_eq!(core.step(Input::Tick), []);
    assert!(core.state.invoices.contains_key(&ordinary.hash), "an ordinary invoice needs nobody's word");
    assert_eq!(replies(&settle(&mut core, 1, 3)), [Err(ErrorCode::Unauthorized)]);
}

#[test]
fn hold_invoices_left_behind_end_a_few_at_a_time_and_after_a_start_too() {
    let mut core = core();
    core.state.limits.open_holds_max_per_connection = 200;
    for number in 1..=100 {
        make(&mut core, 1, number, Some(5_000)).unwrap();
    }
    let token = core.token();
    let order = |number| {
        let mut order = invoice_order(request(1, 1_000 + number), Some(5_000));
        order.request.method = Method::MakeHoldInvoice;
        order.hold = Some(HoldTerms { hash: secret(number).hash(), min_cltv_expiry_delta: None });
        order
    };
    let making = core.step(Input::MakeInvoice { order: Box::new(order(101)), preimage: proof(99), token });
    core.connect(1, ConnectionRules { active: false, ..rules(2, None) });
    assert_eq!(core.state.invoices.len(), 68, "some in the same step");
    core.restart();
    assert_eq!(records(&core.step(Input::Tick)), 32);
    core.step(Input::Tick);
    core.step(Input::Tick);
    assert!(core.state.invoices.is_empty());
    // One that was being made when the connection was revoked.
    let mut core = self::core();
    let token = core.token();
    core.step(Input::MakeInvoice { order: Box::new(order(101)), preimage: proof(99), token });
    core.connect(1, ConnectionRules { active: false, ..rules(2, None) });
    let [Effect::MakeHoldInvoice { key, order }] = &making[..] else { panic!("{making:?}") };
    let made = MadeInvoice { bolt11: "lnbcrt-hold".to_owned(), hash: order.hash, expires_at_s: order.now_s + 60 };
    core.step(Input::InvoiceMade { key: *key, made: Ok(made) });
    assert_eq!(tells(&core.step(Input::Tick)), [Word::Cancel]);
    assert!(core.state.invoices.is_empty());
}
