//! One file a verb; each has one `run` that answers into the outbox of the session.

pub(super) mod auth;
pub(super) mod close;
pub(super) mod count;
pub(super) mod event;
pub(super) mod req;

use crate::policy::limits::Limits;
use crate::protocol::reason::Reason;

/// A subscription id is not empty, not long and has no control characters (NIP-01).
fn check_id(id: &str, limits: &Limits) -> Result<(), Reason> {
    if id.is_empty() {
        return Err(Reason::invalid("the subscription id is empty"));
    }
    if id.chars().count() > limits.subscription_id_chars {
        return Err(Reason::invalid(format!("the subscription id has more than {} characters", limits.subscription_id_chars)));
    }
    if id.chars().any(char::is_control) {
        return Err(Reason::invalid("the subscription id has control characters"));
    }
    Ok(())
}
