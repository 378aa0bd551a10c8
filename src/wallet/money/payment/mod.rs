//! The payment core: a pure state machine. Inputs and a time go in, effects come out; no clock, no randomness, no I/O.
//!
//! The shell around it (or the simulator) writes the records of one or many steps in one synced batch, and only then performs the
//! other effects, in their order. [`State`] is the fold of all records: it is changed by [`State::apply`] and by nothing else
//! that must outlive a crash, so reading the journal again gives the same state.

mod apply;
mod check;
mod hold;
mod keysend;
mod pay;
mod result;
mod state;
mod unwanted;

use super::record::{Done, Ending, Entry, Intent, Invoice, Word};
use super::types::{
    AccountId, ConnectionId, ConnectionRow, InvoiceOrder, Outcome, OwnerError, PayOrder, PayReply, Preimage, Reconciled, Refusal,
    RequestKey, RequestRef, Transaction,
};
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;
use crate::wallet::backend::bolt11::Decoded;
use crate::wallet::backend::{
    Incoming, LookupOrder, LookupResult, MadeInvoice, NewHoldInvoice, NewInvoice, SendOrder, SendResult,
};
pub use apply::Broken;
pub(super) use check::bounded_metadata;
pub(super) use hold::{Heard, abandon, arrived, give_back, gone, restart as restart_holds, taken};
pub(super) use pay::may_act;
pub(super) use state::Making;
pub use state::{Connection, Hold, Limits, Open, OpenInvoice, State, Touched, Watch};

/// Names a caller that waits; the shell knows who it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// What is to be paid, as it was read on the way here.
#[derive(Clone, Debug)]
pub enum Bill {
    /// An invoice.
    Invoice(Box<Decoded>),
    /// None; the preimage is the client's own or follows from the request.
    Keysend(Preimage),
}

impl Bill {
    /// The payment hash.
    pub fn hash(&self) -> PaymentHash {
        match self {
            Self::Invoice(invoice) => invoice.hash,
            Self::Keysend(preimage) => preimage.hash(),
        }
    }
}

/// What the core is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client wants to pay.
    Pay {
        /// The order.
        order: Box<PayOrder>,
        /// What is to be paid, or why it could not be read.
        bill: Result<Bill, Refusal>,
        /// `Err` with words while the back end cannot send.
        ready: Result<(), String>,
        /// Who waits.
        token: Token,
    },
    /// A client wants an invoice.
    MakeInvoice {
        /// The order.
        order: Box<InvoiceOrder>,
        /// The preimage that belongs to this request.
        preimage: Preimage,
        /// Who waits.
        token: Token,
    },
    /// The back end made an invoice, or could not.
    InvoiceMade {
        /// The request that it is for.
        key: RequestKey,
        /// The invoice.
        made: Result<MadeInvoice, String>,
    },
    /// The result of a send.
    Sent {
        /// Names the payment.
        hash: PaymentHash,
        /// Names the attempt.
        attempt: u64,
        /// The result.
        result: SendResult,
    },
    /// The result of a look-up.
    Looked {
        /// Names the payment.
        hash: PaymentHash,
        /// Names the attempt that was under way when it was asked.
        attempt: u64,
        /// When it was asked, by the clock that only goes forward: names the question.
        asked_ms: u64,
        /// The result.
        result: LookupResult,
    },
    /// The maker of a hold invoice has decided.
    Hold {
        /// Who asks.
        request: RequestRef,
        /// Names the invoice.
        hash: PaymentHash,
        /// The decision.
        word: Word,
        /// Who waits.
        token: Token,
    },
    /// The back end has heard of a decision about a hold invoice.
    HoldTold {
        /// Names the invoice.
        hash: PaymentHash,
        /// Which decision.
        word: Word,
        /// Whether it was done.
        result: Result<(), String>,
    },
    /// Money came in from outside.
    Incoming {
        /// What.
        incoming: Incoming,
        /// Who waits for it to be on disk; not told where it is not.
        token: Token,
    },
    /// The owner wants something.
    Owner {
        /// What.
        wish: OwnerWish,
        /// Who waits.
        token: Token,
    },
    /// The clock jumped, or is believed again.
    Clock {
        /// The last moment that is believed, unix ms; `None`: believed again.
        frozen_at_ms: Option<u64>,
    },
    /// Time passes.
    Tick,
    /// The journal was read: ask about everything that is open.
    Restart,
}

/// What an owner may want.
#[derive(Clone, Debug)]
pub enum OwnerWish {
    /// A new account.
    CreateAccount(String),
    /// Money written into an account.
    Fund(AccountId, Msat),
    /// Money moved between accounts.
    Move(AccountId, AccountId, Msat),
    /// A connection made or changed.
    PutConnection(Box<ConnectionRow>),
    /// The end of a suspension.
    Resume(ConnectionId),
    /// The end of safe mode. The shell has found out what the anchor knew.
    Reconcile {
        /// What it found; or why there is no way out.
        found: Result<Found, String>,
    },
}

/// What is known of the past that a journal has lost.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Records that the anchor knew and the journal has not, where it could say.
    pub lost: Option<u64>,
    /// Payments that the back end has carried out and the journal does not know.
    pub strays: Vec<PaymentHash>,
}

/// What an owner gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnerDone {
    /// Done.
    Done,
    /// The number of the new account.
    Account(AccountId),
    /// Safe mode is over.
    Reconciled(Reconciled),
}

/// What a waiting caller is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To `pay`.
    Pay(PayReply),
    /// To `make_invoice`.
    Invoice(Result<Box<Transaction>, Refusal>),
    /// To an owner.
    Owner(Result<OwnerDone, OwnerError>),
    /// To the decision about a hold invoice.
    Hold(Result<(), Refusal>),
    /// To a report of the back end: `true` when it is on disk or nothing is to be written about it, `false` when it has to be made
    /// again.
    Noted(bool),
}

