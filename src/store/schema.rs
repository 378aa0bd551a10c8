//! Families, format version, and the few rows that say what the store is.

use std::path::Path;

use super::config::Config;
use super::error::{OpenError, ReadError};
use super::keys::{FORMAT, Salt};
use crate::kv::{self, Batch, Db, Family, FamilySpec, Shape};

/// Sequence number to event.
pub(super) const EVENTS: Family = Family::nth(0);
/// Id to sequence number.
pub(super) const IDS: Family = Family::nth(1);
/// All events by time.
pub(super) const TIME: Family = Family::nth(2);
/// Events of an author by time.
pub(super) const AUTHORS: Family = Family::nth(3);
/// Events of an author and a kind by time.
pub(super) const AUTHOR_KINDS: Family = Family::nth(4);
/// Events of a kind by time.
pub(super) const KINDS: Family = Family::nth(5);
/// Events with a tag value by time.
pub(super) const TAGS: Family = Family::nth(6);
/// Address to its newest version.
pub(super) const ADDRESSES: Family = Family::nth(7);
/// What expires, by when.
pub(super) const EXPIRY: Family = Family::nth(8);
/// What is deleted for ever.
pub(super) const DELETED: Family = Family::nth(9);
/// What the store knows of itself.
pub(super) const META: Family = Family::nth(10);

/// In the order of the constants above.
const FAMILIES: [FamilySpec; 11] = [
    FamilySpec::new("events", Shape::Log),
    FamilySpec::new("ids", Shape::Lookup),
    FamilySpec::new("time", Shape::Sorted),
    FamilySpec::new("authors", Shape::Ranges { prefix_bytes: 8 }),
    FamilySpec::new("author_kinds", Shape::Ranges { prefix_bytes: 10 }),
    FamilySpec::new("kinds", Shape::Ranges { prefix_bytes: 2 }),
    FamilySpec::new("tags", Shape::Ranges { prefix_bytes: 9 }),
    FamilySpec::new("addresses", Shape::Lookup),
    FamilySpec::new("expiry", Shape::Small),
    FamilySpec::new("deleted", Shape::Lookup),
    FamilySpec::new("meta", Shape::Small),
];

const FORMAT_KEY: &[u8] = b"format";
const SALT_KEY: &[u8] = b"salt";
const STATE_KEY: &[u8] = b"state";
/// What may lie in a directory where making a store was interrupted, and in nobody else's.
const UNFINISHED: [&str; 7] = ["IN_USE", "LOCK", "LOG", "IDENTITY", "MANIFEST-", "OPTIONS-", ".dbtmp"];

/// What is counted in the same batch as the events themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The number of the newest event ever accepted; numbers are never used twice.
    pub seq: u64,
    /// Events stored.
    pub events: u64,
}

impl State {
    /// Adds the row to a batch.
    pub(super) fn put(&self, batch: &mut Batch) {
        let mut value = [0; 16];
        value[..8].copy_from_slice(&self.seq.to_be_bytes());
        value[8..].copy_from_slice(&self.events.to_be_bytes());
        batch.put(META, STATE_KEY, &value);
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let (seq, events) = value.split_at_checked(8)?;
        Some(Self { seq: u64::from_be_bytes(seq.try_into().ok()?), events: u64::from_be_bytes(events.try_into().ok()?) })
    }
}

/// A store that was opened and understood.
pub(super) struct Opened {
    /// The database.
    pub db: Db,
    /// Its salt.
    pub salt: Salt,
    /// Where it stands.
    pub state: State,
}

/// Opens or makes the store in a directory; refuses a newer format and what is no event store.
pub(super) fn open(dir: &Path, config: &Config, cache_bytes: usize) -> Result<Opened, OpenError> {
    refuse_strangers(dir)?;
    let kv =
        kv::Config { cache_bytes, wal_bytes_max: config.wal_bytes_max, faults: config.faults.clone(), ..kv::Config::default() };
    let db = Db::open(dir, &FAMILIES, &kv)?;
    match db.get(META, FORMAT_KEY).map_err(ReadError::from)? {
        None => make(&db, dir)?,
        Some(found) => {
            let found = <[u8; 4]>::try_from(&found[..]).map(u32::from_be_bytes);
            match found {
                Ok(FORMAT) => {}
                Ok(found) => return Err(OpenError::OtherFormat { dir: dir.to_owned(), found, known: FORMAT }),
                Err(_) => return Err(OpenError::Foreign { dir: dir.to_owned() }),
            }
        }
    }
    let salt = db.get(META, SALT_KEY).map_err(ReadError::from)?.and_then(|salt| salt.try_into().ok());
    let salt = Salt(salt.ok_or(ReadError::Damaged("the salt"))?);
    let state = db.get_with(META, STATE_KEY, State::decode).map_err(ReadError::from)?.unwrap_or(Some(State::default()));
    let state = state.ok_or(ReadError::Damaged("the state"))?;
    Ok(Opened { db, salt, state })
}

/// The state as a snapshot sees it.
pub(super) fn state_at(snapshot: &kv::Snapshot) -> Result<State, ReadError> {
    match snapshot.get_with(META, STATE_KEY, State::decode)? {
        None => Ok(State::default()),
        Some(state) => state.ok_or(ReadError::Damaged("the state")),
    }
}

/// Writes the first rows; a directory with events but without them was made by somebody else.
fn make(db: &Db, dir: &Path) -> Result<(), OpenError> {
    let mut cursor = db.cursor(EVENTS, b"", b"", None).map_err(ReadError::from)?;
    cursor.seek_first();
    if cursor.entry().map_err(ReadError::from)?.is_some() {
        return Err(OpenError::Foreign { dir: dir.to_owned() });
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(OpenError::Random)?;
    let mut batch = Batch::new();
    batch.put(META, SALT_KEY, &salt);
    batch.put(META, FORMAT_KEY, &FORMAT.to_be_bytes());
    db.commit(&batch, kv::Sync::Yes)?;
    Ok(())
}

/// A directory that is not empty and no database is left alone.
fn refuse_strangers(dir: &Path) -> Result<(), OpenError> {
    if !dir.exists() || dir.join("CURRENT").exists() {
        return Ok(());
    }
    let entries = std::fs::read_dir(dir).map_err(|source| kv::OpenError::Directory { dir: dir.to_owned(), source })?;
    let ours = |name: &str| UNFINISHED.iter().any(|part| name.contains(part));
    for entry in entries.flatten() {
        if !ours(&entry.file_name().to_string_lossy()) {
            return Err(OpenError::Foreign { dir: dir.to_owned() });
        }
    }
    Ok(())
}
