//! Checks of what sessions do: each condition is made by real sessions, and each check is silent without it.

use crate::checks::*;
use neobank_sessions::*;
use std::thread;

/// A session with its process id and what it is called in findings.
fn known(bank: &mut Bank) -> (Client, i64, String) {
    let mut client = bank.session();
    let pid = Bank::backend_of(&mut client);
    let object = session(&mut bank.db, pid);
    (client, pid, object)
}

pub fn prepares(bank: &mut Bank) -> bool {
    let can = bank.db.count("select current_setting('max_prepared_transactions')::int") > 0;
    if !can {
        skipped("prepared transactions in checks", "max_prepared_transactions is 0");
    }
    can
}

#[test]
fn idle_in_transaction() {
    let mut bank = Bank::new();
    bank.db.run("create table public.t (a int)");
    let ((mut writer, _, of_writer), (mut failed, _, of_failed), (mut idle, _, of_idle)) =
        (known(&mut bank), known(&mut bank), known(&mut bank));
    writer.run("begin; insert into public.t values (1)");
    failed.run("begin");
    failed.fails("select 1 / 0");
    idle.run("select 1");
    let check = "idle_in_transaction";
    // Not for as long as it takes to write this.
    silent(&mut bank.db, "idle_in_transaction", &of_writer);
    threshold(&mut bank.db, check, "0, 3600");
    found(&mut bank.db, "idle_in_transaction", &of_writer, "warning");
    assert!(detail(&mut bank.db, check, &of_writer).contains("it holds transaction id"));
    found(&mut bank.db, "idle_in_transaction", &of_failed, "warning");
    assert!(detail(&mut bank.db, check, &of_failed).contains("(aborted); it has written nothing"));
    silent(&mut bank.db, "idle_in_transaction", &of_idle);
    // Only to end the session helps.
    assert!(remedy(&mut bank.db, check, &of_writer).starts_with("SELECT pg_terminate_backend("));
    let print = format!("select fingerprint from troubleshoot.checks(array['{check}']) where object = '{of_writer}'");
    let first = bank.db.one(&print);
    assert_eq!(bank.db.one(&print), first);
    writer.run("rollback");
    silent(&mut bank.db, check, &of_writer);
    writer.run("begin isolation level repeatable read; select count(*) from public.t");
    assert!(detail(&mut bank.db, check, &of_writer).contains("its snapshot keeps VACUUM"));
}

/// Within a transaction pg_stat_activity stays as it was first read; the checks look anew.
#[test]
fn within_a_transaction_checks_see_what_is_now() {
    let mut bank = Bank::new();
    threshold(&mut bank.db, "idle_in_transaction", "0, 3600");
    let (mut other, _, object) = known(&mut bank);
    bank.db.run("begin; select count(*) from pg_stat_activity");
    silent(&mut bank.db, "idle_in_transaction", &object);
    other.run("begin");
    found(&mut bank.db, "idle_in_transaction", &object, "warning");
    bank.db.run("commit");
}

#[test]
fn long_query() {
    let mut bank = Bank::new();
    let (mut runner, pid, object) = known(&mut bank);
    threshold(&mut bank.db, "long_query", "0.2, 3600");
    silent(&mut bank.db, "long_query", &object);
    let running = thread::spawn(move || runner.try_lines("select pg_sleep(60)"));
    comes_to(&mut bank.db, "long_query", &object, "warning");
    let run = remedy(&mut bank.db, "long_query", &object);
    assert_eq!(run, format!("SELECT pg_cancel_backend({pid});"));
    // Its own remedy ends it.
    bank.db.run(&run);
    assert_eq!(running.join().expect("it ends").expect_err("it was cancelled").code, "57014");
    silent(&mut bank.db, "long_query", &object);
}

