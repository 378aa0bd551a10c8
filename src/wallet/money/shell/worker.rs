//! The money thread. One turn: take all that waits, step the core for each, commit all records once, then answer, send and
//! publish. If the commit fails nothing of what it was to write is done, everybody hears that its outcome is not known, and the process
//! ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::super::OpenError;
use super::super::budget::check_counters;
use super::super::clock::{ClockWatch, Word as ClockWord, words};
use super::super::journal::{Damage, Journal, Shelf, WriteError};
use super::super::payment::{Bill, Effect, Found, Input, OwnerWish, State, Token};
use super::super::record::{Entry, Word};
use super::super::recover;
use super::super::turn::{Pages, answers, turn};
use super::super::types::{
    AnswerSigner, ErrorCode, On, Outcome, PayOrder, PayReply, PayTarget, Preimage, Refusal, RequestKey, RequestRef,
};
use super::aside::{Aside, Window};
use super::callers::Caller;
use super::effects::{remember_answer, remember_pending};
use super::floor::Floor;
use super::{Command, Message, Parts, Shared};
use crate::base::clock::Clock;
use crate::base::secret::Secret;
use crate::protocol::event::Event;
use crate::wallet::backend::Backend;
use crate::wallet::backend::bolt11::Decoded;

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
    preimages: Secret<[u8; 32]>,
    keysends: Secret<[u8; 32]>,
    pub(super) clock: Clock,
    pub(super) signer: Arc<dyn AnswerSigner>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) on_fatal: Box<dyn Fn(&str) + Send + Sync>,
    ticked: Instant,
    floor: Floor,
    /// What is wrong with the journal.
    pub(super) damage: Option<Damage>,
    /// What waits until the wallet has left safe mode.
    pub(super) aside: Vec<Aside>,
    pub(super) window: Window,
    clock_watch: ClockWatch,
    /// What the core has not heard of the clock yet.
    clock_word: Option<ClockWord>,
}

impl Worker {
    pub(super) fn open(
        parts: Parts,
        shared: Arc<Shared>,
        queue: Sender<Message>,
        inbox: Receiver<Message>,
    ) -> Result<Self, OpenError> {
        let info = parts.backend.info();
        let can = parts.backend.capabilities();
        let floor = Floor::new(&parts.dir, parts.limits.free_bytes_min);
        let mut state = State::new(parts.limits, info.network, can.refuses_second);
        (state.can, state.node) = (can, info.pubkey.clone());
        let view = Arc::clone(&shared);
        let mut each = |entry: &Entry| remember(&view, entry);
        let found = Journal::open(&parts.dir, &parts.database, &info.pubkey, &mut state, &mut each)?;
        let mut damage = found.damage;
        if damage.is_none()
            && let Some(words) = check_counters(&state, &found.journal)?
        {
            damage = Some(Damage { words, is_broken: false, lost: Some(0) });
        }
        state.halted = damage.as_ref().map(safe_mode);
        let window = Window::new(found.journal.shelf());
        let (wall, steady) = (parts.clock.now_ms(), parts.clock.steady_ms());
        let (clock_watch, clock_word) = ClockWatch::new(wall, steady, state.latest_ms, state.frozen_at_ms.is_some());
        let mut worker = Self {
            state,
            journal: found.journal,
            shared,
            queue,
            inbox,
            callers: HashMap::new(),
            next_token: 0,
            questions: 0,
            preimages: secret(&parts.seed, b"hearth invoice preimages"),
            keysends: secret(&parts.seed, b"hearth keysend preimages"),
            clock: parts.clock,
            signer: parts.signer,
            backend: parts.backend,
            on_fatal: parts.on_fatal,
            ticked: Instant::now(),
            floor,
            damage,
            aside: Vec::new(),
            window,
            clock_watch,
            clock_word,
        };
        if found.damaged_marks > 0 {
            worker.tell_of_marks(found.damaged_marks);
        }
        worker.begin(&info.pubkey)?;
        Ok(worker)
    }

    /// The journal does not need the mark that is damaged, and writes over it; whoever owns the disk should know.
    fn tell_of_marks(&self, count: usize) {
        let words = format!(
            "{count} of the marks in ANCHOR, which say where the journal ended, are not what was written; the others are enough. Right after \
             a power cut one may be: else look after the disk, and keep a copy of the data directory"
        );
        tracing::error!(alarm = %words, "wallet alarm");
        self.shared.view.alarm(&words);
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
        self.ask_balance();
        self.state.is_disk_low = self.floor.look();
        self.shared.view.update(&mut self.state);
        self.shared.view.show_open(&self.state);
        Ok(())
    }

