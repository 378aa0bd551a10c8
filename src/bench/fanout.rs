//! Live fan-out: one publisher, many listening connections, every delivery awaited and timed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::answer::{Answer, IdKey, event_id};
use super::args::{Audience, Fanout};
use super::book::{Book, Done};
use super::data::{Random, Signed, World, now_s, run_number};
use super::error::ClientError;
use super::meter::{Meter, Round};
use super::progress::Progress;
use super::report::Report;
use super::runner::Runner;
use super::socket::Socket;

/// How long after an event's OK its deliveries may still come.
const DELIVERY_WAIT: Duration = Duration::from_secs(30);
/// Class of single deliveries, and of the last delivery of each event.
const EACH: usize = 0;
const LAST: usize = 1;

/// What the publisher and the listeners share in one run.
struct Board {
    start: Instant,
    index: HashMap<IdKey, usize, foldhash::fast::FixedState>,
    /// Nanoseconds after `start` at which each event was handed to the socket.
    sent_ns: Vec<AtomicU64>,
    left: Vec<AtomicU32>,
    /// Free places in the window of events under way.
    window: Semaphore,
    book: Book,
    trouble: Mutex<Option<String>>,
}

impl Board {
    fn new(events: &[Signed], expected: &[u32], window: usize) -> Self {
        Self {
            start: Instant::now(),
            index: events.iter().enumerate().map(|(index, event)| (event.key(), index)).collect(),
            sent_ns: events.iter().map(|_| AtomicU64::new(0)).collect(),
            left: expected.iter().map(|&count| AtomicU32::new(count)).collect(),
            window: Semaphore::new(window),
            book: Book::new(2),
            trouble: Mutex::new(None),
        }
    }

    fn sent(&self, index: usize) {
        let since = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.sent_ns[index].store(since, Ordering::Release);
    }

    fn delivered(&self, event: &[u8], now: Instant) {
        // Events of somebody else on the same relay are none of ours.
        let Some(&index) = event_id(event).and_then(|id| self.index.get(&id)) else { return };
        let sent = self.start + Duration::from_nanos(self.sent_ns[index].load(Ordering::Acquire));
        let latency = now.saturating_duration_since(sent);
        let took = self.left[index].fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        match took {
            Ok(left) => {
                self.book.done(&Done { class: EACH, latency, first: None, events: 1 });
                if left == 1 {
                    self.book.done(&Done { class: LAST, latency, first: None, events: 0 });
                    self.window.add_permits(1);
                }
            }
            Err(_) => self.book.failed(EACH, 1, "an event was delivered more often than there are subscriptions for it"),
        }
    }

    fn trouble(&self, words: String) {
        self.trouble.lock().get_or_insert(words);
        self.window.close();
    }

    fn error(&self) -> ClientError {
        let words = self.trouble.lock().take();
        words.map_or(ClientError::Silent, ClientError::Refused)
    }
}

/// Who publishes what, and who is to get it.
struct Cast {
    /// Filters of each listener.
    filters: Vec<Vec<String>>,
    events: Vec<Signed>,
    /// Deliveries of each event.
    expected: Vec<u32>,
}

impl Cast {
    fn new(args: &Fanout, events: usize) -> Self {
        let (world, mut random) = (World::new(args.target.seed), Random::new(args.target.seed ^ 0xfa40));
        let mut receivers = vec![0_u32; world.authors()];
        let filters = (0..args.subscribers)
            .map(|listener| {
                let subscriptions = 0..args.subscriptions.max(1);
                subscriptions.map(|number| filter(args, &world, &mut random, listener, number, &mut receivers)).collect()
            })
            .collect();
        let (mut signed, mut expected, run) = (Vec::new(), Vec::new(), run_number());
        while signed.len() < events {
            let author = if args.audience == Audience::Zipf { world.draw_author(&mut random) } else { 0 };
            // An event that nobody is to get shows nothing; with Zipf's law such authors are rare ones.
            if receivers[author] > 0 || args.subscribers == 0 {
                signed.push(world.note(author, now_s(), &format!("live {run} {}", signed.len())));
                expected.push(receivers[author]);
            }
        }
        Self { filters, events: signed, expected }
    }
}

