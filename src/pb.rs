//! Generated gRPC types and services (`build.rs`, from `proto/`). Nothing is written by hand here but what must not be derived.

/// The owner's interface over the Unix socket (`proto/admin.proto`).
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::too_many_lines, reason = "generated")]
pub mod admin {
    tonic::include_proto!("hearth.admin.v1");
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
