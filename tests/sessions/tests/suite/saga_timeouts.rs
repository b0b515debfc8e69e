//! Functions of steps that take longer than they may: each is interrupted, what it did is rolled back, and neither the
//! saga's other steps nor the session's other statements notice.

use super::saga::*;
use neobank_sessions::*;
use std::time::{Duration, Instant};

/// Functions that leave a row behind and then go on for as long as the saga's context says.
const SLOW: &str = "create function app.linger(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb \
      language plpgsql as $$ begin insert into app.effects (saga, effect, what) values (saga_id, effect_id, 'linger'); \
        perform pg_sleep((context ->> 'seconds')::float8); return null; end $$; \
    create function app.compute(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb \
      language plpgsql as $$ declare n bigint := 0; begin \
        insert into app.effects (saga, effect, what) values (saga_id, effect_id, 'compute'); \
        loop n := n + 1; end loop; end $$; \
    create function app.queue_up(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb \
      language plpgsql as $$ begin insert into app.effects (saga, effect, what) values (saga_id, effect_id, 'queue_up'); \
        lock table app.failing; return null; end $$; \
    create function app.insist(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb \
      language plpgsql as $$ begin perform pg_sleep(60); return null; \
      exception when query_canceled then \
        insert into app.effects (saga, effect, what) values (saga_id, effect_id, 'insist'); return '\"after all\"'; end $$; \
    create function app.compute_deaf(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb \
      language plpgsql as $$ begin \
        return to_jsonb(length(sha512(convert_to(lpad('', (context ->> 'size')::int, 'x'), 'UTF8')))); end $$";

fn with_slow_functions() -> Bank {
    let mut bank = with_functions();
    bank.db.run(SLOW);
    bank
}

fn slow(name: &str, more: &str) -> String {
    format!("{{\"name\": \"{name}\", \"action\": \"app.{name}\"{more}}}")
}

fn start_for(bank: &mut Bank, saga_type: &str, seconds: f64, deadline: &str) -> Uuid {
    bank.db.id(&format!("select saga.start('{saga_type}', '{{\"seconds\": {seconds}}}', null, {deadline})"))
}

#[test]
fn a_function_that_exceeds_its_timeout_is_interrupted_and_rolled_back() {
    let mut bank = with_slow_functions();
    for name in ["linger", "compute"] {
        let timed = slow(name, ", \"timeout_ms\": 300, \"max_attempts\": 9");
        define(&mut bank, name, &[step("a", ""), timed, step("b", "")]);
        define(&mut bank, "quick", &[step("c", "")]);
        let saga = start_for(&mut bank, name, 600.0, "null");
        let other = start(&mut bank, "quick");
        let began = Instant::now();
        assert_eq!(
            bank.db.lines("select status, code, message from saga.run_ready()"),
            [format!("failed|NB210|step {name} was not completed in time"), "completed||".to_owned()]
        );
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(60), "{took:?}");
        assert_eq!(effects(&mut bank, saga), ["do_a", "undo_a"]);
        assert_eq!(effects(&mut bank, other), ["do_c"]);
        assert_eq!(steps(&mut bank, saga), ["compensated", "failed", "pending"]);
        assert_eq!(
            bank.db.one(&format!(
                "select attempts, error_code from saga.saga_steps where saga_id = '{saga}' and step_number = 2"
            )),
            "1|NB210"
        );
        check_log(&mut bank);
    }
    // So is one that waits for a lock, where it has the patience.
    bank.db.run("set neobank.queue_lock_timeout = 0");
    define(&mut bank, "lock", &[slow("queue_up", ", \"timeout_ms\": 300")]);
    let saga = start(&mut bank, "lock");
    let mut blocker = bank.session();
    blocker.run("begin; lock table app.failing in access share mode");
    assert_eq!(run(&mut bank, saga), "failed");
    assert_eq!((state(&mut bank, saga), effects(&mut bank, saga).len()), ("failed||NB210".to_owned(), 0));
}

