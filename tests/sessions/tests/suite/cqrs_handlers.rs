//! Handlers of commands: whose rights they have, what is linked with them, and what is none.

use super::cqrs_commands::{PROCESS, with_handlers};
use neobank_sessions::*;

#[test]
fn a_handler_has_the_rights_of_whoever_submitted() {
    let mut bank = with_handlers();
    let [teller, operator] = ["teller", "operator"].map(|level| {
        let role = bank.role(level);
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        role
    });
    let submit = |kind: &str, mode: &str| {
        format!(
            "select cqrs.submit_command('{kind}', 'Thing', '{{\"event\": \"E\"}}', gen_random_uuid(), mode => '{mode}')"
        )
    };
    let (mut low, mut high) = (bank.session_as(&teller), bank.session_as(&operator));
    // Who may not execute the handler, or what it does, may not have it done.
    refused_with_code_only(&mut low, &submit("Open", "immediate"), "42501");
    low.run(&submit("Open", "queued"));
    low.run(&submit("Who", "queued"));
    high.run(&submit("Who", "queued"));
    assert_eq!(high.lines("select status, code from cqrs.process_commands()"), ["failed|42501"; 3]);
    bank.db.run("grant usage on schema app to public; revoke all on app.log from public");
    low.run(&submit("Open", "queued"));
    assert_eq!(high.lines(PROCESS), ["failed|42501|permission denied for table log"]);
    low.run(&submit("Who", "queued"));
    high.run(&submit("Who", "queued"));
    low.run("insert into cqrs.commands (command_type, aggregate_type, payload) values ('Who', 'Direct', '{}')");
    assert_eq!(high.lines(PROCESS), ["completed|00000|"; 3]);
    let told =
        "select result ->> 'user', result ->> 'path' from cqrs.commands where status = 'completed' order by created_at";
    let path = "false";
    assert_eq!(
        bank.db.lines(told),
        [format!("{teller}|{path}"), format!("{operator}|{path}"), format!("{teller}|{path}")]
    );
    let now = low.json(&submit("Who", "immediate"));
    assert_eq!((&now["result"]["user"], &now["result"]["path"]), (&teller.clone().into(), &false.into()));
    assert_eq!(low.one("select current_user"), teller);
    assert_eq!(high.one("select current_user"), operator);
    // Nobody submits in another's name, processes without the right, or registers code.
    for sql in [
        "insert into cqrs.commands (command_type, aggregate_type, payload, submitted_by) values ('Who', 'x', '{}', 'postgres')",
        "update cqrs.commands set submitted_by = 'postgres'",
        "select cqrs.process_commands()",
        "select cqrs.register_handler('x', 'app.who')",
        "select cqrs.unregister_handler('Who')",
        "insert into cqrs.command_handlers values ('x', 'app', 'who', 1, now(), 'x')",
    ] {
        refused_with_code_only(&mut low, sql, "42501");
    }
    refused_with_code_only(&mut high, "select cqrs.register_handler('x', 'app.who')", "42501");
    // The same id of another role is not answered.
    let id = Uuid::now_v7();
    let same = format!("select cqrs.submit_command('Who', 'Thing', '{{}}', command_id => '{id}')");
    low.run(&same);
    assert_eq!(high.fails(&same).code, "NB120");
}

