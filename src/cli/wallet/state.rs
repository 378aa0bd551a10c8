//! Whether all is well with the money, what was logged, and the end of safe mode, for people.

use std::io::{self, BufRead, IsTerminal, Write};

use super::table::{self, clean, date, grouped};
use crate::cli::admin_client::CommandError;
use crate::pb::AdminConnection;
use crate::pb::admin::{ConnectionLogReply, LogEntry, ReconcileReply, ReconcileRequest, WalletStateReply, WalletStateRequest};

type Out<'a> = &'a mut (dyn Write + Send);

/// Everything about the wallet's health.
pub(super) fn state(out: Out<'_>, state: &WalletStateReply) -> Result<(), CommandError> {
    let backend = state.backend.clone().unwrap_or_default();
    let reach = if backend.outside { "reaches the whole network" } else { "settles inside this hearth only" };
    let rows = [
        ("safe mode", if state.safe_mode.is_empty() { "no".to_owned() } else { format!("YES: {}", state.safe_mode) }),
        ("alarms", state.alarms.len().to_string()),
        ("suspended", if state.suspended.is_empty() { "none".to_owned() } else { names(&state.suspended) }),
        ("payments under way", format!("{} ({} msat held)", state.payments_unresolved, grouped(state.held_msat))),
        ("open invoices", state.invoices_open.to_string()),
        ("journal", format!("{} records", state.journal_seq)),
        ("back end", format!("\"{}\" on {}, {reach}", clean(&backend.alias), clean(&backend.network))),
        (
            "reachable",
            if backend.unreachable.is_empty() { "yes".to_owned() } else { format!("NO: {}", table::line(&backend.unreachable)) },
        ),
        ("node key", backend.pubkey.clone()),
        (
            "it can do",
            if backend.abilities.is_empty() {
                "invoices".to_owned()
            } else {
                format!("invoices {}", backend.abilities.join(" "))
            },
        ),
    ];
    for (label, value) in rows {
        writeln!(out, "{label:<20}{value}")?;
    }
    for alarm in &state.alarms {
        writeln!(out, "ALARM: {}", table::line(alarm))?;
    }
    if !state.suspended.is_empty() {
        writeln!(out, "when you know why:  hearth wallet resume NAME")?;
    }
    Ok(())
}

fn names(names: &[String]) -> String {
    names.iter().map(|name| clean(name)).collect::<Vec<_>>().join(", ")
}

/// One line a request.
pub(super) fn log(out: Out<'_>, reply: &ConnectionLogReply) -> Result<(), CommandError> {
    if reply.entries.is_empty() {
        return Ok(writeln!(out, "nothing was asked yet")?);
    }
    let rows: Vec<_> = reply.entries.iter().map(row).collect();
    table::print(out, &["ANSWERED (UTC)", "METHOD", "MSAT", "RESULT", "DELIVERED (UTC)"], &rows)?;
    if reply.left_out > 0 {
        writeln!(out, "{} further notes were left out because too many came at once", reply.left_out)?;
    }
    Ok(())
}

fn row(entry: &LogEntry) -> Vec<String> {
    vec![
        date(entry.answered_at_ms / 1_000),
        clean(&entry.method),
        entry.amount_msat.map_or_else(|| "-".to_owned(), grouped),
        clean(&entry.result),
        entry.delivered_at_ms.map_or_else(|| "waits".to_owned(), |at_ms| date(at_ms / 1_000)),
    ]
}

