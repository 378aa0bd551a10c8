//! The owner's decision about a wish: all that the app needs and nothing that it did not ask for, or nothing at all.

use std::net::IpAddr;

use url::Url;

use super::pending::{Full, NoWish, Outcome, Pending};
use super::wish::{Wish, WishError};
use crate::base::amount::Msat;
use crate::base::hex32::PublicKey;
use crate::wallet::money::types::{Budget, Renewal};
use crate::wallet::owner::{ConnectError, Connected, NewConnection};
use crate::wallet::service::Wallet;

/// What the owner adds to a wish. It can only make the grant smaller.
#[derive(Clone, Debug, Default)]
pub struct OwnTerms {
    /// What the connection is called; `None`: as the app calls itself.
    pub name: Option<String>,
    /// The account it spends from; `None`: `main`, or one of its own if it asked for that.
    pub account: Option<String>,
    /// Most that it may spend in a period. Where the app asked for less, that counts.
    pub budget: Option<Msat>,
    /// The period, where the app named no budget.
    pub renewal: Option<Renewal>,
    /// Where periods begin; `None`: UTC.
    pub time_zone: Option<String>,
    /// Most of one payment.
    pub payment_max: Option<Msat>,
    /// Whether NIP-04 is refused.
    pub no_nip04: bool,
}

