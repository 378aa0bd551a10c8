//! The real program with the example in Rust as its wallet: paid, paying, and the wallet killed in the middle.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::process::{Rust, Wallet};
use crate::suite::PATIENCE;
use crate::support::{App, Client, Hearth, eventually, hearth};

fn config(wallet: &Wallet) -> String {
    format!("[rates]\nenabled = false\n[wallet]\nbackend = \"grpc\"\n[wallet.grpc]\n{}", wallet.settings())
}

/// A hearth whose account `main` has money, and an app that spends it.
async fn started(wallet: &Wallet) -> (Hearth, App, Client) {
    let hearth = Hearth::with_config(&config(wallet));
    // The account `main` is the wallet's own money where hearth counts it so; else it is put in by hand.
    drop(hearth.run(&["wallet", "fund", "main", "50000000"]));
    let app = App::connect(&hearth, "app", &["--account", "main"]);
    let client = hearth.client().await;
    (hearth, app, client)
}

async fn state_of(app: &App, client: &mut Client, hash: &str) -> String {
    let found = app.call(client, "lookup_invoice", json!({"payment_hash": hash})).await;
    found["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_pays_and_is_paid_through_the_wallet() {
    drop(pays_and_is_paid(&Wallet::start::<Rust>()).await);
}

/// Pays, is refused, and is paid by the wallet's stream of events; what hearth says of the wallet meanwhile.
async fn pays_and_is_paid(wallet: &Wallet) -> (Hearth, App, Client) {
    let (hearth, app, mut client) = started(wallet).await;
    eventually("hearth has met its wallet", async || hearth.json(&["wallet", "status"])["backend"]["unreachable"] == "").await;
    assert_eq!(hearth.json(&["stats"])["wallet"]["backend"], "grpc", "the owner is told what pays");
    let (invoice, hash) = wallet.invoice(Some(123_000), "settle");
    let paid = app.call(&mut client, "pay_invoice", json!({"invoice": invoice})).await;
    let preimage = const_hex::decode(paid["preimage"].as_str().unwrap()).unwrap();
    assert_eq!(const_hex::encode(<sha2::Sha256 as sha2::Digest>::digest(preimage)), hash);
    assert_eq!(paid["fees_paid"], 100);
    let (refused, _) = wallet.invoice(Some(1_000), "refuse");
    assert_eq!(app.refusal(&mut client, "pay_invoice", json!({"invoice": refused})).await, "PAYMENT_FAILED");
    let log = hearth.json(&["wallet", "log", "app"]);
    assert_eq!((&log["entries"][0]["result"], &log["entries"][0]["amount_msat"]), (&json!("PAYMENT_FAILED"), &json!(1_000)));

    let made = app.call(&mut client, "make_invoice", json!({"amount": 77_000})).await;
    let (invoice, hash) = (made["invoice"].as_str().unwrap(), made["payment_hash"].as_str().unwrap().to_owned());
    assert_eq!(state_of(&app, &mut client, &hash).await, "pending");
    wallet.ask(&json!({"do": "pay", "invoice": invoice})).unwrap();
    eventually("the invoice is settled", async || state_of(&app, &mut client, &hash).await == "settled").await;
    let info = app.call(&mut client, "get_info", json!({})).await;
    assert_eq!((info["alias"].as_str(), info["network"].as_str()), (Some("example ledger"), Some("regtest")));
    (hearth, app, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_pays_and_is_paid_through_a_port_with_a_token() {
    let mut wallet = Wallet::start_on_a_port::<Rust>();
    let (hearth, app, mut client) = pays_and_is_paid(&wallet).await;

    // The wallet comes back at the same port, and with it the events.
    let made = app.call(&mut client, "make_invoice", json!({"amount": 5_000})).await;
    wallet.kill();
    let words = refused_while_away(&hearth, &app).await;
    assert!(words.contains(&wallet.address()), "{words}");
    // A call may meet the closed port before the link that is watched has ended.
    let told = || hearth.json(&["wallet", "status"])["backend"]["unreachable"].as_str().unwrap().to_owned();
    eventually("the owner is told that it is away", async || told().contains(&wallet.address())).await;
    wallet.launch();
    wallet.ask(&json!({"do": "pay", "invoice": made["invoice"]})).unwrap();
    let hash = made["payment_hash"].as_str().unwrap();
    eventually("it is settled", async || state_of(&app, &mut hearth.client().await, hash).await == "settled").await;
    eventually("the owner is told that it is back", async || told().is_empty()).await;

    // Whoever has another token is turned away, in words that do not show it.
    std::fs::write(wallet.token_file(), "ffffffffffffffffffffffffffffffff\n").unwrap();
    let stranger = Hearth::prepared(&config(&wallet));
    let output = stranger.run(&["wallet", "test-backend"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("token") && !text.contains("fffffffff"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wallet_is_killed_in_the_middle_and_everything_goes_on() {
    let mut wallet = Wallet::start::<Rust>();
    let (mut hearth, app, mut client) = started(&wallet).await;
    let made = app.call(&mut client, "make_invoice", json!({"amount": 66_000})).await;
    let (mine, mine_hash) = (made["invoice"].as_str().unwrap(), made["payment_hash"].as_str().unwrap());

    // A payment that the payee holds.
    let (invoice, hash) = wallet.invoice(Some(55_000), "wait");
    let request = app.request("pay_invoice", &json!({"invoice": invoice}));
    client.subscribe("answer", &[app.answers_to(&request)]).await;
    client.until_eose("answer").await;
    assert!(client.publish(&request).await.accepted);
    eventually("the wallet has the order", async || {
        wallet.ask(&json!({"do": "received", "hash": hash})).is_err_and(|error| error == "nothing was received")
            && state_of(&app, &mut hearth.client().await, &hash).await == "pending"
    })
    .await;

    wallet.kill();
    // New payments are refused at once while it is away, in plain words; what needs no wallet still works.
    let words = refused_while_away(&hearth, &app).await;
    assert!(words.contains(&wallet.address()), "{words}");
    assert!(app.call(&mut hearth.client().await, "get_info", json!({})).await["methods"].is_array());

    // Hearth itself may die in the meantime, too.
    hearth.kill();
    hearth.launch();
    wallet.launch();
    let mut client = hearth.client().await;
    client.subscribe("answer", &[app.answers_to(&request)]).await;
    client.until_eose("answer").await;
    eventually("the ledger knows the order", async || wallet.ask(&json!({"do": "take", "hash": hash})).is_ok()).await;
    let (_, value) = app.open(&request, &client.live("answer").await);
    assert!(value["error"].is_null(), "{value}");
    let preimage = const_hex::decode(value["result"]["preimage"].as_str().unwrap()).unwrap();
    assert_eq!(const_hex::encode(<sha2::Sha256 as sha2::Digest>::digest(preimage)), hash);

    wallet.ask(&json!({"do": "pay", "invoice": mine})).unwrap();
    let mut client = hearth.client().await;
    eventually("what was made before is paid now", async || state_of(&app, &mut client, mine_hash).await == "settled").await;
    let (next, _) = wallet.invoice(Some(4_000), "settle");
    let paid = app.call(&mut client, "pay_invoice", json!({"invoice": next})).await;
    assert_eq!(paid["preimage"].as_str().map(str::len), Some(64));
}

/// The words of INTERNAL, as soon as hearth has noticed that the wallet is gone.
async fn refused_while_away(hearth: &Hearth, app: &App) -> String {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = app.ask(&mut hearth.client().await, "make_invoice", json!({"amount": 1_000})).await;
        if answer["error"]["code"] == "INTERNAL" {
            return answer["error"]["message"].as_str().unwrap().to_owned();
        }
        assert!(tokio::time::Instant::now() < deadline, "nobody noticed that the wallet is gone: {answer}");
    }
}

#[test]
fn the_owner_checks_a_wallet_by_one_command() {
    let mut wallet = Wallet::start::<Rust>();
    let mut hearth = Hearth::prepared(&config(&wallet));
    let report = hearth.json(&["wallet", "test-backend"]);
    let checks = report["checks"].as_array().unwrap();
    let state = |name: &str| checks.iter().find(|check| check["name"] == name).map(|check| check["state"].clone());
    for name in ["identity", "invoice", "invoice without amount", "hold invoice", "unknown payment", "sign message", "balance"] {
        assert_eq!(state(name), Some(Value::from("ok")), "{name}: {report}");
    }
    assert_eq!((state("payment"), &report["ok"]), (Some(Value::from("skipped")), &Value::from(true)));

    let (invoice, _) = wallet.invoice(None, "settle");
    let report = hearth.json(&["wallet", "test-backend", "--spend-msat", "2000", "--invoice", &invoice]);
    assert!(
        report["checks"].as_array().unwrap().iter().any(|check| check["name"] == "payment" && check["state"] == "ok"),
        "{report}"
    );
    let dear = wallet.invoice(Some(3_000), "settle").0;
    let output = hearth.run(&["wallet", "test-backend", "--spend-msat", "2000", "--invoice", &dear]);
    assert_eq!(output.status.code(), Some(2));

    // With hearth beside it, as operators will run it.
    hearth.launch();
    assert!(hearth.run(&["wallet", "test-backend"]).status.success());
    assert!(hearth.terminate().success());
    wallet.kill();
    let output = hearth.run(&["wallet", "test-backend"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&wallet.address()) && text.contains("start"), "{text}");
}

#[test]
fn a_port_is_opened_by_a_token_and_its_file_must_be_private() {
    let hearth = Hearth::prepared("");
    let token = hearth.data().with_file_name("token");
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let settings =
        format!("[wallet]\nbackend = \"grpc\"\n[wallet.grpc]\naddress = \"127.0.0.1:1\"\ntoken_file = \"{}\"\n", token.display());
    std::fs::write(hearth.data().with_file_name("config.toml"), settings).unwrap();
    let output = hearth::finish(hearth.serve_command());
    assert_eq!(output.status.code(), Some(78));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("chmod 600") && !words.contains("0123456789abcdef"), "{words}");
}
