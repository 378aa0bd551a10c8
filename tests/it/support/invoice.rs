//! BOLT 11 invoices of other nodes.

use std::time::{Duration, SystemTime};

use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use secp256k1::{SECP256K1, SecretKey};

/// A valid invoice of a node that is not this hearth, made `age_s` seconds ago.
pub fn foreign_invoice(currency: Currency, amount_msat: Option<u64>, age_s: u64) -> String {
    let secret = SecretKey::from_slice(&rand::random::<[u8; 32]>()).unwrap();
    let mut builder = InvoiceBuilder::new(currency)
        .description("somewhere else".to_owned())
        .payment_hash(const_hex::encode(rand::random::<[u8; 32]>()).parse().unwrap())
        .payment_secret(PaymentSecret([7; 32]))
        .timestamp(SystemTime::now() - Duration::from_secs(age_s))
        .min_final_cltv_expiry_delta(144);
    if let Some(amount_msat) = amount_msat {
        builder = builder.amount_milli_satoshis(amount_msat);
    }
    builder.build_signed(|hash| SECP256K1.sign_ecdsa_recoverable(hash, &secret)).unwrap().to_string()
}
