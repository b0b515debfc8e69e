//! Sagas that fail: retries, compensation in reverse order, once each, parking, and what a person decides.

use super::saga::*;
use neobank_sessions::*;

fn failing(bank: &mut Bank, what: &str, code: &str) {
    bank.db.run(&format!(
        "insert into app.failing values ('{what}', '{code}') on conflict (what) do update set code = excluded.code"
    ));
}

fn mended(bank: &mut Bank, what: &str) {
    bank.db.run(&format!("delete from app.failing where what = '{what}'"));
}

fn attempts(bank: &mut Bank, saga: Uuid) -> Vec<String> {
    bank.db.lines(&format!("select attempts from saga.saga_steps where saga_id = '{saga}' order by step_number"))
}

#[test]
fn what_was_done_is_undone_in_reverse_order() {
    let mut bank = with_functions();
    let without = step("c", "").replace(", \"compensation\": \"app.undo_c\"", "");
    define(&mut bank, "t", &[step("a", ""), step("b", ""), without, step("d", "")]);
    failing(&mut bank, "do_d", "NB001");
    let saga = start(&mut bank, "t");
    assert_eq!(
        bank.db.lines("select status, step_number, code, message from saga.run_ready()"),
        ["failed|4|NB001|no luck: as asked"]
    );
    // The effect of the step that failed is rolled back.
    assert_eq!(effects(&mut bank, saga), ["do_a", "do_b", "do_c", "undo_b", "undo_a"]);
    assert_eq!(steps(&mut bank, saga), ["compensated", "compensated", "completed", "failed"]);
    let keys = "select count(distinct effect) from app.effects";
    assert_eq!(bank.db.count(keys), 5);
    let undone = "select what, outputs from app.effects where what like 'undo%' order by n limit 1";
    assert!(bank.db.one(undone).contains("\"b\": {"));
    assert_eq!(run(&mut bank, saga), "failed");
    assert_eq!(effects(&mut bank, saga).len(), 5);
    assert_eq!(
        bank.db.one("select error_code, error_message, step_name, compensated_steps from saga.failed_sagas"),
        "NB001|no luck: as asked|d|2"
    );
    check_log(&mut bank);
}

#[test]
fn what_may_pass_is_tried_again_and_refusals_are_not() {
    let mut bank = with_functions();
    define(&mut bank, "t", &[step("a", ""), step("b", ", \"max_attempts\": 4")]);
    for (code, tried) in
        [("P0001", "4"), ("NB101", "4"), ("58030", "4"), ("NB001", "1"), ("23505", "1"), ("42501", "1")]
    {
        failing(&mut bank, "do_b", code);
        let saga = start(&mut bank, "t");
        assert_eq!(run(&mut bank, saga), "failed");
        assert_eq!(attempts(&mut bank, saga), ["1", tried], "{code}");
        assert_eq!(effects(&mut bank, saga), ["do_a", "undo_a"]);
    }
    check_log(&mut bank);
    // A delay lies between attempts, and the saga is not due before.
    define(
        &mut bank,
        "slow",
        &[step("b", ", \"max_attempts\": 2, \"backoff_most_ms\": 900000")
            .replace("\"backoff_ms\": 0", "\"backoff_ms\": 900000")],
    );
    failing(&mut bank, "do_b", "P0001");
    let saga = start(&mut bank, "slow");
    assert_eq!(bank.db.one("select status, waits_for, code from saga.run_ready()"), "running|runner|P0001");
    assert_eq!(bank.db.lines("select * from saga.run_ready()"), [""; 0]);
    let due = "select extract(epoch from due_at - now()) between 440 and 901 from saga.sagas where status = 'running'";
    assert_eq!(bank.db.one(due), "t");
    mended(&mut bank, "do_b");
    bank.db.run("update saga.saga_steps set next_attempt_at = now(); update saga.sagas set due_at = now() where due_at is not null");
    assert_eq!(bank.db.one("select status from saga.run_ready()"), "completed");
    assert_eq!(attempts(&mut bank, saga), ["2"]);
}

