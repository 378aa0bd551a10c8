//! The crash windows once more, on the whole program: `hearth serve` as it is shipped, a WebSocket client that asks, and a wallet in
//! another process that remembers what it was really told to pay. The program is struck from outside only: at a sync or write of its
//! files (`tests/faults/disk.c`), or by the wallet at the moment at which an order has arrived, was paid, is answered.

mod older_copy;
mod wallet;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::Rng;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::disk::{Disk, Fault, When, random, scratch};
use super::till::{self, AMOUNT_MSAT, FEE_MSAT, FUNDED_MSAT, Kind, Point};
use crate::support::client::Heard;
use crate::support::{App, Client, Event, Hearth, PATIENCE, eventually};
use wallet::{Strike, WALLET, Wallet, paid_once};

/// Programs at a time; they mostly wait.
const AT_A_TIME: usize = 14;
/// EX_IOERR.
const DISK_FAILED: i32 = 74;

/// One case.
#[derive(Clone, Copy, Debug)]
struct Case {
    point: Point,
    fault: Fault,
    kind: Kind,
    /// Payments at once.
    parallel: u64,
}

impl Case {
    /// The cases of one fault; those that wait longest come first.
    fn all(fault: Fault) -> Vec<Self> {
        let mut cases = Vec::new();
        for point in Point::ALL {
            for kind in Kind::ALL {
                cases.extend([1, 8].map(|parallel| Self { point, fault, kind, parallel }));
            }
        }
        cases.sort_by_key(|case| !matches!(case.point, Point::W0 | Point::W0Anchor | Point::W1));
        cases
    }

    /// Whether nothing may need to be sent again: then the wallet is one that pays as often as it is told to. (A disk that fails is
    /// provoked by one more payment, of which only the intent may be there.)
    fn was_sent(&self) -> bool {
        self.parallel == 1 && self.fault != Fault::Fail && !matches!(self.point, Point::W0 | Point::W0Anchor | Point::W1)
    }
}

/// A data directory with an account, its money and a connection, to be copied.
struct Template {
    dir: TempDir,
    app: App,
}

impl Template {
    fn make() -> Self {
        let wallet = Wallet::start(true, 0);
        let mut hearth = Hearth::prepared(&wallet.config());
        hearth.launch();
        let app = App::connect(&hearth, "payer", &["--account", "payer"]);
        hearth.fund("payer", FUNDED_MSAT);
        // The first use of a scheme is written down; it must not be what is struck.
        block_on(async {
            let mut client = hearth.client().await;
            assert_eq!(app.balance(&mut client).await, FUNDED_MSAT);
        });
        assert_eq!(hearth.terminate().code(), Some(0));
        let template = Self { dir: scratch(), app };
        copy(hearth.data(), template.dir.path().join("data"));
        template
    }

    /// A hearth that was never started, with this past.
    fn hearth(&self, wallet: &Wallet) -> Hearth {
        let hearth = Hearth::prepared(&wallet.config());
        copy(self.dir.path().join("data"), hearth.data());
        hearth
    }
}

fn copy(from: PathBuf, to: PathBuf) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Requests, and the answers to them: every one must be the same each time it is heard.
struct Desk {
    app: App,
    requests: Vec<Event>,
    answers: HashMap<String, Event>,
}

impl Desk {
    fn new(app: &App) -> Self {
        Self { app: app.clone(), requests: Vec::new(), answers: HashMap::new() }
    }

    /// The next request, of that kind.
    fn add(&mut self, kind: Kind) -> Event {
        let number = self.requests.len() as u64;
        let request = match kind {
            Kind::Bolt11 => self.app.request("pay_invoice", &json!({"invoice": till::invoice(number, kind)})),
            Kind::Amountless => {
                let invoice = till::invoice(number, kind);
                self.app.request("pay_invoice", &json!({"invoice": invoice, "amount": AMOUNT_MSAT}))
            }
            Kind::Keysend => {
                let preimage = const_hex::encode(till::preimage(number).0);
                let params = json!({"pubkey": till::payee(), "amount": AMOUNT_MSAT, "preimage": preimage});
                self.app.request("pay_keysend", &params)
            }
            Kind::BareKeysend => {
                let params = json!({"pubkey": till::payee(), "amount": AMOUNT_MSAT, "n": number});
                self.app.request("pay_keysend", &params)
            }
        };
        self.requests.push(request.clone());
        request
    }

