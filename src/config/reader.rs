//! Reads TOML against lists of known keys. A key that nobody asked for is refused by name, with the likeliest known one.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use toml::de::{DeTable, DeValue};

use super::problem::Problems;

/// How alike two keys must be (Jaro-Winkler) for one to be suggested for the other.
const LIKENESS_MIN: f64 = 0.8;

/// A value that a key can have.
pub(super) trait Value: Sized {
    /// Reads it; the error says what it must be.
    fn read(value: &DeValue<'_>, range: Option<&RangeInclusive<u64>>) -> Result<Self, String>;
}

impl Value for u64 {
    fn read(value: &DeValue<'_>, range: Option<&RangeInclusive<u64>>) -> Result<Self, String> {
        let number = match value {
            DeValue::Integer(number) => Self::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        match (number, range) {
            (Some(number), Some(range)) if range.contains(&number) => Ok(number),
            (Some(number), None) => Ok(number),
            (_, Some(range)) => Err(format!("must be a whole number from {} to {}", range.start(), range.end())),
            (None, None) => Err("must be a whole number, 0 or more".to_owned()),
        }
    }
}

impl Value for bool {
    fn read(value: &DeValue<'_>, _: Option<&RangeInclusive<u64>>) -> Result<Self, String> {
        match value {
            DeValue::Boolean(yes) => Ok(*yes),
            _ => Err("must be true or false".to_owned()),
        }
    }
}

impl Value for String {
    fn read(value: &DeValue<'_>, _: Option<&RangeInclusive<u64>>) -> Result<Self, String> {
        match value {
            DeValue::String(text) => Ok(text.as_ref().to_owned()),
            _ => Err("must be a text in quotes".to_owned()),
        }
    }
}

impl Value for Vec<String> {
    fn read(value: &DeValue<'_>, _: Option<&RangeInclusive<u64>>) -> Result<Self, String> {
        let words = || "must be a list of texts".to_owned();
        let DeValue::Array(items) = value else { return Err(words()) };
        items.iter().map(|item| String::read(item.get_ref(), None).map_err(|_| words())).collect()
    }
}

impl Value for Vec<u64> {
    fn read(value: &DeValue<'_>, range: Option<&RangeInclusive<u64>>) -> Result<Self, String> {
        let DeValue::Array(items) = value else { return Err("must be a list of whole numbers".to_owned()) };
        items.iter().map(|item| u64::read(item.get_ref(), range).map_err(|words| format!("each {words}"))).collect()
    }
}

/// One table of the file while it is read.
pub(super) struct Table<'a> {
    path: &'static str,
    entries: Option<&'a DeTable<'a>>,
    known: HashSet<&'static str>,
}

/// Reads a whole file and remembers what was wrong.
pub(super) struct Reader<'a> {
    file_name: &'a str,
    text: &'a str,
    pub(super) problems: Problems,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file_name: &'a str, text: &'a str) -> Self {
        Self { file_name, text, problems: Problems::default() }
    }

    /// The value of a key, or its default where the key is not there or is wrong.
    pub(super) fn take<T: Value>(
        &mut self,
        table: &mut Table<'a>,
        key: &'static str,
        default: T,
        range: Option<&RangeInclusive<u64>>,
    ) -> T {
        table.known.insert(key);
        let Some(value) = table.entries.and_then(|entries| entries.get(key)) else { return default };
        match T::read(value.get_ref(), range) {
            Ok(value) => value,
            Err(words) => {
                let place = self.place(value.span().start, table.path, key);
                self.problems.add(place, words);
                default
            }
        }
    }

    /// A table inside another; an absent one is empty.
    pub(super) fn table(&mut self, parent: &mut Table<'a>, path: &'static str) -> Table<'a> {
        let key = path.rsplit('.').next().unwrap_or(path);
        parent.known.insert(key);
        let mut entries = None;
        match parent.entries.and_then(|entries| entries.get(key)) {
            None => {}
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => entries = Some(table),
                _ => {
                    let place = self.place(value.span().start, parent.path, key);
                    self.problems.add(place, format!("must be a section: [{path}]"));
                }
            },
        }
        Table { path, entries, known: HashSet::new() }
    }

    /// Refuses what nobody asked for. To be called when a table was read whole.
    pub(super) fn finish(&mut self, table: &Table<'a>) {
        for (key, _) in table.entries.into_iter().flat_map(DeTable::iter) {
            let name = key.get_ref().as_ref();
            if table.known.contains(name) {
                continue;
            }
            let words = match likeliest(name, &table.known) {
                Some(known) => format!("unknown key; did you mean \"{known}\"?"),
                None => "unknown key".to_owned(),
            };
            let place = self.place(key.span().start, table.path, name);
            self.problems.add(place, words);
        }
    }

    fn place(&self, at_byte: usize, path: &str, key: &str) -> String {
        let line = self.text.get(..at_byte).map_or(0, |before| before.matches('\n').count()) + 1;
        let dot = if path.is_empty() { "" } else { "." };
        format!("{}:{line}: {path}{dot}{key}", self.file_name)
    }
}

/// The top of a parsed file.
pub(super) fn root<'a>(entries: &'a DeTable<'a>) -> Table<'a> {
    Table { path: "", entries: Some(entries), known: HashSet::new() }
}

fn likeliest<'k>(name: &str, known: &HashSet<&'k str>) -> Option<&'k str> {
    let scored = known.iter().map(|&key| (strsim::jaro_winkler(name, key), key));
    scored
        .filter(|&(score, _)| score >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, key)| key)
}
