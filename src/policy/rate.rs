//! How often: allowances per address, per connection and per key (governor). One switch turns all of them off.
//!
//! Maps are bounded: an entry that is full again tells nothing and is removed when the map has grown.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{InsufficientCapacity, NotUntil, Quota, RateLimiter};
use parking_lot::Mutex;

use crate::base::clock::Clock;
use crate::base::hex32::PublicKey;
use crate::protocol::event::{Draft, single_letter};
use crate::protocol::reason::Reason;

/// Entries that a map holds before it is searched for ones to remove.
const ENTRIES_KEPT: usize = 16_384;
/// How many checks lie between two such searches.
const SWEEP_EVERY: u32 = 4_096;
/// A COUNT weighs as much as this many REQs.
const COUNT_WEIGHT: u32 = 10;
/// A wrong signature takes as much from the allowance of its address as this many events.
const BAD_SIGNATURE_WEIGHT: u32 = 50;
/// What a wrong signature is owed for waits no longer than this.
const DEBT_MAX: Duration = Duration::from_secs(60);
/// So many rows in the index of tags weigh as much as an event.
const ROWS_PER_EVENT: usize = 16;
/// So many bytes that cannot be read weigh as much as a REQ.
const BYTES_PER_REQUEST: usize = 4_096;

/// So many a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

impl Rate {
    /// A rate from its two numbers.
    pub const fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst }
    }

    fn quota(self) -> Quota {
        let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Quota::per_second(at_least_one(self.per_second)).allow_burst(at_least_one(self.burst))
    }
}

/// The allowances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateConfig {
    /// False: nothing is counted and nothing refused.
    pub enabled: bool,
    /// EVENTs per address (IPv6: per /64).
    pub events_per_ip: Rate,
    /// EVENTs per connection.
    pub events_per_connection: Rate,
    /// EVENTs per author.
    pub events_per_key: Rate,
    /// REQs per address; a COUNT weighs as much as ten.
    pub queries_per_ip: Rate,
    /// REQs per connection; a COUNT weighs as much as ten.
    pub queries_per_connection: Rate,
}

impl Default for RateConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            events_per_ip: Rate::new(500, 5_000),
            events_per_connection: Rate::new(200, 2_000),
            events_per_key: Rate::new(200, 2_000),
            queries_per_ip: Rate::new(500, 5_000),
            queries_per_connection: Rate::new(200, 2_000),
        }
    }
}

/// Time that only goes forward, for counting allowances.
#[derive(Clone, Debug)]
pub enum Ticker {
    /// Since this moment.
    Monotonic(Instant),
    /// Whatever a manual clock says.
    Manual(Clock),
}

impl Ticker {
    /// The machine's monotonic time.
    pub fn monotonic() -> Self {
        Self::Monotonic(Instant::now())
    }
}

impl GovernorClock for Ticker {
    type Instant = Duration;

    fn now(&self) -> Duration {
        match self {
            Self::Monotonic(start) => start.elapsed(),
            Self::Manual(clock) => Duration::from_millis(clock.now_ms()),
        }
    }
}

type Decision = Result<Result<(), NotUntil<Duration>>, InsufficientCapacity>;

/// How long until it would be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait(Duration);

/// Weights never exceed the burst: something heavy waits for a full allowance, it is not refused for ever.
fn weight_within(rate: Rate, weight: u32) -> NonZeroU32 {
    NonZeroU32::new(weight.min(rate.burst)).unwrap_or(NonZeroU32::MIN)
}

fn outcome(decision: Decision, ticker: &Ticker) -> Result<(), Wait> {
    match decision {
        Ok(Ok(())) => Ok(()),
        Ok(Err(not_until)) => Err(Wait(not_until.wait_time_from(ticker.now()))),
        Err(_) => Err(Wait(Duration::ZERO)),
    }
}

/// One allowance.
struct Single {
    limiter: RateLimiter<NotKeyed, InMemoryState, Ticker, NoOpMiddleware<Duration>>,
    rate: Rate,
}

impl Single {
    fn new(rate: Rate, ticker: &Ticker) -> Self {
        Self { limiter: RateLimiter::direct_with_clock(rate.quota(), ticker.clone()), rate }
    }

    fn take(&self, weight: u32) -> Result<(), Wait> {
        outcome(self.limiter.check_n(weight_within(self.rate, weight)), self.limiter.clock())
    }
}

