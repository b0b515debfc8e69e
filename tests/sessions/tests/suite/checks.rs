//! The operator's checks: what they answer, to whom, by which thresholds, and that they wait for nobody. What each of
//! them finds is in checks_sessions, checks_tables and checks_server.

use neobank_sessions::*;
use std::time::{Duration, Instant};

/// The severities of a check's findings of an object; "silent" where it finds nothing, or only what is in order.
pub fn severity(db: &mut Client, check: &str, object: &str) -> String {
    db.one(&format!(
        "select coalesce(string_agg(distinct severity, ' '), 'silent') from troubleshoot.checks(array['{check}']) \
         where severity <> 'ok' and object = '{object}'"
    ))
}

pub fn silent(db: &mut Client, check: &str, object: &str) {
    let found =
        format!("select * from troubleshoot.checks(array['{check}']) where severity <> 'ok' and object = '{object}'");
    assert_eq!(db.lines(&found), [""; 0], "{check} is to be silent about {object}");
    // And not because it could not be made.
    let failed =
        format!("select * from troubleshoot.checks(array['{check}']) where severity = 'unknown' and object is null");
    assert_eq!(db.lines(&failed), [""; 0]);
}

pub fn found(db: &mut Client, check: &str, object: &str, wanted: &str) {
    assert_eq!(severity(db, check, object), wanted, "{check} of {object}: {:#?}", all(db, check));
}

/// All that the check finds, each as `object|severity`, in the order of the objects.
pub fn found_are(db: &mut Client, check: &str, wanted: &[&str]) {
    let found = format!(
        "select object, severity from troubleshoot.checks(array['{check}']) where severity <> 'ok' order by object collate \"C\""
    );
    let found = db.lines(&found);
    assert_eq!(found, wanted, "{check}: {:#?}", all(db, check));
}

pub fn all(db: &mut Client, check: &str) -> Vec<String> {
    db.lines(&format!("select severity, object, value, detail from troubleshoot.checks(array['{check}'])"))
}

pub fn detail(db: &mut Client, check: &str, object: &str) -> String {
    db.one(&format!("select detail from troubleshoot.checks(array['{check}']) where object = '{object}'"))
}

pub fn remedy(db: &mut Client, check: &str, object: &str) -> String {
    db.one(&format!("select remediation_sql from troubleshoot.checks(array['{check}']) where object = '{object}'"))
}

