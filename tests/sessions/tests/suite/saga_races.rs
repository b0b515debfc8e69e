//! Several sessions on the same sagas, whose rights steps have, and transactions that do not commit.

use super::saga::*;
use neobank_sessions::*;

const OUTSIDE: &str = "{\"name\": \"o\", \"action\": \"external\", \"compensation\": \"app.undo_b\"}";

/// No effect counts twice, and what failed is undone.
fn check_effects(bank: &mut Bank) {
    let twice = "select saga, what from app.effects group by 1, 2 having count(*) > 1";
    assert_eq!(bank.db.lines(twice), [""; 0]);
    let wrong = "select s.saga_id from saga.sagas s join app.effects e on e.saga = s.saga_id \
                 group by 1 having case s.status when 'completed' then bool_or(e.what like 'undo%') \
                 when 'failed' then count(*) filter (where e.what like 'do%') > count(*) filter (where e.what like 'undo%') end";
    assert_eq!(bank.db.lines(wrong), [""; 0]);
    check_log(bank);
}

#[test]
fn each_saga_is_run_by_one_session() {
    let mut bank = with_functions();
    define(&mut bank, "t", &["a", "b", "c"].map(|letter| step(letter, "")));
    bank.db.run("select count(saga.start('t')) from generate_series(1, 300)");
    let done = together(&bank, 4, |_, session| {
        let mut done = 0;
        loop {
            let sagas = session.count("select count(*) from saga.run_ready(20)");
            done += sagas;
            if sagas == 0 {
                return done;
            }
        }
    });
    assert_eq!(done.iter().sum::<i64>(), 300);
    assert_eq!(bank.db.one("select count(*), count(distinct effect) from app.effects"), "900|900");
    assert_eq!(bank.db.one("select count(*) from saga.sagas where status = 'completed'"), "300");
    check_effects(&mut bank);
}

#[test]
fn two_sessions_on_one_saga_take_turns() {
    let mut bank = with_functions();
    define(&mut bank, "t", &["a", "b"].map(|letter| step(letter, "")));
    let saga = start(&mut bank, "t");
    let said = together(&bank, 5, move |_, session| session.one(&format!("select saga.run('{saga}')")));
    assert_eq!(said, ["completed"; 5]);
    assert_eq!(effects(&mut bank, saga), ["do_a", "do_b"]);
    // One that is held is passed over.
    let saga = start(&mut bank, "t");
    bank.db.run(&format!("begin; select saga.run('{saga}')"));
    assert_eq!(bank.session().lines("select * from saga.run_ready()"), [""; 0]);
    bank.db.run("rollback");
    assert_eq!(effects(&mut bank, saga), [""; 0]);
    assert_eq!(bank.session().lines("select status from saga.run_ready()"), ["completed"]);
    check_effects(&mut bank);
}

#[test]
fn cancelling_and_completing_at_once_agree_on_one_outcome() {
    let mut bank = with_functions();
    define(&mut bank, "t", &[step("a", ""), OUTSIDE.into(), step("c", "")]);
    for _ in 0..12 {
        let saga = start(&mut bank, "t");
        run(&mut bank, saga);
        let claimed = bank.db.one("select step_id, lease_token from saga.claim_step('w')");
        let (step, token) = claimed.split_once('|').expect("two columns");
        let complete = format!("select saga.complete_step('{step}', {token})");
        together(&bank, 3, move |n, session| match n {
            0 => drop(session.try_lines(&complete)),
            1 => drop(session.try_lines(&format!("select saga.cancel('{saga}', 'why')"))),
            _ => drop(session.try_lines("select * from saga.run_ready()")),
        });
        bank.db.run("select * from saga.run_ready()");
        let state = state(&mut bank, saga);
        let effects = effects(&mut bank, saga);
        match state.as_str() {
            "completed||" => assert_eq!(effects, ["do_a", "do_c"]),
            // The worker's answer counts, whichever came first.
            "failed||NB212" => assert!(effects.ends_with(&["undo_b".into(), "undo_a".into()]), "{effects:?}"),
            other => panic!("{other}"),
        }
    }
    check_log(&mut bank);
}

