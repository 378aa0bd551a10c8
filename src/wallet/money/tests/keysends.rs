//! Payments without an invoice: which are sent, which are refused with which words, and that a repeat is the same payment.

use super::super::payment::{Bill, Effect, Input, Reply};
use super::super::types::*;
use super::support::*;
use crate::base::amount::Msat;
use crate::wallet::backend::{Capabilities, LookupResult, SendOrder, SendResult, SendTarget};

const RICH: u64 = 1_000_000_000;

fn payee() -> String {
    format!("02{}", "ab".repeat(32))
}

fn core() -> Core {
    let mut core = Core::with(&[(RICH, Some(RICH)), (RICH, None)]);
    core.state.can = Capabilities { outside: true, refuses_second: true, keysend: true, ..Capabilities::default() };
    core.state.node = format!("03{}", "cd".repeat(32));
    core
}

fn order(connection: u32, number: u64, payee: &str, amount: u64, records: Vec<TlvRecord>) -> PayOrder {
    let target = PayTarget::Keysend { payee: payee.to_owned(), amount: msat(amount), preimage: None, records };
    PayOrder {
        request: RequestRef { method: Method::PayKeysend, ..request(connection, number) },
        target,
        expires_at_s: None,
        metadata: None,
    }
}

fn pay(core: &mut Core, order: PayOrder, preimage: Preimage) -> (Vec<Effect>, PayReply) {
    let token = core.token();
    let mut effects = core.step(Input::Pay { order: Box::new(order), bill: Ok(Bill::Keysend(preimage)), ready: Ok(()), token });
    match effects.pop() {
        Some(Effect::Reply(_, Reply::Pay(reply))) => (effects, reply),
        other => panic!("no reply: {other:?}"),
    }
}

fn record(kind: u64, length: usize) -> TlvRecord {
    TlvRecord { kind, value: vec![7; length] }
}

#[test]
fn a_keysend_is_written_held_sent_and_answered_like_any_payment() {
    let mut core = core();
    let records = vec![record(7_629_169, 5), record(696_969, 3)];
    let (effects, reply) = pay(&mut core, order(0, 1, &payee().to_uppercase(), 5_000, records), proof(1));
    assert_eq!(reply, PayReply::Durable);
    let [Effect::Append { .. }, Effect::Send(sent)] = &effects[..] else { panic!("{effects:?}") };
    let target =
        SendTarget::Keysend { payee: payee(), preimage: proof(1), records: vec![record(696_969, 3), record(7_629_169, 5)] };
    assert_eq!((sent.hash, sent.amount, &sent.target), (proof(1).hash(), msat(5_000), &target));
    assert_eq!(core.budget(0).held, msat(15_000));
    // After a crash the very same order is driven again.
    core.restart();
    for _ in 0..2 {
        let attempt = core.attempt(&proof(1).hash());
        let (hash, asked_ms) = (proof(1).hash(), core.now_ms);
        let effects = core.step(Input::Looked { hash, attempt, asked_ms, result: LookupResult::NotFound });
        let again = SendOrder { attempt: core.attempt(&hash), ..sent.clone() };
        assert!(effects.is_empty() || matches!(&effects[..], [Effect::Append { .. }, Effect::Send(order)] if *order == again));
        core.now_ms += 30_000;
    }
    let attempt = core.attempt(&proof(1).hash());
    let result = SendResult::Settled { preimage: proof(1), fee: msat(3) };
    core.step(Input::Sent { hash: proof(1).hash(), attempt, result });
    assert_eq!(core.spendable(1), RICH - 5_003);
    assert!(core.answer(&request(0, 1)).unwrap().contains("paid 5000 msat fee 3 msat"));
    let (effects, _) = pay(&mut core, order(0, 1, &payee(), 5_000, Vec::new()), proof(1));
    assert!(matches!(&effects[..], [Effect::Republish(..)]));
}

