//! Look-ups and lists: read from the committed journal on the caller's thread.

use super::super::index::{LISTS, ListState, ListValue, Scope, list_end, list_key, list_prefix, read_list_key, read_list_value};
use super::super::journal::Shelf;
use super::super::payment::RowsError;
use super::super::rows;
use super::super::transaction::{incoming, outgoing};
use super::super::types::{
    AccountId, ConnectionId, Direction, LIST_ROWS_MAX, LIST_WALK_MAX, ListQuery, Page, Selector, Transaction, Viewer,
};
use crate::base::hex32::PaymentHash;
use crate::wallet::backend::bolt11::Unchecked;

/// What a viewer may see: one account, or everything; and which connection looks.
#[derive(Clone, Copy)]
pub(super) struct Eyes {
    pub(super) viewer: Viewer,
    /// `None`: the owner.
    pub(super) account: Option<AccountId>,
}

impl Eyes {
    fn see(&self, transaction: &Transaction) -> bool {
        self.account.is_none_or(|account| account == transaction.account)
    }

    fn connection(&self) -> Option<ConnectionId> {
        match self.viewer {
            Viewer::Connection(id) => Some(id),
            Viewer::Account(_) | Viewer::Owner => None,
        }
    }
}

/// One transaction. Where a hash is an invoice and a payment of the same account, the viewer's own comes first, then the invoice.
pub(super) fn lookup(shelf: &Shelf, eyes: Eyes, selector: &Selector, now_s: u64) -> Result<Option<Transaction>, RowsError> {
    let (hash, text) = match selector {
        Selector::Hash(hash) => (*hash, None),
        Selector::Payment(hash) => {
            return Ok(rows::payment(shelf, hash)?.map(|row| outgoing(&row, eyes.viewer)).filter(|one| eyes.see(one)));
        }
        Selector::Receipt(hash) => {
            return Ok(rows::invoice(shelf, hash)?.map(|row| incoming(&row, eyes.viewer, now_s)).filter(|one| eyes.see(one)));
        }
        Selector::Invoice(text) => {
            match Unchecked::parse(text).ok().and_then(|read| Some((read.hash()?, read.text().to_owned()))) {
                Some((hash, text)) => (hash, Some(text)),
                None => return Ok(None),
            }
        }
    };
    let found = both(shelf, &hash, eyes.viewer, now_s)?;
    let mut seen = found.into_iter().flatten().filter(|one| eyes.see(one) && (text.is_none() || one.invoice == text));
    let (first, second) = (seen.next(), seen.next());
    let is_own = |one: &Transaction| Some(one.connection) == eyes.connection();
    Ok(match (first, second) {
        (Some(invoice), Some(payment)) if is_own(&payment) && !is_own(&invoice) => Some(payment),
        (first, _) => first,
    })
}

fn both(shelf: &Shelf, hash: &PaymentHash, viewer: Viewer, now_s: u64) -> Result<[Option<Transaction>; 2], RowsError> {
    let invoice = rows::invoice(shelf, hash)?.map(|row| incoming(&row, viewer, now_s));
    let payment = rows::payment(shelf, hash)?.map(|row| outgoing(&row, viewer));
    Ok([invoice, payment])
}

/// A page, newest first.
pub(super) fn list(shelf: &Shelf, eyes: Eyes, query: &ListQuery, now_s: u64) -> Result<Page, RowsError> {
    list_within(shelf, eyes, query, now_s, LIST_WALK_MAX)
}

fn list_within(shelf: &Shelf, eyes: Eyes, query: &ListQuery, now_s: u64, walk_max: usize) -> Result<Page, RowsError> {
    let scope = eyes.account.map_or(Scope::All, Scope::Account);
    let until_s = query.until_s.unwrap_or(now_s);
    let newest = list_key(scope, until_s.saturating_mul(1_000).saturating_add(999), u64::MAX);
    let oldest_ms = query.from_s.unwrap_or(0).saturating_mul(1_000);
    let limit = query.limit.unwrap_or(LIST_ROWS_MAX).min(LIST_ROWS_MAX);
    let read = |error: crate::kv::ReadError| RowsError(error.to_string());
    let mut cursor = shelf.0.cursor(LISTS, &list_prefix(scope), &list_end(scope), None).map_err(read)?;
    cursor.seek(&newest);
    let (mut page, mut matched, mut walked) = (Page::default(), 0_usize, 0_usize);
    while let Some((key, value)) = cursor.entry().map_err(read)? {
        let ((created_ms, seq), value) = (read_list_key(key)?, read_list_value(value)?);
        if created_ms < oldest_ms {
            break;
        }
        if walked >= walk_max {
            page.cut_at_s = (page.transactions.len() < limit).then_some(created_ms / 1_000);
            break;
        }
        walked += 1;
        if matches(query, value) {
            matched += 1;
            if matched > query.offset && page.transactions.len() < limit {
                page.transactions.push(transaction(shelf, seq, value, eyes.viewer, now_s)?);
            }
        }
        if page.transactions.len() >= limit && !query.count {
            break;
        }
        cursor.next();
    }
    page.total = (query.count && walked < walk_max).then_some(matched as u64);
    Ok(page)
}

/// Payments under way are always shown: people pay twice what they cannot see.
fn matches(query: &ListQuery, value: ListValue) -> bool {
    let shown = match (value.direction, value.state) {
        (_, ListState::Settled) | (Direction::Outgoing, ListState::Open) => true,
        (Direction::Incoming, ListState::Open) | (_, ListState::Failed) => query.unpaid,
    };
    shown && query.direction.is_none_or(|direction| direction == value.direction)
}

pub(super) fn transaction(
    shelf: &Shelf,
    seq: u64,
    value: ListValue,
    viewer: Viewer,
    now_s: u64,
) -> Result<Transaction, RowsError> {
    Ok(match value.direction {
        Direction::Incoming => incoming(&rows::invoice_at(shelf, seq, Some(value.end))?, viewer, now_s),
        Direction::Outgoing => outgoing(&rows::payment_at(shelf, seq, value.end)?, viewer),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::index::{FAMILIES, list_value};
    use super::*;
    use crate::base::amount::Msat;
    use crate::kv;

    #[test]
    fn a_walk_that_ends_early_says_how_far_it_came() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf(kv::Db::open(dir.path(), &FAMILIES, &kv::Config::default()).unwrap());
        let mut batch = kv::Batch::new();
        let unpaid = ListValue { direction: Direction::Incoming, state: ListState::Open, end: 0, cost: Msat::ZERO };
        for seq in 1..=30 {
            batch.put(LISTS, &list_key(Scope::All, seq * 1_000, seq), &list_value(unpaid));
        }
        shelf.0.commit(&batch, kv::Sync::Yes).unwrap();
        let eyes = Eyes { viewer: Viewer::Owner, account: None };
        let query = ListQuery { count: true, ..ListQuery::default() };
        let page = list_within(&shelf, eyes, &query, 100, 10).unwrap();
        assert_eq!((page.transactions.len(), page.total, page.cut_at_s), (0, None, Some(20)));
        let rest = ListQuery { until_s: page.cut_at_s, ..query.clone() };
        assert_eq!(list_within(&shelf, eyes, &rest, 100, 10).unwrap().cut_at_s, Some(10), "asked again from there");
        let page = list_within(&shelf, eyes, &query, 100, 31).unwrap();
        assert_eq!((page.transactions.len(), page.total, page.cut_at_s), (0, Some(0), None));
    }
}
