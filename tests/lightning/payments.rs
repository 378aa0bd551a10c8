//! Payments that the node behind LND makes: invoices, keysend, held ones, and what certainly fails.

use hearth::wallet::backend::{LookupResult, SendOrder, SendResult, SendTarget, TlvRecord};
use hearth::wallet::terms::Preimage;
use ldk_node::Event;
use ldk_node::lightning_types::payment::{PaymentHash as LdkHash, PaymentPreimage};

use crate::node::{Node, described};
use crate::rig::{Rig, fresh, hash, hash_of, msat, order, run};
use crate::support::eventually;

#[test]
fn an_invoice_is_paid_once() {
    run(async {
        let rig = Rig::start().await;
        let mut received = rig.near().events.subscribe();
        let invoice = rig.near().invoice(Some(21_000), "bread");
        let SendResult::Settled { preimage, fee } = rig.send(order(&invoice, 21_000, 0)).await else { panic!("not settled") };
        assert_eq!((preimage.hash(), fee), (hash_of(&invoice), msat(0)));
        Node::event(&mut received, "the payment", |event| match event {
            Event::PaymentReceived { payment_hash, amount_msat, .. } if payment_hash.0 == hash_of(&invoice).0 => {
                assert_eq!(*amount_msat, 21_000);
                Some(())
            }
            _ => None,
        })
        .await;

        // "Already paid" is no failure: it is looked up, and there is the proof of the first payment.
        let again = rig.send(order(&invoice, 21_000, 0)).await;
        assert!(matches!(&again, SendResult::Unknown(words) if words.contains("already paid")), "{again:?}");
        assert_eq!(rig.lookup(hash_of(&invoice)).await, LookupResult::Settled { preimage, fee });
        assert_eq!(rig.server.times_begun(&hash_of(&invoice).0), 1);
    });
}

#[test]
fn an_invoice_without_an_amount_gets_the_one_of_the_payer() {
    run(async {
        let rig = Rig::start().await;
        let mut received = rig.near().events.subscribe();
        let invoice = rig.near().invoice(None, "as you like");
        assert!(matches!(rig.send(order(&invoice, 34_567, 0)).await, SendResult::Settled { .. }));
        let arrived = Node::event(&mut received, "the payment", |event| match event {
            Event::PaymentReceived { payment_hash, amount_msat, .. } if payment_hash.0 == hash_of(&invoice).0 => {
                Some(*amount_msat)
            }
            _ => None,
        })
        .await;
        assert_eq!(arrived, 34_567);
    });
}

