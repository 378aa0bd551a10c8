//! What the owner may do with accounts, money and connections: the same journal, the same rules of double entry.

use super::budget::period_start_ms;
use super::ledger::transfer;
use super::payment::{Effect, Found, OwnerDone, OwnerWish, Reply, Rows, State, Token};
use super::record::{Book, Record, Used};
use super::types::{
    ACCOUNT_NAME_BYTES_MAX, AccountId, CONNECTION_BYTES_MAX, ConnectionId, ConnectionRow, OwnerError, Reconciled,
};
use crate::base::amount::Msat;

/// Does what the owner wants, or says why not.
pub(super) fn fulfil(state: &mut State, rows: &dyn Rows, wish: OwnerWish, token: Token, now_ms: u64, out: &mut Vec<Effect>) {
    let done = try_fulfil(state, rows, wish, now_ms, out);
    out.push(Effect::Reply(token, Reply::Owner(done)));
}

fn try_fulfil(
    state: &mut State,
    rows: &dyn Rows,
    wish: OwnerWish,
    now_ms: u64,
    out: &mut Vec<Effect>,
) -> Result<OwnerDone, OwnerError> {
    if let Some(why) = state.halted.as_ref().filter(|_| !matches!(wish, OwnerWish::Reconcile { .. })) {
        return Err(OwnerError::SafeMode(why.clone()));
    }
    let (record, done) = match wish {
        OwnerWish::CreateAccount(name) => create_account(state, name)?,
        OwnerWish::Fund(account, amount) => (fund(state, account, amount)?, OwnerDone::Done),
        OwnerWish::Move(from, to, amount) => (movement(state, from, to, amount)?, OwnerDone::Done),
        OwnerWish::PutConnection(row) => (put_connection(state, rows, *row, now_ms)?, OwnerDone::Done),
        OwnerWish::Resume(connection) => (resume(state, connection)?, OwnerDone::Done),
        OwnerWish::Reconcile { found } => return reconcile(state, found, now_ms, out),
    };
    if !state.record(record, None, now_ms, out) {
        return Err(OwnerError::Failed);
    }
    // One that was revoked leaves hold invoices to nobody.
    super::payment::abandon(state, now_ms, out);
    Ok(done)
}

/// From here on the journal counts. What was paid between its end and now is not known here: requests from before are refused, and
/// the back end is asked about everything that is open.
///
/// A client's clock may be ahead, so that what is lost may have been asked for at a time that is still to come. Where a second payment
/// of one hash is refused, or nothing leaves this hearth, asking for it again pays nothing twice; elsewhere that time is waited for.
fn reconcile(
    state: &mut State,
    found: Result<Found, String>,
    now_ms: u64,
    out: &mut Vec<Effect>,
) -> Result<OwnerDone, OwnerError> {
    let none = || OwnerError::CannotReconcile("the wallet is not in safe mode; there is nothing to reconcile".to_owned());
    state.halted.as_ref().ok_or_else(none)?;
    let Found { lost, strays } = found.map_err(OwnerError::CannotReconcile)?;
    let why = state.halted.take().ok_or_else(none)?;
    let may_pay_twice = state.can.outside && !state.can.refuses_second;
    let ahead_s = if may_pay_twice { state.limits.requests_ahead_s } else { 0 };
    let refused_before_s = (now_ms / 1_000).saturating_add(1).saturating_add(ahead_s);
    let reconciled = Reconciled { seq: state.seq, lost, in_flight: state.open.len(), refused_before_s };
    let record = Record::Reconciled { why, lost, refused_before_s, strays };
    if !state.record(record, None, now_ms, out) {
        return Err(OwnerError::Failed);
    }
    super::recover::restart(state, now_ms, out);
    Ok(OwnerDone::Reconciled(reconciled))
}

