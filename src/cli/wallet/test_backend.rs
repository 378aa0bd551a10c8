//! `hearth wallet test-backend`: does the wallet behind hearth do what hearth relies on? Moves no money unless it is told to.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::super::admin_client::CommandError;
use super::parse;
use crate::app::data_dir::DataDir;
use crate::app::keys::{self, Birth};
use crate::app::wallet::open_backend;
use crate::base::amount::Msat;
use crate::base::clock::Clock;
use crate::base::hex32::PaymentHash;
use crate::config::Settings;
use crate::wallet::backend::{
    Answer, Backend, LookupOrder, LookupResult, NewHoldInvoice, NewInvoice, SendOrder, SendResult, SendTarget, bolt11,
};
use crate::wallet::terms::Preimage;

/// How long one question may take.
const ANSWER_MAX: Duration = Duration::from_secs(90);
/// How long a balance may take to be known.
const BALANCE_TRIES: u32 = 50;
/// Between two of them.
const BALANCE_PAUSE: Duration = Duration::from_millis(100);
/// What test invoices ask for.
const INVOICE_MSAT: u64 = 1_000;
/// Life of test invoices.
const EXPIRY_S: u64 = 600;
/// Least that a payment may cost on top: 10 sat, as payments of apps.
const FEE_MIN_MSAT: u64 = 10_000;

/// What may be done.
#[derive(Args, Debug)]
pub struct TestBackendArgs {
    /// Also pay --invoice, at most this many millisatoshi and a fee of 1 % or 10 sat. This money is gone, and no account is charged
    #[arg(long, value_name = "N", value_parser = parse::amount_msat, requires = "invoice")]
    spend_msat: Option<u64>,
    /// An invoice of somebody else, for --spend-msat
    #[arg(long, value_name = "BOLT11", requires = "spend_msat")]
    invoice: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Failed,
    Skipped,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    state: State,
    /// What was seen, or what is wrong and how to mend it.
    words: String,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    backend: String,
    checks: Vec<Check>,
}

/// Opens the configured back end beside a hearth that may be running, and asks it.
pub(crate) async fn run(args: TestBackendArgs, settings: &Settings, out: &mut (dyn Write + Send)) -> Result<(), CommandError> {
    let payment = args.invoice.as_deref().zip(args.spend_msat).map(|(invoice, most)| payment(invoice, most)).transpose()?;
    let data = DataDir::new(settings.data.clone()).with_credentials(settings.keys.credentials.clone());
    let failed = |error: &dyn std::fmt::Display| CommandError::Failed(error.to_string());
    let passphrase = keys::passphrase(&settings.keys).map_err(|error| failed(&error))?.map(|(passphrase, _)| passphrase);
    data.make(&Birth { passphrase: passphrase.clone(), ..Birth::default() }).map_err(|error| failed(&error))?;
    let keys = data.read_keys(passphrase.as_ref()).map_err(|error| failed(&error))?;
    let clock = Clock::system();
    let away = |error: &dyn std::fmt::Display| {
        CommandError::Failed(format!("the wallet cannot be tested: {error}\nstart it, or correct [wallet] in the configuration"))
    };
    let backend = open_backend(&settings.wallet, &keys, &data.wallet(), &clock).await.map_err(|error| away(&error))?;
    // One that was met before opens although it is away.
    backend.ready().map_err(|error| away(&error))?;
    let asker = Asker { backend, clock, checks: Vec::new() };
    let report = asker.all(payment).await;
    if args.json {
        super::print_json(out, &report)?;
    } else {
        print(out, &report)?;
    }
    if report.ok {
        Ok(())
    } else {
        Err(CommandError::Failed("the wallet does not do everything that hearth relies on".to_owned()))
    }
}

/// The payment that the owner allows.
fn payment(invoice: &str, most: u64) -> Result<SendOrder, CommandError> {
    let usage = |words: String| CommandError::Usage(words);
    let decoded = bolt11::decode(invoice).map_err(|error| usage(format!("--invoice: {error}")))?;
    let most = Msat::new(most).map_err(|error| usage(format!("--spend-msat: {error}")))?;
    let amount = decoded.amount.unwrap_or(most);
    if amount > most {
        return Err(usage(format!("--invoice asks for {amount}, --spend-msat allows {most}; nothing was paid")));
    }
    Ok(SendOrder {
        attempt: 1,
        hash: decoded.hash,
        target: SendTarget::Invoice { bolt11: decoded.bolt11, has_amount: decoded.amount.is_some() },
        amount,
        fee_max: Msat::new((amount.get() / 100).max(FEE_MIN_MSAT)).unwrap_or(Msat::ZERO),
        until_s: decoded.expires_at_s,
    })
}

/// A number that nobody has used: for preimages of test invoices.
fn random() -> Result<[u8; 32], String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

