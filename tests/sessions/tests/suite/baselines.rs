//! Baselines: what is kept, what is usual, what raises an alert, who is told, and what goes.

use neobank_sessions::*;
use std::time::Duration;

/// Five weeks of samples, one an hour, before a newest one with that value: 100 by day and 10 by night, give or take 2.
fn history(bank: &mut Bank, metric: &str, newest: &str) {
    bank.db.run(&format!(
        "insert into troubleshoot.samples (captured_at, metric, hour_of_week, value) \
         select t, '{metric}', (extract(isodow from t at time zone 'UTC') - 1) * 24 + extract(hour from t at time zone 'UTC'), \
                case when extract(hour from t at time zone 'UTC') between 8 and 19 then 100 else 10 end + (n % 5) - 2 \
         from generate_series(1, 35 * 24) n, lateral (select timestamptz '2026-03-04 12:30+00' - n * interval '1 hour') t (t); \
         insert into troubleshoot.samples (captured_at, metric, hour_of_week, value) \
         values ('2026-03-04 12:30+00', '{metric}', 60, {newest})"
    ));
}

const COMPARED: &str =
    "select metric, severity, scope, samples, median, trunc(deviation) from troubleshoot.compare_baseline()";

#[test]
fn the_same_hour_of_the_week_is_what_is_usual() {
    let mut bank = Bank::new();
    history(&mut bank, "commits_total", "102");
    bank.db.run("insert into troubleshoot.baseline_settings values ('least_samples', 5)");
    assert_eq!(bank.db.lines(COMPARED), ["commits_total|ok|hour of week|5|100|0"]);
    bank.db.run("update troubleshoot.samples set value = 10 where captured_at = '2026-03-04 12:30+00'");
    assert_eq!(bank.db.lines(COMPARED), ["commits_total|critical|hour of week|5|100|-18"], "a night's load at noon");
    bank.db.run("update troubleshoot.baseline_settings set value = 30 where name = 'least_samples'");
    assert_eq!(bank.db.lines(COMPARED), ["commits_total|critical|hour of day|35|100|-18"]);
    bank.db.run("update troubleshoot.baseline_settings set value = 100 where name = 'least_samples'");
    assert_eq!(
        bank.db.lines(COMPARED),
        ["commits_total|ok|all hours|840|55|0"],
        "over all hours it is nothing special"
    );
    bank.db.run("update troubleshoot.baseline_settings set value = 2000 where name = 'least_samples'");
    assert_eq!(bank.db.lines(COMPARED), ["commits_total|unknown|all hours|840||"]);
    let earlier =
        "select severity, captured_at at time zone 'UTC' from troubleshoot.compare_baseline('2026-03-01 00:00+00', 7)";
    assert_eq!(bank.db.lines(earlier), ["unknown|2026-02-28 23:30:00"]);
    assert_eq!(bank.db.lines("select * from troubleshoot.compare_baseline('2020-01-01')"), [""; 0]);
    for days in ["0", "401"] {
        refused(&mut bank.db, &format!("select troubleshoot.compare_baseline(null, {days})"), "NB021");
    }
    refused(&mut bank.db, "select troubleshoot.compare_baseline(null, null)", "22004");
}

#[test]
fn counters_are_kept_as_rates_and_a_reset_is_no_fall() {
    let mut bank = Bank::new();
    let first = bank.db.count("select troubleshoot.capture_baseline()");
    assert!(first > 30, "{first}");
    assert_eq!(bank.db.count("select troubleshoot.capture_baseline()"), 0, "a second has not passed");
    // As if it had been ten minutes ago, with 6,000 commits fewer.
    let ago = "update troubleshoot.samples set captured_at = captured_at - interval '10 minutes', \
               total = total - case metric when 'commits_total' then 6000 else 0 end";
    bank.db.run(ago);
    bank.db.run("select troubleshoot.capture_baseline()");
    let newest = |bank: &mut Bank, metric: &str| {
        bank.db.one(&format!(
            "select coalesce(value::text, 'unknown') from troubleshoot.samples where metric = '{metric}' \
             order by captured_at desc limit 1"
        ))
    };
    let rate: f64 = newest(&mut bank, "commits_total").parse().expect("a rate");
    assert!((9.5..12.0).contains(&rate), "{rate}");
    assert_eq!(newest(&mut bank, "sees_all_sessions"), "1.000000");
    // The server says when it was reset: what was counted since is the rate since.
    bank.db.run(ago);
    bank.db.run("update troubleshoot.samples set total = 1000000 where metric in ('commits_total', 'rollbacks_total')");
    bank.db.run("select pg_stat_reset()");
    bank.db.run("select troubleshoot.capture_baseline()");
    let rate: f64 = newest(&mut bank, "commits_total").parse().expect("a rate");
    assert!(rate >= 0.0, "{rate}");
    // It fell, and nobody says why.
    bank.db.run("update troubleshoot.samples set captured_at = captured_at - interval '10 minutes'");
    bank.db.run(
        "update troubleshoot.samples set total = 1000000 where metric = 'wal_records_total' and total is not null",
    );
    bank.db.run("update troubleshoot.samples set total = 1e15 where metric = 'wal_records_total'");
    bank.db.run("select troubleshoot.capture_baseline()");
    assert_eq!(newest(&mut bank, "wal_records_total"), "unknown");
}

