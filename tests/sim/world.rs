//! The simulated world: the product's core and its turn, a disk, a node, words on the way, two clocks, and what clients have seen. One
//! choice after another is applied to it, and every invariant is checked after each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::super::clock::{ClockWatch, Word as ClockWord, words};
use super::super::super::payment::{Effect, Input, Limits, OwnerWish, Reply, RequestRow, Rows, State, Token};
use super::super::super::planted::Bug;
use super::super::super::record::{Intent, Record, Word};
use super::super::super::recover::first_records;
use super::super::super::turn::{Act, Pages, answers, turn};
use super::super::super::types::{Outcome, PayReply, RequestKey, RequestRef};
use super::super::support::{START_MS, written};
use super::Verdict;
use super::books::Books;
use super::choice::{Ask, Choice, Commit, Taken};
use super::disk::Disk;
use super::incoming::Cashier;
use super::node::Node;
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;
use crate::wallet::backend::bolt11::Decoded;
use crate::wallet::backend::{Capabilities, Incoming, IncomingState, MadeInvoice, Network, SendOrder};

/// Everything.
#[derive(Clone)]
pub(super) struct World {
    pub(super) state: State,
    pub(super) disk: Disk,
    pub(super) node: Node,
    pub(super) books: Books,
    /// What clients and owners may ask for.
    pub(super) asks: Vec<Ask>,
    /// Waits for the money thread.
    pub(super) inbox: VecDeque<Input>,
    /// To be done by the money thread before its next turn.
    pub(super) acts: VecDeque<Act>,
    /// Words of the back end on their way.
    pub(super) wire: Vec<Input>,
    /// Callers who wait for a reply.
    pub(super) waiting: BTreeMap<Token, Option<RequestKey>>,
    /// Requests whose clients heard that they are durable.
    pub(super) accepted: BTreeSet<RequestKey>,
    /// Answers that clients saw.
    pub(super) answers: BTreeMap<RequestKey, Vec<u8>>,
    /// The node's other half, and the reports that wait to be acknowledged in this life.
    pub(super) cashier: Cashier,
    reports: BTreeMap<Token, Incoming>,
    clock_watch: ClockWatch,
    clock_word: Option<ClockWord>,
    /// Invoices made here.
    pub(super) made: Vec<Decoded>,
    /// True time since the start, and what the clock of this machine adds to it.
    pub(super) real_ms: u64,
    pub(super) skew_ms: i64,
    pub(super) life: u64,
    /// When the last turn was, by the clock of this machine.
    turn_ms: u64,
    /// When the node was last asked about a payment, in true time.
    pub(super) asked_ms: BTreeMap<PaymentHash, u64>,
    /// When a payment was asked about first and last in this life, since it was sent.
    questions_ms: BTreeMap<PaymentHash, (u64, u64)>,
    /// Every attempt that was ever sent.
    attempts: BTreeSet<u64>,
    token: u64,
    /// A back end that lies makes alarms; nothing else does.
    pub(super) may_alarm: bool,
    pub(super) alarms: u64,
}

impl World {
    /// A world with an empty journal and these first wishes of its owner.
    pub(super) fn new(refuses_second: bool, bug: Option<Bug>, wishes: Vec<OwnerWish>) -> Verdict<Self> {
        let mut state = fresh(refuses_second);
        state.planted.bug = bug;
        let mut disk = Disk::new();
        let mut effects = Vec::new();
        first_records(&mut state, "node", START_MS, &mut effects);
        for effect in effects {
            let Effect::Append { entry, .. } = effect else { continue };
            disk.append(&entry).map_err(|error| error.to_string())?;
        }
        disk.commit().map_err(|error| error.to_string())?;
        let mut world = Self {
            state,
            disk,
            node: Node::new(refuses_second),
            books: Books::default(),
            asks: wishes.into_iter().map(Ask::Owner).collect(),
            inbox: VecDeque::new(),
            acts: VecDeque::new(),
            wire: Vec::new(),
            waiting: BTreeMap::new(),
            accepted: BTreeSet::new(),
            answers: BTreeMap::new(),
            cashier: Cashier::default(),
            reports: BTreeMap::new(),
            clock_watch: ClockWatch::new(START_MS, 0, 0, false).0,
            clock_word: None,
            made: Vec::new(),
            real_ms: 0,
            skew_ms: 0,
            life: 0,
            turn_ms: START_MS,
            asked_ms: BTreeMap::new(),
            questions_ms: BTreeMap::new(),
            attempts: BTreeSet::new(),
            token: 0,
            may_alarm: false,
            alarms: 0,
        };
        for at in 0..world.asks.len() {
            world.apply(Choice::Ask(at))?;
        }
        world.run_now()?;
        Ok(world)
    }

