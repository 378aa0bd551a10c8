//! Text to settings, in two steps: [`file`] mirrors the TOML exactly, [`resolve`] turns it into each part's own plain `Config`.
//!
//! Neither step stops at the first problem: whoever edits the file sees all of them at once. `config.toml` at the top of the
//! project documents every key with its default; a test holds both together.

pub mod file;
pub mod problem;
mod reader;
pub mod resolve;

pub use problem::{Problem, Problems};
pub use resolve::{Overrides, Settings, load};
