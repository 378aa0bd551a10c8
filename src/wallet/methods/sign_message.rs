//! `sign_message` (de facto): a text signed with the node's key, for whoever wants to know whose wallet this is.

use serde::Serialize;

use crate::wallet::backend::SignedMessage;
use crate::wallet::money::Money;
use crate::wallet::money::types::On;
use crate::wallet::terms::Refusal;
use crate::wallet::wire::request::SignMessage;

/// The result.
#[derive(Serialize, Debug)]
pub struct Signed {
    message: String,
    signature: String,
}

impl From<SignedMessage> for Signed {
    fn from(signed: SignedMessage) -> Self {
        Self { message: signed.message, signature: signed.signature }
    }
}

/// Orders it; `on` may be called from a thread of the back end.
pub fn run(money: &Money, sign: SignMessage, on: On<Result<SignedMessage, Refusal>>) {
    money.sign_message(sign.message, on);
}