/// An allowance per key of some kind, in a bounded map.
struct Keyed<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, DashMapStateStore<K>, Ticker, NoOpMiddleware<Duration>>,
    rate: Rate,
    checks: AtomicU32,
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    fn new(rate: Rate, ticker: &Ticker) -> Self {
        let limiter = RateLimiter::new(rate.quota(), DashMapStateStore::default(), ticker.clone());
        Self { limiter, rate, checks: AtomicU32::new(0) }
    }

    fn take(&self, key: &K, weight: u32) -> Result<(), Wait> {
        if self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) && self.limiter.len() > ENTRIES_KEPT {
            self.limiter.retain_recent();
        }
        outcome(self.limiter.check_key_n(key, weight_within(self.rate, weight)), self.limiter.clock())
    }
}

/// The allowances that connections share.
pub struct Rates(Option<Shared>);

struct Shared {
    ticker: Ticker,
    config: RateConfig,
    events_by_ip: Keyed<u128>,
    events_by_key: Keyed<PublicKey>,
    debts: Debts,
    queries_by_ip: Keyed<u128>,
}

/// The allowances of one connection.
pub struct ConnectionRates {
    network: u128,
    own: Option<(Single, Single)>,
}

impl std::fmt::Debug for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Rates").field(&self.0.as_ref().map(|shared| shared.config)).finish()
    }
}

impl Rates {
    /// Allowances from their settings.
    pub fn new(config: &RateConfig, ticker: Ticker) -> Self {
        Self(config.enabled.then(|| Shared {
            config: *config,
            events_by_ip: Keyed::new(config.events_per_ip, &ticker),
            events_by_key: Keyed::new(config.events_per_key, &ticker),
            debts: Debts::default(),
            queries_by_ip: Keyed::new(config.queries_per_ip, &ticker),
            ticker,
        }))
    }

    /// The allowances of a new connection.
    pub fn connection(&self, ip: IpAddr) -> ConnectionRates {
        let own = self.0.as_ref().map(|shared| {
            let single = |rate| Single::new(rate, &shared.ticker);
            (single(shared.config.events_per_connection), single(shared.config.queries_per_connection))
        });
        ConnectionRates { network: network(ip), own }
    }

    /// One EVENT of this weight ([`event_weight`]), from whoever sends it.
    pub fn take_event(&self, connection: &ConnectionRates, weight: u32) -> Result<(), Reason> {
        let (Some(shared), Some((events, _))) = (&self.0, &connection.own) else { return Ok(()) };
        let refused = |wait| refusal("events from this address", wait);
        shared.debts.check(connection.network, shared.ticker.now()).map_err(refused)?;
        events.take(weight).map_err(|wait| refusal("events from this connection", wait))?;
        shared.events_by_ip.take(&connection.network, weight).map_err(refused)
    }

    /// The same EVENT, from its author: after its signature was found good, so that nobody uses up what another has.
    pub fn take_author(&self, author: &PublicKey, weight: u32) -> Result<(), Reason> {
        let Some(shared) = &self.0 else { return Ok(()) };
        shared.events_by_key.take(author, weight).map_err(|wait| refusal("events from this key", wait))
    }

    /// An EVENT whose signature was wrong: its sender made us work for nothing. What its address cannot pay now it owes, and
    /// nothing more is taken from it until then.
    pub fn take_bad_signature(&self, connection: &ConnectionRates) {
        let Some(shared) = &self.0 else { return };
        let (mut owed, mut step) = (BAD_SIGNATURE_WEIGHT.min(shared.config.events_per_ip.burst), BAD_SIGNATURE_WEIGHT);
        while owed > 0 && step > 0 {
            if step <= owed && shared.events_by_ip.take(&connection.network, step).is_ok() {
                owed -= step;
            } else {
                step /= 2;
            }
        }
        let each = Duration::from_secs(1) / shared.config.events_per_ip.per_second.max(1);
        shared.debts.add(connection.network, each.saturating_mul(owed), shared.ticker.now());
    }

    /// A message of so many bytes that could not be read.
    pub fn take_unreadable(&self, connection: &ConnectionRates, bytes: usize) -> Result<(), Reason> {
        self.take_query(connection, u32::try_from(1 + bytes / BYTES_PER_REQUEST).unwrap_or(u32::MAX))
    }

    /// One REQ.
    pub fn take_request(&self, connection: &ConnectionRates) -> Result<(), Reason> {
        self.take_query(connection, 1)
    }

    /// One COUNT.
    pub fn take_count(&self, connection: &ConnectionRates) -> Result<(), Reason> {
        self.take_query(connection, COUNT_WEIGHT)
    }

