//! The secrets at the command line: sealed seeds, backup words, credentials, and what is said when something is wrong.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::hearth::{finish, mode};
use crate::support::{App, Hearth};

const PASSPHRASE: &str = "correct horse battery staple";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A file of its own mode beside the data directory.
fn place(hearth: &Hearth, name: &str, content: &str, mode: u32) -> String {
    let path = hearth.data().with_file_name(name);
    write(&path, content, mode);
    path.to_str().unwrap().to_owned()
}

fn write(path: &Path, content: &str, mode: u32) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A directory whose configuration names a passphrase file.
fn with_passphrase(content: &str, mode: u32) -> Hearth {
    let hearth = Hearth::prepared("");
    let path = place(&hearth, "passphrase", content, mode);
    let config = format!("[wallet]\npassphrase_file = {path:?}\n[rates]\nenabled = false\n");
    std::fs::write(hearth.data().with_file_name("config.toml"), config).unwrap();
    hearth
}

fn seed_file(hearth: &Hearth) -> std::path::PathBuf {
    hearth.data().join("keys/wallet-seed")
}

fn fed(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    match child.stdin.take().unwrap().write_all(input.as_bytes()) {
        // What is refused before anything is asked for reads nothing.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.unwrap(),
    }
    child.wait_with_output().unwrap()
}

