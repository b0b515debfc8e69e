//! A real bank's transactions as its own statements, held against their replay in the ledger.

use crate::berka::{data, load, replay};
use neobank_sessions::*;
use postgres::Client;

/// A line of JSON per transaction, signed as the customer's balance changes, and the bank's own balance after it.
const LINES: &str = "create temp table line as \
    select seq, account, booked_on, case when transaction_type in ('deposit', 'interest') then amount else -amount end as amount, \
           balance, bank_transaction_id::text as reference from booking";

/// One statement per account and month with bookings, each up to the day before the next: opening and closing
/// balances are the bank's.
const IMPORT: &str = "create temp table taken as \
    with months as ( \
        select account, date_trunc('month', booked_on)::date as month, \
               (array_agg(balance - amount order by seq))[1] as opening, \
               (array_agg(balance order by seq desc))[1] as closing, \
               jsonb_agg(jsonb_build_object('line_ref', seq::text, 'booked_on', booked_on, 'amount', amount, \
                                            'reference', reference) order by seq) as lines \
        from line group by 1, 2), \
    periods as (select *, coalesce(lead(month) over (partition by account order by month) - 1, date '1999-12-31') as last \
                from months) \
    select account, month, txn_processing.import_external_statement('the bank', account || '/' || month, k.account_id, \
           'CZK', opening, closing, lines, month, last) as statement \
    from periods join known k using (account) order by account, month";

fn ready(bank: &mut Bank, bytes: &[u8]) -> usize {
    let rows = load(&mut bank.db, bytes, "balance numeric,");
    replay(&mut bank.db, "case account when 5868 then 1000000 else 0 end");
    bank.db.run(LINES);
    rows
}

fn breaks(db: &mut Client) -> Vec<String> {
    db.lines(
        "select b.kind, b.amount, b.difference, b.reference from taken t \
         cross join lateral txn_processing.reconciliation_breaks(t.statement) b order by t.account, t.month, b.kind, b.reference",
    )
}

#[test]
fn every_line_of_the_bank_finds_its_posting_and_nothing_is_left() {
    let Some(bytes) = data("exact.csv") else {
        return;
    };
    let mut bank = Bank::new();
    let rows = ready(&mut bank, &bytes);
    bank.db.run(IMPORT);
    let kept = "select count(*) filter (where continuity = 'gap'), count(*) filter (where continuity = 'first') \
                = (select count(*) from known) from txn_processing.external_statements";
    assert_eq!(bank.db.one(kept), "0|t", "the bank's balances go on from month to month");
    let matched = "select sum(m.matches), sum(m.open_lines) from taken t \
                   cross join lateral txn_processing.match_external_statement(t.statement) m";
    assert_eq!(bank.db.one(matched), format!("{rows}|0"));
    let kinds = "select distinct kind, pass, difference from txn_processing.reconciliation_matches";
    assert_eq!(bank.db.one(kinds), "1:1|reference|0.00");
    assert_eq!(breaks(&mut bank.db), [""; 0]);
    let even = "select bool_and(s.difference = 0 and s.unexplained = 0) from taken t \
                cross join lateral txn_processing.reconciliation_summary(t.statement) s";
    assert_eq!(bank.db.one(even), "t");
    let right = "select count(*) from booking b join txn_processing.external_lines l on l.reference = b.bank_transaction_id::text \
                 join txn_processing.reconciliation_match_lines x using (line_id) \
                 join txn_processing.reconciliation_match_postings p using (match_id) where p.transaction_id = b.posted";
    assert_eq!(bank.db.count(right), rows as i64, "each its own");
    audit(&mut bank.db);
}

#[test]
fn without_references_amount_and_date_find_all_that_they_can_tell_apart() {
    let Some(bytes) = data("exact.csv") else {
        return;
    };
    let mut bank = Bank::new();
    ready(&mut bank, &bytes);
    bank.db.run("update line set reference = null");
    bank.db.run(IMPORT);
    bank.db.run("select * from taken t cross join lateral txn_processing.match_external_statement(t.statement) m");
    let twins = "from (select account, booked_on, amount from line group by 1, 2, 3 having count(*) > 1) t \
                 join line using (account, booked_on, amount)";
    let open = bank.db.count(
        "select coalesce(sum(open_lines), 0) from taken t cross join lateral \
                              txn_processing.reconciliation_summary(t.statement)",
    );
    assert_eq!(open, bank.db.count(&format!("select count(*) {twins}")), "only twins stay open");
    let wrong = "select count(*) from txn_processing.external_lines l join booking b on b.seq = l.line_ref::int \
                 join txn_processing.reconciliation_match_lines x using (line_id) \
                 join txn_processing.reconciliation_match_postings p using (match_id) \
                 join txn_processing.movements m using (transaction_id) \
                 where m.amount <> b.amount or m.effective_at <> b.booked_on";
    assert_eq!(bank.db.count(wrong), 0);
}

#[test]
fn what_is_dropped_or_altered_is_what_breaks() {
    let Some(bytes) = data("exact.csv") else {
        return;
    };
    let mut bank = Bank::new();
    ready(&mut bank, &bytes);
    // The account with the most lines, as one statement over all its years.
    bank.db.run(
        "delete from line where account <> (select account from line group by 1 order by count(*) desc, 1 limit 1); \
         create temp table was as select row_number() over (order by seq) as n, * from line",
    );
    let lines = bank.db.count("select count(*) from was");
    bank.db.run("delete from line where seq in (select seq from was where n in (10, 50, 70))");
    bank.db.run("update line set amount = amount + 0.10 where seq in (select seq from was where n in (20, 60))");
    bank.db.run("insert into line select 1000000, account, booked_on, 12345.67, 0, 'nobody' from was where n = 30");
    bank.db.run(
        "create temp table taken as select account, null::date as month, \
         txn_processing.import_external_statement('the bank', 'all', k.account_id, 'CZK', 0, sum(amount), \
             jsonb_agg(jsonb_build_object('booked_on', booked_on, 'amount', amount, 'reference', reference) order by seq), \
             date '1990-01-01', date '1999-12-31') as statement \
         from line join known k using (account) group by account, k.account_id",
    );
    let matched = "select m.matches, m.open_lines from taken t \
                   cross join lateral txn_processing.match_external_statement(t.statement) m";
    assert_eq!(bank.db.one(matched), format!("{}|3", lines - 5));
    let expected = bank.db.lines(
        "select kind, amount, difference, reference from ( \
             select 'posting_without_line' as kind, amount, amount as difference, reference from was where n in (10, 50, 70, 20, 60) \
             union all select 'line_without_posting', amount + 0.10, -(amount + 0.10), reference from was where n in (20, 60) \
             union all select 'line_without_posting', 12345.67, -12345.67, 'nobody') e order by kind, reference",
    );
    assert_eq!(breaks(&mut bank.db), expected);
    bank.db.run("select txn_processing.set_reconciliation_rule('the bank', 1, amount_tolerance => 0.10)");
    assert_eq!(bank.db.one(matched), "2|1", "the two that are ten hellers off");
    let off = "select kind, amount from taken t cross join lateral txn_processing.reconciliation_breaks(t.statement) \
               where kind = 'amount_difference'";
    assert_eq!(bank.db.lines(off), ["amount_difference|-0.10", "amount_difference|-0.10"]);
    let explained = "select s.unexplained, s.difference = (select sum(b.difference) from \
                     txn_processing.reconciliation_breaks(t.statement) b) from taken t \
                     cross join lateral txn_processing.reconciliation_summary(t.statement) s";
    assert_eq!(bank.db.one(explained), "0.00|t");
    audit(&mut bank.db);
}
