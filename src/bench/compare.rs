//! Several runs of the same workloads as one: the median of each relay's rounds, and how relays stand to the first of them.

use super::report::{Report, Row};

impl Report {
    /// One row for each workload and label, in the order in which they first came; where there are several labels, each row but
    /// the first of its workload says how it stands to that one.
    pub(super) fn combined(self) -> Self {
        let mut groups: Vec<Vec<Row>> = Vec::new();
        for row in self.rows {
            let same = |group: &Vec<Row>| (&group[0].workload, &group[0].label) == (&row.workload, &row.label);
            match groups.iter().position(same) {
                Some(place) => groups[place].push(row),
                None => groups.push(vec![row]),
            }
        }
        let mut rows: Vec<Row> = Vec::new();
        while !groups.is_empty() {
            let workload = groups[0][0].workload.clone();
            let of_workload: Vec<Vec<Row>> = groups.extract_if(.., |group| group[0].workload == workload).collect();
            let first = rows.len();
            for group in of_workload {
                let mut row = middle(group);
                if let Some(reference) = rows.get(first) {
                    row.note = Some(standing(&row, reference));
                }
                rows.push(row);
            }
        }
        Self { runs: self.runs, rows }
    }
}

/// The medians, column by column, and the spread of all rounds.
fn middle(mut group: Vec<Row>) -> Row {
    group.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let median = |column: &dyn Fn(&Row) -> Option<f64>| {
        let mut values: Vec<f64> = group.iter().filter_map(column).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    let mut row = group[group.len() / 2].clone();
    row.p50_ms = median(&|row| row.p50_ms);
    row.p90_ms = median(&|row| row.p90_ms);
    row.p99_ms = median(&|row| row.p99_ms);
    row.p999_ms = median(&|row| row.p999_ms);
    row.first_p50_ms = median(&|row| row.first_p50_ms);
    row.first_p99_ms = median(&|row| row.first_p99_ms);
    row.server_cpu_us_per_op = median(&|row| row.server_cpu_us_per_op);
    row.client_cpu_us_per_op = median(&|row| row.client_cpu_us_per_op);
    row.per_second_min = group.iter().map(|row| row.per_second_min).fold(f64::INFINITY, f64::min);
    row.per_second_max = group.iter().map(|row| row.per_second_max).fold(0.0, f64::max);
    row.per_second_each = group.iter().flat_map(|row| row.per_second_each.iter().copied()).collect();
    row.operations = group.iter().map(|row| row.operations).sum();
    row.failed = group.iter().map(|row| row.failed).sum();
    row.first_failure = group.iter().find_map(|row| row.first_failure.clone());
    row
}

fn standing(row: &Row, reference: &Row) -> String {
    let part = |what: &str, ours: Option<f64>, theirs: Option<f64>| match (ours, theirs) {
        (Some(ours), Some(theirs)) if theirs > 0.0 => format!(", {:.2} x its {what}", ours / theirs),
        _ => String::new(),
    };
    let rate = if reference.per_second > 0.0 { row.per_second / reference.per_second } else { 0.0 };
    let note = row.note.as_ref().map_or(String::new(), |note| format!("{note}; "));
    format!(
        "{note}against {}: {rate:.2} x its rate{}{}{}",
        reference.label,
        part("p50", row.p50_ms, reference.p50_ms),
        part("p99", row.p99_ms, reference.p99_ms),
        part("server CPU", row.server_cpu_us_per_op, reference.server_cpu_us_per_op)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &str, workload: &str, per_second: f64, p50_ms: f64) -> Row {
        Row {
            label: label.to_owned(),
            workload: workload.to_owned(),
            per_second,
            per_second_min: per_second - 1.0,
            per_second_max: per_second + 1.0,
            per_second_each: vec![per_second],
            p50_ms: Some(p50_ms),
            operations: 10,
            ..Row::default()
        }
    }

    #[test]
    fn rounds_of_a_relay_become_their_median_and_relays_are_compared_with_the_first() {
        let rows = vec![
            row("ours", "publish", 300.0, 1.0),
            row("theirs", "publish", 100.0, 8.0),
            row("ours", "publish", 100.0, 3.0),
            row("theirs", "publish", 150.0, 4.0),
            row("ours", "query", 5.0, 1.0),
            row("ours", "publish", 200.0, 2.0),
            row("theirs", "publish", 50.0, 5.0),
        ];
        let combined = Report { runs: Vec::new(), rows }.combined();
        let [ours, theirs, query] = &combined.rows[..] else { panic!("{:?}", combined.rows) };
        assert_eq!((ours.per_second, ours.p50_ms, ours.operations), (200.0, Some(2.0), 30));
        assert_eq!((ours.per_second_min, ours.per_second_max, ours.per_second_each.len()), (99.0, 301.0, 3));
        assert_eq!((theirs.per_second, theirs.p50_ms), (100.0, Some(5.0)));
        assert_eq!(theirs.note.as_deref(), Some("against ours: 0.50 x its rate, 2.50 x its p50"));
        assert_eq!((ours.note.as_deref(), query.note.as_deref(), query.per_second), (None, None, 5.0));
    }
}
