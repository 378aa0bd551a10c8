//! What LND's words are worth, one by one; the calls themselves are tested against a server that speaks LND (`tests/lightning`).

use std::time::Duration;

use tonic::{Code, Status};

use super::invoices;
use super::messages::{FailureReason, Invoice, InvoiceHtlc, InvoiceState, Payment, PaymentStatus};
use super::send::{found, refused, request};
use crate::base::amount::Msat;
use crate::base::hex32::Hex32;
use crate::wallet::backend::{Incoming, IncomingState, LookupOrder, LookupResult, SendOrder, SendResult, SendTarget, TlvRecord};
use crate::wallet::terms::Preimage;

const SINCE_MS: u64 = 1_800_000_000_000;

fn msat(msat: u64) -> Msat {
    Msat::new(msat).unwrap()
}

fn asked() -> LookupOrder {
    LookupOrder { hash: Preimage([7; 32]).hash(), attempt: 3, since_ms: SINCE_MS }
}

fn payment(status: PaymentStatus, began_ms: u64) -> Payment {
    Payment {
        status: status.into(),
        payment_preimage: Preimage([7; 32]).to_hex(),
        fee_msat: 21,
        creation_time_ns: i64::try_from(began_ms * 1_000_000).unwrap(),
        failure_reason: FailureReason::NoRoute.into(),
        ..Payment::default()
    }
}

#[test]
fn only_the_terminal_status_is_a_failure_and_only_that_of_this_attempt() {
    let at = |status, began_ms, sending| found(asked(), Some(&payment(status, began_ms)), None, sending);
    let settled = LookupResult::Settled { preimage: Preimage([7; 32]), fee: msat(21) };
    for sending in [false, true] {
        assert_eq!(at(PaymentStatus::Succeeded, 0, sending), settled, "a success is one, whatever attempt it is of");
        for status in [PaymentStatus::InFlight, PaymentStatus::Initiated, PaymentStatus::Unknown] {
            assert_eq!(at(status, SINCE_MS, sending), LookupResult::Pending);
        }
    }
    assert!(matches!(at(PaymentStatus::Failed, SINCE_MS, false), LookupResult::Failed(words) if words.contains("no route")));
    assert_eq!(at(PaymentStatus::Failed, SINCE_MS - 1, false), LookupResult::NotFound, "that of an earlier attempt");
    assert_eq!(at(PaymentStatus::Failed, SINCE_MS, true), LookupResult::Pending, "the call that sends it is open");
    // A word, and then a broken stream: the word counts.
    let broken = Status::unavailable("gone");
    assert_eq!(found(asked(), Some(&payment(PaymentStatus::InFlight, 0)), Some(&broken), false), LookupResult::Pending);
}

#[test]
fn not_found_is_only_what_lnd_calls_so() {
    let not_found = Status::not_found("payment isn't initiated");
    assert_eq!(found(asked(), None, Some(&not_found), false), LookupResult::NotFound);
    assert_eq!(found(asked(), None, Some(&not_found), true), LookupResult::Pending, "on its way to LND");
    for status in [Status::unavailable("x"), Status::deadline_exceeded("x"), Status::unknown("payment isn't initiated")] {
        assert!(matches!(found(asked(), None, Some(&status), false), LookupResult::Unknown(_)), "{status:?}");
    }
    assert!(matches!(found(asked(), None, None, false), LookupResult::Unknown(_)));
}

#[test]
fn an_error_is_a_failure_only_where_the_payment_was_never_begun() {
    for status in [
        Status::unknown("permission denied"),
        Status::unknown("verification failed: signature mismatch after caveat verification"),
        Status::unknown("wallet locked, unlock it to enable full RPC access"),
        Status::unknown("the RPC server is in the process of starting up, but not yet ready to accept calls"),
        Status::unknown("invoice expired. Valid until 2026-01-01"),
        Status::invalid_argument("anything"),
        Status::unimplemented("unknown service routerrpc.Router"),
    ] {
        assert!(matches!(refused(&status), SendResult::NotGiven(words) if words.ends_with("no money moved")), "{status:?}");
    }
    for status in [
        Status::already_exists("invoice is already paid"),
        Status::already_exists("payment is in transition"),
        Status::unavailable("permission denied"),
        Status::cancelled("operation was canceled"),
        Status::deadline_exceeded("x"),
        Status::unknown("h2 protocol error"),
        Status::unknown("payment is in transition"),
        Status::internal("stream reset"),
        Status::new(Code::ResourceExhausted, "x"),
        Status::aborted("x"),
    ] {
        assert!(matches!(refused(&status), SendResult::Unknown(_)), "{status:?}");
    }
}

