//! A raw client: one WebSocket, every message seen in order, every wait bounded.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::{Event, Key, PATIENCE, now_s};

/// What came back for an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub accepted: bool,
    pub text: String,
}

/// A message of the relay.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Subscription, the event's JSON exactly as it came.
    Event(String, String),
    Ok(String, Verdict),
    Eose(String),
    Closed(String, String),
    Notice(String),
    Auth(String),
    /// Session and reason (NIP-77).
    NegErr(String, String),
    Count(String, Value),
    /// The connection was closed: code and reason (1006 where there was no close frame).
    Gone(u16, String),
}

/// A connection.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What was read while waiting for something else.
    waiting: VecDeque<Heard>,
    /// The last challenge (NIP-42).
    pub challenge: Option<String>,
    url: String,
}

impl Client {
    /// Connects, with a bound.
    pub async fn connect(url: &str) -> Self {
        Self::try_connect(url).await.unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// Connects or says why not.
    pub async fn try_connect(url: &str) -> Result<Self, String> {
        let config = WebSocketConfig::default().max_message_size(Some(8 << 20)).max_frame_size(Some(8 << 20));
        let attempt = timeout(PATIENCE, connect_async_with_config(url, Some(config), true)).await;
        let (socket, _) = attempt.map_err(|_| "timed out".to_owned())?.map_err(|error| error.to_string())?;
        Ok(Self { socket, waiting: VecDeque::new(), challenge: None, url: url.to_owned() })
    }

    /// Sends a text frame.
    pub async fn send(&mut self, text: impl Into<String>) {
        self.try_send(text).await.unwrap();
    }

    /// Sends a text frame; the relay may have closed the connection already.
    pub async fn try_send(&mut self, text: impl Into<String>) -> Result<(), String> {
        let sent = timeout(PATIENCE, self.socket.send(Message::text(text.into()))).await;
        sent.map_err(|_| "send timed out".to_owned())?.map_err(|error| error.to_string())
    }

    /// Queues a text frame without flushing it.
    pub async fn feed(&mut self, text: impl Into<String>) {
        timeout(PATIENCE, self.socket.feed(Message::text(text.into()))).await.unwrap().unwrap();
    }

    /// Sends what was queued.
    pub async fn flush(&mut self) {
        timeout(PATIENCE, self.socket.flush()).await.unwrap().unwrap();
    }

    /// Sends any frame.
    pub async fn send_frame(&mut self, frame: Message) -> Result<(), String> {
        timeout(PATIENCE, self.socket.send(frame)).await.unwrap().map_err(|error| error.to_string())
    }

    /// Sends JSON.
    pub async fn say(&mut self, message: &Value) {
        self.send(message.to_string()).await;
    }

    /// The next message, AUTH apart.
    pub async fn next(&mut self) -> Heard {
        self.next_within(PATIENCE).await.unwrap_or_else(|| panic!("heard nothing for {PATIENCE:?}"))
    }

    /// The next message if there is one in that time.
    pub async fn next_within(&mut self, patience: Duration) -> Option<Heard> {
        if let Some(heard) = self.waiting.pop_front() {
            return Some(heard);
        }
        self.read(patience).await
    }

    async fn read(&mut self, patience: Duration) -> Option<Heard> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let frame = tokio::time::timeout_at(deadline, self.socket.next()).await.ok()?;
            let heard = match frame {
                Some(Ok(Message::Text(text))) => understand(&text),
                Some(Ok(Message::Close(frame))) => frame
                    .map_or(Heard::Gone(1005, String::new()), |frame| Heard::Gone(frame.code.into(), frame.reason.to_string())),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => Heard::Gone(1006, String::new()),
            };
            if let Heard::Auth(challenge) = heard {
                self.challenge = Some(challenge);
                continue;
            }
            return Some(heard);
        }
    }

    /// The first message that `wanted` takes; what comes before it waits for its own reader.
    pub async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(&Heard) -> Option<T>) -> T {
        if let Some((at, found)) = self.waiting.iter().enumerate().find_map(|(at, heard)| wanted(heard).map(|found| (at, found)))
        {
            self.waiting.remove(at);
            return found;
        }
        loop {
            let heard =
                self.read(PATIENCE).await.unwrap_or_else(|| panic!("no {what} in {PATIENCE:?}; waiting: {:?}", self.waiting));
            if let Some(found) = wanted(&heard) {
                return found;
            }
            if let Heard::Gone(code, reason) = &heard {
                panic!("closed with {code} {reason} before {what}; waiting: {:?}", self.waiting);
            }
            self.waiting.push_back(heard);
        }
    }

    /// Sends an event.
    pub async fn send_event(&mut self, event: &Event) {
        self.send(format!("[\"EVENT\",{}]", event.json())).await;
    }

    /// Sends an event and waits for its verdict.
    pub async fn publish(&mut self, event: &Event) -> Verdict {
        self.send_event(event).await;
        self.verdict(&event.id).await
    }

    /// Sends an event that must be accepted.
    pub async fn accept(&mut self, event: &Event) {
        let verdict = self.publish(event).await;
        assert!(verdict.accepted, "kind {} refused: {}", event.kind, verdict.text);
    }

    /// The OK for an id.
    pub async fn verdict(&mut self, id: &str) -> Verdict {
        let what = format!("OK for {id}");
        self.until(&what, |heard| match heard {
            Heard::Ok(of, verdict) if of == id => Some(verdict.clone()),
            _ => None,
        })
        .await
    }

    /// Opens a subscription.
    pub async fn subscribe(&mut self, subscription: &str, filters: &[Value]) {
        self.say(&request("REQ", subscription, filters)).await;
    }

    /// Asks, and returns what is stored in the order in which it came, as it came. The subscription stays open.
    pub async fn stored_json(&mut self, subscription: &str, filters: &[Value]) -> Vec<String> {
        self.subscribe(subscription, filters).await;
        self.until_eose(subscription).await
    }

    /// Asks, returns the ids of what is stored, and closes the subscription.
    pub async fn stored(&mut self, filters: &[Value]) -> Vec<String> {
        let events = self.stored_json("stored", filters).await;
        self.say(&json!(["CLOSE", "stored"])).await;
        events.iter().map(|json| serde_json::from_str::<Event>(json).unwrap().id).collect()
    }

    /// Events of a subscription until its EOSE.
    pub async fn until_eose(&mut self, subscription: &str) -> Vec<String> {
        let mut events = Vec::new();
        loop {
            let heard = self.of_subscription(subscription).await;
            match heard {
                Heard::Event(_, json) => events.push(json),
                Heard::Eose(_) => return events,
                other => panic!("instead of EOSE for {subscription}: {other:?}"),
            }
        }
    }

    /// The next message that names this subscription.
    pub async fn of_subscription(&mut self, subscription: &str) -> Heard {
        let what = format!("message for subscription {subscription}");
        self.until(&what, |heard| match heard {
            Heard::Event(of, _) | Heard::Eose(of) | Heard::Closed(of, _) | Heard::Count(of, _) => {
                (of == subscription).then(|| heard.clone())
            }
            _ => None,
        })
        .await
    }

    /// The next live event of a subscription.
    pub async fn live(&mut self, subscription: &str) -> Event {
        match self.of_subscription(subscription).await {
            Heard::Event(_, json) => serde_json::from_str(&json).unwrap(),
            other => panic!("instead of an event for {subscription}: {other:?}"),
        }
    }

    /// The answer of COUNT.
    pub async fn count(&mut self, filters: &[Value]) -> u64 {
        self.say(&request("COUNT", "count", filters)).await;
        match self.of_subscription("count").await {
            Heard::Count(_, answer) => answer["count"].as_u64().unwrap(),
            other => panic!("instead of a count: {other:?}"),
        }
    }

    /// The reason with which a subscription was closed.
    pub async fn closed(&mut self, subscription: &str) -> String {
        match self.of_subscription(subscription).await {
            Heard::Closed(_, reason) => reason,
            other => panic!("instead of CLOSED for {subscription}: {other:?}"),
        }
    }

    /// A round trip that nothing else answers: whatever the relay had to say before has been heard after it.
    pub async fn settle(&mut self) {
        let name = format!("settle{}", rand::random::<u32>());
        self.subscribe(&name, &[json!({"ids": ["0".repeat(64)], "limit": 0})]).await;
        self.until_eose(&name).await;
        self.say(&json!(["CLOSE", name])).await;
    }

    /// Asserts that nothing but answers to `settle` is on its way.
    pub async fn is_quiet(&mut self) {
        self.settle().await;
        assert!(self.waiting.is_empty(), "unexpected: {:?}", self.waiting);
    }

    /// Everything that waits, read or not, up to now.
    pub async fn drain(&mut self) -> Vec<Heard> {
        self.settle().await;
        self.waiting.drain(..).collect()
    }

    /// Authenticates with a key (NIP-42).
    pub async fn login(&mut self, key: &Key) -> Verdict {
        let event = self.auth_event(key).await;
        self.say(&json!(["AUTH", event])).await;
        self.verdict(&event.id).await
    }

    /// A right AUTH event for this connection.
    pub async fn auth_event(&mut self, key: &Key) -> Event {
        if self.challenge.is_none() {
            // The relay offers a login when one is needed: for a protected event, say.
            let refused = self.publish(&key.event(1, "", &[&["-"]])).await;
            assert!(refused.text.starts_with("auth-required: "), "{refused:?}");
        }
        let challenge = self.challenge.clone().expect("the relay sent no challenge");
        key.event_at(now_s(), 22_242, "", &[&["relay", &self.url], &["challenge", &challenge]])
    }

    /// Waits for the end of the connection: code and reason.
    pub async fn gone(&mut self) -> (u16, String) {
        self.until("the end of the connection", |heard| match heard {
            Heard::Gone(code, reason) => Some((*code, reason.clone())),
            _ => None,
        })
        .await
    }

    /// Closes in order.
    pub async fn close(mut self) {
        drop(timeout(PATIENCE, self.socket.close(None)).await);
    }
}

