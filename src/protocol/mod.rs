//! The wire format: pure functions over text and bytes. No I/O, no clock (time is an argument), no store.

pub mod client_message;
pub mod deletion;
pub mod event;
mod event_read;
pub mod filter;
pub mod json;
pub mod kind;
pub mod reason;
pub mod relay_message;
pub mod repost;
pub mod verify;

#[cfg(test)]
mod tests;
