//! Reads the decrypted request: a method and its parameters.
//!
//! Clients send `params` as an object, as `null` or not at all, and optional parameters as `null`; all of that is no parameter.
//! Unknown parameters are ignored. A method that is not known keeps its name, so that the refusal can say which one it was.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::other;
use super::method::Method;
use crate::base::amount::Msat;
use crate::base::hex32::{Hex32, PaymentHash};
use crate::protocol::json::error_words;
use crate::wallet::terms::{ErrorCode, Refusal};

/// Longest method name that is repeated to a client.
const METHOD_NAME_MAX_CHARS: usize = 64;
/// Longest metadata that is kept (NIP-47 extension 06); longer ones are dropped, not the request.
pub const METADATA_MAX_CHARS: usize = 4_096;
/// Longest description of an invoice (BOLT 11: 639 bytes).
const DESCRIPTION_MAX_BYTES: usize = 639;
/// Longest invoice text that is looked at.
const INVOICE_MAX_BYTES: usize = 8_192;

/// A request, its parameters not yet read.
#[derive(Debug)]
pub struct Request<'a> {
    method: Cow<'a, str>,
    params: Option<&'a RawValue>,
}

/// A request whose parameters were read.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    /// `pay_invoice`
    PayInvoice(PayInvoice),
    /// `make_invoice`
    MakeInvoice(MakeInvoice),
    /// `lookup_invoice`
    LookupInvoice(Lookup),
    /// `list_transactions`
    ListTransactions(ListTransactions),
    /// `get_balance`
    GetBalance,
    /// `get_info`
    GetInfo,
    /// `get_budget`
    GetBudget,
}

/// What to pay.
#[derive(Debug, PartialEq, Eq)]
pub struct PayInvoice {
    /// BOLT 11, without `lightning:`.
    pub invoice: String,
    /// For an invoice without an amount; for one with, it must be the same.
    pub amount_msat: Option<Msat>,
    /// A JSON object as text.
    pub metadata: Option<String>,
}

/// What to ask for.
#[derive(Debug, PartialEq, Eq)]
pub struct MakeInvoice {
    /// 0: the payer decides.
    pub amount_msat: Msat,
    /// What the payer reads.
    pub description: Option<String>,
    /// Hash of a longer description.
    pub description_hash: Option<Hex32>,
    /// Seconds until it can no longer be paid.
    pub expiry_s: Option<u64>,
    /// A JSON object as text.
    pub metadata: Option<String>,
}

/// How a payment is named.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup {
    /// By its hash.
    Hash(PaymentHash),
    /// By the invoice.
    Invoice(String),
}

/// Which transactions to list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ListTransactions {
    /// Oldest creation, unix seconds, inclusive.
    pub from_s: Option<u64>,
    /// Newest creation, unix seconds, inclusive.
    pub until_s: Option<u64>,
    /// At most so many.
    pub limit: Option<u64>,
    /// Leaves out so many of the newest.
    pub offset: u64,
    /// Unpaid and failed ones too.
    pub unpaid: bool,
    /// Only this direction.
    pub direction: Option<Direction>,
}

/// Which way the money goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To this account.
    Incoming,
    /// From this account.
    Outgoing,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with a method and params")]
struct Raw<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

impl<'a> Request<'a> {
    /// Reads the outer object.
    pub fn parse(plaintext: &'a str) -> Result<Self, Refusal> {
        let raw: Raw<'a> = serde_json::from_str(plaintext).map_err(|error| other(format!("request: {}", error_words(&error))))?;
        Ok(Self { method: raw.method, params: raw.params })
    }

    /// What a response calls the method, at most 64 characters of it.
    pub fn result_type(&self) -> String {
        self.method.chars().take(METHOD_NAME_MAX_CHARS).collect()
    }

    /// The method, where it is known here.
    pub fn method(&self) -> Result<Method, Refusal> {
        Method::parse(&self.method)
            .ok_or_else(|| Refusal::new(ErrorCode::NotImplemented, format!("this wallet does not do \"{}\"", self.result_type())))
    }

    /// Reads the parameters of a known method.
    pub fn call(&self, method: Method) -> Result<Call, Refusal> {
        match method {
            Method::PayInvoice => self.params::<RawPay>()?.check().map(Call::PayInvoice),
            Method::MakeInvoice => self.params::<RawMake>()?.check().map(Call::MakeInvoice),
            Method::LookupInvoice => self.params::<RawLookup>()?.check().map(Call::LookupInvoice),
            Method::ListTransactions => self.params::<RawList>().map(|raw| Call::ListTransactions(raw.into())),
            Method::GetBalance => Ok(Call::GetBalance),
            Method::GetInfo => Ok(Call::GetInfo),
            Method::GetBudget => Ok(Call::GetBudget),
        }
    }

