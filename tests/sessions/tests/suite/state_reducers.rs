//! Reducers: what is declared, what is refused, and whose rights their functions have.

use crate::events::append;
use neobank_sessions::*;

fn define(event_type: &str, operations: &str) -> String {
    format!("select event_store.define_reducer('Account', '{event_type}', '{operations}')")
}

fn state(db: &mut Client, stream: Uuid) -> String {
    db.one(&format!("select event_store.get_aggregate_state('{stream}') - 'version'"))
}

#[test]
fn each_operation_does_what_it_says() {
    let mut bank = Bank::new();
    let start = r#"{"a": {"b": 1.50, "list": [1, {"c": 2}], "t": "7"}, "n": null, "x": "text"}"#;
    for (operations, after) in [
        (r#"[{"set": ["x"], "value": [1, null]}]"#, r#"{"a": A, "n": null, "x": [1, null]}"#),
        (
            r#"[{"set": ["new", "deep"], "from": ["d", "e"]}]"#,
            r#"{"a": A, "n": null, "x": "text", "new": {"deep": 5.0}}"#,
        ),
        (r#"[{"set": [], "from": ["d"]}]"#, r#"{"e": 5.0}"#),
        (r#"[{"set": [], "value": {}}]"#, "{}"),
        (
            r#"[{"set": ["a", "list", "1", "c"], "from": ["l", "0"]}]"#,
            r#"{"a": {"b": 1.50, "t": "7", "list": [1, {"c": 8}]}, "n": null, "x": "text"}"#,
        ),
        (r#"[{"merge": [], "from": ["d"]}]"#, r#"{"a": A, "e": 5.0, "n": null, "x": "text"}"#),
        (r#"[{"merge": ["n", "m"], "value": {"k": true}}]"#, r#"{"a": A, "n": {"m": {"k": true}}, "x": "text"}"#),
        (
            r#"[{"add": ["a", "b"], "from": ["d", "e"]}]"#,
            r#"{"a": {"b": 6.50, "t": "7", "list": [1, {"c": 2}]}, "n": null, "x": "text"}"#,
        ),
        (
            r#"[{"subtract": ["a", "t"], "value": "0.25"}]"#,
            r#"{"a": {"b": 1.50, "t": 6.75, "list": [1, {"c": 2}]}, "n": null, "x": "text"}"#,
        ),
        (
            r#"[{"subtract": ["sum"], "value": 1}, {"add": ["sum"], "value": 3}, {"add": ["n"], "value": 1}]"#,
            r#"{"a": A, "n": 1, "sum": 2, "x": "text"}"#,
        ),
        (
            r#"[{"append": ["a", "list"], "from": []}]"#,
            r#"{"a": {"b": 1.50, "t": "7", "list": [1, {"c": 2}, {"d": {"e": 5.0}, "l": [8]}]}, "n": null, "x": "text"}"#,
        ),
        (
            r#"[{"append": ["n"], "value": 1}, {"append": ["n"], "value": [2]}]"#,
            r#"{"a": A, "n": [1, [2]], "x": "text"}"#,
        ),
        (
            r#"[{"remove": ["a", "list", "0"]}, {"remove": ["x"]}, {"remove": ["no", "such"]}, {"remove": ["x", "y"]}]"#,
            r#"{"a": {"b": 1.50, "t": "7", "list": [{"c": 2}]}, "n": null}"#,
        ),
        (
            r#"[{"add": ["sum"], "from": ["none"], "optional": true}, {"set": ["s"], "from": ["d", "f"], "optional": true}]"#,
            r#"{"a": A, "n": null, "x": "text"}"#,
        ),
        ("[]", r#"{"a": A, "n": null, "x": "text"}"#),
    ] {
        let stream = Uuid::now_v7();
        bank.db.run(&append(stream, "Started", start, ""));
        bank.db.run(&append(stream, "Done", r#"{"d": {"e": 5.0}, "l": [8]}"#, ""));
        bank.db.run(&define("Done", operations));
        let after = after.replace(": A", r#": {"b": 1.50, "t": "7", "list": [1, {"c": 2}]}"#);
        let wanted = bank.db.one(&format!("select '{after}'::jsonb"));
        assert_eq!(state(&mut bank.db, stream), wanted, "{operations}");
    }
}

#[test]
fn what_an_event_cannot_do_is_said() {
    let mut bank = Bank::new();
    for (operations, why) in [
        (r#"[{"set": ["y"], "from": ["none", "x"]}]"#, "has no none.x"),
        (r#"[{"set": [], "from": ["n"]}]"#, "has a n that is no object"),
        (r#"[{"merge": ["x"], "value": {}}]"#, "finds no object at x of the state"),
        (r#"[{"merge": [], "from": ["n"]}]"#, "has a n that is no object"),
        (r#"[{"add": ["x"], "value": 1}]"#, "has the x text, which is no decimal of up to 28 digits"),
        (r#"[{"add": ["y"], "from": ["o"]}]"#, "has a o that is no number"),
        (r#"[{"append": ["x"], "value": 1}]"#, "finds no array at x of the state"),
        (r#"[{"set": ["x", "y"], "value": 1}]"#, "finds no object above x.y of the state"),
        (r#"[{"set": ["l", "9"], "value": 1}]"#, "finds no element 9 at l.9 of the state"),
    ] {
        let stream = Uuid::now_v7();
        bank.db.run(&append(stream, "Started", r#"{"x": "text", "l": []}"#, ""));
        bank.db.run(&append(stream, "Done", r#"{"n": 1, "o": {}}"#, ""));
        bank.db.run(&define("Done", operations));
        let refusal = refused(&mut bank.db, &format!("select event_store.get_aggregate_state('{stream}')"), "NB105");
        assert_eq!(refusal.detail, format!("Event 2 of aggregate {stream} {why}."), "{operations}");
        assert_eq!(
            bank.db.one(&format!("select event_store.get_aggregate_state('{stream}', 1) - 'version'")),
            r#"{"l": [], "x": "text"}"#
        );
    }
}

#[test]
fn a_bad_definition_is_refused_whole() {
    let mut bank = Bank::new();
    bank.db.run(&define("Done", r#"[{"remove": ["a"]}]"#));
    let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    for (operations, detail) in [
        ("{}", "They are not an array."),
        ("1", "They are not an array."),
        (r#"[{"remove": ["a"]}, 1]"#, "Operation 2, operation: It is not an object."),
        (r#"[{"remove": ["a"]}, {"add": ["a"]}]"#, "Operation 2, value: It has neither value nor from."),
        (
            r#"[{"add": ["a"], "value": "x"}]"#,
            "Operation 1, value: The operation has the value x, which is no decimal of up to 28 digits.",
        ),
        (
            r#"[{"set": ["version"], "value": 1}]"#,
            "Operation 1, set: The state's version is the aggregate's, and no operation changes it.",
        ),
        (r#"[{"set": ["a"], "from": ["b"], "maybe": true}]"#, "Operation 1, maybe: There is no such key."),
    ] {
        assert_eq!(refused(&mut bank.db, &define("Done", operations), "NB106").detail, detail, "{operations}");
    }
    let long = format!(r#"[{{"set": ["a"], "value": "{}"}}]"#, "x".repeat(70_000));
    for (sql, code) in [
        (define("Done", &long), "NB021"),
        (define("Done", &format!(r#"[{{"set": ["a"], "value": {deep}}}]"#)), "NB021"),
        (define(" ", "[]"), "NB021"),
        (define(&"x".repeat(101), "[]"), "NB021"),
        ("select event_store.define_reducer('', 'T', '[]')".into(), "NB021"),
        ("select event_store.define_reducer('Account', 'T')".into(), "NB021"),
        ("select event_store.define_reducer('Account', 'T', '[]', 'now')".into(), "NB021"),
        ("select event_store.define_reducer('Account', 'T', handler => 'now')".into(), "NB107"),
        ("select event_store.define_reducer('Account', 'T', handler => 0)".into(), "NB107"),
        ("select event_store.drop_reducer('Account', 'T')".into(), "NB108"),
        ("select event_store.drop_reducer(null, 'Done')".into(), "NB108"),
        ("select event_store.drop_reducer('', 'Done')".into(), "NB021"),
    ] {
        refused(&mut bank.db, &sql, code);
    }
    let stored = "select aggregate_type, event_type, operations, handler is null, defined_by = session_user from event_store.reducers";
    assert_eq!(bank.db.lines(stored), [r#"Account|Done|[{"remove": ["a"]}]|t|t"#]);
}

#[test]
fn the_nearest_reducer_is_taken_and_the_same_again_changes_nothing() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run(&append(stream, "FundsDeposited", r#"{"amount": 5}"#, ""));
    bank.db.run(&append(stream, "Noted", r#"{"note": "n"}"#, ""));
    let set = |to: &str| format!(r#"'[{{"set": ["by"], "value": "{to}"}}]'"#);
    assert_eq!(state(&mut bank.db, stream), r#"{"note": "n", "balance": 5}"#);
    for (target, after) in [
        ("null, 'Noted'", r#"{"by": "1", "balance": 5}"#),
        ("'Customer', null", r#"{"by": "1", "balance": 5}"#),
        ("null, null", r#"{"by": "1"}"#),
        ("'Account', null", r#"{"by": "4"}"#),
        ("'Account', 'FundsDeposited'", r#"{"by": "4"}"#),
        ("'Account', 'Noted'", r#"{"by": "6"}"#),
    ] {
        let n = bank.db.count("select count(*) + 1 from event_store.reducers").to_string();
        bank.db.run(&format!("select event_store.define_reducer({target}, {})", set(&n)));
        assert_eq!(state(&mut bank.db, stream), after, "{target}");
    }
    let before = snapshot(&mut bank.db);
    bank.db.run(&format!("select event_store.define_reducer('Account', 'Noted', {})", set("6")));
    assert_eq!(before, snapshot(&mut bank.db));
    // What is rolled back was never declared, though this session has read it.
    bank.db.run(&format!("begin; select event_store.define_reducer('Account', 'Noted', {})", set("9")));
    assert_eq!(state(&mut bank.db, stream), r#"{"by": "9"}"#);
    bank.db.run("rollback");
    assert_eq!(state(&mut bank.db, stream), r#"{"by": "6"}"#);
    bank.db.run(
        "select event_store.drop_reducer(r.aggregate_type, r.event_type) from event_store.reducers r \
         where r.aggregate_type is distinct from 'Customer'",
    );
    assert_eq!(state(&mut bank.db, stream), r#"{"note": "n", "balance": 5}"#);
}

const COUNTS: &str = "(state jsonb, event event_store.events) returns jsonb immutable language sql \
    begin atomic select state || jsonb_build_object('count', coalesce((state ->> 'count')::numeric, 0) + 1, \
    'last', event.event_version, 'who', current_user); end";

#[test]
fn a_function_folds_with_the_rights_of_who_reads() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    let reader = bank.role("reader");
    bank.db.run(&format!(
        "select neobank.grant_usage('{reader}', 'reader'); create schema app; create function app.counts{COUNTS}"
    ));
    bank.db.run("revoke execute on function app.counts from public");
    bank.db.run("select event_store.define_reducer('Account', 'Counted', handler => 'app.counts')");
    for event in ["Counted", "FundsDeposited", "Counted"] {
        bank.db.run(&append(stream, event, r#"{"amount": 2.50}"#, ""));
    }
    let me = bank.db.one("select current_user");
    assert_eq!(state(&mut bank.db, stream), format!(r#"{{"who": "{me}", "last": 3, "count": 2, "balance": 2.50}}"#));
    let read = format!("select event_store.get_aggregate_state('{stream}')");
    let mut session = bank.session_as(&reader);
    refused_with_code_only(&mut session, &read, "NB107");
    bank.db.run(&format!("grant execute on function app.counts to {reader}; grant usage on schema app to {reader}"));
    assert!(session.one(&read).contains(&format!(r#""who": "{reader}""#)), "not the owner's rights");
    // No snapshots: what a function computes may change without notice.
    let one = r#"{"event_type": "Counted", "event_data": {}}"#;
    let many = format!("[{}]", vec![one; 600].join(","));
    bank.db.run(&format!("select event_store.append_events('Account', '{stream}', '{many}')"));
    assert_eq!(bank.db.count("select count(*) from event_store.snapshots"), 0);
    assert_eq!(bank.db.one(&format!("select event_store.take_snapshot('{stream}')")), "");
    assert!(state(&mut bank.db, stream).contains(r#""count": 602"#));
    for (body, code) in [
        ("select null::jsonb", "NB105"),
        ("select '[]'::jsonb", "NB105"),
        ("select jsonb_build_object('x', 1 / 0)", "22012"),
    ] {
        bank.db.run(&format!(
            "create or replace function app.counts(state jsonb, event event_store.events) returns jsonb language sql as $$ {body} $$"
        ));
        refused_with_code_only(&mut bank.db, &read, code);
    }
    bank.db.run("drop function app.counts");
    refused(&mut bank.db, &read, "NB107");
}

#[test]
fn nobody_gets_another_ones_rights_through_a_reducer() {
    // Whoever owns the function decides what those who read a state run.
    let mut bank = Bank::new();
    let (stream, mallory) = (Uuid::now_v7(), bank.role("mallory"));
    bank.db.run(&append(stream, "Counted", "{}", ""));
    bank.db.run(&format!(
        "select neobank.grant_usage('{mallory}', 'operator'); create schema app; grant all on schema app to {mallory}"
    ));
    let mut session = bank.session_as(&mallory);
    session.run(&format!("create function app.evil{COUNTS}"));
    let defines = "select event_store.define_reducer('Account', 'Counted', handler => 'app.evil')";
    refused_with_code_only(&mut session, defines, "42501");
    refused(&mut bank.db, defines, "NB107");
    // Theirs by and by.
    bank.db.run(&format!("create function app.good{COUNTS}"));
    bank.db.run("select event_store.define_reducer('Account', 'Counted', handler => 'app.good')");
    assert!(state(&mut bank.db, stream).contains(r#""count": 1"#));
    bank.db.run(&format!("alter function app.good owner to {mallory}"));
    let read = format!("select event_store.get_aggregate_state('{stream}')");
    refused(&mut bank.db, &read, "NB107");
    assert!(session.one(&read).contains(&format!(r#""who": "{mallory}""#)), "their own they may run");
}
