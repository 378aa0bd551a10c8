//! What the core knows between two steps. Everything here is bounded: what is over leaves it and stands in the journal.

use std::collections::{BTreeMap, BTreeSet};

use super::super::budget::Spending;
use super::super::ledger::Ledger;
use super::super::node_balance::NodeBalance;
use super::super::record::{Entry, Intent, Payee, Record, Word};
use super::super::types::{
    AccountId, AccountView, ConnectionId, ConnectionRow, InvoiceOrder, Outcome, Preimage, RequestKey, RequestRef,
};
use super::unwanted::Unwanted;
use super::{Effect, Token};
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;
use crate::wallet::backend::{Capabilities, LookupOrder, Network};

/// Bounds and prices of the money room.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Fee reserve in hundredths of a percent of the amount, rounded up.
    pub fee_reserve_basis_points: u32,
    /// Smallest fee reserve.
    pub fee_reserve_min: Msat,
    /// Payments under way, all connections together.
    pub in_flight_max: usize,
    /// Payments under way per connection.
    pub in_flight_max_per_connection: usize,
    /// Invoices that can be paid, all connections together.
    pub open_invoices_max: usize,
    /// Invoices that can be paid per connection.
    pub open_invoices_max_per_connection: usize,
    /// Hold invoices per connection that can be paid or wait for a decision: a back end follows each of them, and only so many.
    pub open_holds_max_per_connection: usize,
    /// Requests that wait for one payment.
    pub waiting_max: usize,
    /// Life of an invoice whose order does not say.
    pub invoice_expiry_s: u64,
    /// Longest life of an invoice.
    pub invoice_expiry_max_s: u64,
    /// Accounts that may exist.
    pub accounts_max: usize,
    /// Connections that may ever exist.
    pub connections_max: usize,
    /// How far ahead of ours the clocks of clients may be: requests from further ahead do not come here.
    pub requests_ahead_s: u64,
    /// How long the money of a hold invoice waits between two accounts of this hearth before it goes back.
    pub hold_s: u64,
    /// With less free on the journal's disk nothing new is begun; what is under way goes on. 0: no floor.
    pub free_bytes_min: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fee_reserve_basis_points: 100,
            fee_reserve_min: Msat::new(10_000).unwrap_or(Msat::ZERO),
            in_flight_max: 1_024,
            in_flight_max_per_connection: 32,
            open_invoices_max: 100_000,
            open_invoices_max_per_connection: 1_000,
            open_holds_max_per_connection: 100,
            waiting_max: 64,
            invoice_expiry_s: 3_600,
            invoice_expiry_max_s: 31_536_000,
            accounts_max: 10_000,
            connections_max: 100_000,
            requests_ahead_s: 900,
            hold_s: 86_400,
            free_bytes_min: 256 << 20,
        }
    }
}

impl Limits {
    /// What is held on top of an amount for a payment to the outside: rounded up, so that it is never zero by accident.
    pub fn fee_reserve(&self, amount: Msat) -> Msat {
        let share = (u128::from(amount.get()) * u128::from(self.fee_reserve_basis_points)).div_ceil(10_000);
        let share = u64::try_from(share).ok().and_then(|msat| Msat::new(msat).ok()).unwrap_or(Msat::MAX);
        share.max(self.fee_reserve_min)
    }
}

/// A payment that may be under way.
#[derive(Clone, Debug)]
pub struct Open {
    /// Sequence number of its intent.
    pub seq: u64,
    /// Names the attempt at the back end: the number of its intent, or of the latest record that drove it again.
    pub attempt: u64,
    /// When that attempt was allowed, unix ms.
    pub attempt_at_ms: u64,
    /// When it was allowed, unix ms.
    pub at_ms: u64,
    /// What is to be paid.
    pub intent: Intent,
    /// Who gets the answer: the first one asked first.
    pub waiting: Vec<RequestRef>,
    /// The moment whose budget period pays for it.
    pub belongs_ms: u64,
    /// It waits for the maker of a hold invoice of this hearth; no back end knows of it.
    pub is_inside: bool,
    /// How it is watched; not in the journal.
    pub watch: Watch,
}

