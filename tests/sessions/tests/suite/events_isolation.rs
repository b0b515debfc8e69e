//! Appends at every isolation level: conflicts that are told as 40001 and go away when repeated, deadlocks of which one
//! side is undone, and transactions that are prepared and decided later.

use crate::events::{append, append_many, audit_events};
use neobank_sessions::*;
use std::thread::{self, JoinHandle};
use std::time::Duration;

const ABOVE: [&str; 2] = ["repeatable read", "serializable"];

/// Sends it in a session of its own, and comes back when that waits for somebody.
fn waiting(bank: &mut Bank, mut session: Client, sql: String) -> JoinHandle<(Client, Result<Vec<String>, Refusal>)> {
    let backend = Bank::backend_of(&mut session);
    let handle = thread::spawn(move || {
        let answer = session.try_lines(&sql);
        (session, answer)
    });
    bank.wait_until_blocked(backend);
    handle
}

fn begun(bank: &Bank, level: &str) -> Client {
    let mut session = bank.session();
    session.run(&format!("begin isolation level {level}; select count(*) from event_store.events"));
    session
}

fn versions(bank: &mut Bank, stream: Uuid) -> Vec<String> {
    bank.db.lines(&format!("select event_version, event_type from event_store.read_stream('{stream}')"))
}

#[test]
fn who_waited_for_a_stream_above_read_committed_starts_anew_and_then_gets_through() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let account = bank.account("100");
    for level in ABOVE {
        // A stream that is there, and one that the other session is just opening.
        for first in [Some("Opened"), None] {
            let stream = Uuid::now_v7();
            if let Some(event) = first {
                bank.db.run(&append(stream, event, "{}", ""));
            }
            let (mut one, mut other) = (begun(&bank, level), begun(&bank, level));
            one.run(&append(stream, "One", "{}", ""));
            let posting = format!("select txn_processing.deposit('{account}', 1)");
            other.run(&posting);
            let other = waiting(&mut bank, other, append(stream, "Other", "{}", ""));
            one.run("commit");
            let (mut other, answer) = other.join().expect("it answers");
            assert_eq!(answer.expect_err("its snapshot is older").code, "40001", "at {level}");
            other.run("rollback");
            let again =
                format!("begin isolation level {level}; {posting}; {}; commit", append(stream, "Other", "{}", ""));
            other.run(&again);
            let wanted: Vec<String> =
                first.into_iter().chain(["One", "Other"]).zip(1..).map(|(name, n)| format!("{n}|{name}")).collect();
            assert_eq!(versions(&mut bank, stream), wanted);
        }
    }
    // Each refused transaction's deposit went with it.
    assert_eq!(bank.db.balance(account), dec("104"));
    audit(&mut bank.db);
    audit_events(&mut bank.db);
}

#[test]
fn who_waited_for_a_stream_goes_on_where_the_other_one_was_undone() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    for level in ["read committed", "repeatable read", "serializable"] {
        for opened in [true, false] {
            let stream = Uuid::now_v7();
            if opened {
                bank.db.run(&append(stream, "Opened", "{}", ""));
            }
            let (mut one, other) = (begun(&bank, level), begun(&bank, level));
            one.run(&append(stream, "One", "{}", ""));
            let expected = format!(", {}", i32::from(opened));
            let other = waiting(&mut bank, other, append(stream, "Other", "{}", &expected));
            one.run("rollback");
            let (mut other, answer) = other.join().expect("it answers");
            answer.unwrap_or_else(|refusal| panic!("at {level}: {refusal}"));
            other.run("commit");
            assert_eq!(versions(&mut bank, stream).len(), 1 + usize::from(opened));
        }
    }
    audit_events(&mut bank.db);
}

#[test]
fn streams_that_are_not_shared_do_not_conflict() {
    let mut bank = Bank::new();
    let streams = [Uuid::now_v7(), Uuid::now_v7()];
    for opened in [false, true] {
        let mut sessions = [begun(&bank, "repeatable read"), begun(&bank, "repeatable read")];
        for (session, stream) in sessions.iter_mut().zip(streams) {
            session.run(&append(stream, "T", "{}", &format!(", {}", i32::from(opened))));
        }
        for session in &mut sessions {
            session.run("commit");
        }
    }
    audit_events(&mut bank.db);
}

