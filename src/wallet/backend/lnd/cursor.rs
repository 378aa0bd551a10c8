//! How far the settled invoices of a node have been reported: one small file, so that nothing is missed while hearth is away.
//!
//! ```text
//! hearth-lnd-1 PUBKEY SINCE_S SETTLE_INDEX
//! ```
//!
//! It says whose node it is, since when (unix seconds, LND's time less a day) its invoices matter, and the last settlement
//! whose report is durable. An older copy only makes reports come again.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

const MAGIC: &str = "hearth-lnd-1";

/// What the file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// The node.
    pub(super) pubkey: String,
    /// Invoices made before then were made before hearth knew the node.
    pub(super) since_s: u64,
    /// Everything up to this settlement has been reported; 0: nothing yet.
    pub(super) settle_index: u64,
}

impl Mark {
    /// Reads the file. `None`: there is none. One that is there and cannot be read is an error and not a first contact: it says whose
    /// node this is.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bad =
            || io::Error::new(io::ErrorKind::InvalidData, format!("it is not one line \"{MAGIC} PUBKEY SINCE_S SETTLE_INDEX\""));
        Self::parse(&text).map(Some).ok_or_else(bad)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let mut next = || words.next();
        if next()? != MAGIC {
            return None;
        }
        let pubkey = next().filter(|key| is_pubkey(key))?.to_owned();
        let mark = Self { pubkey, since_s: next()?.parse().ok()?, settle_index: next()?.parse().ok()? };
        next().is_none().then_some(mark)
    }

    /// Writes the file anew; the old one is there until the new one is whole. Blocks.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let new = with_ending(path);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        writeln!(file, "{MAGIC} {} {} {}", self.pubkey, self.since_s, self.settle_index)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }
}

/// The mark, in memory and on the disk.
pub(super) struct Keeper {
    path: PathBuf,
    kept: Mutex<Kept>,
    /// Held while it is written, so that an older one never follows a newer one.
    writing: Mutex<()>,
}

#[derive(Clone)]
struct Kept {
    mark: Mark,
    era: u64,
}

impl Keeper {
    pub(super) fn new(mark: Mark, path: PathBuf) -> Self {
        Self { path, kept: Mutex::new(Kept { mark, era: 1 }), writing: Mutex::default() }
    }

    /// The mark, and how often everything was begun anew: what is acknowledged of an earlier time says nothing.
    pub(super) fn now(&self) -> (Mark, u64) {
        let kept = self.kept.lock();
        (kept.mark.clone(), kept.era)
    }

    /// The reports of an era are durable up to there. Blocks.
    pub(super) fn advance(&self, era: u64, settle_index: u64) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock();
        let mark = {
            let mut kept = self.kept.lock();
            if kept.era != era {
                return Ok(());
            }
            kept.mark.settle_index = settle_index;
            kept.mark.clone()
        };
        mark.write(&self.path)
    }

    /// Nothing has been reported. Blocks.
    pub(super) fn begin_anew(&self) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock();
        let mark = Mark { settle_index: 0, ..self.kept.lock().mark.clone() };
        mark.write(&self.path)?;
        let mut kept = self.kept.lock();
        *kept = Kept { mark, era: kept.era + 1 };
        Ok(())
    }
}

/// Whether a text is a compressed public key in lower-case hex.
pub(super) fn is_pubkey(text: &str) -> bool {
    text.len() == 66 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn with_ending(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Settlements that were reported and are not all acknowledged: the mark moves only over those that are, without a gap.
#[derive(Default, Debug)]
pub(super) struct Window {
    reported: VecDeque<(u64, bool)>,
}

impl Window {
    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.reported.len()
    }

    /// A settlement was reported. They come in order.
    pub(super) fn report(&mut self, settle_index: u64) {
        self.reported.push_back((settle_index, false));
    }

    /// Its report is durable. Gives the new mark where it moves.
    pub(super) fn acknowledge(&mut self, settle_index: u64) -> Option<u64> {
        if let Some(entry) = self.reported.iter_mut().find(|(index, _)| *index == settle_index) {
            entry.1 = true;
        }
        let mut mark = None;
        while let Some((index, true)) = self.reported.front().copied() {
            self.reported.pop_front();
            mark = Some(index);
        }
        mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_anything_else_is_no_mark() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lnd");
        assert_eq!(Mark::read(&path).unwrap(), None);
        let mark = Mark { pubkey: "02".repeat(33), since_s: 1_800_000_000, settle_index: 17 };
        mark.write(&path).unwrap();
        assert_eq!(Mark::read(&path).unwrap(), Some(mark.clone()));
        let text = fs::read_to_string(&path).unwrap();
        for bad in [&text[1..], &text[..text.len() - 1], &text.replace("17", "x"), &text.replace("02", "0x"), "", "\n"] {
            assert_eq!(Mark::parse(bad), None, "{bad:?}");
            fs::write(&path, bad).unwrap();
            assert_eq!(Mark::read(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        let newer = Mark { settle_index: 18, ..mark };
        newer.write(&path).unwrap();
        assert_eq!(Mark::read(&path).unwrap(), Some(newer));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn a_mark_that_went_back_to_the_beginning_is_not_moved_by_what_was_reported_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lnd");
        let keeper = Keeper::new(Mark { pubkey: "02".repeat(33), since_s: 1, settle_index: 0 }, path.clone());
        let on_disk = || Mark::read(&path).unwrap().unwrap().settle_index;
        let (_, era) = keeper.now();
        keeper.advance(era, 9).unwrap();
        assert_eq!(on_disk(), 9);
        keeper.begin_anew().unwrap();
        keeper.advance(era, 10).unwrap();
        let (mark, era) = keeper.now();
        assert_eq!((mark.settle_index, on_disk()), (0, 0));
        keeper.advance(era, 3).unwrap();
        assert_eq!(on_disk(), 3);
    }

    #[test]
    fn the_mark_moves_over_acknowledged_reports_only() {
        let mut window = Window::default();
        [3, 4, 7].into_iter().for_each(|index| window.report(index));
        assert_eq!(window.acknowledge(4), None);
        assert_eq!(window.acknowledge(9), None, "never reported");
        assert_eq!(window.acknowledge(3), Some(4));
        assert_eq!(window.acknowledge(7), Some(7));
        assert_eq!(window.len(), 0);
    }
}
