//! State is the fold of the records: the same function for a record that is just being made and for one from the disk.
//!
//! The invariants are checked here, so that they hold in the product, in the simulator and when a journal is read again.

use sha2::{Digest, Sha256};

use super::super::budget::Spending;
use super::super::ledger::LedgerError;
#[cfg(test)]
use super::super::planted::Bug;
use super::super::record::{Accepted, Book, Done, Ending, Entry, Intent, Invoice, Payee, Posting, Record, Used, Word};
use super::super::types::{AccountId, ConnectionId, ConnectionRow, Preimage, RequestRef};
use super::State;
use super::state::{Connection, Hold, Open, OpenInvoice, Watch};
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;

/// An invariant that a record would break. Seen in operation: a bug. Seen while reading: a journal that was tampered with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Records come without a gap.
    #[error("record {found} follows record {last}")]
    Gap {
        /// The last one.
        last: u64,
        /// The one that came.
        found: u64,
    },
    /// I1.
    #[error("a second payment of hash {0} while one is under way")]
    SecondIntent(PaymentHash),
    /// I2.
    #[error("connection {} uses more than its budget", .0.0)]
    OverBudget(ConnectionId),
    /// I3.
    #[error("double entry: {0}")]
    Ledger(#[from] LedgerError),
    /// I4.
    #[error("an outcome for hash {0} that is not under way")]
    NotOpen(PaymentHash),
    /// I5.
    #[error("the preimage does not belong to hash {0}")]
    Preimage(PaymentHash),
    /// A hold invoice that is not what the record takes it for.
    #[error("hold invoice {0} is not in a state for this")]
    Hold(PaymentHash),
    /// A record names something that does not exist.
    #[error("record names a connection or account that does not exist")]
    Unknown,
    /// A connection's time zone or number is not possible.
    #[error("connection {} has rules that are not possible", .0.0)]
    BadRules(ConnectionId),
}

