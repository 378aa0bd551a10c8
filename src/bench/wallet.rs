//! Wallet round trips (NIP-47) as an app makes them: encrypt, sign, publish, wait for the answer, check and decrypt it.

use std::sync::Arc;
use std::time::Instant;

use nostr::nips::nip44;
use nostr::nips::nip47::NostrWalletConnectUri;
use nostr::prelude::{Event, EventBuilder, FinalizeEvent, Keys, Kind, PublicKey, Tag};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::Target;
use super::client::{Client, ClientError};
use super::report::{Latency, Meter, Report};

pub(super) struct Plan {
    pub(super) uris: Vec<String>,
    pub(super) payee: Option<String>,
    pub(super) method: String,
    pub(super) requests: usize,
    pub(super) clients: usize,
}

/// Amount of each invoice that is paid.
const AMOUNT_MSAT: u64 = 1_000;

pub(super) async fn run(target: &Target, plan: &Plan) -> Result<Report, ClientError> {
    let mut report = Report::default();
    let mut samples = Vec::new();
    for _ in 0..target.repeats.max(1) {
        let invoices = match (&plan.payee, plan.method.as_str()) {
            (Some(payee), "pay_invoice") => make_invoices(payee, plan.requests).await?,
            (None, "pay_invoice") => return Err(ClientError::Wallet("pay_invoice needs --payee URI to make invoices".into())),
            _ => Vec::new(),
        };
        samples.push(one_repeat(target, plan, invoices).await?);
    }
    report.add(format!("nwc {}, {} clients", plan.method, plan.clients), samples, None);
    Ok(report)
}

async fn one_repeat(target: &Target, plan: &Plan, invoices: Vec<String>) -> Result<super::report::Sample, ClientError> {
    let invoices = Arc::new(Mutex::new(invoices));
    let barrier = Arc::new(tokio::sync::Barrier::new(plan.clients + 1));
    let mut tasks = Vec::new();
    for index in 0..plan.clients {
        let mut session = Session::open(&plan.uris[index % plan.uris.len()]).await?;
        let (barrier, invoices, method) = (barrier.clone(), invoices.clone(), plan.method.clone());
        let share = plan.requests / plan.clients + usize::from(index < plan.requests % plan.clients);
        tasks.push(tokio::spawn(async move {
            barrier.wait().await;
            let mut latency = Latency::new();
            for _ in 0..share {
                let params = match method.as_str() {
                    "pay_invoice" => json!({"invoice": invoices.lock().await.pop()}),
                    "make_invoice" => json!({"amount": AMOUNT_MSAT, "description": "hearth bench"}),
                    _ => json!({}),
                };
                let started = Instant::now();
                session.ask(&method, params).await?;
                latency.record(started.elapsed());
            }
            Ok::<_, ClientError>(latency)
        }));
    }
    let meter = Meter::start(target.server_pid);
    barrier.wait().await;
    let mut latency = Latency::new();
    for task in tasks {
        latency.merge(&task.await??);
    }
    Ok(meter.stop(plan.requests as u64, latency))
}

async fn make_invoices(payee: &str, count: usize) -> Result<Vec<String>, ClientError> {
    let mut session = Session::open(payee).await?;
    let mut invoices = Vec::with_capacity(count);
    for _ in 0..count {
        let result = session.ask("make_invoice", json!({"amount": AMOUNT_MSAT, "description": "hearth bench"})).await?;
        let invoice = result.get("invoice").and_then(Value::as_str);
        invoices.push(invoice.ok_or_else(|| ClientError::Wallet("make_invoice gave no invoice".into()))?.to_owned());
    }
    Ok(invoices)
}

/// One connection to one wallet.
struct Session {
    client: Client,
    keys: Keys,
    wallet: PublicKey,
    conversation: nip44::v2::ConversationKey,
}

