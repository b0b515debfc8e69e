//! Interest: every day once, every fraction kept, whoever calls and however often. What the extension accrued is held
//! against an oracle that works it out from the postings alone.

use neobank_sessions::*;

/// Units of accrual in one unit of currency.
const UNIT: &str = "26280000000000000";

pub fn rule(bank: &mut Bank, kind: &str, percent: &str, day_count: &str, days_ago: i32, more: &str) {
    bank.db.run(&format!(
        "select txn_processing.set_interest_rule('{kind}', 'USD', {percent}, '{day_count}', {}{more})",
        ago(days_ago)
    ));
}

pub fn ago(days: i32) -> String {
    format!("(now() at time zone 'UTC')::date - {days}")
}

/// Noon of a day that many days ago.
pub fn noon(days: i32) -> String {
    format!("(({})::timestamp + interval '12 hours') at time zone 'UTC'", ago(days))
}

pub fn deposit(bank: &mut Bank, account: Uuid, amount: &str, days: i32) {
    bank.db.run(&format!("select txn_processing.deposit('{account}', {amount}, effective_at => {})", noon(days)));
}

pub fn accrue(session: &mut Client, days_ago: i32, chunk: i32) -> i64 {
    let sql = format!("select accounts, done from txn_processing.accrue_interest({}, {chunk})", ago(days_ago));
    let mut accounts = 0;
    for _ in 0..10_000 {
        let line = session.one(&sql);
        let (count, done) = line.split_once('|').expect("two columns");
        accounts += count.parse::<i64>().expect("a count");
        if done == "t" {
            return accounts;
        }
    }
    panic!("the run does not end");
}

/// Accounts posted and refused.
pub fn capitalise(session: &mut Client, days_ago: i32, chunk: i32) -> (i64, i64) {
    let sql =
        format!("select posted, refused, done from txn_processing.capitalise_interest({}, {chunk})", ago(days_ago));
    let (mut posted, mut refused) = (0, 0);
    for _ in 0..10_000 {
        let line = session.one(&sql);
        let parts: Vec<&str> = line.split('|').collect();
        posted += parts[0].parse::<i64>().expect("a count");
        refused += parts[1].parse::<i64>().expect("a count");
        if parts[2] == "t" {
            return (posted, refused);
        }
    }
    panic!("the run does not end");
}

/// Account-days whose accruals are not what the postings say, by arithmetic of its own: exact, in units of accrual.
pub fn wrong_days(bank: &mut Bank, zone: &str) -> Vec<String> {
    bank.db.lines(&format!(
        "with days as (
             select p.account_id, a.normal_side, a.account_type, a.currency_code, a.tenant_no, d::date as day
             from txn_processing.interest_positions p join banking.accounts a using (account_id)
             cross join generate_series(p.first_day, p.accrued_through, interval '1 day') d
         ), balances as (
             select x.*,
                    (select coalesce(sum(case when (m.debit_account = x.account_id) = (x.normal_side = 'D')
                                         then m.amount else -m.amount end), 0)
                     from txn_processing.movements m
                     where x.account_id in (m.debit_account, m.credit_account)
                       and coalesce(m.effective_at, m.created_at) < (x.day + 1)::timestamp at time zone '{zone}') as balance,
                    coalesce(
                        (select case when r.annual_percent is not null then r.rule_id end
                         from txn_processing.interest_rules r where r.account_id = x.account_id and r.valid_from <= x.day
                         order by r.valid_from desc, r.rule_id desc limit 1),
                        (select r.rule_id from txn_processing.interest_rules r
                         where r.account_id is null and r.account_type = x.account_type and r.tenant_no = x.tenant_no
                           and r.currency_code = x.currency_code and r.valid_from <= x.day
                         order by r.valid_from desc, r.rule_id desc limit 1)) as rule_id
             from days x
         ), owed as (
             select b.account_id, b.day, b.balance,
                    10000000000::numeric * case r.day_count when 'act/365' then 72 when 'act/360' then 73
                         else 73 * (360 * extract(year from b.day + 1) + 30 * extract(month from b.day + 1)
                                    + least(extract(day from b.day + 1), 30) - 360 * extract(year from b.day)
                                    - 30 * extract(month from b.day) - least(extract(day from b.day), 30)) end
                    * case when b.balance < 0 then b.balance * r.debit_percent
                         else (select coalesce(sum((least(b.balance, t.high) - t.low) * t.percent), 0)
                               from (select low, percent, lead(low, 1, 'infinity') over (order by low) as high
                                     from (select 0::numeric as low, r.annual_percent as percent
                                           union all select i.from_balance, i.annual_percent
                                           from txn_processing.interest_tiers i where i.rule_id = r.rule_id) u) t
                               where t.low < b.balance) end as units
             from balances b left join txn_processing.interest_rules r using (rule_id)
         ), accrued as (
             select account_id, accrual_date as day, sum(units) as units from txn_processing.interest_accruals group by 1, 2
         )
         select account_id, day, o.balance, o.units, a.units from owed o full join accrued a using (account_id, day)
         where coalesce(o.units, 0) <> coalesce(a.units, 0) order by 1, 2 limit 5"
    ))
}

