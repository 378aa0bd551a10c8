//! May this event come in: the rules that need nothing but the event, its time and who is logged in.
//!
//! The order is fixed by cost (relay.md section 1) and kept by `relay::ingest`: what is here under [`check_event`] costs no hash
//! and no look-up and comes first; [`check_protected`] needs the login and comes after the event is known to be new.

use super::limits::{Limits, span};
use super::login::Login;
use crate::protocol::event::Draft;
use crate::protocol::kind::{self, Class};
use crate::protocol::reason::Reason;
use crate::protocol::repost::carries_protected;

/// Kind, time and expiry.
pub fn check_event(draft: &Draft<'_>, limits: &Limits, now_s: u64) -> Result<(), Reason> {
    if draft.kind == kind::AUTH {
        return Err(Reason::invalid(format!("kind {} belongs into an AUTH message, it is never published", kind::AUTH)));
    }
    check_time(draft, limits, now_s)?;
    if draft.expiration().is_some_and(|at| at <= now_s) {
        return Err(Reason::invalid("expired"));
    }
    if matches!(draft.kind, kind::REPOST | kind::GENERIC_REPOST) && carries_protected(&draft.content) {
        return Err(Reason::blocked("the reposted event is protected, it must not be published by others"));
    }
    Ok(())
}

fn check_time(draft: &Draft<'_>, limits: &Limits, now_s: u64) -> Result<(), Reason> {
    let (past_s, future_s) = match kind::class(draft.kind) {
        Class::Ephemeral => (limits.ephemeral_s, limits.ephemeral_s),
        Class::Regular | Class::Replaceable | Class::Addressable => (limits.past_s, limits.future_s),
    };
    if draft.created_at > now_s.saturating_add(future_s) {
        return Err(Reason::invalid(format!("created_at is more than {} in the future", span(future_s))));
    }
    if draft.created_at < now_s.saturating_sub(past_s) {
        return Err(Reason::invalid(format!("created_at is more than {} in the past", span(past_s))));
    }
    Ok(())
}

/// NIP-70: a protected event comes from its author or not at all.
pub fn check_protected(draft: &Draft<'_>, login: &Login) -> Result<(), Reason> {
    if !draft.has_tag("-") || login.has(&draft.pubkey) {
        return Ok(());
    }
    Err(if login.keys().is_empty() {
        Reason::auth_required("this event is protected, log in as its author to publish it")
    } else {
        Reason::restricted("this event is protected, only its author may publish it")
    })
}
