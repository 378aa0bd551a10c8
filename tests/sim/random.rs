//! A run of a seed: faults first, then the world heals and everything must come to its end (safety and liveness are two phases).

use std::hash::{DefaultHasher, Hash, Hasher};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::super::super::payment::{Bill, Effect, Input, OwnerWish};
use super::super::super::planted::Bug;
use super::super::super::record::Word;
use super::super::super::turn::Act;
use super::super::super::types::*;
use super::super::support::{bytes, invoice_order, order, proof, request};
use super::choice::{Ask, Choice, Commit, Fate, Taken};
use super::options::Options;
use super::world::World;
use super::{Verdict, msat};
use crate::wallet::backend::Network;
use crate::wallet::backend::bolt11::Decoded;

/// What became of a seed.
pub(super) struct Run {
    pub(super) options: Options,
    /// Names all that happened.
    pub(super) trace: u64,
    /// How many things happened.
    pub(super) length: u64,
    pub(super) verdict: Verdict,
}

/// A world, its dice, and what has happened in it.
struct Player {
    world: World,
    dice: ChaCha8Rng,
    options: Options,
    /// How many different requests there were.
    number: u64,
    /// Proofs of hold invoices, and who made them.
    secrets: Vec<(u32, Preimage)>,
    trace: DefaultHasher,
    length: u64,
    is_loud: bool,
}

/// Runs a seed; `is_loud`: prints what happens.
pub(super) fn run(seed: u64, bug: Option<Bug>, is_loud: bool) -> Run {
    let (options, dice) = Options::of(seed);
    let mut trace = DefaultHasher::new();
    let mut length = 0;
    let verdict = World::new(options.refuses_second, bug, wishes(&options)).and_then(|world| {
        let mut player = Player {
            world,
            dice,
            options: options.clone(),
            number: 0,
            secrets: Vec::new(),
            trace: DefaultHasher::new(),
            length: 0,
            is_loud,
        };
        let verdict = player.play();
        player.world.disk.name().hash(&mut player.trace);
        (trace, length) = (player.trace, player.length);
        verdict
    });
    Run { options, trace: trace.finish(), length, verdict }
}

fn wishes(options: &Options) -> Vec<OwnerWish> {
    let accounts = options.connections.div_ceil(options.sharing);
    let mut wishes = Vec::new();
    for number in 1..=accounts {
        wishes.push(OwnerWish::CreateAccount(format!("account-{number}")));
        wishes.push(OwnerWish::Fund(AccountId(number), msat(options.balance)));
    }
    for connection in 0..options.connections {
        let (amount, _) = options.budgets[connection as usize];
        wishes.push(put(options, connection, amount, true));
    }
    wishes
}

fn put(options: &Options, connection: u32, amount: u64, active: bool) -> OwnerWish {
    let (_, renewal) = options.budgets[connection as usize];
    let budget = Some(Budget { amount: msat(amount), renewal, time_zone: "UTC".to_owned() });
    let rules = ConnectionRules { account: AccountId(connection / options.sharing + 1), budget, payment_max: None, active };
    OwnerWish::PutConnection(Box::new(ConnectionRow { id: ConnectionId(connection), rules, data: Vec::new() }))
}

impl Player {
    fn play(&mut self) -> Verdict {
        self.world.may_alarm = self.options.lies;
        for _ in 0..self.options.steps {
            let choice = self.choose();
            self.apply(choice)?;
        }
        self.heal()?;
        self.world.check_end()?;
        self.ask_again()
    }

    fn apply(&mut self, choice: Choice) -> Verdict {
        self.length += 1;
        choice.hash(&mut self.trace);
        if self.is_loud {
            self.tell(choice);
        }
        self.world.apply(choice)
    }

    fn tell(&self, choice: Choice) {
        let what = match choice {
            Choice::Ask(at) => format!("{:?}", self.world.asks[at]),
            Choice::Act(_) => format!("{:?}", self.world.acts.front()),
            Choice::Deliver { at, .. } => format!("{:?}", self.world.wire[at]),
            Choice::Turn { .. } => format!("{:?}", self.world.inbox),
            _ => String::new(),
        };
        println!("{:>4} at {} {choice:?} {what}", self.length, self.world.now_ms());
    }

    fn chance(&mut self, thousandths: u32) -> bool {
        self.dice.random_ratio(thousandths.min(1_000), 1_000)
    }

