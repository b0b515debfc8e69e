//! Sagas that ended long ago: what goes, what stays, and what is left of them.

use super::saga::*;
use neobank_sessions::*;
use std::thread;

const ALL: &str = "select * from saga.prune(clock_timestamp())";

const OPEN: &str = "{\"name\": \"w\", \"signal\": \"go\"}";

const KID: &str = "{\"name\": \"k\", \"child\": \"kid\"}";

fn keyed(key: &str) -> String {
    format!("select saga.start('t', '{{\"x\": 1.50}}', '{key}')")
}

/// Rows of the tables of sagas: sagas, steps, compensations, signals, log.
fn rows(bank: &mut Bank) -> String {
    bank.db.one(
        "select (select count(*) from saga.sagas), (select count(*) from saga.saga_steps), \
         (select count(*) from saga.compensations), (select count(*) from saga.signals), (select count(*) from saga.transitions)",
    )
}

/// Nothing is there of a saga that is not there.
fn check_whole(bank: &mut Bank) {
    for table in ["saga_steps", "compensations", "signals", "transitions"] {
        let orphans = format!(
            "select t.* from saga.{table} t where not exists (select from saga.sagas s where s.saga_id = t.saga_id)"
        );
        assert_eq!(bank.db.lines(&orphans), [""; 0], "{table}");
    }
    let alone = "select saga_id from saga.sagas c where parent_saga_id is not null and not exists \
                 (select from saga.sagas s where s.saga_id = c.parent_saga_id) \
                 union all select p.saga_id from saga.saga_steps p where child_saga_id is not null and not exists \
                 (select from saga.sagas s where s.saga_id = p.child_saga_id)";
    assert_eq!(bank.db.lines(alone), [""; 0]);
    let both = "select saga_type from saga.sagas join saga.pruned_keys using (saga_type, idempotency_key)";
    assert_eq!(bank.db.lines(both), [""; 0]);
    check_log(bank);
}

