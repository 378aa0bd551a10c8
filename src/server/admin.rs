//! The owner's gRPC service (`proto/admin.proto`) on a Unix socket that only the owner of the data directory can open.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

use crate::base::amount::Msat;
use crate::base::hex32::PublicKey;
use crate::base::shutdown::Shutdown;
use crate::pb::admin::admin_server::{Admin, AdminServer};
use crate::pb::admin::{
    Account, Connection, FundAccountRequest, ListAccountsReply, ListAccountsRequest, ListConnectionsReply,
    ListConnectionsRequest, ListPaymentsReply, ListPaymentsRequest, MakeConnectionReply, MakeConnectionRequest, Payment,
    RequestCount, RevokeConnectionRequest, ShowConnectionRequest, StatsReply, StatsRequest, WalletStats,
};
use crate::wallet::Wallet;
use crate::wallet::access::connection::Standing;
use crate::wallet::money::types::{
    AccountView, Budget, LIST_ROWS_MAX, ListQuery, OwnerError, Renewal, Transaction, TransactionState,
};
use crate::wallet::owner::{ConnectError, ConnectionView, NamedError, NewConnection, PaymentsError};

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
        let nursery = parent.join(format!(".admin-{}", std::process::id()));
        let newborn = nursery.join("s");
        let opened = (|| {
            DirBuilder::new().mode(0o700).create(&nursery)?;
            let listener = UnixListener::bind(&newborn)?;
            std::fs::set_permissions(&newborn, Permissions::from_mode(0o600))?;
            std::fs::rename(&newborn, path)?;
            Ok(listener)
        })();
        // Empty after the rename; what a failure left in it goes first. Neither matters to the outcome.
        let _ = std::fs::remove_file(&newborn);
        let _ = std::fs::remove_dir(&nursery);
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

    fn account_name(&self, transaction: &Transaction, accounts: &[AccountView]) -> String {
        let account = accounts.iter().find(|account| account.id == transaction.account);
        account.map_or_else(String::new, |account| account.name.clone())
    }

    fn payment(&self, transaction: Transaction, accounts: &[AccountView]) -> Payment {
        let connection = self.wallet.answers().table().by_id(transaction.connection);
        Payment {
            r#type: transaction.direction.as_str().to_owned(),
            state: transaction.state.as_str().to_owned(),
            account: self.account_name(&transaction, accounts),
            connection: connection.map_or_else(String::new, |connection| connection.profile.name.clone()),
            payment_hash: transaction.payment_hash.to_string(),
            description: transaction.description.unwrap_or_default(),
            amount_msat: transaction.amount.get(),
            fees_paid_msat: transaction.fees_paid.get(),
            created_at_s: transaction.created_at_s,
            settled_at_s: transaction.settled_at_s,
            expires_at_s: transaction.expires_at_s.filter(|_| transaction.state != TransactionState::Settled),
            failure: transaction.failure.unwrap_or_default(),
        }
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn make_connection(&self, request: Request<MakeConnectionRequest>) -> Result<Response<MakeConnectionReply>, Status> {
        if !self.is_wallet_on {
            return Err(Status::failed_precondition(
                "the wallet is switched off (wallet.enabled = false), so nobody would serve this connection; switch it on and start hearth again",
            ));
        }
        let wish = wish(request.into_inner())?;
        let made = self.wallet.connect(wish).await.map_err(|error| connect_status(&error))?;
        Ok(Response::new(MakeConnectionReply {
            name: made.name,
            account: made.account,
            uri: made.uri,
            wallet_pubkey: made.wallet.to_string(),
            client_pubkey: made.client.to_string(),
        }))
    }

    async fn list_connections(&self, request: Request<ListConnectionsRequest>) -> Result<Response<ListConnectionsReply>, Status> {
        let include_revoked = request.into_inner().include_revoked;
        let mut connections = self.wallet.connections();
        connections.retain(|view| include_revoked || !matches!(view.standing, Standing::Revoked(_)));
        Ok(Response::new(ListConnectionsReply { connections: connections.iter().map(connection).collect() }))
    }

    async fn show_connection(&self, request: Request<ShowConnectionRequest>) -> Result<Response<Connection>, Status> {
        let view = self.wallet.connection(&request.into_inner().name).map_err(|error| named_status(&error))?;
        Ok(Response::new(connection(&view)))
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
        funded.map(|view| Response::new(account(&view))).map_err(|error| owner_status(&error))
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
        // The list reads the disk, and the socket's tasks share their threads with the relay.
        let wallet = self.wallet.clone();
        let listed = tokio::task::spawn_blocking(move || wallet.payments(account.as_deref(), &query)).await;
        let page = match listed {
            Ok(Ok(page)) => page,
            Ok(Err(error @ PaymentsError::NoAccount(_))) => return Err(Status::not_found(error.to_string())),
            Ok(Err(error @ PaymentsError::TooFarBack)) => return Err(Status::out_of_range(error.to_string())),
            Ok(Err(error @ PaymentsError::Read(_))) => return Err(Status::internal(error.to_string())),
            Err(_) => return Err(Status::internal("the list was not made")),
        };
        let accounts = self.wallet.money().accounts();
        let shown = page.transactions.len();
        let payments = page.transactions.into_iter().map(|transaction| self.payment(transaction, &accounts)).collect();
        let total_count = page.total.unwrap_or_else(|| u64::try_from(shown).unwrap_or(u64::MAX));
        Ok(Response::new(ListPaymentsReply { payments, total_count }))
    }

    async fn stats(&self, _: Request<StatsRequest>) -> Result<Response<StatsReply>, Status> {
        let mut reply = StatsReply { wallet: Some(wallet_stats(&self.wallet)), ..StatsReply::default() };
        (self.fill)(&mut reply);
        Ok(Response::new(reply))
    }
}

