//! The second listener: `/livez` (this process answers), `/readyz` (it serves), `/metrics` (Prometheus) and `/status` (JSON).
//! For operators and their machines; it tells no secrets.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::http::{plain, text};

/// Most connections of operators.
const CONNECTIONS_MAX: usize = 64;
/// A request must be whole within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// After an error of accept: how long until the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest head of a request.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// What the parts say about themselves.
pub trait Health: Send + Sync {
    /// Whether clients are served; the error says why not.
    fn ready(&self) -> Result<(), String>;
    /// What Prometheus reads.
    fn metrics(&self) -> String;
    /// What people and scripts read, as JSON.
    fn status(&self) -> String;
}

/// Serves until `end`.
pub(super) async fn serve(listener: TcpListener, health: Arc<dyn Health>, end: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = end.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (health, end) = (Arc::clone(&health), end.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer(request.method(), request.uri().path(), health.as_ref());
                std::future::ready(Ok::<_, Infallible>(response))
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEADER_BYTES_MAX);
            tokio::select! {
                _ = builder.serve_connection(TokioIo::new(stream), service) => {}
                () = end.cancelled() => {}
            }
            drop(place);
        });
    }
}

fn answer(method: &Method, path: &str, health: &dyn Health) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    }
    match path {
        "/livez" => text(StatusCode::OK, "alive\n"),
        "/readyz" => match health.ready() {
            Ok(()) => text(StatusCode::OK, "ready\n"),
            Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", format!("{reason}\n").into()),
        },
        "/metrics" => plain(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", health.metrics().into()),
        "/status" => plain(StatusCode::OK, "application/json", health.status().into()),
        _ => text(StatusCode::NOT_FOUND, "/livez, /readyz, /metrics or /status\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(Result<(), String>);

    impl Health for Fake {
        fn ready(&self) -> Result<(), String> {
            self.0.clone()
        }

        fn metrics(&self) -> String {
            "a 1\n".into()
        }

        fn status(&self) -> String {
            "{}".into()
        }
    }

    #[test]
    fn each_path_has_its_answer_and_readiness_its_code() {
        let ready = Fake(Ok(()));
        let draining = Fake(Err("draining".into()));
        for (health, method, path, status) in [
            (&ready, Method::GET, "/livez", 200),
            (&draining, Method::GET, "/livez", 200),
            (&ready, Method::GET, "/readyz", 200),
            (&draining, Method::HEAD, "/readyz", 503),
            (&ready, Method::GET, "/metrics", 200),
            (&ready, Method::GET, "/status", 200),
            (&ready, Method::GET, "/", 404),
            (&ready, Method::POST, "/status", 405),
        ] {
            assert_eq!(answer(&method, path, health).status(), status, "{method} {path}");
        }
    }
}
