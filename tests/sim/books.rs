//! The invariants, kept by a second bookkeeper who reads the journal's records and shares no line with the core: I2 to I6 as each
//! record is written, and again from nothing after each crash.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::period::{Period, period_at, zone};
use super::super::super::record::{Book, Done, Ending, Entry, Intent, Posting, Record, Word};
use super::super::super::types::{AccountId, Budget, ConnectionId, RequestKey};
use super::Verdict;
use crate::base::hex32::PaymentHash;

/// A payment by its intent.
#[derive(Clone, Debug)]
pub(super) struct Paying {
    pub(super) hash: PaymentHash,
    connection: ConnectionId,
    account: AccountId,
    amount: u64,
    fee_max: u64,
    /// The number of the budget period that pays for it.
    period: u64,
    waiting: BTreeSet<RequestKey>,
    /// `Some(true)`: settled.
    pub(super) settled: Option<bool>,
}

/// One connection's budget.
#[derive(Clone, Debug)]
struct Counter {
    budget: Option<Budget>,
    period: Period,
    number: u64,
    settled: u64,
    held: u64,
}

/// What is known of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// Its payment is under way.
    Waits,
    /// The stored answer.
    Answered(Vec<u8>),
}

/// The books.
#[derive(Clone, Debug, Default)]
pub(super) struct Books {
    read: usize,
    /// Since when the clock is not believed.
    frozen_at_ms: Option<u64>,
    pub(super) balances: BTreeMap<Book, i128>,
    pub(super) held: BTreeMap<AccountId, u64>,
    pub(super) payments: BTreeMap<u64, Paying>,
    open: BTreeMap<PaymentHash, u64>,
    /// Each request with the record that names it first.
    pub(super) requests: BTreeMap<RequestKey, (u64, Told)>,
    counters: BTreeMap<ConnectionId, Counter>,
    /// Invoices made here.
    pub(super) made: BTreeSet<PaymentHash>,
    /// Money from outside: the invoice, and the record that books it.
    pub(super) received: BTreeMap<PaymentHash, u64>,
    /// Hold invoices that were decided about: the record, and whether their money is taken.
    pub(super) decided: BTreeMap<PaymentHash, (u64, bool)>,
}

impl Books {
    /// Reads what is new in a journal.
    pub(super) fn read(&mut self, entries: &[Entry]) -> Verdict {
        for entry in &entries[self.read..] {
            self.entry(entry).map_err(|words| format!("record {}: {words}", entry.seq))?;
        }
        self.read = entries.len();
        Ok(())
    }

    /// Payments under way: hash and intent.
    pub(super) fn open(&self) -> &BTreeMap<PaymentHash, u64> {
        &self.open
    }

    fn entry(&mut self, entry: &Entry) -> Verdict {
        let at_ms = self.frozen_at_ms.unwrap_or(entry.at_ms);
        match &entry.record {
            Record::Connection { row, .. } => self.connection(row.id, row.rules.budget.clone(), at_ms),
            Record::Fund { postings } | Record::Move { postings } => self.post(postings),
            Record::Received { hash, postings, .. } => {
                ensure!(self.received.insert(*hash, entry.seq).is_none(), "money from outside is booked twice");
                self.post(postings)
            }
            Record::Invoice(invoice) => {
                ensure!(self.made.insert(invoice.hash), "two invoices with one hash");
                Ok(())
            }
            Record::Decided { hash, word, .. } => {
                self.decided.insert(*hash, (entry.seq, matches!(word, Word::Settle(_))));
                Ok(())
            }
            Record::Clock { frozen_at_ms } => {
                self.frozen_at_ms = *frozen_at_ms;
                Ok(())
            }
            Record::Intent(intent) => self.intent(entry.seq, intent, at_ms),
            Record::Attach { request, hash } => {
                self.first(request.key, entry.seq, Told::Waits)?;
                let seq = self.open.get(hash).ok_or("a request waits for a payment that is not under way")?;
                self.payments.get_mut(seq).ok_or("no such payment")?.waiting.insert(request.key);
                Ok(())
            }
            Record::Answer { answered, .. } => {
                self.first(answered.request.key, entry.seq, Told::Answered(answered.event.clone()))
            }
            Record::Done(done) => self.done(done, at_ms),
            _ => Ok(()),
        }
    }

    /// A request is written once: one outcome.
    fn first(&mut self, key: RequestKey, seq: u64, told: Told) -> Verdict {
        let before = self.requests.insert(key, (seq, told));
        ensure!(before.is_none(), "one request, two outcomes: record {} names it too", before.map_or(0, |(seq, _)| seq));
        Ok(())
    }

