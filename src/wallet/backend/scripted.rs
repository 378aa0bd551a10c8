//! A back end that misbehaves on demand: for tests, and for the simulator of the payment core.
//!
//! It is programmed per payment hash or per amount, has no clock and no chance in it, and calls back either at once or when the
//! test says so ([`Scripted::release`]); so the same script gives the same story every time. It stands in the library, because
//! suites outside it need it too, and nothing can switch it on: no configuration names it, only code can make one. A test
//! that wants it behind the real program serves it over `proto/wallet_backend.proto` from its own process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use secp256k1::SecretKey;

use super::bolt11::{self, Draft};
use super::embedded::{BadNodeKey, Config, Embedded};
use super::{
    Ack, Answer, Backend, BackendError, Capabilities, Incoming, IncomingState, Info, LookupOrder, LookupResult, MadeInvoice,
    NewHoldInvoice, NewInvoice, NodeBalance, Report, SendOrder, SendResult, SendTarget, SignedMessage,
};
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;
use crate::base::secret::Secret;
use crate::wallet::terms::Preimage;

/// Most payments, invoices and events that one script keeps; tests are smaller.
const KEPT_MAX: usize = 1_000_000;
/// Signs the invoices of outsiders.
const OUTSIDER_KEY: [u8; 32] = [0x4f; 32];

/// What happens to a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The payee gets it at once, for this fee (never above the limit of the order).
    Settle(Msat),
    /// It fails for certain.
    Fail(String),
    /// No answer; it is under way until [`Scripted::release`] ends it.
    Hang,
    /// "Unknown" with these words (a cut stream, "in transition", "already paid", an HTTP 502), and it is under way like [`Act::Hang`].
    Unknown(String),
    /// As [`Act::Hang`], and so many look-ups say that it was never heard of.
    NotFound(u32),
    /// "Unknown", and it never arrived: every look-up says so, and a second order would be the first.
    Swallow,
    /// Settled, says the back end, and shows a preimage of something else.
    WrongPreimage,
    /// Settled, says the back end, and shows none.
    NoPreimage,
    /// Settled for this fee, whatever the limit was.
    Dear(Msat),
    /// "Failed for certain", and the payee gets it all the same: look-ups say settled.
    FailYetSettle(String),
}

/// How a payment that is under way ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The payee has it, for this fee.
    Settle(Msat),
    /// It failed for certain.
    Fail(String),
}

/// What is true of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Truth {
    UnderWay,
    Settled(Preimage, Msat),
    Failed(String),
}

struct Payment {
    attempt: u64,
    truth: Truth,
    /// How often the order had an effect: never more than once, unless it failed in between.
    effects: u32,
    not_found: u32,
    /// Who waits for the outcome of an order.
    caller: Option<Answer<SendResult>>,
}

struct Invoice {
    amount: Option<Msat>,
    /// `None`: a hold invoice whose preimage is elsewhere.
    preimage: Option<Preimage>,
    state: Option<IncomingState>,
    paid: Msat,
}

#[derive(Default)]
struct Inner {
    by_hash: HashMap<PaymentHash, Act>,
    by_amount: HashMap<Msat, Act>,
    otherwise: Option<Act>,
    away: Option<String>,
    outsiders: HashMap<PaymentHash, Preimage>,
    payments: HashMap<PaymentHash, Payment>,
    orders: Vec<SendOrder>,
    invoices: HashMap<PaymentHash, Invoice>,
    events: Vec<(Incoming, bool)>,
    balance: Option<NodeBalance>,
}

/// The back end, and the hand that leads it.
pub struct Scripted {
    embedded: Embedded,
    can: Capabilities,
    outsider: SecretKey,
    inner: Arc<Mutex<Inner>>,
    report: Mutex<Option<Report>>,
}

impl Scripted {
    /// A back end with this node key that can do everything and refuses a second payment of one hash; every payment of an outsider's
    /// invoice settles without a fee until a script says otherwise.
    pub fn new(node_key: [u8; 32]) -> Result<Self, BadNodeKey> {
        let embedded = Embedded::new(&Secret::new(node_key), &Config { alias: "scripted".to_owned(), ..Config::default() })?;
        let outsider = SecretKey::from_slice(&OUTSIDER_KEY).map_err(|_| BadNodeKey)?;
        let can = Capabilities {
            outside: true,
            refuses_second: true,
            hold_invoices: true,
            keysend: true,
            sign_message: true,
            node_balance: false,
        };
        Ok(Self { embedded, can, outsider, inner: Arc::default(), report: Mutex::default() })
    }

