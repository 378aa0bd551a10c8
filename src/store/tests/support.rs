//! Making events, and a store to put them into.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::base::clock::Clock;
use crate::base::hex32::{Hex32, PublicKey};
use crate::protocol::event::{Draft, Event, EventLimits};
use crate::protocol::filter::Filter;
use crate::store::{Appended, Config, ScanLimits, Step, Store};

/// What the clock of a test store says unless the test moves it.
pub(in crate::store) const NOW_S: u64 = 1_000_000;

/// A key for each number.
pub(in crate::store) fn key(number: u64) -> PublicKey {
    Hex32(Sha256::digest(number.to_be_bytes()).into())
}

/// An event with a right id and no signature; the store does not look at it.
pub(in crate::store) fn event(author: u64, kind: u16, created_at: u64, tags: &[&[&str]], content: &str) -> Event {
    let tags: Vec<Vec<String>> = tags.iter().map(|tag| tag.iter().map(|item| (*item).to_owned()).collect()).collect();
    event_of(key(author), kind, created_at, &tags, content)
}

/// The same from owned parts.
pub(in crate::store) fn event_of(author: PublicKey, kind: u16, created_at: u64, tags: &[Vec<String>], content: &str) -> Event {
    let hashed = serde_json::json!([0, author, created_at, kind, tags, content]).to_string();
    let id = Hex32(Sha256::digest(hashed).into());
    let json = serde_json::json!({
        "id": id, "pubkey": author, "created_at": created_at, "kind": kind, "tags": tags, "content": content,
        "sig": "0".repeat(128),
    })
    .to_string();
    Draft::parse(&json).unwrap().pack(&EventLimits::default()).unwrap()
}

/// A deletion request for these `e` and `a` values.
pub(in crate::store) fn deletion(author: u64, created_at: u64, targets: &[(&str, String)]) -> Event {
    let tags: Vec<_> = targets.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect();
    event_of(key(author), 5, created_at, &tags, "")
}

/// Opens a store whose clock stands at [`NOW_S`].
pub(in crate::store) fn open(dir: &Path) -> (Store, Clock) {
    open_with(dir, &Config::default())
}

pub(in crate::store) fn open_with(dir: &Path, config: &Config) -> (Store, Clock) {
    let clock = Clock::manual(NOW_S * 1_000);
    (Store::open(dir, config, clock.clone(), Box::new(|_, _| {})).unwrap(), clock)
}

/// Hands over all events at once and waits for all verdicts.
pub(in crate::store) fn append_all(store: &Store, events: &[Event]) -> Vec<Appended> {
    let (send, verdicts) = mpsc::channel();
    for (place, event) in events.iter().enumerate() {
        let send = send.clone();
        store.append(event.clone(), Box::new(move |appended| send.send((place, appended)).unwrap()));
    }
    drop(send);
    let mut all = vec![Appended::Busy; events.len()];
    let mut told = 0;
    while told < events.len() {
        let (place, appended) = verdicts.recv_timeout(Duration::from_secs(20)).expect("every append is answered");
        all[place] = appended;
        told += 1;
    }
    all
}

pub(in crate::store) fn append(store: &Store, event: &Event) -> Appended {
    append_all(store, std::slice::from_ref(event))[0]
}

pub(in crate::store) fn filter(json: &str) -> Filter {
    serde_json::from_str(json).unwrap()
}

/// Runs a query to its end.
pub(in crate::store) fn query(store: &Store, filters: &[Filter]) -> Vec<Event> {
    let mut scan = store.scan(Arc::from(filters), &ScanLimits::default()).unwrap();
    let mut found = Vec::new();
    let mut emit = |event| {
        found.push(event);
        ControlFlow::Continue(())
    };
    while scan.run(Instant::now() + Duration::from_secs(1), &mut emit).unwrap() == Step::More {}
    found
}

/// Everything that is stored, in order.
pub(in crate::store) fn everything(store: &Store) -> Vec<Event> {
    query(store, &[filter(r#"{"limit":5000}"#)])
}

/// Waits until something is so.
pub(in crate::store) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// All orders of a list.
pub(in crate::store) fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let mut rest = items.to_vec();
        rest.remove(place);
        for mut order in permutations(&rest) {
            order.insert(0, item.clone());
            all.push(order);
        }
    }
    all
}
