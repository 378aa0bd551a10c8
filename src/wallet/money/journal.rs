//! The journal on disk: appended to in batches, each synced once and then anchored; read once, at start, from end to end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::anchor::{Anchor, LAG_RECORDS_MAX, Mark, synced_log};
use super::index::{
    FAMILIES, HASHES, JOURNAL, LISTS, ListState, REQUESTS, Scope, list_end, list_key, list_prefix, read_list_value,
};
use super::layout::{self, Link};
use super::payment::{InvoiceRow, PaymentRow, RequestRow, Rows, RowsError, State};
use super::record::{Entry, Record};
use super::rows::{self, Source};
use super::turn::Pages;
use super::types::{ConnectionId, RequestKey};
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;
use crate::kv::{self, Batch, Db, Family, Sync};

/// Most records of one batch.
pub(super) const BATCH_RECORDS_MAX: u64 = 2_048;
/// Records that a single step may add on top: a tick that ends hold invoices adds the most.
const STEP_RECORDS_MAX: u64 = 256;
/// Records that are indexed in one batch when all rows are made anew.
const REINDEX_RECORDS: u64 = 512;
/// Rows that are removed in one batch then.
const CLEAR_ROWS: usize = 10_000;

/// Why the journal does not open.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The database.
    #[error("the wallet's database: {0}")]
    Database(#[from] kv::OpenError),
    /// Reading it.
    #[error("the wallet's journal: {0}")]
    Read(#[from] kv::ReadError),
    /// The anchor file.
    #[error("{}: {source}", .path.display())]
    Anchor {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It belongs to another node.
    #[error("the wallet's journal is that of node {journal}, this node is {node}; use the keys or the data that belong together")]
    OtherNode {
        /// In the journal.
        journal: String,
        /// Now.
        node: String,
    },
}

/// Why a batch was not committed. The process must end: what is on the disk is known only after a new start.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The database.
    #[error("{0}")]
    Commit(#[from] kv::CommitError),
    /// The anchor file.
    #[error("writing the anchor failed: {0}")]
    Anchor(#[from] std::io::Error),
    /// Rows that the batch needs.
    #[error("{0}")]
    Rows(#[from] RowsError),
    /// There is no anchor to write (safe mode).
    #[error("the journal is not open for writing")]
    Closed,
}

/// What is committed.
#[derive(Clone)]
pub(super) struct Shelf(pub(super) Db);

impl Source for Shelf {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        self.0.get(family, key).map_err(|error| RowsError(error.to_string()))
    }
}

/// The journal, with the batch that is being made.
pub(super) struct Journal {
    dir: PathBuf,
    shelf: Shelf,
    anchor: Option<Anchor>,
    /// Where the batch ends.
    mark: Mark,
    batch: Batch,
    fresh: HashMap<(Family, Vec<u8>), Vec<u8>>,
    records: u64,
    /// The next commit makes the anchor anew.
    is_anew: bool,
}

/// What reading the journal found.
pub(super) struct Found {
    /// The journal, ready to be appended to.
    pub(super) journal: Journal,
    /// Why nothing may be written or paid.
    pub(super) damage: Option<Damage>,
    /// Marks of the anchor that are not what was written.
    pub(super) damaged_marks: usize,
}

/// What is wrong with a journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Damage {
    /// For the operator.
    pub(super) words: String,
    /// Its records are not a chain: nothing can be built on it.
    pub(super) is_broken: bool,
    /// Records that the anchor knows of and the journal has not.
    pub(super) lost: Option<u64>,
}

impl Damage {
    fn broken(words: String) -> Self {
        Self { words, is_broken: true, lost: None }
    }

    fn of_anchor(words: impl Into<String>, lost: Option<u64>) -> Self {
        Self { words: words.into(), is_broken: false, lost }
    }
}

impl Journal {
    /// Opens the journal and folds it into `state`, record by record; `each` sees them too.
    pub(super) fn open(
        dir: &Path,
        config: &kv::Config,
        node: &str,
        state: &mut State,
        each: &mut dyn FnMut(&Entry),
    ) -> Result<Found, JournalError> {
        let config = kv::Config { synced: synced_log(dir), ..config.clone() };
        let db = Db::open(dir, &FAMILIES, &config)?;
        let (mark, damage, is_new) = replay(&db, node, state, each)?;
        let anchor_error = |source| JournalError::Anchor { path: dir.join(super::anchor::FILE), source };
        let damaged_marks = super::anchor::damaged_slots(dir).map_err(anchor_error)?;
        let (anchor, anchored) = Anchor::open(dir, is_new).map_err(anchor_error)?;
        let damage = damage.or_else(|| anchor_damage(&db, mark, anchored));
        let dir = dir.to_owned();
        let journal =
            Self { dir, shelf: Shelf(db), anchor, mark, batch: Batch::new(), fresh: HashMap::new(), records: 0, is_anew: false };
        Ok(Found { journal, damage, damaged_marks })
    }

    /// What is committed, for readers on other threads.
    pub(super) fn shelf(&self) -> Shelf {
        self.shelf.clone()
    }

    fn index(&mut self, entry: &Entry) -> Result<(), RowsError> {
        let mut index = Vec::with_capacity(8);
        rows::index(self, entry, &mut |family, key, value| index.push((family, key.to_vec(), value.to_vec())))?;
        for (family, key, value) in index {
            self.put(family, &key, &value);
        }
        Ok(())
    }

    fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.batch.put(family, key, value);
        self.fresh.insert((family, key.to_vec()), value.to_vec());
    }

    fn forget_batch(&mut self) {
        self.batch.clear();
        self.fresh.clear();
        self.records = 0;
    }

    /// `Err` once the anchor could not be synced, which is found out after the commit that it belongs to.
    pub(super) fn check(&self) -> Result<(), WriteError> {
        Ok(self.anchor.as_ref().map_or(Ok(()), Anchor::check)?)
    }

    /// Brings an anchor that is behind up to date, after the journal was found whole.
    pub(super) fn anchor_now(&mut self) -> Result<(), WriteError> {
        let anchor = self.anchor.as_ref().ok_or(WriteError::Closed)?;
        anchor.write(self.mark, self.shelf.0.log_end())?;
        Ok(anchor.flush()?)
    }

    /// For a journal whose owner says that it is the right one: makes all rows beside it anew, and lets it end with the next commit,
    /// whatever the anchor knew. A crash before that leaves it as it was: in safe mode.
    pub(super) fn begin_anew(&mut self) -> Result<(), WriteError> {
        self.reindex()?;
        self.is_anew = true;
        Ok(())
    }

    /// After a loss, rows may name records that are gone.
    fn reindex(&mut self) -> Result<(), WriteError> {
        for family in [REQUESTS, HASHES, LISTS] {
            self.clear(family)?;
        }
        for seq in 1..=self.mark.seq {
            let entry = rows::entry(self, seq)?;
            self.index(&entry)?;
            if seq % REINDEX_RECORDS == 0 || seq == self.mark.seq {
                self.shelf.0.commit(&self.batch, Sync::Yes)?;
                self.forget_batch();
            }
        }
        Ok(())
    }

    fn clear(&mut self, family: Family) -> Result<(), WriteError> {
        loop {
            let mut batch = Batch::new();
            let failed = |error: kv::ReadError| RowsError(error.to_string());
            let mut cursor = self.shelf.0.cursor(family, &[], &[], None).map_err(failed)?;
            cursor.seek_first();
            while let Some((key, _)) = cursor.entry().map_err(failed)? {
                batch.delete(family, key);
                if batch.len() >= CLEAR_ROWS {
                    break;
                }
                cursor.next();
            }
            if batch.is_empty() {
                return Ok(());
            }
            self.shelf.0.commit(&batch, Sync::Yes)?;
        }
    }

    /// Writes everything as files, so that the next start reads no log.
    pub(super) fn flush(&self) -> Result<(), WriteError> {
        self.shelf.0.flush()?;
        Ok(self.anchor.as_ref().map_or(Ok(()), Anchor::flush)?)
    }
}

impl Pages for Journal {
    fn append(&mut self, entry: &Entry) -> Result<(), WriteError> {
        let value = layout::encode(entry, &self.mark.link);
        self.mark = Mark { seq: entry.seq, link: layout::link(entry.seq, &value) };
        self.records += 1;
        self.put(JOURNAL, &entry.seq.to_be_bytes(), &value);
        Ok(self.index(entry)?)
    }

    fn pending(&self) -> u64 {
        self.records
    }

    /// One synced commit. Its mark is written to the anchor, whose own sync nobody waits for: the anchor may be behind what is durable
    /// and never ahead of it.
    fn commit(&mut self) -> Result<(), WriteError> {
        if self.is_anew {
            self.shelf.0.commit(&self.batch, Sync::Yes)?;
            self.anchor = Some(Anchor::make(&self.dir, self.mark, self.shelf.0.log_end())?);
            self.is_anew = false;
        } else {
            let anchor = self.anchor.as_ref().ok_or(WriteError::Closed)?;
            self.shelf.0.commit(&self.batch, Sync::Yes)?;
            anchor.write(self.mark, self.shelf.0.log_end())?;
        }
        self.forget_batch();
        Ok(())
    }
}

impl Source for Journal {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        if !self.fresh.is_empty()
            && let Some(value) = self.fresh.get(&(family, key.to_vec()))
        {
            return Ok(Some(value.clone()));
        }
        self.shelf.get(family, key)
    }
}

