//! Payments out, as LND does them: one for each hash, and its state for whoever asks.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hearth::wallet::backend::lnd::messages::{
    Amount, Chain, ChannelBalance, FailureReason, NodeInfo, Payment, PaymentStatus, SendPaymentRequest, SignMessageRequest,
    SignMessageResponse, TrackPaymentRequest,
};
use ldk_node::bitcoin::secp256k1::PublicKey;
use ldk_node::lightning::events::PaymentFailureReason;
use ldk_node::lightning::ln::channelmanager::PaymentId;
use ldk_node::lightning::routing::router::RouteParametersConfig;
use ldk_node::lightning_invoice::Bolt11Invoice;
use ldk_node::lightning_types::payment::PaymentPreimage;
use ldk_node::payment::{PaymentDirection, PaymentKind, PaymentStatus as LdkStatus};
use ldk_node::{CustomTlvRecord, Event, NodeError};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::faults::{SendFault, TrackFault};
use super::wire::Updates;
use super::{Inner, hash32};

const KEYSEND_RECORD: u64 = 5_482_373_484;

impl Inner {
    pub(super) fn get_info(&self) -> NodeInfo {
        let best = self.node.status().current_best_block;
        NodeInfo {
            identity_pubkey: self.node.node_id().to_string(),
            alias: self.node.node_alias().map(|alias| alias.to_string()).unwrap_or_default(),
            block_height: best.height,
            block_hash: best.block_hash.to_string(),
            synced_to_chain: true,
            version: "0.21.0-beta".to_owned(),
            chains: vec![Chain { network: "regtest".to_owned() }],
            color: "#3399ff".to_owned(),
        }
    }

    pub(super) fn channel_balance(&self) -> ChannelBalance {
        let channels = self.node.list_channels();
        let amount = |msat: u64| Some(Amount { sat: msat / 1_000, msat });
        ChannelBalance {
            local_balance: amount(channels.iter().map(|one| one.outbound_capacity_msat).sum()),
            remote_balance: amount(channels.iter().map(|one| one.inbound_capacity_msat).sum()),
            unsettled_local_balance: amount(0),
        }
    }

    pub(super) fn sign_message(&self, asked: &SignMessageRequest) -> SignMessageResponse {
        SignMessageResponse { signature: self.node.sign_message(&asked.msg) }
    }

    /// A payment out, as the node knows it.
    fn payment(&self, hash: [u8; 32]) -> Option<Payment> {
        let found = self.node.payment(&PaymentId(hash)).filter(|found| found.direction == PaymentDirection::Outbound)?;
        let preimage = match found.kind {
            PaymentKind::Bolt11 { preimage, .. } | PaymentKind::Spontaneous { preimage, .. } => preimage,
            _ => None,
        };
        let (status, shown) = match found.status {
            LdkStatus::Pending => (PaymentStatus::InFlight, None),
            LdkStatus::Succeeded => (PaymentStatus::Succeeded, preimage),
            LdkStatus::Failed => (PaymentStatus::Failed, None),
        };
        Some(Payment {
            payment_hash: const_hex::encode(hash),
            payment_preimage: const_hex::encode(shown.map_or([0; 32], |preimage| preimage.0)),
            value_msat: whole(found.amount_msat.unwrap_or(0)),
            status: status.into(),
            fee_msat: whole(found.fee_paid_msat.unwrap_or(0)),
            creation_time_ns: self.begun.lock().unwrap().get(&hash).map_or(0, |(began, _)| *began),
            failure_reason: if status == PaymentStatus::Failed { FailureReason::NoRoute.into() } else { 0 },
        })
    }