/// Lets the newest sample be of ten minutes ago, so that another one is due.
fn ten_minutes_pass(bank: &mut Bank) {
    bank.db.run("update troubleshoot.samples set captured_at = captured_at - interval '10 minutes'");
    bank.db.run("update troubleshoot.alerts set raised_at = raised_at - interval '10 minutes'");
}

#[test]
fn an_alert_is_raised_told_once_and_resolved() {
    let mut bank = Bank::new();
    let mut listener = bank.session();
    listener.run("listen neobank_alerts");
    // Nobody was ever idle in a transaction here, and now twenty are.
    bank.db.run(
        "insert into troubleshoot.samples (captured_at, metric, hour_of_week, value) \
         select now() - n * interval '1 hour', 'idle_in_transaction_connections', 0, 0 from generate_series(1, 48) n",
    );
    let _crowd = crowd();
    let mut idle: Vec<Client> = (0..20).map(|_| bank.session()).collect();
    for session in &mut idle {
        session.run("begin; select 1");
    }
    let run = "select captured > 0, raised, resolved, deleted from troubleshoot.run_baseline()";
    assert_eq!(bank.db.one(run), "t|1|0|0");
    let alert =
        "select metric, severity, value >= 20, median, deviation >= 10, resolved_at is null from troubleshoot.alerts";
    assert_eq!(bank.db.one(alert), "idle_in_transaction_connections|critical|t|0.000000|t|t");
    ten_minutes_pass(&mut bank);
    assert_eq!(bank.db.one(run), "t|0|0|0", "it is still so, and known");
    drop(idle);
    for _ in 0..500 {
        if bank.db.count("select count(*) from pg_stat_activity where datname = current_database()") <= 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    ten_minutes_pass(&mut bank);
    let resolved = bank.db.one(run);
    assert!(resolved == "t|0|1|0", "{resolved}: {:?}", bank.db.lines("select * from troubleshoot.alerts"));
    assert_eq!(bank.db.one("select count(*), count(resolved_at) from troubleshoot.alerts"), "1|1");
    let mut news = Vec::new();
    let mut notifications = listener.notifications();
    use postgres::fallible_iterator::FallibleIterator;
    let mut wait = notifications.timeout_iter(Duration::from_millis(500));
    while let Some(one) = wait.next().expect("the session lives") {
        let told: serde_json::Value = serde_json::from_str(one.payload()).expect("JSON");
        news.push(format!("{} {}", told["change"].as_str().unwrap_or(""), told["metric"].as_str().unwrap_or("")));
    }
    assert_eq!(news, ["raised idle_in_transaction_connections", "resolved idle_in_transaction_connections"]);
}

#[test]
fn a_calm_server_raises_nothing() {
    let mut bank = Bank::new();
    bank.db.run(
        "insert into troubleshoot.samples (captured_at, metric, hour_of_week, value) \
         select now() - n * interval '1 hour', m, 0, v from generate_series(1, 48) n, \
         (values ('blocked_connections', 0), ('deadlocks_total', 0), ('oldest_xmin_age', 10)) x (m, v)",
    );
    assert_eq!(bank.db.one("select raised, resolved from troubleshoot.run_baseline()"), "0|0");
}

#[test]
fn it_is_never_part_of_a_transaction_that_writes() {
    let mut bank = Bank::new();
    let account = bank.account("100");
    bank.db.run("begin");
    bank.db.run(&format!("select txn_processing.deposit('{account}', 1)"));
    let refusal = bank.db.fails("select troubleshoot.run_baseline()");
    assert_eq!(refusal.code, "NB527", "{refusal}");
    bank.db.run("rollback");
    assert_eq!(bank.db.count("select count(*) from troubleshoot.samples"), 0);
    bank.db.run("begin; select troubleshoot.run_baseline(); rollback");
    assert_eq!(bank.db.count("select count(*) from troubleshoot.samples"), 0, "it goes with its transaction");
}

#[test]
fn one_session_measures_at_a_time() {
    let mut bank = Bank::new();
    let mut other = bank.session();
    other.run("begin; select troubleshoot.capture_baseline()");
    assert_eq!(bank.db.count("select troubleshoot.capture_baseline()"), 0);
    assert_eq!(bank.db.one("select * from troubleshoot.run_baseline()"), "0|0|0|0");
    other.run("commit");
    bank.db.run("update troubleshoot.samples set captured_at = captured_at - interval '5 minutes'");
    assert!(bank.db.count("select captured from troubleshoot.run_baseline()") > 0);
}

#[test]
fn samples_go_by_age_and_by_number() {
    let mut bank = Bank::new();
    bank.db.run(
        "insert into troubleshoot.samples (captured_at, metric, hour_of_week, value) \
         select now() - n * interval '1 hour', 'connections', 0, 1 from generate_series(1, 48) n; \
         insert into troubleshoot.baseline_settings values ('keep_days', 1)",
    );
    assert_eq!(bank.db.count("select deleted from troubleshoot.run_baseline()"), 25);
    bank.db.run(
        "update troubleshoot.baseline_settings set value = 400; \
         insert into troubleshoot.baseline_settings values ('most_samples', 1000); \
         insert into troubleshoot.samples (captured_at, metric, hour_of_week, value) \
         select now() - n * interval '1 minute' - interval '2 hours', 'active_connections', 0, 1 from generate_series(1, 3000) n; \
         update troubleshoot.samples set captured_at = captured_at - interval '30 seconds'",
    );
    bank.db.run("select * from troubleshoot.run_baseline()");
    assert_eq!(bank.db.count("select count(*) from troubleshoot.samples"), 1_000);
    for bad in ["('keep_days', 0)", "('keep_days', 401)", "('unheard_of', 5)", "('least_samples', 'NaN')"] {
        refused_with_code_only(
            &mut bank.db,
            &format!("insert into troubleshoot.baseline_settings values {bad}"),
            "23514",
        );
    }
}

#[test]
fn rights_are_as_granted() {
    let mut bank = Bank::new();
    let (reader, operator) = (bank.role("reader"), bank.role("operator"));
    bank.db.run(&format!(
        "select neobank.grant_usage('{reader}', 'reader'), neobank.grant_usage('{operator}', 'operator')"
    ));
    let mut session = bank.session_as(&reader);
    assert_eq!(session.lines("select * from troubleshoot.compare_baseline()"), [""; 0]);
    for call in ["capture_baseline()", "run_baseline()"] {
        refused_with_code_only(&mut session, &format!("select troubleshoot.{call}"), "42501");
    }
    refused_with_code_only(&mut session, "insert into troubleshoot.samples values (now(), 'x', 0)", "42501");
    let mut session = bank.session_as(&operator);
    assert!(
        session.count("select captured from troubleshoot.run_baseline()") > 30,
        "it measures with the owner's eyes"
    );
    assert_eq!(session.one("select value from troubleshoot.samples where metric = 'sees_all_sessions'"), "1.000000");
    session.run("insert into troubleshoot.baseline_settings values ('keep_days', 10)");
    refused_with_code_only(&mut session, "delete from troubleshoot.samples", "42501");
}

/// A warning that comes after the alarm is none; each of the two rows was looked at by itself.
#[test]
fn the_warning_comes_before_the_alarm() {
    let mut bank = Bank::new();
    let set =
        |name: &str, value: &str| format!("insert into troubleshoot.baseline_settings values ('{name}', {value})");
    refused(&mut bank.db, &set("warning_deviation", "8"), "NB021");
    refused(&mut bank.db, &set("critical_deviation", "2"), "NB021");
    bank.db.run(
        "insert into troubleshoot.baseline_settings values ('warning_deviation', 900), ('critical_deviation', 900)",
    );
    let update = "update troubleshoot.baseline_settings set value = 2 where name = 'critical_deviation'";
    refused(&mut bank.db, update, "NB021");
    refused(&mut bank.db, "delete from troubleshoot.baseline_settings where name = 'critical_deviation'", "NB021");
    bank.db.run("update troubleshoot.baseline_settings set value = 5");
    bank.db.run("delete from troubleshoot.baseline_settings");
}

/// A clock that was ahead left samples of tomorrow: until then nothing was measured any more, and nobody was told.
#[test]
fn samples_of_the_future_are_not_the_newest() {
    let mut bank = Bank::new();
    bank.db.run(
        "insert into troubleshoot.samples (captured_at, metric, hour_of_week, total, value) \
         values (now() + interval '1 day', 'commits_total', 5, 1, 1)",
    );
    assert_ne!(bank.db.count("select captured from troubleshoot.run_baseline()"), 0);
    let compared = "select count(*) from troubleshoot.compare_baseline() where captured_at > clock_timestamp()";
    assert_eq!(bank.db.count(compared), 0);
    assert_ne!(bank.db.count("select count(*) from troubleshoot.compare_baseline()"), 0);
}
