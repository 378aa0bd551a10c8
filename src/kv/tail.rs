//! The end of a write-ahead log after the power went: which of it may be cut.
//!
//! A disk keeps or loses each sector that was not synced, in any order. So the last record can look damaged although nobody was ever
//! told that it is safe; RocksDB refuses such a log, because it cannot know. Whoever remembers, elsewhere, how far the log was synced
//! ([`LogEnd`]) can tell the two apart: what is damaged behind that place was never promised, and is cut off; what is damaged before it
//! is damage.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use super::inspect::{Damage, check_log};

/// A place in the write-ahead logs of a database: everything before it is synced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct LogEnd {
    /// Number of the log file.
    pub number: u64,
    /// Bytes of it.
    pub bytes: u64,
}

/// The newest log of a directory, with its number.
fn newest(dir: &Path) -> std::io::Result<Option<(u64, PathBuf)>> {
    let mut found: Option<(u64, PathBuf)> = None;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".log")) else {
            continue;
        };
        if let Ok(number) = name.parse()
            && found.as_ref().is_none_or(|(other, _)| number > *other)
        {
            found = Some((number, path));
        }
    }
    Ok(found)
}

/// Where the newest log ends. Right after a synced commit, with no other writer, that is how far it is synced. Number 0: it could not be
/// found out; RocksDB may change its logs at any time.
pub(super) fn log_end(dir: &Path) -> LogEnd {
    let Ok(Some((number, path))) = newest(dir) else { return LogEnd::default() };
    fs::metadata(path).map_or_else(|_| LogEnd::default(), |log| LogEnd { number, bytes: log.len() })
}

/// Cuts the newest log at the first damaged record, if all of it up to there, and everything that is known to be synced, stays.
pub(super) fn cut(dir: &Path, synced: LogEnd) -> Result<(), Damage> {
    let io = |source| Damage::Io { file: dir.to_string_lossy().into_owned(), source };
    let Some((number, path)) = newest(dir).map_err(io)? else { return Ok(()) };
    let length = fs::metadata(&path).map_err(io)?.len();
    if (LogEnd { number, bytes: length }) <= synced {
        return Ok(());
    }
    let Err(damage) = check_log(&path) else { return Ok(()) };
    match damage {
        Damage::Record { at, .. } if LogEnd { number, bytes: at } >= synced => {
            let file = OpenOptions::new().write(true).open(&path).map_err(io)?;
            file.set_len(at).and_then(|()| file.sync_all()).map_err(io)?;
            let words = "the last write before a power cut is incomplete; it was never acknowledged and is cut off";
            tracing::warn!(log = %path.display(), at, bytes = length - at, "{words}");
            Ok(())
        }
        // Damage: whoever opens it says so.
        Damage::Record { .. } => Ok(()),
        other => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{Batch, Config, Db, Family, FamilySpec, OpenError, Shape, Sync};

    const FAMILIES: [FamilySpec; 1] = [FamilySpec::new("one", Shape::Sorted)];

    fn put(db: &Db, number: u8) {
        let mut batch = Batch::new();
        batch.put(Family::nth(0), &[number], &[number; 3_000]);
        db.commit(&batch, Sync::Yes).unwrap();
    }

    fn count(db: &Db) -> usize {
        (0..=255).take_while(|number| db.get(Family::nth(0), &[*number]).unwrap().is_some()).count()
    }

    /// Every sector of the last record is lost once, with the later ones there: it is cut. The same damage one record earlier refuses.
    #[test]
    fn what_was_never_acknowledged_is_cut_and_what_was_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), &FAMILIES, &Config::default()).unwrap();
        (0..4).for_each(|number| put(&db, number));
        let before = db.log_end();
        put(&db, 4);
        let after = db.log_end();
        assert!(before.number == after.number && before.bytes + 3_000 < after.bytes, "{before:?} {after:?}");
        drop(db);
        let (_, path) = newest(dir.path()).unwrap().unwrap();
        let whole = fs::read(&path).unwrap();
        let first = usize::try_from(before.bytes).unwrap().div_ceil(512) * 512;
        for lost in (first..whole.len()).step_by(512) {
            let mut bytes = whole.clone();
            let end = (lost + 512).min(bytes.len());
            bytes[lost..end].fill(0);
            let scratch = tempfile::tempdir().unwrap();
            for file in fs::read_dir(dir.path()).unwrap().flatten() {
                fs::copy(file.path(), scratch.path().join(file.file_name())).unwrap();
            }
            let log = scratch.path().join(path.file_name().unwrap());
            fs::write(&log, &bytes).unwrap();
            let known = |synced| Config { synced: Some(synced), ..Config::default() };
            let refused = Db::open(scratch.path(), &FAMILIES, &known(after));
            assert!(
                matches!(refused, Err(OpenError::Refused { .. } | OpenError::Damaged { .. })),
                "sector at {lost}: acknowledged"
            );
            assert_eq!(fs::read(&log).unwrap(), bytes, "nothing is changed");
            let db = Db::open(scratch.path(), &FAMILIES, &known(before)).unwrap();
            assert_eq!(count(&db), 4, "sector at {lost}");
            put(&db, 4);
            drop(db);
            let db = Db::open(scratch.path(), &FAMILIES, &Config::default()).unwrap();
            assert_eq!(count(&db), 5);
        }
    }
}
