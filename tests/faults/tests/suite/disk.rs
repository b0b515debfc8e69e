//! A disk that is full: where the ledger is, and where its log is.

use neobank_faults::disk::{Disk, MEGABYTE};
use neobank_faults::{Stage, at_rest, check_log, check_storage, differences, found_bank};
use neobank_sessions::*;
use std::os::unix::fs::chown;
use std::time::Instant;

/// What fills a disk: rows of every kind of table that grows, each with ids for the retry.
const FILLERS: [&str; 5] = [
    "select p.* from (select array_agg(a) as a, array_agg(b) as b, array_agg(1::numeric) as m, array_agg(id) as ids \
     from {accounts} cross join stage.ids) i, txn_processing.post_transfers(a, b, m, ids) p",
    "select txn_processing.transfer(a, b, 1, transaction_id => id, effective_at => at, \
     description => repeat('why ', 100)) from stage.ids join {accounts} on n = 1 + no % 24",
    "select txn_processing.create_payment_batch((select jsonb_agg(i) from stage.ids, jsonb_array_elements(stage.items('{mode}')) i), \
     id::text) from stage.ids where no = 1",
    "select txn_processing.enqueue('deposit', null, a, 1, idempotency_key => id::text, \
     request_data => jsonb_build_object('x', repeat('y', 300))) from stage.ids join {accounts} on n = 1 + no % 24",
    "select txn_processing.pay_bank(a, 1, 'YZ', no::text, transaction_id => id) from stage.ids join {accounts} on n = 1 + no % 24",
];

const FRESH: &str = "truncate stage.ids; insert into stage.ids select n, gen_random_uuid(), now() - interval '1 hour' \
                     from generate_series(1, 240) n";

/// The array of ids is crossed with 24 accounts, so each id stands for one of them.
const ONE_EACH: &str = "cross join stage.ids";

fn text(stage: Stage, filler: &str) -> String {
    stage.text(&filler.replace(ONE_EACH, "join stage.ids on n = 1 + no % 24"))
}

