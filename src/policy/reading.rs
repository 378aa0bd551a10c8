//! May these filters run, and what may they see.
//!
//! Wallet kinds (13194, 23194 to 23197) are only shown to filters that name an author, `#p`, `#e` or an id. Of these only 13194 is
//! ever stored. A filter that names nobody and lists wallet kinds has them taken off its list; one without a list of kinds is
//! asked for a few events more, and its wallet events are passed over ([`Guard`]), so that its limit stays exact.

use std::sync::Arc;

use smallvec::SmallVec;

use super::limits::Limits;
use crate::protocol::event::EventRef;
use crate::protocol::filter::Filter;
use crate::protocol::kind;
use crate::protocol::reason::{Prefix, Reason};

/// Whether the filters are within bounds and ask for nothing that is not served here.
pub fn check_filters(filters: &[Filter], limits: &Limits) -> Result<(), Reason> {
    if filters.len() > limits.filters {
        return Err(Reason::invalid(format!("{} filters, at most {} are taken", filters.len(), limits.filters)));
    }
    for filter in filters {
        if filter.search.is_some() {
            return Err(Reason::new(Prefix::Unsupported, "search is not served here"));
        }
        let longest = filter.longest_list();
        if longest > limits.filter_values {
            return Err(Reason::invalid(format!(
                "a filter has a list of {longest} values, at most {} are taken",
                limits.filter_values
            )));
        }
    }
    Ok(())
}

/// COUNT is refused where the answer would only be about wallet events that the filter may not see.
pub fn check_count(filters: &[Filter]) -> Result<(), Reason> {
    let lists_wallet =
        |filter: &Filter| filter.kinds.as_deref().is_some_and(|kinds| kinds.iter().any(|kind| kind::is_wallet(*kind)));
    if filters.iter().any(|filter| !filter.names_someone() && lists_wallet(filter)) {
        return Err(Reason::restricted("wallet events are only counted for a filter that names authors, ids, #p or #e"));
    }
    Ok(())
}

/// The filters without the kinds that they may not see.
pub fn narrowed(mut filters: Vec<Filter>) -> Arc<[Filter]> {
    for filter in &mut filters {
        if filter.names_someone() {
            continue;
        }
        if let Some(kinds) = &mut filter.kinds
            && kinds.iter().any(|kind| kind::is_wallet(*kind))
        {
            *kinds = kinds.iter().copied().filter(|kind| !kind::is_wallet(*kind)).collect();
        }
    }
    filters.into()
}

/// Whether events of the wallet kinds that are stored could come up for a filter that may not see them.
fn needs_guard(filter: &Filter) -> bool {
    filter.kinds.is_none() && !filter.names_someone() && !filter.is_impossible() && filter.limit != Some(0)
}

/// What a filter must not see among the stored events, as a filter; `None` if it can see all that it matches.
pub fn hidden(filter: &Filter) -> Option<Filter> {
    needs_guard(filter).then(|| Filter { kinds: Some(Box::new([kind::WALLET_INFO])), limit: None, ..filter.clone() })
}

/// The part of the hidden events that other filters of the same query may see: these stay in its count.
pub fn seen_anyway(filters: &[Filter]) -> Vec<Filter> {
    let naming = filters.iter().filter(|filter| filter.names_someone());
    let sees = naming.filter(|filter| filter.kinds.as_deref().is_none_or(|kinds| kinds.contains(&kind::WALLET_INFO)));
    sees.map(|filter| Filter { kinds: Some(Box::new([kind::WALLET_INFO])), limit: None, ..filter.clone() }).collect()
}

/// Passes over the events that a query must not show, and keeps the limits of its filters exact nevertheless.
#[derive(Debug, Default)]
pub struct Guard(Option<Box<Watch>>);

#[derive(Debug)]
struct Watch {
    filters: Arc<[Filter]>,
    /// Events that each filter may still show.
    left: SmallVec<[u64; 4]>,
}

impl Guard {
    /// A guard for a query, and how many events more than its limits it must be asked for. `count_hidden` counts the stored
    /// events that a filter matches.
    pub fn new(filters: &Arc<[Filter]>, limits: &Limits, count_hidden: impl FnOnce(&[Filter]) -> u64) -> (Self, u64) {
        let hidden: Vec<Filter> = filters.iter().filter_map(hidden).collect();
        if hidden.is_empty() {
            return (Self(None), 0);
        }
        let surplus = count_hidden(&hidden);
        if surplus == 0 {
            return (Self(None), 0);
        }
        let left = filters.iter().map(|filter| effective_limit(filter, limits)).collect();
        (Self(Some(Box::new(Watch { filters: Arc::clone(filters), left }))), surplus)
    }

    /// Whether the event is shown. Called once for each event of the query, in its order.
    pub fn shows(&mut self, event: EventRef<'_>) -> bool {
        let Some(watch) = &mut self.0 else { return true };
        let is_wallet = kind::is_wallet(event.kind());
        let mut shown = false;
        for (filter, left) in watch.filters.iter().zip(&mut watch.left) {
            if *left > 0 && (!is_wallet || filter.names_someone()) && filter.matches(event) {
                *left -= 1;
                shown = true;
            }
        }
        shown
    }
}

/// The limit that a filter runs with.
pub fn effective_limit(filter: &Filter, limits: &Limits) -> u64 {
    filter.limit.unwrap_or(limits.default_limit).min(limits.max_limit)
}
