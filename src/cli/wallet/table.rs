//! Text for terminals: columns, dates, grouped digits, and nothing that a stranger's text could do to a terminal.

use std::io::{self, Write};

/// Longest cell.
const CELL_MAX_CHARS: usize = 40;

/// Prints a head and rows in aligned columns.
pub(super) fn print(out: &mut (dyn Write + Send), head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// A text that others wrote: control characters shown as `?`, at most 40 characters.
pub(super) fn clean(text: &str) -> String {
    let shown: String = text.chars().take(CELL_MAX_CHARS).map(|letter| if is_plain(letter) { letter } else { '?' }).collect();
    if text.chars().nth(CELL_MAX_CHARS).is_some() { format!("{shown}…") } else { shown }
}

/// The same, of any length: for lines of their own.
pub(super) fn line(text: &str) -> String {
    text.chars().map(|letter| if is_plain(letter) { letter } else { '?' }).collect()
}

/// `21,000`
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `2026-09-01 12:00:00`, UTC.
pub(super) fn date(at_s: u64) -> String {
    let timestamp = i64::try_from(at_s).ok().and_then(|at_s| jiff::Timestamp::from_second(at_s).ok());
    timestamp.map_or_else(|| at_s.to_string(), |timestamp| timestamp.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// The first characters of a key or hash, enough to tell it from others.
pub(super) fn short(hex: &str) -> String {
    hex.chars().take(12).collect()
}

fn is_plain(letter: char) -> bool {
    !letter.is_control()
        && !matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut out = Vec::new();
        let rows = vec![vec!["a".to_owned(), "long cell".to_owned()], vec!["bbbb".to_owned(), "c".to_owned()]];
        print(&mut out, &["N", "M"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "N     M\na     long cell\nbbbb  c\n");
    }

    #[test]
    fn strangers_cannot_write_to_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c\n"), "a?[31mb?c?");
        assert_eq!(clean(&"x".repeat(41)).chars().count(), 41);
    }

    #[test]
    fn numbers_and_dates_are_readable() {
        assert_eq!((grouped(0), grouped(999), grouped(1_000)), ("0".to_owned(), "999".to_owned(), "1,000".to_owned()));
        assert_eq!(grouped(2_100_000_000_000_000_000), "2,100,000,000,000,000,000");
        assert_eq!(date(1_788_264_000), "2026-09-01 12:00:00");
    }
}
