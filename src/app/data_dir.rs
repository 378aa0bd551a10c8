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
//!   audit/            0700  what connections asked for
//!   admin.sock        0600  the owner's socket, while the server runs
//! ```
//!
//! A key is one line of 64 lower-case hex digits. It is made once, with O_EXCL, and never written again; only the wallet seed can
//! be sealed later, or come from elsewhere (see [`super::keys`]).

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::keys::{
    self, Birth, Keeper, KeyError, Keys, Passphrase, SEED_FILE, SeedPlace, check_private, check_seed, find_seed, read_key,
    read_seed,
};
use crate::base::secret::Secret;
use crate::config::Problems;

const LOST: &str = "is missing, but there is data that belongs to it: restore it from a backup";
const LOST_SEED: &str = "is missing, but there is data that belongs to it: restore it from a backup, or from its backup words \
                         with:  hearth init --from-words";

/// A data directory by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    path: PathBuf,
    credentials: Option<PathBuf>,
}

/// What making a data directory changed.
#[derive(Debug, Default)]
pub struct Made {
    /// Keys that did not exist before.
    pub keys: Vec<&'static str>,
    /// Backup words of a seed that did not exist before.
    pub words: Option<Secret<String>>,
}

impl DataDir {
    /// Names of the key files.
    pub const KEY_NAMES: [&'static str; 3] = [SEED_FILE, "node-key", "relay-key"];

    /// A directory that may not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, credentials: None }
    }

    /// The same, where systemd may have handed over the seed.
    #[must_use]
    pub fn with_credentials(self, credentials: Option<PathBuf>) -> Self {
        Self { credentials, ..self }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The event store.
    pub fn events(&self) -> PathBuf {
        self.path.join("events")
    }

    /// The money.
    pub fn wallet(&self) -> PathBuf {
        self.path.join("wallet")
    }

    /// What connections asked for.
    pub fn audit(&self) -> PathBuf {
        self.path.join("audit")
    }

    /// The owner's socket.
    pub fn admin_socket(&self) -> PathBuf {
        self.path.join("admin.sock")
    }

    fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }

    fn key(&self, name: &str) -> PathBuf {
        self.keys().join(name)
    }

    fn has_data(&self) -> bool {
        self.events().exists() || self.wallet().exists()
    }

    /// Where the wallet seed lies, if there is one and only one.
    pub fn seed_place(&self) -> Option<SeedPlace> {
        find_seed(&self.keys(), self.credentials.as_deref(), &mut Problems::default())
    }

    /// Makes what is missing and leaves alone what is there. A directory that holds data but not all of its keys is not
    /// completed: new keys would silently be somebody else's. Only backup words complete it; the wallet knows its own seed and
    /// refuses every other.
    pub fn make(&self, birth: &Birth) -> Result<Made, Problems> {
        let mut problems = Problems::default();
        let mut made = Made::default();
        let fresh: Vec<&Path> = self.path().ancestors().take_while(|path| !path.exists()).collect();
        for directory in [self.path(), &self.keys()] {
            make_directory(directory, &mut problems);
        }
        if problems.is_empty() {
            self.make_keys(birth, &mut made, &mut problems);
        }
        if problems.is_empty() {
            // Last, since from now on the keys belong to data.
            for directory in [self.events(), self.wallet(), self.audit()] {
                make_directory(&directory, &mut problems);
            }
        }
        self.sync_names(&fresh, &mut problems);
        if problems.is_empty() { Ok(made) } else { Err(problems) }
    }

    fn make_keys(&self, birth: &Birth, made: &mut Made, problems: &mut Problems) {
        let is_lost = self.has_data() && birth.seed.is_none();
        let found = find_seed(&self.keys(), self.credentials.as_deref(), problems);
        if !problems.is_empty() {
            return;
        }
        let missing = Self::KEY_NAMES.into_iter().filter(|name| *name != SEED_FILE && !self.key(name).exists());
        let missing: Vec<&'static str> = missing.collect();
        if is_lost {
            if found.is_none() {
                problems.add(self.key(SEED_FILE).to_string_lossy(), LOST_SEED);
            }
            missing.iter().for_each(|name| problems.add(self.key(name).to_string_lossy(), LOST));
            return;
        }
        let seed = match &found {
            Some(_) if missing.is_empty() => return,
            Some(place) => read_seed(place, birth.passphrase.as_ref()).map_err(|error| (place.path.clone(), error.to_string())),
            None => self.make_seed(birth, made).map_err(|error| (self.key(SEED_FILE), error.to_string())),
        };
        match seed {
            Ok(seed) => {
                for name in missing {
                    match keys::write_derived(&self.key(name), name, &seed) {
                        Ok(()) => made.keys.push(name),
                        Err(error) => problems.add(self.key(name).to_string_lossy(), format!("cannot be made: {error}")),
                    }
                }
            }
            Err((path, words)) => problems.add(path.to_string_lossy(), words),
        }
    }

