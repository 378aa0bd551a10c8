//! [`Money`]: the handle to the money thread. Wishes go into its bounded waiting room; reads of balances, budgets and recent
//! answers look at memory only, and lists and look-ups read the journal's database on the caller's thread.

use std::sync::Arc;

use super::shell::{Command, Room};
use super::types::{
    AccountId, AccountView, BudgetView, ConnectionId, ConnectionRow, InvoiceOrder, KnownAnswer, ListQuery, On, OwnerError, Page,
    PayOrder, PayReply, Refusal, Selector, Status, Transaction, Viewer,
};
use super::{OpenError, Parts, ReadError};
use crate::base::amount::Msat;
use crate::base::hex32::EventId;
use crate::protocol::event::Event;
use crate::wallet::backend::Info;

/// The wallet's money. Cheap to clone; all clones talk to the same thread.
#[derive(Clone)]
pub struct Money(Arc<Room>);

impl Money {
    /// Opens the journal, checks it (chain, anchor, sums), asks the back end about every payment without an outcome and starts
    /// the thread. Answers of the last day are published again before this returns.
    pub fn open(parts: Parts) -> Result<Self, OpenError> {
        Room::open(parts).map(|room| Self(Arc::new(room)))
    }

    /// Pays, at most once for this request and this payment hash. `on` is called when the request is durable or refused; the
    /// answer comes through [`AnswerSigner::publish`](super::types::AnswerSigner::publish).
    pub fn pay(&self, order: PayOrder, on: On<PayReply>) {
        self.0.submit(Command::Pay(order, on));
    }

    /// Makes an invoice; the same request gets the same invoice. It is durable before `on` is called.
    pub fn make_invoice(&self, order: InvoiceOrder, on: On<Result<Transaction, Refusal>>) {
        self.0.submit(Command::MakeInvoice(order, on));
    }

    /// One transaction, as the viewer may see it. Reads the disk; does not wait for the money thread.
    pub fn lookup(&self, viewer: Viewer, selector: &Selector) -> Result<Option<Transaction>, ReadError> {
        self.0.lookup(viewer, selector)
    }

    /// A page of transactions, newest first. Reads the disk; does not wait for the money thread.
    pub fn list(&self, viewer: Viewer, query: &ListQuery) -> Result<Page, ReadError> {
        self.0.list(viewer, query)
    }

    /// What the account can spend now: its balance without what is held. Memory only.
    pub fn balance(&self, account: AccountId) -> Option<Msat> {
        self.0.view().balance(account)
    }

    /// The budget of a connection; `None` if it has none. Memory only.
    pub fn budget(&self, connection: ConnectionId) -> Option<BudgetView> {
        self.0.view().budget(connection, self.0.now_ms())
    }

    /// What is known of a request (its item 0) without asking the disk. `None` does not mean that the request is new:
    /// [`Money::pay`] knows.
    pub fn request_answer(&self, event: &EventId) -> Option<KnownAnswer> {
        self.0.view().request_answer(event)
    }

    /// The newest answers to requests (item 0) that are not older than this, newest first, as many as are in memory: at start, so
    /// that nobody's answer is lost with the process.
    pub fn recent_answers(&self, since_s: u64) -> Vec<(EventId, Event)> {
        self.0.view().recent_answers(since_s)
    }

    /// The accounts, by number. Memory only.
    pub fn accounts(&self) -> Vec<AccountView> {
        self.0.view().accounts()
    }

    /// The account of that name. Memory only.
    pub fn account_named(&self, name: &str) -> Option<AccountView> {
        self.0.view().accounts().into_iter().find(|account| account.name == name)
    }

    /// All connections ever made, revoked ones too, by number. Memory only; for the start and the owner.
    pub fn connections(&self) -> Vec<ConnectionRow> {
        self.0.view().connections()
    }

    /// Whether an alarm suspended the connection: it may read, but neither pay nor make invoices. Memory only.
    pub fn is_suspended(&self, connection: ConnectionId) -> bool {
        self.0.view().is_suspended(connection)
    }

    /// Makes an account; names are unique.
    pub fn create_account(&self, name: &str, on: On<Result<AccountId, OwnerError>>) {
        self.0.submit(Command::CreateAccount(name.to_owned(), on));
    }

    /// Writes money into an account, against the book `funding` (embedded back end: the owner says that it is there).
    pub fn fund(&self, account: AccountId, amount: Msat, on: On<Result<(), OwnerError>>) {
        self.0.submit(Command::Fund(account, amount, on));
    }

    /// Moves money between two accounts.
    pub fn transfer(&self, from: AccountId, to: AccountId, amount: Msat, on: On<Result<(), OwnerError>>) {
        self.0.submit(Command::Transfer(from, to, amount, on));
    }

    /// Stores a connection: a new one (its number must be [`Money::next_connection`]) or a change of one. Durable when `on` is
    /// called. `rules.active = false` revokes it.
    pub fn put_connection(&self, row: ConnectionRow, on: On<Result<(), OwnerError>>) {
        self.0.submit(Command::PutConnection(Box::new(row), on));
    }

    /// Ends the suspension of a connection.
    pub fn resume(&self, connection: ConnectionId, on: On<Result<(), OwnerError>>) {
        self.0.submit(Command::Resume(connection, on));
    }

    /// A number that no connection had before. Each call gives another one.
    pub fn next_connection(&self) -> ConnectionId {
        self.0.view().next_connection()
    }

    /// Who the node is: public key, network, alias, height. Memory only.
    pub fn info(&self) -> Info {
        self.0.backend_info()
    }

    /// Safe mode, payments under way, alarms.
    pub fn status(&self) -> Status {
        self.0.view().status()
    }

    /// Takes nothing new, finishes what waits, joins the thread. Payments under way stay in the journal. Idempotent.
    pub fn close(&self) {
        self.0.close();
    }
}
