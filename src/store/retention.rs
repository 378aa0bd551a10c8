//! What has to go: expired events (NIP-40), a few at a time.

use super::error::ReadError;
use super::keys::read_expiry_key;
use super::schema::EXPIRY;
use crate::kv::Db;

/// Most events removed in one batch, so that nobody who publishes waits long behind it.
pub(super) const SWEEP_EVENTS: usize = 256;

/// Keys and numbers of the first events that have expired.
pub(super) fn expired(db: &Db, now_s: u64) -> Result<Vec<(Vec<u8>, u64)>, ReadError> {
    let mut due = Vec::new();
    let mut cursor = db.cursor(EXPIRY, b"", b"", None)?;
    cursor.seek_first();
    while due.len() < SWEEP_EVENTS {
        let Some((key, _)) = cursor.entry()? else { break };
        let (expiration, seq) = read_expiry_key(key).ok_or(ReadError::Damaged("an expiry row"))?;
        if expiration > now_s {
            break;
        }
        due.push((key.to_vec(), seq));
        cursor.next();
    }
    Ok(due)
}
