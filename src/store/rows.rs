//! The index rows of an event: the one place that makes them (to put and to delete) and reads them back.

use super::error::ReadError;
use super::keys::{Address, PLACE_BYTES, Place, Prefix, Salt, Version, event_key, expiry_key, id_key, seq6};
use super::schema::{ADDRESSES, AUTHOR_KINDS, AUTHORS, EVENTS, EXPIRY, IDS, KINDS, TAGS, TIME};
use crate::base::hex32::PublicKey;
use crate::kv::{Batch, Family};
use crate::protocol::event::EventRef;
use crate::protocol::kind::{Class, class};

/// An index that is read in ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// Everything.
    Time,
    /// By author.
    Author,
    /// By author and kind.
    AuthorKind,
    /// By kind.
    Kind,
    /// By a tag and its value.
    Tag,
}

/// What an index row says of its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Where it stands.
    pub place: Place,
    /// Its kind.
    pub kind: u16,
    /// First bytes of its author.
    pub author_head: u32,
    /// Whether it has an expiration.
    pub expires: bool,
}

/// The first four bytes of a key.
pub(super) fn author_head(author: &PublicKey) -> u32 {
    let [a, b, c, d, ..] = author.0;
    u32::from_be_bytes([a, b, c, d])
}

impl Index {
    /// The family that holds it.
    pub(super) const fn family(self) -> Family {
        match self {
            Self::Time => TIME,
            Self::Author => AUTHORS,
            Self::AuthorKind => AUTHOR_KINDS,
            Self::Kind => KINDS,
            Self::Tag => TAGS,
        }
    }

    /// Reads a row. `None` if the key is beyond the range of `prefix`.
    pub(super) fn read(self, prefix: &Prefix, key: &[u8], value: &[u8]) -> Result<Option<Row>, ReadError> {
        let Some(place) = key.strip_prefix(prefix.bytes()) else { return Ok(None) };
        let row = Place::decode(place).and_then(|place| self.read_value(place, prefix.bytes(), value));
        row.map(Some).ok_or(ReadError::Damaged("an index row"))
    }

    fn read_value(self, place: Place, prefix: &[u8], value: &[u8]) -> Option<Row> {
        let kind_at = |bytes: &[u8], at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let head_at = |bytes: &[u8], at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let (kind, author_head, said) = match self {
            Self::Time | Self::Tag => (kind_at(value, 0)?, head_at(value, 2)?, 6),
            Self::Author => (kind_at(value, 0)?, head_at(prefix, 0)?, 2),
            Self::AuthorKind => (kind_at(prefix, 8)?, head_at(prefix, 0)?, 0),
            Self::Kind => (kind_at(prefix, 0)?, head_at(value, 0)?, 4),
        };
        Some(Row { place, kind, author_head, expires: value.len() > said })
    }
}

/// Puts an event and all its rows.
pub(super) fn put(batch: &mut Batch, event: EventRef<'_>, seq: u64, salt: &Salt) {
    batch.put(EVENTS, &event_key(seq), event.bytes());
    batch.put(IDS, id_key(&event.id()), &seq6(seq));
    if let Some(expiration) = event.expiration() {
        batch.put(EXPIRY, &expiry_key(expiration, seq), b"");
    }
    each(event, seq, salt, |index, key, value| batch.put(index.family(), key, value));
}

/// Deletes an event and all its rows (but not its address, which may have a newer version by then).
pub(super) fn delete(batch: &mut Batch, event: EventRef<'_>, seq: u64, salt: &Salt) {
    batch.delete(EVENTS, &event_key(seq));
    batch.delete(IDS, id_key(&event.id()));
    if let Some(expiration) = event.expiration() {
        batch.delete(EXPIRY, &expiry_key(expiration, seq));
    }
    each(event, seq, salt, |index, key, _| batch.delete(index.family(), key));
}

/// Remembers the newest version under an address, or forgets the address.
pub(super) fn put_version(batch: &mut Batch, address: &Address, version: Option<&Version>) {
    match version {
        Some(version) => batch.put(ADDRESSES, address.key(), &version.encode()),
        None => batch.delete(ADDRESSES, address.key()),
    }
}

/// Goes through the index rows of an event.
fn each(event: EventRef<'_>, seq: u64, salt: &Salt, mut row: impl FnMut(Index, &[u8], &[u8])) {
    let (kind, author, place) = (event.kind(), event.pubkey(), Place::of(event, seq));
    let [kind_high, kind_low] = kind.to_be_bytes();
    let [a, b, c, d, ..] = author.0;
    // The last byte is the hint; it is left away when there is nothing to hint at.
    let hint = usize::from(event.expiration().is_some());
    let both = [kind_high, kind_low, a, b, c, d, 1];
    let both = &both[..6 + hint];
    row(Index::Time, Prefix::NONE.key(place).bytes(), both);
    row(Index::Author, Prefix::author(&author).key(place).bytes(), &[kind_high, kind_low, 1][..2 + hint]);
    row(Index::AuthorKind, Prefix::author_kind(&author, kind).key(place).bytes(), &[1][..hint]);
    row(Index::Kind, Prefix::kind(kind).key(place).bytes(), &[a, b, c, d, 1][..4 + hint]);
    for (letter, value) in event.tags() {
        row(Index::Tag, Prefix::tag(salt, letter, value).key(place).bytes(), both);
        if letter == b'd' && class(kind) == Class::Addressable {
            row(Index::Tag, Prefix::address(salt, kind, &author, value).key(place).bytes(), both);
        }
    }
}

const _: () = assert!(PLACE_BYTES == 22, "the drawing in keys.rs says so");
