//! What a deletion request (NIP-09) asks to be deleted.

use super::event::{EventRef, TagValue};
use super::kind::{Class, class};
use crate::base::hex32::{EventId, Hex32};

/// One target of a deletion request, always of its own author.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target<'a> {
    /// The event with this id, if its author is the author of the request.
    Event(EventId),
    /// All versions under this address that are not newer than the request.
    Address {
        /// A replaceable or addressable kind.
        kind: u16,
        /// The `d` tag; empty for replaceable kinds.
        d: &'a str,
    },
}

/// The targets of a deletion request, in order. `a` tags that name another author, a kind without addresses, or nothing that
/// can be understood are left out.
pub fn targets(request: EventRef<'_>) -> impl Iterator<Item = Target<'_>> {
    request.tags().filter_map(move |tag| match tag {
        (b'e', TagValue::Hex(id)) => Some(Target::Event(id)),
        (b'a', TagValue::Text(address)) => own_address(address, request),
        _ => None,
    })
}

fn own_address<'a>(address: &'a str, request: EventRef<'_>) -> Option<Target<'a>> {
    let mut parts = address.splitn(3, ':');
    let kind = parts.next()?;
    // A u16 parses from "+1" too, which no client writes.
    let kind = if kind.starts_with('+') { return None } else { kind.parse::<u16>().ok()? };
    let author = Hex32::parse(parts.next()?).ok()?;
    let d = parts.next().unwrap_or_default();
    match class(kind) {
        _ if author != request.pubkey() => None,
        Class::Replaceable => Some(Target::Address { kind, d: "" }),
        Class::Addressable => Some(Target::Address { kind, d }),
        Class::Regular | Class::Ephemeral => None,
    }
}
