//! Connections as they are: real sessions in every state, seen by who may look and by who may not, and the arithmetic
//! of pools.

use neobank_sessions::*;

/// A session of that role under that application's name.
fn session_as(role: &str, database: &str, application: &str) -> Client {
    let server = server();
    postgres::Config::new()
        .host_path(&server.socket_dir)
        .port(server.port)
        .user(role)
        .dbname(database)
        .application_name(application)
        .connect(postgres::NoTls)
        .unwrap_or_else(|e| panic!("{role} cannot log in: {e}"))
}

/// Two sessions that are idle, two idle in a transaction, one of them with a number, and one in a failed transaction.
struct Crowd {
    role: String,
    sessions: Vec<Client>,
}

impl Crowd {
    fn of(bank: &mut Bank, label: &str) -> Crowd {
        let role = bank.role(label);
        let mut sessions: Vec<Client> =
            ["web", "web", "batch", "batch", "batch"].map(|name| session_as(&role, &bank.name, name)).into();
        sessions[0].run("select 1 as idle_one");
        sessions[1].run("select 1 as idle_two");
        sessions[2].run("begin; select 1 as thinking");
        sessions[3].run("begin; select pg_current_xact_id()");
        sessions[4].run("begin");
        sessions[4].fails("select 1 / 0");
        Crowd { role, sessions }
    }
}

#[test]
fn sessions_are_counted_by_state() {
    let mut bank = Bank::new();
    let crowd = Crowd::of(&mut bank, "app");
    let of_role = format!(
        "select total_connections, active, idle, idle_in_transaction, aborted, applications, not_visible, \
         avg_connection_age_seconds >= 0, max_seconds_in_current_state > 0, longest_transaction_seconds > 0 \
         from pooling.v_connection_analysis where username = '{}'",
        crowd.role
    );
    assert_eq!(bank.db.one(&of_role), "5|0|2|2|1|2|0|t|t|t");
    // In a transaction too, where the server would go on showing what it showed first.
    bank.db.run("begin");
    assert_eq!(bank.db.one(&of_role), "5|0|2|2|1|2|0|t|t|t");
    let Crowd { role, mut sessions } = crowd;
    sessions[4].run("rollback");
    assert_eq!(bank.db.one(&of_role), "5|0|3|2|0|2|0|t|t|t");
    bank.db.run("commit");

    let idle = format!(
        "select application_name, state, idle_seconds >= 0, query, database_name = current_database(), \
         holds_transaction_id, remediation_sql = format('SELECT pg_catalog.pg_terminate_backend(%s);', pid) \
         from pooling.idle_connections(0) where usename = '{role}' order by 1, 2, 4"
    );
    assert_eq!(
        bank.db.lines(&idle),
        [
            "batch|idle|t|rollback|t|f|t",
            "batch|idle in transaction|t|begin; select 1 as thinking|t|f|t",
            "batch|idle in transaction|t|begin; select pg_current_xact_id()|t|t|t",
            "web|idle|t|select 1 as idle_one|t|f|t",
            "web|idle|t|select 1 as idle_two|t|f|t",
        ]
    );
    // None of them for five minutes.
    assert_eq!(bank.db.lines(&format!("select * from pooling.v_idle_connections where usename = '{role}'")), [""; 0]);
}