fn order(target: SendTarget) -> SendOrder {
    let hash = Preimage([7; 32]).hash();
    SendOrder { attempt: 1, hash, target, amount: msat(21_000), fee_max: msat(0), until_s: u64::MAX }
}

#[test]
fn the_amount_is_given_once_and_the_fee_limit_always() {
    let invoice = |has_amount| order(SendTarget::Invoice { bolt11: "lnbc1".to_owned(), has_amount });
    let with = request(&invoice(true), Duration::from_secs(60)).unwrap();
    assert_eq!((with.amt_msat, with.fee_limit_msat, with.timeout_seconds), (0, 0, 60));
    assert_eq!((with.payment_request.as_str(), with.payment_hash.len()), ("lnbc1", 0));
    let dear = SendOrder { fee_max: msat(1_234), ..invoice(false) };
    let without = request(&dear, Duration::from_secs(60)).unwrap();
    assert_eq!((without.amt_msat, without.fee_limit_msat), (21_000, 1_234));
}

#[test]
fn keysend_carries_the_preimage_and_nothing_that_belongs_to_lightning() {
    let keysend =
        |records: Vec<TlvRecord>| order(SendTarget::Keysend { payee: "02".repeat(33), preimage: Preimage([7; 32]), records });
    let record = |kind| TlvRecord { kind, value: b"x".to_vec() };
    let asked = request(&keysend(vec![record(7_629_169)]), Duration::from_secs(60)).unwrap();
    assert_eq!(asked.payment_hash, Preimage([7; 32]).hash().0);
    assert_eq!((asked.dest.len(), asked.amt_msat, asked.max_parts), (33, 21_000, 1));
    assert_eq!(asked.dest_custom_records.get(&5_482_373_484).unwrap(), &[7; 32]);
    assert_eq!(asked.dest_custom_records.get(&7_629_169).unwrap(), b"x");
    for bad in [vec![record(65_535)], vec![record(5_482_373_484)], vec![record(70_001), record(70_001)]] {
        assert!(request(&keysend(bad), Duration::from_secs(60)).unwrap_err().contains("no money moved"));
    }
}

#[test]
fn a_held_payment_says_how_much_and_until_when() {
    let htlc = |amt_msat, expiry_height, state| InvoiceHtlc { amt_msat, expiry_height, state, ..InvoiceHtlc::default() };
    let invoice = Invoice {
        r_hash: vec![9; 32],
        state: InvoiceState::Accepted.into(),
        htlcs: vec![htlc(1_000, 900, 0), htlc(2_000, 880, 0), htlc(5_000, 10, 2)],
        ..Invoice::default()
    };
    let held = IncomingState::Held { settle_deadline: Some(880) };
    assert_eq!(invoices::report(&invoice), Some(Incoming { hash: Hex32([9; 32]), amount: msat(3_000), state: held }));

    let settled =
        Invoice { state: InvoiceState::Settled.into(), amt_paid_msat: 2_999, r_preimage: vec![4; 32], ..invoice.clone() };
    let state = IncomingState::Settled { preimage: Some(Preimage([4; 32])) };
    assert_eq!(invoices::report(&settled), Some(Incoming { hash: Hex32([9; 32]), amount: msat(2_999), state }));
    let open = Invoice { state: InvoiceState::Open.into(), ..invoice.clone() };
    assert_eq!(invoices::report(&open), None);
    assert_eq!(invoices::report(&Invoice { r_hash: vec![1; 5], ..invoice }), None, "no hash");
}
