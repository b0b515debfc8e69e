//! The slowest statements: with pg_stat_statements in every version that can be installed, and without.

use neobank_sessions::*;

fn only_hint(db: &mut Client, problem: &str, cure: &str) {
    let line = db.one(
        "select query_preview, hint, queryid is null and calls is null and avg_time_ms is null \
         from troubleshoot.v_slow_queries",
    );
    assert!(line.starts_with(&format!("<{problem}>|")) && line.contains(cure) && line.ends_with("|t"), "{line}");
}

#[test]
fn without_the_library_a_hint_answers() {
    let mut bank = Bank::new();
    only_hint(&mut bank.db, "pg_stat_statements is not installed", "shared_preload_libraries");
    if bank.db.try_lines("create extension pg_stat_statements").is_err() {
        skipped("pg_stat_statements without its library", "the server does not have it");
        return;
    }
    // Created, but the server has not loaded it: the view itself raises 55000.
    if bank.db.try_lines("select from pg_stat_statements limit 1").is_err() {
        only_hint(&mut bank.db, "pg_stat_statements is not loaded", "restart");
    }
    bank.db.run("drop extension pg_stat_statements");
    // Another view of that name is not taken for it.
    bank.db.run("create view public.pg_stat_statements as select 1 as queryid");
    only_hint(&mut bank.db, "pg_stat_statements is not installed", "");
}

#[test]
fn every_version_of_the_extension_answers() {
    let settings = "shared_preload_libraries = 'pg_stat_statements'\npg_stat_statements.track = 'all'";
    let Some(cluster) = PrivateCluster::start("slow_queries", settings) else {
        skipped("slow queries by pg_stat_statements", "initdb and pg_ctl are not there");
        return;
    };
    let mut db = cluster.connect("postgres");
    db.run("create extension neobank");
    only_hint(&mut db, "pg_stat_statements is not installed", "CREATE EXTENSION pg_stat_statements in this database");
    let versions = db.lines(
        "select version from pg_available_extension_versions where name = 'pg_stat_statements' \
         and string_to_array(version, '.')::int[] >= '{1, 4}' order by string_to_array(version, '.')::int[]",
    );
    assert!(versions.len() > 3, "{versions:?}");
    // One whose columns were named otherwise, and the last.
    for version in [versions[0].clone(), versions[versions.len() - 1].clone()] {
        db.run(&format!("create schema watch; create extension pg_stat_statements schema watch version '{version}'"));
        slow_statement_is_found(&mut db);
        db.run("drop extension pg_stat_statements; drop schema watch");
    }
    db.run("create extension pg_stat_statements");
    who_may_not_look_is_told(&cluster, &mut db);
    // Since a reset nothing, not even this statement, which ends after it has read.
    db.run("set pg_stat_statements.track = 'none'; select pg_stat_statements_reset()");
    only_hint(&mut db, "nothing recorded", "track");
}

fn slow_statement_is_found(db: &mut Client) {
    db.run("select watch.pg_stat_statements_reset()");
    db.run("do $$ begin for n in 1..50 loop perform pg_sleep(0.051) as slow_one; end loop; end $$");
    for n in 1..=3 {
        db.run(&format!("select {n} as quick_one"));
    }
    let of = |db: &mut Client, name: &str| {
        db.one(&format!(
            "select queryid is not null, calls, rows, avg_time_ms >= 50, total_time_ms >= 2500, max_time_ms >= avg_time_ms, \
             stddev_ms is not null, share_pct between 0 and 100, is_slow, user_name = current_user, \
             database_name = current_database(), hint is null \
             from troubleshoot.v_slow_queries where query_preview ~ '{name}' and query_preview !~ 'v_slow|do '"
        ))
    };
    assert_eq!(of(db, "slow_one"), "t|50|50|t|t|t|t|t|t|t|t|t");
    assert_eq!(of(db, "quick_one"), "t|3|3|f|f|t|t|t|f|t|t|t");
    let ordered = "select avg_time_ms from troubleshoot.slow_queries(5, 'mean')";
    let times: Vec<f64> = db.lines(ordered).iter().map(|time| time.parse().expect("a figure")).collect();
    assert!(times.len() > 1 && times.is_sorted_by(|a, b| a >= b), "{times:?}");
    for order in ["total", "calls", "rows", "temp"] {
        assert_eq!(db.lines(&format!("select 1 from troubleshoot.slow_queries(2, '{order}')")).len(), 2);
    }
}

fn who_may_not_look_is_told(cluster: &PrivateCluster, db: &mut Client) {
    db.run("create role reader login; select neobank.grant_usage('reader', 'reader')");
    db.run("select pg_stat_statements_reset(); select 7 as private_matter");
    let mut reader = postgres::Config::new()
        .host_path(cluster.folder())
        .port(5432)
        .user("reader")
        .dbname("postgres")
        .connect(postgres::NoTls)
        .expect("the reader may log in");
    let hidden = "select bool_and(queryid is null and hint ~ 'pg_monitor'), count(*) > 0 \
                  from troubleshoot.v_slow_queries where user_name <> 'reader'";
    assert_eq!(reader.one(hidden), "t|t");
    assert_eq!(reader.count("select count(*) from troubleshoot.v_slow_queries where query_preview ~ 'private'"), 0);
    db.run("grant pg_monitor to reader");
    assert!(reader.count("select count(*) from troubleshoot.slow_queries(1000) where query_preview ~ 'private'") > 0);
    db.run("revoke select on pg_stat_statements from public; revoke pg_monitor from reader");
    only_hint(&mut reader, "insufficient privilege", "pg_monitor");
}
