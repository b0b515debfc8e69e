//! Checks of a server: settings, files, archive, and real streaming replication to a standby that lags, is stopped, dies
//! and comes back. In clusters of their own.

use crate::checks::*;
use neobank_sessions::*;
use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

fn bank_on(cluster: &PrivateCluster) -> Client {
    cluster.connect("postgres").run("create database bank");
    let mut db = cluster.connect("bank");
    db.run("create extension neobank");
    db
}

fn signal(name: &str, pid: &str) {
    run_tool(Command::new("kill").args([name, pid]));
}

fn write_mb(db: &mut Client, mb: u32) {
    db.run(&format!(
        "select count(pg_logical_emit_message(false, 'fill', repeat('x', 1000000))) from generate_series(1, {mb})"
    ));
}

#[test]
fn settings_files_and_archive() {
    let has_statements =
        Bank::new().db.count("select count(*) from pg_available_extensions where name = 'pg_stat_statements'") > 0;
    let preload = if has_statements { "shared_preload_libraries = 'pg_stat_statements'" } else { "" };
    let settings = format!(
        "{preload}\narchive_mode = on\narchive_command = 'true'\nautovacuum = on\nautovacuum_max_workers = 1\nautovacuum_naptime = 1\nmax_wal_size = 64MB"
    );
    let Some(cluster) = PrivateCluster::with_checksums("checks", &settings) else {
        return skipped("checks of settings and archive", "no initdb and pg_ctl beside the server");
    };
    let mut db = bank_on(&cluster);
    let dangerous =
        ["fsync", "full_page_writes", "synchronous_commit", "max_connections", "wal_level", "data_checksums"];
    for setting in dangerous {
        silent(&mut db, "settings", setting);
    }
    silent(&mut db, "archiver", "the archiver");
    silent(&mut db, "archiver", "archive_command");
    silent(&mut db, "autovacuum", "autovacuum");
    silent(&mut db, "authentication", "pg_hba.conf line 1");
    silent(&mut db, "config_files", "work_mem");
    cluster.reload("full_page_writes = off\nfsync = off\nsynchronous_commit = off\nautovacuum = off\nmax_connections = 90\narchive_command = 'false'");
    comes_to(&mut db, "settings", "full_page_writes", "critical");
    for (setting, wanted) in [("fsync", "critical"), ("synchronous_commit", "warning"), ("max_connections", "warning")]
    {
        comes_to(&mut db, "settings", setting, wanted);
    }
    silent(&mut db, "settings", "wal_level");
    mend(&mut db, "settings", "fsync");
    autovacuum(&cluster, &mut db);
    // What a session has set for itself is its own affair.
    cluster
        .reload("full_page_writes = on\nfsync = on\nsynchronous_commit = on\nautovacuum = on\nmax_connections = 100");
    comes_to(&mut db, "settings", "fsync", "silent");
    db.run("set synchronous_commit = off");
    silent(&mut db, "settings", "synchronous_commit");
    db.run("reset synchronous_commit");
    // The archive's disk is full.
    threshold(&mut db, "archive_backlog", "1, null");
    silent(&mut db, "archive_backlog", "pg_wal/archive_status");
    db.run("select pg_logical_emit_message(false, 'x', 'x'); select pg_switch_wal()");
    comes_to(&mut db, "archiver", "the archiver", "warning");
    comes_to(&mut db, "archive_backlog", "pg_wal/archive_status", "warning");
    threshold(&mut db, "archiver", "null, 0");
    found(&mut db, "archiver", "the archiver", "critical");
    cluster.reload("archive_command = ''");
    comes_to(&mut db, "archiver", "archive_command", "critical");
    cluster.reload("archive_command = 'true'");
    comes_to(&mut db, "archiver", "the archiver", "silent");
    comes_to(&mut db, "archive_backlog", "pg_wal/archive_status", "silent");
    files(&cluster, &mut db);
    pages(&cluster, &mut db);
    statements(&mut db, has_statements);
    for _ in 0..3 {
        db.run("checkpoint");
    }
    threshold(&mut db, "checkpoints", "1, null, 100");
    silent(&mut db, "checkpoints", "checkpoints");
    threshold(&mut db, "checkpoints", "1, null, 1");
    comes_to(&mut db, "checkpoints", "checkpoints", "warning");
}

/// Does what the finding says, and it is gone.
fn mend(db: &mut Client, check: &str, object: &str) {
    for statement in remedy(db, check, object).split_inclusive(';') {
        db.run(statement);
    }
    comes_to(db, check, object, "silent");
}

