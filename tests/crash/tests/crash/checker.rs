//! The check that the other tests trust must itself find what is wrong: damage done past the guard, and a real loss.

use neobank_crash::*;
use neobank_sessions::*;
use std::collections::HashMap;

/// One client that works in a session that is given to it.
fn work(db: &mut Client, maker: &mut Maker, requests: usize) -> Vec<Entry> {
    (0..requests)
        .map(|_| {
            let request = maker.make();
            let mut entry = Entry::new(request);
            let answer = db.try_lines(&entry.request.sql);
            if answer.is_err() {
                db.run("rollback");
            }
            entry.answered(answer);
            maker.learn(&entry);
            entry
        })
        .collect()
}

/// What is damaged, so what there must be.
const WANTED: [&str; 22] = [
    "deposit",
    "block",
    "request",
    "hold",
    "capture",
    "dispute",
    "resolution",
    "transfer with a fee",
    "event",
    "events",
    "open_account",
    "create_payment_batch",
    "decision",
    "command",
    "command at once",
    "acknowledgement",
    "saga",
    "signal",
    "completed step",
    "marked row",
    "marked portion",
    "marked block",
];

#[test]
fn the_check_finds_what_is_missing_and_what_is_too_much() {
    let mut bank = Bank::empty_database();
    let books = Books::found(&mut bank.db);
    let first: HashMap<String, u32> = facts(&mut bank.db);
    let mut maker = Maker::new(books, 0, setting("SEED", 7));
    let mut journal = work(&mut bank.db, &mut maker, 400);
    let has =
        |journal: &[Entry], label: &str| journal.iter().any(|it| it.request.label == label && it.is_acknowledged());
    let missing = |journal: &[Entry]| WANTED.iter().find(|label| !has(journal, label));
    while let Some(label) = missing(&journal) {
        assert!(journal.len() < 10_000, "never acknowledged: {label}");
        journal.extend(work(&mut bank.db, &mut maker, 100));
    }
    bank.db.run("select * from txn_processing.process_queue(10000)");
    let faults = check(&mut bank.db, &first, journal.iter());
    assert!(faults.is_empty(), "{faults:#?}");
    let find = |kind: &str| {
        let mut known = journal.iter().filter(|entry| entry.request.label == kind && entry.is_acknowledged());
        known.next().expect("it is among them").request.probe.expect("it has an id")
    };
    let (deposit, block) = (find("deposit"), find("block"));
    let all_but = "debit_account, credit_account, debit_sequence + 100000, credit_sequence + 100000, created_at, tenant_no, \
                   transaction_type, leg, amount, debit_balance, credit_balance, currency_code, created_by, effective_at, \
                   reverses, null, description, metadata from txn_processing.movements";
    let movements = "txn_processing.movements";
    let queue = "txn_processing.transaction_queue";
    let events = "update event_store.events set";
    let history = "set local neobank.history_guard = off; set local session_replication_role = replica;";
    let done = format!(
        "{queue} where request_id = (select min(request_id::text)::uuid from {queue} where status = 'completed')"
    );
    let damages = [
        (format!("delete from {movements} where transaction_id = '{deposit}'"), "acknowledged, and missing: deposit"),
        (
            format!("update {movements} set amount = amount + 0.01 where transaction_id = '{deposit}'"),
            "acknowledged, and missing",
        ),
        (
            format!("update {movements} set amount = amount + 0.01 where transaction_id = '{deposit}'"),
            "nobody asked for it",
        ),
        (format!("delete from {movements} where transaction_id = '{block}'"), "acknowledged, and missing: block"),
        ("delete from public.receipts".to_owned(), "acknowledged, and missing: block"),
        (
            format!("insert into {movements} select gen_random_uuid(), {all_but} where transaction_id = '{deposit}'"),
            "nobody asked for it",
        ),
        (format!("delete from {done}"), "acknowledged, and missing: request"),
        (
            format!("delete from {movements} where transaction_id = (select transaction_id from {done})"),
            "is one posting of its content",
        ),
        (
            format!("update {queue} set transaction_id = null where status = 'completed'"),
            "is one posting of its content",
        ),
        ("delete from txn_processing.transaction_queue_attempts".to_owned(), "completed in one attempt"),
        ("delete from txn_processing.holds".to_owned(), "acknowledged, and missing: hold"),
        ("delete from txn_processing.disputes".to_owned(), "acknowledged, and missing: dispute"),
        ("update txn_processing.disputes set state = case state when 'won' then 'lost' else 'won' end where state <> 'open'".to_owned(), "acknowledged, and missing: resolution"),
        ("delete from txn_processing.hold_captures".to_owned(), "acknowledged, and missing: capture"),
        ("delete from txn_processing.fees_charged".to_owned(), "acknowledged, and missing: transfer with a fee"),
        ("update txn_processing.fees_charged set amount = amount + 1".to_owned(), "is one posting of its amount"),
        ("delete from event_store.events".to_owned(), "acknowledged, and missing: event:"),
        ("delete from event_store.events".to_owned(), "acknowledged, and missing: events:"),
        ("delete from event_store.events".to_owned(), "acknowledged, and missing: block"),
        (format!("{events} event_data = event_data || '{{\"a\": 1}}'"), "acknowledged, and missing: event:"),
        (format!("{events} event_type = event_type || 's'"), "nobody asked for it: event"),
        (
            "insert into event_store.events select gen_random_uuid(), aggregate_id, -global_position, created_at, \
             -event_version, aggregate_type, event_type, created_by, event_data from event_store.events"
                .to_owned(),
            "nobody asked for it: event",
        ),
        (
            "delete from banking.accounts where account_number like 'N-%'".to_owned(),
            "acknowledged, and missing: open_account",
        ),
        ("delete from event_store.events".to_owned(), "acknowledged, and missing: decision:"),
        ("delete from cqrs.commands".to_owned(), "acknowledged, and missing: command:"),
        ("delete from cqrs.commands".to_owned(), "acknowledged, and missing: command at once:"),
        ("update cqrs.commands set payload = payload || '{\"amount\": -1}'".to_owned(), "nobody asked for it: command"),
        ("delete from public.told".to_owned(), "acknowledged, and missing: acknowledgement"),
        ("update public.told set token = -token".to_owned(), "acknowledged, and missing: acknowledgement"),
        ("delete from saga.sagas".to_owned(), "acknowledged, and missing: saga:"),
        ("update saga.sagas set saga_type = 'another'".to_owned(), "nobody asked for it: saga"),
        ("delete from saga.signals".to_owned(), "acknowledged, and missing: signal:"),
        (
            "update saga.signals set payload = '{\"figure\": -1}' where payload ? 'figure'".to_owned(),
            "nobody asked for it: signal",
        ),
        ("delete from public.saga_answers".to_owned(), "acknowledged, and missing: completed step:"),
        (format!("insert into {movements} select gen_random_uuid(), {all_but} where transaction_id = (select effect_id from public.saga_effects where kind = 'deposit' limit 1)"), "nobody asked for it"),
        (format!("{history} delete from public_history.limits_current; delete from public_history.limits_past"), "acknowledged, and missing: marked row:"),
        (format!("{history} delete from public_history.limits_past"), "acknowledged, and missing: marked portion:"),
        (format!("{history} update public_history.limits_past set mark = null; update public_history.limits_current set mark = null"), "acknowledged, and missing: marked block:"),
        (format!("{history} update public_history.limits_current set account = account + 70"), "nobody asked for it: limit"),
        ("delete from txn_processing.payment_batches".to_owned(), "acknowledged, and missing: create_payment_batch"),
        (
            "update txn_processing.payment_batch_items set status = 'pending' where status = 'completed'".to_owned(),
            "if and only if it is completed",
        ),
    ];
    for (damage, wanted) in damages {
        bank.db.run(&format!("begin; set local neobank.ledger_guard = off; {damage}"));
        let found = check(&mut bank.db, &first, journal.iter());
        bank.db.run("rollback");
        assert!(found.iter().any(|fault| fault.contains(wanted)), "{damage}: {found:#?}");
    }
    // As if a refusal had posted, and as if half of a transaction had been lost before its answer.
    let at = |label: &str| journal.iter().position(|entry| entry.request.label == label && entry.is_acknowledged());
    let (one, whole) = (at("deposit").expect("seen above"), at("block").expect("seen above"));
    journal[one].standings = vec![Standing::Refused];
    journal[whole].standings = vec![Standing::Open];
    bank.db.run("delete from public.receipts");
    let found = check(&mut bank.db, &first, journal.iter());
    for wanted in ["refused, and there: deposit", "half of it is there: block"] {
        assert!(found.iter().any(|fault| fault.contains(wanted)), "{wanted}: {found:#?}");
    }
}

/// With synchronous_commit off an acknowledgement promises nothing, and the kill takes what was not written yet.
#[test]
fn the_check_finds_a_real_loss() {
    let settings = "wal_writer_delay = 10s\nwal_writer_flush_after = 1GB";
    let mut server = Server::create("loss", settings);
    let mut db = server.connect();
    let books = Books::found(&mut db);
    let first = facts(&mut db);
    let mut maker = Maker::new(books, 0, setting("SEED", 7));
    let mut journal = Vec::new();
    for _ in 0..10 {
        // Whatever else writes the log in time, it does not do so ten times.
        db.run("set synchronous_commit = off");
        journal.extend(work(&mut db, &mut maker, 30));
        server.kill_postmaster();
        server.start();
        db = server.connect();
        let faults = check(&mut db, &first, journal.iter());
        if !faults.is_empty() {
            assert!(faults.iter().any(|fault| fault.contains("acknowledged, and missing")), "{faults:#?}");
            // It is a tail that is lost: the books themselves are in order.
            all_sound(&mut db);
            return;
        }
    }
    panic!("no kill lost anything, so the check was not put to the test");
}