#[test]
fn who_may_not_look_is_told_unknown() {
    let mut bank = Bank::new();
    let crowd = Crowd::of(&mut bank, "app");
    let reader = bank.role("reader");
    bank.db.run(&format!("select neobank.grant_usage('{reader}', 'reader')"));
    let mut session = bank.session_as(&reader);
    let of_role = format!(
        "select total_connections, active, idle, idle_in_transaction, aborted, not_visible \
         from pooling.v_connection_analysis where username = '{}'",
        crowd.role
    );
    assert_eq!(session.one(&of_role), "5|||||5");
    let hidden = format!(
        "select distinct state, idle_seconds, query from pooling.v_idle_connections where usename = '{}'",
        crowd.role
    );
    assert_eq!(session.one(&hidden), "unknown||<insufficient privilege>");
    let judged = [
        "select status from troubleshoot.connection_analysis() where status <> 'INFO'",
        "select status from pooling.check_pool_health() where check_name in ('Connection Utilization', \
         'Idle in Transaction', 'Avg Connection Age', 'Longest Idle in Transaction')",
    ];
    for sql in judged {
        let statuses = session.lines(sql);
        assert!(statuses.len() >= 4 && !statuses.contains(&"OK".to_owned()), "{statuses:?} of {sql}");
        assert!(statuses.contains(&"UNKNOWN".to_owned()), "{statuses:?} of {sql}");
    }
    let counted = "select value like 'at least %', status from troubleshoot.connection_analysis() \
                   where metric in ('Active Connections', 'Idle Connections', 'Idle in Transaction')";
    assert!(session.lines(counted).iter().all(|line| line.starts_with("t|UNKNOWN")));

    bank.db.run(&format!("grant pg_monitor to {reader}"));
    assert_eq!(session.one(&of_role), "5|0|2|2|1|0");
    let blind = "select count(*) from troubleshoot.connection_analysis() where status = 'UNKNOWN'";
    assert_eq!(session.count(blind), 0);
}

#[test]
fn a_session_that_tells_nothing_is_unknown_to_everybody() {
    let mut bank = Bank::new();
    let role = bank.role("quiet");
    bank.db.run(&format!("alter role {role} set track_activities = off"));
    let _quiet = session_as(&role, &bank.name, "quiet");
    let seen = format!("select not_visible, idle from pooling.v_connection_analysis where username = '{role}'");
    assert_eq!(bank.db.one(&seen), "1|");
}

#[test]
fn transactions_left_open_are_told() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let health =
        "select status, current_value::int from pooling.check_pool_health(0) where check_name = 'Idle in Transaction'";
    let sessions = Crowd::of(&mut bank, "app");
    let line = bank.db.one(health);
    let (status, count) = line.split_once('|').expect("two columns");
    assert!(["WARNING", "CRITICAL"].contains(&status) && count.parse::<i32>().is_ok_and(|n| n >= 3), "{line}");
    let _more = Crowd::of(&mut bank, "other");
    assert!(bank.db.one(health).starts_with("CRITICAL|"));
    let analysis =
        "select status, value::int >= 6 from troubleshoot.connection_analysis() where metric = 'Idle in Transaction'";
    assert_eq!(bank.db.one(analysis), "WARNING|t");
    drop(sessions);
}

#[test]
fn connections_that_run_out_are_told() {
    let settings = "max_connections = 12\nsuperuser_reserved_connections = 2";
    let Some(cluster) = PrivateCluster::start("pooling_full", settings) else {
        skipped("a server that runs out of connections", "initdb and pg_ctl are not there");
        return;
    };
    let mut db = cluster.connect("postgres");
    db.run("create extension neobank");
    assert_eq!(db.count("select pooling.usable_connections()"), 10);
    let utilization = "select value, status from troubleshoot.connection_analysis() \
         where metric in ('Current Connections', 'Connection Utilization')";
    let health =
        "select status, current_value from pooling.check_pool_health() where check_name = 'Connection Utilization'";
    let idle = "select status from troubleshoot.connection_analysis() where metric = 'Idle Connections'";
    let mut held = Vec::new();
    let mut states = Vec::new();
    for _ in 0..9 {
        states.push((db.lines(utilization), db.one(health), db.one(idle)));
        held.push(cluster.connect("postgres"));
    }
    let at = |connections: usize, value: &str, status: &str, of_idle: &str| {
        let current = if status == "CRITICAL" { "WARNING" } else { status };
        let (lines, health, idle) = &states[connections - 1];
        assert_eq!(*lines, [format!("{connections}|{current}"), format!("{value}|{status}")]);
        assert_eq!(*health, format!("{status}|{connections} / 10"));
        assert_eq!(idle, of_idle, "{connections}");
    };
    at(1, "10.0%", "OK", "OK");
    at(5, "50.0%", "OK", "OK");
    at(7, "70.0%", "OK", "WARNING");
    at(8, "80.0%", "WARNING", "WARNING");
    at(9, "90.0%", "CRITICAL", "WARNING");
}

