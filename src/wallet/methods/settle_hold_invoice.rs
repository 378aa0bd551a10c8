//! `settle_hold_invoice` (extension 03): takes the money that waits for a hold invoice of this connection.

use serde::Serialize;

use crate::wallet::money::Money;
use crate::wallet::money::types::{On, RequestRef};
use crate::wallet::terms::Refusal;
use crate::wallet::wire::request::SettleHold;

/// The result of settling and of cancelling: `{}`.
#[derive(Serialize, Debug)]
pub struct Done {}

/// Orders it; `on` is called when the money is booked.
pub fn run(money: &Money, request: RequestRef, settle: &SettleHold, on: On<Result<(), Refusal>>) {
    money.settle_hold(request, settle.preimage, on);
}
