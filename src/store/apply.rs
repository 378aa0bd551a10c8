//! What accepting an event changes: a pure decision over the event and what is there (NIP-01, NIP-09, NIP-40).
//!
//! The result is the same whatever the order of arrival: of the versions under an address the newest one ever seen stands (of
//! one second the one with the lowest id) unless it is deleted, and an older one never comes back in its place, until the newest has
//! expired and was swept: then the address is free. A deletion counts for events that arrive after it as for those before.

use super::error::ReadError;
use super::keys::{Address, Version};
use crate::base::hex32::{EventId, PublicKey};
use crate::protocol::deletion::{Target, targets};
use crate::protocol::event::EventRef;
use crate::protocol::kind::{Class, DELETION, class};

/// What is there, earlier changes of the same batch included.
pub trait Present {
    /// Whether an event is stored.
    fn has(&self, id: &EventId) -> Result<bool, ReadError>;
    /// What a deletion must know of a stored event.
    fn stored(&self, id: &EventId) -> Result<Option<Stored>, ReadError>;
    /// The newest version seen under an address.
    fn version(&self, address: &Address) -> Result<Option<Version>, ReadError>;
    /// Whether its author asked for the deletion of this event.
    fn is_deleted(&self, id: &EventId, author: &PublicKey) -> Result<bool, ReadError>;
    /// Up to which created_at the versions under an address are deleted.
    fn deleted_until(&self, address: &Address) -> Result<Option<u64>, ReadError>;
}

/// A stored event, as far as a deletion must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number.
    pub seq: u64,
    /// Its author.
    pub author: PublicKey,
    /// Its kind.
    pub kind: u16,
    /// Its address.
    pub address: Option<Address>,
}

/// Why an event is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is stored already.
    Duplicate,
    /// A newer version of it was seen.
    Superseded,
    /// Its author had it deleted.
    Deleted,
    /// It has expired.
    Expired,
    /// Its kind is never stored; who called should have known.
    Ephemeral,
}

/// What changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// `None`: the event is stored. Even a refused event can change what is remembered of its address.
    pub refusal: Option<Refusal>,
    /// Numbers of stored events that go.
    pub remove: Vec<u64>,
    /// The newest version seen under an address from now on, without a number: who stores the event knows that.
    pub seen: Vec<(Address, Version)>,
    /// Events that are deleted for ever, with their author.
    pub deleted_events: Vec<(EventId, PublicKey)>,
    /// Addresses of which all versions up to a time are deleted for ever.
    pub deleted_addresses: Vec<(Address, u64)>,
}

impl Change {
    fn refused(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..Self::default() }
    }
}

/// Decides about one event.
pub fn apply(event: EventRef<'_>, now_s: u64, present: &impl Present) -> Result<Change, ReadError> {
    if class(event.kind()) == Class::Ephemeral {
        return Ok(Change::refused(Refusal::Ephemeral));
    }
    if is_expired(event, now_s) {
        return Ok(Change::refused(Refusal::Expired));
    }
    if present.has(&event.id())? {
        return Ok(Change::refused(Refusal::Duplicate));
    }
    if event.kind() == DELETION {
        return delete(event, present);
    }
    let deleted = present.is_deleted(&event.id(), &event.pubkey())?;
    match Address::of(event) {
        Some(address) => replace(event, address, deleted, present),
        None if deleted => Ok(Change::refused(Refusal::Deleted)),
        None => Ok(Change::default()),
    }
}

/// Whether an event must no longer be shown (NIP-40).
pub fn is_expired(event: EventRef<'_>, now_s: u64) -> bool {
    event.expiration().is_some_and(|expiration| expiration <= now_s)
}

/// A replaceable or addressable event. One that is deleted already still counts as seen: it takes its predecessor away.
fn replace(event: EventRef<'_>, address: Address, deleted: bool, present: &impl Present) -> Result<Change, ReadError> {
    let (created_at, id) = (event.created_at(), event.id());
    if present.deleted_until(&address)?.is_some_and(|until| created_at <= until) {
        return Ok(Change::refused(Refusal::Deleted));
    }
    let current = present.version(&address)?;
    if current.is_some_and(|current| current.beats(created_at, &id)) {
        return Ok(Change::refused(if deleted { Refusal::Deleted } else { Refusal::Superseded }));
    }
    Ok(Change {
        refusal: deleted.then_some(Refusal::Deleted),
        remove: current.and_then(|current| current.seq).into_iter().collect(),
        seen: vec![(address, Version { created_at, id, seq: None })],
        ..Change::default()
    })
}

/// A deletion request: takes what its author names, now and for ever, and is itself kept. Requests do not delete requests.
fn delete(request: EventRef<'_>, present: &impl Present) -> Result<Change, ReadError> {
    let author = request.pubkey();
    let mut change = Change::default();
    for target in targets(request) {
        match target {
            Target::Event(id) => match present.stored(&id)? {
                Some(stored) if stored.author != author || stored.kind == DELETION => {}
                Some(stored) => {
                    withdraw(&mut change, id, &stored, present)?;
                    change.deleted_events.push((id, author));
                }
                None => change.deleted_events.push((id, author)),
            },
            Target::Address { kind, d } => {
                let address = match class(kind) {
                    Class::Addressable => Address::addressable(kind, &author, d),
                    _ => Address::replaceable(kind, &author),
                };
                delete_address(&mut change, address, request.created_at(), present)?;
            }
        }
    }
    Ok(change)
}

/// Takes one stored event. If it is the newest of its address it stays remembered, so that no older version comes back.
fn withdraw(change: &mut Change, id: EventId, stored: &Stored, present: &impl Present) -> Result<(), ReadError> {
    if change.remove.contains(&stored.seq) {
        return Ok(());
    }
    change.remove.push(stored.seq);
    if let Some(address) = stored.address
        && let Some(version) = present.version(&address)?
        && version.id == id
    {
        change.seen.push((address, Version { seq: None, ..version }));
    }
    Ok(())
}

fn delete_address(change: &mut Change, address: Address, until: u64, present: &impl Present) -> Result<(), ReadError> {
    if let Some(version) = present.version(&address)?
        && version.created_at <= until
        && let Some(seq) = version.seq
    {
        if !change.remove.contains(&seq) {
            change.remove.push(seq);
        }
        change.seen.push((address, Version { seq: None, ..version }));
    }
    if present.deleted_until(&address)?.is_none_or(|earlier| earlier < until) {
        change.deleted_addresses.push((address, until));
    }
    Ok(())
}
