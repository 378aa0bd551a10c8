//! Signatures of events (BIP-340).

use std::fmt;

use foldhash::fast::RandomState;
use lru::LruCache;
use parking_lot::Mutex;
use secp256k1::{Message, SECP256K1, XOnlyPublicKey, schnorr};

use super::event::Signature;
use super::reason::Reason;
use crate::base::hex32::{EventId, PublicKey};

/// Locks of a [`Verifier`].
const SHARDS: usize = 16;
/// Keys that a [`Verifier`] remembers: about 2 MB.
const KEYS_MAX: usize = 16_384;

/// Checks an author's signature over an event id; about 29 µs of CPU.
pub fn verify(id: &EventId, pubkey: &PublicKey, sig: &Signature) -> Result<(), Reason> {
    check(id, &parse(pubkey)?, sig)
}

/// Checks signatures and remembers the keys of those who write: to find the point that a key stands for (its y by a square
/// root) is an eighth of a check, and most events are of somebody who wrote before.
pub struct Verifier {
    shards: [Mutex<LruCache<PublicKey, XOnlyPublicKey, RandomState>>; SHARDS],
}

impl Default for Verifier {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(LruCache::unbounded_with_hasher(RandomState::default()))) }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    /// The same as [`verify`].
    pub fn verify(&self, id: &EventId, pubkey: &PublicKey, sig: &Signature) -> Result<(), Reason> {
        let shard = &self.shards[usize::from(pubkey.0[31]) % SHARDS];
        let known = shard.lock().get(pubkey).copied();
        if let Some(key) = known {
            return check(id, &key, sig);
        }
        let key = parse(pubkey)?;
        check(id, &key, sig)?;
        // Only keys that have signed something: nobody pushes others out with made-up ones.
        let mut shard = shard.lock();
        shard.put(*pubkey, key);
        if shard.len() > KEYS_MAX / SHARDS {
            shard.pop_lru();
        }
        Ok(())
    }

    /// Keys that are remembered.
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}

fn parse(pubkey: &PublicKey) -> Result<XOnlyPublicKey, Reason> {
    XOnlyPublicKey::from_slice(&pubkey.0).map_err(|_| Reason::invalid("pubkey is not a point on the curve"))
}

fn check(id: &EventId, key: &XOnlyPublicKey, sig: &Signature) -> Result<(), Reason> {
    let signature = schnorr::Signature::from_slice(&sig.0).map_err(|_| Reason::invalid("signature is malformed"))?;
    SECP256K1
        .verify_schnorr(&signature, &Message::from_digest(id.0), key)
        .map_err(|_| Reason::invalid("signature does not match"))
}
