//! `["REQ", subscription, filter, ...]`: kept wallet messages first, then stored events in slices, EOSE, then live ones.
//!
//! The live subscription is installed, with its gate closed, before the scan takes its snapshot (when its turn comes, see `work`), and the
//! scan itself says up to
//! which number it sees. A number that was read before would be too low for it: of a profile that is replaced in between, the
//! old version would be gone and the new one passed over. See `live::subscription`.

use std::collections::HashSet;
use std::sync::Arc;

use super::check_id;
use crate::base::hex32::EventId;
use crate::policy::reading::{self, effective_limit};
use crate::protocol::event::Event;
use crate::protocol::filter::Filter;
use crate::protocol::kind::{self, Class};
use crate::protocol::reason::Reason;
use crate::relay::Relay;
use crate::relay::session::Session;
use crate::relay::stats::Verb;
use crate::relay::work::{self, Job, Scanning, Stored};

pub(in crate::relay) fn run(session: &mut Session, id: &str, filters: Vec<Filter>) {
    session.relay.counters.message(Verb::Req);
    match check(session, id, &filters) {
        Ok(()) => open(session, id, reading::narrowed(filters)),
        Err(reason) => session.refuse(id, &reason),
    }
}

fn check(session: &mut Session, id: &str, filters: &[Filter]) -> Result<(), Reason> {
    let relay = Arc::clone(&session.relay);
    let policy = &relay.policy;
    check_id(id, policy.limits())?;
    reading::check_filters(filters, policy.limits())?;
    policy.rates().take_request(&session.rates)?;
    if let Some(login) = &session.login {
        policy.rules().check_read(login)?;
    }
    let most = policy.limits().subscriptions;
    if session.subscriptions.len() >= most {
        // Those that the live side gave up no longer count.
        session.subscriptions.retain(|subscription| subscription.is_alive());
        if session.subscriptions.len() >= most && session.subscriptions.iter().all(|subscription| subscription.id() != id) {
            return Err(Reason::error(format!("too many subscriptions, at most {most} may be open")));
        }
    }
    reading::check_room(filters, session.open_cost(id), policy.limits())
}

fn open(session: &mut Session, id: &str, filters: Arc<[Filter]>) {
    let relay = Arc::clone(&session.relay);
    session.end_subscription(id);
    let subscription = relay.live.subscribe(id, Arc::clone(&filters), Arc::clone(&session.outbox));
    session.subscriptions.push(Arc::clone(&subscription));
    let (recalled, filters) = recall(&relay, filters);
    let asks_store = !filters.iter().all(asks_for_nothing_stored);
    if !asks_store && recalled.is_empty() {
        return work::finish(&relay, &session.outbox, &subscription, relay.store.seq(), Vec::new());
    }
    let stored = if asks_store { Stored::Of(filters) } else { Stored::Nothing };
    session.work.add(Job::Scan(Scanning { subscription, recalled, sent: Vec::new(), stored }));
}

/// Whether no stored event can answer it, so that the store need not be asked.
fn asks_for_nothing_stored(filter: &Filter) -> bool {
    let only_ephemeral = |kinds: &[u16]| kinds.iter().all(|kind| kind::class(*kind) == Class::Ephemeral);
    filter.limit == Some(0) || filter.is_impossible() || filter.kinds.as_deref().is_some_and(only_ephemeral)
}

/// The kept wallet messages that the filters may see, the first to be sent last. They count towards the limits: the filters come
/// back with what is left of them.
fn recall(relay: &Relay, filters: Arc<[Filter]>) -> (Vec<Event>, Arc<[Filter]>) {
    let mut seen: HashSet<EventId> = HashSet::new();
    let mut recalled: Vec<Event> = Vec::new();
    let mut taken: Vec<(usize, u64)> = Vec::new();
    for (at, filter) in filters.iter().enumerate().filter(|(_, filter)| may_recall(filter)) {
        let room = usize::try_from(effective_limit(filter, relay.policy.limits())).unwrap_or(usize::MAX);
        let mut found = from_memory(relay, filter);
        found.truncate(room);
        taken.push((at, found.len() as u64));
        recalled.extend(found.into_iter().filter(|event| seen.insert(event.id())));
    }
    taken.retain(|(_, count)| *count > 0);
    if taken.is_empty() {
        return (Vec::new(), filters);
    }
    recalled.reverse();
    let mut left = filters.to_vec();
    for (at, count) in taken {
        let limit = effective_limit(&left[at], relay.policy.limits());
        left[at].limit = Some(limit.saturating_sub(count));
    }
    (recalled, left.into())
}

fn may_recall(filter: &Filter) -> bool {
    let admits = |kinds: &[u16]| kinds.iter().any(|kind| kind::is_wallet(*kind) && kind::class(*kind) == Class::Ephemeral);
    filter.names_someone() && !filter.is_impossible() && filter.kinds.as_deref().is_none_or(admits)
}

/// From the memory of the relay and from the intake, newest first, each once.
fn from_memory(relay: &Relay, filter: &Filter) -> Vec<Event> {
    let mut found = relay.live.recent().find(filter);
    let kept = relay.intake.recall(filter);
    found.extend(kept.into_iter().filter(|event| filter.matches(event.view())));
    found.sort_by(|a, b| b.created_at().cmp(&a.created_at()).then_with(|| a.id().cmp(&b.id())));
    found.dedup_by_key(|event| event.id());
    found
}