/// `[verb, subscription, filter, ...]`
pub fn request(verb: &str, subscription: &str, filters: &[Value]) -> Value {
    let mut message = vec![json!(verb), json!(subscription)];
    message.extend_from_slice(filters);
    Value::Array(message)
}

fn understand(text: &str) -> Heard {
    let parts: Vec<Value> = serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON list ({error}): {text}"));
    let word = |at: usize| parts.get(at).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {at}: {text}")).to_owned();
    match (word(0).as_str(), parts.len()) {
        ("EVENT", 3) => {
            let head = format!("[\"EVENT\",{},", parts[1]);
            let json = text.strip_prefix(&head).and_then(|rest| rest.strip_suffix(']'));
            Heard::Event(word(1), json.unwrap_or_else(|| panic!("not the form of an event: {text}")).to_owned())
        }
        ("OK", 4) => Heard::Ok(word(1), Verdict { accepted: parts[2].as_bool().unwrap(), text: word(3) }),
        ("EOSE", 2 | 3) => Heard::Eose(word(1)),
        ("CLOSED", 3) => Heard::Closed(word(1), word(2)),
        ("NOTICE", 2) => Heard::Notice(word(1)),
        ("AUTH", 2) => Heard::Auth(word(1)),
        ("NEG-ERR", 3) => Heard::NegErr(word(1), word(2)),
        ("COUNT", 3) => Heard::Count(word(1), parts[2].clone()),
        _ => panic!("not a message of a relay: {text}"),
    }
}
