//! `troubleshoot.explain`: real plans of real tables, what is found in them and what is not, and what it may not do.

use neobank_sessions::*;
use std::thread;

/// A table whose columns `city` and `zip` are the same, and one without an index on what it is joined by.
const WORLD: &str = "create schema app; \
    create table app.payments (id int primary key, city int, zip int, note text, amount int); \
    insert into app.payments select i, i % 40, i % 40, 'note ' || i, i % 1000 from generate_series(1, 60000) i; \
    create table app.refunds (id int, payment int); \
    insert into app.refunds select i, i from generate_series(1, 3000) i; \
    create index on app.payments (amount); \
    alter database {db} set max_parallel_workers_per_gather = 0; alter database {db} set jit = off; \
    select pg_stat_force_next_flush()";

/// A database with them, analyzed after all that was written has been counted.
fn world() -> Bank {
    let mut bank = Bank::new();
    let db = bank.name.clone();
    bank.db.run(&WORLD.replace("{db}", &db));
    bank.db = bank.session();
    bank.db.run("vacuum analyze app.payments");
    bank.db.run("vacuum analyze app.refunds");
    bank
}

/// What is found, without the row of the plan itself.
fn found(db: &mut Client, settings: &str, query: &str, params: &str, run: bool) -> Vec<String> {
    db.run(&format!("begin; {settings}"));
    let lines = db.lines(&format!(
        "select check_id, severity from troubleshoot.explain($q${query}$q$, {params}, {run}) where check_id <> 'plan'"
    ));
    db.run("rollback");
    lines
}

fn ran(db: &mut Client, settings: &str, query: &str) -> Vec<String> {
    found(db, settings, query, "'{}'", true)
}

#[test]
fn what_is_wrong_is_found_on_real_plans() {
    let mut bank = world();
    let db = &mut bank.db;
    assert_eq!(
        found(db, "", "select * from app.payments where city = $1 and zip = $1", "'{7}'", true),
        ["filter|warning", "misestimate|info"]
    );
    assert_eq!(ran(db, "set local work_mem = '64kB'", "select * from app.payments order by note"), ["spill|info"]);
    let hashed = "set local work_mem = '64kB'; set local enable_mergejoin = off; set local enable_nestloop = off";
    let join = "select count(*) from app.payments p join app.payments q on p.note = q.note";
    assert_eq!(ran(db, hashed, join), ["spill|info"]);
    let grouped = "set local work_mem = '64kB'; set local enable_sort = off";
    assert_eq!(ran(db, grouped, "select note, count(*) from app.payments group by note"), ["spill|info"]);
    let bitmap = "set local work_mem = '64kB'; set local enable_seqscan = off; set local enable_indexscan = off";
    db.run("create table app.wide as select i % 1000 as k, repeat('x', 400) as t from generate_series(1, 40000) i");
    db.run("create index on app.wide (k); select pg_stat_force_next_flush()");
    db.run("vacuum analyze app.wide");
    let lossy = ran(db, bitmap, "select count(t) from app.wide where k between 100 and 700");
    assert_eq!(lossy.iter().filter(|line| line.starts_with("lossy_bitmap")).count(), 1, "{lossy:?}");
    let nested = "set local enable_hashjoin = off; set local enable_mergejoin = off; set local enable_material = off";
    let query =
        "select count(*) from app.payments p join app.refunds r on r.payment = p.id + 1 where p.city = 7 and p.zip = 7";
    let looped = ran(db, nested, query);
    assert!(looped.contains(&"nested_loop|warning".to_owned()), "{looped:?}");
    let subplan = "select id, (select count(*) from app.payments r where r.id = p.id) from app.payments p";
    assert!(ran(db, "", subplan).contains(&"repeated_subplan|info".to_owned()));
}