    fn make_seed(&self, birth: &Birth, made: &mut Made) -> Result<Secret<[u8; 32]>, keys::SeedError> {
        let seed = match &birth.seed {
            Some(seed) => seed.clone(),
            None => keys::new_seed()?,
        };
        keys::write_seed(&self.key(SEED_FILE), &seed, birth)?;
        made.keys.push(SEED_FILE);
        // Whoever came with the words has them.
        made.words = keys::words_of(&seed).filter(|_| birth.seed.is_none());
        Ok(seed)
    }

    /// Seals a seed that lies in the open. A seed that systemd hands over is not ours to change.
    pub fn seal(&self, passphrase: &Passphrase) -> Result<(), Problems> {
        let mut problems = Problems::default();
        let Some(place) = find_seed(&self.keys(), self.credentials.as_deref(), &mut problems) else {
            if problems.is_empty() {
                problems.add(self.key(SEED_FILE).to_string_lossy(), "is not there yet");
            }
            return Err(problems);
        };
        if place.is_credential || place.is_sealed {
            let words =
                if place.is_sealed { "is sealed already" } else { "was handed over by systemd: seal it where it comes from" };
            problems.add(place.path.to_string_lossy(), words);
            return Err(problems);
        }
        match keys::seal_in_place(&place, passphrase) {
            Ok(()) => self.sync_names(&[], &mut problems),
            Err(error) => problems.add(place.path.to_string_lossy(), error.to_string()),
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The backup words of the seed that is there.
    pub fn words(&self, passphrase: Option<&Passphrase>) -> Result<Secret<String>, Problems> {
        let mut problems = Problems::default();
        if let Some(place) = find_seed(&self.keys(), self.credentials.as_deref(), &mut problems) {
            match read_seed(&place, passphrase) {
                Ok(seed) => match keys::words_of(&seed) {
                    Some(words) => return Ok(words),
                    None => problems.add(place.path.to_string_lossy(), "has no backup words"),
                },
                Err(error) => problems.add(place.path.to_string_lossy(), error.to_string()),
            }
        } else if problems.is_empty() {
            problems.add(self.key(SEED_FILE).to_string_lossy(), "is not there yet");
        }
        Err(problems)
    }

    /// A directory's name is on the disk when the directory it lies in is synced. `fresh`: what was not there before.
    fn sync_names(&self, fresh: &[&Path], problems: &mut Problems) {
        let outer = fresh.iter().filter_map(|path| path.parent());
        for directory in [self.keys().as_path(), self.path()].into_iter().chain(outer) {
            let place = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            if let Err(error) = File::open(place).and_then(|directory| directory.sync_all()) {
                problems.add(place.to_string_lossy(), format!("cannot be synced: {error}"));
            }
        }
    }

    /// Everything that is wrong with it, without changing anything. A directory that is not there yet is fine.
    pub fn check(&self) -> Problems {
        let mut problems = Problems::default();
        if !self.path.exists() {
            return problems;
        }
        for directory in [self.path(), &self.keys()] {
            check_private(directory, true, Keeper::Us, &mut problems);
        }
        if self.wallet().exists() {
            check_private(&self.wallet(), true, Keeper::Us, &mut problems);
        }
        if !self.keys().is_dir() {
            return problems;
        }
        let before = problems.0.len();
        match find_seed(&self.keys(), self.credentials.as_deref(), &mut problems) {
            Some(place) => check_seed(&place, &mut problems),
            None if self.has_data() && problems.0.len() == before => {
                problems.add(self.key(SEED_FILE).to_string_lossy(), LOST_SEED);
            }
            None => {}
        }
        for name in Self::KEY_NAMES.into_iter().filter(|name| *name != SEED_FILE) {
            let path = self.key(name);
            match read_key(&path) {
                Ok(_) => check_private(&path, false, Keeper::Us, &mut problems),
                Err(KeyError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                    if self.has_data() {
                        problems.add(path.to_string_lossy(), LOST);
                    }
                }
                Err(error) => problems.add(path.to_string_lossy(), error.to_string()),
            }
        }
        problems
    }

    /// Reads the keys; refuses them all if anybody else could have read one.
    pub fn read_keys(&self, passphrase: Option<&Passphrase>) -> Result<Keys, Problems> {
        let mut problems = self.check();
        if !problems.is_empty() {
            return Err(problems);
        }
        let seed = match find_seed(&self.keys(), self.credentials.as_deref(), &mut problems) {
            Some(place) => read_seed(&place, passphrase).map_err(|error| (place.path, error.to_string())),
            None => Err((self.key(SEED_FILE), "is not there yet".to_owned())),
        };
        let key = |name: &str| read_key(&self.key(name)).map_err(|error| (self.key(name), error.to_string()));
        match (seed, key("node-key"), key("relay-key")) {
            (Ok(wallet_seed), Ok(node_key), Ok(relay_key)) => Ok(Keys { wallet_seed, node_key, relay_key }),
            (seed, node_key, relay_key) => {
                for (path, words) in [seed.err(), node_key.err(), relay_key.err()].into_iter().flatten() {
                    problems.add(path.to_string_lossy(), words);
                }
                Err(problems)
            }
        }
    }
}

fn make_directory(directory: &Path, problems: &mut Problems) {
    if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(directory) {
        problems.add(directory.to_string_lossy(), format!("cannot be made: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fresh() -> (tempfile::TempDir, DataDir) {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::new(directory.path().join("deep/data"));
        (directory, data)
    }

    fn make(data: &DataDir) -> Made {
        data.make(&Birth::default()).unwrap()
    }

    fn passphrase(text: &str) -> Passphrase {
        Secret::new(text.to_owned())
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn an_empty_directory_gets_private_keys_once() {
        let (_directory, data) = fresh();
        assert!(data.check().is_empty());
        assert_eq!(make(&data).keys, DataDir::KEY_NAMES);
        for directory in [data.path(), &data.keys(), &data.events(), &data.wallet(), &data.audit()] {
            assert_eq!(mode(directory), 0o700);
        }
        for name in DataDir::KEY_NAMES {
            assert_eq!(mode(&data.key(name)), 0o600);
            assert_eq!(fs::read(data.key(name)).unwrap().len(), 65);
        }
        let before = data.read_keys(None).unwrap();
        assert!(make(&data).keys.is_empty());
        let after = data.read_keys(None).unwrap();
        assert_eq!(before.wallet_seed.expose(), after.wallet_seed.expose());
        assert_ne!(before.wallet_seed.expose(), before.node_key.expose());
        assert!(data.check().is_empty());
    }

    #[test]
    fn keys_that_others_can_read_are_refused_all_problems_at_once() {
        let (_directory, data) = fresh();
        make(&data);
        fs::set_permissions(data.key("wallet-seed"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(data.keys(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(data.key("node-key"), "abc\n").unwrap();
        let problems = data.check();
        let text = problems.to_string();
        assert_eq!(problems.0.len(), 3, "{text}");
        assert!(text.contains("wallet-seed: others can reach this file (mode 0640): chmod 0600 it"), "{text}");
        assert!(text.contains("keys: others can reach this directory (mode 0755): chmod 0700 it"), "{text}");
        assert!(text.contains("node-key: is no key"), "{text}");
        assert_eq!(data.read_keys(None).err(), Some(problems));
    }

    #[test]
    fn a_key_that_data_belongs_to_is_never_made_anew() {
        let (_directory, data) = fresh();
        make(&data);
        fs::remove_file(data.key("wallet-seed")).unwrap();
        assert!(data.check().to_string().contains("restore it from a backup"));
        assert!(data.make(&Birth::default()).unwrap_err().to_string().contains("restore it from a backup"));
        assert!(!data.key("wallet-seed").exists());
    }

    #[test]
    fn a_key_must_be_one_line_of_hex_and_a_secret_key() {
        let (_directory, data) = fresh();
        make(&data);
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
            assert_eq!(data.read_keys(None).is_ok(), is_key, "{text:?}");
        }
    }

    #[test]
    fn a_sealed_seed_never_lies_in_the_open_and_opens_only_with_its_passphrase() {
        let (_directory, data) = fresh();
        let right = passphrase("correct horse battery");
        let short = Birth { seal: true, passphrase: Some(passphrase("too short")), ..Birth::default() };
        assert!(data.make(&short).unwrap_err().to_string().contains("at least 10 characters"));
        let birth = Birth { seal: true, passphrase: Some(right.clone()), ..Birth::default() };
        let made = data.make(&birth).unwrap();
        let words = made.words.unwrap();
        assert!(data.check().is_empty() && data.seed_place().unwrap().is_sealed);
        assert_eq!(mode(&data.key("wallet-seed")), 0o600);
        let text = data.read_keys(None).unwrap_err().to_string();
        assert!(text.contains("sealed by a passphrase, and none was given"), "{text}");
        let text = data.read_keys(Some(&passphrase("wrong horse battery"))).unwrap_err().to_string();
        assert!(text.contains("the passphrase is wrong"), "{text}");
        let keys = data.read_keys(Some(&right)).unwrap();
        assert_eq!(keys::words::seed(words.expose()).unwrap().expose(), keys.wallet_seed.expose());
        let text = fs::read_to_string(data.key("wallet-seed")).unwrap();
        assert!(!text.contains(&crate::base::hex32::Hex32(*keys.wallet_seed.expose()).to_string()));
        assert!(data.seal(&right).unwrap_err().to_string().contains("sealed already"));
    }

    #[test]
    fn a_seed_in_the_open_can_be_sealed_later() {
        let (_directory, data) = fresh();
        make(&data);
        let before = data.read_keys(None).unwrap();
        let right = passphrase("correct horse battery");
        assert!(data.seal(&passphrase("short")).is_err());
        data.seal(&right).unwrap();
        assert_eq!(mode(&data.key("wallet-seed")), 0o600);
        assert_eq!(data.read_keys(Some(&right)).unwrap().wallet_seed.expose(), before.wallet_seed.expose());
        assert!(data.read_keys(None).is_err());
        assert_eq!(fs::read_dir(data.keys()).unwrap().count(), 3, "nothing is left of the way there");
    }

    #[test]
    fn backup_words_bring_all_keys_back_even_to_data_that_has_lost_them() {
        let (_directory, data) = fresh();
        let words = make(&data).words.unwrap();
        assert!(make(&data).words.is_none(), "they are shown once");
        assert_eq!(data.words(None).unwrap().expose(), words.expose());
        let before = data.read_keys(None).unwrap();
        for name in DataDir::KEY_NAMES {
            fs::remove_file(data.key(name)).unwrap();
        }
        assert!(data.make(&Birth::default()).unwrap_err().to_string().contains("hearth init --from-words"));
        let birth = Birth { seed: Some(keys::words::seed(words.expose()).unwrap()), ..Birth::default() };
        let made = data.make(&birth).unwrap();
        assert_eq!((made.keys.len(), made.words.is_none()), (3, true));
        let after = data.read_keys(None).unwrap();
        for (before, after) in
            [(before.wallet_seed, after.wallet_seed), (before.node_key, after.node_key), (before.relay_key, after.relay_key)]
        {
            assert_eq!(before.expose(), after.expose());
        }
    }

    #[test]
    fn a_seed_may_come_as_a_credential_and_only_one_seed_counts() {
        let (directory, data) = fresh();
        make(&data);
        let credentials = directory.path().join("credentials");
        fs::create_dir(&credentials).unwrap();
        let credential = credentials.join("hearth-wallet-seed");
        fs::copy(data.key("wallet-seed"), &credential).unwrap();
        let before = data.read_keys(None).unwrap();
        let data = data.with_credentials(Some(credentials));
        let text = data.check().to_string();
        assert!(text.contains("there is a second wallet seed at"), "{text}");
        assert!(data.read_keys(None).is_err() && data.make(&Birth::default()).is_err());
        fs::remove_file(data.key("wallet-seed")).unwrap();
        // systemd's access list shows in the bits of the group.
        fs::set_permissions(&credential, fs::Permissions::from_mode(0o440)).unwrap();
        assert!(make(&data).keys.is_empty() && !data.key("wallet-seed").exists());
        assert_eq!(data.read_keys(None).unwrap().wallet_seed.expose(), before.wallet_seed.expose());
        assert!(data.seal(&passphrase("correct horse battery")).unwrap_err().to_string().contains("handed over by systemd"));
        fs::set_permissions(&credential, fs::Permissions::from_mode(0o444)).unwrap();
        assert!(data.check().to_string().contains("others can reach this file"));
    }
}
