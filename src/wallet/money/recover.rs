//! After a start: every payment without an outcome is asked of the back end by its hash. It may never have been sent, or be paid
//! since yesterday; until the back end knows, its hold stays.
//!
//! Nothing else is to be recovered: answers stand in the journal with their outcomes, and an invoice that was being made is made
//! again, the same, when its request is repeated.

use super::payment::{Effect, State, Watch, restart_holds};
use super::record::Record;
use super::types::{AccountId, Outcome};

/// The first steps of a new journal: whose it is, and the account that is always there.
pub(super) fn first_records(state: &mut State, node: &str, now_ms: u64, out: &mut Vec<Effect>) {
    let none: Option<Outcome> = None;
    state.record(Record::Genesis { node: node.to_owned() }, none, now_ms, out);
    let main = Record::Account { id: AccountId::MAIN, name: "main".to_owned() };
    state.record(main, None, now_ms, out);
}

/// Asks about everything that is open. Doing it twice, or twenty times, changes nothing.
pub(super) fn restart(state: &mut State, now_ms: u64, out: &mut Vec<Effect>) {
    state.expire_invoices(now_ms / 1_000);
    #[cfg(test)]
    if state.has(super::planted::Bug::HoldReleasedAtRestart) {
        super::planted::let_go(state);
    }
    restart_holds(state, now_ms, out);
    for open in state.open.values_mut().filter(|open| !open.is_inside) {
        let ask_at_ms = now_ms.saturating_add(60_000);
        open.watch = Watch { recovered: true, ask_at_ms, ..Watch::default() };
        out.push(Effect::Lookup(open.question()));
    }
}
