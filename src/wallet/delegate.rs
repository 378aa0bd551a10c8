//! Connections that apps make for other apps (`create_connection`).

use std::sync::Arc;

use super::access::connection::{MadeBy, Standing};
use super::access::table::Hosted;
use super::dispatch::Owed;
use super::methods::create_connection::{Created, Giver, check};
use super::money::types::{ACCOUNT_NAME_BYTES_MAX, Budget, ConnectionRow, On, OwnerError};
use super::owner::{ConnectError, MAIN_ACCOUNT, NewConnection};
use super::service::Wallet;
use super::terms::{ErrorCode, Refusal};
use super::wire::error::{internal, other};
use super::wire::method::Method;
use super::wire::request::CreateConnection;
use crate::base::amount::Msat;
use crate::base::hex32::PublicKey;

/// Most connections that one connection may have made. Those that have expired count, since each takes its place for ever; those
/// that the owner has revoked do not.
const CHILDREN_MAX: usize = 100;

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
        let _one_at_a_time = self.owner_lock().lock().await;
        let now_s = self.answers().clock().now_s();
        let made_by = MadeBy { connection: giver.id, terms: wish.digest() };
        if let Some(made) = self.made_before(&wish, made_by, now_s)? {
            return Ok(made);
        }
        let row = self.row(giver)?;
        self.has_room(giver)?;
        let budget = self.money().budget(giver.id);
        let grant = check(&Giver { profile: &giver.profile, rules: &row.rules, budget }, wish, now_s)?;
        // Before anything is taken or made for it.
        self.is_free(&grant.name).map_err(refused)?;
        let account = if grant.isolated { self.new_account(&grant.name) } else { self.account_of(giver) };
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
            state: None,
            made_by: Some(made_by),
        };
        match self.connect_alone(wish).await {
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

    /// The same wish of the same connection again, while it is fresh, is the same connection; a key that has one is given no other.
    fn made_before(&self, wish: &CreateConnection, by: MadeBy, now_s: u64) -> Result<Option<PublicKey>, Refusal> {
        let all = self.answers().table().all();
        let mut of_client = all.iter().filter(|hosted| hosted.keys.client == wish.client);
        let Some(found) = of_client.find(|hosted| hosted.profile.standing(now_s) == Standing::Active) else { return Ok(None) };
        let is_fresh = now_s.saturating_sub(found.profile.created_at_s) <= self.config().freshness_s;
        if is_fresh && found.profile.made_by == Some(by) {
            return Ok(Some(found.keys.wallet));
        }
        Err(other("that key has a connection to this wallet already"))
    }

    fn has_room(&self, giver: &Hosted) -> Result<(), Refusal> {
        let made = self.answers().table().made_by(giver.id).len();
        if made < CHILDREN_MAX {
            return Ok(());
        }
        let words = format!("this connection has made {made} connections, the most there may be; the owner can revoke some");
        Err(Refusal::new(ErrorCode::Restricted, words))
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

    fn account_of(&self, giver: &Hosted) -> String {
        let accounts = self.money().accounts();
        let own = accounts.into_iter().find(|account| account.id == giver.account);
        own.map_or_else(|| MAIN_ACCOUNT.to_owned(), |account| account.name)
    }

    /// A name for an account of an app's own, with a number behind it: one that the owner does not type by chance, and thereby shares
    /// with an app what was meant for himself, and one that no app can choose.
    fn new_account(&self, name: &str) -> String {
        // Accounts are never taken away: this is the number that it will have, unless an owner has typed just that.
        let mut number = self.money().accounts().len();
        loop {
            let numbered = with_number(name, number);
            if self.money().account_named(&numbered).is_none() {
                return numbered;
            }
            number += 1;
        }
    }

    /// Takes from the giver's budget, or gives back. Durable before what was taken is given to anybody. The owner's lock is held.
    async fn change_budget(&self, giver: &Hosted, change: impl Fn(Msat) -> Option<Msat>) -> Result<(), Refusal> {
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

/// As much of the name as an account's name has room for.
fn with_number(name: &str, number: usize) -> String {
    let number = format!("#{number}");
    let room = ACCOUNT_NAME_BYTES_MAX.saturating_sub(number.len());
    let end = (0..=name.len().min(room)).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{number}", &name[..end])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_shortened_between_two_letters() {
        assert_eq!(with_number("phone", 7), "phone#7");
        let long = with_number(&"\u{fc}".repeat(64), 12);
        assert_eq!((long.len(), long.chars().count()), (63, 33));
        assert!(long.ends_with("\u{fc}#12"));
    }
}
