//! The data directory: what lies where, how it is made, and what may be wrong with it.
//!
//! ```text
//! data/               0700
//!   keys/             0700
//!     wallet-seed     0600  all wallet keys are derived from it
//!     node-key        0600  signs invoices
//!     relay-key       0600  the relay's own name
//!   events/           0700  the event store
//!   wallet/           0700  the money, and its anchor
//!   admin.sock        0600  the owner's socket, while the server runs
//! ```
//!
//! A key is one line of 64 lower-case hex digits. It is made once, with O_EXCL, and never written again.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secp256k1::{Keypair, SECP256K1, SecretKey};
use zeroize::Zeroizing;

use crate::base::hex32::{PublicKey, decode_lower, encode_lower};
use crate::base::secret::Secret;
use crate::config::Problems;

/// Permission bits that nobody but the owner may have.
const OTHERS: u32 = 0o077;
/// What is read of a key file: one more byte than a right one has, to notice wrong ones.
const KEY_FILE_BYTES_MAX: u64 = 66;
/// Tries to find a random number that is a secret key; a single one all but never fails.
const KEY_TRIES: usize = 8;

/// The secrets of this hearth.
#[derive(Debug)]
pub struct Keys {
    /// Seed of all wallet keys.
    pub wallet_seed: Secret<[u8; 32]>,
    /// Signs invoices.
    pub node_key: Secret<[u8; 32]>,
    /// The relay's own key.
    pub relay_key: Secret<[u8; 32]>,
}

impl Keys {
    /// The relay's own public key (NIP-11 `self`).
    pub fn relay_pubkey(&self) -> Option<PublicKey> {
        // The bytes were checked when they were read.
        let keypair = Keypair::from_seckey_slice(SECP256K1, self.relay_key.expose()).ok()?;
        Some(PublicKey::from(keypair.x_only_public_key().0.serialize()))
    }
}

/// A data directory by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir(PathBuf);

/// What making a data directory changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// Keys that did not exist before.
    pub keys: Vec<&'static str>,
}

impl DataDir {
    /// Names of the key files.
    pub const KEY_NAMES: [&'static str; 3] = ["wallet-seed", "node-key", "relay-key"];

    /// A directory that may not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The event store.
    pub fn events(&self) -> PathBuf {
        self.0.join("events")
    }

    /// The money.
    pub fn wallet(&self) -> PathBuf {
        self.0.join("wallet")
    }

    /// The owner's socket.
    pub fn admin_socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    fn key(&self, name: &str) -> PathBuf {
        self.keys().join(name)
    }

    /// Makes what is missing and leaves alone what is there. A directory that holds data but not all of its keys is not
    /// completed: new keys would silently be somebody else's.
    pub fn make(&self) -> Result<Made, Problems> {
        let mut problems = Problems::default();
        let mut made = Made::default();
        let fresh: Vec<&Path> = self.path().ancestors().take_while(|path| !path.exists()).collect();
        for directory in [self.path(), &self.keys()] {
            if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(directory) {
                problems.add(directory.to_string_lossy(), format!("cannot be made: {error}"));
                return Err(problems);
            }
        }
        let has_data = self.events().exists() || self.wallet().exists();
        for name in Self::KEY_NAMES {
            let path = self.key(name);
            if path.exists() {
                continue;
            }
            if has_data {
                problems
                    .add(path.to_string_lossy(), "is missing, but there is data that belongs to it: restore it from a backup");
            } else if let Err(error) = make_key(&path) {
                problems.add(path.to_string_lossy(), format!("cannot be made: {error}"));
            } else {
                made.keys.push(name);
            }
        }
        if problems.is_empty() {
            // Last, since from now on the keys belong to data.
            for directory in [self.events(), self.wallet()] {
                if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(&directory) {
                    problems.add(directory.to_string_lossy(), format!("cannot be made: {error}"));
                }
            }
        }
        // A directory's name is on the disk when the directory it lies in is synced.
        let outer = fresh.into_iter().filter_map(Path::parent);
        for directory in [self.keys().as_path(), self.path()].into_iter().chain(outer) {
            let place = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            if let Err(error) = File::open(place).and_then(|directory| directory.sync_all()) {
                problems.add(place.to_string_lossy(), format!("cannot be synced: {error}"));
            }
        }
        if problems.is_empty() { Ok(made) } else { Err(problems) }
    }

    /// Everything that is wrong with it, without changing anything. A directory that is not there yet is fine.
    pub fn check(&self) -> Problems {
        let mut problems = Problems::default();
        if !self.0.exists() {
            return problems;
        }
        for directory in [self.path(), &self.keys()] {
            check_private(directory, true, &mut problems);
        }
        if self.wallet().exists() {
            check_private(&self.wallet(), true, &mut problems);
        }
        if !self.keys().is_dir() {
            return problems;
        }
        let has_data = self.events().exists() || self.wallet().exists();
        for name in Self::KEY_NAMES {
            let path = self.key(name);
            match read_key(&path) {
                Ok(_) => check_private(&path, false, &mut problems),
                Err(KeyError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                    if has_data {
                        let words = "is missing, but there is data that belongs to it: restore it from a backup";
                        problems.add(path.to_string_lossy(), words);
                    }
                }
                Err(error) => problems.add(path.to_string_lossy(), error.to_string()),
            }
        }
        problems
    }

    /// Reads the keys; refuses them all if anybody else could have read one.
    pub fn read_keys(&self) -> Result<Keys, Problems> {
        let mut problems = self.check();
        let mut keys = Vec::with_capacity(Self::KEY_NAMES.len());
        for name in Self::KEY_NAMES {
            match read_key(&self.key(name)) {
                Ok(key) => keys.push(key),
                // What else can be wrong with a key, the check has told already.
                Err(error @ KeyError::Io(_)) if problems.is_empty() => {
                    problems.add(self.key(name).to_string_lossy(), error.to_string());
                }
                Err(_) => {}
            }
        }
        match <[Secret<[u8; 32]>; 3]>::try_from(keys) {
            Ok([wallet_seed, node_key, relay_key]) if problems.is_empty() => Ok(Keys { wallet_seed, node_key, relay_key }),
            _ => Err(problems),
        }
    }
}

/// Why a key file is none.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is no key: one line of 64 lower-case hex digits, a number below the order of secp256k1")]
    NoKey,
}

