//! Orders, outcomes and views: what goes into the money room and what comes out of it.
//!
//! Amounts are msat, times on the outside are unix seconds. Nothing here moves money.

use crate::base::amount::Msat;
use crate::base::hex32::{Hex32, PaymentHash};
use crate::protocol::event::Event;
pub use crate::wallet::terms::{AccountId, ConnectionId, ErrorCode, Method, Preimage, Refusal, RequestKey, RequestRef, Scheme};

/// Called exactly once with the result, on the money thread: it must be short and must not block.
pub type On<T> = Box<dyn FnOnce(T) + Send>;

/// What is to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayTarget {
    /// A BOLT 11 invoice; the amount is needed where it has none and must be equal where it has one.
    Invoice {
        /// The text as the client sent it.
        bolt11: String,
        /// `params.amount`.
        amount: Option<Msat>,
    },
}

/// A wish to pay, from a connection that may use the method. Everything about money is checked by the money room.
#[derive(Clone, Debug)]
pub struct PayOrder {
    /// Who asks.
    pub request: RequestRef,
    /// What is to be paid.
    pub target: PayTarget,
    /// `expiration` of the request (NIP-40), checked again before anything is sent.
    pub expires_at_s: Option<u64>,
    /// `params.metadata` as JSON text, at most [`METADATA_CHARS_MAX`] characters (dropped above).
    pub metadata: Option<String>,
}

/// Metadata above this many characters is dropped (extension 06), not the request.
pub const METADATA_CHARS_MAX: usize = 4_096;

/// What became of a pay order at once. The answer itself comes through [`AnswerSigner::publish`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayReply {
    /// The request is on disk: `OK true`. Its answer is published now or when the payment is done. Repeats come here too.
    Durable,
    /// The request expired before anything was done: `OK false "invalid: expired"`. Nothing was written.
    Expired,
    /// Refused without a trace on disk, because the refusal is about this moment (safe mode, too many in flight, waiting room
    /// full, connection unknown or revoked): the caller answers with this error. A repeat is judged anew.
    Refused(Refusal),
    /// The journal could not be written; the process is about to end. `OK false "error: ..."`; nothing was sent.
    Failed,
}

/// How a pay request ended. Final: the answer to a request never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Settled; SHA-256 of the preimage is the payment hash.
    Paid {
        /// The proof.
        preimage: Preimage,
        /// What the payee got.
        amount: Msat,
        /// What it cost on top.
        fee: Msat,
    },
    /// Refused or failed for certain: no money moved and none will.
    Refused(Refusal),
}

/// Makes and delivers answers: the money room knows neither keys nor sockets.
pub trait AnswerSigner: Send + Sync {
    /// Encrypts and signs the 23195 for this outcome. Called on the money thread before the commit that makes the outcome
    /// final; the event is stored with it and is the answer for ever. `None` (the keys are gone): the outcome is booked and
    /// nothing is published.
    fn answer(&self, request: &RequestRef, outcome: &Outcome, now_s: u64) -> Option<Event>;

    /// Delivers a stored answer: after its commit, and again for a repeated request. On the money thread: it must not block.
    fn publish(&self, request: &RequestRef, answer: &Event);

    /// Money arrived at a payee (for notifications; [`super::Money::lookup`] has the rest). After the commit, on the money thread.
    fn settled(&self, settled: &Settled) {
        let _ = settled;
    }
}

/// A transaction that was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Received or paid.
    pub direction: Direction,
    /// Whose money.
    pub account: AccountId,
    /// Who made the invoice, or paid.
    pub connection: ConnectionId,
    /// Names it.
    pub hash: PaymentHash,
}

/// A wish for an invoice.
#[derive(Clone, Debug)]
pub struct InvoiceOrder {
    /// Who asks; the same request gets the same invoice.
    pub request: RequestRef,
    /// How much; `None` leaves it to the payer.
    pub amount: Option<Msat>,
    /// What for; at most [`DESCRIPTION_BYTES_MAX`] bytes.
    pub description: Option<String>,
    /// SHA-256 of a longer description; goes into the invoice instead of the description.
    pub description_hash: Option<Hex32>,
    /// Seconds until it can no longer be paid; the default of the configuration where missing.
    pub expiry_s: Option<u64>,
    /// `params.metadata` as JSON text, at most [`METADATA_CHARS_MAX`] characters (dropped above).
    pub metadata: Option<String>,
}

