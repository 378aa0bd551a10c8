//! CPU time and memory of a process, from /proc.

use std::time::Duration;

/// What a process has used so far.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Usage {
    pub(super) cpu: Duration,
    pub(super) rss_bytes: u64,
    pub(super) written_bytes: u64,
}

/// Reads a process's usage; `None` where there is no such process or no /proc.
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command may hold spaces and brackets: count fields after the last ')'.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let pages: u64 = fields.get(21)?.parse().ok()?;
    Some(Usage {
        // Linux reports in hundredths of a second and, on the machines this runs on, pages of 4 KiB.
        cpu: Duration::from_millis(ticks * 10),
        rss_bytes: pages * 4096,
        written_bytes: written(pid).unwrap_or(0),
    })
}

fn written(pid: u32) -> Option<u64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}

/// CPU time of this process.
pub(super) fn own_cpu() -> Duration {
    usage(std::process::id()).map_or(Duration::ZERO, |usage| usage.cpu)
}
