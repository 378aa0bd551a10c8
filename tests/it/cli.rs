//! The command line: exit codes, output for machines, the data directory and its guards.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;

use crate::support::hearth::{BINARY, finish, mode};
use crate::support::{App, Hearth, clear_of_midnight};

fn bare(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(BINARY);
    command.args(arguments);
    finish(command)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn exit_codes_say_what_kind_of_failure_it_was() {
    let hearth = Hearth::prepared("");
    let broken = Hearth::prepared("[limits]\nsubscriptoins = 3\n");
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&["help", "wallet"], 0),
        (&[], 2),
        (&["sing"], 2),
        (&["serve", "--nonsense"], 2),
    ] {
        assert_eq!(bare(arguments).status.code(), Some(code), "{arguments:?}");
    }
    for arguments in [
        &["wallet", "list"][..],
        &["wallet", "connect", "x"],
        &["wallet", "show", "x"],
        &["wallet", "revoke", "x"],
        &["wallet", "accounts"],
        &["wallet", "fund", "a", "1000"],
        &["wallet", "payments"],
        &["stats"],
    ] {
        let output = hearth.run(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}", text(&output.stderr));
        let words = text(&output.stderr);
        assert!(words.contains("start one") && words.contains(" serve"), "it says how to start one: {words}");
        assert!(output.stdout.is_empty());
    }
    for arguments in [&["check"][..], &["serve"]] {
        let output = broken.run(arguments);
        assert_eq!(output.status.code(), Some(78), "{arguments:?}: {}", text(&output.stderr));
        let words = format!("{}{}", text(&output.stderr), text(&output.stdout));
        assert!(
            words.contains("subscriptoins") && words.contains("subscriptions"),
            "names the key and suggests another: {words}"
        );
    }
    for arguments in
        [&["wallet", "fund", "a", "lots"][..], &["wallet", "connect"], &["wallet", "connect", "x", "--renewal", "hourly"]]
    {
        assert_eq!(hearth.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn check_tells_all_problems_at_once() {
    let hearth = Hearth::prepared(
        "[relay]\nlisten = \"nowhere\"\nnmae = \"x\"\n[limits]\nfilters = \"many\"\n[store]\ndurability = \"maybe\"\n[colour]\nred = 1\n",
    );
    let output = hearth.run(&["check"]);
    assert_eq!(output.status.code(), Some(78));
    let words = format!("{}{}", text(&output.stdout), text(&output.stderr));
    for problem in ["listen", "nmae", "filters", "durability", "colour"] {
        assert!(words.contains(problem), "{problem} is not in:\n{words}");
    }
    let fine = Hearth::prepared("[relay]\nname = \"x\"\n");
    let output = fine.run(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn the_shipped_configuration_is_taken_as_it_is() {
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml")).unwrap();
    let hearth = Hearth::prepared(&shipped);
    let output = hearth.run(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn init_makes_private_keys_once() {
    let hearth = Hearth::prepared("");
    let output = hearth.run(&["init"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let keys = hearth.data().join("keys");
    assert_eq!(mode(&keys), 0o700);
    let mut before = Vec::new();
    for name in ["wallet-seed", "node-key", "relay-key"] {
        assert_eq!(mode(&keys.join(name)), 0o600, "{name}");
        before.push(std::fs::read(keys.join(name)).unwrap());
    }
    let again = hearth.run(&["init"]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    assert!(text(&again.stdout).contains("nothing was changed"), "{}", text(&again.stdout));
    let after: Vec<_> =
        ["wallet-seed", "node-key", "relay-key"].iter().map(|name| std::fs::read(keys.join(name)).unwrap()).collect();
    assert_eq!(before, after, "nothing was overwritten");
    for key in before {
        let hex = text(&key);
        assert!(!text(&output.stdout).contains(hex.trim()) && !text(&output.stderr).contains(hex.trim()), "a key was shown");
    }
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let hearth = Hearth::prepared("");
    assert!(hearth.run(&["init"]).status.success());
    let key = hearth.data().join("keys").join("wallet-seed");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&key, open).unwrap();
    for command in [hearth.serve_command(), hearth.command(&["check"])] {
        let output = finish(command);
        assert_eq!(output.status.code(), Some(78), "{}", text(&output.stderr));
        let words = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(words.contains("wallet-seed") && words.contains("0600"), "it names the file and the right mode: {words}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_directory_is_initialised_and_belongs_to_one_server() {
    let mut hearth = Hearth::start();
    for name in ["wallet-seed", "node-key", "relay-key"] {
        assert_eq!(mode(&hearth.data().join("keys").join(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&hearth.data().join("admin.sock")), 0o600);
    let second = finish(hearth.serve_command());
    assert!(matches!(second.status.code(), Some(1 | 78)), "{:?}", second.status);
    let words = text(&second.stderr);
    assert!(words.contains(hearth.data().to_str().unwrap()) || words.contains("data"), "it names the directory: {words}");
    assert!(second.stdout.is_empty(), "no ready line");
    hearth.client().await.settle().await;
    assert!(hearth.is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named() {
    let hearth = Hearth::start();
    let other = Hearth::prepared("");
    let output = finish(other.command(&["serve", "--listen", hearth.address(), "--admin-listen", "127.0.0.1:0"]));
    assert!(matches!(output.status.code(), Some(1 | 78)), "{:?}", output.status);
    assert!(text(&output.stderr).contains(hearth.address()), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_sees_connections_accounts_payments_and_figures() {
    clear_of_midnight().await;
    let hearth = Hearth::start();
    let options = [
        "--account",
        "savings",
        "--budget-msat",
        "50000",
        "--renewal",
        "weekly",
        "--max-payment-msat",
        "20000",
        "--expires",
        "30d",
    ];
    let app = App::connect(&hearth, "phone", &options);
    hearth.fund("savings", 70_000);
    let shop = App::connect(&hearth, "shop", &["--account", "till"]);
    let mut client = hearth.client().await;
    let invoice = shop.invoice(&mut client, 12_000).await;
    app.call(&mut client, "pay_invoice", json!({"invoice": invoice})).await;

    let shown = hearth.json(&["wallet", "show", "phone"]);
    assert_eq!(
        (&shown["name"], &shown["account"], &shown["state"]),
        (&json!("phone"), &json!("savings"), &json!("active")),
        "{shown}"
    );
    assert_eq!((&shown["budget_msat"], &shown["renewal"]), (&json!(50_000), &json!("weekly")), "{shown}");
    assert_eq!((&shown["budget_used_msat"], &shown["client_pubkey"]), (&json!(12_000), &json!(app.key.hex)), "{shown}");
    assert!(!shown.to_string().contains(&app.key.secret()));
    let listed = hearth.json(&["wallet", "list"]);
    let names: Vec<_> = rows(&listed, "connections").iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, [json!("phone"), json!("shop")]);
    let accounts = hearth.json(&["wallet", "accounts"]);
    let balance =
        |name: &str| rows(&accounts, "accounts").iter().find(|one| one["name"] == name).map(|one| one["balance_msat"].clone());
    assert_eq!((balance("savings"), balance("till")), (Some(json!(58_000)), Some(json!(12_000))), "{accounts}");
    let payments = hearth.json(&["wallet", "payments"]);
    assert!(
        rows(&payments, "payments").iter().all(|one| one["amount_msat"] == 12_000 && one["state"] == "settled"),
        "{payments}"
    );
    assert!(!rows(&payments, "payments").is_empty());
    let stats = hearth.json(&["stats"]);
    assert!(stats.is_object(), "{stats}");

    for arguments in
        [&["wallet", "list"][..], &["wallet", "show", "phone"], &["wallet", "accounts"], &["wallet", "payments"], &["stats"]]
    {
        let output = hearth.run(arguments);
        assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}: {}", text(&output.stderr));
    }
    for arguments in [&["wallet", "show", "nobody"][..], &["wallet", "connect", "phone"]] {
        let output = hearth.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stdout));
        assert!(!output.stderr.is_empty(), "it says why");
    }
}

#[test]
fn test_backend_says_what_the_embedded_wallet_means_for_apps() {
    let report = Hearth::prepared("").json(&["wallet", "test-backend"]);
    let words = |name: &str| {
        let check = rows(&report, "checks").iter().find(|check| check["name"] == name).unwrap();
        assert_eq!(check["state"], "skipped", "{report}");
        check["words"].as_str().unwrap().to_owned()
    };
    assert!(words("unknown payment").contains("apps pay each other within this hearth"), "{report}");
    assert!(words("balance").contains("hearth wallet fund"), "{report}");
}

/// The list of a command's JSON, bare or under its name.
fn rows<'a>(value: &'a serde_json::Value, name: &str) -> &'a [serde_json::Value] {
    value.as_array().or_else(|| value[name].as_array()).unwrap_or_else(|| panic!("no list of {name}: {value}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_prints_the_uri_and_a_code_for_cameras() {
    let hearth = Hearth::start();
    let output = hearth.run(&["wallet", "connect", "phone"]);
    let words = text(&output.stdout);
    assert!(output.status.success());
    assert!(words.contains("nostr+walletconnect://"), "{words}");
    assert!(
        words.lines().filter(|line| line.contains('█') || line.contains('▀') || line.contains('▄')).count() > 10,
        "no QR code: {words}"
    );
    assert!(
        words.contains("inside") || words.contains("this hearth"),
        "it says that the embedded wallet settles inside only: {words}"
    );
    let uri = App::connect(&hearth, "other", &["--relay", "wss://relay.example.com"]).uri;
    assert!(uri.contains("relay=wss%3A%2F%2Frelay.example.com"), "{uri}");
}
