//! Sagas from their start to their end: definitions, what steps are given, retries of the caller's, and the functions of
//! the contract.

use neobank_sessions::*;

/// Functions of an application: do_a to do_d and undo_a to undo_d leave a row behind, and then fail as app.failing says.
const FUNCTIONS: &str = "create schema app; grant usage on schema app to public; \
    create table app.effects (n int generated always as identity, saga uuid, effect uuid, what text, by_role text, outputs jsonb); \
    create table app.failing (what text primary key, code text); \
    grant all on app.effects, app.failing to public; \
    do $do$ declare f text; begin foreach f in array '{do_a,do_b,do_c,do_d,undo_a,undo_b,undo_c,undo_d}'::text[] loop \
      execute format($f$create function app.%1$I(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb \
        language plpgsql as $$ declare wrong text; begin \
          insert into app.effects (saga, effect, what, by_role, outputs) \
            values (saga_id, effect_id, %1$L, current_user, outputs); \
          select code into wrong from app.failing where what = %1$L; \
          if found then raise exception 'no luck' using errcode = wrong, detail = 'as asked'; end if; \
          return jsonb_build_object('of', %1$L, 'x', context -> 'x'); end $$$f$, f); \
    end loop; end $do$";

pub fn with_functions() -> Bank {
    let mut bank = Bank::new();
    bank.db.run(FUNCTIONS);
    bank
}

/// A step with its compensation, and more keys.
pub fn step(letter: &str, more: &str) -> String {
    format!(
        "{{\"name\": \"{letter}\", \"action\": \"app.do_{letter}\", \"compensation\": \"app.undo_{letter}\", \"backoff_ms\": 0{more}}}"
    )
}

pub fn define(bank: &mut Bank, saga_type: &str, steps: &[String]) -> i64 {
    bank.db.count(&format!("select saga.define('{saga_type}', '[{}]')", steps.join(", ")))
}

pub fn start(bank: &mut Bank, saga_type: &str) -> Uuid {
    bank.db.id(&format!("select saga.start('{saga_type}', '{{\"x\": 1.50}}')"))
}

pub fn run(bank: &mut Bank, saga: Uuid) -> String {
    bank.db.one(&format!("select saga.run('{saga}')"))
}

/// What had an effect, in its order.
pub fn effects(bank: &mut Bank, saga: Uuid) -> Vec<String> {
    bank.db.lines(&format!("select what from app.effects where saga = '{saga}' order by n"))
}

pub fn steps(bank: &mut Bank, saga: Uuid) -> Vec<String> {
    bank.db.lines(&format!("select status from saga.saga_steps where saga_id = '{saga}' order by step_number"))
}

/// Status, what it waits for, and why it failed.
pub fn state(bank: &mut Bank, saga: Uuid) -> String {
    bank.db.one(&format!("select status, waits_for, error_code from saga.sagas where saga_id = '{saga}'"))
}

/// Every change of a state is in the log, one after another and none to itself.
pub fn check_log(bank: &mut Bank) {
    let gaps = "select * from (select t.*, lag(to_state) over w as before, \
                  row_number() over (partition by saga_id order by transition_no) as n \
                from saga.transitions t window w as (partition by saga_id, subject, step_number order by transition_no)) t \
                where n <> transition_no or from_state = to_state or (before is not null and before is distinct from from_state)";
    assert_eq!(bank.db.lines(gaps), [""; 0]);
    let last = "select s.saga_id from saga.sagas s where s.status::text <> (select t.to_state from saga.transitions t \
                where t.saga_id = s.saga_id and t.subject = 'saga' order by t.transition_no desc limit 1) \
                or s.transitions <> (select count(*) from saga.transitions t where t.saga_id = s.saga_id) \
                union all select p.saga_id from saga.saga_steps p where p.status <> 'pending' and p.status <> \
                (select t.to_state from saga.transitions t where t.saga_id = p.saga_id and t.subject = 'step' \
                 and t.step_number = p.step_number order by t.transition_no desc limit 1)";
    assert_eq!(bank.db.lines(last), [""; 0]);
}

#[test]
fn steps_run_one_after_another_and_pass_on_what_they_answered() {
    let mut bank = with_functions();
    assert_eq!(define(&mut bank, "t", &["a", "b", "c"].map(|letter| step(letter, ""))), 1);
    let saga = start(&mut bank, "t");
    assert_eq!(state(&mut bank, saga), "started|runner|");
    assert_eq!(bank.db.lines("select status, step_number, waits_for, code from saga.run_ready()"), ["completed|3||"]);
    assert_eq!(effects(&mut bank, saga), ["do_a", "do_b", "do_c"]);
    assert_eq!(steps(&mut bank, saga), ["completed"; 3]);
    let given =
        "select (effect = step_id)::text, outputs from app.effects join saga.saga_steps on step_id = effect order by n";
    assert_eq!(
        bank.db.lines(given),
        [
            "true|{}",
            "true|{\"a\": {\"x\": 1.50, \"of\": \"do_a\"}}",
            "true|{\"a\": {\"x\": 1.50, \"of\": \"do_a\"}, \"b\": {\"x\": 1.50, \"of\": \"do_b\"}}"
        ]
    );
    assert_eq!(bank.db.lines("select * from saga.run_ready()"), [""; 0]);
    assert_eq!(run(&mut bank, saga), "completed");
    assert_eq!(bank.db.count("select count(*) from saga.compensations"), 0);
    check_log(&mut bank);
    let log = "select subject, step_number, from_state, to_state from saga.transitions order by transition_no";
    let log = bank.db.lines(log);
    assert_eq!(
        log[..4],
        ["saga|||started", "saga||started|running", "step|1|pending|running", "step|1|running|completed"]
    );
    assert_eq!(log[8..], ["saga||running|completed"]);
    refused(&mut bank.db, "delete from saga.transitions", "NB009");
    refused(&mut bank.db, "update saga.transitions set actor = 'nobody'", "NB009");
}

