//! Records as bytes: what is written is read, and a chain in which any bit has changed is not taken for whole.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::layout::{Link, decode, encode, link};
use super::super::record::*;
use super::super::types::*;
use super::support::*;
use crate::base::amount::Msat;
use crate::base::hex32::Hex32;
use crate::wallet::backend::SendTarget;

struct Dice(ChaCha8Rng);

impl Dice {
    fn hash(&mut self) -> Hex32 {
        Hex32(self.0.random())
    }

    fn amount(&mut self) -> Msat {
        msat(self.0.random_range(0..=Msat::MAX.get()))
    }

    fn text(&mut self) -> String {
        let length = self.0.random_range(0..40);
        (0..length).map(|_| self.0.random_range('\u{1}'..'\u{2fff}')).collect()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.0.random_bool(0.5).then(|| make(self))
    }

    fn request(&mut self) -> RequestRef {
        let methods = [Method::PayInvoice, Method::MultiPayInvoice, Method::MakeInvoice, Method::Receive];
        RequestRef {
            key: RequestKey { event: self.hash(), item: self.0.random() },
            connection: ConnectionId(self.0.random()),
            client: self.hash(),
            scheme: if self.0.random() { Scheme::Nip44 } else { Scheme::Nip04 },
            method: methods[self.0.random_range(0..methods.len())],
            created_at_s: self.0.random(),
            item_tag: self.maybe(Self::text),
        }
    }

    fn answered(&mut self) -> Answered {
        let length = self.0.random_range(0..2_000);
        Answered { request: self.request(), event: (0..length).map(|_| self.0.random()).collect() }
    }

    fn postings(&mut self) -> Vec<Posting> {
        let books = [Book::Account(AccountId(self.0.random())), Book::Fees, Book::Outside, Book::Funding];
        books.into_iter().map(|book| Posting { book, msat: self.0.random() }).collect()
    }

    fn payee(&mut self) -> Payee {
        Payee { account: AccountId(self.0.random()), connection: ConnectionId(self.0.random()) }
    }

    fn row(&mut self) -> ConnectionRow {
        let renewals = [Renewal::Never, Renewal::Daily, Renewal::Weekly, Renewal::Monthly, Renewal::Yearly];
        let renewal = renewals[self.0.random_range(0..renewals.len())];
        ConnectionRow {
            id: ConnectionId(self.0.random()),
            rules: ConnectionRules {
                account: AccountId(self.0.random()),
                budget: self.maybe(|dice| Budget { amount: dice.amount(), renewal, time_zone: dice.text() }),
                payment_max: self.maybe(Self::amount),
                active: self.0.random(),
            },
            data: self.text().into_bytes(),
        }
    }

    fn invoice(&mut self) -> Invoice {
        Invoice {
            request: self.request(),
            account: AccountId(self.0.random()),
            hash: self.hash(),
            bolt11: self.text(),
            amount: self.maybe(Self::amount),
            preimage: self.maybe(|dice| Preimage(dice.0.random())),
            expires_at_s: self.0.random(),
            description: self.maybe(Self::text),
            description_hash: self.maybe(Self::hash),
            metadata: self.maybe(Self::text),
        }
    }

    fn target(&mut self) -> SendTarget {
        if self.0.random() {
            return SendTarget::Invoice { bolt11: self.text(), has_amount: self.0.random() };
        }
        let count = self.0.random_range(0..4);
        let records = (0..count).map(|_| TlvRecord { kind: self.0.random(), value: self.text().into_bytes() }).collect();
        SendTarget::Keysend { payee: self.text(), preimage: Preimage(self.0.random()), records }
    }

    fn accepted(&mut self) -> Accepted {
        Accepted {
            hash: self.hash(),
            payee: self.payee(),
            amount: self.amount(),
            payer: self.maybe(|dice| dice.0.random()),
            expires_at_s: self.0.random(),
            settle_deadline: self.maybe(|dice| dice.0.random()),
        }
    }

    fn word(&mut self) -> Word {
        if self.0.random() { Word::Cancel } else { Word::Settle(Preimage(self.0.random())) }
    }

    fn intent(&mut self) -> Intent {
        Intent {
            request: self.request(),
            account: AccountId(self.0.random()),
            hash: self.hash(),
            target: self.target(),
            amount: self.amount(),
            fee_max: self.amount(),
            invoice_expires_at_s: self.0.random(),
            request_expires_at_s: self.maybe(|dice| dice.0.random()),
            description: self.maybe(Self::text),
            description_hash: self.maybe(Self::hash),
            metadata: self.maybe(Self::text),
        }
    }

