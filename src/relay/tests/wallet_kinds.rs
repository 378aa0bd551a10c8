//! The read gate: wallet kinds only for filters that name someone; stored, live and counted.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;

use super::support::{Client, House, NOW, Setup, contents, id_of, key_hex, note, signed};
use crate::base::hex32::EventId;
use crate::protocol::event::{Draft, Event};
use crate::protocol::filter::Filter;
use crate::protocol::reason::Verdict;
use crate::relay::{Claim, Intake, Reply};

const EVENT_ID: &str = "5555555555555555555555555555555555555555555555555555555555555555";

fn naming(house_key: &str, client_key: &str) -> [String; 5] {
    [
        format!(r#""authors":["{house_key}"]"#),
        format!(r##""#p":["{client_key}"]"##),
        format!(r##""#e":["{EVENT_ID}"]"##),
        format!(r##""#e":["{EVENT_ID}"],"#p":["{client_key}"]"##),
        format!(r##""authors":["{house_key}"],"#e":["{EVENT_ID}"],"#t":["x"]"##),
    ]
}

fn wallet_event(kind: u16, content: &str) -> String {
    signed(9, kind, NOW, &[&["p", &key_hex(1)], &["e", EVENT_ID], &["t", "x"]], content)
}

#[test]
fn only_filters_that_name_someone_see_wallet_events() {
    for kind in [13_194_u16, 23_194, 23_195, 23_196, 23_197] {
        for (filter, sees) in naming(&key_hex(9), &key_hex(1))
            .into_iter()
            .flat_map(|naming| [(format!("{{{naming}}}"), true), (format!(r#"{{{naming},"kinds":[{kind},1]}}"#), true)])
            .chain([
                ("{}".to_owned(), false),
                (format!(r#"{{"kinds":[{kind}]}}"#), false),
                (format!(r#"{{"kinds":[1,{kind}]}}"#), false),
                (format!(r#"{{"since":{NOW}}}"#), false),
                (r##"{"#t":["x"]}"##.to_owned(), false),
                (format!(r##"{{"#t":["x"],"kinds":[{kind}]}}"##), false),
            ])
        {
            let house = House::new();
            let mut early = house.client();
            assert!(early.query(&filter).unwrap().is_empty());
            let event = wallet_event(kind, "w");
            assert_eq!(house.client().publish(&event), (true, String::new()), "kept or stored, so never mute");
            let expected: &[&str] = if sees { &["w"] } else { &[] };
            assert_eq!(contents(&early.frames()), expected, "live, kind {kind}, {filter}");
            assert_eq!(house.client().query(&filter).unwrap(), expected, "late, kind {kind}, {filter}");
            let by_id = format!(r#"{{"ids":["{}"]}}"#, id_of(&event));
            assert_eq!(house.client().query(&by_id).unwrap(), ["w"]);
        }
    }
}

#[test]
fn hidden_events_do_not_eat_the_limit_of_a_filter() {
    let house = House::new();
    for number in 0..10_u8 {
        let time = NOW - u64::from(number);
        house.store.commit(super::support::packed(&signed(number, 13_194, time, &[], "hidden")));
        house.store.commit(super::support::packed(&signed(number, 1, time, &[], &format!("n{number}"))));
    }
    let mut client = house.client();
    assert_eq!(client.query(r#"{"limit":3}"#).unwrap(), ["n0", "n1", "n2"]);
    assert_eq!(client.query(r#"{"limit":1},{"kinds":[1],"limit":2}"#).unwrap(), ["n0", "n1"]);
    let mixed = format!(r#"{{"limit":2}},{{"authors":["{}"],"kinds":[13194]}}"#, key_hex(5));
    assert_eq!(client.query(&mixed).unwrap(), ["n0", "n1", "hidden"]);
    assert_eq!(client.query("{}").unwrap().len(), 10);
}

#[test]
fn count_does_not_tell_either() {
    let house = House::new();
    for number in 0..4_u8 {
        house.store.commit(super::support::packed(&signed(number, 13_194, NOW, &[], "")));
        house.store.commit(super::support::packed(&signed(number, 1, NOW, &[], "")));
    }
    let mut client = house.client();
    let count = |client: &mut Client, filters: &str| client.say(&format!(r#"["COUNT","c",{filters}]"#))[0][2].clone();
    let refused = json!("restricted: wallet events are only counted for a filter that names authors, ids, #p or #e");
    assert_eq!(count(&mut client, r#"{"kinds":[13194]}"#), refused);
    assert_eq!(count(&mut client, r#"{"kinds":[1]},{"kinds":[1,23195]}"#), refused);
    assert_eq!(count(&mut client, "{}")["count"], 4);
    let own = format!(r#"{{"authors":["{}"]}}"#, key_hex(2));
    assert_eq!(count(&mut client, &own)["count"], 2);
    assert_eq!(count(&mut client, &format!("{{}},{own}"))["count"], 5);
}

#[test]
fn messages_for_outside_wallets_are_kept_for_a_while() {
    let house = House::new();
    let request = signed(1, 23_194, NOW, &[&["p", &key_hex(8)]], "pay");
    assert_eq!(house.client().publish(&request), (true, String::new()));
    let checks = house.stats().signature_checks;
    assert_eq!(house.client().publish(&request), (true, "duplicate: already have this event".to_owned()));
    assert_eq!(house.stats().signature_checks, checks);
    let filter = format!(r##"{{"kinds":[23194],"#p":["{}"]}}"##, key_hex(8));
    let mut service = house.client();
    assert_eq!(service.query(&filter).unwrap(), ["pay"]);
    house.live.publish_ephemeral(&super::support::packed(&request));
    assert!(service.frames().is_empty(), "once on a subscription");
    house.clock.set_ms((NOW + 299) * 1_000);
    assert_eq!(house.client().query(&filter).unwrap(), ["pay"]);
    house.clock.set_ms((NOW + 300) * 1_000);
    assert!(house.client().query(&filter).unwrap().is_empty());
    assert_eq!(house.store.len(), 0);
}

#[test]
fn recalled_events_count_towards_the_limit() {
    let house = House::new();
    let author = key_hex(9);
    for number in 0..3 {
        house.client().publish(&signed(9, 23_195, NOW - number, &[], &format!("w{number}")));
        house.client().publish(&signed(9, 1, NOW - number, &[], &format!("n{number}")));
    }
    let mut client = house.client();
    let ask = |client: &mut Client, limit: u32| client.query(&format!(r#"{{"authors":["{author}"],"limit":{limit}}}"#)).unwrap();
    assert_eq!(ask(&mut client, 2), ["w0", "w1"]);
    assert_eq!(ask(&mut client, 4), ["w0", "w1", "w2", "n0"]);
    assert_eq!(ask(&mut client, 9).len(), 6);
    house.client().publish(&note(9, "more"));
    assert_eq!(contents(&client.frames()), ["more"]);
}

/// Answers that are kept for clients, and which of them were delivered.
#[derive(Default)]
struct Kept {
    answers: Vec<Event>,
    delivered: Mutex<Vec<EventId>>,
}

impl Intake for Kept {
    fn claim(&self, draft: &Draft<'_>) -> Claim {
        if draft.kind == 23_194 { Claim::Take } else { Claim::NotMine }
    }

    fn take(&self, _: Draft<'_>, _: Event, reply: Reply) {
        reply.send(Verdict::Accepted);
    }

    fn recall(&self, filter: &Filter) -> Vec<Event> {
        self.answers.iter().filter(|event| filter.matches(event.view())).cloned().collect()
    }

    fn delivered(&self, id: &EventId) {
        self.delivered.lock().push(*id);
    }
}

fn answers(count: u64, bytes: usize) -> Arc<Kept> {
    let answer = |number| {
        let content = format!("{number} {}", "x".repeat(bytes));
        super::support::packed(&signed(9, 23_195, NOW - number, &[&["p", &key_hex(1)]], &content))
    };
    Arc::new(Kept { answers: (0..count).map(answer).collect(), delivered: Mutex::default() })
}

#[test]
fn more_kept_answers_than_a_connection_can_hold_come_one_after_the_other() {
    let kept = answers(40, 60_000);
    let house = House::with(Setup { intake: Arc::clone(&kept) as Arc<dyn Intake>, ..Setup::default() });
    let mut client = house.client();
    let found = client.query(&format!(r##"{{"#p":["{}"],"kinds":[23195]}}"##, key_hex(1))).unwrap();
    let numbers: Vec<&str> = found.iter().map(|content| content.split(' ').next().unwrap()).collect();
    assert_eq!(numbers, (0..40).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(client.closed, None);
}

#[test]
fn an_answer_is_delivered_to_its_client_only_and_only_when_it_is_queued() {
    let filter = format!(r##"{{"#p":["{}"],"kinds":[23195]}}"##, key_hex(1));
    let kept = answers(30, 60_000);
    let house = House::with(Setup { intake: Arc::clone(&kept) as Arc<dyn Intake>, ..Setup::default() });
    let delivered = || kept.delivered.lock().len();
    assert_eq!(house.client().query(&filter).unwrap().len(), 30);
    let mut stranger = house.client();
    stranger.log_in(2);
    stranger.publish(&signed(3, 23_194, NOW, &[&["p", &key_hex(9)]], "mine"));
    assert_eq!(stranger.query(&filter).unwrap().len(), 30);
    assert_eq!(delivered(), 0, "neither of them is key 1");
    let mut slow = house.client();
    slow.log_in(1);
    slow.session.on_text(&format!(r#"["REQ","s",{filter}]"#));
    while slow.session.pump() {}
    assert!((1..30).contains(&delivered()), "{} of 30 while nothing is read", delivered());
    slow.frames();
    assert_eq!(delivered(), 30);
    let mut writer = house.client();
    assert!(writer.publish(&signed(1, 23_194, NOW, &[&["p", &key_hex(9)]], "pay")).0);
    assert_eq!(writer.query(&filter).unwrap().len(), 30);
    assert_eq!(delivered(), 60);
}
