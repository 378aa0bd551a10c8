//! What was measured, for people and for machines.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::args::Target;
use super::error::ClientError;
use super::meter::{Latency, Round};

/// Rows of measurements, and what they were taken with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub(super) runs: Vec<Run>,
    pub(super) rows: Vec<Row>,
}

/// The surroundings of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) label: String,
    pub(super) url: String,
    pub(super) seed: u64,
    pub(super) repeats: usize,
    pub(super) started_s: u64,
    pub(super) generator: String,
    pub(super) loader_threads: usize,
    pub(super) cores: usize,
    pub(super) kernel: String,
}

/// One measurement: the repeat in the middle, and the spread of all.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) label: String,
    pub(super) workload: String,
    /// Operations per second of wall time: the median repeat, the extremes, and every repeat in order.
    pub(super) per_second: f64,
    pub(super) per_second_min: f64,
    pub(super) per_second_max: f64,
    pub(super) per_second_each: Vec<f64>,
    /// Latency of the median repeat.
    pub(super) p50_ms: Option<f64>,
    pub(super) p90_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) p999_ms: Option<f64>,
    pub(super) max_ms: Option<f64>,
    /// Until the first event of a query.
    pub(super) first_p50_ms: Option<f64>,
    pub(super) first_p99_ms: Option<f64>,
    /// Events that came back per second.
    pub(super) events_per_second: Option<f64>,
    /// How far behind its schedule the generator sent (open loop).
    pub(super) lag_p99_ms: Option<f64>,
    /// Over all repeats.
    pub(super) operations: u64,
    pub(super) failed: u64,
    pub(super) first_failure: Option<String>,
    pub(super) server_cpu_us_per_op: Option<f64>,
    pub(super) server_cpu_percent: Option<f64>,
    pub(super) server_rss_bytes: Option<u64>,
    pub(super) server_peak_rss_bytes: Option<u64>,
    pub(super) client_cpu_us_per_op: Option<f64>,
    pub(super) client_cpu_percent: Option<f64>,
    pub(super) note: Option<String>,
    /// Latency by the share of operations that took longer: (share, ms).
    pub(super) curve: Vec<(f64, f64)>,
    /// Operations per second over the time of the median repeat: (second, rate).
    pub(super) timeline: Vec<(f64, f64)>,
}

impl Report {
    pub(super) fn new(target: &Target) -> Self {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        let run = Run {
            label: target.label.clone(),
            url: target.url.clone(),
            seed: target.seed,
            repeats: target.repeats.max(1),
            started_s: super::data::now_s(),
            generator: concat!("hearth bench ", env!("CARGO_PKG_VERSION")).to_owned(),
            loader_threads: target.threads.max(1),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel,
        };
        Self { runs: vec![run], rows: Vec::new() }
    }

    /// Puts reports of earlier runs together.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, ClientError> {
        let mut all = Self { runs: Vec::new(), rows: Vec::new() };
        for path in files {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|error| ClientError::Input(name.clone(), error.to_string()))?;
            let one: Self = serde_json::from_str(&text).map_err(|error| ClientError::Input(name, error.to_string()))?;
            all.runs.extend(one.runs);
            all.rows.extend(one.rows);
        }
        Ok(all)
    }

    /// Adds one class of operations of all repeats as a row.
    pub(super) fn add(&mut self, workload: impl Into<String>, rounds: &[Round], class: usize, note: Option<String>) {
        let label = self.runs.first().map(|run| run.label.clone()).unwrap_or_default();
        if let Some(row) = Row::new(label, workload.into(), rounds, class, note) {
            self.rows.push(row);
        }
    }

    /// Says that the last row shares its round with others: what was measured of the whole round is not its own.
    pub(super) fn share_round(&mut self) {
        if let Some(row) = self.rows.last_mut() {
            (row.server_cpu_us_per_op, row.server_cpu_percent, row.server_rss_bytes) = (None, None, None);
            (row.client_cpu_us_per_op, row.client_cpu_percent, row.lag_p99_ms) = (None, None, None);
            (row.server_peak_rss_bytes, row.first_failure) = (None, row.first_failure.take().filter(|_| row.failed > 0));
            row.timeline.clear();
        }
    }

    /// As [`Report::add`], with what only queries have: events that came back, and the time until the first.
    pub(super) fn add_query(&mut self, workload: impl Into<String>, rounds: &[Round], class: usize, note: Option<String>) {
        let before = self.rows.len();
        self.add(workload, rounds, class, note);
        let (Some(row), Some(middle)) = (self.rows.get_mut(before), middle(rounds, class)) else { return };
        let tally = &middle.tallies[class];
        row.first_p50_ms = finite(tally.first.ms(0.5));
        row.first_p99_ms = finite(tally.first.ms(0.99));
        row.events_per_second = finite(ratio(tally.events, middle.elapsed.as_secs_f64()));
    }

    /// For machines.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// For people.
    pub fn to_table(&self) -> String {
        let several = self.runs.iter().any(|run| self.runs.first().is_some_and(|first| first.label != run.label));
        let name = |row: &Row| if several { format!("{}: {}", row.label, row.workload) } else { row.workload.clone() };
        let width = self.rows.iter().map(|row| name(row).chars().count()).max().unwrap_or(0).max(8);
        let mut out = format!(
            "{:<width$} {:>10} {:>19} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}\n",
            "workload", "per second", "(min to max)", "p50 ms", "p99 ms", "p99.9 ms", "server us", "loader us", "failed"
        );
        for row in &self.rows {
            let spread = format!("{:.0} to {:.0}", row.per_second_min, row.per_second_max);
            let _ = writeln!(
                out,
                "{:<width$} {:>10.0} {spread:>19} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}",
                name(row),
                row.per_second,
                number(row.p50_ms, 3),
                number(row.p99_ms, 3),
                number(row.p999_ms, 3),
                number(row.server_cpu_us_per_op, 1),
                number(row.client_cpu_us_per_op, 1),
                row.failed
            );
            for line in row.remarks() {
                let _ = writeln!(out, "    {line}");
            }
        }
        out
    }

    /// A page with plots, complete in itself.
    pub fn to_html(&self) -> String {
        super::html::page(self)
    }
}

