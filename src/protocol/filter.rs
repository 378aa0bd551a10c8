//! Filters (NIP-01): parsed strictly, compared exactly.
//!
//! A filter that cannot be understood whole is refused: silently dropping a condition would answer another question.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use smallvec::SmallVec;

use super::event::{EventRef, TagValue, single_letter};
use super::json::Text;
use super::kind::is_wallet;
use crate::base::hex32::{EventId, Hex32, PublicKey};

/// Most values that any list of a filter is read to; the configured limit is checked afterwards and is never above this.
const LIST_MAX: usize = 131_072;

/// One filter: all its conditions must hold. `None` is no condition; an empty list matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Event ids, sorted, distinct.
    pub ids: Option<Box<[EventId]>>,
    /// Authors, sorted, distinct.
    pub authors: Option<Box<[PublicKey]>>,
    /// Kinds, sorted, distinct. Numbers above 65,535 match nothing and are left out.
    pub kinds: Option<Box<[u16]>>,
    /// Tag conditions, one per letter.
    pub tags: SmallVec<[TagFilter; 2]>,
    /// Oldest created_at, inclusive.
    pub since: Option<u64>,
    /// Newest created_at, inclusive.
    pub until: Option<u64>,
    /// Most stored events to send; it never limits live ones.
    pub limit: Option<u64>,
    /// Full-text search (NIP-50). The relay decides whether it serves it.
    pub search: Option<Box<str>>,
    /// Events of the wallet kinds (NIP-47) do not match. No client says this: `policy::reading` does.
    pub hides_wallet: bool,
}

/// A condition on a single-letter tag: its first value is one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagFilter {
    /// The letter, a-z or A-Z.
    pub letter: u8,
    /// Values of 64 lower-case hex digits, sorted, distinct.
    pub hex: Box<[Hex32]>,
    /// All other values, sorted, distinct.
    pub text: Box<[Box<str>]>,
}

impl TagFilter {
    /// How many values it has.
    pub fn len(&self) -> usize {
        self.hex.len() + self.text.len()
    }

    /// Whether it has none, and so matches nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = TagValue<'_>> {
        let text = self.text.iter().map(|value| TagValue::Text(value));
        self.hex.iter().copied().map(TagValue::Hex).chain(text)
    }

    fn contains(&self, value: TagValue<'_>) -> bool {
        match value {
            TagValue::Hex(hex) => self.hex.binary_search(&hex).is_ok(),
            TagValue::Text(text) => self.text.binary_search_by(|probe| (**probe).cmp(text)).is_ok(),
        }
    }
}

impl Filter {
    /// Whether an event satisfies every condition but `limit` and `search`.
    pub fn matches(&self, event: EventRef<'_>) -> bool {
        self.matches_apart_from_tags(event) && self.tags.iter().all(|tag| tag_matches(tag, event))
    }

    /// The same as [`Filter::matches`] for an event whose tags were put in order before.
    pub fn matches_sorted(&self, event: EventRef<'_>, tags: &SortedTags<'_>) -> bool {
        self.matches_apart_from_tags(event) && self.tags.iter().all(|tag| tags.have(tag))
    }

    fn matches_apart_from_tags(&self, event: EventRef<'_>) -> bool {
        let (kind, created_at) = (event.kind(), event.created_at());
        self.admits_kind(kind)
            && self.since.is_none_or(|since| created_at >= since)
            && self.until.is_none_or(|until| created_at <= until)
            && self.authors.as_deref().is_none_or(|authors| authors.binary_search(&event.pubkey()).is_ok())
            && self.ids.as_deref().is_none_or(|ids| ids.binary_search(&event.id()).is_ok())
    }

    /// Whether events of this kind can match.
    pub fn admits_kind(&self, kind: u16) -> bool {
        self.kinds.as_deref().is_none_or(|kinds| kinds.binary_search(&kind).is_ok()) && !(self.hides_wallet && is_wallet(kind))
    }

    /// The condition on a letter.
    pub fn tag(&self, letter: u8) -> Option<&TagFilter> {
        self.tags.iter().find(|tag| tag.letter == letter)
    }

    /// Values in the longest of its lists.
    pub fn longest_list(&self) -> usize {
        let lists = [
            self.ids.as_deref().map_or(0, <[_]>::len),
            self.authors.as_deref().map_or(0, <[_]>::len),
            self.kinds.as_deref().map_or(0, <[_]>::len),
        ];
        lists.into_iter().chain(self.tags.iter().map(TagFilter::len)).max().unwrap_or(0)
    }

