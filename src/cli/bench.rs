//! `hearth bench`: the load generator, a client of any relay.

use std::io::Write;

use clap::Args;

use super::admin_client::CommandError;
use crate::bench::{self, Workload};

/// What to load with.
#[derive(Args, Debug)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    workload: Workload,
}

pub(super) async fn run(args: BenchArgs, out: &mut (dyn Write + Send)) -> Result<(), CommandError> {
    let as_json = args.workload.target().json;
    let report = Box::pin(bench::run(args.workload)).await.map_err(|error| CommandError::Failed(error.to_string()))?;
    let text = if as_json { report.to_json() + "\n" } else { report.to_table() };
    out.write_all(text.as_bytes())?;
    Ok(())
}