    /// What the clock of this machine says, unix ms.
    pub(super) fn now_ms(&self) -> u64 {
        (START_MS + self.real_ms).saturating_add_signed(self.skew_ms)
    }

    /// What the clocks of others say, unix ms.
    pub(super) fn true_ms(&self) -> u64 {
        START_MS + self.real_ms
    }

    /// Invoices that strangers were shown, and can pay.
    pub(super) fn payable(&self) -> Vec<PaymentHash> {
        let shown = self.made.iter().map(|invoice| invoice.hash);
        shown.filter(|hash| self.cashier.is_payable(hash, self.true_ms())).collect()
    }

    /// One thing happens.
    pub(super) fn apply(&mut self, choice: Choice) -> Verdict {
        match choice {
            Choice::Ask(at) => self.ask(at),
            Choice::Turn { inputs, tick, commit } => return self.turn(inputs, tick, commit),
            Choice::Act(taken) => {
                if let Some(act) = self.acts.pop_front() {
                    return self.perform(act, taken);
                }
            }
            Choice::Deliver { at, again: true } => match self.wire[at].clone() {
                Input::Incoming { incoming, .. } => {
                    let report = self.report(incoming);
                    self.inbox.push_back(report);
                }
                word => self.inbox.push_back(word),
            },
            Choice::Deliver { at, again: false } => {
                let word = self.wire.swap_remove(at);
                self.inbox.push_back(word);
            }
            Choice::Node { at, fate, words } => {
                let (hash, attempt, result) = self.node.act(at, fate);
                let word = Input::Sent { hash, attempt, result };
                self.wire.extend((0..words).map(|_| word.clone()));
            }
            Choice::PayIn { at } => {
                let hash = self.payable()[at];
                self.cashier.pay(hash);
                self.send_reports();
            }
            Choice::Wait { ms } => {
                self.real_ms += ms;
                return self.node.arrive(self.true_ms());
            }
            Choice::Jump { ms } => self.skew_ms = (self.skew_ms + ms).max(-(START_MS as i64) / 2),
            Choice::Crash => return self.crash(),
        }
        Ok(())
    }

    /// All that waits, without any fault.
    pub(super) fn run_now(&mut self) -> Verdict {
        while !self.acts.is_empty() {
            self.apply(Choice::Act(Taken::Well))?;
        }
        self.apply(Choice::Turn { inputs: usize::MAX, tick: true, commit: Commit::Good })?;
        while !self.acts.is_empty() {
            self.apply(Choice::Act(Taken::Well))?;
        }
        Ok(())
    }

    fn ask(&mut self, at: usize) {
        self.token += 1;
        let token = Token(self.token);
        let (key, input) = match self.asks[at].clone() {
            Ask::Pay { order, bill, ready } => {
                let ready = if ready { Ok(()) } else { Err("no connection to the node".to_owned()) };
                (Some(order.request.key), Input::Pay { order: Box::new(order), bill, ready, token })
            }
            Ask::Make { order, preimage } => {
                (Some(order.request.key), Input::MakeInvoice { order: Box::new(order), preimage, token })
            }
            Ask::Hold { request, hash, word } => (None, Input::Hold { request, hash, word, token }),
            Ask::Owner(wish) => (None, Input::Owner { wish, token }),
        };
        self.waiting.insert(token, key);
        self.inbox.push_back(input);
    }

