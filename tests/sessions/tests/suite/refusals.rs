//! One refusal of every code, each with its figures and each leaving nothing.

use neobank_sessions::*;

fn call(text: String) -> String {
    format!("select txn_processing.{text}")
}

#[test]
fn nb001_says_what_is_there_and_what_was_wanted() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("0");
    for text in
        [format!("transfer('{a}', '{b}', 250.75)"), format!("withdraw('{a}', 250.75)"), format!("pay('{a}', 250.75)")]
    {
        let refusal = refused(&mut bank.db, &call(text), "NB001");
        assert!(refusal.detail.contains("100"), "{refusal}");
        assert!(refusal.detail.contains("250.75"), "{refusal}");
        assert!(refusal.detail.contains(&a.to_string()), "{refusal}");
    }
}

#[test]
fn nb002_for_an_account_that_is_not_there() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let nobody = Uuid::now_v7();
    for text in [
        format!("transfer('{a}', '{nobody}', 1)"),
        format!("transfer('{nobody}', '{a}', 1)"),
        format!("deposit('{nobody}', 1)"),
        format!("withdraw('{nobody}', 1)"),
        format!("pay('{nobody}', 1)"),
        format!("charge_fee('{nobody}', 1)"),
        format!("credit_interest('{nobody}', 1)"),
        format!("adjust('{nobody}', 1, 'why')"),
        format!("balance_as_of('{nobody}', now())"),
        format!("statement('{nobody}')"),
    ] {
        let refusal = refused(&mut bank.db, &call(text), "NB002");
        assert!(refusal.detail.contains(&nobody.to_string()), "{refusal}");
    }
    for text in [
        format!("set_account_status('{nobody}', 'frozen', 'why')"),
        format!("close_account('{nobody}')"),
        format!("set_overdraft_limit('{nobody}', 1, 'why')"),
    ] {
        refused(&mut bank.db, &format!("select banking.{text}"), "NB002");
    }
}

#[test]
fn nb004_for_another_currency() {
    let mut bank = Bank::new();
    let usd = bank.account("100");
    let eur = bank.account_with("checking", "EUR", "100", "0");
    for text in [
        format!("transfer('{usd}', '{eur}', 1)"),
        format!("transfer('{usd}', '{eur}', 1, 'USD')"),
        format!("transfer('{usd}', '{eur}', 1, 'EUR')"),
        format!("deposit('{usd}', 1, 'EUR')"),
        format!("withdraw('{usd}', 1, 'EUR')"),
        format!("pay('{usd}', 1, 'EUR')"),
        format!("charge_fee('{usd}', 1, 'EUR')"),
        format!("credit_interest('{usd}', 1, 'EUR')"),
        format!("adjust('{usd}', 1, 'why', 'EUR')"),
    ] {
        refused(&mut bank.db, &call(text), "NB004");
    }
    // The right currency spelled out is no mismatch.
    bank.db.run(&call(format!("deposit('{eur}', 1, 'EUR')")));
}

#[test]
fn nb006_for_a_transfer_to_oneself() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    refused(&mut bank.db, &call(format!("transfer('{a}', '{a}', 1)")), "NB006");
}

#[test]
fn nb008_for_what_cannot_be_given_back() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let nothing = Uuid::now_v7();
    let payment = bank.db.id(&call(format!("pay('{a}', 10)")));
    let refund = bank.db.id(&call(format!("refund('{payment}', 4)")));
    for text in [
        format!("reverse('{nothing}', 'why')"),
        format!("refund('{nothing}')"),
        format!("refund('{nothing}', 1)"),
        format!("refund('{payment}', 6.01)"),
        format!("refund('{refund}', 1)"),
    ] {
        refused(&mut bank.db, &call(text), "NB008");
    }
    bank.db.run(&call(format!("refund('{payment}', 6)")));
    refused(&mut bank.db, &call(format!("refund('{payment}')")), "NB008");
}

#[test]
fn nb012_for_a_balance_that_would_leave_its_range() {
    let mut bank = Bank::new();
    let a = bank.account("0");
    bank.db.run("set neobank.ledger_guard = off");
    bank.db.run(&format!(
        "update banking.accounts set current_balance = 1e24 - 1, available_balance = 1e24 - 1 \
         where account_id = '{a}'"
    ));
    bank.db.run("reset neobank.ledger_guard");
    refused(&mut bank.db, &call(format!("deposit('{a}', 2)")), "NB012");
}

#[test]
fn nb014_to_nb017_for_unknown_names() {
    let mut bank = Bank::new();
    let customer = bank.customer();
    let nobody = Uuid::now_v7();
    for (text, code) in [
        (format!("open_account('{nobody}')"), "NB014"),
        (format!("open_account('{customer}', tenant => '{nobody}')"), "NB015"),
        (format!("create_customer('A', 'B', 'a@b.c', '1', '2000-01-01', tenant => '{nobody}')"), "NB015"),
        (format!("open_account('{customer}', 'checking', 'ZZZ')"), "NB016"),
        (format!("open_account('{customer}', 'piggy')"), "NB017"),
        // The bank's own account types are not for customers.
        (format!("open_account('{customer}', 'cash')"), "NB017"),
    ] {
        refused(&mut bank.db, &format!("select banking.{text}"), code);
    }
}

