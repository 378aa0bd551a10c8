//! `["COUNT", query, filter, ...]` (NIP-45): how many stored events match any of the filters. Refused by `CLOSED`.

use super::check_id;
use crate::policy::reading;
use crate::protocol::filter::Filter;
use crate::protocol::reason::Reason;
use crate::relay::session::Session;
use crate::relay::stats::Verb;
use crate::relay::work::{Counting, Job, Stage};

pub(in crate::relay) fn run(session: &mut Session, id: &str, filters: Vec<Filter>) {
    session.relay.counters.message(Verb::Count);
    if let Err(reason) = check(session, id, &filters) {
        return session.refuse_query(id, &reason);
    }
    let (cost, filters) = (reading::cost(&filters), reading::narrowed(filters));
    session.work.add(Job::Count(Counting { id: id.into(), cost, stage: Stage::Of(filters) }));
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
    reading::check_room(filters, session.open_cost(""), policy.limits())?;
    session.login.as_ref().map_or(Ok(()), |login| policy.rules().check_read(login))
}
