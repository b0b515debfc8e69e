//! Same id, one effect: for a retry that comes later, and for one that comes
//! at the same moment.

use neobank_sessions::*;
use std::thread;

/// A retry with the same content answers the same id and posts nothing.
fn retried(bank: &mut Bank, sql: &str, id: Uuid) {
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.id(sql), id, "{sql}");
    assert_eq!(before, snapshot(&mut bank.db), "a retry wrote: {sql}");
}

#[test]
fn every_strict_function_answers_a_retry_with_the_first_result() {
    let mut bank = Bank::new();
    let a = bank.account("1000");
    let b = bank.account("0");
    let payment = bank.db.id(&format!("select txn_processing.pay('{a}', 10)"));
    let mistake = bank.db.id(&format!("select txn_processing.pay('{a}', 20)"));
    for (call, key) in [
        (format!("transfer('{a}', '{b}', 1"), "transaction_id"),
        (format!("deposit('{a}', 1"), "transaction_id"),
        (format!("withdraw('{a}', 1"), "transaction_id"),
        (format!("pay('{a}', 1"), "transaction_id"),
        (format!("charge_fee('{a}', 1"), "transaction_id"),
        (format!("credit_interest('{a}', 1"), "transaction_id"),
        (format!("adjust('{a}', -1, 'why'"), "transaction_id"),
        (format!("refund('{payment}', 4"), "transaction_id"),
        (format!("refund('{payment}'"), "transaction_id"),
        (format!("reverse('{mistake}', 'why'"), "reversal_transaction_id"),
    ] {
        let id = Uuid::now_v7();
        let sql = format!("select txn_processing.{call}, {key} => '{id}')");
        assert_eq!(bank.db.id(&sql), id, "{sql}");
        retried(&mut bank, &sql, id);
    }
    audit(&mut bank.db);
}

#[test]
fn other_content_under_the_same_id_is_refused() {
    let mut bank = Bank::new();
    let a = bank.account("1000");
    let b = bank.account("100");
    let c = bank.account("100");
    let id = Uuid::now_v7();
    let tail = format!("transaction_id => '{id}'");
    let texts = "description => 'd', reference => 'r', metadata => '{\"k\": 1, \"l\": 2}', \
                 effective_at => '2026-01-01 12:00+00'";
    bank.db.run("set neobank.max_backdate_days = 36500");
    let first = format!("select txn_processing.transfer('{a}', '{b}', 10, {texts}, {tail})");
    bank.db.run(&first);
    retried(&mut bank, &first, id);
    for same in [
        format!("transfer('{a}', '{b}', 10.00, 'USD', {texts}, {tail})"),
        // jsonb has no order of keys, and an instant no zone.
        format!(
            "transfer('{a}', '{b}', 1e1, {}, {tail})",
            texts.replace("\"k\": 1, \"l\": 2", "\"l\": 2, \"k\": 1").replace("12:00+00", "14:00+02")
        ),
    ] {
        retried(&mut bank, &format!("select txn_processing.{same}"), id);
    }
    for other in [
        format!("transfer('{a}', '{b}', 10.01, {texts}, {tail})"),
        format!("transfer('{a}', '{c}', 10, {texts}, {tail})"),
        format!("transfer('{c}', '{b}', 10, {texts}, {tail})"),
        format!("transfer('{b}', '{a}', 10, {texts}, {tail})"),
        format!("transfer('{a}', '{b}', 10, {}, {tail})", texts.replace("'d'", "'e'")),
        format!("transfer('{a}', '{b}', 10, {}, {tail})", texts.replace("'r'", "'s'")),
        format!("transfer('{a}', '{b}', 10, {}, {tail})", texts.replace(": 1", ": 3")),
        format!("transfer('{a}', '{b}', 10, {}, {tail})", texts.replace("2026-01-01", "2026-01-02")),
        format!("transfer('{a}', '{b}', 10, {tail})"),
        format!("deposit('{b}', 10, {texts}, {tail})"),
        format!("withdraw('{a}', 10, {texts}, {tail})"),
        format!("pay('{a}', 10, {texts}, {tail})"),
        format!("charge_fee('{a}', 10, {texts}, {tail})"),
        format!("adjust('{a}', -10, 'd', {tail})"),
        format!("reverse('{id}', 'of itself', reversal_transaction_id => '{id}')"),
    ] {
        refused(&mut bank.db, &format!("select txn_processing.{other}"), "NB007");
    }
    audit(&mut bank.db);
}

