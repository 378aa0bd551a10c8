//! A store in memory, a client without a socket, and events signed by keys from a number.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use serde_json::Value;

use crate::base::clock::Clock;
use crate::base::hex32::EventId;
use crate::live::testing;
pub(super) use crate::live::testing::{key_hex, packed};
use crate::live::{Live, LiveConfig, Outbox, Outgoing, TotalBytes};
use crate::policy::rate::Ticker;
use crate::policy::{Home, Limits, Policy, RateConfig, Rules};
use crate::protocol::event::Event;
use crate::protocol::filter::Filter;
use crate::protocol::kind::{Class, class};
use crate::relay::storage::{Appended, Count, OnAppended, Query, ScanLimits, Step, Storage, Tally, Unreadable};
use crate::relay::{Intake, NoIntake, Parts, Peer, Relay, Session, Stats};

/// Unix seconds at which every test begins.
pub(super) const NOW: u64 = 1_700_000_000;

/// A signed event as JSON.
pub(super) fn signed(author: u8, kind: u16, created_at: u64, tags: &[&[&str]], content: &str) -> String {
    testing::signed(author, kind, created_at, tags, content)
}

/// A note of now.
pub(super) fn note(author: u8, content: &str) -> String {
    signed(author, 1, NOW, &[], content)
}

/// The id in a signed event.
pub(super) fn id_of(json: &str) -> String {
    packed(json).id().to_string()
}

/// A store in memory. Commits publish to the live side in sequence order, after their number is visible.
pub(super) struct Memory {
    events: RwLock<Vec<(u64, Event)>>,
    seq: AtomicU64,
    live: Live,
    writing: Mutex<()>,
    /// Events that one slice of a query emits.
    pub(super) slice_events: AtomicUsize,
    /// Held replies instead of immediate ones: like a commit that is under way.
    pub(super) hold: AtomicBool,
    held: Mutex<Vec<(Event, OnAppended)>>,
    pub(super) broken: AtomicBool,
    begun: AtomicUsize,
    /// Committed at the last moment before the next query takes its snapshot.
    pub(super) before_snapshot: Mutex<Option<Event>>,
}

impl Memory {
    fn new(live: Live) -> Self {
        Self {
            events: RwLock::default(),
            seq: AtomicU64::new(0),
            live,
            writing: Mutex::default(),
            slice_events: AtomicUsize::new(100),
            hold: AtomicBool::new(false),
            held: Mutex::default(),
            broken: AtomicBool::new(false),
            begun: AtomicUsize::new(0),
            before_snapshot: Mutex::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.events.read().len()
    }

    /// Queries and counts so far.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    pub(super) fn commit(&self, event: Event) -> Appended {
        let _writer = self.writing.lock();
        if self.has(&event.id()) {
            return Appended::Duplicate;
        }
        let seq = self.seq.load(Ordering::Acquire) + 1;
        let mut events = self.events.write();
        if class(event.kind()) == Class::Replaceable {
            events.retain(|(_, old)| (old.kind(), old.pubkey()) != (event.kind(), event.pubkey()));
        }
        events.push((seq, event.clone()));
        drop(events);
        self.seq.store(seq, Ordering::Release);
        if seq.is_multiple_of(7) {
            std::thread::yield_now();
        }
        self.live.publish(seq, &event);
        Appended::Stored { seq }
    }

    pub(super) fn release(&self) {
        for (event, done) in std::mem::take(&mut *self.held.lock()) {
            done(self.commit(event));
        }
    }
}

impl Storage for Memory {
    fn has(&self, id: &EventId) -> bool {
        self.events.read().iter().any(|(_, event)| event.id() == *id)
    }

    fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    fn append(&self, event: Event, done: OnAppended) {
        if self.broken.load(Ordering::Relaxed) {
            done(Appended::Failed);
        } else if self.hold.load(Ordering::Relaxed) {
            self.held.lock().push((event, done));
        } else {
            done(self.commit(event));
        }
    }

