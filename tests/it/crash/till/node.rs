//! The node behind a till, and the moment at which the till is struck.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hearth::base::amount::Msat;
use hearth::base::clock::Clock;
use hearth::base::hex32::PaymentHash;
use hearth::base::secret::Secret;
use hearth::wallet::backend::embedded::{self, Embedded};
use hearth::wallet::backend::{
    Answer, Backend, BackendError, Capabilities, Info, LookupOrder, LookupResult, MadeInvoice, NewInvoice, SendOrder, SendResult,
};
use hearth::wallet::money::types::Preimage;

use super::super::disk::{Control, Fault, When};
use super::room::say;
use super::{FEE_MSAT, Point, Said, bare_preimage, preimage};

/// Requests that the node knows the preimages of.
pub(super) const REQUESTS_MAX: u64 = 2_000;
/// So long the node needs before it admits that a payment was made.
const NODE_IS_SLOW: Duration = Duration::from_secs(2);
/// Files of the journal, and not the anchor beside them: its sync of the commit before may come at any time.
const JOURNAL: &str = "/wallet/0";

/// Where this process is to be struck, and how.
#[derive(Clone)]
pub(super) struct Strike {
    point: Option<Point>,
    fault: Fault,
    control: Arc<Control>,
    /// It strikes once.
    is_over: Arc<AtomicBool>,
}

impl Strike {
    pub(super) fn of_environment() -> Option<Self> {
        let word = std::env::var("TILL_STRIKE").ok()?;
        let (point, fault) = word.split_once(' ').unwrap();
        let point = Point::ALL.into_iter().find(|one| format!("{one:?}") == point);
        let fault = match fault {
            "kill" => Fault::Kill,
            "fail" => Fault::Fail,
            delay => Fault::Delay { ms: delay.parse().unwrap() },
        };
        let control = Control::open(Path::new(&std::env::var_os("DISK_CONTROL").unwrap()));
        Some(Self { point, fault, control: Arc::new(control), is_over: Arc::default() })
    }

    /// This point is reached.
    pub(super) fn at(&self, point: Point) {
        if self.point != Some(point) || self.is_over.swap(true, Ordering::AcqRel) {
            return;
        }
        match (point, self.fault) {
            (Point::W0 | Point::W4, fault) => self.control.arm(fault, When::Before, 1, JOURNAL),
            (Point::W0Anchor | Point::W4Anchor, fault) => self.control.arm(fault, When::Before, 1, "/wallet/ANCHOR"),
            (_, Fault::Kill) => strike_dead(),
            (_, Fault::Fail) => self.control.arm(Fault::Fail, When::Before, 1, JOURNAL),
            (_, Fault::Delay { ms }) => thread::sleep(Duration::from_millis(u64::try_from(ms).unwrap())),
        }
    }
}

#[expect(unsafe_code, reason = "std has no way to send a signal")]
fn strike_dead() {
    // SAFETY: plain system calls without memory of ours.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
    }
}

/// A node that pays everything, keeps its own books in a file, refuses a second payment of one hash, and never forgets.
pub(super) struct Node {
    embedded: Embedded,
    /// Every payment that may come, with its number and its preimage.
    payments: HashMap<PaymentHash, (u64, Preimage)>,
    book: PathBuf,
    strike: Option<Strike>,
    /// Milliseconds that a payment takes at most.
    latency_ms: u64,
}

impl Node {
    /// One with its books in this file.
    pub(super) fn new(book: PathBuf, strike: Option<Strike>, latency_ms: u64) -> Self {
        let both = |number| [preimage(number), bare_preimage(number)].map(|preimage| (preimage.hash(), (number, preimage)));
        let payments = (0..REQUESTS_MAX).flat_map(both).collect();
        Self { embedded: embedded(), payments, book, strike, latency_ms }
    }

    fn strike(&self, point: Point) {
        if let Some(strike) = &self.strike {
            strike.at(point);
        }
    }

    fn strikes_at(&self, point: Point) -> bool {
        self.strike.as_ref().is_some_and(|strike| strike.point == Some(point))
    }