    /// Makes the real node pay. `Err`: nothing was begun; `Ok(false)`: it failed at once.
    fn begin(&self, asked: &SendPaymentRequest) -> Result<([u8; 32], bool), Status> {
        let limit = Some(u64::try_from(asked.fee_limit_msat).unwrap());
        let way = Some(RouteParametersConfig { max_total_routing_fee_msat: limit, ..RouteParametersConfig::default() });
        let (hash, begun) = if asked.payment_request.is_empty() {
            let hash = hash32(&asked.payment_hash)?;
            (hash, self.begin_keysend(asked, way)?)
        } else {
            let invoice: Bolt11Invoice = asked.payment_request.parse().map_err(|_| Status::unknown("invalid payment request"))?;
            let hash = *AsRef::<[u8; 32]>::as_ref(invoice.payment_hash());
            if invoice.is_expired() {
                return Err(Status::unknown("invoice expired. Valid until a while ago"));
            }
            let payments = self.node.bolt11_payment();
            let begun = match (invoice.amount_milli_satoshis(), asked.amt_msat) {
                (Some(_), 0) => payments.send(&invoice, way),
                (None, msat) if msat > 0 => payments.send_using_amount(&invoice, u64::try_from(msat).unwrap(), way),
                (Some(_), _) => {
                    return Err(Status::unknown("amount must not be specified when paying a non-zero amount invoice"));
                }
                (None, _) => return Err(Status::unknown("amount must be specified when paying a zero amount invoice")),
            };
            (hash, begun)
        };
        match begun {
            Err(NodeError::DuplicatePayment) => Err(match self.payment(hash).map(|payment| payment.status()) {
                Some(PaymentStatus::Succeeded) => Status::already_exists("invoice is already paid"),
                _ => Status::already_exists("payment is in transition"),
            }),
            begun => {
                let now_ns = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
                let mut all = self.begun.lock().unwrap();
                let times = all.get(&hash).map_or(0, |(_, times)| *times);
                all.insert(hash, (now_ns, times + u32::from(begun.is_ok())));
                Ok((hash, begun.is_ok()))
            }
        }
    }

    fn begin_keysend(
        &self,
        asked: &SendPaymentRequest,
        way: Option<RouteParametersConfig>,
    ) -> Result<Result<PaymentId, NodeError>, Status> {
        let payee = PublicKey::from_slice(&asked.dest).map_err(|_| Status::unknown("invalid pubkey"))?;
        let mut records = asked.dest_custom_records.clone();
        let preimage = records.remove(&KEYSEND_RECORD).ok_or_else(|| Status::unknown("no way to settle the payment"))?;
        let preimage = PaymentPreimage(hash32(&preimage)?);
        let mut records: Vec<CustomTlvRecord> =
            records.into_iter().map(|(type_num, value)| CustomTlvRecord { type_num, value }).collect();
        records.sort_by_key(|record| record.type_num);
        let msat = u64::try_from(asked.amt_msat).unwrap();
        Ok(self.node.spontaneous_payment().send_with_preimage_and_custom_tlvs(msat, payee, records, preimage, way))
    }

    /// What LND would say of a payment that is over.
    fn failed(&self, hash: [u8; 32], reason: FailureReason) -> Payment {
        let creation_time_ns = self.begun.lock().unwrap().get(&hash).map_or(0, |(began, _)| *began);
        Payment {
            payment_hash: const_hex::encode(hash),
            payment_preimage: const_hex::encode([0; 32]),
            status: PaymentStatus::Failed.into(),
            failure_reason: reason.into(),
            creation_time_ns,
            ..Payment::default()
        }
    }
}

fn whole(msat: u64) -> i64 {
    i64::try_from(msat).unwrap()
}

pub(super) fn send(inner: &Arc<Inner>, asked: &SendPaymentRequest) -> Result<Updates<Payment>, Status> {
    let fault = inner.faults.lock().unwrap().send.pop_front();
    match fault {
        Some(SendFault::CutBeforeDispatch) => {
            inner.cut_connections();
            return Ok(silence());
        }
        Some(SendFault::Refuse(code, words)) => return Err(Status::new(code, words)),
        _ => {}
    }
    let events = inner.events.subscribe();
    let (hash, _) = inner.begin(asked)?;
    match fault {
        Some(SendFault::CutAfterDispatch) => {
            inner.cut_connections();
            Ok(silence())
        }
        Some(SendFault::Silence) => Ok(silence()),
        Some(SendFault::EndWithoutWord) => Ok(ReceiverStream::new(mpsc::channel(1).1)),
        Some(SendFault::SayFailed) => Ok(said(inner.failed(hash, FailureReason::Timeout))),
        _ => Ok(follow(inner, hash, events, asked.no_inflight_updates, fault)),
    }
}

