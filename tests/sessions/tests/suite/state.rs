//! The state of an aggregate at any version and time: what the fold makes, with snapshots and without them.

use crate::events::{append, append_many, audit_events};
use neobank_sessions::*;

/// A fold of its own, in another language: the state after each event. `counted`: the type has the reducer below.
const PEER: &str = "create function pg_temp.states(id uuid, counted boolean) returns table (version int, state text)
language plpgsql as $$
declare s jsonb := '{}'; r record;
begin
    version := 0; state := s::text; return next;
    for r in select * from event_store.events e where e.aggregate_id = id order by e.event_version loop
        if counted and r.event_type = 'Counted' then
            s := s || jsonb_build_object('count', coalesce(s ->> 'count', '0')::numeric + 1);
            s := s || jsonb_build_object('log', coalesce(s -> 'log', '[]') || jsonb_build_array(r.event_data -> 'n'));
            s := s || jsonb_build_object('last', coalesce(s -> 'last', '{}') || jsonb_build_object('n', r.event_data -> 'n'));
            s := s - 'old';
        elsif r.event_type = 'AccountOpened' then s := r.event_data;
        elsif r.event_type = 'AccountClosed' then s := s || '{\"status\": \"closed\"}';
        elsif r.event_type in ('FundsDeposited', 'FundsWithdrawn') then
            s := s || jsonb_build_object('balance', coalesce(s ->> 'balance', '0')::numeric
                + case r.event_type when 'FundsDeposited' then 1 else -1 end * (r.event_data ->> 'amount')::numeric);
        else s := s || r.event_data;
        end if;
        s := s || jsonb_build_object('version', r.event_version);
        version := r.event_version; state := s::text; return next;
    end loop;
end $$";

const COUNTED: &str = r#"[{"add": ["count"], "value": 1}, {"append": ["log"], "from": ["n"]},
    {"set": ["last", "n"], "from": ["n"]}, {"remove": ["old"]}]"#;

/// Versions at which the function and the test's own fold differ.
fn differences(db: &mut Client, stream: Uuid, counted: bool) -> Vec<String> {
    db.lines(&format!(
        "select p.version, p.state, event_store.get_aggregate_state('{stream}', p.version) \
         from pg_temp.states('{stream}', {counted}) p \
         where p.state <> event_store.get_aggregate_state('{stream}', p.version)::text limit 3"
    ))
}

