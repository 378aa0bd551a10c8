//! What the back end over gRPC makes of a wallet that is away, that is another one, or that was never there.

use std::sync::Arc;
use std::time::Duration;

use hearth::wallet::backend::grpc::address::Address;
use hearth::wallet::backend::grpc::{Config, Grpc, OpenError};
use hearth::wallet::backend::{Backend, LookupResult, SendOrder, SendResult};

use crate::process::{Rust, Wallet};
use crate::suite::orders::{answer, ask, lookup, make_invoice, msat, new_invoice, order, preimage, send};
use crate::suite::{PATIENCE, Reports, ready};
use crate::support::eventually;
use crate::worlds::open;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_is_away_everything_is_answered_at_once_and_nothing_is_failed() {
    let mut wallet = Wallet::start::<Rust>();
    let backend = open(&wallet).await;
    let (invoice, _) = wallet.invoice(Some(5_000), "settle");
    let order = order(&invoice, None);
    wallet.kill();
    eventually("the loss is noticed", async || backend.ready().is_err()).await;
    let words = backend.ready().unwrap_err().to_string();
    assert!(words.starts_with(&format!("the wallet at {} ", wallet.address())) && words.contains("tries again"), "{words}");
    assert!(matches!(answer(send(&backend, &order)).await, SendResult::NotGiven(_)), "nobody was there to take it");
    assert!(matches!(lookup(&backend, &order).await, LookupResult::Unknown(_)));
    let made = answer(ask(|done| backend.make_invoice(new_invoice(Some(1_000), preimage()), done))).await;
    assert!(made.is_err());
    wallet.launch();
    ready(&backend).await;
    // The order never arrived, and that can be said now.
    assert_eq!(lookup(&backend, &order).await, LookupResult::NotFound);
    assert!(matches!(answer(send(&backend, &order)).await, SendResult::Settled { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_must_be_met_once_and_may_be_away_later() {
    let mut wallet = Wallet::start::<Rust>();
    let config = Config::new(Address::parse(&wallet.address()).unwrap());
    let pubkey = open(&wallet).await.info().pubkey;
    wallet.kill();
    let Err(never_met) = Grpc::open(config.clone(), None).await else { panic!("nobody was there") };
    assert!(matches!(&never_met, OpenError::NeverMet { .. }), "{never_met}");
    assert!(never_met.to_string().contains("must be running when hearth meets it for the first time"), "{never_met}");
    let backend: Arc<dyn Backend> = Arc::new(Grpc::open(config, Some(wallet.folder())).await.unwrap());
    assert_eq!((backend.info().pubkey, backend.capabilities().keysend), (pubkey, true));
    assert!(backend.ready().is_err());
    wallet.launch();
    ready(&backend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_wallet_at_the_same_address_is_turned_away() {
    let mut wallet = Wallet::start::<Rust>();
    let backend = open(&wallet).await;
    let (invoice, _) = wallet.invoice(Some(5_000), "wait");
    let order = order(&invoice, None);
    let told = send(&backend, &order);
    crate::suite::orders::looked_up(&backend, &order, |found| matches!(found, LookupResult::Pending)).await;
    wallet.kill();
    assert!(matches!(answer(told).await, SendResult::Unknown(_)), "the connection was lost");
    std::fs::remove_dir_all(wallet.folder().with_file_name("state")).unwrap();
    wallet.launch();
    eventually("it is seen to be another one", async || {
        backend.ready().is_err_and(|error| error.to_string().contains("is another one"))
    })
    .await;
    // It would say that it never heard of this payment.
    assert!(matches!(lookup(&backend, &order).await, LookupResult::Unknown(_)));
    let config = Config::new(Address::parse(&wallet.address()).unwrap());
    let Err(error) = Grpc::open(config, Some(wallet.folder())).await else { panic!("another wallet was taken") };
    assert!(matches!(&error, OpenError::Another { .. }) && error.to_string().contains("peer.json"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_hangs_blocks_nobody() {
    let wallet = Wallet::start::<Rust>();
    let config = Config {
        payments_max: 1,
        payment_timeout: Duration::from_secs(10),
        ..Config::new(Address::parse(&wallet.address()).unwrap())
    };
    let backend: Arc<dyn Backend> = Arc::new(Grpc::open(config, None).await.unwrap());
    let hanging = order(&wallet.invoice(Some(5_000), "wait").0, None);
    let told = send(&backend, &hanging);
    for _ in 0..3 {
        let quick = order(&wallet.invoice(Some(5_000), "settle").0, None);
        assert!(matches!(answer(send(&backend, &quick)).await, SendResult::Settled { .. }));
    }
    assert!(matches!(answer(told).await, SendResult::Unknown(_)), "after its time nobody knows");
    assert_eq!(lookup(&backend, &hanging).await, LookupResult::Pending);
}

/// A wallet that does not answer at all has as many as it may; the others wait for a place, and reached nobody when that takes too long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_found_no_place_was_not_given_to_the_wallet() {
    let wallet = Wallet::start::<Rust>();
    let limit = Duration::from_secs(1);
    let config = Config { payments_max: 1, payment_timeout: limit, ..Config::new(Address::parse(&wallet.address()).unwrap()) };
    let backend: Arc<dyn Backend> = Arc::new(Grpc::open(config, None).await.unwrap());
    let new_order = || order(&wallet.invoice(Some(5_000), "settle").0, None);
    let over = SendOrder { until_s: 1, ..new_order() };
    let orders: [SendOrder; 6] = std::array::from_fn(|_| new_order());
    assert!(matches!(answer(send(&backend, &over)).await, SendResult::NotGiven(_)), "its request was over");
    wallet.pause();
    let told: Vec<_> = orders.iter().map(|order| send(&backend, order)).collect();
    let mut said = Vec::new();
    for told in told {
        said.push(answer(told).await);
    }
    wallet.go_on();
    // Any of them may have come first.
    assert!(said.iter().any(|said| matches!(said, SendResult::Unknown(_))), "{said:?}");
    ready(&backend).await;
    let not_given = orders.iter().zip(&said).filter(|(_, said)| matches!(said, SendResult::NotGiven(_)));
    let not_given: Vec<_> = not_given.map(|(order, _)| order).collect();
    // One may have had the place of the first for as long as the others waited.
    assert!(!not_given.is_empty(), "{said:?}");
    for order in not_given.into_iter().chain([&over]) {
        assert_eq!(lookup(&backend, order).await, LookupResult::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outcome_of_a_waiting_payment_comes_by_event() {
    let wallet = Wallet::start::<Rust>();
    // So long that only an event can bring it.
    let config = Config { payment_timeout: PATIENCE * 10, ..Config::new(Address::parse(&wallet.address()).unwrap()) };
    let backend: Arc<dyn Backend> = Arc::new(Grpc::open(config, None).await.unwrap());
    let _reports = Reports::of(&backend);
    let (invoice, hash) = wallet.invoice(Some(5_000), "wait");
    let order = order(&invoice, None);
    let told = send(&backend, &order);
    crate::suite::orders::looked_up(&backend, &order, |found| matches!(found, LookupResult::Pending)).await;
    wallet.ask(&serde_json::json!({"do": "take", "hash": hash})).unwrap();
    assert!(matches!(answer(told).await, SendResult::Settled { fee, .. } if fee == msat(100)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cursor_moves_only_when_a_report_is_safe() {
    let wallet = Wallet::start::<Rust>();
    let backend = open(&wallet).await;
    let mut reports = Reports::of(&backend);
    let cursor = || std::fs::read_to_string(wallet.folder().join("cursor")).unwrap_or_default();
    let mut acks = Vec::new();
    for _ in 0..2 {
        let made = make_invoice(&backend, new_invoice(Some(2_000), preimage())).await;
        wallet.ask(&serde_json::json!({"do": "pay", "invoice": made.bolt11})).unwrap();
        acks.push(reports.next(made.hash).await.1);
    }
    let (first, second) = (acks.remove(0), acks.remove(0));
    second();
    assert_eq!(cursor(), "", "the first is not safe");
    first();
    eventually("the cursor is written", async || !cursor().is_empty()).await;
}
