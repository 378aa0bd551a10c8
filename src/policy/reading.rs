//! May these filters run, and what may they see.
//!
//! Wallet kinds (13194, 23194 to 23197) are only shown to filters that name an author, `#p`, `#e` or an id: the others are narrowed
//! before anything is compared with them.

use std::sync::Arc;

use super::limits::Limits;
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

/// What these filters cost to keep open, in values.
pub fn cost(filters: &[Filter]) -> usize {
    filters.iter().map(Filter::cost).sum()
}

/// Whether a connection that holds `held` values may hold these as well.
pub fn check_room(filters: &[Filter], held: usize, limits: &Limits) -> Result<(), Reason> {
    if held.saturating_add(cost(filters)) > limits.open_values {
        return Err(Reason::error(format!(
            "too many values in open filters, at most {} per connection: close a subscription first",
            limits.open_values
        )));
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

/// The filters without what they may not see. One without a list of kinds has no list to narrow and says so itself, so that
/// whoever compares events with it passes the hidden ones over and its limit stays exact.
pub fn narrowed(mut filters: Vec<Filter>) -> Arc<[Filter]> {
    for filter in filters.iter_mut().filter(|filter| !filter.names_someone()) {
        match &mut filter.kinds {
            None => filter.hides_wallet = true,
            Some(kinds) if kinds.iter().any(|kind| kind::is_wallet(*kind)) => {
                *kinds = kinds.iter().copied().filter(|kind| !kind::is_wallet(*kind)).collect();
            }
            Some(_) => {}
        }
    }
    filters.into()
}

/// The limit that a filter runs with.
pub fn effective_limit(filter: &Filter, limits: &Limits) -> u64 {
    filter.limit.unwrap_or(limits.default_limit).min(limits.max_limit)
}
