//! The owner's money: moved between accounts, exported; suspensions and safe mode ended.

use super::{NamedError, ask};
use crate::base::amount::Msat;
use crate::wallet::money::ReadError;
use crate::wallet::money::types::{AccountView, OwnerError, Reconciled, Transaction};
use crate::wallet::service::Wallet;

/// Why money was not moved, or written in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// Nothing has that name.
    #[error(
        "there is no account named \"{0}\"; `hearth wallet accounts` lists them, `hearth wallet connect APP --account` makes one"
    )]
    NoAccount(String),
    /// From an account to itself.
    #[error("both accounts are \"{0}\"; there is nothing to move")]
    Same(String),
    /// The money room refused.
    #[error(transparent)]
    Money(#[from] OwnerError),
}

/// Why transactions were not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Nothing has that name.
    #[error("there is no account named \"{0}\"; `hearth wallet accounts` lists them")]
    NoAccount(String),
    /// The disk.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Wallet {
    /// Moves money between two accounts that exist; both as they are afterwards.
    pub async fn move_money(&self, from: &str, to: &str, amount: Msat) -> Result<(AccountView, AccountView), MoveError> {
        let named = |name: &str| self.money().account_named(name).ok_or_else(|| MoveError::NoAccount(name.to_owned()));
        let (source, target) = (named(from)?, named(to)?);
        if source.id == target.id {
            return Err(MoveError::Same(from.to_owned()));
        }
        ask(|on| self.money().transfer(source.id, target.id, amount, on)).await?;
        Ok((named(from)?, named(to)?))
    }

    /// Hands over all transactions of an account, or of all, oldest first, until `each` says `false`. Blocks on the disk.
    pub fn export(&self, account: Option<&str>, each: &mut dyn FnMut(Transaction) -> bool) -> Result<(), ExportError> {
        let named = |name: &str| self.money().account_named(name).ok_or_else(|| ExportError::NoAccount(name.to_owned()));
        let account = account.map(named).transpose()?;
        Ok(self.money().export(account.map(|account| account.id), each)?)
    }

    /// Ends the suspension of a connection.
    pub async fn resume(&self, name: &str) -> Result<(), NamedError> {
        let found = self.answers().table().by_name(name);
        let hosted = found.ok_or_else(|| NamedError::NoConnection(name.to_owned()))?;
        if !self.money().is_suspended(hosted.id) {
            return Err(NamedError::NotSuspended(name.to_owned()));
        }
        Ok(ask(|on| self.money().resume(hosted.id, on)).await?)
    }

    /// Leaves safe mode, because the owner says that this is the right data directory.
    pub async fn reconcile(&self) -> Result<Reconciled, OwnerError> {
        ask(|on| self.money().reconcile(on)).await
    }
}
