//! Amounts, texts, JSON and times at their bounds and one step past them.

use neobank_sessions::*;

#[test]
fn amounts_that_are_no_money_are_refused_by_every_function() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("0");
    let payment = bank.db.id(&format!("select txn_processing.pay('{a}', 10)"));
    let amounts = [
        "'NaN'",
        "'Infinity'",
        "'-Infinity'",
        "0",
        "-1",
        "-0.01",
        "0.001",
        "1.005",
        "1e-30",
        "1e18 + 0.01",
        "1e18 + 1",
        "1e19",
        "1e1000",
        "1e-1000",
    ];
    for amount in amounts {
        for call in [
            format!("transfer('{a}', '{b}', {amount})"),
            format!("deposit('{a}', {amount})"),
            format!("withdraw('{a}', {amount})"),
            format!("pay('{a}', {amount})"),
            format!("charge_fee('{a}', {amount})"),
            format!("credit_interest('{a}', {amount})"),
            format!("refund('{payment}', {amount})"),
        ] {
            refused(&mut bank.db, &format!("select txn_processing.{call}"), "NB005");
        }
        // An adjustment is signed, so only the minus sign makes a difference.
        if !["-1", "-0.01"].contains(&amount) {
            refused(&mut bank.db, &format!("select txn_processing.adjust('{a}', {amount}, 'why')"), "NB005");
        }
    }
    refused(&mut bank.db, &format!("select txn_processing.adjust('{a}', -1.005, 'why')"), "NB005");
}

#[test]
fn the_currency_says_how_many_decimals_there_are_and_nothing_is_rounded() {
    let mut bank = Bank::new();
    for (currency, fits, too_fine) in [("JPY", "1", "0.1"), ("USD", "0.01", "0.001"), ("BHD", "0.001", "0.0001")] {
        let a = bank.account_with("checking", currency, "0", "0");
        bank.db.run(&format!("select txn_processing.deposit('{a}', {fits})"));
        assert_eq!(bank.db.balance(a), dec(fits), "{currency}");
        refused(&mut bank.db, &format!("select txn_processing.deposit('{a}', {too_fine})"), "NB005");
        // Zeros behind the point are no decimals.
        bank.db.run(&format!("select txn_processing.deposit('{a}', {fits}::numeric(30, 10))"));
    }
    audit(&mut bank.db);
}

#[test]
fn ten_to_the_eighteenth_is_exact() {
    let mut bank = Bank::new();
    for (currency, odd) in [("USD", "999999999999999999.99"), ("BHD", "123456789012345678.901")] {
        let a = bank.account_with("checking", currency, "1000000000000000000", "0");
        let b = bank.account_with("checking", currency, "0", "0");
        bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', {odd})"));
        assert_eq!(bank.db.balance(b), dec(odd));
        assert_eq!(bank.db.balance(a), dec("1000000000000000000") - dec(odd));
        bank.db.run(&format!("select txn_processing.deposit('{a}', 1e18)"));
        bank.db.run(&format!("select txn_processing.withdraw('{a}', 1e18)"));
        let stored = format!(
            "select trim_scale(amount) from txn_processing.movements where debit_account = '{a}' \
             and credit_account = '{b}'"
        );
        assert_eq!(bank.db.one(&stored), odd);
    }
    audit(&mut bank.db);
}

#[test]
fn texts_have_a_length() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("0");
    let id = bank.db.id(&format!("select txn_processing.pay('{a}', 1)"));
    let long = "repeat('x', 1000000)";
    let transfer = |tail: &str| format!("transfer('{a}', '{b}', 1, {tail})");
    for call in [
        transfer(&format!("description => {long}")),
        transfer(&format!("reference => {long}")),
        transfer("reference => repeat('x', 51)"),
        format!("adjust('{a}', 1, {long})"),
        format!("adjust('{a}', 1, '')"),
        format!("adjust('{a}', 1, '   ')"),
        format!("reverse('{id}', {long})"),
        format!("reverse('{id}', '')"),
        format!("reverse('{id}', E' \\t\\n')"),
    ] {
        refused(&mut bank.db, &format!("select txn_processing.{call}"), "NB021");
    }
    for call in [
        format!("set_account_status('{a}', 'frozen', '')"),
        format!("set_account_status('{a}', 'frozen', {long})"),
        format!("set_overdraft_limit('{a}', 5, ' ')"),
        format!("create_tenant({long})"),
        "create_tenant(' ')".to_owned(),
        format!("create_customer({long}, 'B', 'a@b.c', '1', '2000-01-01')"),
        format!("create_customer('A', {long}, 'a@b.c', '1', '2000-01-01')"),
        format!("create_customer('A', 'B', {long}, '1', '2000-01-01')"),
        format!("create_customer('A', 'B', 'a@b.c', {long}, '2000-01-01')"),
        "create_customer('', 'B', 'a@b.c', '1', '2000-01-01')".to_owned(),
        format!("create_customer('A', 'B', 'a@b.c', '1', '2000-01-01', city => {long})"),
    ] {
        refused(&mut bank.db, &format!("select banking.{call}"), "NB021");
    }
    // Characters, not bytes: fifty of three bytes each still fit.
    bank.db.run(&format!("select txn_processing.{}", transfer("reference => repeat('€', 50)")));
}