#[test]
fn one_preimage_does_for_one_payment() {
    let mut core = core();
    pay(&mut core, order(0, 1, &payee(), 5_000, Vec::new()), proof(1));
    let (effects, _) = pay(&mut core, order(0, 2, &payee(), 5_000, Vec::new()), proof(1));
    assert_eq!((sends(&effects), refused(&effects)), (0, None), "the same payment: waits for it");
    for (number, other) in
        [(3, order(0, 3, &payee(), 5_001, Vec::new())), (4, order(0, 4, &format!("03{}", "ab".repeat(32)), 5_000, Vec::new()))]
    {
        let (effects, _) = pay(&mut core, other, proof(1));
        assert_eq!(refused(&effects).unwrap().code, ErrorCode::Other, "{number}");
    }
    let (effects, _) = pay(&mut core, order(1, 5, &payee(), 5_000, Vec::new()), proof(1));
    assert_eq!(refused(&effects).unwrap().code, ErrorCode::Other, "another connection");
    // Nor is it that of an invoice made here.
    let invoice = core.invoice(request(1, 100), Some(7));
    let preimage = core.state.invoices[&invoice.hash].preimage.unwrap();
    let (effects, _) = pay(&mut core, order(0, 6, &payee(), 7, Vec::new()), preimage);
    assert!(refused(&effects).unwrap().message.contains("belongs to an invoice"));
    assert_eq!(core.spendable(1), RICH - 15_000);
}

#[test]
fn what_cannot_be_sent_is_refused_with_words() {
    let key = payee();
    let many = (0..33).map(|kind| record(70_000 + kind, 1)).collect();
    let cases: Vec<(&str, &str, u64, Vec<TlvRecord>)> = vec![
        ("66 hex digits", "02abcd", 1, Vec::new()),
        ("66 hex digits", "npub1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", 1, Vec::new()),
        ("begin with 02 or 03", &key.replacen("02", "04", 1), 1, Vec::new()),
        ("own node", &format!("03{}", "cd".repeat(32)), 1, Vec::new()),
        ("above zero", &key, 0, Vec::new()),
        ("33 records are too many", &key, 1, many),
        ("769 bytes", &key, 1, vec![record(70_000, 700), record(70_001, 69)]),
        ("carries the preimage", &key, 1, vec![record(5_482_373_484, 32)]),
        ("one of the network itself", &key, 1, vec![record(65_535, 1)]),
        ("there twice", &key, 1, vec![record(70_000, 1), record(70_001, 1), record(70_000, 1)]),
    ]
    .into_iter()
    .map(|(words, payee, amount, records)| (words, payee.to_owned().leak() as &str, amount, records))
    .collect();
    for (words, payee, amount, records) in cases {
        let mut core = core();
        let (effects, reply) = pay(&mut core, order(0, 1, payee, amount, records), proof(1));
        let refusal = refused(&effects).unwrap();
        assert_eq!((refusal.code, reply, sends(&effects)), (ErrorCode::Other, PayReply::Durable, 0), "{words}");
        assert!(refusal.message.contains(words), "{refusal}");
        assert_eq!(core.spendable(1), RICH);
    }
}

#[test]
fn maximum_budget_balance_slots_and_ability_count() {
    let mut core = core();
    core.connect(0, ConnectionRules { payment_max: Some(msat(5_000)), ..rules(1, Some(20_000)) });
    let code = |core: &mut Core, number, amount| {
        refused(&pay(core, order(0, number, &payee(), amount, Vec::new()), proof(number)).0).map(|refusal| refusal.code)
    };
    assert_eq!(code(&mut core, 1, 5_001), Some(ErrorCode::QuotaExceeded));
    assert_eq!(code(&mut core, 2, 5_000), None);
    assert_eq!(code(&mut core, 3, 5_000), Some(ErrorCode::QuotaExceeded));
    let mut poor = Core::with(&[(10_999, None)]);
    poor.state.can = core.state.can;
    assert_eq!(code(&mut poor, 1, 1_000), Some(ErrorCode::InsufficientBalance));
    poor.state.can.keysend = false;
    let (effects, reply) = pay(&mut poor, order(0, 2, &payee(), 1, Vec::new()), proof(2));
    assert!(effects.is_empty());
    assert!(matches!(reply, PayReply::Refused(refusal) if refusal.code == ErrorCode::NotImplemented));
    assert_eq!(poor.state.ledger.account(AccountId(1)).unwrap().held, Msat::ZERO);
}
