//! What hearth says: the only writer of JSON for a client (NIP-01, NIP-42, NIP-45, NIP-77's refusal).

use super::json::{write_number, write_string};
use super::reason::{Reason, Verdict};
use crate::base::hex32::EventId;

/// `["OK", id, accepted, reason]`
pub fn ok(id: &EventId, verdict: &Verdict) -> String {
    let mut out = Vec::with_capacity(96);
    out.extend_from_slice(b"[\"OK\",\"");
    out.extend_from_slice(id.to_hex().as_str().as_bytes());
    out.extend_from_slice(if verdict.is_accepted() { b"\",true," } else { b"\",false," });
    match verdict.reason() {
        None => out.extend_from_slice(b"\"\""),
        Some(reason) => write_string(&mut out, &reason.to_string()),
    }
    finish(out)
}

/// `["EOSE", subscription]`
pub fn eose(subscription: &str) -> String {
    finish(open("EOSE", subscription))
}

/// `["CLOSED", subscription, reason]`
pub fn closed(subscription: &str, reason: &Reason) -> String {
    let mut out = open("CLOSED", subscription);
    out.push(b',');
    write_string(&mut out, &reason.to_string());
    finish(out)
}

/// `["NEG-ERR", session, reason]` (NIP-77)
pub fn neg_err(session: &str, reason: &Reason) -> String {
    let mut out = open("NEG-ERR", session);
    out.push(b',');
    write_string(&mut out, &reason.to_string());
    finish(out)
}

/// `["NOTICE", text]`
pub fn notice(text: &str) -> String {
    finish(open("NOTICE", text))
}

/// `["AUTH", challenge]`
pub fn auth(challenge: &str) -> String {
    finish(open("AUTH", challenge))
}

/// `["COUNT", subscription, {"count": n, "approximate": bool}]`
pub fn count(subscription: &str, count: u64, approximate: bool) -> String {
    let mut out = open("COUNT", subscription);
    out.extend_from_slice(b",{\"count\":");
    write_number(&mut out, count);
    out.extend_from_slice(if approximate { b",\"approximate\":true}" } else { b",\"approximate\":false}" });
    finish(out)
}

/// The part of an EVENT message before the event itself: `["EVENT","subscription",`. Made once per subscription.
pub fn event_head(subscription: &str) -> String {
    let mut out = open("EVENT", subscription);
    out.push(b',');
    text(out)
}

/// What follows the event.
pub const EVENT_TAIL: &str = "]";

fn open(verb: &str, first: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(verb.len() + first.len() + 32);
    out.extend_from_slice(b"[\"");
    out.extend_from_slice(verb.as_bytes());
    out.extend_from_slice(b"\",");
    write_string(&mut out, first);
    out
}

fn finish(mut out: Vec<u8>) -> String {
    out.push(b']');
    text(out)
}

fn text(out: Vec<u8>) -> String {
    // Everything written above is UTF-8.
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_valid_json_whatever_they_carry() {
        let nasty = "a\"\\\n\u{1}🔥";
        for message in [
            closed(nasty, &Reason::error(nasty)),
            ok(&EventId::default(), &Verdict::Refused(Reason::invalid(nasty))),
            eose(nasty),
            notice(nasty),
            auth(nasty),
            count(nasty, 7, true),
            format!("{}{{}}{EVENT_TAIL}", event_head(nasty)),
        ] {
            assert!(serde_json::from_str::<serde_json::Value>(&message).is_ok(), "{message}");
        }
    }
}
