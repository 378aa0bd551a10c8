//! Events that are looked up one by one, by id or by address, and then put in order.

use super::budget::{Budget, FETCH};
use super::error::ReadError;
use super::keys::{Address, Place, Version, id_key, read_seq6};
use super::merge::View;
use super::reader::Reader;
use super::rows::{Row, author_head};
use super::schema::{ADDRESSES, IDS};
use crate::base::hex32::{EventId, PublicKey};
use crate::protocol::event::{Event, EventRef};
use crate::protocol::filter::Filter;

/// Bytes of events that are kept between finding out when they were made and giving them away; what does not fit is read again.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Look-ups, resolved one by one, then in order.
pub(super) struct Points {
    addresses: Option<Vec<Address>>,
    resolved: usize,
    found: Vec<Found>,
    kept_bytes: usize,
    in_order: bool,
}

/// An event that was looked up.
#[derive(Clone)]
pub(super) struct Found {
    pub row: Row,
    pub event: Option<Event>,
}

impl Points {
    /// The ids of the filter.
    pub(super) fn ids() -> Self {
        Self { addresses: None, resolved: 0, found: Vec::new(), kept_bytes: 0, in_order: false }
    }

    /// These addresses.
    pub(super) fn addresses(addresses: Vec<Address>) -> Self {
        Self { addresses: Some(addresses), ..Self::ids() }
    }

    /// Looks up what is left. `false` if time is up before all is.
    pub(super) fn resolve(
        &mut self,
        filter: &Filter,
        reader: &Reader<'_>,
        budget: &mut Budget,
        check: &impl Fn(&Row) -> bool,
    ) -> Result<bool, ReadError> {
        let ids = filter.ids.as_deref().unwrap_or_default();
        let total = self.addresses.as_ref().map_or(ids.len(), Vec::len);
        while self.resolved < total {
            if budget.is_over() {
                return Ok(false);
            }
            let found = match &self.addresses {
                Some(addresses) => addresses.get(self.resolved).map_or(Ok(None), |address| by_address(address, reader.view)),
                None => ids.get(self.resolved).map_or(Ok(None), |id| by_id(id, filter, reader)),
            }?;
            budget.spend(2 * FETCH);
            self.resolved += 1;
            if let Some(found) = found.filter(|found| check(&found.row)) {
                self.keep(found);
            }
        }
        if !self.in_order {
            // Descending, so that the newest is popped first.
            self.found.sort_unstable_by_key(|found| std::cmp::Reverse(found.row.place));
            self.in_order = true;
        }
        Ok(true)
    }

    /// The next one, once all are resolved.
    pub(super) fn head(&self) -> Option<&Found> {
        self.found.last()
    }

    /// Takes the one that [`Points::head`] showed.
    pub(super) fn take(&mut self) {
        self.found.pop();
    }

    fn keep(&mut self, mut found: Found) {
        if let Some(event) = &found.event {
            self.kept_bytes += event.bytes().len();
            if self.kept_bytes > KEPT_BYTES_MAX {
                found.event = None;
            }
        }
        self.found.push(found);
    }
}

fn by_id(id: &EventId, filter: &Filter, reader: &Reader<'_>) -> Result<Option<Found>, ReadError> {
    let (seq, event) = match reader.hot.get_by_id(id) {
        // It is stored now. If its number is one that the scan sees (checked on the row), it was stored then.
        Some((seq, event)) => (seq, filter.matches(event.view()).then_some(event)),
        None => {
            let Some(seq) = reader.view.snapshot.get_with(IDS, id_key(id), read_seq6)? else { return Ok(None) };
            let seq = seq.ok_or(ReadError::Damaged("an id"))?;
            (seq, reader.event_if(seq, |event| filter.matches(event))?)
        }
    };
    Ok(event.map(|event| Found { row: row_of(event.view(), seq), event: Some(event) }))
}

/// The row that an index would have.
fn row_of(event: EventRef<'_>, seq: u64) -> Row {
    Row {
        place: Place::of(event, seq),
        kind: event.kind(),
        author_head: author_head(&event.pubkey()),
        expires: event.expiration().is_some(),
    }
}

fn by_address(address: &Address, view: View<'_>) -> Result<Option<Found>, ReadError> {
    let Some(version) = view.snapshot.get_with(ADDRESSES, address.key(), Version::decode)? else { return Ok(None) };
    let version = version.ok_or(ReadError::Damaged("an address"))?;
    Ok(version.seq.map(|seq| Found {
        row: Row {
            place: Place::new(version.created_at, &version.id, seq),
            kind: address.kind(),
            author_head: author_head(&PublicKey::from_slice(&address.key()[2..]).unwrap_or_default()),
            // Not known before the event is read.
            expires: true,
        },
        event: None,
    }))
}