#[test]
fn what_ended_before_goes_and_all_else_stays() {
    let mut bank = with_functions();
    define(&mut bank, "t", &["a", "b"].map(|letter| step(letter, "")));
    define(&mut bank, "open", &[OPEN.into(), OPEN.replace("\"w\"", "\"w2\"")]);
    bank.db.run("insert into app.failing values ('do_b', 'NB001')");
    let failed = start(&mut bank, "t");
    bank.db.run("delete from app.failing");
    let started = start(&mut bank, "t");
    // One that fails, one that is completed, one that was never started, one that waits, one that somebody has to look at.
    bank.db.run("insert into app.failing values ('do_b', 'NB001')");
    assert_eq!(run(&mut bank, failed), "failed");
    bank.db.run("insert into app.failing values ('undo_a', 'NB001')");
    let parked = start(&mut bank, "t");
    bank.db.run("update saga.definitions set steps = jsonb_set(steps, '{0,compensation_max_attempts}', '1') where saga_type = 't'");
    let mut fresh = bank.session();
    assert_eq!(fresh.one(&format!("select saga.run('{parked}')")), "parked");
    bank.db.run("delete from app.failing");
    let signalled = start(&mut bank, "open");
    bank.db.run(&format!(
        "select saga.signal('{signalled}', 'go', signal_id => gen_random_uuid()) from generate_series(1, 3)"
    ));
    assert_eq!(run(&mut bank, signalled), "completed");
    let waits = start(&mut bank, "open");
    assert_eq!(run(&mut bank, waits), "running");
    let clients = bank.db.id("select saga.create_saga('client', '{one}')");
    bank.db.run(&format!("select saga.execute_step('{clients}'), saga.execute_step('{clients}')"));
    let turn = bank.db.one("select clock_timestamp()");
    let late = start(&mut bank, "t");
    assert_eq!(run(&mut bank, late), "completed");
    assert_eq!(rows(&mut bank).split('|').next(), Some("7"));
    assert_eq!(bank.db.one("select * from saga.prune('-infinity')"), "0|t");
    assert_eq!(bank.db.one(&format!("select * from saga.prune('{turn}', saga_type => 'nothing')")), "0|t");
    assert_eq!(bank.db.one(&format!("select * from saga.prune('{turn}', saga_type => 'client')")), "1|t");
    assert_eq!(bank.db.one(&format!("select * from saga.prune('{turn}', 1)")), "1|f");
    assert_eq!(bank.db.one(&format!("select * from saga.prune('{turn}')")), "1|t");
    assert_eq!(bank.db.one(&format!("select * from saga.prune('{turn}')")), "0|t");
    let mut left: Vec<String> = [started, parked, waits, late].map(|saga| saga.to_string()).into();
    left.sort();
    assert_eq!(bank.db.lines("select saga_id from saga.sagas order by saga_id::text"), left);
    assert_eq!(rows(&mut bank).split('|').nth(3), Some("0"));
    // None of them had a key; the record says what went.
    assert_eq!(bank.db.count("select count(*) from saga.pruned_keys"), 0);
    assert_eq!(
        bank.db.lines(&format!(
            "select sagas, keys, saga_type, before = '{turn}', pruned_by = session_user, last_completed_at < '{turn}', \
             transitions > 2 from saga.prunings order by pruning_id"
        )),
        ["1|0|client|t|t|t|t", "1|0||t|t|t|t", "1|0||t|t|t|t"]
    );
    for call in [
        format!("saga.run('{failed}')"),
        format!("saga.describe('{signalled}')"),
        format!("saga.cancel('{clients}', 'why')"),
        format!("saga.signal('{failed}', 'go')"),
    ] {
        let refusal = refused(&mut bank.db, &format!("select {call}"), "NB200");
        assert!(call.contains("describe") || refusal.hint.contains("saga.prunings"), "{refusal}");
    }
    check_whole(&mut bank);
    assert_eq!(run(&mut bank, started), "completed");
    bank.db.run(&format!("select saga.resolve('{parked}', 'failed', 'by hand')"));
    assert_eq!(bank.db.one(ALL), "3|t");
    check_whole(&mut bank);
}

#[test]
fn the_key_of_a_saga_that_is_gone_answers_the_same_saga_until_it_is_forgotten() {
    let mut bank = with_functions();
    let teller = bank.role("teller");
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    define(&mut bank, "t", &[step("a", "")]);
    let saga = bank.db.id(&keyed("rent"));
    assert_eq!(run(&mut bank, saga), "completed");
    assert_eq!(bank.db.one(ALL), "1|t");
    assert_eq!(
        bank.db.one("select saga_id, saga_type, idempotency_key, status, error_code from saga.pruned_keys"),
        format!("{saga}|t|rent|completed|")
    );
    for level in ["read committed", "repeatable read", "serializable"] {
        bank.db.run(&format!("begin isolation level {level}"));
        assert_eq!(bank.db.id(&keyed("rent")), saga);
        bank.db.run("commit");
    }
    assert_eq!(rows(&mut bank), "0|0|0|0|0");
    for other in ["1.5", "1.500", "2"] {
        let refusal = refused(&mut bank.db, &keyed("rent").replace("1.50", other), "NB204");
        assert!(refusal.detail.contains(&saga.to_string()), "{refusal}");
    }
    assert_eq!(bank.session_as(&teller).fails(&keyed("rent")).code, "NB204");
    // The key is of its type.
    define(&mut bank, "u", &[step("a", "")]);
    let other = bank.db.id(&keyed("rent").replace("'t'", "'u'"));
    assert_ne!(other, saga);
    assert_eq!(run(&mut bank, other), "completed");
    let turn = bank.db.one("select clock_timestamp()");
    let third = bank.db.id(&keyed("third"));
    assert_eq!(run(&mut bank, third), "completed");
    assert_eq!(bank.db.one(ALL), "2|t");
    assert_eq!(bank.db.one(&format!("select * from saga.forget_keys('{turn}', 1)")), "1|f");
    assert_eq!(bank.db.one(&format!("select * from saga.forget_keys('{turn}')")), "1|t");
    assert_eq!(bank.db.one(&format!("select * from saga.forget_keys('{turn}')")), "0|t");
    assert_eq!(bank.db.lines("select sagas, transitions, keys from saga.prunings order by pruning_id").len(), 4);
    assert_eq!(bank.db.id(&keyed("third")), third);
    let anew = bank.db.id(&keyed("rent"));
    assert_ne!(anew, saga);
    assert_eq!(run(&mut bank, anew), "completed");
    assert_eq!(bank.db.one(ALL), "1|t");
    assert_eq!(bank.db.id(&keyed("rent")), anew);
    // In one transaction too.
    bank.db.run("begin");
    let fourth = bank.db.id(&keyed("fourth"));
    bank.db.run(&format!("select saga.run('{fourth}')"));
    assert_eq!(bank.db.one(ALL), "1|t");
    assert_eq!(bank.db.id(&keyed("fourth")), fourth);
    bank.db.run("rollback");
    assert_ne!(bank.db.id(&keyed("fourth")), fourth);
    check_whole(&mut bank);
}

