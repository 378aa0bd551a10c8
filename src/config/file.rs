//! The mirror of `config.toml`: every section, every key, its default and its range stand here once.
//!
//! Nothing is interpreted at this step: an address is still a text. [`super::resolve`] does that.

use toml::de::DeTable;

use super::problem::{Problem, Problems};
use super::reader::{Reader, Table, root};

/// Declares a section: a struct with one field a key, the defaults, and how it is read.
macro_rules! section {
    (
        $(#[$doc:meta])*
        $name:ident [$path:literal] {
            $( $(#[$key_doc:meta])* $key:ident: $type:ty = $default:expr $(, in $range:expr)?; )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$key_doc])* pub $key: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $default, )* }
            }
        }

        impl $name {
            /// Every key of this section with its full path.
            pub const KEYS: &'static [&'static str] = &[$( concat!($path, ".", stringify!($key)), )*];

            fn read<'a>(reader: &mut Reader<'a>, parent: &mut Table<'a>) -> (Self, Table<'a>) {
                let mut table = reader.table(parent, $path);
                let section = Self {
                    $( $key: {
                        let range: Option<std::ops::RangeInclusive<u64>> = section!(@range $($range)?);
                        reader.take(&mut table, stringify!($key), $default, range.as_ref())
                    }, )*
                };
                (section, table)
            }
        }
    };
    (@range) => { None };
    (@range $range:expr) => { Some($range) };
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const DAY_S: u64 = 86_400;
/// Above every rate that makes sense; `rates.enabled = false` says more clearly that there is none.
const RATE_MAX: u64 = 10_000_000;

section! {
    /// `[relay]`: where it listens and what it says about itself.
    Relay ["relay"] {
        /// Where clients connect.
        listen: String = "127.0.0.1:7777".to_owned();
        /// The address that clients use; empty: `ws://` and `listen`.
        url: String = String::new();
        /// Further addresses under which clients may authenticate (NIP-42).
        other_urls: Vec<String> = Vec::new();
        /// Proxies whose `X-Forwarded-For` is believed: addresses or networks.
        trusted_proxies: Vec<String> = Vec::new();
        /// NIP-11 `name`.
        name: String = "hearth".to_owned();
        /// NIP-11 `description`.
        description: String = "A Nostr relay with the wallet inside.".to_owned();
        /// NIP-11 `contact`.
        contact: String = String::new();
        /// NIP-11 `pubkey` of the operator.
        pubkey: String = String::new();
        /// NIP-11 `icon`, a URL.
        icon: String = String::new();
        /// NIP-11 `banner`, a URL.
        banner: String = String::new();
        /// NIP-11 `terms_of_service`, a URL.
        terms_of_service: String = String::new();
    }
}

section! {
    /// `[limits]`: what one client, one message and one event may take. All of them stand in NIP-11 where it has a name for them.
    Limits ["limits"] {
        /// Longest message of a client.
        message_bytes: u64 = 128 * KIB, in KIB..=16 * MIB;
        /// Longest event in canonical form.
        event_bytes: u64 = 64 * KIB, in 512..=16 * MIB;
        /// Most tags of an event.
        event_tags: u64 = 2_000, in 1..=20_000;
        /// Longest first value of a single-letter tag.
        tag_value_bytes: u64 = 1_024, in 64..=4 * KIB;
        /// Longest subscription id, in characters.
        subscription_id_chars: u64 = 64, in 8..=256;
        /// Most subscriptions of a connection.
        subscriptions: u64 = 200, in 1..=10_000;
        /// Most filters of a REQ or COUNT.
        filters: u64 = 20, in 1..=1_000;
        /// Most values in one list of a filter.
        filter_values: u64 = 2_000, in 1..=100_000;
        /// Most values in all filters that a connection has open.
        open_values: u64 = 50_000, in 100..=10_000_000;
        /// Stored events sent for a filter without `limit`.
        limit_default: u64 = 500, in 1..=100_000;
        /// Most stored events sent for a filter.
        limit_max: u64 = 5_000, in 1..=100_000;
        /// How old an event may be.
        created_at_past_s: u64 = 3 * 365 * DAY_S, in 60..=100 * 366 * DAY_S;
        /// How far in the future an event may be.
        created_at_future_s: u64 = 900, in 1..=366 * DAY_S;
        /// How old or how far in the future an ephemeral event may be.
        ephemeral_window_s: u64 = 900, in 10..=366 * DAY_S;
        /// A COUNT stops here and says "approximate".
        count_max: u64 = 1_000_000, in 1..=100_000_000;
        /// Most COUNTs of a connection at once.
        counts: u64 = 1_000, in 1..=10_000;
        /// Most keys that authenticate on one connection.
        auth_keys: u64 = 16, in 1..=1_000;
        /// Most AUTH messages of a connection in a minute.
        auth_per_minute: u64 = 10, in 1..=10_000;
        /// How far the created_at of an AUTH may be from now.
        auth_window_s: u64 = 600, in 10..=DAY_S;
        /// Most connections of one address (IPv6: of one /64).
        connections_per_ip: u64 = 64, in 1..=1_000_000;
        /// Most connections in all.
        connections: u64 = 50_000, in 1..=1_000_000;
        /// A request must be whole after this time.
        handshake_s: u64 = 10, in 1..=300;
        /// Longest head of an HTTP request.
        header_bytes: u64 = 8 * KIB, in 8 * KIB..=64 * KIB;
        /// What may wait for a slow client.
        outbox_bytes: u64 = MIB, in 64 * KIB..=256 * MIB;
        /// What may wait for all slow clients together.
        outbox_total_bytes: u64 = GIB, in MIB..=1_024 * GIB;
        /// Most pings of a client in a second.
        pings_per_second: u64 = 10, in 1..=1_000;
    }
}

section! {
    /// `[rates]`: how fast clients may be. A rate is a steady number a second; a burst is what may come at once.
    Rates ["rates"] {
        /// Off: nobody is slowed down.
        enabled: bool = true;
        /// Events of one address, a second.
        events_per_ip: u64 = 500, in 1..=RATE_MAX;
        /// Events of one address, at once.
        events_per_ip_burst: u64 = 5_000, in 1..=RATE_MAX;
        /// Events of one connection, a second.
        events_per_connection: u64 = 200, in 1..=RATE_MAX;
        /// Events of one connection, at once.
        events_per_connection_burst: u64 = 2_000, in 1..=RATE_MAX;
        /// Events of one public key, a second.
        events_per_key: u64 = 200, in 1..=RATE_MAX;
        /// Events of one public key, at once.
        events_per_key_burst: u64 = 2_000, in 1..=RATE_MAX;
        /// REQs of one address; a COUNT counts as ten, a second.
        queries_per_ip: u64 = 500, in 1..=RATE_MAX;
        /// REQs of one address; a COUNT counts as ten, at once.
        queries_per_ip_burst: u64 = 5_000, in 1..=RATE_MAX;
        /// REQs of one connection; a COUNT counts as ten, a second.
        queries_per_connection: u64 = 200, in 1..=RATE_MAX;
        /// REQs of one connection; a COUNT counts as ten, at once.
        queries_per_connection_burst: u64 = 2_000, in 1..=RATE_MAX;
    }
}

section! {
    /// `[access]`: who may read and write.
    Access ["access"] {
        /// REQ and COUNT only after a login (NIP-42).
        login_to_read: bool = false;
        /// EVENT only after a login (NIP-42).
        login_to_write: bool = false;
        /// If not empty: only events of these public keys are taken.
        allowed_keys: Vec<String> = Vec::new();
        /// Events of these public keys are refused.
        denied_keys: Vec<String> = Vec::new();
        /// If not empty: only events of these kinds are taken.
        allowed_kinds: Vec<u64> = Vec::new(), in 0..=65_535;
        /// Events of these kinds are refused.
        denied_kinds: Vec<u64> = Vec::new(), in 0..=65_535;
    }
}

/// The smallest block cache, and the least room for hot events, that can be set.
const CACHES_MIN: (u64, u64) = (8 * MIB, MIB);

section! {
    /// `[store]`: events on disk.
    Store ["store"] {
        /// "sync": OK after the disk has it; "os": OK when the kernel has it.
        durability: String = "sync".to_owned();
        /// Memory for blocks read from disk; 0: a share of what there is.
        cache_bytes: u64 = 0, in 0..=1_024 * GIB;
        /// Memory for events that are asked for often, ready to be sent; 0: a share of what there is.
        hot_bytes: u64 = 0, in 0..=1_024 * GIB;
        /// Most events that wait for the writer.
        queue_events: u64 = 16_384, in 64..=1_000_000;
        /// With less room on the disk nothing is stored and nothing new is paid.
        free_bytes_min: u64 = 256 * MIB, in 0..=1_048_576 * GIB;
    }
}

impl Store {
    /// Caches that are neither a share of the memory nor large enough.
    pub fn too_small(&self) -> impl Iterator<Item = Problem> {
        let sizes = [("store.cache_bytes", self.cache_bytes, CACHES_MIN.0), ("store.hot_bytes", self.hot_bytes, CACHES_MIN.1)];
        sizes.into_iter().filter(|(_, bytes, least)| *bytes > 0 && bytes < least).map(|(place, _, least)| Problem {
            place: place.to_owned(),
            words: format!("must be 0 (a share of the memory) or at least {least}"),
        })
    }
}

section! {
    /// `[wallet]`: the wallet service.
    Wallet ["wallet"] {
        /// Off: a relay without a wallet service; its data stay as they are.
        enabled: bool = true;
        /// Which wallet pays: "embedded", "lnd" or "grpc".
        backend: String = "embedded".to_owned();
        /// Relay addresses in pairing codes; empty: the relay's own.
        relays: Vec<String> = Vec::new();
        /// A file with the passphrase of a sealed seed; empty: asked for at the terminal, or the credential `hearth-passphrase`.
        passphrase_file: String = String::new();
        /// Lightning address that pairing codes and get_info name; empty: none.
        lud16: String = String::new();
        /// Requests a second of one connection (off with `rates.enabled`).
        requests_per_connection: u64 = 50, in 1..=RATE_MAX;
        /// Requests at once of one connection.
        requests_per_connection_burst: u64 = 200, in 1..=RATE_MAX;
        /// A request older than this is not done any more.
        request_age_s: u64 = 900, in 10..=DAY_S;
        /// Most payments under way.
        payments: u64 = 1_024, in 1..=100_000;
        /// Most payments under way of one connection.
        payments_per_connection: u64 = 32, in 1..=100_000;
        /// Life of an invoice that asks for none.
        invoice_expiry_s: u64 = 3_600, in 60..=365 * DAY_S;
        /// Most invoices of one connection that can be paid at a time.
        invoices_per_connection: u64 = 1_000, in 1..=100_000;
        /// Fee reserve of a payment to the outside, in hundredths of a percent.
        fee_reserve_basis_points: u64 = 100, in 0..=10_000;
        /// Smallest fee reserve.
        fee_reserve_min_msat: u64 = 10_000, in 0..=1_000_000_000;
        /// How long a hold invoice may wait between two accounts of this hearth.
        hold_s: u64 = DAY_S, in 60..=30 * DAY_S;
    }
}

section! {
    /// `[wallet.embedded]`: the wallet that settles inside this hearth only.
    Embedded ["wallet.embedded"] {
        /// Name of its node.
        alias: String = "hearth".to_owned();
        /// Network that its invoices name: mainnet, testnet, signet or regtest.
        network: String = "regtest".to_owned();
    }
}

section! {
    /// `[wallet.lnd]`: a node of LND that pays.
    Lnd ["wallet.lnd"] {
        /// Host and port of its gRPC.
        address: String = "127.0.0.1:10009".to_owned();
        /// A copy of its tls.cert.
        cert_file: String = String::new();
        /// A macaroon with the rights that are needed.
        macaroon_file: String = String::new();
        /// The network that it must be on: mainnet, testnet, signet or regtest.
        network: String = "mainnet".to_owned();
        /// After this time it starts no further attempt of a payment.
        payment_timeout_s: u64 = 60, in 5..=600;
        /// How long other calls may take.
        call_timeout_s: u64 = 30, in 1..=300;
        /// Whether invoices name private channels.
        route_hints: bool = true;
    }
}

section! {
    /// `[wallet.grpc]`: a wallet on this machine that speaks `proto/wallet_backend.proto`.
    Grpc ["wallet.grpc"] {
        /// `unix:/path` or a port of this machine.
        address: String = String::new();
        /// A file with the token that goes with every call.
        token_file: String = String::new();
        /// After this time without an outcome a payment is looked up.
        payment_timeout_s: u64 = 60, in 1..=600;
        /// How long other calls may take.
        call_timeout_s: u64 = 10, in 1..=300;
        /// Most payments that it is given at once.
        payments: u64 = 128, in 1..=65_536;
    }
}

section! {
    /// `[admin]`: the second listener, for health, metrics and status.
    Admin ["admin"] {
        /// Where it listens. It tells no secrets, but it is not meant for the world.
        listen: String = "127.0.0.1:7778".to_owned();
    }
}

section! {
    /// `[log]`: lines on stderr.
    Log ["log"] {
        /// off, error, warn, info, debug, trace, or directives such as `info,hearth::relay=debug`.
        level: String = "info".to_owned();
        /// "text" or "json".
        format: String = "text".to_owned();
    }
}

/// A whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// `data`: the data directory.
    pub data: String,
    /// `[relay]`
    pub relay: Relay,
    /// `[limits]`
    pub limits: Limits,
    /// `[rates]`
    pub rates: Rates,
    /// `[access]`
    pub access: Access,
    /// `[store]`
    pub store: Store,
    /// `[wallet]`
    pub wallet: Wallet,
    /// `[wallet.embedded]`
    pub embedded: Embedded,
    /// `[wallet.lnd]`
    pub lnd: Lnd,
    /// `[wallet.grpc]`
    pub grpc: Grpc,
    /// `[admin]`
    pub admin: Admin,
    /// `[log]`
    pub log: Log,
}

