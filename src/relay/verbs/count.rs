//! `["COUNT", query, filter, ...]` (NIP-45): how many stored events match any of the filters. Refused by `CLOSED`.

use super::check_id;
use crate::policy::reading;
use crate::protocol::filter::Filter;
use crate::protocol::reason::Reason;
use crate::protocol::relay_message;
use crate::relay::Relay;
use crate::relay::session::Session;
use crate::relay::stats::Verb;
use crate::relay::storage::{Count, Unreadable};

pub(in crate::relay) fn run(session: &Session, id: &str, filters: Vec<Filter>) {
    session.relay.counters.message(Verb::Count);
    if let Err(reason) = check(session, id, &filters) {
        return session.refuse_query(id, &reason);
    }
    match visible(&session.relay, &filters) {
        Ok(counted) => session.outbox.push_text(relay_message::count(id, counted.count, counted.approximate)),
        Err(Unreadable) => session.refuse_query(id, &Reason::error("the store could not be read")),
    }
}

fn check(session: &Session, id: &str, filters: &[Filter]) -> Result<(), Reason> {
    let policy = &session.relay.policy;
    check_id(id, policy.limits())?;
    reading::check_filters(filters, policy.limits())?;
    reading::check_count(filters)?;
    policy.rates().take_count(&session.rates)?;
    session.login.as_ref().map_or(Ok(()), |login| policy.rules().check_read(login))
}

/// All matching events but those wallet events that no filter may see: |all| - (|hidden or seen| - |seen|), where `seen` are
/// the wallet events that another filter of the query names.
fn visible(relay: &Relay, filters: &[Filter]) -> Result<Count, Unreadable> {
    let cap = relay.policy.limits().count_max;
    let all = relay.store.count(filters, cap)?;
    let mut hidden: Vec<Filter> = filters.iter().filter_map(reading::hidden).collect();
    if hidden.is_empty() || all.approximate {
        return Ok(all);
    }
    let seen = reading::seen_anyway(filters);
    let seen_count = if seen.is_empty() { 0 } else { relay.store.count(&seen, cap)?.count };
    hidden.extend(seen);
    let hidden_count = relay.store.count(&hidden, cap)?.count.saturating_sub(seen_count);
    Ok(Count { count: all.count.saturating_sub(hidden_count), approximate: false })
}
