//! A wallet as a process of its own, for hearth to call over `proto/wallet_backend.proto`: a small ledger in one file.
//!
//! Hearth's owner is one customer of this ledger, the "neighbours" are all the others: it pays their invoices and they pay his. No
//! Lightning is involved, but the invoices are real BOLT 11 on regtest, and everything that keeps money safe is done as a wallet
//! with real money must do it: an order is on disk before it is paid, a hash is paid once, FAILED is certain, events are there for
//! ever. Start it with `cargo run --release --example wallet_backend -- --listen unix:/tmp/wallet.sock --state /tmp/wallet`, say
//! `backend = "grpc"` and `address = "unix:/tmp/wallet.sock"` in hearth's configuration, and check it with
//! `hearth wallet test-backend`.
//!
//! A wallet outside this repository makes its own server code from the proto; the rest would look the same.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a program of its own, not hearth"
)]

use std::collections::HashMap;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader as LineReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use hearth::pb::wallet_backend as pb;
use hearth::pb::wallet_backend::wallet_backend_server::{WalletBackend, WalletBackendServer};
use hearth::wallet::backend::sign;
use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescription, Currency, Description, InvoiceBuilder, PaymentSecret};
use secp256k1::{PublicKey, SECP256K1, SecretKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream, UnixListenerStream};
use tonic::{Request, Response, Status};

/// What every payment to a neighbour costs.
const FEE_MSAT: u64 = 100;
/// Blocks of the last hop in invoices that ask for none.
const CLTV_BLOCKS: u64 = 18;
/// Events that wait for one reader.
const EVENTS_AHEAD: usize = 64;

/// A play wallet for hearth.
#[derive(Parser)]
struct Args {
    /// unix:/path or 127.0.0.1:PORT
    #[arg(long)]
    listen: String,
    /// Folder of its ledger
    #[arg(long)]
    state: PathBuf,
    /// File with the token that callers must have; needed for a port
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Socket where the neighbours ask: one JSON object a line
    #[arg(long)]
    neighbours: Option<PathBuf>,
    /// What the owner has at the start
    #[arg(long, default_value_t = 100_000_000)]
    balance_msat: u64,
}

/// One line of the ledger. It is on disk before anybody hears of it; the state is what the lines add up to.
#[derive(Serialize, Deserialize, Clone)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// An invoice of the owner; without a preimage it is a hold invoice.
    Invoice {
        hash: String,
        amount_msat: Option<u64>,
        preimage: Option<String>,
        text: String,
        expires_at_s: u64,
    },
    /// An invoice of a neighbour, and what he does with a payment: settle, refuse or wait.
    Neighbour {
        hash: String,
        preimage: String,
        then: String,
    },
    /// The owner's order to pay; from here on the money may be gone.
    Order {
        hash: String,
        attempt: u64,
        amount_msat: u64,
        fee_msat: u64,
        records: Vec<(u64, String)>,
    },
    Sent {
        hash: String,
        preimage: String,
    },
    Failed {
        hash: String,
        attempt: u64,
        words: String,
    },
    /// A neighbour pays an invoice: the money is the owner's, or held.
    Paid {
        hash: String,
        amount_msat: u64,
    },
    Taken {
        hash: String,
        preimage: String,
    },
    Canceled {
        hash: String,
    },
}

struct Payment {
    attempt: u64,
    amount_msat: u64,
    fee_msat: u64,
    records: Vec<(u64, String)>,
    state: pb::PaymentState,
    preimage: Option<String>,
    words: String,
}

#[derive(Clone)]
struct Invoice {
    amount_msat: Option<u64>,
    preimage: Option<String>,
    text: String,
    expires_at_s: u64,
    state: pb::IncomingState,
    paid_msat: u64,
}

struct Ledger {
    file: File,
    lines: u64,
    balance_msat: u64,
    payments: HashMap<String, Payment>,
    invoices: HashMap<String, Invoice>,
    neighbours: HashMap<String, (String, String)>,
    /// Every event with the number of its line, which is its cursor.
    events: Vec<(u64, pb::event::What)>,
    told: watch::Sender<u64>,
}

