//! Events: as a client sent them ([`Draft`]) and as hearth keeps them ([`Event`]).
//!
//! A draft borrows from the message. Packing it makes one buffer, once: a small header that filters are checked on and the
//! canonical JSON that every subscriber gets. That buffer is stored, matched and sent; nothing is serialised twice.
//!
//! ```text
//! offset  bytes  field (integers little endian)
//!      0      1  layout version, 1
//!      1      1  0
//!      2      2  kind
//!      4      4  length of the tag section in bytes
//!      8      8  created_at, unix seconds
//!     16      8  expiration (NIP-40), unix seconds; 0 = none
//!     24     32  id
//!     56     32  pubkey
//!     88      n  tag section: the first values of the single-letter tags, in order
//!                  letter | 0x80, 32 bytes           a value of 64 lower-case hex digits
//!                  letter, u16 length, bytes         any other value
//!   88+n         canonical JSON: id, pubkey, created_at, kind, tags, content, sig
//! ```

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::json::{Text, error_words, write_number, write_string};
use super::kind;
use super::reason::Reason;
use crate::base::hex32::{EventId, Hex32, PublicKey, decode_lower, encode_lower};

/// Version of the layout above.
const LAYOUT: u8 = 1;
/// Bytes before the tag section.
const HEADER: usize = 88;
/// Set on the letter of a tag whose value is 32 bytes of hex.
const HEX_FLAG: u8 = 0x80;

/// Bounds on one event.
#[derive(Clone, Copy, Debug)]
pub struct EventLimits {
    /// Most bytes of its canonical JSON.
    pub event_bytes: usize,
    /// Most tags.
    pub tags: usize,
    /// Most bytes of the first value of a single-letter tag.
    pub indexed_value_bytes: usize,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self { event_bytes: 65_536, tags: 2_000, indexed_value_bytes: 1_024 }
    }
}

/// A tag of a draft: its name and values.
#[derive(Clone, Debug)]
pub struct Tag<'a>(pub SmallVec<[Text<'a>; 4]>);

impl Tag<'_> {
    /// The name (an empty text if there is none).
    pub fn name(&self) -> &str {
        self.0.first().map_or("", |text| text)
    }

    /// The first value.
    pub fn value(&self) -> Option<&str> {
        self.0.get(1).map(|text| &**text)
    }
}

/// The signature of an event (BIP-340), 64 bytes from 128 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        let mut bytes = [0_u8; 64];
        decode_lower(text.as_bytes(), &mut bytes)
            .ok_or_else(|| serde::de::Error::custom("sig must be 128 lower-case hex digits"))?;
        Ok(Self(bytes))
    }
}

/// An event as a client sent it: well-formed, nothing else checked. Unknown fields are dropped, duplicate ones refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(remote = "Self")]
pub struct Draft<'a> {
    /// The id that the client claims.
    pub id: EventId,
    /// Its author.
    pub pubkey: PublicKey,
    /// Unix seconds.
    pub created_at: u64,
    /// 0 to 65,535.
    pub kind: u16,
    /// Its tags in order.
    #[serde(borrow)]
    pub tags: Vec<Tag<'a>>,
    /// Its content.
    #[serde(borrow)]
    pub content: Text<'a>,
    /// The author's signature over the id.
    pub sig: Signature,
}

impl<'a> Draft<'a> {
    /// Reads an event object. The reason is `invalid: ...` with words that name the field.
    pub fn parse(json: &'a str) -> Result<Self, Reason> {
        serde_json::from_str(json).map_err(|error| Reason::invalid(format!("event: {}", error_words(&error))))
    }

