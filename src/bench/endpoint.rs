//! Where the load goes, and from which addresses and with how many file descriptors it comes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use super::error::ClientError;
use super::wire::Tls;

/// File descriptors that are needed beside the connections.
const SPARE_FILES: u64 = 64;
/// Most client addresses: 127.1.0.1 and on; with 32 connections each far more than anyone opens.
const ADDRESSES_MAX: usize = 60_000;

/// A relay, resolved once.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) url: String,
    pub(super) address: SocketAddr,
    /// The Host header.
    pub(super) host: String,
    pub(super) path: String,
    /// For `wss://`.
    pub(super) tls: Option<Tls>,
    per_address: usize,
}

impl Endpoint {
    /// Reads `ws://host[:port][/path]`, or the same with `wss://`; `ca` is whom to trust there beside nobody else.
    ///
    /// A relay bounds the connections of one address, and a load generator on the same machine would meet that bound first. So where
    /// the relay is on the loopback network, every `per_address` connections come from another 127.x.y.z (0: all from one).
    pub(super) async fn resolve(url: &str, per_address: usize, ca: Option<&Path>) -> Result<Self, ClientError> {
        let wrong = || ClientError::Address(url.to_owned());
        let (rest, port) = match (url.strip_prefix("ws://"), url.strip_prefix("wss://")) {
            (Some(rest), _) => (rest, 80),
            (None, Some(rest)) => (rest, 443),
            (None, None) => return Err(wrong()),
        };
        let (host, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map(|(name, _)| name);
        let with_port = if name.is_some() { host.to_owned() } else { format!("{host}:{port}") };
        let tls = if port == 443 { Some(Tls::new(name.unwrap_or(host), ca)?) } else { None };
        let found = tokio::net::lookup_host(&with_port).await.map_err(|error| ClientError::Connect(url.to_owned(), error))?;
        let found: Vec<SocketAddr> = found.collect();
        let address = found.iter().find(|address| address.is_ipv4()).or(found.first()).copied().ok_or_else(wrong)?;
        Ok(Self { url: url.to_owned(), address, host: host.to_owned(), path: path.to_owned(), tls, per_address })
    }

    /// The address that connection `index` comes from; `None` leaves the choice to the system.
    pub(super) fn client_address(&self, index: usize) -> Option<Ipv4Addr> {
        let loopback = matches!(self.address.ip(), IpAddr::V4(ip) if ip.is_loopback());
        // Only Linux lets a program use all of 127.0.0.0/8.
        if !loopback || self.per_address == 0 || !cfg!(target_os = "linux") {
            return None;
        }
        let number = (index / self.per_address) % ADDRESSES_MAX;
        let byte = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
        Some(Ipv4Addr::new(127, 1, byte(number / 250), byte(number % 250 + 1)))
    }
}

/// Raises the soft limit of open files as far as `connections` need it.
pub(super) fn allow_open_files(connections: usize) -> Result<(), ClientError> {
    let wanted = connections as u64 + SPARE_FILES;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid, writable rlimit for the whole call.
    #[expect(unsafe_code, reason = "getrlimit has no safe form in the standard library")]
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(ClientError::Start(std::io::Error::last_os_error()));
    }
    if limit.rlim_cur >= wanted {
        return Ok(());
    }
    if limit.rlim_max < wanted {
        return Err(ClientError::OpenFiles { needed: connections, limit: limit.rlim_max });
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a valid rlimit; the call only reads it.
    #[expect(unsafe_code, reason = "setrlimit has no safe form in the standard library")]
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(ClientError::Start(std::io::Error::last_os_error()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn loopback_connections_come_from_many_addresses() {
        let endpoint = Endpoint::resolve("ws://127.0.0.1:7777", 32, None).await.unwrap();
        let addresses: std::collections::HashSet<_> = (0..10_000).map(|index| endpoint.client_address(index).unwrap()).collect();
        assert_eq!(addresses.len(), 10_000 / 32 + 1);
        assert!(addresses.iter().all(Ipv4Addr::is_loopback));
        let far = Endpoint::resolve("ws://192.0.2.1/nostr", 32, None).await.unwrap();
        assert_eq!((far.client_address(5), far.address.port(), far.path.as_str()), (None, 80, "/nostr"));
    }

    #[tokio::test]
    async fn other_schemes_are_refused_in_words() {
        let error = Endpoint::resolve("https://relay.example", 32, None).await.unwrap_err();
        assert_eq!(error.to_string(), "https://relay.example is not a ws:// or wss:// address");
    }

    #[tokio::test]
    async fn a_secure_address_has_its_own_port() {
        let endpoint = Endpoint::resolve("wss://127.0.0.1/x", 0, None).await.unwrap();
        assert_eq!((endpoint.address.port(), endpoint.host.as_str(), endpoint.tls.is_some()), (443, "127.0.0.1", true));
    }

    #[test]
    fn too_many_connections_are_refused_before_they_are_opened() {
        assert!(allow_open_files(10).is_ok());
        let error = allow_open_files(usize::MAX / 4).unwrap_err();
        assert!(error.to_string().contains("ulimit -n"), "{error}");
    }
}