#[test]
fn keysend_brings_its_records() {
    run(async {
        let rig = Rig::start().await;
        let mut received = rig.near().events.subscribe();
        let preimage = Preimage(fresh());
        let podcast = TlvRecord { kind: 7_629_169, value: br#"{"podcast":"x"}"#.to_vec() };
        let target = SendTarget::Keysend { payee: rig.near().pubkey(), preimage, records: vec![podcast.clone()] };
        let hash = preimage.hash();
        let order = SendOrder { attempt: 1, hash, target, amount: msat(1_234), fee_max: msat(0), until_s: u64::MAX };
        assert_eq!(rig.send(order).await, SendResult::Settled { preimage, fee: msat(0) });
        let records = Node::event(&mut received, "the payment", |event| match event {
            Event::PaymentReceived { payment_hash, amount_msat: 1_234, custom_records, .. }
                if payment_hash.0 == preimage.hash().0 =>
            {
                Some(custom_records.clone())
            }
            _ => None,
        })
        .await;
        assert!(records.iter().any(|record| record.type_num == podcast.kind && record.value == podcast.value), "{records:?}");
    });
}

/// A hold invoice of node `b`, paid by hearth: the order's call stays open until `b` decides.
async fn held(rig: &Rig, preimage: [u8; 32], amount_msat: u64) -> tokio::task::JoinHandle<SendResult> {
    let ldk_hash = LdkHash(hash(preimage).0);
    let payments = rig.near().inner.bolt11_payment();
    let invoice = payments.receive_for_hash(amount_msat, &described("hold"), 3_600, ldk_hash).unwrap().to_string();
    let mut events = rig.near().events.subscribe();
    let (to, from) = tokio::sync::oneshot::channel();
    hearth::wallet::backend::Backend::send(
        rig.lnd(),
        order(&invoice, amount_msat, 0),
        Box::new(move |result| drop(to.send(result))),
    );
    Node::event(&mut events, "a payment that waits", |event| {
        matches!(event, Event::PaymentClaimable { payment_hash, .. } if *payment_hash == ldk_hash).then_some(())
    })
    .await;
    tokio::spawn(async move { from.await.unwrap() })
}

#[test]
fn a_held_payment_is_pending_until_the_payee_decides() {
    run(async {
        let rig = Rig::start().await;
        let (taken, given_back) = (fresh(), fresh());
        let paying = held(&rig, taken, 50_000).await;
        assert_eq!(rig.lookup(hash(taken)).await, LookupResult::Pending);
        let payments = rig.near().inner.bolt11_payment();
        payments.claim_for_hash(LdkHash(hash(taken).0), 50_000, PaymentPreimage(taken)).unwrap();
        assert_eq!(paying.await.unwrap(), SendResult::Settled { preimage: Preimage(taken), fee: msat(0) });

        let paying = held(&rig, given_back, 60_000).await;
        payments.fail_for_hash(LdkHash(hash(given_back).0)).unwrap();
        let SendResult::Failed(words) = paying.await.unwrap() else { panic!("not failed") };
        assert!(words.contains("the payee refused the payment") && words.ends_with("no money moved"), "{words}");
        assert!(matches!(rig.lookup(hash(given_back)).await, LookupResult::Failed(_)));
    });
}

#[test]
fn the_fee_limit_bites_and_the_same_invoice_is_paid_with_a_wider_one() {
    run(async {
        let rig = Rig::start().await;
        let invoice = rig.far().invoice(Some(100_000_000), "two hops");
        let SendResult::Failed(words) = rig.send(order(&invoice, 100_000_000, 1)).await else { panic!("not failed") };
        assert!(words.contains("within the fee limit"), "{words}");
        let SendResult::Settled { fee, .. } = rig.send(order(&invoice, 100_000_000, 100_000)).await else {
            panic!("not settled")
        };
        assert!(fee > msat(0) && fee <= msat(100_000), "{fee:?}");
        assert_eq!(rig.server.times_begun(&hash_of(&invoice).0), 1, "the first attempt left nothing under way");
    });
}

#[test]
fn what_the_channels_cannot_carry_fails_for_certain() {
    run(async {
        let rig = Rig::start().await;
        let invoice = rig.near().invoice(Some(9_999_000_000), "too much");
        let SendResult::Failed(words) = rig.send(order(&invoice, 9_999_000_000, 0)).await else { panic!("not failed") };
        assert!(words.ends_with("no money moved"), "{words}");
        assert_eq!(rig.server.times_begun(&hash_of(&invoice).0), 0);
    });
}

#[test]
fn a_hold_outlives_hearth() {
    run(async {
        let mut rig = Rig::start().await;
        let preimage = fresh();
        let _call_of_the_life_before = held(&rig, preimage, 70_000).await;
        rig.close();
        rig.open().await;
        assert_eq!(rig.lookup(hash(preimage)).await, LookupResult::Pending);
        let payments = rig.near().inner.bolt11_payment();
        payments.claim_for_hash(LdkHash(hash(preimage).0), 70_000, PaymentPreimage(preimage)).unwrap();
        let settled = LookupResult::Settled { preimage: Preimage(preimage), fee: msat(0) };
        assert_eq!(rig.outcome(hash(preimage)).await, settled);
    });
}

#[test]
fn balance_info_and_signatures_are_those_of_the_node() {
    run(async {
        use hearth::wallet::backend::Backend;
        let rig = Rig::start().await;
        let node = &rig.row.nodes[0];
        let info = rig.lnd().info();
        assert_eq!((info.pubkey, info.alias.as_str(), info.color.as_str()), (node.pubkey(), "a", "#3399ff"));
        assert!(info.block_height > 100);
        assert_eq!(rig.lnd().info().network.as_str(), "regtest");

        let signed = crate::rig::answer(|done| rig.lnd().sign_message("hello".to_owned(), done)).await.unwrap();
        assert!(node.inner.verify_signature(b"hello", &signed.signature, &node.inner.node_id()));

        // After a payment it is asked again, soon.
        let before = rig.lnd().node_balance().unwrap();
        assert!(before.amount > msat(1_000_000_000), "{before:?}");
        let invoice = rig.near().invoice(Some(5_000_000), "to be seen");
        assert!(matches!(rig.send(order(&invoice, 5_000_000, 0)).await, SendResult::Settled { .. }));
        eventually("the balance after a payment", async || {
            rig.lnd().node_balance().is_some_and(|now| now.amount != before.amount && now.asked > before.asked)
        })
        .await;
    });
}