#[test]
fn the_deadline_interrupts_what_may_be_undone() {
    let mut bank = with_slow_functions();
    define(&mut bank, "t", &[step("a", ""), slow("linger", ", \"timeout_ms\": 600000")]);
    let saga = start_for(&mut bank, "t", 600.0, "clock_timestamp() + '3 s'");
    assert_eq!(run(&mut bank, saga), "failed");
    assert_eq!(state(&mut bank, saga), "failed||NB211");
    assert_eq!(effects(&mut bank, saga), ["do_a", "undo_a"]);
    // Once it has begun, the step of no return is ended by its own timeout only; then the saga is undone, as it was
    // rolled back.
    define(&mut bank, "t", &[step("a", ""), slow("linger", ", \"point_of_no_return\": true")]);
    let saga = start_for(&mut bank, "t", 3.5, "clock_timestamp() + '3 s'");
    assert_eq!(run(&mut bank, saga), "completed");
    let timed = ", \"point_of_no_return\": true, \"timeout_ms\": 200";
    define(&mut bank, "t", &[step("a", ""), slow("linger", timed)]);
    let saga = start_for(&mut bank, "t", 600.0, "null");
    assert_eq!(run(&mut bank, saga), "failed");
    assert_eq!(effects(&mut bank, saga), ["do_a", "undo_a"]);
    // Past it, somebody has to see to it.
    let last = step("b", ", \"point_of_no_return\": true").replace(", \"compensation\": \"app.undo_b\"", "");
    define(&mut bank, "t", &[step("a", ""), last, slow("linger", ", \"timeout_ms\": 200")]);
    let saga = start_for(&mut bank, "t", 600.0, "clock_timestamp() + '1 hour'");
    assert_eq!(run(&mut bank, saga), "parked");
    assert_eq!(
        bank.db.one(&format!("select error_code, parked_reason from saga.parked_sagas where saga_id = '{saga}'")),
        "NB210|step linger failed past the point of no return: step linger was not completed in time"
    );
    assert_eq!(effects(&mut bank, saga), ["do_a", "do_b"]);
    bank.db.run(
        "create or replace function app.linger(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) \
                 returns jsonb language sql as 'select null::jsonb'",
    );
    assert_eq!(bank.db.one(&format!("select saga.retry_step('{saga}', 'it is quick now')")), "running");
    assert_eq!(run(&mut bank, saga), "completed");
    check_log(&mut bank);
}

#[test]
fn a_function_that_ends_in_spite_of_it_has_ended() {
    let mut bank = with_slow_functions();
    define(&mut bank, "t", &[slow("insist", ", \"timeout_ms\": 200"), step("a", "")]);
    let saga = start(&mut bank, "t");
    assert_eq!(run(&mut bank, saga), "completed");
    assert_eq!(effects(&mut bank, saga), ["insist", "do_a"]);
    // One that does not look whether it is to stop hears of it when it returns.
    define(&mut bank, "t", &[slow("compute_deaf", ", \"timeout_ms\": 50"), step("a", "")]);
    let saga = bank.db.id("select saga.start('t', '{\"size\": 100000000}')");
    assert_eq!(run(&mut bank, saga), "failed");
    assert_eq!(effects(&mut bank, saga), [""; 0]);
}

/// Many calls end at about the moment of their timeout: whichever comes first, it concerns nothing but the call.
#[test]
fn a_timeout_that_comes_as_the_function_ends_cancels_nothing_else() {
    let mut bank = with_slow_functions();
    define(&mut bank, "t", &[slow("linger", ", \"timeout_ms\": 2"), step("a", "")]);
    bank.db.run("select saga.start('t', jsonb_build_object('seconds', 0.0005 + n % 20 * 0.0001)) from generate_series(1, 400) n");
    let mut ended = 0;
    while ended < 400 {
        let lines = bank.db.lines("select status, code from saga.run_ready(40)");
        assert!(lines.iter().all(|line| line == "completed|" || line == "failed|NB210"), "{lines:?}");
        ended += lines.len();
    }
    let whole = "select s.status, count(*) filter (where e.what = 'linger') - count(distinct s.saga_id) * (s.status = 'completed')::int, \
                   count(*) filter (where e.what = 'do_a') - count(distinct s.saga_id) * (s.status = 'completed')::int \
                 from saga.sagas s left join app.effects e on e.saga = s.saga_id group by s.status";
    for line in bank.db.lines(whole) {
        assert!(line.ends_with("|0|0"), "{line}");
    }
    check_log(&mut bank);
}

#[test]
fn a_cancelled_statement_is_none_of_the_steps_timeouts() {
    let mut bank = with_slow_functions();
    define(&mut bank, "t", &[step("a", ""), slow("linger", ", \"timeout_ms\": 600000")]);
    let saga = start_for(&mut bank, "t", 600.0, "null");
    bank.db.run("set statement_timeout = '300ms'");
    refused_with_code_only(&mut bank.db, &format!("select saga.run('{saga}')"), "57014");
    bank.db.run("reset statement_timeout");
    assert_eq!(steps(&mut bank, saga), ["pending", "pending"]);
    assert_eq!(effects(&mut bank, saga), [""; 0]);
    // The alarm went with the statement.
    define(&mut bank, "brief", &[slow("linger", ", \"timeout_ms\": 1000")]);
    let saga = start_for(&mut bank, "brief", 600.0, "null");
    bank.db.run("set statement_timeout = '300ms'");
    refused_with_code_only(&mut bank.db, &format!("select saga.run('{saga}')"), "57014");
    bank.db.run("reset statement_timeout; select pg_sleep(1.5)");
}
