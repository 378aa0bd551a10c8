//! Whether the wall clock can be believed: it is compared with a clock that only goes forward.
//!
//! A jump of more than a minute back or more than an hour ahead is a doubt. While there is one, budgets stay in their period and
//! nobody's waiting inside is over. It ends when the clock is where it should be again, or has been steady for ten minutes. (A
//! machine that slept for more than an hour looks the same: its steady clock stood still.)

use super::payment::Input;

/// Back by more than this is a jump.
const BACK_MS: i128 = 60_000;
/// Ahead by more than this is a jump.
const AHEAD_MS: i128 = 3_600_000;
/// Steady for so long, a clock is believed.
const STEADY_MS: u64 = 600_000;

/// What a look at the clock may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// It jumped; the last moment that is believed, unix ms.
    Doubted(u64),
    /// It is believed again.
    Believed,
}

/// What the core has to hear after a look: the word of the start too, while nobody has heard it. A clock that was wrong at the start may
/// be right at the first look, and must not be doubted for ever.
pub(super) fn words(at_start: &mut Option<Word>, now: Option<Word>) -> impl Iterator<Item = Word> {
    at_start.take().into_iter().chain(now)
}

impl From<Word> for Input {
    fn from(word: Word) -> Self {
        match word {
            Word::Doubted(frozen_at_ms) => Self::Clock { frozen_at_ms: Some(frozen_at_ms) },
            Word::Believed => Self::Clock { frozen_at_ms: None },
        }
    }
}

/// Both clocks at one moment, in ms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Moment {
    wall: u64,
    steady: u64,
}

impl Moment {
    /// How far the wall clock is from where it should be now.
    fn drift(self, now: Self) -> i128 {
        (i128::from(now.wall) - i128::from(self.wall)) - (i128::from(now.steady) - i128::from(self.steady))
    }

    fn agrees(self, now: Self) -> bool {
        (-BACK_MS..=AHEAD_MS).contains(&self.drift(now))
    }
}

/// Watches the wall clock.
#[derive(Clone, Debug)]
pub(super) struct ClockWatch {
    /// Believed; renewed every ten minutes, so that small corrections do not add up to a jump.
    base: Moment,
    last_wall: u64,
    /// Since the jump.
    doubted: Option<Moment>,
}

impl ClockWatch {
    /// At start. `latest_ms` is the latest time in the journal; `was_doubted` where the journal ends in a doubt.
    pub(super) fn new(wall: u64, steady: u64, latest_ms: u64, was_doubted: bool) -> (Self, Option<Word>) {
        let now = Moment { wall, steady };
        let is_back = i128::from(wall) + BACK_MS < i128::from(latest_ms);
        let base = if is_back { Moment { wall: latest_ms, steady } } else { now };
        let watch = Self { base, last_wall: base.wall, doubted: (is_back || was_doubted).then_some(now) };
        (watch, (is_back && !was_doubted).then_some(Word::Doubted(latest_ms)))
    }

    /// To be called often, at least once a minute.
    pub(super) fn look(&mut self, wall: u64, steady: u64) -> Option<Word> {
        let now = Moment { wall, steady };
        let last_wall = std::mem::replace(&mut self.last_wall, wall);
        let Some(since) = self.doubted else {
            if !self.base.agrees(now) {
                self.doubted = Some(now);
                return Some(Word::Doubted(last_wall));
            }
            if now.steady.saturating_sub(self.base.steady) >= STEADY_MS {
                self.base = now;
            }
            return None;
        };
        if !since.agrees(now) {
            // Another jump: home, or further away.
            self.doubted = Some(now);
        }
        let is_home = !since.agrees(now) && self.base.agrees(now);
        let is_steady = since.agrees(now) && now.steady.saturating_sub(since.steady) >= STEADY_MS;
        if is_home || is_steady {
            (self.base, self.doubted) = (now, None);
            return Some(Word::Believed);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: u64 = 1_800_000_000_000;
    const HOUR: u64 = 3_600_000;

    /// Steps of wall and steady clock, and what each says.
    fn check(name: &str, steps: &[(i64, u64, Option<Word>)]) {
        let (mut watch, word) = ClockWatch::new(T, 5_000, 0, false);
        assert_eq!(word, None);
        let (mut wall, mut steady) = (T, 5_000);
        for (at, (wall_by, steady_by, expected)) in steps.iter().enumerate() {
            wall = wall.checked_add_signed(*wall_by).unwrap();
            steady += steady_by;
            assert_eq!(watch.look(wall, steady), *expected, "{name}, step {at}");
        }
    }

    #[test]
    fn jumps_are_seen_and_small_corrections_are_not() {
        let day = 24 * HOUR as i64;
        let decade = 3_652 * day;
        check("steady", &[(500, 500, None), (600_000, 600_000, None), (HOUR as i64, HOUR, None)]);
        check("a minute back", &[(-59_500, 500, None), (-1_000, 500, Some(Word::Doubted(T - 59_500)))]);
        check("less than an hour ahead", &[(HOUR as i64, 500, None)]);
        check("more than an hour ahead", &[(HOUR as i64 + 501, 500, Some(Word::Doubted(T)))]);
        check("a day ahead, and home", &[(day, 0, Some(Word::Doubted(T))), (500, 500, None), (-day, 0, Some(Word::Believed))]);
        check(
            "ten years ahead for ten minutes",
            &[
                (decade, 0, Some(Word::Doubted(T))),
                (599_999, 599_999, None),
                (1, 1, Some(Word::Believed)),
                (HOUR as i64, HOUR, None),
            ],
        );
        check(
            "again and again",
            &[
                (day, 0, Some(Word::Doubted(T))),
                (500_000, 500_000, None),
                (day, 0, None),
                (500_000, 500_000, None),
                (100_000, 100_000, Some(Word::Believed)),
            ],
        );
        check("frozen", &[(0, 60_001, Some(Word::Doubted(T)))]);
        check(
            "small steps within ten minutes add up",
            &[(-30_000, 1_000, None), (-30_000, 1_000, Some(Word::Doubted(T - 30_000)))],
        );
        check("small steps over hours do not", &[(570_000, 600_000, None), (570_000, 600_000, None), (570_000, 600_000, None)]);
    }

    /// Seed 8117 of the simulator: the second word was lost, and budgets never renewed again.
    #[test]
    fn a_clock_that_is_right_at_the_first_look_is_believed() {
        let (mut watch, mut at_start) = ClockWatch::new(T - 24 * HOUR, 0, T, false);
        let now = watch.look(T + 5, 5);
        let words: Vec<Word> = words(&mut at_start, now).collect();
        assert_eq!((words, at_start), (vec![Word::Doubted(T), Word::Believed], None));
    }

    #[test]
    fn a_clock_that_went_back_while_nobody_looked_is_seen_by_the_journal() {
        let (mut watch, word) = ClockWatch::new(0, 0, T, false);
        assert_eq!(word, Some(Word::Doubted(T)));
        assert_eq!(watch.look(600_000, 600_000), Some(Word::Believed));
        assert_eq!(ClockWatch::new(T - 60_000, 0, T, false).1, None);
        // The doubt of an earlier life goes on.
        let (mut watch, word) = ClockWatch::new(T + 5, 0, T, true);
        assert_eq!((word, watch.look(T + 10, 5)), (None, None));
        assert_eq!(watch.look(T + 600_005, 600_000), Some(Word::Believed));
    }
}
