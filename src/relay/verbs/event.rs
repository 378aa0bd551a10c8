//! `["EVENT", event]`: the way of the event is in `ingest`; every event gets one `OK`.

use crate::protocol::event::Draft;
use crate::protocol::reason::{Reason, Verdict};
use crate::relay::ingest::{self, Sender};
use crate::relay::session::Session;
use crate::relay::stats::Verb;

pub(in crate::relay) fn run(session: &mut Session, draft: Draft<'_>) {
    session.relay.counters.message(Verb::Event);
    let reply = session.reply(draft.id);
    if session.relay.policy.rules().login_to_write || draft.has_tag("-") {
        session.offer_login();
    }
    let Some(login) = &session.login else {
        return reply.send(Verdict::Refused(Reason::error("the connection is closing")));
    };
    let author = draft.pubkey;
    if ingest::submit(&session.relay, &Sender { login, rates: &session.rates }, draft, reply) {
        session.wrote_as(author);
    }
}
