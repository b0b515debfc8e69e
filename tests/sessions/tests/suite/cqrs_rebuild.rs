//! Projections built anew while the old one serves.

use super::cqrs_projections::{append, is_exact, rebuild, run_all, run_all_if_async, with_target};
use neobank_sessions::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[test]
fn a_rebuild_serves_the_old_table_until_it_has_all() {
    for mode in ["inline", "async"] {
        let mut bank = with_target();
        let aggregates: Vec<Uuid> = (0..5).map(|_| Uuid::now_v7()).collect();
        for n in 0..400 {
            bank.db.run(&append(aggregates[n % 5], n));
        }
        let reader = bank.role("reads");
        bank.db.run(&format!(
            "create index on app.totals (total); comment on table app.totals is 'kept'; \
             alter table app.totals set (fillfactor = 70); \
             select cqrs.create_projection('totals', 'app.add', 'app.totals', mode => '{mode}'); \
             grant usage on schema app to {reader}; grant select on app.totals to {reader} with grant option; \
             grant update (total) on app.totals to {reader}; \
             insert into app.totals values ('{}', 7, 7, 7); select cqrs.rebuild_projection('totals')",
            Uuid::now_v7()
        ));
        let names = "select string_agg(relname, ',' order by relname), \
                     (select relacl::text || reloptions::text || obj_description(oid, 'pg_class') || relowner::regrole from pg_class \
                      where oid = 'app.totals'::regclass), \
                     (select attacl::text from pg_attribute where attrelid = 'app.totals'::regclass and attname = 'total') \
                     from pg_index i join pg_class c on c.oid = indexrelid where indrelid = 'app.totals'::regclass";
        let before = bank.db.one(names);
        refused(&mut bank.db, "select cqrs.rebuild_projection('totals')", "NB127");
        all_read(&mut bank.db);
        assert_eq!(bank.db.one("select cqrs.run_rebuild('totals', 100)"), "replaying");
        let mut other = bank.session();
        let seen =
            "select rebuild_state, rebuild_position > 0, rebuild_started_at is not null from cqrs.projection_status";
        assert_eq!(other.one(seen), "replaying|t|t");
        // The old one is what it was, and an inline one goes on.
        assert_eq!(other.count("select count(*) from app.totals where events = 7"), 1);
        other.run(&append(aggregates[0], 1));
        other.run(&format!("begin; {}", append(aggregates[1], 1)));
        if mode == "inline" {
            let mut answer = String::new();
            for _ in 0..8 {
                answer = bank.db.one("select cqrs.run_rebuild('totals', 100)");
            }
            assert_eq!(answer, "waiting", "an append is under way");
            assert_eq!(bank.db.one(seen), "waiting|t|t");
        }
        other.run("commit");
        rebuild(&mut bank.db, "totals", 100);
        run_all_if_async(&mut bank.db, mode);
        is_exact(&mut bank.db, "app.totals");
        assert_eq!(bank.db.one(names), before, "names, grants, comment, options and owner are kept");
        assert_eq!(bank.session_as(&reader).count("select count(*) from app.totals"), 5);
        assert_eq!(bank.db.one(seen), "|f|f".replace("|f|f", "||f"));
        other.run(&append(aggregates[2], 9));
        run_all_if_async(&mut bank.db, mode);
        is_exact(&mut bank.db, "app.totals");
    }
}

#[test]
fn rebuilds_under_load_are_whole_at_every_moment() {
    for mode in ["inline", "async"] {
        let mut bank = with_target();
        bank.db.run(&format!("select cqrs.create_projection('totals', 'app.add', 'app.totals', mode => '{mode}')"));
        let aggregates: Arc<Vec<Uuid>> = Arc::new((0..6).map(|_| Uuid::now_v7()).collect());
        for aggregate in aggregates.iter() {
            bank.db.run(&append(*aggregate, 1));
        }
        run_all_if_async(&mut bank.db, mode);
        let stop = Arc::new(AtomicBool::new(false));
        let mut sessions = Vec::new();
        for n in 0..3u64 {
            let (mut session, stop, aggregates) = (bank.session(), Arc::clone(&stop), Arc::clone(&aggregates));
            let level = if n == 0 { "repeatable read" } else { "read committed" };
            sessions.push(thread::spawn(move || {
                let mut dice = Dice(n);
                for _ in 0..2_000 {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let (a, b) = (aggregates[dice.below(6)], aggregates[dice.below(6)]);
                    session.run(&format!("begin isolation level {level}"));
                    let work = [append(a.min(b), 1), append(a.max(b), 2)]
                        .iter()
                        .try_for_each(|sql| session.try_lines(sql).map(drop));
                    let end = if work.is_ok() && dice.below(6) > 0 { "commit" } else { "rollback" };
                    if let Err(refusal) = work {
                        assert_eq!(refusal.code, "40001", "{refusal}");
                    }
                    session.run(end);
                }
            }));
        }
        let (mut reader, halt) = (bank.session(), Arc::clone(&stop));
        let reading = thread::spawn(move || {
            let mut least = 0;
            while !halt.load(Ordering::Relaxed) {
                let events = reader.count("select coalesce(sum(events), 0) from app.totals");
                assert!(events >= least, "the projection went back from {least} to {events}");
                least = events;
            }
        });
        for _ in 0..4 {
            bank.db.run("select cqrs.rebuild_projection('totals')");
            let answers = rebuild(&mut bank.db, "totals", 50);
            assert_eq!(answers.last().map(String::as_str), Some("done"));
            if mode == "async" {
                bank.db.run("select cqrs.run_projection('totals', 1000)");
            }
        }
        stop.store(true, Ordering::Relaxed);
        for session in sessions {
            session.join().expect("no session fails");
        }
        reading.join().expect("the reader sees all at every moment");
        run_all_if_async(&mut bank.db, mode);
        is_exact(&mut bank.db, "app.totals");
        assert_eq!(bank.db.count("select generation from cqrs.projections"), 4);
        assert_eq!(bank.db.count("select count(*) from pg_class where relname like 'rebuild%'"), 0);
    }
}

