//! A core with rows in memory and everything around it in the hands of the test.

use super::super::memory::MemoryRows;
use super::super::payment::{Bill, Effect, Input, Limits, OwnerDone, OwnerWish, Reply, State, Token, step};
use super::super::record::{Answered, Record};
use super::super::recover::first_records;
use super::super::types::*;
use crate::base::amount::Msat;
use crate::base::hex32::{Hex32, PaymentHash};
use crate::wallet::backend::bolt11::Decoded;
use crate::wallet::backend::{MadeInvoice, Network};

/// 2026-01-01T00:00:00Z.
pub(super) const START_MS: u64 = 1_767_225_600_000;
pub(super) const DAY_MS: u64 = 86_400_000;

pub(super) fn msat(msat: u64) -> Msat {
    Msat::new(msat).unwrap()
}

pub(super) fn bytes(kind: u8, number: u64) -> [u8; 32] {
    let mut bytes = [kind; 32];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    bytes
}

pub(super) fn request(connection: u32, number: u64) -> RequestRef {
    RequestRef {
        key: RequestKey { event: Hex32(bytes(0xee, number)), item: 0 },
        connection: ConnectionId(connection),
        client: Hex32(bytes(0xcc, u64::from(connection))),
        scheme: Scheme::Nip44,
        method: Method::PayInvoice,
        created_at_s: START_MS / 1_000,
        item_tag: None,
    }
}

/// The preimage of foreign invoice number so.
pub(super) fn proof(number: u64) -> Preimage {
    Preimage(bytes(0xaa, number))
}

/// An invoice of somebody else; valid for an hour after the start.
pub(super) fn foreign(number: u64, amount: Option<u64>) -> Decoded {
    Decoded {
        bolt11: format!("lnbcrt-foreign-{number}"),
        network: Network::Regtest,
        hash: proof(number).hash(),
        amount: amount.map(msat),
        expires_at_s: START_MS / 1_000 + 3_600,
        description: None,
        description_hash: None,
    }
}

pub(super) fn rules(account: u32, budget: Option<u64>) -> ConnectionRules {
    let budget =
        budget.map(|amount| Budget { amount: msat(amount), renewal: Renewal::Daily, time_zone: "Europe/Vienna".to_owned() });
    ConnectionRules { account: AccountId(account), budget, payment_max: None, active: true }
}

/// A core, its rows, and the time.
pub(super) struct Core {
    pub(super) state: State,
    pub(super) rows: MemoryRows,
    pub(super) now_ms: u64,
    token: u64,
}

impl Core {
    /// An empty journal with the account `main`.
    pub(super) fn new() -> Self {
        let state = State::new(Limits::default(), Network::Regtest, true);
        let mut core = Self { state, rows: MemoryRows::default(), now_ms: START_MS, token: 0 };
        let mut effects = Vec::new();
        first_records(&mut core.state, "node", core.now_ms, &mut effects);
        core.take(effects);
        core
    }

    /// One account per balance (from 1 on), and a connection of the same number (from 0 on) with this budget.
    pub(super) fn with(accounts: &[(u64, Option<u64>)]) -> Self {
        let mut core = Self::new();
        for (number, (balance, budget)) in (0_u32..).zip(accounts) {
            let done = core.owner(OwnerWish::CreateAccount(format!("account-{number}")));
            assert_eq!(done, Ok(OwnerDone::Account(AccountId(number + 1))));
            if *balance > 0 {
                core.owner(OwnerWish::Fund(AccountId(number + 1), msat(*balance))).unwrap();
            }
            core.connect(number, rules(number + 1, *budget));
        }
        core
    }

    pub(super) fn connect(&mut self, number: u32, rules: ConnectionRules) {
        let row = ConnectionRow { id: ConnectionId(number), rules, data: vec![1, 2, 3] };
        self.owner(OwnerWish::PutConnection(Box::new(row))).unwrap();
    }

    /// Forgets everything but the records, as a crash does after a commit.
    pub(super) fn restart(&mut self) -> Vec<Effect> {
        let mut state = State::new(self.state.limits.clone(), Network::Regtest, self.state.can.refuses_second);
        (state.can, state.node) = (self.state.can, self.state.node.clone());
        (state.node_balance, state.steady_ms) = (self.state.node_balance.clone(), self.state.steady_ms);
        for entry in self.rows.entries() {
            state.apply(entry).unwrap();
        }
        self.state = state;
        self.step(Input::Restart)
    }

