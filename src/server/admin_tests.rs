//! The owner's commands against a server on a real socket.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::cli::admin_client::CommandError;
use crate::cli::wallet::{WalletCommand, run};
use crate::wallet::tests::{App, House};

#[derive(Parser, Debug)]
struct Line {
    #[command(subcommand)]
    command: WalletCommand,
}

/// A house with an open socket.
struct Served {
    house: House,
    shutdown: Shutdown,
    server: tokio::task::JoinHandle<Result<(), AdminError>>,
}

impl Served {
    #[expect(clippy::async_yields_async, reason = "the server runs on while the test goes on")]
    fn new() -> Self {
        let (house, shutdown) = (House::new(), Shutdown::new());
        let fill: FillStats = Arc::new(|reply| reply.version = "test".to_owned());
        let service = AdminService::new(house.wallet.clone(), fill);
        let path = house.dir.path().join("admin.sock");
        let server = house.wait(async {
            let socket = AdminSocket::bind(&path).unwrap();
            tokio::spawn(socket.serve(service, shutdown.clone()))
        });
        Self { house, shutdown, server }
    }

    fn data(&self) -> &Path {
        self.house.dir.path()
    }

    fn try_run(&self, line: &[&str]) -> Result<String, CommandError> {
        let line = std::iter::once("wallet").chain(line.iter().copied());
        let command = Line::try_parse_from(line).map_err(|error| CommandError::Usage(error.to_string()))?.command;
        let mut out = Vec::new();
        self.house.wait(run(command, self.data(), &mut out))?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn run(&self, line: &[&str]) -> String {
        self.try_run(line).unwrap()
    }

    fn json(&self, line: &[&str]) -> Value {
        serde_json::from_str(&self.run(line)).unwrap()
    }

    /// What a command that must fail ends with and says.
    fn failure(&self, line: &[&str]) -> (u8, String) {
        let error = self.try_run(line).unwrap_err();
        (error.exit_code(), error.to_string())
    }
}

#[test]
fn an_owner_connects_funds_looks_and_revokes() {
    let served = Served::new();
    let made = served.json(&["connect", "phone", "--account", "me", "--budget-msat", "50000", "--renewal", "daily", "--json"]);
    let keys: Vec<_> = made.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["account", "callback", "client_pubkey", "name", "shares_account_with", "uri", "wallet_pubkey"]);
    assert!(
        made["uri"]
            .as_str()
            .unwrap()
            .starts_with(&format!("nostr+walletconnect://{}?relay=ws%3A", made["wallet_pubkey"].as_str().unwrap()))
    );
    let funded = served.json(&["fund", "me", "100000", "--json"]);
    assert_eq!(funded, json!({ "name": "me", "balance_msat": 100_000, "held_msat": 0 }));

    let app = App::of_uri(made["uri"].as_str().unwrap());
    assert_eq!(served.house.balance(&app), 100_000);
    let shown = served.json(&["show", "phone", "--json"]);
    assert_eq!(
        (shown["state"].as_str(), shown["budget_msat"].as_u64(), shown["budget_used_msat"].as_u64()),
        (Some("active"), Some(50_000), Some(0))
    );
    assert!(served.run(&["show", "phone"]).contains("budget (msat)        0 of 50,000 daily"));
    assert!(served.run(&["list"]).contains("phone  active  me       0 of 50,000 daily"));

    assert!(served.run(&["revoke", "phone"]).starts_with("revoked \"phone\""));
    assert_eq!(served.house.refusal(&app, "get_balance", json!({})).0, "UNAUTHORIZED");
    assert_eq!(served.json(&["list", "--json"]), json!({ "connections": [] }));
    assert_eq!(served.json(&["list", "--all", "--json"])["connections"][0]["state"], "revoked");
    assert!(served.run(&["accounts"]).starts_with("ACCOUNT  BALANCE MSAT  HELD MSAT\nmain"));
}

#[test]
fn the_pairing_code_is_printed_with_a_picture() {
    let served = Served::new();
    let text = served.run(&["connect", "phone", "--relay", "wss://relay.example.com"]);
    assert!(text.contains('\u{2588}') && text.contains("?relay=wss%3A%2F%2Frelay.example.com&secret="));
    assert!(text.contains("settles only inside this hearth"));
}

#[test]
fn who_names_an_account_that_is_there_is_told_with_whom_it_is_shared() {
    let served = Served::new();
    assert!(!served.run(&["connect", "phone", "--account", "shop"]).contains("shared"), "it is new");
    let text = served.run(&["connect", "till", "--account", "shop"]);
    assert!(text.contains("That account was there before: its money is shared with \"phone\"."), "{text}");
    assert!(!served.run(&["connect", "plain"]).contains("shared"), "nobody named main");
}

