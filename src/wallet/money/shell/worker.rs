//! The money thread. One turn: take all that waits, step the core for each, commit all records once, then answer, send and
//! publish. If the commit fails nothing of the turn happens, everybody hears of it, and the process ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::super::OpenError;
use super::super::journal::{BATCH_RECORDS_MAX, Journal, Shelf};
use super::super::payment::{Effect, Input, OwnerDone, OwnerWish, Reply, State, Token, step};
use super::super::record::{Answered, Ending, Entry, Payee, Record};
use super::super::recover;
use super::super::types::{
    AccountId, AnswerSigner, Direction, ErrorCode, KnownAnswer, On, Outcome, OwnerError, PayReply, Preimage, Refusal, RequestKey,
    RequestRef, Settled, Transaction,
};
use super::{Command, Message, Parts, Shared};
use crate::base::clock::Clock;
use crate::base::hex32::PaymentHash;
use crate::base::secret::Secret;
use crate::protocol::event::Event;
use crate::wallet::backend::Backend;

/// Most wishes of one turn: bounds how long the first waits for the last.
const TURN_MAX: usize = 512;
/// How often time passes in the core.
const TICK: Duration = Duration::from_millis(500);
/// How long a start waits for the back end's first words about open payments. Those that come later are heard later.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(5);

/// Somebody who waits.
enum Caller {
    Pay(On<PayReply>),
    Invoice(On<Result<Transaction, Refusal>>),
    Account(On<Result<AccountId, OwnerError>>),
    Owner(On<Result<(), OwnerError>>),
}

impl Caller {
    fn fail(self) {
        match self {
            Self::Pay(on) => on(PayReply::Failed),
            Self::Invoice(on) => on(Err(Refusal::new(ErrorCode::Internal, "the wallet's journal could not be written"))),
            Self::Account(on) => on(Err(OwnerError::Failed)),
            Self::Owner(on) => on(Err(OwnerError::Failed)),
        }
    }

    fn tell(self, reply: Reply) {
        match (self, reply) {
            (Self::Pay(on), Reply::Pay(reply)) => on(reply),
            (Self::Invoice(on), Reply::Invoice(made)) => on(made.map(|made| *made)),
            (Self::Account(on), Reply::Owner(done)) => on(done.and_then(|done| match done {
                OwnerDone::Account(id) => Ok(id),
                OwnerDone::Done => Err(OwnerError::Failed),
            })),
            (Self::Owner(on), Reply::Owner(done)) => on(done.map(|_| ())),
            // A reply of another kind cannot be: the core answers a token with what was asked. Failing is the safe reading.
            (caller, _) => caller.fail(),
        }
    }
}

/// What is done after the commit, beside replies.
enum After {
    Effect(Effect),
    Pending(RequestKey),
    Publish(RequestRef, Event),
    Settled(Settled),
}

/// Owns all money state.
pub(super) struct Worker {
    state: State,
    journal: Journal,
    shared: Arc<Shared>,
    queue: Sender<Message>,
    inbox: Receiver<Message>,
    callers: HashMap<Token, Caller>,
    next_token: u64,
    questions: usize,
    preimages: Secret<[u8; 32]>,
    clock: Clock,
    signer: Arc<dyn AnswerSigner>,
    backend: Arc<dyn Backend>,
    on_fatal: Box<dyn Fn(&str) + Send + Sync>,
    ticked: Instant,
}

impl Worker {
    pub(super) fn open(
        parts: Parts,
        shared: Arc<Shared>,
        queue: Sender<Message>,
        inbox: Receiver<Message>,
    ) -> Result<Self, OpenError> {
        let info = parts.backend.info();
        let mut state = State::new(parts.limits, info.network, parts.backend.capabilities().refuses_second);
        let view = Arc::clone(&shared);
        let mut remember = |entry: &Entry| remember_answers(&view, entry);
        let found = Journal::open(&parts.dir, &parts.database, &info.pubkey, &mut state, &mut remember)?;
        state.halted = found.damage.map(|damage| {
            format!(
                "{damage}. Nothing is paid and nothing is written. Keep a copy of the data directory; see hearth wallet status"
            )
        });
        let mut preimages = [0; 32];
        // 32 bytes are a possible length for HKDF-SHA256; it cannot refuse.
        let _ = Hkdf::<Sha256>::new(None, parts.seed.expose()).expand(b"hearth invoice preimages", &mut preimages);
        let mut worker = Self {
            state,
            journal: found.journal,
            shared,
            queue,
            inbox,
            callers: HashMap::new(),
            next_token: 0,
            questions: 0,
            preimages: Secret::new(preimages),
            clock: parts.clock,
            signer: parts.signer,
            backend: parts.backend,
            on_fatal: parts.on_fatal,
            ticked: Instant::now(),
        };
        worker.begin(&info.pubkey)?;
        Ok(worker)
    }

