//! Connections that apps make for other apps (`create_connection`).

use std::sync::Arc;

use super::access::connection::Standing;
use super::access::table::Hosted;
use super::dispatch::Owed;
use super::methods::create_connection::{Created, Giver, Grant, check};
use super::money::types::{Budget, ConnectionRow, On, OwnerError};
use super::owner::{ConnectError, MAIN_ACCOUNT, NewConnection};
use super::service::Wallet;
use super::terms::{ErrorCode, Refusal};
use super::wire::error::{internal, other};
use super::wire::method::Method;
use super::wire::request::CreateConnection;
use crate::base::amount::Msat;
use crate::base::hex32::PublicKey;

impl Wallet {
    /// Makes the connection on a task of its own and answers then.
    pub(super) fn create_connection(&self, giver: Arc<Hosted>, wish: CreateConnection, owed: Owed) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return owed.refuse(&internal()) };
        let wallet = self.clone();
        runtime.spawn(async move {
            match wallet.grant(&giver, wish).await {
                Ok(wallet_pubkey) => owed.succeed(&Created::new(wallet_pubkey)),
                Err(refusal) => owed.refuse(&refusal),
            }
        });
    }

    async fn grant(&self, giver: &Hosted, wish: CreateConnection) -> Result<PublicKey, Refusal> {
        let now_s = self.answers().clock().now_s();
        if let Some(made) = self.made_before(&wish, now_s)? {
            return Ok(made);
        }
        let row = self.row(giver)?;
        let budget = self.money().budget(giver.id);
        let grant = check(&Giver { profile: &giver.profile, rules: &row.rules, budget }, wish, now_s)?;
        let account = self.account_for(giver, &grant).await?;
        let taken = grant.budget.as_ref().filter(|_| grant.takes_budget).map(|budget| budget.amount);
        if let Some(amount) = taken {
            self.change_budget(giver, |own| own.checked_sub(amount)).await?;
        }
        let wish = NewConnection {
            name: grant.name,
            account: Some(account),
            methods: grant.methods.iter().map(|method| method.as_str().to_owned()).collect(),
            notifications: Some(grant.notifications),
            budget: grant.budget,
            payment_max: grant.payment_max,
            expires_in_s: grant.expires_at_s.map(|at_s| at_s.saturating_sub(now_s)),
            no_nip04: grant.no_nip04,
            relays: giver.profile.relays.clone(),
            client: Some(grant.client),
        };
        match self.connect(wish).await {
            Ok(connected) => Ok(connected.wallet),
            Err(error) => {
                if let Some(amount) = taken
                    && let Err(lost) = self.change_budget(giver, |own| own.checked_add(amount)).await
                {
                    tracing::error!(connection = giver.id.0, %lost, "a budget that was to be given on could not be given back");
                }
                Err(refused(error))
            }
        }
    }

    /// The same wish again, while it is fresh, is the same connection; a key that has one is given no other.
    fn made_before(&self, wish: &CreateConnection, now_s: u64) -> Result<Option<PublicKey>, Refusal> {
        let all = self.answers().table().all();
        let mut of_client = all.iter().filter(|hosted| hosted.keys.client == wish.client);
        let Some(found) = of_client.find(|hosted| hosted.profile.standing(now_s) == Standing::Active) else { return Ok(None) };
        let is_fresh = now_s.saturating_sub(found.profile.created_at_s) <= self.config().freshness_s;
        if is_fresh && found.profile.name == wish.name {
            return Ok(Some(found.keys.wallet));
        }
        Err(other("that key has a connection to this wallet already"))
    }

    /// The connection as it is now, which may be otherwise than when it asked.
    fn row(&self, giver: &Hosted) -> Result<ConnectionRow, Refusal> {
        let now = self.answers().table().by_id(giver.id);
        let now_s = self.answers().clock().now_s();
        let may = now.is_some_and(|hosted| {
            hosted.profile.standing(now_s) == Standing::Active && hosted.profile.methods.has(Method::CreateConnection)
        });
        let row = self.money().connections().into_iter().find(|row| row.id == giver.id).filter(|row| may && row.rules.active);
        row.ok_or_else(|| Refusal::new(ErrorCode::Unauthorized, "this connection does not exist any longer"))
    }

    /// The name of the account: the giver's, or one that did not exist before.
    async fn account_for(&self, giver: &Hosted, grant: &Grant) -> Result<String, Refusal> {
        if !grant.isolated {
            let accounts = self.money().accounts();
            let own = accounts.into_iter().find(|account| account.id == giver.account);
            return Ok(own.map_or_else(|| MAIN_ACCOUNT.to_owned(), |account| account.name));
        }
        let made = ask(|on| self.money().create_account(&grant.name, on)).await;
        made.map(|_| grant.name.clone()).map_err(|error| refused(error.into()))
    }

    /// Takes from the giver's budget, or gives back. Durable before what was taken is given to anybody.
    async fn change_budget(&self, giver: &Hosted, change: impl Fn(Msat) -> Option<Msat>) -> Result<(), Refusal> {
        let _one_at_a_time = self.owner_lock().lock().await;
        let mut row = self.row(giver)?;
        let left = self.money().budget(giver.id).map(|view| (view.used(), view.total));
        if let (Some(own), Some((used, _))) = (&mut row.rules.budget, left) {
            let amount = change(own.amount).filter(|amount| *amount >= used);
            let amount = amount.ok_or_else(|| Refusal::new(ErrorCode::QuotaExceeded, "the budget of this connection is used"))?;
            *own = Budget { amount, ..own.clone() };
        }
        ask(|on| self.money().put_connection(row, on)).await.map_err(|error| refused(error.into()))
    }
}

fn refused(error: ConnectError) -> Refusal {
    match error {
        ConnectError::Money(OwnerError::Failed | OwnerError::SafeMode(_)) | ConnectError::Key(_) => internal(),
        ConnectError::Money(OwnerError::Busy) => Refusal::new(ErrorCode::RateLimited, error.to_string()),
        error => other(error.to_string()),
    }
}

/// Waits for the money thread.
async fn ask<T: Send + 'static>(order: impl FnOnce(On<Result<T, OwnerError>>)) -> Result<T, OwnerError> {
    let (done, answer) = tokio::sync::oneshot::channel();
    order(Box::new(move |result| {
        // Whoever asked may have gone; what was done stays done.
        let _ = done.send(result);
    }));
    answer.await.unwrap_or(Err(OwnerError::Failed))
}