    fn take_query(&self, connection: &ConnectionRates, weight: u32) -> Result<(), Reason> {
        let (Some(shared), Some((_, queries))) = (&self.0, &connection.own) else { return Ok(()) };
        queries.take(weight).map_err(|wait| refusal("queries from this connection", wait))?;
        shared.queries_by_ip.take(&connection.network, weight).map_err(|wait| refusal("queries from this address", wait))
    }
}

/// What an event weighs: one, and more for what it writes into the index of tags.
pub fn event_weight(draft: &Draft<'_>) -> u32 {
    let rows = draft.tags.iter().filter(|tag| single_letter(tag.name()).is_some() && tag.value().is_some()).count();
    u32::try_from(1 + rows / ROWS_PER_EVENT).unwrap_or(u32::MAX)
}

/// Addresses that owe something, and until when. Bounded by [`ENTRIES_KEPT`]; most of the time there are none.
#[derive(Default)]
struct Debts {
    until: Mutex<HashMap<u128, Duration>>,
    /// No debt lasts longer than this, in milliseconds: whoever comes later need not look.
    last_ms: AtomicU64,
}

impl Debts {
    fn check(&self, network: u128, now: Duration) -> Result<(), Wait> {
        if whole_ms(now) >= self.last_ms.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.until.lock().get(&network).map(|until| until.saturating_sub(now)) {
            Some(wait) if !wait.is_zero() => Err(Wait(wait)),
            _ => Ok(()),
        }
    }

