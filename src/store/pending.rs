//! What is there while a batch is being decided: the database, and on top of it what the batch has changed so far.

use hashbrown::{HashMap, HashSet};

use super::apply::{Change, Present, Stored};
use super::cache::HotEvents;
use super::error::ReadError;
use super::keys::{Address, Salt, Version, deleted_address_key, deleted_event_key, event_key, id_key, read_seq6};
use super::rows;
use super::schema::{ADDRESSES, DELETED, EVENTS, EXPIRY, IDS, State};
use crate::base::hex32::{EventId, PublicKey};
use crate::kv::{Batch, Db};
use crate::protocol::event::Event;

/// Where the writer looks things up.
pub(super) struct Sources<'a> {
    pub db: &'a Db,
    pub salt: &'a Salt,
    pub hot: &'a HotEvents,
}

/// A batch in the making.
pub(super) struct Pending<'a> {
    sources: Sources<'a>,
    batch: Batch,
    state: State,
    /// Events of this batch, removed ones included: all were accepted.
    accepted: Vec<(u64, Event)>,
    /// Where in `accepted` an id stands; `None` = removed in this batch.
    ids: HashMap<EventId, Option<usize>>,
    removed: HashSet<u64>,
    versions: HashMap<Address, Version>,
    deleted_events: HashSet<(EventId, PublicKey)>,
    deleted_addresses: HashMap<Address, u64>,
}

/// A batch that is decided.
pub(super) struct Decided {
    pub batch: Batch,
    pub state: State,
    pub accepted: Vec<(u64, Event)>,
    pub removed: HashSet<u64>,
}

impl<'a> Pending<'a> {
    pub(super) fn new(sources: Sources<'a>, state: State) -> Self {
        Self {
            sources,
            batch: Batch::new(),
            state,
            accepted: Vec::new(),
            ids: HashMap::new(),
            removed: HashSet::new(),
            versions: HashMap::new(),
            deleted_events: HashSet::new(),
            deleted_addresses: HashMap::new(),
        }
    }

    /// Makes a change part of the batch; the number of the event, if it is stored. All that can fail is read before
    /// anything is changed, so that a damaged row spoils one event and not the batch.
    pub(super) fn absorb(&mut self, event: &Event, change: Change) -> Result<Option<u64>, ReadError> {
        let leaving: Vec<_> = change.remove.iter().map(|seq| Ok((*seq, self.event(*seq)?))).collect::<Result<_, ReadError>>()?;
        for (seq, old) in leaving {
            self.remove(seq, old);
        }
        for (id, author) in change.deleted_events {
            self.batch.put(DELETED, &deleted_event_key(&id, &author), b"");
            self.deleted_events.insert((id, author));
        }
        for (address, until) in change.deleted_addresses {
            self.batch.put(DELETED, &deleted_address_key(&address), &until.to_be_bytes());
            self.deleted_addresses.insert(address, until);
        }
        let seq = change.refusal.is_none().then(|| self.insert(event));
        for (address, version) in change.seen {
            let version = Version { seq: seq.filter(|_| version.id == event.id()), ..version };
            rows::put_version(&mut self.batch, &address, Some(&version));
            self.versions.insert(address, version);
        }
        Ok(seq)
    }

    /// Removes an expired event and its row in `expiry`; its address is forgotten with it.
    pub(super) fn expire(&mut self, expiry_key: &[u8], seq: u64) -> Result<(), ReadError> {
        // By itself, so that a row that was left over does not come up for ever.
        self.batch.delete(EXPIRY, expiry_key);
        let Some(event) = self.event(seq)? else { return Ok(()) };
        if let Some(address) = Address::of(event.view())
            && self.version(&address)?.is_some_and(|version| version.seq == Some(seq))
        {
            rows::put_version(&mut self.batch, &address, None);
        }
        self.remove(seq, Some(event));
        Ok(())
    }

    /// Bytes that will be written.
    pub(super) fn size_bytes(&self) -> usize {
        self.batch.size_bytes()
    }

