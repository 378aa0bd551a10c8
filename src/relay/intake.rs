//! Who else may take an event instead of the store: the relay knows this trait and nothing behind it.

use super::reply::Reply;
use crate::base::hex32::EventId;
use crate::protocol::event::{Draft, Event};
use crate::protocol::filter::Filter;
use crate::protocol::reason::Reason;

/// What an intake says to an event before its signature is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Ordinary traffic.
    NotMine,
    /// It is for me: check the signature, then hand it over; neither store nor publish it.
    Take,
    /// It is for me, and refused as it stands: no signature check is spent on it.
    Refuse(Reason),
}

/// Takes events out of the relay's way and brings answers back into it.
pub trait Intake: Send + Sync {
    /// Whether the event is for this intake. Must be cheap: every event that is not known yet is shown here.
    fn claim(&self, draft: &Draft<'_>) -> Claim;

    /// A claimed event whose signature is good. `reply` carries its one `OK`.
    fn take(&self, draft: Draft<'_>, event: Event, reply: Reply);

    /// Kept events that a subscription may still see, newest first. Only asked for filters that name an author, `#p`, `#e` or
    /// an id, and only where the filter admits the kinds of NIP-47 that are never stored.
    fn recall(&self, filter: &Filter) -> Vec<Event>;

    /// A recalled event was queued for the client whom it is for: one who has logged in with the key in its `p`, or wrote with it on
    /// the same connection.
    fn delivered(&self, _id: &EventId) {}
}

/// An intake that wants nothing: a relay without a wallet.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoIntake;

impl Intake for NoIntake {
    fn claim(&self, _: &Draft<'_>) -> Claim {
        Claim::NotMine
    }

    fn take(&self, _: Draft<'_>, _: Event, reply: Reply) {
        drop(reply);
    }

    fn recall(&self, _: &Filter) -> Vec<Event> {
        Vec::new()
    }
}
