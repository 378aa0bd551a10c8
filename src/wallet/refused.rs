//! Payments that were refused without a record in the journal.
//!
//! Such a refusal is about its moment (too fast, the node is away), and a flood of them must not fill the journal. But who was told that
//! nothing was paid may have paid in another way since. So it stands: for as long as its event could be taken for a new request it is told
//! the same, in this life from memory, in the next from the log of requests. Of several payments each stands for itself.
//!
//! A connection has its own room, so that a flood of one forgets nothing of another. Where a room is full the oldest requests go, and their
//! time stays: what the connection asked until then and the journal does not know is refused, since it may be among them.

use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::RwLock;

use super::access::audit::RefusedPayment;
use super::terms::{ErrorCode, Refusal};
use crate::base::hex32::{EventId, PublicKey};

/// Most refusals of one connection that are known by name: half a megabyte.
const ROOM_MAX: usize = 4_096;
/// Most of all connections together, 8 MB; beyond, the fullest room loses its oldest.
const REFUSED_MAX: usize = 65_536;
/// They are kept so much longer than a request is taken, for a clock of ours that goes back; seconds.
const CLOCK_BACK_S: u64 = 3_600;

/// The refusals by the wallet key of their connection.
#[derive(Default)]
pub(super) struct Refused(RwLock<Inner>);

#[derive(Default)]
struct Inner {
    rooms: HashMap<PublicKey, Room, RandomState>,
    /// In all rooms.
    count: usize,
}

/// `created_at` of a request in unix seconds, its id, and which item of several; none for all of it. Sorted by time.
type Name = (u64, EventId, Option<u16>);

#[derive(Default)]
struct Room {
    known: BTreeMap<Name, ErrorCode>,
    /// Requests of this time (unix seconds) and before may be among those that are no longer known by name.
    forgotten_s: Option<u64>,
}

impl Refused {
    /// A payment is about to be told that it is refused. What it was told first stands.
    pub(super) fn remember(&self, wallet: &PublicKey, refused: RefusedPayment) {
        self.0.write().insert(wallet, refused);
    }

    /// Takes in what the log says of a connection, as far as it can still be asked again; requests are taken for so long after their
    /// own time.
    pub(super) fn recall(&self, wallet: &PublicKey, past: Vec<RefusedPayment>, freshness_s: u64, now_s: u64) {
        let (mut inner, over_s) = (self.0.write(), over_s(freshness_s, now_s));
        past.into_iter().filter(|refused| refused.asked_at_s >= over_s).for_each(|refused| inner.insert(wallet, refused));
    }

    /// What this request was told, or this item of it.
    pub(super) fn told(&self, wallet: &PublicKey, asked_at_s: u64, request: &EventId, item: Option<u16>) -> Option<Refusal> {
        let code = *self.0.read().rooms.get(wallet)?.known.get(&(asked_at_s, *request, item))?;
        let words = "this request was refused before, and nothing was paid for it; that stands: ask by a new one";
        Some(Refusal::new(code, words))
    }

    /// What a request of this time is told because it may be among those that are no longer known.
    pub(super) fn forgotten(&self, wallet: &PublicKey, asked_at_s: u64) -> Option<Refusal> {
        let forgotten_s = self.0.read().rooms.get(wallet)?.forgotten_s?;
        let words = "more payments of this connection were refused lately than are remembered one by one, and this request may be one of \
                     them: nothing was paid for it, and nothing will be; ask by a new one";
        (asked_at_s <= forgotten_s).then(|| Refusal::new(ErrorCode::RateLimited, words))
    }

    /// Drops what can no longer be asked.
    pub(super) fn sweep(&self, freshness_s: u64, now_s: u64) {
        if self.0.read().rooms.is_empty() {
            return;
        }
        let (mut inner, over_s) = (self.0.write(), over_s(freshness_s, now_s));
        inner.rooms.retain(|_, room| {
            room.known = room.known.split_off(&(over_s, EventId::from([0; 32]), None));
            room.forgotten_s = room.forgotten_s.filter(|forgotten_s| *forgotten_s >= over_s);
            !room.known.is_empty() || room.forgotten_s.is_some()
        });
        inner.count = inner.rooms.values().map(|room| room.known.len()).sum();
    }
}

/// Requests from before this are taken by no clock that is less than [`CLOCK_BACK_S`] behind ours, unix seconds.
fn over_s(freshness_s: u64, now_s: u64) -> u64 {
    now_s.saturating_sub(freshness_s).saturating_sub(CLOCK_BACK_S)
}

impl Inner {
    fn insert(&mut self, wallet: &PublicKey, refused: RefusedPayment) {
        let RefusedPayment { request, asked_at_s, item, code } = refused;
        let room = self.rooms.entry(*wallet).or_default();
        let before = room.known.len();
        room.known.entry((asked_at_s, request, item)).or_insert(code);
        self.count += room.known.len() - before;
        if room.known.len() > ROOM_MAX {
            self.count -= room.forget_oldest();
        }
        if self.count > REFUSED_MAX
            && let Some(fullest) = self.rooms.values_mut().max_by_key(|room| room.known.len())
        {
            self.count -= fullest.forget_oldest();
        }
    }
}

