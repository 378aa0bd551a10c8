//! The past, read from the committed journal on the caller's thread: what was settled or held since a moment, and everything there
//! ever was, for an export.

use super::super::index::{JOURNAL, LISTS, Scope, list_end, list_prefix, read_list_key, read_list_value};
use super::super::journal::Shelf;
use super::super::layout;
use super::super::payment::RowsError;
use super::super::record::{Ending, Entry, Record};
use super::super::types::{AccountId, Direction, Held, NEWS_MAX, Settled, Transaction, Viewer};
use super::read::transaction;

/// The news that a record is: who paid, who got it.
pub(super) fn settled(entry: &Entry) -> [Option<Settled>; 2] {
    let (seq, at_s) = (entry.seq, entry.at_ms / 1_000);
    match &entry.record {
        Record::Done(done) if matches!(done.ending, Ending::Settled { .. }) => {
            let got = done.payee.map(|payee| Settled {
                seq,
                at_s,
                direction: Direction::Incoming,
                account: payee.account,
                connection: payee.connection,
                hash: done.hash,
            });
            let (account, connection) = (done.account, done.connection);
            [got, Some(Settled { seq, at_s, direction: Direction::Outgoing, account, connection, hash: done.hash })]
        }
        Record::Received { hash, payee, .. } => {
            let (account, connection) = (payee.account, payee.connection);
            [Some(Settled { seq, at_s, direction: Direction::Incoming, account, connection, hash: *hash }), None]
        }
        _ => [None, None],
    }
}

/// In order; the newest [`NEWS_MAX`].
pub(super) fn settled_since(shelf: &Shelf, since_s: u64) -> Result<Vec<Settled>, RowsError> {
    newest(shelf, since_s, |entry| settled(entry).into_iter().rev().flatten().collect())
}

/// In order; the newest [`NEWS_MAX`].
pub(super) fn held_since(shelf: &Shelf, since_s: u64) -> Result<Vec<Held>, RowsError> {
    newest(shelf, since_s, |entry| held(entry).into_iter().collect())
}

/// The news that a record is: a hold invoice was paid.
pub(super) fn held(entry: &Entry) -> Option<Held> {
    let Record::Accepted(accepted) = &entry.record else { return None };
    Some(Held {
        seq: entry.seq,
        at_s: entry.at_ms / 1_000,
        account: accepted.payee.account,
        connection: accepted.payee.connection,
        hash: accepted.hash,
        expires_at_s: accepted.expires_at_s,
        settle_deadline: accepted.settle_deadline,
    })
}

/// Walks back from the end of the journal to the moment.
fn newest<T>(shelf: &Shelf, since_s: u64, news: impl Fn(&Entry) -> Vec<T>) -> Result<Vec<T>, RowsError> {
    let read = |error: crate::kv::ReadError| RowsError(error.to_string());
    let mut cursor = shelf.0.cursor(JOURNAL, &[], &[], None).map_err(read)?;
    cursor.seek_last();
    let mut found = Vec::new();
    while let Some((key, value)) = cursor.entry().map_err(read)? {
        let seq = key.try_into().map(u64::from_be_bytes).map_err(|_| RowsError("a record without a number".to_owned()))?;
        let (entry, _) = layout::decode(seq, value).ok_or_else(|| RowsError(format!("record {seq} is damaged")))?;
        if entry.at_ms / 1_000 < since_s || found.len() >= NEWS_MAX {
            break;
        }
        found.extend(news(&entry));
        cursor.prev();
    }
    found.truncate(NEWS_MAX);
    found.reverse();
    Ok(found)
}

/// Oldest first, until `each` says that it is enough.
pub(super) fn export(
    shelf: &Shelf,
    account: Option<AccountId>,
    now_s: u64,
    each: &mut dyn FnMut(Transaction) -> bool,
) -> Result<(), RowsError> {
    let read = |error: crate::kv::ReadError| RowsError(error.to_string());
    let (scope, viewer) = account.map_or((Scope::All, Viewer::Owner), |id| (Scope::Account(id), Viewer::Account(id)));
    let mut cursor = shelf.0.cursor(LISTS, &list_prefix(scope), &list_end(scope), None).map_err(read)?;
    cursor.seek_last();
    while let Some((key, value)) = cursor.entry().map_err(read)? {
        let ((_, seq), value) = (read_list_key(key)?, read_list_value(value)?);
        if !each(transaction(shelf, seq, value, viewer, now_s)?) {
            break;
        }
        cursor.prev();
    }
    Ok(())
}
