//! Payments out: what LND is asked for, and what its words are worth.
//!
//! | LND says | it is |
//! |---|---|
//! | `SUCCEEDED` | settled |
//! | `FAILED`, at the end of a stream | failed: no part is under way any more |
//! | an error before any word of the payment that shows that it was never begun ([`NEVER_BEGUN`], no connection, no right) | this attempt was not begun; an earlier one of the same payment may have been |
//! | "already paid", "in transition" (`AlreadyExists`) | unknown, and looked up |
//! | a stream that ends or breaks, a time-out, any other error | unknown, and looked up |

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};

use super::client::{Client, explain, was_never_sent};
use super::messages::{
    FailureReason, Payment, PaymentStatus, SEND_PAYMENT, SendPaymentRequest, TRACK_PAYMENT, TrackPaymentRequest,
};
use crate::base::amount::Msat;
use crate::base::hex32::{Hex32, PaymentHash};
use crate::wallet::backend::{LookupOrder, LookupResult, SendOrder, SendResult, SendTarget, TlvRecord};
use crate::wallet::terms::Preimage;

/// Most parts that a payment is split into.
const PARTS_MAX: u32 = 16;
/// The record that carries the preimage of a keysend payment.
const KEYSEND_RECORD: u64 = 5_482_373_484;
/// Lower types belong to the protocol.
const CUSTOM_RECORDS_FROM: u64 = 65_536;
/// Blocks that the last hop of a keysend payment must leave.
const KEYSEND_CLTV_BLOCKS: i32 = 40;
/// TLV onions: what the payee of a keysend payment must understand (feature bit 9).
const TLV_ONION: i32 = 9;
/// How long a look-up waits for the end of a payment that is under way.
const LOOKUP_WAIT: Duration = Duration::from_secs(2);

/// Errors that LND gives before it begins a payment: of its gate keeper, and about the request itself.
const NEVER_BEGUN: [&str; 13] = [
    "permission denied",
    "verification failed",
    "expected 1 macaroon",
    "cannot get macaroon",
    "wallet locked",
    "wallet not created",
    "waiting to start, rpc services",
    "the rpc server is in the process of starting up",
    "invoice expired",
    "invoice not for current active network",
    "amount must be specified",
    "amount must not be specified",
    "self-payments not allowed",
];

/// What LND is asked to do, or why it is not asked at all.
pub(super) fn request(order: &SendOrder, timeout: Duration) -> Result<SendPaymentRequest, String> {
    let whole = |msat: Msat| i64::try_from(msat.get()).map_err(|_| "the amount is too large for LND".to_owned());
    let base = SendPaymentRequest {
        timeout_seconds: i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX),
        fee_limit_msat: whole(order.fee_max)?,
        max_parts: PARTS_MAX,
        no_inflight_updates: true,
        ..SendPaymentRequest::default()
    };
    match &order.target {
        SendTarget::Invoice { bolt11, has_amount } => Ok(SendPaymentRequest {
            payment_request: bolt11.clone(),
            amt_msat: if *has_amount { 0 } else { whole(order.amount)? },
            ..base
        }),
        SendTarget::Keysend { payee, preimage, records } => Ok(SendPaymentRequest {
            dest: const_hex::decode(payee).map_err(|_| "the payee is no public key".to_owned())?,
            payment_hash: order.hash.0.to_vec(),
            amt_msat: whole(order.amount)?,
            final_cltv_delta: KEYSEND_CLTV_BLOCKS,
            dest_custom_records: custom_records(preimage, records)?,
            dest_features: vec![TLV_ONION],
            max_parts: 1,
            ..base
        }),
    }
}

fn custom_records(preimage: &Preimage, records: &[TlvRecord]) -> Result<HashMap<u64, Vec<u8>>, String> {
    let mut all = HashMap::from([(KEYSEND_RECORD, preimage.0.to_vec())]);
    for record in records {
        if record.kind < CUSTOM_RECORDS_FROM {
            return Err(format!("records below type {CUSTOM_RECORDS_FROM} belong to Lightning itself; no money moved"));
        }
        if all.insert(record.kind, record.value.clone()).is_some() {
            return Err(format!("record {} is there twice or carries the preimage; no money moved", record.kind));
        }
    }
    Ok(all)
}

/// Makes a payment and follows it to its end, be that in days.
pub(super) async fn send(client: &Client, request: SendPaymentRequest) -> SendResult {
    let mut stream = match client.stream::<_, Payment>(SEND_PAYMENT, request).await {
        Ok(stream) => stream,
        Err(status) => return refused(&status),
    };
    let mut has_begun = false;
    loop {
        match stream.message().await {
            Ok(Some(payment)) => match word(&payment) {
                Word::Settled { preimage, fee } => return SendResult::Settled { preimage, fee },
                Word::Failed(words) => return SendResult::Failed(words),
                Word::UnderWay => has_begun = true,
            },
            Ok(None) => return SendResult::Unknown("LND ended the stream before the payment".to_owned()),
            Err(status) if has_begun => return SendResult::Unknown(explain(&status)),
            Err(status) => return refused(&status),
        }
    }
}

