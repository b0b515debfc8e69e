//! Versions of rows, isolation levels and deadlocks: what the functions say, held against what sessions see.

use crate::blocking::{Busy, wait_until};
use neobank_sessions::*;

const SHOWN: &str = "select ctid, xmin_committed, xmax_committed, xmin_status, coalesce(xmax_status, '-') \
    from concurrency.show_mvcc_info('t') order by ctid";

#[test]
fn versions_say_who_made_and_who_deletes_them() {
    let mut bank = Bank::new();
    bank.db.run("create table t (v int); insert into t select generate_series(1, 3)");
    assert_eq!(bank.db.lines(SHOWN), ["(0,1)|t|f|committed|-", "(0,2)|t|f|committed|-", "(0,3)|t|f|committed|-"]);
    let mut other = bank.session();
    other.run("begin; delete from t where v = 1");
    let mut third = bank.session();
    third.run("begin; delete from t where v = 2; rollback; begin; select from t where v = 3 for update; commit");
    assert_eq!(
        bank.db.lines(SHOWN),
        ["(0,1)|t|f|committed|in progress", "(0,2)|t|f|committed|aborted", "(0,3)|t|t|committed|committed"]
    );
    other.run("rollback");
    bank.db.run("begin; insert into t values (4)");
    assert_eq!(bank.db.lines(SHOWN)[3], "(0,4)|t|f|own|-");
    // Each number with its epoch, and the snapshot that all of it is seen by.
    let widths = "select bool_and(xmin::text = t.x::text), bool_and(current_snapshot = pg_current_snapshot()::text) \
         from concurrency.show_mvcc_info('t') s join (select ctid as c, xmin as x from t) t on t.c = s.ctid";
    assert_eq!(bank.db.one(widths), "t|t");
    bank.db.run("commit");
    bank.db.run("vacuum freeze t");
    assert!(bank.db.lines(SHOWN).iter().all(|line| line.contains("|t|f|frozen|") || line.contains("|t|t|frozen|")));
    // Schema-qualified, as the seed's could not, and with a name that wants quotes.
    bank.db.run("create schema \"S s\"; create table \"S s\".\"T;t\" as select 1");
    assert_eq!(bank.db.count("select count(*) from concurrency.show_mvcc_info('\"S s\".\"T;t\"')"), 1);
    assert_eq!(bank.db.count("select count(*) from concurrency.show_mvcc_info('t', 2)"), 2);
}

#[test]
fn narrow_numbers_get_the_latest_epoch_that_fits() {
    let mut bank = Bank::new();
    for (narrow, next, wide) in [
        ("100", "101", "100"),
        ("100", "4294967397", "4294967396"),
        ("101", "4294967397", "101"),
        ("4294967295", "4294967300", "4294967295"),
        ("3", "4294967299", "3"),
        ("3", "4294967300", "4294967299"),
        ("2", "4294967300", "2"),
        ("500", "400", ""),
    ] {
        let sql = format!("select concurrency.widen_xid('{narrow}', '{next}')");
        assert_eq!(bank.db.one(&sql), wide, "{narrow} below {next}");
    }
}

#[test]
fn what_cannot_be_shown_is_refused_without_waiting() {
    let mut bank = Bank::new();
    bank.db.run("create table t (v int); create view w as select 1; create sequence s");
    for (call, code) in [
        ("show_mvcc_info(null)", "22004"),
        ("show_mvcc_info('t', null)", "22004"),
        ("show_mvcc_info('w')", "NB021"),
        ("show_mvcc_info('s')", "NB021"),
        ("show_mvcc_info('t', 0)", "NB021"),
        ("show_mvcc_info('t', 100001)", "NB021"),
    ] {
        refused(&mut bank.db, &format!("select * from concurrency.{call}"), code);
    }
    refused_with_code_only(&mut bank.db, "select * from concurrency.show_mvcc_info('missing')", "42P01");
    let role = bank.role("reader");
    bank.db.run(&format!("select neobank.grant_usage('{role}', 'reader')"));
    let mut reader = bank.session_as(&role);
    refused_with_code_only(&mut reader, "select * from concurrency.show_mvcc_info('t')", "42501");
    let mut locker = bank.session();
    locker.run("begin; lock table t in access exclusive mode");
    refused_with_code_only(&mut bank.db, "select * from concurrency.show_mvcc_info('t')", "55P03");
}

