//! Rows of clearing items and settlements.

use super::core::Gross;
use crate::error::Error;
use crate::pg::{Arg, JsonDatum, PRESENT, Row, Session, Statement, Type};
use rust_decimal::Decimal;
use uuid::Uuid;

/// The type of the internal account that payments to other banks gather in.
pub const CLEARING: &str = "payments_clearing";
/// The type of the one that settlements are paid from and come in on.
pub const NOSTRO: &str = "nostro";

static WITH_COUNTERPARTY: Statement = Statement::new(
    c"SELECT coalesce($1, '{}') || jsonb_build_object('counterparty_bank', $2, 'counterparty_account', $3)",
    &[Type::Jsonb, Type::Text, Type::Text],
);

// A retry finds its item there: the posting's metadata names the counterparty, so it is the same one.
static RECORD: Statement = Statement::new(
    c"INSERT INTO txn_processing.clearing_items
          (transaction_id, effective_at, tenant_no, leg, amount, currency_code, direction, counterparty_bank,
           counterparty_account)
      SELECT m.transaction_id, coalesce(m.effective_at, m.created_at), m.tenant_no, m.leg, m.amount, m.currency_code,
             $2, $3, $4
      FROM txn_processing.movements m
      WHERE m.transaction_id = $1 AND m.leg = 1
      ON CONFLICT (transaction_id, leg) DO NOTHING",
    &[Type::Uuid, Type::Text, Type::Text, Type::Text],
);

static RECORD_GIVE_BACK: Statement = Statement::new(
    c"INSERT INTO txn_processing.clearing_items
          (transaction_id, effective_at, tenant_no, leg, amount, currency_code, direction, counterparty_bank,
           counterparty_account)
      SELECT m.transaction_id, coalesce(m.effective_at, m.created_at), m.tenant_no, m.leg, m.amount, m.currency_code,
             CASE c.direction WHEN 'outgoing' THEN 'incoming' ELSE 'outgoing' END, c.counterparty_bank,
             c.counterparty_account
      FROM (SELECT leg, direction, counterparty_bank, counterparty_account
            FROM txn_processing.clearing_items WHERE transaction_id = $1
            UNION ALL
            SELECT 1, CASE WHEN net > 0 THEN 'incoming' ELSE 'outgoing' END, counterparty_bank, NULL
            FROM txn_processing.settlements WHERE transaction_id = $1) c
      JOIN txn_processing.movements m ON m.transaction_id = $2 AND m.leg = c.leg
      ON CONFLICT (transaction_id, leg) DO NOTHING",
    &[Type::Uuid, Type::Uuid],
);

static ACCOUNTS: Statement = Statement::new(
    c"SELECT account_id FROM banking.accounts
      WHERE tenant_no = $1 AND currency_code = $2::char(3) AND account_type = $3 AND customer_id IS NULL",
    &[Type::Int, Type::Text, Type::Text],
);

static IS_SETTLED: Statement = Statement::new(
    c"SELECT FROM txn_processing.settlement_runs
      WHERE tenant_no = $1 AND currency_code = $2::char(3) AND settlement_date = $3",
    &[Type::Int, Type::Text, Type::Date],
);

static LAST_SETTLED: Statement = Statement::new(
    c"SELECT max(settlement_date) - '2000-01-01'::date, to_char($3, 'YYYY-MM-DD')
      FROM txn_processing.settlement_runs
      WHERE tenant_no = $1 AND currency_code = $2::char(3)",
    &[Type::Int, Type::Text, Type::Date],
);

