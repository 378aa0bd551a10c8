//! A second, slow and obvious implementation of a relay's memory: a list of events, and filters tried one event at a time.
//!
//! It shares no code with hearth, not even the filter parser: filters are plain JSON here.

use std::collections::BTreeSet;

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use super::{Event, Key};

/// Stored events that a filter without a limit gets.
const LIMIT_DEFAULT: u64 = 500;
/// Stored events that any filter gets at most.
const LIMIT_MAX: u64 = 5_000;

/// Whether an event satisfies a filter (NIP-01), word by word.
pub fn matches(filter: &Value, event: &Event) -> bool {
    filter.as_object().unwrap().iter().all(|(key, wanted)| match key.as_str() {
        "ids" => contains(wanted, &event.id),
        "authors" => contains(wanted, &event.pubkey),
        "kinds" => wanted.as_array().unwrap().contains(&json!(event.kind)),
        "since" => event.created_at >= wanted.as_u64().unwrap(),
        "until" => event.created_at <= wanted.as_u64().unwrap(),
        "limit" => true,
        tag => {
            let name = tag.strip_prefix('#').unwrap();
            event.tags.iter().any(|tag| tag[0] == name && tag.get(1).is_some_and(|value| contains(wanted, value)))
        }
    })
}

fn contains(list: &Value, value: &str) -> bool {
    list.as_array().unwrap().iter().any(|item| item == value)
}

/// How an answer differs from what was expected, in few words.
pub fn difference<T: PartialEq + std::fmt::Debug>(found: &[T], expected: &[T]) -> String {
    let missing: Vec<_> = expected.iter().filter(|item| !found.contains(item)).take(3).collect();
    let extra: Vec<_> = found.iter().filter(|item| !expected.contains(item)).take(3).collect();
    let twice: Vec<_> =
        found.iter().enumerate().filter(|(at, item)| found[..*at].contains(item)).map(|(_, item)| item).take(3).collect();
    let place = found.iter().zip(expected).position(|(a, b)| a != b);
    format!(
        "{} found, {} expected; missing {missing:?}; extra {extra:?}; twice {twice:?}; first difference at {place:?}",
        found.len(),
        expected.len()
    )
}

/// What is stored, kept by the rules of NIP-01 for replaceable and addressable events.
#[derive(Default)]
pub struct Memory {
    events: Vec<Event>,
}

impl Memory {
    /// Takes an event; whether it is stored now (and so goes to live subscribers).
    pub fn take(&mut self, event: &Event) -> bool {
        if (20_000..30_000).contains(&event.kind) {
            return true;
        }
        if self.events.iter().any(|known| known.id == event.id) {
            return false;
        }
        if let Some(address) = address(event) {
            let rival = self.events.iter().position(|known| Self::address_of(known) == Some(address.clone()));
            if let Some(at) = rival {
                let known = &self.events[at];
                let newer = (event.created_at, std::cmp::Reverse(&event.id)) > (known.created_at, std::cmp::Reverse(&known.id));
                if !newer {
                    return false;
                }
                self.events.remove(at);
            }
        }
        self.events.push(event.clone());
        true
    }

    fn address_of(event: &Event) -> Option<(u64, String, String)> {
        address(event)
    }

    /// Ids in the order in which a relay must send them: every filter with its own limit, newest first, ties by lowest id.
    pub fn answer(&self, filters: &[Value]) -> Vec<String> {
        let mut wanted = BTreeSet::new();
        for filter in filters {
            let mut found: Vec<&Event> = self.events.iter().filter(|event| matches(filter, event)).collect();
            found.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.id.cmp(&b.id)));
            let limit = filter.get("limit").map_or(LIMIT_DEFAULT, |limit| limit.as_u64().unwrap()).min(LIMIT_MAX);
            wanted
                .extend(found.iter().take(usize::try_from(limit).unwrap()).map(|event| (u64::MAX - event.created_at, &event.id)));
        }
        wanted.into_iter().map(|(_, id)| id.clone()).collect()
    }

    /// How many stored events match any of the filters, limits apart.
    pub fn count(&self, filters: &[Value]) -> usize {
        self.events.iter().filter(|event| filters.iter().any(|filter| matches(filter, event))).count()
    }
}

/// What replaces what: kind, author, and the `d` tag where it counts.
fn address(event: &Event) -> Option<(u64, String, String)> {
    match event.kind {
        0 | 3 | 10_000..=19_999 => Some((event.kind, event.pubkey.clone(), String::new())),
        30_000..=39_999 => Some((event.kind, event.pubkey.clone(), event.tag("d").unwrap_or_default().to_owned())),
        _ => None,
    }
}

/// A small world of authors, kinds, tags and seconds, so small that everything collides.
pub struct World {
    pub keys: Vec<Key>,
    kinds: Vec<u64>,
    topics: Vec<String>,
    ids: Vec<String>,
    now_s: u64,
    span_s: u64,
}

