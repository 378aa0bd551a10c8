//! The command line of `hearth bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What every workload needs to know.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// The relay to load, ws://host:port or wss://host
    #[arg(long, default_value = "ws://127.0.0.1:7777")]
    pub url: String,
    /// PEM file of the authorities to trust for wss://, instead of the public ones
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// Process id of the relay, to report its CPU time, memory and disk writes; several where a wallet outside belongs to it
    #[arg(long, value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// What is loaded, for the report: name, version, durability setting
    #[arg(long, default_value = "relay")]
    pub label: String,
    /// Seed of all random choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How often the workload is repeated; the median is reported, with the smallest and the largest
    #[arg(long, default_value_t = 3)]
    pub repeats: usize,
    /// Operations before the first repeat that are not measured [default: a tenth of a repeat]
    #[arg(long)]
    pub warmup: Option<usize>,
    /// Connections from one client address where the relay is on this machine (0: all from one)
    #[arg(long, default_value_t = 32)]
    pub per_address: usize,
    /// Threads of the load generator
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Also write the JSON to this file
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Also write a page with plots to this file
    #[arg(long)]
    pub html: Option<PathBuf>,
}

impl Target {
    /// Unmeasured operations before repeats of `operations`.
    pub(super) fn warmup(&self, operations: usize) -> usize {
        self.warmup.unwrap_or(operations / 10)
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (1e-3..=1e9).contains(&number) => Ok(number),
        _ => Err("a number from 0.001 to 1000000000 is needed".to_owned()),
    }
}

/// Which subscriptions the listeners of `fanout` hold.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// All ask for the author that publishes: each event goes to every one
    All,
    /// Each asks for something else, and only one matches what is published
    Distinct,
    /// Each follows authors drawn by Zipf's law, and so are the authors that publish
    Zipf,
}

/// What a wallet is asked.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// get_balance
    #[value(name = "get_balance")]
    GetBalance,
    /// make_invoice
    #[value(name = "make_invoice")]
    MakeInvoice,
    /// pay_invoice, of invoices that the payee made before the clock starts
    #[value(name = "pay_invoice")]
    PayInvoice,
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::GetBalance => "get_balance",
            Self::MakeInvoice => "make_invoice",
            Self::PayInvoice => "pay_invoice",
        }
    }
}

/// `publish`
#[derive(Args, Clone, Debug)]
pub struct Publish {
    /// What to load and how to report
    #[command(flatten)]
    pub target: Target,
    /// Events of one repeat
    #[arg(long, default_value_t = 20_000)]
    pub events: usize,
    /// Connections that share the work
    #[arg(long, default_value_t = 8)]
    pub connections: usize,
    /// Events in flight on each connection
    #[arg(long, default_value_t = 32)]
    pub window: usize,
    /// Events per second over all connections, sent on schedule whatever the relay does (open loop)
    #[arg(long, value_parser = positive)]
    pub rate: Option<f64>,
    /// Number of the run: the same seed and number publish the same events [default: the time]
    #[arg(long)]
    pub run: Option<u64>,
}

/// `fill`
#[derive(Args, Clone, Debug)]
pub struct Fill {
    /// What to load and how to report
    #[command(flatten)]
    pub target: Target,
    /// Events to store
    #[arg(long, default_value_t = 200_000)]
    pub events: usize,
    /// When the newest of them was made, unix seconds; the others lie up to 30 days before
    #[arg(long, default_value_t = super::data::FILL_END_S)]
    pub until: u64,
    /// Write the events into this file, one a line, instead of sending them: for a relay that has an import of its own
    #[arg(long)]
    pub lines: Option<PathBuf>,
}