    fn add(&self, network: u128, owed: Duration, now: Duration) {
        if owed.is_zero() {
            return;
        }
        let mut all = self.until.lock();
        if all.len() >= ENTRIES_KEPT {
            all.retain(|_, until| *until > now);
        }
        if all.len() >= ENTRIES_KEPT && !all.contains_key(&network) {
            return;
        }
        let until = all.entry(network).or_insert(now);
        *until = ((*until).max(now) + owed).min(now + DEBT_MAX);
        self.last_ms.fetch_max(whole_ms(*until).saturating_add(1), Ordering::Relaxed);
    }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What counts as one address: an IPv4 address, or the /64 that one IPv6 customer has.
pub fn network(ip: IpAddr) -> u128 {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

fn refusal(what: &str, Wait(wait): Wait) -> Reason {
    let seconds = wait.as_millis().div_ceil(1_000).max(1);
    Reason::rate_limited(format!("too many {what}, wait {seconds} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> RateConfig {
        RateConfig {
            events_per_ip: Rate::new(10, 20),
            events_per_connection: Rate::new(1, 5),
            events_per_key: Rate::new(2, 8),
            queries_per_ip: Rate::new(10, 100),
            queries_per_connection: Rate::new(1, 12),
            ..RateConfig::default()
        }
    }

    fn key(number: u8) -> PublicKey {
        [number; 32].into()
    }

    /// One event that is what its author says.
    fn take(rates: &Rates, connection: &ConnectionRates, author: &PublicKey) -> Result<(), Reason> {
        rates.take_event(connection, 1)?;
        rates.take_author(author, 1)
    }

    #[test]
    fn each_allowance_refuses_with_the_time_to_wait_and_recovers() {
        let clock = Clock::manual(1_000_000);
        let rates = Rates::new(&config(), Ticker::Manual(clock.clone()));
        let ip: IpAddr = [10, 0, 0, 1].into();
        let connection = rates.connection(ip);
        for _ in 0..5 {
            take(&rates, &connection, &key(1)).unwrap();
        }
        let words = |result: Result<(), Reason>| result.unwrap_err().to_string();
        assert_eq!(words(take(&rates, &connection, &key(1))), "rate-limited: too many events from this connection, wait 1 s");
        // Another connection: the key has three left, then the address has twelve.
        let second = rates.connection(ip);
        for _ in 0..3 {
            take(&rates, &second, &key(1)).unwrap();
        }
        assert_eq!(words(take(&rates, &second, &key(1))), "rate-limited: too many events from this key, wait 1 s");
        let many: Vec<_> = (0..4).map(|_| rates.connection(ip)).collect();
        let taken = many.iter().flat_map(|c| (0..5).map(move |_| c)).filter(|c| take(&rates, c, &key(2)).is_ok()).count();
        assert_eq!(taken, 8, "the key's burst");
        assert_eq!(
            words(take(&rates, &rates.connection(ip), &key(3))),
            "rate-limited: too many events from this address, wait 1 s"
        );
        take(&rates, &rates.connection([10, 0, 0, 2].into()), &key(4)).unwrap();
        clock.set_ms(1_010_000);
        take(&rates, &connection, &key(1)).unwrap();
    }

    #[test]
    fn a_count_weighs_more_and_the_switch_turns_all_off() {
        let clock = Clock::manual(0);
        let rates = Rates::new(&config(), Ticker::Manual(clock.clone()));
        let connection = rates.connection([10, 0, 0, 1].into());
        rates.take_count(&connection).unwrap();
        rates.take_request(&connection).unwrap();
        rates.take_request(&connection).unwrap();
        assert!(rates.take_request(&connection).is_err());
        clock.set_ms(1_000);
        rates.take_request(&connection).unwrap();
        let refused = rates.take_count(&connection).unwrap_err().to_string();
        assert_eq!(refused, "rate-limited: too many queries from this connection, wait 10 s");

        let off = Rates::new(&RateConfig { enabled: false, ..config() }, Ticker::Manual(clock));
        let connection = off.connection([10, 0, 0, 1].into());
        assert!((0..1_000).all(|_| take(&off, &connection, &key(1)).is_ok() && off.take_count(&connection).is_ok()));
    }

    #[test]
    fn wrong_signatures_use_up_the_allowance_of_their_address() {
        let rates = Rates::new(&RateConfig { events_per_ip: Rate::new(1, 100), ..config() }, Ticker::Manual(Clock::manual(0)));
        let connection = rates.connection([10, 0, 0, 1].into());
        rates.take_bad_signature(&connection);
        rates.take_bad_signature(&connection);
        assert!(take(&rates, &connection, &key(1)).is_err());
    }

    #[test]
    fn an_address_with_little_left_owes_the_rest_of_a_wrong_signature() {
        let clock = Clock::manual(5_000);
        let config = RateConfig { events_per_ip: Rate::new(10, 100), events_per_connection: Rate::new(1_000, 1_000), ..config() };
        let rates = Rates::new(&config, Ticker::Manual(clock.clone()));
        let connection = rates.connection([10, 0, 0, 1].into());
        rates.take_event(&connection, 90).unwrap();
        rates.take_bad_signature(&connection);
        let refused = |rates: &Rates| rates.take_event(&rates.connection([10, 0, 0, 1].into()), 1).unwrap_err().to_string();
        assert_eq!(refused(&rates), "rate-limited: too many events from this address, wait 4 s");
        clock.set_ms(8_999);
        assert_eq!(refused(&rates), "rate-limited: too many events from this address, wait 1 s");
        rates.take_event(&rates.connection([10, 0, 0, 2].into()), 1).unwrap();
        clock.set_ms(9_001);
        rates.take_event(&connection, 1).unwrap();
        for _ in 0..1_000 {
            rates.take_bad_signature(&connection);
        }
        assert_eq!(refused(&rates), "rate-limited: too many events from this address, wait 60 s");
    }

    #[test]
    fn an_event_weighs_what_it_writes_and_nonsense_what_it_has_of_bytes() {
        let weight = |tags: usize| {
            let event = serde_json::json!({
                "id": "0".repeat(64), "pubkey": "1".repeat(64), "created_at": 1, "kind": 1, "content": "", "sig": "2".repeat(128),
                "tags": (0..tags).map(|n| ["t".to_owned(), n.to_string()]).collect::<Vec<_>>()
            });
            event_weight(&Draft::parse(&event.to_string()).unwrap())
        };
        assert_eq!((weight(0), weight(15), weight(2_000)), (1, 1, 126));
        let rates = Rates::new(&config(), Ticker::Manual(Clock::manual(0)));
        let connection = rates.connection([10, 0, 0, 1].into());
        rates.take_unreadable(&connection, 10 * 4_096).unwrap();
        rates.take_unreadable(&connection, 10).unwrap();
        assert!(rates.take_unreadable(&connection, 10).is_err());
    }

    #[test]
    fn maps_do_not_grow_with_the_keys_they_have_seen() {
        let clock = Clock::manual(0);
        let keyed: Keyed<u128> = Keyed::new(Rate::new(1_000, 10), &Ticker::Manual(clock.clone()));
        for number in 0..200_000_u128 {
            clock.set_ms(u64::try_from(number).unwrap() / 100);
            keyed.take(&number, 1).unwrap();
        }
        assert!(keyed.limiter.len() <= ENTRIES_KEPT + 2 * SWEEP_EVERY as usize, "{} entries", keyed.limiter.len());
    }

    #[test]
    fn an_ipv6_customer_is_one_address() {
        let ip = |text: &str| network(text.parse().unwrap());
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1:2:3"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        assert_eq!(ip("::ffff:10.0.0.1"), ip("10.0.0.1"));
        assert_ne!(ip("10.0.0.1"), ip("10.0.0.2"));
    }
}
