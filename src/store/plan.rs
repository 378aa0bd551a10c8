//! Which index answers a filter, and with which ranges.
//!
//! In this order: ids; addresses (all of the kinds replaceable, or addressable and `#d` given); one tag value that names one thing
//! (`#e`, `#a`, `#p`, `#d`, ...), because its rows say kind and author too; author and kind; any other tag; author; kind; time. A
//! plan only narrows: every event is still compared with the whole filter.
//!
//! Many authors are read in two steps. First the enclosing index (kind or time) is looked through for a while: where the
//! authors are busy, the newest events of all of them are found there at a fraction of a seek each. Only what is older than
//! that is read author by author.

use super::keys::{Address, Prefix, Salt};
use super::rows::Index;
use crate::base::hex32::PublicKey;
use crate::protocol::filter::{Filter, TagFilter};
use crate::protocol::kind::{Class, class};

/// Most ranges (or look-ups of addresses) of one filter; where there would be more, a wider index is read.
const RANGES_MAX: usize = 4_096;
/// The same of all filters of a query together.
const QUERY_RANGES_MAX: usize = 8_192;
/// From this many ranges by author on, the enclosing index is looked through first.
const PROBE_FROM: usize = 24;
/// Most ranges of the enclosing index.
const PROBE_KINDS_MAX: usize = 16;
/// Rows of the enclosing index that cost a little less than a seek.
const PROBE_ROWS_PER_RANGE: u64 = 8;
/// Most rows of the enclosing index.
const PROBE_ROWS_MAX: u64 = 8_192;

/// How a filter is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing can match.
    Nothing,
    /// Look up each id of the filter.
    Ids,
    /// Look up each address.
    Addresses(Vec<Address>),
    /// Read ranges.
    Ranges(Ranges),
    /// Look through the first for a number of rows, then read the second from there on.
    Probe(Ranges, u64, Ranges),
}

/// Ranges of one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// Which.
    pub index: Index,
    /// What their rows start with.
    pub prefixes: Vec<Prefix>,
    /// Whether a row that passes the check on its kind satisfies the filter whole, but for an expiration.
    pub decided: bool,
}

impl Plan {
    fn ranges(&self) -> usize {
        match self {
            Self::Nothing | Self::Ids => 0,
            Self::Addresses(addresses) => addresses.len(),
            Self::Ranges(ranges) => ranges.prefixes.len(),
            Self::Probe(first, _, then) => first.prefixes.len() + then.prefixes.len(),
        }
    }
}

/// Chooses for each filter of a query. What a filter does not need of its share is there for those after it.
pub fn plans<'a>(filters: &'a [Filter], salt: &'a Salt) -> impl Iterator<Item = Plan> + 'a {
    let mut room = QUERY_RANGES_MAX;
    filters.iter().enumerate().map(move |(at, filter)| {
        let plan = plan(filter, salt, (room / (filters.len() - at)).min(RANGES_MAX));
        room = room.saturating_sub(plan.ranges());
        plan
    })
}

fn plan(filter: &Filter, salt: &Salt, most: usize) -> Plan {
    if filter.is_impossible() {
        return Plan::Nothing;
    }
    if filter.ids.is_some() {
        return Plan::Ids;
    }
    if let Some(addresses) = addresses(filter, most) {
        return Plan::Addresses(addresses);
    }
    if let Some(ranges) = by_address(filter, salt, most) {
        return Plan::Ranges(ranges);
    }
    if let Some(tag) = best_tag(filter, most).filter(|tag| filter.authors.is_none() || names_one_thing(tag.letter)) {
        return Plan::Ranges(by_tag(filter, tag, salt));
    }
    match by_author(filter, most) {
        Some(ranges) if ranges.prefixes.len() >= PROBE_FROM => {
            let rows = (ranges.prefixes.len() as u64 * PROBE_ROWS_PER_RANGE).min(PROBE_ROWS_MAX);
            Plan::Probe(by_kind(filter, PROBE_KINDS_MAX), rows, ranges)
        }
        Some(ranges) => Plan::Ranges(ranges),
        None => Plan::Ranges(by_kind(filter, most)),
    }
}

