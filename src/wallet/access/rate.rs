//! How fast a connection may ask. Each has its own buckets, so that one app cannot slow another.
//!
//! The first bucket is for requests. Who empties it is told so by RATE_LIMITED; such an answer costs us a signature, so it has a
//! small bucket of its own, and beyond that only the `OK` says so.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Speed of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Off for benchmarks.
    pub enabled: bool,
    /// Requests per second in the long run.
    pub requests_per_s: NonZeroU32,
    /// Requests at once.
    pub requests_burst: NonZeroU32,
}

impl Default for Config {
    fn default() -> Self {
        let number = |value| NonZeroU32::new(value).unwrap_or(NonZeroU32::MIN);
        Self { enabled: true, requests_per_s: number(50), requests_burst: number(200) }
    }
}

/// RATE_LIMITED answers per second and at once.
const EXCUSES_PER_S: NonZeroU32 = NonZeroU32::MIN;
const EXCUSES_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// What a request's speed deserves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// It is served.
    Fine,
    /// It is refused by an answer.
    TooFast,
    /// It is refused by its `OK` alone.
    MuchTooFast,
}

/// The buckets of one connection.
#[derive(Debug)]
pub struct Gate {
    requests: Option<DefaultDirectRateLimiter>,
    excuses: DefaultDirectRateLimiter,
}

impl Gate {
    /// Full buckets.
    pub fn new(config: &Config) -> Self {
        let quota = Quota::per_second(config.requests_per_s).allow_burst(config.requests_burst);
        Self {
            requests: config.enabled.then(|| RateLimiter::direct(quota)),
            excuses: RateLimiter::direct(Quota::per_second(EXCUSES_PER_S).allow_burst(EXCUSES_BURST)),
        }
    }

    /// Takes one request from the buckets.
    pub fn pace(&self) -> Pace {
        match &self.requests {
            None => Pace::Fine,
            Some(requests) if requests.check().is_ok() => Pace::Fine,
            Some(_) if self.excuses.check().is_ok() => Pace::TooFast,
            Some(_) => Pace::MuchTooFast,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_served_then_excused_then_only_refused() {
        let number = |value| NonZeroU32::new(value).unwrap();
        let gate = Gate::new(&Config { enabled: true, requests_per_s: number(1), requests_burst: number(3) });
        let paces: Vec<Pace> = (0..10).map(|_| gate.pace()).collect();
        assert_eq!(paces[..3], [Pace::Fine; 3]);
        assert_eq!(paces[3..8], [Pace::TooFast; 5]);
        assert_eq!(paces[8..], [Pace::MuchTooFast; 2]);
    }

    #[test]
    fn switched_off_nothing_is_too_fast() {
        let gate = Gate::new(&Config { enabled: false, ..Config::default() });
        assert!((0..10_000).all(|_| gate.pace() == Pace::Fine));
    }
}
