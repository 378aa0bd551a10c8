//! What the process says about itself: readiness, metrics, status. Numbers that parts count themselves are taken over when
//! somebody asks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::Gauge;

use crate::base::clock::Clock;
use crate::live::{Live, TotalBytes};
use crate::pb::admin::{RelayStats, StatsReply, StoreStats};
use crate::relay::Relay;
use crate::server::admin::wallet_stats;
use crate::server::health::Health;
use crate::store::Store;
use crate::telemetry::metrics::{Registry, ServerMetrics, build_info};
use crate::wallet::Wallet;

/// Whether clients are served.
#[derive(Debug, Default)]
pub struct Readiness(AtomicBool);

impl Readiness {
    /// Says that clients are served from now on, or no longer.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }
}

/// The parts that are asked.
pub struct Watch {
    /// Where the numbers go.
    pub registry: Registry,
    /// What the sockets count.
    pub server: ServerMetrics,
    /// The relay.
    pub relay: Arc<Relay>,
    /// Who is listening.
    pub live: Live,
    /// Bytes that wait for clients.
    pub total: Arc<TotalBytes>,
    /// Events on disk.
    pub store: Store,
    /// The wallet.
    pub wallet: Wallet,
    /// The disk that is watched.
    pub data: PathBuf,
    /// What time it is.
    pub clock: Clock,
    /// When the process started.
    pub started_at_s: u64,
    /// Whether clients are served.
    pub readiness: Arc<Readiness>,
}

/// Gauges that are set when somebody looks.
struct Gauges {
    subscriptions: Gauge,
    stored_events: Gauge,
    queued_events: Gauge,
    file_bytes: Gauge,
    disk_free_bytes: Gauge,
    background_errors: Gauge,
    payments_unresolved: Gauge,
    oldest_unresolved_s: Gauge,
    held_msat: Gauge,
    safe_mode: Gauge,
    uptime_s: Gauge,
}

/// Answers for the second listener and the owner's socket.
pub struct Vitals {
    watch: Watch,
    gauges: Gauges,
}

impl Vitals {
    /// Watches the parts.
    pub fn new(watch: Watch) -> Self {
        let registry = &watch.registry;
        build_info(registry);
        let gauge = |name, help| registry.gauge(name, help, &[]);
        let gauges = Gauges {
            subscriptions: gauge("relay_subscriptions", "Open subscriptions"),
            stored_events: gauge("store_events", "Events stored"),
            queued_events: gauge("store_queued_events", "Events that wait for the writer"),
            file_bytes: gauge("store_file_bytes", "Bytes of the event store's files"),
            disk_free_bytes: gauge("store_disk_free_bytes", "Bytes free on the disk of the data directory"),
            background_errors: gauge("store_background_errors", "1 after a write failed; the process ends then"),
            payments_unresolved: gauge("nwc_payments_unresolved", "Payments under way"),
            oldest_unresolved_s: gauge(
                "nwc_payment_oldest_unresolved_seconds",
                "Age of the oldest payment under way; 0: there is none",
            ),
            held_msat: gauge("nwc_held_millisatoshis", "Money held for payments under way"),
            safe_mode: gauge("wallet_safe_mode", "1 while nothing is paid because the journal is in doubt"),
            uptime_s: gauge("relay_uptime_seconds", "Time since the start"),
        };
        Self { watch, gauges }
    }

    /// Fills in what the process as a whole, the relay and the store have to say.
    pub fn fill(&self, reply: &mut StatsReply) {
        let watch = &self.watch;
        let relay = watch.relay.stats();
        let store = watch.store.stats();
        reply.version = env!("CARGO_PKG_VERSION").to_owned();
        reply.started_at_s = watch.started_at_s;
        reply.uptime_s = self.uptime_s();
        reply.relay = Some(RelayStats {
            connections: relay.sessions,
            subscriptions: watch.live.subscriptions() as u64,
            messages_in: relay.messages.iter().map(|(_, count)| count).sum(),
            messages_out: watch.server.relay_messages_total(),
            events_accepted: relay.accepted,
            events_refused: relay.refused.iter().map(|(_, count)| count).sum(),
            outbound_queue_bytes: watch.total.used() as u64,
        });
        reply.store = Some(StoreStats {
            events: store.events,
            disk_bytes: store.file_bytes(),
            sequence: store.seq,
            cache_bytes: store.hot_used_bytes + store.database.cache_used_bytes,
        });
    }

    fn uptime_s(&self) -> u64 {
        self.watch.clock.now_s().saturating_sub(self.watch.started_at_s)
    }