/// Why a wish was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It cannot be granted.
    #[error(transparent)]
    Wish(#[from] WishError),
    /// There is no room for it.
    #[error(transparent)]
    Full(#[from] Full),
}

/// Why a wish was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApproveError {
    /// It does not wait.
    #[error(transparent)]
    NoWish(#[from] NoWish),
    /// The app has no name.
    #[error("the app does not say what it is called: choose a name with --name")]
    NoName,
    /// The account would not be its own.
    #[error("the app asked for an account of its own, and \"{0}\" exists: choose a new one with --account")]
    NotIsolated(String),
    /// The app asked for one period, the owner for another.
    #[error("the app asked for a budget that is renewed {0}; another period cannot be granted, only a smaller budget")]
    Renewal(&'static str),
    /// A period without a budget.
    #[error("a renewal needs a budget")]
    NoBudget,
    /// No connection was made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// A wish that was granted.
#[derive(Clone, Debug)]
pub struct Approved {
    /// The connection.
    pub connected: Connected,
    /// Where the browser is sent, with what the app needs to know.
    pub return_to: Option<Url>,
    /// The app listens for the answer on other relays than this hearth's.
    pub listens_elsewhere: bool,
}

impl Wallet {
    /// Takes in a link or an address that the owner was given.
    pub fn ask_link(&self, text: &str) -> Result<Pending, AskError> {
        let now_s = self.answers().clock().now_s();
        let wish = Wish::parse(text, self.able(), now_s)?;
        Ok(self.room().ask(wish, None, now_s)?)
    }

    /// Takes in the query of somebody's request for the page.
    pub fn ask_page(&self, query: &str, from: IpAddr) -> Result<Pending, AskError> {
        let now_s = self.answers().clock().now_s();
        let wish = Wish::of_page(query, self.able(), now_s)?;
        Ok(self.room().ask(wish, Some(from), now_s)?)
    }

    /// Wishes that wait, oldest first.
    pub fn pending(&self) -> Vec<Pending> {
        self.room().waiting(self.answers().clock().now_s())
    }

    /// What became of the wish whose page this is; with it, where the browser is to go.
    pub fn look_at_wish(&self, token: &str) -> Option<(Pending, Option<Url>)> {
        let pending = self.room().look(token, self.answers().clock().now_s())?;
        let target = match &pending.outcome {
            Some(Outcome::Granted { wallet }) => self.return_address(&pending.wish, wallet),
            _ => None,
        };
        Some((pending, target))
    }

    /// Grants a wish. The connection is durable and announced when this returns.
    pub async fn approve(&self, handle: &str, terms: OwnTerms) -> Result<Approved, ApproveError> {
        let _one_at_a_time = self.room().deciding().await;
        let now_s = self.answers().clock().now_s();
        let wish = self.room().find(handle, now_s)?.wish;
        let name = terms.name.clone().or_else(|| wish.name.clone()).ok_or(ApproveError::NoName)?;
        let connected = self
            .connect(NewConnection {
                account: self.account_for_app(&wish, &terms, &name)?,
                methods: wish.granted(self.able()).iter().map(|method| method.as_str().to_owned()).collect(),
                notifications: Some(wish.notifications.clone()),
                budget: budget(&wish, &terms)?,
                payment_max: terms.payment_max,
                expires_in_s: wish.expires_at_s.map(|at_s| at_s.saturating_sub(now_s)),
                no_nip04: terms.no_nip04,
                client: Some(wish.client),
                state: wish.state.clone().filter(|_| wish.is_link),
                name,
                ..NewConnection::default()
            })
            .await?;
        self.room().decide(handle, Outcome::Granted { wallet: connected.wallet }, self.answers().clock().now_s());
        let return_to = self.return_address(&wish, &connected.wallet);
        Ok(Approved { return_to, listens_elsewhere: self.listens_elsewhere(&wish), connected })
    }

    /// Declines a wish.
    pub async fn decline(&self, handle: &str) -> Result<Pending, NoWish> {
        let _one_at_a_time = self.room().deciding().await;
        let now_s = self.answers().clock().now_s();
        let pending = self.room().find(handle, now_s)?;
        self.room().decide(handle, Outcome::Declined, now_s);
        Ok(pending)
    }

    /// Whether the app waits for its answer where this hearth does not publish.
    pub fn listens_elsewhere(&self, wish: &Wish) -> bool {
        let plain = |relay: &str| relay.trim_end_matches('/').to_ascii_lowercase();
        let ours: Vec<String> = self.config().relays.iter().map(|relay| plain(relay)).collect();
        !wish.relays.is_empty() && !wish.relays.iter().any(|relay| ours.contains(&plain(relay)))
    }

    fn account_for_app(&self, wish: &Wish, terms: &OwnTerms, name: &str) -> Result<Option<String>, ApproveError> {
        if !wish.isolated {
            return Ok(terms.account.clone());
        }
        let account = terms.account.clone().unwrap_or_else(|| name.to_owned());
        match self.money().account_named(&account) {
            Some(_) => Err(ApproveError::NotIsolated(account)),
            None => Ok(Some(account)),
        }
    }

    /// The app's address with what it needs to know: no secret among it.
    fn return_address(&self, wish: &Wish, wallet: &PublicKey) -> Option<Url> {
        let mut url = wish.return_to.clone()?;
        {
            let mut query = url.query_pairs_mut();
            for relay in &self.config().relays {
                query.append_pair("relay", relay);
            }
            query.append_pair("pubkey", wallet.to_hex().as_str());
            if let Some(state) = &wish.state {
                query.append_pair("state", state);
            }
            if let Some(lud16) = &self.config().lud16 {
                query.append_pair("lud16", lud16);
            }
        }
        Some(url)
    }
}

fn budget(wish: &Wish, terms: &OwnTerms) -> Result<Option<Budget>, ApproveError> {
    let time_zone = terms.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
    let (amount, renewal) = match (wish.budget, terms.budget) {
        (Some((asked, renewal)), own) => {
            if terms.renewal.is_some_and(|own| own != renewal) {
                return Err(ApproveError::Renewal(renewal.as_str()));
            }
            (own.map_or(asked, |own| own.min(asked)), renewal)
        }
        (None, Some(own)) => (own, terms.renewal.unwrap_or(Renewal::Never)),
        (None, None) if terms.renewal.is_some() => return Err(ApproveError::NoBudget),
        (None, None) => return Ok(None),
    };
    Ok(Some(Budget { amount, renewal, time_zone }))
}
