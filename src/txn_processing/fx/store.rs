//! Rows of rates, exchanges and residues.

use super::core::Exchange;
use crate::error::Error;
use crate::pg::{Arg, PRESENT, Session, Statement, Type};
use rust_decimal::Decimal;
use uuid::Uuid;

static INSERT_RATE: Statement = Statement::new(
    c"INSERT INTO txn_processing.fx_rates (base, quote, rate, valid_from, set_by) VALUES ($1, $2, $3, $4, $5)",
    &[Type::Text, Type::Text, Type::Numeric, Type::Timestamp, Type::Text],
);

static RATES: Statement = Statement::new(
    c"SELECT (SELECT r.rate FROM txn_processing.fx_rates r
              WHERE r.base = $1::char(3) AND r.quote = $2::char(3) AND r.valid_from <= $3
              ORDER BY r.valid_from DESC, r.recorded_at DESC, r.rate_id DESC LIMIT 1),
             (SELECT r.rate FROM txn_processing.fx_rates r
              WHERE r.base = $2::char(3) AND r.quote = $1::char(3) AND r.valid_from <= $3
              ORDER BY r.valid_from DESC, r.recorded_at DESC, r.rate_id DESC LIMIT 1)",
    &[Type::Text, Type::Text, Type::Timestamp],
);

static KNOWN: Statement = Statement::new(
    c"SELECT FROM banking.currencies c WHERE c.currency_code = $1::char(3) AND $1 = $1::char(3)",
    &[Type::Text],
);

static SIDES: Statement = Statement::new(
    c"SELECT a.account_id, a.tenant_no, a.currency_code, a.customer_id IS NULL, c.exponent::int, p.account_id
      FROM banking.accounts a
      JOIN banking.currencies c ON c.currency_code = a.currency_code
      JOIN banking.accounts p ON p.tenant_no = a.tenant_no AND p.currency_code = a.currency_code
                             AND p.customer_id IS NULL AND p.account_type = 'fx_position'
      WHERE a.account_id = ANY ($1)",
    &[Type::UuidArray],
);

// A second session that brings the id waits here for the first to end: before either holds an account.
static RECORD: Statement = Statement::new(
    c"WITH recorded AS (
          INSERT INTO txn_processing.fx_transfers
              (transaction_id, tenant_no, base, quote, rate, stored_rate, asked_rate, base_amount, quote_amount, residue)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
          ON CONFLICT (transaction_id) DO NOTHING
          RETURNING transaction_id, tenant_no, quote, residue
      ), kept AS (
          INSERT INTO txn_processing.fx_residues (transaction_id, tenant_no, currency_code, residue)
          SELECT r.transaction_id, r.tenant_no, r.quote, r.residue FROM recorded r WHERE r.residue <> 0
      )
      SELECT FROM recorded",
    &[
        Type::Uuid,
        Type::Int,
        Type::Text,
        Type::Text,
        Type::Numeric,
        Type::Numeric,
        Type::Numeric,
        Type::Numeric,
        Type::Numeric,
        Type::Numeric,
    ],
);

static RECORDED: Statement = Statement::new(
    c"SELECT t.rate, t.asked_rate, t.base_amount, t.quote_amount
      FROM txn_processing.fx_transfers t
      WHERE t.transaction_id = $1 AND t.reverses IS NULL",
    &[Type::Uuid],
);

// The row of the reversal stays for good, so a retry finds it, whatever became of the residue since.
static UNDO: Statement = Statement::new(
    c"WITH exchanged AS (
          INSERT INTO txn_processing.fx_transfers
              (transaction_id, reverses, tenant_no, base, quote, rate, stored_rate, asked_rate, base_amount,
               quote_amount, residue)
          SELECT $2, t.transaction_id, t.tenant_no, t.base, t.quote, t.rate, t.stored_rate, t.asked_rate,
                 -t.base_amount, -t.quote_amount, -t.residue
          FROM txn_processing.fx_transfers t
          WHERE t.transaction_id = $1 AND t.reverses IS NULL
          ON CONFLICT (transaction_id) DO NOTHING
          RETURNING transaction_id, tenant_no, quote AS currency_code, residue
      ), swept AS (
          INSERT INTO txn_processing.fx_sweeps (transaction_id, reverses, tenant_no, currency_code, amount)
          SELECT $2, s.transaction_id, s.tenant_no, s.currency_code, -s.amount
          FROM txn_processing.fx_sweeps s
          WHERE s.transaction_id = $1 AND s.reverses IS NULL
          ON CONFLICT (transaction_id) DO NOTHING
          RETURNING transaction_id, tenant_no, currency_code, -amount AS residue
      )
      INSERT INTO txn_processing.fx_residues (transaction_id, tenant_no, currency_code, residue)
      SELECT u.transaction_id, u.tenant_no, u.currency_code, u.residue
      FROM (SELECT * FROM exchanged UNION ALL SELECT * FROM swept) u
      WHERE u.residue <> 0",
    &[Type::Uuid, Type::Uuid],
);

