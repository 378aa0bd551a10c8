//! Orders, outcomes and views: what goes into the money room and what comes out of it.
//!
//! Amounts are msat, times on the outside are unix seconds. Nothing here moves money.

mod owner;
pub use owner::*;

use crate::base::amount::Msat;
use crate::base::hex32::{Hex32, PaymentHash};
use crate::protocol::event::Event;
pub use crate::wallet::backend::TlvRecord;
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
    /// A node, without an invoice.
    Keysend {
        /// Its public key: 66 hex digits, as the client sent it.
        payee: String,
        /// What it gets.
        amount: Msat,
        /// The client's own preimage. `None`: it follows from the wallet seed and the request, so that a repeat has the same.
        preimage: Option<Preimage>,
        /// Custom records: at most [`TLV_RECORDS_MAX`] with [`TLV_BYTES_MAX`] bytes of values in all.
        records: Vec<TlvRecord>,
    },
}

/// Most custom records of a keysend payment.
pub const TLV_RECORDS_MAX: usize = 32;
/// Most bytes in all values of its custom records together: what fits into an onion with room for the route.
pub const TLV_BYTES_MAX: usize = 768;

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
    /// full, connection unknown or revoked): the caller answers with this error. A repeat would be judged anew: that it is told the same
    /// is the caller's part.
    Refused(Refusal),
    /// What the journal holds of this request could not be read, so whether it was done before is not known. `OK false "error: ..."`.
    /// Nothing was done now; it counts neither as refused nor as paid.
    Unknown,
    /// The journal could not be written; the process is about to end. `OK false "error: ..."`. Nothing was sent by this process, but the
    /// record may be on the disk after all, and then the next start goes on with it: the outcome is not known.
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

    /// Runs what tells clients several things after a commit: whoever is told more than one hears it at once. On the money thread.
    fn together(&self, tell: &mut dyn FnMut()) {
        tell();
    }

    /// Money arrived at a payee (for notifications; [`super::Money::lookup`] has the rest). After the commit, on the money thread.
    fn settled(&self, settled: &Settled) {
        let _ = settled;
    }

    /// The money of a hold invoice has arrived and waits for its maker's word (`hold_invoice_accepted`). After the commit, on the
    /// money thread.
    fn held(&self, held: &Held) {
        let _ = held;
    }
}

/// A transaction that was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The record that settled it: rises, and names this news together with the direction.
    pub seq: u64,
    /// When, unix seconds: the time of that record.
    pub at_s: u64,
    /// Received or paid.
    pub direction: Direction,
    /// Whose money.
    pub account: AccountId,
    /// Who made the invoice, or paid.
    pub connection: ConnectionId,
    /// Names it.
    pub hash: PaymentHash,
}

/// A hold invoice that was paid and waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The record that says so.
    pub seq: u64,
    /// When, unix seconds: the time of that record.
    pub at_s: u64,
    /// Whose invoice.
    pub account: AccountId,
    /// Who made it, and alone may settle or cancel it.
    pub connection: ConnectionId,
    /// Names it.
    pub hash: PaymentHash,
    /// Of the invoice, unix seconds; it limits the start of a payment, not how long it is held.
    pub expires_at_s: u64,
    /// Block height at which the money goes back by itself; `None` for a payment inside this hearth.
    pub settle_deadline: Option<u32>,
}

/// Most news that [`super::Money::settled_since`] and [`super::Money::held_since`] give: the newest.
pub const NEWS_MAX: usize = 10_000;

/// What makes an invoice a hold invoice: its preimage is with the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldTerms {
    /// The hash that the client gives.
    pub hash: PaymentHash,
    /// Blocks that the last hop must leave.
    pub min_cltv_expiry_delta: Option<u32>,
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
    /// Makes it a hold invoice.
    pub hold: Option<HoldTerms>,
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
    /// A payment that failed for certain, or a hold invoice that was cancelled.
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
    /// The BOLT 11 text; none for a payment without an invoice.
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
    /// The payment of that hash, not an invoice.
    Payment(PaymentHash),
    /// The invoice of that hash, not a payment.
    Receipt(PaymentHash),
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
    /// After [`LIST_WALK_MAX`] rows, created at this time (unix seconds) or later, the page was not full: there may be more before.
    pub cut_at_s: Option<u64>,
}

/// What is known of a request without asking the disk.
#[derive(Clone, Debug)]
pub enum KnownAnswer {
    /// On disk and under way: the answer will be published, unless the keys for it are gone.
    Pending,
    /// The answer, byte for byte as it was and will be.
    Answered(Event),
}
