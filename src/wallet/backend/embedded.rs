//! The back end that is always there: it makes real invoices, signed by the node key, and settles nothing outside.
//!
//! Payments between accounts of this hearth never reach a back end; so everything that does reach this one is for somebody
//! else and fails for certain, with words that say why. There is no chain: height 0.

use std::fmt;

use hmac::{Hmac, Mac};
use secp256k1::{PublicKey, SECP256K1, SecretKey};
use sha2::Sha256;

use super::{
    Answer, Backend, BackendError, Capabilities, Info, LookupOrder, LookupResult, MadeInvoice, Network, NewHoldInvoice,
    NewInvoice, SendOrder, SendResult, SignedMessage, bolt11, sign,
};
use crate::base::hex32::{Hex32, PaymentHash};
use crate::base::secret::Secret;
use crate::wallet::terms::Preimage;

/// Why a foreign invoice cannot be paid.
const OUTSIDE: &str = "this wallet settles only inside its own hearth: the invoice is somebody else's, and no Lightning node is \
                       connected; no money moved";

/// Settings of the embedded back end.
#[derive(Clone, Debug)]
pub struct Config {
    /// Network of its invoices. Regtest is the honest one: nothing here can be paid over Lightning.
    pub network: Network,
    /// Shown by `get_info`.
    pub alias: String,
    /// `#rrggbb`, shown by `get_info`.
    pub color: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { network: Network::Regtest, alias: "hearth".to_owned(), color: "#e2571e".to_owned() }
    }
}

/// Why the embedded back end cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the node key is not a valid secp256k1 secret key")]
pub struct BadNodeKey;

/// The embedded back end.
pub struct Embedded {
    key: SecretKey,
    info: Info,
}

impl Embedded {
    /// A back end that signs with this node key.
    pub fn new(node_key: &Secret<[u8; 32]>, config: &Config) -> Result<Self, BadNodeKey> {
        let key = SecretKey::from_slice(node_key.expose()).map_err(|_| BadNodeKey)?;
        let pubkey = const_hex::encode(PublicKey::from_secret_key(SECP256K1, &key).serialize());
        let info = Info {
            pubkey,
            alias: config.alias.clone(),
            color: config.color.clone(),
            network: config.network,
            block_height: 0,
            block_hash: Hex32::default(),
        };
        Ok(Self { key, info })
    }

    /// Payment secrets (BOLT 11 `s`) follow from the node key and what names the order, so the same order gives the same invoice.
    fn payment_secret(&self, label: &[u8], name: &[u8; 32]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.key.secret_bytes())
            .unwrap_or_else(|_| <Hmac<Sha256> as Mac>::new(&Default::default()));
        mac.update(label);
        mac.update(name);
        mac.finalize().into_bytes().into()
    }

    fn invoice(&self, secret: [u8; 32], order: &bolt11::Draft<'_>) -> Result<MadeInvoice, BackendError> {
        let text = bolt11::encode(self.info.network, &self.key, secret, order).map_err(BackendError)?;
        Ok(MadeInvoice { bolt11: text, hash: order.hash, expires_at_s: order.now_s.saturating_add(order.expiry_s) })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.key.non_secure_erase();
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Backend for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn capabilities(&self) -> Capabilities {
        // Hold invoices between its own accounts are the wallet's business; this back end only writes the text.
        Capabilities { refuses_second: true, hold_invoices: true, sign_message: true, ..Capabilities::default() }
    }

    fn info(&self) -> Info {
        self.info.clone()
    }

    fn send(&self, _order: SendOrder, done: Answer<SendResult>) {
        done(SendResult::Failed(OUTSIDE.to_owned()));
    }

    fn lookup(&self, _order: LookupOrder, done: Answer<LookupResult>) {
        // Certain, not "not found": nothing is ever sent from here.
        done(LookupResult::Failed(OUTSIDE.to_owned()));
    }

    fn make_invoice(&self, order: NewInvoice, done: Answer<Result<MadeInvoice, BackendError>>) {
        let secret = self.payment_secret(b"hearth payment secret", &order.preimage.0);
        done(self.invoice(secret, &bolt11::Draft::from(&order)));
    }

    fn make_hold_invoice(&self, order: NewHoldInvoice, done: Answer<Result<MadeInvoice, BackendError>>) {
        let secret = self.payment_secret(b"hearth hold payment secret", &order.hash.0);
        done(self.invoice(secret, &bolt11::Draft::from(&order)));
    }

    fn settle_hold(&self, _preimage: Preimage, done: Answer<Result<(), BackendError>>) {
        done(Err(BackendError("no money from outside ever waits here".to_owned())));
    }

    fn cancel_hold(&self, _hash: PaymentHash, done: Answer<Result<(), BackendError>>) {
        // Nobody outside could ever pay it.
        done(Ok(()));
    }

    fn sign_message(&self, message: String, done: Answer<Result<SignedMessage, BackendError>>) {
        let signature = sign::lightning_message(&self.key, &message);
        done(Ok(SignedMessage { message, signature }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::amount::Msat;
    use crate::wallet::terms::Preimage;

    #[test]
    fn a_hold_invoice_carries_the_hash_that_was_given() {
        let backend = Embedded::new(&Secret::new([5; 32]), &Config::default()).unwrap();
        let hash = Preimage([9; 32]).hash();
        let order = NewHoldInvoice {
            amount: Msat::new(7_000).ok(),
            description: "later".to_owned(),
            description_hash: None,
            expiry_s: 60,
            now_s: 1_800_000_000,
            hash,
            min_cltv_expiry_delta: Some(144),
        };
        let (send, made) = std::sync::mpsc::channel();
        backend.make_hold_invoice(order, Box::new(move |made| send.send(made.unwrap()).unwrap()));
        let decoded = bolt11::decode(&made.recv().unwrap().bolt11).unwrap();
        assert_eq!((decoded.hash, decoded.amount), (hash, Msat::new(7_000).ok()));
    }

    #[test]
    fn the_same_order_gives_the_same_invoice_and_nothing_is_sent() {
        let backend = Embedded::new(&Secret::new([5; 32]), &Config::default()).unwrap();
        let order = NewInvoice {
            amount: Msat::new(5_000).ok(),
            description: String::new(),
            description_hash: None,
            expiry_s: 60,
            now_s: 1_800_000_000,
            preimage: Preimage([1; 32]),
        };
        let (send, texts) = std::sync::mpsc::channel();
        for _ in 0..2 {
            let send = send.clone();
            backend.make_invoice(order.clone(), Box::new(move |made| send.send(made.unwrap()).unwrap()));
        }
        let (one, two) = (texts.recv().unwrap(), texts.recv().unwrap());
        assert_eq!(one, two);
        assert!(one.bolt11.starts_with("lnbcrt50n1"), "{}", one.bolt11);
        assert_eq!(bolt11::decode(&one.bolt11).unwrap().expires_at_s, 1_800_000_060);
        assert!(!format!("{backend:?}").contains("0505"));
    }
}
