//! What connections asked for, what came of it and when it reached them: for the owner, who wants to know, and for an app's
//! "when was I last seen", which must survive a restart.
//!
//! It is a convenience, not the journal: notes are kept in memory for some seconds and then appended to a file for each connection
//! in `data/audit/`, without a sync; a crash loses the last moments. Money is in the journal; only refusals that leave no record there
//! are known from here after a start. Nothing is written here that a
//! client wrote (only closed lists of words, numbers and ids), and never a preimage. Every connection has its own bounds, so that
//! one app cannot push out another's history.

mod file;
mod line;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use crate::base::amount::Msat;
use crate::base::hex32::{EventId, PublicKey};
use crate::wallet::terms::{ConnectionId, ErrorCode};
use crate::wallet::wire::method::Method;

/// Most notes of one connection that wait for the disk; the oldest go first and are counted.
const WAITING_MAX: usize = 512;
/// Most entries that are shown at once.
pub const ENTRIES_MAX: usize = 2_000;

/// A request that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Names the request.
    pub request: EventId,
    /// Which item of several; `None`: all of it.
    pub item: Option<u16>,
    /// `created_at` of the request by its client's clock, unix seconds.
    pub asked_at_s: u64,
    /// By ours, unix milliseconds.
    pub answered_at_ms: u64,
    /// A method that this wallet knows, or `unknown`.
    pub method: &'static str,
    /// `ok` or an error code.
    pub result: &'static str,
    /// What was paid or was to be, or what an invoice asks for.
    pub amount: Option<Msat>,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Names the request.
    pub request: EventId,
    /// Which item of several; `None`: all of it, or a line of before items were noted.
    pub item: Option<u16>,
    /// By the client's clock, unix seconds.
    pub asked_at_s: u64,
    /// Unix milliseconds.
    pub answered_at_ms: u64,
    /// The answer reached its client, as far as a relay can know; unix milliseconds.
    pub delivered_at_ms: Option<u64>,
    /// The method.
    pub method: String,
    /// `ok` or an error code.
    pub result: String,
    /// What was paid or was to be, or what an invoice asks for.
    pub amount: Option<Msat>,
}

/// What is known of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Newest first.
    pub entries: Vec<Entry>,
    /// Notes that were left out because too many came at once.
    pub left_out: u64,
    /// When an answer or a notification last reached it, unix milliseconds.
    pub last_delivered_at_ms: Option<u64>,
}

/// What is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Note {
    Answered(Answered),
    Delivered { request: EventId, at_ms: u64 },
    Told { notification: EventId, at_ms: u64 },
    LeftOut { count: u64 },
}

/// What a start reads of a connection's past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// When it was last answered, unix milliseconds.
    pub seen_at_ms: Option<u64>,
    /// Notifications that reached it, and when (unix milliseconds), as far as the files go back.
    pub told: Vec<(EventId, u64)>,
    /// Payments that it was refused, as far as the files go back.
    pub refused: Vec<RefusedPayment>,
}

/// A payment that was refused, or one item of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedPayment {
    /// Names the request.
    pub request: EventId,
    /// `created_at` of the request by its client's clock, unix seconds.
    pub asked_at_s: u64,
    /// Which item of several; `None`: all of it.
    pub item: Option<u16>,
    /// What it was told.
    pub code: ErrorCode,
}

impl RefusedPayment {
    fn of(entry: &Entry) -> Option<Self> {
        let is_payment = Method::parse(&entry.method).is_some_and(Method::is_payment);
        let code = ErrorCode::parse(&entry.result).filter(|_| is_payment)?;
        Some(Self { request: entry.request, asked_at_s: entry.asked_at_s, item: entry.item, code })
    }
}

/// The log of all connections.
pub struct Audit {
    /// `None`: nothing is written down.
    directory: Option<PathBuf>,
    trails: RwLock<HashMap<PublicKey, Arc<Trail>, RandomState>>,
}

/// The notes of one connection that are not on disk yet.
struct Trail {
    connection: ConnectionId,
    waiting: Mutex<Waiting>,
    /// Held while its file is read or written, so that the notes there stay in order.
    file: Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    notes: VecDeque<Note>,
    left_out: u64,
}

impl Audit {
    /// A log in this directory, which is there.
    pub fn at(directory: PathBuf) -> Self {
        Self { directory: Some(directory), trails: RwLock::default() }
    }

    /// A log that is kept in memory only.
    pub fn in_memory() -> Self {
        Self { directory: None, trails: RwLock::default() }
    }

    /// From now on there is this connection.
    pub fn add(&self, connection: ConnectionId, wallet: PublicKey) {
        let trail = || Arc::new(Trail { connection, waiting: Mutex::default(), file: Mutex::default() });
        self.trails.write().entry(wallet).or_insert_with(trail);
    }

    /// A request was answered.
    pub fn answered(&self, wallet: &PublicKey, answered: Answered) {
        self.note(wallet, Note::Answered(answered));
    }

