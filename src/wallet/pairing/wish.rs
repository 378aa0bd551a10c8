//! What an app asks for. Read strictly: whatever could mean two things, or asks for something that cannot be given, is declined with
//! words, because the owner decides by what is shown and the app relies on what it asked for.

use url::Url;

use crate::base::amount::Msat;
use crate::base::hex32::PublicKey;
use crate::wallet::access::connection::NAME_MAX_CHARS;
use crate::wallet::money::types::Renewal;
use crate::wallet::wire::method::{Method, MethodSet};
use crate::wallet::wire::notification::Notification;

/// Longest link.
pub const LINK_BYTES_MAX: usize = 8_192;
/// Most parameters of a link.
const PARAMETERS_MAX: usize = 64;
/// Most relays.
const RELAYS_MAX: usize = 8;
/// `state` has 128 bits at least; it is echoed, so it has an end.
const STATE_DIGITS_MIN: usize = 32;
const STATE_DIGITS_MAX: usize = 256;
/// Longest of `icon`, `return_to` and each relay.
const ADDRESS_BYTES_MAX: usize = 2_048;
/// Longest metadata, which nobody here looks at.
const METADATA_CHARS_MAX: usize = 4_096;
/// The paths of the page: the extension's and the one that clients knew before.
pub const PAGE_PATHS: [&str; 2] = ["/connections/new", "/apps/new"];

/// A connection as an app wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The app's key.
    pub client: PublicKey,
    /// To be echoed, so that the app knows which of its wishes was granted.
    pub state: Option<String>,
    /// What the app calls itself. Written by a stranger.
    pub name: Option<String>,
    /// Where the app's picture is. Written by a stranger, never loaded and nowhere shown.
    pub icon: Option<String>,
    /// Where the browser goes in the end.
    pub return_to: Option<Url>,
    /// All of these, or none.
    pub methods: MethodSet,
    /// These too, as far as they can be had.
    pub optional: MethodSet,
    /// What it wants to be told.
    pub notifications: Vec<String>,
    /// Most that it may spend in a period, fees included.
    pub budget: Option<(Msat, Renewal)>,
    /// Unix seconds.
    pub expires_at_s: Option<u64>,
    /// Whether it wants an account of its own.
    pub isolated: bool,
    /// Where the app listens for the answer (kind 13194); only of links.
    pub relays: Vec<String>,
    /// Whether the app waits for kind 13194 rather than for a page.
    pub is_link: bool,
}

/// Why a wish cannot be granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// It is something else.
    #[error(
        "this is no request for a connection: it starts with nostr+walletauth:// or is a web address whose path ends in \
         /connections/new or /apps/new"
    )]
    NoWish,
    /// Longer than any honest one.
    #[error("the request is longer than {LINK_BYTES_MAX} bytes or has more than {PARAMETERS_MAX} parameters")]
    TooLong,
    /// A parameter that may stand there once.
    #[error("the request names {0} twice, and only one of the two could be granted")]
    Twice(&'static str),
    /// A parameter that cannot be read.
    #[error("{name} {words}")]
    Bad {
        /// The parameter.
        name: &'static str,
        /// What it must be.
        words: String,
    },
    /// A method that this wallet does not have.
    #[error("the app needs the method \"{0}\", which this wallet does not do; all that it needs or nothing can be granted")]
    Method(String),
}

fn bad(name: &'static str, words: impl Into<String>) -> WishError {
    WishError::Bad { name, words: words.into() }
}

impl Wish {
    /// Reads a link or a pasted web address. `able` is what the wallet can do.
    pub fn parse(text: &str, able: MethodSet, now_s: u64) -> Result<Self, WishError> {
        let text = text.trim();
        if text.len() > LINK_BYTES_MAX {
            return Err(WishError::TooLong);
        }
        if let Some(rest) = link_rest(text) {
            let (key, query) = rest.split_once('?').unwrap_or((rest, ""));
            let query = query.split('#').next().unwrap_or_default();
            return read(Parameters::of(query)?, Some(key.trim_end_matches('/')), able, now_s);
        }
        let url = Url::parse(text).map_err(|_| WishError::NoWish)?;
        let is_page = matches!(url.scheme(), "http" | "https") && PAGE_PATHS.iter().any(|path| url.path().ends_with(path));
        if !is_page {
            return Err(WishError::NoWish);
        }
        Self::of_page(url.query().unwrap_or_default(), able, now_s)
    }

