//! What may happen next: every freedom of the simulated world is a value here, so that a run is a list of choices, a search can try all
//! of them, and a seed replays exactly.

use super::super::super::payment::{Bill, OwnerWish};
use super::super::super::record::Word;
use super::super::super::types::{InvoiceOrder, PayOrder, Preimage, Refusal, RequestRef};
use crate::base::hex32::PaymentHash;

/// Something that a client or an owner may ask for; asked once, twice or never.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// A payment. `ready`: whether the back end says that it can send.
    Pay { order: PayOrder, bill: Result<Bill, Refusal>, ready: bool },
    /// An invoice, with the preimage that follows from the request.
    Make { order: InvoiceOrder, preimage: Preimage },
    /// A decision about a hold invoice.
    Hold { request: RequestRef, hash: PaymentHash, word: Word },
    /// Something that only an owner may do.
    Owner(OwnerWish),
}

/// How a commit goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Commit {
    /// It is on the disk and anchored.
    Good,
    /// It is gone; what was half written does not count. The process is gone too.
    Lost,
    /// It is on the disk, the anchor is not, and the process is gone.
    Written,
    /// It is on the disk and anchored, and the process is gone.
    Anchored,
}

/// How the back end takes an order or a question.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Taken {
    /// As it should.
    Well,
    /// It never arrives, and nobody says so.
    Lost,
    /// It never arrives, and a time-out says that nobody knows.
    LostTimeOut,
    /// It arrives, and a cut stream says that nobody knows.
    Cut,
    /// It arrives, and for a while look-ups do not find it.
    Hidden,
    /// It arrives later, whatever becomes of the process that sent it, and nobody hears of that.
    Late,
}

/// What the back end does with a payment that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Fate {
    /// The payee gets it.
    Pay { fee: u64 },
    /// It fails for certain.
    Fail,
    /// The payee gets it, and the word shows another preimage.
    PayWrongProof { fee: u64 },
    /// "Failed", it says. It did not.
    SayFailed,
}

/// One thing that happens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Choice {
    /// Somebody asks (an index into the world's list of asks).
    Ask(usize),
    /// The money thread takes so many of what waits for it, and perhaps the tick.
    Turn { inputs: usize, tick: bool, commit: Commit },
    /// The next thing that was to be done after the commit is done.
    Act(Taken),
    /// A word of the back end arrives; `again`: and will arrive once more.
    Deliver { at: usize, again: bool },
    /// A payment under way (by its place) gets on, with so many words about it.
    Node { at: usize, fate: Fate, words: u8 },
    /// A stranger pays an invoice of ours (by its place among those that can be paid).
    PayIn { at: usize },
    /// Time passes.
    Wait { ms: u64 },
    /// The clock of this machine jumps; time does not.
    Jump { ms: i64 },
    /// The process is gone, and starts again.
    Crash,
}
