//! Rows of an account's history.
//!
//! All is read and written under the account's lock, and as it is committed by then whatever the transaction's snapshot
//! shows: a history has one present.

use super::core::{Attributes, Part, Period, Plan};
use crate::error::Error;
use crate::pg::{Arg, PRESENT, Row, Session, Statement, Type, server};
use rust_decimal::Decimal;
use std::cell::RefCell;
use uuid::Uuid;

static LAST_RECORDED: Statement = Statement::new(
    c"SELECT p.transaction_from FROM temporal.account_periods p
      WHERE p.account_id = $1 ORDER BY p.transaction_from DESC LIMIT 1",
    &[Type::Uuid],
);

static FIRST_VALID: Statement = Statement::new(
    c"SELECT p.valid_from FROM temporal.account_periods p
      WHERE p.account_id = $1 AND p.transaction_to IS NULL ORDER BY p.valid_from LIMIT 1",
    &[Type::Uuid],
);

static NEAR: Statement = Statement::new(
    c"SELECT p.history_id, p.valid_from, p.valid_to, p.customer_id, p.account_number, p.account_type,
             p.account_status, p.overdraft_limit
      FROM temporal.account_periods p
      WHERE p.account_id = $1 AND p.transaction_to IS NULL AND p.valid_from <= $3
        AND (p.valid_to IS NULL OR p.valid_to > $2)
      ORDER BY p.valid_from LIMIT $4",
    &[Type::Uuid, Type::Timestamp, Type::Timestamp, Type::Int],
);

static UNCHANGED: Statement = Statement::new(
    c"SELECT 0::bigint, a.created_at, NULL::timestamptz, a.customer_id, a.account_number, a.account_type,
             a.account_status, a.overdraft_limit
      FROM banking.accounts a WHERE a.account_id = $1",
    &[Type::Uuid],
);

static OPEN_ROW: Statement = Statement::new(
    c"SELECT p.history_id, p.valid_from FROM temporal.account_periods p
      WHERE p.account_id = $1 AND p.transaction_to IS NULL AND p.valid_to IS NULL",
    &[Type::Uuid],
);

static CLOSE: Statement = Statement::new(
    c"UPDATE temporal.account_periods SET transaction_to = $2
      WHERE history_id = ANY ($1) AND transaction_to IS NULL",
    &[Type::BigIntArray, Type::Timestamp],
);

static INSERT: Statement = Statement::new(
    c"INSERT INTO temporal.account_periods
          (account_id, valid_from, valid_to, transaction_from, customer_id, account_number, account_type,
           account_status, overdraft_limit, changed_by, change_reason)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
      RETURNING history_id",
    &[
        Type::Uuid,
        Type::Timestamp,
        Type::Timestamp,
        Type::Timestamp,
        Type::Uuid,
        Type::Text,
        Type::Text,
        Type::Text,
        Type::Numeric,
        Type::Text,
        Type::Text,
    ],
);

static INSERT_REST: Statement = Statement::new(
    c"INSERT INTO temporal.account_periods
          (account_id, valid_from, valid_to, transaction_from, customer_id, account_number, account_type,
           account_status, overdraft_limit, changed_by, change_reason)
      SELECT p.account_id, $2, $3, $4, p.customer_id, p.account_number, p.account_type, p.account_status,
             p.overdraft_limit, p.changed_by, p.change_reason
      FROM temporal.account_periods p WHERE p.history_id = $1",
    &[Type::BigInt, Type::Timestamp, Type::Timestamp, Type::Timestamp],
);

static SAME_SIDE: Statement = Statement::new(
    c"SELECT t.normal_side = a.normal_side FROM banking.account_types t, banking.accounts a
      WHERE t.account_type = $2 AND a.account_id = $1",
    &[Type::Uuid, Type::Text],
);

/// Who changes an account, and why.
#[derive(Clone, Default)]
pub struct Cause {
    pub by: String,
    pub reason: Option<String>,
}

thread_local! {
    static CAUSE: RefCell<Option<Cause>> = const { RefCell::new(None) };
}

/// While it lives, changes of accounts in this backend are recorded with this cause.
pub struct Because(Option<Cause>);

pub fn because(by: &str, reason: &str) -> Because {
    let cause = Cause { by: by.to_owned(), reason: Some(reason.to_owned()) };
    Because(CAUSE.replace(Some(cause)))
}

impl Drop for Because {
    fn drop(&mut self) {
        CAUSE.replace(self.0.take());
    }
}

fn cause() -> Cause {
    let session_role = || Cause { by: server::role_name(server::session_user()), reason: None };
    CAUSE.with_borrow(Clone::clone).unwrap_or_else(session_role)
}

fn period(row: Row) -> Period {
    Period {
        row: row.bigint(1).expect(PRESENT),
        from: row.time(2).expect(PRESENT).0,
        to: row.time(3).map(|time| time.0),
        attributes: Attributes {
            customer: row.uuid(4),
            number: row.text(5).expect(PRESENT),
            account_type: row.text(6).expect(PRESENT),
            status: row.text(7).expect(PRESENT),
            overdraft_limit: row.numeric(8).expect(PRESENT),
        },
    }
}