    fn params<T: DeserializeOwned + Default>(&self) -> Result<T, Refusal> {
        let Some(params) = self.params else { return Ok(T::default()) };
        serde_json::from_str(params.get()).map_err(|error| other(format!("params: {}", error_words(&error))))
    }
}

#[derive(Deserialize, Default)]
struct RawPay {
    invoice: Option<String>,
    amount: Option<u64>,
    metadata: Option<Box<RawValue>>,
}

impl RawPay {
    fn check(self) -> Result<PayInvoice, Refusal> {
        let invoice = self.invoice.ok_or_else(|| other("params: pay_invoice needs an invoice"))?;
        Ok(PayInvoice {
            invoice: strip(&invoice)?,
            amount_msat: self.amount.map(amount).transpose()?,
            metadata: metadata(self.metadata)?,
        })
    }
}

#[derive(Deserialize, Default)]
struct RawMake {
    amount: Option<u64>,
    description: Option<String>,
    description_hash: Option<String>,
    expiry: Option<u64>,
    metadata: Option<Box<RawValue>>,
}

impl RawMake {
    fn check(self) -> Result<MakeInvoice, Refusal> {
        let amount_msat = amount(self.amount.ok_or_else(|| other("params: make_invoice needs an amount in msat"))?)?;
        if self.description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_MAX_BYTES) {
            return Err(other("params: description is longer than 639 bytes, the most that an invoice can carry"));
        }
        let description_hash = match self.description_hash.as_deref() {
            None | Some("") => None,
            Some(text) => Some(hex("description_hash", text)?),
        };
        Ok(MakeInvoice {
            amount_msat,
            description: self.description.filter(|text| !text.is_empty()),
            description_hash,
            expiry_s: self.expiry.filter(|seconds| *seconds > 0),
            metadata: metadata(self.metadata)?,
        })
    }
}

#[derive(Deserialize, Default)]
struct RawLookup {
    payment_hash: Option<String>,
    invoice: Option<String>,
}

impl RawLookup {
    fn check(self) -> Result<Lookup, Refusal> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        match (given(self.payment_hash), given(self.invoice)) {
            (Some(hash), _) => hex("payment_hash", &hash).map(Lookup::Hash),
            (None, Some(invoice)) => strip(&invoice).map(Lookup::Invoice),
            (None, None) => Err(other("params: lookup_invoice needs a payment_hash or an invoice")),
        }
    }
}

#[derive(Deserialize, Default)]
struct RawList {
    from: Option<u64>,
    until: Option<u64>,
    limit: Option<u64>,
    offset: Option<u64>,
    unpaid: Option<bool>,
    #[serde(rename = "type")]
    direction: Option<Direction>,
}

impl From<RawList> for ListTransactions {
    fn from(raw: RawList) -> Self {
        Self {
            from_s: raw.from,
            until_s: raw.until,
            limit: raw.limit,
            offset: raw.offset.unwrap_or(0),
            unpaid: raw.unpaid.unwrap_or(false),
            direction: raw.direction,
        }
    }
}

fn amount(msat: u64) -> Result<Msat, Refusal> {
    Msat::new(msat).map_err(|error| other(format!("params: {error}")))
}

fn hex(name: &str, text: &str) -> Result<Hex32, Refusal> {
    Hex32::parse(&text.to_ascii_lowercase()).map_err(|_| other(format!("params: {name} must be 64 hex digits")))
}

/// An invoice as wallets paste it: with spaces around it and `lightning:` before it.
fn strip(invoice: &str) -> Result<String, Refusal> {
    let invoice = invoice.trim();
    let bare = match invoice.get(..10) {
        Some(scheme) if scheme.eq_ignore_ascii_case("lightning:") => &invoice[10..],
        _ => invoice,
    };
    match bare.len() {
        0 => Err(other("params: the invoice is empty")),
        1..=INVOICE_MAX_BYTES => Ok(bare.to_owned()),
        _ => Err(other(format!("params: the invoice is longer than {INVOICE_MAX_BYTES} bytes"))),
    }
}

