//! The process that a till is: the money room, opened as hearth opens it, with the test's node and signer.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use hearth::base::amount::Msat;
use hearth::base::clock::Clock;
use hearth::base::hex32::Hex32;
use hearth::base::secret::Secret;
use hearth::kv;
use hearth::protocol::event::{Draft, Event, EventLimits};
use hearth::wallet::backend::Backend;
use hearth::wallet::money::types::{
    AccountId, AnswerSigner, ConnectionId, ConnectionRow, ConnectionRules, KnownAnswer, Method, On, Outcome, OwnerError,
    PayOrder, PayReply, PayTarget, RequestKey, RequestRef, Scheme,
};
use hearth::wallet::money::{Limits, Money, OpenError, Parts, WAITING_MAX};
use sha2::{Digest, Sha256};

use super::node::{Node, REQUESTS_MAX, Silent, Strike, embedded};
use super::{AMOUNT_MSAT, FUNDED_MSAT, Kind, Point, Said, WALLET_SEED, payee, preimage, request_id};
use crate::support::{Key, PATIENCE};

pub(super) fn say(said: &Said) {
    // Nobody may be listening any more.
    let mut stdout = std::io::stdout().lock();
    drop(stdout.write_all(said.line().as_bytes()).and_then(|()| stdout.flush()));
}

/// Writes answers in the clear, and says each on stdout.
pub struct Pen {
    numbers: HashMap<Hex32, u64>,
    key: Mutex<Key>,
    strike: Option<Strike>,
    is_loud: bool,
}

impl Pen {
    /// One that only writes.
    pub fn quiet() -> Self {
        Self { numbers: HashMap::new(), key: Mutex::new(Key::seeded(1)), strike: None, is_loud: false }
    }
}

impl AnswerSigner for Pen {
    fn answer(&self, request: &RequestRef, outcome: &Outcome, now_s: u64) -> Option<Event> {
        let words = match outcome {
            Outcome::Paid { preimage, amount, fee } => format!("paid {amount} {fee} {}", const_hex::encode(preimage.0)),
            Outcome::Refused(refusal) => format!("failed {refusal}"),
        };
        let tags: &[&[&str]] = &[&["e", &request.key.event.to_string()]];
        let event = self.key.lock().unwrap().event_at(now_s.max(request.created_at_s), 23_195, &words, tags);
        Some(Draft::parse(&event.json()).unwrap().pack(&EventLimits::default()).unwrap())
    }

    fn publish(&self, request: &RequestRef, answer: &Event) {
        if !self.is_loud {
            return;
        }
        if let Some(strike) = &self.strike {
            strike.at(Point::W5);
        }
        say(&answered(self.numbers[&request.key.event], answer));
        if let Some(strike) = &self.strike {
            strike.at(Point::W6);
        }
    }
}

/// What a till says of an answer.
pub fn answered(number: u64, answer: &Event) -> Said {
    let json: crate::support::Event = serde_json::from_str(answer.json()).unwrap();
    Said::Answer(number, const_hex::encode(Sha256::digest(answer.bytes())), json.content)
}

/// Opens a wallet that a till left, without a node: nothing is asked and nothing is sent.
pub fn open_quietly(wallet: &Path) -> Result<Money, OpenError> {
    Money::open(parts(wallet, Arc::new(Silent(embedded())), Arc::new(Pen::quiet()), Box::new(|_| {})))
}

/// What the wallet knows of a request.
pub fn known(money: &Money, number: u64) -> Option<KnownAnswer> {
    money.request_answer(&request_id(number))
}

fn parts(
    wallet: &Path,
    backend: Arc<dyn Backend>,
    signer: Arc<dyn AnswerSigner>,
    on_fatal: Box<dyn Fn(&str) + Send + Sync>,
) -> Parts {
    Parts {
        dir: wallet.to_owned(),
        // Small, so that a short life has flushed files as well as a log.
        database: kv::Config { cache_bytes: 1 << 20, wal_bytes_max: 64 << 10, ..kv::Config::default() },
        limits: Limits::default(),
        waiting_max: WAITING_MAX,
        seed: Secret::new(WALLET_SEED),
        clock: Clock::system(),
        signer,
        backend,
        on_fatal,
    }
}

const ACCOUNT: &str = "till";

/// The account that all payments come from.
pub fn account(money: &Money) -> Option<AccountId> {
    money.account_named(ACCOUNT).map(|account| account.id)
}

