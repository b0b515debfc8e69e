//! What changes a slotted account as a whole (closing, freezing, its limit, its mode) against postings in flight.
//!
//! A posting holds one slot and not the account's row. If whoever closes the account locked the row alone, the posting
//! would go through behind his back, and money would lie on a closed account.

use neobank_sessions::*;
use std::thread::{self, JoinHandle};

const PATHS: [&str; 2] = ["auto", "spi"];

fn close(account: Uuid, heir: Option<Uuid>) -> String {
    match heir {
        Some(heir) => format!("select banking.close_account('{account}', '{heir}')"),
        None => format!("select banking.close_account('{account}')"),
    }
}

fn transfer(from: Uuid, to: Uuid, amount: impl std::fmt::Display) -> String {
    format!("select txn_processing.transfer('{from}', '{to}', {amount})")
}

/// A session on this path with the statement done in an open transaction.
fn open(bank: &Bank, path: &str, sql: &str) -> Client {
    let mut session = bank.session();
    session.run(&format!("set neobank.posting_path = '{path}'; begin"));
    session.run(sql);
    session
}

/// The statement in a session of its own on this path, which has come to wait.
fn waiting(bank: &mut Bank, path: &str, sql: &str) -> JoinHandle<Result<Vec<String>, Refusal>> {
    let mut session = bank.session_on(path);
    let backend = Bank::backend_of(&mut session);
    let sql = sql.to_owned();
    let thread = thread::spawn(move || session.try_lines(&sql));
    bank.wait_until_blocked(backend);
    thread
}

fn answer(thread: JoinHandle<Result<Vec<String>, Refusal>>) -> String {
    match thread.join().expect("it is answered") {
        Ok(_) => "ok".to_owned(),
        Err(refusal) => refusal.code,
    }
}

fn status(bank: &mut Bank, account: Uuid) -> String {
    let status = bank.db.one(&format!("select account_status from banking.accounts where account_id = '{account}'"));
    format!("{status} {}", bank.db.balance(account).normalize())
}

#[test]
fn who_closes_waits_for_credits_in_flight() {
    for path in PATHS {
        for (swept, committed, closed, left) in [
            (false, true, "NB018", "active 10"),
            (true, true, "ok", "closed 0"),
            (false, false, "ok", "closed 0"),
            (true, false, "ok", "closed 0"),
        ] {
            let mut bank = Bank::new();
            let (payer, heir) = (bank.account("100"), bank.slotted("checking", "0", "0"));
            let account = bank.slotted("checking", "0", "0");
            bank.grow(account, 3);
            let mut credit = open(&bank, path, &transfer(payer, account, 10));
            let closing = waiting(&mut bank, "auto", &close(account, swept.then_some(heir)));
            credit.run(if committed { "commit" } else { "rollback" });
            let name = format!("{path}, swept: {swept}, committed: {committed}");
            assert_eq!(answer(closing), closed, "{name}");
            assert_eq!(status(&mut bank, account), left, "{name}");
            let inherited = if swept && committed { "10" } else { "0" };
            assert_eq!(bank.db.balance(heir), dec(inherited), "{name}");
            audit(&mut bank.db);
        }
    }
}

#[test]
fn who_closes_waits_for_a_credit_that_made_a_slot_for_itself() {
    for path in PATHS {
        for committed in [true, false] {
            let mut bank = Bank::new();
            let (one, two) = (bank.account("100"), bank.account("100"));
            let (account, heir) = (bank.slotted("checking", "0", "0"), bank.account("0"));
            let mut first = open(&bank, path, &transfer(one, account, 1));
            let mut second = open(&bank, path, &transfer(two, account, 10));
            let closing = waiting(&mut bank, "auto", &close(account, Some(heir)));
            first.run("commit");
            second.run(if committed { "commit" } else { "rollback" });
            assert_eq!(answer(closing), "ok", "{path}");
            assert_eq!(status(&mut bank, account), "closed 0", "{path}, committed: {committed}");
            assert_eq!(bank.db.balance(heir), dec(if committed { "11" } else { "1" }), "{path}");
            audit(&mut bank.db);
        }
    }
}

