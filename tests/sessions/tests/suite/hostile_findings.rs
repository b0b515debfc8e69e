//! Faults that calling every function with bad input has found; each test tells one.

use neobank_sessions::*;

#[test]
fn an_error_is_short_however_long_the_argument() {
    // A text of 20 MB as a currency or a word came back whole in DETAIL, and went into the server's log.
    let mut bank = Bank::new();
    let account = bank.account("10");
    let long = "repeat('x', 20000000)";
    for (sql, code) in [
        (format!("select txn_processing.fx_rate_at('USD', {long})"), "NB016"),
        (format!("select txn_processing.deposit('{account}', 1, {long})"), "NB004"),
        (format!("select banking.set_account_status('{account}', {long}, 'because')"), "NB019"),
        (format!("select banking.set_balance_mode('{account}', {long})"), "NB021"),
        (format!("select neobank.grant_usage(current_user, {long})"), "NB021"),
        ("select txn_processing.fx_rate_at('USD', repeat(U&'\\+01F4B0', 100000))".to_owned(), "NB016"),
    ] {
        let refusal = refused(&mut bank.db, &sql, code);
        assert!(refusal.detail.len() < 2_100 && refusal.detail.len() > 100, "{} bytes", refusal.detail.len());
    }
    let both_ends = bank.db.fails(&format!("select txn_processing.deposit('{account}', 1, {long})")).detail;
    assert!(
        both_ends.starts_with("The posting is in xxx") && both_ends.ends_with("the account in USD."),
        "{both_ends}"
    );
    let told = format!("select txn_processing.execute_deposit(null, null, '{account}', 1, {long}, null)");
    answers_refusal(&mut bank.db, &told, "currency_mismatch", "NB004");
    assert!(bank.db.json(&told)["detail"].as_str().is_some_and(|detail| detail.len() < 2_100));
}

#[test]
fn the_guards_functions_are_for_triggers_only() {
    // Called by a superuser, they panicked: XX000, with a backtrace as DETAIL.
    let mut bank = Bank::new();
    for function in ["guard_ledger", "guard_accounts"] {
        let refusal = refused(&mut bank.db, &format!("select neobank.{function}()"), "39P01");
        assert!(refusal.message.contains(function), "{refusal}");
    }
    bank.account("10");
    refused(&mut bank.db, "delete from txn_processing.movements", "NB009");
    refused(&mut bank.db, "update banking.accounts set current_balance = 0", "NB010");
    audit(&mut bank.db);
}

#[test]
fn every_date_has_a_reconciliation() {
    // The day after the last date that a timestamp can have is none: 22008.
    let mut bank = Bank::new();
    bank.account("10");
    for date in ["infinity", "-infinity", "5874897-12-31", "294276-12-31", "9999-12-31", "4713-01-01 BC"] {
        let balanced = format!(
            "select bool_and(status = 'Balanced'), sum(ledger_balance) > 0 \
             from txn_processing.daily_reconciliation('{date}')"
        );
        let past = date.starts_with('-') || date.ends_with("BC");
        assert_eq!(bank.db.one(&balanced), if past { "t|f" } else { "t|t" }, "{date}");
    }
}

#[test]
fn rights_are_a_roles_that_exists() {
    // An empty name made a statement that did not parse: 42601.
    let mut bank = Bank::new();
    for role in ["", "nobody of that name", "current_user"] {
        refused(&mut bank.db, &format!("select neobank.grant_usage('{role}', 'reader')"), "42704");
        refused(&mut bank.db, &format!("select neobank.revoke_usage('{role}')"), "42704");
    }
}

#[test]
fn a_currency_of_four_letters_is_not_enqueued() {
    // The queue's column refused it, with 22001 and no word about which argument it was.
    let mut bank = Bank::new();
    let account = bank.account("10");
    for code in ["EURO", "\u{20ac}\u{20ac}\u{20ac}\u{20ac}"] {
        let enqueue =
            format!("select txn_processing.enqueue('withdrawal', '{account}', amount => 1, currency => '{code}')");
        let refusal = refused(&mut bank.db, &enqueue, "NB021");
        assert!(refusal.message.contains("\"currency\""), "{refusal}");
    }
    bank.db.run(&format!("select txn_processing.enqueue('withdrawal', '{account}', amount => 1, currency => 'EUR ')"));
    assert_eq!(bank.db.one("select code from txn_processing.process_queue()"), "currency_mismatch");
}
