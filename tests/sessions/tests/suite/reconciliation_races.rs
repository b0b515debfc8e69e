//! Reconciling in several sessions at once, and going back on it.

use crate::reconciliation::{bank, explained, import, line, posted};
use neobank_sessions::*;

const MATCHES: &str = "select count(*) from txn_processing.reconciliation_matches";

/// A statement whose lines all have their posting.
fn statement_of(bank: &mut Bank, a: Uuid, cash: Uuid, lines: u32) -> Uuid {
    let texts: Vec<String> = (1..=lines)
        .map(|n| {
            posted(bank, a, 1 + n % 28, &format!("{n}.05"), &format!("R{n}"));
            line(1 + n % 28, &format!("{n}.05"), &format!("R{n}"))
        })
        .collect();
    let total = format!("(select sum(n + 0.05) from generate_series(1, {lines}) n)");
    bank.db.id(&import(cash, "S", "0", &total, &format!("[{}]", texts.join(","))))
}

fn match_sql(statement: Uuid) -> String {
    format!("select matches, open_lines from txn_processing.match_external_statement('{statement}')")
}

#[test]
fn two_sessions_match_one_statement_once() {
    let (mut bank, a, cash) = bank();
    let statement = statement_of(&mut bank, a, cash, 20);
    let mut first = bank.session();
    let mut second = bank.session();
    let backend = Bank::backend_of(&mut second);
    first.run("begin");
    assert_eq!(first.one(&match_sql(statement)), "20|0");
    let sql = match_sql(statement);
    let waiting = std::thread::spawn(move || second.one(&sql));
    bank.wait_until_blocked(backend);
    first.run("commit");
    assert_eq!(waiting.join().expect("no error"), "0|0");
    assert_eq!(bank.db.count(MATCHES), 20);
    explained(&mut bank, statement);
}

#[test]
fn a_rollback_leaves_everything_open_for_the_one_who_waited() {
    let (mut bank, a, cash) = bank();
    let statement = statement_of(&mut bank, a, cash, 20);
    let before = snapshot(&mut bank.db);
    let mut first = bank.session();
    let mut second = bank.session();
    let backend = Bank::backend_of(&mut second);
    first.run("begin");
    first.run(&match_sql(statement));
    let sql = match_sql(statement);
    let waiting = std::thread::spawn(move || {
        second.run("begin");
        let answer = second.one(&sql);
        second.run("rollback");
        answer
    });
    bank.wait_until_blocked(backend);
    first.run("rollback");
    assert_eq!(waiting.join().expect("no error"), "20|0");
    assert_eq!(before, snapshot(&mut bank.db));
}

#[test]
fn at_repeatable_read_who_did_not_see_the_matches_starts_again() {
    let (mut bank, a, cash) = bank();
    let statement = statement_of(&mut bank, a, cash, 5);
    let mut late = bank.session();
    late.run("begin isolation level repeatable read");
    late.run(MATCHES);
    bank.db.run(&match_sql(statement));
    let refusal = late.fails(&match_sql(statement));
    assert_eq!(refusal.code, "40001", "{refusal}");
    late.run("rollback");
    assert_eq!(late.one(&match_sql(statement)), "0|0");
}

#[test]
fn many_sessions_match_and_undo_and_no_line_is_matched_twice() {
    let _crowd = crowd();
    let (mut bank, a, cash) = bank();
    let statement = statement_of(&mut bank, a, cash, 40);
    let made = together(&bank, 6, move |n, session| {
        let mut dice = Dice(n as u64 + 5);
        let mut made = 0;
        for _ in 0..15 {
            let undo = format!(
                "select txn_processing.unmatch(match_id, 'again') from txn_processing.reconciliation_matches \
                 where undone_at is null order by match_id offset {} limit 1",
                dice.below(20)
            );
            match session.try_lines(&undo) {
                Ok(_) => {}
                Err(refusal) => assert_eq!(refusal.code, "NB055", "{refusal}"),
            }
            let answer = session.one(&match_sql(statement));
            made += answer.split('|').next().expect("a count").parse::<i64>().expect("a count");
        }
        made
    });
    assert_eq!(bank.db.count(MATCHES), made.into_iter().sum::<i64>());
    for (table, key) in [
        ("reconciliation_match_lines", "line_id"),
        ("reconciliation_match_postings", "account_id, transaction_id, leg"),
    ] {
        let twice = format!(
            "select count(*) from (select from txn_processing.{table} where in_force group by {key} having count(*) > 1) x"
        );
        assert_eq!(bank.db.count(&twice), 0, "{table}");
    }
    let torn = "select count(*) from txn_processing.reconciliation_matches m \
                left join (select match_id, bool_and(in_force) as l, bool_or(in_force) as lo from \
                           txn_processing.reconciliation_match_lines group by 1) l using (match_id) \
                left join (select match_id, bool_and(in_force) as p, bool_or(in_force) as po from \
                           txn_processing.reconciliation_match_postings group by 1) p using (match_id) \
                where (l, lo, p, po) is distinct from \
                      (undone_at is null, undone_at is null, undone_at is null, undone_at is null)";
    assert_eq!(bank.db.count(torn), 0, "a match is undone whole");
    explained(&mut bank, statement);
    audit(&mut bank.db);
}

