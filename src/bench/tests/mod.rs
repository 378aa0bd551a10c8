//! The generator against a small relay that is known to be right, and against relays that misbehave in known ways.

mod stub;
mod tls;

use std::time::Duration;

use clap::Parser;

use super::args::Workload;
use super::error::ClientError;
use super::report::{Report, Row};
use super::run_here;
use stub::{Behaviour, Stub};

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    workload: Workload,
}

/// Runs a command line against a stub.
async fn bench(stub: &Stub, line: &str) -> Result<Report, ClientError> {
    let line = format!("bench {line} --url {}", stub.url);
    run_here(&Line::try_parse_from(line.split(' ')).unwrap().workload).await
}

fn only(report: &Report) -> &Row {
    assert_eq!(report.rows.len(), 1, "{}", report.to_table());
    &report.rows[0]
}

#[tokio::test]
async fn every_published_event_arrives_once_and_is_counted_once() {
    let stub = Stub::start(Behaviour::default()).await;
    let report = bench(&stub, "publish --events 300 --connections 7 --window 5 --repeats 2 --warmup 20").await.unwrap();
    let row = only(&report);
    assert_eq!((row.operations, row.failed, row.per_second_each.len()), (600, 0, 2));
    assert_eq!(stub.events(), 620, "warm-up and two repeats, all different");
    assert!(stub.most_in_flight() <= 5, "{} in flight on one connection", stub.most_in_flight());
    assert!(row.per_second_min <= row.per_second && row.per_second <= row.per_second_max);
}

#[tokio::test]
async fn a_relay_behind_tls_is_loaded_as_any_other_and_a_stranger_is_not_trusted() {
    let stub = Stub::start(Behaviour { awkward: true, ..Behaviour::default() }).await;
    let front = tls::Front::start(&stub.url).await;
    let (url, ca) = (&front.url, front.ca().display().to_string());
    let run = |line: String| async move { run_here(&Line::try_parse_from(line.split(' ')).unwrap().workload).await };
    let line = format!("bench publish --events 300 --connections 3 --window 40 --repeats 1 --warmup 0 --url {url}");
    let report = run(format!("{line} --ca {ca}")).await.unwrap();
    assert_eq!((only(&report).operations, only(&report).failed, stub.events()), (300, 0, 300));
    let error = run(line).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect(..)), "{error}");
    assert_eq!(stub.events(), 300);
}

#[tokio::test]
async fn the_window_is_filled_and_never_exceeded() {
    let stub = Stub::start(Behaviour { delay: Duration::from_millis(2), ..Behaviour::default() }).await;
    bench(&stub, "publish --events 64 --connections 1 --window 8 --repeats 1 --warmup 0").await.unwrap();
    assert_eq!(stub.most_in_flight(), 8);
}

#[tokio::test]
async fn latency_is_from_send_to_answer() {
    let stub = Stub::start(Behaviour { delay: Duration::from_millis(20), ..Behaviour::default() }).await;
    let report = bench(&stub, "publish --events 20 --connections 4 --window 1 --repeats 1 --warmup 0").await.unwrap();
    let p50 = only(&report).p50_ms.unwrap();
    // Far above for machines that do something else meanwhile.
    assert!((20.0..2_000.0).contains(&p50), "{p50}");
}

#[tokio::test]
async fn refusals_are_failures_with_their_words() {
    let stub = Stub::start(Behaviour { refuse_every: 10, ..Behaviour::default() }).await;
    let report = bench(&stub, "publish --events 100 --connections 1 --window 4 --repeats 1 --warmup 0").await.unwrap();
    let row = only(&report);
    assert_eq!((row.operations, row.failed), (90, 10));
    assert!(report.to_table().contains("blocked: every tenth"), "{}", report.to_table());
    let stub = Stub::start(Behaviour { refuse_every: 1, ..Behaviour::default() }).await;
    let error = bench(&stub, "publish --events 10 --connections 1 --repeats 1 --warmup 0").await.unwrap_err();
    assert!(error.to_string().contains("blocked: every tenth"), "{error}");
}

#[tokio::test]
async fn the_same_seed_and_run_publish_the_same_events() {
    let stub = Stub::start(Behaviour::default()).await;
    for _ in 0..2 {
        bench(&stub, "fill --events 50 --repeats 1").await.unwrap();
    }
    assert_eq!(stub.events(), 50);
    bench(&stub, "fill --events 50 --seed 2 --repeats 1").await.unwrap();
    assert_eq!(stub.events(), 100);
}

#[tokio::test]
async fn an_open_loop_counts_from_the_intended_moment() {
    // 1 connection, 100 operations in 0.2 s; the relay stands still for 150 ms in the middle.
    let stall = Some((50, Duration::from_millis(150)));
    let stub = Stub::start(Behaviour { stall, ..Behaviour::default() }).await;
    let line = "publish --events 100 --connections 1 --rate 500 --repeats 1 --warmup 0";
    let open = bench(&stub, line).await.unwrap();
    let row = only(&open);
    assert_eq!((row.operations, row.failed), (100, 0));
    // Half of all operations met the stall; a closed loop would show one.
    assert!(row.p90_ms.unwrap() > 40.0 && row.max_ms.unwrap() >= 140.0, "{}", open.to_table());
    assert!(row.lag_p99_ms.is_some());
    assert!(row.per_second < 600.0, "the schedule was kept: {}", row.per_second);
}

