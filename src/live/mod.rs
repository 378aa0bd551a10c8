//! Who is listening: subscriptions, what waits to be sent to each connection, and the short memory of wallet messages.
//!
//! * [`outbox`]: frames that wait for one connection, bounded in bytes.
//! * [`subscription`]: one open REQ, its gate (stored events first, then live ones) and its half-made frame.
//! * [`index`]: from the fields of an event to the subscriptions that may want it.
//! * [`fanout`]: [`Live`], which joins these: one buffer per event, whoever gets it.
//! * [`recent`]: wallet messages of the last minutes, for those who subscribe a moment late.
//!
//! No sockets, no store, no rules about who may: `policy` has those.

pub mod direct;
mod fanout;
pub mod index;
pub mod keys;
pub mod outbox;
pub mod recent;
pub mod subscription;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use direct::{Direct, Load, together};
pub use fanout::{Live, LiveConfig};
pub use outbox::{Outbox, Outgoing, TotalBytes};
pub use subscription::Subscription;
