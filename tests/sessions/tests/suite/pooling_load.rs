//! Samples of connections: what is written, kept and deleted, by several sessions at once; and what they say about the
//! load, in figures that were planted and in real ones.

use neobank_sessions::*;
use std::thread;
use std::time::Duration;

#[test]
fn a_sample_counts_the_other_sessions() {
    let mut bank = Bank::new();
    let role = bank.role("app");
    let mut sessions: Vec<Client> = (0..4).map(|_| bank.session_as(&role)).collect();
    sessions[0].run("begin; select 1");
    sessions[1].run("begin");
    sessions[1].fails("select 1 / 0");
    let mut waiting = bank.session_as(&role);
    sessions[2].run("select pg_advisory_lock(1, 2)");
    let backend = Bank::backend_of(&mut waiting);
    let waiter = thread::spawn(move || waiting.run("select pg_advisory_lock(1, 2)"));
    bank.wait_until_blocked(backend);
    let at = bank.db.one("select pooling.capture_sample()");
    let row = format!(
        "select user_name = '{role}', application_name, connections, active, idle, idle_in_transaction, aborted, \
         not_visible, on_cpu, waiting_lock, longest_transaction_seconds > 0, oldest_connection_seconds > 0 \
         from pooling.samples where sampled_at = '{at}' and database_name = current_database()"
    );
    // Not the session that samples.
    assert_eq!(bank.db.one(&row), "t|neobank-sessions|5|1|2|1|1|0|0|1|t|t");
    let load = format!(
        "select connections >= 6, usable_connections = pooling.usable_connections(), transactions > 0, active_ms >= 0 \
         from pooling.load_samples where sampled_at = '{at}' and database_name = current_database()"
    );
    assert_eq!(bank.db.one(&load), "t|t|t|t");
    sessions[2].run("select pg_advisory_unlock(1, 2)");
    waiter.join().expect("it gets the lock");
    drop(sessions);

    bank.db.run("begin; select pooling.capture_sample(); rollback");
    assert_eq!(
        bank.db
            .count("select count(distinct sampled_at) from pooling.samples where database_name = current_database()"),
        1
    );
}

#[test]
fn the_smaller_groups_are_taken_together() {
    let mut bank = Bank::new();
    let role = bank.role("app");
    let mut held = Vec::new();
    for n in 0..6 {
        let mut session = bank.session_as(&role);
        session.run(&format!("set application_name = 'worker {}'", n / 2));
        held.push(session);
    }
    let at = bank.db.one("select pooling.capture_sample(max_groups => 1)");
    let others = format!(
        "select count(*), bool_or(user_name = '(others)') from pooling.samples where sampled_at = '{at}' \
                          and database_name = current_database()"
    );
    let line = bank.db.one(&others);
    assert!(["1|t", "2|t"].contains(&line.as_str()), "{line}");
    let all = format!(
        "select sum(connections) from pooling.samples where sampled_at = '{at}' and database_name = current_database()"
    );
    assert_eq!(bank.db.count(&all), 6);
}

#[test]
fn what_is_old_is_deleted_and_nothing_else() {
    let mut bank = Bank::new();
    bank.db.run(
        "insert into pooling.samples select now() - n * interval '1 hour', 'd', 'u', 'a', 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, null \
         from generate_series(1, 48) n; \
         insert into pooling.load_samples select now() - n * interval '1 hour', 'd', 100, 97, 1, n, n, n, n, 0, null \
         from generate_series(1, 48) n; \
         insert into pooling.pool_stats (pool_name, collected_at) select 'd', now() - n * interval '1 hour' \
         from generate_series(1, 48) n",
    );
    let left = "select (select count(*) from pooling.samples where database_name = 'd'), \
                (select count(*) from pooling.load_samples where database_name = 'd'), \
                (select count(*) from pooling.pool_stats)";
    // A session that holds some of them is not waited for.
    let mut holder = bank.session();
    holder.run("begin; select 1 from pooling.samples where sampled_at < now() - interval '47 hours' for update");
    bank.db.run("set lock_timeout = '2s'; select pooling.capture_sample('24 hours 30 minutes')");
    assert_eq!(bank.db.one(left), "26|24|24");
    holder.run("rollback");
    bank.db.run("select pooling.capture_sample('24 hours 30 minutes')");
    assert_eq!(bank.db.one(left), "24|24|24");
    bank.db.run("select pooling.capture_sample()");
    assert_eq!(bank.db.one(left), "24|24|24");
}

