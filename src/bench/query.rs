//! Queries of stored events: the shapes that clients ask all day, against what `fill` stored with the same seed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::args::{Query, Shape};
use super::data::{Random, Sample, World, frame};
use super::engine::{Deaf, Expect, Op, Pace};
use super::error::ClientError;
use super::progress::Progress;
use super::report::Report;
use super::runner::{Runner, Share, deal, moment, pace};

/// How many stored events the filters are drawn from.
const POOL: usize = 20_000;
/// Authors of the feed query.
const FEED_AUTHORS: usize = 500;

const SHAPES: [Shape; 7] = [Shape::Ids, Shape::Author, Shape::Kind, Shape::Tag, Shape::AuthorKind, Shape::TagKind, Shape::Feed];

impl Shape {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ids => "ids",
            Self::Author => "author",
            Self::Kind => "kind",
            Self::Tag => "tag",
            Self::AuthorKind => "author+kind",
            Self::TagKind => "tag+kind",
            Self::Feed => "feed",
        }
    }
}

/// Makes queries of stored events, each with a number of its own.
pub(super) struct Asker<'a> {
    world: &'a World,
    pool: Vec<Sample>,
    random: Random,
    number: u32,
}

impl<'a> Asker<'a> {
    pub(super) fn new(world: &'a World, seed: u64, stored: usize, until: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5151);
        let picks: Vec<usize> = (0..POOL.min(stored)).map(|_| random.below(stored)).collect();
        let pool = world.make_many(picks.len(), |world, index| world.stored(picks[index], stored, until));
        Self { world, pool, random, number: 0 }
    }

    /// The next query. Each is drawn from an event that is stored, so hot authors and tags are asked for as often as they write.
    pub(super) fn ask(&mut self, shape: Shape, limit: usize, class: usize, at: Duration) -> Op {
        let (filter, at_least) = self.filter(shape, limit);
        self.op(&filter, at_least, class, at)
    }

    fn op(&mut self, filter: &str, at_least: u32, class: usize, at: Duration) -> Op {
        self.number = self.number.wrapping_add(1);
        let number = self.number;
        Op { frame: frame(&format!(r#"["REQ","q{number}",{filter}]"#)), expect: Expect::Stored { number, at_least }, class, at }
    }

    /// A filter and how many events it must bring at least.
    fn filter(&mut self, shape: Shape, limit: usize) -> (String, u32) {
        let Some(one) = self.pool.get(self.random.below(self.pool.len())) else {
            return (format!(r#"{{"kinds":[1],"limit":{limit}}}"#), 0);
        };
        let (author, kind, topic) = (self.world.pubkey(one.author), one.kind, &one.topic);
        let filter = match shape {
            Shape::Ids => {
                let (random, pool) = (&mut self.random, &self.pool);
                let ids: BTreeSet<&str> = (0..limit).map(|_| pool[random.below(pool.len())].event.id.as_str()).collect();
                let list: Vec<String> = ids.iter().map(|id| format!("\"{id}\"")).collect();
                let found = u32::try_from(ids.len()).unwrap_or(u32::MAX);
                return (format!(r#"{{"ids":[{}],"limit":{limit}}}"#, list.join(",")), found);
            }
            Shape::Author => format!(r#"{{"authors":["{author}"],"limit":{limit}}}"#),
            Shape::Kind => format!(r#"{{"kinds":[{kind}],"limit":{limit}}}"#),
            Shape::Tag => format!(r##"{{"#t":["{topic}"],"limit":{limit}}}"##),
            Shape::AuthorKind => format!(r#"{{"authors":["{author}"],"kinds":[{kind}],"limit":{limit}}}"#),
            Shape::TagKind => format!(r##"{{"#t":["{topic}"],"kinds":[{kind}],"limit":{limit}}}"##),
            Shape::Feed => return (self.feed(limit), 1),
        };
        (filter, u32::from(limit > 0))
    }

    fn feed(&mut self, limit: usize) -> String {
        let mut followed = BTreeSet::new();
        let wanted = FEED_AUTHORS.min(self.world.authors() / 2 + 1);
        while followed.len() < wanted {
            followed.insert(self.random.below(self.world.authors()));
        }
        let list: Vec<String> = followed.into_iter().map(|author| format!("\"{}\"", self.world.pubkey(author))).collect();
        format!(r#"{{"authors":[{}],"kinds":[1,6],"limit":{limit}}}"#, list.join(","))
    }
}

pub(super) async fn run(args: &Query) -> Result<Report, ClientError> {
    let (target, runner, world) = (&args.target, Runner::new(&args.target).await?, World::new(args.target.seed));
    let connections = args.connections.max(1);
    let mut asker = Asker::new(&world, target.seed, args.stored, args.until);
    let shapes = if args.shapes.is_empty() { SHAPES.to_vec() } else { args.shapes.clone() };
    let mut sockets = runner.open(0, connections).await?;
    let mut report = Report::new(target);
    for shape in shapes {
        for &limit in &args.limits {
            let progress = Progress::new(format!("query {} limit {limit}", shape.name()));
            let warmup = if args.cold { 0 } else { target.warmup(args.queries) };
            let mut rounds = Vec::new();
            for repeat in 0..=target.repeats.max(1) {
                let (count, pace) = match repeat {
                    0 => (warmup, Pace::Closed { window: args.window.max(1) }),
                    _ => (args.queries, pace(args.rate, args.window)),
                };
                if count == 0 {
                    continue;
                }
                let at = |index| args.rate.map_or(Duration::ZERO, |rate| moment(index, rate));
                let ops = (0..count).map(|index| asker.ask(shape, limit, 0, at(index))).collect();
                let shares = deal(ops, connections).into_iter().zip(sockets);
                let shares = shares.map(|(ops, socket)| Share { socket, ops, ear: Box::new(Deaf) }).collect();
                let (back, round) = runner.round(shares, 1, pace, &progress).await?;
                sockets = back;
                if repeat > 0 {
                    rounds.push(round);
                }
            }
            let heat = if args.cold { "cold" } else { "warm" };
            let name = format!("query {}, limit {limit}, {connections} connections, {heat}", shape.name());
            report.add_query(name, &rounds, 0, None);
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::data::FILL_END_S;
    use crate::protocol::event::{Draft, EventLimits};
    use crate::protocol::filter::Filter;

    #[test]
    fn every_filter_matches_something_that_is_stored() {
        let world = World::new(5);
        let mut asker = Asker::new(&world, 5, 300, FILL_END_S);
        let stored: Vec<_> = (0..300)
            .map(|index| {
                let json = world.stored(index, 300, FILL_END_S).event.json;
                Draft::parse(&json).unwrap().pack(&EventLimits::default()).unwrap()
            })
            .collect();
        for shape in SHAPES {
            for limit in [1, 100] {
                let (json, at_least) = asker.filter(shape, limit);
                let filter: Filter = serde_json::from_str(&json).unwrap();
                let found = stored.iter().filter(|event| filter.matches(event.view())).count();
                assert!(found >= at_least as usize && at_least > 0, "{json} finds {found}");
            }
        }
    }

    #[test]
    fn the_same_seed_asks_the_same() {
        let world = World::new(5);
        let all = |mut asker: Asker<'_>| (0..20).map(|_| asker.filter(Shape::Author, 3).0).collect::<Vec<_>>();
        assert_eq!(all(Asker::new(&world, 5, 300, FILL_END_S)), all(Asker::new(&world, 5, 300, FILL_END_S)));
    }
}
