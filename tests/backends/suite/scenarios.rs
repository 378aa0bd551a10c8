//! The scenarios. Each gets a fresh world; what it needs of the back end stands in [`ALL`].

use std::sync::Arc;

use hearth::base::amount::Msat;
use hearth::base::hex32::Hex32;
use hearth::wallet::backend::{IncomingState, LookupResult, SendOrder, SendResult, SendTarget, TlvRecord, bolt11};

use super::orders::*;
use super::{Needs, Reports, Then, World, ready};

/// Every scenario and what it needs.
pub const ALL: &[(&str, Needs)] = &[
    ("info", |_| true),
    ("an_invoice_made_twice_has_one_hash", |_| true),
    ("invoices_say_what_was_ordered", |_| true),
    ("without_an_outside_payments_fail_for_certain", |can| !can.outside),
    ("pay_with_an_amount", |can| can.outside),
    ("pay_without_an_amount", |can| can.outside),
    ("a_second_payment_of_one_hash_pays_nothing", |can| can.outside && can.refuses_second),
    ("failed_for_certain", |can| can.outside),
    ("unknown_then_settled", |can| can.outside),
    ("unknown_then_failed", |can| can.outside),
    ("never_heard_of", |can| can.outside),
    ("the_fee_stays_within_its_limit", |can| can.outside),
    ("keysend_with_records", |can| can.keysend),
    ("an_invoice_paid_from_outside", |can| can.outside),
    ("reported_again_until_it_is_safe", |can| can.outside),
    ("reported_from_the_beginning", |can| can.outside && can.hold_invoices),
    ("a_hold_invoice_is_settled", |can| can.outside && can.hold_invoices),
    ("a_hold_invoice_is_canceled", |can| can.outside && can.hold_invoices),
    ("a_hold_invoice_that_nobody_paid_is_canceled", |can| can.outside && can.hold_invoices),
    ("a_restart_in_the_middle", |can| can.outside),
    ("sign_message", |can| can.sign_message),
];

