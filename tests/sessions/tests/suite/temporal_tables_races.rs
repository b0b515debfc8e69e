//! Two sessions at once change what is known of the same row.

use neobank_sessions::*;
use std::thread;

fn enabled() -> Bank {
    let mut bank = Bank::new();
    bank.db.run("create table t (key int primary key, a int not null, b int not null)");
    bank.db.run("insert into t values (1, 0, 0), (2, 0, 0)");
    bank.db.run("select temporal.enable('t', p_valid_from => '2020-01-01')");
    bank
}

const PAST: &str = "'2021-01-01', '2022-01-01'";

fn sound(bank: &mut Bank) {
    assert_eq!(bank.db.lines("select * from temporal.check_history('t')"), [""; 0]);
}

/// `first` is under way in one transaction when `second` begins; then the first commits. What the second came to.
fn one_after_the_other(bank: &mut Bank, level: &str, first: &str, second: &str) -> Result<Vec<String>, Refusal> {
    let (mut one, mut two) = (bank.session(), bank.session());
    let backend = Bank::backend_of(&mut two);
    two.run(&format!("begin isolation level {level}; select count(*) from t"));
    one.run("begin");
    one.run(first);
    let second = second.to_owned();
    let waiting = thread::spawn(move || {
        let answer = two.try_lines(&second);
        two.run(if answer.is_ok() { "commit" } else { "rollback" });
        answer
    });
    bank.wait_until_blocked(backend);
    one.run("commit");
    waiting.join().expect("the session ends")
}

#[test]
fn two_corrections_of_one_row_come_one_after_the_other_and_both_stay() {
    let mut bank = enabled();
    let answer = one_after_the_other(
        &mut bank,
        "read committed",
        &format!("select temporal.update_portion('t', '{{\"key\": 1}}', {PAST}, '{{\"a\": 1}}')"),
        "select temporal.update_portion('t', '{\"key\": 1}', '2021-06-01', '2023-01-01', '{\"b\": 2}')",
    );
    assert_eq!(answer.expect("it may"), ["2"]);
    let rows = "select a, b, valid_from::date, valid_to::date from public_history.t \
                where key = 1 and known_to = 'infinity' order by valid_from";
    assert_eq!(
        bank.db.lines(rows),
        [
            "0|0|2020-01-01|2021-01-01",
            "1|0|2021-01-01|2021-06-01",
            "1|2|2021-06-01|2022-01-01",
            "0|2|2022-01-01|2023-01-01",
            "0|0|2023-01-01|infinity"
        ]
    );
    sound(&mut bank);
}

#[test]
fn above_read_committed_the_later_correction_fails_and_may_be_repeated() {
    for level in ["repeatable read", "serializable"] {
        let mut bank = enabled();
        for first in [
            format!("select temporal.update_portion('t', '{{\"key\": 1}}', {PAST}, '{{\"a\": 1}}')"),
            "update t set a = 5 where key = 1".to_owned(),
        ] {
            let second =
                "select temporal.update_portion('t', '{\"key\": 1}', '2021-06-01', '2023-01-01', '{\"b\": 2}')";
            let answer = one_after_the_other(&mut bank, level, &first, second);
            assert_eq!(answer.expect_err("the snapshot is older").code, "40001", "{level}, {first}");
        }
        sound(&mut bank);
    }
}

#[test]
fn facts_about_a_key_that_is_not_there_do_not_overlap() {
    let insert = format!("select temporal.insert_portion('t', '{{\"key\": 3, \"a\": 1, \"b\": 1}}', {PAST})");
    let mut bank = enabled();
    let answer = one_after_the_other(&mut bank, "read committed", &insert, &insert);
    assert_eq!(answer.expect_err("the time is taken").code, "NB325");
    let answer = one_after_the_other(
        &mut bank,
        "repeatable read",
        &insert.replace("3,", "4,"),
        &insert.replace("3,", "4,").replace("'2022", "'2023"),
    );
    assert_eq!(answer.expect_err("the snapshot is older").code, "40001");
    // A scheduled fact that a plain insert of an older snapshot does not see.
    let scheduled = insert.replace("3,", "5,").replace(PAST, "now() + interval '1 day', now() + interval '2 days'");
    let answer = one_after_the_other(&mut bank, "repeatable read", &scheduled, "insert into t values (5, 0, 0)");
    assert_eq!(answer.expect_err("the snapshot is older").code, "40001");
    let scheduled = scheduled.replace("5,", "6,");
    let answer = one_after_the_other(&mut bank, "read committed", &scheduled, "insert into t values (6, 0, 0)");
    answer.expect("it fills the time before");
    sound(&mut bank);
    assert_eq!(bank.db.one("select count(*) from public_history.t where key = 6 and known_to = 'infinity'"), "2");
}

