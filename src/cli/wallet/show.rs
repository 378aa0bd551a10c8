//! Connections, accounts and payments for people.

use std::io::Write;

use super::state;
use super::table::{self, clean, date, grouped, short};
use crate::cli::admin_client::CommandError;
use crate::pb::admin::{Account, Connection, ConnectionLogReply, ListPaymentsReply};

type Out<'a> = &'a mut (dyn Write + Send);

/// One line a connection.
pub(super) fn connections(out: Out<'_>, connections: &[Connection]) -> Result<(), CommandError> {
    if connections.is_empty() {
        return Ok(writeln!(out, "no connections; make one with:  hearth wallet connect NAME")?);
    }
    let rows: Vec<_> = connections
        .iter()
        .map(|connection| {
            vec![
                clean(&connection.name),
                connection.state.clone(),
                clean(&connection.account),
                budget(connection),
                connection.last_seen_at_s.map_or_else(|| "-".to_owned(), date),
                short(&connection.wallet_pubkey),
            ]
        })
        .collect();
    Ok(table::print(out, &["NAME", "STATE", "ACCOUNT", "BUDGET MSAT", "LAST SEEN (UTC)", "WALLET KEY"], &rows)?)
}

/// Everything about one connection.
pub(super) fn connection(out: Out<'_>, connection: &Connection) -> Result<(), CommandError> {
    let never = || "never".to_owned();
    let mut lines = vec![
        ("name", clean(&connection.name)),
        ("state", connection.state.clone()),
        ("account", clean(&connection.account)),
        ("wallet key", connection.wallet_pubkey.clone()),
        ("client key", connection.client_pubkey.clone()),
        ("methods", connection.methods.join(" ")),
        ("encryption", if connection.nip04 { "nip44_v2 nip04" } else { "nip44_v2" }.to_owned()),
        ("budget (msat)", budget(connection)),
        ("payment max (msat)", connection.payment_max_msat.map_or_else(|| "none".to_owned(), grouped)),
        ("relays", if connection.relays.is_empty() { "this hearth's own".to_owned() } else { connection.relays.join(" ") }),
        ("made (UTC)", date(connection.created_at_s)),
        ("expires (UTC)", connection.expires_at_s.map_or_else(never, date)),
        ("last seen (UTC)", connection.last_seen_at_s.map_or_else(never, date)),
        ("last delivered (UTC)", connection.last_delivered_at_ms.map_or_else(never, |at_ms| date(at_ms / 1_000))),
        ("answers waiting", connection.answers_waiting.to_string()),
    ];
    if let Some(at_s) = connection.budget_renews_at_s {
        lines.insert(8, ("budget whole (UTC)", date(at_s)));
    }
    if !connection.made_by.is_empty() {
        lines.push(("made by the app of", clean(&connection.made_by)));
    }
    if let Some(at_s) = connection.revoked_at_s {
        lines.push(("revoked (UTC)", date(at_s)));
    }
    if connection.suspended {
        lines.push(("suspended", "YES, by an alarm: see `hearth wallet status`, then `hearth wallet resume NAME`".to_owned()));
    }
    for (label, value) in lines {
        writeln!(out, "{label:<20} {value}")?;
    }
    if !connection.recent.is_empty() {
        writeln!(out)?;
        let recent = ConnectionLogReply { entries: connection.recent.clone(), left_out: 0 };
        state::log(out, &recent)?;
    }
    Ok(())
}

/// One line an account.
pub(super) fn accounts(out: Out<'_>, accounts: &[Account]) -> Result<(), CommandError> {
    let line = |account: &Account| vec![clean(&account.name), grouped(account.balance_msat), grouped(account.held_msat)];
    let rows: Vec<_> = accounts.iter().map(line).collect();
    Ok(table::print(out, &["ACCOUNT", "BALANCE MSAT", "HELD MSAT"], &rows)?)
}

/// One line a payment.
pub(super) fn payments(out: Out<'_>, reply: &ListPaymentsReply) -> Result<(), CommandError> {
    let rows: Vec<_> = reply
        .payments
        .iter()
        .map(|payment| {
            vec![
                date(payment.created_at_s),
                payment.r#type.clone(),
                payment.state.clone(),
                grouped(payment.amount_msat),
                grouped(payment.fees_paid_msat),
                clean(&payment.account),
                clean(&payment.connection),
                short(&payment.payment_hash),
                clean(if payment.failure.is_empty() { &payment.description } else { &payment.failure }),
            ]
        })
        .collect();
    let head = ["MADE (UTC)", "TYPE", "STATE", "MSAT", "FEES", "ACCOUNT", "CONNECTION", "HASH", "WHAT"];
    table::print(out, &head, &rows)?;
    Ok(writeln!(out, "{} of {}", reply.payments.len(), reply.total_count)?)
}

fn budget(connection: &Connection) -> String {
    let Some(total) = connection.budget_msat else { return "none".to_owned() };
    let used = grouped(connection.budget_used_msat.unwrap_or(0));
    format!("{used} of {} {}", grouped(total), connection.renewal)
}