fn filter(args: &Fanout, world: &World, random: &mut Random, listener: usize, number: usize, receivers: &mut [u32]) -> String {
    match args.audience {
        Audience::Distinct if listener > 0 || number > 0 => {
            format!(r#"{{"authors":["{:032x}{:032x}"],"kinds":[1],"limit":1}}"#, listener + 1, number + 1)
        }
        Audience::All | Audience::Distinct => {
            receivers[0] += 1;
            format!(r#"{{"authors":["{}"],"kinds":[1],"limit":1}}"#, world.pubkey(0))
        }
        Audience::Zipf => {
            let mut follows = BTreeSet::new();
            while follows.len() < args.follows.clamp(1, world.authors() / 4) {
                follows.insert(world.draw_author(random));
            }
            follows.iter().for_each(|&author| receivers[author] += 1);
            let list: Vec<String> = follows.iter().map(|&author| format!("\"{}\"", world.pubkey(author))).collect();
            format!(r#"{{"authors":[{}],"kinds":[1],"limit":1}}"#, list.join(","))
        }
    }
}

pub(super) async fn run(args: &Fanout) -> Result<Report, ClientError> {
    let (target, runner) = (&args.target, Runner::new(&args.target).await?);
    let (repeats, warmup) = (target.repeats.max(1), target.warmup(args.events));
    let progress = Progress::new("fanout");
    let cast = Cast::new(args, warmup + repeats * args.events);
    progress.say("subscribing");
    let sockets = runner.open(0, args.subscribers).await?;
    let board = Arc::new(Board::new(&cast.events, &cast.expected, args.window.max(1)));
    let mut listeners = JoinSet::new();
    for (index, (mut socket, filters)) in sockets.into_iter().zip(&cast.filters).enumerate() {
        subscribe_all(&mut socket, filters).await?;
        let board = board.clone();
        listeners.spawn(async move {
            if let Err(error) = listen(&mut socket, &board).await {
                board.trouble(format!("listener {index}: {error}"));
            }
        });
    }
    let mut publisher = runner.open(args.subscribers, 1).await?.into_iter().next().ok_or(ClientError::Silent)?;
    let (mut rounds, mut from) = (Vec::new(), 0);
    for repeat in 0..=repeats {
        let to = from + if repeat == 0 { warmup } else { args.events };
        let meter = Meter::start(&target.server_pid);
        publish(&mut publisher, &board, &cast.events, from..to, args.window.max(1)).await?;
        let results = board.book.close();
        let mut round = meter.stop(results.tallies);
        round.words = results.words;
        if repeat > 0 {
            rounds.push(round);
        }
        from = to;
    }
    listeners.abort_all();
    Ok(report(args, &rounds))
}

fn report(args: &Fanout, rounds: &[Round]) -> Report {
    let mut report = Report::new(&args.target);
    let listeners = format!("{} listeners of {}", args.subscribers, args.subscriptions.max(1));
    let shape = match args.audience {
        Audience::All => format!("fan-out to {listeners}"),
        Audience::Distinct => format!("fan-out to 1, {listeners}"),
        Audience::Zipf => format!("fan-out by Zipf, {listeners}"),
    };
    let shape = format!("{shape}, window {}", args.window.max(1));
    report.add(format!("{shape}: deliveries"), rounds, EACH, None);
    report.add(format!("{shape}: events, last delivery"), rounds, LAST, None);
    report
}

pub(super) async fn subscribe_all(socket: &mut Socket, filters: &[String]) -> Result<(), ClientError> {
    for (number, filter) in filters.iter().enumerate() {
        let name = if number == 0 { super::engine::LIVE.to_owned() } else { format!("{}{number}", super::engine::LIVE) };
        socket.feed_text(&format!(r#"["REQ","{name}",{filter}]"#));
    }
    socket.flush().await?;
    let mut left = filters.len();
    while left > 0 {
        let text = socket.next().await?;
        match Answer::read(&text) {
            Answer::Eose { .. } => left -= 1,
            Answer::Closed { words, .. } | Answer::Notice { words } => {
                return Err(ClientError::Refused(String::from_utf8_lossy(words).into_owned()));
            }
            _ => {}
        }
    }
    Ok(())
}

async fn listen(socket: &mut Socket, board: &Board) -> Result<(), ClientError> {
    loop {
        while let Some(place) = socket.take()? {
            let now = Instant::now();
            match Answer::read(socket.text(&place)) {
                Answer::Event { event, .. } => board.delivered(event, now),
                Answer::Closed { words, .. } => return Err(ClientError::Refused(String::from_utf8_lossy(words).into_owned())),
                _ => {}
            }
        }
        // Answers to pings, if there were any.
        socket.flush().await?;
        socket.fill().await?;
    }
}

async fn publish(
    socket: &mut Socket,
    board: &Board,
    events: &[Signed],
    range: std::ops::Range<usize>,
    window: usize,
) -> Result<(), ClientError> {
    for index in range {
        place(socket, board, 1).await?;
        let frame = events[index].frame();
        let nobody = board.left[index].load(Ordering::Acquire) == 0;
        board.sent(index);
        socket.feed(&frame);
        socket.flush().await?;
        if nobody {
            board.window.add_permits(1);
        }
    }
    // All places free again: everything has been delivered.
    place(socket, board, window).await?;
    board.window.add_permits(window);
    Ok(())
}

/// Waits for free places in the window, reading verdicts meanwhile.
async fn place(socket: &mut Socket, board: &Board, count: usize) -> Result<(), ClientError> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let deadline = tokio::time::sleep(DELIVERY_WAIT);
    tokio::pin!(deadline);
    let permits = board.window.acquire_many(count);
    tokio::pin!(permits);
    loop {
        while let Some(place) = socket.take()? {
            if let Answer::Ok { accepted: false, words, .. } = Answer::read(socket.text(&place)) {
                return Err(ClientError::Refused(String::from_utf8_lossy(words).into_owned()));
            }
        }
        socket.flush().await?;
        tokio::select! {
            biased;
            permit = &mut permits => {
                permit.map_err(|_| board.error())?.forget();
                return Ok(());
            }
            filled = socket.fill() => filled?,
            () = &mut deadline => return Err(missing(board)),
        }
    }
}

fn missing(board: &Board) -> ClientError {
    let sent = board.sent_ns.iter().zip(&board.left).filter(|(sent, _)| sent.load(Ordering::Acquire) > 0);
    let left: u64 = sent.map(|(_, left)| u64::from(left.load(Ordering::Acquire))).sum();
    ClientError::Refused(format!("{left} deliveries did not come within {} s", DELIVERY_WAIT.as_secs()))
}
