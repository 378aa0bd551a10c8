//! What a message means: one client's state machine, and the way of an event through the house.
//!
//! * [`session`]: one connection: text in, frames into its outbox; no sockets, never blocks.
//! * `verbs`: one file a verb. `work`: stored queries and counts in slices, fair within a connection.
//! * [`ingest`]: the way of an event: rules, id, known, claimed, rate, login, signature, then store, intake or live only.
//! * [`intake`]: who else may take an event. [`storage`]: what is asked of a store. [`reply`]: the one `OK`.
//!
//! The relay does not know that a wallet exists (it knows [`Intake`]), nor RocksDB (it knows [`Storage`]).

pub mod ingest;
pub mod intake;
pub mod reply;
pub mod session;
pub mod stats;
pub mod storage;
#[cfg(test)]
mod tests;
mod verbs;
mod work;

use std::net::IpAddr;
use std::sync::Arc;

pub use intake::{Claim, Intake, NoIntake};
pub use reply::Reply;
pub use session::Session;
pub use stats::Stats;
pub use storage::Storage;

use crate::base::clock::Clock;
use crate::live::{Live, Outbox};
use crate::policy::Policy;
use crate::protocol::event::Event;
use crate::protocol::reason::{Reason, Verdict};
use crate::protocol::relay_message;
use crate::protocol::verify::Verifier;

/// What a relay is made of.
pub struct Parts {
    /// Events on disk.
    pub store: Arc<dyn Storage>,
    /// Who is listening. The store's commit hook publishes stored events to the same one.
    pub live: Live,
    /// Who else may take an event.
    pub intake: Arc<dyn Intake>,
    /// Who may: limits, rates, lists, login.
    pub policy: Arc<Policy>,
    /// What time it is.
    pub clock: Clock,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The address that limits count on.
    pub ip: IpAddr,
}

/// The relay: shared by all sessions.
pub struct Relay {
    store: Arc<dyn Storage>,
    live: Live,
    intake: Arc<dyn Intake>,
    policy: Arc<Policy>,
    clock: Clock,
    counters: Arc<stats::Counters>,
    verifier: Verifier,
}

impl Relay {
    /// Joins the parts.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { store, live, intake, policy, clock } = parts;
        Arc::new(Self { store, live, intake, policy, clock, counters: Arc::default(), verifier: Verifier::default() })
    }

    /// A new connection. What it has to say goes into `outbox`.
    pub fn session(self: &Arc<Self>, peer: Peer, outbox: Arc<Outbox>) -> Session {
        Session::new(Arc::clone(self), peer, outbox)
    }

    /// Takes an event of our own, made and signed here, on the way that every event goes after its signature check.
    pub fn ingest(&self, event: Event, done: impl FnOnce(Verdict) + Send + 'static) {
        ingest::place(self, event, Reply::to_call(Box::new(done)));
    }

    fn say_closed(&self, outbox: &Outbox, id: &str, reason: &Reason) {
        self.counters.refusal(reason.prefix);
        outbox.push_text(relay_message::closed(id, reason));
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        self.counters.read()
    }
}
