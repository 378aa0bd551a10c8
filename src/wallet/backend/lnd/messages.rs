//! The part of LND's gRPC interface that a wallet service needs, as plain messages: `lnrpc`, `routerrpc` and `invoicesrpc`.
//!
//! Field numbers are frozen by the rules of protobuf, and fields that are not named here are skipped when read. So there is
//! nothing to generate, and a newer LND changes nothing.

use std::collections::HashMap;

/// `/lnrpc.Lightning/GetInfo`
pub const GET_INFO: &str = "/lnrpc.Lightning/GetInfo";
/// `/lnrpc.Lightning/ChannelBalance`
pub const CHANNEL_BALANCE: &str = "/lnrpc.Lightning/ChannelBalance";
/// `/lnrpc.Lightning/SignMessage`
pub const SIGN_MESSAGE: &str = "/lnrpc.Lightning/SignMessage";
/// `/lnrpc.Lightning/AddInvoice`
pub const ADD_INVOICE: &str = "/lnrpc.Lightning/AddInvoice";
/// `/lnrpc.Lightning/LookupInvoice`
pub const LOOKUP_INVOICE: &str = "/lnrpc.Lightning/LookupInvoice";
/// `/lnrpc.Lightning/ListInvoices`
pub const LIST_INVOICES: &str = "/lnrpc.Lightning/ListInvoices";
/// `/lnrpc.Lightning/SubscribeInvoices`, a stream
pub const SUBSCRIBE_INVOICES: &str = "/lnrpc.Lightning/SubscribeInvoices";
/// `/routerrpc.Router/SendPaymentV2`, a stream
pub const SEND_PAYMENT: &str = "/routerrpc.Router/SendPaymentV2";
/// `/routerrpc.Router/TrackPaymentV2`, a stream
pub const TRACK_PAYMENT: &str = "/routerrpc.Router/TrackPaymentV2";
/// `/invoicesrpc.Invoices/AddHoldInvoice`
pub const ADD_HOLD_INVOICE: &str = "/invoicesrpc.Invoices/AddHoldInvoice";
/// `/invoicesrpc.Invoices/SettleInvoice`
pub const SETTLE_INVOICE: &str = "/invoicesrpc.Invoices/SettleInvoice";
/// `/invoicesrpc.Invoices/CancelInvoice`
pub const CANCEL_INVOICE: &str = "/invoicesrpc.Invoices/CancelInvoice";
/// `/invoicesrpc.Invoices/SubscribeSingleInvoice`, a stream
pub const SUBSCRIBE_SINGLE_INVOICE: &str = "/invoicesrpc.Invoices/SubscribeSingleInvoice";

/// A request or reply without content.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Empty {}

/// Who the node is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NodeInfo {
    /// 66 hex digits.
    #[prost(string, tag = "1")]
    pub identity_pubkey: String,
    /// Its name.
    #[prost(string, tag = "2")]
    pub alias: String,
    /// Height of its chain.
    #[prost(uint32, tag = "6")]
    pub block_height: u32,
    /// 64 hex digits.
    #[prost(string, tag = "8")]
    pub block_hash: String,
    /// Whether it has caught up with the chain.
    #[prost(bool, tag = "9")]
    pub synced_to_chain: bool,
    /// Of LND.
    #[prost(string, tag = "14")]
    pub version: String,
    /// Always one.
    #[prost(message, repeated, tag = "16")]
    pub chains: Vec<Chain>,
    /// `#rrggbb`
    #[prost(string, tag = "17")]
    pub color: String,
}

/// A chain that a node follows.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Chain {
    /// mainnet, testnet, signet, regtest, simnet.
    #[prost(string, tag = "2")]
    pub network: String,
}

/// An amount in both units.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Amount {
    /// Whole satoshis, rounded down.
    #[prost(uint64, tag = "1")]
    pub sat: u64,
    /// Exact.
    #[prost(uint64, tag = "2")]
    pub msat: u64,
}

/// What the channels hold.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ChannelBalance {
    /// On our side.
    #[prost(message, optional, tag = "3")]
    pub local_balance: Option<Amount>,
    /// On the other side.
    #[prost(message, optional, tag = "4")]
    pub remote_balance: Option<Amount>,
    /// On its way out.
    #[prost(message, optional, tag = "5")]
    pub unsettled_local_balance: Option<Amount>,
}

/// A message to be signed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SignMessageRequest {
    /// Its bytes; LND puts "Lightning Signed Message:" before them.
    #[prost(bytes = "vec", tag = "1")]
    pub msg: Vec<u8>,
}

