//! The core in a world that fails: a disk that forgets what was not committed, a back end that is late, silent or repeats itself, and
//! crashes anywhere. Everything follows from the seed; issue by issue more of the world goes wrong here.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::memory::MemoryRows;
use super::super::payment::{
    Bill, Effect, Input, InvoiceRow, PaymentRow, Reply, RequestRow, Rows, RowsError, State, Token, step,
};
use super::super::record::{Answered, Book, Ending, Entry, Record};
use super::super::types::*;
use super::support::*;
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;
use crate::wallet::backend::bolt11::Decoded;
use crate::wallet::backend::{LookupResult, MadeInvoice, Network, SendOrder, SendResult};

const SEEDS: u64 = 3_000;
const STEPS: usize = 160;
const CONNECTIONS: u32 = 4;
const BUDGET: u64 = 60_000;
const BALANCE: u64 = 100_000;

/// What a Lightning node knows of a hash. It outlives our crashes.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    UnderWay,
    Paid { fee: u64 },
    Failed,
}

/// Mistakes that wallets have made. The world makes them on request, to show that it would see them.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mistake {
    SendBeforeSync,
    TimeOutIsFailed,
    RequestsRememberedInMemoryOnly,
    HoldsReleasedAtRestart,
    AnswerNotStored,
    SecondPaymentAfterRestart,
}

struct NodePayment {
    order: SendOrder,
    fate: Fate,
    /// Looks as if it had never been heard of until then.
    hidden_until_ms: u64,
}

struct World {
    dice: ChaCha8Rng,
    refuses_second: bool,
    state: State,
    rows: MemoryRows,
    /// How many records are on the disk.
    committed: usize,
    waiting: Vec<Effect>,
    wire: Vec<Input>,
    node: BTreeMap<PaymentHash, NodePayment>,
    requests: Vec<(PayOrder, Decoded)>,
    accepted: BTreeSet<RequestKey>,
    answers: BTreeMap<RequestKey, Vec<u8>>,
    invoices: Vec<Decoded>,
    tokens: BTreeMap<Token, RequestKey>,
    number: u64,
    now_ms: u64,
    mistake: Option<Mistake>,
}

/// Rows that have forgotten what was before the last crash.
struct Forgetful<'a>(&'a MemoryRows);

impl Rows for Forgetful<'_> {
    fn request(&self, _: &RequestKey) -> Result<Option<RequestRow>, RowsError> {
        Ok(None)
    }

    fn payment(&self, _: &PaymentHash) -> Result<Option<PaymentRow>, RowsError> {
        Ok(None)
    }

    fn invoice(&self, hash: &PaymentHash) -> Result<Option<InvoiceRow>, RowsError> {
        self.0.invoice(hash)
    }

    fn spent_since(&self, connection: ConnectionId, since_ms: u64) -> Result<Msat, RowsError> {
        self.0.spent_since(connection, since_ms)
    }
}

impl World {
    fn new(seed: u64, mistake: Option<Mistake>) -> Self {
        let accounts = vec![(BALANCE, None); CONNECTIONS as usize];
        let mut core = Core::with(&accounts);
        for connection in 0..CONNECTIONS {
            let budget = Budget { amount: msat(BUDGET), renewal: Renewal::Never, time_zone: "UTC".to_owned() };
            core.connect(connection, ConnectionRules { budget: Some(budget), ..rules(connection / 2 + 1, None) });
        }
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let refuses_second = dice.random();
        core.state.can.refuses_second = refuses_second;
        let committed = core.rows.entries().len();
        Self {
            dice,
            refuses_second,
            state: core.state,
            rows: core.rows,
            committed,
            waiting: Vec::new(),
            wire: Vec::new(),
            node: BTreeMap::new(),
            requests: Vec::new(),
            accepted: BTreeSet::new(),
            answers: BTreeMap::new(),
            invoices: Vec::new(),
            tokens: BTreeMap::new(),
            number: 0,
            now_ms: START_MS,
            mistake,
        }
    }

    fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        let forgetful = Forgetful(&self.rows);
        let is_forgetful = self.mistake == Some(Mistake::RequestsRememberedInMemoryOnly);
        let rows: &dyn Rows = if is_forgetful { &forgetful } else { &self.rows };
        step(&mut self.state, rows, input, self.now_ms, &mut effects);
        for effect in effects {
            match effect {
                Effect::Send(order) if self.mistake == Some(Mistake::SendBeforeSync) => self.send(order),
                Effect::Append { mut entry, outcome } => {
                    if self.mistake != Some(Mistake::AnswerNotStored) {
                        sign(&mut entry.record, outcome.as_ref());
                    }
                    self.rows.append(entry);
                }
                Effect::Alarm(words) => panic!("alarm: {words}"),
                other => self.waiting.push(other),
            }
        }
        self.check();
    }

    /// I2 and I3, from the records and not from the counters.
    fn check(&self) {
        assert_eq!(self.state.ledger.sum_msat(), 0);
        let mut used = BTreeMap::<ConnectionId, u64>::new();
        for open in self.state.open.values() {
            *used.entry(open.intent.request.connection).or_default() += open.hold().get();
        }
        for connection in 0..CONNECTIONS {
            let id = ConnectionId(connection);
            let settled = self.rows.spent_since(id, 0).unwrap().get();
            let used = settled + used.get(&id).copied().unwrap_or(0);
            assert!(used <= BUDGET, "connection {connection} uses {used} of {BUDGET}");
            let view = self.state.connections[&id].spending.view(self.now_ms).unwrap();
            assert_eq!(view.used().get(), used, "counters of connection {connection}");
        }
    }

    /// The batch reaches the disk, and what waited for that happens, up to a crash.
    fn commit(&mut self) {
        self.committed = self.rows.entries().len();
        for effect in std::mem::take(&mut self.waiting) {
            if self.dice.random_bool(0.02) {
                return self.crash();
            }
            self.perform(effect);
        }
        for at in 0..self.committed {
            if let Record::Done(_) | Record::Answer { .. } = self.rows.entries()[at].record {
                self.publish(at);
            }
        }
    }

    fn publish(&mut self, at: usize) {
        for answered in answers(&self.rows.entries()[at]) {
            self.see(answered.request.key, answered.event);
        }
    }

    /// I6.
    fn see(&mut self, key: RequestKey, event: Vec<u8>) {
        let first = self.answers.entry(key).or_insert_with(|| event.clone());
        assert_eq!(*first, event, "two answers to one request");
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send(order) => self.send(order),
            Effect::Lookup(order) => self.lookup(order.hash, order.attempt),
            Effect::Reply(token, Reply::Pay(PayReply::Durable)) => {
                let key = self.tokens[&token];
                self.accepted.insert(key);
            }
            Effect::Reply(_, Reply::Invoice(Ok(made))) => self.invoices.push(Decoded {
                bolt11: made.invoice.clone().unwrap(),
                network: Network::Regtest,
                hash: made.payment_hash,
                amount: Some(made.amount),
                expires_at_s: made.expires_at_s.unwrap(),
                description: None,
                description_hash: None,
            }),
            Effect::Republish(request, event) => self.see(request.key, event),
            Effect::MakeInvoice { key, order } => {
                let bolt11 = format!("lnbcrt-own-{}", order.preimage.hash());
                let made = MadeInvoice { bolt11, hash: order.preimage.hash(), expires_at_s: order.now_s + order.expiry_s };
                self.wire.push(Input::InvoiceMade { key, made: Ok(made) });
            }
            _ => {}
        }
    }

    /// I1 and I7 at the only place where money leaves.
    fn send(&mut self, order: SendOrder) {
        let on_disk = &self.rows.entries()[..self.committed];
        let written = on_disk.iter().any(|entry| {
            entry.seq == order.attempt
                && matches!(&entry.record, Record::Intent(intent) if intent.hash == order.hash && intent.amount == order.amount)
        });
        assert!(written, "sent without an intent on the disk");
        let (hash, attempt) = (order.hash, order.attempt);
        let known = self.node.get(&hash).map(|payment| payment.fate);
        if let Some(Fate::UnderWay | Fate::Paid { .. }) = known {
            assert!(self.refuses_second, "a second payment of one hash");
            let result = SendResult::Unknown("payment is in transition".to_owned());
            return self.wire.push(Input::Sent { hash, attempt, result });
        }
        if self.dice.random_bool(0.1) {
            // The order is lost on the way to the node, and nobody knows.
            return self.wire.push(Input::Sent { hash, attempt, result: SendResult::Unknown("timed out".to_owned()) });
        }
        let hidden_ms = if self.dice.random_bool(0.2) { 50_000 } else { 0 };
        self.node.insert(hash, NodePayment { order, fate: Fate::UnderWay, hidden_until_ms: self.now_ms + hidden_ms });
        if self.dice.random_bool(0.2) {
            self.wire.push(Input::Sent { hash, attempt, result: SendResult::Unknown("stream cut".to_owned()) });
        }
    }

    fn lookup(&mut self, hash: PaymentHash, attempt: u64) {
        let result = match self.node.get(&hash) {
            _ if self.dice.random_bool(0.1) => LookupResult::Unknown("502".to_owned()),
            Some(payment) if payment.hidden_until_ms <= self.now_ms => match payment.fate {
                Fate::UnderWay => LookupResult::Pending,
                Fate::Paid { fee } => LookupResult::Settled { preimage: self.proof_of(&hash), fee: msat(fee) },
                Fate::Failed if payment.order.attempt == attempt => LookupResult::Failed("no route".to_owned()),
                Fate::Failed => LookupResult::NotFound,
            },
            _ => LookupResult::NotFound,
        };
        self.wire.push(Input::Looked { hash, attempt, result });
    }

    fn proof_of(&self, hash: &PaymentHash) -> Preimage {
        (0..20).map(proof).find(|preimage| preimage.hash() == *hash).unwrap()
    }

    /// The node gets on with one payment, and says so, or not, or twice.
    fn node_acts(&mut self) {
        let under_way: Vec<PaymentHash> =
            self.node.iter().filter(|(_, payment)| payment.fate == Fate::UnderWay).map(|(hash, _)| *hash).collect();
        if under_way.is_empty() {
            return;
        }
        let hash = under_way[self.dice.random_range(0..under_way.len())];
        let preimage = self.proof_of(&hash);
        let paid = self.dice.random_bool(0.6);
        let times = self.dice.random_range(0..3);
        let Some(payment) = self.node.get_mut(&hash) else { return };
        let fee = self.dice.random_range(0..=payment.order.fee_max.get());
        payment.fate = if paid { Fate::Paid { fee } } else { Fate::Failed };
        let attempt = payment.order.attempt;
        let result = match payment.fate {
            Fate::Paid { fee } => SendResult::Settled { preimage, fee: msat(fee) },
            _ => SendResult::Failed("no route".to_owned()),
        };
        for _ in 0..times {
            self.wire.push(Input::Sent { hash, attempt, result: result.clone() });
        }
    }

    /// What was not committed is gone, or was written after all; memory and wire are gone; the node is not.
    fn crash(&mut self) {
        let kept = if self.dice.random_bool(0.3) { self.rows.entries().len() } else { self.committed };
        let entries: Vec<Entry> = self.rows.entries()[..kept].to_vec();
        let mut state = State::new(self.state.limits.clone(), Network::Regtest, self.refuses_second);
        for entry in &entries {
            state.apply(entry).unwrap();
        }
        match self.mistake {
            Some(Mistake::HoldsReleasedAtRestart) => state.open.clear(),
            Some(Mistake::SecondPaymentAfterRestart) => state.can.refuses_second = true,
            _ => {}
        }
        self.rows = MemoryRows::new(entries);
        (self.state, self.committed) = (state, kept);
        self.waiting.clear();
        self.wire.clear();
        self.step(Input::Restart);
        if self.dice.random_bool(0.9) {
            self.commit();
        }
    }

    fn client_acts(&mut self) {
        let connection = self.dice.random_range(0..CONNECTIONS);
        self.number += 1;
        let again = self.dice.random_bool(0.25) && !self.requests.is_empty();
        let (order, invoice) = if again {
            self.requests[self.dice.random_range(0..self.requests.len())].clone()
        } else if self.dice.random_bool(0.3) && !self.invoices.is_empty() {
            let invoice = self.invoices[self.dice.random_range(0..self.invoices.len())].clone();
            (order(request(connection, self.number), &invoice, None), invoice)
        } else {
            let number = self.dice.random_range(0..20);
            let invoice = Decoded {
                expires_at_s: self.now_ms / 1_000 / 3_600 * 3_600 + 7_200,
                ..foreign(number, Some(1_000 * (number % 7 + 1)))
            };
            (order(request(connection, self.number), &invoice, None), invoice)
        };
        if !again {
            self.requests.push((order.clone(), invoice.clone()));
        }
        let token = Token(self.number);
        self.tokens.insert(token, order.request.key);
        self.step(Input::Pay { order: Box::new(order), bill: Ok(Bill::Invoice(Box::new(invoice))), ready: Ok(()), token });
    }

    fn make_invoice(&mut self) {
        self.number += 1;
        let request = request(self.dice.random_range(0..CONNECTIONS), self.number);
        let (preimage, token) = (Preimage(request.key.event.0), Token(self.number));
        let order = Box::new(invoice_order(request, Some(self.dice.random_range(1..9_000))));
        self.step(Input::MakeInvoice { order, preimage, token });
    }

    fn deliver(&mut self) {
        if !self.wire.is_empty() {
            let at = self.dice.random_range(0..self.wire.len());
            let mut input = self.wire.swap_remove(at);
            if let (Some(Mistake::TimeOutIsFailed), Input::Sent { result, .. }) = (self.mistake, &mut input)
                && let SendResult::Unknown(words) = result
            {
                *result = SendResult::Failed(words.clone());
            }
            self.step(input);
        }
    }

    fn act(&mut self) {
        match self.dice.random_range(0..100) {
            0..30 => self.client_acts(),
            30..37 => self.make_invoice(),
            37..62 => self.deliver(),
            62..82 => self.commit(),
            82..90 => self.node_acts(),
            90..96 => {
                self.now_ms += self.dice.random_range(0..100_000);
                self.step(Input::Tick);
            }
            _ => self.crash(),
        }
    }

    /// No more faults: everything must come to an end.
    fn heal(&mut self) {
        for _ in 0..400 {
            self.commit();
            while !self.wire.is_empty() {
                self.deliver();
            }
            self.node_acts();
            self.now_ms += 61_000;
            self.step(Input::Tick);
            if self.state.open.is_empty() && self.wire.is_empty() && self.waiting.is_empty() {
                return self.commit();
            }
        }
        panic!("{} payments never end", self.state.open.len());
    }

    /// After healing: every accepted request has its one answer, and the books say what the node did.
    fn check_end(&self) {
        for entry in self.rows.entries() {
            let unsigned = |answered: &Answered| answered.event.is_empty();
            assert!(!answers(entry).iter().any(unsigned), "an answer is not stored");
        }
        for key in &self.accepted {
            assert!(matches!(self.rows.request(key).unwrap(), Some(RequestRow::Answered(..))), "no answer to {}", key.event);
        }
        let paid: i128 = self
            .node
            .values()
            .filter(|payment| matches!(payment.fate, Fate::Paid { .. }))
            .map(|payment| i128::from(payment.order.amount.get()))
            .sum();
        let booked: i128 = self.rows.entries().iter().flat_map(outside).sum();
        assert_eq!(booked, paid, "what left the wallet and what the node paid");
        let held: u64 = self.state.ledger.accounts().map(|account| account.held.get()).sum();
        assert_eq!(held, 0);
        assert!(self.state.ledger.accounts().all(|account| account.balance_msat >= 0));
    }
}

