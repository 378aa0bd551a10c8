//! Whose connection this is, for everything that is counted by address.
//!
//! Invariant: bytes that a client made up never change the answer. `X-Forwarded-For` counts only when the TCP peer is a trusted
//! proxy, and then it is read from the right: every entry was appended by whoever connected to the hop on its right, so the
//! first entry that is not a trusted proxy is the client, and everything left of it is hearsay.

use std::net::{IpAddr, Ipv6Addr};

use hyper::HeaderMap;

/// Most hops that are walked.
const HOPS_MAX: usize = 16;

/// A network: an address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    bits: u128,
    prefix: u32,
}

/// What an address is counted under: an IPv4 address, or a /64 of IPv6 (what one customer has).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressKey(u128);

impl AddressKey {
    /// The key of an address.
    pub fn of(ip: IpAddr) -> Self {
        let bits = to_bits(ip);
        match bits >> 32 {
            V4_MAPPED => Self(bits),
            _ => Self(bits >> 64 << 64),
        }
    }
}

/// The leading 96 bits of an IPv4 address that is written as IPv6.
const V4_MAPPED: u128 = 0xffff;

/// IPv4 addresses and their IPv6 spelling are the same 128 bits.
fn to_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl Network {
    /// Reads `10.0.0.0/8`, `::1` and the like.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let ip: IpAddr = address.parse().ok()?;
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(width);
        (length <= width).then(|| Self { bits: to_bits(ip), prefix: 128 - width + length })
    }

    /// Whether an address lies in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let differing = self.bits ^ to_bits(ip);
        self.prefix == 0 || differing >> (128 - self.prefix) == 0
    }
}

/// The address of the client behind a TCP peer.
pub fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(ip));
    let mut client = plain(peer);
    if !is_trusted(client) {
        return client;
    }
    // Several headers are one list, in order. It is split as bytes: what a client wrote further left may be no text at all.
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for entry in entries.take(HOPS_MAX) {
        let entry = std::str::from_utf8(entry).unwrap_or_default();
        let Some(hop) = parse_hop(entry.trim()) else { break };
        client = hop;
        if !is_trusted(hop) {
            break;
        }
    }
    client
}

/// One entry: an address, perhaps with a port, an IPv6 one perhaps in brackets.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let bare = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let port_is_fine = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
            return if port_is_fine { address.parse::<Ipv6Addr>().ok().map(|ip| plain(IpAddr::V6(ip))) } else { None };
        }
        None => text,
    };
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Some(plain(ip));
    }
    let (address, port) = bare.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    address.parse::<std::net::Ipv4Addr>().ok().map(IpAddr::V4)
}

/// IPv4 addresses as IPv4, whatever the socket calls them.
fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            if let Ok(value) = HeaderValue::from_bytes(line) {
                headers.append("x-forwarded-for", value);
            }
        }
        headers
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn check(peer: &str, lines: &[&str], expected: &str) {
        let trusted = [Network::parse("10.0.0.0/8").unwrap(), Network::parse("fd00::/8").unwrap()];
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        assert_eq!(client_ip(ip(peer), &headers(&lines), &trusted), ip(expected), "{peer} {lines:?}");
    }

    #[test]
    fn the_list_is_walked_from_the_right_and_only_behind_a_proxy() {
        check("192.0.2.1", &["203.0.113.9"], "192.0.2.1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["6.6.6.6, 203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["6.6.6.6, 203.0.113.9, 10.1.1.1"], "203.0.113.9");
        check("10.0.0.1", &["6.6.6.6", "203.0.113.9", "10.1.1.1"], "203.0.113.9");
        check("::ffff:10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9");
        check("fd00::1", &["[2001:db8::5]:443"], "2001:db8::5");
        check("10.0.0.1", &["203.0.113.9:5555"], "203.0.113.9");
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk_at_the_last_hop_that_is_known() {
        for garbage in ["unknown", "", "fe80::1%eth0", "1.2.3.4.5", "[::1", "[::1]x", "_hidden", "1.2.3.4:99999"] {
            check("10.0.0.1", &[&format!("6.6.6.6, {garbage}, 10.2.2.2")], "10.2.2.2");
            check("10.0.0.1", &[garbage], "10.0.0.1");
        }
        let many = vec!["10.9.9.9"; 1_000].join(",");
        check("10.0.0.1", &[&format!("6.6.6.6,{many}")], "10.9.9.9");
    }

    #[test]
    fn networks_hold_what_they_say() {
        let all = Network::parse("0.0.0.0/0").unwrap();
        assert!(all.contains(ip("1.2.3.4")) && !all.contains(ip("2001:db8::1")));
        assert!(Network::parse("::/0").unwrap().contains(ip("2001:db8::1")));
        assert!(Network::parse("127.0.0.1").unwrap().contains(ip("::ffff:127.0.0.1")));
        assert!(!Network::parse("192.0.2.0/25").unwrap().contains(ip("192.0.2.128")));
        for bad in ["", "10.0.0.0/33", "::/129", "example.com", "10.0.0.0/-1", "10.0.0/8"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_ipv6_customer_is_one_key_and_ipv4_has_one_whatever_its_spelling() {
        assert_eq!(AddressKey::of(ip("2001:db8:1:2::1")), AddressKey::of(ip("2001:db8:1:2:ffff::9")));
        assert_ne!(AddressKey::of(ip("2001:db8:1:2::1")), AddressKey::of(ip("2001:db8:1:3::1")));
        assert_eq!(AddressKey::of(ip("192.0.2.1")), AddressKey::of(ip("::ffff:192.0.2.1")));
        assert_ne!(AddressKey::of(ip("192.0.2.1")), AddressKey::of(ip("192.0.2.2")));
    }

    /// A proxy refuses bytes that no header may hold; then nothing arrives here at all.
    fn any_header_byte() -> impl Strategy<Value = u8> {
        any::<u8>().prop_map(|byte| if byte < 0x20 || byte == 0x7f { b'\t' } else { byte })
    }

    proptest! {
        /// Whatever a client sends itself ends up on the left of what its proxy appends.
        #[test]
        fn bytes_of_a_client_never_change_its_key(
            made_up in proptest::collection::vec(proptest::collection::vec(any_header_byte(), 0..60), 0..4),
            real in any::<u32>().prop_filter("of the proxy's own network", |real| real >> 24 != 10),
            own_line in any::<bool>(),
        ) {
            let real = IpAddr::V4(real.into());
            let trusted = [Network::parse("10.0.0.0/8").unwrap()];
            let mut lines = made_up;
            let appended = real.to_string();
            match lines.last_mut() {
                Some(last) if !own_line => last.extend_from_slice(format!(", {appended}").as_bytes()),
                _ => lines.push(appended.into_bytes()),
            }
            let bytes: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
            let sent = headers(&bytes);
            prop_assert_eq!(sent.get_all("x-forwarded-for").iter().count(), bytes.len());
            prop_assert_eq!(client_ip(ip("192.0.2.7"), &sent, &trusted), ip("192.0.2.7"));
            prop_assert_eq!(client_ip(ip("10.0.0.1"), &sent, &trusted), real);
        }
    }
}