/// Waits until the check says that of the object.
pub fn comes_to(db: &mut Client, check: &str, object: &str, wanted: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    while severity(db, check, object) != wanted {
        assert!(Instant::now() < until, "{check} of {object} is not {wanted}: {:#?}", all(db, check));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The object of a session in findings.
pub fn session(db: &mut Client, pid: i64) -> String {
    db.one(&format!(
        "select format('pid %s (%s@%s %s)', pid, usename, datname, application_name) from pg_stat_activity where pid = {pid}"
    ))
}

pub fn threshold(db: &mut Client, check: &str, thresholds: &str) {
    db.run(&format!("select troubleshoot.set_threshold('{check}', {thresholds})"));
}

#[test]
fn every_check_answers_on_a_fresh_database() {
    let mut bank = Bank::new();
    let catalogue = bank.db.lines("select check_id from troubleshoot.check_catalogue order by 1");
    assert!(catalogue.len() > 45, "{catalogue:?}");
    let answered = bank.db.lines("select distinct check_id from troubleshoot.checks() order by 1");
    assert_eq!(answered, catalogue);
    // None fails: what is not known has a reason of its own.
    let failed = bank.db.lines(
        "select check_id, detail from troubleshoot.checks() where severity = 'unknown' \
         and check_id not in ('restore_test', 'slow_query')",
    );
    assert_eq!(failed, [""; 0]);
    let unfit = "select * from troubleshoot.checks() where fingerprint not like check_id || '%' or detail = '' \
                 or severity not in ('ok', 'info', 'unknown', 'warning', 'critical')";
    assert_eq!(bank.db.lines(unfit), [""; 0]);
    let twice = "select fingerprint from troubleshoot.checks() group by fingerprint having count(*) > 1";
    assert_eq!(bank.db.lines(twice), [""; 0]);
    // Nothing about the tables of a bank that is in order.
    let about_tables = "select check_id, object from troubleshoot.checks() where severity <> 'ok' \
                        and check_id in (select check_id from troubleshoot.check_catalogue \
                                         where category in ('Maintenance', 'Design') and check_id <> 'autovacuum_workers')";
    assert_eq!(bank.db.lines(about_tables), [""; 0]);
}

#[test]
fn the_most_urgent_come_first_and_one_check_can_be_asked_for() {
    let mut bank = Bank::new();
    bank.db.run("create unlogged table public.gone_after_a_crash (a int)");
    let order = "select array_agg(place order by n) = array_agg(place order by place, n) from ( \
        select row_number() over () n, array_position(array['critical', 'warning', 'unknown', 'info', 'ok'], severity) place \
        from troubleshoot.checks()) x";
    assert_eq!(bank.db.one(order), "t");
    let only = "select distinct check_id from troubleshoot.checks(array['unlogged_table', 'settings', 'unlogged_table']) order by 1";
    assert_eq!(bank.db.lines(only), ["settings", "unlogged_table"]);
    assert_eq!(bank.db.lines("select * from troubleshoot.checks('{}')"), [""; 0]);
    refused(&mut bank.db, "select * from troubleshoot.checks(array['nothing_such'])", "NB500");
    refused(&mut bank.db, "select * from troubleshoot.checks(array[null::text])", "22004");
}

/// The seed's health check said OK to a role that could see nothing.
#[test]
fn who_may_not_see_is_told_unknown_and_never_ok() {
    let mut bank = Bank::new();
    let role = bank.role("blind");
    bank.db.run(&format!("select neobank.grant_usage('{role}', 'reader')"));
    let mut blind = bank.session_as(&role);
    for check in [
        "long_query",
        "idle_in_transaction",
        "connections",
        "subtransactions",
        "xmin_horizon",
        "replication_lag",
        "standby_silent",
        "sync_standby",
        "slot",
        "standby",
        "subscription",
        "invalid_index",
        "autovacuum_workers",
        "slow_query",
    ] {
        let told = format!(
            "select severity, coalesce(remediation_sql, '') like 'GRANT pg_monitor%' from troubleshoot.checks(array['{check}'])"
        );
        assert_eq!(blind.lines(&told), ["unknown|t"], "{check}");
    }
    let status = "select count(*) from troubleshoot.full_health_check() where category = 'Connections' and status <> 'UNKNOWN' \
                  and check_name <> 'Max Connections'";
    assert_eq!(blind.count(status), 0);
    // With the rights it sees what a superuser does of sessions.
    bank.db.run(&format!("grant pg_monitor to {role}"));
    let unknown = "select count(*) from troubleshoot.checks(array['long_query']) where severity = 'unknown'";
    assert_eq!(blind.count(unknown), 0);
    assert_eq!(
        blind.one("select severity from troubleshoot.checks(array['connections']) where object = 'the server'"),
        "ok"
    );
    // Statistics of columns that it may not read are none.
    bank.db.run(
        "create table public.hidden as select g, repeat('x', 500) t from generate_series(1, 4000) g; analyze public.hidden; \
         select troubleshoot.set_threshold('table_bloat', 30, 80, 1)",
    );
    assert_eq!(
        blind.lines("select severity, object from troubleshoot.checks(array['table_bloat'])"),
        ["unknown|1 tables"]
    );
    silent(&mut bank.db, "table_bloat", "public.hidden");
    let stranger = bank.role("stranger");
    let mut stranger = bank.session_as(&stranger);
    for call in ["troubleshoot.checks()", "troubleshoot.full_health_check()", "troubleshoot.check_table_health()"] {
        refused_with_code_only(&mut stranger, &format!("select * from {call}"), "42501");
    }
}

/// At 3 a.m. the table that everybody waits for must not stop the one who looks for the reason.
#[test]
fn no_check_waits_for_a_lock() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table public.held (id bigserial primary key, other int references public.held, t text); \
         create index on public.held (t); create table public.parts (d date not null) partition by range (d); \
         create table public.part partition of public.parts for values from ('2020-01-01') to ('2020-02-01'); \
         insert into public.held (t) select 'x' from generate_series(1, 100)",
    );
    let mut holder = bank.session();
    holder.run(
        "begin; lock table public.held, public.parts, public.part in access exclusive mode; \
         alter sequence public.held_id_seq rename to renamed; lock table banking.accounts in access exclusive mode",
    );
    let began = Instant::now();
    bank.db.run("set lock_timeout = 0; set statement_timeout = '20s'");
    bank.db.run("select * from troubleshoot.full_health_check()");
    bank.db.run("select * from troubleshoot.check_table_health(null)");
    bank.db.run("select * from concurrency.v_table_bloat");
    assert!(began.elapsed() < Duration::from_secs(15));
    let unknown =
        bank.db.lines("select check_id, object from troubleshoot.checks() where severity = 'unknown' order by 1");
    assert_eq!(unknown, ["restore_test|backups", "sequence|1 sequences", "slow_query|"]);
    found(&mut bank.db, "partition_runway", "public.parts", "critical");
    // What the checks themselves read may be held as well: they say so, and go on.
    holder.run("rollback; begin; lock table troubleshoot.restore_tests in access exclusive mode");
    let told = bank.db.one("select severity || ' ' || detail from troubleshoot.checks(array['restore_test'])");
    assert!(told.starts_with("unknown The check could not be made: a table that it reads is locked"), "{told}");
    assert_eq!(bank.db.one("show lock_timeout"), "0");
    holder.run("rollback; begin; lock table troubleshoot.thresholds in access exclusive mode");
    let told = "select count(*) filter (where severity = 'unknown') = count(*) from troubleshoot.checks()";
    assert_eq!(bank.db.one(told), "t");
    holder.run("rollback");
    found(&mut bank.db, "restore_test", "backups", "unknown");
}