#[test]
fn a_handler_is_no_way_past_the_guards_nor_out_of_its_role() {
    let mut bank = with_handlers();
    let account = bank.account("10");
    let role = bank.role("app");
    bank.db.run(&format!(
        "select neobank.grant_usage('{role}', 'teller'); \
         grant usage on schema app to public; \
         create function app.run(c cqrs.commands) returns jsonb language plpgsql as $$ begin \
           execute c.payload ->> 'sql'; return null; end $$; \
         select cqrs.register_handler('Run', 'app.run')"
    ));
    let run = |sql: &str, mode: &str| {
        let sql = sql.replace('\'', "''");
        format!("select cqrs.submit_command('Run', 'x', '{{\"sql\": \"{sql}\"}}', mode => '{mode}')")
    };
    for (sql, code) in [
        ("update banking.accounts set current_balance = 99", "NB010"),
        ("update txn_processing.movements set amount = 99", "NB009"),
    ] {
        refused(&mut bank.db, &run(sql, "immediate"), code);
        bank.db.run(&run(sql, "queued"));
        assert_eq!(bank.db.lines("select status, code from cqrs.process_commands()"), [format!("failed|{code}")]);
    }
    let mut session = bank.session_as(&role);
    for sql in ["set role postgres", "set session authorization postgres", "reset role", "create temp table t (a int)"]
    {
        session.run(&run(sql, "queued"));
        let line = bank.db.one("select status, code from cqrs.process_commands()");
        assert!(["failed|42501", "failed|0LP01"].contains(&line.as_str()), "{sql}: {line}");
    }
    assert_eq!(bank.db.one("select current_user = session_user"), "t");
    // A role that is gone has nothing done.
    session.run(&run("select 1", "queued"));
    drop(session);
    bank.db.run(&format!("select neobank.revoke_usage('{role}'); alter role {role} rename to {role}_x"));
    let gone = bank.db.lines("select status, code from cqrs.process_commands()");
    bank.db.run(&format!("alter role {role}_x rename to {role}"));
    assert_eq!(gone, ["failed|NB124"]);
    assert_eq!(bank.db.balance(account), dec("10"));
    audit(&mut bank.db);
}

#[test]
fn what_a_handler_took_back_is_not_linked_and_what_it_submits_is_its_own() {
    let mut bank = with_handlers();
    bank.db.run(
        "create function app.both(c cqrs.commands) returns jsonb language plpgsql as $$ \
         begin \
           perform event_store.append_event('Thing', gen_random_uuid(), 'Before', '{}'); \
           begin \
             perform event_store.append_event('Thing', gen_random_uuid(), 'Undone', '{}'); \
             raise exception 'undo'; \
           exception when raise_exception then null; end; \
           perform cqrs.submit_command('Open', 'Inner', '{\"event\": \"Inner\"}', gen_random_uuid()); \
           perform cqrs.submit_command('Open', 'Later', '{\"event\": \"Later\"}', gen_random_uuid(), mode => 'queued'); \
           perform event_store.append_events('Thing', gen_random_uuid(), \
             '[{\"event_type\": \"After\", \"event_data\": {}}, {\"event_type\": \"Last\", \"event_data\": {}}]'); \
           return null; \
         end $$; \
         create function app.nested(c cqrs.commands) returns jsonb language sql as \
           'select to_jsonb(status) from cqrs.process_commands()'; \
         select cqrs.register_handler('Both', 'app.both'), cqrs.register_handler('Nested', 'app.nested')",
    );
    let linked = "select c.aggregate_type, e.event_type from cqrs.commands c join cqrs.command_events using (command_id) \
                  join event_store.events e using (event_id) order by e.global_position";
    for mode in ["immediate", "queued"] {
        bank.db.run(&format!("select cqrs.submit_command('Both', 'Outer', '{{}}', mode => '{mode}')"));
        bank.db.run("select cqrs.process_commands()");
        bank.db.run("select cqrs.process_commands()");
        assert_eq!(
            bank.db.lines(linked),
            ["Outer|Before", "Inner|Inner", "Outer|After", "Outer|Last", "Later|Later"],
            "{mode}"
        );
        assert_eq!(bank.db.count("select count(*) from event_store.events"), 5);
        bank.db.run("set neobank.ledger_guard = off; truncate event_store.events, event_store.streams; reset neobank.ledger_guard; \
                     truncate cqrs.commands, cqrs.command_events");
    }
    refused(&mut bank.db, "select cqrs.submit_command('Nested', 'x', '{}')", "NB123");
    bank.db.run("select cqrs.submit_command('Nested', 'x', '{}', mode => 'queued')");
    assert_eq!(bank.db.lines("select status, code from cqrs.process_commands()"), ["failed|NB123"]);
    // The error left nothing behind in the session.
    bank.db.run("select cqrs.submit_command('Who', 'x', '{}', mode => 'queued')");
    assert_eq!(bank.db.lines("select status, code from cqrs.process_commands()"), ["completed|00000"]);
}