#[test]
fn a_start_that_waits_for_a_pruning_finds_the_saga_that_it_started() {
    let mut bank = with_functions();
    define(&mut bank, "t", &[step("a", "")]);
    for (n, level) in ["read committed", "repeatable read", "serializable"].iter().enumerate() {
        for ending in ["commit", "rollback"] {
            let key = keyed(&format!("{n} {ending}"));
            let saga = bank.db.id(&key);
            assert_eq!(run(&mut bank, saga), "completed");
            let (mut pruner, mut retrier) = (bank.session(), bank.session());
            let backend = Bank::backend_of(&mut retrier);
            retrier.run(&format!("begin isolation level {level}; select count(*) from saga.sagas"));
            pruner.run("begin");
            assert_eq!(pruner.one(ALL), "1|t");
            let waiting = thread::spawn(move || {
                let found = retrier.id(&key);
                retrier.run("commit");
                found
            });
            bank.wait_until_blocked(backend);
            pruner.run(ending);
            assert_eq!(waiting.join().expect("it answers"), saga, "{level}, {ending}");
            bank.db.run(ALL);
            assert_eq!(rows(&mut bank), "0|0|0|0|0");
        }
    }
    check_whole(&mut bank);
}

#[test]
fn children_go_with_the_saga_that_started_them() {
    let mut bank = with_functions();
    define(&mut bank, "kid", &[step("b", ""), OPEN.into()]);
    define(&mut bank, "middle", &[KID.into()]);
    define(&mut bank, "t", &[step("a", ""), KID.replace("kid", "middle"), KID.replace("\"k\"", "\"k2\"")]);
    let saga = start(&mut bank, "t");
    let due = "update saga.sagas set due_at = now() where due_at is not null";
    let signal = "select saga.signal(s.saga_id, 'go') from saga.sagas s where s.waits_for = 'signal'";
    for _ in 0..4 {
        bank.db.run("select * from saga.run_ready()");
        bank.db.run(due);
    }
    bank.db.run(signal);
    for _ in 0..3 {
        bank.db.run("select * from saga.run_ready()");
        bank.db.run(due);
    }
    // The first child and its own have ended, and their parent has not.
    assert_eq!(bank.db.count("select count(*) from saga.sagas where status = 'completed'"), 2);
    assert_eq!(bank.db.one(ALL), "0|t");
    // A person ends the parent; its last child is still under way, and may look at it.
    bank.db.run("update saga.sagas set status = 'parked', waits_for = 'person', parked_reason = 'x', due_at = null where saga_type = 't'");
    bank.db.run(&format!("select saga.resolve('{saga}', 'failed', 'by hand')"));
    assert_eq!(bank.db.one(ALL), "0|t");
    assert_eq!(bank.db.count("select count(*) from saga.sagas"), 4);
    let turn = bank.db.one("select clock_timestamp()");
    bank.db.run("select * from saga.run_ready()");
    bank.db.run(signal);
    bank.db.run("select * from saga.run_ready()");
    assert_eq!(bank.db.count("select count(*) from saga.sagas where status in ('completed', 'failed')"), 4);
    assert_eq!(bank.db.one(&format!("select * from saga.prune('{turn}')")), "0|t", "the last of them ended later");
    // Another session has one of them.
    let mut other = bank.session();
    other.run("begin; select from saga.sagas where saga_type = 'middle' for update");
    assert_eq!(bank.db.one(ALL), "0|f");
    other.run("rollback");
    // They are more than were asked for, and go all the same.
    assert_eq!(bank.db.one("select * from saga.prune(clock_timestamp(), 2)"), "4|t");
    assert_eq!(rows(&mut bank), "0|0|0|0|0");
}

