//! `cancel_hold_invoice` (extension 03): gives the money that waits for a hold invoice of this connection back, or lets nobody pay
//! it any more.

use crate::wallet::money::Money;
use crate::wallet::money::types::{On, RequestRef};
use crate::wallet::terms::Refusal;
use crate::wallet::wire::request::CancelHold;

/// Orders it; `on` is called when it is booked.
pub fn run(money: &Money, request: RequestRef, cancel: &CancelHold, on: On<Result<(), Refusal>>) {
    money.cancel_hold(request, cancel.payment_hash, on);
}
