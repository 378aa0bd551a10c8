//! BOLT 11 texts: read one strictly into plain values, write one signed by a node key.

use std::time::Duration;

use lightning_invoice::{
    Bolt11Invoice, Bolt11InvoiceDescription, Bolt11InvoiceDescriptionRef, Currency, Description, InvoiceBuilder, PaymentSecret,
    Sha256 as InvoiceHash, SignedRawBolt11Invoice,
};
use secp256k1::{SECP256K1, SecretKey};

use super::{Network, NewHoldInvoice, NewInvoice};
use crate::base::amount::Msat;
use crate::base::hex32::{Hex32, PaymentHash};

/// Longer texts are refused unread (BOLT 11 in a QR code).
pub const TEXT_BYTES_MAX: usize = 7_089;
/// Blocks that the last hop must leave (the value of BOLT 11's own default).
const MIN_FINAL_CLTV_BLOCKS: u64 = 18;

/// What a wallet must know of an invoice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// Trimmed, lower case: equal invoices are equal texts.
    pub bolt11: String,
    /// The network it is for.
    pub network: Network,
    /// Names the payment.
    pub hash: PaymentHash,
    /// `None`: the payer decides.
    pub amount: Option<Msat>,
    /// Unix seconds.
    pub expires_at_s: u64,
    /// What for.
    pub description: Option<String>,
    /// Hash of what for.
    pub description_hash: Option<Hex32>,
}

/// Why a text is no invoice that can be paid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than any wallet takes.
    #[error("the invoice has {0} characters, at most {TEXT_BYTES_MAX} are taken")]
    TooLong(usize),
    /// Not BOLT 11, a bad checksum, a missing field, unknown required features, a bad signature.
    #[error("not a valid BOLT11 invoice: {0}")]
    Invalid(String),
    /// An amount that is no whole number of msat or more than there is.
    #[error("the amount of the invoice is not a possible one")]
    Amount,
    /// A network that no wallet here serves.
    #[error("the invoice is for a network that is not served")]
    Network,
}

/// An invoice whose fields were read and whose signature was not checked yet.
pub struct Unchecked {
    raw: SignedRawBolt11Invoice,
    text: String,
}

impl Unchecked {
    /// Reads the text; cheap, no curve arithmetic.
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        let text = text.trim();
        let text = text.strip_prefix("lightning:").or_else(|| text.strip_prefix("LIGHTNING:")).unwrap_or(text);
        if text.len() > TEXT_BYTES_MAX {
            return Err(DecodeError::TooLong(text.len()));
        }
        let raw = text.parse::<SignedRawBolt11Invoice>().map_err(|error| DecodeError::Invalid(error.to_string()))?;
        Ok(Self { raw, text: text.to_ascii_lowercase() })
    }

    /// Trimmed, lower case.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The payment hash, where there is one.
    pub fn hash(&self) -> Option<PaymentHash> {
        Hex32::from_slice(self.raw.raw_invoice().payment_hash()?.0.as_ref())
    }

    /// Checks fields, features, amount and signature.
    pub fn check(self) -> Result<Decoded, DecodeError> {
        let claims_amount = self.raw.raw_invoice().hrp.raw_amount.is_some();
        let invoice = Bolt11Invoice::from_signed(self.raw).map_err(|error| DecodeError::Invalid(error.to_string()))?;
        let amount = read_amount(claims_amount, invoice.amount_milli_satoshis())?;
        let (description, description_hash) = match invoice.description() {
            Bolt11InvoiceDescriptionRef::Direct(text) => (Some(text.to_string()).filter(|text| !text.is_empty()), None),
            Bolt11InvoiceDescriptionRef::Hash(hash) => (None, Hex32::from_slice(hash.0.as_ref())),
        };
        let hash = Hex32::from_slice(invoice.payment_hash().as_ref())
            .ok_or_else(|| DecodeError::Invalid("no payment hash".to_owned()))?;
        Ok(Decoded {
            bolt11: self.text,
            network: network(&invoice.currency())?,
            hash,
            amount,
            expires_at_s: invoice.expires_at().map_or(u64::MAX, |at| at.as_secs()),
            description,
            description_hash,
        })
    }
}

/// Reads and checks an invoice.
pub fn decode(text: &str) -> Result<Decoded, DecodeError> {
    Unchecked::parse(text)?.check()
}

/// The crate shows an amount that overflows as no amount at all; such an invoice must not pass as one whose payer decides.
fn read_amount(claims_amount: bool, amount_msat: Option<u64>) -> Result<Option<Msat>, DecodeError> {
    match amount_msat {
        Some(0) => Err(DecodeError::Amount),
        Some(msat) => Msat::new(msat).map(Some).map_err(|_| DecodeError::Amount),
        None if claims_amount => Err(DecodeError::Amount),
        None => Ok(None),
    }
}

fn network(currency: &Currency) -> Result<Network, DecodeError> {
    match currency {
        Currency::Bitcoin => Ok(Network::Mainnet),
        Currency::BitcoinTestnet => Ok(Network::Testnet),
        Currency::Signet => Ok(Network::Signet),
        Currency::Regtest => Ok(Network::Regtest),
        Currency::Simnet => Err(DecodeError::Network),
    }
}

fn currency(network: Network) -> Currency {
    match network {
        Network::Mainnet => Currency::Bitcoin,
        Network::Testnet => Currency::BitcoinTestnet,
        Network::Signet => Currency::Signet,
        Network::Regtest => Currency::Regtest,
    }
}