    /// The same with other abilities.
    #[must_use]
    pub fn with_capabilities(mut self, can: Capabilities) -> Self {
        self.can = can;
        self
    }

    /// What happens to the payment of this hash; goes before what is said of amounts.
    pub fn on_hash(&self, hash: PaymentHash, act: Act) {
        self.inner.lock().by_hash.insert(hash, act);
    }

    /// What happens to payments of this amount.
    pub fn on_amount(&self, amount: Msat, act: Act) {
        self.inner.lock().by_amount.insert(amount, act);
    }

    /// What happens to all others.
    pub fn otherwise(&self, act: Act) {
        self.inner.lock().otherwise = Some(act);
    }

    /// Away with these words, or there again.
    pub fn set_away(&self, why: Option<&str>) {
        self.inner.lock().away = why.map(str::to_owned);
    }

    /// What [`Backend::node_balance`] says.
    pub fn set_balance(&self, balance: Option<Msat>) {
        self.inner.lock().balance = balance.map(|amount| NodeBalance { amount, asked: Instant::now() });
    }

    /// An invoice of somebody else, who takes what is paid to it. The preimage makes its hash, so a test knows it.
    pub fn outside_invoice(&self, amount: Option<Msat>, preimage: Preimage, expiry_s: u64, now_s: u64) -> Result<String, String> {
        let hash = preimage.hash();
        self.inner.lock().outsiders.insert(hash, preimage);
        let draft = Draft {
            amount,
            description: "somewhere else",
            description_hash: None,
            expiry_s,
            now_s,
            hash,
            min_final_cltv_blocks: 18,
        };
        bolt11::encode(self.info().network, &self.outsider, preimage.hash().0, &draft)
    }

    /// Ends a payment that is under way; whoever waits for it is told.
    pub fn release(&self, hash: &PaymentHash, end: End) -> bool {
        let mut inner = self.inner.lock();
        let proof = inner.outsiders.get(hash).copied();
        let Some(payment) = inner.payments.get_mut(hash).filter(|payment| payment.truth == Truth::UnderWay) else { return false };
        payment.truth = match (end, proof) {
            (End::Settle(fee), Some(preimage)) => Truth::Settled(preimage, fee),
            (End::Settle(_), None) => return false,
            (End::Fail(words), _) => Truth::Failed(words),
        };
        let (caller, said) = (payment.caller.take(), payment.truth.said());
        drop(inner);
        if let Some(caller) = caller {
            caller(said);
        }
        true
    }

    /// How often an order of this hash had an effect (I1 says: never more than once, unless it failed in between).
    pub fn effects(&self, hash: &PaymentHash) -> u32 {
        self.inner.lock().payments.get(hash).map_or(0, |payment| payment.effects)
    }

    /// Every order that came, in order, repeats too.
    pub fn orders(&self) -> Vec<SendOrder> {
        self.inner.lock().orders.clone()
    }

    /// Somebody outside pays an invoice made here: settled, or held where its preimage is elsewhere.
    pub fn pay_in(&self, hash: &PaymentHash, amount: Msat) -> Result<(), String> {
        let mut inner = self.inner.lock();
        let invoice = inner.invoices.get_mut(hash).ok_or("no such invoice")?;
        if invoice.state.is_some() {
            return Err("this invoice was paid or is over".to_owned());
        }
        if invoice.amount.is_some_and(|asked| asked != amount) {
            return Err("the invoice asks for another amount".to_owned());
        }
        let state = match invoice.preimage {
            Some(preimage) => IncomingState::Settled { preimage: Some(preimage) },
            None => IncomingState::Held { settle_deadline: Some(144) },
        };
        invoice.state = Some(state);
        invoice.paid = amount;
        drop(inner);
        self.happened(Incoming { hash: *hash, amount, state });
        Ok(())
    }

    /// Reports an event that need not be true.
    pub fn happened(&self, incoming: Incoming) {
        let number = {
            let mut inner = self.inner.lock();
            if inner.events.len() >= KEPT_MAX {
                return;
            }
            inner.events.push((incoming.clone(), false));
            inner.events.len() - 1
        };
        self.report_event(number, incoming);
    }

