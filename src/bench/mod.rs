//! `hearth bench`: a load generator for any relay and any wallet service that speaks NIP-47.
//!
//! It is a client and nothing else: it knows the wire format and imports no part of the server, so that what it measures on
//! another relay and on hearth is the same. Latencies are taken from the moment a message is handed to the socket to the moment
//! its answer has been read; closed loop with a window, so a slow server is never hidden by a slow client.

mod client;
mod data;
mod fanout;
mod idle;
mod process;
mod publish;
mod query;
mod report;
mod wallet;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

pub use client::ClientError;
pub use report::Report;

/// What every workload needs to know.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// The relay to load, ws://host:port
    #[arg(long, default_value = "ws://127.0.0.1:7777")]
    pub url: String,
    /// Process id of the relay, to report its CPU time and memory
    #[arg(long)]
    pub server_pid: Option<u32>,
    /// Seed of all random choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How often the workload is repeated; the median is reported
    #[arg(long, default_value_t = 3)]
    pub repeats: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Also write the JSON to this file
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// The workloads.
#[derive(Subcommand, Clone, Debug)]
pub enum Workload {
    /// Publish signed events and wait for every OK
    Publish {
        /// What to load and how to report
        #[command(flatten)]
        target: Target,
        /// Events of one repeat
        #[arg(long, default_value_t = 20_000)]
        events: usize,
        /// Connections that share the work
        #[arg(long, default_value_t = 8)]
        connections: usize,
        /// Events in flight on each connection
        #[arg(long, default_value_t = 32)]
        window: usize,
    },
    /// Fill the relay with events of the seed, so that queries have something to find
    Fill {
        /// What to load and how to report
        #[command(flatten)]
        target: Target,
        /// Events to store
        #[arg(long, default_value_t = 200_000)]
        events: usize,
    },
    /// Ask for stored events by ids, author, kind, tag and their combinations
    Query {
        /// What to load and how to report
        #[command(flatten)]
        target: Target,
        /// Events that `fill` stored with the same seed
        #[arg(long, default_value_t = 200_000)]
        stored: usize,
        /// Queries of one repeat and shape
        #[arg(long, default_value_t = 2_000)]
        queries: usize,
        /// Connections that share the work
        #[arg(long, default_value_t = 8)]
        connections: usize,
        /// Limits to ask with
        #[arg(long, value_delimiter = ',', default_values_t = [1_usize, 100, 500])]
        limits: Vec<usize>,
    },
    /// Publish to many live subscribers
    Fanout {
        /// What to load and how to report
        #[command(flatten)]
        target: Target,
        /// Connections that listen
        #[arg(long, default_value_t = 1_000)]
        subscribers: usize,
        /// Events of one repeat
        #[arg(long, default_value_t = 100)]
        events: usize,
        /// Each subscriber asks for something else and only one of them matches
        #[arg(long)]
        distinct: bool,
    },
    /// Hold idle connections with one subscription each and report their memory
    Idle {
        /// What to load and how to report
        #[command(flatten)]
        target: Target,
        /// Connections to hold
        #[arg(long, default_value_t = 5_000)]
        connections: usize,
    },
    /// Wallet round trips over a nostr+walletconnect:// URI
    Nwc {
        /// What to load and how to report
        #[command(flatten)]
        target: Target,
        /// Connection that asks (its relay is the one that is loaded); give it several times for several connections
        #[arg(long, required = true)]
        uri: Vec<String>,
        /// Connection that makes the invoices for pay_invoice
        #[arg(long)]
        payee: Option<String>,
        /// get_balance, make_invoice or pay_invoice
        #[arg(long, default_value = "get_balance")]
        method: String,
        /// Round trips of one repeat
        #[arg(long, default_value_t = 2_000)]
        requests: usize,
        /// Clients that ask at the same time, one request each
        #[arg(long, default_value_t = 1)]
        clients: usize,
    },
}

/// Runs one workload and returns what was measured.
pub async fn run(workload: Workload) -> Result<Report, ClientError> {
    let target = workload.target().clone();
    let report = match workload {
        Workload::Publish { events, connections, window, .. } => {
            publish::run(&target, events, connections.max(1), window.max(1)).await?
        }
        Workload::Fill { events, .. } => publish::fill(&target, events).await?,
        Workload::Query { stored, queries, connections, limits, .. } => {
            query::run(&target, &query::Plan { stored, queries, connections: connections.max(1), limits }).await?
        }
        Workload::Fanout { subscribers, events, distinct, .. } => fanout::run(&target, subscribers, events, distinct).await?,
        Workload::Idle { connections, .. } => idle::run(&target, connections).await?,
        Workload::Nwc { uri, payee, method, requests, clients, .. } => {
            wallet::run(&target, &wallet::Plan { uris: uri, payee, method, requests, clients: clients.max(1) }).await?
        }
    };
    if let Some(path) = &target.out {
        std::fs::write(path, report.to_json()).map_err(ClientError::Output)?;
    }
    Ok(report)
}

impl Workload {
    /// The part that every workload has.
    pub fn target(&self) -> &Target {
        match self {
            Self::Publish { target, .. }
            | Self::Fill { target, .. }
            | Self::Query { target, .. }
            | Self::Fanout { target, .. }
            | Self::Idle { target, .. }
            | Self::Nwc { target, .. } => target,
        }
    }
}

/// How long any single answer may take before the run is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
