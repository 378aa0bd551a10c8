//! Thirty-two byte identifiers (event ids, public keys, payment hashes) and their exact text form.
//!
//! NIP-01 writes them as 64 lower-case hex digits and nothing else: upper case, prefixes and other lengths are refused, never
//! completed or folded.

use std::cmp::Ordering;
use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A 32-byte identifier, shown and parsed as exactly 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hex32(pub [u8; 32]);

/// The order of the bytes, which is that of the digits. Lists of keys and ids are sorted and searched for every filter, so it is
/// found by words and not by a call for the bytes.
impl Ord for Hex32 {
    fn cmp(&self, other: &Self) -> Ordering {
        let words = |hex: &Self| {
            let (words, _) = hex.0.as_chunks::<8>();
            [words[0], words[1], words[2], words[3]].map(u64::from_be_bytes)
        };
        words(self).cmp(&words(other))
    }
}

impl PartialOrd for Hex32 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The id of an event: SHA-256 of its canonical form (NIP-01).
pub type EventId = Hex32;
/// An x-only public key (BIP-340).
pub type PublicKey = Hex32;
/// The SHA-256 of a preimage (BOLT 11).
pub type PaymentHash = Hex32;

/// Why a text is no 32-byte identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected exactly 64 lower-case hex digits")]
pub struct NotHex32;

impl Hex32 {
    /// Reads exactly 64 lower-case hex digits.
    pub fn parse(text: &str) -> Result<Self, NotHex32> {
        let mut bytes = [0_u8; 32];
        decode_lower(text.as_bytes(), &mut bytes).ok_or(NotHex32)?;
        Ok(Self(bytes))
    }

    /// Takes the first 32 bytes of a slice; `None` if there are fewer.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.get(..32)?.try_into().ok().map(Self)
    }

    /// The bytes themselves.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits, on the stack.
    pub fn to_hex(self) -> HexText {
        let mut text = [0_u8; 64];
        encode_lower(&self.0, &mut text);
        HexText(text)
    }
}

/// Sixty-four lower-case hex digits.
#[derive(Clone, Copy)]
pub struct HexText([u8; 64]);

impl HexText {
    /// The digits as text.
    pub fn as_str(&self) -> &str {
        // The bytes come from the digit table only, so they are ASCII; the fallback keeps this free of unsafe code.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Hex32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_hex().as_str())
    }
}

impl fmt::Debug for Hex32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_hex().as_str())
    }
}

impl From<[u8; 32]> for Hex32 {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::str::FromStr for Hex32 {
    type Err = NotHex32;

    fn from_str(text: &str) -> Result<Self, NotHex32> {
        Self::parse(text)
    }
}

impl Serialize for Hex32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.to_hex().as_str())
    }
}

impl<'de> Deserialize<'de> for Hex32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Hex32;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 lower-case hex digits")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Hex32, E> {
                Hex32::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

/// Decodes lower-case hex into `out`; `None` unless the text is exactly twice as long and all digits are 0-9a-f.
pub fn decode_lower(text: &[u8], out: &mut [u8]) -> Option<()> {
    if text.len() != out.len() * 2 {
        return None;
    }
    let mut bad = 0_u8;
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (DIGIT[pair[0] as usize], DIGIT[pair[1] as usize]);
        bad |= (high | low) & 0xf0;
        *byte = (high << 4) | (low & 0x0f);
    }
    (bad == 0).then_some(())
}

/// Writes bytes as lower-case hex; `out` must be twice as long as `bytes`.
pub fn encode_lower(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0x0f)];
    }
}

/// Value of a lower-case hex digit, 0xff for every other byte.
const DIGIT: [u8; 256] = {
    let mut table = [0xff_u8; 256];
    let mut value = 0;
    while value < 16 {
        let digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
        table[digit as usize] = value;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_lower_case_is_read() {
        let good = "00ff0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab";
        assert_eq!(Hex32::parse(good).unwrap().to_string(), good);
        for bad in [&good[..63], &format!("{good}0"), &good.to_uppercase(), "", &good.replace('f', "g")] {
            assert!(Hex32::parse(bad).is_err(), "{bad} was read");
        }
    }

    #[test]
    fn the_order_is_that_of_the_bytes() {
        for at in 0..32 {
            let (mut one, mut other) = ([7; 32], [7; 32]);
            (one[at], other[at]) = (0x7f, 0x80);
            if at < 31 {
                // What comes later decides nothing.
                (one[at + 1], other[at + 1]) = (0xff, 0);
            }
            assert_eq!(Hex32(one).cmp(&Hex32(other)), one.cmp(&other), "byte {at}");
            assert_eq!(Hex32(other).cmp(&Hex32(one)), Ordering::Greater, "byte {at}");
            assert_eq!(Hex32(one).partial_cmp(&Hex32(one)), Some(Ordering::Equal));
        }
    }
}