fn small_bank(disk: &Disk, cluster: &PrivateCluster) -> Client {
    let place = disk.folder().join("tablespace");
    std::fs::create_dir(&place).expect("the disk is empty");
    let (user, group) = os_user_ids().expect("only root mounts");
    chown(&place, Some(user), Some(group)).expect("root may chown");
    let mut admin = cluster.connect("postgres");
    admin.run(&format!("create tablespace small location '{}'", place.display()));
    admin.run("create database bank");
    let mut db = cluster.connect("bank");
    // The test's own tables stay elsewhere, and so do temporary files and the log.
    db.run("set default_tablespace = small; create extension neobank; reset default_tablespace");
    Stage::set(&mut db);
    db.run("create table stage.ids (no int, id uuid, at timestamptz)");
    let elsewhere = "select count(*) from pg_class c where relkind in ('r', 'i') and reltablespace = 0 and relnamespace \
                     in ('banking'::regnamespace, 'txn_processing'::regnamespace, 'neobank'::regnamespace)";
    assert_eq!(db.count(elsewhere), 0);
    db
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_nothing_else() {
    let begun = Instant::now();
    let Some(disk) = Disk::mount("full", 64 * MEGABYTE) else {
        skipped("a full disk", "this user may not mount a file system");
        return;
    };
    let Some(cluster) = PrivateCluster::start("disk_full", "autovacuum = off\nfsync = off") else {
        skipped("a full disk", "the server's initdb or pg_ctl cannot be found");
        return;
    };
    let mut db = small_bank(&disk, &cluster);
    let seed = seed();
    let mut dice = Dice(seed);
    let (mut calls, mut refused) = (0, 0);
    for _ in 0..2 * setting("ROUNDS", 1).min(5) {
        for filler in FILLERS {
            let stage = Stage::ALL[dice.below(4)];
            db.run(&format!("set neobank.posting_path = '{}'; checkpoint", stage.path));
            disk.resize(disk.used() + dice.below(40) as u64 * 8_192);
            let call = text(stage, filler);
            let before = loop {
                db.run(FRESH);
                let before = snapshot(&mut db);
                calls += 1;
                if let Err(refusal) = db.try_lines(&call) {
                    assert_eq!(refusal.code, "53100", "{stage:?}: {refusal}\n{call}");
                    break before;
                }
            };
            refused += 1;
            assert_eq!(differences(&before, &snapshot(&mut db)), [""; 0], "{call}");
            assert!(refused > 3 || db.try_lines(&call).is_err_and(|again| again.code == "53100"), "it is still full");
            audit(&mut db);
            // Reading goes on, and with more room the same call does.
            disk.resize(disk.used() + 16 * MEGABYTE);
            db.run(&call);
            let done = snapshot(&mut db);
            assert!(!differences(&before, &done).is_empty());
            db.run(&call);
            assert_eq!(differences(&done, &snapshot(&mut db)), [""; 0], "twice: {call}");
        }
    }
    at_rest(&mut db);
    check_storage(&mut db);
    check_log(&cluster.log());
    let seconds = begun.elapsed().as_secs();
    figure("full disk", &format!("{calls} calls, {refused} without room, {seconds} s, SEED={seed}"));
}

#[test]
fn a_full_disk_of_the_log_stops_the_server_and_loses_nothing_acknowledged() {
    let begun = Instant::now();
    let Some(disk) = Disk::mount("log", 256 * MEGABYTE) else {
        skipped("a full disk of the log", "this user may not mount a file system");
        return;
    };
    // Left down, the server says that it stopped; restarted, it would stop again until there is room.
    let settings =
        "autovacuum = off\nrestart_after_crash = off\nwal_recycle = off\nmin_wal_size = 32MB\nmax_wal_size = 64MB";
    let Some(cluster) = PrivateCluster::start("disk_log", settings) else {
        skipped("a full disk of the log", "the server's initdb or pg_ctl cannot be found");
        return;
    };
    cluster.move_folder("pg_wal", disk.folder());
    let mut db = found_bank(&cluster);
    Stage::set(&mut db);
    let (mut acknowledged, mut stops) = (Vec::new(), 0);
    for round in 0..setting("ROUNDS", 1) {
        // Room for the segment that is open and not for the next.
        db.run("checkpoint");
        disk.resize(disk.used() + MEGABYTE);
        let stage = Stage::ALL[(round % 4) as usize];
        db.run(&format!("set neobank.posting_path = '{}'", stage.path));
        let failed = loop {
            let id = Uuid::new_v4();
            let call = format!(
                "select txn_processing.transfer(a, b, 1, transaction_id => '{id}', description => repeat('why ', 200)) \
                 from stage.{} where n = 3; select pg_logical_emit_message(false, 'ballast', repeat('x', 100000))",
                stage.accounts
            );
            match db.try_lines(&call) {
                Ok(_) => acknowledged.push(id),
                Err(refusal) => break refusal,
            }
        };
        assert!(["client", "57P01", "57P02", "53100", "58030", "XX000"].contains(&failed.code.as_str()), "{failed}");
        stops += 1;
        disk.resize(256 * MEGABYTE);
        cluster.start_after_death();
        db = cluster.connect("bank");
        let ids = acknowledged.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
        let there = format!(
            "select count(distinct transaction_id) from txn_processing.movements where transaction_id in ({ids})"
        );
        assert_eq!(db.count(&there), acknowledged.len() as i64, "what was acknowledged is there");
        at_rest(&mut db);
    }
    assert!(cluster.log().contains("No space left on device"), "{}", cluster.log());
    check_storage(&mut db);
    figure(
        "full disk of the log",
        &format!("{} acknowledged, {stops} stops, {} s", acknowledged.len(), begun.elapsed().as_secs()),
    );
}