/// `query`
#[derive(Args, Clone, Debug)]
pub struct Query {
    /// What to load and how to report
    #[command(flatten)]
    pub target: Target,
    /// Events that `fill` stored with the same seed
    #[arg(long, default_value_t = 200_000)]
    pub stored: usize,
    /// The --until of that `fill`
    #[arg(long, default_value_t = super::data::FILL_END_S)]
    pub until: u64,
    /// Queries of one repeat and shape
    #[arg(long, default_value_t = 2_000)]
    pub queries: usize,
    /// Connections that share the work
    #[arg(long, default_value_t = 8)]
    pub connections: usize,
    /// Queries in flight on each connection
    #[arg(long, default_value_t = 1)]
    pub window: usize,
    /// Queries per second over all connections, on schedule (open loop)
    #[arg(long, value_parser = positive)]
    pub rate: Option<f64>,
    /// Limits to ask with
    #[arg(long, value_delimiter = ',', default_values_t = [1_usize, 100, 500])]
    pub limits: Vec<usize>,
    /// Shapes to ask [default: all]
    #[arg(long, value_delimiter = ',')]
    pub shapes: Vec<Shape>,
    /// Ask every filter for the first time in the run, without warm-up; restart the relay before, to empty its caches
    #[arg(long)]
    pub cold: bool,
}

/// What a query asks for.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// `limit` ids
    Ids,
    /// One author
    Author,
    /// One kind
    Kind,
    /// One `t` tag
    Tag,
    /// One author and kind
    AuthorKind,
    /// One `t` tag and kind
    TagKind,
    /// Kinds 1 and 6 of 500 authors
    Feed,
}

/// `fanout`
#[derive(Args, Clone, Debug)]
pub struct Fanout {
    /// What to load and how to report
    #[command(flatten)]
    pub target: Target,
    /// Connections that listen
    #[arg(long, default_value_t = 1_000)]
    pub subscribers: usize,
    /// Subscriptions on each of them
    #[arg(long, default_value_t = 1)]
    pub subscriptions: usize,
    /// Events of one repeat
    #[arg(long, default_value_t = 100)]
    pub events: usize,
    /// Events whose deliveries are still under way
    #[arg(long, default_value_t = 1)]
    pub window: usize,
    /// Who listens to what
    #[arg(long, value_enum, default_value_t = Audience::All)]
    pub audience: Audience,
    /// Authors that each listener follows (with --audience zipf)
    #[arg(long, default_value_t = 20)]
    pub follows: usize,
}

/// `idle`
#[derive(Args, Clone, Debug)]
pub struct Idle {
    /// What to load and how to report
    #[command(flatten)]
    pub target: Target,
    /// Connections to hold
    #[arg(long, default_value_t = 5_000)]
    pub connections: usize,
    /// Connections that are being opened at the same time
    #[arg(long, default_value_t = 1)]
    pub at_once: usize,
    /// Subscriptions on each of them
    #[arg(long, default_value_t = 1)]
    pub subscriptions: usize,
    /// Seconds to hold them before memory is read
    #[arg(long, default_value_t = 3)]
    pub hold: u64,
}

/// `nwc`
#[derive(Args, Clone, Debug)]
pub struct Nwc {
    /// What to load and how to report; the relay is the one that the connections name
    #[command(flatten)]
    pub target: Target,
    /// Connection that asks (nostr+walletconnect://); give it several times for several connections
    #[arg(long)]
    pub uri: Vec<String>,
    /// File with one connection per line
    #[arg(long)]
    pub uri_file: Option<PathBuf>,
    /// Connections that make the invoices for pay_invoice, in turn [default: those that pay, each the next one's, where there
    /// are several]. Each may have 900 of them open, so a round of N requests needs N / 900 payees
    #[arg(long)]
    pub payee: Vec<String>,
    /// Neighbours' socket of an example wallet (examples/): invoices of another node, which hearth pays over the wallet behind it
    #[arg(long, conflicts_with = "payee")]
    pub neighbours: Option<PathBuf>,
    /// What is asked
    #[arg(long, value_enum, default_value_t = Method::GetBalance)]
    pub method: Method,
    /// Amount of every invoice
    #[arg(long, default_value_t = 1_000)]
    pub amount_msat: u64,
    /// Round trips of one repeat
    #[arg(long, default_value_t = 2_000)]
    pub requests: usize,
    /// Clients that ask at the same time; they take the connections in turn
    #[arg(long, default_value_t = 1)]
    pub clients: usize,
    /// Requests in flight of each client
    #[arg(long, default_value_t = 1)]
    pub window: usize,
    /// Requests per second over all clients, on schedule (open loop)
    #[arg(long, value_parser = positive)]
    pub rate: Option<f64>,
    /// Check the signature of every so many-th answer (0: of none); every answer is decrypted
    #[arg(long, default_value_t = 16)]
    pub check: usize,
}

