//! kill -9 in the middle of 1,000 payments inside: no msat is made or lost, every answer stands, every repeat gets it again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::client::Heard;
use crate::support::{App, Client, Event, Hearth, eventually};

const PAYERS: usize = 4;
const PAYMENTS_EACH: usize = 250;
const AMOUNT_MSAT: u64 = 1_000;
const FUNDED_MSAT: u64 = 100_000_000;
/// After so many answers the server is killed.
const KILL_AFTER: usize = 350;
/// Requests of one payer that are on their way at a time.
const WINDOW: usize = 16;
/// Answers that wait for the one who counts them: then the payers wait too, and the kill comes in the middle however late it is.
const UNCOUNTED_MAX: usize = 64;

/// A payer and payee with their requests.
struct Pair {
    payer: App,
    payee: App,
    requests: Vec<Event>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_payment_is_lost_doubled_or_answered_twice_differently() {
    let mut hearth = Hearth::start();
    let pairs = Arc::new(prepare(&hearth).await);
    let funded = u64::try_from(PAYERS).unwrap() * FUNDED_MSAT;
    assert_eq!(total(&hearth), funded);

    let (heard_to, mut heard) = mpsc::channel(UNCOUNTED_MAX);
    let mut paying = Vec::new();
    for index in 0..PAYERS {
        paying.push(tokio::spawn(pay(hearth.client().await, Arc::clone(&pairs), index, heard_to.clone())));
    }
    drop(heard_to);
    let mut answers: HashMap<String, Event> = HashMap::new();
    while answers.len() < KILL_AFTER {
        let answer: Event = tokio::time::timeout(crate::support::PATIENCE, heard.recv()).await.expect("answers in time").unwrap();
        answers.insert(answer.tag("e").unwrap().to_owned(), answer);
    }
    hearth.kill();
    while let Some(answer) = heard.recv().await {
        answers.insert(answer.tag("e").unwrap().to_owned(), answer);
    }
    for task in paying {
        task.await.unwrap();
    }
    let all = PAYERS * PAYMENTS_EACH;
    println!("{} of {all} answered before the kill", answers.len());
    assert!(answers.len() < all, "the kill came too late to show anything");

    hearth.launch();
    assert_eq!(total(&hearth), funded, "after the kill");
    answered_payments_are_there(&hearth, &pairs, &answers).await;
    repeats_get_the_stored_answer(&hearth, &pairs, &answers).await;
    everything_is_paid_once(&hearth, &pairs, funded).await;
}

async fn prepare(hearth: &Hearth) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for index in 0..PAYERS {
        let (payer_name, payee_name) = (format!("payer{index}"), format!("payee{index}"));
        let payer = App::connect(hearth, &payer_name, &["--account", &payer_name]);
        hearth.fund(&payer_name, FUNDED_MSAT);
        let payee = App::connect(hearth, &payee_name, &["--account", &payee_name]);
        let mut client = hearth.client().await;
        let mut requests = Vec::new();
        for invoice in invoices(&payee, &mut client).await {
            requests.push(payer.request("pay_invoice", &json!({"invoice": invoice})));
        }
        pairs.push(Pair { payer, payee, requests });
    }
    pairs
}

/// Makes all invoices of a payee at once.
async fn invoices(payee: &App, client: &mut Client) -> Vec<String> {
    client.stored_json("answers", &[json!({"kinds": [23_195], "authors": [payee.wallet], "limit": 0})]).await;
    let requests: Vec<Event> = (0..PAYMENTS_EACH)
        .map(|n| payee.request("make_invoice", &json!({"amount": AMOUNT_MSAT, "description": format!("{n}")})))
        .collect();
    let mut made = BTreeMap::new();
    for batch in requests.chunks(WINDOW) {
        for request in batch {
            client.send_event(request).await;
        }
        for _ in batch {
            let answer = client.live("answers").await;
            let request = requests.iter().find(|request| Some(request.id.as_str()) == answer.tag("e")).unwrap();
            let (_, value) = payee.open(request, &answer);
            assert!(value["error"].is_null(), "make_invoice: {value}");
            made.insert(request.id.clone(), value["result"]["invoice"].as_str().unwrap().to_owned());
        }
    }
    requests.iter().map(|request| made.remove(&request.id).unwrap()).collect()
}

