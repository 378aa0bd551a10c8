//! What was measured, for people and for machines.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Rows of measurements.
#[derive(Default, Debug, serde::Serialize)]
pub struct Report {
    rows: Vec<Row>,
}

/// One measurement: the median of its repeats.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub(super) struct Row {
    pub(super) workload: String,
    /// Operations per second of wall time: median, and the smallest and largest repeat.
    pub(super) per_second: f64,
    pub(super) per_second_min: f64,
    pub(super) per_second_max: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server_cpu_us_per_op: Option<f64>,
    pub(super) client_cpu_us_per_op: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

/// One repeat.
pub(super) struct Sample {
    pub(super) operations: u64,
    pub(super) elapsed: Duration,
    pub(super) latency: Latency,
    pub(super) server_cpu: Option<Duration>,
    pub(super) client_cpu: Duration,
}

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

    pub(super) fn merge(&mut self, other: &Self) {
        if let (Some(histogram), Some(other)) = (&mut self.0, &other.0) {
            // Same bounds on both sides, so adding cannot fail.
            let _ = histogram.add(other);
        }
    }

    fn ms(&self, quantile: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of one run fit a double")]
        self.0.as_ref().map_or(f64::NAN, |histogram| histogram.value_at_quantile(quantile) as f64 / 1_000.0)
    }
}

impl Report {
    /// Adds the median of repeats as one row.
    pub(super) fn add(&mut self, workload: impl Into<String>, mut samples: Vec<Sample>, note: Option<String>) {
        samples.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return };
        let middle = &samples[samples.len() / 2];
        self.rows.push(Row {
            workload: workload.into(),
            per_second: rate(middle),
            per_second_min: rate(first),
            per_second_max: rate(last),
            p50_ms: middle.latency.ms(0.5),
            p99_ms: middle.latency.ms(0.99),
            server_cpu_us_per_op: middle.server_cpu.map(|cpu| per_operation_us(cpu, middle.operations)),
            client_cpu_us_per_op: per_operation_us(middle.client_cpu, middle.operations),
            note,
        });
    }

    /// For machines.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// For people.
    pub fn to_table(&self) -> String {
        let mut out = format!(
            "{:<44} {:>11} {:>21} {:>9} {:>9} {:>11} {:>11}\n",
            "workload", "per second", "(min to max)", "p50 ms", "p99 ms", "server us", "loader us"
        );
        for row in &self.rows {
            let spread = format!("{:.0} to {:.0}", row.per_second_min, row.per_second_max);
            let server = row.server_cpu_us_per_op.map_or_else(|| "-".to_owned(), |us| format!("{us:.1}"));
            let _ = writeln!(
                out,
                "{:<44} {:>11.0} {spread:>21} {:>9.3} {:>9.3} {server:>11} {:>11.1}",
                row.workload, row.per_second, row.p50_ms, row.p99_ms, row.client_cpu_us_per_op
            );
            if let Some(note) = &row.note {
                let _ = writeln!(out, "    {note}");
            }
        }
        out
    }
}

fn rate(sample: &Sample) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "operation counts of one run fit a double")]
    let operations = sample.operations as f64;
    operations / sample.elapsed.as_secs_f64().max(1e-9)
}

fn per_operation_us(cpu: Duration, operations: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "operation counts of one run fit a double")]
    let operations = operations.max(1) as f64;
    cpu.as_secs_f64() * 1e6 / operations
}

/// Measures CPU and wall time around a piece of work.
pub(super) struct Meter {
    started: std::time::Instant,
    client_cpu: Duration,
    server: Option<(u32, Duration)>,
}

impl Meter {
    pub(super) fn start(server_pid: Option<u32>) -> Self {
        let server = server_pid.and_then(|pid| super::process::usage(pid).map(|usage| (pid, usage.cpu)));
        Self { started: std::time::Instant::now(), client_cpu: super::process::own_cpu(), server }
    }

    pub(super) fn stop(self, operations: u64, latency: Latency) -> Sample {
        let elapsed = self.started.elapsed();
        let server_cpu =
            self.server.and_then(|(pid, before)| super::process::usage(pid).map(|now| now.cpu.saturating_sub(before)));
        let client_cpu = super::process::own_cpu().saturating_sub(self.client_cpu);
        Sample { operations, elapsed, latency, server_cpu, client_cpu }
    }
}
