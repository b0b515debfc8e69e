//! Fees that are charged once per account and period.

use super::charge::order;
use super::store::{Fee, Formulas, comes_to};
use crate::error::Error;
use crate::pg::{Arg, PRESENT, Row, Session, Statement, Type, array};
use crate::txn_processing::batch::post_all;
use crate::txn_processing::calendar::iso;
use crate::txn_processing::engine::Desk;
use crate::txn_processing::runs::{Day, Progress, Run};
use crate::txn_processing::store::internal_accounts;
use rust_decimal::Decimal;
use uuid::Uuid;

const KIND: &str = "periodic fees";
// The tenant's first schedule stands for all: schedules are never taken away.
static LOCK_TENANT: Statement = Statement::new(
    c"SELECT s.schedule_id FROM txn_processing.fee_schedules s
      WHERE s.tenant_no = $1 ORDER BY s.schedule_id LIMIT 1 FOR UPDATE",
    &[Type::Int],
);

// A page of accounts, each with the fees of its period that are not charged yet; without one, the account alone.
// OFFSET 0 keeps a plan made while nothing was charged from reading all that is, for each account.
static DUE: Statement = Statement::new(
    c"SELECT a.account_id, s.schedule_id, s.fee_code, s.period_start - '2000-01-01'::date, c.exponent::int,
             CASE WHEN s.method <> 'fixed'
                  THEN txn_processing.balance_as_of(a.account_id, $5 - '1 microsecond'::interval) END
      FROM (SELECT * FROM banking.accounts
            WHERE account_id >= $3 AND tenant_no = $1 AND customer_id IS NOT NULL
              AND account_status <> 'closed' AND created_at < $5
            ORDER BY account_id LIMIT $4) a
      JOIN banking.currencies c ON c.currency_code = a.currency_code
      LEFT JOIN LATERAL (
          SELECT f.* FROM (
              SELECT DISTINCT ON (f.fee_code) f.schedule_id, f.fee_code, f.method,
                     date_trunc(f.period, $2::timestamp)::date AS period_start
              FROM txn_processing.fee_schedules f
              WHERE f.tenant_no = $1 AND f.applies_to = 'periodic' AND f.currency_code = a.currency_code
                AND (f.account_type IS NULL OR f.account_type = a.account_type)
                AND f.valid_from <= $2 AND (f.valid_to IS NULL OR f.valid_to >= $2)
              ORDER BY f.fee_code, f.account_type IS NULL, f.valid_from DESC, f.schedule_id DESC) f
          WHERE NOT EXISTS (SELECT FROM txn_processing.fees_charged d
                            WHERE d.account_id = a.account_id AND d.fee_code = f.fee_code
                              AND d.period_start = f.period_start OFFSET 0)) s ON true
      ORDER BY a.account_id, s.fee_code",
    &[Type::Int, Type::Date, Type::Uuid, Type::Int, Type::Timestamp],
);

static WRITE: Statement = Statement::new(
    c"INSERT INTO txn_processing.fees_charged
          (fee_transaction, fee_leg, account_id, fee_code, schedule_id, period_start, amount)
      SELECT t.fee_transaction, 1, t.account_id, s.fee_code, s.schedule_id, '2000-01-01'::date + t.period, t.amount
      FROM unnest($1, $2, $3::integer[], $4::integer[], $5::numeric[])
          AS t (fee_transaction, account_id, schedule_id, period, amount)
      JOIN txn_processing.fee_schedules s ON s.schedule_id = t.schedule_id
      ON CONFLICT (account_id, fee_code, period_start) WHERE period_start IS NOT NULL DO NOTHING",
    &[Type::UuidArray, Type::UuidArray, Type::Text, Type::Text, Type::Text],
);

/// A fee of a period that is not charged yet.
struct Due {
    account: Uuid,
    fee: Fee,
    period: i32,
}

