//! A second, small file that remembers where the journal ended: a journal that lost its end, or was replaced by an older copy,
//! cannot look whole.
//!
//! ```text
//! two slots of 512 bytes, written in turn; the valid one with the larger number counts
//!   0   8  "hearthA1"
//!   8   8  last sequence number (little endian)
//!  16  32  its link
//!  48  32  SHA-256 of the 48 bytes before
//! ```
//!
//! It is written and synced after each commit of the journal and before anything is done about it. So after a crash it may be one
//! batch behind, and it is never ahead; a torn write spoils one slot and leaves the other.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::layout::Link;

/// The file's name in the wallet's directory.
pub(super) const FILE: &str = "ANCHOR";
const MAGIC: &[u8; 8] = b"hearthA1";
const SLOT: usize = 512;
const SLOT_BYTES: u64 = SLOT as u64;
const USED: usize = 80;

/// Where the journal ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// Last sequence number; 0 before the first record.
    pub(super) seq: u64,
    /// Its link.
    pub(super) link: Link,
}

/// The open file.
pub(super) struct Anchor {
    file: File,
    next_slot: u64,
}

impl Anchor {
    /// Opens the file and reads its mark. `None`: there was no file; one with the mark of an empty journal is made and synced
    /// only if `make` says so.
    pub(super) fn open(dir: &Path, make: bool) -> io::Result<(Option<Self>, Option<Mark>)> {
        let path = dir.join(FILE);
        match OpenOptions::new().read(true).write(true).open(&path) {
            // The power went while it was made: the journal is empty, and nothing but zeros was ever written here.
            Ok(file) if make && is_blank(&file)? => Self::begin(file, dir),
            Ok(file) => {
                let (mark, next_slot) = read(&file)?;
                Ok((Some(Self { file, next_slot }), mark))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && make => {
                let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
                Self::begin(file, dir)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((None, None)),
            Err(error) => Err(error),
        }
    }

    /// The mark of an empty journal, and the file's name, on the disk.
    fn begin(file: File, dir: &Path) -> io::Result<(Option<Self>, Option<Mark>)> {
        let mut anchor = Self { file, next_slot: 0 };
        let mark = Mark { seq: 0, link: [0; 32] };
        anchor.file.set_len(2 * SLOT_BYTES)?;
        anchor.write(mark)?;
        anchor.file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok((Some(anchor), Some(mark)))
    }

    /// Writes a mark and waits for the disk.
    pub(super) fn write(&mut self, mark: Mark) -> io::Result<()> {
        let mut slot = [0_u8; SLOT];
        slot[..8].copy_from_slice(MAGIC);
        slot[8..16].copy_from_slice(&mark.seq.to_le_bytes());
        slot[16..48].copy_from_slice(&mark.link);
        let check = Sha256::digest(&slot[..48]);
        slot[48..USED].copy_from_slice(&check);
        self.file.write_all_at(&slot, self.next_slot * SLOT_BYTES)?;
        self.file.sync_data()?;
        self.next_slot = 1 - self.next_slot;
        Ok(())
    }
}

/// Whether both slots hold nothing but zeros, as far as they are there.
fn is_blank(file: &File) -> io::Result<bool> {
    let mut bytes = [0_u8; 2 * SLOT];
    let read = file.read_at(&mut bytes, 0)?;
    Ok(bytes.iter().take(read).all(|byte| *byte == 0))
}

/// The mark that counts, and the slot to be written next.
fn read(file: &File) -> io::Result<(Option<Mark>, u64)> {
    let (first, second) = (read_slot(file, 0)?, read_slot(file, 1)?);
    Ok(match (first, second) {
        (Some(first), Some(second)) if second.seq > first.seq => (Some(second), 0),
        (Some(first), _) => (Some(first), 1),
        (None, Some(second)) => (Some(second), 0),
        (None, None) => (None, 0),
    })
}

fn read_slot(file: &File, slot: u64) -> io::Result<Option<Mark>> {
    let mut bytes = [0_u8; USED];
    match file.read_exact_at(&mut bytes, slot * SLOT_BYTES) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let check = Sha256::digest(&bytes[..48]);
    if bytes[..8] != *MAGIC || bytes[48..] != check[..] {
        return Ok(None);
    }
    let mut seq = [0; 8];
    seq.copy_from_slice(&bytes[8..16]);
    let mut link = [0; 32];
    link.copy_from_slice(&bytes[16..48]);
    Ok(Some(Mark { seq: u64::from_le_bytes(seq), link }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(seq: u64) -> Mark {
        Mark { seq, link: [u8::try_from(seq).unwrap(); 32] }
    }

    #[test]
    fn the_last_mark_counts_and_a_torn_write_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Anchor::open(dir.path(), false).unwrap(), (None, None)));
        let (anchor, found) = Anchor::open(dir.path(), true).unwrap();
        assert_eq!(found, Some(Mark { seq: 0, link: [0; 32] }));
        let mut anchor = anchor.unwrap();
        for seq in 1..=9 {
            anchor.write(mark(seq)).unwrap();
            let (again, found) = Anchor::open(dir.path(), false).unwrap();
            assert_eq!((found, again.unwrap().next_slot), (Some(mark(seq)), anchor.next_slot));
            // What a crash in the middle of the next write leaves.
            let torn = anchor.file.try_clone().unwrap();
            torn.write_all_at(&[0x55; 40], anchor.next_slot * SLOT_BYTES).unwrap();
            assert_eq!(Anchor::open(dir.path(), false).unwrap().1, Some(mark(seq)));
        }
    }

    #[test]
    fn one_whose_making_was_interrupted_is_made_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        for length in [0, 1_024] {
            std::fs::write(&path, vec![0; length]).unwrap();
            assert_eq!(Anchor::open(dir.path(), false).unwrap().1, None, "the journal has records");
            assert_eq!(Anchor::open(dir.path(), true).unwrap().1, Some(Mark { seq: 0, link: [0; 32] }));
        }
        std::fs::write(&path, [7; 1_024]).unwrap();
        assert_eq!(Anchor::open(dir.path(), true).unwrap().1, None, "damaged, not unfinished");
    }

    #[test]
    fn flipped_bits_are_no_mark() {
        let dir = tempfile::tempdir().unwrap();
        Anchor::open(dir.path(), true).unwrap().0.unwrap().write(mark(7)).unwrap();
        let path = dir.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..USED {
            let mut bytes = whole.clone();
            bytes[512 + at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(Anchor::open(dir.path(), false).unwrap().1, Some(Mark { seq: 0, link: [0; 32] }));
        }
    }
}
