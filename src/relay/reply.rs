//! The one `OK` that every event gets: consumed by value, and if nobody sends it, its drop does.

use std::sync::Arc;

use super::stats::Counters;
use crate::base::hex32::EventId;
use crate::live::Outbox;
use crate::protocol::reason::{Reason, Verdict};
use crate::protocol::relay_message;

/// Carries the verdict on one event to whoever sent it. Exactly one verdict arrives.
pub struct Reply {
    target: Option<Target>,
    counters: Option<Arc<Counters>>,
}

enum Target {
    Client(Arc<Outbox>, EventId),
    Call(Box<dyn FnOnce(Verdict) + Send>),
}

impl Reply {
    /// An `OK` to a client.
    pub(super) fn to_client(outbox: &Arc<Outbox>, id: EventId, counters: &Arc<Counters>) -> Self {
        Self { target: Some(Target::Client(Arc::clone(outbox), id)), counters: Some(Arc::clone(counters)) }
    }

    /// A call inside the process.
    pub fn to_call(call: Box<dyn FnOnce(Verdict) + Send>) -> Self {
        Self { target: Some(Target::Call(call)), counters: None }
    }

    /// Sends the verdict.
    pub fn send(mut self, verdict: Verdict) {
        self.deliver(verdict);
    }

    fn deliver(&mut self, verdict: Verdict) {
        if let Some(counters) = self.counters.take() {
            counters.verdict(&verdict);
        }
        match self.target.take() {
            Some(Target::Client(outbox, id)) => outbox.push_text(relay_message::ok(&id, &verdict)),
            Some(Target::Call(call)) => call(verdict),
            None => {}
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.target.is_some() {
            self.deliver(Verdict::Refused(Reason::error("the event was not processed, send it again")));
        }
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.target {
            Some(Target::Client(..)) => "Reply to a client",
            Some(Target::Call(_)) => "Reply to a call",
            None => "Reply, sent",
        })
    }
}
