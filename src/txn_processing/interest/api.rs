//! The SQL functions of interest.

use super::accrual;
use super::capitalisation;
use super::core::{DayCount, Rule};
use super::rules::{self, For};
use crate::banking::store as banking;
use crate::error::Error;
use crate::pg::{BpChar, Numeric, Text, finish, numeric::Unrepresentable};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::runs::{Day, Progress, bounded_accounts, bounded_date};
use crate::txn_processing::strict::{id, required, sql_id};
use pgrx::datum::Date;
use pgrx::prelude::*;
use rust_decimal::Decimal;

/// A date argument as days since 2000-01-01.
pub fn date(argument: &'static str, value: Option<Date>) -> Result<i32, Error> {
    bounded_date(argument, required(argument, value)?.to_pg_epoch_days())
}

/// A finite figure that is no amount.
pub fn figure(argument: &'static str, value: Option<Numeric>) -> Result<Decimal, Error> {
    let why = match required(argument, value)?.0 {
        Ok(figure) => return Ok(figure.normalize()),
        Err(Unrepresentable::NotANumber) => "It is NaN.",
        Err(Unrepresentable::Infinite) => "It is infinite.",
        Err(Unrepresentable::TooManyDigits) => "It has more than 28 digits.",
    };
    Err(Error::ArgumentBounds { argument, why: why.into() })
}

/// An array argument of figures.
pub type Figures = Option<Vec<Option<Numeric>>>;

/// Two arrays of one length, of which neither or both are given.
pub fn pairs(
    names: [&'static str; 2],
    one: &Figures,
    other: &Figures,
) -> Result<Vec<(Decimal, Decimal)>, Error> {
    let lengths = [one, other].map(|array| array.as_ref().map_or(0, Vec::len));
    if lengths[0] != lengths[1] {
        let why = format!("It has {} elements; {} has {}.", lengths[1], names[0], lengths[0]);
        return Err(Error::ArgumentBounds { argument: names[1], why });
    }
    let elements = one.iter().flatten().zip(other.iter().flatten());
    elements.map(|(one, other)| Ok((figure(names[0], *one)?, figure(names[1], *other)?))).collect()
}

fn rule(
    percent: Option<Numeric>,
    day_count: Option<&str>,
    debit_percent: Option<Numeric>,
    tier_from: &Figures,
    tier_percent: &Figures,
) -> Result<Rule, Error> {
    let day_count = required("day_count", day_count)?;
    let unknown = || Error::ArgumentBounds {
        argument: "day_count",
        why: format!("It is {day_count:?}; conventions are act/365, act/360 and 30/360."),
    };
    Ok(Rule {
        percent: figure("annual_percent", percent)?,
        day_count: DayCount::of(day_count).ok_or_else(unknown)?,
        debit_percent: figure("debit_percent", debit_percent)?,
        tiers: pairs(["tier_from", "tier_percent"], tier_from, tier_percent)?,
    })
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn set_interest_rule(
    account_type: Option<Text>,
    currency: Option<BpChar>,
    annual_percent: Option<Numeric>,
    day_count: Option<Text>,
    valid_from: Option<Date>,
    debit_percent: default!(Option<Numeric>, 0),
    tier_from: default!(Option<Vec<Option<Numeric>>>, "NULL"),
    tier_percent: default!(Option<Vec<Option<Numeric>>>, "NULL"),
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) -> i32 {
    let result = (|| {
        let account_type = required("account_type", account_type.as_deref())?;
        let currency = required("currency", currency.as_ref())?.0.as_str();
        let rule = rule(annual_percent, day_count.as_deref(), debit_percent, &tier_from, &tier_percent)?;
        let from = date("valid_from", valid_from)?;
        rules::set(&Desk::open(), For::Type(account_type, currency), Some(rule), from, tenant.map(id))
    })();
    drop((account_type, currency, day_count, tier_from, tier_percent));
    finish(result)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn set_account_interest_rule(
    account: Option<pgrx::Uuid>,
    annual_percent: Option<Numeric>,
    day_count: Option<Text>,
    valid_from: Option<Date>,
    debit_percent: default!(Option<Numeric>, 0),
    tier_from: default!(Option<Vec<Option<Numeric>>>, "NULL"),
    tier_percent: default!(Option<Vec<Option<Numeric>>>, "NULL"),
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) -> i32 {
    let result = (|| {
        let account = id(required("account", account)?);
        let rule = rule(annual_percent, day_count.as_deref(), debit_percent, &tier_from, &tier_percent)?;
        let from = date("valid_from", valid_from)?;
        rules::set(&Desk::open(), For::Account(account), Some(rule), from, tenant.map(id))
    })();
    drop((day_count, tier_from, tier_percent));
    finish(result)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn end_account_interest_rule(
    account: Option<pgrx::Uuid>,
    valid_from: Option<Date>,
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) -> i32 {
    finish(required("account", account).and_then(|account| {
        let from = date("valid_from", valid_from)?;
        rules::set(&Desk::open(), For::Account(id(account)), None, from, tenant.map(id))
    }))
}

/// The desk, the tenant, the day and the bound of a run's call.
pub fn run_arguments(
    day: Option<Date>,
    max_accounts: Option<i32>,
    tenant: Option<pgrx::Uuid>,
) -> Result<(Desk, i32, Day, i32), Error> {
    let date = date("p_date", day)?;
    let most = bounded_accounts(max_accounts)?;
    let desk = Desk::open();
    let tenant_no = banking::tenant_no(desk.session(), tenant.map(id))?;
    let day = Day::over(desk.session(), date)?;
    Ok((desk, tenant_no, day, most))
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn accrue_interest(
    p_date: Option<Date>,
    max_accounts: default!(Option<i32>, 10000),
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) -> TableIterator<'static, (name!(accounts, i64), name!(all_accounts, i64), name!(done, bool))> {
    let result = run_arguments(p_date, max_accounts, tenant)
        .and_then(|(desk, tenant_no, day, most)| accrual::run(desk.session(), tenant_no, &day, most));
    let (progress, all) = finish(result);
    TableIterator::once((progress.accounts, all, progress.next.is_none()))
}

/// What a call of a run that posts answers.
pub type Posted = (i64, i64, i64, bool);

pub fn posted(progress: Progress) -> Posted {
    (progress.accounts, progress.posted, progress.refused, progress.next.is_none())
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn capitalise_interest(
    p_date: Option<Date>,
    max_accounts: default!(Option<i32>, 10000),
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) -> TableIterator<'static, (name!(accounts, i64), name!(posted, i64), name!(refused, i64), name!(done, bool))>
{
    let result = run_arguments(p_date, max_accounts, tenant)
        .and_then(|(desk, tenant_no, day, most)| capitalisation::run(&desk, tenant_no, &day, most));
    TableIterator::once(posted(finish(result)))
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn settle_interest(
    account: Option<pgrx::Uuid>,
    p_date: Option<Date>,
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) -> Option<pgrx::Uuid> {
    let result = required("account", account).and_then(|account| {
        let (desk, tenant_no, day, _) = run_arguments(p_date, Some(1), tenant)?;
        let account = id(account);
        rules::customers_account(desk.session(), account, tenant_no)?;
        capitalisation::settle(&desk, account, tenant_no, &day)
    });
    finish(result).map(sql_id)
}
