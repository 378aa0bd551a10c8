//! How the server misbehaves when it is told to. Each fault happens once, in the order in which they were asked for.

use std::collections::VecDeque;

/// What goes wrong with a call of SendPaymentV2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendFault {
    /// The payment is begun; then every connection breaks.
    CutAfterDispatch,
    /// Every connection breaks, and nothing is begun.
    CutBeforeDispatch,
    /// The payment is begun, and nothing more is ever said in this call.
    Silence,
    /// The payment is begun and goes its way; the stream ends without a word about it.
    EndWithoutWord,
    /// The payment is begun and goes its way, and is called failed.
    SayFailed,
    /// It is made, and the proof of something else is shown.
    WrongPreimage,
    /// It is made, and no proof is shown.
    NoPreimage,
    /// It is made, and said to have cost so many millisatoshi.
    Fee(i64),
    /// Nothing is begun; an error is given of this code with these words.
    Refuse(tonic::Code, &'static str),
}

/// What goes wrong with a call of TrackPaymentV2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrackFault {
    /// LND has never heard of the payment.
    NotFound,
    /// An error is given.
    Refuse(tonic::Code, &'static str),
    /// Nothing is said.
    Silence,
}

/// What goes wrong next.
#[derive(Default)]
pub struct Faults {
    pub send: VecDeque<SendFault>,
    pub track: VecDeque<TrackFault>,
    /// These invoices settle, one after the other, when the second page of the list of invoices is asked for the so-manieth time.
    pub settle_between_pages: (u32, Vec<[u8; 32]>),
    /// Every call gets this error, such as that of a locked wallet.
    pub refuse_all: Option<&'static str>,
}

impl Faults {
    /// What settles because the second page of invoices is asked for.
    pub fn settle_now(&mut self) -> Vec<[u8; 32]> {
        let (left, hashes) = &mut self.settle_between_pages;
        *left = left.saturating_sub(1);
        if *left == 0 { std::mem::take(hashes) } else { Vec::new() }
    }
}
