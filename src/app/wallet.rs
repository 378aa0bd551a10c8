//! Joins the wallet to the relay: its intake, and where its events go. Neither knows the other; a request goes from one to the
//! other by a function call.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

use crate::base::clock::Clock;
use crate::base::secret::Secret;
use crate::config::resolve::{BackendSettings, WalletSettings};
use crate::kv;
use crate::live::{self, Live};
use crate::protocol::event::{Draft, Event};
use crate::protocol::filter::Filter;
use crate::protocol::reason::Verdict;
use crate::relay::{Claim, Intake, Relay, Reply};
use crate::wallet::access::audit::Audit;
use crate::wallet::access::keys::WalletSeed;
use crate::wallet::backend::Backend;
use crate::wallet::backend::embedded::{BadNodeKey, Embedded};
use crate::wallet::backend::grpc::{self, Grpc};
use crate::wallet::backend::lnd::{self, Lnd};
use crate::wallet::money::{self, Money, WAITING_MAX};
use crate::wallet::service::OpenError;
use crate::wallet::{self, Answers, Publisher, Wallet, outbox};

use super::keys::Keys;

/// The wallet as the relay sees it.
pub struct WalletForRelay(pub Wallet);

impl Intake for WalletForRelay {
    fn claim(&self, draft: &Draft<'_>) -> Claim {
        match self.0.claim(draft) {
            wallet::Claim::NotMine => Claim::NotMine,
            wallet::Claim::Take => Claim::Take,
            wallet::Claim::Refuse(reason) => Claim::Refuse(reason),
        }
    }

    fn take(&self, draft: Draft<'_>, _: Event, reply: Reply) {
        self.0.take(&draft, Box::new(|verdict| reply.send(verdict)));
    }

    fn recall(&self, filter: &Filter) -> Vec<Event> {
        self.0.recall(filter)
    }

    fn delivered(&self, id: &crate::base::hex32::EventId) {
        self.0.answers().outbox().delivered(id, self.0.answers().clock().now_ms());
    }
}

/// The relay as the wallet sees it. It is built before the relay, which is told to it as soon as it is there.
pub struct RelayForWallet {
    live: Live,
    relay: OnceLock<Weak<Relay>>,
}

impl RelayForWallet {
    /// Publishes to whoever listens; stores once [`RelayForWallet::set_relay`] was called.
    pub fn new(live: Live) -> Arc<Self> {
        Arc::new(Self { live, relay: OnceLock::new() })
    }

    /// Tells which relay stores.
    pub fn set_relay(&self, relay: &Arc<Relay>) {
        // Weak, since the relay holds the wallet. It is set once.
        let _ = self.relay.set(Arc::downgrade(relay));
    }
}

impl Publisher for RelayForWallet {
    fn publish(&self, event: &Event) -> usize {
        self.live.publish_ephemeral(event)
    }

    fn together(&self, tell: &mut dyn FnMut()) {
        live::together(tell);
    }

    fn store(&self, event: Event) {
        let Some(relay) = self.relay.get().and_then(Weak::upgrade) else {
            return tracing::error!(kind = event.view().kind(), "an event of the wallet has no relay to go to");
        };
        let kind = event.view().kind();
        relay.ingest(event, move |verdict| {
            if let Verdict::Refused(reason) = verdict {
                tracing::error!(kind, %reason, "an event of the wallet was not stored");
            }
        });
    }
}

/// Why the wallet does not start.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The node key.
    #[error("keys/node-key: {0}")]
    NodeKey(#[from] BadNodeKey),
    /// The Lightning node.
    #[error(transparent)]
    Lnd(#[from] lnd::OpenError),
    /// The wallet on this machine.
    #[error(transparent)]
    Grpc(#[from] grpc::OpenError),
    /// The money.
    #[error(transparent)]
    Money(#[from] money::OpenError),
    /// The connections.
    #[error(transparent)]
    Service(#[from] OpenError),
}

/// What the wallet is opened with.
pub struct WalletParts<'a> {
    /// `data/wallet`.
    pub dir: PathBuf,
    /// `data/audit`.
    pub audit: PathBuf,
    /// Its settings.
    pub settings: &'a WalletSettings,
    /// Its secrets.
    pub keys: &'a Keys,
    /// Where its events go.
    pub publisher: Arc<RelayForWallet>,
    /// What time it is.
    pub clock: Clock,
    /// Told when its journal could not be written.
    pub on_fatal: Box<dyn Fn(&str) + Send + Sync>,
}

/// How far payments that came in over LND have been reported; beside the journal.
const LND_MARK: &str = "LND";
/// Who the wallet behind gRPC is, and how far its events were taken: a folder beside the wallet's.
const GRPC_FOLDER: &str = "wallet-backend";

/// Opens the wallet: the money first, which asks about every payment that has no outcome yet.
pub async fn open(parts: WalletParts<'_>) -> Result<Wallet, WalletError> {
    let WalletParts { dir, audit, settings, keys, publisher, clock, on_fatal } = parts;
    let seed = || Secret::new(*keys.wallet_seed.expose());
    let backend = open_backend(settings, keys, &dir, &clock).await?;
    let audit = Audit::at(audit);
    let answers = Answers::with_audit(WalletSeed::new(seed()), outbox::Config::default(), publisher, clock.clone(), audit);
    let money = Money::open(money::Parts {
        dir,
        database: kv::Config::default(),
        limits: settings.limits.clone(),
        waiting_max: WAITING_MAX,
        seed: seed(),
        clock,
        signer: Arc::clone(&answers) as Arc<_>,
        backend,
        on_fatal,
    })?;
    Ok(Wallet::open(wallet::Parts { answers, money, config: settings.service.clone() })?)
}

/// Opens the back end alone. `dir` is `data/wallet`.
pub async fn open_backend(
    settings: &WalletSettings,
    keys: &Keys,
    dir: &Path,
    clock: &Clock,
) -> Result<Arc<dyn Backend>, WalletError> {
    Ok(match &settings.backend {
        BackendSettings::Embedded(config) => Arc::new(Embedded::new(&keys.node_key, config)?),
        BackendSettings::Lnd(config) => Arc::new(Lnd::open(config.clone(), dir.join(LND_MARK), clock).await?),
        BackendSettings::Grpc(config) => Arc::new(Grpc::open(config.clone(), Some(dir.with_file_name(GRPC_FOLDER))).await?),
    })
}