    /// The answer to a request reached somebody who may read it.
    pub fn delivered(&self, wallet: &PublicKey, request: EventId, at_ms: u64) {
        self.note(wallet, Note::Delivered { request, at_ms });
    }

    /// A notification reached somebody who may read it.
    pub fn told(&self, wallet: &PublicKey, notification: EventId, at_ms: u64) {
        self.note(wallet, Note::Told { notification, at_ms });
    }

    fn note(&self, wallet: &PublicKey, note: Note) {
        let Some(trail) = self.trails.read().get(wallet).cloned() else { return };
        let mut waiting = trail.waiting.lock();
        if waiting.notes.len() >= WAITING_MAX {
            waiting.notes.pop_front();
            waiting.left_out += 1;
        }
        waiting.notes.push_back(note);
    }

    /// Appends what waits to the files. Blocks on the disk; without a sync. The first error is returned, the rest is tried all the
    /// same; what could not be written is gone.
    pub fn flush(&self) -> io::Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let trails: Vec<Arc<Trail>> = self.trails.read().values().cloned().collect();
        let mut first = Ok(());
        for trail in trails {
            if trail.waiting.lock().notes.is_empty() {
                continue;
            }
            let _in_order = trail.file.lock();
            let written = file::append(directory, trail.connection, &trail.take());
            if first.is_ok() {
                first = written;
            }
        }
        first
    }

    /// What a start wants to know of a connection; nothing where it cannot be read. Blocks on the disk.
    pub fn past(&self, wallet: &PublicKey) -> Past {
        let mut past = Past::default();
        for note in self.notes(wallet).unwrap_or_default() {
            match note {
                line::Read::Answered(entry) => {
                    past.seen_at_ms = Some(entry.answered_at_ms);
                    past.refused.extend(RefusedPayment::of(&entry));
                }
                line::Read::Told { notification, at_ms } => past.told.push((notification, at_ms)),
                line::Read::Delivered { .. } | line::Read::LeftOut { .. } => {}
            }
        }
        past
    }

    /// The newest entries of a connection. Blocks on the disk.
    pub fn history(&self, wallet: &PublicKey, limit: usize) -> io::Result<History> {
        Ok(joined(self.notes(wallet)?, limit.min(ENTRIES_MAX)))
    }

    fn notes(&self, wallet: &PublicKey) -> io::Result<Vec<line::Read>> {
        let Some(trail) = self.trails.read().get(wallet).cloned() else { return Ok(Vec::new()) };
        let mut notes = Vec::new();
        {
            let _in_order = trail.file.lock();
            if let Some(directory) = &self.directory {
                file::read(directory, trail.connection, &mut notes)?;
            }
            let waiting = trail.waiting.lock();
            notes.extend(waiting.notes.iter().map(line::Read::of));
            notes.push(line::Read::LeftOut { count: waiting.left_out });
        }
        Ok(notes)
    }
}

impl Trail {
    fn take(&self) -> Vec<Note> {
        let mut waiting = self.waiting.lock();
        let left_out = std::mem::take(&mut waiting.left_out);
        let mut notes: Vec<Note> = waiting.notes.drain(..).collect();
        if left_out > 0 {
            notes.insert(0, Note::LeftOut { count: left_out });
        }
        notes
    }
}

