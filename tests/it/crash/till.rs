//! The money room in a process of its own, with a node behind it whose memory survives every crash: what the tests of this folder
//! start, kill and start again. It is this very test binary, started once more; it takes orders on stdin and tells on stdout.

mod node;
mod room;

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use hearth::base::hex32::Hex32;
use hearth::wallet::money::types::{Preimage, Selector};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use secp256k1::{SECP256K1, SecretKey};
use sha2::{Digest, Sha256};

pub use room::{Pen, account, answered, known, open_quietly};

use super::disk::Disk;
use crate::support::{PATIENCE, now_s};

/// What every payment is about.
pub const AMOUNT_MSAT: u64 = 5_000;
/// What the node takes for it.
pub const FEE_MSAT: u64 = 7;
/// The wallet seed of every till.
const WALLET_SEED: [u8; 32] = [9; 32];
/// What the account starts with.
pub const FUNDED_MSAT: u64 = 1_000_000_000;

/// How a payment is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An invoice with an amount.
    Bolt11,
    /// An invoice without one.
    Amountless,
    /// No invoice, a preimage of the client's.
    Keysend,
    /// Neither; the preimage follows from the request.
    BareKeysend,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Bolt11, Self::Amountless, Self::Keysend, Self::BareKeysend];

    /// All of them, in turn.
    pub fn of(number: u64) -> Self {
        Self::ALL[usize::try_from(number).unwrap() % Self::ALL.len()]
    }

    fn word(self) -> &'static str {
        match self {
            Self::Bolt11 => "bolt11",
            Self::Amountless => "amountless",
            Self::Keysend => "keysend",
            Self::BareKeysend => "bare-keysend",
        }
    }

    fn parse(word: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.word() == word).unwrap()
    }
}

/// Where the process is struck (section 3 of the design: crash windows).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// Before request and intent are on the disk.
    W0,
    /// They are in the journal; its anchor does not know yet.
    W0Anchor,
    /// On the disk; nothing was sent.
    W1,
    /// The order is half way to the node, which does not know it yet.
    W2,
    /// The node took the order; no result.
    W3,
    /// The result is known and not on the disk.
    W4,
    /// The outcome is in the journal; its anchor does not know yet.
    W4Anchor,
    /// The outcome is on the disk; the answer was not sent.
    W5,
    /// The answer was sent.
    W6,
}

impl Point {
    pub const ALL: [Self; 9] =
        [Self::W0, Self::W0Anchor, Self::W1, Self::W2, Self::W3, Self::W4, Self::W4Anchor, Self::W5, Self::W6];
}

/// Something that a till says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Open, with the account funded.
    Ready,
    /// The request is on the disk.
    Durable(u64),
    /// It was not taken.
    Refused(u64, String),
    /// The answer of a request: a hash of its bytes, and its words.
    Answer(u64, String, String),
    /// An order goes to the node.
    Sends(u64),
    /// Spendable, payments under way, safe mode, alarms.
    Status { spendable_msat: u64, in_flight: usize, safe_mode: Option<String>, alarms: usize },
    /// The journal could not be written.
    Fatal(String),
}

