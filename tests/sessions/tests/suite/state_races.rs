//! States that are read while others append and define anew.

use crate::events::{append_many, audit_events};
use neobank_sessions::*;

fn deposits(count: usize) -> String {
    let one = r#"{"event_type": "FundsDeposited", "event_data": {"amount": 1}}"#;
    format!("[{}]", vec![one; count].join(","))
}

const ADDS: &str = r#"[{"add": ["balance"], "from": ["amount"]}]"#;
const TAKES: &str = r#"[{"subtract": ["balance"], "from": ["amount"]}]"#;

fn define(operations: &str) -> String {
    format!("select event_store.define_reducer('Account', 'FundsDeposited', '{operations}')")
}

/// Balance and version of each answer.
fn read(db: &mut Client, stream: Uuid) -> (i64, i64) {
    let state = db.json(&format!("select event_store.get_aggregate_state('{stream}')"));
    let figure = |key: &str| state[key].to_string().parse().expect("a whole number");
    (figure("balance"), figure("version"))
}

#[test]
fn a_state_that_is_read_while_others_append_is_that_of_its_version() {
    let _turn = crowd();
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run(&append_many(stream, &deposits(450), ""));
    together(&bank, 6, move |n, session| {
        let mut seen = 0;
        for _ in 0..40 {
            if n < 3 {
                session.run(&append_many(stream, &deposits(17), ""));
            }
            let (balance, version) = read(session, stream);
            assert_eq!(balance, version);
            assert!(version >= seen, "{version} after {seen}");
            seen = version;
        }
    });
    assert_eq!(read(&mut bank.db, stream), (450 + 3 * 40 * 17, 450 + 3 * 40 * 17));
    assert!(bank.db.count("select count(*) from event_store.snapshots") > 2);
    audit_events(&mut bank.db);
}

#[test]
fn a_state_is_of_one_definition_and_never_of_two() {
    let _turn = crowd();
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run(&append_many(stream, &deposits(450), ""));
    together(&bank, 5, move |n, session| {
        for round in 0..30 {
            match n {
                0 => session.run(&define(if round % 2 == 0 { TAKES } else { ADDS })),
                1 | 2 => session.run(&append_many(stream, &deposits(40), "")),
                _ => {}
            }
            let (balance, version) = read(session, stream);
            assert_eq!(balance.abs(), version, "one event was folded by another definition");
        }
    });
    for (operations, sign) in [(TAKES, -1), (ADDS, 1)] {
        bank.db.run(&define(operations));
        let wrong = format!(
            "select v, event_store.get_aggregate_state('{stream}', v) from generate_series(50, 2850, 50) v \
             where event_store.get_aggregate_state('{stream}', v) <> jsonb_build_object('balance', {sign} * v, 'version', v)"
        );
        assert_eq!(bank.db.lines(&wrong), [""; 0]);
        bank.db.run(&append_many(stream, &deposits(500), ""));
    }
    audit_events(&mut bank.db);
}

#[test]
fn a_transaction_reads_by_its_own_snapshot_of_the_database() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run(&append_many(stream, &deposits(499), ""));
    for level in ["repeatable read", "serializable"] {
        let (balance, version) = read(&mut bank.db, stream);
        let mut reader = bank.session();
        reader.run(&format!("begin isolation level {level} read only; select from event_store.streams"));
        bank.db.run(&append_many(stream, &deposits(800), ""));
        assert!(bank.db.count("select count(*) from event_store.snapshots") > 0);
        for up_to in ["", ", 600", ", 5000"] {
            let state = reader.json(&format!("select event_store.get_aggregate_state('{stream}'{up_to})"));
            if up_to != ", 600" || version < 600 {
                assert_eq!(state["version"].to_string(), version.to_string());
                assert_eq!(state["balance"].to_string(), balance.to_string());
            }
        }
        let at = format!("select event_store.get_aggregate_state_at('{stream}', 'infinity') ->> 'version'");
        assert_eq!(reader.one(&at), version.to_string());
        reader.run("commit");
        assert_eq!(read(&mut reader, stream), (balance + 800, version + 800));
    }
}

#[test]
fn appends_of_every_isolation_level_go_through_and_leave_right_states() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    let mut expected = 0;
    for level in ["repeatable read", "serializable", "read committed", "repeatable read"] {
        // A snapshot of another session's that this one cannot see.
        let mut writer = bank.session();
        writer.run(&format!("begin isolation level {level}; select from event_store.streams"));
        if expected > 0 {
            bank.db.run(&format!("select event_store.take_snapshot('{stream}')"));
        }
        writer.run(&append_many(stream, &deposits(700), ""));
        writer.run("commit");
        expected += 700;
        assert_eq!(read(&mut bank.db, stream), (expected, expected), "{level}");
    }
    let versions = bank.db.lines("select version from event_store.snapshots order by version");
    assert_eq!(versions, ["700", "1400", "2100", "2800"]);
    audit_events(&mut bank.db);
}

#[test]
fn a_serializable_reader_is_not_failed_by_snapshots() {
    let mut bank = Bank::new();
    let (stream, other) = (Uuid::now_v7(), Uuid::now_v7());
    for of in [stream, other] {
        bank.db.run(&append_many(of, &deposits(499), ""));
    }
    let mut reader = bank.session();
    reader.run("begin isolation level serializable");
    assert_eq!(read(&mut reader, stream), (499, 499));
    let mut writer = bank.session();
    writer.run("begin isolation level serializable");
    assert_eq!(read(&mut writer, other), (499, 499));
    writer.run(&append_many(other, &deposits(600), ""));
    writer.run("commit");
    reader.run("create temporary table written (n int); insert into written values (1)");
    reader.run("commit");
}
