//! Look-ups over records that are kept in memory: for the simulator and for tests. Written without the index and its bytes, so that
//! it can check them.

use std::collections::HashMap;

use super::payment::{InvoiceRow, PaymentRow, RequestRow, Rows, RowsError, Standing};
use super::record::{Accepted, Ending, Entry, Record};
use super::types::{ConnectionId, RequestKey};
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;

/// All records since the first, and where to find what in them.
#[derive(Clone, Debug, Default)]
pub struct MemoryRows {
    entries: Vec<Entry>,
    requests: HashMap<RequestKey, Known>,
    payments: HashMap<PaymentHash, (u64, Option<u64>)>,
    invoices: HashMap<PaymentHash, (u64, Option<u64>)>,
}

#[derive(Clone, Copy, Debug)]
enum Known {
    Paying,
    Answered(u64),
    Invoice(PaymentHash),
}

impl MemoryRows {
    /// The records of a journal, or of the part of it that survived.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut rows = Self::default();
        entries.into_iter().for_each(|entry| rows.append(entry));
        rows
    }

    /// All records in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds the next record, its answers signed.
    pub fn append(&mut self, entry: Entry) {
        let seq = entry.seq;
        match &entry.record {
            Record::Invoice(invoice) => {
                self.requests.insert(invoice.request.key, Known::Invoice(invoice.hash));
                self.invoices.insert(invoice.hash, (seq, None));
            }
            Record::Intent(intent) => {
                self.requests.insert(intent.request.key, Known::Paying);
                self.payments.insert(intent.hash, (seq, None));
            }
            Record::Attach { request, .. } => {
                self.requests.insert(request.key, Known::Paying);
            }
            Record::Answer { answered, .. } => {
                self.requests.insert(answered.request.key, Known::Answered(seq));
            }
            Record::Done(done) => {
                for answered in &done.answers {
                    self.requests.insert(answered.request.key, Known::Answered(seq));
                }
                self.payments.insert(done.hash, (done.intent, Some(seq)));
                if let Some(invoice) = self.invoices.get_mut(&done.hash).filter(|_| done.payee.is_some()) {
                    invoice.1 = Some(seq);
                }
            }
            Record::Received { hash, .. } | Record::Canceled { hash, .. } | Record::Accepted(Accepted { hash, .. }) => {
                if let Some(invoice) = self.invoices.get_mut(hash) {
                    invoice.1 = Some(seq);
                }
            }
            _ => {}
        }
        self.entries.push(entry);
    }

    fn entry(&self, seq: u64) -> Result<&Entry, RowsError> {
        let at = usize::try_from(seq).unwrap_or(usize::MAX).wrapping_sub(1);
        self.entries.get(at).ok_or_else(|| RowsError(format!("record {seq} is missing")))
    }

    fn answer(&self, seq: u64, key: &RequestKey) -> Result<RequestRow, RowsError> {
        let found = match &self.entry(seq)?.record {
            Record::Done(done) => done.answers.iter().find(|answered| answered.request.key == *key),
            Record::Answer { answered, .. } => Some(answered),
            _ => None,
        };
        let answered = found.ok_or_else(|| RowsError(format!("record {seq} has no such answer")))?;
        Ok(RequestRow::Answered(answered.request.clone(), answered.event.clone()))
    }
}

impl Rows for MemoryRows {
    fn request(&self, key: &RequestKey) -> Result<Option<RequestRow>, RowsError> {
        Ok(match self.requests.get(key) {
            None => None,
            Some(Known::Paying) => Some(RequestRow::Paying),
            Some(Known::Answered(seq)) => Some(self.answer(*seq, key)?),
            Some(Known::Invoice(hash)) => self.invoice(hash)?.map(|row| RequestRow::Invoice(Box::new(row))),
        })
    }

    fn payment(&self, hash: &PaymentHash) -> Result<Option<PaymentRow>, RowsError> {
        let Some((open, end)) = self.payments.get(hash) else { return Ok(None) };
        let Entry { at_ms, record: Record::Intent(intent), .. } = self.entry(*open)? else {
            return Err(RowsError(format!("record {open} is no intent")));
        };
        let done = match end.map(|end| self.entry(end)).transpose()? {
            Some(Entry { at_ms, record: Record::Done(done), .. }) => Some((*at_ms, (**done).clone())),
            _ => None,
        };
        Ok(Some(PaymentRow { seq: *open, at_ms: *at_ms, intent: (**intent).clone(), done }))
    }

    fn invoice(&self, hash: &PaymentHash) -> Result<Option<InvoiceRow>, RowsError> {
        let Some((open, end)) = self.invoices.get(hash) else { return Ok(None) };
        let Entry { at_ms, record: Record::Invoice(invoice), .. } = self.entry(*open)? else {
            return Err(RowsError(format!("record {open} is no invoice")));
        };
        let standing = match end.map(|end| self.entry(end)).transpose()? {
            None => Standing::Open,
            Some(Entry { at_ms, record: Record::Received { amount, preimage, .. }, .. }) => {
                Standing::Paid { at_ms: *at_ms, amount: *amount, preimage: *preimage, inside: false }
            }
            Some(Entry { at_ms, record: Record::Accepted(accepted), .. }) => {
                Standing::Held { at_ms: *at_ms, amount: accepted.amount }
            }
            Some(Entry { record: Record::Canceled { reason, .. }, .. }) => Standing::Canceled { reason: reason.clone() },
            Some(Entry { at_ms, record: Record::Done(done), .. }) => {
                let Entry { record: Record::Intent(intent), .. } = self.entry(done.intent)? else {
                    return Err(RowsError(format!("record {} is no intent", done.intent)));
                };
                let preimage = match &done.ending {
                    Ending::Settled { preimage, .. } => Some(*preimage),
                    Ending::Failed { .. } => None,
                };
                Standing::Paid { at_ms: *at_ms, amount: intent.amount, preimage, inside: true }
            }
            Some(entry) => return Err(RowsError(format!("record {} ends no invoice", entry.seq))),
        };
        Ok(Some(InvoiceRow { seq: *open, at_ms: *at_ms, invoice: (**invoice).clone(), standing }))
    }

    fn spent_since(&self, connection: ConnectionId, since_ms: u64) -> Result<Msat, RowsError> {
        let mut sum = Msat::ZERO;
        for entry in &self.entries {
            let Record::Done(done) = &entry.record else { continue };
            let Ending::Settled { fee, .. } = &done.ending else { continue };
            let Entry { at_ms, record: Record::Intent(intent), .. } = self.entry(done.intent)? else { continue };
            if done.connection == connection && *at_ms >= since_ms {
                sum = [intent.amount, *fee].into_iter().try_fold(sum, Msat::checked_add).unwrap_or(Msat::MAX);
            }
        }
        Ok(sum)
    }
}
