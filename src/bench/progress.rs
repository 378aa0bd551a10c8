//! What a person sees while a run goes on, and the samples of a plot over time.

use std::io::{IsTerminal, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::book::Book;

/// Time between two samples.
const SAMPLE: Duration = Duration::from_millis(100);
/// Samples between two lines on the terminal.
const SAMPLES_PER_LINE: u32 = 3;
/// Most samples of one round (20 minutes); later ones are not kept.
const SAMPLES_MAX: usize = 12_000;

/// Names the round that runs.
pub(super) struct Progress {
    what: String,
}

/// Samples of a round that is going on.
pub(super) struct Watch {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Vec<(Duration, u64)>>,
}

impl Progress {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }

    /// Says something about the set-up, on a terminal only.
    pub(super) fn say(&self, words: &str) {
        line(&format!("{}: {words}", self.what));
    }

    /// Starts watching a round.
    pub(super) fn watch(&self, book: &Arc<Book>, total: u64) -> Watch {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(sample(self.what.clone(), book.clone(), total, stopped));
        Watch { stop, task }
    }
}

impl Watch {
    pub(super) async fn end(self) -> Vec<(Duration, u64)> {
        // If the task is gone there is nothing to stop.
        let _ = self.stop.send(());
        self.task.await.unwrap_or_default()
    }
}

async fn sample(what: String, book: Arc<Book>, total: u64, mut stopped: oneshot::Receiver<()>) -> Vec<(Duration, u64)> {
    let start = Instant::now();
    let mut ticks = tokio::time::interval(SAMPLE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let (mut samples, mut count) = (Vec::new(), 0_u32);
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            _ = ticks.tick() => {}
        }
        let (elapsed, done) = (start.elapsed(), book.finished());
        if samples.len() < SAMPLES_MAX {
            samples.push((elapsed, done));
        }
        count += 1;
        if count.is_multiple_of(SAMPLES_PER_LINE) {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = done as f64 / elapsed.as_secs_f64().max(1e-3);
            line(&format!("{what}: {done} of {total}, {rate:.0}/s"));
        }
    }
    samples.push((start.elapsed(), book.finished()));
    clear();
    samples
}

/// Replaces the last line of a terminal; says nothing into files and pipes.
fn line(words: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        // A progress line that cannot be written is not worth stopping for.
        let _ = write!(stderr, "\r\x1b[K{words}");
        let _ = stderr.flush();
    }
}

fn clear() {
    line("");
}
