//! Balances of the past and statements of an account that went from one balance to slots and back: its postings are in
//! many chains, and a time tells which of them held the balance.

use neobank_sessions::*;

/// Posts on the account, by `n` in several ways, some of it backdated.
fn post(bank: &mut Bank, account: Uuid, other: Uuid, n: usize) {
    let call = match n % 7 {
        0 => format!("transfer('{other}', '{account}', {n}.25)"),
        1 => format!("transfer('{account}', '{other}', 1.10)"),
        2 => format!("deposit('{account}', 3, effective_at => now() - interval '{n} minutes')"),
        3 => format!("withdraw('{account}', 1, effective_at => now() - interval '{n} hours')"),
        4 => format!("transfer('{other}', '{account}', 2, effective_at => clock_timestamp() - interval '{n} ms')"),
        5 => format!("charge_fee('{account}', 0.10)"),
        _ => format!("adjust('{account}', -0.01, 'why', effective_at => clock_timestamp() - interval '{n} ms')"),
    };
    bank.db.run(&format!("select txn_processing.{call}"));
}

/// An account that was exclusive, slotted, exclusive and slotted, with postings in each era and on many slots; and the
/// one it did business with, which was slotted throughout.
fn with_a_past() -> (Bank, Uuid, Uuid) {
    let mut bank = Bank::new();
    bank.db.run("set timezone = 'UTC'");
    let account = bank.account("100");
    let other = bank.slotted("checking", "1000", "0");
    bank.grow(other, 3);
    let mut n = 0;
    for (mode, slots) in
        [("exclusive", 0), ("slotted", 4), ("exclusive", 0), ("slotted", 3), ("exclusive", 0), ("slotted", 2)]
    {
        bank.mode(account, mode);
        bank.grow(account, slots);
        for round in 0..8 {
            // With the first slots held, a credit goes to one behind them.
            let mut holder = bank.session();
            holder.run(&format!(
                "begin; select from banking.account_slots where account_id = '{account}' and slot_no <= {} for no key update",
                if [0, 4].contains(&(n % 7)) && slots > 0 { round % slots } else { 0 }
            ));
            post(&mut bank, account, other, n);
            n += 1;
        }
    }
    (bank, account, other)
}

/// Ours: every leg of the account up to the instant, by effective time.
fn by_hand(bank: &mut Bank, account: Uuid, at: &str) -> Decimal {
    bank.db.money(&format!(
        "select coalesce(sum(case when (m.credit_account = a.account_id) = (a.normal_side = 'C') \
         then m.amount else -m.amount end), 0) \
         from banking.accounts a left join txn_processing.movements m \
         on a.account_id in (m.debit_account, m.credit_account) \
         and coalesce(m.effective_at, m.created_at) <= {at} where a.account_id = '{account}'"
    ))
}

/// Every moment at which something changed for the account, and the ones just beside it.
fn instants(bank: &mut Bank, account: Uuid) -> Vec<String> {
    bank.db.lines(&format!(
        "with moments as ( \
           select created_at as at from txn_processing.movements where '{account}' in (debit_account, credit_account) \
           union select effective_at from txn_processing.movements where '{account}' in (debit_account, credit_account) \
           union select changed_at from banking.balance_mode_changes where account_id = '{account}' \
           union select now() union select now() - interval '30 days') \
         select distinct quote_literal(at + step) || '::timestamptz' from moments, \
           unnest('{{-1 microsecond, 0, 1 microsecond}}'::interval[]) step where at is not null"
    ))
}

fn balances_of_all_instants(bank: &mut Bank, account: Uuid) {
    let instants = instants(bank, account);
    assert!(instants.len() > 50, "{}", instants.len());
    for at in instants {
        let said = bank.db.money(&format!("select txn_processing.balance_as_of('{account}', {at})"));
        assert_eq!(said, by_hand(bank, account, &at), "{account} {at}");
    }
    let now = bank.db.balance(account);
    assert_eq!(bank.db.money(&format!("select txn_processing.balance_as_of('{account}', clock_timestamp())")), now);
}

