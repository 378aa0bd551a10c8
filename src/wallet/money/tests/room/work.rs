//! What a room does whose files are whole: payments, holds, reports, lists and the clock, also over a restart.

use super::*;

#[test]
fn a_payment_inside_survives_the_room_with_its_answer_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let life = two(dir.path());
    let invoice = life.make(1, 100, Some(250_000));
    let text = invoice.invoice.unwrap();
    assert_eq!(life.pay(0, 1, &text), PayReply::Durable);
    let answer = life.published();
    assert_eq!(life.balances(), (750_000, 250_000));
    let known = life.money.request_answer(&request(0, 1).key.event);
    assert!(matches!(known, Some(KnownAnswer::Answered(event)) if event == answer));
    drop(life);
    let life = open(dir.path());
    assert_eq!(life.balances(), (750_000, 250_000));
    assert_eq!(life.money.status().safe_mode, None);
    let known = life.money.request_answer(&request(0, 1).key.event);
    assert!(matches!(known, Some(KnownAnswer::Answered(event)) if event == answer));
    for _ in 0..3 {
        assert_eq!(life.pay(0, 1, &text), PayReply::Durable);
        assert_eq!(life.published(), answer);
    }
    assert_eq!(life.balances(), (750_000, 250_000));
    assert_eq!(life.money.connections()[0].data, b"opaque");
    assert_eq!(life.money.next_connection(), ConnectionId(2));
}

#[test]
fn what_waits_together_is_one_batch_in_which_each_sees_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let life = two(dir.path());
    life.connect(
        0,
        ConnectionRules {
            budget: Some(Budget { amount: msat(30_000), renewal: Renewal::Never, time_zone: "UTC".to_owned() }),
            ..rules(1, None)
        },
    )
    .unwrap();
    let invoices: Vec<String> = (0..100).map(|number| life.make(1, 1_000 + number, Some(10_000)).invoice.unwrap()).collect();
    let (tell, told) = channel();
    // Every request twice, all at once: exactly three are paid, and every request has one answer.
    for round in 0..2 {
        for (number, invoice) in (0..).zip(&invoices) {
            let tell = tell.clone();
            life.money.pay(pay_order(0, number, invoice), Box::new(move |reply| tell.send((round, reply)).unwrap()));
        }
    }
    for _ in 0..200 {
        assert_eq!(told.recv_timeout(Duration::from_secs(20)).unwrap().1, PayReply::Durable);
    }
    assert_eq!(life.balances(), (970_000, 30_000));
    let view = life.money.budget(ConnectionId(0)).unwrap();
    assert_eq!((view.settled, view.left()), (msat(30_000), msat(0)));
    let mut answers = std::collections::HashMap::new();
    for _ in 0..200 {
        let event = life.published();
        let of = event.view().tag(b'e').unwrap().to_text().into_owned();
        assert_eq!(*answers.entry(of).or_insert_with(|| event.clone()), event);
    }
    assert_eq!(answers.len(), 100);
}

#[test]
fn a_foreign_invoice_is_written_then_sent_and_asked_for_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let life = two(dir.path());
    let (paid, proof) = foreign(1);
    let (failing, _) = foreign(2);
    assert_eq!(life.pay(0, 1, &paid), PayReply::Durable);
    assert_eq!(life.pay(0, 2, &failing), PayReply::Durable);
    while life.backend.sent.lock().len() < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(life.balances().0, 1_000_000 - 2 * 15_000);
    assert!(matches!(life.money.request_answer(&request(0, 1).key.event), Some(KnownAnswer::Pending)));
    let done = life.backend.sent.lock()[1].1.take().unwrap();
    done(SendResult::Failed("no route".to_owned()));
    assert!(life.published().json().contains("PAYMENT_FAILED: no route"));
    assert_eq!(life.balances().0, 985_000);
    drop(life);

    let backend = node(5);
    *backend.known.lock() = vec![(proof.hash(), LookupResult::Settled { preimage: proof, fee: msat(77) })];
    let life = try_open(dir.path(), backend).unwrap();
    // Known before the room is open, so before anybody is served.
    assert_eq!((life.balances().0, life.money.status().in_flight), (1_000_000 - 5_077, 0));
    assert!(life.published().json().contains("paid 5000 msat fee 77 msat"));
    assert_eq!(life.pay(0, 3, &paid), PayReply::Durable);
    assert!(life.published().json().contains(&proof.to_hex()));
    assert!(life.backend.sent.lock().is_empty());
}