    /// A report of the node, which waits for its acknowledgement.
    fn report(&mut self, incoming: Incoming) -> Input {
        self.token += 1;
        let token = Token(self.token);
        self.waiting.insert(token, None);
        self.reports.insert(token, incoming.clone());
        Input::Incoming { incoming, token }
    }

    /// The money of strangers that still waits goes back by itself.
    pub(super) fn time_out_holds(&mut self) {
        self.cashier.time_out();
        self.send_reports();
    }

    fn send_reports(&mut self) {
        for incoming in std::mem::take(&mut self.cashier.fresh) {
            let report = self.report(incoming);
            self.wire.push(report);
        }
    }

    fn turn(&mut self, inputs: usize, tick: bool, commit: Commit) -> Verdict {
        let inputs: Vec<Input> = self.inbox.drain(..inputs.min(self.inbox.len())).collect();
        let word = self.clock_watch.look(self.now_ms(), self.real_ms);
        let clock: Vec<Input> = words(&mut self.clock_word, word).map(Input::from).collect();
        let inputs = clock.into_iter().chain(inputs).chain(tick.then_some(Input::Tick));
        self.disk.next = commit;
        let life = self.life;
        // No two signatures of one answer are the same.
        let pen = move |request: &RequestRef, outcome: &Outcome, now_s: u64| {
            Some(format!("{} in life {life} at {now_s}", written(request, outcome)).into_bytes())
        };
        let now_ms = self.now_ms();
        self.turn_ms = now_ms;
        let done = turn(&mut self.state, &mut self.disk, &pen, inputs, now_ms);
        self.disk.next = Commit::Good;
        match done {
            Ok(after) => self.acts.extend(after.acts()),
            Err(_) => return self.crash(),
        }
        self.books.read(self.disk.entries())?;
        self.check()
    }

    fn perform(&mut self, act: Act, taken: Taken) -> Verdict {
        match act {
            Act::Reply(token, reply) => {
                let key = self.waiting.remove(&token).ok_or("a caller is told twice")?;
                self.reply(token, key, reply)
            }
            Act::Effect(Effect::Send(order)) => self.send(order, taken),
            Act::Effect(Effect::Lookup(order)) => {
                let asked_ms = self.real_ms;
                self.asked_ms.insert(order.hash, asked_ms);
                self.questions_ms.entry(order.hash).or_insert((asked_ms, asked_ms)).1 = asked_ms;
                let said = self.node.look(&order.hash, order.attempt, taken, self.true_ms());
                let word = |result| Input::Looked { hash: order.hash, attempt: order.attempt, asked_ms, result };
                self.wire.extend(said.map(word));
                Ok(())
            }
            Act::Effect(Effect::MakeInvoice { key, order }) => {
                let hash = order.preimage.hash();
                let made = MadeInvoice { bolt11: format!("lnbcrt-own-{hash}"), hash, expires_at_s: order.now_s + order.expiry_s };
                self.make(key, made, false, order.amount, taken);
                Ok(())
            }
            Act::Effect(Effect::MakeHoldInvoice { key, order }) => {
                let (hash, expires_at_s) = (order.hash, order.now_s + order.expiry_s);
                let made = MadeInvoice { bolt11: format!("lnbcrt-hold-{hash}"), hash, expires_at_s };
                self.make(key, made, true, order.amount, taken);
                Ok(())
            }
            Act::Effect(Effect::TellHold { hash, word }) => {
                if let Word::Settle(_) = word {
                    let decided = self.books.decided.get(&hash);
                    let on_disk = decided.is_some_and(|(seq, settles)| *settles && *seq <= self.disk.synced());
                    ensure!(on_disk, "I7: a hold invoice is settled before the decision is on the disk");
                }
                if let Some(result) = self.cashier.hear(hash, word, taken)? {
                    self.wire.push(Input::HoldTold { hash, word, result });
                }
                self.send_reports();
                Ok(())
            }
            Act::Effect(Effect::Republish(request, event)) => self.see(request.key, event),
            Act::Effect(Effect::Alarm(words)) => {
                self.alarms += 1;
                // A stranger who pays what was just paid inside is no liar, and neither is a clock that jumped.
                let innocent = ["came from outside for", "could not be given back", "the clock of this machine jumped"];
                let is_no_lie = innocent.iter().any(|some| words.contains(some));
                ensure!(self.may_alarm || is_no_lie, "alarm: {words}");
                Ok(())
            }
            Act::Effect(effect) => Err(format!("not to be done after a commit: {effect:?}")),
            Act::Written(entry) => {
                ensure!(entry.seq <= self.disk.synced(), "I7: record {} is told before it is on the disk", entry.seq);
                for answered in answers(&entry.record) {
                    self.see(answered.request.key, answered.event.clone())?;
                }
                Ok(())
            }
        }
    }

