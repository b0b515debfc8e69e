//! Statements, balances at a time, trial balances: held against sums of our own.

use neobank_sessions::*;

/// An account with this many postings, some of them backdated, and a partner.
fn busy_account(postings: usize) -> (Bank, Uuid, Uuid) {
    let mut bank = Bank::new();
    bank.db.run("set timezone = 'UTC'");
    let a = bank.account("1000");
    let b = bank.account("1000");
    for n in 1..postings {
        let call = match n % 5 {
            0 => format!("transfer('{a}', '{b}', {n})"),
            1 => format!("transfer('{b}', '{a}', 2)"),
            2 => format!("deposit('{a}', 3, effective_at => now() - interval '{n} hours')"),
            3 => format!("withdraw('{a}', 1, effective_at => now() - interval '{n} days')"),
            _ => format!("charge_fee('{a}', 0.10)"),
        };
        bank.db.run(&format!("select txn_processing.{call}"));
    }
    (bank, a, b)
}

#[test]
fn pages_cover_every_row_once_newest_first() {
    let (mut bank, a, _) = busy_account(57);
    for size in [1, 10, 56, 57, 100] {
        let mut seen: Vec<String> = Vec::new();
        let mut before = "null".to_owned();
        loop {
            let page = bank.db.lines(&format!(
                "select sequence from txn_processing.statement('{a}', max_rows => {size}, \
                 before_sequence => {before})"
            ));
            assert!(page.len() <= size, "{page:?}");
            let Some(last) = page.last() else { break };
            before = last.clone();
            seen.extend(page);
        }
        let all: Vec<String> = (1..=57).rev().map(|n: i32| n.to_string()).collect();
        assert_eq!(seen, all, "pages of {size}");
    }
}

#[test]
fn a_statement_says_what_the_ledger_says() {
    let (mut bank, a, _) = busy_account(40);
    let differing = format!(
        "select count(*) from txn_processing.statement('{a}', max_rows => 1000) s \
         full join (select * from txn_processing.ledger where account_id = '{a}') l \
         on l.sequence = s.sequence \
         where (s.transaction_id, s.transaction_type, s.entry_type, s.amount, s.currency_code, \
                s.running_balance, s.counterparty, s.reference_number, s.status, s.effective_at, \
                s.created_at) is distinct from \
               (l.transaction_id, l.transaction_type, l.entry_type::text, l.amount, \
                l.currency_code, l.running_balance, l.counterparty, l.reference_number, l.status, \
                l.effective_at, l.created_at)"
    );
    assert_eq!(bank.db.count(&differing), 0);
    // And the running balances are the ones that we add up ourselves.
    let chain = format!(
        "select count(*), bool_and(running_balance = replayed) from (select running_balance, \
         sum(case entry_type when 'credit' then amount else -amount end) \
         over (order by sequence) as replayed \
         from txn_processing.statement('{a}', max_rows => 1000)) x"
    );
    assert_eq!(bank.db.one(&chain), "40|t");
}

#[test]
fn a_period_includes_its_start_and_excludes_its_end() {
    let mut bank = Bank::new();
    let a = bank.account("0");
    for day in ["2026-03-01", "2026-03-02", "2026-03-03"] {
        bank.db.run("set neobank.max_backdate_days = 36500");
        bank.db.run(&format!(
            "select txn_processing.deposit('{a}', 1, description => '{day}', \
             effective_at => '{day} 00:00+00')"
        ));
    }
    for (from, to, days) in [
        ("'2026-03-01 00:00+00'", "'2026-03-03 00:00+00'", vec!["2026-03-02", "2026-03-01"]),
        ("'2026-03-02 00:00+00'", "null", vec!["2026-03-03", "2026-03-02"]),
        ("null", "'2026-03-01 00:00:00.000001+00'", vec!["2026-03-01"]),
        ("null", "'2026-03-01 00:00+00'", vec![]),
        ("'2026-03-03 00:00:00.000001+00'", "null", vec![]),
        ("'2026-03-03'", "'2026-03-01'", vec![]),
    ] {
        let sql = format!("select description from txn_processing.statement('{a}', {from}, {to})");
        assert_eq!(bank.db.lines(&sql), days, "{from} to {to}");
    }
}

#[test]
fn pages_of_a_period_hold_too() {
    let (mut bank, a, _) = busy_account(60);
    let from = "now() - interval '20 days'";
    let wanted = bank.db.lines(&format!(
        "select sequence from txn_processing.ledger where account_id = '{a}' \
         and effective_at >= {from} and effective_at < now() order by sequence desc"
    ));
    let mut seen = Vec::new();
    let mut before = "null".to_owned();
    loop {
        let page =
            bank.db.lines(&format!("select sequence from txn_processing.statement('{a}', {from}, now(), 7, {before})"));
        let Some(last) = page.last() else { break };
        before = last.clone();
        seen.extend(page);
    }
    assert!(wanted.len() > 20 && wanted.len() < 60, "{}", wanted.len());
    assert_eq!(seen, wanted);
}

