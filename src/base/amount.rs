//! Millisatoshi amounts: one checked u64, used for budget, hold and send alike.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in millisatoshi, never more than [`Msat::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Msat(u64);

/// Why a number is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("amount is above 2,100,000,000,000,000,000 msat, more than there will ever be")]
pub struct TooLarge;

impl Msat {
    /// All bitcoin there will ever be, in msat.
    pub const MAX: Self = Self(2_100_000_000_000_000_000);
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount from a count of millisatoshi.
    pub const fn new(msat: u64) -> Result<Self, TooLarge> {
        if msat > Self::MAX.0 { Err(TooLarge) } else { Ok(Self(msat)) }
    }

    /// The count of millisatoshi.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Sum, unless it is above [`Msat::MAX`].
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(|sum| Self::new(sum).ok())
    }

    /// Difference, unless it is negative.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Difference, or nothing where it would be negative.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Msat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} msat", self.0)
    }
}

impl fmt::Debug for Msat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Msat {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_checked_at_both_ends() {
        let one = Msat::new(1).unwrap();
        assert_eq!(Msat::MAX.checked_add(one), None);
        assert_eq!(Msat::ZERO.checked_sub(one), None);
        assert!(Msat::new(Msat::MAX.get() + 1).is_err());
        assert_eq!(one.checked_add(one).map(Msat::get), Some(2));
    }
}
