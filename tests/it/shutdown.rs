//! The ordered end: what is open is finished, everybody is told, nothing is lost.

use serde_json::json;

use crate::support::client::Heard;
use crate::support::{App, Client, Event, Hearth, Key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_closes_with_1012_and_exits_with_0() {
    let mut hearth = Hearth::start();
    let mut clients = vec![hearth.client().await, hearth.client().await];
    for client in &mut clients {
        client.stored_json("live", &[json!({})]).await;
    }
    hearth.signal(libc::SIGTERM);
    for client in &mut clients {
        assert_eq!(client.gone().await.0, 1_012);
    }
    let status = hearth.wait();
    assert_eq!(status.code(), Some(0), "{}", hearth.log());
    assert!(hearth.further_output().is_empty(), "stdout has its one line only");
    assert!(Client::try_connect(&hearth.url()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigint_is_an_ordered_end_too() {
    let mut hearth = Hearth::start();
    hearth.signal(libc::SIGINT);
    assert_eq!(hearth.wait().code(), Some(0), "{}", hearth.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_just_started_stops_at_once() {
    for _ in 0..3 {
        let mut hearth = Hearth::start();
        assert_eq!(hearth.terminate().code(), Some(0), "{}", hearth.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_answered_under_load_is_there_after_the_drain() {
    let mut hearth = Hearth::start();
    let payer = App::connect(&hearth, "payer", &["--account", "payer"]);
    hearth.fund("payer", 1_000_000);
    let payee = App::connect(&hearth, "payee", &["--account", "payee"]);
    let mut client = hearth.client().await;
    let mut requests = Vec::new();
    for _ in 0..20 {
        let invoice = payee.invoice(&mut client, 1_000).await;
        requests.push(payer.request("pay_invoice", &json!({"invoice": invoice})));
    }
    let key = Key::random();
    let events: Vec<Event> = (0..2_000).map(|n| key.note(&format!("{n}"))).collect();
    for (index, event) in events.iter().enumerate() {
        client.feed(format!("[\"EVENT\",{}]", event.json())).await;
        if index % 100 == 50 {
            client.feed(format!("[\"EVENT\",{}]", requests[index / 100].json())).await;
        }
    }
    // Whether the relay reads all of it is its own affair.
    let flushed = tokio::time::timeout(std::time::Duration::from_millis(200), client.flush()).await;
    hearth.signal(libc::SIGTERM);
    let mut accepted = Vec::new();
    loop {
        match client.next().await {
            Heard::Ok(id, verdict) if verdict.accepted => accepted.push(id),
            Heard::Gone(..) => break,
            _ => {}
        }
    }
    println!("{} of {} answered before the end (all sent: {})", accepted.len(), events.len() + requests.len(), flushed.is_ok());
    assert_eq!(hearth.wait().code(), Some(0), "{}", hearth.log());
    hearth.launch();
    let mut client = hearth.client().await;
    let stored: Vec<String> = client.stored(&[json!({"authors": [key.hex], "limit": 5_000})]).await;
    for id in &accepted {
        assert!(stored.contains(id) || requests.iter().any(|request| request.id == *id), "{id} was accepted and is gone");
    }
    let paid = requests.iter().filter(|request| accepted.contains(&request.id)).count() as u64;
    assert!(payee.balance(&mut client).await >= paid * 1_000);
}
