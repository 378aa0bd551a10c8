//! What kind of world a seed gives: printed whole with every failure, because a seed alone says nothing to a reader.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::super::types::Renewal;

/// The world of a seed. Probabilities are in thousandths.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// Where it all comes from.
    pub(super) seed: u64,
    /// Things that happen before the world heals.
    pub(super) steps: usize,
    /// 3 to 8.
    pub(super) connections: u32,
    /// How many connections share an account.
    pub(super) sharing: u32,
    /// What each account has, msat.
    pub(super) balance: u64,
    /// Budget and renewal of each connection.
    pub(super) budgets: Vec<(u64, Renewal)>,
    /// Different invoices of others.
    pub(super) invoices: u64,
    /// The back end refuses a second payment of one hash.
    pub(super) refuses_second: bool,
    /// Orders that never arrive, streams that are cut, payments that look-ups do not find for a while.
    pub(super) bad_line: u32,
    /// Words that come twice.
    pub(super) twice: u32,
    /// Crashes at every single effect.
    pub(super) crash_at_effect: u32,
    /// Commits that end the process.
    pub(super) bad_commit: u32,
    /// The clock jumps by up to days, both ways.
    pub(super) jumps: bool,
    /// The back end lies about proofs, fees and failures.
    pub(super) lies: bool,
    /// The back end does nothing of itself before the world heals.
    pub(super) hangs: bool,
    /// The process ends often while orders are late or hidden, and the answers about them come late and twice.
    pub(super) restless: bool,
}

impl Options {
    /// A world in which payments are driven again, and what was said of them before arrives afterwards.
    fn restless(self) -> Self {
        Self {
            refuses_second: true,
            bad_line: 100,
            twice: 400,
            crash_at_effect: 20,
            lies: false,
            hangs: false,
            invoices: 4,
            ..self
        }
    }

    /// The options of a seed, and the dice for what follows.
    pub(super) fn of(seed: u64) -> (Self, ChaCha8Rng) {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let connections = dice.random_range(3..=8);
        let budgets = (0..connections)
            .map(|_| {
                let renewal = [Renewal::Never, Renewal::Never, Renewal::Daily, Renewal::Weekly][dice.random_range(0..4)];
                (dice.random_range(30_000..90_000), renewal)
            })
            .collect();
        let options = Self {
            seed,
            steps: dice.random_range(60..220),
            connections,
            sharing: dice.random_range(1..=3),
            balance: dice.random_range(60_000..200_000),
            budgets,
            invoices: dice.random_range(2..12),
            refuses_second: dice.random(),
            bad_line: [0, 100, 300][dice.random_range(0..3)],
            twice: [0, 150][dice.random_range(0..2)],
            crash_at_effect: [0, 10, 60][dice.random_range(0..3)],
            bad_commit: [0, 20, 80][dice.random_range(0..3)],
            jumps: dice.random_bool(0.3),
            lies: dice.random_bool(0.25),
            hangs: dice.random_bool(0.1),
            restless: dice.random_bool(0.25),
        };
        let options = if options.restless { options.restless() } else { options };
        (options, dice)
    }
}