#[test]
fn tables_that_were_never_analyzed_or_changed_since_are_stale() {
    let mut bank = world();
    let db = &mut bank.db;
    db.run("create table app.fresh (id int) with (autovacuum_enabled = off); alter table app.payments set (autovacuum_enabled = off)");
    db.run("insert into app.fresh select generate_series(1, 5000)");
    db.run("update app.payments set amount = amount + 1 where id <= 40000");
    db.run("select pg_stat_force_next_flush()");
    assert!(found(db, "", "select * from app.fresh", "'{}'", false).contains(&"stale_statistics|warning".to_owned()));
    let remedy = db.one(
        "select object, remediation_sql from troubleshoot.explain('select * from app.payments where id = 1') \
         where check_id = 'stale_statistics'",
    );
    assert_eq!(remedy, "app.payments|ANALYZE app.payments");
    db.run("analyze app.payments");
    assert_eq!(found(db, "", "select * from app.payments where id = 1", "'{}'", false), [""; 0]);
}

#[test]
fn sound_plans_are_silent() {
    let mut bank = world();
    let db = &mut bank.db;
    for query in [
        "select * from app.payments where id = 7",
        "select * from app.payments where amount >= 0 limit 10",
        "select count(*) from app.payments",
        "select count(*) from app.payments p join app.refunds r on r.payment = p.id",
        "select * from app.payments where id in (select payment from app.refunds where id < 10)",
        "values (1), (2)",
        "with few as (select * from app.payments where id < 10) select count(*) from few",
    ] {
        assert_eq!(ran(db, "", query), [""; 0], "{query}");
    }
    let plan = db.one(
        "select severity, node, detail like '1 nodes, cost %, 1 rows expected, 1 came, in % ms', jsonb_typeof(plan) \
         from troubleshoot.explain('select * from app.payments where id = $1', '{7}', true)",
    );
    assert_eq!(plan, "ok|the query|t|array");
}

#[test]
fn a_plan_that_is_not_run_is_judged_too() {
    let mut bank = world();
    let db = &mut bank.db;
    db.run("create table app.large (id int, k int) with (fillfactor = 10); insert into app.large select i, i % 1000 from generate_series(1, 40000) i");
    db.run("create index on app.large (id); select pg_stat_force_next_flush()");
    db.run("vacuum analyze app.large");
    assert_eq!(found(db, "", "select * from app.large where k = 5", "'{}'", false), ["large_scan|info"]);
    let cast = found(db, "", "select * from app.large where id = 5.0", "'{}'", false);
    assert!(cast.contains(&"cast|warning".to_owned()), "{cast:?}");
    // Nothing is run, so what would change rows may be asked about.
    let update = found(db, "", "update app.payments set amount = 0 where id = 7", "'{}'", false);
    assert_eq!(update, [""; 0]);
    assert_eq!(db.count("select count(*) from app.payments where amount = 0"), 60);
}

#[test]
fn the_query_is_planned_as_the_caller_plans_it() {
    let mut bank = world();
    let settings = "select plan -> 0 -> 'Settings' ? 'enable_seqscan', plan -> 0 -> 'Settings' ? 'enable_hashjoin' \
                    from troubleshoot.explain('select 1') where check_id = 'plan'";
    assert_eq!(bank.db.one(settings), "f|f");
    bank.db.run("set enable_seqscan = off; set search_path = app");
    let plan = "select plan -> 0 -> 'Settings' ->> 'enable_seqscan' from troubleshoot.explain('select * from refunds') \
                where check_id = 'plan'";
    assert_eq!(bank.db.one(plan), "off");
}

#[test]
fn parameters_are_read_as_their_place_wants_them() {
    let mut bank = world();
    let db = &mut bank.db;
    let filter = |db: &mut Client, query: &str, params: &str| {
        db.one(&format!(
            "select plan -> 0 -> 'Plan' ->> 'Filter' from troubleshoot.explain($q${query}$q$, {params}) where check_id = 'plan'"
        ))
    };
    let text = filter(
        db,
        "select * from app.payments where note = $1 and city = $2",
        "array['x''); drop table app.payments; --', '3']",
    );
    assert_eq!(text, "((payments.note = 'x''); drop table app.payments; --'::text) AND (payments.city = 3))");
    assert_eq!(filter(db, "select * from app.refunds where payment > $1 * 2", "'{21}'"), "(refunds.payment > 42)");
    assert_eq!(
        refused_with_code_only(
            db,
            "select troubleshoot.explain('select * from app.refunds where id = $1', '{x}')",
            "22P02"
        )
        .code,
        "22P02"
    );
    for params in ["'{}'", "null", "'{1,2}'"] {
        let call = format!("select troubleshoot.explain('select * from app.refunds where id = $1', {params})");
        let refusal = refused(db, &call, "NB526");
        assert!(refusal.detail.contains("has 1 parameters"), "{refusal}");
    }
    assert_eq!(
        filter(db, "select * from app.refunds where payment = coalesce($1, 5)", "'{NULL}'"),
        "(refunds.payment = 5)"
    );
}