#[test]
fn many_workers_and_runners_lose_nothing() {
    let mut bank = with_functions();
    let outside = OUTSIDE.replace("app.undo_b", "external");
    define(&mut bank, "t", &[step("a", ""), outside, "{\"name\": \"w\", \"signal\": \"go\"}".into(), step("c", "")]);
    bank.db.run("select count(saga.start('t')) from generate_series(1, 40)");
    together(&bank, 6, |n, session| {
        for round in 0..60 {
            if session.count("select count(*) from saga.sagas where status not in ('completed', 'failed')") == 0 {
                break;
            }
            match n {
                0 | 1 => session.run("select * from saga.run_ready(5)"),
                2 | 3 => {
                    for claimed in
                        session.lines("select step_id, lease_token from saga.claim_step('w', max_steps => 3)")
                    {
                        let (step, token) = claimed.split_once('|').expect("two columns");
                        session.run(&format!("select saga.complete_step('{step}', {token})"));
                    }
                }
                4 => session.run(
                    "select saga.signal(s.saga_id, 'go') from saga.sagas s where s.status in ('started', 'running') \
                     and not exists (select from saga.signals g where g.saga_id = s.saga_id) limit 5",
                ),
                _ if round % 7 == 0 => {
                    let cancel =
                        "select saga.cancel(s.saga_id, 'why') from saga.sagas s where s.status = 'running' limit 1";
                    // It may have come to its end since it was looked for.
                    if let Err(refusal) = session.try_lines(cancel) {
                        assert!(["NB201", "NB207"].contains(&refusal.code.as_str()), "{refusal}");
                    }
                }
                _ => {}
            }
        }
    });
    for _ in 0..200 {
        if bank.db.count("select count(*) from saga.sagas where status not in ('completed', 'failed')") == 0 {
            break;
        }
        bank.db.run("select * from saga.run_ready()");
        bank.db.run("select saga.complete_step(step_id, lease_token) from saga.claim_step('w', max_steps => 100)");
        bank.db.run(
            "select saga.signal(s.saga_id, 'go') from saga.sagas s where s.waits_for = 'signal' \
             and not exists (select from saga.signals g where g.saga_id = s.saga_id)",
        );
    }
    assert_eq!(bank.db.count("select count(*) from saga.sagas where status not in ('completed', 'failed')"), 0);
    check_log(&mut bank);
    let twice = "select saga, what from app.effects group by 1, 2 having count(*) > 1";
    assert_eq!(bank.db.lines(twice), [""; 0]);
}

