//! The store against obviously right models of it.

mod apply;
mod model;
mod oracle;
mod recovery;
mod rules;
pub(super) mod support;
