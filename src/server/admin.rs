//! The owner's gRPC service (`proto/admin.proto`) on a Unix socket that only the owner of the data directory can open.

mod convert;
mod refuse;
mod state;

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status};

use crate::base::shutdown::Shutdown;
use crate::pb::admin::admin_server::{Admin, AdminServer};
use crate::pb::admin::{
    Account, ApproveReply, ApproveRequest, AskRequest, Connection, ConnectionLogReply, ConnectionLogRequest, DeclineRequest,
    ExportRequest, ExportedTransaction, FundAccountRequest, ListAccountsReply, ListAccountsRequest, ListConnectionsReply,
    ListConnectionsRequest, ListPaymentsReply, ListPaymentsRequest, ListPendingReply, ListPendingRequest, MakeConnectionReply,
    MakeConnectionRequest, MoveMoneyReply, MoveMoneyRequest, PendingConnection, ReconcileReply, ReconcileRequest,
    ResumeConnectionRequest, RevokeConnectionRequest, ShowConnectionRequest, StatsReply, StatsRequest, WalletStateReply,
    WalletStateRequest,
};
use crate::wallet::Wallet;
use crate::wallet::access::audit::ENTRIES_MAX;
use crate::wallet::access::connection::Standing;
use crate::wallet::money::types::{LIST_ROWS_MAX, ListQuery};
use crate::wallet::owner::PaymentsError;
use crate::wallet::pairing::deep_link::DeepLink;
use convert::{Names, account, amount, connection, log_entry, own_terms, pending_connection, wish};
use refuse::{
    approve_status, ask_status, connect_status, export_status, log_status, move_status, named_status, no_wish_status,
    owner_status,
};
use state::wallet_state;
pub use state::wallet_stats;

/// Requests shown with a connection.
const RECENT_SHOWN: usize = 5;
/// Requests of a log where no number is asked for.
const LOG_DEFAULT: usize = 100;
/// Transactions of an export that wait for whoever reads it.
const EXPORT_AHEAD: usize = 64;
/// Beginning of the name of a directory in which a socket is born, and the socket's name there.
const NURSERY: &str = ".admin-";
const NEWBORN: &str = "s";
/// Payments shown where no number is asked for.
const PAYMENTS_DEFAULT: u32 = 100;

/// What the service cannot know by itself: how the relay and the store are doing. Fills `relay`, `store`, `version` and times.
pub type FillStats = Arc<dyn Fn(&mut StatsReply) + Send + Sync>;

/// The service.
#[derive(Clone)]
pub struct AdminService {
    wallet: Wallet,
    fill: FillStats,
    is_wallet_on: bool,
}

/// Why the socket could not be opened or failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The path is in the way, too long, or may not be written.
    #[error("admin socket {}: {cause}", path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It broke while serving.
    #[error("admin socket: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// A socket that is listening.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Opens `data/admin.sock` in place of one that a dead process left. The data directory must be locked already (the store's
    /// lock), so that no living process loses its socket.
    pub fn bind(path: &Path) -> Result<Self, AdminError> {
        let failed = |cause| AdminError::Bind { path: path.to_owned(), cause };
        let parent = path.parent().unwrap_or(Path::new("."));
        // Between bind and chmod everybody could connect; so it is born in a directory that only we can enter.
        let nursery = parent.join(format!("{NURSERY}{}", std::process::id()));
        let newborn = nursery.join(NEWBORN);
        clear_all(parent);
        let opened = (|| {
            DirBuilder::new().mode(0o700).create(&nursery)?;
            let listener = UnixListener::bind(&newborn)?;
            std::fs::set_permissions(&newborn, Permissions::from_mode(0o600))?;
            std::fs::rename(&newborn, path)?;
            Ok(listener)
        })();
        // Empty after the rename, or with what a failure left in it.
        clear(&nursery);
        opened.map(|listener| Self { listener, path: path.to_owned() }).map_err(failed)
    }

    /// Serves until the process stops, then removes the socket.
    pub async fn serve(self, service: AdminService, shutdown: Shutdown) -> Result<(), AdminError> {
        let incoming = UnixListenerStream::new(self.listener);
        let stopping = async move { shutdown.stopping().await };
        let served = tonic::transport::Server::builder()
            .add_service(AdminServer::new(service))
            .serve_with_incoming_shutdown(incoming, stopping)
            .await;
        let _ = std::fs::remove_file(&self.path);
        Ok(served?)
    }
}

/// What lives that crashed have left of their sockets, one of them perhaps with the same number.
fn clear_all(parent: &Path) {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let left = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(NURSERY)));
    left.for_each(|entry| clear(&entry.path()));
}

/// Takes the directory of a socket away, if there is nothing in it but the socket. A failure is found by whoever makes it anew.
fn clear(nursery: &Path) {
    let _ = std::fs::remove_file(nursery.join(NEWBORN));
    let _ = std::fs::remove_dir(nursery);
}

impl AdminService {
    /// The service of a wallet; `fill` adds what the rest of the process knows.
    pub fn new(wallet: Wallet, fill: FillStats) -> Self {
        Self { wallet, fill, is_wallet_on: true }
    }

