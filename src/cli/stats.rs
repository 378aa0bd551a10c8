//! `hearth stats`: what the running server is doing.

use std::io::Write;
use std::path::Path;

use clap::Args;

use super::admin_client::{self, CommandError};
use crate::pb::admin::{StatsReply, StatsRequest};

/// How to print.
#[derive(Args, Debug)]
pub(super) struct StatsArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &StatsArgs, data: &Path, out: &mut (dyn Write + Send)) -> Result<(), CommandError> {
    let mut client = admin_client::connect(data).await?;
    let reply = client.stats(StatsRequest {}).await?.into_inner();
    if args.json {
        let json = serde_json::to_string(&reply).map_err(|error| CommandError::Failed(error.to_string()))?;
        return Ok(writeln!(out, "{json}")?);
    }
    Ok(write!(out, "{}", lines(&reply))?)
}

fn lines(reply: &StatsReply) -> String {
    let relay = reply.relay.unwrap_or_default();
    let store = reply.store.unwrap_or_default();
    let wallet = reply.wallet.clone().unwrap_or_default();
    let requests: u64 = wallet.requests.iter().map(|line| line.count).sum();
    let rows = [
        ("version", reply.version.clone()),
        ("up", duration(reply.uptime_s)),
        ("connections", relay.connections.to_string()),
        ("subscriptions", relay.subscriptions.to_string()),
        ("messages in / out", format!("{} / {}", relay.messages_in, relay.messages_out)),
        ("events taken / refused", format!("{} / {}", relay.events_accepted, relay.events_refused)),
        ("events stored", store.events.to_string()),
        ("on disk", bytes(store.disk_bytes)),
        ("in memory", bytes(store.cache_bytes)),
        ("wallet", wallet.backend.clone()),
        ("wallet connections", wallet.connections_active.to_string()),
        ("wallet requests", requests.to_string()),
        ("held / all accounts", format!("{} / {} msat", wallet.held_msat, wallet.balance_total_msat)),
        ("payments unresolved", wallet.payments_unresolved.to_string()),
        ("alarms", wallet.alarms.to_string()),
        ("safe mode", if wallet.safe_mode.is_empty() { "no".to_owned() } else { format!("YES: {}", wallet.safe_mode) }),
    ];
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", count / unit, count % unit * 10 / unit),
        None => format!("{count} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (seconds, words) in [(5, "5 s"), (65, "1 min 5 s"), (3_660, "1 h 1 min"), (200_000, "2 d 7 h")] {
            assert_eq!(duration(seconds), words);
        }
        for (count, words) in [(1_023, "1023 bytes"), (1_536, "1.5 KiB"), (3 << 30, "3.0 GiB")] {
            assert_eq!(bytes(count), words);
        }
        assert!(lines(&StatsReply::default()).contains("events stored           0\n"));
    }
}
