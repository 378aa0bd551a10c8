//! The shell around the payment core: one thread that owns all money state, and what others may do to reach it.

mod aside;
mod callers;
mod effects;
mod floor;
mod history;
mod read;
mod view;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, unbounded};
use parking_lot::Mutex;

use super::OpenError;
use super::journal::Shelf;
use super::payment::{Limits, RequestRow, RowsError};
use super::record::Word;
use super::rows;
use super::types::{
    AccountId, AnswerSigner, ConnectionId, ConnectionRow, ErrorCode, Held, InvoiceOrder, KnownAnswer, ListQuery, On, OwnerError,
    Page, PayOrder, PayReply, PayTarget, Preimage, Reconciled, Refusal, RequestKey, RequestRef, Selector, Settled, Transaction,
    Viewer,
};
use crate::base::amount::Msat;
use crate::base::clock::Clock;
use crate::base::hex32::PaymentHash;
use crate::base::secret::Secret;
use crate::kv;
use crate::protocol::event::Event;
use crate::wallet::backend::bolt11::{Decoded, decode};
use crate::wallet::backend::{
    Ack, Backend, BackendError, Capabilities, Incoming, Info, LookupResult, MadeInvoice, Outgoing, SendResult, SignedMessage,
};
use read::Eyes;
use view::View;
use worker::Worker;

/// What the money room is made of.
pub struct Parts {
    /// Its directory (`data/wallet`).
    pub dir: PathBuf,
    /// Sizes of its database.
    pub database: kv::Config,
    /// Bounds and prices.
    pub limits: Limits,
    /// Most wishes that may wait for the thread; more are told that it is busy.
    pub waiting_max: usize,
    /// Preimages of invoices follow from it.
    pub seed: Secret<[u8; 32]>,
    /// What time it is.
    pub clock: Clock,
    /// Makes and delivers answers.
    pub signer: Arc<dyn AnswerSigner>,
    /// Pays.
    pub backend: Arc<dyn Backend>,
    /// Called once, with words, when the journal could not be written: the process must end with exit code 74.
    pub on_fatal: Box<dyn Fn(&str) + Send + Sync>,
}

/// Default of [`Parts::waiting_max`].
pub const WAITING_MAX: usize = 4_096;

/// What goes to the money thread.
pub(super) enum Command {
    Pay(PayOrder, On<PayReply>),
    MakeInvoice(InvoiceOrder, On<Result<Transaction, Refusal>>),
    CreateAccount(String, On<Result<AccountId, OwnerError>>),
    Fund(AccountId, Msat, On<Result<(), OwnerError>>),
    Transfer(AccountId, AccountId, Msat, On<Result<(), OwnerError>>),
    PutConnection(Box<ConnectionRow>, On<Result<(), OwnerError>>),
    Resume(ConnectionId, On<Result<(), OwnerError>>),
    SettleHold(RequestRef, Preimage, On<Result<(), Refusal>>),
    CancelHold(RequestRef, PaymentHash, On<Result<(), Refusal>>),
    Reconcile(On<Result<Reconciled, OwnerError>>),
}

/// What waits for the money thread: wishes, counted and bounded, and words of the back end, of which there are never more than
/// questions to it.
#[expect(clippy::large_enum_variant, reason = "nearly all are wishes; a box for each would be one more allocation a payment")]
enum Message {
    Wish(Command, Option<Result<Box<Decoded>, Refusal>>),
    HoldTold(PaymentHash, Word, Result<(), String>),
    Sent(PaymentHash, u64, SendResult),
    /// Hash, attempt, and when it was asked by the steady clock, ms.
    Looked(PaymentHash, u64, u64, LookupResult),
    InvoiceMade(RequestKey, Result<MadeInvoice, String>),
    Incoming(Incoming, Ack),
    /// The back end has carried out an order that the journal does not know.
    Stray(Outgoing, Ack),
    Close,
}

/// Shared by the handle and the thread.
struct Shared {
    view: View,
    waiting: AtomicUsize,
    /// The journal could not be written, or the room was closed.
    is_shut: AtomicBool,
}

/// The money room.
pub(super) struct Room {
    shared: Arc<Shared>,
    queue: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    shelf: Shelf,
    backend: Arc<dyn Backend>,
    clock: Clock,
    waiting_max: usize,
    limits: Limits,
}