/// Every address that can match, where all of the kinds are replaceable.
fn addresses(filter: &Filter, most: usize) -> Option<Vec<Address>> {
    let (authors, kinds) = (filter.authors.as_deref()?, filter.kinds.as_deref()?);
    let all_replaceable = kinds.iter().all(|kind| class(*kind) == Class::Replaceable);
    if !all_replaceable || authors.len().saturating_mul(kinds.len()) > most {
        return None;
    }
    let of_author = |author| kinds.iter().map(move |kind| Address::replaceable(*kind, author));
    Some(authors.iter().flat_map(of_author).collect())
}

/// One range for every kind, author and `d`, where all of the kinds are addressable and the filter says all three.
fn by_address(filter: &Filter, salt: &Salt, most: usize) -> Option<Ranges> {
    let (authors, kinds, d) = (filter.authors.as_deref()?, filter.kinds.as_deref()?, filter.tag(b'd')?);
    let all_addressable = kinds.iter().all(|kind| class(*kind) == Class::Addressable);
    if !all_addressable || authors.len().saturating_mul(kinds.len()).saturating_mul(d.len()) > most {
        return None;
    }
    let mut prefixes = Vec::with_capacity(authors.len() * kinds.len() * d.len());
    for author in authors {
        for kind in kinds {
            prefixes.extend(d.values().map(|value| Prefix::address(salt, *kind, author, value)));
        }
    }
    Some(Ranges { index: Index::Tag, prefixes, decided: filter.tags.len() == 1 })
}

/// The tag condition with the fewest events to be expected.
fn best_tag(filter: &Filter, most: usize) -> Option<&TagFilter> {
    let usable = filter.tags.iter().filter(|tag| tag.len() <= most);
    usable.min_by_key(|tag| (!names_one_thing(tag.letter), tag.len()))
}

/// Letters whose values name one event, one address, one person or one outside thing. Other values (a topic, a language, a
/// label) are shared by many.
const fn names_one_thing(letter: u8) -> bool {
    matches!(letter, b'e' | b'E' | b'a' | b'A' | b'p' | b'P' | b'q' | b'd' | b'i' | b'I' | b'h' | b'x')
}

fn by_tag(filter: &Filter, tag: &TagFilter, salt: &Salt) -> Ranges {
    Ranges {
        index: Index::Tag,
        prefixes: tag.values().map(|value| Prefix::tag(salt, tag.letter, value)).collect(),
        decided: filter.tags.len() == 1 && filter.authors.is_none(),
    }
}

fn by_author(filter: &Filter, most: usize) -> Option<Ranges> {
    let authors = filter.authors.as_deref().filter(|authors| authors.len() <= most)?;
    let decided = filter.tags.is_empty();
    Some(match filter.kinds.as_deref() {
        Some(kinds) if authors.len() * kinds.len() <= most => {
            let of_author = |author: &PublicKey| {
                let author = *author;
                kinds.iter().map(move |kind| Prefix::author_kind(&author, *kind))
            };
            Ranges { index: Index::AuthorKind, prefixes: authors.iter().flat_map(of_author).collect(), decided }
        }
        _ => Ranges { index: Index::Author, prefixes: authors.iter().map(Prefix::author).collect(), decided },
    })
}

