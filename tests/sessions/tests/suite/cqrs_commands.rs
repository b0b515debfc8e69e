//! Commands: submitted once, carried out once, and what becomes of failures.

use neobank_sessions::*;
use std::thread;

/// Handlers of an application: one that works, one that fails as its payload says, one that tells who it is.
pub const HANDLERS: &str = "create schema app; \
    create table app.log (command_id uuid, by_role text, note text); \
    create function app.open(c cqrs.commands) returns jsonb language plpgsql as $$ \
    begin \
      perform event_store.append_event(c.aggregate_type, c.aggregate_id, c.payload ->> 'event', c.payload, \
        p_metadata => jsonb_build_object('causation_id', c.command_id)); \
      insert into app.log values (c.command_id, current_user, c.payload ->> 'note'); \
      return jsonb_build_object('done', c.payload -> 'note'); \
    end $$; \
    create function app.fail(c cqrs.commands) returns jsonb language plpgsql as $$ \
    begin \
      insert into app.log values (c.command_id, current_user, 'tried'); \
      perform event_store.append_event('Thing', gen_random_uuid(), 'Tried', '{}'); \
      raise exception 'no luck' using errcode = c.payload ->> 'code', detail = 'as asked'; \
    end $$; \
    create function app.who(c cqrs.commands) returns jsonb language sql as \
      $$ select jsonb_build_object('user', current_user, 'path', 'public' = any (current_schemas(true))) $$; \
    select cqrs.register_handler('Open', 'app.open'), cqrs.register_handler('Fail', 'app.fail', 3), \
      cqrs.register_handler('Who', 'app.who')";

pub fn with_handlers() -> Bank {
    let mut bank = Bank::new();
    bank.db.run(HANDLERS);
    bank
}

fn open(id: Uuid, aggregate: Uuid, tail: &str) -> String {
    format!(
        "select cqrs.submit_command('Open', 'Thing', '{{\"event\": \"Opened\", \"note\": 1.50}}', '{aggregate}', '{id}'{tail})"
    )
}

const STATES: &str = "select command_type, status, attempts, error_code, error_message, processed_at is not null \
                      from cqrs.commands order by created_at, command_id";
pub const PROCESS: &str = "select status, code, message from cqrs.process_commands()";
const DUE_NOW: &str = "update cqrs.commands set next_attempt_at = now() where status = 'pending'";

#[test]
fn a_command_is_carried_out_at_once_and_only_once() {
    let mut bank = with_handlers();
    let (id, aggregate) = (Uuid::now_v7(), Uuid::now_v7());
    let sql = open(id, aggregate, "");
    let first = bank.db.json(&sql);
    assert_eq!(first["status"], "completed");
    assert_eq!(first["command_id"], id.to_string());
    assert_eq!(first["attempts"], 1);
    assert_eq!(first["events"].as_array().map(Vec::len), Some(1));
    assert!(first.get("error").is_none());
    assert_eq!(bank.db.one("select result from cqrs.commands"), "{\"done\": 1.50}");
    let linked = "select e.event_type, e.metadata ->> 'causation_id' = l.command_id::text \
                  from cqrs.command_events l join event_store.events e using (event_id)";
    assert_eq!(bank.db.lines(linked), ["Opened|t"]);
    for tail in ["", ", 'queued'", ", 'immediate', 'another correlation'"] {
        assert_eq!(bank.db.json(&open(id, aggregate, tail)), first, "{tail}");
    }
    assert_eq!(bank.db.json(&format!("select cqrs.command_result('{id}')")), first);
    assert_eq!(bank.db.count("select count(*) from app.log"), 1);
    refused(&mut bank.db, &open(id, Uuid::now_v7(), ""), "NB120");
    refused(&mut bank.db, &sql.replace("1.50", "1.5"), "NB120");
    refused(&mut bank.db, &sql.replace("'Open'", "'Who'"), "NB120");
    assert_eq!(bank.db.one("select coalesce(cqrs.command_result(gen_random_uuid())::text, 'none')"), "none");
    // Nothing of it is left behind by a rollback, and it can be submitted again.
    let other = open(Uuid::now_v7(), aggregate, "");
    bank.db.run(&format!("begin; {other}; rollback"));
    assert_eq!(bank.db.count("select count(*) from cqrs.commands"), 1);
    assert_eq!(bank.db.json(&other)["status"], "completed");
}

