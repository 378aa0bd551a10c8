//! `["CLOSE", subscription]`: ends it at once; no answer, whether there was one or not (NIP-01).

use crate::relay::session::Session;
use crate::relay::stats::Verb;

pub(in crate::relay) fn run(session: &mut Session, id: &str) {
    session.relay.counters.message(Verb::Close);
    session.end_subscription(id);
}