#[test]
fn a_posting_and_its_neighbours_are_told_apart() {
    // Between the same two accounts a payment, its refund and its reversal
    // differ in type and original only.
    let mut bank = Bank::new();
    let a = bank.account("1000");
    let one = bank.db.id(&format!("select txn_processing.pay('{a}', 10)"));
    let two = bank.db.id(&format!("select txn_processing.pay('{a}', 10)"));
    let id = Uuid::now_v7();
    bank.db.run(&format!("select txn_processing.refund('{one}', 10, transaction_id => '{id}')"));
    for other in [
        format!("refund('{two}', 10, transaction_id => '{id}')"),
        format!("reverse('{one}', 'why', reversal_transaction_id => '{id}')"),
        format!("reverse('{two}', 'why', reversal_transaction_id => '{id}')"),
        format!("deposit('{a}', 10, transaction_id => '{id}')"),
    ] {
        refused(&mut bank.db, &format!("select txn_processing.{other}"), "NB007");
    }
    let reversal = Uuid::now_v7();
    bank.db.run(&format!("select txn_processing.reverse('{two}', 'why', reversal_transaction_id => '{reversal}')"));
    refused(
        &mut bank.db,
        &format!(
            "select txn_processing.reverse('{two}', 'other', \
             reversal_transaction_id => '{reversal}')"
        ),
        "NB007",
    );
}

#[test]
fn a_retry_is_answered_after_the_account_was_drained_frozen_or_closed() {
    // The first answer was lost on the wire; meanwhile the money went on. A
    // retry that now says "insufficient funds" makes the caller pay twice.
    let mut bank = Bank::new();
    let a = bank.account("10");
    let b = bank.account("0");
    let id = Uuid::now_v7();
    let sql = format!("select txn_processing.transfer('{a}', '{b}', 10, transaction_id => '{id}')");
    bank.db.run(&sql);
    retried(&mut bank, &sql, id);
    bank.status(a, "frozen");
    retried(&mut bank, &sql, id);
    bank.status(b, "frozen");
    retried(&mut bank, &sql, id);
    bank.status(a, "active");
    bank.db.run(&format!("select banking.close_account('{a}')"));
    retried(&mut bank, &sql, id);
}

#[test]
fn a_retry_of_a_backdated_posting_is_answered_when_its_window_has_gone_by() {
    let mut bank = Bank::new();
    let a = bank.account("10");
    let id = Uuid::now_v7();
    let at = bank.db.one("select now() - interval '300 days'");
    let sql = format!(
        "select txn_processing.deposit('{a}', 1, transaction_id => '{id}', \
         effective_at => '{at}')"
    );
    bank.db.run(&sql);
    bank.db.run("set neobank.max_backdate_days = 10");
    retried(&mut bank, &sql, id);
}

#[test]
fn a_refused_request_does_not_take_its_id() {
    let mut bank = Bank::new();
    let a = bank.account("10");
    let id = Uuid::now_v7();
    let sql = format!("select txn_processing.withdraw('{a}', 20, transaction_id => '{id}')");
    refused(&mut bank.db, &sql, "NB001");
    bank.db.run(&format!("select txn_processing.deposit('{a}', 10)"));
    assert_eq!(bank.db.id(&sql), id);
}

