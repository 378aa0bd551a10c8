//! The wallet as one thing: its parts, its start, its housekeeping.

use std::sync::Arc;
use std::time::Duration;

use super::access::connection::{BadRow, Profile};
use super::access::keys::KeyError;
use super::access::rate;
use super::access::table::{Hosted, Keys};
use super::answers::Answers;
use super::methods::able;
use super::money::Money;
use super::money::types::ConnectionRow;
use super::pairing::Room;
use super::wire::envelope::BadPeer;
use super::wire::method::MethodSet;
use crate::base::shutdown::Shutdown;

/// How much is told before others get a turn.
const NEWS_AT_ONCE: usize = 16;
/// How often answers that were kept long enough are dropped and connections that have just expired are announced.
const HOUSEKEEPING: Duration = Duration::from_secs(10);
/// How often it is looked whether a payment takes long.
const LONG_PAYMENTS: Duration = Duration::from_secs(1);

/// What the wallet's root is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// A request older than this, or this far in the future, is not done any more.
    pub freshness_s: u64,
    /// Speed of one connection.
    pub rate: rate::Config,
    /// Addresses for pairing codes, our own first.
    pub relays: Vec<String>,
    /// Lightning address that pairing codes name.
    pub lud16: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { freshness_s: 900, rate: rate::Config::default(), relays: Vec::new(), lud16: None }
    }
}

/// What a wallet is made of.
pub struct Parts {
    /// The same that the money room was opened with.
    pub answers: Arc<Answers>,
    /// The money.
    pub money: Money,
    /// Settings.
    pub config: Config,
}

/// Why the wallet does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A row that this hearth cannot read.
    #[error("connection {number}: {cause}")]
    Row {
        /// Its number.
        number: u32,
        /// Why.
        cause: BadRow,
    },
    /// The seed file was replaced.
    #[error(
        "connection {number} (\"{name}\") has another wallet key than the seed gives: \
         data/keys/wallet-seed does not belong to this wallet; put the right one back"
    )]
    Seed {
        /// Its number.
        number: u32,
        /// Its name.
        name: String,
    },
    /// The client's key is no key.
    #[error("connection {number}: {cause}")]
    Peer {
        /// Its number.
        number: u32,
        /// Why.
        cause: BadPeer,
    },
    /// The seed gives no key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The wallet service. Cheap to clone; all clones are the same wallet.
#[derive(Clone)]
pub struct Wallet(Arc<Inner>);

struct Inner {
    answers: Arc<Answers>,
    money: Money,
    config: Config,
    /// One change of connections at a time: names are unique.
    owner: tokio::sync::Mutex<()>,
    /// What apps ask for.
    room: Room,
}

impl Wallet {
    /// Reads the connections into memory. After this, requests can be taken.
    pub fn open(parts: Parts) -> Result<Self, OpenError> {
        for row in parts.money.connections() {
            let hosted = read(&parts, &row)?;
            parts.answers.table().put(hosted);
        }
        let inner = Inner {
            answers: parts.answers,
            money: parts.money,
            config: parts.config,
            owner: tokio::sync::Mutex::default(),
            room: Room::default(),
        };
        let wallet = Self(Arc::new(inner));
        wallet.read_log();
        wallet.recall_the_last_day();
        Ok(wallet)
    }

    /// Announces every connection (kind 13194), then keeps house until the process stops. To be started when the relay is there.
    pub async fn run(self, shutdown: Shutdown) {
        self.announce_all(true).await;
        tokio::join!(self.keep_house(&shutdown), self.keep_telling(&shutdown));
    }

    async fn keep_house(&self, shutdown: &Shutdown) {
        let mut ticks = tokio::time::interval(HOUSEKEEPING);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.stopping() => return,
                _ = ticks.tick() => {}
            }
            self.answers().outbox().sweep(self.answers().clock().now_ms());
            self.answers().refused().sweep(self.config().freshness_s, self.answers().clock().now_s());
            self.announce_all(false).await;
            // On a thread of its own: the disk may take its time.
            let wallet = self.clone();
            drop(tokio::task::spawn_blocking(move || wallet.keep_log()));
        }
    }

    /// Takes nothing new, finishes what waits and writes down the log. Blocks.
    pub fn close(&self) {
        self.money().close();
        self.keep_log();
    }

    /// Tells clients what became true, as soon as it did, and those of long payments that they are pending.
    async fn keep_telling(&self, shutdown: &Shutdown) {
        let mut ticks = tokio::time::interval(LONG_PAYMENTS);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            while self.tell_news(NEWS_AT_ONCE) {
                tokio::task::yield_now().await;
            }
            tokio::select! {
                () = shutdown.stopping() => return,
                () = self.answers().news().rung() => {}
                _ = ticks.tick() => self.tell_pending(),
            }
        }
    }

    /// The answers, with the connections and the counters.
    pub fn answers(&self) -> &Arc<Answers> {
        &self.0.answers
    }

    /// The money.
    pub fn money(&self) -> &Money {
        &self.0.money
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The methods that the back end can do.
    pub(super) fn able(&self) -> MethodSet {
        able(&self.money().capabilities())
    }

    pub(super) fn room(&self) -> &Room {
        &self.0.room
    }

    pub(super) fn owner_lock(&self) -> &tokio::sync::Mutex<()> {
        &self.0.owner
    }
}

fn read(parts: &Parts, row: &ConnectionRow) -> Result<Hosted, OpenError> {
    let number = row.id.0;
    let profile = Profile::decode(&row.data).map_err(|cause| OpenError::Row { number, cause })?;
    let keypair = parts.answers.seed().keypair(row.id)?;
    let keys = Keys::new(keypair, profile.client).map_err(|cause| OpenError::Peer { number, cause })?;
    if keys.wallet != profile.wallet {
        return Err(OpenError::Seed { number, name: profile.name });
    }
    Ok(Hosted::new(row.id, row.rules.account, profile, Arc::new(keys), &parts.config.rate))
}