    /// Reads the query of a request for the page.
    pub fn of_page(query: &str, able: MethodSet, now_s: u64) -> Result<Self, WishError> {
        if query.len() > LINK_BYTES_MAX {
            return Err(WishError::TooLong);
        }
        read(Parameters::of(query)?, None, able, now_s)
    }

    /// What is granted: all that is needed, and of the rest what the wallet can do.
    pub fn granted(&self, able: MethodSet) -> MethodSet {
        self.methods.iter().chain(self.optional.intersection(able).iter()).collect()
    }
}

/// What follows `nostr+walletauth://`, `nostr+walletauth+app://` or the same with a lost `+`.
fn link_rest(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':')?;
    let scheme = scheme.to_ascii_lowercase().replace(' ', "+");
    let is_ours = scheme == "nostr+walletauth" || scheme.starts_with("nostr+walletauth+") || scheme == "nostrwalletauth";
    is_ours.then(|| rest.strip_prefix("//").unwrap_or(rest))
}

/// The parameters of a query, decoded.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(query: &str) -> Result<Self, WishError> {
        let mut pairs = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if pairs.len() == PARAMETERS_MAX {
                return Err(WishError::TooLong);
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    fn all<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may stand there once; an empty one is none.
    fn one(&self, name: &'static str) -> Result<Option<&str>, WishError> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() {
            return Err(WishError::Twice(name));
        }
        Ok(first.map(str::trim).filter(|value| !value.is_empty()))
    }
}

fn read(parameters: Parameters, link_key: Option<&str>, able: MethodSet, now_s: u64) -> Result<Wish, WishError> {
    let one = |name| parameters.one(name);
    let key = match link_key {
        Some(key) => Some(key),
        None => one("pubkey")?,
    };
    let key = key.ok_or_else(|| bad("pubkey", "is missing: the app must bring its own key"))?;
    let client = PublicKey::parse(key).map_err(|_| bad("pubkey", "must be 64 lower-case hex digits"))?;
    let state = one("state")?.map(state).transpose()?;
    if link_key.is_some() && state.is_none() {
        return Err(bad("state", "is missing: without it the app cannot tell this answer from others"));
    }
    let methods = needed_methods(one("request_methods")?.unwrap_or_default(), able)?;
    let optional = words(one("optional_request_methods")?.unwrap_or_default()).filter_map(Method::parse).collect();
    if let Some(metadata) = one("metadata")? {
        check_metadata(metadata)?;
    }
    Ok(Wish {
        client,
        state,
        name: one("name")?.map(tidy_name).filter(|name| !name.is_empty()),
        icon: one("icon")?.map(|text| address("icon", text)).transpose()?.map(String::from),
        return_to: one("return_to")?.map(return_address).transpose()?,
        methods,
        optional,
        notifications: notifications(one("notification_types")?.unwrap_or_default())?,
        budget: budget(one("max_amount")?, one("renewal_period")?, one("budget_renewal")?)?,
        expires_at_s: one("expires_at")?.map(|text| expiry(text, now_s)).transpose()?,
        isolated: flag("isolated", one("isolated")?)?,
        relays: relays(parameters.all("relay"))?,
        is_link: link_key.is_some(),
    })
}

fn state(text: &str) -> Result<String, WishError> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && (STATE_DIGITS_MIN..=STATE_DIGITS_MAX).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(bad("state", format!("must have {STATE_DIGITS_MIN} to {STATE_DIGITS_MAX} hex digits (128 bits at least)")))
}

/// Lists come separated by spaces; some clients write commas.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',']).filter(|word| !word.is_empty())
}

fn needed_methods(text: &str, able: MethodSet) -> Result<MethodSet, WishError> {
    let mut needed = Vec::new();
    // The word `notifications` is what clients of before extension 02 asked for among the methods.
    for word in words(text).filter(|word| *word != "notifications") {
        let known = Method::parse(word).filter(|method| able.has(*method));
        needed.push(known.ok_or_else(|| WishError::Method(word.chars().take(64).collect()))?);
    }
    if needed.is_empty() {
        return Err(bad("request_methods", "is missing: nothing is granted that was not asked for"));
    }
    Ok(needed.into_iter().collect())
}