/// BOLT 11 has room for so much description (639 bytes).
pub const DESCRIPTION_BYTES_MAX: usize = 639;

/// Which way the money goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// An invoice of this account.
    Incoming,
    /// A payment of this account.
    Outgoing,
}

impl Direction {
    /// The name on the wire (`type`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
        }
    }
}

/// Where a transaction stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TransactionState {
    /// Not paid yet, or under way.
    Pending,
    /// Done.
    Settled,
    /// A hold invoice whose money has arrived and waits.
    Accepted,
    /// An invoice that nobody paid in time.
    Expired,
    /// A payment that failed for certain.
    Failed,
}

impl TransactionState {
    /// The name on the wire (`state`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Settled => "settled",
            Self::Accepted => "accepted",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }
}

/// One invoice or payment, as its viewer may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its place in the journal: unique, rising in order of creation.
    pub seq: u64,
    /// Which way.
    pub direction: Direction,
    /// Where it stands.
    pub state: TransactionState,
    /// Whose money.
    pub account: AccountId,
    /// The connection that asked for it.
    pub connection: ConnectionId,
    /// The BOLT 11 text.
    pub invoice: Option<String>,
    /// From the invoice or the order.
    pub description: Option<String>,
    /// From the invoice or the order.
    pub description_hash: Option<Hex32>,
    /// Only when settled, and for payments only to the connection that paid (and the owner).
    pub preimage: Option<Preimage>,
    /// Names the payment.
    pub payment_hash: PaymentHash,
    /// Zero for an open invoice without an amount.
    pub amount: Msat,
    /// Fees really paid.
    pub fees_paid: Msat,
    /// Unix seconds.
    pub created_at_s: u64,
    /// Unix seconds; of the invoice.
    pub expires_at_s: Option<u64>,
    /// Unix seconds.
    pub settled_at_s: Option<u64>,
    /// JSON text.
    pub metadata: Option<String>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// Whose eyes: a connection sees the transactions of its account, but preimages of payments only where it paid itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Viewer {
    /// An app.
    Connection(ConnectionId),
    /// The owner, at the command line or the page: everything of one account.
    Account(AccountId),
    /// The owner: everything.
    Owner,
}

/// Which transaction is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// By payment hash.
    Hash(PaymentHash),
    /// By BOLT 11 text.
    Invoice(String),
}

/// `list_transactions`: newest creation first.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Oldest creation time, inclusive, unix seconds.
    pub from_s: Option<u64>,
    /// Newest creation time, inclusive, unix seconds.
    pub until_s: Option<u64>,
    /// How many; at most [`LIST_ROWS_MAX`], which is also the default.
    pub limit: Option<usize>,
    /// How many to leave out first.
    pub offset: usize,
    /// Whether unpaid invoices and failed payments are shown. Payments under way always are.
    pub unpaid: bool,
    /// One direction only.
    pub direction: Option<Direction>,
    /// Whether to count all that match (costs a walk, bounded by [`LIST_WALK_MAX`]).
    pub count: bool,
}

/// Most transactions in one page.
pub const LIST_ROWS_MAX: usize = 200;
/// Most rows that one `list` walks over, matching or not.
pub const LIST_WALK_MAX: usize = 20_000;

/// A page of transactions.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Newest first.
    pub transactions: Vec<Transaction>,
    /// How many match in all, where asked for and within [`LIST_WALK_MAX`].
    pub total: Option<u64>,
}

/// When a budget is whole again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Renewal {
    /// Never.
    #[default]
    Never,
    /// At midnight.
    Daily,
    /// On Monday at midnight.
    Weekly,
    /// On the first of the month at midnight.
    Monthly,
    /// On the first of January at midnight.
    Yearly,
}

impl Renewal {
    /// The name on the wire and at the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }

    /// The renewal of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Never, Self::Daily, Self::Weekly, Self::Monthly, Self::Yearly].into_iter().find(|one| one.as_str() == name)
    }
}

/// How much a connection may spend, fees included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Per period.
    pub amount: Msat,
    /// The period.
    pub renewal: Renewal,
    /// IANA name (`Europe/Vienna`) or `UTC`: where midnight is. Checked by [`super::period::zone_exists`].
    pub time_zone: String,
}