#[test]
fn payments_are_listed_for_the_owner() {
    let served = Served::new();
    let house = &served.house;
    let (alice, bob) = (house.funded("alice", 100_000), house.app("bob"));
    house.result(&alice, "pay_invoice", json!({ "invoice": house.invoice(&bob, 1_000) }));
    house.invoice(&bob, 2_000);
    assert_eq!(served.json(&["payments", "--json"])["total_count"], 2);
    assert_eq!(served.json(&["payments", "--all", "--json"])["total_count"], 3);
    let of_alice = served.json(&["payments", "--account", "alice", "--json"]);
    assert_eq!(of_alice["payments"][0]["type"], "outgoing");
    assert_eq!(of_alice["payments"][0]["connection"], "alice");
    assert!(of_alice["payments"][0].get("preimage").is_none());
    assert!(served.run(&["payments"]).contains("2 of 2"));
    assert_eq!(served.failure(&["payments", "--offset", "190", "--limit", "20"]).0, 1);
}

#[test]
fn what_cannot_be_is_said_with_its_exit_code() {
    let served = Served::new();
    served.run(&["connect", "phone"]);
    let taken = "there is a connection named \"phone\" already; revoke it or choose another name";
    assert_eq!(served.failure(&["connect", "phone"]), (1, taken.to_owned()));
    assert_eq!(served.failure(&["show", "pad"]), (1, "there is no connection named \"pad\"".to_owned()));
    let (code, words) = served.failure(&["fund", "nobody", "1"]);
    assert!(code == 1 && words.contains("no account named \"nobody\"") && words.contains("hearth wallet accounts"), "{words}");
    for usage in [
        &["connect"][..],
        &["connect", "a", "--budget-msat", "1k"],
        &["connect", "a", "--renewal", "daily"],
        &["connect", "a", "--budget-msat", "1", "--renewal", "hourly"],
        &["connect", "a", "--expires", "1y"],
        &["fund", "main", "0"],
        &["fund", "main", "-5"],
    ] {
        assert_eq!(served.failure(usage).0, 2, "{usage:?}");
    }
    for refused in [
        &["connect", ""][..],
        &["connect", "a", "--methods", "fly"],
        &["connect", "a", "--relay", "relay.example.com"],
        &["connect", "a", "--budget-msat", "1", "--time-zone", "Mars/Olympus"],
    ] {
        assert_eq!(served.failure(refused).0, 1, "{refused:?}");
    }
    assert_eq!(served.json(&["list", "--json"])["connections"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_socket_is_the_owners_alone_and_goes_with_the_server() {
    let served = Served::new();
    let path = served.data().join("admin.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    served.shutdown.stop();
    served.house.wait(served.server).unwrap().unwrap();
    assert!(!path.exists());
    let leftovers: Vec<_> = std::fs::read_dir(served.house.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(leftovers.iter().all(|name| !name.to_string_lossy().starts_with(".admin")), "{leftovers:?}");
}

#[test]
fn a_socket_of_a_dead_server_is_replaced() {
    let served = Served::new();
    let path = served.data().join("other.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    served.house.wait(async { AdminSocket::bind(&path).map(drop) }).unwrap();
    let long = served.data().join("x".repeat(120));
    assert!(served.house.wait(async { AdminSocket::bind(&long.join("s")).map(drop) }).is_err());
}

#[test]
fn stats_are_filled_from_both_sides() {
    let served = Served::new();
    let app = served.house.app("phone");
    served.house.balance(&app);
    let reply = served.house.wait(async {
        let mut client = crate::cli::admin_client::connect(served.data()).await.unwrap();
        client.stats(StatsRequest {}).await.unwrap().into_inner()
    });
    let wallet = reply.wallet.unwrap();
    assert_eq!((reply.version.as_str(), wallet.connections_active, wallet.accounts), ("test", 1, 2));
    assert_eq!((wallet.requests[0].method.as_str(), wallet.requests[0].count, wallet.answers_kept), ("get_balance", 1, 1));
    assert_eq!((wallet.safe_mode.as_str(), wallet.alarms), ("", 0));
}

#[tokio::test]
async fn a_socket_is_opened_beside_what_a_crash_has_left_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join(format!("{NURSERY}{}", std::process::id()));
    let (of_another, no_socket) = (dir.path().join(format!("{NURSERY}1")), dir.path().join(format!("{NURSERY}2")));
    for (nursery, file) in [(&left, NEWBORN), (&of_another, NEWBORN), (&no_socket, "notes")] {
        std::fs::create_dir(nursery).unwrap();
        std::fs::write(nursery.join(file), "").unwrap();
    }
    let path = dir.path().join("admin.sock");
    AdminSocket::bind(&path).unwrap();
    assert!(path.exists() && !left.exists() && !of_another.exists());
    assert!(no_socket.join("notes").exists(), "what is not ours stays");
}
