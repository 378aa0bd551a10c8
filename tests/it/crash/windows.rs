//! The crash windows W0 to W7 (ARCHITECTURE.md, "The way of one wallet request"): in each the process is killed, or its disk fails, or
//! everything stands still for five seconds; then it heals. A node behind it counts what it was really asked to pay.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rand::Rng;

use super::disk::{Disk, Fault, When};
use super::till::{AMOUNT_MSAT, FEE_MSAT, FUNDED_MSAT, Kind, Point, Said, Till, later};
use crate::support::PATIENCE;

/// Processes at a time; they mostly wait.
const AT_A_TIME: usize = 12;

/// One case.
#[derive(Clone, Copy, Debug)]
struct Case {
    point: Point,
    fault: Fault,
    kind: Kind,
    /// Payments at once.
    parallel: u64,
}

/// The cases of one fault.
fn cases(fault: Fault) -> Vec<Case> {
    let mut cases = Vec::new();
    for point in Point::ALL {
        for kind in Kind::ALL {
            cases.extend([1, 8].map(|parallel| Case { point, fault, kind, parallel }));
        }
    }
    cases
}

fn run_all(cases: &[Case]) {
    let next = AtomicUsize::new(0);
    let struck = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = std::panic::catch_unwind(|| run(*case));
                    match result {
                        Ok(()) => drop(struck.fetch_add(1, Ordering::Relaxed)),
                        Err(_) => failed.lock().unwrap().push(*case),
                    }
                }
            });
        }
    });
    println!("{} of {} cases: paid once, answered once", struck.into_inner(), cases.len());
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), cases.len());
}

/// Answers by request: every one must be the same each time it is heard.
#[derive(Default)]
struct Answers(HashMap<u64, (String, String)>);

impl Answers {
    fn hear(&mut self, said: &Said) {
        if let Said::Answer(number, hash, words) = said {
            let before = self.0.entry(*number).or_insert_with(|| (hash.clone(), words.clone()));
            assert_eq!((&before.0, &before.1), (hash, words), "request {number} was answered twice differently");
        }
    }

    fn has_all(&self, requests: u64) -> bool {
        (0..requests).all(|number| self.0.contains_key(&number))
    }
}

fn word(fault: Fault) -> String {
    match fault {
        Fault::Kill => "kill".to_owned(),
        Fault::Fail => "fail".to_owned(),
        Fault::Delay { ms } => ms.to_string(),
    }
}

fn run(case: Case) {
    let _place = super::Place::take();
    let (disk, mut till) = (Disk::new(), Till::new());
    let strike = format!("{:?} {}", case.point, word(case.fault));
    let first = till.start(Some(&disk), |command| {
        command.env("TILL_STRIKE", strike);
    });
    assert_eq!(first, Some(Said::Ready), "{case:?}");
    (0..case.parallel).for_each(|number| till.pay(number, case.kind));
    let mut answers = Answers::default();
    match case.fault {
        Fault::Kill => {
            let (said, code) = till.end();
            assert_eq!(code, None, "{case:?}: it was not killed: {said:?}");
            said.iter().for_each(|said| answers.hear(said));
        }
        Fault::Fail => fail(&mut till, case, &mut answers),
        Fault::Delay { .. } => {
            // Impatient clients repeat.
            (0..case.parallel).for_each(|number| till.pay(number, case.kind));
            hear_all(&mut till, case.parallel, &mut answers);
            till.kill().iter().for_each(|said| answers.hear(said));
        }
    }
    let taken = till.taken();
    assert!(taken.values().all(|times| *times == 1), "{case:?}: {taken:?}");

    assert_eq!(till.start(None, |_| {}), Some(Said::Ready), "{case:?}: after the restart");
    (0..case.parallel).for_each(|number| till.pay(number, case.kind));
    hear_all(&mut till, case.parallel, &mut answers);
    everything_is_paid_once(&mut till, case.parallel, &answers);
}

/// The disk fails: nothing is sent or acknowledged afterwards, and the process ends with 74. The anchor is synced beside the
/// payments: what the journal has is sent and answered until that sync has failed.
fn fail(till: &mut Till, case: Case, answers: &mut Answers) {
    // After the last answer nothing has to be written; so something is.
    let mut extra = false;
    let is_of_anchor = matches!(case.point, Point::W0Anchor | Point::W4Anchor);
    let mut last_words = false;
    loop {
        if answers.has_all(case.parallel) && !extra {
            extra = true;
            till.pay(900, case.kind);
        }
        match till.hear() {
            Some(Said::Fatal(_)) => last_words = true,
            Some(said @ (Said::Durable(_) | Said::Answer(..) | Said::Sends(_))) => {
                assert!(!last_words, "{case:?}: after the failure: {said:?}");
                assert!(is_of_anchor || !matches!(said, Said::Answer(900, ..)), "{case:?}");
                answers.hear(&said);
            }
            Some(_) => {}
            None => break,
        }
    }
    let (_, code) = till.end();
    assert!(last_words, "{case:?}: it did not say why");
    assert_eq!(code, Some(74), "{case:?}");
    if case.point == Point::W0 && case.parallel == 1 {
        assert!(till.taken().is_empty(), "{case:?}: sent although the intent was not on the disk");
    }
}

/// Waits until every request is answered, with a bound.
fn hear_all(till: &mut Till, requests: u64, answers: &mut Answers) {
    let until = later(PATIENCE);
    while !answers.has_all(requests) {
        let patience = until.saturating_duration_since(Instant::now());
        match till.hear_within(patience) {
            Ok(Some(said)) => answers.hear(&said),
            Ok(None) => panic!("it ended while it was to answer"),
            Err(()) => panic!("not answered after {PATIENCE:?}: {} of {requests} are", answers.0.len()),
        }
    }
}

