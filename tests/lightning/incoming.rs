//! Payments that come in: invoices that others pay, hold invoices, and that nothing is missed while hearth is away.

use hearth::base::hex32::{Hex32, PaymentHash};
use hearth::wallet::backend::{Backend, IncomingState, MadeInvoice, NewHoldInvoice, NewInvoice, bolt11};
use hearth::wallet::terms::Preimage;
use ldk_node::Event;
use ldk_node::lightning_invoice::Bolt11Invoice;
use tokio::sync::broadcast;

use crate::node::Node;
use crate::rig::{Rig, answer, fresh, hash, msat, run};
use crate::support::{eventually, now_s};

fn wanted(preimage: [u8; 32], amount_msat: u64) -> NewInvoice {
    NewInvoice {
        amount: Some(msat(amount_msat)),
        description: "a loaf".to_owned(),
        description_hash: None,
        expiry_s: 600,
        now_s: now_s(),
        preimage: Preimage(preimage),
    }
}

async fn make(rig: &Rig, order: NewInvoice) -> MadeInvoice {
    answer(|done| rig.lnd().make_invoice(order, done)).await.unwrap()
}

async fn make_hold(rig: &Rig, preimage: [u8; 32], amount_msat: u64) -> MadeInvoice {
    let order = NewHoldInvoice {
        amount: Some(msat(amount_msat)),
        description: "a key".to_owned(),
        description_hash: None,
        expiry_s: 600,
        now_s: now_s(),
        hash: hash(preimage),
        min_cltv_expiry_delta: None,
    };
    answer(|done| rig.lnd().make_hold_invoice(order, done)).await.unwrap()
}

/// Node `b` begins to pay.
fn pay(rig: &Rig, invoice: &str) -> broadcast::Receiver<Event> {
    let events = rig.near().events.subscribe();
    let invoice: Bolt11Invoice = invoice.parse().unwrap();
    rig.near().inner.bolt11_payment().send(&invoice, None).unwrap();
    events
}

/// Whether a payment of node `b` arrived.
async fn arrived(events: &mut broadcast::Receiver<Event>, hash: PaymentHash) -> bool {
    Node::event(events, "the end of a payment", |event| match event {
        Event::PaymentSuccessful { payment_hash, .. } if payment_hash.0 == hash.0 => Some(true),
        Event::PaymentFailed { payment_hash: Some(failed), .. } if failed.0 == hash.0 => Some(false),
        _ => None,
    })
    .await
}

fn settled(preimage: [u8; 32]) -> IncomingState {
    IncomingState::Settled { preimage: Some(Preimage(preimage)) }
}

#[test]
fn an_invoice_is_what_was_asked_for_and_the_same_when_asked_again() {
    run(async {
        let rig = Rig::start().await;
        let preimage = fresh();
        let order = NewInvoice { description_hash: Some(Hex32([3; 32])), amount: None, ..wanted(preimage, 1) };
        let made = make(&rig, order.clone()).await;
        let read = bolt11::decode(&made.bolt11).unwrap();
        assert_eq!((read.hash, read.amount, read.description_hash), (hash(preimage), None, Some(Hex32([3; 32]))));
        assert_eq!(make(&rig, order).await, made);

        let hold = fresh();
        let made = make_hold(&rig, hold, 9_000).await;
        assert_eq!(bolt11::decode(&made.bolt11).unwrap().amount, Some(msat(9_000)));
        assert_eq!(make_hold(&rig, hold, 9_000).await, made);
    });
}

#[test]
fn a_payment_that_comes_in_is_reported_and_the_mark_moves() {
    run(async {
        let mut rig = Rig::start().await;
        let (first, second) = (fresh(), fresh());
        let made = make(&rig, wanted(first, 11_000)).await;
        let mut events = pay(&rig, &made.bolt11);
        assert!(arrived(&mut events, made.hash).await);
        let report = rig.report(&made.hash, |_| true).await;
        assert_eq!((report.amount, report.state), (msat(11_000), settled(first)));
        let mark = rig.mark.clone();
        let written = move || std::fs::read_to_string(&mark).unwrap();
        eventually("the mark on disk", async || written().ends_with(" 1\n")).await;

        // While hearth is away another one comes in: it is reported at the next start, and the first one is not.
        let away = make(&rig, wanted(second, 12_000)).await;
        rig.close();
        let mut events = pay(&rig, &away.bolt11);
        assert!(arrived(&mut events, away.hash).await);
        rig.open().await;
        assert_eq!(rig.report(&away.hash, |_| true).await.amount, msat(12_000));
        assert_eq!(rig.heard(&made.hash), Vec::new());
    });
}

/// Before there is a mark the first settlement is looked for in LND's list. What settles meanwhile on a page that was read, before
/// something on a page that was not, is not passed over. Hold invoices are looked for in the same list at the same time, and which of
/// the two reads a page first is not certain: so either is disturbed, some times.
#[test]
fn what_settles_while_the_list_is_read_is_reported() {
    run(async {
        for time in [1, 2, 1, 2, 1, 2] {
            settle_while_the_list_is_read(time).await;
        }
    });
}