fn metadata(raw: Option<Box<RawValue>>) -> Result<Option<String>, Refusal> {
    let Some(raw) = raw else { return Ok(None) };
    let text = raw.get();
    if !text.starts_with('{') {
        return Err(other("params: metadata must be an object"));
    }
    Ok((text.chars().count() <= METADATA_MAX_CHARS).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Call, Refusal> {
        let request = Request::parse(text)?;
        request.call(request.method()?)
    }

    fn refusal(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn params_may_be_missing_null_or_empty() {
        for params in ["", ",\"params\":null", ",\"params\":{}", ",\"params\":{\"unknown\":[1]}"] {
            let ask = |method: &str| read(&format!("{{\"method\":\"{method}\"{params}}}")).unwrap();
            assert_eq!(ask("get_balance"), Call::GetBalance);
            assert_eq!(ask("get_info"), Call::GetInfo);
            assert_eq!(ask("get_budget"), Call::GetBudget);
            assert_eq!(ask("list_transactions"), Call::ListTransactions(ListTransactions::default()));
        }
    }

    #[test]
    fn an_optional_parameter_that_is_null_is_not_given() {
        let call = read(r#"{"method":"make_invoice","params":{"amount":1000,"description":null,"expiry":0,"metadata":null}}"#);
        let Ok(Call::MakeInvoice(make)) = call else { panic!("{call:?}") };
        assert_eq!((make.amount_msat.get(), make.description, make.expiry_s, make.metadata), (1_000, None, None, None));
    }

    #[test]
    fn invoices_lose_what_wallets_paste_around_them() {
        for text in ["lnbc1", " lnbc1\\n", "lightning:lnbc1", "LIGHTNING:lnbc1"] {
            let call = read(&format!("{{\"method\":\"pay_invoice\",\"params\":{{\"invoice\":\"{text}\"}}}}"));
            let Ok(Call::PayInvoice(pay)) = call else { panic!("{call:?}") };
            assert_eq!(pay.invoice, "lnbc1");
        }
    }

    #[test]
    fn metadata_that_is_too_long_is_dropped_and_the_request_is_not() {
        let of_length = |length: usize| {
            let filler = "x".repeat(length - 8);
            let text = format!("{{\"method\":\"make_invoice\",\"params\":{{\"amount\":1,\"metadata\":{{\"a\":\"{filler}\"}}}}}}");
            match read(&text) {
                Ok(Call::MakeInvoice(make)) => make.metadata,
                unexpected => panic!("{unexpected:?}"),
            }
        };
        assert_eq!(of_length(METADATA_MAX_CHARS).map(|text| text.len()), Some(METADATA_MAX_CHARS));
        assert_eq!(of_length(METADATA_MAX_CHARS + 1), None);
    }

    #[test]
    fn bad_requests_are_refused_with_words_that_name_the_fault() {
        let table = [
            ("", "OTHER: request: EOF while parsing a value"),
            ("[]", "OTHER: request: invalid length 0, expected an object with a method and params"),
            ("{}", "OTHER: request: missing field `method`"),
            (r#"{"method":7}"#, "OTHER: request: invalid type: integer `7`, expected a string"),
            (r#"{"method":"pay_keysend"}"#, "NOT_IMPLEMENTED: this wallet does not do \"pay_keysend\""),
            (r#"{"method":"pay_invoice"}"#, "OTHER: params: pay_invoice needs an invoice"),
            (r#"{"method":"pay_invoice","params":{"invoice":" "}}"#, "OTHER: params: the invoice is empty"),
            (
                r#"{"method":"pay_invoice","params":{"invoice":"a","amount":-1}}"#,
                "OTHER: params: invalid value: integer `-1`, expected u64",
            ),
            (r#"{"method":"make_invoice","params":null}"#, "OTHER: params: make_invoice needs an amount in msat"),
            (
                r#"{"method":"make_invoice","params":{"amount":2100000000000000001}}"#,
                "OTHER: params: amount is above 2,100,000,000,000,000,000 msat, more than there will ever be",
            ),
            (
                r#"{"method":"make_invoice","params":{"amount":1,"description_hash":"00"}}"#,
                "OTHER: params: description_hash must be 64 hex digits",
            ),
            (r#"{"method":"make_invoice","params":{"amount":1,"metadata":[]}}"#, "OTHER: params: metadata must be an object"),
            (r#"{"method":"lookup_invoice","params":{}}"#, "OTHER: params: lookup_invoice needs a payment_hash or an invoice"),
            (
                r#"{"method":"lookup_invoice","params":{"payment_hash":"xyz"}}"#,
                "OTHER: params: payment_hash must be 64 hex digits",
            ),
            (
                r#"{"method":"list_transactions","params":{"type":"sideways"}}"#,
                "OTHER: params: unknown variant `sideways`, expected `incoming` or `outgoing`",
            ),
        ];
        for (text, expected) in table {
            let got = refusal(text);
            assert!(got == expected || got.starts_with(expected), "{text}\n  got {got}\n  not {expected}");
        }
    }

    #[test]
    fn a_method_name_is_repeated_only_so_far() {
        let long = format!("{{\"method\":\"{}\"}}", "m".repeat(10_000));
        let request = Request::parse(&long).unwrap();
        assert_eq!(request.result_type().len(), METHOD_NAME_MAX_CHARS);
        assert!(request.method().unwrap_err().message.len() < 128);
    }
}
