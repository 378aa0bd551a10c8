//! The power goes: everything that a real run asked of its disk is recorded, and from the record thousands of disks are built that
//! may be left. Each must open, without doubt about the journal, and hold everything that had been promised by then.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use hearth::base::clock::Clock;
use hearth::base::hex32::decode_lower;
use hearth::base::secret::Secret;
use hearth::kv;
use hearth::store::{self, Store};
use hearth::wallet::backend::embedded::{self, Embedded};
use hearth::wallet::money::types::KnownAnswer;
use hearth::wallet::money::{Limits, Money, Parts, WAITING_MAX};
use rand::Rng;
use serde_json::json;

use super::disk::{Disk, random, scratch};
use super::record::{self, Ground, Loss, Op, Picture, make, name, sent};
use super::till::{self, Kind, Pen, Said, Till, id};
use crate::support::{App, Event, Hearth, Key};

/// States of each record; `make test` looks at both.
const STATES: usize = 1_050;
/// States of each record on a disk that keeps any of the sectors that were not synced.
const SECTOR_STATES: usize = 400;
/// Databases that are opened at a time.
const AT_A_TIME: usize = 2;

/// Something that was told to a client, and where in the record.
struct Promise<T> {
    from: usize,
    what: T,
}

/// Looks at many states of a record: on a disk that keeps a beginning of what was not synced each must open and be whole; on one that
/// keeps any sectors of it, it may also say that it is damaged, in which file, and what to do.
fn each_state(ops: &[Op], root: &Path, seed: u64, look: impl Fn(&Path, &Picture, usize) -> Result<(), String> + Sync) {
    each_state_of(&[Loss::Everything, Loss::Tail, Loss::Tail, Loss::Tail, Loss::Nothing], STATES, ops, root, seed, &look);
    let refused = Mutex::new(BTreeMap::<&str, usize>::new());
    each_state_of(&[Loss::Sectors], SECTOR_STATES, ops, root, seed, &|dir, picture, cut| {
        let mut looked = look(dir, picture, cut);
        // One file may stand in the way of the next.
        for _ in 0..4 {
            let Err(words) = &looked else { break };
            let Some(file) = give_up_as_told(words) else { break };
            *refused.lock().unwrap().entry(file).or_default() += 1;
            looked = super::unlocked(|| look(dir, picture, cut), Clone::clone);
        }
        match looked {
            // Several records of a MANIFEST are written at once: which of them counts is not for words to say.
            Err(words) if words.contains("MANIFEST-") && words.contains("Keep a copy of the directory") => {
                *refused.lock().unwrap().entry("MANIFEST, for somebody to look at").or_default() += 1;
                Ok(())
            }
            other => other,
        }
    });
    let refused = refused.into_inner().unwrap();
    println!("{SECTOR_STATES} states with sectors lost in any order; refused, and whole after what the words say: {refused:?}");
}

/// Does what a refusal tells the owner to do: `truncate -s BYTES FILE`. Which kind of file it was; `None` if nothing of that is told.
fn give_up_as_told(words: &str) -> Option<&'static str> {
    if !words.contains("is damaged: ") && !words.contains("does not open: ") {
        return None;
    }
    assert!(words.contains("Keep a copy of the directory"), "what to do is not said: {words}");
    let (_, command) = words.split_once("`truncate -s ")?;
    let (bytes, path) = command.split_once('`')?.0.split_once(' ')?;
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(bytes.parse().unwrap()).unwrap();
    Some(["MANIFEST", "events", "wallet"].into_iter().find(|part| path.contains(part)).unwrap_or("other"))
}