/// Accounts whose interest was lost or made: what was accrued is what was posted and what is still open.
pub fn leaks(bank: &mut Bank) -> Vec<String> {
    bank.db.lines(&format!(
        "select p.account_id, p.units, a.units, c.posted from txn_processing.interest_positions p
         cross join lateral (select coalesce(sum(units), 0) as units from txn_processing.interest_accruals a
                             where a.account_id = p.account_id) a
         cross join lateral (select coalesce(sum(amount), 0) as posted, count(*) as times
                             from txn_processing.interest_capitalisations c where c.account_id = p.account_id) c
         cross join lateral (select count(*) as times from txn_processing.movements m
                             where m.transaction_type = 'interest' and m.description ~ '^Interest to '
                               and p.account_id in (m.debit_account, m.credit_account)) m
         where a.units <> c.posted * {UNIT} + p.units or c.times <> m.times
         union all
         select account_id, units_before, units_after, amount from txn_processing.interest_capitalisations
         where units_before <> amount * {UNIT} + units_after or abs(units_after) * 2 > {UNIT} / 100"
    ))
}

pub fn sound(bank: &mut Bank) {
    assert_eq!(wrong_days(bank, "UTC"), [""; 0]);
    assert_eq!(leaks(bank), [""; 0]);
    audit(&mut bank.db);
}

/// Accounts of all sorts with postings over forty days, and rules that change meanwhile.
pub fn history(seed: u64, accounts: usize) -> (Bank, Vec<Uuid>) {
    let mut bank = Bank::new();
    let mut dice = Dice(seed);
    rule(&mut bank, "savings", "4.25", "act/365", 60, ", 0, array[1000, 2500.5], array[1.5, 0.125]");
    rule(&mut bank, "checking", "0.333333", "act/360", 60, ", 11.9");
    rule(&mut bank, "checking", "-0.5", "30/360", 17, ", 12");
    rule(&mut bank, "loan", "7.77", "30/360", 30, "");
    let mut all = Vec::new();
    for n in 0..accounts {
        let kind = ["savings", "checking", "loan", "checking"][n % 4];
        let account = bank.account_with(kind, "USD", "0", if kind == "loan" { "100000" } else { "5000" });
        if n % 5 == 3 {
            bank.mode(account, "slotted");
        }
        let mut days = 40;
        while days > 0 {
            let amount = format!("{}.{:02}", dice.below(4_000) + 1, dice.below(100));
            let kind = ["deposit", "withdraw"][usize::from(kind == "loan" || dice.below(3) == 0)];
            let at = noon(days);
            let sql = format!("select txn_processing.{kind}('{account}', {amount}, effective_at => {at})");
            // What the limit refuses is no posting.
            let _ = bank.db.try_lines(&sql);
            days -= 1 + dice.below(9) as i32;
        }
        if n % 7 == 4 {
            bank.mode(account, if n % 5 == 3 { "exclusive" } else { "slotted" });
        }
        all.push(account);
    }
    bank.db.run(&format!(
        "select txn_processing.set_account_interest_rule('{}', 9, 'act/365', {});
         select txn_processing.end_account_interest_rule('{}', {})",
        all[1],
        ago(20),
        all[1],
        ago(10)
    ));
    (bank, all)
}

#[test]
fn ten_days_at_five_percent_are_accrued_and_posted_once() {
    let mut bank = Bank::new();
    rule(&mut bank, "savings", "5", "act/365", 20, "");
    rule(&mut bank, "loan", "8", "act/360", 20, "");
    let savings = bank.account_with("savings", "USD", "0", "0");
    let loan = bank.account_with("loan", "USD", "0", "5000");
    deposit(&mut bank, savings, "10000", 10);
    bank.db.run(&format!("select txn_processing.withdraw('{loan}', 1000, effective_at => {})", noon(10)));
    assert_eq!(accrue(&mut bank.db, 1, 10_000), 20);
    assert_eq!(accrue(&mut bank.db, 1, 10_000), 0);
    let accrued =
        |account| format!("select accrued from txn_processing.interest_accrued where account_id = '{account}'");
    assert_eq!(bank.db.one(&accrued(savings)), "13.6986301370");
    assert_eq!(bank.db.one(&accrued(loan)), "2.2222222222");
    assert_eq!(capitalise(&mut bank.db, 1, 10_000), (2, 0));
    assert_eq!(capitalise(&mut bank.db, 1, 10_000), (0, 0));
    assert_eq!(bank.db.balance(savings), dec("10013.70"));
    assert_eq!(bank.db.balance(loan), dec("1002.22"));
    let (expense, income) = (bank.internal("interest_expense", "USD"), bank.internal("interest_income", "USD"));
    assert_eq!(bank.db.balance(expense), dec("13.70"));
    assert_eq!(bank.db.balance(income), dec("2.22"));
    assert_eq!(bank.db.one(&accrued(savings)), "-0.0013698630");
    sound(&mut bank);
}

