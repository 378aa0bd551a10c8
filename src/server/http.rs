//! The HTTP phase of a connection to the public endpoint: plain answers, until one request becomes a WebSocket.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ALLOW,
    CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::client_ip::{Network, client_ip};
use super::pairing::PairingPages;
use super::router::{Route, route};
use super::slots::Slot;

/// How long a connection may stay in the HTTP phase, whatever it asks: people read pages, they do not live here.
const HTTP_PHASE_MAX: Duration = Duration::from_secs(60);
/// Most headers of a request.
const HEADERS_MAX: usize = 64;

/// What is answered, rendered once at start.
pub struct Site {
    /// The document of NIP-11.
    pub information: Bytes,
    /// The page for people.
    pub page: Bytes,
    /// Pages where apps ask for a wallet connection; `None`: there is no wallet.
    pub pairing: Option<PairingPages>,
}

/// Bounds of the HTTP phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Longest head of a request.
    pub header_bytes_max: usize,
    /// How long a head may take to arrive.
    pub head_timeout: Duration,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<Network>,
}

/// A connection that is to be a WebSocket now.
pub(super) struct Upgraded {
    pub(super) stream: TcpStream,
    /// What the client sent right behind its request.
    pub(super) early_bytes: Bytes,
    pub(super) client: Client,
    pub(super) slot: Slot,
}

/// Who asked for the upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) ip: IpAddr,
}

/// How the HTTP phase ended.
pub(super) enum Ended {
    WebSocket(Upgraded),
    Done,
    /// No whole request came, or none that can be read.
    Refused,
    /// The address has too many connections.
    TooMany,
}

/// Serves one connection until it is a WebSocket or over.
pub(super) async fn serve(stream: TcpStream, peer: IpAddr, slot: Slot, site: Arc<Site>, config: Arc<HttpConfig>) -> Ended {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_buf_size(config.header_bytes_max)
        .max_headers(HEADERS_MAX)
        .half_close(false);
    let front = Front { peer, site, config, state: Mutex::new(State { slot, asked: Asked::Nothing }) };
    let phase = builder.serve_connection(TokioIo::new(stream), front).without_shutdown();
    match tokio::time::timeout(HTTP_PHASE_MAX, phase).await {
        Ok(Ok(parts)) => match parts.service.state.into_inner() {
            State { slot, asked: Asked::WebSocket(client) } => {
                Ended::WebSocket(Upgraded { stream: parts.io.into_inner(), early_bytes: parts.read_buf, client, slot })
            }
            State { asked: Asked::TooMuch, .. } => Ended::TooMany,
            State { asked: Asked::Nothing, .. } => Ended::Done,
        },
        Ok(Err(_)) => Ended::Refused,
        Err(_) => Ended::Done,
    }
}

/// Answers the requests of one connection.
struct Front {
    peer: IpAddr,
    site: Arc<Site>,
    config: Arc<HttpConfig>,
    state: Mutex<State>,
}

struct State {
    slot: Slot,
    asked: Asked,
}

/// What became of the wish for a WebSocket.
enum Asked {
    Nothing,
    /// hyper hands the socket back after its answer.
    WebSocket(Client),
    TooMuch,
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        ready(Ok(self.answer(&request)))
    }
}

impl Front {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let headers = request.headers();
        let route = route(request.method(), request.uri().path(), request.version(), headers);
        if route == Route::WebSocket {
            let ip = client_ip(self.peer, headers, &self.config.trusted_proxies);
            let mut state = self.state.lock();
            if state.slot.belongs_to(ip).is_err() {
                state.asked = Asked::TooMuch;
                return text(StatusCode::TOO_MANY_REQUESTS, "too many connections from your address\n");
            }
            state.asked = Asked::WebSocket(Client { ip });
        }
        if let (Route::Pairing, Some(pages)) = (route, &self.site.pairing) {
            let from = client_ip(self.peer, headers, &self.config.trusted_proxies);
            let uri = request.uri();
            return pages.answer(request.method(), uri.path(), uri.query().unwrap_or_default(), from);
        }
        respond(route, request.headers().get(SEC_WEBSOCKET_KEY), &self.site)
    }
}

fn respond(route: Route, key: Option<&HeaderValue>, site: &Site) -> Response<Full<Bytes>> {
    match route {
        Route::WebSocket => switch(key),
        Route::Information => {
            let mut response = plain(StatusCode::OK, "application/nostr+json", site.information.clone());
            allow_origins(&mut response);
            response
        }
        Route::Page => page(site.page.clone()),
        Route::Preflight => {
            let mut response = plain(StatusCode::NO_CONTENT, "text/plain", Bytes::new());
            allow_origins(&mut response);
            set(&mut response, ACCESS_CONTROL_MAX_AGE, "86400");
            response
        }
        Route::NotFound | Route::Pairing => text(StatusCode::NOT_FOUND, "nothing here: the relay is at /\n"),
        Route::WrongMethod => {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and OPTIONS\n");
            set(&mut response, ALLOW, "GET, HEAD, OPTIONS");
            response
        }
        Route::WrongVersion => {
            let mut response = text(StatusCode::UPGRADE_REQUIRED, "only WebSocket version 13\n");
            set(&mut response, SEC_WEBSOCKET_VERSION, "13");
            response
        }
        Route::BadUpgrade => text(StatusCode::BAD_REQUEST, "this is no WebSocket handshake\n"),
    }
}

