//! Events made from scratch: own serialisation, own id, own signature, so that hearth is never checked by its own code.

use std::time::{SystemTime, UNIX_EPOCH};

use secp256k1::{Keypair, Message, SECP256K1, SecretKey};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

/// An event, with its fields in the canonical order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub id: String,
    pub pubkey: String,
    pub created_at: u64,
    pub kind: u64,
    pub tags: Vec<Vec<String>>,
    pub content: String,
    pub sig: String,
}

impl Event {
    /// The canonical JSON, which is what every subscriber must get.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap()
    }

    /// The first value of the first tag of that name.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|tag| tag[0] == name).and_then(|tag| tag.get(1)).map(String::as_str)
    }
}

/// A key pair that signs events.
#[derive(Clone)]
pub struct Key {
    pair: Keypair,
    pub hex: String,
}

impl Key {
    /// A fresh one.
    pub fn random() -> Self {
        Self::from_bytes(rand::random())
    }

    /// The same one for the same number.
    pub fn seeded(seed: u64) -> Self {
        Self::from_bytes(Sha256::digest(format!("test key {seed}")).into())
    }

    /// From a secret in hex.
    pub fn from_hex(secret: &str) -> Self {
        Self::from_bytes(const_hex::decode(secret).unwrap().try_into().unwrap())
    }

    fn from_bytes(secret: [u8; 32]) -> Self {
        let pair = Keypair::from_secret_key(SECP256K1, &SecretKey::from_slice(&secret).unwrap());
        Self { hex: pair.x_only_public_key().0.to_string(), pair }
    }

    /// The secret in hex.
    pub fn secret(&self) -> String {
        const_hex::encode(self.pair.secret_bytes())
    }

    /// An event of now.
    pub fn event(&self, kind: u64, content: &str, tags: &[&[&str]]) -> Event {
        self.event_at(now_s(), kind, content, tags)
    }

    /// A text note of now.
    pub fn note(&self, content: &str) -> Event {
        self.event(1, content, &[])
    }

    /// An event of that time.
    pub fn event_at(&self, created_at: u64, kind: u64, content: &str, tags: &[&[&str]]) -> Event {
        let tags = tags.iter().map(|tag| tag.iter().map(|&item| item.to_owned()).collect()).collect();
        self.sign(created_at, kind, content.to_owned(), tags)
    }

    /// An event of that time, from owned parts.
    pub fn sign(&self, created_at: u64, kind: u64, content: String, tags: Vec<Vec<String>>) -> Event {
        let id = id_of(&self.hex, created_at, kind, &tags, &content);
        let sig = self.sign_id(&id);
        Event { id: const_hex::encode(id), pubkey: self.hex.clone(), created_at, kind, tags, content, sig }
    }

    /// A signature over an id.
    pub fn sign_id(&self, id: &[u8; 32]) -> String {
        SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(*id), &self.pair).to_string()
    }

    /// A signed event object from any text for its number fields and tags, for what no library would make.
    pub fn crooked(&self, created_at: &str, kind: &str, tags: &str, content: &str) -> String {
        let content = serde_json::to_string(content).unwrap();
        let id: [u8; 32] = Sha256::digest(format!("[0,\"{}\",{created_at},{kind},{tags},{content}]", self.hex)).into();
        let (sig, pubkey, id) = (self.sign_id(&id), &self.hex, const_hex::encode(id));
        format!(
            r#"{{"id":"{id}","pubkey":"{pubkey}","created_at":{created_at},"kind":{kind},"tags":{tags},"content":{content},"sig":"{sig}"}}"#
        )
    }
}

/// SHA-256 of the serialised `[0, pubkey, created_at, kind, tags, content]`.
pub fn id_of(pubkey: &str, created_at: u64, kind: u64, tags: &[Vec<String>], content: &str) -> [u8; 32] {
    Sha256::digest(json!([0, pubkey, created_at, kind, tags, content]).to_string()).into()
}

/// Unix seconds.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
