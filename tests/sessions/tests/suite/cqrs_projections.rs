//! Projections, inline and async: each event once, in its order, whoever appends, runs and fails; and built anew while
//! the old one serves.

use neobank_sessions::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Counts and adds up by aggregate, and keeps the order in which events came.
const TARGET: &str = "create schema app; \
    create table app.totals (aggregate_id uuid primary key, events int not null, total numeric not null, last_version int); \
    create table app.seen (n bigint generated always as identity, position bigint not null); \
    create function app.add(event event_store.events, target regclass) returns void language plpgsql as $$ \
    begin \
      if event.event_data ? 'fail' then raise exception 'cannot' using errcode = 'NB777', detail = 'as asked'; end if; \
      execute format('insert into %s as t values ($1, 1, $2, $3) on conflict (aggregate_id) do update set \
        events = t.events + 1, total = t.total + excluded.total, last_version = excluded.last_version', target) \
        using event.aggregate_id, coalesce((event.event_data ->> 'amount')::numeric, 0), event.event_version; \
    end $$; \
    create function app.see(event event_store.events, target regclass) returns void language plpgsql as $$ \
    begin execute format('insert into %s (position) values ($1)', target) using event.global_position; end $$";

pub fn with_target() -> Bank {
    let mut bank = Bank::new();
    bank.db.run(TARGET);
    bank
}

pub fn append(aggregate: Uuid, amount: impl std::fmt::Display) -> String {
    format!("select event_store.append_event('Thing', '{aggregate}', 'Added', '{{\"amount\": {amount}}}')")
}

const RECOUNT: &str = "select aggregate_id, count(*)::int, sum(coalesce((event_data ->> 'amount')::numeric, 0)), max(event_version) \
                       from event_store.events group by 1";

/// The table is what the events add up to, each counted once.
pub fn is_exact(session: &mut Client, table: &str) {
    let astray = format!("(table {table} except ({RECOUNT})) union all (({RECOUNT}) except table {table})");
    assert_eq!(session.lines(&astray), [""; 0]);
}

/// What a projection reads once all events are final.
fn run(session: &mut Client, arguments: &str) -> i64 {
    all_read(session);
    session.count(&format!("select cqrs.run_projection({arguments})"))
}

pub fn run_all(session: &mut Client, name: &str) {
    all_read(session);
    while session.count(&format!("select coalesce(cqrs.run_projection('{name}', 100), 1)")) > 0 {}
}

pub fn rebuild(session: &mut Client, name: &str, max_events: i64) -> Vec<String> {
    let mut answers: Vec<String> = Vec::new();
    for _ in 0..12_000 {
        let answer = session.one(&format!("select cqrs.run_rebuild('{name}', {max_events})"));
        if answer == "waiting" {
            thread::sleep(Duration::from_millis(10));
        }
        if answers.last() != Some(&answer) {
            answers.push(answer);
        }
        if answers.last().is_some_and(|last| last == "done") {
            return answers;
        }
    }
    panic!("a rebuild never ended: {answers:?}");
}

#[test]
fn an_async_projection_applies_each_event_once_and_in_order() {
    let mut bank = with_target();
    let (a, b) = (Uuid::now_v7(), Uuid::now_v7());
    for n in 0..10 {
        bank.db.run(&append(if n % 2 == 0 { a } else { b }, n));
    }
    bank.db.run(
        "select cqrs.create_projection('totals', 'app.add', 'app.totals'), \
                cqrs.create_projection('seen', 'app.see', 'app.seen', mode => 'async')",
    );
    assert_eq!(run(&mut bank.db, "'totals', 4"), 4);
    assert_eq!(bank.db.count("select sum(events) from app.totals"), 4);
    let status = "select behind, lag > '0', position > 0 from cqrs.projection_status where name = 'totals'";
    assert_eq!(bank.db.one(status), "6|t|t");
    assert_eq!(run(&mut bank.db, "'totals'"), 6);
    assert_eq!(run(&mut bank.db, "'totals'"), 0);
    assert_eq!(bank.db.one(status), "0|f|t");
    is_exact(&mut bank.db, "app.totals");
    // What a transaction that is rolled back has done is done again.
    bank.db.run(&append(a, 5));
    bank.db.run("begin; select cqrs.run_projection('totals'); rollback");
    assert_eq!(bank.db.count("select sum(events) from app.totals"), 10);
    run_all(&mut bank.db, "totals");
    is_exact(&mut bank.db, "app.totals");
    // An event appears once nothing can come before it any more.
    let mut open = bank.session();
    open.run(&format!("begin; {}", append(Uuid::now_v7(), 1)));
    bank.db.run(&append(b, 7));
    assert_eq!(bank.db.count("select cqrs.run_projection('totals')"), 0);
    open.run("commit");
    assert_eq!(run(&mut bank.db, "'totals'"), 2);
    is_exact(&mut bank.db, "app.totals");
    run_all(&mut bank.db, "seen");
    let order = "select array_agg(position order by n) = array_agg(position order by position), count(*) from app.seen";
    assert_eq!(bank.db.one(order), "t|13");
}