/// What a connection may do with money. Method lists, keys and names are the business of `access`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRules {
    /// The account it spends from and receives into.
    pub account: AccountId,
    /// `None`: as much as the account has.
    pub budget: Option<Budget>,
    /// Most for one payment, fees not counted.
    pub payment_max: Option<Msat>,
    /// `false` once revoked: no new payment, no new invoice; what is under way ends as it must.
    pub active: bool,
}

/// A connection as the wallet stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRow {
    /// Its number.
    pub id: ConnectionId,
    /// What it may do with money.
    pub rules: ConnectionRules,
    /// The rest, written and read by `access` only; at most [`CONNECTION_BYTES_MAX`] bytes.
    pub data: Vec<u8>,
}

/// Most opaque bytes in a connection's record.
pub const CONNECTION_BYTES_MAX: usize = 16_384;

/// `get_budget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetView {
    /// Per period.
    pub total: Msat,
    /// Settled in this period, fees included.
    pub settled: Msat,
    /// Held for payments under way that began in this period.
    pub held: Msat,
    /// When it is whole again, unix seconds.
    pub renews_at_s: Option<u64>,
    /// The period.
    pub renewal: Renewal,
}

impl BudgetView {
    /// Settled and held: what no new payment may use.
    pub fn used(&self) -> Msat {
        self.settled.checked_add(self.held).unwrap_or(Msat::MAX)
    }

    /// What is left.
    pub fn left(&self) -> Msat {
        self.total.saturating_sub(self.used())
    }
}

/// An account as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// Its number.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// What the ledger says. Negative only after a back end took more than it was allowed to (alarm).
    pub balance_msat: i128,
    /// Held for payments under way.
    pub held: Msat,
}

impl AccountView {
    /// What can be spent now.
    pub fn spendable(&self) -> Msat {
        let free = self.balance_msat - i128::from(self.held.get());
        u64::try_from(free).ok().and_then(|msat| Msat::new(msat).ok()).unwrap_or(Msat::ZERO)
    }
}

/// What is known of a request without asking the disk.
#[derive(Clone, Debug)]
pub enum KnownAnswer {
    /// On disk and under way; the answer will be published.
    Pending,
    /// The answer, byte for byte as it was and will be.
    Answered(Event),
}

/// The state of the money room, for the owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Why nothing is paid, and what to do; `None` in good times.
    pub safe_mode: Option<String>,
    /// Payments under way.
    pub in_flight: usize,
    /// Invoices that can be paid now.
    pub open_invoices: usize,
    /// Last sequence number of the journal.
    pub seq: u64,
    /// Alarms since start, newest last; at most [`ALARMS_MAX`].
    pub alarms: Vec<String>,
    /// Connections that were suspended by an alarm.
    pub suspended: Vec<ConnectionId>,
}

/// Most alarms that are kept to be shown.
pub const ALARMS_MAX: usize = 100;

/// Why an owner's wish was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// The name is taken.
    #[error("an account named \"{0}\" exists")]
    NameTaken(String),
    /// The name is empty, too long or has control characters.
    #[error("an account's name has 1 to {ACCOUNT_NAME_BYTES_MAX} bytes and no control characters")]
    BadName,
    /// More accounts or connections than there may be.
    #[error("at most {0} of these may exist")]
    TooMany(usize),
    /// The amount is zero, or a balance would leave the range of amounts.
    #[error("the amount must be above zero and the balance within {}", Msat::MAX)]
    BadAmount,
    /// The account does not have it.
    #[error("the account has {spendable} to spend, {needed} are needed")]
    NotEnough {
        /// What it has.
        spendable: Msat,
        /// What is needed.
        needed: Msat,
    },
    /// The connection's record is too large, names an unknown account or an unknown time zone.
    #[error("the connection cannot be stored: {0}")]
    BadConnection(String),
    /// Safe mode, with words for the operator.
    #[error("the wallet is in safe mode: {0}")]
    SafeMode(String),
    /// The waiting room is full.
    #[error("the wallet is busy, try again in a second")]
    Busy,
    /// The journal could not be written; the process is about to end.
    #[error("the wallet's journal could not be written")]
    Failed,
}

/// Longest name of an account in bytes.
pub const ACCOUNT_NAME_BYTES_MAX: usize = 64;
