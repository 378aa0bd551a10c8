//! Files that are not what was written: flipped bits, a log that is gone, a copy from yesterday. The wallet notices all of it, or reads
//! exactly what it would have read; the event store gives an error or nothing, never another event.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};

use hearth::base::clock::Clock;
use hearth::protocol::event::{Draft, EventLimits};
use hearth::protocol::filter::Filter;
use hearth::store::{self, ScanLimits, Step, Store};
use hearth::wallet::money::Money;
use hearth::wallet::money::types::{KnownAnswer, ListQuery, Viewer};
use rand::Rng;

use super::disk::{random, scratch};
use super::till::{self, Kind, Said, Till};
use crate::support::{Event, Key, PATIENCE};

const FLIPS: usize = 1_000;
const EVENT_FLIPS: usize = 300;
const PAYMENTS: u64 = 40;
/// Directories that are opened at a time.
const AT_A_TIME: usize = 2;

pub(super) type Files = BTreeMap<String, Vec<u8>>;

pub(super) fn files_of(dir: &Path) -> Files {
    let files = std::fs::read_dir(dir).unwrap().flatten().filter(|file| file.file_type().unwrap().is_file());
    files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())).collect()
}

fn put(files: &Files, dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
}

/// A wallet with a past: some of it in tables, some in a log, and the MANIFEST of two lives.
fn wallet_with_a_past() -> Till {
    let mut till = Till::new();
    for life in 0..2 {
        assert_eq!(till.start(None, |_| {}), Some(Said::Ready));
        let numbers = life * PAYMENTS / 2..(life + 1) * PAYMENTS / 2;
        let mut open = numbers.end - numbers.start;
        numbers.for_each(|number| till.pay(number, Kind::of(number)));
        while open > 0 {
            open -= u64::from(matches!(till.hear().expect("it lives"), Said::Answer(..)));
        }
        if life == 0 { till.close() } else { drop(till.kill()) }
    }
    till
}

/// Everything that anybody can read of a wallet.
fn readout(money: &Money) -> Result<String, String> {
    let mut text = format!("{:?}\n{:?}\n", money.accounts(), money.connections());
    for number in 0..PAYMENTS {
        match till::known(money, number) {
            Some(KnownAnswer::Answered(event)) => text += event.json(),
            Some(KnownAnswer::Pending) => text += "pending",
            None => text += "unknown",
        }
        let found = money.lookup(Viewer::Owner, &till::selector(number)).map_err(|error| error.to_string())?;
        text += &format!("\n{found:?}\n");
    }
    let query = ListQuery { limit: Some(200), unpaid: true, count: true, ..ListQuery::default() };
    let page = money.list(Viewer::Owner, &query).map_err(|error| error.to_string())?;
    Ok(format!("{text}{page:?}\n{}", money.status().seq))
}

/// What became of a damaged wallet.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Refused(String),
    SafeMode(String),
    Unreadable(String),
    /// All is read, and the owner is told that something is damaged.
    Alarm(String),
    Read(String),
}

fn look(dir: &Path) -> Seen {
    let money = match till::open_quietly(dir) {
        Ok(money) => money,
        Err(error) => return Seen::Refused(error.to_string()),
    };
    if let Some(why) = money.status().safe_mode {
        return Seen::SafeMode(why);
    }
    let is_alarmed = money.status().alarm_count > 0;
    match readout(&money) {
        Ok(text) if is_alarmed => Seen::Alarm(text),
        Ok(text) => Seen::Read(text),
        Err(why) => Seen::Unreadable(why),
    }
}

/// The same, with a bound: a start that hangs is the worst of all answers.
fn look_in_time(files: &Files, what: &str) -> Seen {
    let scratch = scratch();
    let dir = scratch.path().join("wallet");
    put(files, &dir);
    let (tell, told) = sync_channel(1);
    std::thread::spawn(move || drop(tell.send(look(&dir))));
    match told.recv_timeout(PATIENCE) {
        Ok(seen) => seen,
        Err(RecvTimeoutError::Timeout) => panic!("{what}: opening it hangs"),
        Err(RecvTimeoutError::Disconnected) => panic!("{what}: it panicked"),
    }
}

