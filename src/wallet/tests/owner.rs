//! The owner's side: connections made, shown, announced and ended.

use nostr::nips::nip47::NostrWalletConnectUri;

use super::{House, NOW_S};
use crate::base::amount::Msat;
use crate::base::shutdown::Shutdown;
use crate::protocol::event::Draft;
use crate::wallet::access::connection::Standing;
use crate::wallet::owner::{ConnectError, NamedError, NewConnection};
use crate::wallet::{Config, Wallet};

fn wish(name: &str) -> NewConnection {
    NewConnection { name: name.to_owned(), ..NewConnection::default() }
}

/// Starts the wallet and stops it again, so that it announces what it has to.
fn started_and_stopped(house: &House) {
    let shutdown = Shutdown::new();
    shutdown.stop();
    house.wait(house.wallet.clone().run(shutdown));
}

#[test]
fn the_pairing_code_is_what_clients_read_and_nothing_of_it_is_kept() {
    let house = House::new();
    let made = house.wait(house.wallet.connect(wish("phone"))).unwrap();
    assert_eq!((made.name.as_str(), made.account.as_str()), ("phone", "main"));
    let uri = NostrWalletConnectUri::parse(&made.uri).unwrap();
    assert_eq!(uri.public_key.to_hex(), made.wallet.to_string());
    assert_eq!(uri.relays[0].to_string(), "ws://127.0.0.1:7777");
    let client = nostr::key::Keys::new(uri.secret.clone()).public_key();
    assert_eq!(client.to_hex(), made.client.to_string());
    let secret = uri.secret.to_secret_hex();
    assert!(!format!("{made:?}{:?}", house.wallet.connections()).contains(&secret));
    house.wallet.money().close();
    for file in walk(house.dir.path()) {
        let bytes = std::fs::read(&file).unwrap();
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!holds(secret.as_bytes()) && !holds(uri.secret.as_secret_bytes()), "{}", file.display());
    }
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn wishes_that_make_no_sense_are_refused() {
    let house = House::new();
    let refused = |wish| house.wait(house.wallet.connect(wish)).unwrap_err();
    house.wait(house.wallet.connect(wish("phone"))).unwrap();
    assert_eq!(refused(wish("phone")), ConnectError::Taken("phone".to_owned()));
    assert!(matches!(refused(wish("")), ConnectError::Name(_)));
    assert!(matches!(refused(wish(&"x".repeat(65))), ConnectError::Name(_)));
    let unknown = NewConnection { methods: vec!["fly".to_owned()], ..wish("a") };
    assert_eq!(
        refused(unknown).to_string(),
        "there is no method \"fly\"; there are: pay_invoice make_invoice lookup_invoice list_transactions get_balance get_info \
         get_budget pay_keysend multi_pay_invoice multi_pay_keysend make_hold_invoice settle_hold_invoice cancel_hold_invoice \
         pay receive sign_message create_connection"
    );
    for relay in ["http://x", "wss://", "wss://a b", "", "ws://\u{e4}"] {
        let bad = NewConnection { relays: vec![relay.to_owned()], ..wish("a") };
        assert!(matches!(refused(bad), ConnectError::Relay(_)), "{relay}");
    }
    let off_curve = NewConnection { client: Some([0xff; 32].into()), ..wish("a") };
    assert!(matches!(refused(off_curve), ConnectError::Peer(_)));
    assert_eq!(house.wallet.connections().len(), 1);
}

#[test]
fn a_client_may_bring_its_own_key() {
    let house = House::new();
    let own = nostr::key::Keys::generate().public_key();
    let client = crate::base::hex32::PublicKey::parse(&own.to_hex()).unwrap();
    let made = house.wait(house.wallet.connect(NewConnection { client: Some(client), ..wish("page") })).unwrap();
    assert_eq!(made.client, client);
    assert!(!made.uri.contains("secret"));
}

