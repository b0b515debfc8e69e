//! `cqrs.customer_summary` and `account_activity` against an independent recount of the postings, in one statement, so
//! that both see the same moment.

use neobank_sessions::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What the views show and the postings do not bear out, and the other way round.
const ASTRAY: &str = "with sides as ( \
       select debit_account as account_id, amount, created_at, coalesce(effective_at, created_at) as effective, 'D' as side \
       from txn_processing.movements \
       union all select credit_account, amount, created_at, coalesce(effective_at, created_at), 'C' \
       from txn_processing.movements \
     ), recount as ( \
       select a.account_id, a.customer_id, a.currency_code, k.exponent, a.normal_side, \
         coalesce(sum(case when s.side = a.normal_side::text then s.amount else -s.amount end), 0) as balance, \
         count(s.amount) as postings, \
         count(s.amount) filter (where s.created_at > now() - interval '720 hours') as recent, \
         round(avg(s.amount), k.exponent) as average, \
         round(avg(s.amount) filter (where s.created_at > now() - interval '720 hours'), k.exponent) as recent_average, \
         max(s.created_at) as recorded, max(s.effective) as effective \
       from banking.accounts a join banking.currencies k using (currency_code) left join sides s using (account_id) \
       where a.customer_id is not null group by a.account_id, k.exponent \
     ), by_currency as ( \
       select customer_id, currency_code, count(*) as accounts, max(effective) as effective, \
         sum(case normal_side when 'C' then balance else -balance end) as balance \
       from recount group by customer_id, currency_code \
     ), customers as ( \
       select c.customer_id, c.first_name || ' ' || c.last_name as name, coalesce(sum(b.accounts), 0) as accounts, \
         case when count(b.currency_code) < 2 then coalesce(sum(b.balance), 0) end as balance, max(b.effective) as effective, \
         count(*) filter (where b.balance is distinct from (v.balances ->> b.currency_code)::numeric) as uneven \
       from banking.customers c left join by_currency b using (customer_id) left join cqrs.customer_summary v using (customer_id) \
       group by c.customer_id \
     ), both_sides as ( \
       select 1 as one, account_id, row(current_balance, transaction_count, transaction_count_30d::bigint, \
         average_transaction_amount, average_transaction_amount_30d, last_activity)::text as line, 'view' as of \
       from (select *, current_balance + 0.0000 as b from cqrs.account_activity) v \
       union all \
       select 1, account_id, row(round(balance, exponent), postings, recent, average, recent_average, recorded)::text, 'recount' \
       from recount \
       union all \
       select 2, customer_id, row(customer_name, total_accounts, trim_scale(total_balance), last_transaction_date, 0)::text, 'view' \
       from cqrs.customer_summary \
       union all \
       select 2, customer_id, row(name, accounts, trim_scale(balance), effective, uneven)::text, 'recount' from customers \
     ) select one, account_id, string_agg(of || ' ' || line, '   ' order by of) from both_sides \
       group by one, account_id having count(distinct line) <> 1 or count(*) <> 2";

fn is_exact(session: &mut Client) {
    assert_eq!(session.lines(ASTRAY), [""; 0]);
}

/// Customers with several accounts: currencies, a loan, a slotted one.
fn world(bank: &mut Bank) -> Vec<Uuid> {
    bank.db.run("set neobank.max_backdate_days = 400");
    let mut accounts = Vec::new();
    for n in 0..4 {
        let customer = bank.customer();
        for (kind, limit) in [("checking", 0), ("savings", 0), ("loan", 100_000)] {
            let opening = if kind == "loan" { 0 } else { 1_000 };
            accounts.push(
                bank.db.id(&format!("select banking.open_account('{customer}', '{kind}', 'USD', {opening}, {limit})")),
            );
        }
        if n % 2 == 0 {
            bank.db.run(&format!("select banking.open_account('{customer}', 'checking', 'JPY', 5000)"));
        }
    }
    let slotted = bank.slotted("checking", "1000", "0");
    bank.grow(slotted, 3);
    accounts.push(slotted);
    bank.customer();
    accounts
}