#[test]
fn one_statement_brought_by_many_is_one_statement() {
    let _crowd = crowd();
    let (mut bank, _, cash) = bank();
    let sql = import(cash, "S", "0", "10", &format!("[{}]", line(4, "10", "A")));
    let ids = together(&bank, 6, move |_, session| session.id(&sql));
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(bank.db.count("select count(*) from txn_processing.external_lines"), 1);
    // Under two accounts at once the first wins, and the other hears that the name is taken.
    let a = bank.account("0");
    let (mut first, mut second) = (bank.session(), bank.session());
    let backend = Bank::backend_of(&mut second);
    first.run("begin");
    first.run(&import(cash, "T", "0", "0", "[]").replace("'2026-", "'2025-"));
    let waiting =
        std::thread::spawn(move || second.fails(&import(a, "T", "0", "0", "[]").replace("'2026-", "'2025-")).code);
    bank.wait_until_blocked(backend);
    first.run("commit");
    assert_eq!(waiting.join().expect("it answers"), "NB007");
}

#[test]
fn two_people_take_one_posting_and_one_of_them_hears_it() {
    let (mut bank, a, cash) = bank();
    let posting = posted(&mut bank, a, 4, "10", "");
    bank.db.run(&import(cash, "S", "0", "20", &format!("[{}, {}]", line(5, "10", ""), line(6, "10", ""))));
    let lines = bank.db.lines("select line_id from txn_processing.external_lines order by line_no");
    let by_hand = |line: &str| format!("select txn_processing.manual_match('{{{line}}}', '{{{posting}}}', 'mine')");
    let (mut first, mut second) = (bank.session(), bank.session());
    let backend = Bank::backend_of(&mut second);
    first.run("begin");
    first.run(&by_hand(&lines[0]));
    let sql = by_hand(&lines[1]);
    let waiting = std::thread::spawn(move || second.fails(&sql).code);
    bank.wait_until_blocked(backend);
    first.run("commit");
    assert_eq!(waiting.join().expect("it answers"), "NB055");
}

#[test]
fn postings_go_on_while_a_statement_is_matched() {
    let (mut bank, a, cash) = bank();
    let statement = statement_of(&mut bank, a, cash, 10);
    let mut other = bank.session();
    bank.db.run("begin");
    bank.db.run(&match_sql(statement));
    other.run("set lock_timeout = '5s'");
    other.run(&format!("select txn_processing.deposit('{a}', 1)"));
    bank.db.run("commit");
    audit(&mut bank.db);
}

#[test]
fn what_is_rolled_back_never_was() {
    let (mut bank, a, cash) = bank();
    let posting = posted(&mut bank, a, 4, "10", "A");
    let before = snapshot(&mut bank.db);
    bank.db.run("begin");
    let statement = bank.db.id(&import(cash, "S", "0", "10", &format!("[{}]", line(4, "10", "A"))));
    bank.db.run("select txn_processing.set_reconciliation_rule('correspondent', 1)");
    assert_eq!(bank.db.one(&match_sql(statement)), "1|0");
    bank.db.run("select txn_processing.unmatch(match_id, 'why') from txn_processing.reconciliation_matches");
    bank.db.run(&format!(
        "select txn_processing.manual_match(array_agg(line_id), '{{{posting}}}', 'why') from txn_processing.external_lines"
    ));
    bank.db.run("rollback");
    assert_eq!(before, snapshot(&mut bank.db));
    // The name is free, and so are its days.
    bank.db.run(&import(cash, "S", "0", "11", &format!("[{}]", line(4, "11", "A"))));
}
