//! What hearth adds to a payment over LND: the bare node, the back end on a server that speaks LND, and the whole program, in one
//! run over one channel, with 1 and with 16 payments in flight.
//!
//! The nodes are real and compiled without optimisation, and they delay forwarding on purpose; so look at what is added, and not
//! at how long a payment takes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark"
)]

#[path = "../tests/lightning/chain/mod.rs"]
mod chain;
#[path = "../tests/lightning/lnd/mod.rs"]
#[allow(dead_code, unused_imports, reason = "what is not needed here is used by tests/lightning")]
mod lnd;
#[path = "../tests/lightning/node.rs"]
#[allow(dead_code, reason = "what is not needed here is used by tests/lightning")]
mod node;
#[path = "../tests/lightning/rig.rs"]
#[allow(dead_code, reason = "what is not needed here is used by tests/lightning")]
mod rig;
#[path = "../tests/lightning/store.rs"]
mod store;
#[path = "../tests/it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "what is not needed here is used by tests/it")]
mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hearth::base::clock::Clock;
use hearth::wallet::backend::lnd::Lnd;
use hearth::wallet::backend::{Backend, SendResult};
use ldk_node::Event as NodeEvent;
use ldk_node::lightning_invoice::Bolt11Invoice;
use serde_json::json;
use tokio::sync::mpsc;

use lnd::LndServer;
use node::{Node, Row};
use rig::{hash_of, order};
use support::client::Heard;
use support::{App, Event, Hearth, PATIENCE};

const AMOUNT_MSAT: u64 = 10_000;
const CHANNEL_SAT: u64 = 16_000_000;
/// Payments of one measurement.
const PAYMENTS: usize = 60;
/// Each is repeated, in turn with the others, and the median run is shown.
const ROUNDS: usize = 3;

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|argument| argument == "--bench") {
        rig::run(measure());
    }
}

/// How a payment is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Node,
    BackEnd,
    Hearth,
}

/// What one run took.
struct Run {
    per_second: f64,
    latencies: Vec<Duration>,
}

struct House {
    app: App,
    hearth: Hearth,
    lnd: Lnd,
    row: Row,
    _server: LndServer,
}

async fn measure() {
    let row = Row::start(&["d", "e"], CHANNEL_SAT).await;
    let server = LndServer::start(&row.nodes[0]).await;
    let config = format!("[rates]\nenabled = false\n{}", server.config_text());
    let hearth = tokio::task::spawn_blocking(move || Hearth::with_config(&config)).await.unwrap();
    let app = App::connect(&hearth, "bench", &["--account", "main"]);
    let lnd = Lnd::open(server.config(), server.file("mark"), &Clock::system()).await.unwrap();
    let house = House { app, hearth, lnd, row, _server: server };
    // The first payment that a node receives takes two seconds more.
    house.run(Way::Node, 1, 4).await;

    println!("{:<10} {:>9} {:>11} {:>11} {:>11}", "way", "in flight", "payments/s", "median ms", "p99 ms");
    for in_flight in [1, 16] {
        let mut runs: Vec<(Way, Run)> = Vec::new();
        for _ in 0..ROUNDS {
            for way in [Way::Node, Way::BackEnd, Way::Hearth] {
                runs.push((way, house.run(way, in_flight, PAYMENTS).await));
            }
        }
        for way in [Way::Node, Way::BackEnd, Way::Hearth] {
            let of_way = || runs.iter().filter(|(one, _)| *one == way).map(|(_, run)| run);
            let mut rates: Vec<f64> = of_way().map(|run| run.per_second).collect();
            rates.sort_by(f64::total_cmp);
            let mut all: Vec<Duration> = of_way().flat_map(|run| run.latencies.iter().copied()).collect();
            all.sort();
            let ms = |at: usize| all[at].as_secs_f64() * 1_000.0;
            let (median, p99) = (ms(all.len() / 2), ms(all.len() * 99 / 100));
            println!("{:<10} {in_flight:>9} {:>11.1} {median:>11.1} {p99:>11.1}", format!("{way:?}"), rates[ROUNDS / 2]);
        }
    }
}

impl House {
    async fn run(&self, way: Way, in_flight: usize, payments: usize) -> Run {
        let invoices: Vec<String> =
            (0..payments).map(|n| self.row.nodes[1].invoice(Some(AMOUNT_MSAT), &format!("{n}"))).collect();
        match way {
            Way::Node => self.over_node(&invoices, in_flight).await,
            Way::BackEnd => self.over_back_end(&invoices, in_flight).await,
            Way::Hearth => self.over_hearth(&invoices, in_flight).await,
        }
    }

