//! Limits under many sessions, and limits of a type that sessions at work must come to know at once.

use neobank_sessions::*;

fn set(account: Uuid, period: &str, amount: &str, postings: &str) -> String {
    format!("select banking.set_account_limit('{account}', '{period}', {amount}, {postings}, 'for the test')")
}

fn set_type(amount: &str) -> String {
    format!("select banking.set_type_limit('checking', 'USD', 'day', {amount}, null, 'for the test')")
}

fn withdraw(account: Uuid, amount: &str) -> String {
    format!("select txn_processing.withdraw('{account}', {amount})")
}

fn spent(bank: &mut Bank, account: Uuid) -> Decimal {
    bank.db.money(&format!(
        "select coalesce(sum(amount), 0) from txn_processing.movements where debit_account = '{account}' \
         and transaction_type in ('withdrawal', 'transfer', 'payment')"
    ))
}

#[test]
fn no_number_of_sessions_spends_more_than_the_limits() {
    let _turn = crowd();
    for isolation in ["read committed", "repeatable read", "serializable"] {
        let mut bank = Bank::new();
        let (a, b, c) = (bank.account("10000"), bank.account("10000"), bank.account("0"));
        bank.db.run(&withdraw(a, "17.5"));
        bank.db.run(&set(a, "day", "400", "null"));
        bank.db.run(&set(b, "month", "null", "60"));
        let posted: usize = together(&bank, 8, move |n, db| {
            db.run(&format!("set default_transaction_isolation = '{isolation}'; set neobank.posting_path = {}", ["auto", "spi"][n % 2]));
            let mut dice = Dice(n as u64);
            let mut posted = 0;
            for _ in 0..40 {
                let amount = Decimal::new(1 + dice.below(1_500) as i64, 2);
                let call = match dice.below(6) {
                    0 | 1 => format!("withdraw('{a}', {amount})"),
                    2 => format!("transfer('{b}', '{c}', {amount})"),
                    3 => format!("transfer('{b}', '{a}', {amount})"),
                    4 => format!("transfer('{a}', '{b}', {amount})"),
                    _ => format!("post_transfers(array['{a}', '{b}', '{a}']::uuid[], array['{c}', '{c}', '{c}']::uuid[], array[{amount}, 1, 1])"),
                };
                match db.try_lines(&format!("select txn_processing.{call}")) {
                    Ok(_) => posted += 1,
                    Err(refusal) => assert!(["NB012", "40001"].contains(&refusal.code.as_str()), "{refusal}\nfrom: {call}"),
                }
            }
            posted
        })
        .into_iter()
        .sum();
        assert!(posted > 20, "{posted} at {isolation}");
        let most = spent(&mut bank, a);
        assert!(most <= dec("400") && (most > dec("380") || isolation != "read committed"), "{most} at {isolation}");
        let made = format!("select count(*) from txn_processing.movements where debit_account = '{b}'");
        let made = bank.db.count(&made);
        // Who is sent back with 40001 does not come again here.
        assert!(made == 60 || made < 60 && isolation != "read committed", "{made} at {isolation}");
        audit(&mut bank.db);
    }
}

#[test]
fn usage_is_what_the_ledger_says_whatever_happens() {
    for (seed, path) in [(1, "direct"), (2, "spi"), (3, "auto"), (4, "spi")] {
        let mut bank = Bank::new();
        bank.db.run(&format!("set neobank.posting_path = {path}"));
        let accounts = [bank.account("5000"), bank.account("5000"), bank.account("5000")];
        let mut dice = Dice(seed);
        for _ in 0..250 {
            let (a, b) = (accounts[dice.below(3)], accounts[dice.below(3)]);
            let amount = Decimal::new(1 + dice.below(9_000) as i64, 2);
            let bound = ["null", "200", "500", "1000"][dice.below(4)];
            let call = match dice.below(14) {
                0 => set(a, ["day", "month", "transaction"][dice.below(3)], bound, "null"),
                1 => set(a, ["day", "month"][dice.below(2)], "null", ["null", "3", "20", "50"][dice.below(4)]),
                2 => set_type(bound),
                3 => format!("select banking.set_balance_mode('{a}', '{}')", ["slotted", "exclusive"][dice.below(2)]),
                4 => format!("select txn_processing.charge_fee('{a}', {amount})"),
                5 => format!("select txn_processing.deposit('{a}', {amount})"),
                6 => format!("select txn_processing.capture_hold(txn_processing.place_hold('{a}', {amount}))"),
                7 | 8 => format!(
                    "select code from txn_processing.post_transfers(array['{b}', '{a}', '{a}']::uuid[], \
                     array['{a}', '{b}', '{b}']::uuid[], array[1, {amount}, {amount}], linked => array[{}, true, false])",
                    dice.below(2) == 0
                ),
                9 => format!("begin; select txn_processing.withdraw('{a}', {amount}); rollback"),
                10 => format!(
                    "select txn_processing.withdraw('{a}', {amount}, transaction_id => '{}')",
                    Uuid::from_u128(1 + dice.below(20) as u128)
                ),
                _ => format!("select txn_processing.transfer('{a}', '{b}', {amount})"),
            };
            if let Err(refusal) = bank.db.try_lines(&call) {
                assert!(
                    ["NB001", "NB006", "NB007", "NB012", "NB026"].contains(&refusal.code.as_str()),
                    "{refusal}\nfrom: {call}"
                );
                let _ = bank.db.try_lines("rollback");
            }
        }
        assert!(bank.db.count("select count(*) from txn_processing.limit_usage") > 0);
        audit(&mut bank.db);
    }
}