#[test]
fn nb020_for_account_numbers_that_cannot_be() {
    let mut bank = Bank::new();
    let customer = bank.customer();
    bank.db.run(&format!("select banking.open_account('{customer}', account_number => 'MINE-1')"));
    let long = "9".repeat(51);
    for number in ["MINE-1", "", "   ", &long] {
        refused(
            &mut bank.db,
            &format!("select banking.open_account('{customer}', account_number => '{number}')"),
            "NB020",
        );
    }
}

#[test]
fn an_account_is_not_opened_when_its_opening_deposit_is_refused() {
    let mut bank = Bank::new();
    let customer = bank.customer();
    for (text, code) in [
        ("opening_deposit => -1", "NB005"),
        ("opening_deposit => 'NaN'", "NB005"),
        ("opening_deposit => 1.001", "NB005"),
        ("currency => 'JPY', opening_deposit => 0.5", "NB005"),
        ("overdraft_limit => -1", "NB005"),
        ("overdraft_limit => 'NaN'", "NB005"),
        ("overdraft_limit => 'Infinity'", "NB005"),
    ] {
        refused(&mut bank.db, &format!("select banking.open_account('{customer}', {text})"), code);
    }
}

#[test]
fn every_missing_argument_is_named() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let customer = bank.customer();
    let id = bank.db.id(&call(format!("pay('{a}', 1)")));
    let t = "txn_processing";
    let cases = [
        (format!("{t}.transfer(null, '{a}', 1)"), "from_account"),
        (format!("{t}.transfer('{a}', null, 1)"), "to_account"),
        (format!("{t}.transfer('{a}', '{a}', null)"), "amount"),
        (format!("{t}.deposit(null, 1)"), "account"),
        (format!("{t}.deposit('{a}', null)"), "amount"),
        (format!("{t}.withdraw(null, 1)"), "account"),
        (format!("{t}.withdraw('{a}', null)"), "amount"),
        (format!("{t}.pay(null, 1)"), "account"),
        (format!("{t}.pay('{a}', null)"), "amount"),
        (format!("{t}.charge_fee(null, 1)"), "account"),
        (format!("{t}.charge_fee('{a}', null)"), "amount"),
        (format!("{t}.credit_interest(null, 1)"), "account"),
        (format!("{t}.credit_interest('{a}', null)"), "amount"),
        (format!("{t}.adjust(null, 1, 'why')"), "account"),
        (format!("{t}.adjust('{a}', null, 'why')"), "amount"),
        (format!("{t}.adjust('{a}', 1, null)"), "reason"),
        (format!("{t}.refund(null)"), "original_transaction"),
        (format!("{t}.reverse(null, 'why')"), "transaction_id"),
        (format!("{t}.reverse('{id}', null)"), "reason"),
        (format!("{t}.statement(null)"), "account_id"),
        (format!("{t}.balance_as_of(null, now())"), "account_id"),
        (format!("{t}.balance_as_of('{a}', null)"), "at"),
        ("banking.create_tenant(null)".to_owned(), "name"),
        ("banking.create_customer(null, 'B', 'a@b.c', '1', '2000-01-01')".to_owned(), "first_name"),
        ("banking.create_customer('A', null, 'a@b.c', '1', '2000-01-01')".to_owned(), "last_name"),
        ("banking.open_account(null)".to_owned(), "customer_id"),
        (format!("banking.open_account('{customer}', null)"), "account_type"),
        (format!("banking.open_account('{customer}', 'checking', null)"), "currency"),
        ("banking.set_account_status(null, 'frozen', 'why')".to_owned(), "account_id"),
        (format!("banking.set_account_status('{a}', null, 'why')"), "status"),
        (format!("banking.set_account_status('{a}', 'frozen', null)"), "reason"),
        ("banking.close_account(null)".to_owned(), "account_id"),
        ("banking.set_overdraft_limit(null, 1, 'why')".to_owned(), "account_id"),
        (format!("banking.set_overdraft_limit('{a}', null, 'why')"), "overdraft_limit"),
        (format!("banking.set_overdraft_limit('{a}', 1, null)"), "reason"),
        ("neobank.grant_usage(null, 'teller')".to_owned(), "role"),
        ("neobank.grant_usage('pg_monitor', null)".to_owned(), "level"),
        ("neobank.revoke_usage(null)".to_owned(), "role"),
    ];
    let mut wrong = Vec::new();
    for (text, argument) in cases {
        let sql = format!("select {text}");
        match bank.db.try_lines(&sql) {
            Err(refusal)
                if refusal.code == "22004"
                    && refusal.message == format!("argument \"{argument}\" must not be null") => {}
            other => wrong.push(format!("{sql}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
