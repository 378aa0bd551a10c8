//! Every order of a small world: two requests for one hash, one of them asked twice, crashes anywhere, one back end. A state is visited
//! once, whatever the way to it; depth first, so that few of them are in memory at a time.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::super::super::payment::{Bill, Effect, Input, OwnerWish};
use super::super::super::planted::Bug;
use super::super::super::turn::Act;
use super::super::super::types::*;
use super::super::support::{foreign, order, proof, request};
use super::choice::{Ask, Choice, Commit, Fate, Taken};
use super::world::World;
use super::{Verdict, msat};
use crate::wallet::backend::{LookupResult, SendResult};

/// What the back end does with what it gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Backend {
    Accepts,
    Rejects,
    Hangs,
    Lies,
}

/// A small world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Small {
    pub(super) backend: Backend,
    pub(super) refuses_second: bool,
    /// Both requests come from one connection.
    pub(super) is_one_connection: bool,
    pub(super) bug: Option<Bug>,
    /// How often the first request is asked, the process may end, time may pass, and a word may come twice.
    pub(super) asks: u8,
    pub(super) crashes: u8,
    pub(super) waits: u8,
    pub(super) repeats: u8,
}

/// What was found out.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) steps: usize,
    /// Of them, from so many the world was healed and everything came to an end.
    pub(super) healed: usize,
}

/// A world with what may still go wrong in it.
#[derive(Clone)]
struct Spot {
    world: World,
    asks: [u8; 2],
    crashes: u8,
    waits: u8,
    repeats: u8,
    is_tick_due: bool,
    /// The way here: where from, and by which choice.
    way: usize,
}