    fn observe_relay(&self) {
        let registry = &self.watch.registry;
        let stats = self.watch.relay.stats();
        for (verb, count) in stats.messages {
            let labels = [("verb", verb.as_str())];
            registry.take_over("nostr_client_messages_total", "Messages received from clients, by verb", &labels, count);
        }
        for (prefix, count) in stats.refused {
            let labels = [("reason", prefix.as_str())];
            registry.take_over("relay_rejections_total", "Events and queries refused, by reason", &labels, count);
        }
        registry.take_over("relay_events_accepted_total", "Events taken that were new", &[], stats.accepted);
        registry.take_over("relay_events_duplicate_total", "Events that were here already", &[], stats.duplicates);
        registry.take_over("relay_signature_checks_total", "Signatures checked", &[], stats.signature_checks);
        self.gauges.subscriptions.set(number(self.watch.live.subscriptions() as u64));
        self.watch.server.outbound_queue_bytes.set(number(self.watch.total.used() as u64));
    }

    fn observe_store(&self) {
        let registry = &self.watch.registry;
        let stats = self.watch.store.stats();
        let take_over = |name, help, total| registry.take_over(name, help, &[], total);
        take_over("store_commits_total", "Commits with events", stats.batches);
        take_over("store_wal_syncs_total", "Syncs of the write-ahead log", stats.database.wal_syncs);
        take_over("store_wal_bytes_total", "Bytes written to the write-ahead log", stats.database.wal_bytes);
        take_over("store_flushed_bytes_total", "Bytes written by flushes", stats.database.flushed_bytes);
        take_over("store_compacted_bytes_total", "Bytes written by compactions", stats.database.compacted_bytes);
        take_over("store_hot_hits_total", "Events found in memory", stats.hot_hits);
        take_over("store_hot_misses_total", "Events read from the database", stats.hot_misses);
        take_over("store_read_failures_total", "Rows that could not be read", stats.read_failures);
        self.gauges.stored_events.set(number(stats.events));
        self.gauges.queued_events.set(number(stats.queued_events));
        self.gauges.file_bytes.set(number(stats.file_bytes()));
        self.gauges.background_errors.set(f64::from(u8::from(stats.is_poisoned)));
        if let Some(free_bytes) = free_bytes(&self.watch.data) {
            self.gauges.disk_free_bytes.set(number(free_bytes));
        }
    }

    fn observe_wallet(&self) {
        let registry = &self.watch.registry;
        let wallet = &self.watch.wallet;
        for line in wallet.answers().stats().requests() {
            let labels = [("method", line.method), ("result", line.result)];
            registry.take_over("nwc_requests_total", "Wallet requests answered, by method and result", &labels, line.count);
        }
        let status = wallet.money().status();
        let help = "Promises about money that were found broken; must be 0";
        registry.take_over("nwc_invariant_violations_total", help, &[], status.alarm_count);
        self.gauges.payments_unresolved.set(number(u64::try_from(status.in_flight).unwrap_or(u64::MAX)));
        // The list of payments is renewed once a second, their number with each commit.
        let oldest = status.payments.first().filter(|_| status.in_flight > 0);
        let oldest_s = oldest.map_or(0, |payment| self.watch.clock.now_s().saturating_sub(payment.since_s));
        self.gauges.oldest_unresolved_s.set(number(oldest_s));
        let held = wallet.money().accounts().iter().map(|account| account.held.get()).fold(0, u64::saturating_add);
        self.gauges.held_msat.set(number(held));
        self.gauges.safe_mode.set(f64::from(u8::from(status.safe_mode.is_some())));
    }
}

impl Health for Vitals {
    fn ready(&self) -> Result<(), String> {
        if !self.watch.readiness.0.load(Ordering::Relaxed) {
            return Err("not serving: starting or stopping".to_owned());
        }
        if self.watch.store.stats().is_poisoned {
            return Err("a write to the event store has failed".to_owned());
        }
        Ok(())
    }

    fn metrics(&self) -> String {
        self.gauges.uptime_s.set(number(self.uptime_s()));
        self.observe_relay();
        self.observe_store();
        self.observe_wallet();
        self.watch.registry.render()
    }

    fn status(&self) -> String {
        let mut reply = StatsReply { wallet: Some(wallet_stats(&self.watch.wallet)), ..StatsReply::default() };
        self.fill(&mut reply);
        serde_json::to_string_pretty(&reply).unwrap_or_default() + "\n"
    }
}

/// Metrics are floating point; what is lost above 2^53 nobody sees.
fn number(count: u64) -> f64 {
    count as f64
}

/// Bytes that this process may still write to the disk of a path.
fn free_bytes(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}