/// Builds that many different states and hands each to `look` with the number of things that had happened and how it was lost.
fn each_state_of(
    losses: &[Loss],
    states: usize,
    ops: &[Op],
    root: &Path,
    seed: u64,
    look: &(impl Fn(&Path, &Picture, usize) -> Result<(), String> + Sync),
) {
    let (seed, mut random) = random(seed);
    let (hand, take) = sync_channel::<(usize, Loss, Picture)>(4);
    let take = Mutex::new(take);
    let failed: Mutex<Vec<String>> = Mutex::default();
    let mut seen = HashSet::new();
    let mut by_loss: BTreeMap<String, usize> = BTreeMap::new();
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Ok((cut, loss, picture)) = take.lock().unwrap().recv() else { return };
                    let scratch = scratch();
                    make(&picture, scratch.path());
                    if let Err(why) = look(scratch.path(), &picture, cut) {
                        let mut failed = failed.lock().unwrap();
                        failed.push(format!("after {cut} of {} steps, {loss:?} unsynced lost: {why}", ops.len()));
                    }
                }
            });
        }
        // Rounds over all moments, each with other losses, until there are enough.
        let mut round = 0;
        while seen.len() < states && round < 100 {
            let mut ground = Ground::new(root);
            let step = (ops.len() * 4 / states).max(1);
            let offset = random.random_range(0..step);
            for (index, op) in ops.iter().enumerate() {
                ground.play(op);
                let is_sync = matches!(op, Op::SyncFile(_) | Op::SyncDirectory(_) | Op::Rename(..));
                if seen.len() >= states || (index % step != offset && !(is_sync && random.random_bool(0.3))) {
                    continue;
                }
                let loss = losses[(round + index) % losses.len()];
                let picture = ground.after_power_loss(loss, &mut random);
                if seen.insert(name(&picture)) {
                    *by_loss.entry(format!("{loss:?}")).or_default() += 1;
                    hand.send((index + 1, loss, picture)).unwrap();
                }
            }
            round += 1;
        }
        drop(hand);
    });
    let failed = failed.into_inner().unwrap();
    println!("{} states of {} steps {by_loss:?} (seed {seed}), {} failed", seen.len(), ops.len(), failed.len());
    assert!(failed.is_empty(), "{} states:\n{}", failed.len(), failed[..failed.len().min(12)].join("\n"));
    assert!(seen.len() >= states, "only {} different states", seen.len());
}

/// Payments to the outside, in two lives, the first closed in order.
#[test]
fn whatever_the_wallet_promised_is_there_after_the_power_goes() {
    let (disk, mut till) = (Disk::new(), Till::new());
    let mut heard = Vec::new();
    for life in 0..2 {
        let root = till.root();
        assert_eq!(till.start(None, |command| disk.records(command, &root)), Some(Said::Ready));
        for batch in 0..3 {
            let numbers: Vec<u64> = (0..5).map(|n| life * 15 + batch * 5 + n).collect();
            numbers.iter().for_each(|number| till.pay(*number, Kind::of(*number)));
            let mut open: HashSet<u64> = numbers.into_iter().collect();
            while !open.is_empty() {
                let said = till.hear().expect("it lives");
                if let Said::Answer(number, ..) = &said {
                    open.remove(number);
                }
                heard.push(said);
            }
        }
        if life == 0 { till.close() } else { drop(till.kill()) }
    }
    let ops = record::read(&disk.record());
    let promises: Vec<Promise<Said>> = heard
        .into_iter()
        .filter(|said| matches!(said, Said::Durable(_) | Said::Sends(_) | Said::Answer(..)))
        .map(|said| Promise { from: sent(&ops, said.line().as_bytes()).expect("it was recorded"), what: said })
        .collect();
    let ready = sent(&ops, Said::Ready.line().as_bytes()).unwrap();
    println!("{} promises", promises.len());
    each_state(&ops, &till.root(), 1, |dir, _, cut| {
        let wallet = dir.join("wallet");
        if !wallet.exists() {
            return if cut > ready { Err("the wallet's directory is gone".to_owned()) } else { Ok(()) };
        }
        let money = till::open_quietly(&wallet).map_err(|error| error.to_string())?;
        if let Some(why) = money.status().safe_mode {
            return Err(format!("safe mode: {why}"));
        }
        if cut > ready && till::account(&money).is_none() {
            return Err("the account is gone".to_owned());
        }
        promises.iter().filter(|promise| promise.from < cut).try_for_each(|promise| kept(&money, &promise.what))
    });
}

fn kept(money: &Money, said: &Said) -> Result<(), String> {
    let is_kept = match said {
        Said::Durable(number) | Said::Sends(number) => till::known(money, *number).is_some(),
        Said::Answer(number, ..) => match till::known(money, *number) {
            Some(KnownAnswer::Answered(event)) => till::answered(*number, &event) == *said,
            _ => false,
        },
        _ => true,
    };
    if is_kept { Ok(()) } else { Err(format!("not kept: {}", said.line().trim_end())) }
}

/// What the real program promised over its socket.
enum Told {
    /// OK true for an event that stays, by its place in the order of publication.
    Stored(usize),
    /// The answer of a payment.
    Answer(Box<Event>),
}