    /// A client that hears all answers.
    async fn client(&self, hearth: &Hearth) -> Client {
        let mut client = hearth.client().await;
        client.subscribe("answers", &[json!({"kinds": [23_195], "authors": [self.app.wallet]})]).await;
        client
    }

    /// Sends all requests, for the first time or again; the program may be gone.
    async fn send(&self, client: &mut Client, requests: &[Event]) {
        for request in requests {
            drop(client.try_send(format!("[\"EVENT\",{}]", request.json())).await);
        }
    }

    /// Takes notice. True if it is an answer.
    fn hear(&mut self, heard: &Heard) -> bool {
        let Heard::Event(_, json) = heard else { return false };
        let answer: Event = serde_json::from_str(json).unwrap();
        let Some(request) = self.requests.iter().find(|request| answer.tag("e") == Some(&request.id)) else { return false };
        self.app.open(request, &answer);
        let before = self.answers.entry(request.id.clone()).or_insert_with(|| answer.clone());
        assert_eq!(*before, answer, "a request was answered twice differently");
        true
    }

    fn has_all(&self) -> bool {
        self.answers.len() == self.requests.len()
    }

    /// Waits until every request is answered, with a bound.
    async fn hear_all(&mut self, client: &mut Client) {
        let until = tokio::time::Instant::now() + PATIENCE;
        while !self.has_all() {
            let patience = until.saturating_duration_since(tokio::time::Instant::now());
            match client.next_within(patience).await {
                Some(Heard::Gone(..)) => panic!("it ended while it was to answer"),
                Some(Heard::Ok(_, verdict)) => assert!(verdict.accepted, "{verdict:?}"),
                Some(heard) => drop(self.hear(&heard)),
                None => panic!("not answered after {PATIENCE:?}: {} of {} are", self.answers.len(), self.requests.len()),
            }
        }
    }

    /// Heals, asks again, and looks at everything.
    async fn heal(&mut self, hearth: &mut Hearth, wallet: &Wallet) {
        wallet.ledger.strike(None);
        hearth.set_environment(Vec::new());
        hearth.launch();
        let mut client = self.client(hearth).await;
        self.send(&mut client, &self.requests.clone()).await;
        self.hear_all(&mut client).await;
        let book = wallet.ledger.book();
        paid_once(&book).unwrap_or_else(|why| panic!("paid twice: {why}"));
        assert_eq!(book.len(), self.requests.len(), "lost or invented: {book:?}");
        for request in &self.requests {
            let (_, said) = self.app.open(request, &self.answers[&request.id]);
            assert!(said["error"].is_null(), "{said}");
            let preimage = const_hex::decode(said["result"]["preimage"].as_str().unwrap()).unwrap();
            let hash: [u8; 32] = Sha256::digest(preimage).into();
            assert!(book.contains_key(&hash), "an answer for a payment that was never made: {said}");
            assert_eq!(said["result"]["fees_paid"], FEE_MSAT);
        }
        let left = FUNDED_MSAT - book.len() as u64 * (AMOUNT_MSAT + FEE_MSAT);
        assert_eq!(self.app.balance(&mut client).await, left, "a debit is lost or doubled");
        assert_eq!(hearth.figure("nwc_invariant_violations_total").await, 0.0);
        assert_eq!(hearth.figure("wallet_safe_mode").await, 0.0);
    }
}

fn run(case: Case, template: &Template) {
    let _place = super::Place::take();
    let wallet = Wallet::start(!case.was_sent(), 0);
    let mut hearth = template.hearth(&wallet);
    let disk = Arc::new(Disk::new());
    hearth.set_environment(disk.environment(hearth.dir()));
    hearth.launch();
    let strike = Strike::new(case.point, case.fault, &disk);
    strike.aim(hearth.pid());
    wallet.ledger.strike(Some(Arc::clone(&strike)));
    let mut desk = Desk::new(&template.app);
    (0..case.parallel).for_each(|_| drop(desk.add(case.kind)));
    block_on(async {
        let mut client = desk.client(&hearth).await;
        client.settle().await;
        strike.before_requests();
        desk.send(&mut client, &desk.requests.clone()).await;
        match case.fault {
            Fault::Kill => {
                until_gone(&mut desk, &mut client, &strike).await;
                assert_eq!(hearth.wait().code(), None, "{case:?}: it was not killed:\n{}", hearth.log());
            }
            Fault::Fail => fail(&mut desk, &mut client, &strike, &mut hearth, case, &wallet).await,
            Fault::Delay { .. } => {
                // Impatient clients repeat.
                desk.send(&mut client, &desk.requests.clone()).await;
                at_first_answer(&mut desk, &mut client, &strike).await;
                desk.hear_all(&mut client).await;
                hearth.kill();
            }
        }
        paid_once(&wallet.ledger.book()).unwrap_or_else(|why| panic!("{case:?}: {why}"));
        desk.heal(&mut hearth, &wallet).await;
    });
}

