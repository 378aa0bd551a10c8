//! Words that every room of the wallet shares: who asks, in which scheme, by which method, and how a refusal is called.
//!
//! Data only. Names on the wire stand beside the values they belong to, so that no room spells them twice.

use std::borrow::Cow;
use std::fmt;

use sha2::{Digest, Sha256};

use crate::base::hex32::{EventId, Hex32, PaymentHash, PublicKey};

/// An account: a sub-wallet with its own ledger balance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AccountId(pub u32);

impl AccountId {
    /// The account `main`: the node's own money. Always there.
    pub const MAIN: Self = Self(0);
}

/// A connection: one app's right to use one account. Numbers are never used again; the service key is derived from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u32);

/// How a request was encrypted; the answer goes back in the same scheme.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// NIP-44 version 2.
    Nip44,
    /// NIP-04, for clients that know nothing newer.
    Nip04,
}

impl Scheme {
    /// The name in `encryption` tags.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nip44 => "nip44_v2",
            Self::Nip04 => "nip04",
        }
    }
}

/// The methods whose requests leave a trace in the journal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// `pay_invoice`
    PayInvoice,
    /// `multi_pay_invoice`, one item of it.
    MultiPayInvoice,
    /// `pay_keysend`
    PayKeysend,
    /// `multi_pay_keysend`, one item of it.
    MultiPayKeysend,
    /// `pay` (extension 321).
    Pay,
    /// `make_invoice`
    MakeInvoice,
    /// `make_hold_invoice`
    MakeHoldInvoice,
    /// `receive` (extension 321).
    Receive,
    /// `settle_hold_invoice`
    SettleHoldInvoice,
    /// `cancel_hold_invoice`
    CancelHoldInvoice,
}

impl Method {
    /// The name on the wire (`method`, `result_type`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PayInvoice => "pay_invoice",
            Self::MultiPayInvoice => "multi_pay_invoice",
            Self::PayKeysend => "pay_keysend",
            Self::MultiPayKeysend => "multi_pay_keysend",
            Self::Pay => "pay",
            Self::MakeInvoice => "make_invoice",
            Self::MakeHoldInvoice => "make_hold_invoice",
            Self::Receive => "receive",
            Self::SettleHoldInvoice => "settle_hold_invoice",
            Self::CancelHoldInvoice => "cancel_hold_invoice",
        }
    }
}

/// Names one wish of a client for ever: the event's id and, for `multi_*`, the place of the item (0 everywhere else).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestKey {
    /// Id of the request event.
    pub event: EventId,
    /// Place of the item in a `multi_*` request, else 0.
    pub item: u16,
}

/// A request: all that is needed to answer it, today or after a restart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestRef {
    /// Its name.
    pub key: RequestKey,
    /// The connection that asked.
    pub connection: ConnectionId,
    /// Author of the request, receiver of the answer.
    pub client: PublicKey,
    /// The scheme that decrypted the request.
    pub scheme: Scheme,
    /// What it asked for.
    pub method: Method,
    /// `created_at` of the request, unix seconds; an answer is never older.
    pub created_at_s: u64,
    /// The `d` tag of the answer to an item of a `multi_*` request.
    pub item_tag: Option<String>,
}

/// The proof of a payment. Never printed by `Debug`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Preimage(pub [u8; 32]);

impl Preimage {
    /// 64 lower-case hex digits, for the one answer that carries it.
    pub fn to_hex(self) -> String {
        Hex32(self.0).to_string()
    }

    /// SHA-256 of it: the payment hash that it proves.
    pub fn hash(self) -> PaymentHash {
        Hex32(Sha256::digest(self.0).into())
    }
}

impl fmt::Debug for Preimage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[preimage]")
    }
}

/// The error codes of NIP-47 and of the extensions served here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorCode {
    /// Too fast.
    RateLimited,
    /// Unknown method, or one that the back end cannot do.
    NotImplemented,
    /// The account does not cover amount and fee reserve.
    InsufficientBalance,
    /// The budget or the per-payment maximum does not allow it.
    QuotaExceeded,
    /// The key is known and may not do this.
    Restricted,
    /// The key has no wallet (any longer).
    Unauthorized,
    /// Something is wrong on this side.
    Internal,
    /// Everything else, bad parameters among it.
    Other,
    /// The scheme of the request is not served.
    UnsupportedEncryption,
    /// The payment failed for certain: no money moved and none will.
    PaymentFailed,
    /// No such invoice or payment in this account.
    NotFound,
    /// Bad parameters, for extension methods only (released clients cannot decode it in core methods).
    BadRequest,
    /// Nothing that the payer could pay is named (extension 321 only).
    UnsupportedPaymentInstruction,
    /// The invoice is for another network (extension 321 only).
    UnsupportedNetwork,
    /// No route within the fee that the payer allows (extension 321 only).
    FeeLimitExceeded,
}

impl ErrorCode {
    const ALL: [Self; 15] = [
        Self::RateLimited,
        Self::NotImplemented,
        Self::InsufficientBalance,
        Self::QuotaExceeded,
        Self::Restricted,
        Self::Unauthorized,
        Self::Internal,
        Self::Other,
        Self::UnsupportedEncryption,
        Self::PaymentFailed,
        Self::NotFound,
        Self::BadRequest,
        Self::UnsupportedPaymentInstruction,
        Self::UnsupportedNetwork,
        Self::FeeLimitExceeded,
    ];

    /// The code of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    /// The code on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "RATE_LIMITED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::InsufficientBalance => "INSUFFICIENT_BALANCE",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::Restricted => "RESTRICTED",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Internal => "INTERNAL",
            Self::Other => "OTHER",
            Self::UnsupportedEncryption => "UNSUPPORTED_ENCRYPTION",
            Self::PaymentFailed => "PAYMENT_FAILED",
            Self::NotFound => "NOT_FOUND",
            Self::BadRequest => "BAD_REQUEST",
            Self::UnsupportedPaymentInstruction => "UNSUPPORTED_PAYMENT_INSTRUCTION",
            Self::UnsupportedNetwork => "UNSUPPORTED_NETWORK",
            Self::FeeLimitExceeded => "FEE_LIMIT_EXCEEDED",
        }
    }
}

/// A refusal as the client gets it: `error.code` and `error.message`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// For machines.
    pub code: ErrorCode,
    /// For people: says what was needed and what there is.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// A refusal from its two parts.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Refusal {}
