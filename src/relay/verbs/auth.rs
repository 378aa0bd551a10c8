//! `["AUTH", event]` (NIP-42): each good one adds its key to those of the connection. The event is never stored or sent on.

use crate::protocol::event::Draft;
use crate::protocol::reason::{Reason, Verdict};
use crate::relay::Relay;
use crate::relay::session::Session;
use crate::relay::stats::Verb;

pub(in crate::relay) fn run(session: &mut Session, draft: &Draft<'_>) {
    session.relay.counters.message(Verb::Auth);
    let reply = session.reply(draft.id);
    reply.send(match log_in(session, draft) {
        Ok(()) => Verdict::Accepted,
        Err(reason) => Verdict::Refused(reason),
    });
}

fn log_in(session: &mut Session, draft: &Draft<'_>) -> Result<(), Reason> {
    let relay: &Relay = &session.relay;
    let limits = relay.policy.limits();
    let login = session.login.as_mut().ok_or_else(|| Reason::error("the connection is closing"))?;
    login.attempt(limits, relay.clock.now_ms())?;
    login.check(draft, relay.policy.homes(), limits, relay.clock.now_s())?;
    draft.pack(&limits.event)?;
    relay.counters.signature_check();
    relay.verifier.verify(&draft.id, &draft.pubkey, &draft.sig)?;
    login.add(draft.pubkey);
    Ok(())
}