pub(super) fn track(inner: &Arc<Inner>, asked: &TrackPaymentRequest) -> Result<Updates<Payment>, Status> {
    match inner.faults.lock().unwrap().track.pop_front() {
        Some(TrackFault::NotFound) => return Err(Status::not_found("payment isn't initiated")),
        Some(TrackFault::Refuse(code, words)) => return Err(Status::new(code, words)),
        Some(TrackFault::Silence) => return Ok(silence()),
        None => {}
    }
    let hash = hash32(&asked.payment_hash)?;
    let events = inner.events.subscribe();
    inner.payment(hash).ok_or_else(|| Status::not_found("payment isn't initiated"))?;
    Ok(follow(inner, hash, events, asked.no_inflight_updates, None))
}

/// A stream that stays open and says nothing.
fn silence() -> Updates<Payment> {
    let (keep, updates) = mpsc::channel(1);
    tokio::spawn(async move { keep.closed().await });
    ReceiverStream::new(updates)
}

/// A stream of one word.
fn said(payment: Payment) -> Updates<Payment> {
    let (say, updates) = mpsc::channel(1);
    say.try_send(Ok(payment)).expect("room for one");
    ReceiverStream::new(updates)
}

/// The state of a payment now and until its end.
fn follow(
    inner: &Arc<Inner>,
    hash: [u8; 32],
    mut events: broadcast::Receiver<Event>,
    only_the_end: bool,
    fault: Option<SendFault>,
) -> Updates<Payment> {
    let (say, updates) = mpsc::channel(8);
    let inner = Arc::clone(inner);
    tokio::spawn(async move {
        let mut reason = None;
        while let Some(mut payment) = inner.payment(hash) {
            let is_over = payment.status() != PaymentStatus::InFlight;
            if let (PaymentStatus::Failed, Some(reason)) = (payment.status(), reason) {
                payment = inner.failed(hash, reason);
            }
            lie(&mut payment, fault);
            let is_heard = !is_over && only_the_end || say.send(Ok(payment)).await.is_ok();
            if is_over || !is_heard {
                return;
            }
            reason = tokio::select! {
                reason = end_of(&mut events, hash) => reason,
                () = say.closed() => return,
            };
        }
    });
    ReceiverStream::new(updates)
}

fn lie(payment: &mut Payment, fault: Option<SendFault>) {
    if payment.status() != PaymentStatus::Succeeded {
        return;
    }
    match fault {
        Some(SendFault::WrongPreimage) => payment.payment_preimage = const_hex::encode([0xab; 32]),
        Some(SendFault::NoPreimage) => payment.payment_preimage = String::new(),
        Some(SendFault::Fee(msat)) => payment.fee_msat = msat,
        _ => {}
    }
}

/// Waits for the end of a payment: why it failed, if it did.
async fn end_of(events: &mut broadcast::Receiver<Event>, hash: [u8; 32]) -> Option<FailureReason> {
    loop {
        match events.recv().await {
            Ok(Event::PaymentSuccessful { payment_hash, .. }) if payment_hash.0 == hash => return None,
            Ok(Event::PaymentFailed { payment_hash: Some(failed), reason, .. }) if failed.0 == hash => {
                return Some(match reason {
                    Some(PaymentFailureReason::RecipientRejected) => FailureReason::IncorrectPaymentDetails,
                    Some(PaymentFailureReason::RouteNotFound) => FailureReason::NoRoute,
                    Some(PaymentFailureReason::RetriesExhausted | PaymentFailureReason::PaymentExpired) => FailureReason::Timeout,
                    _ => FailureReason::Error,
                });
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
