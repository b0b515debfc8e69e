//! A real bank's transactions, replayed: the balances must be that bank's own.

use neobank_sessions::*;
use postgres::Client;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// The file beside the checkout, or a visible skip.
pub fn data(file: &str) -> Option<Vec<u8>> {
    let path: PathBuf = repository_root().join("../shared/data/berka").join(file);
    match fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            skipped(&format!("replay of {file}"), &format!("{}: {error}", path.display()));
            None
        }
    }
}

/// Loads the file into a temporary table `booking`, one column per field.
pub fn load(session: &mut Client, bytes: &[u8], balance: &str) -> usize {
    session.run(&format!(
        "set timezone = 'UTC'; set synchronous_commit = off; \
         set neobank.max_backdate_days = 20000; \
         create temp table booking (seq int primary key, booked_on date, account int, \
         transaction_type text, amount numeric, {balance} bank_transaction_id bigint, \
         category text, posted uuid); \
         create temp table known (account int primary key, account_id uuid)"
    ));
    // The columns by the file's own header, so that a changed file is noticed.
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().expect("a header").iter().collect::<Vec<_>>();
    let statement = format!("copy booking ({}) from stdin (format csv, header)", header.join(", "));
    let rows = csv::Reader::from_reader(bytes).records().count();
    let mut copy = session.copy_in(&statement).expect("COPY starts");
    copy.write_all(bytes).expect("COPY takes the file");
    copy.finish().expect("COPY ends");
    rows
}

/// Opens each account, then posts all rows in the bank's order on the server.
pub fn replay(session: &mut Client, overdraft: &str) {
    session.run(&format!(
        "insert into known select account, banking.open_account(banking.create_customer( \
         'Account', account::text, account || '@example.org', '0', '1970-01-01'), 'checking', \
         'CZK', 0, {overdraft}) from (select distinct account from booking order by 1) x"
    ));
    session.run(
        "do $do$ declare r record; id uuid; begin \
         for r in select b.seq, b.booked_on::timestamptz as at, b.amount, b.transaction_type, \
             b.category, b.bank_transaction_id, k.account_id from booking b join known k using (account) order by b.seq \
         loop \
           case r.transaction_type \
           when 'deposit' then id := txn_processing.deposit(r.account_id, r.amount, 'CZK', \
               r.category, r.bank_transaction_id::text, effective_at => r.at); \
           when 'interest' then id := txn_processing.credit_interest(r.account_id, r.amount, \
               'CZK', r.category, r.bank_transaction_id::text, effective_at => r.at); \
           when 'withdrawal' then id := txn_processing.withdraw(r.account_id, r.amount, 'CZK', \
               r.category, r.bank_transaction_id::text, effective_at => r.at); \
           when 'payment' then id := txn_processing.pay(r.account_id, r.amount, 'CZK', \
               r.category, r.bank_transaction_id::text, effective_at => r.at); \
           when 'fee' then id := txn_processing.charge_fee(r.account_id, r.amount, 'CZK', \
               r.category, r.bank_transaction_id::text, effective_at => r.at); \
           end case; \
           update booking set posted = id where seq = r.seq; \
           if r.seq % 1000 = 0 then commit; end if; \
         end loop; end $do$",
    );
}

fn clean(session: &mut Client, rows: usize) {
    let posted = "select count(*) from txn_processing.movements";
    assert_eq!(session.count(posted), rows as i64);
    for at in ["null", "'1993-06-30'"] {
        let even = format!(
            "select sum(debits) = sum(credits) and sum(debits) > 0 \
             from txn_processing.trial_balance({at}) where currency_code = 'CZK'"
        );
        assert_eq!(session.one(&even), "t", "{at}");
    }
    for day in ["current_date", "'1993-06-30'", "'1992-12-31'"] {
        let verdict = format!(
            "select count(*), bool_and(status = 'Balanced') \
             from txn_processing.daily_reconciliation({day})"
        );
        let accounts = session.count("select count(*) from banking.accounts");
        assert_eq!(session.one(&verdict), format!("{accounts}|t"), "{day}");
    }
    audit(session);
}

#[test]
fn the_exact_accounts_come_out_to_the_cent() {
    let Some(bytes) = data("exact.csv") else {
        return;
    };
    let mut bank = Bank::new();
    let rows = load(&mut bank.db, &bytes, "balance numeric,");
    assert!(rows > 2_000, "{rows}");
    // One of the accounts goes below zero through a withdrawal.
    replay(&mut bank.db, "case account when 5868 then 1000000 else 0 end");
    let off = bank.db.lines(
        "select b.seq, b.balance, l.running_balance from booking b join known k using (account) \
         left join txn_processing.ledger l on l.transaction_id = b.posted \
         and l.account_id = k.account_id \
         where l.running_balance is distinct from b.balance order by b.seq limit 5",
    );
    assert_eq!(off, [""; 0], "seq, the bank's balance, ours");
    let off = bank.db.lines(
        "select k.account, a.current_balance from known k join banking.accounts a \
         using (account_id) where a.current_balance <> (select balance from booking b \
         where b.account = k.account order by seq desc limit 1)",
    );
    assert_eq!(off, [""; 0], "accounts with another balance at the end");
    let days = "from (select distinct on (account, booked_on) account, booked_on, balance \
         from booking order by account, booked_on, seq desc) d join known k using (account)";
    let off = bank.db.lines(&format!(
        "select account, booked_on, balance, ours from (select account, booked_on, balance, \
         txn_processing.balance_as_of(k.account_id, \
         (booked_on + 1)::timestamptz - interval '1 microsecond') as ours {days}) x \
         where ours <> balance limit 5"
    ));
    assert_eq!(off, [""; 0], "account, day, the bank's balance, ours");
    let compared = bank.db.count(&format!("select count(*) {days}"));
    assert!(compared > 1_000, "{compared}");
    clean(&mut bank.db, rows);
}

#[test]
fn the_whole_file_posts_with_even_books() {
    let Some(bytes) = data("bulk.csv") else {
        return;
    };
    let mut bank = Bank::new();
    let rows = load(&mut bank.db, &bytes, "");
    assert_eq!(rows, 49_102);
    replay(&mut bank.db, "1e12");
    clean(&mut bank.db, rows);
    let off = bank.db.count(
        "select count(*) from (select account, sum(case when transaction_type in \
         ('deposit', 'interest') then amount else -amount end) as total from booking group by 1) b \
         join known k using (account) join banking.accounts a using (account_id) \
         where a.current_balance <> b.total",
    );
    assert_eq!(off, 0);
}