#[test]
fn the_same_key_gives_the_same_saga() {
    let mut bank = with_functions();
    define(&mut bank, "t", &[step("a", "")]);
    define(&mut bank, "u", &[step("a", "")]);
    let sql = "select saga.start('t', '{\"x\": 1.50}', 'k')";
    let saga = bank.db.id(sql);
    assert_eq!(bank.db.id(sql), saga);
    assert_eq!(bank.db.id(&sql.replace("'k'", "'k', now() + '1 hour'")), saga);
    refused(&mut bank.db, &sql.replace("1.50", "1.5"), "NB204");
    assert_ne!(bank.db.id(&sql.replace("'t'", "'u'")), saga);
    run(&mut bank, saga);
    assert_eq!(bank.db.id(sql), saga);
    let started = together(&bank, 6, |_, session| session.id("select saga.start('t', '{}', 'many')"));
    assert!(started.iter().all(|id| *id == started[0]));
    bank.db.run("begin; select saga.start('t', '{}', 'gone'); rollback");
    assert_eq!(bank.db.count("select count(*) from saga.sagas where idempotency_key = 'gone'"), 0);
}

#[test]
fn a_saga_keeps_the_version_it_began_with() {
    let mut bank = with_functions();
    let (first, second) = ([step("a", ""), step("b", "")], [step("a", ""), step("c", "")]);
    assert_eq!(define(&mut bank, "t", &first), 1);
    assert_eq!(define(&mut bank, "t", &first), 1);
    let old = start(&mut bank, "t");
    let mut other = bank.session();
    let new = other.id("select saga.start('t')");
    assert_eq!(define(&mut bank, "t", &second), 2);
    assert_eq!(start(&mut bank, "t").get_version_num(), 7);
    // A session that has kept the first version hears of the second.
    let newest = other.id("select saga.start('t')");
    other.run("select * from saga.run_ready()");
    assert_eq!(effects(&mut bank, old), ["do_a", "do_b"]);
    assert_eq!(effects(&mut bank, new), ["do_a", "do_b"]);
    assert_eq!(effects(&mut bank, newest), ["do_a", "do_c"]);
    // A definition that was rolled back was none.
    bank.db.run("begin");
    assert_eq!(define(&mut bank, "t", &[step("d", "")]), 3);
    assert_eq!(bank.db.count("select count(*) from saga.saga_steps where saga_id = saga.start('t')"), 0);
    bank.db.run("rollback");
    let after = start(&mut bank, "t");
    assert_eq!(steps(&mut bank, after).len(), 2);
    assert_eq!(define(&mut bank, "t", &[step("b", "")]), 3);
    let versions = together(&bank, 4, |n, session| {
        session.count(&format!("select saga.define('t', '[{{\"name\": \"n{n}\", \"delay_ms\": 0}}]')"))
    });
    let mut sorted = versions.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [4, 5, 6, 7]);
}