    /// Brings the anchor up to date, or writes the first records of a new journal.
    fn begin(&mut self, node: &str) -> Result<(), OpenError> {
        if self.state.halted.is_none() {
            self.journal.anchor_now()?;
            if self.state.seq == 0 {
                let mut effects = Vec::new();
                recover::first_records(&mut self.state, node, self.clock.now_ms(), &mut effects);
                for effect in effects {
                    if let Effect::Append { entry, .. } = effect {
                        self.journal.append(&entry)?;
                    }
                }
                self.journal.commit()?;
            }
        } else if let Some(why) = &self.state.halted {
            tracing::error!(reason = %why, "wallet is in safe mode");
            self.shared.view.alarm(&format!("safe mode: {why}"));
        }
        self.shared.view.update(&mut self.state);
        Ok(())
    }

    pub(super) fn shelf(&self) -> Shelf {
        self.journal.shelf()
    }

    /// Asks about every payment without an outcome and waits, within reason, for what the back end knows.
    pub(super) fn recover(&mut self) {
        let queue = self.queue.clone();
        self.backend.on_incoming(Box::new(move |incoming| {
            // Fails only when the room is closed: then the back end reports again at the next start.
            let _ = queue.send(Message::Incoming(incoming));
        }));
        if self.state.halted.is_some() {
            return;
        }
        let until = Instant::now() + RECOVERY_PATIENCE;
        let mut keep_on = self.turn(vec![Input::Restart]);
        while keep_on && self.questions > 0 && Instant::now() < until {
            keep_on = match self.inbox.recv_deadline(until) {
                Ok(message) => self.take(message),
                Err(_) => return,
            };
        }
        if !self.state.open.is_empty() {
            tracing::warn!(payments = self.state.open.len(), "payments of an earlier life are still under way");
        }
    }

