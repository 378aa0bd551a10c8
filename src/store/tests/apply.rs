//! `apply` as a table: what is there, what comes, what changes.

use std::collections::HashMap;

use super::support::{NOW_S, deletion, event, key};
use crate::base::hex32::{EventId, PublicKey};
use crate::protocol::event::Event;
use crate::store::ReadError;
use crate::store::apply::{Change, Present, Refusal, Stored, apply};
use crate::store::keys::{Address, Version};

/// What is there, as lists.
#[derive(Default)]
struct Fake {
    events: HashMap<EventId, Stored>,
    versions: HashMap<Address, Version>,
    deleted: Vec<(EventId, PublicKey)>,
    deleted_until: HashMap<Address, u64>,
}

impl Fake {
    fn with(mut self, seq: u64, event: &Event) -> Self {
        let address = Address::of(event.view());
        self.events.insert(event.id(), Stored { seq, author: event.pubkey(), kind: event.kind(), address });
        if let Some(address) = address {
            let version = Version { created_at: event.created_at(), id: event.id(), seq: Some(seq) };
            self.versions.insert(address, version);
        }
        self
    }

    fn with_deleted(mut self, event: &Event, author: u64) -> Self {
        self.deleted.push((event.id(), key(author)));
        self
    }
}

impl Present for Fake {
    fn has(&self, id: &EventId) -> Result<bool, ReadError> {
        Ok(self.events.contains_key(id))
    }

    fn stored(&self, id: &EventId) -> Result<Option<Stored>, ReadError> {
        Ok(self.events.get(id).copied())
    }

    fn version(&self, address: &Address) -> Result<Option<Version>, ReadError> {
        Ok(self.versions.get(address).copied())
    }

    fn is_deleted(&self, id: &EventId, author: &PublicKey) -> Result<bool, ReadError> {
        Ok(self.deleted.contains(&(*id, *author)))
    }

    fn deleted_until(&self, address: &Address) -> Result<Option<u64>, ReadError> {
        Ok(self.deleted_until.get(address).copied())
    }
}

fn decide(event: &Event, there: &Fake) -> Change {
    apply(event.view(), NOW_S, there).unwrap()
}

/// Two versions of one second, the one with the lower id first.
fn tie(kind: u16) -> (Event, Event) {
    let (a, b) = (event(1, kind, 50, &[], "a"), event(1, kind, 50, &[], "b"));
    if a.id() < b.id() { (a, b) } else { (b, a) }
}

#[test]
fn each_event_is_refused_for_its_reason() {
    let note = event(1, 1, 50, &[], "");
    let (old, new) = (event(1, 0, 50, &[], ""), event(1, 0, 51, &[], ""));
    let (low, high) = tie(0);
    let late = |expiration: u64| event(1, 1, 50, &[&["expiration", &expiration.to_string()]], "");
    let until = |until| Fake { deleted_until: HashMap::from([(Address::of(old.view()).unwrap(), until)]), ..Fake::default() };
    let there = Fake::default;
    for (name, event, there, refusal) in [
        ("a note", &note, there(), None),
        ("the same note", &note, there().with(1, &note), Some(Refusal::Duplicate)),
        ("ephemeral", &event(1, 20_001, 50, &[], ""), there(), Some(Refusal::Ephemeral)),
        ("expired a second ago", &late(NOW_S - 1), there(), Some(Refusal::Expired)),
        ("expired this second", &late(NOW_S), there(), Some(Refusal::Expired)),
        ("not yet expired", &late(NOW_S + 1), there(), None),
        ("a newer profile", &new, there().with(1, &old), None),
        ("an older profile", &old, there().with(1, &new), Some(Refusal::Superseded)),
        ("a tie with a lower id", &low, there().with(1, &high), None),
        ("a tie with a higher id", &high, there().with(1, &low), Some(Refusal::Superseded)),
        ("a deleted note", &note, there().with_deleted(&note, 1), Some(Refusal::Deleted)),
        ("a note that somebody else wants deleted", &note, there().with_deleted(&note, 2), None),
        ("a deleted profile", &old, there().with_deleted(&old, 1), Some(Refusal::Deleted)),
        ("a profile of the last deleted second", &old, until(50), Some(Refusal::Deleted)),
        ("a profile after the last deleted second", &old, until(49), None),
    ] {
        assert_eq!(decide(event, &there).refusal, refusal, "{name}");
    }
}

