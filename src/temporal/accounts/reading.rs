//! An account as it was at one time, as it was recorded at another.

use crate::error::Error;
use crate::pg::types::JsonBytes;
use crate::pg::{Arg, Numeric, OwnerRights, PRESENT, Row, Session, Statement, Time, Type, Varchar, finish};
use crate::txn_processing::{balance_between, id, required};
use pgrx::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

const INFINITY: i64 = i64::MAX;

/// The columns of an answer, from a period or from an account without any.
macro_rules! state {
    ($changed:literal, $from:literal) => {
        concat!(
            "SELECT s.customer_id, s.account_number, s.account_status, ",
            $changed,
            ", s.account_type, s.overdraft_limit, temporal.limits_as_of(s.account_id, least($2, $3)) ",
            $from,
            "\0"
        )
    };
}

// Nothing is recorded before it is true, so the search begins at the earlier of both times. Of the rows that were known
// then the first that it meets is the latest to begin.
static PERIOD: Statement = Statement::new(
    crate::pg::spi::c_text(state!(
        "s.valid_from, s.valid_to, s.transaction_from, s.transaction_to, s.changed_by, s.change_reason",
        "FROM temporal.account_periods s \
         WHERE s.account_id = $1 AND s.valid_from <= least($2, $3) AND (s.valid_to IS NULL OR s.valid_to > $2) \
           AND s.transaction_from <= $3 AND (s.transaction_to IS NULL OR s.transaction_to > $3) \
         ORDER BY s.valid_from DESC, s.transaction_from DESC LIMIT 1"
    )),
    &[Type::Uuid, Type::Timestamp, Type::Timestamp],
);

static UNCHANGED: Statement = Statement::new(
    crate::pg::spi::c_text(state!(
        "s.created_at, NULL::timestamptz, s.created_at, NULL::timestamptz, NULL::text, NULL::text",
        "FROM banking.accounts s \
         WHERE s.account_id = $1 AND s.created_at <= least($2, $3) \
           AND NOT EXISTS (SELECT FROM temporal.account_periods p WHERE p.account_id = s.account_id)"
    )),
    &[Type::Uuid, Type::Timestamp, Type::Timestamp],
);

type State = (
    pgrx::Uuid,
    Option<pgrx::Uuid>,
    Option<Varchar>,
    Option<Numeric>,
    Option<String>,
    Option<Time>,
    Option<Time>,
    Option<String>,
    Option<Numeric>,
    Option<JsonBytes>,
    Option<Time>,
    Option<Time>,
    Option<String>,
    Option<String>,
);

fn state(account: pgrx::Uuid, balance: Option<Decimal>, row: &Row) -> State {
    (
        account,
        row.get(1),
        row.get(2),
        balance.map(Numeric::from),
        row.text(3),
        row.time(4),
        row.time(5),
        row.text(10),
        row.numeric(11).map(Numeric::from),
        row.get(12),
        row.time(6),
        row.time(7),
        row.text(8),
        row.text(9),
    )
}

/// What the account held; nothing where it is not there any more.
fn balance(account: Uuid, valid_at: i64, known_at: i64) -> Result<Option<Decimal>, Error> {
    match balance_between(account, valid_at, known_at) {
        Err(Error::AccountNotFound { .. }) => Ok(None),
        other => other.map(Some),
    }
}

fn as_of(account: pgrx::Uuid, valid_at: i64, known_at: i64) -> Result<Option<State>, Error> {
    let _rights = OwnerRights::to_read();
    let session = Session::read();
    let args = [Arg::Uuid(Some(id(account))), Arg::Timestamp(Some(valid_at)), Arg::Timestamp(Some(known_at))];
    let mut row = session.run(&PERIOD, &args)?.first();
    if row.is_none() {
        row = session.run(&UNCHANGED, &args)?.first();
    }
    let Some(row) = row else { return Ok(None) };
    let held = balance(id(account), valid_at, known_at)?;
    assert!(row.time(4).expect(PRESENT).0 <= valid_at, "the row is valid then");
    Ok(Some(state(account, held, &row)))
}

/// The account as it was at `p_as_of_time`, as recorded at `p_transaction_time`.
#[pg_extern(schema = "temporal", stable, parallel_restricted)]
#[allow(clippy::type_complexity)]
fn get_account_as_of(
    p_account_id: Option<pgrx::Uuid>,
    p_as_of_time: default!(Option<Time>, "now()"),
    p_transaction_time: default!(Option<Time>, "now()"),
) -> TableIterator<
    'static,
    (
        name!(account_id, pgrx::Uuid),
        name!(customer_id, Option<pgrx::Uuid>),
        name!(account_number, Option<Varchar>),
        name!(current_balance, Option<Numeric>),
        name!(account_status, Option<String>),
        name!(valid_from, Option<Time>),
        name!(valid_to, Option<Time>),
        name!(account_type, Option<String>),
        name!(overdraft_limit, Option<Numeric>),
        name!(limits, Option<JsonBytes>),
        name!(transaction_from, Option<Time>),
        name!(transaction_to, Option<Time>),
        name!(changed_by, Option<String>),
        name!(change_reason, Option<String>),
    ),
> {
    let state = (|| {
        let account = required("p_account_id", p_account_id)?;
        let valid_at = required("p_as_of_time", p_as_of_time)?;
        as_of(account, valid_at.0, required("p_transaction_time", p_transaction_time)?.0)
    })();
    TableIterator::new(finish(state))
}

/// What the account held at `valid_at`, by effective time, as it was recorded at `known_at`.
#[pg_extern(schema = "temporal", name = "balance_as_of", stable, parallel_restricted)]
fn account_balance_as_of(
    account_id: Option<pgrx::Uuid>,
    valid_at: default!(Option<Time>, "now()"),
    known_at: default!(Option<Time>, "now()"),
) -> Option<Numeric> {
    let held = (|| {
        let account = id(required("account_id", account_id)?);
        balance(account, required("valid_at", valid_at)?.0, required("known_at", known_at)?.0)
    })();
    finish(held).map(Numeric::from)
}

/// The same as both times ended; null: they have not.
#[pg_extern(schema = "temporal", stable, parallel_restricted)]
fn balance_before(
    account_id: Option<pgrx::Uuid>,
    valid_to: Option<Time>,
    transaction_to: Option<Time>,
) -> Option<Numeric> {
    let last = |end: Option<Time>| end.map_or(INFINITY, |end| end.0.saturating_sub(1));
    let held = required("account_id", account_id)
        .and_then(|account| balance(id(account), last(valid_to), last(transaction_to)));
    finish(held).map(Numeric::from)
}
