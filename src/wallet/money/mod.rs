//! The only place where money moves: one thread, one synced batch for each transition, journal first.
//!
//! [`types`]: orders, outcomes, views. [`Money`]: the handle that the rest of the wallet holds.

pub mod types;
