//! All filters of a query as one sequence of candidates, newest first.
//!
//! Each filter is a stream of its own with its own limit. Streams show their next row; the smallest place of all is the next
//! candidate, and every stream that shows it has its say about it. So an event that several filters ask for is found
//! once, counts against the limit of each, and is given away once.

use std::sync::Arc;

use super::apply::is_expired;
use super::budget::Budget;
use super::config::ScanLimits;
use super::error::ReadError;
use super::keys::{Place, Salt};
use super::merge::{Head, Merge};
use super::plan::{Plan, Ranges, plans};
use super::points::{Found, Points};
use super::reader::Reader;
use super::rows::{Row, author_head};
use crate::protocol::event::{Event, EventRef};
use crate::protocol::filter::Filter;
use crate::protocol::kind::is_wallet;

/// Up to this many authors are compared one by one.
const FEW_AUTHORS: usize = 8;

/// The streams of a query.
pub(super) struct Streams {
    filters: Arc<[Filter]>,
    streams: Vec<Stream>,
}

/// The next candidate.
pub(super) enum Next {
    /// This one, with its event if that was read already.
    Candidate(Found),
    /// There is none.
    End,
    /// Time is up.
    Later,
}

struct Stream {
    filter: usize,
    /// How many more events the filter may have.
    remaining: u64,
    check: Check,
    source: Source,
    /// Whether a row that passes the check satisfies the filter, but for an expiration.
    decided: bool,
    head: Option<Place>,
    taken: Option<Place>,
}

enum Source {
    Points(Points),
    Merge(Merge),
    /// Looked through first, and what comes after it.
    Probe(Merge, Ranges),
}

impl Streams {
    /// Streams of events with a number of at most `at_seq`.
    pub(super) fn new(filters: Arc<[Filter]>, limits: &ScanLimits, at_seq: u64, salt: &Salt) -> Self {
        let plans = plans(&filters, salt);
        let stream =
            |((place, filter), plan): ((usize, &Filter), Plan)| Stream::new(place, filter, plan, limits.of(filter.limit), at_seq);
        let streams = filters.iter().enumerate().zip(plans).filter_map(stream).collect();
        Self { filters, streams }
    }

    /// The next candidate; it stays until it is settled.
    pub(super) fn next(&mut self, reader: &Reader<'_>, budget: &mut Budget) -> Result<Next, ReadError> {
        let mut index = 0;
        while let Some(stream) = self.streams.get_mut(index) {
            match stream.show(&self.filters[stream.filter], reader, budget)? {
                Head::Row(_) => index += 1,
                Head::Later => return Ok(Next::Later),
                Head::End | Head::Spent(_) => {
                    self.streams.swap_remove(index);
                }
            }
        }
        let first = self.streams.iter().filter(|stream| stream.head.is_some()).min_by_key(|stream| stream.head);
        Ok(first.and_then(Stream::found).map_or(Next::End, Next::Candidate))
    }

    /// Takes the candidate at this place from every stream that shows it. `wants` is asked once for each of them; those that
    /// want it have one less to go. Whether any did.
    pub(super) fn settle(&mut self, place: Place, mut wants: impl FnMut(&Filter, bool) -> bool) -> bool {
        let mut wanted = false;
        for stream in self.streams.iter_mut().filter(|stream| stream.head == Some(place)) {
            let wants = wants(&self.filters[stream.filter], stream.decided);
            stream.take(place);
            stream.remaining -= u64::from(wants);
            wanted |= wants;
        }
        self.streams.retain(|stream| stream.remaining > 0);
        wanted
    }

    /// Whether a stream that shows this place needs nothing but its row to want it.
    pub(super) fn is_decided(&self, row: &Row) -> bool {
        !row.expires && self.streams.iter().any(|stream| stream.head == Some(row.place) && stream.decided)
    }

    /// Whether one stream alone shows this place: what [`fetch`] found for it is what its filter wants.
    pub(super) fn is_alone(&self, place: Place) -> bool {
        self.streams.len() == 1 || self.streams.iter().filter(|stream| stream.head == Some(place)).count() == 1
    }

    /// Whether any filter that shows this place matches the event.
    pub(super) fn any_matches(&self, place: Place, event: EventRef<'_>) -> bool {
        let mut showing = self.streams.iter().filter(|stream| stream.head == Some(place));
        showing.any(|stream| self.filters[stream.filter].matches(event))
    }

    /// Gives cursors back until the next call.
    pub(super) fn rest(&mut self) {
        for stream in &mut self.streams {
            match &mut stream.source {
                Source::Points(_) => {}
                Source::Merge(merge) | Source::Probe(merge, _) => merge.rest(),
            }
        }
    }
}