#[test]
fn what_if_is_the_queue_of_the_textbook() {
    let mut bank = Bank::new();
    let what_if =
        |bank: &mut Bank, arguments: &str| bank.db.one(&format!("select * from pooling.what_if({arguments})"));
    // M/M/1 at one half: C = 1/2, W = S, and ten connections for eight busy ones: C(10, 8) = 0.4092.
    assert_eq!(what_if(&mut bank, "1, 50, 10"), "0.5|0.5|0.5|10|46.051702|20|0.5|t");
    assert_eq!(what_if(&mut bank, "10, 100, 80"), "8|0.8|0.40918|16.367206|84.085301|96.367206|1.636721|t");
    assert_eq!(what_if(&mut bank, "10, 0, 80"), "0|0|0|0|0|80|0|t");
    assert_eq!(what_if(&mut bank, "10, 125, 80"), "10|1|1|||||f");
    for pool in [2, 5, 11, 200] {
        let more = format!(
            "select bool_and(wait <= before) from (select mean_wait_ms as wait, lag(mean_wait_ms) over (order by n) as before \
             from generate_series({pool}, {pool} + 20) n, lateral pooling.what_if(n, {pool} * 9.5, 100)) w"
        );
        assert_eq!(bank.db.one(&more), "t", "a larger pool waits longer");
    }
}

#[test]
fn a_pool_is_as_large_as_the_load_the_cores_or_the_server_let_it_be() {
    let mut bank = Bank::new();
    let size = |bank: &mut Bank, arguments: &str| {
        bank.db.one(&format!(
            "select recommended_pool_size, limited_by, needed_connections, core_limit from pooling.recommended_size({arguments})"
        ))
    };
    assert_eq!(size(&mut bank, "2000, 50, 160, 64"), "125|load|125|129");
    assert_eq!(size(&mut bank, "2000, 50, 160, 8"), "17|cores|125|17");
    assert_eq!(size(&mut bank, "2000, 50, 80, 64"), "80|connections|125|129");
    assert_eq!(size(&mut bank, "2000, 50, 160, 8, 0.1"), "81|cores|125|81");
    assert_eq!(size(&mut bank, "0, 50, 160, 8"), "1|load|1|17");

    let calculated = |bank: &mut Bank, arguments: &str| -> Vec<String> {
        bank.db.lines(&format!(
            "select value from pooling.calculate_pool_size({arguments}) where metric in ('Recommended Pool Size', \
             'Effective Connections', 'Can Support TPS', 'Bottleneck', 'Busy Connections')"
        ))
    };
    assert_eq!(
        calculated(&mut bank, "200, 50, 2000, p_cores => 64"),
        ["160", "125", "2580", "NONE - Configuration sufficient", "100"]
    );
    assert_eq!(
        calculated(&mut bank, "200, 50, 2000, 0.8, 8"),
        ["160", "17", "340", "CPU - Need more cores or less work per query", "100"]
    );
    assert_eq!(
        calculated(&mut bank, "50, 50, 2000, 0.8, 64"),
        ["40", "40", "800", "DATABASE - Need more connections or faster queries", "100"]
    );
    let names = bank.db.lines("select metric from pooling.calculate_pool_size(200, 50, 2000)");
    assert_eq!(
        names[..8],
        [
            "Max DB Connections",
            "Effective Connections",
            "Avg Query Time",
            "Target TPS",
            "Connections per TPS",
            "Recommended Pool Size",
            "Can Support TPS",
            "Bottleneck"
        ]
    );
    assert!(bank.db.count("select pooling.machine_cores()") >= 1);
    let own = "select value::int = pooling.machine_cores() from pooling.calculate_pool_size(200, 50, 2000) where metric = 'Cores'";
    assert_eq!(bank.db.one(own), "t");
}

