//! Every key and value of the event store, drawn byte by byte. Integers are big endian, so that keys sort as numbers do.
//!
//! An event is stored once, under the number it got when it was accepted; everything else is an index row of 24 to 40 bytes.
//!
//! ```text
//! seq     6 or 8 bytes  number of the event, from 1, in the order of acceptance; 8 bytes as a key of its own, 6 elsewhere
//! place  22 bytes       where an event stands in every answer (newest first, ties by lowest id):
//!                         8  u64::MAX - created_at
//!                         8  first bytes of the id
//!                         6  seq
//! hint    1 byte or 0   1 = the event has an expiration, so that the row alone does not say whether it may be shown
//!
//! family        key                                            value
//! events        seq:8                                          the packed event (protocol::event), as it is
//! ids           id[..16]                                       seq:6
//! time          place                                          kind:2 author[..4] hint
//! authors       author[..8] place                              kind:2 hint
//! author_kinds  author[..8] kind:2 place                       hint
//! kinds         kind:2 place                                   author[..4] hint
//! tags          letter:1 hash of value:8 place                 kind:2 author[..4] hint
//!               0 hash of kind, author, d:8 place              kind:2 author[..4] hint    (addressable kinds; every `d`)
//! addresses     kind:2 author:32 [hash of d:16]                created_at:8 id:32 seq:6    (seq 0: the newest is deleted)
//! expiry        expiration:8 seq:6                             nothing
//! deleted       'i' id[..16] author[..16]                      nothing
//!               'a' address (as the key above)                 created_at:8 of the newest deletion request
//! meta          "format"                                       version of this page:4
//!               "salt"                                         16 random bytes
//!               "state"                                        seq:8 of the newest event, events stored:8
//! ```
//!
//! Rows put seq into the key, so two events never share a row whatever their ids are. Shortened keys decide nothing by
//! themselves: 4 and 8 bytes of a key only narrow a search and the event's header decides. Where 16 bytes of an id decide,
//! a clash is 2^128 work against somebody else's event and harms nobody but the author otherwise. Tag values are
//! hashed with the salt, so nobody can make values that share a row with a victim's; `d` is hashed without it (SHA-256),
//! because only its author could profit from a clash.

use sha2::{Digest, Sha256};

use crate::base::hex32::{EventId, Hex32, PublicKey};
use crate::protocol::event::{EventRef, TagValue};
use crate::protocol::kind::{Class, class};

/// Version of this page.
pub const FORMAT: u32 = 1;
/// Greatest sequence number that fits its six bytes.
pub const SEQ_MAX: u64 = (1 << 48) - 1;
/// Bytes of a [`Place`].
pub const PLACE_BYTES: usize = 22;
/// Most bytes before the place in an index key.
const PREFIX_MAX: usize = 10;
/// Set on the letter that is hashed with a tag value of 32 bytes, so that it differs from a text of the same bytes.
const HEX_FLAG: u8 = 0x80;

/// Random bytes of one store that go into the hashes of its tag values.
#[derive(Clone, Copy, Debug)]
pub struct Salt(pub [u8; 16]);

/// Where an event stands in every answer: newest first, ties by lowest id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// `u64::MAX - created_at`.
    pub age: u64,
    /// The first eight bytes of the id.
    pub id_head: u64,
    /// The number of the event.
    pub seq: u64,
}

impl Place {
    /// The place of an event.
    pub fn of(event: EventRef<'_>, seq: u64) -> Self {
        Self::new(event.created_at(), &event.id(), seq)
    }

    /// The place of an event with this time, id and number.
    pub fn new(created_at: u64, id: &EventId, seq: u64) -> Self {
        Self { age: !created_at, id_head: id_head(id), seq }
    }

    /// The first place of a second.
    pub fn first_of(created_at: u64) -> Self {
        Self { age: !created_at, id_head: 0, seq: 0 }
    }