    /// The same where the wallet is switched off: what is there can be looked at, and no connection is made that nobody would serve.
    #[must_use]
    pub fn with_wallet_on(self, is_wallet_on: bool) -> Self {
        Self { is_wallet_on, ..self }
    }

    fn need_wallet(&self) -> Result<(), Status> {
        if self.is_wallet_on {
            return Ok(());
        }
        Err(Status::failed_precondition(
            "the wallet is switched off (wallet.enabled = false), so nobody would serve this connection; switch it on and start hearth again",
        ))
    }

    /// Runs what reads the disk where it does not hold up the relay, whose threads the socket's tasks share.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce(&Wallet) -> T + Send + 'static) -> Result<T, Status> {
        let wallet = self.wallet.clone();
        tokio::task::spawn_blocking(move || work(&wallet)).await.map_err(|_| Status::internal("the server is stopping"))
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn make_connection(&self, request: Request<MakeConnectionRequest>) -> Result<Response<MakeConnectionReply>, Status> {
        self.need_wallet()?;
        let request = request.into_inner();
        let link = Some(request.deep_link.as_str()).filter(|link| !link.is_empty());
        let link = link.map(DeepLink::parse).transpose().map_err(|error| Status::invalid_argument(error.to_string()))?;
        let made = self.wallet.connect(wish(request)?).await.map_err(|error| connect_status(&error))?;
        Ok(Response::new(MakeConnectionReply {
            callback: link.map(|link| link.callback_with(&made.uri)).unwrap_or_default(),
            name: made.name,
            account: made.account,
            uri: made.uri,
            wallet_pubkey: made.wallet.to_string(),
            client_pubkey: made.client.to_string(),
            shares_account_with: made.shares_with,
        }))
    }

    async fn list_connections(&self, request: Request<ListConnectionsRequest>) -> Result<Response<ListConnectionsReply>, Status> {
        let include_revoked = request.into_inner().include_revoked;
        let mut connections = self.wallet.connections();
        connections.retain(|view| include_revoked || !matches!(view.standing, Standing::Revoked(_)));
        Ok(Response::new(ListConnectionsReply { connections: connections.iter().map(connection).collect() }))
    }

    async fn show_connection(&self, request: Request<ShowConnectionRequest>) -> Result<Response<Connection>, Status> {
        let name = request.into_inner().name;
        let view = self.wallet.connection(&name).map_err(|error| named_status(&error))?;
        let history = self.aside(move |wallet| wallet.history(&name, RECENT_SHOWN)).await?.map_err(|error| log_status(&error))?;
        let (recent, last_delivered_at_ms) = (history.entries.iter().map(log_entry).collect(), history.last_delivered_at_ms);
        Ok(Response::new(Connection { recent, last_delivered_at_ms, ..connection(&view) }))
    }

    async fn revoke_connection(&self, request: Request<RevokeConnectionRequest>) -> Result<Response<Connection>, Status> {
        let view = self.wallet.revoke(&request.into_inner().name).await.map_err(|error| named_status(&error))?;
        Ok(Response::new(connection(&view)))
    }

    async fn list_accounts(&self, _: Request<ListAccountsRequest>) -> Result<Response<ListAccountsReply>, Status> {
        let accounts = self.wallet.money().accounts().iter().map(account).collect();
        Ok(Response::new(ListAccountsReply { accounts }))
    }

    async fn fund_account(&self, request: Request<FundAccountRequest>) -> Result<Response<Account>, Status> {
        let wish = request.into_inner();
        let funded = self.wallet.fund(&wish.account, amount(wish.amount_msat)?).await;
        funded.map(|view| Response::new(account(&view))).map_err(|error| move_status(&error))
    }

    async fn list_payments(&self, request: Request<ListPaymentsRequest>) -> Result<Response<ListPaymentsReply>, Status> {
        let wish = request.into_inner();
        let rows = if wish.limit == 0 { PAYMENTS_DEFAULT } else { wish.limit };
        let query = ListQuery {
            limit: Some(usize::try_from(rows).unwrap_or(LIST_ROWS_MAX).min(LIST_ROWS_MAX)),
            offset: usize::try_from(wish.offset).unwrap_or(usize::MAX),
            unpaid: wish.include_unpaid,
            count: true,
            ..ListQuery::default()
        };
        let account = Some(wish.account).filter(|name| !name.is_empty());
        let page = match self.aside(move |wallet| wallet.payments(account.as_deref(), &query)).await? {
            Ok(page) => page,
            Err(error @ PaymentsError::NoAccount(_)) => return Err(Status::not_found(error.to_string())),
            Err(error @ (PaymentsError::TooFarBack | PaymentsError::Blind)) => {
                return Err(Status::out_of_range(error.to_string()));
            }
            Err(error @ PaymentsError::Read(_)) => return Err(Status::internal(error.to_string())),
        };
        let names = Names::of(&self.wallet);
        let shown = page.transactions.len();
        let payments = page.transactions.into_iter().map(|transaction| names.payment(transaction)).collect();
        let total_count = page.total.unwrap_or_else(|| u64::try_from(shown).unwrap_or(u64::MAX));
        Ok(Response::new(ListPaymentsReply { payments, total_count }))
    }