impl Row {
    fn new(label: String, workload: String, rounds: &[Round], class: usize, note: Option<String>) -> Option<Self> {
        let middle = middle(rounds, class)?;
        let tally = middle.tallies.get(class)?;
        let each: Vec<f64> = rounds.iter().map(|round| rate(round, class)).collect();
        let ms = |quantile| finite(tally.latency.ms(quantile));
        let server_cpu = middle.server_cpu();
        // The relay's memory after the last repeat: it only grows.
        let server = rounds.last().and_then(|round| round.server).map(|(_, after)| after);
        Some(Self {
            label,
            workload,
            per_second: rate(middle, class),
            per_second_min: each.iter().copied().fold(f64::INFINITY, f64::min),
            per_second_max: each.iter().copied().fold(0.0, f64::max),
            per_second_each: each,
            p50_ms: ms(0.5),
            p90_ms: ms(0.9),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: (tally.latency.count() > 0).then(|| tally.latency.max_ms()),
            lag_p99_ms: finite(Latency::ms(&middle.lag, 0.99)),
            operations: rounds.iter().filter_map(|round| round.tallies.get(class)).map(|tally| tally.done).sum(),
            failed: rounds.iter().filter_map(|round| round.tallies.get(class)).map(|tally| tally.failed).sum(),
            first_failure: rounds.iter().find_map(|round| round.words.clone()),
            server_cpu_us_per_op: server_cpu.map(|cpu| per_operation_us(cpu, tally.done)),
            server_cpu_percent: server_cpu.map(|cpu| percent(cpu, middle.elapsed)),
            server_rss_bytes: server.map(|usage| usage.rss_bytes),
            server_peak_rss_bytes: server.map(|usage| usage.peak_bytes),
            client_cpu_us_per_op: Some(per_operation_us(middle.client_cpu, tally.done)),
            client_cpu_percent: Some(percent(middle.client_cpu, middle.elapsed)),
            note,
            curve: tally.latency.curve(),
            timeline: speeds(&middle.timeline),
            ..Self::default()
        })
    }

    /// What a person wants to know beside the columns.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.note.iter().cloned().collect();
        if let Some(events) = self.events_per_second {
            let (p50, p99) = (number(self.first_p50_ms, 3), number(self.first_p99_ms, 3));
            lines.push(format!("{events:.0} events/s came back; first event p50 {p50} ms, p99 {p99} ms"));
        }
        if let Some(lag) = self.lag_p99_ms {
            lines.push(format!("open loop: 99 % were sent within {lag:.3} ms of their moment"));
        }
        if let (true, Some(words)) = (self.failed > 0, &self.first_failure) {
            lines.push(format!("first failure: {words}"));
        }
        let loader = self.client_cpu_percent.map(|cpu| format!("loader {cpu:.0} % of one core"));
        lines.extend(loader.map(|loader| match (self.server_cpu_percent, self.server_rss_bytes) {
            (Some(cpu), Some(rss)) => format!("relay {cpu:.0} % of one core, {} resident; {loader}", bytes(rss)),
            _ => loader,
        }));
        lines
    }
}

/// The repeat with the median rate.
fn middle(rounds: &[Round], class: usize) -> Option<&Round> {
    let mut order: Vec<&Round> = rounds.iter().collect();
    order.sort_by(|a, b| rate(a, class).total_cmp(&rate(b, class)));
    order.get(order.len() / 2).copied()
}

fn rate(round: &Round, class: usize) -> f64 {
    ratio(round.tallies.get(class).map_or(0, |tally| tally.done), round.elapsed.as_secs_f64())
}

fn ratio(count: u64, by: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of one run fit a double")]
    let count = count as f64;
    count / by.max(1e-9)
}

fn percent(cpu: Duration, elapsed: Duration) -> f64 {
    cpu.as_secs_f64() * 100.0 / elapsed.as_secs_f64().max(1e-9)
}

fn per_operation_us(cpu: Duration, operations: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of one run fit a double")]
    let operations = operations.max(1) as f64;
    cpu.as_secs_f64() * 1e6 / operations
}

/// Samples of a counter as speeds between them.
fn speeds(samples: &[(Duration, u64)]) -> Vec<(f64, f64)> {
    let pairs = samples.windows(2).filter(|pair| pair[1].0 > pair[0].0 + Duration::from_millis(20));
    pairs
        .map(|pair| {
            let span = (pair[1].0 - pair[0].0).as_secs_f64();
            (pair[1].0.as_secs_f64(), ratio(pair[1].1.saturating_sub(pair[0].1), span))
        })
        .collect()
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

pub(super) fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// Bytes for people.
pub(super) fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a byte count for people")]
    let count = count as f64;
    match count {
        _ if count >= 1e9 => format!("{:.2} GB", count / 1e9),
        _ if count >= 1e6 => format!("{:.1} MB", count / 1e6),
        _ if count >= 1e3 => format!("{:.1} KB", count / 1e3),
        _ => format!("{count:.0} bytes"),
    }
}
