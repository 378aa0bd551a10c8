//! The whole of hearth from outside: every test starts the real binary on a directory of its own and talks to its sockets.
//!
//! One binary for all, so that it links once. Every wait has a bound ([`support::PATIENCE`]); nothing asserts how long a thing took.
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

mod cli;
mod crash;
mod keys;
mod owner;
mod pairing;
mod relay;
mod shutdown;
mod support;
mod wallet;