/// What the second session of a race is to see.
struct Race {
    isolation: &'static str,
    second_same: bool,
    disjoint: bool,
    first_commits: bool,
}

/// The first session posts and keeps its transaction open; the second brings
/// the same id, has to wait, and gets its answer when the first has ended.
fn race(race: &Race) {
    let name = format!(
        "{}, same content: {}, disjoint accounts: {}, first commits: {}",
        race.isolation, race.second_same, race.disjoint, race.first_commits
    );
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("100");
    let (c, d) = if race.disjoint { (bank.account("100"), bank.account("100")) } else { (a, b) };
    let id = Uuid::now_v7();
    let call = |from: Uuid, to: Uuid, amount: u32| {
        format!("select txn_processing.transfer('{from}', '{to}', {amount}, transaction_id => '{id}')")
    };
    let first = call(a, b, 10);
    let second = call(c, d, if race.second_same { 10 } else { 11 });
    let mut holder = bank.session();
    let mut waiter = bank.session();
    let backend = Bank::backend_of(&mut waiter);
    waiter.run(&format!("begin isolation level {}; select count(*) from banking.accounts", race.isolation));
    holder.run("begin");
    holder.run(&first);
    let sql = second.clone();
    let waiting = thread::spawn(move || {
        let answer = waiter.try_lines(&sql);
        let end = if answer.is_ok() { "commit" } else { "rollback" };
        waiter.run(end);
        answer
    });
    bank.wait_until_blocked(backend);
    holder.run(if race.first_commits { "commit" } else { "rollback" });
    let answer = waiting.join().expect("the waiter ends");
    let snapshot_too_old = |code: &str| race.isolation != "read committed" && code == "40001";
    match answer {
        Ok(lines) => {
            assert_eq!(lines, [id.to_string()], "{name}");
            let answers_first = race.second_same && !race.disjoint;
            assert!(!race.first_commits || answers_first, "{name}: {lines:?}");
        }
        Err(refusal) if snapshot_too_old(&refusal.code) => {
            // The caller's retry loop starts over and finds the same answer.
            match bank.db.try_lines(&second) {
                Ok(lines) => assert_eq!(lines, [id.to_string()], "{name}"),
                Err(again) => assert_eq!(again.code, "NB007", "{name}: {again}"),
            }
        }
        Err(refusal) => {
            assert_eq!(refusal.code, "NB007", "{name}: {refusal}");
            assert!(race.first_commits && (!race.second_same || race.disjoint), "{name}: {refusal}");
        }
    }
    let rows = format!(
        "select count(*), trim_scale(sum(amount)) from txn_processing.movements \
         where transaction_id = '{id}'"
    );
    let amount = if race.first_commits || race.second_same { 10 } else { 11 };
    assert_eq!(bank.db.one(&rows), format!("1|{amount}"), "{name}");
    audit(&mut bank.db);
}

#[test]
fn the_same_id_at_the_same_moment_has_one_effect() {
    let _crowd = crowd();
    for isolation in ["read committed", "repeatable read", "serializable"] {
        for second_same in [true, false] {
            for disjoint in [false, true] {
                for first_commits in [true, false] {
                    race(&Race { isolation, second_same, disjoint, first_commits });
                }
            }
        }
    }
}

#[test]
fn many_sessions_with_one_id_get_one_answer() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let a = bank.account("1000");
    let b = bank.account("0");
    for round in 1..=20 {
        let id = Uuid::now_v7();
        let racers: Vec<_> = (0..6)
            .map(|_| {
                let mut session = bank.session();
                thread::spawn(move || {
                    session.id(&format!(
                        "select txn_processing.transfer('{a}', '{b}', 1, \
                         transaction_id => '{id}')"
                    ))
                })
            })
            .collect();
        for racer in racers {
            assert_eq!(racer.join().expect("no error for a retry"), id);
        }
        assert_eq!(bank.db.balance(b), dec(&round.to_string()));
    }
    audit(&mut bank.db);
}
