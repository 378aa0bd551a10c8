//! What the wrapper promises beyond RocksDB.

use std::path::Path;

use super::*;

const LOG: Family = Family::nth(0);
const ROWS: Family = Family::nth(1);
const FAMILIES: [FamilySpec; 2] =
    [FamilySpec::new("log", Shape::Log), FamilySpec::new("rows", Shape::Ranges { prefix_bytes: 2 })];

fn open(dir: &Path) -> Db {
    Db::open(dir, &FAMILIES, &Config::default()).unwrap()
}

fn put(db: &Db, key: &[u8], value: &[u8]) -> Result<(), CommitError> {
    let mut batch = Batch::new();
    batch.put(LOG, key, value);
    db.commit(&batch, Sync::Yes)
}

#[test]
fn a_batch_is_committed_whole_and_survives_a_drop_without_close() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut batch = Batch::new();
    batch.put(LOG, b"a", b"1");
    batch.put(ROWS, b"xx1", b"");
    batch.put(LOG, b"b", b"2");
    batch.delete(LOG, b"b");
    db.commit(&batch, Sync::Yes).unwrap();
    drop(db);
    let db = open(dir.path());
    assert_eq!(db.get(LOG, b"a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(db.get(LOG, b"b").unwrap(), None);
    assert_eq!(db.get(ROWS, b"xx1").unwrap().as_deref(), Some(&b""[..]));
    assert!(db.get(Family::nth(2), b"a").is_err());
}

#[test]
fn a_second_open_says_who_is_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let error = Db::open(dir.path(), &FAMILIES, &Config::default()).err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("is in use by another process"), "{error}");
    drop(db);
    open(dir.path());
}

#[test]
fn a_family_of_another_program_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let error = Db::open(dir.path(), &FAMILIES[..1], &Config::default()).err().unwrap();
    assert!(error.to_string().contains("\"rows\""), "{error}");
}

#[test]
fn a_failed_commit_poisons_the_handle_and_its_clones() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::default();
    let db = Db::open(dir.path(), &FAMILIES, &config).unwrap();
    config.faults.fail_after(1);
    put(&db, b"a", b"1").unwrap();
    assert!(matches!(put(&db, b"b", b"2"), Err(CommitError::Failed(_))));
    assert!(db.is_poisoned());
    assert_eq!(put(&db.clone(), b"c", b"3"), Err(CommitError::Poisoned));
    assert_eq!(db.flush(), Err(CommitError::Poisoned));
    assert_eq!(db.get(LOG, b"a").unwrap().as_deref(), Some(&b"1"[..]), "reading goes on");
    drop(db);
    let db = open(dir.path());
    assert_eq!(db.get(LOG, b"b").unwrap(), None);
    put(&db, b"c", b"3").unwrap();
}

#[test]
fn a_snapshot_and_its_cursors_outlive_the_handle_and_do_not_move() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    put(&db, b"a", b"old").unwrap();
    let snapshot = db.snapshot();
    put(&db, b"a", b"new").unwrap();
    put(&db, b"b", b"later").unwrap();
    let mut cursor = db.cursor(LOG, b"", b"", Some(&snapshot)).unwrap();
    drop(db);
    std::thread::spawn(move || {
        cursor.seek_first();
        assert_eq!(cursor.entry().unwrap(), Some((&b"a"[..], &b"old"[..])));
        cursor.next();
        assert_eq!(cursor.entry().unwrap(), None);
        cursor.next();
        assert_eq!(snapshot.get(LOG, b"b").unwrap(), None);
    })
    .join()
    .unwrap();
}

#[test]
fn cursors_keep_to_their_bounds_and_runs() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut batch = Batch::new();
    for key in ["aa1", "aa2", "ab1", "ac1"] {
        batch.put(ROWS, key.as_bytes(), b"");
    }
    db.commit(&batch, Sync::Yes).unwrap();
    let mut cursor = db.cursor(ROWS, b"aa2", b"ac", None).unwrap();
    cursor.seek(b"a");
    assert_eq!(cursor.entry().unwrap().unwrap().0, b"aa2");
    cursor.next();
    assert_eq!(cursor.entry().unwrap().unwrap().0, b"ab1");
    cursor.next();
    assert!(cursor.entry().unwrap().is_none());
    cursor.seek_back(b"aa9");
    assert_eq!(cursor.entry().unwrap().unwrap().0, b"aa2");
    db.flush().unwrap();
    let mut cursor = db.run_cursor(ROWS, None).unwrap();
    cursor.seek(b"ab");
    assert_eq!(cursor.entry().unwrap().unwrap().0, b"ab1");
    cursor.seek(b"aa2");
    assert_eq!(cursor.entry().unwrap().unwrap().0, b"aa2");
}