/// Deliveries beside what they delivered, newest first.
fn joined(notes: Vec<line::Read>, limit: usize) -> History {
    let mut history = History::default();
    let mut delivered: HashMap<EventId, u64, RandomState> = HashMap::default();
    for note in &notes {
        match note {
            line::Read::Delivered { request, at_ms } => {
                delivered.entry(*request).or_insert(*at_ms);
                history.last_delivered_at_ms = history.last_delivered_at_ms.max(Some(*at_ms));
            }
            line::Read::Told { at_ms, .. } => history.last_delivered_at_ms = history.last_delivered_at_ms.max(Some(*at_ms)),
            line::Read::LeftOut { count } => history.left_out = history.left_out.saturating_add(*count),
            line::Read::Answered(_) => {}
        }
    }
    let entries = notes.into_iter().rev().filter_map(|note| match note {
        line::Read::Answered(entry) => Some(entry),
        _ => None,
    });
    history.entries =
        entries.take(limit).map(|entry| Entry { delivered_at_ms: delivered.get(&entry.request).copied(), ..entry }).collect();
    history
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("connections", &self.trails.read().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(number: u8, method: &'static str) -> Answered {
        Answered {
            request: EventId::from([number; 32]),
            item: None,
            asked_at_s: 100,
            answered_at_ms: 100_000 + u64::from(number),
            method,
            result: "ok",
            amount: Msat::new(u64::from(number)).ok(),
        }
    }

    fn log() -> (tempfile::TempDir, PublicKey) {
        (tempfile::tempdir().unwrap(), PublicKey::from([7; 32]))
    }

    fn opened(directory: &tempfile::TempDir, wallet: PublicKey) -> Audit {
        let audit = Audit::at(directory.path().to_owned());
        audit.add(ConnectionId(3), wallet);
        audit
    }

    #[test]
    fn entries_are_there_at_once_and_after_a_restart() {
        let (directory, wallet) = log();
        let audit = opened(&directory, wallet);
        audit.answered(&wallet, answered(1, "get_balance"));
        audit.delivered(&wallet, EventId::from([1; 32]), 100_050);
        audit.answered(&wallet, Answered { result: "QUOTA_EXCEEDED", amount: None, ..answered(2, "pay_invoice") });
        audit.answered(&PublicKey::from([8; 32]), answered(9, "get_info"));
        let before = audit.history(&wallet, 10).unwrap();
        let seen = before.entries.iter().map(|entry| (entry.method.as_str(), entry.result.as_str(), entry.delivered_at_ms));
        assert_eq!(seen.collect::<Vec<_>>(), [("pay_invoice", "QUOTA_EXCEEDED", None), ("get_balance", "ok", Some(100_050))]);
        assert_eq!((before.last_delivered_at_ms, before.left_out), (Some(100_050), 0));
        audit.flush().unwrap();
        assert_eq!(audit.history(&wallet, 10).unwrap(), before);
        let after = opened(&directory, wallet);
        assert_eq!(after.history(&wallet, 10).unwrap(), before);
        let code = ErrorCode::QuotaExceeded;
        let refused = vec![RefusedPayment { request: EventId::from([2; 32]), asked_at_s: 100, item: None, code }];
        assert_eq!(after.past(&wallet), Past { seen_at_ms: Some(100_002), told: Vec::new(), refused });
        after.told(&wallet, EventId::from([9; 32]), 150_000);
        after.flush().unwrap();
        let again = opened(&directory, wallet);
        assert_eq!(again.past(&wallet).told, [(EventId::from([9; 32]), 150_000)]);
        let told = again.history(&wallet, 10).unwrap();
        assert_eq!((told.last_delivered_at_ms, told.entries), (Some(150_000), before.entries));
        assert_eq!(after.history(&wallet, 1).unwrap().entries.len(), 1);
        after.delivered(&wallet, EventId::from([2; 32]), 200_000);
        assert_eq!(after.history(&wallet, 1).unwrap().entries[0].delivered_at_ms, Some(200_000));
    }

    #[test]
    fn a_flood_costs_its_own_connection_its_oldest_notes_and_no_other() {
        let (directory, wallet) = log();
        let audit = opened(&directory, wallet);
        let quiet = PublicKey::from([8; 32]);
        audit.add(ConnectionId(4), quiet);
        audit.answered(&quiet, answered(5, "get_info"));
        for _ in 0..WAITING_MAX + 10 {
            audit.answered(&wallet, answered(1, "get_balance"));
        }
        assert_eq!(audit.history(&wallet, ENTRIES_MAX).unwrap().left_out, 10);
        audit.flush().unwrap();
        let history = audit.history(&wallet, ENTRIES_MAX).unwrap();
        assert_eq!((history.left_out, history.entries.len()), (10, WAITING_MAX));
        assert_eq!(audit.history(&quiet, 10).unwrap().entries.len(), 1);
    }

    #[test]
    fn files_are_private_and_bounded_and_survive_damage() {
        use std::os::unix::fs::PermissionsExt;
        let (directory, wallet) = log();
        let audit = opened(&directory, wallet);
        for round in 0..40_u64 {
            for _ in 0..200 {
                audit.answered(&wallet, Answered { answered_at_ms: round, ..answered(1, "list_transactions") });
            }
            audit.flush().unwrap();
        }
        let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap()).collect();
        let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
        assert!(files.len() == 2 && bytes < 2 * file::SEGMENT_BYTES_MAX + 64 * 1_024, "{} files, {bytes} bytes", files.len());
        assert!(files.iter().all(|file| file.metadata().unwrap().permissions().mode() & 0o777 == 0o600));
        let history = audit.history(&wallet, ENTRIES_MAX).unwrap();
        assert_eq!(history.entries[0].answered_at_ms, 39);
        assert!(history.entries.len() >= 1_000, "{}", history.entries.len());
        let newest = directory.path().join("3.log");
        let mut torn = std::fs::read(&newest).unwrap();
        torn.truncate(torn.len() - 20);
        torn.splice(0..3, *b"\xff\xfe\n");
        std::fs::write(&newest, torn).unwrap();
        audit.answered(&wallet, Answered { answered_at_ms: 50, ..answered(2, "get_info") });
        audit.flush().unwrap();
        let history = audit.history(&wallet, ENTRIES_MAX).unwrap();
        assert_eq!((history.entries[0].answered_at_ms, history.entries[1].answered_at_ms), (50, 39));
    }
}
