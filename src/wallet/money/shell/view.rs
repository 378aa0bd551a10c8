//! What others may read without the disk and without asking the money thread: balances, budgets, recent answers. It shows what is
//! committed, never what is about to be.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};

use lru::LruCache;
use parking_lot::{Mutex, RwLock};

use super::super::budget::Spending;
use super::super::payment::State;
use super::super::types::{
    ALARMS_MAX, AccountId, AccountView, BudgetView, ConnectionId, ConnectionRow, KnownAnswer, RequestKey, Status,
};
use crate::base::amount::Msat;
use crate::base::hex32::EventId;
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
        }
    }

    /// Takes over what changed. Called after a commit.
    pub(super) fn update(&self, state: &mut State) {
        let touched = std::mem::take(&mut state.touched);
        if !touched.accounts.is_empty() {
            let mut accounts = self.accounts.write();
            for id in touched.accounts {
                if let Some(view) = state.ledger.account(id) {
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
    }

    pub(in crate::wallet::money) fn balance(&self, account: AccountId) -> Option<Msat> {
        self.accounts.read().get(&account).map(AccountView::spendable)
    }

    pub(in crate::wallet::money) fn budget(&self, connection: ConnectionId, now_ms: u64) -> Option<BudgetView> {
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