impl Room {
    /// How many it forgot: one, unless it is empty.
    fn forget_oldest(&mut self) -> usize {
        let Some(((asked_at_s, ..), _)) = self.known.pop_first() else { return 0 };
        self.forgotten_s = self.forgotten_s.max(Some(asked_at_s));
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALLET: PublicKey = crate::base::hex32::Hex32([7; 32]);

    fn id(number: u64) -> EventId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        EventId::from(id)
    }

    fn past(number: u64, asked_at_s: u64) -> RefusedPayment {
        RefusedPayment { request: id(number), asked_at_s, item: None, code: ErrorCode::Internal }
    }

    fn code(refused: &Refused, wallet: &PublicKey, number: u64, asked_at_s: u64) -> Option<ErrorCode> {
        refused.told(wallet, asked_at_s, &id(number), None).map(|refusal| refusal.code)
    }

    #[test]
    fn a_refusal_is_known_for_as_long_as_its_request_could_be_taken() {
        let refused = Refused::default();
        refused.recall(&WALLET, vec![past(1, 1_000), past(2, 10_000), past(3, 11_000)], 900, 10_500);
        let known = |number, asked_at_s| code(&refused, &WALLET, number, asked_at_s).is_some();
        assert_eq!((known(1, 1_000), known(2, 10_000), known(3, 11_000)), (false, true, true));
        // Taken until 10,900 by a clock that may have been an hour ahead.
        refused.sweep(900, 14_500);
        assert!(known(2, 10_000));
        refused.sweep(900, 14_501);
        assert_eq!((known(2, 10_000), known(3, 11_000)), (false, true));
        refused.sweep(900, 15_501);
        assert!(refused.0.read().rooms.is_empty() && refused.0.read().count == 0);
    }

    #[test]
    fn what_was_told_first_stands_and_an_item_stands_for_itself() {
        let refused = Refused::default();
        refused.remember(&WALLET, RefusedPayment { item: Some(2), ..past(1, 100) });
        refused.remember(&WALLET, RefusedPayment { item: Some(2), code: ErrorCode::RateLimited, ..past(1, 100) });
        let told = |item| refused.told(&WALLET, 100, &id(1), item).map(|refusal| refusal.code);
        assert_eq!((told(Some(2)), told(Some(1)), told(None)), (Some(ErrorCode::Internal), None, None));
        assert_eq!(refused.told(&WALLET, 101, &id(1), Some(2)), None);
        assert_eq!(refused.told(&PublicKey::from([8; 32]), 100, &id(1), Some(2)), None);
    }

    #[test]
    fn a_flood_forgets_its_own_oldest_by_name_refuses_their_time_and_nothing_of_others() {
        let (refused, quiet) = (Refused::default(), PublicKey::from([8; 32]));
        refused.remember(&quiet, past(1, 50));
        for number in 0..ROOM_MAX as u64 + 100 {
            refused.remember(&WALLET, past(number, 1_000 + number / 10));
        }
        assert_eq!(refused.0.read().rooms[&WALLET].known.len(), ROOM_MAX);
        assert_eq!(code(&refused, &WALLET, 99, 1_009), None);
        assert_eq!(code(&refused, &WALLET, 100, 1_010), Some(ErrorCode::Internal));
        let forgotten = |asked_at_s| refused.forgotten(&WALLET, asked_at_s).map(|refusal| refusal.code);
        assert_eq!((forgotten(1_009), forgotten(1_010)), (Some(ErrorCode::RateLimited), None));
        assert_eq!((code(&refused, &quiet, 1, 50), refused.forgotten(&quiet, 50)), (Some(ErrorCode::Internal), None));
        refused.sweep(0, 1_009 + CLOCK_BACK_S);
        assert!(forgotten(1_009).is_some());
        refused.sweep(0, 1_010 + CLOCK_BACK_S);
        assert!(forgotten(1_009).is_none());
    }

    #[test]
    fn all_rooms_together_are_bounded_and_the_fullest_pays_for_it() {
        let refused = Refused::default();
        let wallet = |number: u64| PublicKey::from(id(number).0);
        let rooms = (REFUSED_MAX / ROOM_MAX) as u64 + 1;
        refused.remember(&wallet(0), past(0, 50));
        for number in 0..ROOM_MAX as u64 {
            (1..=rooms).for_each(|room| refused.remember(&wallet(room), past(number, 100 + number)));
        }
        let inner = refused.0.read();
        assert_eq!((inner.count, inner.rooms.values().map(|room| room.known.len()).sum()), (REFUSED_MAX, REFUSED_MAX));
        assert_eq!((inner.rooms[&wallet(0)].known.len(), inner.rooms[&wallet(0)].forgotten_s), (1, None));
        assert!((1..=rooms).any(|room| inner.rooms[&wallet(room)].forgotten_s.is_some()));
    }
}
