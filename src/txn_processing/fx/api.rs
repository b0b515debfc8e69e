//! The SQL functions of foreign exchange.

use super::core::{checked_rate, exchange, inverse, is_near};
use super::store::{self, Deal, Recorded, Side};
use super::sweep::sweep;
use crate::error::Error;
use crate::guc;
use crate::pg::{BpChar, JsonDatum, Numeric, OwnerRights, Session, Text, Time, finish, server};
use crate::txn_processing::batch::post_legs;
use crate::txn_processing::engine::{Desk, Order, Posted};
use crate::txn_processing::strict::{Tail, amount as positive, finite, id, required, sql_id};
use crate::txn_processing::{Kind, in_currency};
use pgrx::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

const MAX_SWEEP: i32 = 100_000;

fn rate_argument(value: Numeric) -> Result<Decimal, Error> {
    let not_a_rate =
        |_| Error::FxRate { why: "The rate is NaN, infinite or has more than 28 digits.".into() };
    checked_rate(finite(value).map_err(not_a_rate)?)
}

/// The rate that was valid at that time: the pair's own, else the inverse of the other way round.
fn rate_at(session: &Session, base: &str, quote: &str, at: i64) -> Result<Decimal, Error> {
    match store::rates(session, base, quote, at)? {
        (Some(rate), _) => Ok(rate),
        (None, Some(other)) => Ok(inverse(other)),
        (None, None) => Err(Error::FxRateNotFound { base: base.to_owned(), quote: quote.to_owned() }),
    }
}

/// What the caller of `transfer_fx` asks for.
struct Ask {
    from: Uuid,
    to: Uuid,
    amount: Decimal,
    rate: Option<Decimal>,
    currencies: [Option<BpChar>; 2],
}

impl Ask {
    /// Both sides, once they may exchange at all. Nothing that is looked at here ever changes.
    fn sides(&self, session: &Session) -> Result<(Side, Side), Error> {
        if self.from == self.to {
            return Err(Error::SameAccount { account: self.from });
        }
        let (from, to) = store::sides(session, self.from, self.to)?;
        if from.tenant_no != to.tenant_no {
            let why = format!("Accounts {} and {} belong to different tenants.", from.account, to.account);
            return Err(Error::TenantMismatch { why });
        }
        for (side, named) in [&from, &to].into_iter().zip(&self.currencies) {
            if side.internal {
                return Err(Error::InternalAccount { account: side.account });
            }
            if let Some(BpChar(wanted)) = named
                && *wanted != side.currency
            {
                return Err(Error::CurrencyMismatch { wanted: wanted.clone(), found: side.currency.clone() });
            }
        }
        if from.currency == to.currency {
            return Err(Error::OneCurrency { currency: from.currency });
        }
        Ok((from, to))
    }

    fn deal(&self, session: &Session, from: &Side, to: &Side, at: i64) -> Result<Deal, Error> {
        let base_amount = in_currency(self.amount, from.exponent, &from.currency)?;
        let stored_rate = rate_at(session, &from.currency, &to.currency, at)?;
        let tolerance_bp = guc::fx_rate_tolerance_bp();
        if let Some(given) = self.rate.filter(|given| !is_near(*given, stored_rate, tolerance_bp)) {
            return Err(Error::FxRateTolerance { given, stored: stored_rate, tolerance_bp });
        }
        let rate = self.rate.unwrap_or(stored_rate);
        let exchange = exchange(base_amount, rate, to.exponent, &to.currency)?;
        Ok(Deal { rate, stored_rate, asked_rate: self.rate, base_amount, exchange })
    }

    /// Both legs, as they were decided by the first who brought the id. What the caller asks for now is held against what
    /// stands in the ledger.
    fn post(
        &self,
        desk: &Desk,
        transaction_id: Uuid,
        (from, to): (&Side, &Side),
        first: &Recorded,
        tail: &Tail,
    ) -> Result<Posted, Error> {
        if first.asked_rate != self.rate {
            return Err(Error::IdConflict { transaction: transaction_id });
        }
        let explained = format!(
            "Exchange of {} {} into {} {} at {}",
            first.base_amount, from.currency, first.quote_amount, to.currency, first.rate
        );
        let leg = |leg, debit, credit, amount| Order {
            leg,
            // Each leg is in the currency of its accounts, which were held against what the caller named.
            currency: None,
            transaction_id: Some(transaction_id),
            description: tail.description.as_deref().or(Some(&explained)),
            by_the_bank: true,
            ..tail.order(Kind::Transfer, debit, credit, Some(amount))
        };
        let legs = vec![
            leg(1, from.account, from.position, self.amount),
            leg(2, to.position, to.account, first.quote_amount),
        ];
        Ok(post_legs(desk, legs)?[0])
    }
}

/// An exchange at the stored rate.
pub fn post_at_stored_rate(
    desk: &Desk,
    [from, to]: [Uuid; 2],
    amount: Decimal,
    tail: &Tail,
) -> Result<Posted, Error> {
    let currencies = [tail.currency.clone(), None];
    post_exchange(desk, &Ask { from, to, amount, rate: None, currencies }, tail)
}

