//! The contract functions, which existing programs call: keys, texts, and no
//! exception where the bank merely says no.

use neobank_sessions::*;

fn key(n: u32) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(n))
}

#[test]
fn a_success_has_every_key_of_the_contract() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("0");
    let answer = bank.db.json(&format!(
        "select txn_processing.execute_transfer('{}', 'REF-1', '{a}', '{b}', 30, 'USD', '{{}}')",
        key(1)
    ));
    assert_eq!(answer["success"], true, "{answer}");
    assert_eq!(dec(&answer["from_balance"].to_string()), dec("70"));
    assert_eq!(dec(&answer["to_balance"].to_string()), dec("30"));
    assert_eq!(answer["transaction_id"], key(1).to_string());
    assert_eq!(answer["reference"], "REF-1");
    for (n, function, balance_key, balance) in [
        (2, "execute_deposit", "to_balance", "75"),
        (3, "execute_withdrawal", "from_balance", "70"),
        (4, "execute_payment", "from_balance", "65"),
    ] {
        let answer = bank.db.json(&format!(
            "select txn_processing.{function}('{}', 'REF-{n}', '{a}', 5, 'USD', '{{\"n\": {n}}}')",
            key(n)
        ));
        assert_eq!(answer["success"], true, "{function}: {answer}");
        for key in [balance_key, "balance"] {
            assert_eq!(dec(&answer[key].to_string()), dec(balance), "{function}: {answer}");
        }
        assert_eq!(answer["transaction_id"], key(n).to_string(), "{function}");
        assert_eq!(answer["reference"], format!("REF-{n}"), "{function}");
        let stored = format!(
            "select reference, metadata ->> 'n' from txn_processing.movements \
             where transaction_id = '{}'",
            key(n)
        );
        assert_eq!(bank.db.one(&stored), format!("REF-{n}|{n}"));
    }
    audit(&mut bank.db);
}

#[test]
fn amounts_in_answers_are_exact_numbers() {
    // The seed's client programs put money through floating point; the answer
    // itself must not have done so before them.
    let mut bank = Bank::new();
    let a = bank.account("1000000000000000000");
    let b = bank.account("0");
    let answer = bank
        .db
        .one(&format!("select txn_processing.execute_transfer('{}', 'r', '{a}', '{b}', 0.01, 'USD', null)", key(1)));
    assert!(answer.contains("999999999999999999.99"), "{answer}");
    let refusal = bank.db.one(&format!(
        "select txn_processing.execute_withdrawal('{}', 'r', '{b}', 999999999999999999.99, \
         'USD', null)",
        key(2)
    ));
    assert!(refusal.contains("999999999999999999.99"), "{refusal}");
}

#[test]
fn refusals_are_answers_in_the_words_of_the_contract() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("0");
    let eur = bank.account_with("checking", "EUR", "0", "0");
    let frozen = bank.account("50");
    bank.status(frozen, "frozen");
    let nobody = Uuid::now_v7();
    let transfer = |from: Uuid, to: Uuid, amount: &str| {
        format!(
            "select txn_processing.execute_transfer('{}', 'r', '{from}', '{to}', {amount}, \
             'USD', '{{}}')",
            key(9)
        )
    };
    for (sql, word, sqlstate, text) in [
        (transfer(a, b, "101"), "insufficient_funds", "NB001", "Insufficient funds"),
        (transfer(a, nobody, "1"), "account_not_found", "NB002", "Account not found"),
        (transfer(nobody, a, "1"), "account_not_found", "NB002", "Account not found"),
        (transfer(frozen, a, "1"), "account_not_active", "NB003", "Source account not active"),
        (transfer(a, frozen, "1"), "account_not_active", "NB003", "Destination account not available"),
        (transfer(a, eur, "1"), "currency_mismatch", "NB004", ""),
        (transfer(a, b, "0"), "invalid_amount", "NB005", ""),
        (transfer(a, b, "-5"), "invalid_amount", "NB005", ""),
        (transfer(a, b, "'NaN'"), "invalid_amount", "NB005", ""),
        (transfer(a, b, "1.001"), "invalid_amount", "NB005", ""),
        (transfer(a, a, "1"), "same_account", "NB006", ""),
        (transfer(a, b, "null"), "null_argument", "22004", ""),
    ] {
        let error = answers_refusal(&mut bank.db, &sql, word, sqlstate);
        assert!(!error.is_empty());
        if !text.is_empty() {
            assert_eq!(error, text, "{sql}");
        }
    }
    let answer = bank.db.json(&transfer(a, b, "100.01"));
    assert_eq!(dec(&answer["available"].to_string()), dec("100"));
    assert_eq!(dec(&answer["requested"].to_string()), dec("100.01"));
}