#[test]
fn a_connection_is_announced_when_it_is_made_and_silenced_when_it_ends() {
    let house = House::new();
    let methods = vec!["get_info".to_owned(), "pay_invoice".to_owned()];
    let app = house.app_with(NewConnection { methods, no_nip04: true, ..wish("phone") });
    let info = house.ear.announced(&app.wallet).unwrap();
    let draft = Draft::parse(info.json()).unwrap();
    assert_eq!((draft.kind, &*draft.content, draft.created_at), (13_194, "pay_invoice get_info notifications", NOW_S));
    assert_eq!(draft.tag_value("encryption"), Some("nip44_v2"));
    assert_eq!(draft.tag_value("notifications"), Some("payment_received payment_sent"));
    assert_eq!(draft.tag_value("extensions"), Some("02 06"));

    house.wait(house.wallet.revoke("phone")).unwrap();
    let last = house.ear.announced(&app.wallet).unwrap();
    assert_eq!(&*Draft::parse(last.json()).unwrap().content, "");
    assert!(last.created_at() > info.created_at());
    assert_eq!(house.wait(house.wallet.revoke("phone")).unwrap_err(), NamedError::RevokedBefore("phone".to_owned()));
    assert_eq!(house.wait(house.wallet.revoke("pad")).unwrap_err(), NamedError::NoConnection("pad".to_owned()));
}

#[test]
fn every_start_offers_the_same_announcement_byte_for_byte() {
    let house = House::new();
    let app = house.app("phone");
    let first = house.ear.announced(&app.wallet).unwrap();
    house.forward_s(86_400);
    let house = house.restarted();
    assert!(house.ear.announced(&app.wallet).is_none());
    started_and_stopped(&house);
    assert_eq!(house.ear.announced(&app.wallet), Some(first));
}

#[test]
fn a_connection_that_expired_while_nobody_looked_is_announced_anew() {
    let house = House::new();
    let app = house.app_with(NewConnection { expires_in_s: Some(60), ..wish("phone") });
    house.forward_s(3_600);
    let house = house.restarted();
    started_and_stopped(&house);
    let info = house.ear.announced(&app.wallet).unwrap();
    assert_eq!((&*Draft::parse(info.json()).unwrap().content, info.created_at()), ("", NOW_S + 3_600));
    let house = house.restarted();
    started_and_stopped(&house);
    assert_eq!(house.ear.announced(&app.wallet), Some(info));
}

#[test]
fn the_owner_sees_connections_accounts_and_payments() {
    let house = House::new();
    let (alice, bob) = (house.funded("alice", 100_000), house.app("bob"));
    house.result(&alice, "pay_invoice", serde_json::json!({ "invoice": house.invoice(&bob, 1_000) }));
    let view = house.wallet.connection("alice").unwrap();
    assert_eq!((view.account.as_str(), view.standing), ("alice", Standing::Active));
    assert_eq!(view.hosted.seen_at_s(), Some(NOW_S));
    assert_eq!(view.answers_waiting, 1);
    let names: Vec<_> = house.wallet.money().accounts().into_iter().map(|account| account.name).collect();
    assert_eq!(names, ["main", "alice", "bob"]);
    let of = |account| house.wallet.payments(account, &Default::default()).unwrap().transactions.len();
    assert_eq!((of(None), of(Some("alice")), of(Some("bob"))), (2, 1, 1));
    assert!(house.wallet.payments(Some("carol"), &Default::default()).is_err());
    let nobody = house.wait(house.wallet.fund("carol", Msat::new(1).unwrap()));
    let words = nobody.unwrap_err().to_string();
    assert!(words.contains("no account named \"carol\"") && words.contains("hearth wallet accounts"), "{words}");
}

#[test]
fn a_name_can_be_given_again_after_its_end() {
    let house = House::new();
    let first = house.app("phone");
    house.wait(house.wallet.revoke("phone")).unwrap();
    let second = house.app("phone");
    assert_ne!(first.wallet, second.wallet);
    assert_eq!(house.wallet.connection("phone").unwrap().hosted.keys.wallet, second.wallet);
    assert_eq!(house.wallet.connections().len(), 2);
}

#[test]
fn a_seed_of_another_wallet_is_noticed() {
    let house = House::new();
    house.app("phone");
    let money = house.wallet.money().clone();
    let seed = crate::wallet::access::keys::WalletSeed::new(crate::base::secret::Secret::new([77; 32]));
    let ear = std::sync::Arc::new(super::Ear::default());
    let answers = crate::wallet::Answers::new(seed, crate::wallet::outbox::Config::default(), ear, house.clock.clone());
    let opened = Wallet::open(crate::wallet::Parts { answers, money, config: Config::default() });
    let words = opened.err().map(|error| error.to_string()).unwrap();
    assert!(words.contains("(\"phone\") has another wallet key than the seed gives"), "{words}");
}