    fn choose(&mut self) -> Choice {
        if !self.world.acts.is_empty() && self.dice.random_bool(0.9) {
            return if self.chance(self.options.crash_at_effect) { Choice::Crash } else { Choice::Act(self.taken()) };
        }
        if self.options.restless {
            return self.restless();
        }
        match self.dice.random_range(0..100) {
            0..28 => self.client(),
            28..34 => self.maker(),
            34..56 if !self.world.wire.is_empty() => {
                let at = self.dice.random_range(0..self.world.wire.len());
                Choice::Deliver { at, again: self.chance(self.options.twice) }
            }
            56..68 if !self.options.hangs => self.node(),
            68..76 => Choice::Wait { ms: [200, 1_500, 20_000, 61_000, 100_000][self.dice.random_range(0..5)] },
            76..79 if self.options.jumps => self.jump(),
            79..82 => self.owner(),
            82 => Choice::Crash,
            83..86 => self.decide(),
            86..88 => match self.world.payable().len() {
                0 => self.turn(),
                some => Choice::PayIn { at: self.dice.random_range(0..some) },
            },
            _ => self.turn(),
        }
    }

    /// Few ask, time passes, the process ends, and answers lie about.
    fn restless(&mut self) -> Choice {
        match self.dice.random_range(0..100) {
            0..24 => Choice::Wait { ms: [1_500, 20_000, 31_000, 61_000][self.dice.random_range(0..4)] },
            24..30 => Choice::Crash,
            30..35 => self.client(),
            35..49 if !self.world.wire.is_empty() => {
                let at = self.dice.random_range(0..self.world.wire.len());
                Choice::Deliver { at, again: self.chance(self.options.twice) }
            }
            49..59 => self.node(),
            59..65 if self.options.jumps => self.jump(),
            _ => self.turn(),
        }
    }

    fn taken(&mut self) -> Taken {
        if self.options.restless && self.chance(700) && matches!(self.world.acts.front(), Some(Act::Effect(Effect::Send(_)))) {
            return [Taken::Hidden, Taken::Hidden, Taken::Late][self.dice.random_range(0..3)];
        }
        if self.chance(self.options.bad_line) {
            [Taken::Lost, Taken::LostTimeOut, Taken::Cut, Taken::Hidden, Taken::Late][self.dice.random_range(0..5)]
        } else {
            Taken::Well
        }
    }

    fn turn(&mut self) -> Choice {
        if !self.world.acts.is_empty() {
            return Choice::Act(self.taken());
        }
        let commit = if self.chance(self.options.bad_commit) {
            [Commit::Lost, Commit::Written, Commit::Anchored][self.dice.random_range(0..3)]
        } else {
            Commit::Good
        };
        Choice::Turn { inputs: self.dice.random_range(1..=4), tick: self.dice.random_bool(0.5), commit }
    }

    fn node(&mut self) -> Choice {
        let live = self.world.node.live();
        if live.is_empty() {
            return self.turn();
        }
        let at = live[self.dice.random_range(0..live.len())];
        let fee_max = self.world.node.payments[at].order.fee_max.get();
        let fee = self.dice.random_range(0..=fee_max);
        let fate = if self.options.lies && self.chance(200) {
            [Fate::Pay { fee: fee_max + 1 + fee }, Fate::PayWrongProof { fee }, Fate::SayFailed][self.dice.random_range(0..3)]
        } else if self.chance(if self.options.restless { 300 } else { 650 }) {
            Fate::Pay { fee }
        } else {
            Fate::Fail
        };
        Choice::Node { at, fate, words: self.dice.random_range(0..3) }
    }

    fn jump(&mut self) -> Choice {
        if self.world.skew_ms != 0 && self.dice.random_bool(0.6) {
            return Choice::Jump { ms: -self.world.skew_ms };
        }
        let ms = [61_000, 3_700_000, 86_400_000, 700_000_000][self.dice.random_range(0..4)];
        Choice::Jump { ms: if self.dice.random() { ms } else { -ms } }
    }

    fn owner(&mut self) -> Choice {
        let connection = self.dice.random_range(0..self.options.connections);
        let suspended = self.world.state.connections.iter().find(|(_, one)| one.suspended.is_some()).map(|(id, _)| *id);
        let wish = match (suspended, self.dice.random_range(0..10)) {
            (Some(id), 0..6) => OwnerWish::Resume(id),
            (_, 6..8) => put(&self.options, connection, self.dice.random_range(1_000..90_000), true),
            (_, 8) => put(&self.options, connection, self.options.budgets[connection as usize].0, self.dice.random()),
            _ => OwnerWish::Move(AccountId(1), AccountId(0), msat(self.dice.random_range(1..5_000))),
        };
        self.ask(Ask::Owner(wish))
    }

