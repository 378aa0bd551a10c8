//! What others may read without the disk and without asking the money thread: balances, budgets, recent answers. It shows what is
//! committed, never what is about to be.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use lru::LruCache;
use parking_lot::{Mutex, RwLock};

use super::super::budget::Spending;
use super::super::payment::{Hold, Open, State};
use super::super::record::Word;
use super::super::types::{
    ALARMS_MAX, AccountId, AccountView, BudgetView, ConnectionId, ConnectionRow, KnownAnswer, OpenHold, OpenPayment, RequestKey,
    STATUS_ROWS_MAX, Status,
};
use crate::base::amount::Msat;
use crate::base::hex32::{EventId, PaymentHash};
use crate::protocol::event::Event;
use crate::wallet::backend::bolt11::Decoded;

/// Invoices made here that need not be read when they are paid.
const INVOICES_MAX: NonZeroUsize = match NonZeroUsize::new(4_096) {
    Some(count) => count,
    None => NonZeroUsize::MIN,
};
/// Answers that are remembered for quick repeats; older ones are on the disk.
const RECENT_MAX: NonZeroUsize = match NonZeroUsize::new(4_096) {
    Some(count) => count,
    None => NonZeroUsize::MIN,
};

struct Connection {
    row: ConnectionRow,
    spending: Spending,
    suspended: bool,
}

/// The shared picture.
pub(in crate::wallet::money) struct View {
    accounts: RwLock<BTreeMap<AccountId, AccountView>>,
    connections: RwLock<BTreeMap<ConnectionId, Connection>>,
    recent: Mutex<LruCache<RequestKey, KnownAnswer>>,
    invoices: Mutex<LruCache<String, Decoded>>,
    status: Mutex<Status>,
    next_connection: AtomicU32,
    /// The clock jumped: the moment whose budget period counts, unix ms; 0 in good times.
    frozen_at_ms: AtomicU64,
}

impl View {
    pub(super) fn new() -> Self {
        Self {
            accounts: RwLock::default(),
            connections: RwLock::default(),
            recent: Mutex::new(LruCache::new(RECENT_MAX)),
            invoices: Mutex::new(LruCache::new(INVOICES_MAX)),
            status: Mutex::default(),
            next_connection: AtomicU32::new(0),
            frozen_at_ms: AtomicU64::new(0),
        }
    }

    /// Takes over what changed. Called after a commit.
    pub(super) fn update(&self, state: &mut State) {
        let mut touched = std::mem::take(&mut state.touched);
        if state.can.node_balance && !touched.accounts.is_empty() {
            // What the others own is what `main` does not.
            touched.accounts.insert(AccountId::MAIN);
        }
        if !touched.accounts.is_empty() {
            let mut accounts = self.accounts.write();
            for id in touched.accounts {
                if let Some(view) = state.account(id) {
                    accounts.insert(id, view);
                }
            }
        }
        if !touched.connections.is_empty() {
            self.update_connections(state, touched.connections);
        }
        let mut status = self.status.lock();
        status.safe_mode.clone_from(&state.halted);
        status.in_flight = state.open.len();
        status.open_invoices = state.invoices.len();
        status.seq = state.seq;
        status.clock_doubted = state.frozen_at_ms.is_some();
        self.frozen_at_ms.store(state.frozen_at_ms.unwrap_or(0), Ordering::Relaxed);
    }

    /// What is under way, by name. Not after each commit: it walks over all of it.
    pub(super) fn show_open(&self, state: &State) {
        let mut payments: Vec<OpenPayment> = state.open.values().map(open_payment).collect();
        payments.sort_by_key(|payment| payment.since_s);
        payments.truncate(STATUS_ROWS_MAX);
        let mut holds: Vec<OpenHold> = state.holds.iter().map(|(hash, hold)| open_hold(*hash, hold)).collect();
        holds.sort_by_key(|hold| hold.since_s);
        holds.truncate(STATUS_ROWS_MAX);
        let mut status = self.status.lock();
        (status.payments, status.holds) = (payments, holds);
    }

