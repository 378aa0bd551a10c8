//! The real program on `[wallet.lnd]`: it is killed and started again while the node lives on, and no payment is made twice or lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ldk_node::Event as NodeEvent;
use ldk_node::lightning_invoice::Bolt11Invoice;
use ldk_node::lightning_types::payment::{PaymentHash as LdkHash, PaymentPreimage};
use rand::Rng;
use serde_json::{Value, json};

use crate::lnd::LndServer;
use crate::node::{Node, Row, described};
use crate::rig::{fresh, hash, hash_of, run};
use crate::support::client::Heard;
use crate::support::{App, Client, Event, Hearth, PATIENCE, eventually};

const PAYMENTS: usize = 500;
const IN_FLIGHT: usize = 8;
const KILLS: usize = 20;
/// The first invoice; each is larger than the one before by one, so that none passes for another.
const AMOUNT_MSAT: u64 = 20_000;
const CHANNEL_SAT: u64 = 10_000_000;

fn config(server: &LndServer) -> String {
    let limits = "[rates]\nenabled = false\n[limits]\nconnections_per_ip = 10000\n";
    format!("{limits}{}", server.config_text())
}

/// Two nodes of its own, LND's interface on the first, hearth on that, and an app on the node's money.
struct House {
    app: App,
    hearth: Hearth,
    server: LndServer,
    row: Row,
}

impl House {
    async fn build() -> Self {
        let row = Row::start(&["d", "e"], CHANNEL_SAT).await;
        let server = LndServer::start(&row.nodes[0]).await;
        let config = config(&server);
        let hearth = tokio::task::spawn_blocking(move || Hearth::with_config(&config)).await.unwrap();
        let app = App::connect(&hearth, "phone", &["--account", "main"]);
        Self { app, hearth, server, row }
    }

    fn payee(&self) -> &Node {
        &self.row.nodes[1]
    }

    fn local_msat(&self) -> [u64; 2] {
        [self.row.nodes[0].local_msat(), self.row.nodes[1].local_msat()]
    }

    fn relaunch(&mut self) {
        tokio::task::block_in_place(|| self.hearth.launch());
    }
}

/// One payment that is asked for.
struct Wish {
    request: Event,
    hash: [u8; 32],
    amount_msat: u64,
}

/// What arrived at the payee, by hash: how often and how much.
type Arrived = Arc<Mutex<HashMap<[u8; 32], Vec<u64>>>>;

fn count_arrivals(node: &Node) -> Arrived {
    let arrived = Arrived::default();
    let (into, mut events) = (Arc::clone(&arrived), node.events.subscribe());
    tokio::spawn(async move {
        while let Ok(event) = events.recv().await {
            if let NodeEvent::PaymentReceived { payment_hash, amount_msat, .. } = event {
                into.lock().unwrap().entry(payment_hash.0).or_default().push(amount_msat);
            }
        }
    });
    arrived
}

#[test]
fn five_hundred_payments_and_twenty_kills() {
    run(async {
        let mut house = House::build().await;
        let arrived = count_arrivals(house.payee());
        let before = house.local_msat();
        let wishes: Vec<Wish> = (0..PAYMENTS)
            .map(|n| {
                let amount_msat = AMOUNT_MSAT + u64::try_from(n).unwrap();
                let invoice = house.payee().invoice(Some(amount_msat), &format!("{n}"));
                let request = house.app.request("pay_invoice", &json!({"invoice": invoice}));
                Wish { request, hash: hash_of(&invoice).0, amount_msat }
            })
            .collect();
        let mut drive = Drive { wishes: &wishes, begun: 0, answers: HashMap::new() };
        for kill in 0..=KILLS {
            // The last life goes on to the end.
            let enough = if kill < KILLS { PAYMENTS * (kill + 1) / (KILLS + 1) } else { PAYMENTS };
            drive.one_life(&house, enough).await;
            if kill < KILLS {
                let moment = Duration::from_millis(rand::rng().random_range(0..60));
                tokio::time::sleep(moment).await;
                house.hearth.kill();
                house.relaunch();
            }
        }
        everything_was_paid_once(&house, &wishes, &drive.answers, &arrived).await;
        let sum: u64 = wishes.iter().map(|wish| wish.amount_msat).sum();
        let expected = [before[0] - sum, before[1] + sum];
        eventually("both sides of the channel", async || house.local_msat() == expected).await;
        books_agree(&mut house, &wishes).await;
    });
}

