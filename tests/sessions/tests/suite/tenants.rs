//! Ledgers kept apart in one database.

use neobank_sessions::*;

struct Two {
    bank: Bank,
    tenant: Uuid,
    ours: Uuid,
    theirs: Uuid,
    their_customer: Uuid,
}

fn two() -> Two {
    let mut bank = Bank::new();
    let ours = bank.account("100");
    let tenant = bank.db.id("select banking.create_tenant('Branch Two')");
    let their_customer = bank.customer_of(&format!("'{tenant}'"));
    let theirs = bank.db.id(&format!(
        "select banking.open_account('{their_customer}', 'checking', 'USD', 100, \
         tenant => '{tenant}')"
    ));
    Two { bank, tenant, ours, theirs, their_customer }
}

#[test]
fn each_tenant_has_internal_accounts_of_its_own() {
    let Two { mut bank, theirs, tenant, .. } = two();
    let number = bank
        .db
        .count(&format!("select tenant_no from banking.tenants where tenant_id = '{tenant}' and name = 'Branch Two'"));
    assert!(number > 0);
    bank.db.run(&format!("select txn_processing.withdraw('{theirs}', 40)"));
    let cash = format!(
        "select trim_scale(current_balance) from banking.account_balances where account_type = 'cash' \
         and customer_id is null and currency_code = 'USD' and tenant_no = {number}"
    );
    assert_eq!(bank.db.one(&cash), "60");
    let cash = bank.internal("cash", "USD");
    assert_eq!(bank.db.balance(cash), dec("100"));
    audit(&mut bank.db);
}

#[test]
fn a_posting_across_tenants_is_refused() {
    let Two { mut bank, ours, theirs, .. } = two();
    refused(&mut bank.db, &format!("select txn_processing.transfer('{ours}', '{theirs}', 1)"), "NB013");
    refused(&mut bank.db, &format!("select txn_processing.transfer('{theirs}', '{ours}', 1)"), "NB013");
    answers_refusal(
        &mut bank.db,
        &format!(
            "select txn_processing.execute_transfer('{}', 'r', '{ours}', '{theirs}', 1, 'USD', \
             '{{}}')",
            Uuid::now_v7()
        ),
        "tenant_mismatch",
        "NB013",
    );
    refused(&mut bank.db, &format!("select banking.close_account('{ours}', '{theirs}')"), "NB013");
}

#[test]
fn a_tenants_customers_and_accounts_are_reached_under_its_name_only() {
    let Two { mut bank, tenant, ours, theirs, their_customer } = two();
    for call in [
        // Opened for the bank itself, with the customer of somebody else.
        format!("open_account('{their_customer}')"),
        format!("set_account_status('{ours}', 'frozen', 'why', tenant => '{tenant}')"),
        format!("set_account_status('{theirs}', 'frozen', 'why')"),
        format!("set_overdraft_limit('{theirs}', 1, 'why')"),
        format!("close_account('{theirs}')"),
    ] {
        let before = snapshot(&mut bank.db);
        let sql = format!("select banking.{call}");
        let refusal = bank.db.fails(&sql);
        assert_eq!(refusal.code, "NB013", "{refusal}: {sql}");
        assert_eq!(before, snapshot(&mut bank.db), "{sql}");
    }
    bank.db.run(&format!("select banking.set_account_status('{theirs}', 'frozen', 'why', tenant => '{tenant}')"));
}

#[test]
fn one_account_number_may_exist_in_two_tenants_and_not_twice_in_one() {
    let Two { mut bank, tenant, their_customer, .. } = two();
    let customer = bank.customer();
    bank.db.run(&format!("select banking.open_account('{customer}', account_number => 'SAME')"));
    let second = format!(
        "select banking.open_account('{their_customer}', account_number => 'SAME', \
         tenant => '{tenant}')"
    );
    bank.db.run(&second);
    refused(&mut bank.db, &second, "NB020");
}

#[test]
fn an_id_that_one_tenant_used_is_not_free_in_another() {
    // transaction(), reverse() and refund() are given an id and no tenant: two
    // postings under one id would make them ambiguous.
    let Two { mut bank, ours, theirs, .. } = two();
    let id = Uuid::now_v7();
    bank.db.run(&format!("select txn_processing.deposit('{ours}', 1, transaction_id => '{id}')"));
    refused(&mut bank.db, &format!("select txn_processing.deposit('{theirs}', 1, transaction_id => '{id}')"), "NB007");
}

#[test]
fn the_books_of_each_tenant_are_even() {
    let Two { mut bank, ours, theirs, .. } = two();
    bank.db.run(&format!("select txn_processing.pay('{ours}', 3)"));
    bank.db.run(&format!("select txn_processing.charge_fee('{theirs}', 4)"));
    for at in ["null", "now()", "now() - interval '1 day'"] {
        let uneven = format!(
            "select count(*) from (select tenant_no, currency_code \
             from txn_processing.trial_balance({at}) group by 1, 2 \
             having sum(debits) <> sum(credits)) x"
        );
        assert_eq!(bank.db.count(&uneven), 0, "{at}");
    }
    let tenants = "select count(distinct tenant_no) from txn_processing.trial_balance()";
    assert_eq!(bank.db.count(tenants), 2);
    audit(&mut bank.db);
}
