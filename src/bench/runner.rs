//! Opening connections and running rounds over them: what every workload starts from.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{StreamExt, TryStreamExt};
use tokio::task::JoinSet;

use super::args::Target;
use super::book::Book;
use super::endpoint::{Endpoint, allow_open_files};
use super::engine::{Ear, Op, Pace, Task};
use super::error::ClientError;
use super::meter::{Meter, Round};
use super::progress::Progress;
use super::socket::Socket;
use super::timer::Timer;

/// Connections that are being opened at the same time during set-up.
const OPENING: usize = 64;
/// How long after set-up an open loop starts, so that every task is ready by then.
const LEAD: Duration = Duration::from_millis(20);

/// One workload's surroundings.
pub(super) struct Runner {
    pub(super) target: Target,
    pub(super) endpoint: Endpoint,
    timer: Timer,
}

/// A connection and what it does in the next round.
pub(super) struct Share {
    pub(super) socket: Socket,
    pub(super) ops: Vec<Op>,
    pub(super) ear: Box<dyn Ear>,
}

impl Runner {
    pub(super) async fn new(target: &Target) -> Result<Self, ClientError> {
        let endpoint = Endpoint::resolve(&target.url, target.per_address, target.ca.as_deref()).await?;
        Ok(Self { target: target.clone(), endpoint, timer: Timer::start()? })
    }

    /// Opens connections to the relay; their client addresses are numbered from `first`.
    pub(super) async fn open(&self, first: usize, count: usize) -> Result<Vec<Socket>, ClientError> {
        self.open_at(&self.endpoint, first, count).await
    }

    pub(super) async fn open_at(&self, endpoint: &Endpoint, first: usize, count: usize) -> Result<Vec<Socket>, ClientError> {
        allow_open_files(first + count)?;
        let opening = futures_util::stream::iter(first..first + count).map(|index| Socket::open(endpoint, index));
        opening.buffered(OPENING).try_collect().await
    }

    /// Runs one round; gives the connections back in the same order.
    pub(super) async fn round(
        &self,
        shares: Vec<Share>,
        classes: usize,
        pace: Pace,
        progress: &Progress,
    ) -> Result<(Vec<Socket>, Round), ClientError> {
        let book = Arc::new(Book::new(classes));
        let total = shares.iter().map(|share| share.ops.len() as u64).sum();
        let count = shares.len();
        let last = shares.iter().flat_map(|share| &share.ops).map(|op| op.at).max().unwrap_or_default();
        let mut tasks = JoinSet::new();
        let meter = Meter::start(&self.target.server_pid);
        let start = match pace {
            Pace::Closed { .. } => meter.started(),
            Pace::Open => meter.started() + LEAD,
        };
        for (index, share) in shares.into_iter().enumerate() {
            let alarm = matches!(pace, Pace::Open).then(|| self.timer.alarm());
            let Share { socket, ops, ear } = share;
            let task = Task { socket, ops, ear, pace, alarm, book: book.clone(), listen: last };
            tasks.spawn(async move { (index, task.run(start).await) });
        }
        let timeline = progress.watch(&book, total);
        let mut sockets: Vec<Option<Socket>> = (0..count).map(|_| None).collect();
        while let Some(ended) = tasks.join_next().await {
            let (index, socket) = ended?;
            sockets[index] = Some(socket);
        }
        let results = book.close();
        let mut round = meter.stop(results.tallies);
        (round.lag, round.words, round.timeline) = (results.lag, results.words, timeline.end().await);
        if round.operations() == 0 && total > 0 {
            return Err(ClientError::Refused(round.words.unwrap_or_else(|| "no operation was answered".to_owned())));
        }
        Ok((sockets.into_iter().flatten().collect(), round))
    }
}

/// Deals operations out to connections in turn.
pub(super) fn deal(ops: Vec<Op>, connections: usize) -> Vec<Vec<Op>> {
    let mut shares: Vec<Vec<Op>> = (0..connections).map(|_| Vec::with_capacity(ops.len() / connections + 1)).collect();
    for (index, op) in ops.into_iter().enumerate() {
        shares[index % connections].push(op);
    }
    shares
}

/// Evenly spaced moments for an open loop: operation `index` at `rate` operations a second.
pub(super) fn moment(index: usize, rate: f64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "an index of one run fits a double")]
    Duration::from_secs_f64(index as f64 / rate.max(1e-3))
}

/// The pace that a rate (or none) means.
pub(super) fn pace(rate: Option<f64>, window: usize) -> Pace {
    match rate {
        Some(_) => Pace::Open,
        None => Pace::Closed { window: window.max(1) },
    }
}