/// Some posting or other; refusals are part of it.
fn post(session: &mut Client, dice: &mut Dice, accounts: &[Uuid]) {
    let (a, b) = (accounts[dice.below(accounts.len())], accounts[dice.below(accounts.len())]);
    let amount = format!("{}.{:02}", dice.below(40), 1 + dice.below(99));
    let sql = match dice.below(7) {
        0 => format!("txn_processing.deposit('{a}', {amount})"),
        1 => format!("txn_processing.withdraw('{a}', {amount})"),
        2 => format!(
            "txn_processing.deposit('{a}', {amount}, effective_at => now() - interval '{} hours')",
            1 + dice.below(2_000)
        ),
        3 => format!(
            "txn_processing.reverse((select transaction_id from txn_processing.movements \
             where transaction_type = 'deposit' and credit_account = '{a}' order by random() limit 1), 'why')"
        ),
        4 => format!("txn_processing.charge_fee('{a}', {amount})"),
        _ => format!("txn_processing.transfer('{a}', '{b}', {amount})"),
    };
    let _ = session.try_lines(&format!("select {sql}"));
}

/// Makes the first `part` percent of every chain's postings older.
fn age(bank: &mut Bank, part: i64) {
    bank.db.run(&format!(
        "set neobank.ledger_guard = off; \
         update txn_processing.movements set created_at = created_at - interval '40 days', \
           effective_at = effective_at - interval '40 days' \
         where created_at <= (select percentile_disc({part} / 100.0) within group (order by created_at) \
                              from txn_processing.movements); \
         update txn_processing.backdated_entries b set effective_at = coalesce(m.effective_at, b.effective_at) \
         from txn_processing.movements m where b.account_id in (m.debit_account, m.credit_account) \
           and b.sequence in (m.debit_sequence, m.credit_sequence) and m.effective_at is not null \
           and b.sequence = case b.account_id when m.debit_account then m.debit_sequence else m.credit_sequence end; \
         reset neobank.ledger_guard"
    ));
}

#[test]
fn three_accounts_of_a_thousand_are_three_thousand() {
    // The seed's function joined accounts with transactions before it added up: 7 accounts and 7,000.
    let mut bank = Bank::new();
    let customer = bank.customer();
    let accounts: Vec<Uuid> = (0..3)
        .map(|_| bank.db.id(&format!("select banking.open_account('{customer}', 'checking', 'USD', 1000)")))
        .collect();
    for n in 0..5 {
        bank.db.run(&format!("select txn_processing.transfer('{}', '{}', 10)", accounts[n % 3], accounts[(n + 1) % 3]));
    }
    let summary = format!(
        "select total_accounts, total_balance, currency_code, balances, risk_score, last_transaction_date is not null \
         from cqrs.customer_summary where customer_id = '{customer}'"
    );
    assert_eq!(bank.db.one(&summary), "3|3000.00|USD|{\"USD\": 3000.00}||t");
    bank.db.run(&format!("select cqrs.update_customer_summary('{customer}')"));
    assert_eq!(bank.db.one(&summary), "3|3000.00|USD|{\"USD\": 3000.00}||t");
    is_exact(&mut bank.db);
}

#[test]
fn amounts_of_two_currencies_are_not_added() {
    let mut bank = Bank::new();
    let customer = bank.customer();
    let summary = format!(
        "select total_accounts, total_balance, currency_code, balances from cqrs.customer_summary \
         where customer_id = '{customer}'"
    );
    assert_eq!(bank.db.one(&summary), "0|0||{}");
    bank.db.run(&format!("select banking.open_account('{customer}', 'checking', 'EUR', 10)"));
    assert_eq!(bank.db.one(&summary), "1|10.00|EUR|{\"EUR\": 10.00}");
    bank.db.run(&format!("select banking.open_account('{customer}', 'checking', 'JPY', 500)"));
    assert_eq!(bank.db.one(&summary), "2|||{\"EUR\": 10.00, \"JPY\": 500}");
    // What the customer owes is no money of theirs.
    let loan = bank.db.id(&format!("select banking.open_account('{customer}', 'loan', 'EUR', 0, 100)"));
    let euros = bank.db.id(&format!(
        "select account_id from banking.accounts where customer_id = '{customer}' and account_type = 'checking' \
         and currency_code = 'EUR'"
    ));
    bank.db.run(&format!("select txn_processing.transfer('{loan}', '{euros}', 30)"));
    let balances = format!(
        "select currency_code, accounts, deposits, debts, balance from cqrs.customer_balances \
         where customer_id = '{customer}' order by 1"
    );
    assert_eq!(bank.db.lines(&balances), ["EUR|2|40.00|30.00|10.00", "JPY|1|500|0|500"]);
    is_exact(&mut bank.db);
}