    /// The first value of the first tag of that name.
    pub fn tag_value(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|tag| tag.name() == name).and_then(Tag::value)
    }

    /// Whether there is a tag of that name.
    pub fn has_tag(&self, name: &str) -> bool {
        self.tags.iter().any(|tag| tag.name() == name)
    }

    /// When the event expires (NIP-40); a value that is no number is no expiration.
    pub fn expiration(&self) -> Option<u64> {
        self.tag_value("expiration").and_then(|value| value.parse().ok())
    }

    /// Makes the buffer that hearth keeps, and checks limits and the id against it.
    pub fn pack(&self, limits: &EventLimits) -> Result<Event, Reason> {
        self.check_tags(limits)?;
        let mut out = Vec::with_capacity(HEADER + 512 + self.content.len() + 96 * self.tags.len());
        self.write_header(&mut out);
        let json_at = out.len();
        let hashed = self.write_json(&mut out);
        if out.len() - json_at > limits.event_bytes {
            return Err(Reason::invalid(format!(
                "event is {} bytes, at most {} are taken",
                out.len() - json_at,
                limits.event_bytes
            )));
        }
        if self.hash(&out[hashed.tags], &out[hashed.content]) != self.id {
            return Err(Reason::invalid("event id does not match its content"));
        }
        Ok(Event(out.into()))
    }

    /// The id that its content has (NIP-01), whatever `id` claims: for whoever signs.
    pub fn computed_id(&self) -> EventId {
        let mut out = Vec::with_capacity(self.content.len() + 96 * self.tags.len() + 16);
        write_tags(&mut out, &self.tags);
        let content_at = out.len();
        write_string(&mut out, &self.content);
        self.hash(&out[..content_at], &out[content_at..])
    }

    fn check_tags(&self, limits: &EventLimits) -> Result<(), Reason> {
        if self.tags.len() > limits.tags {
            return Err(Reason::invalid(format!("event has {} tags, at most {} are taken", self.tags.len(), limits.tags)));
        }
        for tag in &self.tags {
            if tag.name().is_empty() {
                return Err(Reason::invalid("a tag needs a name"));
            }
            let length = tag.value().map_or(0, str::len);
            if single_letter(tag.name()).is_some() && length > limits.indexed_value_bytes {
                return Err(Reason::invalid(format!(
                    "value of tag \"{}\" is {length} bytes, at most {} are taken",
                    tag.name(),
                    limits.indexed_value_bytes
                )));
            }
        }
        Ok(())
    }

    fn write_header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[LAYOUT, 0]);
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.created_at.to_le_bytes());
        out.extend_from_slice(&self.expiration().unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&self.pubkey.0);
        if self.has_empty_address() {
            write_tag(out, b'd', "");
        }
        for tag in &self.tags {
            if let (Some(letter), Some(value)) = (single_letter(tag.name()), tag.value()) {
                write_tag(out, letter, value);
            }
        }
        let length = u32::try_from(out.len() - HEADER).unwrap_or(u32::MAX);
        out[4..8].copy_from_slice(&length.to_le_bytes());
    }

    /// Of an addressable event the first `d` counts, and one without a value is an empty one, whatever a second one says.
    fn has_empty_address(&self) -> bool {
        let first = self.tags.iter().find(|tag| tag.name() == "d");
        kind::class(self.kind) == kind::Class::Addressable && first.is_some_and(|tag| tag.value().is_none())
    }

    fn write_json(&self, out: &mut Vec<u8>) -> Hashed {
        out.extend_from_slice(b"{\"id\":\"");
        write_hex(out, &self.id.0);
        out.extend_from_slice(b"\",\"pubkey\":\"");
        write_hex(out, &self.pubkey.0);
        out.extend_from_slice(b"\",\"created_at\":");
        write_number(out, self.created_at);
        out.extend_from_slice(b",\"kind\":");
        write_number(out, u64::from(self.kind));
        out.extend_from_slice(b",\"tags\":");
        let tags_at = out.len();
        write_tags(out, &self.tags);
        let tags = tags_at..out.len();
        out.extend_from_slice(b",\"content\":");
        let content_at = out.len();
        write_string(out, &self.content);
        let content = content_at..out.len();
        out.extend_from_slice(b",\"sig\":\"");
        write_hex(out, &self.sig.0);
        out.extend_from_slice(b"\"}");
        Hashed { tags, content }
    }

    /// SHA-256 of `[0,pubkey,created_at,kind,tags,content]` (NIP-01).
    fn hash(&self, tags: &[u8], content: &[u8]) -> EventId {
        let mut head = Vec::with_capacity(112);
        head.extend_from_slice(b"[0,\"");
        write_hex(&mut head, &self.pubkey.0);
        head.extend_from_slice(b"\",");
        write_number(&mut head, self.created_at);
        head.push(b',');
        write_number(&mut head, u64::from(self.kind));
        head.push(b',');
        let mut hash = Sha256::new();
        hash.update(&head);
        hash.update(tags);
        hash.update(b",");
        hash.update(content);
        hash.update(b"]");
        Hex32(hash.finalize().into())
    }
}

/// Where in the buffer the two serialised parts stand that the id is computed over.
struct Hashed {
    tags: std::ops::Range<usize>,
    content: std::ops::Range<usize>,
}

fn write_tags(out: &mut Vec<u8>, tags: &[Tag<'_>]) {
    out.push(b'[');
    for (index, tag) in tags.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"[" } else { b",[" });
        for (index, item) in tag.0.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_string(out, item);
        }
        out.push(b']');
    }
    out.push(b']');
}

fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let at = out.len();
    out.resize(at + bytes.len() * 2, 0);
    encode_lower(bytes, &mut out[at..]);
}

fn write_tag(out: &mut Vec<u8>, letter: u8, value: &str) {
    match TagValue::of(value) {
        TagValue::Hex(hex) => {
            out.push(letter | HEX_FLAG);
            out.extend_from_slice(&hex.0);
        }
        TagValue::Text(text) => {
            out.push(letter);
            // check_tags bounds the length; u16::MAX is far above the largest permitted setting.
            let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
        }
    }
}

/// The letter of a single-letter tag name (a-z, A-Z), the only names that filters can ask for.
pub fn single_letter(name: &str) -> Option<u8> {
    match name.as_bytes() {
        [letter] if letter.is_ascii_alphabetic() => Some(*letter),
        _ => None,
    }
}

/// The value of a single-letter tag: ids and keys as 32 bytes, everything else as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TagValue<'a> {
    /// Exactly 64 lower-case hex digits.
    Hex(Hex32),
    /// Anything else.
    Text(&'a str),
}

impl<'a> TagValue<'a> {
    /// The form in which a value is kept and compared.
    pub fn of(value: &'a str) -> Self {
        match Hex32::parse(value) {
            Ok(hex) => Self::Hex(hex),
            Err(_) => Self::Text(value),
        }
    }

    /// The value as it stood in the event.
    pub fn to_text(self) -> Cow<'a, str> {
        match self {
            Self::Hex(hex) => Cow::Owned(hex.to_string()),
            Self::Text(text) => Cow::Borrowed(text),
        }
    }
}

/// An accepted event: one shared buffer in the layout above. Its count of holders lies beside its header, so that whoever takes it
/// from a cold cache waits for memory once and not twice.
#[derive(Clone, PartialEq, Eq)]
pub struct Event(Arc<[u8]>);

/// A borrowed event: the same layout, wherever it lies (the block cache, a batch).
#[derive(Clone, Copy)]
pub struct EventRef<'a>(&'a [u8]);

impl Event {
    /// A copy of a buffer that was stored; `None` if it is not in the layout above.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        EventRef::new(bytes).map(EventRef::to_owned)
    }

    /// The borrowed form, which has all accessors.
    pub fn view(&self) -> EventRef<'_> {
        EventRef(&self.0)
    }

    /// The buffer, as it is stored.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The id.
    pub fn id(&self) -> EventId {
        self.view().id()
    }

    /// The author.
    pub fn pubkey(&self) -> PublicKey {
        self.view().pubkey()
    }

    /// The kind.
    pub fn kind(&self) -> u16 {
        self.view().kind()
    }

    /// Unix seconds.
    pub fn created_at(&self) -> u64 {
        self.view().created_at()
    }

    /// The canonical JSON object.
    pub fn json(&self) -> &str {
        self.view().json()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.json())
    }
}

impl<'a> EventRef<'a> {
    /// A stored buffer; `None` if it is not in the layout above (a damaged value).
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let view = (bytes.len() > HEADER && bytes[0] == LAYOUT).then_some(Self(bytes))?;
        let json = bytes.get(HEADER + view.tags_length()..)?;
        (json.first() == Some(&b'{') && std::str::from_utf8(json).is_ok()).then_some(view)
    }

    /// The whole buffer.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The kind.
    pub fn kind(self) -> u16 {
        u16::from_le_bytes(self.field(2))
    }

    /// Unix seconds.
    pub fn created_at(self) -> u64 {
        u64::from_le_bytes(self.field(8))
    }

    /// When it expires (NIP-40), unix seconds.
    pub fn expiration(self) -> Option<u64> {
        match u64::from_le_bytes(self.field(16)) {
            0 => None,
            at => Some(at),
        }
    }

    /// The id.
    pub fn id(self) -> EventId {
        Hex32(self.field(24))
    }

    /// The author.
    pub fn pubkey(self) -> PublicKey {
        Hex32(self.field(56))
    }

    /// The single-letter tags with their first values, in order.
    pub fn tags(self) -> TagIter<'a> {
        TagIter(self.0.get(HEADER..HEADER + self.tags_length()).unwrap_or_default())
    }

    /// The first value of the first tag of that letter.
    pub fn tag(self, letter: u8) -> Option<TagValue<'a>> {
        self.tags().find(|(found, _)| *found == letter).map(|(_, value)| value)
    }

    /// The canonical JSON object.
    pub fn json(self) -> &'a str {
        // Checked when the buffer was made or taken from the store; the fallback keeps this free of unsafe code.
        std::str::from_utf8(self.json_bytes()).unwrap_or("{}")
    }

    /// The canonical JSON object as bytes (UTF-8, checked when the buffer was made).
    pub fn json_bytes(self) -> &'a [u8] {
        self.0.get(HEADER + self.tags_length()..).unwrap_or_default()
    }

    /// An owned copy.
    pub fn to_owned(self) -> Event {
        Event(self.0.into())
    }

    fn tags_length(self) -> usize {
        u32::from_le_bytes(self.field(4)) as usize
    }

    fn field<const N: usize>(self, at: usize) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.0[at..at + N]);
        field
    }
}