// A sweep waits for nobody: what another one holds is left to it.
static TAKE: Statement = Statement::new(
    c"WITH taken AS (
          SELECT r.transaction_id FROM txn_processing.fx_residues r
          ORDER BY r.transaction_id LIMIT $1 FOR UPDATE SKIP LOCKED
      ), gone AS (
          DELETE FROM txn_processing.fx_residues r USING taken t
          WHERE r.transaction_id = t.transaction_id
          RETURNING r.tenant_no, r.currency_code, r.residue
      ), summed AS (
          SELECT g.tenant_no, g.currency_code, pg_catalog.sum(g.residue) AS residue
          FROM gone g GROUP BY g.tenant_no, g.currency_code
      )
      SELECT s.tenant_no, s.currency_code, pg_catalog.trunc(s.residue, c.exponent),
             s.residue - pg_catalog.trunc(s.residue, c.exponent), p.account_id, r.account_id
      FROM summed s
      JOIN banking.currencies c ON c.currency_code = s.currency_code
      JOIN banking.accounts p ON p.tenant_no = s.tenant_no AND p.currency_code = s.currency_code
                             AND p.customer_id IS NULL AND p.account_type = 'fx_position'
      LEFT JOIN banking.accounts r ON r.tenant_no = s.tenant_no AND r.currency_code = s.currency_code
                                  AND r.customer_id IS NULL AND r.account_type = 'fx_rounding'
      ORDER BY s.tenant_no, s.currency_code",
    &[Type::BigInt],
);

static RECORD_SWEEP: Statement = Statement::new(
    c"INSERT INTO txn_processing.fx_sweeps (transaction_id, tenant_no, currency_code, amount) VALUES ($1, $2, $3, $4)",
    &[Type::Uuid, Type::Int, Type::Text, Type::Numeric],
);

static KEEP: Statement = Statement::new(
    c"INSERT INTO txn_processing.fx_residues (transaction_id, tenant_no, currency_code, residue)
      VALUES ($1, $2, $3, $4)",
    &[Type::Uuid, Type::Int, Type::Text, Type::Numeric],
);

pub fn insert_rate(
    session: &Session,
    base: &str,
    quote: &str,
    rate: Decimal,
    valid_from: i64,
    set_by: &str,
) -> Result<(), Error> {
    session.run(
        &INSERT_RATE,
        &[
            Arg::Text(Some(base)),
            Arg::Text(Some(quote)),
            Arg::Numeric(Some(rate)),
            Arg::Timestamp(Some(valid_from)),
            Arg::Text(Some(set_by)),
        ],
    )?;
    Ok(())
}

/// The rate of the pair at that time, and that of the other way round, as far as they are known.
pub fn rates(
    session: &Session,
    base: &str,
    quote: &str,
    at: i64,
) -> Result<(Option<Decimal>, Option<Decimal>), Error> {
    let args = [Arg::Text(Some(base)), Arg::Text(Some(quote)), Arg::Timestamp(Some(at))];
    let found = session.one(&RATES, &args, |row| (row.numeric(1), row.numeric(2)))?;
    Ok(found.expect("a SELECT without FROM gives one row"))
}

pub fn known_currency(session: &Session, currency: &str) -> Result<(), Error> {
    let found = session.one(&KNOWN, &[Arg::Text(Some(currency))], |_| ())?;
    found.ok_or_else(|| Error::CurrencyNotFound { currency: currency.to_owned() })
}

/// An account of an exchange, and the bank's position in its currency.
pub struct Side {
    pub account: Uuid,
    pub tenant_no: i32,
    pub currency: String,
    pub internal: bool,
    pub exponent: u32,
    pub position: Uuid,
}

