//! The rules of NIP-01, NIP-09 and NIP-40 on a real store: whatever the order of arrival, the same state.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::model;
use super::support::{
    NOW_S, append, append_all, deletion, event, eventually, everything, filter, key, open, permutations, query,
};
use crate::protocol::event::Event;
use crate::store::Appended;

/// Puts each order of the events into the store under an author of its own, one by one or all at once, and compares.
fn same_in_any_order(make: impl Fn(u64) -> Vec<Event>) {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let orders = permutations(&(0..make(0).len()).collect::<Vec<_>>());
    for (author, order) in orders.iter().enumerate() {
        for at_once in [false, true] {
            let author = 2 * author as u64 + u64::from(at_once);
            let events = make(author);
            let arriving: Vec<_> = order.iter().map(|place| events[*place].clone()).collect();
            if at_once {
                append_all(&store, &arriving);
            } else {
                arriving.chunks(1).for_each(|one| drop(append_all(&store, one)));
            }
            let found = query(&store, &[filter(&format!(r#"{{"authors":["{}"]}}"#, key(author)))]);
            assert_eq!(found, model::stored(&events), "order {order:?}, at once: {at_once}");
        }
    }
}

#[test]
fn versions_arrive_in_any_order() {
    same_in_any_order(|author| {
        vec![
            event(author, 0, 50, &[], "old"),
            event(author, 0, 51, &[], "a tie"),
            event(author, 0, 51, &[], "another tie"),
            event(author, 0, 51, &[], "a third"),
            event(author, 10_002, 49, &[], "another kind"),
        ]
    });
}

#[test]
fn deletions_and_versions_arrive_in_any_order() {
    same_in_any_order(|author| {
        let newest = event(author, 30_023, 60, &[&["d", "x"]], "newest");
        let address = format!("30023:{}:x", key(author));
        vec![
            event(author, 30_023, 40, &[&["d", "x"]], "old"),
            event(author, 30_023, 50, &[&["d", "x"]], "newer"),
            newest.clone(),
            deletion(author, 70, &[("e", newest.id().to_string())]),
            deletion(author, 45, &[("a", address)]),
        ]
    });
}

#[test]
fn deletions_of_notes_and_of_deletions_arrive_in_any_order() {
    same_in_any_order(|author| {
        let note = event(author, 1, 50, &[], "gone");
        let first = deletion(author, 60, &[("e", note.id().to_string())]);
        let second = deletion(author, 61, &[("e", first.id().to_string())]);
        let address = format!("0:{}:", key(author));
        vec![note, first, second, event(author, 0, 50, &[], ""), deletion(author, 50, &[("a", address)])]
    });
}

#[test]
fn random_histories_in_random_orders_end_the_same() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    for round in 0..12 {
        let mut events = Vec::new();
        for number in 0..60 {
            let (author, time) = (rng.random_range(0..2), rng.random_range(40..50));
            let d = ["x", "y"][rng.random_range(0..2)];
            events.push(match rng.random_range(0..6) {
                0 => event(author, 1, time, &[], &number.to_string()),
                1 => event(author, 0, time, &[], &number.to_string()),
                2 | 3 => event(author, 30_000, time, &[&["d", d]], &number.to_string()),
                4 => deletion(author, time, &[("a", format!("30000:{}:{d}", key(author)))]),
                _ => {
                    let targets = (0..3).map(|_| ("e", events.get(rng.random_range(0..60))));
                    let targets: Vec<_> =
                        targets.filter_map(|(e, event): (_, Option<&Event>)| Some((e, event?.id().to_string()))).collect();
                    deletion(author, time, &targets)
                }
            });
        }
        let expected = model::stored(&events);
        for order in 0..4 {
            events.shuffle(&mut rng);
            let (store, _) = open(&dir.path().join(format!("{round}-{order}")));
            for chunk in events.chunks(rng.random_range(1..60)) {
                append_all(&store, chunk);
            }
            assert_eq!(everything(&store), expected, "seed {seed}, round {round}, order {order}");
            assert_eq!(store.stats().events, expected.len() as u64, "seed {seed}, round {round}, order {order}");
        }
    }
}

#[test]
fn what_is_deleted_or_replaced_stays_away() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let note = event(1, 1, 50, &[&["t", "x"]], "");
    let (old, new) = (event(1, 0, 50, &[], ""), event(1, 0, 51, &[], ""));
    assert_eq!(append(&store, &note), Appended::Stored { seq: 1 });
    assert_eq!(append(&store, &note), Appended::Duplicate);
    assert_eq!(append(&store, &old), Appended::Stored { seq: 2 });
    assert_eq!(append(&store, &new), Appended::Stored { seq: 3 });
    assert_eq!(append(&store, &old), Appended::Superseded);
    assert!(store.has(&note.id()) && store.has(&new.id()) && !store.has(&old.id()));
    assert_eq!(append(&store, &deletion(1, 60, &[("e", note.id().to_string())])), Appended::Stored { seq: 4 });
    assert!(!store.has(&note.id()));
    assert_eq!(append(&store, &note), Appended::Deleted);
    assert_eq!(store.get(&note.id()).unwrap(), None);
    assert_eq!(store.get(&new.id()).unwrap(), Some(new));
    assert_eq!(query(&store, &[filter(r##"{"#t":["x"]}"##)]), []);
    assert_eq!(append(&store, &event(1, 22_242, 50, &[], "")), Appended::Ephemeral);
}

#[test]
fn expired_events_are_hidden_at_once_and_removed_soon() {
    let dir = tempfile::tempdir().unwrap();
    let (store, clock) = open(dir.path());
    let expiring = |number: u64, after: u64| {
        event(
            number,
            if number.is_multiple_of(2) { 1 } else { 30_000 },
            50,
            &[&["expiration", &(NOW_S + after).to_string()], &["t", "x"]],
            "",
        )
    };
    let events: Vec<_> = (0..600).map(|number| expiring(number, 10)).collect();
    append_all(&store, &events);
    let lasting = expiring(1_000, 1_000);
    append(&store, &lasting);
    let tagged = [filter(r##"{"#t":["x"],"limit":5000}"##)];
    assert_eq!(query(&store, &tagged).len(), 601);
    assert_eq!(store.count(&tagged, 10_000).unwrap().count, 601);
    clock.set_ms((NOW_S + 10) * 1_000);
    assert_eq!(query(&store, &tagged), std::slice::from_ref(&lasting));
    assert_eq!(store.count(&tagged, 10_000).unwrap().count, 1);
    assert_eq!(store.get(&events[0].id()).unwrap(), None);
    assert_eq!(append(&store, &expiring(2_000, 10)), Appended::Expired);
    eventually("expired events are removed", || store.stats().events == 1);
    assert!(!store.has(&events[0].id()));
    assert_eq!(everything(&store), [lasting]);
    // The address of an expired version is free again.
    assert!(matches!(append(&store, &event(1, 30_000, 40, &[], "older")), Appended::Stored { .. }));
}