impl Open {
    /// What the back end is asked about it.
    pub fn question(&self) -> LookupOrder {
        LookupOrder { hash: self.intent.hash, attempt: self.attempt, since_ms: self.attempt_at_ms }
    }

    /// What is held for it.
    pub fn hold(&self) -> Msat {
        self.intent.amount.checked_add(self.intent.fee_max).unwrap_or(Msat::MAX)
    }
}

/// How a payment under way is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watch {
    /// When the back end is asked (again), unix ms.
    pub ask_at_ms: u64,
    /// Questions so far in a row.
    pub asked: u32,
    /// Questions in a row whose answer was "never heard of it".
    pub not_found: u32,
    /// When the first of them was put, by the clock that only goes forward.
    pub not_found_since_ms: u64,
    /// When the youngest question was put whose answer counted: what is said twice, or later than something younger, says nothing.
    pub heard_ms: Option<u64>,
    /// It comes from the journal of an earlier life: it may never have been sent.
    pub recovered: bool,
}

/// An invoice that can be paid now.
#[derive(Clone, Debug)]
pub struct OpenInvoice {
    /// Its sequence number.
    pub seq: u64,
    /// Who gets the money.
    pub payee: Payee,
    /// SHA-256 of its text: a foreign invoice with the same hash is not this one.
    pub text_digest: [u8; 32],
    /// The proof; `None` for a hold invoice.
    pub preimage: Option<Preimage>,
    /// Unix seconds.
    pub expires_at_s: u64,
}

/// A hold invoice that is neither open nor over: its money waits, or a decision about it has to be confirmed by the back end.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Who made it.
    pub payee: Payee,
    /// What waits; zero where it was cancelled before anything came.
    pub amount: Msat,
    /// Since when, unix ms.
    pub since_ms: u64,
    /// Whether money waits.
    pub is_paid: bool,
    /// The payer's intent, where that is an account of this hearth.
    pub payer: Option<u64>,
    /// Block height at which money from outside goes back by itself.
    pub settle_deadline: Option<u32>,
    /// What was decided.
    pub word: Option<Word>,
    /// When the back end is told (again), unix ms; not in the journal.
    pub tell_at_ms: u64,
    /// How often it was told; not in the journal.
    pub told: u32,
    /// Who waits for the end.
    pub(super) waiting: Vec<Token>,
}

impl Watch {
    /// Counts a question whose answer was "never heard of it"; how long that has been the answer.
    pub(super) fn not_found(&mut self, asked_ms: u64) -> u64 {
        if self.not_found == 0 {
            self.not_found_since_ms = asked_ms;
        }
        self.not_found = self.not_found.saturating_add(1);
        self.heard_ms = Some(asked_ms);
        asked_ms.saturating_sub(self.not_found_since_ms)
    }
}

/// A connection and what it uses.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its record.
    pub row: ConnectionRow,
    /// Its budget.
    pub spending: Spending,
    /// Latest time of a payment that was counted in another period than the clock said, unix ms.
    pub inexact_ms: u64,
    /// Payments under way.
    pub in_flight: usize,
    /// Invoices that can be paid, or are being made.
    pub open_invoices: usize,
    /// Hold invoices among them, and those that wait for a decision or its end.
    pub open_holds: usize,
    /// Why it was suspended.
    pub suspended: Option<String>,
}

/// An invoice that the back end is making. Not in the journal: the repeat of a lost request makes the same one.
#[derive(Clone, Debug)]
pub(in crate::wallet::money) struct Making {
    pub(in crate::wallet::money) order: InvoiceOrder,
    pub(in crate::wallet::money) account: AccountId,
    /// `None` for a hold invoice.
    pub(in crate::wallet::money) preimage: Option<Preimage>,
    pub(in crate::wallet::money) hash: PaymentHash,
    pub(in crate::wallet::money) waiting: Vec<Token>,
    pub(in crate::wallet::money) since_ms: u64,
}