    /// Reports everything again that was not acknowledged, as after a lost connection.
    pub fn report_again(&self) {
        let open: Vec<(usize, Incoming)> = {
            let inner = self.inner.lock();
            let numbered = inner.events.iter().enumerate();
            numbered.filter(|(_, (_, acknowledged))| !acknowledged).map(|(number, (event, _))| (number, event.clone())).collect()
        };
        for (number, incoming) in open {
            self.report_event(number, incoming);
        }
    }

    /// Events that were not acknowledged yet.
    pub fn unacknowledged(&self) -> usize {
        self.inner.lock().events.iter().filter(|(_, acknowledged)| !acknowledged).count()
    }

    fn report_event(&self, number: usize, incoming: Incoming) {
        let inner = Arc::clone(&self.inner);
        let ack: Ack = Box::new(move || {
            if let Some(event) = inner.lock().events.get_mut(number) {
                event.1 = true;
            }
        });
        if let Some(report) = &*self.report.lock() {
            report(incoming, ack);
        }
    }

    fn keep_invoice(&self, hash: PaymentHash, amount: Option<Msat>, preimage: Option<Preimage>) {
        let mut inner = self.inner.lock();
        if inner.invoices.len() < KEPT_MAX {
            inner.invoices.entry(hash).or_insert(Invoice { amount, preimage, state: None, paid: Msat::ZERO });
        }
    }
}

impl Truth {
    fn said(&self) -> SendResult {
        match self {
            Self::UnderWay => SendResult::Unknown("under way".to_owned()),
            Self::Settled(preimage, fee) => SendResult::Settled { preimage: *preimage, fee: *fee },
            Self::Failed(words) => SendResult::Failed(words.clone()),
        }
    }
}

impl Inner {
    fn act(&self, order: &SendOrder) -> Act {
        let named = self.by_hash.get(&order.hash).or_else(|| self.by_amount.get(&order.amount)).or(self.otherwise.as_ref());
        named.cloned().unwrap_or(Act::Settle(Msat::ZERO))
    }

    /// Takes an order: what is said at once, or the caller back where nothing is said yet.
    fn send(&mut self, order: &SendOrder) -> Option<SendResult> {
        self.orders.push(order.clone());
        if let Some(words) = &self.away {
            return Some(SendResult::Unknown(words.clone()));
        }
        if let Some(before) = self.payments.get(&order.hash) {
            let may_try_again = matches!(before.truth, Truth::Failed(_)) && order.attempt > before.attempt;
            if !may_try_again {
                return Some(before.truth.said());
            }
        }
        if let SendTarget::Keysend { preimage, .. } = &order.target {
            self.outsiders.insert(order.hash, *preimage);
        }
        let Some(proof) = self.outsiders.get(&order.hash).copied() else {
            let words = "no route: nobody here knows this invoice".to_owned();
            self.note(order, Truth::Failed(words.clone()), 0);
            return Some(SendResult::Failed(words));
        };
        match play(self.act(order), proof, order) {
            Some((truth, said, not_found)) => {
                self.note(order, truth, not_found);
                said
            }
            None => Some(SendResult::Unknown("nobody knows whether the order arrived".to_owned())),
        }
    }

    fn note(&mut self, order: &SendOrder, truth: Truth, not_found: u32) {
        let effects = self.payments.get(&order.hash).map_or(0, |before| before.effects);
        let effects = if matches!(truth, Truth::Failed(_)) { effects } else { effects + 1 };
        let payment = Payment { attempt: order.attempt, truth, effects, not_found, caller: None };
        self.payments.insert(order.hash, payment);
    }
}