#[test]
fn one_statement_with_a_plan_and_nothing_else() {
    let mut bank = world();
    for query in [
        "select 1; drop table app.payments",
        "",
        "vacuum app.payments",
        "select * into app.other from app.payments",
        "create table app.other as select 1",
        "begin",
        "copy app.payments to stdout",
        "call neobank.nothing()",
        "explain select 1",
        "set work_mem = '1GB'",
        "do 'begin end'",
        "declare c cursor for select 1",
    ] {
        let code = if query.is_empty() { "NB021" } else { "NB525" };
        refused(&mut bank.db, &format!("select troubleshoot.explain($q${query}$q$)"), code);
    }
    refused(&mut bank.db, "select troubleshoot.explain(null)", "22004");
    refused(&mut bank.db, "select troubleshoot.explain('select 1', '{}', null)", "22004");
    refused(&mut bank.db, "select troubleshoot.explain(repeat('x', 100001))", "NB021");
    let syntax = refused_with_code_only(&mut bank.db, "select troubleshoot.explain('selec 1')", "42601");
    assert!(syntax.message.contains("selec"), "{syntax}");
    assert_eq!(bank.db.count("select count(*) from app.payments"), 60_000);
}

#[test]
fn nothing_that_a_query_does_stays() {
    let mut bank = world();
    let db = &mut bank.db;
    db.run(
        "create sequence app.numbers; create table app.log (n int); \
         create function app.writes() returns int language plpgsql volatile as $$ begin insert into app.log values (1); return 1; end $$; \
         create function app.frees() returns int language plpgsql volatile as $$ begin \
             perform set_config('transaction_read_only', 'off', true); insert into app.log values (1); return 1; end $$; \
         create function app.sets() returns text language sql volatile as $$ select set_config('work_mem', '7MB', false) $$",
    );
    for query in [
        "select app.writes()",
        "insert into app.log values (1)",
        "update app.payments set amount = 0",
        "delete from app.payments",
        "with gone as (delete from app.payments returning id) select count(*) from gone",
        "select nextval('app.numbers')",
        "select * from app.payments for update",
    ] {
        refused_with_code_only(db, &format!("select troubleshoot.explain($q${query}$q$, '{{}}', true)"), "25006");
    }
    // Whoever would take the restraint off is refused as well.
    let freed = db.fails("select troubleshoot.explain('select app.frees()', '{}', true)");
    assert!(["25001", "22023"].contains(&freed.code.as_str()), "{freed}");
    db.run("select troubleshoot.explain('select app.sets()', '{}', true)");
    assert_eq!(
        db.one("select current_setting('work_mem'), current_setting('transaction_read_only'), current_setting('lock_timeout'), \
                (select count(*) from app.log), (select count(*) from app.payments)"),
        "4MB|off|0|0|60000"
    );
    // The transaction goes on, writes, and holds none of the locks that the plan wanted.
    db.run("begin; select troubleshoot.explain('update app.payments set amount = 0')");
    let held = "select count(*) from pg_locks where pid = pg_backend_pid() and relation = 'app.payments'::regclass";
    assert_eq!(db.count(held), 0);
    db.run("insert into app.log values (2); commit");
    assert_eq!(db.count("select n from app.log"), 2);
}