fn read_key(path: &Path) -> Result<Secret<[u8; 32]>, KeyError> {
    let mut text = Zeroizing::new(Vec::with_capacity(128));
    File::open(path)?.take(KEY_FILE_BYTES_MAX).read_to_end(&mut text)?;
    let mut key = Zeroizing::new([0_u8; 32]);
    decode_lower(text.strip_suffix(b"\n").unwrap_or(&text), key.as_mut_slice()).ok_or(KeyError::NoKey)?;
    SecretKey::from_slice(key.as_slice()).map_err(|_| KeyError::NoKey)?;
    Ok(Secret::new(*key))
}

fn make_key(path: &Path) -> io::Result<()> {
    let mut text = Zeroizing::new([b'\n'; 65]);
    if let Some(digits) = text.get_mut(..64) {
        encode_lower(random_key()?.as_slice(), digits);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_slice())?;
    file.sync_all()
}

fn random_key() -> io::Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0_u8; 32]);
    for _ in 0..KEY_TRIES {
        getrandom::fill(key.as_mut_slice()).map_err(io::Error::other)?;
        if SecretKey::from_slice(key.as_slice()).is_ok() {
            return Ok(key);
        }
    }
    Err(io::Error::other("the operating system gives no good random numbers"))
}

/// The keys let anybody spend: nobody but the owner may reach them.
fn check_private(path: &Path, is_directory: bool, problems: &mut Problems) {
    let place = path.to_string_lossy();
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) => return problems.add(place, format!("cannot be looked at: {error}")),
    };
    if found.is_dir() != is_directory || found.is_symlink() {
        return problems.add(place, if is_directory { "must be a directory" } else { "must be a plain file" });
    }
    let mode = found.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        let (word, wanted) = if is_directory { ("directory", "0700") } else { ("file", "0600") };
        let words = format!("others can reach this {word} (mode {mode:04o}): chmod {wanted} it");
        problems.add(place, words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, DataDir) {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::new(directory.path().join("deep/data"));
        (directory, data)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn an_empty_directory_gets_private_keys_once() {
        let (_directory, data) = fresh();
        assert!(data.check().is_empty());
        assert_eq!(data.make().unwrap().keys, DataDir::KEY_NAMES);
        for directory in [data.path(), &data.keys(), &data.events(), &data.wallet()] {
            assert_eq!(mode(directory), 0o700);
        }
        for name in DataDir::KEY_NAMES {
            assert_eq!(mode(&data.key(name)), 0o600);
            assert_eq!(fs::read(data.key(name)).unwrap().len(), 65);
        }
        let before = data.read_keys().unwrap();
        assert_eq!(data.make().unwrap(), Made::default());
        let after = data.read_keys().unwrap();
        assert_eq!(before.wallet_seed.expose(), after.wallet_seed.expose());
        assert_ne!(before.wallet_seed.expose(), before.node_key.expose());
        assert!(data.check().is_empty());
    }

    #[test]
    fn keys_that_others_can_read_are_refused_all_problems_at_once() {
        let (_directory, data) = fresh();
        data.make().unwrap();
        fs::set_permissions(data.key("wallet-seed"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(data.keys(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(data.key("node-key"), "abc\n").unwrap();
        let problems = data.check();
        let text = problems.to_string();
        assert_eq!(problems.0.len(), 3, "{text}");
        assert!(text.contains("wallet-seed: others can reach this file (mode 0640): chmod 0600 it"), "{text}");
        assert!(text.contains("keys: others can reach this directory (mode 0755): chmod 0700 it"), "{text}");
        assert!(text.contains("node-key: is no key"), "{text}");
        assert_eq!(data.read_keys().err(), Some(problems));
    }

    #[test]
    fn a_key_that_data_belongs_to_is_never_made_anew() {
        let (_directory, data) = fresh();
        data.make().unwrap();
        fs::remove_file(data.key("wallet-seed")).unwrap();
        assert!(data.check().to_string().contains("restore it from a backup"));
        assert!(data.make().unwrap_err().to_string().contains("restore it from a backup"));
        assert!(!data.key("wallet-seed").exists());
    }

    #[test]
    fn a_key_must_be_one_line_of_hex_and_a_secret_key() {
        let (_directory, data) = fresh();
        data.make().unwrap();
        let path = data.key("node-key");
        let good = fs::read_to_string(&path).unwrap();
        for (text, is_key) in [
            (good.clone(), true),
            (good.trim_end().to_owned(), true),
            (format!("{good}\n"), false),
            (format!("{good}{good}"), false),
            (good.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A"), false),
            ("0".repeat(64), false),
            ("f".repeat(64), false),
            (String::new(), false),
        ] {
            fs::write(&path, &text).unwrap();
            assert_eq!(data.read_keys().is_ok(), is_key, "{text:?}");
        }
    }
}