    pub(super) fn shelf(&self) -> Shelf {
        self.journal.shelf()
    }

    /// Asks about every payment without an outcome and waits, within reason, for what the back end knows.
    pub(super) fn recover(&mut self) -> Result<(), OpenError> {
        // Before what comes in: a back end tells both in one stream, which it begins when that has a listener.
        self.hear_of_strays();
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
            match self.set_aside(message).map(|message| self.input(message)) {
                None => {}
                Some(Some(input)) => inputs.push(input),
                Some(None) => {
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
            Message::Looked(hash, attempt, asked_ms, result) => {
                self.questions = self.questions.saturating_sub(1);
                Input::Looked { hash, attempt, asked_ms, result }
            }
            Message::InvoiceMade(key, made) => Input::InvoiceMade { key, made },
            Message::Incoming(incoming, ack) => Input::Incoming { incoming, token: self.token(Caller::Report(ack)) },
            Message::HoldTold(hash, word, result) => Input::HoldTold { hash, word, result },
            // Set aside before it comes here.
            Message::Stray(..) => Input::Tick,
            Message::Close => return None,
        })
    }

    fn wish(&mut self, command: Command, invoice: Option<Result<Box<Decoded>, Refusal>>) -> Input {
        let (wish, caller) = match command {
            Command::Pay(order, on) => return self.pay_wish(order, invoice, on),
            Command::MakeInvoice(order, on) => {
                let preimage = follow(&self.preimages, &order.request.key);
                return Input::MakeInvoice { order: Box::new(order), preimage, token: self.token(Caller::Invoice(on)) };
            }
            Command::CreateAccount(name, on) => (OwnerWish::CreateAccount(name), Caller::Account(on)),
            Command::Fund(account, amount, on) => (OwnerWish::Fund(account, amount), Caller::Owner(on)),
            Command::Transfer(from, to, amount, on) => (OwnerWish::Move(from, to, amount), Caller::Owner(on)),
            Command::PutConnection(row, on) => (OwnerWish::PutConnection(row), Caller::Owner(on)),
            Command::Resume(connection, on) => (OwnerWish::Resume(connection), Caller::Owner(on)),
            Command::Reconcile(on) => (OwnerWish::Reconcile { found: Ok(Found::default()) }, Caller::Reconcile(on)),
            Command::SettleHold(request, preimage, on) => {
                let token = self.token(Caller::Hold(on));
                return Input::Hold { request, hash: preimage.hash(), word: Word::Settle(preimage), token };
            }
            Command::CancelHold(request, hash, on) => {
                return Input::Hold { request, hash, word: Word::Cancel, token: self.token(Caller::Hold(on)) };
            }
        };
        Input::Owner { wish, token: self.token(caller) }
    }

    fn pay_wish(&mut self, order: PayOrder, invoice: Option<Result<Box<Decoded>, Refusal>>, on: On<PayReply>) -> Input {
        let token = self.token(Caller::Pay(on));
        let ready = self.backend.ready().map_err(|error| error.0);
        let bill = match (&order.target, invoice) {
            (PayTarget::Keysend { preimage, .. }, _) => {
                Ok(Bill::Keysend(preimage.unwrap_or_else(|| follow(&self.keysends, &order.request.key))))
            }
            (PayTarget::Invoice { .. }, Some(invoice)) => invoice.map(Bill::Invoice),
            (PayTarget::Invoice { .. }, None) => Err(Refusal::new(ErrorCode::Other, "the invoice was not read")),
        };
        Input::Pay { order: Box::new(order), bill, ready, token }
    }

