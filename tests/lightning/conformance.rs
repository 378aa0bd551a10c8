//! The conformance suite of back ends over LND: node `a` pays and is paid, `b` pays invoices, `c` is the payee behind a fee.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hearth::base::amount::Msat;
use hearth::base::clock::Clock;
use hearth::base::hex32::PaymentHash;
use hearth::wallet::backend::lnd::Lnd;
use hearth::wallet::backend::{Backend, TlvRecord};
use ldk_node::Event;
use ldk_node::lightning_invoice::Bolt11Invoice;
use ldk_node::lightning_types::payment::{PaymentHash as LdkHash, PaymentPreimage};

use crate::lnd::LndServer;
use crate::node::{Row, described};
use crate::rig::{fresh, hash, row, runtime};
use crate::suite::{Then, World, conformance, ready};
use crate::support::{PATIENCE, eventually};

conformance!(lnd, LndWorld,
applies: [
    info,
    an_invoice_made_twice_has_one_hash,
    invoices_say_what_was_ordered,
    pay_with_an_amount,
    pay_without_an_amount,
    a_second_payment_of_one_hash_pays_nothing,
    failed_for_certain,
    unknown_then_settled,
    unknown_then_failed,
    never_heard_of,
    the_fee_stays_within_its_limit,
    keysend_with_records,
    an_invoice_paid_from_outside,
    reported_again_until_it_is_safe,
    reported_from_the_beginning,
    a_hold_invoice_is_settled,
    a_hold_invoice_is_canceled,
    a_hold_invoice_that_nobody_paid_is_canceled,
    a_restart_in_the_middle,
    sign_message,
],
left_out: [without_an_outside_payments_fail_for_certain]);

/// What the payee knows.
#[derive(Default)]
struct Payee {
    preimages: HashMap<[u8; 32], [u8; 32]>,
    refuses: HashSet<[u8; 32]>,
    waiting: HashMap<[u8; 32], u64>,
    received: HashMap<[u8; 32], (u64, Vec<TlvRecord>)>,
}

pub struct LndWorld {
    backend: Option<Arc<dyn Backend>>,
    server: Arc<LndServer>,
    mark: PathBuf,
    row: &'static Row,
    payee: Arc<Mutex<Payee>>,
}

/// Nodes, servers and back ends live on the runtime that all tests share; each test has one of its own besides.
async fn on_common_runtime<T, F>(work: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || drop(tell.send(runtime().block_on(work()))));
    told.await.expect("it came to its end")
}

async fn open(server: Arc<LndServer>, mark: PathBuf) -> Arc<dyn Backend> {
    on_common_runtime(move || async move {
        let lnd: Arc<dyn Backend> = Arc::new(Lnd::open(server.config(), mark, &Clock::system()).await.unwrap());
        lnd
    })
    .await
}

/// Node `c` does what it was told when a payment arrives.
async fn play_payee(row: &'static Row, payee: Arc<Mutex<Payee>>) {
    let node = &row.nodes[2];
    let mut events = node.events.subscribe();
    while let Ok(event) = events.recv().await {
        match event {
            Event::PaymentClaimable { payment_hash, claimable_amount_msat, .. } => {
                let mut payee = payee.lock().unwrap();
                if payee.refuses.contains(&payment_hash.0) {
                    node.inner.bolt11_payment().fail_for_hash(payment_hash).unwrap();
                } else {
                    payee.waiting.insert(payment_hash.0, claimable_amount_msat);
                }
            }
            Event::PaymentReceived { payment_hash, amount_msat, custom_records, .. } => {
                let record = |record: ldk_node::CustomTlvRecord| TlvRecord { kind: record.type_num, value: record.value };
                let records = custom_records.into_iter().map(record).collect();
                payee.lock().unwrap().received.insert(payment_hash.0, (amount_msat, records));
            }
            _ => {}
        }
    }
}

