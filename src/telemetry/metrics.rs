//! Metric families: one struct for each part that counts, all in one registry that is an ordinary value.
//!
//! Names follow strfry where it has them, so that its dashboards work. Labels come from closed lists only: never a public key,
//! an address or anything a client wrote.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// Upper bounds of duration histograms, in seconds.
const DURATION_BUCKETS_S: &[f64] =
    &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// How often observed values are folded into their buckets; between two folds they wait in memory.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Everything that is counted in this process.
#[derive(Clone)]
pub struct Registry {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new();
        // Buckets are refused only when empty; without them durations would become summaries.
        let builder = builder.set_buckets(DURATION_BUCKETS_S).unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        Self { recorder: Arc::new(recorder), handle }
    }

    /// A number that only grows. Its name ends in `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &'static str)]) -> Counter {
        self.recorder.describe_counter(KeyName::from_const_str(name), None, help.into());
        self.recorder.register_counter(&key(name, labels), &metadata())
    }

    /// A number that goes up and down.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &'static str)]) -> Gauge {
        self.recorder.describe_gauge(KeyName::from_const_str(name), None, help.into());
        self.recorder.register_gauge(&key(name, labels), &metadata())
    }

    /// Durations in seconds, counted in buckets.
    pub fn durations(&self, name: &'static str, help: &'static str) -> Histogram {
        self.recorder.describe_histogram(KeyName::from_const_str(name), None, help.into());
        self.recorder.register_histogram(&key(name, &[]), &metadata())
    }

    /// Counters of one name, one for each value of one label; the list of values is closed.
    pub fn counters<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: [&'static str; N],
    ) -> [Counter; N] {
        values.map(|value| self.counter(name, help, &[(label, value)]))
    }

    /// Takes over a number that a part counts itself. To be called before [`Registry::render`].
    pub fn take_over(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &'static str)], total: u64) {
        self.counter(name, help, labels).absolute(total);
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds observed values into their buckets. To be called every [`UPKEEP_EVERY`], else they pile up until somebody looks.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn key(name: &'static str, labels: &[(&'static str, &'static str)]) -> Key {
    Key::from_parts(name, labels.iter().map(|&(label, value)| Label::from_static_parts(label, value)).collect::<Vec<_>>())
}

fn metadata() -> Metadata<'static> {
    Metadata::new("hearth", Level::INFO, None)
}

/// Verbs of the relay.
const RELAY_VERBS: [&str; 8] = ["EVENT", "OK", "EOSE", "CLOSED", "NOTICE", "AUTH", "COUNT", "other"];

/// What the sockets count.
#[derive(Clone)]
pub struct ServerMetrics {
    /// Open WebSocket connections.
    pub connections: Gauge,
    /// WebSocket connections since the start.
    pub connections_total: Counter,
    /// Bytes that wait for slow clients.
    pub outbound_queue_bytes: Gauge,
    /// How long stored queries took, from the first slice to the last; what a connection asks at once counts as one.
    pub query_duration: Histogram,
    /// Refused: too many connections of one address.
    pub refused_per_ip: Counter,
    /// Refused: too many connections in all.
    pub refused_full: Counter,
    /// Refused: a request that did not become whole in time, or was none.
    pub refused_handshake: Counter,
    /// Cut off: it read too slowly or did not answer a ping.
    pub cut_dead: Counter,
    /// Cut off: it broke the WebSocket protocol or a limit of it.
    pub cut_protocol: Counter,
    relay_messages: [Counter; RELAY_VERBS.len()],
    relay_messages_total: Arc<AtomicU64>,
}

impl ServerMetrics {
    /// The family, in a registry.
    pub fn new(registry: &Registry) -> Self {
        let [refused_per_ip, refused_full, refused_handshake, cut_dead, cut_protocol] = registry.counters(
            "relay_connection_rejections_total",
            "Connections that were refused or cut off, by reason",
            "reason",
            ["per-ip", "full", "handshake", "dead", "protocol"],
        );
        Self {
            connections: registry.gauge("relay_connections", "Open WebSocket connections", &[]),
            connections_total: registry.counter("relay_connections_total", "WebSocket connections since the start", &[]),
            outbound_queue_bytes: registry.gauge("relay_outbound_queue_bytes", "Bytes that wait for slow clients", &[]),
            query_duration: registry.durations(
                "relay_query_duration_seconds",
                "How long stored queries took; what a connection asks at once counts as one",
            ),
            refused_per_ip,
            refused_full,
            refused_handshake,
            cut_dead,
            cut_protocol,
            relay_messages: registry.counters(
                "nostr_relay_messages_total",
                "Messages sent to clients, by verb",
                "verb",
                RELAY_VERBS,
            ),
            relay_messages_total: Arc::default(),
        }
    }

    /// Messages sent to clients since the start.
    pub fn relay_messages_total(&self) -> u64 {
        self.relay_messages_total.load(Ordering::Relaxed)
    }