#[test]
fn a_credit_that_waited_for_the_closing_is_refused() {
    for path in PATHS {
        for (change, refused) in [
            ("closed", true),
            ("frozen", true),
            ("dormant", false),
            ("closed, given up", false),
            ("frozen, given up", false),
        ] {
            let mut bank = Bank::new();
            let (payer, heir) = (bank.account("100"), bank.account("0"));
            let account = bank.slotted("checking", "5", "0");
            bank.grow(account, 3);
            let (what, end) = change.split_once(", ").map_or((change, "commit"), |(what, _)| (what, "rollback"));
            let sql = match what {
                "closed" => close(account, Some(heir)),
                what => format!("select banking.set_account_status('{account}', '{what}', 'for the test')"),
            };
            let mut change_of_account = open(&bank, "auto", &sql);
            let credit = waiting(&mut bank, path, &transfer(payer, account, 10));
            change_of_account.run(end);
            assert_eq!(answer(credit), if refused { "NB003" } else { "ok" }, "{path}, {change}");
            let left = match change {
                "closed" => "closed 0",
                "frozen" => "frozen 5",
                "dormant" => "dormant 15",
                _ => "active 15",
            };
            assert_eq!(status(&mut bank, account), left, "{path}, {change}");
            audit(&mut bank.db);
        }
    }
}