impl Spot {
    /// Two states with one name are one state.
    fn name(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let world = &self.world;
        (self.asks, self.crashes, self.waits, self.repeats, self.is_tick_due).hash(&mut hasher);
        (world.disk.name(), world.now_ms(), &world.accepted, &world.answers).hash(&mut hasher);
        for (hash, open) in &world.state.open {
            let watch = &open.watch;
            let since = (watch.not_found_since_ms, watch.heard_ms, watch.recovered);
            (hash, open.seq, open.attempt, watch.ask_at_ms, watch.asked, watch.not_found, since).hash(&mut hasher);
        }
        world.node.late().for_each(|late| late.hash(&mut hasher));
        for payment in &world.node.payments {
            (payment.order.attempt, payment.standing, payment.lied).hash(&mut hasher);
        }
        for input in &world.inbox {
            word(input).hash(&mut hasher);
        }
        let mut wire: Vec<String> = world.wire.iter().map(word).collect();
        wire.sort();
        wire.hash(&mut hasher);
        for act in &world.acts {
            // Records are named by the link of the journal; replies, orders and questions print whole.
            match act {
                Act::Written(entry) => entry.seq.hash(&mut hasher),
                other => format!("{other:?}").hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    /// Everything that may happen next.
    fn choices(&self, small: Small) -> Vec<Choice> {
        let mut all = Vec::new();
        let world = &self.world;
        if self.crashes > 0 {
            all.push(Choice::Crash);
        }
        all.extend((0..2).filter(|at| self.asks[*at] > 0).map(|at| Choice::Ask(world.asks.len() - 2 + at)));
        if self.waits > 0 && !self.is_tick_due {
            // Past the patience with a send; past the invoice, its grace, and three questions.
            all.extend([61_000, 5_000_000].map(|ms| Choice::Wait { ms }));
        }
        for at in 0..world.wire.len() {
            all.push(Choice::Deliver { at, again: false });
            if self.repeats > 0 {
                all.push(Choice::Deliver { at, again: true });
            }
        }
        for at in world.node.live() {
            let fee_max = world.node.payments[at].order.fee_max.get();
            let fates: &[Fate] = match small.backend {
                Backend::Accepts => &[Fate::Pay { fee: 1 }],
                Backend::Rejects => &[Fate::Fail],
                Backend::Hangs => &[],
                // What it said had failed, it pays.
                Backend::Lies if world.node.payments[at].lied => &[Fate::Pay { fee: 1 }],
                Backend::Lies => &[Fate::Pay { fee: fee_max + 1 }, Fate::PayWrongProof { fee: 1 }, Fate::SayFailed],
            };
            all.extend(fates.iter().flat_map(|fate| [0, 1].map(|words| Choice::Node { at, fate: *fate, words })));
        }
        match world.acts.front() {
            Some(Act::Effect(Effect::Send(_))) => {
                all.extend([Taken::Well, Taken::LostTimeOut, Taken::Lost, Taken::Cut, Taken::Hidden].map(Choice::Act));
            }
            Some(Act::Effect(Effect::Lookup(_))) => all.extend([Taken::Well, Taken::Lost].map(Choice::Act)),
            Some(_) => all.push(Choice::Act(Taken::Well)),
            None => self.turns(&mut all),
        }
        all
    }

    fn turns(&self, all: &mut Vec<Choice>) {
        let inputs = usize::from(!self.world.inbox.is_empty());
        if inputs == 0 && !self.is_tick_due {
            return;
        }
        let tick = inputs == 0;
        all.push(Choice::Turn { inputs, tick, commit: Commit::Good });
        if self.crashes > 0 && inputs > 0 {
            all.extend([Commit::Lost, Commit::Written, Commit::Anchored].map(|commit| Choice::Turn { inputs, tick, commit }));
        }
    }

    fn after(&self, choice: Choice) -> Verdict<Self> {
        let mut next = self.clone();
        let life = next.world.life;
        next.world.apply(choice)?;
        match choice {
            Choice::Ask(at) => next.asks[at + 2 - self.world.asks.len()] -= 1,
            Choice::Wait { .. } => (next.waits, next.is_tick_due) = (next.waits - 1, true),
            Choice::Deliver { again: true, .. } => next.repeats -= 1,
            Choice::Turn { tick: true, .. } => next.is_tick_due = false,
            _ => {}
        }
        next.crashes -= u8::try_from(next.world.life - life).unwrap_or(u8::MAX);
        // Names of callers say nothing about a state.
        Ok(next)
    }

    /// No more faults: everything comes to an end.
    fn heal(&self) -> Verdict {
        let mut world = self.world.clone();
        for round in 0..60 {
            loop {
                while !world.wire.is_empty() {
                    world.apply(Choice::Deliver { at: 0, again: false })?;
                }
                world.run_now()?;
                if world.wire.is_empty() && world.inbox.is_empty() && world.acts.is_empty() {
                    break;
                }
            }
            if round > 2 && world.is_quiet() {
                return world.check_end();
            }
            for at in world.node.live() {
                world.apply(Choice::Node { at, fate: Fate::Pay { fee: 1 }, words: 0 })?;
            }
            for (hash, attempt, result) in world.node.owed_words() {
                world.wire.push(Input::Sent { hash, attempt, result });
            }
            world.apply(Choice::Wait { ms: if round < 3 { 61_000 } else { 600_000 } })?;
        }
        Err("something waits for ever".to_owned())
    }
}

/// A word of the back end, proof included (which `Debug` leaves out).
fn word(input: &Input) -> String {
    let proof = match input {
        Input::Sent { result: SendResult::Settled { preimage, .. }, .. } => preimage.to_hex(),
        Input::Looked { result: LookupResult::Settled { preimage, .. }, .. } => preimage.to_hex(),
        _ => String::new(),
    };
    format!("{input:?}{proof}")
}

fn start(small: Small) -> Verdict<Spot> {
    let mut wishes = Vec::new();
    for number in 0..2 {
        wishes.push(OwnerWish::CreateAccount(format!("account-{number}")));
        wishes.push(OwnerWish::Fund(AccountId(number + 1), msat(60_000)));
        let budget = Some(Budget { amount: msat(20_000), renewal: Renewal::Never, time_zone: "UTC".to_owned() });
        let rules = ConnectionRules { account: AccountId(number + 1), budget, payment_max: None, active: true };
        let row = ConnectionRow { id: ConnectionId(number), rules, data: Vec::new() };
        wishes.push(OwnerWish::PutConnection(Box::new(row)));
    }
    let mut world = World::new(small.refuses_second, small.bug, wishes)?;
    world.may_alarm = small.backend == Backend::Lies;
    let invoice = foreign(1, Some(5_000));
    world.node.invoices.insert(invoice.bolt11.clone(), (invoice.clone(), proof(1)));
    for number in 0..2 {
        let connection = if small.is_one_connection { 0 } else { number };
        let order = order(request(connection, u64::from(number) + 1), &invoice, None);
        world.asks.push(Ask::Pay { order, bill: Ok(Bill::Invoice(Box::new(invoice.clone()))), ready: true });
    }
    Ok(Spot {
        world,
        asks: [small.asks, 1],
        crashes: small.crashes,
        waits: small.waits,
        repeats: small.repeats,
        is_tick_due: false,
        way: 0,
    })
}

/// Visits every state, at most so many. `Err`: what does not hold, with the way to it.
pub(super) fn search(small: Small, states_max: usize) -> Verdict<Found> {
    let mut found = Found::default();
    let mut ways: Vec<(usize, Option<Choice>)> = vec![(0, None)];
    let first = start(small)?;
    let mut seen = HashSet::from([first.name()]);
    let mut stack = vec![first];
    while let Some(spot) = stack.pop() {
        found.states += 1;
        ensure!(found.states <= states_max, "more than {states_max} states");
        if spot.name().is_multiple_of(16) || spot.world.is_quiet() {
            spot.heal().map_err(|words| broken(small, &words, &way(&ways, spot.way, None)))?;
            found.healed += 1;
        }
        for choice in spot.choices(small) {
            found.steps += 1;
            let mut next = spot.after(choice).map_err(|words| broken(small, &words, &way(&ways, spot.way, Some(choice))))?;
            if seen.insert(next.name()) {
                next.way = ways.len();
                ways.push((spot.way, Some(choice)));
                stack.push(next);
            }
        }
    }
    Ok(found)
}

fn way(ways: &[(usize, Option<Choice>)], mut at: usize, last: Option<Choice>) -> Vec<Choice> {
    let mut back: Vec<Choice> = last.into_iter().collect();
    while let (before, Some(choice)) = ways[at] {
        back.push(choice);
        at = before;
    }
    back.reverse();
    back
}

fn broken(small: Small, words: &str, way: &[Choice]) -> String {
    format!("{small:?}: {words}\nby {way:#?}")
}