/// Sends wishes with a window and collects answers, over many lives of the server.
struct Drive<'a> {
    wishes: &'a [Wish],
    begun: usize,
    answers: HashMap<String, Event>,
}

impl Drive<'_> {
    async fn one_life(&mut self, house: &House, enough: usize) {
        let mut client = house.hearth.client().await;
        let filter = json!({"kinds": [23_195], "authors": [house.app.wallet], "limit": 0});
        client.stored_json("answers", &[filter]).await;
        // Those of earlier lives again: a repeat is answered when there is an answer, and paid never.
        let older: Vec<&Wish> =
            self.wishes[..self.begun].iter().filter(|wish| !self.answers.contains_key(&wish.request.id)).collect();
        for wish in &older {
            client.send_event(&wish.request).await;
        }
        let first_of_this_life = self.begun;
        while self.answers.len() < enough {
            let young = self.wishes[first_of_this_life..self.begun].iter();
            let mut in_flight = young.filter(|wish| !self.answers.contains_key(&wish.request.id)).count();
            while in_flight < IN_FLIGHT && self.begun < self.wishes.len() {
                client.send_event(&self.wishes[self.begun].request).await;
                self.begun += 1;
                in_flight += 1;
            }
            self.hear(house, &mut client).await;
        }
    }

    async fn hear(&mut self, house: &House, client: &mut Client) {
        match client.next_within(PATIENCE).await.expect("an answer in time") {
            Heard::Event(_, text) => {
                let answer: Event = serde_json::from_str(&text).unwrap();
                let wish = self.wishes.iter().find(|wish| Some(wish.request.id.as_str()) == answer.tag("e")).unwrap();
                let (_, said) = house.app.open(&wish.request, &answer);
                let preimage = said["result"]["preimage"].as_str().unwrap_or_else(|| panic!("not paid: {said}"));
                let preimage: [u8; 32] = const_hex::decode(preimage).unwrap().try_into().unwrap();
                assert_eq!(hash(preimage).0, wish.hash);
                if let Some(before) = self.answers.insert(wish.request.id.clone(), answer.clone()) {
                    assert_eq!(before, answer, "another answer to the same request");
                }
            }
            Heard::Ok(_, verdict) => assert!(verdict.accepted, "{verdict:?}"),
            other => panic!("unexpected: {other:?}"),
        }
    }
}

async fn everything_was_paid_once(house: &House, wishes: &[Wish], answers: &HashMap<String, Event>, arrived: &Arrived) {
    assert_eq!(answers.len(), wishes.len());
    eventually("every payment at the payee", async || arrived.lock().unwrap().len() >= wishes.len()).await;
    let arrived = arrived.lock().unwrap();
    assert_eq!(arrived.len(), wishes.len());
    for wish in wishes {
        assert_eq!(house.server.times_begun(&wish.hash), 1, "begun at LND");
        assert_eq!(arrived[&wish.hash], [wish.amount_msat], "arrived at the payee");
    }
}

/// Hearth's own list says the same as the node and the payee.
async fn books_agree(house: &mut House, wishes: &[Wish]) {
    let mut client = house.hearth.client().await;
    let mut listed: BTreeMap<String, (String, u64)> = BTreeMap::new();
    for offset in (0..wishes.len()).step_by(20) {
        let page = json!({"type": "outgoing", "limit": 20, "offset": offset, "unpaid": true});
        let page = house.app.call(&mut client, "list_transactions", page).await;
        for one in page["transactions"].as_array().unwrap() {
            let text = |key: &str| one[key].as_str().unwrap().to_owned();
            listed.insert(text("payment_hash"), (text("state"), one["amount"].as_u64().unwrap()));
        }
    }
    assert_eq!(listed.len(), wishes.len());
    for wish in wishes {
        assert_eq!(listed[&const_hex::encode(wish.hash)], ("settled".to_owned(), wish.amount_msat));
    }
    // What the account shows is what the node can spend.
    eventually("the balance of the node", async || {
        let shown = house.app.balance(&mut client).await;
        let spendable: u64 = house.row.nodes[0].inner.list_channels().iter().map(|one| one.outbound_capacity_msat).sum();
        shown == spendable
    })
    .await;
}

