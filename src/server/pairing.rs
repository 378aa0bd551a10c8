//! The pages where an app asks for a connection in a browser (NIP-47 extension 08): `/connections/new?...`, and `/apps/new?...`
//! for clients of before. They only ask and show: the owner decides at the command line.
//!
//! What an app writes is escaped, never run and never loaded; the pages have no form and hold no secret. Whoever opens an address that
//! somebody else made up has granted nothing. The only script is ours, on the page that says "granted" and only if the browser is
//! not sent on: it posts `nwc:success` to the page that opened this one, which is what popups of apps wait for.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use hyper::{Method, Response, StatusCode};
use sha2::{Digest, Sha256};

use super::http::plain;
use super::pages::{escape, fill};
use crate::wallet::Wallet;
use crate::wallet::pairing::grant::AskError;
use crate::wallet::pairing::pending::{Outcome, Pending};
use crate::wallet::pairing::wish::{PAGE_PATHS, Wish};

const PAGE: &str = include_str!("pairing.html");
const SCRIPT: &str = include_str!("pairing.js");
/// Folders of the pages; a token follows.
const FOLDERS: [&str; 2] = ["/connections/", "/apps/"];
const TOKEN_CHARS: usize = 32;
/// How often a page looks whether the owner has decided.
const REFRESH: &str = "<meta http-equiv=\"refresh\" content=\"5\">";
/// What follows why a wish cannot be granted.
const MEND: &str = "Nothing was asked of the wallet's owner; if the app asks for the same again, its makers have to mend it.";

/// Whether a path is one of these pages.
pub(super) fn is_page(path: &str) -> bool {
    PAGE_PATHS.contains(&path) || token(path).is_some()
}

fn token(path: &str) -> Option<&str> {
    let token = FOLDERS.iter().find_map(|folder| path.strip_prefix(folder))?;
    (token.len() == TOKEN_CHARS && token.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(token)
}

/// Answers requests for the pages.
pub struct PairingPages {
    wallet: Wallet,
    policy: HeaderValue,
    /// The same, and our script may run.
    granted_policy: HeaderValue,
}

/// What a page shows beside its title; all of it is HTML.
#[derive(Default)]
struct Parts<'a> {
    words: &'a str,
    facts: &'a str,
    refresh: &'a str,
    granted: &'a str,
}

impl<'a> Parts<'a> {
    fn words(words: &'a str) -> Self {
        Self { words, ..Self::default() }
    }
}

impl PairingPages {
    /// The pages of a wallet.
    pub fn new(wallet: Wallet) -> Self {
        let style = PAGE.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>")).map_or("", |(style, _)| style);
        let digest = |text: &str| STANDARD.encode(Sha256::digest(text));
        let policy = |scripts: &str| {
            let text = format!(
                "default-src 'none'; style-src 'sha256-{}'{scripts}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
                digest(style)
            );
            HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
        };
        let granted_policy = policy(&format!("; script-src 'sha256-{}'", digest(SCRIPT)));
        Self { wallet, policy: policy(""), granted_policy }
    }

    /// The answer to a request of this address.
    pub(super) fn answer(&self, method: &Method, path: &str, query: &str, from: IpAddr) -> Response<Full<Bytes>> {
        if let Some(token) = token(path) {
            return self.show(token);
        }
        if *method != Method::GET {
            // A look ahead asks for nothing.
            return self.page(
                StatusCode::OK,
                "A connection",
                &Parts::words("This page asks the wallet's owner for a connection."),
            );
        }
        match self.wallet.ask_page(query, from) {
            // To an address of its own, so that loading it again asks for nothing new. Relative: there may be a proxy's path before it.
            Ok(pending) => self.redirect(&pending.token),
            Err(AskError::Wish(error)) => {
                let words = format!("The app's request was not taken: {}. {MEND}", escape(&error.to_string()));
                self.page(StatusCode::BAD_REQUEST, "This cannot be granted", &Parts::words(&words))
            }
            Err(AskError::Full(error)) => {
                let words = format!("The app's request was not taken: {}.", escape(&error.to_string()));
                self.page(StatusCode::TOO_MANY_REQUESTS, "Not now", &Parts::words(&words))
            }
        }
    }

