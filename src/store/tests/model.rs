//! What must be stored and what a query must answer, written down without any index, order of arrival or clever step.

use std::collections::HashMap;

use crate::base::hex32::EventId;
use crate::protocol::deletion::{Target, targets};
use crate::protocol::event::{Event, TagValue};
use crate::protocol::filter::Filter;
use crate::protocol::kind::{Class, DELETION, class};
use crate::store::ScanLimits;

/// Kind, author and `d` of an event with an address.
type Address = (u16, [u8; 32], String);

fn address_of(event: &Event) -> Option<Address> {
    let view = event.view();
    let d = match class(view.kind()) {
        Class::Replaceable => String::new(),
        Class::Addressable => view.tag(b'd').map(TagValue::to_text).unwrap_or_default().into_owned(),
        Class::Regular | Class::Ephemeral => return None,
    };
    Some((view.kind(), view.pubkey().0, d))
}

/// Of all events that ever arrived, in whatever order, those that must be stored, in the order of answers.
pub(super) fn stored(arrived: &[Event]) -> Vec<Event> {
    let deleted_one = |event: &Event| {
        let asks = |request: &&Event| request.kind() == DELETION && request.pubkey() == event.pubkey();
        event.kind() != DELETION
            && arrived
                .iter()
                .filter(asks)
                .any(|request| targets(request.view()).any(|target| target == Target::Event(event.id())))
    };
    let deleted_version = |event: &Event| {
        let Some((kind, author, d)) = address_of(event) else { return false };
        let address = Target::Address { kind, d: &d };
        let asks = |request: &&Event| {
            request.kind() == DELETION && request.pubkey().0 == author && request.created_at() >= event.created_at()
        };
        arrived.iter().filter(asks).any(|request| targets(request.view()).any(|target| target == address))
    };
    let mut newest: HashMap<Address, &Event> = HashMap::new();
    let mut stored: HashMap<EventId, Event> = HashMap::new();
    for event in arrived.iter().filter(|event| class(event.kind()) != Class::Ephemeral) {
        match address_of(event) {
            None if deleted_one(event) => {}
            None => {
                stored.insert(event.id(), event.clone());
            }
            Some(_) if deleted_version(event) => {}
            Some(address) => {
                let best = newest.entry(address).or_insert(event);
                if (event.created_at(), std::cmp::Reverse(event.id())) > (best.created_at(), std::cmp::Reverse(best.id())) {
                    *best = event;
                }
            }
        }
    }
    let versions = newest.into_values().filter(|event| !deleted_one(event)).cloned();
    in_order(stored.into_values().chain(versions).collect())
}

/// Newest first, ties by lowest id.
pub(super) fn in_order(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by_key(|event| (std::cmp::Reverse(event.created_at()), event.id()));
    events
}

/// What a query must answer, from events in order.
pub(super) fn answer(stored: &[Event], filters: &[Filter], limits: &ScanLimits) -> Vec<Event> {
    let mut all: HashMap<EventId, Event> = HashMap::new();
    for filter in filters {
        let limit = usize::try_from(limits.of(filter.limit)).unwrap();
        let found = stored.iter().filter(|event| filter.matches(event.view())).take(limit);
        all.extend(found.map(|event| (event.id(), event.clone())));
    }
    in_order(all.into_values().collect())
}

/// How many events match.
pub(super) fn count(stored: &[Event], filters: &[Filter]) -> u64 {
    stored.iter().filter(|event| filters.iter().any(|filter| filter.matches(event.view()))).count() as u64
}
