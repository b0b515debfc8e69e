//! Steps that workers do outside: leases, fencing tokens, late answers, and what is not known.

use super::saga::*;
use neobank_sessions::*;

const OUTSIDE: &str = "{\"name\": \"o\", \"action\": \"external\", \"compensation\": \"external\", \"type\": \"scheme\", \
                       \"max_attempts\": 2, \"backoff_ms\": 0}";

struct Claim {
    step: Uuid,
    token: i64,
    kind: String,
    effect: Uuid,
}

fn claims(db: &mut Client, arguments: &str) -> Vec<Claim> {
    let sql = format!("select step_id, lease_token, kind, effect_id from saga.claim_step({arguments})");
    let claim = |line: &String| {
        let parts: Vec<&str> = line.split('|').collect();
        Claim {
            step: parts[0].parse().expect("an id"),
            token: parts[1].parse().expect("a number"),
            kind: parts[2].to_owned(),
            effect: parts[3].parse().expect("an id"),
        }
    };
    db.lines(&sql).iter().map(claim).collect()
}

fn claim(db: &mut Client) -> Claim {
    let mut all = claims(db, "'w', '{scheme}'");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

impl Claim {
    fn complete(&self) -> String {
        format!("select saga.complete_step('{}', {}, '{{\"ref\": 1.50}}')", self.step, self.token)
    }

    fn fail(&self, more: &str) -> String {
        format!("select saga.fail_step('{}', {}, 'they say no'{more})", self.step, self.token)
    }

    fn extend(&self, ms: i32) -> String {
        format!("select saga.extend_lease('{}', {}, {ms})", self.step, self.token)
    }
}

/// As if all leases had run out.
fn time_passes(bank: &mut Bank) {
    bank.db.run(
        "update saga.saga_steps set leased_until = now() - interval '1 second' where leased_until is not null; \
         update saga.compensations set leased_until = now() - interval '1 second' where leased_until is not null; \
         update saga.sagas set work_at = now() - interval '1 second' where work_at is not null; \
         update saga.sagas set due_at = now() where due_at is not null",
    );
}

fn waiting(bank: &mut Bank, tail: &[String]) -> Uuid {
    define(bank, "t", &[&[step("a", ""), OUTSIDE.to_owned()], tail].concat());
    let saga = start(bank, "t");
    assert_eq!(run(bank, saga), "running");
    saga
}

#[test]
fn a_worker_claims_a_step_and_completes_it() {
    let mut bank = with_functions();
    let saga = waiting(&mut bank, &[step("b", "")]);
    assert_eq!(state(&mut bank, saga), "running|worker|");
    assert_eq!(claims(&mut bank.db, "'w', '{other}'").len(), 0);
    let told = "select saga_type, step_number, step_name, kind, work_type, attempt, leased_until > now(), context, outputs, effect_id = step_id \
                from saga.claim_step('w')";
    bank.db.run("begin");
    assert_eq!(bank.db.one(told), "t|2|o|action|scheme|1|t|{\"x\": 1.50}|{\"a\": {\"x\": 1.50, \"of\": \"do_a\"}}|t");
    bank.db.run("rollback");
    let mine = claim(&mut bank.db);
    assert_eq!(claims(&mut bank.db, "'w', '{scheme}'").len(), 0);
    assert_eq!(bank.db.lines("select * from saga.run_ready()"), [""; 0]);
    for (sql, code) in [
        (format!("select saga.complete_step('{}', {})", mine.step, mine.token + 1), "NB205"),
        (format!("select saga.complete_step(gen_random_uuid(), {})", mine.token), "NB209"),
        (format!("select saga.complete_step(null, {})", mine.token), "22004"),
        (format!("select saga.complete_step('{}', null)", mine.step), "22004"),
        (format!("select saga.complete_step('{}', {}, null)", mine.step, mine.token), "22004"),
        (format!("select saga.fail_step('{}', {}, null)", mine.step, mine.token), "22004"),
        (format!("select saga.fail_step('{}', {}, ' ')", mine.step, mine.token), "NB021"),
        (format!("select saga.extend_lease('{}', {}, 0)", mine.step, mine.token), "NB021"),
        (format!("select saga.extend_lease('{}', {}, null)", mine.step, mine.token), "22004"),
        ("select saga.claim_step(null)".to_owned(), "22004"),
        ("select saga.claim_step('w', '{null}')".to_owned(), "NB021"),
        ("select saga.claim_step('w', null, 0)".to_owned(), "NB021"),
        ("select saga.claim_step('w', null, 1, 0)".to_owned(), "NB021"),
    ] {
        refused(&mut bank.db, &sql, code);
    }
    bank.db.run("begin isolation level serializable");
    assert_eq!(bank.db.fails("select saga.claim_step('w')").code, "NB029");
    bank.db.run("rollback");
    // A lease is made longer, not shorter.
    let later = format!("select ({}) > now() + interval '50 seconds'", mine.extend(60_000));
    assert_eq!(bank.db.one(&later), "t");
    let still = format!("select ({}) > now() + interval '50 seconds'", mine.extend(1));
    assert_eq!(bank.db.one(&still), "t");
    for _ in 0..2 {
        assert_eq!(bank.db.one(&mine.complete()), "completed");
    }
    refused(&mut bank.db, &mine.fail(""), "NB205");
    refused(&mut bank.db, &mine.extend(1_000), "NB205");
    assert_eq!(bank.db.one("select status from saga.run_ready()"), "completed");
    assert_eq!(bank.db.one(&mine.complete()), "completed");
    let given = "select outputs -> 'o' from app.effects where what = 'do_b'";
    assert_eq!(bank.db.one(given), "{\"ref\": 1.50}");
    assert_eq!(effects(&mut bank, saga), ["do_a", "do_b"]);
    check_log(&mut bank);
}

#[test]
fn a_stalled_worker_is_refused_when_it_comes_back() {
    let mut bank = with_functions();
    let saga = waiting(&mut bank, &[]);
    let stalled = claim(&mut bank.db);
    time_passes(&mut bank);
    let second = claim(&mut bank.db);
    assert!(second.token > stalled.token && second.effect == stalled.effect);
    for sql in [stalled.complete(), stalled.fail(""), stalled.extend(1_000)] {
        refused(&mut bank.db, &sql, "NB205");
    }
    assert_eq!(bank.db.one(&second.complete()), "completed");
    refused(&mut bank.db, &stalled.complete(), "NB205");
    assert_eq!(run(&mut bank, saga), "completed");
    // A lease that ran out and was not handed on still counts.
    let saga = waiting(&mut bank, &[]);
    let late = claim(&mut bank.db);
    time_passes(&mut bank);
    assert_eq!(bank.db.one(&late.complete()), "completed");
    assert_eq!(run(&mut bank, saga), "completed");
    check_log(&mut bank);
}

#[test]
fn a_step_without_an_answer_is_undone_though_it_failed() {
    let mut bank = with_functions();
    let saga = waiting(&mut bank, &[]);
    let first = claim(&mut bank.db);
    time_passes(&mut bank);
    assert_eq!(bank.db.one("select status, waits_for from saga.run_ready()"), "running|worker");
    refused(&mut bank.db, &first.complete(), "NB205");
    claim(&mut bank.db);
    time_passes(&mut bank);
    // Its two attempts are used up, and nobody knows what became of them.
    assert_eq!(bank.db.one("select status, waits_for, code from saga.run_ready()"), "compensating|worker|NB213");
    let undo = claim(&mut bank.db);
    assert_eq!(undo.kind, "compensation");
    assert!(undo.effect != first.effect && undo.step == first.step);
    assert_eq!(bank.db.one(&undo.fail("")), "waiting");
    assert_eq!(bank.db.one(&undo.fail("")), "waiting");
    let again = claim(&mut bank.db);
    assert_eq!((again.effect, again.kind.as_str()), (undo.effect, "compensation"));
    refused(&mut bank.db, &undo.complete(), "NB205");
    assert_eq!(bank.db.one(&again.complete()), "completed");
    assert_eq!(bank.db.one("select status from saga.run_ready()"), "failed");
    assert_eq!(steps(&mut bank, saga), ["compensated", "compensated"]);
    assert_eq!(bank.db.one("select output_data from saga.compensations where step_number = 2"), "{\"ref\": 1.50}");
    check_log(&mut bank);
}

#[test]
fn a_worker_says_how_it_failed() {
    let mut bank = with_functions();
    for (more, undone) in [(", false", false), (", false, true", true)] {
        let saga = waiting(&mut bank, &[]);
        let mine = claim(&mut bank.db);
        assert_eq!(bank.db.one(&mine.fail(more)), "failed");
        let waits = if undone { "worker" } else { "" };
        assert_eq!(
            bank.db.one("select status, waits_for from saga.run_ready()"),
            format!("{}|{waits}", if undone { "compensating" } else { "failed" })
        );
        if undone {
            let undo = claim(&mut bank.db);
            bank.db.run(&undo.complete());
            assert_eq!(run(&mut bank, saga), "failed");
        }
        assert_eq!(effects(&mut bank, saga), ["do_a", "undo_a"]);
        assert_eq!(state(&mut bank, saga), "failed||NB215");
    }
    // Once more where it may be tried again.
    let saga = waiting(&mut bank, &[]);
    for answer in ["waiting", "failed"] {
        let mine = claim(&mut bank.db);
        assert_eq!(bank.db.one(&mine.fail("")), answer);
    }
    assert_eq!(run(&mut bank, saga), "failed");
    check_log(&mut bank);
}

#[test]
fn the_outcome_of_a_step_of_no_return_is_a_persons_to_find_out() {
    let mut bank = with_functions();
    let submit = OUTSIDE
        .replace("\"compensation\": \"external\", ", "")
        .replace("\"max_attempts\": 2", "\"max_attempts\": 1, \"point_of_no_return\": true");
    define(&mut bank, "t", &[step("a", ""), submit]);
    let mut parked = || {
        let saga = start(&mut bank, "t");
        run(&mut bank, saga);
        claim(&mut bank.db);
        // It may be under way at the other bank.
        refused(&mut bank.db, &format!("select saga.cancel('{saga}', 'no')"), "NB207");
        bank.db.run("update saga.sagas set deadline_at = now() where status = 'running'");
        assert_eq!(run(&mut bank, saga), "running");
        time_passes(&mut bank);
        assert_eq!(bank.db.one("select status from saga.run_ready()"), "parked");
        saga
    };
    let (done, failed) = (parked(), parked());
    assert_eq!(bank.db.one(&format!("select saga.resolve('{done}', 'step_done', 'they have it')")), "running");
    assert_eq!(run(&mut bank, done), "completed");
    assert_eq!(
        bank.db.one(&format!("select saga.resolve('{failed}', 'step_failed', 'they have not')")),
        "compensating"
    );
    assert_eq!(run(&mut bank, failed), "failed");
    assert_eq!(effects(&mut bank, failed), ["do_a", "undo_a"]);
    check_log(&mut bank);
}

#[test]
fn a_cancelled_saga_hears_the_worker_out() {
    let mut bank = with_functions();
    let saga = waiting(&mut bank, &[]);
    let mine = claim(&mut bank.db);
    assert_eq!(bank.db.one(&format!("select saga.cancel('{saga}', 'not wanted')")), "compensating");
    assert_eq!(bank.db.one("select status, waits_for from saga.run_ready()"), "compensating|worker");
    assert_eq!(claims(&mut bank.db, "'w', '{scheme}'").len(), 0);
    refused(&mut bank.db, &mine.extend(1_000), "NB201");
    assert_eq!(bank.db.one(&mine.complete()), "completed");
    assert_eq!(bank.db.one("select status, waits_for from saga.run_ready()"), "compensating|worker");
    let undo = claim(&mut bank.db);
    bank.db.run(&undo.complete());
    assert_eq!(run(&mut bank, saga), "failed");
    assert_eq!(state(&mut bank, saga), "failed||NB212");
    assert_eq!(bank.db.one(&format!("select saga.cancel('{saga}', 'again')")), "failed");
    // One that nobody has claimed yet is not claimed any more.
    let saga = waiting(&mut bank, &[]);
    bank.db.run(&format!("select saga.cancel('{saga}', 'not wanted')"));
    assert_eq!(claims(&mut bank.db, "'w', '{scheme}'").len(), 0);
    assert_eq!(run(&mut bank, saga), "failed");
    assert_eq!(effects(&mut bank, saga), ["do_a", "undo_a"]);
    check_log(&mut bank);
}

/// A worker reported a failure, a person found that the step was done and said so; told once more, the same worker was
/// answered "completed" as if it had said that.
#[test]
fn a_worker_is_refused_when_a_person_has_decided() {
    let mut bank = with_functions();
    let submit = OUTSIDE
        .replace("\"compensation\": \"external\", ", "")
        .replace("\"max_attempts\": 2", "\"max_attempts\": 1, \"point_of_no_return\": true");
    define(&mut bank, "t", &[step("a", ""), submit]);
    let mut parked = || {
        let saga = start(&mut bank, "t");
        run(&mut bank, saga);
        let mine = claim(&mut bank.db);
        for _ in 0..2 {
            assert_eq!(bank.db.one(&mine.fail(", false, true")), "failed");
        }
        refused(&mut bank.db, &mine.complete(), "NB205");
        (saga, mine)
    };
    let (sagas, claims): (Vec<Uuid>, Vec<Claim>) = (0..5).map(|_| parked()).unzip();
    for (saga, decision, then) in [
        (sagas[0], "resolve('?', 'step_done', 'they have it')", "completed"),
        (sagas[1], "resolve('?', 'step_failed', 'they have not')", "failed"),
        (sagas[2], "resolve('?', 'completed', 'enough')", "completed"),
        (sagas[3], "resolve('?', 'failed', 'enough')", "failed"),
        (sagas[4], "retry_step('?', 'once more')", "running"),
    ] {
        bank.db.run(&format!("select saga.{}", decision.replace('?', &saga.to_string())));
        assert_eq!(run(&mut bank, saga), then);
    }
    for mine in &claims {
        let refusal = refused(&mut bank.db, &mine.complete(), "NB205");
        assert!(refusal.hint.contains("whoever decided"), "{refusal}");
        refused(&mut bank.db, &mine.extend(1_000), "NB205");
    }
    // A failure that was accepted can be told again where nothing else was said of the step.
    refused(&mut bank.db, &claims[0].fail(", false, true"), "NB205");
    assert_eq!(bank.db.one(&claims[1].fail(", false, true")), "failed");
    check_log(&mut bank);
}

#[test]
fn a_completion_told_again_is_answered_as_at_first() {
    let mut bank = with_functions();
    let saga = waiting(&mut bank, &[step("b", "")]);
    let mine = claim(&mut bank.db);
    assert_eq!(bank.db.one(&mine.complete()), "completed");
    bank.db.run(&format!("select saga.cancel('{saga}', 'not wanted')"));
    run(&mut bank, saga);
    let undo = claim(&mut bank.db);
    assert_eq!(bank.db.one(&undo.complete()), "completed");
    assert_eq!(run(&mut bank, saga), "failed");
    assert_eq!(steps(&mut bank, saga), ["compensated", "compensated", "pending"]);
    for told in [&mine, &undo] {
        assert_eq!(bank.db.one(&told.complete()), "completed");
    }
    // One that failed, and may have had its effect, is compensated too, but was never completed.
    let saga = waiting(&mut bank, &[]);
    let mine = claim(&mut bank.db);
    assert_eq!(bank.db.one(&mine.fail(", false, true")), "failed");
    run(&mut bank, saga);
    let undo = claim(&mut bank.db);
    bank.db.run(&undo.complete());
    assert_eq!(run(&mut bank, saga), "failed");
    assert_eq!(steps(&mut bank, saga), ["compensated", "compensated"]);
    refused(&mut bank.db, &mine.complete(), "NB205");
    check_log(&mut bank);
}

#[test]
fn a_worker_is_refused_when_a_person_has_compensated() {
    let mut bank = with_functions();
    let outside = OUTSIDE.replace("\"max_attempts\": 2", "\"compensation_max_attempts\": 1");
    define(&mut bank, "t", &[outside, step("b", "")]);
    bank.db.run("insert into app.failing values ('do_b', 'NB001')");
    let saga = start(&mut bank, "t");
    run(&mut bank, saga);
    let done = claim(&mut bank.db);
    bank.db.run(&done.complete());
    assert_eq!(run(&mut bank, saga), "compensating");
    let undo = claim(&mut bank.db);
    assert_eq!(bank.db.one(&undo.fail("")), "failed");
    bank.db.run(&format!("select saga.resolve('{saga}', 'step_done', 'recalled by telephone')"));
    refused(&mut bank.db, &undo.complete(), "NB205");
    assert_eq!(run(&mut bank, saga), "failed");
    refused(&mut bank.db, &undo.complete(), "NB205");
    assert_eq!(bank.db.one(&done.complete()), "completed");
    check_log(&mut bank);
}