#[test]
fn metadata_is_an_object_of_bounded_size_and_depth() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("0");
    let deep = "('{\"a\":' || repeat('[', 3000) || repeat(']', 3000) || '}')::jsonb";
    let wide = "jsonb_build_object('a', repeat('x', 10000000))";
    let many = "(select jsonb_object_agg(n, n) from generate_series(1, 200000) n)";
    for json in [deep, wide, many, "'[]'", "'1'", "'\"text\"'", "'null'", "'true'"] {
        refused(&mut bank.db, &format!("select txn_processing.transfer('{a}', '{b}', 1, metadata => {json})"), "NB021");
        answers_refusal(
            &mut bank.db,
            &format!(
                "select txn_processing.execute_transfer(gen_random_uuid(), 'r', '{a}', '{b}', \
                 1, 'USD', {json})"
            ),
            "argument_out_of_bounds",
            "NB021",
        );
    }
    // jsonb numbers may have digits without end; what is accepted comes back as it was.
    let odd = "{\"n\": 123456789012345678901234567890.000100, \"e\": 1e200, \"u\": \"\\u00e9\"}";
    let id = bank.db.id(&format!("select txn_processing.transfer('{a}', '{b}', 1, metadata => '{odd}')"));
    let same = format!(
        "select metadata = '{odd}'::jsonb, metadata ->> 'n' from txn_processing.movements \
         where transaction_id = '{id}'"
    );
    assert_eq!(bank.db.one(&same), "t|123456789012345678901234567890.000100");
}

#[test]
fn the_effective_time_lies_between_the_window_and_now() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let deposit = |at: &str| format!("select txn_processing.deposit('{a}', 1, effective_at => {at})");
    for at in [
        "now() + interval '1 hour'",
        "'infinity'",
        "'-infinity'",
        "now() - interval '367 days'",
        "'0001-01-01'",
        "'4713-01-01 BC'",
        "'294276-12-31'",
    ] {
        refused(&mut bank.db, &deposit(at), "NB022");
    }
    for at in ["now()", "now() - interval '1 second'", "now() - interval '365 days'"] {
        bank.db.run(&deposit(at));
    }
    bank.db.run("set neobank.max_backdate_days = 800");
    bank.db.run(&deposit("now() - interval '799 days'"));
    refused(&mut bank.db, &deposit("now() - interval '801 days'"), "NB022");
    bank.db.run("set neobank.max_backdate_days = 0");
    refused(&mut bank.db, &deposit("now() - interval '1 day'"), "NB022");
    audit(&mut bank.db);
}

#[test]
fn reading_has_bounds_too() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    for rows in ["0", "-1", "2147483647"] {
        refused(&mut bank.db, &format!("select * from txn_processing.statement('{a}', max_rows => {rows})"), "NB021");
    }
    // Times at the ends of the calendar are times.
    for at in ["'infinity'", "'294276-12-31'"] {
        assert_eq!(bank.db.money(&format!("select txn_processing.balance_as_of('{a}', {at})")), dec("100"));
    }
    assert_eq!(bank.db.money(&format!("select txn_processing.balance_as_of('{a}', '-infinity')")), dec("0"));
}

#[test]
fn a_currency_that_is_in_use_keeps_its_decimals() {
    // With 2,000 yen on an account, an exponent of 2 would make them 20.00.
    let mut bank = Bank::new();
    let a = bank.account_with("checking", "JPY", "2000", "0");
    let before = snapshot(&mut bank.db);
    bank.db.fails("update banking.currencies set exponent = 2 where currency_code = 'JPY'");
    bank.db.fails("update banking.account_types set normal_side = 'D' where account_type = 'checking'");
    assert_eq!(before, snapshot(&mut bank.db));
    assert_eq!(bank.db.balance(a), dec("2000"));
}

#[test]
fn a_currency_of_ones_own_is_as_good_as_any() {
    let mut bank = Bank::new();
    bank.db.run("insert into banking.currencies (currency_code, exponent, name) values ('QQP', 1, 'Points')");
    let a = bank.account_with("checking", "QQP", "12.5", "0");
    refused(&mut bank.db, &format!("select txn_processing.withdraw('{a}', 0.25)"), "NB005");
    bank.db.run(&format!("select txn_processing.withdraw('{a}', 0.5)"));
    assert_eq!(bank.db.balance(a), dec("12"));
    audit(&mut bank.db);
}