#[test]
fn bad_arguments_are_refused() {
    let mut bank = Bank::new();
    let nulls = [
        "pooling.what_if(null, 1, 1)",
        "pooling.what_if(1, null, 1)",
        "pooling.what_if(1, 1, null)",
        "pooling.recommended_size(null, 1, 1)",
        "pooling.recommended_size(1, null, 1)",
        "pooling.recommended_size(1, 1, null)",
        "pooling.calculate_pool_size(null, 1, 1)",
        "pooling.calculate_pool_size(1, null, 1)",
        "pooling.calculate_pool_size(1, 1, null)",
        "pooling.calculate_pool_size(1, 1, 1, null)",
        "pooling.capture_sample(null)",
        "pooling.capture_sample('1 day', null)",
        "pooling.load(null)",
        "pooling.recommend_for('x', 1, null)",
        "pooling.recommend(1, null)",
        "pooling.advised_pool_size(1, null)",
        "pooling.advice(1, null)",
        "pooling.idle_connections(null)",
        "pooling.check_pool_health(null)",
        "pooling.generate_pgbouncer_config(array[null])",
        "pooling.generate_pgbouncer_config(pool_mode => null)",
        "pooling.generate_pgbouncer_config(settings => null)",
        "troubleshoot.slow_queries(null)",
        "troubleshoot.slow_queries(1, null)",
    ];
    for call in nulls {
        refused(&mut bank.db, &format!("select * from {call}"), "22004");
    }
    let bounds = [
        "pooling.what_if(0, 1, 1)",
        "pooling.what_if(262144, 1, 1)",
        "pooling.what_if(1, -1, 1)",
        "pooling.what_if(1, 'NaN', 1)",
        "pooling.what_if(1, 'Infinity', 1)",
        "pooling.what_if(1, 1, 0)",
        "pooling.what_if(1, 1, 86400001)",
        "pooling.what_if(1, 1000000001, 1)",
        "pooling.recommended_size(1, 1, 0)",
        "pooling.recommended_size(1, 1, 1, 0)",
        "pooling.recommended_size(1, 1, 1, 1, 0)",
        "pooling.recommended_size(1, 1, 1, 1, 1.01)",
        "pooling.calculate_pool_size(0, 1, 1)",
        "pooling.calculate_pool_size(1, 0, 1)",
        "pooling.calculate_pool_size(1, 1, 0)",
        "pooling.calculate_pool_size(1, 1, -5)",
        "pooling.calculate_pool_size(1, 1, 1, 1.5)",
        "pooling.calculate_pool_size(1, 1, 1, 'NaN')",
        "pooling.calculate_pool_size(1, 1, 1, 1, 0)",
        "pooling.capture_sample('0')",
        "pooling.capture_sample('-1 day')",
        "pooling.capture_sample('367 days')",
        "pooling.capture_sample('1 day', 0)",
        "pooling.capture_sample('1 day', 1001)",
        "pooling.load('0')",
        "pooling.recommend_for('x', 0)",
        "pooling.advised_pool_size(0)",
        "pooling.advice(0)",
        "pooling.advice(1, '-1 s')",
        "pooling.idle_connections(-1)",
        "pooling.check_pool_health('NaN')",
        "pooling.generate_pgbouncer_config('{}')",
        "pooling.generate_pgbouncer_config(pool_mode => 'both')",
        "pooling.generate_pgbouncer_config(host => ' ')",
        "pooling.generate_pgbouncer_config(host => E'a\\nb')",
        "pooling.generate_pgbouncer_config(pool_size => 0)",
        "pooling.generate_pgbouncer_config(settings => '[]')",
        "pooling.generate_pgbouncer_config(cores => 0)",
        "troubleshoot.slow_queries(0)",
        "troubleshoot.slow_queries(1001)",
        "troubleshoot.slow_queries(1, 'drop')",
    ];
    for call in bounds {
        refused(&mut bank.db, &format!("select * from {call}"), "NB021");
    }
    let settings = [
        r#"{"max_prepared_statements": 5}"#,
        r#"{"Listen_port": 5}"#,
        r#"{"pool_mode": "session"}"#,
        r#"{"listen_port": 5.5}"#,
        r#"{"listen_port": -5}"#,
        r#"{"listen_port": true}"#,
        r#"{"listen_port": [1]}"#,
        r#"{"auth_file": "a\nauth_type = any"}"#,
    ];
    for settings in settings {
        let call = format!("select pooling.generate_pgbouncer_config(settings => '{settings}')");
        refused(&mut bank.db, &call, "NB540");
    }
    for database in ["template0", "nowhere", "two\nlines"] {
        let call = format!("select pooling.generate_pgbouncer_config(array['{database}'])");
        refused(&mut bank.db, &call, "NB541");
    }
}