#[test]
fn blocked_and_lock_queue() {
    let mut bank = Bank::new();
    bank.db.run("create table public.t (a int)");
    let (
        (mut holder, of_holder_pid, of_holder),
        (mut alter, alter_pid, of_alter),
        (mut reader, reader_pid, of_reader),
        (_by, _, of_bystander),
    ) = (known(&mut bank), known(&mut bank), known(&mut bank), known(&mut bank));
    holder.run("begin; select count(*) from public.t");
    threshold(&mut bank.db, "blocked", "0, 3600");
    threshold(&mut bank.db, "lock_queue", "0, 3600");
    silent(&mut bank.db, "blocked", &of_holder);
    let altering = thread::spawn(move || alter.try_lines("alter table public.t add b int"));
    bank.wait_until_blocked(alter_pid);
    let reading = thread::spawn(move || reader.lines("select count(*) from public.t"));
    bank.wait_until_blocked(reader_pid);
    // The one that a join of pg_locks on the relation never names.
    found(&mut bank.db, "blocked", &of_alter, "warning");
    let waits = detail(&mut bank.db, "blocked", &of_alter);
    assert_eq!(waits, format!("Waits for AccessExclusiveLock on relation public.t, behind pid {of_holder_pid}."));
    found(&mut bank.db, "blocked", &of_reader, "warning");
    assert!(detail(&mut bank.db, "blocked", &of_reader).ends_with(&format!("behind pid {alter_pid}.")));
    silent(&mut bank.db, "blocked", &of_bystander);
    found(&mut bank.db, "lock_queue", &of_alter, "warning");
    assert!(detail(&mut bank.db, "lock_queue", &of_alter).contains("1 others wait behind it"));
    silent(&mut bank.db, "lock_queue", &of_reader);
    let cancel = remedy(&mut bank.db, "lock_queue", &of_alter);
    bank.db.run(&cancel);
    assert_eq!(altering.join().expect("it ends").expect_err("cancelled").code, "57014");
    reading.join().expect("it reads");
    silent(&mut bank.db, "blocked", &of_reader);
    silent(&mut bank.db, "lock_queue", &of_alter);
}

#[test]
fn prepared_transactions_are_found_and_named_as_blockers() {
    let mut bank = Bank::new();
    if !prepares(&mut bank) {
        return;
    }
    let gid = format!("{}-left's", bank.name);
    let quoted = gid.replace('\'', "''");
    bank.db.run("create table public.t (a int primary key); insert into public.t values (1)");
    bank.db.run(&format!("begin; update public.t set a = 2; prepare transaction '{quoted}'"));
    let object = format!("prepared transaction ''{}''", quoted.replace("''", "''''"));
    silent(&mut bank.db, "prepared_transaction", &object);
    for check in ["prepared_transaction", "blocked"] {
        threshold(&mut bank.db, check, "0, 3600");
    }
    // The horizon is as old as transactions have come since.
    bank.db.run("select pg_current_xact_id()");
    threshold(&mut bank.db, "xmin_horizon", "1, null");
    found(&mut bank.db, "prepared_transaction", &object, "warning");
    found(&mut bank.db, "xmin_horizon", &object, "warning");
    let (mut waiter, pid, of_waiter) = known(&mut bank);
    let waiting = thread::spawn(move || waiter.lines("update public.t set a = 3 where a = 1"));
    bank.wait_until_blocked(pid);
    assert!(detail(&mut bank.db, "blocked", &of_waiter).ends_with("behind a prepared transaction."));
    let rollback = remedy(&mut bank.db, "prepared_transaction", &object);
    bank.db.run(&rollback);
    waiting.join().expect("it goes on");
    silent(&mut bank.db, "prepared_transaction", &object);
    silent(&mut bank.db, "xmin_horizon", &object);
}

#[test]
fn xmin_horizon_names_the_session() {
    let mut bank = Bank::new();
    let (mut old, _, object) = known(&mut bank);
    old.run("begin isolation level repeatable read; select count(*) from pg_class");
    silent(&mut bank.db, "xmin_horizon", &object);
    bank.db.run("select pg_current_xact_id()");
    bank.db.run("select pg_current_xact_id()");
    threshold(&mut bank.db, "xmin_horizon", "2, null");
    found(&mut bank.db, "xmin_horizon", &object, "warning");
    old.run("commit");
    silent(&mut bank.db, "xmin_horizon", &object);
}

