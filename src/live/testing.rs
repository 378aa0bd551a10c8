//! Signed events for tests, made here from their parts so that every field is exactly what the test asked for.

use secp256k1::{Keypair, Message, SECP256K1};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::protocol::event::{Draft, Event, EventLimits};

fn keypair(number: u8) -> Keypair {
    let mut secret = [7_u8; 32];
    secret[31] = number;
    Keypair::from_seckey_slice(SECP256K1, &secret).unwrap()
}

/// The public key of that number in hex.
pub(crate) fn key_hex(number: u8) -> String {
    const_hex::encode(keypair(number).x_only_public_key().0.serialize())
}

/// A signed event as JSON.
pub(crate) fn signed<T: AsRef<[S]>, S: AsRef<str>>(author: u8, kind: u16, created_at: u64, tags: &[T], content: &str) -> String {
    let tags: Vec<Vec<&str>> = tags.iter().map(|tag| tag.as_ref().iter().map(AsRef::as_ref).collect()).collect();
    let pubkey = key_hex(author);
    let id: [u8; 32] = Sha256::digest(json!([0, pubkey, created_at, kind, tags, content]).to_string()).into();
    let sig = SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(id), &keypair(author));
    let (id, sig) = (const_hex::encode(id), const_hex::encode(sig.as_ref()));
    json!({"id": id, "pubkey": pubkey, "created_at": created_at, "kind": kind, "tags": tags, "content": content, "sig": sig})
        .to_string()
}

/// The packed form.
pub(crate) fn packed(json: &str) -> Event {
    Draft::parse(json).unwrap().pack(&EventLimits::default()).unwrap()
}
