//! Who may send, who may receive, and how an account ends.

use neobank_sessions::*;

#[test]
fn dormant_receives_frozen_and_closed_do_neither() {
    let mut bank = Bank::new();
    let rich = bank.account("1000");
    for status in ["dormant", "frozen", "closed"] {
        let a = bank.account(if status == "closed" { "0" } else { "100" });
        if status == "closed" {
            bank.db.run(&format!("select banking.close_account('{a}')"));
        } else {
            bank.status(a, status);
        }
        for call in [format!("transfer('{a}', '{rich}', 1)"), format!("withdraw('{a}', 1)"), format!("pay('{a}', 1)")] {
            let refusal = refused(&mut bank.db, &format!("select txn_processing.{call}"), "NB003");
            assert!(refusal.detail.contains(status), "{refusal}");
        }
        for call in [
            format!("transfer('{rich}', '{a}', 1)"),
            format!("deposit('{a}', 1)"),
            format!("credit_interest('{a}', 1)"),
        ] {
            let sql = format!("select txn_processing.{call}");
            if status == "dormant" {
                bank.db.run(&sql);
            } else {
                let refusal = refused(&mut bank.db, &sql, "NB003");
                assert!(refusal.detail.contains(status), "{refusal}");
            }
        }
    }
    audit(&mut bank.db);
}

#[test]
fn an_account_wakes_up_and_sends_again() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    for status in ["dormant", "active", "frozen", "dormant", "frozen", "active"] {
        bank.status(a, status);
    }
    bank.db.run(&format!("select txn_processing.withdraw('{a}', 1)"));
    // The posting count is the version: a change of status is no posting.
    let version = format!("select version from banking.accounts where account_id = '{a}'");
    assert_eq!(bank.db.one(&version), "3");
}

#[test]
fn every_change_is_on_record() {
    let mut bank = Bank::new();
    let a = bank.account("0");
    bank.db.run(&format!("select banking.set_account_status('{a}', 'dormant', 'no postings for a year')"));
    bank.db.run(&format!("select banking.set_account_status('{a}', 'active', 'customer called')"));
    bank.db.run(&format!("select banking.set_overdraft_limit('{a}', 75, 'salary comes in')"));
    bank.db.run(&format!("select banking.close_account('{a}')"));
    let log = format!(
        "select change, old_value, new_value, changed_by = session_user, reason <> '' \
         from banking.account_status_changes where account_id = '{a}' order by changed_at"
    );
    let log = bank.db.lines(&log);
    assert_eq!(log.len(), 4, "{log:?}");
    assert_eq!(log[0], "status|active|dormant|t|t");
    assert_eq!(log[1], "status|dormant|active|t|t");
    assert!(log[2].starts_with("overdraft_limit|0"), "{log:?}");
    assert!(log[2].ends_with("|t|t") && log[2].contains("|75"), "{log:?}");
    assert_eq!(log[3], "status|active|closed|t|t");
    let reason = format!(
        "select reason from banking.account_status_changes where account_id = '{a}' \
         order by changed_at limit 1"
    );
    assert_eq!(bank.db.one(&reason), "no postings for a year");
}

#[test]
fn an_account_with_money_closes_only_when_swept() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let heir = bank.account("0");
    let euro = bank.account_with("checking", "EUR", "0", "0");
    let frozen = bank.account("0");
    bank.status(frozen, "frozen");
    let refusal = refused(&mut bank.db, &format!("select banking.close_account('{a}')"), "NB018");
    assert!(refusal.detail.contains("100"), "{refusal}");
    for (to, code) in [(euro, "NB004"), (frozen, "NB003"), (a, "NB006"), (Uuid::now_v7(), "NB002")] {
        refused(&mut bank.db, &format!("select banking.close_account('{a}', '{to}')"), code);
    }
    let sweep = bank.db.id(&format!("select banking.close_account('{a}', '{heir}')"));
    let posted = format!(
        "select transaction_type, debit_account, credit_account, trim_scale(amount) \
         from txn_processing.transaction('{sweep}')"
    );
    assert_eq!(bank.db.one(&posted), format!("transfer|{a}|{heir}|100"));
    let closed = format!(
        "select account_status, trim_scale(current_balance), closed_at is not null \
         from banking.accounts where account_id = '{a}'"
    );
    assert_eq!(bank.db.one(&closed), "closed|0|t");
    audit(&mut bank.db);
}

#[test]
fn an_empty_account_closes_without_a_sweep() {
    let mut bank = Bank::new();
    let a = bank.account("0");
    let b = bank.account("0");
    let none = format!("select banking.close_account('{a}') is null");
    assert_eq!(bank.db.one(&none), "t");
    let none = format!("select banking.close_account('{b}', '{}') is null", bank.account("0"));
    assert_eq!(bank.db.one(&none), "t");
}

#[test]
fn an_overdrawn_account_is_not_empty_either() {
    let mut bank = Bank::new();
    let a = bank.account_with("checking", "USD", "0", "100");
    let other = bank.account("0");
    bank.db.run(&format!("select txn_processing.withdraw('{a}', 60)"));
    for sql in
        [format!("select banking.close_account('{a}')"), format!("select banking.close_account('{a}', '{other}')")]
    {
        let before = snapshot(&mut bank.db);
        let refusal = bank.db.fails(&sql);
        assert!(["NB018", "NB001"].contains(&refusal.code.as_str()), "{refusal}");
        assert_eq!(before, snapshot(&mut bank.db));
    }
}

#[test]
fn closed_is_final() {
    let mut bank = Bank::new();
    let a = bank.account("0");
    bank.db.run(&format!("select banking.close_account('{a}')"));
    for status in ["active", "dormant", "frozen"] {
        refused(&mut bank.db, &format!("select banking.set_account_status('{a}', '{status}', 'why')"), "NB019");
    }
    refused(&mut bank.db, &format!("select banking.close_account('{a}')"), "NB019");
}

#[test]
fn statuses_that_do_not_exist_or_go_round_the_close_are_refused() {
    let mut bank = Bank::new();
    let a = bank.account("5");
    let cash = bank.internal("cash", "USD");
    for status in ["sleeping", "", "ACTIVE"] {
        refused(&mut bank.db, &format!("select banking.set_account_status('{a}', '{status}', 'why')"), "NB019");
    }
    // Money must not be locked away by closing through the back door.
    let before = snapshot(&mut bank.db);
    let refusal = bank.db.fails(&format!("select banking.set_account_status('{a}', 'closed', 'why')"));
    assert!(["NB018", "NB019"].contains(&refusal.code.as_str()), "{refusal}");
    assert_eq!(before, snapshot(&mut bank.db));
    // Nor may the bank's own accounts be switched off under everybody's feet.
    let refusal = bank.db.fails(&format!("select banking.close_account('{cash}', '{a}')"));
    assert!(refusal.code.starts_with("NB"), "{refusal}");
    let refusal = bank.db.fails(&format!("select banking.set_account_status('{cash}', 'frozen', 'why')"));
    assert!(refusal.code.starts_with("NB"), "{refusal}");
    assert_eq!(before, snapshot(&mut bank.db));
}
