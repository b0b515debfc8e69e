//! Recording and correcting: the SQL functions.

use super::changes;
use super::core::{Gap, corrected};
use super::store::{self, Cause};
use crate::banking::store::lock_customer_account;
use crate::error::Error;
use crate::pg::{JsonDatum, Numeric, Text, Time, finish, server};
use crate::txn_processing::bounds::given_reason;
use crate::txn_processing::engine::Desk;
use crate::txn_processing::{finite, id, required};
use pgrx::prelude::*;
use uuid::Uuid;

/// Periods that one correction may go over.
const MAX_PERIODS: i32 = 10_000;

/// The time that is corrected: to now where it has no end.
struct Span {
    from: i64,
    to: Option<i64>,
}

impl Span {
    fn checked(from: Time, to: Option<Time>) -> Result<Self, Error> {
        let wrong = |why: &str| Err(Error::PeriodInvalid { why: why.into() });
        let (from, to) = (from.0, to.map(|to| to.0));
        if [Some(from), to].into_iter().flatten().any(|time| time == i64::MIN || time == i64::MAX) {
            return wrong("It has an end at infinity; leave valid_to out for a period up to now");
        }
        let now = server::clock_micros();
        if to.unwrap_or(from) > now {
            return wrong("It reaches into the future");
        }
        if to.unwrap_or(now) <= from {
            return wrong("It ends at its beginning or before");
        }
        Ok(Span { from, to })
    }
}

/// When the correction was recorded; none where all read so before.
fn correct_account(
    account: Uuid,
    span: &Span,
    wanted: JsonDatum,
    reason: &str,
    tenant: Option<Uuid>,
) -> Result<Option<i64>, Error> {
    let wanted = changes::read(wanted)?;
    let desk = Desk::open();
    let session = desk.session();
    let locked = lock_customer_account(session, account, tenant)?;
    let wanted = changes::checked(session, &locked, wanted)?;
    let far = span.to.unwrap_or(i64::MAX - 1);
    let known = store::known(session, account, span.from, far, MAX_PERIODS + 1)?;
    if known.periods.len() > MAX_PERIODS as usize {
        let why = format!("It goes over more than {MAX_PERIODS} periods; correct it in parts");
        return Err(Error::PeriodInvalid { why });
    }
    let at = store::next_time(known.last_recorded);
    let plan = corrected(&known.periods, known.first, span.from, span.to.unwrap_or(at), &wanted);
    let plan = plan.map_err(|Gap { .. }| Error::PeriodInvalid {
        why: "It ends before the account's first period begins, and would leave a gap".into(),
    })?;
    if plan.parts.is_empty() {
        return Ok(None);
    }
    let by = Cause { by: desk.caller.clone(), reason: Some(reason.to_owned()) };
    store::write(session, account, &known, &plan, at, &by)?;
    Ok(Some(at))
}

#[pg_extern(schema = "temporal", volatile, parallel_unsafe)]
fn correct(
    account_id: Option<pgrx::Uuid>,
    valid_from: Option<Time>,
    valid_to: Option<Time>,
    changes: Option<JsonDatum>,
    reason: Option<Text>,
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) -> Option<Time> {
    let result = (|| {
        let account = id(required("account_id", account_id)?);
        let span = Span::checked(required("valid_from", valid_from)?, valid_to)?;
        let changes = required("changes", changes)?;
        let reason = given_reason("reason", required("reason", reason.as_deref())?)?;
        correct_account(account, &span, changes, reason, tenant.map(id))
    })();
    drop(reason);
    finish(result).map(Time)
}

/// Called by the trigger on banking.accounts with what the account was.
#[pg_extern(schema = "temporal", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn record_account_change(
    account_id: Option<pgrx::Uuid>,
    created_at: Option<Time>,
    customer_id: Option<pgrx::Uuid>,
    account_status: Option<Text>,
    overdraft_limit: Option<Numeric>,
    account_type: Option<Text>,
    account_number: Option<Text>,
) {
    let result = (|| {
        let account = id(required("account_id", account_id)?);
        let opened = required("created_at", created_at)?.0;
        let text = |name, value: Option<&Text>| required(name, value).map(|text| text.0.clone());
        let before = store::attributes(
            customer_id.map(id),
            text("account_number", account_number.as_ref())?,
            text("account_type", account_type.as_ref())?,
            text("account_status", account_status.as_ref())?,
            finite(required("overdraft_limit", overdraft_limit)?)?,
        );
        store::record(Desk::open().session(), account, opened, &before)
    })();
    drop((account_status, account_type, account_number));
    finish(result);
}
