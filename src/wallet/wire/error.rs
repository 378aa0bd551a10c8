//! What a client is told when its request is not granted: a code of the closed list and words for people.
//!
//! Released clients know only the codes of the core specification; an unknown one makes the whole answer undecodable for them
//! (wallet.md 5.5). So there is no `BAD_REQUEST` and no `EXPIRED` here: bad parameters are `OTHER`, an expired connection is
//! `UNAUTHORIZED`.

use std::borrow::Cow;
use std::fmt;

/// The codes of NIP-47.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum ErrorCode {
    /// Too fast: try again in a few seconds.
    RateLimited,
    /// The method is not known here.
    NotImplemented,
    /// The account does not cover amount and fee reserve.
    InsufficientBalance,
    /// The budget of the connection does not.
    QuotaExceeded,
    /// The connection may not do that.
    Restricted,
    /// The key has no wallet, or no longer.
    Unauthorized,
    /// Our fault.
    Internal,
    /// Anything else.
    Other,
    /// The scheme is not served (NIP-44 section of NIP-47).
    UnsupportedEncryption,
    /// The payment has failed for certain.
    PaymentFailed,
    /// No such invoice.
    NotFound,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [Self; 11] = [
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
    ];

    /// The word on the wire.
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
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The `error` of a response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WireError {
    /// What machines read.
    pub code: ErrorCode,
    /// What people read; never a secret, never an internal cause.
    pub message: Cow<'static, str>,
}

impl WireError {
    /// An error from its parts.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// `OTHER`: the request cannot be understood.
    pub fn other(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Other, message)
    }

    /// `INTERNAL`, always with the same words: the cause goes to the log.
    pub fn internal() -> Self {
        Self::new(ErrorCode::Internal, "the wallet has an internal problem; its owner finds the cause in the log")
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}
