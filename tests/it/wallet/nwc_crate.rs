//! The `nwc` crate, unmodified, against the URI that `hearth wallet connect` prints.

use nwc::NWC;
use nwc::prelude::{
    ErrorCode, ListTransactionsRequest, LookupInvoiceRequest, MakeInvoiceRequest, Method, NostrWalletConnectURI,
    PayInvoiceRequest, TransactionState, TransactionType,
};

use super::Two;
use crate::support::App;

fn app(of: &App) -> NWC {
    NWC::new(NostrWalletConnectURI::parse(&of.uri).unwrap())
}

fn make(amount: u64, description: &str) -> MakeInvoiceRequest {
    MakeInvoiceRequest { amount, description: Some(description.to_owned()), description_hash: None, expiry: Some(600) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nwc_crate_does_everything_that_it_can() {
    let two = Two::new(1_000_000).await;
    let (payer, payee) = (app(&two.payer), app(&two.payee));
    let info = payer.get_info().await.unwrap();
    for method in [Method::PayInvoice, Method::MakeInvoice, Method::GetBalance, Method::LookupInvoice, Method::ListTransactions] {
        assert!(info.methods.contains(&method), "{info:?}");
    }
    assert_eq!((payer.get_balance().await.unwrap(), payee.get_balance().await.unwrap()), (1_000_000, 0));

    let made = payee.make_invoice(make(250_000, "from the nwc crate")).await.unwrap();
    let hash = made.payment_hash.clone().unwrap();
    let by_hash = || LookupInvoiceRequest { payment_hash: Some(hash.clone()), invoice: None };
    let pending = payee.lookup_invoice(by_hash()).await.unwrap();
    assert_eq!((pending.state, pending.amount), (Some(TransactionState::Pending), 250_000));

    let paid = payer.pay_invoice(PayInvoiceRequest::new(made.invoice.clone())).await.unwrap();
    assert_eq!(super::hash_of(&paid.preimage), hash);
    let settled = payee.lookup_invoice(by_hash()).await.unwrap();
    assert_eq!((settled.state, settled.transaction_type), (Some(TransactionState::Settled), Some(TransactionType::Incoming)));
    assert!(settled.settled_at.is_some());
    let sent = payer.lookup_invoice(LookupInvoiceRequest { payment_hash: None, invoice: Some(made.invoice) }).await.unwrap();
    assert_eq!((sent.transaction_type, sent.preimage), (Some(TransactionType::Outgoing), Some(paid.preimage)));
    assert_eq!((payer.get_balance().await.unwrap(), payee.get_balance().await.unwrap()), (750_000, 250_000));

    let listed = payee.list_transactions(ListTransactionsRequest::default()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].description.as_deref(), Some("from the nwc crate"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nwc_crate_understands_every_refusal() {
    let two = Two::new(1_000_000).await;
    let (payer, payee) = (app(&two.payer), app(&two.payee));
    let code = |error: nwc::Error| match error {
        nwc::Error::NIP47(nwc::nostr::nips::nip47::Error::ErrorCode(refused)) => refused.code,
        other => panic!("not a refusal that it understands: {other}"),
    };
    let too_much = payee.make_invoice(make(2_000_000, "")).await.unwrap();
    let refused = payer.pay_invoice(PayInvoiceRequest::new(too_much.invoice)).await.unwrap_err();
    assert_eq!(code(refused), ErrorCode::InsufficientBalance);
    let refused = payer.pay_invoice(PayInvoiceRequest::new("nonsense")).await.unwrap_err();
    assert_eq!(code(refused), ErrorCode::Other);
    let foreign = crate::support::invoice::foreign_invoice(lightning_invoice::Currency::Regtest, Some(500), 0);
    let refused = code(payer.pay_invoice(PayInvoiceRequest::new(foreign)).await.unwrap_err());
    assert!([ErrorCode::PaymentFailed, ErrorCode::Other].contains(&refused), "{refused:?}");
    let nothing = LookupInvoiceRequest { payment_hash: Some("00".repeat(32)), invoice: None };
    assert_eq!(code(payer.lookup_invoice(nothing).await.unwrap_err()), ErrorCode::NotFound);
    two.hearth.json(&["wallet", "revoke", "payer"]);
    assert_eq!(code(payer.get_balance().await.unwrap_err()), ErrorCode::Unauthorized);
}

/// What tests/README.md says of this client, method by method.
fn column() -> Vec<(String, String)> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/README.md")).unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect()
    };
    let mut lines = readme.lines().skip_while(|line| !line.starts_with("| method |"));
    let at = cells(lines.next().unwrap()).iter().position(|name| name == "nwc crate (NIP-04)").unwrap();
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|line| (cells(line)[0].clone(), cells(line)[at].clone())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_it_can_is_as_the_table_says() {
    use nwc::prelude::PayKeysendRequest;
    let two = Two::new(1_000_000).await;
    let (payer, payee) = (app(&two.payer), app(&two.payee));
    let result = |outcome: Result<(), nwc::Error>| match outcome {
        Ok(()) => "ok".to_owned(),
        Err(nwc::Error::NIP47(nwc::nostr::nips::nip47::Error::ErrorCode(refused))) => {
            serde_json::to_value(refused.code).unwrap().as_str().unwrap().to_owned()
        }
        Err(other) => panic!("not a refusal that it understands: {other}"),
    };
    payee.subscribe_to_notifications().await.unwrap();
    let made = payee.make_invoice(make(1_000, "table")).await;
    let invoice = made.as_ref().unwrap().invoice.clone();
    let key = format!("02{}", crate::support::Key::random().hex);
    let keysend = PayKeysendRequest { id: None, amount: 1_000, pubkey: key, preimage: None, tlv_records: Vec::new() };
    let lookup = LookupInvoiceRequest { payment_hash: None, invoice: Some(invoice.clone()) };
    let mut found = vec![
        ("make_invoice", result(made.map(drop))),
        ("pay_invoice", result(payer.pay_invoice(PayInvoiceRequest::new(invoice.clone())).await.map(drop))),
        ("pay_keysend", result(payer.pay_keysend(keysend).await.map(drop))),
        ("lookup_invoice", result(payee.lookup_invoice(lookup).await.map(drop))),
        ("list_transactions", result(payee.list_transactions(ListTransactionsRequest::default()).await.map(drop))),
        ("get_balance", result(payee.get_balance().await.map(drop))),
        ("get_info", result(payee.get_info().await.map(drop))),
    ];
    // It listens from the second on in which it subscribed; a payment of now is heard for sure.
    let again = payee.make_invoice(make(2_000, "told")).await.unwrap();
    let told = std::cell::RefCell::new(None);
    let listen = payee.handle_notifications(|notification| {
        told.replace(Some(notification));
        async { Ok(true) }
    });
    let pay = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        payer.pay_invoice(PayInvoiceRequest::new(again.invoice)).await.unwrap();
    };
    let both = async { tokio::join!(listen, pay) };
    tokio::time::timeout(crate::support::PATIENCE, both).await.unwrap().0.unwrap();
    let notification = told.into_inner().unwrap();
    assert_eq!(notification.notification_type, nwc::nostr::nips::nip47::NotificationType::PaymentReceived);
    found.push(("notifications", "ok".to_owned()));
    for (method, expected) in column() {
        let got = found.iter().find(|(name, _)| *name == method).map_or("-", |(_, result)| result.as_str());
        assert_eq!(got, expected, "{method}");
    }
}
