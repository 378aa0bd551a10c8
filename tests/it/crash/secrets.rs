//! No secret shows anywhere: known ones are looked for, in every spelling, in everything that hearth writes, serves or leaves behind.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nostr::nips::nip19::ToBech32;
use serde_json::{Value, json};

use crate::support::client::Heard;
use crate::support::hearth::{finish, mode};
use crate::support::http::http;
use crate::support::{App, Event, Hearth, Scheme};

/// Every spelling of 32 bytes that somebody might log.
fn spellings(secret: &[u8; 32]) -> Vec<String> {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let hex = const_hex::encode(secret);
    let mut reversed = *secret;
    reversed.reverse();
    let list = format!("{secret:?}");
    vec![
        hex.to_uppercase(),
        const_hex::encode(reversed),
        // A beginning would be enough to worry.
        hex[..24].to_owned(),
        STANDARD_NO_PAD.encode(secret)[..40].to_owned(),
        URL_SAFE_NO_PAD.encode(secret)[..40].to_owned(),
        nostr::key::SecretKey::from_slice(secret).map_or_else(|_| hex.clone(), |key| key.to_bech32().unwrap()),
        list[1..list.len() - 1].to_owned(),
        hex,
    ]
}

struct Canaries(Vec<(String, Vec<String>)>);

impl Canaries {
    fn add(&mut self, name: &str, hex: &str) {
        let secret: [u8; 32] = const_hex::decode(hex.trim()).unwrap().try_into().unwrap();
        self.0.push((name.to_owned(), spellings(&secret)));
    }

