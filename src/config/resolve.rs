//! The mirror of the file becomes each part's own `Config`. What one part needs, no other part sees.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{Access, File, Grpc, Limits, Lnd, Log, Rates, Relay, Store};
use super::problem::Problems;
use crate::base::amount::Msat;
use crate::base::hex32::PublicKey;
use crate::base::secret::Secret;
use crate::policy::rate::Rate;
use crate::policy::{self, Home, RateConfig, Rules};
use crate::protocol::event::EventLimits;
use crate::server;
use crate::server::client_ip;
use crate::server::connection::ConnectionConfig;
use crate::server::http::HttpConfig;
use crate::server::nip11::About;
use crate::store::{self, Durability};
use crate::telemetry::log;
use crate::wallet;
use crate::wallet::backend::grpc::address::Address;
use crate::wallet::backend::{Network, embedded, grpc, lnd};

/// The file that is read where none is named, if it is there.
const FILE_DEFAULT: &str = "config.toml";
/// How long stored queries run before others have their turn.
const QUERY_SLICE: Duration = Duration::from_millis(2);

/// What the command line says; it goes before the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--data`
    pub data: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--admin-listen`
    pub admin_listen: Option<String>,
}

/// Everything, resolved. Only `app` sees it whole, to hand each part its own.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file these come from.
    pub file: Option<PathBuf>,
    /// The data directory.
    pub data: PathBuf,
    /// Sockets.
    pub server: server::Config,
    /// What the operator says about the relay.
    pub about: About,
    /// The address that clients use, if one is set.
    pub url: Option<String>,
    /// What a login must name; empty: the host that the client connected to.
    pub homes: Vec<Home>,
    /// Bounds of what clients send and get.
    pub limits: policy::Limits,
    /// How fast clients may be.
    pub rates: RateConfig,
    /// Who may read and write.
    pub rules: Rules,
    /// What may wait for all clients together.
    pub outbox_total_bytes: usize,
    /// Events on disk.
    pub store: store::Config,
    /// The wallet service.
    pub wallet: WalletSettings,
    /// Where secrets come from.
    pub keys: KeySettings,
    /// Log lines.
    pub log: log::Config,
}

/// Where secrets come from that do not lie in the data directory.
#[derive(Debug, Clone, Default)]
pub struct KeySettings {
    /// systemd's directory of credentials, where it started us.
    pub credentials: Option<PathBuf>,
    /// The file that holds the passphrase of the wallet seed.
    pub passphrase_file: Option<PathBuf>,
    /// The passphrase itself, where somebody typed it.
    pub typed: Option<Secret<String>>,
}

/// What the rooms of the wallet are told.
#[derive(Debug, Clone)]
pub struct WalletSettings {
    /// Whether requests are taken.
    pub enabled: bool,
    /// Its root. Without relay addresses, it is to name the relay's own.
    pub service: wallet::Config,
    /// The money.
    pub limits: wallet::money::Limits,
    /// What pays.
    pub backend: BackendSettings,
}

/// Which back end pays, and what it is told.
#[derive(Debug, Clone)]
pub enum BackendSettings {
    /// The ledger of this hearth alone.
    Embedded(embedded::Config),
    /// A node of LND.
    Lnd(lnd::Config),
    /// A wallet on this machine.
    Grpc(grpc::Config),
}

/// Reads the file and the command line.
pub fn load(overrides: &Overrides) -> Result<Settings, Problems> {
    let (path, text) = read_text(overrides.config.as_deref())?;
    let name = path.as_deref().map_or(FILE_DEFAULT.into(), Path::to_string_lossy);
    let (mut file, problems) = File::read(&name, &text);
    if let Some(listen) = &overrides.listen {
        file.relay.listen.clone_from(listen);
    }
    if let Some(listen) = &overrides.admin_listen {
        file.admin.listen.clone_from(listen);
    }
    let data = overrides.data.clone().unwrap_or_else(|| PathBuf::from(&file.data));
    let mut settings = resolve(&file, path, data, problems)?;
    // The one thing that systemd tells by the environment: where the credentials lie.
    settings.keys.credentials = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from);
    Ok(settings)
}

/// The file that is named; else `config.toml` if it is there; else nothing, which means all defaults.
fn read_text(named: Option<&Path>) -> Result<(Option<PathBuf>, String), Problems> {
    let path = match named {
        Some(path) => path.to_owned(),
        None if Path::new(FILE_DEFAULT).exists() => PathBuf::from(FILE_DEFAULT),
        None => return Ok((None, String::new())),
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((Some(path), text)),
        Err(error) => {
            let mut problems = Problems::default();
            problems.add(path.to_string_lossy(), format!("cannot be read: {error}"));
            Err(problems)
        }
    }
}

/// Interprets a file; problems of reading it are told together with those found here.
pub fn resolve(file: &File, path: Option<PathBuf>, data: PathBuf, problems: Problems) -> Result<Settings, Problems> {
    let mut resolver = Resolver { problems };
    let settings = Settings {
        file: path,
        data,
        server: resolver.server(file),
        about: resolver.about(&file.relay),
        url: Some(file.relay.url.trim_end_matches('/').to_owned()).filter(|url| !url.is_empty()),
        homes: resolver.homes(&file.relay),
        limits: resolver.limits(&file.limits),
        rates: rates(&file.rates),
        rules: resolver.rules(&file.access),
        outbox_total_bytes: size(file.limits.outbox_total_bytes),
        store: resolver.store(&file.store),
        wallet: resolver.wallet(file),
        keys: KeySettings {
            passphrase_file: Some(PathBuf::from(&file.wallet.passphrase_file)).filter(|path| !path.as_os_str().is_empty()),
            ..KeySettings::default()
        },
        log: resolver.log(&file.log),
    };
    if resolver.problems.is_empty() { Ok(settings) } else { Err(resolver.problems) }
}

/// A count that the ranges of the file keep far below the limit of the machine.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn at_least_one(number: u64) -> NonZeroU32 {
    NonZeroU32::new(small(number)).unwrap_or(NonZeroU32::MIN)
}

struct Resolver {
    problems: Problems,
}

impl Resolver {
    fn server(&mut self, file: &File) -> server::Config {
        let limits = &file.limits;
        if limits.connections_per_ip > limits.connections {
            self.problems.add("limits.connections_per_ip", "must not be above limits.connections");
        }
        if limits.outbox_bytes > limits.outbox_total_bytes {
            self.problems.add("limits.outbox_bytes", "must not be above limits.outbox_total_bytes");
        }
        let config = server::Config {
            listen: self.address("relay.listen", &file.relay.listen),
            admin_listen: self.address("admin.listen", &file.admin.listen),
            connections_max: size(limits.connections),
            connections_per_ip_max: size(limits.connections_per_ip),
            http: HttpConfig {
                header_bytes_max: size(limits.header_bytes),
                head_timeout: Duration::from_secs(limits.handshake_s),
                trusted_proxies: self.networks(&file.relay.trusted_proxies),
            },
            connection: ConnectionConfig {
                message_bytes_max: size(limits.message_bytes),
                outbox_bytes_max: size(limits.outbox_bytes),
                pings_per_second_max: small(limits.pings_per_second),
            },
        };
        if config.listen == config.admin_listen && config.listen.port() != 0 {
            self.problems.add("admin.listen", "must not be the address of relay.listen");
        }
        config
    }

    fn address(&mut self, place: &str, text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            self.problems.add(place, format!("{text:?} is no address and port, such as \"127.0.0.1:7777\" or \"[::1]:7777\""));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn networks(&mut self, texts: &[String]) -> Vec<client_ip::Network> {
        let mut networks = Vec::with_capacity(texts.len());
        for text in texts {
            match client_ip::Network::parse(text) {
                Some(network) => networks.push(network),
                None => self.problems.add("relay.trusted_proxies", format!("{text:?} is no address and no network")),
            }
        }
        networks
    }

    fn about(&mut self, relay: &Relay) -> About {
        if !relay.pubkey.is_empty() && PublicKey::parse(&relay.pubkey).is_err() {
            self.problems.add("relay.pubkey", "must be 64 lower-case hex digits (no npub)");
        }
        About {
            name: relay.name.clone(),
            description: relay.description.clone(),
            contact: relay.contact.clone(),
            pubkey: relay.pubkey.clone(),
            icon: relay.icon.clone(),
            banner: relay.banner.clone(),
            terms_of_service: relay.terms_of_service.clone(),
            own_pubkey: String::new(),
        }
    }

    fn homes(&mut self, relay: &Relay) -> Vec<Home> {
        let own = Some(("relay.url", &relay.url)).filter(|(_, url)| !url.is_empty());
        let others = relay.other_urls.iter().map(|url| ("relay.other_urls", url));
        let mut homes = Vec::new();
        for (place, url) in own.into_iter().chain(others) {
            match Home::parse(url) {
                Ok(home) => homes.push(home),
                Err(error) => self.problems.add(place, format!("{url:?}: {error}")),
            }
        }
        if relay.url.is_empty() && !relay.other_urls.is_empty() {
            self.problems.add("relay.other_urls", "relay.url must be set as well");
        }
        if relay.url.is_empty() { Home::local(&relay.listen) } else { homes }
    }

    fn limits(&mut self, limits: &Limits) -> policy::Limits {
        if limits.event_bytes > limits.message_bytes {
            self.problems.add("limits.event_bytes", "must not be above limits.message_bytes");
        }
        if limits.limit_default > limits.limit_max {
            self.problems.add("limits.limit_default", "must not be above limits.limit_max");
        }
        if limits.outbox_bytes < 2 * limits.event_bytes {
            self.problems.add("limits.outbox_bytes", "must be at least twice limits.event_bytes");
        }
        policy::Limits {
            message_bytes: size(limits.message_bytes),
            event: EventLimits {
                event_bytes: size(limits.event_bytes),
                tags: size(limits.event_tags),
                indexed_value_bytes: size(limits.tag_value_bytes),
            },
            subscription_id_chars: size(limits.subscription_id_chars),
            subscriptions: size(limits.subscriptions),
            filters: size(limits.filters),
            filter_values: size(limits.filter_values),
            open_values: size(limits.open_values),
            default_limit: limits.limit_default,
            max_limit: limits.limit_max,
            past_s: limits.created_at_past_s,
            future_s: limits.created_at_future_s,
            ephemeral_s: limits.ephemeral_window_s,
            count_max: limits.count_max,
            counts: size(limits.counts),
            slice: QUERY_SLICE,
            login_keys: size(limits.auth_keys),
            logins_per_minute: small(limits.auth_per_minute),
            login_s: limits.auth_window_s,
        }
    }

    fn rules(&mut self, access: &Access) -> Rules {
        let kinds = |list: &[u64]| list.iter().filter_map(|kind| u16::try_from(*kind).ok()).collect();
        Rules {
            login_to_read: access.login_to_read,
            login_to_write: access.login_to_write,
            allowed_keys: self.keys("access.allowed_keys", &access.allowed_keys),
            denied_keys: self.keys("access.denied_keys", &access.denied_keys),
            allowed_kinds: kinds(&access.allowed_kinds),
            denied_kinds: kinds(&access.denied_kinds),
        }
    }

    fn keys(&mut self, place: &str, texts: &[String]) -> HashSet<PublicKey> {
        let mut keys = HashSet::with_capacity(texts.len());
        for text in texts {
            match PublicKey::parse(text) {
                Ok(key) => _ = keys.insert(key),
                Err(error) => self.problems.add(place, format!("{text:?}: {error}")),
            }
        }
        keys
    }

    fn store(&mut self, section: &Store) -> store::Config {
        let durability = match section.durability.as_str() {
            "sync" => Durability::Sync,
            "os" => Durability::Os,
            _ => {
                self.problems.add("store.durability", "must be \"sync\" or \"os\"");
                Durability::Sync
            }
        };
        self.problems.0.extend(section.too_small());
        store::Config {
            cache_bytes: size(section.cache_bytes),
            hot_bytes: size(section.hot_bytes),
            durability,
            queue_events: size(section.queue_events),
            free_bytes_min: section.free_bytes_min,
            ..store::Config::default()
        }
    }

    fn wallet(&mut self, file: &File) -> WalletSettings {
        let section = &file.wallet;
        for url in &section.relays {
            if let Err(error) = Home::parse(url) {
                self.problems.add("wallet.relays", format!("{url:?}: {error}"));
            }
        }
        let backend = self.backend(file);
        WalletSettings {
            enabled: section.enabled,
            service: wallet::Config {
                freshness_s: section.request_age_s,
                rate: wallet::access::rate::Config {
                    enabled: file.rates.enabled,
                    requests_per_s: at_least_one(section.requests_per_connection),
                    requests_burst: at_least_one(section.requests_per_connection_burst),
                },
                relays: section.relays.clone(),
                lud16: self.lud16(&section.lud16),
            },
            limits: wallet::money::Limits {
                in_flight_max: size(section.payments),
                in_flight_max_per_connection: size(section.payments_per_connection),
                invoice_expiry_s: section.invoice_expiry_s,
                open_invoices_max_per_connection: size(section.invoices_per_connection),
                fee_reserve_basis_points: u32::try_from(section.fee_reserve_basis_points).unwrap_or(u32::MAX),
                fee_reserve_min: Msat::new(section.fee_reserve_min_msat).unwrap_or(Msat::MAX),
                hold_s: section.hold_s,
                requests_ahead_s: section.request_age_s,
                free_bytes_min: file.store.free_bytes_min,
                ..wallet::money::Limits::default()
            },
            backend,
        }
    }

    fn lud16(&mut self, text: &str) -> Option<String> {
        let is_address = |text: &str| {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+@:".contains(&byte));
            is_plain
                && text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
        };
        if !text.is_empty() && !is_address(text) {
            self.problems.add("wallet.lud16", format!("{text:?} is no lightning address, such as \"me@example.com\""));
        }
        Some(text.to_owned()).filter(|text| !text.is_empty())
    }

    /// All sections are looked at, so that a mistake is found before its section is used.
    fn backend(&mut self, file: &File) -> BackendSettings {
        let network = self.network("wallet.embedded.network", &file.embedded.network);
        let embedded = embedded::Config { network, alias: file.embedded.alias.clone(), ..embedded::Config::default() };
        let named = file.wallet.backend.as_str();
        let lnd = self.lnd(&file.lnd, named == "lnd");
        let grpc = self.grpc(&file.grpc, named == "grpc");
        match (named, grpc) {
            ("lnd", _) => return BackendSettings::Lnd(lnd),
            ("grpc", Some(grpc)) => return BackendSettings::Grpc(grpc),
            // Without an address that can be read there is a problem already.
            ("embedded" | "grpc", _) => {}
            _ => self.problems.add("wallet.backend", "must be \"embedded\", \"lnd\" or \"grpc\""),
        }
        BackendSettings::Embedded(embedded)
    }

    /// `None` where no address is named.
    fn grpc(&mut self, section: &Grpc, is_used: bool) -> Option<grpc::Config> {
        if section.address.is_empty() && !is_used {
            return None;
        }
        let address = match Address::parse(&section.address) {
            Ok(address) => address,
            Err(error) => {
                self.problems.add("wallet.grpc.address", error.to_string());
                return None;
            }
        };
        if matches!(address, Address::Loopback(_)) && section.token_file.is_empty() {
            let words = "must name a file with a token: any user of this machine can connect to a port";
            self.problems.add("wallet.grpc.token_file", words);
        }
        Some(grpc::Config {
            token_file: Some(PathBuf::from(&section.token_file)).filter(|path| !path.as_os_str().is_empty()),
            call_timeout: Duration::from_secs(section.call_timeout_s),
            payment_timeout: Duration::from_secs(section.payment_timeout_s),
            payments_max: size(section.payments),
            ..grpc::Config::new(address)
        })
    }

    fn lnd(&mut self, section: &Lnd, is_used: bool) -> lnd::Config {
        let is_address =
            section.address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !is_address {
            self.problems.add("wallet.lnd.address", "must be a host and a port, such as \"127.0.0.1:10009\"");
        }
        for (place, file, what) in [
            ("wallet.lnd.cert_file", &section.cert_file, "a copy of LND's tls.cert"),
            ("wallet.lnd.macaroon_file", &section.macaroon_file, "a macaroon of LND"),
        ] {
            if is_used && file.is_empty() {
                self.problems.add(place, format!("must name {what}"));
            }
        }
        lnd::Config {
            address: section.address.clone(),
            cert_file: PathBuf::from(&section.cert_file),
            macaroon_file: PathBuf::from(&section.macaroon_file),
            network: self.network("wallet.lnd.network", &section.network),
            payment_timeout: Duration::from_secs(section.payment_timeout_s),
            call_timeout: Duration::from_secs(section.call_timeout_s),
            route_hints: section.route_hints,
        }
    }

    fn network(&mut self, place: &str, name: &str) -> Network {
        Network::parse(name).unwrap_or_else(|| {
            self.problems.add(place, "must be \"mainnet\", \"testnet\", \"signet\" or \"regtest\"");
            Network::Regtest
        })
    }

    fn log(&mut self, section: &Log) -> log::Config {
        if let Err(error) = log::check_level(&section.level) {
            self.problems.add("log.level", error.to_string());
        }
        let format = match section.format.as_str() {
            "text" => log::Format::Text,
            "json" => log::Format::Json,
            _ => {
                self.problems.add("log.format", "must be \"text\" or \"json\"");
                log::Format::Text
            }
        };
        log::Config { level: section.level.clone(), format }
    }
}

fn rates(rates: &Rates) -> RateConfig {
    let rate = |per_second, burst| Rate::new(small(per_second), small(burst));
    RateConfig {
        enabled: rates.enabled,
        events_per_ip: rate(rates.events_per_ip, rates.events_per_ip_burst),
        events_per_connection: rate(rates.events_per_connection, rates.events_per_connection_burst),
        events_per_key: rate(rates.events_per_key, rates.events_per_key_burst),
        queries_per_ip: rate(rates.queries_per_ip, rates.queries_per_ip_burst),
        queries_per_connection: rate(rates.queries_per_connection, rates.queries_per_connection_burst),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, Problems> {
        let (file, problems) = File::read("c.toml", text);
        resolve(&file, None, "data".into(), problems)
    }

    #[test]
    fn a_cache_is_a_share_of_the_memory_or_large_enough() {
        let refused = settings("[store]\ncache_bytes = 1000\nhot_bytes = 1\n").unwrap_err().to_string();
        assert!(refused.contains("store.cache_bytes: must be 0") && refused.contains("store.hot_bytes: must be 0"), "{refused}");
        let set = settings("[store]\ncache_bytes = 8388608\nhot_bytes = 1048576\n").unwrap().store;
        assert_eq!((set.cache_bytes, set.hot_bytes), (8 << 20, 1 << 20));
    }

    #[test]
    fn defaults_of_the_file_are_the_defaults_of_the_parts() {
        let settings = settings("").unwrap();
        assert_eq!(format!("{:?}", settings.limits), format!("{:?}", policy::Limits::default()));
        assert_eq!(settings.rates, RateConfig::default());
        assert_eq!(settings.log, log::Config::default());
        assert_eq!(settings.server.listen.to_string(), "127.0.0.1:7777");
        assert_eq!(settings.server.admin_listen.to_string(), "127.0.0.1:7778");
        let store = store::Config::default();
        assert_eq!((settings.store.cache_bytes, settings.store.hot_bytes), (store.cache_bytes, store.hot_bytes));
        assert_eq!((settings.store.queue_events, settings.store.durability), (store.queue_events, store.durability));
        let (service, wallet) = (wallet::Config::default(), &settings.wallet);
        assert_eq!(format!("{service:?}"), format!("{:?}", wallet.service));
        assert_eq!(format!("{:?}", wallet::money::Limits::default()), format!("{:?}", wallet.limits));
        let embedded = BackendSettings::Embedded(embedded::Config::default());
        assert_eq!(format!("{embedded:?}"), format!("{:?}", wallet.backend));
        assert!(settings.url.is_none());
        assert_eq!(settings.homes, Home::local("0.0.0.0:1"));
        assert_eq!(Home::local("192.0.2.7:7777").last(), Home::at_any_port("192.0.2.7").ok().as_ref());
    }

    #[test]
    fn problems_of_both_steps_come_together() {
        let text = r#"
            [relay]
            listen = "localhost"
            url = "https://example.com"
            pubkey = "npub1x"
            trusted_proxies = ["10.0.0.0/40"]
            nam = "x"
            [limits]
            event_bytes = 200000
            limit_default = 600
            limit_max = 100
            [access]
            denied_keys = ["abc"]
            [admin]
            listen = "127.0.0.1:99999"
            [log]
            level = "loud=very"
            format = "xml"
        "#;
        let problems = settings(text).unwrap_err();
        let places: Vec<&str> = problems.0.iter().map(|problem| problem.place.as_str()).collect();
        for place in [
            "c.toml:7: relay.nam",
            "relay.listen",
            "relay.url",
            "relay.pubkey",
            "relay.trusted_proxies",
            "limits.event_bytes",
            "limits.limit_default",
            "access.denied_keys",
            "admin.listen",
            "log.level",
            "log.format",
        ] {
            assert!(places.contains(&place), "{place} is missing in {places:?}");
        }
        assert_eq!(places.len(), 11, "{places:?}");
    }

    #[test]
    fn a_node_of_lnd_needs_its_files_named_and_has_defaults_for_the_rest() {
        let named = "[wallet]\nbackend = \"lnd\"\n[wallet.lnd]\ncert_file = \"a\"\nmacaroon_file = \"b\"\n";
        let BackendSettings::Lnd(lnd) = settings(named).unwrap().wallet.backend else { panic!("not LND") };
        let expected = lnd::Config { cert_file: "a".into(), macaroon_file: "b".into(), ..lnd::Config::default() };
        assert_eq!(lnd, expected);
        let wrong = "[wallet]\nbackend = \"lnd\"\n[wallet.lnd]\naddress = \"localhost\"\nnetwork = \"main\"\n";
        let problems = settings(wrong).unwrap_err();
        let places: Vec<&str> = problems.0.iter().map(|problem| problem.place.as_str()).collect();
        let expected = ["wallet.lnd.address", "wallet.lnd.cert_file", "wallet.lnd.macaroon_file", "wallet.lnd.network"];
        assert_eq!(places, expected);
        assert!(
            settings("[wallet]\nbackend = \"clightning\"").unwrap_err().to_string().contains("\"embedded\", \"lnd\" or \"grpc\"")
        );
    }

    #[test]
    fn a_wallet_behind_grpc_needs_an_address_of_this_machine_and_a_port_needs_a_token() {
        let named = "[wallet]\nbackend = \"grpc\"\n[wallet.grpc]\naddress = \"unix:/run/w.sock\"\n";
        let BackendSettings::Grpc(config) = settings(named).unwrap().wallet.backend else { panic!("not gRPC") };
        assert_eq!(config, grpc::Config::new(Address::Unix("/run/w.sock".into())));
        for (lines, place) in [
            ("", "wallet.grpc.address"),
            ("address = \"10.0.0.1:9911\"", "wallet.grpc.address"),
            ("address = \"127.0.0.1:9911\"", "wallet.grpc.token_file"),
        ] {
            let problems = settings(&format!("[wallet]\nbackend = \"grpc\"\n[wallet.grpc]\n{lines}\n")).unwrap_err();
            let places: Vec<&str> = problems.0.iter().map(|problem| problem.place.as_str()).collect();
            assert_eq!(places, [place], "{lines}");
        }
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let overrides = Overrides { config: Some("/nowhere/at/all.toml".into()), ..Overrides::default() };
        let problems = load(&overrides).unwrap_err();
        assert!(problems.to_string().starts_with("/nowhere/at/all.toml: cannot be read"), "{problems}");
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.toml");
        std::fs::write(&path, "data = \"elsewhere\"\n[relay]\nlisten = \"127.0.0.1:1\"\n").unwrap();
        let mut overrides = Overrides { config: Some(path), ..Overrides::default() };
        let from_file = load(&overrides).unwrap();
        assert_eq!((from_file.data.as_path(), from_file.server.listen.port()), (Path::new("elsewhere"), 1));
        overrides.data = Some("here".into());
        overrides.listen = Some("127.0.0.1:0".into());
        let settings = load(&overrides).unwrap();
        assert_eq!((settings.data.as_path(), settings.server.listen.port()), (Path::new("here"), 0));
    }
}