/// Notes and payments inside on the real program, in two lives, from an empty directory on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_hearth_acknowledged_is_there_after_the_power_goes() {
    let disk = Disk::new();
    let mut hearth = Hearth::prepared("[rates]\nenabled = false\n[log]\nlevel = \"warn\"\n");
    let mut environment = disk.environment(hearth.dir());
    environment.push(("DISK_RECORD", disk.record()));
    hearth.set_environment(environment);
    let (mut notes, mut answers): (Vec<Event>, Vec<Event>) = (Vec::new(), Vec::new());
    let mut pair = None;
    for life in 0..2 {
        hearth.launch();
        if pair.is_none() {
            let payer = App::connect(&hearth, "payer", &["--account", "payer"]);
            hearth.fund("payer", 1_000_000);
            pair = Some((payer, App::connect(&hearth, "payee", &["--account", "payee"])));
        }
        let (payer, payee) = pair.as_ref().unwrap();
        let mut client = hearth.client().await;
        let key = Key::seeded(life);
        for n in 0..40_u64 {
            let note = key.note(&format!("{n} {}", "x".repeat(usize::try_from(n * 20).unwrap())));
            client.accept(&note).await;
            notes.push(note);
            if n % 8 == 0 {
                client.accept(&key.event(0, &format!("{{\"name\":\"{n}\"}}"), &[])).await;
            }
            if n % 5 == 0 {
                let invoice = payee.invoice(&mut client, 1_000).await;
                let request = payer.request("pay_invoice", &json!({"invoice": invoice}));
                answers.push(payer.exchange(&mut client, &request).await.1);
            }
        }
        if life == 0 { assert_eq!(hearth.terminate().code(), Some(0)) } else { hearth.kill() }
    }
    let ops = record::read(&disk.record());
    let mut promises = Vec::new();
    for (place, note) in notes.iter().enumerate() {
        let words = format!("[\"OK\",\"{}\",true", note.id);
        promises.push(Promise { from: sent(&ops, words.as_bytes()).expect("it was recorded"), what: Told::Stored(place) });
    }
    for answer in answers {
        let words = format!("\"id\":\"{}\"", answer.id);
        let from = sent(&ops, words.as_bytes()).expect("it was recorded");
        promises.push(Promise { from, what: Told::Answer(Box::new(answer)) });
    }
    println!("{} promises", promises.len());
    let keys = keys_of(&hearth.data());
    let root = hearth.dir().to_owned();
    // Thousands of databases are opened: not on the runtime's threads.
    let looking = tokio::task::spawn_blocking(move || {
        each_state(&ops, &root, 2, |dir, _, cut| {
            let due: Vec<&Told> = promises.iter().filter(|promise| promise.from < cut).map(|promise| &promise.what).collect();
            look(&dir.join("data"), &keys, &notes, &due)
        });
    });
    looking.await.unwrap();
}

fn keys_of(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = std::fs::read_dir(data.join("keys")).into_iter().flatten().flatten();
    files.map(|file| (PathBuf::from(file.file_name()), std::fs::read(file.path()).unwrap())).collect()
}

fn look(data: &Path, keys: &BTreeMap<PathBuf, Vec<u8>>, notes: &[Event], due: &[&Told]) -> Result<(), String> {
    if !due.is_empty() && keys_of(data) != *keys {
        return Err(format!("the keys are not there: {:?}", keys_of(data).keys().collect::<Vec<_>>()));
    }
    let (events, wallet) = (data.join("events"), data.join("wallet"));
    if events.exists() {
        let config = store::Config { cache_bytes: 1 << 20, hot_bytes: 1 << 20, ..store::Config::default() };
        let store = Store::open(&events, &config, Clock::system(), Box::new(|_, _| {})).map_err(|error| error.to_string())?;
        look_at_events(&store, notes, due)?;
    } else if !due.is_empty() {
        return Err("the event store's directory is gone".to_owned());
    }
    let answers: Vec<&Event> =
        due.iter().filter_map(|told| if let Told::Answer(answer) = told { Some(&**answer) } else { None }).collect();
    if wallet.exists() {
        let mut node_key = [5; 32];
        let text = keys.get(Path::new("node-key")).map(|text| &text[..64]).unwrap_or_default();
        decode_lower(text, &mut node_key).ok_or("no node key")?;
        let money = open_wallet(&wallet, node_key)?;
        look_at_answers(&money, &answers)?;
    } else if !answers.is_empty() {
        return Err("the wallet's directory is gone".to_owned());
    }
    Ok(())
}

