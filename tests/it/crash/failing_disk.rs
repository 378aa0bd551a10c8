//! The real program on a disk that fails, is slow or is full, seen from outside.

use serde_json::json;

use super::ask_again;
use super::disk::{Disk, Fault, When};
use crate::support::client::Heard;
use crate::support::{App, Client, Event, Hearth, Key, eventually};

const FUNDED_MSAT: u64 = 1_000_000;
const AMOUNT_MSAT: u64 = 1_000;
/// EX_IOERR.
const DISK_FAILED: i32 = 74;

fn on_disk(disk: &Disk) -> Hearth {
    let mut hearth = Hearth::prepared("[rates]\nenabled = false\n");
    hearth.set_environment(disk.environment(hearth.dir()));
    hearth.launch();
    hearth
}

/// Everything that the server says until it is gone.
async fn last_words(client: &mut Client) -> Vec<Heard> {
    let mut heard = Vec::new();
    loop {
        match client.next().await {
            Heard::Gone(..) => return heard,
            other => heard.push(other),
        }
    }
}

fn promises(heard: &[Heard]) -> bool {
    heard.iter().any(|one| match one {
        Heard::Ok(_, verdict) => verdict.accepted,
        Heard::Event(..) => true,
        _ => false,
    })
}

fn answer_in(heard: &Heard) -> Option<Event> {
    match heard {
        Heard::Event(_, json) => Some(serde_json::from_str(json).unwrap()),
        _ => None,
    }
}

struct Pair {
    payer: App,
    payee: App,
    requests: Vec<Event>,
}

async fn pair(hearth: &Hearth, requests: usize) -> Pair {
    let payer = App::connect(hearth, "payer", &["--account", "payer"]);
    hearth.fund("payer", FUNDED_MSAT);
    let payee = App::connect(hearth, "payee", &["--account", "payee"]);
    let mut client = hearth.client().await;
    let mut made = Vec::new();
    for _ in 0..requests {
        let invoice = payee.invoice(&mut client, AMOUNT_MSAT).await;
        made.push(payer.request("pay_invoice", &json!({"invoice": invoice})));
    }
    Pair { payer, payee, requests: made }
}

/// Files of the wallet's journal, and not the anchor beside them: its sync of the commit before may come at any time.
const JOURNAL: &str = "/data/wallet/0";

