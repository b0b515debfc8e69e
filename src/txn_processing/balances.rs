//! Balances of the past.
//!
//! An account's postings are numbered without gaps and their times ascend with the numbers, so the last posting
//! recorded by a given instant is found by bisection over the sequence: no index on time, about twenty probes for a
//! million postings. Backdated postings are few and have a table of their own.

use super::store;
use super::strict::{id, required};
use crate::error::Error;
use crate::pg::{Arg, Numeric, OwnerRights, Session, Statement, Time, Type, finish};
use pgrx::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

static PROBE: Statement = Statement::new(
    c"SELECT m.created_at, m.debit_balance
      FROM txn_processing.movements m WHERE m.debit_account = $1 AND m.debit_sequence = $2
      UNION ALL
      SELECT m.created_at, m.credit_balance
      FROM txn_processing.movements m WHERE m.credit_account = $1 AND m.credit_sequence = $2",
    &[Type::Uuid, Type::BigInt],
);

static BACKDATED: Statement = Statement::new(
    c"SELECT coalesce(sum(b.balance_change), 0) FROM txn_processing.backdated_entries b
      WHERE b.account_id = $1 AND b.effective_at <= $2 AND b.sequence > $3",
    &[Type::Uuid, Type::Timestamp, Type::BigInt],
);

/// Number and balance of the last posting recorded at a time that `until` accepts; `until` must accept a prefix.
/// Number 0 and nothing where there is none.
pub fn last_recorded(
    session: &Session,
    account: Uuid,
    version: i64,
    until: impl Fn(i64) -> bool,
) -> Result<(i64, Option<Decimal>), Error> {
    let probe = |sequence: i64| -> Result<(i64, Decimal), Error> {
        let row = session
            .run(&PROBE, &[Arg::Uuid(Some(account)), Arg::BigInt(Some(sequence))])?
            .first()
            .expect("sequences of an account have no gap");
        Ok((
            row.time(1).expect("not null by its declaration").0,
            row.numeric(2).expect("not null by its declaration"),
        ))
    };
    // `accepted` is known to be early enough (0 stands for before the first), `refused` to be too late.
    let (mut accepted, mut balance, mut refused) = (0, None, version);
    let mut next = version - 1;
    while accepted + 1 < refused {
        let (recorded_at, balance_then) = probe(next)?;
        if until(recorded_at) {
            (accepted, balance) = (next, Some(balance_then));
        } else {
            refused = next;
        }
        next = accepted + (refused - accepted) / 2;
    }
    Ok((accepted, balance))
}

fn balance_at(account: Uuid, at: i64) -> Result<Decimal, Error> {
    let _rights = OwnerRights::to_read();
    let session = Session::read();
    let (_, current, version) = store::glance(&session, account)?;
    let (sequence, recorded) = last_recorded(&session, account, version, |time| time <= at)?;
    let row = session
        .run(&BACKDATED, &[Arg::Uuid(Some(account)), Arg::Timestamp(Some(at)), Arg::BigInt(Some(sequence))])?
        .first()
        .expect("an aggregate without GROUP BY gives one row");
    let recorded_later = row.numeric(1).expect("coalesce gives no null");
    let mut balance = recorded.unwrap_or_default() + recorded_later;
    balance.rescale(current.scale());
    Ok(balance)
}

/// The account's balance at `at`, counting postings effective by then.
#[pg_extern(schema = "txn_processing", stable, parallel_restricted)]
fn balance_as_of(account_id: Option<pgrx::Uuid>, at: Option<Time>) -> Numeric {
    let result =
        required("account_id", account_id).and_then(|account| balance_at(id(account), required("at", at)?.0));
    finish(result).into()
}
