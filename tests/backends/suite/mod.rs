//! The conformance suite of back ends: what the wallet relies on, one test a scenario and back end.
//!
//! A back end joins by a [`World`], which plays everybody outside (a payee, a payer, a crash), and one call of `conformance!`. Which
//! scenarios apply is said there, and checked against what the back end says it can do; those that do not are "ignored" and never
//! counted as passed. Another test binary uses it with `#[path = "../backends/suite/mod.rs"] mod suite;` at its root.
#![allow(dead_code, unused_macros, unused_imports, reason = "each binary uses its part")]

pub mod orders;
pub mod scenarios;

use std::sync::Arc;
use std::time::Duration;

use hearth::base::amount::Msat;
use hearth::base::hex32::PaymentHash;
use hearth::wallet::backend::{Ack, Backend, Capabilities, Incoming, TlvRecord};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, sleep, timeout};

/// The longest that any single wait may take: only a hang ever reaches it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What an outside payee does with a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// He takes it at once.
    Take,
    /// He refuses it.
    Refuse,
    /// He holds it until [`World::take`] or [`World::refuse`].
    Wait,
}

/// Everything around one back end. Dropping it ends its processes and removes its files.
#[allow(async_fn_in_trait, reason = "tests run it on their own task")]
pub trait World: Sized {
    /// A fresh world: the back end has enough to pay with.
    async fn start() -> Self;
    /// The back end.
    fn backend(&self) -> Arc<dyn Backend>;
    /// Whether the balance changes by what is paid and its fee, and by nothing else.
    fn balance_is_exact(&self) -> bool {
        false
    }
    /// Hearth dies and comes back: a new back end on what the old one kept.
    async fn reopen(&mut self);
    /// The wallet's own process dies at once and comes back, where it has one.
    async fn restart(&mut self);
    /// Somebody else's invoice.
    async fn outside_invoice(&mut self, amount: Option<Msat>, then: Then) -> String;
    /// Key of a node that takes payments without an invoice.
    async fn outside_node(&mut self) -> String;
    /// What was received without an invoice.
    async fn received(&mut self, hash: PaymentHash) -> (Msat, Vec<TlvRecord>);
    /// A waiting payee takes the payment.
    async fn take(&mut self, hash: PaymentHash);
    /// A waiting payee refuses the payment.
    async fn refuse(&mut self, hash: PaymentHash);
    /// Somebody else begins to pay an invoice of this back end; says why he cannot.
    async fn pay(&mut self, bolt11: &str, amount: Msat) -> Result<(), String>;
}

/// Takes what a back end reports.
pub struct Reports(Receiver<(Incoming, Ack)>);

impl Reports {
    pub fn of(backend: &Arc<dyn Backend>) -> Self {
        let (tell, told) = channel(1_024);
        backend.on_incoming(Box::new(move |incoming, ack| drop(tell.try_send((incoming, ack)))));
        Self(told)
    }

    /// The next report.
    pub async fn any(&mut self) -> (Incoming, Ack) {
        timeout(PATIENCE, self.0.recv()).await.expect("no report").expect("no back end")
    }

    /// The next report about an invoice; those about others are acknowledged on the way.
    pub async fn next(&mut self, hash: PaymentHash) -> (Incoming, Ack) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (incoming, ack) = self.any().await;
            assert!(Instant::now() < deadline, "no report about {hash}");
            if incoming.hash == hash {
                return (incoming, ack);
            }
            ack();
        }
    }
}

/// Waits until the back end can work.
pub async fn ready(backend: &Arc<dyn Backend>) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = backend.ready() {
        assert!(Instant::now() < deadline, "not ready after {PATIENCE:?}: {error}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// What a scenario needs of a back end.
pub type Needs = fn(&Capabilities) -> bool;

/// Each scenario is in exactly one of the lists, and what the back end can do decides in which.
pub fn check_lists(can: &Capabilities, applies: &[&str], left_out: &[&str]) {
    for (name, needs) in scenarios::ALL {
        let is_in = (applies.contains(name), left_out.contains(name));
        assert_eq!(is_in, (needs(can), !needs(can)), "{name}: the back end can {can:?}");
    }
    assert_eq!(applies.len() + left_out.len(), scenarios::ALL.len());
}

/// A test a scenario for one back end.
macro_rules! conformance {
    ($name:ident, $world:ty, applies: [$($yes:ident),* $(,)?], left_out: [$($no:ident),* $(,)?]) => {
        mod $name {
            #[allow(unused_imports, reason = "the world is named by its path")]
            use super::*;
            use $crate::suite::{World, check_lists, scenarios};

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $yes() {
                    scenarios::$yes(<$world>::start().await).await;
                }
            )*
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[ignore = "this back end cannot do it"]
                async fn $no() {
                    scenarios::$no(<$world>::start().await).await;
                }
            )*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn what_applies_is_what_it_can_do() {
                let world = <$world>::start().await;
                check_lists(&world.backend().capabilities(), &[$(stringify!($yes)),*], &[$(stringify!($no)),*]);
            }
        }
    };
}
pub(crate) use conformance;