#[test]
fn runners_and_appenders_at_once_double_and_lose_nothing() {
    let mut bank = with_target();
    bank.db.run(
        "create table app.now (like app.totals including all); \
         select cqrs.create_projection('later', 'app.add', 'app.totals'), \
                cqrs.create_projection('now', 'app.add', 'app.now', mode => 'inline')",
    );
    let aggregates: Vec<Uuid> = (0..7).map(|_| Uuid::now_v7()).collect();
    let appended = AtomicBool::new(false);
    let done = Arc::new(appended);
    let flag = Arc::clone(&done);
    together(&bank, 6, move |n, session| {
        if n < 3 {
            let mut dice = Dice(n as u64);
            for _ in 0..60 {
                let (first, second) = (aggregates[dice.below(7)], aggregates[dice.below(7)]);
                // In one order, so that they do not wait for each other in a circle.
                let (first, second) = (first.min(second), first.max(second));
                session.run("begin");
                session.run(&append(first, dice.below(50)));
                session.run(&append(second, dice.below(50)));
                session.run(if dice.below(5) == 0 { "rollback" } else { "commit" });
            }
            flag.store(true, Ordering::Relaxed);
        } else {
            let mut quiet = 0;
            while quiet < 5 {
                let read = session.count("select coalesce(cqrs.run_projection('later', 7), -1)");
                quiet = if read == 0 && flag.load(Ordering::Relaxed) { quiet + 1 } else { 0 };
            }
        }
    });
    run_all(&mut bank.db, "later");
    is_exact(&mut bank.db, "app.totals");
    is_exact(&mut bank.db, "app.now");
    assert!(bank.db.count("select count(*) from event_store.events") > 100);
}

#[test]
fn an_error_stops_an_async_projection_before_its_event() {
    let mut bank = with_target();
    let a = Uuid::now_v7();
    bank.db.run("select cqrs.create_projection('totals', 'app.add', 'app.totals')");
    bank.db.run(&append(a, 1));
    bank.db.run(&append(a, 2));
    let bad = bank.db.id(&format!("select event_store.append_event('Thing', '{a}', 'Added', '{{\"fail\": 1}}')"));
    bank.db.run(&append(a, 4));
    let status = "select behind, failures, failed_event, error_code, error_message, error_detail \
                  from cqrs.projection_status";
    for (read, failures) in [(2, 1), (0, 2), (0, 3)] {
        assert_eq!(run(&mut bank.db, "'totals'"), read);
        assert_eq!(bank.db.one(status), format!("2|{failures}|{bad}|NB777|cannot|as asked"));
        assert_eq!(bank.db.one("select events, total from app.totals"), "2|3");
    }
    assert_eq!(bank.db.one("select next_attempt_at > updated_at - interval '1 s' from cqrs.projections"), "t");
    bank.db.run(
        "create or replace function app.add(event event_store.events, target regclass) returns void language plpgsql as $$ begin \
           execute format('insert into %s as t values ($1, 1, $2, $3) on conflict (aggregate_id) do update set \
             events = t.events + 1, total = t.total + excluded.total, last_version = excluded.last_version', target) \
             using event.aggregate_id, coalesce((event.event_data ->> 'amount')::numeric, 0), event.event_version; end $$",
    );
    assert_eq!(run(&mut bank.db, "'totals'"), 2);
    assert_eq!(bank.db.one(status), "0|0||||");
    is_exact(&mut bank.db, "app.totals");
}