    /// One step; records are in the rows, signed, when it returns.
    pub(super) fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        step(&mut self.state, &self.rows, input, self.now_ms, &mut effects);
        self.take(effects)
    }

    fn take(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        assert_eq!(self.state.ledger.sum_msat(), 0);
        effects
            .into_iter()
            .map(|effect| match effect {
                Effect::Append { mut entry, outcome } => {
                    sign(&mut entry.record, outcome.as_ref());
                    self.rows.append(entry.clone());
                    Effect::Append { entry, outcome }
                }
                other => other,
            })
            .collect()
    }

    pub(super) fn token(&mut self) -> Token {
        self.token += 1;
        Token(self.token)
    }

    pub(super) fn owner(&mut self, wish: OwnerWish) -> Result<OwnerDone, OwnerError> {
        let token = self.token();
        let effects = self.step(Input::Owner { wish, token });
        match effects.last() {
            Some(Effect::Reply(_, Reply::Owner(done))) => done.clone(),
            other => panic!("no reply: {other:?}"),
        }
    }

    /// A pay request; the effects and the reply.
    pub(super) fn pay(&mut self, request: RequestRef, invoice: Decoded, amount: Option<u64>) -> (Vec<Effect>, PayReply) {
        self.pay_order(order(request, &invoice, amount), Ok(invoice))
    }

    pub(super) fn pay_order(&mut self, order: PayOrder, invoice: Result<Decoded, Refusal>) -> (Vec<Effect>, PayReply) {
        let token = self.token();
        let bill = invoice.map(|invoice| Bill::Invoice(Box::new(invoice)));
        let input = Input::Pay { order: Box::new(order), bill, ready: Ok(()), token };
        let mut effects = self.step(input);
        match effects.pop() {
            Some(Effect::Reply(of, Reply::Pay(reply))) if of == token => (effects, reply),
            other => panic!("no reply: {other:?}"),
        }
    }

    /// An invoice made here, as a payer reads it.
    pub(super) fn invoice(&mut self, request: RequestRef, amount: Option<u64>) -> Decoded {
        let made = self.make(request, amount).unwrap();
        Decoded {
            bolt11: made.invoice.clone().unwrap(),
            network: Network::Regtest,
            hash: made.payment_hash,
            amount: amount.map(msat),
            expires_at_s: made.expires_at_s.unwrap(),
            description: None,
            description_hash: None,
        }
    }

    pub(super) fn make(&mut self, request: RequestRef, amount: Option<u64>) -> Result<Transaction, Refusal> {
        let token = self.token();
        let order = Box::new(invoice_order(request.clone(), amount));
        let preimage = Preimage(request.key.event.0);
        let mut effects = self.step(Input::MakeInvoice { order, preimage, token });
        if let Some(Effect::MakeInvoice { key, order }) = effects.first().cloned() {
            let bolt11 = format!("lnbcrt-own-{}", order.preimage.hash());
            let made = MadeInvoice { bolt11, hash: order.preimage.hash(), expires_at_s: order.now_s + order.expiry_s };
            effects = self.step(Input::InvoiceMade { key, made: Ok(made) });
        }
        match effects.pop() {
            Some(Effect::Reply(_, Reply::Invoice(made))) => made.map(|made| *made),
            other => panic!("no reply: {other:?}"),
        }
    }

    /// The stored answer of a request, as the test's signer wrote it.
    pub(super) fn answer(&self, request: &RequestRef) -> Option<String> {
        use super::super::payment::{RequestRow, Rows};
        match self.rows.request(&request.key).unwrap()? {
            RequestRow::Answered(_, event) => Some(String::from_utf8(event).unwrap()),
            _ => None,
        }
    }

    pub(super) fn spendable(&self, account: u32) -> u64 {
        self.state.ledger.spendable(AccountId(account)).unwrap().get()
    }

    pub(super) fn budget(&self, connection: u32) -> BudgetView {
        self.state.connections[&ConnectionId(connection)].spending.view(self.now_ms).unwrap()
    }

    /// Start of the present period of connection 0.
    pub(super) fn budget_start(&self) -> u64 {
        self.state.connections[&ConnectionId(0)].spending.since_ms()
    }

    pub(super) fn attempt(&self, hash: &PaymentHash) -> u64 {
        self.state.open[hash].attempt
    }
}

pub(super) fn order(request: RequestRef, invoice: &Decoded, amount: Option<u64>) -> PayOrder {
    let target = PayTarget::Invoice { bolt11: invoice.bolt11.clone(), amount: amount.map(msat) };
    PayOrder { request, target, expires_at_s: None, metadata: None }
}

pub(super) fn invoice_order(mut request: RequestRef, amount: Option<u64>) -> InvoiceOrder {
    request.method = Method::MakeInvoice;
    InvoiceOrder {
        request,
        amount: amount.map(msat),
        description: Some("bread".to_owned()),
        description_hash: None,
        expiry_s: None,
        hold: None,
        metadata: None,
    }
}

/// What an answer says, with the request's name: two requests never have the same answer.
pub(super) fn written(request: &RequestRef, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Paid { preimage, amount, fee } => format!("{} paid {amount} fee {fee} {}", request.key.event, preimage.to_hex()),
        Outcome::Refused(refusal) => format!("{} {refusal}", request.key.event),
    }
}

pub(super) fn sign(record: &mut Record, outcome: Option<&Outcome>) {
    let answers: &mut [Answered] = match record {
        Record::Done(done) => &mut done.answers,
        Record::Answer { answered, .. } => std::slice::from_mut(answered),
        _ => return,
    };
    for answered in answers {
        answered.event = written(&answered.request, outcome.unwrap()).into_bytes();
    }
}

/// The codes of the refusals that the effects write.
pub(super) fn refused(effects: &[Effect]) -> Option<Refusal> {
    effects.iter().find_map(|effect| match effect {
        Effect::Append { outcome: Some(Outcome::Refused(refusal)), .. } => Some(refusal.clone()),
        _ => None,
    })
}

pub(super) fn sends(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Send(_))).count()
}

pub(super) fn alarms(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Alarm(_))).count()
}