    /// What it costs to keep: one for the filter and for each value, and for each further 64 bytes of a text.
    pub fn cost(&self) -> usize {
        let fixed = self.ids.as_deref().map_or(0, <[_]>::len)
            + self.authors.as_deref().map_or(0, <[_]>::len)
            + self.kinds.as_deref().map_or(0, <[_]>::len);
        let tag = |tag: &TagFilter| tag.hex.len() + tag.text.iter().map(|text| 1 + text.len() / 64).sum::<usize>();
        1 + fixed + self.tags.iter().map(tag).sum::<usize>()
    }

    /// Whether no event can ever match: an empty list, or `since` after `until`.
    pub fn is_impossible(&self) -> bool {
        let empty = |length: Option<usize>| length == Some(0);
        empty(self.ids.as_deref().map(<[_]>::len))
            || empty(self.authors.as_deref().map(<[_]>::len))
            || empty(self.kinds.as_deref().map(<[_]>::len))
            || self.tags.iter().any(TagFilter::is_empty)
            || matches!((self.since, self.until), (Some(since), Some(until)) if since > until)
    }

    /// Whether it names an author, an id, a `#p` or an `#e`: what wallet events are only shown to (wallet.md section 1).
    pub fn names_someone(&self) -> bool {
        self.ids.is_some() || self.authors.is_some() || self.tag(b'p').is_some() || self.tag(b'e').is_some()
    }
}

fn tag_matches(condition: &TagFilter, event: EventRef<'_>) -> bool {
    event.tags().any(|(letter, value)| letter == condition.letter && condition.contains(value))
}

/// The tags of one event in order, for whoever compares it with many filters: a condition then costs what the shorter of the two
/// lists has, and not what both have.
#[derive(Debug)]
pub struct SortedTags<'a>(Vec<(u8, TagValue<'a>)>);

impl<'a> SortedTags<'a> {
    /// The single-letter tags of this event.
    pub fn of(event: EventRef<'a>) -> Self {
        let mut tags: Vec<_> = event.tags().collect();
        tags.sort_unstable();
        tags.dedup();
        Self(tags)
    }

    fn have(&self, condition: &TagFilter) -> bool {
        let from = self.0.partition_point(|(letter, _)| *letter < condition.letter);
        let rest = self.0.get(from..).unwrap_or_default();
        let values = rest.get(..rest.partition_point(|(letter, _)| *letter == condition.letter)).unwrap_or_default();
        if condition.len() < values.len() {
            condition.values().any(|wanted| values.binary_search_by(|(_, value)| value.cmp(&wanted)).is_ok())
        } else {
            values.iter().any(|(_, value)| condition.contains(*value))
        }
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FilterVisitor)
    }
}

struct FilterVisitor;

impl<'de> Visitor<'de> for FilterVisitor {
    type Value = Filter;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a filter object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Filter, A::Error> {
        let mut filter = Filter::default();
        while let Some(key) = map.next_key::<Text<'de>>()? {
            match &*key {
                "ids" => set(&mut filter.ids, &key, || hex_list(&mut map, "ids"))?,
                "authors" => set(&mut filter.authors, &key, || hex_list(&mut map, "authors"))?,
                "kinds" => set(&mut filter.kinds, &key, || kind_list(&mut map))?,
                "since" => set(&mut filter.since, &key, || whole_number(&mut map, "since"))?,
                "until" => set(&mut filter.until, &key, || whole_number(&mut map, "until"))?,
                "limit" => set(&mut filter.limit, &key, || whole_number(&mut map, "limit"))?,
                "search" => set(&mut filter.search, &key, || map.next_value::<Text<'de>>().map(|text| (*text).into()))?,
                other => {
                    let letter = other.strip_prefix('#').and_then(single_letter);
                    let letter = letter.ok_or_else(|| A::Error::custom(format!("unknown filter key \"{}\"", shorten(other))))?;
                    add_tag(&mut filter, letter, &mut map)?;
                }
            }
        }
        filter.tags.sort_unstable_by_key(|tag| tag.letter);
        Ok(filter)
    }
}

/// At most 32 characters of a text that a client made up.
fn shorten(text: &str) -> String {
    text.chars().take(32).collect()
}

