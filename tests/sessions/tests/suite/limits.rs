//! What an account may spend, in one session: exact at the bound, from midnight and from the first of the month, and
//! whatever was spent before anybody counted.

use neobank_sessions::*;

fn by_both_paths(test: fn(&mut Bank)) {
    for path in ["direct", "spi"] {
        let mut bank = Bank::new();
        bank.db.run(&format!("set neobank.posting_path = {path}"));
        test(&mut bank);
        audit(&mut bank.db);
    }
}

fn set(account: Uuid, period: &str, amount: &str, postings: &str) -> String {
    format!("select banking.set_account_limit('{account}', '{period}', {amount}, {postings}, 'for the test')")
}

fn set_type(period: &str, amount: &str, postings: &str) -> String {
    format!("select banking.set_type_limit('checking', 'USD', '{period}', {amount}, {postings}, 'for the test')")
}

fn withdraw(account: Uuid, amount: &str) -> String {
    format!("select txn_processing.withdraw('{account}', {amount})")
}

fn limited(bank: &mut Bank, sql: &str, account: Uuid, why: &str) {
    let refusal = refused(&mut bank.db, sql, "NB012");
    assert_eq!(refusal.message, "spending limit exceeded");
    assert_eq!(refusal.detail, format!("Account {account}: {why}."));
}

/// Lets everything posted so far have been posted that many days ago: the ledger, and what was counted of it.
fn age(bank: &mut Bank, days: i32) {
    let back = format!("- interval '{days} days'");
    let month = format!("date_trunc('month', (day_start {back}) at time zone 'UTC') at time zone 'UTC'");
    bank.db.run("begin; set local neobank.ledger_guard = off");
    bank.db.run(&format!("update txn_processing.movements set created_at = created_at {back}"));
    bank.db.run(&format!("update banking.accounts set updated_at = updated_at {back}"));
    bank.db.run(&format!("update banking.account_slots set updated_at = updated_at {back}"));
    bank.db.run(&format!("update banking.balance_mode_changes set changed_at = changed_at {back}"));
    bank.db.run(&format!("update txn_processing.limit_usage set day_start = day_start {back}, month_start = {month}"));
    // In another month nothing of this one was spent then.
    bank.db.run(
        "update txn_processing.limit_usage u set (month_amount, month_postings) = (select coalesce(sum(amount), 0), count(*) \
         from txn_processing.movements m where m.debit_account = u.account_id and m.created_at >= u.month_start \
         and m.transaction_type in ('withdrawal', 'transfer', 'payment') and m.debit_sequence < u.counted_to)",
    );
    bank.db.run("commit");
}

#[test]
fn each_period_is_exact_at_its_bound() {
    by_both_paths(|bank| {
        let (a, b) = (bank.account("1000"), bank.account("0"));
        bank.db.run(&set(a, "transaction", "40", "null"));
        limited(bank, &withdraw(a, "40.01"), a, "40.00 may be spent in a transaction, 40.01 was requested");
        bank.db.run(&withdraw(a, "40"));
        bank.db.run(&set(a, "day", "100", "null"));
        bank.db.run(&format!("select txn_processing.pay('{a}', 39.99)"));
        limited(bank, &withdraw(a, "20.02"), a, "100.00 may be spent in a day, 79.99 is spent, 20.02 was requested");
        bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', 20.01)"));
        limited(bank, &withdraw(a, "0.01"), a, "100.00 may be spent in a day, 100.00 is spent, 0.01 was requested");
        bank.db.run(&set(a, "day", "null", "4"));
        bank.db.run(&withdraw(a, "30"));
        limited(bank, &withdraw(a, "1"), a, "4 postings may be made in a day, 4 were made");
        bank.db.run(&set(a, "day", "null", "null"));
        bank.db.run(&set(a, "month", "131", "null"));
        bank.db.run(&withdraw(a, "1"));
        limited(bank, &withdraw(a, "1"), a, "131.00 may be spent in a month, 131.00 is spent, 1.00 was requested");
        bank.db.run(&set(a, "month", "1000", "5"));
        limited(bank, &withdraw(a, "1"), a, "5 postings may be made in a month, 5 were made");
        bank.db.run(&set(a, "month", "null", "0"));
        limited(bank, &withdraw(a, "1"), a, "0 postings may be made in a month, 5 were made");
        // What comes in is not spent.
        bank.db.run(&format!("select txn_processing.deposit('{a}', 500), txn_processing.transfer('{b}', '{a}', 1)"));
    });
}

