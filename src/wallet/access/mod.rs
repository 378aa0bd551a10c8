//! Who may ask: connections, their keys, their rights and their speed. In memory; the rows behind them are written by `money`. And
//! who did: [`audit`].

pub mod audit;
pub mod connection;
pub mod keys;
pub mod permission;
pub mod rate;
pub mod table;