fn by_kind(filter: &Filter, most: usize) -> Ranges {
    let decided = filter.tags.is_empty() && filter.authors.is_none();
    match filter.kinds.as_deref().filter(|kinds| kinds.len() <= most) {
        Some(kinds) => Ranges { index: Index::Kind, prefixes: kinds.iter().map(|kind| Prefix::kind(*kind)).collect(), decided },
        None => Ranges { index: Index::Time, prefixes: vec![Prefix::NONE], decided },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hex32::Hex32;

    fn index_of(filter: &str) -> String {
        let filter = serde_json::from_str(filter).unwrap();
        match plan(&filter, &Salt([0; 16]), RANGES_MAX) {
            Plan::Nothing => "nothing".into(),
            Plan::Ids => "ids".into(),
            Plan::Addresses(addresses) => format!("{} addresses", addresses.len()),
            Plan::Ranges(ranges) => format!("{} {:?}", ranges.prefixes.len(), ranges.index),
            Plan::Probe(first, rows, then) => {
                format!("{rows} rows of {} {:?}, {} {:?}", first.prefixes.len(), first.index, then.prefixes.len(), then.index)
            }
        }
    }

    #[test]
    fn each_shape_of_filter_gets_its_index() {
        let key = |number: u8| format!("\"{}\"", Hex32([number; 32]));
        let (one, two) = (key(1), format!("{},{}", key(1), key(2)));
        let many = (0..100).map(key).collect::<Vec<_>>().join(",");
        for (filter, expected) in [
            ("{}".to_owned(), "1 Time"),
            (r#"{"since":5,"until":4}"#.to_owned(), "nothing"),
            (r#"{"kinds":[]}"#.to_owned(), "nothing"),
            (format!(r#"{{"ids":[{two}],"authors":[{one}]}}"#), "ids"),
            (r#"{"kinds":[1,6]}"#.to_owned(), "2 Kind"),
            (format!(r#"{{"authors":[{two}]}}"#), "2 Author"),
            (format!(r#"{{"authors":[{two}],"kinds":[1,6,7]}}"#), "6 AuthorKind"),
            (format!(r#"{{"authors":[{two}],"kinds":[0,3,10002]}}"#), "6 addresses"),
            (format!(r#"{{"authors":[{two}],"kinds":[0,1]}}"#), "4 AuthorKind"),
            (format!(r#"{{"authors":[{one}],"kinds":[30023]}}"#), "1 AuthorKind"),
            (format!(r##"{{"authors":[{one}],"kinds":[30023],"#d":["a","b"]}}"##), "2 Tag"),
            (format!(r##"{{"#p":[{two}],"kinds":[1],"#t":["x"]}}"##), "2 Tag"),
            (format!(r##"{{"authors":[{one}],"#e":[{one}]}}"##), "1 Tag"),
            (format!(r##"{{"authors":[{one}],"#t":["x"]}}"##), "1 Author"),
            (r##"{"#t":["x"]}"##.to_owned(), "1 Tag"),
            (format!(r#"{{"authors":[{many}],"kinds":[1,6]}}"#), "1600 rows of 2 Kind, 200 AuthorKind"),
            (format!(r#"{{"authors":[{many}]}}"#), "800 rows of 1 Time, 100 Author"),
        ] {
            assert_eq!(index_of(&filter), expected, "{filter}");
        }
    }

    #[test]
    fn many_filters_share_the_ranges_of_a_query() {
        let authors = |count: u16| {
            let authors = (0..count).map(|number| format!("\"{number:064x}\"")).collect::<Vec<_>>().join(",");
            serde_json::from_str::<Filter>(&format!(r#"{{"authors":[{authors}],"kinds":[1,6]}}"#)).unwrap()
        };
        let indexes = |filters: &[Filter]| {
            let plans: Vec<Plan> = plans(filters, &Salt([0; 16])).collect();
            let ranges: usize = plans.iter().map(Plan::ranges).sum();
            assert!(ranges <= QUERY_RANGES_MAX + PROBE_KINDS_MAX * filters.len(), "{ranges}");
            let index = |plan: &Plan| match plan {
                Plan::Ranges(ranges) | Plan::Probe(_, _, ranges) => format!("{} {:?}", ranges.prefixes.len(), ranges.index),
                other => format!("{other:?}"),
            };
            plans.iter().map(index).collect::<Vec<_>>()
        };
        assert_eq!(indexes(&[authors(2_000)]), ["4000 AuthorKind"]);
        assert_eq!(
            indexes(&[authors(1), authors(2_000), authors(2_000)]),
            ["2 AuthorKind", "4000 AuthorKind", "4000 AuthorKind"]
        );
        assert_eq!(indexes(&vec![authors(1_000); 5])[0], "1000 Author");
        let all = indexes(&vec![authors(2_000); 20]);
        assert_eq!(
            (all[0].as_str(), all[19].as_str()),
            ("2 Kind", "2000 Author"),
            "what the first do not use is there for the last"
        );
    }
}
