//! Rows of fee schedules and of fees charged.

use super::core::{Formula, Method, Tier};
use crate::error::Error;
use crate::pg::{Arg, PRESENT, Row, Session, Statement, Type};
use crate::txn_processing::engine::Desk;
use rust_decimal::Decimal;
use std::collections::HashMap;
use uuid::Uuid;

static INSERT_SCHEDULE: Statement = Statement::new(
    c"INSERT INTO txn_processing.fee_schedules
          (tenant_no, fee_code, applies_to, period, account_type, currency_code, method, fixed_amount, percent,
           floor_amount, cap_amount, valid_from, valid_to, created_by)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
      RETURNING schedule_id",
    &[
        Type::Int, Type::Text, Type::Text, Type::Text, Type::Text, Type::Text, Type::Text, Type::Numeric, Type::Numeric,
        Type::Numeric, Type::Numeric, Type::Date, Type::Date, Type::Text,
    ],
);

static INSERT_TIER: Statement = Statement::new(
    c"INSERT INTO txn_processing.fee_tiers (schedule_id, from_amount, fixed_amount, percent) VALUES ($1, $2, $3, $4)",
    &[Type::Int, Type::Numeric, Type::Numeric, Type::Numeric],
);

static LATEST: Statement = Statement::new(
    c"SELECT s.schedule_id FROM txn_processing.fee_schedules s
      WHERE s.tenant_no = $1 AND s.fee_code = $2 AND s.applies_to = $3 AND s.period IS NOT DISTINCT FROM $4
        AND s.account_type IS NOT DISTINCT FROM $5 AND s.currency_code = $6 AND s.valid_from = $7
        AND s.valid_to IS NOT DISTINCT FROM $8
      ORDER BY s.schedule_id DESC LIMIT 1",
    &[Type::Int, Type::Text, Type::Text, Type::Text, Type::Text, Type::Text, Type::Date, Type::Date],
);

static SCHEDULE: Statement = Statement::new(
    c"SELECT s.method, s.fixed_amount, s.percent, s.floor_amount, s.cap_amount
      FROM txn_processing.fee_schedules s WHERE s.schedule_id = $1",
    &[Type::Int],
);

static TIERS: Statement = Statement::new(
    c"SELECT t.from_amount, t.percent, t.fixed_amount FROM txn_processing.fee_tiers t
      WHERE t.schedule_id = $1 ORDER BY t.from_amount",
    &[Type::Int],
);

static IN_FORCE: Statement = Statement::new(
    c"SELECT DISTINCT ON (s.fee_code) s.fee_code, s.schedule_id, c.exponent::int
      FROM banking.accounts a
      JOIN banking.currencies c ON c.currency_code = a.currency_code
      JOIN txn_processing.fee_schedules s
          ON s.tenant_no = a.tenant_no AND s.applies_to = $2 AND s.currency_code = a.currency_code
         AND (s.account_type IS NULL OR s.account_type = a.account_type)
         AND s.valid_from <= ($3 AT TIME ZONE $4)::date
         AND (s.valid_to IS NULL OR s.valid_to >= ($3 AT TIME ZONE $4)::date)
      WHERE a.account_id = $1
      ORDER BY s.fee_code, s.account_type IS NULL, s.valid_from DESC, s.schedule_id DESC",
    &[Type::Uuid, Type::Text, Type::Timestamp, Type::Text],
);

static ACCOUNT: Statement =
    Statement::new(c"SELECT 1 FROM banking.accounts a WHERE a.account_id = $1", &[Type::Uuid]);

// Of whichever key: who brings the same id at the same moment meets the other at any of them.
static CLAIM: Statement = Statement::new(
    c"INSERT INTO txn_processing.fees_charged
          (fee_transaction, fee_leg, transaction_id, account_id, fee_code, schedule_id, amount)
      VALUES ($1, $2, $3, $4, $5, $6, $7)
      ON CONFLICT DO NOTHING
      RETURNING fee_leg::int",
    &[Type::Uuid, Type::Int, Type::Uuid, Type::Uuid, Type::Text, Type::Int, Type::Numeric],
);

static CHARGED: Statement = Statement::new(
    c"SELECT f.fee_code, f.schedule_id, f.amount, f.fee_transaction, f.fee_leg::int
      FROM txn_processing.fees_charged f
      WHERE f.transaction_id = $1 AND ($2 IS NULL OR f.fee_code = $2)
      ORDER BY f.fee_leg, f.fee_code",
    &[Type::Uuid, Type::Text],
);

/// What a schedule is about, apart from its formula.
pub struct Key<'a> {
    pub tenant_no: i32,
    pub fee_code: &'a str,
    pub applies_to: &'a str,
    pub period: Option<&'a str>,
    pub account_type: Option<&'a str>,
    pub currency: &'a str,
    pub valid_from: i32,
    pub valid_to: Option<i32>,
}

