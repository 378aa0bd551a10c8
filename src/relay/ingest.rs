//! The way of an event: cheap rules, id, known already, claimed, rate, lists and login, signature, its author's rate; then to whom it
//! belongs.
//!
//! Each step costs more than the one before, and what is refused early costs nothing later: a duplicate, a stranger's message
//! for a claimed key and everything that breaks a rule never cost a signature check.

use super::Relay;
use super::intake::Claim;
use super::reply::Reply;
use super::storage::Appended;
use crate::live::recent::Recent;
use crate::policy::admission;
use crate::policy::login::Login;
use crate::policy::rate::{ConnectionRates, event_weight};
use crate::protocol::event::{Draft, Event};
use crate::protocol::kind::{self, Class};
use crate::protocol::reason::{Prefix, Reason, Verdict};

/// Who sent it.
pub(super) struct Sender<'a> {
    pub(super) login: &'a Login,
    pub(super) rates: &'a ConnectionRates,
}

/// Takes an event from a client. `reply` gets its verdict, now or when it is on disk. True: the intake has it, so the client holds the
/// key of its author.
pub(super) fn submit(relay: &Relay, sender: &Sender<'_>, draft: Draft<'_>, reply: Reply) -> bool {
    let examined = examine(relay, sender, &draft);
    let is_claimed = matches!(examined, Ok(Examined::Claimed(_)));
    match examined {
        Ok(Examined::Known) => reply.send(already_here()),
        Ok(Examined::Claimed(event)) => relay.intake.take(draft, event, reply),
        Ok(Examined::Ordinary(event)) => place(relay, event, reply),
        Err(reason) => reply.send(Verdict::Refused(reason)),
    }
    is_claimed
}

enum Examined {
    Known,
    Claimed(Event),
    Ordinary(Event),
}

fn examine(relay: &Relay, sender: &Sender<'_>, draft: &Draft<'_>) -> Result<Examined, Reason> {
    let policy = &relay.policy;
    admission::check_event(draft, policy.limits(), relay.clock.now_s())?;
    let event = draft.pack(&policy.limits().event)?;
    if is_known(relay, &event) {
        return Ok(Examined::Known);
    }
    let claim = relay.intake.claim(draft);
    let weight = event_weight(draft);
    policy.rates().take_event(sender.rates, weight)?;
    let is_claimed = match claim {
        Claim::NotMine => false,
        Claim::Take => true,
        Claim::Refuse(reason) => return Err(reason),
    };
    // A claimed event is the intake's to admit: the relay's lists and logins are about what is published here.
    if is_claimed {
        policy.rules().check_denied(&draft.pubkey)?;
    } else {
        policy.rules().check_write(draft, sender.login)?;
        admission::check_protected(draft, sender.login)?;
    }
    relay.counters.signature_check();
    if let Err(reason) = relay.verifier.verify(&draft.id, &draft.pubkey, &draft.sig) {
        policy.rates().take_bad_signature(sender.rates);
        return Err(reason);
    }
    // Only now: a wrong signature must not use up what the key that it names may send.
    policy.rates().take_author(&draft.pubkey, weight)?;
    Ok(if is_claimed { Examined::Claimed(event) } else { Examined::Ordinary(event) })
}

fn is_known(relay: &Relay, event: &Event) -> bool {
    match kind::class(event.kind()) {
        Class::Ephemeral => Recent::remembers(event.kind()) && relay.live.recent().has(&event.id()),
        Class::Regular | Class::Replaceable | Class::Addressable => relay.store.has(&event.id()),
    }
}

fn already_here() -> Verdict {
    Verdict::AcceptedWith(Reason::duplicate("already have this event"))
}

/// Gives an event whose signature is good to the store, or, if it is ephemeral, to whoever listens.
pub(super) fn place(relay: &Relay, event: Event, reply: Reply) {
    if kind::class(event.kind()) == Class::Ephemeral {
        reply.send(pass_on(relay, &event));
    } else {
        relay.store.append(event, Box::new(move |appended| reply.send(verdict(appended))));
    }
}

/// Kept before it is published: whoever subscribes in between finds it in one place or the other.
fn pass_on(relay: &Relay, event: &Event) -> Verdict {
    let is_kept = Recent::remembers(event.kind());
    if is_kept && !relay.live.recent().keep(event) {
        return already_here();
    }
    let receivers = relay.live.publish_ephemeral(event);
    if receivers == 0 && !is_kept {
        return Verdict::AcceptedWith(Reason::new(Prefix::Mute, "nobody is listening"));
    }
    Verdict::Accepted
}

fn verdict(appended: Appended) -> Verdict {
    match appended {
        Appended::Stored { .. } => Verdict::Accepted,
        Appended::Duplicate => already_here(),
        Appended::Superseded => Verdict::AcceptedWith(Reason::duplicate("a newer version is here")),
        Appended::Deleted => Verdict::Refused(Reason::blocked("its author has deleted this event")),
        Appended::Expired => Verdict::Refused(Reason::invalid("expired")),
        Appended::Busy => Verdict::Refused(Reason::error("too busy to store this now, send it again")),
        Appended::NoRoom => {
            Verdict::Refused(Reason::error("the disk is almost full, nothing is stored until its owner makes room"))
        }
        Appended::Failed => Verdict::Refused(Reason::error("could not store the event")),
    }
}