pub async fn info<W: World>(world: W) {
    let backend = world.backend();
    let info = backend.info();
    assert_eq!((info.pubkey.len(), &info.pubkey[..1]), (66, "0"), "{info:?}");
    assert!(info.pubkey.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{info:?}");
    assert_eq!(backend.ready(), Ok(()));
    if backend.capabilities().node_balance {
        assert!(some_balance(&world).await > Msat::ZERO);
    }
}

pub async fn an_invoice_made_twice_has_one_hash<W: World>(world: W) {
    let backend = world.backend();
    let order = new_invoice(Some(21_000), preimage());
    let (one, two) = (make_invoice(&backend, order.clone()).await, make_invoice(&backend, order.clone()).await);
    assert_eq!((one.hash, two.hash), (order.preimage.hash(), order.preimage.hash()));
    for made in [one, two] {
        let read = bolt11::decode(&made.bolt11).unwrap();
        assert_eq!((read.hash, read.amount), (order.preimage.hash(), order.amount));
    }
}

pub async fn invoices_say_what_was_ordered<W: World>(world: W) {
    let backend = world.backend();
    let order = new_invoice(None, preimage());
    let made = make_invoice(&backend, order.clone()).await;
    let read = bolt11::decode(&made.bolt11).unwrap();
    assert_eq!((read.amount, read.description.as_deref()), (None, Some("a test")));
    assert_eq!((read.network, read.expires_at_s), (backend.info().network, made.expires_at_s));
    let asked_s = order.now_s + order.expiry_s;
    assert!((asked_s..asked_s + 60).contains(&made.expires_at_s), "{} is not about {asked_s}", made.expires_at_s);
    let hashed =
        hearth::wallet::backend::NewInvoice { description_hash: Some(Hex32([0xd5; 32])), ..new_invoice(Some(1_000), preimage()) };
    let read = bolt11::decode(&make_invoice(&backend, hashed).await.bolt11).unwrap();
    assert_eq!((read.description_hash, read.amount), (Some(Hex32([0xd5; 32])), Some(msat(1_000))));
}

pub async fn without_an_outside_payments_fail_for_certain<W: World>(world: W) {
    let backend = world.backend();
    let made = make_invoice(&backend, new_invoice(Some(5_000), preimage())).await;
    let order = order(&made.bolt11, None);
    let SendResult::Failed(words) = answer(send(&backend, &order)).await else { panic!("not failed") };
    assert!(!words.is_empty());
    assert!(matches!(lookup(&backend, &order).await, LookupResult::Failed(_)));
}

pub async fn pay_with_an_amount<W: World>(mut world: W) {
    let backend = world.backend();
    let order = order(&world.outside_invoice(Some(msat(50_000)), Then::Take).await, None);
    let told = send(&backend, &order);
    let (preimage, fee) = settled(&backend, &order, told).await;
    assert_eq!(preimage.hash(), order.hash);
    assert!(fee <= order.fee_max);
    assert_eq!(looked_up(&backend, &order, |_| true).await, LookupResult::Settled { preimage, fee });
}

pub async fn pay_without_an_amount<W: World>(mut world: W) {
    let backend = world.backend();
    let order = order(&world.outside_invoice(None, Then::Take).await, Some(7_001));
    let told = send(&backend, &order);
    assert_eq!(settled(&backend, &order, told).await.0.hash(), order.hash);
}

pub async fn a_second_payment_of_one_hash_pays_nothing<W: World>(mut world: W) {
    let backend = world.backend();
    let had = if world.balance_is_exact() { some_balance(&world).await } else { Msat::ZERO };
    let first = order(&world.outside_invoice(Some(msat(30_000)), Then::Take).await, None);
    let told = send(&backend, &first);
    let paid = settled(&backend, &first, told).await;
    for attempt in [1, 2] {
        // It says what became of the first, or that it does not know; never that it failed, and it pays nothing.
        match answer(send(&backend, &SendOrder { attempt, ..first.clone() })).await {
            SendResult::Settled { preimage, .. } => assert_eq!(preimage, paid.0),
            SendResult::Unknown(_) => {}
            SendResult::Failed(words) | SendResult::NotGiven(words) => panic!("a settled payment was called failed: {words}"),
        }
    }
    assert!(matches!(lookup(&backend, &first).await, LookupResult::Settled { preimage, .. } if preimage == paid.0));
    if world.balance_is_exact() {
        // Another payment, so that the balance that is waited for can only be a fresh one.
        let other = order(&world.outside_invoice(Some(msat(5_000)), Then::Take).await, None);
        let told = send(&backend, &other);
        let (_, fee) = settled(&backend, &other, told).await;
        let left = had.get() - 30_000 - paid.1.get() - 5_000 - fee.get();
        let deadline = tokio::time::Instant::now() + super::PATIENCE;
        while backend.node_balance().map(|balance| balance.amount) != Some(msat(left)) {
            assert!(tokio::time::Instant::now() < deadline, "{:?} is left of {had}, not {left}", backend.node_balance());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

async fn some_balance<W: World>(world: &W) -> Msat {
    let deadline = tokio::time::Instant::now() + super::PATIENCE;
    loop {
        if let Some(balance) = world.backend().node_balance() {
            return balance.amount;
        }
        assert!(tokio::time::Instant::now() < deadline, "no balance");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

pub async fn failed_for_certain<W: World>(mut world: W) {
    let backend = world.backend();
    let order = order(&world.outside_invoice(Some(msat(40_000)), Then::Refuse).await, None);
    let told = send(&backend, &order);
    assert!(!failed(&backend, &order, told).await.is_empty());
    assert!(matches!(lookup(&backend, &order).await, LookupResult::Failed(_)));
}

pub async fn unknown_then_settled<W: World>(mut world: W) {
    let backend = world.backend();
    // The wallet always listens to what is reported, and a back end may learn of an outcome by it.
    let _reports = Reports::of(&backend);
    let order = order(&world.outside_invoice(Some(msat(41_000)), Then::Wait).await, None);
    let told = send(&backend, &order);
    looked_up(&backend, &order, |found| matches!(found, LookupResult::Pending)).await;
    world.take(order.hash).await;
    assert_eq!(settled(&backend, &order, told).await.0.hash(), order.hash);
    looked_up(&backend, &order, |found| matches!(found, LookupResult::Settled { .. })).await;
}

pub async fn unknown_then_failed<W: World>(mut world: W) {
    let backend = world.backend();
    let _reports = Reports::of(&backend);
    let order = order(&world.outside_invoice(Some(msat(42_000)), Then::Wait).await, None);
    let told = send(&backend, &order);
    looked_up(&backend, &order, |found| matches!(found, LookupResult::Pending)).await;
    world.refuse(order.hash).await;
    failed(&backend, &order, told).await;
}

pub async fn never_heard_of<W: World>(mut world: W) {
    let backend = world.backend();
    let order = order(&world.outside_invoice(Some(msat(1_000)), Then::Take).await, None);
    assert_eq!(lookup(&backend, &order).await, LookupResult::NotFound);
}

pub async fn the_fee_stays_within_its_limit<W: World>(mut world: W) {
    let backend = world.backend();
    let invoice = world.outside_invoice(Some(msat(60_000)), Then::Take).await;
    let free = SendOrder { fee_max: Msat::ZERO, ..order(&invoice, None) };
    match answer(send(&backend, &free)).await {
        SendResult::Settled { fee, .. } => assert_eq!(fee, Msat::ZERO),
        SendResult::Failed(_) => {
            // It was too dear; the same hash is tried anew, by a later attempt and with more.
            let paid = SendOrder { attempt: 2, ..order(&invoice, None) };
            let told = send(&backend, &paid);
            let (preimage, fee) = settled(&backend, &paid, told).await;
            assert_eq!(preimage.hash(), paid.hash);
            assert!(fee > Msat::ZERO && fee <= paid.fee_max, "{fee}");
        }
        SendResult::Unknown(words) | SendResult::NotGiven(words) => panic!("neither paid nor failed: {words}"),
    }
}

pub async fn keysend_with_records<W: World>(mut world: W) {
    let backend = world.backend();
    let preimage = preimage();
    let records = vec![
        TlvRecord { kind: 7_629_169, value: b"{\"action\":\"boost\"}".to_vec() },
        TlvRecord { kind: 696_969_697, value: vec![0, 1, 2, 255] },
    ];
    let target = SendTarget::Keysend { payee: world.outside_node().await, preimage, records: records.clone() };
    let (hash, fee_max) = (preimage.hash(), msat(FEE_MAX));
    let order = SendOrder { attempt: 1, hash, target, amount: msat(9_000), fee_max, until_s: u64::MAX };
    let told = send(&backend, &order);
    assert_eq!(settled(&backend, &order, told).await.0, preimage);
    let (amount, received) = world.received(order.hash).await;
    assert_eq!(amount, msat(9_000));
    for record in records {
        assert!(received.contains(&record), "{record:?} is not among {received:?}");
    }
}

pub async fn an_invoice_paid_from_outside<W: World>(mut world: W) {
    let backend = world.backend();
    let mut reports = Reports::of(&backend);
    let preimage = preimage();
    let made = make_invoice(&backend, new_invoice(Some(25_000), preimage)).await;
    world.pay(&made.bolt11, msat(25_000)).await.unwrap();
    let (incoming, ack) = reports.next(made.hash).await;
    assert_eq!(incoming.amount, msat(25_000));
    let IncomingState::Settled { preimage: proof } = incoming.state else { panic!("{incoming:?}") };
    assert!(proof.is_none_or(|proof| proof == preimage));
    ack();
}

pub async fn reported_again_until_it_is_safe<W: World>(mut world: W) {
    let mut reports = Reports::of(&world.backend());
    let first = make_invoice(&world.backend(), new_invoice(Some(11_000), preimage())).await;
    world.pay(&first.bolt11, msat(11_000)).await.unwrap();
    let (_, lost) = reports.next(first.hash).await;
    // Hearth dies before it was written down.
    drop(lost);
    world.reopen().await;
    ready(&world.backend()).await;
    let mut reports = Reports::of(&world.backend());
    let (again, ack) = reports.next(first.hash).await;
    assert_eq!(again.amount, msat(11_000));
    ack();
    // What happens while hearth is away is told when it is back.
    let second = make_invoice(&world.backend(), new_invoice(Some(12_000), preimage())).await;
    world.pay(&second.bolt11, msat(12_000)).await.unwrap();
    world.reopen().await;
    ready(&world.backend()).await;
    let mut reports = Reports::of(&world.backend());
    let (incoming, ack) = reports.next(second.hash).await;
    assert_eq!(incoming.amount, msat(12_000));
    ack();
}

/// The wallet has lost the end of its journal: what was acknowledged is told again, and goes on being told until it is acknowledged anew.
pub async fn reported_from_the_beginning<W: World>(mut world: W) {
    let backend = world.backend();
    let mut reports = Reports::of(&backend);
    let settled = make_invoice(&backend, new_invoice(Some(13_000), preimage())).await;
    world.pay(&settled.bolt11, msat(13_000)).await.unwrap();
    reports.next(settled.hash).await.1();
    let held = make_hold_invoice(&backend, new_hold_invoice(14_000, preimage().hash())).await;
    world.pay(&held.bolt11, msat(14_000)).await.unwrap();
    reports.next(held.hash).await.1();

    let again = Arc::clone(&backend);
    tokio::task::spawn_blocking(move || again.report_from_beginning()).await.unwrap().unwrap();
    let mut missing = vec![settled.hash, held.hash];
    while !missing.is_empty() {
        let (incoming, ack) = reports.any().await;
        let is_as_it_was = match incoming.state {
            IncomingState::Held { .. } => incoming.hash != settled.hash,
            IncomingState::Settled { .. } => incoming.hash != held.hash,
            IncomingState::Canceled => ![held.hash, settled.hash].contains(&incoming.hash),
        };
        assert!(is_as_it_was, "{incoming:?}");
        missing.retain(|hash| *hash != incoming.hash);
        // Hearth dies before it was written down.
        drop(ack);
    }
    drop(backend);
    world.reopen().await;
    ready(&world.backend()).await;
    let mut reports = Reports::of(&world.backend());
    let (incoming, ack) = reports.next(settled.hash).await;
    assert_eq!(incoming.amount, msat(13_000));
    ack();
    cancel_hold(&world.backend(), held.hash).await.unwrap();
}

pub async fn a_hold_invoice_is_settled<W: World>(mut world: W) {
    let backend = world.backend();
    let mut reports = Reports::of(&backend);
    let preimage = preimage();
    let made = make_hold_invoice(&backend, new_hold_invoice(33_000, preimage.hash())).await;
    assert_eq!(bolt11::decode(&made.bolt11).unwrap().hash, preimage.hash());
    assert!(settle_hold(&backend, preimage).await.is_err(), "nothing is held yet");
    world.pay(&made.bolt11, msat(33_000)).await.unwrap();
    let (held, ack) = reports.next(made.hash).await;
    assert_eq!(held.amount, msat(33_000));
    assert!(matches!(held.state, IncomingState::Held { .. }), "{held:?}");
    ack();
    settle_hold(&backend, preimage).await.unwrap();
    let (incoming, ack) = reports.next(made.hash).await;
    assert_eq!(incoming.amount, msat(33_000));
    assert!(matches!(incoming.state, IncomingState::Settled { .. }), "{incoming:?}");
    ack();
    settle_hold(&backend, preimage).await.unwrap();
}

pub async fn a_hold_invoice_is_canceled<W: World>(mut world: W) {
    let backend = world.backend();
    let mut reports = Reports::of(&backend);
    let preimage = preimage();
    let made = make_hold_invoice(&backend, new_hold_invoice(34_000, preimage.hash())).await;
    world.pay(&made.bolt11, msat(34_000)).await.unwrap();
    let (held, ack) = reports.next(made.hash).await;
    assert!(matches!(held.state, IncomingState::Held { .. }), "{held:?}");
    ack();
    cancel_hold(&backend, made.hash).await.unwrap();
    let (over, ack) = reports.next(made.hash).await;
    assert_eq!(over.state, IncomingState::Canceled);
    ack();
    cancel_hold(&backend, made.hash).await.unwrap();
    assert!(settle_hold(&backend, preimage).await.is_err(), "what went back cannot be taken");
}

pub async fn a_hold_invoice_that_nobody_paid_is_canceled<W: World>(mut world: W) {
    let backend = world.backend();
    let made = make_hold_invoice(&backend, new_hold_invoice(35_000, preimage().hash())).await;
    cancel_hold(&backend, made.hash).await.unwrap();
    assert!(world.pay(&made.bolt11, msat(35_000)).await.is_err(), "it can still be paid");
    cancel_hold(&backend, preimage().hash()).await.unwrap();
}

pub async fn a_restart_in_the_middle<W: World>(mut world: W) {
    let order = order(&world.outside_invoice(Some(msat(43_000)), Then::Wait).await, None);
    let told = send(&world.backend(), &order);
    looked_up(&world.backend(), &order, |found| matches!(found, LookupResult::Pending)).await;
    world.restart().await;
    ready(&world.backend()).await;
    looked_up(&world.backend(), &order, |found| matches!(found, LookupResult::Pending)).await;
    world.take(order.hash).await;
    let backend = world.backend();
    let found = looked_up(&backend, &order, |found| !matches!(found, LookupResult::Pending)).await;
    assert!(matches!(found, LookupResult::Settled { preimage, .. } if preimage.hash() == order.hash), "{found:?}");
    let said = answer(told).await;
    assert!(!matches!(said, SendResult::Failed(_)), "a payment that went through was called failed: {said:?}");
}

pub async fn sign_message<W: World>(world: W) {
    let backend = world.backend();
    let signed = answer(ask(|done| backend.sign_message("hello".to_owned(), done))).await.unwrap();
    assert_eq!((signed.message.as_str(), signed.signature.is_empty()), ("hello", false));
    let other = answer(ask(|done| backend.sign_message("hullo".to_owned(), done))).await.unwrap();
    assert_ne!(signed.signature, other.signature);
}
