//! What all connections of a round write their results into.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::meter::{Latency, Tally};

/// Results of the round that runs.
pub(super) struct Book {
    page: Mutex<Page>,
    /// Operations finished, well or not: what the progress line shows.
    finished: AtomicU64,
}

struct Page {
    tallies: Vec<Tally>,
    lag: Latency,
    words: Option<String>,
}

/// What a finished round leaves.
pub(super) struct Results {
    pub(super) tallies: Vec<Tally>,
    pub(super) lag: Latency,
    pub(super) words: Option<String>,
}

/// A finished operation.
pub(super) struct Done {
    pub(super) class: usize,
    pub(super) latency: Duration,
    pub(super) first: Option<Duration>,
    pub(super) events: u64,
}

impl Book {
    pub(super) fn new(classes: usize) -> Self {
        let tallies = (0..classes).map(|_| Tally::new()).collect();
        Self { page: Mutex::new(Page { tallies, lag: Latency::new(), words: None }), finished: AtomicU64::new(0) }
    }

    pub(super) fn done(&self, done: &Done) {
        let mut page = self.page.lock();
        if let Some(tally) = page.tallies.get_mut(done.class) {
            tally.done += 1;
            tally.events += done.events;
            tally.latency.record(done.latency);
            if let Some(first) = done.first {
                tally.first.record(first);
            }
        }
        drop(page);
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts failures; the words of the first one are kept.
    pub(super) fn failed(&self, class: usize, count: u64, words: &str) {
        let mut page = self.page.lock();
        if let Some(tally) = page.tallies.get_mut(class) {
            tally.failed += count;
        }
        page.words.get_or_insert_with(|| words.chars().take(200).collect());
        drop(page);
        self.finished.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn lag(&self, lag: Duration) {
        self.page.lock().lag.record(lag);
    }

    pub(super) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Takes the results and leaves empty ones.
    pub(super) fn close(&self) -> Results {
        let mut page = self.page.lock();
        let empty = page.tallies.iter().map(|_| Tally::new()).collect();
        Results {
            tallies: std::mem::replace(&mut page.tallies, empty),
            lag: std::mem::replace(&mut page.lag, Latency::new()),
            words: page.words.take(),
        }
    }
}
