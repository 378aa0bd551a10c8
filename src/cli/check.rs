//! `hearth check`: everything that is wrong with the configuration and the data directory, at once. Changes nothing.

use clap::Args;

use super::{EXIT_CONFIG, complain, say};
use crate::app::data_dir::DataDir;
use crate::app::keys::{self, SeedPlace};
use crate::config::resolve::{BackendSettings, KeySettings};
use crate::config::{Overrides, Problems, load};

/// How to print.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Default)]
struct Findings {
    problems: Problems,
    /// Where the wallet seed comes from, in words.
    seed: Option<String>,
}

pub(super) fn run(args: &CheckArgs, overrides: &Overrides) -> u8 {
    let Findings { problems, seed } = find(overrides);
    if args.json {
        say(&serde_json::json!({ "ok": problems.is_empty(), "problems": problems, "wallet_seed": seed }).to_string());
    } else if problems.is_empty() {
        say("the configuration and the data directory are fine");
        say(&format!("wallet seed: {}", seed.as_deref().unwrap_or("made at the first start")));
    } else {
        complain(&problems.to_string());
    }
    if problems.is_empty() { 0 } else { EXIT_CONFIG }
}

/// Where the configuration does not say which data directory is meant, the one of the command line is looked at all the same.
fn find(overrides: &Overrides) -> Findings {
    let (mut problems, data, keys) = match load(overrides) {
        Ok(settings) => (find_in_backend(&settings.wallet.backend), Some(settings.data), settings.keys),
        Err(problems) => (problems, overrides.data.clone(), KeySettings::default()),
    };
    let mut seed = None;
    if let Some(data) = data {
        let data = DataDir::new(data).with_credentials(keys.credentials.clone());
        let before = problems.0.len();
        problems.0.extend(data.check().0);
        if let Some(place) = data.seed_place() {
            let is_sound = problems.0.len() == before;
            seed = Some(look_at(&place, &data, &keys, is_sound, &mut problems));
        }
    }
    Findings { problems, seed }
}

/// Where the seed lies and whether a start will be able to open it.
fn look_at(place: &SeedPlace, data: &DataDir, settings: &KeySettings, is_sound: bool, problems: &mut Problems) -> String {
    let what = if place.is_credential { "the systemd credential" } else { "the file" };
    let words = format!("{what} {}", place.path.display());
    let passphrase = match keys::passphrase(settings) {
        Ok(passphrase) => passphrase,
        Err(more) => {
            problems.0.extend(more.0);
            return words;
        }
    };
    match passphrase {
        _ if !place.is_sealed => format!("{words}, not sealed"),
        None => format!("{words}, sealed; its passphrase is asked for at each start, which needs a terminal"),
        Some((passphrase, from)) => {
            if is_sound && let Err(more) = data.read_keys(Some(&passphrase)) {
                problems.0.extend(more.0);
            }
            format!("{words}, sealed; its passphrase comes {from}")
        }
    }
}

/// Files that a back end needs.
fn find_in_backend(backend: &BackendSettings) -> Problems {
    let mut problems = Problems::default();
    if let BackendSettings::Lnd(config) = backend {
        for (path, error) in config.problems() {
            problems.add(path.to_string_lossy(), error.to_string());
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn problems_of_the_file_and_of_the_keys_come_together() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        DataDir::new(data.clone()).make(&keys::Birth::default()).unwrap();
        fs::set_permissions(data.join("keys/node-key"), fs::Permissions::from_mode(0o644)).unwrap();
        let config = directory.path().join("config.toml");
        fs::write(&config, "[relay]\nport = 1\n").unwrap();
        let problems = find(&Overrides { config: Some(config), data: Some(data), ..Overrides::default() }).problems;
        let text = problems.to_string();
        assert_eq!(problems.0.len(), 2, "{text}");
        assert!(text.contains("relay.port: unknown key") && text.contains("node-key: others can reach this file"), "{text}");
    }

    #[test]
    fn files_that_lnd_needs_are_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let macaroon = directory.path().join("hearth.macaroon");
        fs::write(&macaroon, [2, 2, 1, 9]).unwrap();
        fs::set_permissions(&macaroon, fs::Permissions::from_mode(0o644)).unwrap();
        let config = directory.path().join("config.toml");
        let cert = directory.path().join("tls.cert");
        let text = format!(
            "[wallet]\nbackend = \"lnd\"\n[wallet.lnd]\ncert_file = {:?}\nmacaroon_file = {:?}\n",
            cert.to_string_lossy(),
            macaroon.to_string_lossy()
        );
        fs::write(&config, text).unwrap();
        let overrides = Overrides { config: Some(config), data: Some(directory.path().join("data")), ..Overrides::default() };
        let problems = find(&overrides).problems.to_string();
        assert!(problems.contains("tls.cert: cannot be read: No such file"), "{problems}");
        assert!(problems.contains("hearth.macaroon: others can reach this file (mode 0644)"), "{problems}");
    }
}
