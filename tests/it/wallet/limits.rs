//! Budgets and limits as they look from outside: many at once, strangers by the thousand, one app that floods.

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::Two;
use crate::support::client::Heard;
use crate::support::event::id_of;
use crate::support::{App, Client, Event, Hearth, clear_of_midnight, now_s};

/// Sends requests without waiting, a few hundred at a time, and gives the verdicts in their order.
async fn publish_all(client: &mut Client, requests: &[Event]) -> Vec<bool> {
    let mut verdicts = Vec::with_capacity(requests.len());
    for some in requests.chunks(200) {
        for request in some {
            client.feed(format!("[\"EVENT\",{}]", request.json())).await;
        }
        client.flush().await;
        for request in some {
            verdicts.push(client.verdict(&request.id).await.accepted);
        }
    }
    verdicts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_payments_at_once_against_a_budget_for_three_are_exactly_three() {
    clear_of_midnight().await;
    let hearth = Hearth::start();
    let options = ["--account", "payer", "--budget-msat", "3999", "--renewal", "yearly"];
    let payer = App::connect(&hearth, "payer", &options);
    let payee = App::connect(&hearth, "payee", &["--account", "payee"]);
    hearth.fund("payer", 10_000_000);
    let mut client = hearth.client().await;
    let makes: Vec<Event> = (0..1_000).map(|_| payee.request("make_invoice", &json!({"amount": 1_000}))).collect();
    client.subscribe("made", &[json!({"kinds": [23_195], "authors": [payee.wallet]})]).await;
    assert!(client.until_eose("made").await.is_empty());
    let mut invoices = Vec::new();
    for some in makes.chunks(100) {
        assert!(publish_all(&mut client, some).await.into_iter().all(|accepted| accepted));
        for _ in some {
            let event = client.live("made").await;
            let of = some.iter().find(|request| event.tag("e") == Some(&request.id)).unwrap();
            invoices.push(payee.open(of, &event).1["result"]["invoice"].clone());
        }
    }
    client.say(&json!(["CLOSE", "made"])).await;
    assert_eq!(invoices.len(), 1_000);

    // Five sockets at the same time, so that nothing but the wallet puts them in order.
    let mut tasks = Vec::new();
    for some in invoices.chunks(200) {
        let requests: Vec<Event> =
            some.iter().map(|invoice| payer.request("pay_invoice", &json!({"invoice": invoice}))).collect();
        let (payer, mut client) = (payer.clone(), hearth.client().await);
        tasks.push(tokio::spawn(async move {
            client.subscribe("paid", &[json!({"kinds": [23_195], "authors": [payer.wallet], "since": now_s() - 60})]).await;
            for request in &requests {
                client.feed(format!("[\"EVENT\",{}]", request.json())).await;
            }
            client.flush().await;
            let (mut paid, mut refused) = (0, 0);
            while paid + refused < requests.len() {
                let Heard::Event(_, event) = client.of_subscription("paid").await else { continue };
                let event: Event = serde_json::from_str(&event).unwrap();
                let Some(of) = requests.iter().find(|request| event.tag("e") == Some(&request.id)) else { continue };
                let answer = payer.open(of, &event).1;
                match answer["error"]["code"].as_str() {
                    None => paid += 1,
                    Some("QUOTA_EXCEEDED") => {
                        assert!(answer["error"]["message"].as_str().unwrap().contains("left"), "{answer}");
                        refused += 1;
                    }
                    Some(other) => panic!("{other}: {answer}"),
                }
            }
            paid
        }));
    }
    let mut paid = 0;
    for task in tasks {
        paid += task.await.unwrap();
    }
    assert_eq!(paid, 3);
    assert_eq!((payer.balance(&mut client).await, payee.balance(&mut client).await), (9_997_000, 3_000));
}

/// Names, sizes and contents of everything below a directory, as one digest.
fn fingerprint(folder: &Path) -> String {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let mut digest = Sha256::new();
    for path in entries {
        digest.update(path.to_string_lossy().as_bytes());
        // RocksDB's own diary is no data.
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("LOG")) {
            continue;
        }
        match path.is_dir() {
            true => digest.update(fingerprint(&path)),
            false => digest.update(std::fs::read(&path).unwrap()),
        }
    }
    const_hex::encode(digest.finalize())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_requests_of_strangers_write_no_byte() {
    const REQUESTS: usize = 100_000;
    // Of the apps nobody speaks before the end: which scheme a client speaks is noted some time after its first request.
    let mut two = Two::new(1_000).await;
    let wallet = two.hearth.data().join("wallet");
    let before = fingerprint(&wallet);
    let tags = vec![vec!["p".to_owned(), two.payer.wallet.clone()]];
    let (now, sig) = (now_s(), "0".repeat(128));
    let mut flood = two.hearth.client().await;
    for start in (0..REQUESTS).step_by(1_000) {
        let mut ids = Vec::with_capacity(1_000);
        for n in start..start + 1_000 {
            let pubkey = format!("{:064x}", n + 1);
            let id = const_hex::encode(id_of(&pubkey, now, 23_194, &tags, "x"));
            let (content, tags, sig) = ("x".to_owned(), tags.clone(), sig.clone());
            let event = Event { id: id.clone(), pubkey, created_at: now, kind: 23_194, tags, content, sig };
            flood.feed(format!("[\"EVENT\",{}]", event.json())).await;
            ids.push(id);
        }
        flood.flush().await;
        for id in ids {
            let verdict = flood.verdict(&id).await;
            assert!(!verdict.accepted && verdict.text.starts_with("restricted: "), "{verdict:?}");
        }
    }
    assert_eq!(fingerprint(&wallet), before, "strangers wrote to the wallet");
    assert_eq!(two.payer.balance(&mut two.client).await, 1_000);
}

/// Median and worst of some round trips, in microseconds.
async fn round_trips(app: &App, client: &mut Client, count: usize) -> (u128, u128) {
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        app.balance(client).await;
        took.push(started.elapsed().as_micros());
    }
    took.sort_unstable();
    (took[count / 2], took[count - 1])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_app_floods_and_another_gets_its_answers() {
    // With the rates as they are shipped for connections of the wallet, and none for sockets.
    let mut two = Two::new(0).await;
    let calm = round_trips(&two.payee, &mut two.client, 50).await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (payer, mut flood, until) = (two.payer.clone(), two.hearth.client().await, stop.clone());
    let flooding = tokio::spawn(async move {
        let mut sent = 0_usize;
        while !until.load(std::sync::atomic::Ordering::Relaxed) {
            let requests: Vec<Event> = (0..200).map(|_| payer.request("list_transactions", &json!({}))).collect();
            sent += publish_all(&mut flood, &requests).await.len();
        }
        sent
    });
    let busy = round_trips(&two.payee, &mut two.client, 50).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let sent = flooding.await.unwrap();
    assert!(sent > 0);
    println!("get_balance, median and worst in µs: calm {calm:?}, beside a flood of {sent} requests {busy:?}");
}