    fn ask(&mut self, ask: Ask) -> Choice {
        self.world.asks.push(ask);
        Choice::Ask(self.world.asks.len() - 1)
    }

    fn maker(&mut self) -> Choice {
        self.number += 1;
        let connection = self.dice.random_range(0..self.options.connections);
        let request = request(connection, self.number);
        let amount = (!self.chance(300)).then(|| self.dice.random_range(1..9_000));
        let preimage = Preimage(request.key.event.0);
        let mut order = invoice_order(request, amount);
        if self.chance(500) {
            let secret = Preimage(bytes(0x77, self.number));
            self.secrets.push((connection, secret));
            order.request.method = Method::MakeHoldInvoice;
            order.hold = Some(HoldTerms { hash: secret.hash(), min_cltv_expiry_delta: None });
        }
        self.ask(Ask::Make { order, preimage })
    }

    fn client(&mut self) -> Choice {
        let first = self.world.asks.iter().position(|ask| !matches!(ask, Ask::Owner(_)));
        if let Some(first) = first.filter(|_| self.chance(300)) {
            // Owners do not repeat themselves; clients do.
            let at = self.dice.random_range(first..self.world.asks.len());
            if !matches!(self.world.asks[at], Ask::Owner(_)) {
                return Choice::Ask(at);
            }
        }
        self.number += 1;
        let connection = self.dice.random_range(0..self.options.connections);
        if self.chance(150) {
            return self.keysend(connection);
        }
        let own = self.chance(250) && !self.world.made.is_empty();
        let invoice =
            if own { self.world.made[self.dice.random_range(0..self.world.made.len())].clone() } else { self.foreign() };
        let given = match invoice.amount {
            Some(_) if self.chance(750) => None,
            Some(amount) if self.chance(500) => Some(amount.get()),
            None if self.chance(100) => None,
            _ => Some(self.dice.random_range(500..9_000)),
        };
        let mut order = order(request(connection, self.number), &invoice, given);
        order.expires_at_s = self.chance(100).then(|| self.world.now_ms() / 1_000 + 40);
        let ready = !self.chance(self.options.bad_line / 4);
        self.ask(Ask::Pay { order, bill: Ok(Bill::Invoice(Box::new(invoice))), ready })
    }

    /// A payment without an invoice; its preimage follows from the request.
    fn keysend(&mut self, connection: u32) -> Choice {
        let request = RequestRef { method: Method::PayKeysend, ..request(connection, self.number) };
        let amount = msat(self.dice.random_range(500..9_000));
        let payee = format!("02{}", "ab".repeat(32));
        let target = PayTarget::Keysend { payee, amount, preimage: None, records: Vec::new() };
        let order = PayOrder { request, target, expires_at_s: None, metadata: None };
        self.ask(Ask::Pay { order, bill: Ok(Bill::Keysend(Preimage(bytes(0x55, self.number)))), ready: true })
    }

    /// The maker of a hold invoice decides, or somebody who did not make it tries to.
    fn decide(&mut self) -> Choice {
        if self.secrets.is_empty() {
            return self.maker();
        }
        let (maker, secret) = self.secrets[self.dice.random_range(0..self.secrets.len())];
        let connection = if self.chance(100) { 0 } else { maker };
        let word = if self.chance(600) { Word::Settle(secret) } else { Word::Cancel };
        self.decision(connection, secret, word)
    }

    fn decision(&mut self, connection: u32, secret: Preimage, word: Word) -> Choice {
        self.number += 1;
        let request = request(connection, self.number);
        self.ask(Ask::Hold { request, hash: secret.hash(), word })
    }

    /// An invoice of somebody else: a few different ones, each good for an hour by the payee's clock.
    fn foreign(&mut self) -> Decoded {
        let hour = self.world.real_ms / 3_000_000;
        let number = self.dice.random_range(0..self.options.invoices) + 1_000 * hour;
        let invoice = Decoded {
            bolt11: format!("lnbcrt-foreign-{number}"),
            network: Network::Regtest,
            hash: proof(number).hash(),
            amount: (number % 4 != 3).then(|| msat(1_000 * (number % 7 + 1))),
            expires_at_s: super::super::support::START_MS / 1_000 + (hour + 1) * 3_000 + 600,
            description: None,
            description_hash: None,
        };
        self.world.node.invoices.insert(invoice.bolt11.clone(), (invoice.clone(), proof(number)));
        invoice
    }

