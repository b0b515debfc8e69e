//! Postings are part of the caller's transaction: what it undoes is undone.

use neobank_sessions::*;

#[test]
fn a_posting_goes_with_the_callers_rows() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    bank.db.run("create table orders (id int, paid_with uuid)");
    let before = snapshot(&mut bank.db);
    bank.db.run("begin");
    bank.db.run(&format!("insert into orders select 1, txn_processing.pay('{a}', 10)"));
    assert_eq!(bank.db.balance(a), dec("90"));
    bank.db.run("rollback");
    assert_eq!(before, snapshot(&mut bank.db));
    assert_eq!(bank.db.count("select count(*) from orders"), 0);
    bank.db.run(&format!("insert into orders select 1, txn_processing.pay('{a}', 10)"));
    let joined = "select trim_scale(m.amount) from orders o \
                  join txn_processing.movements m on m.transaction_id = o.paid_with";
    assert_eq!(bank.db.one(joined), "10");
}

#[test]
fn rollback_to_a_savepoint_leaves_nothing_of_it() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("0");
    let undone = Uuid::now_v7();
    bank.db.run("begin");
    bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', 10)"));
    let before = snapshot(&mut bank.db);
    bank.db.run("savepoint s");
    bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', 20, transaction_id => '{undone}')"));
    bank.status(b, "frozen");
    bank.db.run("rollback to s");
    assert_eq!(before, snapshot(&mut bank.db));
    // The id that was undone is free again, for other content too.
    bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', 30, transaction_id => '{undone}')"));
    bank.db.run("commit");
    assert_eq!(bank.db.balance(b), dec("40"));
    audit(&mut bank.db);
}

#[test]
fn after_a_refusal_the_transaction_goes_on_from_its_savepoint() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("0");
    bank.db.run("begin");
    bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', 10)"));
    for _ in 0..3 {
        bank.db.run("savepoint s");
        let refusal = bank.db.fails(&format!("select txn_processing.transfer('{a}', '{b}', 1000)"));
        assert_eq!(refusal.code, "NB001", "{refusal}");
        let aborted = bank.db.fails(&format!("select txn_processing.transfer('{a}', '{b}', 1)"));
        assert_eq!(aborted.code, "25P02", "{aborted}");
        bank.db.run("rollback to s");
        bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', 5)"));
    }
    bank.db.run("commit");
    assert_eq!(bank.db.balance(b), dec("25"));
    audit(&mut bank.db);
}

#[test]
fn a_caught_refusal_in_a_procedure_leaves_the_guards_and_the_rights_alone() {
    // The engine lifts the guards and takes the owner's rights while it
    // writes. An error on the way out must put both back.
    let mut bank = Bank::new();
    let a = bank.account("100");
    let teller = bank.role("teller");
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    let mut session = bank.session_as(&teller);
    session.run("begin");
    for (sql, code) in [
        (format!("withdraw('{a}', 1000)"), "NB001"),
        (format!("withdraw('{a}', 0.001)"), "NB005"),
        (format!("withdraw('{}', 1)", Uuid::now_v7()), "NB002"),
    ] {
        session.run(&format!(
            "do $do$ begin perform txn_processing.{sql}; \
             exception when sqlstate '{code}' then null; end $do$"
        ));
        assert_eq!(session.one("select current_user"), teller);
        session.run("savepoint s");
        let refusal = session.fails("delete from txn_processing.movements");
        assert_eq!(refusal.code, "42501", "{refusal}");
        session.run("rollback to s");
    }
    session.run("commit");
    // The same as the superuser, whom only the guards stop.
    bank.db.run(&format!(
        "do $do$ begin perform txn_processing.withdraw('{a}', 1000); \
         exception when sqlstate 'NB001' then null; end $do$"
    ));
    refused(&mut bank.db, "update txn_processing.movements set amount = 1", "NB009");
    refused(&mut bank.db, "update banking.accounts set current_balance = 1", "NB010");
    assert_eq!(bank.db.balance(a), dec("100"));
}

#[test]
fn the_second_posting_of_a_statement_sees_the_first() {
    let mut bank = Bank::new();
    let a = bank.account("3");
    let b = bank.account("0");
    bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', 1) from generate_series(1, 3)"));
    refused(&mut bank.db, &format!("select txn_processing.transfer('{a}', '{b}', 1)"), "NB001");
    // All or nothing: the first two of three fit, and go with the third.
    refused(
        &mut bank.db,
        &format!("select txn_processing.transfer('{b}', '{a}', 1.5) from generate_series(1, 3)"),
        "NB001",
    );
    // The same id twice in one statement is one posting.
    let id = Uuid::now_v7();
    let twice = format!(
        "select count(distinct txn_processing.deposit('{a}', 1, transaction_id => '{id}')) \
         from generate_series(1, 2)"
    );
    assert_eq!(bank.db.count(&twice), 1);
    assert_eq!(bank.db.balance(a), dec("1"));
    audit(&mut bank.db);
}

#[test]
fn a_prepared_transaction_holds_its_posting_until_it_is_decided() {
    let mut bank = Bank::new();
    if bank.db.one("show max_prepared_transactions") == "0" {
        skipped("two-phase commit", "max_prepared_transactions is 0");
        return;
    }
    let a = bank.account("10");
    let name = bank.name.clone();
    for (end, balance) in [("rollback", "10"), ("commit", "9")] {
        bank.db.run("begin");
        bank.db.run(&format!("select txn_processing.withdraw('{a}', 1)"));
        bank.db.run(&format!("prepare transaction '{name}'"));
        bank.db.run(&format!("{end} prepared '{name}'"));
        assert_eq!(bank.db.balance(a), dec(balance));
    }
    audit(&mut bank.db);
}