#[test]
fn a_transaction_that_knows_the_old_table_only_does_not_write_to_the_new_one() {
    let mut bank = with_target();
    let a = Uuid::now_v7();
    bank.db.run("select cqrs.create_projection('totals', 'app.add', 'app.totals', mode => 'inline')");
    bank.db.run(&append(a, 1));
    let mut old = bank.session();
    old.run("begin isolation level repeatable read; select count(*) from app.totals");
    bank.db.run("create table app.keep as table app.totals; select cqrs.rebuild_projection('totals')");
    old.run("commit; begin isolation level repeatable read; select count(*) from event_store.events");
    rebuild(&mut bank.db, "totals", 1_000);
    let refusal = old.fails(&append(a, 1));
    assert_eq!(refusal.code, "40001", "{refusal}");
    old.run("rollback; begin isolation level repeatable read");
    old.run(&append(a, 1));
    old.run("commit");
    is_exact(&mut bank.db, "app.totals");
}

/// It took the table from the statement that waited, so it was the one that was put aside meanwhile: 22004 out of the
/// middle of the next rebuild.
#[test]
fn who_waits_for_the_end_of_a_rebuild_works_on_the_new_table() {
    let mut bank = with_target();
    bank.db.run(&append(Uuid::now_v7(), 1));
    bank.db.run("select cqrs.create_projection('totals', 'app.add', 'app.totals')");
    run_all(&mut bank.db, "totals");
    bank.db.run("select cqrs.rebuild_projection('totals')");
    let (mut first, mut second) = (bank.session(), bank.session());
    first.run("begin");
    assert_eq!(first.one("select cqrs.run_rebuild('totals')"), "done");
    let backend = Bank::backend_of(&mut second);
    let waits = std::thread::spawn(move || second.run("select cqrs.rebuild_projection('totals')"));
    bank.wait_until_blocked(backend);
    first.run("commit");
    waits.join().expect("it begins another one");
    rebuild(&mut bank.db, "totals", 1_000);
    is_exact(&mut bank.db, "app.totals");
}

#[test]
fn a_rebuild_can_be_given_up_and_fails_as_a_whole() {
    let mut bank = with_target();
    let a = Uuid::now_v7();
    bank.db.run(&append(a, 1));
    bank.db.run("select cqrs.create_projection('totals', 'app.add', 'app.totals')");
    run_all(&mut bank.db, "totals");
    for call in ["run_rebuild", "cancel_rebuild"] {
        refused(&mut bank.db, &format!("select cqrs.{call}('totals')"), "NB127");
    }
    bank.db.run("select cqrs.rebuild_projection('totals'), cqrs.cancel_rebuild('totals')");
    bank.db.run("begin; select cqrs.rebuild_projection('totals'), cqrs.run_rebuild('totals'); rollback");
    assert_eq!(bank.db.count("select count(*) from pg_class where relname like 'rebuild%'"), 0);
    is_exact(&mut bank.db, "app.totals");
    bank.db.run(&format!("select event_store.append_event('Thing', '{a}', 'Added', '{{\"fail\": 1}}')"));
    bank.db.run("select cqrs.rebuild_projection('totals')");
    all_read(&mut bank.db);
    let refusal = bank.db.fails("select cqrs.run_rebuild('totals')");
    assert_eq!((&*refusal.code, &*refusal.message), ("NB777", "cannot"));
    assert_eq!(bank.db.one("select rebuild_position from cqrs.projection_status"), "0");
    assert_eq!(bank.db.one("select cqrs.run_rebuild('totals', 1)"), "replaying", "up to the bad one it goes");
    bank.db.run("select cqrs.drop_projection('totals')");
    assert_eq!(bank.db.count("select count(*) from pg_class where relname like 'rebuild%'"), 0);
    assert_eq!(bank.db.count("select count(*) from app.totals"), 1, "the table stays");
    let mut old = bank.session();
    bank.db.run(
        "select cqrs.create_projection('totals', 'app.see', 'app.seen'); select cqrs.rebuild_projection('totals')",
    );
    old.run("begin isolation level repeatable read");
    assert_eq!(old.fails("select cqrs.run_rebuild('totals')").code, "NB029");
    // Something came to refer to the table meanwhile: it is not lost by a swap.
    bank.db.run("create view app.v as table app.seen");
    refused(&mut bank.db, "select cqrs.run_rebuild('totals')", "NB128");
    bank.db.run("drop view app.v");
    rebuild(&mut bank.db, "totals", 1_000);
    assert_eq!(bank.db.count("select count(*) from app.seen"), 2);
}
