//! Paths that a file names: `use` trees and `crate::...` in expressions, resolved to the crate root.

use super::source::Source;

/// A path and where it stands. `crate::a::b` and `super::...` are resolved to `["crate", "a", "b"]`; other paths are as written.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    pub segments: Vec<String>,
    pub line: usize,
}

/// Every path of the file with at least two segments, and every single name that is imported.
pub fn named(source: &Source) -> Vec<Named> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < source.tokens.len() {
        if source.text_at(at) == "use" && starts_statement(source, at) {
            at = walk_use(source, at + 1, &[], &mut all);
        } else if is_word(source.text_at(at)) && !follows_path(source, at) {
            at = walk_path(source, at, &mut all);
        } else {
            at += 1;
        }
    }
    all.into_iter().map(|named| resolve(source, named)).collect()
}

fn is_word(text: &str) -> bool {
    text.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
}

fn starts_statement(source: &Source, at: usize) -> bool {
    at == 0 || matches!(source.text_at(at - 1), ";" | "{" | "}" | "]" | ")" | "pub")
}

fn follows_path(source: &Source, at: usize) -> bool {
    at > 0 && (source.text_at(at - 1) == "." || (at > 1 && source.at(at - 2, &[":", ":"])))
}

fn walk_path(source: &Source, from: usize, all: &mut Vec<Named>) -> usize {
    let mut segments = vec![source.text_at(from).to_owned()];
    let mut at = from + 1;
    while source.at(at, &[":", ":"]) && is_word(source.text_at(at + 2)) {
        segments.push(source.text_at(at + 2).to_owned());
        at += 3;
    }
    if segments.len() > 1 {
        all.push(Named { segments, line: source.line_at(from) });
    }
    at
}

/// Reads one branch of a use tree from `at`; returns where the branch ends (its `,`, `}` or `;`).
fn walk_use(source: &Source, from: usize, prefix: &[String], all: &mut Vec<Named>) -> usize {
    let mut segments = prefix.to_vec();
    let mut at = from;
    if source.at(at, &[":", ":"]) {
        at += 2;
    }
    let line = source.line_at(at);
    loop {
        match source.text_at(at) {
            "{" => {
                let end = source.closing(at);
                at += 1;
                while at < end {
                    at = walk_use(source, at, &segments, all);
                    at += usize::from(source.text_at(at) == ",");
                }
                return end + 1;
            }
            word if is_word(word) || word == "*" => segments.push(word.to_owned()),
            _ => break,
        }
        at += 1;
        if !source.at(at, &[":", ":"]) {
            break;
        }
        at += 2;
    }
    if source.text_at(at) == "as" {
        at += 2;
    }
    if segments.len() > prefix.len() {
        all.push(Named { segments, line });
    }
    at
}

fn resolve(source: &Source, named: Named) -> Named {
    let mut base = source.module();
    let mut rest = named.segments.as_slice();
    match rest.first().map(String::as_str) {
        Some("self") => rest = &rest[1..],
        Some("super") => {}
        _ => return named,
    }
    while rest.first().is_some_and(|segment| segment == "super") {
        base.pop();
        rest = &rest[1..];
    }
    let segments = std::iter::once("crate".to_owned()).chain(base).chain(rest.iter().cloned()).collect();
    Named { segments, line: named.line }
}
