//! A wallet seed behind a passphrase: argon2id makes a key of the passphrase, XChaCha20-Poly1305 seals the seed with it.
//!
//! ```text
//! hearth-sealed-seed 1
//! argon2id 65536 3 1      KiB of memory, passes, lanes
//! salt     32 hex digits
//! nonce    48 hex digits
//! seed     96 hex digits: 32 sealed bytes and their 16-byte tag
//! ```
//!
//! One space between the words of a line. The first four lines are authenticated together with the seed.

use std::io;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::Passphrase;
use crate::base::hex32::{decode_lower, encode_lower};
use crate::base::secret::Secret;

/// The first words of a sealed seed; a seed in the open starts with a hex digit.
const MAGIC: &str = "hearth-sealed-seed";
const VERSION: &str = "1";
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
const SEALED_BYTES: usize = 48;
/// Most memory, passes and lanes that a file may ask for: it must not be able to stop the machine.
const MEMORY_KIB_MAX: u32 = 4 << 20;
const PASSES_MAX: u32 = 256;
const LANES_MAX: u32 = 16;

/// What guessing one passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) memory_kib: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
}

impl Cost {
    /// 64 MiB and three passes (RFC 9106, second recommendation, on one lane): some tenths of a second.
    pub(super) const USUAL: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 1 };
}

/// Why a sealed seed does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::app) enum SealError {
    /// It is no sealed seed, or a damaged one.
    #[error("is no sealed wallet seed that this hearth can read: restore it from a copy or from the backup words")]
    Damaged,
    /// The tag does not match.
    #[error("does not open: the passphrase is wrong, or the file was changed")]
    Wrong,
    /// The cost cannot be paid.
    #[error("cannot be opened: there is not enough memory for the work that guards its passphrase")]
    NoMemory,
}

/// A sealed seed, read and not opened.
pub(super) struct Sealed {
    cost: Cost,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_BYTES],
    box_: [u8; SEALED_BYTES],
}

/// Whether a text claims to be a sealed seed.
pub(super) fn is_sealed(text: &[u8]) -> bool {
    text.starts_with(MAGIC.as_bytes())
}

impl Sealed {
    /// Reads the text of a file.
    pub(super) fn read(text: &[u8]) -> Result<Self, SealError> {
        let text = std::str::from_utf8(text).map_err(|_| SealError::Damaged)?;
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n').map(|line| line.split(' '));
        let mut line = |name: &str| {
            let mut words = lines.next().ok_or(SealError::Damaged)?;
            if words.next() == Some(name) { Ok(words.collect::<Vec<_>>()) } else { Err(SealError::Damaged) }
        };
        let (version, cost, salt, nonce, seed) = (line(MAGIC)?, line("argon2id")?, line("salt")?, line("nonce")?, line("seed")?);
        if version != [VERSION] || lines.next().is_some() {
            return Err(SealError::Damaged);
        }
        Ok(Self { cost: read_cost(&cost)?, salt: bytes(&salt)?, nonce: bytes(&nonce)?, box_: bytes(&seed)? })
    }

    /// The seed, for whoever knows the passphrase.
    pub(super) fn open(&self, passphrase: &Passphrase) -> Result<Secret<[u8; 32]>, SealError> {
        let cipher = cipher(passphrase, self.cost, &self.salt)?;
        let head = head(self.cost, &self.salt, &self.nonce);
        let payload = Payload { msg: &self.box_, aad: head.as_bytes() };
        let opened = cipher.decrypt(XNonce::from_slice(&self.nonce), payload).map_err(|_| SealError::Wrong)?;
        let opened = Zeroizing::new(opened);
        let seed = Zeroizing::new(<[u8; 32]>::try_from(opened.as_slice()).map_err(|_| SealError::Damaged)?);
        Ok(Secret::new(*seed))
    }
}

/// Seals a seed: the text of a file.
pub(super) fn seal(seed: &[u8; 32], passphrase: &Passphrase, cost: Cost) -> io::Result<String> {
    let (mut salt, mut nonce) = ([0_u8; SALT_BYTES], [0_u8; NONCE_BYTES]);
    getrandom::fill(&mut salt).map_err(io::Error::other)?;
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    let cipher = cipher(passphrase, cost, &salt).map_err(io::Error::other)?;
    let head = head(cost, &salt, &nonce);
    let payload = Payload { msg: seed, aad: head.as_bytes() };
    let sealed =
        cipher.encrypt(XNonce::from_slice(&nonce), payload).map_err(|_| io::Error::other("the seed cannot be sealed"))?;
    Ok(format!("{head}seed {}\n", hex(&sealed)))
}