impl Session {
    async fn open(uri: &str) -> Result<Self, ClientError> {
        let uri = NostrWalletConnectUri::parse(uri).map_err(|error| ClientError::Wallet(error.to_string()))?;
        let relay = uri.relays.first().ok_or_else(|| ClientError::Wallet("the URI names no relay".into()))?;
        let keys = Keys::new(uri.secret.clone());
        let conversation = nip44::v2::ConversationKey::derive(&uri.secret, &uri.public_key)
            .map_err(|error| ClientError::Wallet(error.to_string()))?;
        let mut client = Client::open(relay.as_str().trim_end_matches('/')).await?;
        let filter =
            format!(r##"{{"kinds":[23195],"authors":["{}"],"#p":["{}"],"limit":0}}"##, uri.public_key, keys.public_key());
        client.subscribe("answers", &filter).await?;
        Ok(Self { client, keys, wallet: uri.public_key, conversation })
    }

    async fn ask(&mut self, method: &str, params: Value) -> Result<Value, ClientError> {
        let request = self.request(method, &params)?;
        let id = request.id.to_hex();
        self.client
            .send(super::publish::message(
                &serde_json::to_string(&request).map_err(|error| ClientError::Wallet(error.to_string()))?,
            ))
            .await?;
        loop {
            let text = self.client.next().await?;
            if text.starts_with(r#"["OK""#) {
                if text.contains(",false,") {
                    return Err(ClientError::Refused(text.to_string()));
                }
            } else if text.starts_with(r#"["EVENT""#) && text.contains(&id) {
                return self.open_answer(&text);
            }
        }
    }

    fn request(&self, method: &str, params: &Value) -> Result<Event, ClientError> {
        let wrong = |error: &dyn std::fmt::Display| ClientError::Wallet(error.to_string());
        let plain = json!({"method": method, "params": params}).to_string();
        let sealed = seal(&self.conversation, &plain)?;
        let tags = [["p", &self.wallet.to_hex()], ["encryption", "nip44_v2"]];
        let tags: Result<Vec<Tag>, _> = tags.into_iter().map(Tag::parse).collect();
        EventBuilder::new(Kind::from(23_194), sealed)
            .tags(tags.map_err(|error| wrong(&error))?)
            .finalize(&self.keys)
            .map_err(|error| wrong(&error))
    }

    fn open_answer(&self, text: &str) -> Result<Value, ClientError> {
        let wrong = |error: &dyn std::fmt::Display| ClientError::Wallet(error.to_string());
        let message: Value = serde_json::from_str(text).map_err(|error| wrong(&error))?;
        let event: Event = serde_json::from_value(message[2].clone()).map_err(|error| wrong(&error))?;
        event.verify().map_err(|error| wrong(&error))?;
        let plain = unseal(&self.conversation, &event.content)?;
        let answer: Value = serde_json::from_slice(&plain).map_err(|error| wrong(&error))?;
        match answer.get("error") {
            None | Some(Value::Null) => Ok(answer["result"].clone()),
            Some(error) => Err(ClientError::Wallet(error.to_string())),
        }
    }
}

fn seal(key: &nip44::v2::ConversationKey, plain: &str) -> Result<String, ClientError> {
    use base64::Engine as _;
    let mut nonce = [0_u8; 32];
    getrandom::fill(&mut nonce).map_err(|error| ClientError::Wallet(error.to_string()))?;
    let sealed = nip44::v2::encrypt_to_bytes_with_nonce(key, plain.as_bytes(), nonce);
    let sealed = sealed.map_err(|error| ClientError::Wallet(error.to_string()))?;
    Ok(base64::engine::general_purpose::STANDARD.encode(sealed))
}

fn unseal(key: &nip44::v2::ConversationKey, content: &str) -> Result<Vec<u8>, ClientError> {
    use base64::Engine as _;
    let sealed = base64::engine::general_purpose::STANDARD.decode(content);
    let sealed = sealed.map_err(|error| ClientError::Wallet(error.to_string()))?;
    nip44::v2::decrypt_to_bytes(key, &sealed).map_err(|error| ClientError::Wallet(error.to_string()))
}