/// What an act makes of an order: what is true, what is said at once, how many look-ups find nothing. `None`: it never
/// arrives.
fn play(act: Act, proof: Preimage, order: &SendOrder) -> Option<(Truth, Option<SendResult>, u32)> {
    let settled = |fee| (Truth::Settled(proof, fee), Some(SendResult::Settled { preimage: proof, fee }), 0);
    let lie = |preimage| {
        let said = SendResult::Settled { preimage, fee: Msat::ZERO };
        (Truth::Settled(preimage, Msat::ZERO), Some(said), 0)
    };
    Some(match act {
        Act::Settle(fee) if fee > order.fee_max => {
            let words = "no route within the fee limit".to_owned();
            (Truth::Failed(words.clone()), Some(SendResult::Failed(words)), 0)
        }
        Act::Settle(fee) | Act::Dear(fee) => settled(fee),
        Act::Fail(words) => (Truth::Failed(words.clone()), Some(SendResult::Failed(words)), 0),
        Act::Hang => (Truth::UnderWay, None, 0),
        Act::NotFound(times) => (Truth::UnderWay, None, times),
        Act::Unknown(words) => (Truth::UnderWay, Some(SendResult::Unknown(words)), 0),
        Act::Swallow => return None,
        Act::WrongPreimage => lie(Preimage(order.hash.0)),
        Act::NoPreimage => lie(Preimage([0; 32])),
        Act::FailYetSettle(words) => (Truth::Settled(proof, Msat::ZERO), Some(SendResult::Failed(words)), 0),
    })
}

