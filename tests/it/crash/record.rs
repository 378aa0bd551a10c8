//! What a disk remembered, and what of it may be left after the power went: each file has what was synced and, of what was written
//! since, a beginning that ends at some sector; each directory has the entries that were there when it was synced and a beginning
//! of the later changes. Files and directories lose independently of each other. A harsher disk keeps any of the sectors that were not
//! synced, later ones without earlier ones (`Loss::Sectors`).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rand::Rng;
use sha2::{Digest, Sha256};

/// What a disk writes at once or not at all.
const SECTOR: usize = 512;

/// One thing that happened, in order.
#[derive(Debug, Clone)]
pub enum Op {
    /// Another process began.
    Start,
    Open {
        file: u32,
        path: PathBuf,
        created: bool,
        emptied: bool,
    },
    Write {
        file: u32,
        offset: usize,
        data: Vec<u8>,
    },
    Truncate {
        file: u32,
        bytes: usize,
    },
    SyncFile(u32),
    SyncDirectory(PathBuf),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Unlink(PathBuf),
    Mkdir(PathBuf),
    /// Went out over a socket or a pipe.
    Sent(Vec<u8>),
}

/// Reads a record.
pub fn read(path: &Path) -> Vec<Op> {
    let bytes = std::fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let mut ops = Vec::new();
    while rest.len() >= 24 {
        let number = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let (kind, file) = (rest[0], number(4));
        let value = usize::try_from(u64::from_le_bytes(rest[8..16].try_into().unwrap())).unwrap();
        let (path_bytes, data_bytes) = (number(16) as usize, number(20) as usize);
        if rest.len() < 24 + path_bytes + data_bytes {
            break; // killed while it was noted
        }
        let text = |bytes: &[u8]| PathBuf::from(String::from_utf8(bytes.to_vec()).unwrap());
        let path = text(&rest[24..24 + path_bytes]);
        let data = &rest[24 + path_bytes..24 + path_bytes + data_bytes];
        rest = &rest[24 + path_bytes + data_bytes..];
        ops.push(match kind {
            1 => Op::Start,
            2 => Op::Open { file, path, created: value & 1 != 0, emptied: value & 2 != 0 },
            3 => Op::Write { file, offset: value, data: data.to_vec() },
            4 => Op::Truncate { file, bytes: value },
            5 if file == 0 => Op::SyncDirectory(path),
            5 => Op::SyncFile(file),
            6 => Op::Rename(path, text(data)),
            7 | 9 => Op::Unlink(path),
            8 => Op::Mkdir(path),
            10 => Op::Link(path, text(data)),
            11 => Op::Sent(data.to_vec()),
            other => panic!("an unknown record: {other}"),
        });
    }
    ops
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Directory(usize),
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Truncate(usize),
}

#[derive(Debug, Clone)]
enum EntryChange {
    Set(String, Node),
    Remove(String),
    Move(String, String, Node),
}

#[derive(Debug, Clone, Default)]
struct FileState {
    synced: Vec<u8>,
    since: Vec<Change>,
}

#[derive(Debug, Clone, Default)]
struct DirectoryState {
    synced: BTreeMap<String, Node>,
    since: Vec<EntryChange>,
}

/// How much of what was not synced is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of it.
    Everything,
    /// Nothing: as after `kill -9`.
    Nothing,
    /// Of each file any sectors of what was written, in any order; of each directory the changes up to some moment.
    Sectors,
    /// Of each file the writes up to some moment, the last one cut at a sector; of each directory the changes up to some moment.
    Tail,
}

/// The files below a directory as a disk would have them.
pub struct Ground {
    files: Vec<FileState>,
    directories: Vec<DirectoryState>,
    now: HashMap<PathBuf, Node>,
    open: HashMap<u32, usize>,
}