// Each side of the account is read along its index from where the last settlement stopped, chain by chain.
static SWEEP: Statement = Statement::new(
    c"INSERT INTO txn_processing.clearing_items
          (transaction_id, effective_at, tenant_no, leg, amount, currency_code, direction, counterparty_bank)
      WITH chains AS (
          SELECT c.first_sequence, c.next_sequence
          FROM (SELECT coalesce(p.next_sequence, 0) AS first_sequence, a.version AS next_sequence
                FROM banking.accounts a
                LEFT JOIN txn_processing.clearing_positions p ON p.account_id = a.account_id AND p.chain = 0
                WHERE a.account_id = $1
                UNION ALL
                SELECT coalesce(p.next_sequence, s.slot_no::bigint << 48), s.sequence
                FROM banking.account_slots s
                LEFT JOIN txn_processing.clearing_positions p
                    ON p.account_id = s.account_id AND p.chain = s.slot_no
                WHERE s.account_id = $1) c
      )
      SELECT n.transaction_id, n.effective_at, n.tenant_no, n.leg, n.amount, n.currency_code, n.direction, ''
      FROM chains c
      CROSS JOIN LATERAL (
          SELECT m.transaction_id, coalesce(m.effective_at, m.created_at) AS effective_at, m.tenant_no, m.leg,
                 m.amount, m.currency_code, 'outgoing' AS direction
          FROM txn_processing.movements m
          WHERE m.credit_account = $1 AND m.credit_sequence >= c.first_sequence
            AND m.credit_sequence < c.next_sequence
          UNION ALL
          SELECT m.transaction_id, coalesce(m.effective_at, m.created_at), m.tenant_no, m.leg, m.amount,
                 m.currency_code, 'incoming'
          FROM txn_processing.movements m
          WHERE m.debit_account = $1 AND m.debit_sequence >= c.first_sequence
            AND m.debit_sequence < c.next_sequence
      ) n
      WHERE NOT EXISTS (SELECT FROM txn_processing.clearing_items k
                        WHERE k.transaction_id = n.transaction_id AND k.leg = n.leg)",
    &[Type::Uuid],
);

static KEEP_POSITIONS: Statement = Statement::new(
    c"INSERT INTO txn_processing.clearing_positions (account_id, chain, next_sequence)
      SELECT a.account_id, 0, a.version FROM banking.accounts a WHERE a.account_id = $1
      UNION ALL
      SELECT s.account_id, s.slot_no, s.sequence FROM banking.account_slots s WHERE s.account_id = $1
      ON CONFLICT (account_id, chain) DO UPDATE SET next_sequence = excluded.next_sequence",
    &[Type::Uuid],
);

static OPEN_TOTAL: Statement = Statement::new(
    c"SELECT coalesce(sum(CASE direction WHEN 'outgoing' THEN amount ELSE -amount END), 0)
      FROM txn_processing.clearing_items
      WHERE settlement_id IS NULL AND tenant_no = $1 AND currency_code = $2::char(3)",
    &[Type::Int, Type::Text],
);

static OPEN_BY_BANK: Statement = Statement::new(
    c"SELECT counterparty_bank, count(*),
             coalesce(sum(amount) FILTER (WHERE direction = 'outgoing'), 0),
             coalesce(sum(amount) FILTER (WHERE direction = 'incoming'), 0)
      FROM txn_processing.clearing_items
      WHERE settlement_id IS NULL AND tenant_no = $1 AND currency_code = $2::char(3) AND effective_at < $3
      GROUP BY counterparty_bank
      ORDER BY counterparty_bank",
    &[Type::Int, Type::Text, Type::Timestamp],
);

// At READ COMMITTED the lock on clearing keeps others out. A transaction with an older snapshot may not see their run:
// DO NOTHING makes that 40001, and not a unique violation.
static RECORD_RUN: Statement = Statement::new(
    c"INSERT INTO txn_processing.settlement_runs (tenant_no, currency_code, settlement_date, cut_off, settled_by)
      VALUES ($1, $2, $3, $4, $5)
      ON CONFLICT (tenant_no, currency_code, settlement_date) DO NOTHING",
    &[Type::Int, Type::Text, Type::Date, Type::Timestamp, Type::Text],
);

static RECORD_SETTLEMENT: Statement = Statement::new(
    c"INSERT INTO txn_processing.settlements
          (settlement_id, transaction_id, tenant_no, currency_code, settlement_date, counterparty_bank, payments,
           outgoing, incoming, net)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    &[
        Type::Uuid, Type::Uuid, Type::Int, Type::Text, Type::Date, Type::Text, Type::BigInt, Type::Numeric,
        Type::Numeric, Type::Numeric,
    ],
);

