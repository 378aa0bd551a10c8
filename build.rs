//! Generates the gRPC types from `proto/` with protox, so that nobody needs `protoc`.

use std::error::Error;

/// Messages with a secret in them: a pairing code, a preimage.
const SECRET: [&str; 7] = [
    ".hearth.admin.v1.MakeConnectionReply",
    ".hearth.admin.v1.ExportedTransaction",
    ".hearth.wallet.v1.Keysend",
    ".hearth.wallet.v1.PaymentReply",
    ".hearth.wallet.v1.MakeInvoiceRequest",
    ".hearth.wallet.v1.SettleHoldRequest",
    ".hearth.wallet.v1.Incoming",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["proto/admin.proto", "proto/wallet_backend.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // The command line prints replies as JSON exactly as they are defined.
        .message_attribute(".hearth.admin", "#[derive(serde::Serialize)]")
        // These hold secrets; `pb` gives them a Debug that does not print them.
        .skip_debug(SECRET)
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    Ok(())
}