#[test]
fn an_inline_projection_is_part_of_the_append() {
    let mut bank = with_target();
    let a = Uuid::now_v7();
    let other = bank.session();
    bank.db.run(&append(a, 100));
    bank.db.run("select cqrs.create_projection('totals', 'app.add', 'app.totals', mode => 'inline')");
    // A session that was there before hears of it too.
    let mut other = other;
    other.run(&append(a, 1));
    assert_eq!(other.one("select events, total from app.totals"), "1|1");
    other.run(&format!(
        "select event_store.append_events('Thing', '{a}', '[{{\"event_type\": \"Added\", \"event_data\": {{\"amount\": 2}}}}, \
         {{\"event_type\": \"Other\", \"event_data\": {{}}}}]')"
    ));
    assert_eq!(other.one("select events, total, last_version from app.totals"), "3|3|4");
    other.run(&format!("begin; {}; rollback", append(a, 50)));
    assert_eq!(other.one("select events, total from app.totals"), "3|3");
    // A retry of what is there is not applied again.
    let id = Uuid::now_v7();
    for _ in 0..2 {
        other.run(&format!(
            "select event_store.append_event('Thing', '{a}', 'Added', '{{\"amount\": 5}}', p_event_id => '{id}')"
        ));
    }
    assert_eq!(other.one("select events, total from app.totals"), "4|8");
    // It fails: so does the append.
    let before = snapshot(&mut bank.db);
    let refusal = other.fails(&format!("select event_store.append_event('Thing', '{a}', 'Added', '{{\"fail\": 1}}')"));
    assert_eq!((&*refusal.code, &*refusal.detail), ("NB777", "as asked"));
    assert_eq!(snapshot(&mut bank.db), before);
    refused(&mut bank.db, "select cqrs.run_projection('totals')", "NB127");
    // Paused it is out of the way, and only a rebuild makes it whole again.
    bank.db.run("select cqrs.pause_projection('totals')");
    other.run(&append(a, 10));
    assert_eq!(other.one("select events from app.totals"), "4");
    refused(&mut bank.db, "select cqrs.resume_projection('totals')", "NB127");
    bank.db.run("select cqrs.rebuild_projection('totals')");
    all_read(&mut bank.db);
    assert_eq!(rebuild(&mut bank.db, "totals", 1_000), ["waiting", "done"]);
    is_exact(&mut bank.db, "app.totals");
    other.run(&append(a, 3));
    is_exact(&mut other, "app.totals");
    bank.db.run("select cqrs.drop_projection('totals')");
    other.run(&append(a, 3));
    assert_eq!(other.one("select events from app.totals"), "7");
    // Its table is gone: appends say so, until the projection is dropped or paused.
    bank.db.run(
        "select cqrs.create_projection('totals', 'app.add', 'app.totals', mode => 'inline'); drop table app.totals",
    );
    refused(&mut other, &append(a, 1), "NB128");
    bank.db.run("select cqrs.drop_projection('totals')");
    other.run(&append(a, 1));
}

#[test]
fn a_filter_lets_through_what_it_names() {
    let mut bank = with_target();
    let filters = [
        ("all", "{}", "6"),
        ("kinds", "{\"event_types\": [\"A\", \"B\"]}", "4"),
        ("things", "{\"aggregate_types\": [\"Thing\"]}", "3"),
        ("tagged", "{\"tags\": [\"x\"]}", "4"),
        ("both", "{\"tags\": [\"x\", \"y\"], \"event_types\": [\"A\"]}", "1"),
        ("none", "{\"aggregate_types\": [\"Nothing\"]}", "0"),
    ];
    for (name, filter, _) in &filters {
        for mode in ["inline", "async"] {
            bank.db.run(&format!(
                "create table app.{name}_{mode} (like app.seen including all); \
                 select cqrs.create_projection('{name}_{mode}', 'app.see', 'app.{name}_{mode}', '{filter}', '{mode}')"
            ));
        }
    }
    for (aggregate_type, event_type, tags) in [
        ("Thing", "A", "{x,y}"),
        ("Thing", "B", "{}"),
        ("Thing", "C", "{x}"),
        ("Other", "A", "{x}"),
        ("Other", "B", "{y,x}"),
        ("Other", "C", "{}"),
    ] {
        bank.db.run(&format!(
            "select event_store.append_event('{aggregate_type}', gen_random_uuid(), '{event_type}', '{{}}', p_tags => '{tags}')"
        ));
    }
    for (name, _, seen) in &filters {
        assert_eq!(run(&mut bank.db, &format!("'{name}_async'")), 6, "all are read");
        for mode in ["inline", "async"] {
            assert_eq!(bank.db.one(&format!("select count(*) from app.{name}_{mode}")), *seen, "{name} {mode}");
        }
    }
}