impl Rows for Journal {
    fn request(&self, key: &RequestKey) -> Result<Option<RequestRow>, RowsError> {
        rows::request(self, key)
    }

    fn payment(&self, hash: &PaymentHash) -> Result<Option<PaymentRow>, RowsError> {
        rows::payment(self, hash)
    }

    fn invoice(&self, hash: &PaymentHash) -> Result<Option<InvoiceRow>, RowsError> {
        rows::invoice(self, hash)
    }

    fn spent_since(&self, connection: ConnectionId, since_ms: u64) -> Result<Msat, RowsError> {
        let scope = Scope::Connection(connection);
        let read = |error: kv::ReadError| RowsError(error.to_string());
        let last = list_key(scope, since_ms, 0);
        let mut found = std::collections::BTreeMap::new();
        let mut cursor = self.shelf.0.cursor(LISTS, &list_prefix(scope), &list_end(scope), None).map_err(read)?;
        cursor.seek_first();
        while let Some((key, value)) = cursor.entry().map_err(read)? {
            if key > &last[..] {
                break;
            }
            found.insert(key.to_vec(), value.to_vec());
            cursor.next();
        }
        for ((family, key), value) in &self.fresh {
            if *family == LISTS && key.starts_with(&list_prefix(scope)) && key[..] <= last[..] {
                found.insert(key.clone(), value.clone());
            }
        }
        let mut sum = Msat::ZERO;
        for value in found.values() {
            let value = read_list_value(value)?;
            if value.state == ListState::Settled {
                sum = sum.checked_add(value.cost).unwrap_or(Msat::MAX);
            }
        }
        Ok(sum)
    }
}

