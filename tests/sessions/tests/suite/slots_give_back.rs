//! Reversals and refunds where both accounts are slotted.
//!
//! Each session would rather take a slot that nobody holds, and then the two that give back one transaction would not
//! meet: each would find that nothing is given back yet. They meet on the first slot.

use neobank_sessions::*;
use std::thread;

/// A transfer of 100 between two accounts of three slots each; the first has nothing left.
fn paid() -> (Bank, Uuid, Uuid, Uuid) {
    let mut bank = Bank::new();
    let (a, b) = (bank.slotted("checking", "100", "0"), bank.slotted("checking", "500", "0"));
    bank.grow(a, 3);
    bank.grow(b, 3);
    let payment = bank.db.id(&format!("select txn_processing.transfer('{a}', '{b}', 100)"));
    (bank, a, b, payment)
}

fn ways(payment: Uuid) -> [String; 3] {
    [
        format!("select txn_processing.reverse('{payment}', 'why')"),
        format!("select txn_processing.refund('{payment}')"),
        format!("select txn_processing.refund('{payment}', 60)"),
    ]
}

#[test]
fn one_transaction_is_given_back_once_by_two_at_once() {
    for path in ["auto", "spi"] {
        for first in 0..3 {
            for second in 0..3 {
                for first_commits in [true, false] {
                    let (mut bank, a, _, payment) = paid();
                    let name = format!("{path}, {first} then {second}, first commits: {first_commits}");
                    let mut holder = bank.session();
                    holder.run(&format!("set neobank.posting_path = '{path}'; begin"));
                    holder.run(&ways(payment)[first]);
                    let mut waiter = bank.session_on(path);
                    let backend = Bank::backend_of(&mut waiter);
                    let sql = ways(payment)[second].clone();
                    let waiting = thread::spawn(move || waiter.try_lines(&sql));
                    bank.wait_until_blocked(backend);
                    holder.run(if first_commits { "commit" } else { "rollback" });
                    let answer = waiting.join().expect("it is answered");
                    // After a part of it was refunded the rest may follow, without saying how much.
                    let passes = !first_commits || first == 2 && second == 1;
                    match &answer {
                        Ok(_) => assert!(passes, "{name}"),
                        Err(refusal) => assert!(!passes && refusal.code == "NB008", "{name}: {refusal}"),
                    }
                    let given_back = match (first_commits, first, second) {
                        (true, 2, 1) => 100,
                        (true, 2, _) | (false, _, 2) => 60,
                        _ => 100,
                    };
                    assert_eq!(bank.db.balance(a), dec(&given_back.to_string()), "{name}");
                    audit(&mut bank.db);
                }
            }
        }
    }
}

#[test]
fn under_an_old_snapshot_the_second_who_gives_back_is_told_to_start_anew() {
    for path in ["auto", "spi"] {
        for level in ["repeatable read", "serializable"] {
            for way in 0..3 {
                let (mut bank, a, _, payment) = paid();
                let sql = ways(payment)[way].clone();
                let mut late = bank.session_on(path);
                late.run(&format!("begin isolation level {level}; select count(*) from banking.accounts"));
                bank.db.run(&sql);
                let refusal = late.fails(&sql);
                assert_eq!(refusal.code, "40001", "{path}, {level}: {refusal}\nfrom: {sql}");
                late.run("rollback");
                let refusal = late.fails(&ways(payment)[0]);
                assert_eq!(refusal.code, "NB008", "{path}, {level}: {refusal}");
                assert_eq!(bank.db.balance(a), dec(if way == 2 { "60" } else { "100" }), "{path}, {level}");
                audit(&mut bank.db);
            }
        }
    }
}