fn event(dice: &mut Dice, n: usize) -> String {
    let amount = ["1", "0.10", "12.345", "99999999999999.99", "0.000001", "1000000", "0.00"][dice.below(7)];
    let amount = if dice.below(4) == 0 { format!("\"{amount}\"") } else { amount.to_owned() };
    let (event_type, data) = match dice.below(12) {
        0 if n > 0 => {
            ("AccountOpened", format!(r#"{{"owner": "A\u00e9\n{n}", "balance": {n}.50, "old": [1, {{"x": null}}]}}"#))
        }
        1 => ("AccountClosed", "{}".to_owned()),
        2..5 => ("FundsDeposited", format!(r#"{{"amount": {amount}, "reference": "r{n}"}}"#)),
        5..8 => ("FundsWithdrawn", format!(r#"{{"a": [], "amount": {amount}}}"#)),
        8 => (
            "Renamed",
            format!(r#"{{"owner": "B", "long": 0.{n}1234567890123456789012345678901234567890, "b": false}}"#),
        ),
        9 => ("Tagged", format!(r#"{{"old": {{"deep": [[{n}], "x", true]}}, "k{}": 1e-7}}"#, n % 40)),
        _ => ("Counted", format!(r#"{{"n": {n}}}"#)),
    };
    format!(r#"{{"event_type": "{event_type}", "event_data": {data}}}"#)
}

fn grow(db: &mut Client, stream: Uuid, dice: &mut Dice, events: usize) {
    let mut made = 0;
    while made < events {
        let size = (1 + dice.below(300)).min(events - made);
        let batch: Vec<String> = (made..made + size).map(|n| event(dice, n)).collect();
        db.run(&append_many(stream, &format!("[{}]", batch.join(",")), ""));
        made += size;
    }
}

fn snapshots(db: &mut Client, stream: Uuid) -> i64 {
    db.count(&format!("select count(*) from event_store.snapshots where aggregate_id = '{stream}'"))
}

fn without_snapshots(db: &mut Client) {
    db.run("set neobank.ledger_guard = off; delete from event_store.snapshots; reset neobank.ledger_guard");
}

fn deposits(count: usize) -> String {
    let one = r#"{"event_type": "FundsDeposited", "event_data": {"amount": 1}}"#;
    format!("[{}]", vec![one; count].join(","))
}

#[test]
fn every_state_is_that_of_an_independent_fold() {
    let mut bank = Bank::new();
    bank.db.run(PEER);
    for seed in [1, 20_261_121] {
        let (stream, mut dice) = (Uuid::now_v7(), Dice(seed));
        grow(&mut bank.db, stream, &mut dice, 1_700);
        assert!(snapshots(&mut bank.db, stream) > 0);
        assert_eq!(differences(&mut bank.db, stream, false), [""; 0], "seed {seed}");
        bank.db.run(&format!("select event_store.define_reducer('Account', 'Counted', '{COUNTED}')"));
        assert_eq!(differences(&mut bank.db, stream, true), [""; 0], "seed {seed}, redefined");
        grow(&mut bank.db, stream, &mut dice, 1_200);
        assert_eq!(differences(&mut bank.db, stream, true), [""; 0], "seed {seed}, appended after that");
        let generations =
            format!("select count(distinct generation) from event_store.snapshots where aggregate_id = '{stream}'");
        assert_eq!(bank.db.one(&generations), "1", "those of the old rules are taken away");
        bank.db.run("select event_store.drop_reducer('Account', 'Counted')");
        assert_eq!(differences(&mut bank.db, stream, false), [""; 0], "seed {seed}, dropped");
        without_snapshots(&mut bank.db);
        assert_eq!(differences(&mut bank.db, stream, false), [""; 0], "seed {seed}, without snapshots");
        bank.db.run(&format!("select event_store.take_snapshot('{stream}')"));
        assert_eq!(snapshots(&mut bank.db, stream), 1);
        assert_eq!(differences(&mut bank.db, stream, false), [""; 0], "seed {seed}, with one that was asked for");
    }
    audit_events(&mut bank.db);
}

#[test]
fn snapshots_thin_out_behind_and_old_states_stay_right() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    for _ in 0..50 {
        bank.db.run(&append_many(stream, &deposits(500), ""));
    }
    let kept = bank.db.lines("select version, kept from event_store.snapshots order by version");
    assert_eq!(&kept[..3], ["8000|t", "16000|t", "21500|f"], "{kept:?}");
    assert_eq!(kept.len(), 10, "{kept:?}");
    for version in [1, 499, 500, 7_999, 8_000, 8_001, 21_499, 24_999, 25_000] {
        assert_eq!(
            bank.db.one(&format!("select event_store.get_aggregate_state('{stream}', {version})")),
            format!(r#"{{"balance": {version}, "version": {version}}}"#)
        );
    }
}

#[test]
fn an_event_that_cannot_be_folded_is_no_reason_not_to_append() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run(&append_many(stream, &deposits(300), ""));
    bank.db.run(&append(stream, "FundsDeposited", r#"{"amount": "much"}"#, ""));
    bank.db.run(&append_many(stream, &deposits(600), ""));
    assert_eq!(snapshots(&mut bank.db, stream), 0);
    let read = format!("select event_store.get_aggregate_state('{stream}')");
    refused(&mut bank.db, &read, "NB105");
    refused(&mut bank.db, &format!("select event_store.take_snapshot('{stream}')"), "NB105");
    // Events stay as they are: what is mended is what is made of them.
    bank.db.run(
        "select event_store.define_reducer('Account', 'FundsDeposited', '[{\"add\": [\"times\"], \"value\": 1}]')",
    );
    assert_eq!(bank.db.one(&read), r#"{"times": 901, "version": 901}"#);
    assert_eq!(bank.db.one(&format!("select event_store.take_snapshot('{stream}')")), "901");
    assert_eq!(bank.db.one(&read), r#"{"times": 901, "version": 901}"#);
    assert_eq!(bank.db.one(&format!("select event_store.take_snapshot('{}')", Uuid::now_v7())), "");
    refused(&mut bank.db, "select event_store.take_snapshot(null)", "22004");
}

#[test]
fn sums_are_exact_or_refused() {
    let mut bank = Bank::new();
    let state = |bank: &mut Bank, amounts: &[&str]| {
        let stream = Uuid::now_v7();
        for amount in amounts {
            bank.db.run(&append(stream, "FundsDeposited", &format!(r#"{{"amount": {amount}}}"#), ""));
        }
        bank.db.try_lines(&format!("select event_store.get_aggregate_state('{stream}') -> 'balance'"))
    };
    for (amounts, sum) in [
        (&["0.1", "0.2"][..], "0.3"),
        (&["0.10", "0.2"], "0.30"),
        (&["1000000000000000000000", "0.000001"], "1000000000000000000000.000001"),
        (&["79228162514264337593543950334", "1"], "79228162514264337593543950335"),
        (&["79228162514264337593543950335", "-1", "0.0"], "79228162514264337593543950334"),
        (&["\"1e3\"", "1e-3"], "1000.001"),
        (&["1.5", "-1.5"], "0.0"),
    ] {
        assert_eq!(state(&mut bank, amounts).expect("it fits"), [sum], "{amounts:?}");
    }
    // The library that adds would round here.
    for amounts in [
        &["79228162514264337593543950335", "1"][..],
        &["79228162514264337593543950335", "0.1"],
        &["7922816251426433759354395033", "0.12"],
        &["1e40"],
        &["\"ten\""],
        &["null"],
    ] {
        assert_eq!(state(&mut bank, amounts).expect_err("it does not fit").code, "NB105", "{amounts:?}");
    }
}

#[test]
fn a_state_at_a_time_has_all_events_before_its_last() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run(&append_many(stream, &deposits(5), ""));
    bank.db.run(&format!(
        "set neobank.ledger_guard = off; \
         update event_store.events set created_at = timestamptz '2026-01-01 00:00Z' \
             + (array[0, 10, 20, 20, 30])[event_version] * interval '1 min' where aggregate_id = '{stream}'; \
         reset neobank.ledger_guard"
    ));
    let at = |bank: &mut Bank, time: &str| {
        bank.db.one(&format!(
            "select coalesce(event_store.get_aggregate_state_at('{stream}', '{time}') ->> 'version', '-')"
        ))
    };
    for (time, version) in [
        ("2025-12-31 23:59:59.999999Z", "-"),
        ("2026-01-01 00:00Z", "1"),
        ("2026-01-01 00:04Z", "1"),
        ("2026-01-01 00:10Z", "2"),
        ("2026-01-01 00:19:59.999999Z", "2"),
        ("2026-01-01 00:20Z", "4"),
        ("2026-01-01 00:29Z", "4"),
        ("2026-01-01 00:30Z", "5"),
        ("infinity", "5"),
        ("-infinity", "-"),
    ] {
        assert_eq!(at(&mut bank, time), version, "at {time}");
    }
    let other = Uuid::now_v7();
    assert_eq!(bank.db.one(&format!("select event_store.get_aggregate_state_at('{other}', now())")), "{}");
    refused(&mut bank.db, &format!("select event_store.get_aggregate_state_at('{stream}', null)"), "22004");
    refused(&mut bank.db, "select event_store.get_aggregate_state_at(null, now())", "22004");
}

#[test]
fn a_state_at_a_time_is_found_among_many_events() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    for _ in 0..50 {
        bank.db.run(&append_many(stream, &deposits(7), ""));
    }
    // At each time that an event has, and a moment before it.
    let wrong = format!(
        "select t.at from (select created_at as at from event_store.events where aggregate_id = '{stream}' \
                           union select created_at - interval '1 us' from event_store.events \
                           where aggregate_id = '{stream}') t \
         where coalesce((event_store.get_aggregate_state_at('{stream}', t.at) ->> 'version')::int, 0) \
               <> (select coalesce(max(e.event_version), 0) from event_store.events e \
                   where e.aggregate_id = '{stream}' and e.created_at <= t.at)"
    );
    assert_eq!(bank.db.lines(&wrong), [""; 0]);
}

#[test]
fn times_ascend_in_a_stream_though_the_clock_is_set_back() {
    // The state at a time was looked for from the end of the stream, since any event might have been earlier.
    let mut bank = Bank::new();
    for path in ["direct", "spi"] {
        let (mut session, stream) = (bank.session_on(path), Uuid::now_v7());
        session.run(&append_many(stream, &deposits(2), ""));
        let last = format!("update event_store.streams set last_at = '2200-01-01Z' where aggregate_id = '{stream}'");
        bank.db.run(&format!("set neobank.ledger_guard = off; {last}; reset neobank.ledger_guard"));
        session.run(&append_many(stream, &deposits(2), ""));
        session.run(&append(stream, "FundsDeposited", r#"{"amount": 1}"#, ""));
        let times = format!(
            "select event_version, created_at = '2200-01-01Z' from event_store.read_stream('{stream}') \
             union all select 0, last_at = '2200-01-01Z' from event_store.streams where aggregate_id = '{stream}'"
        );
        assert_eq!(bank.db.lines(&times), ["1|f", "2|f", "3|t", "4|t", "5|t", "0|t"], "{path}");
        let at = format!("select event_store.get_aggregate_state_at('{stream}', now()) ->> 'version'");
        assert_eq!(bank.db.one(&at), "2", "{path}");
    }
}

#[test]
fn a_snapshot_goes_with_its_events() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run(&append_many(stream, &deposits(499), ""));
    let read = format!("select event_store.get_aggregate_state('{stream}')");
    let before = snapshot(&mut bank.db);
    bank.db.run("begin");
    bank.db.run(&append_many(stream, &deposits(300), ""));
    assert_eq!(snapshots(&mut bank.db, stream), 1);
    assert_eq!(bank.db.one(&read), r#"{"balance": 799, "version": 799}"#);
    bank.db.run("rollback");
    assert_eq!(before, snapshot(&mut bank.db));
    let double = deposits(300).replace(": 1}", ": 2}");
    bank.db.run(&append_many(stream, &double, ""));
    assert_eq!(bank.db.one(&read), r#"{"balance": 1099, "version": 799}"#, "not the state that was rolled back");
    bank.db.run("begin; savepoint a");
    bank.db.run(&append_many(stream, &deposits(300), ""));
    bank.db.run("rollback to a");
    bank.db.run(&append_many(stream, &double, ""));
    bank.db.run("commit");
    assert_eq!(bank.db.one(&read), r#"{"balance": 1699, "version": 1099}"#);
    audit_events(&mut bank.db);
}

#[test]
fn snapshots_and_reducers_are_written_by_the_functions_only() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run(&append_many(stream, &deposits(500), ""));
    // The first rows of an empty table, too: what is not dumped is not restored either.
    for sql in [
        "insert into event_store.snapshots select * from event_store.snapshots",
        "update event_store.snapshots set state = '{\"balance\": 1000000}'",
        "delete from event_store.snapshots",
        "truncate event_store.snapshots",
    ] {
        refused(&mut bank.db, sql, "NB009");
    }
    without_snapshots(&mut bank.db);
    let forged = format!(
        "insert into event_store.snapshots (aggregate_id, version, generation, bytes, kept, state) \
         values ('{stream}', 500, gen_random_uuid(), 0, true, '{{\"balance\": 1000000}}')"
    );
    refused(&mut bank.db, &forged, "NB009");
    bank.db.run("select event_store.define_reducer('Account', 'Counted', '[]')");
    for sql in [
        "insert into event_store.reducers (aggregate_type, operations, defined_by) values ('T', '[]', 'x')",
        "update event_store.reducers set operations = '[1]'",
        "delete from event_store.reducers",
    ] {
        refused(&mut bank.db, sql, "NB009");
    }
    let (reader, operator) = (bank.role("reader"), bank.role("operator"));
    bank.db.run(&format!(
        "select neobank.grant_usage('{reader}', 'reader'), neobank.grant_usage('{operator}', 'operator')"
    ));
    let mut operator = bank.session_as(&operator);
    refused_with_code_only(&mut operator, &forged, "42501");
    refused_with_code_only(&mut operator, "delete from event_store.reducers", "42501");
    operator.run("select event_store.define_reducer('Account', 'Counted', '[{\"remove\": [\"a\"]}]')");
    operator.run(&format!("select event_store.take_snapshot('{stream}')"));
    let mut reader = bank.session_as(&reader);
    for sql in [
        "select event_store.define_reducer('Account', 'Counted', '[]')".to_owned(),
        "select event_store.drop_reducer('Account', 'Counted')".to_owned(),
        format!("select event_store.take_snapshot('{stream}')"),
    ] {
        refused_with_code_only(&mut reader, &sql, "42501");
    }
    let read = format!("select event_store.get_aggregate_state('{stream}')");
    reader.run("set default_transaction_read_only = on");
    assert_eq!(reader.one(&read), r#"{"balance": 500, "version": 500}"#);
    let dumped = "select count(*) from pg_extension, unnest(extconfig) t \
                  where t in ('event_store.snapshots'::regclass, 'event_store.reducers'::regclass)";
    assert_eq!(bank.db.one(dumped), "1", "reducers are dumped, snapshots made anew");
}