#[test]
fn a_checkpoint_opens_as_a_database_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir.path().join("live"));
    put(&db, b"a", b"1").unwrap();
    assert_eq!((db.stats().commits, db.stats().wal_syncs), (1, 1));
    db.checkpoint(&dir.path().join("copy")).unwrap();
    put(&db, b"b", b"2").unwrap();
    let copy = open(&dir.path().join("copy"));
    assert_eq!(copy.get(LOG, b"a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(copy.get(LOG, b"b").unwrap(), None);
}

/// RocksDB's default mode opens such a log without a word and without the synced records after the damage.
#[test]
fn a_damaged_log_refuses_to_open_and_a_torn_tail_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    for number in 0..200_u32 {
        put(&db, &number.to_be_bytes(), &[7; 100]).unwrap();
    }
    let copy = |name: &str| {
        let to = dir.path().join(name);
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap().flatten().filter(|file| file.file_type().unwrap().is_file()) {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
        let log = std::fs::read_dir(&to).unwrap().flatten().map(|file| file.path());
        let log = log.filter(|path| path.extension().is_some_and(|end| end == "log")).max().unwrap();
        (to, log)
    };
    let (torn, log) = copy("torn");
    let bytes = std::fs::read(&log).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    std::fs::write(&log, &bytes[..written - 20]).unwrap();
    let db = open(&torn);
    assert!(db.get(LOG, &198_u32.to_be_bytes()).unwrap().is_some());
    assert!(db.get(LOG, &199_u32.to_be_bytes()).unwrap().is_none());
    let (damaged, log) = copy("damaged");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[written / 2] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let refused = Db::open(&damaged, &FAMILIES, &Config::default()).err().unwrap();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    let words = refused.to_string();
    assert!(words.contains(".log is damaged at byte"), "{words}");
    assert!(!words.contains("truncate"), "what follows was acknowledged: {words}");
}

/// Rows `from..to`, and every third of those before taken away.
fn write_rows(db: &Db, from: u32, to: u32) {
    let mut batch = Batch::new();
    for row in from..to {
        // In an order that has nothing to do with the keys.
        let key = [b"ab".as_slice(), &row.wrapping_mul(0x9e37_79b1).to_be_bytes()].concat();
        batch.put(ROWS, &key, &row.to_be_bytes());
    }
    for row in (0..from).filter(|row| row % 3 == 0) {
        batch.delete(ROWS, &[b"ab".as_slice(), &row.wrapping_mul(0x9e37_79b1).to_be_bytes()].concat());
    }
    db.commit(&batch, Sync::No).unwrap();
    db.flush().unwrap();
}

fn rows_in(db: &Db) -> Vec<u32> {
    let mut cursor = db.run_cursor(ROWS, None).unwrap();
    cursor.seek(b"ab");
    let mut rows = Vec::new();
    while let Some((_, value)) = cursor.entry().unwrap() {
        rows.push(u32::from_be_bytes(value.try_into().unwrap()));
        cursor.next();
    }
    rows.sort_unstable();
    rows
}

#[test]
fn rows_that_were_stored_in_levels_are_read_and_written_on() {
    let dir = tempfile::tempdir().unwrap();
    {
        // As earlier versions made it: levels, settled on the last one, and a file above.
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let rocks = rocksdb::DB::open_cf(&options, dir.path(), ["log", "rows"]).unwrap();
        let rows = rocks.cf_handle("rows").unwrap();
        for row in 0..3_000_u32 {
            let key = [b"ab".as_slice(), &row.wrapping_mul(0x9e37_79b1).to_be_bytes()].concat();
            rocks.put_cf(rows, key, row.to_be_bytes()).unwrap();
            if row == 2_000 {
                rocks.compact_range_cf(rows, None::<&[u8]>, None::<&[u8]>);
            }
        }
        rocks.flush_cf(rows).unwrap();
    }
    let wanted = |end: u32, kept_from: u32| (0..end).filter(|row| *row >= kept_from || row % 3 != 0).collect::<Vec<_>>();
    let db = open(dir.path());
    assert_eq!(rows_in(&db), wanted(3_000, 0));
    // Enough files that they are merged with each other and with what was there.
    for turn in 0..12 {
        let from = 3_000 + turn * 500;
        write_rows(&db, from, from + 500);
        assert_eq!(rows_in(&db), wanted(from + 500, from));
    }
    drop(db);
    let db = open(dir.path());
    db.settle().unwrap();
    assert_eq!(rows_in(&db), wanted(9_000, 8_500));
}
