//! Connections that an app asks for (NIP-47 extension 08): it brings its own key and says what it wants; the owner says yes or no.
//!
//! [`wish`] reads what is asked, from a `nostr+walletauth://` link or a web address; [`pending`] keeps it until the owner has
//! decided; [`grant`] does what the owner says. No secret is made: the app has its key already.

pub mod deep_link;
pub mod grant;
pub mod pending;
pub mod wish;

pub use pending::{Pending, Room};
pub use wish::Wish;
