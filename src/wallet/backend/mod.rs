//! What stands behind the wallet and really pays: one small trait and one file a back end.
//!
//! A back end says what it knows and no more: *settled* with a preimage, *failed* only where its own list of terminal statuses
//! says so, and *unknown* for everything else (a time-out, a cut stream, "in transition"). Nothing here blocks: results come by
//! a callback, now or in three days. Only this folder names Lightning crates.

pub mod bolt11;
pub mod embedded;
pub mod grpc;
pub mod lnd;
pub mod scripted;
pub mod sign;

use std::time::Instant;

use crate::base::amount::Msat;
use crate::base::hex32::{Hex32, PaymentHash};
use crate::wallet::terms::Preimage;

/// Called exactly once with a result, from any thread.
pub type Answer<T> = Box<dyn FnOnce(T) + Send>;

/// A Lightning network.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Network {
    /// `lnbc`
    Mainnet,
    /// `lntb`
    Testnet,
    /// `lntbs`
    Signet,
    /// `lnbcrt`
    Regtest,
}

impl Network {
    /// The name on the wire (`get_info`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Testnet => "testnet",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
        }
    }

    /// The network of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Mainnet, Self::Testnet, Self::Signet, Self::Regtest].into_iter().find(|one| one.as_str() == name)
    }
}

/// Who the node is, as far as it is known now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// The node's public key: 66 lower-case hex digits.
    pub pubkey: String,
    /// Its name.
    pub alias: String,
    /// `#rrggbb`
    pub color: String,
    /// The network that its invoices are for.
    pub network: Network,
    /// 0 where the back end has no chain.
    pub block_height: u32,
    /// 64 zeros where the back end has no chain.
    pub block_hash: Hex32,
}

/// What a back end can do; everything else answers `NOT_IMPLEMENTED` and is not advertised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// It can reach payees outside this hearth.
    pub outside: bool,
    /// It refuses a second payment of one hash, so driving the same payment again is safe.
    pub refuses_second: bool,
    /// Hold invoices.
    pub hold_invoices: bool,
    /// Payments without an invoice.
    pub keysend: bool,
    /// Signing a message with the node key.
    pub sign_message: bool,
    /// The account `main` is the node's own money: see [`Backend::node_balance`].
    pub node_balance: bool,
}

/// A custom record that travels with a keysend payment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlvRecord {
    /// Its type; at least 65,536.
    pub kind: u64,
    /// Its value.
    pub value: Vec<u8>,
}

/// What is paid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SendTarget {
    /// A BOLT 11 invoice.
    Invoice {
        /// Its text, lower case.
        bolt11: String,
        /// Whether it has an amount (then it must not be given again).
        has_amount: bool,
    },
    /// A node, without an invoice.
    Keysend {
        /// Its public key: 66 lower-case hex digits.
        payee: String,
        /// What the payee gets as proof; the payment's hash is that of it. It travels in record 5482373484, which the back end adds.
        preimage: Preimage,
        /// Further records, by rising type.
        records: Vec<TlvRecord>,
    },
}

/// One payment to be made. It is on disk before the back end sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SendOrder {
    /// Names this attempt; comes back with its result.
    pub attempt: u64,
    /// Names the payment.
    pub hash: PaymentHash,
    /// What is paid.
    pub target: SendTarget,
    /// What the payee gets: equal to the invoice's amount where it has one.
    pub amount: Msat,
    /// Most that it may cost on top.
    pub fee_max: Msat,
    /// When the request or the invoice is over, unix seconds: an order that had to wait here is not given to anybody then.
    pub until_s: u64,
}

/// What became of a payment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SendResult {
    /// The payee has it.
    Settled {
        /// The proof. A back end that says "settled" without one gives zeros: they prove nothing, and that is what is seen.
        preimage: Preimage,
        /// What it cost on top.
        fee: Msat,
    },
    /// It failed for certain: no part of it is under way and none will be. Words for the payer.
    Failed(String),
    /// This attempt was not given to anybody and will not be. An earlier one may have been. Words for the payer.
    NotGiven(String),
    /// Nobody knows. Words for the log.
    Unknown(String),
}

