//! What a relay answers, read without parsing the events inside: a load generator must not work as hard as the relay.

/// The first 16 hex digits of an event id: enough to tell the events of one run apart.
pub(super) type IdKey = u64;

/// A message from the relay.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    Ok { id: IdKey, accepted: bool, words: &'a [u8] },
    Event { subscription: &'a [u8], event: &'a [u8] },
    Eose { subscription: &'a [u8] },
    Closed { subscription: &'a [u8], words: &'a [u8] },
    Notice { words: &'a [u8] },
    Other,
}

impl<'a> Answer<'a> {
    /// Reads a message. Whatever is not understood is [`Answer::Other`].
    pub(super) fn read(text: &'a [u8]) -> Self {
        Self::try_read(text).unwrap_or(Self::Other)
    }

    fn try_read(text: &'a [u8]) -> Option<Self> {
        let rest = skip(text, b'[')?;
        let (verb, rest) = string(rest)?;
        let (first, rest) = string(skip(rest, b',')?)?;
        match verb {
            b"EVENT" => {
                let event = trim(skip(rest, b',')?);
                Some(Self::Event { subscription: first, event: trim_end(event.strip_suffix(b"]")?) })
            }
            b"OK" => {
                let rest = trim(skip(rest, b',')?);
                Some(Self::Ok { id: id_key(first)?, accepted: rest.starts_with(b"true"), words: words(rest) })
            }
            b"EOSE" => Some(Self::Eose { subscription: first }),
            b"CLOSED" => Some(Self::Closed { subscription: first, words: words(rest) }),
            b"NOTICE" => Some(Self::Notice { words: first }),
            _ => None,
        }
    }
}

/// The key of an id in hex.
pub(super) fn id_key(hex: &[u8]) -> Option<IdKey> {
    let digits = std::str::from_utf8(hex.get(..16)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

/// The id of an event, wherever its relay writes that field.
pub(super) fn event_id(event: &[u8]) -> Option<IdKey> {
    // Most relays keep the order of NIP-01: the id comes first.
    if let Some(rest) = event.strip_prefix(br#"{"id":""#) {
        return id_key(rest);
    }
    id_key(after(event, br#""id""#)?)
}

/// The id that the first `e` tag names: the request that a wallet's answer belongs to.
pub(super) fn answered_id(event: &[u8]) -> Option<IdKey> {
    id_key(after(event, br#"["e""#).or_else(|| after(event, br#""e""#))?)
}

/// What follows the next opening quote after `name`.
fn after<'a>(event: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = event.windows(name.len()).position(|window| window == name)? + name.len();
    let quote = event.get(at..)?.iter().take(4).position(|&byte| byte == b'"')?;
    event.get(at + quote + 1..)
}

/// The string at the end of an OK or a CLOSED.
fn words(rest: &[u8]) -> &[u8] {
    let at = rest.iter().position(|&byte| byte == b'"');
    at.and_then(|at| string(&rest[at..])).map_or(rest, |(words, _)| words)
}

fn skip(text: &[u8], byte: u8) -> Option<&[u8]> {
    let (&first, rest) = trim(text).split_first()?;
    (first == byte).then_some(rest)
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

fn trim_end(text: &[u8]) -> &[u8] {
    text.trim_ascii_end()
}

/// A string without escapes that matter here: subscription ids and event ids of our own, words for people.
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = skip(text, b'"')?;
    let mut escaped = false;
    let end = text.iter().position(|&byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    Some((&text[..end], &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000000000ff00000000000000000000000000000000000000000000000a";

    #[test]
    fn answers_are_read_with_and_without_spaces() {
        let ok = format!(r#"["OK","{ID}",true,""]"#);
        assert!(matches!(Answer::read(ok.as_bytes()), Answer::Ok { id: 255, accepted: true, .. }));
        let refused = format!(r#"[ "OK" , "{ID}" , false, "blocked: no"]"#);
        assert!(matches!(Answer::read(refused.as_bytes()), Answer::Ok { id: 255, accepted: false, words: b"blocked: no" }));
        let event = format!(r#"["EVENT","q1",{{"content":"\"id\":\"x","id":"{ID}"}} ]"#);
        let Answer::Event { subscription: b"q1", event } = Answer::read(event.as_bytes()) else { panic!("not an event") };
        assert_eq!(event_id(event), Some(255));
        assert_eq!(Answer::read(br#"["EOSE","q1"]"#), Answer::Eose { subscription: b"q1" });
        assert!(matches!(Answer::read(br#"["NOTICE","a \" b"]"#), Answer::Notice { words: br#"a \" b"# }));
        assert!(matches!(Answer::read(br#"["CLOSED","q1","error: x"]"#), Answer::Closed { subscription: b"q1", .. }));
    }

    #[test]
    fn the_answered_request_is_found() {
        let event = format!(r#"{{"kind":23195,"tags":[["p","aa"],["e","{ID}"]]}}"#);
        assert_eq!(answered_id(event.as_bytes()), Some(255));
    }

    #[test]
    fn damage_is_no_answer() {
        for text in ["", "[", "[\"OK\"", "[\"OK\",\"zz\",true]", "{}", "[\"EVENT\",\"q\",{}", "[\"EVENT\",\"q"] {
            assert_eq!(Answer::read(text.as_bytes()), Answer::Other, "{text}");
        }
    }
}