#[test]
fn a_lock_in_the_way_counts_as_no_attempt() {
    let mut bank = with_functions();
    define(&mut bank, "t", &[step("a", ", \"max_attempts\": 1")]);
    failing(&mut bank, "do_a", "55P03");
    let saga = start(&mut bank, "t");
    assert_eq!(run(&mut bank, saga), "running");
    assert_eq!(bank.db.one("select status, attempts, put_off, error_code from saga.saga_steps"), "waiting|0|1|55P03");
    bank.db.run("update saga.saga_steps set next_attempt_at = now(), put_off = 100");
    assert_eq!(run(&mut bank, saga), "failed");
    check_log(&mut bank);
}

#[test]
fn a_compensation_that_keeps_failing_parks_the_saga() {
    let mut bank = with_functions();
    let more = ", \"compensation_max_attempts\": 3";
    define(&mut bank, "t", &[step("a", more), step("b", more), step("c", more)]);
    failing(&mut bank, "do_c", "NB001");
    failing(&mut bank, "undo_a", "NB011");
    let saga = start(&mut bank, "t");
    assert_eq!(run(&mut bank, saga), "parked");
    assert_eq!(state(&mut bank, saga), "parked|person|NB001");
    assert_eq!(effects(&mut bank, saga), ["do_a", "do_b", "undo_b"]);
    assert_eq!(
        bank.db.one("select direction, step_name, error_code, attempts, parked_reason, saga_error_code, parked_at is not null from saga.parked_sagas"),
        "compensating|a|NB011|3|the compensation of step a failed after 3 attempts: no luck: as asked|NB001|t"
    );
    assert!(bank.db.one("select reason from saga.stuck_sagas").starts_with("parked: the compensation of step a"));
    assert_eq!(bank.db.lines("select * from saga.run_ready()"), [""; 0]);
    assert_eq!(run(&mut bank, saga), "parked");
    refused(&mut bank.db, &format!("select saga.retry_step('{saga}', 'again')"), "NB201");
    refused(&mut bank.db, &format!("select saga.resolve('{saga}', 'step_failed', 'x')"), "NB201");
    refused(&mut bank.db, &format!("select saga.resolve('{saga}', 'nothing', 'x')"), "NB021");
    refused(&mut bank.db, &format!("select saga.retry_compensation('{saga}', ' ')"), "NB021");
    let retry = format!("select saga.retry_compensation('{saga}', 'the account is open again')");
    assert_eq!(bank.db.one(&retry), "compensating");
    assert_eq!(run(&mut bank, saga), "parked");
    mended(&mut bank, "undo_a");
    bank.db.run(&retry);
    assert_eq!(bank.db.lines("select status from saga.run_ready()"), ["failed"]);
    assert_eq!(effects(&mut bank, saga), ["do_a", "do_b", "undo_b", "undo_a"]);
    refused(&mut bank.db, &retry, "NB201");
    check_log(&mut bank);
    // By hand.
    failing(&mut bank, "undo_b", "NB011");
    let saga = start(&mut bank, "t");
    assert_eq!(run(&mut bank, saga), "parked");
    assert_eq!(
        bank.db.one(&format!("select saga.resolve('{saga}', 'step_done', 'paid back in cash')")),
        "compensating"
    );
    assert_eq!(run(&mut bank, saga), "failed");
    assert_eq!(effects(&mut bank, saga), ["do_a", "do_b", "undo_a"]);
    let saga = start(&mut bank, "t");
    run(&mut bank, saga);
    assert_eq!(bank.db.one(&format!("select saga.resolve('{saga}', 'completed', 'settled')")), "completed");
    refused(&mut bank.db, &format!("select saga.resolve('{saga}', 'failed', 'no')"), "NB201");
    check_log(&mut bank);
}