/// Files (with contents) and directories (without) of one state, by path below the root.
pub type Picture = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Ground {
    /// An empty directory.
    pub fn new(root: &Path) -> Self {
        let root = root.canonicalize().unwrap();
        let now = HashMap::from([(root, Node::Directory(0))]);
        Self { files: Vec::new(), directories: vec![DirectoryState::default()], now, open: HashMap::new() }
    }

    /// The next thing happens.
    pub fn play(&mut self, op: &Op) {
        match op {
            Op::Start => self.open.clear(),
            Op::Sent(_) => {}
            Op::Open { file, path, created, emptied } => self.opened(*file, path, *created, *emptied),
            Op::Write { file, offset, data } => self.change(*file, Change::Write { offset: *offset, data: data.clone() }),
            Op::Truncate { file, bytes } => self.change(*file, Change::Truncate(*bytes)),
            Op::SyncFile(file) => {
                let state = &mut self.files[self.open[file]];
                let since = std::mem::take(&mut state.since);
                since.iter().for_each(|change| apply(&mut state.synced, change));
            }
            Op::SyncDirectory(path) => {
                let Some(Node::Directory(directory)) = self.now.get(path).copied() else { return };
                let state = &mut self.directories[directory];
                let since = std::mem::take(&mut state.since);
                since.iter().for_each(|change| enter(&mut state.synced, change));
            }
            Op::Rename(from, to) => {
                // Sockets have names too, and nothing to lose.
                let Some(node) = self.now.remove(from) else { return };
                self.now.insert(to.clone(), node);
                assert_eq!(from.parent(), to.parent(), "renames between directories are not modelled");
                self.entry(from, |name| EntryChange::Move(name, name_of(to), node));
            }
            Op::Link(from, to) => {
                let node = self.now[from];
                self.now.insert(to.clone(), node);
                self.entry(to, |name| EntryChange::Set(name, node));
            }
            Op::Unlink(path) => {
                self.now.remove(path);
                self.entry(path, EntryChange::Remove);
            }
            Op::Mkdir(path) => {
                let node = Node::Directory(self.directories.len());
                self.directories.push(DirectoryState::default());
                self.now.insert(path.clone(), node);
                self.entry(path, |name| EntryChange::Set(name, node));
            }
        }
    }

    fn opened(&mut self, file: u32, path: &Path, created: bool, emptied: bool) {
        if created {
            let node = Node::File(self.files.len());
            self.files.push(FileState::default());
            self.now.insert(path.to_owned(), node);
            self.entry(path, |name| EntryChange::Set(name, node));
        }
        let Some(Node::File(at)) = self.now.get(path).copied() else { panic!("{} was not made", path.display()) };
        self.open.insert(file, at);
        if emptied && !created {
            self.change(file, Change::Truncate(0));
        }
    }

    fn change(&mut self, file: u32, change: Change) {
        let at = self.open[&file];
        self.files[at].since.push(change);
    }

    fn entry(&mut self, path: &Path, change: impl FnOnce(String) -> EntryChange) {
        let parent = path.parent().unwrap();
        let Some(Node::Directory(directory)) = self.now.get(parent).copied() else { panic!("no {}", parent.display()) };
        self.directories[directory].since.push(change(name_of(path)));
    }

    /// What a disk may have if the power goes now.
    pub fn after_power_loss(&self, loss: Loss, random: &mut impl Rng) -> Picture {
        let mut picture = Picture::new();
        let contents: Vec<Vec<u8>> = self.files.iter().map(|file| file.left(loss, random)).collect();
        let entries: Vec<BTreeMap<String, Node>> = self.directories.iter().map(|one| one.left(loss, random)).collect();
        let mut open = vec![(PathBuf::new(), 0)];
        while let Some((path, directory)) = open.pop() {
            for (name, node) in &entries[directory] {
                let path = path.join(name);
                match node {
                    Node::File(at) => drop(picture.insert(path, Some(contents[*at].clone()))),
                    Node::Directory(at) => {
                        picture.insert(path.clone(), None);
                        open.push((path, *at));
                    }
                }
            }
        }
        picture
    }
}