fn wish(request: MakeConnectionRequest) -> Result<NewConnection, Status> {
    let renewal = match request.renewal.as_str() {
        "" => Renewal::Never,
        name => Renewal::parse(name)
            .ok_or_else(|| Status::invalid_argument("a budget is renewed never, daily, weekly, monthly or yearly"))?,
    };
    let time_zone = if request.time_zone.is_empty() { "UTC".to_owned() } else { request.time_zone };
    let budget = request.budget_msat.map(amount).transpose()?.map(|amount| Budget { amount, renewal, time_zone });
    if budget.is_none() && renewal != Renewal::Never {
        return Err(Status::invalid_argument("a renewal needs a budget"));
    }
    let client = Some(request.client_pubkey).filter(|text| !text.is_empty()).map(|text| PublicKey::parse(&text)).transpose();
    Ok(NewConnection {
        name: request.name,
        account: Some(request.account).filter(|name| !name.is_empty()),
        methods: request.methods,
        notifications: None,
        budget,
        payment_max: request.payment_max_msat.map(amount).transpose()?,
        expires_in_s: request.expires_in_s,
        no_nip04: request.no_nip04,
        relays: request.relays,
        client: client.map_err(|error| Status::invalid_argument(format!("client_pubkey: {error}")))?,
    })
}

fn amount(msat: u64) -> Result<Msat, Status> {
    Msat::new(msat).map_err(|error| Status::invalid_argument(error.to_string()))
}

