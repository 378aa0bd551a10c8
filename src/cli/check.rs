//! `hearth check`: everything that is wrong with the configuration and the data directory, at once. Changes nothing.

use clap::Args;

use super::{EXIT_CONFIG, complain, problems_json, say};
use crate::app::data_dir::DataDir;
use crate::config::resolve::BackendSettings;
use crate::config::{Overrides, Problems, load};

/// How to print.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CheckArgs, overrides: &Overrides) -> u8 {
    let problems = find(overrides);
    if args.json {
        say(&problems_json(&problems));
    } else if problems.is_empty() {
        say("the configuration and the data directory are fine");
    } else {
        complain(&problems.to_string());
    }
    if problems.is_empty() { 0 } else { EXIT_CONFIG }
}

/// Where the configuration does not say which data directory is meant, the one of the command line is looked at all the same.
fn find(overrides: &Overrides) -> Problems {
    let (mut problems, data) = match load(overrides) {
        Ok(settings) => (find_in_backend(&settings.wallet.backend), Some(settings.data)),
        Err(problems) => (problems, overrides.data.clone()),
    };
    if let Some(data) = data {
        problems.0.extend(DataDir::new(data).check().0);
    }
    problems
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
        DataDir::new(data.clone()).make().unwrap();
        fs::set_permissions(data.join("keys/node-key"), fs::Permissions::from_mode(0o644)).unwrap();
        let config = directory.path().join("config.toml");
        fs::write(&config, "[relay]\nport = 1\n").unwrap();
        let problems = find(&Overrides { config: Some(config), data: Some(data), ..Overrides::default() });
        let text = problems.to_string();
        assert_eq!(problems.0.len(), 2, "{text}");
        assert!(text.contains("relay.port: unknown key") && text.contains("node-key: others can reach this file"), "{text}");
        assert!(problems_json(&problems).starts_with("{\"ok\":false,\"problems\":[{"));
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
        let problems = find(&overrides).to_string();
        assert!(problems.contains("tls.cert: cannot be read: No such file"), "{problems}");
        assert!(problems.contains("hearth.macaroon: others can reach this file (mode 0644)"), "{problems}");
    }
}