#[test]
fn steps_have_the_rights_of_whoever_started() {
    let mut bank = with_functions();
    let [reader, teller, operator] = ["reader", "teller", "operator"].map(|level| {
        let role = bank.role(level);
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        role
    });
    define(&mut bank, "t", &[step("a", "")]);
    let [mut low, mut mid, mut high] = [&reader, &teller, &operator].map(|role| bank.session_as(role));
    let saga = mid.id("select saga.start('t')");
    assert_eq!(high.one("select status from saga.run_ready()"), "completed");
    assert_eq!(bank.db.one("select by_role = 'postgres', by_role from app.effects"), format!("f|{teller}"));
    assert_eq!(bank.db.lines("select distinct actor from saga.transitions order by 1"), {
        let mut actors = vec![teller.clone(), operator.clone()];
        actors.sort();
        actors
    });
    assert_eq!(low.one(&format!("select status from saga.sagas where saga_id = '{saga}'")), "completed");
    for sql in
        ["select saga.start('t')", "select saga.create_saga('t', '{a}')", "select saga.cancel(gen_random_uuid(), 'x')"]
    {
        refused_with_code_only(&mut low, sql, "42501");
    }
    for sql in [
        "select saga.define('t', '[]')",
        "select saga.run(gen_random_uuid())",
        "select saga.run_ready()",
        "select saga.claim_step('w')",
        "select saga.complete_step(gen_random_uuid(), 1)",
        "select saga.fail_step(gen_random_uuid(), 1, 'x')",
        "select saga.extend_lease(gen_random_uuid(), 1)",
        "select saga.retry_step(gen_random_uuid(), 'x')",
        "select saga.retry_compensation(gen_random_uuid(), 'x')",
        "select saga.resolve(gen_random_uuid(), 'failed', 'x')",
        "update saga.sagas set started_by = 'postgres'",
        "insert into saga.signals (saga_id, name, payload) values (gen_random_uuid(), 'go', '{}')",
    ] {
        refused_with_code_only(&mut mid, sql, "42501");
    }
    refused_with_code_only(&mut high, "select saga.define('t', '[]')", "42501");
    // What the starter may not do the saga may not.
    bank.db.run("revoke all on app.effects from public");
    let saga = mid.id("select saga.start('t')");
    assert_eq!(high.one("select status, code from saga.run_ready()"), "failed|42501");
    bank.db.run("grant all on app.effects to public; revoke execute on function app.do_a from public");
    mid.run("select saga.start('t')");
    assert_eq!(high.one("select status, code from saga.run_ready()"), "failed|42501");
    // A role that is gone has none.
    bank.db.run(&format!("grant execute on function app.do_a to public; update saga.sagas set status = 'started', error_code = null, \
                          error_message = null, completed_at = null, current_step = 0, due_at = now(), started_by = 'nobody at all' \
                          where saga_id = '{saga}'; update saga.saga_steps set status = 'pending' where saga_id = '{saga}'"));
    assert_eq!(high.one("select status, code from saga.run_ready()"), "failed|NB124");
    // A step cannot become somebody else.
    bank.db.run(
        "create or replace function app.do_a(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb \
                 language plpgsql as $$ begin execute 'set role postgres'; return '{}'; end $$",
    );
    mid.run("select saga.start('t')");
    assert_eq!(high.one("select status, code from saga.run_ready()"), "failed|42501");
    assert_eq!(high.one("select current_user"), operator);
}

#[test]
fn a_cancelled_statement_undoes_the_batch_and_nothing_else() {
    let mut bank = with_functions();
    bank.db.run(
        "create function app.slow(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb \
                 language plpgsql as $$ begin perform pg_sleep(30); return '{}'; end $$",
    );
    define(&mut bank, "t", &[step("a", "")]);
    define(&mut bank, "slow", &["{\"name\": \"s\", \"action\": \"app.slow\"}".into()]);
    let (quick, slow) = (start(&mut bank, "t"), start(&mut bank, "slow"));
    let before = snapshot(&mut bank.db);
    bank.db.run("set statement_timeout = 200");
    assert_eq!(bank.db.fails("select * from saga.run_ready()").code, "57014");
    bank.db.run("reset statement_timeout");
    assert_eq!(snapshot(&mut bank.db), before);
    assert_eq!(run(&mut bank, quick), "completed");
    assert_eq!(bank.db.one(&format!("select saga.cancel('{slow}', 'too slow')")), "compensating");
    assert_eq!(run(&mut bank, slow), "failed");
    check_log(&mut bank);
}

#[test]
fn above_read_committed_a_saga_is_decided_on_as_it_is() {
    let mut bank = with_functions();
    define(&mut bank, "t", &[step("a", ""), "{\"name\": \"w\", \"signal\": \"go\"}".into()]);
    for level in ["repeatable read", "serializable"] {
        let saga = start(&mut bank, "t");
        let mut other = bank.session();
        other.run(&format!("begin isolation level {level}; select count(*) from saga.sagas"));
        run(&mut bank, saga);
        bank.db.run(&format!("select saga.signal('{saga}', 'go')"));
        let refusal = other.fails(&format!("select saga.cancel('{saga}', 'why')"));
        assert_eq!(refusal.code, "40001");
        other.run("rollback");
        other.run(&format!("begin isolation level {level}; select saga.run('{saga}'); commit"));
        assert_eq!(state(&mut bank, saga), "completed||");
    }
    check_effects(&mut bank);
}