#[test]
fn charges_and_corrections_are_not_counted() {
    by_both_paths(|bank| {
        let (a, b) = (bank.account("1000"), bank.account("0"));
        bank.db.run(&set(a, "day", "10", "2"));
        let spent = bank.db.id(&withdraw(a, "6"));
        let received = bank.db.id(&format!("select txn_processing.transfer('{b}', '{a}', 5)")
            .replace(&format!("'{b}', '{a}'"), &format!("'{a}', '{b}'"))
            .replace(" 5)", " 4)"));
        bank.db.run(&format!("select txn_processing.charge_fee('{a}', 50)"));
        bank.db.run(&format!("select txn_processing.adjust('{a}', -20, 'counted wrongly')"));
        let deposit = bank.db.id(&format!("select txn_processing.deposit('{a}', 30)"));
        bank.db.run(&format!("select txn_processing.reverse('{deposit}', 'not paid in')"));
        // Nor is what was spent given back by a reversal.
        bank.db.run(&format!(
            "select txn_processing.reverse('{spent}', 'machine jammed'), txn_processing.refund('{received}')"
        ));
        limited(bank, &withdraw(a, "0.01"), a, "10.00 may be spent in a day, 10.00 is spent, 0.01 was requested");
    });
}

#[test]
fn a_limit_counts_what_was_spent_before_it_was_set() {
    by_both_paths(|bank| {
        let (a, b) = (bank.account("1000"), bank.account("1000"));
        bank.db.run(&withdraw(a, "100"));
        bank.db.run(&format!("select txn_processing.transfer('{b}', '{a}', 1)"));
        age(bank, 70);
        for n in 0..5 {
            bank.db.run(&format!(
                "select txn_processing.charge_fee('{a}', 1), txn_processing.transfer('{b}', '{a}', {n} + 1)"
            ));
            bank.db.run(&withdraw(a, "7"));
        }
        bank.db.run(&set(a, "month", "40", "null"));
        limited(bank, &withdraw(a, "6"), a, "40.00 may be spent in a month, 35.00 is spent, 6.00 was requested");
        bank.db.run(&withdraw(a, "4"));
        // Taken away and set again, it has missed nothing.
        bank.db.run(&set(a, "month", "null", "null"));
        bank.db.run(&withdraw(a, "50"));
        bank.db.run(&set(a, "day", "100", "null"));
        limited(bank, &withdraw(a, "11.01"), a, "100.00 may be spent in a day, 89.00 is spent, 11.01 was requested");
        bank.db.run(&withdraw(a, "11"));
    });
}

/// The first look at what was spent once wanted to see the postings that the same call was about to write.
#[test]
fn a_batch_that_first_credits_an_account_may_then_debit_it() {
    by_both_paths(|bank| {
        let (a, b) = (bank.account("100"), bank.account("100"));
        bank.db.run(&set(a, "day", "50", "null"));
        let batch = |items: &str| {
            format!("select string_agg(code, ' ' order by ordinal) from txn_processing.post_transfers({items})")
        };
        let items = format!(
            "array['{b}', '{a}', '{a}', '{b}', '{a}']::uuid[], array['{a}', '{b}', '{b}', '{a}', '{b}']::uuid[], \
             array[1, 30, 20.01, 5, 20]"
        );
        assert_eq!(bank.db.one(&batch(&items)), "ok ok limit_exceeded ok ok");
        limited(bank, &withdraw(a, "0.01"), a, "50.00 may be spent in a day, 50.00 is spent, 0.01 was requested");
    });
}

#[test]
fn a_chain_taken_back_gives_back_what_it_spent() {
    by_both_paths(|bank| {
        let (a, b, nobody) = (bank.account("100"), bank.account("0"), Uuid::from_u128(1));
        bank.db.run(&set(a, "day", "50", "3"));
        let items = format!(
            "array['{a}', '{a}', '{a}', '{a}', '{a}']::uuid[], array['{b}', '{nobody}', '{b}', '{b}', '{b}']::uuid[], \
             array[45, 1, 20, 30, 1], linked => array[true, false, false, false, false]"
        );
        let batch =
            format!("select string_agg(code, ' ' order by ordinal) from txn_processing.post_transfers({items})");
        assert_eq!(bank.db.one(&batch), "linked_failed account_not_found ok ok limit_exceeded");
        let atomic = format!(
            "select * from txn_processing.post_transfers(array['{a}']::uuid[], array['{b}']::uuid[], array[1], atomic => true)"
        );
        refused(&mut bank.db, &atomic, "NB012");
        bank.db.run(&set(a, "day", "51", "3"));
        bank.db.run(&atomic);
        let h = bank.db.fails(&format!("select txn_processing.capture_hold(txn_processing.place_hold('{a}', 1))"));
        assert_eq!(h.code, "NB012", "a capture is spent like any payment");
        assert_eq!(bank.db.count("select count(*) from txn_processing.holds"), 0);
    });
}