#[test]
fn a_transaction_above_read_committed_reads_one_moment() {
    let mut bank = Bank::new();
    for level in ["read committed", "repeatable read", "serializable"] {
        let (stream, beside) = (Uuid::now_v7(), Uuid::now_v7());
        for stream in [stream, beside] {
            bank.db.run(&append(stream, "AccountOpened", r#"{"balance": 1.00}"#, ""));
        }
        let mut session = begun(&bank, level);
        let readings = [stream, beside].map(|stream| {
            format!(
                "select event_store.get_aggregate_state('{stream}'); \
                 select event_version from event_store.read_stream('{stream}')"
            )
        });
        let before = session.lines(&readings[0]);
        for stream in [stream, beside] {
            bank.db.run(&append(stream, "FundsDeposited", r#"{"amount": 2.00}"#, ""));
            bank.db.run(&format!("select event_store.get_aggregate_state('{stream}')"));
        }
        // The second stream is read for the first time, and as it was when the first one was.
        let after = [r#"{"balance": 3.00, "version": 2}"#, "1", "2"].map(str::to_owned).to_vec();
        for reading in readings {
            let wanted = if level == "read committed" { &after } else { &before };
            assert_eq!(session.lines(&reading), *wanted, "at {level}");
        }
        session.run("commit");
    }
}

#[test]
fn decisions_upon_each_others_streams_are_told_apart_when_serializable() {
    // Each reads the stream that the other one appends to. One after the other they would have seen it.
    let mut bank = Bank::new();
    for reading in ["select event_store.get_aggregate_state('$')", "select * from event_store.read_stream('$')"] {
        for (level, conflicts) in [("repeatable read", false), ("serializable", true)] {
            let streams = [Uuid::now_v7(), Uuid::now_v7()];
            for stream in streams {
                bank.db.run(&append(stream, "AccountOpened", r#"{"balance": 100}"#, ""));
            }
            let mut sessions = [bank.session(), bank.session()];
            for session in &mut sessions {
                session.run(&format!("begin isolation level {level}"));
            }
            let decide = |session: &mut Client, at: usize| {
                session.try_lines(&reading.replace('$', &streams[1 - at].to_string()))?;
                session.try_lines(&append(streams[at], "FundsWithdrawn", r#"{"amount": 80}"#, ", 1"))
            };
            let first: Vec<_> = sessions.iter_mut().enumerate().map(|(at, session)| decide(session, at)).collect();
            let ended: Vec<Result<_, Refusal>> = first
                .into_iter()
                .zip(&mut sessions)
                .map(|(answer, session)| answer.and_then(|_| session.try_lines("commit")))
                .collect();
            let failed: Vec<usize> = (0..2).filter(|at| ended[*at].is_err()).collect();
            assert_eq!(failed.len(), usize::from(conflicts), "at {level}: {ended:?}");
            for at in failed {
                assert_eq!(ended[at].as_ref().err().map(|refusal| refusal.code.as_str()), Some("40001"));
                sessions[at].run(&format!("rollback; begin isolation level {level}"));
                decide(&mut sessions[at], at).expect("nobody is beside it any more");
                sessions[at].run("commit");
            }
        }
    }
    audit_events(&mut bank.db);
}

#[test]
fn an_id_that_another_stream_takes_meanwhile_is_refused() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    for level in ABOVE {
        let (here, there, id) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
        let tail = format!(", null, null, '{id}'");
        let (mut one, other) = (begun(&bank, level), begun(&bank, level));
        one.run(&append(here, "T", "{}", &tail));
        let other = waiting(&mut bank, other, append(there, "T", "{}", &tail));
        one.run("commit");
        let (mut other, answer) = other.join().expect("it answers");
        // Which of the two is found first, the older snapshot or the other content, is not promised.
        let code = answer.expect_err("it is taken").code;
        assert!(["40001", "NB103"].contains(&code.as_str()), "{code}");
        other.run("rollback");
        refused(&mut other, &append(there, "T", "{}", &tail), "NB103");
    }
    audit_events(&mut bank.db);
}

#[test]
fn of_two_that_append_to_two_streams_in_opposite_orders_one_is_undone() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    for level in ["read committed", "repeatable read", "serializable"] {
        let streams = [Uuid::now_v7(), Uuid::now_v7()];
        for stream in streams {
            bank.db.run(&append(stream, "Opened", "{}", ""));
        }
        let mut sessions = [begun(&bank, level), begun(&bank, level)];
        for (at, session) in sessions.iter_mut().enumerate() {
            session.run("set deadlock_timeout = '20ms'");
            session.run(&append(streams[at], &format!("First{at}"), "{}", ""));
        }
        let [mut one, other] = sessions;
        let other = waiting(&mut bank, other, append(streams[0], "Second1", "{}", ""));
        let answer = one.try_lines(&append(streams[1], "Second0", "{}", ""));
        if answer.is_err() {
            one.run("rollback");
        } else {
            one.run("commit");
        }
        let (mut other, answered) = other.join().expect("it answers");
        let codes = [&answer, &answered].map(|answer| answer.as_ref().err().map(|refusal| refusal.code.clone()));
        let (undone, done) = if codes[0].is_some() { (0, 1) } else { (1, 0) };
        assert_eq!(codes[undone].as_deref(), Some("40P01"), "at {level}: {codes:?}");
        assert_eq!(codes[done], None, "at {level}");
        other.run(if undone == 1 { "rollback" } else { "commit" });
        let events = |bank: &mut Bank| streams.map(|stream| versions(bank, stream));
        let of = |stream: usize, at: usize| if stream == at { format!("2|First{at}") } else { format!("2|Second{at}") };
        assert_eq!(events(&mut bank), [0, 1].map(|stream| vec!["1|Opened".to_owned(), of(stream, done)]));
        let session = if undone == 0 { &mut one } else { &mut other };
        session.run(&format!("begin isolation level {level}"));
        session.run(&append(streams[undone], "Again", "{}", ", 2"));
        session.run(&append(streams[1 - undone], "Again", "{}", ", 2"));
        session.run("commit");
        assert!(events(&mut bank).iter().all(|events| events.len() == 3));
    }
    audit_events(&mut bank.db);
}

/// Event types in the order of all events, as a reader gets them; waits until that many are there to be read.
fn read_all(bank: &mut Bank, wanted: usize) -> Vec<String> {
    let all = "select event_type from event_store.read_all(0, 1000)";
    // Whoever holds the horizon back elsewhere in the cluster ends some time.
    for _ in 0..6_000 {
        let seen = bank.db.lines(all);
        if seen.len() >= wanted {
            return seen;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("{wanted} events never come: {:?}", bank.db.lines(all));
}

#[test]
fn a_prepared_transaction_holds_its_streams_and_the_readers_until_it_is_decided() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    if bank.db.one("show max_prepared_transactions") == "0" {
        skipped("two-phase commit of events", "max_prepared_transactions is 0");
        return;
    }
    let name = bank.name.clone();
    let mut read = 0;
    for end in ["commit", "rollback"] {
        let [old, new, other] = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
        let (account, ids) = (bank.account("10"), [Uuid::now_v7(), Uuid::now_v7()]);
        bank.db.run(&append(old, "Opened", "{}", ""));
        let batch = format!(
            r#"[{{"event_type": "Prepared", "event_data": {{}}, "event_id": "{}"}},
                {{"event_type": "Prepared", "event_data": {{}}, "event_id": "{}"}}]"#,
            ids[0], ids[1]
        );
        let mut session = bank.session();
        session.run("begin");
        session.run(&append_many(old, &batch, ", 1"));
        session.run(&append(new, "PreparedNew", "{}", ", 0"));
        session.run(&format!("select txn_processing.withdraw('{account}', 4)"));
        session.run(&format!("prepare transaction '{name}'"));
        drop(session);
        // Others append to the two, one of them a retry, and wait; what others append elsewhere is not to be read yet.
        let late = bank.session();
        let late = waiting(&mut bank, late, append(old, "Late", "{}", ""));
        let opens = bank.session();
        let opens = waiting(&mut bank, opens, append(new, "Opens", "{}", ", 0"));
        bank.db.run(&append(other, "Elsewhere", "{}", ""));
        let before = read_all(&mut bank, read + 1);
        assert_eq!(before[read..], ["Opened"], "what comes after a prepared transaction waits for it");
        assert_eq!(versions(&mut bank, old), ["1|Opened"]);
        bank.db.run(&format!("{end} prepared '{name}'"));
        late.join().expect("it answers").1.expect("it was only to wait");
        let opens = opens.join().expect("it answers").1.map_err(|refusal| refusal.code);
        let commits = end == "commit";
        assert_eq!(opens.map(|_| ()), if commits { Err("NB101".to_owned()) } else { Ok(()) });
        let retried = bank.db.one(&append_many(old, &batch, if commits { ", 1" } else { ", 2" }));
        assert_eq!(retried, if commits { "3" } else { "4" });
        assert_eq!(bank.db.balance(account), dec(if commits { "6" } else { "10" }));
        let order = bank.db.lines("select event_type from event_store.events order by global_position");
        // Committed: two prepared, one in a new stream, and what waited. Rolled back: the retry brings the two.
        assert_eq!(order.len(), read + 6);
        assert_eq!(read_all(&mut bank, order.len()), order);
        let kept = order[read..].iter().filter(|event_type| event_type.starts_with("Prepared")).count();
        assert_eq!(kept, if commits { 3 } else { 2 });
        read = order.len();
    }
    audit(&mut bank.db);
    audit_events(&mut bank.db);
}
