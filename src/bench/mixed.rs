//! Mixed traffic by profile: operations of many kinds at random moments (open loop), each timed from its moment, and every live
//! event timed from the moment that its publisher was to send it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::answer::{IdKey, event_id};
use super::args::{Method, Mixed};
use super::data::{FILL_END_S, Random, World, now_s, run_number};
use super::engine::{Deaf, Ear, Expect, LIVE, Op, Pace};
use super::error::ClientError;
use super::fanout::subscribe_all;
use super::meter::{Round, Tally};
use super::nwc;
use super::outside::Wallet;
use super::profile::{Action, Profile};
use super::progress::Progress;
use super::publish::fill_with;
use super::query::Asker;
use super::report::Report;
use super::runner::{Runner, Share};
use super::socket::Socket;
use super::wallet::{Answers, Party, request_op};

/// Share of a repeat's time that warms up before the first.
const WARM: f64 = 0.1;
/// Signatures of wallet answers that are checked: every so many-th.
const CHECK: usize = 16;

/// Events of a round: when each is to be sent.
type Sent = HashMap<IdKey, Duration, foldhash::fast::FixedState>;

/// Times live events.
struct Listener {
    sent: Arc<Sent>,
    class: usize,
}

impl Ear for Listener {
    fn live(&mut self, event: &[u8]) -> Option<(usize, Duration)> {
        Some((self.class, *self.sent.get(&event_id(event)?)?))
    }
}

/// Who answers wallet requests.
enum Purse {
    /// Wallets behind connection URIs.
    Connections(Vec<Party>),
    /// A service of the generator's own.
    Outside(Wallet),
}

impl Purse {
    fn new(args: &Mixed, runner: &Runner, clients: usize) -> Result<Self, ClientError> {
        if args.uri.is_empty() {
            return Ok(Self::Outside(Wallet::new(runner, clients)?));
        }
        let parties: Result<Vec<Party>, _> = args.uri.iter().map(|uri| Party::of_uri(uri)).collect();
        let parties = parties?;
        Ok(Self::Connections((0..clients).map(|index| parties[index % parties.len()].clone()).collect()))
    }

    fn clients(&self) -> &[Party] {
        match self {
            Self::Connections(parties) => parties,
            Self::Outside(wallet) => &wallet.clients,
        }
    }
}

/// The pieces of one run.
struct Play<'a> {
    args: &'a Mixed,
    profile: &'a Profile,
    runner: &'a Runner,
    world: &'a World,
    actions: Vec<(Action, f64)>,
    purse: Purse,
    random: Random,
    asker: Asker<'a>,
    /// Numbers the rounds of all runs, so that no event is published twice.
    stream: u64,
}

pub(super) async fn run(args: &Mixed) -> Result<Report, ClientError> {
    let (target, runner, profile) = (&args.target, Runner::new(&args.target).await?, Profile::read(&args.profile)?);
    let world = World::with(target.seed, profile.authors, profile.topics, profile.zipf);
    if profile.stored > 0 {
        fill_with(&runner, &world, profile.stored, FILL_END_S).await?;
    }
    let progress = Progress::new(format!("mixed {}", profile.name));
    progress.say("connecting");
    let purse = Purse::new(args, &runner, profile.wallet_clients)?;
    let mut play = Play {
        args,
        profile: &profile,
        runner: &runner,
        world: &world,
        actions: profile.mix.actions(),
        purse,
        random: Random::new(target.seed ^ 0x1337),
        asker: Asker::new(&world, target.seed, profile.stored, FILL_END_S),
        stream: run_number() << 8,
    };
    let mut people = play.connect().await?;
    let mut wallets = nwc::connect(&runner, play.purse.clients(), people.len()).await?;
    let seconds = args.seconds.unwrap_or(profile.seconds).max(0.1);
    let mut rounds = Vec::new();
    for repeat in 0..=target.repeats.max(1) {
        let (mut sockets, round) =
            play.round(people, wallets, if repeat == 0 { seconds * WARM } else { seconds }, &progress).await?;
        wallets = sockets.split_off(profile.connections);
        people = sockets;
        if repeat > 0 {
            rounds.push(round);
        }
    }
    Ok(report(args, &profile, &play.actions, rounds))
}

