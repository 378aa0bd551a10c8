//! `lookup_invoice`: one invoice or payment of the connection's account.

use super::{Desk, transaction_json, unreadable};
use crate::wallet::money::types::Selector;
use crate::wallet::terms::{ErrorCode, Refusal};
use crate::wallet::wire::request::Lookup;
use crate::wallet::wire::transaction::TransactionJson;

/// Answers.
pub fn run(desk: &Desk<'_>, lookup: Lookup) -> Result<TransactionJson, Refusal> {
    let selector = match lookup {
        Lookup::Hash(hash) => Selector::Hash(hash),
        Lookup::Invoice(invoice) => Selector::Invoice(invoice),
    };
    let found = desk.money.lookup(desk.viewer(), &selector).map_err(|error| unreadable(&error))?;
    found.map(transaction_json).ok_or_else(|| Refusal::new(ErrorCode::NotFound, "this account has no such invoice or payment"))
}