    /// No more faults: everything must come to an end.
    fn heal(&mut self) -> Verdict {
        if self.world.skew_ms != 0 && self.dice.random() {
            self.apply(Choice::Jump { ms: -self.world.skew_ms })?;
        }
        let mut told = 0;
        for round in 0..400 {
            self.settle_down()?;
            if round > 2 && self.world.is_quiet() && self.world.node.owed_words().len() == told {
                return Ok(());
            }
            if (5..30).contains(&round) {
                self.world.check_patience()?;
            }
            for at in self.world.node.live() {
                let fee_max = self.world.node.payments[at].order.fee_max.get();
                let fate = if self.chance(600) { Fate::Pay { fee: self.dice.random_range(0..=fee_max) } } else { Fate::Fail };
                let words = self.dice.random_range(0..=1);
                self.apply(Choice::Node { at, fate, words })?;
            }
            self.decide_all()?;
            if round == 40 {
                // Strangers do not wait for ever, and somebody sets the clock right.
                self.world.time_out_holds();
                self.apply(Choice::Jump { ms: -self.world.skew_ms })?;
            }
            // What it said wrongly it says again, right.
            let owed = self.world.node.owed_words();
            told = owed.len();
            for (hash, attempt, result) in owed {
                self.world.wire.push(Input::Sent { hash, attempt, result });
            }
            self.apply(Choice::Wait {
                ms: [61_000, 3_600_000, 43_200_000][usize::from(round >= 30) + usize::from(round >= 120)],
            })?;
        }
        let open = self.world.state.open.len();
        Err(format!("{open} payments and {} callers wait for ever", self.world.waiting.len()))
    }

    /// Makers decide about what waits; of what waits inside, some is left to time.
    fn decide_all(&mut self) -> Verdict {
        let waiting: Vec<_> = self.world.state.holds.iter().filter(|(_, hold)| hold.word.is_none()).collect();
        let waiting: Vec<_> = waiting.into_iter().map(|(hash, hold)| (*hash, hold.payer.is_some())).collect();
        for (hash, is_inside) in waiting {
            let Some((maker, secret)) = self.secrets.iter().find(|(_, secret)| secret.hash() == hash).copied() else { continue };
            if is_inside && self.chance(900) {
                continue;
            }
            let word = if self.chance(500) { Word::Settle(secret) } else { Word::Cancel };
            let choice = self.decision(maker, secret, word);
            self.apply(choice)?;
        }
        Ok(())
    }

    /// The thread and the wire come to rest.
    fn settle_down(&mut self) -> Verdict {
        loop {
            while !self.world.acts.is_empty() {
                self.apply(Choice::Act(Taken::Well))?;
            }
            while !self.world.wire.is_empty() {
                self.apply(Choice::Deliver { at: 0, again: false })?;
            }
            let is_last = self.world.inbox.is_empty();
            self.apply(Choice::Turn { inputs: usize::MAX, tick: is_last, commit: Commit::Good })?;
            if is_last && self.world.acts.is_empty() {
                return Ok(());
            }
        }
    }

    /// Every client asks again what was accepted, after one more crash: nothing is paid, and the answers are the same. The node tells
    /// everything again that ever came in: nothing is booked twice, and all of it is acknowledged.
    fn ask_again(&mut self) -> Verdict {
        let orders = self.world.node.payments.len();
        self.world.cashier.forget_place();
        self.apply(Choice::Crash)?;
        self.settle_down()?;
        for at in 0..self.world.asks.len() {
            let Ask::Pay { order, .. } = &self.world.asks[at] else { continue };
            if self.world.accepted.contains(&order.request.key) {
                self.apply(Choice::Ask(at))?;
            }
        }
        self.settle_down()?;
        let accepted: Vec<RequestKey> = self.world.accepted.iter().copied().collect();
        for key in accepted {
            ensure!(self.world.answers.contains_key(&key), "no answer to {}, which was asked again", key.event);
        }
        ensure!(self.world.node.payments.len() == orders, "a repeat was paid");
        self.world.check_end()
    }
}
