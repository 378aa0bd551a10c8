//! CPU time and memory of a process, from /proc.

use std::time::Duration;

/// What a process has used so far.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Usage {
    pub(super) cpu: Duration,
    pub(super) rss_bytes: u64,
    pub(super) peak_bytes: u64,
    pub(super) written_bytes: u64,
}

/// Reads a process's usage; `None` where there is no such process or no /proc.
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command may hold spaces and brackets: count fields after the last ')'.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    Some(Usage {
        // Linux reports in hundredths of a second; its clocks of processes count nanoseconds.
        cpu: cpu_clock(pid).unwrap_or(Duration::from_millis(ticks * 10)),
        rss_bytes: kilobytes(&status, "VmRSS:"),
        peak_bytes: kilobytes(&status, "VmHWM:"),
        // Only root and the owner may read this; 0 elsewhere.
        written_bytes: written(pid).unwrap_or(0),
    })
}

/// Several processes as one; `None` without any, or if one of them is gone.
pub(super) fn usage_of(pids: &[u32]) -> Option<Usage> {
    let all: Option<Vec<Usage>> = pids.iter().map(|&pid| usage(pid)).collect();
    all?.into_iter().reduce(|sum, one| Usage {
        cpu: sum.cpu + one.cpu,
        rss_bytes: sum.rss_bytes + one.rss_bytes,
        peak_bytes: sum.peak_bytes + one.peak_bytes,
        written_bytes: sum.written_bytes + one.written_bytes,
    })
}

fn kilobytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kilobytes| kilobytes * 1_024)
}

fn written(pid: u32) -> Option<u64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}

/// CPU time of a process, all threads, those that have ended too.
fn cpu_clock(pid: u32) -> Option<Duration> {
    let pid = libc::pid_t::try_from(pid).ok()?;
    let mut clock: libc::clockid_t = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both calls only write to the valid, exclusive places they are given.
    #[expect(unsafe_code, reason = "clocks of other processes have no safe form in the standard library")]
    let read = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) == 0 && libc::clock_gettime(clock, &raw mut time) == 0 };
    let time = Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    read.then_some(time)
}

/// CPU time of this process.
pub(super) fn own_cpu() -> Duration {
    usage(std::process::id()).map_or(Duration::ZERO, |usage| usage.cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_processes_are_summed_and_none_may_be_missing() {
        let own = std::process::id();
        let one = usage_of(&[own]).unwrap();
        let twice = usage_of(&[own, own]).unwrap();
        assert!(one.rss_bytes > 0 && twice.peak_bytes >= 2 * one.peak_bytes, "{one:?} {twice:?}");
        assert!(twice.cpu >= one.cpu * 2);
        assert!(usage_of(&[]).is_none() && usage_of(&[own, u32::MAX]).is_none());
    }
}