    /// The smallest place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self { seq: self.seq + 1, ..self }
    }

    /// As it stands in a key.
    pub fn encode(self) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        bytes[..8].copy_from_slice(&self.age.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.id_head.to_be_bytes());
        bytes[16..].copy_from_slice(&seq6(self.seq));
        bytes
    }

    /// From the end of a key.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; PLACE_BYTES] = bytes.try_into().ok()?;
        Some(Self { age: number(&bytes[..8]), id_head: number(&bytes[8..16]), seq: number(&bytes[16..]) })
    }
}

/// The first eight bytes of an id.
pub fn id_head(id: &EventId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Up to eight big-endian bytes as a number.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A sequence number in six bytes.
pub fn seq6(seq: u64) -> [u8; 6] {
    let [_, _, a, b, c, d, e, f] = seq.to_be_bytes();
    [a, b, c, d, e, f]
}

/// A sequence number from six bytes.
pub fn read_seq6(bytes: &[u8]) -> Option<u64> {
    (bytes.len() == 6).then(|| number(bytes))
}

/// Key in `events`.
pub fn event_key(seq: u64) -> [u8; 8] {
    seq.to_be_bytes()
}

/// Key in `ids`.
pub fn id_key(id: &EventId) -> &[u8] {
    &id.0[..16]
}

/// Key in `expiry`.
pub fn expiry_key(expiration: u64, seq: u64) -> [u8; 14] {
    let mut key = [0; 14];
    key[..8].copy_from_slice(&expiration.to_be_bytes());
    key[8..].copy_from_slice(&seq6(seq));
    key
}

/// Expiration and sequence number from a key in `expiry`.
pub fn read_expiry_key(key: &[u8]) -> Option<(u64, u64)> {
    (key.len() == 14).then(|| (number(&key[..8]), number(&key[8..])))
}

/// Key in `deleted` for one event of one author.
pub fn deleted_event_key(id: &EventId, author: &PublicKey) -> [u8; 33] {
    let mut key = [b'i'; 33];
    key[1..17].copy_from_slice(&id.0[..16]);
    key[17..].copy_from_slice(&author.0[..16]);
    key
}

/// Key in `deleted` for an address.
pub fn deleted_address_key(address: &Address) -> Vec<u8> {
    [b"a", address.key()].concat()
}

/// What replaceable and addressable events replace each other under.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    key: [u8; Self::MAX_BYTES],
    length: u8,
}

impl Address {
    const MAX_BYTES: usize = 50;
    const WITHOUT_D: u8 = 34;

    /// The address of an event; `None` if its kind has none.
    pub fn of(event: EventRef<'_>) -> Option<Self> {
        match class(event.kind()) {
            Class::Regular | Class::Ephemeral => None,
            Class::Replaceable => Some(Self::replaceable(event.kind(), &event.pubkey())),
            Class::Addressable => {
                let d = event.tag(b'd').map(TagValue::to_text);
                Some(Self::addressable(event.kind(), &event.pubkey(), d.as_deref().unwrap_or_default()))
            }
        }
    }

    /// The address of a replaceable kind.
    pub fn replaceable(kind: u16, author: &PublicKey) -> Self {
        let mut key = [0; Self::MAX_BYTES];
        key[..2].copy_from_slice(&kind.to_be_bytes());
        key[2..34].copy_from_slice(&author.0);
        Self { key, length: Self::WITHOUT_D }
    }

    /// The address of an addressable kind.
    pub fn addressable(kind: u16, author: &PublicKey, d: &str) -> Self {
        let mut address = Self::replaceable(kind, author);
        address.key[34..].copy_from_slice(&Sha256::digest(d)[..16]);
        address.length = 50;
        address
    }

    /// Key in `addresses`.
    pub fn key(&self) -> &[u8] {
        &self.key[..usize::from(self.length)]
    }

    /// Its kind.
    pub fn kind(&self) -> u16 {
        u16::from_be_bytes([self.key[0], self.key[1]])
    }
}