static CLOSE_ITEMS: Statement = Statement::new(
    c"UPDATE txn_processing.clearing_items
      SET settlement_id = $4
      WHERE settlement_id IS NULL AND tenant_no = $1 AND currency_code = $2::char(3) AND counterparty_bank = $5
        AND effective_at < $3",
    &[Type::Int, Type::Text, Type::Timestamp, Type::Uuid, Type::Text],
);

static REPORT: Statement = Statement::new(
    c"SELECT s.settlement_id, CASE s.counterparty_bank WHEN '' THEN 'unassigned' ELSE s.counterparty_bank END,
             s.payments, s.outgoing, s.incoming, s.net, s.transaction_id
      FROM txn_processing.settlements s
      WHERE s.tenant_no = $1 AND s.currency_code = $2::char(3) AND s.settlement_date = $3
      ORDER BY s.counterparty_bank = '', s.counterparty_bank",
    &[Type::Int, Type::Text, Type::Date],
);

/// The items of one counterparty that a settlement takes.
pub struct Open {
    pub bank: String,
    pub items: i64,
    pub gross: Gross,
}

/// One line of the report.
pub struct Line {
    pub settlement_id: Uuid,
    pub bank: String,
    pub payments: i64,
    pub outgoing: Decimal,
    pub incoming: Decimal,
    pub net: Decimal,
    pub transaction_id: Option<Uuid>,
}

/// What is settled together.
#[derive(Clone, Copy)]
pub struct Ledger<'a> {
    pub tenant_no: i32,
    pub currency: &'a str,
}

impl<'l> Ledger<'l> {
    /// The two parameters that all its statements begin with, and more.
    fn args<'a, const N: usize>(&self, more: [Arg<'a>; N]) -> Vec<Arg<'a>>
    where
        'l: 'a,
    {
        let mut args = Vec::with_capacity(N + 2);
        args.push(Arg::Int(Some(self.tenant_no)));
        args.push(Arg::Text(Some(self.currency)));
        args.extend(more);
        args
    }
}

/// `metadata` with the names of the other bank and of the account there.
pub fn with_counterparty(
    session: &Session,
    metadata: Option<JsonDatum>,
    bank: &str,
    account: &str,
) -> Result<JsonDatum, Error> {
    let args = [Arg::Jsonb(metadata), Arg::Text(Some(bank)), Arg::Text(Some(account))];
    let row = session.run(&WITH_COUNTERPARTY, &args)?.first();
    Ok(row.and_then(|row| row.json(1)).expect("|| of two objects is not null"))
}

/// Keeps the item of a posting between a customer's account and clearing.
pub fn record(
    session: &Session,
    transaction: Uuid,
    direction: &str,
    bank: &str,
    account: &str,
) -> Result<(), Error> {
    let direction = Arg::Text(Some(direction));
    let args = [Arg::Uuid(Some(transaction)), direction, Arg::Text(Some(bank)), Arg::Text(Some(account))];
    session.run(&RECORD, &args)?;
    Ok(())
}

/// Where `original` has clearing items, the reversal or refund that gave it back has the opposite ones. A settlement
/// that is reversed puts its net back into clearing, for the same bank.
pub fn record_give_back(session: &Session, original: Uuid, given_back_by: Uuid) -> Result<(), Error> {
    session.run(&RECORD_GIVE_BACK, &[Arg::Uuid(Some(original)), Arg::Uuid(Some(given_back_by))])?;
    Ok(())
}

/// The internal account of that type; nothing before the first account in the currency is opened.
pub fn internal(session: &Session, of: Ledger, account_type: &str) -> Result<Option<Uuid>, Error> {
    let rows = session.run(&ACCOUNTS, &of.args([Arg::Text(Some(account_type))]))?;
    Ok(rows.first().and_then(|row| row.uuid(1)))
}

pub fn is_settled(session: &Session, of: Ledger, day: i32) -> Result<bool, Error> {
    Ok(session.run(&IS_SETTLED, &of.args([Arg::Date(Some(day))]))?.count() > 0)
}

