//! Who is at the other end (NIP-42): one challenge per connection, any number of keys up to a bound.

use smallvec::SmallVec;
use url::Url;

use super::limits::{Limits, span};
use crate::base::hex32::PublicKey;
use crate::protocol::event::Draft;
use crate::protocol::kind;
use crate::protocol::reason::Reason;

/// Random bytes of a challenge: 128 bits.
const CHALLENGE_BYTES: usize = 16;
/// The span in which AUTH messages are counted.
const WINDOW_MS: u64 = 60_000;

/// The place that a login must name: a public URL of this relay, reduced to what is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    host: String,
    /// `None`: any port.
    port: Option<u16>,
}

/// Why a text is no URL of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a URL like wss://relay.example.com, without user name, spaces or backslashes")]
pub struct BadUrl;

impl Home {
    /// Reads a `ws://` or `wss://` URL. Host names are compared in lower case and as punycode; the path does not matter.
    pub fn parse(url: &str) -> Result<Self, BadUrl> {
        // What URL parsers repair in different ways is not repaired here.
        if url.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(BadUrl);
        }
        let url = Url::parse(url).map_err(|_| BadUrl)?;
        let is_plain = matches!(url.scheme(), "ws" | "wss") && url.username().is_empty() && url.password().is_none();
        let host = url.host_str().filter(|host| is_plain && !host.is_empty()).ok_or(BadUrl)?;
        Ok(Self { host: host.to_ascii_lowercase(), port: url.port() })
    }

    /// A host, whatever the port.
    pub fn at_any_port(host: &str) -> Result<Self, BadUrl> {
        let home = Self::parse(&format!("ws://{host}/"))?;
        Ok(Self { port: None, ..home })
    }

    /// What names this relay where no URL is configured: the address it listens on and the names of this machine for itself. The Host
    /// header is the client's word and proves nothing: whoever passes on another's login chooses it.
    pub fn local(listen: &str) -> Vec<Self> {
        let own = listen.parse().map(|address: std::net::SocketAddr| address.ip()).ok().filter(|ip| !ip.is_unspecified());
        let own = own.map(|ip| if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() });
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into();
        names.extend(own.filter(|own| !names.contains(own)));
        names.iter().filter_map(|name| Self::at_any_port(name).ok()).collect()
    }

    /// Whether the URL that a client named is this place.
    fn is_named_by(&self, url: &str) -> bool {
        let Ok(named) = Self::parse(url) else { return false };
        self.host == named.host && (self.port.is_none() || self.port == named.port)
    }
}

/// The login state of one connection.
#[derive(Debug)]
pub struct Login {
    challenge: Box<str>,
    keys: SmallVec<[PublicKey; 1]>,
    window_start_ms: u64,
    attempts: u32,
}