#[test]
fn past_the_point_of_no_return_it_only_goes_on() {
    let mut bank = with_functions();
    let plain = |letter: &str, more: &str| {
        step(letter, more).replace(&format!(", \"compensation\": \"app.undo_{letter}\""), "")
    };
    define(
        &mut bank,
        "t",
        &[step("a", ""), plain("b", ", \"point_of_no_return\": true"), plain("c", ", \"max_attempts\": 2")],
    );
    failing(&mut bank, "do_c", "NB001");
    let saga = bank.db.id("select saga.start('t', '{}', null, now() + '1 hour')");
    // Even a refusal is tried again there.
    assert_eq!(run(&mut bank, saga), "parked");
    assert_eq!(attempts(&mut bank, saga), ["1", "1", "2"]);
    assert_eq!(bank.db.one("select direction, step_name, error_code from saga.parked_sagas"), "forward|c|NB001");
    assert_eq!(effects(&mut bank, saga), ["do_a", "do_b"]);
    for sql in ["select saga.cancel('#', 'no')", "select saga.resolve('#', 'step_failed', 'no')"] {
        refused(&mut bank.db, &sql.replace('#', &saga.to_string()), "NB207");
    }
    refused(&mut bank.db, &format!("select saga.retry_compensation('{saga}', 'again')"), "NB201");
    bank.db.run("update saga.sagas set deadline_at = now() - interval '1 second'");
    mended(&mut bank, "do_c");
    assert_eq!(bank.db.one(&format!("select saga.retry_step('{saga}', 'again')")), "running");
    assert_eq!(run(&mut bank, saga), "completed");
    failing(&mut bank, "do_c", "NB001");
    let saga = start(&mut bank, "t");
    assert_eq!(run(&mut bank, saga), "parked");
    assert_eq!(
        bank.db.one(&format!("select saga.resolve('{saga}', 'step_done', 'by hand', '{{\"ref\": 7}}')")),
        "running"
    );
    assert_eq!(run(&mut bank, saga), "completed");
    let output = format!("select output_data from saga.saga_steps where saga_id = '{saga}' and step_number = 3");
    assert_eq!(bank.db.one(&output), "{\"ref\": 7}");
    // The step of no return itself may fail like any other.
    failing(&mut bank, "do_b", "NB001");
    let saga = start(&mut bank, "t");
    assert_eq!(run(&mut bank, saga), "failed");
    assert_eq!(effects(&mut bank, saga), ["do_a", "undo_a"]);
    check_log(&mut bank);
}

#[test]
fn a_deadline_or_a_timeout_undoes() {
    let mut bank = with_functions();
    define(&mut bank, "t", &[step("a", ""), "{\"name\": \"w\", \"signal\": \"go\"}".into()]);
    let saga = bank.db.id("select saga.start('t', '{}', null, now() + '1 hour')");
    assert_eq!(run(&mut bank, saga), "running");
    assert_eq!(bank.db.one("select due_at = deadline_at from saga.sagas"), "t");
    bank.db.run("update saga.sagas set deadline_at = now(), due_at = now()");
    assert_eq!(bank.db.lines("select status, code from saga.run_ready()"), ["failed|NB211"]);
    assert_eq!(effects(&mut bank, saga), ["do_a", "undo_a"]);
    let saga = bank.db.id("select saga.start('t', '{}', null, now() - interval '1 hour')");
    assert_eq!(run(&mut bank, saga), "failed");
    assert_eq!(effects(&mut bank, saga), [""; 0]);
    define(
        &mut bank,
        "timed",
        &[step("a", ", \"timeout_ms\": 60000").replace("\"backoff_ms\": 0", "\"backoff_ms\": 1000")],
    );
    failing(&mut bank, "do_a", "P0001");
    let saga = start(&mut bank, "timed");
    assert_eq!(run(&mut bank, saga), "running");
    bank.db.run("update saga.saga_steps set timeout_at = now() where status = 'waiting'");
    assert_eq!(run(&mut bank, saga), "failed");
    assert_eq!(state(&mut bank, saga), "failed||NB210");
    check_log(&mut bank);
}