impl Stream {
    fn new(index: usize, filter: &Filter, plan: Plan, limit: u64, at_seq: u64) -> Option<Self> {
        if limit == 0 {
            return None;
        }
        let from = Place::first_of(filter.until.unwrap_or(u64::MAX));
        let last_age = !filter.since.unwrap_or(0);
        let merge = |ranges: &Ranges, allowance| Merge::new(ranges.index, &ranges.prefixes, from, last_age, limit, allowance);
        let (source, decided) = match plan {
            Plan::Nothing => return None,
            Plan::Ids => (Source::Points(Points::ids()), false),
            Plan::Addresses(addresses) => (Source::Points(Points::addresses(addresses)), false),
            Plan::Ranges(ranges) => (Source::Merge(merge(&ranges, u64::MAX)), ranges.decided),
            Plan::Probe(first, rows, then) => (Source::Probe(merge(&first, rows), then), false),
        };
        let check = Check::new(filter, at_seq);
        Some(Self { filter: index, remaining: limit, check, source, decided, head: None, taken: None })
    }

    /// Makes sure that the stream shows its next row, if it has one.
    fn show(&mut self, filter: &Filter, reader: &Reader<'_>, budget: &mut Budget) -> Result<Head, ReadError> {
        loop {
            let head = self.advance(filter, reader, budget)?;
            match head {
                // The same event from another range: two tag values, or the seam between a probe and what follows it.
                Head::Row(row) if self.taken == Some(row.place) => self.drop_head(),
                Head::Row(row) => {
                    self.head = Some(row.place);
                    return Ok(head);
                }
                Head::Spent(seam) => self.go_on_after(seam, filter),
                Head::End | Head::Later => return Ok(head),
            }
        }
    }

    fn advance(&mut self, filter: &Filter, reader: &Reader<'_>, budget: &mut Budget) -> Result<Head, ReadError> {
        let check = |row: &Row| self.check.passes(row);
        match &mut self.source {
            Source::Merge(merge) | Source::Probe(merge, _) => merge.head(reader.view, budget, &check),
            Source::Points(points) => Ok(match points.resolve(filter, reader, budget, &check)? {
                false => Head::Later,
                true => points.head().map_or(Head::End, |found| Head::Row(found.row)),
            }),
        }
    }

    /// The probe has had its rows: range by range from here.
    fn go_on_after(&mut self, seam: Place, filter: &Filter) {
        let Source::Probe(_, ranges) = &self.source else { return };
        let last_age = !filter.since.unwrap_or(0);
        self.decided = ranges.decided;
        let merge = Merge::new(ranges.index, &ranges.prefixes, seam, last_age, self.remaining, u64::MAX);
        self.source = Source::Merge(merge);
    }

    /// What it shows.
    fn found(&self) -> Option<Found> {
        match &self.source {
            Source::Points(points) => points.head().cloned(),
            Source::Merge(merge) | Source::Probe(merge, _) => merge.shown().map(|row| Found { row, event: None }),
        }
    }

    fn take(&mut self, place: Place) {
        self.head = None;
        self.taken = Some(place);
        self.drop_head();
    }

    fn drop_head(&mut self) {
        match &mut self.source {
            Source::Points(points) => points.take(),
            Source::Merge(merge) | Source::Probe(merge, _) => merge.take(),
        }
    }
}

/// What can be decided on an index row.
struct Check {
    at_seq: u64,
    kinds: Option<Box<[u16]>>,
    hides_wallet: bool,
    authors: Option<AuthorHeads>,
}

enum AuthorHeads {
    Few(Vec<u32>),
    Many(hashbrown::HashSet<u32, foldhash::fast::RandomState>),
}

impl Check {
    fn new(filter: &Filter, at_seq: u64) -> Self {
        let authors = filter.authors.as_deref().map(|authors| {
            let heads = authors.iter().map(author_head);
            if authors.len() <= FEW_AUTHORS { AuthorHeads::Few(heads.collect()) } else { AuthorHeads::Many(heads.collect()) }
        });
        Self { at_seq, kinds: filter.kinds.clone(), hides_wallet: filter.hides_wallet, authors }
    }

    fn passes(&self, row: &Row) -> bool {
        row.place.seq <= self.at_seq
            && self.kinds.as_deref().is_none_or(|kinds| kinds.binary_search(&row.kind).is_ok())
            && !(self.hides_wallet && is_wallet(row.kind))
            && match &self.authors {
                None => true,
                Some(AuthorHeads::Few(heads)) => heads.contains(&row.author_head),
                Some(AuthorHeads::Many(heads)) => heads.contains(&row.author_head),
            }
    }
}

/// Reads the event of a candidate if any filter that shows it matches and it has not expired.
pub(super) fn fetch(streams: &Streams, found: Found, reader: &Reader<'_>, now_s: u64) -> Result<Option<Event>, ReadError> {
    let place = found.row.place;
    let keep = |event: EventRef<'_>| !is_expired(event, now_s) && streams.any_matches(place, event);
    match found.event {
        // It was looked up for a filter that it matches.
        Some(event) => Ok((!is_expired(event.view(), now_s)).then_some(event)),
        None => reader.event_if(place.seq, keep),
    }
}
