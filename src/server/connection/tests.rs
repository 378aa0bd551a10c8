//! The shell from outside: a real socket, a real client (tungstenite), a relay without a disk.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::super::client_ip::Network;
use super::super::health::Health;
use super::super::http::{HttpConfig, Site};
use super::super::listener::Bound;
use super::super::{Config, Parts, Server};
use super::*;
use crate::base::clock::Clock;
use crate::base::hex32::EventId;
use crate::base::shutdown::Shutdown;
use crate::live::testing::{packed, signed};
use crate::live::{self, Live, LiveConfig, TotalBytes};
use crate::policy::{Limits, Policy, RateConfig, Rules};
use crate::protocol::event::Event;
use crate::protocol::filter::Filter;
use crate::relay::storage::{Appended, Count, OnAppended, Query, ScanLimits, Step, Storage, Tally, Unreadable};
use crate::relay::{NoIntake, Relay};
use crate::telemetry::metrics::{Registry, ServerMetrics};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Looks, 10 ms apart, after which a place is taken for lost.
const PLACE_FREE_TRIES: usize = 3_000;

/// A store that has nothing; it panics when it is asked for one kind, and takes long over another.
struct Nothing {
    /// Whether the client has its first event of the long query.
    heard: Arc<AtomicBool>,
}

const PANIC_KIND: u16 = 666;
const LONG_KIND: u16 = 777;
/// A query whose answer is larger than all buffers between here and the client.
const LARGE_KIND: u16 = 778;
const LARGE_EVENTS: usize = 400;

impl Storage for Nothing {
    fn has(&self, _: &EventId) -> bool {
        false
    }

    fn seq(&self) -> u64 {
        0
    }

    fn append(&self, _: Event, done: OnAppended) {
        done(Appended::Stored { seq: 1 });
    }

    fn scan(&self, filters: Arc<[Filter]>, _: ScanLimits) -> Result<Box<dyn Query>, Unreadable> {
        let asked = |filter: &Filter| filter.kinds.as_deref() == Some(&[PANIC_KIND]);
        assert!(!filters.iter().any(asked), "as the test wants");
        if filters.iter().any(|filter| filter.kinds.as_deref() == Some(&[LONG_KIND])) {
            let first = packed(&signed::<&[&str], _>(1, LONG_KIND, 1, &[], "first"));
            return Ok(Box::new(Long { first: Some(first), heard: Arc::clone(&self.heard) }));
        }
        if filters.iter().any(|filter| filter.kinds.as_deref() == Some(&[LARGE_KIND])) {
            let event = packed(&signed::<&[&str], _>(1, LARGE_KIND, 1, &[], &"x".repeat(60_000)));
            return Ok(Box::new(Large { event, left: LARGE_EVENTS }));
        }
        Ok(Box::new(Empty))
    }

    fn count(&self, _: &[Filter], _: u64) -> Result<Box<dyn Tally>, Unreadable> {
        Ok(Box::new(Empty))
    }
}

struct Empty;

impl Query for Empty {
    fn at_seq(&self) -> u64 {
        0
    }

    fn run(&mut self, _: std::time::Instant, _: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Step, Unreadable> {
        Ok(Step::Done)
    }
}

struct Large {
    event: Event,
    left: usize,
}

impl Query for Large {
    fn at_seq(&self) -> u64 {
        0
    }

    fn run(&mut self, _: std::time::Instant, emit: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Step, Unreadable> {
        while self.left > 0 {
            self.left -= 1;
            if emit(self.event.clone()).is_break() {
                return Ok(Step::More);
            }
        }
        Ok(Step::Done)
    }
}

/// One event at once, and no end before the client has it.
struct Long {
    first: Option<Event>,
    heard: Arc<AtomicBool>,
}

impl Query for Long {
    fn at_seq(&self) -> u64 {
        0
    }

    fn run(&mut self, _: std::time::Instant, emit: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Step, Unreadable> {
        if let Some(first) = self.first.take() {
            assert!(emit(first).is_continue());
        }
        Ok(if self.heard.load(Ordering::Acquire) { Step::Done } else { Step::More })
    }
}

impl Tally for Empty {
    fn run(&mut self, _: std::time::Instant) -> Result<Step, Unreadable> {
        Ok(Step::Done)
    }

    fn so_far(&self) -> Count {
        Count::default()
    }
}

struct NoHealth;

impl Health for NoHealth {
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn metrics(&self) -> String {
        String::new()
    }