impl Room {
    pub(super) fn open(parts: Parts) -> Result<Self, OpenError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "wishes are counted against waiting_max; the back end's words answer questions, and must never block its \
                      threads or this one"
        )]
        let (queue, inbox) = unbounded();
        let shared = Arc::new(Shared { view: View::new(), waiting: AtomicUsize::new(0), is_shut: AtomicBool::new(false) });
        let (clock, backend, waiting_max) = (parts.clock.clone(), Arc::clone(&parts.backend), parts.waiting_max);
        let limits = parts.limits.clone();
        let mut worker = Worker::open(parts, Arc::clone(&shared), queue.clone(), inbox)?;
        let shelf = worker.shelf();
        worker.recover()?;
        let thread = std::thread::Builder::new().name("money".to_owned()).spawn(move || worker.run())?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { shared, queue, thread, shelf, backend, clock, waiting_max, limits })
    }

    pub(super) fn view(&self) -> &View {
        &self.shared.view
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    pub(super) fn backend_info(&self) -> Info {
        self.backend.info()
    }

    /// Puts a wish into the waiting room; an invoice is read here, on the caller's thread.
    pub(super) fn submit(&self, command: Command) {
        if self.shared.is_shut.load(Ordering::Acquire) {
            return command.fail();
        }
        if self.shared.waiting.fetch_add(1, Ordering::AcqRel) >= self.waiting_max {
            self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
            return command.turn_away();
        }
        let invoice = match &command {
            Command::Pay(order, _) => self.read_invoice(order),
            _ => None,
        };
        if let Err(error) = self.queue.send(Message::Wish(command, invoice))
            && let Message::Wish(command, _) = error.0
        {
            command.fail();
        }
    }

    fn read_invoice(&self, order: &PayOrder) -> Option<Result<Box<Decoded>, Refusal>> {
        let PayTarget::Invoice { bolt11, .. } = &order.target else { return None };
        if let Some(ours) = self.view().invoice(bolt11) {
            return Some(Ok(Box::new(ours)));
        }
        Some(decode(bolt11).map(Box::new).map_err(|error| Refusal::new(ErrorCode::Other, error.to_string())))
    }

    pub(super) fn backend_ready(&self) -> Result<(), BackendError> {
        self.backend.ready()
    }

    pub(super) fn backend_name(&self) -> &'static str {
        self.backend.name()
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    pub(super) fn sign_message(&self, message: String, on: On<Result<SignedMessage, Refusal>>) {
        if !self.backend.capabilities().sign_message {
            return on(Err(Refusal::new(ErrorCode::NotImplemented, "the wallet behind this hearth cannot sign messages")));
        }
        let done = |signed: Result<_, BackendError>| {
            on(signed.map_err(|error| Refusal::new(ErrorCode::Internal, format!("nothing was signed: {error}"))));
        };
        self.backend.sign_message(message, Box::new(done));
    }

    pub(super) fn settled_since(&self, since_s: u64) -> Result<Vec<Settled>, RowsError> {
        history::settled_since(&self.shelf, since_s)
    }

    pub(super) fn held_since(&self, since_s: u64) -> Result<Vec<Held>, RowsError> {
        history::held_since(&self.shelf, since_s)
    }

    pub(super) fn export(&self, account: Option<AccountId>, each: &mut dyn FnMut(Transaction) -> bool) -> Result<(), RowsError> {
        history::export(&self.shelf, account, self.clock.now_s(), each)
    }

    pub(super) fn lookup(&self, viewer: Viewer, selector: &Selector) -> Result<Option<Transaction>, RowsError> {
        match self.eyes(viewer) {
            Some(eyes) => read::lookup(&self.shelf, eyes, selector, self.clock.now_s()),
            None => Ok(None),
        }
    }

    pub(super) fn fee_reserve(&self, amount: Msat) -> Msat {
        self.limits.fee_reserve(amount)
    }

    pub(super) fn stored_answer(&self, key: &RequestKey) -> Result<Option<KnownAnswer>, RowsError> {
        Ok(match rows::request(&self.shelf, key)? {
            Some(RequestRow::Paying) => Some(KnownAnswer::Pending),
            // One whose answer could not be made was taken up all the same.
            Some(RequestRow::Answered(_, event)) => {
                Some(Event::from_bytes(&event).map_or(KnownAnswer::Pending, KnownAnswer::Answered))
            }
            Some(RequestRow::Invoice(_)) | None => None,
        })
    }

    pub(super) fn list(&self, viewer: Viewer, query: &ListQuery) -> Result<Page, RowsError> {
        match self.eyes(viewer) {
            Some(eyes) => read::list(&self.shelf, eyes, query, self.clock.now_s()),
            None => Ok(Page::default()),
        }
    }

    fn eyes(&self, viewer: Viewer) -> Option<Eyes> {
        let account = match viewer {
            Viewer::Connection(id) => Some(self.view().account_of(id)?),
            Viewer::Account(id) => Some(id),
            Viewer::Owner => None,
        };
        Some(Eyes { viewer, account })
    }

    pub(super) fn close(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            self.shared.is_shut.store(true, Ordering::Release);
            // The thread may have ended already, after a failed write.
            let _ = self.queue.send(Message::Close);
            // The last handle may be dropped by a callback, on the money thread itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.close();
    }
}

impl Command {
    /// The journal cannot be written, or the room is closed.
    fn fail(self) {
        match self {
            Self::Pay(_, on) => on(PayReply::Failed),
            Self::MakeInvoice(_, on) => {
                on(Err(Refusal::new(ErrorCode::Internal, "the wallet's journal cannot be written; no invoice was made")));
            }
            Self::CreateAccount(_, on) => on(Err(OwnerError::Failed)),
            Self::Fund(_, _, on) | Self::Transfer(_, _, _, on) | Self::PutConnection(_, on) | Self::Resume(_, on) => {
                on(Err(OwnerError::Failed))
            }
            Self::SettleHold(_, _, on) | Self::CancelHold(_, _, on) => {
                on(Err(Refusal::new(ErrorCode::Internal, "the wallet's journal cannot be written; nothing was moved")));
            }
            Self::Reconcile(on) => on(Err(OwnerError::Failed)),
        }
    }

    /// The waiting room is full.
    fn turn_away(self) {
        let busy = || Refusal::new(ErrorCode::RateLimited, "the wallet is busy; try again in a second");
        match self {
            Self::Pay(_, on) => on(PayReply::Refused(busy())),
            Self::MakeInvoice(_, on) => on(Err(busy())),
            Self::CreateAccount(_, on) => on(Err(OwnerError::Busy)),
            Self::Fund(_, _, on) | Self::Transfer(_, _, _, on) | Self::PutConnection(_, on) | Self::Resume(_, on) => {
                on(Err(OwnerError::Busy))
            }
            Self::SettleHold(_, _, on) | Self::CancelHold(_, _, on) => on(Err(busy())),
            Self::Reconcile(on) => on(Err(OwnerError::Busy)),
        }
    }
}