impl Play<'_> {
    async fn connect(&mut self) -> Result<Vec<Socket>, ClientError> {
        let mut sockets = self.runner.open(0, self.profile.connections).await?;
        for socket in &mut sockets {
            let mut follows = BTreeSet::new();
            let wanted = self.profile.follows.clamp(1, self.world.authors().div_ceil(4));
            while follows.len() < wanted {
                follows.insert(self.world.draw_author(&mut self.random));
            }
            let list: Vec<String> = follows.into_iter().map(|author| format!("\"{}\"", self.world.pubkey(author))).collect();
            subscribe_all(socket, &[format!(r#"{{"authors":[{}],"kinds":[1,6],"limit":1}}"#, list.join(","))]).await?;
        }
        Ok(sockets)
    }

    async fn round(
        &mut self,
        people: Vec<Socket>,
        wallets: Vec<Socket>,
        seconds: f64,
        progress: &Progress,
    ) -> Result<(Vec<Socket>, Round), ClientError> {
        progress.say("preparing");
        self.stream += 1;
        let (crowd, purses) = (people.len(), wallets.len());
        let mut ops: Vec<Vec<Op>> = (0..crowd + purses).map(|_| Vec::new()).collect();
        let (mut sent, mut ready) = (Sent::default(), HashMap::default());
        let rate = (self.profile.rate * self.args.scale).max(0.01);
        let (mut at, mut index) = (0.0, 0_usize);
        while let Some((moment, class)) = self.next(&mut at, rate, seconds) {
            index += 1;
            match self.actions[class].0 {
                Action::Publish => {
                    let event = self.world.event(self.stream, index, now_s()).event;
                    sent.insert(event.key(), moment);
                    let op = Op { frame: event.frame(), expect: Expect::Verdict(event.key()), class, at: moment };
                    ops[self.random.below(crowd)].push(op);
                }
                Action::Ask(shape) => {
                    let op = self.asker.ask(shape, self.profile.limit, class, moment);
                    ops[self.random.below(crowd)].push(op);
                }
                Action::Wallet => {
                    let client = self.random.below(purses);
                    let op = match &self.purse {
                        Purse::Outside(wallet) => wallet.request(client, Some(&mut ready), class, moment)?,
                        Purse::Connections(parties) => {
                            request_op(&parties[client], Method::GetBalance, &json!({}), class, moment)?
                        }
                    };
                    ops[crowd + client].push(op);
                }
            }
        }
        let shares = self.shares(people, wallets, ops, &Arc::new(sent));
        let service = match &self.purse {
            Purse::Outside(wallet) => Some(wallet.serve(self.runner, crowd + purses, ready).await?),
            Purse::Connections(_) => None,
        };
        let result = self.runner.round(shares, self.actions.len() + 1, Pace::Open, progress).await;
        if let Some(service) = service {
            service.stop().await?;
        }
        result
    }

    /// The next moment (Poisson) and which action it is.
    fn next(&mut self, at: &mut f64, rate: f64, seconds: f64) -> Option<(Duration, usize)> {
        *at -= (1.0 - self.random.unit()).ln() / rate;
        if *at >= seconds {
            return None;
        }
        let mut point = self.random.unit();
        let class = self.actions.iter().position(|(_, share)| {
            point -= share;
            point < 0.0
        });
        Some((Duration::from_secs_f64(*at), class.unwrap_or(self.actions.len() - 1)))
    }

    fn shares(&self, people: Vec<Socket>, wallets: Vec<Socket>, ops: Vec<Vec<Op>>, sent: &Arc<Sent>) -> Vec<Share> {
        let crowd = people.len();
        let sockets = people.into_iter().chain(wallets).zip(ops).enumerate();
        let shares = sockets.map(|(index, (socket, ops))| {
            let ear: Box<dyn Ear> = match index.checked_sub(crowd) {
                None => Box::new(Listener { sent: sent.clone(), class: self.actions.len() }),
                Some(client) => match &self.purse {
                    Purse::Outside(_) => Box::new(Deaf),
                    Purse::Connections(parties) => Box::new(Answers::new(parties[client].clone(), CHECK)),
                },
            };
            Share { socket, ops, ear }
        });
        shares.collect()
    }
}

fn report(args: &Mixed, profile: &Profile, actions: &[(Action, f64)], mut rounds: Vec<Round>) -> Report {
    let mut report = Report::new(&args.target);
    let (rate, all) = (profile.rate * args.scale, actions.len() + 1);
    for round in &mut rounds {
        round.tallies.push(Tally::sum(&round.tallies[..actions.len()]));
    }
    report.add(format!("{}, all of {rate:.0}/s", profile.name), &rounds, all, Some(profile.about.clone()));
    for (class, (action, share)) in actions.iter().enumerate() {
        let name = format!("{}, {} ({:.0} %)", profile.name, action.name(), share * 100.0);
        if matches!(action, Action::Ask(_)) {
            report.add_query(name, &rounds, class, None);
        } else {
            report.add(name, &rounds, class, None);
        }
        report.share_round();
    }
    report.add(format!("{}, {LIVE} deliveries", profile.name), &rounds, actions.len(), None);
    report.share_round();
    report
}
