//! The disk of the simulated world: it keeps the real bytes of the journal, forgets what was not synced, and is read after a crash the
//! way the product reads its own: record by record, each link checked, then compared with the anchor (I8).

use super::super::super::anchor::Mark;
use super::super::super::journal::WriteError;
use super::super::super::layout::{self, Link};
use super::super::super::memory::MemoryRows;
use super::super::super::payment::{InvoiceRow, PaymentRow, RequestRow, Rows, RowsError};
use super::super::super::record::Entry;
use super::super::super::turn::Pages;
use super::super::super::types::{ConnectionId, RequestKey};
use super::Verdict;
use super::choice::Commit;
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;

/// Journal and anchor, with the batch that is being made.
#[derive(Clone)]
pub(super) struct Disk {
    rows: MemoryRows,
    values: Vec<Vec<u8>>,
    link: Link,
    synced: usize,
    anchor: Mark,
    /// How the next commit goes.
    pub(super) next: Commit,
}

impl Disk {
    /// An empty one.
    pub(super) fn new() -> Self {
        let anchor = Mark { seq: 0, link: [0; 32] };
        Self { rows: MemoryRows::default(), values: Vec::new(), link: [0; 32], synced: 0, anchor, next: Commit::Good }
    }

    /// All records, those of the batch too.
    pub(super) fn entries(&self) -> &[Entry] {
        self.rows.entries()
    }

    /// How many records survive a crash.
    pub(super) fn synced(&self) -> u64 {
        self.synced as u64
    }

    /// Names the whole journal, and what of it is on the disk and anchored.
    pub(super) fn name(&self) -> (Link, usize, u64) {
        (self.link, self.synced, self.anchor.seq)
    }

    /// The process is gone: what was not synced is too. Reads what is there, as a start does.
    pub(super) fn crash(&mut self) -> Verdict {
        if let Some(torn) = self.values.get(self.synced) {
            let cut = &torn[..torn.len() / 2];
            ensure!(layout::decode(self.synced() + 1, cut).is_none(), "a torn record is read as a whole one");
        }
        self.values.truncate(self.synced);
        let mut entries = Vec::with_capacity(self.synced);
        let (mut link, mut anchored) = ([0; 32], self.anchor.seq == 0);
        for (seq, value) in (1..).zip(&self.values) {
            let Some((entry, before)) = layout::decode(seq, value) else { return Err(format!("record {seq} is damaged")) };
            ensure!(before == link, "record {seq} does not follow the one before");
            link = layout::link(seq, value);
            anchored |= self.anchor == Mark { seq, link };
            entries.push(entry);
        }
        ensure!(anchored, "the anchor knows record {}, the journal has {}", self.anchor.seq, entries.len());
        ensure!(entries[..] == self.rows.entries()[..self.synced], "what is read is not what was written");
        self.rows = MemoryRows::new(entries);
        self.link = link;
        // A start brings the anchor up to date before anything else.
        self.anchor = Mark { seq: self.synced(), link };
        Ok(())
    }
}

impl Pages for Disk {
    fn append(&mut self, entry: &Entry) -> Result<(), WriteError> {
        let value = layout::encode(entry, &self.link);
        self.link = layout::link(entry.seq, &value);
        self.values.push(value);
        self.rows.append(entry.clone());
        Ok(())
    }

    fn pending(&self) -> u64 {
        (self.values.len() - self.synced) as u64
    }

    fn commit(&mut self) -> Result<(), WriteError> {
        let how = std::mem::replace(&mut self.next, Commit::Good);
        if how == Commit::Lost {
            return Err(WriteError::Closed);
        }
        self.synced = self.values.len();
        if how != Commit::Written {
            self.anchor = Mark { seq: self.synced(), link: self.link };
        }
        if how == Commit::Good { Ok(()) } else { Err(WriteError::Closed) }
    }
}

impl Rows for Disk {
    fn request(&self, key: &RequestKey) -> Result<Option<RequestRow>, RowsError> {
        self.rows.request(key)
    }

    fn payment(&self, hash: &PaymentHash) -> Result<Option<PaymentRow>, RowsError> {
        self.rows.payment(hash)
    }

    fn invoice(&self, hash: &PaymentHash) -> Result<Option<InvoiceRow>, RowsError> {
        self.rows.invoice(hash)
    }

    fn spent_since(&self, connection: ConnectionId, since_ms: u64) -> Result<Msat, RowsError> {
        self.rows.spent_since(connection, since_ms)
    }
}