impl State {
    /// Applies one record.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Broken> {
        if entry.seq != self.seq + 1 {
            return Err(Broken::Gap { last: self.seq, found: entry.seq });
        }
        self.apply_record(entry)?;
        self.seq = entry.seq;
        self.latest_ms = self.latest_ms.max(entry.at_ms);
        Ok(())
    }

    fn apply_record(&mut self, entry: &Entry) -> Result<(), Broken> {
        match &entry.record {
            Record::Genesis { .. } | Record::Answer { .. } => Ok(()),
            Record::Account { id, name } => {
                self.touched.accounts.insert(*id);
                Ok(self.ledger.create(*id, name)?)
            }
            Record::Connection { row, used } => self.apply_connection(row, *used, entry.at_ms),
            Record::Fund { postings } | Record::Move { postings } => self.post(postings),
            Record::Received { hash, preimage, postings, .. } => self.apply_received(hash, *preimage, postings),
            Record::Invoice(invoice) => self.apply_invoice(entry.seq, invoice),
            Record::Intent(intent) => self.apply_intent(entry.seq, entry.at_ms, intent),
            Record::Attach { request, hash } => self.apply_attach(request, hash),
            Record::Driven { hash } => {
                let open = self.open.get_mut(hash).filter(|open| !open.is_inside).ok_or(Broken::NotOpen(*hash))?;
                (open.attempt, open.attempt_at_ms) = (entry.seq, entry.at_ms);
                Ok(())
            }
            Record::Done(done) => self.apply_done(done, entry.at_ms),
            Record::Suspend { connection, reason } => self.apply_suspension(*connection, Some(reason.clone())),
            Record::Resume { connection } => self.apply_suspension(*connection, None),
            Record::Accepted(accepted) => self.apply_accepted(accepted, entry.at_ms),
            Record::Decided { hash, payee, word, .. } => self.apply_decided(hash, *payee, *word, entry.at_ms),
            Record::Canceled { hash, .. } => {
                self.close_invoice(hash);
                self.end_hold(hash);
                Ok(())
            }
            Record::Reconciled { refused_before_s, .. } => {
                self.refused_before_s = self.refused_before_s.max(*refused_before_s);
                Ok(())
            }
            Record::Clock { frozen_at_ms } => {
                self.frozen_at_ms = *frozen_at_ms;
                Ok(())
            }
        }
    }

    fn apply_received(&mut self, hash: &PaymentHash, preimage: Option<Preimage>, postings: &[Posting]) -> Result<(), Broken> {
        if preimage.is_some_and(|preimage| preimage.hash() != *hash) {
            return Err(Broken::Preimage(*hash));
        }
        self.close_invoice(hash);
        self.end_hold(hash);
        self.post(postings)
    }

    fn apply_accepted(&mut self, accepted: &Accepted, at_ms: u64) -> Result<(), Broken> {
        let hash = accepted.hash;
        if self.holds.contains_key(&hash) {
            return Err(Broken::Hold(hash));
        }
        if let Some(payer) = accepted.payer {
            let open = self.open.get_mut(&hash).filter(|open| open.seq == payer).ok_or(Broken::NotOpen(hash))?;
            open.is_inside = true;
        }
        self.close_invoice(&hash);
        self.begin_hold(
            hash,
            Hold {
                payee: accepted.payee,
                amount: accepted.amount,
                since_ms: at_ms,
                is_paid: true,
                payer: accepted.payer,
                settle_deadline: accepted.settle_deadline,
                word: None,
                tell_at_ms: 0,
                told: 0,
                waiting: Vec::new(),
            },
        )
    }

    /// A hold keeps its maker's slot among the open invoices.
    fn begin_hold(&mut self, hash: PaymentHash, hold: Hold) -> Result<(), Broken> {
        let connection = self.connections.get_mut(&hold.payee.connection).ok_or(Broken::Unknown)?;
        connection.open_invoices += 1;
        connection.open_holds += 1;
        if !connection.row.rules.active {
            self.abandoned.insert(hold.payee.connection);
        }
        self.holds.insert(hash, hold);
        Ok(())
    }

    fn end_hold(&mut self, hash: &PaymentHash) {
        if let Some(hold) = self.holds.remove(hash)
            && let Some(connection) = self.connections.get_mut(&hold.payee.connection)
        {
            connection.open_invoices = connection.open_invoices.saturating_sub(1);
            connection.open_holds = connection.open_holds.saturating_sub(1);
        }
    }

    fn apply_decided(&mut self, hash: &PaymentHash, payee: Payee, word: Word, at_ms: u64) -> Result<(), Broken> {
        if let Word::Settle(preimage) = word
            && preimage.hash() != *hash
        {
            return Err(Broken::Preimage(*hash));
        }
        let is_settling = matches!(word, Word::Settle(_));
        if let Some(hold) = self.holds.get_mut(hash) {
            if hold.word.is_some() || hold.payer.is_some() || (is_settling && !hold.is_paid) {
                return Err(Broken::Hold(*hash));
            }
            hold.word = Some(word);
            return Ok(());
        }
        if is_settling {
            return Err(Broken::Hold(*hash));
        }
        self.close_invoice(hash);
        self.begin_hold(
            *hash,
            Hold {
                payee,
                amount: Msat::ZERO,
                since_ms: at_ms,
                is_paid: false,
                payer: None,
                settle_deadline: None,
                word: Some(word),
                tell_at_ms: 0,
                told: 0,
                waiting: Vec::new(),
            },
        )
    }

    fn post(&mut self, postings: &[Posting]) -> Result<(), Broken> {
        self.ledger.post(postings)?;
        for posting in postings {
            if let Book::Account(id) = posting.book {
                self.touched.accounts.insert(id);
            }
        }
        Ok(())
    }

    fn apply_connection(&mut self, row: &ConnectionRow, used: Used, at_ms: u64) -> Result<(), Broken> {
        self.ledger.spendable(row.rules.account).ok_or(Broken::Unknown)?;
        let held = self
            .open
            .values()
            .filter(|open| open.intent.request.connection == row.id && open.belongs_ms >= used.since_ms)
            .try_fold(Msat::ZERO, |sum, open| sum.checked_add(open.hold()))
            .unwrap_or(Msat::MAX);
        let spending =
            Spending::new(row.rules.budget.as_ref(), used, held, self.budget_ms(at_ms)).ok_or(Broken::BadRules(row.id))?;
        self.touched.connections.insert(row.id);
        if row.rules.active {
            self.abandoned.remove(&row.id);
        } else {
            self.abandoned.insert(row.id);
        }
        match self.connections.get_mut(&row.id) {
            Some(connection) => {
                connection.row = row.clone();
                connection.spending = spending;
            }
            None => {
                let fresh = Connection {
                    row: row.clone(),
                    spending,
                    inexact_ms: 0,
                    in_flight: 0,
                    open_invoices: 0,
                    open_holds: 0,
                    suspended: None,
                };
                self.connections.insert(row.id, fresh);
            }
        }
        Ok(())
    }

    fn apply_suspension(&mut self, id: ConnectionId, why: Option<String>) -> Result<(), Broken> {
        self.touched.connections.insert(id);
        self.connections.get_mut(&id).ok_or(Broken::Unknown)?.suspended = why;
        Ok(())
    }

    fn apply_invoice(&mut self, seq: u64, invoice: &Invoice) -> Result<(), Broken> {
        if invoice.preimage.is_some_and(|preimage| preimage.hash() != invoice.hash) {
            return Err(Broken::Preimage(invoice.hash));
        }
        let connection = self.connections.get_mut(&invoice.request.connection).ok_or(Broken::Unknown)?;
        connection.open_invoices += 1;
        connection.open_holds += usize::from(invoice.preimage.is_none());
        if !connection.row.rules.active {
            self.abandoned.insert(invoice.request.connection);
        }
        let open = OpenInvoice {
            seq,
            payee: Payee { account: invoice.account, connection: invoice.request.connection },
            text_digest: Sha256::digest(invoice.bolt11.as_bytes()).into(),
            preimage: invoice.preimage,
            expires_at_s: invoice.expires_at_s,
        };
        self.by_expiry.insert((invoice.expires_at_s, invoice.hash));
        self.invoices.insert(invoice.hash, open);
        Ok(())
    }

    fn apply_intent(&mut self, seq: u64, at_ms: u64, intent: &Intent) -> Result<(), Broken> {
        if self.open.contains_key(&intent.hash) {
            return Err(Broken::SecondIntent(intent.hash));
        }
        let id = intent.request.connection;
        let budget_ms = self.budget_ms(at_ms);
        let hold = intent.amount.checked_add(intent.fee_max).ok_or(Broken::OverBudget(id))?;
        self.ledger.spendable(intent.account).ok_or(Broken::Unknown)?;
        let connection = self.connections.get_mut(&id).ok_or(Broken::Unknown)?;
        connection.spending.turn(budget_ms);
        if connection.spending.left().is_some_and(|left| hold > left) {
            return Err(Broken::OverBudget(id));
        }
        let belongs_ms = connection.spending.hold(hold, budget_ms);
        if budget_ms != at_ms {
            connection.inexact_ms = connection.inexact_ms.max(at_ms);
        }
        #[cfg(test)]
        if self.planted.bug == Some(Bug::BudgetCountsSettledOnly) {
            connection.spending.end(belongs_ms, hold, Msat::ZERO);
        }
        connection.in_flight += 1;
        self.ledger.hold(intent.account, hold)?;
        self.touched.accounts.insert(intent.account);
        self.touched.connections.insert(id);
        let open = Open {
            seq,
            attempt: seq,
            attempt_at_ms: at_ms,
            at_ms,
            intent: intent.clone(),
            waiting: vec![intent.request.clone()],
            belongs_ms,
            is_inside: false,
            watch: Watch { ask_at_ms: at_ms, ..Watch::default() },
        };
        self.open.insert(intent.hash, open);
        Ok(())
    }

    fn apply_attach(&mut self, request: &RequestRef, hash: &PaymentHash) -> Result<(), Broken> {
        let open = self.open.get_mut(hash).ok_or(Broken::NotOpen(*hash))?;
        open.waiting.push(request.clone());
        Ok(())
    }

    fn apply_done(&mut self, done: &Done, at_ms: u64) -> Result<(), Broken> {
        if let Ending::Settled { preimage, .. } = &done.ending
            && preimage.hash() != done.hash
        {
            return Err(Broken::Preimage(done.hash));
        }
        if done.correction {
            return self.apply_correction(done, at_ms);
        }
        let open = self.open.get(&done.hash).filter(|open| open.seq == done.intent).ok_or(Broken::NotOpen(done.hash))?;
        let (id, account, hold, belongs_ms) = (open.intent.request.connection, open.intent.account, open.hold(), open.belongs_ms);
        let cost = cost(&done.ending, open.intent.amount);
        #[cfg(test)]
        let cost = if self.has(Bug::FeeNotCounted) { cost.min(open.intent.amount) } else { cost };
        self.post(&done.postings)?;
        self.release(account, hold)?;
        self.open.remove(&done.hash);
        if done.payee.is_some() {
            self.close_invoice(&done.hash);
            self.end_hold(&done.hash);
        }
        let budget_ms = self.budget_ms(at_ms);
        self.touched.connections.insert(id);
        let connection = self.connections.get_mut(&id).ok_or(Broken::Unknown)?;
        connection.in_flight = connection.in_flight.saturating_sub(1);
        connection.spending.turn(budget_ms);
        connection.spending.end(belongs_ms, hold, cost);
        // A back end that took more than its limit is booked as it is and the connection suspended: no broken rule of ours.
        Ok(())
    }

    /// I4: what was said to have failed was paid. The money is gone, whatever the budget says.
    fn apply_correction(&mut self, done: &Done, at_ms: u64) -> Result<(), Broken> {
        self.post(&done.postings)?;
        let lost = done
            .postings
            .iter()
            .filter(|posting| matches!(posting.book, Book::Account(_)))
            .map(|posting| posting.msat.unsigned_abs());
        let cost = Msat::new(lost.sum()).unwrap_or(Msat::MAX);
        let budget_ms = self.budget_ms(at_ms);
        self.touched.connections.insert(done.connection);
        let connection = self.connections.get_mut(&done.connection).ok_or(Broken::Unknown)?;
        connection.spending.turn(budget_ms);
        connection.spending.end(u64::MAX, Msat::ZERO, cost);
        Ok(())
    }

    fn release(&mut self, account: AccountId, hold: Msat) -> Result<(), Broken> {
        self.touched.accounts.insert(account);
        Ok(self.ledger.release(account, hold)?)
    }
}

/// What a payment cost its budget.
fn cost(ending: &Ending, amount: Msat) -> Msat {
    match ending {
        Ending::Settled { fee, .. } => amount.checked_add(*fee).unwrap_or(Msat::MAX),
        Ending::Failed { .. } => Msat::ZERO,
    }
}