#[test]
fn handlers_are_functions_of_that_shape() {
    let mut bank = with_handlers();
    bank.db.run(
        "create function app.a(c uuid) returns jsonb language sql as 'select null::jsonb'; \
         create function app.b(c cqrs.commands) returns text language sql as 'select null::text'; \
         create function app.c(c cqrs.commands) returns setof jsonb language sql as 'select null::jsonb'; \
         create function app.d(c cqrs.commands, n int) returns jsonb language sql as 'select null::jsonb'; \
         create schema \"o\"\"dd\"; \
         create function \"o\"\"dd\".\"a b\"(c cqrs.commands) returns jsonb language sql as 'select to_jsonb(1)'",
    );
    for function in ["a", "b", "c", "d"] {
        refused(&mut bank.db, &format!("select cqrs.register_handler('x', 'app.{function}')"), "NB122");
    }
    refused(&mut bank.db, "select cqrs.register_handler('x', 0::oid)", "NB122");
    for (call, code) in [
        ("register_handler(null, 'app.who')", "22004"),
        ("register_handler('x', null)", "22004"),
        ("register_handler('x', 'app.who', null)", "22004"),
        ("register_handler('x', 'app.who', 0)", "NB021"),
        ("register_handler('x', 'app.who', 101)", "NB021"),
        ("register_handler(' ', 'app.who')", "NB021"),
        ("register_handler(repeat('x', 101), 'app.who')", "NB021"),
        ("unregister_handler(null)", "22004"),
        ("unregister_handler('x')", "NB121"),
        ("submit_command(null, 'x', '{}')", "22004"),
        ("submit_command('Who', null, '{}')", "22004"),
        ("submit_command('Who', 'x', null)", "22004"),
        ("submit_command('Who', 'x', '{}', mode => null)", "22004"),
        ("submit_command('Who', 'x', '{}', mode => 'soon')", "NB021"),
        ("submit_command('Who', ' ', '{}')", "NB021"),
        ("submit_command('Who', 'x', '{}', correlation_id => '')", "NB021"),
        ("submit_command('Who', 'x', '{}', max_attempts => 0)", "NB021"),
        ("submit_command('Who', 'x', to_jsonb(repeat('x', 1100000)))", "NB021"),
        ("submit_command('who', 'x', '{}')", "NB121"),
        ("process_commands(null)", "22004"),
        ("process_commands(0)", "NB021"),
        ("process_commands(1001)", "NB021"),
    ] {
        refused(&mut bank.db, &format!("select cqrs.{call}"), code);
    }
    let mut old = bank.session();
    old.run("begin isolation level repeatable read");
    assert_eq!(old.fails("select cqrs.process_commands()").code, "NB029");
    bank.db.run("select cqrs.register_handler('Odd', '\"o\"\"dd\".\"a b\"')");
    assert_eq!(bank.db.json("select cqrs.submit_command('Odd', 'x', '1')")["result"], 1);
    bank.db.run("begin; select cqrs.unregister_handler('Odd'); rollback");
    // Replaced, dropped and made again, it is found by its name.
    bank.db.run("drop function \"o\"\"dd\".\"a b\"");
    assert_eq!(bank.db.fails("select cqrs.submit_command('Odd', 'x', '1')").code, "42883");
    bank.db
        .run("create function \"o\"\"dd\".\"a b\"(c cqrs.commands) returns jsonb language sql as 'select to_jsonb(2)'");
    assert_eq!(bank.db.json("select cqrs.submit_command('Odd', 'x', '1')")["result"], 2);
    bank.db.run("select cqrs.register_handler('Odd', 'app.who'), cqrs.unregister_handler('Who')");
    assert!(bank.db.json("select cqrs.submit_command('Odd', 'x', '1')")["result"]["user"].is_string());
    refused(&mut bank.db, "select cqrs.submit_command('Who', 'x', '{}')", "NB121");
}
