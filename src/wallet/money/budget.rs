//! What one connection has used of its budget: running counters, never a sum over history on the way of a payment.
//!
//! A payment belongs to the period in which it was allowed: its hold counts there, and so does what it really cost, however late
//! it settles. So settled + held <= budget holds in every period (I2), and a hold that stays open does not eat the next one.

use jiff::tz::TimeZone;

use super::payment::{Rows, RowsError, State};
use super::period::{ALWAYS, Period, period_at, zone};
use super::record::Used;
use super::types::{Budget, BudgetView};
use crate::base::amount::Msat;

/// The counters of a connection.
#[derive(Clone, Debug)]
pub struct Spending {
    budget: Option<(Budget, TimeZone)>,
    period: Period,
    settled: Msat,
    held: Msat,
}

impl Default for Spending {
    fn default() -> Self {
        Self { budget: None, period: ALWAYS, settled: Msat::ZERO, held: Msat::ZERO }
    }
}

impl Spending {
    /// Counters under these rules, in the period of `now_ms`, with what was used in it before. `None`: unknown time zone.
    pub fn new(budget: Option<&Budget>, used: Used, held: Msat, now_ms: u64) -> Option<Self> {
        let Some(budget) = budget else {
            return Some(Self { settled: used.settled, held, ..Self::default() });
        };
        let zone = zone(&budget.time_zone)?;
        let mut period = period_at(now_ms.max(used.since_ms), budget.renewal, &zone);
        period.since_ms = period.since_ms.max(used.since_ms);
        Some(Self { budget: Some((budget.clone(), zone)), period, settled: used.settled, held })
    }

    /// Goes to the period of `now_ms` if the present one is over. A clock that went back changes nothing.
    pub fn turn(&mut self, now_ms: u64) {
        if now_ms < self.period.until_ms {
            return;
        }
        if let Some((budget, zone)) = &self.budget {
            self.period = period_at(now_ms, budget.renewal, zone);
            (self.settled, self.held) = (Msat::ZERO, Msat::ZERO);
        }
    }

    /// First millisecond of the present period.
    pub fn since_ms(&self) -> u64 {
        self.period.since_ms
    }

    /// What is left; `None` without a budget. Call [`Spending::turn`] first.
    pub fn left(&self) -> Option<Msat> {
        let (budget, _) = self.budget.as_ref()?;
        Some(budget.amount.saturating_sub(self.used()))
    }

    fn used(&self) -> Msat {
        self.settled.checked_add(self.held).unwrap_or(Msat::MAX)
    }

    /// What was settled in the present period.
    pub fn settled(&self) -> Used {
        Used { since_ms: self.period.since_ms, settled: self.settled }
    }

    /// Counts a hold; gives the moment that the payment belongs to from now on.
    pub fn hold(&mut self, amount: Msat, at_ms: u64) -> u64 {
        self.held = self.held.checked_add(amount).unwrap_or(Msat::MAX);
        at_ms.max(self.period.since_ms)
    }

    /// Ends a hold of a payment that belongs to `belongs_ms`, and counts what it cost, if that is in the present period.
    pub fn end(&mut self, belongs_ms: u64, held: Msat, cost: Msat) {
        if belongs_ms >= self.period.since_ms {
            self.held = self.held.saturating_sub(held);
            self.settled = self.settled.checked_add(cost).unwrap_or(Msat::MAX);
        }
    }

    /// `get_budget` at this moment; `None` without a budget. Works without [`Spending::turn`].
    pub fn view(&self, now_ms: u64) -> Option<BudgetView> {
        let mut now = self.clone();
        now.turn(now_ms);
        let (budget, _) = now.budget.as_ref()?;
        let renews_at_s = (now.period.until_ms != u64::MAX).then_some(now.period.until_ms / 1_000);
        Some(BudgetView { total: budget.amount, settled: now.settled, held: now.held, renews_at_s, renewal: budget.renewal })
    }
}

/// Compares the counter with the sum over the journal, for every connection with a budget. Words where a counter says less than was
/// spent: then budgets could be overspent. (It may say more: corrections count when they come to light.)
pub(super) fn check_counters(state: &State, rows: &dyn Rows) -> Result<Option<String>, RowsError> {
    for (id, connection) in &state.connections {
        let counted = connection.spending.settled();
        if connection.row.rules.budget.is_none() || connection.inexact_ms >= counted.since_ms.max(1) {
            continue;
        }
        let sum = rows.spent_since(*id, counted.since_ms)?;
        if sum > counted.settled {
            let words = format!(
                "connection {} has spent {sum} of its budget by its payments and {} by its counter",
                id.0, counted.settled
            );
            return Ok(Some(words));
        }
    }
    Ok(None)
}

/// The start of the period that rules give at a moment, for counting what was used in it so far.
pub fn period_start_ms(budget: Option<&Budget>, now_ms: u64) -> Option<u64> {
    match budget {
        None => Some(0),
        Some(budget) => Some(period_at(now_ms, budget.renewal, &zone(&budget.time_zone)?).since_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::Renewal;
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn msat(msat: u64) -> Msat {
        Msat::new(msat).unwrap()
    }

    fn daily(amount: u64) -> Spending {
        let budget = Budget { amount: msat(amount), renewal: Renewal::Daily, time_zone: "UTC".to_owned() };
        Spending::new(Some(&budget), Used { since_ms: 20_000 * DAY_MS, settled: Msat::ZERO }, Msat::ZERO, 20_000 * DAY_MS)
            .unwrap()
    }

    #[test]
    fn a_budget_is_whole_again_at_the_very_millisecond() {
        let mut spending = daily(100);
        let start_ms = 20_000 * DAY_MS;
        let belongs_ms = spending.hold(msat(60), start_ms + 5);
        spending.end(belongs_ms, msat(60), msat(55));
        spending.turn(start_ms + DAY_MS - 1);
        assert_eq!(spending.left(), Some(msat(45)));
        spending.turn(start_ms + DAY_MS);
        assert_eq!(spending.left(), Some(msat(100)));
    }

    #[test]
    fn a_payment_belongs_to_the_period_that_allowed_it() {
        let mut spending = daily(100);
        let start_ms = 20_000 * DAY_MS;
        let belongs_ms = spending.hold(msat(60), start_ms + 5);
        spending.turn(start_ms + DAY_MS);
        assert_eq!(spending.left(), Some(msat(100)));
        spending.end(belongs_ms, msat(60), msat(60));
        assert_eq!(spending.view(start_ms + DAY_MS).unwrap().used(), Msat::ZERO);
    }

    #[test]
    fn a_clock_that_goes_back_renews_nothing_and_frees_nothing() {
        let mut spending = daily(100);
        let start_ms = 20_000 * DAY_MS;
        spending.turn(start_ms - 3 * DAY_MS);
        let belongs_ms = spending.hold(msat(60), start_ms - 3 * DAY_MS);
        assert_eq!(spending.left(), Some(msat(40)));
        spending.end(belongs_ms, msat(60), msat(60));
        assert_eq!(spending.view(start_ms).unwrap().settled, msat(60));
    }
}
