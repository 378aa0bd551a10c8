//! Reads the decrypted request: a method and its parameters.
//!
//! Clients send `params` as an object, as `null` or not at all, and optional parameters as `null`; all of that is no parameter.
//! Unknown parameters are ignored. A method that is not known keeps its name, so that the refusal can say which one it was.

mod connection;
mod fields;
mod find;
mod pay;
mod receive;

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::other;
use super::method::Method;
use crate::protocol::json::error_words;
use crate::wallet::terms::{ErrorCode, Refusal};
pub use connection::{CreateConnection, METHODS_MAX, SignMessage};
pub use fields::METADATA_MAX_CHARS;
pub use find::{Direction, ListTransactions, Lookup};
pub use pay::{Item, Keysend, MULTI_ITEMS_MAX, Pay, PayInvoice, Tlv};
pub use receive::{CancelHold, MakeHoldInvoice, MakeInvoice, Receive, SettleHold};

/// Longest method name that is repeated to a client.
const METHOD_NAME_MAX_CHARS: usize = 64;

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
    /// `pay_keysend`
    PayKeysend(Keysend),
    /// `multi_pay_invoice`
    MultiPayInvoice(Vec<Item<PayInvoice>>),
    /// `multi_pay_keysend`
    MultiPayKeysend(Vec<Item<Keysend>>),
    /// `pay`
    Pay(Pay),
    /// `make_invoice`
    MakeInvoice(MakeInvoice),
    /// `make_hold_invoice`
    MakeHoldInvoice(MakeHoldInvoice),
    /// `settle_hold_invoice`
    SettleHoldInvoice(SettleHold),
    /// `cancel_hold_invoice`
    CancelHoldInvoice(CancelHold),
    /// `receive`
    Receive(Receive),
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
    /// `sign_message`
    SignMessage(SignMessage),
    /// `create_connection`
    CreateConnection(CreateConnection),
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

    /// What a response calls the method: the name that the client wrote, at most 64 characters of it.
    pub fn result_type(&self) -> String {
        self.method.chars().take(METHOD_NAME_MAX_CHARS).collect()
    }

    /// The method, where it is known here.
    pub fn method(&self) -> Result<Method, Refusal> {
        Method::asked(&self.method)
            .ok_or_else(|| Refusal::new(ErrorCode::NotImplemented, format!("this wallet does not do \"{}\"", self.result_type())))
    }

    /// Reads the parameters of a known method.
    pub fn call(&self, method: Method) -> Result<Call, Refusal> {
        match method {
            Method::PayInvoice => self.params::<pay::RawPay>()?.check().map(Call::PayInvoice),
            Method::PayKeysend => self.params::<pay::RawKeysend>()?.check().map(Call::PayKeysend),
            Method::MultiPayInvoice => self.params::<pay::RawInvoices>()?.check().map(Call::MultiPayInvoice),
            Method::MultiPayKeysend => self.params::<pay::RawKeysends>()?.check().map(Call::MultiPayKeysend),
            Method::MakeInvoice => self.params::<receive::RawMake>()?.check().map(Call::MakeInvoice),
            Method::MakeHoldInvoice => self.params::<receive::RawMakeHold>()?.check().map(Call::MakeHoldInvoice),
            Method::SettleHoldInvoice => self.params::<receive::RawSettle>()?.check().map(Call::SettleHoldInvoice),
            Method::CancelHoldInvoice => self.params::<receive::RawCancel>()?.check().map(Call::CancelHoldInvoice),
            Method::LookupInvoice => self.params::<find::RawLookup>()?.check().map(Call::LookupInvoice),
            Method::ListTransactions => self.params::<find::RawList>()?.check().map(Call::ListTransactions),
            Method::GetBalance => Ok(Call::GetBalance),
            Method::GetInfo => Ok(Call::GetInfo),
            Method::GetBudget => Ok(Call::GetBudget),
            Method::SignMessage => self.params::<connection::RawSign>()?.check().map(Call::SignMessage),
            Method::CreateConnection => self.params::<connection::RawCreate>()?.check().map(Call::CreateConnection),
            Method::Pay => self.params().and_then(pay::RawPay321::check).map(Call::Pay).map_err(bad_request),
            Method::Receive => self.params().and_then(receive::RawReceive::check).map(Call::Receive).map_err(bad_request),
        }
    }

    fn params<T: DeserializeOwned + Default>(&self) -> Result<T, Refusal> {
        let Some(params) = self.params else { return Ok(T::default()) };
        serde_json::from_str(params.get()).map_err(|error| other(format!("params: {}", error_words(&error))))
    }
}

/// Extension 321 has a code of its own for what core methods call `OTHER`.
fn bad_request(refusal: Refusal) -> Refusal {
    match refusal.code {
        ErrorCode::Other => Refusal { code: ErrorCode::BadRequest, ..refusal },
        _ => refusal,
    }
}

#[cfg(test)]
mod tests;
