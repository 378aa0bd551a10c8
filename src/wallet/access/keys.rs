//! The wallet keys: one for each connection, all derived from one seed, so that a restored journal keeps connections alive.
//!
//! ```text
//! PRK = HKDF-Extract(salt = "hearth/wallet-seed/v1", seed)
//! key = HKDF-Expand(PRK, "connection" || number u32 BE || attempt u8), attempt 0 unless that is no secret key (2^-128)
//! ```

use std::fmt;

use hkdf::Hkdf;
use secp256k1::{Keypair, SECP256K1};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::base::hex32::PublicKey;
use crate::base::secret::Secret;
use crate::wallet::terms::ConnectionId;

const SALT: &[u8] = b"hearth/wallet-seed/v1";
const ATTEMPTS_MAX: u8 = 8;

/// The seed of all wallet keys.
#[derive(Clone)]
pub struct WalletSeed(Secret<[u8; 32]>);

/// What cannot happen: eight times in a row, a hash was no secret key; or there is no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Eight hashes in a row were no secret key.
    #[error("no key can be derived from the wallet seed")]
    Underivable,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
}

impl WalletSeed {
    /// The seed, from `data/keys/wallet-seed`.
    pub fn new(seed: Secret<[u8; 32]>) -> Self {
        Self(seed)
    }

    /// The wallet key of a connection.
    pub fn keypair(&self, connection: ConnectionId) -> Result<Keypair, KeyError> {
        let hkdf = Hkdf::<Sha256>::new(Some(SALT), self.0.expose());
        for attempt in 0..ATTEMPTS_MAX {
            let mut key = Zeroizing::new([0_u8; 32]);
            let info = [b"connection".as_slice(), &connection.0.to_be_bytes(), &[attempt]];
            hkdf.expand_multi_info(&info, key.as_mut_slice()).map_err(|_| KeyError::Underivable)?;
            if let Ok(keypair) = Keypair::from_seckey_slice(SECP256K1, key.as_slice()) {
                return Ok(keypair);
            }
        }
        Err(KeyError::Underivable)
    }
}

impl fmt::Debug for WalletSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WalletSeed([secret])")
    }
}

/// A client's key, made here because the client made none: shown once in the pairing code, then forgotten.
pub fn new_client() -> Result<(Secret<[u8; 32]>, PublicKey), KeyError> {
    for _ in 0..ATTEMPTS_MAX {
        let mut key = Zeroizing::new([0_u8; 32]);
        getrandom::fill(key.as_mut_slice()).map_err(|_| KeyError::NoRandomness)?;
        if let Ok(keypair) = Keypair::from_seckey_slice(SECP256K1, key.as_slice()) {
            return Ok((Secret::new(*key), PublicKey::from(keypair.x_only_public_key().0.serialize())));
        }
    }
    Err(KeyError::NoRandomness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_key_for_ever() {
        let seed = WalletSeed::new(Secret::new([42; 32]));
        let key = |number| PublicKey::from(seed.keypair(ConnectionId(number)).unwrap().x_only_public_key().0.serialize());
        assert_eq!(key(1), key(1));
        assert_ne!(key(1), key(2));
        // If this line fails, every connection of every user has lost its wallet key.
        assert_eq!(key(1).to_string(), KEY_OF_NUMBER_1);
        let other = WalletSeed::new(Secret::new([43; 32]));
        assert_ne!(other.keypair(ConnectionId(1)).unwrap(), seed.keypair(ConnectionId(1)).unwrap());
        assert_eq!(format!("{seed:?}"), "WalletSeed([secret])");
    }

    const KEY_OF_NUMBER_1: &str = "ad55aceb16fa907b2c96dd957bbfdcdcf4f35ccb3ef5a260df547b7adc18aa25";

    #[test]
    fn every_client_gets_its_own_key() {
        assert_ne!(new_client().unwrap().1, new_client().unwrap().1);
    }
}
