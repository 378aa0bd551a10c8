//! `["COUNT", query, filter, ...]` (NIP-45): how many stored events match any of the filters. Refused by `CLOSED`.

use super::check_id;
use crate::policy::reading;
use crate::protocol::filter::Filter;
use crate::protocol::reason::Reason;
use crate::relay::session::Session;
use crate::relay::stats::Verb;
use crate::relay::storage::Unreadable;
use crate::relay::work::{self, Counting, Job};

pub(in crate::relay) fn run(session: &mut Session, id: &str, filters: Vec<Filter>) {
    session.relay.counters.message(Verb::Count);
    if let Err(reason) = check(session, id, &filters) {
        return session.refuse_query(id, &reason);
    }
    let tally = session.relay.store.count(&reading::narrowed(filters), session.relay.policy.limits().count_max);
    let started = tally.map(|tally| Counting { id: id.into(), tally });
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
