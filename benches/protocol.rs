//! Parts of the wire format: reading a message, packing an event, checking its signature, matching a filter.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a benchmark"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hearth::protocol::client_message::{self, ClientMessage};
use hearth::protocol::event::{Draft, Event, EventLimits};
use hearth::protocol::filter::Filter;
use hearth::protocol::verify::{Verifier, verify};
use nostr::prelude::{EventBuilder, FinalizeEvent, Keys, Kind, Tag};

fn note() -> String {
    let keys = Keys::generate();
    let peer = Keys::generate().public_key().to_hex();
    let tags = [Tag::parse(["p", peer.as_str()]).unwrap(), Tag::parse(["t", "nostr"]).unwrap()];
    let event = EventBuilder::new(Kind::from(1), "the quick brown fox ".repeat(9)).tags(tags).finalize(&keys).unwrap();
    serde_json::to_string(&event).unwrap()
}

fn packed(json: &str) -> Event {
    Draft::parse(json).unwrap().pack(&EventLimits::default()).unwrap()
}

fn protocol(c: &mut Criterion) {
    let json = note();
    let message = format!(r#"["EVENT",{json}]"#);
    let limits = EventLimits::default();
    let mut group = c.benchmark_group("protocol");
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse an EVENT message", |b| {
        b.iter(|| client_message::parse(black_box(&message)).unwrap());
    });
    group.bench_function("parse, pack and check the id", |b| {
        b.iter(|| match client_message::parse(black_box(&message)).unwrap() {
            ClientMessage::Event(draft) => draft.pack(&limits).unwrap(),
            _ => unreachable!("the message is an EVENT"),
        });
    });
    let draft = Draft::parse(&json).unwrap();
    group.bench_function("verify a signature", |b| {
        b.iter(|| verify(black_box(&draft.id), &draft.pubkey, &draft.sig).unwrap());
    });
    let verifier = Verifier::default();
    group.bench_function("verify a signature, its key known", |b| {
        b.iter(|| verifier.verify(black_box(&draft.id), &draft.pubkey, &draft.sig).unwrap());
    });
    group.bench_function("compute an id", |b| {
        b.iter(|| black_box(&draft).computed_id());
    });
    let event = packed(&json);
    let filter: Filter = serde_json::from_str(&format!(r##"{{"kinds":[1,6],"#p":["{}"],"since":1}}"##, "a".repeat(64))).unwrap();
    group.bench_function("match a filter on the header", |b| {
        b.iter(|| black_box(&filter).matches(black_box(event.view())));
    });
    let request = format!(r##"["REQ","s",{{"kinds":[1,6],"#p":["{}"],"limit":20}}]"##, "a".repeat(64));
    group.bench_function("parse a REQ message", |b| {
        b.iter(|| client_message::parse(black_box(&request)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, protocol);
criterion_main!(benches);
