//! Who has the macaroon can spend: it shows nowhere, not even in the most talkative log while it travels to LND, is refused, or
//! cannot be delivered.

use serde_json::json;

use crate::lnd::{LndServer, write_macaroon};
use crate::rig::{row, run};
use crate::support::http::http;
use crate::support::{App, Hearth, eventually};

/// The ways in which somebody might write it: the bytes of the file, and the digits that travel.
fn spellings(macaroon: &[u8]) -> Vec<String> {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let hex = const_hex::encode(macaroon);
    let inside = |list: String| list[1..list.len() - 1].to_owned();
    vec![
        // A beginning would be enough to worry.
        hex[..24].to_owned(),
        hex.to_uppercase()[..24].to_owned(),
        STANDARD_NO_PAD.encode(macaroon)[..24].to_owned(),
        URL_SAFE_NO_PAD.encode(macaroon)[..24].to_owned(),
        STANDARD_NO_PAD.encode(&hex)[..24].to_owned(),
        inside(format!("{:?}", &macaroon[..12])),
        inside(format!("{:?}", &hex.as_bytes()[..24])),
    ]
}

fn sing_in(place: &str, text: &str, macaroon: &[u8]) {
    for spelling in spellings(macaroon) {
        assert!(!text.contains(&spelling), "{place} shows the macaroon as {spelling}");
    }
}

fn output(hearth: &Hearth, arguments: &[&str]) -> String {
    let output = hearth.run(arguments);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_macaroon_in_any_spelling_is_found() {
    let macaroon: Vec<u8> = (2..50).collect();
    for spelling in spellings(&macaroon) {
        let heard = std::panic::catch_unwind(|| sing_in("here", &format!("before {spelling} after"), &macaroon));
        assert!(heard.is_err(), "{spelling} was not found");
    }
    sing_in("here", "nothing", &macaroon);
}

#[test]
fn the_macaroon_shows_nowhere() {
    run(async {
        let row = row().await;
        let server = LndServer::start(&row.nodes[0]).await;
        let macaroon = [&[2, 2, 4][..], &rand::random::<[u8; 32]>(), &rand::random::<[u8; 16]>()].concat();
        server.change_macaroon(&macaroon);
        write_macaroon(&server.config().macaroon_file, &macaroon);
        let config = format!("[rates]\nenabled = false\n[log]\nlevel = \"trace\"\n{}", server.config_text());
        let mut hearth = tokio::task::spawn_blocking(move || Hearth::with_config(&config)).await.unwrap();
        let app = App::connect(&hearth, "phone", &["--account", "main"]);
        let mut client = hearth.client().await;
        let mut n = 0;
        let mut invoice = || {
            n += 1;
            json!({"invoice": row.nodes[1].invoice(Some(7_000 + n), "canary")})
        };
        // It travels.
        app.call(&mut client, "pay_invoice", invoice()).await;
        // It is refused; then there is nobody to take it.
        server.change_macaroon(&[2, 2, 1, 9]);
        server.cut_connections();
        let mut shown = Vec::new();
        eventually("LND refuses it", async || {
            let said = app.ask(&mut client, "pay_invoice", invoice()).await.to_string();
            shown.push(said.clone());
            said.contains("refuses the macaroon")
        })
        .await;
        server.pause().await;
        for _ in 0..3 {
            shown.push(app.ask(&mut client, "pay_invoice", invoice()).await.to_string());
        }
        for path in ["/metrics", "/status", "/readyz"] {
            shown.push(http(hearth.admin().strip_prefix("http://").unwrap(), "GET", path, &[]).await.body);
        }
        for arguments in [&["wallet", "status"][..], &["stats"], &["check"], &["wallet", "test-backend"]] {
            shown.push(output(&hearth, arguments));
        }
        for file in ["environ", "cmdline"] {
            let bytes = std::fs::read(format!("/proc/{}/{file}", hearth.pid())).unwrap();
            shown.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        shown.iter().for_each(|text| sing_in("something that is shown", text, &macaroon));
        tokio::task::block_in_place(|| hearth.terminate());
        let log = hearth.log();
        assert!(log.contains("TRACE h2::"), "the log does not tell what travels");
        sing_in("the log", &log, &macaroon);
        println!("the macaroon is not in {} lines of log and {} texts", log.lines().count(), shown.len());
    });
}
