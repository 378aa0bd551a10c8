//! What the wallet orders of a back end, and its answers, each with a bound on the wait.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hearth::base::amount::Msat;
use hearth::base::hex32::PaymentHash;
use hearth::wallet::backend::{
    Answer, Backend, BackendError, LookupOrder, LookupResult, MadeInvoice, NewHoldInvoice, NewInvoice, SendOrder, SendResult,
    SendTarget, bolt11,
};
use hearth::wallet::terms::Preimage;
use tokio::sync::oneshot::{Receiver, channel};
use tokio::time::{Instant, sleep, timeout};

use super::PATIENCE;

/// Enough for the fee of any route in these worlds.
pub const FEE_MAX: u64 = 20_000;

pub fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A preimage that no other test has.
pub fn preimage() -> Preimage {
    Preimage(rand::random())
}

/// An order that pays an invoice; `amount` where it names none.
pub fn order(invoice: &str, amount: Option<u64>) -> SendOrder {
    let decoded = bolt11::decode(invoice).unwrap();
    SendOrder {
        attempt: 1,
        hash: decoded.hash,
        amount: decoded.amount.or(amount.map(msat)).unwrap(),
        target: SendTarget::Invoice { bolt11: decoded.bolt11, has_amount: decoded.amount.is_some() },
        fee_max: msat(FEE_MAX),
        until_s: decoded.expires_at_s,
    }
}

pub fn new_invoice(amount: Option<u64>, preimage: Preimage) -> NewInvoice {
    NewInvoice {
        amount: amount.map(msat),
        description: "a test".to_owned(),
        description_hash: None,
        expiry_s: 3_600,
        now_s: now_s(),
        preimage,
    }
}

pub fn new_hold_invoice(amount: u64, hash: PaymentHash) -> NewHoldInvoice {
    NewHoldInvoice {
        amount: Some(msat(amount)),
        description: "held".to_owned(),
        description_hash: None,
        expiry_s: 3_600,
        now_s: now_s(),
        hash,
        min_cltv_expiry_delta: None,
    }
}

/// Asks, and hands out where the answer comes.
pub fn ask<T: Send + 'static>(question: impl FnOnce(Answer<T>)) -> Receiver<T> {
    let (tell, told) = channel();
    question(Box::new(move |answer| drop(tell.send(answer))));
    told
}

pub async fn answer<T>(told: Receiver<T>) -> T {
    timeout(PATIENCE * 2, told).await.expect("no answer").expect("the back end dropped its answer")
}

pub fn send(backend: &Arc<dyn Backend>, order: &SendOrder) -> Receiver<SendResult> {
    ask(|done| backend.send(order.clone(), done))
}

pub async fn lookup(backend: &Arc<dyn Backend>, order: &SendOrder) -> LookupResult {
    // Before any test began: a failure of this attempt is no older one, however long it took.
    let question = LookupOrder { hash: order.hash, attempt: order.attempt, since_ms: (now_s() - 3_600) * 1_000 };
    answer(ask(|done| backend.lookup(question, done))).await
}

pub async fn make_invoice(backend: &Arc<dyn Backend>, order: NewInvoice) -> MadeInvoice {
    answer(ask(|done| backend.make_invoice(order, done))).await.unwrap()
}

pub async fn make_hold_invoice(backend: &Arc<dyn Backend>, order: NewHoldInvoice) -> MadeInvoice {
    answer(ask(|done| backend.make_hold_invoice(order, done))).await.unwrap()
}

pub async fn settle_hold(backend: &Arc<dyn Backend>, preimage: Preimage) -> Result<(), BackendError> {
    answer(ask(|done| backend.settle_hold(preimage, done))).await
}

pub async fn cancel_hold(backend: &Arc<dyn Backend>, hash: PaymentHash) -> Result<(), BackendError> {
    answer(ask(|done| backend.cancel_hold(hash, done))).await
}

/// Looks up until the answer fits.
pub async fn looked_up(backend: &Arc<dyn Backend>, order: &SendOrder, fits: impl Fn(&LookupResult) -> bool) -> LookupResult {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = lookup(backend, order).await;
        if fits(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "still {found:?} after {PATIENCE:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The proof and the fee, by the answer itself or, where that is "unknown", by look-ups.
pub async fn settled(backend: &Arc<dyn Backend>, order: &SendOrder, told: Receiver<SendResult>) -> (Preimage, Msat) {
    let found = match answer(told).await {
        SendResult::Settled { preimage, fee } => return (preimage, fee),
        SendResult::Unknown(_) => looked_up(backend, order, |found| !matches!(found, LookupResult::Pending)).await,
        SendResult::Failed(words) | SendResult::NotGiven(words) => panic!("failed: {words}"),
    };
    match found {
        LookupResult::Settled { preimage, fee } => (preimage, fee),
        other => panic!("not settled: {other:?}"),
    }
}

/// Words of a failure, by the answer itself or by look-ups.
pub async fn failed(backend: &Arc<dyn Backend>, order: &SendOrder, told: Receiver<SendResult>) -> String {
    let found = match answer(told).await {
        SendResult::Failed(words) | SendResult::NotGiven(words) => return words,
        SendResult::Unknown(_) => looked_up(backend, order, |found| !matches!(found, LookupResult::Pending)).await,
        SendResult::Settled { .. } => panic!("settled"),
    };
    match found {
        LookupResult::Failed(words) => words,
        other => panic!("not failed: {other:?}"),
    }
}
