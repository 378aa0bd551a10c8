//! What operators see: log lines and metric families. Knows no other part.

pub mod log;
pub mod metrics;
