//! Runs of interest: killed, rolled back, several at once, and refused.

use super::interest::*;
use neobank_sessions::*;
use std::thread;

#[test]
fn two_sessions_at_once_do_the_work_of_one() {
    let _turn = crowd();
    let (mut bank, _) = history(5, 16);
    let days = together(&bank, 4, |n, session| accrue(session, 1, 3 + n as i32));
    let once = "select count(*) from txn_processing.interest_positions p, \
                generate_series(first_day, accrued_through, '1 day')";
    assert_eq!(days.iter().sum::<i64>(), bank.db.count(once));
    let posted = together(&bank, 4, |n, session| capitalise(session, 1, 2 + n as i32).0);
    let rows = bank.db.count("select count(*) from txn_processing.interest_capitalisations");
    assert!(rows > 10, "{rows}");
    assert_eq!(posted.iter().sum::<i64>(), rows);
    sound(&mut bank);
}

#[test]
fn accruals_and_postings_of_customers_go_on_side_by_side() {
    let _turn = crowd();
    let (mut bank, accounts) = history(6, 8);
    together(&bank, 4, move |n, session| {
        let mut dice = Dice(n as u64);
        if n == 0 {
            for days in (1..30).rev() {
                accrue(session, days, 5);
                if days % 9 == 0 {
                    capitalise(session, days, 3);
                }
            }
            return;
        }
        for _ in 0..60 {
            let (from, to) = (accounts[dice.below(8)], accounts[dice.below(8)]);
            let at = noon(1 + dice.below(20) as i32);
            let sql = format!("select txn_processing.transfer('{from}', '{to}', 0.17, effective_at => {at})");
            if from != to
                && let Err(refusal) = session.try_lines(&sql)
            {
                assert_eq!(refusal.code, "NB001", "{refusal}");
            }
        }
    });
    // Days that were changed after the last accrual are mended by the next, which is for a day that is not over yet:
    // until then only the days of accounts without such entries are to be right.
    let open = "select count(*) from txn_processing.interest_positions p where backdated_count <> \
                (select count(*) from txn_processing.backdated_entries b where b.account_id = p.account_id)";
    if bank.db.count(open) == 0 {
        assert_eq!(wrong_days(&mut bank, "UTC"), [""; 0]);
    }
    assert_eq!(leaks(&mut bank), [""; 0]);
    audit(&mut bank.db);
}

#[test]
fn a_run_that_is_killed_goes_on_where_it_was_committed() {
    let _turn = crowd();
    let (mut bank, _) = history(7, 12);
    for (procedure, kind) in
        [("run_interest_accrual", "interest accrual"), ("run_interest_capitalisation", "interest capitalisation")]
    {
        let sql = format!("call txn_processing.{procedure}({}, 1)", ago(1));
        let mut session = bank.session();
        let backend = Bank::backend_of(&mut session);
        let call = sql.clone();
        let worker = thread::spawn(move || session.try_lines(&call));
        let accounts =
            format!("select coalesce(sum(accounts), 0) from txn_processing.daily_runs where run_kind = '{kind}'");
        while bank.db.count(&accounts) == 0 {
            thread::yield_now();
        }
        bank.db.run(&format!("select pg_terminate_backend({backend}, 10000)"));
        let _ = worker.join().expect("no panic");
        bank.db.run(&sql);
        let finished =
            format!("select finished_at is not null from txn_processing.daily_runs where run_kind = '{kind}'");
        assert_eq!(bank.db.one(&finished), "t");
    }
    let rows = bank.db.count("select count(*) from txn_processing.interest_capitalisations");
    assert!(rows > 6, "{rows}");
    sound(&mut bank);
}