/// `is_mark`: the file that fails is the anchor. It is synced after the journal, so what was answered before it failed is on the disk and
/// must come again, byte for byte; of a journal that fails nothing may be answered at all.
async fn wallet_fails_at(part: &str, is_mark: bool) {
    let disk = Disk::new();
    let mut hearth = on_disk(&disk);
    let pair = pair(&hearth, 3).await;
    let mut client = hearth.client().await;
    let (_, first, _) = pair.payer.exchange(&mut client, &pair.requests[0]).await;

    client.stored_json("answers", &[json!({"kinds": [23_195], "authors": [pair.payer.wallet], "limit": 0})]).await;
    disk.control().arm(Fault::Fail, When::Before, 1, part);
    // One that fails and another that is asked for while it goes down; where the mark of the first payment fails, it goes down before.
    for request in &pair.requests[1..] {
        drop(client.try_send(format!("[\"EVENT\",{}]", request.json())).await);
    }
    let heard = last_words(&mut client).await;
    assert!(is_mark || !promises(&heard), "{part}: acknowledged or answered after the failure: {heard:?}");
    assert_eq!(hearth.wait().code(), Some(DISK_FAILED), "{part}: {}", hearth.log());
    assert_eq!(disk.control().fired(), 1);
    let log = hearth.log();
    assert!(log.contains("a write to disk failed"), "{part}: it says why: {log}");

    hearth.launch();
    let mut client = hearth.client().await;
    let mut promised: Vec<Event> = heard.iter().filter_map(answer_in).collect();
    for (index, request) in pair.requests.iter().enumerate() {
        let (answer, value) = ask_again(&pair.payer, &mut client, request).await;
        assert!(value["error"].is_null(), "{part}: {value}");
        assert!(index > 0 || answer == first, "{part}: another answer than before the failure");
        promised.retain(|kept| *kept != answer);
    }
    assert!(promised.is_empty(), "{part}: answered, and not the same afterwards: {promised:?}");
    assert_eq!(pair.payer.balance(&mut client).await, FUNDED_MSAT - 3 * AMOUNT_MSAT, "{part}");
    assert_eq!(pair.payee.balance(&mut client).await, 3 * AMOUNT_MSAT, "{part}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_of_the_wallets_journal_ends_with_74_and_answers_nothing() {
    wallet_fails_at(JOURNAL, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_of_the_wallets_anchor_ends_with_74_and_loses_no_answer() {
    wallet_fails_at("/data/wallet/ANCHOR", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_of_the_events_ends_with_74_and_acknowledges_nothing() {
    let disk = Disk::new();
    let mut hearth = on_disk(&disk);
    let mut client = hearth.client().await;
    let key = Key::random();
    let before: Vec<Event> = (0..20).map(|n| key.note(&format!("before {n}"))).collect();
    for event in &before {
        client.accept(event).await;
    }
    disk.control().arm(Fault::Fail, When::Before, 1, "/data/events/");
    let after: Vec<Event> = (0..20).map(|n| key.note(&format!("after {n}"))).collect();
    for event in &after {
        drop(client.try_send(format!("[\"EVENT\",{}]", event.json())).await);
    }
    let heard = last_words(&mut client).await;
    assert!(!promises(&heard), "acknowledged after the failure: {heard:?}");
    for one in &heard {
        if let Heard::Ok(_, verdict) = one {
            assert!(verdict.text.starts_with("error: "), "{verdict:?}");
        }
    }
    assert_eq!(hearth.wait().code(), Some(DISK_FAILED), "{}", hearth.log());
    assert!(hearth.log().contains("a write to disk failed"), "{}", hearth.log());

    hearth.launch();
    let mut client = hearth.client().await;
    let found = client.stored(&[json!({"authors": [key.hex], "limit": 100})]).await;
    assert!(before.iter().all(|event| found.contains(&event.id)), "acknowledged events are gone");
    for event in &after {
        client.accept(event).await;
    }
    assert_eq!(client.stored(&[json!({"authors": [key.hex], "limit": 100})]).await.len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_delays_and_fails_nothing() {
    let disk = Disk::new();
    let hearth = on_disk(&disk);
    let pair = pair(&hearth, 2).await;
    let mut client = hearth.client().await;
    for (fired, (request, part)) in (1..).zip(pair.requests.iter().zip(["/data/wallet/0", "/data/wallet/ANCHOR"])) {
        disk.control().arm(Fault::Delay { ms: 2_000 }, When::Before, 1, part);
        let (_, _, value) = pair.payer.exchange(&mut client, request).await;
        assert!(value["error"].is_null(), "{part}: {value}");
        // Nobody waits for the sync of the anchor, so it may come after the answer.
        eventually("the slow sync", async || disk.control().fired() == fired).await;
    }
    let key = Key::random();
    let mut reader = hearth.client().await;
    disk.control().arm(Fault::Delay { ms: 3_600_000 }, When::Before, 1, "/data/events/");
    // Reading does not wait for the write.
    let event = key.note("slowly");
    client.send_event(&event).await;
    eventually("the write", async || disk.control().fired() == 3).await;
    let found = reader.stored(&[json!({"authors": [key.hex]})]).await;
    assert!(found.is_empty(), "seen before it was on the disk");
    disk.control().release();
    assert!(client.verdict(&event.id).await.accepted);
    assert_eq!(reader.stored(&[json!({"authors": [key.hex]})]).await, [event.id]);
    assert_eq!(pair.payee.balance(&mut client).await, 2 * AMOUNT_MSAT);
}

/// The step before it: below the floor nothing is stored and nothing new is paid, reading goes on, what is under way ends, and the
/// words say what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_almost_full_disk_refuses_events_and_serves_everything_else() {
    let mut hearth = Hearth::start();
    let key = Key::random();
    let early = key.note("early");
    hearth.client().await.accept(&early).await;
    let pair = pair(&hearth, 1).await;
    hearth.terminate();
    // No disk has so much room.
    std::fs::write(hearth.dir().join("config.toml"), "[store]\nfree_bytes_min = 1000000000000000\n").unwrap();
    hearth.launch();
    let mut client = hearth.client().await;
    let verdict = client.publish(&key.note("late")).await;
    assert_eq!(
        (verdict.accepted, verdict.text.as_str()),
        (false, "error: the disk is almost full, nothing is stored until its owner makes room")
    );
    assert_eq!(client.stored(&[json!({"authors": [key.hex]})]).await, [early.id]);
    let (_, _, value) = pair.payer.exchange(&mut client, &pair.requests[0]).await;
    assert_eq!(value["error"]["code"], "INTERNAL", "{value}");
    assert!(value["error"]["message"].as_str().unwrap().contains("the disk of this wallet is almost full"), "{value}");
    assert_eq!(pair.payer.balance(&mut client).await, FUNDED_MSAT);
    ["almost full", "enlarge the disk"].iter().for_each(|words| hearth.says(words));
}

/// What was begun before the floor was reached ends below it: the decision about held money, its outcome and its answer, look-ups.
/// Then there is room again: the request that was refused stays refused, a new one is paid.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_floor_payments_under_way_end_and_new_ones_wait_for_room() {
    let mut hearth = Hearth::start();
    let pair = pair(&hearth, 1).await;
    let mut client = hearth.client().await;
    let preimage = const_hex::encode(rand::random::<[u8; 32]>());
    let hash = const_hex::encode(<sha2::Sha256 as sha2::Digest>::digest(const_hex::decode(&preimage).unwrap()));
    let made = pair.payee.call(&mut client, "make_hold_invoice", json!({"amount": 5_000, "payment_hash": hash})).await;
    let under_way = pair.payer.request("pay_invoice", &json!({"invoice": made["invoice"]}));
    client.accept(&under_way).await;
    let config = std::fs::read_to_string(hearth.dir().join("config.toml")).unwrap();
    hearth.terminate();
    std::fs::write(hearth.dir().join("config.toml"), "[store]\nfree_bytes_min = 1000000000000000\n").unwrap();
    hearth.launch();
    let mut client = hearth.client().await;
    let refused = pair.payer.exchange(&mut client, &pair.requests[0]).await.2;
    assert_eq!(refused["error"]["code"], "INTERNAL", "{refused}");
    let order = pair.payee.request("make_invoice", &json!({"amount": 1_000}));
    assert_eq!(pair.payee.exchange(&mut client, &order).await.2["error"]["code"], "INTERNAL");
    assert_eq!(pair.payer.balance(&mut client).await, FUNDED_MSAT - 5_000);
    let standing = pair.payee.call(&mut client, "lookup_invoice", json!({"payment_hash": hash})).await;
    assert_eq!(standing["state"], "accepted");
    pair.payee.call(&mut client, "settle_hold_invoice", json!({"preimage": preimage})).await;
    let mut answers = Vec::new();
    eventually("the payment is answered", async || {
        answers = client.stored_json("late", &[pair.payer.answers_to(&under_way)]).await;
        !answers.is_empty()
    })
    .await;
    let answer: Event = serde_json::from_str(&answers[0]).unwrap();
    assert_eq!(pair.payer.open(&under_way, &answer).1["result"]["preimage"], json!(preimage));
    hearth.terminate();
    std::fs::write(hearth.dir().join("config.toml"), config).unwrap();
    hearth.launch();
    let mut client = hearth.client().await;
    let again = pair.payer.exchange(&mut client, &pair.requests[0]).await.2;
    assert_eq!(again["error"]["code"], "INTERNAL", "it was told that nothing was paid: {again}");
    let invoice = pair.payee.invoice(&mut client, AMOUNT_MSAT).await;
    pair.payer.call(&mut client, "pay_invoice", json!({"invoice": invoice})).await;
    assert_eq!(pair.payer.balance(&mut client).await, FUNDED_MSAT - 5_000 - AMOUNT_MSAT);
}

/// The disk has no room for another byte of the event store: nothing is acknowledged, nothing that was is lost, and the log says
/// what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_acknowledges_nothing_and_loses_nothing() {
    let disk = Disk::new();
    let mut hearth = on_disk(&disk);
    let mut client = hearth.client().await;
    let key = Key::random();
    let before: Vec<Event> = (0..20).map(|n| key.note(&format!("before {n}"))).collect();
    for event in &before {
        client.accept(event).await;
    }
    disk.control().room(Some(100), "/data/events/");
    let late = key.note("late");
    client.send_event(&late).await;
    // The refusal and the end of the process race; what is heard of it is never a yes.
    let heard = last_words(&mut client).await;
    assert!(!promises(&heard), "acknowledged without room: {heard:?}");
    let is_addressed =
        |one: &Heard| matches!(one, Heard::Ok(id, verdict) if *id == late.id && verdict.text.starts_with("error: "));
    assert!(heard.iter().all(is_addressed), "{heard:?}");
    assert_eq!(hearth.wait().code(), Some(DISK_FAILED), "{}", hearth.log());
    let log = hearth.log();
    assert!(log.contains("No space left on device"), "{log}");

    disk.control().room(None, "");
    hearth.launch();
    let mut client = hearth.client().await;
    let found = client.stored(&[json!({"authors": [key.hex], "limit": 100})]).await;
    assert!(before.iter().all(|event| found.contains(&event.id)), "acknowledged events are gone");
    client.accept(&late).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_pays_nothing_and_loses_no_payment() {
    let disk = Disk::new();
    let mut hearth = on_disk(&disk);
    let pair = pair(&hearth, 3).await;
    let mut client = hearth.client().await;
    let (_, first, _) = pair.payer.exchange(&mut client, &pair.requests[0]).await;
    client.stored_json("answers", &[json!({"kinds": [23_195], "authors": [pair.payer.wallet], "limit": 0})]).await;
    disk.control().room(Some(100), "/data/wallet/");
    client.send_event(&pair.requests[1]).await;
    let heard = last_words(&mut client).await;
    assert!(!promises(&heard), "acknowledged or answered without room: {heard:?}");
    assert_eq!(hearth.wait().code(), Some(DISK_FAILED), "{}", hearth.log());
    assert!(hearth.log().contains("No space left on device"), "{}", hearth.log());

    disk.control().room(None, "");
    hearth.launch();
    let mut client = hearth.client().await;
    for (index, request) in pair.requests.iter().enumerate() {
        let (answer, value) = ask_again(&pair.payer, &mut client, request).await;
        assert!(value["error"].is_null(), "{value}");
        assert!(index > 0 || answer == first);
    }
    eventually("all three are paid", async || pair.payee.balance(&mut client).await == 3 * AMOUNT_MSAT).await;
}
