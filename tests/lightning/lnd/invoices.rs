//! Payments in, as LND keeps them: invoices with an `add_index`, a `settle_index`, and four states.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hearth::wallet::backend::lnd::messages::{
    AddHoldInvoiceRequest, AddHoldInvoiceResponse, AddInvoiceResponse, CancelInvoiceRequest, Empty, Invoice, InvoiceHtlc,
    InvoiceState, InvoiceSubscription, ListInvoicesRequest, ListInvoicesResponse, PaymentHashRequest, SettleInvoiceRequest,
    SubscribeSingleInvoiceRequest,
};
use ldk_node::Event;
use ldk_node::bitcoin::hashes::{Hash, sha256};
use ldk_node::lightning_invoice::{Bolt11InvoiceDescription, Description, Sha256};
use ldk_node::lightning_types::payment::{PaymentHash, PaymentPreimage};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::wire::Updates;
use super::{Inner, hash32};

/// Updates that wait for one subscriber.
const UPDATES_MAX: usize = 10_000;

/// All invoices of the node.
pub(super) struct Invoices {
    all: Vec<Invoice>,
    at: HashMap<[u8; 32], usize>,
    settled: u64,
    changes: broadcast::Sender<Invoice>,
}

impl Invoices {
    pub(super) fn new() -> Self {
        Self { all: Vec::new(), at: HashMap::new(), settled: 0, changes: broadcast::channel(UPDATES_MAX).0 }
    }

    fn get(&self, hash: &[u8; 32]) -> Result<&Invoice, Status> {
        self.at.get(hash).map(|at| &self.all[*at]).ok_or_else(|| Status::not_found("unable to locate invoice"))
    }

    fn add(&mut self, hash: [u8; 32], mut invoice: Invoice) -> u64 {
        invoice.add_index = u64::try_from(self.all.len()).unwrap() + 1;
        invoice.creation_date = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        self.at.insert(hash, self.all.len());
        self.all.push(invoice.clone());
        let _ = self.changes.send(invoice.clone());
        invoice.add_index
    }

    fn learn(&mut self, hash: &[u8; 32], preimage: &[u8; 32]) {
        if let Some(at) = self.at.get(hash) {
            self.all[*at].r_preimage = preimage.to_vec();
        }
    }

    /// Changes one and tells it.
    fn change(&mut self, hash: &[u8; 32], state: InvoiceState, change: impl FnOnce(&mut Invoice)) {
        let Some(at) = self.at.get(hash).copied() else { return };
        let invoice = &mut self.all[at];
        if invoice.state() == state {
            return;
        }
        invoice.set_state(state);
        if state == InvoiceState::Settled {
            self.settled += 1;
            invoice.settle_index = self.settled;
        }
        change(invoice);
        let _ = self.changes.send(invoice.clone());
    }
}

/// Watches the real node: what arrives is taken at once if the preimage is known, and held otherwise.
pub(super) async fn watch(inner: Arc<Inner>) {
    let mut events = inner.events.subscribe();
    while let Ok(event) = events.recv().await {
        match event {
            Event::PaymentClaimable { payment_hash, claimable_amount_msat, claim_deadline, .. } => {
                inner.arrived(payment_hash, claimable_amount_msat, claim_deadline);
            }
            Event::PaymentReceived { payment_hash, amount_msat, .. } => {
                let paid = i64::try_from(amount_msat).unwrap();
                let mut invoices = inner.invoices.lock().unwrap();
                invoices.change(&payment_hash.0, InvoiceState::Settled, |invoice| {
                    invoice.amt_paid_msat = paid;
                    invoice.htlcs.iter_mut().for_each(|htlc| htlc.state = 1);
                });
            }
            _ => {}
        }
    }
}

