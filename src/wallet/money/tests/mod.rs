//! The money room under test: the core by tables, by random interleavings and by crashes; the room by its files.

mod amounts;
mod core;
mod crashes;
mod holds;
mod keysends;
mod records;
mod room;
mod standing;
mod support;
