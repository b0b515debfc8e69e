//! Background workers, and processes killed in the middle of requests, in clusters of the tests' own.

use neobank_sessions::*;
use std::thread;
use std::time::{Duration, Instant};

const ACCOUNTS: usize = 40;

/// Makes a bank of forty accounts with 1,000 each in the database `bank` of the cluster.
fn found_bank(cluster: &PrivateCluster) -> Client {
    cluster.connect("postgres").run("create database bank");
    let mut db = cluster.connect("bank");
    db.run("create extension neobank");
    db.run(&format!(
        "create table shelf as select n, banking.open_account(banking.create_customer('A', 'B'), opening_deposit => 1000) as id \
         from generate_series(0, {ACCOUNTS} - 1) n"
    ));
    db
}

/// Requests of several types; each takes one from its source or gives one to its destination.
fn enqueue(db: &mut Client, requests: usize) {
    db.run(&format!(
        "select case i % 4 \
           when 0 then txn_processing.enqueue('deposit', null, b.id, 1, max_retries => 100) \
           when 1 then txn_processing.enqueue('adjustment', a.id, null, 1, request_data => '{{\"reason\": \"why\"}}', max_retries => 100) \
           else txn_processing.enqueue('transfer', a.id, b.id, 1, max_retries => 100) end \
         from generate_series(1, {requests}) i \
         join shelf a on a.n = i % {ACCOUNTS} join shelf b on b.n = (i * 7 + 3) % {ACCOUNTS}"
    ));
}

const ALL_DONE: &str = "not exists (select from txn_processing.transaction_queue where status = 'queued')";

/// Each request was carried out once, and nothing else was.
fn is_exact(db: &mut Client, requests: i64) {
    let statuses =
        "select status, count(*), count(distinct transaction_id) from txn_processing.transaction_queue group by 1";
    assert_eq!(db.lines(statuses), [format!("completed|{requests}|{requests}")]);
    let posted = "select count(*) from txn_processing.movements m where not exists \
                  (select from txn_processing.transaction_queue q where q.transaction_id = m.transaction_id)";
    assert_eq!(db.count(posted), ACCOUNTS as i64, "only the opening deposits belong to no request");
    assert_eq!(db.count("select count(*) from txn_processing.movements"), requests + ACCOUNTS as i64);
    let recorded = "select count(*) from txn_processing.transaction_queue_attempts where outcome = 'completed'";
    assert_eq!(db.count(recorded), requests);
    audit(db);
}

fn cluster(name: &str, settings: &str) -> Option<PrivateCluster> {
    let cluster = PrivateCluster::start(name, settings);
    if cluster.is_none() {
        skipped("a killed worker of the queue", "the server's initdb or pg_ctl cannot be found");
    }
    cluster
}

#[test]
fn a_caller_killed_in_the_middle_loses_and_doubles_nothing() {
    let Some(cluster) = cluster("queue_caller", "") else { return };
    let mut db = found_bank(&cluster);
    enqueue(&mut db, 12_000);
    let mut dice = Dice(7);
    let mut killed_at_work = 0;
    let untouched = "not exists (select from txn_processing.transaction_queue where status = 'completed')";
    for round in 0..12 {
        let mut session = cluster.connect("bank");
        // A machine that has not finished one batch by now gets more time.
        let longest = if db.one(&format!("select {untouched}")) == "t" { 40 << round } else { 40 };
        let backend = Bank::backend_of(&mut session);
        let working = thread::spawn(move || {
            (0..).find_map(|_: u64| session.try_lines("select * from txn_processing.process_queue(150)").err())
        });
        thread::sleep(Duration::from_millis(5 + dice.below(longest) as u64));
        cluster.kill(backend);
        killed_at_work += usize::from(working.join().expect("no panic").is_some());
        db = cluster.after_crash(db, "bank", 30);
    }
    assert!(killed_at_work > 8, "{killed_at_work}");
    let left = db.count("select count(*) from txn_processing.transaction_queue where status = 'queued'");
    assert!(left > 0 && left < 12_000, "{left} were left");
    db.run("update txn_processing.transaction_queue set next_attempt_at = now() where status = 'queued'");
    while db.count("select count(*) from txn_processing.process_queue(10000)") > 0 {}
    is_exact(&mut db, 12_000);
}

#[test]
fn a_worker_killed_in_the_middle_loses_and_doubles_nothing() {
    let settings = "shared_preload_libraries = 'neobank'\nneobank.queue_workers = 2\nneobank.queue_database = 'bank'\n\
                    neobank.queue_poll_interval = 5\nneobank.queue_retry_delay = 50";
    let Some(cluster) = cluster("queue_worker", settings) else { return };
    let mut db = found_bank(&cluster);
    let worker =
        "select pid from pg_stat_activity where backend_type = 'neobank queue worker' and datname = 'bank' limit 1";
    let mut dice = Dice(11);
    let mut requests = 0;
    for _ in 0..6 {
        cluster.wait_for(&mut db, &format!("exists ({worker})"), 60);
        enqueue(&mut db, 3_000);
        requests += 3_000;
        thread::sleep(Duration::from_millis(dice.below(60) as u64));
        let process = db.count(worker);
        cluster.kill(process);
        db = cluster.after_crash(db, "bank", 30);
    }
    cluster.wait_for(&mut db, ALL_DONE, 60);
    is_exact(&mut db, requests);
    let log = cluster.log();
    assert!(log.contains("was terminated by signal 9"), "{log}");
    assert!(!log.contains("PANIC"), "{log}");
}

