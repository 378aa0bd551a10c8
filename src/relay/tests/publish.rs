//! The way of an event: store, ephemeral, intake, lists, protection, rates.

use std::sync::Arc;

use parking_lot::Mutex;

use super::support::{House, NOW, Setup, contents, id_of, key_hex, note, signed};
use crate::base::hex32::Hex32;
use crate::policy::rate::Rate;
use crate::policy::{RateConfig, Rules};
use crate::protocol::event::{Draft, Event};
use crate::protocol::filter::Filter;
use crate::protocol::reason::{Reason, Verdict};
use crate::relay::{Claim, Intake, Reply};

#[test]
fn ok_comes_when_the_store_has_it_and_not_before() {
    let house = House::new();
    let mut client = house.client();
    house.store.hold.store(true, std::sync::atomic::Ordering::Relaxed);
    let event = note(1, "slow disk");
    assert!(client.say(&format!("[\"EVENT\",{event}]")).is_empty());
    house.store.release();
    assert_eq!(client.frames()[0].to_string(), format!(r#"["OK","{}",true,""]"#, id_of(&event)));
    house.store.broken.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(client.publish(&note(1, "full disk")), (false, "error: could not store the event".to_owned()));
    assert_eq!(client.query("{}"), Err("error: the store could not be read".to_owned()));
    assert_eq!(client.say(r#"["COUNT","c",{}]"#)[0][2], "error: the store could not be read");
    assert_eq!(house.live.subscriptions(), 0);
}

#[test]
fn ephemeral_events_reach_who_listens_and_nobody_else() {
    let house = House::new();
    let (mut sender, mut listener) = (house.client(), house.client());
    assert_eq!(sender.publish(&signed(1, 20_001, NOW, &[], "a")), (true, "mute: nobody is listening".to_owned()));
    assert!(listener.query(r#"{"kinds":[20001]}"#).unwrap().is_empty());
    assert_eq!(sender.publish(&signed(1, 20_001, NOW, &[], "b")), (true, String::new()));
    assert_eq!(contents(&listener.frames()), ["b"]);
    assert_eq!(house.store.len(), 0);
    assert!(house.client().query("{}").unwrap().is_empty());
}

/// Claims events of kind 23194 with a `p` of key 9: refuses strangers (any author but key 1), answers the rest.
#[derive(Default)]
struct Wallet {
    taken: Mutex<Vec<Event>>,
    kept: Mutex<Vec<Event>>,
    drops: bool,
}

impl Intake for Wallet {
    fn claim(&self, draft: &Draft<'_>) -> Claim {
        if draft.kind != 23_194 || draft.tag_value("p") != Some(&key_hex(9)) {
            return Claim::NotMine;
        }
        if draft.pubkey.to_string() == key_hex(1) { Claim::Take } else { Claim::Refuse(Reason::restricted("no such connection")) }
    }

    fn take(&self, _: Draft<'_>, event: Event, reply: Reply) {
        self.taken.lock().push(event);
        if !self.drops {
            reply.send(Verdict::Accepted);
        }
    }

    fn recall(&self, _: &Filter) -> Vec<Event> {
        self.kept.lock().clone()
    }
}

#[test]
fn claimed_events_go_to_the_intake_only_and_strangers_cost_no_signature_check() {
    let wallet = Arc::new(Wallet::default());
    let rules = Rules { login_to_write: true, ..Rules::default() };
    let house = House::with(Setup { intake: Arc::clone(&wallet) as Arc<dyn Intake>, rules, ..Setup::default() });
    let (mut client, mut spy) = (house.client(), house.client());
    assert!(spy.query(&format!(r##"{{"#p":["{}"]}}"##, key_hex(9))).unwrap().is_empty());
    let wallet_key = key_hex(9);
    let request = |author: u8, content: &str| signed(author, 23_194, NOW, &[&["p", &wallet_key]], content);
    assert_eq!(client.publish(&request(2, "x")), (false, "restricted: no such connection".to_owned()));
    assert_eq!(house.stats().signature_checks, 0);
    assert_eq!(client.publish(&request(1, "pay")), (true, String::new()));
    let forged = request(1, "pay").replace(&key_hex(9), &key_hex(9).replace('a', "b"));
    assert!(!client.publish(&forged).0);
    assert_eq!(wallet.taken.lock().len(), 1);
    assert!(spy.frames().is_empty());
    assert_eq!((house.store.len(), house.live.recent().bytes()), (0, 0));
    // The same request again reaches the intake again: it owes the same answer.
    assert_eq!(client.publish(&request(1, "pay")), (true, String::new()));
    assert_eq!(wallet.taken.lock().len(), 2);
}

#[test]
fn a_reply_that_is_dropped_still_answers_once() {
    let wallet = Arc::new(Wallet { drops: true, ..Wallet::default() });
    let house = House::with(Setup { intake: wallet, ..Setup::default() });
    let request = signed(1, 23_194, NOW, &[&["p", &key_hex(9)]], "pay");
    let answer = house.client().publish(&request);
    assert_eq!(answer, (false, "error: the event was not processed, send it again".to_owned()));
}

#[test]
fn own_events_take_the_same_way() {
    let house = House::new();
    let mut listener = house.client();
    assert!(listener.query(r#"{"kinds":[1]}"#).unwrap().is_empty());
    let verdicts: Arc<Mutex<Vec<Verdict>>> = Arc::default();
    let heard = Arc::clone(&verdicts);
    house.relay.ingest(super::support::packed(&note(1, "ours")), move |verdict| heard.lock().push(verdict));
    assert_eq!(*verdicts.lock(), [Verdict::Accepted]);
    assert_eq!(contents(&listener.frames()), ["ours"]);
}

#[test]
fn protected_events_come_from_their_author_only() {
    let house = House::new();
    let protected = signed(1, 1, NOW, &[&["-"]], "mine");
    let mut client = house.client();
    assert_eq!(client.publish(&protected).1, "auth-required: this event is protected, log in as its author to publish it");
    client.log_in(2);
    assert_eq!(client.publish(&protected).1, "restricted: this event is protected, only its author may publish it");
    client.log_in(1);
    assert_eq!(client.publish(&protected), (true, String::new()));
    for kind in [6, 16] {
        let repost = signed(3, kind, NOW, &[], &protected);
        let refused = "blocked: the reposted event is protected, it must not be published by others";
        assert_eq!(house.client().publish(&repost), (false, refused.to_owned()));
        assert!(house.client().publish(&signed(3, kind, NOW, &[], &note(1, "open"))).0);
    }
    // Escapes do not hide the tag, and the same text in another kind is only text.
    let escaped = protected.replace("[\"-\"]", "[\"\\u002d\"]");
    assert!(!house.client().publish(&signed(3, 6, NOW, &[], &escaped)).0);
    assert!(house.client().publish(&signed(3, 1, NOW, &[], &protected)).0);
}

#[test]
fn lists_and_login_rules_decide_who_may() {
    let key = |number: u8| Hex32::parse(&key_hex(number)).unwrap();
    let rules = Rules {
        login_to_read: true,
        login_to_write: true,
        allowed_keys: [key(1), key(2), key(3)].into(),
        denied_keys: [key(3)].into(),
        allowed_kinds: [1, 7].into(),
        denied_kinds: [7].into(),
    };
    let house = House::with(Setup { rules, ..Setup::default() });
    let mut client = house.client();
    assert_eq!(client.query("{}").unwrap_err(), "auth-required: log in to read here");
    assert_eq!(client.say(r#"["COUNT","c",{}]"#)[0].to_string(), r#"["CLOSED","c","auth-required: log in to read here"]"#);
    assert_eq!(client.publish(&note(1, "a")).1, "auth-required: log in to publish here");
    client.log_in(4);
    assert_eq!(client.query("{}").unwrap_err(), "restricted: the key that is logged in may not read here");
    assert_eq!(client.publish(&note(1, "a")).1, "restricted: the key that is logged in may not publish here");
    client.log_in(1);
    assert_eq!(client.publish(&note(3, "a")).1, "blocked: this key may not publish here");
    assert_eq!(client.publish(&note(4, "a")).1, "restricted: only listed keys may publish here");
    assert_eq!(client.publish(&signed(1, 7, NOW, &[], "+")).1, "blocked: kind 7 is not taken here");
    assert_eq!(client.publish(&signed(1, 8, NOW, &[], "")).1, "blocked: kind 8 is not taken here");
    assert_eq!(house.stats().signature_checks, 2, "the two logins");
    assert_eq!(client.publish(&note(2, "a")), (true, String::new()));
    assert_eq!(client.query("{}").unwrap(), ["a"]);
}

#[test]
fn rates_refuse_with_the_time_to_wait_and_recover() {
    let rates = RateConfig {
        enabled: true,
        events_per_connection: Rate::new(1, 3),
        queries_per_connection: Rate::new(1, 2),
        ..RateConfig::default()
    };
    let house = House::with(Setup { rates, ..Setup::default() });
    let mut client = house.client();
    for number in 0..3 {
        assert!(client.publish(&note(1, &number.to_string())).0);
    }
    let refused = client.publish(&note(1, "3"));
    assert_eq!(refused, (false, "rate-limited: too many events from this connection, wait 1 s".to_owned()));
    assert_eq!(client.publish(&note(1, "0")).1, "duplicate: already have this event", "a duplicate costs nothing");
    assert!(client.query("{}").is_ok() && client.query("{}").is_ok());
    assert_eq!(client.query("{}").unwrap_err(), "rate-limited: too many queries from this connection, wait 1 s");
    assert!(house.client().publish(&note(1, "3")).0, "another connection has its own");
    house.clock.set_ms((NOW + 1) * 1_000);
    assert!(client.publish(&note(1, "4")).0 && client.query("{}").is_ok());
}

#[test]
fn kept_answers_of_the_intake_come_before_eose_once() {
    let wallet = Arc::new(Wallet::default());
    let house = House::with(Setup { intake: Arc::clone(&wallet) as Arc<dyn Intake>, ..Setup::default() });
    let request_id = "5".repeat(64);
    let answer = signed(9, 23_195, NOW, &[&["p", &key_hex(1)], &["e", &request_id]], "paid");
    let other = signed(9, 23_195, NOW - 5, &[&["p", &key_hex(2)]], "for another");
    wallet.kept.lock().extend([super::support::packed(&answer), super::support::packed(&other)]);
    let (wallet_key, client_key) = (key_hex(9), key_hex(1));
    for filter in [
        format!(r##"{{"kinds":[23195],"authors":["{wallet_key}"],"#e":["{request_id}"]}}"##),
        format!(r##"{{"kinds":[23195],"#e":["{request_id}"],"#p":["{client_key}"]}}"##),
        format!(r##"{{"kinds":[23195],"#e":["{request_id}"],"limit":1}}"##),
        format!(r##"{{"kinds":[23195],"#p":["{client_key}"],"limit":1}}"##),
        format!(r##"{{"kinds":[23195],"authors":["{wallet_key}"],"#p":["{client_key}"]}},{{"#e":["{request_id}"]}}"##),
        format!(r##"{{"kinds":[23195],"authors":["{wallet_key}"],"since":{NOW},"limit":1}}"##),
    ] {
        let mut client = house.client();
        assert_eq!(client.query(&filter).unwrap(), ["paid"], "{filter}");
        // Published a moment later: the same answer is not sent twice on one subscription.
        house.live.publish_ephemeral(&super::support::packed(&answer));
        assert!(client.frames().is_empty(), "{filter}");
    }
    let limit_zero = format!(r##"{{"kinds":[23195],"authors":["{wallet_key}"],"#p":["{client_key}"],"limit":0}}"##);
    assert!(house.client().query(&limit_zero).unwrap().is_empty());
    assert!(house.client().query(r#"{"kinds":[23195]}"#).unwrap().is_empty());
    assert_eq!(house.client().query(&format!(r#"{{"authors":["{wallet_key}"]}}"#)).unwrap(), ["paid", "for another"]);
}