impl Inner {
    fn arrived(&self, hash: PaymentHash, amt_msat: u64, deadline: Option<u32>) {
        let Ok(invoice) = self.invoices.lock().unwrap().get(&hash.0).cloned() else { return };
        match <[u8; 32]>::try_from(invoice.r_preimage.as_slice()) {
            Ok(preimage) if invoice.state() == InvoiceState::Open => {
                self.node.bolt11_payment().claim_for_hash(hash, amt_msat, PaymentPreimage(preimage)).unwrap();
            }
            Err(_) if invoice.state() == InvoiceState::Open => {
                let expiry_height = deadline.map_or(0, |height| i32::try_from(height).unwrap());
                let htlc = InvoiceHtlc { amt_msat, expiry_height, state: 0, ..InvoiceHtlc::default() };
                let mut invoices = self.invoices.lock().unwrap();
                invoices.change(&hash.0, InvoiceState::Accepted, |invoice| invoice.htlcs.push(htlc));
            }
            _ => self.node.bolt11_payment().fail_for_hash(hash).unwrap(),
        }
    }

    fn make(&self, hash: [u8; 32], invoice: &Invoice) -> Result<String, Status> {
        if self.invoices.lock().unwrap().at.contains_key(&hash) {
            return Err(Status::unknown("invoice with payment hash already exists"));
        }
        let description = match hash32(&invoice.description_hash) {
            Ok(hash) => Bolt11InvoiceDescription::Hash(Sha256(sha256::Hash::from_byte_array(hash))),
            Err(_) => Bolt11InvoiceDescription::Direct(
                Description::new(invoice.memo.clone()).map_err(|_| Status::unknown("memo too large"))?,
            ),
        };
        let expiry_s = u32::try_from(invoice.expiry).map_err(|_| Status::unknown("expiry out of range"))?;
        let payments = self.node.bolt11_payment();
        let made = match u64::try_from(invoice.value_msat) {
            Ok(0) => payments.receive_variable_amount_for_hash(&description, expiry_s, PaymentHash(hash)),
            Ok(msat) => payments.receive_for_hash(msat, &description, expiry_s, PaymentHash(hash)),
            Err(_) => return Err(Status::unknown("negative amount")),
        };
        made.map(|made| made.to_string()).map_err(|error| Status::unknown(error.to_string()))
    }

    pub(super) fn add_invoice(&self, asked: &Invoice) -> Result<AddInvoiceResponse, Status> {
        let preimage = hash32(&asked.r_preimage)?;
        let hash = sha256::Hash::hash(&preimage).to_byte_array();
        let payment_request = self.make(hash, asked)?;
        let invoice = Invoice { r_hash: hash.to_vec(), payment_request: payment_request.clone(), ..asked.clone() };
        let add_index = self.invoices.lock().unwrap().add(hash, invoice);
        Ok(AddInvoiceResponse { r_hash: hash.to_vec(), payment_request, add_index })
    }

    pub(super) fn add_hold_invoice(&self, asked: &AddHoldInvoiceRequest) -> Result<AddHoldInvoiceResponse, Status> {
        let hash = hash32(&asked.hash)?;
        let invoice = Invoice {
            memo: asked.memo.clone(),
            r_hash: asked.hash.clone(),
            description_hash: asked.description_hash.clone(),
            expiry: asked.expiry,
            value_msat: asked.value_msat,
            private: asked.private,
            ..Invoice::default()
        };
        let payment_request = self.make(hash, &invoice)?;
        self.invoices.lock().unwrap().add(hash, Invoice { payment_request: payment_request.clone(), ..invoice });
        Ok(AddHoldInvoiceResponse { payment_request })
    }

    pub(super) fn lookup_invoice(&self, asked: &PaymentHashRequest) -> Result<Invoice, Status> {
        self.invoices.lock().unwrap().get(&hash32(&asked.r_hash)?).cloned()
    }

    pub(super) fn settle_invoice(&self, asked: &SettleInvoiceRequest) -> Result<Empty, Status> {
        let preimage = hash32(&asked.preimage)?;
        let hash = sha256::Hash::hash(&preimage).to_byte_array();
        let invoice = self.invoices.lock().unwrap().get(&hash).cloned()?;
        match invoice.state() {
            InvoiceState::Open => Err(Status::unknown("invoice still open")),
            InvoiceState::Settled => Err(Status::unknown("invoice already settled")),
            InvoiceState::Canceled => Err(Status::unknown("invoice already canceled")),
            InvoiceState::Accepted => {
                let held_msat = invoice.htlcs.iter().map(|htlc| htlc.amt_msat).sum();
                self.invoices.lock().unwrap().learn(&hash, &preimage);
                let claimed = self.node.bolt11_payment().claim_for_hash(PaymentHash(hash), held_msat, PaymentPreimage(preimage));
                claimed.map(|()| Empty {}).map_err(|error| Status::unknown(error.to_string()))
            }
        }
    }

