//! What the owner asks for: connections made, shown and revoked, accounts funded, payments listed; [`money`] moved and exported,
//! [`receipts`] of what connections did.

pub mod money;
pub mod receipts;

use std::sync::Arc;

use tokio::sync::oneshot;

use super::access::connection::{Announced, BadName, MadeBy, Profile, Standing, check_name};
use super::access::keys::{KeyError, new_client};
use super::access::table::{Hosted, Keys};
use super::money::ReadError;
use super::money::types::{
    AccountView, Budget, BudgetView, ConnectionRow, ConnectionRules, LIST_ROWS_MAX, LIST_WALK_MAX, ListQuery, On, OwnerError,
    Page, Viewer,
};
use super::service::Wallet;
use super::terms::{AccountId, ConnectionId};
use super::wire::envelope::BadPeer;
use super::wire::method::{Method, MethodSet};
use super::wire::notification::{Notification, NotificationSet};
use super::wire::uri::pairing_uri;
use crate::base::amount::Msat;
use crate::base::hex32::PublicKey;
use money::MoveError;

/// The account of connections that name none.
pub const MAIN_ACCOUNT: &str = "main";
/// Most relays in one pairing code, and the longest address of one.
const RELAYS_MAX: usize = 8;
const RELAY_MAX_BYTES: usize = 256;
/// Most connections that are named where a new one shares an account.
const SHARERS_MAX: usize = 8;

/// A connection to be made.
#[derive(Clone, Debug, Default)]
pub struct NewConnection {
    /// What the owner calls it.
    pub name: String,
    /// The account it spends from, made if it is not there. `None`: `main`.
    pub account: Option<String>,
    /// Names of methods; empty: all but `create_connection`, which must be named.
    pub methods: Vec<String>,
    /// Names of notifications; `None`: all.
    pub notifications: Option<Vec<String>>,
    /// What it may spend.
    pub budget: Option<Budget>,
    /// Most of one payment.
    pub payment_max: Option<Msat>,
    /// Seconds from now until its end.
    pub expires_in_s: Option<u64>,
    /// Whether NIP-04 is refused.
    pub no_nip04: bool,
    /// Addresses for the pairing code; empty: our own.
    pub relays: Vec<String>,
    /// The client's own key, where it has made one.
    pub client: Option<PublicKey>,
    /// What the app asked by, to be echoed in its kind 13194.
    pub state: Option<String>,
    /// The connection that makes it, where that is not the owner.
    pub made_by: Option<MadeBy>,
}

/// A connection that was made. The only place where the client's secret ever stands.
#[derive(Clone)]
pub struct Connected {
    /// Its name.
    pub name: String,
    /// Its account.
    pub account: String,
    /// The pairing code.
    pub uri: String,
    /// Our key for it.
    pub wallet: PublicKey,
    /// The client's key.
    pub client: PublicKey,
    /// Living connections that spend from the account that was named, some of them: it was there before.
    pub shares_with: Vec<String>,
}

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connected").field("name", &self.name).field("wallet", &self.wallet).finish_non_exhaustive()
    }
}

