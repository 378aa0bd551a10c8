//! From wishes of the command line to those of the wallet, and from what the wallet shows to replies.

use tonic::Status;

use crate::base::amount::Msat;
use crate::base::hex32::PublicKey;
use crate::pb::admin::{
    Account, ApproveRequest, Connection, ExportedTransaction, LogEntry, MakeConnectionRequest, Payment, PendingConnection,
};
use crate::wallet::Wallet;
use crate::wallet::access::audit::Entry;
use crate::wallet::access::connection::Standing;
use crate::wallet::money::types::{AccountView, Budget, Renewal, Transaction, TransactionState};
use crate::wallet::owner::{ConnectionView, NewConnection};
use crate::wallet::pairing::grant::OwnTerms;
use crate::wallet::pairing::pending::Pending;
use crate::wallet::terms::Preimage;
use crate::wallet::wire::method::MethodSet;

pub(super) fn wish(request: MakeConnectionRequest) -> Result<NewConnection, Status> {
    let renewal = match request.renewal.as_str() {
        "" => Renewal::Never,
        name => renewal(name)?,
    };
    let time_zone = if request.time_zone.is_empty() { "UTC".to_owned() } else { request.time_zone };
    let budget = request.budget_msat.map(amount).transpose()?.map(|amount| Budget { amount, renewal, time_zone });
    if budget.is_none() && renewal != Renewal::Never {
        return Err(Status::invalid_argument("a renewal needs a budget"));
    }
    if request.receive_only && !request.methods.is_empty() {
        return Err(Status::invalid_argument("receive-only is a list of methods; give that or a list of your own"));
    }
    let client = Some(request.client_pubkey).filter(|text| !text.is_empty()).map(|text| PublicKey::parse(&text)).transpose();
    Ok(NewConnection {
        name: request.name,
        account: Some(request.account).filter(|name| !name.is_empty()),
        methods: if request.receive_only { receive_only() } else { request.methods },
        notifications: request.choose_notifications.then_some(request.notifications),
        budget,
        payment_max: request.payment_max_msat.map(amount).transpose()?,
        expires_in_s: request.expires_in_s,
        no_nip04: request.no_nip04,
        relays: request.relays,
        state: None,
        made_by: None,
        client: client.map_err(|error| Status::invalid_argument(format!("client_pubkey: {error}")))?,
    })
}

/// All that can be done without spending.
fn receive_only() -> Vec<String> {
    MethodSet::receive_only().iter().map(|method| method.as_str().to_owned()).collect()
}

/// What the owner adds to an app's wish.
pub(super) fn own_terms(request: ApproveRequest) -> Result<OwnTerms, Status> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(OwnTerms {
        name: given(request.name),
        account: given(request.account),
        budget: request.budget_msat.map(amount).transpose()?,
        renewal: Some(request.renewal).filter(|name| !name.is_empty()).map(|name| renewal(&name)).transpose()?,
        time_zone: Some(request.time_zone).filter(|name| !name.is_empty()),
        payment_max: request.payment_max_msat.map(amount).transpose()?,
        no_nip04: request.no_nip04,
    })
}

fn renewal(name: &str) -> Result<Renewal, Status> {
    Renewal::parse(name).ok_or_else(|| Status::invalid_argument("a budget is renewed never, daily, weekly, monthly or yearly"))
}

/// What an app asks for.
pub(super) fn pending_connection(pending: &Pending, wallet: &Wallet) -> PendingConnection {
    let (wish, names) = (&pending.wish, |set: MethodSet| set.iter().map(|method| method.as_str().to_owned()).collect());
    PendingConnection {
        id: pending.handle.clone(),
        name: wish.name.clone().unwrap_or_default(),
        icon: wish.icon.clone().unwrap_or_default(),
        client_pubkey: wish.client.to_string(),
        methods: names(wish.methods),
        optional_methods: names(wish.optional),
        notifications: wish.notifications.clone(),
        budget_msat: wish.budget.map(|(amount, _)| amount.get()),
        renewal: wish.budget.map_or_else(String::new, |(_, renewal)| renewal.as_str().to_owned()),
        expires_at_s: wish.expires_at_s,
        isolated: wish.isolated,
        return_to: wish.return_to.as_ref().map(ToString::to_string).unwrap_or_default(),
        relays: wish.relays.clone(),
        listens_elsewhere: wallet.listens_elsewhere(wish),
        from: pending.from.map(|address| address.to_string()).unwrap_or_default(),
        asked_at_s: pending.asked_at_s,
        ends_at_s: pending.ends_at_s,
    }
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
        made_by: view.made_by.clone().unwrap_or_default(),
        revoked_with: view.revoked_with.clone(),
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
