//! Rows that cannot be read: what is known of the request itself, and what is known of anything else.

use super::super::payment::{Bill, Effect, Input, InvoiceRow, PaymentRow, Reply, RequestRow, Rows, RowsError, step};
use super::super::types::*;
use super::support::*;
use crate::base::amount::Msat;
use crate::base::hex32::PaymentHash;

/// A disk with a damaged block: requests may lie in it, or everything else.
struct Torn<'a> {
    rows: &'a dyn Rows,
    has_requests: bool,
}

fn torn<T>() -> Result<T, RowsError> {
    Err(RowsError("record 5 is damaged".to_owned()))
}

impl Rows for Torn<'_> {
    fn request(&self, key: &RequestKey) -> Result<Option<RequestRow>, RowsError> {
        if self.has_requests { self.rows.request(key) } else { torn() }
    }

    fn payment(&self, _: &PaymentHash) -> Result<Option<PaymentRow>, RowsError> {
        torn()
    }

    fn invoice(&self, _: &PaymentHash) -> Result<Option<InvoiceRow>, RowsError> {
        torn()
    }

    fn spent_since(&self, _: ConnectionId, _: u64) -> Result<Msat, RowsError> {
        torn()
    }
}

fn pay(core: &mut Core, number: u64, has_requests: bool) -> (PayReply, Vec<Effect>) {
    let (invoice, token) = (foreign(number, Some(5_000)), core.token());
    let order = Box::new(order(request(0, number), &invoice, None));
    let input = Input::Pay { order, bill: Ok(Bill::Invoice(Box::new(invoice))), ready: Ok(()), token };
    let mut effects = Vec::new();
    step(&mut core.state, &Torn { rows: &core.rows, has_requests }, input, core.now_ms, &mut effects);
    match effects.pop() {
        Some(Effect::Reply(_, Reply::Pay(reply))) => (reply, effects),
        other => panic!("no reply: {other:?}"),
    }
}

#[test]
fn whether_a_request_was_paid_is_not_known_while_its_own_row_cannot_be_read() {
    let mut core = Core::with(&[(1_000_000, None)]);
    assert_eq!(core.pay(request(0, 1), foreign(1, Some(5_000)), None).1, PayReply::Durable);
    let records = core.rows.entries().len();
    // One that was paid and one that never was look the same, and nothing is done for either.
    for number in [1, 2] {
        let (reply, effects) = pay(&mut core, number, false);
        assert_eq!((reply, alarms(&effects), effects.len()), (PayReply::Unknown, 1, 1));
    }
    assert_eq!(core.rows.entries().len(), records);
    // A new request is refused by what else cannot be read: that it was not paid is known.
    let (reply, effects) = pay(&mut core, 2, true);
    assert!(
        matches!(&reply, PayReply::Refused(refusal) if refusal.code == ErrorCode::Internal && refusal.message.contains("nothing was paid")),
        "{reply:?}"
    );
    assert_eq!((alarms(&effects), effects.len()), (1, 1));
    assert_eq!(pay(&mut core, 1, true).0, PayReply::Durable, "readable again, it is known");
}
