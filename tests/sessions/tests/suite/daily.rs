//! The daily reconciliation and the trial balance: exact for any day, and not one wrong cent passes.

use neobank_sessions::*;

/// A bank with a past: backdated postings, a slotted account, switches of the mode, reversals, and an account
/// opened last.
fn bank_with_a_past() -> (Bank, Vec<Uuid>) {
    let mut bank = Bank::new();
    bank.db.run("set neobank.max_backdate_days = 36500; set timezone = 'UTC'");
    let mut accounts: Vec<Uuid> = (0..4).map(|_| bank.account("100")).collect();
    accounts.push(bank.slotted("savings", "100", "0"));
    accounts.push(bank.account_with("loan", "USD", "0", "100000"));
    bank.grow(accounts[4], 3);
    let mut dice = Dice(17);
    for n in 0..120 {
        let account = accounts[dice.below(accounts.len())];
        let (days, seconds) = (dice.below(12), dice.below(86_400));
        let at = match dice.below(3) {
            0 => "null".to_owned(),
            _ => format!("now() - interval '{days} days {seconds} seconds'"),
        };
        let amount = format!("{}.{:02}", dice.below(50), 1 + dice.below(99));
        match dice.below(4) {
            0 => bank.db.run(&format!("select txn_processing.charge_fee('{account}', {amount}, effective_at => {at})")),
            1 => bank.db.run(&format!(
                "select txn_processing.reverse(txn_processing.deposit('{account}', {amount}, effective_at => {at}), \
                 'why', effective_at => {at})"
            )),
            _ => bank.db.run(&format!("select txn_processing.deposit('{account}', {amount}, effective_at => {at})")),
        }
        if n % 30 == 7 {
            bank.mode(accounts[4], "exclusive");
            bank.mode(accounts[0], "slotted");
        }
        if n % 30 == 22 {
            bank.mode(accounts[4], "slotted");
            bank.mode(accounts[0], "exclusive");
        }
    }
    accounts.push(bank.account("5"));
    (bank, accounts)
}

#[test]
fn every_past_day_is_exact_in_every_time_zone() {
    let (mut bank, _) = bank_with_a_past();
    for zone in ["UTC", "Asia/Kathmandu", "America/New_York", "Pacific/Kiritimati"] {
        bank.db.run(&format!("set timezone = '{zone}'"));
        for back in 0..15 {
            // Ours: each account's postings, added up one by one, to the midnight that ends the day in the zone.
            let off = bank.db.lines(&format!(
                "select d.account_number, d.ledger_balance, d.account_balance, own.balance, d.status \
                 from txn_processing.daily_reconciliation(current_date - {back}) d \
                 join lateral (select coalesce(sum(case when (m.credit_account = a.account_id) = (a.normal_side = 'C') \
                                                   then m.amount else -m.amount end), 0) as balance \
                     from banking.accounts a left join txn_processing.movements m \
                     on a.account_id in (m.debit_account, m.credit_account) and coalesce(m.effective_at, m.created_at) \
                        < (current_date - {back} + 1)::timestamp at time zone '{zone}' \
                     where a.account_id = d.account_id) own on true \
                 where (d.ledger_balance, d.account_balance, d.difference, d.status) \
                       is distinct from (own.balance, own.balance, 0.00, 'Balanced') \
                 or d.ledger_balance <> txn_processing.balance_as_of(d.account_id, \
                    (current_date - {back} + 1)::timestamptz - interval '1 microsecond')"
            ));
            assert_eq!(off, [""; 0], "{zone}, {back} days ago");
        }
        let shown = "select (select count(*) from txn_processing.daily_reconciliation('1999-12-31')) \
                     = (select count(*) from banking.accounts)";
        assert_eq!(bank.db.one(shown), "t", "accounts are shown for days before they were opened");
    }
    let null = "select bool_and(d = e) from txn_processing.daily_reconciliation(null) d \
                join txn_processing.daily_reconciliation(current_date) e using (account_id)";
    assert_eq!(bank.db.one(null), "t", "null is today");
    audit(&mut bank.db);
}