    fn scan(&self, filters: Arc<[Filter]>, limits: ScanLimits) -> Result<Box<dyn Query>, Unreadable> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(Unreadable);
        }
        self.begun.fetch_add(1, Ordering::Relaxed);
        if let Some(event) = self.before_snapshot.lock().take() {
            self.commit(event);
        }
        let events = self.events.read();
        let at_seq = self.seq();
        let mut found: Vec<Event> = events.iter().filter(|(seq, _)| *seq <= at_seq).map(|(_, event)| event.clone()).collect();
        drop(events);
        found.sort_by(|a, b| b.created_at().cmp(&a.created_at()).then_with(|| a.id().cmp(&b.id())));
        let limit = |filter: &Filter| filter.limit.unwrap_or(limits.default_limit).min(limits.max_limit);
        let mut left: Vec<u64> = filters.iter().map(limit).collect();
        found.retain(|event| {
            let mut wanted = false;
            for (filter, left) in filters.iter().zip(&mut left) {
                if *left > 0 && filter.matches(event.view()) {
                    *left -= 1;
                    wanted = true;
                }
            }
            wanted
        });
        found.reverse();
        Ok(Box::new(MemoryQuery { at_seq, left: found, slice_events: self.slice_events.load(Ordering::Relaxed) }))
    }

    fn count(&self, filters: &[Filter], cap: u64) -> Result<Box<dyn Tally>, Unreadable> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(Unreadable);
        }
        self.begun.fetch_add(1, Ordering::Relaxed);
        let events = self.events.read();
        let matching = events.iter().filter(|(_, event)| filters.iter().any(|filter| filter.matches(event.view())));
        let count = matching.count() as u64;
        Ok(Box::new(MemoryTally { count: Count { count: count.min(cap), approximate: count > cap }, slices: 2 }))
    }
}

struct MemoryTally {
    count: Count,
    slices: u32,
}

impl Tally for MemoryTally {
    fn run(&mut self, _: Instant) -> Result<Step, Unreadable> {
        self.slices = self.slices.saturating_sub(1);
        Ok(if self.slices == 0 { Step::Done } else { Step::More })
    }

    fn so_far(&self) -> Count {
        self.count
    }
}

struct MemoryQuery {
    at_seq: u64,
    left: Vec<Event>,
    slice_events: usize,
}

impl Query for MemoryQuery {
    fn at_seq(&self) -> u64 {
        self.at_seq
    }

    fn run(&mut self, _: Instant, emit: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Step, Unreadable> {
        for _ in 0..self.slice_events {
            let Some(event) = self.left.pop() else { return Ok(Step::Done) };
            if emit(event).is_break() {
                break;
            }
        }
        Ok(if self.left.is_empty() { Step::Done } else { Step::More })
    }
}

/// How a test relay is made.
pub(super) struct Setup {
    pub(super) limits: Limits,
    pub(super) rates: RateConfig,
    pub(super) rules: Rules,
    pub(super) homes: Vec<Home>,
    pub(super) live: LiveConfig,
    pub(super) intake: Arc<dyn Intake>,
    pub(super) outbox_bytes: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            rates: RateConfig { enabled: false, ..RateConfig::default() },
            rules: Rules::default(),
            homes: vec![Home::parse("wss://relay.example.com").unwrap()],
            live: LiveConfig::default(),
            intake: Arc::new(NoIntake),
            outbox_bytes: 1 << 20,
        }
    }
}

/// A relay over a store in memory.
pub(super) struct House {
    pub(super) relay: Arc<Relay>,
    pub(super) store: Arc<Memory>,
    pub(super) live: Live,
    pub(super) clock: Clock,
    pub(super) total: Arc<TotalBytes>,
    outbox_bytes: usize,
}

impl House {
    pub(super) fn new() -> Self {
        Self::with(Setup::default())
    }

    pub(super) fn with(setup: Setup) -> Self {
        let clock = Clock::manual(NOW * 1_000);
        let live = Live::new(&setup.live, clock.clone());
        let store = Arc::new(Memory::new(live.clone()));
        let policy = Policy::new(setup.limits, &setup.rates, setup.homes, setup.rules);
        let policy = Arc::new(policy.with_ticker(&setup.rates, Ticker::Manual(clock.clone())));
        let storage: Arc<dyn Storage> = Arc::clone(&store) as Arc<dyn Storage>;
        let parts = Parts { store: storage, live: live.clone(), intake: setup.intake, policy, clock: clock.clone() };
        let total = TotalBytes::new(1 << 30);
        Self { relay: Relay::new(parts), store, live, clock, total, outbox_bytes: setup.outbox_bytes }
    }