/// The fees of a page, how many accounts it has, and the last of them.
fn page(
    session: &Session,
    tenant_no: i32,
    day: &Day,
    from: Uuid,
    most: i32,
) -> Result<(Vec<Due>, i64, Option<Uuid>), Error> {
    let args = [
        Arg::Int(Some(tenant_no)),
        Arg::Date(Some(day.date)),
        Arg::Uuid(Some(from)),
        Arg::Int(Some(most)),
        Arg::Timestamp(Some(day.end)),
    ];
    let (mut dues, mut accounts, mut last) = (Vec::new(), 0, None);
    let mut formulas = Formulas::default();
    for row in session.run(&DUE, &args)?.iter() {
        let account = row.uuid(1).expect(PRESENT);
        accounts += i64::from(last != Some(account));
        last = Some(account);
        if let Some(due) = fee(session, &mut formulas, account, &row)? {
            dues.push(due);
        }
    }
    Ok((dues, accounts, last))
}

fn fee(session: &Session, formulas: &mut Formulas, account: Uuid, row: &Row) -> Result<Option<Due>, Error> {
    let Some(schedule) = row.int(2) else { return Ok(None) };
    let code = row.text(3).expect(PRESENT);
    let exponent = row.int(5).expect(PRESENT).unsigned_abs();
    // A fixed fee needs no balance, and one below zero costs no share of it.
    let balance = row.numeric(6).unwrap_or_default().max(Decimal::ZERO);
    let amount = comes_to(formulas.get(session, schedule)?, &code, balance, exponent)?;
    let due = Due { account, fee: Fee { code, schedule, amount }, period: row.int(4).expect(PRESENT) };
    Ok((!amount.is_zero()).then_some(due))
}

fn charge(desk: &Desk, run: &Run, dues: &[Due]) -> Result<i64, Error> {
    let session = desk.session();
    let accounts: Vec<Uuid> = dues.iter().map(|due| due.account).collect();
    let income = internal_accounts(session, &accounts, "fee_income")?;
    let texts: Vec<String> = dues
        .iter()
        .map(|due| format!("Fee {} of the period from {}", due.fee.code, iso(due.period)))
        .collect();
    let orders = dues.iter().zip(&texts).map(|(due, text)| {
        let income = income.get(&due.account).ok_or(Error::AccountNotFound { account: due.account })?;
        Ok(order(due.account, *income, due.fee.amount, text))
    });
    let mut posted: Vec<(&Due, Uuid)> = Vec::with_capacity(dues.len());
    for (due, outcome) in dues.iter().zip(post_all(desk, orders.collect(), |_| false)?) {
        match outcome {
            Ok(outcome) => posted.push((due, outcome.transaction_id)),
            Err(why) => run.refuse(due.account, Some(&due.fee.code), due.fee.amount, &why)?,
        }
    }
    let ids: Vec<Uuid> = posted.iter().map(|(_, id)| *id).collect();
    let accounts: Vec<Uuid> = posted.iter().map(|(due, _)| due.account).collect();
    let args = [
        Arg::UuidArray(&ids),
        Arg::UuidArray(&accounts),
        Arg::Text(Some(&array(posted.iter().map(|(due, _)| due.fee.schedule)))),
        Arg::Text(Some(&array(posted.iter().map(|(due, _)| due.period)))),
        Arg::Text(Some(&array(posted.iter().map(|(due, _)| due.fee.amount)))),
    ];
    // The tenant's lock keeps others out; a row that is there all the same is newer than this transaction's snapshot.
    if session.run(&WRITE, &args)?.count() != posted.len() {
        return Err(Error::ConcurrentUpdate);
    }
    Ok(posted.len() as i64)
}

/// A call of the tenant's run.
pub fn run(desk: &Desk, tenant_no: i32, day: &Day, most: i32) -> Result<Progress, Error> {
    let session = desk.session();
    if session.one(&LOCK_TENANT, &[Arg::Int(Some(tenant_no))], |_| ())?.is_none() {
        return Ok(Progress::default());
    }
    let run = Run { session, tenant_no, kind: KIND, date: day.date };
    let span = run.open()?;
    let (dues, accounts, last) = page(session, tenant_no, day, span.from, most)?;
    let posted = if dues.is_empty() { 0 } else { charge(desk, &run, &dues)? };
    let progress = Progress {
        accounts,
        posted,
        refused: dues.len() as i64 - posted,
        next: last.filter(|_| accounts == i64::from(most)).and_then(Progress::behind),
    };
    run.keep(&progress)?;
    Ok(progress)
}
