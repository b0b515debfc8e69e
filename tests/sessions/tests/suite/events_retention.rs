//! Events deleted by rule: what goes, what stays, and what is left to tell of it.

use crate::events::append;
use neobank_sessions::*;

const ALL: &str = "select * from event_store.apply_retention()";

fn rule(of_type: &str, keep: &str, keep_state: bool) -> String {
    format!("select event_store.set_retention('{of_type}', {keep}, {keep_state})")
}

fn deposits(bank: &mut Bank, stream: Uuid, count: usize) {
    for n in 0..count {
        bank.db.run(&append(
            stream,
            "FundsDeposited",
            r#"{"amount": 1.50}"#,
            &format!(", null, '{{\"n\": {n}}}', null, '{{t}}'"),
        ));
    }
}

fn state(stream: Uuid, to: &str) -> String {
    format!("select event_store.get_aggregate_state('{stream}', {to})")
}

/// The versions that are there, and that of the stream.
fn versions(bank: &mut Bank, stream: Uuid) -> String {
    bank.db.one(&format!(
        "select coalesce(min(e.event_version), 0) || '-' || coalesce(max(e.event_version), 0) || ' of ' || max(s.version) \
         from event_store.streams s left join event_store.events e using (aggregate_id) where s.aggregate_id = '{stream}'"
    ))
}