    fn done(&mut self) -> Done {
        let settled = self.0.random_bool(0.5);
        Done {
            intent: self.0.random(),
            hash: self.hash(),
            account: AccountId(self.0.random()),
            connection: ConnectionId(self.0.random()),
            ending: if settled {
                Ending::Settled { preimage: Preimage(self.0.random()), fee: self.amount() }
            } else {
                Ending::Failed { reason: self.text() }
            },
            payee: self.maybe(Self::payee),
            correction: self.0.random(),
            postings: self.postings(),
            answers: (0..self.0.random_range(0..4)).map(|_| self.answered()).collect(),
        }
    }

    fn outcome(&mut self) -> Outcome {
        if self.0.random() {
            Outcome::Paid { preimage: Preimage(self.0.random()), amount: self.amount(), fee: self.amount() }
        } else {
            Outcome::Refused(Refusal::new(ErrorCode::QuotaExceeded, self.text()))
        }
    }

    fn record(&mut self) -> Record {
        match self.0.random_range(0..19) {
            0 => Record::Genesis { node: self.text() },
            1 => Record::Account { id: AccountId(self.0.random()), name: self.text() },
            2 => {
                let used = Used { since_ms: self.0.random(), settled: self.amount() };
                Record::Connection { row: self.row(), used }
            }
            3 => Record::Fund { postings: self.postings() },
            4 => Record::Move { postings: self.postings() },
            5 => Record::Invoice(Box::new(self.invoice())),
            6 => Record::Intent(Box::new(self.intent())),
            7 => Record::Attach { request: self.request(), hash: self.hash() },
            8 => Record::Done(Box::new(self.done())),
            9 => Record::Answer { answered: self.answered(), outcome: self.outcome() },
            10 => Record::Received {
                hash: self.hash(),
                payee: self.payee(),
                amount: self.amount(),
                preimage: self.maybe(|dice| Preimage(dice.0.random())),
                postings: self.postings(),
            },
            11 => Record::Suspend { connection: ConnectionId(self.0.random()), reason: self.text() },
            12 => Record::Accepted(self.accepted()),
            13 => Record::Decided { hash: self.hash(), payee: self.payee(), word: self.word(), reason: self.text() },
            14 => Record::Canceled { hash: self.hash(), payee: self.payee(), reason: self.text() },
            15 => {
                let count = self.0.random_range(0..3);
                let strays = (0..count).map(|_| self.hash()).collect();
                Record::Reconciled { why: self.text(), lost: self.maybe(|dice| dice.0.random()), refused_before_s: 5, strays }
            }
            16 => Record::Clock { frozen_at_ms: self.maybe(|dice| dice.0.random()) },
            17 => Record::Driven { hash: self.hash() },
            _ => Record::Resume { connection: ConnectionId(self.0.random()) },
        }
    }
}

/// A chain of random records and the link of the last.
fn chain(dice: &mut Dice, count: u64) -> (Vec<Vec<u8>>, Link) {
    let mut before = [0; 32];
    let values = (1..=count)
        .map(|seq| {
            let entry = Entry { seq, at_ms: dice.0.random(), record: dice.record() };
            let value = encode(&entry, &before);
            assert_eq!(decode(seq, &value), Some((entry, before)));
            before = link(seq, &value);
            value
        })
        .collect();
    (values, before)
}

fn is_whole(values: &[Vec<u8>], anchored: Link) -> bool {
    let mut last = [0; 32];
    for (seq, value) in (1..).zip(values) {
        match decode(seq, value) {
            Some((_, before)) if before == last => last = link(seq, value),
            _ => return false,
        }
    }
    last == anchored
}

#[test]
fn what_is_written_is_read_and_no_changed_bit_passes() {
    for seed in 0..300 {
        let mut dice = Dice(ChaCha8Rng::seed_from_u64(seed));
        let (values, last) = chain(&mut dice, 12);
        assert!(is_whole(&values, last));
        for _ in 0..40 {
            let mut changed = values.clone();
            let which = dice.0.random_range(0..changed.len());
            let at = dice.0.random_range(0..changed[which].len());
            changed[which][at] ^= 1 << dice.0.random_range(0..8);
            assert!(!is_whole(&changed, last), "seed {seed}: record {which}, byte {at}");
        }
        for which in 0..values.len() {
            let mut missing = values.clone();
            missing.remove(which);
            assert!(!is_whole(&missing, last));
        }
    }
}

#[test]
fn random_bytes_are_no_record_and_break_nothing() {
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(1));
    for _ in 0..20_000 {
        let length = dice.0.random_range(0..300);
        let mut bytes: Vec<u8> = (0..length).map(|_| dice.0.random()).collect();
        if length > 2 {
            (bytes[0], bytes[1]) = (1, bytes[1] % 23);
        }
        if let Some((entry, before)) = decode(1, &bytes) {
            assert_eq!(encode(&entry, &before), bytes, "two texts of one record");
        }
    }
}