#[test]
fn what_is_wrong_is_refused() {
    let mut bank = with_functions();
    define(&mut bank, "t", &[step("a", "")]);
    let saga = start(&mut bank, "t");
    run(&mut bank, saga);
    for (call, code) in [
        ("saga.prune(null)", "22004"),
        ("saga.prune(now(), null)", "22004"),
        ("saga.prune(now() + interval '1 minute')", "NB021"),
        ("saga.prune('infinity')", "NB021"),
        ("saga.prune(now(), 0)", "NB021"),
        ("saga.prune(now(), 10001)", "NB021"),
        ("saga.prune(now(), 1, '')", "NB021"),
        ("saga.prune(now(), 1, repeat('x', 101))", "NB021"),
        ("saga.forget_keys(null)", "22004"),
        ("saga.forget_keys(now(), null)", "22004"),
        ("saga.forget_keys('infinity')", "NB021"),
        ("saga.forget_keys(now(), 0)", "NB021"),
        ("saga.forget_keys(now(), 100001)", "NB021"),
    ] {
        refused(&mut bank.db, &format!("select {call}"), code);
    }
    let before = snapshot(&mut bank.db);
    bank.db.run(&format!("begin; {ALL}; rollback"));
    assert_eq!(snapshot(&mut bank.db), before);
    // Only the function deletes from the log, and its record stays.
    bank.db.run(ALL);
    for write in [
        "delete from saga.transitions",
        "truncate saga.transitions",
        "delete from saga.prunings",
        "update saga.prunings set sagas = 0",
        "insert into saga.prunings (pruned_by, before, sagas, transitions, keys) values ('x', now(), 1, 1, 1)",
    ] {
        refused(&mut bank.db, write, "NB009");
    }
    refused_with_code_only(&mut bank.db, "begin; call saga.run_prune(now())", "2D000");
    bank.db.run("rollback");
    let [teller, operator] = ["teller", "operator"].map(|level| {
        let role = bank.role(level);
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        role
    });
    let saga = start(&mut bank, "t");
    run(&mut bank, saga);
    let (mut low, mut high) = (bank.session_as(&teller), bank.session_as(&operator));
    for call in
        ["select * from saga.prune(now())", "select * from saga.forget_keys(now())", "call saga.run_prune(now())"]
    {
        refused_with_code_only(&mut low, call, "42501");
    }
    assert_eq!(low.count("select count(*) from saga.prunings"), 1);
    high.run("call saga.run_prune(now())");
    assert_eq!(high.one("select * from saga.forget_keys(now())"), "0|t");
    assert_eq!(bank.db.one("select pruned_by from saga.prunings order by pruning_id desc limit 1"), operator);
}