async fn ask<T: Send + 'static>(question: impl FnOnce(Answer<T>)) -> Result<T, String> {
    let (tell, told) = oneshot::channel();
    question(Box::new(move |answer| drop(tell.send(answer))));
    match timeout(ANSWER_MAX, told).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err("the question was dropped".to_owned()),
        Err(_) => Err(format!("no answer in {} s", ANSWER_MAX.as_secs())),
    }
}

/// What it means for apps that the back end cannot do something.
const NO_METHOD: &str = "it says that it cannot; apps are told NOT_IMPLEMENTED";
const NO_OUTSIDE: &str = "it pays nobody outside; apps pay each other within this hearth, other invoices fail";
const NO_BALANCE: &str =
    "it has no money of its own to tell of; accounts hold what the owner writes into them (hearth wallet fund)";

struct Asker {
    backend: Arc<dyn Backend>,
    clock: Clock,
    checks: Vec<Check>,
}

impl Asker {
    async fn all(mut self, payment: Option<SendOrder>) -> Report {
        let can = self.backend.capabilities();
        let found = self.identity();
        self.note("identity", found);
        let found = self.invoice(Msat::new(INVOICE_MSAT).ok()).await;
        self.note("invoice", found);
        let found = self.invoice(None).await;
        self.note("invoice without amount", found);
        self.note_if("hold invoice", (can.hold_invoices, NO_METHOD), async |this| this.hold_invoice().await).await;
        self.note_if("unknown payment", (can.outside, NO_OUTSIDE), async |this| this.unknown_payment().await).await;
        self.note_if("sign message", (can.sign_message, NO_METHOD), async |this| this.sign_message().await).await;
        self.note_if("balance", (can.node_balance, NO_BALANCE), async |this| this.balance().await).await;
        match payment {
            Some(order) => {
                let found = self.pay(order).await;
                self.note("payment", found);
            }
            None => {
                let words = "no money was moved; --spend-msat N --invoice BOLT11 pays one".to_owned();
                self.checks.push(Check { name: "payment", state: State::Skipped, words });
            }
        }
        let info = self.backend.info();
        Report {
            ok: self.checks.iter().all(|check| check.state != State::Failed),
            backend: format!("{} ({} on {})", info.alias, info.pubkey, info.network.as_str()),
            checks: self.checks,
        }
    }

    fn note(&mut self, name: &'static str, found: Result<String, String>) {
        let (state, words) = match found {
            Ok(words) => (State::Ok, words),
            Err(words) => (State::Failed, words),
        };
        self.checks.push(Check { name, state, words });
    }

    async fn note_if(
        &mut self,
        name: &'static str,
        (can, without): (bool, &str),
        check: impl AsyncFnOnce(&Self) -> Result<String, String>,
    ) {
        if can {
            let found = check(self).await;
            self.note(name, found);
        } else {
            let words = without.to_owned();
            self.checks.push(Check { name, state: State::Skipped, words });
        }
    }

    fn identity(&self) -> Result<String, String> {
        self.backend.ready().map_err(|error| error.to_string())?;
        let can = self.backend.capabilities();
        let info = self.backend.info();
        if info.pubkey.len() != 66 {
            return Err("get_info has no node key of 66 hex digits".to_owned());
        }
        let known = if can.refuses_second {
            "it refuses a second payment of one hash"
        } else {
            "it may pay a hash twice, so hearth never sends an order again after a crash"
        };
        Ok(format!("{} on {}; {known}", info.alias, info.network.as_str()))
    }

    async fn invoice(&self, amount: Option<Msat>) -> Result<String, String> {
        let order = NewInvoice {
            amount,
            description: "hearth wallet test-backend".to_owned(),
            description_hash: None,
            expiry_s: EXPIRY_S,
            now_s: self.clock.now_s(),
            preimage: Preimage(random()?),
        };
        for _ in 0..2 {
            let made = ask(|done| self.backend.make_invoice(order.clone(), done)).await?.map_err(|error| error.to_string())?;
            self.check_text(&made.bolt11, order.preimage.hash(), amount)?;
        }
        Ok("asked twice with one preimage, it has one hash; never paid, it expires in ten minutes".to_owned())
    }

    fn check_text(&self, text: &str, hash: PaymentHash, amount: Option<Msat>) -> Result<(), String> {
        let read = bolt11::decode(text).map_err(|error| format!("its invoice cannot be read: {error}"))?;
        if read.hash != hash {
            return Err("its invoice has another hash than that of the preimage; use the preimage that hearth sends".to_owned());
        }
        if read.amount != amount {
            return Err("its invoice asks for another amount than was ordered".to_owned());
        }
        if read.network != self.backend.info().network {
            return Err("its invoice is for another network than the wallet's own".to_owned());
        }
        Ok(())
    }

