//! Who may: limits, rates, lists, login, and who may see what.
//!
//! * [`limits`]: how much of everything. [`rate`]: how often (governor).
//! * [`rules`]: which keys and kinds, and who must log in. [`login`]: one connection's NIP-42 state.
//! * [`admission`]: may this event come in. [`reading`]: may these filters run, and what may they see.
//!
//! Every answer is a [`Reason`](crate::protocol::reason::Reason); nothing here sends, stores or publishes.

pub mod admission;
pub mod limits;
pub mod login;
pub mod rate;
pub mod reading;
pub mod rules;

use std::sync::Arc;

use parking_lot::RwLock;

pub use limits::Limits;
pub use login::Home;
pub use rate::{RateConfig, Rates};
pub use rules::Rules;

/// Everything that decides who may, shared by all connections.
#[derive(Debug)]
pub struct Policy {
    limits: Limits,
    rates: Rates,
    homes: Vec<Home>,
    rules: RwLock<Arc<Rules>>,
}

impl Policy {
    /// A policy from its settings. `homes` are the URLs of this relay, one of which a login must name.
    pub fn new(limits: Limits, rates: &RateConfig, homes: Vec<Home>, rules: Rules) -> Self {
        Self { limits, rates: Rates::new(rates, rate::Ticker::monotonic()), homes, rules: RwLock::new(Arc::new(rules)) }
    }

    /// The same with another source of time for the rates: for tests.
    #[must_use]
    pub fn with_ticker(mut self, rates: &RateConfig, ticker: rate::Ticker) -> Self {
        self.rates = Rates::new(rates, ticker);
        self
    }

    /// How much of everything.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How often.
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// The public URLs of this relay.
    pub fn homes(&self) -> &[Home] {
        &self.homes
    }

    /// The rules as they are now.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read())
    }

    /// Replaces the rules; open connections follow them from their next message on.
    pub fn set_rules(&self, rules: Rules) {
        *self.rules.write() = Arc::new(rules);
    }
}
