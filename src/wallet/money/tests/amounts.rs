//! Which invoices and amounts are paid, and with which words the others are refused.

use super::super::types::*;
use super::support::*;
use crate::base::amount::Msat;
use crate::wallet::backend::Network;
use crate::wallet::backend::bolt11::Decoded;

const RICH: u64 = 1_000_000_000;

struct Case {
    name: &'static str,
    invoice: Decoded,
    given: Option<u64>,
    /// Code and words of the refusal; `None`: sent.
    refused: Option<(ErrorCode, &'static str)>,
}

fn case(name: &'static str, invoice: Decoded, given: Option<u64>, refused: Option<(ErrorCode, &'static str)>) -> Case {
    Case { name, invoice, given, refused }
}

#[test]
fn one_amount_is_checked_held_and_sent() {
    let other_network = Decoded { network: Network::Mainnet, ..foreign(1, Some(5_000)) };
    let over = Decoded { expires_at_s: START_MS / 1_000, ..foreign(1, Some(5_000)) };
    let last_second = Decoded { expires_at_s: START_MS / 1_000 + 1, ..foreign(1, Some(5_000)) };
    let cases = [
        case("fixed", foreign(1, Some(5_000)), None, None),
        case("fixed, the same given", foreign(1, Some(5_000)), Some(5_000), None),
        case("fixed, less given", foreign(1, Some(5_000)), Some(4_999), Some((ErrorCode::Other, "the invoice is for 5000 msat"))),
        case("fixed, more given", foreign(1, Some(5_000)), Some(5_001), Some((ErrorCode::Other, "the request says 5001 msat"))),
        case("fixed, zero given", foreign(1, Some(5_000)), Some(0), Some((ErrorCode::Other, "nothing was paid"))),
        case("open, given", foreign(1, None), Some(1), None),
        case("open, none given", foreign(1, None), None, Some((ErrorCode::Other, "has no amount"))),
        case("open, zero given", foreign(1, None), Some(0), Some((ErrorCode::Other, "has no amount"))),
        case("all there is", foreign(1, None), Some(Msat::MAX.get()), Some((ErrorCode::Other, "more than there will ever be"))),
        case("2^53 + 1", foreign(1, None), Some((1 << 53) + 1), Some((ErrorCode::InsufficientBalance, "9007199254740993 msat"))),
        case("other network", other_network, None, Some((ErrorCode::Other, "is for mainnet, this wallet is on regtest"))),
        case("expired now", over, None, Some((ErrorCode::PaymentFailed, "expired 0 s ago"))),
        case("last second", last_second, None, None),
    ];
    for case in cases {
        let mut core = Core::with(&[(RICH, None)]);
        let amount = case.invoice.amount.map(Msat::get).or(case.given);
        let hash = case.invoice.hash;
        let (effects, reply) = core.pay(request(0, 1), case.invoice, case.given);
        assert_eq!(reply, PayReply::Durable, "{}", case.name);
        match case.refused {
            None => {
                assert_eq!(sends(&effects), 1, "{}", case.name);
                let held = RICH - core.spendable(1);
                let intent = &core.state.open[&hash].intent;
                assert_eq!(Some(intent.amount.get()), amount, "{}", case.name);
                assert_eq!(held, intent.amount.get() + intent.fee_max.get(), "{}", case.name);
            }
            Some((code, words)) => {
                let refusal = refused(&effects).unwrap();
                assert_eq!((refusal.code, sends(&effects)), (code, 0), "{}: {refusal}", case.name);
                assert!(refusal.message.contains(words), "{}: {refusal}", case.name);
                assert_eq!(core.spendable(1), RICH, "{}", case.name);
            }
        }
    }
}

#[test]
fn the_fee_reserve_is_rounded_up_and_never_nothing() {
    let limits = super::super::payment::Limits::default();
    for (amount, reserve) in [(1, 10_000), (1_000_000, 10_000), (1_000_001, 10_001), (1_000_100, 10_001), (5_000_000, 50_000)] {
        assert_eq!(limits.fee_reserve(msat(amount)), msat(reserve), "{amount}");
    }
    assert_eq!(limits.fee_reserve(Msat::MAX).get(), Msat::MAX.get() / 100);
}

#[test]
fn refusals_say_what_was_needed_and_what_there_is() {
    let mut core = Core::with(&[(100_000, Some(50_000))]);
    let (effects, _) = core.pay(request(0, 1), foreign(1, Some(60_000)), None);
    assert_eq!(
        refused(&effects).unwrap().to_string(),
        "QUOTA_EXCEEDED: needed: 60000 msat and 10000 msat fee reserve; left of the daily budget: 50000 msat of 50000 msat \
         (0 msat held for payments under way)"
    );
    let mut core = Core::with(&[(15_000, None)]);
    let (effects, _) = core.pay(request(0, 1), foreign(1, Some(6_000)), None);
    assert_eq!(
        refused(&effects).unwrap().to_string(),
        "INSUFFICIENT_BALANCE: needed: 6000 msat and 10000 msat fee reserve; the account has 15000 msat to spend"
    );
    let mut core = Core::with(&[(RICH, None)]);
    core.connect(0, ConnectionRules { payment_max: Some(msat(5_000)), ..rules(1, None) });
    assert_eq!(sends(&core.pay(request(0, 1), foreign(1, Some(5_000)), None).0), 1);
    let (effects, _) = core.pay(request(0, 2), foreign(2, Some(5_001)), None);
    assert_eq!(refused(&effects).unwrap().code, ErrorCode::QuotaExceeded);
}
