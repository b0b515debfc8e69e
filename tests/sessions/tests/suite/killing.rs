//! Ending sessions: those that are meant and no others, only when told to, by those who may, and written down.

use crate::blocking::{Busy, wait_until};
use neobank_sessions::*;
use std::fs;

/// A session of that name that is at one statement, for longer than a tenth of a second.
fn sleeper(bank: &mut Bank, mut session: Client, name: &str) -> Busy {
    session.run(&format!("set application_name = '{name}'"));
    let busy = Busy::run(session, "select pg_sleep(60)");
    wait_until(
        &mut bank.db,
        &format!(
            "select count(*) = 1 from pg_stat_activity where pid = {} and state = 'active' and query ~ 'sleep' \
             and query_start < clock_timestamp() - interval '150 ms'",
            busy.pid
        ),
    );
    busy
}

/// One that is idle in a transaction, failed or not, for as long.
fn idler(bank: &mut Bank, failed: bool) -> (Client, i64) {
    let mut session = bank.session();
    let pid = Bank::backend_of(&mut session);
    if failed {
        session.fails("begin; select 1 / 0");
    } else {
        session.run("begin; select 1");
    }
    wait_until(
        &mut bank.db,
        &format!(
            "select count(*) = 1 from pg_stat_activity where pid = {pid} and state ~ 'in transaction' \
             and state_change < clock_timestamp() - interval '150 ms'"
        ),
    );
    (session, pid)
}

/// What became of the sessions of this database: other tests are at work on the same server.
fn actions(client: &mut Client, arguments: &str) -> Vec<String> {
    client.lines(&format!(
        "select pid, action, user_name is not null, duration > '0', query \
         from troubleshoot.kill_long_queries({arguments}, p_database => current_database()) order by pid"
    ))
}

fn alive(bank: &mut Bank, pid: i64) -> bool {
    bank.db.count(&format!("select count(*) from pg_stat_activity where pid = {pid}")) == 1
}

const SHORT: &str = "'100 ms'";

fn clear(client: &mut Client, arguments: &str) -> i64 {
    client.count(&format!(
        "select troubleshoot.clear_idle_transactions('100 ms', {arguments}, p_database => current_database())"
    ))
}

const LOGGED: &str = "select by_function, method, pid, killed_by, user_name = killed_by, \
    database_name = current_database(), application_name, state, query, reason from troubleshoot.kill_log order by log_id";

/// The server's own log, where it is a file, as CI has it.
fn server_log() -> Option<String> {
    fs::read_to_string(server().log?).ok()
}

fn said_in_server_log(pid: i64) -> bool {
    server_log().is_none_or(|log| log.contains(&format!("process {pid} of user")))
}

#[test]
fn a_dry_run_ends_nothing_and_is_what_comes_unasked() {
    let mut bank = Bank::new();
    let session = bank.session();
    let busy = sleeper(&mut bank, session, "app");
    let (_idle, idle) = idler(&mut bank, false);
    let told = actions(&mut bank.db, SHORT);
    assert_eq!(told, [format!("{}|WOULD TERMINATE (dry run)|t|t|select pg_sleep(60)", busy.pid)]);
    let told = actions(&mut bank.db, "'100 ms', p_method => 'cancel'");
    assert_eq!(told, [format!("{}|WOULD CANCEL (dry run)|t|t|select pg_sleep(60)", busy.pid)]);
    let unasked = "select count(*) from troubleshoot.kill_long_queries() where database_name = current_database()";
    assert_eq!(bank.db.count(unasked), 0, "five minutes are not over");
    assert!(bank.db.count("select troubleshoot.clear_idle_transactions('100 ms')") >= 1);
    assert_eq!(clear(&mut bank.db, "true"), 1);
    assert!(alive(&mut bank, busy.pid) && alive(&mut bank, idle));
    assert_eq!(bank.db.count("select count(*) from troubleshoot.kill_log"), 0);
    bank.db.run(&format!("select pg_terminate_backend({})", busy.pid));
    assert!(busy.end().is_err());
}