    fn make(&mut self, key: RequestKey, made: MadeInvoice, is_hold: bool, amount: Option<Msat>, taken: Taken) {
        let made = match taken {
            Taken::Lost => return,
            Taken::LostTimeOut => Err("timed out".to_owned()),
            _ => {
                self.cashier.make(made.hash, is_hold, amount.map(Msat::get), made.expires_at_s);
                Ok(made)
            }
        };
        self.wire.push(Input::InvoiceMade { key, made });
    }

    /// The node hears that a report is on the disk, and never makes it again.
    fn noted(&mut self, token: Token, is_written: bool) -> Verdict {
        let Some(incoming) = self.reports.remove(&token) else { return Err("a report is acknowledged twice".to_owned()) };
        if !is_written {
            // It is made again at the next start.
            return Ok(());
        }
        if let IncomingState::Settled { .. } = incoming.state
            && self.books.made.contains(&incoming.hash)
        {
            let on_disk = self.books.received.get(&incoming.hash).is_some_and(|seq| *seq <= self.disk.synced());
            ensure!(on_disk, "I7: money from outside is acknowledged and not on the disk");
        }
        self.cashier.acknowledged(&incoming);
        Ok(())
    }

    fn reply(&mut self, token: Token, key: Option<RequestKey>, reply: Reply) -> Verdict {
        match reply {
            Reply::Noted(is_written) => return self.noted(token, is_written),
            Reply::Pay(PayReply::Durable) => {
                let key = key.ok_or("a reply to nobody")?;
                let on_disk = self.books.requests.get(&key).is_some_and(|(seq, _)| *seq <= self.disk.synced());
                ensure!(on_disk, "I7: a client hears that its request is durable, and it is not");
                self.accepted.insert(key);
            }
            Reply::Invoice(Ok(made)) => {
                ensure!(made.seq <= self.disk.synced(), "I7: an invoice is shown before it is on the disk");
                let invoice = Decoded {
                    bolt11: made.invoice.clone().ok_or("an invoice without a text")?,
                    network: Network::Regtest,
                    hash: made.payment_hash,
                    amount: Some(made.amount).filter(|amount| amount.get() > 0),
                    expires_at_s: made.expires_at_s.unwrap_or(u64::MAX),
                    description: None,
                    description_hash: None,
                };
                let before = self.made.iter().find(|one| one.hash == invoice.hash);
                ensure!(before.is_none_or(|before| before.bolt11 == invoice.bolt11), "one hash, two invoices");
                if before.is_none() {
                    self.made.push(invoice);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// I7, and then the node.
    fn send(&mut self, order: SendOrder, taken: Taken) -> Verdict {
        ensure!(order.attempt <= self.disk.synced(), "I7: sent before its intent is on the disk");
        let intent = self.intent(order.attempt).ok_or("I7: sent without an intent")?;
        let here = (&order.hash, order.amount, order.fee_max);
        ensure!(here == (&intent.hash, intent.amount, intent.fee_max), "what is sent is not what the intent says");
        let request = intent.request_expires_at_s.unwrap_or(u64::MAX);
        ensure!(request.saturating_mul(1_000) > self.turn_ms, "sent for a request that had expired");
        let (hash, attempt) = (order.hash, order.attempt);
        self.check_again(&hash, attempt)?;
        let now_ms = self.true_ms();
        if let Some(result) = self.node.take(order, taken, now_ms)? {
            self.wire.push(Input::Sent { hash, attempt, result });
        }
        Ok(())
    }

    /// An attempt is sent once, so that a word about it is about one thing; and one that drives a payment again waits for what was sent
    /// before: two questions of this life, half a minute apart.
    fn check_again(&mut self, hash: &PaymentHash, attempt: u64) -> Verdict {
        ensure!(self.attempts.insert(attempt), "attempt {attempt} is sent twice");
        let (first_ms, last_ms) = self.questions_ms.remove(hash).unwrap_or_default();
        let place = usize::try_from(attempt).ok().and_then(|seq| self.disk.entries().get(seq.checked_sub(1)?));
        let is_again = place.is_some_and(|entry| matches!(entry.record, Record::Driven { .. }));
        let apart_ms = last_ms - first_ms;
        ensure!(!is_again || apart_ms >= 30_000, "driven again after questions of {apart_ms} ms");
        Ok(())
    }

    /// What an attempt is about: the record that it is named by is an intent, or drives one again.
    fn intent(&self, attempt: u64) -> Option<&Intent> {
        let until = usize::try_from(attempt).ok()?.min(self.disk.entries().len());
        let mut back = self.disk.entries()[..until].iter().rev();
        match &back.next().filter(|entry| entry.seq == attempt)?.record {
            Record::Intent(intent) => Some(intent),
            Record::Driven { hash } => back.find_map(|entry| match &entry.record {
                Record::Intent(intent) if intent.hash == *hash => Some(&**intent),
                _ => None,
            }),
            _ => None,
        }
    }

    /// I6.
    fn see(&mut self, key: RequestKey, event: Vec<u8>) -> Verdict {
        ensure!(!event.is_empty(), "an answer without a word");
        let text = String::from_utf8_lossy(&event).into_owned();
        let first = self.answers.entry(key).or_insert(event);
        ensure!(*first == text.as_bytes(), "I6: two answers to one request: {:?}, {text:?}", String::from_utf8_lossy(first));
        Ok(())
    }

    /// The process is gone, with all that it knew and all words to it; what is on the disk is read again.
    fn crash(&mut self) -> Verdict {
        self.acts.clear();
        self.inbox.clear();
        self.wire.clear();
        self.waiting.clear();
        self.questions_ms.clear();
        self.disk.crash()?;
        let bug = self.state.planted.bug;
        self.state = fresh(self.node.refuses_second);
        self.state.planted.bug = bug;
        self.books = Books::default();
        self.books.read(self.disk.entries())?;
        for entry in self.disk.entries() {
            self.state.apply(entry).map_err(|broken| format!("record {} is not possible: {broken}", entry.seq))?;
        }
        for (key, event) in &self.answers {
            let stored = self.disk.request(key).map_err(|error| error.to_string())?;
            let same = matches!(&stored, Some(RequestRow::Answered(_, stored)) if stored == event);
            ensure!(same, "I6: an answer that a client has seen is not in the journal: {stored:?}");
        }
        for key in &self.accepted {
            ensure!(self.books.requests.contains_key(key), "a durable request is lost");
        }
        self.life += 1;
        self.reports.clear();
        self.cashier.restart();
        let (latest_ms, is_doubted) = (self.state.latest_ms, self.state.frozen_at_ms.is_some());
        (self.clock_watch, self.clock_word) = ClockWatch::new(self.now_ms(), self.real_ms, latest_ms, is_doubted);
        self.send_reports();
        self.inbox.push_back(Input::Restart);
        self.check()
    }
}

fn fresh(refuses_second: bool) -> State {
    let mut state = State::new(Limits::default(), Network::Regtest, refuses_second);
    state.can = Capabilities { outside: true, refuses_second, hold_invoices: true, keysend: true, ..Capabilities::default() };
    state.node = format!("03{}", "cd".repeat(32));
    state
}