    fn show(&self, token: &str) -> Response<Full<Bytes>> {
        let Some((pending, target)) = self.wallet.look_at_wish(token) else {
            let words = "Nothing waits here: requests end after ten minutes. Go back to the app and ask again.";
            return self.page(StatusCode::NOT_FOUND, "Too late", &Parts::words(words));
        };
        let facts = facts(&pending.wish);
        match (&pending.outcome, target) {
            (None, _) => {
                let parts = Parts { words: &waiting(&pending), facts: &facts, refresh: REFRESH, ..Parts::default() };
                self.page(StatusCode::OK, "Waiting for the wallet's owner", &parts)
            }
            (Some(Outcome::Declined), _) => {
                let words = "The wallet's owner has declined this request.";
                self.page(StatusCode::OK, "Declined", &Parts { words, facts: &facts, ..Parts::default() })
            }
            (Some(Outcome::Granted { .. }), Some(target)) if matches!(target.scheme(), "http" | "https") => {
                self.redirect(target.as_str())
            }
            (Some(Outcome::Granted { .. }), Some(target)) => self.open_app(target.as_str()),
            (Some(Outcome::Granted { wallet }), None) => self.granted(&pending.wish, &wallet.to_string()),
        }
    }

    /// Sends the browser to an app's own scheme. Browsers may want a tap for it, and one without that app stays where it is: so it must
    /// be on a page that says what happened, with a link, and not on the one that waits.
    fn open_app(&self, target: &str) -> Response<Full<Bytes>> {
        let target = escape(target);
        let words = format!(
            "The wallet's owner has granted this request. If the app does not open by itself, <a href=\"{target}\">go back to it</a>."
        );
        let refresh = format!("<meta http-equiv=\"refresh\" content=\"0;url={target}\">");
        self.page(StatusCode::OK, "Granted", &Parts { words: &words, refresh: &refresh, ..Parts::default() })
    }