fn insert(
    session: &Session,
    account: Uuid,
    [from, at]: [i64; 2],
    to: Option<i64>,
    attributes: &Attributes,
    by: Option<&Cause>,
) -> Result<i64, Error> {
    let args = [
        Arg::Uuid(Some(account)),
        Arg::Timestamp(Some(from)),
        Arg::Timestamp(to),
        Arg::Timestamp(Some(at)),
        Arg::Uuid(attributes.customer),
        Arg::Text(Some(&attributes.number)),
        Arg::Text(Some(&attributes.account_type)),
        Arg::Text(Some(&attributes.status)),
        Arg::Numeric(Some(attributes.overdraft_limit)),
        Arg::Text(by.map(|cause| cause.by.as_str())),
        Arg::Text(by.and_then(|cause| cause.reason.as_deref())),
    ];
    let row = session.run_latest(&INSERT, &args)?.first();
    Ok(row.and_then(|row| row.bigint(1)).expect("RETURNING gives the row"))
}

fn insert_rest(session: &Session, row: i64, from: i64, to: Option<i64>, at: i64) -> Result<(), Error> {
    let args =
        [Arg::BigInt(Some(row)), Arg::Timestamp(Some(from)), Arg::Timestamp(to), Arg::Timestamp(Some(at))];
    session.run_latest(&INSERT_REST, &args).map(drop)
}

fn close(session: &Session, rows: &[i64], at: i64) -> Result<(), Error> {
    let ids: Vec<Option<i64>> = rows.iter().copied().map(Some).collect();
    let closed = session.run_latest(&CLOSE, &[Arg::BigIntArray(&ids), Arg::Timestamp(Some(at))])?.count();
    if closed == rows.len() { Ok(()) } else { Err(Error::Suppressed) }
}

/// When the account's history was last written; none where its row in banking.accounts still says it all.
pub fn last_recorded(session: &Session, account: Uuid) -> Result<Option<i64>, Error> {
    let row = session.run_latest(&LAST_RECORDED, &[Arg::Uuid(Some(account))])?.first();
    Ok(row.map(|row| row.time(1).expect(PRESENT).0))
}

/// Later than all that was recorded before, whatever the clock and the start of this transaction say.
pub fn next_time(last: i64) -> i64 {
    server::clock_micros().max(last + 1)
}

/// What is recorded of a time and begins at its end, in order, and when the account begins to be.
pub struct Known {
    pub periods: Vec<Period>,
    pub first: i64,
    pub last_recorded: i64,
    /// Nothing is written yet.
    pub is_unwritten: bool,
}

pub fn known(session: &Session, account: Uuid, from: i64, to: i64, most: i32) -> Result<Known, Error> {
    let id = Arg::Uuid(Some(account));
    let Some(last_recorded) = last_recorded(session, account)? else {
        let periods: Vec<Period> = session.run_latest(&UNCHANGED, &[id])?.iter().map(period).collect();
        let opened = periods.first().expect("the account is locked").from;
        return Ok(Known { periods, first: opened, last_recorded: opened, is_unwritten: true });
    };
    let first = session.run_latest(&FIRST_VALID, &[id])?.first();
    let first = first.and_then(|row| row.time(1)).expect("periods leave no gap to the end of time").0;
    let args = [id, Arg::Timestamp(Some(from)), Arg::Timestamp(Some(to)), Arg::Int(Some(most))];
    let periods = session.run_latest(&NEAR, &args)?.iter().map(period).collect();
    Ok(Known { periods, first, last_recorded, is_unwritten: false })
}

/// Writes a correction.
pub fn write(
    session: &Session,
    account: Uuid,
    known: &Known,
    plan: &Plan,
    at: i64,
    by: &Cause,
) -> Result<(), Error> {
    let mut unwritten = None;
    if known.is_unwritten {
        let only = &known.periods[0];
        unwritten = Some(insert(session, account, [only.from; 2], None, &only.attributes, None)?);
    }
    let row_of = |row: i64| unwritten.unwrap_or(row);
    let rows: Vec<i64> = plan.closed.iter().map(|row| row_of(*row)).collect();
    close(session, &rows, at)?;
    for part in &plan.parts {
        match part {
            Part::Rest { row, from, to } => insert_rest(session, row_of(*row), *from, *to, at)?,
            Part::Corrected { from, to, attributes } => {
                insert(session, account, [*from, at], Some(*to), attributes, Some(by)).map(drop)?;
            }
        }
    }
    Ok(())
}

/// Records that an account, which this transaction has just changed, was `before` until now.
pub fn record(session: &Session, account: Uuid, opened: i64, before: &Attributes) -> Result<(), Error> {
    let id = Arg::Uuid(Some(account));
    let last = match last_recorded(session, account)? {
        Some(last) => last,
        None => {
            insert(session, account, [opened; 2], None, before, None)?;
            opened
        }
    };
    let at = next_time(last);
    let row = session.run_latest(&OPEN_ROW, &[id])?.first();
    let row = row.expect("periods leave no gap to the end of time");
    let (open, from) = (row.bigint(1).expect(PRESENT), row.time(2).expect(PRESENT).0);
    close(session, &[open], at)?;
    insert_rest(session, open, from, Some(at), at)?;
    let present = session.run_latest(&UNCHANGED, &[id])?.first().map(period);
    let present = present.ok_or(Error::AccountNotFound { account })?.attributes;
    insert(session, account, [at; 2], None, &present, Some(&cause())).map(drop)
}

/// Whether balances of the account are read the same with that type.
pub fn has_side_of(session: &Session, account: Uuid, account_type: &str) -> Result<bool, Error> {
    let args = [Arg::Uuid(Some(account)), Arg::Text(Some(account_type))];
    Ok(session.run(&SAME_SIDE, &args)?.first().and_then(|row| row.bool(1)) == Some(true))
}

/// What an account was before a change, as the trigger tells it.
pub fn attributes(
    customer: Option<Uuid>,
    number: String,
    account_type: String,
    status: String,
    overdraft_limit: Decimal,
) -> Attributes {
    Attributes { customer, number, account_type, status, overdraft_limit }
}