#[test]
fn accruals_are_what_the_postings_say_whatever_the_chunk() {
    for (seed, chunk) in [(1, 1), (2, 7), (3, 10_000)] {
        let (mut bank, accounts) = history(seed, 12);
        for days in [31, 12, 1] {
            accrue(&mut bank.db, days, chunk);
            assert_eq!(capitalise(&mut bank.db, days, chunk.max(2)).1, 0, "{seed}");
        }
        let rows = bank.db.count("select count(*) from txn_processing.interest_accruals");
        assert!(rows > 200, "{rows}");
        let corrected = "select count(*) from txn_processing.interest_accruals where revision > 0";
        assert_eq!(bank.db.count(corrected), 0, "interest counts from the end of its day, which no accrual had passed");
        assert_eq!(accounts.len(), 12);
        sound(&mut bank);
    }
}

#[test]
fn a_posting_that_comes_late_changes_the_days_it_counts_for() {
    let (mut bank, accounts) = history(4, 5);
    let plain = bank.account_with("savings", "USD", "1000", "0");
    recorded_at(&mut bank, plain, "1000", 9);
    accrue(&mut bank.db, 4, 100);
    for (n, account) in accounts.iter().enumerate() {
        deposit(&mut bank, *account, "123.45", 6 + n as i32);
    }
    // One is under way while the day is accrued, and is there the next time.
    let mut late = bank.session();
    late.run(&format!("begin; select txn_processing.deposit('{}', 77, effective_at => {})", accounts[0], noon(9)));
    accrue(&mut bank.db, 3, 100);
    assert_eq!(wrong_days(&mut bank, "UTC"), [""; 0]);
    late.run("commit");
    accrue(&mut bank.db, 2, 100);
    assert_eq!(wrong_days(&mut bank, "UTC"), [""; 0]);
    // A posting that was recorded before the day's end, and committed after the day was accrued.
    bank.db.run(&format!("select txn_processing.deposit('{plain}', 55)"));
    recorded_at(&mut bank, plain, "55", 2);
    assert_eq!(wrong_days(&mut bank, "UTC").len(), 1);
    accrue(&mut bank.db, 1, 100);
    assert_eq!(wrong_days(&mut bank, "UTC"), [""; 0]);
    assert_eq!(leaks(&mut bank), [""; 0]);
    let corrected = format!(
        "select accrual_date = {}, revision from txn_processing.interest_accruals where revision > 0 and account_id = '{plain}'",
        ago(2)
    );
    assert_eq!(bank.db.lines(&corrected), ["t|1"]);
}

/// As if the account's posting of that amount had been recorded that many days ago.
fn recorded_at(bank: &mut Bank, account: Uuid, amount: &str, days: i32) {
    let at = noon(days);
    bank.db.run(&format!(
        "set neobank.ledger_guard = off;
         update txn_processing.movements set created_at = {at} where credit_account = '{account}' and amount = {amount};
         update banking.accounts set created_at = least(created_at, {at}), updated_at = {at} where account_id = '{account}';
         reset neobank.ledger_guard"
    ));
}

#[test]
fn a_run_days_late_posts_what_one_in_time_would_have() {
    let mut bank = Bank::new();
    rule(&mut bank, "savings", "36.5", "act/365", 20, "");
    let [late, punctual] = ["0"; 2].map(|opening| bank.account_with("savings", "USD", opening, "0"));
    for account in [late, punctual] {
        deposit(&mut bank, account, "1000", 10);
    }
    // 0.1 % a day: the first five days earn 5.00, and from then on 1.005 a day.
    bank.db.run(&format!("select txn_processing.settle_interest('{punctual}', {})", ago(6)));
    accrue(&mut bank.db, 2, 100);
    assert_eq!(capitalise(&mut bank.db, 6, 100), (1, 0), "the other is posted already");
    let posted = "select distinct amount, units_after from txn_processing.interest_capitalisations";
    assert_eq!(bank.db.one(posted), "5.00|0");
    accrue(&mut bank.db, 1, 100);
    assert_eq!(capitalise(&mut bank.db, 1, 100), (2, 0));
    assert_eq!(bank.db.balance(late), bank.db.balance(punctual));
    assert_eq!(bank.db.balance(late), dec("1010.02"), "1005 + 5 * 1.005 = 1010.025, to the even cent");
    sound(&mut bank);
}