#[test]
fn a_check_takes_no_lock_that_hinders_anybody() {
    let mut bank = Bank::new();
    bank.db.run("create table public.plain (id serial primary key, t text); analyze public.plain");
    bank.db.run("begin");
    bank.db.run("select * from troubleshoot.checks()");
    bank.db.run("select * from troubleshoot.full_health_check(); select * from troubleshoot.check_table_health(null)");
    let strong = "select relation::regclass, mode from pg_locks where pid = pg_backend_pid() and locktype = 'relation' \
                  and mode <> 'AccessShareLock'";
    assert_eq!(bank.db.lines(strong), [""; 0]);
    let users = "select relation::regclass from pg_locks where pid = pg_backend_pid() and locktype = 'relation' \
                 and relation >= 16384 and relation::regclass::text like '%plain%'";
    assert_eq!(bank.db.lines(users), [""; 0], "users' tables are not even opened");
    bank.db.run("commit");
    // In a transaction that may not write, and in one that has failed once before.
    bank.db.run("begin read only; select * from troubleshoot.checks(); commit");
    for level in ["repeatable read", "serializable"] {
        bank.db.run(&format!("begin isolation level {level}; select * from troubleshoot.checks(); commit"));
    }
}

#[test]
fn thresholds_are_set_shown_and_given_back() {
    let mut bank = Bank::new();
    bank.db.run("create table public.counted (id serial)");
    bank.db.run("select setval('public.counted_id_seq', 1000000000)");
    silent(&mut bank.db, "sequence", "public.counted_id_seq");
    threshold(&mut bank.db, "sequence", "40, 99.5");
    found(&mut bank.db, "sequence", "public.counted_id_seq", "warning");
    let shown = "select warning, critical, default_warning, default_critical, set_by = current_user \
                 from troubleshoot.check_catalogue where check_id = 'sequence'";
    assert_eq!(bank.db.one(shown), "40|99.5|75|90|t");
    let told = "select warning_threshold, critical_threshold, value, unit from troubleshoot.checks(array['sequence'])";
    assert_eq!(bank.db.one(told), "40|99.5|46.57|%");
    threshold(&mut bank.db, "sequence", "null, 40");
    found(&mut bank.db, "sequence", "public.counted_id_seq", "critical");
    threshold(&mut bank.db, "sequence", "null, null");
    silent(&mut bank.db, "sequence", "public.counted_id_seq");
    assert_eq!(bank.db.one("select troubleshoot.reset_threshold('sequence')"), "t");
    assert_eq!(bank.db.one("select troubleshoot.reset_threshold('sequence')"), "f");
    assert_eq!(bank.db.one(shown), "75|90|75|90|");
    // A rollback takes it back, and another session sees it once it is committed.
    bank.db.run("begin; select troubleshoot.set_threshold('sequence', 1, 2)");
    let mut other = bank.session();
    assert_eq!(other.count("select count(*) from troubleshoot.thresholds"), 0);
    bank.db.run("rollback");
    assert_eq!(bank.db.count("select count(*) from troubleshoot.thresholds"), 0);
    // Two at once: the one that commits last counts.
    bank.db.run("begin; select troubleshoot.set_threshold('sequence', 10, 20)");
    let pid = Bank::backend_of(&mut other);
    let waiting = std::thread::spawn(move || other.run("select troubleshoot.set_threshold('sequence', 11, 21)"));
    bank.wait_until_blocked(pid);
    bank.db.run("commit");
    waiting.join().expect("it waits, and goes on");
    assert_eq!(bank.db.one("select warning from troubleshoot.thresholds"), "11");
}