fn files(cluster: &PrivateCluster, db: &mut Client) {
    let hba = cluster.folder().join("data/pg_hba.conf");
    let text = fs::read_to_string(&hba).expect("initdb wrote it");
    let first = text.lines().count() + 1;
    fs::write(
        &hba,
        format!(
            "{text}host all all 0.0.0.0/0 trust\nhost all all 10.0.0.0/8 password\nhost all all 10.0.0.0/8 nonsense\n"
        ),
    )
    .expect("it is written");
    found(db, "authentication", &format!("pg_hba.conf line {first}"), "critical");
    found(db, "authentication", &format!("pg_hba.conf line {}", first + 1), "warning");
    found(db, "authentication", &format!("pg_hba.conf line {}", first + 2), "critical");
    fs::write(&hba, text).expect("it is written");
    silent(db, "authentication", &format!("pg_hba.conf line {first}"));
    cluster.reload("work_mem = banana");
    found(db, "config_files", "work_mem", "warning");
    cluster.reload("work_mem = 8MB");
    let role = "create role blind login; select neobank.grant_usage('blind', 'reader'); set role blind";
    db.run(role);
    for check in ["authentication", "config_files", "archive_backlog"] {
        assert_eq!(
            db.one(&format!("select severity from troubleshoot.checks(array['{check}'])")),
            "unknown",
            "{check}"
        );
    }
    db.run("reset role");
}

fn statements(db: &mut Client, has_statements: bool) {
    let of_check = "select severity, detail like '%select pg_sleep%' from troubleshoot.checks(array['slow_query'])";
    assert_eq!(db.one(of_check), "unknown|f");
    if !has_statements {
        return skipped("slow_query", "the server lacks pg_stat_statements");
    }
    // In a schema with a name that wants quotes, and not on the path.
    db.run("create schema \"Odd one\"; create extension pg_stat_statements schema \"Odd one\"");
    threshold(db, "slow_query", "30, 10000, 3");
    let slow = "select count(*) from troubleshoot.checks(array['slow_query']) where detail like '%pg_sleep%'";
    for _ in 0..2 {
        db.run("select pg_sleep(0.04)");
    }
    assert_eq!(db.count(slow), 0, "not called often enough");
    db.run("select pg_sleep(0.04)");
    let object = db.one("select object from troubleshoot.checks(array['slow_query']) where detail like '%pg_sleep%'");
    found(db, "slow_query", &object, "warning");
    threshold(db, "slow_query", "5000, 10000, 3");
    silent(db, "slow_query", &object);
}

/// Switched off for the server, and on again as the finding says; then the only worker has a table that takes long.
fn autovacuum(cluster: &PrivateCluster, db: &mut Client) {
    comes_to(db, "autovacuum", "autovacuum", "critical");
    silent(db, "autovacuum", "track_counts");
    comes_to(db, "autovacuum_workers", "autovacuum workers", "silent");
    // Many dead rows, and one page of them in 400 ms.
    db.run(
        "create table public.slow (a int) with (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0, \
           autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1); \
         insert into public.slow select generate_series(1, 50000)",
    );
    db.run("delete from public.slow");
    db.run("select pg_stat_force_next_flush()");
    mend(db, "autovacuum", "autovacuum");
    cluster.wait_for(db, "exists (select from pg_stat_progress_vacuum where relid = 'public.slow'::regclass)", 60);
    found(db, "autovacuum_workers", "autovacuum workers", "warning");
    assert!(detail(db, "autovacuum_workers", "autovacuum workers").starts_with("1 of 1 are at work"));
    // It gives way to who wants the table.
    db.run("set deadlock_timeout = '10ms'");
    db.run("drop table public.slow");
    comes_to(db, "autovacuum_workers", "autovacuum workers", "silent");
}

/// The disk gives back a page that nobody wrote.
fn pages(cluster: &PrivateCluster, db: &mut Client) {
    silent(db, "checksum_failures", "database bank");
    db.run("create table public.damaged as select repeat('x', 100) from generate_series(1, 1000)");
    // Written anew, it is on disk and not in memory.
    db.run("vacuum full public.damaged");
    let path = cluster.folder().join("data").join(db.one("select pg_relation_filepath('public.damaged')"));
    let file = fs::OpenOptions::new().write(true).open(&path).expect("it is the table's");
    file.write_all_at(b"????", 4_000).expect("it is written");
    assert_eq!(db.fails("select count(*) from public.damaged").code, "XX001");
    comes_to(db, "checksum_failures", "database bank", "critical");
    silent(db, "checksum_failures", "database postgres");
    silent(db, "checksum_failures", "shared catalogs");
    db.run("drop table public.damaged");
}

