//! The encryption around requests and answers: NIP-44 version 2, and NIP-04 for clients that know nothing else.
//!
//! Which one a client used is judged by the shape of its ciphertext (`?iv=` is NIP-04 and can be nothing else); what the tag says
//! may be wrong and is not needed. The answer goes back in the scheme that worked. Every failure has the same words, so that
//! nobody learns from them which check failed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use nostr::nips::nip44::v2::{self, ConversationKey};
use secp256k1::Keypair;
use sha2::Sha256;

use super::nip04::SharedKey;
use crate::base::hex32::PublicKey;
use crate::base::secret::Secret;
use crate::wallet::terms::Scheme;

/// Longest ciphertext that is decoded; above the largest event that the relay takes by default.
const CIPHERTEXT_MAX_BYTES: usize = 131_072;
/// First byte of a NIP-44 payload of version 2.
const VERSION_2: u8 = 2;

/// The scheme whose shape a ciphertext has.
pub fn scheme_of(ciphertext: &str) -> Scheme {
    if ciphertext.contains("?iv=") { Scheme::Nip04 } else { Scheme::Nip44 }
}

/// The scheme that a word in an `encryption` tag names.
pub fn scheme_named(word: &str) -> Option<Scheme> {
    [Scheme::Nip44, Scheme::Nip04].into_iter().find(|scheme| scheme.as_str() == word)
}

/// The one text for every request that cannot be decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request could not be decrypted")]
pub struct Undecryptable;

/// Why an answer could not be encrypted: only our own faults (an empty or enormous text, no randomness).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer could not be encrypted")]
pub struct Unsealable;

/// Why two keys make no envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client's public key is not a point on the curve")]
pub struct BadPeer;

/// The keys between one wallet key and one client, computed once.
pub struct Envelope {
    conversation: ConversationKey,
    shared: SharedKey,
    /// Where the nonces of [`Envelope::seal_same`] come from.
    nonces: Secret<[u8; 32]>,
}

impl Envelope {
    /// The envelope between our key and a client's.
    pub fn new(ours: &Keypair, peer: &PublicKey) -> Result<Self, BadPeer> {
        let secret = nostr::key::SecretKey::from_slice(&ours.secret_bytes()).map_err(|_| BadPeer)?;
        let shared = SharedKey::new(ours, peer).ok_or(BadPeer)?;
        let peer = nostr::key::PublicKey::from_slice(&peer.0).map_err(|_| BadPeer)?;
        let conversation = ConversationKey::derive(&secret, &peer).map_err(|_| BadPeer)?;
        Ok(Self { conversation, shared, nonces: Secret::new(nonces(ours)) })
    }

    /// Decrypts what the client sent and says by which scheme.
    pub fn open(&self, ciphertext: &str) -> Result<(Scheme, String), Undecryptable> {
        if ciphertext.len() > CIPHERTEXT_MAX_BYTES {
            return Err(Undecryptable);
        }
        let scheme = scheme_of(ciphertext);
        let plaintext = match scheme {
            Scheme::Nip04 => self.shared.open(ciphertext).ok_or(Undecryptable)?,
            Scheme::Nip44 => self.open_nip44(ciphertext)?,
        };
        let plaintext = String::from_utf8(plaintext).map_err(|_| Undecryptable)?;
        Ok((scheme, plaintext))
    }

    /// Encrypts an answer.
    pub fn seal(&self, scheme: Scheme, plaintext: &str) -> Result<String, Unsealable> {
        let mut nonce = [0_u8; 32];
        getrandom::fill(&mut nonce).map_err(|_| Unsealable)?;
        self.seal_with(scheme, plaintext, nonce)
    }

    /// Encrypts a text that has to be the same whenever it is made. The nonce follows from the text under a key of its own, so two
    /// texts never share one; all that it shows is that the same text was sent again.
    pub fn seal_same(&self, scheme: Scheme, plaintext: &str) -> Result<String, Unsealable> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(self.nonces.expose()).map_err(|_| Unsealable)?;
        mac.update(scheme.as_str().as_bytes());
        mac.update(plaintext.as_bytes());
        self.seal_with(scheme, plaintext, mac.finalize().into_bytes().into())
    }

    fn seal_with(&self, scheme: Scheme, plaintext: &str, nonce: [u8; 32]) -> Result<String, Unsealable> {
        match scheme {
            Scheme::Nip04 => Ok(self.shared.seal(plaintext, &nonce)),
            Scheme::Nip44 => {
                let payload = v2::encrypt_to_bytes_with_nonce(&self.conversation, plaintext.as_bytes(), nonce);
                payload.map(|payload| STANDARD.encode(payload)).map_err(|_| Unsealable)
            }
        }
    }

    fn open_nip44(&self, ciphertext: &str) -> Result<Vec<u8>, Undecryptable> {
        let payload = STANDARD.decode(ciphertext).map_err(|_| Undecryptable)?;
        if payload.first() != Some(&VERSION_2) {
            return Err(Undecryptable);
        }
        v2::decrypt_to_bytes(&self.conversation, &payload).map_err(|_| Undecryptable)
    }
}