#[test]
fn thresholds_that_make_no_sense_are_refused() {
    let mut bank = Bank::new();
    let call = |arguments: &str| format!("select troubleshoot.set_threshold({arguments})");
    for (arguments, code) in [
        ("'nothing_such', 1, 2", "NB500"),
        ("null, 1, 2", "22004"),
        ("'invalid_index', 1, 2", "NB502"),
        ("'sequence', 90, 75", "NB021"),
        ("'partition_runway', 3, 14", "NB021"),
        ("'sequence', -1, 2", "NB021"),
        ("'sequence', 'NaN', 2", "NB021"),
        ("'sequence', 1, 'Infinity'", "NB021"),
        ("'sequence', 1, 1e19", "NB021"),
        ("'sequence', 1, 2, 3", "NB021"),
        ("'table_bloat', 1, 2, -3", "NB021"),
    ] {
        refused(&mut bank.db, &call(arguments), code);
    }
    refused(&mut bank.db, "select troubleshoot.reset_threshold('nothing_such')", "NB500");
    refused(&mut bank.db, "select troubleshoot.reset_threshold(null)", "22004");
    assert_eq!(bank.db.count("select count(*) from troubleshoot.thresholds"), 0);
    let reader = bank.role("reader");
    bank.db.run(&format!("select neobank.grant_usage('{reader}', 'teller')"));
    let mut reader = bank.session_as(&reader);
    for call in [
        "troubleshoot.set_threshold('sequence', 1, 2)",
        "troubleshoot.reset_threshold('sequence')",
        "troubleshoot.acknowledge('x', now() + interval '1 day', 'why')",
        "troubleshoot.unacknowledge('x')",
        "troubleshoot.note_restore_test(now(), 'why')",
    ] {
        refused_with_code_only(&mut reader, &format!("select {call}"), "42501");
    }
    refused_with_code_only(&mut reader, "insert into troubleshoot.thresholds values ('sequence', 1, 2)", "42501");
    let operator = bank.role("operator");
    bank.db.run(&format!("select neobank.grant_usage('{operator}', 'operator')"));
    let mut operator = bank.session_as(&operator);
    operator.run("select troubleshoot.set_threshold('sequence', 1, 2)");
    assert_eq!(bank.db.one("select set_by = current_user from troubleshoot.thresholds"), "f");
}

#[test]
fn findings_are_acknowledged_until_a_date_and_no_worse() {
    let mut bank = Bank::new();
    bank.db.run("create table public.counted (id serial)");
    bank.db.run("select setval('public.counted_id_seq', 1717986918)");
    let print = bank.db.one("select fingerprint from troubleshoot.checks(array['sequence'])");
    let acknowledge = |until: &str, reason: &str| {
        format!("select troubleshoot.acknowledge('{print}', now() + interval '{until}', {reason})")
    };
    bank.db.run(&acknowledge("1 day", "'a migration runs on Sunday'"));
    let shown = "select severity, fingerprint, acknowledged_until between now() + interval '23 hours' and now() + interval '25 hours' \
                 from troubleshoot.checks(array['sequence'])";
    assert_eq!(bank.db.one(shown), format!("warning|{print}|t"));
    let kept = "select severity, object, reason, acknowledged_by = current_user from troubleshoot.acknowledgements";
    assert_eq!(bank.db.one(kept), "warning|public.counted_id_seq|a migration runs on Sunday|t");
    // The fingerprint stays while the value grows, and what has become worse is told as new.
    bank.db.run("select setval('public.counted_id_seq', 2100000000)");
    assert_eq!(bank.db.one(shown), format!("critical|{print}|"));
    bank.db.run(&acknowledge("2 days", "'now known'"));
    let until = "select acknowledged_until is not null from troubleshoot.checks(array['sequence'])";
    assert_eq!(bank.db.one(until), "t");
    bank.db.run("update troubleshoot.acknowledgements set acknowledged_until = now() - interval '1 second'");
    assert_eq!(bank.db.one(until), "f");
    assert_eq!(bank.db.one(&format!("select troubleshoot.unacknowledge('{print}')")), "t");
    assert_eq!(bank.db.one(&format!("select troubleshoot.unacknowledge('{print}')")), "f");
    for (call, code) in [
        (acknowledge("-1 day", "'why'"), "NB021"),
        (acknowledge("367 days", "'why'"), "NB021"),
        (acknowledge("1 day", "' '"), "NB021"),
        (acknowledge("1 day", "null"), "22004"),
        (format!("select troubleshoot.acknowledge('{print}', 'infinity', 'why')"), "NB021"),
        (format!("select troubleshoot.acknowledge('{print}', null, 'why')"), "22004"),
        ("select troubleshoot.acknowledge(null, now() + interval '1 day', 'why')".into(), "22004"),
        ("select troubleshoot.acknowledge('sequence:0', now() + interval '1 day', 'why')".into(), "NB501"),
        ("select troubleshoot.acknowledge('nothing', now() + interval '1 day', 'why')".into(), "NB501"),
        ("select troubleshoot.acknowledge('xid_age', now() + interval '1 day', 'why')".into(), "NB501"),
        ("select troubleshoot.unacknowledge(null)".into(), "22004"),
    ] {
        refused(&mut bank.db, &call, code);
    }
    assert_eq!(bank.db.count("select count(*) from troubleshoot.acknowledgements"), 0);
    bank.db.run(&format!("begin; {}; rollback", acknowledge("1 day", "'why'")));
    assert_eq!(bank.db.count("select count(*) from troubleshoot.acknowledgements"), 0);
}