/// Sends the requests of one payer with a window until the end or the kill; hands every answer on.
async fn pay(mut client: Client, pairs: Arc<Vec<Pair>>, index: usize, heard: mpsc::Sender<Event>) {
    let pair = &pairs[index];
    client.stored_json("answers", &[json!({"kinds": [23_195], "authors": [pair.payer.wallet], "limit": 0})]).await;
    let (mut sent, mut answered) = (0, 0);
    while answered < pair.requests.len() {
        while sent < pair.requests.len() && sent < answered + WINDOW {
            if client.try_send(format!("[\"EVENT\",{}]", pair.requests[sent].json())).await.is_err() {
                break;
            }
            sent += 1;
        }
        match client.next().await {
            Heard::Event(_, json) => {
                answered += 1;
                heard.send(serde_json::from_str(&json).unwrap()).await.unwrap();
            }
            Heard::Ok(_, verdict) => assert!(verdict.accepted, "{verdict:?}"),
            Heard::Gone(..) => return,
            other => panic!("unexpected: {other:?}"),
        }
    }
}

/// All money of all accounts.
fn total(hearth: &Hearth) -> u64 {
    let accounts = hearth.json(&["wallet", "accounts"]);
    let list = accounts.as_array().or_else(|| accounts["accounts"].as_array()).expect("a list of accounts");
    list.iter().map(|account| account["balance_msat"].as_u64().unwrap()).sum()
}

fn request_of<'a>(pairs: &'a [Pair], id: &str) -> (&'a Pair, &'a Event) {
    let all = pairs.iter().flat_map(|pair| pair.requests.iter().map(move |request| (pair, request)));
    all.into_iter().find(|(_, request)| request.id == id).unwrap()
}

async fn answered_payments_are_there(hearth: &Hearth, pairs: &[Pair], answers: &HashMap<String, Event>) {
    let mut client = hearth.client().await;
    for (index, (id, answer)) in answers.iter().enumerate() {
        let (pair, request) = request_of(pairs, id);
        let (_, said) = pair.payer.open(request, answer);
        let preimage = said["result"]["preimage"].as_str().unwrap_or_else(|| panic!("an answer without a preimage: {said}"));
        // Each look-up is a round trip, so a part of them.
        if index % 8 == 0 {
            let hash = const_hex::encode(<sha2::Sha256 as sha2::Digest>::digest(const_hex::decode(preimage).unwrap()));
            let found = pair.payer.call(&mut client, "lookup_invoice", json!({"payment_hash": hash})).await;
            assert_eq!((&found["state"], &found["preimage"]), (&json!("settled"), &json!(preimage)), "{found}");
        }
    }
}

/// Every request again: those answered before get the very same event, the others are answered now.
async fn repeats_get_the_stored_answer(hearth: &Hearth, pairs: &[Pair], answers: &HashMap<String, Event>) {
    for pair in pairs {
        let mut client = hearth.client().await;
        client.stored_json("answers", &[json!({"kinds": [23_195], "authors": [pair.payer.wallet], "limit": 0})]).await;
        for batch in pair.requests.chunks(WINDOW) {
            for request in batch {
                let verdict = client.publish(request).await;
                assert!(verdict.accepted, "{verdict:?}");
            }
        }
        let mut again: HashMap<String, Event> = HashMap::new();
        eventually("an answer to every repeat", async || {
            for heard in client.drain().await {
                if let Heard::Event(_, json) = heard {
                    let answer: Event = serde_json::from_str(&json).unwrap();
                    again.insert(answer.tag("e").unwrap().to_owned(), answer);
                }
            }
            again.len() == pair.requests.len()
        })
        .await;
        for request in &pair.requests {
            let (_, said) = pair.payer.open(request, &again[&request.id]);
            assert!(said["error"].is_null(), "{said}");
            if let Some(first) = answers.get(&request.id) {
                assert_eq!(&again[&request.id], first, "another answer than before the kill");
            }
        }
    }
}

async fn everything_is_paid_once(hearth: &Hearth, pairs: &[Pair], funded: u64) {
    assert_eq!(total(hearth), funded, "at the end");
    let mut client = hearth.client().await;
    let moved = AMOUNT_MSAT * u64::try_from(PAYMENTS_EACH).unwrap();
    for pair in pairs {
        assert_eq!(pair.payee.balance(&mut client).await, moved);
        assert_eq!(pair.payer.balance(&mut client).await, FUNDED_MSAT - moved);
        let listed = pair.payer.call(&mut client, "list_transactions", json!({"type": "outgoing", "limit": 20})).await;
        let states: Vec<&Value> = listed["transactions"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
        assert_eq!(states, vec![&json!("settled"); 20]);
    }
}