#[test]
fn a_step_may_prune() {
    let mut bank = with_functions();
    define(&mut bank, "t", &[step("a", "")]);
    for _ in 0..3 {
        let saga = start(&mut bank, "t");
        run(&mut bank, saga);
    }
    bank.db.run(
        "create function app.tidy(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb \
         language sql as $$ select to_jsonb(p) from saga.prune(clock_timestamp()) p $$",
    );
    define(&mut bank, "nightly", &["{\"name\": \"tidy\", \"action\": \"app.tidy\"}".into()]);
    let saga = start(&mut bank, "nightly");
    assert_eq!(run(&mut bank, saga), "completed");
    assert_eq!(bank.db.one("select output_data from saga.saga_steps"), "{\"done\": true, \"sagas\": 3}");
    check_whole(&mut bank);
}

#[test]
fn it_goes_on_in_parts_which_other_sessions_see() {
    let mut bank = with_functions();
    define(&mut bank, "t", &[step("a", "")]);
    define(&mut bank, "u", &[step("a", "")]);
    bank.db.run("select saga.start(case when n % 2 = 0 then 't' else 'u' end, idempotency_key => n::text) from generate_series(1, 50) n");
    assert_eq!(bank.db.count("select count(*) from saga.run_ready(50)"), 50);
    for level in ["read committed", "repeatable read", "serializable"] {
        bank.db.run(&format!("begin isolation level {level}"));
        assert_eq!(bank.db.one("select * from saga.prune(clock_timestamp(), 7)"), "7|f");
        bank.db.run("commit");
    }
    // What another session holds is left, and nobody waits for it.
    let mut other = bank.session();
    other.run("begin; select from saga.sagas where saga_type = 'u' limit 1 for update");
    bank.db.run("call saga.run_prune(clock_timestamp(), 10)");
    let progress = "select sum(sagas), max(sagas), count(*) from saga.prunings";
    assert_eq!(bank.session().one(progress), "49|10|6");
    assert_eq!(bank.db.one(ALL), "0|f");
    other.run("rollback");
    assert_eq!(bank.db.one(ALL), "1|t");
    assert_eq!(bank.db.count("select count(distinct saga_id) from saga.pruned_keys"), 50);
    check_whole(&mut bank);
}

#[test]
fn several_prune_beside_workers_and_retries() {
    let _crowd = crowd();
    let mut bank = with_functions();
    define(&mut bank, "kid", &[step("b", "")]);
    define(&mut bank, "t", &[step("a", ""), KID.into()]);
    let started = together(&bank, 6, |n, session| {
        let mut started = Vec::new();
        for round in 0..40 {
            match n {
                // Each key twice by each of two sessions: now, and when its saga may be gone.
                0 | 1 => {
                    started.push((round, session.id(&keyed(&round.to_string()))));
                    started.push((round / 3, session.id(&keyed(&(round / 3).to_string()))));
                }
                2 | 3 => {
                    session.run("select * from saga.run_ready(5)");
                    session.run(
                        "update saga.sagas set due_at = clock_timestamp() where saga_id = (select saga_id \
                                 from saga.sagas where waits_for = 'child' limit 1 for update skip locked)",
                    );
                }
                _ => session.run("select * from saga.prune(clock_timestamp(), 4)"),
            }
        }
        started
    });
    for _ in 0..20 {
        bank.db.run("select * from saga.run_ready(1000)");
        bank.db.run("update saga.sagas set due_at = now() where due_at is not null");
    }
    assert_eq!(bank.db.count("select count(*) from saga.sagas where status not in ('completed', 'failed')"), 0);
    check_whole(&mut bank);
    bank.db.run(ALL);
    assert_eq!(rows(&mut bank), "0|0|0|0|0");
    let mut by_key: Vec<(usize, Uuid)> = started.into_iter().flatten().collect();
    by_key.sort();
    by_key.dedup();
    assert_eq!(by_key.len(), 40, "a key has one saga");
    assert_eq!(bank.db.count("select count(*) from saga.pruned_keys"), 40);
    assert_eq!(bank.db.count("select sum(sagas) from saga.prunings"), 80);
    assert_eq!(bank.db.one("select count(*), count(distinct effect) from app.effects"), "80|80");
}
