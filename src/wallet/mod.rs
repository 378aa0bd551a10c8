//! What a request pays: the wallet service (NIP-47). It does not know that a relay exists.
//!
//! Own floors, from the ground: [`terms`]; `wire`, [`backend`]; `access`; [`money`]; `methods`; and the root that joins them.

pub mod access;
// pub mod backend;
pub mod money;
pub mod terms;
pub mod wire;
