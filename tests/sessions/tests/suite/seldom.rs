//! Refusals that a caller can meet and that the counts of `make coverage` showed no other test to reach.

use neobank_sessions::*;

#[test]
fn a_reversal_of_another_amount_is_refused() {
    let mut bank = Bank::new();
    let [a, b] = [bank.account("10"), bank.account("0")];
    let posted = bank.db.id(&format!("select txn_processing.transfer('{a}', '{b}', 5)"));
    let asked = |amount: &str| {
        format!(
            "select code, detail from txn_processing.validate('reversal', amount => {amount}, \
             description => 'wrong account', original_transaction => '{posted}')"
        )
    };
    let why = format!("not_reversible|Transaction {posted} is of 5.00; a reversal takes it back whole.");
    assert_eq!(bank.db.one(&asked("4")), why);
    assert_eq!(bank.db.one(&asked("5")), "ok|");
    audit(&mut bank.db);
}

#[test]
fn a_fee_past_what_can_be_posted_is_refused() {
    let mut bank = Bank::new();
    let a = bank.account("10");
    let all = "'all', 'transfer', 'USD', 'percentage', current_date - 1, percent => 100";
    bank.db.run(&format!("select txn_processing.set_fee_schedule({all}, fixed_amount => 1)"));
    let fee = |amount: &str| format!("select fee from txn_processing.fee_for('transfer', '{a}', {amount})");
    assert_eq!(bank.db.one(&fee("999999999999999999")), "1000000000000000000.00");
    let refusal = refused(&mut bank.db, &fee("1000000000000000000"), "NB005");
    assert!(refusal.detail.ends_with("is past what can be posted."), "{refusal}");
}

#[test]
fn a_version_past_an_integer_is_said_and_not_cut_off() {
    // The contract's argument is an integer, versions are 64 bits wide.
    let mut bank = Bank::new();
    let a = bank.account("10");
    bank.db.run(&format!(
        "begin; set local neobank.ledger_guard = off; \
         update banking.accounts set version = 2147483648 where account_id = '{a}'; commit"
    ));
    let set = format!("select * from banking.update_account_optimistic('{a}', 5, 1)");
    let refusal = refused(&mut bank.db, &set, "NB021");
    assert!(refusal.detail.contains("2147483648"), "{refusal}");
}

#[test]
fn metadata_is_nested_sixteen_levels_and_no_more() {
    let mut bank = Bank::new();
    let a = bank.account("10");
    let deposit = |levels: usize, inner: &str| {
        let json = format!("{}{inner}{}", "{\"a\": ".repeat(levels), "}".repeat(levels));
        format!("select txn_processing.deposit('{a}', 1, metadata => '{json}')")
    };
    // Brackets and quotes inside a text are no levels.
    bank.db.run(&deposit(16, r#""[[[[\"{{{{\\""#));
    let refusal = refused(&mut bank.db, &deposit(17, "1"), "NB021");
    assert!(refusal.detail.contains("deeper than 16 levels"), "{refusal}");
    refused(&mut bank.db, &deposit(15, "[[1]]"), "NB021");
}

#[test]
fn a_tenants_name_is_taken_once() {
    let mut bank = Bank::new();
    bank.db.run("select banking.create_tenant('North')");
    let refusal = refused(&mut bank.db, "select banking.create_tenant('North')", "NB021");
    assert!(refusal.detail.contains("There is a tenant \"North\" already."), "{refusal}");
}

#[test]
fn a_balance_that_is_as_wanted_is_left_and_one_of_the_banks_own_is_refused() {
    let mut bank = Bank::new();
    let a = bank.account("10");
    let cash = bank.internal("cash", "USD");
    let set = |account: Uuid, version: i32| {
        format!("select success, new_version from banking.update_account_optimistic('{account}', 10.0, {version})")
    };
    let version = bank.db.count(&format!("select version from banking.accounts where account_id = '{a}'")) as i32;
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.one(&set(a, version)), format!("t|{version}"));
    assert_eq!(before, snapshot(&mut bank.db));
    refused(&mut bank.db, &set(cash, 1), "NB024");
}