#[test]
fn what_is_older_than_the_rule_goes_and_its_state_stays() {
    let mut bank = Bank::new();
    let (stream, other) = (Uuid::now_v7(), Uuid::now_v7());
    deposits(&mut bank, stream, 6);
    bank.db.run(&format!("select event_store.append_event('Loan', '{other}', 'T', '{{}}')"));
    all_read(&mut bank.db);
    assert_eq!(bank.db.one(ALL), "0|0|t", "without a rule all is kept");
    bank.db.run(&rule("Account", "'1 day'", true));
    assert_eq!(bank.db.one(ALL), "0|0|t", "nothing is that old");
    bank.db.run("create table public.archive as select * from event_store.events");
    bank.db.run(&rule("Account", "'0'", true));
    assert_eq!(bank.db.one("select * from event_store.apply_retention(4)"), "4|1|f");
    assert_eq!(versions(&mut bank, stream), "5-6 of 6");
    assert_eq!(bank.db.one(&state(stream, "null")), r#"{"balance": 9.00, "version": 6}"#);
    assert_eq!(bank.db.one(&state(stream, "4")), r#"{"balance": 6.00, "version": 4}"#);
    assert_eq!(bank.db.one(&state(stream, "0")), "{}");
    let refusal = refused(&mut bank.db, &state(stream, "3"), "NB132");
    assert!(refusal.detail.contains("to version 4"), "{refusal}");
    assert_eq!(bank.db.one(ALL), "2|1|t");
    assert_eq!(versions(&mut bank, stream), "0-0 of 6");
    assert_eq!(bank.db.one(&state(stream, "null")), r#"{"balance": 9.00, "version": 6}"#);
    refused(&mut bank.db, &state(stream, "5"), "NB132");
    assert_eq!(bank.db.one(&state(stream, "4")), r#"{"balance": 6.00, "version": 4}"#);
    // Versions go on, and so does the state.
    bank.db.run(&append(stream, "FundsWithdrawn", r#"{"amount": 2}"#, ", 6"));
    assert_eq!(versions(&mut bank, stream), "7-7 of 7");
    assert_eq!(bank.db.one(&state(stream, "null")), r#"{"balance": 7.00, "version": 7}"#);
    assert_eq!(bank.db.count(&format!("select count(*) from event_store.read_stream('{stream}')")), 1);
    assert_eq!(bank.db.count(&format!("select count(*) from event_store.read_stream('{other}')")), 1);
    // The tombstones say what was there, and an archive can be held against them.
    let tombstones = "select from_version, to_version, events, aggregate_type, deleted_by = session_user, keep, \
        content_hash = (select event_store.events_hash(row(a.*)::event_store.events order by a.event_version) from public.archive a \
          where a.aggregate_id = t.aggregate_id and a.event_version between t.from_version and t.to_version), \
        from_position = (select min(global_position) from public.archive a where a.aggregate_id = t.aggregate_id \
          and a.event_version between t.from_version and t.to_version) \
        from event_store.tombstones t order by to_version";
    assert_eq!(bank.db.lines(tombstones), ["1|4|4|Account|t|00:00:00|t|t", "5|6|2|Account|t|00:00:00|t|t"]);
    bank.db.run("update public.archive set event_data = '{\"amount\": 1.5}' where event_version = 2");
    assert_eq!(bank.db.lines(tombstones)[0], "1|4|4|Account|t|00:00:00|f|t");
    bank.db.run(&rule("Account", "null", true));
    assert_eq!(bank.db.count("select count(*) from event_store.retention_rules"), 0);
}

#[test]
fn the_hash_does_not_depend_on_the_session() {
    let mut bank = Bank::new();
    deposits(&mut bank, Uuid::now_v7(), 3);
    let hash = "select event_store.events_hash(e order by e.event_version) from event_store.events e";
    let here = bank.db.one(hash);
    let mut other = bank.session();
    other.run("set timezone = 'Asia/Tokyo'; set datestyle = 'German'; set intervalstyle = 'iso_8601'; set bytea_output = 'hex'");
    assert_eq!(other.one(hash), here);
    assert_eq!(here.len(), 2 + 64);
}

#[test]
fn a_state_that_is_not_kept_is_gone() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    deposits(&mut bank, stream, 2);
    all_read(&mut bank.db);
    bank.db.run(&rule("Account", "'0'", false));
    assert_eq!(bank.db.one(ALL), "2|1|t");
    refused(&mut bank.db, &state(stream, "null"), "NB132");
    bank.db.run(&append(stream, "FundsDeposited", r#"{"amount": 1}"#, ", 2"));
    refused(&mut bank.db, &state(stream, "null"), "NB132");
    // A rule that keeps states from now on has none to begin with.
    bank.db.run(&rule("Account", "'0'", true));
    all_read(&mut bank.db);
    assert_eq!(bank.db.one(ALL), "1|1|t");
    assert_eq!(bank.db.lines("select state is null from event_store.tombstones"), ["t", "t"]);
    // What cannot be folded is not deleted where its state is to be kept.
    let broken = Uuid::now_v7();
    bank.db.run(&append(broken, "FundsDeposited", "{}", ""));
    all_read(&mut bank.db);
    refused(&mut bank.db, ALL, "NB105");
}

#[test]
fn what_somebody_has_not_seen_stays() {
    let mut bank = Bank::new();
    let (stream, later) = (Uuid::now_v7(), Uuid::now_v7());
    deposits(&mut bank, stream, 3);
    deposits(&mut bank, later, 1);
    all_read(&mut bank.db);
    bank.db.run(&rule("Account", "'0'", true));
    let third = bank.db.count("select max(global_position) from event_store.events where event_version = 3");
    bank.db.run(&format!(
        "create or replace function event_store.lowest_needed_position() returns bigint language sql stable as 'select {third}::bigint'"
    ));
    assert_eq!(bank.db.one(ALL), "2|1|t");
    assert_eq!(versions(&mut bank, stream), "3-3 of 3");
    // Nor what is not final in the reading order yet.
    bank.db.run("create or replace function event_store.lowest_needed_position() returns bigint language sql stable as 'select 9223372036854775807'");
    let mut long = bank.session();
    long.run(&format!("begin; {}", append(Uuid::now_v7(), "T", "{}", "")));
    deposits(&mut bank, later, 1);
    bank.db.run(ALL);
    assert_eq!(versions(&mut bank, later), "2-2 of 2");
    long.run("rollback");
}

#[test]
fn the_published_ledger_keeps_what_its_balances_rest_on() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    let post = format!("select txn_processing.transfer('{a}', '{b}', 1)");
    bank.db.run("select event_store.publish_ledger(true)");
    bank.db.run(&post);
    bank.db.run("select event_store.publish_ledger(false)");
    for of_type in ["LedgerTransaction", "LedgerOpening", "LedgerPublication"] {
        bank.db.run(&rule(of_type, "'0'", false));
    }
    all_read(&mut bank.db);
    assert_eq!(bank.db.one(ALL), "0|0|t", "they still say what was there when it was switched off");
    bank.db.run("select event_store.prepare_ledger_publication(2)");
    all_read(&mut bank.db);
    assert_eq!(bank.db.one(ALL), "0|0|t");
    bank.db.run("select event_store.publish_ledger(true)");
    bank.db.run(&post);
    all_read(&mut bank.db);
    bank.db.run("call event_store.run_retention(4)");
    assert_eq!(bank.db.count("select count(*) from event_store.events where event_type = 'TransferPosted'"), 1);
    assert_eq!(bank.db.lines("select * from event_store.check_ledger_events()"), [""; 0]);
    assert_eq!(bank.db.count("select count(*) from event_store.events where event_data ->> 'publication' = '1'"), 0);
}

#[test]
fn several_callers_delete_each_event_once_while_others_append() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let streams: Vec<Uuid> = (0..20).map(|_| Uuid::now_v7()).collect();
    for stream in &streams {
        deposits(&mut bank, *stream, 10);
    }
    all_read(&mut bank.db);
    bank.db.run(&rule("Account", "'0'", true));
    let appended = streams.clone();
    together(&bank, 6, move |n, session| {
        for k in 0..20 {
            if n < 4 {
                // One who finds nothing that is not another's comes again.
                session.run("select * from event_store.apply_retention(7)");
            } else {
                session.run(&append(appended[(n * 7 + k) % 20], "FundsDeposited", r#"{"amount": 1.50}"#, ""));
            }
        }
    });
    all_read(&mut bank.db);
    while bank.db.one("select done from event_store.apply_retention()") == "f" {}
    assert_eq!(bank.db.count("select count(*) from event_store.events"), 0);
    assert_eq!(bank.db.count("select sum(events) from event_store.tombstones"), 20 * 10 + 2 * 20);
    for (rule, sql) in [
        (
            "tombstones follow one another",
            "select * from (select *, lag(to_version, 1, 0) over (partition by aggregate_id order by to_version) as before \
             from event_store.tombstones) t where from_version <> before + 1 or events <> to_version - from_version + 1",
        ),
        (
            "each stream's state is its sum",
            "select * from event_store.streams s \
             where (event_store.get_aggregate_state(aggregate_id) ->> 'balance')::numeric <> 1.5 * s.version \
                or (event_store.get_aggregate_state(aggregate_id) ->> 'version')::int <> s.version",
        ),
    ] {
        assert_eq!(bank.db.lines(sql), [""; 0], "{rule}");
    }
}

#[test]
fn a_stream_that_is_written_to_is_left_for_the_next_call() {
    let mut bank = Bank::new();
    let (busy, quiet) = (Uuid::now_v7(), Uuid::now_v7());
    deposits(&mut bank, busy, 2);
    deposits(&mut bank, quiet, 2);
    all_read(&mut bank.db);
    bank.db.run(&rule("Account", "'0'", true));
    let mut writer = bank.session();
    writer.run(&format!("begin; {}", append(busy, "T", "{}", "")));
    assert_eq!(bank.db.one(ALL), "2|1|f");
    bank.db.run("call event_store.run_retention()");
    writer.run("commit");
    all_read(&mut bank.db);
    bank.db.run("begin");
    assert_eq!(bank.db.one(ALL), "3|1|t");
    bank.db.run("rollback");
    assert_eq!(versions(&mut bank, busy), "1-3 of 3", "what is rolled back is not deleted");
    assert_eq!(bank.db.count("select count(*) from event_store.tombstones"), 1);
}

#[test]
fn who_may_not_and_what_is_out_of_bounds_changes_nothing() {
    let mut bank = Bank::new();
    deposits(&mut bank, Uuid::now_v7(), 1);
    for (sql, code) in [
        (rule("Account", "'-1 s'", true), "NB021"),
        (rule("Account", "'1001 years'", true), "NB021"),
        (rule(" ", "'1 day'", true), "NB021"),
        ("select event_store.set_retention(null, '1 day')".into(), "22004"),
        ("select event_store.set_retention('Account', '1 day', null)".into(), "22004"),
        ("select * from event_store.apply_retention(0)".into(), "NB021"),
        ("select * from event_store.apply_retention(100001)".into(), "NB021"),
        ("select * from event_store.apply_retention(null)".into(), "22004"),
        ("delete from event_store.events".into(), "NB009"),
        ("truncate event_store.tombstones".into(), "NB009"),
    ] {
        refused(&mut bank.db, &sql, code);
    }
    let teller = bank.role("teller");
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    let mut session = bank.session_as(&teller);
    refused_with_code_only(&mut session, ALL, "42501");
    refused_with_code_only(&mut session, &rule("Account", "'0'", true), "42501");
    let operator = bank.role("operator");
    bank.db.run(&format!("select neobank.grant_usage('{operator}', 'operator')"));
    let mut session = bank.session_as(&operator);
    session.run(&rule("Account", "'2 years 3 days 04:05:06.000007'", true));
    assert_eq!(
        session.one("select keep, set_by = session_user from event_store.retention_rules"),
        "2 years 3 days 04:05:06.000007|t"
    );
    session.run(ALL);
    assert_eq!(bank.db.count("select count(*) from event_store.events"), 1);
}

#[test]
fn positions_go_on_above_those_of_deleted_events_that_a_restore_brings() {
    // The last events of a database may be deleted: what is left of them says how far the positions had come.
    let mut bank = Bank::new();
    bank.db.run(
        "insert into event_store.tombstones (aggregate_id, from_position, to_position, from_version, to_version, events, \
             aggregate_type, keep, deleted_by, content_hash, first_at, last_at) \
         values (gen_random_uuid(), 1, 1::bigint << 60, 1, 1, 1, 'Account', '1 day', 'ada', '\\x', now(), now())",
    );
    bank.db.run(&append(Uuid::now_v7(), "T", "{}", ""));
    assert_eq!(bank.db.one("select min(global_position) > 1::bigint << 60 from event_store.events"), "t");
}