    /// A client that has read the challenge.
    pub(super) fn client(&self) -> Client {
        let outbox = Outbox::new(self.outbox_bytes, Arc::clone(&self.total));
        let peer = Peer { ip: [10, 0, 0, 1].into() };
        let mut session = self.relay.session(peer, Arc::clone(&outbox));
        session.on_open();
        session.offer_login();
        let mut client = Client { session, outbox, challenge: String::new(), closed: None };
        let frames = client.frames();
        client.challenge = frames[0][1].as_str().unwrap().to_owned();
        client
    }

    pub(super) fn stats(&self) -> Stats {
        self.relay.stats()
    }
}

/// A client without a socket.
pub(super) struct Client {
    pub(super) session: Session,
    pub(super) outbox: Arc<Outbox>,
    pub(super) challenge: String,
    pub(super) closed: Option<(u16, String)>,
}

impl Client {
    /// Says something and returns every frame that comes back.
    pub(super) fn say(&mut self, text: &str) -> Vec<Value> {
        self.session.on_text(text);
        self.frames()
    }

    /// Everything there is to read, queries run to their end.
    pub(super) fn frames(&mut self) -> Vec<Value> {
        let mut texts = Vec::new();
        loop {
            let more = self.session.pump();
            texts.extend(self.read());
            if !more && !self.session.has_work() {
                break;
            }
        }
        texts
    }

    /// What waits in the outbox, without running queries.
    pub(super) fn read(&mut self) -> Vec<Value> {
        let mut out = Vec::new();
        while !self.outbox.is_idle() {
            self.outbox.pop_batch(4_096, &mut out);
        }
        let mut frames = Vec::new();
        for outgoing in out {
            match outgoing {
                Outgoing::Text(text) => frames.push(serde_json::from_str(&text.to_string()).unwrap()),
                Outgoing::Close(code, reason) => self.closed = Some((code, reason)),
            }
        }
        frames
    }

    /// Publishes an event and returns what its one OK said: accepted, reason.
    pub(super) fn publish(&mut self, event: &str) -> (bool, String) {
        let frames = self.say(&format!("[\"EVENT\",{event}]"));
        one_ok(&frames)
    }

    /// Logs in with an AUTH event as it stands.
    pub(super) fn auth(&mut self, event: &str) -> (bool, String) {
        let frames = self.say(&format!("[\"AUTH\",{event}]"));
        one_ok(&frames)
    }

    /// Logs in as that author.
    pub(super) fn log_in(&mut self, author: u8) {
        let tags: &[&[&str]] = &[&["relay", "wss://relay.example.com/"], &["challenge", &self.challenge]];
        let event = signed(author, 22_242, NOW, tags, "");
        assert_eq!(self.auth(&event), (true, String::new()));
    }

    /// Sends a REQ and returns the contents of the events up to EOSE; `Err` with the reason if it was closed.
    pub(super) fn query(&mut self, filters: &str) -> Result<Vec<String>, String> {
        let frames = self.say(&format!("[\"REQ\",\"q\",{filters}]"));
        if let Some(closed) = frames.iter().find(|frame| frame[0] == "CLOSED") {
            return Err(closed[2].as_str().unwrap().to_owned());
        }
        let (last, events) = frames.split_last().unwrap();
        assert_eq!(last, &serde_json::json!(["EOSE", "q"]));
        Ok(contents(events))
    }
}

fn one_ok(frames: &[Value]) -> (bool, String) {
    let oks: Vec<&Value> = frames.iter().filter(|frame| frame[0] == "OK").collect();
    assert_eq!(oks.len(), 1, "{frames:?}");
    (oks[0][2].as_bool().unwrap(), oks[0][3].as_str().unwrap().to_owned())
}

/// Contents of EVENT frames.
pub(super) fn contents(frames: &[Value]) -> Vec<String> {
    let events = frames.iter().filter(|frame| frame[0] == "EVENT");
    events.map(|frame| frame[2]["content"].as_str().unwrap().to_owned()).collect()
}