impl Said {
    /// How it is written; recorders look for these bytes.
    pub fn line(&self) -> String {
        match self {
            Self::Ready => "=> ready\n".to_owned(),
            Self::Durable(number) => format!("=> durable {number}\n"),
            Self::Refused(number, why) => format!("=> refused {number} {why}\n"),
            Self::Answer(number, hash, words) => format!("=> answer {number} {hash} {words}\n"),
            Self::Sends(number) => format!("=> sends {number}\n"),
            Self::Status { spendable_msat, in_flight, safe_mode, alarms } => {
                format!("=> status {spendable_msat} {in_flight} {alarms} {}\n", safe_mode.as_deref().unwrap_or("-"))
            }
            Self::Fatal(why) => format!("=> fatal {why}\n"),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        // The test harness writes its own words in front of the first line.
        let (_, words) = line.split_once("=> ")?;
        let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
        let number = |rest: &str| rest.split(' ').next().unwrap().parse().unwrap();
        let after = |rest: &str| rest.split_once(' ').map_or(String::new(), |(_, rest)| rest.to_owned());
        Some(match word {
            "ready" => Self::Ready,
            "durable" => Self::Durable(number(rest)),
            "refused" => Self::Refused(number(rest), after(rest)),
            "answer" => {
                let rest_of = after(rest);
                let (hash, words) = rest_of.split_once(' ').unwrap();
                Self::Answer(number(rest), hash.to_owned(), words.to_owned())
            }
            "sends" => Self::Sends(number(rest)),
            "status" => {
                let mut parts = rest.splitn(4, ' ');
                let mut next = || parts.next().unwrap().to_owned();
                let (spendable_msat, in_flight) = (next().parse().unwrap(), next().parse().unwrap());
                let (alarms, safe_mode) = (next().parse().unwrap(), next());
                Self::Status { spendable_msat, in_flight, safe_mode: (safe_mode != "-").then_some(safe_mode), alarms }
            }
            "fatal" => Self::Fatal(rest.to_owned()),
            _ => return None,
        })
    }
}

/// A directory with a wallet and a node, and the processes that work on it one after the other.
pub struct Till {
    dir: tempfile::TempDir,
    running: Option<Running>,
    early: VecDeque<Said>,
    /// Invoices by request, so that a repeat is the same.
    invoices: HashMap<u64, String>,
}

struct Running {
    child: Child,
    orders: ChildStdin,
    heard: Receiver<Said>,
}

impl Till {
    /// An empty directory.
    pub fn new() -> Self {
        let dir = super::disk::scratch();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        std::fs::write(dir.path().join("node"), "").unwrap();
        Self { dir, running: None, early: VecDeque::new(), invoices: HashMap::new() }
    }

    /// What a disk watches: the wallet's directory lies in it.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// The wallet's directory.
    pub fn wallet(&self) -> PathBuf {
        self.root().join("wallet")
    }

    /// Starts a process and waits until it is open, or gone.
    pub fn start(&mut self, disk: Option<&Disk>, prepare: impl FnOnce(&mut Command)) -> Option<Said> {
        assert!(self.running.is_none());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "crash::till::room::money_room", "--nocapture", "--test-threads=1"]);
        command.env("TILL_ROOT", self.root()).env("TILL_NODE", self.dir.path().join("node"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(disk) = disk {
            disk.carries(&mut command, &self.root());
        }
        prepare(&mut command);
        let mut child = command.spawn().unwrap();
        let orders = child.stdin.take().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (tell, heard) = sync_channel(10_000);
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.filter_map(|line| Said::parse(&line)).for_each(|said| drop(tell.send(said)));
        });
        self.running = Some(Running { child, orders, heard });
        let mut early = VecDeque::new();
        loop {
            // What it found out about earlier payments may be told before it is open.
            match self.hear() {
                ready @ (None | Some(Said::Ready | Said::Fatal(_))) => {
                    self.early = early;
                    return ready;
                }
                Some(said) => early.push_back(said),
            }
        }
    }

    /// Asks for a payment; the process may be gone.
    pub fn pay(&mut self, number: u64, kind: Kind) {
        let invoice = self.invoices.entry(number).or_insert_with(|| invoice(number, kind)).clone();
        let created_at_s = now_s();
        self.order(&format!("pay {number} {} {invoice} {created_at_s}\n", kind.word()));
    }

    /// Asks how things stand.
    pub fn status(&mut self) -> Said {
        self.order("status\n");
        loop {
            match self.hear() {
                Some(said @ Said::Status { .. }) => return said,
                Some(_) => {}
                None => panic!("gone before it told its status"),
            }
        }
    }

    fn order(&mut self, line: &str) {
        let running = self.running.as_mut().unwrap();
        drop(running.orders.write_all(line.as_bytes()).and_then(|()| running.orders.flush()));
    }

    /// The next thing that it says; `None` when it is gone.
    pub fn hear(&mut self) -> Option<Said> {
        self.hear_within(PATIENCE).unwrap_or_else(|()| panic!("heard nothing for {PATIENCE:?}"))
    }

    /// The same, with another patience.
    pub fn hear_within(&mut self, patience: Duration) -> Result<Option<Said>, ()> {
        if let Some(said) = self.early.pop_front() {
            return Ok(Some(said));
        }
        match self.running.as_ref().unwrap().heard.recv_timeout(patience) {
            Ok(said) => Ok(Some(said)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(()),
        }
    }

    /// `kill -9`; what it had said is still heard.
    pub fn kill(&mut self) -> Vec<Said> {
        drop(self.running.as_mut().unwrap().child.kill());
        self.end().0
    }

    /// Waits for its end: what it had said, and its exit code (`None`: killed).
    pub fn end(&mut self) -> (Vec<Said>, Option<i32>) {
        let mut rest = Vec::new();
        while let Some(said) = self.hear() {
            rest.push(said);
        }
        let mut running = self.running.take().unwrap();
        (rest, running.child.wait().unwrap().code())
    }

    /// Closes the room in order.
    pub fn close(&mut self) {
        self.order("quit\n");
        let (_, code) = self.end();
        assert_eq!(code, Some(0));
    }

    /// Every order that the node took, by request: how often, and whether always with the same amounts.
    pub fn taken(&self) -> HashMap<u64, usize> {
        let mut taken = HashMap::new();
        for line in std::fs::read_to_string(self.dir.path().join("node")).unwrap().lines() {
            let mut words = line.split(' ');
            let (number, amount): (u64, u64) = (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
            assert_eq!(amount, AMOUNT_MSAT, "request {number}");
            *taken.entry(number).or_default() += 1;
        }
        taken
    }
}

impl Drop for Till {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.child.kill());
            drop(running.child.wait());
        }
    }
}

