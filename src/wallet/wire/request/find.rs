//! Parameters of the methods that look for transactions.

use serde::Deserialize;

use super::fields::{hex, strip};
use super::other;
use crate::base::hex32::PaymentHash;
use crate::wallet::terms::Refusal;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To this account.
    Incoming,
    /// From this account.
    Outgoing,
}

#[derive(Deserialize, Default)]
pub(super) struct RawLookup {
    payment_hash: Option<String>,
    invoice: Option<String>,
}

impl RawLookup {
    pub(super) fn check(self) -> Result<Lookup, Refusal> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        match (given(self.payment_hash), given(self.invoice)) {
            (Some(hash), _) => hex("payment_hash", &hash).map(Lookup::Hash),
            (None, Some(invoice)) => strip(&invoice).map(Lookup::Invoice),
            (None, None) => Err(other("params: lookup_invoice needs a payment_hash or an invoice")),
        }
    }
}

#[derive(Deserialize, Default)]
pub(super) struct RawList {
    from: Option<u64>,
    until: Option<u64>,
    limit: Option<u64>,
    offset: Option<u64>,
    unpaid: Option<bool>,
    #[serde(rename = "type")]
    direction: Option<String>,
}

impl RawList {
    pub(super) fn check(self) -> Result<ListTransactions, Refusal> {
        let direction = match self.direction.as_deref() {
            None | Some("") => None,
            Some("incoming") => Some(Direction::Incoming),
            Some("outgoing") => Some(Direction::Outgoing),
            Some(_) => return Err(other("params: type must be \"incoming\" or \"outgoing\", or missing for both")),
        };
        Ok(ListTransactions {
            from_s: self.from,
            // 0 is no end: nothing was made in 1970.
            until_s: self.until.filter(|until_s| *until_s > 0),
            limit: self.limit,
            offset: self.offset.unwrap_or(0),
            unpaid: self.unpaid.unwrap_or(false),
            direction,
        })
    }
}