#[test]
fn sessions_at_work_know_a_limit_of_a_type_at_once() {
    for path in ["direct", "spi"] {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("1000"), bank.account("1000"));
        let mut other = bank.session();
        other.run(&format!("set neobank.posting_path = {path}"));
        other.run(&withdraw(a, "10"));
        bank.db.run("begin");
        bank.db.run(&set_type("15"));
        refused_with_code_only(&mut bank.db, &withdraw(b, "16"), "NB012");
        bank.db.run("rollback");
        bank.db.run(&withdraw(b, "16"));
        bank.db.run("begin; savepoint s");
        bank.db.run(&set_type("15"));
        bank.db.run(&format!("{}; rollback to s", withdraw(a, "1")));
        bank.db.run(&withdraw(b, "4"));
        bank.db.run("commit");
        other.run(&withdraw(a, "10"));
        bank.db.run(&set_type("25"));
        refused_with_code_only(&mut other, &withdraw(a, "5.01"), "NB012");
        other.run(&withdraw(a, "5"));
        // In a block that was under way, and taken away again.
        other.run("begin");
        other.run("select 1");
        bank.db.run(&set_type("null"));
        other.run(&withdraw(a, "100"));
        bank.db.run(&set_type("150"));
        refused_with_code_only(&mut other, &withdraw(a, "26"), "NB012");
        other.run("rollback");
        bank.db.run("drop extension neobank cascade; create extension neobank");
        let fresh = bank.account("100");
        bank.db.run(&set_type("20"));
        refused_with_code_only(&mut bank.db, &withdraw(fresh, "21"), "NB012");
        refused_with_code_only(&mut other, &withdraw(fresh, "21"), "NB012");
        other.run(&withdraw(fresh, "20"));
        audit(&mut bank.db);
    }
}

/// A session whose transaction had begun before the limit was set kept for good what it saw there.
#[test]
fn an_old_snapshot_is_not_remembered_after_its_transaction() {
    for isolation in ["repeatable read", "serializable"] {
        for path in ["direct", "spi"] {
            let mut bank = Bank::new();
            let (a, b) = (bank.account("1000"), bank.account("1000"));
            let mut old = bank.session();
            old.run(&format!("set neobank.posting_path = {path}; begin isolation level {isolation}"));
            old.run("select count(*) from banking.accounts");
            bank.db.run(&set_type("15"));
            old.run(&withdraw(a, "16"));
            old.run("commit");
            refused_with_code_only(&mut old, &withdraw(a, "1"), "NB012");
            refused_with_code_only(&mut old, &withdraw(b, "16"), "NB012");
            audit(&mut bank.db);
        }
    }
}

/// A session that was interrupted while it read the limits took what it had from before for what is.
#[test]
fn reading_that_failed_is_begun_again() {
    let mut bank = Bank::new();
    let a = bank.account("1000");
    let mut other = bank.session();
    other.run(&withdraw(a, "10"));
    let mut holder = bank.session();
    holder.run(&format!("begin; {}", set_type("15")));
    holder.run("lock banking.account_limits in access exclusive mode; commit");
    holder.run("begin; lock banking.account_limits in access exclusive mode");
    other.run("set lock_timeout = '50ms'");
    refused_with_code_only(&mut other, &withdraw(a, "16"), "55P03");
    holder.run("commit");
    refused_with_code_only(&mut other, &withdraw(a, "16"), "NB012");
    audit(&mut bank.db);
}

#[test]
fn neither_a_mode_nor_a_limit_is_set_by_an_old_snapshot() {
    for isolation in ["repeatable read", "serializable"] {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("1000"), bank.account("1000"));
        let mut old = bank.session();
        let begin = format!("begin isolation level {isolation}; select count(*) from banking.accounts");
        old.run(&begin);
        bank.db.run(&set_type("15"));
        refused_with_code_only(&mut old, &format!("select banking.set_balance_mode('{a}', 'slotted')"), "NB026");
        old.run("rollback");
        old.run(&begin);
        bank.db.run(&set_type("16"));
        refused_with_code_only(&mut old, &set_type("17"), "40001");
        old.run("rollback");
        bank.db.run(&set_type("null"));
        old.run(&begin);
        bank.db.run(&set_type("18"));
        refused_with_code_only(&mut old, &set_type("19"), "40001");
        old.run("rollback");
        bank.db.run(&set_type("null"));
        old.run(&begin);
        bank.mode(b, "slotted");
        refused_with_code_only(&mut old, &set_type("20"), "NB026");
        old.run("rollback");
        audit(&mut bank.db);
    }
}
