//! Reads amounts and durations strictly: what could mean two things means none.

use crate::base::amount::Msat;

/// Longest time to an end: a hundred years.
const DURATION_MAX_S: u64 = 3_153_600_000;

/// Millisatoshi: digits only, 1 to all there will ever be.
pub(super) fn amount_msat(text: &str) -> Result<u64, String> {
    let number = digits(text).ok_or("an amount in msat is written in digits only, like 21000")?;
    match Msat::new(number) {
        Ok(Msat::ZERO) => Err("the amount must be above zero".to_owned()),
        Ok(amount) => Ok(amount.get()),
        Err(error) => Err(error.to_string()),
    }
}

/// A whole number with a unit: 90s, 15m, 12h, 30d, 8w. Gives seconds.
pub(super) fn duration_s(text: &str) -> Result<u64, String> {
    const WORDS: &str = "a duration is a whole number with a unit: 90s, 15m, 12h, 30d or 8w";
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(WORDS)?;
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(WORDS.to_owned()),
    };
    match digits(number).and_then(|number| number.checked_mul(unit_s)) {
        None => Err(WORDS.to_owned()),
        Some(0) => Err("the duration must be above zero".to_owned()),
        Some(seconds) if seconds > DURATION_MAX_S => Err("the duration is longer than a hundred years".to_owned()),
        Some(seconds) => Ok(seconds),
    }
}

/// A number of digits only: no sign, no space, no separator.
fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_digits_and_nothing_else() {
        assert_eq!(amount_msat("21000"), Ok(21_000));
        assert_eq!(amount_msat("2100000000000000000"), Ok(2_100_000_000_000_000_000));
        for bad in ["", "0", "-1", "+1", " 1", "1 ", "1_000", "1,000", "1.0", "1e3", "0x10", "2100000000000000001", "٣"] {
            assert!(amount_msat(bad).is_err(), "{bad:?} was read");
        }
    }

    #[test]
    fn durations_have_one_unit() {
        let good = [("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000), ("8w", 4_838_400)];
        for (text, seconds) in good {
            assert_eq!(duration_s(text), Ok(seconds), "{text}");
        }
        for bad in ["", "d", "30", "0d", "-1d", "1.5d", "1y", "1d12h", "1ä", "99999999999999999999w", "3000000w"] {
            assert!(duration_s(bad).is_err(), "{bad:?} was read");
        }
    }
}
