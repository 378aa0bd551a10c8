//! How serde reads an event object and its tags.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use smallvec::SmallVec;

use super::event::{Draft, Tag};

impl<'de: 'a, 'a> Deserialize<'de> for Tag<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(TagVisitor(PhantomData))
    }
}

struct TagVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for TagVisitor<'a> {
    type Value = Tag<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tag: a list of strings")
    }

    /// The size of the message bounds the list.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tag<'a>, A::Error> {
        let mut items = SmallVec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tag(items))
    }
}

/// By name only: what serde derives for a struct would also take the bare list of its values.
impl<'de: 'a, 'a> Deserialize<'de> for Draft<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DraftVisitor(PhantomData))
    }
}

struct DraftVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for DraftVisitor<'a> {
    type Value = Draft<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Draft<'a>, A::Error> {
        Draft::deserialize(serde::de::value::MapAccessDeserializer::new(map))
    }
}
