//! Functions of steps as applications write them: with settings, search paths and constraints of their own, made anew
//! while sagas run, and calling back. Each failed, or took others with it, once.

use super::saga::*;
use neobank_sessions::*;

/// One step that calls `app.f`, made so.
fn with_function(returns: &str, body: &str) -> Bank {
    let mut bank = with_functions();
    make(&mut bank, returns, body);
    define(
        &mut bank,
        "t",
        &["{\"name\": \"f\", \"action\": \"app.f\", \"max_attempts\": 2, \"backoff_ms\": 0}".into()],
    );
    bank
}

fn make(bank: &mut Bank, returns: &str, body: &str) {
    bank.db.run(&format!(
        "create function app.f(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns {returns} {body}"
    ));
}

/// What `run_ready` answers.
fn ready(bank: &mut Bank) -> Vec<String> {
    let mut lines = bank.db.lines("select status, code from saga.run_ready()");
    lines.sort();
    lines
}

const SIMPLE: &str = "language sql as $$ select '{}'::jsonb $$";

/// The server died of it: a number was read as a jsonb, or a row where there was none.
#[test]
fn a_function_that_was_made_anew_with_another_result_fails_its_step_only() {
    let mut bank = with_function("jsonb", SIMPLE);
    define(&mut bank, "other", &[step("a", "")]);
    for (returns, body) in [
        ("setof jsonb", "language sql as $$ select '{}'::jsonb where false $$"),
        ("setof jsonb", "language sql as $$ select '{}'::jsonb from generate_series(1, 2) $$"),
        ("int", "language sql as 'select 5'"),
        ("boolean", "language sql as 'select true'"),
        ("text", "language sql as $$ select 'x' $$"),
        ("json", "language sql as $$ select '{}'::json $$"),
        ("record", "language sql as $$ select 1, 2 $$"),
        ("void", "language sql as $$ $$"),
    ] {
        bank.db.run("drop function app.f(uuid, uuid, jsonb, jsonb)");
        make(&mut bank, returns, body);
        start(&mut bank, "t");
        start(&mut bank, "other");
        assert_eq!(ready(&mut bank), ["completed|", "failed|42P13"], "{returns}");
    }
    check_log(&mut bank);
    // The same of a handler of commands.
    bank.db.run(
        "create function app.h(c cqrs.commands) returns jsonb language sql as $$ select '{}'::jsonb $$; \
         select cqrs.register_handler('do', 'app.h'); drop function app.h(cqrs.commands); \
         create function app.h(c cqrs.commands) returns int language sql as 'select 5'",
    );
    let submit = "select cqrs.submit_command('do', 'T', '{}')";
    let refusal = bank.db.fails(submit);
    assert!(["42P13", "NB122"].contains(&refusal.code.as_str()), "{refusal}");
}

/// On PostgreSQL 15 no function's SET search_path had an effect in a step: `log` was not found.
#[test]
fn a_functions_own_search_path_holds() {
    let mut bank = with_function(
        "jsonb",
        "language plpgsql set search_path = app as $$ begin insert into effects (saga, effect, what) \
         values (saga_id, effect_id, current_schema()); perform nested(); return '{}'; end $$",
    );
    bank.db.run(
        "create schema more; create table more.seen (what text); \
         create function app.nested() returns void language plpgsql set search_path = more as $$ begin \
         insert into seen values (current_schema()); end $$",
    );
    let saga = start(&mut bank, "t");
    assert_eq!(run(&mut bank, saga), "completed");
    assert_eq!(effects(&mut bank, saga), ["app"]);
    assert_eq!(bank.db.one("select what from more.seen"), "more");
    bank.db.run(
        "create function app.h(c cqrs.commands) returns jsonb language plpgsql set search_path = more as $$ begin \
         insert into seen values ('by command'); return '{}'; end $$; select cqrs.register_handler('do', 'app.h'); \
         select cqrs.submit_command('do', 'T', '{}')",
    );
    assert_eq!(bank.db.count("select count(*) from more.seen"), 2);
}

/// What a step set stayed in the session of whoever ran it, who could then not even write.
#[test]
fn what_a_function_sets_is_put_back() {
    let mut bank = with_function(
        "jsonb",
        "language plpgsql as $$ begin set datestyle = 'German'; set default_transaction_read_only = on; \
         perform set_config('app.seen', 'yes', false); return to_jsonb(current_setting('datestyle')); end $$",
    );
    let saga = start(&mut bank, "t");
    let settings = "select current_setting('datestyle'), current_setting('default_transaction_read_only'), \
                    coalesce(current_setting('app.seen', true), ''), current_setting('search_path')";
    let before = bank.db.one(settings);
    assert_eq!(run(&mut bank, saga), "completed");
    assert_eq!(bank.db.one(settings), before);
    assert_eq!(
        bank.db.one(&format!("select output_data from saga.saga_steps where saga_id = '{saga}'")),
        "\"German, DMY\""
    );
}

