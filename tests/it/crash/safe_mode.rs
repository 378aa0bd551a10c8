//! Safe mode of the real program: the wallet's newest records are gone. Reading goes on, nothing is paid, everything that can be
//! asked says so; its owner leads it out, and what may have been paid already is not paid again.

use std::path::Path;

use serde_json::{Value, json};

use super::damage::{Files, files_of};
use crate::support::{App, Client, Event, Hearth, eventually, now_s};

const FUNDED_MSAT: u64 = 1_000_000;

/// A hearth whose wallet has a part that is safely in tables, and a payment whose records are in the log only.
struct House {
    hearth: Hearth,
    payer: App,
    payee: App,
    /// The payment whose records will be gone.
    paid: Event,
    /// An invoice that nobody has paid yet.
    unpaid: Value,
    /// The wallet's files before that payment.
    yesterday: Files,
}

impl House {
    async fn build() -> Self {
        let mut hearth = Hearth::start();
        let payer = App::connect(&hearth, "payer", &["--account", "payer"]);
        let payee = App::connect(&hearth, "payee", &["--account", "payee"]);
        hearth.fund("payer", FUNDED_MSAT);
        let mut client = hearth.client().await;
        let (first, unpaid) = (payee.invoice(&mut client, 5_000).await, payee.invoice(&mut client, 6_000).await);
        assert_eq!(hearth.terminate().code(), Some(0));
        let yesterday = files_of(&hearth.data().join("wallet"));
        assert!(yesterday.keys().any(|name| name.ends_with(".sst")), "the ordered end leaves tables");
        hearth.launch();
        let mut client = hearth.client().await;
        let paid = payer.request("pay_invoice", &json!({"invoice": first}));
        let said = payer.exchange(&mut client, &paid).await.2;
        assert!(said["error"].is_null(), "{said}");
        is_calm(&hearth).await;
        hearth.kill();
        Self { hearth, payer, payee, paid, unpaid: json!({"invoice": unpaid}), yesterday }
    }

    async fn balances(&self, client: &mut Client) -> (u64, u64) {
        (self.payer.balance(client).await, self.payee.balance(client).await)
    }

