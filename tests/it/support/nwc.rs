//! A wallet app reduced to what goes over the wire: request events made by hand, answers opened and checked.

use nostr::key::{PublicKey, SecretKey};
use nostr::nips::nip44::Version;
use nostr::nips::{nip04, nip44};
use serde_json::{Value, json};

use super::client::Verdict;
use super::{Client, Event, Hearth, Key, now_s};

/// How a request is encrypted, and whether it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Nip44,
    Nip04,
}

impl Scheme {
    /// The word in the `encryption` tag.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nip44 => "nip44_v2",
            Self::Nip04 => "nip04",
        }
    }
}

/// The client's end of a connection.
#[derive(Clone)]
pub struct App {
    pub key: Key,
    pub wallet: String,
    pub uri: String,
}

impl App {
    /// `hearth wallet connect NAME ...`
    pub fn connect(hearth: &Hearth, name: &str, options: &[&str]) -> Self {
        let made = hearth.json(&[&["wallet", "connect", name], options].concat());
        let uri = made["uri"].as_str().unwrap().to_owned();
        let secret = uri.split(['?', '&']).find_map(|part| part.strip_prefix("secret=")).expect("the URI holds the secret");
        let app = Self { key: Key::from_hex(secret), wallet: made["wallet_pubkey"].as_str().unwrap().to_owned(), uri };
        assert_eq!(made["name"], name);
        assert_eq!(made["client_pubkey"], app.key.hex.as_str());
        assert!(app.uri.starts_with(&format!("nostr+walletconnect://{}?relay=", app.wallet)), "{}", app.uri);
        app
    }

    /// A request event in NIP-44, with its tag.
    pub fn request(&self, method: &str, params: &Value) -> Event {
        self.request_in(Scheme::Nip44, method, params)
    }

    /// A request event.
    pub fn request_in(&self, scheme: Scheme, method: &str, params: &Value) -> Event {
        let content = self.seal(scheme, &json!({"method": method, "params": params}).to_string());
        self.envelope(&content, &[&["encryption", scheme.word()]])
    }

    /// A request event with any content and further tags.
    pub fn envelope(&self, content: &str, tags: &[&[&str]]) -> Event {
        self.envelope_at(now_s(), content, tags)
    }

    /// The same, of that time.
    pub fn envelope_at(&self, created_at: u64, content: &str, tags: &[&[&str]]) -> Event {
        let to = ["p", self.wallet.as_str()];
        let addressed: Vec<&[&str]> = std::iter::once(&to[..]).chain(tags.iter().copied()).collect();
        self.key.event_at(created_at, 23_194, content, &addressed)
    }

    /// Encrypts for the wallet.
    pub fn seal(&self, scheme: Scheme, plain: &str) -> String {
        match scheme {
            Scheme::Nip44 => nip44::encrypt(&self.secret(), &self.peer(), plain, Version::V2).unwrap(),
            Scheme::Nip04 => nip04::encrypt(&self.secret(), &self.peer(), plain).unwrap(),
        }
    }

    /// Opens an answer, and checks who made it for whom.
    pub fn open(&self, request: &Event, answer: &Event) -> (Scheme, Value) {
        assert_eq!((answer.kind, answer.pubkey.as_str()), (23_195, self.wallet.as_str()));
        assert_eq!(answer.tag("p"), Some(self.key.hex.as_str()));
        assert_eq!(answer.tag("e"), Some(request.id.as_str()));
        let scheme = if answer.content.contains("?iv=") { Scheme::Nip04 } else { Scheme::Nip44 };
        let plain = match scheme {
            Scheme::Nip44 => nip44::decrypt(&self.secret(), &self.peer(), &answer.content).unwrap(),
            Scheme::Nip04 => nip04::decrypt(&self.secret(), &self.peer(), &answer.content).unwrap(),
        };
        let value: Value = serde_json::from_str(&plain).unwrap();
        let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["error", "result", "result_type"], "all three keys, always");
        assert!(value["error"].is_null() != value["result"].is_null(), "exactly one of the two: {plain}");
        (scheme, value)
    }

    /// The filter that the most clients use.
    pub fn answers_to(&self, request: &Event) -> Value {
        json!({"kinds": [23_195], "authors": [self.wallet], "#e": [request.id]})
    }

    /// Sends a request and returns verdict, answer event and what it says.
    pub async fn exchange(&self, client: &mut Client, request: &Event) -> (Verdict, Event, Value) {
        let subscription = &request.id[..16];
        client.subscribe(subscription, &[self.answers_to(request)]).await;
        client.until_eose(subscription).await;
        let verdict = client.publish(request).await;
        assert!(verdict.accepted, "request refused: {}", verdict.text);
        let answer = client.live(subscription).await;
        client.say(&json!(["CLOSE", subscription])).await;
        let (_, value) = self.open(request, &answer);
        (verdict, answer, value)
    }

    /// Calls a method: its result.
    pub async fn call(&self, client: &mut Client, method: &str, params: Value) -> Value {
        let value = self.ask(client, method, params).await;
        assert!(value["error"].is_null(), "{method}: {}", value["error"]);
        value["result"].clone()
    }

    /// Calls a method that must be refused: the code of its error.
    pub async fn refusal(&self, client: &mut Client, method: &str, params: Value) -> String {
        let value = self.ask(client, method, params).await;
        assert!(value["result"].is_null(), "{method} was not refused: {value}");
        assert!(!value["error"]["message"].as_str().unwrap().is_empty(), "a refusal says why");
        value["error"]["code"].as_str().unwrap().to_owned()
    }

    /// Calls a method: the whole answer.
    pub async fn ask(&self, client: &mut Client, method: &str, params: Value) -> Value {
        let (_, _, value) = self.exchange(client, &self.request(method, &params)).await;
        assert_eq!(value["result_type"], method);
        value
    }

    /// Makes an invoice and returns it.
    pub async fn invoice(&self, client: &mut Client, amount_msat: u64) -> String {
        let made = self.call(client, "make_invoice", json!({"amount": amount_msat})).await;
        made["invoice"].as_str().unwrap().to_owned()
    }

    /// The balance that it is told.
    pub async fn balance(&self, client: &mut Client) -> u64 {
        self.call(client, "get_balance", json!({})).await["balance"].as_u64().unwrap()
    }

    fn secret(&self) -> SecretKey {
        SecretKey::from_hex(&self.key.secret()).unwrap()
    }

    fn peer(&self) -> PublicKey {
        PublicKey::from_hex(&self.wallet).unwrap()
    }
}
