//! The wire format under garbage: mutated messages and damaged buffers are refused or read, never a panic.

use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind, Tag};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::client_message::{self, ClientMessage};
use super::event::{Draft, Event, EventLimits, EventRef};
use super::verify::{Verifier, verify};

const SEED: u64 = 20_261;

fn event_json(content: &str) -> String {
    let keys = Keys::parse("0000000000000000000000000000000000000000000000000000000000000003").unwrap();
    let peer = keys.public_key().to_hex();
    let tags = [vec!["p", &peer], vec!["d", "x"], vec!["expiration", "99"], vec!["t"], vec!["emoji", "é🔥"]];
    let tags = tags.into_iter().map(|tag| Tag::parse(tag).unwrap());
    let event = EventBuilder::new(Kind::from(30_023), content).tags(tags).finalize(&keys).unwrap();
    serde_json::to_string(&event).unwrap()
}

fn mutate(random: &mut ChaCha8Rng, text: &str) -> String {
    let pieces = ["\"", "\\", "\\ud800", "[", "]", "{", "}", ",", ":", "0", "-1", "1e9", "null", "é", "\u{0}", "\"id\":", " "];
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=chars.len());
        match random.random_range(0..3) {
            0 if at < chars.len() => drop(chars.remove(at)),
            1 => {
                let piece = pieces[random.random_range(0..pieces.len())];
                chars.splice(at..at, piece.chars());
            }
            _ => chars.truncate(at.max(1)),
        }
    }
    chars.into_iter().collect()
}

#[test]
fn mutated_messages_are_refused_or_read_the_same_way_twice() {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let event = event_json("hello \"world\" \u{1}\u{7f}\u{2028}");
    let bases = [
        format!(r#"["EVENT",{event}]"#),
        format!(r##"["REQ","sub",{{"#p":["{}"],"kinds":[1,2],"since":1,"until":2,"limit":3}},{{}}]"##, "a".repeat(64)),
        r#"["CLOSE","sub"]"#.to_owned(),
        format!(r#"["AUTH",{event}]"#),
    ];
    let mut read = 0;
    for round in 0..40_000 {
        let text = mutate(&mut random, &bases[round % bases.len()]);
        let Ok(ClientMessage::Event(draft)) = client_message::parse(&text) else { continue };
        read += 1;
        if let Ok(packed) = draft.pack(&EventLimits::default()) {
            let again = Draft::parse(packed.json()).unwrap().pack(&EventLimits::default()).unwrap();
            assert_eq!(packed, again, "round {round} of seed {SEED}: {text}");
        }
    }
    assert!(read > 100, "the mutations must leave something readable, {read} were");
}

#[test]
fn damaged_buffers_are_refused_or_read_without_a_panic() {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let event = Draft::parse(&event_json("x")).unwrap().pack(&EventLimits::default()).unwrap();
    for _ in 0..20_000 {
        let mut bytes = event.bytes().to_vec();
        bytes.truncate(random.random_range(0..=bytes.len()));
        for _ in 0..random.random_range(0..4) {
            if !bytes.is_empty() {
                let at = random.random_range(0..bytes.len());
                bytes[at] ^= 1 << random.random_range(0..8);
            }
        }
        if let Some(view) = EventRef::new(&bytes) {
            let _ = (view.tags().count(), view.json().len(), view.id(), view.expiration());
        }
    }
    assert!(Event::from_bytes(event.bytes()).is_some());
}

#[test]
fn a_flipped_bit_of_the_signature_or_the_key_is_found() {
    let json = event_json("signed");
    let draft = Draft::parse(&json).unwrap();
    verify(&draft.id, &draft.pubkey, &draft.sig).unwrap();
    for at in 0..64 {
        let mut sig = draft.sig;
        sig.0[at] ^= 1;
        assert!(verify(&draft.id, &draft.pubkey, &sig).is_err(), "byte {at} of the signature");
    }
    for at in 0..32 {
        let mut pubkey = draft.pubkey;
        pubkey.0[at] ^= 1;
        assert!(verify(&draft.id, &pubkey, &draft.sig).is_err(), "byte {at} of the key");
    }
}

#[test]
fn a_verifier_knows_a_key_again_and_believes_it_no_more_than_before() {
    let verifier = Verifier::default();
    let json = event_json("signed");
    let draft = Draft::parse(&json).unwrap();
    let mut forged = draft.sig;
    forged.0[9] ^= 1;
    assert!(verifier.verify(&draft.id, &draft.pubkey, &forged).is_err());
    assert_eq!(verifier.keys(), 0, "a key that signed nothing is not kept");
    for _ in 0..2 {
        verifier.verify(&draft.id, &draft.pubkey, &draft.sig).unwrap();
        assert_eq!(verifier.keys(), 1);
        assert!(verifier.verify(&draft.id, &draft.pubkey, &forged).is_err());
        let mut id = draft.id;
        id.0[0] ^= 1;
        assert!(verifier.verify(&id, &draft.pubkey, &draft.sig).is_err());
    }
}

#[test]
fn what_a_well_formed_event_may_not_hold() {
    let json = event_json("x");
    let cases = [
        (json.replacen("\"kind\":30023", "\"kind\":65536", 1), "65536"),
        (json.replacen("\"kind\":30023", "\"kind\":-1", 1), "-1"),
        (json.replacen("\"kind\":30023", "\"kind\":1.0", 1), "floating point"),
        (json.replacen("\"kind\":30023", "\"kind\":\"1\"", 1), "string"),
        (json.replacen("\"kind\":30023", "\"kind\":1,\"kind\":1", 1), "duplicate field `kind`"),
        (json.replacen("\"content\":\"x\"", "\"content\":\"\\ud800\"", 1), "hex escape"),
        (json.replacen("\"content\":\"x\"", "\"content\":\"\\udc00\"", 1), "surrogate"),
        (json.replacen("\"content\":\"x\"", "\"content\":\"\n\"", 1), "control character"),
        (json.replacen("[\"t\"]", "[\"t\",null]", 1), "null"),
        (json.replacen("[\"t\"]", "[\"t\",[]]", 1), "sequence"),
        (json.replacen("[\"t\"]", "7", 1), "integer"),
    ];
    for (json, words) in cases {
        let reason = Draft::parse(&json).unwrap_err().to_string();
        assert!(reason.starts_with("invalid: event: ") && reason.contains(words), "{reason} should say {words}");
    }
    let upper = json.replacen(&Draft::parse(&json).unwrap().id.to_string(), &"A".repeat(64), 1);
    assert!(Draft::parse(&upper).is_err());
    let empty_name = Draft::parse(&json.replacen("[\"t\"]", "[]", 1)).unwrap().pack(&EventLimits::default()).unwrap_err();
    assert_eq!(empty_name.to_string(), "invalid: a tag needs a name");
}