#[test]
fn one_wrong_cent_anywhere_is_found_for_today_and_for_past_days() {
    let (mut bank, accounts) = bank_with_a_past();
    bank.db.run("set neobank.ledger_guard = off");
    let posting = bank.db.one(&format!(
        "select transaction_id from txn_processing.movements where credit_account = '{}' \
         and effective_at < now() - interval '5 days' order by 1 limit 1",
        accounts[1]
    ));
    let on = format!("where transaction_id = '{posting}'");
    let sides = format!(
        "select account_number from banking.accounts where account_id in \
         (select unnest(array[debit_account, credit_account]) from txn_processing.movements {on}) order by 1"
    );
    let sides = bank.db.lines(&sides);
    let number = |bank: &mut Bank, account: Uuid| {
        vec![bank.db.one(&format!("select account_number from banking.accounts where account_id = '{account}'"))]
    };
    let (first, last) = (accounts[0], accounts[3]);
    let moved = {
        let mut moved = number(&mut bank, accounts[1]);
        moved.extend(number(&mut bank, last));
        moved.sort();
        moved
    };
    let cash = bank.internal("cash", "USD");
    let balance = |account: Uuid, cent: &str| {
        format!("update banking.accounts set current_balance = current_balance + {cent} where account_id = '{account}'")
    };
    let corruptions: Vec<(String, Vec<String>)> = vec![
        (format!("update txn_processing.movements set amount = amount + 0.01 {on}"), sides.clone()),
        (format!("update txn_processing.movements set amount = amount - 0.01 {on}"), sides.clone()),
        (format!("delete from txn_processing.movements {on}"), sides.clone()),
        (
            format!(
                "insert into txn_processing.movements select gen_random_uuid(), debit_account, credit_account, -1, -1, \
                 created_at, tenant_no, transaction_type, leg, 0.01, debit_balance, credit_balance, currency_code, \
                 created_by, effective_at, null, null, null, null from txn_processing.movements {on}"
            ),
            sides,
        ),
        (format!("update txn_processing.movements set credit_account = '{last}', credit_sequence = -1 {on}"), moved),
        (balance(last, "0.01"), number(&mut bank, last)),
        (balance(accounts[5], "-0.01"), number(&mut bank, accounts[5])),
        (
            format!(
                "update banking.account_slots set balance = balance + 0.01 where account_id = '{cash}' and slot_no = 1"
            ),
            number(&mut bank, cash),
        ),
        (
            format!(
                "update banking.account_slots set balance = balance - 0.01 where account_id = '{}' and slot_no = 1",
                accounts[4]
            ),
            number(&mut bank, accounts[4]),
        ),
        (
            format!(
                "insert into txn_processing.movements select gen_random_uuid(), gen_random_uuid(), '{first}', -1, -1, \
                 created_at, tenant_no, transaction_type, leg, 0.01, 0, 0, currency_code, created_by, effective_at, \
                 null, null, null, null from txn_processing.movements {on}"
            ),
            {
                let mut unknown = number(&mut bank, first);
                unknown.push(String::new());
                unknown
            },
        ),
    ];
    let differing = "select count(*) from (select * from txn_processing.trial_balance() \
                     except select * from txn_processing.trial_balance(now())) d";
    assert_eq!(bank.db.count(differing), 0, "an intact ledger");
    for (corruption, mut wrong) in corruptions {
        bank.db.run(&format!("begin; {corruption}"));
        wrong.sort();
        for day in ["current_date", "current_date - 3", "current_date - 9", "'2001-01-01'"] {
            let mut found = bank.db.lines(&format!(
                "select account_number from txn_processing.daily_reconciliation({day}) where status = 'Discrepancy'"
            ));
            found.sort();
            assert_eq!(found, wrong, "{day}: {corruption}");
            let first_of_all = bank
                .db
                .lines(&format!("select status from txn_processing.daily_reconciliation({day}) limit {}", wrong.len()));
            assert!(first_of_all.iter().all(|status| status == "Discrepancy"), "{first_of_all:?}");
        }
        // A posting has two sides, so a trial balance of postings is even whatever they say; held against that of
        // the balances it shows the cent. A posting between accounts of one type moves nothing in either.
        if !corruption.contains(&last.to_string()) || !corruption.contains("credit_account = ") {
            assert!(bank.db.count(differing) > 0, "{corruption}");
        }
        bank.db.run("rollback");
    }
    audit(&mut bank.db);
}

#[test]
fn the_trial_balance_of_any_instant_is_the_sum_of_what_counted_by_then() {
    let (mut bank, _) = bank_with_a_past();
    for back in 0..14 {
        let at = format!("(now() - interval '{back} days 5 hours')");
        let off = bank.db.lines(&format!(
            "with own as ( \
                 select a.account_type, sum(greatest(net, 0)) as debits, sum(greatest(-net, 0)) as credits \
                 from banking.accounts a cross join lateral ( \
                     select coalesce(sum(case a.account_id when m.debit_account then m.amount else -m.amount end), 0) as net \
                     from txn_processing.movements m where a.account_id in (m.debit_account, m.credit_account) \
                     and coalesce(m.effective_at, m.created_at) <= {at}) n group by 1) \
             select t.account_type, t.debits, t.credits, own.debits, own.credits \
             from txn_processing.trial_balance({at}) t full join own using (account_type) \
             where (t.debits, t.credits) is distinct from (own.debits, own.credits)"
        ));
        assert_eq!(off, [""; 0], "{at}");
        let even = format!("select sum(debits) - sum(credits) from txn_processing.trial_balance({at})");
        assert_eq!(bank.db.money(&even), dec("0"), "{at}");
    }
}