impl World {
    /// A world of so many authors and seconds before `now_s`.
    pub fn new(authors: u64, span_s: u64, now_s: u64) -> Self {
        let topics = ["nostr", "", "a", "A", "ünïcode", "with \"quotes\"", "\n", "12", "🔥", "a b"];
        Self {
            keys: (0..authors).map(Key::seeded).collect(),
            kinds: vec![0, 1, 1, 1, 1, 3, 6, 7, 7, 1_111, 9_735, 10_002, 30_023, 30_023, 34_550],
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            ids: Vec::new(),
            now_s,
            span_s,
        }
    }

    /// Lets events of these kinds be made too.
    pub fn with_kinds(mut self, kinds: &[u64]) -> Self {
        self.kinds.extend_from_slice(kinds);
        self
    }

    /// A random event. Later ones refer to earlier ones.
    pub fn event(&mut self, rng: &mut ChaCha8Rng) -> Event {
        let key = self.keys.choose(rng).unwrap().clone();
        let kind = *self.kinds.choose(rng).unwrap();
        let created_at = self.second(rng);
        let tags = (0..rng.random_range(0..5)).map(|_| self.tag(rng)).collect();
        let event = key.sign(created_at, kind, format!("{:x}", rng.random::<u64>()), tags);
        self.ids.push(event.id.clone());
        event
    }

    fn second(&self, rng: &mut ChaCha8Rng) -> u64 {
        self.now_s - rng.random_range(0..self.span_s)
    }

    fn tag(&self, rng: &mut ChaCha8Rng) -> Vec<String> {
        let name = *["e", "p", "p", "t", "t", "d", "d", "T", "client", "alt"].choose(rng).unwrap();
        let mut tag = vec![name.to_owned()];
        // NIP-01 does not say what the address of an event is whose first `d` has no value, so there is none.
        if name == "d" || rng.random_ratio(19, 20) {
            tag.push(self.value(name, rng));
            if rng.random_ratio(1, 3) {
                // Only the first value counts.
                tag.push(self.value(name, rng));
            }
        }
        tag
    }

    fn value(&self, name: &str, rng: &mut ChaCha8Rng) -> String {
        match name {
            "e" if !self.ids.is_empty() => self.ids.choose(rng).unwrap().clone(),
            "e" => "0".repeat(64),
            "p" => self.keys.choose(rng).unwrap().hex.clone(),
            _ => self.topics.choose(rng).unwrap().clone(),
        }
    }

    /// One to three random filters, three quarters of them with conditions that some event fulfils.
    pub fn filters(&self, rng: &mut ChaCha8Rng) -> Vec<Value> {
        (0..*[1, 1, 1, 2, 2, 3].choose(rng).unwrap()).map(|_| self.filter(rng)).collect()
    }

    fn filter(&self, rng: &mut ChaCha8Rng) -> Value {
        let mut filter = Map::new();
        let conditions = rng.random_range(0..4);
        for _ in 0..conditions {
            let key =
                *["ids", "authors", "authors", "kinds", "kinds", "#e", "#p", "#t", "#d", "#T", "times"].choose(rng).unwrap();
            match key {
                "ids" => drop(filter.insert(key.into(), self.list(rng, 40, |rng| json!(self.value("e", rng))))),
                "authors" => drop(filter.insert(key.into(), self.list(rng, 12, |rng| json!(self.value("p", rng))))),
                "kinds" => {
                    let kinds = self.list(rng, 4, |rng| json!(self.kinds.choose(rng).unwrap()));
                    filter.insert(key.into(), kinds);
                }
                "times" => self.times(&mut filter, rng),
                tag => drop(filter.insert(tag.into(), self.list(rng, 6, |rng| json!(self.value(&tag[1..], rng))))),
            }
        }
        if rng.random_ratio(1, 2) {
            filter.insert("limit".into(), json!(*[0, 1, 2, 5, 20, 100, 500, 6_000].choose(rng).unwrap()));
        }
        Value::Object(filter)
    }

    fn list(&self, rng: &mut ChaCha8Rng, most: usize, mut item: impl FnMut(&mut ChaCha8Rng) -> Value) -> Value {
        // Now and then an empty list, which matches nothing.
        let length = if rng.random_ratio(1, 40) { 0 } else { rng.random_range(1..=most) };
        Value::Array((0..length).map(|_| item(rng)).collect())
    }

    fn times(&self, filter: &mut Map<String, Value>, rng: &mut ChaCha8Rng) {
        let (since, until) = (self.second(rng), self.second(rng));
        match rng.random_range(0..4) {
            0 => drop(filter.insert("since".into(), json!(since))),
            1 => drop(filter.insert("until".into(), json!(until))),
            // Sometimes the wrong way round.
            _ => {
                filter.insert("since".into(), json!(since));
                filter.insert("until".into(), json!(until));
            }
        }
    }
}
