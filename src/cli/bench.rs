//! `hearth bench`: loads a relay or a wallet and says what was measured.

use crate::bench::{self, Workload};

/// Runs one workload; the exit code of the process.
pub(super) fn run(workload: &Workload) -> u8 {
    match bench::run(workload) {
        Ok(report) if workload.json() => super::say(&report.to_json()),
        Ok(report) => super::say(report.to_table().trim_end()),
        Err(error) => {
            super::complain(&error.to_string());
            return super::EXIT_FAILED;
        }
    }
    0
}
