//! The pairing code: `nostr+walletconnect://<wallet key>?relay=...&secret=...`.

use std::fmt::Write;

use crate::base::hex32::PublicKey;
use crate::base::secret::Secret;

/// Writes the pairing code. Most clients use the first relay only; without a secret the client made its own key.
pub fn pairing_uri(wallet: &PublicKey, relays: &[String], secret: Option<&Secret<[u8; 32]>>, lud16: Option<&str>) -> String {
    let mut uri = format!("nostr+walletconnect://{wallet}");
    let mut separator = '?';
    for relay in relays {
        uri.push(separator);
        uri.push_str("relay=");
        percent_encode(&mut uri, relay);
        separator = '&';
    }
    if let Some(secret) = secret {
        uri.push(separator);
        uri.push_str("secret=");
        uri.push_str(PublicKey::from(*secret.expose()).to_hex().as_str());
        separator = '&';
    }
    if let Some(lud16) = lud16 {
        uri.push(separator);
        uri.push_str("lud16=");
        percent_encode(&mut uri, lud16);
    }
    uri
}

/// Appends a text with everything but unreserved characters (RFC 3986) percent-encoded.
fn percent_encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use nostr::nips::nip47::NostrWalletConnectUri;

    use super::*;

    #[test]
    fn other_programs_read_it() {
        let keypair = secp256k1::Keypair::from_seckey_slice(secp256k1::SECP256K1, &[7; 32]).unwrap();
        let wallet = crate::wallet::wire::sign::public_key(&keypair);
        let relays = ["ws://127.0.0.1:7777".to_owned(), "wss://relay.example.com/a?b=c&d".to_owned()];
        let uri = pairing_uri(&wallet, &relays, Some(&Secret::new([9; 32])), Some("me@example.com"));
        assert!(uri.starts_with(&format!("nostr+walletconnect://{wallet}?relay=ws%3A%2F%2F127.0.0.1%3A7777&relay=wss%3A%2F%2F")));
        let theirs = NostrWalletConnectUri::parse(&uri).unwrap();
        assert_eq!(theirs.public_key.to_hex(), wallet.to_string());
        assert_eq!(theirs.relays.len(), 2);
        assert_eq!(theirs.secret.to_secret_hex(), "09".repeat(32));
        assert_eq!(theirs.lud16.as_deref(), Some("me@example.com"));
        assert!(!pairing_uri(&wallet, &relays, None, None).contains("secret"));
    }
}