    async fn hold_invoice(&self) -> Result<String, String> {
        let preimage = Preimage(random()?);
        let order = NewHoldInvoice {
            amount: Msat::new(INVOICE_MSAT).ok(),
            description: "hearth wallet test-backend".to_owned(),
            description_hash: None,
            expiry_s: EXPIRY_S,
            now_s: self.clock.now_s(),
            hash: preimage.hash(),
            min_cltv_expiry_delta: None,
        };
        let made = ask(|done| self.backend.make_hold_invoice(order.clone(), done)).await?.map_err(|error| error.to_string())?;
        self.check_text(&made.bolt11, order.hash, order.amount)?;
        if self.backend.capabilities().outside && ask(|done| self.backend.settle_hold(preimage, done)).await?.is_ok() {
            return Err("it says that it settled a hold invoice that nobody has paid".to_owned());
        }
        for _ in 0..2 {
            ask(|done| self.backend.cancel_hold(order.hash, done)).await?.map_err(|error| format!("cancel: {error}"))?;
        }
        Ok("made, and canceled twice".to_owned())
    }

    async fn unknown_payment(&self) -> Result<String, String> {
        let order = LookupOrder { hash: Preimage(random()?).hash(), attempt: 1, since_ms: self.clock.now_ms() };
        match ask(|done| self.backend.lookup(order, done)).await? {
            LookupResult::NotFound => Ok("a payment that never was is \"not found\"".to_owned()),
            LookupResult::Unknown(words) => Err(format!("a look-up is not answered: {words}")),
            LookupResult::Pending | LookupResult::Settled { .. } | LookupResult::Failed(_) => {
                Err("it knows something of a payment that never was; it must say \"not found\"".to_owned())
            }
        }
    }

    async fn sign_message(&self) -> Result<String, String> {
        let signed =
            ask(|done| self.backend.sign_message("hearth".to_owned(), done)).await?.map_err(|error| error.to_string())?;
        if signed.signature.is_empty() { Err("the signature is empty".to_owned()) } else { Ok("signed".to_owned()) }
    }

    async fn balance(&self) -> Result<String, String> {
        for _ in 0..BALANCE_TRIES {
            if let Some(balance) = self.backend.node_balance() {
                return Ok(format!("{} can be sent", balance.amount));
            }
            tokio::time::sleep(BALANCE_PAUSE).await;
        }
        Err("it says that it has a balance and does not tell it".to_owned())
    }

    async fn pay(&self, order: SendOrder) -> Result<String, String> {
        let question = LookupOrder { hash: order.hash, attempt: order.attempt, since_ms: self.clock.now_ms() };
        let (preimage, fee) = match ask(|done| self.backend.send(order.clone(), done)).await? {
            SendResult::Settled { preimage, fee } => (preimage, fee),
            SendResult::Failed(words) | SendResult::NotGiven(words) => {
                return Err(format!("it failed for certain, no money moved: {words}"));
            }
            SendResult::Unknown(words) => {
                return Err(format!(
                    "nobody knows what became of the payment {}, look at the wallet itself: {words}",
                    order.hash
                ));
            }
        };
        if preimage.hash() != order.hash {
            return Err("it says \"settled\" and shows a preimage of something else".to_owned());
        }
        if fee > order.fee_max {
            return Err(format!("it cost {fee}, the limit was {}", order.fee_max));
        }
        match ask(|done| self.backend.lookup(question, done)).await? {
            LookupResult::Settled { preimage: again, .. } if again == preimage => {}
            other => return Err(format!("a look-up of the settled payment does not say so: {}", name(&other))),
        }
        if let SendResult::Failed(words) = ask(|done| self.backend.send(order.clone(), done)).await? {
            return Err(format!("asked for the same payment again it says \"failed\", and it is settled: {words}"));
        }
        Ok(format!("{} and a fee of {fee}", order.amount))
    }
}

fn name(found: &LookupResult) -> &'static str {
    match found {
        LookupResult::Settled { .. } => "settled with another preimage",
        LookupResult::Failed(_) => "failed",
        LookupResult::Pending => "under way",
        LookupResult::NotFound => "not found",
        LookupResult::Unknown(_) => "no answer",
    }
}

fn print(out: &mut (dyn Write + Send), report: &Report) -> Result<(), CommandError> {
    writeln!(out, "{}", one_line(&report.backend))?;
    for check in &report.checks {
        let state = match check.state {
            State::Ok => "ok",
            State::Failed => "FAILED",
            State::Skipped => "-",
        };
        writeln!(out, "{:<24} {state:<8} {}", check.name, one_line(&check.words))?;
    }
    Ok(())
}

/// Words of a wallet, harmless to a terminal and not cut: they say how to mend it.
fn one_line(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