#[test]
fn random_work_on_both_paths_is_told_as_it_was() {
    let mut bank = Bank::new();
    let accounts = world(&mut bank);
    let mut dice = Dice(seed());
    figure("read models against a recount", &format!("SEED={}", dice.0));
    for path in ["direct", "spi"] {
        let mut session = bank.session_on(path);
        session.run("set neobank.max_backdate_days = 400");
        for _ in 0..400 {
            post(&mut session, &mut dice, &accounts);
        }
        is_exact(&mut bank.db);
        bank.db.run("select cqrs.refresh_activity()");
        is_exact(&mut bank.db);
    }
    // Enough on one account, and on one slot, for marks.
    let (a, b) = (accounts[0], accounts[1]);
    let slotted = *accounts.last().expect("the slotted one");
    for (from, to) in [(a, b), (slotted, b)] {
        bank.db.run(&format!("select txn_processing.adjust('{from}', 5000, 'enough')"));
        bank.db.run(&format!(
            "select 1 / (count(*) filter (where code = 'ok') = 700)::int from txn_processing.post_transfers(array_fill('{from}'::uuid, array[700]), \
             array_fill('{to}'::uuid, array[700]), array_fill(0.03, array[700]))"
        ));
    }
    is_exact(&mut bank.db);
    assert!(bank.db.count("select cqrs.refresh_activity(2)") == 2);
    is_exact(&mut bank.db);
    let more = bank.db.count("select cqrs.refresh_activity()");
    assert!(more > 4, "{more}");
    assert_eq!(bank.db.count("select cqrs.refresh_activity()"), 0);
    is_exact(&mut bank.db);
    for _ in 0..50 {
        post(&mut bank.db, &mut dice, &accounts);
    }
    is_exact(&mut bank.db);
    // The window's end falls into every place: before, at and between marks.
    bank.db.run("delete from cqrs.activity_marks");
    for part in [20, 45, 30] {
        age(&mut bank, part);
        is_exact(&mut bank.db);
        bank.db.run("select cqrs.refresh_activity()");
        is_exact(&mut bank.db);
    }
    let windows =
        "select count(*) from cqrs.account_activity where transaction_count_30d not in (0, transaction_count)";
    assert!(bank.db.count(windows) > 0, "the window is a part");
    bank.mode(slotted, "exclusive");
    bank.db.run(&format!("select txn_processing.deposit('{slotted}', 5)"));
    is_exact(&mut bank.db);
}