    /// The order is still under way when this process may be gone.
    #[expect(clippy::zombie_processes, reason = "it outlives this process, which is about to die")]
    fn take_in_a_second(&self, number: u64, order: &SendOrder) {
        let line = format!("{number} {} {}", order.amount.get(), Clock::system().now_ms() + 1_000);
        let mut later = Command::new("sh");
        later.args(["-c", "sleep 1; echo \"$0\" >> \"$1\"", &line]).arg(&self.book).env_remove("LD_PRELOAD");
        later.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    }

    /// When it took the order, unix milliseconds.
    fn taken_at_ms(&self, number: u64) -> Option<u64> {
        let book = std::fs::read_to_string(&self.book).unwrap();
        let line = book.lines().find(|line| line.split(' ').next() == Some(&number.to_string()))?;
        Some(line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    fn take(&self, number: u64, order: &SendOrder) {
        let line = format!("{number} {} {}\n", order.amount.get(), Clock::system().now_ms());
        let mut book = std::fs::OpenOptions::new().append(true).open(&self.book).unwrap();
        book.write_all(line.as_bytes()).unwrap();
    }
}

impl Backend for Node {
    fn name(&self) -> &'static str {
        "node"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { outside: true, refuses_second: true, keysend: true, ..Capabilities::default() }
    }

    fn info(&self) -> Info {
        self.embedded.info()
    }

    fn send(&self, order: SendOrder, done: Answer<SendResult>) {
        let (number, preimage) = self.payments[&order.hash];
        say(&Said::Sends(number));
        self.strike(Point::W1);
        if self.taken_at_ms(number).is_some() {
            return done(SendResult::Unknown("payment is in transition".to_owned()));
        }
        if self.strikes_at(Point::W2) {
            self.take_in_a_second(number, &order);
            self.strike(Point::W2);
            return done(SendResult::Unknown("the stream was cut".to_owned()));
        }
        self.take(number, &order);
        self.strike(Point::W3);
        let (strike, latency_ms) = (self.strike.clone(), self.latency_ms);
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(if latency_ms == 0 { 0 } else { rand::random::<u64>() % latency_ms }));
            if let Some(strike) = strike {
                strike.at(Point::W4);
                strike.at(Point::W4Anchor);
            }
            done(SendResult::Settled { preimage, fee: Msat::new(FEE_MSAT).unwrap() });
        });
    }

    fn lookup(&self, order: LookupOrder, done: Answer<LookupResult>) {
        let (number, preimage) = self.payments[&order.hash];
        let now_ms = Clock::system().now_ms();
        let slow_ms = u64::try_from(NODE_IS_SLOW.as_millis()).unwrap();
        done(match self.taken_at_ms(number) {
            None => LookupResult::NotFound,
            Some(at_ms) if now_ms < at_ms + slow_ms / 2 => LookupResult::NotFound,
            Some(at_ms) if now_ms < at_ms + slow_ms => LookupResult::Pending,
            Some(_) => LookupResult::Settled { preimage, fee: Msat::new(FEE_MSAT).unwrap() },
        });
    }

    fn make_invoice(&self, order: NewInvoice, done: Answer<Result<MadeInvoice, BackendError>>) {
        self.embedded.make_invoice(order, done);
    }
}

/// The secrets of every till.
pub(super) fn embedded() -> Embedded {
    Embedded::new(&Secret::new([5; 32]), &embedded::Config::default()).unwrap()
}

/// A node that says nothing.
pub(super) struct Silent(pub(super) Embedded);

impl Backend for Silent {
    fn name(&self) -> &'static str {
        "silent"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { outside: true, refuses_second: true, keysend: true, ..Capabilities::default() }
    }

    fn info(&self) -> Info {
        self.0.info()
    }

    fn send(&self, _order: SendOrder, done: Answer<SendResult>) {
        done(SendResult::Unknown("silent".to_owned()));
    }

    fn lookup(&self, _order: LookupOrder, done: Answer<LookupResult>) {
        done(LookupResult::Unknown("silent".to_owned()));
    }

    fn make_invoice(&self, order: NewInvoice, done: Answer<Result<MadeInvoice, BackendError>>) {
        self.0.make_invoice(order, done);
    }
}