#[test]
fn a_caller_sees_and_may_no_more_than_by_hand() {
    let mut bank = world();
    let reader = bank.role("reader");
    let nobody = bank.role("nobody");
    bank.db.run(&format!("select neobank.grant_usage('{reader}', 'reader')"));
    let mut session = bank.session_as(&reader);
    assert_eq!(session.lines("select check_id from troubleshoot.explain('select 1', '{}', true)"), ["plan"]);
    refused_with_code_only(&mut session, "select troubleshoot.explain('select * from app.payments')", "42501");
    bank.db.run(&format!("grant usage on schema app to {reader}"));
    refused_with_code_only(&mut session, "select troubleshoot.explain('select * from app.payments')", "42501");
    let mut session = bank.session_as(&nobody);
    refused_with_code_only(&mut session, "select troubleshoot.explain('select 1')", "42501");
}

#[test]
fn it_ends_with_the_statements_timeout_and_does_not_queue_for_locks() {
    let mut bank = world();
    let mut session = bank.session();
    session.run("set statement_timeout = '200ms'");
    refused_with_code_only(&mut session, "select troubleshoot.explain('select pg_sleep(60)', '{}', true)", "57014");
    session.run("reset statement_timeout");
    assert_eq!(session.lines("select check_id from troubleshoot.explain('select 1')"), ["plan"]);
    bank.db.run("begin; lock table app.payments in access exclusive mode");
    refused_with_code_only(&mut session, "select troubleshoot.explain('select * from app.payments')", "55P03");
    bank.db.run("rollback");
    assert_eq!(session.one("show lock_timeout"), "0");
}

#[test]
fn many_explain_side_by_side_at_every_isolation_level() {
    let bank = world();
    let at = |level: &'static str| {
        let mut session = bank.session();
        thread::spawn(move || {
            for _ in 0..5 {
                session.run(&format!("begin isolation level {level}"));
                let query = "select count(*) from troubleshoot.explain('select * from app.payments where city = 7 and zip = 7', '{}', true)";
                assert_eq!(session.count(query), 3);
                session.run("insert into app.refunds values (0, 0); rollback");
            }
        })
    };
    let levels = ["read committed", "repeatable read", "serializable", "read committed"];
    for session in levels.map(at) {
        session.join().expect("each goes on after the other");
    }
}

#[test]
fn a_proposed_index_is_tried_where_hypopg_is_installed() {
    let mut bank = world();
    if bank.db.count("select count(*) from pg_available_extensions where name = 'hypopg'") == 0 {
        skipped("hypothetical indexes", "the server has no hypopg");
        return;
    }
    bank.db.run("create schema tools; create extension hypopg schema tools");
    let tried = bank.db.one(
        "select remediation_sql, remedy from troubleshoot.explain('select * from app.payments where city = 7 and zip = 7', '{}', true) \
         where check_id = 'filter'",
    );
    assert!(
        tried.starts_with("CREATE INDEX CONCURRENTLY ON app.payments (city, zip)|")
            && tried.contains("the cost falls from"),
        "{tried}"
    );
    assert_eq!(bank.db.count("select count(*) from tools.hypopg_list_indexes"), 0);
    // Half of the rows: an index that would not be taken is not proposed.
    bank.db.run("set enable_bitmapscan = off");
    let vain = bank.db.one(
        "select remediation_sql is null, remedy from troubleshoot.explain('select * from app.payments where city < 20', '{}', true) \
         where check_id = 'filter'",
    );
    assert!(vain.starts_with("t|Tried as a hypothetical index"), "{vain}");
}

/// The server doubles a quote within an alias; it was looked for single, and no column was found to index.
#[test]
fn a_table_with_a_quote_in_its_name_gets_its_index() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table public.\"a\"\"b\" (id int, \"c\"\"d\" int); insert into public.\"a\"\"b\" select g, g % 1000 from generate_series(1, 30000) g; \
         analyze public.\"a\"\"b\"",
    );
    let told = bank.db.one(
        "select remediation_sql from troubleshoot.explain('select * from public.\"a\"\"b\" where \"c\"\"d\" = 7', '{}', true) \
         where check_id = 'filter'",
    );
    assert_eq!(told, "CREATE INDEX CONCURRENTLY ON public.\"a\"\"b\" (\"c\"\"d\")");
}