    /// Looks through what was found in a place.
    fn sing_in(&self, place: &str, text: &str) {
        for (name, spellings) in &self.0 {
            for spelling in spellings {
                assert!(!text.contains(spelling), "{place} shows the {name} as {spelling}");
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn work(hearth: &Hearth, canaries: &mut Canaries) -> (App, Vec<String>) {
    let payer = App::connect(hearth, "payer", &["--account", "payer", "--budget-msat", "50000"]);
    hearth.fund("payer", 1_000_000);
    let payee = App::connect(hearth, "payee", &["--account", "payee"]);
    canaries.add("connection secret", &payer.key.secret());
    canaries.add("other connection secret", &payee.key.secret());
    let mut client = hearth.client().await;
    let mut frames = Vec::new();
    for amount_msat in [1_000, 2_000, 60_000] {
        let invoice = payee.invoice(&mut client, amount_msat).await;
        for scheme in [Scheme::Nip44, Scheme::Nip04] {
            let request = payer.request_in(scheme, "pay_invoice", &json!({"invoice": invoice}));
            let (verdict, answer, value) = payer.exchange(&mut client, &request).await;
            frames.extend([verdict.text, answer.json()]);
            if let Some(preimage) = value["result"]["preimage"].as_str() {
                canaries.add("preimage", preimage);
            }
        }
    }
    for (method, params) in [
        ("get_info", json!({})),
        ("get_budget", json!({})),
        ("list_transactions", json!({})),
        ("lookup_invoice", json!({"payment_hash": "00".repeat(32)})),
        ("pay_invoice", json!({"invoice": payer.uri})),
        ("no_such_method", json!({"secret": payer.key.secret()})),
    ] {
        let request = payer.request(method, &params);
        let (verdict, answer, value) = payer.exchange(&mut client, &request).await;
        frames.extend([verdict.text, answer.json()]);
        if !value["error"].is_null() {
            frames.push(value["error"].to_string());
        }
    }
    // What is refused in the clear.
    let broken: [Event; 2] = [payer.envelope(&payer.key.secret(), &[]), payer.envelope("?iv=", &[])];
    for event in &broken {
        client.send_event(event).await;
    }
    client.send(format!("[\"EVENT\",{}]", json!({"content": "x"}))).await;
    for heard in client.drain().await {
        match heard {
            Heard::Notice(words) | Heard::Closed(_, words) => frames.push(words),
            Heard::Ok(_, verdict) => frames.push(verdict.text),
            _ => {}
        }
    }
    (payer, frames)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_shows_in_logs_metrics_pages_errors_or_the_process() {
    let mut hearth = Hearth::prepared("[rates]\nenabled = false\n[log]\nlevel = \"trace\"\n");
    assert!(hearth.run(&["init"]).status.success());
    let mut canaries = Canaries(Vec::new());
    for name in ["wallet-seed", "node-key", "relay-key"] {
        canaries.add(name, &std::fs::read_to_string(hearth.data().join("keys").join(name)).unwrap());
    }
    hearth.launch();
    let (payer, frames) = work(&hearth, &mut canaries).await;
    assert!(canaries.0.iter().any(|(name, _)| name == "preimage"), "nothing was paid");
    frames.iter().for_each(|frame| canaries.sing_in("a message to a client", frame));
    let admin = hearth.admin().strip_prefix("http://").unwrap();
    for path in ["/metrics", "/livez", "/readyz", "/status"] {
        canaries.sing_in(path, &http(admin, "GET", path, &[]).await.body);
    }
    for accept in ["application/nostr+json", "text/html"] {
        canaries.sing_in(accept, &http(hearth.address(), "GET", "/", &[("Accept", accept)]).await.body);
    }
    for arguments in [&["wallet", "show", "payer"][..], &["wallet", "list"], &["wallet", "accounts"], &["stats"], &["check"]] {
        let output = hearth.run(arguments);
        canaries.sing_in(&format!("{arguments:?}"), &format!("{}{}", text(&output.stdout), text(&output.stderr)));
    }
    // A command that fails does not repeat what it was given.
    let output = hearth.run(&["wallet", "show", &payer.uri]);
    let wire: Value = json!({"stderr": text(&output.stderr)});
    assert!(!output.status.success(), "{wire}");
    for file in ["environ", "cmdline", "status", "limits", "maps"] {
        let path = format!("/proc/{}/{file}", hearth.pid());
        canaries.sing_in(&path, &text(&std::fs::read(&path).unwrap()));
    }
    // Half of it once more after a restart, when the journal is read.
    hearth.kill();
    hearth.launch();
    hearth.client().await.settle().await;
    assert_eq!(hearth.terminate().code(), Some(0));
    let log = hearth.log();
    assert!(log.contains("TRACE"), "the log is not at its most talkative");
    canaries.sing_in("the log", &log);
    let lines = log.lines().count();
    println!(
        "{} secrets in {} spellings: not in {lines} lines of log, {} messages",
        canaries.0.len(),
        canaries.0[0].1.len(),
        frames.len()
    );
}

/// A canary that sings is heard.
#[test]
fn every_spelling_is_found() {
    let mut canaries = Canaries(Vec::new());
    canaries.add("seed", &"0f".repeat(32));
    for spelling in spellings(&[0x0f; 32]) {
        let text = format!("before {spelling} after");
        let heard = std::panic::catch_unwind(|| canaries.sing_in("here", &text));
        assert!(heard.is_err(), "{spelling} was not found");
    }
    canaries.sing_in("here", "nothing");
}

fn widen(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_can_reach_is_refused_by_name() {
    let mut hearth = Hearth::start();
    assert_eq!(mode(&hearth.data().join("admin.sock")), 0o600);
    hearth.terminate();
    let data = hearth.data();
    for (part, private, wide) in [
        ("keys/wallet-seed", 0o600, 0o640),
        ("keys/node-key", 0o600, 0o604),
        ("keys/relay-key", 0o600, 0o660),
        ("keys", 0o700, 0o750),
        ("wallet", 0o700, 0o755),
        ("", 0o700, 0o711),
    ] {
        let path = data.join(part);
        assert_eq!(mode(&path), private, "{part}");
        widen(&path, wide);
        let output = finish(hearth.serve_command());
        assert_eq!(output.status.code(), Some(78), "{part} at {wide:o}: {}", text(&output.stderr));
        let words = text(&output.stderr);
        let place = path.to_string_lossy();
        assert!(words.contains(place.trim_end_matches('/')) && words.contains("chmod"), "{part}: {words}");
        widen(&path, private);
    }
    hearth.launch();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_leaves_no_picture_of_the_memory() {
    let mut hearth = Hearth::start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", hearth.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    hearth.signal(libc::SIGABRT);
    hearth.wait();
    let left: Vec<_> = std::fs::read_dir(hearth.dir()).unwrap().flatten().map(|file| file.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("core")), "{left:?}");
}
