//! The relay information document (NIP-11): what this relay is, what it serves and every limit it has.
//!
//! It is rendered once at start, from the same values that the parts are built with.

use bytes::Bytes;
use serde::Serialize;

/// Where the source of this software lies, or its name as long as the package names no place.
const SOFTWARE: &str =
    if env!("CARGO_PKG_REPOSITORY").is_empty() { env!("CARGO_PKG_NAME") } else { env!("CARGO_PKG_REPOSITORY") };

/// What the operator says about the relay. Empty texts are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// How to reach the operator.
    pub contact: String,
    /// The operator's public key, hex.
    pub pubkey: String,
    /// URL of a square picture.
    pub icon: String,
    /// URL of a wide picture.
    pub banner: String,
    /// URL of the terms of service.
    pub terms_of_service: String,
    /// The relay's own public key, hex.
    pub own_pubkey: String,
}

/// The limits that NIP-11 has names for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limitation {
    /// Longest message, bytes.
    pub max_message_length: usize,
    /// Most subscriptions of a connection.
    pub max_subscriptions: usize,
    /// Most events sent for a filter.
    pub max_limit: u64,
    /// Longest subscription id, characters.
    pub max_subid_length: usize,
    /// Most tags of an event.
    pub max_event_tags: usize,
    /// Longest content: what fits into the longest event.
    pub max_content_length: usize,
    /// Proof of work asked for (NIP-13).
    pub min_pow_difficulty: u8,
    /// Nothing goes without a login.
    pub auth_required: bool,
    /// Nothing goes without paying.
    pub payment_required: bool,
    /// Not everybody may write.
    pub restricted_writes: bool,
    /// How old an event may be, seconds.
    pub created_at_lower_limit: u64,
    /// How far in the future an event may be, seconds.
    pub created_at_upper_limit: u64,
    /// Events sent for a filter without `limit`.
    pub default_limit: u64,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    banner: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    icon: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pubkey: &'a str,
    #[serde(rename = "self", skip_serializing_if = "str::is_empty")]
    own_pubkey: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    contact: &'a str,
    supported_nips: &'a [u16],
    software: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    terms_of_service: &'a str,
    limitation: &'a Limitation,
}

/// What is served beside NIP-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// COUNT (NIP-45).
    pub count: bool,
    /// A wallet service lives here (NIP-47).
    pub wallet: bool,
}

impl Served {
    /// The numbers of what is on, ascending.
    pub fn nips(self) -> Vec<u16> {
        let always = [1, 9, 11, 40, 42, 70];
        let mut nips: Vec<u16> = always.into_iter().chain(self.count.then_some(45)).chain(self.wallet.then_some(47)).collect();
        nips.sort_unstable();
        nips
    }
}

/// Renders the document.
pub fn render(about: &About, served: Served, limitation: &Limitation) -> Bytes {
    let document = Document {
        name: &about.name,
        description: &about.description,
        banner: &about.banner,
        icon: &about.icon,
        pubkey: &about.pubkey,
        own_pubkey: &about.own_pubkey,
        contact: &about.contact,
        supported_nips: &served.nips(),
        software: SOFTWARE,
        version: env!("CARGO_PKG_VERSION"),
        terms_of_service: &about.terms_of_service,
        limitation,
    };
    // Texts and numbers always have a JSON form.
    Bytes::from(serde_json::to_vec(&document).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn limitation() -> Limitation {
        Limitation {
            max_message_length: 131_072,
            max_subscriptions: 200,
            max_limit: 5_000,
            max_subid_length: 64,
            max_event_tags: 2_000,
            max_content_length: 65_536,
            min_pow_difficulty: 0,
            auth_required: false,
            payment_required: false,
            restricted_writes: false,
            created_at_lower_limit: 94_608_000,
            created_at_upper_limit: 900,
            default_limit: 500,
        }
    }

    #[test]
    fn the_document_says_what_is_on_and_leaves_out_what_is_empty() {
        let about = About { name: "a \"b\" <c>".into(), own_pubkey: "ab".into(), ..About::default() };
        let bytes = render(&about, Served { count: true, wallet: false }, &limitation());
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(document["name"], "a \"b\" <c>");
        assert_eq!(document["self"], "ab");
        assert_eq!(document["supported_nips"], json!([1, 9, 11, 40, 42, 45, 70]));
        assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
        for absent in ["contact", "icon", "banner", "pubkey", "terms_of_service"] {
            assert!(document.get(absent).is_none(), "{absent}");
        }
        let limits = document["limitation"].as_object().unwrap();
        assert_eq!(limits.len(), 13);
        assert_eq!(limits["max_message_length"], 131_072);
        assert_eq!(limits["created_at_upper_limit"], 900);
    }
}