#[test]
fn a_restore_that_was_tested_counts_by_its_age() {
    let mut bank = Bank::new();
    found(&mut bank.db, "restore_test", "backups", "unknown");
    bank.db.run("select troubleshoot.note_restore_test(now() - interval '200 days', 'to the spare machine')");
    found(&mut bank.db, "restore_test", "backups", "critical");
    bank.db.run("select troubleshoot.note_restore_test(now() - interval '40 days', 'to the spare machine')");
    found(&mut bank.db, "restore_test", "backups", "warning");
    bank.db
        .run("select troubleshoot.note_restore_test(now() - interval '1 day', 'all of it, and the books were even')");
    silent(&mut bank.db, "restore_test", "backups");
    for (call, code) in [
        ("now() + interval '1 hour', 'why'", "NB021"),
        ("'-infinity', 'why'", "NB021"),
        ("'infinity', 'why'", "NB021"),
        ("now(), ''", "NB021"),
        ("null, 'why'", "22004"),
        ("now(), null", "22004"),
    ] {
        refused(&mut bank.db, &format!("select troubleshoot.note_restore_test({call})"), code);
    }
    assert_eq!(bank.db.count("select count(*) from troubleshoot.restore_tests"), 3);
}

#[test]
fn what_reads_files_reads_nothing_but_relations() {
    let mut bank = Bank::new();
    for path in [
        "postgresql.conf",
        "base/../PG_VERSION",
        "/etc/passwd",
        "pg_wal",
        "base/1/../../PG_VERSION",
        "global/pg_control",
    ] {
        assert_eq!(bank.db.one(&format!("select troubleshoot.relation_file_bytes('{path}')")), "", "{path}");
    }
    bank.db.run("create table public.of_a_size as select generate_series(1, 5000)");
    let same = "select troubleshoot.relation_file_bytes(pg_relation_filepath('public.of_a_size')) = pg_relation_size('public.of_a_size')";
    assert_eq!(bank.db.one(same), "t");
    assert_eq!(bank.db.one("select troubleshoot.sequence_position('public.of_a_size'::regclass)"), "");
    assert_eq!(bank.db.one("select troubleshoot.sequence_position(1)"), "");
    bank.db.run("create sequence public.numbers; select nextval('public.numbers'), nextval('public.numbers')");
    assert_eq!(bank.db.one("select troubleshoot.sequence_position('public.numbers'::regclass)"), "2");
    // Moved, it is read where it is now.
    bank.db.run("alter sequence public.numbers restart with 70");
    assert_eq!(bank.db.one("select troubleshoot.sequence_position('public.numbers'::regclass)"), "70");
    let role = bank.role("reader");
    bank.db.run(&format!("select neobank.grant_usage('{role}', 'reader')"));
    let mut reader = bank.session_as(&role);
    assert_eq!(reader.one("select troubleshoot.sequence_position(oid) from pg_class where relname = 'numbers'"), "");
}

#[test]
fn more_findings_than_a_person_reads_are_counted() {
    let mut bank = Bank::new();
    bank.db.run(
        "do $$ begin for i in 1..130 loop execute format('create unlogged table public.u%s ()', i); end loop; end $$",
    );
    let counted = "select count(*), count(*) filter (where object = '30 more' and severity = 'warning') \
                   from troubleshoot.checks(array['unlogged_table'])";
    assert_eq!(bank.db.one(counted), "101|1");
}