fn digest(words: &str) -> [u8; 32] {
    Sha256::digest(words).into()
}

/// The event id of a request.
pub fn request_id(number: u64) -> Hex32 {
    Hex32(digest(&format!("request {number}")))
}

/// The preimage of a request, unless hearth chooses it.
pub fn preimage(number: u64) -> Preimage {
    Preimage(digest(&format!("preimage {number}")))
}

/// The preimage that hearth chooses for a request without one: for ever the same, since a repeat after any restart must have the
/// same payment hash. Computed here anew, from the wallet seed of every till.
fn bare_preimage(number: u64) -> Preimage {
    let mut secret = [0; 32];
    Hkdf::<Sha256>::new(None, &WALLET_SEED).expand(b"hearth keysend preimages", &mut secret).unwrap();
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&secret).unwrap();
    mac.update(&request_id(number).0);
    mac.update(&0_u16.to_be_bytes());
    Preimage(mac.finalize().into_bytes().into())
}

/// An invoice of somebody else, for the payment of that request.
pub fn invoice(number: u64, kind: Kind) -> String {
    let secret = SecretKey::from_slice(&digest("payee")).unwrap();
    let mut builder = InvoiceBuilder::new(Currency::Regtest)
        .description(format!("payment {number}"))
        .payment_hash(const_hex::encode(preimage(number).hash().0).parse().unwrap())
        .payment_secret(PaymentSecret([7; 32]))
        .current_timestamp()
        .min_final_cltv_expiry_delta(144);
    if kind == Kind::Bolt11 {
        builder = builder.amount_milli_satoshis(AMOUNT_MSAT);
    }
    builder.build_signed(|hash| SECP256K1.sign_ecdsa_recoverable(hash, &secret)).unwrap().to_string()
}

/// The node that is paid without an invoice.
pub fn payee() -> String {
    SecretKey::from_slice(&digest("payee")).unwrap().public_key(SECP256K1).to_string()
}

/// A moment, for bounds.
pub fn later(wait: Duration) -> Instant {
    Instant::now() + wait
}

/// How the payment of a request is looked up, of the kind that is its turn.
pub fn selector(number: u64) -> Selector {
    let preimage = if Kind::of(number) == Kind::BareKeysend { bare_preimage(number) } else { preimage(number) };
    Selector::Hash(preimage.hash())
}

/// An id from its hex digits.
pub fn id(hex: &str) -> Hex32 {
    let mut bytes = [0; 32];
    hearth::base::hex32::decode_lower(hex.as_bytes(), &mut bytes).unwrap();
    Hex32(bytes)
}