fn refused(output: &Output, code: i32, words: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_seed_serves_with_its_passphrase_and_not_without() {
    let mut hearth = with_passphrase(&format!("{PASSPHRASE}\n"), 0o600);
    let made = hearth.json(&["init", "--seal"]);
    assert_eq!((&made["sealed"], made["words"].as_str().unwrap().split(' ').count()), (&json!(true), 24));
    assert!(std::fs::read_to_string(seed_file(&hearth)).unwrap().starts_with("hearth-sealed-seed 1\nargon2id "));
    assert_eq!(mode(&seed_file(&hearth)), 0o600);
    hearth.launch();
    let before = App::connect(&hearth, "phone", &[]);
    hearth.kill();

    // The same seed again: the connection has its key still.
    hearth.launch();
    assert_eq!(hearth.json(&["wallet", "show", "phone"])["wallet_pubkey"], json!(before.wallet));
    hearth.kill();

    let checked = hearth.json(&["check"]);
    assert_eq!(checked["ok"], true);
    assert!(checked["wallet_seed"].as_str().unwrap().contains("sealed; its passphrase comes from "), "{checked}");
    place(&hearth, "passphrase", "incorrect horse battery staple\n", 0o600);
    for command in [hearth.serve_command(), hearth.command(&["check"])] {
        refused(&finish(command), 78, &["wallet-seed: does not open: the passphrase is wrong"]);
    }
    std::fs::write(hearth.data().with_file_name("config.toml"), "").unwrap();
    refused(&finish(hearth.serve_command()), 78, &["sealed by a passphrase, and none was given", "wallet.passphrase_file"]);
}

#[test]
fn a_seed_in_the_open_is_sealed_later_without_a_trace() {
    let hearth = with_passphrase(&format!("{PASSPHRASE}\n"), 0o600);
    assert!(hearth.run(&["init"]).status.success());
    let open = std::fs::read_to_string(seed_file(&hearth)).unwrap();
    let output = hearth.run(&["init", "--seal"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("sealed now"));
    for file in std::fs::read_dir(hearth.data().join("keys")).unwrap() {
        let path = file.unwrap().path();
        assert!(!std::fs::read_to_string(&path).unwrap().contains(open.trim()), "{}", path.display());
    }
    let words = hearth.json(&["init", "--show-words"]);
    assert_eq!(words["words"].as_str().unwrap().split(' ').count(), 24);
    refused(&hearth.run(&["init", "--seal"]), 78, &["is sealed already"]);
}

#[test]
fn what_is_wrong_with_a_passphrase_is_said_before_anything_is_made() {
    for (content, mode, words) in [
        ("short\n", 0o600, "at least 10 characters"),
        ("\n", 0o600, "holds no passphrase"),
        ("one line too\nmany\n", 0o600, "it must be one line"),
        ("correct horse battery staple\n", 0o644, "chmod 0600 it"),
    ] {
        let hearth = with_passphrase(content, mode);
        refused(&hearth.run(&["init", "--seal"]), 78, &[words]);
        assert!(!seed_file(&hearth).exists(), "{words}");
    }
    let nowhere = Hearth::prepared("");
    refused(&nowhere.run(&["init", "--seal"]), 1, &["there is no passphrase to seal with"]);
    let missing = Hearth::prepared("[wallet]\npassphrase_file = \"/nowhere/at/all\"\n");
    assert!(missing.run(&["init"]).status.success());
    refused(&missing.run(&["check"]), 78, &["/nowhere/at/all: cannot be looked at"]);
}

#[test]
fn backup_words_are_shown_once_and_bring_the_keys_back() {
    let hearth = Hearth::prepared("");
    let output = hearth.run(&["init"]);
    let said = text(&output.stdout);
    assert!(said.contains("Backup words of the wallet seed") && said.contains("24 "), "{said}");
    let words: Vec<&str> = said.lines().filter(|line| line.starts_with(|c: char| c == ' ' || c.is_ascii_digit())).collect();
    let words = words.join(" ");
    let words: Vec<&str> = words.split_whitespace().filter(|word| word.parse::<u32>().is_err()).collect();
    assert_eq!(words.len(), 24, "{said}");
    let words = words.join(" ");
    assert!(!text(&hearth.run(&["init"]).stdout).contains("Backup words"), "shown once");

    let restored = Hearth::prepared("");
    let output = fed(restored.command(&["init", "--from-words", "--json"]), &format!("{}\n", words.to_uppercase()));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&made["made"], &made["words"]), (&json!(["wallet-seed", "node-key", "relay-key"]), &Value::Null));
    for name in ["wallet-seed", "node-key", "relay-key"] {
        let read = |hearth: &Hearth| std::fs::read(hearth.data().join("keys").join(name)).unwrap();
        assert_eq!(read(&hearth), read(&restored), "{name}");
    }

    refused(&fed(restored.command(&["init", "--from-words"]), &words), 1, &["is there already and is never overwritten"]);
    let empty = Hearth::prepared("");
    let (_, others) = words.split_once(' ').unwrap();
    for (input, said) in [
        (format!("zebrax {others}"), "word 1 is none of the words"),
        (["zebra"; 23].join(" "), "these are 23 words"),
        (String::new(), "nothing was typed"),
    ] {
        let output = fed(empty.command(&["init", "--from-words"]), &input);
        refused(&output, 1, &[said]);
        // A word that no sentence has; of those that were drawn one may stand in the refusal by chance.
        assert!(!text(&output.stderr).contains("zebra"), "a word was shown");
        assert!(!seed_file(&empty).exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_that_lost_its_keys_gets_them_back_and_refuses_those_of_another() {
    let mut hearth = Hearth::prepared("");
    let words = hearth.json(&["init"])["words"].as_str().unwrap().to_owned();
    hearth.launch();
    App::connect(&hearth, "phone", &[]);
    assert!(hearth.terminate().success());
    let keys = hearth.data().join("keys");
    let lose = || {
        for name in ["wallet-seed", "node-key", "relay-key"] {
            std::fs::remove_file(keys.join(name)).unwrap();
        }
    };
    lose();
    refused(&finish(hearth.serve_command()), 78, &["hearth init --from-words"]);
    let other = Hearth::prepared("").json(&["init"])["words"].as_str().unwrap().to_owned();
    assert!(fed(hearth.command(&["init", "--from-words"]), &other).status.success());
    refused(&finish(hearth.serve_command()), 78, &["belong together"]);
    lose();
    assert!(fed(hearth.command(&["init", "--from-words"]), &words).status.success());
    hearth.launch();
    assert_eq!(hearth.json(&["wallet", "show", "phone"])["state"], "active");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_credentials_hold_the_seed_and_the_passphrase() {
    let hearth = with_passphrase(&format!("{PASSPHRASE}\n"), 0o600);
    hearth.json(&["init", "--seal"]);
    std::fs::write(hearth.data().with_file_name("config.toml"), "").unwrap();
    let credentials = hearth.data().with_file_name("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::rename(seed_file(&hearth), credentials.join("hearth-wallet-seed")).unwrap();
    let with = |mut command: Command| {
        command.env("CREDENTIALS_DIRECTORY", &credentials);
        command
    };
    let check = || finish(with(hearth.command(&["check", "--json"])));
    let said = text(&check().stdout);
    assert!(said.contains("asked for at each start"), "{said}");
    refused(&finish(with(hearth.serve_command())), 78, &["none was given"]);
    write(&credentials.join("hearth-passphrase"), &format!("{PASSPHRASE}\n"), 0o440);
    let said = text(&check().stdout);
    assert!(said.contains("\"ok\":true") && said.contains("the systemd credential"), "{said}");
    // Two seeds are one too many.
    std::fs::copy(credentials.join("hearth-wallet-seed"), seed_file(&hearth)).unwrap();
    refused(&finish(with(hearth.serve_command())), 78, &["there is a second wallet seed at"]);
    std::fs::remove_file(seed_file(&hearth)).unwrap();
    // A start that cannot have its port got past its keys.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let start = with(hearth.command(&["serve", "--listen", &address, "--admin-listen", "127.0.0.1:0"]));
    refused(&finish(start), 1, &[&address]);
}
