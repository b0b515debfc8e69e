//! The seed's views of health: its names and columns, without its faults.

use neobank_sessions::*;

/// The seed called a table of three rows critical, called dead rows bloat, and after VACUUM saw nothing of a table that
/// was almost all free space.
#[test]
fn table_health_tells_bloat_from_dead_rows() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table banking.small (a int) with (autovacuum_enabled = off); insert into banking.small values (1), (2), (3); \
         create table banking.bloated (id int, t text) with (autovacuum_enabled = off); \
         insert into banking.bloated select g, repeat('x', 100) from generate_series(1, 20000) g; \
         create table banking.dead (a int) with (autovacuum_enabled = off); insert into banking.dead select generate_series(1, 30000)",
    );
    bank.db.run("delete from banking.small where a < 3; delete from banking.bloated where id % 20 <> 0; delete from banking.dead where a <= 20000");
    bank.db.run("select pg_stat_force_next_flush()");
    bank.db.run("vacuum analyze banking.bloated");
    bank.db.run("analyze banking.dead");
    bank.db.run("select pg_stat_force_next_flush()");
    let health = "select table_name, issue_type, severity from troubleshoot.check_table_health() \
                  where issue_type in ('Table Bloat', 'Dead Tuples') order by 1, 2";
    let wanted =
        ["banking.bloated|Table Bloat|INFO", "banking.dead|Dead Tuples|CRITICAL", "banking.dead|Table Bloat|INFO"];
    assert_eq!(bank.db.lines(health), wanted);
    bank.db.run("select troubleshoot.set_threshold('table_bloat', 30, 80, 1)");
    assert_eq!(bank.db.lines(health)[0], "banking.bloated|Table Bloat|CRITICAL");
    let elsewhere = "select count(*) from troubleshoot.check_table_health('public')";
    assert_eq!(bank.db.count(elsewhere), 0);
    refused(&mut bank.db, "select * from troubleshoot.check_table_health('no such schema')", "NB021");
    assert!(bank.db.count("select count(*) from troubleshoot.check_table_health(null)") >= 2);
}

#[test]
fn table_health_sees_missing_and_unused_indexes() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table public.scanned (a int, b int); insert into public.scanned select g, g from generate_series(1, 40000) g; \
         create index idle on public.scanned (b); \
         create table public.looked_up (a int primary key); insert into public.looked_up select generate_series(1, 40000); analyze",
    );
    for n in 1..=3 {
        bank.db
            .run(&format!("select * from public.scanned where a = {n}; select * from public.looked_up where a = {n}"));
    }
    bank.db.run("select pg_stat_force_next_flush()");
    bank.db.run("update pg_class set relpages = 200 where relname = 'idle'");
    let health = "select table_name, issue_type, severity from troubleshoot.check_table_health('public') order by 1, 2";
    assert_eq!(bank.db.lines(health), ["public.idle|Unused Index|INFO", "public.scanned|Missing Index|WARNING"]);
}

#[test]
fn table_bloat_view_has_the_columns_of_the_contract() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table public.dead (a int) with (autovacuum_enabled = off); insert into public.dead select generate_series(1, 1000); \
         create table public.small (a int) with (autovacuum_enabled = off); insert into public.small values (1), (2); ",
    );
    bank.db.run("delete from public.dead where a <= 500; delete from public.small where a = 1");
    bank.db.run("select pg_stat_force_next_flush()");
    let shown = "select table_name, live_tuples, dead_tuples, dead_tuple_ratio, last_vacuum, last_autovacuum, status \
                 from concurrency.v_table_bloat where table_name like 'public.%' order by 1";
    assert_eq!(bank.db.lines(shown), ["public.dead|500|500|50.00|||VACUUM NEEDED", "public.small|1|1|50.00|||OK"]);
    let columns = "select string_agg(attname, ' ' order by attnum) from pg_attribute \
                   where attrelid = 'concurrency.v_table_bloat'::regclass and attnum between 1 and 7";
    assert_eq!(
        bank.db.one(columns),
        "table_name live_tuples dead_tuples dead_tuple_ratio last_vacuum last_autovacuum status"
    );
    bank.db.run("vacuum public.dead");
    bank.db.run("select pg_stat_force_next_flush()");
    assert_eq!(bank.db.lines(&format!("select status, last_vacuum is not null from ({shown}) x"))[0], "OK|t");
}

/// The seed's function failed when it was called.
#[test]
fn full_health_check_answers() {
    let mut bank = Bank::new();
    let rows = "select category, check_name from troubleshoot.full_health_check() limit 10";
    let wanted = [
        "Storage|Database Size",
        "Connections|Max Connections",
        "Connections|Current Connections",
        "Connections|Active Connections",
        "Connections|Idle Connections",
        "Connections|Idle in Transaction",
        "Connections|Connection Utilization",
        "Replication|Replica Lag",
        "Performance|Buffer Cache Hit Ratio",
        "Maintenance|Transaction ID Age",
    ];
    assert_eq!(bank.db.lines(rows), wanted);
    let words = "select distinct status from troubleshoot.full_health_check() \
                 where status not in ('OK', 'INFO', 'WARNING', 'CRITICAL', 'UNKNOWN')";
    assert_eq!(bank.db.lines(words), [""; 0]);
    let unlogged =
        "select category, status, value from troubleshoot.full_health_check() where check_name = 'Unlogged table'";
    assert_eq!(bank.db.one(unlogged), "Integrity|OK|Nothing was found.");
    bank.db.run("create unlogged table public.fast (a int)");
    assert_eq!(bank.db.one(unlogged), "Integrity|WARNING|public.fast: 0 rows");
    let columns = "select string_agg(column_name, ' ' order by n) from unnest(array['category', 'check_name', 'status', 'value', \
                   'recommendation']) with ordinality c(column_name, n)";
    let of_function = "select array_to_string(proargnames, ' ') from pg_proc where proname = 'full_health_check'";
    assert_eq!(bank.db.one(of_function), bank.db.one(columns));
}