#[tokio::test]
async fn queries_get_what_was_stored() {
    let stub = Stub::start(Behaviour::default()).await;
    bench(&stub, "fill --events 200 --repeats 1").await.unwrap();
    let report = bench(&stub, "query --stored 200 --queries 20 --connections 2 --limits 1,10 --repeats 1").await.unwrap();
    assert_eq!(report.rows.len(), 14);
    for row in &report.rows {
        assert_eq!((row.operations, row.failed), (20, 0), "{}: {:?}", row.workload, row.first_failure);
        assert!(row.events_per_second.unwrap() > 0.0 && row.first_p50_ms.is_some());
    }
    assert_eq!(stub.open_subscriptions(), 0, "every query is closed");
}

#[tokio::test]
async fn a_query_that_finds_too_little_is_a_failure() {
    let stub = Stub::start(Behaviour::default()).await;
    let line = "query --stored 200 --queries 20 --connections 2 --limits 1 --shapes ids --repeats 1 --warmup 0";
    let error = bench(&stub, line).await.unwrap_err();
    assert!(error.to_string().contains("got 0 events, at least 1"), "{error}");
}

#[tokio::test]
async fn every_delivery_is_awaited() {
    let stub = Stub::start(Behaviour::default()).await;
    let report = bench(&stub, "fanout --subscribers 20 --events 10 --repeats 2 --warmup 2").await.unwrap();
    assert_eq!(report.rows.len(), 2);
    assert_eq!((report.rows[0].operations, report.rows[1].operations), (400, 20));
    let report = bench(&stub, "fanout --subscribers 20 --events 10 --audience distinct --repeats 1 --window 4").await.unwrap();
    assert_eq!((report.rows[0].operations, report.rows[1].operations), (10, 10));
    let line = "fanout --subscribers 20 --subscriptions 2 --events 30 --audience zipf --follows 3 --repeats 1 --warmup 0";
    let report = bench(&stub, line).await.unwrap();
    assert_eq!(report.rows[1].operations, 30);
    assert!(report.rows[0].operations >= 30 && report.rows[0].failed == 0);
}

#[tokio::test]
async fn connections_are_held_and_counted() {
    let stub = Stub::start(Behaviour::default()).await;
    let line = "idle --connections 100 --at-once 16 --subscriptions 2 --hold 0 --repeats 1";
    let report = bench(&stub, &format!("{line} --server-pid {}", std::process::id())).await.unwrap();
    assert_eq!((only(&report).operations, only(&report).failed), (100, 0));
    assert_eq!(stub.most_addresses(), 4, "32 connections come from one address");
    assert_eq!(stub.most_subscriptions(), 200);
    assert!(report.to_table().contains("of relay memory per connection"), "{}", report.to_table());
}

#[tokio::test]
async fn a_wallet_outside_answers_over_the_relay() {
    let stub = Stub::start(Behaviour::default()).await;
    for more in ["", " --sealed", " --rate 200 --window 3"] {
        let report = bench(&stub, &format!("outside --requests 30 --clients 3 --repeats 1{more}")).await.unwrap();
        assert_eq!((only(&report).operations, only(&report).failed), (30, 0), "{more}: {}", report.to_table());
    }
}

#[tokio::test]
async fn a_wallet_behind_a_uri_is_asked_and_its_errors_count() {
    let stub = Stub::start(Behaviour { wallet: true, ..Behaviour::default() }).await;
    let (uri, payee) = (stub.uri(0), stub.uri(1));
    for method in ["get_balance", "make_invoice", "pay_invoice"] {
        let line = format!("nwc --uri {uri} --payee {payee} --method {method} --requests 12 --clients 2 --check 1 --repeats 1");
        let report = bench(&stub, &line).await.unwrap();
        assert_eq!((only(&report).operations, only(&report).failed), (12, 0), "{}", report.to_table());
        assert!(report.to_table().contains("2 clients share 1 connections"));
    }
    let pair = format!("nwc --uri {uri} --uri {payee} --method pay_invoice --clients 4 --repeats 1");
    let report = bench(&stub, &format!("{pair} --requests 13")).await.unwrap();
    assert_eq!((only(&report).operations, only(&report).failed), (13, 0), "each pays the next: {}", report.to_table());
    let error = bench(&stub, &format!("{pair} --requests 2000")).await.unwrap_err();
    assert!(error.to_string().contains("2000 requests need 3 payees"), "{error}");
    let line = format!("nwc --uri {uri} --requests 10 --rate 200 --repeats 1 --warmup 0");
    assert_eq!(only(&bench(&stub, &line).await.unwrap()).operations, 10);
    let error = bench(&stub, &format!("nwc --uri {uri} --method pay_invoice --requests 1")).await.unwrap_err();
    assert!(error.to_string().contains("--payee"), "{error}");
}

