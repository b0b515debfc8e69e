//! Runs over all accounts of a tenant, a bounded number of them per call: where a run stands, and what it refused.

use super::calendar::iso;
use super::strict::required;
use crate::error::Error;
use crate::guc;
use crate::pg::{Arg, Session, Statement, Type};
use rust_decimal::Decimal;
use uuid::Uuid;

/// The most accounts of one call.
const MAX_ACCOUNTS: i32 = 10_000;

static DAY: Statement = Statement::new(
    c"SELECT ($1 + 1)::timestamp AT TIME ZONE $2, (clock_timestamp() AT TIME ZONE $2)::date - $1",
    &[Type::Date, Type::Text],
);

static OPEN_RUN: Statement = Statement::new(
    c"INSERT INTO txn_processing.daily_runs AS r (tenant_no, run_kind, run_date, next_account)
      VALUES ($1, $2, $3, '00000000-0000-0000-0000-000000000000')
      ON CONFLICT (tenant_no, run_kind, run_date) DO UPDATE
          SET next_account = CASE WHEN r.finished_at IS NULL THEN r.next_account ELSE excluded.next_account END,
              finished_at = NULL, updated_at = clock_timestamp()
      RETURNING next_account",
    &[Type::Int, Type::Text, Type::Date],
);

static CLOSE_RUN: Statement = Statement::new(
    c"UPDATE txn_processing.daily_runs
      SET next_account = $4, accounts = accounts + $5, posted = posted + $6, refused = refused + $7,
          updated_at = clock_timestamp(), finished_at = CASE WHEN $8 = 1 THEN clock_timestamp() END
      WHERE tenant_no = $1 AND run_kind = $2 AND run_date = $3
      RETURNING accounts",
    &[Type::Int, Type::Text, Type::Date, Type::Uuid, Type::BigInt, Type::BigInt, Type::BigInt, Type::Int],
);

static REFUSED: Statement = Statement::new(
    c"INSERT INTO txn_processing.run_refusals
          (tenant_no, run_kind, run_date, account_id, fee_code, amount, sqlstate, code)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    &[Type::Int, Type::Text, Type::Date, Type::Uuid, Type::Text, Type::Numeric, Type::Text, Type::Text],
);

/// A business day: it is over, or nothing is done for it.
#[derive(Clone, Debug)]
pub struct Day {
    /// Days since 2000-01-01.
    pub date: i32,
    /// When it ended, in microseconds since 2000-01-01 UTC.
    pub end: i64,
    /// How many days ago it was.
    pub age: i32,
    pub zone: String,
}

impl Day {
    pub fn over(session: &Session, date: i32) -> Result<Self, Error> {
        let zone = guc::business_time_zone();
        let args = [Arg::Date(Some(date)), Arg::Text(Some(&zone))];
        let read = |row: &crate::pg::Row| row.time(1).map(|time| time.0).zip(row.int(2));
        let (end, age) = session.one(&DAY, &args, read)?.flatten().expect("a row without nulls");
        if age <= 0 {
            return Err(Error::DayNotOver { day: iso(date), zone });
        }
        Ok(Day { date, end, age, zone })
    }

    /// When what is posted for the day counts from: its end. Nothing where that is today, as it is without being said.
    pub fn effective_at(&self) -> Result<Option<i64>, Error> {
        let most = guc::max_backdate_days();
        if self.age - 1 > most {
            let why = format!("Day {} ended more than {most} days back.", iso(self.date));
            return Err(Error::EffectiveAt { why });
        }
        Ok((self.age > 1).then_some(self.end))
    }
}

/// How many accounts a call may take.
pub fn bounded_accounts(most: Option<i32>) -> Result<i32, Error> {
    let most = required("max_accounts", most)?;
    if (1..=MAX_ACCOUNTS).contains(&most) {
        return Ok(most);
    }
    let why = format!("It is {most}; a call takes 1 to {MAX_ACCOUNTS} accounts.");
    Err(Error::ArgumentBounds { argument: "max_accounts", why })
}

/// A date that this extension can count with.
pub fn bounded_date(argument: &'static str, date: i32) -> Result<i32, Error> {
    const YEARS_1900_TO_9999: std::ops::Range<i32> = -36_524..2_921_940;
    if YEARS_1900_TO_9999.contains(&date) {
        return Ok(date);
    }
    Err(Error::ArgumentBounds { argument, why: "It lies outside the years 1900 to 9999.".into() })
}

/// The accounts that a run still has to look at: from one id to another, both included.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub from: Uuid,
    pub to: Uuid,
}

impl Span {
    pub fn one(account: Uuid) -> Self {
        Span { from: account, to: account }
    }
}

/// What a call did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub accounts: i64,
    pub posted: i64,
    pub refused: i64,
    /// The first account that is still to be dealt with; nothing when all are done.
    pub next: Option<Uuid>,
}

impl Progress {
    /// Where to go on after `last`.
    pub fn behind(last: Uuid) -> Option<Uuid> {
        last.as_u128().checked_add(1).map(Uuid::from_u128)
    }
}

/// One run of a tenant for a day.
pub struct Run<'a> {
    pub session: &'a Session,
    pub tenant_no: i32,
    pub kind: &'static str,
    pub date: i32,
}

impl Run<'_> {
    /// The accounts left. A second session waits here until the first has ended its transaction.
    pub fn open(&self) -> Result<Span, Error> {
        let args = [Arg::Int(Some(self.tenant_no)), Arg::Text(Some(self.kind)), Arg::Date(Some(self.date))];
        let next = self.session.one(&OPEN_RUN, &args, |row| row.uuid(1))?.flatten();
        Ok(Span { from: next.expect("an upsert gives its row"), to: Uuid::max() })
    }

    /// Keeps what a call did; answers the accounts of all calls.
    pub fn keep(&self, progress: &Progress) -> Result<i64, Error> {
        let args = [
            Arg::Int(Some(self.tenant_no)),
            Arg::Text(Some(self.kind)),
            Arg::Date(Some(self.date)),
            Arg::Uuid(Some(progress.next.unwrap_or(Uuid::nil()))),
            Arg::BigInt(Some(progress.accounts)),
            Arg::BigInt(Some(progress.posted)),
            Arg::BigInt(Some(progress.refused)),
            Arg::Int(Some(i32::from(progress.next.is_none()))),
        ];
        let all = self.session.one(&CLOSE_RUN, &args, |row| row.bigint(1))?.flatten();
        Ok(all.expect("the run was opened"))
    }

    /// Keeps why something could not be posted.
    pub fn refuse(
        &self,
        account: Uuid,
        fee_code: Option<&str>,
        amount: Decimal,
        why: &Error,
    ) -> Result<(), Error> {
        let report = why.report();
        let args = [
            Arg::Int(Some(self.tenant_no)),
            Arg::Text(Some(self.kind)),
            Arg::Date(Some(self.date)),
            Arg::Uuid(Some(account)),
            Arg::Text(fee_code),
            Arg::Numeric(Some(amount)),
            Arg::Text(Some(report.sqlstate)),
            Arg::Text(Some(report.word)),
        ];
        self.session.run(&REFUSED, &args)?;
        Ok(())
    }
}
