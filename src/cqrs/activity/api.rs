//! The SQL functions of the read models.

use super::store::{self, Span};
use crate::error::Error;
use crate::pg::{OwnerRights, Session, Time, finish};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::{id, required};
use pgrx::AnyNumeric;
use pgrx::prelude::*;
use uuid::Uuid;

/// The most marks of one call.
const MAX_MARKS: i32 = 100_000;
/// Marks of an account that are made in one statement.
const AT_ONCE: i64 = 1_000;

/// Reads with the owner's rights at the caller's snapshot.
fn read<T>(
    account: Option<pgrx::Uuid>,
    of: impl FnOnce(&Session, Uuid) -> Result<T, Error>,
) -> Result<T, Error> {
    let account = id(required("account_id", account)?);
    let _rights = OwnerRights::to_read();
    of(&Session::read(), account)
}

#[pg_extern(schema = "cqrs", stable, parallel_restricted)]
fn transaction_count(account_id: Option<pgrx::Uuid>, since: default!(Option<Time>, "NULL")) -> i64 {
    finish(read(account_id, |session, account| {
        let spans = Span::all(session, account, since.map(|time| time.0))?;
        Ok(spans.iter().map(Span::postings).sum())
    }))
}

#[pg_extern(schema = "cqrs", stable, parallel_restricted)]
fn amount_total(account_id: Option<pgrx::Uuid>, since: default!(Option<Time>, "NULL")) -> AnyNumeric {
    finish(read(account_id, |session, account| {
        let spans = Span::all(session, account, since.map(|time| time.0))?;
        let amounts = spans.iter().map(|span| span.amount(session, account));
        amounts.reduce(|sum, next| Ok(sum? + next?)).unwrap_or_else(|| Ok(0.into()))
    }))
}

#[pg_extern(schema = "cqrs", stable, parallel_restricted)]
fn last_activity(account_id: Option<pgrx::Uuid>) -> Option<Time> {
    finish(read(account_id, store::last_recorded)).map(Time)
}

#[pg_extern(schema = "cqrs", stable, parallel_restricted)]
fn last_transaction_date(account_id: Option<pgrx::Uuid>) -> Option<Time> {
    finish(read(account_id, store::last_effective)).map(Time)
}

#[pg_extern(schema = "cqrs", volatile, parallel_unsafe)]
fn refresh_activity(max_marks: default!(Option<i32>, 1000)) -> i64 {
    finish(required("max_marks", max_marks).and_then(|most| {
        if !(1..=MAX_MARKS).contains(&most) {
            let why = format!("It is {most}; it must be 1 to {MAX_MARKS}.");
            return Err(Error::ArgumentBounds { argument: "max_marks", why });
        }
        let (most, desk) = (i64::from(most), Desk::open());
        let mut made = 0;
        for account in store::due(desk.session(), most)? {
            made += store::mark(desk.session(), account, most - made)?;
            if made == most {
                break;
            }
        }
        Ok(made)
    }))
}

#[pg_extern(schema = "cqrs", volatile, parallel_unsafe)]
fn update_customer_summary(p_customer_id: Option<pgrx::Uuid>) {
    finish(required("p_customer_id", p_customer_id).map(id).and_then(|customer| {
        let desk = Desk::open();
        for account in store::accounts_of(desk.session(), customer)? {
            while store::mark(desk.session(), account, AT_ONCE)? == AT_ONCE {}
        }
        Ok(())
    }));
}

#[pg_extern(schema = "cqrs", volatile, parallel_unsafe)]
fn set_risk_score(customer_id: Option<pgrx::Uuid>, risk_score: Option<i32>) {
    finish(required("customer_id", customer_id).map(id).and_then(|customer| {
        let desk = Desk::open();
        store::set_risk(desk.session(), customer, risk_score, &desk.caller)
    }));
}
