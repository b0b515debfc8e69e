//! The SQL functions of fees.

use super::charge::{self, KINDS};
use super::core::{Formula, Method, Tier};
use super::periodic;
use super::store::{self, Charged, Key};
use crate::banking::store as banking;
use crate::error::Error;
use crate::guc;
use crate::pg::{BpChar, JsonDatum, Numeric, OwnerRights, Session, Text, Time, finish};
use crate::txn_processing::bounds::given_text;
use crate::txn_processing::core::Kind;
use crate::txn_processing::engine::Desk;
use crate::txn_processing::interest::api::{Figures, date, figure, pairs, posted, run_arguments};
use crate::txn_processing::strict::{Tail, amount as positive, id, required, sql_id};
use pgrx::datum::Date;
use pgrx::prelude::*;
use rust_decimal::Decimal;

const MAX_CODE: usize = 50;
const PERIODS: [&str; 3] = ["month", "quarter", "year"];

/// One of the words that an argument may be.
fn one_of<'a>(argument: &'static str, word: &'a str, words: &[&str]) -> Result<&'a str, Error> {
    if words.contains(&word) {
        return Ok(word);
    }
    Err(Error::ArgumentBounds { argument, why: format!("It is {word:?}; it may be {}.", words.join(", ")) })
}

fn fee_code(code: &str) -> Result<&str, Error> {
    given_text("fee_code", code, MAX_CODE)
}

fn optional(argument: &'static str, value: Option<Numeric>) -> Result<Option<Decimal>, Error> {
    value.map(|value| figure(argument, Some(value))).transpose()
}

fn tiers(from: &Figures, percent: &Figures, fixed: &Figures) -> Result<Vec<Tier>, Error> {
    let mut tiers: Vec<Tier> = pairs(["tier_from", "tier_percent"], from, percent)?
        .into_iter()
        .map(|(from, percent)| Tier { from, percent, fixed: Decimal::ZERO })
        .collect();
    if fixed.is_some() {
        let fixed = pairs(["tier_from", "tier_fixed"], from, fixed)?;
        tiers.iter_mut().zip(fixed).for_each(|(tier, (_, fixed))| tier.fixed = fixed);
    }
    Ok(tiers)
}

/// When a schedule holds, and for what.
struct Scope<'a> {
    applies_to: &'a str,
    period: Option<&'a str>,
    valid_from: i32,
    valid_to: Option<i32>,
}

