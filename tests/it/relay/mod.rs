//! The relay, one file a NIP, and what cannot be shown by cases: oracles, hand-over, bad input.

mod bad_input;
mod handover;
mod incidents;
mod live_oracle;
mod nip01;
mod nip09;
mod nip11;
mod nip40;
mod nip42;
mod nip45;
mod nip47;
mod nip70;
mod nostr_sdk;
mod queries_oracle;
mod sockets;
