//! The example wallets as processes: started, killed, started again on the same ledger, and asked as their neighbours.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::port::Port;

/// Which example.
pub trait Example {
    fn command() -> Command;
}

/// `examples/wallet_backend.rs`
pub struct Rust;

/// `examples/python/wallet_backend.py`
pub struct Python;

impl Example for Rust {
    fn command() -> Command {
        // Beside this test binary: target/PROFILE/deps/backends-... and target/PROFILE/examples/.
        let test = std::env::current_exe().unwrap();
        let path = test.parent().unwrap().parent().unwrap().join("examples/wallet_backend");
        assert!(path.exists(), "{} is missing: cargo build --release --example wallet_backend", path.display());
        Command::new(path)
    }
}

impl Example for Python {
    fn command() -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("target/tools/python/bin/python");
        assert!(python.exists(), "{} is missing: scripts/setup.sh test makes it", python.display());
        let mut command = Command::new(python);
        command.arg(root.join("examples/python/wallet_backend.py"));
        command
    }
}

/// A wallet and its folder. Dropping it kills the process and removes the folder.
pub struct Wallet {
    dir: TempDir,
    make: fn() -> Command,
    child: Option<Child>,
    /// Where it listens, if on a port.
    port: Option<Port>,
}

/// What opens a port.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

impl Wallet {
    pub fn start<E: Example>() -> Self {
        Self::start_at::<E>(None)
    }

    /// On a port of the loopback interface, with a token.
    pub fn start_on_a_port<E: Example>() -> Self {
        Self::start_at::<E>(Some(Port::reserve()))
    }

    fn start_at<E: Example>(port: Option<Port>) -> Self {
        let dir = tempfile::Builder::new().prefix("hearth-wallet-").tempdir().unwrap();
        let mut wallet = Self { dir, make: E::command, child: None, port };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(wallet.token_file()).unwrap();
        writeln!(file, "{TOKEN}").unwrap();
        wallet.launch();
        wallet
    }

    /// The token's file; it counts for a port only.
    pub fn token_file(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    /// The lines of hearth's configuration below `[wallet.grpc]`.
    pub fn settings(&self) -> String {
        let token =
            self.port.as_ref().map_or_else(String::new, |_| format!("token_file = \"{}\"\n", self.token_file().display()));
        format!("address = \"{}\"\n{token}", self.address())
    }

    /// Starts the process and waits for its line.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut command = (self.make)();
        command.arg("--listen").arg(self.address()).arg("--state").arg(self.dir.path().join("state"));
        command.arg("--neighbours").arg(self.neighbours());
        if self.port.is_some() {
            command.arg("--token-file").arg(self.token_file());
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.child = Some(child);
        let place = line.trim().strip_prefix("listening at ").expect("the wallet did not start");
        assert_eq!(place, self.address());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// It takes what it is sent and does nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on after a pause.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// As hearth's configuration names it.
    pub fn address(&self) -> String {
        let socket = || format!("unix:{}", self.dir.path().join("wallet.sock").display());
        self.port.as_ref().map_or_else(socket, |port| format!("127.0.0.1:{}", port.number()))
    }

    fn neighbours(&self) -> PathBuf {
        self.dir.path().join("neighbours.sock")
    }

    /// A folder for whoever uses the wallet.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("hearth")
    }

    /// What the neighbours say, or why not.
    pub fn ask(&self, ask: &Value) -> Result<Value, String> {
        let mut socket = UnixStream::connect(self.neighbours()).unwrap();
        writeln!(socket, "{ask}").unwrap();
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        said["error"].as_str().map_or(Ok(said.clone()), |error| Err(error.to_owned()))
    }

    /// A neighbour's invoice and its hash.
    pub fn invoice(&self, amount_msat: Option<u64>, then: &str) -> (String, String) {
        let said = self.ask(&json!({"do": "invoice", "amount_msat": amount_msat, "then": then})).unwrap();
        (said["invoice"].as_str().unwrap().to_owned(), said["hash"].as_str().unwrap().to_owned())
    }
}

impl Drop for Wallet {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
