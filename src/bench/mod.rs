//! `hearth bench`: a load generator for any relay and any wallet service that speaks NIP-47.
//!
//! It is a client and nothing else: it knows the wire format and imports no part of the server, so that what it measures on
//! another relay and on hearth is the same. Everything that is sent is made and signed before the clock starts, and what comes
//! back is matched without being parsed, so that the generator takes little of the machine that it shares with the relay; what it
//! takes stands in every row. The parts: [`args`] (the command line), `data` (events of a seed), `socket` and `endpoint` (a lean
//! WebSocket client), `answer` (reading what a relay says), `engine` (closed and open loop), `runner` (rounds), one file a
//! workload, `report` with `html`, and `compare`.

pub mod args;

mod answer;
mod book;
mod compare;
mod data;
mod endpoint;
mod engine;
mod error;
mod fanout;
mod html;
mod idle;
mod ledger;
mod meter;
mod mixed;
mod neighbours;
mod nwc;
mod outside;
mod plot;
mod process;
mod profile;
mod progress;
mod publish;
mod query;
mod report;
mod runner;
mod service;
mod socket;
mod timer;
mod wallet;
mod wire;

#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::Path;

pub use args::Workload;
pub use error::ClientError;
pub use report::Report;

/// Runs one workload on a runtime of its own, with as many threads as it asks for, and returns what was measured.
pub fn run(workload: &Workload) -> Result<Report, ClientError> {
    let threads = workload.target().map_or(1, |target| target.threads.max(1));
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(threads).enable_all().build().map_err(ClientError::Start)?;
    runtime.block_on(run_here(workload))
}

/// Runs one workload on the caller's runtime.
pub async fn run_here(workload: &Workload) -> Result<Report, ClientError> {
    let report = match workload {
        Workload::Publish(args) => publish::run(args).await,
        Workload::Fill(args) => publish::fill(args).await,
        Workload::Query(args) => query::run(args).await,
        Workload::Fanout(args) => fanout::run(args).await,
        Workload::Idle(args) => idle::run(args).await,
        Workload::Nwc(args) => nwc::run(args).await,
        Workload::Outside(args) => outside::run(args).await,
        Workload::WalletService(args) => service::run(args).await,
        Workload::Mixed(args) => mixed::run(args).await,
        Workload::Report(args) => Report::read(&args.files).map(Report::combined),
    }?;
    let (out, html) = match workload {
        Workload::Report(args) => (None, args.html.as_deref()),
        other => other.target().map_or((None, None), |target| (target.out.as_deref(), target.html.as_deref())),
    };
    if let Some(path) = out {
        write(path, &report.to_json())?;
    }
    if let Some(path) = html {
        write(path, &report.to_html())?;
    }
    Ok(report)
}

fn write(path: &Path, text: &str) -> Result<(), ClientError> {
    let mut file = std::fs::File::create(path).map_err(ClientError::Output)?;
    file.write_all(text.as_bytes()).map_err(ClientError::Output)
}