#[test]
fn the_balance_at_a_time_is_the_replay_until_then_whatever_the_modes_were() {
    let (mut bank, account, other) = with_a_past();
    audit(&mut bank.db);
    let chains = format!(
        "select count(distinct credit_sequence >> 48) from txn_processing.movements where credit_account = '{account}'"
    );
    assert!(bank.db.count(&chains) >= 4, "the row and several slots");
    balances_of_all_instants(&mut bank, account);
    balances_of_all_instants(&mut bank, other);
    // Money has its decimals at any time, also before there was any.
    let long_ago = format!("select txn_processing.balance_as_of('{account}', now() - interval '10 years')");
    assert_eq!(bank.db.one(&long_ago), "0.00");
}

#[test]
fn the_balance_at_a_time_holds_for_the_banks_own_accounts() {
    // They were slotted before any switch is on record.
    let (mut bank, account, _) = with_a_past();
    let cash = bank.internal("cash", "USD");
    for (round, mode) in ["exclusive", "slotted", "exclusive"].iter().enumerate() {
        bank.mode(cash, mode);
        for n in 0..6 {
            let back = if n % 2 == 0 { format!(", effective_at => now() - interval '{n} ms'") } else { String::new() };
            bank.db.run(&format!("select txn_processing.deposit('{account}', {}{back})", round + 1));
        }
    }
    balances_of_all_instants(&mut bank, cash);
    let cash_at = "select min(changed_at) from banking.balance_mode_changes where account_id =";
    let at =
        bank.db.one(&format!("select quote_literal(({cash_at} '{cash}')) || '::timestamptz - interval ''1 second'''"));
    for side in [account, cash] {
        let said = bank.db.money(&format!("select txn_processing.balance_as_of('{side}', {at})"));
        assert_eq!(said, by_hand(&mut bank, side, &at));
    }
    let uneven = "select count(*) from txn_processing.daily_reconciliation() where status <> 'Balanced'";
    assert_eq!(bank.db.count(uneven), 0);
    audit(&mut bank.db);
}

/// The sequences of all pages of the statement.
fn pages(bank: &mut Bank, account: Uuid, from: &str, to: &str, size: usize) -> Vec<String> {
    let (mut seen, mut before) = (Vec::new(), "null".to_owned());
    loop {
        let page = bank.db.lines(&format!(
            "select sequence from txn_processing.statement('{account}', {from}, {to}, {size}, {before})"
        ));
        assert!(page.len() <= size && seen.len() < 10_000, "{page:?}");
        let Some(last) = page.last() else { return seen };
        before = last.clone();
        // Only the last page is short.
        assert!(seen.len() % size == 0, "a short page in the middle");
        seen.extend(page);
    }
}

/// The same from the ledger, newest first.
fn entries(bank: &mut Bank, account: Uuid, from: &str, to: &str) -> Vec<String> {
    bank.db.lines(&format!(
        "select seq from (select m.created_at, coalesce(m.effective_at, m.created_at) as effective, \
           case m.debit_account when '{account}' then debit_sequence else credit_sequence end as seq \
           from txn_processing.movements m where '{account}' in (debit_account, credit_account)) x \
         where effective >= coalesce({from}, '-infinity') and effective < coalesce({to}, 'infinity') \
         order by created_at desc, seq desc"
    ))
}

#[test]
fn pages_of_a_slotted_accounts_statement_cover_every_posting_once_newest_first() {
    let (mut bank, account, other) = with_a_past();
    for side in [account, other] {
        let wanted = entries(&mut bank, side, "null::timestamptz", "null::timestamptz");
        assert!(wanted.len() > 20, "{}", wanted.len());
        for size in [1, 3, 7, wanted.len(), 1_000] {
            assert_eq!(pages(&mut bank, side, "null", "null", size), wanted, "pages of {size}");
        }
    }
}