/// Adds a schedule, unless the latest with this key says the same; answers its number.
pub fn set(desk: &Desk, key: &Key, formula: &Formula) -> Result<i32, Error> {
    let session = desk.session();
    let mut args = vec![
        Arg::Int(Some(key.tenant_no)),
        Arg::Text(Some(key.fee_code)),
        Arg::Text(Some(key.applies_to)),
        Arg::Text(key.period),
        Arg::Text(key.account_type),
        Arg::Text(Some(key.currency)),
    ];
    let dates = [Arg::Date(Some(key.valid_from)), Arg::Date(key.valid_to)];
    let latest = session.one(&LATEST, &[&args[..], &dates].concat(), |row| row.int(1).expect(PRESENT))?;
    if let Some(latest) = latest
        && load(session, latest)? == *formula
    {
        return Ok(latest);
    }
    args.extend([
        Arg::Text(Some(formula.method.name())),
        Arg::Numeric(Some(formula.fixed)),
        Arg::Numeric(Some(formula.percent)),
        Arg::Numeric(formula.floor),
        Arg::Numeric(formula.cap),
    ]);
    args.extend(dates);
    args.push(Arg::Text(Some(&desk.caller)));
    let id = session.one(&INSERT_SCHEDULE, &args, |row| row.int(1).expect(PRESENT))?;
    let id = id.expect("INSERT ... RETURNING gives the row");
    for tier in &formula.tiers {
        let [from, fixed, percent] =
            [tier.from, tier.fixed, tier.percent].map(|figure| Arg::Numeric(Some(figure)));
        session.run(&INSERT_TIER, &[Arg::Int(Some(id)), from, fixed, percent])?;
    }
    Ok(id)
}

pub fn load(session: &Session, id: i32) -> Result<Formula, Error> {
    let figure = |row: &Row, at| row.numeric(at).map(|figure: Decimal| figure.normalize());
    let read = |row: &Row| Formula {
        method: row.text(1).and_then(|name| Method::of(&name)).expect("held by a CHECK"),
        fixed: figure(row, 2).expect(PRESENT),
        percent: figure(row, 3).expect(PRESENT),
        floor: figure(row, 4),
        cap: figure(row, 5),
        tiers: Vec::new(),
    };
    let formula = session.one(&SCHEDULE, &[Arg::Int(Some(id))], read)?.expect("a schedule that was found");
    let tiers = session.run(&TIERS, &[Arg::Int(Some(id))])?;
    let tier = |row: Row| Tier {
        from: figure(&row, 1).expect(PRESENT),
        percent: figure(&row, 2).expect(PRESENT),
        fixed: figure(&row, 3).expect(PRESENT),
    };
    Ok(Formula { tiers: tiers.iter().map(tier).collect(), ..formula })
}

/// Formulas by their schedules' numbers, each read once per call.
#[derive(Default)]
pub struct Formulas(HashMap<i32, Formula>);

impl Formulas {
    pub fn get(&mut self, session: &Session, id: i32) -> Result<&Formula, Error> {
        Ok(match self.0.entry(id) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(load(session, id)?),
        })
    }
}

/// A fee as it follows from the schedules, or as it was charged.
#[derive(Clone, Debug)]
pub struct Fee {
    pub code: String,
    pub schedule: i32,
    pub amount: Decimal,
}

/// What an amount that is posted on the account costs at that time: a fee for each code, in order, without zeros.
pub fn due(
    session: &Session,
    applies_to: &str,
    account: Uuid,
    amount: Decimal,
    at: i64,
    zone: &str,
) -> Result<Vec<Fee>, Error> {
    let args = [
        Arg::Uuid(Some(account)),
        Arg::Text(Some(applies_to)),
        Arg::Timestamp(Some(at)),
        Arg::Text(Some(zone)),
    ];
    let rows = session.run(&IN_FORCE, &args)?;
    if rows.count() == 0 {
        let known = session.one(&ACCOUNT, &[Arg::Uuid(Some(account))], |_| ())?;
        return known.map(|()| Vec::new()).ok_or(Error::AccountNotFound { account });
    }
    let mut fees = Vec::new();
    for row in rows.iter() {
        let (code, schedule) = (row.text(1).expect(PRESENT), row.int(2).expect(PRESENT));
        let exponent = row.int(3).expect(PRESENT).unsigned_abs();
        let fee = comes_to(&load(session, schedule)?, &code, amount, exponent)?;
        if !fee.is_zero() {
            fees.push(Fee { code, schedule, amount: fee });
        }
    }
    Ok(fees)
}

/// The fee on an amount.
pub fn comes_to(formula: &Formula, code: &str, amount: Decimal, exponent: u32) -> Result<Decimal, Error> {
    let range =
        || Error::InvalidAmount { why: format!("Fee {code} on {amount} is past what can be posted.") };
    formula.fee(amount, exponent).ok_or_else(range)
}

/// The posting of a fee.
#[derive(Clone, Debug)]
pub struct Charged {
    pub fee: Fee,
    pub transaction: Uuid,
    pub leg: i16,
}

/// Keeps that a fee is charged on a transaction; false where it was before. A second session that charges it waits
/// here for the first to end.
pub fn claim(session: &Session, on: Uuid, account: Uuid, charge: &Charged) -> Result<bool, Error> {
    let args = [
        Arg::Uuid(Some(charge.transaction)),
        Arg::Int(Some(i32::from(charge.leg))),
        Arg::Uuid(Some(on)),
        Arg::Uuid(Some(account)),
        Arg::Text(Some(&charge.fee.code)),
        Arg::Int(Some(charge.fee.schedule)),
        Arg::Numeric(Some(charge.fee.amount)),
    ];
    Ok(session.one(&CLAIM, &args, |_| ())?.is_some())
}

/// What was charged on a transaction, for one code or for all.
pub fn charged(session: &Session, on: Uuid, code: Option<&str>) -> Result<Vec<Charged>, Error> {
    let rows = session.run(&CHARGED, &[Arg::Uuid(Some(on)), Arg::Text(code)])?;
    let read = |row: Row| Charged {
        fee: Fee {
            code: row.text(1).expect(PRESENT),
            schedule: row.int(2).expect(PRESENT),
            amount: row.numeric(3).expect(PRESENT),
        },
        transaction: row.uuid(4).expect(PRESENT),
        leg: row.int(5).expect(PRESENT) as i16,
    };
    Ok(rows.iter().map(read).collect())
}
