//! One test per fault that random operations against the model (`tests/model`) found.

use crate::events::{append, append_many};
use neobank_sessions::*;

/// An empty array of tags was kept as one by append_events and left out by append_event, so that a retry by the other
/// function was refused as another event (NB103).
#[test]
fn no_tags_are_the_same_in_every_spelling() {
    let mut bank = Bank::new();
    let (stream, id) = (Uuid::now_v7(), Uuid::now_v7());
    let event = |tags: &str| format!(r#"[{{"event_type": "T", "event_data": {{}}, "event_id": "{id}"{tags}}}]"#);
    assert_eq!(bank.db.one(&append_many(stream, &event(r#", "tags": []"#), "")), "1");
    assert_eq!(bank.db.one("select tags is null from event_store.events"), "t");
    for tags in ["", r#", "tags": null"#, r#", "tags": []"#] {
        assert_eq!(bank.db.one(&append_many(stream, &event(tags), "")), "1", "{tags}");
    }
    for tags in ["null", "'{}'"] {
        let one = append(stream, "T", "{}", &format!(", null, null, '{id}', {tags}"));
        assert_eq!(bank.db.id(&one), id, "{tags}");
    }
}

/// Figures of more digits than fit were rounded without a word: an amount written as text with an exponent, and a sum.
#[test]
fn a_figure_that_does_not_fit_is_refused_and_not_rounded() {
    let mut bank = Bank::new();
    let long = r#"{"balance": 98765432109876543210987654.32}"#;
    for (opened, amount) in [("{}", r#""1.00000000000000000000000000000000000001e0""#), (long, "0.001")] {
        let stream = Uuid::now_v7();
        bank.db.run(&append(stream, "AccountOpened", opened, ""));
        bank.db.run(&append(stream, "FundsDeposited", &format!(r#"{{"amount": {amount}}}"#), ""));
        let state = format!("select event_store.get_aggregate_state('{stream}')");
        refused(&mut bank.db, &state, "NB105");
    }
    let stream = Uuid::now_v7();
    bank.db.run(&append(stream, "AccountOpened", long, ""));
    bank.db.run(&append(stream, "FundsDeposited", r#"{"amount": "1e-2"}"#, ""));
    bank.db.run(&append(stream, "FundsWithdrawn", r#"{"amount": "250e-2"}"#, ""));
    assert_eq!(
        bank.db.one(&format!("select event_store.get_aggregate_state('{stream}')")),
        r#"{"balance": 98765432109876543210987651.83, "version": 3}"#
    );
}

/// A parent and a child with histories since 2020, and a foreign key over periods between them.
fn family() -> Bank {
    let mut bank = Bank::new();
    bank.db.run("create table p (key int primary key, a int); create table c (id int primary key, parent int, b int)");
    bank.db.run("insert into p values (1, 0), (2, 0); insert into c values (1, 1, 0)");
    bank.db.run(
        "select temporal.enable('p', p_valid_from => '2020-01-01'), temporal.enable('c', p_valid_from => '2020-01-01')",
    );
    bank.db.run("select temporal.add_foreign_key('c', '{parent}', 'p', 'fk')");
    bank
}

/// As long as a child had been true in that time, `temporal.prune` of its parent was refused (NB330), and a child's row
/// whose parent had lost a past row would have been refused every change.
#[test]
fn a_parent_is_pruned_and_its_child_goes_on() {
    let mut bank = family();
    bank.db.run("select temporal.update_portion('p', '{\"key\": 1}', '2020-01-01', '2022-01-01', '{\"a\": 2}')");
    bank.db.run("select temporal.update_portion('p', '{\"key\": 1}', '2022-01-01', '2023-01-01', '{\"a\": 3}')");
    assert_eq!(bank.db.one("select rows_pruned, is_done from temporal.prune('2022-01-01', 'p')"), "1|t");
    bank.db.run("update c set b = 1; select temporal.update_portion('c', '{\"id\": 1}', '2020-06-01', '2024-01-01', '{\"b\": 2}')");
    // What is kept must cover the child as before.
    let gap = "select temporal.delete_portion('p', '{\"key\": 1}', '2022-06-01', '2022-07-01')";
    refused(&mut bank.db, gap, "NB330");
    bank.db.run("select temporal.insert_portion('c', '{\"id\": 2, \"parent\": 2, \"b\": 0}', '2020-06-01')");
    refused(
        &mut bank.db,
        "select temporal.insert_portion('c', '{\"id\": 3, \"parent\": 3, \"b\": 0}', '2021-01-01')",
        "NB330",
    );
    assert_eq!(bank.db.lines("select * from temporal.check_history('c')"), [""; 0]);
}

/// Of two that prune at once the later one set back up to when the history was pruned, and questions about a time of
/// which rows were gone were answered.
#[test]
fn who_prunes_less_does_not_take_back_what_was_pruned() {
    let mut bank = family();
    bank.db.run("select temporal.update_portion('p', '{\"key\": 2}', '2020-01-01', '2023-01-01', '{\"a\": 2}')");
    let (mut one, mut two) = (bank.session(), bank.session());
    one.run("begin; select temporal.prune('2023-01-01', 'p')");
    let backend = Bank::backend_of(&mut two);
    let less = std::thread::spawn(move || two.lines("select is_done from temporal.prune('2021-01-01', 'p')"));
    bank.wait_until_blocked(backend);
    one.run("commit");
    assert_eq!(less.join().expect("it ends"), ["t"]);
    for instant in ["2020-06-01", "2022-06-01"] {
        refused(&mut bank.db, &format!("select * from temporal.as_of(null::p, '{instant}')"), "NB331");
        refused(&mut bank.db, &format!("set neobank.as_of = '{instant}'; select * from public_as_of.p"), "NB331");
    }
}

/// A child that waited for a correction of its parent held the rows that were there before it, and not those that took
/// their place: these could be taken away under it.
#[test]
fn a_child_holds_the_rows_that_its_parent_was_given_meanwhile() {
    let mut bank = family();
    let (mut one, mut two, mut three) = (bank.session(), bank.session(), bank.session());
    one.run("begin; select temporal.update_portion('p', '{\"key\": 2}', '2021-01-01', '2022-01-01', '{\"a\": 2}')");
    let backend = Bank::backend_of(&mut two);
    let child = std::thread::spawn(move || {
        two.run("begin; select temporal.insert_portion('c', '{\"id\": 2, \"parent\": 2, \"b\": 0}', '2020-06-01')");
        two.run("set constraints all immediate");
        two
    });
    bank.wait_until_blocked(backend);
    one.run("commit");
    let mut two = child.join().expect("it is covered");
    let backend = Bank::backend_of(&mut three);
    let gap = "select temporal.delete_portion('p', '{\"key\": 2}', '2023-03-01', '2023-04-01')";
    let taken = std::thread::spawn(move || three.try_lines(gap));
    bank.wait_until_blocked(backend);
    two.run("commit");
    assert_eq!(taken.join().expect("it ends").expect_err("a child is there").code, "NB330");
}

/// An UPDATE of a row that was to end, and had not yet, for want of `temporal.apply_due`, made it true again without a
/// word.
#[test]
fn a_row_that_was_to_be_gone_is_not_changed() {
    let mut bank = family();
    // Until it comes in time.
    loop {
        bank.db.run("select temporal.delete_portion('c', '{\"id\": 1}', now() + interval '50 ms', 'infinity')");
        if bank.db.one("select count(*) from c") == "1" {
            break;
        }
        bank.db.run("insert into c values (1, 1, 0)");
    }
    bank.db.run("select pg_sleep(0.06)");
    let refusal = refused(&mut bank.db, "update c set b = 7", "NB327");
    assert!(refusal.detail.contains("is to have no row since"), "{refusal}");
    assert_eq!(bank.db.one("select temporal.apply_due('c')"), "1");
    assert_eq!(bank.db.one("select count(*) from c"), "0");
}

/// Above READ COMMITTED a statement or a portion about a key that was not in the table did not notice what others had
/// recorded of it since the snapshot: two facts of one key overlapped on both axes.
#[test]
fn an_older_snapshot_does_not_make_facts_overlap() {
    for level in ["repeatable read", "serializable"] {
        older_snapshot(level);
    }
}

fn older_snapshot(level: &str) {
    let mut bank = family();
    bank.db.run("insert into c values (30, 1, 0), (31, 1, 0)");
    let portion = |id: usize| {
        format!(
            "select temporal.insert_portion('c', '{{\"id\": {id}, \"b\": 0}}', now() - interval '1 hour', '2100-01-01')"
        )
    };
    let plain = |id: usize| format!("insert into c values ({id}, null, 0)");
    let inserted_and_deleted = |id: usize| format!("{}; commit; delete from c where id = {id}", plain(id));
    for (n, meanwhile, then) in [
        (10, plain(10), portion(10)),
        (11, inserted_and_deleted(11), portion(11)),
        (12, inserted_and_deleted(12), plain(12)),
        (13, inserted_and_deleted(13), "update c set id = 13 where id = 1".to_owned()),
        (15, "delete from c where id = 30".to_owned(), "update c set id = 30 where id = 1".to_owned()),
        (16, "delete from c where id = 31".to_owned(), "insert into c values (31, 1, 0)".to_owned()),
        (
            14,
            portion(14).replace("'2100-01-01'", "now() - interval '1 minute'"),
            "update c set id = 14 where id = 1".to_owned(),
        ),
    ] {
        let mut older = bank.session();
        older.run(&format!("begin isolation level {level}; select count(*) from c"));
        bank.db.run(&meanwhile);
        assert_eq!(older.fails(&then).code, "40001", "{level}: {meanwhile}, then {then}");
        older.run("rollback");
        bank.db.run(&format!("delete from c where id = {n}"));
    }
    assert_eq!(bank.db.lines("select * from temporal.check_history('c')"), [""; 0]);
    // What it sees it may build upon.
    bank.db.run("begin isolation level serializable");
    bank.db.run(&format!(
        "{}; delete from c where id = 20; {}; update c set id = 21 where id = 20",
        plain(20),
        plain(20)
    ));
    bank.db.run("commit");
    assert_eq!(bank.db.lines("select * from temporal.check_history('c')"), [""; 0]);
}

/// A fact that had come due, and was split by a portion that did not reach now before `temporal.apply_due` was called,
/// counted as recorded after its time: the table never got it.
#[test]
fn a_fact_that_is_due_is_not_lost_to_its_table_by_a_portion_of_another_time() {
    let mut bank = family();
    bank.db.run("insert into c values (2, null, 0)");
    loop {
        bank.db.run(
            "select temporal.update_portion('c', '{\"id\": 1}', now() + interval '50 ms', 'infinity', '{\"b\": 5}'), \
                    temporal.delete_portion('c', '{\"id\": 2}', now() + interval '50 ms', 'infinity')",
        );
        if bank.db.lines("select id, b from c order by id") == ["1|0", "2|0"] {
            break;
        }
        bank.db.run("delete from c; insert into c values (1, 1, 0), (2, null, 0)");
    }
    bank.db.run("select pg_sleep(0.06)");
    bank.db.run("select temporal.update_portion('c', '{\"id\": 1}', '2100-01-01', 'infinity', '{\"b\": 6}')");
    bank.db.run(
        "select temporal.update_portion('c', '{\"id\": 2}', '2020-01-01', now() - interval '1 minute', '{\"b\": 7}')",
    );
    bank.db.run("select temporal.update_portion('c', '{\"id\": 2}', '2020-01-01', now(), '{\"b\": 7}')");
    assert_eq!(bank.db.one("select temporal.apply_due('c')"), "0");
    assert_eq!(bank.db.lines("select id, b from c order by id"), ["1|5"]);
    assert_eq!(bank.db.lines("select * from temporal.check_history('c')"), [""; 0]);
}