fn everything_is_paid_once(till: &mut Till, requests: u64, answers: &Answers) {
    for number in 0..requests {
        let words = &answers.0[&number].1;
        assert!(words.starts_with("paid "), "request {number}: {words}");
    }
    let taken = till.taken();
    let extra = taken.get(&900).copied().unwrap_or(0) as u64;
    assert!(taken.values().all(|times| *times == 1), "paid twice: {taken:?}");
    assert_eq!(taken.len() as u64, requests + extra, "lost or invented: {taken:?}");
    // The one that provoked a failure may have been written and is then paid too.
    let until = later(PATIENCE);
    loop {
        let Said::Status { spendable_msat, in_flight, safe_mode, alarms } = till.status() else { unreachable!() };
        assert_eq!((safe_mode, alarms), (None, 0));
        if in_flight > 0 && Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(200));
            continue;
        }
        assert_eq!(in_flight, 0, "never resolved");
        let paid = till.taken().len() as u64;
        assert_eq!(spendable_msat, FUNDED_MSAT - paid * (AMOUNT_MSAT + FEE_MSAT), "a debit is lost or doubled");
        return;
    }
}

#[test]
fn killed_in_every_window_a_payment_is_made_once_and_answered() {
    run_all(&cases(Fault::Kill));
}

#[test]
fn a_sync_that_fails_in_any_window_sends_nothing_more_and_ends_with_74() {
    run_all(&cases(Fault::Fail));
}

#[test]
fn five_seconds_in_any_window_are_no_failure() {
    run_all(&cases(Fault::Delay { ms: 5_000 }));
}

/// W7: the restart itself is struck, at each of its syncs, twenty times in a row.
#[test]
fn twenty_crashes_during_recovery_converge() {
    let requests = 8;
    let mut till = Till::new();
    let disk = Disk::new();
    assert_eq!(
        till.start(Some(&disk), |command| {
            command.env("TILL_STRIKE", "W3 kill");
        }),
        Some(Said::Ready)
    );
    (0..requests).for_each(|number| till.pay(number, Kind::Bolt11));
    let mut answers = Answers::default();
    till.end().0.iter().for_each(|said| answers.hear(said));
    let mut before_ready = 0;
    for crash in 0..20 {
        let disk = Disk::new();
        let when = if crash % 2 == 0 { When::Before } else { When::After };
        disk.control().arm(Fault::Kill, when, 1 + crash / 2, "/wallet");
        match till.start(Some(&disk), |_| {}) {
            None => {
                before_ready += 1;
                assert_eq!(till.end().1, None);
            }
            Some(_) => till.kill().iter().for_each(|said| answers.hear(said)),
        }
    }
    println!("20 crashes, {before_ready} of them before it was open");
    assert!(before_ready >= 10, "the kills came too late to show anything: {before_ready}");
    for fault in [Fault::Fail, Fault::Delay { ms: 5_000 }] {
        let disk = Disk::new();
        disk.control().arm(fault, When::Before, 2, "/wallet");
        let first = till.start(Some(&disk), |_| {});
        assert_eq!(disk.control().fired(), 1);
        match fault {
            Fault::Fail => assert!(!matches!(till.end().1, Some(0)), "{first:?}: it must not serve on a failing disk"),
            _ => drop(till.kill()),
        }
    }
    assert_eq!(till.start(None, |_| {}), Some(Said::Ready));
    (0..requests).for_each(|number| till.pay(number, Kind::Bolt11));
    hear_all(&mut till, requests, &mut answers);
    everything_is_paid_once(&mut till, requests, &answers);
}

/// Kills at random moments, with payments always under way, on one directory.
#[test]
fn sixty_random_kills_lose_and_double_nothing() {
    const KILLS: u64 = 60;
    const OPEN_MAX: u64 = 28;
    let (seed, mut random) = super::disk::random(20_261_125);
    let mut till = Till::new();
    let mut answers = Answers::default();
    let mut asked = 0;
    for kill in 0..KILLS {
        let disk = Disk::new();
        if kill % 3 == 0 {
            let when = if random.random_bool(0.5) { When::Before } else { When::After };
            disk.control().arm(Fault::Kill, when, random.random_range(1..24), "/wallet");
        }
        let first = till.start(Some(&disk), |command| {
            command.env("TILL_LATENCY_MS", "30");
        });
        if first == Some(Said::Ready) {
            // A connection may have 32 payments under way; more are refused, and a refusal is no answer.
            if asked - (answers.0.len() as u64) < OPEN_MAX {
                asked += 4;
            }
            for number in 0..asked {
                if !answers.0.contains_key(&number) || number % 16 == kill % 16 {
                    till.pay(number, Kind::of(number));
                }
            }
            let until = later(std::time::Duration::from_millis(random.random_range(0..150)));
            while let Ok(Some(said)) = till.hear_within(until.saturating_duration_since(Instant::now())) {
                answers.hear(&said);
            }
        }
        till.kill().iter().for_each(|said| answers.hear(said));
    }
    println!("{KILLS} kills, {} of {asked} answered before the last one (seed {seed})", answers.0.len());
    assert_eq!(till.start(None, |_| {}), Some(Said::Ready));
    for number in 0..asked {
        till.pay(number, Kind::of(number));
    }
    hear_all(&mut till, asked, &mut answers);
    everything_is_paid_once(&mut till, asked, &answers);
}