    fn status(&self) -> String {
        String::new()
    }
}

struct House {
    server: Server,
    shutdown: Shutdown,
    url: String,
    address: std::net::SocketAddr,
    registry: Registry,
    live: Live,
    heard: Arc<AtomicBool>,
}

async fn house() -> House {
    house_with(|_| {}).await
}

async fn house_with(change: impl FnOnce(&mut Config)) -> House {
    let any_port = "127.0.0.1:0".parse().unwrap();
    let mut config = Config {
        listen: any_port,
        admin_listen: any_port,
        connections_max: 100,
        connections_per_ip_max: 50,
        http: HttpConfig { header_bytes_max: 8_192, head_timeout: Duration::from_secs(5), trusted_proxies: Vec::new() },
        connection: ConnectionConfig { message_bytes_max: 131_072, outbox_bytes_max: 1 << 20, pings_per_second_max: 10 },
    };
    change(&mut config);
    let registry = Registry::new();
    let heard = Arc::new(AtomicBool::new(false));
    let clock = Clock::system();
    let live = Live::new(&LiveConfig::default(), clock.clone());
    let rates = RateConfig { enabled: false, ..RateConfig::default() };
    let relay = Relay::new(crate::relay::Parts {
        store: Arc::new(Nothing { heard: Arc::clone(&heard) }),
        live: live.clone(),
        intake: Arc::new(NoIntake),
        policy: Arc::new(Policy::new(Limits::default(), &rates, Vec::new(), Rules::default())),
        clock,
    });
    let shutdown = Shutdown::new();
    let bound = Bound::open(&config).await.unwrap();
    let address = bound.public_address().unwrap();
    let parts = Parts {
        relay,
        site: Site { information: Bytes::new(), page: Bytes::new(), pairing: None },
        total: TotalBytes::new(1 << 30),
        metrics: ServerMetrics::new(&registry),
        shutdown: shutdown.clone(),
        health: Arc::new(NoHealth),
    };
    let server = Server::start(bound, config, parts);
    House { server, shutdown, url: format!("ws://{address}/"), address, registry, live, heard }
}

/// A client that nobody has greeted yet: a login is only offered where one is needed.
async fn connect(house: &House) -> Client {
    connect_async(&house.url).await.unwrap().0
}

async fn text(client: &mut Client) -> String {
    match client.next().await {
        Some(Ok(Message::Text(text))) => text.to_string(),
        other => format!("{other:?}"),
    }
}

/// The close code that comes, whatever comes before it.
async fn close_code(client: &mut Client) -> Option<u16> {
    while let Some(Ok(message)) = client.next().await {
        if let Message::Close(frame) = message {
            return frame.map(|frame| frame.code.into());
        }
    }
    None
}

#[tokio::test]
async fn messages_are_answered_also_when_many_come_in_one_piece() {
    let house = house().await;
    let mut client = connect(&house).await;
    for round in 0..300 {
        client.feed(Message::text(format!("[\"REQ\",\"s{round}\",{{}}]"))).await.unwrap();
        client.feed(Message::text(format!("[\"CLOSE\",\"s{round}\"]"))).await.unwrap();
        client.feed(Message::text(format!("[\"REQ\",\"t\",{{\"limit\":{round}}}]"))).await.unwrap();
    }
    client.feed(Message::text("[\"REQ\",\"last\",{}]")).await.unwrap();
    client.flush().await.unwrap();
    while text(&mut client).await != "[\"EOSE\",\"last\"]" {}
    let mut client = connect(&house).await;
    client.send(Message::text("[\"COUNT\",\"c\",{}]")).await.unwrap();
    assert_eq!(text(&mut client).await, "[\"COUNT\",\"c\",{\"count\":0,\"approximate\":false}]");
    client.send(Message::binary(vec![1, 2])).await.unwrap();
    assert_eq!(text(&mut client).await, "[\"NOTICE\",\"invalid: binary messages are not understood, send text\"]");
    client.send(Message::Ping(Bytes::from_static(b"hello"))).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"hello")));
}