impl Login {
    /// A new challenge; fails only if the machine has no randomness.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut random = [0_u8; CHALLENGE_BYTES];
        getrandom::fill(&mut random)?;
        let challenge = const_hex::encode(random).into_boxed_str();
        Ok(Self { challenge, keys: SmallVec::new(), window_start_ms: 0, attempts: 0 })
    }

    /// What the client must sign.
    pub fn challenge(&self) -> &str {
        &self.challenge
    }

    /// The keys that have logged in.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Whether this key has logged in.
    pub fn has(&self, key: &PublicKey) -> bool {
        self.keys.contains(key)
    }

    /// Counts an AUTH message; refused if there were too many in the last minute.
    pub fn attempt(&mut self, limits: &Limits, now_ms: u64) -> Result<(), Reason> {
        if now_ms.abs_diff(self.window_start_ms) >= WINDOW_MS {
            (self.window_start_ms, self.attempts) = (now_ms, 0);
        }
        if self.attempts >= limits.logins_per_minute {
            let wait_ms = (self.window_start_ms + WINDOW_MS).saturating_sub(now_ms);
            return Err(Reason::rate_limited(format!("too many logins, wait {} s", wait_ms.div_ceil(1_000).max(1))));
        }
        self.attempts += 1;
        Ok(())
    }

    /// Everything about a login event but its id and signature.
    pub fn check(&self, draft: &Draft<'_>, homes: &[Home], limits: &Limits, now_s: u64) -> Result<(), Reason> {
        if draft.kind != kind::AUTH {
            return Err(Reason::invalid(format!("AUTH needs an event of kind {}", kind::AUTH)));
        }
        if draft.created_at.abs_diff(now_s) > limits.login_s {
            return Err(Reason::invalid(format!("created_at is more than {} from now", span(limits.login_s))));
        }
        if draft.tag_value("challenge") != Some(&self.challenge) {
            return Err(Reason::invalid("the challenge is not the one of this connection"));
        }
        if !draft.tag_value("relay").is_some_and(|url| homes.iter().any(|home| home.is_named_by(url))) {
            return Err(Reason::invalid(
                "the relay tag does not name this relay, whose operator says in relay.url under which name it is reached",
            ));
        }
        if !self.has(&draft.pubkey) && self.keys.len() >= limits.login_keys {
            return Err(Reason::restricted(format!("at most {} keys may log in on one connection", limits.login_keys)));
        }
        Ok(())
    }

    /// Remembers a key whose signature is good.
    pub fn add(&mut self, key: PublicKey) {
        if !self.has(&key) {
            self.keys.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_host_names_this_relay() {
        let home = Home::parse("wss://relay.example.com").unwrap();
        for good in [
            "wss://relay.example.com",
            "wss://relay.example.com/",
            "WSS://Relay.Example.COM/any/path?x#y",
            "ws://relay.example.com:4848",
            "wss://relay.example.com:443",
        ] {
            assert!(home.is_named_by(good), "{good}");
        }
        for bad in [
            "wss://relay.example.com.evil.com",
            "wss://relay.example.com@evil.com",
            "wss://evil.com@relay.example.com",
            "wss://user:pw@relay.example.com",
            "wss://evil.com/relay.example.com",
            "wss://evil.com#relay.example.com",
            "wss://evil.com\\relay.example.com",
            "wss://relay.example.com\\.evil.com",
            "wss://relay.example.com.",
            "wss://relay.example.co",
            "wss://xrelay.example.com",
            "wss://r\u{435}lay.example.com",
            "https://relay.example.com",
            "relay.example.com",
            "wss:relay.example.com\t",
            "wss://",
            "",
            " wss://relay.example.com",
        ] {
            assert!(!home.is_named_by(bad), "{bad}");
        }
    }

    #[test]
    fn a_port_counts_where_one_is_configured_and_names_are_compared_as_punycode() {
        let home = Home::parse("wss://relay.example.com:8443").unwrap();
        assert!(home.is_named_by("wss://relay.example.com:8443/"));
        assert!(!home.is_named_by("wss://relay.example.com/"));
        assert!(Home::parse("wss://b\u{fc}cher.example").unwrap().is_named_by("wss://xn--bcher-kva.example"));
        assert!(Home::at_any_port("127.0.0.1:7777").unwrap().is_named_by("ws://127.0.0.1:7777"));
        assert!(Home::at_any_port("[::1]:7777").unwrap().is_named_by("ws://[::1]:7777/"));
        assert!(Home::at_any_port("evil.com/@x").is_ok_and(|home| !home.is_named_by("ws://x")));
    }

    #[test]
    fn logins_are_counted_by_the_minute() {
        let mut login = Login::new().unwrap();
        let limits = Limits::default();
        let now_ms = 1_700_000_000_000;
        assert!((0..10).all(|_| login.attempt(&limits, now_ms).is_ok()));
        let refused = login.attempt(&limits, now_ms + 20_000).unwrap_err();
        assert_eq!(refused.to_string(), "rate-limited: too many logins, wait 40 s");
        assert!(login.attempt(&limits, now_ms + 60_000).is_ok());
        assert_ne!(login.challenge(), Login::new().unwrap().challenge());
        assert_eq!(login.challenge().len(), 32);
    }
}