fn notifications(text: &str) -> Result<Vec<String>, WishError> {
    let mut wanted: Vec<String> = Vec::new();
    for word in words(text) {
        if Notification::parse(word).is_none() {
            let word: String = word.chars().take(64).collect();
            return Err(bad("notification_types", format!("names \"{word}\", which there is not")));
        }
        if !wanted.iter().any(|other| other == word) {
            wanted.push(word.to_owned());
        }
    }
    Ok(wanted)
}

fn budget(amount: Option<&str>, renewal: Option<&str>, also: Option<&str>) -> Result<Option<(Msat, Renewal)>, WishError> {
    let renewal = match (renewal, also) {
        (Some(one), Some(other)) if one != other => return Err(WishError::Twice("renewal_period")),
        (one, other) => one.or(other),
    };
    let renewal = match renewal {
        None => Renewal::Never,
        Some(name) => Renewal::parse(name)
            .ok_or_else(|| bad("renewal_period", "must be never, daily, weekly, monthly or yearly; no other can be enforced"))?,
    };
    let Some(amount) = amount else { return Ok(None) };
    let number = digits(amount).ok_or_else(|| bad("max_amount", "must be a number of msat in digits"))?;
    let amount = Msat::new(number).ok().filter(|amount| *amount != Msat::ZERO);
    let amount = amount.ok_or_else(|| bad("max_amount", format!("must lie between 1 and {} msat", Msat::MAX.get())))?;
    Ok(Some((amount, renewal)))
}

fn expiry(text: &str, now_s: u64) -> Result<u64, WishError> {
    match digits(text) {
        None => Err(bad("expires_at", "must be a time in unix seconds")),
        Some(at_s) if at_s <= now_s => Err(bad("expires_at", "lies in the past")),
        Some(at_s) => Ok(at_s),
    }
}

fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn flag(name: &'static str, text: Option<&str>) -> Result<bool, WishError> {
    match text {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => Err(bad(name, "must be true or false")),
    }
}

