//! The SQL functions of baselines.

use super::store::{self, Compared};
use crate::error::Error;
use crate::pg::types::Time;
use crate::pg::{Numeric, OwnerRights, Session, finish};
use crate::troubleshoot::explain::api::rounded;
use crate::txn_processing::required;
use pgrx::prelude::*;

const MAX_DAYS: i32 = 400;

/// The samples are the owner's; who may call is for EXECUTE to say.
fn as_owner<T>(work: impl FnOnce(&Session) -> Result<T, Error>) -> T {
    let result = {
        let _rights = OwnerRights::to_read();
        let session = Session::write();
        work(&session)
    };
    finish(result)
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
fn capture_baseline() -> i32 {
    as_owner(|session| if store::takes_turn(session)? { store::capture(session) } else { Ok(0) })
}

type Row = (
    &'static str,
    &'static str,
    Time,
    Option<Numeric>,
    &'static str,
    Option<Numeric>,
    Option<Numeric>,
    Option<Numeric>,
    &'static str,
    i32,
    String,
);

fn row(compared: Compared) -> Row {
    let verdict = &compared.verdict;
    (
        compared.watched.metric,
        verdict.severity.word(),
        Time(compared.at),
        compared.value.and_then(rounded),
        compared.watched.unit,
        verdict.usual.and_then(|usual| rounded(usual.median)),
        verdict.usual.and_then(|usual| rounded(usual.mad)),
        verdict.deviation.and_then(rounded),
        verdict.scope.word(),
        verdict.samples as i32,
        compared.detail(),
    )
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn compare_baseline(
    at: default!(Option<Time>, "NULL"),
    days: default!(Option<i32>, 35),
) -> TableIterator<
    'static,
    (
        name!(metric, &'static str),
        name!(severity, &'static str),
        name!(captured_at, Time),
        name!(value, Option<Numeric>),
        name!(unit, &'static str),
        name!(median, Option<Numeric>),
        name!(mad, Option<Numeric>),
        name!(deviation, Option<Numeric>),
        name!(scope, &'static str),
        name!(samples, i32),
        name!(detail, String),
    ),
> {
    let days = finish(required("days", days).and_then(|days| {
        if (1..=MAX_DAYS).contains(&days) {
            return Ok(days);
        }
        let why = format!("It is {days}; it must be 1 to {MAX_DAYS}.");
        Err(Error::ArgumentBounds { argument: "days", why })
    }));
    let compared = as_owner(|session| store::compare(session, at.map(|at| at.0), days));
    TableIterator::new(compared.into_iter().map(row).collect::<Vec<_>>())
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
fn run_baseline() -> TableIterator<
    'static,
    (name!(captured, i32), name!(raised, i32), name!(resolved, i32), name!(deleted, i64)),
> {
    TableIterator::once(as_owner(|session| {
        if store::has_written(session)? {
            return Err(Error::BaselineInTransaction);
        }
        if !store::takes_turn(session)? {
            return Ok((0, 0, 0, 0));
        }
        let captured = store::capture(session)?;
        if captured == 0 {
            return Ok((0, 0, 0, 0));
        }
        let days = store::keep_days(session)?;
        let (raised, resolved) = store::alert(session, &store::compare(session, None, days)?)?;
        Ok((captured, raised, resolved, store::prune(session, days)?))
    }))
}