/// The newest version seen under an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// Its created_at.
    pub created_at: u64,
    /// Its id.
    pub id: EventId,
    /// Its number; `None` when it is deleted and only remembered so that no older version comes back.
    pub seq: Option<u64>,
}

impl Version {
    /// Whether this version stands and the other goes: the newer, and of two of one second the one with the lower id.
    pub fn beats(&self, created_at: u64, id: &EventId) -> bool {
        self.created_at > created_at || (self.created_at == created_at && self.id <= *id)
    }

    /// Value in `addresses`.
    pub fn encode(&self) -> [u8; 46] {
        let mut value = [0; 46];
        value[..8].copy_from_slice(&self.created_at.to_be_bytes());
        value[8..40].copy_from_slice(&self.id.0);
        value[40..].copy_from_slice(&seq6(self.seq.unwrap_or(0)));
        value
    }

    /// From a value in `addresses`.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let value: &[u8; 46] = value.try_into().ok()?;
        let seq = number(&value[40..]);
        Some(Self { created_at: number(&value[..8]), id: Hex32::from_slice(&value[8..40])?, seq: (seq != 0).then_some(seq) })
    }
}

/// The first bytes of an index key: what all rows of one range share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    bytes: [u8; PREFIX_MAX],
    length: u8,
}

impl Prefix {
    /// No shared bytes: the whole of `time`.
    pub const NONE: Self = Self { bytes: [0; PREFIX_MAX], length: 0 };

    /// Rows of an author.
    pub fn author(author: &PublicKey) -> Self {
        Self::NONE.with(&author.0[..8])
    }

    /// Rows of an author and a kind.
    pub fn author_kind(author: &PublicKey, kind: u16) -> Self {
        Self::author(author).with(&kind.to_be_bytes())
    }

    /// Rows of a kind.
    pub fn kind(kind: u16) -> Self {
        Self::NONE.with(&kind.to_be_bytes())
    }

    /// Rows of a tag and its value.
    pub fn tag(salt: &Salt, letter: u8, value: TagValue<'_>) -> Self {
        Self::hashed(letter, value, Sha256::new().chain_update(salt.0))
    }

    /// Rows of an addressable kind, an author and a `d` value. An address is made of the first `d` tag, but a filter asks for
    /// any of them; these rows are there for each.
    pub fn address(salt: &Salt, kind: u16, author: &PublicKey, d: TagValue<'_>) -> Self {
        let hash = Sha256::new().chain_update(salt.0).chain_update(kind.to_be_bytes()).chain_update(author.0);
        Self::hashed(0, d, hash)
    }

    fn hashed(letter: u8, value: TagValue<'_>, hash: Sha256) -> Self {
        let hash = match value {
            TagValue::Hex(hex) => hash.chain_update([letter | HEX_FLAG]).chain_update(hex.0),
            TagValue::Text(text) => hash.chain_update([letter]).chain_update(text),
        };
        Self::NONE.with(&[letter]).with(&hash.finalize()[..8])
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The key of the row at a place.
    pub fn key(&self, place: Place) -> RowKey {
        let length = usize::from(self.length);
        let mut bytes = [0; PREFIX_MAX + PLACE_BYTES];
        bytes[..length].copy_from_slice(self.bytes());
        bytes[length..length + PLACE_BYTES].copy_from_slice(&place.encode());
        RowKey { bytes, length: length + PLACE_BYTES }
    }

    fn with(mut self, more: &[u8]) -> Self {
        let start = usize::from(self.length);
        self.bytes[start..start + more.len()].copy_from_slice(more);
        // At most PREFIX_MAX, or the line above would have failed.
        self.length += u8::try_from(more.len()).unwrap_or(0);
        self
    }
}

/// The key of an index row, on the stack.
#[derive(Clone, Copy)]
pub struct RowKey {
    bytes: [u8; PREFIX_MAX + PLACE_BYTES],
    length: usize,
}

impl RowKey {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
