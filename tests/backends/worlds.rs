//! The worlds of the back ends in this repository that need no Lightning node.

use std::marker::PhantomData;
use std::sync::Arc;

use hearth::base::amount::Msat;
use hearth::base::hex32::PaymentHash;
use hearth::base::secret::Secret;
use hearth::wallet::backend::grpc::address::Address;
use hearth::wallet::backend::scripted::{Act, End, Scripted};
use hearth::wallet::backend::{Backend, SendTarget, TlvRecord, bolt11, embedded, grpc};
use serde_json::json;

use crate::process::{Example, Wallet};
use crate::suite::orders::{now_s, preimage};
use crate::suite::{Then, World, ready};

/// A node key like any other.
const NODE_KEY: [u8; 32] = [0x11; 32];

/// The ledger inside hearth. It has no outside.
pub struct Embedded(Arc<dyn Backend>);

impl World for Embedded {
    async fn start() -> Self {
        Self(Arc::new(embedded::Embedded::new(&Secret::new(NODE_KEY), &embedded::Config::default()).unwrap()))
    }

    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.0)
    }

    async fn reopen(&mut self) {
        *self = Self::start().await;
    }

    async fn restart(&mut self) {}

    async fn outside_invoice(&mut self, _: Option<Msat>, _: Then) -> String {
        panic!("there is no outside")
    }

    async fn outside_node(&mut self) -> String {
        panic!("there is no outside")
    }

    async fn received(&mut self, _: PaymentHash) -> (Msat, Vec<TlvRecord>) {
        panic!("there is no outside")
    }

    async fn take(&mut self, _: PaymentHash) {
        panic!("there is no outside")
    }

    async fn refuse(&mut self, _: PaymentHash) {
        panic!("there is no outside")
    }

    async fn pay(&mut self, _: &str, _: Msat) -> Result<(), String> {
        Err("there is no outside".to_owned())
    }
}

/// The back end that does what it is told. It outlives "hearth", as a wallet does.
pub struct ScriptedWorld(Arc<Scripted>);

impl World for ScriptedWorld {
    async fn start() -> Self {
        Self(Arc::new(Scripted::new(NODE_KEY).unwrap()))
    }

    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.0) as _
    }

    async fn reopen(&mut self) {}

    async fn restart(&mut self) {
        self.0.set_away(Some("killed"));
        assert!(self.0.ready().is_err());
        self.0.set_away(None);
    }

    async fn outside_invoice(&mut self, amount: Option<Msat>, then: Then) -> String {
        let preimage = preimage();
        let act = match then {
            Then::Take => Act::Settle(Msat::new(100).unwrap()),
            Then::Refuse => Act::Fail("refused".to_owned()),
            Then::Wait => Act::Unknown("in transition".to_owned()),
        };
        self.0.on_hash(preimage.hash(), act);
        self.0.outside_invoice(amount, preimage, 3_600, now_s()).unwrap()
    }

    async fn outside_node(&mut self) -> String {
        self.0.info().pubkey
    }

    async fn received(&mut self, hash: PaymentHash) -> (Msat, Vec<TlvRecord>) {
        let order = self.0.orders().into_iter().find(|order| order.hash == hash).unwrap();
        let SendTarget::Keysend { records, .. } = order.target else { panic!("an invoice") };
        (order.amount, records)
    }

    async fn take(&mut self, hash: PaymentHash) {
        assert!(self.0.release(&hash, End::Settle(Msat::ZERO)));
    }

    async fn refuse(&mut self, hash: PaymentHash) {
        assert!(self.0.release(&hash, End::Fail("refused".to_owned())));
    }

    async fn pay(&mut self, bolt11: &str, amount: Msat) -> Result<(), String> {
        self.0.pay_in(&bolt11::decode(bolt11).unwrap().hash, amount)
    }
}

/// A wallet as a process of its own.
pub struct Grpc<E> {
    wallet: Wallet,
    backend: Arc<dyn Backend>,
    example: PhantomData<E>,
}

/// A back end for a wallet's process.
pub async fn open(wallet: &Wallet) -> Arc<dyn Backend> {
    let config = grpc::Config::new(Address::parse(&wallet.address()).unwrap());
    Arc::new(grpc::Grpc::open(config, Some(wallet.folder())).await.unwrap())
}

impl<E: Example> Grpc<E> {
    fn neighbour(&self, what: &str, hash: PaymentHash) {
        self.wallet.ask(&json!({"do": what, "hash": hash})).unwrap();
    }
}

impl<E: Example> World for Grpc<E> {
    async fn start() -> Self {
        let wallet = Wallet::start::<E>();
        let backend = open(&wallet).await;
        Self { wallet, backend, example: PhantomData }
    }

    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend)
    }

    fn balance_is_exact(&self) -> bool {
        true
    }

    async fn reopen(&mut self) {
        self.backend = open(&self.wallet).await;
    }

    async fn restart(&mut self) {
        self.wallet.kill();
        // Noticed, not only survived.
        let deadline = tokio::time::Instant::now() + crate::suite::PATIENCE;
        while self.backend.ready().is_ok() {
            assert!(tokio::time::Instant::now() < deadline, "nobody noticed that the wallet is gone");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        self.wallet.launch();
        ready(&self.backend).await;
    }

    async fn outside_invoice(&mut self, amount: Option<Msat>, then: Then) -> String {
        let then = match then {
            Then::Take => "settle",
            Then::Refuse => "refuse",
            Then::Wait => "wait",
        };
        self.wallet.invoice(amount.map(Msat::get), then).0
    }

    async fn outside_node(&mut self) -> String {
        self.wallet.ask(&json!({"do": "node"})).unwrap()["pubkey"].as_str().unwrap().to_owned()
    }

    async fn received(&mut self, hash: PaymentHash) -> (Msat, Vec<TlvRecord>) {
        let said = self.wallet.ask(&json!({"do": "received", "hash": hash})).unwrap();
        let record = |record: &serde_json::Value| TlvRecord {
            kind: record[0].as_u64().unwrap(),
            value: const_hex::decode(record[1].as_str().unwrap()).unwrap(),
        };
        let records = said["records"].as_array().unwrap().iter().map(record).collect();
        (Msat::new(said["amount_msat"].as_u64().unwrap()).unwrap(), records)
    }

    async fn take(&mut self, hash: PaymentHash) {
        self.neighbour("take", hash);
    }

    async fn refuse(&mut self, hash: PaymentHash) {
        self.neighbour("refuse", hash);
    }

    async fn pay(&mut self, bolt11: &str, amount: Msat) -> Result<(), String> {
        self.wallet.ask(&json!({"do": "pay", "invoice": bolt11, "amount_msat": amount.get()})).map(drop)
    }
}
