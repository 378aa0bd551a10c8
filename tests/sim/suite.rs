//! The tests of the simulator, and the figures that they print whether they pass or not.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::super::super::planted::Bug;
use super::exhaustive::{Backend, Small, search};
use super::random::{Run, run};

/// Seeds of one run of the suite; `SIM_SEEDS` sets another number.
const SEEDS: u64 = 20_000;
/// A planted mistake must be found within so many.
const SEEDS_OF_A_BUG: u64 = 2_000;
/// Threads that run seeds.
const THREADS: usize = 2;
/// Fewer states than these in all small worlds together: then something is not tried that was.
const STATES_MIN: usize = 1_000_000;
/// Most states of one small world.
const STATES_MAX: usize = 400_000;

/// Past the test harness, which shows only what failed.
fn figure(words: &str) {
    let _ = writeln!(std::io::stderr(), "sim: {words}");
}

fn number(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a test's own setting")]
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// A seed; a panic of the core is a failure like others.
fn try_seed(seed: u64, bug: Option<Bug>, is_loud: bool) -> Result<Run, String> {
    let run = catch_unwind(AssertUnwindSafe(|| run(seed, bug, is_loud))).map_err(|_| format!("seed {seed} panics"))?;
    match &run.verdict {
        Ok(()) => Ok(run),
        Err(words) => Err(format!("{words}\nagain: SEED={}\n{:#?}", run.options.seed, run.options)),
    }
}

#[test]
fn seeds_break_no_invariant() {
    // A planted mistake by its number, to look at how it is found.
    let bug = number("SIM_BUG").and_then(|at| Bug::ALL.get(usize::try_from(at).ok()?).copied());
    if let Some(seed) = number("SEED") {
        let run = try_seed(seed, bug, true).unwrap_or_else(|words| panic!("{words}"));
        return println!("seed {seed}: {} steps, trace {:016x}", run.length, run.trace);
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let (next, steps) = (AtomicU64::new(0), AtomicU64::new(0));
    // With `SIM_ALL` set, the first failure does not end the run.
    let (all, broken) = (number("SIM_ALL").is_some(), Mutex::new(Vec::new()));
    let since = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while all || broken.lock().is_empty() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    match try_seed(seed, bug, false) {
                        Ok(run) => drop(steps.fetch_add(run.length, Ordering::Relaxed)),
                        Err(words) => broken.lock().push((seed, words)),
                    }
                }
            });
        }
    });
    let took_s = since.elapsed().as_secs_f64();
    let steps = steps.into_inner();
    figure(&format!(
        "{seeds} seeds in {took_s:.1} s on {THREADS} threads: {:.0} seeds a second, {steps} steps",
        seeds as f64 / took_s
    ));
    let mut broken = broken.into_inner();
    broken.sort();
    for (seed, words) in broken.iter().skip(1) {
        figure(&format!("seed {seed} too: {}", words.lines().next().unwrap_or_default()));
    }
    if let Some((_, words)) = broken.first() {
        panic!("{words}");
    }
    assert!(steps > seeds * 60, "{steps} steps are too few for {seeds} seeds");
}

#[test]
fn a_seed_replays_exactly() {
    let mut traces = std::collections::BTreeSet::new();
    for seed in [3, 77, 1_234, 19_999] {
        let (first, second) = (run(seed, None, false), run(seed, None, false));
        assert_eq!((first.trace, first.length, first.verdict), (second.trace, second.length, second.verdict), "seed {seed}");
        traces.insert(first.trace);
    }
    assert_eq!(traces.len(), 4, "different seeds are different runs");
}

/// Every invariant in every order of two requests for one hash, with crashes anywhere.
#[test]
fn two_requests_of_one_hash_in_every_order() {
    let since = Instant::now();
    let states_max = number("SIM_STATES").and_then(|most| usize::try_from(most).ok()).unwrap_or(STATES_MAX);
    let mut all = Vec::new();
    for backend in [Backend::Accepts, Backend::Rejects, Backend::Hangs, Backend::Lies] {
        for refuses_second in [true, false] {
            for is_one_connection in [true, false] {
                // With lies, every lapse of time would multiply what is many already.
                let waits = u8::from(backend != Backend::Lies);
                for (asks, crashes, waits, repeats) in [(1, 1, waits, 0), (2, 1, 0, 0), (1, 2, 0, 0), (1, 1, 0, 1)] {
                    all.push(Small { backend, refuses_second, is_one_connection, bug: None, asks, crashes, waits, repeats });
                }
            }
        }
    }
    let (next, sum) = (AtomicU64::new(0), Mutex::new((0, 0, 0)));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(small) = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok().and_then(|at| all.get(at)) {
                    let found = search(*small, states_max).unwrap_or_else(|words| panic!("{words}"));
                    let mut sum = sum.lock();
                    *sum = (sum.0 + found.states, sum.1 + found.steps, sum.2 + found.healed);
                }
            });
        }
    });
    let (states, steps, healed) = sum.into_inner();
    let took_s = since.elapsed().as_secs_f64();
    figure(&format!(
        "{states} states, {steps} steps, healed from {healed}: all orders of {} small worlds in {took_s:.1} s",
        all.len()
    ));
    assert!(states > STATES_MIN && healed > states / 32, "{states} states, healed from {healed}");
}

/// The mistake is found within [`SEEDS_OF_A_BUG`] seeds, none of which fails without it.
fn is_found(bug: Bug) {
    let found = (0..SEEDS_OF_A_BUG).find_map(|seed| Some((seed, try_seed(seed, Some(bug), false).err()?)));
    let (seed, words) = found.unwrap_or_else(|| panic!("{bug:?} goes unseen in {SEEDS_OF_A_BUG} seeds"));
    figure(&format!("{bug:?} found by seed {seed}: {}", words.lines().next().unwrap_or_default()));
    if let Err(words) = try_seed(seed, None, false) {
        panic!("seed {seed} fails without {bug:?} too: {words}");
    }
}

/// One test a mistake.
macro_rules! planted {
    ($($name:ident: $bug:ident,)+) => {
        $(#[test] fn $name() { is_found(Bug::$bug); })+
    };
}

planted! {
    a_send_before_the_sync_is_found: SendBeforeSync,
    a_time_out_taken_for_a_failure_is_found: TimeOutIsFailed,
    a_budget_that_counts_settled_payments_only_is_found: BudgetCountsSettledOnly,
    requests_remembered_in_memory_only_are_found: DedupeInMemoryOnly,
    money_given_back_because_nobody_knows_of_it_is_found: ReleaseOnNotFound,
    a_retry_with_a_new_hash_is_found: ResolveAgainOnRetry,
    the_amount_of_the_request_against_that_of_the_invoice_is_found: AmountOfRequest,
    a_fee_that_does_not_count_is_found: FeeNotCounted,
    an_answer_that_is_not_stored_is_found: AnswerNotStored,
    a_hold_released_at_restart_is_found: HoldReleasedAtRestart,
    questions_that_wait_for_a_clock_that_went_back_are_found: QuestionsWaitForTheClock,
    a_payment_driven_again_under_its_old_number_is_found: DrivenUnderOneNumber,
    an_answer_that_counts_as_often_as_it_comes_is_found: AnswersCountForQuestions,
    a_report_that_is_refused_for_ever_is_found: WhatIsOverIsRefused,
}