#[test]
fn a_transaction_that_is_older_than_the_row_it_changes_comes_after_it() {
    let mut bank = enabled();
    let mut old = bank.session();
    for statement in [
        "update t set a = a + 100 where key = 1",
        "delete from t where key = 1",
        "insert into t values (1, 7, 7)",
        "select temporal.update_portion('t', '{\"key\": 1}', '2020-02-01', 'infinity', '{\"b\": 9}')",
    ] {
        old.run("begin; select now()");
        bank.db.run(match statement {
            s if s.starts_with("insert") => "insert into t values (1, 1, 1); delete from t where key = 1",
            _ => "update t set b = b + 1 where key = 1",
        });
        old.run(statement);
        old.run("commit");
        sound(&mut bank);
        let current = "select format('%s:%s', a, b) from t where key = 1";
        let believed = "select format('%s:%s', a, b) from temporal.as_of(null::t) where key = 1";
        assert_eq!(bank.db.lines(current), bank.db.lines(believed), "{statement}");
    }
    let inverted = "select count(*) from public_history.t where valid_from >= valid_to or known_from >= known_to";
    assert_eq!(bank.db.one(inverted), "0");
}

#[test]
fn many_sessions_leave_one_history() {
    let _turn = crowd();
    let mut bank = enabled();
    together(&bank, 6, |n, session| {
        let mut dice = Dice(n as u64 + 7);
        let mut done = 0;
        while done < 25 {
            let key = 1 + dice.below(3);
            let (from, years) = (2020 + dice.below(12), 1 + dice.below(4));
            let period = format!("'{from}-01-01', '{}-01-01'", from + years);
            let object = format!("'{{\"key\": {key}}}'");
            let sql = match dice.below(8) {
                0 => format!("insert into t values ({key}, 1, 1) on conflict (key) do update set a = t.a + 1"),
                1 => format!("delete from t where key = {key}"),
                2 | 3 => "update t set a = a + 1".to_owned(),
                4 => format!("select temporal.delete_portion('t', {object}, {period})"),
                5 => format!("select temporal.insert_portion('t', '{{\"key\": {key}, \"a\": 1, \"b\": 1}}', {period})"),
                _ => format!("select temporal.update_portion('t', {object}, {period}, '{{\"b\": {n}}}')"),
            };
            match session.try_lines(&sql) {
                Ok(_) => done += 1,
                Err(refusal) => {
                    assert!(["40P01", "NB325", "23505"].contains(&refusal.code.as_str()), "{refusal}: {sql}")
                }
            }
        }
    });
    sound(&mut bank);
}

#[test]
fn a_child_and_its_parent_do_not_part_under_concurrency() {
    let mut bank = enabled();
    bank.db.run("create table c (id int primary key, parent int)");
    bank.db.run("select temporal.enable('c', p_valid_from => '2020-01-01'), temporal.add_foreign_key('c', '{parent}', 't', 'fk')");
    let (mut one, mut two) = (bank.session(), bank.session());
    // The child first: its transaction holds the parent's time when the other one's ends.
    one.run("begin; insert into c values (1, 1); set constraints all immediate");
    let backend = Bank::backend_of(&mut two);
    let deleting = thread::spawn(move || two.try_lines("delete from t where key = 1"));
    bank.wait_until_blocked(backend);
    one.run("commit");
    assert_eq!(deleting.join().expect("it ends").expect_err("a child is there").code, "NB330");
    // The parent first.
    one.run("begin; delete from t where key = 2");
    let mut two = bank.session();
    let backend = Bank::backend_of(&mut two);
    let inserting = thread::spawn(move || two.try_lines("insert into c values (2, 2)"));
    bank.wait_until_blocked(backend);
    one.run("commit");
    assert_eq!(inserting.join().expect("it ends").expect_err("the parent is gone").code, "NB330");
    sound(&mut bank);
}