#[test]
fn a_standby_that_lags_is_stopped_and_dies() {
    let settings = "wal_level = logical\nmax_wal_size = 64MB\nmin_wal_size = 32MB\nwal_sender_timeout = 0\nmax_replication_slots = 4\nwal_retrieve_retry_interval = 100ms";
    let Some(primary) = PrivateCluster::start("primary", settings) else {
        return skipped("checks of replication", "no initdb and pg_ctl beside the server");
    };
    let mut db = bank_on(&primary);
    let object = "standby near";
    silent(&mut db, "slot", "slot near");
    let Some(standby) = primary.standby("near", "wal_receiver_status_interval = 1") else {
        return skipped("checks of replication", "no pg_basebackup beside the server");
    };
    comes_to(&mut db, "slot", "slot near", "silent");
    let streams = "select count(*) from pg_stat_replication where state = 'streaming'";
    while db.count(streams) == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    for check in ["replication_lag", "standby_silent"] {
        silent(&mut db, check, object);
    }
    on_the_standby(&standby, &mut db, object);
    feedback(&standby, &mut db, object);
    stopped(&standby, &mut db, object);
    subscription(&primary, &mut db);
    synchronous(&primary, &standby, &mut db);
    slots(&primary, &mut db);
    without_primary(&primary, &standby);
}

/// Replay is paused: the checks run there, and say so on both sides.
fn on_the_standby(standby: &PrivateCluster, db: &mut Client, object: &str) {
    threshold(db, "replication_lag", "2, 1000");
    let mut there = standby.connect("bank");
    let failed = "select check_id, detail from troubleshoot.checks() where severity = 'unknown' \
                  and check_id not in ('restore_test', 'slow_query')";
    assert_eq!(there.lines(failed), [""; 0]);
    silent(&mut there, "standby", "this standby");
    there.run("select * from troubleshoot.full_health_check(); select * from troubleshoot.check_table_health(null)");
    refused_with_code_only(&mut there, "select troubleshoot.set_threshold('slot', 1, 2)", "25006");
    there.run("select pg_wal_replay_pause()");
    while there.one("select pg_get_wal_replay_pause_state()") != "paused" {
        std::thread::sleep(Duration::from_millis(20));
    }
    write_mb(db, 4);
    comes_to(&mut there, "standby", "this standby", "warning");
    comes_to(db, "replication_lag", object, "warning");
    let resume = remedy(&mut there, "standby", "this standby");
    there.run(&resume);
    comes_to(&mut there, "standby", "this standby", "silent");
    comes_to(db, "replication_lag", object, "silent");
}

/// A long query there keeps rows here, and no slot is what holds them.
fn feedback(standby: &PrivateCluster, db: &mut Client, object: &str) {
    let mut there = standby.connect("bank");
    there.run("alter system set primary_slot_name = ''");
    standby.reload("hot_standby_feedback = on");
    there.run("begin isolation level repeatable read; select count(*) from pg_class");
    threshold(db, "xmin_horizon", "2, null");
    for _ in 0..3 {
        db.run("select pg_current_xact_id()");
    }
    comes_to(db, "xmin_horizon", object, "warning");
    assert!(detail(db, "xmin_horizon", object).contains("hot_standby_feedback"));
    there.run("commit");
    comes_to(db, "xmin_horizon", object, "silent");
    there.run("alter system set primary_slot_name = 'near'");
    standby.reload("hot_standby_feedback = off");
    standby.wait_for(&mut there, "exists (select from pg_stat_wal_receiver where slot_name = 'near')", 60);
}

/// The primary is gone, and the standby goes on by itself.
fn without_primary(primary: &PrivateCluster, standby: &PrivateCluster) {
    primary.stop();
    standby.restart();
    let mut there = standby.connect("bank");
    found(&mut there, "standby", "this standby", "warning");
    assert!(detail(&mut there, "standby", "this standby").contains("no connection to its primary"));
}