/// A key for nonces that no other use of the wallet's key gives.
fn nonces(ours: &Keypair) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&ours.secret_bytes())
        .unwrap_or_else(|_| <Hmac<Sha256> as Mac>::new(&Default::default()));
    mac.update(b"hearth nonces of repeatable messages");
    mac.finalize().into_bytes().into()
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Envelope([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Envelope, Envelope) {
        let ours = Keypair::from_seckey_slice(secp256k1::SECP256K1, &[1; 32]).unwrap();
        let theirs = Keypair::from_seckey_slice(secp256k1::SECP256K1, &[2; 32]).unwrap();
        let key = |pair: &Keypair| PublicKey::from(pair.x_only_public_key().0.serialize());
        (Envelope::new(&ours, &key(&theirs)).unwrap(), Envelope::new(&theirs, &key(&ours)).unwrap())
    }

    #[test]
    fn both_schemes_go_both_ways_and_are_told_by_their_shape() {
        let (wallet, client) = pair();
        let long = "x".repeat(40_960);
        for scheme in [Scheme::Nip44, Scheme::Nip04] {
            for text in ["{}", "{\"method\":\"get_info\"}", "ünïcödé \u{1f525}", long.as_str()] {
                let sealed = client.seal(scheme, text).unwrap();
                assert_eq!(wallet.open(&sealed), Ok((scheme, text.to_owned())));
            }
        }
    }

    #[test]
    fn what_other_programs_sealed_is_opened() {
        let (wallet, _) = pair();
        let theirs = nostr::key::SecretKey::from_slice(&[2; 32]).unwrap();
        let ours = nostr::key::Keys::new(nostr::key::SecretKey::from_slice(&[1; 32]).unwrap()).public_key();
        let new = nostr::nips::nip44::encrypt(&theirs, &ours, "new", nostr::nips::nip44::Version::V2).unwrap();
        assert_eq!(wallet.open(&new), Ok((Scheme::Nip44, "new".to_owned())));
        let old = nostr::nips::nip04::encrypt(&theirs, &ours, "old").unwrap();
        assert_eq!(wallet.open(&old), Ok((Scheme::Nip04, "old".to_owned())));
    }

    #[test]
    fn a_text_that_must_be_the_same_is_and_no_other_shares_its_nonce() {
        let (wallet, client) = pair();
        for scheme in [Scheme::Nip44, Scheme::Nip04] {
            let (a, b) = (wallet.seal_same(scheme, "a").unwrap(), wallet.seal_same(scheme, "b").unwrap());
            assert_eq!(a, wallet.seal_same(scheme, "a").unwrap());
            assert_ne!(a, b);
            assert_eq!(client.open(&a), Ok((scheme, "a".to_owned())));
            assert_ne!(wallet.seal(scheme, "a").unwrap(), wallet.seal(scheme, "a").unwrap());
        }
        let nonce = |text: &str| STANDARD.decode(wallet.seal_same(Scheme::Nip44, text).unwrap()).unwrap()[1..33].to_vec();
        assert_ne!(nonce("a"), nonce("b"));
    }

    #[test]
    fn all_garbage_fails_with_one_text() {
        let (wallet, client) = pair();
        let good44 = client.seal(Scheme::Nip44, "{}").unwrap();
        let good04 = client.seal(Scheme::Nip04, "{}").unwrap();
        let (body, iv) = good04.split_once("?iv=").unwrap();
        let mut flipped = STANDARD.decode(&good44).unwrap();
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        let mut version3 = STANDARD.decode(&good44).unwrap();
        version3[0] = 3;
        let garbage = [
            String::new(),
            "#".to_owned(),
            "not base64 at all".to_owned(),
            "Ag==".to_owned(),
            good44[..good44.len() / 2].to_owned(),
            STANDARD.encode(&flipped),
            STANDARD.encode(&version3),
            format!("{good44}?iv={iv}"),
            format!("{body}?iv="),
            format!("?iv={iv}"),
            format!("{body}?iv={iv}?iv={iv}"),
            format!("{body}?iv=AAAA"),
            "A".repeat(CIPHERTEXT_MAX_BYTES + 4),
        ];
        for ciphertext in garbage {
            let shown: String = ciphertext.chars().take(80).collect();
            let failure = wallet.open(&ciphertext).unwrap_err();
            assert_eq!(failure.to_string(), "the request could not be decrypted", "{shown}");
        }
    }

    #[test]
    fn a_key_off_the_curve_makes_no_envelope() {
        let ours = Keypair::from_seckey_slice(secp256k1::SECP256K1, &[1; 32]).unwrap();
        assert!(Envelope::new(&ours, &PublicKey::from([0xff; 32])).is_err());
    }
}
