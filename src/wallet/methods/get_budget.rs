//! `get_budget` (de facto, nips#1504): what the connection's budget is and what of it is used. `{}` where it has none.

use serde::Serialize;

use super::Desk;
use crate::base::amount::Msat;

/// The result.
#[derive(Serialize, Debug, Default)]
pub struct Budget {
    #[serde(skip_serializing_if = "Option::is_none")]
    used_budget: Option<Msat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_budget: Option<Msat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renews_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renewal_period: Option<&'static str>,
}

/// Answers.
pub fn run(desk: &Desk<'_>) -> Budget {
    desk.money.budget(desk.asker.id).map_or_else(Budget::default, |view| Budget {
        used_budget: Some(view.used()),
        total_budget: Some(view.total),
        renews_at: view.renews_at_s,
        renewal_period: Some(view.renewal.as_str()),
    })
}
