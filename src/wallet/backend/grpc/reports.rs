//! The wallet's events on their way into the journal: handed on in order, acknowledged in any, and a cursor that moves only over
//! what is safe.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::super::Ack;

/// Most events that may wait to be written down. The stream is not read further until one of them is.
pub(super) const UNACKNOWLEDGED_MAX: usize = 256;

/// Which events are safe.
#[derive(Default)]
pub(super) struct Reports {
    line: Mutex<Line>,
    moved: Notify,
}

#[derive(Default)]
struct Line {
    /// Number of the first in `waiting`.
    first: u64,
    /// Cursors in order, and whether what they name is safe.
    waiting: VecDeque<(String, bool)>,
    /// The last cursor before which everything is safe.
    safe: Option<String>,
    /// How often everything was begun anew: what is acknowledged of an earlier time says nothing.
    era: u64,
}

impl Reports {
    /// Takes an event of an era in; its acknowledgement moves the cursor once all before it are acknowledged too. One that is dropped
    /// without a call leaves the cursor where it is: the event comes again with the next stream.
    pub(super) fn hand_on(self: &Arc<Self>, era: u64, cursor: String) -> Ack {
        let mut line = self.line.lock();
        if era != line.era {
            return Box::new(|| ());
        }
        let number = line.first + line.waiting.len() as u64;
        line.waiting.push_back((cursor, false));
        let reports = Arc::clone(self);
        Box::new(move || reports.acknowledge(number))
    }

    fn acknowledge(&self, number: u64) {
        let mut line = self.line.lock();
        // Of an earlier connection: that event comes again.
        let Some(place) = number.checked_sub(line.first).and_then(|place| usize::try_from(place).ok()) else { return };
        let Some(entry) = line.waiting.get_mut(place) else { return };
        entry.1 = true;
        while line.waiting.front().is_some_and(|(_, is_safe)| *is_safe) {
            line.safe = line.waiting.pop_front().map(|(cursor, _)| cursor);
            line.first += 1;
        }
        self.moved.notify_one();
    }

    /// Forgets what waits: the stream starts again behind the last safe cursor. The era of that stream.
    pub(super) fn start_again(&self) -> u64 {
        let mut line = self.line.lock();
        line.forget();
        line.era
    }

    /// Forgets what is safe as well: the next stream starts at the beginning, and nothing of the present one counts any more.
    pub(super) fn begin_anew(&self) {
        let mut line = self.line.lock();
        line.forget();
        line.safe = None;
        line.era += 1;
    }

    /// Whether another event may be read.
    pub(super) fn has_room(&self) -> bool {
        self.line.lock().waiting.len() < UNACKNOWLEDGED_MAX
    }

    /// The last safe cursor that was not asked for yet.
    pub(super) fn take_safe(&self) -> Option<String> {
        self.line.lock().safe.take()
    }

    /// Resolves when something was acknowledged since the last time.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }
}

impl Line {
    fn forget(&mut self) {
        self.first += self.waiting.len() as u64;
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_passes_only_what_is_safe_in_whatever_order_it_becomes_so() {
        let reports = Arc::new(Reports::default());
        let acks: Vec<Ack> = (1..=4).map(|number| reports.hand_on(0, number.to_string())).collect();
        let mut acks: Vec<Option<Ack>> = acks.into_iter().map(Some).collect();
        let mut ack = |at: usize| acks[at].take().unwrap()();
        ack(1);
        assert_eq!(reports.take_safe(), None);
        ack(0);
        assert_eq!(reports.take_safe().as_deref(), Some("2"));
        ack(3);
        assert_eq!(reports.take_safe(), None, "3 is not safe");
        ack(2);
        assert_eq!(reports.take_safe().as_deref(), Some("4"));
    }

    #[test]
    fn one_that_is_never_acknowledged_holds_the_cursor_and_then_the_stream() {
        let reports = Arc::new(Reports::default());
        drop(reports.hand_on(0, "lost".to_owned()));
        for number in 1..UNACKNOWLEDGED_MAX {
            assert!(reports.has_room());
            reports.hand_on(0, number.to_string())();
        }
        assert!(!reports.has_room());
        assert_eq!(reports.take_safe(), None);
    }

    #[test]
    fn acknowledgements_of_an_earlier_stream_move_nothing() {
        let reports = Arc::new(Reports::default());
        let old = reports.hand_on(0, "1".to_owned());
        reports.start_again();
        let new = reports.hand_on(0, "1".to_owned());
        old();
        assert_eq!(reports.take_safe(), None);
        new();
        assert_eq!(reports.take_safe().as_deref(), Some("1"));
    }

    #[test]
    fn once_everything_is_begun_anew_nothing_from_before_is_safe() {
        let reports = Arc::new(Reports::default());
        let era = reports.start_again();
        let before = reports.hand_on(era, "7".to_owned());
        drop(reports.hand_on(era, "8".to_owned()));
        before();
        reports.begin_anew();
        assert_eq!(reports.take_safe(), None);
        // The old stream still tells something.
        reports.hand_on(era, "9".to_owned())();
        assert_eq!(reports.take_safe(), None);
        let era = reports.start_again();
        reports.hand_on(era, "1".to_owned())();
        assert_eq!(reports.take_safe().as_deref(), Some("1"));
    }
}
