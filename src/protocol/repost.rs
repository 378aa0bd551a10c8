//! What a repost carries (NIP-18): whether its content is a protected event (NIP-70).

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// Whether the content is an event with a `-` tag (NIP-18, NIP-70). Nothing else of it is looked at: what a client makes of an
/// event that is wrong elsewhere is not known here.
pub fn carries_protected(content: &str) -> bool {
    let content = content.trim_start();
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
        let carries = carries_protected;
        let inner = r#"{"kind":1,"tags":[["t","x"],["-"]],"content":"-"}"#;
        for yes in [inner.to_owned(), format!(" \n{inner}"), inner.replace("1,", "\"one\",\"kind\":2,")] {
            assert!(carries(&yes), "{yes}");
        }
        for no in [r#"{"tags":[["t","-"]],"content":"-"}"#, r#"{"-":["-"]}"#, r#"[["-"]]"#, "-", "", "{", r#"{"tags":{"-":1}}"#] {
            assert!(!carries(no), "{no}");
        }
    }
}
