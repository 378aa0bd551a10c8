//! A second, small file that remembers where the journal ended: a journal that lost its end, or was replaced by an older copy,
//! cannot look whole.
//!
//! ```text
//! three slots of 512 bytes; the valid one with the largest number counts (older files have two)
//!   0   8  "hearthA2"
//!   8   8  last sequence number (little endian)
//!  16  32  its link
//!  48   8  number of the database's log that holds it, 0: not known (little endian)
//!  56   8  how far that log is synced (little endian)
//!  64  32  SHA-256 of the 64 bytes before
//! ```
//!
//! Older slots ("hearthA1") know nothing of the log: their checksum stands at 48.
//!
//! A mark is written after the commit of its batch and never before, so the anchor is never ahead of a whole journal. It is written
//! at once, which is enough for a process that dies; a thread syncs it at most [`LAG`] later, so that no payment waits for the disk
//! a second time. After a power cut the anchor may therefore be behind the journal: by what was committed in that time, and by
//! [`LAG_RECORDS_MAX`] records and one batch at most. That is no loss: what the journal has beyond the anchor proves itself by its
//! chain. The slot whose mark is known to be on the disk is not written, nor is the one that is being synced: a torn write leaves
//! the durable mark alone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use sha2::{Digest, Sha256};

use super::layout::Link;
use crate::kv::LogEnd;

/// The file's name in the wallet's directory.
pub(super) const FILE: &str = "ANCHOR";
/// Its name while it is made anew.
const NEW_FILE: &str = "ANCHOR.new";
/// How long a mark may wait for its sync.
const LAG: Duration = Duration::from_millis(100);
/// Most records that the synced mark may be behind; more, and the next commit waits for the sync.
pub(super) const LAG_RECORDS_MAX: u64 = 4_096;
const MAGIC: &[u8; 8] = b"hearthA2";
const MAGIC_WITHOUT_LOG: &[u8; 8] = b"hearthA1";
const SLOT: usize = 512;
const SLOT_BYTES: u64 = SLOT as u64;
const SLOTS: u64 = 3;
const USED: usize = 96;
const USED_WITHOUT_LOG: usize = 80;

/// Where the journal ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// Last sequence number; 0 before the first record.
    pub(super) seq: u64,
    /// Its link.
    pub(super) link: Link,
}

/// How far the database's log is known to be synced, before the database is opened. `None`: nobody knows.
pub(super) fn synced_log(dir: &Path) -> Option<LogEnd> {
    let file = File::open(dir.join(FILE)).ok()?;
    let (best, _) = read(&file).ok()?;
    best.map(|(_, log)| log).filter(|log| log.number > 0)
}