fn switch(key: Option<&HeaderValue>) -> Response<Full<Bytes>> {
    let accept = derive_accept_key(key.map(|key| key.as_bytes().trim_ascii()).unwrap_or_default());
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    set(&mut response, UPGRADE, "websocket");
    set(&mut response, CONNECTION, "Upgrade");
    if let Ok(accept) = HeaderValue::try_from(accept) {
        response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn page(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::OK, "text/html; charset=utf-8", body);
    set(&mut response, CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
    response
}

pub(super) fn text(status: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    plain(status, "text/plain; charset=utf-8", Bytes::from_static(words.as_bytes()))
}

pub(super) fn plain(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE, content_type);
    set(&mut response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(&mut response, VARY, "Accept");
    response
}

/// NIP-11 is read by web pages of other sites.
fn allow_origins(response: &mut Response<Full<Bytes>>) {
    set(response, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(response, ACCESS_CONTROL_ALLOW_HEADERS, "*");
    set(response, ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS");
}

fn set(response: &mut Response<Full<Bytes>>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::slots::Slots;
    use super::*;

    fn site() -> Arc<Site> {
        Arc::new(Site {
            information: Bytes::from_static(b"{\"name\":\"x\"}"),
            page: Bytes::from_static(b"<p>hi</p>"),
            pairing: None,
        })
    }

    fn config(head_timeout: Duration) -> Arc<HttpConfig> {
        Arc::new(HttpConfig { header_bytes_max: 8_192, head_timeout, trusted_proxies: Vec::new() })
    }

    #[tokio::test]
    async fn answers_have_the_headers_that_browsers_and_proxies_need() {
        let check = async |route, status: u16, body: &str, wanted: &[(HeaderName, &str)]| {
            let response = respond(route, None, &site());
            assert_eq!(response.status(), status, "{route:?}");
            for (name, value) in wanted {
                assert_eq!(response.headers().get(name).map(HeaderValue::as_bytes), Some(value.as_bytes()), "{route:?} {name}");
            }
            let bytes = response.into_body().collect().await.unwrap_or_else(|never| match never {}).to_bytes();
            assert_eq!(bytes, body.as_bytes(), "{route:?}");
        };
        let cors = [
            (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "*"),
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
        ];
        let json = [&cors[..], &[(CONTENT_TYPE, "application/nostr+json"), (VARY, "Accept")]].concat();
        check(Route::Information, 200, "{\"name\":\"x\"}", &json).await;
        check(Route::Preflight, 204, "", &cors).await;
        check(Route::Page, 200, "<p>hi</p>", &[(CONTENT_TYPE, "text/html; charset=utf-8")]).await;
        check(Route::NotFound, 404, "nothing here: the relay is at /\n", &[]).await;
        check(Route::WrongMethod, 405, "only GET, HEAD and OPTIONS\n", &[(ALLOW, "GET, HEAD, OPTIONS")]).await;
        check(Route::WrongVersion, 426, "only WebSocket version 13\n", &[(SEC_WEBSOCKET_VERSION, "13")]).await;
        check(Route::BadUpgrade, 400, "this is no WebSocket handshake\n", &[]).await;
    }

    fn slot() -> Slot {
        Slots::new(1, 1).take().unwrap_or_else(|_| unreachable!())
    }

    /// A connected pair: what a client holds, and what is served.
    async fn pair() -> (TcpStream, TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (served, peer) = listener.accept().await.unwrap();
        (client, served, peer)
    }

    #[tokio::test]
    async fn an_upgrade_hands_the_socket_over_with_what_followed_it() {
        let (mut client, served, peer) = pair().await;
        let request = "GET / HTTP/1.1\r\nHost: Relay.Example:7777\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-Forwarded-For: 6.6.6.6\r\n\r\nearly";
        client.write_all(request.as_bytes()).await.unwrap();
        let Ended::WebSocket(upgraded) = serve(served, peer.ip(), slot(), site(), config(Duration::from_secs(5))).await else {
            unreachable!("no upgrade");
        };
        assert_eq!(upgraded.client, Client { ip: peer.ip() });
        assert_eq!(upgraded.early_bytes, "early");
        drop(upgraded.stream);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_whole_in_time_is_cut_off() {
        let (mut client, served, peer) = pair().await;
        let serving = tokio::spawn(serve(served, peer.ip(), slot(), site(), config(Duration::from_millis(200))));
        // As long as it is listened to, and far from the longest head that is taken.
        let dripping = async {
            for byte in b"GET / HTTP/1.1\r\nHost: ".iter().chain(std::iter::repeat_n(&b'a', 3_000)) {
                if client.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            unreachable!("it was never cut off");
        };
        tokio::join!(dripping, async { assert!(matches!(serving.await.unwrap(), Ended::Refused)) });
    }

    #[tokio::test]
    async fn a_head_that_is_too_long_is_refused() {
        let (mut client, served, peer) = pair().await;
        let serving = tokio::spawn(serve(served, peer.ip(), slot(), site(), config(Duration::from_secs(5))));
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(9_000));
        // The refusal may come, and close the socket, before all of it is written.
        let _ = client.write_all(request.as_bytes()).await;
        assert!(matches!(serving.await.unwrap(), Ended::Refused));
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&answer));
    }
}