/// Asks whether the owner knows what this means, then leaves safe mode.
pub(super) async fn reconcile(
    is_sure: bool,
    client: &mut AdminConnection,
    out: Out<'_>,
) -> Result<Option<ReconcileReply>, CommandError> {
    let state = client.wallet_state(WalletStateRequest {}).await?.into_inner();
    if state.safe_mode.is_empty() {
        return Err(CommandError::Failed("the wallet is not in safe mode; there is nothing to reconcile".to_owned()));
    }
    if !is_sure {
        writeln!(out, "The wallet is in safe mode: {}", state.safe_mode)?;
        writeln!(
            out,
            "Go on only if this is the newest data directory that there is. Payments that an older one does not know of"
        )?;
        writeln!(out, "cannot be seen here; requests from before this moment are refused so that none is paid twice.")?;
        if !confirmed(out, "Leave safe mode?")? {
            return Ok(None);
        }
    }
    Ok(Some(client.reconcile(ReconcileRequest {}).await?.into_inner()))
}

/// A question that only a person can answer; `--yes` answers it for scripts.
pub(super) fn confirmed(out: Out<'_>, question: &str) -> Result<bool, CommandError> {
    if !io::stdin().is_terminal() {
        return Err(CommandError::Usage(format!("{question} Nobody is there to say so: run this at a terminal, or with --yes")));
    }
    write!(out, "{question} Type yes: ")?;
    out.flush()?;
    let mut line = String::new();
    io::Read::take(io::stdin().lock(), 64).read_line(&mut line)?;
    Ok(line.trim() == "yes")
}

/// What leaving safe mode did.
pub(super) fn reconciled(out: Out<'_>, reply: &ReconcileReply) -> Result<(), CommandError> {
    writeln!(out, "safe mode is over; the journal counts from record {} on", reply.journal_seq)?;
    match reply.records_lost {
        Some(0) => writeln!(out, "no record is missing")?,
        Some(lost) => writeln!(out, "{lost} records are missing: look at your node for payments that are not listed here")?,
        None => {
            writeln!(out, "nobody knows how many records are missing: look at your node for payments that are not listed here")?
        }
    }
    writeln!(out, "payment requests made before {} (UTC) are refused", date(reply.refused_before_s))?;
    Ok(writeln!(out, "payments under way: {}; the back end is asked about each", reply.payments_unresolved)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::admin::Backend;

    fn text(write: impl FnOnce(Out<'_>) -> Result<(), CommandError>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn trouble_is_told_with_what_to_do() {
        let calm = text(|out| state(out, &WalletStateReply::default()));
        assert!(calm.contains("safe mode           no\n") && !calm.contains("ALARM") && !calm.contains("resume"), "{calm}");
        assert!(calm.contains("reachable           yes\n"), "{calm}");
        let trouble = WalletStateReply {
            backend: Some(Backend { unreachable: "nobody listens\nat x".to_owned(), ..Backend::default() }),
            safe_mode: "the journal is older than its anchor".to_owned(),
            alarms: vec!["a lie\n\u{1b}[31m".to_owned()],
            suspended: vec!["phone".to_owned()],
            ..WalletStateReply::default()
        };
        let words = text(|out| state(out, &trouble));
        assert!(words.contains("YES: the journal is older") && words.contains("hearth wallet resume NAME"), "{words}");
        assert!(words.contains("reachable           NO: nobody listens?at x\n"), "{words}");
        assert!(words.contains("ALARM: a lie??[31m\n"), "{words}");
    }

    #[test]
    fn a_log_says_what_waits_and_what_is_missing() {
        let entry = LogEntry { method: "pay_invoice".to_owned(), result: "ok".to_owned(), ..LogEntry::default() };
        let delivered = LogEntry { amount_msat: Some(21_000), delivered_at_ms: Some(1_788_264_000_000), ..entry.clone() };
        let words = text(|out| log(out, &ConnectionLogReply { entries: vec![delivered, entry], left_out: 3 }));
        assert!(words.contains("pay_invoice  21,000  ok      2026-09-01 12:00:00\n"), "{words}");
        assert!(words.contains("pay_invoice  -       ok      waits\n") && words.contains("3 further notes"), "{words}");
        assert!(text(|out| log(out, &ConnectionLogReply::default())).contains("nothing was asked yet"));
    }
}
