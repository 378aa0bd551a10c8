//! `get_balance`: what the connection's account can spend now. Memory only: no disk, no other thread.

use serde::Serialize;

use super::Desk;
use crate::base::amount::Msat;
use crate::wallet::terms::Refusal;
use crate::wallet::wire::error::internal;

/// The result.
#[derive(Serialize, Debug)]
pub struct Balance {
    balance: Msat,
}

/// Answers.
pub fn run(desk: &Desk<'_>) -> Result<Balance, Refusal> {
    desk.money.balance(desk.asker.account).map(|balance| Balance { balance }).ok_or_else(internal)
}