#[test]
fn postings_of_the_same_microsecond_on_several_slots_are_neither_skipped_nor_shown_twice() {
    let (mut bank, account, _) = with_a_past();
    // One time for all of the last era, as if the clock stood still.
    bank.db.run("set neobank.ledger_guard = off");
    bank.db.run(&format!(
        "with last as (select max(changed_at) as at from banking.balance_mode_changes where account_id = '{account}') \
         update txn_processing.movements set created_at = at, effective_at = null from last \
         where '{account}' in (debit_account, credit_account) and created_at >= at"
    ));
    bank.db.run("reset neobank.ledger_guard");
    let alike = format!(
        "select count(*) from txn_processing.movements \
         where '{account}' in (debit_account, credit_account) group by created_at order by 1 desc limit 1"
    );
    assert!(bank.db.count(&alike) > 6);
    let wanted = entries(&mut bank, account, "null::timestamptz", "null::timestamptz");
    for size in [1, 2, 3, 5] {
        assert_eq!(pages(&mut bank, account, "null", "null", size), wanted, "pages of {size}");
    }
}

#[test]
fn a_period_of_a_slotted_accounts_statement_has_what_was_effective_in_it() {
    let (mut bank, account, _) = with_a_past();
    let moments = instants(&mut bank, account);
    let mut dice = Dice(5);
    let mut found = 0;
    for _ in 0..40 {
        let (from, to) = (&moments[dice.below(moments.len())], &moments[dice.below(moments.len())]);
        for (from, to) in [(from.as_str(), to.as_str()), (from, "null::timestamptz"), ("null::timestamptz", to)] {
            let wanted = entries(&mut bank, account, from, to);
            found += wanted.len();
            assert_eq!(pages(&mut bank, account, from, to, 3), wanted, "{from} to {to}");
        }
    }
    assert!(found > 500, "{found}");
}

#[test]
fn a_slotted_accounts_statement_says_what_the_ledger_says() {
    let (mut bank, account, _) = with_a_past();
    let columns = "sequence, transaction_id, transaction_type, entry_type::text, amount, currency_code, running_balance, \
                   counterparty, reference_number, description, metadata, status, effective_at, created_at";
    let statement = format!("select {columns} from txn_processing.statement('{account}', max_rows => 1000) order by 1");
    let ledger = format!("select {columns} from txn_processing.ledger where account_id = '{account}' order by 1");
    assert_eq!(bank.db.lines(&statement), bank.db.lines(&ledger));
    // A balance is told where one row had all of it, and it is the replay of what went before.
    let told = format!(
        "select count(running_balance) > 10, count(*) - count(running_balance) > 10, \
           bool_and((running_balance is not null) = (sequence < 1::bigint << 48)), \
           bool_and(coalesce(running_balance, replayed) = replayed) \
         from (select *, sum(case entry_type when 'credit' then amount else -amount end) \
                 over (order by created_at, sequence) as replayed \
               from txn_processing.statement('{account}', max_rows => 1000)) x"
    );
    assert_eq!(bank.db.one(&told), "t|t|t|t");
}

#[test]
fn a_cursor_that_is_no_posting_of_the_account_is_no_way_to_anything_else() {
    let (mut bank, account, other) = with_a_past();
    let newest =
        bank.db.one(&format!("select max(sequence) from txn_processing.statement('{other}', max_rows => 1000)"));
    for before in ["0", "-1", "1", &newest, "281474976710656", "9223372036854775807", "-9223372036854775808"] {
        let strange = format!(
            "select count(*) from txn_processing.statement('{account}', max_rows => 1000, before_sequence => {before}) s \
             where not exists (select from txn_processing.ledger l where l.account_id = '{account}' \
                               and l.transaction_id = s.transaction_id and l.sequence = s.sequence)"
        );
        assert_eq!(bank.db.count(&strange), 0, "{before}");
    }
}
