//! `["COUNT", query, filter, ...]` (NIP-45): how many stored events match any of the filters. Refused by `CLOSED`.

use super::check_id;
use crate::policy::reading;
use crate::protocol::filter::Filter;
use crate::protocol::reason::Reason;
use crate::relay::Relay;
use crate::relay::session::Session;
use crate::relay::stats::Verb;
use crate::relay::storage::Unreadable;
use crate::relay::work::{self, Counting, Job};

pub(in crate::relay) fn run(session: &mut Session, id: &str, filters: &[Filter]) {
    session.relay.counters.message(Verb::Count);
    if let Err(reason) = check(session, id, filters) {
        return session.refuse_query(id, &reason);
    }
    let started = start(&session.relay, id, filters);
    // Most counts are done within their first slice; only the others have to wait in line.
    match started.map(|counting| work::count(&session.relay, &session.outbox, counting)) {
        Ok(unfinished) => unfinished.into_iter().for_each(|counting| session.work.add(Job::Count(counting))),
        Err(Unreadable) => session.refuse_query(id, &work::unreadable()),
    }
}

fn check(session: &Session, id: &str, filters: &[Filter]) -> Result<(), Reason> {
    let policy = &session.relay.policy;
    check_id(id, policy.limits())?;
    reading::check_filters(filters, policy.limits())?;
    reading::check_count(filters)?;
    policy.rates().take_count(&session.rates)?;
    let most = policy.limits().counts;
    if session.work.counts() >= most {
        return Err(Reason::error(format!("too many counts, at most {most} may wait")));
    }
    session.login.as_ref().map_or(Ok(()), |login| policy.rules().check_read(login))
}

fn start(relay: &Relay, id: &str, filters: &[Filter]) -> Result<Counting, Unreadable> {
    let start_tally = |filters: &[Filter]| relay.store.count(filters, relay.policy.limits().count_max);
    let all = start_tally(filters)?;
    let mut hidden: Vec<Filter> = filters.iter().filter_map(reading::hidden).collect();
    let mut counting = Counting { id: id.into(), all, hidden_or_seen: None, seen: None };
    if !hidden.is_empty() {
        let seen = reading::seen_anyway(filters);
        if !seen.is_empty() {
            counting.seen = Some(start_tally(&seen)?);
        }
        hidden.extend(seen);
        counting.hidden_or_seen = Some(start_tally(&hidden)?);
    }
    Ok(counting)
}