/// Whether the phenomenon shows at that level, tried with two sessions.
fn happens(bank: &mut Bank, level: &str, phenomenon: &str) -> bool {
    bank.db.run("drop table if exists t; create table t (id int, v int); insert into t values (1, 0), (2, 0)");
    let [mut one, mut two] = [bank.session(), bank.session()];
    one.run(&format!("begin isolation level {level}"));
    match phenomenon {
        "Dirty Read" => {
            two.run("begin; update t set v = 1");
            one.count("select sum(v) from t") != 0
        }
        "Non-repeatable Read" => {
            one.run("select v from t where id = 1");
            two.run("update t set v = 1");
            one.count("select v from t where id = 1") != 0
        }
        "Phantom Read" => {
            one.run("select count(*) from t where v = 0");
            two.run("insert into t values (3, 0)");
            one.count("select count(*) from t where v = 0") != 2
        }
        "Serialization Anomaly" => {
            // Write skew: each sees that nobody is on leave yet, and goes.
            two.run(&format!("begin isolation level {level}"));
            for session in [&mut one, &mut two] {
                assert_eq!(session.count("select sum(v) from t"), 0);
            }
            let steps = [
                one.try_lines("update t set v = 1 where id = 1"),
                two.try_lines("update t set v = 1 where id = 2"),
                one.try_lines("commit"),
                two.try_lines("commit"),
            ];
            let refused = steps.into_iter().filter_map(Result::err).find(|refusal| refusal.code != "25P02");
            assert!(refused.is_none_or(|refusal| refusal.code == "40001"));
            bank.db.count("select sum(v) from t") == 2
        }
        other => panic!("nobody has tried {other}"),
    }
}

#[test]
fn isolation_levels_allow_what_is_said() {
    let mut bank = Bank::new();
    let said =
        bank.db.lines("select isolation_level, phenomenon, allowed from concurrency.demonstrate_isolation_levels()");
    assert_eq!(said.len(), 16);
    for line in said {
        let [level, phenomenon, allowed] = line.split('|').collect::<Vec<_>>()[..] else { panic!("three columns") };
        assert_eq!(happens(&mut bank, level, phenomenon), allowed == "t", "{line}");
    }
}

/// Two sessions, one deadlock; who was told of it, and its error.
fn deadlock(connect: impl Fn() -> Client, observer: &mut Client) -> (i64, Refusal) {
    let [mut one, mut two] = [connect(), connect()];
    // The second one to wait looks first.
    one.run("set deadlock_timeout = '20s'; begin; update t set v = 1 where id = 1");
    two.run("set deadlock_timeout = '50ms'; begin; update t set v = 1 where id = 2");
    let victim = Bank::backend_of(&mut two);
    let one = Busy::run(one, "update t set v = 2 where id = 2");
    wait_until(observer, &format!("select cardinality(pg_blocking_pids({})) = 1", one.pid));
    let refusal = two.fails("update t set v = 2 where id = 1");
    assert_eq!(refusal.code, "40P01");
    two.run("rollback");
    one.end().expect("it goes on");
    (victim, refusal)
}

const TABLE: &str = "create table t (id int, v int); insert into t values (1, 0), (2, 0)";

#[test]
fn clients_write_down_what_they_were_told_and_the_counter_has_the_rest() {
    let mut bank = Bank::new();
    bank.db.run(TABLE);
    assert_eq!(bank.db.count("select concurrency.collect_deadlocks()"), 0, "it begins");
    let name = bank.name.clone();
    let connect = || server().connect(&name, &server().superuser).expect("it lets us in");
    let (victim, refusal) = deadlock(connect, &mut bank.db);
    let detail = refusal.detail.replace('\'', "''");
    bank.db.run(&format!("select concurrency.record_deadlock('{detail}', 'update t', 'retried')"));
    let row = "select process_id, query_text, resolution, source, reported_by = current_user, \
         jsonb_array_length(lock_info -> 'waits'), lock_info #>> '{waits,0,mode}' from concurrency.deadlock_log";
    assert_eq!(bank.db.lines(row), [format!("{victim}|update t|retried|client|t|2|ShareLock")]);
    deadlock(connect, &mut bank.db);
    // Both are in the server's counter once the sessions have reported; one is known already.
    wait_until(&mut bank.db, "select deadlocks >= 2 from pg_stat_database where datname = current_database()");
    assert_eq!(bank.db.count("select concurrency.collect_deadlocks()"), 1);
    let counted = "select lock_info ->> 'deadlocks', process_id is null, resolution from concurrency.deadlock_log \
                   where source = 'counter'";
    assert_eq!(bank.db.lines(counted), ["1|t|ended by the server"]);
    assert_eq!(bank.db.count("select concurrency.collect_deadlocks()"), 0);
    // In another language, or something else: kept as it came.
    bank.db.run("select concurrency.record_deadlock('Prozess 7 wartet auf ShareLock', process_id => 7)");
    let kept = "select process_id, lock_info -> 'waits', lock_info ->> 'detail' from concurrency.deadlock_log \
                order by log_id desc limit 1";
    assert_eq!(bank.db.one(kept), "7|[]|Prozess 7 wartet auf ShareLock");
    refused(&mut bank.db, "select concurrency.record_deadlock(null)", "22004");
    refused(&mut bank.db, "select concurrency.record_deadlock(repeat('x', 100001))", "NB021");
    refused(&mut bank.db, "select concurrency.record_deadlock('x', null, repeat('x', 1001))", "NB021");
    bank.db.run("begin; select concurrency.record_deadlock('x'); rollback");
    assert_eq!(bank.db.count("select count(*) from concurrency.deadlock_log"), 3);
}