/// A signature.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SignMessageResponse {
    /// zbase32
    #[prost(string, tag = "1")]
    pub signature: String,
}

/// A payment to be made.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SendPaymentRequest {
    /// Keysend: the payee.
    #[prost(bytes = "vec", tag = "1")]
    pub dest: Vec<u8>,
    /// Keysend: names the payment.
    #[prost(bytes = "vec", tag = "3")]
    pub payment_hash: Vec<u8>,
    /// Keysend: blocks that the last hop must leave.
    #[prost(int32, tag = "4")]
    pub final_cltv_delta: i32,
    /// An invoice.
    #[prost(string, tag = "5")]
    pub payment_request: String,
    /// After this time LND starts no further attempt.
    #[prost(int32, tag = "6")]
    pub timeout_seconds: i32,
    /// Keysend: the preimage and further records.
    #[prost(map = "uint64, bytes", tag = "11")]
    pub dest_custom_records: HashMap<u64, Vec<u8>>,
    /// Only where the invoice has no amount.
    #[prost(int64, tag = "12")]
    pub amt_msat: i64,
    /// Most that it may cost; 0 is "routes without a fee only".
    #[prost(int64, tag = "13")]
    pub fee_limit_msat: i64,
    /// Keysend: features of the payee.
    #[prost(int32, repeated, tag = "16")]
    pub dest_features: Vec<i32>,
    /// Most parts.
    #[prost(uint32, tag = "17")]
    pub max_parts: u32,
    /// Nothing is said before the end.
    #[prost(bool, tag = "18")]
    pub no_inflight_updates: bool,
}

/// A question about a payment.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TrackPaymentRequest {
    /// Names the payment.
    #[prost(bytes = "vec", tag = "1")]
    pub payment_hash: Vec<u8>,
    /// Nothing is said before the end.
    #[prost(bool, tag = "2")]
    pub no_inflight_updates: bool,
}

/// A payment as LND sees it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Payment {
    /// 64 hex digits.
    #[prost(string, tag = "1")]
    pub payment_hash: String,
    /// 64 hex digits; zeros until it is settled.
    #[prost(string, tag = "6")]
    pub payment_preimage: String,
    /// Without the fee.
    #[prost(int64, tag = "8")]
    pub value_msat: i64,
    /// One of [`PaymentStatus`].
    #[prost(enumeration = "PaymentStatus", tag = "10")]
    pub status: i32,
    /// What it cost on top.
    #[prost(int64, tag = "12")]
    pub fee_msat: i64,
    /// When LND began it, by LND's clock.
    #[prost(int64, tag = "13")]
    pub creation_time_ns: i64,
    /// One of [`FailureReason`].
    #[prost(enumeration = "FailureReason", tag = "16")]
    pub failure_reason: i32,
}

/// How far a payment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum PaymentStatus {
    /// Not used any more.
    Unknown = 0,
    /// Under way.
    InFlight = 1,
    /// The payee has it.
    Succeeded = 2,
    /// Over: no part of it is under way.
    Failed = 3,
    /// Known, nothing sent yet.
    Initiated = 4,
}

/// Why a payment failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum FailureReason {
    /// It did not.
    None = 0,
    /// No way was found in time.
    Timeout = 1,
    /// There is no way within the fee limit.
    NoRoute = 2,
    /// Something else.
    Error = 3,
    /// The payee does not know the invoice, or not with this amount.
    IncorrectPaymentDetails = 4,
    /// The channels do not hold enough.
    InsufficientBalance = 5,
    /// Somebody ended it at the node.
    Canceled = 6,
}

/// An invoice: one to be made, or one that LND has.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Invoice {
    /// What for.
    #[prost(string, tag = "1")]
    pub memo: String,
    /// Empty for a hold invoice that is not settled.
    #[prost(bytes = "vec", tag = "3")]
    pub r_preimage: Vec<u8>,
    /// Names it.
    #[prost(bytes = "vec", tag = "4")]
    pub r_hash: Vec<u8>,
    /// Unix seconds, by LND's clock.
    #[prost(int64, tag = "7")]
    pub creation_date: i64,
    /// Its text.
    #[prost(string, tag = "9")]
    pub payment_request: String,
    /// Instead of the memo.
    #[prost(bytes = "vec", tag = "10")]
    pub description_hash: Vec<u8>,
    /// Seconds.
    #[prost(int64, tag = "11")]
    pub expiry: i64,
    /// With hints to private channels.
    #[prost(bool, tag = "15")]
    pub private: bool,
    /// Counts invoices.
    #[prost(uint64, tag = "16")]
    pub add_index: u64,
    /// Counts settled invoices.
    #[prost(uint64, tag = "17")]
    pub settle_index: u64,
    /// What arrived.
    #[prost(int64, tag = "20")]
    pub amt_paid_msat: i64,
    /// One of [`InvoiceState`].
    #[prost(enumeration = "InvoiceState", tag = "21")]
    pub state: i32,
    /// What arrived or is held, by part.
    #[prost(message, repeated, tag = "22")]
    pub htlcs: Vec<InvoiceHtlc>,
    /// What it asks for; 0 leaves it to the payer.
    #[prost(int64, tag = "23")]
    pub value_msat: i64,
    /// Paid without an invoice.
    #[prost(bool, tag = "25")]
    pub is_keysend: bool,
}

