//! May this event come in: the rules that need nothing but the event, its time and who is logged in.
//!
//! The order is fixed by cost (relay.md section 1) and kept by `relay::ingest`: what is here under [`check_event`] costs no hash
//! and no look-up and comes first; [`check_protected`] needs the login and comes after the event is known to be new.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::limits::{Limits, span};
use super::login::Login;
use crate::protocol::event::Draft;
use crate::protocol::kind::{self, Class};
use crate::protocol::reason::Reason;

/// Kind, time and expiry.
pub fn check_event(draft: &Draft<'_>, limits: &Limits, now_s: u64) -> Result<(), Reason> {
    if draft.kind == kind::AUTH {
        return Err(Reason::invalid(format!("kind {} belongs into an AUTH message, it is never published", kind::AUTH)));
    }
    check_time(draft, limits, now_s)?;
    if draft.expiration().is_some_and(|at| at <= now_s) {
        return Err(Reason::invalid("expired"));
    }
    if matches!(draft.kind, kind::REPOST | kind::GENERIC_REPOST) && carries_protected(draft) {
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

/// Whether the content is an event with a `-` tag (NIP-18, NIP-70). Nothing else of it is looked at: what a client makes of an
/// event that is wrong elsewhere is not known here.
fn carries_protected(draft: &Draft<'_>) -> bool {
    let content = draft.content.trim_start();
    content.starts_with('{') && serde_json::from_str(content).is_ok_and(|Protected(found)| found)
}

/// Whether any `tags` of an object has a tag named `-`.
struct Protected(bool);

impl<'de> Deserialize<'de> for Protected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Protected;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Protected, A::Error> {
                let mut found = false;
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    if key == "tags" {
                        let tags: serde_json::Value = map.next_value()?;
                        found |=
                            tags.as_array().is_some_and(|tags| tags.iter().any(|tag| tag.get(0).is_some_and(|name| name == "-")));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Protected(found))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protected_event_is_found_in_whatever_a_client_would_read() {
        let carries = |content: &str| {
            let event = serde_json::json!({
                "id": "0".repeat(64), "pubkey": "1".repeat(64), "created_at": 1, "kind": 6, "tags": [], "content": content,
                "sig": "2".repeat(128)
            });
            carries_protected(&Draft::parse(&event.to_string()).unwrap())
        };
        let inner = r#"{"kind":1,"tags":[["t","x"],["-"]],"content":"-"}"#;
        for yes in [inner.to_owned(), format!(" \n{inner}"), inner.replace("1,", "\"one\",\"kind\":2,")] {
            assert!(carries(&yes), "{yes}");
        }
        for no in [r#"{"tags":[["t","-"]],"content":"-"}"#, r#"{"-":["-"]}"#, r#"[["-"]]"#, "-", "", "{", r#"{"tags":{"-":1}}"#] {
            assert!(!carries(no), "{no}");
        }
    }
}