#[test]
fn the_embedded_back_end_says_why_it_cannot_pay_others() {
    let dir = tempfile::tempdir().unwrap();
    let life = two(dir.path());
    let backend = Embedded::new(&Secret::new([5; 32]), &embedded::Config::default()).unwrap();
    assert_eq!(life.pay(0, 1, &foreign(1).0), PayReply::Durable);
    let done = loop {
        if let Some((_, done)) = life.backend.sent.lock().first_mut() {
            break done.take().unwrap();
        }
    };
    backend.send(life.backend.sent.lock()[0].0.clone(), done);
    assert!(life.published().json().contains("settles only inside its own hearth"));
    assert_eq!(life.balances().0, 1_000_000);
}

/// A hold invoice of the poor account.
fn hold_invoice(life: &Life, number: u64, preimage: Preimage) -> Transaction {
    let hold = Some(HoldTerms { hash: preimage.hash(), min_cltv_expiry_delta: Some(40) });
    let order = InvoiceOrder { hold, ..invoice_order(request(1, number), Some(5_000)) };
    wait(|on| life.money.make_invoice(order, on)).unwrap()
}

#[test]
fn a_hold_survives_the_room_and_moves_the_money_by_its_makers_word() {
    let dir = tempfile::tempdir().unwrap();
    let life = two(dir.path());
    let preimage = Preimage([9; 32]);
    let invoice = hold_invoice(&life, 100, preimage);
    assert_eq!(life.pay(0, 1, invoice.invoice.as_ref().unwrap()), PayReply::Durable);
    let News::Held(held) = life.news.recv_timeout(Duration::from_secs(20)).unwrap() else { panic!("something else") };
    assert_eq!((held.hash, held.connection, held.settle_deadline), (preimage.hash(), ConnectionId(1), None));
    assert_eq!(life.money.held_since(START_MS / 1_000).unwrap(), [held]);
    assert_eq!((life.balances(), life.money.settled_since(0).unwrap()), ((995_000, 0), Vec::new()));
    drop(life);
    let life = open(dir.path());
    assert_eq!((life.balances(), life.money.held_since(0).unwrap()), ((995_000, 0), vec![held]));
    let seen = life.money.lookup(Viewer::Connection(ConnectionId(1)), &Selector::Hash(held.hash)).unwrap().unwrap();
    assert_eq!((seen.state, seen.preimage), (TransactionState::Accepted, None));
    let status = life.money.status();
    assert_eq!((status.payments.len(), status.holds.len(), status.payments[0].is_held_inside), (1, 1, true));
    let stranger = wait(|on| life.money.settle_hold(request(0, 7), preimage, on));
    assert_eq!(stranger.unwrap_err().code, ErrorCode::NotFound);
    wait(|on| life.money.settle_hold(request(1, 7), preimage, on)).unwrap();
    assert!(life.published().json().contains(&preimage.to_hex()));
    let told: Vec<News> = (0..2).map(|_| life.news.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
    let settled = life.money.settled_since(START_MS / 1_000).unwrap();
    let directions: Vec<Direction> = settled.iter().map(|one| one.direction).collect();
    assert_eq!(directions, [Direction::Incoming, Direction::Outgoing]);
    assert!(settled.iter().all(|one| told.contains(&News::Settled(*one)) && one.seq == settled[0].seq));
    assert_eq!((life.balances(), life.money.settled_since(START_MS / 1_000 + 1).unwrap()), ((995_000, 5_000), Vec::new()));
    // One that nobody has paid is cancelled at the back end too.
    let other = Preimage([8; 32]);
    hold_invoice(&life, 101, other);
    wait(|on| life.money.cancel_hold(request(1, 8), other.hash(), on)).unwrap();
    let seen = life.money.lookup(Viewer::Owner, &Selector::Hash(other.hash())).unwrap().unwrap();
    assert_eq!(seen.state, TransactionState::Failed);
    drop(life);
    assert_eq!(open(dir.path()).balances(), (995_000, 5_000));
}

#[test]
fn a_report_is_acknowledged_when_it_is_on_the_disk_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    let life = two(dir.path());
    let invoice = life.make(1, 100, Some(5_000));
    let incoming = |amount: u64| Incoming {
        hash: invoice.payment_hash,
        amount: msat(amount),
        state: IncomingState::Settled { preimage: None },
    };
    let report = |incoming: Incoming| {
        let (acked, acks) = channel();
        let report = life.backend.report.lock();
        (report.as_ref().unwrap())(incoming, Box::new(move || acked.send(()).unwrap_or_default()));
        acks
    };
    report(incoming(5_000)).recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(life.balances().1, 5_000);
    report(incoming(5_000)).recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(life.balances().1, 5_000);
    let second = life.make(1, 101, Some(7_000));
    life.faults.fail_after(0);
    let lost = Incoming { hash: second.payment_hash, ..incoming(7_000) };
    assert!(report(lost).recv_timeout(Duration::from_secs(20)).is_err(), "dropped without a call");
}