fn answers(entry: &Entry) -> Vec<Answered> {
    match &entry.record {
        Record::Done(done) => done.answers.clone(),
        Record::Answer { answered, .. } => vec![answered.clone()],
        _ => Vec::new(),
    }
}

fn outside(entry: &Entry) -> Vec<i128> {
    match &entry.record {
        Record::Done(done) if matches!(done.ending, Ending::Settled { .. }) => {
            done.postings.iter().filter(|posting| posting.book == Book::Outside).map(|posting| i128::from(posting.msat)).collect()
        }
        _ => Vec::new(),
    }
}

fn run(seed: u64, mistake: Option<Mistake>) -> Vec<Entry> {
    let mut world = World::new(seed, mistake);
    for _ in 0..STEPS {
        world.act();
    }
    world.heal();
    world.check_end();
    world.rows.entries().to_vec()
}

#[test]
fn no_payment_is_made_twice_or_lost_wherever_it_crashes() {
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| run(seed, None));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn known_mistakes_are_seen() {
    let mistakes = [
        Mistake::SendBeforeSync,
        Mistake::TimeOutIsFailed,
        Mistake::RequestsRememberedInMemoryOnly,
        Mistake::HoldsReleasedAtRestart,
        Mistake::AnswerNotStored,
        Mistake::SecondPaymentAfterRestart,
    ];
    for mistake in mistakes {
        let seen = (0..2_000).any(|seed| std::panic::catch_unwind(|| run(seed, Some(mistake))).is_err());
        assert!(seen, "{mistake:?} goes unseen");
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 77, 1_234] {
        assert_eq!(run(seed, None), run(seed, None));
    }
}