/// What changed since the shell looked last.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// Accounts whose balance, hold or name changed.
    pub accounts: BTreeSet<AccountId>,
    /// Connections whose record, budget or suspension changed.
    pub connections: BTreeSet<ConnectionId>,
}

/// The whole state.
#[derive(Clone, Debug)]
pub struct State {
    /// Bounds.
    pub limits: Limits,
    /// The network of the back end.
    pub network: Network,
    /// What the back end can do.
    pub can: Capabilities,
    /// The node's public key, 66 lower-case hex digits.
    pub node: String,
    /// What the node has, where `main` is the node's own money. Not in the journal.
    pub node_balance: NodeBalance,
    /// Now, by the clock that only goes forward. Not in the journal.
    pub steady_ms: u64,
    /// Balances. That of `main` says nothing where `main` is the node's own money: see [`State::account`].
    pub ledger: Ledger,
    /// Connections ever made.
    pub connections: BTreeMap<ConnectionId, Connection>,
    /// Payments under way.
    pub open: BTreeMap<PaymentHash, Open>,
    /// Invoices that can be paid.
    pub invoices: BTreeMap<PaymentHash, OpenInvoice>,
    /// The same by their end.
    pub(in crate::wallet::money) by_expiry: BTreeSet<(u64, PaymentHash)>,
    /// Hold invoices that are neither open nor over.
    pub holds: BTreeMap<PaymentHash, Hold>,
    /// Money from outside that goes back. Not in the journal.
    pub(in crate::wallet::money) unwanted: BTreeMap<PaymentHash, Unwanted>,
    /// Revoked connections that may have hold invoices about which nobody can decide any more.
    pub(in crate::wallet::money) abandoned: BTreeSet<ConnectionId>,
    pub(in crate::wallet::money) making: BTreeMap<RequestKey, Making>,
    /// Last sequence number of the journal.
    pub seq: u64,
    /// Payment requests made before this moment (unix seconds) are refused.
    pub refused_before_s: u64,
    /// The clock jumped: the last moment that is believed, unix ms.
    pub frozen_at_ms: Option<u64>,
    /// Latest time of a record, unix ms.
    pub latest_ms: u64,
    /// Safe mode: why nothing is paid.
    pub halted: Option<String>,
    /// The disk of the journal is almost full: nothing new is begun. Not in the journal.
    pub is_disk_low: bool,
    /// For the shell.
    pub touched: Touched,
    /// The mistake that the simulator has to find.
    #[cfg(test)]
    pub(in crate::wallet) planted: super::super::planted::Planted,
}

impl State {
    /// The state before the first record.
    pub fn new(limits: Limits, network: Network, refuses_second: bool) -> Self {
        Self {
            limits,
            network,
            can: Capabilities { refuses_second, ..Capabilities::default() },
            node: String::new(),
            node_balance: NodeBalance::default(),
            steady_ms: 0,
            ledger: Ledger::default(),
            connections: BTreeMap::new(),
            open: BTreeMap::new(),
            invoices: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            holds: BTreeMap::new(),
            unwanted: BTreeMap::new(),
            abandoned: BTreeSet::new(),
            making: BTreeMap::new(),
            seq: 0,
            refused_before_s: 0,
            frozen_at_ms: None,
            latest_ms: 0,
            halted: None,
            is_disk_low: false,
            touched: Touched::default(),
            #[cfg(test)]
            planted: super::super::planted::Planted::default(),
        }
    }