impl LndWorld {
    /// What waits at the payee, once it is there.
    async fn waiting(&self, hash: PaymentHash) -> u64 {
        let mut found = None;
        eventually("a payment that waits", async || {
            found = self.payee.lock().unwrap().waiting.get(&hash.0).copied();
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}

impl World for LndWorld {
    async fn start() -> Self {
        let row = on_common_runtime(row).await;
        let server = Arc::new(on_common_runtime(move || LndServer::start(&row.nodes[0])).await);
        let payee: Arc<Mutex<Payee>> = Arc::default();
        runtime().spawn(play_payee(row, Arc::clone(&payee)));
        let mark = server.file("mark");
        let backend = Some(open(Arc::clone(&server), mark.clone()).await);
        Self { backend, server, mark, row, payee }
    }

    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(self.backend.as_ref().unwrap())
    }

    async fn reopen(&mut self) {
        // Two would share a mark.
        self.backend = None;
        self.backend = Some(open(Arc::clone(&self.server), self.mark.clone()).await);
    }

    async fn restart(&mut self) {
        let server = Arc::clone(&self.server);
        on_common_runtime(move || async move { server.pause().await }).await;
        eventually("that the node is missed", async || self.backend().ready().is_err()).await;
        let server = Arc::clone(&self.server);
        on_common_runtime(move || async move { server.resume().await }).await;
        ready(&self.backend()).await;
    }

    async fn outside_invoice(&mut self, amount: Option<Msat>, then: Then) -> String {
        let node = &self.row.nodes[2];
        if then == Then::Take {
            return node.invoice(amount.map(Msat::get), "outside");
        }
        let preimage = fresh();
        let hash = hash(preimage);
        let mut payee = self.payee.lock().unwrap();
        payee.preimages.insert(hash.0, preimage);
        if then == Then::Refuse {
            payee.refuses.insert(hash.0);
        }
        let msat = amount.expect("a payee that waits names an amount").get();
        let made = node.inner.bolt11_payment().receive_for_hash(msat, &described("outside"), 3_600, LdkHash(hash.0));
        made.unwrap().to_string()
    }

    async fn outside_node(&mut self) -> String {
        self.row.nodes[2].pubkey()
    }

    async fn received(&mut self, hash: PaymentHash) -> (Msat, Vec<TlvRecord>) {
        let mut found = None;
        eventually("a payment at the payee", async || {
            found = self.payee.lock().unwrap().received.get(&hash.0).cloned();
            found.is_some()
        })
        .await;
        let (msat, records) = found.unwrap();
        (Msat::new(msat).unwrap(), records)
    }

    async fn take(&mut self, hash: PaymentHash) {
        let msat = self.waiting(hash).await;
        let preimage = PaymentPreimage(self.payee.lock().unwrap().preimages[&hash.0]);
        self.row.nodes[2].inner.bolt11_payment().claim_for_hash(LdkHash(hash.0), msat, preimage).unwrap();
    }

    async fn refuse(&mut self, hash: PaymentHash) {
        self.waiting(hash).await;
        self.row.nodes[2].inner.bolt11_payment().fail_for_hash(LdkHash(hash.0)).unwrap();
    }

    async fn pay(&mut self, bolt11: &str, _: Msat) -> Result<(), String> {
        let payer = &self.row.nodes[1];
        let invoice: Bolt11Invoice = bolt11.parse().unwrap();
        let wanted = *AsRef::<[u8; 32]>::as_ref(invoice.payment_hash());
        let mut events = payer.events.subscribe();
        payer.inner.bolt11_payment().send(&invoice, None).map_err(|error| error.to_string())?;
        // Until it has arrived, is held, or came back.
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            assert!(tokio::time::Instant::now() < until, "neither paid, nor held, nor refused");
            let event = tokio::time::timeout(std::time::Duration::from_millis(50), events.recv()).await;
            match event {
                Ok(Ok(Event::PaymentSuccessful { payment_hash, .. })) if payment_hash.0 == wanted => return Ok(()),
                Ok(Ok(Event::PaymentFailed { payment_hash: Some(failed), reason, .. })) if failed.0 == wanted => {
                    return Err(format!("{reason:?}"));
                }
                _ if self.server.is_held(&wanted) => return Ok(()),
                _ => {}
            }
        }
    }
}
