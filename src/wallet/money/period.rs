//! Budget periods: from one midnight of the connection's time zone to another, daylight saving included.
//!
//! Only the time zone database that is built in is used, so that two machines agree and nothing is read from disk.

use jiff::civil::{Date, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};

use super::types::Renewal;

/// A period: from `since_ms` (inclusive) to `until_ms` (exclusive), unix milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period {
    /// Its first millisecond.
    pub since_ms: u64,
    /// The first millisecond of the next one; `u64::MAX` for a budget that is never renewed.
    pub until_ms: u64,
}

/// All of time: the period of a budget that is never renewed.
pub const ALWAYS: Period = Period { since_ms: 0, until_ms: u64::MAX };

/// Whether there is a time zone of that name.
pub fn zone_exists(name: &str) -> bool {
    zone(name).is_some()
}

/// The time zone of that name. Reads the tables anew: for when rules are set, not for each payment.
pub fn zone(name: &str) -> Option<TimeZone> {
    if name == "UTC" { Some(TimeZone::UTC) } else { TimeZoneDatabase::bundled().get(name).ok() }
}

/// The period that this moment lies in. Outside the range of the calendar (year 9999) it is [`ALWAYS`].
pub fn period_at(now_ms: u64, renewal: Renewal, zone: &TimeZone) -> Period {
    period(now_ms, renewal, zone).unwrap_or(ALWAYS)
}

fn period(now_ms: u64, renewal: Renewal, zone: &TimeZone) -> Option<Period> {
    let now = Timestamp::from_millisecond(i64::try_from(now_ms).ok()?).ok()?;
    let today = now.to_zoned(zone.clone()).date();
    let (first, next) = match renewal {
        Renewal::Never => return Some(ALWAYS),
        Renewal::Daily => (today, today.tomorrow().ok()?),
        Renewal::Weekly => {
            let first = today.checked_sub(i64::from(today.weekday().since(Weekday::Monday)).days()).ok()?;
            (first, first.checked_add(7.days()).ok()?)
        }
        Renewal::Monthly => (today.first_of_month(), today.first_of_month().checked_add(1.month()).ok()?),
        Renewal::Yearly => (today.first_of_year(), today.first_of_year().checked_add(1.year()).ok()?),
    };
    Some(Period { since_ms: midnight_ms(first, zone)?, until_ms: midnight_ms(next, zone)? })
}

/// The first moment of a day there (where midnight is skipped, the moment after the gap).
fn midnight_ms(day: Date, zone: &TimeZone) -> Option<u64> {
    let start = day.to_zoned(zone.clone()).ok()?.start_of_day().ok()?;
    Some(u64::try_from(start.timestamp().as_millisecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
    }

    #[track_caller]
    fn check(now: &str, renewal: Renewal, zone_name: &str, since: &str, until: &str) {
        let period = period_at(ms(now), renewal, &zone(zone_name).unwrap());
        assert_eq!(period, Period { since_ms: ms(since), until_ms: ms(until) });
    }

    #[test]
    fn periods_turn_at_the_very_millisecond() {
        let day = ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
        check("2026-03-01T00:00:00Z", Renewal::Daily, "UTC", day.0, day.1);
        check("2026-03-01T23:59:59.999Z", Renewal::Daily, "UTC", day.0, day.1);
        check("2026-03-02T00:00:00Z", Renewal::Daily, "UTC", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z");
        check("2026-03-01T12:00:00Z", Renewal::Weekly, "UTC", "2026-02-23T00:00:00Z", "2026-03-02T00:00:00Z");
        check("2026-03-02T00:00:00Z", Renewal::Weekly, "UTC", "2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z");
        check("2024-02-29T12:00:00Z", Renewal::Monthly, "UTC", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z");
        check("2026-12-31T23:59:59Z", Renewal::Yearly, "UTC", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
        assert_eq!(period_at(5, Renewal::Never, &TimeZone::UTC), ALWAYS);
    }

    #[test]
    fn days_are_as_long_as_the_clocks_there_make_them() {
        // Vienna: 29 March 2026 has 23 hours, 25 October 2026 has 25.
        check("2026-03-29T10:00:00Z", Renewal::Daily, "Europe/Vienna", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
        check("2026-10-25T10:00:00Z", Renewal::Daily, "Europe/Vienna", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
        check("2026-10-25T10:00:00Z", Renewal::Monthly, "Europe/Vienna", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z");
        // Half-hour offsets, and a place without a midnight: Cairo skips 00:00 to 01:00 on 24 April 2026.
        check("2026-01-01T00:00:00Z", Renewal::Daily, "Asia/Kolkata", "2025-12-31T18:30:00Z", "2026-01-01T18:30:00Z");
        check("2026-04-24T10:00:00Z", Renewal::Daily, "Africa/Cairo", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z");
        assert!(!zone_exists("Europe/Nowhere") && zone_exists("UTC") && zone_exists("Europe/Vienna"));
    }

    #[test]
    fn every_moment_lies_in_its_period_and_periods_join() {
        for zone_name in ["UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"] {
            let zone = zone(zone_name).unwrap();
            for renewal in [Renewal::Daily, Renewal::Weekly, Renewal::Monthly, Renewal::Yearly] {
                let mut now_ms = ms("2025-12-20T00:00:00Z");
                for _ in 0..500 {
                    let period = period_at(now_ms, renewal, &zone);
                    assert!(period.since_ms <= now_ms && now_ms < period.until_ms);
                    assert_eq!(period_at(period.until_ms - 1, renewal, &zone), period);
                    assert_eq!(period_at(period.until_ms, renewal, &zone).since_ms, period.until_ms);
                    now_ms += 3_600_000 * 17;
                }
            }
        }
    }
}