fn connection(view: &ConnectionView) -> Connection {
    let profile = &view.hosted.profile;
    let budget = view.rules.budget.as_ref();
    Connection {
        name: profile.name.clone(),
        account: view.account.clone(),
        wallet_pubkey: profile.wallet.to_string(),
        client_pubkey: profile.client.to_string(),
        state: match view.standing {
            Standing::Active => "active",
            Standing::Expired(_) => "expired",
            Standing::Revoked(_) => "revoked",
        }
        .to_owned(),
        methods: profile.methods.iter().map(|method| method.as_str().to_owned()).collect(),
        budget_msat: budget.map(|budget| budget.amount.get()),
        budget_used_msat: view.budget.map(|budget| budget.used().get()),
        renewal: budget.map_or_else(String::new, |budget| budget.renewal.as_str().to_owned()),
        time_zone: budget.map_or_else(String::new, |budget| budget.time_zone.clone()),
        budget_renews_at_s: view.budget.and_then(|budget| budget.renews_at_s),
        payment_max_msat: view.rules.payment_max.map(Msat::get),
        nip04: profile.nip04,
        created_at_s: profile.created_at_s,
        expires_at_s: profile.expires_at_s,
        revoked_at_s: profile.revoked_at_s,
        last_seen_at_s: view.hosted.seen_at_s(),
        answers_waiting: u64::try_from(view.answers_waiting).unwrap_or(u64::MAX),
        relays: profile.relays.clone(),
    }
}

/// A balance below zero (a back end took more than it was allowed to) is shown as nothing to spend; the alarm says the rest.
fn account(view: &AccountView) -> Account {
    Account { name: view.name.clone(), balance_msat: u64::try_from(view.balance_msat).unwrap_or(0), held_msat: view.held.get() }
}

/// What the wallet says about itself.
pub fn wallet_stats(wallet: &Wallet) -> WalletStats {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let now_s = wallet.answers().clock().now_s();
    let connections = wallet.answers().table().all();
    let active = connections.iter().filter(|hosted| hosted.profile.standing(now_s) == Standing::Active).count();
    let revoked = connections.iter().filter(|hosted| hosted.profile.revoked_at_s.is_some()).count();
    let accounts = wallet.money().accounts();
    let (status, (answers, bytes)) = (wallet.money().status(), wallet.answers().outbox().size());
    let requests = wallet.answers().stats().requests().into_iter().map(|line| RequestCount {
        method: line.method.to_owned(),
        result: line.result.to_owned(),
        count: line.count,
    });
    WalletStats {
        backend: "embedded".to_owned(),
        connections_active: count(active),
        connections_revoked: count(revoked),
        accounts: count(accounts.len()),
        balance_total_msat: accounts
            .iter()
            .map(|view| u64::try_from(view.balance_msat).unwrap_or(0))
            .fold(0, u64::saturating_add),
        held_msat: accounts.iter().map(|view| view.held.get()).fold(0, u64::saturating_add),
        requests: requests.collect(),
        requests_repeated: wallet.answers().stats().repeats(),
        requests_refused: wallet.answers().stats().refusals(),
        payments_unresolved: count(status.in_flight),
        invoices_open: count(status.open_invoices),
        alarms: count(status.alarms.len()),
        safe_mode: status.safe_mode.unwrap_or_default(),
        answers_kept: count(answers),
        answers_kept_bytes: count(bytes),
    }
}

fn connect_status(error: &ConnectError) -> Status {
    let words = error.to_string();
    match error {
        ConnectError::Taken(_) => Status::already_exists(words),
        ConnectError::Key(_) => Status::internal(words),
        ConnectError::Money(money) => owner_status(money),
        _ => Status::invalid_argument(words),
    }
}

fn named_status(error: &NamedError) -> Status {
    match error {
        NamedError::NoConnection(_) => Status::not_found(error.to_string()),
        NamedError::RevokedBefore(_) => Status::failed_precondition(error.to_string()),
        NamedError::Money(money) => owner_status(money),
    }
}

fn owner_status(error: &OwnerError) -> Status {
    let words = error.to_string();
    match error {
        OwnerError::NoAccount => Status::not_found(words),
        OwnerError::NameTaken(_) => Status::already_exists(words),
        OwnerError::Busy => Status::unavailable(words),
        OwnerError::Failed => Status::internal(words),
        OwnerError::SafeMode(_)
        | OwnerError::NodeBalance
        | OwnerError::CannotReconcile(_)
        | OwnerError::NotEnough { .. }
        | OwnerError::TooMany(_) => Status::failed_precondition(words),
        OwnerError::BadName | OwnerError::BadAmount | OwnerError::BadConnection(_) => Status::invalid_argument(words),
    }
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