#[test]
fn who_freezes_waits_for_credits_in_flight_and_then_none_comes() {
    for path in PATHS {
        let mut bank = Bank::new();
        let payer = bank.account("100");
        let account = bank.slotted("checking", "0", "0");
        bank.grow(account, 3);
        let mut credit = open(&bank, path, &transfer(payer, account, 10));
        let freeze = format!("select banking.set_account_status('{account}', 'frozen', 'court order')");
        let freezing = waiting(&mut bank, "auto", &freeze);
        credit.run("commit");
        assert_eq!(answer(freezing), "ok", "{path}");
        bank.db.run(&format!("set neobank.posting_path = '{path}'"));
        refused(&mut bank.db, &transfer(payer, account, 1), "NB003");
        refused(&mut bank.db, &transfer(account, payer, 1), "NB003");
        assert_eq!(status(&mut bank, account), "frozen 10", "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn a_change_under_an_old_snapshot_asks_for_a_new_start() {
    // Under REPEATABLE READ a credit would read the status as it was.
    for path in PATHS {
        for level in ["repeatable read", "serializable"] {
            let mut bank = Bank::new();
            let (payer, heir) = (bank.account("100"), bank.account("0"));
            let account = bank.slotted("checking", "5", "0");
            bank.grow(account, 3);
            let mut late = bank.session_on(path);
            late.run(&format!("begin isolation level {level}; select count(*) from banking.accounts"));
            bank.db.run(&close(account, Some(heir)));
            let refusal = late.fails(&transfer(payer, account, 10));
            assert_eq!(refusal.code, "40001", "{path}, {level}: {refusal}");
            assert_eq!(status(&mut bank, account), "closed 0", "{path}, {level}");
        }
    }
}

#[test]
fn a_debit_that_waited_for_a_lower_limit_keeps_it() {
    for path in PATHS {
        let mut bank = Bank::new();
        let account = bank.slotted("checking", "10", "100");
        let other = bank.account("0");
        bank.grow(account, 3);
        let lower = |limit| format!("select banking.set_overdraft_limit('{account}', {limit}, 'for the test')");
        let mut lowering = open(&bank, "auto", &lower(20));
        let debit = waiting(&mut bank, path, &transfer(account, other, 50));
        lowering.run("commit");
        assert_eq!(answer(debit), "NB001", "{path}");
        // The other way round the debit was there first, and the limit is for what comes.
        let mut debit = open(&bank, path, &transfer(account, other, 30));
        let lowering = waiting(&mut bank, "auto", &lower(0));
        debit.run("commit");
        assert_eq!(answer(lowering), "ok", "{path}");
        assert_eq!(bank.db.balance(account), dec("-20"), "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn a_posting_that_waited_for_a_switch_goes_to_where_the_balance_is() {
    for path in PATHS {
        for (before, after) in [("exclusive", "slotted"), ("slotted", "exclusive")] {
            for end in ["commit", "rollback"] {
                let mut bank = Bank::new();
                let (account, other) = (bank.account("10"), bank.account("100"));
                bank.mode(account, before);
                let switch = format!("select banking.set_balance_mode('{account}', '{after}')");
                let mut switching = open(&bank, "auto", &switch);
                let credit = waiting(&mut bank, path, &transfer(other, account, 7));
                let debit = waiting(&mut bank, path, &transfer(account, other, 4));
                switching.run(end);
                assert_eq!((answer(credit), answer(debit)), ("ok".into(), "ok".into()), "{path} {before} {end}");
                assert_eq!(bank.db.balance(account), dec("13"), "{path} {before} {end}");
                audit(&mut bank.db);
                // And the switch waits for postings.
                let mut credit = open(&bank, path, &transfer(other, account, 7));
                let switching =
                    waiting(&mut bank, "auto", &switch.replace(after, if end == "commit" { before } else { after }));
                credit.run("commit");
                assert_eq!(answer(switching), "ok", "{path} {before} {end}");
                assert_eq!(bank.db.balance(account), dec("20"), "{path} {before} {end}");
                audit(&mut bank.db);
            }
        }
    }
}

#[test]
fn a_posting_that_waited_for_a_switch_does_not_deadlock_with_the_next_change() {
    // It held a slot, learnt that the account is exclusive now, and went for the account's row, which the next change
    // had: and that one waited for the slot.
    for path in PATHS {
        for next in [
            "set_balance_mode('{account}', 'slotted')",
            "set_account_status('{account}', 'dormant', 'for the test')",
            "set_overdraft_limit('{account}', 5, 'for the test')",
        ] {
            let mut bank = Bank::new();
            let (account, other) = (bank.slotted("checking", "10", "0"), bank.account("100"));
            let switch = format!("select banking.set_balance_mode('{account}', 'exclusive')");
            let mut switching = open(&bank, "auto", &switch);
            let credit = waiting(&mut bank, path, &transfer(other, account, 7));
            let next = format!("select banking.{}", next.replace("{account}", &account.to_string()));
            let change = waiting(&mut bank, "auto", &next);
            switching.run("commit");
            assert_eq!((answer(credit), answer(change)), ("ok".into(), "ok".into()), "{path}: {next}");
            assert_eq!(bank.db.balance(account), dec("17"), "{path}: {next}");
            audit(&mut bank.db);
        }
    }
}

#[test]
fn a_posting_that_waited_for_two_switches_does_not_go_to_a_slot_that_is_out_of_use() {
    // It waited for a slot of the time before. The account is slotted still, but anew and with one slot: what was posted
    // to another was left out by the next switch, and lost.
    for path in PATHS {
        let mut bank = Bank::new();
        let account = bank.slotted("checking", "10", "0");
        let payers: Vec<Uuid> = (0..6).map(|_| bank.account("100")).collect();
        bank.grow(account, 5);
        let switch = |mode| format!("select banking.set_balance_mode('{account}', '{mode}')");
        let mut switching = open(&bank, "auto", &format!("{}; {}", switch("exclusive"), switch("slotted")));
        let credits: Vec<_> =
            payers.iter().map(|payer| waiting(&mut bank, path, &transfer(*payer, account, 7))).collect();
        let debit = waiting(&mut bank, path, &transfer(account, payers[0], 1));
        switching.run("commit");
        let answers: Vec<String> = credits.into_iter().map(answer).collect();
        assert!(answers.iter().all(|answer| ["ok", "40001"].contains(&answer.as_str())), "{path}: {answers:?}");
        let taken = dec(if answer(debit) == "ok" { "1" } else { "0" });
        let came_in = Decimal::from(7 * answers.iter().filter(|answer| *answer == "ok").count() as i64);
        audit(&mut bank.db);
        for mode in ["exclusive", "slotted", "exclusive"] {
            assert_eq!(bank.db.balance(account), dec("10") + came_in - taken, "{path}, {mode}: {answers:?}");
            bank.mode(account, mode);
        }
        audit(&mut bank.db);
    }
}

#[test]
fn closing_a_slotted_account_and_paying_into_it_at_once_loses_nothing() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let payers: Vec<Uuid> = (0..5).map(|_| bank.account("1000")).collect();
    let heir = bank.slotted("checking", "0", "0");
    let (mut came_in, mut refused) = (0, 0);
    for round in 0..25 {
        let closing = bank.slotted("checking", "10", "0");
        bank.grow(closing, 1 + round % 4);
        let ids = payers.clone();
        let outcomes = together(&bank, 6, move |n, session| {
            session.run(&format!("set neobank.posting_path = '{}'", PATHS[n % 2]));
            match n.checked_sub(1) {
                // After some of the credits, so that there are such and such.
                None => {
                    session.try_lines(&format!("begin; select pg_sleep(0.001); {}; commit", close(closing, Some(heir))))
                }
                // One transaction each: several postings in one may wait for each other's slots in a circle.
                Some(n) => (0..3).try_fold(Vec::new(), |_, _| session.try_lines(&transfer(ids[n], closing, 1))),
            }
        });
        assert!(outcomes[0].is_ok(), "round {round}: {outcomes:?}");
        for outcome in &outcomes[1..] {
            match outcome {
                Ok(_) => came_in += 1,
                Err(refusal) => {
                    assert_eq!(refusal.code, "NB003", "round {round}: {refusal}");
                    refused += 1;
                }
            }
        }
        assert_eq!(status(&mut bank, closing), "closed 0", "round {round}: {outcomes:?}");
    }
    assert!(came_in > 0 && refused > 0, "{came_in} came in, {refused} were refused");
    let kept: Decimal = payers.iter().map(|payer| bank.db.balance(*payer)).sum();
    assert_eq!(kept + bank.db.balance(heir), dec("5250"));
    audit(&mut bank.db);
}