#[test]
fn a_worker_is_seen_and_told_and_survives() {
    let settings = "shared_preload_libraries = 'neobank'\nneobank.queue_workers = 1\nneobank.queue_database = 'bank'\n\
                    neobank.queue_poll_interval = 10\nneobank.queue_lock_timeout = 300";
    let Some(cluster) = cluster("queue_life", settings) else { return };
    // It came before its database, and then before the extension.
    cluster.connect("postgres").run("create database bank");
    let mut db = cluster.connect("bank");
    let seen = |state: &str| {
        format!(
            "exists (select from pg_stat_activity where backend_type = 'neobank queue worker' and datname = 'bank' \
             and state = '{state}')"
        )
    };
    cluster.wait_for(&mut db, &seen("idle"), 60);
    drop(db);
    cluster.connect("postgres").run("drop database bank with (force)");
    db = found_bank(&cluster);
    enqueue(&mut db, 100);
    cluster.wait_for(&mut db, ALL_DONE, 60);
    is_exact(&mut db, 100);
    let owner = "select distinct split_part(claimed_by, ' ', 1), \
                 (select string_agg(distinct created_by, ',') from txn_processing.movements) \
                 from txn_processing.transaction_queue";
    assert_eq!(db.lines(owner), ["postgres|postgres"]);

    // At work it is seen at work, and waits no longer than it may.
    let mut holder = cluster.connect("bank");
    holder.run("begin; select txn_processing.deposit(id, 1) from shelf where n = 0");
    let id =
        db.id("select txn_processing.enqueue('withdrawal', id, null, 1, max_retries => 100) from shelf where n = 0");
    cluster.wait_for(&mut db, &seen("active"), 60);
    let text =
        "select distinct query from pg_stat_activity where backend_type = 'neobank queue worker' and state = 'active'";
    let shown = db.lines(text);
    assert!(shown.is_empty() || shown == ["txn_processing.process_queue"], "{shown:?}");
    let attempts = format!(
        "exists (select from txn_processing.transaction_queue_attempts where request_id = '{id}' and outcome = 'retry')"
    );
    cluster.wait_for(&mut db, &attempts, 60);
    holder.run("rollback");
    cluster.wait_for(&mut db, ALL_DONE, 60);

    // Somebody's trigger that fails at the commit fails its own request.
    db.run(
        "create function late() returns trigger language plpgsql as $$ begin \
         if new.amount = 13 then raise exception 'late'; end if; return null; end $$; \
         create constraint trigger late after insert on txn_processing.movements deferrable initially deferred \
         for each row execute function late()",
    );
    enqueue(&mut db, 20);
    let bad = db.id("select txn_processing.enqueue('deposit', null, id, 13) from shelf where n = 0");
    cluster.wait_for(&mut db, ALL_DONE, 60);
    let failed =
        "select request_id, error_code, error_message from txn_processing.transaction_queue where status = 'failed'";
    assert_eq!(db.lines(failed), [format!("{bad}|server_error|late")]);
    db.run("drop trigger late on txn_processing.movements");

    // Settings are read again, an error of the whole call is logged, and the worker goes on.
    cluster.reload("neobank.posting_path = 'spi'\nneobank.queue_poll_interval = 20");
    let slow = "create function broken() returns trigger language plpgsql as $$ begin raise exception 'out of order'; end $$; \
                create trigger broken before update on txn_processing.transaction_queue for each row execute function broken()";
    db.run(slow);
    enqueue(&mut db, 20);
    let until = Instant::now() + Duration::from_secs(20);
    while !cluster.log().contains("neobank queue worker: out of order (SQLSTATE P0001)") {
        assert!(Instant::now() < until, "{}", cluster.log());
        thread::sleep(Duration::from_millis(20));
    }
    db.run("drop trigger broken on txn_processing.transaction_queue");
    cluster.wait_for(&mut db, ALL_DONE, 60);
    // Dropped and made again, the extension is found again.
    db.run("drop extension neobank cascade; drop table shelf");
    drop(db);
    let mut db = cluster.connect("bank");
    thread::sleep(Duration::from_millis(100));
    db.run("create extension neobank");
    db.run("create table shelf as select banking.open_account(banking.create_customer('A', 'B')) as id");
    db.run("select txn_processing.enqueue('deposit', null, id, 5) from shelf");
    cluster.wait_for(&mut db, ALL_DONE, 60);
    assert_eq!(db.lines("select status from txn_processing.transaction_queue"), ["completed"]);
    audit(&mut db);
    // It ends with the server, and begins with it.
    cluster.restart();
    let mut db = cluster.connect("bank");
    db.run("select txn_processing.enqueue('deposit', null, id, 5) from shelf");
    cluster.wait_for(&mut db, ALL_DONE, 60);
    let log = cluster.log();
    assert!(!log.contains("PANIC") && !log.contains("terminated by signal"), "{log}");
}