fn set<T, E: Error>(slot: &mut Option<T>, key: &str, read: impl FnOnce() -> Result<T, E>) -> Result<(), E> {
    if slot.is_some() {
        return Err(E::custom(format!("duplicate filter key \"{key}\"")));
    }
    *slot = Some(read()?);
    Ok(())
}

fn whole_number<'de, A: MapAccess<'de>>(map: &mut A, key: &str) -> Result<u64, A::Error> {
    map.next_value::<u64>().map_err(|_| A::Error::custom(format!("\"{key}\" must be a whole number, 0 or more")))
}

fn hex_list<'de, A: MapAccess<'de>>(map: &mut A, key: &str) -> Result<Box<[Hex32]>, A::Error> {
    let mut list = map
        .next_value_seed(List::<Hex32>::default())
        .map_err(|_| A::Error::custom(format!("\"{key}\" must be a list of 64 lower-case hex digits each")))?;
    list.sort_unstable();
    list.dedup();
    Ok(list.into_boxed_slice())
}

fn kind_list<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Box<[u16]>, A::Error> {
    let list =
        map.next_value_seed(List::<u64>::default()).map_err(|_| A::Error::custom("\"kinds\" must be a list of whole numbers"))?;
    let mut kinds: Vec<u16> = list.into_iter().filter_map(|kind| u16::try_from(kind).ok()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    Ok(kinds.into_boxed_slice())
}

fn add_tag<'de, A: MapAccess<'de>>(filter: &mut Filter, letter: u8, map: &mut A) -> Result<(), A::Error> {
    let name = char::from(letter);
    if filter.tag(letter).is_some() {
        return Err(A::Error::custom(format!("duplicate filter key \"#{name}\"")));
    }
    let list = map
        .next_value_seed(List::<Text<'de>>::default())
        .map_err(|_| A::Error::custom(format!("\"#{name}\" must be a list of texts")))?;
    let mut hex = Vec::new();
    let mut text = Vec::new();
    for value in list {
        match TagValue::of(&value) {
            TagValue::Hex(value) => hex.push(value),
            TagValue::Text(_) if matches!(letter, b'e' | b'p') => {
                return Err(A::Error::custom(format!("\"#{name}\" must be a list of 64 lower-case hex digits each")));
            }
            TagValue::Text(value) => text.push(Box::from(value)),
        }
    }
    hex.sort_unstable();
    hex.dedup();
    text.sort_unstable();
    text.dedup();
    filter.tags.push(TagFilter { letter, hex: hex.into_boxed_slice(), text: text.into_boxed_slice() });
    Ok(())
}

/// A list that is never preallocated by what a client claims and never longer than [`LIST_MAX`].
struct List<T>(std::marker::PhantomData<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for List<T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while list.len() < LIST_MAX {
            match seq.next_element()? {
                Some(item) => list.push(item),
                None => return Ok(list),
            }
        }
        match seq.next_element::<IgnoredAny>()? {
            None => Ok(list),
            Some(_) => Err(A::Error::custom("too many values")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Filter, String> {
        serde_json::from_str(json).map_err(|error| super::super::json::error_words(&error))
    }

    #[test]
    fn what_cannot_be_understood_is_refused_by_name() {
        for (json, words) in [
            (r##"{"ids":["ab"]}"##, "\"ids\" must be a list of 64 lower-case hex digits each"),
            (r##"{"#p":["ab"]}"##, "\"#p\" must be a list of 64 lower-case hex digits each"),
            (r##"{"#zz":["ab"]}"##, "unknown filter key \"#zz\""),
            (r##"{"limit":-1}"##, "\"limit\" must be a whole number, 0 or more"),
            (r##"{"since":1.5}"##, "\"since\" must be a whole number, 0 or more"),
            (r##"{"kinds":[1],"kinds":[2]}"##, "duplicate filter key \"kinds\""),
            (r##"{"kinds":["1"]}"##, "\"kinds\" must be a list of whole numbers"),
        ] {
            assert_eq!(parse(json).unwrap_err(), words, "{json}");
        }
    }

    #[test]
    fn lists_are_sorted_and_kinds_out_of_range_match_nothing() {
        let filter = parse(r##"{"kinds":[7,1,70000,1],"#t":["b","a"]}"##).unwrap();
        assert_eq!(filter.kinds.as_deref(), Some(&[1, 7][..]));
        assert_eq!(filter.tag(b't').unwrap().text.len(), 2);
        assert!(parse(r#"{"kinds":[70000]}"#).unwrap().is_impossible());
    }
}