/// The strike that is the client's: it has an answer.
async fn at_first_answer(desk: &mut Desk, client: &mut Client, strike: &Strike) {
    loop {
        let heard = client.next().await;
        if desk.hear(&heard) {
            if strike.is_at(Point::W6) {
                strike.now_and_whole().await;
            }
            return;
        }
        assert!(!matches!(heard, Heard::Gone(..)), "it ended");
    }
}

async fn until_gone(desk: &mut Desk, client: &mut Client, strike: &Strike) {
    loop {
        let heard = client.next().await;
        if matches!(heard, Heard::Gone(..)) {
            return;
        }
        if desk.hear(&heard) && strike.is_at(Point::W6) {
            strike.now_and_whole().await;
        }
    }
}

/// The disk fails: the program says why, ends with 74, and has sent nothing that is not written down.
async fn fail(desk: &mut Desk, client: &mut Client, strike: &Strike, hearth: &mut Hearth, case: Case, wallet: &Wallet) {
    // After the last answer nothing has to be written; so something is.
    let mut extra = false;
    let mut is_promised = false;
    loop {
        let heard = client.next().await;
        match &heard {
            Heard::Gone(..) => break,
            Heard::Ok(_, verdict) => is_promised |= verdict.accepted,
            _ => {}
        }
        if desk.hear(&heard) {
            is_promised = true;
            if strike.is_at(Point::W6) {
                strike.now_and_whole().await;
            }
        }
        if desk.has_all() && !extra {
            extra = true;
            let request = desk.add(case.kind);
            desk.send(client, &[request]).await;
        }
    }
    assert_eq!(hearth.wait().code(), Some(DISK_FAILED), "{case:?}:\n{}", hearth.log());
    assert!(hearth.log().contains("a write to disk failed"), "{case:?}: it did not say why:\n{}", hearth.log());
    if case.point == Point::W0 && case.parallel == 1 {
        assert!(!is_promised, "{case:?}: promised although the intent was not on the disk");
        assert!(wallet.ledger.book().is_empty(), "{case:?}: sent although the intent was not on the disk");
    }
}

fn run_all(fault: Fault) {
    let template = Template::make();
    let cases = Case::all(fault);
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(*case, &template)));
                    if result.is_err() {
                        failed.lock().unwrap().push(*case);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    println!("{} of {} cases on the whole program: paid once, answered once", cases.len() - failed.len(), cases.len());
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), cases.len());
}

#[test]
fn the_program_killed_in_every_window_pays_once_and_answers_once() {
    run_all(Fault::Kill);
}

#[test]
fn the_program_on_a_disk_that_fails_in_any_window_ends_with_74_and_pays_once() {
    run_all(Fault::Fail);
}

#[test]
fn the_program_delayed_five_seconds_in_any_window_takes_it_for_no_failure() {
    run_all(Fault::Delay { ms: 5_000 });
}

