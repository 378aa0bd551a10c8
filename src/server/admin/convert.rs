//! From wishes of the command line to those of the wallet, and from what the wallet shows to replies.

use tonic::Status;

use crate::base::amount::Msat;
use crate::base::hex32::PublicKey;
use crate::pb::admin::{Account, Connection, ExportedTransaction, LogEntry, MakeConnectionRequest, Payment};
use crate::wallet::Wallet;
use crate::wallet::access::audit::Entry;
use crate::wallet::access::connection::Standing;
use crate::wallet::money::types::{AccountView, Budget, Renewal, Transaction, TransactionState};
use crate::wallet::owner::{ConnectionView, NewConnection};
use crate::wallet::terms::Preimage;

pub(super) fn wish(request: MakeConnectionRequest) -> Result<NewConnection, Status> {
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

pub(super) fn amount(msat: u64) -> Result<Msat, Status> {
    Msat::new(msat).map_err(|error| Status::invalid_argument(error.to_string()))
}

pub(super) fn connection(view: &ConnectionView) -> Connection {
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
        last_delivered_at_ms: None,
        recent: Vec::new(),
        suspended: view.suspended,
    }
}

/// A line of a connection's log.
pub(super) fn log_entry(entry: &Entry) -> LogEntry {
    LogEntry {
        request: entry.request.to_string(),
        asked_at_s: entry.asked_at_s,
        answered_at_ms: entry.answered_at_ms,
        delivered_at_ms: entry.delivered_at_ms,
        method: entry.method.clone(),
        result: entry.result.clone(),
        amount_msat: entry.amount.map(Msat::get),
    }
}

/// Names of accounts and connections, looked up once for many transactions.
pub(super) struct Names {
    accounts: Vec<AccountView>,
    wallet: Wallet,
}

impl Names {
    pub(super) fn of(wallet: &Wallet) -> Self {
        Self { accounts: wallet.money().accounts(), wallet: wallet.clone() }
    }

    fn account(&self, transaction: &Transaction) -> String {
        let account = self.accounts.iter().find(|account| account.id == transaction.account);
        account.map_or_else(String::new, |account| account.name.clone())
    }

    fn connection(&self, transaction: &Transaction) -> String {
        let connection = self.wallet.answers().table().by_id(transaction.connection);
        connection.map_or_else(String::new, |connection| connection.profile.name.clone())
    }

    /// A line of the list of payments.
    pub(super) fn payment(&self, transaction: Transaction) -> Payment {
        Payment {
            r#type: transaction.direction.as_str().to_owned(),
            state: transaction.state.as_str().to_owned(),
            account: self.account(&transaction),
            connection: self.connection(&transaction),
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

    /// A whole transaction. The proof of payment goes along only if it was asked for.
    pub(super) fn exported(&self, transaction: Transaction, with_preimages: bool) -> ExportedTransaction {
        ExportedTransaction {
            r#type: transaction.direction.as_str().to_owned(),
            state: transaction.state.as_str().to_owned(),
            account: self.account(&transaction),
            connection: self.connection(&transaction),
            payment_hash: transaction.payment_hash.to_string(),
            amount_msat: transaction.amount.get(),
            fees_paid_msat: transaction.fees_paid.get(),
            created_at_s: transaction.created_at_s,
            settled_at_s: transaction.settled_at_s,
            expires_at_s: transaction.expires_at_s,
            description: transaction.description.unwrap_or_default(),
            failure: transaction.failure.unwrap_or_default(),
            invoice: transaction.invoice.unwrap_or_default(),
            metadata: transaction.metadata.unwrap_or_default(),
            preimage: transaction.preimage.filter(|_| with_preimages).map(Preimage::to_hex),
        }
    }
}

/// A balance below zero (a back end took more than it was allowed to) is shown as nothing to spend; the alarm says the rest.
pub(super) fn account(view: &AccountView) -> Account {
    Account { name: view.name.clone(), balance_msat: u64::try_from(view.balance_msat).unwrap_or(0), held_msat: view.held.get() }
}