/// Nothing of it changes in an account's life, so no lock is taken.
pub fn sides(session: &Session, from: Uuid, to: Uuid) -> Result<(Side, Side), Error> {
    let rows = session.run(&SIDES, &[Arg::UuidArray(&[from, to])])?;
    let mut sides: Vec<Side> = rows
        .iter()
        .map(|row| Side {
            account: row.uuid(1).expect(PRESENT),
            tenant_no: row.int(2).expect(PRESENT),
            currency: row.text(3).expect(PRESENT),
            internal: row.bool(4).expect(PRESENT),
            exponent: row.int(5).expect(PRESENT).unsigned_abs(),
            position: row.uuid(6).expect(PRESENT),
        })
        .collect();
    let mut take = |account: Uuid| {
        let at = sides.iter().position(|side| side.account == account);
        at.map(|at| sides.swap_remove(at)).ok_or(Error::AccountNotFound { account })
    };
    Ok((take(from)?, take(to)?))
}

/// What an exchange was decided to be.
pub struct Deal {
    pub rate: Decimal,
    pub stored_rate: Decimal,
    pub asked_rate: Option<Decimal>,
    pub base_amount: Decimal,
    pub exchange: Exchange,
}

/// Keeps an exchange under its id, with its residue; false where the id is there already.
pub fn record(session: &Session, id: Uuid, from: &Side, to: &Side, deal: &Deal) -> Result<bool, Error> {
    let rows = session.run(
        &RECORD,
        &[
            Arg::Uuid(Some(id)),
            Arg::Int(Some(from.tenant_no)),
            Arg::Text(Some(&from.currency)),
            Arg::Text(Some(&to.currency)),
            Arg::Numeric(Some(deal.rate)),
            Arg::Numeric(Some(deal.stored_rate)),
            Arg::Numeric(deal.asked_rate),
            Arg::Numeric(Some(deal.base_amount)),
            Arg::Numeric(Some(deal.exchange.quote_amount)),
            Arg::Numeric(Some(deal.exchange.residue)),
        ],
    )?;
    Ok(rows.count() == 1)
}

/// An exchange of the past.
pub struct Recorded {
    pub rate: Decimal,
    pub asked_rate: Option<Decimal>,
    pub base_amount: Decimal,
    pub quote_amount: Decimal,
}

pub fn recorded(session: &Session, id: Uuid) -> Result<Option<Recorded>, Error> {
    session.one(&RECORDED, &[Arg::Uuid(Some(id))], |row| Recorded {
        rate: row.numeric(1).expect(PRESENT),
        asked_rate: row.numeric(2),
        base_amount: row.numeric(3).expect(PRESENT),
        quote_amount: row.numeric(4).expect(PRESENT),
    })
}

/// After `original` was reversed: takes its residue back if it was an exchange, and puts back what it had swept if it was
/// a sweep. Once per reversal; nothing for any other transaction.
pub fn undo(session: &Session, original: Uuid, reversal: Uuid) -> Result<(), Error> {
    session.run(&UNDO, &[Arg::Uuid(Some(original)), Arg::Uuid(Some(reversal))])?;
    Ok(())
}

/// The residues of one tenant and currency that a sweep has taken.
pub struct Taken {
    pub tenant_no: i32,
    pub currency: String,
    /// Whole minor units, of either sign.
    pub whole: Decimal,
    /// Less than one minor unit.
    pub remainder: Decimal,
    pub position: Uuid,
    pub rounding: Option<Uuid>,
}

pub fn take(session: &Session, most: i64) -> Result<Vec<Taken>, Error> {
    let rows = session.run(&TAKE, &[Arg::BigInt(Some(most))])?;
    let taken = rows.iter().map(|row| Taken {
        tenant_no: row.int(1).expect(PRESENT),
        currency: row.text(2).expect(PRESENT),
        whole: row.numeric(3).expect(PRESENT),
        remainder: row.numeric(4).expect(PRESENT),
        position: row.uuid(5).expect(PRESENT),
        rounding: row.uuid(6),
    });
    Ok(taken.collect())
}

/// Keeps what a sweep posted, and puts back what is left of it.
pub fn record_sweep(session: &Session, id: Uuid, taken: &Taken) -> Result<(), Error> {
    let args = |amount| {
        [
            Arg::Uuid(Some(id)),
            Arg::Int(Some(taken.tenant_no)),
            Arg::Text(Some(&taken.currency)),
            Arg::Numeric(Some(amount)),
        ]
    };
    if !taken.whole.is_zero() {
        session.run(&RECORD_SWEEP, &args(taken.whole))?;
    }
    if !taken.remainder.is_zero() {
        session.run(&KEEP, &args(taken.remainder))?;
    }
    Ok(())
}
