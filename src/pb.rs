//! Generated gRPC types and services (`build.rs`, from `proto/`), and what their users need of the gRPC library, so that only this
//! room and the servers name it.

use tonic::transport::{Channel, Endpoint, Error};
pub use tonic::{Code, Status};

use admin::admin_client::AdminClient;

/// The owner's interface over the Unix socket (`proto/admin.proto`).
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::too_many_lines, reason = "generated")]
pub mod admin {
    tonic::include_proto!("hearth.admin.v1");
}

/// A wallet on the same machine (`proto/wallet_backend.proto`): the client that hearth is, and the server for whoever writes one in Rust.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::too_many_lines, reason = "generated")]
pub mod wallet_backend {
    tonic::include_proto!("hearth.wallet.v1");
}

/// A connection to a running server.
pub type AdminConnection = AdminClient<Channel>;

/// Connects to the server that listens on a Unix socket.
pub async fn connect_admin(socket: &str) -> Result<AdminConnection, Error> {
    Ok(AdminClient::new(Endpoint::from_shared(format!("unix:{socket}"))?.connect().await?))
}

impl std::fmt::Debug for admin::MakeConnectionReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URI holds the client's secret.
        f.debug_struct("MakeConnectionReply")
            .field("name", &self.name)
            .field("wallet_pubkey", &self.wallet_pubkey)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for admin::ExportedTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It may hold the proof of a payment.
        f.debug_struct("ExportedTransaction").field("payment_hash", &self.payment_hash).finish_non_exhaustive()
    }
}

// Preimages prove payments; whoever reads a log must not get them.
mod without_preimages {
    use std::fmt;

    use super::wallet_backend::{Incoming, Keysend, MakeInvoiceRequest, PaymentReply, SettleHoldRequest};

    impl fmt::Debug for Keysend {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Keysend").field("payee", &self.payee).field("records", &self.records).finish_non_exhaustive()
        }
    }

    impl fmt::Debug for PaymentReply {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("PaymentReply")
                .field("state", &self.state())
                .field("fee_msat", &self.fee_msat)
                .field("failure", &self.failure)
                .field("attempt", &self.attempt)
                .finish_non_exhaustive()
        }
    }

    impl fmt::Debug for MakeInvoiceRequest {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("MakeInvoiceRequest")
                .field("amount_msat", &self.amount_msat)
                .field("expiry_s", &self.expiry_s)
                .finish_non_exhaustive()
        }
    }

    impl fmt::Debug for SettleHoldRequest {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("SettleHoldRequest").finish_non_exhaustive()
        }
    }

    impl fmt::Debug for Incoming {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Incoming")
                .field("payment_hash", &const_hex::encode(&self.payment_hash))
                .field("amount_msat", &self.amount_msat)
                .field("state", &self.state())
                .finish_non_exhaustive()
        }
    }
}
