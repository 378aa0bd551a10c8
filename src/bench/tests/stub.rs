//! A relay for tests: a list of events, NIP-01's verbs, live fan-out, and faults that can be switched on.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

use crate::bench::data::Author;
use crate::bench::wallet::Party;
use crate::protocol::event::{Draft, Event, EventLimits};
use crate::protocol::filter::Filter;

/// Most messages that wait for one connection.
const QUEUE: usize = 100_000;

/// What it does wrong, if anything.
#[derive(Clone, Default)]
pub(super) struct Behaviour {
    /// How long each OK takes (all of a connection wait side by side).
    pub(super) delay: Duration,
    /// Every so many-th event is refused (0: none).
    pub(super) refuse_every: usize,
    /// After so many events, the connection is not served for a while.
    pub(super) stall: Option<(usize, Duration)>,
    /// After so many events, the connection is closed (0: never).
    pub(super) close_after: usize,
    /// Answers come in fragments, between pings and long notices.
    pub(super) awkward: bool,
    /// It answers wallet requests itself.
    pub(super) wallet: bool,
}

pub(super) struct Stub {
    pub(super) url: String,
    shared: Arc<Shared>,
}

type Listener = (Vec<Filter>, mpsc::Sender<Message>);

struct Shared {
    behaviour: Behaviour,
    url: String,
    events: Mutex<Vec<Event>>,
    /// Subscriptions by connection and name.
    subscriptions: Mutex<HashMap<(usize, String), Listener>>,
    addresses: Mutex<HashSet<IpAddr>>,
    seen: AtomicUsize,
    most_in_flight: AtomicUsize,
    most_subscriptions: AtomicUsize,
    pongs: AtomicUsize,
}

impl Stub {
    pub(super) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            behaviour,
            url: url.clone(),
            events: Mutex::default(),
            subscriptions: Mutex::default(),
            addresses: Mutex::default(),
            seen: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            most_subscriptions: AtomicUsize::new(0),
            pongs: AtomicUsize::new(0),
        });
        let own = shared.clone();
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok((stream, peer)) = listener.accept().await {
                number += 1;
                own.addresses.lock().insert(peer.ip());
                tokio::spawn(serve(own.clone(), number, stream));
            }
        });
        Self { url, shared }
    }

    pub(super) fn events(&self) -> usize {
        self.shared.events.lock().len()
    }

    /// Whether this event is stored.
    pub(super) fn has(&self, json: &str) -> bool {
        let id = Draft::parse(json).unwrap().id;
        self.shared.events.lock().iter().any(|event| event.id() == id)
    }

    pub(super) fn most_in_flight(&self) -> usize {
        self.shared.most_in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn open_subscriptions(&self) -> usize {
        self.shared.subscriptions.lock().len()
    }

    pub(super) fn most_subscriptions(&self) -> usize {
        self.shared.most_subscriptions.load(Ordering::Relaxed)
    }

    pub(super) fn most_addresses(&self) -> usize {
        self.shared.addresses.lock().len()
    }

    pub(super) fn pongs(&self) -> usize {
        self.shared.pongs.load(Ordering::Relaxed)
    }

    /// The connection URI of client `index` of its wallet.
    pub(super) fn uri(&self, index: usize) -> String {
        let secret = const_hex::encode(Author::of(9, "client", index).keys.secret_bytes());
        let wallet = Author::of(9, "wallet", 0).pubkey;
        format!("nostr+walletconnect://{wallet}?relay={}&secret={secret}", self.url)
    }
}