fn create_account(state: &State, name: String) -> Result<(Record, OwnerDone), OwnerError> {
    if name.is_empty() || name.len() > ACCOUNT_NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(OwnerError::BadName);
    }
    if state.ledger.named(&name).is_some() {
        return Err(OwnerError::NameTaken(name));
    }
    let count = state.ledger.len();
    if count >= state.limits.accounts_max {
        return Err(OwnerError::TooMany(state.limits.accounts_max));
    }
    // Accounts are never taken away, so their count is the next number.
    let id = AccountId(u32::try_from(count).map_err(|_| OwnerError::TooMany(state.limits.accounts_max))?);
    Ok((Record::Account { id, name }, OwnerDone::Account(id)))
}

fn fund(state: &State, account: AccountId, amount: Msat) -> Result<Record, OwnerError> {
    if state.can.node_balance {
        return Err(OwnerError::NodeBalance);
    }
    has_room(state, account, amount)?;
    Ok(Record::Fund { postings: transfer(Book::Funding, Book::Account(account), amount) })
}

fn movement(state: &State, from: AccountId, to: AccountId, amount: Msat) -> Result<Record, OwnerError> {
    let spendable = state.spendable(from).ok_or(OwnerError::NoAccount)?;
    has_room(state, to, amount)?;
    if amount > spendable {
        return Err(OwnerError::NotEnough { spendable, needed: amount });
    }
    Ok(Record::Move { postings: transfer(Book::Account(from), Book::Account(to), amount) })
}

/// Whether the balance stays in the range of amounts.
fn has_room(state: &State, account: AccountId, amount: Msat) -> Result<(), OwnerError> {
    let view = state.ledger.account(account).ok_or(OwnerError::NoAccount)?;
    let is_bounded = account != AccountId::MAIN || !state.can.node_balance;
    let after = view.balance_msat + i128::from(amount.get());
    if amount == Msat::ZERO || (is_bounded && after > i128::from(Msat::MAX.get())) { Err(OwnerError::BadAmount) } else { Ok(()) }
}

fn put_connection(state: &State, rows: &dyn Rows, row: ConnectionRow, now_ms: u64) -> Result<Record, OwnerError> {
    if row.data.len() > CONNECTION_BYTES_MAX {
        return Err(OwnerError::BadConnection(format!("its record has more than {CONNECTION_BYTES_MAX} bytes")));
    }
    state.ledger.spendable(row.rules.account).ok_or(OwnerError::NoAccount)?;
    let before = state.connections.get(&row.id);
    if before.is_none() && state.connections.len() >= state.limits.connections_max {
        return Err(OwnerError::TooMany(state.limits.connections_max));
    }
    let since_ms = period_start_ms(row.rules.budget.as_ref(), state.budget_ms(now_ms))
        .ok_or_else(|| OwnerError::BadConnection("its budget names an unknown time zone".to_owned()))?;
    let used = match before {
        None => Used { since_ms, settled: Msat::ZERO },
        Some(before) if has_same_period(&before.row, &row) => {
            let mut spending = before.spending.clone();
            spending.turn(state.budget_ms(now_ms));
            spending.settled()
        }
        Some(_) => {
            let settled = rows.spent_since(row.id, since_ms).map_err(|_| OwnerError::Failed)?;
            Used { since_ms, settled }
        }
    };
    Ok(Record::Connection { row, used })
}

/// Whether what was counted so far goes on counting.
fn has_same_period(before: &ConnectionRow, after: &ConnectionRow) -> bool {
    let period = |row: &ConnectionRow| row.rules.budget.as_ref().map(|budget| (budget.renewal, budget.time_zone.clone()));
    period(before) == period(after)
}

fn resume(state: &State, connection: ConnectionId) -> Result<Record, OwnerError> {
    match state.connections.get(&connection) {
        Some(one) if one.suspended.is_some() => Ok(Record::Resume { connection }),
        Some(_) => Err(OwnerError::BadConnection("it is not suspended".to_owned())),
        None => Err(OwnerError::BadConnection("there is no such connection".to_owned())),
    }
}
