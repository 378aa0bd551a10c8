//! `pay` (extension 321): pays the BOLT 11 invoice of a BIP 321 URI. What cannot be honoured is refused before anything is paid.

use serde::Serialize;

use super::Errand;
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;
use crate::wallet::backend::Network;
use crate::wallet::backend::bolt11::{DecodeError, Decoded, decode};
use crate::wallet::money::types::PayTarget;
use crate::wallet::terms::{ErrorCode, Preimage, Refusal};
use crate::wallet::wire::instruction::{Instruction, select};
use crate::wallet::wire::request::Pay;

/// The only kind of instruction that is paid here.
const BOLT11: &str = "bolt11";

/// The result. A payment that failed is an error and never this.
#[derive(Serialize, Debug)]
pub struct Progress {
    transaction_id: PaymentHash,
    state: &'static str,
    instruction_type: &'static str,
    amount: Msat,
    #[serde(skip_serializing_if = "Option::is_none")]
    fees_paid: Option<Msat>,
    payment_hash: PaymentHash,
    #[serde(skip_serializing_if = "Option::is_none")]
    preimage: Option<String>,
    created_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_at: Option<u64>,
}

impl Progress {
    /// The payee has it.
    pub fn settled(preimage: Preimage, amount: Msat, fees_paid: Msat, created_at_s: u64, now_s: u64) -> Self {
        let hash = preimage.hash();
        Self {
            transaction_id: hash,
            state: "settled",
            instruction_type: BOLT11,
            amount,
            fees_paid: Some(fees_paid),
            payment_hash: hash,
            preimage: Some(preimage.to_hex()),
            created_at: created_at_s.min(now_s),
            settled_at: Some(now_s),
        }
    }

    /// It is under way; `lookup_invoice` and the notification `payment_sent` tell the rest.
    pub fn pending(hash: PaymentHash, amount: Msat, created_at_s: u64) -> Self {
        Self {
            transaction_id: hash,
            state: "pending",
            instruction_type: BOLT11,
            amount,
            fees_paid: None,
            payment_hash: hash,
            preimage: None,
            created_at: created_at_s,
            settled_at: None,
        }
    }
}

/// What a payment under way can be told of: its hash and its amount.
pub type Known = (PaymentHash, Msat);

/// A payment whose instruction was chosen and read.
#[derive(Debug)]
pub struct Chosen {
    /// What is to be paid.
    pub errand: Errand,
    /// Names the payment.
    pub hash: PaymentHash,
    /// What the payee gets.
    pub amount: Msat,
    /// Most that it may cost on top, where the client says so.
    pub fee_max: Option<Msat>,
}

/// Whether the payment keeps to the fee that the client allows: the wallet may spend its whole reserve, except on an invoice made
/// here (`is_inside`), which costs nothing.
pub fn check_fee(chosen: &Chosen, reserve: Msat, is_inside: bool) -> Result<(), Refusal> {
    match chosen.fee_max {
        Some(fee_max) if !is_inside && fee_max < reserve => {
            let words = format!("this payment may cost up to {reserve} in fees, the request allows {fee_max}; nothing was paid");
            Err(Refusal::new(ErrorCode::FeeLimitExceeded, words))
        }
        _ => Ok(()),
    }
}

/// Chooses the instruction and checks network and amounts.
pub fn choose(network: Network, pay: Pay) -> Result<Chosen, Refusal> {
    let Instruction { bolt11, amount: of_uri } = select(&pay.payment)?;
    let invoice = decode(&bolt11).map_err(|error| match error {
        DecodeError::Network => foreign("another network", network),
        error => bad(error.to_string()),
    })?;
    if invoice.network != network {
        return Err(foreign(invoice.network.as_str(), network));
    }
    let amount = one_amount(&invoice, of_uri, pay.amount_msat)?;
    let target = PayTarget::Invoice { bolt11, amount: Some(amount) };
    let errand = Errand { target, metadata: pay.metadata };
    Ok(Chosen { errand, hash: invoice.hash, amount, fee_max: pay.fee_max })
}

/// All amounts that are named must be the same one.
fn one_amount(invoice: &Decoded, of_uri: Option<Msat>, of_request: Option<Msat>) -> Result<Msat, Refusal> {
    let mut named = [("the invoice", invoice.amount), ("the URI", of_uri), ("the request", of_request)]
        .into_iter()
        .filter_map(|(who, amount)| amount.map(|amount| (who, amount)));
    let Some((first, amount)) = named.next() else {
        return Err(bad("neither the payment nor the request names an amount".to_owned()));
    };
    if let Some((other, differs)) = named.find(|(_, other)| *other != amount) {
        return Err(bad(format!("{first} says {amount}, {other} says {differs}; nothing was paid")));
    }
    if amount == Msat::ZERO { Err(bad("the amount must be above zero".to_owned())) } else { Ok(amount) }
}

fn bad(words: String) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, words)
}

fn foreign(theirs: &str, ours: Network) -> Refusal {
    let words = format!("the invoice is for {theirs}, this wallet is on {}; nothing was paid", ours.as_str());
    Refusal::new(ErrorCode::UnsupportedNetwork, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_limit_below_what_may_be_spent_is_refused_unless_it_stays_inside() {
        let msat = |msat| Msat::new(msat).unwrap();
        let target = PayTarget::Invoice { bolt11: "lnbc1".to_owned(), amount: None };
        let errand = Errand { target, metadata: None };
        let mut chosen = Chosen { errand, hash: PaymentHash::from([1; 32]), amount: msat(1_000_000), fee_max: Some(msat(9_999)) };
        let refused = check_fee(&chosen, msat(10_000), false).unwrap_err();
        assert_eq!(refused.code.as_str(), "FEE_LIMIT_EXCEEDED");
        assert_eq!(check_fee(&chosen, msat(10_000), true), Ok(()));
        for fee_max in [None, Some(msat(10_000)), Some(msat(10_001))] {
            chosen.fee_max = fee_max;
            assert_eq!(check_fee(&chosen, msat(10_000), false), Ok(()), "{fee_max:?}");
        }
    }
}