/// A stranger's name: what does not print becomes a space, and it has an end.
fn tidy_name(text: &str) -> String {
    let is_plain = |letter: char| {
        !letter.is_control()
            && !matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let plain: String = text.chars().map(|letter| if is_plain(letter) { letter } else { ' ' }).collect();
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    plain.chars().take(NAME_MAX_CHARS).collect::<String>().trim().to_owned()
}

fn address(name: &'static str, text: &str) -> Result<Url, WishError> {
    if text.len() > ADDRESS_BYTES_MAX {
        return Err(bad(name, format!("is longer than {ADDRESS_BYTES_MAX} bytes")));
    }
    Url::parse(text).map_err(|_| bad(name, "is no address"))
}

/// Where a browser may be sent: a web page over TLS, one on the same machine, or an app's own scheme. Never where a script or a
/// file would be run in the name of this page.
pub(super) fn return_address(text: &str) -> Result<Url, WishError> {
    const NEVER: [&str; 8] = ["javascript", "data", "file", "blob", "about", "vbscript", "filesystem", "view-source"];
    let url = address("return_to", text)?;
    let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let may = match url.scheme() {
        "https" => url.host_str().is_some(),
        "http" => is_local,
        other => !NEVER.contains(&other),
    };
    // Whoever reads the address must see where it leads.
    let is_plain = url.username().is_empty() && url.password().is_none();
    if may && is_plain { Ok(url) } else { Err(bad("return_to", "must be an https address or an app's own scheme")) }
}

fn relays<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<String>, WishError> {
    let mut relays = Vec::new();
    for text in texts.map(str::trim).filter(|text| !text.is_empty()) {
        let url = address("relay", text)?;
        if !matches!(url.scheme(), "ws" | "wss") || relays.len() == RELAYS_MAX {
            return Err(bad("relay", format!("must be a ws:// or wss:// address, and there may be {RELAYS_MAX} of them")));
        }
        relays.push(text.to_owned());
    }
    Ok(relays)
}

fn check_metadata(text: &str) -> Result<(), WishError> {
    let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok();
    if is_object && text.chars().count() <= METADATA_CHARS_MAX {
        return Ok(());
    }
    Err(bad("metadata", format!("must be a JSON object of at most {METADATA_CHARS_MAX} characters")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_800_000_000;
    const KEY: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    const STATE: &str = "000102030405060708090a0b0c0d0e0f";

    fn parse(text: &str) -> Result<Wish, WishError> {
        let text = text.replace("KEY", KEY).replace("STATE", STATE);
        Wish::parse(&text, MethodSet::all(), NOW_S)
    }

    #[test]
    fn a_whole_wish_is_read_from_a_link_and_from_a_page() {
        let rest = "state=STATE&name=Zap%20App&icon=https%3A%2F%2Fzap.example%2Fi.png&return_to=https%3A%2F%2Fzap.example%2Fdone%3Fa%3D1\
                    &expires_at=1800000100&max_amount=21000&renewal_period=daily&request_methods=pay_invoice+get_info\
                    &optional_request_methods=get_balance+levitate&notification_types=payment_received%20payment_sent&isolated=true\
                    &metadata=%7B%22a%22%3A1%7D";
        let page = parse(&format!("https://wallet.example/hub/connections/new?pubkey=KEY&{rest}")).unwrap();
        assert_eq!((page.client.to_string().as_str(), page.state.as_deref(), page.is_link), (KEY, Some(STATE), false));
        assert_eq!((page.name.as_deref(), page.icon.as_deref()), (Some("Zap App"), Some("https://zap.example/i.png")));
        assert_eq!(page.return_to.as_ref().map(Url::as_str), Some("https://zap.example/done?a=1"));
        assert_eq!((page.methods.words(), page.optional.words()), ("pay_invoice get_info".into(), "get_balance".into()));
        assert_eq!(page.notifications.join(" "), "payment_received payment_sent");
        assert_eq!(page.budget, Some((Msat::new(21_000).unwrap(), Renewal::Daily)));
        assert_eq!((page.expires_at_s, page.isolated), (Some(1_800_000_100), true));
        let able = [Method::PayInvoice, Method::GetInfo].into_iter().collect();
        assert_eq!(page.granted(able).words(), "pay_invoice get_info", "what is optional is given if it can be had");
        assert!(page.granted(MethodSet::all()).has(Method::GetBalance));

        let link = parse(&format!("nostr+walletauth://KEY?relay=wss%3A%2F%2Fr.example&relay=wss://s.example&{rest}")).unwrap();
        assert_eq!(link.relays, ["wss://r.example", "wss://s.example"]);
        assert_eq!(Wish { relays: Vec::new(), is_link: false, ..link }, page);
    }

    #[test]
    fn links_and_addresses_have_several_forms() {
        let query = "state=STATE&request_methods=get_info";
        for good in [
            format!("nostr+walletauth://KEY?{query}"),
            format!("  nostr+walletauth:KEY?{query}\n"),
            format!("NOSTR+WalletAuth://KEY/?{query}#x"),
            format!("nostr+walletauth+zapapp://KEY?{query}"),
            format!("nostr walletauth://KEY?{query}"),
            format!("http://127.0.0.1:7777/connections/new?pubkey=KEY&{query}"),
            format!("https://wallet.example/apps/new?pubkey=KEY&{query}"),
            "https://wallet.example/apps/new?pubkey=KEY&request_methods=get_info,notifications".to_owned(),
        ] {
            assert_eq!(parse(&good).map(|wish| wish.methods.words()), Ok("get_info".to_owned()), "{good}");
        }
        let renewed = |text: &str| parse(&format!("https://x.example/apps/new?pubkey=KEY&{query}&max_amount=5&{text}"));
        for same in ["budget_renewal=weekly", "renewal_period=weekly", "renewal_period=weekly&budget_renewal=weekly"] {
            assert_eq!(renewed(same).unwrap().budget.map(|(_, renewal)| renewal), Some(Renewal::Weekly), "{same}");
        }
        assert!(renewed("renewal_period=weekly&budget_renewal=daily").is_err());
        assert_eq!(renewed("").unwrap().budget.map(|(_, renewal)| renewal), Some(Renewal::Never));
    }

    #[test]
    fn what_cannot_be_granted_is_declined_with_words() {
        let long = "x".repeat(LINK_BYTES_MAX + 1);
        let many = "a=1&".repeat(PARAMETERS_MAX + 1);
        let table = [
            ("", "this is no request"),
            ("nostr+walletconnect://KEY?relay=wss://x", "this is no request"),
            ("https://wallet.example/?pubkey=KEY", "this is no request"),
            ("ftp://wallet.example/connections/new?pubkey=KEY", "this is no request"),
            (long.as_str(), "longer than"),
            ("nostr+walletauth://?state=STATE&request_methods=get_info", "pubkey must be 64"),
            ("nostr+walletauth://npub1xyz?state=STATE&request_methods=get_info", "pubkey must be 64"),
            ("nostr+walletauth://KEY?request_methods=get_info", "state is missing"),
            ("nostr+walletauth://KEY?state=0011&request_methods=get_info", "state must have 32"),
            ("nostr+walletauth://KEY?state=zz0102030405060708090a0b0c0d0e0f&request_methods=get_info", "state must have 32"),
            ("nostr+walletauth://KEY?state=STATE", "request_methods is missing"),
            ("nostr+walletauth://KEY?state=STATE&request_methods=notifications", "request_methods is missing"),
            (
                "nostr+walletauth://KEY?state=STATE&request_methods=get_info+levitate",
                "\"levitate\", which this wallet does not do",
            ),
            ("nostr+walletauth://KEY?state=STATE&state=STATE&request_methods=get_info", "names state twice"),
            ("A&max_amount=5&max_amount=6", "names max_amount twice"),
            ("A&pubkey=KEY", "names pubkey twice"),
            ("A&max_amount=0", "max_amount must lie between"),
            ("A&max_amount=-5", "max_amount must be a number"),
            ("A&max_amount=1e3", "max_amount must be a number"),
            ("A&max_amount=2100000000000000001", "max_amount must lie between"),
            ("A&max_amount=5&renewal_period=hourly", "renewal_period must be"),
            ("A&expires_at=1800000000", "expires_at lies in the past"),
            ("A&expires_at=tomorrow", "expires_at must be a time"),
            ("A&isolated=perhaps", "isolated must be"),
            ("A&notification_types=everything", "names \"everything\""),
            ("A&return_to=javascript:alert(1)", "return_to must be"),
            ("A&return_to=data:text/html,x", "return_to must be"),
            ("A&return_to=JaVaScRiPt:alert(1)", "return_to must be"),
            ("A&return_to=%20javascript:alert(1)", "return_to must be"),
            ("A&return_to=http://evil.example/", "return_to must be"),
            ("A&return_to=https://bank.example@evil.example/", "return_to must be"),
            ("A&return_to=/relative", "return_to is no address"),
            ("A&icon=nothing", "icon is no address"),
            ("A&metadata=[]", "metadata must be"),
            ("A&relay=https://x.example", "relay must be"),
            (many.as_str(), "this is no request"),
        ];
        for (text, words) in table {
            let text = match text.strip_prefix('A') {
                Some(more) => format!("https://x.example/apps/new?pubkey=KEY&request_methods=get_info{more}"),
                None => text.to_owned(),
            };
            let said = parse(&text).unwrap_err().to_string();
            assert!(said.contains(words), "{text}\n  said {said}\n  not {words}");
        }
        assert_eq!(Wish::of_page(&many, MethodSet::all(), NOW_S), Err(WishError::TooLong));
    }

    #[test]
    fn a_strangers_name_is_plain_and_short() {
        assert_eq!(tidy_name("Zap\u{202e}\n App\u{1b}[31m"), "Zap App [31m");
        assert_eq!(tidy_name(&"x".repeat(500)).chars().count(), NAME_MAX_CHARS);
        assert_eq!(tidy_name("\u{200b}"), "");
        let wish = parse("https://x.example/apps/new?pubkey=KEY&request_methods=get_info&name=%3Cscript%3E").unwrap();
        assert_eq!(wish.name.as_deref(), Some("<script>"), "escaped where it is shown");
    }
}