fn bytes(hex: &str) -> Vec<u8> {
    const_hex::decode(hex).unwrap_or_default()
}

fn hash_of(preimage: &[u8]) -> String {
    const_hex::encode(Sha256::digest(preimage))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Ledger {
    fn open(folder: &Path, balance_msat: u64) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join("ledger.jsonl");
        let file = OpenOptions::new().create(true).read(true).append(true).open(&path)?;
        let mut ledger = Self {
            file,
            lines: 0,
            balance_msat,
            payments: HashMap::new(),
            invoices: HashMap::new(),
            neighbours: HashMap::new(),
            events: Vec::new(),
            told: watch::Sender::new(0),
        };
        let mut whole = 0;
        for text in LineReader::new(File::open(&path)?).split(b'\n') {
            let text = text?;
            // Only the last line can be torn, and nobody was told of it.
            let Ok(line) = serde_json::from_slice(&text) else { break };
            whole += text.len() as u64 + 1;
            ledger.apply(line);
        }
        ledger.file.set_len(whole)?;
        Ok(ledger)
    }

    /// Writes a line, and only then lets it be true.
    fn commit(&mut self, line: Line) -> Result<(), Status> {
        let mut text = serde_json::to_vec(&line).map_err(|error| Status::internal(error.to_string()))?;
        text.push(b'\n');
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        written.map_err(|error| Status::internal(format!("the ledger cannot be written: {error}")))?;
        self.apply(line);
        self.told.send_replace(self.lines);
        Ok(())
    }

    fn apply(&mut self, line: Line) {
        self.lines += 1;
        match line {
            Line::Invoice { hash, amount_msat, preimage, text, expires_at_s } => {
                let state = pb::IncomingState::Unspecified;
                self.invoices.insert(hash, Invoice { amount_msat, preimage, text, expires_at_s, state, paid_msat: 0 });
            }
            Line::Neighbour { hash, preimage, then } => drop(self.neighbours.insert(hash, (preimage, then))),
            Line::Order { hash, attempt, amount_msat, fee_msat, records } => {
                self.balance_msat = self.balance_msat.saturating_sub(amount_msat + fee_msat);
                let state = pb::PaymentState::InFlight;
                let payment = Payment { attempt, amount_msat, fee_msat, records, state, preimage: None, words: String::new() };
                self.payments.insert(hash, payment);
            }
            Line::Sent { hash, preimage } => {
                if let Some(payment) = self.payments.get_mut(&hash) {
                    payment.state = pb::PaymentState::Settled;
                    payment.preimage = Some(preimage);
                }
                self.tell_payment(&hash);
            }
            Line::Failed { hash, attempt, words } => self.apply_failed(hash, attempt, words),
            Line::Paid { hash, amount_msat } => {
                let Some(invoice) = self.invoices.get_mut(&hash) else { return };
                invoice.paid_msat = amount_msat;
                invoice.state = pb::IncomingState::Held;
                if invoice.preimage.is_some() {
                    invoice.state = pb::IncomingState::Settled;
                    self.balance_msat += amount_msat;
                }
                self.tell_invoice(&hash);
            }
            Line::Taken { hash, preimage } => {
                let Some(invoice) = self.invoices.get_mut(&hash) else { return };
                invoice.state = pb::IncomingState::Settled;
                invoice.preimage = Some(preimage);
                self.balance_msat += invoice.paid_msat;
                self.tell_invoice(&hash);
            }
            Line::Canceled { hash } => {
                let Some(invoice) = self.invoices.get_mut(&hash) else { return };
                invoice.state = pb::IncomingState::Canceled;
                invoice.paid_msat = 0;
                self.tell_invoice(&hash);
            }
        }
    }

    fn apply_failed(&mut self, hash: String, attempt: u64, words: String) {
        let fresh = Payment {
            attempt,
            amount_msat: 0,
            fee_msat: 0,
            records: Vec::new(),
            state: pb::PaymentState::Failed,
            preimage: None,
            words: String::new(),
        };
        let payment = self.payments.entry(hash.clone()).or_insert(fresh);
        if payment.state == pb::PaymentState::InFlight {
            self.balance_msat += payment.amount_msat + payment.fee_msat;
        }
        payment.state = pb::PaymentState::Failed;
        payment.attempt = attempt;
        payment.words = words;
        self.tell_payment(&hash);
    }

    fn tell_payment(&mut self, hash: &str) {
        let reply = self.payment(hash);
        let event = pb::Outgoing { payment_hash: bytes(hash), reply: Some(reply) };
        self.events.push((self.lines, pb::event::What::Outgoing(event)));
    }

    fn tell_invoice(&mut self, hash: &str) {
        let Some(invoice) = self.invoices.get(hash) else { return };
        let event = pb::Incoming {
            payment_hash: bytes(hash),
            amount_msat: invoice.paid_msat,
            state: invoice.state.into(),
            preimage: invoice.preimage.as_deref().map(bytes).unwrap_or_default(),
            settle_deadline: (invoice.state == pb::IncomingState::Held).then_some(144),
        };
        self.events.push((self.lines, pb::event::What::Incoming(event)));
    }

    /// What became of a payment.
    fn payment(&self, hash: &str) -> pb::PaymentReply {
        let Some(payment) = self.payments.get(hash) else {
            return pb::PaymentReply { state: pb::PaymentState::NotFound.into(), ..pb::PaymentReply::default() };
        };
        let is_settled = payment.state == pb::PaymentState::Settled;
        pb::PaymentReply {
            state: payment.state.into(),
            preimage: payment.preimage.as_deref().map(bytes).unwrap_or_default(),
            fee_msat: if is_settled { payment.fee_msat } else { 0 },
            failure: payment.words.clone(),
            attempt: payment.attempt,
        }
    }

    /// Pays a neighbour, once a hash.
    fn send(&mut self, order: &pb::SendRequest) -> Result<pb::PaymentReply, Status> {
        let hash = const_hex::encode(&order.payment_hash);
        if let Some(before) = self.payments.get(&hash)
            && (before.state != pb::PaymentState::Failed || order.attempt <= before.attempt)
        {
            return Ok(self.payment(&hash));
        }
        let (payee, records) = match self.check(order, &hash) {
            Ok(checked) => checked,
            Err(words) => {
                self.commit(Line::Failed { hash: hash.clone(), attempt: order.attempt, words })?;
                return Ok(self.payment(&hash));
            }
        };
        let (preimage, then) = payee;
        let (attempt, amount_msat) = (order.attempt, order.amount_msat);
        self.commit(Line::Order { hash: hash.clone(), attempt, amount_msat, fee_msat: FEE_MSAT, records })?;
        match then.as_str() {
            "settle" => self.commit(Line::Sent { hash: hash.clone(), preimage })?,
            "refuse" => {
                let words = "the payee refused the payment".to_owned();
                self.commit(Line::Failed { hash: hash.clone(), attempt, words })?;
            }
            _ => {}
        }
        Ok(self.payment(&hash))
    }

    /// Who is paid, and what goes with it; or why it fails for certain, since nothing was begun.
    #[allow(clippy::type_complexity)]
    fn check(&self, order: &pb::SendRequest, hash: &str) -> Result<((String, String), Vec<(u64, String)>), String> {
        let (payee, records) = match &order.target {
            Some(pb::send_request::Target::Invoice(text)) => {
                let invoice: Bolt11Invoice = text.parse().map_err(|error| format!("not an invoice: {error}"))?;
                if invoice.is_expired() {
                    return Err("the invoice is expired".to_owned());
                }
                if invoice.amount_milli_satoshis().is_some_and(|asked| asked != order.amount_msat) {
                    return Err("the invoice asks for another amount".to_owned());
                }
                let payee = self.neighbours.get(hash).cloned();
                (payee.ok_or("no route: this ledger reaches its own neighbours only")?, Vec::new())
            }
            Some(pb::send_request::Target::Keysend(keysend)) => {
                if keysend.payee != pubkey(&neighbour_key()) {
                    return Err("no route: this ledger reaches its own neighbours only".to_owned());
                }
                let records = keysend.records.iter().map(|record| (record.r#type, const_hex::encode(&record.value))).collect();
                ((const_hex::encode(&keysend.preimage), "settle".to_owned()), records)
            }
            None => return Err("nothing to pay".to_owned()),
        };
        if FEE_MSAT > order.fee_max_msat {
            return Err(format!("no route within the fee limit: it costs {FEE_MSAT} msat"));
        }
        match order.amount_msat.checked_add(FEE_MSAT) {
            Some(needed) if needed <= self.balance_msat => Ok((payee, records)),
            _ => Err("the wallet does not have that much".to_owned()),
        }
    }

    /// A neighbour pays an invoice of the owner.
    fn pay_in(&mut self, text: &str, amount_msat: Option<u64>) -> Result<(), String> {
        let invoice: Bolt11Invoice = text.parse().map_err(|error| format!("not an invoice: {error}"))?;
        let hash = invoice.payment_hash().to_string();
        let known = self.invoices.get(&hash).ok_or("not an invoice of this wallet")?;
        if known.state != pb::IncomingState::Unspecified {
            return Err("this invoice was paid or is over".to_owned());
        }
        if now_s() >= known.expires_at_s {
            return Err("this invoice is expired".to_owned());
        }
        let amount_msat = match (known.amount_msat, amount_msat) {
            (Some(asked), Some(given)) if asked != given => return Err("the invoice asks for another amount".to_owned()),
            (Some(asked), _) => asked,
            (None, given) => given.ok_or("the invoice names no amount")?,
        };
        self.commit(Line::Paid { hash, amount_msat }).map_err(|status| status.message().to_owned())
    }
}

fn pubkey(key: &SecretKey) -> String {
    const_hex::encode(PublicKey::from_secret_key(SECP256K1, key).serialize())
}

/// The neighbours share one node.
fn neighbour_key() -> SecretKey {
    SecretKey::from_slice(&[0x4e; 32]).expect("it is below the order of the curve")
}

struct Draft<'a> {
    hash: &'a str,
    amount_msat: Option<u64>,
    description: &'a str,
    description_hash: &'a [u8],
    now_s: u64,
    expiry_s: u64,
    cltv_blocks: Option<u32>,
}

/// A BOLT 11 invoice on regtest. Its payment secret follows from key and hash, so the same order gives the same text.
fn invoice_text(key: &SecretKey, draft: &Draft<'_>) -> Result<String, Status> {
    let bad = |error: String| Status::invalid_argument(error);
    let description = if draft.description_hash.is_empty() {
        let text = Description::new(draft.description.to_owned()).map_err(|error| bad(error.to_string()))?;
        Bolt11InvoiceDescription::Direct(text)
    } else {
        let hash = const_hex::encode(draft.description_hash).parse().map_err(|_| bad("description_hash".to_owned()))?;
        Bolt11InvoiceDescription::Hash(lightning_invoice::Sha256(hash))
    };
    let secret = Sha256::new().chain_update(key.secret_bytes()).chain_update(draft.hash).finalize();
    let mut builder = InvoiceBuilder::new(Currency::Regtest)
        .invoice_description(description)
        .payment_hash(draft.hash.parse().map_err(|_| bad("payment_hash".to_owned()))?)
        .payment_secret(PaymentSecret(secret.into()))
        .duration_since_epoch(Duration::from_secs(draft.now_s))
        .expiry_time(Duration::from_secs(draft.expiry_s))
        .min_final_cltv_expiry_delta(draft.cltv_blocks.map_or(CLTV_BLOCKS, u64::from))
        .basic_mpp();
    if let Some(amount_msat) = draft.amount_msat {
        builder = builder.amount_milli_satoshis(amount_msat);
    }
    let signed = builder.build_signed(|hash| SECP256K1.sign_ecdsa_recoverable(hash, key));
    signed.map(|invoice| invoice.to_string()).map_err(|error| bad(error.to_string()))
}

/// The service.
#[derive(Clone)]
struct Wallet {
    key: SecretKey,
    ledger: Arc<Mutex<Ledger>>,
}

impl Wallet {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, draft: &Draft<'_>, preimage: Option<String>) -> Result<Response<pb::InvoiceReply>, Status> {
        let mut ledger = self.ledger();
        if !ledger.invoices.contains_key(draft.hash) {
            let line = Line::Invoice {
                hash: draft.hash.to_owned(),
                amount_msat: draft.amount_msat,
                preimage,
                text: invoice_text(&self.key, draft)?,
                expires_at_s: draft.now_s.saturating_add(draft.expiry_s),
            };
            ledger.commit(line)?;
        }
        let made = ledger.invoices.get(draft.hash).cloned().ok_or_else(|| Status::internal("the invoice is gone"))?;
        let payment_hash = bytes(draft.hash);
        Ok(Response::new(pb::InvoiceReply { invoice: made.text, payment_hash, expires_at_s: made.expires_at_s }))
    }
}