    /// What the app needs, for people and for the page that opened this one.
    fn granted(&self, wish: &Wish, wallet: &str) -> Response<Full<Bytes>> {
        let config = self.wallet.config();
        let relays = config.relays.join(" ");
        let optional = [("state", &wish.state), ("lud16", &config.lud16)];
        let optional = optional.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value.as_str())));
        let data = [("wallet", wallet), ("relays", &relays)].into_iter().chain(optional);
        let data: String = data.map(|(name, value)| format!(" data-{name}=\"{}\"", escape(value))).collect();
        let granted = format!("<template id=\"granted\"{data}></template>\n<script>{SCRIPT}</script>");
        let rows = [("Wallet key", wallet.to_owned()), ("Relay", relays.clone())];
        let facts = list(rows.into_iter().chain(wish.state.iter().map(|state| ("State", state.clone()))));
        let words = "The wallet's owner has granted this request. The app needs the following; none of it is secret.";
        let mut response =
            self.page(StatusCode::OK, "Granted", &Parts { words, facts: &facts, granted: &granted, ..Parts::default() });
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, self.granted_policy.clone());
        response
    }

    fn redirect(&self, target: &str) -> Response<Full<Bytes>> {
        let mut response = self.page(StatusCode::SEE_OTHER, "Go on", &Parts::words("The answer is elsewhere."));
        match HeaderValue::try_from(target) {
            Ok(target) => drop(response.headers_mut().insert(LOCATION, target)),
            Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
        }
        response
    }

    fn page(&self, status: StatusCode, title: &str, parts: &Parts<'_>) -> Response<Full<Bytes>> {
        let Parts { words, facts, refresh, granted } = parts;
        let values = [("title", title), ("words", words), ("facts", facts), ("refresh", refresh), ("granted", granted)];
        let page = fill(PAGE, &values);
        let mut response = plain(status, "text/html; charset=utf-8", Bytes::from(page));
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        let fixed: [(HeaderName, &'static str); 3] =
            [(CACHE_CONTROL, "no-store"), (REFERRER_POLICY, "no-referrer"), (X_FRAME_OPTIONS, "DENY")];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

fn waiting(pending: &Pending) -> String {
    let handle = escape(&pending.handle);
    format!(
        "If this is your wallet and you started this, look at the request on its machine with <code>hearth wallet pending</code> and \
         grant it with <code>hearth wallet approve {handle}</code>. If you did not start it, close this page: nothing was granted."
    )
}

/// What is asked, for people.
fn facts(wish: &Wish) -> String {
    let optional = wish.optional.words();
    let budget = wish.budget.map(|(amount, renewal)| format!("{} msat, renewed {}", amount.get(), renewal.as_str()));
    let rows = [
        ("App", wish.name.clone().unwrap_or_default()),
        ("App key", wish.client.to_string()),
        ("Needs", wish.methods.words()),
        ("Would like", optional),
        ("Wants to be told", wish.notifications.join(" ")),
        ("Budget", budget.unwrap_or_else(|| "none: all that its account holds".to_owned())),
        ("Account", if wish.isolated { "one of its own" } else { "" }.to_owned()),
        ("Returns to", wish.return_to.as_ref().map(ToString::to_string).unwrap_or_default()),
    ];
    list(rows.into_iter())
}

fn list(rows: impl Iterator<Item = (&'static str, String)>) -> String {
    let rows = rows.filter(|(_, value)| !value.is_empty());
    rows.map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", escape(&value))).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    use crate::wallet::pairing::grant::OwnTerms;
    use crate::wallet::tests::House;

    const KEY: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    fn from() -> IpAddr {
        IpAddr::from([10, 0, 0, 1])
    }

    async fn body(response: Response<Full<Bytes>>) -> String {
        let bytes = response.into_body().collect().await.unwrap_or_else(|never| match never {}).to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn header(response: &Response<Full<Bytes>>, name: &HeaderName) -> String {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn only_these_paths_are_pages() {
        for good in ["/connections/new", "/apps/new", "/connections/00112233445566778899aabbccddeeff"] {
            assert!(is_page(good), "{good}");
        }
        for bad in
            ["/", "/connections", "/connections/", "/connections/new/", "/apps/newer", "/x/connections/new", "/connections/zz"]
        {
            assert!(!is_page(bad), "{bad}");
        }
    }

    #[test]
    fn a_stranger_writes_no_html_and_grants_itself_nothing() {
        let house = House::new();
        let pages = PairingPages::new(house.wallet.clone());
        let evil = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%27%26%7B%7Bwords%7D%7D";
        let query =
            format!("pubkey={KEY}&request_methods=get_info&name={evil}&return_to=https%3A%2F%2Fa.example%2F%3Fx%3D%22%3E%3Cb%3E");
        let asked = pages.answer(&Method::GET, "/connections/new", &query, from());
        assert_eq!(asked.status(), StatusCode::SEE_OTHER);
        let path = format!("/connections/{}", header(&asked, &LOCATION));
        let shown = pages.answer(&Method::GET, &path, "", from());
        let policy = header(&shown, &CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(header(&shown, &REFERRER_POLICY), "no-referrer");
        let html = house.wait(body(shown));
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;{{words}}"), "{html}");
        assert!(html.contains("hearth wallet approve ") && html.contains("http-equiv=\"refresh\""), "{html}");
        assert!(house.wallet.connections().is_empty());
        for (query, status) in [("", 400), ("pubkey=x&request_methods=get_info", 400)] {
            assert_eq!(pages.answer(&Method::GET, "/apps/new", query, from()).status(), status, "{query}");
        }
        let before = house.wallet.pending().len();
        assert_eq!(pages.answer(&Method::HEAD, "/apps/new", &query.replace("79be", "79bf"), from()).status(), 200);
        assert_eq!(house.wallet.pending().len(), before, "a HEAD asks for nothing");
    }

    #[test]
    fn an_app_of_its_own_scheme_is_a_link_beside_what_happened() {
        let house = House::new();
        let pages = PairingPages::new(house.wallet.clone());
        let query = format!("pubkey={KEY}&request_methods=get_info&name=zap&return_to=zapapp%3A%2F%2Fdone%3Fto%3D%22%27%3Cb%3E");
        let asked = pages.answer(&Method::GET, "/connections/new", &query, from());
        let path = format!("/connections/{}", header(&asked, &LOCATION));
        let handle = house.wallet.pending().last().unwrap().handle.clone();
        let approved = house.wait(house.wallet.approve(&handle, OwnTerms::default())).unwrap();
        let granted = pages.answer(&Method::GET, &path, "", from());
        assert_eq!((granted.status(), header(&granted, &LOCATION)), (StatusCode::OK, String::new()));
        assert!(!header(&granted, &CONTENT_SECURITY_POLICY).contains("script-src"));
        let html = house.wait(body(granted));
        let target = escape(approved.return_to.unwrap().as_str());
        assert!(target.starts_with("zapapp://done?to=") && target.contains("&amp;pubkey="), "{target}");
        assert!(html.contains(&format!("<a href=\"{target}\">")), "{html}");
        assert!(html.contains(&format!("<meta http-equiv=\"refresh\" content=\"0;url={target}\">")), "{html}");
        assert!(html.contains("has granted") && !html.contains("<b>") && !html.contains("<script"), "{html}");
    }

    #[test]
    fn after_the_owner_has_decided_the_browser_goes_where_the_app_wants_it() {
        let house = House::new();
        let pages = PairingPages::new(house.wallet.clone());
        let ask = |more: &str| {
            let query = format!("pubkey={KEY}&request_methods=get_info&name=zap&state={}{more}", "0f".repeat(16));
            let asked = pages.answer(&Method::GET, "/apps/new", &query, from());
            format!("/apps/{}", header(&asked, &LOCATION))
        };
        let handle = || house.wallet.pending().last().unwrap().handle.clone();
        let path = ask("&return_to=https%3A%2F%2Fapp.example%2Fdone%3Fa%3D1");
        let approved = house.wait(house.wallet.approve(&handle(), OwnTerms::default())).unwrap();
        let gone = pages.answer(&Method::GET, &path, "", from());
        assert_eq!(gone.status(), StatusCode::SEE_OTHER);
        let expected = format!(
            "https://app.example/done?a=1&relay=ws%3A%2F%2F127.0.0.1%3A7777&pubkey={}&state={}",
            approved.connected.wallet,
            "0f".repeat(16)
        );
        assert_eq!(header(&gone, &LOCATION), expected);
        let path = ask("&name2=x");
        let terms = OwnTerms { name: Some("second".to_owned()), ..OwnTerms::default() };
        let second = house.wait(house.wallet.approve(&handle(), terms)).unwrap();
        let granted = pages.answer(&Method::GET, &path, "", from());
        let policy = header(&granted, &CONTENT_SECURITY_POLICY);
        let shown = house.wait(body(granted));
        let script = shown.split_once("<script>").and_then(|(_, rest)| rest.split_once("</script>")).unwrap().0;
        let digest = STANDARD.encode(Sha256::digest(script));
        assert!(policy.contains(&format!("; script-src 'sha256-{digest}';")) && !policy.contains("unsafe"), "{policy}");
        let data = format!(
            "<template id=\"granted\" data-wallet=\"{}\" data-relays=\"ws://127.0.0.1:7777\" data-state=\"{}\"></template>",
            second.connected.wallet,
            "0f".repeat(16)
        );
        assert!(shown.contains(&data), "{shown}");
        assert!(shown.contains(&second.connected.wallet.to_string()) && shown.contains("Granted"), "{shown}");
        let path = ask("&expires_at=1900000000");
        house.wait(house.wallet.decline(&handle())).unwrap();
        assert!(house.wait(body(pages.answer(&Method::GET, &path, "", from()))).contains("has declined"));
        house.forward_s(601);
        assert_eq!(pages.answer(&Method::GET, &path, "", from()).status(), StatusCode::NOT_FOUND);
    }
}