#[test]
fn many_sample_at_once() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    bank.db.run(
        "insert into pooling.samples select now() - n * interval '1 s' - interval '1 day', 'd', 'u', 'a', 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, null \
         from generate_series(1, 2000) n",
    );
    let levels = ["read committed", "repeatable read", "serializable", "read committed"];
    let answers = together(&bank, 4, move |n, session| {
        let mut written = 0;
        for _ in 0..5 {
            let call = format!("begin isolation level {}; select pooling.capture_sample('1 hour'); commit", levels[n]);
            match session.try_lines(&call) {
                Ok(_) => written += 1,
                Err(refusal) => {
                    assert!(refusal.code == "40001" && levels[n] != "read committed", "{refusal}");
                    session.run("rollback");
                }
            }
        }
        written
    });
    let written: i64 = answers.iter().sum();
    assert!(answers[0] == 5 && answers[3] == 5, "{answers:?}");
    let samples =
        "select count(distinct sampled_at) from pooling.load_samples where database_name = current_database()";
    // Two in the same microsecond are one.
    let samples = bank.db.count(samples);
    assert!(samples > 0 && samples <= written, "{samples} of {written}");
    assert_eq!(bank.db.count("select count(*) from pooling.samples where database_name = 'd'"), 0);
}

#[test]
fn who_may_sample_and_who_may_not() {
    let mut bank = Bank::new();
    let [reader, operator] = ["reader", "operator"].map(|level| {
        let role = bank.role(level);
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        bank.session_as(&role)
    });
    let (mut reader, mut operator) = (reader, operator);
    refused_with_code_only(&mut reader, "select pooling.capture_sample()", "42501");
    for sql in [
        "insert into pooling.pool_stats (pool_name) values ('x')",
        "delete from pooling.samples",
        "delete from pooling.load_samples",
    ] {
        refused_with_code_only(&mut reader, sql, "42501");
    }
    let at = operator.one("select pooling.capture_sample()");
    operator.run("insert into pooling.pool_stats (pool_name, max_wait_ms) values ('x', 3)");
    // Without pg_monitor it counts what it cannot see, and the advice says so.
    let seen = format!(
        "select bool_and(not_visible > 0 or user_name = current_user) from pooling.samples \
                        where sampled_at = '{at}' and database_name = current_database()"
    );
    assert_eq!(operator.one(&seen), "t");
    plant(&mut bank.db, 10, 60, 100, 20, 5);
    let unseen = "insert into pooling.samples select now() - interval '3 minutes', current_database(), 'u', 'a', \
                  3, 0, 0, 0, 0, 3, 0, 0, 0, 1, null";
    bank.db.run(unseen);
    let advice =
        "select check_id, severity from pooling.advice(5, '1 hour', 8) where check_id in ('visibility', 'lock_waits')";
    assert_eq!(reader.lines(advice), ["visibility|unknown", "lock_waits|unknown"]);
}

/// Steps of so many seconds with that rate and service time of this database, as samples of the last minutes.
fn plant(db: &mut Client, steps: i32, seconds: i32, rate: i32, service_ms: i32, connections: i32) {
    db.run(&format!(
        "delete from pooling.load_samples where database_name = current_database(); \
         delete from pooling.samples where database_name = current_database(); \
         insert into pooling.load_samples select now() - ({steps} - n) * interval '{seconds} s', current_database(), \
         200, 197, {connections}, 1000 + n * {rate} * {seconds}, \
         5000 + n * {rate} * {seconds} * {service_ms} * 0.9, 70 + n * {rate} * {seconds} * {service_ms} * 0.1, n, 0, \
         '2020-01-01' from generate_series(0, {steps}) n"
    ));
}

#[test]
fn the_load_is_what_was_between_the_samples() {
    let mut bank = Bank::new();
    plant(&mut bank.db, 10, 60, 100, 20, 5);
    let load = "select steps, seconds, transactions, arrival_rate, peak_arrival_rate, service_time_ms, busy_connections, \
                idle_in_transaction_share, cpu_share, lock_share, peak_connections, not_visible \
                from pooling.load() where database_name = current_database()";
    assert_eq!(bank.db.one(load), "10|600.000|60000|100.000|100.000|20.0000|2.000|0.1000|||5|0");
    // States that were seen: of 40 busy ones 10 waited for a lock, and of the rest a third computed.
    bank.db.run(
        "insert into pooling.samples select now() - n * interval '1 minute', current_database(), 'u', 'a', \
         4, 3, 0, 1, 0, 0, 1, 1, 1, 1, null from generate_series(1, 10) n",
    );
    let shares = "select cpu_share, lock_share from pooling.load() where database_name = current_database()";
    assert_eq!(bank.db.one(shares), "0.3333|0.2500");
    // Counters that began anew, by a reset or a crash, are no load.
    bank.db.run(
        "insert into pooling.load_samples select now() - interval '30 s', current_database(), 200, 197, 5, 3, 1, 1, 1, 0, '2020-01-01'",
    );
    bank.db.run(
        "insert into pooling.load_samples select now() - interval '20 s', current_database(), 200, 197, 5, 900000000, 9e9, 9e9, 1, 0, now()",
    );
    let after = "select steps, transactions, arrival_rate from pooling.load() where database_name = current_database()";
    assert_eq!(bank.db.one(after), "9|54000|100.000");
    assert_eq!(bank.db.lines("select 1 from pooling.load('1 s') where database_name = current_database()"), [""; 0]);
}