    fn connection(&mut self, id: ConnectionId, budget: Option<Budget>, at_ms: u64) -> Verdict {
        let renewal = |budget: &Option<Budget>| budget.as_ref().map(|budget| budget.renewal);
        if let Some(counter) = self.counters.get_mut(&id) {
            ensure!(renewal(&counter.budget) == renewal(&budget), "this world changes no renewals");
            counter.turn(at_ms)?;
            counter.budget = budget;
            return Ok(());
        }
        let mut counter = Counter { budget, period: Period { since_ms: 0, until_ms: 0 }, number: 0, settled: 0, held: 0 };
        counter.turn(at_ms)?;
        self.counters.insert(id, counter);
        Ok(())
    }

    /// I3.
    fn post(&mut self, postings: &[Posting]) -> Verdict {
        let sum: i128 = postings.iter().map(|posting| i128::from(posting.msat)).sum();
        ensure!(sum == 0, "I3: postings sum to {sum}");
        for posting in postings {
            *self.balances.entry(posting.book).or_default() += i128::from(posting.msat);
        }
        Ok(())
    }

    /// I2, for the budget and for the account.
    fn intent(&mut self, seq: u64, intent: &Intent, at_ms: u64) -> Verdict {
        self.first(intent.request.key, seq, Told::Waits)?;
        ensure!(self.open.insert(intent.hash, seq).is_none(), "I1: a second intent while one is open");
        let (connection, account) = (intent.request.connection, intent.account);
        let (amount, fee_max) = (intent.amount.get(), intent.fee_max.get());
        let hold = amount + fee_max;
        let held = self.held.entry(account).or_default();
        *held += hold;
        let balance = self.balances.get(&Book::Account(account)).copied().unwrap_or(0);
        ensure!(i128::from(*held) <= balance, "account {} holds {held} and has {balance}", account.0);
        let counter = self.counters.get_mut(&connection).ok_or("no such connection")?;
        counter.turn(at_ms)?;
        counter.held += hold;
        if let Some(budget) = &counter.budget {
            let (settled, held) = (counter.settled, counter.held);
            let amount = budget.amount;
            ensure!(settled + held <= amount.get(), "I2: {settled} settled and {held} held of a budget of {amount}");
        }
        let (period, waiting) = (counter.number, BTreeSet::from([intent.request.key]));
        let paying = Paying { hash: intent.hash, connection, account, amount, fee_max, period, waiting, settled: None };
        self.payments.insert(seq, paying);
        Ok(())
    }

    /// I4 and I5, and one answer to everybody who waited.
    fn done(&mut self, done: &Done, at_ms: u64) -> Verdict {
        self.post(&done.postings)?;
        let paying = self.payments.get_mut(&done.intent).ok_or("an outcome without an intent")?;
        let fits = if done.correction { paying.settled == Some(false) } else { paying.settled.is_none() };
        ensure!(fits, "I4: {:?} was the outcome, another follows", paying.settled);
        let cost = match &done.ending {
            Ending::Settled { preimage, fee } => {
                ensure!(preimage.hash() == done.hash && done.hash == paying.hash, "I5: the proof is of something else");
                paying.amount + fee.get()
            }
            Ending::Failed { .. } => 0,
        };
        let taken: i64 = done.postings.iter().filter(|one| one.book == Book::Account(paying.account)).map(|one| one.msat).sum();
        let to_oneself = done.payee.is_some_and(|payee| payee.account == paying.account);
        ensure!(to_oneself || -i128::from(taken) == i128::from(cost), "{taken} was booked for a cost of {cost}");
        paying.settled = Some(cost > 0);
        let hold = paying.amount + paying.fee_max;
        let counter = self.counters.get_mut(&paying.connection).ok_or("no such connection")?;
        counter.turn(at_ms)?;
        if done.correction {
            counter.settled += cost;
            ensure!(done.answers.is_empty(), "I6: a correction answers again");
            return Ok(());
        }
        if counter.number == paying.period {
            counter.held -= hold;
            counter.settled += cost;
        }
        *self.held.entry(paying.account).or_default() -= hold;
        self.open.remove(&done.hash);
        let answered: BTreeSet<RequestKey> = done.answers.iter().map(|answered| answered.request.key).collect();
        ensure!(answered == paying.waiting, "{} wait, {} are answered", paying.waiting.len(), answered.len());
        for answered in &done.answers {
            let (_, told) = self.requests.get_mut(&answered.request.key).ok_or("an answer to nobody")?;
            ensure!(*told == Told::Waits, "I6: a second answer");
            *told = Told::Answered(answered.event.clone());
        }
        Ok(())
    }
}

impl Counter {
    /// To the period of a moment; never back.
    fn turn(&mut self, at_ms: u64) -> Verdict {
        if at_ms >= self.period.until_ms {
            let renewal = self.budget.as_ref().map_or(Default::default(), |budget| budget.renewal);
            self.period = period_at(at_ms, renewal, &zone("UTC").ok_or("no UTC")?);
            (self.number, self.settled, self.held) = (self.number + 1, 0, 0);
        }
        Ok(())
    }
}