    pub(super) fn cancel_invoice(&self, asked: &CancelInvoiceRequest) -> Result<Empty, Status> {
        let hash = hash32(&asked.payment_hash)?;
        let state = self.invoices.lock().unwrap().get(&hash)?.state();
        match state {
            InvoiceState::Settled => return Err(Status::unknown("invoice already settled")),
            InvoiceState::Canceled => return Ok(Empty {}),
            InvoiceState::Accepted => {
                self.node.bolt11_payment().fail_for_hash(PaymentHash(hash)).map_err(|error| Status::unknown(error.to_string()))?
            }
            InvoiceState::Open => {}
        }
        let mut invoices = self.invoices.lock().unwrap();
        invoices.change(&hash, InvoiceState::Canceled, |invoice| invoice.htlcs.iter_mut().for_each(|htlc| htlc.state = 2));
        Ok(Empty {})
    }

    pub(super) fn list_invoices(&self, asked: &ListInvoicesRequest) -> ListInvoicesResponse {
        let since = i64::try_from(asked.creation_date_start).unwrap();
        let mut invoices = self.invoices.lock().unwrap();
        if asked.index_offset == asked.num_max_invoices {
            for hash in self.faults.lock().unwrap().settle_now() {
                invoices.change(&hash, InvoiceState::Settled, |invoice| invoice.amt_paid_msat = invoice.value_msat);
            }
        }
        let fits = |invoice: &&Invoice| {
            let is_pending = matches!(invoice.state(), InvoiceState::Open | InvoiceState::Accepted);
            invoice.add_index > asked.index_offset && invoice.creation_date >= since && (is_pending || !asked.pending_only)
        };
        let page = usize::try_from(asked.num_max_invoices).unwrap();
        let invoices: Vec<Invoice> = invoices.all.iter().filter(fits).take(page).cloned().collect();
        let last_index_offset = invoices.last().map_or(0, |invoice| invoice.add_index);
        ListInvoicesResponse { invoices, last_index_offset }
    }
}

/// New and settled invoices; those settled after an index that is not 0 are told first.
pub(super) fn subscribe(inner: &Arc<Inner>, asked: &InvoiceSubscription) -> Updates<Invoice> {
    let invoices = inner.invoices.lock().unwrap();
    let changes = invoices.changes.subscribe();
    let is_missed = |invoice: &&Invoice| asked.settle_index > 0 && invoice.settle_index > asked.settle_index;
    let mut missed: Vec<Invoice> = invoices.all.iter().filter(is_missed).cloned().collect();
    missed.sort_by_key(|invoice| invoice.settle_index);
    drop(invoices);
    stream(missed, changes, |invoice| matches!(invoice.state(), InvoiceState::Open | InvoiceState::Settled))
}

/// One invoice: its state, and every change.
pub(super) fn subscribe_single(inner: &Arc<Inner>, asked: &SubscribeSingleInvoiceRequest) -> Result<Updates<Invoice>, Status> {
    let hash = hash32(&asked.r_hash)?;
    let invoices = inner.invoices.lock().unwrap();
    let changes = invoices.changes.subscribe();
    let now = invoices.get(&hash)?.clone();
    drop(invoices);
    Ok(stream(vec![now], changes, move |invoice| invoice.r_hash == hash))
}

fn stream(
    first: Vec<Invoice>,
    mut changes: broadcast::Receiver<Invoice>,
    fits: impl Fn(&Invoice) -> bool + Send + 'static,
) -> Updates<Invoice> {
    let (say, updates) = mpsc::channel(UPDATES_MAX);
    tokio::spawn(async move {
        for invoice in first {
            if say.send(Ok(invoice)).await.is_err() {
                return;
            }
        }
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                () = say.closed() => return,
            };
            let Ok(invoice) = change else { return };
            if fits(&invoice) && say.send(Ok(invoice)).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(updates)
}
