//! A hearth on a temporary directory: started, killed, started again, asked by its own command line.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::http::http;
use super::{Client, PATIENCE};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_hearth");
/// Most lines of a server's log that are kept.
const LOG_LINES: usize = 100_000;

/// No rates, because tests are faster than people; several tests have them on.
const CONFIG: &str = "[rates]\nenabled = false\n[limits]\nconnections_per_ip = 10000\n[log]\nlevel = \"info\"\n";

/// A server and its directory. Dropping it kills the server and removes the directory.
pub struct Hearth {
    dir: TempDir,
    child: Option<Child>,
    stdout: Option<Receiver<String>>,
    log: Arc<Mutex<Vec<String>>>,
    logging: Option<thread::JoinHandle<()>>,
    address: String,
    admin: String,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Hearth {
    /// A fresh server with the settings of [`CONFIG`].
    pub fn start() -> Self {
        Self::with_config(CONFIG)
    }

    /// A fresh server with the rates on and everything else as it is shipped.
    pub fn as_shipped() -> Self {
        Self::with_config("")
    }

    /// A fresh server with these settings.
    pub fn with_config(config: &str) -> Self {
        let mut hearth = Self::prepared(config);
        hearth.launch();
        hearth
    }

    /// A directory with a configuration and no server.
    pub fn prepared(config: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("hearth-it-").tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        let (address, admin) = (String::new(), String::new());
        Self { dir, child: None, stdout: None, log: Arc::default(), logging: None, address, admin, environment: Vec::new() }
    }

    /// Starts the server and waits for its line.
    pub fn launch(&mut self) {
        if let Err(status) = self.try_launch() {
            panic!("ended before it was ready: {status}; log:\n{}", self.log());
        }
    }

    /// Starts a server that may end before it is ready: then, how.
    pub fn try_launch(&mut self) -> Result<(), ExitStatus> {
        assert!(self.child.is_none(), "it runs already");
        let mut child = self.serve_command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (to_test, from_server) = sync_channel(64);
        let stdout = child.stdout.take().unwrap();
        thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(to_test.send(line))));
        let stderr = child.stderr.take().unwrap();
        let log = Arc::clone(&self.log);
        self.logging = Some(thread::spawn(move || keep_log(stderr, &log)));
        self.child = Some(child);
        let line = match from_server.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no ready line in {PATIENCE:?}; log:\n{}", self.log()),
            Err(RecvTimeoutError::Disconnected) => return Err(self.wait()),
        };
        self.stdout = Some(from_server);
        (self.address, self.admin) = parse_ready(&line);
        Ok(())
    }

    /// Servers that are started from now on have these variables too.
    pub fn set_environment(&mut self, environment: Vec<(&'static str, PathBuf)>) {
        self.environment = environment;
    }

    /// The directory that everything of this hearth lies in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The command that serves, for tests that expect it to fail.
    pub fn serve_command(&self) -> Command {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).envs(self.environment.iter().cloned());
        command
    }

    /// A command of the binary on this directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("--config").arg(self.dir.path().join("config.toml")).arg("--data").arg(self.data()).args(arguments);
        command.current_dir(self.dir.path()).env_remove("RUST_LOG");
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        finish(self.command(arguments))
    }

    /// Runs a command that must succeed, with `--json`, and reads what it prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?} printed no JSON ({error}):\n{text}"))
    }

    /// Credits an account with play money.
    pub fn fund(&self, account: &str, amount_msat: u64) {
        let output = self.run(&["wallet", "fund", account, &amount_msat.to_string()]);
        assert!(output.status.success(), "fund: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }

    /// A new client.
    pub async fn client(&self) -> Client {
        Client::connect(&self.url()).await
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    /// Host and port of the relay.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `http://host:port` of the second listener.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// A figure of `/metrics` that has no labels.
    pub async fn figure(&self, name: &str) -> f64 {
        let metrics = http(self.admin.strip_prefix("http://").unwrap(), "GET", "/metrics", &[]).await.body;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in:\n{metrics}")).parse().unwrap()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Process id of the running server.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Everything that it wrote on stderr until now.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits until these words stand in the log of a server that goes on: its line may still be on its way.
    pub fn says(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(words) {
            assert!(Instant::now() < deadline, "{words:?} is not in the log:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Lines on stdout after the first.
    pub fn further_output(&self) -> Vec<String> {
        self.stdout.as_ref().map_or_else(Vec::new, |lines| lines.try_iter().collect())
    }

    /// The end that a crash or a power switch makes: SIGKILL, nothing else runs.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.pid()).unwrap();
        // SAFETY: a plain system call on the id of a child that has not been waited for.
        #[expect(unsafe_code, reason = "std has no way to send SIGTERM")]
        let result = unsafe { libc::kill(pid, signal) };
        assert_eq!(result, 0);
    }

    /// Waits for its end; its last words are in the log then.
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait_for(&mut self.child.take().unwrap(), "serve");
        if let Some(logging) = self.logging.take() {
            logging.join().unwrap();
        }
        status
    }

    /// SIGTERM and the ordered end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait()
    }

    /// Whether the server still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }
}

impl Drop for Hearth {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if thread::panicking() {
            let log = self.log.lock().map(|log| log.iter().rev().take(40).rev().cloned().collect::<Vec<_>>().join("\n"));
            eprintln!("--- end of the server's log:\n{}\n---", log.unwrap_or_default());
        }
    }
}

fn keep_log(stderr: impl Read, log: &Mutex<Vec<String>>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let mut log = log.lock().unwrap();
        if log.len() < LOG_LINES {
            log.push(line);
        }
    }
}

/// `hearth is serving at ws://127.0.0.1:7777/ (admin http://127.0.0.1:7778)`
fn parse_ready(line: &str) -> (String, String) {
    let parse = || {
        let rest = line.strip_prefix("hearth is serving at ws://")?;
        let (address, rest) = rest.split_once("/ (admin ")?;
        Some((address.to_owned(), rest.strip_suffix(')')?.to_owned()))
    };
    parse().unwrap_or_else(|| panic!("not the ready line: {line}"))
}

/// Runs a command to its end, with a bound.
pub fn finish(mut command: Command) -> Output {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let errors = thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let status = wait_for(&mut child, &format!("{command:?}"));
    Output { status, stdout: reader.join().unwrap(), stderr: errors.join().unwrap() }
}

fn wait_for(child: &mut Child, what: &str) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE * 2;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            drop(child.kill());
            drop(child.wait());
            panic!("still running after {:?}: {what}", PATIENCE * 2);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Bits of a file's mode that say who may do what.
pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}