impl Backend for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn capabilities(&self) -> Capabilities {
        self.can
    }

    fn info(&self) -> Info {
        self.embedded.info()
    }

    fn ready(&self) -> Result<(), BackendError> {
        self.inner.lock().away.clone().map_or(Ok(()), |words| Err(BackendError(words)))
    }

    fn send(&self, order: SendOrder, done: Answer<SendResult>) {
        let mut inner = self.inner.lock();
        match inner.send(&order) {
            Some(said) => {
                drop(inner);
                done(said);
            }
            None => {
                if let Some(payment) = inner.payments.get_mut(&order.hash) {
                    payment.caller = Some(done);
                }
            }
        }
    }

    fn lookup(&self, order: LookupOrder, done: Answer<LookupResult>) {
        let mut inner = self.inner.lock();
        let said = match (&inner.away, inner.payments.get(&order.hash)) {
            (Some(words), _) => LookupResult::Unknown(words.clone()),
            (None, None) => LookupResult::NotFound,
            (None, Some(payment)) if payment.not_found > 0 => LookupResult::NotFound,
            (None, Some(payment)) => match &payment.truth {
                Truth::UnderWay => LookupResult::Pending,
                Truth::Settled(preimage, fee) => LookupResult::Settled { preimage: *preimage, fee: *fee },
                Truth::Failed(_) if payment.attempt < order.attempt => LookupResult::NotFound,
                Truth::Failed(words) => LookupResult::Failed(words.clone()),
            },
        };
        if inner.away.is_none()
            && let Some(payment) = inner.payments.get_mut(&order.hash)
        {
            payment.not_found = payment.not_found.saturating_sub(1);
        }
        drop(inner);
        done(said);
    }

    fn make_invoice(&self, order: NewInvoice, done: Answer<Result<MadeInvoice, BackendError>>) {
        if let Err(error) = self.ready() {
            return done(Err(error));
        }
        self.keep_invoice(order.preimage.hash(), order.amount, Some(order.preimage));
        self.embedded.make_invoice(order, done);
    }

    fn on_incoming(&self, report: Report) {
        *self.report.lock() = Some(report);
        self.report_again();
    }

    fn report_from_beginning(&self) -> Result<(), BackendError> {
        self.ready()?;
        self.inner.lock().events.iter_mut().for_each(|(_, acknowledged)| *acknowledged = false);
        self.report_again();
        Ok(())
    }

    fn make_hold_invoice(&self, order: NewHoldInvoice, done: Answer<Result<MadeInvoice, BackendError>>) {
        if let Err(error) = self.ready() {
            return done(Err(error));
        }
        self.keep_invoice(order.hash, order.amount, None);
        self.embedded.make_hold_invoice(order, done);
    }

    fn settle_hold(&self, preimage: Preimage, done: Answer<Result<(), BackendError>>) {
        let hash = preimage.hash();
        let mut inner = self.inner.lock();
        if let Some(words) = inner.away.clone() {
            drop(inner);
            return done(Err(BackendError(words)));
        }
        let told = match inner.invoices.get_mut(&hash) {
            None => Err(BackendError("no such invoice".to_owned())),
            Some(invoice) => match invoice.state {
                Some(IncomingState::Settled { .. }) => Ok(None),
                Some(IncomingState::Held { .. }) => {
                    let state = IncomingState::Settled { preimage: Some(preimage) };
                    invoice.state = Some(state);
                    Ok(Some(Incoming { hash, amount: invoice.paid, state }))
                }
                Some(IncomingState::Canceled) => Err(BackendError("this invoice is over".to_owned())),
                None => Err(BackendError("nothing is held for this invoice".to_owned())),
            },
        };
        drop(inner);
        done(told.map(|event| event.into_iter().for_each(|event| self.happened(event))));
    }

    fn cancel_hold(&self, hash: PaymentHash, done: Answer<Result<(), BackendError>>) {
        let mut inner = self.inner.lock();
        if let Some(words) = inner.away.clone() {
            drop(inner);
            return done(Err(BackendError(words)));
        }
        let event = match inner.invoices.get_mut(&hash) {
            Some(invoice) if matches!(invoice.state, None | Some(IncomingState::Held { .. })) => {
                invoice.state = Some(IncomingState::Canceled);
                invoice.preimage.is_none().then_some(Incoming { hash, amount: Msat::ZERO, state: IncomingState::Canceled })
            }
            _ => None,
        };
        drop(inner);
        event.into_iter().for_each(|event| self.happened(event));
        done(Ok(()));
    }

    fn sign_message(&self, message: String, done: Answer<Result<SignedMessage, BackendError>>) {
        self.embedded.sign_message(message, done);
    }

    fn node_balance(&self) -> Option<NodeBalance> {
        self.inner.lock().balance
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;

    const NOW_S: u64 = 1_800_000_000;

    fn msat(amount: u64) -> Msat {
        Msat::new(amount).unwrap()
    }

    /// An order for an outsider's invoice.
    fn order(backend: &Scripted, seed: u8, attempt: u64) -> SendOrder {
        let preimage = Preimage([seed; 32]);
        let bolt11 = backend.outside_invoice(Some(msat(1_000)), preimage, 60, NOW_S).unwrap();
        let target = SendTarget::Invoice { bolt11, has_amount: true };
        let hash = preimage.hash();
        SendOrder { attempt, hash, target, amount: msat(1_000), fee_max: msat(10), until_s: NOW_S + 60 }
    }

    fn send(backend: &Scripted, order: &SendOrder) -> Receiver<SendResult> {
        let (tell, told) = sync_channel(1);
        backend.send(order.clone(), Box::new(move |result| tell.send(result).unwrap()));
        told
    }

    fn lookup(backend: &Scripted, order: &SendOrder) -> LookupResult {
        let (tell, told) = sync_channel(1);
        let question = LookupOrder { hash: order.hash, attempt: order.attempt, since_ms: 0 };
        backend.lookup(question, Box::new(move |result| tell.send(result).unwrap()));
        told.recv().unwrap()
    }

    #[test]
    fn each_act_is_what_it_says() {
        let backend = Scripted::new([5; 32]).unwrap();
        let said = |seed: u8, act: Act| {
            let order = order(&backend, seed, 1);
            backend.on_hash(order.hash, act);
            (send(&backend, &order).try_recv().ok(), lookup(&backend, &order), backend.effects(&order.hash))
        };
        let settled = |seed: u8, fee| SendResult::Settled { preimage: Preimage([seed; 32]), fee: msat(fee) };
        let known = |seed: u8, fee| LookupResult::Settled { preimage: Preimage([seed; 32]), fee: msat(fee) };
        assert_eq!(said(1, Act::Settle(msat(3))), (Some(settled(1, 3)), known(1, 3), 1));
        assert!(matches!(said(2, Act::Settle(msat(11))), (Some(SendResult::Failed(_)), LookupResult::Failed(_), 0)));
        assert!(matches!(said(3, Act::Fail("no".to_owned())), (Some(SendResult::Failed(_)), LookupResult::Failed(_), 0)));
        assert_eq!(said(4, Act::Hang), (None, LookupResult::Pending, 1));
        assert_eq!(said(5, Act::NotFound(1)), (None, LookupResult::NotFound, 1));
        let words = SendResult::Unknown("in transition".to_owned());
        assert_eq!(said(6, Act::Unknown("in transition".to_owned())), (Some(words), LookupResult::Pending, 1));
        assert!(matches!(said(7, Act::Swallow), (Some(SendResult::Unknown(_)), LookupResult::NotFound, 0)));
        let (Some(SendResult::Settled { preimage, .. }), ..) = said(8, Act::WrongPreimage) else { panic!("settled") };
        assert_ne!(preimage.hash(), Preimage([8; 32]).hash());
        assert!(matches!(said(9, Act::NoPreimage), (Some(SendResult::Settled { preimage: Preimage([0, ..]), .. }), _, 1)));
        assert_eq!(said(10, Act::Dear(msat(11))), (Some(settled(10, 11)), known(10, 11), 1));
        assert!(
            matches!(said(11, Act::FailYetSettle("no".to_owned())), (Some(SendResult::Failed(_)), k, 1) if k == known(11, 0))
        );
    }

    #[test]
    fn a_hash_is_paid_once_and_again_only_after_it_failed() {
        let backend = Scripted::new([5; 32]).unwrap();
        let first = order(&backend, 1, 1);
        backend.on_amount(first.amount, Act::Hang);
        let waits = send(&backend, &first);
        assert!(waits.try_recv().is_err());
        assert!(matches!(send(&backend, &first).recv().unwrap(), SendResult::Unknown(_)));
        assert!(backend.release(&first.hash, End::Fail("no".to_owned())));
        assert_eq!(waits.recv().unwrap(), SendResult::Failed("no".to_owned()));
        assert_eq!(send(&backend, &first).recv().unwrap(), SendResult::Failed("no".to_owned()), "the same question again");
        let second = SendOrder { attempt: 2, ..first.clone() };
        assert_eq!(lookup(&backend, &second), LookupResult::NotFound, "a failure of an earlier attempt says nothing");
        let waits = send(&backend, &second);
        assert!(backend.release(&first.hash, End::Settle(msat(1))));
        assert!(matches!(waits.recv().unwrap(), SendResult::Settled { .. }));
        assert!(!backend.release(&first.hash, End::Fail("no".to_owned())), "the end is the end");
        assert_eq!((backend.effects(&first.hash), backend.orders().len()), (2, 4));
    }

    #[test]
    fn what_is_not_acknowledged_is_told_again() {
        let backend = Scripted::new([5; 32]).unwrap();
        let hash = Preimage([3; 32]).hash();
        let invoice = NewHoldInvoice {
            amount: Some(msat(5)),
            description: String::new(),
            description_hash: None,
            expiry_s: 60,
            now_s: NOW_S,
            hash,
            min_cltv_expiry_delta: None,
        };
        backend.make_hold_invoice(invoice, Box::new(|made| assert!(made.is_ok())));
        assert!(backend.pay_in(&hash, msat(4)).is_err());
        backend.pay_in(&hash, msat(5)).unwrap();
        assert!(backend.pay_in(&hash, msat(5)).is_err());
        let told = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&told);
        backend.on_incoming(Box::new(move |incoming, ack| keep.lock().push((incoming.state, Some(ack)))));
        backend.report_again();
        assert_eq!(told.lock().len(), 2);
        told.lock()[0].1.take().unwrap()();
        backend.report_again();
        assert_eq!((told.lock().len(), backend.unacknowledged()), (2, 0));
        backend.settle_hold(Preimage([3; 32]), Box::new(|told| assert!(told.is_ok())));
        backend.settle_hold(Preimage([3; 32]), Box::new(|told| assert!(told.is_ok())));
        backend.cancel_hold(hash, Box::new(|told| assert!(told.is_ok())));
        assert_eq!(told.lock().last().unwrap().0, IncomingState::Settled { preimage: Some(Preimage([3; 32])) });
        assert_eq!(told.lock().len(), 3);
    }

    #[test]
    fn away_it_takes_nothing_and_knows_nothing() {
        let backend = Scripted::new([5; 32]).unwrap();
        let order = order(&backend, 1, 1);
        backend.set_away(Some("cable cut"));
        assert_eq!(backend.ready(), Err(BackendError("cable cut".to_owned())));
        assert_eq!(send(&backend, &order).recv().unwrap(), SendResult::Unknown("cable cut".to_owned()));
        assert_eq!(lookup(&backend, &order), LookupResult::Unknown("cable cut".to_owned()));
        backend.set_away(None);
        assert_eq!(lookup(&backend, &order), LookupResult::NotFound);
    }
}
