//! Which answer a request gets. Pure: method, path and headers in, one [`Route`] out.
//!
//! There is one endpoint, `/`. NIP-01 asks that a relay serve no second path that behaves the same, so every other path is 404, but for the pages where an app asks for a
//! wallet connection.

use hyper::header::{ACCEPT, CONNECTION, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper::{HeaderMap, Method, Version};

use super::pairing::is_page as is_pairing_page;

/// The media type of NIP-11.
const NIP11_TYPE: &str = "application/nostr+json";
/// Length of a Sec-WebSocket-Key: sixteen bytes in base64.
const KEY_CHARS: usize = 24;

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Become a WebSocket.
    WebSocket,
    /// The document of NIP-11.
    Information,
    /// The page for people.
    Page,
    /// A page where an app asks for a wallet connection.
    Pairing,
    /// What a browser asks before it reads NIP-11 from another site.
    Preflight,
    /// There is nothing at this path.
    NotFound,
    /// Not with this method.
    WrongMethod,
    /// A WebSocket, but not of version 13.
    WrongVersion,
    /// A WebSocket request that is none.
    BadUpgrade,
}

/// Decides.
pub fn route(method: &Method, path: &str, version: Version, headers: &HeaderMap) -> Route {
    if is_pairing_page(path) && matches!(*method, Method::GET | Method::HEAD) {
        return Route::Pairing;
    }
    if path != "/" {
        return Route::NotFound;
    }
    match *method {
        Method::OPTIONS => Route::Preflight,
        Method::GET if has_token(headers, &UPGRADE, "websocket") => upgrade(version, headers),
        Method::GET | Method::HEAD if accepts_nip11(headers) => Route::Information,
        Method::GET | Method::HEAD => Route::Page,
        _ => Route::WrongMethod,
    }
}

fn upgrade(version: Version, headers: &HeaderMap) -> Route {
    let key_chars = headers.get(SEC_WEBSOCKET_KEY).map_or(0, |key| key.as_bytes().trim_ascii().len());
    if version != Version::HTTP_11 || !has_token(headers, &CONNECTION, "upgrade") || key_chars != KEY_CHARS {
        return Route::BadUpgrade;
    }
    match headers.get(SEC_WEBSOCKET_VERSION).map(|version| version.as_bytes().trim_ascii()) {
        Some(b"13") => Route::WebSocket,
        _ => Route::WrongVersion,
    }
}

/// Whether a list header has a token, whatever its case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    entries(headers, name).any(|entry| entry.eq_ignore_ascii_case(token))
}

/// `Accept` may list several types, each with parameters.
fn accepts_nip11(headers: &HeaderMap) -> bool {
    entries(headers, &ACCEPT).any(|entry| entry.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(NIP11_TYPE))
}

fn entries<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const VERSION: (&str, &str) = ("sec-websocket-version", "13");

    fn check(method: &str, path: &str, headers: &[(&'static str, &'static str)], expected: Route) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(route(&method, path, Version::HTTP_11, &map), expected, "{method} {path} {headers:?}");
    }

    #[test]
    fn one_endpoint_and_four_answers() {
        check("GET", "/", &[], Route::Page);
        check("HEAD", "/", &[], Route::Page);
        check("GET", "/", &[("accept", "text/html,*/*;q=0.8")], Route::Page);
        check("GET", "/", &[("accept", "application/nostr+json")], Route::Information);
        check("HEAD", "/", &[("accept", "application/nostr+json")], Route::Information);
        check("GET", "/", &[("accept", "text/html, Application/Nostr+JSON;q=0.9 , */*")], Route::Information);
        check("GET", "/", &[("accept", "text/html"), ("accept", "application/nostr+json")], Route::Information);
        check("GET", "/", &[("accept", "application/nostr+json+rpc")], Route::Page);
        check("OPTIONS", "/", &[], Route::Preflight);
        for path in ["/index.html", "//", "/x", "/relay/", "", "*", "/livez", "/metrics", "/status"] {
            check("GET", path, &[("accept", "application/nostr+json")], Route::NotFound);
        }
        for path in ["/connections/new", "/apps/new", "/apps/00112233445566778899aabbccddeeff"] {
            check("GET", path, &[("upgrade", "websocket")], Route::Pairing);
            check("POST", path, &[], Route::NotFound);
        }
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
            check(method, "/", &[], Route::WrongMethod);
        }
    }

    #[test]
    fn an_upgrade_is_whole_or_refused() {
        let upgrade = ("upgrade", "WebSocket");
        let connection = ("connection", "keep-alive, Upgrade");
        check("GET", "/", &[upgrade, connection, KEY, VERSION], Route::WebSocket);
        check("GET", "/", &[upgrade, connection, KEY, VERSION, ("accept", "application/nostr+json")], Route::WebSocket);
        check("GET", "/x", &[upgrade, connection, KEY, VERSION], Route::NotFound);
        check("POST", "/", &[upgrade, connection, KEY, VERSION], Route::WrongMethod);
        check("GET", "/", &[upgrade, connection, KEY], Route::WrongVersion);
        check("GET", "/", &[upgrade, connection, KEY, ("sec-websocket-version", "8")], Route::WrongVersion);
        check("GET", "/", &[upgrade, connection, VERSION], Route::BadUpgrade);
        check("GET", "/", &[upgrade, connection, VERSION, ("sec-websocket-key", "short")], Route::BadUpgrade);
        check("GET", "/", &[upgrade, KEY, VERSION], Route::BadUpgrade);
        check("GET", "/", &[("upgrade", "h2c"), connection], Route::Page);
    }
}