/// Walks the tag section.
#[derive(Clone)]
pub struct TagIter<'a>(&'a [u8]);

impl<'a> Iterator for TagIter<'a> {
    type Item = (u8, TagValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (&letter, rest) = self.0.split_first()?;
        if letter & HEX_FLAG != 0 {
            let hex = Hex32::from_slice(rest)?;
            self.0 = &rest[32..];
            return Some((letter & !HEX_FLAG, TagValue::Hex(hex)));
        }
        let length = usize::from(u16::from_le_bytes([*rest.first()?, *rest.get(1)?]));
        let value = rest.get(2..2 + length)?;
        self.0 = &rest[2 + length..];
        Some((letter, TagValue::Text(std::str::from_utf8(value).ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind, Tag as NostrTag};

    fn signed(content: &str, tags: &[&[&str]]) -> String {
        let tags = tags.iter().map(|tag| NostrTag::parse(tag.iter().copied()).unwrap());
        let keys = Keys::generate();
        EventBuilder::new(Kind::from(1), content)
            .tags(tags)
            .finalize(&keys)
            .map(|event| serde_json::to_string(&event).unwrap())
            .unwrap()
    }

    #[test]
    fn a_packed_event_shows_what_was_sent() {
        let key = "a".repeat(64);
        let json = signed("hi \u{1}\n\"\u{2028}🔥", &[&["p", &key, "x"], &["t", "nostr"], &["expiration", "77"], &["alt", "no"]]);
        let draft = Draft::parse(&json).unwrap();
        let event = draft.pack(&EventLimits::default()).unwrap();
        let view = event.view();
        assert_eq!((view.kind(), view.expiration(), view.id()), (1, Some(77), draft.id));
        let tags: Vec<_> = view.tags().collect();
        assert_eq!(tags, [(b'p', TagValue::of(&key)), (b't', TagValue::Text("nostr"))]);
        let again = Draft::parse(event.json()).unwrap().pack(&EventLimits::default()).unwrap();
        assert_eq!(again, event);
        assert!(Event::from_bytes(event.bytes()).is_some());
    }

    #[test]
    fn only_an_object_is_an_event() {
        let object: serde_json::Value = serde_json::from_str(&signed("hi", &[])).unwrap();
        let fields = ["id", "pubkey", "created_at", "kind", "tags", "content", "sig"].map(|field| object[field].clone());
        let list = serde_json::to_string(&fields).unwrap();
        assert!(Draft::parse(&object.to_string()).is_ok());
        assert!(Draft::parse(&list).unwrap_err().to_string().contains("expected an event object"));
        assert!(serde_json::from_str::<Draft<'_>>(&list).is_err());
    }

    #[test]
    fn the_first_d_is_the_address_also_without_a_value() {
        let of = |kind: u16, tags: serde_json::Value| {
            let event = serde_json::json!({
                "id": "0".repeat(64), "pubkey": "1".repeat(64), "created_at": 1, "kind": kind, "tags": tags, "content": "",
                "sig": "2".repeat(128)
            });
            let text = event.to_string();
            let draft = Draft::parse(&text).unwrap();
            let id = draft.computed_id();
            let event = Draft { id, ..draft }.pack(&EventLimits::default()).unwrap();
            event.view().tag(b'd').map(|value| value.to_text().into_owned())
        };
        assert_eq!(of(30_023, serde_json::json!([["d"], ["d", "x"]])).as_deref(), Some(""));
        assert_eq!(of(30_023, serde_json::json!([["d", "x"], ["d"]])).as_deref(), Some("x"));
        assert_eq!(of(30_023, serde_json::json!([["t", "x"]])), None);
        assert_eq!(of(1, serde_json::json!([["d"], ["d", "x"]])).as_deref(), Some("x"));
    }

    #[test]
    fn a_changed_event_no_longer_matches_its_id() {
        let json = signed("hi", &[]).replace("\"hi\"", "\"ho\"");
        let reason = Draft::parse(&json).unwrap().pack(&EventLimits::default()).unwrap_err();
        assert_eq!(reason.to_string(), "invalid: event id does not match its content");
    }
}