#[test]
fn everything_there_ever_was_is_exported_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let life = two(dir.path());
    for number in 0..5 {
        life.clock.set_ms(START_MS + number * 1_000);
        let invoice = life.make(1, 100 + number, Some(1_000 + number));
        life.pay(0, number, &invoice.invoice.unwrap());
    }
    let exported = |account| {
        let mut all = Vec::new();
        life.money
            .export(account, &mut |one| {
                all.push(one);
                true
            })
            .unwrap();
        all
    };
    let all = exported(None);
    assert!(all.len() == 10 && all.is_sorted_by_key(|one| one.seq));
    let paid: Vec<u64> = exported(Some(AccountId(1))).iter().map(|one| one.amount.get()).collect();
    assert_eq!(paid, [1_000, 1_001, 1_002, 1_003, 1_004]);
    let mut count = 0;
    life.money
        .export(None, &mut |_| {
            count += 1;
            count < 3
        })
        .unwrap();
    assert_eq!(count, 3);
    let signed = wait(|on| life.money.sign_message("hello".to_owned(), on)).unwrap();
    assert_eq!((signed.message.as_str(), signed.signature.len()), ("hello", 104));
}

/// A back end lives longer than the room. If its reporter kept the database open, that would be closed while the process ends, which
/// aborts it.
#[test]
fn a_back_end_that_outlives_the_room_does_not_keep_its_database_open() {
    let dir = tempfile::tempdir().unwrap();
    let Life { money, backend, .. } = two(dir.path());
    money.close();
    drop(money);
    let life = open(dir.path());
    assert_eq!((life.money.status().safe_mode, life.balances()), (None, (1_000_000, 0)));
    // What it still tells the closed room is neither acknowledged nor taken for a stray.
    let told = Arc::new(Mutex::new(false));
    let heard = Arc::clone(&told);
    let report = backend.outgoing.lock().take().unwrap();
    report(Outgoing { hash: foreign(9).1.hash(), attempt: 9 }, Box::new(move || *heard.lock() = true));
    assert!(!*told.lock());
    assert_eq!(life.money.status().safe_mode, None);
}

