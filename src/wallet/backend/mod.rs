//! What stands behind the wallet and really pays: one small trait and one file a back end.
//!
//! A back end says what it knows and no more: *settled* with a preimage, *failed* only where its own list of terminal statuses
//! says so, and *unknown* for everything else (a time-out, a cut stream, "in transition"). Nothing here blocks: results come by
//! a callback, now or in three days. Only this folder names Lightning crates.

pub mod bolt11;
pub mod embedded;

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
}

/// One payment to be made. It is on disk before the back end sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SendOrder {
    /// Names this attempt; comes back with its result.
    pub attempt: u64,
    /// Names the payment.
    pub hash: PaymentHash,
    /// The invoice.
    pub bolt11: String,
    /// What the payee gets: equal to the invoice's amount where it has one.
    pub amount: Msat,
    /// Whether the invoice has an amount (then it must not be given again).
    pub invoice_has_amount: bool,
    /// Most that it may cost on top.
    pub fee_max: Msat,
}

/// What became of a payment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SendResult {
    /// The payee has it.
    Settled {
        /// The proof.
        preimage: Preimage,
        /// What it cost on top.
        fee: Msat,
    },
    /// It failed for certain: no part of it is under way and none will be. Words for the payer.
    Failed(String),
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

/// Money that came in from outside for an invoice made here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// Names the invoice.
    pub hash: PaymentHash,
    /// What arrived.
    pub amount: Msat,
}

/// Why a back end did not do something that moves no money.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);

/// A back end. Every method returns at once.
pub trait Backend: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Who the node is, from memory.
    fn info(&self) -> Info;

    /// `Err` with words for the payer while nothing can be sent (connection lost); asked before an intent is written.
    fn ready(&self) -> Result<(), BackendError> {
        Ok(())
    }

    /// Makes a payment. Exactly one result, whenever it is known; a result that never comes is looked up.
    fn send(&self, order: SendOrder, done: Answer<SendResult>);

    /// Asks about a payment made with the given invoice.
    fn lookup(&self, order: LookupOrder, done: Answer<LookupResult>);

    /// Makes an invoice. Asked twice with one preimage, it may give the same invoice or another text for the same hash.
    fn make_invoice(&self, order: NewInvoice, done: Answer<Result<MadeInvoice, BackendError>>);

    /// Tells the back end where to report money that comes in. Called once, before anything else. At least once for each
    /// settlement, also for those that happened while hearth was away.
    fn on_incoming(&self, report: Box<dyn Fn(Incoming) + Send + Sync>) {
        drop(report);
    }
}