/// The last date that was settled, as days from 2000-01-01, and `day` as ISO 8601 has it.
pub fn last_settled(session: &Session, of: Ledger, day: i32) -> Result<(Option<i32>, String), Error> {
    let row = session.run(&LAST_SETTLED, &of.args([Arg::Date(Some(day))]))?.first();
    let row = row.expect("an aggregate without GROUP BY gives one row");
    Ok((row.int(1), row.text(2).unwrap_or_default()))
}

/// Makes items, of no counterparty, of the postings on clearing since the last settlement that have none. Call it with
/// the account locked.
pub fn sweep(session: &Session, clearing: Uuid) -> Result<(), Error> {
    session.run(&SWEEP, &[Arg::Uuid(Some(clearing))])?;
    Ok(())
}

/// Keeps where the next sweep begins: behind all that is posted on the account, which is locked.
pub fn keep_positions(session: &Session, clearing: Uuid) -> Result<(), Error> {
    session.run(&KEEP_POSITIONS, &[Arg::Uuid(Some(clearing))])?;
    Ok(())
}

/// What all open items add up to, signed as the clearing account's balance.
pub fn open_total(session: &Session, of: Ledger) -> Result<Decimal, Error> {
    let row = session.run(&OPEN_TOTAL, &of.args([]))?.first();
    Ok(row.and_then(|row| row.numeric(1)).expect("coalesce gives a number"))
}

pub fn open_by_bank(session: &Session, of: Ledger, cut_off: i64) -> Result<Vec<Open>, Error> {
    let rows = session.run(&OPEN_BY_BANK, &of.args([Arg::Timestamp(Some(cut_off))]))?;
    let open = |row: Row| Open {
        bank: row.text(1).expect(PRESENT),
        items: row.bigint(2).expect(PRESENT),
        gross: Gross { outgoing: row.numeric(3).expect(PRESENT), incoming: row.numeric(4).expect(PRESENT) },
    };
    Ok(rows.iter().map(open).collect())
}

pub fn record_run(session: &Session, of: Ledger, day: i32, cut_off: i64, by: &str) -> Result<(), Error> {
    let more = [Arg::Date(Some(day)), Arg::Timestamp(Some(cut_off)), Arg::Text(Some(by))];
    session.run(&RECORD_RUN, &of.args(more))?;
    Ok(())
}

/// Keeps a settlement and ties its items to it.
pub fn record_settlement(
    session: &Session,
    of: Ledger,
    day: i32,
    cut_off: i64,
    open: &Open,
    transaction: Option<Uuid>,
) -> Result<(), Error> {
    let settlement = Uuid::now_v7();
    let bank = Arg::Text(Some(&open.bank));
    session.run(
        &RECORD_SETTLEMENT,
        &[
            Arg::Uuid(Some(settlement)),
            Arg::Uuid(transaction),
            Arg::Int(Some(of.tenant_no)),
            Arg::Text(Some(of.currency)),
            Arg::Date(Some(day)),
            bank,
            Arg::BigInt(Some(open.items)),
            Arg::Numeric(Some(open.gross.outgoing)),
            Arg::Numeric(Some(open.gross.incoming)),
            Arg::Numeric(Some(open.gross.net())),
        ],
    )?;
    let more = [Arg::Timestamp(Some(cut_off)), Arg::Uuid(Some(settlement)), bank];
    let closed = session.run(&CLOSE_ITEMS, &of.args(more))?.count();
    assert!(
        closed as i64 == open.items,
        "the clearing account is locked, so its items stay as they were read"
    );
    Ok(())
}

pub fn report(session: &Session, of: Ledger, day: i32) -> Result<Vec<Line>, Error> {
    let rows = session.run(&REPORT, &of.args([Arg::Date(Some(day))]))?;
    let line = |row: Row| Line {
        settlement_id: row.uuid(1).expect(PRESENT),
        bank: row.text(2).expect(PRESENT),
        payments: row.bigint(3).expect(PRESENT),
        outgoing: row.numeric(4).expect(PRESENT),
        incoming: row.numeric(5).expect(PRESENT),
        net: row.numeric(6).expect(PRESENT),
        transaction_id: row.uuid(7),
    };
    Ok(rows.iter().map(line).collect())
}