/// What an invoice says.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// `None` leaves it to the payer.
    pub amount: Option<Msat>,
    /// What for.
    pub description: &'a str,
    /// Goes into the invoice instead of the description.
    pub description_hash: Option<Hex32>,
    /// Seconds.
    pub expiry_s: u64,
    /// Now, unix seconds.
    pub now_s: u64,
    /// Names it.
    pub hash: PaymentHash,
    /// Blocks that the last hop must leave.
    pub min_final_cltv_blocks: u64,
}

impl<'a> From<&'a NewInvoice> for Draft<'a> {
    fn from(order: &'a NewInvoice) -> Self {
        Self {
            amount: order.amount,
            description: &order.description,
            description_hash: order.description_hash,
            expiry_s: order.expiry_s,
            now_s: order.now_s,
            hash: order.preimage.hash(),
            min_final_cltv_blocks: MIN_FINAL_CLTV_BLOCKS,
        }
    }
}

impl<'a> From<&'a NewHoldInvoice> for Draft<'a> {
    fn from(order: &'a NewHoldInvoice) -> Self {
        Self {
            amount: order.amount,
            description: &order.description,
            description_hash: order.description_hash,
            expiry_s: order.expiry_s,
            now_s: order.now_s,
            hash: order.hash,
            min_final_cltv_blocks: order.min_cltv_expiry_delta.map_or(MIN_FINAL_CLTV_BLOCKS, u64::from),
        }
    }
}

/// Writes an invoice and signs it with the node key. The text is lower case.
pub fn encode(network: Network, key: &SecretKey, secret: [u8; 32], order: &Draft<'_>) -> Result<String, String> {
    let description = match order.description_hash {
        Some(hash) => Bolt11InvoiceDescription::Hash(invoice_hash(&hash)?),
        None => {
            Bolt11InvoiceDescription::Direct(Description::new(order.description.to_owned()).map_err(|error| error.to_string())?)
        }
    };
    let mut builder = InvoiceBuilder::new(currency(network))
        .invoice_description(description)
        .payment_hash(invoice_hash(&order.hash)?.0)
        .payment_secret(PaymentSecret(secret))
        .duration_since_epoch(Duration::from_secs(order.now_s))
        .expiry_time(Duration::from_secs(order.expiry_s))
        .min_final_cltv_expiry_delta(order.min_final_cltv_blocks)
        .basic_mpp();
    if let Some(amount) = order.amount {
        builder = builder.amount_milli_satoshis(amount.get());
    }
    let invoice = builder.build_signed(|hash| SECP256K1.sign_ecdsa_recoverable(hash, key)).map_err(|error| error.to_string())?;
    Ok(invoice.to_string())
}

/// By way of hex: the hash type has no other constructor that needs no further crate.
fn invoice_hash(hash: &Hex32) -> Result<InvoiceHash, String> {
    hash.to_hex().as_str().parse().map(InvoiceHash).map_err(|_| "a hash has 32 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::terms::Preimage;

    fn invoice(network: Network, amount: Option<u64>) -> String {
        let order = NewInvoice {
            amount: amount.map(|msat| Msat::new(msat).unwrap()),
            description: "täglich Brot".to_owned(),
            description_hash: None,
            expiry_s: 600,
            now_s: 1_700_000_000,
            preimage: Preimage([7; 32]),
        };
        encode(network, &SecretKey::from_slice(&[9; 32]).unwrap(), [3; 32], &Draft::from(&order)).unwrap()
    }

    #[test]
    fn what_was_written_is_read() {
        for network in [Network::Mainnet, Network::Testnet, Network::Signet, Network::Regtest] {
            for amount in [None, Some(1), Some(999), Some(21_000), Some(Msat::MAX.get() / 10_000)] {
                let text = invoice(network, amount);
                let decoded = decode(&text).unwrap();
                assert_eq!(decoded.amount.map(Msat::get), amount);
                assert_eq!((decoded.network, decoded.hash), (network, Preimage([7; 32]).hash()));
                assert_eq!((decoded.expires_at_s, decoded.description.as_deref()), (1_700_000_600, Some("täglich Brot")));
                assert_eq!(decode(&format!(" lightning:{text}\n")).unwrap(), decoded);
                assert_eq!(decode(&text.to_uppercase()).unwrap(), decoded);
            }
        }
    }

    #[test]
    fn texts_that_are_no_invoice_are_refused_with_words() {
        let good = invoice(Network::Regtest, Some(1_000));
        let mut flipped = good.clone().into_bytes();
        flipped[40] = if flipped[40] == b'q' { b'p' } else { b'q' };
        let mixed = good.replacen("ln", "LN", 1);
        for bad in ["", "lnbc", "hello", &good[..good.len() - 1], std::str::from_utf8(&flipped).unwrap(), &mixed] {
            assert!(matches!(decode(bad), Err(DecodeError::Invalid(_))), "{bad}");
        }
        let long = format!("{good}{}", "q".repeat(TEXT_BYTES_MAX));
        assert_eq!(decode(&long), Err(DecodeError::TooLong(long.len())));
    }

    #[test]
    fn an_amount_that_overflows_is_not_the_absence_of_an_amount() {
        assert_eq!(read_amount(true, None), Err(DecodeError::Amount));
        assert_eq!(read_amount(false, None), Ok(None));
        assert_eq!(read_amount(true, Some(0)), Err(DecodeError::Amount));
        assert_eq!(read_amount(true, Some(Msat::MAX.get() + 1)), Err(DecodeError::Amount));
    }
}