/// Reads all records: numbers without a gap, each naming the link of the one before, each a possible step. The third value says
/// whether there were none.
fn replay(
    db: &Db,
    node: &str,
    state: &mut State,
    each: &mut dyn FnMut(&Entry),
) -> Result<(Mark, Option<Damage>, bool), JournalError> {
    let mut mark = Mark { seq: 0, link: [0; 32] };
    let mut cursor = db.cursor(JOURNAL, &[], &[], None)?;
    cursor.seek_first();
    while let Some((key, value)) = cursor.entry()? {
        let (entry, link) = match check(key, value, mark) {
            Ok(checked) => checked,
            Err(words) => return Ok((mark, Some(Damage::broken(words)), false)),
        };
        if let Record::Genesis { node: journal } = &entry.record
            && journal != node
        {
            return Err(JournalError::OtherNode { journal: journal.clone(), node: node.to_owned() });
        }
        if let Err(broken) = state.apply(&entry) {
            let words = format!("record {} of the journal is not possible: {broken}", entry.seq);
            return Ok((mark, Some(Damage::broken(words)), false));
        }
        mark = Mark { seq: entry.seq, link };
        each(&entry);
        cursor.next();
    }
    Ok((mark, None, mark.seq == 0))
}

fn check(key: &[u8], value: &[u8], mark: Mark) -> Result<(Entry, Link), String> {
    let expected = mark.seq + 1;
    if key != expected.to_be_bytes() {
        return Err(format!("record {expected} of the journal is missing"));
    }
    let (entry, before) = layout::decode(expected, value).ok_or_else(|| layout::unreadable(expected, value))?;
    if before != mark.link {
        return Err(format!("record {expected} of the journal does not follow the one before it"));
    }
    Ok((entry, layout::link(expected, value)))
}

/// The anchor may be behind the journal, within bounds, and never ahead of it.
fn anchor_damage(db: &Db, mark: Mark, anchored: Option<Mark>) -> Option<Damage> {
    let Some(anchored) = anchored else {
        let words = "the anchor file is missing or unreadable, so nobody can say whether the journal is whole";
        return Some(Damage::of_anchor(words, None));
    };
    if anchored.seq > mark.seq {
        let words = format!(
            "the journal ends at record {}, the anchor says that there were {}: records are lost",
            mark.seq, anchored.seq
        );
        return Some(Damage::of_anchor(words, Some(anchored.seq - mark.seq)));
    }
    if mark.seq - anchored.seq > LAG_RECORDS_MAX + BATCH_RECORDS_MAX + STEP_RECORDS_MAX {
        let words = format!("the anchor is {} records behind the journal: it belongs to another time", mark.seq - anchored.seq);
        return Some(Damage::of_anchor(words, None));
    }
    let link = match anchored.seq {
        0 => Some([0; 32]),
        seq => db.get_with(JOURNAL, &seq.to_be_bytes(), |value| layout::link(seq, value)).ok().flatten(),
    };
    (link != Some(anchored.link)).then(|| Damage::of_anchor("the journal is not the one that the anchor knows", None))
}
