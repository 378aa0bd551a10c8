//! Many ranges of one index as one sequence of rows, newest first.
//!
//! However many ranges there are, one cursor reads them all: each range keeps where it is and a few rows ahead, twice as many
//! each time it runs dry. So a feed of a thousand authors holds one RocksDB iterator and about as many rows as it has ranges.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::budget::{Budget, SEEK};
use super::error::ReadError;
use super::keys::{Place, Prefix};
use super::rows::{Index, Row};
use crate::kv::{Cursor, Db, Snapshot};

/// Most rows that a range reads ahead.
const AHEAD_MAX: u64 = 256;

/// Where rows are read.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub db: &'a Db,
    pub snapshot: &'a Snapshot,
}

/// The next row of a merge.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// This one; it stays until it is taken.
    Row(Row),
    /// There is none.
    End,
    /// Time is up.
    Later,
    /// As many rows were looked at as were allowed. Everything before this place was seen.
    Spent(Place),
}

/// Ranges of one index, merged.
pub(super) struct Merge {
    index: Index,
    ranges: Vec<Range>,
    /// `u64::MAX - since`, inclusive.
    last_age: u64,
    heads: BinaryHeap<Reverse<(Place, usize)>>,
    /// Ranges before this one have read their first rows.
    opened: usize,
    /// The range whose rows ran out; nothing is certain until it has read on.
    dry: Option<usize>,
    /// Rows that a range reads ahead at first.
    ahead: u64,
    /// Rows that may still be looked at.
    allowance: u64,
    /// Where the first range stands that may not read on.
    barrier: Option<Place>,
    reader: Option<Reader>,
}

struct Range {
    prefix: Prefix,
    /// The first place not read yet.
    from: Place,
    rows: VecDeque<Row>,
    refills: u32,
    exhausted: bool,
}

/// A cursor and the range whose last row it stands on.
struct Reader {
    cursor: Cursor,
    on: Option<usize>,
}

impl Merge {
    /// Rows of these ranges with an age of at most `last_age`, from `from` on. `wanted` rows will be asked for, as far as is
    /// known; at most `allowance` are looked at.
    pub(super) fn new(index: Index, prefixes: &[Prefix], from: Place, last_age: u64, wanted: u64, allowance: u64) -> Self {
        let range = |prefix: &Prefix| Range { prefix: *prefix, from, rows: VecDeque::new(), refills: 0, exhausted: false };
        let each = wanted.saturating_mul(2) / (prefixes.len() as u64).max(1);
        Self {
            index,
            ranges: prefixes.iter().map(range).collect(),
            last_age,
            heads: BinaryHeap::with_capacity(prefixes.len()),
            opened: 0,
            dry: None,
            ahead: each.min(wanted).clamp(1, AHEAD_MAX),
            allowance,
            barrier: None,
            reader: None,
        }
    }

    /// The next row that passes `check`.
    pub(super) fn head(&mut self, view: View<'_>, budget: &mut Budget, check: &impl Fn(&Row) -> bool) -> Result<Head, ReadError> {
        while let Some(range) = self.dry.or((self.opened < self.ranges.len()).then_some(self.opened)) {
            if !self.fill(range, view, budget, check)? {
                return Ok(Head::Later);
            }
            if self.dry.take().is_none() {
                self.opened += 1;
            }
        }
        let head = self.heads.peek().map(|Reverse((place, range))| (*place, *range));
        Ok(match (head, self.barrier) {
            (Some((place, _)), Some(barrier)) if place >= barrier => Head::Spent(barrier),
            (None, Some(barrier)) => Head::Spent(barrier),
            (Some((_, range)), _) => self.ranges[range].rows.front().map_or(Head::End, |row| Head::Row(*row)),
            (None, None) => Head::End,
        })
    }

    /// The row that [`Merge::head`] showed.
    pub(super) fn shown(&self) -> Option<Row> {
        let Reverse((_, range)) = self.heads.peek()?;
        self.ranges[*range].rows.front().copied()
    }

    /// Takes the row that [`Merge::head`] showed.
    pub(super) fn take(&mut self) {
        let Some(mut head) = self.heads.peek_mut() else { return };
        let index = head.0.1;
        let range = &mut self.ranges[index];
        range.rows.pop_front();
        if let Some(next) = range.rows.front() {
            head.0.0 = next.place;
            return;
        }
        std::collections::binary_heap::PeekMut::pop(head);
        if !range.exhausted {
            self.dry = Some(index);
        }
    }

    /// Gives the cursor back; it is opened again when it is needed.
    pub(super) fn rest(&mut self) {
        self.reader = None;
    }

    /// Reads rows of a range until it has enough of them. `false` if time is up before it has one.
    fn fill(
        &mut self,
        index: usize,
        view: View<'_>,
        budget: &mut Budget,
        check: &impl Fn(&Row) -> bool,
    ) -> Result<bool, ReadError> {
        let range = &mut self.ranges[index];
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader { cursor: open(self.index, view)?, on: None },
        };
        let wanted = (self.ahead << range.refills.min(8)).min(AHEAD_MAX);
        let mut standing = reader.on == Some(index);
        while (range.rows.len() as u64) < wanted && self.allowance > 0 && !budget.is_over() {
            if standing {
                reader.cursor.next();
                budget.spend(1);
            } else {
                reader.cursor.seek(range.prefix.key(range.from).bytes());
                budget.spend(SEEK);
                standing = true;
            }
            let row = match reader.cursor.entry()? {
                Some((key, value)) => self.index.read(&range.prefix, key, value)?,
                None => None,
            };
            let Some(row) = row.filter(|row| row.place.age <= self.last_age) else {
                range.exhausted = true;
                standing = false;
                break;
            };
            self.allowance -= 1;
            range.from = row.place.next();
            if check(&row) {
                range.rows.push_back(row);
            }
        }
        reader.on = standing.then_some(index);
        self.reader = Some(reader);
        if let Some(first) = range.rows.front() {
            self.heads.push(Reverse((first.place, index)));
            range.refills += 1;
            return Ok(true);
        }
        if !range.exhausted && self.allowance == 0 {
            self.barrier = Some(self.barrier.map_or(range.from, |barrier| barrier.min(range.from)));
            return Ok(true);
        }
        Ok(range.exhausted)
    }
}

fn open(index: Index, view: View<'_>) -> Result<Cursor, ReadError> {
    Ok(match index {
        Index::Time => view.db.cursor(index.family(), b"", b"", Some(view.snapshot))?,
        _ => view.db.run_cursor(index.family(), Some(view.snapshot))?,
    })
}
