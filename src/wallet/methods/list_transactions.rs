//! `list_transactions`: the account's invoices and payments, newest creation first.
//!
//! The answer is bounded in bytes, not only in rows: as many rows as fit, so that the event stays below what relays and clients
//! take (wallet.md 5.8). Who wants more asks again with an offset; `total_count` says how many there are.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Desk, transaction_json, unreadable};
use crate::wallet::money::types::{self, LIST_WALK_MAX, ListQuery};
use crate::wallet::terms::Refusal;
use crate::wallet::wire::error::{internal, other};
use crate::wallet::wire::request::{Direction, ListTransactions};
use crate::wallet::wire::response::PLAINTEXT_MAX_BYTES;

/// What the response around the rows takes: keys, the method's name, a count of 20 digits.
const AROUND_BYTES: usize = 256;

/// The result.
#[derive(Serialize, Debug)]
pub struct Transactions {
    transactions: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_count: Option<u64>,
}

/// Answers.
pub fn run(desk: &Desk<'_>, list: ListTransactions) -> Result<Transactions, Refusal> {
    let query = ListQuery {
        from_s: list.from_s,
        until_s: list.until_s,
        limit: list.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        offset: usize::try_from(list.offset).unwrap_or(usize::MAX),
        unpaid: list.unpaid,
        direction: list.direction.map(|direction| match direction {
            Direction::Incoming => types::Direction::Incoming,
            Direction::Outgoing => types::Direction::Outgoing,
        }),
        count: true,
    };
    let page = desk.money.list(desk.viewer(), &query).map_err(|error| unreadable(&error))?;
    if let Some(at_s) = page.cut_at_s.filter(|_| page.transactions.is_empty()) {
        return Err(blind(at_s));
    }
    let mut transactions = Vec::with_capacity(page.transactions.len());
    let mut left = PLAINTEXT_MAX_BYTES - AROUND_BYTES;
    for transaction in page.transactions {
        let row = to_raw_value(&transaction_json(transaction)).map_err(|_| internal())?;
        let Some(rest) = left.checked_sub(row.get().len() + 1) else { break };
        left = rest;
        transactions.push(row);
    }
    Ok(Transactions { transactions, total_count: page.total })
}

/// Nothing was found, which is not the same as that there is nothing.
fn blind(at_s: u64) -> Refusal {
    let words = format!(
        "of the newest {LIST_WALK_MAX} transactions and invoices none is left to show; there may be older ones: ask with \"until\": {at_s}, \
         or with \"unpaid\": true"
    );
    other(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_nothing_is_told_from_where_to_look_on() {
        let words = blind(1_700_000_000).message;
        assert!(words.contains("20000") && words.contains("\"until\": 1700000000"), "{words}");
    }
}
