//! Signs the wallet's own events and packs them into the form that hearth keeps and sends.

use std::borrow::Cow;

use secp256k1::{Keypair, Message, SECP256K1};

use crate::base::hex32::{EventId, Hex32, PublicKey};
use crate::protocol::event::{Draft, Event, EventLimits, Signature, Tag};
use crate::protocol::json::Text;

/// Room for the largest answer: 40,960 bytes of plaintext make 54,704 characters of NIP-44, and NIP-04 fewer.
const LIMITS: EventLimits = EventLimits { event_bytes: 131_072, tags: 32, indexed_value_bytes: 1_024 };

/// An event before it is signed.
#[derive(Debug)]
pub struct Unsigned<'a> {
    /// Its kind.
    pub kind: u16,
    /// Unix seconds.
    pub created_at: u64,
    /// Tags, each a name and values.
    pub tags: &'a [&'a [&'a str]],
    /// Its content.
    pub content: &'a str,
}

/// Where the randomness of a signature comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nonce {
    /// Fresh randomness: the default of BIP-340, which also hides the key from whoever measures us.
    Random,
    /// None: the same event gets the same bytes, so that signing it again is no new event.
    Same,
}

/// Why an event could not be made: it breaks [`LIMITS`], a fault of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("own event could not be made: {0}")]
pub struct Unsignable(String);

/// The x-only public key of a key pair.
pub fn public_key(keypair: &Keypair) -> PublicKey {
    Hex32(keypair.x_only_public_key().0.serialize())
}

/// Signs and packs.
pub fn sign(keypair: &Keypair, event: &Unsigned<'_>, nonce: Nonce) -> Result<Event, Unsignable> {
    let tags = event.tags.iter().map(|tag| Tag(tag.iter().map(|item| Text(Cow::Borrowed(*item))).collect())).collect();
    let mut draft = Draft {
        id: EventId::default(),
        pubkey: public_key(keypair),
        created_at: event.created_at,
        kind: event.kind,
        tags,
        content: Text(Cow::Borrowed(event.content)),
        sig: Signature([0; 64]),
    };
    draft.id = draft.computed_id();
    let digest = Message::from_digest(draft.id.0);
    let signature = match nonce {
        Nonce::Random => SECP256K1.sign_schnorr(&digest, keypair),
        Nonce::Same => SECP256K1.sign_schnorr_no_aux_rand(&digest, keypair),
    };
    draft.sig = Signature(signature.serialize());
    draft.pack(&LIMITS).map_err(|reason| Unsignable(reason.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_here_is_valid_elsewhere() {
        let keypair = Keypair::from_seckey_slice(SECP256K1, &[7; 32]).unwrap();
        let tags: &[&[&str]] = &[&["p", "00"], &["encryption", "nip44_v2 nip04"]];
        let unsigned = Unsigned { kind: 13_194, created_at: 1_700_000_000, tags, content: "pay_invoice \"\n\u{7f}\u{2028}" };
        let event = sign(&keypair, &unsigned, Nonce::Random).unwrap();
        let theirs = nostr::event::Event::from_json(event.json()).unwrap();
        theirs.verify().unwrap();
        assert_eq!(theirs.content, unsigned.content);
        assert_eq!(event.kind(), 13_194);
    }

    #[test]
    fn without_randomness_the_bytes_are_the_same() {
        let keypair = Keypair::from_seckey_slice(SECP256K1, &[7; 32]).unwrap();
        let unsigned = Unsigned { kind: 1, created_at: 1, tags: &[], content: "" };
        let event = |nonce| sign(&keypair, &unsigned, nonce).unwrap();
        assert_eq!(event(Nonce::Same), event(Nonce::Same));
        assert_ne!(event(Nonce::Random), event(Nonce::Random));
        assert_eq!(event(Nonce::Random).id(), event(Nonce::Same).id());
    }
}
