//! [`Money`]: the handle to the money thread. Wishes go into its bounded waiting room; reads of balances, budgets and recent
//! answers look at memory only, and lists and look-ups read the journal's database on the caller's thread.

use std::sync::Arc;

use super::shell::{Command, Room};
use super::types::{
    AccountId, AccountView, BudgetView, ConnectionId, ConnectionRow, Held, InvoiceOrder, KnownAnswer, ListQuery, On, OwnerError,
    Page, PayOrder, PayReply, Preimage, Reconciled, Refusal, RequestKey, RequestRef, Selector, Settled, Status, Transaction,
    Viewer,
};
use super::{OpenError, Parts, ReadError};
use crate::base::amount::Msat;
use crate::base::hex32::{EventId, PaymentHash};
use crate::protocol::event::Event;
use crate::wallet::backend::{BackendError, Capabilities, Info, SignedMessage};

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

    /// Takes the money of a hold invoice: only the connection that made it may, and only once it was paid. The decision is durable
    /// before the back end is told; `on` is called when the money is booked, or with an error while the back end cannot be
    /// reached (it is told again and again; asking again attaches to it).
    pub fn settle_hold(&self, request: RequestRef, preimage: Preimage, on: On<Result<(), Refusal>>) {
        self.0.submit(Command::SettleHold(request, preimage, on));
    }

    /// Gives the money of a hold invoice back, or lets nobody pay it any more. As [`Money::settle_hold`].
    pub fn cancel_hold(&self, request: RequestRef, hash: PaymentHash, on: On<Result<(), Refusal>>) {
        self.0.submit(Command::CancelHold(request, hash, on));
    }

    /// Signs a message with the node key. Does not touch the journal; `on` may be called on a thread of the back end.
    pub fn sign_message(&self, message: String, on: On<Result<SignedMessage, Refusal>>) {
        self.0.sign_message(message, on);
    }

    /// One transaction, as the viewer may see it. Reads the disk; does not wait for the money thread.
    pub fn lookup(&self, viewer: Viewer, selector: &Selector) -> Result<Option<Transaction>, ReadError> {
        self.0.lookup(viewer, selector)
    }

    /// A page of transactions, newest first. Reads the disk; does not wait for the money thread.
    pub fn list(&self, viewer: Viewer, query: &ListQuery) -> Result<Page, ReadError> {
        self.0.list(viewer, query)
    }

    /// What was settled since a moment, in order, from the journal; the newest [`super::types::NEWS_MAX`]. The same news as
    /// [`AnswerSigner::settled`](super::types::AnswerSigner::settled), for what has to be told again after a restart.
    pub fn settled_since(&self, since_s: u64) -> Result<Vec<Settled>, ReadError> {
        self.0.settled_since(since_s)
    }

    /// The same for hold invoices that were paid ([`AnswerSigner::held`](super::types::AnswerSigner::held)).
    pub fn held_since(&self, since_s: u64) -> Result<Vec<Held>, ReadError> {
        self.0.held_since(since_s)
    }

    /// All transactions of an account, or of all, oldest first; `each` ends it by `false`. Reads the disk as it goes, from the
    /// state at its beginning.
    pub fn export(&self, account: Option<AccountId>, each: &mut dyn FnMut(Transaction) -> bool) -> Result<(), ReadError> {
        self.0.export(account, each)
    }

    /// Most that a payment to the outside may cost on top, by the configuration; inside it costs nothing.
    pub fn fee_reserve(&self, amount: Msat) -> Msat {
        self.0.fee_reserve(amount)
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

    /// What the journal holds of a request or an item of one. Reads the disk; does not wait for the money thread.
    pub fn stored_answer(&self, key: &RequestKey) -> Result<Option<KnownAnswer>, ReadError> {
        self.0.stored_answer(key)
    }

    /// The newest answers to requests and items of them that are not older than this, newest first, as many as are in memory: at start, so
    /// that nobody's answer is lost with the process.
    pub fn recent_answers(&self, since_s: u64) -> Vec<(RequestKey, Event)> {
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

    /// Leaves safe mode after the operator has said that the data directory is the right one: a record is written that says from
    /// where on the journal counts, the anchor is written anew, payment requests from before are refused from then on, and the back
    /// end is asked about every payment without an outcome. A journal that is damaged in its middle stays in safe mode.
    pub fn reconcile(&self, on: On<Result<Reconciled, OwnerError>>) {
        self.0.submit(Command::Reconcile(on));
    }

    /// What `[wallet] backend` calls the back end.
    pub fn backend_name(&self) -> &'static str {
        self.0.backend_name()
    }

    /// Whether the back end can be reached now, or why not.
    pub fn backend_ready(&self) -> Result<(), BackendError> {
        self.0.backend_ready()
    }

    /// What the back end can do.
    pub fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
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