/// Runs so many numbered experiments on a few threads and gathers how they ended.
fn experiments(count: usize, one: impl Fn(usize) -> Result<String, String> + Sync) -> BTreeMap<String, usize> {
    let next = AtomicUsize::new(0);
    let (ends, failed): (Mutex<BTreeMap<String, usize>>, Mutex<Vec<String>>) = Default::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    match one(number) {
                        Ok(end) => *ends.lock().unwrap().entry(end).or_default() += 1,
                        Err(why) => failed.lock().unwrap().push(why),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {count} failed:\n{}", failed.len(), failed[..failed.len().min(10)].join("\n"));
    ends.into_inner().unwrap()
}

/// A place in one of the files; what matters most is struck most.
fn place(files: &Files, random: &mut impl Rng) -> (String, usize, u8) {
    let kind =
        [".log", ".log", ".sst", ".sst", ".sst", "MANIFEST-", "MANIFEST-", "ANCHOR", "ANCHOR", ""][random.random_range(0..10)];
    let names: Vec<&String> =
        files.iter().filter(|(name, bytes)| name.contains(kind) && !bytes.is_empty()).map(|(name, _)| name).collect();
    let name = names[random.random_range(0..names.len())].clone();
    let bytes = &files[&name];
    // What is zero at the end of a file is room, not data.
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
    (name, random.random_range(0..used), random.random_range(0..8))
}

#[test]
fn a_flipped_bit_anywhere_in_the_wallet_is_noticed_or_changes_nothing() {
    let files = files_of(&wallet_with_a_past().wallet());
    assert!(["ANCHOR", ".log", ".sst", "MANIFEST-", "CURRENT"].iter().all(|part| files.keys().any(|name| name.contains(part))));
    let Seen::Read(whole) = look_in_time(&files, "undamaged") else { panic!("the undamaged wallet is not read") };
    let (seed, mut random) = random(20_261_126);
    let places: Vec<_> = (0..FLIPS).map(|_| place(&files, &mut random)).collect();
    let ends = experiments(FLIPS, |number| {
        let (name, at, bit) = &places[number];
        let mut files = files.clone();
        files.get_mut(name).unwrap()[*at] ^= 1 << bit;
        let what = format!("bit {bit} of byte {at} of {name}");
        let end = match look_in_time(&files, &what) {
            Seen::Refused(_) => "refused",
            Seen::SafeMode(_) => "safe mode",
            Seen::Unreadable(_) => "unreadable",
            Seen::Alarm(text) if text == whole => "alarm",
            Seen::Read(text) if text == whole => "no effect",
            Seen::Read(_) | Seen::Alarm(_) => return Err(format!("{what}: something else is read, and nothing is said")),
        };
        let family = ["ANCHOR", "MANIFEST", "CURRENT", ".log", ".sst"].into_iter().find(|part| name.contains(part));
        Ok(format!("{} {end}", family.unwrap_or("other")))
    });
    println!("{FLIPS} flips (seed {seed}): {ends:?}");
    let detected: usize = ends.iter().filter(|(end, _)| !end.ends_with("no effect")).map(|(_, count)| count).sum();
    assert!(detected > FLIPS * 4 / 5, "too little was noticed: {ends:?}");
    // What tells where the journal ended, and what was acknowledged last.
    let silent = |family: &str| ends.get(&format!("{family} no effect")).copied().unwrap_or(0);
    assert_eq!((silent("ANCHOR"), silent("CURRENT")), (0, 0), "{ends:?}");
}

/// Nothing is paid, reading goes on, the words say what to do.
fn is_safe(till: &mut Till) {
    assert_eq!(till.start(None, |_| {}), Some(Said::Ready));
    let Said::Status { safe_mode, .. } = till.status() else { unreachable!() };
    let why = safe_mode.expect("safe mode");
    assert!(why.contains("Nothing is paid") && why.contains("copy"), "what to do is not said: {why}");
    till.pay(300, Kind::Bolt11);
    loop {
        match till.hear().expect("it lives") {
            Said::Refused(300, words) => {
                assert!(words.contains("safe mode"), "{words}");
                break;
            }
            Said::Durable(300) | Said::Sends(_) => panic!("it pays in safe mode"),
            _ => {}
        }
    }
    assert!(!till.taken().contains_key(&300));
}

#[test]
fn a_deleted_log_means_safe_mode() {
    let mut till = wallet_with_a_past();
    let mut deleted = 0;
    for name in files_of(&till.wallet()).keys().filter(|name| name.ends_with(".log")) {
        std::fs::remove_file(till.wallet().join(name)).unwrap();
        deleted += 1;
    }
    assert!(deleted > 0);
    is_safe(&mut till);
}

#[test]
fn an_older_copy_of_the_database_beside_the_anchor_of_today_means_safe_mode() {
    let mut till = wallet_with_a_past();
    let yesterday = files_of(&till.wallet());
    assert_eq!(till.start(None, |_| {}), Some(Said::Ready));
    till.pay(200, Kind::Bolt11);
    while !matches!(till.hear(), Some(Said::Answer(200, ..))) {}
    till.kill();
    let anchor = std::fs::read(till.wallet().join("ANCHOR")).unwrap();
    std::fs::remove_dir_all(till.wallet()).unwrap();
    put(&yesterday, &till.wallet());
    std::fs::write(till.wallet().join("ANCHOR"), anchor).unwrap();
    is_safe(&mut till);
}

#[test]
fn a_missing_anchor_means_safe_mode() {
    let mut till = wallet_with_a_past();
    std::fs::remove_file(till.wallet().join("ANCHOR")).unwrap();
    is_safe(&mut till);
}

#[test]
fn a_missing_current_or_table_or_manifest_is_refused_with_words() {
    let files = files_of(&wallet_with_a_past().wallet());
    for part in ["CURRENT", ".sst", "MANIFEST-"] {
        let mut files = files.clone();
        let name = files.keys().find(|name| name.contains(part)).unwrap().clone();
        files.remove(&name);
        match look_in_time(&files, part) {
            Seen::Refused(words) => assert!(words.contains("wallet"), "{part}: {words}"),
            other => panic!("{part} was missed by nobody: {other:?}"),
        }
    }
}

/// A copy made file by file while it runs is no backup; but it opens as a beginning of what was, or says what is wrong.
#[test]
fn a_copy_of_the_running_wallet_is_a_beginning_or_says_what_is_wrong() {
    let mut till = Till::new();
    assert_eq!(till.start(None, |_| {}), Some(Said::Ready));
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for copy in 0..20_u64 {
        (0..4).for_each(|n| till.pay(copy * 4 + n, Kind::Bolt11));
        let mut files = Files::new();
        let names: Vec<_> = std::fs::read_dir(till.wallet()).unwrap().flatten().collect();
        for file in names {
            // A file may be gone before it is its turn.
            if let Ok(bytes) = std::fs::read(file.path()) {
                files.insert(file.file_name().into_string().unwrap(), bytes);
            }
        }
        let end = match look_in_time(&files, "a copy") {
            Seen::Read(_) | Seen::Alarm(_) => "a beginning",
            Seen::SafeMode(words) | Seen::Refused(words) => {
                assert!(!words.is_empty());
                "says what is wrong"
            }
            Seen::Unreadable(words) => panic!("{words}"),
        };
        *ends.entry(end).or_default() += 1;
    }
    println!("20 copies: {ends:?}");
    assert!(ends.contains_key("a beginning"), "{ends:?}");
}

fn store_in(dir: &Path) -> Result<Store, store::OpenError> {
    let config = store::Config { cache_bytes: 1 << 20, hot_bytes: 1 << 20, ..store::Config::default() };
    Store::open(dir, &config, Clock::system(), Box::new(|_, _| {}))
}

fn publish(store: &Store, notes: &[Event]) {
    let (tell, told) = sync_channel(notes.len());
    for note in notes {
        let event = Draft::parse(&note.json()).unwrap().pack(&EventLimits::default()).unwrap();
        let tell = tell.clone();
        store.append(event, Box::new(move |appended| tell.send(appended).unwrap()));
    }
    for _ in notes {
        assert!(matches!(told.recv_timeout(PATIENCE), Ok(store::Appended::Stored { .. })));
    }
}

/// What a damaged store shows: every event by its id, and all of them by a query.
fn shown(dir: &Path, notes: &[Event]) -> Result<(usize, usize, usize), String> {
    let Ok(store) = store_in(dir) else { return Ok((0, 0, notes.len())) };
    let (mut right, mut absent, mut errors) = (0, 0, 0);
    for note in notes {
        match store.get(&till::id(&note.id)) {
            Ok(Some(event)) if event.json() == note.json() => right += 1,
            Ok(Some(event)) => return Err(format!("another event: {}", event.json())),
            Ok(None) => absent += 1,
            Err(_) => errors += 1,
        }
    }
    let filters: std::sync::Arc<[Filter]> = vec![Filter::default()].into();
    let mut wrong = None;
    if let Ok(mut scan) = store.scan(filters, &ScanLimits { default_limit: 5_000, max_limit: 5_000 }) {
        loop {
            let step = scan.run(std::time::Instant::now() + PATIENCE, &mut |event| {
                if !notes.iter().any(|note| note.json() == event.json()) {
                    wrong = Some(event.json().to_owned());
                }
                std::ops::ControlFlow::Continue(())
            });
            if !matches!(step, Ok(Step::More)) {
                break;
            }
        }
    }
    wrong.map_or(Ok((right, absent, errors)), |wrong| Err(format!("another event by query: {wrong}")))
}

#[test]
fn a_flipped_bit_in_the_event_store_never_shows_another_event() {
    let base = scratch();
    let key = Key::seeded(7);
    let notes: Vec<Event> =
        (0..400).map(|n| key.event_at(1_790_000_000 + n, 1, &format!("{n} {}", "y".repeat(200)), &[&["t", "flip"]])).collect();
    let store = store_in(base.path()).unwrap();
    publish(&store, &notes[..300]);
    store.close();
    drop(store);
    let store = super::unlocked(|| store_in(base.path()), |error| error.to_string()).unwrap();
    publish(&store, &notes[300..]);
    drop(store);
    let files = files_of(base.path());
    let (seed, mut random) = random(20_261_127);
    let places: Vec<_> = (0..EVENT_FLIPS)
        .map(|_| {
            loop {
                let place = place_in_store(&files, &mut random);
                if place.0 != "LOG" {
                    return place;
                }
            }
        })
        .collect();
    let ends = experiments(EVENT_FLIPS, |number| {
        let (name, at, bit) = &places[number];
        let mut files = files.clone();
        files.get_mut(name).unwrap()[*at] ^= 1 << bit;
        let scratch = scratch();
        put(&files, scratch.path());
        let what = format!("bit {bit} of byte {at} of {name}");
        let (right, absent, errors) = shown(scratch.path(), &notes).map_err(|why| format!("{what}: {why}"))?;
        Ok(match (right, absent, errors) {
            (_, 0, 0) => "no effect",
            (0, 0, _) => "refused",
            (_, 0, _) => "some unreadable",
            (0, ..) => "nothing is shown",
            _ => "some missing",
        }
        .to_owned())
    });
    println!("{EVENT_FLIPS} flips in the event store (seed {seed}): {ends:?}");
    assert!(ends.keys().any(|end| end != "no effect"), "hardly anything was struck: {ends:?}");
}

fn place_in_store(files: &Files, random: &mut impl Rng) -> (String, usize, u8) {
    let kind = [".log", ".sst", ".sst", "MANIFEST-", "CURRENT"][random.random_range(0..5)];
    let names: Vec<&String> =
        files.iter().filter(|(name, bytes)| name.contains(kind) && !bytes.is_empty()).map(|(name, _)| name).collect();
    let name = names[random.random_range(0..names.len())].clone();
    let at = random.random_range(0..files[&name].len());
    (name, at, random.random_range(0..8))
}