impl FileState {
    fn left(&self, loss: Loss, random: &mut impl Rng) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        if loss == Loss::Sectors {
            let kept = [0.1, 0.5, 0.9][random.random_range(0..3)];
            self.since.iter().for_each(|change| scattered(&mut bytes, change, kept, random));
            return bytes;
        }
        let upto = random.random_range(0..=self.since.len());
        for (at, change) in self.since.iter().enumerate() {
            let part = match loss {
                Loss::Everything => break,
                Loss::Nothing => Part::Whole,
                Loss::Tail if at < upto => Part::Whole,
                Loss::Tail if at == upto => Part::Head,
                Loss::Tail | Loss::Sectors => break,
            };
            match (change, part) {
                (Change::Truncate(_), Part::Head) => {}
                (_, Part::Whole) => apply(&mut bytes, change),
                (Change::Write { offset, data }, Part::Head) => torn(&mut bytes, *offset, data, random),
            }
        }
        bytes
    }
}

impl DirectoryState {
    fn left(&self, loss: Loss, random: &mut impl Rng) -> BTreeMap<String, Node> {
        let mut entries = self.synced.clone();
        let upto = random.random_range(0..=self.since.len());
        for (at, change) in self.since.iter().enumerate() {
            let is_there = match loss {
                Loss::Everything => false,
                Loss::Nothing => true,
                Loss::Tail | Loss::Sectors => at < upto,
            };
            if is_there {
                enter(&mut entries, change);
            }
        }
        entries
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// Up to the end of some sector.
    Head,
}

/// A write of which the first sectors arrived, or none.
fn torn(bytes: &mut Vec<u8>, offset: usize, data: &[u8], random: &mut impl Rng) {
    let (first, last) = (offset / SECTOR, (offset + data.len()).div_ceil(SECTOR));
    let end = (random.random_range(first..=last) * SECTOR).min(offset + data.len());
    if end > offset {
        apply(bytes, &Change::Write { offset, data: data[..end - offset].to_vec() });
    }
}

/// A change of which each sector arrived by chance; what lies before one that did, and was not there, is zero.
fn scattered(bytes: &mut Vec<u8>, change: &Change, kept: f64, random: &mut impl Rng) {
    let Change::Write { offset, data } = change else {
        if random.random_bool(kept) {
            apply(bytes, change);
        }
        return;
    };
    let mut at = *offset;
    while at < offset + data.len() {
        let end = ((at / SECTOR + 1) * SECTOR).min(offset + data.len());
        if random.random_bool(kept) {
            apply(bytes, &Change::Write { offset: at, data: data[at - offset..end - offset].to_vec() });
        }
        at = end;
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, data } => {
            if bytes.len() < offset + data.len() {
                bytes.resize(offset + data.len(), 0);
            }
            bytes[*offset..offset + data.len()].copy_from_slice(data);
        }
        Change::Truncate(length) => bytes.resize(*length, 0),
    }
}

fn enter(entries: &mut BTreeMap<String, Node>, change: &EntryChange) {
    match change {
        EntryChange::Set(name, node) => drop(entries.insert(name.clone(), *node)),
        EntryChange::Remove(name) => drop(entries.remove(name)),
        EntryChange::Move(from, to, node) => {
            entries.remove(from);
            entries.insert(to.clone(), *node);
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Names a picture: two that are the same need to be looked at once.
pub fn name(picture: &Picture) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (path, content) in picture {
        // RocksDB's own log of what it does is nobody's data.
        if path.file_name().is_some_and(|name| name == "LOG") {
            continue;
        }
        hash.update(path.to_str().unwrap().as_bytes());
        hash.update([u8::from(content.is_some())]);
        let content = content.as_deref().unwrap_or_default();
        hash.update(content.len().to_le_bytes());
        hash.update(content);
    }
    hash.finalize().into()
}

/// Makes the files of a picture below a directory.
pub fn make(picture: &Picture, root: &Path) {
    use std::os::unix::fs::PermissionsExt;
    for (path, content) in picture {
        let path = root.join(path);
        let mode = match content {
            None => {
                std::fs::create_dir(&path).unwrap();
                0o700
            }
            Some(content) => {
                std::fs::write(&path, content).unwrap();
                0o600
            }
        };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// Where in a record something went out that contains these bytes: what it promised must be there from then on.
pub fn sent(ops: &[Op], wanted: &[u8]) -> Option<usize> {
    ops.iter().position(|op| match op {
        Op::Sent(data) => data.windows(wanted.len()).any(|window| window == wanted),
        _ => false,
    })
}
