//! Which hold invoices are followed: LND tells what becomes of one to whoever has subscribed to it, and to nobody else.

use std::collections::HashSet;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::base::hex32::PaymentHash;

/// Most hold invoices whose state is followed. No more are made; those of earlier lives beyond it are noticed at the next start.
pub(super) const HOLDS_MAX: usize = 1_000;

/// Hold invoices that are neither settled nor cancelled.
pub(super) struct Holds {
    sets: Mutex<Sets>,
    /// Those that are new, for the session that follows them.
    new: mpsc::Sender<PaymentHash>,
}

#[derive(Default)]
struct Sets {
    followed: HashSet<PaymentHash>,
    /// They have their place and are not there yet, so nobody can subscribe to them.
    making: HashSet<PaymentHash>,
}

impl Holds {
    /// None yet, and where new ones are told.
    pub(super) fn new() -> (Self, mpsc::Receiver<PaymentHash>) {
        let (new, told) = mpsc::channel(HOLDS_MAX);
        (Self { sets: Mutex::default(), new }, told)
    }

    /// Takes a place for one that is to be made; `false`: there is none left.
    pub(super) fn begin(&self, hash: PaymentHash) -> bool {
        let mut sets = self.sets.lock();
        let has_place = sets.has(&hash) || sets.has_room();
        if has_place && !sets.has(&hash) {
            sets.making.insert(hash);
        }
        has_place
    }

    /// It was made, or was not.
    pub(super) fn end(&self, hash: PaymentHash, is_made: bool) {
        let mut sets = self.sets.lock();
        sets.making.remove(&hash);
        if is_made {
            self.put(&mut sets, hash);
        }
    }

    /// Follows one of an earlier life; `false`: there is no place.
    pub(super) fn follow(&self, hash: PaymentHash) -> bool {
        let mut sets = self.sets.lock();
        let has_place = sets.has(&hash) || sets.has_room();
        if has_place {
            self.put(&mut sets, hash);
        }
        has_place
    }

    fn put(&self, sets: &mut Sets, hash: PaymentHash) {
        if sets.followed.insert(hash) {
            // As many as there may be; one that does not fit is followed with the next session.
            let _ = self.new.try_send(hash);
        }
    }

    /// It is over.
    pub(super) fn over(&self, hash: &PaymentHash) {
        self.sets.lock().followed.remove(hash);
    }

    /// All that are to be followed.
    pub(super) fn followed(&self) -> HashSet<PaymentHash> {
        self.sets.lock().followed.clone()
    }
}

impl Sets {
    fn has(&self, hash: &PaymentHash) -> bool {
        self.followed.contains(hash) || self.making.contains(hash)
    }

    fn has_room(&self) -> bool {
        self.followed.len() + self.making.len() < HOLDS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hex32::Hex32;

    fn hash(number: usize) -> PaymentHash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Hex32(bytes)
    }

    #[test]
    fn one_that_could_not_be_followed_is_not_made() {
        let (holds, mut told) = Holds::new();
        for number in 0..HOLDS_MAX {
            assert!(holds.begin(hash(number)));
        }
        assert!(holds.followed().is_empty() && told.try_recv().is_err(), "none of them is there yet");
        assert!(holds.begin(hash(7)), "it has its place");
        assert!(!holds.begin(hash(HOLDS_MAX)) && !holds.follow(hash(HOLDS_MAX)));
        holds.end(hash(7), false);
        assert!(holds.begin(hash(HOLDS_MAX)));
        holds.end(hash(HOLDS_MAX), true);
        assert_eq!((holds.followed().len(), told.try_recv()), (1, Ok(hash(HOLDS_MAX))));
        holds.end(hash(HOLDS_MAX), true);
        assert!(told.try_recv().is_err(), "told once");
        holds.over(&hash(HOLDS_MAX));
        assert!(holds.follow(hash(5_000)));
        assert_eq!(told.try_recv(), Ok(hash(5_000)));
    }
}