    async fn over_node(&self, invoices: &[String], in_flight: usize) -> Run {
        let node: &Node = &self.row.nodes[0];
        let mut events = node.events.subscribe();
        let read: Vec<Bolt11Invoice> = invoices.iter().map(|text| text.parse().unwrap()).collect();
        let mut window = Window::new(in_flight);
        while window.ended < read.len() {
            while window.has_room() && window.begun < read.len() {
                let invoice = &read[window.begun];
                window.begin(*AsRef::<[u8; 32]>::as_ref(invoice.payment_hash()));
                node.inner.bolt11_payment().send(invoice, None).unwrap();
            }
            let paid = Node::event(&mut events, "a payment", |event| match event {
                NodeEvent::PaymentSuccessful { payment_hash, .. } => Some(payment_hash.0),
                NodeEvent::PaymentFailed { reason, .. } => panic!("failed: {reason:?}"),
                _ => None,
            })
            .await;
            window.end(&paid);
        }
        window.finish()
    }

    async fn over_back_end(&self, invoices: &[String], in_flight: usize) -> Run {
        let (to, mut from) = mpsc::channel(invoices.len());
        let mut window = Window::new(in_flight);
        while window.ended < invoices.len() {
            while window.has_room() && window.begun < invoices.len() {
                let order = order(&invoices[window.begun], AMOUNT_MSAT, 0);
                let (hash, to) = (order.hash.0, to.clone());
                window.begin(hash);
                self.lnd.send(order, Box::new(move |result| to.try_send((hash, result)).unwrap()));
            }
            let (hash, result) = from.recv().await.unwrap();
            assert!(matches!(result, SendResult::Settled { .. }), "{result:?}");
            window.end(&hash);
        }
        window.finish()
    }

    async fn over_hearth(&self, invoices: &[String], in_flight: usize) -> Run {
        let mut client = self.hearth.client().await;
        let filter = json!({"kinds": [23_195], "authors": [self.app.wallet], "limit": 0});
        client.stored_json("answers", &[filter]).await;
        let requests: Vec<(Event, [u8; 32])> = invoices
            .iter()
            .map(|invoice| (self.app.request("pay_invoice", &json!({"invoice": invoice})), hash_of(invoice).0))
            .collect();
        let by_id: HashMap<&str, usize> =
            requests.iter().enumerate().map(|(at, (request, _))| (request.id.as_str(), at)).collect();
        let mut window = Window::new(in_flight);
        while window.ended < requests.len() {
            while window.has_room() && window.begun < requests.len() {
                let (request, hash) = &requests[window.begun];
                window.begin(*hash);
                client.send_event(request).await;
            }
            match client.next_within(PATIENCE).await.expect("an answer in time") {
                Heard::Event(_, text) => {
                    let answer: Event = serde_json::from_str(&text).unwrap();
                    let (request, hash) = &requests[by_id[answer.tag("e").unwrap()]];
                    window.end(hash);
                    let (_, said) = self.app.open(request, &answer);
                    assert!(said["error"].is_null(), "{said}");
                }
                Heard::Ok(_, verdict) => assert!(verdict.accepted, "{verdict:?}"),
                other => panic!("unexpected: {other:?}"),
            }
        }
        window.finish()
    }
}

/// Payments under way, and how long each took.
struct Window {
    size: usize,
    begun: usize,
    ended: usize,
    open: HashMap<[u8; 32], Instant>,
    latencies: Vec<Duration>,
    since: Instant,
}

impl Window {
    fn new(size: usize) -> Self {
        Self { size, begun: 0, ended: 0, open: HashMap::new(), latencies: Vec::new(), since: Instant::now() }
    }

    fn has_room(&self) -> bool {
        self.open.len() < self.size
    }

    fn begin(&mut self, hash: [u8; 32]) {
        self.begun += 1;
        self.open.insert(hash, Instant::now());
    }

    fn end(&mut self, hash: &[u8; 32]) {
        if let Some(since) = self.open.remove(hash) {
            self.ended += 1;
            self.latencies.push(since.elapsed());
        }
    }

    fn finish(self) -> Run {
        let seconds = self.since.elapsed().as_secs_f64();
        Run { per_second: f64::from(u32::try_from(self.ended).unwrap()) / seconds, latencies: self.latencies }
    }
}