#[tokio::test]
async fn a_wallet_service_outside_does_what_the_same_clients_ask() {
    let stub = Stub::start(Behaviour::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let uris = folder.path().join("uris");
    let journal = folder.path().join("journal");
    let line = format!("bench wallet-service --connections 3 --threads 2 --uri-file {} --url {}", uris.display(), stub.url);
    let line = format!("{line} --journal {}", journal.display());
    let service = Line::try_parse_from(line.split(' ')).unwrap().workload;
    let service = tokio::spawn(async move { run_here(&service).await });
    tokio::time::timeout(Duration::from_secs(30), async {
        while !uris.exists() {
            assert!(!service.is_finished(), "the service ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    for method in ["get_balance", "make_invoice", "pay_invoice"] {
        let line = format!("nwc --uri-file {} --method {method} --requests 30 --clients 3 --check 1 --repeats 2", uris.display());
        let report = bench(&stub, &line).await.unwrap();
        assert_eq!((only(&report).operations, only(&report).failed), (60, 0), "{}", report.to_table());
    }
    // A warm-up of 3 and two repeats of 30: invoices made, then made and paid.
    let kept = std::fs::read_to_string(&journal).unwrap();
    let of = |method: &str| kept.lines().filter(|line| line.contains(&format!(r#""method":"{method}""#))).count();
    assert_eq!((of("get_balance"), of("make_invoice"), of("pay_invoice")), (0, 126, 63));
    service.abort();
}

#[tokio::test]
async fn a_fill_into_a_file_is_the_fill_that_queries_ask_for() {
    let stub = Stub::start(Behaviour::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    bench(&stub, &format!("fill --events 40 --lines {}", path.display())).await.unwrap();
    assert_eq!(stub.events(), 0);
    let written: Vec<String> = std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    bench(&stub, "fill --events 40 --repeats 1").await.unwrap();
    assert_eq!((written.len(), stub.events()), (40, 40));
    assert!(written.iter().all(|line| stub.has(line)));
}

#[tokio::test]
async fn a_mixture_runs_on_schedule() {
    let stub = Stub::start(Behaviour::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("small.toml");
    let text = "name='small'\nconnections=4\nrate=200.0\nseconds=1.0\nstored=50\nauthors=5\nfollows=5\nlimit=5\n\
                [mix]\npublish=5\nids=2\nauthor-kind=1\nfeed=1\nwallet=1\n";
    std::fs::File::create(&profile).and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes())).unwrap();
    let html = folder.path().join("out.html");
    let line = format!("mixed --profile {} --repeats 1 --html {}", profile.display(), html.display());
    let report = bench(&stub, &line).await.unwrap();
    let total: u64 = report.rows[1..6].iter().map(|row| row.operations).sum();
    assert_eq!(report.rows[0].operations, total, "{}", report.to_table());
    assert!((150..260).contains(&total), "about 200 operations: {}", report.to_table());
    assert!(report.rows.iter().all(|row| row.failed == 0), "{}", report.to_table());
    assert!(report.rows[6].workload.contains("live deliveries") && report.rows[6].operations > 0);
    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.contains("<svg") && !page.contains("<script") && !page.contains("NaN") && !page.contains("http"), "{page}");
}

#[tokio::test]
async fn a_relay_that_closes_or_refuses_is_named() {
    let stub = Stub::start(Behaviour { close_after: 5, ..Behaviour::default() }).await;
    let report = bench(&stub, "publish --events 20 --connections 1 --window 1 --repeats 1 --warmup 0").await.unwrap();
    let row = only(&report);
    assert!((row.operations, row.failed) == (5, 15), "{}", report.to_table());
    assert!(report.to_table().contains("1013 enough"), "{}", report.to_table());
    let nobody = run_here(&Line::try_parse_from("bench idle --url ws://127.0.0.1:1".split(' ')).unwrap().workload).await;
    assert!(nobody.unwrap_err().to_string().contains("cannot connect to ws://127.0.0.1:1"));
}

#[tokio::test]
async fn large_and_fragmented_messages_and_pings_are_taken() {
    let stub = Stub::start(Behaviour { awkward: true, ..Behaviour::default() }).await;
    let report = bench(&stub, "publish --events 50 --connections 2 --window 4 --repeats 1 --warmup 0").await.unwrap();
    assert_eq!((only(&report).operations, only(&report).failed), (50, 0), "{}", report.to_table());
    assert!(stub.pongs() > 0);
}

#[tokio::test]
async fn reports_of_several_runs_become_one() {
    let stub = Stub::start(Behaviour::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for label in ["one", "two"] {
        let file = folder.path().join(label);
        let line = format!("publish --events 40 --repeats 1 --label {label} --out {}", file.display());
        bench(&stub, &line).await.unwrap();
        files.push(file);
    }
    let both = Report::read(&files).unwrap();
    assert_eq!((both.runs.len(), both.rows.len()), (2, 2));
    let (table, page) = (both.to_table(), both.to_html());
    assert!(table.contains("one: publish") && table.contains("two: publish"), "{table}");
    assert!(page.matches("stroke-width").count() >= 2, "a line for each");
}