/// Everything acknowledged, byte for byte; and what is there is a beginning of what was published.
fn look_at_events(store: &Store, notes: &[Event], due: &[&Told]) -> Result<(), String> {
    let mut is_there = Vec::with_capacity(notes.len());
    for note in notes {
        let found = store.get(&id(&note.id)).map_err(|error| error.to_string())?;
        if let Some(found) = &found
            && found.json() != note.json()
        {
            return Err(format!("event {} was changed", note.id));
        }
        is_there.push(found.is_some());
    }
    let first_gap = is_there.iter().position(|there| !there).unwrap_or(notes.len());
    if let Some(stray) = is_there.iter().skip(first_gap).position(|there| *there) {
        return Err(format!("event {} is there without event {first_gap} before it", first_gap + stray));
    }
    for told in due {
        if let Told::Stored(place) = told
            && *place >= first_gap
        {
            return Err(format!("event {place} was acknowledged and is gone"));
        }
    }
    Ok(())
}

fn open_wallet(dir: &Path, node_key: [u8; 32]) -> Result<Money, String> {
    let backend = Embedded::new(&Secret::new(node_key), &embedded::Config::default()).map_err(|error| error.to_string())?;
    let money = Money::open(Parts {
        dir: dir.to_owned(),
        database: kv::Config { cache_bytes: 1 << 20, ..kv::Config::default() },
        limits: Limits::default(),
        waiting_max: WAITING_MAX,
        seed: Secret::new([9; 32]),
        clock: Clock::system(),
        signer: Arc::new(Pen::quiet()),
        backend: Arc::new(backend),
        on_fatal: Box::new(|_| {}),
    });
    let money = money.map_err(|error| error.to_string())?;
    match money.status().safe_mode {
        Some(why) => Err(format!("safe mode: {why}")),
        None => Ok(money),
    }
}

fn look_at_answers(money: &Money, answers: &[&Event]) -> Result<(), String> {
    for answer in answers {
        let request = id(answer.tag("e").unwrap());
        match money.request_answer(&request) {
            Some(KnownAnswer::Answered(event)) if event.json() == answer.json() => {}
            other => return Err(format!("the answer to {request} is {}", if other.is_some() { "another" } else { "gone" })),
        }
    }
    let accounts = money.accounts();
    let sum: i128 = accounts.iter().map(|account| account.balance_msat).sum();
    if sum != 0 && sum != 1_000_000 {
        return Err(format!("the accounts hold {sum} msat"));
    }
    Ok(())
}

/// The recorder itself: what is synced is kept, and the rest may be lost, file by file and entry by entry.
#[test]
fn the_recorder_loses_what_was_not_synced_and_nothing_else() {
    let root = scratch();
    let path = |name: &str| root.path().canonicalize().unwrap().join(name);
    let mut ground = Ground::new(root.path());
    let write = |file, offset, data: &[u8]| Op::Write { file, offset, data: data.to_vec() };
    let open = |file, name: &str| Op::Open { file, path: path(name), created: true, emptied: false };
    for op in [open(1, "a"), write(1, 0, &[1; 600]), Op::SyncFile(1), open(2, "b"), write(2, 0, &[2; 10])] {
        ground.play(&op);
    }
    let (_, mut random) = random(3);
    assert!(ground.after_power_loss(Loss::Everything, &mut random).is_empty(), "no entry was synced");
    ground.play(&Op::SyncDirectory(root.path().canonicalize().unwrap()));
    ground.play(&write(1, 600, &[3; 1_000]));
    ground.play(&Op::Rename(path("b"), path("c")));
    let left = ground.after_power_loss(Loss::Everything, &mut random);
    assert_eq!(left[Path::new("a")].as_deref(), Some(&[1; 600][..]));
    assert_eq!(left[Path::new("b")].as_deref(), Some(&[][..]), "its entry was synced, its bytes were not");
    let left = ground.after_power_loss(Loss::Nothing, &mut random);
    assert_eq!((left[Path::new("a")].as_ref().unwrap().len(), left.contains_key(Path::new("b"))), (1_600, false));
    assert_eq!(left[Path::new("c")].as_deref(), Some(&[2; 10][..]));
    let mut lengths = HashSet::new();
    for _ in 0..200 {
        let left = ground.after_power_loss(Loss::Tail, &mut random);
        let a = left[Path::new("a")].as_ref().unwrap();
        assert!(a[..600].iter().all(|byte| *byte == 1), "what was synced is there");
        lengths.insert(a.len());
    }
    assert_eq!(lengths, HashSet::from([600, 1_024, 1_536, 1_600]), "cut at sectors");
    let again = || ground.after_power_loss(Loss::Tail, &mut super::disk::random(9).1);
    assert_eq!(again(), again(), "the same seed gives the same state");
}
