//! The event store in one session: what is appended, refused, read back and folded.

use neobank_sessions::*;

pub fn append(stream: Uuid, event_type: &str, data: &str, tail: &str) -> String {
    format!("select event_store.append_event('Account', '{stream}', '{event_type}', '{data}'{tail})")
}

pub fn append_many(stream: Uuid, events: &str, tail: &str) -> String {
    format!("select event_store.append_events('Account', '{stream}', '{events}'{tail})")
}

fn state(stream: Uuid, tail: &str) -> String {
    format!("select event_store.get_aggregate_state('{stream}'{tail})::text")
}

/// What must hold of all streams and events, by tables alone.
pub fn audit_events(db: &mut Client) {
    for (rule, sql) in [
        (
            "a stream's version is the number of its events, without gap or double",
            "select s.aggregate_id from event_store.streams s left join event_store.events e using (aggregate_id) \
             group by s.aggregate_id having max(e.event_version) is distinct from s.version \
             or count(e) <> s.version or min(e.event_version) <> 1",
        ),
        (
            "an event is in a stream of its type",
            "select e.event_id from event_store.events e left join event_store.streams s using (aggregate_id) \
             where s.aggregate_type is distinct from e.aggregate_type",
        ),
        (
            "positions ascend within a stream, and the stream knows the last",
            "select aggregate_id from (select e.aggregate_id, global_position, last_position, event_version, s.version, \
                 lag(global_position, 1, 0::bigint) over (partition by e.aggregate_id order by event_version) as before \
             from event_store.events e join event_store.streams s using (aggregate_id)) x \
             where global_position <= before or (event_version = version and global_position <> last_position)",
        ),
    ] {
        assert_eq!(db.lines(sql), Vec::<String>::new(), "{rule}");
    }
}