#[test]
#[ignore = "not a test: the process that the tests of this folder start, kill and start again"]
fn money_room() {
    let variable = |name: &str| PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set")));
    let strike = Strike::of_environment();
    let latency_ms = std::env::var("TILL_LATENCY_MS").map_or(0, |text| text.parse().unwrap());
    let node = Node::new(variable("TILL_NODE"), strike.clone(), latency_ms);
    let pen = Pen {
        numbers: (0..REQUESTS_MAX).map(|number| (request_id(number), number)).collect(),
        key: Mutex::new(Key::seeded(1)),
        strike: strike.clone(),
        is_loud: true,
    };
    let on_fatal = Box::new(|words: &str| {
        say(&Said::Fatal(words.to_owned()));
        std::process::exit(74);
    });
    let wallet = variable("TILL_ROOT").join("wallet");
    let money = match Money::open(parts(&wallet, Arc::new(node), Arc::new(pen), on_fatal)) {
        Ok(money) => money,
        Err(error) => {
            say(&Said::Fatal(error.to_string()));
            std::process::exit(if matches!(error, OpenError::Write(_)) { 74 } else { 1 });
        }
    };
    furnish(&money);
    say(&Said::Ready);
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["pay", number, kind, invoice, created_at_s] => {
                if let Some(strike) = &strike {
                    strike.at(Point::W0);
                    strike.at(Point::W0Anchor);
                }
                let number = number.parse().unwrap();
                let order = pay_order(number, Kind::parse(kind), invoice, created_at_s.parse().unwrap());
                money.pay(order, Box::new(move |reply| told(number, reply)));
            }
            ["status"] => tell_status(&money),
            ["quit"] => break,
            _ => panic!("what is {line}?"),
        }
    }
    money.close();
}

fn told(number: u64, reply: PayReply) {
    say(&match reply {
        PayReply::Durable => Said::Durable(number),
        PayReply::Expired => Said::Refused(number, "expired".to_owned()),
        PayReply::Refused(refusal) => Said::Refused(number, refusal.to_string()),
        PayReply::Failed => Said::Refused(number, "failed".to_owned()),
        PayReply::Unknown => Said::Refused(number, "unknown".to_owned()),
    });
}

fn tell_status(money: &Money) {
    let status = money.status();
    let spendable_msat = account(money).and_then(|account| money.balance(account)).map_or(0, Msat::get);
    let (in_flight, alarms) = (status.in_flight, status.alarms.len());
    say(&Said::Status { spendable_msat, in_flight, safe_mode: status.safe_mode, alarms });
}

fn pay_order(number: u64, kind: Kind, invoice: &str, created_at_s: u64) -> PayOrder {
    let amount = Msat::new(AMOUNT_MSAT).unwrap();
    let target = match kind {
        Kind::Bolt11 => PayTarget::Invoice { bolt11: invoice.to_owned(), amount: None },
        Kind::Amountless => PayTarget::Invoice { bolt11: invoice.to_owned(), amount: Some(amount) },
        Kind::Keysend | Kind::BareKeysend => {
            let preimage = (kind == Kind::Keysend).then(|| preimage(number));
            PayTarget::Keysend { payee: payee(), amount, preimage, records: Vec::new() }
        }
    };
    let request = RequestRef {
        key: RequestKey { event: request_id(number), item: 0 },
        connection: ConnectionId(0),
        client: Hex32([3; 32]),
        scheme: Scheme::Nip44,
        method: if matches!(kind, Kind::Bolt11 | Kind::Amountless) { Method::PayInvoice } else { Method::PayKeysend },
        created_at_s,
        item_tag: None,
    };
    PayOrder { request, target, expires_at_s: None, metadata: None }
}

/// Account, money and connection, as far as they are not there: a crash may have come in between.
fn furnish(money: &Money) {
    if account(money).is_none() {
        wait(|on| money.create_account(ACCOUNT, on));
    }
    let id = account(money).unwrap();
    if money.balance(id) == Some(Msat::ZERO) {
        wait(|on| money.fund(id, Msat::new(FUNDED_MSAT).unwrap(), on));
    }
    if money.connections().is_empty() {
        let rules = ConnectionRules { account: id, budget: None, payment_max: None, active: true };
        wait(|on| money.put_connection(ConnectionRow { id: ConnectionId(0), rules, data: vec![1] }, on));
    }
}

fn wait<T: Send + 'static>(ask: impl FnOnce(On<Result<T, OwnerError>>)) {
    let (tell, told) = sync_channel(1);
    ask(Box::new(move |result| drop(tell.send(result))));
    // When the disk fails meanwhile, the process ends by that.
    if let Err(error) = told.recv_timeout(PATIENCE).unwrap() {
        say(&Said::Fatal(error.to_string()));
        std::process::exit(74);
    }
}