/// W7: the start of the program is struck, at each of its syncs, twenty times in a row.
#[test]
fn the_program_crashed_twenty_times_during_its_start_converges() {
    let template = Template::make();
    let wallet = Wallet::start(true, 0);
    let mut hearth = template.hearth(&wallet);
    let disk = Arc::new(Disk::new());
    hearth.set_environment(disk.environment(hearth.dir()));
    hearth.launch();
    let strike = Strike::new(Point::W3, Fault::Kill, &disk);
    strike.aim(hearth.pid());
    wallet.ledger.strike(Some(Arc::clone(&strike)));
    let mut desk = Desk::new(&template.app);
    (0..8).for_each(|number| drop(desk.add(Kind::of(number))));
    block_on(async {
        let mut client = desk.client(&hearth).await;
        desk.send(&mut client, &desk.requests.clone()).await;
        until_gone(&mut desk, &mut client, &strike).await;
        assert_eq!(hearth.wait().code(), None);
        let mut before_ready = 0;
        for crash in 0..20 {
            let when = if crash % 2 == 0 { When::Before } else { When::After };
            disk.control().arm(Fault::Kill, when, 1 + crash / 2, WALLET);
            match hearth.try_launch() {
                Err(status) => {
                    assert_eq!(status.code(), None, "{}", hearth.log());
                    before_ready += 1;
                }
                Ok(()) => hearth.kill(),
            }
        }
        println!("20 crashes of the program, {before_ready} of them before it was ready");
        assert!(before_ready >= 10, "the kills came too late to show anything: {before_ready}");
        disk.control().arm(Fault::Fail, When::Before, 2, WALLET);
        let status = hearth.try_launch().expect_err("it must not serve on a failing disk");
        assert!(!status.success(), "{status}");
        disk.control().arm(Fault::Delay { ms: 5_000 }, When::Before, 2, WALLET);
        hearth.launch();
        hearth.kill();
        desk.heal(&mut hearth, &wallet).await;
    });
}

/// Kills at random moments, with payments always under way, on one directory.
#[test]
fn sixty_random_kills_of_the_program_lose_and_double_nothing() {
    const KILLS: u64 = 60;
    const OPEN_MAX: usize = 28;
    let (seed, mut random) = random(20_261_125);
    let template = Template::make();
    let wallet = Wallet::start(true, 30);
    let mut hearth = template.hearth(&wallet);
    let disk = Disk::new();
    let mut desk = Desk::new(&template.app);
    let mut before_ready = 0;
    block_on(async {
        for kill in 0..KILLS {
            hearth.set_environment(disk.environment(hearth.dir()));
            // A third is struck at a sync, a third at a write, wherever that is; all others and the survivors by the clock.
            let when = if random.random_bool(0.5) { When::Before } else { When::After };
            match kill % 3 {
                0 => disk.control().arm(Fault::Kill, when, random.random_range(1..24), WALLET),
                1 => disk.control().arm_write(Fault::Kill, when, random.random_range(1..80), WALLET),
                _ => disk.control().arm(Fault::Kill, when, 0, WALLET),
            }
            if let Err(status) = hearth.try_launch() {
                assert_eq!(status.code(), None, "{}", hearth.log());
                before_ready += 1;
                continue;
            }
            // A connection may have 32 payments under way; more are refused.
            let room = if desk.requests.len() - desk.answers.len() < OPEN_MAX { 4 } else { 0 };
            for _ in 0..room {
                desk.add(Kind::of(desk.requests.len() as u64));
            }
            let Ok(mut client) = Client::try_connect(&hearth.url()).await else {
                hearth.wait();
                continue;
            };
            drop(client.try_send(json!(["REQ", "a", {"kinds": [23_195], "authors": [desk.app.wallet]}]).to_string()).await);
            let is_due = |(number, request): &(usize, &Event)| {
                !desk.answers.contains_key(&request.id) || number % 16 == usize::try_from(kill).unwrap() % 16
            };
            let due: Vec<Event> = desk.requests.iter().enumerate().filter(is_due).map(|(_, request)| request.clone()).collect();
            desk.send(&mut client, &due).await;
            let until = tokio::time::Instant::now() + Duration::from_millis(random.random_range(0..200));
            while let Some(heard) = client.next_within(until.saturating_duration_since(tokio::time::Instant::now())).await {
                if matches!(heard, Heard::Gone(..)) {
                    break;
                }
                desk.hear(&heard);
            }
            hearth.kill();
        }
        let (answered, asked) = (desk.answers.len(), desk.requests.len());
        println!(
            "{KILLS} kills of the program, {before_ready} before it was ready; {answered} of {asked} answered (seed {seed})"
        );
        assert!(answered > 0, "it was hardly ever there: {asked}");
        desk.heal(&mut hearth, &wallet).await;
    });
    eventually_nothing_is_left(&hearth);
}

fn eventually_nothing_is_left(hearth: &Hearth) {
    block_on(eventually("nothing is under way", async || hearth.json(&["wallet", "status"])["payments_unresolved"] == 0));
}
