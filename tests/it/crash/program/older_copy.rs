//! The whole data directory of an hour ago is put back, together with its own anchor: everything in it fits, and only somebody outside
//! can know better. A wallet that tells what it has paid does. With the embedded wallet nobody does: then it is a past that is whole.

use serde_json::json;

use super::super::till::{AMOUNT_MSAT, FEE_MSAT, FUNDED_MSAT, Kind};
use super::wallet::{Wallet, paid_once};
use super::{Desk, Template, block_on, copy};
use crate::support::{App, Client, Event, Hearth, eventually, now_s};

/// Pays some requests and returns when all are answered.
async fn pay(desk: &mut Desk, hearth: &Hearth, payments: u64) {
    let mut client = desk.client(hearth).await;
    let from = desk.requests.len();
    (0..payments).for_each(|_| drop(desk.add(Kind::of(desk.requests.len() as u64))));
    desk.send(&mut client, &desk.requests[from..]).await;
    desk.hear_all(&mut client).await;
}

async fn put_back(hearth: &mut Hearth) {
    std::fs::remove_dir_all(hearth.data()).unwrap();
    copy(hearth.dir().join("an hour ago"), hearth.data());
    hearth.launch();
}

async fn error_of(app: &App, client: &mut Client, request: &Event) -> String {
    let said = app.exchange(client, request).await.2;
    assert!(said["result"].is_null(), "{said}");
    said["error"]["message"].as_str().unwrap().to_owned()
}

/// Nothing is paid, and everybody who asks is told why and what to do.
async fn is_safe(hearth: &Hearth, desk: &Desk, wallet: &Wallet) {
    eventually("safe mode", async || hearth.figure("wallet_safe_mode").await == 1.0).await;
    let paid = wallet.ledger.book().len();
    let mut client = hearth.client().await;
    // One that was answered in the hour that is lost, and a new one.
    let request = desk.requests.last().unwrap();
    assert!(error_of(&desk.app, &mut client, request).await.contains("safe mode"));
    let fresh = Desk { requests: desk.requests.clone(), ..Desk::new(&desk.app) }.add(Kind::BareKeysend);
    assert!(error_of(&desk.app, &mut client, &fresh).await.contains("safe mode"));
    assert_eq!(wallet.ledger.book().len(), paid, "it pays in safe mode");
    let state = hearth.json(&["wallet", "status"]);
    let why = state["safe_mode"].as_str().unwrap();
    for words in ["has carried out order", "older copy", "Nothing is paid", "hearth wallet reconcile"] {
        assert!(why.contains(words), "{words} is not said: {why}");
    }
    eventually("an alarm", async || hearth.figure("nwc_invariant_violations_total").await > 0.0).await;
    hearth.says("wallet is in safe mode");
}

#[test]
fn an_older_copy_with_its_own_anchor_is_noticed_by_what_the_wallet_behind_has_paid() {
    let template = Template::make();
    let wallet = Wallet::start(true, 0);
    let mut hearth = template.hearth(&wallet);
    let mut desk = Desk::new(&template.app);
    block_on(async {
        hearth.launch();
        pay(&mut desk, &hearth, 4).await;
        assert_eq!(hearth.terminate().code(), Some(0));
        copy(hearth.data(), hearth.dir().join("an hour ago"));
        hearth.launch();
        pay(&mut desk, &hearth, 4).await;
        assert_eq!(hearth.figure("wallet_safe_mode").await, 0.0, "what the journal knows is no reason");
        hearth.kill();
        let paid = wallet.ledger.book().len() as u64;

        put_back(&mut hearth).await;
        is_safe(&hearth, &desk, &wallet).await;
        // It is not forgotten by starting it again.
        hearth.kill();
        hearth.launch();
        is_safe(&hearth, &desk, &wallet).await;

        let done = hearth.json(&["wallet", "reconcile", "--yes"]);
        assert!(done["records_lost"].as_u64().unwrap() > 0, "{done}");
        assert_eq!(hearth.figure("wallet_safe_mode").await, 0.0);
        let counts_from_s = done["refused_before_s"].as_u64().unwrap();
        eventually("the moment from which requests count", async || now_s() >= counts_from_s).await;
        let mut client = hearth.client().await;
        for request in &desk.requests[4..7] {
            assert!(error_of(&desk.app, &mut client, request).await.contains("restored after this request was made"));
        }
        let fresh = desk.add(Kind::BareKeysend);
        let (_, answer, said) = desk.app.exchange(&mut client, &fresh).await;
        assert!(said["error"].is_null(), "{said}");

        // It stays so, and what was told once is not told again.
        hearth.kill();
        hearth.launch();
        let mut client = hearth.client().await;
        // The one that was asked in safe mode, which was told so then.
        let words = error_of(&desk.app, &mut client, &desk.requests[7]).await;
        assert!(
            ["restored after this request was made", "refused before hearth was started"].iter().any(|said| words.contains(said))
        );
        assert_eq!(super::super::ask_again(&desk.app, &mut client, &fresh).await.0, answer);
        assert_eq!(hearth.figure("wallet_safe_mode").await, 0.0);
        paid_once(&wallet.ledger.book()).unwrap();
        assert_eq!(wallet.ledger.book().len() as u64, paid + 1);
        // The books are those of the copy, and the payment since: what was paid in the hour between is the owner's to book.
        assert_eq!(desk.app.balance(&mut client).await, FUNDED_MSAT - 5 * (AMOUNT_MSAT + FEE_MSAT));
    });
}

/// Nobody outside knows of payments inside: the copy is taken for what it is, a past that is whole; what came after it never happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_with_its_own_anchor_and_the_embedded_wallet_is_a_past_that_is_whole() {
    let mut hearth = Hearth::start();
    let payer = App::connect(&hearth, "payer", &["--account", "payer"]);
    let payee = App::connect(&hearth, "payee", &["--account", "payee"]);
    hearth.fund("payer", 100_000);
    let mut client = hearth.client().await;
    let (first, second) = (payee.invoice(&mut client, 5_000).await, payee.invoice(&mut client, 6_000).await);
    let before = payer.request("pay_invoice", &json!({"invoice": first}));
    let answer = payer.exchange(&mut client, &before).await.1;
    assert_eq!(hearth.terminate().code(), Some(0));
    copy(hearth.data(), hearth.dir().join("an hour ago"));
    hearth.launch();
    let mut client = hearth.client().await;
    let since = payer.request("pay_invoice", &json!({"invoice": second}));
    assert!(payer.exchange(&mut client, &since).await.2["error"].is_null());
    hearth.kill();

    put_back(&mut hearth).await;
    let mut client = hearth.client().await;
    assert_eq!(hearth.figure("wallet_safe_mode").await, 0.0, "nothing says that there was more");
    assert_eq!((payer.balance(&mut client).await, payee.balance(&mut client).await), (95_000, 5_000));
    assert_eq!(super::super::ask_again(&payer, &mut client, &before).await.0, answer, "what is in the copy stands");
    // Asked again it is paid, now for the only time.
    assert!(super::super::ask_again(&payer, &mut client, &since).await.1["error"].is_null());
    assert_eq!((payer.balance(&mut client).await, payee.balance(&mut client).await), (89_000, 11_000));
}