/// Where data lies unless told otherwise.
const DATA_DEFAULT: &str = "data";

impl Default for File {
    fn default() -> Self {
        Self {
            data: DATA_DEFAULT.to_owned(),
            relay: Relay::default(),
            limits: Limits::default(),
            rates: Rates::default(),
            access: Access::default(),
            store: Store::default(),
            wallet: Wallet::default(),
            embedded: Embedded::default(),
            lnd: Lnd::default(),
            grpc: Grpc::default(),
            admin: Admin::default(),
            log: Log::default(),
        }
    }
}

impl File {
    /// Reads a text; `file_name` is for the words of problems. What is wrong has its default in the result.
    pub fn read(file_name: &str, text: &str) -> (Self, Problems) {
        let (parsed, errors) = DeTable::parse_recoverable(text);
        let mut reader = Reader::new(file_name, text);
        for error in errors {
            reader.problems.add(file_name, error.to_string().trim_end());
        }
        let mut top = root(parsed.get_ref());
        let data = reader.take(&mut top, "data", DATA_DEFAULT.to_owned(), None);
        let (relay, relay_table) = Relay::read(&mut reader, &mut top);
        let (limits, limits_table) = Limits::read(&mut reader, &mut top);
        let (rates, rates_table) = Rates::read(&mut reader, &mut top);
        let (access, access_table) = Access::read(&mut reader, &mut top);
        let (store, store_table) = Store::read(&mut reader, &mut top);
        let (wallet, mut wallet_table) = Wallet::read(&mut reader, &mut top);
        let (embedded, embedded_table) = Embedded::read(&mut reader, &mut wallet_table);
        let (lnd, lnd_table) = Lnd::read(&mut reader, &mut wallet_table);
        let (grpc, grpc_table) = Grpc::read(&mut reader, &mut wallet_table);
        let (admin, admin_table) = Admin::read(&mut reader, &mut top);
        let (log, log_table) = Log::read(&mut reader, &mut top);
        let tables = [
            relay_table,
            limits_table,
            rates_table,
            access_table,
            store_table,
            wallet_table,
            embedded_table,
            lnd_table,
            grpc_table,
            admin_table,
            log_table,
        ];
        reader.finish(&top);
        tables.iter().for_each(|table| reader.finish(table));
        (Self { data, relay, limits, rates, access, store, wallet, embedded, lnd, grpc, admin, log }, reader.problems)
    }