    fn token(&mut self, caller: Caller) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.callers.insert(token, caller);
        token
    }

    /// One turn. `false`: the disk failed.
    fn turn(&mut self, mut inputs: Vec<Input>) -> bool {
        let now_ms = self.clock.now_ms();
        let is_tick = self.ticked.elapsed() >= TICK;
        if is_tick {
            self.ticked = Instant::now();
            if let Err(error) = self.journal.check() {
                return self.fail(&error.to_string());
            }
            self.state.is_disk_low = self.floor.look();
        }
        if let Err(error) = self.prepare(&mut inputs) {
            return self.fail(&error.to_string());
        }
        self.ask_balance();
        let signer = Arc::clone(&self.signer);
        let pen = move |request: &RequestRef, outcome: &Outcome, now_s| {
            signer.answer(request, outcome, now_s).map(|event| event.bytes().to_vec())
        };
        let clock = self.look_at_clock(now_ms);
        let inputs = clock.chain(inputs).chain(is_tick.then_some(Input::Tick));
        let after = match turn(&mut self.state, &mut self.journal, &pen, inputs, now_ms) {
            Ok(after) => after,
            Err(unwritten) => {
                let words = unwritten.to_string();
                self.perform(unwritten.after);
                return self.fail(&words);
            }
        };
        self.shared.view.update(&mut self.state);
        if is_tick {
            self.shared.view.show_open(&self.state);
        }
        let (signer, mut after) = (Arc::clone(&self.signer), Some(after));
        signer.together(&mut || after.take().into_iter().for_each(|after| self.perform(after)));
        self.take_up_again();
        true
    }

    /// What the node has, as far as the back end knows now. The time of its question is never taken for later than it was.
    fn ask_balance(&mut self) {
        let steady_ms = self.clock.steady_ms();
        let ago_ms = |asked: Instant| u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let said = self.backend.node_balance();
        self.state.steady_ms = steady_ms;
        self.state.set_node_balance(said.map(|said| (said.amount, steady_ms.saturating_sub(ago_ms(said.asked)))));
    }

    /// What the core has to hear of the clock. Looked at in every turn, so at least twice a second.
    fn look_at_clock(&mut self, now_ms: u64) -> impl Iterator<Item = Input> + use<> {
        let word = self.clock_watch.look(now_ms, self.clock.steady_ms());
        let heard: Vec<ClockWord> = words(&mut self.clock_word, word).collect();
        heard.into_iter().map(Input::from)
    }

    /// A wish to leave safe mode needs to know what is wrong with the journal, and rows that can be relied upon.
    fn prepare(&mut self, inputs: &mut [Input]) -> Result<(), WriteError> {
        for input in inputs {
            let Input::Owner { wish: OwnerWish::Reconcile { found }, .. } = input else { continue };
            if self.state.halted.is_none() {
                continue;
            }
            *found = self.lead_out()?;
        }
        Ok(())
    }

    /// What the journal has lost may be known to the back end as acknowledged: it reports from the beginning, and what it tells comes
    /// after this turn. That stands before the record does, so that a crash in between loses nothing.
    fn lead_out(&mut self) -> Result<Result<Found, String>, WriteError> {
        let Some(lost) = self.damage.as_ref().filter(|damage| !damage.is_broken).map(|damage| damage.lost) else {
            return Ok(Err(self.no_way_out()));
        };
        if let Err(error) = self.backend.report_from_beginning() {
            let words =
                format!("the back end cannot be asked for everything that came in: {error}. The wallet stays in safe mode");
            return Ok(Err(words));
        }
        self.journal.begin_anew()?;
        self.damage = None;
        Ok(Ok(Found { lost, strays: self.strays() }))
    }

    fn no_way_out(&self) -> String {
        match &self.damage {
            Some(damage) => format!(
                "{}: nothing can be built on such a journal. Put back a whole copy of the data directory, start hearth and \
                 reconcile that",
                damage.words
            ),
            None => "a rule was broken while hearth ran; start it again, so that the journal is read anew".to_owned(),
        }
    }

    /// The room is closed: what could be done was done.
    fn finish(&mut self) {
        if let Err(error) = self.journal.flush() {
            tracing::warn!(%error, "the wallet's database was not flushed; the next start reads its log");
        }
    }
}

pub(super) fn safe_mode(damage: &Damage) -> String {
    let what = if damage.is_broken {
        "put back a whole copy of it"
    } else {
        "if it is the right one, `hearth wallet reconcile` makes it count from here on"
    };
    format!("{}. Nothing is paid and nothing is written. Keep a copy of the data directory; {what}", damage.words)
}

/// The same request has the same preimage, before a crash and after.
fn follow(secret: &Secret<[u8; 32]>, key: &RequestKey) -> Preimage {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(secret.expose())
        .unwrap_or_else(|_| <Hmac<Sha256> as Mac>::new(&Default::default()));
    mac.update(&key.event.0);
    mac.update(&key.item.to_be_bytes());
    Preimage(mac.finalize().into_bytes().into())
}

/// The secret from which preimages of one kind follow.
fn secret(seed: &Secret<[u8; 32]>, label: &[u8]) -> Secret<[u8; 32]> {
    let mut secret = [0; 32];
    // 32 bytes are a possible length for HKDF-SHA256; it cannot refuse.
    let _ = Hkdf::<Sha256>::new(None, seed.expose()).expand(label, &mut secret);
    Secret::new(secret)
}

/// What a journal says of requests, for quick repeats.
fn remember(shared: &Shared, entry: &Entry) {
    remember_pending(shared, entry);
    for answered in answers(&entry.record) {
        if let Some(event) = Event::from_bytes(&answered.event) {
            remember_answer(shared, &answered.request, &event);
        }
    }
}
