//! The report as one page: a table, and for every workload its latency by percentile and its speed over time. No script, no
//! outside files.

use std::fmt::Write as _;

use super::plot::{Plot, Scale, Series, colour, escape};
use super::report::{Report, Row, Run, bytes, number};

/// Workloads that get plots; the table has all.
const PLOTS_MAX: usize = 100;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#222;background:#fff}\
h1{font-size:1.5em}h2{font-size:1.1em;margin:2em 0 .3em}table{border-collapse:collapse;font-size:13px;width:100%}\
th,td{padding:.28em .6em;text-align:right;border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums;vertical-align:top}\
th:first-child,td:first-child{text-align:left}th{background:#f4f4f4}small{color:#666}.bad{color:#b00020;font-weight:600}\
svg{margin:.3em .6em 0 0;max-width:100%;height:auto}svg .t{font:600 12px system-ui,sans-serif;fill:#222}\
svg .n{font:10px system-ui,sans-serif;fill:#666}svg .g{stroke:#e4e4e4;fill:none}.k{display:inline-block;width:.8em;height:.8em;\
border-radius:2px;margin:0 .35em 0 .9em}.bar{height:.55em;border-radius:2px;margin-top:.2em}\
@media (prefers-color-scheme:dark){body{background:#161616;color:#ddd}th{background:#222}th,td{border-color:#333}small{color:#999}\
svg .t{fill:#ddd}svg .n{fill:#999}svg .g{stroke:#333}}";

pub(super) fn page(report: &Report) -> String {
    let mut out = String::from("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>hearth bench</title><style>");
    out.push_str(STYLE);
    out.push_str("</style></head><body><h1>hearth bench</h1>");
    let labels = labels(report);
    report.runs.iter().for_each(|run| surroundings(&mut out, run));
    table(&mut out, report, &labels);
    for workload in workloads(report).into_iter().take(PLOTS_MAX) {
        section(&mut out, report, workload, &labels);
    }
    out.push_str("</body></html>\n");
    out
}

fn surroundings(out: &mut String, run: &Run) {
    let when = jiff::Timestamp::from_second(i64::try_from(run.started_s).unwrap_or(0)).map(|at| at.to_string());
    let _ = write!(
        out,
        "<p><b>{}</b> at {}: {}, seed {}, medians of {}, {} loader thread(s), {} cores, Linux {}, {}</p>",
        escape(&run.label),
        escape(&run.url),
        escape(&when.unwrap_or_default()),
        run.seed,
        run.repeats,
        run.loader_threads,
        run.cores,
        escape(&run.kernel),
        escape(&run.generator)
    );
}

/// Labels in order of appearance: each has its colour on the whole page.
fn labels(report: &Report) -> Vec<&str> {
    let mut labels = Vec::new();
    for row in &report.rows {
        if !labels.contains(&row.label.as_str()) {
            labels.push(row.label.as_str());
        }
    }
    labels
}

fn workloads(report: &Report) -> Vec<&str> {
    let mut names = Vec::new();
    for row in &report.rows {
        if !names.contains(&row.workload.as_str()) {
            names.push(row.workload.as_str());
        }
    }
    names
}

fn table(out: &mut String, report: &Report, labels: &[&str]) {
    out.push_str("<table><tr><th>workload<th>per second<th>min to max<th>p50 ms<th>p90 ms<th>p99 ms<th>p99.9 ms<th>max ms");
    out.push_str("<th>relay CPU, µs each<th>relay memory<th>loader CPU, µs each<th>failed</tr>");
    for workload in workloads(report) {
        let rows: Vec<&Row> = report.rows.iter().filter(|row| row.workload == workload).collect();
        let best = rows.iter().map(|row| row.per_second).fold(0.0, f64::max);
        rows.iter().for_each(|row| line(out, row, labels, best));
    }
    out.push_str("</table>");
}

fn line(out: &mut String, row: &Row, labels: &[&str], best: f64) {
    let index = labels.iter().position(|label| *label == row.label).unwrap_or(0);
    let width = if best > 0.0 { 100.0 * row.per_second / best } else { 0.0 };
    let name = if labels.len() > 1 { format!("{}: {}", row.label, row.workload) } else { row.workload.clone() };
    let _ = write!(out, "<tr><td>{}", escape(&name));
    for remark in row.remarks() {
        let _ = write!(out, "<br><small>{}</small>", escape(&remark));
    }
    let _ = write!(
        out,
        "<td>{:.0}<div class=\"bar\" style=\"width:{width:.0}%;background:{}\"></div><td>{:.0} to {:.0}",
        row.per_second,
        colour(index),
        row.per_second_min,
        row.per_second_max
    );
    for latency in [row.p50_ms, row.p90_ms, row.p99_ms, row.p999_ms, row.max_ms] {
        let _ = write!(out, "<td>{}", number(latency, 3));
    }
    let memory = row.server_rss_bytes.map_or_else(|| "-".to_owned(), bytes);
    let class = if row.failed > 0 { " class=\"bad\"" } else { "" };
    let _ = write!(
        out,
        "<td>{}<td>{memory}<td>{}<td{class}>{}</tr>",
        number(row.server_cpu_us_per_op, 1),
        number(row.client_cpu_us_per_op, 1),
        row.failed
    );
}

fn section(out: &mut String, report: &Report, workload: &str, labels: &[&str]) {
    let series = |points: fn(&Row) -> Vec<(f64, f64)>| -> Vec<Series> {
        // One series per label, in the labels' order, so that colours agree; the last run of a label counts.
        let row = |label: &&str| report.rows.iter().rev().find(|row| row.workload == workload && row.label == **label);
        let points = |label: &&str| row(label).map(points).unwrap_or_default();
        labels.iter().map(|label| Series { name: (*label).to_owned(), points: points(label) }).collect()
    };
    let latency = series(|row| row.curve.iter().map(|(above, ms)| (1.0 / above, *ms)).collect());
    let speed = series(|row| row.timeline.clone());
    if latency.iter().all(|series| series.points.is_empty()) {
        return;
    }
    let _ = write!(out, "<h2>{}</h2>", escape(workload));
    if labels.len() > 1 {
        for (index, series) in latency.iter().enumerate().filter(|(_, series)| !series.points.is_empty()) {
            let _ = write!(out, "<span class=\"k\" style=\"background:{}\"></span>{}", colour(index), escape(&series.name));
        }
        out.push_str("<br>");
    }
    let marks =
        [(1.0, "0"), (2.0, "50 %"), (10.0, "90 %"), (100.0, "99 %"), (1e3, "99.9 %"), (1e4, "99.99 %"), (1e5, "99.999 %")];
    let plot = Plot {
        title: "latency, ms, by percentile",
        x_name: "percentile",
        x_scale: Scale::Log,
        y_scale: Scale::Log,
        series: &latency,
        x_marks: &marks,
    };
    out.push_str(&plot.to_svg());
    if speed.iter().any(|series| series.points.len() > 2) {
        let title = "operations per second over time";
        let (x_scale, y_scale) = (Scale::Linear, Scale::Linear);
        out.push_str(&Plot { title, x_name: "seconds", x_scale, y_scale, series: &speed, x_marks: &[] }.to_svg());
    }
}
