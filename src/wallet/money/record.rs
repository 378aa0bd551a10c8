//! The records of the journal: what happened, in an order that never changes. State is what remains when they are read again.
//!
//! A request (REQ) is no record of its own: it stands at the head of the record that it caused, so that the request, the intent
//! and their place in the chain cannot be apart.

use super::types::{AccountId, ConnectionId, ConnectionRow, Outcome, Preimage, RequestRef};
use crate::base::amount::Msat;
use crate::base::hex32::{Hex32, PaymentHash};
use crate::wallet::backend::SendTarget;

/// A place in the ledger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Book {
    /// An account of this hearth.
    Account(AccountId),
    /// Fees paid to others.
    Fees,
    /// Everybody else on the network.
    Outside,
    /// What owners wrote in by hand.
    Funding,
}

/// One leg of a movement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Posting {
    /// Whose.
    pub book: Book,
    /// Plus: the book gets it.
    pub msat: i64,
}

/// A request that was answered, with the answer; empty bytes where no answer could be signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// The request.
    pub request: RequestRef,
    /// The packed answer event.
    pub event: Vec<u8>,
}

/// A payment that may have been sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Intent {
    /// Who asked.
    pub request: RequestRef,
    /// Whose money.
    pub account: AccountId,
    /// Names the payment.
    pub hash: PaymentHash,
    /// What is paid.
    pub target: SendTarget,
    /// What the payee gets: checked, held and sent.
    pub amount: Msat,
    /// Most that it may cost on top; `amount + fee_max` is held.
    pub fee_max: Msat,
    /// Of the invoice, unix seconds; for a payment without one, until when it may be driven again after a restart.
    pub invoice_expires_at_s: u64,
    /// Of the request (NIP-40), unix seconds.
    pub request_expires_at_s: Option<u64>,
    /// From the invoice.
    pub description: Option<String>,
    /// From the invoice.
    pub description_hash: Option<Hex32>,
    /// From the request.
    pub metadata: Option<String>,
}

impl Intent {
    /// The invoice, where there is one.
    pub fn bolt11(&self) -> Option<&str> {
        match &self.target {
            SendTarget::Invoice { bolt11, .. } => Some(bolt11),
            SendTarget::Keysend { .. } => None,
        }
    }
}

/// How a payment ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Paid.
    Settled {
        /// The proof.
        preimage: Preimage,
        /// What it cost on top.
        fee: Msat,
    },
    /// Failed for certain.
    Failed {
        /// Words for the payer.
        reason: String,
    },
}

/// Who made an invoice here, and gets the money.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payee {
    /// The account.
    pub account: AccountId,
    /// The connection that made the invoice.
    pub connection: ConnectionId,
}

/// The end of a payment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// Sequence number of its intent.
    pub intent: u64,
    /// Names the payment.
    pub hash: PaymentHash,
    /// Whose money.
    pub account: AccountId,
    /// Whose budget.
    pub connection: ConnectionId,
    /// How it ended.
    pub ending: Ending,
    /// Who got it, where that is an account of this hearth.
    pub payee: Option<Payee>,
    /// Whether it corrects an earlier DONE that said failed (I4).
    pub correction: bool,
    /// The movement; sums to zero (I3).
    pub postings: Vec<Posting>,
    /// All requests that waited for it.
    pub answers: Vec<Answered>,
}

/// An invoice made here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invoice {
    /// Who asked.
    pub request: RequestRef,
    /// Who gets the money.
    pub account: AccountId,
    /// Names it.
    pub hash: PaymentHash,
    /// Its text, lower case.
    pub bolt11: String,
    /// `None`: the payer decides.
    pub amount: Option<Msat>,
    /// The proof that its payer will get; `None` for a hold invoice, whose client has it.
    pub preimage: Option<Preimage>,
    /// Unix seconds.
    pub expires_at_s: u64,
    /// What for.
    pub description: Option<String>,
    /// Hash of what for.
    pub description_hash: Option<Hex32>,
    /// From the request.
    pub metadata: Option<String>,
}