    async fn move_money(&self, request: Request<MoveMoneyRequest>) -> Result<Response<MoveMoneyReply>, Status> {
        let wish = request.into_inner();
        let moved = self.wallet.move_money(&wish.from, &wish.to, amount(wish.amount_msat)?).await;
        let (from, to) = moved.map_err(|error| move_status(&error))?;
        Ok(Response::new(MoveMoneyReply { from: Some(account(&from)), to: Some(account(&to)) }))
    }

    type ExportStream = ReceiverStream<Result<ExportedTransaction, Status>>;

    async fn export(&self, request: Request<ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        let ExportRequest { account, with_preimages } = request.into_inner();
        let (rows, stream) = mpsc::channel(EXPORT_AHEAD);
        let wallet = self.wallet.clone();
        // It ends when everything was sent or nobody listens any more.
        drop(tokio::task::spawn_blocking(move || {
            let (names, account) = (Names::of(&wallet), Some(account).filter(|name| !name.is_empty()));
            let mut each = |transaction| rows.blocking_send(Ok(names.exported(transaction, with_preimages))).is_ok();
            if let Err(error) = wallet.export(account.as_deref(), &mut each) {
                // Nobody may be there to hear it.
                let _ = rows.blocking_send(Err(export_status(&error)));
            }
        }));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn connection_log(&self, request: Request<ConnectionLogRequest>) -> Result<Response<ConnectionLogReply>, Status> {
        let ConnectionLogRequest { name, limit } = request.into_inner();
        let limit = if limit == 0 { LOG_DEFAULT } else { usize::try_from(limit).unwrap_or(ENTRIES_MAX) };
        let history = self.aside(move |wallet| wallet.history(&name, limit)).await?.map_err(|error| log_status(&error))?;
        let entries = history.entries.iter().map(log_entry).collect();
        Ok(Response::new(ConnectionLogReply { entries, left_out: history.left_out }))
    }

    async fn resume_connection(&self, request: Request<ResumeConnectionRequest>) -> Result<Response<Connection>, Status> {
        let name = request.into_inner().name;
        self.wallet.resume(&name).await.map_err(|error| named_status(&error))?;
        let view = self.wallet.connection(&name).map_err(|error| named_status(&error))?;
        Ok(Response::new(connection(&view)))
    }

    async fn wallet_state(&self, _: Request<WalletStateRequest>) -> Result<Response<WalletStateReply>, Status> {
        Ok(Response::new(wallet_state(&self.wallet)))
    }

    async fn reconcile(&self, _: Request<ReconcileRequest>) -> Result<Response<ReconcileReply>, Status> {
        let done = self.wallet.reconcile().await.map_err(|error| owner_status(&error))?;
        Ok(Response::new(ReconcileReply {
            journal_seq: done.seq,
            records_lost: done.lost,
            payments_unresolved: u64::try_from(done.in_flight).unwrap_or(u64::MAX),
            refused_before_s: done.refused_before_s,
        }))
    }

    async fn ask_connection(&self, request: Request<AskRequest>) -> Result<Response<PendingConnection>, Status> {
        self.need_wallet()?;
        let pending = self.wallet.ask_link(&request.into_inner().link).map_err(|error| ask_status(&error))?;
        Ok(Response::new(pending_connection(&pending, &self.wallet)))
    }

    async fn list_pending(&self, _: Request<ListPendingRequest>) -> Result<Response<ListPendingReply>, Status> {
        let pending = self.wallet.pending();
        let pending = pending.iter().map(|pending| pending_connection(pending, &self.wallet)).collect();
        Ok(Response::new(ListPendingReply { pending }))
    }

    async fn approve_connection(&self, request: Request<ApproveRequest>) -> Result<Response<ApproveReply>, Status> {
        self.need_wallet()?;
        let wish = request.into_inner();
        let id = wish.id.clone();
        let done = self.wallet.approve(&id, own_terms(wish)?).await.map_err(|error| approve_status(&error))?;
        Ok(Response::new(ApproveReply {
            name: done.connected.name,
            account: done.connected.account,
            wallet_pubkey: done.connected.wallet.to_string(),
            client_pubkey: done.connected.client.to_string(),
            return_to: done.return_to.map(String::from).unwrap_or_default(),
            listens_elsewhere: done.listens_elsewhere,
        }))
    }

    async fn decline_connection(&self, request: Request<DeclineRequest>) -> Result<Response<PendingConnection>, Status> {
        let declined = self.wallet.decline(&request.into_inner().id).await;
        let pending = declined.map_err(|error| no_wish_status(&error))?;
        Ok(Response::new(pending_connection(&pending, &self.wallet)))
    }

    async fn stats(&self, _: Request<StatsRequest>) -> Result<Response<StatsReply>, Status> {
        let mut reply = StatsReply { wallet: Some(wallet_stats(&self.wallet)), ..StatsReply::default() };
        (self.fill)(&mut reply);
        Ok(Response::new(reply))
    }
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
