//! The disk of a process under test: a small C library (`tests/faults/disk.c`), preloaded into it, that fails, delays or ends the
//! process at a chosen sync or write, has no room, or remembers everything that was asked of it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// What happens at the chosen sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is gone, as after `kill -9`.
    Kill,
    /// The sync fails with EIO, and nothing is synced.
    Fail,
    /// It takes so long.
    Delay {
        /// Milliseconds.
        ms: i32,
    },
}

/// Whether the process is struck in front of the sync or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

/// A disk; its files of control and record lie in a directory of their own.
pub struct Disk {
    dir: TempDir,
}

// The layout of `struct control`.
const ACTION: u64 = 0;
const AFTER: u64 = 4;
const COUNTDOWN: u64 = 8;
const DELAY: u64 = 12;
const SPACE: u64 = 16;
const FIRED: u64 = 24;
const ONLY: u64 = 32;
const ONLY_BYTES: usize = 64;
const CALL: u64 = 96;
const CONTROL_BYTES: usize = 4_096;

impl Disk {
    /// A disk that works.
    pub fn new() -> Self {
        let disk = Self { dir: tempfile::Builder::new().prefix("hearth-disk-").tempdir().unwrap() };
        std::fs::write(disk.control_path(), [0; CONTROL_BYTES]).unwrap();
        disk.control().room(None, "");
        disk
    }

    fn control_path(&self) -> PathBuf {
        self.dir.path().join("control")
    }

    /// The wheel that steers it.
    pub fn control(&self) -> Control {
        Control::open(&self.control_path())
    }

    /// Where everything is remembered that was asked of it.
    pub fn record(&self) -> PathBuf {
        self.dir.path().join("record")
    }

    /// Puts a process that is to be started on this disk, with its files under `root`.
    pub fn carries(&self, command: &mut Command, root: &Path) {
        command.envs(self.environment(root));
    }

    /// The same, and remembers what happens.
    pub fn records(&self, command: &mut Command, root: &Path) {
        self.carries(command, root);
        command.env("DISK_RECORD", self.record());
    }

    /// What puts a process on this disk.
    pub fn environment(&self, root: &Path) -> Vec<(&'static str, PathBuf)> {
        let root = root.canonicalize().unwrap();
        vec![("LD_PRELOAD", library().to_owned()), ("DISK_ROOT", root), ("DISK_CONTROL", self.control_path())]
    }
}

/// Steers a disk, from outside its process or from within.
pub struct Control(File);

impl Control {
    /// The control file of a disk.
    pub fn open(path: &Path) -> Self {
        Self(OpenOptions::new().read(true).write(true).open(path).unwrap())
    }

    /// From now on: something happens at the `nth` sync (from 1) of a file or directory with `only` in its path.
    pub fn arm(&self, fault: Fault, when: When, nth: i32, only: &str) {
        self.arm_call(0, fault, when, nth, only);
    }

    /// The same, at the `nth` write to such a file.
    pub fn arm_write(&self, fault: Fault, when: When, nth: i32, only: &str) {
        self.arm_call(1, fault, when, nth, only);
    }

    fn arm_call(&self, call: i32, fault: Fault, when: When, nth: i32, only: &str) {
        let (action, delay) = match fault {
            Fault::Kill => (1, 0),
            Fault::Fail => (2, 0),
            Fault::Delay { ms } => (3, ms),
        };
        self.put(COUNTDOWN, 0);
        self.put(CALL, call);
        self.put(ACTION, action);
        self.put(AFTER, i32::from(when == When::After));
        self.put(DELAY, delay);
        self.only(only);
        self.put(COUNTDOWN, nth);
    }

    /// What is being delayed goes on.
    pub fn release(&self) {
        self.put(DELAY, 0);
    }

    /// From now on only so many bytes fit into files with `only` in their path; `None`: as many as you like.
    pub fn room(&self, bytes: Option<i64>, only: &str) {
        self.only(only);
        self.0.write_all_at(&bytes.unwrap_or(-1).to_le_bytes(), SPACE).unwrap();
    }

    /// How often something happened.
    pub fn fired(&self) -> i32 {
        let mut bytes = [0; 4];
        self.0.read_exact_at(&mut bytes, FIRED).unwrap();
        i32::from_le_bytes(bytes)
    }

    fn only(&self, only: &str) {
        let mut bytes = [0; ONLY_BYTES];
        bytes[..only.len()].copy_from_slice(only.as_bytes());
        self.0.write_all_at(&bytes, ONLY).unwrap();
    }

    fn put(&self, at: u64, value: i32) {
        self.0.write_all_at(&value.to_le_bytes(), at).unwrap();
    }
}

/// The library, compiled once for this run.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/disk.c");
        let (target, own) = (Path::new(env!("CARGO_TARGET_TMPDIR")), format!("disk.{}.so", std::process::id()));
        let (fresh, library) = (target.join(own), target.join("disk.so"));
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&fresh).arg(source).arg("-ldl");
        let output = compile.output().unwrap_or_else(|error| panic!("no C compiler (scripts/setup.sh installs one): {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Other runs may be using it: it is replaced as a whole.
        std::fs::rename(fresh, &library).unwrap();
        library
    })
}

/// Random numbers, always the same ones; `SEED=...` gives others. The seed is printed with what was found.
pub fn random(seed: u64) -> (u64, rand_chacha::ChaCha8Rng) {
    use rand::SeedableRng;
    let seed = std::env::var("SEED").ok().map_or(seed, |seed| seed.parse().unwrap());
    (seed, rand_chacha::ChaCha8Rng::seed_from_u64(seed))
}

/// A directory in memory where there is one: thousands of small databases are made and thrown away.
pub fn scratch() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("hearth-it-");
    builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir()).unwrap()
}
