//! Looks at a database's log files before RocksDB opens them: RocksDB 11.8 reads on for ever in some damaged MANIFEST files, makes a
//! new database where CURRENT is gone, and takes a damaged length at the end of a log for a record that was never finished.
//!
//! Both the MANIFEST and the write-ahead logs are made of records in blocks of 32 KiB:
//!
//! ```text
//!   0  4  CRC-32C of type and payload, masked (little endian)
//!   4  2  length of the payload (little endian)
//!   6  1  type: 1 whole, 2 first, 3 middle, 4 last part
//!   7     payload; never across the end of a block
//! ```
//!
//! A file that ends inside a record is what a crash leaves, and fine. It is read once, block by block, so the time is bounded.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const BLOCK_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 7;
/// A name and a line feed; more is no CURRENT.
const CURRENT_BYTES_MAX: u64 = 64;

/// What is wrong with a database's files.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// There is data, but the file that says where it begins is gone.
    #[error("CURRENT is missing although there are data files")]
    NoCurrent,
    /// The file that says where it begins is unreadable.
    #[error("CURRENT does not name a MANIFEST")]
    BadCurrent,
    /// CURRENT names a file that is not there.
    #[error("{0} is missing, which CURRENT names")]
    NoManifest(String),
    /// A record is not what was written.
    #[error("{file} is damaged at byte {at}")]
    Record {
        /// The file's name.
        file: String,
        /// Where the record begins.
        at: u64,
        /// Something whole stands behind it, so that it is not just the last that was being written.
        is_followed: bool,
    },
    /// The operating system does not let it be read.
    #[error("{file}: {source}")]
    Io {
        /// The file's name.
        file: String,
        /// What it said.
        source: io::Error,
    },
}

/// How closely the records of a file are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Every checksum.
    Payload,
    /// Only whether the last record is as long as it says; RocksDB checks the rest itself.
    End,
}

/// Looks at a directory that is to be opened. One without a database is fine.
pub(super) fn inspect(dir: &Path) -> Result<(), Damage> {
    let logs = data_files(dir)?;
    let Some(manifest) = manifest(dir, !logs.is_empty())? else { return Ok(()) };
    let path = dir.join(&manifest);
    if !path.exists() {
        return Err(Damage::NoManifest(manifest));
    }
    walk(&path, Depth::Payload)?;
    logs.iter().filter(|path| path.extension().is_some_and(|end| end == "log")).try_for_each(|path| walk(path, Depth::End))
}

/// Reads a log from end to end, with every checksum.
pub(super) fn check_log(path: &Path) -> Result<(), Damage> {
    walk(path, Depth::Payload)
}

/// The same, of all logs of a directory.
pub(super) fn check_logs(dir: &Path) -> Result<(), Damage> {
    let logs = data_files(dir)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "log"));
    logs.into_iter().try_for_each(|path| check_log(&path))
}