/// A question about a payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LookupOrder {
    /// Names the payment.
    pub hash: PaymentHash,
    /// Names the attempt; comes back with the result.
    pub attempt: u64,
    /// When this attempt was allowed, unix ms. A failure from before then is that of an earlier attempt and says nothing: it must
    /// be answered with [`LookupResult::NotFound`].
    pub since_ms: u64,
}

/// What the back end knows of a payment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LookupResult {
    /// The payee has it.
    Settled {
        /// The proof.
        preimage: Preimage,
        /// What it cost on top.
        fee: Msat,
    },
    /// It failed for certain. Words for the payer.
    Failed(String),
    /// Under way.
    Pending,
    /// The back end has never heard of it.
    NotFound,
    /// The question was not answered. Words for the log.
    Unknown(String),
}

/// An invoice to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewInvoice {
    /// `None` leaves it to the payer.
    pub amount: Option<Msat>,
    /// What for.
    pub description: String,
    /// Goes into the invoice instead of the description.
    pub description_hash: Option<Hex32>,
    /// Seconds.
    pub expiry_s: u64,
    /// Now, unix seconds.
    pub now_s: u64,
    /// Decided by the wallet, the same for the same request: asking twice makes one invoice.
    pub preimage: Preimage,
}

/// A hold invoice to be made: its preimage is with somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHoldInvoice {
    /// `None` leaves it to the payer.
    pub amount: Option<Msat>,
    /// What for.
    pub description: String,
    /// Goes into the invoice instead of the description.
    pub description_hash: Option<Hex32>,
    /// Seconds.
    pub expiry_s: u64,
    /// Now, unix seconds.
    pub now_s: u64,
    /// Names it.
    pub hash: PaymentHash,
    /// Blocks that the last hop must leave; the back end's default where missing.
    pub min_cltv_expiry_delta: Option<u32>,
}

/// An invoice that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MadeInvoice {
    /// Its text, lower case.
    pub bolt11: String,
    /// Its hash.
    pub hash: PaymentHash,
    /// Unix seconds.
    pub expires_at_s: u64,
}

/// What became of an invoice made here, by a payment from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IncomingState {
    /// The money is the node's.
    Settled {
        /// The proof that the payer has, where the back end tells it.
        preimage: Option<Preimage>,
    },
    /// The money of a hold invoice has arrived and waits.
    Held {
        /// Block height at which it goes back by itself.
        settle_deadline: Option<u32>,
    },
    /// A hold invoice is over: its money went back, or none can come any more.
    Canceled,
}

/// Money that came in from outside for an invoice made here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// Names the invoice.
    pub hash: PaymentHash,
    /// What arrived (zero where nothing did).
    pub amount: Msat,
    /// What became of it.
    pub state: IncomingState,
}

/// Called after a report is durable: a back end moves its cursor then, never before. Dropped without a call where the report
/// could not be written (safe mode, a failed disk): it must be made again at the next start, and by
/// [`Backend::report_from_beginning`].
pub type Ack = Box<dyn FnOnce() + Send>;

/// Takes reports of incoming money, from any thread; never blocks.
pub type Report = Box<dyn Fn(Incoming, Ack) + Send + Sync>;

/// An order that the back end carried out at some time, as it tells it by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// Names the payment.
    pub hash: PaymentHash,
    /// The attempt that came with the order; 0 where the back end does not keep it.
    pub attempt: u64,
}

/// Takes reports of orders that were carried out, from any thread.
pub type OutgoingReport = Box<dyn Fn(Outgoing, Ack) + Send + Sync>;

/// What the node can spend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeBalance {
    /// So much.
    pub amount: Msat,
    /// When the question was put whose answer this is: what was paid since may be missing.
    pub asked: Instant,
}