#[tonic::async_trait]
impl WalletBackend for Wallet {
    async fn hello(&self, request: Request<pb::HelloRequest>) -> Result<Response<pb::HelloReply>, Status> {
        let request = request.into_inner();
        if !(request.version_min..=request.version_max).contains(&1) {
            return Err(Status::failed_precondition("this wallet speaks version 1"));
        }
        let node = pb::NodeInfo {
            pubkey: pubkey(&self.key),
            alias: "example ledger".to_owned(),
            color: "#3a7d44".to_owned(),
            network: "regtest".to_owned(),
            block_height: 0,
            block_hash: String::new(),
        };
        let can = pb::Capabilities {
            outside: true,
            refuses_second: true,
            hold_invoices: true,
            keysend: true,
            sign_message: true,
            node_balance: true,
        };
        let server = "wallet_backend.rs 1".to_owned();
        Ok(Response::new(pb::HelloReply { version: 1, server, node: Some(node), can: Some(can) }))
    }

    async fn send(&self, request: Request<pb::SendRequest>) -> Result<Response<pb::PaymentReply>, Status> {
        Ok(Response::new(self.ledger().send(&request.into_inner())?))
    }

    async fn lookup(&self, request: Request<pb::LookupRequest>) -> Result<Response<pb::PaymentReply>, Status> {
        let hash = const_hex::encode(request.into_inner().payment_hash);
        Ok(Response::new(self.ledger().payment(&hash)))
    }