#[test]
fn long_queries_are_ended_and_written_down() {
    let mut bank = Bank::new();
    let session = bank.session();
    let one = sleeper(&mut bank, session, "app");
    let told = actions(&mut bank.db, "'100 ms', false, p_method => 'cancel', p_reason => 'on call'");
    assert_eq!(told, [format!("{}|CANCELLED|t|t|select pg_sleep(60)", one.pid)]);
    let pid = one.pid;
    assert_eq!(one.end().expect_err("it was cancelled").code, "57014");
    let by = bank.db.one("select current_user");
    let first = format!("kill_long_queries|cancel|{pid}|{by}|t|t|app|active|select pg_sleep(60)|on call");
    assert_eq!(bank.db.lines(LOGGED), [first.as_str()]);
    assert!(said_in_server_log(pid));
    let session = bank.session();
    let two = sleeper(&mut bank, session, "app two");
    let told = actions(&mut bank.db, "'100 ms', false");
    let pid = two.pid;
    assert_eq!(told, [format!("{pid}|TERMINATED|t|t|select pg_sleep(60)")]);
    assert!(two.end().is_err());
    wait_until(&mut bank.db, &format!("select count(*) = 0 from pg_stat_activity where pid = {pid}"));
    let second = format!("kill_long_queries|terminate|{pid}|{by}|t|t|app two|active|select pg_sleep(60)|");
    assert_eq!(bank.db.lines(LOGGED), [first, second]);
    assert!(said_in_server_log(pid));
}

#[test]
fn idle_transactions_are_terminated_failed_ones_too_and_plain_idle_sessions_are_not() {
    let mut bank = Bank::new();
    let mut idle = bank.session();
    let plain = Bank::backend_of(&mut idle);
    let (_one, open) = idler(&mut bank, false);
    let (_two, failed) = idler(&mut bank, true);
    let listed = "select pid, state, has_written, exempt is null, remediation_sql from troubleshoot.idle_transactions \
                  where database_name = current_database() order by pid";
    let mut expected = [
        format!("{open}|idle in transaction|f|t|SELECT pg_terminate_backend({open});"),
        format!("{failed}|idle in transaction (aborted)|f|t|SELECT pg_terminate_backend({failed});"),
    ];
    expected.sort_by_key(|line| line.split('|').next().expect("a pid").parse::<i64>().expect("a number"));
    assert_eq!(bank.db.lines(listed), expected);
    assert_eq!(clear(&mut bank.db, "false, 'asleep'"), 2);
    for pid in [open, failed] {
        wait_until(&mut bank.db, &format!("select count(*) = 0 from pg_stat_activity where pid = {pid}"));
    }
    assert!(alive(&mut bank, plain));
    assert_eq!(clear(&mut bank.db, "false"), 0);
    let logged = "select count(*) from troubleshoot.kill_log where by_function = 'clear_idle_transactions' \
                  and reason = 'asleep' and query_start is not null and method = 'terminate'";
    assert_eq!(bank.db.count(logged), 2);
}

#[test]
fn exempt_are_backups_those_of_the_table_and_the_caller() {
    let mut bank = Bank::new();
    let role = bank.role("payroll");
    let as_role = bank.session_as(&role);
    let busy = vec![
        sleeper(&mut bank, as_role, "app"),
        {
            let session = bank.session();
            sleeper(&mut bank, session, "pg_dump")
        },
        {
            let session = bank.session();
            sleeper(&mut bank, session, "pgBackRest [backup]")
        },
        {
            let session = bank.session();
            sleeper(&mut bank, session, "etl nightly")
        },
        // Not a backup: only its name begins like one.
        {
            let session = bank.session();
            sleeper(&mut bank, session, "pg_dumpster")
        },
    ];
    bank.db.run(&format!(
        "insert into troubleshoot.kill_exemptions values ('role', '{}', 'wages'), ('application', 'etl %', null)",
        role.replace('_', "\\_")
    ));
    let told = bank.db.lines(
        "select application_name, action from troubleshoot.kill_long_queries('100 ms', false, \
         p_database => current_database()) order by application_name collate \"C\"",
    );
    let wages = format!("app|EXEMPT (role {}: wages)", role.replace('_', "\\_"));
    assert_eq!(
        told,
        [
            wages.as_str(),
            "etl nightly|EXEMPT (application etl %)",
            "pgBackRest [backup]|EXEMPT (backup or restore)",
            "pg_dump|EXEMPT (backup or restore)",
            "pg_dumpster|TERMINATED",
        ]
    );
    assert_eq!(bank.db.count("select count(*) from troubleshoot.kill_log"), 1);
    // The call itself is a long query by the time it looks.
    let own = "select count(*) from pg_sleep(0.15), troubleshoot.kill_long_queries('100 ms', true, \
               p_database => current_database()) k where k.pid = pg_backend_pid()";
    assert_eq!(bank.db.count(own), 0);
    bank.db.run("insert into troubleshoot.kill_exemptions select 'database', replace(current_database(), '_', '\\_')");
    let (_idle, _) = idler(&mut bank, false);
    assert_eq!(clear(&mut bank.db, "false"), 0);
    assert_eq!(bank.db.fails("insert into troubleshoot.kill_exemptions values ('colour', 'red')").code, "23514");
    for session in busy {
        bank.db.run(&format!("select pg_terminate_backend({})", session.pid));
        assert!(session.end().is_err());
    }
}