/// Write-ahead logs and tables.
fn data_files(dir: &Path) -> Result<Vec<PathBuf>, Damage> {
    let failed = |source| Damage::Io { file: dir.to_string_lossy().into_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|end| end == "log" || end == "sst") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The name in CURRENT; `None` for a directory without a database.
fn manifest(dir: &Path, has_data: bool) -> Result<Option<String>, Damage> {
    let mut text = String::new();
    let read = File::open(dir.join("CURRENT")).and_then(|file| file.take(CURRENT_BYTES_MAX).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && has_data => return Err(Damage::NoCurrent),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(Damage::BadCurrent),
        Err(source) => return Err(Damage::Io { file: "CURRENT".to_owned(), source }),
    }
    let number = text.strip_suffix('\n').and_then(|name| name.strip_prefix("MANIFEST-"));
    let is_number = number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    if is_number { Ok(Some(text.trim_end().to_owned())) } else { Err(Damage::BadCurrent) }
}

/// Reads a file of records from end to end.
fn walk(path: &Path, depth: Depth) -> Result<(), Damage> {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let failed = |source| Damage::Io { file: name.clone(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut block = vec![0; BLOCK_BYTES];
    let (mut begin, mut is_inside) = (0_u64, false);
    loop {
        let length = fill(&mut file, &mut block).map_err(failed)?;
        let bytes = block.get(..length).unwrap_or_default();
        match records(bytes, depth, &mut is_inside) {
            Ok(Block::Whole) => {}
            Ok(Block::Ends) => return Ok(()),
            Ok(Block::Room(at)) => {
                let Some(is_followed) = stands_behind(&mut file, length).map_err(failed)? else { return Ok(()) };
                return Err(Damage::Record { file: name, at: begin.saturating_add(at as u64), is_followed });
            }
            Err(at) => {
                let is_followed = begins_behind(&mut file, bytes, at).map_err(failed)?;
                return Err(Damage::Record { file: name, at: begin.saturating_add(at as u64), is_followed });
            }
        }
        if length < BLOCK_BYTES {
            return Ok(());
        }
        begin += BLOCK_BYTES as u64;
    }
}

/// Whether a record begins, and is whole, behind the damaged one at a place of this block; the file stands at the next block.
fn begins_behind(file: &mut File, block: &[u8], at: usize) -> io::Result<bool> {
    let skipped = block.get(at + 4..at + 6).and_then(|length| <[u8; 2]>::try_from(length).ok()).map(u16::from_le_bytes);
    let behind = at + HEADER_BYTES + usize::from(skipped.unwrap_or_default());
    if begins_whole(block.get(behind..).unwrap_or_default()) {
        return Ok(true);
    }
    let mut next = vec![0; BLOCK_BYTES];
    let mut length = block.len();
    while length == BLOCK_BYTES {
        length = fill(file, &mut next)?;
        if begins_whole(next.get(..length).unwrap_or_default()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What stands in the blocks behind one that ends in zeros: `None` for more zeros, else whether a whole record begins there. A record
/// whose first part was lost when the power went, and a later one not, looks like this.
fn stands_behind(file: &mut File, length: usize) -> io::Result<Option<bool>> {
    let mut next = vec![0; BLOCK_BYTES];
    let (mut length, mut found) = (length, None);
    while length == BLOCK_BYTES && found != Some(true) {
        length = fill(file, &mut next)?;
        let bytes = next.get(..length).unwrap_or_default();
        if bytes.iter().any(|byte| *byte != 0) {
            found = Some(begins_whole(bytes));
        }
    }
    Ok(found)
}

/// Whether among the whole records from here on one is the beginning of something.
fn begins_whole(mut bytes: &[u8]) -> bool {
    while let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) {
        let [a, b, c, d, low, high, kind] = *header else { return false };
        let Some((payload, behind)) = rest.split_at_checked(usize::from(u16::from_le_bytes([low, high]))) else { return false };
        if !matches!(kind, 1..=4) || checksum(kind, payload) != u32::from_le_bytes([a, b, c, d]) {
            return false;
        }
        if matches!(kind, 1 | 2) {
            return true;
        }
        bytes = behind;
    }
    false
}

/// As much of a block as the file has.
fn fill(file: &mut File, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// How a block ends.
enum Block {
    /// With its last record; more may follow.
    Whole,
    /// With what was never finished, or another format.
    Ends,
    /// With zeros from here on.
    Room(usize),
}

/// The records of one block. `Err`: where a record is damaged.
fn records(block: &[u8], depth: Depth, is_inside: &mut bool) -> Result<Block, usize> {
    let mut at = 0;
    while let Some((header, rest)) = block.get(at..).and_then(|rest| rest.split_at_checked(HEADER_BYTES)) {
        let [a, b, c, d, low, high, kind] = *header else { return Ok(Block::Ends) };
        let (expected, length) = (u32::from_le_bytes([a, b, c, d]), usize::from(u16::from_le_bytes([low, high])));
        if header.iter().all(|byte| *byte == 0) {
            // Room that was made in advance; RocksDB goes on with the next block.
            return match depth {
                Depth::End => Ok(Block::Ends),
                Depth::Payload if rest.iter().all(|byte| *byte == 0) => Ok(Block::Room(at)),
                Depth::Payload => Err(at),
            };
        }
        let is_known = matches!(kind, 1..=4);
        if !is_known && depth == Depth::End {
            return Ok(Block::Ends);
        }
        let payload = match rest.get(..length) {
            Some(payload) => payload,
            // The file ends within it, as after a crash; unless it would fit, and it is the length that is wrong.
            None if block.len() < BLOCK_BYTES && !fits_shorter(kind, rest, expected) => return Ok(Block::Ends),
            None => return Err(at),
        };
        let follows = *is_inside == matches!(kind, 3 | 4);
        if depth == Depth::Payload && !(is_known && follows && checksum(kind, payload) == expected) {
            return Err(at);
        }
        *is_inside = matches!(kind, 2 | 3);
        at += HEADER_BYTES + length;
    }
    Ok(Block::Whole)
}

/// Whether the checksum is that of the first bytes, for any number of them.
fn fits_shorter(kind: u8, rest: &[u8], expected: u32) -> bool {
    let mut crc = step(!0, &kind);
    mask(crc) == expected
        || rest.iter().any(|byte| {
            crc = step(crc, byte);
            mask(crc) == expected
        })
}

/// CRC-32C of type and payload, as RocksDB stores it.
fn checksum(kind: u8, payload: &[u8]) -> u32 {
    mask(payload.iter().fold(step(!0, &kind), step))
}

fn step(crc: u32, byte: &u8) -> u32 {
    let [low, ..] = (crc ^ u32::from(*byte)).to_le_bytes();
    CRC_TABLE.get(usize::from(low)).copied().unwrap_or_default() ^ (crc >> 8)
}

/// Rotated, with a constant added, so that a checksum of checksums is none.
fn mask(crc: u32) -> u32 {
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The Castagnoli polynomial, bits reversed.
const CRC_TABLE: [u32; 256] = {
    let mut table = [0_u32; 256];
    let mut byte = 0;
    let mut value = 0_u32;
    while byte < 256 {
        let mut crc = value;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{Batch, Config, Db, Family, FamilySpec, OpenError, Shape, Sync};

    const FAMILIES: [FamilySpec; 2] = [FamilySpec::new("one", Shape::Sorted), FamilySpec::new("two", Shape::Small)];

    /// A database with a log, tables and a MANIFEST of several records, closed.
    fn database(dir: &Path) {
        for round in 0..3_u8 {
            let db = Db::open(dir, &FAMILIES, &Config::default()).unwrap();
            for number in 0..50_u8 {
                let mut batch = Batch::new();
                batch.put(Family::nth(usize::from(number % 2)), &[round, number], &[number; 100]);
                db.commit(&batch, Sync::Yes).unwrap();
            }
            if round < 2 {
                db.flush().unwrap();
            }
        }
    }

    fn named(dir: &Path, part: &str) -> PathBuf {
        let files = fs::read_dir(dir).unwrap().flatten().map(|file| file.path());
        files.filter(|path| path.file_name().unwrap().to_string_lossy().contains(part)).max().unwrap()
    }

    #[test]
    fn checksums_are_those_of_rocksdb() {
        // CRC-32C of "123456789" is e3069283.
        let unmasked = checksum(b'1', b"23456789").wrapping_sub(0xa282_ead8).rotate_left(15);
        assert_eq!(unmasked, 0xe306_9283);
    }

    #[test]
    fn every_flipped_bit_of_a_manifest_is_found_and_its_place_is_told() {
        let dir = tempfile::tempdir().unwrap();
        database(dir.path());
        inspect(dir.path()).unwrap();
        let path = named(dir.path(), "MANIFEST");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                fs::write(&path, &bytes).unwrap();
                let damage = inspect(dir.path()).err().unwrap_or_else(|| panic!("bit {bit} of byte {at} was not found"));
                assert!(matches!(damage, Damage::Record { at: told, .. } if told <= at as u64), "{damage}");
            }
        }
        let refused = Db::open(dir.path(), &FAMILIES, &Config::default()).err().unwrap();
        assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
        let words = refused.to_string();
        assert!(words.contains("MANIFEST-") && words.contains("backup"), "{words}");
    }

    #[test]
    fn a_manifest_or_log_that_a_crash_cut_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        database(dir.path());
        for part in ["MANIFEST", ".log"] {
            let path = named(dir.path(), part);
            let whole = fs::read(&path).unwrap();
            let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
            for cut in 1..60 {
                fs::write(&path, &whole[..end - cut]).unwrap();
                inspect(dir.path()).unwrap_or_else(|damage| panic!("{part} without {cut} bytes: {damage}"));
            }
            fs::write(&path, &whole).unwrap();
        }
    }

    /// RocksDB takes it for a record that was never finished, and drops what was acknowledged.
    #[test]
    fn a_damaged_length_at_the_end_of_a_log_is_no_torn_record() {
        let dir = tempfile::tempdir().unwrap();
        database(dir.path());
        let path = named(dir.path(), ".log");
        let whole = fs::read(&path).unwrap();
        let mut at = 0;
        let mut last = 0;
        while at + HEADER_BYTES < whole.len() {
            last = at;
            at += HEADER_BYTES + usize::from(u16::from_le_bytes([whole[at + 4], whole[at + 5]]));
        }
        assert_eq!(at, whole.len(), "one block, filled to its end");
        let mut bytes = whole.clone();
        bytes[last + 5] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(inspect(dir.path()), Err(Damage::Record { at, .. }) if at == last as u64));
    }

    /// The first part of a large record was lost when the power went, to the end of a block, and the rest was not. RocksDB reads over
    /// zeros and then misses the beginning.
    #[test]
    fn a_lost_part_of_a_record_of_several_blocks_is_told_with_its_place() {
        for (from, to) in [(None, 1), (None, 2), (Some(1), 2)] {
            let dir = tempfile::tempdir().unwrap();
            let db = Db::open(dir.path(), &FAMILIES, &Config::default()).unwrap();
            let put = |key: &[u8], bytes: usize| {
                let mut batch = Batch::new();
                batch.put(Family::nth(0), key, &vec![7; bytes]);
                db.commit(&batch, Sync::Yes).unwrap();
            };
            put(b"before", 100);
            let path = named(dir.path(), ".log");
            let begin = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
            put(b"large", 3 * BLOCK_BYTES);
            drop(db);
            let mut bytes = fs::read(&path).unwrap();
            let from = from.map_or(begin, |block: usize| block * BLOCK_BYTES);
            bytes[from..to * BLOCK_BYTES].fill(0);
            fs::write(&path, &bytes).unwrap();
            let refused = Db::open(dir.path(), &FAMILIES, &Config::default()).err().unwrap();
            let OpenError::Damaged { damage: Damage::Record { at, is_followed, .. }, .. } = refused else { panic!("{refused}") };
            assert_eq!((at, is_followed), (from as u64, false));
            fs::write(&path, &bytes[..from]).unwrap();
            let db = Db::open(dir.path(), &FAMILIES, &Config::default()).unwrap();
            let is_there = |key: &[u8]| db.get(Family::nth(0), key).unwrap().is_some();
            assert_eq!((is_there(b"before"), is_there(b"large")), (true, false));
        }
    }

    #[test]
    fn data_without_current_is_not_taken_for_an_empty_directory() {
        let dir = tempfile::tempdir().unwrap();
        database(dir.path());
        let current = dir.path().join("CURRENT");
        let whole = fs::read(&current).unwrap();
        fs::write(&current, b"MANIFEST-0000x1\n").unwrap();
        assert!(matches!(inspect(dir.path()), Err(Damage::BadCurrent)));
        fs::write(&current, b"MANIFEST-999999\n").unwrap();
        assert!(matches!(inspect(dir.path()), Err(Damage::NoManifest(_))));
        fs::remove_file(&current).unwrap();
        assert!(matches!(inspect(dir.path()), Err(Damage::NoCurrent)));
        assert!(matches!(Db::open(dir.path(), &FAMILIES, &Config::default()), Err(OpenError::Damaged { .. })));
        fs::write(&current, whole).unwrap();
        Db::open(dir.path(), &FAMILIES, &Config::default()).unwrap();
    }
}
