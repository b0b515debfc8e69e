//! Operators of the caller's: what the operator's functions compare, they compare with the server's own.

use neobank_sessions::*;

/// `=` that is never true, or `<>` that is, hid long queries, pools and who waits for whom.
const EVIL: &str = "create schema evil; \
    create function evil.no(int, int) returns boolean language sql as 'select 1 / 0 > 0'; \
    create function evil.no(text, text) returns boolean language sql as 'select 1 / 0 > 0'; \
    create function evil.no(oid, oid) returns boolean language sql as 'select 1 / 0 > 0'; \
    create function evil.no(name, text) returns boolean language sql as 'select 1 / 0 > 0'; \
    create function evil.no(name, name) returns boolean language sql as 'select 1 / 0 > 0'; \
    create function evil.no(timestamptz, timestamptz) returns boolean language sql as 'select 1 / 0 > 0'; \
    create function evil.no(numeric, numeric) returns boolean language sql as 'select 1 / 0 > 0'; \
    do $$ declare o text; t text; begin \
      foreach o in array array['=', '<>', '<', '>', '<=', '>='] loop \
        foreach t in array array['int, int', 'text, text', 'oid, oid', 'name, text', 'name, name', \
                                 'timestamptz, timestamptz', 'numeric, numeric'] loop \
          execute format('create operator evil.%s (function = evil.no, leftarg = %s, rightarg = %s)', o, \
                         split_part(t, ', ', 1), split_part(t, ', ', 2)); \
        end loop; end loop; end $$";

#[test]
fn what_a_caller_put_into_the_search_path_compares_nothing() {
    let mut bank = Bank::new();
    bank.db.run(EVIL);
    bank.db.run("create sequence public.s maxvalue 100; select setval('public.s', 99)");
    let calls = [
        "select kind from troubleshoot.why_waiting(pg_backend_pid())",
        "select * from troubleshoot.kill_long_queries('1 hour')",
        "select troubleshoot.clear_idle_transactions('1 hour')",
        "select length(pooling.generate_pgbouncer_config())",
        "select pooling.capture_sample()",
        "select * from troubleshoot.run_checks(array['sequence', 'settings', 'connections'])",
        "select * from troubleshoot.checks(array['sequence'])",
        "select * from troubleshoot.full_health_check()",
        "select * from troubleshoot.check_table_health('public')",
        "select length(troubleshoot.metrics())",
        "select length(troubleshoot.report_html())",
        "select troubleshoot.capture_baseline()",
        "select * from troubleshoot.compare_baseline()",
        "select * from troubleshoot.run_baseline()",
        "select troubleshoot.set_threshold('sequence', 1, 2)",
        "select troubleshoot.reset_threshold('sequence')",
        "select * from troubleshoot.explain('select from pg_catalog.pg_class')",
        "select * from concurrency.acquire_locks(array['a', 'b'])",
        "select * from concurrency.acquire_lease('a', 'me')",
        "select concurrency.record_deadlock('x')",
        "select * from concurrency.detect_deadlock_risk()",
        "select * from concurrency.show_mvcc_info('public.s')",
        "select * from pooling.check_pool_health()",
        "select * from pooling.pool_stats",
        "select * from pooling.v_idle_connections",
        "select * from troubleshoot.v_blocking_chains",
        "select * from troubleshoot.connection_analysis()",
    ];
    let mut session = bank.session();
    session.run("set search_path = evil, pg_catalog");
    for call in calls {
        if let Err(refusal) = session.try_lines(call) {
            assert_ne!(refusal.code, "22012", "{call} compares with the caller's operators: {refusal}");
        }
    }
    let fingerprint =
        "select fingerprint from troubleshoot.checks(array['sequence']) where object operator(pg_catalog.=) 'public.s'";
    let fingerprint = session.one(fingerprint);
    session.run(&format!(
        "select troubleshoot.acknowledge('{fingerprint}', now() operator(pg_catalog.+) interval '1 day', 'seen')"
    ));
    assert_eq!(session.one("show search_path"), "evil, pg_catalog");
}

/// Text of a function that is neither bound when it is made nor has its path set reads the caller's. Functions in C pin
/// it themselves, and are called above.
#[test]
fn no_function_reads_the_callers_path() {
    let mut bank = Bank::new();
    let loose = "select p.oid::regprocedure from pg_proc p join pg_language l on l.oid = p.prolang \
                 where p.pronamespace in ('troubleshoot'::regnamespace, 'pooling'::regnamespace, 'concurrency'::regnamespace) \
                 and l.lanname <> 'c' and p.prosqlbody is null \
                 and not exists (select from unnest(p.proconfig) c where c like 'search_path=%pg_catalog, pg_temp%')";
    assert_eq!(bank.db.lines(loose), [""; 0]);
}