#[test]
fn what_cannot_be_posted_stays_accrued_and_is_posted_later() {
    let mut bank = Bank::new();
    rule(&mut bank, "savings", "10", "act/365", 20, "");
    let [open, frozen, closing] = ["0"; 3].map(|opening| bank.account_with("savings", "USD", opening, "0"));
    for account in [open, frozen, closing] {
        deposit(&mut bank, account, "3650", 10);
    }
    bank.status(frozen, "frozen");
    accrue(&mut bank.db, 1, 100);
    // Before an account is closed, its interest is paid out, what was backdated into accrued days included: 10 + 3.
    deposit(&mut bank, closing, "3650", 3);
    let settle = format!("select txn_processing.settle_interest('{closing}', {})", ago(1));
    assert!(!bank.db.one(&settle).is_empty());
    assert_eq!(bank.db.one(&settle), "", "there is nothing more");
    bank.db.run(&format!("select banking.close_account('{closing}', '{open}')"));
    assert_eq!(bank.db.balance(open), dec("10963"));
    assert_eq!(capitalise(&mut bank.db, 1, 1), (1, 1));
    assert_eq!(
        bank.db.lines("select account_id, sqlstate, code, amount from txn_processing.run_refusals"),
        [format!("{frozen}|NB003|account_not_active|10.00")]
    );
    refused(&mut bank.db, &format!("select txn_processing.settle_interest('{frozen}', {})", ago(1)), "NB003");
    sound(&mut bank);
    bank.status(frozen, "active");
    assert_eq!(capitalise(&mut bank.db, 1, 10), (1, 0));
    assert_eq!(bank.db.balance(frozen), dec("3660"));
    assert_eq!(bank.db.count("select refused from txn_processing.daily_runs where run_kind ~ 'capital'"), 1);
    sound(&mut bank);
}

#[test]
fn a_business_day_ends_at_the_banks_own_midnight() {
    let mut bank = Bank::new();
    bank.db.run("set neobank.business_time_zone = 'Asia/Tokyo'");
    rule(&mut bank, "savings", "5", "act/365", 20, "");
    let account = bank.account_with("savings", "USD", "0", "0");
    // 20:00 UTC is the next day's morning in Tokyo.
    bank.db.run(&format!(
        "select txn_processing.deposit('{account}', 1000, effective_at => {} + interval '8 hours')",
        noon(10)
    ));
    accrue(&mut bank.db, 3, 100);
    assert_eq!(wrong_days(&mut bank, "Asia/Tokyo"), [""; 0]);
    let first =
        format!("select accrual_date = {} from txn_processing.interest_accruals order by 1 desc limit 1", ago(9));
    assert_eq!(bank.db.one(&first), "t");
    assert_eq!(bank.db.count("select count(*) from txn_processing.interest_accruals"), 7);
}

#[test]
fn tenants_have_rules_and_runs_of_their_own() {
    let mut bank = Bank::new();
    let tenant = bank.db.id("select banking.create_tenant('Branch')");
    let customer = bank.customer_of(&format!("'{tenant}'"));
    let theirs = bank.db.id(&format!("select banking.open_account('{customer}', 'savings', tenant => '{tenant}')"));
    let ours = bank.account_with("savings", "USD", "0", "0");
    for account in [ours, theirs] {
        deposit(&mut bank, account, "1000", 5);
    }
    rule(&mut bank, "savings", "36.5", "act/365", 20, &format!(", tenant => '{tenant}'"));
    assert_eq!(accrue(&mut bank.db, 1, 100), 0, "the bank itself has no rule");
    for call in ["accrue_interest", "capitalise_interest"] {
        bank.db.run(&format!("select txn_processing.{call}({}, tenant => '{tenant}')", ago(1)));
    }
    assert_eq!(bank.db.balance(theirs), dec("1005"));
    assert_eq!(bank.db.balance(ours), dec("1000"));
    let astray = format!("select txn_processing.set_account_interest_rule('{theirs}', 1, 'act/365', {})", ago(0));
    refused(&mut bank.db, &astray, "NB013");
    refused(&mut bank.db, &format!("select txn_processing.settle_interest('{theirs}', {})", ago(1)), "NB013");
    sound(&mut bank);
}