#[test]
fn the_servers_log_tells_deadlocks_where_it_is_json() {
    let settings = "logging_collector = on\nlog_destination = 'stderr,jsonlog'";
    let Some(cluster) = PrivateCluster::start("jsonlog", settings) else {
        skipped("deadlocks from the server's log", "initdb or pg_ctl is missing");
        return;
    };
    let mut db = cluster.connect("postgres");
    db.run("create extension neobank");
    db.run(TABLE);
    db.run("select concurrency.collect_deadlocks()");
    let (victim, _) = deadlock(|| cluster.connect("postgres"), &mut db);
    wait_until(
        &mut db,
        "select concurrency.collect_deadlocks() >= 0 and exists (select from concurrency.deadlock_log where source = 'server log')",
    );
    let row = "select process_id, transaction_id is not null, query_text, jsonb_array_length(lock_info -> 'waits'), \
               deadlock_time > now() - interval '1 minute', resolution from concurrency.deadlock_log where source = 'server log'";
    assert_eq!(db.lines(row), [format!("{victim}|t|update t set v = 2 where id = 1|2|t|ended by the server")]);
    // Who may not read the log is left with the counter.
    db.run("create role o login; select neobank.grant_usage('o', 'operator')");
    let (_, refusal) = deadlock(|| cluster.connect("postgres"), &mut db);
    assert!(!refusal.detail.is_empty());
    wait_until(&mut db, "set role o; select concurrency.collect_deadlocks() > 0");
    db.run("reset role");
    assert_eq!(
        db.count("select count(*) from concurrency.deadlock_log where source = 'counter' and reported_by = 'o'"),
        1
    );
}

#[test]
fn opposite_orders_are_told_before_they_meet() {
    let mut bank = Bank::new();
    bank.db.run("create table a (id int, v int); insert into a values (1, 0), (2, 0); create table b as table a");
    let risks = "select split_part(risk_level, ':', 1) from concurrency.detect_deadlock_risk() \
         where session1_pid in (select pid from pg_stat_activity where datname = current_database())";
    // Each writes to one table, then waits for a row of the other; the rows are others' still.
    let [mut x, mut y] = [bank.session(), bank.session()];
    let [mut one, mut two] = [bank.session(), bank.session()];
    x.run("begin; update a set v = 1 where id = 2");
    y.run("begin; update b set v = 1 where id = 2");
    one.run("begin; update a set v = 1 where id = 1");
    two.run("begin; update b set v = 1 where id = 1");
    assert_eq!(bank.db.lines(risks), [""; 0], "nobody waits");
    let one = Busy::run(one, "update b set v = 2 where id = 2");
    bank.wait_until_blocked(one.pid);
    assert_eq!(bank.db.lines(risks), ["HIGH - Both sessions hold locks"]);
    let two = Busy::run(two, "update a set v = 2 where id = 2");
    bank.wait_until_blocked(two.pid);
    let mut all = bank.db.lines(risks);
    all.sort();
    all.dedup();
    assert_eq!(all, ["HIGH - Both sessions hold locks", "HIGH - opposite order"]);
    x.run("rollback");
    y.run("rollback");
    assert!(one.end().is_ok() && two.end().is_ok());
    // Who has written nothing yet makes nobody wait, and is no risk.
    x.run("begin; update a set v = 1 where id = 2");
    let single = Busy::run(bank.session(), "update a set v = 3 where id = 2");
    bank.wait_until_blocked(single.pid);
    assert_eq!(bank.db.lines(risks), [""; 0]);
    x.run("rollback");
    single.end().expect("it goes on");
}
