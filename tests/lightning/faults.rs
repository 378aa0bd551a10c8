//! What LND says when things go wrong, and that nothing of it is taken for more than it is.

use std::time::Duration;

use hearth::wallet::backend::{Backend, LookupResult, SendResult};
use hearth::wallet::terms::Preimage;
use tonic::Code;

use crate::lnd::{SendFault, TrackFault};
use crate::rig::{Rig, hash_of, msat, order, run};
use crate::support::{eventually, now_s};

/// Pays an invoice of node `b` while this goes wrong.
async fn pay_with(rig: &Rig, fault: SendFault) -> (SendResult, hearth::base::hex32::PaymentHash) {
    let invoice = rig.near().invoice(Some(8_000), "what could go wrong");
    rig.server.fault(|faults| faults.send.push_back(fault));
    (rig.send(order(&invoice, 8_000, 0)).await, hash_of(&invoice))
}

#[test]
fn a_stream_that_breaks_after_the_dispatch_is_unknown_and_found_settled() {
    run(async {
        let rig = Rig::start().await;
        for fault in [SendFault::CutAfterDispatch, SendFault::EndWithoutWord] {
            let (result, hash) = pay_with(&rig, fault).await;
            assert!(matches!(result, SendResult::Unknown(_)), "{fault:?}: {result:?}");
            rig.ready().await;
            let LookupResult::Settled { preimage, .. } = rig.outcome(hash).await else { panic!("{fault:?}: not settled") };
            assert_eq!(preimage.hash(), hash);
            assert_eq!(rig.server.times_begun(&hash.0), 1);
        }
    });
}

#[test]
fn a_stream_that_breaks_before_the_dispatch_is_unknown_too() {
    run(async {
        let rig = Rig::start().await;
        let (result, hash) = pay_with(&rig, SendFault::CutBeforeDispatch).await;
        assert!(matches!(result, SendResult::Unknown(_)), "{result:?}");
        rig.ready().await;
        assert_eq!(rig.lookup(hash).await, LookupResult::NotFound);
        assert_eq!(rig.server.times_begun(&hash.0), 0);
    });
}

#[test]
fn not_found_is_pending_while_the_call_is_open_and_not_found_after_it() {
    run(async {
        let rig = Rig::start().await;
        let invoice = rig.near().invoice(Some(8_100), "on its way");
        let hash = hash_of(&invoice);
        rig.server.fault(|faults| {
            faults.send.push_back(SendFault::Silence);
            faults.track.extend([TrackFault::NotFound; 3]);
        });
        let (to, mut from) = tokio::sync::oneshot::channel();
        rig.lnd().send(order(&invoice, 8_100, 0), Box::new(move |result| drop(to.send(result))));
        eventually("the dispatch", async || rig.server.times_begun(&hash.0) == 1).await;
        for _ in 0..2 {
            assert_eq!(rig.lookup(hash).await, LookupResult::Pending, "its call is open: it may be on its way");
        }
        assert!(from.try_recv().is_err(), "no word, no result");
        rig.server.cut_connections();
        assert!(matches!(from.await.unwrap(), SendResult::Unknown(_)));
        rig.ready().await;
        assert_eq!(rig.lookup(hash).await, LookupResult::NotFound, "LND says so, and the wallet knows how little that is");
        assert!(matches!(rig.outcome(hash).await, LookupResult::Settled { .. }));
    });
}

#[test]
fn a_payment_called_failed_that_was_paid_is_found_settled() {
    run(async {
        let rig = Rig::start().await;
        let (result, hash) = pay_with(&rig, SendFault::SayFailed).await;
        assert!(matches!(result, SendResult::Failed(_)), "its terminal status is believed: {result:?}");
        let LookupResult::Settled { preimage, .. } = rig.outcome(hash).await else { panic!("not settled") };
        assert_eq!(preimage.hash(), hash);
    });
}

#[test]
fn proofs_and_fees_are_passed_on_as_they_are() {
    run(async {
        let rig = Rig::start().await;
        let (result, _) = pay_with(&rig, SendFault::WrongPreimage).await;
        assert_eq!(
            result,
            SendResult::Settled { preimage: Preimage([0xab; 32]), fee: msat(0) },
            "the wallet sees that it is wrong"
        );
        let (result, _) = pay_with(&rig, SendFault::NoPreimage).await;
        assert_eq!(result, SendResult::Settled { preimage: Preimage([0; 32]), fee: msat(0) });
        let (result, hash) = pay_with(&rig, SendFault::Fee(777_777)).await;
        let SendResult::Settled { preimage, fee } = result else { panic!("not settled") };
        assert_eq!((preimage.hash(), fee), (hash, msat(777_777)), "more than the limit, and true");
    });
}

#[test]
fn errors_before_the_first_word_are_failures_only_where_lnd_cannot_have_begun() {
    run(async {
        let rig = Rig::start().await;
        for (code, words, is_certain) in [
            (Code::Unknown, "permission denied", true),
            (Code::Unknown, "wallet locked, unlock it to enable full RPC access", true),
            (Code::InvalidArgument, "bad", true),
            (Code::AlreadyExists, "payment is in transition", false),
            (Code::Unknown, "unable to do something inside", false),
            (Code::Unavailable, "transport is closing", false),
            (Code::DeadlineExceeded, "context deadline exceeded", false),
            (Code::Internal, "stream terminated", false),
        ] {
            let (result, _) = pay_with(&rig, SendFault::Refuse(code, words)).await;
            assert_eq!(matches!(result, SendResult::NotGiven(_)), is_certain, "{code:?} {words}: {result:?}");
            assert_eq!(matches!(result, SendResult::Unknown(_)), !is_certain, "{code:?} {words}: {result:?}");
        }
    });
}

#[test]
fn a_question_without_an_answer_is_unknown() {
    run(async {
        let rig = Rig::with(|config| config.call_timeout = Duration::from_secs(5)).await;
        let invoice = rig.near().invoice(Some(8_200), "silence");
        let hash = hash_of(&invoice);
        assert!(matches!(rig.send(order(&invoice, 8_200, 0)).await, SendResult::Settled { .. }));
        for fault in
            [TrackFault::Silence, TrackFault::Refuse(Code::Internal, "x"), TrackFault::Refuse(Code::Unknown, "not found")]
        {
            rig.server.fault(|faults| faults.track.push_back(fault));
            let found = rig.lookup(hash).await;
            assert!(matches!(found, LookupResult::Unknown(_)), "{fault:?}: {found:?}");
        }
        assert!(matches!(rig.lookup(hash).await, LookupResult::Settled { .. }));
    });
}

#[test]
fn the_failure_of_an_earlier_attempt_says_nothing_about_this_one() {
    run(async {
        let rig = Rig::start().await;
        let invoice = rig.far().invoice(Some(50_000_000), "twice tried");
        let hash = hash_of(&invoice);
        assert!(matches!(rig.send(order(&invoice, 50_000_000, 1)).await, SendResult::Failed(_)));
        assert!(matches!(rig.lookup(hash).await, LookupResult::Failed(_)));
        let later_ms = (now_s() + 1) * 1_000;
        assert_eq!(rig.lookup_since(hash, later_ms).await, LookupResult::NotFound);
    });
}
