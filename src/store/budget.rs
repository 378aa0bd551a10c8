//! How long a slice of reading may go on.

use std::time::Instant;

/// Units between two looks at the clock; a unit is about one index row (0.2 µs).
const UNITS_PER_LOOK: u32 = 64;
/// Units of going to a key that is somewhere else.
pub(super) const SEEK: u32 = 12;
/// Units of fetching one event or looking up one key.
pub(super) const FETCH: u32 = 8;

/// Counts work and looks at the clock now and then. A fresh budget lets some work through whatever the time is, so a scan
/// that is called again and again always ends.
pub(super) struct Budget {
    deadline: Instant,
    left: u32,
    over: bool,
}

impl Budget {
    pub(super) fn until(deadline: Instant) -> Self {
        Self { deadline, left: UNITS_PER_LOOK, over: false }
    }

    /// Counts work that is done; from then on [`Budget::is_over`] may be true.
    pub(super) fn spend(&mut self, units: u32) {
        match self.left.checked_sub(units) {
            Some(left) => self.left = left,
            None => {
                self.left = UNITS_PER_LOOK;
                self.over = Instant::now() >= self.deadline;
            }
        }
    }

    /// Whether to stop here.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}
