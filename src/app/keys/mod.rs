//! The secrets of this hearth: where they lie, how they are read, how they are made.
//!
//! The wallet seed is the one that counts. It lies in `data/keys/wallet-seed` or comes as the systemd credential
//! `hearth-wallet-seed`; either holds it in the open (one line of hex) or sealed by a passphrase ([`seal`]). The other keys of a
//! new directory follow from it, so that its backup [`words`] bring all of them back.

mod files;
mod seal;
pub mod words;

use std::io;
use std::path::{Path, PathBuf};

use hkdf::Hkdf;
use secp256k1::{Keypair, SECP256K1};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::base::hex32::PublicKey;
use crate::base::secret::Secret;
use crate::config::Problems;
use crate::config::resolve::KeySettings;
pub(super) use files::{Keeper, KeyError, check_private, read_key};
use seal::{Cost, SealError, Sealed};

/// What a sealed seed is opened with.
pub type Passphrase = Secret<String>;

/// The file of the wallet seed.
pub(super) const SEED_FILE: &str = "wallet-seed";
/// The credential that may hold the seed in its place.
const SEED_CREDENTIAL: &str = "hearth-wallet-seed";
/// The credential that may hold the passphrase.
const PASSPHRASE_CREDENTIAL: &str = "hearth-passphrase";
/// Shortest passphrase that a seed is sealed with: below this, guessing is cheaper than the work that guards it.
pub const PASSPHRASE_CHARS_MIN: usize = 10;
/// Longest passphrase.
const PASSPHRASE_BYTES_MAX: usize = 1_024;
/// Separates the keys that follow from the seed from those of connections.
const SALT: &[u8] = b"hearth/keys/v1";
const ATTEMPTS_MAX: u8 = 8;

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

/// How missing keys are made.
#[derive(Debug, Default)]
pub struct Birth {
    /// The seed, from backup words; else a new one is drawn.
    pub seed: Option<Secret<[u8; 32]>>,
    /// Whether the seed is sealed with the passphrase before it touches the disk.
    pub seal: bool,
    /// Seals a new seed, opens a sealed one.
    pub passphrase: Option<Passphrase>,
}

/// Where a wallet seed was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedPlace {
    /// The file.
    pub path: PathBuf,
    /// Whether systemd handed it over.
    pub is_credential: bool,
    /// Whether it needs a passphrase.
    pub is_sealed: bool,
}

/// Why a seed was not read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum SeedError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(
        "is no wallet seed: one line of 64 lower-case hex digits, a number below the order of secp256k1, or a seed that \
         `hearth init --seal` sealed"
    )]
    NoSeed,
    #[error(
        "is sealed by a passphrase, and none was given: start hearth at a terminal, or name a file that holds the passphrase in \
         wallet.passphrase_file, or hand it over as the systemd credential {PASSPHRASE_CREDENTIAL}"
    )]
    NoPassphrase,
    #[error(
        "cannot be sealed: a passphrase has at least {PASSPHRASE_CHARS_MIN} characters and at most {PASSPHRASE_BYTES_MAX} bytes"
    )]
    BadPassphrase,
}

/// Looks for the seed, without opening it. Two of them are a problem: one would silently be the wrong one.
pub(super) fn find_seed(keys: &Path, credentials: Option<&Path>, problems: &mut Problems) -> Option<SeedPlace> {
    let file = Some((keys.join(SEED_FILE), false));
    let credential = credentials.map(|directory| (directory.join(SEED_CREDENTIAL), true));
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    let mut found = file.into_iter().chain(credential).filter(|(path, _)| is_there(path));
    let (path, is_credential) = found.next()?;
    if let Some((other, _)) = found.next() {
        let words = format!(
            "there is a second wallet seed at {}: move away the one that this wallet does not belong to",
            other.display()
        );
        problems.add(path.to_string_lossy(), words);
        return None;
    }
    let is_sealed = files::read(&path).is_ok_and(|text| seal::is_sealed(&text));
    Some(SeedPlace { path, is_credential, is_sealed })
}

/// What is wrong with a seed, as far as that can be told without its passphrase.
pub(super) fn check_seed(place: &SeedPlace, problems: &mut Problems) {
    let checked = files::read(&place.path).map_err(SeedError::from).and_then(|text| match place.is_sealed {
        true => Sealed::read(&text).map(drop).map_err(SeedError::from),
        false => files::parse_key(&text).map(drop).ok_or(SeedError::NoSeed),
    });
    match checked {
        Ok(()) => {
            let keeper = if place.is_credential { Keeper::System } else { Keeper::Us };
            check_private(&place.path, false, keeper, problems);
        }
        Err(error) => problems.add(place.path.to_string_lossy(), error.to_string()),
    }
}

/// Reads a seed, and opens it if it is sealed.
pub(super) fn read_seed(place: &SeedPlace, passphrase: Option<&Passphrase>) -> Result<Secret<[u8; 32]>, SeedError> {
    let text = files::read(&place.path)?;
    if !seal::is_sealed(&text) {
        return files::parse_key(&text).ok_or(SeedError::NoSeed);
    }
    let seed = Sealed::read(&text)?.open(passphrase.ok_or(SeedError::NoPassphrase)?)?;
    if files::is_key(seed.expose()) { Ok(seed) } else { Err(SeedError::NoSeed) }
}

/// Writes the seed of a new wallet, sealed if that is asked for. What is there already is not touched.
pub(super) fn write_seed(path: &Path, seed: &Secret<[u8; 32]>, birth: &Birth) -> Result<(), SeedError> {
    if !birth.seal {
        return Ok(files::write_key(path, seed.expose())?);
    }
    Ok(files::write_new(path, sealed(seed, birth.passphrase.as_ref())?.as_bytes())?)
}