    /// Every key that a file may have, with its full path.
    pub fn keys() -> Vec<&'static str> {
        let sections = [
            &["data"],
            Relay::KEYS,
            Limits::KEYS,
            Rates::KEYS,
            Access::KEYS,
            Store::KEYS,
            Wallet::KEYS,
            Embedded::KEYS,
            Lnd::KEYS,
            Grpc::KEYS,
            Admin::KEYS,
            Log::KEYS,
        ];
        sections.concat()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_documented_file_is_the_defaults_and_has_every_key() {
        let text = include_str!("../../config.toml");
        let (file, problems) = File::read("config.toml", text);
        assert_eq!(problems, Problems::default(), "{problems}");
        assert_eq!(file, File::default());

        let mut in_file = BTreeSet::new();
        collect("", &text.parse::<toml::Table>().unwrap(), &mut in_file);
        let in_code: BTreeSet<String> = File::keys().into_iter().map(str::to_owned).collect();
        assert_eq!(in_file, in_code);
    }

    fn collect(path: &str, table: &toml::Table, keys: &mut BTreeSet<String>) {
        for (key, value) in table {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match value {
                toml::Value::Table(table) => collect(&path, table, keys),
                _ => {
                    keys.insert(path);
                }
            }
        }
    }

    #[test]
    fn every_key_of_the_documented_file_is_explained() {
        let mut explained = false;
        for line in include_str!("../../config.toml").lines() {
            let is_key = line.contains(" = ") && !line.starts_with('#');
            assert!(!is_key || explained, "no comment above: {line}");
            explained = line.starts_with('#');
        }
    }

