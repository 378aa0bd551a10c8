//! The simulator of the payment core: the very core and the very turn that the product runs, in a world where the disk forgets, the back
//! end is late, silent, repeats itself or lies, clocks jump, and the process ends anywhere.
//!
//! * `choice`: everything that may happen, as values. `world`: what happens then. `checks`, `books`: the invariants I1 to I8, by a
//!   second bookkeeper who reads the records.
//! * `disk`, `node`, `incoming`: what outlives a crash.
//! * `random`, `options`: a run of a seed. `exhaustive`: every order of a small world.
//! * `suite`: the tests, and their figures.
//!
//! It is compiled into the tests of the library (`src/wallet/money/tests/mod.rs` names it by its path), because planted mistakes exist only
//! there. `SEED=7 cargo test --release --lib seeds_break -- --nocapture` tells one seed step by step. `SIM_SEEDS` sets how many run, `SIM_ALL=1`
//! goes on after the first that fails, `SIM_BUG=3` plants that mistake, `SIM_STATES` bounds the states of one small world.

/// Gives up with words where something does not hold.
macro_rules! ensure {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+));
        }
    };
}

mod books;
mod checks;
mod choice;
mod disk;
mod exhaustive;
mod incoming;
mod node;
mod options;
mod random;
mod suite;
mod world;

use super::support::msat;

/// What a check says: nothing, or what does not hold.
type Verdict<T = ()> = Result<T, String>;