#[test]
fn a_clock_that_jumps_is_told_and_believed_again_later() {
    let dir = tempfile::tempdir().unwrap();
    let life = two(dir.path());
    life.clock.jump_ms(7_200_000);
    life.make(1, 100, Some(1));
    let status = life.money.status();
    assert!(status.clock_doubted && status.alarm_count == 1 && status.alarms[0].contains("the clock"), "{status:?}");
    life.clock.set_ms(life.clock.now_ms() + 600_000);
    life.make(1, 101, Some(1));
    assert!(!life.money.status().clock_doubted);
    drop(life);
    // The next life begins two hours earlier than the journal ends.
    let life = open(dir.path());
    life.make(1, 102, Some(1));
    assert!(life.money.status().clock_doubted);
}

#[test]
fn lists_and_look_ups_show_what_the_viewer_may_see() {
    let dir = tempfile::tempdir().unwrap();
    let life = two(dir.path());
    let (app, shop) = (Viewer::Connection(ConnectionId(0)), Viewer::Connection(ConnectionId(1)));
    // A second app on the rich account.
    life.connect(2, rules(1, None)).unwrap();
    let second = Viewer::Connection(ConnectionId(2));
    for number in 0..6 {
        life.clock.set_ms(START_MS + number * 1_000);
        let invoice = life.make(1, 100 + number, Some(1_000 + number));
        if number < 4 {
            life.pay(0, number, &invoice.invoice.unwrap());
        }
    }
    let everything = life.money.list(Viewer::Owner, &ListQuery { unpaid: true, count: true, ..ListQuery::default() }).unwrap();
    assert_eq!(everything.total, Some(10));
    assert_eq!(life.money.recent_answers(START_MS / 1_000 + 2).len(), 2);
    let all = ListQuery { unpaid: true, count: true, ..ListQuery::default() };
    let page = life.money.list(shop, &all).unwrap();
    let amounts: Vec<u64> = page.transactions.iter().map(|one| one.amount.get()).collect();
    assert_eq!((amounts, page.total), (vec![1_005, 1_004, 1_003, 1_002, 1_001, 1_000], Some(6)));
    assert_eq!(page.transactions[0].state, TransactionState::Pending);
    assert!(page.transactions[0].preimage.is_none() && page.transactions[2].preimage.is_some());
    let paid = life.money.list(shop, &ListQuery { limit: Some(2), offset: 1, count: true, ..ListQuery::default() }).unwrap();
    assert_eq!(paid.transactions.iter().map(|one| one.amount.get()).collect::<Vec<_>>(), [1_002, 1_001]);
    assert_eq!(paid.total, Some(4));
    let some = ListQuery { from_s: Some(START_MS / 1_000 + 1), until_s: Some(START_MS / 1_000 + 2), ..all.clone() };
    assert_eq!(life.money.list(shop, &some).unwrap().transactions.len(), 2);
    let outgoing = ListQuery { direction: Some(Direction::Outgoing), ..all.clone() };
    assert_eq!(life.money.list(shop, &outgoing).unwrap().total, Some(0));
    assert_eq!(life.money.list(app, &outgoing).unwrap().total, Some(4));

    let hash = page.transactions[5].payment_hash;
    let of = |viewer| life.money.lookup(viewer, &Selector::Hash(hash)).unwrap();
    assert_eq!(of(shop).unwrap().direction, Direction::Incoming);
    let paid = of(app).unwrap();
    assert_eq!((paid.direction, paid.state, paid.preimage.is_some()), (Direction::Outgoing, TransactionState::Settled, true));
    assert!(of(second).unwrap().preimage.is_none(), "another connection of the same account sees no proof");
    life.connect(3, rules(0, None)).unwrap();
    assert_eq!(of(Viewer::Connection(ConnectionId(3))), None);
    assert_eq!(of(Viewer::Connection(ConnectionId(77))), None);
    let text = paid.invoice.unwrap();
    assert_eq!(life.money.lookup(app, &Selector::Invoice(text.to_uppercase())).unwrap().unwrap().payment_hash, hash);
    assert_eq!(life.money.lookup(app, &Selector::Invoice("lnbcrt1".to_owned())).unwrap(), None);
    life.clock.set_ms(START_MS + 4_000_000);
    assert_eq!(life.money.list(shop, &all).unwrap().transactions[0].state, TransactionState::Expired);
}
