//! Sessions driven without sockets: text in, frames out, over a store in memory.

mod auth;
mod gate;
mod load;
mod messages;
mod publish;
mod query;
mod support;
mod wallet_kinds;