/// What an error means that came before any word of the payment.
pub(super) fn refused(status: &Status) -> SendResult {
    if was_never_sent(status) {
        return SendResult::NotGiven(format!("the Lightning node was not asked: {}; no money moved", explain(status)));
    }
    let said = status.message().to_lowercase();
    let certain = match status.code() {
        Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented => true,
        Code::Unknown => NEVER_BEGUN.iter().any(|start| said.contains(start)),
        _ => false,
    };
    if certain {
        SendResult::NotGiven(format!("the Lightning node refuses the payment: {}; no money moved", explain(status)))
    } else {
        SendResult::Unknown(format!("{:?}: {}", status.code(), explain(status)))
    }
}

/// Asks about a payment. `is_being_sent`: a call of this process that sends it is open.
pub(super) async fn lookup(client: &Client, order: LookupOrder, is_being_sent: bool, within: Duration) -> LookupResult {
    let question = TrackPaymentRequest { payment_hash: order.hash.0.to_vec(), no_inflight_updates: false };
    let mut last = None;
    let follow = async {
        let mut stream = client.stream::<_, Payment>(TRACK_PAYMENT, question).await?;
        // The first word comes at once; for the end it waits a little.
        let mut until = None;
        loop {
            let next = match until {
                None => stream.message().await?,
                Some(until) => match tokio::time::timeout_at(until, stream.message()).await {
                    Ok(next) => next?,
                    Err(_) => break,
                },
            };
            let Some(payment) = next else { break };
            let is_over = word(&payment) != Word::UnderWay;
            last = Some(payment);
            if is_over {
                break;
            }
            until.get_or_insert_with(|| tokio::time::Instant::now() + LOOKUP_WAIT);
        }
        Ok(())
    };
    let ended =
        tokio::time::timeout(within, follow).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
    found(order, last.as_ref(), ended.err().as_ref(), is_being_sent)
}

/// What a look-up means, from the last word about the payment and the error that ended the stream.
pub(super) fn found(order: LookupOrder, last: Option<&Payment>, error: Option<&Status>, is_being_sent: bool) -> LookupResult {
    match (last, error) {
        (Some(payment), _) => match word(payment) {
            Word::Settled { preimage, fee } => LookupResult::Settled { preimage, fee },
            Word::UnderWay => LookupResult::Pending,
            // While the present attempt is on its way, the failure that LND shows may be that of an earlier one.
            Word::Failed(_) if is_being_sent => LookupResult::Pending,
            Word::Failed(_) if began_ms(payment) < order.since_ms => LookupResult::NotFound,
            Word::Failed(words) => LookupResult::Failed(words),
        },
        (None, Some(status)) if status.code() == Code::NotFound => {
            if is_being_sent {
                LookupResult::Pending
            } else {
                LookupResult::NotFound
            }
        }
        (None, Some(status)) => LookupResult::Unknown(explain(status)),
        (None, None) => LookupResult::Unknown("LND said nothing about the payment".to_owned()),
    }
}

fn began_ms(payment: &Payment) -> u64 {
    u64::try_from(payment.creation_time_ns).unwrap_or(0) / 1_000_000
}

/// What one word of LND about a payment means.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Settled { preimage: Preimage, fee: Msat },
    Failed(String),
    UnderWay,
}

fn word(payment: &Payment) -> Word {
    match payment.status() {
        PaymentStatus::Succeeded => Word::Settled { preimage: proof(&payment.payment_preimage), fee: fee(payment.fee_msat) },
        PaymentStatus::Failed => Word::Failed(reason(payment.failure_reason())),
        PaymentStatus::Unknown | PaymentStatus::InFlight | PaymentStatus::Initiated => Word::UnderWay,
    }
}

/// Zeros where there is none, which prove nothing.
fn proof(hex: &str) -> Preimage {
    let mut bytes = [0; 32];
    match const_hex::decode_to_slice(hex, &mut bytes) {
        Ok(()) => Preimage(bytes),
        Err(_) => Preimage([0; 32]),
    }
}

fn fee(msat: i64) -> Msat {
    u64::try_from(msat).ok().and_then(|msat| Msat::new(msat).ok()).unwrap_or(Msat::ZERO)
}

fn reason(reason: FailureReason) -> String {
    let what = match reason {
        FailureReason::Timeout => "no way to the payee was found in time",
        FailureReason::NoRoute => "there is no route to the payee that can carry the amount within the fee limit",
        FailureReason::IncorrectPaymentDetails => {
            "the payee refused the payment: it does not know the invoice (any longer), or not with this amount"
        }
        FailureReason::InsufficientBalance => "the channels of the Lightning node do not hold enough",
        FailureReason::Canceled => "the payment was cancelled at the Lightning node",
        FailureReason::None | FailureReason::Error => "the payment failed at the Lightning node",
    };
    format!("{what}; no money moved")
}

/// The amount that LND names, if it is one.
pub(super) fn amount(msat: i64) -> Option<Msat> {
    u64::try_from(msat).ok().and_then(|msat| Msat::new(msat).ok())
}

/// The hash that LND names, if it is one.
pub(super) fn hash(bytes: &[u8]) -> Option<PaymentHash> {
    Hex32::from_slice(bytes)
}
