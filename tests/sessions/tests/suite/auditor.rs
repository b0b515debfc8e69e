//! The auditor that the other tests trust must itself find what is wrong.

use neobank_sessions::*;

#[test]
fn the_auditor_finds_every_kind_of_damage() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("0");
    let euro = bank.account_with("checking", "EUR", "0", "0");
    for n in 1..=4 {
        bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', {n}, reference => 'r{n}')"));
    }
    audit(&mut bank.db);
    let movements = "update txn_processing.movements";
    let accounts = "update banking.accounts";
    let second = "where amount = 2";
    for (damage, rule) in [
        (format!("{movements} set credit_account = gen_random_uuid() {second}"), "two accounts"),
        (format!("{movements} set credit_account = '{euro}' {second}"), "one currency"),
        (format!("{movements} set tenant_no = 7 {second}"), "one tenant"),
        (format!("{movements} set debit_sequence = 99 {second}"), "no gap"),
        (format!("{movements} set debit_balance = debit_balance + 0.01 {second}"), "before it plus"),
        (format!("{movements} set amount = 2.5 {second}"), "before it plus"),
        (format!("delete from txn_processing.movements {second}"), "no gap"),
        (format!("{accounts} set current_balance = 0 where account_id = '{a}'"), "replay"),
        (format!("{accounts} set version = 1 where account_id = '{b}'"), "version"),
        (format!("{movements} set reference = 'r1' {second}"), "reference"),
    ] {
        bank.db.run("begin");
        bank.db.run("set local neobank.ledger_guard = off");
        bank.db.run(&damage);
        let broken = broken_rules(&mut bank.db);
        bank.db.run("rollback");
        assert!(broken.iter().any(|found| found.contains(rule)), "{damage}: {broken:#?}");
    }
    audit(&mut bank.db);
}
