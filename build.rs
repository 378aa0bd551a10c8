//! Generates the gRPC types from `proto/` with protox, so that nobody needs `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["proto/admin.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // The command line prints replies as JSON exactly as they are defined.
        .message_attribute(".", "#[derive(serde::Serialize)]")
        // They hold secrets; `pb` gives them a Debug that says nothing.
        .skip_debug([".hearth.admin.v1.MakeConnectionReply", ".hearth.admin.v1.ExportedTransaction"])
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    Ok(())
}