#[test]
fn while_lnd_is_away_requests_are_refused_at_once_and_holds_stay() {
    run(async {
        let house = House::build().await;
        let (mut client, mut answers) = (house.hearth.client().await, house.hearth.client().await);
        let preimage = fresh();
        let ldk_hash = LdkHash(hash(preimage).0);
        let payments = house.payee().inner.bolt11_payment();
        let hold = payments.receive_for_hash(90_000, &described("hold"), 3_600, ldk_hash).unwrap().to_string();
        let mut events = house.payee().events.subscribe();
        let request = house.app.request("pay_invoice", &json!({"invoice": hold}));
        answers.subscribe("held", &[house.app.answers_to(&request)]).await;
        answers.until_eose("held").await;
        client.accept(&request).await;
        Node::event(&mut events, "a payment that waits", |event| {
            matches!(event, NodeEvent::PaymentClaimable { payment_hash, .. } if *payment_hash == ldk_hash).then_some(())
        })
        .await;

        house.server.pause().await;
        eventually("that hearth notices", async || house.hearth.log().contains("LND cannot be used")).await;
        let invoice = |n: u64| house.payee().invoice(Some(5_000 + n), "away");
        let mut n = 0;
        eventually("a refusal with words", async || {
            n += 1;
            let said = house.app.ask(&mut client, "pay_invoice", json!({"invoice": invoice(n)})).await;
            said["error"]["code"] == "INTERNAL"
                && said["error"]["message"].as_str().is_some_and(|words| words.contains("Nothing was sent"))
        })
        .await;
        house.server.resume().await;
        eventually("a payment after the node is back", async || {
            n += 1;
            let said = house.app.ask(&mut client, "pay_invoice", json!({"invoice": invoice(n)})).await;
            said["error"].is_null()
        })
        .await;
        payments.claim_for_hash(ldk_hash, 90_000, PaymentPreimage(preimage)).unwrap();
        let answer = answers.live("held").await;
        let (_, said) = house.app.open(&request, &answer);
        assert_eq!(said["result"]["preimage"], json!(const_hex::encode(preimage)), "{said}");
        assert_eq!(house.server.times_begun(&ldk_hash.0), 1);
    });
}

#[test]
fn money_that_comes_in_while_hearth_is_dead_is_there_afterwards() {
    run(async {
        let mut house = House::build().await;
        let mut client = house.hearth.client().await;
        let alive = house.app.call(&mut client, "make_invoice", json!({"amount": 31_000, "description": "alive"})).await;
        let dead = house.app.call(&mut client, "make_invoice", json!({"amount": 32_000, "description": "dead"})).await;
        pay(&house, &alive).await;
        is_settled(&house, &mut client, &alive).await;
        house.hearth.kill();
        pay(&house, &dead).await;
        house.relaunch();
        let mut client = house.hearth.client().await;
        is_settled(&house, &mut client, &dead).await;
        is_settled(&house, &mut client, &alive).await;
    });
}

/// The payee's node pays, to the end.
async fn pay(house: &House, made: &Value) {
    let invoice: Bolt11Invoice = made["invoice"].as_str().unwrap().parse().unwrap();
    let mut events = house.payee().events.subscribe();
    house.payee().inner.bolt11_payment().send(&invoice, None).unwrap();
    let wanted = *AsRef::<[u8; 32]>::as_ref(invoice.payment_hash());
    Node::event(&mut events, "the end of a payment", |event| match event {
        NodeEvent::PaymentSuccessful { payment_hash, .. } if payment_hash.0 == wanted => Some(()),
        NodeEvent::PaymentFailed { payment_hash: Some(failed), reason, .. } if failed.0 == wanted => panic!("failed: {reason:?}"),
        _ => None,
    })
    .await;
}

async fn is_settled(house: &House, client: &mut Client, made: &Value) {
    eventually("an invoice that is settled", async || {
        let found = house.app.call(client, "lookup_invoice", json!({"payment_hash": made["payment_hash"]})).await;
        found["state"] == "settled" && found["amount"] == made["amount"]
    })
    .await;
}
