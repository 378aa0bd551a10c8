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
use super::super::journal::{Journal, Shelf, WriteError};
use super::super::payment::{Effect, Input, OwnerWish, State, Token};
use super::super::record::Entry;
use super::super::recover;
use super::super::turn::{Pages, answers, turn};
use super::super::types::{AnswerSigner, ErrorCode, Outcome, Preimage, Refusal, RequestKey, RequestRef};
use super::callers::Caller;
use super::effects::{remember_answer, remember_pending};
use super::{Command, Message, Parts, Shared};
use crate::base::clock::Clock;
use crate::base::secret::Secret;
use crate::protocol::event::Event;
use crate::wallet::backend::{Ack, Backend};

/// Most wishes of one turn: bounds how long the first waits for the last.
const TURN_MAX: usize = 512;
/// How often time passes in the core.
const TICK: Duration = Duration::from_millis(500);
/// How long a start waits for the back end's first words about open payments. Those that come later are heard later.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(5);

/// Owns all money state.
pub(super) struct Worker {
    pub(super) state: State,
    pub(super) journal: Journal,
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Sender<Message>,
    inbox: Receiver<Message>,
    pub(super) callers: HashMap<Token, Caller>,
    next_token: u64,
    pub(super) questions: usize,
    acks: Vec<Ack>,
    preimages: Secret<[u8; 32]>,
    clock: Clock,
    pub(super) signer: Arc<dyn AnswerSigner>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) on_fatal: Box<dyn Fn(&str) + Send + Sync>,
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
        let mut each = |entry: &Entry| remember(&view, entry);
        let found = Journal::open(&parts.dir, &parts.database, &info.pubkey, &mut state, &mut each)?;
        state.halted = found.damage.map(|damage| {
            format!("{damage}. Nothing is paid and nothing is written; keep a copy of the data directory before trying anything")
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
            acks: Vec::new(),
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
    pub(super) fn recover(&mut self) -> Result<(), OpenError> {
        let queue = self.queue.clone();
        self.backend.on_incoming(Box::new(move |incoming, ack| {
            // Fails only when the room is closed: then the back end reports again at the next start.
            let _ = queue.send(Message::Incoming(incoming, ack));
        }));
        if self.state.halted.is_some() {
            return Ok(());
        }
        let until = Instant::now() + RECOVERY_PATIENCE;
        let mut keep_on = self.turn(vec![Input::Restart]);
        while keep_on && self.questions > 0 {
            keep_on = match self.inbox.recv_deadline(until) {
                Ok(message) => self.take(message),
                Err(_) => break,
            };
        }
        if !self.state.open.is_empty() {
            tracing::warn!(payments = self.state.open.len(), "payments of an earlier life are still under way");
        }
        if keep_on { Ok(()) } else { Err(OpenError::Write(WriteError::Closed)) }
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
            Message::Incoming(incoming, ack) => {
                self.acks.push(ack);
                Input::Incoming(incoming)
            }
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
        let tick = (self.ticked.elapsed() >= TICK).then_some(Input::Tick);
        if tick.is_some() {
            self.ticked = Instant::now();
        }
        let signer = Arc::clone(&self.signer);
        let pen = move |request: &RequestRef, outcome: &Outcome, now_s| {
            signer.answer(request, outcome, now_s).map(|event| event.bytes().to_vec())
        };
        let inputs = inputs.into_iter().chain(tick);
        let after = match turn(&mut self.state, &mut self.journal, &pen, inputs, now_ms) {
            Ok(after) => after,
            Err(error) => return self.fail(&error.to_string()),
        };
        self.shared.view.update(&mut self.state);
        let acks = std::mem::take(&mut self.acks);
        if self.state.halted.is_none() {
            acks.into_iter().for_each(|ack| ack());
        }
        self.perform(after);
        true
    }

    /// The room is closed: what could be done was done.
    fn finish(&mut self) {
        if let Err(error) = self.journal.flush() {
            tracing::warn!(%error, "the wallet's database was not flushed; the next start reads its log");
        }
    }
}

/// What a journal says of requests, for quick repeats.
fn remember(shared: &Shared, entry: &Entry) {
    remember_pending(shared, entry);
    for answered in answers(&entry.record) {
        if let Some(event) = Event::from_bytes(Bytes::copy_from_slice(&answered.event)) {
            remember_answer(shared, &answered.request, &event);
        }
    }
}