#[test]
fn what_is_rolled_back_never_was() {
    let (mut bank, _) = history(8, 4);
    let before = snapshot(&mut bank.db);
    bank.db.run("begin");
    accrue(&mut bank.db, 1, 3);
    assert!(capitalise(&mut bank.db, 1, 3).0 > 0);
    bank.db.run("rollback");
    assert_eq!(before, snapshot(&mut bank.db));
    // At REPEATABLE READ, what another session did since the snapshot is an error, not a second accrual.
    let mut stale = bank.session();
    stale.run("begin isolation level repeatable read; select 1 from banking.tenants");
    accrue(&mut bank.db, 1, 100);
    let refusal = stale.fails(&format!("select txn_processing.accrue_interest({})", ago(1)));
    assert_eq!(refusal.code, "40001", "{refusal}");
    stale.run("rollback");
    sound(&mut bank);
}

#[test]
fn rules_and_runs_out_of_bounds_are_refused() {
    let mut bank = Bank::new();
    let account = bank.account_with("savings", "USD", "0", "0");
    let cash = bank.internal("cash", "USD");
    deposit(&mut bank, account, "1000", 10);
    let nobody = Uuid::nil();
    let today = ago(0);
    let set = |arguments: &str| format!("select txn_processing.set_interest_rule({arguments})");
    let own = |arguments: &str| format!("select txn_processing.set_account_interest_rule({arguments})");
    let run = |name: &str, arguments: &str| format!("select txn_processing.{name}({arguments})");
    for (sql, code) in [
        (set(&format!("null, 'USD', 1, 'act/365', {today}")), "22004"),
        (set(&format!("'savings', null, 1, 'act/365', {today}")), "22004"),
        (set(&format!("'savings', 'USD', null, 'act/365', {today}")), "22004"),
        (set(&format!("'savings', 'USD', 1, null, {today}")), "22004"),
        (set("'savings', 'USD', 1, 'act/365', null"), "22004"),
        (set(&format!("'savings', 'USD', 1, 'act/365', {today}, null")), "22004"),
        (set(&format!("'savings', 'USD', 1, 'act/365', {today}, 0, array[null]::numeric[], '{{1}}'")), "22004"),
        (set(&format!("'savings', 'USD', 1000.1, 'act/365', {today}")), "NB021"),
        (set(&format!("'savings', 'USD', 0.0000001, 'act/365', {today}")), "NB021"),
        (set(&format!("'savings', 'USD', 'NaN', 'act/365', {today}")), "NB021"),
        (set(&format!("'savings', 'USD', 1, 'act/act', {today}")), "NB021"),
        (set(&format!("'savings', 'USD', 1, 'act/365', {today}, -1000.1")), "NB021"),
        (set(&format!("'savings', 'USD', 1, 'act/365', {today}, 0, '{{1,2}}', '{{1}}'")), "NB021"),
        (set(&format!("'savings', 'USD', 1, 'act/365', {today}, 0, '{{2,2}}', '{{1,1}}'")), "NB021"),
        (set(&format!("'savings', 'USD', 1, 'act/365', {today}, 0, '{{0}}', '{{1}}'")), "NB021"),
        (set(&format!("'savings', 'USD', 1, 'act/365', {today}, 0, '{{1.001}}', '{{1}}'")), "NB021"),
        (set("'savings', 'USD', 1, 'act/365', 'infinity'"), "NB021"),
        (set(&format!("'savings', 'XXZ', 1, 'act/365', {today}")), "NB016"),
        (set(&format!("'cash', 'USD', 1, 'act/365', {today}")), "NB017"),
        (
            set(&format!("'savings', 'USD', 1, 'act/365', {today}, tenant => '{nobody}'")).replace("0000'", "0001'"),
            "NB015",
        ),
        (own(&format!("null, 1, 'act/365', {today}")), "22004"),
        (own(&format!("'{nobody}', 1, 'act/365', {today}")), "NB002"),
        (own(&format!("'{cash}', 1, 'act/365', {today}")), "NB024"),
        (run("end_account_interest_rule", &format!("null, {today}")), "22004"),
        (run("end_account_interest_rule", &format!("'{account}', null")), "22004"),
        (run("accrue_interest", "null"), "22004"),
        (run("accrue_interest", &format!("{today} - 1, null")), "22004"),
        (run("accrue_interest", &today), "NB040"),
        (run("accrue_interest", &format!("{today} - 1, 0")), "NB021"),
        (run("accrue_interest", &format!("{today} - 1, 10001")), "NB021"),
        (run("accrue_interest", "'-infinity'"), "NB021"),
        (run("capitalise_interest", "null"), "22004"),
        (run("capitalise_interest", &today), "NB040"),
        (run("settle_interest", &format!("null, {today} - 1")), "22004"),
        (run("settle_interest", &format!("'{account}', null")), "22004"),
        (run("settle_interest", &format!("'{account}', {today}")), "NB040"),
        (run("settle_interest", &format!("'{cash}', {today} - 1")), "NB024"),
        (run("settle_interest", &format!("'{nobody}', {today} - 1")), "NB002"),
    ] {
        refused(&mut bank.db, &sql, code);
    }
    // What is accrued is not changed by a rule that comes later; the same rule again is no change.
    rule(&mut bank, "savings", "1", "act/365", 30, "");
    accrue(&mut bank.db, 3, 100);
    refused(&mut bank.db, &run("capitalise_interest", &ago(2)), "NB042");
    refused(&mut bank.db, &set(&format!("'savings', 'USD', 2, 'act/365', {}", ago(3))), "NB041");
    refused(&mut bank.db, &own(&format!("'{account}', 2, 'act/365', {}", ago(3))), "NB041");
    refused(&mut bank.db, &run("end_account_interest_rule", &format!("'{account}', {}", ago(3))), "NB041");
    let before = snapshot(&mut bank.db);
    rule(&mut bank, "savings", "1.000", "act/365", 30, "");
    assert_eq!(before, snapshot(&mut bank.db));
    rule(&mut bank, "savings", "2", "act/365", 2, "");
    bank.db.run("set neobank.max_backdate_days = 1");
    refused(&mut bank.db, &run("capitalise_interest", &ago(3)), "NB022");
    bank.db.run("reset neobank.max_backdate_days");
    accrue(&mut bank.db, 1, 100);
    sound(&mut bank);
    // A balance on which a day's interest is past counting stops the run and says whose it is.
    rule(&mut bank, "money_market", "1000", "act/360", 30, "");
    let rich = bank.account_with("money_market", "USD", "0", "0");
    for _ in 0..3 {
        bank.db.run(&format!(
            "set neobank.ledger_guard = off; update banking.accounts set current_balance = 1e24, \
             available_balance = 1e24, created_at = now() - interval '9 days', updated_at = now() - interval '9 days' \
             where account_id = '{rich}'; reset neobank.ledger_guard"
        ));
    }
    let refusal = refused(&mut bank.db, &run("accrue_interest", &ago(1)), "NB044");
    assert!(refusal.detail.contains(&rich.to_string()), "{refusal}");
}

#[test]
fn a_rule_waits_for_an_accrual_under_way() {
    let mut bank = Bank::new();
    rule(&mut bank, "savings", "1", "act/365", 30, "");
    let account = bank.account_with("savings", "USD", "0", "0");
    deposit(&mut bank, account, "1000", 10);
    let mut runner = bank.session();
    runner.run(&format!("begin; select txn_processing.accrue_interest({})", ago(1)));
    let mut setter = bank.session();
    let backend = Bank::backend_of(&mut setter);
    let sql = format!("select txn_processing.set_interest_rule('savings', 'USD', 2, 'act/365', {})", ago(5));
    let waiting = thread::spawn(move || setter.fails(&sql));
    bank.wait_until_blocked(backend);
    runner.run("commit");
    let refusal = waiting.join().expect("no panic");
    assert_eq!(refusal.code, "NB041", "{refusal}");
    sound(&mut bank);
}