async fn serve(shared: Arc<Shared>, number: usize, stream: TcpStream) {
    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let (mut sink, mut source) = socket.split();
    let (queue, mut queued) = mpsc::channel::<Message>(QUEUE);
    let awkward = shared.behaviour.awkward;
    let writer = tokio::spawn(async move {
        while let Some(message) = queued.recv().await {
            let closing = message.is_close();
            if send(&mut sink, message, awkward).await.is_err() || closing {
                break;
            }
        }
    });
    let in_flight = Arc::new(AtomicUsize::new(0));
    let mut events = 0;
    while let Some(Ok(message)) = source.next().await {
        match message {
            Message::Text(text) => {
                let value: Value = serde_json::from_str(&text).unwrap();
                match value[0].as_str().unwrap() {
                    "EVENT" => {
                        events += 1;
                        event(&shared, events, &value[1], &queue, &in_flight).await;
                        if events == shared.behaviour.close_after {
                            let frame = CloseFrame { code: CloseCode::Again, reason: "enough".into() };
                            let _ = queue.send(Message::Close(Some(frame))).await;
                        }
                    }
                    "REQ" => request(&shared, number, &value, &queue).await,
                    "CLOSE" => drop(shared.subscriptions.lock().remove(&(number, value[1].as_str().unwrap().to_owned()))),
                    other => panic!("{other}"),
                }
            }
            Message::Pong(_) => {
                shared.pongs.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
    shared.subscriptions.lock().retain(|(connection, _), _| *connection != number);
    writer.abort();
}

type Sink = futures_util::stream::SplitSink<WebSocketStream<TcpStream>, Message>;

async fn send(sink: &mut Sink, message: Message, awkward: bool) -> Result<(), ()> {
    let gone = |_| ();
    match message {
        Message::Text(text) if awkward && text.len() > 30 => {
            sink.send(Message::Ping(b"are you there"[..].into())).await.map_err(gone)?;
            sink.send(Message::text(json!(["NOTICE", "x".repeat(70_000)]).to_string())).await.map_err(gone)?;
            let bytes = text.as_bytes().to_vec();
            let (head, rest) = bytes.split_at(20);
            let (middle, tail) = rest.split_at(5);
            for (part, code, last) in [(head, Data::Text, false), (middle, Data::Continue, false), (tail, Data::Continue, true)] {
                let frame = Frame::message(part.to_vec(), OpCode::Data(code), last);
                sink.send(Message::Frame(frame)).await.map_err(gone)?;
            }
            Ok(())
        }
        message => sink.send(message).await.map_err(gone),
    }
}

async fn event(shared: &Arc<Shared>, number: usize, value: &Value, queue: &mpsc::Sender<Message>, in_flight: &Arc<AtomicUsize>) {
    let flying = in_flight.fetch_add(1, Ordering::Relaxed) + 1;
    shared.most_in_flight.fetch_max(flying, Ordering::Relaxed);
    if let Some((_, pause)) = shared.behaviour.stall.filter(|(at, _)| *at == number) {
        tokio::time::sleep(pause).await;
    }
    let json = value.to_string();
    let draft = Draft::parse(&json).unwrap();
    crate::protocol::verify::verify(&draft.id, &draft.pubkey, &draft.sig).unwrap();
    let event = draft.pack(&EventLimits::default()).unwrap();
    let seen = shared.seen.fetch_add(1, Ordering::Relaxed) + 1;
    let refuse = shared.behaviour.refuse_every;
    let refused = refuse > 0 && seen.is_multiple_of(refuse);
    let words = if refused { "blocked: every tenth" } else { "" };
    let ok = Message::text(json!(["OK", event.id().to_string(), !refused, words]).to_string());
    if !refused {
        accept(shared, &event);
    }
    let (queue, in_flight, delay) = (queue.clone(), in_flight.clone(), shared.behaviour.delay);
    let answer = async move {
        in_flight.fetch_sub(1, Ordering::Relaxed);
        let _ = queue.send(ok).await;
    };
    if delay.is_zero() {
        answer.await;
    } else {
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            answer.await;
        });
    }
}

fn accept(shared: &Shared, event: &Event) {
    if (20_000..30_000).contains(&event.kind()) {
        if shared.behaviour.wallet && event.kind() == 23_194 {
            return pay(shared, event);
        }
    } else {
        let mut events = shared.events.lock();
        if events.iter().any(|stored| stored.id() == event.id()) {
            return;
        }
        events.push(event.clone());
    }
    deliver(shared, event);
}

fn deliver(shared: &Shared, event: &Event) {
    for ((_, name), (filters, queue)) in shared.subscriptions.lock().iter() {
        if filters.iter().any(|filter| filter.matches(event.view())) {
            queue.try_send(Message::text(format!(r#"["EVENT","{name}",{}]"#, event.json()))).unwrap();
        }
    }
}

/// Its wallet knows clients 0 and 1.
fn pay(shared: &Shared, event: &Event) {
    let client = (0..2).map(|index| Author::of(9, "client", index)).find(|client| client.pubkey == event.pubkey().to_string());
    let party = Party::new(Author::of(9, "wallet", 0), &client.unwrap().pubkey, &shared.url).unwrap();
    let request = party.open(event.json().as_bytes(), true).unwrap();
    let result = match request["method"].as_str().unwrap() {
        "get_balance" => json!({"balance": 1_000}),
        "make_invoice" => json!({"invoice": format!("lnbc{}", event.id())}),
        _ if request["params"]["invoice"].is_string() => json!({"preimage": "00"}),
        other => panic!("{other} without an invoice"),
    };
    let answer = party.answer(&event.id().to_string(), &json!({"result": result})).unwrap();
    deliver(shared, &Draft::parse(&answer.json).unwrap().pack(&EventLimits::default()).unwrap());
}

async fn request(shared: &Shared, number: usize, value: &Value, queue: &mpsc::Sender<Message>) {
    let name = value[1].as_str().unwrap().to_owned();
    let filters: Vec<Filter> =
        value.as_array().unwrap()[2..].iter().map(|f| serde_json::from_str(&f.to_string()).unwrap()).collect();
    let mut found: Vec<Event> = Vec::new();
    for filter in &filters {
        let mut matching: Vec<Event> =
            shared.events.lock().iter().filter(|event| filter.matches(event.view())).cloned().collect();
        matching.sort_by_key(|event| std::cmp::Reverse(event.created_at()));
        matching.truncate(usize::try_from(filter.limit.unwrap_or(500)).unwrap());
        found.extend(matching);
    }
    let open = {
        let mut subscriptions = shared.subscriptions.lock();
        subscriptions.insert((number, name.clone()), (filters, queue.clone()));
        subscriptions.len()
    };
    shared.most_subscriptions.fetch_max(open, Ordering::Relaxed);
    for event in found {
        let _ = queue.send(Message::text(format!(r#"["EVENT","{name}",{}]"#, event.json()))).await;
    }
    let _ = queue.send(Message::text(json!(["EOSE", name]).to_string())).await;
}