    fn update_connections(&self, state: &State, touched: impl IntoIterator<Item = ConnectionId>) {
        let mut connections = self.connections.write();
        for id in touched {
            let Some(connection) = state.connections.get(&id) else { continue };
            let (spending, suspended) = (connection.spending.clone(), connection.suspended.is_some());
            match connections.get_mut(&id) {
                Some(shown) => {
                    if shown.row != connection.row {
                        shown.row = connection.row.clone();
                    }
                    (shown.spending, shown.suspended) = (spending, suspended);
                }
                None => {
                    self.next_connection.fetch_max(id.0.saturating_add(1), Ordering::Relaxed);
                    connections.insert(id, Connection { row: connection.row.clone(), spending, suspended });
                }
            }
        }
    }

    pub(super) fn remember(&self, request: RequestKey, answer: KnownAnswer) {
        self.recent.lock().put(request, answer);
    }

    pub(super) fn alarm(&self, words: &str) {
        let mut status = self.status.lock();
        if status.alarms.len() >= ALARMS_MAX {
            status.alarms.remove(0);
        }
        status.alarms.push(words.to_owned());
        status.alarm_count = status.alarm_count.saturating_add(1);
    }

    pub(in crate::wallet::money) fn balance(&self, account: AccountId) -> Option<Msat> {
        self.accounts.read().get(&account).map(AccountView::spendable)
    }

    pub(in crate::wallet::money) fn budget(&self, connection: ConnectionId, now_ms: u64) -> Option<BudgetView> {
        let now_ms = match self.frozen_at_ms.load(Ordering::Relaxed) {
            0 => now_ms,
            frozen_at_ms => frozen_at_ms,
        };
        self.connections.read().get(&connection)?.spending.view(now_ms)
    }

    pub(in crate::wallet::money) fn request_answer(&self, event: &EventId) -> Option<KnownAnswer> {
        self.recent.lock().get(&RequestKey { event: *event, item: 0 }).cloned()
    }

    pub(in crate::wallet::money) fn recent_answers(&self, since_s: u64) -> Vec<(RequestKey, Event)> {
        let recent = self.recent.lock();
        let fresh = recent.iter().filter_map(|(request, answer)| match answer {
            KnownAnswer::Answered(event) if event.created_at() >= since_s => Some((*request, event.clone())),
            _ => None,
        });
        fresh.collect()
    }

    /// An invoice of this hearth is known by its text, without reading it again.
    pub(super) fn remember_invoice(&self, invoice: Decoded) {
        self.invoices.lock().put(invoice.bolt11.clone(), invoice);
    }

    pub(super) fn invoice(&self, bolt11: &str) -> Option<Decoded> {
        self.invoices.lock().get(bolt11).cloned()
    }

    pub(in crate::wallet::money) fn accounts(&self) -> Vec<AccountView> {
        self.accounts.read().values().cloned().collect()
    }

    pub(in crate::wallet::money) fn connections(&self) -> Vec<ConnectionRow> {
        self.connections.read().values().map(|connection| connection.row.clone()).collect()
    }

    /// The account of a connection.
    pub(super) fn account_of(&self, connection: ConnectionId) -> Option<AccountId> {
        self.connections.read().get(&connection).map(|connection| connection.row.rules.account)
    }

    pub(in crate::wallet::money) fn is_suspended(&self, connection: ConnectionId) -> bool {
        self.connections.read().get(&connection).is_some_and(|connection| connection.suspended)
    }

    pub(in crate::wallet::money) fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    pub(in crate::wallet::money) fn status(&self) -> Status {
        let mut status = self.status.lock().clone();
        let suspended = |(id, connection): (&ConnectionId, &Connection)| connection.suspended.then_some(*id);
        status.suspended = self.connections.read().iter().filter_map(suspended).collect();
        status
    }
}

fn open_payment(open: &Open) -> OpenPayment {
    OpenPayment {
        hash: open.intent.hash,
        connection: open.intent.request.connection,
        amount: open.intent.amount,
        held: open.hold(),
        since_s: open.at_ms / 1_000,
        is_held_inside: open.is_inside,
    }
}

fn open_hold(hash: PaymentHash, hold: &Hold) -> OpenHold {
    OpenHold {
        hash,
        connection: hold.payee.connection,
        amount: hold.amount,
        since_s: hold.since_ms / 1_000,
        settling: hold.word.map(|word| matches!(word, Word::Settle(_))),
        settle_deadline: hold.settle_deadline,
    }
}
