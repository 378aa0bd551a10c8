//! Payment instructions (BIP 321 and what wallets paste instead): which invoice they ask to be paid, and for how much.
//!
//! Only BOLT 11 can be paid here. Everything that cannot be honoured is refused before anything is paid: unknown `req-`
//! parameters, a required proof of payment, an amount that is none.

use std::borrow::Cow;

use crate::base::amount::Msat;
use crate::wallet::terms::{ErrorCode, Refusal};

/// Most parameters of one URI.
const PARAMETERS_MAX: usize = 64;
/// Digits after the point of an amount in bitcoin, and what the last of them is worth.
const DECIMALS: usize = 8;
const MSAT_PER_UNIT: u64 = 1_000;
/// Longest whole part of an amount in bitcoin: there are 21 million of them.
const WHOLE_DIGITS_MAX: usize = 8;

/// The invoice to be paid.
#[derive(Debug, PartialEq, Eq)]
pub struct Instruction {
    /// BOLT 11, as it stood there.
    pub bolt11: String,
    /// What the URI around it asks for.
    pub amount: Option<Msat>,
}

/// Chooses what to pay.
pub fn select(payment: &str) -> Result<Instruction, Refusal> {
    let payment = payment.trim();
    if let Some(rest) = after_scheme(payment, "bitcoin:") {
        return select_in_uri(rest);
    }
    let text = after_scheme(payment, "lightning:").unwrap_or(payment);
    if is_bolt11(text) { Ok(Instruction { bolt11: text.to_owned(), amount: None }) } else { Err(unsupported()) }
}

/// `bitcoin:?lightning=...`, the URI for an invoice made here.
pub fn uri_for(bolt11: &str) -> String {
    format!("bitcoin:?lightning={bolt11}")
}

fn select_in_uri(rest: &str) -> Result<Instruction, Refusal> {
    let (_, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (mut bolt11, mut amount) = (None, None);
    for (count, parameter) in query.split('&').filter(|parameter| !parameter.is_empty()).enumerate() {
        if count >= PARAMETERS_MAX {
            return Err(bad("the URI has more parameters than any wallet writes"));
        }
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match key.to_ascii_lowercase().as_str() {
            "amount" if amount.is_some() => return Err(bad("the URI names two amounts")),
            "amount" => amount = Some(bitcoin_amount(&decoded(value)?).ok_or_else(|| bad("the amount of the URI is none"))?),
            "lightning" => {
                let text = decoded(value)?;
                if bolt11.is_none() && is_bolt11(&text) {
                    bolt11 = Some(text.into_owned());
                }
            }
            "req-pop" => return Err(bad("the URI requires a proof of payment that this wallet cannot give; nothing was paid")),
            key if key.starts_with("req-") => {
                return Err(bad("the URI requires something that this wallet does not know; nothing was paid"));
            }
            _ => {}
        }
    }
    bolt11.map(|bolt11| Instruction { bolt11, amount }).ok_or_else(unsupported)
}

fn after_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let head = text.get(..scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then(|| &text[scheme.len()..])
}

/// By its first letters; whether it is a good one is for its decoder.
fn is_bolt11(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix("ln") else { return false };
    ["bcrt", "bc", "tbs", "tb", "sb"].iter().any(|network| rest.starts_with(network)) && lower.contains('1')
}

/// A decimal number of bitcoin, without sign or exponent, to the last satoshi.
fn bitcoin_amount(text: &str) -> Option<Msat> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = !(whole.is_empty() && fraction.is_empty()) && digits(whole) && digits(fraction);
    if !is_number || whole.len() > WHOLE_DIGITS_MAX || fraction.len() > DECIMALS {
        return None;
    }
    let units: u64 = format!("0{whole}{fraction:0<DECIMALS$}").parse().ok()?;
    Msat::new(units.checked_mul(MSAT_PER_UNIT)?).ok().filter(|amount| *amount > Msat::ZERO)
}

fn decoded(text: &str) -> Result<Cow<'_, str>, Refusal> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let broken = || bad("the URI is broken: a % must be followed by two hex digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(*byte).to_digit(16));
        let (high, low) = (digit().ok_or_else(broken)?, digit().ok_or_else(broken)?);
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| broken())?);
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| broken())
}

fn bad(words: &'static str) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, words)
}

fn unsupported() -> Refusal {
    let words = "this wallet pays BOLT11 invoices only: as they are, after lightning: or in a bitcoin: URI with lightning=";
    Refusal::new(ErrorCode::UnsupportedPaymentInstruction, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(payment: &str) -> &'static str {
        select(payment).unwrap_err().code.as_str()
    }

    #[test]
    fn every_form_of_an_invoice_is_found() {
        let forms = [
            "lnbcrt1pabc",
            " lightning:lnbcrt1pabc",
            "LIGHTNING:lnbcrt1pabc",
            "bitcoin:?lightning=lnbcrt1pabc",
            "BITCOIN:BC1QABC?label=x&LIGHTNING=lnbcrt1pabc&lno=lno1abc",
            "bitcoin:?lno=lno1abc&lightning=%6cnbcrt1pabc&pop=app%3a",
        ];
        for payment in forms {
            assert_eq!(select(payment).map(|found| found.bolt11), Ok("lnbcrt1pabc".to_owned()), "{payment}");
        }
        assert_eq!(select("lightning:LNBC1X").unwrap().bolt11, "LNBC1X");
        assert_eq!(select(&uri_for("lnbc1x")).unwrap(), Instruction { bolt11: "lnbc1x".to_owned(), amount: None });
    }

    #[test]
    fn amounts_are_decimal_bitcoin() {
        let amount = |text: &str| select(&format!("bitcoin:?amount={text}&lightning=lnbc1x")).map(|found| found.amount);
        for (text, msat) in [("1", 100_000_000_000), ("0.00000001", 1_000), (".5", 50_000_000_000), ("20.3", 2_030_000_000_000)] {
            assert_eq!(amount(text), Ok(Msat::new(msat).ok()), "{text}");
        }
        for text in ["", "0", "1e3", "-1", "+1", "1,5", "0.000000001", "999999999", "1.2.3", "0x1", "%31%", "1&amount=1"] {
            assert!(amount(text).is_err(), "{text} was read");
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_before_anything_is_paid() {
        for payment in ["bitcoin:bc1qabc", "bitcoin:?lno=lno1abc", "lno1abc", "lnurl1dp68gurn", "me@example.com", "x"] {
            assert_eq!(code(payment), "UNSUPPORTED_PAYMENT_INSTRUCTION", "{payment}");
        }
        for query in ["req-pop=a", "req-new=1", "amount=x", "lightning=%zz", "lightning=%ff"] {
            assert_eq!(code(&format!("bitcoin:?{query}&lightning=lnbc1x")), "BAD_REQUEST", "{query}");
        }
        let many = "a=1&".repeat(PARAMETERS_MAX + 1);
        assert_eq!(code(&format!("bitcoin:?{many}lightning=lnbc1x")), "BAD_REQUEST");
    }
}
