//! How much of everything: the bounds of relay.md section 2. All of them stand in NIP-11.

use std::time::Duration;

use crate::protocol::event::EventLimits;

/// Bounds on what one client may send and get.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of a message.
    pub message_bytes: usize,
    /// Bounds on one event.
    pub event: EventLimits,
    /// Most characters of a subscription id.
    pub subscription_id_chars: usize,
    /// Most open subscriptions of a connection.
    pub subscriptions: usize,
    /// Most filters of a REQ or COUNT.
    pub filters: usize,
    /// Most values in one list of a filter.
    pub filter_values: usize,
    /// Most values in all filters of all open subscriptions and waiting COUNTs of a connection.
    pub open_values: usize,
    /// Stored events for a filter without `limit`.
    pub default_limit: u64,
    /// Most stored events for any filter.
    pub max_limit: u64,
    /// How old an event may be.
    pub past_s: u64,
    /// How far in the future an event may be.
    pub future_s: u64,
    /// How old or far in the future an ephemeral event may be.
    pub ephemeral_s: u64,
    /// Where COUNT stops.
    pub count_max: u64,
    /// Most COUNTs of a connection that wait; few of them are begun at a time.
    pub counts: usize,
    /// How long a stored query may run before others have their turn.
    pub slice: Duration,
    /// Most keys that one connection may log in with.
    pub login_keys: usize,
    /// Most AUTH messages a minute.
    pub logins_per_minute: u32,
    /// How far from now the created_at of a login may be.
    pub login_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 131_072,
            event: EventLimits::default(),
            subscription_id_chars: 64,
            subscriptions: 200,
            filters: 20,
            filter_values: 2_000,
            open_values: 50_000,
            default_limit: 500,
            max_limit: 5_000,
            past_s: 3 * 365 * 86_400,
            future_s: 15 * 60,
            ephemeral_s: 15 * 60,
            count_max: 1_000_000,
            counts: 1_000,
            slice: Duration::from_millis(2),
            login_keys: 16,
            logins_per_minute: 10,
            login_s: 10 * 60,
        }
    }
}

/// A span in the largest unit that shows it whole: `15 minutes`, `3 years`.
pub fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(365 * 86_400, "year"), (86_400, "day"), (3_600, "hour"), (60, "minute")];
    let whole = UNITS.into_iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    let (count, name) = whole.map_or((seconds, "second"), |(unit, name)| (seconds / unit, name));
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_well() {
        for (seconds, words) in [
            (900, "15 minutes"),
            (3 * 365 * 86_400, "3 years"),
            (61, "61 seconds"),
            (3_600, "1 hour"),
            (86_400, "1 day"),
            (0, "0 seconds"),
        ] {
            assert_eq!(span(seconds), words);
        }
    }
}