#[test]
fn while_others_post_and_refresh_every_reading_is_of_one_moment() {
    let mut bank = Bank::new();
    let accounts = Arc::new(world(&mut bank));
    let (a, b) = (accounts[0], accounts[1]);
    bank.db.run(&format!(
        "select count(*) from txn_processing.post_transfers(array_fill('{a}'::uuid, array[600]), \
         array_fill('{b}'::uuid, array[600]), array_fill(0.01, array[600]))"
    ));
    let stop = Arc::new(AtomicBool::new(false));
    let posters: Vec<_> = (0..3u64)
        .map(|n| {
            let (mut session, stop, accounts) = (bank.session(), Arc::clone(&stop), Arc::clone(&accounts));
            thread::spawn(move || {
                let mut dice = Dice(n);
                session.run("set neobank.max_backdate_days = 400");
                let mut calls = 0;
                while !stop.load(Ordering::Relaxed) && calls < 3_000 {
                    post(&mut session, &mut dice, &accounts);
                    if calls % 20 == 0 {
                        session.run("select cqrs.refresh_activity(1)");
                    }
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut reader = bank.session();
    for _ in 0..15 {
        is_exact(&mut reader);
    }
    reader.run("begin isolation level repeatable read");
    let shown = "select * from cqrs.account_activity order by account_id";
    let before = reader.lines(shown);
    for _ in 0..5 {
        is_exact(&mut reader);
    }
    assert_eq!(reader.lines(shown), before, "a transaction's own moment stays");
    reader.run("commit");
    stop.store(true, Ordering::Relaxed);
    let calls: i32 = posters.into_iter().map(|poster| poster.join().expect("no session fails")).sum();
    assert!(calls > 30, "{calls}");
    is_exact(&mut bank.db);
    audit(&mut bank.db);
}

#[test]
fn sessions_that_refresh_at_once_make_each_mark_once() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("1000"));
    bank.db.run(&format!(
        "select count(*) from txn_processing.post_transfers(array_fill('{a}'::uuid, array[5000]), \
         array_fill('{b}'::uuid, array[5000]), array_fill(0.01, array[5000]))"
    ));
    together(&bank, 4, |n, session| while session.count(&format!("select cqrs.refresh_activity({})", 1 + n)) > 0 {});
    // Of each account 5,001 postings, and of cash two, beside those that the bank itself has.
    assert_eq!(bank.db.count("select count(*) from cqrs.activity_marks"), 2 * (5_001 / 256));
    is_exact(&mut bank.db);
    // A rollback takes marks back, and so does whoever deletes them: no figure changes.
    bank.db.run("delete from cqrs.activity_marks");
    bank.db.run("begin; select cqrs.refresh_activity(); rollback");
    assert_eq!(bank.db.count("select count(*) from cqrs.activity_marks"), 0);
    is_exact(&mut bank.db);
    let customer = bank.db.id(&format!("select customer_id from banking.accounts where account_id = '{a}'"));
    bank.db.run(&format!("select cqrs.update_customer_summary('{customer}')"));
    assert_eq!(bank.db.count("select count(*) from cqrs.activity_marks"), 5_001 / 256);
    // In a transaction of an older snapshot it makes those of its own moment.
    let mut old = bank.session();
    old.run("begin isolation level repeatable read; select count(*) from cqrs.activity_marks");
    bank.db.run(&format!(
        "select count(*) from txn_processing.post_transfers(array_fill('{a}'::uuid, array[500]), \
         array_fill('{b}'::uuid, array[500]), array_fill(0.01, array[500]))"
    ));
    old.run(&format!("select cqrs.update_customer_summary('{customer}')"));
    assert_eq!(old.count("select count(*) from cqrs.activity_marks"), 5_001 / 256);
    old.run("commit");
    is_exact(&mut bank.db);
}

#[test]
fn bad_arguments_are_refused_and_change_nothing() {
    let mut bank = Bank::new();
    let account = bank.account("10");
    let nobody = Uuid::now_v7();
    for (call, code) in [
        ("transaction_count(null)", "22004"),
        ("amount_total(null)", "22004"),
        ("last_activity(null)", "22004"),
        ("last_transaction_date(null)", "22004"),
        ("refresh_activity(null)", "22004"),
        ("refresh_activity(0)", "NB021"),
        ("refresh_activity(100001)", "NB021"),
        ("update_customer_summary(null)", "22004"),
        ("set_risk_score(null, 1)", "22004"),
    ] {
        refused(&mut bank.db, &format!("select cqrs.{call}"), code);
    }
    for (call, code) in [
        ("transaction_count", "NB002"),
        ("amount_total", "NB002"),
        ("last_activity", "NB002"),
        ("last_transaction_date", "NB002"),
        ("update_customer_summary", "NB014"),
    ] {
        refused(&mut bank.db, &format!("select cqrs.{call}('{nobody}')"), code);
    }
    refused(&mut bank.db, &format!("select cqrs.set_risk_score('{nobody}', 5)"), "NB014");
    let all = format!(
        "select cqrs.transaction_count('{account}', '-infinity'), cqrs.transaction_count('{account}', 'infinity'), \
         cqrs.amount_total('{account}', '-infinity'), cqrs.amount_total('{account}', 'infinity')"
    );
    assert_eq!(bank.db.one(&all), "1|0|10.00|0");
    // The bank's own accounts have figures too, and no row among those of customers.
    let cash = bank.internal("cash", "USD");
    assert_eq!(bank.db.one(&format!("select cqrs.transaction_count('{cash}')")), "1");
    assert_eq!(bank.db.count("select count(*) from cqrs.account_activity"), 1);
}

#[test]
fn a_risk_score_is_set_shown_and_taken_away() {
    let mut bank = Bank::new();
    let customer = bank.customer();
    let shown = format!("select risk_score from cqrs.customer_summary where customer_id = '{customer}'");
    for (score, text) in [("70", "70"), ("-3", "-3"), ("null", "")] {
        bank.db.run(&format!("select cqrs.set_risk_score('{customer}', {score})"));
        assert_eq!(bank.db.one(&shown), text);
    }
    bank.db.run(&format!("begin; select cqrs.set_risk_score('{customer}', 5); rollback"));
    assert_eq!(bank.db.one(&shown), "");
    together(&bank, 4, move |n, session| {
        session.run(&format!("select cqrs.set_risk_score('{customer}', {n})"));
    });
    assert!(["0", "1", "2", "3"].contains(&bank.db.one(&shown).as_str()));
    let operator = bank.role("operator");
    bank.db.run(&format!("select neobank.grant_usage('{operator}', 'operator')"));
    bank.session_as(&operator).run(&format!("select cqrs.set_risk_score('{customer}', 9)"));
    assert_eq!(bank.db.one("select risk_score, set_by from cqrs.risk_scores"), format!("9|{operator}"));
    // It stands in nobody's way.
    bank.db.run(&format!("delete from banking.customers where customer_id = '{customer}'"));
    assert_eq!(bank.db.lines(&shown), [""; 0]);
}

#[test]
fn levels_read_and_refresh_as_they_may_and_tenants_are_told_apart() {
    let mut bank = Bank::new();
    let account = bank.account("10");
    let customer = bank.db.id("select customer_id from banking.customers");
    let tenant = bank.db.id("select banking.create_tenant('Branch')");
    let theirs = bank.customer_of(&format!("'{tenant}'"));
    bank.db.run(&format!("select banking.open_account('{theirs}', 'checking', 'USD', 7, tenant => '{tenant}')"));
    let by_tenant = "select t.tenant_id = $t$x$t$, s.total_balance from cqrs.customer_summary s \
                     join banking.tenants t using (tenant_no) order by s.total_balance";
    assert_eq!(bank.db.lines(&by_tenant.replace("$t$x$t$", &format!("'{tenant}'"))), ["t|7.00", "f|10.00"]);
    let activity =
        "select t.tenant_id, a.transaction_count from cqrs.account_activity a join banking.tenants t using (tenant_no)";
    assert!(bank.db.lines(activity).contains(&format!("{tenant}|1")));
    is_exact(&mut bank.db);
    let calls = [
        (1, "select count(*) from cqrs.customer_summary".to_owned()),
        (1, "select * from cqrs.account_activity".to_owned()),
        (1, "select * from cqrs.customer_balances".to_owned()),
        (1, format!("select cqrs.amount_total('{account}', now())")),
        (2, format!("select cqrs.update_customer_summary('{customer}')")),
        (3, "select cqrs.refresh_activity()".to_owned()),
        (3, format!("select cqrs.set_risk_score('{customer}', 1)")),
        (4, "delete from cqrs.activity_marks".to_owned()),
        (4, "update cqrs.risk_scores set risk_score = 0".to_owned()),
    ];
    for (rank, level) in [(0, "nobody"), (1, "reader"), (2, "teller"), (3, "operator")] {
        let role = bank.role(level);
        if rank > 0 {
            bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        }
        let mut session = bank.session_as(&role);
        for (needed, sql) in &calls {
            if rank >= *needed {
                session.run(sql);
            } else {
                refused_with_code_only(&mut session, sql, "42501");
            }
        }
    }
}
