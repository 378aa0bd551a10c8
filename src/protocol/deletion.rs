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
    let kind = address_kind(parts.next()?)?;
    let author = Hex32::parse(parts.next()?).ok()?;
    let d = parts.next().unwrap_or_default();
    match class(kind) {
        _ if author != request.pubkey() => None,
        Class::Replaceable => Some(Target::Address { kind, d: "" }),
        Class::Addressable => Some(Target::Address { kind, d }),
        Class::Regular | Class::Ephemeral => None,
    }
}

/// A kind as it stands in an address. `+1` and `01` parse as numbers too, but no event has such an address, and what deletes
/// for ever is not guessed at.
fn address_kind(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_an_address_is_written_in_one_way_only() {
        for (text, kind) in [
            ("0", Some(0)),
            ("10002", Some(10_002)),
            ("65535", Some(65_535)),
            ("65536", None),
            ("00", None),
            ("030024", None),
            ("+30024", None),
            ("-1", None),
            (" 1", None),
            ("", None),
        ] {
            assert_eq!(address_kind(text), kind, "{text:?}");
        }
    }
}