#[test]
fn account_events_fold_as_the_contract_says() {
    // The seed's function for appending was refused by the server each time that it was called: FOR UPDATE with MAX().
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    assert_eq!(bank.db.one(&state(stream, "")), "{}");
    let first = bank.db.id(&append(stream, "AccountOpened", r#"{"owner": "Ada", "balance": 1000.00}"#, ""));
    bank.db.run(&append(stream, "FundsDeposited", r#"{"amount": 0.10}"#, ", 1"));
    bank.db.run(&append(stream, "FundsWithdrawn", r#"{"amount": "500.3"}"#, ", 2"));
    bank.db.run(&append(stream, "AddressChanged", r#"{"city": "London"}"#, ""));
    bank.db.run(&append(stream, "AccountClosed", r#"{"reason": "moved"}"#, ", -1"));
    assert_eq!(
        bank.db.json(&state(stream, "")),
        serde_json::from_str::<serde_json::Value>(
            r#"{"owner": "Ada", "balance": 499.80, "city": "London", "status": "closed", "version": 5}"#
        )
        .expect("it is JSON")
    );
    assert!(bank.db.one(&state(stream, ", 2")).contains(r#""balance": 1000.10, "version": 2"#));
    assert_eq!(bank.db.one(&state(stream, ", 0")), "{}");
    let rows = format!(
        "select event_version, event_type, aggregate_type, created_by = session_user, metadata, tags is null, \
         event_id = '{first}' from event_store.read_stream('{stream}')"
    );
    let lines = bank.db.lines(&rows);
    assert_eq!(lines[0], "1|AccountOpened|Account|t|{}|t|t");
    assert_eq!(lines.len(), 5);
    audit_events(&mut bank.db);
}

#[test]
fn a_balance_that_no_event_opened_is_a_number() {
    // The seed's fold added to what was not there, and the balance was NULL for ever after.
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run(&append(stream, "FundsDeposited", r#"{"amount": 5.50}"#, ""));
    assert_eq!(bank.db.one(&state(stream, "")), r#"{"balance": 5.50, "version": 1}"#);
    bank.db.run(&append(stream, "FundsDeposited", r#"{"sum": 5.50}"#, ""));
    let refusal = refused(&mut bank.db, &state(stream, ""), "NB105");
    assert_eq!(refusal.detail, format!("Event 2 of aggregate {stream} has no amount."));
    assert_eq!(bank.db.one(&state(stream, ", 1")), r#"{"balance": 5.50, "version": 1}"#);
}

#[test]
fn a_batch_is_appended_whole_and_in_its_order() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    let events = r#"[{"event_type": "AccountOpened", "event_data": {"balance": 1}, "metadata": {"correlation_id": "c"}},
                     {"event_type": "FundsDeposited", "event_data": {"amount": 2}, "tags": ["card", "night"]}]"#;
    assert_eq!(bank.db.one(&append_many(stream, events, ", 0")), "2");
    assert_eq!(bank.db.one(&append_many(stream, events, "")), "4");
    let rows =
        format!("select event_version, event_type, metadata, tags from event_store.read_stream('{stream}', 2, 2)");
    assert_eq!(
        bank.db.lines(&rows),
        ["2|FundsDeposited|{}|{card,night}", r#"3|AccountOpened|{"correlation_id": "c"}|"#]
    );
    let most: Vec<String> =
        (0..10_000).map(|n| format!(r#"{{"event_type": "T{n}", "event_data": {{"n": {n}}}}}"#)).collect();
    assert_eq!(bank.db.one(&append_many(stream, &format!("[{}]", most.join(",")), ", 4")), "10004");
    assert!(bank.db.one(&state(stream, "")).contains(r#""n": 9999"#));
    audit_events(&mut bank.db);
}

#[test]
fn what_is_not_expected_is_refused() {
    let mut bank = Bank::new();
    let (stream, other) = (Uuid::now_v7(), Uuid::now_v7());
    bank.db.run(&append(stream, "Opened", "{}", ""));
    for (sql, detail) in [
        (append(stream, "T", "{}", ", 0"), format!("Aggregate {stream} is at version 1; no stream was expected.")),
        (append(stream, "T", "{}", ", 2"), format!("Aggregate {stream} is at version 1; version 2 was expected.")),
        (append(other, "T", "{}", ", -1"), format!("Aggregate {other} is at version 0; a stream was expected.")),
        (append(other, "T", "{}", ", 1"), format!("Aggregate {other} is at version 0; version 1 was expected.")),
    ] {
        assert_eq!(refused(&mut bank.db, &sql, "NB101").detail, detail);
    }
    let wrong = format!("select event_store.append_event('Customer', '{stream}', 'T', '{{}}')");
    assert_eq!(
        refused(&mut bank.db, &wrong, "NB102").detail,
        format!("Aggregate {stream} is of type \"Account\", not \"Customer\".")
    );
    let good = r#"{"event_type": "T", "event_data": {}}"#;
    for (sql, code) in [
        (append(stream, " ", "{}", ""), "NB021"),
        (append(stream, &"x".repeat(101), "{}", ""), "NB021"),
        (append(stream, "T", "[]", ""), "NB021"),
        (append(stream, "T", "1", ""), "NB021"),
        (append(stream, "T", "{}", ", -2"), "NB021"),
        (append(stream, "T", "{}", ", null, '[]'"), "NB021"),
        (append(stream, "T", "{}", ", p_tags => '{a,a}'"), "NB021"),
        (append(stream, "T", "{}", ", p_tags => '{a,null}'"), "NB021"),
        (append(stream, "T", "{}", ", p_tags => array_fill('a'::text, '{21}')"), "NB021"),
        (append(stream, "T", "{}", "").replace("'{}'", "null"), "22004"),
        (append(stream, "T", "{}", "").replace("'T'", "null"), "22004"),
        (append(stream, "T", "{}", "").replace("'Account'", "null"), "22004"),
        ("select event_store.append_event('Account', null, 'T', '{}')".into(), "22004"),
        (
            format!(
                "select event_store.append_event('Account', '{stream}', 'T', jsonb_build_object('x', repeat('x', 1048576)))"
            ),
            "NB021",
        ),
        (append_many(stream, "[]", ""), "NB021"),
        (append_many(stream, "{}", ""), "NB021"),
        (append_many(stream, &format!("[{}]", vec![good; 10_001].join(",")), ""), "NB021"),
        (append_many(stream, &format!("[{good}, 1]"), ""), "NB104"),
        (append_many(stream, &format!("[{good}, {{}}]"), ""), "NB104"),
        (append_many(stream, r#"[{"event_type": "T", "event_data": {}, "event_id": "x"}]"#, ""), "NB104"),
        (append_many(stream, "[]", "").replace("'[]'", "null"), "22004"),
        (format!("select event_store.append_events('Account', null, '[{good}]')"), "22004"),
        (format!("select event_store.append_events(null, '{stream}', '[{good}]')"), "22004"),
        ("select event_store.get_aggregate_state(null)".into(), "22004"),
        (state(stream, ", -1"), "NB021"),
        (format!("select * from event_store.read_stream('{stream}', 1, 0)"), "NB021"),
        (format!("select * from event_store.read_stream('{stream}', 1, 100001)"), "NB021"),
        ("select * from event_store.read_all(0, null)".into(), "22004"),
        ("select * from event_store.read_category('Account', 0, -1)".into(), "NB021"),
    ] {
        refused(&mut bank.db, &sql, code);
    }
    audit_events(&mut bank.db);
}

#[test]
fn the_same_event_again_is_acknowledged_and_not_rewritten() {
    let mut bank = Bank::new();
    let (stream, id) = (Uuid::now_v7(), Uuid::now_v7());
    let one = append(stream, "Opened", r#"{"a": 1.0}"#, &format!(", 0, '{{\"c\": 1}}', '{id}', '{{t}}'"));
    assert_eq!(bank.db.id(&one), id);
    bank.db.run(&append(stream, "Later", "{}", ""));
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.id(&one), id, "whatever the version is by now");
    assert_eq!(before, snapshot(&mut bank.db));
    let again = |event_type: &str, data: &str, more: &str| append(stream, event_type, data, &format!(", null, {more}"));
    for sql in [
        again("Closed", r#"{"a": 1.0}"#, &format!("'{{\"c\": 1}}', '{id}', '{{t}}'")),
        again("Opened", r#"{"a": 1}"#, &format!("'{{\"c\": 1}}', '{id}', '{{t}}'")),
        again("Opened", r#"{"a": 1.0}"#, &format!("'{{\"c\": 2}}', '{id}', '{{t}}'")),
        again("Opened", r#"{"a": 1.0}"#, &format!("'{{\"c\": 1}}', '{id}', '{{u}}'")),
        again("Opened", r#"{"a": 1.0}"#, &format!("'{{\"c\": 1}}', '{id}'")),
        append(Uuid::now_v7(), "Opened", r#"{"a": 1.0}"#, &format!(", 0, '{{\"c\": 1}}', '{id}', '{{t}}'")),
    ] {
        refused(&mut bank.db, &sql, "NB103");
    }
    let ids = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
    let item = |id: Uuid| format!(r#"{{"event_type": "T", "event_data": {{}}, "event_id": "{id}"}}"#);
    let events = |of: &[usize]| format!("[{}]", of.iter().map(|at| item(ids[*at])).collect::<Vec<_>>().join(","));
    assert_eq!(bank.db.one(&append_many(stream, &events(&[0, 1]), ", 2")), "4");
    bank.db.run(&append(stream, "Later", "{}", ""));
    assert_eq!(bank.db.one(&append_many(stream, &events(&[0, 1]), ", 2")), "4", "the version that they led to");
    for mixed in [&[1, 0][..], &[0, 1, 2], &[2, 0]] {
        refused(&mut bank.db, &append_many(stream, &events(mixed), ""), "NB103");
    }
    audit_events(&mut bank.db);
}

#[test]
fn what_is_rolled_back_has_not_happened() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run(&append(stream, "Opened", "{}", ""));
    let before = snapshot(&mut bank.db);
    bank.db.run("begin");
    bank.db.run(&append(stream, "A", "{}", ", 1"));
    bank.db.run("savepoint s");
    bank.db.run(&append(stream, "B", "{}", ", 2"));
    bank.db.run("rollback to s");
    bank.db.run(&append(stream, "C", "{}", ", 2"));
    bank.db.run("rollback");
    assert_eq!(before, snapshot(&mut bank.db));
    bank.db.run("begin");
    bank.db.run("savepoint s");
    bank.db.run(&append(stream, "A", "{}", ", 1"));
    bank.db.run("rollback to s");
    bank.db.run(&append(stream, "B", "{}", ", 1"));
    bank.db.run("release s");
    bank.db.run("savepoint t");
    bank.db.run(&append(stream, "C", "{}", ", 2"));
    bank.db.run("commit");
    let types = format!("select event_type from event_store.read_stream('{stream}')");
    assert_eq!(bank.db.lines(&types), ["Opened", "B", "C"]);
    audit_events(&mut bank.db);
}

#[test]
fn events_are_for_good_and_written_by_the_functions_only() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run(&append(stream, "Opened", "{}", ""));
    for sql in [
        "update event_store.events set event_data = '{}'",
        "delete from event_store.events",
        "truncate event_store.events",
        "insert into event_store.events select * from event_store.events",
        "update event_store.streams set version = 9",
        "delete from event_store.streams",
    ] {
        refused(&mut bank.db, sql, "NB009");
    }
    let (nobody, reader, teller) = (bank.role("nobody"), bank.role("reader"), bank.role("teller"));
    bank.db.run(&format!("select neobank.grant_usage('{reader}', 'reader')"));
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    let read = format!("select count(*) from event_store.read_stream('{stream}')");
    refused_with_code_only(&mut bank.session_as(&nobody), &read, "42501");
    let mut reader = bank.session_as(&reader);
    assert_eq!(reader.one(&read), "1");
    assert_eq!(reader.one(&state(stream, "")), r#"{"version": 1}"#);
    refused_with_code_only(&mut reader, &append(stream, "T", "{}", ""), "42501");
    let mut teller = bank.session_as(&teller);
    teller.run(&append(stream, "T", "{}", ", 1"));
    refused_with_code_only(&mut teller, "update event_store.streams set version = 9", "42501");
    let by = format!("select created_by = session_user from event_store.read_stream('{stream}', 2)");
    assert_eq!(teller.one(&by), "t");
    audit_events(&mut bank.db);
}

#[test]
fn positions_go_on_from_those_of_a_restore() {
    // A cluster that has counted fewer transactions than the one that the events come from.
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    let far = 900_000_000_000_i64 << 20;
    bank.db.run(&format!(
        "insert into event_store.events (event_id, aggregate_id, global_position, event_version, aggregate_type, \
         event_type, created_by, event_data) values (gen_random_uuid(), '{stream}', {far}, 1, 'Account', 'Opened', 'x', '{{}}')"
    ));
    bank.db.run(&format!(
        "insert into event_store.streams (aggregate_id, last_position, version, aggregate_type) \
         values ('{stream}', {far}, 1, 'Account')"
    ));
    let all = "select event_type from event_store.read_all()";
    bank.db.run(&append(stream, "Later", "{}", ", 1"));
    bank.db.run(&append(Uuid::now_v7(), "Elsewhere", "{}", ", 0"));
    for _ in 0..6_000 {
        // What another database's transaction holds back appears when that ends.
        if bank.db.lines(all).len() == 3 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(bank.db.lines(all), ["Opened", "Later", "Elsewhere"]);
    audit_events(&mut bank.db);
}
