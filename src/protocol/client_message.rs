//! What a client says: EVENT, REQ, COUNT, CLOSE, AUTH (NIP-01, NIP-42, NIP-45), read in one pass over the text.
//!
//! What cannot be read is refused with the address it can be given: the event id for EVENT and AUTH, the subscription id for
//! REQ, COUNT, CLOSE and the verbs of NIP-77 (which is not served), and only otherwise a NOTICE.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::event::Draft;
use super::filter::Filter;
use super::json::{Text, error_words};
use super::reason::Reason;
use crate::base::hex32::EventId;

/// What a client does instead of negentropy.
const NO_NEGENTROPY: &str = "negentropy (NIP-77) is not served by this relay; ask by REQ";

/// A message in the shape that the protocol asks for.
#[derive(Debug)]
pub enum ClientMessage<'a> {
    /// `["EVENT", event]`
    Event(Box<Draft<'a>>),
    /// `["REQ", subscription, filter, ...]`
    Req {
        /// The subscription id, length not yet checked.
        subscription: Text<'a>,
        /// At least one filter.
        filters: Vec<Filter>,
    },
    /// `["COUNT", subscription, filter, ...]` (NIP-45)
    Count {
        /// The query id, length not yet checked.
        subscription: Text<'a>,
        /// At least one filter.
        filters: Vec<Filter>,
    },
    /// `["CLOSE", subscription]`
    Close(Text<'a>),
    /// `["AUTH", event]` (NIP-42)
    Auth(Box<Draft<'a>>),
}

/// A refusal and whom it is addressed to.
#[derive(Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Answer with `OK false`.
    Event(EventId, Reason),
    /// Answer with `CLOSED`; a subscription of that id is over.
    Subscription(String, Reason),
    /// Answer with `CLOSED`; a subscription of that id is another matter.
    Count(String, Reason),
    /// Answer with `NEG-ERR`: it wanted negentropy (NIP-77), which is not served.
    Negentropy(String, Reason),
    /// Nothing can be addressed: answer with `NOTICE`.
    Notice(Reason),
}

/// Reads one message.
pub fn parse(text: &str) -> Result<ClientMessage<'_>, Malformed> {
    serde_json::from_str(text).map_err(|error| address(text, Reason::invalid(error_words(&error))))
}

/// Finds whom a refusal belongs to by reading the text again, leniently. Only bad messages pay for this.
fn address(text: &str, reason: Reason) -> Malformed {
    let Ok(serde_json::Value::Array(items)) = serde_json::from_str::<serde_json::Value>(text) else {
        return Malformed::Notice(reason);
    };
    let verb = items.first().and_then(serde_json::Value::as_str).unwrap_or_default();
    let second = items.get(1);
    match verb {
        "EVENT" | "AUTH" => {
            let id = second.and_then(|event| event.get("id")).and_then(serde_json::Value::as_str);
            match id.and_then(|id| EventId::parse(id).ok()) {
                Some(id) => Malformed::Event(id, reason),
                None => Malformed::Notice(reason),
            }
        }
        "REQ" | "COUNT" | "CLOSE" => match second.and_then(serde_json::Value::as_str) {
            Some(query) if verb == "COUNT" => Malformed::Count(query.to_owned(), reason),
            Some(subscription) => Malformed::Subscription(subscription.to_owned(), reason),
            None => Malformed::Notice(reason),
        },
        "NEG-OPEN" | "NEG-MSG" => match second.and_then(serde_json::Value::as_str) {
            Some(session) => Malformed::Negentropy(session.to_owned(), Reason::blocked(NO_NEGENTROPY)),
            None => Malformed::Notice(reason),
        },
        _ => Malformed::Notice(reason),
    }
}

impl<'de> Deserialize<'de> for ClientMessage<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = ClientMessage<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message: a list that starts with EVENT, REQ, COUNT, CLOSE or AUTH")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ClientMessage<'de>, A::Error> {
        let verb: Text<'de> = next(&mut seq, "a message must not be empty")?;
        let message = match &*verb {
            "EVENT" => ClientMessage::Event(Box::new(next(&mut seq, "EVENT needs an event")?)),
            "AUTH" => ClientMessage::Auth(Box::new(next(&mut seq, "AUTH needs an event")?)),
            "CLOSE" => ClientMessage::Close(next(&mut seq, "CLOSE needs a subscription id")?),
            "REQ" => {
                let (subscription, filters) = query(&mut seq, "REQ")?;
                return Ok(ClientMessage::Req { subscription, filters });
            }
            "COUNT" => {
                let (subscription, filters) = query(&mut seq, "COUNT")?;
                return Ok(ClientMessage::Count { subscription, filters });
            }
            other => {
                let shown: String = other.chars().take(32).collect();
                return Err(A::Error::custom(format!("unknown message \"{shown}\"")));
            }
        };
        match seq.next_element::<serde::de::IgnoredAny>()? {
            None => Ok(message),
            Some(_) => Err(A::Error::custom(format!("{} has too many elements", &*verb))),
        }
    }
}

fn next<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(seq: &mut A, missing: &str) -> Result<T, A::Error> {
    seq.next_element()?.ok_or_else(|| A::Error::custom(missing))
}

/// Filters are read to the last one; how many are allowed is a limit of the relay, and the message size bounds the list.
fn query<'de, A: SeqAccess<'de>>(seq: &mut A, verb: &str) -> Result<(Text<'de>, Vec<Filter>), A::Error> {
    let subscription = seq.next_element()?.ok_or_else(|| A::Error::custom(format!("{verb} needs a subscription id")))?;
    let mut filters = Vec::new();
    while let Some(filter) = seq.next_element()? {
        filters.push(filter);
    }
    if filters.is_empty() {
        return Err(A::Error::custom(format!("{verb} needs at least one filter")));
    }
    Ok((subscription, filters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_finds_its_address() {
        let refused = parse(r#"["REQ","s",{"limit":"x"}]"#).unwrap_err();
        let words = "\"limit\" must be a whole number, 0 or more";
        assert_eq!(refused, Malformed::Subscription("s".into(), Reason::invalid(words)));
        let refused = parse(r#"["NOPE"]"#).unwrap_err();
        assert_eq!(refused, Malformed::Notice(Reason::invalid("unknown message \"NOPE\"")));
        let refused = parse(r#"["NEG-OPEN","s",{},"61"]"#).unwrap_err();
        assert_eq!(refused, Malformed::Negentropy("s".into(), Reason::blocked(NO_NEGENTROPY)));
        let refused = parse(r#"["NEG-OPEN",{}]"#).unwrap_err();
        assert_eq!(refused, Malformed::Notice(Reason::invalid("unknown message \"NEG-OPEN\"")));
        let id = "0".repeat(64);
        let refused = parse(&format!(r#"["EVENT",{{"id":"{id}"}}]"#)).unwrap_err();
        assert_eq!(refused, Malformed::Event(EventId::default(), Reason::invalid("missing field `pubkey`")));
    }
}
