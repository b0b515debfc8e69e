//! Events of many sessions: none lost, doubled or out of order, and a reader that never skips one who commits late.

use crate::events::{append, append_many, audit_events};
use neobank_sessions::*;
use std::collections::HashSet;
use std::thread;

#[test]
fn many_sessions_on_one_stream_lose_nothing() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    let acknowledged = together(&bank, 8, move |n, session| {
        let mut mine = Vec::new();
        for k in 0..40 {
            let batch = format!(
                r#"[{{"event_type": "T{n}", "event_data": {{"k": {k}}}}}, {{"event_type": "U{n}", "event_data": {{}}}}]"#
            );
            if k % 4 == 0 {
                session.run(&append_many(stream, &batch, ""));
            } else {
                mine.push(session.id(&append(stream, &format!("T{n}"), &format!(r#"{{"k": {k}}}"#), "")));
            }
        }
        mine
    });
    let ids: HashSet<Uuid> = acknowledged.into_iter().flatten().collect();
    assert_eq!(ids.len(), 8 * 30);
    let there = bank.db.lines("select event_id from event_store.events");
    let there: HashSet<Uuid> = there.iter().map(|id| id.parse().expect("a uuid")).collect();
    assert!(ids.is_subset(&there));
    assert_eq!(there.len(), 8 * (30 + 20));
    audit_events(&mut bank.db);
}

#[test]
fn one_of_those_who_expect_the_same_version_wins() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    for _ in 0..10 {
        let stream = Uuid::now_v7();
        let outcomes = together(&bank, 6, move |_, session| {
            let first = session.try_lines(&append(stream, "Opened", "{}", ", 0"));
            let second = session.try_lines(&append(stream, "Next", "{}", ", 1"));
            [first, second].map(|outcome| outcome.map(|_| ()).map_err(|refusal| refusal.code))
        });
        for at in 0..2 {
            let won = outcomes.iter().filter(|outcome| outcome[at].is_ok()).count();
            assert_eq!(won, 1, "{outcomes:?}");
            assert!(outcomes.iter().all(|outcome| outcome[at].as_ref().err().is_none_or(|code| code == "NB101")));
        }
    }
    audit_events(&mut bank.db);
}

#[test]
fn one_id_at_the_same_moment_is_one_event() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let (stream, id) = (Uuid::now_v7(), Uuid::now_v7());
    let one = append(stream, "Opened", "{}", &format!(", 0, null, '{id}'"));
    let ids = together(&bank, 6, move |_, session| session.id(&one));
    assert!(ids.iter().all(|found| *found == id));
    assert_eq!(bank.db.count("select count(*) from event_store.events"), 1);
    // In another stream it is another event, and who comes second hears so.
    let id = Uuid::now_v7();
    let (mut first, mut second) = (bank.session(), bank.session());
    let backend = Bank::backend_of(&mut second);
    first.run("begin");
    first.run(&append(Uuid::now_v7(), "T", "{}", &format!(", null, null, '{id}'")));
    let waiting =
        thread::spawn(move || second.fails(&append(Uuid::now_v7(), "T", "{}", &format!(", null, null, '{id}'"))).code);
    bank.wait_until_blocked(backend);
    first.run("commit");
    assert_eq!(waiting.join().expect("it answers"), "NB103");
    audit_events(&mut bank.db);
}

#[test]
fn under_an_old_snapshot_an_append_starts_anew() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run(&append(stream, "Opened", "{}", ""));
    for level in ["repeatable read", "serializable"] {
        let mut old = bank.session();
        old.run(&format!("begin isolation level {level}"));
        old.run("select count(*) from event_store.events");
        bank.db.run(&append(stream, "Meanwhile", "{}", ""));
        assert_eq!(old.fails(&append(stream, "Late", "{}", "")).code, "40001");
        old.run("rollback");
    }
    audit_events(&mut bank.db);
}

#[test]
fn the_stream_of_an_older_transaction_that_appends_later_is_in_order() {
    // A transaction gets its number with its first write. One that wrote something before, and appends after a younger
    // one has, must not put its event before the other's in the order of all events.
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run("create table public.own (x int)");
    let mut older = bank.session();
    older.run("begin; insert into public.own values (1)");
    bank.db.run(&append(stream, "First", "{}", ""));
    older.run(&append(stream, "Second", "{}", ", 1"));
    older.run(&append(stream, "Third", "{}", ", 2"));
    older.run("savepoint s");
    older.run(&append(stream, "Fourth", "{}", ", 3"));
    older.run("release s; commit");
    let order = "select event_type from event_store.events order by global_position";
    assert_eq!(bank.db.lines(order), ["First", "Second", "Third", "Fourth"]);
    audit_events(&mut bank.db);
}

/// Reads on from where it was.
struct Reader {
    session: Client,
    query: fn(i64) -> String,
    position: i64,
    seen: Vec<String>,
}

impl Reader {
    fn new(bank: &Bank, query: fn(i64) -> String) -> Self {
        Reader { session: bank.session(), query, position: 0, seen: Vec::new() }
    }

    fn catch_up(&mut self) {
        loop {
            let lines = self.session.lines(&(self.query)(self.position));
            let Some(last) = lines.last() else { return };
            self.position = last.split('|').next().and_then(|at| at.parse().ok()).expect("a position comes first");
            self.seen.extend(lines);
        }
    }
}

#[test]
fn a_reader_skips_nobody_who_commits_late() {
    // Long and short writers interleaved. A reader who goes by the numbers alone has passed the long one's when it
    // commits; ours waits for it.
    let _crowd = crowd();
    let mut bank = Bank::new();
    let mut ours =
        Reader::new(&bank, |after| format!("select global_position, event_id from event_store.read_all({after}, 7)"));
    let mut naive = Reader::new(&bank, |after| {
        format!(
            "select global_position, event_id from event_store.events where global_position > {after} \
             order by global_position limit 7"
        )
    });
    let mut long = bank.session();
    for _ in 0..5 {
        long.run("begin");
        long.run(&append(Uuid::now_v7(), "Long", "{}", ""));
        together(&bank, 4, |_, session| {
            for _ in 0..10 {
                session.run(&append(Uuid::now_v7(), "Short", "{}", ""));
            }
        });
        naive.catch_up();
        ours.catch_up();
        long.run("commit");
    }
    naive.catch_up();
    assert_eq!(naive.seen.len(), 200, "the naive reader skips the long ones, or this test shows nothing");
    // Whoever holds the horizon back elsewhere in the cluster ends some time.
    for _ in 0..6_000 {
        ours.catch_up();
        if ours.seen.len() == 205 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let all = bank.db.lines("select global_position, event_id from event_store.events order by global_position");
    assert_eq!(ours.seen, all);
    audit_events(&mut bank.db);
}