#[test]
fn an_error_of_the_handler_is_the_callers_and_leaves_nothing() {
    let mut bank = with_handlers();
    let id = Uuid::now_v7();
    let sql = format!("select cqrs.submit_command('Fail', 'Thing', '{{\"code\": \"NB777\"}}', command_id => '{id}')");
    let before = snapshot(&mut bank.db);
    let refusal = bank.db.fails(&sql);
    assert_eq!((&*refusal.code, &*refusal.message, &*refusal.detail), ("NB777", "no luck", "as asked"));
    assert_eq!(snapshot(&mut bank.db), before);
    assert_eq!(bank.db.count("select count(*) from app.log"), 0);
    // A caller that catches it goes on with what it did before.
    bank.db.run(&format!(
        "do $$ begin perform cqrs.submit_command('Open', 'Thing', '{{\"event\": \"A\"}}', gen_random_uuid()); \
         begin perform {}; exception when sqlstate 'NB777' then null; end; \
         perform cqrs.submit_command('Open', 'Thing', '{{\"event\": \"B\"}}', gen_random_uuid()); end $$",
        sql.trim_start_matches("select ")
    ));
    let linked = "select e.event_type from event_store.events e left join cqrs.command_events l using (event_id) \
                  where l.command_id is not null order by e.global_position";
    assert_eq!(bank.db.lines(linked), ["A", "B"]);
    assert_eq!(bank.db.count("select count(*) from event_store.events"), 2);
}

#[test]
fn queued_commands_wait_for_whoever_processes_them() {
    let mut bank = with_handlers();
    let (id, aggregate) = (Uuid::now_v7(), Uuid::now_v7());
    let sql = open(id, aggregate, ", 'queued', 'c-1', 4");
    let answer = bank.db.json(&sql);
    assert_eq!((&answer["status"], &answer["events"]), (&"pending".into(), &serde_json::json!([])));
    assert_eq!(bank.db.json(&sql), answer);
    // As an application of the seed's does it.
    bank.db.run(
        "insert into cqrs.commands (command_type, aggregate_type, aggregate_id, payload) values \
         ('Open', 'Thing', gen_random_uuid(), '{\"event\": \"Opened\", \"note\": \"later\"}'), \
         ('Nothing', 'Thing', null, '{}')",
    );
    assert_eq!(bank.db.count("select count(*) from app.log"), 0);
    let done = ["completed|00000|", "completed|00000|", "failed|NB121|command has no handler"];
    assert_eq!(bank.db.lines(PROCESS), done);
    assert_eq!(bank.db.lines(PROCESS), [""; 0]);
    assert_eq!(bank.db.json(&sql)["status"], "completed");
    assert_eq!(bank.db.lines("select note from app.log order by note"), ["1.50", "later"]);
    let kept = format!(
        "select correlation_id, max_attempts, attempts, submitted_by = current_user, processed_at >= created_at \
         from cqrs.commands where command_id = '{id}'"
    );
    assert_eq!(bank.db.one(&kept), "c-1|4|1|t|t");
    // What is processed is undone with the transaction.
    let again = bank.db.json(&open(Uuid::now_v7(), aggregate, ", 'queued'"));
    assert_eq!(again["status"], "pending");
    bank.db.run("begin");
    assert_eq!(bank.db.lines(PROCESS), ["completed|00000|"]);
    bank.db.run("rollback");
    assert_eq!(bank.db.lines(PROCESS), ["completed|00000|"]);
    assert_eq!(bank.db.count("select count(*) from app.log"), 3);
}

#[test]
fn failures_are_kept_and_what_may_pass_is_tried_again() {
    let mut bank = with_handlers();
    bank.db.run("set neobank.queue_retry_delay = '5min'");
    for code in ["40001", "NB101", "NB001", "55P03"] {
        bank.db
            .run(&format!("select cqrs.submit_command('Fail', 'Thing', '{{\"code\": \"{code}\"}}', mode => 'queued')"));
    }
    bank.db.run(&open(Uuid::now_v7(), Uuid::now_v7(), ", 'queued'"));
    let first = [
        "pending|40001|no luck",
        "pending|NB101|no luck",
        "failed|NB001|no luck",
        "pending|55P03|no luck",
        "completed|00000|",
    ];
    assert_eq!(bank.db.lines(PROCESS), first, "one that fails is no obstacle to the next");
    assert_eq!(bank.db.count("select count(*) from app.log"), 1, "nothing of a failed attempt stays");
    assert_eq!(bank.db.count("select count(*) from event_store.events"), 1);
    let waits = "select bool_and(next_attempt_at > created_at and processed_at is null) from cqrs.commands where status = 'pending'";
    assert_eq!(bank.db.one(waits), "t");
    for _ in 0..2 {
        bank.db.run(DUE_NOW);
        assert_eq!(bank.db.lines(PROCESS).len(), 3);
    }
    bank.db.run(DUE_NOW);
    assert_eq!(bank.db.lines(PROCESS), [""; 0], "three attempts each");
    assert_eq!(
        bank.db.lines(STATES),
        [
            "Fail|failed|3|40001|no luck|t",
            "Fail|failed|3|NB101|no luck|t",
            "Fail|failed|1|NB001|no luck|t",
            "Fail|failed|3|55P03|no luck|t",
            "Open|completed|1|||t"
        ]
    );
    let error =
        bank.db.one("select cqrs.command_result(command_id) -> 'error' from cqrs.commands order by created_at limit 1");
    assert_eq!(error, "{\"code\": \"40001\", \"detail\": \"as asked\", \"message\": \"no luck\"}");
    // One that fails first and succeeds then shows no error any more.
    bank.db.run(
        "create or replace function app.fail(c cqrs.commands) returns jsonb language plpgsql as $$ begin \
         if c.attempts = 0 then raise exception 'first' using errcode = '40P01'; end if; return null; end $$",
    );
    bank.db.run("select cqrs.submit_command('Fail', 'Late', '{}', mode => 'queued')");
    assert_eq!(bank.db.lines(PROCESS), ["pending|40P01|first"]);
    bank.db.run(DUE_NOW);
    assert_eq!(bank.db.lines(PROCESS), ["completed|00000|"]);
    assert_eq!(
        bank.db.one(
            "select attempts, result is null, error_code is null from cqrs.commands where aggregate_type = 'Late'"
        ),
        "2|t|t"
    );
}