#[test]
fn a_day_and_a_month_begin_anew() {
    by_both_paths(|bank| {
        let a = bank.account("1000");
        bank.db.run(&set(a, "day", "50", "null"));
        bank.db.run(&set(a, "month", "100", "null"));
        bank.db.run(&withdraw(a, "50"));
        age(bank, 1);
        let same_month = bank.db.one("select date_trunc('month', now() at time zone 'UTC') = date_trunc('month', (now() at time zone 'UTC') - interval '1 day')") == "t";
        limited(bank, &withdraw(a, "50.01"), a, "50.00 may be spent in a day, 0 is spent, 50.01 was requested");
        bank.db.run(&withdraw(a, "50"));
        if same_month {
            let before = bank.db.one("select month_amount, day_amount from txn_processing.limit_usage");
            assert_eq!(before, "100.00|50.00");
            bank.db.run(&set(a, "day", "500", "null"));
            limited(
                bank,
                &withdraw(a, "0.01"),
                a,
                "100.00 may be spent in a month, 100.00 is spent, 0.01 was requested",
            );
        }
        age(bank, 40);
        bank.db.run(&set(a, "day", "500", "null"));
        limited(bank, &withdraw(a, "100.01"), a, "100.00 may be spent in a month, 0 is spent, 100.01 was requested");
        bank.db.run(&withdraw(a, "100"));
    });
}

/// What was spent over slots is in other chains of the ledger than what is spent from one balance.
#[test]
fn what_was_spent_while_the_account_was_slotted_is_counted() {
    by_both_paths(|bank| {
        let a = bank.account("1000");
        bank.db.run(&set(a, "day", "500", "null"));
        bank.db.run(&withdraw(a, "10"));
        refused(&mut bank.db, &format!("select banking.set_balance_mode('{a}', 'slotted')"), "NB026");
        bank.db.run(&set(a, "day", "null", "null"));
        bank.mode(a, "slotted");
        refused(&mut bank.db, &set(a, "day", "500", "null"), "NB026");
        refused(&mut bank.db, &set_type("day", "500", "null"), "NB026");
        bank.grow(a, 3);
        for amount in ["20", "30", "1.5"] {
            bank.db.run(&withdraw(a, amount));
        }
        bank.mode(a, "exclusive");
        bank.db.run(&withdraw(a, "3"));
        bank.db.run(&set(a, "day", "500", "null"));
        limited(bank, &withdraw(a, "435.51"), a, "500.00 may be spent in a day, 64.50 is spent, 435.51 was requested");
        bank.db.run(&withdraw(a, "435.5"));
    });
}

#[test]
fn an_own_limit_goes_before_its_types_for_its_period_only() {
    by_both_paths(|bank| {
        let (a, b) = (bank.account("1000"), bank.account("1000"));
        let (euro, saver) =
            (bank.account_with("checking", "EUR", "100", "0"), bank.account_with("savings", "USD", "100", "0"));
        bank.db.run(&set_type("day", "50", "null"));
        bank.db.run(&set_type("transaction", "45", "null"));
        bank.db.run(&set(a, "day", "80", "null"));
        limited(bank, &withdraw(a, "46"), a, "45.00 may be spent in a transaction, 46.00 was requested");
        bank.db.run(&withdraw(a, "45"));
        limited(bank, &withdraw(a, "36"), a, "80.00 may be spent in a day, 45.00 is spent, 36.00 was requested");
        bank.db.run(&withdraw(b, "45"));
        limited(bank, &withdraw(b, "6"), b, "50.00 may be spent in a day, 45.00 is spent, 6.00 was requested");
        bank.db.run(&format!("select txn_processing.withdraw('{euro}', 100), txn_processing.withdraw('{saver}', 100)"));
        bank.db.run(&set(a, "day", "null", "null"));
        limited(bank, &withdraw(a, "6"), a, "50.00 may be spent in a day, 45.00 is spent, 6.00 was requested");
        refused(&mut bank.db, &format!("select banking.set_balance_mode('{b}', 'slotted')"), "NB026");
        bank.db.run(&set_type("day", "null", "null"));
        bank.db.run(&set_type("transaction", "null", "null"));
        bank.db.run(&withdraw(a, "300"));
        assert_eq!(bank.db.count("select count(*) from banking.account_limits"), 0);
        assert_eq!(bank.db.count("select count(*) from banking.limit_changes"), 6);
    });
}