async fn settle_while_the_list_is_read(time: u32) {
    let mut rig = Rig::start().await;
    let mut made = Vec::new();
    for _ in 0..102 {
        made.push(make(&rig, wanted(fresh(), 11_000)).await.hash);
    }
    rig.close();
    let (early, late) = (made[1], made[101]);
    rig.server.fault(|faults| faults.settle_between_pages = (time, vec![early.0, late.0]));
    rig.open().await;
    for hash in [late, early] {
        assert_eq!(rig.report(&hash, |_| true).await.amount, msat(11_000));
    }
    let mark = rig.mark.clone();
    eventually("the mark on disk", async || std::fs::read_to_string(&mark).unwrap().ends_with(" 2\n")).await;
    assert_eq!((rig.heard(&early).len(), rig.heard(&late).len()), (1, 1), "once");
}

#[test]
fn what_was_never_acknowledged_is_reported_again() {
    run(async {
        let mut rig = Rig::start().await;
        rig.stop_acknowledging();
        let preimage = fresh();
        let made = make(&rig, wanted(preimage, 13_000)).await;
        let mut events = pay(&rig, &made.bolt11);
        assert!(arrived(&mut events, made.hash).await);
        rig.report(&made.hash, |_| true).await;
        for _ in 0..2 {
            rig.close();
            rig.open_without_acknowledging().await;
            assert_eq!(rig.report(&made.hash, |_| true).await.state, settled(preimage));
        }
        rig.close();
        rig.open().await;
        rig.report(&made.hash, |_| true).await;
    });
}

#[test]
fn a_held_payment_is_reported_taken_and_given_back() {
    run(async {
        let rig = Rig::start().await;
        let (taken, given_back, unpaid) = (fresh(), fresh(), fresh());
        let is_held = |report: &hearth::wallet::backend::Incoming| matches!(report.state, IncomingState::Held { .. });

        let made = make_hold(&rig, taken, 14_000).await;
        let early = answer(|done| rig.lnd().settle_hold(Preimage(taken), done)).await.unwrap_err();
        assert!(early.to_string().contains("still open"), "{early}");
        let mut events = pay(&rig, &made.bolt11);
        let held = rig.report(&made.hash, is_held).await;
        assert_eq!(held.amount, msat(14_000));
        let IncomingState::Held { settle_deadline: Some(deadline) } = held.state else { panic!("no deadline: {held:?}") };
        assert!(deadline > rig.lnd().info().block_height);
        answer(|done| rig.lnd().settle_hold(Preimage(taken), done)).await.unwrap();
        assert!(arrived(&mut events, made.hash).await);
        let report = rig.report(&made.hash, |report| report.state == settled(taken)).await;
        assert_eq!(report.amount, msat(14_000));
        answer(|done| rig.lnd().settle_hold(Preimage(taken), done)).await.expect("settling twice is settling once");

        let made = make_hold(&rig, given_back, 15_000).await;
        let mut events = pay(&rig, &made.bolt11);
        rig.report(&made.hash, is_held).await;
        answer(|done| rig.lnd().cancel_hold(made.hash, done)).await.unwrap();
        assert!(!arrived(&mut events, made.hash).await);
        rig.report(&made.hash, |report| report.state == IncomingState::Canceled).await;

        let made = make_hold(&rig, unpaid, 16_000).await;
        for _ in 0..2 {
            answer(|done| rig.lnd().cancel_hold(made.hash, done)).await.unwrap();
        }
        rig.report(&made.hash, |report| report.state == IncomingState::Canceled).await;
        answer(|done| rig.lnd().cancel_hold(hash(fresh()), done)).await.expect("what LND never heard of is over");
        let late = answer(|done| rig.lnd().settle_hold(Preimage(given_back), done)).await.unwrap_err();
        assert!(late.to_string().contains("already canceled"), "{late}");
    });
}

#[test]
fn what_becomes_of_holds_while_hearth_is_away_is_told_at_the_next_start() {
    run(async {
        let mut rig = Rig::start().await;
        let (arrives, ends) = (fresh(), fresh());
        let (arriving, ending) = (make_hold(&rig, arrives, 17_000).await, make_hold(&rig, ends, 18_000).await);
        rig.close();
        let mut events = pay(&rig, &arriving.bolt11);
        rig.server.cancel(&ending.hash.0);
        rig.open().await;
        let held = rig.report(&arriving.hash, |report| matches!(report.state, IncomingState::Held { .. })).await;
        assert_eq!(held.amount, msat(17_000));
        rig.report(&ending.hash, |report| report.state == IncomingState::Canceled).await;
        answer(|done| rig.lnd().settle_hold(Preimage(arrives), done)).await.unwrap();
        assert!(arrived(&mut events, arriving.hash).await);
    });
}
