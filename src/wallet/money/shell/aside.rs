//! What waits while the wallet is in safe mode; and a way into it: a back end that has carried out an order which the journal does not
//! know. Then the journal is not the one that gave the order: the data directory is an older copy, put back together with its own anchor,
//! so that everything in it fits.
//!
//! Nothing is acknowledged to the back end until the owner has led the wallet out: after a restart it tells all of it again, and the wallet
//! is in safe mode again. Who leads it out accepts the orders that were seen: the journal says which, and they are strays no more.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::index::{HASHES, HashOf, hash_key};
use super::super::journal::{Damage, Shelf};
use super::super::rows::Source;
use super::worker::{Worker, safe_mode};
use super::{Ack, Incoming, Message, Outgoing};
use crate::base::hex32::PaymentHash;

/// Most words of the back end that wait. More come again: after safe mode it reports from the beginning.
const ASIDE_MAX: usize = 1_024;
/// Orders of the journal have larger numbers: record 1 is its beginning. `hearth wallet test-backend` pays without the journal, as number 1.
const ATTEMPT_OF_NOBODY: u64 = 1;

/// Something that waits.
pub(super) enum Aside {
    /// Money that came in.
    Incoming(Incoming, Ack),
    /// An order that the journal does not know.
    Stray(PaymentHash, Ack),
}

/// The journal as the back end's threads may look at it, for as long as the room is open: they live longer than it does, and a database
/// that is closed by one of them while the process ends takes the process down with it.
pub(super) struct Window(Arc<Mutex<Option<Shelf>>>);

impl Window {
    pub(super) fn new(shelf: Shelf) -> Self {
        Self(Arc::new(Mutex::new(Some(shelf))))
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // Waits for a look that is being taken.
        drop(self.0.lock().take());
    }
}

impl Worker {
    /// Asks the back end to tell which orders it has carried out. What the journal knows is acknowledged at once, on the back end's
    /// thread: an intent is committed before it is sent.
    pub(super) fn hear_of_strays(&self) {
        let (window, queue) = (Arc::clone(&self.window.0), self.queue.clone());
        self.backend.on_outgoing(Box::new(move |outgoing, ack| {
            let is_known = window.lock().as_ref().and_then(|shelf| knows(shelf, &outgoing));
            match is_known {
                Some(true) => ack(),
                // Fails only when the room is closed.
                Some(false) => drop(queue.send(Message::Stray(outgoing, ack))),
                // It could not be read, or the room is closed: told again in the next life.
                None => {}
            }
        }));
    }

    /// Takes what has to wait for the owner; gives back everything else.
    pub(super) fn set_aside(&mut self, message: Message) -> Option<Message> {
        match message {
            Message::Stray(outgoing, ack) => {
                // Its owner may have accepted it since it was told.
                if knows(&self.shelf(), &outgoing) == Some(true) {
                    ack();
                } else {
                    self.notice(&outgoing);
                    self.keep(Aside::Stray(outgoing.hash, ack));
                }
                None
            }
            Message::Incoming(incoming, ack) if self.state.halted.is_some() => {
                self.keep(Aside::Incoming(incoming, ack));
                None
            }
            other => Some(other),
        }
    }

    fn keep(&mut self, aside: Aside) {
        if self.aside.len() < ASIDE_MAX {
            self.aside.push(aside);
        }
    }

    /// The orders that the journal does not know, each once.
    pub(super) fn strays(&self) -> Vec<PaymentHash> {
        let strays = self.aside.iter().filter_map(|aside| match aside {
            Aside::Stray(hash, _) => Some(*hash),
            Aside::Incoming(..) => None,
        });
        strays.collect::<BTreeSet<PaymentHash>>().into_iter().collect()
    }

    fn notice(&mut self, outgoing: &Outgoing) {
        if self.state.halted.is_some() {
            return;
        }
        let Outgoing { hash, attempt } = outgoing;
        let words = format!(
            "the wallet behind this hearth has carried out order {attempt} ({hash}), which the journal does not know (it ends at record \
             {}): the data directory is an older copy, or another hearth pays through the same wallet",
            self.state.seq
        );
        let lost = attempt.checked_sub(self.state.seq).filter(|lost| *lost > 0);
        let damage = Damage { words, is_broken: false, lost };
        let why = safe_mode(&damage);
        tracing::error!(reason = %why, "wallet is in safe mode");
        self.shared.view.alarm(&format!("safe mode: {why}"));
        self.state.halted = Some(why);
        self.damage = Some(damage);
    }

    /// After safe mode: what waited is acknowledged, or comes again.
    pub(super) fn take_up_again(&mut self) {
        if self.state.halted.is_some() || self.aside.is_empty() {
            return;
        }
        for aside in std::mem::take(&mut self.aside) {
            match aside {
                Aside::Stray(_, ack) => ack(),
                // Fails only when the room is closed; then it comes again in the next life.
                Aside::Incoming(incoming, ack) => drop(self.queue.send(Message::Incoming(incoming, ack))),
            }
        }
    }
}

/// Whether an order is one of the journal's, one that its owner has accepted, or of nobody; `None` if that could not be read.
fn knows(shelf: &Shelf, outgoing: &Outgoing) -> Option<bool> {
    if outgoing.attempt <= ATTEMPT_OF_NOBODY {
        return Some(true);
    }
    let has = |of| shelf.get(HASHES, &hash_key(of, &outgoing.hash)).ok().map(|row| row.is_some());
    Some(has(HashOf::Payment)? || has(HashOf::Stray)?)
}
