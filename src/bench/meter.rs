//! Measuring one round: latencies, wall time, CPU time and memory of the relay and of the load generator.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::process::{self, Usage};

/// Quantiles that a report draws, as powers of ten of what lies above: 0 is the median's left, 5 is 99.999 %.
const CURVE_POINTS: u32 = 50;

/// Latencies in microseconds, 3 significant digits, 1 µs to 2 minutes.
pub(super) struct Latency(Option<Histogram<u64>>);

impl Latency {
    pub(super) fn new() -> Self {
        // `None` only if the constant bounds were refused; then nothing is recorded and every quantile reads as not a number.
        Self(Histogram::new_with_bounds(1, 120_000_000, 3).ok())
    }

    pub(super) fn record(&mut self, latency: Duration) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
        }
    }

    fn merge(&mut self, other: &Self) {
        if let (Some(histogram), Some(other)) = (&mut self.0, &other.0) {
            // Same bounds on both sides, so adding cannot fail.
            let _ = histogram.add(other);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds of one run fit a double")]
    pub(super) fn ms(&self, quantile: f64) -> f64 {
        match &self.0 {
            Some(histogram) if !histogram.is_empty() => histogram.value_at_quantile(quantile) as f64 / 1_000.0,
            _ => f64::NAN,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds of one run fit a double")]
    pub(super) fn max_ms(&self) -> f64 {
        self.0.as_ref().map_or(f64::NAN, |histogram| histogram.max() as f64 / 1_000.0)
    }

    /// Points (share above, milliseconds) from the fastest to the slowest, evenly spaced on a logarithmic scale of the share above.
    pub(super) fn curve(&self) -> Vec<(f64, f64)> {
        if self.count() == 0 {
            return Vec::new();
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of one run fits a double")]
        let finest = 1.0 / self.count() as f64;
        let shares = (0..=CURVE_POINTS).map(|point| 10_f64.powf(-f64::from(point) / 10.0)).take_while(|share| *share >= finest);
        shares.map(|above| (above, self.ms(1.0 - above))).collect()
    }
}

/// What one kind of operation did in one round.
pub(super) struct Tally {
    pub(super) done: u64,
    pub(super) failed: u64,
    /// Events that came back.
    pub(super) events: u64,
    pub(super) latency: Latency,
    /// Until the first event of a query.
    pub(super) first: Latency,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { done: 0, failed: 0, events: 0, latency: Latency::new(), first: Latency::new() }
    }

    /// All of them as one.
    pub(super) fn sum(tallies: &[Self]) -> Self {
        let mut sum = Self::new();
        for tally in tallies {
            sum.done += tally.done;
            sum.failed += tally.failed;
            sum.events += tally.events;
            sum.latency.merge(&tally.latency);
            sum.first.merge(&tally.first);
        }
        sum
    }
}

/// One round of a workload.
pub(super) struct Round {
    pub(super) elapsed: Duration,
    pub(super) tallies: Vec<Tally>,
    pub(super) client_cpu: Duration,
    /// The relay before and after.
    pub(super) server: Option<(Usage, Usage)>,
    /// How far behind its schedule the load generator sent (open loop).
    pub(super) lag: Latency,
    /// Operations done at moments of the round, for a plot over time.
    pub(super) timeline: Vec<(Duration, u64)>,
    /// What the relay said to the first failure.
    pub(super) words: Option<String>,
}

impl Round {
    pub(super) fn operations(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.done).sum()
    }

    pub(super) fn failures(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.failed).sum()
    }

    pub(super) fn server_cpu(&self) -> Option<Duration> {
        self.server.map(|(before, after)| after.cpu.saturating_sub(before.cpu))
    }

    pub(super) fn written_bytes(&self) -> Option<u64> {
        self.server.map(|(before, after)| after.written_bytes.saturating_sub(before.written_bytes))
    }
}

/// Measures CPU and wall time around a piece of work.
pub(super) struct Meter {
    started: Instant,
    client_cpu: Duration,
    server_pids: Vec<u32>,
    server: Option<Usage>,
}

impl Meter {
    pub(super) fn start(server_pids: &[u32]) -> Self {
        let server = process::usage_of(server_pids);
        Self { started: Instant::now(), client_cpu: process::own_cpu(), server_pids: server_pids.to_vec(), server }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    pub(super) fn stop(self, tallies: Vec<Tally>) -> Round {
        let elapsed = self.started.elapsed();
        let server = self.server.zip(process::usage_of(&self.server_pids));
        let client_cpu = process::own_cpu().saturating_sub(self.client_cpu);
        Round { elapsed, tallies, client_cpu, server, lag: Latency::new(), timeline: Vec::new(), words: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_curve_are_of_what_was_recorded() {
        let mut latency = Latency::new();
        for ms in 1..=1_000 {
            latency.record(Duration::from_millis(ms));
        }
        assert!((latency.ms(0.5) / 500.0 - 1.0).abs() < 0.002 && (latency.ms(0.99) / 990.0 - 1.0).abs() < 0.002);
        let curve = latency.curve();
        assert!(curve.windows(2).all(|pair| pair[0].1 <= pair[1].1) && curve.len() == 31, "{curve:?}");
        assert!(Latency::new().ms(0.5).is_nan() && Latency::new().curve().is_empty());
    }

    #[test]
    fn a_meter_sees_its_own_process() {
        let meter = Meter::start(&[std::process::id()]);
        let mut spent = 0_u64;
        while meter.started().elapsed() < Duration::from_millis(60) {
            spent = spent.wrapping_mul(31).wrapping_add(1);
        }
        let round = meter.stop(vec![Tally::new()]);
        assert!(round.client_cpu >= Duration::from_millis(20) && spent != 0);
        let (_, after) = round.server.unwrap();
        assert!(after.rss_bytes > 1_000_000 && after.peak_bytes >= after.rss_bytes / 2);
    }
}
