//! Setting limits.

use super::core::Period;
use super::store::{self, Holder, Setting};
use super::types;
use crate::banking::store as accounts;
use crate::error::Error;
use crate::pg::{BpChar, Numeric, Text, finish};
use crate::txn_processing::bounds::given_reason;
use crate::txn_processing::core::in_currency;
use crate::txn_processing::engine::Desk;
use crate::txn_processing::strict::amount_if_given;
use crate::txn_processing::{id, required};
use pgrx::prelude::*;
use rust_decimal::Decimal;

/// The arguments that both functions have.
struct Figures<'a> {
    period: Period,
    amount: Option<Decimal>,
    postings: Option<i32>,
    reason: &'a str,
}

impl<'a> Figures<'a> {
    fn checked(
        period: Option<&str>,
        max_amount: Option<Numeric>,
        max_postings: Option<i32>,
        reason: Option<&'a str>,
    ) -> Result<Self, Error> {
        let name = required("period", period)?;
        let period = Period::of(name).ok_or_else(|| Error::ArgumentBounds {
            argument: "period",
            why: format!("It is {name:?}; periods are transaction, day and month."),
        })?;
        let bounds = |why: String| Error::ArgumentBounds { argument: "max_postings", why };
        match max_postings {
            Some(_) if period == Period::Transaction => {
                return Err(bounds("A transaction is one posting; its limit is an amount.".into()));
            }
            Some(most) if most < 0 => {
                return Err(bounds(format!("It is {most}; it must not be below zero.")));
            }
            _ => {}
        }
        let reason = given_reason("reason", required("reason", reason)?)?;
        let amount = amount_if_given(max_amount)?;
        Ok(Figures { period, amount, postings: max_postings, reason })
    }

    fn set(&self, desk: &Desk, holder: Holder, currency: &str) -> Result<(), Error> {
        let exponent = accounts::exponent(desk.session(), currency)?;
        let max_amount = self.amount.map(|amount| in_currency(amount, exponent, currency)).transpose()?;
        let setting = Setting {
            holder,
            currency,
            period: self.period,
            max_amount,
            max_postings: self.postings,
            reason: self.reason,
            by: &desk.caller,
        };
        store::set(desk.session(), &setting)
    }
}

#[pg_extern(schema = "banking", volatile, parallel_unsafe)]
fn set_account_limit(
    account_id: Option<pgrx::Uuid>,
    period: Option<Text>,
    max_amount: Option<Numeric>,
    max_postings: Option<i32>,
    reason: Option<Text>,
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) {
    let result = (|| {
        let account = id(required("account_id", account_id)?);
        let figures = Figures::checked(period.as_deref(), max_amount, max_postings, reason.as_deref())?;
        let desk = Desk::open();
        let locked = accounts::lock_customer_account(desk.session(), account, tenant.map(id))?;
        if locked.slots > 0 {
            let why = "is slotted: what it spends is not counted in one place".into();
            return Err(Error::BalanceMode { account, why });
        }
        figures.set(&desk, Holder::Account(account), &locked.currency)
    })();
    drop((period, reason));
    finish(result)
}

#[pg_extern(schema = "banking", volatile, parallel_unsafe)]
fn set_type_limit(
    account_type: Option<Text>,
    currency: Option<BpChar>,
    period: Option<Text>,
    max_amount: Option<Numeric>,
    max_postings: Option<i32>,
    reason: Option<Text>,
) {
    let result = (|| {
        let of_type = required("account_type", account_type.as_deref())?;
        let currency = required("currency", currency.as_ref())?.0.as_str();
        let figures = Figures::checked(period.as_deref(), max_amount, max_postings, reason.as_deref())?;
        let desk = Desk::open();
        accounts::known_type(desk.session(), of_type)?;
        store::lock(desk.session())?;
        if let Some(account) = store::slotted_of_type(desk.session(), of_type, currency)? {
            let why = "is of that type and slotted: what it spends is not counted in one place".into();
            return Err(Error::BalanceMode { account, why });
        }
        figures.set(&desk, Holder::Type(of_type), currency)?;
        types::announce()
    })();
    drop((account_type, currency, period, reason));
    finish(result)
}