#[test]
fn retries_refusals_and_rollbacks_are_not_counted() {
    by_both_paths(|bank| {
        let a = bank.account("1000");
        bank.db.run(&set(a, "day", "100", "2"));
        let id = Uuid::from_u128(5);
        let given = format!("select txn_processing.withdraw('{a}', 60, transaction_id => '{id}')");
        bank.db.run("begin");
        bank.db.run(&given);
        bank.db.run("savepoint s");
        bank.db.run(&withdraw(a, "40"));
        bank.db.fails(&withdraw(a, "1"));
        bank.db.run("rollback to s; rollback");
        for _ in 0..3 {
            assert_eq!(bank.db.id(&given), id);
        }
        refused(&mut bank.db, &format!("select txn_processing.withdraw('{a}', 5000)"), "NB001");
        refused(&mut bank.db, &withdraw(a, "0.001"), "NB005");
        bank.db.run(&withdraw(a, "40"));
        refused(&mut bank.db, &withdraw(a, "0.01"), "NB012");
        let before = snapshot(&mut bank.db);
        assert_eq!(bank.db.id(&given), id, "it was posted, though nothing more may be");
        assert_eq!(before, snapshot(&mut bank.db));
        let both = "select day_amount, day_postings from txn_processing.limit_usage";
        assert_eq!(bank.db.one(both), "100.00|2");
        let json = format!("select txn_processing.execute_withdrawal(null, null, '{a}', 1, 'USD', null)");
        answers_refusal(&mut bank.db, &json, "limit_exceeded", "NB012");
    });
}

#[test]
fn settings_are_refused_with_their_codes() {
    let mut bank = Bank::new();
    let (a, cash, nobody) = (bank.account("10"), bank.internal("cash", "USD"), Uuid::from_u128(1));
    let tenant = bank.db.id("select banking.create_tenant('Another')");
    for (arguments, code) in [
        ("null, 'day', 1, 1, 'r'".to_owned(), "22004"),
        (format!("'{a}', null, 1, 1, 'r'"), "22004"),
        (format!("'{a}', 'day', 1, 1, null"), "22004"),
        (format!("'{a}', 'week', 1, 1, 'r'"), "NB021"),
        (format!("'{a}', 'day', 1, 1, ' '"), "NB021"),
        (format!("'{a}', 'day', 1, -1, 'r'"), "NB021"),
        (format!("'{a}', 'transaction', 1, 1, 'r'"), "NB021"),
        (format!("'{a}', 'day', 0, 1, 'r'"), "NB005"),
        (format!("'{a}', 'day', -1, 1, 'r'"), "NB005"),
        (format!("'{a}', 'day', 'NaN', 1, 'r'"), "NB005"),
        (format!("'{a}', 'day', 0.001, 1, 'r'"), "NB005"),
        (format!("'{a}', 'day', 1, 1, 'r', '{tenant}'"), "NB013"),
        (format!("'{a}', 'day', 1, 1, 'r', '{nobody}'"), "NB015"),
        (format!("'{cash}', 'day', 1, 1, 'r'"), "NB024"),
        (format!("'{nobody}', 'day', 1, 1, 'r'"), "NB002"),
    ] {
        refused(&mut bank.db, &format!("select banking.set_account_limit({arguments})"), code);
    }
    for (arguments, code) in [
        ("null, 'USD', 'day', 1, 1, 'r'", "22004"),
        ("'checking', null, 'day', 1, 1, 'r'", "22004"),
        ("'checking', 'USD', 'year', 1, 1, 'r'", "NB021"),
        ("'checking', 'usd', 'day', 1, 1, 'r'", "NB016"),
        ("'cash', 'USD', 'day', 1, 1, 'r'", "NB017"),
        ("'checking', 'JPY', 'day', 0.5, 1, 'r'", "NB005"),
    ] {
        refused(&mut bank.db, &format!("select banking.set_type_limit({arguments})"), code);
    }
    let teller = bank.role("teller");
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    let mut session = bank.session_as(&teller);
    refused_with_code_only(&mut session, &set(a, "day", "1", "1"), "42501");
    refused_with_code_only(&mut session, &set_type("day", "1", "1"), "42501");
    refused_with_code_only(&mut session, "delete from txn_processing.limit_usage", "42501");
    bank.db.run(&set(a, "day", "1", "1"));
    session.run(&withdraw(a, "1"));
    refused_with_code_only(&mut session, &withdraw(a, "1"), "NB012");
    audit(&mut bank.db);
}