#[test]
fn the_advice_changes_with_the_load() {
    let mut bank = Bank::new();
    let advice = |db: &mut Client, pool: &str| {
        db.one(&format!(
            "select severity, value, remediation from pooling.advice({pool}, '1 hour', 16) where check_id = 'pool_size'"
        ))
    };
    let sized = |db: &mut Client, pool: i32| db.one(&format!("select pooling.advised_pool_size({pool}, '1 hour', 16)"));
    // Nothing sampled: unknown, and the pool stays as it is.
    let unknown = "select check_id, severity from pooling.advice(9, '1 hour')";
    assert_eq!(bank.db.one(unknown), "samples|unknown");
    assert_eq!(sized(&mut bank.db, 9), "9");
    assert_eq!(bank.db.one("select pooling.advised_pool_size(null, '1 hour', 16)"), "33");
    let base = "select recommended_pool_size, is_measured from pooling.recommend(16, '1 hour') \
                where database_name = current_database()";
    assert_eq!(bank.db.one(base), "33|f");

    // A quiet night: 2 busy connections, of which 4 take every burst.
    plant(&mut bank.db, 10, 60, 100, 20, 20);
    assert_eq!(bank.db.one(base), "4|t");
    assert_eq!(advice(&mut bank.db, "4"), "ok|4|keep it");
    assert_eq!(advice(&mut bank.db, "20"), "info|4|in pgbouncer's console: SET default_pool_size = 4;");
    assert_eq!(sized(&mut bank.db, 20), "4");
    // The morning: 16 busy, which 4 cannot serve, nor 16.
    plant(&mut bank.db, 10, 60, 800, 20, 20);
    assert_eq!(advice(&mut bank.db, "4"), "critical|20|in pgbouncer's console: SET default_pool_size = 20;");
    assert_eq!(advice(&mut bank.db, "16"), "critical|20|in pgbouncer's console: SET default_pool_size = 20;");
    assert_eq!(sized(&mut bank.db, 4), "20");
    // Within a fifth nothing is touched.
    assert_eq!(sized(&mut bank.db, 22), "22");
    assert_eq!(sized(&mut bank.db, 17), "17");
    assert!(advice(&mut bank.db, "18").ends_with("|20|keep it"));
    // More than the cores can use.
    plant(&mut bank.db, 10, 60, 8_000, 20, 150);
    assert_eq!(advice(&mut bank.db, "33"), "critical|33|keep it");
    let connections = "select severity, value from pooling.advice(null, '1 hour', 16) where check_id = 'connections'";
    assert_eq!(bank.db.one(connections), "warning|150");
    // What the pooler says of itself is the size, where nobody gives one.
    bank.db.run("insert into pooling.pool_stats (pool_name, server_connections) values (current_database(), 7)");
    let detail =
        "select detail like 'a pool of 7:%' from pooling.advice(null, '1 hour', 16) where check_id = 'pool_size'";
    assert_eq!(bank.db.one(detail), "t");
    // And the health check has its wait.
    bank.db.run("insert into pooling.pool_stats (pool_name, max_wait_ms) values (current_database(), 1500)");
    let wait = "select status, current_value from pooling.check_pool_health() where check_name = 'Wait for a Pooled Connection'";
    assert_eq!(bank.db.one(wait), "CRITICAL|1500 ms");
}

#[test]
fn real_transactions_are_measured() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    bank.db.run("select pooling.capture_sample()");
    together(&bank, 4, |_, session| {
        for _ in 0..20 {
            session.run("begin; select pg_sleep(0.01); commit");
        }
        // And while the application thinks.
        session.run("begin");
        thread::sleep(Duration::from_millis(100));
        session.run("commit");
    });
    // Their last counts are there once they are gone.
    let gone = "select count(*) = 1 from pg_stat_activity where datname = current_database() and backend_type = 'client backend'";
    while bank.db.one(gone) != "t" {
        thread::sleep(Duration::from_millis(20));
    }
    bank.db.run("select pooling.capture_sample()");
    let load = "select transactions >= 84, arrival_rate > 0, busy_connections > 0, idle_in_transaction_share > 0.05, \
                round(service_time_ms) between 5 and 10000, sessions_per_second > 0, sessions_lost \
                from pooling.load() where database_name = current_database()";
    assert_eq!(bank.db.one(load), "t|t|t|t|t|t|0");
    let recommended = "select is_measured, recommended_pool_size between 1 and available_connections, detail ~ 'busy' \
                       from pooling.recommend() where database_name = current_database()";
    assert_eq!(bank.db.one(recommended), "t|t|t");
}
