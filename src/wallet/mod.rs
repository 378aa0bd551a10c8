//! What a request pays: the wallet service (NIP-47). It does not know that a relay exists.
//!
//! Own floors, from the ground: [`terms`]; `wire`, [`backend`]; `access`; [`money`]; `methods`; and the root that joins them:
//! [`intake`] takes requests, `dispatch` orders what they ask for, [`answers`] makes what goes back, [`outbox`] keeps it for a while,
//! `notify` tells what nobody asked for, [`owner`] does what the owner asks for, [`pairing`] what apps ask the owner for, `delegate` what an app may ask for another one,
//! [`service`] holds them together.

pub mod access;
pub mod answers;
mod asked;
pub mod backend;
mod delegate;
mod dispatch;
pub mod intake;
pub mod methods;
pub mod money;
mod notify;
pub mod outbox;
pub mod owner;
pub mod pairing;
mod refused;
pub mod service;
pub mod stats;
pub mod terms;
pub mod wire;

pub use answers::Answers;
pub use intake::{Claim, Reply};
pub use service::{Config, Parts, Wallet};

use crate::protocol::event::Event;

/// Where the wallet's events go. The process joins it to whatever carries events.
pub trait Publisher: Send + Sync {
    /// Sends an ephemeral event (an answer) to everybody who listens for it now, and says how many that were.
    fn publish(&self, event: &Event) -> usize;

    /// Runs what sends several things: what goes to one client goes in one piece.
    fn together(&self, tell: &mut dyn FnMut()) {
        tell();
    }

    /// Stores an ordinary event (kind 13194). Called again with the same bytes at every start; whoever has it does nothing.
    fn store(&self, event: Event);
}

#[cfg(test)]
pub(crate) mod tests;