    /// Makes a record happen: applies it and asks for it to be written. A record that breaks an invariant is not written: the
    /// wallet goes into safe mode instead, and `false` comes back. In safe mode nothing is written at all.
    pub(in crate::wallet::money) fn record(
        &mut self,
        record: Record,
        outcome: Option<Outcome>,
        now_ms: u64,
        out: &mut Vec<Effect>,
    ) -> bool {
        if self.halted.is_some() {
            return false;
        }
        let entry = Entry { seq: self.seq + 1, at_ms: now_ms, record };
        match self.apply(&entry) {
            Ok(()) => {
                out.push(Effect::Append { entry, outcome });
                true
            }
            Err(broken) => {
                self.halt(format!("a rule of the ledger would have been broken: {broken}"), out);
                false
            }
        }
    }

    /// Goes into safe mode: reads work, nothing is paid.
    pub(in crate::wallet::money) fn halt(&mut self, why: String, out: &mut Vec<Effect>) {
        out.push(Effect::Alarm(format!("safe mode: {why}")));
        self.halted.get_or_insert(why);
    }

    /// Suspends a connection, once.
    pub(in crate::wallet::money) fn suspend(
        &mut self,
        connection: ConnectionId,
        reason: &str,
        now_ms: u64,
        out: &mut Vec<Effect>,
    ) {
        let fresh = self.connections.get(&connection).is_some_and(|connection| connection.suspended.is_none());
        if fresh {
            self.record(Record::Suspend { connection, reason: reason.to_owned() }, None, now_ms, out);
        }
    }

    /// Lets go of invoices whose time is over; bounded by how many there are.
    pub(in crate::wallet::money) fn expire_invoices(&mut self, now_s: u64) {
        while let Some((expires_at_s, hash)) = self.by_expiry.first().copied() {
            if expires_at_s > now_s {
                return;
            }
            self.close_invoice(&hash);
        }
    }

    /// An account as it can be used. Where `main` is the node's own money it has the node's balance less what the other accounts
    /// own, and never more than the node has. Too little is shown for a moment rather than too much: what is held for payments under
    /// way may be left out twice, since a node that pays has no longer got it, and what they took counts from their end on, until
    /// the node was asked anew (see [`NodeBalance`]).
    pub fn account(&self, id: AccountId) -> Option<AccountView> {
        let mut view = self.ledger.account(id)?;
        if id == AccountId::MAIN && self.can.node_balance {
            let node_msat = self.node_balance.msat().unwrap_or(0);
            view.balance_msat = node_msat.min(node_msat - self.ledger.isolated_msat());
        }
        Some(view)
    }

    /// What an account can spend; `None` if there is no such account.
    pub fn spendable(&self, id: AccountId) -> Option<Msat> {
        self.account(id).map(|view| view.spendable())
    }

    /// Takes over what the node says that it has, and when it was asked (by the clock that only goes forward, ms).
    pub fn set_node_balance(&mut self, said: Option<(Msat, u64)>) {
        if self.can.node_balance && self.node_balance.hear(said) {
            self.touched.accounts.insert(AccountId::MAIN);
        }
    }

    /// A payment to the outside is done: whichever account paid, the node has that much less, and may have been asked before.
    pub(in crate::wallet::money) fn left_the_node(&mut self, took: Msat) {
        if self.can.node_balance {
            self.node_balance.paid(self.steady_ms, took);
            self.touched.accounts.insert(AccountId::MAIN);
        }
    }

    /// The moment whose budget period counts: a clock that jumped renews nothing.
    pub fn budget_ms(&self, at_ms: u64) -> u64 {
        self.frozen_at_ms.unwrap_or(at_ms)
    }

    /// Takes an invoice out of those that can be paid.
    pub(in crate::wallet::money) fn close_invoice(&mut self, hash: &PaymentHash) -> Option<OpenInvoice> {
        let invoice = self.invoices.remove(hash)?;
        self.by_expiry.remove(&(invoice.expires_at_s, *hash));
        if let Some(connection) = self.connections.get_mut(&invoice.payee.connection) {
            connection.open_invoices = connection.open_invoices.saturating_sub(1);
            connection.open_holds = connection.open_holds.saturating_sub(usize::from(invoice.preimage.is_none()));
        }
        Some(invoice)
    }
}
