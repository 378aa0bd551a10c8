//! What events and filters are looked up by: 64-bit fingerprints of a field and its value.
//!
//! Two values may share a fingerprint; whoever looks something up checks the filter itself, so that costs a comparison and
//! nothing else. The hash is seeded at start, so nobody can aim for it.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;
use smallvec::SmallVec;

use crate::base::hex32::Hex32;
use crate::protocol::event::{EventRef, TagValue};
use crate::protocol::filter::{Filter, TagFilter};

/// How many events, roughly, one value of a dimension stands for, compared with the others: what a filter is filed under is the
/// dimension for which values times weight is lowest.
mod weight {
    pub(super) const ID: usize = 1;
    pub(super) const EVENT_TAG: usize = 2;
    pub(super) const AUTHOR: usize = 4;
    pub(super) const HEX_TAG: usize = 6;
    pub(super) const TEXT_TAG: usize = 64;
    pub(super) const KIND: usize = 65_536;
}

/// Makes fingerprints.
#[derive(Clone, Debug, Default)]
pub struct Keys(RandomState);

/// The condition of a filter that it is filed under.
#[derive(Clone, Copy, Debug)]
pub enum Dimension<'a> {
    /// Its event ids.
    Ids(&'a [Hex32]),
    /// Its authors.
    Authors(&'a [Hex32]),
    /// Its kinds.
    Kinds(&'a [u16]),
    /// One of its tag conditions.
    Tag(&'a TagFilter),
    /// It has no condition but time.
    All,
    /// It matches nothing.
    Nothing,
}

impl<'a> Dimension<'a> {
    /// The most selective condition of a filter.
    pub fn of(filter: &'a Filter) -> Self {
        if filter.is_impossible() {
            return Self::Nothing;
        }
        let ids = filter.ids.as_deref().map(|ids| (ids.len() * weight::ID, Self::Ids(ids)));
        let authors = filter.authors.as_deref().map(|authors| (authors.len() * weight::AUTHOR, Self::Authors(authors)));
        let kinds = filter.kinds.as_deref().map(|kinds| (kinds.len() * weight::KIND, Self::Kinds(kinds)));
        let tags = filter.tags.iter().map(|tag| (tag_weight(tag), Self::Tag(tag)));
        let lists = ids.into_iter().chain(authors).chain(kinds).chain(tags);
        lists.min_by_key(|(weight, _)| *weight).map_or(Self::All, |(_, dimension)| dimension)
    }

    /// How many keys it has.
    pub fn keys(&self) -> usize {
        match self {
            Self::Ids(list) | Self::Authors(list) => list.len(),
            Self::Kinds(list) => list.len(),
            Self::Tag(tag) => tag.len(),
            Self::All => 1,
            Self::Nothing => 0,
        }
    }
}

fn tag_weight(tag: &TagFilter) -> usize {
    let hex = if tag.letter == b'e' { weight::EVENT_TAG } else { weight::HEX_TAG };
    tag.hex.len() * hex + tag.text.len() * weight::TEXT_TAG
}

impl Keys {
    /// The key of an event id.
    pub fn id(&self, id: &Hex32) -> u64 {
        self.hash(1, &id.0)
    }

    /// The key of an author.
    pub fn author(&self, author: &Hex32) -> u64 {
        self.hash(2, &author.0)
    }

    /// The key of a kind.
    pub fn kind(&self, kind: u16) -> u64 {
        self.hash(3, &kind.to_le_bytes())
    }

    /// The key of a tag value.
    pub fn tag(&self, letter: u8, value: TagValue<'_>) -> u64 {
        // Letters are 65 to 122 and the flag is 128, so these share no first byte with the others.
        match value {
            TagValue::Hex(hex) => self.hash(letter | 0x80, &hex.0),
            TagValue::Text(text) => self.hash(letter, text.as_bytes()),
        }
    }

    /// The key of filters that have no condition but time.
    pub fn all(&self) -> u64 {
        self.hash(4, &[])
    }

    /// Calls with each key that a dimension is filed under, in an order that is always the same.
    pub fn each(&self, dimension: &Dimension<'_>, mut call: impl FnMut(u64)) {
        match dimension {
            Dimension::Ids(ids) => ids.iter().for_each(|id| call(self.id(id))),
            Dimension::Authors(authors) => authors.iter().for_each(|author| call(self.author(author))),
            Dimension::Kinds(kinds) => kinds.iter().for_each(|kind| call(self.kind(*kind))),
            Dimension::Tag(tag) => tag.values().for_each(|value| call(self.tag(tag.letter, value))),
            Dimension::All => call(self.all()),
            Dimension::Nothing => {}
        }
    }

    /// All keys under which an event may be looked for, without repetition.
    pub fn of_event(&self, event: EventRef<'_>) -> SmallVec<[u64; 16]> {
        let mut keys: SmallVec<[u64; 16]> = event.tags().map(|(letter, value)| self.tag(letter, value)).collect();
        keys.extend([self.id(&event.id()), self.author(&event.pubkey()), self.kind(event.kind()), self.all()]);
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn hash(&self, dimension: u8, value: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write_u8(dimension);
        hasher.write(value);
        hasher.finish()
    }
}
