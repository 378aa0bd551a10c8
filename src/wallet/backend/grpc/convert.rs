//! The messages of `proto/wallet_backend.proto` as the wallet's own words, and back. What does not fit is never guessed at:
//! of a payment it means "nobody knows".

use super::super::bolt11::{self, Decoded};
use super::super::{
    BackendError, Capabilities, Incoming, IncomingState, Info, LookupOrder, LookupResult, MadeInvoice, Network, NewHoldInvoice,
    NewInvoice, Outgoing, SendOrder, SendResult, SendTarget,
};
use super::memory::Peer;
use crate::base::amount::Msat;
use crate::base::hex32::{Hex32, PaymentHash};
use crate::pb::wallet_backend as pb;
use crate::wallet::terms::Preimage;

/// The version of the protocol that is spoken here.
pub(super) const VERSION: u32 = 1;
/// Longest words of a wallet that are handed on.
const WORDS_CHARS_MAX: usize = 300;

/// Who answered the handshake, or why it is nobody to work with.
pub(super) fn peer(reply: pb::HelloReply) -> Result<Peer, String> {
    if reply.version != VERSION {
        return Err(format!("it speaks version {} of the protocol, this hearth speaks {VERSION}", reply.version));
    }
    let node = reply.node.ok_or("its Hello names no node")?;
    let is_key = node.pubkey.len() == 66 && node.pubkey.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_key {
        return Err("its Hello names no node key of 66 lower-case hex digits".to_owned());
    }
    let network = Network::parse(&node.network)
        .ok_or_else(|| format!("its network is {:?}, not mainnet, testnet, signet or regtest", brief(&node.network)))?;
    let block_hash = match node.block_hash.as_str() {
        "" => Hex32::default(),
        text => Hex32::parse(text).map_err(|error| format!("its block_hash: {error}"))?,
    };
    let can = reply.can.unwrap_or_default();
    Ok(Peer {
        info: Info {
            pubkey: node.pubkey,
            alias: brief(&node.alias),
            color: brief(&node.color),
            network,
            block_height: node.block_height,
            block_hash,
        },
        can: Capabilities {
            outside: can.outside,
            refuses_second: can.refuses_second,
            hold_invoices: can.hold_invoices,
            keysend: can.keysend,
            sign_message: can.sign_message,
            node_balance: can.node_balance,
        },
    })
}

