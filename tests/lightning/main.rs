//! Real Lightning: nodes with channels between them on a chain in this process, a server that speaks LND in front of one of them,
//! and hearth paying and being paid over it.
//!
//! One binary, and one row of nodes for all tests that need no balances of their own: starting nodes costs seconds. Every wait
//! has a bound; nothing asserts how long a thing took.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    unreachable_pub,
    reason = "tests"
)]

mod chain;
mod conformance;
mod connection;
mod faults;
mod hearth_over_lnd;
mod incoming;
mod lnd;
mod node;
mod payments;
mod rig;
mod secrets;
mod store;
#[path = "../backends/suite/mod.rs"]
mod suite;
#[path = "../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the harness of tests/it; what is not needed here is used there")]
mod support;