fn post_exchange(desk: &Desk, ask: &Ask, tail: &Tail) -> Result<Posted, Error> {
    let session = desk.session();
    let (from, to) = ask.sides(session)?;
    let given = tail.transaction_id.map(id);
    let mut first = given.map(|id| store::recorded(session, id)).transpose()?.flatten();
    let transaction_id = given.unwrap_or_else(Uuid::now_v7);
    if first.is_none() {
        let at = tail.effective_at.map_or_else(server::clock_micros, |time| time.0);
        let deal = ask.deal(session, &from, &to, at)?;
        first = if store::record(session, transaction_id, &from, &to, &deal)? {
            let Deal { rate, asked_rate, base_amount, exchange, .. } = deal;
            Some(Recorded { rate, asked_rate, base_amount, quote_amount: exchange.quote_amount })
        } else {
            // Another session was first; it has ended while we waited.
            store::recorded(session, transaction_id)?
        };
    }
    // An id that reversed an exchange is none of an exchange.
    let first = first.ok_or(Error::IdConflict { transaction: transaction_id })?;
    ask.post(desk, transaction_id, (&from, &to), &first, tail)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn transfer_fx(
    from_account: Option<pgrx::Uuid>,
    to_account: Option<pgrx::Uuid>,
    amount: Option<Numeric>,
    rate: default!(Option<Numeric>, "NULL"),
    from_currency: default!(Option<BpChar>, "NULL"),
    to_currency: default!(Option<BpChar>, "NULL"),
    description: default!(Option<Text>, "NULL"),
    reference: default!(Option<Text>, "NULL"),
    metadata: default!(Option<JsonDatum>, "NULL"),
    transaction_id: default!(Option<pgrx::Uuid>, "NULL"),
    effective_at: default!(Option<Time>, "NULL"),
) -> pgrx::Uuid {
    let tail = Tail { currency: None, description, reference, metadata, transaction_id, effective_at };
    let posted = (|| {
        let ask = Ask {
            from: id(required("from_account", from_account)?),
            to: id(required("to_account", to_account)?),
            amount: positive("amount", amount)?,
            rate: rate.map(rate_argument).transpose()?,
            currencies: [from_currency, to_currency],
        };
        post_exchange(&Desk::open(), &ask, &tail)
    })();
    drop(tail);
    sql_id(finish(posted).transaction_id)
}

/// Two different currencies that exist.
fn pair(session: &Session, base: &str, quote: &str) -> Result<(), Error> {
    store::known_currency(session, base)?;
    store::known_currency(session, quote)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn set_fx_rate(
    base: Option<BpChar>,
    quote: Option<BpChar>,
    rate: Option<Numeric>,
    valid_from: default!(Option<Time>, "pg_catalog.now()"),
) {
    finish((|| {
        let (BpChar(base), BpChar(quote)) = (required("base", base)?, required("quote", quote)?);
        let rate = rate_argument(required("rate", rate)?)?;
        let valid_from = required("valid_from", valid_from)?.0;
        let refuse = |argument, why| Err(Error::ArgumentBounds { argument, why });
        if base == quote {
            return refuse("quote", format!("Both currencies are {base}."));
        }
        if valid_from == i64::MIN || valid_from == i64::MAX {
            return refuse("valid_from", "It is infinite.".into());
        }
        let desk = Desk::open();
        pair(desk.session(), &base, &quote)?;
        store::insert_rate(desk.session(), &base, &quote, rate, valid_from, &desk.caller)
    })());
}

#[pg_extern(schema = "txn_processing", stable, parallel_restricted)]
fn fx_rate_at(base: Option<BpChar>, quote: Option<BpChar>, at: default!(Option<Time>, "NULL")) -> Numeric {
    let found = (|| {
        let (BpChar(base), BpChar(quote)) = (required("base", base)?, required("quote", quote)?);
        let _rights = OwnerRights::to_read();
        let session = Session::read();
        pair(&session, &base, &quote)?;
        if base == quote {
            return Ok(Decimal::ONE);
        }
        rate_at(&session, &base, &quote, at.map_or_else(server::clock_micros, |time| time.0))
    })();
    finish(found).into()
}

/// One row of a sweep's result.
type Line = (i32, BpChar, Numeric, Numeric, Option<pgrx::Uuid>);

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn sweep_fx_residues(
    max_rows: default!(Option<i32>, "10000"),
) -> TableIterator<
    'static,
    (
        name!(tenant_no, i32),
        name!(currency_code, BpChar),
        name!(swept, Numeric),
        name!(remainder, Numeric),
        name!(transaction_id, Option<pgrx::Uuid>),
    ),
> {
    let swept = (|| {
        let most = required("max_rows", max_rows)?;
        if !(1..=MAX_SWEEP).contains(&most) {
            let why = format!("It is {most}; a sweep takes 1 to {MAX_SWEEP} residues.");
            return Err(Error::ArgumentBounds { argument: "max_rows", why });
        }
        sweep(&Desk::open(), i64::from(most))
    })();
    let lines: Result<Vec<Line>, Error> = swept.map(|swept| {
        let line = |swept: super::sweep::Swept| {
            let posted = swept.transaction_id.map(sql_id);
            let taken = swept.taken;
            (taken.tenant_no, BpChar(taken.currency), taken.whole.into(), taken.remainder.into(), posted)
        };
        swept.into_iter().map(line).collect()
    });
    TableIterator::new(finish(lines))
}