pub(super) fn send_request(order: SendOrder) -> pb::SendRequest {
    let target = match order.target {
        SendTarget::Invoice { bolt11, .. } => pb::send_request::Target::Invoice(bolt11),
        SendTarget::Keysend { payee, preimage, records } => pb::send_request::Target::Keysend(pb::Keysend {
            payee,
            preimage: preimage.0.to_vec(),
            records: records.into_iter().map(|record| pb::TlvRecord { r#type: record.kind, value: record.value }).collect(),
        }),
    };
    pb::SendRequest {
        payment_hash: order.hash.0.to_vec(),
        attempt: order.attempt,
        amount_msat: order.amount.get(),
        fee_max_msat: order.fee_max.get(),
        target: Some(target),
    }
}

/// `None`: under way, the outcome comes later.
pub(super) fn send_result(reply: pb::PaymentReply, attempt: u64) -> Option<SendResult> {
    match lookup_result(reply, attempt) {
        LookupResult::Settled { preimage, fee } => Some(SendResult::Settled { preimage, fee }),
        LookupResult::Failed(words) => Some(SendResult::Failed(words)),
        LookupResult::Pending => None,
        LookupResult::NotFound => Some(SendResult::Unknown("the wallet answered an order with \"not found\"".to_owned())),
        LookupResult::Unknown(words) => Some(SendResult::Unknown(words)),
    }
}

pub(super) fn lookup_request(order: &LookupOrder) -> pb::LookupRequest {
    pb::LookupRequest { payment_hash: order.hash.0.to_vec(), attempt: order.attempt, since_ms: order.since_ms }
}

/// What a reply says of this attempt.
pub(super) fn lookup_result(reply: pb::PaymentReply, attempt: u64) -> LookupResult {
    match reply.state() {
        pb::PaymentState::Settled => match Msat::new(reply.fee_msat) {
            Ok(fee) => LookupResult::Settled { preimage: preimage(&reply.preimage), fee },
            Err(_) => LookupResult::Unknown("the wallet says \"settled\" with a fee that cannot be".to_owned()),
        },
        pb::PaymentState::InFlight => LookupResult::Pending,
        // Only a failure belongs to one attempt; everything else is true of the hash.
        pb::PaymentState::Failed if reply.attempt != 0 && reply.attempt < attempt => LookupResult::NotFound,
        pb::PaymentState::Failed if reply.attempt > attempt => {
            LookupResult::Unknown(format!("the wallet knows attempt {} of this payment, hearth only {attempt}", reply.attempt))
        }
        pb::PaymentState::Failed if reply.failure.is_empty() => LookupResult::Failed("the wallet gives no reason".to_owned()),
        pb::PaymentState::Failed => LookupResult::Failed(brief(&reply.failure)),
        pb::PaymentState::NotFound => LookupResult::NotFound,
        pb::PaymentState::Unspecified => LookupResult::Unknown("the wallet gave no state".to_owned()),
    }
}

/// Without a proof: zeros, which prove nothing.
fn preimage(bytes: &[u8]) -> Preimage {
    Preimage(bytes.try_into().unwrap_or([0; 32]))
}

pub(super) fn invoice_request(order: &NewInvoice) -> pb::MakeInvoiceRequest {
    pb::MakeInvoiceRequest {
        amount_msat: order.amount.map(Msat::get),
        description: order.description.clone(),
        description_hash: order.description_hash.map(|hash| hash.0.to_vec()).unwrap_or_default(),
        expiry_s: order.expiry_s,
        now_s: order.now_s,
        preimage: order.preimage.0.to_vec(),
    }
}

pub(super) fn hold_invoice_request(order: &NewHoldInvoice) -> pb::MakeHoldInvoiceRequest {
    pb::MakeHoldInvoiceRequest {
        amount_msat: order.amount.map(Msat::get),
        description: order.description.clone(),
        description_hash: order.description_hash.map(|hash| hash.0.to_vec()).unwrap_or_default(),
        expiry_s: order.expiry_s,
        now_s: order.now_s,
        payment_hash: order.hash.0.to_vec(),
        min_cltv_expiry_delta: order.min_cltv_expiry_delta,
    }
}

/// The invoice that was made, if it is the one that was ordered: the text is what payers see, so the text is what is checked.
pub(super) fn made_invoice(
    reply: pb::InvoiceReply,
    hash: PaymentHash,
    amount: Option<Msat>,
    network: Network,
) -> Result<MadeInvoice, BackendError> {
    let wrong = |what: &str| BackendError(format!("the wallet made an invoice that was not ordered: {what}"));
    let Decoded { bolt11, network: its, hash: named, amount: asked, expires_at_s, .. } =
        bolt11::decode(&reply.invoice).map_err(|error| wrong(&error.to_string()))?;
    if named != hash || reply.payment_hash != hash.0 {
        return Err(wrong("another payment hash"));
    }
    if asked != amount {
        return Err(wrong("another amount"));
    }
    if its != network {
        return Err(wrong("another network"));
    }
    Ok(MadeInvoice { bolt11, hash, expires_at_s })
}

/// What an event says of an invoice; `None` where it says nothing that can be understood.
pub(super) fn incoming(event: &pb::Incoming) -> Option<Incoming> {
    let hash = hash(&event.payment_hash)?;
    let amount = Msat::new(event.amount_msat).ok()?;
    let state = match event.state() {
        pb::IncomingState::Settled => {
            let proof = <[u8; 32]>::try_from(event.preimage.as_slice()).ok().map(Preimage);
            IncomingState::Settled { preimage: proof }
        }
        pb::IncomingState::Held => IncomingState::Held { settle_deadline: event.settle_deadline },
        pb::IncomingState::Canceled => IncomingState::Canceled,
        pb::IncomingState::Unspecified => return None,
    };
    Some(Incoming { hash, amount, state })
}

/// Which order an event is about.
pub(super) fn outgoing(event: &pb::Outgoing) -> Option<Outgoing> {
    let attempt = event.reply.as_ref().map_or(0, |reply| reply.attempt);
    Some(Outgoing { hash: hash(&event.payment_hash)?, attempt })
}

pub(super) fn hash(bytes: &[u8]) -> Option<PaymentHash> {
    bytes.try_into().ok().map(Hex32)
}

/// What may stand in a log of an event: never its preimage.
pub(super) fn for_the_log(event: &pb::Incoming) -> String {
    let hash = const_hex::encode(&event.payment_hash[..event.payment_hash.len().min(32)]);
    format!("hash {hash}, {} msat, state {}", event.amount_msat, event.state)
}

/// Words of somebody else: one line, not endless.
pub(super) fn brief(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(state: pb::PaymentState, attempt: u64) -> pb::PaymentReply {
        let preimage = vec![7; 32];
        pb::PaymentReply { state: state.into(), preimage, fee_msat: 5, failure: "no route".to_owned(), attempt }
    }

    #[test]
    fn a_failure_counts_for_the_attempt_that_it_is_about() {
        let failed = |attempt| lookup_result(reply(pb::PaymentState::Failed, attempt), 4);
        assert_eq!(failed(4), LookupResult::Failed("no route".to_owned()));
        assert_eq!(failed(0), LookupResult::Failed("no route".to_owned()));
        assert_eq!(failed(3), LookupResult::NotFound);
        assert!(matches!(failed(5), LookupResult::Unknown(_)));
        // An order is never answered with an older failure either.
        assert!(matches!(send_result(reply(pb::PaymentState::Failed, 3), 4), Some(SendResult::Unknown(_))));
        for older in [0, 3, 5] {
            let settled = lookup_result(reply(pb::PaymentState::Settled, older), 4);
            assert_eq!(settled, LookupResult::Settled { preimage: Preimage([7; 32]), fee: Msat::new(5).unwrap() });
        }
    }

    #[test]
    fn what_is_not_understood_is_unknown_and_never_failed() {
        let unknown = |reply| matches!(send_result(reply, 1), Some(SendResult::Unknown(_)));
        assert!(unknown(pb::PaymentReply { state: 99, ..pb::PaymentReply::default() }));
        assert!(unknown(pb::PaymentReply::default()));
        assert!(unknown(reply(pb::PaymentState::NotFound, 1)));
        assert!(unknown(pb::PaymentReply { fee_msat: u64::MAX, ..reply(pb::PaymentState::Settled, 1) }));
        assert_eq!(send_result(reply(pb::PaymentState::InFlight, 1), 1), None);
        let without_proof = pb::PaymentReply { preimage: vec![1; 31], ..reply(pb::PaymentState::Settled, 1) };
        assert!(matches!(send_result(without_proof, 1), Some(SendResult::Settled { preimage: Preimage([0, ..]), .. })));
    }

    #[test]
    fn a_wallet_without_a_key_a_network_or_the_version_is_turned_away() {
        let node = pb::NodeInfo { pubkey: "02".repeat(33), network: "regtest".to_owned(), ..pb::NodeInfo::default() };
        let hello = pb::HelloReply { version: VERSION, node: Some(node.clone()), ..pb::HelloReply::default() };
        let known = peer(hello.clone()).unwrap();
        assert_eq!((known.info.block_hash, known.can), (Hex32::default(), Capabilities::default()));
        for (bad, word) in [
            (pb::HelloReply { version: 2, ..hello.clone() }, "version 2"),
            (pb::HelloReply { node: None, ..hello.clone() }, "no node"),
            (
                pb::HelloReply { node: Some(pb::NodeInfo { pubkey: "02".repeat(32), ..node.clone() }), ..hello.clone() },
                "node key",
            ),
            (pb::HelloReply { node: Some(pb::NodeInfo { network: "bitcoin".to_owned(), ..node.clone() }), ..hello }, "bitcoin"),
        ] {
            let words = peer(bad).unwrap_err();
            assert!(words.contains(word), "{words}");
        }
    }

    #[test]
    fn events_that_say_nothing_are_nothing() {
        let event = pb::Incoming { payment_hash: vec![1; 32], state: pb::IncomingState::Held.into(), ..pb::Incoming::default() };
        assert!(matches!(incoming(&event).unwrap().state, IncomingState::Held { settle_deadline: None }));
        assert!(incoming(&pb::Incoming { state: 9, ..event.clone() }).is_none());
        let secret = pb::Incoming { state: 9, preimage: vec![0xab; 32], amount_msat: 5, ..event.clone() };
        assert_eq!(for_the_log(&secret), format!("hash {}, 5 msat, state 9", "01".repeat(32)));
        assert!(incoming(&pb::Incoming { payment_hash: vec![1; 31], ..event.clone() }).is_none());
        assert!(incoming(&pb::Incoming { amount_msat: u64::MAX, ..event }).is_none());
    }
}