    /// Adds the row that counts, if there is anything to count.
    pub(super) fn finish(mut self) -> Decided {
        if !self.batch.is_empty() {
            self.state.put(&mut self.batch);
        }
        let Self { batch, state, accepted, removed, .. } = self;
        Decided { batch, state, accepted, removed }
    }

    fn insert(&mut self, event: &Event) -> u64 {
        self.state.seq += 1;
        self.state.events += 1;
        let seq = self.state.seq;
        rows::put(&mut self.batch, event.view(), seq, self.sources.salt);
        self.ids.insert(event.id(), Some(self.accepted.len()));
        self.accepted.push((seq, event.clone()));
        seq
    }

    fn remove(&mut self, seq: u64, event: Option<Event>) {
        let Some(event) = event else { return };
        if !self.removed.insert(seq) {
            return;
        }
        rows::delete(&mut self.batch, event.view(), seq, self.sources.salt);
        self.ids.insert(event.id(), None);
        self.state.events = self.state.events.saturating_sub(1);
    }

    /// A stored event by its number, of this batch or before.
    fn event(&self, seq: u64) -> Result<Option<Event>, ReadError> {
        if let Ok(place) = self.accepted.binary_search_by_key(&seq, |(seq, _)| *seq) {
            return Ok(Some(self.accepted[place].1.clone()));
        }
        if let Some(event) = self.sources.hot.get(seq) {
            return Ok(Some(event));
        }
        let event = self.sources.db.get_with(EVENTS, &event_key(seq), Event::from_bytes)?;
        event.map(|event| event.ok_or(ReadError::Damaged("an event"))).transpose()
    }

    fn stored_seq(&self, id: &EventId) -> Result<Option<u64>, ReadError> {
        let seq = self.sources.db.get_with(IDS, id_key(id), read_seq6)?;
        seq.map(|seq| seq.ok_or(ReadError::Damaged("an id"))).transpose()
    }
}

impl Present for Pending<'_> {
    fn has(&self, id: &EventId) -> Result<bool, ReadError> {
        if let Some(pending) = self.ids.get(id) {
            return Ok(pending.is_some());
        }
        Ok(self.sources.hot.contains(id) || self.stored_seq(id)?.is_some())
    }

    fn stored(&self, id: &EventId) -> Result<Option<Stored>, ReadError> {
        let found = match self.ids.get(id) {
            Some(None) => None,
            Some(Some(place)) => self.accepted.get(*place).cloned(),
            None => match self.stored_seq(id)? {
                Some(seq) => self.event(seq)?.map(|event| (seq, event)),
                None => None,
            },
        };
        Ok(found.filter(|(_, event)| event.id() == *id).map(|(seq, event)| Stored {
            seq,
            author: event.pubkey(),
            kind: event.kind(),
            address: Address::of(event.view()),
        }))
    }

    fn version(&self, address: &Address) -> Result<Option<Version>, ReadError> {
        if let Some(version) = self.versions.get(address) {
            return Ok(Some(*version));
        }
        let version = self.sources.db.get_with(ADDRESSES, address.key(), Version::decode)?;
        version.map(|version| version.ok_or(ReadError::Damaged("an address"))).transpose()
    }

    fn is_deleted(&self, id: &EventId, author: &PublicKey) -> Result<bool, ReadError> {
        let pending = self.deleted_events.contains(&(*id, *author));
        Ok(pending || self.sources.db.get_with(DELETED, &deleted_event_key(id, author), |_| ())?.is_some())
    }

    fn deleted_until(&self, address: &Address) -> Result<Option<u64>, ReadError> {
        if let Some(until) = self.deleted_addresses.get(address) {
            return Ok(Some(*until));
        }
        let until = self
            .sources
            .db
            .get_with(DELETED, &deleted_address_key(address), |value| <[u8; 8]>::try_from(value).map(u64::from_be_bytes))?;
        until.map(|until| until.map_err(|_| ReadError::Damaged("a deleted address"))).transpose()
    }
}