    /// Adds what was written at once.
    pub fn count_relay_messages(&self, sent: &RelayMessages) {
        for (counter, count) in self.relay_messages.iter().zip(sent.0).filter(|(_, count)| *count > 0) {
            self.relay_messages_total.fetch_add(count, Ordering::Relaxed);
            counter.increment(count);
        }
    }
}

/// Messages to clients by verb, counted by whoever writes them before they are added to what everybody counts.
#[derive(Debug, Default)]
pub struct RelayMessages([u64; RELAY_VERBS.len()]);

impl RelayMessages {
    /// One more. The verb stands at its start, `["VERB"`, since hearth itself wrote it.
    pub fn add(&mut self, text: &[u8]) {
        let verb = text.strip_prefix(b"[\"").and_then(|rest| rest.split(|byte| *byte == b'"').next()).unwrap_or_default();
        let place = RELAY_VERBS.iter().position(|known| known.as_bytes() == verb).unwrap_or(RELAY_VERBS.len() - 1);
        self.0[place] += 1;
    }
}

/// Kinds that are counted one by one.
const KINDS: [(u16, &str); 20] = [
    (0, "0"),
    (1, "1"),
    (3, "3"),
    (4, "4"),
    (5, "5"),
    (6, "6"),
    (7, "7"),
    (16, "16"),
    (1_059, "1059"),
    (1_111, "1111"),
    (1_984, "1984"),
    (9_734, "9734"),
    (9_735, "9735"),
    (10_000, "10000"),
    (10_002, "10002"),
    (10_050, "10050"),
    (13_194, "13194"),
    (30_023, "30023"),
    (30_078, "30078"),
    (31_990, "31990"),
];

/// What is stored.
#[derive(Clone)]
pub struct EventMetrics {
    known: [Counter; KINDS.len()],
    other: Counter,
}

impl EventMetrics {
    /// The family, in a registry.
    pub fn new(registry: &Registry) -> Self {
        const NAME: &str = "nostr_events_total";
        const HELP: &str = "Events stored, by kind";
        Self {
            known: registry.counters(NAME, HELP, "kind", KINDS.map(|(_, label)| label)),
            other: registry.counter(NAME, HELP, &[("kind", "other")]),
        }
    }

    /// Counts a stored event.
    pub fn count(&self, kind: u16) {
        let place = KINDS.binary_search_by_key(&kind, |&(kind, _)| kind).ok();
        place.and_then(|place| self.known.get(place)).unwrap_or(&self.other).increment(1);
    }
}

/// What the process is: `relay_build_info{version}` is always 1.
pub fn build_info(registry: &Registry) {
    registry.gauge("relay_build_info", "The version that runs", &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_verb_and_only_by_known_ones() {
        let registry = Registry::new();
        let server = ServerMetrics::new(&registry);
        let mut sent = RelayMessages::default();
        for text in [r#"["EVENT","s",{}]"#, r#"["EVENT","t",{}]"#, r#"["CLOSED","s",""]"#, "", r#"["evil\"verb"]"#, "[\"EVE"] {
            sent.add(text.as_bytes());
        }
        server.count_relay_messages(&sent);
        let text = registry.render();
        for line in [
            "nostr_relay_messages_total{verb=\"EVENT\"} 2",
            "nostr_relay_messages_total{verb=\"CLOSED\"} 1",
            "nostr_relay_messages_total{verb=\"other\"} 3",
            "relay_connections 0",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("evil"));
    }

    #[test]
    fn what_others_count_is_taken_over_as_it_stands() {
        let registry = Registry::new();
        registry.take_over("nwc_requests_total", "Requests", &[("method", "pay_invoice"), ("result", "ok")], 7);
        registry.take_over("nwc_requests_total", "Requests", &[("method", "pay_invoice"), ("result", "ok")], 9);
        let text = registry.render();
        assert!(text.contains("nwc_requests_total{method=\"pay_invoice\",result=\"ok\"} 9"), "{text}");
    }

    #[test]
    fn kinds_are_sorted_and_unknown_ones_share_a_counter() {
        assert!(KINDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let registry = Registry::new();
        let events = EventMetrics::new(&registry);
        events.count(1);
        events.count(2);
        events.count(65_535);
        let text = registry.render();
        assert!(text.contains("nostr_events_total{kind=\"1\"} 1"), "{text}");
        assert!(text.contains("nostr_events_total{kind=\"other\"} 2"), "{text}");
    }

    #[test]
    fn durations_have_buckets() {
        let registry = Registry::new();
        registry.durations("store_wal_sync_duration_seconds", "How long a sync took").record(0.000_3);
        registry.upkeep();
        let text = registry.render();
        assert!(text.contains("store_wal_sync_duration_seconds_bucket{le=\"0.0005\"} 1"), "{text}");
    }
}