/// Its process hangs; the connection stands, and the slot is in use.
fn stopped(standby: &PrivateCluster, db: &mut Client, object: &str) {
    threshold(db, "standby_silent", "4, null");
    comes_to(db, "standby_silent", object, "silent");
    let mut there = standby.connect("bank");
    let receiver = there.one("select pid from pg_stat_wal_receiver");
    threshold(db, "slot", "2, 1000");
    silent(db, "slot", "slot near");
    signal("-STOP", &receiver);
    write_mb(db, 4);
    comes_to(db, "slot", "slot near", "warning");
    let told = detail(db, "slot", "slot near");
    assert!(told.contains("Its reader is connected and does not get on"), "{told}");
    comes_to(db, "standby_silent", object, "warning");
    signal("-CONT", &receiver);
    comes_to(db, "standby_silent", object, "silent");
    comes_to(db, "slot", "slot near", "silent");
    db.run("select troubleshoot.reset_threshold('slot')");
}

/// A subscription that runs, and then comes by a row that is there already.
fn subscription(primary: &PrivateCluster, db: &mut Client) {
    primary.connect("postgres").run("create database copies");
    let mut there = primary.connect("copies");
    there.run("create extension neobank; create table public.copied (a int primary key)");
    db.run("create table public.copied (a int primary key); create publication p for table public.copied");
    db.run("select pg_create_logical_replication_slot('copied', 'pgoutput')");
    there.run(&format!(
        "create subscription s connection 'host={} port=5432 user=postgres dbname=bank' publication p \
         with (create_slot = false, slot_name = 'copied', copy_data = false)",
        primary.folder().display()
    ));
    comes_to(&mut there, "subscription", "subscription s", "silent");
    db.run("insert into public.copied values (1)");
    primary.wait_for(&mut there, "exists (select from public.copied)", 60);
    silent(&mut there, "subscription", "subscription s");
    there.run("insert into public.copied values (2)");
    db.run("insert into public.copied values (2)");
    primary.wait_for(&mut there, "exists (select from pg_stat_subscription_stats where apply_error_count > 0)", 60);
    found(&mut there, "subscription", "subscription s", "warning");
    there.run("delete from public.copied where a = 2");
    primary.wait_for(&mut there, "exists (select from public.copied where a = 2)", 60);
    // Errors are counted until somebody has seen them.
    found(&mut there, "subscription", "subscription s", "warning");
    there.run("select pg_stat_reset_subscription_stats(null)");
    comes_to(&mut there, "subscription", "subscription s", "silent");
    there.run("drop subscription s");
    db.run("drop publication p");
}

/// It is the synchronous one, and goes: commits hang.
fn synchronous(primary: &PrivateCluster, standby: &PrivateCluster, db: &mut Client) {
    db.run("set synchronous_commit = local");
    primary.reload("synchronous_standby_names = 'FIRST 1 (near, far)'");
    comes_to(db, "sync_standby", "FIRST 1 (near, far)", "silent");
    standby.stop();
    comes_to(db, "sync_standby", "FIRST 1 (near, far)", "critical");
    let mut hanging = primary.connect("bank");
    let commit = std::thread::spawn(move || hanging.run("create table public.not_acknowledged ()"));
    let waits =
        "select count(*) from troubleshoot.checks(array['sync_standby']) where detail like '%and 1 sessions wait%'";
    while db.count(waits) == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let give_up = remedy(db, "sync_standby", "FIRST 1 (near, far)");
    for statement in give_up.split(" -- ").next().expect("its beginning").split("; ") {
        db.run(statement);
    }
    commit.join().expect("it goes on");
    silent(db, "sync_standby", "FIRST 1 (near, far)");
}

/// Nobody reads the slot any more; then what it kept is gone.
fn slots(primary: &PrivateCluster, db: &mut Client) {
    found(db, "slot", "slot near", "warning");
    assert!(detail(db, "slot", "slot near").contains("nobody reads it"));
    db.run("select pg_create_logical_replication_slot('left_behind', 'test_decoding')");
    found(db, "slot", "slot left_behind", "warning");
    db.run("select pg_current_xact_id(); select pg_current_xact_id()");
    threshold(db, "xmin_horizon", "1, null");
    found(db, "xmin_horizon", "slot left_behind", "warning");
    let drop = remedy(db, "slot", "slot left_behind");
    db.run(&drop);
    silent(db, "slot", "slot left_behind");
    silent(db, "xmin_horizon", "slot left_behind");
    primary.reload("max_slot_wal_keep_size = '1MB'");
    for _ in 0..6 {
        write_mb(db, 1);
        db.run("select pg_switch_wal()");
        db.run("checkpoint");
    }
    comes_to(db, "slot", "slot near", "critical");
    assert!(detail(db, "slot", "slot near").contains("has to be built anew"));
}