pub fn run_all_if_async(session: &mut Client, mode: &str) {
    if mode == "async" {
        run_all(session, "totals");
    }
}

#[test]
fn two_sessions_are_not_at_one_projection_at_once() {
    let mut bank = with_target();
    bank.db.run(
        "select cqrs.create_projection('totals', 'app.add', 'app.totals'); select cqrs.rebuild_projection('totals')",
    );
    bank.db.run(&append(Uuid::now_v7(), 1));
    all_read(&mut bank.db);
    let mut holder = bank.session();
    holder.run("begin; select cqrs.run_projection('totals')");
    assert_eq!(bank.db.one("select cqrs.run_projection('totals') is null, cqrs.run_rebuild('totals')"), "t|busy");
    holder.run("rollback");
    assert_eq!(run(&mut bank.db, "'totals'"), 1);
    // Paused, an async one keeps its place.
    bank.db.run("select cqrs.pause_projection('totals')");
    bank.db.run(&append(Uuid::now_v7(), 1));
    refused(&mut bank.db, "select cqrs.run_projection('totals')", "NB127");
    bank.db.run("select cqrs.resume_projection('totals')");
    assert_eq!(run(&mut bank.db, "'totals'"), 1);
    is_exact(&mut bank.db, "app.totals");
}

#[test]
fn what_is_no_projection_is_refused() {
    let mut bank = with_target();
    bank.db.run(
        "create function app.bad(event event_store.events) returns void language sql as ''; \
         create view app.view as select 1; create table app.serial (n serial); \
         create table app.parent (n int primary key); create table app.child (n int references app.parent); \
         create table app.triggered (n int); create function app.t() returns trigger language plpgsql as 'begin end'; \
         create trigger t before insert on app.triggered for each row execute function app.t(); \
         create table app.secured (n int); alter table app.secured enable row level security; \
         create table app.viewed (n int); create view app.viewing as table app.viewed; \
         create table app.typed (n int); create table app.of_it (r app.typed); \
         create table app.split (n int) partition by range (n); \
         select cqrs.create_projection('taken', 'app.see', 'app.seen')",
    );
    for (arguments, code) in [
        ("null, 'app.add', 'app.totals'", "22004"),
        ("'x', null, 'app.totals'", "22004"),
        ("'x', 'app.add', null", "22004"),
        ("'x', 'app.add', 'app.totals', '{}', null", "22004"),
        ("'x', 'app.add', 'app.totals', '{}', 'soon'", "NB021"),
        ("'x', 'app.add', 'app.totals', '[]'", "NB021"),
        ("'x', 'app.add', 'app.totals', '{\"types\": []}'", "NB021"),
        ("' ', 'app.add', 'app.totals'", "NB021"),
        ("'x', 'app.bad', 'app.totals'", "NB122"),
        ("'taken', 'app.add', 'app.totals'", "NB126"),
        ("'x', 'app.add', 'app.view'", "NB128"),
        ("'x', 'app.add', 'app.serial'", "NB128"),
        ("'x', 'app.add', 'app.parent'", "NB128"),
        ("'x', 'app.add', 'app.child'", "NB128"),
        ("'x', 'app.add', 'app.triggered'", "NB128"),
        ("'x', 'app.add', 'app.secured'", "NB128"),
        ("'x', 'app.add', 'app.viewed'", "NB128"),
        ("'x', 'app.add', 'app.typed'", "NB128"),
        ("'x', 'app.add', 'app.split'", "NB128"),
        ("'x', 'app.add', 'banking.customers'", "NB128"),
        ("'x', 'app.add', 0::oid", "NB128"),
    ] {
        refused(&mut bank.db, &format!("select cqrs.create_projection({arguments})"), code);
    }
    for call in [
        "drop_projection",
        "pause_projection",
        "resume_projection",
        "run_projection",
        "rebuild_projection",
        "run_rebuild",
        "cancel_rebuild",
    ] {
        refused(&mut bank.db, &format!("select cqrs.{call}('nothing')"), "NB125");
        refused(&mut bank.db, &format!("select cqrs.{call}(null)"), "22004");
    }
    for call in ["run_projection", "run_rebuild"] {
        refused(&mut bank.db, &format!("select cqrs.{call}('taken', null)"), "22004");
        refused(&mut bank.db, &format!("select cqrs.{call}('taken', 0)"), "NB021");
        refused(&mut bank.db, &format!("select cqrs.{call}('taken', 100001)"), "NB021");
    }
}

