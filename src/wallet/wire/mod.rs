//! NIP-47 on the wire: envelopes, requests, responses, errors, events. Pure but for randomness; knows no account and no money.

pub mod envelope;
pub mod error;
pub mod info_event;
pub mod instruction;
pub mod method;
mod nip04;
pub mod notification;
pub mod request;
pub mod response;
pub mod sign;
pub mod transaction;
pub mod uri;