    /// Runs a command that must fail: its exit code and what it said.
    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.hearth.run(arguments);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

/// The figures of good times.
async fn is_calm(hearth: &Hearth) {
    assert_eq!(hearth.json(&["wallet", "status"])["safe_mode"], "");
    assert_eq!(hearth.figure("wallet_safe_mode").await, 0.0);
    assert_eq!(hearth.figure("nwc_invariant_violations_total").await, 0.0);
}

/// Reading works, paying does not, and everybody who asks is told what to do. Returns a request of this time.
async fn is_safe(house: &House) -> Event {
    let (hearth, mut client) = (&house.hearth, house.hearth.client().await);
    assert_eq!(house.balances(&mut client).await, (FUNDED_MSAT, 0), "the books of yesterday");
    let request = house.payer.request("pay_invoice", &house.unpaid);
    let said = house.payer.exchange(&mut client, &house.payer.request("pay_invoice", &house.unpaid)).await.2;
    assert_eq!(said["error"]["code"], "INTERNAL", "{said}");
    assert!(said["error"]["message"].as_str().unwrap().contains("the wallet is in safe mode, nothing is paid"), "{said}");
    house.payee.refusal(&mut client, "make_invoice", json!({"amount": 1_000})).await;
    assert_eq!(house.balances(&mut client).await, (FUNDED_MSAT, 0), "nothing was paid");

    let state = hearth.json(&["wallet", "status"]);
    let why = state["safe_mode"].as_str().unwrap();
    assert!(why.contains("Nothing is paid") && why.contains("copy"), "what to do is not said: {state}");
    assert!(state["alarms"][0].as_str().unwrap().contains("safe mode"), "{state}");
    let text = String::from_utf8(hearth.run(&["wallet", "status"]).stdout).unwrap();
    assert!(text.contains("YES: ") && text.contains("ALARM"), "{text}");
    hearth.says("wallet is in safe mode");
    assert_eq!(hearth.figure("wallet_safe_mode").await, 1.0);
    assert_eq!(hearth.figure("nwc_invariant_violations_total").await, 1.0);

    let (code, words) = house.fails(&["wallet", "fund", "payer", "1"]);
    assert!(code == 1 && words.contains("safe mode"), "{code}: {words}");
    let (code, words) = house.fails(&["wallet", "reconcile"]);
    assert!(code == 2 && words.contains("--yes"), "nobody was there to say so: {code}: {words}");
    assert_eq!(hearth.figure("wallet_safe_mode").await, 1.0, "a question is no answer");
    request
}

async fn is_refused(house: &House, client: &mut Client, request: &Event) {
    let said = house.payer.exchange(client, request).await.2;
    assert_eq!(said["error"]["code"], "OTHER", "{said}");
    assert!(said["error"]["message"].as_str().unwrap().contains("restored after this request was made"), "{said}");
}

async fn the_owner_leads_out(damage: impl Fn(&Path, &Files)) {
    let mut house = House::build().await;
    damage(&house.hearth.data().join("wallet"), &house.yesterday);
    house.hearth.launch();
    is_safe(&house).await;
    house.hearth.kill();
    house.hearth.launch();
    let from_before = is_safe(&house).await;

    let done = house.hearth.json(&["wallet", "reconcile", "--yes"]);
    assert!(done["records_lost"].as_u64().unwrap() > 0 && done["journal_seq"].as_u64().unwrap() > 0, "{done}");
    assert_eq!(house.hearth.figure("wallet_safe_mode").await, 0.0);
    assert_eq!(house.hearth.json(&["wallet", "status"])["safe_mode"], "");
    let (code, words) = house.fails(&["wallet", "reconcile", "--yes"]);
    assert!(code == 1 && words.contains("not in safe mode"), "{code}: {words}");
    let counts_from_s = done["refused_before_s"].as_u64().unwrap();
    eventually("the moment from which requests count", async || now_s() >= counts_from_s).await;

    let mut client = house.hearth.client().await;
    is_refused(&house, &mut client, &house.paid).await;
    is_refused(&house, &mut client, &from_before).await;
    assert_eq!(house.balances(&mut client).await, (FUNDED_MSAT, 0));
    let request = house.payer.request("pay_invoice", &house.unpaid);
    let (_, answer, said) = house.payer.exchange(&mut client, &request).await;
    assert!(said["error"].is_null(), "{said}");
    assert_eq!(house.balances(&mut client).await, (FUNDED_MSAT - 6_000, 6_000));

    house.hearth.kill();
    house.hearth.launch();
    is_calm(&house.hearth).await;
    let mut client = house.hearth.client().await;
    is_refused(&house, &mut client, &house.paid).await;
    let again = super::ask_again(&house.payer, &mut client, &request).await.0;
    assert_eq!(again, answer, "the same request, the same answer");
    assert_eq!(house.balances(&mut client).await, (FUNDED_MSAT - 6_000, 6_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_leads_a_wallet_out_whose_log_was_deleted() {
    the_owner_leads_out(|wallet, _| {
        let mut deleted = 0;
        for name in files_of(wallet).keys().filter(|name| name.ends_with(".log")) {
            std::fs::remove_file(wallet.join(name)).unwrap();
            deleted += 1;
        }
        assert!(deleted > 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_leads_a_wallet_out_whose_database_is_an_older_copy() {
    the_owner_leads_out(|wallet, yesterday| {
        let is_of_database = |name: &&String| name.as_str() != "ANCHOR";
        for name in files_of(wallet).keys().filter(is_of_database) {
            std::fs::remove_file(wallet.join(name)).unwrap();
        }
        for name in yesterday.keys().filter(is_of_database) {
            std::fs::write(wallet.join(name), &yesterday[name]).unwrap();
        }
    })
    .await;
}