/// What the core wants done. Records first, in one synced batch; then everything else, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write a record. The events of its answers are still empty: the shell signs `outcome` for each of them, and publishes them
    /// after the commit.
    Append {
        /// The record.
        entry: Entry,
        /// What the answers in it say.
        outcome: Option<Outcome>,
    },
    /// Send a payment (its intent is an earlier record).
    Send(SendOrder),
    /// Ask the back end about a payment.
    Lookup(LookupOrder),
    /// Let the back end make an invoice.
    MakeInvoice {
        /// The request that it is for.
        key: RequestKey,
        /// The invoice.
        order: NewInvoice,
    },
    /// Let the back end make a hold invoice.
    MakeHoldInvoice {
        /// The request that it is for.
        key: RequestKey,
        /// The invoice.
        order: NewHoldInvoice,
    },
    /// Tell the back end what is to become of a hold invoice (the decision is an earlier record, or follows from one).
    TellHold {
        /// Names the invoice.
        hash: PaymentHash,
        /// The decision.
        word: Word,
    },
    /// Tell a caller.
    Reply(Token, Reply),
    /// Publish a stored answer again.
    Republish(RequestRef, Vec<u8>),
    /// Tell the owner; a broken invariant, a lying back end.
    Alarm(String),
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestRow {
    /// A payment that it asked for is under way.
    Paying,
    /// It was answered; the packed event (empty if it could not be signed).
    Answered(RequestRef, Vec<u8>),
    /// It made this invoice.
    Invoice(Box<InvoiceRow>),
}

/// The latest payment of a hash.
#[derive(Clone, Debug, PartialEq)]
pub struct PaymentRow {
    /// Sequence number of its intent.
    pub seq: u64,
    /// When it was allowed, unix ms.
    pub at_ms: u64,
    /// What was to be paid.
    pub intent: Intent,
    /// How it ended, and when (unix ms).
    pub done: Option<(u64, Done)>,
}

impl PaymentRow {
    /// How it ended.
    pub fn ending(&self) -> Option<&Ending> {
        self.done.as_ref().map(|(_, done)| &done.ending)
    }
}

/// Where an invoice stands, apart from its age.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Nothing has come for it.
    Open,
    /// Its money has arrived and waits.
    Held {
        /// Since when, unix ms.
        at_ms: u64,
        /// What waits.
        amount: Msat,
    },
    /// Paid.
    Paid {
        /// When, unix ms.
        at_ms: u64,
        /// What was paid.
        amount: Msat,
        /// The proof of a hold invoice.
        preimage: Option<Preimage>,
        /// By an account of this hearth.
        inside: bool,
    },
    /// Cancelled.
    Canceled {
        /// Why.
        reason: String,
    },
}

/// An invoice made here.
#[derive(Clone, Debug, PartialEq)]
pub struct InvoiceRow {
    /// Its sequence number.
    pub seq: u64,
    /// When it was made, unix ms.
    pub at_ms: u64,
    /// The invoice.
    pub invoice: Invoice,
    /// Where it stands.
    pub standing: Standing,
}

/// The journal could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wallet's journal could not be read: {0}")]
pub struct RowsError(pub String);

/// What the core looks up. Includes the records of earlier steps whose batch is not committed yet.
pub trait Rows {
    /// What is known of a request.
    fn request(&self, key: &RequestKey) -> Result<Option<RequestRow>, RowsError>;

    /// The latest payment of a hash.
    fn payment(&self, hash: &PaymentHash) -> Result<Option<PaymentRow>, RowsError>;

    /// The invoice of a hash, made here.
    fn invoice(&self, hash: &PaymentHash) -> Result<Option<InvoiceRow>, RowsError>;

    /// What a connection has spent, fees included, by payments that were allowed at or after a moment and are settled.
    fn spent_since(&self, connection: ConnectionId, since_ms: u64) -> Result<Msat, RowsError>;
}

/// One step. Effects are appended to `out`.
pub fn step(state: &mut State, rows: &dyn Rows, input: Input, now_ms: u64, out: &mut Vec<Effect>) {
    match input {
        Input::Pay { order, bill, ready, token } => pay::pay(state, rows, pay::Wish { order, bill, ready, token }, now_ms, out),
        Input::MakeInvoice { order, preimage, token } => {
            super::receive::make_invoice(state, rows, *order, preimage, token, now_ms, out);
        }
        Input::InvoiceMade { key, made } => super::receive::invoice_made(state, key, made, now_ms, out),
        Input::Sent { hash, attempt, result } => result::sent(state, rows, &hash, attempt, result, now_ms, out),
        Input::Looked { hash, attempt, asked_ms, result } => {
            result::looked(state, rows, &result::Question { hash, attempt, asked_ms }, result, now_ms, out);
        }
        Input::Hold { request, hash, word, token } => {
            hold::decide(state, rows, &hold::Wish { request, hash, word, token }, now_ms, out);
        }
        Input::HoldTold { hash, word, result } => hold::told(state, &hash, word, result, now_ms, out),
        Input::Incoming { incoming, token } => super::receive::incoming(state, rows, &incoming, token, now_ms, out),
        Input::Owner { wish, token } => super::owner::fulfil(state, rows, wish, token, now_ms, out),
        Input::Clock { frozen_at_ms } => result::clock(state, frozen_at_ms, now_ms, out),
        Input::Tick => result::tick(state, now_ms, out),
        Input::Restart => super::recover::restart(state, now_ms, out),
    }
}