/// Why no connection was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The name cannot be given.
    #[error(transparent)]
    Name(#[from] BadName),
    /// A living connection has it.
    #[error("there is a connection named \"{0}\" already; revoke it or choose another name")]
    Taken(String),
    /// An unknown method.
    #[error("there is no method \"{0}\"; there are: {all}", all = MethodSet::all().words())]
    Method(String),
    /// An unknown notification.
    #[error("there is no notification \"{0}\"; there are: {all}", all = NotificationSet::all().words())]
    Notification(String),
    /// A relay address that clients could not use.
    #[error("\"{0}\" is no relay address: it must start with ws:// or wss:// and have no spaces")]
    Relay(String),
    /// Too many of them.
    #[error("at most {RELAYS_MAX} relays fit into a pairing code")]
    TooManyRelays,
    /// The client's key is no key.
    #[error(transparent)]
    Peer(#[from] BadPeer),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The money room refused.
    #[error(transparent)]
    Money(#[from] OwnerError),
}

/// Why a connection was not revoked or shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamedError {
    /// Nothing has that name.
    #[error("there is no connection named \"{0}\"")]
    NoConnection(String),
    /// No alarm stopped it.
    #[error("the connection \"{0}\" is not suspended")]
    NotSuspended(String),
    /// Its end came before.
    #[error("the connection \"{0}\" was revoked before")]
    RevokedBefore(String),
    /// The money room refused.
    #[error(transparent)]
    Money(#[from] OwnerError),
}

/// Why payments were not listed.
#[derive(Debug, thiserror::Error)]
pub enum PaymentsError {
    /// Nothing has that name.
    #[error("there is no account named \"{0}\"")]
    NoAccount(String),
    /// All accounts together are only shown so far back.
    #[error("of all accounts together only the newest {LIST_ROWS_MAX} are shown; name an account to look further back")]
    TooFarBack,
    /// Nothing was found among as many as are looked at.
    #[error(
        "none of the newest {LIST_WALK_MAX} payments and invoices is one to show; `--all` shows the others, `hearth wallet export` \
         writes out all there are"
    )]
    Blind,
    /// The disk.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A connection as its owner sees it.
#[derive(Clone, Debug)]
pub struct ConnectionView {
    /// Who it is.
    pub hosted: Arc<Hosted>,
    /// Name of its account.
    pub account: String,
    /// Whether it is over.
    pub standing: Standing,
    /// What it may do with money.
    pub rules: ConnectionRules,
    /// What is used of its budget.
    pub budget: Option<BudgetView>,
    /// Answers that have reached nobody yet.
    pub answers_waiting: usize,
    /// Whether an alarm stopped its payments and invoices.
    pub suspended: bool,
    /// The connection that made it; `None`: the owner.
    pub made_by: Option<String>,
    /// Connections that it had made and that ended with it just now.
    pub revoked_with: Vec<String>,
}

impl Wallet {
    /// Makes a connection. It is durable and announced when this returns.
    pub async fn connect(&self, wish: NewConnection) -> Result<Connected, ConnectError> {
        let _one_at_a_time = self.owner_lock().lock().await;
        self.connect_alone(wish).await
    }

    /// The same, for whoever holds the owner's lock.
    pub(super) async fn connect_alone(&self, wish: NewConnection) -> Result<Connected, ConnectError> {
        check_name(&wish.name)?;
        let methods = methods(&wish.methods)?;
        let notifications = notifications(wish.notifications.as_deref())?;
        let relays = self.relays(&wish.relays)?;
        self.is_free(&wish.name)?;
        let table = self.answers().table();
        let account_name = wish.account.as_deref().filter(|name| !name.is_empty()).unwrap_or(MAIN_ACCOUNT).to_owned();
        let (secret, client) = match wish.client {
            Some(client) => (None, client),
            None => new_client().map(|(secret, client)| (Some(secret), client))?,
        };
        let id = self.money().next_connection();
        let keys = Keys::new(self.answers().seed().keypair(id)?, client)?;
        let now_s = self.answers().clock().now_s();
        let mut profile = Profile {
            name: wish.name,
            wallet: keys.wallet,
            client,
            methods,
            notifications,
            nip04: !wish.no_nip04,
            created_at_s: now_s,
            expires_at_s: wish.expires_in_s.map(|seconds| now_s.saturating_add(seconds)),
            revoked_at_s: None,
            relays: wish.relays,
            state: wish.state,
            announced: Announced::default(),
            made_by: wish.made_by,
            spoken: None,
        };
        profile.renew_announcement(now_s, self.able());
        let account = self.account_or_new(&account_name).await?;
        let shares_with = if wish.account.is_some() { self.sharers(account) } else { Vec::new() };
        let rules = ConnectionRules { account, budget: wish.budget, payment_max: wish.payment_max, active: true };
        self.put(ConnectionRow { id, rules, data: profile.encode() }).await?;
        let (name, wallet) = (profile.name.clone(), keys.wallet);
        let hosted = table.put(Hosted::new(id, account, profile, Arc::new(keys), &self.config().rate));
        self.answers().audit().add(id, wallet);
        self.announce(&hosted);
        let uri = pairing_uri(&wallet, &relays, secret.as_ref(), self.config().lud16.as_deref());
        Ok(Connected { name, account: account_name, uri, wallet, client, shares_with })
    }

    /// Whether a name can be given to a connection: a revoked one has left it.
    pub(super) fn is_free(&self, name: &str) -> Result<(), ConnectError> {
        let found = self.answers().table().by_name(name);
        let is_taken = found.is_some_and(|found| found.profile.revoked_at_s.is_none());
        if is_taken { Err(ConnectError::Taken(name.to_owned())) } else { Ok(()) }
    }

    fn sharers(&self, account: AccountId) -> Vec<String> {
        let all = self.answers().table().of_account(account);
        let living = all.iter().filter(|hosted| hosted.profile.revoked_at_s.is_none());
        living.take(SHARERS_MAX).map(|hosted| hosted.profile.name.clone()).collect()
    }

    /// Ends a connection and those that it has made. Their keys are told UNAUTHORIZED from now on; payments under way end as they
    /// must.
    pub async fn revoke(&self, name: &str) -> Result<ConnectionView, NamedError> {
        let _one_at_a_time = self.owner_lock().lock().await;
        let found = self.answers().table().by_name(name);
        let hosted = found.ok_or_else(|| NamedError::NoConnection(name.to_owned()))?;
        if hosted.profile.revoked_at_s.is_some() {
            return Err(NamedError::RevokedBefore(name.to_owned()));
        }
        // First, so that a failure in between leaves something to revoke.
        let mut revoked_with = Vec::new();
        for made in self.answers().table().made_by(hosted.id) {
            self.end(&made).await?;
            revoked_with.push(made.profile.name.clone());
        }
        let hosted = self.end(&hosted).await?;
        let rules = self.rules(&hosted);
        Ok(ConnectionView { revoked_with, ..self.view(hosted, rules, &self.money().accounts()) })
    }

    async fn end(&self, hosted: &Hosted) -> Result<Arc<Hosted>, OwnerError> {
        let now_s = self.answers().clock().now_s();
        let mut profile = hosted.profile.clone();
        profile.revoked_at_s = Some(now_s);
        profile.renew_announcement(now_s, self.able());
        let mut rules = self.rules(hosted);
        rules.active = false;
        self.put(ConnectionRow { id: hosted.id, rules, data: profile.encode() }).await?;
        let hosted = self.answers().table().put(hosted.with_profile(profile));
        self.announce(&hosted);
        Ok(hosted)
    }

    /// One connection by name.
    pub fn connection(&self, name: &str) -> Result<ConnectionView, NamedError> {
        let found = self.answers().table().by_name(name);
        let hosted = found.ok_or_else(|| NamedError::NoConnection(name.to_owned()))?;
        let rules = self.rules(&hosted);
        Ok(self.view(hosted, rules, &self.money().accounts()))
    }

    /// All connections by number.
    pub fn connections(&self) -> Vec<ConnectionView> {
        let accounts = self.money().accounts();
        let rows = self.money().connections().into_iter();
        let seen =
            rows.filter_map(|row| self.answers().table().by_id(row.id).map(|hosted| self.view(hosted, row.rules, &accounts)));
        seen.collect()
    }

    /// Writes money into an account, which must exist.
    pub async fn fund(&self, account: &str, amount: Msat) -> Result<AccountView, MoveError> {
        let named = || self.money().account_named(account).ok_or_else(|| MoveError::NoAccount(account.to_owned()));
        let found = named()?;
        ask(|on| self.money().fund(found.id, amount, on)).await?;
        named()
    }

    /// A page of payments and invoices, newest first, of one account or of all. Of all accounts together only the newest
    /// [`LIST_ROWS_MAX`] can be seen.
    pub fn payments(&self, account: Option<&str>, query: &ListQuery) -> Result<Page, PaymentsError> {
        if let Some(name) = account {
            let found = self.money().account_named(name).ok_or_else(|| PaymentsError::NoAccount(name.to_owned()))?;
            return seen(self.money().list(Viewer::Account(found.id), query)?);
        }
        let limit = query.limit.unwrap_or(LIST_ROWS_MAX).min(LIST_ROWS_MAX);
        let reach = query.offset.saturating_add(limit);
        if reach > LIST_ROWS_MAX {
            return Err(PaymentsError::TooFarBack);
        }
        let mut all = Page { total: Some(0), ..Page::default() };
        for account in self.money().accounts() {
            let of_account = ListQuery { offset: 0, limit: Some(reach), ..query.clone() };
            let page = self.money().list(Viewer::Account(account.id), &of_account)?;
            all.cut_at_s = all.cut_at_s.max(page.cut_at_s);
            all.transactions.extend(page.transactions);
            // Kept short on the way: there may be many accounts.
            all.transactions.sort_by(|a, b| b.created_at_s.cmp(&a.created_at_s).then_with(|| b.seq.cmp(&a.seq)));
            all.transactions.truncate(reach);
            all.total = all.total.zip(page.total).map(|(sum, count)| sum.saturating_add(count));
        }
        all.transactions.drain(..query.offset.min(all.transactions.len()));
        seen(all)
    }

    /// Announces connections: all of them, or only those whose announcement is no longer true.
    pub(super) async fn announce_all(&self, all: bool) {
        let now_s = self.answers().clock().now_s();
        for hosted in self.answers().table().all() {
            let is_true = hosted.profile.announcement(now_s, self.able()).digest() == hosted.profile.announced.digest;
            if is_true && all {
                self.announce(&hosted);
            } else if !is_true || hosted.profile.is_new(hosted.spoken()) {
                self.announce_anew(&hosted).await;
            }
        }
    }

    async fn announce_anew(&self, hosted: &Hosted) {
        let _one_at_a_time = self.owner_lock().lock().await;
        let Some(hosted) = self.answers().table().by_id(hosted.id) else { return };
        let mut profile = hosted.profile.clone();
        let speaks_otherwise = profile.is_new(hosted.spoken());
        if speaks_otherwise {
            profile.spoken = hosted.spoken();
        }
        if !profile.renew_announcement(self.answers().clock().now_s(), self.able()) && !speaks_otherwise {
            return;
        }
        let row = ConnectionRow { id: hosted.id, rules: self.rules(&hosted), data: profile.encode() };
        match self.put(row).await {
            Ok(()) => {
                let hosted = self.answers().table().put(hosted.with_profile(profile));
                self.announce(&hosted);
            }
            // The next round tries again.
            Err(error) => tracing::warn!(connection = hosted.id.0, %error, "a connection could not be announced"),
        }
    }

    /// Offers the connection's kind 13194 to the store, which does nothing if it has it.
    fn announce(&self, hosted: &Hosted) {
        let announcement = hosted.profile.announcement(self.answers().clock().now_s(), self.able());
        match announcement.sign(&hosted.keys.keypair, hosted.profile.announced.at_s) {
            Ok(event) => self.answers().publisher().store(event),
            Err(error) => tracing::error!(connection = hosted.id.0, %error, "no kind 13194"),
        }
    }

    fn view(&self, hosted: Arc<Hosted>, rules: ConnectionRules, accounts: &[AccountView]) -> ConnectionView {
        let account = accounts.iter().find(|account| account.id == hosted.account);
        ConnectionView {
            account: account.map_or_else(String::new, |account| account.name.clone()),
            standing: hosted.profile.standing(self.answers().clock().now_s()),
            rules,
            budget: self.money().budget(hosted.id),
            answers_waiting: self.answers().outbox().waiting(&hosted.keys.wallet),
            suspended: self.money().is_suspended(hosted.id),
            made_by: hosted.profile.made_by.map(|made_by| self.name_of(made_by.connection)),
            revoked_with: Vec::new(),
            hosted,
        }
    }

    fn name_of(&self, id: ConnectionId) -> String {
        self.answers().table().by_id(id).map_or_else(String::new, |hosted| hosted.profile.name.clone())
    }

    /// What the money room knows of a connection; nothing at all is allowed where it knows nothing.
    fn rules(&self, hosted: &Hosted) -> ConnectionRules {
        let row = self.money().connections().into_iter().find(|row| row.id == hosted.id);
        let none = ConnectionRules { account: hosted.account, budget: None, payment_max: Some(Msat::ZERO), active: false };
        row.map_or(none, |row| row.rules)
    }

    async fn put(&self, row: ConnectionRow) -> Result<(), OwnerError> {
        ask(|on| self.money().put_connection(row, on)).await
    }

    async fn account_or_new(&self, name: &str) -> Result<AccountId, OwnerError> {
        match self.money().account_named(name) {
            Some(account) => Ok(account.id),
            None => ask(|on| self.money().create_account(name, on)).await,
        }
    }

    fn relays(&self, wished: &[String]) -> Result<Vec<String>, ConnectError> {
        if wished.len() > RELAYS_MAX {
            return Err(ConnectError::TooManyRelays);
        }
        match wished.iter().find(|relay| !is_relay_address(relay)) {
            Some(bad) => Err(ConnectError::Relay(bad.chars().take(RELAY_MAX_BYTES).collect())),
            None if wished.is_empty() => Ok(self.config().relays.clone()),
            None => Ok(wished.to_vec()),
        }
    }
}

/// A page with nothing in it although not everything was looked at says nothing.
fn seen(page: Page) -> Result<Page, PaymentsError> {
    if page.transactions.is_empty() && page.cut_at_s.is_some() { Err(PaymentsError::Blind) } else { Ok(page) }
}

fn methods(names: &[String]) -> Result<MethodSet, ConnectError> {
    if names.is_empty() {
        return Ok(MethodSet::usual());
    }
    names.iter().map(|name| Method::parse(name).ok_or_else(|| ConnectError::Method(name.chars().take(64).collect()))).collect()
}

fn notifications(names: Option<&[String]>) -> Result<NotificationSet, ConnectError> {
    let Some(names) = names else { return Ok(NotificationSet::all()) };
    let unknown = |name: &String| ConnectError::Notification(name.chars().take(64).collect());
    names.iter().map(|name| Notification::parse(name).ok_or_else(|| unknown(name))).collect()
}

fn is_relay_address(text: &str) -> bool {
    let host = text.strip_prefix("wss://").or_else(|| text.strip_prefix("ws://"));
    host.is_some_and(|host| !host.is_empty()) && text.len() <= RELAY_MAX_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Waits for the money thread.
async fn ask<T: Send + 'static>(order: impl FnOnce(On<Result<T, OwnerError>>)) -> Result<T, OwnerError> {
    let (done, answer) = oneshot::channel();
    order(Box::new(move |result| {
        // Whoever asked may have gone; what was done stays done.
        let _ = done.send(result);
    }));
    answer.await.unwrap_or(Err(OwnerError::Failed))
}
