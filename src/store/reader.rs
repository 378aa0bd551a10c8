//! Fetching one event: from the cache of hot events, or from the database as a snapshot sees it.

use super::cache::{HotEvents, Moment};
use super::error::ReadError;
use super::keys::event_key;
use super::merge::View;
use super::schema::EVENTS;
use crate::protocol::event::{Event, EventRef};

/// Reads events at one moment.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub view: View<'a>,
    pub hot: &'a HotEvents,
    /// Taken before the snapshot.
    pub moment: Moment,
}

impl Reader<'_> {
    /// An event by its number, if it is to be kept. It is looked at where it lies; only a kept one is copied, and remembered.
    pub(super) fn event_if(&self, seq: u64, mut keep: impl FnMut(EventRef<'_>) -> bool) -> Result<Option<Event>, ReadError> {
        if let Some(event) = self.hot.get(seq) {
            return Ok(keep(event.view()).then_some(event));
        }
        let read = |value: &[u8]| {
            let event = EventRef::new(value).ok_or(ReadError::Damaged("an event"))?;
            Ok::<_, ReadError>(keep(event).then(|| event.to_owned()))
        };
        let event = self.view.snapshot.get_with(EVENTS, &event_key(seq), read)?.transpose()?.flatten();
        if let Some(event) = &event {
            self.hot.insert_read(seq, event.clone(), self.moment);
        }
        Ok(event)
    }
}
