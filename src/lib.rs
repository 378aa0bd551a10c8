//! hearth: a Nostr relay with the wallet inside.
//!
//! Floors, from the ground up; each imports only downward (`ARCHITECTURE.md` has the map and the walks):
//!
//! * [`base`]: amounts, ids, clock, secrets, shutdown. `telemetry`: logs and metric families.
//! * [`protocol`]: the wire format, pure. `kv`: the RocksDB wrapper. `pb`: generated gRPC types.
//! * `store`: events on disk.
//! * `live`: who is listening. `policy`: who may.
//! * `relay`: what a message means. `wallet`: what a request pays. Neither knows the other.
//! * `server`: sockets and HTTP. `config`: text to settings. `app`: joins everything. `cli`: commands.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::print_stdout,
        clippy::print_stderr,
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "tests; the library itself is checked without them"
    )
)]

pub mod app;
pub mod base;
pub mod bench;
pub mod cli;
pub mod config;
pub mod kv;
pub mod live;
pub mod pb;
pub mod policy;
pub mod protocol;
pub mod relay;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod wallet;