#[test]
fn a_lock_that_somebody_holds_puts_its_command_off_and_no_other() {
    let mut bank = with_handlers();
    bank.db.run("set neobank.queue_lock_timeout = '50ms'");
    let (held, free) = (Uuid::now_v7(), Uuid::now_v7());
    let mut holder = bank.session();
    holder.run(&open(Uuid::now_v7(), held, ""));
    holder.run(&format!("begin; {}", open(Uuid::now_v7(), held, "")));
    for aggregate in [held, free, held, free] {
        bank.db.run(&open(Uuid::now_v7(), aggregate, ", 'queued'"));
    }
    let states: Vec<String> = bank.db.lines("select status, code from cqrs.process_commands()");
    assert_eq!(states, ["pending|55P03", "completed|00000", "pending|55P03", "completed|00000"]);
    holder.run("commit");
    bank.db.run(DUE_NOW);
    assert_eq!(bank.db.lines(PROCESS), ["completed|00000|", "completed|00000|"]);
}

#[test]
fn several_workers_carry_out_each_command_once() {
    let mut bank = with_handlers();
    let account = bank.account("0");
    bank.db.run(
        "create function app.pay_in(c cqrs.commands) returns jsonb language sql as $$ \
           select to_jsonb(txn_processing.deposit((c.payload ->> 'account')::uuid, 1, transaction_id => c.command_id)) $$; \
         select cqrs.register_handler('PayIn', 'app.pay_in', 100)",
    );
    let commands = 400;
    bank.db.run(&format!(
        "select cqrs.submit_command('PayIn', 'Account', '{{\"account\": \"{account}\"}}', mode => 'queued'), \
           cqrs.submit_command('Open', 'Thing', '{{\"event\": \"E\"}}', gen_random_uuid(), mode => 'queued') \
         from generate_series(1, {commands})"
    ));
    together(&bank, 4, |n, session| {
        session.run("set neobank.queue_retry_delay = 1");
        while session.count("select count(*) from cqrs.commands where status = 'pending'") > 0 {
            session.run(&format!("select count(*) from cqrs.process_commands({})", 3 + 10 * n));
        }
    });
    let ended = "select command_type, status, count(*) from cqrs.commands group by 1, 2 order by 1";
    assert_eq!(bank.db.lines(ended), [format!("Open|completed|{commands}"), format!("PayIn|completed|{commands}")]);
    assert_eq!(bank.db.balance(account), Decimal::from(commands));
    assert_eq!(bank.db.count("select count(*) from app.log"), commands);
    assert_eq!(bank.db.count("select count(distinct command_id) from cqrs.command_events"), commands);
    audit(&mut bank.db);
}

#[test]
fn sessions_that_bring_the_same_id_at_once_have_one_effect() {
    let mut bank = with_handlers();
    for level in ["read committed", "repeatable read"] {
        let (id, aggregate) = (Uuid::now_v7(), Uuid::now_v7());
        let sql = open(id, aggregate, "");
        let answers = together(&bank, 6, move |_, session| {
            loop {
                session.run(&format!("begin isolation level {level}"));
                match session.try_lines(&sql) {
                    Ok(lines) => {
                        session.run("commit");
                        return lines;
                    }
                    Err(refusal) => {
                        session.run("rollback");
                        assert_eq!(refusal.code, "40001", "{refusal}");
                    }
                }
            }
        });
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        let logged = format!("select count(*) from app.log where command_id = '{id}'");
        assert_eq!(bank.db.count(&logged), 1);
    }
    // The first is rolled back: the one that waited carries it out.
    let sql = open(Uuid::now_v7(), Uuid::now_v7(), "");
    let mut first = bank.session();
    first.run(&format!("begin; {sql}"));
    let (mut second, call) = (bank.session(), sql.clone());
    let backend = Bank::backend_of(&mut second);
    let waiting = thread::spawn(move || second.json(&call));
    bank.wait_until_blocked(backend);
    first.run("rollback");
    assert_eq!(waiting.join().expect("no panic")["status"], "completed");
}