#[tokio::test]
async fn what_a_long_query_has_found_is_sent_before_it_ends() {
    let house = house().await;
    let mut client = connect(&house).await;
    client.send(Message::text(format!(r#"["REQ","s",{{"kinds":[{LONG_KIND}]}}]"#))).await.unwrap();
    let first = tokio::time::timeout(Duration::from_secs(20), text(&mut client)).await.expect("the first event in time");
    assert!(first.starts_with(r#"["EVENT","s",{"#), "{first}");
    house.heard.store(true, Ordering::Release);
    assert_eq!(text(&mut client).await, r#"["EOSE","s"]"#);
}

/// The query pauses while the socket takes nothing, and goes on when it does.
#[tokio::test]
async fn an_answer_larger_than_all_buffers_comes_whole() {
    let house = house().await;
    for _ in 0..5 {
        let mut client = connect(&house).await;
        client.send(Message::text(format!(r#"["REQ","s",{{"kinds":[{LARGE_KIND}]}}]"#))).await.unwrap();
        for number in 0..=LARGE_EVENTS {
            let text = tokio::time::timeout(Duration::from_secs(20), text(&mut client)).await.expect("the next frame in time");
            let expected = if number < LARGE_EVENTS { r#"["EVENT","s",{"# } else { r#"["EOSE","s"]"# };
            assert!(text.starts_with(expected), "frame {number}: {}", text.chars().take(80).collect::<String>());
        }
    }
}

#[tokio::test]
async fn a_breach_is_answered_with_its_close_code() {
    let house = house().await;
    let raw = |payload: Vec<u8>| Message::Frame(Frame::message(payload, OpCode::Data(Data::Text), true));
    for (message, code) in [
        (Message::text("x".repeat(131_073)), 1009),
        (raw(vec![b'"', 0xff]), 1007),
        (Message::Frame(Frame::message("x", OpCode::Data(Data::Continue), true)), 1002),
    ] {
        let mut client = connect(&house).await;
        // A client that still writes must see the close frame and no reset.
        client.send(message).await.unwrap();
        assert_eq!(close_code(&mut client).await, Some(code));
    }
    let mut client = connect(&house).await;
    for _ in 0..10 {
        client.feed(Message::Ping(Bytes::new())).await.unwrap();
    }
    client.send(Message::text(r#"["REQ","s",{"limit":0}]"#)).await.unwrap();
    let mut heard = text(&mut client).await;
    while heard.contains("Pong") {
        heard = text(&mut client).await;
    }
    assert_eq!(heard, r#"["EOSE","s"]"#, "ten a second are taken");
    let mut client = connect(&house).await;
    for _ in 0..11 {
        client.feed(Message::Ping(Bytes::new())).await.unwrap();
    }
    client.flush().await.unwrap();
    assert_eq!(close_code(&mut client).await, Some(1008));
}

#[tokio::test]
async fn a_message_of_the_longest_length_is_taken() {
    let house = house().await;
    let mut client = connect(&house).await;
    client.send(Message::text(format!("[\"REQ\",\"{}\",{{}}]", "x".repeat(131_072 - 13)))).await.unwrap();
    assert!(text(&mut client).await.starts_with("[\"NOTICE\","));
}

#[tokio::test]
async fn a_frame_that_claims_too_much_is_refused_by_its_header() {
    let house = house().await;
    let (mut client, _) = connect_async(&house.url).await.unwrap();
    let MaybeTlsStream::Plain(stream) = client.get_mut() else { unreachable!() };
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), mask: Some([0; 4]), ..FrameHeader::default() };
    let mut bytes = Vec::new();
    header.format(1 << 40, &mut bytes).unwrap();
    stream.write_all(&bytes).await.unwrap();
    assert_eq!(close_code(&mut client).await, Some(1009));
}

#[tokio::test]
async fn a_close_is_echoed_and_the_place_is_free_again() {
    let house = house().await;
    let mut client = connect(&house).await;
    client.close(None).await.unwrap();
    assert_eq!(close_code(&mut client).await, None);
    assert!(matches!(client.next().await, None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed))));
    drop(client);
    for _ in 0..PLACE_FREE_TRIES {
        if house.server.shared.slots.in_all() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    unreachable!("the slot is still taken");
}

#[tokio::test]
async fn an_address_has_only_so_many_connections() {
    let house = house_with(|config| config.connections_per_ip_max = 2).await;
    let first = connect(&house).await;
    let _second = connect(&house).await;
    let mut refused = TcpStream::connect(house.address).await.unwrap();
    let mut answer = Vec::new();
    let _ = refused.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
    drop(first);
    for _ in 0..PLACE_FREE_TRIES {
        if connect_async(&house.url).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    unreachable!("the place of the first never became free");
}

#[tokio::test]
async fn behind_a_proxy_clients_are_counted_by_the_address_it_tells() {
    let house = house_with(|config| {
        config.connections_per_ip_max = 1;
        config.http.trusted_proxies = vec![Network::parse("127.0.0.1").unwrap()];
    })
    .await;
    let from = |client: &'static str| {
        let mut request =
            tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(house.url.as_str()).unwrap();
        request.headers_mut().insert("x-forwarded-for", client.parse().unwrap());
        connect_async(request)
    };
    let _first = from("203.0.113.1").await.unwrap();
    let _second = from("203.0.113.2").await.unwrap();
    match from("203.0.113.1").await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 429),
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_that_never_reads_is_not_read_from_either() {
    let house = house_with(|config| config.connection.outbox_bytes_max = 64 * 1024).await;
    let mut client = connect(&house).await;
    let long = "x".repeat(60);
    let mut sent = 0_u32;
    // Neither side may wait for ever: the relay stops reading, and the socket of the client fills up.
    let flood = async {
        loop {
            client.send(Message::text(format!("[\"COUNT\",\"{long}\",{{}}]"))).await.unwrap();
            sent += 1;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(3), flood).await.is_err(), "the flood went on");
    assert!(house.server.shared.total.used() < 512 * 1024);
    // And one that reads after all gets every answer.
    for _ in 0..sent {
        assert!(text(&mut client).await.starts_with("[\"COUNT\","));
    }
}

/// Another thread sends in the place of the connection's task, which answers the client all the while; the client reads late, so that
/// the socket fills up in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_other_threads_send_comes_whole_once_and_in_order() {
    const EVENTS: u64 = 600;
    let house = house_with(|config| config.connection.outbox_bytes_max = 64 << 20).await;
    let mut client = connect(&house).await;
    client.send(Message::text(r#"["REQ","s",{"kinds":[1],"limit":0}]"#)).await.unwrap();
    assert_eq!(text(&mut client).await, r#"["EOSE","s"]"#);
    let live = house.live.clone();
    let content = "x".repeat(10_000);
    let event = move |number| packed(&signed::<&[&str], _>(1, 1, number, &[], &content));
    let teller = std::thread::spawn(move || {
        for number in 1..=EVENTS {
            live::together(|| assert_eq!(live.publish(number, &event(number)), 1));
            if number % 50 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    let (mut writing, mut reading) = client.split();
    let asker = tokio::spawn(async move {
        for _ in 0..200 {
            writing.send(Message::text(r#"["COUNT","c",{}]"#)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let (mut next, mut counts) = (1, 0);
    while next <= EVENTS || counts < 200 {
        let message = tokio::time::timeout(Duration::from_secs(30), reading.next()).await.expect("the next frame in time");
        let message = message.unwrap().unwrap().into_text().unwrap();
        if message.starts_with("[\"COUNT\"") {
            counts += 1;
            continue;
        }
        assert!(message.contains(&format!("\"created_at\":{next},")) && message.ends_with("\"}]"), "event {next}");
        next += 1;
        if next == 5 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    asker.await.unwrap();
    teller.join().unwrap();
}

#[tokio::test]
async fn a_panic_ends_one_connection_and_nothing_else() {
    let house = house().await;
    let mut witness = connect(&house).await;
    for _ in 0..3 {
        let mut client = connect(&house).await;
        client.send(Message::text(format!("[\"REQ\",\"s\",{{\"kinds\":[{PANIC_KIND}]}}]"))).await.unwrap();
        assert_eq!(close_code(&mut client).await, None);
    }
    witness.send(Message::text("[\"REQ\",\"s\",{}]")).await.unwrap();
    assert_eq!(text(&mut witness).await, "[\"EOSE\",\"s\"]");
    assert!(house.registry.render().contains("relay_connections 1\n"));
    assert_eq!(house.server.shared.slots.in_all(), 1);
}

#[tokio::test]
async fn at_the_end_everybody_is_told_and_nobody_new_is_taken() {
    let house = house().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(connect(&house).await);
    }
    house.shutdown.stop();
    let leaving = async {
        for client in &mut clients {
            assert_eq!(close_code(client).await, Some(1012));
            // Reading on sends the client's own close frame.
            assert!(client.next().await.is_none());
        }
    };
    let (in_time, ()) = tokio::join!(house.server.say_farewell(Duration::from_secs(60)), leaving);
    assert!(in_time);
    assert!(connect_async(&house.url).await.is_err());
    assert!(house.registry.render().contains("relay_connections 0"));
    house.server.end().await;
}

#[tokio::test]
async fn a_client_whose_query_runs_on_and_one_that_never_finished_its_request_are_sent_away_too() {
    let house = house().await;
    let mut client = connect(&house).await;
    client.send(Message::text(format!(r#"["REQ","s",{{"kinds":[{LONG_KIND}]}}]"#))).await.unwrap();
    assert!(text(&mut client).await.starts_with(r#"["EVENT","s",{"#));
    let mut half = TcpStream::connect(house.url.trim_start_matches("ws://").trim_end_matches('/')).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    house.shutdown.stop();
    let leaving = async {
        assert_eq!(close_code(&mut client).await, Some(1012));
        assert!(client.next().await.is_none());
        assert_eq!(half.read(&mut [0; 64]).await.unwrap_or(0), 0);
    };
    let (in_time, ()) = tokio::join!(house.server.say_farewell(Duration::from_secs(60)), leaving);
    assert!(in_time);
    house.server.end().await;
}

#[test]
fn a_pong_has_its_time_from_the_ping_on() {
    let heard_at = Instant::now();
    assert_eq!(quiet_until(heard_at, None), heard_at + QUIET_MAX);
    let late = heard_at + Duration::from_secs(600);
    assert_eq!(quiet_until(heard_at, Some(late)), late + PONG_TIMEOUT);
}
