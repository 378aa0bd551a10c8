//! The money room under test: the core by tables, by the incidents of others and in the simulator; the room by its files.

mod again;
mod amounts;
mod clocks;
mod core;
mod holds;
mod incidents;
mod keysends;
mod records;
mod room;
#[path = "../../../../tests/sim/mod.rs"]
mod sim;
mod standing;
mod support;
mod turns;
mod unread;
