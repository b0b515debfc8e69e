//! One test for each fault of the event store and of read models that a stranger found who used them as an application
//! and as an attacker would.

use crate::cqrs_projections::{append as added, is_exact, rebuild, run_all, with_target};
use crate::events::append;
use neobank_sessions::*;

const BALANCES: &str = "select account_id, balance from event_store.ledger_balances() order by 1";
const CHECK: &str = "select account_id, wrong_events from event_store.check_ledger_events() order by 1";

#[test]
fn nobody_forges_the_events_of_the_ledger() {
    // Whoever might append events could write a deposit of a million under the type of the ledger's own, and the balances
    // that are rebuilt from events had it.
    let mut bank = Bank::new();
    let a = bank.account("100");
    let teller = bank.role("teller");
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    bank.db.run("select event_store.prepare_ledger_publication(10)");
    let id = Uuid::now_v7();
    for path in ["direct", "spi"] {
        let mut session = bank.session_as(&teller);
        session.run(&format!("set neobank.posting_path = '{path}'"));
        for of_type in ["LedgerTransaction", "LedgerOpening", "LedgerPublication"] {
            let event = format!(r#"[{{"event_type": "DepositPosted", "event_data": {{"credit_account": "{a}"}}}}]"#);
            for call in [
                format!("append_event('{of_type}', '{id}', 'DepositPosted', '{{}}')"),
                format!("append_events('{of_type}', '{id}', '{event}')"),
                format!("append_events_if('{of_type}', '{id}', '{event}', 0, tags => '{{x}}')"),
            ] {
                let refusal = refused_with_code_only(&mut session, &format!("select event_store.{call}"), "NB133");
                assert!(refusal.detail.contains(of_type), "{refusal}");
            }
        }
        session.run(&format!("select event_store.append_event('Ledger', '{}', 'T', '{{}}')", Uuid::now_v7()));
    }
    bank.db.run("select event_store.publish_ledger(true)");
    bank.db.run(&format!("select txn_processing.deposit('{a}', 5, transaction_id => '{id}')"));
    let of_the_ledger = bank.db.lines(BALANCES);
    let onto = format!("append_event('LedgerTransaction', event_store.ledger_stream('{id}'), 'T', '{{}}')");
    refused_with_code_only(&mut bank.session_as(&teller), &format!("select event_store.{onto}"), "NB133");
    refused(&mut bank.db, &format!("select event_store.{onto}"), "NB133");
    assert_eq!(bank.db.lines(CHECK), [""; 0]);
    // One that is there from before is told of, and stops nobody.
    for data in [
        r#"{"debit_account": "x"}"#,
        r#"{"debit_account": "--------------------------------000f", "amount": "1", "leg": 1e9}"#,
        r#"{"transaction_id": 7, "leg": "one", "debit_change": {}}"#,
        "{}",
    ] {
        bank.db.run("begin; set local neobank.ledger_guard = off");
        bank.db.run(&format!(
            "insert into event_store.events (event_id, aggregate_id, aggregate_type, event_version, global_position, \
                                             created_by, event_type, event_data) \
             select gen_random_uuid(), gen_random_uuid(), t, 1, (select max(global_position) from event_store.events) + n, 'x', 'X', '{data}' \
             from unnest('{{LedgerTransaction,LedgerOpening}}'::text[]) with ordinality u(t, n)"
        ));
        assert_eq!(bank.db.lines(BALANCES), of_the_ledger, "{data}");
        assert_eq!(bank.db.lines(CHECK), ["|1"], "{data}");
        bank.db.run("rollback");
    }
}

fn session_of(bank: &mut Bank, keep_state: bool) -> Uuid {
    let stream = Uuid::now_v7();
    for amount in [10, 5] {
        bank.db.run(&append(stream, "FundsDeposited", &format!(r#"{{"amount": {amount}}}"#), ""));
    }
    all_read(&mut bank.db);
    bank.db.run(&format!("select event_store.set_retention('Account', '0', {keep_state})"));
    stream
}

#[test]
fn a_state_at_a_time_of_deleted_events_is_what_was_kept_or_refused() {
    // It was {}, as if there had been nothing: times were looked up among the events that are left.
    let mut bank = Bank::new();
    let stream = session_of(&mut bank, true);
    let times = bank.db.lines(&format!(
        "select created_at from event_store.events where aggregate_id = '{stream}' order by event_version"
    ));
    let at = |time: &str| format!("select event_store.get_aggregate_state_at('{stream}', {time})");
    let asked = [
        at(&format!("'{}'::timestamptz - interval '1 microsecond'", times[0])),
        at(&format!("'{}'", times[0])),
        at(&format!("'{}'::timestamptz - interval '1 microsecond'", times[1])),
        at(&format!("'{}'", times[1])),
        at("'infinity'"),
    ];
    let [first, both] = [r#"{"balance": 10, "version": 1}"#, r#"{"balance": 15, "version": 2}"#];
    let answers = ["{}", first, first, both, both];
    let hold = |bank: &mut Bank, what: &str| {
        for (sql, answer) in asked.iter().zip(answers) {
            assert_eq!(bank.db.one(sql), answer, "{what}: {sql}");
        }
    };
    hold(&mut bank, "before");
    assert_eq!(bank.db.one("select events from event_store.apply_retention(1)"), "1");
    hold(&mut bank, "with the first deleted");
    assert_eq!(bank.db.one("select events from event_store.apply_retention(1)"), "1");
    hold(&mut bank, "with each deleted by itself");
    // Deleted at once, what was between is not known any more, and neither is what was not kept.
    for keep_state in [true, false] {
        let stream = session_of(&mut bank, keep_state);
        let times =
            bank.db.one(&format!("select min(created_at) from event_store.events where aggregate_id = '{stream}'"));
        assert_eq!(bank.db.one("select events from event_store.apply_retention()"), "2");
        let at = |time: &str| format!("select event_store.get_aggregate_state_at('{stream}', {time})");
        assert_eq!(bank.db.one(&at("'-infinity'")), "{}");
        refused(&mut bank.db, &at(&format!("'{times}'")), "NB132");
        if keep_state {
            assert_eq!(bank.db.one(&at("'infinity'")), both);
        } else {
            refused(&mut bank.db, &at("'infinity'"), "NB132");
        }
    }
}

#[test]
fn a_table_is_the_target_of_one_projection() {
    // Two could share one, and the rebuild of either deleted the rows of the other.
    let mut bank = with_target();
    let create = |name: &str| format!("select cqrs.create_projection('{name}', 'app.add', 'app.totals')");
    bank.db.run(&create("one"));
    let refusal = refused(&mut bank.db, &create("two"), "NB128");
    assert!(refusal.detail.contains("\"one\""), "{refusal}");
    refused(&mut bank.db, &create("one"), "NB126");
    bank.db.run("select cqrs.rebuild_projection('one')");
    let twin = bank.db.one("select twin_name from cqrs.projections");
    refused(&mut bank.db, &create("two").replace("totals", &twin), "NB128");
    // Two who try at once.
    bank.db.run("select cqrs.drop_projection('one')");
    let made = together(&bank, 4, |n, session| {
        let sql = format!("select cqrs.create_projection('p{n}', 'app.add', 'app.totals')");
        session.try_lines(&sql).map_err(|refusal| refusal.code)
    });
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1, "{made:?}");
    assert!(made.iter().all(|made| made.as_ref().err().is_none_or(|code| code == "NB128")), "{made:?}");
    for catalog in ["pg_catalog.pg_class", "information_schema.sql_features"] {
        let sql = format!("select cqrs.create_projection('s', 'app.add', '{catalog}')");
        refused(&mut bank.db, &sql, "NB128");
    }
}

#[test]
fn a_rebuilt_table_keeps_what_was_set_for_it() {
    // Its replica identity was the default again, so a publication of all tables stopped the rebuild; and statistics,
    // options of its TOAST table, the mark of CLUSTER and the name of its identity column's sequence were lost.
    let mut bank = with_target();
    bank.db.run(
        "create table app.kept (aggregate_id uuid not null, events int not null, total numeric not null, last_version int, \
                                note text, n bigint generated always as identity); \
         create unique index kept_once on app.kept (aggregate_id); \
         create index kept_total on app.kept ((total * 2)); \
         alter table app.kept replica identity full, alter column total set statistics 77, \
           alter column events set (n_distinct = -0.5), cluster on kept_once, set (toast.autovacuum_enabled = off, fillfactor = 80); \
         alter index app.kept_total alter column 1 set statistics 55; \
         create publication everything for all tables; \
         select cqrs.create_projection('kept', 'app.add', 'app.kept')",
    );
    let set = "select c.relreplident, c.reloptions, t.reloptions, \
                 (select string_agg(attname || coalesce(attstattarget::text, '') || coalesce(substring(attoptions::text from 'n_distinct[^,}]*'), ''), ' ' order by attnum) \
                  from pg_attribute where attrelid = c.oid and attnum > 0), \
                 (select string_agg(indexrelid::regclass::text || indisclustered || indisreplident || \
                    coalesce((select attstattarget::text from pg_attribute where attrelid = indexrelid), ''), ' ' order by indexrelid) \
                  from pg_index where indrelid = c.oid), \
                 pg_get_serial_sequence('app.kept', 'n') \
               from pg_class c left join pg_class t on t.oid = c.reltoastrelid where c.oid = 'app.kept'::regclass";
    let before = bank.db.one(set);
    let stream = Uuid::now_v7();
    for amount in 1..4 {
        bank.db.run(&added(stream, amount));
    }
    for identity in ["full", "using index kept_once", "nothing"] {
        bank.db.run(&format!("alter table app.kept replica identity {identity}"));
        let before = bank.db.one(set);
        bank.db.run("select cqrs.rebuild_projection('kept')");
        if identity == "nothing" {
            // As with the table itself.
            all_read(&mut bank.db);
            assert_eq!(bank.db.fails("select cqrs.run_rebuild('kept')").code, "55000");
            bank.db.run("drop publication everything");
        }
        all_read(&mut bank.db);
        rebuild(&mut bank.db, "kept", 100);
        assert_eq!(bank.db.one(set), before, "{identity}");
    }
    assert!(before.contains("app.kept_n_seq") && before.contains("kept_oncetruefalse"), "{before}");
    assert_eq!(bank.db.one("select events, total from app.kept"), "3|6");
    // What is not kept stands in the way.
    bank.db.run("create statistics app.both on events, total from app.kept");
    refused(&mut bank.db, "select cqrs.rebuild_projection('kept')", "NB128");
    bank.db.run("drop statistics app.both; grant usage on app.kept_n_seq to public");
    refused(&mut bank.db, "select cqrs.rebuild_projection('kept')", "NB128");
    // A target that was renamed is not there under its name.
    bank.db.run("alter table app.kept rename to renamed");
    let refusal = refused(&mut bank.db, "select cqrs.rebuild_projection('kept')", "NB128");
    assert!(refusal.detail.contains("is not there under that name"), "{refusal}");
    bank.db.run("select cqrs.create_projection('totals', 'app.add', 'app.totals')");
    run_all(&mut bank.db, "totals");
    is_exact(&mut bank.db, "app.totals");
}

#[test]
fn balances_of_a_publication_without_its_events_are_refused() {
    // They were what the events that are left add up to.
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    let mut opened = Vec::new();
    for _ in 0..2 {
        bank.db.run("select event_store.publish_ledger(true)");
        bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', 1)"));
        opened.push(bank.db.one("select max(global_position) from event_store.events"));
        bank.db.run("select event_store.publish_ledger(false)");
    }
    let of = |position: &str| {
        format!("select balance from event_store.ledger_balances({position}) where account_id = '{a}'")
    };
    assert_eq!(bank.db.one(&of(&opened[0])), "999.00");
    bank.db.run("select event_store.set_retention('LedgerTransaction', '0', false)");
    all_read(&mut bank.db);
    assert_eq!(bank.db.one("select events from event_store.apply_retention()"), "1");
    refused(&mut bank.db, &of(&opened[0]), "NB132");
    assert_eq!(bank.db.lines(&of("1")), [""; 0], "nothing was published by then");
    assert_eq!(bank.db.one(&of(&opened[1])), "998.00");
    assert_eq!(bank.db.one(&of("null")), "998.00");
    let reader = bank.role("reader");
    bank.db.run(&format!("select neobank.grant_usage('{reader}', 'reader')"));
    let mut reader = bank.session_as(&reader);
    assert_eq!(reader.one(&of("null")), "998.00");
    refused_with_code_only(&mut reader, &of(&opened[0]), "NB132");
}

#[test]
fn an_underscore_is_no_digit() {
    // "1_000" was a thousand.
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run(&append(stream, "FundsDeposited", r#"{"amount": "1_000"}"#, ""));
    refused(&mut bank.db, &format!("select event_store.get_aggregate_state('{stream}')"), "NB105");
    for value in ["1_0", "1_0e1", "_1"] {
        let sql =
            format!(r#"select event_store.define_reducer('A', 'B', '[{{"add": ["x"], "value": "{value}"}}]'::jsonb)"#);
        refused(&mut bank.db, &sql, "NB106");
    }
}

#[test]
fn no_tags_leave_out_nothing() {
    // Events without tags were left out.
    let mut bank = Bank::new();
    bank.db.run(&append(Uuid::now_v7(), "T", "{}", ""));
    bank.db.run(&append(Uuid::now_v7(), "T", "{}", ", p_tags => '{t}'"));
    all_read(&mut bank.db);
    for (tags, wanted) in [("'{}'", 2), ("null", 2), ("'{t}'", 1), ("'{t,u}'", 0)] {
        assert_eq!(
            bank.db.count(&format!("select count(*) from event_store.read_all(tags => {tags})")),
            wanted,
            "{tags}"
        );
    }
}

#[test]
fn a_trigger_that_drops_rows_is_told_of() {
    // It was told of as a conflict of ids; one on streams left events behind a stream that did not count them, or an
    // append that went round for ever.
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run(&append(stream, "T", "{}", ""));
    bank.db.run("create function public.drop() returns trigger language plpgsql as $$ begin return null; end $$");
    bank.db.run("set statement_timeout = '10s'");
    for (moment, table) in [("insert", "events"), ("update", "streams"), ("insert", "streams")] {
        bank.db.run(&format!(
            "create trigger a before {moment} on event_store.{table} for each row execute function public.drop()"
        ));
        let to = if moment == "insert" { Uuid::now_v7() } else { stream };
        for tail in ["".to_owned(), format!(", p_event_id => '{}'", Uuid::now_v7())] {
            let refusal = refused(&mut bank.db, &append(to, "T", "{}", &tail), "NB025");
            assert!(refusal.message.contains("suppressed the event"), "{refusal}");
        }
        bank.db.run(&format!("drop trigger a on event_store.{table}"));
    }
    bank.db.run(&append(stream, "T", "{}", ", 1"));
}

#[test]
fn a_command_remembers_events_that_are_deleted() {
    // A retry was answered without them.
    let mut bank = Bank::new();
    bank.db.run(
        "create schema app; \
         create function app.open(c cqrs.commands) returns jsonb language sql as $$ \
           select to_jsonb(array[event_store.append_event('Thing', c.aggregate_id, 'Opened', '{}', \
                                                          p_event_id => 'f0000000-0000-0000-0000-000000000000'), \
                                 event_store.append_event('Thing', c.aggregate_id, 'Opened', '{}')]) $$; \
         select cqrs.register_handler('Open', 'app.open'); \
         select event_store.set_retention('Thing', '0')",
    );
    let id = Uuid::now_v7();
    let submit = format!("select cqrs.submit_command('Open', 'Thing', '{{}}', '{id}', '{id}')");
    let first = bank.db.one(&submit);
    assert_eq!(
        bank.db
            .one(&format!("select cqrs.command_result('{id}') -> 'events' = cqrs.command_result('{id}') -> 'result'")),
        "t"
    );
    all_read(&mut bank.db);
    assert_eq!(bank.db.one("select events from event_store.apply_retention()"), "2");
    assert_eq!(bank.db.one(&submit), first);
}
