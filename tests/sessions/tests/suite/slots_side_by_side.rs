//! Postings on one slotted account do not wait for each other, and its slots come as they are needed.

use neobank_sessions::*;
use std::thread;

/// A session that would rather fail than wait, by this path.
fn impatient(bank: &Bank, path: &str) -> Client {
    let mut session = bank.session();
    session.run(&format!("set lock_timeout = '100ms'; set neobank.posting_path = '{path}'"));
    session
}

fn transfer(from: Uuid, to: Uuid, amount: impl std::fmt::Display) -> String {
    format!("select txn_processing.transfer('{from}', '{to}', {amount})")
}

#[test]
fn credits_to_one_slotted_account_wait_for_nobody() {
    for path in ["auto", "spi"] {
        let mut bank = Bank::new();
        let target = bank.slotted("checking", "0", "0");
        bank.grow(target, 6);
        let payers: Vec<Uuid> = (0..6).map(|_| bank.account("10")).collect();
        let mut open: Vec<Client> = payers.iter().map(|_| impatient(&bank, path)).collect();
        for (session, payer) in open.iter_mut().zip(&payers) {
            session.run("begin");
            session.run(&transfer(*payer, target, 1));
            // Again in the same transaction: its own slot is no obstacle.
            session.run(&transfer(*payer, target, 2));
        }
        assert_eq!(bank.slots(target), 6, "{path}");
        assert_eq!(bank.db.balance(target), dec("0"), "{path}: nothing is committed");
        let held = format!(
            "select count(*) from banking.account_slots where account_id = '{target}' and slot_no not in (\
             select slot_no from banking.account_slots where account_id = '{target}' for no key update skip locked)"
        );
        assert_eq!(bank.db.count(&held), 6, "{path}: each has a slot of its own");
        for (n, session) in open.iter_mut().enumerate() {
            session.run(if n % 2 == 0 { "commit" } else { "rollback" });
        }
        assert_eq!(bank.db.balance(target), dec("9"), "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn on_an_exclusive_account_the_second_credit_waits_for_the_first() {
    // What tells the test above from one that could not fail.
    for path in ["auto", "spi"] {
        let mut bank = Bank::new();
        let target = bank.account("0");
        let (a, b) = (bank.account("10"), bank.account("10"));
        let mut first = impatient(&bank, path);
        first.run("begin");
        first.run(&transfer(a, target, 1));
        let refusal = impatient(&bank, path).fails(&transfer(b, target, 1));
        assert_eq!(refusal.code, "55P03", "{path}: {refusal}");
        first.run("commit");
        audit(&mut bank.db);
    }
}

#[test]
fn deposits_of_different_customers_do_not_meet_on_cash() {
    // Every deposit, fee and payment has the bank's own account on its other side.
    let mut bank = Bank::new();
    let customers: Vec<Uuid> = (0..5).map(|_| bank.account("10")).collect();
    for kind in ["cash", "fee_income", "payments_clearing"] {
        let internal = bank.internal(kind, "USD");
        bank.grow(internal, 5);
    }
    for (n, call) in ["deposit", "withdraw", "charge_fee", "pay"].iter().enumerate() {
        let path = ["auto", "spi"][n % 2];
        let mut open: Vec<Client> = customers.iter().map(|_| impatient(&bank, path)).collect();
        for (session, customer) in open.iter_mut().zip(&customers) {
            session.run(&format!("begin; select txn_processing.{call}('{customer}', 1)"));
        }
        open.iter_mut().for_each(|session| session.run("commit"));
        audit(&mut bank.db);
    }
    assert_eq!(bank.db.balance(customers[0]), dec("8"));
}

#[test]
fn a_posting_that_finds_every_slot_held_makes_one_more() {
    for path in ["auto", "spi"] {
        let mut bank = Bank::new();
        let target = bank.slotted("checking", "0", "0");
        let (a, b) = (bank.account("10"), bank.account("10"));
        let (mut first, mut second) = (impatient(&bank, path), impatient(&bank, path));
        first.run("begin");
        first.run(&transfer(a, target, 1));
        second.run("begin");
        second.run(&transfer(b, target, 2));
        // Until it commits nobody else sees the slot; if it does not commit there is none.
        assert_eq!(bank.slots(target), 1);
        second.run("rollback");
        assert_eq!(bank.slots(target), 1);
        let count = format!("select count(*) from banking.account_slots where account_id = '{target}'");
        assert_eq!(bank.db.count(&count), 1, "{path}");
        second.run("begin");
        second.run(&transfer(b, target, 2));
        second.run("commit");
        assert_eq!(bank.slots(target), 2, "{path}");
        first.run("commit");
        // A quiet account stays as small as it is.
        for _ in 0..10 {
            bank.db.run(&transfer(a, target, "0.10"));
        }
        assert_eq!(bank.slots(target), 2, "{path}");
        assert_eq!(bank.db.balance(target), dec("4"));
        audit(&mut bank.db);
    }
}

#[test]
fn forty_sessions_bring_an_account_to_thirty_two_slots_and_no_further() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let target = bank.slotted("checking", "0", "0");
    let payers: Vec<Uuid> = (0..40).map(|_| bank.account("1000")).collect();
    let mut expected = 0;
    for round in 0..300 {
        let ids = payers.clone();
        together(&bank, 40, move |n, session| {
            session.run(&format!("set neobank.posting_path = '{}'", ["auto", "spi"][n % 2]));
            for _ in 0..3 {
                session.run(&format!("begin; {}; select pg_sleep(0.002); commit", transfer(ids[n], target, 1)));
            }
        });
        expected += 120;
        assert!((1..=32).contains(&bank.slots(target)), "round {round}");
        if bank.slots(target) == 32 {
            break;
        }
    }
    assert_eq!(bank.slots(target), 32, "contention makes slots");
    assert_eq!(bank.db.balance(target), dec(&expected.to_string()));

    // Thirty-two go on at once; the others wait, and none of them fails.
    let mut open = Vec::new();
    for payer in &payers[..32] {
        let mut session = impatient(&bank, "auto");
        session.run("begin");
        session.run(&transfer(*payer, target, 1));
        open.push(session);
    }
    let waiting: Vec<_> = payers[32..]
        .iter()
        .map(|payer| {
            let mut session = bank.session();
            let (backend, sql) = (Bank::backend_of(&mut session), transfer(*payer, target, 1));
            (backend, thread::spawn(move || session.run(&sql)))
        })
        .collect();
    waiting.iter().for_each(|(backend, _)| bank.wait_until_blocked(*backend));
    open.iter_mut().for_each(|session| session.run("commit"));
    waiting.into_iter().for_each(|(_, thread)| thread.join().expect("it waited and did not fail"));
    assert_eq!(bank.slots(target), 32);
    assert_eq!(bank.db.balance(target), dec(&(expected + 40).to_string()));
    audit(&mut bank.db);
}

#[test]
fn forty_open_transactions_on_a_young_account_fail_nobody() {
    // It has one slot for all of them when they come.
    let _crowd = crowd();
    let mut bank = Bank::new();
    let target = bank.slotted("checking", "0", "0");
    let payers: Vec<Uuid> = (0..40).map(|_| bank.account("1000")).collect();
    together(&bank, 40, move |n, session| {
        let payer = payers[n];
        session.run("begin");
        for amount in 1..=3 {
            session.run(&transfer(payer, target, amount));
        }
        session.run(if n % 4 == 3 { "rollback" } else { "commit" });
    });
    assert_eq!(bank.db.balance(target), dec("180"));
    assert!((1..=32).contains(&bank.slots(target)));
    audit(&mut bank.db);
}

#[test]
fn one_id_brought_twice_at_once_between_slotted_accounts_has_one_effect() {
    // Each session has slots of its own: not the accounts but the id alone is where the two meet.
    for (path, first_commits) in [("auto", true), ("auto", false), ("spi", true), ("spi", false)] {
        let mut bank = Bank::new();
        let b = bank.slotted("checking", "0", "0");
        let cash = bank.internal("cash", "USD");
        bank.grow(b, 4);
        bank.grow(cash, 4);
        let id = Uuid::now_v7();
        let call = format!("select txn_processing.deposit('{b}', 10, transaction_id => '{id}', reference => 'once')");
        let other = format!("select txn_processing.deposit('{b}', 11, transaction_id => '{id}', reference => 'once')");
        let mut holder = bank.session();
        let mut waiter = bank.session();
        for session in [&mut holder, &mut waiter] {
            session.run(&format!("set neobank.posting_path = '{path}'"));
        }
        let backend = Bank::backend_of(&mut waiter);
        holder.run("begin");
        assert_eq!(holder.id(&call), id);
        let sql = call.clone();
        let waiting = thread::spawn(move || waiter.id(&sql));
        bank.wait_until_blocked(backend);
        holder.run(if first_commits { "commit" } else { "rollback" });
        assert_eq!(waiting.join().expect("a retry is answered"), id, "{path}");
        assert_eq!(bank.db.balance(b), dec("10"), "{path}");
        assert_eq!(bank.db.id(&call), id);
        refused(&mut bank.db, &other, "NB007");
        assert_eq!(bank.db.count(&format!("select count(*) from txn_processing.transaction('{id}')")), 1);
        audit(&mut bank.db);
    }
}

#[test]
fn one_id_brought_twice_under_an_old_snapshot_asks_for_a_new_start() {
    // The first is not to be seen by the second: neither its answer nor a refusal can be given, only 40001.
    for path in ["auto", "spi"] {
        for level in ["repeatable read", "serializable"] {
            let mut bank = Bank::new();
            let b = bank.slotted("checking", "0", "0");
            bank.grow(b, 4);
            let cash = bank.internal("cash", "USD");
            bank.grow(cash, 4);
            let id = Uuid::now_v7();
            let call = format!("select txn_processing.deposit('{b}', 10, transaction_id => '{id}')");
            let mut late = bank.session_on(path);
            late.run(&format!("begin isolation level {level}; select count(*) from banking.accounts"));
            let mut holder = bank.session();
            holder.run("begin");
            holder.run(&call);
            let backend = Bank::backend_of(&mut late);
            let sql = call.clone();
            let waiting = thread::spawn(move || late.fails(&sql));
            bank.wait_until_blocked(backend);
            holder.run("commit");
            let refusal = waiting.join().expect("it is answered");
            assert_eq!(refusal.code, "40001", "{path}, {level}: {refusal}");
            assert_eq!(bank.db.id(&call), id);
            assert_eq!(bank.db.balance(b), dec("10"));
        }
    }
}

#[test]
fn many_sessions_with_one_id_between_slotted_accounts_get_one_answer() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let (a, b) = (bank.slotted("checking", "1000", "0"), bank.slotted("checking", "0", "0"));
    bank.grow(a, 3);
    bank.grow(b, 3);
    for round in 1..=15 {
        let id = Uuid::now_v7();
        let answers = together(&bank, 6, move |n, session| {
            session.run(&format!("set neobank.posting_path = '{}'", ["auto", "spi"][n % 2]));
            session.id(&format!("select txn_processing.transfer('{a}', '{b}', 1, transaction_id => '{id}')"))
        });
        assert_eq!(answers, vec![id; 6]);
        assert_eq!(bank.db.balance(b), dec(&round.to_string()));
    }
    audit(&mut bank.db);
}