/// An object with a key that a reader of JSON keeps for itself stopped every saga, or became a number.
#[test]
fn every_key_of_a_context_is_passed_on_to_a_child() {
    let mut bank = with_functions();
    define(&mut bank, "kid", &[step("a", "")]);
    define(&mut bank, "par", &["{\"name\": \"k\", \"child\": \"kid\"}".into()]);
    for inner in ["\"x\"", "\"12\"", "1.50"] {
        let context = format!(
            "{{\"$serde_json::private::Number\": {inner}, \"in\": {{\"$serde_json::private::Number\": \"1\"}}}}"
        );
        let saga = bank.db.id(&format!("select saga.start('par', '{context}')"));
        assert_eq!(run(&mut bank, saga), "running");
        let kid =
            format!("select s.context - 'parent' = '{context}' from saga.sagas s where s.parent_saga_id = '{saga}'");
        assert_eq!(bank.db.one(&kid), "t");
    }
    while !bank.db.lines("select status from saga.run_ready()").is_empty() {}
    assert_eq!(bank.db.one("select count(*) from saga.sagas where status <> 'completed'"), "0");
    refused(&mut bank.db, "select saga.define('x', '[{\"$serde_json::private::Number\": \"a\"}]')", "NB202");
}

/// It failed at the commit, after every step of the batch, and so again and again.
#[test]
fn a_deferred_constraint_fails_the_step_that_violates_it() {
    let mut bank = with_function(
        "jsonb",
        "language plpgsql as $$ begin insert into app.child values ((context ->> 'x')::int); return '{}'; end $$",
    );
    bank.db.run(
        "create table app.parent (id int primary key); insert into app.parent values (1); \
         create table app.child (id int references app.parent deferrable initially deferred)",
    );
    define(&mut bank, "other", &[step("a", "")]);
    for x in [7, 1] {
        bank.db.run(&format!("select saga.start('t', '{{\"x\": {x}}}')"));
        start(&mut bank, "other");
    }
    assert_eq!(ready(&mut bank), ["completed|", "completed|", "completed|", "failed|23503"]);
    assert_eq!(bank.db.lines("select id from app.child"), ["1"]);
    // What the session itself has deferred is its own affair, and stays deferred.
    let saga = bank.db.id("select saga.start('t', '{\"x\": 1}')");
    bank.db.run("begin; insert into app.child values (8)");
    assert_eq!(run(&mut bank, saga), "completed");
    bank.db.run("insert into app.child values (9); insert into app.parent values (8), (9); commit");
    assert_eq!(bank.db.count("select count(*) from app.child"), 4);
}

/// A step that claimed got a saga of its own batch, which was then written twice.
#[test]
fn a_function_that_claims_gets_no_saga_of_its_batch() {
    let mut bank = with_function(
        "jsonb",
        "language sql as $$ select to_jsonb(count(*)) from saga.claim_step('inner', '{w}', 60000, 10) $$",
    );
    define(
        &mut bank,
        "ex",
        &["{\"name\": \"e\", \"action\": \"external\", \"type\": \"w\", \"max_attempts\": 9, \"backoff_ms\": 0}"
            .into()],
    );
    let external = start(&mut bank, "ex");
    assert_eq!(run(&mut bank, external), "running");
    assert_eq!(bank.db.count("select count(*) from saga.claim_step('outer', '{w}', 1)"), 1);
    let saga = start(&mut bank, "t");
    bank.db.run("select pg_sleep(0.01)");
    assert_eq!(ready(&mut bank), ["completed|", "running|NB213"]);
    let claimed = format!("select output_data from saga.saga_steps where saga_id = '{saga}'");
    assert_eq!(bank.db.one(&claimed), "0");
    check_log(&mut bank);
}

/// After its own cancel had been caught, the interruption took a statement_timeout for its own.
#[test]
fn the_statements_timeout_is_not_taken_for_the_steps() {
    let mut bank = with_functions();
    let insists = "create function app.f(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb \
                   language plpgsql as $$ begin begin perform pg_sleep(60); exception when query_canceled then null; end; \
                   perform pg_sleep(60); return '{}'; end $$";
    bank.db.run(insists);
    define(&mut bank, "t", &["{\"name\": \"f\", \"action\": \"app.f\", \"timeout_ms\": 300}".into()]);
    let saga = start(&mut bank, "t");
    bank.db.run("set statement_timeout = '800ms'");
    refused_with_code_only(&mut bank.db, &format!("select saga.run('{saga}')"), "57014");
    bank.db.run("reset statement_timeout");
    assert_eq!(state(&mut bank, saga), "started|runner|");
    // Without one it is interrupted again.
    assert_eq!(run(&mut bank, saga), "failed");
    assert_eq!(state(&mut bank, saga), "failed||NB210");
}