#[test]
fn a_newer_version_removes_the_older_one() {
    let (old, new) = (event(1, 30_023, 50, &[&["d", "x"]], ""), event(1, 30_023, 51, &[&["d", "x"]], ""));
    let other = event(1, 30_023, 51, &[&["d", "y"]], "");
    assert_eq!(decide(&new, &Fake::default().with(7, &old)).remove, [7]);
    assert_eq!(decide(&other, &Fake::default().with(7, &old)).remove, [0_u64; 0]);
}

#[test]
fn a_deleted_version_still_takes_its_predecessor_away() {
    let (old, new) = (event(1, 0, 50, &[], ""), event(1, 0, 51, &[], ""));
    let change = decide(&new, &Fake::default().with(7, &old).with_deleted(&new, 1));
    assert_eq!(change.refusal, Some(Refusal::Deleted));
    assert_eq!(change.remove, [7]);
    assert_eq!(change.seen[0].1.id, new.id());
}

#[test]
fn a_request_deletes_what_its_author_wrote_and_nothing_else() {
    let (mine, theirs) = (event(1, 1, 50, &[], ""), event(2, 1, 50, &[], ""));
    let request = deletion(1, 60, &[]);
    let unknown = event(3, 1, 1, &[], "").id();
    let there = Fake::default().with(7, &mine).with(8, &theirs).with(9, &request);
    let e = |id: EventId| ("e", id.to_string());
    for (name, targets, remove, tombstones) in [
        ("its own note", vec![e(mine.id())], vec![7], vec![mine.id()]),
        ("its own note, twice", vec![e(mine.id()), e(mine.id())], vec![7], vec![mine.id(), mine.id()]),
        ("another's note", vec![e(theirs.id())], vec![], vec![]),
        ("a request", vec![e(request.id())], vec![], vec![]),
        ("what has not arrived", vec![e(unknown)], vec![], vec![unknown]),
        ("no id", vec![("e", "x".to_owned())], vec![], vec![]),
    ] {
        let change = decide(&deletion(1, 70, &targets), &there);
        assert_eq!(change.refusal, None, "{name}");
        assert_eq!(change.remove, remove, "{name}");
        let expected: Vec<_> = tombstones.into_iter().map(|id| (id, key(1))).collect();
        assert_eq!(change.deleted_events, expected, "{name}");
    }
}

#[test]
fn a_request_deletes_versions_up_to_its_own_time() {
    let profile = event(1, 0, 50, &[], "");
    let article = event(1, 30_023, 50, &[&["d", "a:b"]], "");
    let there = || Fake::default().with(7, &profile).with(8, &article);
    let a = |kind: u16, author: u64, d: &str| vec![("a", format!("{kind}:{}:{d}", key(author)))];
    let without_colon = vec![("a", format!("0:{}", key(1)))];
    for (name, time, targets, remove, addresses) in [
        ("a profile", 50, a(0, 1, ""), vec![7], 1),
        ("a profile, written without the last colon", 50, without_colon, vec![7], 1),
        ("a profile that is newer", 49, a(0, 1, ""), vec![], 1),
        ("an article with a colon in its name", 50, a(30_023, 1, "a:b"), vec![8], 1),
        ("another article", 50, a(30_023, 1, "a"), vec![], 1),
        ("somebody else's profile", 50, a(0, 2, ""), vec![], 0),
        ("a kind without addresses", 50, a(1, 1, ""), vec![], 0),
        ("nonsense", 50, vec![("a", "+0:x".to_owned())], vec![], 0),
    ] {
        let change = decide(&deletion(1, time, &targets), &there());
        assert_eq!(change.remove, remove, "{name}");
        assert_eq!(change.deleted_addresses.len(), addresses, "{name}");
    }
}