/// How many slots hold neither a whole mark nor nothing at all. A power cut may leave one, where it tore the write of the newest
/// mark; more, or one without a power cut, is a disk that does not give back what was written. No slot is needed as long as another
/// one is whole, but nobody should find out from the last one.
pub(super) fn damaged_slots(dir: &Path) -> io::Result<usize> {
    let file = match File::open(dir.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut damaged = 0;
    for slot in 0..SLOTS {
        let mut bytes = [0_u8; SLOT];
        match file.read_exact_at(&mut bytes, slot * SLOT_BYTES) {
            Ok(()) => {}
            // An older file has fewer of them.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        let used = if &bytes[..8] == MAGIC { USED } else { USED_WITHOUT_LOG };
        let is_empty = bytes.iter().all(|byte| *byte == 0);
        let is_whole = read_slot(&file, slot)?.is_some() && bytes[used..].iter().all(|byte| *byte == 0);
        damaged += usize::from(!is_empty && !is_whole);
    }
    Ok(damaged)
}

/// The open file and the thread that syncs it.
pub(super) struct Anchor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    file: File,
    slots: Mutex<Slots>,
    changed: Condvar,
}

/// Which slot is what.
struct Slots {
    /// Its mark is on the disk.
    durable: u64,
    /// The number in it.
    durable_seq: u64,
    /// Takes the next mark. Never the durable one, nor the one that is being synced.
    next: u64,
    /// The number of the last mark that was written.
    seq: u64,
    /// A mark waits for its sync.
    is_dirty: bool,
    /// Do not wait with the sync.
    is_urgent: bool,
    is_closing: bool,
    failed: Option<io::ErrorKind>,
}

impl Anchor {
    /// Opens the file and reads its mark. `None`: there was no file; one with the mark of an empty journal is made and synced
    /// only if `make` says so.
    pub(super) fn open(dir: &Path, make: bool) -> io::Result<(Option<Self>, Option<Mark>)> {
        let path = dir.join(FILE);
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => {
                let (best, slot) = read(&file)?;
                let mark = best.map(|(mark, _)| mark);
                if file.metadata()?.len() < SLOTS * SLOT_BYTES {
                    file.set_len(SLOTS * SLOT_BYTES)?;
                }
                Ok((Some(Self::start(file, slot, mark.map_or(0, |mark| mark.seq))?), mark))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && make => {
                let mark = Mark { seq: 0, link: [0; 32] };
                Ok((Some(Self::make(dir, mark, LogEnd::default())?), Some(mark)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((None, None)),
            Err(error) => Err(error),
        }
    }

    /// Makes the file anew, with this mark only, in place of whatever there is. Durable when it returns.
    pub(super) fn make(dir: &Path, mark: Mark, log: LogEnd) -> io::Result<Self> {
        let path = dir.join(NEW_FILE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.set_len(SLOTS * SLOT_BYTES)?;
        write_slot(&file, 0, mark, log)?;
        file.sync_all()?;
        std::fs::rename(&path, dir.join(FILE))?;
        File::open(dir)?.sync_all()?;
        Self::start(file, 0, mark.seq)
    }

    fn start(file: File, durable: u64, seq: u64) -> io::Result<Self> {
        let slots = Slots {
            durable,
            durable_seq: seq,
            next: (durable + 1) % SLOTS,
            seq,
            is_dirty: false,
            is_urgent: false,
            is_closing: false,
            failed: None,
        };
        let shared = Arc::new(Shared { file, slots: Mutex::new(slots), changed: Condvar::new() });
        let syncing = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("anchor".to_owned()).spawn(move || syncing.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Writes the mark of a batch that is committed, and how far the database's log is synced with it (number 0: not known). Waits for the disk only if the synced mark is too far behind.
    pub(super) fn write(&self, mark: Mark, log: LogEnd) -> io::Result<()> {
        let mut slots = self.shared.slots.lock();
        slots.check()?;
        write_slot(&self.shared.file, slots.next, mark, log)?;
        slots.seq = mark.seq;
        if !slots.is_dirty {
            slots.is_dirty = true;
            self.shared.changed.notify_all();
        }
        while slots.seq.saturating_sub(slots.durable_seq) > LAG_RECORDS_MAX && slots.failed.is_none() {
            slots.is_urgent = true;
            self.shared.changed.notify_all();
            self.shared.changed.wait(&mut slots);
        }
        slots.check()
    }

    /// Waits until the last mark is on the disk.
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut slots = self.shared.slots.lock();
        while (slots.is_dirty || slots.durable_seq != slots.seq) && slots.failed.is_none() {
            slots.is_urgent = true;
            self.shared.changed.notify_all();
            self.shared.changed.wait(&mut slots);
        }
        slots.check()
    }

    /// `Err` once a sync has failed. It is not tried again.
    pub(super) fn check(&self) -> io::Result<()> {
        self.shared.slots.lock().check()
    }
}

impl Drop for Anchor {
    fn drop(&mut self) {
        self.shared.slots.lock().is_closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It ends after its last sync; it cannot panic.
            let _ = thread.join();
        }
    }
}

impl Slots {
    fn check(&self) -> io::Result<()> {
        match self.failed {
            Some(kind) => Err(io::Error::new(kind, "the anchor file could not be synced")),
            None => Ok(()),
        }
    }
}

impl Shared {
    /// Syncs what was written, until the anchor is dropped.
    fn run(&self) {
        let mut slots = self.slots.lock();
        loop {
            while !slots.is_dirty && !slots.is_closing {
                self.changed.wait(&mut slots);
            }
            if !slots.is_dirty || slots.failed.is_some() {
                return;
            }
            if !slots.is_urgent && !slots.is_closing {
                // Marks that come meanwhile go into the same slot and the same sync.
                self.changed.wait_while_for(&mut slots, |slots| !slots.is_urgent && !slots.is_closing, LAG);
            }
            let (syncing, seq) = (slots.next, slots.seq);
            slots.next = (0..SLOTS).find(|slot| *slot != syncing && *slot != slots.durable).unwrap_or(syncing);
            (slots.is_dirty, slots.is_urgent) = (false, false);
            let synced = parking_lot::MutexGuard::unlocked(&mut slots, || self.file.sync_data());
            match synced {
                Ok(()) => (slots.durable, slots.durable_seq) = (syncing, seq),
                Err(error) => slots.failed = Some(error.kind()),
            }
            self.changed.notify_all();
        }
    }
}

fn write_slot(file: &File, slot: u64, mark: Mark, log: LogEnd) -> io::Result<()> {
    let mut bytes = [0_u8; SLOT];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&mark.seq.to_le_bytes());
    bytes[16..48].copy_from_slice(&mark.link);
    bytes[48..56].copy_from_slice(&log.number.to_le_bytes());
    bytes[56..64].copy_from_slice(&log.bytes.to_le_bytes());
    let check = Sha256::digest(&bytes[..64]);
    bytes[64..USED].copy_from_slice(&check);
    file.write_all_at(&bytes, slot * SLOT_BYTES)
}

/// The mark that counts with its end of the log, and its slot.
fn read(file: &File) -> io::Result<(Option<(Mark, LogEnd)>, u64)> {
    let mut best: Option<((Mark, LogEnd), u64)> = None;
    for slot in 0..SLOTS {
        if let Some((mark, log)) = read_slot(file, slot)?
            && best.is_none_or(|((best, _), _)| mark.seq > best.seq)
        {
            best = Some(((mark, log), slot));
        }
    }
    Ok((best.map(|(best, _)| best), best.map_or(0, |(_, slot)| slot)))
}

fn read_slot(file: &File, slot: u64) -> io::Result<Option<(Mark, LogEnd)>> {
    let mut bytes = [0_u8; USED];
    match file.read_exact_at(&mut bytes, slot * SLOT_BYTES) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let with_log = match &bytes[..8] {
        magic if magic == MAGIC => true,
        magic if magic == MAGIC_WITHOUT_LOG => false,
        _ => return Ok(None),
    };
    let end = if with_log { 64 } else { 48 };
    if Sha256::digest(&bytes[..end])[..] != bytes[end..end + 32] {
        return Ok(None);
    }
    let number = |at: usize| {
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(number)
    };
    let mut link = [0; 32];
    link.copy_from_slice(&bytes[16..48]);
    let log = if with_log { LogEnd { number: number(48), bytes: number(56) } } else { LogEnd::default() };
    Ok(Some((Mark { seq: number(8), link }, log)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(seq: u64) -> Mark {
        Mark { seq, link: [u8::try_from(seq % 251).unwrap(); 32] }
    }

    fn log(seq: u64) -> LogEnd {
        LogEnd { number: 1 + seq / 50, bytes: seq * 100 }
    }

    fn reopened(dir: &Path) -> Option<Mark> {
        Anchor::open(dir, false).unwrap().1
    }

    #[test]
    fn the_last_mark_counts_before_its_sync_and_after() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Anchor::open(dir.path(), false).unwrap(), (None, None)));
        let (anchor, found) = Anchor::open(dir.path(), true).unwrap();
        assert_eq!(found, Some(Mark { seq: 0, link: [0; 32] }));
        let anchor = anchor.unwrap();
        for seq in 1..=40 {
            anchor.write(mark(seq), log(seq)).unwrap();
            // A process that dies here leaves this to the next.
            assert_eq!(reopened(dir.path()), Some(mark(seq)));
            if seq % 7 == 0 {
                anchor.flush().unwrap();
                assert_eq!(anchor.shared.slots.lock().durable_seq, seq);
                assert_eq!(reopened(dir.path()), Some(mark(seq)));
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let anchor = Anchor::open(dir.path(), true).unwrap().0.unwrap();
        assert_eq!(damaged_slots(dir.path()).unwrap(), 0, "two slots are empty");
        for seq in 1..=4 {
            anchor.write(mark(seq), log(seq)).unwrap();
            anchor.flush().unwrap();
        }
        drop(anchor);
        let whole = std::fs::read(dir.path().join(FILE)).unwrap();
        assert_eq!(whole.len(), SLOT * 3);
        assert_eq!(damaged_slots(dir.path()).unwrap(), 0);
        let file = OpenOptions::new().write(true).open(dir.path().join(FILE)).unwrap();
        for (at, byte) in whole.iter().enumerate() {
            for bit in 0..8 {
                file.write_all_at(&[byte ^ (1 << bit)], at as u64).unwrap();
                assert_eq!(damaged_slots(dir.path()).unwrap(), 1, "bit {bit} of byte {at}");
            }
            file.write_all_at(&[*byte], at as u64).unwrap();
        }
    }

    #[test]
    fn a_power_cut_may_tear_every_slot_but_the_durable_one() {
        let dir = tempfile::tempdir().unwrap();
        let anchor = Anchor::open(dir.path(), true).unwrap().0.unwrap();
        for seq in 1..=60 {
            anchor.write(mark(seq), log(seq)).unwrap();
            if seq % 5 == 0 {
                anchor.flush().unwrap();
            }
            // Under the lock nothing is written, and no sync ends.
            let slots = anchor.shared.slots.lock();
            assert_ne!(slots.next, slots.durable);
            let cut = tempfile::tempdir().unwrap();
            let path = cut.path().join(FILE);
            std::fs::copy(dir.path().join(FILE), &path).unwrap();
            let torn = OpenOptions::new().write(true).open(&path).unwrap();
            for slot in (0..SLOTS).filter(|slot| *slot != slots.durable) {
                torn.write_all_at(&[0x55; 40], slot * SLOT_BYTES).unwrap();
            }
            assert_eq!(reopened(cut.path()).unwrap().seq, slots.durable_seq, "after {seq}");
            assert!(slots.durable_seq >= seq - seq % 5);
        }
    }

    #[test]
    fn the_synced_mark_is_never_too_far_behind() {
        let dir = tempfile::tempdir().unwrap();
        let anchor = Anchor::open(dir.path(), true).unwrap().0.unwrap();
        for seq in (0..10).map(|batch| batch * 3_000) {
            anchor.write(mark(seq), log(seq)).unwrap();
            assert!(seq - anchor.shared.slots.lock().durable_seq <= LAG_RECORDS_MAX);
        }
    }

    #[test]
    fn a_file_of_two_slots_is_read_and_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let file = OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
        write_slot(&file, 0, mark(8), log(8)).unwrap();
        write_slot(&file, 1, mark(7), log(7)).unwrap();
        let (anchor, found) = Anchor::open(dir.path(), false).unwrap();
        assert_eq!(found, Some(mark(8)));
        let anchor = anchor.unwrap();
        for seq in 9..20 {
            anchor.write(mark(seq), log(seq)).unwrap();
            anchor.flush().unwrap();
        }
        assert_eq!((reopened(dir.path()), std::fs::metadata(&path).unwrap().len()), (Some(mark(19)), 1_536));
    }

    #[test]
    fn made_anew_it_forgets_larger_marks() {
        let dir = tempfile::tempdir().unwrap();
        let anchor = Anchor::open(dir.path(), true).unwrap().0.unwrap();
        anchor.write(mark(90), log(90)).unwrap();
        drop(anchor);
        let anchor = Anchor::make(dir.path(), mark(50), log(50)).unwrap();
        assert_eq!(reopened(dir.path()), Some(mark(50)));
        anchor.write(mark(51), log(51)).unwrap();
        assert_eq!(reopened(dir.path()), Some(mark(51)));
    }

    #[test]
    fn slots_of_older_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = [0_u8; SLOT];
        bytes[..8].copy_from_slice(MAGIC_WITHOUT_LOG);
        bytes[8..16].copy_from_slice(&77_u64.to_le_bytes());
        bytes[16..48].copy_from_slice(&[5; 32]);
        let check = Sha256::digest(&bytes[..48]);
        bytes[48..80].copy_from_slice(&check);
        std::fs::write(dir.path().join(FILE), bytes).unwrap();
        assert_eq!(reopened(dir.path()), Some(Mark { seq: 77, link: [5; 32] }));
        assert_eq!(synced_log(dir.path()), None);
        Anchor::open(dir.path(), false).unwrap().0.unwrap().write(mark(78), log(78)).unwrap();
        assert_eq!(synced_log(dir.path()), Some(log(78)));
    }

    #[test]
    fn flipped_bits_are_no_mark() {
        let dir = tempfile::tempdir().unwrap();
        Anchor::open(dir.path(), true).unwrap().0.unwrap().write(mark(7), log(7)).unwrap();
        let path = dir.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..USED {
            let mut bytes = whole.clone();
            bytes[512 + at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(reopened(dir.path()), Some(Mark { seq: 0, link: [0; 32] }));
        }
    }
}