impl<'a> Scope<'a> {
    fn checked(
        applies_to: &'a str,
        period: Option<&'a str>,
        valid_from: Option<Date>,
        valid_to: Option<Date>,
    ) -> Result<Self, Error> {
        let kinds = KINDS.map(Kind::name);
        one_of("applies_to", applies_to, &[&kinds[..], &["periodic"]].concat())?;
        let why = match period {
            Some(period) => {
                one_of("period", period, &PERIODS)?;
                (applies_to != "periodic").then_some("Only a periodic fee has a period.")
            }
            None => {
                (applies_to == "periodic").then_some("A periodic fee has a period: month, quarter or year.")
            }
        };
        if let Some(why) = why {
            return Err(Error::ArgumentBounds { argument: "period", why: why.into() });
        }
        let valid_from = date("valid_from", valid_from)?;
        let valid_to = valid_to.map(|to| date("valid_to", Some(to))).transpose()?;
        if valid_to.is_some_and(|to| to < valid_from) {
            return Err(Error::ArgumentBounds {
                argument: "valid_to",
                why: "It lies before valid_from.".into(),
            });
        }
        Ok(Scope { applies_to, period, valid_from, valid_to })
    }
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn set_fee_schedule(
    fee_code: Option<Text>,
    applies_to: Option<Text>,
    currency: Option<BpChar>,
    method: Option<Text>,
    valid_from: Option<Date>,
    account_type: default!(Option<Text>, "NULL"),
    fixed_amount: default!(Option<Numeric>, 0),
    percent: default!(Option<Numeric>, 0),
    floor_amount: default!(Option<Numeric>, "NULL"),
    cap_amount: default!(Option<Numeric>, "NULL"),
    tier_from: default!(Option<Vec<Option<Numeric>>>, "NULL"),
    tier_percent: default!(Option<Vec<Option<Numeric>>>, "NULL"),
    tier_fixed: default!(Option<Vec<Option<Numeric>>>, "NULL"),
    period: default!(Option<Text>, "NULL"),
    valid_to: default!(Option<Date>, "NULL"),
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) -> i32 {
    let result = (|| {
        let code = self::fee_code(required("fee_code", fee_code.as_deref())?)?;
        let applies_to = required("applies_to", applies_to.as_deref())?;
        let currency = required("currency", currency.as_ref())?.0.as_str();
        let method = required("method", method.as_deref())?;
        one_of("method", method, &["fixed", "percentage", "tiered"])?;
        let scope = Scope::checked(applies_to, period.as_deref(), valid_from, valid_to)?;
        let formula = Formula {
            method: Method::of(method).expect("one of the words"),
            fixed: figure("fixed_amount", fixed_amount)?,
            percent: figure("percent", percent)?,
            floor: optional("floor_amount", floor_amount)?,
            cap: optional("cap_amount", cap_amount)?,
            tiers: tiers(&tier_from, &tier_percent, &tier_fixed)?,
        };
        let desk = Desk::open();
        let session = desk.session();
        let tenant_no = banking::tenant_no(session, tenant.map(id))?;
        account_type.as_deref().map_or(Ok(()), |name| banking::known_type(session, name))?;
        let formula = formula.checked(banking::exponent(session, currency)?)?;
        let Scope { applies_to, period, valid_from, valid_to } = scope;
        let account_type = account_type.as_deref();
        let key = Key {
            tenant_no,
            fee_code: code,
            applies_to,
            period,
            account_type,
            currency,
            valid_from,
            valid_to,
        };
        store::set(&desk, &key, &formula)
    })();
    drop((fee_code, applies_to, currency, method, account_type, tier_from, tier_percent, tier_fixed, period));
    finish(result)
}

#[pg_extern(
    schema = "txn_processing",
    stable,
    parallel_restricted,
    requires = ["txn_processing_tables"]
)]
#[allow(clippy::type_complexity)]
fn fee_for(
    transaction_type: Option<Text>,
    account: Option<pgrx::Uuid>,
    amount: Option<Numeric>,
    at: default!(Option<Time>, "pg_catalog.now()"),
) -> TableIterator<'static, (name!(fee_code, String), name!(schedule_id, i32), name!(fee, Option<Numeric>))> {
    let result = (|| {
        let kind = required("transaction_type", transaction_type.as_deref())?;
        one_of("transaction_type", kind, &KINDS.map(Kind::name))?;
        let account = id(required("account", account)?);
        let amount = positive("amount", amount)?;
        let at = required("at", at)?.0;
        let _rights = OwnerRights::to_read();
        store::due(&Session::read(), kind, account, amount, at, &guc::business_time_zone())
    })();
    drop(transaction_type);
    let fees = finish(result);
    TableIterator::new(fees.into_iter().map(|fee| (fee.code, fee.schedule, Some(fee.amount.into()))))
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn apply_fee(
    transaction_id: Option<pgrx::Uuid>,
    fee_code: default!(Option<Text>, "NULL"),
) -> TableIterator<
    'static,
    (name!(charged_code, String), name!(fee, Option<Numeric>), name!(fee_transaction, pgrx::Uuid)),
> {
    let result = required("transaction_id", transaction_id).and_then(|transaction| {
        fee_code.as_deref().map_or(Ok(""), self::fee_code)?;
        charge::on_transaction(&Desk::open(), id(transaction), fee_code.as_deref())
    });
    drop(fee_code);
    let charged = finish(result);
    let line = |charged: Charged| {
        let transaction = sql_id(charged.transaction);
        (charged.fee.code, Some(charged.fee.amount.into()), transaction)
    };
    TableIterator::new(charged.into_iter().map(line))
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn transfer_with_fee(
    from_account: Option<pgrx::Uuid>,
    to_account: Option<pgrx::Uuid>,
    amount: Option<Numeric>,
    currency: default!(Option<BpChar>, "NULL"),
    description: default!(Option<Text>, "NULL"),
    reference: default!(Option<Text>, "NULL"),
    metadata: default!(Option<JsonDatum>, "NULL"),
    transaction_id: default!(Option<pgrx::Uuid>, "NULL"),
    effective_at: default!(Option<Time>, "NULL"),
) -> pgrx::Uuid {
    let tail = Tail { currency, description, reference, metadata, transaction_id, effective_at };
    let result = (|| {
        let from = id(required("from_account", from_account)?);
        let to = id(required("to_account", to_account)?);
        let amount = positive("amount", amount)?;
        charge::transfer(&Desk::open(), from, to, amount, &tail)
    })();
    drop(tail);
    sql_id(finish(result))
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn charge_periodic_fees(
    p_date: Option<Date>,
    max_accounts: default!(Option<i32>, 10000),
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) -> TableIterator<'static, (name!(accounts, i64), name!(posted, i64), name!(refused, i64), name!(done, bool))>
{
    let result = run_arguments(p_date, max_accounts, tenant)
        .and_then(|(desk, tenant_no, day, most)| periodic::run(&desk, tenant_no, &day, most));
    TableIterator::once(posted(finish(result)))
}