/// `outside`
#[derive(Args, Clone, Debug)]
pub struct Outside {
    /// What to load and how to report
    #[command(flatten)]
    pub target: Target,
    /// Round trips of one repeat
    #[arg(long, default_value_t = 2_000)]
    pub requests: usize,
    /// Clients that ask at the same time
    #[arg(long, default_value_t = 1)]
    pub clients: usize,
    /// Requests in flight of each client
    #[arg(long, default_value_t = 1)]
    pub window: usize,
    /// Requests per second over all clients, on schedule (open loop)
    #[arg(long, value_parser = positive)]
    pub rate: Option<f64>,
    /// While the clock runs the service checks, decrypts, encrypts and signs, and the client checks and decrypts; otherwise the
    /// answers too are signed before
    #[arg(long)]
    pub sealed: bool,
}

/// `wallet-service`
#[derive(Args, Clone, Debug)]
pub struct WalletService {
    /// Which relay it serves over; --threads says over how many sockets it does
    #[command(flatten)]
    pub target: Target,
    /// Clients that it has accounts for
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// File that every invoice and payment is on, synced, before its answer goes out; one sync for all requests that came together
    #[arg(long)]
    pub journal: Option<PathBuf>,
    /// Where it writes their connections, one a line, as soon as it answers: for --uri-file of `nwc`
    #[arg(long)]
    pub uri_file: PathBuf,
}

/// `mixed`
#[derive(Args, Clone, Debug)]
pub struct Mixed {
    /// What to load and how to report
    #[command(flatten)]
    pub target: Target,
    /// The profile: a TOML file (benches/profiles has some)
    #[arg(long)]
    pub profile: PathBuf,
    /// Connections for wallet requests; without, a wallet service of the generator's own answers over the relay
    #[arg(long)]
    pub uri: Vec<String>,
    /// Multiplies the profile's rate
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    pub scale: f64,
    /// Seconds of one repeat [default: the profile's]
    #[arg(long, value_parser = positive)]
    pub seconds: Option<f64>,
}

/// `report`
#[derive(Args, Clone, Debug)]
pub struct Compare {
    /// JSON files of earlier runs
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Also write a page with plots to this file
    #[arg(long)]
    pub html: Option<PathBuf>,
}

/// The workloads.
#[derive(Subcommand, Clone, Debug)]
pub enum Workload {
    /// Publish signed events and wait for every OK
    Publish(Publish),
    /// Fill the relay with events of the seed, so that queries have something to find
    Fill(Fill),
    /// Ask for stored events by ids, author, kind, tag and their combinations
    Query(Query),
    /// Publish to live subscribers and wait for every delivery
    Fanout(Fanout),
    /// Open many connections (a storm with --at-once), hold them and report their memory
    Idle(Idle),
    /// Wallet round trips over nostr+walletconnect:// connections
    Nwc(Nwc),
    /// Wallet round trips to a wallet service outside, which answers over the relay as an ordinary client
    Outside(Outside),
    /// Be a wallet service outside the relay (accounts in memory; nothing on disk but with --journal), until it is stopped: what `nwc` then measures
    WalletService(WalletService),
    /// A mixture of everything, from a profile
    Mixed(Mixed),
    /// Put the JSON files of several runs into one table and one page: rounds of the same label become their median, other labels
    /// are compared with the first
    Report(Compare),
}

impl Workload {
    /// The part that every workload has but `report`.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Publish(args) => Some(&args.target),
            Self::Fill(args) => Some(&args.target),
            Self::Query(args) => Some(&args.target),
            Self::Fanout(args) => Some(&args.target),
            Self::Idle(args) => Some(&args.target),
            Self::Nwc(args) => Some(&args.target),
            Self::Outside(args) => Some(&args.target),
            Self::WalletService(args) => Some(&args.target),
            Self::Mixed(args) => Some(&args.target),
            Self::Report(_) => None,
        }
    }

    /// Whether JSON is to be printed instead of a table.
    pub fn json(&self) -> bool {
        match self {
            Self::Report(args) => args.json,
            other => other.target().is_some_and(|target| target.json),
        }
    }
}