/// Ours: every leg of the account up to the instant, by effective time.
fn balance_by_hand(bank: &mut Bank, account: Uuid, at: &str) -> Decimal {
    bank.db.money(&format!(
        "select coalesce(sum(case when (m.credit_account = a.account_id) = (a.normal_side = 'C') \
         then m.amount else -m.amount end), 0) \
         from banking.accounts a left join txn_processing.movements m \
         on a.account_id in (m.debit_account, m.credit_account) \
         and coalesce(m.effective_at, m.created_at) <= {at} where a.account_id = '{account}'"
    ))
}

#[test]
fn the_balance_at_a_time_is_the_sum_of_what_was_effective_by_then() {
    let (mut bank, a, b) = busy_account(60);
    let cash = bank.internal("cash", "USD");
    let fees = bank.internal("fee_income", "USD");
    let mut instants = bank
        .db
        .lines(&format!("select quote_literal(effective_at) from txn_processing.ledger where account_id = '{a}'"));
    for edge in 0..instants.len() {
        instants.push(format!("{}::timestamptz - interval '1 microsecond'", instants[edge]));
    }
    instants.push("now()".to_owned());
    instants.push("now() - interval '30 days'".to_owned());
    for at in &instants {
        for account in [a, b, cash, fees] {
            let said = bank.db.money(&format!("select txn_processing.balance_as_of('{account}', {at})"));
            assert_eq!(said, balance_by_hand(&mut bank, account, at), "{account} {at}");
        }
    }
    let now = bank.db.balance(a);
    let said = bank.db.money(&format!("select txn_processing.balance_as_of('{a}', now())"));
    assert_eq!(said, now);
}

#[test]
fn the_trial_balance_is_even_now_and_at_any_time() {
    let (mut bank, a, _) = busy_account(30);
    let euro = bank.account_with("loan", "EUR", "0", "1000");
    let other = bank.account_with("checking", "EUR", "7", "0");
    bank.db.run(&format!("select txn_processing.transfer('{euro}', '{other}', 300)"));
    for at in ["null", "now()", "now() - interval '1 day'", "now() - interval '10 days'", "now() - interval '10 years'"]
    {
        let sides = format!(
            "select currency_code, sum(debits) = sum(credits) \
             from txn_processing.trial_balance({at}) group by 1 order by 1"
        );
        assert_eq!(bank.db.lines(&sides), ["EUR|t", "USD|t"], "{at}");
    }
    let types = "select account_type, account_class, accounts, trim_scale(debits), \
         trim_scale(credits) from txn_processing.trial_balance() \
         where currency_code = 'EUR' and debits + credits > 0 order by account_type";
    assert_eq!(bank.db.lines(types), ["cash|asset|1|7|0", "checking|liability|1|0|307", "loan|asset|1|300|0"]);
    // A balance that was moved past the ledger shows up as an uneven book.
    bank.db.run("set neobank.ledger_guard = off");
    bank.db.run(&format!("update banking.accounts set current_balance = current_balance + 1 where account_id = '{a}'"));
    let uneven = "select sum(debits) - sum(credits) from txn_processing.trial_balance() \
                  where currency_code = 'USD'";
    assert_eq!(bank.db.money(uneven), dec("-1"));
}

#[test]
fn one_transaction_is_shown_with_its_legs_or_not_at_all() {
    let (mut bank, a, b) = busy_account(1);
    let id = bank.db.id(&format!("select txn_processing.transfer('{a}', '{b}', 5, description => 'rent')"));
    let shown = format!(
        "select leg, transaction_type, debit_account, credit_account, trim_scale(amount), \
         currency_code, trim_scale(debit_balance), trim_scale(credit_balance), description, \
         status, reverses is null, effective_at = created_at \
         from txn_processing.transaction('{id}')"
    );
    assert_eq!(bank.db.one(&shown), format!("1|transfer|{a}|{b}|5|USD|995|1005|rent|completed|t|t"));
    let unknown = format!("select count(*) from txn_processing.transaction('{}')", Uuid::now_v7());
    assert_eq!(bank.db.count(&unknown), 0);
}

#[test]
fn reading_writes_nothing_and_works_where_nothing_may_be_written() {
    let (mut bank, a, _) = busy_account(10);
    let id = bank.db.id(&format!("select txn_processing.deposit('{a}', 1)"));
    bank.db.run("begin transaction read only");
    for sql in [
        format!("select * from txn_processing.statement('{a}')"),
        format!("select txn_processing.balance_as_of('{a}', now())"),
        "select * from txn_processing.trial_balance()".to_owned(),
        "select * from txn_processing.trial_balance(now())".to_owned(),
        format!("select * from txn_processing.transaction('{id}')"),
        "select * from txn_processing.daily_reconciliation()".to_owned(),
        "select * from txn_processing.ledger".to_owned(),
        "select * from banking.transactions".to_owned(),
    ] {
        let rows = bank.db.lines(&sql);
        assert!(!rows.is_empty(), "{sql}");
    }
    let no_id = "select pg_current_xact_id_if_assigned() is null";
    assert_eq!(bank.db.one(no_id), "t", "reading drew a transaction id");
    let refusal = bank.db.fails(&format!("select txn_processing.deposit('{a}', 1)"));
    assert_eq!(refusal.code, "25006", "{refusal}");
    bank.db.run("rollback");
    audit(&mut bank.db);
}