#[test]
fn a_projections_handler_has_the_rights_of_its_tables_owner() {
    let mut bank = with_target();
    let [owner, teller] = ["owner", "teller"].map(|name| bank.role(name));
    bank.db.run(&format!(
        "select neobank.grant_usage('{teller}', 'teller'), neobank.grant_usage('{owner}', 'operator'); \
         grant usage, create on schema app to {owner}; \
         create table app.who (role text); alter table app.who owner to {owner}; \
         create function app.who(event event_store.events, target regclass) returns void language plpgsql as $$ begin \
           execute format('insert into %s values (current_user)', target); \
           if event.event_data ? 'sql' then execute event.event_data ->> 'sql'; end if; end $$; \
         select cqrs.create_projection('who', 'app.who', 'app.who', mode => 'inline'); \
         create table app.later (like app.who); alter table app.later owner to {owner}; \
         select cqrs.create_projection('later', 'app.who', 'app.later')"
    ));
    let mut session = bank.session_as(&teller);
    let append = |data: &str| format!("select event_store.append_event('T', gen_random_uuid(), 'E', '{data}')");
    session.run(&append("{}"));
    let mut operator = bank.session_as(&owner);
    assert_eq!(run(&mut operator, "'later'"), 1);
    assert_eq!(bank.db.lines("table app.who union all table app.later"), [&*owner, &*owner]);
    assert_eq!(session.one("select current_user"), teller);
    refused_with_code_only(&mut session, "select * from app.who", "42501");
    // It is no way past the guards, nor out of the role.
    let before = bank.db.count("select count(*) from event_store.events");
    for (sql, code) in [
        ("update event_store.events set created_by = null", "42501"),
        ("reset role", "42501"),
        ("set role postgres", "42501"),
    ] {
        let refusal = session.fails(&append(&format!("{{\"sql\": \"{sql}\"}}")));
        assert!([code, "0LP01"].contains(&&*refusal.code), "{sql}: {refusal}");
    }
    assert_eq!(bank.db.count("select count(*) from event_store.events"), before);
    // A superuser's projection meets the guard.
    bank.db.run("alter table app.who owner to current_user");
    let guarded = append("{\"sql\": \"update event_store.events set event_version = 9\"}");
    refused(&mut bank.db, &guarded, "NB009");
    // Who may run and rebuild, and who may make one.
    operator.run("select cqrs.rebuild_projection('later')");
    rebuild(&mut operator, "later", 1_000);
    assert_eq!(bank.db.one("select relowner::regrole from pg_class where oid = 'app.later'::regclass"), owner);
    operator.run("select cqrs.pause_projection('later'), cqrs.resume_projection('later')");
    for sql in [
        "select cqrs.create_projection('x', 'app.who', 'app.later')",
        "select cqrs.drop_projection('later')",
        "select cqrs.make_twin('app.later')",
        "select cqrs.swap_twin('app.later', 'x')",
        "update cqrs.projections set position = 0",
    ] {
        refused_with_code_only(&mut operator, sql, "42501");
    }
    refused_with_code_only(&mut session, "select cqrs.run_projection('later')", "42501");
    bank.db.run(&format!("grant execute on function cqrs.create_projection to {owner}"));
    refused(&mut bank.db, "select cqrs.create_projection('later', 'app.who', 'app.later')", "NB126");
    let theirs = operator.fails("select cqrs.create_projection('x', 'app.who', 'app.totals')");
    assert_eq!(theirs.code, "NB128", "{theirs}");
    bank.db.run(&format!("drop table app.later; alter schema app owner to current_user; drop owned by {owner}"));
}
