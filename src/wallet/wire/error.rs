//! Refusals that are written in several places, each with one text.
//!
//! Released clients know only the codes of the core specification; an unknown one makes the whole answer undecodable for them
//! (wallet.md 5.5). So core methods never say `BAD_REQUEST`: bad parameters are `OTHER`, an expired connection is `UNAUTHORIZED`.

use std::borrow::Cow;

use crate::wallet::terms::{ErrorCode, Refusal};

/// `OTHER`: the request cannot be understood.
pub fn other(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::Other, message)
}

/// `INTERNAL`, always with the same words: the cause goes to the log.
pub fn internal() -> Refusal {
    Refusal::new(ErrorCode::Internal, "the wallet has an internal problem; its owner finds the cause in the log")
}
