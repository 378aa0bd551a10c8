//! Disks that fail, files that were lost, tampered with or taken from another time, and the way out of safe mode.

use super::*;

#[test]
fn a_disk_that_fails_sends_nothing_and_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let life = two(dir.path());
    let (text, _) = foreign(1);
    life.faults.fail_after(0);
    assert_eq!(life.pay(0, 1, &text), PayReply::Failed);
    assert!(life.fatal.recv_timeout(Duration::from_secs(20)).unwrap().contains("writing to the database failed"));
    assert_eq!(life.pay(0, 2, &text), PayReply::Failed);
    assert!(life.backend.sent.lock().is_empty() && life.published.try_recv().is_err());
    drop(life);
    let life = open(dir.path());
    assert_eq!((life.balances().0, life.money.status().safe_mode), (1_000_000, None));
    assert_eq!(life.pay(0, 1, &text), PayReply::Durable);
}

#[test]
fn a_copy_taken_at_any_moment_is_a_prefix_whose_books_agree() {
    let dir = tempfile::tempdir().unwrap();
    let life = two(dir.path());
    for number in 0..40 {
        let text = life.make(1, 100 + number, Some(1_000 + number)).invoice.unwrap();
        assert_eq!(life.pay(0, number, &text), PayReply::Durable);
        let answer = life.published();
        if number % 8 == 0 {
            let copy = tempfile::tempdir().unwrap();
            let path = copy.path().join("wallet");
            copy_dir(dir.path(), &path);
            let again = open(&path);
            assert_eq!((again.balances(), again.money.status().safe_mode), (life.balances(), None));
            let known = again.money.request_answer(&request(0, number).key.event);
            assert!(matches!(known, Some(KnownAnswer::Answered(event)) if event == answer));
        }
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// A wallet that has paid, closed. Gives its directory, whole.
fn used() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet");
    std::fs::create_dir(&path).unwrap();
    let life = fill(&path);
    life.money.close();
    drop(life);
    (dir, path)
}

fn fill(path: &Path) -> Life {
    let life = two(path);
    for number in 0..5 {
        let text = life.make(1, 100 + number, Some(1_000)).invoice.unwrap();
        life.pay(0, number, &text);
    }
    life
}

#[track_caller]
fn is_safe(life: &Life, words: &str) {
    let why = life.money.status().safe_mode.unwrap();
    assert!(why.contains(words), "{why}");
    let (text, _) = foreign(1);
    assert!(matches!(life.pay(0, 99, &text), PayReply::Refused(refusal) if refusal.message.contains("safe mode")));
    assert!(matches!(life.connect(0, rules(1, None)), Err(OwnerError::SafeMode(_))));
    assert!(life.backend.sent.lock().is_empty());
}

#[test]
fn a_journal_that_lost_its_end_is_not_paid_from() {
    let (dir, path) = used();
    let old = dir.path().join("old");
    copy_dir(&path, &old);
    let life = open(&path);
    let text = life.make(1, 500, Some(1_000)).invoice.unwrap();
    assert_eq!(life.pay(0, 50, &text), PayReply::Durable);
    drop(life);
    // The older copy of the database beside the anchor of today.
    std::fs::copy(path.join("ANCHOR"), old.join("ANCHOR")).unwrap();
    let life = open(&old);
    is_safe(&life, "records are lost");
    // Reads work.
    assert_eq!(life.balances(), (995_000, 5_000));
    assert_eq!(life.money.list(Viewer::Connection(ConnectionId(0)), &ListQuery::default()).unwrap().transactions.len(), 5);
}

#[test]
fn an_anchor_that_is_gone_or_belongs_to_another_journal_is_not_paid_from() {
    let (_dir, path) = used();
    std::fs::rename(path.join("ANCHOR"), path.join("elsewhere")).unwrap();
    is_safe(&open(&path), "the anchor file is missing");
    let (_other_dir, other) = used();
    let life = open(&other);
    life.clock.set_ms(START_MS + 1);
    drop(life);
    let other_journal = {
        let dir = tempfile::tempdir().unwrap();
        let life = open(dir.path());
        wait(|on| life.money.create_account("somebody else", on)).unwrap();
        drop(life);
        dir
    };
    std::fs::copy(other_journal.path().join("ANCHOR"), path.join("ANCHOR")).unwrap();
    is_safe(&open(&path), "not the one that the anchor knows");
}

#[test]
fn a_deleted_database_beside_its_anchor_is_not_taken_for_a_new_wallet() {
    let (_dir, path) = used();
    for file in std::fs::read_dir(&path).unwrap() {
        let file = file.unwrap();
        if file.file_name() != "ANCHOR" {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    is_safe(&open(&path), "records are lost");
}

#[test]
fn an_anchor_one_batch_behind_is_what_a_crash_leaves() {
    let (_dir, path) = used();
    let before = std::fs::read(path.join("ANCHOR")).unwrap();
    let life = open(&path);
    life.make(1, 500, Some(1_000));
    drop(life);
    std::fs::write(path.join("ANCHOR"), before).unwrap();
    let life = open(&path);
    assert_eq!(life.money.status().safe_mode, None);
    life.make(1, 501, Some(1_000));
}

#[test]
fn the_journal_of_another_node_is_refused() {
    let (_dir, path) = used();
    assert!(matches!(try_open(&path, node(6)), Err(OpenError::Journal(_))));
}

#[test]
fn an_anchor_that_is_many_batches_behind_is_what_a_power_cut_leaves() {
    let (_dir, path) = used();
    let before = std::fs::read(path.join("ANCHOR")).unwrap();
    let life = open(&path);
    for number in 0..30 {
        let text = life.make(1, 500 + number, Some(1_000)).invoice.unwrap();
        assert_eq!(life.pay(0, 700 + number, &text), PayReply::Durable);
    }
    let balances = life.balances();
    drop(life);
    std::fs::write(path.join("ANCHOR"), before).unwrap();
    let life = open(&path);
    assert_eq!((life.money.status().safe_mode, life.balances()), (None, balances));
}

#[test]
fn the_owner_leads_a_wallet_that_lost_records_out_of_safe_mode() {
    let (dir, path) = used();
    let old = dir.path().join("old");
    copy_dir(&path, &old);
    let life = open(&path);
    let text = life.make(1, 500, Some(1_000)).invoice.unwrap();
    assert_eq!(life.pay(0, 50, &text), PayReply::Durable);
    drop(life);
    std::fs::copy(path.join("ANCHOR"), old.join("ANCHOR")).unwrap();
    let life = open(&old);
    is_safe(&life, "records are lost");
    let seq = life.money.status().seq;
    let done = wait(|on| life.money.reconcile(on)).unwrap();
    assert_eq!((done.seq, done.lost, done.refused_before_s), (seq, Some(3), START_MS / 1_000 + 1));
    assert_eq!((life.money.status().safe_mode, life.balances()), (None, (995_000, 5_000)));
    assert!(matches!(wait(|on| life.money.reconcile(on)), Err(OwnerError::CannotReconcile(_))));
    // A request from before may have been paid in what was lost; one from after is paid.
    let (text, _) = foreign(1);
    assert!(matches!(life.pay(0, 60, &text), PayReply::Refused(refusal) if refusal.message.contains("was restored")));
    life.clock.set_ms(START_MS + 2_000);
    let ours = life.make(1, 600, Some(2_000)).invoice.unwrap();
    let mut order = pay_order(0, 61, &ours);
    order.request.created_at_s = START_MS / 1_000 + 1;
    assert_eq!(wait(|on| life.money.pay(order, on)), PayReply::Durable);
    assert_eq!(life.balances(), (993_000, 7_000));
    drop(life);
    let life = open(&old);
    assert_eq!((life.money.status().safe_mode, life.balances()), (None, (993_000, 7_000)));
    life.clock.set_ms(START_MS + 2_000);
    assert_eq!(life.money.list(Viewer::Connection(ConnectionId(0)), &ListQuery::default()).unwrap().transactions.len(), 6);
}

/// The journal loses what came in and was acknowledged, and something comes in during safe mode: afterwards both are booked, once. An
/// order that nobody knows is accepted with that, and is no reason for safe mode any more, in no later life.
#[test]
fn what_came_in_and_was_lost_is_booked_after_safe_mode_and_strays_are_accepted_for_good() {
    let (dir, path) = used();
    let life = open(&path);
    let (lost, waits) = (life.make(1, 500, Some(7_000)), life.make(1, 501, Some(9_000)));
    life.money.close();
    drop(life);
    let old = dir.path().join("old");
    copy_dir(&path, &old);
    let state = IncomingState::Settled { preimage: None };
    let paid = |invoice: &Transaction| Incoming { hash: invoice.payment_hash, amount: invoice.amount, state };
    let report = |life: &Life, incoming: Incoming| {
        let (acked, acks) = channel();
        (life.backend.report.lock().as_ref().unwrap())(incoming, Box::new(move || acked.send(()).unwrap_or_default()));
        acks
    };
    let carried_out = |life: &Life| {
        let (acked, acks) = channel();
        let stray = Outgoing { hash: foreign(9).1.hash(), attempt: 999 };
        (life.backend.outgoing.lock().as_ref().unwrap())(stray, Box::new(move || acked.send(()).unwrap_or_default()));
        acks
    };
    let soon = Duration::from_secs(20);
    let life = open(&path);
    report(&life, paid(&lost)).recv_timeout(soon).unwrap();
    assert_eq!(life.balances(), (995_000, 12_000));
    drop(life);
    std::fs::copy(path.join("ANCHOR"), old.join("ANCHOR")).unwrap();

    let life = open(&old);
    is_safe(&life, "records are lost");
    *life.backend.came_in.lock() = vec![paid(&lost), paid(&waits)];
    let (booked, accepted) = (report(&life, paid(&waits)), carried_out(&life));
    // Both have been taken before this is answered: neither is acknowledged.
    assert!(wait(|on| life.money.resume(ConnectionId(0), on)).is_err());
    assert!(booked.try_recv().is_err() && accepted.try_recv().is_err());
    wait(|on| life.money.reconcile(on)).unwrap();
    booked.recv_timeout(soon).unwrap();
    accepted.recv_timeout(soon).unwrap();
    assert_eq!((life.money.status().safe_mode, life.balances()), (None, (995_000, 21_000)));
    carried_out(&life).recv_timeout(soon).unwrap();
    drop(life);

    let life = open(&old);
    carried_out(&life).recv_timeout(soon).unwrap();
    report(&life, paid(&waits)).recv_timeout(soon).unwrap();
    assert_eq!((life.money.status().safe_mode, life.balances()), (None, (995_000, 21_000)));
}

#[test]
fn a_journal_with_a_hole_cannot_be_reconciled() {
    let (_dir, path) = used();
    {
        let specs = super::super::super::index::FAMILIES;
        let db = kv::Db::open(&path, &specs, &kv::Config::default()).unwrap();
        let mut batch = kv::Batch::new();
        batch.delete(super::super::super::index::JOURNAL, &5_u64.to_be_bytes());
        db.commit(&batch, kv::Sync::Yes).unwrap();
    }
    let life = open(&path);
    is_safe(&life, "record 5 of the journal is missing");
    let refused = wait(|on| life.money.reconcile(on)).unwrap_err();
    assert!(refused.to_string().contains("Put back a whole copy"), "{refused}");
    assert!(life.money.status().safe_mode.is_some());
}

/// Puts another value in the place of record 5; gives what stood there.
fn replace_fifth(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let (family, key) = (super::super::super::index::JOURNAL, 5_u64.to_be_bytes());
    let db = kv::Db::open(path, &super::super::super::index::FAMILIES, &kv::Config::default()).unwrap();
    let before = db.get_with(family, &key, <[u8]>::to_vec).unwrap().unwrap();
    let mut value = before.clone();
    change(&mut value);
    let mut batch = kv::Batch::new();
    batch.put(family, &key, &value);
    db.commit(&batch, kv::Sync::Yes).unwrap();
    before
}

/// An older hearth over the journal of a newer one: it pays nothing, writes nothing, and says so; the newer one goes on.
#[test]
fn records_of_a_newer_hearth_are_refused_with_words_and_left_alone() {
    for (at, byte, words) in [(0, 2, "has layout 2, and this hearth reads 1 at most"), (1, 23, "is of kind 23")] {
        let (_dir, path) = used();
        let balances = open(&path).balances();
        let older = replace_fifth(&path, |value| value[at] = byte);
        let life = open(&path);
        is_safe(&life, words);
        is_safe(&life, "a newer hearth wrote it");
        let refused = wait(|on| life.money.reconcile(on)).unwrap_err();
        assert!(refused.to_string().contains("nothing can be built on such a journal"), "{refused}");
        drop(life);
        let newer = replace_fifth(&path, |value| value.clone_from(&older));
        assert_eq!((newer[at], newer.len()), (byte, older.len()), "untouched");
        let life = open(&path);
        assert_eq!((life.money.status().safe_mode, life.balances()), (None, balances));
    }
}

/// The MANIFEST is left out: RocksDB 11.8 reads on for ever in some damaged ones, so such a start hangs instead of saying what is
/// wrong. Nothing is paid then either, but it has to be found before RocksDB opens the file.
#[test]
fn a_flipped_bit_in_log_tables_or_anchor_is_refused_or_leads_to_safe_mode() {
    use rand::{Rng, SeedableRng};
    let (dir, flushed) = used();
    let whole = open(&flushed);
    let expected = (whole.balances(), whole.money.status().seq);
    drop(whole);
    // The same records once as a file and once as a log that was not flushed.
    let logged = dir.path().join("logged");
    std::fs::create_dir(&logged).unwrap();
    let life = fill(&logged);
    let copied_alive = dir.path().join("alive");
    copy_dir(&logged, &copied_alive);
    drop(life);
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    for round in 0..120 {
        let copy = tempfile::tempdir().unwrap();
        let copied = copy.path().join("wallet");
        copy_dir(if round % 2 == 0 { &flushed } else { &copied_alive }, &copied);
        let mut files: Vec<PathBuf> = std::fs::read_dir(&copied).unwrap().map(|file| file.unwrap().path()).collect();
        files.retain(|file| {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            (name.ends_with(".log") || name.ends_with(".sst") || name == "ANCHOR") && file.metadata().unwrap().len() > 0
        });
        files.sort();
        let file = &files[random.random_range(0..files.len())];
        let mut bytes = std::fs::read(file).unwrap();
        let at = random.random_range(0..bytes.len());
        bytes[at] ^= 1 << random.random_range(0..8);
        std::fs::write(file, bytes).unwrap();
        if let Ok(life) = try_open(&copied, node(5))
            && life.money.status().safe_mode.is_none()
        {
            // A bit that nothing depends on (padding, the older slot of the anchor): then nothing is lost either.
            assert_eq!((life.balances(), life.money.status().seq), expected, "round {round}: {}", file.display());
        }
    }
}