    async fn make_invoice(&self, request: Request<pb::MakeInvoiceRequest>) -> Result<Response<pb::InvoiceReply>, Status> {
        let order = request.into_inner();
        let draft = Draft {
            hash: &hash_of(&order.preimage),
            amount_msat: order.amount_msat,
            description: &order.description,
            description_hash: &order.description_hash,
            now_s: order.now_s,
            expiry_s: order.expiry_s,
            cltv_blocks: None,
        };
        self.make(&draft, Some(const_hex::encode(&order.preimage)))
    }

    async fn make_hold_invoice(
        &self,
        request: Request<pb::MakeHoldInvoiceRequest>,
    ) -> Result<Response<pb::InvoiceReply>, Status> {
        let order = request.into_inner();
        let draft = Draft {
            hash: &const_hex::encode(&order.payment_hash),
            amount_msat: order.amount_msat,
            description: &order.description,
            description_hash: &order.description_hash,
            now_s: order.now_s,
            expiry_s: order.expiry_s,
            cltv_blocks: order.min_cltv_expiry_delta,
        };
        self.make(&draft, None)
    }

    async fn settle_hold(&self, request: Request<pb::SettleHoldRequest>) -> Result<Response<pb::SettleHoldReply>, Status> {
        let preimage = request.into_inner().preimage;
        let hash = hash_of(&preimage);
        let mut ledger = self.ledger();
        match ledger.invoices.get(&hash).map(|invoice| invoice.state) {
            None => return Err(Status::not_found("no such invoice")),
            Some(pb::IncomingState::Settled) => {}
            Some(pb::IncomingState::Held) => ledger.commit(Line::Taken { hash, preimage: const_hex::encode(preimage) })?,
            Some(_) => return Err(Status::failed_precondition("nothing is held for this invoice")),
        }
        Ok(Response::new(pb::SettleHoldReply {}))
    }

