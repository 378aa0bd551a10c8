//! What stays after a crash, a failed disk, a second start; and what the writer tells whom in which order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::model;
use super::support::{NOW_S, append, append_all, event, eventually, everything, open, open_with};
use crate::base::clock::Clock;
use crate::kv::{self, Batch, Db, Family, FamilySpec, Shape};
use crate::store::{Appended, Config, OpenError, Store};

#[test]
fn a_drop_without_close_keeps_all_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for round in 0..5_u64 {
        let (store, _) = open(dir.path());
        assert_eq!(store.seq(), 100 * round);
        assert_eq!(store.stats().events, 100 * round);
        let events: Vec<_> = (0..100).map(|number| event(number, 1, 100 * round + number, &[&["t", "x"]], "")).collect();
        append_all(&store, &events);
        all.extend(events);
        if round % 2 == 1 {
            store.close();
            store.close();
            assert_eq!(append(&store, &event(1, 1, 1, &[], "late")), Appended::Busy);
        }
        drop(store);
    }
    let (store, _) = open(dir.path());
    assert_eq!(everything(&store), model::in_order(all));
}

#[test]
fn numbers_are_never_used_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (store, clock) = open(dir.path());
    append(&store, &event(1, 1, 50, &[&["expiration", &(NOW_S + 1).to_string()]], ""));
    clock.set_ms((NOW_S + 1) * 1_000);
    eventually("it is removed", || store.stats().events == 0);
    drop(store);
    let (store, _) = open(dir.path());
    assert_eq!(append(&store, &event(1, 1, 51, &[], "")), Appended::Stored { seq: 2 });
}

#[test]
fn a_failed_write_poisons_the_store_and_says_so_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::default();
    let (store, _) = open_with(dir.path(), &config);
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&told);
    store.on_fatal(Box::new(move |words| hook.lock().unwrap().push(words)));
    let events: Vec<_> = (0..4).map(|number| event(number, 1, 50, &[], "")).collect();
    assert_eq!(append(&store, &events[0]), Appended::Stored { seq: 1 });
    config.faults.fail_after(0);
    assert_eq!(append(&store, &events[1]), Appended::Failed);
    assert_eq!(append(&store, &events[2]), Appended::Failed);
    assert_eq!(append_all(&store, &events), [Appended::Failed; 4]);
    eventually("the hook is called", || told.lock().unwrap().len() == 1);
    assert!(store.stats().is_poisoned);
    assert_eq!((store.seq(), everything(&store).len()), (1, 1), "reading goes on");
    let late = Arc::new(OnceLock::new());
    let hook = Arc::clone(&late);
    store.on_fatal(Box::new(move |words| hook.set(words).unwrap()));
    assert!(late.get().is_some(), "a hook that comes late is told at once");
    drop(store);
    let (store, _) = open(dir.path());
    assert_eq!(append(&store, &events[1]), Appended::Stored { seq: 2 });
}

#[test]
fn a_second_start_and_strange_directories_are_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str| Store::open(&dir.path().join(name), &Config::default(), Clock::system(), Box::new(|_, _| {}));
    let words = |name: &str| start(name).err().unwrap().to_string();
    let store = start("ours").unwrap();
    assert!(words("ours").contains("is in use by another process"));
    drop(store);
    std::fs::create_dir(dir.path().join("home")).unwrap();
    std::fs::write(dir.path().join("home/letter.txt"), "dear").unwrap();
    assert!(words("home").contains("is not empty and is no event store"));
    drop(Db::open(&dir.path().join("other"), &[FamilySpec::new("journal", Shape::Log)], &kv::Config::default()).unwrap());
    assert!(words("other").contains("\"journal\""));
    let newer = dir.path().join("newer");
    drop(start("newer").unwrap());
    set_format(&newer, 2);
    assert!(matches!(start("newer"), Err(OpenError::OtherFormat { found: 2, known: 1, .. })));
    set_format(&newer, 1);
    start("newer").unwrap();
}

fn set_format(dir: &std::path::Path, format: u32) {
    let config = kv::Config::default();
    let names = ["events", "ids", "time", "authors", "author_kinds", "kinds", "tags", "addresses", "expiry", "deleted", "meta"];
    // Only the one family is looked at; how the others are shaped does not matter here.
    let families = names.map(|name| FamilySpec::new(name, Shape::Small));
    let db = Db::open(dir, &families, &config).unwrap();
    let mut batch = Batch::new();
    batch.put(Family::nth(10), b"format", &format.to_be_bytes());
    db.commit(&batch, kv::Sync::Yes).unwrap();
}

#[test]
fn live_listeners_hear_every_event_once_in_order_after_it_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let store: Arc<OnceLock<Store>> = Arc::default();
    let behind = Arc::new(AtomicU64::new(0));
    let (list, opened, late) = (Arc::clone(&heard), Arc::clone(&store), Arc::clone(&behind));
    let on_commit = Box::new(move |events: &[(u64, crate::protocol::event::Event)], _: &mut dyn FnMut()| {
        let readable = opened.get().map_or(0, Store::seq);
        let last = events.last().map_or(0, |(seq, _)| *seq);
        late.fetch_add(u64::from(readable < last), Ordering::Relaxed);
        list.lock().unwrap().extend(events.iter().map(|(seq, event)| (*seq, event.id())));
    });
    let opened = Store::open(dir.path(), &Config::default(), Clock::manual(NOW_S * 1_000), on_commit).unwrap();
    store.set(opened.clone()).ok().unwrap();
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            let store = opened.clone();
            std::thread::spawn(move || {
                let events: Vec<_> = (0..200).map(|number| event(thread, 1, number, &[], "")).collect();
                append_all(&store, &events);
                append_all(&store, &events[..50]);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    opened.close();
    let heard = heard.lock().unwrap();
    assert_eq!(heard.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..=800).collect::<Vec<_>>());
    assert_eq!(behind.load(Ordering::Relaxed), 0);
    let stats = opened.stats();
    assert_eq!((stats.events, stats.batched_events, stats.queued_events, stats.queued_bytes), (800, 800, 0, 0));
}

#[test]
fn a_full_queue_is_answered_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open_with(dir.path(), &Config { queue_bytes: 10, ..Config::default() });
    assert_eq!(append(&store, &event(1, 1, 1, &[], "")), Appended::Busy);
    assert_eq!(store.stats().queued_bytes, 0);
}