    #[test]
    fn all_problems_come_at_once_with_their_lines_and_a_suggestion() {
        let text = "[limits]\nmesage_bytes = 5\nfilters = \"x\"\nsubscriptions = 0\n\n[relai]\nname = 1\n[log]\nzzz = 1\n";
        let (file, problems) = File::read("c.toml", text);
        let words: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
        for expected in [
            "c.toml:2: limits.mesage_bytes: unknown key; did you mean \"message_bytes\"?",
            "c.toml:3: limits.filters: must be a whole number from 1 to 1000",
            "c.toml:4: limits.subscriptions: must be a whole number from 1 to 10000",
            "c.toml:6: relai: unknown key; did you mean \"relay\"?",
            "c.toml:9: log.zzz: unknown key",
        ] {
            assert!(words.iter().any(|have| have == expected), "{expected}\nis missing in\n{words:#?}");
        }
        assert_eq!(words.len(), 5, "{words:#?}");
        assert_eq!(file.limits.filters, 20);
    }

    #[test]
    fn broken_toml_is_a_problem_and_not_a_panic() {
        for text in ["[", "a = ", "relay = 1", "[relay]\nname = 'x", "limits = []", "\u{0}"] {
            let (_, problems) = File::read("c.toml", text);
            assert!(!problems.is_empty(), "{text:?}");
        }
    }
}