    async fn cancel_hold(&self, request: Request<pb::CancelHoldRequest>) -> Result<Response<pb::CancelHoldReply>, Status> {
        let hash = const_hex::encode(request.into_inner().payment_hash);
        let mut ledger = self.ledger();
        let state = ledger.invoices.get(&hash).map(|invoice| invoice.state);
        if matches!(state, Some(pb::IncomingState::Unspecified | pb::IncomingState::Held)) {
            ledger.commit(Line::Canceled { hash })?;
        }
        Ok(Response::new(pb::CancelHoldReply {}))
    }

    async fn sign_message(&self, request: Request<pb::SignMessageRequest>) -> Result<Response<pb::SignMessageReply>, Status> {
        let signature = sign::lightning_message(&self.key, &request.into_inner().message);
        Ok(Response::new(pb::SignMessageReply { signature }))
    }

    async fn balance(&self, _: Request<pb::BalanceRequest>) -> Result<Response<pb::BalanceReply>, Status> {
        Ok(Response::new(pb::BalanceReply { spendable_msat: self.ledger().balance_msat }))
    }

    type EventsStream = ReceiverStream<Result<pb::Event, Status>>;

    async fn events(&self, request: Request<pb::EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        let cursor = request.into_inner().cursor;
        let mut after = match cursor.as_str() {
            "" => 0,
            text => text.parse().map_err(|_| Status::out_of_range("no such cursor"))?,
        };
        let (mut told, lines) = {
            let ledger = self.ledger();
            (ledger.told.subscribe(), ledger.lines)
        };
        if after > lines {
            return Err(Status::out_of_range("no such cursor"));
        }
        let (tell, events) = mpsc::channel(EVENTS_AHEAD);
        let wallet = self.clone();
        tokio::spawn(async move {
            loop {
                let new: Vec<_> = {
                    let ledger = wallet.ledger();
                    let from = ledger.events.partition_point(|(line, _)| *line <= after);
                    ledger.events[from..].iter().take(EVENTS_AHEAD).cloned().collect()
                };
                let is_all = new.is_empty();
                for (line, what) in new {
                    after = line;
                    if tell.send(Ok(pb::Event { cursor: line.to_string(), what: Some(what) })).await.is_err() {
                        return;
                    }
                }
                if is_all {
                    tokio::select! {
                        changed = told.changed() => if changed.is_err() { return },
                        () = tell.closed() => return,
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(events)))
    }
}

/// What a neighbour asks for.
fn neighbour(wallet: &Wallet, ask: &Value) -> Result<Value, String> {
    let text = |name: &str| ask[name].as_str().map(str::to_owned).ok_or_else(|| format!("{name} is missing"));
    let failed = |status: Status| status.message().to_owned();
    let mut ledger = wallet.ledger();
    match text("do")?.as_str() {
        "invoice" => {
            // A hash is named once, by the number of its line.
            let preimage = Sha256::digest(format!("neighbour {} {}", ledger.lines, now_s()));
            let hash = hash_of(&preimage);
            let draft = Draft {
                hash: &hash,
                amount_msat: ask["amount_msat"].as_u64(),
                description: "neighbour",
                description_hash: &[],
                now_s: now_s(),
                expiry_s: 3_600,
                cltv_blocks: None,
            };
            let invoice = invoice_text(&neighbour_key(), &draft).map_err(failed)?;
            let line = Line::Neighbour { hash: hash.clone(), preimage: const_hex::encode(preimage), then: text("then")? };
            ledger.commit(line).map_err(failed)?;
            Ok(json!({"invoice": invoice, "hash": hash}))
        }
        "pay" => ledger.pay_in(&text("invoice")?, ask["amount_msat"].as_u64()).map(|()| json!({})),
        "take" | "refuse" => {
            let hash = text("hash")?;
            let (preimage, _) = ledger.neighbours.get(&hash).cloned().ok_or("no such invoice")?;
            let payment = ledger.payments.get(&hash).filter(|payment| payment.state == pb::PaymentState::InFlight);
            let attempt = payment.ok_or("no such payment under way")?.attempt;
            let line = match text("do")?.as_str() {
                "take" => Line::Sent { hash, preimage },
                _ => Line::Failed { hash, attempt, words: "the payee refused the payment".to_owned() },
            };
            ledger.commit(line).map_err(failed)?;
            Ok(json!({}))
        }
        "node" => Ok(json!({"pubkey": pubkey(&neighbour_key())})),
        "received" => {
            let hash = text("hash")?;
            let payment = ledger.payments.get(&hash).filter(|payment| payment.state == pb::PaymentState::Settled);
            let payment = payment.ok_or("nothing was received")?;
            Ok(json!({"amount_msat": payment.amount_msat, "records": payment.records}))
        }
        other => Err(format!("{other} is nothing that neighbours do")),
    }
}

/// Where the neighbours ask: a JSON object a line, and one back.
async fn serve_neighbours(wallet: Wallet, listener: UnixListener) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let wallet = wallet.clone();
        tokio::spawn(async move {
            let (read, mut write) = socket.split();
            let mut lines = BufReader::new(read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let asked = serde_json::from_str(&line).map_err(|error| error.to_string());
                let said = asked.and_then(|ask| neighbour(&wallet, &ask)).unwrap_or_else(|error| json!({"error": error}));
                if write.write_all(format!("{said}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// The key of the node is made once and kept beside the ledger.
fn node_key(folder: &Path) -> Result<SecretKey, Box<dyn Error>> {
    let path = folder.join("node-key");
    if !path.exists() {
        let mut key = [0_u8; 32];
        getrandom::fill(&mut key)?;
        std::fs::write(&path, const_hex::encode(key))?;
    }
    Ok(std::fs::read_to_string(path)?.trim().parse()?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let ledger = Ledger::open(&args.state, args.balance_msat)?;
    let wallet = Wallet { key: node_key(&args.state)?, ledger: Arc::new(Mutex::new(ledger)) };
    if let Some(path) = &args.neighbours {
        drop(std::fs::remove_file(path));
        tokio::spawn(serve_neighbours(wallet.clone(), UnixListener::bind(path)?));
    }
    let token = match &args.token_file {
        Some(path) => Some(format!("Bearer {}", std::fs::read_to_string(path)?.trim())),
        None if args.listen.starts_with("unix:") => None,
        None => return Err("a port needs --token-file: any user of this machine can connect to it".into()),
    };
    let check = move |request: Request<()>| -> Result<Request<()>, Status> {
        let given = request.metadata().get("authorization").map(|value| value.as_bytes());
        match &token {
            Some(token) if given != Some(token.as_bytes()) => Err(Status::unauthenticated("wrong token")),
            _ => Ok(request),
        }
    };
    let server = tonic::transport::Server::builder().add_service(WalletBackendServer::with_interceptor(wallet, check));
    if let Some(path) = args.listen.strip_prefix("unix:") {
        // What a killed process left is in the way.
        drop(std::fs::remove_file(path));
        let listener = UnixListener::bind(path)?;
        println!("listening at {}", args.listen);
        server.serve_with_incoming(UnixListenerStream::new(listener)).await?;
    } else {
        let listener = TcpListener::bind(&args.listen).await?;
        println!("listening at {}", listener.local_addr()?);
        server.serve_with_incoming(TcpListenerStream::new(listener)).await?;
    }
    Ok(())
}