#[test]
fn a_definition_that_cannot_be_run_is_refused() {
    let mut bank = with_functions();
    bank.db.run("create function app.other(uuid, uuid, jsonb, jsonb) returns text language sql as 'select null::text'");
    for (steps, detail) in [
        ("{}", "It must be an array of steps."),
        ("[]", "It has 0 steps; it must have 1 to 100."),
        ("[{\"name\": \"a\"}]", "Step 1, action: A step has one of action, signal, delay_ms and child."),
        ("[{\"name\": \"a\", \"action\": \"do_a\"}]", "Step 1, action: There is no function do_a, named"),
        ("[{\"name\": \"a\", \"action\": \"app.\"}]", "Step 1, action: There is no function app."),
        ("[{\"name\": \"a\", \"action\": \"app.other\"}]", "Step 1, action: There is no function app.other"),
        ("[{\"name\": \"a\", \"delay_ms\": 1}, {\"name\": \"a\", \"delay_ms\": 1}]", "Step 2, name: An earlier step"),
    ] {
        let refusal = refused(&mut bank.db, &format!("select saga.define('t', '{steps}')"), "NB202");
        assert!(refusal.detail.starts_with(detail), "{}", refusal.detail);
    }
    refused(&mut bank.db, "select saga.start('t')", "NB203");
    for (sql, code) in [
        ("select saga.define(null, '[]')", "22004"),
        ("select saga.define('t', null)", "22004"),
        ("select saga.define(' ', '[]')", "NB021"),
        ("select saga.start(null)", "22004"),
        ("select saga.start('t', null)", "22004"),
        ("select saga.start('t', '{}', ' ')", "NB021"),
        ("select saga.start('t', '{}', null, 'infinity')", "NB021"),
        ("select saga.run(null)", "22004"),
        ("select saga.run(gen_random_uuid())", "NB200"),
        ("select saga.run_ready(null)", "22004"),
        ("select saga.run_ready(0)", "NB021"),
        ("select saga.run_ready(10001)", "NB021"),
        ("select saga.create_saga(null, '{}')", "22004"),
        ("select saga.create_saga('t', null)", "22004"),
        ("select saga.create_saga('t', '{a,null}')", "22004"),
        ("select saga.create_saga('t', '{a,\" \"}')", "NB021"),
        ("select saga.create_saga('t', '{a}', null)", "22004"),
    ] {
        refused(&mut bank.db, sql, code);
    }
    bank.db.run("begin isolation level repeatable read");
    assert_eq!(bank.db.fails("select saga.run_ready()").code, "NB029");
    bank.db.run("rollback");
}

#[test]
fn the_contract_completes_each_step_with_its_output() {
    let mut bank = Bank::new();
    let saga = bank.db.id("select saga.create_saga('order', '{reserve,charge}', '{\"order\": 7}')");
    let call = |output: &str| format!("select saga.execute_step('{saga}', '{output}')");
    let first = bank.db.json(&call("{\"n\": 0}"));
    assert_eq!((&first["step_name"], &first["step_number"]), (&"reserve".into(), &1.into()));
    let shown = "select step_name, status, input_data, output_data, completed_at is not null from saga.saga_steps order by step_number";
    assert_eq!(bank.db.lines(shown), ["reserve|running|{\"n\": 0}||f", "charge|pending|||f"]);
    let second = bank.db.json(&call("{\"n\": 1}"));
    assert_eq!(second["step_number"], 2);
    assert_eq!(bank.db.lines(shown), ["reserve|completed|{\"n\": 0}|{\"n\": 1}|t", "charge|running|{\"n\": 1}||f"]);
    // A retry that names its step does not complete the next one.
    let named = |step: &serde_json::Value| {
        format!("select saga.execute_step('{saga}', '{{\"n\": 1}}', {})", step.to_string().replace('"', "'"))
    };
    assert_eq!(bank.db.json(&named(&first["step_id"])), second);
    assert_eq!(bank.db.json(&call("{\"n\": 2}"))["status"], "completed");
    assert_eq!(bank.db.lines(shown)[1], "charge|completed|{\"n\": 1}|{\"n\": 2}|t");
    assert_eq!(bank.db.one("select status, current_step, completed_at is not null from saga.sagas"), "completed|2|t");
    check_log(&mut bank);
    for (sql, code) in [
        (call("{}"), "saga_state"),
        (named(&first["step_id"]), "saga_state"),
        ("select saga.execute_step(gen_random_uuid())".to_owned(), "saga_not_found"),
        (format!("select saga.execute_step('{saga}', '{{}}', gen_random_uuid())"), "step_not_found"),
        ("select saga.execute_step(null)".to_owned(), "null_argument"),
        (format!("select saga.execute_step('{saga}', null)"), "null_argument"),
    ] {
        let before = snapshot(&mut bank.db);
        let answer = bank.db.json(&sql);
        assert_eq!((&answer["code"], answer["error"].is_string()), (&code.into(), true), "{sql}");
        assert_eq!(snapshot(&mut bank.db), before);
    }
    // It can be cancelled, and is not run.
    let saga = bank.db.id("select saga.create_saga('order', '{one,two}')");
    refused(&mut bank.db, &format!("select saga.run('{saga}')"), "NB201");
    bank.db.run(&format!("select saga.execute_step('{saga}')"));
    assert_eq!(bank.db.one(&format!("select saga.cancel('{saga}', 'not wanted')")), "compensating");
    assert_eq!(bank.db.json(&format!("select saga.execute_step('{saga}')"))["code"], "saga_state");
    assert_eq!(bank.db.lines("select status, code from saga.run_ready()"), ["failed|NB212"]);
    assert_eq!(steps(&mut bank, saga), ["failed", "pending"]);
    assert_eq!(bank.db.json("select saga.execute_step(saga.create_saga('none', '{}'))")["status"], "completed");
    check_log(&mut bank);
}

#[test]
fn the_contract_of_a_saga_with_a_definition_is_its_own() {
    let mut bank = with_functions();
    define(&mut bank, "t", &[step("a", "")]);
    let saga = start(&mut bank, "t");
    assert_eq!(bank.db.json(&format!("select saga.execute_step('{saga}')"))["code"], "saga_state");
    assert_eq!(run(&mut bank, saga), "completed");
}
