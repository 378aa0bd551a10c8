//! The house door: sockets, HTTP, WebSockets, NIP-11, pages, and the second listener for health and metrics.
//!
//! It owns every byte that goes in or out and knows nothing of what the messages mean: that is the session of the relay.

pub mod client_ip;
pub mod frames;
pub mod http;
pub mod nip11;
pub mod pages;
pub mod router;
pub mod slots;