/// Replaces a seed in the open by the same seed, sealed: the new file is whole on disk and opens before the old one goes.
pub(super) fn seal_in_place(place: &SeedPlace, passphrase: &Passphrase) -> Result<(), SeedError> {
    let seed = read_seed(place, None)?;
    let text = sealed(&seed, Some(passphrase))?;
    let opened = Sealed::read(text.as_bytes())?.open(passphrase)?;
    if opened.expose() != seed.expose() {
        return Err(SealError::Damaged.into());
    }
    let newborn = place.path.with_extension("new");
    // What an interrupted attempt left is worth nothing.
    let _ = std::fs::remove_file(&newborn);
    files::write_new(&newborn, text.as_bytes())?;
    std::fs::rename(&newborn, &place.path)?;
    Ok(())
}

fn sealed(seed: &Secret<[u8; 32]>, passphrase: Option<&Passphrase>) -> Result<String, SeedError> {
    let passphrase = passphrase.ok_or(SeedError::NoPassphrase)?;
    let text = passphrase.expose();
    if text.chars().count() < PASSPHRASE_CHARS_MIN || text.len() > PASSPHRASE_BYTES_MAX {
        return Err(SeedError::BadPassphrase);
    }
    Ok(seal::seal(seed.expose(), passphrase, Cost::USUAL)?)
}

/// A seed for a new wallet.
pub(super) fn new_seed() -> io::Result<Secret<[u8; 32]>> {
    files::random_key()
}

/// Makes the file of a key that follows from the seed.
pub(super) fn write_derived(path: &Path, name: &str, seed: &Secret<[u8; 32]>) -> io::Result<()> {
    let key = derived(seed, name).ok_or_else(|| io::Error::other("no key follows from this seed"))?;
    files::write_key(path, key.expose())
}

/// `HKDF(salt, seed, name || attempt)`, the first attempt that is a secret key.
fn derived(seed: &Secret<[u8; 32]>, name: &str) -> Option<Secret<[u8; 32]>> {
    let hkdf = Hkdf::<Sha256>::new(Some(SALT), seed.expose());
    (0..ATTEMPTS_MAX).find_map(|attempt| {
        let mut key = Zeroizing::new([0_u8; 32]);
        hkdf.expand_multi_info(&[name.as_bytes(), &[attempt]], key.as_mut_slice()).ok()?;
        files::is_key(&key).then(|| Secret::new(*key))
    })
}

/// The backup words of a seed.
pub(super) fn words_of(seed: &Secret<[u8; 32]>) -> Option<Secret<String>> {
    words::of_seed(seed.expose())
}

/// The passphrase that was typed, or lies in the file that the configuration names, or came as a credential; and in words where
/// it is from.
pub fn passphrase(settings: &KeySettings) -> Result<Option<(Passphrase, String)>, Problems> {
    if let Some(typed) = &settings.typed {
        return Ok(Some((typed.clone(), "typed".to_owned())));
    }
    let credential = settings.credentials.as_ref().map(|directory| directory.join(PASSPHRASE_CREDENTIAL));
    let (path, keeper) = match (&settings.passphrase_file, credential.filter(|path| path.exists())) {
        (Some(file), _) => (file.clone(), Keeper::Us),
        (None, Some(credential)) => (credential, Keeper::System),
        (None, None) => return Ok(None),
    };
    let mut problems = Problems::default();
    check_private(&path, false, keeper, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    match read_line(&path) {
        Ok(line) => Ok(Some((line, format!("from {}", path.display())))),
        Err(error) => {
            problems.add(path.to_string_lossy(), format!("holds no passphrase: {error}"));
            Err(problems)
        }
    }
}

fn read_line(path: &Path) -> io::Result<Passphrase> {
    let text = files::read(path)?;
    let text = std::str::from_utf8(&text).map_err(|_| io::Error::other("it is not UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains('\n') {
        return Err(io::Error::other("it must be one line"));
    }
    Ok(Secret::new(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_keys_follow_from_the_seed_for_ever() {
        let seed = Secret::new([42; 32]);
        let hex = |name| PublicKey::from(*derived(&seed, name).unwrap().expose()).to_string();
        assert_ne!(hex("node-key"), hex("relay-key"));
        // If this line fails, backup words no longer bring the node key back.
        assert_eq!(hex("node-key"), NODE_KEY_OF_42);
    }

    const NODE_KEY_OF_42: &str = "27b40c6188dabc9cdc1405cdbe9b32bfd352b63ff31d6932abc703b67c76dd8f";

    #[test]
    fn a_passphrase_is_one_line_of_a_private_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passphrase");
        let settings = KeySettings { passphrase_file: Some(path.clone()), ..KeySettings::default() };
        let wrong = |settings: &KeySettings| passphrase(settings).unwrap_err().to_string();
        assert!(wrong(&settings).contains("cannot be looked at"));
        files::write_new(&path, b"open sesame\n").unwrap();
        let (found, place) = passphrase(&settings).unwrap().unwrap();
        assert_eq!((found.expose().as_str(), place), ("open sesame", format!("from {}", path.display())));
        for bad in [&b""[..], b"\n", b"two\nlines\n", b"\xff\xfe\n"] {
            std::fs::write(&path, bad).unwrap();
            assert!(wrong(&settings).contains("holds no passphrase"), "{bad:?}");
        }
        let typed = KeySettings { typed: Some(Secret::new("typed".to_owned())), ..settings.clone() };
        assert_eq!(passphrase(&typed).unwrap().unwrap().0.expose(), "typed");
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(wrong(&settings).contains("mode 0640"));
        assert!(passphrase(&KeySettings::default()).unwrap().is_none());
    }
}
