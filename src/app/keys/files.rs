//! Key files: one line of 64 lower-case hex digits each, made once, never written again, and reachable by their owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use secp256k1::SecretKey;
use zeroize::Zeroizing;

use crate::base::hex32::{decode_lower, encode_lower};
use crate::base::secret::Secret;
use crate::config::Problems;

/// Permission bits that nobody but the owner may have.
const OTHERS: u32 = 0o077;
/// The same for what systemd hands over: its access lists show in the bits of the group.
const STRANGERS: u32 = 0o007;
/// What is read of any file here: more than the longest right one has, to notice wrong ones.
const BYTES_MAX: u64 = 4_096;
const BYTES_ROOM: usize = 4_224;
/// Tries to find a random number that is a secret key; a single one all but never fails.
const KEY_TRIES: usize = 8;

/// Whose rules hold for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum Keeper {
    /// Ours: 0600 or 0700.
    Us,
    /// A systemd credential: nobody outside the service's user and group.
    System,
}

/// Why a key file is none.
#[derive(Debug, thiserror::Error)]
pub(in crate::app) enum KeyError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is no key: one line of 64 lower-case hex digits, a number below the order of secp256k1")]
    NoKey,
}

/// The bytes of a small file that holds a secret.
pub(super) fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room from the start: a buffer that grows leaves an old copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(BYTES_ROOM));
    File::open(path)?.take(BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// Reads a key file.
pub(in crate::app) fn read_key(path: &Path) -> Result<Secret<[u8; 32]>, KeyError> {
    parse_key(&read(path)?).ok_or(KeyError::NoKey)
}

/// The key that a file's text is.
pub(super) fn parse_key(text: &[u8]) -> Option<Secret<[u8; 32]>> {
    let mut key = Zeroizing::new([0_u8; 32]);
    decode_lower(text.strip_suffix(b"\n").unwrap_or(text), key.as_mut_slice())?;
    is_key(&key).then(|| Secret::new(*key))
}

/// Whether thirty-two bytes are a secret key.
pub(super) fn is_key(key: &[u8; 32]) -> bool {
    SecretKey::from_slice(key).is_ok()
}

/// Makes a key file; what is there already is not touched.
pub(super) fn write_key(path: &Path, key: &[u8; 32]) -> io::Result<()> {
    let mut text = Zeroizing::new([b'\n'; 65]);
    if let Some(digits) = text.get_mut(..64) {
        encode_lower(key, digits);
    }
    write_new(path, text.as_slice())
}

/// Makes a file that only its owner can read, whole and synced; what is there already is not touched.
pub(super) fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// A new key.
pub(super) fn random_key() -> io::Result<Secret<[u8; 32]>> {
    let mut key = Zeroizing::new([0_u8; 32]);
    for _ in 0..KEY_TRIES {
        getrandom::fill(key.as_mut_slice()).map_err(io::Error::other)?;
        if is_key(&key) {
            return Ok(Secret::new(*key));
        }
    }
    Err(io::Error::other("the operating system gives no good random numbers"))
}

/// The keys let anybody spend: nobody but the owner may reach them.
pub(in crate::app) fn check_private(path: &Path, is_directory: bool, keeper: Keeper, problems: &mut Problems) {
    let place = path.to_string_lossy();
    // systemd may hand its files over behind a link.
    let looked = if keeper == Keeper::Us { fs::symlink_metadata(path) } else { fs::metadata(path) };
    let found = match looked {
        Ok(found) => found,
        Err(error) => return problems.add(place, format!("cannot be looked at: {error}")),
    };
    if found.is_dir() != is_directory || found.is_symlink() {
        return problems.add(place, if is_directory { "must be a directory" } else { "must be a plain file" });
    }
    let mode = found.permissions().mode() & 0o777;
    let forbidden = if keeper == Keeper::Us { OTHERS } else { STRANGERS };
    if mode & forbidden != 0 {
        let (word, wanted) = if is_directory { ("directory", "0700") } else { ("file", "0600") };
        let words = format!("others can reach this {word} (mode {mode:04o}): chmod {wanted} it");
        problems.add(place, words);
    }
}