/// The money of a hold invoice that arrived and waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// Names the invoice.
    pub hash: PaymentHash,
    /// Who made it.
    pub payee: Payee,
    /// What arrived.
    pub amount: Msat,
    /// Sequence number of the payer's intent, where that is an account of this hearth.
    pub payer: Option<u64>,
    /// Of the invoice, unix seconds.
    pub expires_at_s: u64,
    /// Block height at which money from outside goes back by itself.
    pub settle_deadline: Option<u32>,
}

/// What is to become of a hold invoice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// Its money is taken with this proof.
    Settle(Preimage),
    /// Its money goes back, or nobody can pay it any more.
    Cancel,
}

/// What a connection has used of its budget when its period begins or changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Used {
    /// Start of the period, unix ms.
    pub since_ms: u64,
    /// Settled since then, fees included.
    pub settled: Msat,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// The first record: whose journal this is.
    Genesis {
        /// The node's public key.
        node: String,
    },
    /// An account was made.
    Account {
        /// Its number.
        id: AccountId,
        /// Its name.
        name: String,
    },
    /// A connection was made or changed.
    Connection {
        /// Its new state.
        row: ConnectionRow,
        /// What it has used in the period that the new rules give.
        used: Used,
    },
    /// The owner wrote money into an account.
    Fund {
        /// The movement.
        postings: Vec<Posting>,
    },
    /// The owner moved money.
    Move {
        /// The movement.
        postings: Vec<Posting>,
    },
    /// An invoice was made.
    Invoice(Box<Invoice>),
    /// A payment may be under way from here on.
    Intent(Box<Intent>),
    /// A payment of an earlier life, of which the back end has never heard, is sent once more: this record's number names the new
    /// attempt, so that words about earlier ones are known by theirs.
    Driven {
        /// Names the payment.
        hash: PaymentHash,
    },
    /// Another request for a payment that is under way: waits for the same end.
    Attach {
        /// Who asked.
        request: RequestRef,
        /// Names the payment.
        hash: PaymentHash,
    },
    /// A payment ended.
    Done(Box<Done>),
    /// A request was answered without a payment of its own: refused, or the payment was settled before.
    Answer {
        /// The request and its answer.
        answered: Answered,
        /// What the answer says.
        outcome: Outcome,
    },
    /// Money came in from outside.
    Received {
        /// Names the invoice.
        hash: PaymentHash,
        /// Who gets it.
        payee: Payee,
        /// What arrived.
        amount: Msat,
        /// The proof of a hold invoice.
        preimage: Option<Preimage>,
        /// The movement.
        postings: Vec<Posting>,
    },
    /// An alarm suspended a connection.
    Suspend {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: String,
    },
    /// The owner ended a suspension.
    Resume {
        /// Which.
        connection: ConnectionId,
    },
    /// The money of a hold invoice has arrived.
    Accepted(Accepted),
    /// What is to become of a hold invoice, before the back end is told.
    Decided {
        /// Names the invoice.
        hash: PaymentHash,
        /// Who made it.
        payee: Payee,
        /// The decision.
        word: Word,
        /// Why.
        reason: String,
    },
    /// A hold invoice is over without money.
    Canceled {
        /// Names the invoice.
        hash: PaymentHash,
        /// Who made it.
        payee: Payee,
        /// Why.
        reason: String,
    },
    /// The owner led the wallet out of safe mode: the journal counts from here on.
    Reconciled {
        /// Why it was in safe mode.
        why: String,
        /// Records that were known to be lost.
        lost: Option<u64>,
        /// Payment requests made before this moment (unix seconds) are refused.
        refused_before_s: u64,
        /// Payments that the back end has carried out and this journal does not know: no reason for safe mode any more.
        strays: Vec<PaymentHash>,
    },
    /// The clock jumped, or is believed again.
    Clock {
        /// The last moment that is believed (unix ms): budgets stay in its period. `None`: the clock is believed again.
        frozen_at_ms: Option<u64>,
    },
}

/// A record in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its place.
    pub seq: u64,
    /// When, unix ms.
    pub at_ms: u64,
    /// What happened.
    pub record: Record,
}
