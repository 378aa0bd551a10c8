//! What owners order and see: budgets, connections, accounts, the state of the room.

use super::{AccountId, ConnectionId};
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;

/// When a budget is whole again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Renewal {
    /// Never.
    #[default]
    Never,
    /// At midnight.
    Daily,
    /// On Monday at midnight.
    Weekly,
    /// On the first of the month at midnight.
    Monthly,
    /// On the first of January at midnight.
    Yearly,
}

impl Renewal {
    /// The name on the wire and at the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }

    /// The renewal of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Never, Self::Daily, Self::Weekly, Self::Monthly, Self::Yearly].into_iter().find(|one| one.as_str() == name)
    }
}

/// How much a connection may spend, fees included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Per period.
    pub amount: Msat,
    /// The period.
    pub renewal: Renewal,
    /// IANA name (`Europe/Vienna`) or `UTC`: where midnight is. Checked by [`super::period::zone_exists`].
    pub time_zone: String,
}

/// What a connection may do with money. Method lists, keys and names are the business of `access`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRules {
    /// The account it spends from and receives into.
    pub account: AccountId,
    /// `None`: as much as the account has.
    pub budget: Option<Budget>,
    /// Most for one payment, fees not counted.
    pub payment_max: Option<Msat>,
    /// `false` once revoked: no new payment, no new invoice; what is under way ends as it must.
    pub active: bool,
}

/// A connection as the wallet stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRow {
    /// Its number.
    pub id: ConnectionId,
    /// What it may do with money.
    pub rules: ConnectionRules,
    /// The rest, written and read by `access` only; at most [`CONNECTION_BYTES_MAX`] bytes.
    pub data: Vec<u8>,
}

/// Most opaque bytes in a connection's record.
pub const CONNECTION_BYTES_MAX: usize = 16_384;

/// `get_budget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetView {
    /// Per period.
    pub total: Msat,
    /// Settled in this period, fees included.
    pub settled: Msat,
    /// Held for payments under way that began in this period.
    pub held: Msat,
    /// When it is whole again, unix seconds.
    pub renews_at_s: Option<u64>,
    /// The period.
    pub renewal: Renewal,
}

impl BudgetView {
    /// Settled and held: what no new payment may use.
    pub fn used(&self) -> Msat {
        self.settled.checked_add(self.held).unwrap_or(Msat::MAX)
    }

    /// What is left.
    pub fn left(&self) -> Msat {
        self.total.saturating_sub(self.used())
    }
}

/// An account as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// Its number.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// What the ledger says. Negative only after a back end took more than it was allowed to (alarm).
    pub balance_msat: i128,
    /// Held for payments under way.
    pub held: Msat,
}

impl AccountView {
    /// What can be spent now.
    pub fn spendable(&self) -> Msat {
        let free = self.balance_msat - i128::from(self.held.get());
        u64::try_from(free).ok().and_then(|msat| Msat::new(msat).ok()).unwrap_or(Msat::ZERO)
    }
}

/// The state of the money room, for the owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Why nothing is paid, and what to do; `None` in good times.
    pub safe_mode: Option<String>,
    /// Payments under way.
    pub in_flight: usize,
    /// The oldest of them, at most [`STATUS_ROWS_MAX`].
    pub payments: Vec<OpenPayment>,
    /// Hold invoices whose money waits, at most [`STATUS_ROWS_MAX`].
    pub holds: Vec<OpenHold>,
    /// Invoices that can be paid now.
    pub open_invoices: usize,
    /// Last sequence number of the journal.
    pub seq: u64,
    /// Alarms since start, counted.
    pub alarm_count: u64,
    /// The clock jumped: budgets do not renew until it has been steady for ten minutes.
    pub clock_doubted: bool,
    /// Alarms since start, newest last; at most [`ALARMS_MAX`].
    pub alarms: Vec<String>,
    /// Connections that were suspended by an alarm.
    pub suspended: Vec<ConnectionId>,
}

/// Most alarms that are kept to be shown.
pub const ALARMS_MAX: usize = 100;
/// Most payments and holds that [`Status`] names.
pub const STATUS_ROWS_MAX: usize = 100;

/// A payment under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenPayment {
    /// Names it.
    pub hash: PaymentHash,
    /// Who pays.
    pub connection: ConnectionId,
    /// What the payee gets.
    pub amount: Msat,
    /// What is held for it, fee reserve included.
    pub held: Msat,
    /// Since when, unix seconds.
    pub since_s: u64,
    /// It waits for the maker of a hold invoice of this hearth.
    pub is_held_inside: bool,
}

/// A hold invoice that was paid and waits, or whose end the back end has not confirmed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenHold {
    /// Names it.
    pub hash: PaymentHash,
    /// Who made it.
    pub connection: ConnectionId,
    /// What waits.
    pub amount: Msat,
    /// Since when, unix seconds.
    pub since_s: u64,
    /// `true`: settling, `false`: being cancelled, `None`: not decided.
    pub settling: Option<bool>,
    /// Block height at which the money goes back by itself.
    pub settle_deadline: Option<u32>,
}

/// What leaving safe mode did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// Last record of the journal before; it counts from here on.
    pub seq: u64,
    /// Records that the anchor knew of and the journal has not; `None` where the anchor could not say.
    pub lost: Option<u64>,
    /// Payments without an outcome, of which the back end is asked.
    pub in_flight: usize,
    /// Payment requests made before this moment (unix seconds) are refused from now on: they may be among what was lost.
    pub refused_before_s: u64,
}

/// Why an owner's wish was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// The name is taken.
    #[error("an account named \"{0}\" exists")]
    NameTaken(String),
    /// The name is empty, too long or has control characters.
    #[error("an account's name has 1 to {ACCOUNT_NAME_BYTES_MAX} bytes and no control characters")]
    BadName,
    /// More accounts or connections than there may be.
    #[error("at most {0} of these may exist")]
    TooMany(usize),
    /// The amount is zero, or a balance would leave the range of amounts.
    #[error("the amount must be above zero and the balance within {}", Msat::MAX)]
    BadAmount,
    /// The account does not have it.
    #[error("the account has {spendable} to spend, {needed} are needed")]
    NotEnough {
        /// What it has.
        spendable: Msat,
        /// What is needed.
        needed: Msat,
    },
    /// The connection's record is too large, names an unknown account or an unknown time zone.
    #[error("the connection cannot be stored: {0}")]
    BadConnection(String),
    /// `main` is the node's own balance.
    #[error(
        "money cannot be written into an account here: `main` is the Lightning node's own balance; \
         give of it by `hearth wallet move main NAME AMOUNT`"
    )]
    NodeBalance,
    /// The wallet cannot leave safe mode, or is not in it.
    #[error("{0}")]
    CannotReconcile(String),
    /// Safe mode, with words for the operator.
    #[error("the wallet is in safe mode: {0}")]
    SafeMode(String),
    /// The waiting room is full.
    #[error("the wallet is busy, try again in a second")]
    Busy,
    /// The journal could not be written; the process is about to end.
    #[error("the wallet's journal could not be written")]
    Failed,
}

/// Longest name of an account in bytes.
pub const ACCOUNT_NAME_BYTES_MAX: usize = 64;