/// How far an invoice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum InvoiceState {
    /// Not paid.
    Open = 0,
    /// Paid.
    Settled = 1,
    /// Over.
    Canceled = 2,
    /// A payment is held.
    Accepted = 3,
}

/// One part of a payment that comes in.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InvoiceHtlc {
    /// What it brings.
    #[prost(uint64, tag = "3")]
    pub amt_msat: u64,
    /// The block from which on the payer may take it back.
    #[prost(int32, tag = "7")]
    pub expiry_height: i32,
    /// 0: held, 1: settled, 2: canceled.
    #[prost(int32, tag = "8")]
    pub state: i32,
    /// Records that came with it.
    #[prost(map = "uint64, bytes", tag = "9")]
    pub custom_records: HashMap<u64, Vec<u8>>,
}

/// An invoice that was made.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AddInvoiceResponse {
    /// Names it.
    #[prost(bytes = "vec", tag = "1")]
    pub r_hash: Vec<u8>,
    /// Its text.
    #[prost(string, tag = "2")]
    pub payment_request: String,
    /// Counts invoices.
    #[prost(uint64, tag = "16")]
    pub add_index: u64,
}

/// Names an invoice.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PaymentHashRequest {
    /// 32 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub r_hash: Vec<u8>,
}

/// Which invoices are asked for.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ListInvoicesRequest {
    /// Open and held ones only.
    #[prost(bool, tag = "1")]
    pub pending_only: bool,
    /// Those after this `add_index`.
    #[prost(uint64, tag = "4")]
    pub index_offset: u64,
    /// Most in one page.
    #[prost(uint64, tag = "5")]
    pub num_max_invoices: u64,
    /// Made since then, unix seconds.
    #[prost(uint64, tag = "7")]
    pub creation_date_start: u64,
}

/// A page of invoices.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListInvoicesResponse {
    /// Oldest first.
    #[prost(message, repeated, tag = "1")]
    pub invoices: Vec<Invoice>,
    /// `index_offset` of the next page.
    #[prost(uint64, tag = "2")]
    pub last_index_offset: u64,
}

/// From where on invoices are told. LND reads a 0 as "only new ones".
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InvoiceSubscription {
    /// Those made after this one.
    #[prost(uint64, tag = "1")]
    pub add_index: u64,
    /// Those settled after this one.
    #[prost(uint64, tag = "2")]
    pub settle_index: u64,
}

/// A hold invoice to be made.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AddHoldInvoiceRequest {
    /// What for.
    #[prost(string, tag = "1")]
    pub memo: String,
    /// Names it.
    #[prost(bytes = "vec", tag = "2")]
    pub hash: Vec<u8>,
    /// Instead of the memo.
    #[prost(bytes = "vec", tag = "4")]
    pub description_hash: Vec<u8>,
    /// Seconds.
    #[prost(int64, tag = "5")]
    pub expiry: i64,
    /// Blocks that the last hop must leave; 0 is LND's default.
    #[prost(uint64, tag = "7")]
    pub cltv_expiry: u64,
    /// With hints to private channels.
    #[prost(bool, tag = "9")]
    pub private: bool,
    /// 0 leaves it to the payer.
    #[prost(int64, tag = "10")]
    pub value_msat: i64,
}

/// A hold invoice that was made.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AddHoldInvoiceResponse {
    /// Its text.
    #[prost(string, tag = "1")]
    pub payment_request: String,
}

/// Takes a held payment.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SettleInvoiceRequest {
    /// 32 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub preimage: Vec<u8>,
}

/// Gives a held payment back.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CancelInvoiceRequest {
    /// 32 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub payment_hash: Vec<u8>,
}

/// One invoice to be told of: its state now, and every change.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SubscribeSingleInvoiceRequest {
    /// 32 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub r_hash: Vec<u8>,
}
