//! A turn that cannot be written to its end.

use super::super::journal::{BATCH_RECORDS_MAX, WriteError};
use super::super::memory::MemoryRows;
use super::super::payment::{Input, InvoiceRow, OwnerWish, PaymentRow, Reply, RequestRow, Rows, RowsError, Token};
use super::super::record::Entry;
use super::super::turn::{Act, Pages, turn};
use super::super::types::*;
use super::support::*;
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;

/// Every record fills a batch, and after some commits the disk fails.
struct Pagewise {
    rows: MemoryRows,
    pending: u64,
    commits_left: u32,
}

impl Rows for Pagewise {
    fn request(&self, key: &RequestKey) -> Result<Option<RequestRow>, RowsError> {
        self.rows.request(key)
    }

    fn payment(&self, hash: &PaymentHash) -> Result<Option<PaymentRow>, RowsError> {
        self.rows.payment(hash)
    }

    fn invoice(&self, hash: &PaymentHash) -> Result<Option<InvoiceRow>, RowsError> {
        self.rows.invoice(hash)
    }

    fn spent_since(&self, connection: ConnectionId, since_ms: u64) -> Result<Msat, RowsError> {
        self.rows.spent_since(connection, since_ms)
    }
}

impl Pages for Pagewise {
    fn append(&mut self, entry: &Entry) -> Result<(), WriteError> {
        self.rows.append(entry.clone());
        self.pending += BATCH_RECORDS_MAX;
        Ok(())
    }

    fn pending(&self) -> u64 {
        self.pending
    }

    fn commit(&mut self) -> Result<(), WriteError> {
        self.pending = 0;
        self.commits_left = self.commits_left.checked_sub(1).ok_or(WriteError::Closed)?;
        Ok(())
    }
}

/// Whoever waits for what is on the disk hears that it is, whoever waits for the rest does not; no payment is sent by a process that ends.
#[test]
fn what_was_written_before_the_disk_failed_is_told_and_nothing_else() {
    let mut core = Core::with(&[(1_000_000, None)]);
    let mut pages = Pagewise { rows: core.rows.clone(), pending: 0, commits_left: 2 };
    let owner = |name: &str, token| Input::Owner { wish: OwnerWish::CreateAccount(name.to_owned()), token: Token(token) };
    let bill = foreign(1, Some(5_000));
    let pay = Input::Pay {
        order: Box::new(order(request(0, 1), &bill, None)),
        bill: Ok(super::super::payment::Bill::Invoice(Box::new(bill))),
        ready: Ok(()),
        token: Token(92),
    };
    let pen = |_: &RequestRef, _: &Outcome, _: u64| None;
    let inputs = [owner("one", 91), pay, owner("two", 93)];
    let unwritten = turn(&mut core.state, &mut pages, &pen, inputs, START_MS).unwrap_err();
    assert!(matches!(unwritten.error, WriteError::Closed));
    let mut told = Vec::new();
    for act in unwritten.after.acts() {
        told.push(match act {
            Act::Reply(token, Reply::Owner(Ok(_)) | Reply::Pay(PayReply::Durable)) => format!("reply {}", token.0),
            Act::Written(entry) => format!("written {}", entry.seq),
            other => panic!("{other:?}"),
        });
    }
    let first = core.rows.entries().len() + 1;
    assert_eq!(told, ["reply 91", "reply 92", &format!("written {first}"), &format!("written {}", first + 1)]);
}