/// A message signed with the node key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedMessage {
    /// The message.
    pub message: String,
    /// The signature, in the back end's own text form (zbase32 for Lightning nodes).
    pub signature: String,
}

/// Why a back end did not do something that moves no money.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);

impl BackendError {
    fn cannot(what: &str) -> Self {
        Self(format!("this back end cannot {what}"))
    }
}

/// A back end. Every method returns at once.
pub trait Backend: Send + Sync {
    /// What `[wallet] backend` calls it.
    fn name(&self) -> &'static str;

    /// What it can do. Does not change while hearth runs.
    fn capabilities(&self) -> Capabilities;

    /// Who the node is, from memory.
    fn info(&self) -> Info;

    /// `Err` with words for the payer while nothing can be sent (connection lost); asked before an intent is written.
    fn ready(&self) -> Result<(), BackendError> {
        Ok(())
    }

    /// Makes a payment. Exactly one result, whenever it is known; a result that never comes is looked up.
    fn send(&self, order: SendOrder, done: Answer<SendResult>);

    /// Asks about a payment that was ordered before.
    fn lookup(&self, order: LookupOrder, done: Answer<LookupResult>);

    /// Makes an invoice. Asked twice with one preimage, it may give the same invoice or another text for the same hash.
    fn make_invoice(&self, order: NewInvoice, done: Answer<Result<MadeInvoice, BackendError>>);

    /// Tells the back end where to report money that comes in. Called once, before anything else. At least once for each
    /// settlement, hold and cancellation, also for those that happened while hearth was away, until it was acknowledged.
    /// Invoices of the node that hearth did not make may be reported; they are acknowledged and ignored.
    fn on_incoming(&self, report: Report) {
        drop(report);
    }

    /// Tells the back end where to report orders that it carried out, also those of earlier lives. Called once, before anything else.
    /// A back end that tells no such thing on its own ignores it.
    fn on_outgoing(&self, report: OutgoingReport) {
        drop(report);
    }

    /// Reports everything that ever came in once more, from the beginning: the journal has lost its end, and with it what was
    /// acknowledged. Acknowledgements of reports from before no longer count. That it is to be done is durable when this returns; it
    /// may write a small file, and is called outside of any runtime. `Err` with words where that failed.
    fn report_from_beginning(&self) -> Result<(), BackendError> {
        Ok(())
    }

    /// Makes a hold invoice. Asked twice with one hash, it may give the same invoice or another text for the same hash.
    fn make_hold_invoice(&self, order: NewHoldInvoice, done: Answer<Result<MadeInvoice, BackendError>>) {
        drop(order);
        done(Err(BackendError::cannot("make hold invoices")));
    }

    /// Takes the money of a hold invoice. Repeated until it says `Ok` or reports [`IncomingState::Settled`] or
    /// [`IncomingState::Canceled`]; for one that is settled already it says `Ok`.
    fn settle_hold(&self, preimage: Preimage, done: Answer<Result<(), BackendError>>) {
        let _ = preimage;
        done(Err(BackendError::cannot("settle hold invoices")));
    }

    /// Gives the money of a hold invoice back and lets nobody pay it any more. Repeated until it says `Ok`; for one that is over
    /// already, or that it has never heard of, it says `Ok`. May be asked of an ordinary invoice that was paid inside.
    fn cancel_hold(&self, hash: PaymentHash, done: Answer<Result<(), BackendError>>) {
        let _ = hash;
        done(Err(BackendError::cannot("cancel hold invoices")));
    }

    /// Signs a message with the node key.
    fn sign_message(&self, message: String, done: Answer<Result<SignedMessage, BackendError>>) {
        drop(message);
        done(Err(BackendError::cannot("sign messages")));
    }

    /// What the node can spend over Lightning, from memory. `None`: not known now, or no node. It is asked again when a payment is done.
    fn node_balance(&self) -> Option<NodeBalance> {
        None
    }
}
