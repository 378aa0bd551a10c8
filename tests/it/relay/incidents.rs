//! What went wrong in other relays and clients, each by the name of its incident, as it would look here.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::bad_input::{frame, raw_close_code};
use crate::support::client::Heard;
use crate::support::http::http;
use crate::support::{Hearth, Key, PATIENCE};

/// RUSTSEC PR 3101, a pool of relays: challenges without a bound, and events that nobody had verified were handed on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g14_rustsec_3101_logins_are_bounded_and_nothing_unverified_is_handed_on() {
    let mut hearth = Hearth::start();
    let (mut client, mut listener) = (hearth.client().await, hearth.client().await);
    assert!(listener.stored_json("all", &[json!({})]).await.is_empty());
    let key = Key::random();
    let good = client.auth_event(&key).await;
    let challenge = client.challenge.clone();
    let mut refusals = Vec::new();
    for _ in 0..200 {
        client.say(&json!(["AUTH", good])).await;
        let verdict = client.verdict(&good.id).await;
        if !verdict.accepted {
            refusals.push(verdict.text);
        }
    }
    assert!(refusals.len() > 100 && refusals.iter().all(|text| text.starts_with("rate-limited: ")), "{refusals:?}");
    assert_eq!(client.challenge, challenge, "one challenge a connection, however often somebody logs in");
    // A signature of something else: refused, seen by nobody, stored nowhere, and no key for protected events.
    let mut forged = key.note("forged");
    forged.sig = key.note("something else").sig;
    assert!(client.publish(&forged).await.text.starts_with("invalid: "));
    let real = key.note("real");
    listener.accept(&real).await;
    assert_eq!(listener.live("all").await.id, real.id, "the first thing that a listener hears");
    assert!(hearth.is_running());
}

/// bandit CVE-2026-39804 and `ws`: a small compressed frame that unfolds to gigabytes, and fragments that cost more than they carry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g15_bandit_nothing_is_decompressed_and_tiny_fragments_end_the_connection() {
    let mut hearth = Hearth::start();
    let mut stream = TcpStream::connect(hearth.address()).await.unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        hearth.address()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(timeout(PATIENCE, stream.read_u8()).await.expect("an answer in time").unwrap());
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    assert!(answer.starts_with("http/1.1 101") && !answer.contains("sec-websocket-extensions"), "{answer}");
    // The bit that says "compressed", without an agreement.
    assert!([1_002, 1_006].contains(&raw_close_code(hearth.address(), &frame(0xc1, &[0; 6])).await));
    let fragments = [frame(0x01, b"["), frame(0x00, b" ").repeat(5_000)].concat();
    assert!([1_008, 1_009].contains(&raw_close_code(hearth.address(), &fragments).await));
    hearth.client().await.settle().await;
    assert!(hearth.is_running());
}

/// Amethyst PR 3480 and 3747: a vague refusal of negentropy made clients split their windows without an end. Here it is not announced,
/// the refusal is
/// addressed (NEG-ERR), says what to do, comes once for each message, and the same connection goes on with REQ.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g16_amethyst_negentropy_is_not_announced_and_refused_to_the_session() {
    let hearth = Hearth::start();
    let info = http(hearth.address(), "GET", "/", &[("Accept", "application/nostr+json")]).await;
    let info: serde_json::Value = serde_json::from_str(&info.body).unwrap();
    let nips = info["supported_nips"].as_array().unwrap();
    assert!(nips.contains(&json!(1)) && !nips.contains(&json!(77)), "{nips:?}");
    let mut client = hearth.client().await;
    let note = Key::random().note("here");
    client.accept(&note).await;
    let words = "blocked: negentropy (NIP-77) is not served by this relay; ask by REQ";
    let refusal = Heard::NegErr("s".to_owned(), words.to_owned());
    for verb in ["NEG-OPEN", "NEG-MSG"] {
        client.say(&json!([verb, "s", {"kinds": [1]}, "6100000200"])).await;
        assert_eq!(client.next().await, refusal);
        client.is_quiet().await;
    }
    assert_eq!(client.stored(&[json!({"kinds": [1]})]).await, [note.id]);
}
