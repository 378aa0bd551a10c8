//! Signing a message as Lightning nodes do: what `lncli verifymessage` and `lightning-cli checkmessage` read.
//!
//! The text behind a fixed prefix, hashed twice with SHA-256, signed so that the key can be recovered, written in zbase32.

use secp256k1::{Message, SECP256K1, SecretKey};
use sha2::{Digest, Sha256};

/// Goes before every message, so that a signature is never one of anything else.
const PREFIX: &[u8] = b"Lightning Signed Message:";
/// zbase32: digits that are hard to mistake.
const DIGITS: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// The signature of a message.
pub fn lightning_message(key: &SecretKey, message: &str) -> String {
    let signature = SECP256K1.sign_ecdsa_recoverable(&digest(message), key);
    let (recovery, compact) = signature.serialize_compact();
    let mut bytes = Vec::with_capacity(65);
    // 27 and 4 say: recoverable, and the key is a compressed one.
    bytes.push(u8::try_from(recovery.to_i32()).unwrap_or(0) + 31);
    bytes.extend_from_slice(&compact);
    zbase32(&bytes)
}

fn digest(message: &str) -> Message {
    let once = Sha256::new().chain_update(PREFIX).chain_update(message.as_bytes()).finalize();
    Message::from_digest(Sha256::digest(once).into())
}

fn zbase32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for byte in bytes {
        buffer = (buffer << 8 | u32::from(*byte)) & 0xffff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(DIGITS[(buffer >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        text.push(char::from(DIGITS[(buffer << (5 - bits) & 31) as usize]));
    }
    text
}

#[cfg(test)]
mod tests {
    use secp256k1::PublicKey;
    use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};

    use super::*;

    fn read(text: &str) -> Vec<u8> {
        let (mut bytes, mut buffer, mut bits) = (Vec::new(), 0_u32, 0_u32);
        for digit in text.bytes() {
            let value = DIGITS.iter().position(|one| *one == digit).unwrap();
            buffer = (buffer << 5 | u32::try_from(value).unwrap()) & 0xffff;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push(u8::try_from(buffer >> bits & 255).unwrap());
            }
        }
        bytes
    }

    #[test]
    fn the_key_is_recovered_from_the_signature() {
        let key = SecretKey::from_slice(&[5; 32]).unwrap();
        let text = lightning_message(&key, "hello");
        assert_eq!(text.len(), 104);
        let bytes = read(&text);
        let id = RecoveryId::from_i32(i32::from(bytes[0]) - 31).unwrap();
        let signature = RecoverableSignature::from_compact(&bytes[1..65], id).unwrap();
        let signer = SECP256K1.recover_ecdsa(&digest("hello"), &signature).unwrap();
        assert_eq!(signer, PublicKey::from_secret_key(SECP256K1, &key));
        assert_ne!(SECP256K1.recover_ecdsa(&digest("hullo"), &signature).unwrap(), signer);
    }

    #[test]
    fn zbase32_is_the_one_of_its_authors() {
        for (bytes, text) in
            [(&[0xf0, 0xbf, 0xc7][..], "6n9hq"), (&[0xd4, 0x7a, 0x04], "4t7ye"), (&[0xff], "9h"), (&[0x10], "ny")]
        {
            assert_eq!(zbase32(bytes), text);
        }
    }
}