#[test]
fn subtransactions() {
    let mut bank = Bank::new();
    bank.db.run("create table public.t (a int)");
    let (mut many, _, of_many) = known(&mut bank);
    let (mut few, _, of_few) = known(&mut bank);
    let write = |session: &mut Client, times: u32| {
        session.run("begin");
        for _ in 0..times {
            session.run("savepoint s; insert into public.t values (1)");
        }
    };
    write(&mut few, 60);
    write(&mut many, 66);
    found(&mut bank.db, "subtransactions", &of_many, "warning");
    silent(&mut bank.db, "subtransactions", &of_few);
    many.run("commit");
    silent(&mut bank.db, "subtransactions", &of_many);
}

#[test]
fn connections() {
    let mut bank = Bank::new();
    let role = bank.role("limited");
    bank.db.run(&format!("alter role {role} connection limit 4"));
    let object = format!("role {role}");
    let sessions: Vec<Client> = (0..2).map(|_| bank.session_as(&role)).collect();
    silent(&mut bank.db, "connections", &object);
    let third = bank.session_as(&role);
    found(&mut bank.db, "connections", &object, "warning");
    let fourth = bank.session_as(&role);
    found(&mut bank.db, "connections", &object, "critical");
    drop((sessions, third, fourth));
    comes_to(&mut bank.db, "connections", &object, "silent");
    bank.db.run(&format!("alter database {} connection limit 4", bank.name));
    let object = format!("database {}", bank.name);
    silent(&mut bank.db, "connections", &object);
    let others = [bank.session(), bank.session()];
    found(&mut bank.db, "connections", &object, "warning");
    drop(others);
    silent(&mut bank.db, "connections", "the server");
    threshold(&mut bank.db, "connections", "0.1, 100");
    found(&mut bank.db, "connections", "the server", "warning");
}

#[test]
fn deadlocks() {
    let mut bank = Bank::new();
    let object = format!("database {}", bank.name);
    threshold(&mut bank.db, "deadlocks", "1, null");
    silent(&mut bank.db, "deadlocks", &object);
    let (mut one, mut two) = (bank.session(), bank.session());
    one.run("set deadlock_timeout = '20ms'; begin; select pg_advisory_xact_lock(1)");
    two.run("set deadlock_timeout = '20ms'; begin; select pg_advisory_xact_lock(2)");
    let pid = Bank::backend_of(&mut two);
    let waiting = thread::spawn(move || (two.try_lines("select pg_advisory_xact_lock(1)"), two));
    bank.wait_until_blocked(pid);
    let first = one.try_lines("select pg_advisory_xact_lock(2)");
    one.run("rollback");
    let (second, mut two) = waiting.join().expect("it ends");
    // Counts are handed over by a session that is outside of a transaction.
    two.run("rollback");
    assert!(first.is_err() != second.is_err(), "one of them is the victim");
    comes_to(&mut bank.db, "deadlocks", &object, "warning");
}

#[test]
fn notification_queue() {
    let mut bank = Bank::new();
    let object = "the notification queue";
    silent(&mut bank.db, "notification_queue", object);
    threshold(&mut bank.db, "notification_queue", "0.00001, null");
    let mut listener = bank.session();
    listener.run("listen checks");
    listener.run("begin; select 1");
    bank.db.run("select pg_notify('checks', repeat('x', 7000) || g) from generate_series(1, 20) g");
    found(&mut bank.db, "notification_queue", object, "warning");
    listener.run("commit");
}

#[test]
fn lock_table() {
    let mut bank = Bank::new();
    silent(&mut bank.db, "lock_table", "the lock table");
    bank.db.run("begin; select pg_advisory_xact_lock(g) from generate_series(1, 500) g");
    threshold(&mut bank.db, "lock_table", "1, null");
    found(&mut bank.db, "lock_table", "the lock table", "warning");
    bank.db.run("rollback");
}
