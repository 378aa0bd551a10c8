//! Answers read by the types of released clients: the `nwc` crate 0.44 (closed lists of codes and methods, NIP-04 only) and the
//! newest `nostr` crate (NIP-44).

use nostr::nips::nip47 as newest;
use nwc::nostr::JsonUtil;
use nwc::nostr::nips::nip47 as released;
use serde_json::json;

use super::House;
use crate::wallet::owner::NewConnection;

/// An app of the released client: its own requests in, its own types out.
struct Released {
    uri: released::NostrWalletConnectURI,
}

impl Released {
    fn connect(house: &House, name: &str) -> Self {
        let wish = NewConnection { name: name.to_owned(), account: Some(name.to_owned()), ..NewConnection::default() };
        let made = house.wait(house.wallet.connect(wish)).unwrap();
        Self { uri: released::NostrWalletConnectURI::parse(&made.uri).unwrap() }
    }

    fn ask(&self, house: &House, request: released::Request) -> released::Response {
        // Its clock is the machine's; the house follows.
        let event = request.to_event(&self.uri).unwrap();
        house.clock.set_ms(event.created_at.as_secs() * 1_000);
        let ours = crate::protocol::event::Draft::parse(&event.as_json()).unwrap().pack(&Default::default()).unwrap();
        assert!(house.hand_in(&ours).is_accepted());
        let answer = house.ear.answer(&ours.id());
        let answer = nwc::nostr::Event::from_json(answer.json()).unwrap();
        released::Response::from_event(&self.uri, &answer).unwrap()
    }
}

#[test]
fn the_released_nwc_crate_reads_every_method() {
    let house = House::new();
    let (alice, bob) = (Released::connect(&house, "alice"), Released::connect(&house, "bob"));
    house.wait(house.wallet.fund("alice", crate::base::amount::Msat::new(100_000).unwrap())).unwrap();
    let make = released::MakeInvoiceRequest { amount: 1_000, description: None, description_hash: None, expiry: None };
    let made = bob.ask(&house, released::Request::make_invoice(make)).to_make_invoice().unwrap();
    let pay = released::Request::pay_invoice(released::PayInvoiceRequest::new(made.invoice.clone()));
    assert_eq!(alice.ask(&house, pay).to_pay_invoice().unwrap().fees_paid, Some(0));
    let lookup = released::LookupInvoiceRequest { payment_hash: None, invoice: Some(made.invoice) };
    let found = bob.ask(&house, released::Request::lookup_invoice(lookup)).to_lookup_invoice().unwrap();
    assert_eq!((found.state, found.amount), (Some(released::TransactionState::Settled), 1_000));
    let list = released::Request::list_transactions(released::ListTransactionsRequest::default());
    assert_eq!(alice.ask(&house, list).to_list_transactions().unwrap().len(), 1);
    assert_eq!(bob.ask(&house, released::Request::get_balance()).to_get_balance().unwrap().balance, 1_000);
    let info = bob.ask(&house, released::Request::get_info()).to_get_info().unwrap();
    assert!(info.methods.contains(&released::Method::PayInvoice));
}

#[test]
fn the_released_nwc_crate_reads_every_refusal() {
    let house = House::new();
    let alice = Released::connect(&house, "alice");
    let code = |request| match alice.ask(&house, request).to_get_balance() {
        Err(released::Error::ErrorCode(error)) => error.code,
        other => panic!("{other:?}"),
    };
    let pay = || released::Request::pay_invoice(released::PayInvoiceRequest::new("garbage"));
    assert_eq!(code(pay()), released::ErrorCode::Other);
    let lookup = released::LookupInvoiceRequest { payment_hash: Some("00".repeat(32)), invoice: None };
    assert_eq!(code(released::Request::lookup_invoice(lookup)), released::ErrorCode::NotFound);
    let settle = released::SettleHoldInvoiceRequest { preimage: "00".repeat(32) };
    let hold = released::Request {
        method: released::Method::SettleHoldInvoice,
        params: released::RequestParams::SettleHoldInvoice(settle),
    };
    assert_eq!(code(hold), released::ErrorCode::NotFound);
    house.wait(house.wallet.revoke("alice")).unwrap();
    assert_eq!(code(pay()), released::ErrorCode::Unauthorized);
}

#[test]
fn the_newest_nostr_crate_reads_methods_that_it_does_not_know() {
    let house = House::new();
    let app = house.app("phone");
    let answer = house.ask(&app, "get_info", json!({}));
    let response = newest::Response::from_value(answer).unwrap();
    let info = response.to_get_info().unwrap();
    assert!(info.methods.contains(&newest::Method::Unknown("get_budget".to_owned())));
}