#[test]
fn a_session_that_went_on_meanwhile_is_left_alone() {
    let mut bank = Bank::new();
    let session = bank.session();
    let busy = sleeper(&mut bank, session, "app");
    // The row of the log is written between the choice and the kill: that is where this test stops it.
    bank.db.run(
        "create function public.pause() returns trigger language plpgsql as \
         'begin perform pg_advisory_xact_lock(1); return new; end'; \
         create trigger pause before insert on troubleshoot.kill_log for each row execute function public.pause()",
    );
    let mut gate = bank.session();
    gate.run("begin; select pg_advisory_lock(1)");
    let killer = Busy::run(
        bank.session(),
        "select action from troubleshoot.kill_long_queries('100 ms', false, p_database => current_database()) \
         where application_name = 'app'",
    );
    bank.wait_until_blocked(killer.pid);
    bank.db.run(&format!("select pg_cancel_backend({})", busy.pid));
    let pid = busy.pid;
    assert!(busy.end().is_err());
    gate.run("select pg_advisory_unlock(1); commit");
    let told = killer.end().expect("it goes on");
    assert_eq!(told, ["GONE (it has ended, or gone on to another statement)"], "{pid}");
    assert_eq!(bank.db.count("select count(*) from troubleshoot.kill_log"), 0, "what was not done is not logged");
}

#[test]
fn what_is_rolled_back_is_still_in_the_servers_log() {
    let mut bank = Bank::new();
    let (_one, pid) = idler(&mut bank, false);
    bank.db.run("begin");
    assert_eq!(clear(&mut bank.db, "false"), 1);
    assert_eq!(bank.db.count("select count(*) from troubleshoot.kill_log"), 1);
    bank.db.run("rollback");
    assert_eq!(bank.db.count("select count(*) from troubleshoot.kill_log"), 0);
    wait_until(&mut bank.db, &format!("select count(*) = 0 from pg_stat_activity where pid = {pid}"));
    assert!(said_in_server_log(pid));
    // Where no row can be written, the server's log alone has it.
    let (_two, pid) = idler(&mut bank, true);
    bank.db.run("begin read only");
    assert_eq!(clear(&mut bank.db, "false"), 1);
    bank.db.run("commit");
    assert_eq!(bank.db.count("select count(*) from troubleshoot.kill_log"), 0);
    assert!(said_in_server_log(pid));
}