#[test]
fn the_one_account_functions_refuse_in_the_same_words() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let frozen = bank.account("50");
    bank.status(frozen, "frozen");
    let nobody = Uuid::now_v7();
    for function in ["execute_deposit", "execute_withdrawal", "execute_payment"] {
        let call = |account: &str, amount: &str, currency: &str| {
            format!(
                "select txn_processing.{function}('{}', 'r', {account}, {amount}, {currency}, \
                 '{{}}')",
                key(7)
            )
        };
        let mine = format!("'{a}'");
        for (sql, word, sqlstate) in [
            (call(&format!("'{nobody}'"), "1", "'USD'"), "account_not_found", "NB002"),
            (call(&format!("'{frozen}'"), "1", "'USD'"), "account_not_active", "NB003"),
            (call(&mine, "1", "'EUR'"), "currency_mismatch", "NB004"),
            (call(&mine, "-1", "'USD'"), "invalid_amount", "NB005"),
            (call("null", "1", "'USD'"), "null_argument", "22004"),
        ] {
            answers_refusal(&mut bank.db, &sql, word, sqlstate);
        }
    }
    for function in ["execute_withdrawal", "execute_payment"] {
        let sql = format!("select txn_processing.{function}('{}', 'r', '{a}', 100.01, 'USD', '{{}}')", key(8));
        answers_refusal(&mut bank.db, &sql, "insufficient_funds", "NB001");
    }
}

#[test]
fn a_retry_gets_the_first_answer_and_a_different_request_does_not() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("0");
    let transfer = |amount: &str| {
        format!(
            "select txn_processing.execute_transfer('{}', 'R', '{a}', '{b}', {amount}, 'USD', \
             '{{}}')",
            key(1)
        )
    };
    let first = bank.db.json(&transfer("60"));
    // The balances move on; the retry still answers what was true then.
    bank.db.run(&format!("select txn_processing.withdraw('{a}', 40)"));
    assert_eq!(bank.db.json(&transfer("60")), first);
    answers_refusal(&mut bank.db, &transfer("61"), "id_conflict", "NB007");
    assert_eq!(bank.db.balance(b), dec("60"));
}

#[test]
fn a_reversal_answers_with_its_own_id_and_only_once() {
    // The seed answered success for an id it had never seen, and again for one
    // it had already reversed.
    let mut bank = Bank::new();
    let a = bank.account("100");
    let payment = bank.db.id(&format!("select txn_processing.pay('{a}', 10)"));
    let answer = bank.db.json(&format!("select txn_processing.reverse_transaction('{payment}', 'wrong bill')"));
    assert_eq!(answer["success"], true, "{answer}");
    let reversal: Uuid =
        answer["reversal_transaction_id"].as_str().and_then(|id| id.parse().ok()).expect("the reversal's id");
    assert_eq!(bank.db.balance(a), dec("100"));
    let kept = format!(
        "select transaction_type, reverses, reference_number = '{}' \
         from txn_processing.transaction('{reversal}')",
        answer["reference"].as_str().expect("a reference")
    );
    assert_eq!(bank.db.one(&kept), format!("reversal|{payment}|t"));
    for id in [payment, reversal, Uuid::now_v7()] {
        answers_refusal(
            &mut bank.db,
            &format!("select txn_processing.reverse_transaction('{id}', 'again')"),
            "not_reversible",
            "NB008",
        );
    }
    audit(&mut bank.db);
}

#[test]
fn the_seeds_result_columns_of_both_views_are_there() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    bank.db.run(&format!("select txn_processing.pay('{a}', 10)"));
    bank.db.run(
        "select ledger_id, transaction_id, account_id, entry_type, amount, currency_code, \
         running_balance, transaction_type, status, reference_number, description, metadata, \
         created_at, processed_at, reversed_at, reversed_by from txn_processing.ledger",
    );
    bank.db.run(
        "select transaction_id, account_id, transaction_type, amount, running_balance, \
         description, reference_number, transaction_date, created_at, status \
         from banking.transactions",
    );
    let entries = format!(
        "select transaction_type, trim_scale(amount), trim_scale(running_balance) \
         from banking.transactions where account_id = '{a}' order by sequence"
    );
    assert_eq!(bank.db.lines(&entries), ["credit|100|100", "debit|10|90"]);
    assert_eq!(bank.db.one("select count(*) = count(distinct ledger_id) from txn_processing.ledger"), "t");
}

#[test]
fn a_balance_is_set_optimistically_through_an_adjustment() {
    // The seed wrote the balance past the ledger, so the next reconciliation
    // found money nobody had posted.
    let mut bank = Bank::new();
    let a = bank.account("100");
    let set = |balance: &str, version: i32| {
        format!(
            "select success, new_version, error_message \
             from banking.update_account_optimistic('{a}', {balance}, {version})"
        )
    };
    assert_eq!(bank.db.one(&set("130", 2)), "t|3|");
    assert_eq!(bank.db.one(&set("90", 3)), "t|4|");
    assert_eq!(bank.db.balance(a), dec("90"));
    let posted = format!(
        "select transaction_type, trim_scale(amount), entry_type from txn_processing.ledger \
         where account_id = '{a}' and sequence > 1 order by sequence"
    );
    assert_eq!(bank.db.lines(&posted), ["adjustment|30|credit", "adjustment|40|debit"]);
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.one(&set("500", 2)), "f|4|Version mismatch - expected 2 but found 4");
    assert_eq!(
        bank.db.one(&format!(
            "select success, new_version, error_message \
             from banking.update_account_optimistic('{}', 1, 1)",
            Uuid::now_v7()
        )),
        "f||Account not found"
    );
    assert_eq!(before, snapshot(&mut bank.db));
    audit(&mut bank.db);
    let faults = "select count(*) from txn_processing.daily_reconciliation() \
                  where status <> 'Balanced'";
    assert_eq!(bank.db.count(faults), 0);
}