#[test]
fn a_slot_made_behind_a_savepoint_is_given_up_with_it() {
    for path in ["auto", "spi"] {
        let mut bank = Bank::new();
        let target = bank.slotted("checking", "0", "0");
        let (a, b) = (bank.account("10"), bank.account("10"));
        let (mut first, mut second) = (impatient(&bank, path), impatient(&bank, path));
        first.run("begin");
        first.run(&transfer(a, target, 1));
        second.run("begin");
        for _ in 0..3 {
            second.run("savepoint here");
            second.run(&transfer(b, target, 2));
            second.run("rollback to here");
        }
        second.run(&transfer(b, target, 3));
        second.run("commit");
        first.run("commit");
        assert_eq!(bank.slots(target), 2, "{path}");
        assert_eq!(bank.db.balance(target), dec("4"), "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn a_refusal_that_is_answered_leaves_no_slot_behind() {
    // A contract function answers and its transaction goes on: what was made on the way to the refusal would stay.
    for path in ["auto", "spi"] {
        let mut bank = Bank::new();
        let payer = bank.account("10");
        let target = bank.slotted("checking", "0", "0");
        let mut holder = bank.session();
        holder.run(&format!("begin; select txn_processing.deposit('{target}', 1)"));
        bank.db.run(&format!("set lock_timeout = '1s'; set neobank.posting_path = '{path}'"));
        answers_refusal(
            &mut bank.db,
            &format!("select txn_processing.execute_transfer(null, 'r', '{payer}', '{target}', 10.01, 'USD', null)"),
            "insufficient_funds",
            "NB001",
        );
        holder.run("rollback");
        audit(&mut bank.db);
    }
}