    /// Runs until the room is closed or the disk fails.
    pub(super) fn run(mut self) {
        loop {
            let wait = TICK.saturating_sub(self.ticked.elapsed());
            let keep_on = match self.inbox.recv_timeout(wait) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => self.turn(Vec::new()),
                Err(RecvTimeoutError::Disconnected) => false,
            };
            if !keep_on {
                break;
            }
        }
        self.shared.is_shut.store(true, Ordering::Release);
        for (_, caller) in self.callers.drain() {
            caller.fail();
        }
        while let Ok(message) = self.inbox.try_recv() {
            if let Message::Wish(command, _) = message {
                self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
                command.fail();
            }
        }
    }

    /// Takes a message and all that wait behind it. `false`: stop.
    fn take(&mut self, first: Message) -> bool {
        let mut inputs = Vec::new();
        let mut next = Some(first);
        let mut is_closing = false;
        while let Some(message) = next {
            match self.input(message) {
                Some(input) => inputs.push(input),
                None => {
                    is_closing = true;
                    break;
                }
            }
            next = if inputs.len() < TURN_MAX { self.inbox.try_recv().ok() } else { None };
        }
        let keep_on = self.turn(inputs);
        if keep_on && is_closing {
            self.finish();
        }
        keep_on && !is_closing
    }

    /// What a message is to the core; `None` closes.
    fn input(&mut self, message: Message) -> Option<Input> {
        Some(match message {
            Message::Wish(command, invoice) => {
                self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
                self.wish(command, invoice)
            }
            Message::Sent(hash, attempt, result) => Input::Sent { hash, attempt, result },
            Message::Looked(hash, attempt, result) => {
                self.questions = self.questions.saturating_sub(1);
                Input::Looked { hash, attempt, result }
            }
            Message::InvoiceMade(key, made) => Input::InvoiceMade { key, made },
            Message::Incoming(incoming) => Input::Incoming(incoming),
            Message::Close => return None,
        })
    }

    fn wish(&mut self, command: Command, invoice: Option<Result<Box<super::Decoded>, Refusal>>) -> Input {
        let (wish, caller) = match command {
            Command::Pay(order, on) => {
                let token = self.token(Caller::Pay(on));
                let ready = self.backend.ready().map_err(|error| error.0);
                let unread = || Err(Refusal::new(ErrorCode::Other, "the invoice was not read"));
                return Input::Pay { order: Box::new(order), invoice: invoice.unwrap_or_else(unread), ready, token };
            }
            Command::MakeInvoice(order, on) => {
                let preimage = self.preimage(&order.request.key);
                return Input::MakeInvoice { order: Box::new(order), preimage, token: self.token(Caller::Invoice(on)) };
            }
            Command::CreateAccount(name, on) => (OwnerWish::CreateAccount(name), Caller::Account(on)),
            Command::Fund(account, amount, on) => (OwnerWish::Fund(account, amount), Caller::Owner(on)),
            Command::Transfer(from, to, amount, on) => (OwnerWish::Move(from, to, amount), Caller::Owner(on)),
            Command::PutConnection(row, on) => (OwnerWish::PutConnection(row), Caller::Owner(on)),
            Command::Resume(connection, on) => (OwnerWish::Resume(connection), Caller::Owner(on)),
        };
        Input::Owner { wish, token: self.token(caller) }
    }

    fn token(&mut self, caller: Caller) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.callers.insert(token, caller);
        token
    }

    /// The same request has the same preimage, before a crash and after.
    fn preimage(&self, key: &RequestKey) -> Preimage {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(self.preimages.expose())
            .unwrap_or_else(|_| <Hmac<Sha256> as Mac>::new(&Default::default()));
        mac.update(&key.event.0);
        mac.update(&key.item.to_be_bytes());
        Preimage(mac.finalize().into_bytes().into())
    }

    /// One turn. `false`: the disk failed.
    fn turn(&mut self, inputs: Vec<Input>) -> bool {
        let now_ms = self.clock.now_ms();
        let mut effects = Vec::new();
        let (mut replies, mut after) = (Vec::new(), Vec::new());
        let tick = (self.ticked.elapsed() >= TICK).then_some(Input::Tick);
        if tick.is_some() {
            self.ticked = Instant::now();
        }
        for input in inputs.into_iter().chain(tick) {
            step(&mut self.state, &self.journal, input, now_ms, &mut effects);
            for effect in effects.drain(..) {
                if let Err(words) = self.stage(effect, now_ms, &mut replies, &mut after) {
                    return self.fail(&words);
                }
            }
            if self.journal.pending() >= BATCH_RECORDS_MAX && !self.commit() {
                return false;
            }
        }
        if !self.commit() {
            return false;
        }
        self.shared.view.update(&mut self.state);
        self.perform(replies, after);
        true
    }

    /// Puts a record into the batch, with its answers signed; everything else waits for the commit.
    fn stage(
        &mut self,
        effect: Effect,
        now_ms: u64,
        replies: &mut Vec<(Token, Reply)>,
        after: &mut Vec<After>,
    ) -> Result<(), String> {
        match effect {
            Effect::Append { mut entry, outcome } => {
                self.sign(&mut entry, outcome.as_ref(), now_ms / 1_000, after);
                self.journal.append(&entry).map_err(|error| error.to_string())?;
                Self::note(&entry, after);
            }
            Effect::Reply(token, reply) => replies.push((token, reply)),
            other => after.push(After::Effect(other)),
        }
        Ok(())
    }

    fn sign(&self, entry: &mut Entry, outcome: Option<&Outcome>, now_s: u64, after: &mut Vec<After>) {
        let answers: &mut [Answered] = match &mut entry.record {
            Record::Done(done) => &mut done.answers,
            Record::Answer { answered, .. } => std::slice::from_mut(answered),
            _ => return,
        };
        let Some(outcome) = outcome else { return };
        for answered in answers {
            if let Some(event) = self.signer.answer(&answered.request, outcome, now_s) {
                answered.event = event.bytes().to_vec();
                after.push(After::Publish(answered.request.clone(), event));
            }
        }
    }

    fn note(entry: &Entry, after: &mut Vec<After>) {
        match &entry.record {
            Record::Done(done) if matches!(done.ending, Ending::Settled { .. }) => {
                after.extend(done.payee.map(|payee| received(&done.hash, payee)));
                let (account, connection) = (done.account, done.connection);
                after.push(After::Settled(Settled { direction: Direction::Outgoing, account, connection, hash: done.hash }));
            }
            Record::Received { hash, payee, .. } => after.push(received(hash, *payee)),
            Record::Intent(intent) => after.push(After::Pending(intent.request.key)),
            Record::Attach { request, .. } => after.push(After::Pending(request.key)),
            _ => {}
        }
    }

    /// `true`: everything of the batch is on the disk, and anchored.
    fn commit(&mut self) -> bool {
        if self.journal.pending() == 0 {
            return true;
        }
        match self.journal.commit() {
            Ok(()) => true,
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Nothing was sent and nothing will be; the sync is not tried again.
    fn fail(&mut self, words: &str) -> bool {
        self.shared.is_shut.store(true, Ordering::Release);
        tracing::error!(error = words, "the wallet's journal could not be written");
        for (_, caller) in self.callers.drain() {
            caller.fail();
        }
        (self.on_fatal)(words);
        false
    }

    /// Replies first, then sends, then answers.
    fn perform(&mut self, replies: Vec<(Token, Reply)>, after: Vec<After>) {
        for (token, reply) in replies {
            if let Some(caller) = self.callers.remove(&token) {
                caller.tell(reply);
            }
        }
        let mut later = Vec::new();
        for after in after {
            match after {
                After::Effect(effect) => self.perform_effect(effect),
                other => later.push(other),
            }
        }
        for after in later {
            match after {
                After::Publish(request, event) => {
                    if request.key.item == 0 {
                        self.shared.view.remember(request.key.event, KnownAnswer::Answered(event.clone()));
                    }
                    self.signer.publish(&request, &event);
                }
                After::Settled(settled) => self.signer.settled(&settled),
                After::Pending(key) if key.item == 0 => self.shared.view.remember(key.event, KnownAnswer::Pending),
                After::Pending(_) | After::Effect(_) => {}
            }
        }
    }

    fn perform_effect(&mut self, effect: Effect) {
        let queue = self.queue.clone();
        // A word of the back end that comes after the room was closed is asked for again at the next start.
        match effect {
            Effect::Send(order) => {
                let (hash, attempt) = (order.hash, order.attempt);
                self.backend.send(order, Box::new(move |result| drop(queue.send(Message::Sent(hash, attempt, result)))));
            }
            Effect::Lookup { hash, attempt } => {
                self.questions += 1;
                self.backend.lookup(hash, Box::new(move |result| drop(queue.send(Message::Looked(hash, attempt, result)))));
            }
            Effect::MakeInvoice { key, order } => {
                let done = move |made: Result<_, crate::wallet::backend::BackendError>| {
                    drop(queue.send(Message::InvoiceMade(key, made.map_err(|error| error.0))));
                };
                self.backend.make_invoice(order, Box::new(done));
            }
            Effect::Republish(request, bytes) => {
                if let Some(event) = Event::from_bytes(Bytes::from(bytes)) {
                    self.signer.publish(&request, &event);
                }
            }
            Effect::Alarm(words) => {
                tracing::error!(alarm = %words, "wallet alarm");
                self.shared.view.alarm(&words);
            }
            Effect::Append { .. } | Effect::Reply(..) => {}
        }
    }

    /// The room is closed: what could be done was done.
    fn finish(&mut self) {
        if let Err(error) = self.journal.flush() {
            tracing::warn!(%error, "the wallet's database was not flushed; the next start reads its log");
        }
    }
}

fn received(hash: &PaymentHash, payee: Payee) -> After {
    After::Settled(Settled { direction: Direction::Incoming, account: payee.account, connection: payee.connection, hash: *hash })
}

/// Answers that a journal holds, for quick repeats.
fn remember_answers(shared: &Shared, entry: &Entry) {
    let answers: &[Answered] = match &entry.record {
        Record::Done(done) => &done.answers,
        Record::Answer { answered, .. } => std::slice::from_ref(answered),
        _ => return remember_pending(shared, entry),
    };
    for answered in answers.iter().filter(|answered| answered.request.key.item == 0) {
        if let Some(event) = Event::from_bytes(Bytes::copy_from_slice(&answered.event)) {
            shared.view.remember(answered.request.key.event, KnownAnswer::Answered(event));
        }
    }
}

fn remember_pending(shared: &Shared, entry: &Entry) {
    let request = match &entry.record {
        Record::Intent(intent) => &intent.request,
        Record::Attach { request, .. } => request,
        _ => return,
    };
    if request.key.item == 0 {
        shared.view.remember(request.key.event, KnownAnswer::Pending);
    }
}
