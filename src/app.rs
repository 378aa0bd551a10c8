//! Builds everything and joins siblings with small adapters. The only place that knows all concrete types.

pub mod data_dir;