#[test]
fn the_callers_own_rights_decide() {
    let mut bank = Bank::new();
    let (operator, other) = (bank.role("operator"), bank.role("other"));
    bank.db.run(&format!("select neobank.grant_usage('{operator}', 'operator')"));
    let session = bank.session_as(&other);
    let busy = sleeper(&mut bank, session, "app");
    let session = bank.session();
    let superuser = sleeper(&mut bank, session, "root");
    let mut caller = bank.session_as(&operator);
    // Sees nothing: says so, and does nothing.
    let told = actions(&mut caller, "'100 ms', false");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("|UNKNOWN (this role may not see what "), "{told:?}");
    assert_eq!(clear(&mut caller, "false"), 0);
    // Sees them, and may not end them.
    bank.db.run(&format!("grant pg_read_all_stats to {operator}"));
    let told = actions(&mut caller, "'100 ms', false");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|line| line.contains("|NOT PERMITTED (")), "{told:?}");
    assert_eq!(bank.db.count("select count(*) from troubleshoot.kill_log"), 0);
    // May end those of others who are no superusers.
    bank.db.run(&format!("grant pg_signal_backend to {operator}"));
    let mut told = caller.lines(
        "select application_name, split_part(action, ' (', 1) from troubleshoot.kill_long_queries('100 ms', false, \
         p_database => current_database())",
    );
    told.sort();
    assert_eq!(told, ["app|TERMINATED", "root|NOT PERMITTED"]);
    assert!(busy.end().is_err());
    let by = "select killed_by, user_name from troubleshoot.kill_log";
    assert_eq!(bank.db.lines(by), [format!("{operator}|{other}")]);
    assert_eq!(caller.lines(by), [format!("{operator}|{other}")]);
    // The log is written by the functions only.
    refused_with_code_only(&mut caller, "delete from troubleshoot.kill_log", "42501");
    refused_with_code_only(&mut caller, "insert into troubleshoot.kill_exemptions values ('role', 'x', null)", "42501");
    let mut reader = bank.session_as(&other);
    refused_with_code_only(&mut reader, "select * from troubleshoot.kill_long_queries()", "42501");
    bank.db.run(&format!("select pg_terminate_backend({})", superuser.pid));
    assert!(superuser.end().is_err());
}

#[test]
fn bad_arguments_end_nothing() {
    let mut bank = Bank::new();
    for (call, code) in [
        ("kill_long_queries(null)", "22004"),
        ("kill_long_queries('1 s', null)", "22004"),
        ("kill_long_queries('1 s', true, null)", "22004"),
        ("kill_long_queries('0 s')", "NB021"),
        ("kill_long_queries('-1 day', false)", "NB021"),
        ("kill_long_queries('2000 years')", "NB021"),
        ("kill_long_queries('1 s', false, 'shoot')", "NB021"),
        ("kill_long_queries('1 s', false, p_reason => repeat('x', 1001))", "NB021"),
        ("clear_idle_transactions(null)", "22004"),
        ("clear_idle_transactions('1 s', null)", "22004"),
        ("clear_idle_transactions('0 s', false)", "NB021"),
        ("clear_idle_transactions('1 s', false, repeat('x', 1001))", "NB021"),
    ] {
        refused(&mut bank.db, &format!("select * from troubleshoot.{call}"), code);
    }
}

#[test]
fn several_may_clear_up_at_once() {
    let mut bank = Bank::new();
    let idlers: Vec<(Client, i64)> = (0..4).map(|_| idler(&mut bank, false)).collect();
    let counts = together(&bank, 3, |_, session| clear(session, "false"));
    let logged = bank.db.count("select count(*) from troubleshoot.kill_log");
    assert_eq!(counts.iter().sum::<i64>(), logged, "what was done is what was logged: {counts:?}");
    assert!(logged >= 4, "{logged}");
    for (_, pid) in &idlers {
        wait_until(&mut bank.db, &format!("select count(*) = 0 from pg_stat_activity where pid = {pid}"));
    }
}

/// LIKE fails on a pattern that ends in an escape of nothing: with one such row nobody could end anything.
#[test]
fn an_exemption_that_like_cannot_take_is_refused() {
    let mut bank = Bank::new();
    for pattern in [r"etl\", r"\", r"a\\\"] {
        let insert = format!("insert into troubleshoot.kill_exemptions values ('role', '{pattern}')");
        refused_with_code_only(&mut bank.db, &insert, "23514");
    }
    bank.db
        .run(r"insert into troubleshoot.kill_exemptions values ('role', 'etl\\'), ('role', '\%a'), ('role', 'c\\\\')");
    assert_eq!(bank.db.one(r"select troubleshoot.kill_exemption('etl\', '', 'd')"), r"role etl\\");
    bank.db.run("select * from troubleshoot.kill_long_queries()");
}