fn head(cost: Cost, salt: &[u8], nonce: &[u8]) -> String {
    let Cost { memory_kib, passes, lanes } = cost;
    format!("{MAGIC} {VERSION}\nargon2id {memory_kib} {passes} {lanes}\nsalt {}\nnonce {}\n", hex(salt), hex(nonce))
}

fn cipher(passphrase: &Passphrase, cost: Cost, salt: &[u8]) -> Result<XChaCha20Poly1305, SealError> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(|_| SealError::Damaged)?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut key = Zeroizing::new([0_u8; 32]);
    argon.hash_password_into(passphrase.expose().as_bytes(), salt, key.as_mut_slice()).map_err(|_| SealError::NoMemory)?;
    Ok(XChaCha20Poly1305::new(key.as_slice().into()))
}

fn read_cost(words: &[&str]) -> Result<Cost, SealError> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        text.parse::<u32>().ok().filter(|_| is_number).ok_or(SealError::Damaged)
    };
    let [memory, passes, lanes] = words else { return Err(SealError::Damaged) };
    let cost = Cost { memory_kib: number(memory)?, passes: number(passes)?, lanes: number(lanes)? };
    let is_bounded = cost.memory_kib <= MEMORY_KIB_MAX && cost.passes <= PASSES_MAX && cost.lanes <= LANES_MAX;
    if is_bounded && cost.memory_kib >= 8 * cost.lanes { Ok(cost) } else { Err(SealError::Damaged) }
}

fn bytes<const N: usize>(words: &[&str]) -> Result<[u8; N], SealError> {
    let [digits] = words else { return Err(SealError::Damaged) };
    let mut out = [0_u8; N];
    decode_lower(digits.as_bytes(), &mut out).ok_or(SealError::Damaged)?;
    Ok(out)
}

fn hex(bytes: &[u8]) -> String {
    let mut digits = vec![0_u8; bytes.len() * 2];
    encode_lower(bytes, &mut digits);
    String::from_utf8(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cheap, for tests.
    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

    fn passphrase(text: &str) -> Passphrase {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_sealed_seed_opens_with_its_passphrase_and_no_other() {
        let right = passphrase("correct horse battery staple");
        let text = seal(&[7; 32], &right, CHEAP).unwrap();
        assert!(is_sealed(text.as_bytes()) && !text.contains(&"07".repeat(8)));
        let sealed = Sealed::read(text.as_bytes()).unwrap();
        assert_eq!(sealed.open(&right).unwrap().expose(), &[7; 32]);
        for wrong in ["", "correct horse battery stapl", "Correct horse battery staple", "correct horse battery staple "] {
            assert_eq!(sealed.open(&passphrase(wrong)).err(), Some(SealError::Wrong), "{wrong:?}");
        }
        assert_ne!(seal(&[7; 32], &right, CHEAP).unwrap(), text, "salt and nonce are new each time");
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let right = passphrase("a passphrase");
        let text = seal(&[9; 32], &right, CHEAP).unwrap();
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'1' { b'2' } else { b'1' };
            // The end of the last line is not part of it.
            let opens = Sealed::read(&changed).and_then(|sealed| sealed.open(&right)).is_ok();
            assert!(!opens, "byte {at} may be changed");
        }
        for cut in 0..text.len() - 1 {
            assert!(Sealed::read(&text.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Sealed::read(text.trim_end().as_bytes()).unwrap().open(&right).is_ok());
    }

    #[test]
    fn a_file_cannot_ask_for_more_work_than_a_machine_has() {
        let text = seal(&[9; 32], &passphrase("a passphrase"), CHEAP).unwrap();
        for cost in
            ["4294967295 1 1", "4194305 1 1", "8 257 1", "8 1 17", "8 0 1", "7 1 1", "08 1 1", "8 1", "8 1 1 1", "+8 1 1", ""]
        {
            let dear = text.replace("argon2id 8 1 1", &format!("argon2id {cost}"));
            assert_eq!(Sealed::read(dear.as_bytes()).err(), Some(SealError::Damaged), "{cost}");
        }
    }

    /// A file of the first version must open for ever.
    #[test]
    fn a_file_from_before_opens() {
        assert_eq!(Sealed::read(OLD.as_bytes()).unwrap().open(&passphrase("hearth test vector")).unwrap().expose(), &[0x2a; 32]);
    }

    const OLD: &str = "hearth-sealed-seed 1\n\
        argon2id 8 1 1\n\
        salt 0bf052787d4480ea02741ac17a5ae0e3\n\
        nonce af63af05485ae255f8d05ff6dabd28f63571bc7a92b74f82\n\
        seed 8652762e081fd60910b251d9cfa9cc2ada9750dbad1622246c535714af1ae7b60cce5f1bccc40ddea90c373189445d6f\n";
}
