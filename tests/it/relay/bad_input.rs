//! Bad input: each malformed message with its exact refusal, each malformed frame with its close code; and life goes on.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::Heard;
use crate::support::http::{exchange, http};
use crate::support::{Client, Event, Hearth, Key, PATIENCE, now_s};

/// A message and what must come back: `NOTICE text`, `CLOSED id text`, `OK false text`.
type Case = (String, String);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_malformed_message_gets_its_exact_refusal_and_the_connection_lives_on() {
    let mut hearth = Hearth::start();
    let mut client = hearth.client().await;
    let key = Key::seeded(7);
    let cases: Vec<Case> = [messages(), queries(), events(&key), tags_and_limits(&key)].concat();
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for (message, expected) in &cases {
        client.send(message.clone()).await;
        let answer = show(&client.next().await);
        if answer != *expected {
            wrong.push(format!("{}\n  expected {expected}\n  heard    {answer}", shorten(message)));
        }
        // Still alive, and nothing else was said.
        client.is_quiet().await;
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(hearth.is_running());
    assert_eq!(client.stored(&[json!({})]).await, Vec::<String>::new(), "nothing of it was stored");
    assert!(!hearth.log().contains("panicked"), "{}", hearth.log());
}

fn show(heard: &Heard) -> String {
    match heard {
        Heard::Notice(text) => format!("NOTICE {text}"),
        Heard::Closed(subscription, text) => format!("CLOSED {subscription} {text}"),
        Heard::NegErr(session, text) => format!("NEG-ERR {session} {text}"),
        Heard::Ok(_, verdict) => format!("OK {} {}", verdict.accepted, verdict.text),
        other => format!("{other:?}"),
    }
}

fn shorten(message: &str) -> String {
    message.chars().take(160).collect()
}

fn table(cases: &[(&str, &str)]) -> Vec<Case> {
    cases.iter().map(|(message, expected)| ((*message).to_owned(), (*expected).to_owned())).collect()
}

/// What is no message at all.
fn messages() -> Vec<Case> {
    const A_LIST: &str = "expected a message: a list that starts with EVENT, REQ, COUNT, CLOSE or AUTH";
    let mut cases = table(&[
        ("", "NOTICE invalid: EOF while parsing a value"),
        (" ", "NOTICE invalid: EOF while parsing a value"),
        ("hello", "NOTICE invalid: expected value"),
        ("\u{feff}[\"CLOSE\",\"s\"]", "NOTICE invalid: expected value"),
        ("[", "NOTICE invalid: EOF while parsing a list"),
        ("[]", "NOTICE invalid: a message must not be empty"),
        ("[null]", "NOTICE invalid: invalid type: null, expected a string"),
        ("[1,2]", "NOTICE invalid: invalid type: integer `1`, expected a string"),
        ("[[\"CLOSE\",\"s\"]]", "NOTICE invalid: invalid type: sequence, expected a string"),
        ("[\"\"]", "NOTICE invalid: unknown message \"\""),
        ("[\"close\",\"s\"]", "NOTICE invalid: unknown message \"close\""),
        ("[\"OK\",\"x\",true,\"\"]", "NOTICE invalid: unknown message \"OK\""),
        ("[\"NEG-OPEN\",\"s\",{},\"61\"]", "NEG-ERR s blocked: negentropy (NIP-77) is not served by this relay; ask by REQ"),
        ("[\"NEG-OPEN\",\"s\"]", "NEG-ERR s blocked: negentropy (NIP-77) is not served by this relay; ask by REQ"),
        ("[\"NEG-MSG\",\"s\",\"61\"]", "NEG-ERR s blocked: negentropy (NIP-77) is not served by this relay; ask by REQ"),
        ("[\"NEG-OPEN\",{},\"61\"]", "NOTICE invalid: unknown message \"NEG-OPEN\""),
        ("[\"CLOSE\"]", "NOTICE invalid: CLOSE needs a subscription id"),
        ("[\"CLOSE\",1]", "NOTICE invalid: invalid type: integer `1`, expected a string"),
        ("[\"CLOSE\",\"s\",\"t\"]", "CLOSED s invalid: CLOSE has too many elements"),
        ("[\"CLOSE\",\"s\"] x", "NOTICE invalid: trailing characters"),
        ("[\"CLOSE\",\"s\",]", "NOTICE invalid: trailing comma"),
        ("[\"CLOSE\",\"a\nb\"]", "NOTICE invalid: control character (\\u0000-\\u001F) found while parsing a string"),
        ("[\"CLOSE\",\"\\ud800\"]", "NOTICE invalid: unexpected end of hex escape"),
        ("[\"CLOSE\",\"\\x\"]", "NOTICE invalid: invalid escape"),
    ]);
    for (message, kind) in
        [("{}", "map"), ("null", "null"), ("\"EVENT\"", "string \"EVENT\""), ("42", "integer `42`"), ("true", "boolean `true`")]
    {
        cases.push((message.to_owned(), format!("NOTICE invalid: invalid type: {kind}, {A_LIST}")));
    }
    cases.push(("[".repeat(100_000), "NOTICE invalid: invalid type: sequence, expected a string".to_owned()));
    cases.push((
        format!("[\"REQ\",\"s\",{}", "[".repeat(100_000)),
        "NOTICE invalid: invalid type: sequence, expected a filter object".to_owned(),
    ));
    cases.push((format!("[\"EVENT\",{{\"x\":{}", "[".repeat(100_000)), "NOTICE invalid: EOF while parsing a list".to_owned()));
    cases.push((format!("[\"{}\"]", "x".repeat(10_000)), format!("NOTICE invalid: unknown message \"{}\"", "x".repeat(32))));
    cases
}

/// REQ and COUNT that cannot be answered.
fn queries() -> Vec<Case> {
    let mut cases = table(&[
        ("[\"REQ\"]", "NOTICE invalid: REQ needs a subscription id"),
        ("[\"REQ\",\"s\"]", "CLOSED s invalid: REQ needs at least one filter"),
        ("[\"COUNT\",\"s\"]", "CLOSED s invalid: COUNT needs at least one filter"),
        ("[\"REQ\",null,{}]", "NOTICE invalid: invalid type: null, expected a string"),
        ("[\"REQ\",7,{}]", "NOTICE invalid: invalid type: integer `7`, expected a string"),
        ("[\"REQ\",\"\",{}]", "CLOSED  invalid: the subscription id is empty"),
        ("[\"COUNT\",\"\",{}]", "CLOSED  invalid: the subscription id is empty"),
        ("[\"REQ\",\"s\",null]", "CLOSED s invalid: invalid type: null, expected a filter object"),
        ("[\"REQ\",\"s\",[]]", "CLOSED s invalid: invalid type: sequence, expected a filter object"),
        ("[\"REQ\",\"s\",{},\"x\"]", "CLOSED s invalid: invalid type: string \"x\", expected a filter object"),
        ("[\"REQ\",\"s\",{\"ids\":\"x\"}]", "CLOSED s invalid: \"ids\" must be a list of 64 lower-case hex digits each"),
        ("[\"REQ\",\"s\",{\"ids\":[\"ab\"]}]", "CLOSED s invalid: \"ids\" must be a list of 64 lower-case hex digits each"),
        ("[\"REQ\",\"s\",{\"ids\":[null]}]", "CLOSED s invalid: \"ids\" must be a list of 64 lower-case hex digits each"),
        ("[\"REQ\",\"s\",{\"authors\":[1]}]", "CLOSED s invalid: \"authors\" must be a list of 64 lower-case hex digits each"),
        ("[\"REQ\",\"s\",{\"#e\":[\"\"]}]", "CLOSED s invalid: \"#e\" must be a list of 64 lower-case hex digits each"),
        ("[\"REQ\",\"s\",{\"#p\":[\"npub1\"]}]", "CLOSED s invalid: \"#p\" must be a list of 64 lower-case hex digits each"),
        ("[\"REQ\",\"s\",{\"#t\":\"x\"}]", "CLOSED s invalid: \"#t\" must be a list of texts"),
        ("[\"REQ\",\"s\",{\"#t\":[1]}]", "CLOSED s invalid: \"#t\" must be a list of texts"),
        ("[\"REQ\",\"s\",{\"#tt\":[\"x\"]}]", "CLOSED s invalid: unknown filter key \"#tt\""),
        ("[\"REQ\",\"s\",{\"#1\":[\"x\"]}]", "CLOSED s invalid: unknown filter key \"#1\""),
        ("[\"REQ\",\"s\",{\"#\":[\"x\"]}]", "CLOSED s invalid: unknown filter key \"#\""),
        ("[\"REQ\",\"s\",{\"kind\":[1]}]", "CLOSED s invalid: unknown filter key \"kind\""),
        ("[\"REQ\",\"s\",{\"kinds\":1}]", "CLOSED s invalid: \"kinds\" must be a list of whole numbers"),
        ("[\"REQ\",\"s\",{\"kinds\":[\"1\"]}]", "CLOSED s invalid: \"kinds\" must be a list of whole numbers"),
        ("[\"REQ\",\"s\",{\"kinds\":[-1]}]", "CLOSED s invalid: \"kinds\" must be a list of whole numbers"),
        ("[\"REQ\",\"s\",{\"kinds\":[1.0]}]", "CLOSED s invalid: \"kinds\" must be a list of whole numbers"),
        ("[\"REQ\",\"s\",{\"kinds\":[1],\"kinds\":[2]}]", "CLOSED s invalid: duplicate filter key \"kinds\""),
        ("[\"REQ\",\"s\",{\"#t\":[\"a\"],\"#t\":[\"b\"]}]", "CLOSED s invalid: duplicate filter key \"#t\""),
        ("[\"REQ\",\"s\",{\"since\":-1}]", "CLOSED s invalid: \"since\" must be a whole number, 0 or more"),
        ("[\"REQ\",\"s\",{\"since\":1.5}]", "CLOSED s invalid: \"since\" must be a whole number, 0 or more"),
        ("[\"REQ\",\"s\",{\"until\":\"now\"}]", "CLOSED s invalid: \"until\" must be a whole number, 0 or more"),
        ("[\"REQ\",\"s\",{\"until\":18446744073709551616}]", "CLOSED s invalid: \"until\" must be a whole number, 0 or more"),
        ("[\"REQ\",\"s\",{\"limit\":-1}]", "CLOSED s invalid: \"limit\" must be a whole number, 0 or more"),
        ("[\"REQ\",\"s\",{\"limit\":1e3}]", "CLOSED s invalid: \"limit\" must be a whole number, 0 or more"),
        ("[\"REQ\",\"s\",{\"limit\":null}]", "CLOSED s invalid: \"limit\" must be a whole number, 0 or more"),
        ("[\"COUNT\",\"s\",{\"limit\":[]}]", "CLOSED s invalid: \"limit\" must be a whole number, 0 or more"),
    ]);
    for bad in ["ab".repeat(32).to_uppercase(), "a".repeat(63), "a".repeat(65), "g".repeat(64), format!(" {}", "a".repeat(63))] {
        for key in ["ids", "authors", "#e", "#p"] {
            let message = json!(["REQ", "s", {key: [bad]}]).to_string();
            cases.push((message, format!("CLOSED s invalid: \"{key}\" must be a list of 64 lower-case hex digits each")));
        }
    }
    let long = "s".repeat(65);
    cases.push((
        json!(["REQ", long, {}]).to_string(),
        format!("CLOSED {long} invalid: the subscription id has more than 64 characters"),
    ));
    let many: Vec<Value> = ["REQ", "s"].into_iter().map(Value::from).chain(std::iter::repeat_n(json!({}), 21)).collect();
    cases.push((Value::Array(many).to_string(), "CLOSED s invalid: 21 filters, at most 20 are taken".to_owned()));
    let kinds: Vec<u64> = (0..2_001).collect();
    cases.push((
        json!(["REQ", "s", {"kinds": kinds}]).to_string(),
        "CLOSED s invalid: a filter has a list of 2001 values, at most 2000 are taken".to_owned(),
    ));
    cases
}

/// One event with one thing wrong at a time.
fn events(key: &Key) -> Vec<Case> {
    let good = serde_json::to_value(key.note("good")).unwrap();
    let mut cases = table(&[
        ("[\"EVENT\"]", "NOTICE invalid: EVENT needs an event"),
        ("[\"EVENT\",null]", "NOTICE invalid: invalid type: null, expected an event object"),
        ("[\"EVENT\",[]]", "NOTICE invalid: invalid type: sequence, expected an event object"),
        ("[\"EVENT\",\"x\"]", "NOTICE invalid: invalid type: string \"x\", expected an event object"),
        ("[\"EVENT\",{}]", "NOTICE invalid: missing field `id`"),
        ("[\"AUTH\"]", "NOTICE invalid: AUTH needs an event"),
        ("[\"AUTH\",\"challenge\"]", "NOTICE invalid: invalid type: string \"challenge\", expected an event object"),
    ]);
    cases.push((json!(["EVENT", good, "more"]).to_string(), "OK false invalid: EVENT has too many elements".to_owned()));
    cases.push((json!(["EVENT", good, good]).to_string(), "OK false invalid: EVENT has too many elements".to_owned()));
    for field in ["pubkey", "created_at", "kind", "tags", "content", "sig"] {
        let mut event = good.clone();
        event.as_object_mut().unwrap().remove(field);
        cases.push((json!(["EVENT", event]).to_string(), format!("OK false invalid: missing field `{field}`")));
    }
    const HEX: &str = "expected exactly 64 lower-case hex digits";
    const SIG: &str = "sig must be 128 lower-case hex digits";
    let upper = |field: &str| json!(good[field].as_str().unwrap().to_uppercase());
    for (field, value, expected) in [
        ("id", upper("id"), format!("NOTICE invalid: {HEX}")),
        ("id", json!("ab"), format!("NOTICE invalid: {HEX}")),
        ("pubkey", upper("pubkey"), format!("OK false invalid: {HEX}")),
        ("pubkey", json!("00"), format!("OK false invalid: {HEX}")),
        ("pubkey", Value::Null, "OK false invalid: invalid type: null, expected 64 lower-case hex digits".to_owned()),
        ("sig", upper("sig"), format!("OK false invalid: {SIG}")),
        ("sig", json!("00"), format!("OK false invalid: {SIG}")),
        ("sig", json!("0".repeat(128)), "OK false invalid: signature does not match".to_owned()),
        ("sig", json!("f".repeat(128)), "OK false invalid: signature does not match".to_owned()),
        ("content", json!("changed"), "OK false invalid: event id does not match its content".to_owned()),
        ("content", Value::Null, "OK false invalid: invalid type: null, expected a string".to_owned()),
        ("content", json!(1), "OK false invalid: invalid type: integer `1`, expected a string".to_owned()),
        ("tags", Value::Null, "OK false invalid: invalid type: null, expected a sequence".to_owned()),
        ("tags", json!({}), "OK false invalid: invalid type: map, expected a sequence".to_owned()),
        ("kind", json!(2), "OK false invalid: event id does not match its content".to_owned()),
        ("kind", json!("1"), "OK false invalid: invalid type: string \"1\", expected u16".to_owned()),
        ("kind", json!(65_536), "OK false invalid: invalid value: integer `65536`, expected u16".to_owned()),
        ("kind", json!(-1), "OK false invalid: invalid value: integer `-1`, expected u16".to_owned()),
        ("created_at", json!("1"), "OK false invalid: invalid type: string \"1\", expected u64".to_owned()),
        ("created_at", json!(-1), "OK false invalid: invalid value: integer `-1`, expected u64".to_owned()),
    ] {
        let mut event = good.clone();
        event[field] = value;
        cases.push((json!(["EVENT", event]).to_string(), expected));
    }
    cases.extend(crooked_numbers(key));
    cases
}

/// Rightly signed events that no library would make: numbers that are not plain, fields twice.
fn crooked_numbers(key: &Key) -> Vec<Case> {
    let now = now_s().to_string();
    let message = |created_at: &str, kind: &str| format!("[\"EVENT\",{}]", key.crooked(created_at, kind, "[]", ""));
    let mut cases = vec![
        (message("1.5", "1"), "OK false invalid: invalid type: floating point `1.5`, expected u64".to_owned()),
        (message("1e9", "1"), "OK false invalid: invalid type: floating point `1000000000.0`, expected u64".to_owned()),
        (message(&now, "1.0"), "OK false invalid: invalid type: floating point `1.0`, expected u16".to_owned()),
        (message(&now, "01"), "NOTICE invalid: invalid number".to_owned()),
        (message("-0", "1"), "OK false invalid: invalid type: floating point `-0.0`, expected u64".to_owned()),
        (
            message("18446744073709551616", "1"),
            "OK false invalid: invalid type: floating point `1.8446744073709552e+19`, expected u64".to_owned(),
        ),
        (message("18446744073709551615", "1"), "OK false invalid: created_at is more than 15 minutes in the future".to_owned()),
        (message("0", "1"), "OK false invalid: created_at is more than 3 years in the past".to_owned()),
        (
            message(&(now_s() + 10_000).to_string(), "1"),
            "OK false invalid: created_at is more than 15 minutes in the future".to_owned(),
        ),
        (
            message(&(now_s() - 1_000).to_string(), "20001"),
            "OK false invalid: created_at is more than 15 minutes in the past".to_owned(),
        ),
    ];
    let twice = message(&now, "1").replace("\"kind\":1", "\"kind\":1,\"kind\":1");
    cases.push((twice, "OK false invalid: duplicate field `kind`".to_owned()));
    let surrogate = message(&now, "1").replace("\"content\":\"\"", "\"content\":\"\\ud800\"");
    cases.push((surrogate, "NOTICE invalid: unexpected end of hex escape".to_owned()));
    cases
}

/// Tags and sizes.
fn tags_and_limits(key: &Key) -> Vec<Case> {
    let now = now_s().to_string();
    let mut cases = Vec::new();
    for (tags, expected) in [
        ("[[]]", "a tag needs a name"),
        ("[[\"\"]]", "a tag needs a name"),
        ("[[\"\",\"x\"]]", "a tag needs a name"),
        ("[null]", "invalid type: null, expected a tag: a list of strings"),
        ("[\"t\"]", "invalid type: string \"t\", expected a tag: a list of strings"),
        ("[[\"t\",null]]", "invalid type: null, expected a string"),
        ("[[\"t\",1]]", "invalid type: integer `1`, expected a string"),
        ("[[\"t\",[\"x\"]]]", "invalid type: sequence, expected a string"),
    ] {
        cases.push((format!("[\"EVENT\",{}]", key.crooked(&now, "1", tags, "")), format!("OK false invalid: {expected}")));
    }
    let of = |event: Event| format!("[\"EVENT\",{}]", event.json());
    let many = vec![&["t", "x"][..]; 2_001];
    cases.push((of(key.event(1, "", &many)), "OK false invalid: event has 2001 tags, at most 2000 are taken".to_owned()));
    let long = "x".repeat(1_025);
    cases.push((
        of(key.event(1, "", &[&["t", &long]])),
        "OK false invalid: value of tag \"t\" is 1025 bytes, at most 1024 are taken".to_owned(),
    ));
    let big = key.note(&"x".repeat(66_000));
    let bytes = big.json().len();
    cases.push((of(big), format!("OK false invalid: event is {bytes} bytes, at most 65536 are taken")));
    let no_point = Event { pubkey: "f".repeat(64), ..key.note("") };
    let id = crate::support::event::id_of(&no_point.pubkey, no_point.created_at, 1, &[], "");
    let no_point = Event { id: const_hex::encode(id), ..no_point };
    cases.push((of(no_point), "OK false invalid: pubkey is not a point on the curve".to_owned()));
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_odd_but_right_is_taken() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    let key = Key::random();
    let long = "x".repeat(1_024);
    let plain: Vec<&[&str]> = vec![&["t", "x"]; 2_000];
    let odd: Vec<Event> = vec![
        key.event(1, "", &[&["t", &long]]),
        key.event(1, "", &[&["title", &"y".repeat(20_000)]]),
        key.event(1, "", &[&["t"], &["t", ""], &["t", "", "", ""]]),
        key.event(65_535, "", &[]),
        key.event(1, "", &plain),
        key.event_at(now_s() - 90_000_000, 1, "nearly three years", &[]),
        key.event(1, "\u{0}\u{1f}\u{7f}", &[&["\u{0}", "\u{0}"]]),
        key.event(1, &"x".repeat(65_536 - key.event(1, "", &[]).json().len()), &[]),
    ];
    assert_eq!(odd.last().map(|event| event.json().len()), Some(65_536));
    for event in &odd {
        client.accept(event).await;
        assert_eq!(client.stored_json("s", &[json!({"ids": [event.id]})]).await, [event.json()]);
    }
    let values: Vec<u64> = (0..2_000).collect();
    let mut filters = vec![json!({"kinds": values}); 1];
    // Of the same kinds: whichever event is the newest, it is one of those above.
    filters.resize(20, json!({"limit": 1, "kinds": [1]}));
    assert_eq!(client.stored(&filters).await.len(), 7);
    client.stored_json("\"\\ 🔥", &[json!({"limit": 0})]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_frames_end_one_connection_and_no_other() {
    let mut hearth = Hearth::start();
    let mut witness = hearth.client().await;
    let huge_length = [0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    let too_long = [&[0x81, 0xff, 0, 0, 0, 0, 0, 2, 0, 1][..], &[0; 4], &vec![b' '; 131_073]].concat();
    let empty_fragments = [frame(0x01, b""), frame(0x00, b"").repeat(5_000)].concat();
    // Frames and the close codes that are right (1006: the connection just ends).
    let table: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("unmasked", vec![0x81, 2, b'[', b']'], &[1_002, 1_006]),
        ("a reserved bit", frame(0xc1, b"[]"), &[1_002, 1_006]),
        ("a reserved opcode", frame(0x83, b"[]"), &[1_002, 1_006]),
        ("a reserved control opcode", frame(0x8b, b"[]"), &[1_002, 1_006]),
        ("a ping of 126 bytes", frame(0x89, &[b'x'; 126]), &[1_002, 1_006]),
        ("a ping in fragments", frame(0x09, b"x"), &[1_002, 1_006]),
        ("a continuation of nothing", frame(0x80, b"x"), &[1_002, 1_006]),
        ("a text inside a fragmented text", [frame(0x01, b"["), frame(0x81, b"]")].concat(), &[1_002, 1_006]),
        ("a close frame of one byte", frame(0x88, b"x"), &[1_002, 1_006]),
        ("a close code that may not be sent", frame(0x88, &1_005_u16.to_be_bytes()), &[1_002, 1_006]),
        ("invalid UTF-8", frame(0x81, &[b'[', 0xff, b']']), &[1_007]),
        ("overlong UTF-8", frame(0x81, &[0xc0, 0xaf]), &[1_007]),
        ("a surrogate in UTF-8", frame(0x81, &[0xed, 0xa0, 0x80]), &[1_007]),
        ("a length of 2^63 - 1", huge_length.to_vec(), &[1_009, 1_002]),
        ("one byte more than a message may have", too_long, &[1_009]),
        ("more fragments than a message may have", empty_fragments, &[1_008, 1_009]),
    ];
    for (what, bytes, codes) in table {
        let code = raw_close_code(hearth.address(), &bytes).await;
        assert!(codes.contains(&code), "{what}: closed with {code}, expected one of {codes:?}");
        witness.settle().await;
    }
    assert!(hearth.is_running());
    assert!(!hearth.log().contains("panicked"), "{}", hearth.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_allowed_are_understood() {
    let hearth = Hearth::start();
    let mut client = hearth.client().await;
    client.send_frame(Message::binary(&b"[\"REQ\",\"s\",{}]"[..])).await.unwrap();
    assert!(matches!(client.next().await, Heard::Notice(text) if text.starts_with("invalid: ")), "a binary frame");
    client.settle().await;
    let mut stream = upgraded(hearth.address()).await;
    let pieces: [&[u8]; 6] = [
        &frame(0x01, b"[\"REQ\",\"\xf0\x9f"),
        &frame(0x89, b"ping"),
        &frame(0x00, b""),
        &frame(0x00, b"\x94\xa5\","),
        &frame(0x00, b"{\"limit\":"),
        &frame(0x80, b"0}]"),
    ];
    for piece in pieces {
        for byte in piece {
            stream.write_all(&[*byte]).await.unwrap();
        }
    }
    let mut heard = Vec::new();
    while !heard.windows(9).any(|window| window == b"[\"EOSE\",\"") {
        let mut bytes = [0; 1_024];
        let count = timeout(PATIENCE, stream.read(&mut bytes)).await.expect("EOSE in time").unwrap();
        assert_ne!(count, 0, "closed: {heard:?}");
        heard.extend_from_slice(&bytes[..count]);
    }
    assert!(heard.windows(6).any(|window| window == b"\x8a\x04ping"), "a pong inside the fragmented message");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_http_is_refused() {
    let hearth = Hearth::with_config("[limits]\nhandshake_s = 8\n");
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let old: Vec<(&str, &str)> = upgrade
        .iter()
        .copied()
        .chain([("Sec-WebSocket-Version", "8"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")])
        .collect();
    let keyless: Vec<(&str, &str)> = upgrade.iter().copied().chain([("Sec-WebSocket-Version", "13")]).collect();
    let long = "x".repeat(20_000);
    for (what, headers, statuses) in [
        ("an old version", &old[..], &[400, 426][..]),
        ("no key", &keyless, &[400]),
        ("a head of 20,000 bytes", &[("X-Long", long.as_str())], &[431, 400]),
    ] {
        let answer = http(hearth.address(), "GET", "/", headers).await;
        assert!(statuses.contains(&answer.status), "{what}: {answer:?}");
    }
    let garbage = exchange(hearth.address(), b"\x16\x03\x01 this is no HTTP\r\n\r\n").await;
    assert!(garbage.is_empty() || garbage.starts_with(b"HTTP/1.1 400"), "{:?}", String::from_utf8_lossy(&garbage));
    // Half a head: the relay waits no longer than it says.
    let stalled = timeout(PATIENCE, exchange(hearth.address(), b"GET / HTTP/1.1\r\nHost: x\r\n")).await;
    assert!(stalled.is_ok(), "a stalled handshake was kept open");
    hearth.client().await.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rates_as_shipped_refuse_with_their_prefix() {
    let config = "[rates]\nevents_per_key = 1\nevents_per_key_burst = 5\n";
    let hearth = Hearth::with_config(config);
    let mut client: Client = hearth.client().await;
    let key = Key::random();
    // At once: a machine that needs a second for each would be allowed them all.
    let notes: Vec<Event> = (0..20).map(|n| key.note(&format!("{n}"))).collect();
    for note in &notes {
        client.feed(format!("[\"EVENT\",{}]", note.json())).await;
    }
    client.flush().await;
    let mut refused = 0;
    for note in &notes {
        let verdict = client.verdict(&note.id).await;
        assert!(verdict.accepted || verdict.text.starts_with("rate-limited: "), "{verdict:?}");
        refused += usize::from(!verdict.accepted);
    }
    assert!((1..=15).contains(&refused), "{refused} of 20 refused");
    client.accept(&Key::random().note("another key is not slowed down")).await;
}

/// A masked frame.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    // A mask of zeros leaves the payload as it is.
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

/// A connection after a handshake by hand.
async fn upgraded(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(timeout(PATIENCE, stream.read_u8()).await.expect("an answer in time").unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    stream
}

/// Sends bytes on a fresh WebSocket and returns the code with which the relay closes it.
pub(super) async fn raw_close_code(address: &str, bytes: &[u8]) -> u16 {
    let mut stream = upgraded(address).await;
    // The relay may close before it has read everything.
    drop(stream.write_all(bytes).await);
    let mut heard = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut heard)).await;
    assert!(read.is_ok(), "the connection was kept open: {heard:?}");
    close_code(&heard)
}

/// The code of the close frame among frames of a server.
fn close_code(mut bytes: &[u8]) -> u16 {
    while let [first, length, rest @ ..] = bytes {
        let (length, rest) = match (length, rest) {
            (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            (length, rest) => (usize::from(*length), rest),
        };
        if *first == 0x88 && rest.len() >= 2 {
            return u16::from_be_bytes([rest[0], rest[1]]);
        }
        bytes = rest.get(length..).unwrap_or_default();
    }
    1_006
}