#[test]
fn what_the_bank_itself_paid_or_took_is_given_back_once_too() {
    // One of the two accounts is the bank's own, of which a debit locks no more than one slot.
    let _crowd = crowd();
    for call in ["deposit", "withdraw", "pay", "charge_fee", "credit_interest"] {
        let mut bank = Bank::new();
        let account = bank.slotted("checking", "500", "0");
        bank.grow(account, 3);
        for internal in ["cash", "payments_clearing", "fee_income", "interest_expense"] {
            let internal = bank.internal(internal, "USD");
            bank.grow(internal, 3);
        }
        for round in 0..4 {
            let id = bank.db.id(&format!("select txn_processing.{call}('{account}', 100)"));
            let outcomes = together(&bank, 4, move |n, session| {
                session.run(&format!("set neobank.posting_path = '{}'", ["auto", "spi"][n % 2]));
                session.try_lines(&format!("select txn_processing.reverse('{id}', 'why')"))
            });
            let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            assert_eq!(won, 1, "{call}, round {round}: {outcomes:?}");
            for refusal in outcomes.into_iter().filter_map(Result::err) {
                assert_eq!(refusal.code, "NB008", "{call}, round {round}: {refusal}");
            }
            assert_eq!(bank.db.balance(account), dec("500"), "{call}, round {round}");
        }
        audit(&mut bank.db);
    }
}

#[test]
fn partial_refunds_of_many_sessions_give_back_no_more_than_there_was() {
    let _crowd = crowd();
    for round in 0..4 {
        let (mut bank, a, b, payment) = paid();
        let tallies = together(&bank, 10, move |n, session| {
            session.run(&format!("set neobank.posting_path = '{}'", ["auto", "spi"][n % 2]));
            let (mut won, mut dice) = (0, Dice(n as u64 + 100 * round));
            for _ in 0..4 {
                let sql = format!("select txn_processing.refund('{payment}', 15)");
                match session.try_lines(&format!("begin; {sql}; select pg_sleep(0.001); commit")) {
                    Ok(_) => won += 1,
                    Err(refusal) => {
                        assert_eq!(refusal.code, "NB008", "{refusal}");
                        session.run("rollback");
                    }
                }
                // Others are at the same accounts, so that slots are held and added.
                let (from, to) = if dice.below(2) == 0 { (a, b) } else { (b, a) };
                let other = session.try_lines(&format!("select txn_processing.transfer('{from}', '{to}', 1)"));
                if let Err(refusal) = other {
                    assert_eq!(refusal.code, "NB001", "{refusal}");
                }
            }
            won
        });
        assert_eq!(tallies.iter().sum::<i32>(), 6, "{tallies:?}");
        let refunded = "select sum(amount) from txn_processing.movements where transaction_type = 'refund'";
        assert_eq!(bank.db.money(refunded), dec("90"));
        assert_eq!(bank.db.balance(a) + bank.db.balance(b), dec("600"));
        bank.db.run(&format!("select txn_processing.refund('{payment}')"));
        assert_eq!(bank.db.money(refunded), dec("100"));
        audit(&mut bank.db);
    }
}

#[test]
fn what_was_posted_before_a_switch_is_given_back_once_after_it() {
    let _crowd = crowd();
    for (posted_in, given_back_in) in [("exclusive", "slotted"), ("slotted", "exclusive")] {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("100"), bank.account("500"));
        for mode in [posted_in, given_back_in] {
            bank.mode(a, mode);
            bank.mode(b, mode);
            if mode == "slotted" {
                bank.grow(a, 3);
                bank.grow(b, 3);
            }
            if mode == posted_in {
                bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', 100)"));
            }
        }
        let payment =
            bank.db.id("select transaction_id from txn_processing.movements where transaction_type = 'transfer'");
        let outcomes = together(&bank, 6, move |n, session| {
            session.run(&format!("set neobank.posting_path = '{}'", ["auto", "spi"][n % 2]));
            session.try_lines(&ways(payment)[n % 2])
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert_eq!(bank.db.balance(a), dec("100"));
        audit(&mut bank.db);
    }
}
